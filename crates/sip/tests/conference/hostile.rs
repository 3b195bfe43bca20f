//! One user agent and a peer that says anything at any moment: each leg has one end and each message one outcome all the
//! same, and nothing is left.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use stox_core::failure::{Failure, Local};
use stox_core::policy::DomainPattern;
use stox_core::vocab::{
    ConferenceEvent, ConferenceOut, End, FocusEvent, FocusOut, NickRefusal, Participant, Ref, Role,
    Roster, SipIn, SipOut,
};
use stox_sip::message::{Message, Request};
use stox_sip::transport::FlowId;
use stox_sip::ua::settings::Msrp;

use crate::agent::{Agent, address};
use crate::room::text;

const METHODS: [&str; 14] = [
    "INVITE",
    "INVITE",
    "ACK",
    "ACK",
    "BYE",
    "CANCEL",
    "SUBSCRIBE",
    "SUBSCRIBE",
    "NOTIFY",
    "NOTIFY",
    "REFER",
    "UPDATE",
    "INFO",
    "MESSAGE",
];
const STATUSES: [u16; 16] = [
    200, 200, 200, 200, 180, 202, 302, 403, 407, 408, 423, 425, 481, 489, 503, 603,
];
const TO: [&str; 4] = [
    "tea@rooms.jabber.example",
    "tea@rooms.jabber.example;gr=Bruno",
    "alma@jabber.example",
    "nobody",
];
const FROM: [&str; 3] = [
    "\"Bruno\" <sip:bruno@ocs.example>",
    "<sip:chat7@ocs.example>",
    "<sip:bruno@elsewhere.example>",
];
const MORE: [&str; 9] = [
    "",
    "Event: conference\r\nSubscription-State: active;expires=60\r\n",
    "Event: conference\r\nSubscription-State: terminated;reason=deactivated\r\n",
    "Event: refer\r\nSubscription-State: terminated;reason=noresource\r\n",
    "Event: conference\r\nExpires: 0\r\n",
    "Event: conference\r\nExpires: 90\r\n",
    "Refer-To: <sip:carla@ocs.example>\r\n",
    "Refer-To: <sip:carla@jabber.example?Subject=x>\r\nRefer-Sub: false\r\n",
    "Reason: SIP;cause=480;text=\"x\"\r\nMin-Expires: 7200\r\n",
];
const CONTACTS: [&str; 3] = [
    "Contact: <sip:bruno@192.0.2.10:5061;transport=tls>\r\n",
    "Contact: <sip:chat7@ocs.example>;isfocus\r\n",
    "",
];

/// Content types and bodies.
const BODIES: [(&str, &str); 8] = [
    ("", ""),
    (
        "application/sdp",
        "v=0\r\nm=message 7313 TCP/MSRP *\r\na=accept-types:message/cpim\r\na=accept-wrapped-types:text/plain\r\n\
         a=setup:active\r\na=path:msrp://192.0.2.10:7313/abcd;tcp\r\na=chatroom:nickname private-messages\r\n",
    ),
    (
        "application/sdp",
        "v=0\r\nm=message 7313 TCP/MSRP *\r\na=accept-types:message/cpim\r\na=setup:passive\r\n\
         a=path:msrp://192.0.2.10:7313/abcd;tcp\r\na=chatroom:private-messages\r\n",
    ),
    (
        "application/sdp",
        "v=0\r\nm=message 7313 TCP/TLS/MSRP *\r\na=path:msrps://192.0.2.10:7313/abcd;tcp\r\na=chatroom\r\n",
    ),
    (
        "application/conference-info+xml",
        "<conference-info xmlns='urn:ietf:params:xml:ns:conference-info' entity='sip:chat7@ocs.example' version='1'>\
         <users><user entity='sip:bruno@ocs.example'><display-text>Bruno</display-text></user></users></conference-info>",
    ),
    (
        "application/conference-info+xml",
        "<conference-info xmlns='urn:ietf:params:xml:ns:conference-info' entity='sip:chat7@ocs.example' version='3' state='partial'/>",
    ),
    (
        "application/conference-info+xml",
        "<conference-info xmlns='urn:ietf:params:xml:ns:conference-info' entity='sip:chat7@ocs.example' state='deleted'/>",
    ),
    ("message/sipfrag", "SIP/2.0 100 Trying\r\n"),
];

