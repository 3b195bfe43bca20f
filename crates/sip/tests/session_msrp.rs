//! IM sessions over MSRP: what becomes of messages, and how the SIP dialog and the MSRP session end together, on virtual
//! time.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests may fail a test"
)]

mod agent;

use agent::session::{GRUU, SDP, described, im, sends, settled};
use agent::{Agent, Fields, from_bruno, world};
use bytes::Bytes;
use stox_core::failure::{Condition, Failure, StanzaError};
use stox_core::vocab::{Im, Ref, SipIn, SipOut, Trace};
use stox_sip::dialect::{ImMode, Learned, Overrides, Profile, Rule, Weight};
use stox_sip::message::{Request, Response};
use stox_sip::msrp::endpoint;
use stox_sip::transport::FlowId;
use stox_sip::ua::settings::{Msrp, Settings};

const THEIRS: &str = "msrp://192.0.2.10:9/k7s;tcp";
const FLOW: FlowId = FlowId(50);

/// A user agent that opens sessions, and takes MSRP.
fn agent() -> Agent {
    Agent::with(settings())
}

fn settings() -> Settings {
    let mut settings = world();
    settings.sip_domains[0].dialect = Rule {
        profile: Some(Profile::Simple),
        overrides: Overrides {
            im: Some(ImMode::Session),
            requests_per_second: Some(0),
            ..Overrides::default()
        },
    };
    settings.msrp = Some(Msrp {
        host: "gw.jabber.example".to_owned(),
        tcp_port: Some(2855),
        tls_port: None,
        fingerprint: None,
        networks: Vec::new(),
        relay: None,
        endpoint: endpoint::Settings::default(),
    });
    settings
}

/// Bruno's INVITE, who is going to connect; the answer.
fn called(agent: &mut Agent) -> Response {
    called_with(agent, "")
}

/// The same with more lines in its offer.
fn called_with(agent: &mut Agent, more: &str) -> Response {
    let media = format!(
        "m=message 9 TCP/MSRP *\r\na=accept-types:text/plain\r\na=path:{THEIRS}\r\na=setup:active{more}"
    );
    let more = format!("{GRUU}{SDP}");
    agent.hears(&from_bruno(
        "INVITE",
        "i1",
        1,
        "",
        &more,
        &described(&media),
    ));
    agent.says_response(200)
}

fn acknowledges(agent: &mut Agent, answer: &Response) {
    agent.hears(&from_bruno("ACK", "a1", 1, &answer.tag("To"), "", ""));
}

fn path(answer: &Response) -> String {
    let body = std::str::from_utf8(&answer.body).unwrap();
    let path = body.lines().find_map(|line| line.strip_prefix("a=path:"));
    path.expect("a path").to_owned()
}

/// Bruno connects and binds the connection to the session.
fn connects(agent: &mut Agent, answer: &Response) {
    agent.ua.msrp_accepted(FLOW, false, None, agent.now);
    let bind = format!(
        "MSRP bind0001 SEND\r\nTo-Path: {}\r\nFrom-Path: {THEIRS}\r\nMessage-ID: bind-1\r\n\
         Byte-Range: 1-0/0\r\n-------bind0001$\r\n",
        path(answer)
    );
    agent.ua.msrp_received(FLOW, bind.as_bytes(), agent.now);
    assert!(writes(agent).starts_with("MSRP bind0001 200"));
}

/// What goes out over MSRP next.
fn writes(agent: &mut Agent) -> String {
    let (flow, octets): (FlowId, Bytes) = agent.ua.poll_msrp_transmit().expect("MSRP");
    assert_eq!(flow, FLOW);
    agent.ua.msrp_written(flow, octets.len(), agent.now);
    agent.pump();
    String::from_utf8(octets.to_vec()).unwrap()
}

/// Bruno's answer to a SEND.
fn answers(agent: &mut Agent, send: &str, status: &str, to: &str) {
    let transaction = send.split(' ').nth(1).unwrap();
    let answer = format!(
        "MSRP {transaction} {status}\r\nTo-Path: {to}\r\nFrom-Path: {THEIRS}\r\n-------{transaction}$\r\n"
    );
    agent.ua.msrp_received(FLOW, answer.as_bytes(), agent.now);
    agent.pump();
}

