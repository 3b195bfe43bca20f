//! Page-mode messages in both directions, and what every request of a peer has to pass.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests may fail a test"
)]

mod agent;

use std::time::Duration;

use agent::session::{IN_DIALOG, accepts};
use agent::{Agent, EDGE, Fields, address, alma, bruno, from_bruno, from_edge, world};
use stox_core::address::SipAddress;
use stox_core::failure::{Failure, Local};
use stox_core::vocab::{ChatState, Im, Ref, SipIn, SipOut, Text};
use stox_sip::dialect::{LongMessages, Overrides, Profile, Rule};
use stox_sip::digest::Credential;
use stox_sip::message::Request;
use stox_sip::transport::{Destination, Transport};

const PLAIN: &str = "Content-Type: text/plain;charset=UTF-8\r\n";

fn im(text: &str) -> Im {
    Im {
        id: Some("m1".to_owned()),
        bodies: vec![Text {
            lang: None,
            text: text.to_owned(),
        }],
        ..Im::default()
    }
}

fn send(agent: &mut Agent, reference: u64, to: SipAddress, im: Im) {
    let from = SipAddress {
        gr: Some("laptop".to_owned()),
        ..alma()
    };
    agent.does(SipOut::Message {
        reference: Ref(reference),
        from,
        to,
        im,
    });
}

fn outcome(agent: &mut Agent) -> (u64, Result<(), Failure>) {
    match agent.tells() {
        SipIn::Outcome { reference, outcome } => (reference.0, outcome),
        other => panic!("{other:?}"),
    }
}

fn local(local: Local) -> Failure {
    Failure::Local(local)
}

fn body(request: &Request) -> &str {
    std::str::from_utf8(&request.body).unwrap()
}

#[test]
fn out_by_table_1_of_rfc_7572() {
    let mut agent = Agent::new();
    let content = Im {
        id: Some("m1".to_owned()),
        thread: Some("t-42".to_owned()),
        subjects: vec![Text {
            lang: Some("en".to_owned()),
            text: "Lab\r\nBcc: evil".to_owned(),
        }],
        bodies: vec![Text {
            lang: Some("en".to_owned()),
            text: "Are you at the lab? €".to_owned(),
        }],
        sent_at: Some(Duration::from_secs(1_772_322_067)),
        ..Im::default()
    };
    send(&mut agent, 1, bruno(), content);
    let request = agent.says_request("MESSAGE");
    assert_eq!(request.uri, "sip:bruno@ocs.example");
    assert_eq!(request.field("To"), "<sip:bruno@ocs.example>");
    assert!(
        request
            .field("From")
            .starts_with("<sip:alma@jabber.example;gr=laptop>;tag=")
    );
    assert_eq!(request.field("Call-ID"), "t-42");
    assert_eq!(request.field("Max-Forwards"), "70");
    assert_eq!(request.field("Content-Language"), "en");
    assert_eq!(request.field("Date"), "Sat, 28 Feb 2026 23:41:07 GMT");
    assert!(request.field("Content-Type").starts_with("text/plain"));
    assert_eq!(body(&request), "Are you at the lab? €");
    assert!(!request.headers.contains("Contact"));
    assert!(!request.headers.contains("Bcc"));
    assert!(request.field("Subject").starts_with("Lab"));
    let via = request.headers.top_via().unwrap();
    assert!(via.rfc3261_branch().unwrap().contains("m1"), "{via}");
    agent.hears_answer(&request, 200, "");
    assert_eq!(outcome(&mut agent), (1, Ok(())));
    agent.hears_answer(&request, 404, "");
    agent.is_silent();
}