/// MSRP as a peer says it; `%to%`, `%from%` and `%id%` are filled in.
const FRAMES: [&str; 7] = [
    "MSRP %id% SEND\r\nTo-Path: %to%\r\nFrom-Path: %from%\r\nMessage-ID: m%id%\r\nByte-Range: 1-0/0\r\n-------%id%$\r\n",
    "MSRP %id% SEND\r\nTo-Path: %to%\r\nFrom-Path: %from%\r\nMessage-ID: m%id%\r\nByte-Range: 1-106/106\r\n\
     Content-Type: message/cpim\r\n\r\nFrom: <sip:bruno@ocs.example>\r\nTo: <sip:tea@rooms.jabber.example>\r\n\r\n\
     Content-Type: text/plain\r\n\r\nHi\r\n-------%id%$\r\n",
    "MSRP %id% SEND\r\nTo-Path: %to%\r\nFrom-Path: %from%\r\nMessage-ID: m%id%\r\nByte-Range: 1-2/2\r\n\
     Content-Type: text/plain\r\n\r\nHi\r\n-------%id%$\r\n",
    "MSRP %id% NICKNAME\r\nTo-Path: %to%\r\nFrom-Path: %from%\r\nUse-Nickname: \"Bru\"\r\n-------%id%$\r\n",
    "MSRP %last% 200 OK\r\nTo-Path: %to%\r\nFrom-Path: %from%\r\n-------%last%$\r\n",
    "MSRP %last% 425 Taken\r\nTo-Path: %to%\r\nFrom-Path: %from%\r\n-------%last%$\r\n",
    "rubbish\r\n",
];

/// One thing that happens.
#[derive(Debug, Clone)]
enum Turn {
    Join,
    Speak(usize, bool),
    Invite(usize),
    Rename(usize),
    Leave(usize),
    Decide(usize, bool),
    Tell(usize, usize),
    End(usize, usize),
    Answer(usize, bool),
    Asks {
        method: usize,
        dialog: usize,
        parts: [usize; 5],
        cseq: u32,
        /// As it should be.
        fits: bool,
    },
    Answers {
        back: usize,
        status: usize,
        parts: [usize; 3],
        fits: bool,
    },
    Dialled(bool),
    Accepted,
    Octets(usize),
    Cut,
    Time(u64),
}

fn turn() -> impl Strategy<Value = Turn> {
    let at = || 0..6_usize;
    let fits = || prop::bool::weighted(0.7);
    let asks = (
        0..METHODS.len(),
        at(),
        any::<[usize; 5]>(),
        0..30_u32,
        fits(),
    );
    let answers = (0..4_usize, 0..STATUSES.len(), any::<[usize; 3]>(), fits());
    prop_oneof![
        2 => Just(Turn::Join),
        2 => (at(), any::<bool>()).prop_map(|(at, to)| Turn::Speak(at, to)),
        1 => at().prop_map(Turn::Invite),
        1 => at().prop_map(Turn::Rename),
        1 => at().prop_map(Turn::Leave),
        4 => (at(), prop::bool::weighted(0.8)).prop_map(|(at, yes)| Turn::Decide(at, yes)),
        3 => (at(), 0..4_usize).prop_map(|(at, what)| Turn::Tell(at, what)),
        1 => (at(), 0..4_usize).prop_map(|(at, end)| Turn::End(at, end)),
        3 => (at(), any::<bool>()).prop_map(|(at, ok)| Turn::Answer(at, ok)),
        10 => asks.prop_map(|(method, dialog, parts, cseq, fits)| Turn::Asks { method, dialog, parts, cseq, fits }),
        8 => answers.prop_map(|(back, status, parts, fits)| Turn::Answers { back, status, parts, fits }),
        3 => any::<bool>().prop_map(Turn::Dialled),
        2 => Just(Turn::Accepted),
        6 => (0..FRAMES.len()).prop_map(Turn::Octets),
        1 => Just(Turn::Cut),
        3 => (0..70_u64).prop_map(Turn::Time),
    ]
}

