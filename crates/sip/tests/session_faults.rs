//! IM sessions with peers, users and networks that do what they should not, or at the wrong moment.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests may fail a test"
)]

mod agent;

use agent::session::{
    GRUU, IN_DIALOG, KEYBOARD, PLAIN, SDP, accepts, called, described, im, keyboard, ocs,
    ocs_world, offer, opened, sends, settled, shows, state, text,
};
use agent::{Agent, Fields, from_bruno, from_edge};
use stox_core::failure::{Condition, Failure, StanzaError, to_sip};
use stox_core::vocab::{ChatState, Ref, SipIn, SipOut};
use stox_sip::dialect::{FirstMessage, Overrides};
use stox_sip::digest::Credential;
use stox_sip::transport::{FlowId, Transport};
use stox_sip::ua::Status;

const CHALLENGE: &str = "Proxy-Authenticate: Digest realm=\"ocs.example\", nonce=\"n9\", algorithm=MD5, qop=\"auth\"\r\n";
const FIRST: &str = "ms-text-format: text/plain; charset=UTF-8;ms-body=SGk=\r\n";

fn agent() -> Agent {
    ocs(Overrides::default())
}

/// An agent with a password for bruno's domain.
fn known() -> Agent {
    let mut settings = ocs_world(Overrides::default());
    settings.credentials = vec![Credential {
        realm: "ocs.example".to_owned(),
        domain: "ocs.example".to_owned(),
        username: "gw".to_owned(),
        password: "pw".to_owned(),
        over_plain: false,
    }];
    Agent::with(settings)
}

/// The same words under another Call-ID.
fn renamed(text: &str, call_id: &str) -> String {
    text.replace("s2x-1@ocs.example", call_id)
}

/// bruno's INVITE under this Call-ID, and what it is answered with.
fn calls(agent: &mut Agent, call_id: &str) -> u16 {
    let invite = from_bruno("INVITE", call_id, 1, "", &format!("{GRUU}{SDP}"), &offer());
    agent.hears(&renamed(&invite, call_id));
    agent.says_responses().last().unwrap().status
}

fn types(agent: &mut Agent, tag: &str, cseq: u32, status: &str) {
    let branch = format!("f{cseq}");
    let info = from_bruno("INFO", &branch, cseq, tag, KEYBOARD, &keyboard(status));
    agent.hears(&info);
    agent.says_response(200);
}

fn assert_nothing_is_left(agent: &mut Agent) {
    agent.passes_seconds(1000);
    assert_eq!(agent.ua.status(), Status::default());
    assert_eq!(agent.ua.poll_timeout(), None);
    assert!(agent.ua.is_quiet() && agent.ua.is_empty());
}

// ------------------------------------------------------------------------------- one outcome, in time

#[test]
fn a_peer_that_changes_its_mind_about_types_holds_no_message_for_ever() {
    let mut agent = agent();
    sends(&mut agent, 1, im("a < b", None));
    let invite = agent.says_request("INVITE");
    accepts(&mut agent, &invite, "b1", IN_DIALOG);
    agent.says_request("ACK");
    for accept in ["text/html", "text/plain"] {
        let message = agent.says_request("MESSAGE");
        agent.hears_answer(&message, 415, &format!("Accept: {accept}\r\n"));
    }
    assert_eq!(settled(&mut agent), (1, Err(415)));
    agent.is_silent();
}

#[test]
fn a_wait_does_not_begin_anew_in_another_session() {
    let mut agent = agent();
    assert_eq!(calls(&mut agent, "c1"), 200);
    sends(&mut agent, 1, im("one", None));
    agent.is_silent();
    // The answer is never acknowledged: the message goes into a session of our own, which is not answered either.
    agent.passes_seconds(33);
    let sent = agent.says_requests();
    let invite = sent.iter().find(|sent| sent.method.as_str() == "INVITE");
    agent.hears_answer(invite.unwrap(), 180, "");
    agent.passes_seconds(28);
    assert_eq!(settled(&mut agent), (1, Err(504)));
}