#[test]
fn a_connection_that_ends_before_the_ack_ends_the_session() {
    let mut agent = agent();
    let answer = called(&mut agent);
    connects(&mut agent, &answer);
    agent.ua.msrp_closed(FLOW, agent.now);
    agent.pump();
    agent.is_silent();
    acknowledges(&mut agent, &answer);
    let bye = agent.says_request("BYE");
    agent.hears_answer(&bye, 200, "");
    assert_eq!(agent.ua.status().sessions, 0);
}

#[test]
fn a_message_for_which_the_peer_knows_no_session_opens_another() {
    let mut agent = agent();
    let answer = called(&mut agent);
    acknowledges(&mut agent, &answer);
    connects(&mut agent, &answer);
    sends(&mut agent, 1, im("hello", None));
    let send = writes(&mut agent);
    assert!(send.contains("\r\n\r\nhello\r\n"), "{send}");
    answers(&mut agent, &send, "481 Unknown", &path(&answer));
    // The dialog is still there: it ends properly.
    let bye = agent.says_request("BYE");
    let invite = agent.says_request("INVITE");
    assert_ne!(bye.field("Call-ID"), invite.field("Call-ID"));
    agent.hears_answer(&bye, 200, "");
    assert_eq!(agent.ua.status().sessions, 1);
}

#[test]
fn a_message_whose_connection_is_lost_has_an_unknown_outcome() {
    let mut agent = agent();
    let answer = called(&mut agent);
    acknowledges(&mut agent, &answer);
    connects(&mut agent, &answer);
    sends(&mut agent, 1, im("hello", None));
    let send = writes(&mut agent);
    assert!(send.contains("\r\n\r\nhello\r\n"), "{send}");
    agent.ua.msrp_closed(FLOW, agent.now);
    agent.pump();
    let (reference, outcome) = settled(&mut agent);
    assert_eq!(reference, 1);
    assert!(outcome.is_err());
    let bye = agent.says_request("BYE");
    agent.hears_answer(&bye, 200, "");
    agent.is_silent();
    assert_eq!(agent.ua.status().sessions, 0);
}

#[test]
fn a_stop_ends_a_session_that_waits_for_its_connection() {
    let mut agent = agent();
    let answer = called(&mut agent);
    acknowledges(&mut agent, &answer);
    agent.is_silent();
    agent.ua.shut_down(agent.now);
    agent.pump();
    let bye = agent.says_request("BYE");
    agent.hears_answer(&bye, 200, "");
    assert_eq!(agent.ua.status().sessions, 0);
    assert!(agent.ua.is_quiet());
}

#[test]
fn a_stop_waits_for_the_fate_of_a_message() {
    let mut agent = agent();
    let path = talks(&mut agent);
    sends(&mut agent, 1, im("hello", None));
    let send = writes(&mut agent);
    agent.ua.shut_down(agent.now);
    agent.pump();
    let bye = agent.says_request("BYE");
    agent.hears_answer(&bye, 200, "");
    assert!(!agent.ua.is_quiet());
    answers(&mut agent, &send, "200 OK", &path);
    assert_eq!(settled(&mut agent), (1, Ok(())));
    assert!(agent.ua.is_quiet());
    assert_eq!(agent.ua.status().sessions, 0);
}

/// Bruno connects, after the ACK.
fn talks(agent: &mut Agent) -> String {
    let answer = called(agent);
    acknowledges(agent, &answer);
    connects(agent, &answer);
    path(&answer)
}

/// Bruno writes; what the bridge is told.
fn hears_text(agent: &mut Agent, path: &str, transaction: &str, text: &str) -> Ref {
    hears_im(agent, path, transaction, text).0
}

/// The same, with all of it.
fn hears_im(agent: &mut Agent, path: &str, transaction: &str, text: &str) -> (Ref, Im) {
    let length = text.len();
    let send = format!(
        "MSRP {transaction} SEND\r\nTo-Path: {path}\r\nFrom-Path: {THEIRS}\r\nMessage-ID: id-{transaction}\r\n\
         Byte-Range: 1-{length}/{length}\r\nContent-Type: text/plain\r\n\r\n{text}\r\n-------{transaction}$\r\n"
    );
    agent.ua.msrp_received(FLOW, send.as_bytes(), agent.now);
    agent.pump();
    match agent.tells() {
        SipIn::Message { reference, im, .. } => {
            assert_eq!(im.bodies[0].text, text);
            (reference, im)
        }
        other => panic!("{other:?}"),
    }
}

