//! IM sessions in both roles: what is heard, and what is then said and told, on virtual time.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests may fail a test"
)]

mod agent;

use agent::session::{
    ACCEPTS, GRUU, IN_DIALOG, KEYBOARD, PLAIN, SDP, accepts, auto, called, described, im, keyboard,
    ocs, ocs_world, offer, opened, sends, settled, shows, state, text,
};
use agent::{Agent, Fields, alma, bruno, from_bruno};
use stox_core::failure::{Condition, Failure, Local, StanzaError};
use stox_core::vocab::{ChatState, Im, ImKind, SipIn, SipOut};
use stox_sip::dialect::{FirstMessage, ImMode, Overrides, Typing};
use stox_sip::ua::trust::SipDomain;

fn refused(agent: &mut Agent, more: &str, body: &str) -> u16 {
    agent.hears(&from_bruno(
        "INVITE",
        "i1",
        1,
        "",
        &format!("{GRUU}{more}"),
        body,
    ));
    let status = agent.says().response().status;
    agent.is_silent();
    status
}

// --------------------------------------------------------------------------------------------- called

#[test]
fn the_gateway_answers_for_the_xmpp_user_and_mirrors_the_word() {
    for word in ["message", "x-ms-message"] {
        let mut agent = auto();
        let media = format!("m={word} 5060 sip null\r\na=accept-types:{ACCEPTS}");
        let more = format!("{GRUU}{SDP}");
        agent.hears(&from_bruno(
            "INVITE",
            "i1",
            1,
            "",
            &more,
            &described(&media),
        ));
        let answer = agent.says_response(200);
        let body = std::str::from_utf8(&answer.body).unwrap();
        let line = format!("\r\nm={word} 5060 sip sip:alma@jabber.example\r\n");
        assert!(body.contains(&line), "{body}");
        assert!(body.contains("a=accept-types:text/plain"));
        assert!(answer.field("From").contains("epid=0a1b"));
        assert!(answer.field("Allow").contains("INFO"));
        assert_eq!(agent.ua.status().sessions, 1);
        agent.is_silent();
    }
}

#[test]
fn messages_and_replies_travel_in_the_dialog() {
    let mut agent = ocs(Overrides::default());
    let tag = called(&mut agent, "");
    agent.hears(&from_bruno("MESSAGE", "m1", 2, &tag, PLAIN, "first"));
    let SipIn::Message {
        reference,
        from,
        to,
        im: heard,
    } = agent.tells()
    else {
        panic!("no message");
    };
    assert_eq!((from, to), (bruno(), alma()));
    assert_eq!(heard.bodies[0].text, "first");
    assert_eq!(
        (heard.kind, heard.chat_state),
        (ImKind::Chat, Some(ChatState::Active))
    );
    assert_eq!(heard.thread.as_deref(), Some("s2x-1@ocs.example"));
    agent.does(SipOut::AnswerMessage {
        reference,
        outcome: Ok(()),
    });
    assert_eq!(agent.says_response(200).field("CSeq"), "2 MESSAGE");
    sends(&mut agent, 5, im("answer", Some("s2x-1@ocs.example")));
    let reply = agent.says_request("MESSAGE");
    assert_eq!(
        reply.uri,
        "sip:bruno@ocs.example;opaque=user:epid:Zq81LmN_xF6;gruu"
    );
    assert_eq!(reply.tag("To"), "w1");
    assert!(reply.field("To").contains("epid=0a1b"));
    assert_eq!(reply.field("Call-ID"), "s2x-1@ocs.example");
    assert_eq!(text(&reply), "answer");
    agent.hears_answer(&reply, 200, "");
    assert_eq!(settled(&mut agent), (5, Ok(())));
    agent.is_silent();
}

#[test]
fn a_long_message_goes_whole_and_the_peer_says_if_it_is_too_long() {
    let mut agent = ocs(Overrides::default());
    opened(&mut agent);
    // As long as the bench, which reads it as a datagram, takes it.
    let text = "x".repeat(60_000);
    for (reference, status, fate) in [(2, 200, Ok(())), (3, 513, Err(513))] {
        let long = Im {
            id: Some(format!("m{reference}")),
            ..im(&text, Some("t-1"))
        };
        sends(&mut agent, reference, long);
        let message = agent.says_request("MESSAGE");
        assert_eq!(message.body.len(), text.len());
        agent.hears_answer(&message, status, "");
        assert_eq!(settled(&mut agent), (reference, fate));
    }
    assert_eq!(agent.ua.status().sessions, 1);
}

