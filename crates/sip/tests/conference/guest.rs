//! The focus before SIP users who are not what we are: what it takes of them, what it refuses, and whom it believes.

use std::time::Duration;

use stox_core::failure::{Failure, Local};
use stox_core::policy::DomainPattern;
use stox_core::vocab::{
    End, FocusEvent, FocusOut, Invitation, NickRefusal, Participant, Ref, Role, Roster, SipIn,
    SipOut,
};
use stox_sip::body::conference_info::{self, Extent};
use stox_sip::body::sdp;
use stox_sip::header::{HeaderValue, NameAddr};
use stox_sip::message::{Request, Response};
use stox_sip::transport::FlowId;
use stox_sip::ua::settings::Msrp;

use crate::agent::{Agent, Fields, address, bruno};

const ROOM: &str = "tea@rooms.jabber.example";
const OFFER: &str = "v=0\r\no=- 0 0 IN IP4 192.0.2.10\r\ns=-\r\nc=IN IP4 192.0.2.10\r\nt=0 0\r\n\
    m=message 7313 TCP/MSRP *\r\na=accept-types:message/cpim text/plain\r\na=accept-wrapped-types:text/plain\r\n\
    a=setup:active\r\na=path:msrp://192.0.2.10:7313/abcd;tcp\r\n";
const SDP: &str = "Content-Type: application/sdp\r\n";
const CONTACT: &str = "Contact: <sip:bruno@192.0.2.10:5061;transport=tls>\r\n";

fn agent() -> Agent {
    let mut settings = crate::agent::world();
    settings
        .xmpp_domains
        .push(DomainPattern::parse("rooms.jabber.example"));
    settings.msrp = Some(Msrp {
        host: "192.0.2.1".to_owned(),
        tcp_port: Some(2855),
        tls_port: None,
        fingerprint: None,
        networks: Vec::new(),
        relay: None,
        endpoint: Default::default(),
    });
    Agent::with(settings)
}

/// One request of a peer.
struct Asks<'a> {
    method: &'a str,
    from: &'a str,
    to: &'a str,
    to_tag: &'a str,
    call_id: &'a str,
    cseq: u32,
    more: String,
    body: &'a str,
}

impl Default for Asks<'_> {
    fn default() -> Self {
        Self {
            method: "INVITE",
            from: "\"Bruno\" <sip:bruno@ocs.example>;tag=b1",
            to: ROOM,
            to_tag: "",
            call_id: "c1",
            cseq: 1,
            more: CONTACT.to_owned(),
            body: "",
        }
    }
}

impl Asks<'_> {
    fn text(&self) -> String {
        let Self {
            method,
            from,
            to,
            to_tag,
            call_id,
            cseq,
            more,
            body,
        } = self;
        let tag = match to_tag.is_empty() {
            true => String::new(),
            false => format!(";tag={to_tag}"),
        };
        format!(
            "{method} sip:{to} SIP/2.0\r\nVia: SIP/2.0/TLS edge.ocs.example:5061;branch=z9hG4bK-{call_id}-{cseq}-{method}\r\n\
             Max-Forwards: 70\r\nFrom: {from}\r\nTo: <sip:{to}>{tag}\r\nCall-ID: {call_id}\r\nCSeq: {cseq} {method}\r\n\
             {more}Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
    }
}

fn invite(offer: &str) -> String {
    Asks {
        more: format!("{CONTACT}{SDP}"),
        body: offer,
        ..Asks::default()
    }
    .text()
}

fn room_offer() -> String {
    format!("{OFFER}a=chatroom:nickname private-messages\r\n")
}

fn focus(agent: &mut Agent, out: FocusOut) {
    agent.does(SipOut::Focus(out));
}

fn tells(agent: &mut Agent) -> (Ref, FocusEvent) {
    match agent.tells() {
        SipIn::Focus { leg, event } => (leg, event),
        other => panic!("{other:?}"),
    }
}

/// Bruno asks to come in; his leg.
fn asked(agent: &mut Agent) -> Ref {
    agent.hears(&invite(&room_offer()));
    let ringing = agent.says_response(180);
    assert!(ringing.field("Contact").ends_with(";isfocus"));
    let (leg, event) = tells(agent);
    let expected = FocusEvent::Asked {
        user: bruno(),
        room: address("tea", "rooms.jabber.example"),
        nick: None,
        name: Some("Bruno".to_owned()),
    };
    assert_eq!(event, expected);
    leg
}

