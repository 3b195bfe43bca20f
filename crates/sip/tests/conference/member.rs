//! The participant before conferences that are not what we are.

use stox_core::address::SipAddress;
use stox_core::failure::{Failure, Local};
use stox_core::vocab::{
    ConferenceEvent, ConferenceOut, End, Participant, Ref, Role, Roster, SipIn, SipOut,
};
use stox_sip::message::Request;
use stox_sip::transport::FlowId;
use stox_sip::ua::settings::Msrp;

use crate::agent::{Agent, Fields, Notify, address, bruno};

const LEG: Ref = Ref(5);

fn agent() -> Agent {
    let mut settings = crate::agent::world();
    settings.msrp = Some(Msrp {
        host: "192.0.2.1".to_owned(),
        tcp_port: Some(2855),
        tls_port: None,
        fingerprint: None,
        networks: Vec::new(),
        relay: None,
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

const FLOW: FlowId = FlowId(70);
const THEIRS: &str = "msrp://192.0.2.10:7313/abcd;tcp";

/// The other end of her MSRP connection.
struct Line {
    /// Our path.
    ours: String,
}

impl Line {
    /// The conference accepts, with these abilities, and she connects.
    fn new(agent: &mut Agent, abilities: &str) -> (Self, Request) {
        let invite = joins(agent);
        let body = answer(&format!("a=chatroom:{abilities}\r\n"));
        agent.hears_answer_with(&invite, 200, &fields(";isfocus"), &body);
        agent.says_request("ACK");
        let dial = agent.ua.poll_msrp_dial().expect("a connection is wanted");
        agent.ua.msrp_dialled(dial.id, Some(FLOW), agent.now);
        agent.pump();
        let media = stox_sip::body::sdp::media(&invite.body);
        let line = Self {
            ours: media[0].path.clone().unwrap(),
        };
        (line, invite)
    }

    /// Takes what she says first where she has no nickname to ask for (RFC 4975 §5.4).
    fn bound(self, agent: &mut Agent) -> Self {
        for frame in self.hears(agent) {
            assert!(frame.contains(" SEND\r\n"), "{frame}");
            self.answers(agent, &frame, "200 OK");
        }
        self
    }

    fn hears(&self, agent: &mut Agent) -> Vec<String> {
        let mut text = String::new();
        while let Some((flow, octets)) = agent.ua.poll_msrp_transmit() {
            text.push_str(std::str::from_utf8(&octets).unwrap());
            agent.ua.msrp_written(flow, octets.len(), agent.now);
        }
        let frames = text.split("MSRP ").filter(|frame| !frame.is_empty());
        frames.map(str::to_owned).collect()
    }

    fn answers(&self, agent: &mut Agent, frame: &str, status: &str) {
        let id = frame.split(' ').next().unwrap();
        self.octets(agent, &format!("MSRP {id} {status}"), id, "");
    }

    fn octets(&self, agent: &mut Agent, start: &str, id: &str, rest: &str) {
        let text = format!(
            "{start}\r\nTo-Path: {}\r\nFrom-Path: {THEIRS}\r\n{rest}-------{id}$\r\n",
            self.ours
        );
        agent.ua.msrp_received(FLOW, text.as_bytes(), agent.now);
        agent.pump();
    }

    /// Somebody says something.
    fn says(&self, agent: &mut Agent, id: &str, from: &str, to: &str) {
        let body =
            format!("From: {from}\r\nTo: <{to}>\r\n\r\nContent-Type: text/plain\r\n\r\nTea?");
        let length = body.len();
        let rest = format!(
            "Message-ID: m{id}\r\nByte-Range: 1-{length}/{length}\r\nContent-Type: message/cpim\r\n\r\n{body}\r\n"
        );
        self.octets(agent, &format!("MSRP {id} SEND"), id, &rest);
    }
}

/// She is in, in a conference without nicknames; its SUBSCRIBE.
fn inside(agent: &mut Agent) -> (Line, Request) {
    let (line, subscribe, _) = inside_by(agent);
    (line, subscribe)
}

/// The same, with the INVITE.
fn inside_by(agent: &mut Agent) -> (Line, Request, Request) {
    let (line, invite) = Line::new(agent, "private-messages");
    let line = line.bound(agent);
    let event = tells(agent);
    let expected = ConferenceEvent::Joined {
        nick: "Alma".to_owned(),
        private_messages: true,
    };
    assert_eq!(event, expected);
    (line, agent.says_request("SUBSCRIBE"), invite)
}

fn tells(agent: &mut Agent) -> ConferenceEvent {
    match agent.tells() {
        SipIn::Conference { leg: LEG, event } => event,
        other => panic!("{other:?}"),
    }
}

fn notify<'a>(cseq: u32, state: &'a str, body: &'a str) -> Notify<'a> {
    Notify {
        cseq,
        event: "Event: conference\r\n",
        state,
        more: "Content-Type: application/conference-info+xml\r\n",
        body,
        ..Notify::default()
    }
}

const ACTIVE: &str = "Subscription-State: active;expires=600\r\n";

fn document(extent: &str, version: u32, users: &str) -> String {
    format!(
        "<conference-info xmlns='urn:ietf:params:xml:ns:conference-info' entity='sip:chat7@ocs.example' \
         state='{extent}' version='{version}'><users state='{extent}'>{users}</users></conference-info>"
    )
}

fn roster(full: bool, present: &[(&str, &str)], left: &[&str]) -> ConferenceEvent {
    let present = present.iter().map(|(user, nick)| Participant {
        address: address(user, "ocs.example"),
        nick: Some((*nick).to_owned()),
        role: Role::Participant,
    });
    ConferenceEvent::Roster(Roster {
        full,
        present: present.collect(),
        left: left
            .iter()
            .map(|user| address(user, "ocs.example"))
            .collect(),
    })
}

#[test]
fn a_nickname_may_be_refused() {
    let rows = [
        ("425 Taken", Some(End::NickTaken)),
        ("501 Unknown Method", None),
        ("200 OK", None),
    ];
    for (status, end) in rows {
        let mut agent = agent();
        let (line, _) = Line::new(&mut agent, "nickname");
        let frames = line.hears(&mut agent);
        let frame = frames.iter().find(|frame| frame.contains(" NICKNAME\r\n"));
        let frame = frame.expect("a nickname is asked for").clone();
        assert!(frame.contains("Use-Nickname: \"Alma\"\r\n"), "{frame}");
        agent.is_silent();
        line.answers(&mut agent, &frame, status);
        match end {
            Some(end) => assert_eq!(ended(&mut agent), end),
            None => {
                assert!(matches!(tells(&mut agent), ConferenceEvent::Joined { .. }));
                agent.says_request("SUBSCRIBE");
            }
        }
    }
}

#[test]
fn without_the_package_those_who_speak_are_there() {
    let mut agent = agent();
    let (line, subscribe) = inside(&mut agent);
    agent.hears_answer(&subscribe, 489, "");
    assert_eq!(tells(&mut agent), roster(true, &[], &[]));
    for (id, news) in [("tid1", true), ("tid2", false)] {
        let from = "\"Bruno\" <sip:bruno@ocs.example>";
        line.says(&mut agent, id, from, "sip:chat7@ocs.example");
        if news {
            assert_eq!(tells(&mut agent), roster(false, &[("bruno", "Bruno")], &[]));
        }
        let event = tells(&mut agent);
        let ConferenceEvent::Message {
            reference,
            from,
            private: false,
            ..
        } = event
        else {
            panic!("{event:?}");
        };
        assert_eq!(from, bruno());
        assert!(line.hears(&mut agent).is_empty());
        let outcome = Ok(());
        agent.does(SipOut::Conference(ConferenceOut::Answer {
            reference,
            outcome,
        }));
        assert!(line.hears(&mut agent)[0].starts_with(&format!("{id} 200 ")));
    }
    // Nothing is asked any more.
    agent.passes_seconds(7200);
    assert!(agent.says_requests().is_empty());
}

#[test]
fn a_gap_in_the_state_is_mended() {
    let mut agent = agent();
    let (line, subscribe) = inside(&mut agent);
    agent.hears_answer(
        &subscribe,
        200,
        "Expires: 600\r\nContact: <sip:chat7@edge.ocs.example:5061>\r\n",
    );
    let bruno_is = "<user entity='sip:bruno@ocs.example'><display-text>Bruno</display-text></user>";
    let carla = "<user entity='sip:carla@ocs.example'><display-text>Carla</display-text></user>";
    let gone = "<user entity='sip:bruno@ocs.example' state='deleted'/>";
    agent.hears_notify(
        &subscribe,
        &notify(1, ACTIVE, &document("full", 4, bruno_is)),
    );
    agent.says_response(200);
    assert_eq!(tells(&mut agent), roster(true, &[("bruno", "Bruno")], &[]));
    agent.hears_notify(
        &subscribe,
        &notify(2, ACTIVE, &document("partial", 5, carla)),
    );
    agent.says_response(200);
    assert_eq!(tells(&mut agent), roster(false, &[("carla", "Carla")], &[]));
    agent.hears_notify(
        &subscribe,
        &notify(3, ACTIVE, &document("partial", 7, gone)),
    );
    agent.says_response(200);
    let repair = agent.says_request("SUBSCRIBE");
    agent.hears_answer(&repair, 200, "Expires: 600\r\n");
    agent.hears_notify(&subscribe, &notify(4, ACTIVE, &document("full", 8, carla)));
    agent.says_response(200);
    assert_eq!(tells(&mut agent), roster(false, &[], &["bruno"]));
    // Another one at once is asked for later.
    agent.hears_notify(
        &subscribe,
        &notify(5, ACTIVE, &document("partial", 11, gone)),
    );
    agent.says_response(200);
    agent.is_silent();
    agent.passes_seconds(6);
    agent.says_request("SUBSCRIBE");
    // A message of one whom the roster names otherwise is from him whom it names.
    line.says(
        &mut agent,
        "tid9",
        "<sip:carla@ocs.example;gr=phone>",
        "sip:alma@jabber.example",
    );
    let event = tells(&mut agent);
    let ConferenceEvent::Message {
        from,
        private: true,
        ..
    } = event
    else {
        panic!("{event:?}");
    };
    assert_eq!(from, address("carla", "ocs.example"));
}

#[test]
fn the_end_of_a_subscription_is_not_the_end_of_the_stay() {
    let mut agent = agent();
    let (_, subscribe) = inside(&mut agent);
    agent.hears_answer(
        &subscribe,
        200,
        "Expires: 600\r\nContact: <sip:chat7@edge.ocs.example:5061>\r\n",
    );
    let over = "Subscription-State: terminated;reason=deactivated\r\n";
    agent.hears_notify(&subscribe, &notify(1, over, ""));
    agent.says_response(200);
    assert_eq!(tells(&mut agent), roster(true, &[], &[]));
    agent.passes_seconds(3);
    let again = agent.says_request("SUBSCRIBE");
    assert!(again.tag("To").is_empty());
    let deleted = document("deleted", 1, "");
    agent.hears_answer(
        &again,
        200,
        "Expires: 600\r\nContact: <sip:chat7@edge.ocs.example:5061>\r\n",
    );
    agent.hears_notify(&again, &notify(1, ACTIVE, &deleted));
    agent.says_response(200);
    assert_eq!(ended(&mut agent), End::Over { reason: None });
}

#[test]
fn a_goodbye_has_its_reason() {
    let rows = [
        ("", End::Over { reason: None }),
        (
            "Reason: SIP;cause=480;text=\"Be nice\"\r\n",
            End::Removed {
                reason: Some("Be nice".to_owned()),
            },
        ),
        (
            "Reason: SIP;cause=403;text=\"Never again\"\r\n",
            End::Banned {
                reason: Some("Never again".to_owned()),
            },
        ),
        ("Reason: SIP;cause=410\r\n", End::Over { reason: None }),
        (
            "Reason: SIP;cause=503\r\n",
            End::Lost(Failure::Local(Local::TransportFailed)),
        ),
    ];
    for (reason, end) in rows {
        let mut agent = agent();
        let (_, subscribe, invite) = inside_by(&mut agent);
        let bye = Notify {
            method: "BYE",
            cseq: 1,
            event: "",
            state: "",
            more: reason,
            ..Notify::default()
        };
        // In the dialog of another, nothing is said.
        agent.hears_notify(
            &invite,
            &Notify {
                tag: "other",
                ..bye
            },
        );
        agent.says_response(481);
        agent.hears_notify(&invite, &bye);
        agent.says_response(200);
        assert_eq!(ended(&mut agent), end);
        agent.hears_answer(&subscribe, 481, "");
        agent.is_silent();
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