#[test]
fn a_failed_message_is_refused_and_the_session_goes_on() {
    let mut agent = ocs(Overrides::default());
    let tag = called(&mut agent, "");
    agent.hears(&from_bruno("MESSAGE", "m1", 2, &tag, PLAIN, "first"));
    let SipIn::Message { reference, .. } = agent.tells() else {
        panic!("no message");
    };
    let failure = Failure::Local(Local::Timeout);
    agent.does(SipOut::AnswerMessage {
        reference,
        outcome: Err(failure),
    });
    agent.says_response(504);
    agent.hears(&from_bruno(
        "INFO",
        "f1",
        3,
        &tag,
        KEYBOARD,
        &keyboard("type"),
    ));
    agent.says_response(200);
    assert_eq!(state(&mut agent), ChatState::Composing);
}

#[test]
fn a_text_inside_the_invite_is_delivered_once_and_said_to_be() {
    let first = "ms-text-format: text/plain; charset=UTF-8;ms-body=SGkgQWxtYSDigqw\r\n";
    let mut agent = auto();
    agent.hears(&from_bruno(
        "INVITE",
        "i1",
        1,
        "",
        &format!("{GRUU}{first}{SDP}"),
        &offer(),
    ));
    let SipIn::Message { reference, im, .. } = agent.tells() else {
        panic!("no message");
    };
    assert_eq!(im.bodies[0].text, "Hi Alma €");
    assert!(agent.says_responses().is_empty());
    agent.does(SipOut::AnswerMessage {
        reference,
        outcome: Ok(()),
    });
    let answer = agent.says_response(200);
    assert_eq!(answer.field("Supported"), "ms-text-format");
    agent.hears(&from_bruno("ACK", "a1", 1, &answer.tag("To"), "", ""));
    agent.passes_seconds(10);
    agent.is_silent();
}

#[test]
fn a_text_inside_the_invite_to_nobody_refuses_the_invite() {
    let first = "ms-text-format: text/plain; charset=UTF-8;ms-body=SGk=\r\n";
    let mut agent = ocs(Overrides::default());
    agent.hears(&from_bruno(
        "INVITE",
        "i1",
        1,
        "",
        &format!("{GRUU}{first}{SDP}"),
        &offer(),
    ));
    let SipIn::Message { reference, .. } = agent.tells() else {
        panic!("no message");
    };
    let failure = Failure::Xmpp {
        error: StanzaError::new(Condition::ItemNotFound),
        from_full_jid: true,
        new_address: None,
    };
    agent.does(SipOut::AnswerMessage {
        reference,
        outcome: Err(failure),
    });
    agent.says_response(404);
    assert_eq!(agent.ua.status().sessions, 0);
    agent.is_silent();
}

#[test]
fn a_text_inside_the_invite_may_be_waited_for() {
    let first = "ms-text-format: text/plain; charset=UTF-8;ms-body=SGk=\r\n";
    let wait = || Overrides {
        first_message: Some(FirstMessage::Wait),
        ..Overrides::default()
    };
    let mut agent = ocs(wait());
    called(&mut agent, first);
    agent.is_silent();
    agent.passes_seconds(3);
    let SipIn::Message { im, .. } = agent.tells() else {
        panic!("no message");
    };
    assert_eq!(im.bodies[0].text, "Hi");

    let mut agent = ocs(wait());
    let tag = called(&mut agent, first);
    agent.hears(&from_bruno("MESSAGE", "m1", 2, &tag, PLAIN, "Hi"));
    let SipIn::Message { .. } = agent.tells() else {
        panic!("no message");
    };
    agent.passes_seconds(3);
    assert_eq!(agent.ua.poll_input(), None, "it is one message");

    let mut agent = ocs(Overrides {
        first_message: Some(FirstMessage::Ignore),
        ..Overrides::default()
    });
    called(&mut agent, first);
    agent.passes_seconds(3);
    agent.is_silent();
}

#[test]
fn an_invite_that_waits_can_be_cancelled() {
    let first = "ms-text-format: text/plain; charset=UTF-8;ms-body=SGk=\r\n";
    let mut agent = auto();
    agent.hears(&from_bruno(
        "INVITE",
        "i1",
        1,
        "",
        &format!("{GRUU}{first}{SDP}"),
        &offer(),
    ));
    let SipIn::Message { reference, .. } = agent.tells() else {
        panic!("no message");
    };
    agent.hears(&from_bruno("CANCEL", "i1", 1, "", "", ""));
    assert_eq!(agent.says_response(200).field("CSeq"), "1 CANCEL");
    assert_eq!(agent.says_response(487).field("CSeq"), "1 INVITE");
    assert_eq!(agent.tells(), SipIn::MessageGone { reference });
    agent.does(SipOut::AnswerMessage {
        reference,
        outcome: Ok(()),
    });
    assert_eq!(agent.ua.status().sessions, 0);
}