/// What belongs into a request of a guest, or of a conference.
fn fitting(method: &str, chance: usize) -> [usize; 5] {
    match method {
        "INVITE" => [0, 0, 0, 0, 1],
        "SUBSCRIBE" => [0, 0, 5, 0, 0],
        "NOTIFY" => [0, 0, 1, 0, 4 + chance % 2],
        "REFER" => [0, 0, 7, 0, 0],
        _ => [0, 0, 0, 0, 0],
    }
}

fn pick<T: Copy>(from: &[T], at: usize) -> Option<T> {
    (!from.is_empty()).then(|| from[at % from.len()])
}

/// The peer's memory and the bridge's.
struct Play {
    agent: Agent,
    /// Requests of ours, and Call-ID, their tag and ours of dialogs.
    asked: Vec<Request>,
    dialogs: Vec<(String, String, String)>,
    /// Our latest path, and the transaction of what we asked last over MSRP.
    path: String,
    transaction: String,
    flows: Vec<FlowId>,
    /// Joined or on the way, and joined.
    members: BTreeSet<Ref>,
    ended: BTreeMap<Ref, usize>,
    guests: Vec<Ref>,
    /// What waits for the bridge.
    questions: Vec<(bool, Ref)>,
    naming: BTreeSet<Ref>,
    outcomes: BTreeMap<Ref, usize>,
    last: u64,
}

impl Play {
    fn new() -> Self {
        let mut settings = crate::agent::world();
        let rooms = DomainPattern::parse("rooms.jabber.example");
        settings.xmpp_domains.push(rooms);
        settings.msrp = Some(Msrp {
            host: "192.0.2.1".to_owned(),
            tcp_port: Some(2855),
            tls_port: None,
            fingerprint: None,
            networks: Vec::new(),
            relay: None,
            endpoint: Default::default(),
        });
        let overrides = &mut settings.sip_domains[0].dialect.overrides;
        overrides.msrp_tls = Some(stox_sip::dialect::MsrpTls::Never);
        Self {
            agent: Agent::with(settings),
            asked: Vec::new(),
            dialogs: Vec::new(),
            path: "msrp://192.0.2.1:2855/none;tcp".to_owned(),
            transaction: "none".to_owned(),
            flows: Vec::new(),
            members: BTreeSet::new(),
            ended: BTreeMap::new(),
            guests: Vec::new(),
            questions: Vec::new(),
            naming: BTreeSet::new(),
            outcomes: BTreeMap::new(),
            last: 0,
        }
    }

    fn next_ref(&mut self) -> Ref {
        self.last += 1;
        Ref(1_000_000 + self.last)
    }

    fn member(&self, at: usize) -> Option<Ref> {
        let all: Vec<Ref> = self.members.iter().copied().collect();
        pick(&all, at)
    }

    fn conference(&mut self, out: ConferenceOut) {
        self.agent.does(SipOut::Conference(out));
    }

    fn focus(&mut self, out: FocusOut) {
        self.agent.does(SipOut::Focus(out));
    }