fn roster(leg: Ref, full: bool, nicks: &[&str]) -> FocusOut {
    let present = |nick: &&str| Participant {
        address: stox_core::address::SipAddress {
            gr: Some((*nick).to_owned()),
            ..address("tea", "rooms.jabber.example")
        },
        nick: Some((*nick).to_owned()),
        role: Role::Participant,
    };
    FocusOut::Roster {
        leg,
        roster: Roster {
            full,
            present: nicks.iter().map(present).collect(),
            left: Vec::new(),
        },
    }
}

/// Bruno is in; his leg, and the 200.
fn inside(agent: &mut Agent) -> (Ref, Response) {
    let leg = asked(agent);
    let nick = "Bruno".to_owned();
    focus(agent, FocusOut::Accept { leg, nick });
    let answer = agent.says_response(200);
    let ack = Asks {
        method: "ACK",
        to_tag: &answer.tag("To"),
        ..Asks::default()
    };
    agent.hears(&ack.text());
    focus(agent, roster(leg, true, &["Bruno", "Alma"]));
    agent.is_silent();
    (leg, answer)
}

fn subscribe(call_id: &str, from: &str, more: &str) -> String {
    Asks {
        method: "SUBSCRIBE",
        from,
        call_id,
        more: format!("{CONTACT}Event: conference\r\nExpires: 600\r\n{more}"),
        ..Asks::default()
    }
    .text()
}

fn document(notify: &Request) -> conference_info::ConferenceInfo {
    assert_eq!(notify.field("Content-Type"), conference_info::CONTENT_TYPE);
    conference_info::parse(&notify.body, None).unwrap()
}

fn bye(agent: &mut Agent, answer: &Response) {
    let bye = Asks {
        method: "BYE",
        to_tag: &answer.tag("To"),
        cseq: 20,
        ..Asks::default()
    };
    agent.hears(&bye.text());
}

/// Bruno's MSRP connection.
struct Line {
    flow: FlowId,
    to: String,
    last: u32,
}

const OWN_PATH: &str = "msrp://192.0.2.10:7313/abcd;tcp";

impl Line {
    /// Connects by the answer to the INVITE.
    fn new(agent: &mut Agent, answer: &Response) -> Self {
        let line = Self::new_later(agent, answer);
        assert!(line.hears(agent)[0].contains(" 200 "));
        line
    }

    /// The same, where messages may come at once.
    fn new_later(agent: &mut Agent, answer: &Response) -> Self {
        let media = sdp::media(&answer.body);
        let mut line = Self {
            flow: FlowId(70),
            to: media[0].path.clone().unwrap(),
            last: 0,
        };
        agent.ua.msrp_accepted(line.flow, false, None, agent.now);
        line.asks(
            agent,
            "SEND",
            "Message-ID: bind\r\nByte-Range: 1-0/0\r\n",
            None,
        );
        line
    }

    /// Sends a request; its transaction.
    fn asks(
        &mut self,
        agent: &mut Agent,
        method: &str,
        more: &str,
        body: Option<(&str, &str)>,
    ) -> String {
        self.last += 1;
        let id = format!("tid{:04}", self.last);
        let body = body.map_or_else(String::new, |(content_type, body)| {
            let length = body.len();
            format!(
                "Message-ID: m{id}\r\nByte-Range: 1-{length}/{length}\r\nContent-Type: {content_type}\r\n\r\n{body}\r\n"
            )
        });
        let text = format!(
            "MSRP {id} {method}\r\nTo-Path: {}\r\nFrom-Path: {OWN_PATH}\r\n{more}{body}-------{id}$\r\n",
            self.to
        );
        agent
            .ua
            .msrp_received(self.flow, text.as_bytes(), agent.now);
        agent.pump();
        id
    }

    /// Says something in a wrapper.
    fn says(&mut self, agent: &mut Agent, from: &str, to: &str) -> String {
        let body =
            format!("From: <{from}>\r\nTo: <{to}>\r\n\r\nContent-Type: text/plain\r\n\r\nTea?");
        self.asks(agent, "SEND", "", Some(("message/cpim", &body)))
    }