#[test]
fn an_open_session_takes_what_an_unanswered_invite_leaves() {
    for (answer, wait) in [(Some(180), 61), (None, 33)] {
        let mut agent = agent();
        sends(&mut agent, 1, im("one", None));
        let invite = agent.says_request("INVITE");
        // The Call-ID of the peer's is the higher one, so that the message stays in ours.
        let theirs = from_bruno("INVITE", "i1", 1, "", &format!("{GRUU}{SDP}"), &offer());
        agent.hears(&renamed(&theirs, "~"));
        let tag = agent.says_response(200).tag("To");
        agent.hears(&renamed(&from_bruno("ACK", "a1", 1, &tag, "", ""), "~"));
        if let Some(status) = answer {
            agent.hears_answer(&invite, status, "");
        }
        agent.is_silent();
        agent.passes_seconds(wait);
        let sent = agent.says_requests();
        let message = sent.iter().find(|sent| sent.method.as_str() == "MESSAGE");
        let message = message.expect("it goes where it can");
        assert_eq!(message.field("Call-ID"), "~");
        agent.hears_answer(message, 200, "");
        assert_eq!(settled(&mut agent), (1, Ok(())));
    }
}

#[test]
fn an_invite_that_is_not_wanted_any_more_is_not_sent_again_with_a_password() {
    let mut agent = known();
    sends(&mut agent, 1, im("one", None));
    let invite = agent.says_request("INVITE");
    agent.hears_answer(&invite, 100, "");
    agent.passes_seconds(61);
    assert_eq!(settled(&mut agent), (1, Err(504)));
    agent.says_request("CANCEL");
    agent.hears_answer(&invite, 407, CHALLENGE);
    agent.says_request("ACK");
    assert_eq!(agent.ua.status().sessions, 0);
    assert_eq!(agent.says_requests().len(), 0);
}

#[test]
fn an_invite_with_a_password_is_acknowledged_with_it() {
    let mut agent = known();
    sends(&mut agent, 1, im("one", None));
    let invite = agent.says_request("INVITE");
    agent.hears_answer(&invite, 407, CHALLENGE);
    assert_eq!(agent.says_request("ACK").field("CSeq"), "1 ACK");
    let second = agent.says_request("INVITE");
    assert_eq!(second.field("CSeq"), "2 INVITE");
    for _ in 0..2 {
        accepts(&mut agent, &second, "b1", IN_DIALOG);
        let ack = agent.says_request("ACK");
        assert_eq!(ack.field("CSeq"), "2 ACK");
        let proof = second.field("Proxy-Authorization");
        assert!(!proof.is_empty());
        assert_eq!(ack.field("Proxy-Authorization"), proof);
        for message in agent.says_requests() {
            assert_eq!(message.field("CSeq"), "3 MESSAGE");
        }
    }
}

#[test]
fn where_no_message_can_wait_no_session_is_opened() {
    let mut settings = ocs_world(Overrides::default());
    settings.limits.queued = 0;
    let mut agent = Agent::with(settings);
    sends(&mut agent, 1, im("one", None));
    assert_eq!(settled(&mut agent), (1, Err(503)));
    agent.is_silent();
    assert_nothing_is_left(&mut agent);
}

#[test]
fn what_may_have_been_taken_is_not_sent_into_another_session() {
    for status in [481, 500] {
        let mut agent = agent();
        called(&mut agent, "");
        sends(&mut agent, 1, im("one", None));
        agent.says_request("MESSAGE");
        agent.ua.connection_closed(FlowId(7), agent.now);
        agent.pump();
        let again = agent.says_request("MESSAGE");
        // It says that the session is not there, or that the number has been: the first copy may have come.
        agent.hears_answer(&again, status, "");
        assert_eq!(settled(&mut agent), (1, Err(504)));
        agent.says_request("BYE");
        agent.is_silent();
    }
}

#[test]
fn our_own_want_of_room_ends_no_session() {
    let mut settings = ocs_world(Overrides::default());
    settings.transactions.max_clients = 0;
    let mut agent = Agent::with(settings);
    called(&mut agent, "");
    sends(&mut agent, 1, im("one", None));
    assert_eq!(settled(&mut agent), (1, Err(503)));
    assert_eq!(agent.ua.status().sessions, 1);
}

#[test]
fn a_text_that_is_waited_for_is_not_lost_with_the_session() {
    let mut agent = ocs(Overrides {
        first_message: Some(FirstMessage::Wait),
        ..Overrides::default()
    });
    called(&mut agent, FIRST);
    shows(&mut agent, ChatState::Gone);
    agent.says_request("BYE");
    assert!(matches!(agent.tells(), SipIn::Message { .. }));
}

// ------------------------------------------------------------------------------------- hostile peers

#[test]
fn one_domain_cannot_take_all_sessions() {
    let mut settings = ocs_world(Overrides::default());
    settings.limits.dialogs = 4;
    let mut agent = Agent::with(settings);
    let statuses = ["c1", "c2", "c3"].map(|call_id| calls(&mut agent, call_id));
    assert_eq!(statuses, [200, 200, 503]);
}