    fn does(&mut self, turn: &Turn) {
        match turn {
            Turn::Join => self.joins(),
            Turn::Speak(at, to) => {
                let reference = self.next_ref();
                if let Some(leg) = self.member(*at) {
                    self.outcomes.insert(reference, 0);
                    self.conference(ConferenceOut::Message {
                        reference,
                        leg,
                        to: to.then(|| address("bruno", "ocs.example")),
                        im: text("hi"),
                    });
                }
            }
            Turn::Invite(at) => {
                let reference = self.next_ref();
                if let Some(leg) = self.member(*at) {
                    self.outcomes.insert(reference, 0);
                    self.conference(ConferenceOut::Invite {
                        reference,
                        leg,
                        invitee: address("carla", "ocs.example"),
                        reason: None,
                    });
                }
            }
            Turn::Rename(at) => {
                if let Some(leg) = self.member(*at) {
                    let nick = "Al".to_owned();
                    self.conference(ConferenceOut::ChangeNick { leg, nick });
                }
            }
            Turn::Leave(at) => {
                if let Some(leg) = self.member(*at) {
                    self.conference(ConferenceOut::Leave { leg });
                }
            }
            Turn::Decide(at, yes) => {
                if let Some(leg) = pick(&self.guests, *at) {
                    self.decides(leg, *yes);
                }
            }
            Turn::Tell(at, what) => {
                if let Some(leg) = pick(&self.guests, *at) {
                    self.tells(leg, *what);
                }
            }
            Turn::End(at, end) => {
                let ends = [
                    End::Left,
                    End::NickTaken,
                    End::Over { reason: None },
                    End::Removed { reason: None },
                ];
                if let Some(leg) = pick(&self.guests, *at) {
                    self.guests.retain(|known| *known != leg);
                    let end = ends[*end].clone();
                    self.focus(FocusOut::End { leg, end });
                }
            }
            Turn::Answer(at, ok) => {
                if let Some((focus, reference)) = pick(&self.questions, *at) {
                    self.questions.retain(|known| known.1 != reference);
                    self.answers(focus, reference, *ok);
                }
            }
            Turn::Asks {
                method,
                dialog,
                parts,
                cseq,
                fits,
            } => {
                let method = METHODS[*method];
                let mut numbered = (*parts, *cseq);
                if *fits {
                    self.last += 1;
                    let cseq = 100 + u32::try_from(self.last).unwrap();
                    numbered = (fitting(method, parts[4]), cseq);
                }
                self.hears_request(method, *dialog, numbered.0, numbered.1);
            }
            Turn::Answers {
                back,
                status,
                parts,
                fits: false,
            } => self.hears_answer(*back, STATUSES[*status], *parts),
            Turn::Answers { back, .. } => self.hears_answer(*back, 200, [0, 1, 2]),
            Turn::Dialled(works) => {
                if let Some(dial) = self.agent.ua.poll_msrp_dial() {
                    self.last += 1;
                    let flow = works.then_some(FlowId(500 + self.last));
                    self.flows.extend(flow);
                    self.agent.ua.msrp_dialled(dial.id, flow, self.agent.now);
                }
            }
            Turn::Accepted => {
                self.last += 1;
                let flow = FlowId(500 + self.last);
                self.flows.push(flow);
                let now = self.agent.now;
                self.agent.ua.msrp_accepted(flow, false, None, now);
                self.hears_frame(FRAMES[0]);
            }
            Turn::Octets(frame) => self.hears_frame(FRAMES[*frame]),
            Turn::Cut => {
                for flow in std::mem::take(&mut self.flows) {
                    self.agent.ua.msrp_closed(flow, self.agent.now);
                }
            }
            Turn::Time(seconds) => self.agent.passes_seconds(*seconds),
        }
        self.looks();
    }

    fn joins(&mut self) {
        let leg = self.next_ref();
        self.members.insert(leg);
        self.ended.insert(leg, 0);
        self.conference(ConferenceOut::Join {
            leg,
            user: address("alma", "jabber.example"),
            conference: address("chat7", "ocs.example"),
            nick: "Alma".to_owned(),
        });
    }

    fn decides(&mut self, leg: Ref, yes: bool) {
        if self.naming.remove(&leg) {
            let outcome = yes.then_some(()).ok_or(NickRefusal::Taken);
            return self.focus(FocusOut::NickAnswer { leg, outcome });
        }
        if yes {
            let nick = "Bruno".to_owned();
            return self.focus(FocusOut::Accept { leg, nick });
        }
        self.guests.retain(|known| *known != leg);
        let end = End::Refused(Failure::Local(Local::NotAllowed));
        self.focus(FocusOut::End { leg, end });
    }

    fn tells(&mut self, leg: Ref, what: usize) {
        let occupant = |nick: &str| stox_core::address::SipAddress {
            gr: Some(nick.to_owned()),
            ..address("tea", "rooms.jabber.example")
        };
        let reference = self.next_ref();
        let out = match what {
            0 | 1 => FocusOut::Roster {
                leg,
                roster: Roster {
                    full: what == 0,
                    present: vec![Participant {
                        address: occupant(&format!("n{}", self.last % 5)),
                        nick: None,
                        role: Role::Visitor,
                    }],
                    left: Vec::new(),
                },
            },
            2 => FocusOut::Subject { leg, subject: None },
            _ => {
                self.outcomes.insert(reference, 0);
                FocusOut::Message {
                    reference,
                    leg,
                    from: occupant("Alma"),
                    private: self.last.is_multiple_of(2),
                    im: text("hi"),
                }
            }
        };
        self.focus(out);
    }