#[test]
fn what_is_no_conversation_of_two_is_refused() {
    let rows = [
        (SDP, described("m=audio 30000 RTP/AVP 0"), 488),
        (SDP, described("m=message 7313 TCP/MSRP *"), 488),
        (
            "Content-Type: application/ms-conf-invite+xml\r\n",
            "<Conferencing/>".to_owned(),
            488,
        ),
        (
            "Content-Type: multipart/mixed;boundary=B\r\n",
            "--B--".to_owned(),
            415,
        ),
        (
            "EndPoints: <sip:bruno@ocs.example>, <sip:alma@jabber.example>, <sip:carla@ocs.example>\r\n\
             Content-Type: application/sdp\r\n",
            offer(),
            606,
        ),
        (
            "ms-text-format: text/x-msmsgsinvite;ms-body=SGk=\r\nContent-Type: application/sdp\r\n",
            offer(),
            488,
        ),
    ];
    for (more, body, status) in rows {
        assert_eq!(
            refused(&mut ocs(Overrides::default()), more, &body),
            status,
            "{more} {body}"
        );
    }
    let mut agent = auto();
    agent.hears(&from_bruno("INVITE", "i1", 1, "", SDP, &offer()));
    assert_eq!(agent.says().response().status, 400, "there is no Contact");
}

#[test]
fn sessions_are_kept_up_without_a_word_to_anybody() {
    let mut agent = ocs(Overrides::default());
    let tag = called(&mut agent, "");
    let more = format!("{GRUU}Session-Expires: 720;refresher=uac\r\nSupported: timer\r\n{SDP}");
    agent.hears(&from_bruno("INVITE", "i2", 2, &tag, &more, &offer()));
    let again = agent.says_response(200);
    assert!(
        std::str::from_utf8(&again.body)
            .unwrap()
            .contains("m=message")
    );
    agent.hears(&from_bruno("ACK", "a2", 2, &tag, "", ""));
    agent.hears(&from_bruno("UPDATE", "u1", 3, &tag, GRUU, ""));
    agent.says_response(200);
    agent.hears(&from_bruno(
        "REFER",
        "r1",
        4,
        &tag,
        "Refer-To: <sip:conf@ocs.example>\r\n",
        "",
    ));
    agent.says_response(603);
    agent.hears(&from_bruno(
        "INFO",
        "f1",
        5,
        &tag,
        "Content-Type: text/weird\r\n",
        "x",
    ));
    agent.says_response(415);
    agent.hears(&from_bruno("BYE", "b1", 6, "wrong", "", ""));
    agent.says_response(481);
    agent.hears(&from_bruno("BYE", "b2", 7, &tag, "", ""));
    agent.says_response(200);
    assert_eq!(agent.ua.status().sessions, 0);
    agent.is_silent();
}

#[test]
fn an_answer_that_is_never_acknowledged_ends_the_session() {
    let mut agent = ocs(Overrides::default());
    agent.hears(&from_bruno(
        "INVITE",
        "i1",
        1,
        "",
        &format!("{GRUU}{SDP}"),
        &offer(),
    ));
    agent.says_response(200);
    agent.passes_seconds(40);
    let bye = agent.says_requests().pop().unwrap();
    assert_eq!(bye.method.as_str(), "BYE");
    agent.hears_answer(&bye, 481, "");
    assert_eq!(agent.ua.status().sessions, 0);
}

// -------------------------------------------------------------------------------------------- calling

#[test]
fn messages_wait_for_the_session_and_keep_their_order() {
    let mut agent = ocs(Overrides::default());
    sends(&mut agent, 1, im("one", Some("th-9c1e")));
    sends(&mut agent, 2, im("two", Some("th-9c1e")));
    let invite = agent.says_request("INVITE");
    assert_eq!(invite.uri, "sip:bruno@ocs.example");
    assert_eq!(invite.field("Call-ID"), "th-9c1e");
    assert!(
        invite
            .field("From")
            .starts_with("<sip:alma@jabber.example>;tag=")
    );
    assert!(!invite.field("Ms-Conversation-ID").is_empty());
    assert!(text(&invite).contains("m=message 5060 sip null\r\na=accept-types:text/plain\r\n"));
    agent.hears_answer(&invite, 100, "");
    agent.hears_answer(&invite, 183, "");
    agent.passes_seconds(20);
    agent.is_silent();
    accepts(&mut agent, &invite, "b1", IN_DIALOG);
    let ack = agent.says_request("ACK");
    assert_eq!(ack.field("CSeq"), "1 ACK");
    assert_eq!(ack.uri, "sip:bruno@ocs.example;opaque=user:epid:b1;gruu");
    let routes: Vec<&str> = ack.headers.values("Route").collect();
    assert_eq!(
        routes,
        [
            "<sip:edge.ocs.example:5061;transport=tls;opaque=state:F;lr;ms-route-sig=AbC>;tag=9F",
            "<sip:pool.ocs.example:5061;transport=tls;ms-fe=fe1.ocs.example;opaque=state:T:F;lr>",
        ]
    );
    let one = agent.says_request("MESSAGE");
    assert_eq!((text(&one), one.field("CSeq")), ("one", "2 MESSAGE"));
    agent.is_silent();
    agent.hears_answer(&one, 200, "");
    assert_eq!(settled(&mut agent), (1, Ok(())));
    let two = agent.says_request("MESSAGE");
    assert_eq!((text(&two), two.field("CSeq")), ("two", "3 MESSAGE"));
    agent.hears_answer(&two, 403, "");
    assert_eq!(settled(&mut agent), (2, Err(403)));
    sends(&mut agent, 3, im("three", None));
    assert_eq!(text(&agent.says_request("MESSAGE")), "three");
}