#[test]
fn a_flood_of_notices_is_refused_and_takes_no_room_from_messages() {
    let mut settings = ocs_world(Overrides::default());
    settings.limits.messages_per_second = 2;
    let mut agent = Agent::with(settings);
    let tag = called(&mut agent, "");
    let refused = (2..60).filter(|cseq| {
        let branch = format!("f{cseq}");
        let status = if cseq % 2 == 0 { "type" } else { "idle" };
        let info = from_bruno("INFO", &branch, *cseq, &tag, KEYBOARD, &keyboard(status));
        agent.hears(&info);
        agent.says_responses().last().unwrap().status == 503
    });
    assert_eq!(refused.count(), 50);
    while agent.ua.poll_input().is_some() {}
    agent.hears(&from_bruno("MESSAGE", "m", 99, &tag, PLAIN, "x"));
    assert!(matches!(agent.tells(), SipIn::Message { .. }));
}

#[test]
fn the_same_foreign_answer_is_acknowledged_each_time_and_ended_once() {
    let mut agent = agent();
    sends(&mut agent, 1, im("one", None));
    let invite = agent.says_request("INVITE");
    accepts(&mut agent, &invite, "b1", IN_DIALOG);
    agent.says_requests();
    for _ in 0..10 {
        accepts(&mut agent, &invite, "b2", IN_DIALOG);
    }
    let sent = agent.says_requests();
    let count = |method| {
        sent.iter()
            .filter(|sent| sent.method.as_str() == method)
            .count()
    };
    assert_eq!((count("ACK"), count("BYE")), (10, 1));
}

#[test]
fn another_offer_in_a_session_is_answered_for_what_it_is() {
    let mut agent = agent();
    let tag = called(&mut agent, "");
    let audio = described("m=audio 30000 RTP/AVP 0");
    agent.hears(&from_bruno(
        "INVITE",
        "i2",
        2,
        &tag,
        &format!("{GRUU}{SDP}"),
        &audio,
    ));
    agent.says_response(488);
    agent.hears(&from_bruno("ACK", "i2", 2, &tag, "", ""));
    let both =
        described("m=audio 30000 RTP/AVP 0\r\nm=message 5060 sip null\r\na=accept-types:text/html");
    agent.hears(&from_bruno(
        "UPDATE",
        "u1",
        3,
        &tag,
        &format!("{GRUU}{SDP}"),
        &both,
    ));
    let answer = agent.says_response(200);
    let body = std::str::from_utf8(&answer.body).unwrap();
    assert!(
        body.contains("\r\nm=audio 0 RTP/AVP 0\r\nm=message 5060 sip sip:alma@"),
        "{body}"
    );
    agent.hears(&from_bruno("UPDATE", "u2", 4, &tag, GRUU, ""));
    let answer = agent.says_response(200);
    assert!(
        answer.body.is_empty(),
        "there was no offer to answer (RFC 3311 §5.2)"
    );
    sends(&mut agent, 1, im("a < b", None));
    assert_eq!(text(&agent.says_request("MESSAGE")), "a &lt; b");
}

#[test]
fn a_session_does_not_move_to_where_its_peer_has_nothing_to_say() {
    for (contact, route) in [
        ("sip:victim@198.51.100.7", "<sip:ocs.example;lr>"),
        ("sip:bruno@192.0.2.10:5070", ""),
    ] {
        let mut agent = agent();
        agent.source = from_edge(Transport::Udp);
        let tag = called(&mut agent, "");
        let contact_line = format!("Contact: <{contact}>\r\n");
        agent.hears(&from_bruno("UPDATE", "u1", 2, &tag, &contact_line, ""));
        agent.says_response(200);
        sends(&mut agent, 1, im("one", None));
        let message = agent.says_request("MESSAGE");
        assert_eq!((&*message.uri, message.field("Route")), (contact, route));
    }
}

#[test]
fn a_comma_in_a_name_makes_no_third_party() {
    let parties =
        "EndPoints: \"Boss, Bruno\" <sip:bruno@ocs.example>, <sip:alma@jabber.example>\r\n";
    let mut agent = agent();
    called(&mut agent, parties);
    assert_eq!(agent.ua.status().sessions, 1);
}

// -------------------------------------------------------------------------------------------- typing

