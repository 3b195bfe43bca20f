//! The participant before conferences that are not what we are.

use stox_core::address::SipAddress;
use stox_core::failure::{Failure, Local};
use stox_core::vocab::{ConferenceEvent, ConferenceOut, End, Ref, SipIn, SipOut};
use stox_sip::message::Request;
use stox_sip::ua::settings::Msrp;

use crate::agent::{Agent, Fields, address};

const LEG: Ref = Ref(5);

fn agent() -> Agent {
    let mut settings = crate::agent::world();
    settings.msrp = Some(Msrp {
        host: "192.0.2.1".to_owned(),
        tcp_port: Some(2855),
        tls_port: None,
        fingerprint: None,
        networks: Vec::new(),
        endpoint: Default::default(),
    });
    settings.sip_domains[0].dialect.overrides.msrp_tls = Some(stox_sip::dialect::MsrpTls::Never);
    Agent::with(settings)
}

fn answer(more: &str) -> String {
    format!(
        "v=0\r\no=- 0 0 IN IP4 192.0.2.10\r\ns=-\r\nc=IN IP4 192.0.2.10\r\nt=0 0\r\n\
         m=message 7313 TCP/MSRP *\r\na=accept-types:message/cpim\r\na=setup:passive\r\n\
         a=path:msrp://192.0.2.10:7313/abcd;tcp\r\n{more}"
    )
}

fn fields(contact: &str) -> String {
    format!(
        "Contact: <sip:chat7@edge.ocs.example:5061;transport=tls>{contact}\r\nContent-Type: application/sdp\r\n"
    )
}

fn joins(agent: &mut Agent) -> Request {
    agent.does(SipOut::Conference(ConferenceOut::Join {
        leg: LEG,
        user: SipAddress {
            gr: Some("r1".to_owned()),
            ..address("alma", "jabber.example")
        },
        conference: address("chat7", "ocs.example"),
        nick: "Alma".to_owned(),
    }));
    agent.says_request("INVITE")
}

fn ended(agent: &mut Agent) -> End {
    match agent.tells() {
        SipIn::Conference {
            leg: LEG,
            event: ConferenceEvent::Ended(end),
        } => end,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_answer_must_be_that_of_a_conference() {
    let room = answer("a=chatroom:nickname\r\n");
    let rows = [
        // COMPAT: a focus that does not say so.
        ("", room.clone(), true),
        (";isfocus", answer(""), true),
        ("", answer(""), false),
        (";isfocus", room.replace("TCP/MSRP", "TCP/TLS/MSRP"), false),
        (";isfocus", room.replace("7313 TCP", "0 TCP"), false),
        // Nobody makes us connect to a third party.
        (
            ";isfocus",
            room.replace("msrp://192.0.2.10", "msrp://198.51.100.1"),
            false,
        ),
        (";isfocus", room.replace("msrp:", "sip:"), false),
    ];
    for (contact, body, taken) in rows {
        let mut agent = agent();
        let invite = joins(&mut agent);
        agent.hears_answer_with(&invite, 200, &fields(contact), &body);
        agent.says_request("ACK");
        if taken {
            agent.is_silent();
            assert!(agent.ua.poll_msrp_dial().is_some(), "{body}");
        } else {
            let expected = End::Refused(Failure::Local(Local::NotAcceptable));
            assert_eq!(ended(&mut agent), expected, "{contact} {body}");
            let bye = agent.says_request("BYE");
            agent.hears_answer(&bye, 200, "");
            agent.passes_seconds(100);
            assert!(agent.ua.is_empty());
        }
    }
}

#[test]
fn a_refusal_is_told_as_it_is() {
    let mut agent = agent();
    let invite = joins(&mut agent);
    agent.hears_answer(&invite, 486, "");
    let End::Refused(Failure::Sip(status)) = ended(&mut agent) else {
        panic!("a refusal of the peer's");
    };
    assert_eq!(status.code, 486);
    agent.says_request("ACK");
    agent.passes_seconds(100);
    assert!(agent.ua.is_empty());
}

#[test]
fn nobody_waits_for_ever() {
    let mut agent = agent();
    let invite = joins(&mut agent);
    agent.hears_answer(&invite, 180, "");
    agent.passes_seconds(65);
    let timeout = End::Refused(Failure::Local(Local::Timeout));
    assert_eq!(ended(&mut agent), timeout);
    let cancel = agent.says_request("CANCEL");
    agent.hears_answer(&cancel, 200, "");
    // The answer comes after all.
    agent.hears_answer_with(&invite, 200, &fields(";isfocus"), &answer("a=chatroom\r\n"));
    agent.says_request("ACK");
    let bye = agent.says_request("BYE");
    agent.hears_answer(&bye, 200, "");
    agent.is_silent();
    agent.passes_seconds(100);
    assert!(agent.ua.is_empty());
}

#[test]
fn a_connection_that_cannot_be_opened_is_a_refusal() {
    let mut agent = agent();
    let invite = joins(&mut agent);
    agent.hears_answer_with(&invite, 200, &fields(";isfocus"), &answer("a=chatroom\r\n"));
    agent.says_request("ACK");
    let dial = agent.ua.poll_msrp_dial().expect("a connection is wanted");
    agent.ua.msrp_dialled(dial.id, None, agent.now);
    agent.pump();
    let lost = End::Refused(Failure::Local(Local::TransportFailed));
    assert_eq!(ended(&mut agent), lost);
    let bye = agent.says_request("BYE");
    agent.hears_answer(&bye, 200, "");
    agent.passes_seconds(100);
    assert!(agent.ua.is_empty());
}

#[test]
fn without_msrp_there_are_no_conferences() {
    let mut agent = Agent::new();
    agent.does(SipOut::Conference(ConferenceOut::Join {
        leg: LEG,
        user: address("alma", "jabber.example"),
        conference: address("chat7", "ocs.example"),
        nick: "Alma".to_owned(),
    }));
    let expected = End::Refused(Failure::Local(Local::NotImplemented));
    assert_eq!(ended(&mut agent), expected);
    agent.is_silent();
}

#[test]
fn a_challenge_is_answered_by_the_same_leg() {
    let mut agent = agent();
    let invite = joins(&mut agent);
    assert!(
        invite
            .field("From")
            .contains("<sip:alma@jabber.example;gr=r1>")
    );
    agent.hears_answer(
        &invite,
        407,
        "Proxy-Authenticate: Digest realm=\"x\", nonce=\"n\"\r\n",
    );
    // There are no credentials for it.
    assert!(matches!(ended(&mut agent), End::Refused(Failure::Sip(_))));
}