fn is_answered(agent: &mut Agent, reference: Ref, outcome: Result<(), Failure>) {
    agent.does(SipOut::AnswerMessage { reference, outcome });
}

#[test]
fn a_message_is_answered_when_its_fate_is_known() {
    let mut agent = agent();
    let path = talks(&mut agent);
    let first = hears_text(&mut agent, &path, "text0001", "one");
    let second = hears_text(&mut agent, &path, "text0002", "two");
    assert!(agent.ua.poll_msrp_transmit().is_none());
    let gone = Failure::Xmpp {
        error: StanzaError::new(Condition::ItemNotFound),
        from_full_jid: true,
        new_address: None,
    };
    is_answered(&mut agent, second, Err(gone));
    let refusal = writes(&mut agent);
    assert!(refusal.starts_with("MSRP text0002 4"), "{refusal}");
    is_answered(&mut agent, first, Ok(()));
    assert!(writes(&mut agent).starts_with("MSRP text0001 200"));
    // The session goes on.
    let third = hears_text(&mut agent, &path, "text0003", "three");
    is_answered(&mut agent, third, Ok(()));
    assert!(writes(&mut agent).starts_with("MSRP text0003 200"));
    agent.is_silent();
}

#[test]
fn a_message_whose_fate_comes_late_is_reported_on() {
    let mut agent = agent();
    let path = talks(&mut agent);
    let reference = hears_text(&mut agent, &path, "text0001", "one");
    // Its sender would not wait for the answer any longer.
    agent.passes_seconds(30);
    assert!(writes(&mut agent).starts_with("MSRP text0001 200"));
    let gone = Failure::Xmpp {
        error: StanzaError::new(Condition::ItemNotFound),
        from_full_jid: true,
        new_address: None,
    };
    is_answered(&mut agent, reference, Err(gone));
    let report = writes(&mut agent);
    assert!(report.contains(" REPORT\r\n"), "{report}");
    assert!(
        report.contains("\r\nMessage-ID: id-text0001\r\n"),
        "{report}"
    );
    assert!(report.contains("\r\nStatus: 000 4"), "{report}");
    agent.is_silent();
}

#[test]
fn a_message_whose_sender_is_gone_is_answered_to_nobody() {
    let mut agent = agent();
    let path = talks(&mut agent);
    let reference = hears_text(&mut agent, &path, "text0001", "one");
    agent.ua.msrp_closed(FLOW, agent.now);
    agent.pump();
    assert_eq!(agent.tells(), SipIn::MessageGone { reference });
    let bye = agent.says_request("BYE");
    agent.hears_answer(&bye, 200, "");
    is_answered(&mut agent, reference, Ok(()));
    assert!(agent.ua.poll_msrp_transmit().is_none());
    agent.is_silent();
}

#[test]
fn a_refused_message_fails_and_the_next_one_goes_out() {
    let mut agent = agent();
    let path = talks(&mut agent);
    sends(&mut agent, 1, im("too long", None));
    sends(&mut agent, 2, im("short", None));
    let send = writes(&mut agent);
    answers(&mut agent, &send, "413 Too Big", &path);
    let (reference, outcome) = settled(&mut agent);
    assert_eq!(reference, 1);
    assert!(outcome.is_err());
    let send = writes(&mut agent);
    assert!(send.contains("\r\n\r\nshort\r\n"), "{send}");
    answers(&mut agent, &send, "200 OK", &path);
    assert_eq!(settled(&mut agent), (2, Ok(())));
    agent.is_silent();
}

#[test]
fn a_long_message_goes_in_chunks_where_the_peer_takes_it() {
    let text = "x".repeat(200_000);
    let long = Im {
        id: Some("m1".to_owned()),
        ..im(&text, None)
    };
    let mut agent = agent();
    let path = talks(&mut agent);
    sends(&mut agent, 1, long.clone());
    let (mut chunks, mut heard) = (0, 0);
    while heard < text.len() {
        let send = writes(&mut agent);
        let (_, content) = send.split_once("\r\n\r\n").unwrap();
        let (content, _) = content.split_once("\r\n-------").unwrap();
        chunks += 1;
        heard += content.len();
        answers(&mut agent, &send, "200 OK", &path);
    }
    assert_eq!(heard, text.len());
    assert!(chunks > 1);
    assert_eq!(settled(&mut agent), (1, Ok(())));

    let mut agent = self::agent();
    let answer = called_with(&mut agent, "\r\na=max-size:100000");
    acknowledges(&mut agent, &answer);
    connects(&mut agent, &answer);
    sends(&mut agent, 1, long);
    assert_eq!(settled(&mut agent), (1, Err(513)));
    assert!(agent.ua.poll_msrp_transmit().is_none());
    agent.is_silent();
    assert_eq!(agent.ua.status().sessions, 1);
}