#[test]
fn typing_ends_with_its_session_and_does_not_come_back() {
    for (shows_states, last) in [(true, ChatState::Gone), (false, ChatState::Active)] {
        let mut agent = agent();
        let tag = called(&mut agent, "");
        if shows_states {
            shows(&mut agent, ChatState::Active);
        }
        types(&mut agent, &tag, 2, "type");
        assert_eq!(state(&mut agent), ChatState::Composing);
        agent.hears(&from_bruno("BYE", "b1", 3, &tag, "", ""));
        agent.says_response(200);
        assert_eq!(state(&mut agent), last);
        agent.passes_seconds(100);
        agent.is_silent();
        assert_nothing_is_left(&mut agent);
    }
}

#[test]
fn typing_is_of_its_session_whatever_the_thread_is_called() {
    let mut agent = agent();
    let tag = called(&mut agent, "");
    types(&mut agent, &tag, 2, "type");
    assert_eq!(state(&mut agent), ChatState::Composing);
    sends(&mut agent, 1, im("one", Some("t-9")));
    let message = agent.says_request("MESSAGE");
    agent.hears_answer(&message, 200, "");
    assert_eq!(settled(&mut agent), (1, Ok(())));
    types(&mut agent, &tag, 3, "idle");
    assert_eq!(state(&mut agent), ChatState::Active);
    agent.passes_seconds(100);
    agent.is_silent();
}

#[test]
fn a_notice_of_typing_does_not_overtake_a_message() {
    let mut agent = agent();
    opened(&mut agent);
    sends(&mut agent, 2, im("two", None));
    let message = agent.says_request("MESSAGE");
    shows(&mut agent, ChatState::Composing);
    agent.is_silent();
    agent.hears_answer(&message, 200, "");
    assert_eq!(settled(&mut agent), (2, Ok(())));
    assert_eq!(text(&agent.says_request("INFO")), keyboard("type"));
    shows(&mut agent, ChatState::Paused);
    assert_eq!(text(&agent.says_request("INFO")), keyboard("idle"));
}

#[test]
fn the_end_is_told_once_when_both_end_it() {
    let mut agent = agent();
    let tag = called(&mut agent, "");
    shows(&mut agent, ChatState::Active);
    agent.passes_seconds(605);
    agent.says_request("BYE");
    assert_eq!(state(&mut agent), ChatState::Gone);
    agent.hears(&from_bruno("BYE", "b1", 3, &tag, "", ""));
    agent.says_response(200);
    agent.is_silent();
    assert_nothing_is_left(&mut agent);
}

// -------------------------------------------------------------------------------------------- a stop

#[test]
fn a_stop_waits_for_the_fate_of_a_text_inside_an_invite() {
    let mut agent = agent();
    let invite = from_bruno(
        "INVITE",
        "i1",
        1,
        "",
        &format!("{GRUU}{FIRST}{SDP}"),
        &offer(),
    );
    agent.hears(&invite);
    let SipIn::Message { reference, .. } = agent.tells() else {
        panic!("no message");
    };
    agent.ua.shut_down(agent.now);
    agent.pump();
    assert!(!agent.ua.is_quiet());
    let outcome = Ok(());
    agent.does(SipOut::AnswerMessage { reference, outcome });
    let tag = agent.says_response(200).tag("To");
    agent.hears(&from_bruno("ACK", "a1", 1, &tag, "", ""));
    let bye = agent.says_request("BYE");
    agent.hears_answer(&bye, 200, "");
    assert!(agent.ua.is_quiet());
    assert_nothing_is_left(&mut agent);
}

#[test]
fn nothing_begins_after_a_stop() {
    let mut agent = agent();
    opened(&mut agent);
    sends(&mut agent, 2, im("two", None));
    let two = agent.says_request("MESSAGE");
    agent.ua.shut_down(agent.now);
    agent.pump();
    agent.says_request("BYE");
    agent.hears_answer(&two, 481, "");
    assert_eq!(settled(&mut agent), (2, Err(503)));
    sends(&mut agent, 3, im("three", None));
    assert_eq!(settled(&mut agent), (3, Err(503)));
    assert_eq!(calls(&mut agent, "c9"), 503);
    agent.is_silent();
}

// ------------------------------------------------------------------------------- copies of a message

/// bruno's MESSAGE in the session, under this branch.
fn writes(agent: &mut Agent, tag: &str, branch: &str, cseq: u32, text: &str) {
    agent.hears(&from_bruno("MESSAGE", branch, cseq, tag, PLAIN, text));
}

fn hears_once(agent: &mut Agent) -> Ref {
    match agent.tells() {
        SipIn::Message { reference, .. } => reference,
        other => panic!("{other:?}"),
    }
}