#[test]
fn a_session_that_the_peer_forgot_is_opened_again_without_a_word() {
    let mut agent = ocs(Overrides::default());
    opened(&mut agent);
    sends(&mut agent, 2, im("two", Some("t-1")));
    sends(&mut agent, 3, im("three", Some("t-1")));
    let lost = agent.says_request("MESSAGE");
    agent.hears_answer(&lost, 481, "");
    let invite = agent.says_request("INVITE");
    assert_ne!(invite.field("Call-ID"), "t-1", "a Call-ID names one dialog");
    accepts(&mut agent, &invite, "b2", IN_DIALOG);
    agent.says_request("ACK");
    for (reference, expected) in [(2, "two"), (3, "three")] {
        let message = agent.says_request("MESSAGE");
        assert_eq!(text(&message), expected);
        agent.hears_answer(&message, 200, "");
        assert_eq!(settled(&mut agent), (reference, Ok(())));
    }
    sends(&mut agent, 4, im("four", Some("t-1")));
    let message = agent.says_request("MESSAGE");
    agent.hears_answer(&message, 481, "");
    let invite = agent.says_request("INVITE");
    accepts(&mut agent, &invite, "b3", IN_DIALOG);
    agent.says_request("ACK");
    let message = agent.says_request("MESSAGE");
    agent.hears_answer(&message, 481, "");
    assert_eq!(settled(&mut agent), (4, Err(481)), "once is enough");
}

/// What an answer that comes too late opens is closed where its sender may send us: for the domain that it speaks for, and not for
/// another in `To` whose settings would lead inside.
#[test]
fn a_late_answer_takes_nobody_for_another_domain() {
    for (to, confined) in [("ocs.example", false), ("other.example", true)] {
        let mut settings = ocs_world(Overrides::default());
        settings.sip_domains.push(SipDomain::new("other.example"));
        let mut agent = Agent::with(settings);
        sends(&mut agent, 1, im("one", None));
        let mut invite = agent.says_request("INVITE");
        accepts(&mut agent, &invite, "b0", IN_DIALOG);
        agent.says_request("ACK");
        let message = agent.says_request("MESSAGE");
        agent.hears_answer(&message, 481, "");
        agent.says_request("INVITE");
        invite.headers.set("To", format!("<sip:bruno@{to}>"));
        agent.resolved.clear();
        let inside = "Contact: <sip:bruno@10.0.0.5:5070>\r\n";
        agent.hears_answer_with(
            &invite,
            200,
            &format!("{inside}{SDP}"),
            &described(IN_DIALOG),
        );
        agent.says_request("ACK");
        agent.says_request("BYE");
        let asked: Vec<bool> = agent.resolved.iter().map(|one| one.confined).collect();
        assert_eq!(asked, [confined, confined], "{to}");
    }
}

#[test]
fn the_first_of_several_devices_gets_the_session() {
    let mut agent = ocs(Overrides::default());
    sends(&mut agent, 1, im("one", None));
    let invite = agent.says_request("INVITE");
    accepts(&mut agent, &invite, "b1", IN_DIALOG);
    agent.says_request("ACK");
    let message = agent.says_request("MESSAGE");
    accepts(&mut agent, &invite, "b2", IN_DIALOG);
    assert_eq!(agent.says_request("ACK").tag("To"), "b2");
    assert_eq!(agent.says_request("BYE").tag("To"), "b2");
    accepts(&mut agent, &invite, "b1", IN_DIALOG);
    assert_eq!(agent.says_request("ACK").tag("To"), "b1");
    agent.hears_answer(&message, 200, "");
    assert_eq!(settled(&mut agent), (1, Ok(())));
    agent.is_silent();
}