#[test]
fn one_thread_one_call_id_rising_cseq_and_fresh_branches() {
    let mut agent = Agent::new();
    let mut last = 0;
    let mut branches = Vec::new();
    for reference in 1..=3 {
        let content = Im {
            thread: Some("t-42".to_owned()),
            ..im("x")
        };
        send(&mut agent, reference, bruno(), content);
        let request = agent.says_request("MESSAGE");
        assert_eq!(request.field("Call-ID"), "t-42");
        let cseq = request.headers.cseq().unwrap().number;
        assert!(cseq > last);
        last = cseq;
        branches.push(
            request
                .headers
                .top_via()
                .unwrap()
                .branch()
                .unwrap()
                .to_owned(),
        );
        agent.hears_answer(&request, 202, "");
        assert_eq!(outcome(&mut agent), (reference, Ok(())));
    }
    branches.dedup();
    assert_eq!(branches.len(), 3);
    // After a restart the numbers go on rising, because they follow the clock.
    let mut reborn = Agent::new();
    reborn.now = agent.now.after(Duration::from_secs(10));
    let content = Im {
        thread: Some("t-42".to_owned()),
        ..im("x")
    };
    send(&mut reborn, 1, bruno(), content);
    assert!(
        reborn
            .says_request("MESSAGE")
            .headers
            .cseq()
            .unwrap()
            .number
            > last
    );
    let fresh: Vec<String> = (4..6)
        .map(|reference| {
            send(
                &mut agent,
                reference,
                address(&format!("u{reference}"), "ocs.example"),
                im("x"),
            );
            agent.says_request("MESSAGE").field("Call-ID").to_owned()
        })
        .collect();
    assert_ne!(fresh[0], fresh[1]);
}

#[test]
fn one_at_a_time_to_each_address_in_order() {
    let mut agent = Agent::new();
    send(&mut agent, 1, bruno(), im("one"));
    send(&mut agent, 2, bruno(), im("two"));
    send(&mut agent, 3, bruno(), im("three"));
    send(&mut agent, 4, address("carla", "ocs.example"), im("other"));
    let first = agent.says_request("MESSAGE");
    assert_eq!(body(&first), "one");
    assert_eq!(body(&agent.says_request("MESSAGE")), "other");
    agent.is_silent();
    agent.hears_answer(&first, 480, "");
    let (reference, failed) = outcome(&mut agent);
    assert!(reference == 1 && matches!(failed, Err(Failure::Sip(status)) if status.code == 480));
    let second = agent.says_request("MESSAGE");
    assert_eq!(body(&second), "two");
    agent.hears_answer(&second, 200, "");
    assert_eq!(outcome(&mut agent), (2, Ok(())));
    assert_eq!(body(&agent.says_request("MESSAGE")), "three");
    agent.is_silent();
}

#[test]
fn bounds_are_told_at_once() {
    let mut settings = world();
    settings.limits.queued_per_address = 1;
    settings.page_limit = 10;
    let mut agent = Agent::with(settings);
    send(&mut agent, 1, bruno(), im("0123456789"));
    let first = agent.says_request("MESSAGE");
    send(&mut agent, 2, bruno(), im("0123456789a"));
    send(&mut agent, 3, bruno(), im("x"));
    assert_eq!(outcome(&mut agent), (3, Err(local(Local::Overloaded))));
    agent.hears_answer(&first, 200, "");
    assert_eq!(outcome(&mut agent), (1, Ok(())));
    assert_eq!(outcome(&mut agent), (2, Err(local(Local::TooLarge))));
    // Octets count, not characters.
    send(&mut agent, 4, bruno(), im("€€€€"));
    assert_eq!(outcome(&mut agent), (4, Err(local(Local::TooLarge))));
    send(&mut agent, 5, bruno(), Im::default());
    assert_eq!(outcome(&mut agent), (5, Err(local(Local::NotAcceptable))));
    agent.is_silent();
    assert!(agent.ua.is_quiet());
}