#[test]
fn a_message_that_is_never_answered_fails_and_ends_the_session() {
    let mut agent = agent();
    talks(&mut agent);
    sends(&mut agent, 1, im("hello", None));
    assert!(writes(&mut agent).contains("\r\n\r\nhello\r\n"));
    agent.passes_seconds(31);
    let (reference, outcome) = settled(&mut agent);
    assert_eq!(reference, 1);
    assert!(outcome.is_err());
    let bye = agent.says_request("BYE");
    agent.hears_answer(&bye, 200, "");
    assert_eq!(agent.ua.status().sessions, 0);
}

#[test]
fn a_caller_that_never_connects_is_not_waited_for_forever() {
    let mut agent = agent();
    let answer = called(&mut agent);
    acknowledges(&mut agent, &answer);
    sends(&mut agent, 1, im("hello", None));
    agent.is_silent();
    agent.passes_seconds(31);
    let bye = agent.says_request("BYE");
    agent.hears_answer(&bye, 200, "");
    // What waited has its fate: it failed, or it goes another way.
    match agent.ua.poll_input() {
        Some(SipIn::Outcome { outcome, .. }) => assert!(outcome.is_err()),
        None => _ = agent.says_request("MESSAGE"),
        other => panic!("{other:?}"),
    }
    assert_eq!(agent.ua.status().sessions, 0);
}

#[test]
fn a_refused_offer_of_msrp_is_followed_by_the_message_alone() {
    for status in [405, 415, 488, 501, 606] {
        let mut agent = agent();
        sends(&mut agent, 1, im("hello", None));
        let invite = agent.says_request("INVITE");
        agent.hears_answer(&invite, status, "");
        let ack = agent.says_request("ACK");
        assert_eq!(ack.field("Call-ID"), invite.field("Call-ID"));
        let message = agent.says_request("MESSAGE");
        assert_eq!(&message.body[..], b"hello");
        agent.hears_answer(&message, 200, "");
        assert_eq!(settled(&mut agent), (1, Ok(())));
        agent.is_silent();
    }
}

fn hangs_up(agent: &mut Agent, answer_tag: &str) {
    agent.hears(&from_bruno("BYE", "b1", 2, answer_tag, "", ""));
    agent.says_response(200);
}

#[test]
fn a_message_before_a_bye_is_answered_when_its_fate_is_known() {
    let mut agent = agent();
    let answer = called(&mut agent);
    acknowledges(&mut agent, &answer);
    connects(&mut agent, &answer);
    let path = path(&answer);
    let reference = hears_text(&mut agent, &path, "text0001", "one");
    hangs_up(&mut agent, &answer.tag("To"));
    assert_eq!(agent.ua.status().sessions, 0);
    assert!(agent.ua.poll_msrp_transmit().is_none());
    // Nothing more is taken in it.
    let late = format!(
        "MSRP text0002 SEND\r\nTo-Path: {path}\r\nFrom-Path: {THEIRS}\r\nMessage-ID: id-text0002\r\n\
         Byte-Range: 1-3/3\r\nContent-Type: text/plain\r\n\r\ntwo\r\n-------text0002$\r\n"
    );
    agent.ua.msrp_received(FLOW, late.as_bytes(), agent.now);
    agent.pump();
    assert!(writes(&mut agent).starts_with("MSRP text0002 481"));
    is_answered(&mut agent, reference, Ok(()));
    assert!(writes(&mut agent).starts_with("MSRP text0001 200"));
    assert_eq!(agent.ua.poll_msrp_close(), Some(FLOW));
    agent.passes_seconds(60);
    assert!(agent.ua.poll_input().is_none());
    assert!(agent.ua.is_empty());
}