#[test]
fn an_invite_that_nobody_answers_is_cancelled() {
    let mut agent = ocs(Overrides::default());
    sends(&mut agent, 1, im("one", None));
    let invite = agent.says_request("INVITE");
    agent.hears_answer(&invite, 180, "");
    agent.passes_seconds(61);
    assert_eq!(settled(&mut agent), (1, Err(504)));
    let cancel = agent.says_request("CANCEL");
    agent.hears_answer(&cancel, 200, "");
    // The answer crosses the CANCEL.
    accepts(&mut agent, &invite, "b1", IN_DIALOG);
    agent.says_request("ACK");
    let bye = agent.says_request("BYE");
    agent.hears_answer(&bye, 200, "");
    assert_eq!(agent.ua.status().sessions, 0);
    agent.is_silent();
}

#[test]
fn a_refused_session_fails_its_messages_with_the_peers_word() {
    for status in [404, 480, 486, 504, 603] {
        let mut agent = auto();
        sends(&mut agent, 1, im("one", None));
        let page = agent.says_request("MESSAGE");
        agent.hears_answer(&page, 405, "");
        let invite = agent.says_request("INVITE");
        agent.hears_answer(&invite, status, "");
        agent.says_request("ACK");
        assert_eq!(
            settled(&mut agent),
            (1, Err(405)),
            "the first refusal is the news"
        );
        let mut agent = ocs(Overrides::default());
        sends(&mut agent, 1, im("one", None));
        sends(&mut agent, 2, im("two", None));
        let invite = agent.says_request("INVITE");
        agent.hears_answer(&invite, status, "");
        agent.says_request("ACK");
        assert_eq!(settled(&mut agent), (1, Err(status)));
        assert_eq!(settled(&mut agent), (2, Err(status)));
        agent.is_silent();
    }
}

#[test]
fn who_refuses_one_way_is_asked_the_other_and_remembered() {
    let mut agent = auto();
    sends(&mut agent, 1, im("one", None));
    let page = agent.says_request("MESSAGE");
    agent.hears_answer(&page, 405, "");
    let invite = agent.says_request("INVITE");
    accepts(&mut agent, &invite, "b1", IN_DIALOG);
    agent.says_request("ACK");
    let message = agent.says_request("MESSAGE");
    agent.hears_answer(&message, 200, "");
    assert_eq!(settled(&mut agent), (1, Ok(())));
    let lessons: Vec<_> = std::iter::from_fn(|| agent.ua.poll_learned()).collect();
    let last = lessons.last().unwrap();
    assert_eq!(last.im, Some(ImMode::Session));
    assert!(
        last.evidence.ends_with("refused page with 405"),
        "{lessons:?}"
    );

    let mut agent = ocs(Overrides::default());
    sends(&mut agent, 1, im("one", None));
    sends(&mut agent, 2, im("two", None));
    let invite = agent.says_request("INVITE");
    agent.hears_answer(&invite, 488, "");
    agent.says_request("ACK");
    let one = agent.says_request("MESSAGE");
    assert_eq!(one.tag("To"), "");
    agent.hears_answer(&one, 200, "");
    let two = agent.says_request("MESSAGE");
    agent.hears_answer(&two, 405, "");
    assert_eq!(settled(&mut agent), (1, Ok(())));
    assert_eq!(settled(&mut agent), (2, Err(488)));
    agent.is_silent();
}

#[test]
fn an_answer_that_does_not_fit_ends_the_session() {
    let mut agent = ocs(Overrides {
        im_fallback: Some(false),
        ..Overrides::default()
    });
    sends(&mut agent, 1, im("one", None));
    let invite = agent.says_request("INVITE");
    accepts(&mut agent, &invite, "b1", "m=message 7313 TCP/MSRP *");
    agent.says_request("ACK");
    let bye = agent.says_request("BYE");
    assert_eq!(settled(&mut agent), (1, Err(415)));
    agent.hears_answer(&bye, 200, "");
    agent.is_silent();
}

#[test]
fn what_the_peer_takes_is_written() {
    let mut agent = ocs(Overrides::default());
    sends(&mut agent, 1, im("a < b", None));
    let invite = agent.says_request("INVITE");
    accepts(
        &mut agent,
        &invite,
        "b1",
        "m=message 5060 sip sip:bruno@ocs.example\r\na=accept-types:text/html",
    );
    agent.says_request("ACK");
    let message = agent.says_request("MESSAGE");
    assert!(message.field("Content-Type").starts_with("text/html"));
    assert!(text(&message).contains("a &lt; b"));
    let accept = "Accept: text/plain\r\n";
    agent.hears_answer(&message, 415, accept);
    let message = agent.says_request("MESSAGE");
    assert!(message.field("Content-Type").starts_with("text/plain"));
    agent.hears_answer(&message, 415, accept);
    assert_eq!(settled(&mut agent), (1, Err(415)));
}