/// Branch and status of each answer that goes out.
fn answers(agent: &mut Agent) -> Vec<(String, u16)> {
    let branch = |via: &str| {
        let start = via.rsplit("z9hG4bK-").next().unwrap();
        start.split(';').next().unwrap().to_owned()
    };
    let sent = agent.says_responses();
    sent.iter()
        .filter(|answer| answer.status != 100)
        .map(|answer| (branch(answer.field("Via")), answer.status))
        .collect()
}

#[test]
fn copies_of_a_message_get_its_answer_and_are_delivered_once() {
    let gone = Failure::Xmpp {
        error: StanzaError::new(Condition::ItemNotFound),
        from_full_jid: true,
        new_address: None,
    };
    for outcome in [Ok(()), Err(gone)] {
        let mut agent = agent();
        let tag = called(&mut agent, "");
        writes(&mut agent, &tag, "m1", 2, "one");
        let reference = hears_once(&mut agent);
        // The sender tries another connection before it is answered, and a third one afterwards.
        agent.source.flow = FlowId(8);
        writes(&mut agent, &tag, "m2", 2, "one");
        agent.is_silent();
        let status = outcome.as_ref().map_or_else(|f| to_sip(f).code, |()| 200);
        agent.does(SipOut::AnswerMessage { reference, outcome });
        let both = [("m1".to_owned(), status), ("m2".to_owned(), status)];
        assert_eq!(answers(&mut agent), both);
        // Typing in between changes nothing.
        types(&mut agent, &tag, 3, "type");
        agent.tells();
        agent.source.flow = FlowId(9);
        writes(&mut agent, &tag, "m3", 2, "one");
        assert_eq!(answers(&mut agent), [("m3".to_owned(), status)]);
        agent.is_silent();
        // What is older than the last one is out of order.
        writes(&mut agent, &tag, "m4", 4, "two");
        hears_once(&mut agent);
        writes(&mut agent, &tag, "m5", 2, "one");
        assert_eq!(answers(&mut agent), [("m5".to_owned(), 500)]);
        agent.is_silent();
    }
}

#[test]
fn a_copy_keeps_a_message_alive_that_cannot_be_answered_any_more() {
    let mut agent = agent();
    let tag = called(&mut agent, "");
    writes(&mut agent, &tag, "m1", 2, "one");
    let reference = hears_once(&mut agent);
    agent.passes_seconds(20);
    writes(&mut agent, &tag, "m2", 2, "one");
    // The first has run out of time, and nobody is told that its sender is gone.
    agent.passes_seconds(15);
    assert_eq!(answers(&mut agent), []);
    agent.is_silent();
    let outcome = Ok(());
    agent.does(SipOut::AnswerMessage { reference, outcome });
    assert_eq!(answers(&mut agent), [("m2".to_owned(), 200)]);
    assert!(agent.ua.is_quiet());
}

#[test]
fn copies_of_what_is_no_text_are_answered_alike() {
    let composing = "<?xml version=\"1.0\"?><isComposing xmlns=\"urn:ietf:params:xml:ns:im-iscomposing\">\
        <state>active</state></isComposing>";
    for (kind, body, status, tells) in [
        ("application/im-iscomposing+xml", composing, 200, 1),
        ("image/png", "x", 415, 0),
    ] {
        let mut agent = agent();
        let tag = called(&mut agent, "");
        let more = format!("Content-Type: {kind}\r\n");
        for branch in ["m1", "m2"] {
            agent.hears(&from_bruno("MESSAGE", branch, 2, &tag, &more, body));
        }
        let both = [("m1".to_owned(), status), ("m2".to_owned(), status)];
        assert_eq!(answers(&mut agent), both);
        assert_eq!(std::iter::from_fn(|| agent.ua.poll_input()).count(), tells);
    }
}

#[test]
fn copies_of_one_message_are_bounded() {
    let mut agent = agent();
    let tag = called(&mut agent, "");
    for number in 0..20 {
        writes(&mut agent, &tag, &format!("m{number}"), 2, "one");
    }
    let reference = hears_once(&mut agent);
    let refused = answers(&mut agent);
    assert_eq!(refused.len(), 12);
    assert!(refused.iter().all(|(_, status)| *status == 503));
    let outcome = Ok(());
    agent.does(SipOut::AnswerMessage { reference, outcome });
    assert_eq!(answers(&mut agent).len(), 8);
    assert!(agent.ua.is_quiet());
}