    /// What comes, frame by frame.
    fn hears(&self, agent: &mut Agent) -> Vec<String> {
        let mut text = String::new();
        while let Some((flow, octets)) = agent.ua.poll_msrp_transmit() {
            assert_eq!(flow, self.flow);
            text.push_str(std::str::from_utf8(&octets).unwrap());
            agent.ua.msrp_written(flow, octets.len(), agent.now);
        }
        let frames = text.split("MSRP ").filter(|frame| !frame.is_empty());
        frames.map(str::to_owned).collect()
    }

    /// The one answer that comes, to that transaction.
    fn hears_status(&self, agent: &mut Agent, id: &str) -> u16 {
        let heard = self.hears(agent);
        assert_eq!(heard.len(), 1, "{heard:?}");
        let mut words = heard[0].split(' ');
        assert_eq!(words.next(), Some(id), "{heard:?}");
        words.next().unwrap().trim_end().parse().unwrap()
    }
}

#[test]
fn what_he_says_is_answered_when_the_room_has_answered() {
    let mut agent = agent();
    let (leg, answer) = inside(&mut agent);
    let mut line = Line::new(&mut agent, &answer);
    let outcomes = [
        (Ok(()), 200),
        (Err(Failure::Local(Local::NotAllowed)), 403),
        (Err(Failure::Local(Local::Timeout)), 408),
        (Err(Failure::Local(Local::TooLarge)), 413),
    ];
    for (outcome, status) in outcomes {
        let id = line.says(
            &mut agent,
            "sip:bruno@ocs.example",
            "sip:tea@rooms.jabber.example",
        );
        assert!(line.hears(&mut agent).is_empty());
        let (of, event) = tells(&mut agent);
        let FocusEvent::Message { reference, to, im } = event else {
            panic!("{event:?}");
        };
        assert_eq!((of, to, im.bodies[0].text.as_str()), (leg, None, "Tea?"));
        focus(
            &mut agent,
            FocusOut::Answer {
                reference,
                outcome: outcome.clone(),
            },
        );
        assert_eq!(line.hears_status(&mut agent, &id), status, "{outcome:?}");
        // A second answer is ignored.
        focus(&mut agent, FocusOut::Answer { reference, outcome });
        assert!(line.hears(&mut agent).is_empty());
    }
    bye(&mut agent, &answer);
    nothing_is_left(&mut agent);
}

#[test]
fn he_speaks_for_himself_and_to_those_who_are_there() {
    let mut agent = agent();
    let (_, answer) = inside(&mut agent);
    let mut line = Line::new(&mut agent, &answer);
    let room = "sip:tea@rooms.jabber.example";
    let rows = [
        ("sip:bruno@ocs.example;gr=x", room, None, None),
        ("sip:anonymous@anonymous.invalid", room, None, None),
        (
            "sip:bruno@ocs.example",
            "sip:tea@rooms.jabber.example;gr=Al%20ma",
            None,
            Some("Al%20ma"),
        ),
        ("sip:carla@ocs.example", room, Some(403), None),
        (
            "sip:tea@rooms.jabber.example;gr=Alma",
            room,
            Some(403),
            None,
        ),
        (
            "sip:bruno@ocs.example",
            "sip:alma@jabber.example",
            Some(404),
            None,
        ),
        ("tel:+15550100", room, Some(400), None),
    ];
    for (from, to, refused, private) in rows {
        let id = line.says(&mut agent, from, to);
        if let Some(status) = refused {
            assert_eq!(line.hears_status(&mut agent, &id), status, "{from} {to}");
            agent.is_silent();
            continue;
        }
        let (_, event) = tells(&mut agent);
        let FocusEvent::Message { to, .. } = event else {
            panic!("{event:?}");
        };
        assert_eq!(to.and_then(|to| to.gr).as_deref(), private);
    }
    // Without a wrapper it is for all; a notice of typing is for nobody.
    line.asks(&mut agent, "SEND", "", Some(("text/plain", "Tea?")));
    assert!(matches!(
        tells(&mut agent),
        (_, FocusEvent::Message { to: None, .. })
    ));
    let composing = "<isComposing xmlns='urn:ietf:params:xml:ns:im-iscomposing'><state>active</state></isComposing>";
    let id = line.asks(
        &mut agent,
        "SEND",
        "",
        Some(("application/im-iscomposing+xml", composing)),
    );
    assert_eq!(line.hears_status(&mut agent, &id), 200);
    agent.is_silent();
    // The room never answers: he leaves.
    bye(&mut agent, &answer);
    nothing_is_left(&mut agent);
}