#[test]
fn silence_and_broken_connections_are_outcomes() {
    let mut agent = Agent::new();
    send(&mut agent, 1, bruno(), im("one"));
    send(&mut agent, 2, bruno(), im("two"));
    agent.says_request("MESSAGE");
    agent.passes_seconds(33);
    assert_eq!(outcome(&mut agent), (1, Err(local(Local::Timeout))));
    agent.says_request("MESSAGE");
    let now = agent.now;
    let target = Destination::Dial(agent::tls(EDGE, "ocs.example"));
    agent.ua.transport_failed(&target, now);
    assert_eq!(outcome(&mut agent), (2, Err(local(Local::TransportFailed))));
    agent.is_silent();
}

#[test]
fn a_turn_that_does_not_come_is_given_up() {
    let mut settings = world();
    settings.limits.queue_wait = Duration::from_secs(10);
    let mut agent = Agent::with(settings);
    for reference in 1..=3 {
        send(&mut agent, reference, bruno(), im("x"));
    }
    agent.passes_seconds(11);
    assert_eq!(outcome(&mut agent), (2, Err(local(Local::Timeout))));
    assert_eq!(outcome(&mut agent), (3, Err(local(Local::Timeout))));
    agent.passes_seconds(30);
    assert_eq!(outcome(&mut agent), (1, Err(local(Local::Timeout))));
    assert_eq!(agent.ua.status().messages_queued, 0);
    agent.says_requests();
    agent.is_silent();
}

#[test]
fn a_challenge_is_answered_under_the_next_cseq() {
    let mut settings = world();
    settings.credentials = vec![Credential {
        realm: "ocs.example".to_owned(),
        domain: "ocs.example".to_owned(),
        username: "gw".to_owned(),
        password: "pw".to_owned(),
        over_plain: false,
    }];
    let mut agent = Agent::with(settings);
    send(&mut agent, 1, bruno(), im("ping"));
    let first = agent.says_request("MESSAGE");
    agent.hears_answer(
        &first,
        407,
        "Proxy-Authenticate: Digest realm=\"ocs.example\", nonce=\"n9\", algorithm=MD5, qop=\"auth\"\r\n",
    );
    let second = agent.says_request("MESSAGE");
    assert!(second.headers.contains("Proxy-Authorization"));
    assert!(second.headers.cseq().unwrap().number > first.headers.cseq().unwrap().number);
    assert_eq!(body(&second), "ping");
    agent.hears_answer(&second, 200, "");
    assert_eq!(outcome(&mut agent), (1, Ok(())));
    // Another realm learns nothing.
    send(&mut agent, 2, bruno(), im("ping"));
    let request = agent.says_request("MESSAGE");
    agent.hears_answer(
        &request,
        401,
        "WWW-Authenticate: Digest realm=\"evil\", nonce=\"n\"\r\n",
    );
    assert!(matches!(outcome(&mut agent), (2, Err(Failure::Sip(status))) if status.code == 401));
    agent.is_silent();
}

fn message(branch: &str, more: &str, body: &str) -> String {
    from_bruno("MESSAGE", branch, 1, "", more, body)
}

