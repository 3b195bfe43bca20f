//! What is said beside messages outside sessions: typing and receipts, on virtual time.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests may fail a test"
)]

mod agent;

use std::time::Duration;

use agent::session::{called, im, laptop, sends, settled, shows, state, text};
use agent::{Agent, Fields, bruno, from_bruno, world};
use stox_core::address::SipAddress;
use stox_core::failure::to_sip;
use stox_core::vocab::{ChatState, Im, Receipt, Ref, SipIn, SipOut, Text, Wants};
use stox_sip::body::cpim::Cpim;
use stox_sip::body::imdn::{self, Disposition};
use stox_sip::body::iscomposing;
use stox_sip::dialect::{ImMode, Overrides, PageTyping, PageWrapper, Profile, Rule};
use stox_sip::message::Request;

const COMPOSING: &str = "Content-Type: application/im-iscomposing+xml\r\n";
const PLAIN: &str = "Content-Type: text/plain\r\n";
const IDLE: &str = "<isComposing xmlns=\"urn:ietf:params:xml:ns:im-iscomposing\"><state>idle</state></isComposing>";

fn agent(overrides: Overrides) -> Agent {
    let mut settings = world();
    settings.sip_domains[0].dialect = Rule {
        profile: Some(Profile::Simple),
        overrides,
    };
    Agent::with(settings)
}

fn typing(word: PageTyping) -> Agent {
    agent(Overrides {
        page_typing: Some(word),
        ..Overrides::default()
    })
}

fn hears(agent: &mut Agent, branch: &str, more: &str, body: &str) {
    let text = from_bruno("MESSAGE", branch, 1, "", more, body);
    agent.hears(&text.replace("s2x-1@", &format!("{branch}@")));
}

/// The next MESSAGE, a notice of typing: does it say that she types?
fn notice(agent: &mut Agent) -> (Request, bool) {
    let request = agent.says_request("MESSAGE");
    assert_eq!(
        request.field("Content-Type"),
        "application/im-iscomposing+xml"
    );
    let found = iscomposing::parse(&request.body, None).unwrap();
    (request, found.active)
}

fn takes_notice(agent: &mut Agent, active: bool) {
    let (request, found) = notice(agent);
    assert_eq!(found, active);
    agent.hears_answer(&request, 200, "");
    agent.is_silent();
}

// -------------------------------------------------------------------------------------------- typing

#[test]
fn nobody_is_told_who_has_not_shown_to_understand() {
    for (word, more, body, told) in [
        (PageTyping::Known, "", "", false),
        (PageTyping::Known, COMPOSING, IDLE, true),
        (
            PageTyping::Known,
            "Accept: text/plain, application/im-iscomposing+xml\r\nContent-Type: text/plain\r\n",
            "x",
            true,
        ),
        (
            PageTyping::Known,
            "Accept: */*\r\nContent-Type: text/plain\r\n",
            "x",
            false,
        ),
        (PageTyping::Known, PLAIN, "x", false),
        (PageTyping::Off, COMPOSING, IDLE, false),
        (PageTyping::Always, "", "", true),
    ] {
        let mut agent = typing(word);
        if !more.is_empty() {
            hears(&mut agent, "n1", more, body);
            agent.said();
            while agent.ua.poll_input().is_some() {}
        }
        shows(&mut agent, ChatState::Composing);
        if told {
            takes_notice(&mut agent, true);
        }
        agent.is_silent();
    }
}