#[test]
fn a_nickname_is_the_room_s_to_give() {
    let mut agent = agent();
    let (leg, answer) = inside(&mut agent);
    let mut line = Line::new(&mut agent, &answer);
    let outcomes = [
        (Ok(()), 200),
        (Err(NickRefusal::Taken), 425),
        (Err(NickRefusal::Malformed), 424),
        (
            Err(NickRefusal::Refused(Failure::Local(Local::NotAllowed))),
            403,
        ),
    ];
    for (outcome, status) in outcomes {
        let id = line.asks(
            &mut agent,
            "NICKNAME",
            "Use-Nickname: \"Bru \\\"no\"\r\n",
            None,
        );
        let nick = "Bru \"no".to_owned();
        assert_eq!(tells(&mut agent), (leg, FocusEvent::Nick { nick }));
        let another = line.asks(&mut agent, "NICKNAME", "Use-Nickname: \"X\"\r\n", None);
        assert_eq!(line.hears_status(&mut agent, &another), 403);
        focus(&mut agent, FocusOut::NickAnswer { leg, outcome });
        assert_eq!(line.hears_status(&mut agent, &id), status);
    }
    let id = line.asks(&mut agent, "NICKNAME", "Use-Nickname: \" \"\r\n", None);
    assert_eq!(line.hears_status(&mut agent, &id), 424);
    agent.is_silent();
}

#[test]
fn what_the_room_says_comes_in_a_wrapper() {
    let mut agent = agent();
    let (leg, answer) = inside(&mut agent);
    // The past is told before he has connected.
    let message = |reference, private| FocusOut::Message {
        reference: Ref(reference),
        leg,
        from: stox_core::address::SipAddress {
            gr: Some("Alma".to_owned()),
            ..address("tea", "rooms.jabber.example")
        },
        private,
        im: crate::room::text("Tea!"),
    };
    focus(&mut agent, message(900, false));
    agent.is_silent();
    let line = Line::new_later(&mut agent, &answer);
    focus(&mut agent, message(901, true));
    let heard: Vec<String> = line.hears(&mut agent);
    let sends: Vec<&String> = heard
        .iter()
        .filter(|frame| frame.contains(" SEND\r\n"))
        .collect();
    assert_eq!(sends.len(), 2, "{heard:?}");
    for (frame, to) in sends
        .iter()
        .zip(["tea@rooms.jabber.example", "bruno@ocs.example"])
    {
        assert!(
            frame.contains("From: \"Alma\" <sip:tea@rooms.jabber.example;gr=Alma>\r\n"),
            "{frame}"
        );
        assert!(
            frame.contains(&format!("\r\nTo: <sip:{to}>\r\n")),
            "{frame}"
        );
        let id = frame.split(' ').next().unwrap();
        let ok = format!(
            "MSRP {id} 200 OK\r\nTo-Path: {}\r\nFrom-Path: {OWN_PATH}\r\n-------{id}$\r\n",
            line.to
        );
        agent.ua.msrp_received(line.flow, ok.as_bytes(), agent.now);
        agent.pump();
    }
    for expected in [900, 901] {
        let (of, event) = tells(&mut agent);
        let fate = FocusEvent::Outcome {
            reference: Ref(expected),
            outcome: Ok(()),
        };
        assert_eq!((of, event), (leg, fate));
    }
    // What is under way when he leaves has its outcome, too.
    focus(&mut agent, message(902, false));
    bye(&mut agent, &answer);
    let (_, event) = tells(&mut agent);
    assert_eq!(event, FocusEvent::Left);
    let (_, event) = tells(&mut agent);
    let FocusEvent::Outcome {
        reference: Ref(902),
        outcome: Err(_),
    } = event
    else {
        panic!("{event:?}");
    };
    nothing_is_left(&mut agent);
}

fn nothing_is_left(agent: &mut Agent) {
    while let Some((flow, octets)) = agent.ua.poll_msrp_transmit() {
        agent.ua.msrp_written(flow, octets.len(), agent.now);
    }
    while let Some(flow) = agent.ua.poll_msrp_close() {
        agent.ua.msrp_closed(flow, agent.now);
    }
    agent.passes_seconds(200);
    agent.said();
    while agent.ua.poll_input().is_some() {}
    assert_eq!(agent.ua.status(), Default::default());
    assert!(agent.ua.is_empty());
}