    fn answers(&mut self, focus: bool, reference: Ref, ok: bool) {
        let outcome = ok.then_some(()).ok_or(Failure::Local(Local::NotAllowed));
        match focus {
            true => self.focus(FocusOut::Answer { reference, outcome }),
            false => self.conference(ConferenceOut::Answer { reference, outcome }),
        }
    }

    fn hears_request(&mut self, method: &str, dialog: usize, parts: [usize; 5], cseq: u32) {
        let [to, from, more, contact, body] = parts;
        let mut from = pick(&FROM, from).unwrap().to_owned() + ";tag=p1";
        let mut to = format!("<sip:{}>", pick(&TO, to).unwrap());
        let mut call_id = format!("call{}", cseq % 7);
        let inside = !matches!(method, "INVITE" | "CANCEL") || parts[0] % 3 == 1;
        if let Some((call, theirs, ours)) = self.dialogs.get(dialog).filter(|_| inside) {
            call_id.clone_from(call);
            from.clone_from(theirs);
            to.clone_from(ours);
        }
        let uri = to.split(['<', '>']).nth(1).unwrap();
        let (content_type, body) = pick(&BODIES, body).unwrap();
        let content_type = match content_type {
            "" => String::new(),
            found => format!("Content-Type: {found}\r\n"),
        };
        let branch = match method {
            "CANCEL" => "INVITE",
            other => other,
        };
        let text = format!(
            "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/TLS edge.ocs.example:5061;branch=z9hG4bK-{call_id}-{cseq}-{branch}\r\n\
             Max-Forwards: 70\r\nFrom: {from}\r\nTo: {to}\r\nCall-ID: {call_id}\r\nCSeq: {cseq} {method}\r\n{}{}\
             {content_type}Content-Length: {}\r\n\r\n{body}",
            pick(&MORE, more).unwrap(),
            pick(&CONTACTS, contact).unwrap(),
            body.len()
        );
        self.agent.hears(&text);
    }

    fn hears_answer(&mut self, back: usize, status: u16, [more, contact, body]: [usize; 3]) {
        let Some(at) = self.asked.len().checked_sub(back + 1) else {
            return;
        };
        let request = self.asked[at].clone();
        let (content_type, body) = pick(&BODIES, body).unwrap();
        let more = format!(
            "{}{}Content-Type: {content_type}\r\n",
            pick(&MORE, more).unwrap(),
            pick(&CONTACTS, contact).unwrap()
        );
        self.agent.hears_answer_with(&request, status, &more, body);
    }

    fn hears_frame(&mut self, frame: &str) {
        let Some(flow) = self.flows.last().copied() else {
            return;
        };
        self.last += 1;
        let text = frame
            .replace("%id%", &format!("tid{:04}", self.last))
            .replace("%last%", &self.transaction)
            .replace("%to%", &self.path)
            .replace("%from%", "msrp://192.0.2.10:7313/abcd;tcp");
        let now = self.agent.now;
        self.agent.ua.msrp_received(flow, text.as_bytes(), now);
        self.agent.pump();
    }