#[test]
fn threads_are_conversations_of_their_own() {
    let mut agent = ocs(Overrides::default());
    opened(&mut agent);
    sends(&mut agent, 2, im("other", Some("t-2")));
    let invite = agent.says_request("INVITE");
    assert_eq!(invite.field("Call-ID"), "t-2");
    accepts(&mut agent, &invite, "b2", IN_DIALOG);
    agent.says_request("ACK");
    let message = agent.says_request("MESSAGE");
    agent.hears_answer(&message, 200, "");
    assert_eq!(settled(&mut agent), (2, Ok(())));
    sends(&mut agent, 3, im("first again", Some("t-1")));
    let message = agent.says_request("MESSAGE");
    assert_eq!(message.field("Call-ID"), "t-1");
    agent.hears_answer(&message, 200, "");
    assert_eq!(settled(&mut agent), (3, Ok(())));
    // Who is called learns her thread from the first reply.
    let tag = called(&mut agent, "");
    sends(&mut agent, 4, im("reply", Some("t-3")));
    let message = agent.says_request("MESSAGE");
    assert_eq!(message.field("Call-ID"), "s2x-1@ocs.example");
    agent.hears_answer(&message, 200, "");
    assert_eq!(settled(&mut agent), (4, Ok(())));
    agent.hears(&from_bruno("MESSAGE", "m1", 2, &tag, PLAIN, "x"));
    let SipIn::Message { im, .. } = agent.tells() else {
        panic!("no message");
    };
    assert_eq!(im.thread.as_deref(), Some("t-3"));
}

#[test]
fn two_who_call_each_other_at_once_agree_on_one_session() {
    for (thread, ours_wins) in [("zzz", false), ("aaa", true)] {
        let mut agent = ocs(Overrides::default());
        sends(&mut agent, 1, im("one", None));
        let invite = agent.says_request("INVITE");
        let theirs = from_bruno("INVITE", "i1", 1, "", &format!("{GRUU}{SDP}"), &offer());
        // The lower Call-ID is kept: theirs is made lower or higher than ours.
        let rename = |text: String| {
            let id = if thread == "zzz" { "!" } else { "~" };
            text.replace("s2x-1@ocs.example", id)
        };
        agent.hears(&rename(theirs));
        let tag = agent.says_response(200).tag("To");
        agent.hears(&rename(from_bruno("ACK", "a1", 1, &tag, "", "")));
        if ours_wins {
            agent.is_silent();
            accepts(&mut agent, &invite, "b1", IN_DIALOG);
            agent.says_request("ACK");
            let message = agent.says_request("MESSAGE");
            assert_eq!(message.field("Call-ID"), invite.field("Call-ID"));
            continue;
        }
        let message = agent.says_request("MESSAGE");
        assert_eq!(message.field("Call-ID"), "!");
        agent.hears_answer(&message, 200, "");
        assert_eq!(settled(&mut agent), (1, Ok(())));
        accepts(&mut agent, &invite, "b1", IN_DIALOG);
        agent.says_request("ACK");
        assert_eq!(
            agent.says_request("BYE").field("Call-ID"),
            invite.field("Call-ID")
        );
        agent.is_silent();
    }
}

#[test]
fn what_waits_when_the_peer_leaves_opens_another_session() {
    let mut agent = ocs(Overrides::default());
    let tag = called(&mut agent, "");
    sends(&mut agent, 1, im("one", None));
    sends(&mut agent, 2, im("two", None));
    let one = agent.says_request("MESSAGE");
    agent.hears(&from_bruno("BYE", "b1", 2, &tag, "", ""));
    agent.says_response(200);
    sends(&mut agent, 3, im("three", None));
    agent.is_silent();
    // Whether it was taken or not decides what goes first.
    agent.hears_answer(&one, 481, "");
    let invite = agent.says_request("INVITE");
    accepts(&mut agent, &invite, "b1", IN_DIALOG);
    agent.says_request("ACK");
    for (reference, expected) in [(1, "one"), (2, "two"), (3, "three")] {
        let message = agent.says_request("MESSAGE");
        assert_eq!(text(&message), expected);
        agent.hears_answer(&message, 200, "");
        assert_eq!(settled(&mut agent), (reference, Ok(())));
    }
    assert_eq!(agent.ua.status().sessions, 1);
}

// ---------------------------------------------------------------------------------- typing, and the end