#[test]
fn which_invites_are_for_rooms() {
    let dialog =
        "v=0\r\nm=message 5060 sip null\r\na=accept-types:text/plain\r\na=chatroom:nickname\r\n";
    let unreachable = OFFER.replace("setup:active", "setup:holdconn");
    // Without a=chatroom it is a session with a user.
    let rows = [
        (room_offer(), 180),
        (OFFER.to_owned(), 200),
        (dialog.to_owned(), 200),
        (format!("{unreachable}a=chatroom\r\n"), 488),
    ];
    for (offer, status) in rows {
        let mut agent = agent();
        agent.hears(&invite(&offer));
        agent.says_response(status);
        let asked = matches!(agent.ua.poll_input(), Some(SipIn::Focus { .. }));
        assert_eq!(asked, status == 180, "{offer}");
    }
}

#[test]
fn the_domains_of_rooms_decide() {
    let mut agent = agent();
    let mut settings = crate::agent::world();
    settings.xmpp_domains = vec![DomainPattern::parse("*")];
    settings.rooms = vec![DomainPattern::parse("rooms.jabber.example")];
    agent.ua.reconfigure(settings);
    // No MSRP any more: nothing is for a room.
    agent.hears(&invite(&room_offer()));
    agent.says_response(488);
}

#[test]
fn a_room_answers_for_itself() {
    let ends = [
        (End::Refused(Failure::Local(Local::NotAllowed)), 403),
        (End::Refused(Failure::Local(Local::Timeout)), 504),
        (End::NickTaken, 480),
        (End::Banned { reason: None }, 403),
        (End::Over { reason: None }, 410),
    ];
    for (end, status) in ends {
        let mut agent = agent();
        let leg = asked(&mut agent);
        focus(&mut agent, FocusOut::End { leg, end });
        let answer = agent.says_response(status);
        assert!(!answer.tag("To").is_empty());
        let ack = Asks {
            method: "ACK",
            to_tag: &answer.tag("To"),
            ..Asks::default()
        };
        agent.hears(&ack.text());
        agent.is_silent();
        nothing_is_left(&mut agent);
    }
}

#[test]
fn a_caller_may_cancel() {
    let mut agent = agent();
    let leg = asked(&mut agent);
    let cancel = Asks {
        method: "CANCEL",
        ..Asks::default()
    };
    let cancel = cancel.text().replace("-1-CANCEL", "-1-INVITE");
    agent.hears(&cancel);
    let statuses: Vec<u16> = agent.says_responses().iter().map(|r| r.status).collect();
    assert_eq!(statuses, [200, 487]);
    assert_eq!(tells(&mut agent), (leg, FocusEvent::Left));
    // The room has not heard of it yet.
    let nick = "Bruno".to_owned();
    focus(&mut agent, FocusOut::Accept { leg, nick });
    agent.is_silent();
    nothing_is_left(&mut agent);
}

#[test]
fn who_never_acknowledges_is_not_in() {
    let mut agent = agent();
    let leg = asked(&mut agent);
    let nick = "Bruno".to_owned();
    focus(&mut agent, FocusOut::Accept { leg, nick });
    agent.says_response(200);
    agent.passes_seconds(70);
    assert_eq!(tells(&mut agent), (leg, FocusEvent::Left));
    let byes = agent.says_requests();
    assert!(!byes.is_empty() && byes.iter().all(|bye| bye.method.as_str() == "BYE"));
    nothing_is_left(&mut agent);
}

#[test]
fn who_never_connects_is_not_in() {
    let mut agent = agent();
    let (leg, _) = inside(&mut agent);
    agent.passes_seconds(65);
    assert_eq!(tells(&mut agent), (leg, FocusEvent::Left));
    let bye = agent.says_request("BYE");
    assert!(bye.field("Reason").starts_with("SIP;cause=408;"));
    agent.hears_answer(&bye, 200, "");
    agent.is_silent();
    nothing_is_left(&mut agent);
}