    /// Looks at what was said and told.
    fn looks(&mut self) {
        self.agent.pump();
        for sent in self.agent.said() {
            let (local, remote) = match &sent.message {
                Message::Request(request) => {
                    self.asked.push(request.clone());
                    ("From", "To")
                }
                Message::Response(_) => ("To", "From"),
            };
            let headers = sent.message.headers();
            let field = |name: &str| headers.get(name).unwrap_or_default().to_owned();
            let mut theirs = field(remote);
            if !theirs.contains(";tag=") {
                theirs.push_str(";tag=peer5");
            }
            if field(local).contains(";tag=") {
                self.dialogs
                    .insert(0, (field("Call-ID"), theirs, field(local)));
                self.dialogs.truncate(6);
            }
            let body = match &sent.message {
                Message::Request(request) => request.body.clone(),
                Message::Response(response) => response.body.clone(),
            };
            let media = stox_sip::body::sdp::media(&body);
            if let Some(path) = media.into_iter().find_map(|media| media.path) {
                self.path = path;
            }
        }
        while let Some((flow, octets)) = self.agent.ua.poll_msrp_transmit() {
            let said = String::from_utf8_lossy(&octets).into_owned();
            let mut words = said.split(' ').skip(1);
            let id = words.next().unwrap_or_default();
            if words
                .next()
                .is_some_and(|word| word.starts_with(['S', 'N']))
            {
                id.clone_into(&mut self.transaction);
            }
            let now = self.agent.now;
            self.agent.ua.msrp_written(flow, octets.len(), now);
        }
        while let Some(flow) = self.agent.ua.poll_msrp_close() {
            self.flows.retain(|known| *known != flow);
            self.agent.ua.msrp_closed(flow, self.agent.now);
        }
        while let Some(input) = self.agent.ua.poll_input() {
            self.told(input);
        }
    }

    fn told(&mut self, input: SipIn) {
        match input {
            SipIn::Conference { leg, event } => match event {
                ConferenceEvent::Ended(_) => {
                    self.members.remove(&leg);
                    *self.ended.get_mut(&leg).unwrap() += 1;
                }
                ConferenceEvent::Outcome { reference, .. } => {
                    *self.outcomes.get_mut(&reference).unwrap() += 1;
                }
                other => {
                    assert!(self.members.contains(&leg), "{other:?}");
                    if let ConferenceEvent::Message { reference, .. } = other {
                        self.questions.push((false, reference));
                    }
                }
            },
            SipIn::Focus { leg, event } => match event {
                FocusEvent::Asked { .. } => self.guests.push(leg),
                FocusEvent::Outcome { reference, .. } => {
                    *self.outcomes.get_mut(&reference).unwrap() += 1;
                }
                other => {
                    assert!(self.guests.contains(&leg), "{other:?}");
                    self.told_of(leg, other);
                }
            },
            SipIn::Invitation(invitation) => self.agent.does(SipOut::AnswerInvitation {
                reference: invitation.reference,
                outcome: Ok(()),
            }),
            SipIn::Message { reference, .. } => self.agent.does(SipOut::AnswerMessage {
                reference,
                outcome: Ok(()),
            }),
            _ => {}
        }
    }

    fn told_of(&mut self, leg: Ref, event: FocusEvent) {
        match event {
            FocusEvent::Left => self.guests.retain(|known| *known != leg),
            FocusEvent::Nick { .. } => _ = self.naming.insert(leg),
            FocusEvent::Message { reference, .. } | FocusEvent::Invite { reference, .. } => {
                self.questions.push((true, reference));
            }
            other => panic!("{other:?}"),
        }
    }

    /// Everybody goes, and time passes.
    fn ends(&mut self) {
        for leg in self.members.clone() {
            self.conference(ConferenceOut::Leave { leg });
        }
        for leg in self.guests.clone() {
            let end = End::Left;
            self.focus(FocusOut::End { leg, end });
        }
        self.looks();
        while let Some(dial) = self.agent.ua.poll_msrp_dial() {
            self.agent.ua.msrp_dialled(dial.id, None, self.agent.now);
        }
        self.does(&Turn::Cut);
        for _ in 0..200 {
            self.agent.passes_seconds(10);
            self.looks();
        }
        for (leg, count) in &self.ended {
            assert_eq!(*count, 1, "{leg:?}");
        }
        for (reference, count) in &self.outcomes {
            assert_eq!(*count, 1, "{reference:?}");
        }
        assert_eq!(self.agent.ua.status(), Default::default());
        assert!(self.agent.ua.is_empty());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(384))]

    #[test]
    fn whatever_a_peer_says(turns in proptest::collection::vec(turn(), 1..60)) {
        let mut play = Play::new();
        for turn in &turns {
            play.does(turn);
        }
        play.ends();
    }
}