#[test]
fn nothing_is_owed_for_a_session_that_is_over() {
    let mut agent = agent();
    let answer = called(&mut agent);
    acknowledges(&mut agent, &answer);
    connects(&mut agent, &answer);
    let send = format!(
        "MSRP text0001 SEND\r\nTo-Path: {}\r\nFrom-Path: {THEIRS}\r\nMessage-ID: id-text0001\r\n\
         Success-Report: yes\r\nByte-Range: 1-3/3\r\nContent-Type: text/plain\r\n\r\none\r\n-------text0001$\r\n",
        path(&answer)
    );
    agent.ua.msrp_received(FLOW, send.as_bytes(), agent.now);
    agent.pump();
    let SipIn::Message { reference, .. } = agent.tells() else {
        panic!("no message");
    };
    hangs_up(&mut agent, &answer.tag("To"));
    agent.ua.msrp_closed(FLOW, agent.now);
    agent.pump();
    assert_eq!(agent.tells(), SipIn::MessageGone { reference });
    is_answered(&mut agent, reference, Ok(()));
    agent.passes_seconds(60);
    assert!(agent.ua.is_empty());
}

#[test]
fn a_failure_is_reported_of_messages_that_want_no_receipt() {
    let mut agent = agent();
    let path = talks(&mut agent);
    sends(&mut agent, 1, im("hello", None));
    let send = writes(&mut agent);
    let id = send
        .lines()
        .find_map(|line| line.strip_prefix("Message-ID: "));
    answers(&mut agent, &send, "200 OK", &path);
    assert_eq!(settled(&mut agent), (1, Ok(())));
    let report = format!(
        "MSRP repo0001 REPORT\r\nTo-Path: {path}\r\nFrom-Path: {THEIRS}\r\nMessage-ID: {}\r\n\
         Byte-Range: 1-5/5\r\nStatus: 000 408 Too Late\r\n-------repo0001$\r\n",
        id.unwrap()
    );
    // Once, however often it is said.
    agent.ua.msrp_received(FLOW, report.as_bytes(), agent.now);
    agent.ua.msrp_received(FLOW, report.as_bytes(), agent.now);
    agent.pump();
    match agent.tells() {
        SipIn::Receipt { reference, receipt } => {
            assert_eq!(reference, Ref(1));
            assert!(receipt.is_err());
        }
        other => panic!("{other:?}"),
    }
    agent.is_silent();
}

/// Bruno takes our INVITE and will connect; our tag.
fn takes(agent: &mut Agent, tag: &str) -> String {
    let invite = agent.says_request("INVITE");
    let media = format!(
        "m=message 9 TCP/MSRP *\r\na=accept-types:text/plain\r\na=path:{THEIRS}\r\na=setup:active"
    );
    agent::session::accepts(agent, &invite, tag, &media);
    agent.says_request("ACK");
    invite.field("Call-ID").to_owned() + "\n" + invite.field("From")
}

/// Bruno's BYE in a session of ours.
fn leaves(agent: &mut Agent, dialog: &str, tag: &str) {
    let (call_id, from) = dialog.split_once('\n').unwrap();
    agent.hears(&format!(
        "BYE sip:gw.jabber.example SIP/2.0\r\nVia: SIP/2.0/TLS edge.ocs.example:5061;branch=z9hG4bKbye{tag}\r\n\
         Max-Forwards: 70\r\nFrom: <sip:bruno@ocs.example>;tag={tag}\r\nTo: {from}\r\nCall-ID: {call_id}\r\n\
         CSeq: 2 BYE\r\nContent-Length: 0\r\n\r\n"
    ));
    agent.says_response(200);
}

#[test]
fn a_peer_that_takes_sessions_and_leaves_them_is_not_asked_without_end() {
    let mut agent = agent();
    sends(&mut agent, 1, im("one", None));
    sends(&mut agent, 2, im("two", None));
    for tag in ["b1", "b2"] {
        let dialog = takes(&mut agent, tag);
        agent.is_silent();
        leaves(&mut agent, &dialog, tag);
    }
    // They go by themselves then, in order.
    for (reference, text) in [(1, "one"), (2, "two")] {
        let message = agent.says_request("MESSAGE");
        assert_eq!(&message.body[..], text.as_bytes());
        agent.hears_answer(&message, 200, "");
        assert_eq!(settled(&mut agent), (reference, Ok(())));
    }
    agent.is_silent();
    assert_eq!(agent.ua.status().sessions, 0);
}