#[test]
fn a_room_is_told_of_to_those_who_are_in_it() {
    let mut agent = agent();
    agent.hears(&subscribe("s1", "<sip:bruno@ocs.example>;tag=s", ""));
    agent.says_response(403);
    let (leg, answer) = inside(&mut agent);
    agent.hears(&subscribe("s2", "<sip:carla@ocs.example>;tag=s", ""));
    agent.says_response(403);
    agent.hears(&subscribe(
        "s3",
        "<sip:bruno@ocs.example>;tag=s",
        "Accept: application/pidf+xml\r\n",
    ));
    agent.says_response(406);
    agent.hears(&subscribe("s4", "<sip:bruno@ocs.example>;tag=s", ""));
    let granted = agent.says_response(200);
    assert_eq!(granted.field("Expires"), "600");
    let first = agent.says_request("NOTIFY");
    assert_eq!(first.field("Subscription-State"), "active;expires=600");
    let whole = document(&first);
    assert_eq!((whole.extent, whole.version), (Extent::Full, Some(0)));
    assert_eq!(whole.users.as_ref().unwrap().list.len(), 2);
    agent.hears_answer(&first, 200, "");
    // Changes of five seconds are told together.
    focus(&mut agent, roster(leg, false, &["Dora"]));
    focus(&mut agent, roster(leg, false, &["Emil"]));
    agent.is_silent();
    agent.passes_seconds(6);
    let second = agent.says_request("NOTIFY");
    let changes = document(&second);
    assert_eq!(
        (changes.extent, changes.version),
        (Extent::Partial, Some(1))
    );
    assert_eq!(changes.users.unwrap().list.len(), 2);
    assert_eq!(changes.user_count, Some(4));
    agent.hears_answer(&second, 200, "");
    // A refresh brings the whole state.
    let refresh = Asks {
        method: "SUBSCRIBE",
        from: "<sip:bruno@ocs.example>;tag=s",
        call_id: "s4",
        cseq: 2,
        to_tag: &granted.tag("To"),
        more: format!("{CONTACT}Event: conference\r\nExpires: 300\r\n"),
        ..Asks::default()
    };
    agent.hears(&refresh.text());
    agent.says_response(200);
    let third = agent.says_request("NOTIFY");
    assert_eq!(document(&third).extent, Extent::Full);
    agent.hears_answer(&third, 200, "");
    bye(&mut agent, &answer);
    agent.says_response(200);
    let last = agent.says_request("NOTIFY");
    assert_eq!(
        last.field("Subscription-State"),
        "terminated;reason=noresource"
    );
    agent.hears_answer(&last, 200, "");
    assert_eq!(tells(&mut agent), (leg, FocusEvent::Left));
    agent.is_silent();
    nothing_is_left(&mut agent);
}

#[test]
fn a_subscription_may_use_the_dialog_of_the_invite() {
    let mut agent = agent();
    let (leg, answer) = inside(&mut agent);
    let inside = |cseq, expires| {
        Asks {
            method: "SUBSCRIBE",
            to_tag: &answer.tag("To"),
            cseq,
            more: format!("{CONTACT}Event: conference\r\nExpires: {expires}\r\n"),
            ..Asks::default()
        }
        .text()
    };
    agent.hears(&inside(2, 600));
    agent.says_response(200);
    let first = agent.says_request("NOTIFY");
    assert_eq!(first.field("Call-ID"), "c1");
    agent.hears_answer(&first, 200, "");
    agent.hears(&inside(3, 600));
    agent.says_response(200);
    let second = agent.says_request("NOTIFY");
    agent.hears_answer(&second, 200, "");
    agent.hears(&inside(4, 0));
    agent.says_response(200);
    let last = agent.says_request("NOTIFY");
    assert_eq!(
        last.field("Subscription-State"),
        "terminated;reason=timeout"
    );
    agent.hears_answer(&last, 200, "");
    focus(
        &mut agent,
        FocusOut::End {
            leg,
            end: End::Removed { reason: None },
        },
    );
    let goodbye = agent.says_request("BYE");
    let numbers: Vec<u32> = [&first, &second, &last, &goodbye]
        .map(|request| request.headers.cseq().unwrap().number)
        .to_vec();
    assert_eq!(numbers, [1, 2, 3, 4]);
    agent.hears_answer(&goodbye, 200, "");
    nothing_is_left(&mut agent);
}

#[test]
fn a_watcher_who_is_gone_is_forgotten() {
    let mut agent = agent();
    let (leg, _) = inside(&mut agent);
    agent.hears(&subscribe("s4", "<sip:bruno@ocs.example>;tag=s", ""));
    agent.says_response(200);
    let first = agent.says_request("NOTIFY");
    agent.hears_answer(&first, 481, "");
    assert_eq!(agent.ua.status().room_watchers, 0);
    focus(&mut agent, roster(leg, false, &["Dora"]));
    agent.is_silent();
}