#[test]
fn typing_of_the_peer_is_told_and_comes_to_an_end() {
    let mut agent = ocs(Overrides::default());
    let tag = called(&mut agent, "");
    let mut cseq = 2;
    let mut info = |agent: &mut Agent, status: &str| {
        let branch = format!("f{cseq}");
        agent.hears(&from_bruno(
            "INFO",
            &branch,
            cseq,
            &tag,
            KEYBOARD,
            &keyboard(status),
        ));
        agent.says_response(200);
        cseq += 1;
    };
    info(&mut agent, "type");
    assert_eq!(state(&mut agent), ChatState::Composing);
    agent.passes_seconds(10);
    info(&mut agent, "type");
    agent.passes_seconds(10);
    agent.is_silent();
    agent.passes_seconds(6);
    assert_eq!(state(&mut agent), ChatState::Active);
    info(&mut agent, "type");
    assert_eq!(state(&mut agent), ChatState::Composing);
    info(&mut agent, "idle");
    assert_eq!(state(&mut agent), ChatState::Active);
    info(&mut agent, "idle");
    info(&mut agent, "type");
    assert_eq!(state(&mut agent), ChatState::Composing);
    agent.hears(&from_bruno("MESSAGE", "m9", 50, &tag, PLAIN, "done"));
    assert!(matches!(agent.tells(), SipIn::Message { .. }));
    agent.passes_seconds(20);
    assert_eq!(
        agent.ua.poll_input(),
        None,
        "a message ends the typing by itself"
    );
}

#[test]
fn typing_of_the_xmpp_user_is_told_again_and_again_while_it_lasts() {
    let mut agent = ocs(Overrides::default());
    shows(&mut agent, ChatState::Composing);
    agent.is_silent();
    opened(&mut agent);
    shows(&mut agent, ChatState::Active);
    agent.is_silent();
    let told = |agent: &mut Agent| {
        let info = agent.says_request("INFO");
        assert_eq!(info.field("Content-Type"), "application/xml");
        agent.hears_answer(&info, 200, "");
        if text(&info) == keyboard("type") {
            "type"
        } else {
            "idle"
        }
    };
    shows(&mut agent, ChatState::Composing);
    assert_eq!(told(&mut agent), "type");
    shows(&mut agent, ChatState::Composing);
    agent.is_silent();
    agent.passes_seconds(9);
    assert_eq!(told(&mut agent), "type");
    shows(&mut agent, ChatState::Paused);
    assert_eq!(told(&mut agent), "idle");
    shows(&mut agent, ChatState::Composing);
    assert_eq!(told(&mut agent), "type");
    sends(&mut agent, 7, im("done", None));
    let message = agent.says_request("MESSAGE");
    agent.hears_answer(&message, 200, "");
    assert_eq!(settled(&mut agent), (7, Ok(())));
    agent.passes_seconds(20);
    agent.is_silent();
    shows(&mut agent, ChatState::Composing);
    for _ in 0..15 {
        assert_eq!(told(&mut agent), "type");
        agent.passes_seconds(8);
    }
    assert_eq!(told(&mut agent), "idle", "nobody types for two minutes");
}

#[test]
fn typing_goes_by_iscomposing_where_the_peer_wants_that_and_stops_when_refused() {
    let mut agent = ocs(Overrides {
        typing: Some(Typing::IsComposing),
        ..Overrides::default()
    });
    opened(&mut agent);
    shows(&mut agent, ChatState::Composing);
    let notice = agent.says_request("MESSAGE");
    assert_eq!(
        notice.field("Content-Type"),
        "application/im-iscomposing+xml"
    );
    assert!(text(&notice).contains("<state>active</state>"));
    agent.hears_answer(&notice, 415, "Accept: text/plain\r\n");
    shows(&mut agent, ChatState::Paused);
    shows(&mut agent, ChatState::Composing);
    agent.is_silent();
    let mut agent = ocs(Overrides {
        typing: Some(Typing::Off),
        ..Overrides::default()
    });
    opened(&mut agent);
    shows(&mut agent, ChatState::Composing);
    agent.is_silent();
}

#[test]
fn sessions_end_when_she_leaves_or_nothing_happens() {
    let mut agent = ocs(Overrides::default());
    let last = opened(&mut agent);
    shows(&mut agent, ChatState::Gone);
    let bye = agent.says_request("BYE");
    assert_eq!(bye.field("Call-ID"), last.field("Call-ID"));
    agent.hears_answer(&bye, 200, "");
    assert_eq!(agent.ua.status().sessions, 0);

    opened(&mut agent);
    shows(&mut agent, ChatState::Active);
    agent.passes_seconds(590);
    agent.is_silent();
    agent.passes_seconds(20);
    agent.says_request("BYE");
    assert_eq!(state(&mut agent), ChatState::Gone);

    let mut agent = ocs(Overrides::default());
    let tag = called(&mut agent, "");
    shows(&mut agent, ChatState::Active);
    agent.hears(&from_bruno("BYE", "b2", 7, &tag, "", ""));
    agent.says_response(200);
    assert_eq!(
        state(&mut agent),
        ChatState::Gone,
        "who shows chat states is told"
    );
}