#[test]
fn a_client_is_invited_to_tell_whose_peer_understands() {
    let mut agent = Agent::new();
    hears(&mut agent, "m1", PLAIN, "x");
    hears(&mut agent, "n1", COMPOSING, IDLE);
    hears(&mut agent, "m2", PLAIN, "y");
    let states: Vec<_> = std::iter::from_fn(|| agent.ua.poll_input())
        .map(|input| match input {
            SipIn::Message { im, .. } => im.chat_state,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(states, [None, Some(ChatState::Active)]);
}

#[test]
fn typing_is_repeated_and_ends() {
    let mut agent = typing(PageTyping::Always);
    let begin = agent.now.mono;
    shows(&mut agent, ChatState::Composing);
    let (request, active) = notice(&mut agent);
    assert!(active && !request.headers.contains("Contact"));
    assert!(text(&request).contains("<refresh>90</refresh>"));
    agent.hears_answer(&request, 202, "");
    shows(&mut agent, ChatState::Composing);
    agent.passes_seconds(59);
    agent.is_silent();
    agent.passes_seconds(1);
    takes_notice(&mut agent, true);
    // Nobody types for longer than two minutes.
    agent.passes_seconds(60);
    assert_eq!(agent.now.mono - begin, Duration::from_secs(120));
    takes_notice(&mut agent, false);
    assert!(agent.ua.is_empty());
    // Each way of not typing is one, and told once.
    for stop in [
        ChatState::Active,
        ChatState::Paused,
        ChatState::Inactive,
        ChatState::Gone,
    ] {
        shows(&mut agent, stop);
        agent.is_silent();
        shows(&mut agent, ChatState::Composing);
        takes_notice(&mut agent, true);
        shows(&mut agent, stop);
        takes_notice(&mut agent, false);
        shows(&mut agent, stop);
        agent.is_silent();
    }
    assert!(agent.ua.is_empty());
}

#[test]
fn a_message_ends_typing_and_is_never_overtaken() {
    let mut agent = typing(PageTyping::Always);
    shows(&mut agent, ChatState::Composing);
    let (first, _) = notice(&mut agent);
    // One MESSAGE at a time: the text follows the notice.
    sends(&mut agent, 1, im("one", None));
    agent.is_silent();
    agent.hears_answer(&first, 200, "");
    let one = agent.says_request("MESSAGE");
    assert_eq!(text(&one), "one");
    // She begins anew while it is on its way: told behind it. What was over before is not told at all.
    shows(&mut agent, ChatState::Composing);
    shows(&mut agent, ChatState::Paused);
    shows(&mut agent, ChatState::Composing);
    sends(&mut agent, 2, im("two", None));
    agent.is_silent();
    agent.hears_answer(&one, 200, "");
    assert_eq!(settled(&mut agent), (1, Ok(())));
    let two = agent.says_request("MESSAGE");
    assert_eq!(text(&two), "two");
    shows(&mut agent, ChatState::Composing);
    agent.hears_answer(&two, 200, "");
    assert_eq!(settled(&mut agent), (2, Ok(())));
    takes_notice(&mut agent, true);
    // What she does at last is what is told, when another message was in the way.
    sends(&mut agent, 3, im("three", None));
    let three = agent.says_request("MESSAGE");
    shows(&mut agent, ChatState::Composing);
    shows(&mut agent, ChatState::Paused);
    agent.hears_answer(&three, 200, "");
    assert_eq!(settled(&mut agent), (3, Ok(())));
    agent.is_silent();
    assert!(agent.ua.is_empty());
}

#[test]
fn who_refuses_is_spared() {
    for status in [415, 405, 501, 488] {
        let mut agent = typing(PageTyping::Always);
        shows(&mut agent, ChatState::Composing);
        let (request, _) = notice(&mut agent);
        agent.hears_answer(&request, status, "Accept: text/plain\r\n");
        shows(&mut agent, ChatState::Paused);
        shows(&mut agent, ChatState::Composing);
        agent.is_silent();
        assert!(agent.ua.is_empty());
        // He is asked again after a day.
        agent.passes_seconds(24 * 3600);
        shows(&mut agent, ChatState::Composing);
        takes_notice(&mut agent, true);
    }
}

#[test]
fn a_notice_that_is_not_answered_costs_no_message() {
    let mut agent = typing(PageTyping::Always);
    shows(&mut agent, ChatState::Composing);
    notice(&mut agent);
    sends(&mut agent, 1, im("one", None));
    agent.is_silent();
    agent.passes_seconds(33);
    let requests = agent.says_requests();
    let one = requests.last().unwrap();
    assert_eq!(text(one), "one");
    agent.hears_answer(one, 200, "");
    assert_eq!(settled(&mut agent), (1, Ok(())));
    shows(&mut agent, ChatState::Composing);
    agent.is_silent();
    agent.passes_seconds(600);
    shows(&mut agent, ChatState::Composing);
    notice(&mut agent);
}

#[test]
fn a_failure_is_told_to_nobody() {
    let mut agent = typing(PageTyping::Always);
    for status in [404, 480, 503] {
        shows(&mut agent, ChatState::Composing);
        let (request, _) = notice(&mut agent);
        agent.hears_answer(&request, status, "");
        agent.is_silent();
        assert!(agent.ua.is_empty());
    }
}

#[test]
fn a_peer_of_sessions_is_told_inside_them() {
    let mut agent = agent(Overrides {
        im: Some(ImMode::Session),
        ..Overrides::default()
    });
    hears(&mut agent, "n1", COMPOSING, IDLE);
    agent.says_response(200);
    shows(&mut agent, ChatState::Composing);
    agent.is_silent();
}

#[test]
fn a_session_takes_over() {
    let mut agent = typing(PageTyping::Always);
    shows(&mut agent, ChatState::Composing);
    takes_notice(&mut agent, true);
    called(&mut agent, "");
    sends(&mut agent, 1, im("one", None));
    let one = agent.says_request("MESSAGE");
    assert!(!one.tag("To").is_empty());
    agent.hears_answer(&one, 200, "");
    assert_eq!(settled(&mut agent), (1, Ok(())));
    agent.passes_seconds(200);
    agent.is_silent();
    shows(&mut agent, ChatState::Composing);
    assert!(!notice(&mut agent).0.tag("To").is_empty());
}

// ------------------------------------------------------------------------------------------ receipts

const BOTH: Wants = Wants {
    delivered: true,
    displayed: true,
};

fn asks(agent: &mut Agent, reference: u64, words: &str, wants: Wants) -> Request {
    let content = Im {
        wants,
        ..im(words, Some("t-1"))
    };
    sends(agent, reference, content);
    agent.says_request("MESSAGE")
}

fn imdn(id: &str, around: &str, status: &str) -> String {
    format!(
        "<?xml version=\"1.0\"?><imdn xmlns=\"urn:ietf:params:xml:ns:imdn\"><message-id>{id}</message-id>\
         <datetime>2026-03-01T09:00:00Z</datetime><{around}><status><{status}/></status></{around}></imdn>"
    )
}

fn told(agent: &mut Agent) -> (u64, Result<Receipt, u16>) {
    match agent.tells() {
        SipIn::Receipt { reference, receipt } => (
            reference.0,
            receipt.map_err(|failure| to_sip(&failure).code),
        ),
        other => panic!("{other:?}"),
    }
}

fn hears_imdn(agent: &mut Agent, branch: &str, document: &str) {
    hears(
        agent,
        branch,
        "Content-Type: message/imdn+xml\r\n",
        document,
    );
    agent.says_response(200);
}

#[test]
fn a_receipt_without_wrapper_names_the_call() {
    let mut agent = Agent::new();
    // COMPAT(linphone): it tells of every message, asked or not, and calls it by its Call-ID.
    let one = asks(&mut agent, 1, "one", BOTH);
    assert!(one.field("Content-Type").starts_with("text/plain"));
    hears_imdn(
        &mut agent,
        "r1",
        &imdn("t-1", "delivery-notification", "delivered"),
    );
    assert_eq!(told(&mut agent), (1, Ok(Receipt::Delivered)));
    agent.hears_answer(&one, 200, "");
    assert_eq!(settled(&mut agent), (1, Ok(())));
    let two = asks(&mut agent, 2, "two", Wants::default());
    agent.hears_answer(&two, 200, "");
    assert_eq!(settled(&mut agent), (2, Ok(())));
    let three = asks(&mut agent, 3, "three", BOTH);
    agent.hears_answer(&three, 200, "");
    assert_eq!(settled(&mut agent), (3, Ok(())));
    for (branch, around, status, expected) in [
        ("r2", "delivery-notification", "delivered", None),
        (
            "r3",
            "delivery-notification",
            "delivered",
            Some((3, Receipt::Delivered)),
        ),
        ("r4", "display-notification", "forbidden", None),
        ("r5", "delivery-notification", "error", None),
        ("r6", "processing-notification", "processed", None),
        (
            "r7",
            "display-notification",
            "displayed",
            Some((1, Receipt::Displayed)),
        ),
        ("r8", "display-notification", "displayed", None),
        (
            "r9",
            "display-notification",
            "displayed",
            Some((3, Receipt::Displayed)),
        ),
        ("r10", "display-notification", "displayed", None),
    ] {
        hears_imdn(&mut agent, branch, &imdn("t-1", around, status));
        if let Some((reference, receipt)) = expected {
            assert_eq!(told(&mut agent), (reference, Ok(receipt)), "{branch}");
        }
        agent.is_silent();
    }
}

#[test]
fn a_receipt_of_a_stranger_says_nothing() {
    let mut agent = Agent::new();
    let one = asks(&mut agent, 1, "one", BOTH);
    agent.hears_answer(&one, 200, "");
    assert!(settled(&mut agent).0 > 0);
    let document = imdn("t-1", "delivery-notification", "delivered");
    let more = "Content-Type: message/imdn+xml\r\n";
    let text = from_bruno("MESSAGE", "r1", 1, "", more, &document);
    agent.hears(&text.replace("sip:bruno@", "sip:carla@"));
    agent.says_response(200);
    agent.is_silent();
    let text = from_bruno("MESSAGE", "r2", 2, "", more, &document);
    agent.hears(&text.replace("sip:alma@", "sip:anton@"));
    agent.says_response(200);
    agent.is_silent();
    hears_imdn(
        &mut agent,
        "r3",
        &imdn("t-2", "delivery-notification", "delivered"),
    );
    agent.is_silent();
    // A day later nobody knows the message any more.
    agent.passes_seconds(24 * 3600);
    let other = asks(&mut agent, 2, "two", BOTH);
    agent.hears_answer(&other, 404, "");
    assert!(settled(&mut agent).0 > 0);
    hears_imdn(&mut agent, "r4", &document);
    agent.is_silent();
}

#[test]
fn bad_news_comes_after_the_outcome() {
    let mut agent = Agent::new();
    let one = asks(&mut agent, 1, "one", BOTH);
    agent.hears_answer(&one, 202, "");
    assert!(settled(&mut agent).0 > 0);
    hears_imdn(
        &mut agent,
        "r1",
        &imdn("t-1", "delivery-notification", "failed"),
    );
    assert_eq!(told(&mut agent), (1, Err(480)));
    hears_imdn(
        &mut agent,
        "r2",
        &imdn("t-1", "display-notification", "displayed"),
    );
    agent.is_silent();
}

const WRAPPED: &str = "From: <sip:mallory@evil.example>\r\nTo: <sip:x@y.example>\r\n\
    NS: imdn <urn:ietf:params:imdn>\r\nimdn.Message-ID: b7\r\nDateTime: 2026-02-25T06:13:00Z\r\n\
    imdn.Disposition-Notification: positive-delivery, display\r\n\r\nContent-Type: text/plain\r\n\r\nhi";

#[test]
fn a_wrapper_asks_those_who_understand_it() {
    let mut agent = Agent::new();
    hears(&mut agent, "m1", "Content-Type: message/cpim\r\n", WRAPPED);
    assert!(matches!(agent.tells(), SipIn::Message { im, .. } if im.wants == BOTH));
    let one = asks(&mut agent, 1, "one", BOTH);
    assert_eq!(one.field("Content-Type"), "message/cpim");
    let cpim = Cpim::parse(&one.body).unwrap();
    let wanted = cpim.wanted().unwrap();
    assert!(wanted.delivered && wanted.displayed && !wanted.failed);
    assert_eq!(cpim.content.content().unwrap().as_ref(), b"one");
    agent.hears_answer(&one, 200, "");
    assert!(settled(&mut agent).0 > 0);
    let id = wanted.message_id.as_str();
    hears_imdn(
        &mut agent,
        "r1",
        &imdn("t-1", "delivery-notification", "delivered"),
    );
    agent.is_silent();
    hears_imdn(
        &mut agent,
        "r2",
        &imdn(id, "display-notification", "displayed"),
    );
    assert_eq!(told(&mut agent), (1, Ok(Receipt::Displayed)));
    hears_imdn(
        &mut agent,
        "r3",
        &imdn(id, "display-notification", "displayed"),
    );
    agent.is_silent();
    // Nothing is wanted: no wrapper.
    let two = asks(&mut agent, 2, "two", Wants::default());
    assert_eq!(text(&two), "two");
}

#[test]
fn a_wrapper_that_is_refused_is_taken_off() {
    let mut agent = agent(Overrides {
        page_wrapper: Some(PageWrapper::Always),
        ..Overrides::default()
    });
    let first = asks(&mut agent, 1, "one", BOTH);
    assert_eq!(first.field("Content-Type"), "message/cpim");
    sends(&mut agent, 2, im("two", None));
    agent.hears_answer(&first, 415, "Accept: text/plain\r\n");
    let again = agent.says_request("MESSAGE");
    assert_eq!(text(&again), "one");
    agent.hears_answer(&again, 200, "");
    assert_eq!(settled(&mut agent), (1, Ok(())));
    let two = agent.says_request("MESSAGE");
    agent.hears_answer(&two, 200, "");
    assert_eq!(settled(&mut agent), (2, Ok(())));
    let three = asks(&mut agent, 3, "three", BOTH);
    assert_eq!(text(&three), "three");
    // Without wrapper 415 is what it is.
    agent.hears_answer(&three, 415, "Accept: text/plain\r\n");
    assert_eq!(settled(&mut agent), (3, Err(415)));
    agent.is_silent();
}

/// Takes a message that asks for receipts.
fn asked(agent: &mut Agent, words: &str) -> Ref {
    let body = WRAPPED.replace("positive-delivery, display", words);
    hears(agent, "m1", "Content-Type: message/cpim\r\n", &body);
    let SipIn::Message { reference, .. } = agent.tells() else {
        panic!("no message");
    };
    reference
}

fn answers(agent: &mut Agent, reference: Ref, receipt: Receipt) {
    agent.does(SipOut::Receipt { reference, receipt });
}

#[test]
fn receipts_are_sent_once_as_they_are_wanted() {
    let mut agent = Agent::new();
    let reference = asked(&mut agent, "positive-delivery, display");
    agent.does(SipOut::AnswerMessage {
        reference,
        outcome: Ok(()),
    });
    agent.says_response(200);
    agent.is_silent();
    for (receipt, disposition) in [
        (Receipt::Delivered, Disposition::Delivered),
        (Receipt::Displayed, Disposition::Displayed),
    ] {
        answers(&mut agent, reference, receipt);
        let request = agent.says_request("MESSAGE");
        assert_eq!(request.uri, "sip:bruno@ocs.example");
        assert!(
            request
                .field("From")
                .starts_with("<sip:alma@jabber.example>")
        );
        let cpim = Cpim::parse(&request.body).unwrap();
        assert_eq!(cpim.wanted(), None);
        assert_ne!(cpim.message_id(), None);
        assert_eq!(
            cpim.content.header("Content-Disposition"),
            Some("notification")
        );
        let head = text(&request);
        assert!(
            head.starts_with("From: <sip:alma@jabber.example>\r\nTo: <sip:bruno@ocs.example>\r\n")
        );
        assert!(head.contains("<datetime>2026-02-25T06:13:00Z</datetime>"));
        let found = imdn::parse(&cpim.content.content().unwrap(), None).unwrap();
        assert_eq!(
            (found.message_id.as_str(), found.disposition),
            ("b7", disposition)
        );
        answers(&mut agent, reference, receipt);
        agent.hears_answer(&request, 200, "");
        agent.is_silent();
    }
    agent.passes_seconds(64);
    assert!(agent.ua.is_empty());
}

#[test]
fn what_is_not_wanted_is_not_told() {
    for (words, delivered, displayed) in [
        ("display", false, true),
        ("negative-delivery, positive-delivery", true, false),
        ("negative-delivery", false, false),
        ("processing", false, false),
    ] {
        let mut agent = Agent::new();
        let reference = asked(&mut agent, words);
        for (receipt, sent) in [
            (Receipt::Delivered, delivered),
            (Receipt::Displayed, displayed),
        ] {
            answers(&mut agent, reference, receipt);
            if sent {
                let request = agent.says_request("MESSAGE");
                agent.hears_answer(&request, 415, "");
            }
            agent.is_silent();
        }
    }
    let mut agent = Agent::new();
    let reference = asked(&mut agent, "positive-delivery, display");
    agent.does(SipOut::AnswerMessage {
        reference,
        outcome: Err(stox_core::failure::Failure::Local(
            stox_core::failure::Local::Timeout,
        )),
    });
    agent.says_response(504);
    answers(&mut agent, reference, Receipt::Delivered);
    answers(&mut agent, Ref(99), Receipt::Delivered);
    agent.is_silent();
}

#[test]
fn a_receipt_waits_behind_messages_and_keeps_nothing_back() {
    let mut agent = Agent::new();
    let reference = asked(&mut agent, "positive-delivery");
    sends(&mut agent, 1, im("one", None));
    let one = agent.says_request("MESSAGE");
    answers(&mut agent, reference, Receipt::Delivered);
    sends(&mut agent, 2, im("two", None));
    agent.is_silent();
    agent.hears_answer(&one, 200, "");
    assert!(settled(&mut agent).0 > 0);
    let receipt = agent.says_request("MESSAGE");
    assert_eq!(receipt.field("Content-Type"), "message/cpim");
    agent.hears_answer(&receipt, 481, "");
    let two = agent.says_request("MESSAGE");
    assert_eq!(text(&two), "two");
    agent.hears_answer(&two, 200, "");
    assert_eq!(settled(&mut agent), (2, Ok(())));
}

#[test]
fn typing_of_a_peer_is_still_heard() {
    let mut agent = Agent::new();
    let active = IDLE.replace("idle", "active");
    hears(&mut agent, "n1", COMPOSING, &active);
    agent.says_response(200);
    assert_eq!(state(&mut agent), ChatState::Composing);
    hears_imdn(
        &mut agent,
        "r1",
        &imdn("t", "delivery-notification", "delivered"),
    );
    agent.is_silent();
    agent.passes_seconds(120);
    assert_eq!(state(&mut agent), ChatState::Active);
}

// ------------------------------------------------------------------------------------------ addresses

#[test]
fn a_message_to_a_device_keeps_the_order_of_its_user() {
    let mut agent = Agent::new();
    sends(&mut agent, 1, im("one", None));
    let device = SipAddress {
        gr: Some("urn:uuid:f81d4fae".to_owned()),
        ..bruno()
    };
    agent.does(SipOut::Message {
        reference: Ref(2),
        from: laptop(),
        to: device,
        im: im("two", None),
    });
    let one = agent.says_request("MESSAGE");
    agent.is_silent();
    agent.hears_answer(&one, 200, "");
    assert!(settled(&mut agent).0 > 0);
    let two = agent.says_request("MESSAGE");
    assert_eq!(two.uri, "sip:bruno@ocs.example;gr=urn:uuid:f81d4fae");
    assert_eq!(two.field("To"), "<sip:bruno@ocs.example>");
    agent.hears_answer(&two, 200, "");
    assert_eq!(settled(&mut agent), (2, Ok(())));
}

#[test]
fn of_several_languages_the_peers_own_goes_out() {
    let mut agent = Agent::new();
    let text_in = |lang: &str, text: &str| Text {
        lang: Some(lang.to_owned()),
        text: text.to_owned(),
    };
    let both = Im {
        bodies: vec![text_in("en", "yes"), text_in("de", "ja")],
        ..im("x", None)
    };
    sends(&mut agent, 1, both.clone());
    let first = agent.says_request("MESSAGE");
    assert_eq!(
        (text(&first), first.field("Content-Language")),
        ("yes", "en")
    );
    agent.hears_answer(&first, 200, "");
    let more = "Content-Type: text/plain\r\nContent-Language: DE\r\n";
    hears(&mut agent, "m1", more, "gut?");
    sends(&mut agent, 2, both);
    let second = agent.says_request("MESSAGE");
    assert_eq!(
        (text(&second), second.field("Content-Language")),
        ("ja", "de")
    );
}