#[test]
fn nobody_speaks_in_the_dialog_of_another() {
    let mut agent = agent();
    let (_, answer) = inside(&mut agent);
    let tag = answer.tag("To");
    let rows = [
        ("<sip:carla@ocs.example>;tag=b1", 481),
        ("<sip:bruno@ocs.example>;tag=other", 481),
        ("<sip:bruno@elsewhere.example>;tag=b1", 403),
    ];
    for (cseq, (from, status)) in (5..).zip(rows) {
        let bye = Asks {
            method: "BYE",
            from,
            to_tag: &tag,
            cseq,
            ..Asks::default()
        };
        agent.hears(&bye.text());
        agent.says_response(status);
    }
    assert_eq!(agent.ua.status().guests, 1);
    agent.is_silent();
}

#[test]
fn a_refer_asks_the_room_to_invite() {
    let mut agent = agent();
    let (leg, answer) = inside(&mut agent);
    let refer = |call_id, cseq, tag: &str, refer_to: &str, more: &str| {
        Asks {
            method: "REFER",
            call_id,
            cseq,
            to_tag: tag,
            more: format!("{CONTACT}Refer-To: {refer_to}\r\n{more}"),
            ..Asks::default()
        }
        .text()
    };
    let tag = answer.tag("To");
    agent.hears(&refer(
        "c1",
        2,
        &tag,
        "<sip:carla@jabber.example?Subject=Tea%3F>",
        "",
    ));
    let (of, event) = tells(&mut agent);
    let FocusEvent::Invite {
        reference,
        invitee,
        reason,
    } = event
    else {
        panic!("{event:?}");
    };
    assert_eq!((of, invitee), (leg, address("carla", "jabber.example")));
    assert_eq!(reason.as_deref(), Some("Tea?"));
    agent.is_silent();
    let outcome = Ok(());
    focus(&mut agent, FocusOut::Answer { reference, outcome });
    agent.says_response(202);
    // MUC-16.
    let notify = agent.says_request("NOTIFY");
    assert_eq!(notify.field("Event"), "refer;id=2");
    assert_eq!(
        notify.field("Subscription-State"),
        "terminated;reason=noresource"
    );
    assert_eq!(notify.field("Content-Type"), "message/sipfrag;version=2.0");
    assert_eq!(&notify.body[..], b"SIP/2.0 100 Trying\r\n");
    agent.hears_answer(&notify, 200, "");
    // Outside the dialog, without NOTIFY; and what is refused.
    agent.hears(&refer(
        "r1",
        1,
        "",
        "<sip:d@x.example>",
        "Refer-Sub: false\r\n",
    ));
    let (_, event) = tells(&mut agent);
    let FocusEvent::Invite { reference, .. } = event else {
        panic!("{event:?}");
    };
    let failure = Failure::Local(Local::NotAllowed);
    focus(
        &mut agent,
        FocusOut::Answer {
            reference,
            outcome: Err(failure),
        },
    );
    agent.says_response(403);
    let rows = [
        ("<sip:d@x.example;method=BYE>", 603),
        ("<tel:+15550100>", 416),
        ("<sip:d@x.example", 400),
    ];
    for (cseq, (refer_to, status)) in (3..).zip(rows) {
        agent.hears(&refer("c1", cseq, &tag, refer_to, ""));
        agent.says_response(status);
    }
    agent.is_silent();
    bye(&mut agent, &answer);
    nothing_is_left(&mut agent);
}

#[test]
fn an_offer_may_come_again_but_no_other_one() {
    let mut agent = agent();
    let (_, answer) = inside(&mut agent);
    let tag = answer.tag("To");
    let again = |cseq, offer: &str| {
        Asks {
            to_tag: &tag,
            cseq,
            more: format!("{CONTACT}{SDP}"),
            body: offer,
            ..Asks::default()
        }
        .text()
    };
    agent.hears(&again(2, &room_offer()));
    let repeated = agent.says_response(200);
    assert_eq!(repeated.body, answer.body);
    agent.hears(&again(3, &room_offer().replace("abcd", "efgh")));
    agent.says_response(488);
}