#[test]
fn a_stop_ends_all_sessions_and_fails_what_waits() {
    let mut agent = ocs(Overrides::default());
    opened(&mut agent);
    sends(&mut agent, 2, im("two", None));
    sends(&mut agent, 3, im("three", None));
    let two = agent.says_request("MESSAGE");
    agent.ua.shut_down(agent.now);
    agent.pump();
    assert_eq!(settled(&mut agent), (3, Err(503)));
    let bye = agent.says_request("BYE");
    agent.hears_answer(&bye, 200, "");
    agent.hears_answer(&two, 200, "");
    assert_eq!(settled(&mut agent), (2, Ok(())));
    assert_eq!(agent.ua.status().sessions, 0);
    assert!(agent.ua.is_quiet());
}

#[test]
fn the_oldest_of_very_many_sessions_ends_for_a_newer_one() {
    let mut agent = ocs(Overrides::default());
    for number in 0..20 {
        let rename = |text: String| text.replace("s2x-1@", &format!("s2x-{number}@"));
        let branch = format!("i{number}");
        let invite = from_bruno("INVITE", &branch, 1, "", &format!("{GRUU}{SDP}"), &offer());
        agent.hears(&rename(invite));
        let sent = agent.says_responses();
        let tag = sent.last().unwrap().tag("To");
        agent.hears(&rename(from_bruno(
            "ACK",
            &format!("a{number}"),
            1,
            &tag,
            "",
            "",
        )));
    }
    assert_eq!(
        agent.ua.status().sessions,
        20,
        "four wait for the answer to their BYE"
    );
    agent.passes_seconds(40);
    assert_eq!(agent.ua.status().sessions, 16);
}

#[test]
fn nobody_else_speaks_in_a_session() {
    let mut agent = ocs(Overrides::default());
    let tag = called(&mut agent, "");
    let forged = from_bruno("MESSAGE", "m1", 2, &tag, PLAIN, "first");
    for (from, to) in [("tag=w1", "tag=w2"), ("sip:bruno@ocs", "sip:carla@ocs")] {
        agent.hears(&forged.replace(from, to).replace("-m1", to));
        agent.says_response(481);
    }
    agent.hears(&forged);
    assert!(matches!(agent.tells(), SipIn::Message { .. }));
    agent.hears(&from_bruno("MESSAGE", "m0", 1, &tag, PLAIN, "late"));
    agent.says_response(500);
    assert_eq!(agent.ua.poll_input(), None);
}

#[test]
fn a_forbidden_message_opens_a_session_where_the_refusal_shows_the_dialect() {
    let forbidden = "ms-diagnostics-public: 1027;reason=\"x\";source=\"edge.ocs.example\"\r\n";
    for (more, method) in [("", None), (forbidden, Some("INVITE"))] {
        let mut agent = auto();
        sends(&mut agent, 1, im("one", None));
        let page = agent.says_request("MESSAGE");
        agent.hears_answer(&page, 403, more);
        match method {
            Some(method) => _ = agent.says_request(method),
            None => assert_eq!(settled(&mut agent), (1, Err(403))),
        }
    }
}

#[test]
fn whether_a_forbidden_message_opens_a_session_is_a_habit_of_its_own() {
    let rows = [
        (Some(true), Some(false), "INVITE"),
        (Some(false), Some(true), ""),
    ];
    for (forbids_pages, diagnostics, method) in rows {
        let mut agent = ocs(Overrides {
            im: Some(ImMode::Page),
            forbids_pages,
            diagnostics,
            ..Overrides::default()
        });
        sends(&mut agent, 1, im("one", None));
        let page = agent.says_request("MESSAGE");
        agent.hears_answer(&page, 403, "");
        if method.is_empty() {
            assert_eq!(settled(&mut agent), (1, Err(403)));
        } else {
            agent.says_request(method);
        }
    }
}

#[test]
fn a_to_that_cannot_be_read_sets_up_no_session() {
    let mut agent = ocs(Overrides::default());
    sends(&mut agent, 1, im("hello", Some("t-1")));
    let invite = agent.says_request("INVITE");
    let (via, from) = (invite.field("Via"), invite.field("From"));
    let (call_id, cseq) = (invite.field("Call-ID"), invite.field("CSeq"));
    let body = described(IN_DIALOG);
    let length = body.len();
    agent.hears(&format!(
        "SIP/2.0 200 OK\r\nVia: {via}\r\nFrom: {from}\r\nTo: <sip;bruno@ocs.example>;tag=b1\r\nCall-ID: {call_id}\r\n\
         CSeq: {cseq}\r\n{GRUU}{SDP}Content-Length: {length}\r\n\r\n{body}"
    ));
    // No answer that counts.
    agent.passes_seconds(60);
    assert!(matches!(settled(&mut agent), (1, Err(_))));
    agent.passes_seconds(2000);
    let repeats = |request: &stox_sip::message::Request| request.field("To").contains("sip;bruno");
    assert!(!agent.says_requests().iter().any(repeats));
    assert!(agent.ua.is_empty());
}