#[test]
fn a_missing_connection_teaches_nothing_of_the_domain() {
    let mut settings = settings();
    settings.sip_domains[0].dialect = Rule::default();
    let mut agent = Agent::with(settings);
    agent.ua.restore(
        [Learned {
            domain: "ocs.example".to_owned(),
            profile: Profile::Simple,
            im: Some(ImMode::Session),
            evidence: String::new(),
            weight: Weight::Answer,
        }],
        agent.now,
    );
    sends(&mut agent, 1, im("one", None));
    takes(&mut agent, "b1");
    agent.passes_seconds(31);
    let bye = agent.says_request("BYE");
    let message = agent.says_request("MESSAGE");
    agent.hears_answer(&bye, 200, "");
    agent.hears_answer(&message, 200, "");
    assert_eq!(settled(&mut agent), (1, Ok(())));
    assert_eq!(agent.ua.poll_learned(), None);
}

/// Bruno connects before his answer to our INVITE is here; where we are in the session.
fn connects_early(agent: &mut Agent, invite: &Request) -> String {
    let offer = std::str::from_utf8(&invite.body).unwrap().to_owned();
    let path = offer.split("a=path:").nth(1).unwrap();
    let path = path.lines().next().unwrap().to_owned();
    agent.ua.msrp_accepted(FLOW, false, None, agent.now);
    let bind = format!(
        "MSRP bind0001 SEND\r\nTo-Path: {path}\r\nFrom-Path: {THEIRS}\r\nMessage-ID: b1b1\r\n-------bind0001$\r\n"
    );
    agent.ua.msrp_received(FLOW, bind.as_bytes(), agent.now);
    agent.pump();
    assert!(agent.ua.poll_msrp_transmit().is_none());
    let media = format!(
        "m=message 9 TCP/MSRP *\r\na=accept-types:text/plain\r\na=setup:active\r\na=path:{THEIRS}"
    );
    agent.hears_answer_with(invite, 200, &format!("{GRUU}{SDP}"), &described(&media));
    agent.says_request("ACK");
    assert!(writes(agent).starts_with("MSRP bind0001 200"));
    path
}

#[test]
fn a_peer_may_connect_before_its_answer_to_our_offer_is_here() {
    let mut agent = agent();
    sends(&mut agent, 1, im("hello", None));
    let invite = agent.says_request("INVITE");
    let path = connects_early(&mut agent, &invite);
    let send = writes(&mut agent);
    assert!(send.contains("\r\n\r\nhello\r\n"), "{send}");
    let local = send.lines().nth(2).unwrap();
    assert_eq!(local, format!("From-Path: {path}"));
    answers(&mut agent, &send, "200 OK", &path);
    assert_eq!(settled(&mut agent), (1, Ok(())));
}

#[test]
fn only_what_comes_in_their_sessions_has_crossed_what_crossed_the_invite() {
    let crossed = |text: &str| Trace::parse(text);
    let mut agent = agent();
    let mut hello = im("hello", None);
    hello.trace = crossed("other, own");
    sends(&mut agent, 1, hello);
    let invite = agent.says_request("INVITE");
    assert_eq!(invite.field("Stoxgate-Trace"), "other, own");
    let path = connects_early(&mut agent, &invite);
    writes(&mut agent);
    let (_, im) = hears_im(&mut agent, &path, "text0001", "one");
    assert_eq!(im.trace, crossed(""), "in a session of ours");

    let mut agent = self::agent();
    let media = format!(
        "m=message 9 TCP/MSRP *\r\na=accept-types:text/plain\r\na=path:{THEIRS}\r\na=setup:active"
    );
    let more = format!("{GRUU}{SDP}Stoxgate-Trace: other\r\n");
    agent.hears(&from_bruno(
        "INVITE",
        "i1",
        1,
        "",
        &more,
        &described(&media),
    ));
    let answer = agent.says_response(200);
    acknowledges(&mut agent, &answer);
    connects(&mut agent, &answer);
    let (_, im) = hears_im(&mut agent, &self::path(&answer), "text0001", "one");
    assert_eq!(im.trace, crossed("other"), "in a session of theirs");
}