#[test]
fn one_user_has_so_many_legs_and_no_more() {
    let mut agent = agent();
    for number in 0..70 {
        let call_id = format!("many-{number}");
        let invite = Asks {
            call_id: &call_id,
            more: format!("{CONTACT}{SDP}"),
            body: &room_offer(),
            ..Asks::default()
        }
        .text();
        agent.hears(&invite);
        agent.says_response(if number < 64 { 180 } else { 503 });
        agent.passes(Duration::from_millis(200));
        agent.said();
    }
}

#[test]
fn an_xmpp_user_may_be_asked_into_a_conference() {
    let mut agent = agent();
    let focus_contact = "Contact: <sip:chat7@ocs.example>;isfocus\r\n";
    let invite = |call_id: &str| {
        Asks {
            to: "alma@jabber.example",
            from: "<sip:chat7@ocs.example>;tag=f1",
            call_id,
            more: format!(
                "{focus_contact}{SDP}Referred-By: <sip:bruno@ocs.example>\r\nSubject: Tea?\r\n"
            ),
            body: &room_offer(),
            ..Asks::default()
        }
        .text()
    };
    agent.hears(&invite("i1"));
    let SipIn::Invitation(invitation) = agent.tells() else {
        panic!("an invitation");
    };
    let expected = Invitation {
        reference: invitation.reference,
        from: bruno(),
        conference: address("chat7", "ocs.example"),
        to: address("alma", "jabber.example"),
        reason: Some("Tea?".to_owned()),
    };
    assert_eq!(invitation, expected);
    agent.does(SipOut::AnswerInvitation {
        reference: invitation.reference,
        outcome: Ok(()),
    });
    agent.says_response(480);
    let refer = Asks {
        method: "REFER",
        to: "alma@jabber.example",
        call_id: "i2",
        more: format!("{CONTACT}Refer-To: <sip:chat7@ocs.example>\r\n"),
        ..Asks::default()
    };
    agent.hears(&refer.text());
    let SipIn::Invitation(invitation) = agent.tells() else {
        panic!("an invitation");
    };
    assert_eq!(invitation.from, bruno());
    assert_eq!(invitation.conference, address("chat7", "ocs.example"));
    agent.does(SipOut::AnswerInvitation {
        reference: invitation.reference,
        outcome: Ok(()),
    });
    let accepted = agent.says_response(202);
    let notify = agent.says_request("NOTIFY");
    assert_eq!(notify.tag("From"), accepted.tag("To"));
    agent.hears_answer(&notify, 200, "");
    // To where nobody that we know is, nobody is sent.
    let refer = Asks {
        method: "REFER",
        to: "alma@jabber.example",
        call_id: "i3",
        more: format!("{CONTACT}Refer-To: <sip:chat7@elsewhere.example>\r\n"),
        ..Asks::default()
    };
    agent.hears(&refer.text());
    agent.says_response(603);
    agent.is_silent();
    nothing_is_left(&mut agent);
}

#[test]
fn contacts_of_rooms_name_the_room() {
    let mut agent = agent();
    let (_, answer) = inside(&mut agent);
    let contact = NameAddr::parse(answer.field("Contact")).unwrap();
    let uri = contact.sip_uri().unwrap();
    assert_eq!(uri.user.as_deref(), Some("tea"));
    assert!(answer.field("Allow").contains("REFER"));
}

#[test]
fn the_contact_of_the_focus_names_the_room() {
    let mut agent = agent();
    let (_, answer) = inside(&mut agent);
    let contact = answer.field("Contact").split(['<', '>']).nth(1).unwrap();
    let text = subscribe("s9", "<sip:bruno@ocs.example>;tag=s", "");
    let (line, rest) = text.split_once("\r\n").unwrap();
    assert!(line.starts_with("SUBSCRIBE "), "{line}");
    agent.hears(&format!("SUBSCRIBE {contact} SIP/2.0\r\n{rest}"));
    agent.says_response(200);
    let notify = agent.says_request("NOTIFY");
    agent.hears_answer(&notify, 200, "");
    // It is no way into a room for somebody who is not in it.
    let other = subscribe("s8", "<sip:carla@ocs.example>;tag=s", "");
    let (_, rest) = other.split_once("\r\n").unwrap();
    agent.hears(&format!("SUBSCRIBE {contact} SIP/2.0\r\n{rest}"));
    agent.says_response(403);
}