fn arrived(agent: &mut Agent) -> (Ref, Im) {
    match agent.tells() {
        SipIn::Message {
            reference,
            from,
            to,
            im,
        } => {
            assert_eq!((from, to), (bruno(), alma()));
            (reference, im)
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn in_and_answered_once() {
    let mut agent = Agent::new();
    let text = message("im1", PLAIN, "Coffee?");
    agent.hears(&text);
    let (reference, im) = arrived(&mut agent);
    assert_eq!(im.bodies[0].text, "Coffee?");
    assert_eq!(im.thread.as_deref(), Some("s2x-1@ocs.example"));
    agent.hears(&text);
    agent.is_silent();
    agent.does(SipOut::AnswerMessage {
        reference,
        outcome: Ok(()),
    });
    let answer = agent.says_response(200);
    assert!(!answer.tag("To").is_empty());
    assert!(!answer.headers.contains("Contact"));
    assert!(answer.body.is_empty());
    agent.does(SipOut::AnswerMessage {
        reference,
        outcome: Err(Failure::Local(Local::Timeout)),
    });
    agent.is_silent();
    assert!(agent.ua.is_quiet());
    // The same request once more gets the same answer, and tells nobody.
    agent.hears(&text);
    assert_eq!(agent.says_response(200), answer);
    agent.is_silent();
}

#[test]
fn in_and_failed() {
    for (failure, status) in [
        (Local::NotAllowed, 403),
        (Local::Timeout, 504),
        (Local::DomainNotFound, 404),
    ] {
        let mut agent = Agent::new();
        agent.hears(&message("im1", PLAIN, "Coffee?"));
        let (reference, _) = arrived(&mut agent);
        let outcome = Err(Failure::Local(failure));
        agent.does(SipOut::AnswerMessage { reference, outcome });
        let answer = agent.says_response(status);
        assert!(!answer.tag("To").is_empty());
        assert_eq!(answer.field("Server"), "stoxgate");
        agent.is_silent();
    }
}

#[test]
fn what_comes_too_late_is_told_as_that() {
    let mut agent = Agent::new();
    let late = format!("{PLAIN}Date: Sun, 01 Feb 2015 10:00:00 GMT\r\nExpires: 60\r\n");
    agent.hears(&message("im1", &late, "Coffee?"));
    agent.says_response(200);
    match agent.tells() {
        SipIn::MessageExpired { from, to, im } => {
            assert_eq!((from.bare(), to.bare()), (bruno(), alma()));
            assert_eq!(im.bodies[0].text, "Coffee?");
        }
        other => panic!("{other:?}"),
    }
    agent.is_silent();
    assert!(agent.ua.is_quiet());
}

#[test]
fn in_and_never_answered() {
    let mut agent = Agent::new();
    agent.source = from_edge(Transport::Udp);
    agent.hears(&message("im1", PLAIN, "Coffee?"));
    let (reference, _) = arrived(&mut agent);
    agent.passes(Duration::from_millis(3400));
    agent.is_silent();
    agent.passes_seconds(1);
    agent.says_response(100);
    agent.passes_seconds(30);
    assert_eq!(agent.tells(), SipIn::MessageGone { reference });
    agent.does(SipOut::AnswerMessage {
        reference,
        outcome: Ok(()),
    });
    agent.is_silent();
    assert_eq!(agent.ua.status().messages_in, 0);
}

#[test]
fn content_is_negotiated() {
    let composing = "<isComposing xmlns=\"urn:ietf:params:xml:ns:im-iscomposing\"><state>active</state></isComposing>";
    let rows = [
        (
            "Content-Type: application/im-iscomposing+xml\r\n",
            composing,
            200,
            "",
        ),
        ("", "", 200, ""),
        (
            "Content-Type: application/x-unknown\r\n",
            "x",
            415,
            "Accept",
        ),
        (
            "Content-Type: text/plain\r\nContent-Encoding: gzip\r\n",
            "x",
            415,
            "Accept-Encoding",
        ),
        ("", "x", 400, ""),
    ];
    for (more, body, status, field) in rows {
        let mut agent = Agent::new();
        agent.hears(&message("im1", more, body));
        let answer = agent.says_response(status);
        assert!(
            field.is_empty() || answer.headers.contains(field),
            "{answer:?}"
        );
        if body == composing {
            let told = agent.tells();
            assert!(matches!(
                told,
                SipIn::ChatState {
                    state: ChatState::Composing,
                    ..
                }
            ));
        }
        agent.is_silent();
    }
}

#[test]
fn refused_in_the_order_of_rfc_3261() {
    let plain = message("im1", PLAIN, "x");
    let rows: [(&str, &str, u16, &str); 14] = [
        ("MESSAGE", "FROBNICATE", 501, "Allow"),
        ("MESSAGE", "message", 501, "Allow"),
        ("MESSAGE", "PUBLISH", 405, "Allow"),
        ("MESSAGE sip:alma@", "MESSAGE sips:alma@", 416, ""),
        ("To: <sip:", "To: <sips:", 416, ""),
        (
            "MESSAGE sip:alma@jabber.example",
            "MESSAGE tel:+123",
            416,
            "",
        ),
        ("Max-Forwards: 70", "Max-Forwards: 0", 483, ""),
        (
            "Via: ",
            "Via: SIP/2.0/TLS x.example;branch=z9hG4bKa,SIP/2.0/TLS gw.jabber.example:5061;branch=z9hG4bKb,",
            482,
            "",
        ),
        (
            "Max-Forwards",
            "Require: 100rel\r\nMax-Forwards",
            420,
            "Unsupported",
        ),
        (
            "<sip:bruno@ocs.example>",
            "<sip:mallory@evil.example>",
            403,
            "",
        ),
        (
            "<sip:bruno@ocs.example>",
            "<sip:alma@jabber.example>",
            403,
            "",
        ),
        (
            "<sip:bruno@ocs.example>",
            "\"Anonymous\" <sip:anonymous@anonymous.invalid>",
            433,
            "",
        ),
        (
            "MESSAGE sip:alma@jabber.example",
            "MESSAGE sip:alma@elsewhere.example",
            404,
            "",
        ),
        (
            "To: <sip:alma@jabber.example>",
            "To: <sip:alma@jabber.example>;tag=x",
            481,
            "",
        ),
    ];
    for (from, to, status, field) in rows {
        let mut agent = Agent::new();
        let mut text = plain.replace(from, to);
        if from == "MESSAGE" {
            text = plain
                .replace("MESSAGE sip", &format!("{to} sip"))
                .replace("1 MESSAGE", &format!("1 {to}"));
        }
        agent.hears(&text);
        let answer = agent.says_response(status);
        assert!(
            field.is_empty() || answer.headers.contains(field),
            "{answer:?}"
        );
        assert!(!answer.tag("To").is_empty(), "{answer:?}");
        agent.is_silent();
    }
}

#[test]
fn nobody_speaks_for_a_domain_without_proof() {
    let rows: [(&str, &[&str], bool); 5] = [
        ("192.0.2.10:5061", &[], true),
        ("203.0.113.9:5061", &[], false),
        ("203.0.113.9:5061", &["ocs.example"], true),
        ("203.0.113.9:5061", &["evil.example"], false),
        ("203.0.113.9:5061", &["jabber.example"], false),
    ];
    for (remote, names, allowed) in rows {
        let mut agent = Agent::new();
        agent.source.remote = remote.parse().unwrap();
        agent.source.certificate_names = names.iter().map(|n| (*n).to_owned()).collect();
        agent.hears(&message("im1", PLAIN, "x"));
        if allowed {
            arrived(&mut agent);
        } else {
            agent.says_response(403);
        }
        agent.is_silent();
    }
}

#[test]
fn too_many_messages_are_refused_for_a_while() {
    let mut settings = world();
    settings.limits.messages_per_second = 1;
    let mut agent = Agent::with(settings);
    let hear = |agent: &mut Agent, n: u32| {
        let text = message(&format!("im{n}"), PLAIN, "x");
        agent.hears(&text.replace("s2x-1@", &format!("s2x-{n}@")));
    };
    for n in 0..4 {
        hear(&mut agent, n);
        arrived(&mut agent);
    }
    hear(&mut agent, 4);
    assert!(agent.says_response(503).headers.contains("Retry-After"));
    agent.passes_seconds(1);
    hear(&mut agent, 5);
    arrived(&mut agent);
    agent.is_silent();
}

#[test]
fn options_tell_what_we_can() {
    for uri in [
        "sip:gw.jabber.example",
        "sip:jabber.example",
        "sip:alma@jabber.example",
    ] {
        let mut agent = Agent::new();
        let text = from_bruno("OPTIONS", "o1", 1, "", "", "");
        agent.hears(&text.replace("OPTIONS sip:alma@jabber.example", &format!("OPTIONS {uri}")));
        let answer = agent.says_response(200);
        for (name, value) in [
            ("Allow", "MESSAGE"),
            ("Allow", "SUBSCRIBE"),
            ("Allow", "NOTIFY"),
            ("Accept", "text/plain"),
            ("Allow-Events", "presence"),
        ] {
            assert!(answer.headers.lists(name, value), "{name} {answer:?}");
        }
        assert!(answer.headers.contains("Supported"));
        agent.is_silent();
    }
    let mut agent = Agent::new();
    let text = from_bruno("OPTIONS", "o1", 1, "", "", "");
    agent.hears(&text.replace("OPTIONS sip:alma@jabber", "OPTIONS sip:alma@elsewhere"));
    agent.says_response(404);
    agent.is_silent();
}

#[test]
fn stray_and_broken_octets() {
    let mut agent = Agent::new();
    for dropped in [
        "",
        "\r\n\r\n",
        "<stream:stream>",
        &from_bruno("ACK", "a1", 1, "", "", ""),
        &from_bruno("BENOTIFY", "b1", 1, "", "Event: presence\r\n", ""),
        "SIP/2.0 200 OK\r\nVia: SIP/2.0/TLS gw.jabber.example:5061;branch=z9hG4bKnobody\r\nFrom: <sip:a@b>;tag=1\r\n\
         To: <sip:c@d>;tag=2\r\nCall-ID: x\r\nCSeq: 1 MESSAGE\r\nContent-Length: 0\r\n\r\n",
    ] {
        agent.hears(dropped);
        agent.is_silent();
    }
    agent.hears(&message("im1", PLAIN, "x").replace("Content-Length: 1", "Content-Length: one"));
    agent.says_response(400);
    agent.hears(&message("im2", PLAIN, "x").replace("SIP/2.0\r\nVia", "SIP/3.0\r\nVia"));
    agent.says_response(505);
    agent.is_silent();
    assert_eq!(agent.ua.status().messages_in, 0);
    assert!(agent.ua.is_quiet());
}

// ------------------------------------------------------------------------------------- long messages

fn long(word: LongMessages, limit: usize) -> Agent {
    let mut settings = world();
    settings.page_limit = limit;
    settings.sip_domains[0].dialect = Rule {
        profile: Some(Profile::Simple),
        overrides: Overrides {
            long_messages: Some(word),
            ..Overrides::default()
        },
    };
    Agent::with(settings)
}

#[test]
fn a_long_message_goes_in_parts_with_one_outcome() {
    let mut agent = long(LongMessages::Split, 10);
    send(&mut agent, 1, bruno(), im("one two three four"));
    send(&mut agent, 2, bruno(), im("next"));
    let mut last = 0;
    for part in ["one two ", "three four"] {
        let request = agent.says_request("MESSAGE");
        assert_eq!(body(&request), part);
        let cseq = request.headers.cseq().unwrap().number;
        assert!(cseq > last || request.field("Call-ID") != "t");
        last = cseq;
        agent.is_silent();
        agent.hears_answer(&request, 200, "");
    }
    assert_eq!(outcome(&mut agent), (1, Ok(())));
    let next = agent.says_request("MESSAGE");
    assert_eq!(body(&next), "next");
    agent.hears_answer(&next, 200, "");
    assert_eq!(outcome(&mut agent), (2, Ok(())));
    agent.is_silent();
    assert!(agent.ua.is_empty());
    // A character is never cut.
    let mut agent = long(LongMessages::Split, 10);
    send(&mut agent, 3, bruno(), im("👨‍👩‍👧"));
    assert_eq!(outcome(&mut agent), (3, Err(local(Local::TooLarge))));
    agent.is_silent();
}

#[test]
fn a_message_that_would_be_too_many_parts_is_refused() {
    for word in [LongMessages::Refuse, LongMessages::Split] {
        let mut agent = long(word, 1300);
        send(&mut agent, 1, bruno(), im(&"x".repeat(200_000)));
        assert_eq!(outcome(&mut agent), (1, Err(local(Local::TooLarge))));
        agent.is_silent();
        assert!(agent.ua.is_empty());
    }
}

#[test]
fn a_part_that_fails_ends_the_message() {
    for (after, words) in [
        (0, "Words"),
        (1, "Only 1 of 3 parts arrived: Words"),
        (2, "Only 2 of 3 parts arrived: Words"),
    ] {
        let mut agent = long(LongMessages::Split, 4);
        send(&mut agent, 1, bruno(), im("aaaabbbbcccc"));
        for _ in 0..after {
            let request = agent.says_request("MESSAGE");
            agent.hears_answer(&request, 200, "");
        }
        let request = agent.says_request("MESSAGE");
        agent.hears_answer(&request, 480, "");
        let (_, failed) = outcome(&mut agent);
        assert!(
            matches!(&failed, Err(Failure::Sip(status)) if status.code == 480 && status.reason == words),
            "{failed:?}"
        );
        agent.is_silent();
        assert!(agent.ua.is_empty());
    }
    let mut agent = long(LongMessages::Split, 4);
    send(&mut agent, 1, bruno(), im("aaaabbbb"));
    let request = agent.says_request("MESSAGE");
    agent.hears_answer(&request, 200, "");
    agent.passes_seconds(33);
    let (_, failed) = outcome(&mut agent);
    assert!(
        matches!(failed, Err(Failure::Sip(status)) if status.reason.starts_with("Only 1 of 2 parts arrived"))
    );
}

#[test]
fn a_long_message_opens_a_session_and_later_ones_follow() {
    let mut agent = long(LongMessages::Session, 10);
    send(&mut agent, 1, bruno(), im("one"));
    send(&mut agent, 2, bruno(), im("two, which is long"));
    send(&mut agent, 3, bruno(), im("three"));
    let one = agent.says_request("MESSAGE");
    agent.hears_answer(&one, 200, "");
    assert_eq!(outcome(&mut agent), (1, Ok(())));
    let invite = agent.says_request("INVITE");
    agent.is_silent();
    accepts(&mut agent, &invite, "b1", IN_DIALOG);
    agent.says_request("ACK");
    for (reference, words) in [(2, "two, which is long"), (3, "three")] {
        let request = agent.says_request("MESSAGE");
        assert_eq!(body(&request), words);
        assert_eq!(request.tag("To"), "b1");
        agent.hears_answer(&request, 200, "");
        assert_eq!(outcome(&mut agent), (reference, Ok(())));
    }
    agent.is_silent();
    // Nothing was learnt of the peer by that.
    assert_eq!(agent.ua.poll_learned(), None);
}

#[test]
fn a_session_that_is_refused_refuses_the_long_message_only() {
    let mut agent = long(LongMessages::Session, 10);
    send(&mut agent, 1, bruno(), im("one, which is long"));
    let invite = agent.says_request("INVITE");
    agent.hears_answer(&invite, 488, "");
    agent.says_request("ACK");
    assert_eq!(outcome(&mut agent), (1, Err(local(Local::TooLarge))));
    send(&mut agent, 2, bruno(), im("two"));
    let two = agent.says_request("MESSAGE");
    agent.hears_answer(&two, 200, "");
    assert_eq!(outcome(&mut agent), (2, Ok(())));
    agent.is_silent();
    assert_eq!(agent.ua.poll_learned(), None);
    assert!(agent.ua.is_empty());
}

#[test]
fn a_peer_that_takes_html_only_gets_it() {
    let mut agent = Agent::new();
    send(&mut agent, 1, bruno(), im("a < b"));
    let plain = agent.says_request("MESSAGE");
    agent.hears_answer(&plain, 415, "Accept: text/html\r\n");
    let html = agent.says_request("MESSAGE");
    assert!(html.field("Content-Type").starts_with("text/html"));
    assert_eq!(body(&html), "a &lt; b");
    agent.hears_answer(&html, 415, "Accept: text/html\r\n");
    assert!(matches!(outcome(&mut agent), (1, Err(Failure::Sip(status))) if status.code == 415));
    agent.is_silent();
}
