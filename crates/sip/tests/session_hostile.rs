//! One user agent and a peer that says anything at any moment, drawn from what it has seen of it: each message has one
//! outcome all the same, and nothing is left in the end.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests may fail a test"
)]

mod agent;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use agent::session::{ACCEPTS, described, im, keyboard, laptop, ocs_world};
use agent::{Agent, Fields, bruno};
use proptest::prelude::*;
use stox_core::failure::{Failure, Local};
use stox_core::vocab::{ChatState, Ref, SipIn, SipOut};
use stox_sip::dialect::{FirstMessage, Overrides, Profile, Typing};
use stox_sip::digest::Credential;
use stox_sip::message::{Message, Request};
use stox_sip::target::TargetError;
use stox_sip::transport::{Destination, FlowId, Target, Transport};

const METHODS: [&str; 14] = [
    "INVITE", "INVITE", "ACK", "ACK", "ACK", "MESSAGE", "MESSAGE", "BYE", "INFO", "CANCEL",
    "UPDATE", "REFER", "OPTIONS", "NOTIFY",
];
const STATUSES: [u16; 24] = [
    200, 200, 200, 200, 200, 100, 180, 202, 302, 400, 401, 403, 404, 405, 407, 408, 415, 480, 481,
    486, 487, 488, 503, 603,
];
const NUMBERS: [u32; 6] = [0, 1, 2, 50, 0x7fff_ffff, u32::MAX];
const TEXT: &str = "ms-text-format: text/plain; charset=UTF-8;ms-body=SGk=\r\n";
const PARTIES: &str = "EndPoints: <sip:bruno@ocs.example>, <sip:a@b>, <sip:carla@ocs.example>\r\n";
const ROUTE: &str = "Record-Route: <sip:edge.ocs.example:5061;transport=tls;lr>\r\n";
const CHALLENGES: &str = "WWW-Authenticate: Digest realm=\"ocs.example\", nonce=\"n\", algorithm=MD5\r\n\
     Proxy-Authenticate: Digest realm=\"ocs.example\", nonce=\"n\", algorithm=MD5\r\n";

/// Extra lines of whatever the peer says.
const MORE: [&str; 7] = [
    "",
    "",
    TEXT,
    PARTIES,
    CHALLENGES,
    "Accept: text/html\r\nRetry-After: 3\r\n",
    "Accept: text/plain\r\n",
];

/// One thing that happens.
#[derive(Debug, Clone)]
enum Turn {
    Says(Option<&'static str>),
    Shows(ChatState),
    /// The peer answers a request of ours, one of the latest or an old one.
    Answers {
        back: usize,
        status: usize,
        tag: usize,
        body: usize,
        more: usize,
        /// As it should be.
        fits: bool,
    },
    /// The peer asks something: in a dialog that it has seen, or with any of its parts.
    Asks {
        method: usize,
        back: usize,
        whole: bool,
        parts: [usize; 4],
        body: usize,
        more: usize,
        /// With the number and the body that belong there.
        fits: bool,
    },
    /// The bridge answers one of the messages that wait for it.
    Decides(usize, bool),
    Passes(u64),
    /// What went to this place did not arrive.
    Fails(usize),
    Closes,
    Resolves(bool),
    Stops,
}

fn turn() -> impl Strategy<Value = Turn> {
    let thread = prop::sample::select(vec![None, Some("t-1"), Some("t-2")]);
    let state = prop::sample::select(vec![
        ChatState::Active,
        ChatState::Composing,
        ChatState::Paused,
        ChatState::Gone,
    ]);
    let back = || prop_oneof![3 => 0_usize..3, 1 => 0_usize..40];
    let answers = (
        back(),
        0_usize..STATUSES.len(),
        0_usize..4,
        0_usize..6,
        0_usize..MORE.len(),
        prop::bool::weighted(0.7),
    );
    let asks = (
        0_usize..METHODS.len(),
        back(),
        prop::bool::weighted(0.8),
        prop::array::uniform4(0_usize..12),
        0_usize..6,
        0_usize..MORE.len(),
        prop::bool::weighted(0.7),
    );
    prop_oneof![
        8 => thread.prop_map(Turn::Says),
        2 => state.prop_map(Turn::Shows),
        16 => answers.prop_map(|(back, status, tag, body, more, fits)| Turn::Answers { back, status, tag, body, more, fits }),
        24 => asks.prop_map(|(method, back, whole, parts, body, more, fits)| Turn::Asks { method, back, whole, parts, body, more, fits }),
        6 => (0_usize..5, prop::bool::weighted(0.7)).prop_map(|(which, ok)| Turn::Decides(which, ok)),
        4 => (0_u64..3_000).prop_map(Turn::Passes),
        1 => (0_u64..200_000).prop_map(Turn::Passes),
        1 => (0_usize..10).prop_map(Turn::Fails),
        1 => Just(Turn::Closes),
        1 => prop::bool::weighted(0.8).prop_map(Turn::Resolves),
        1 => prop::bool::weighted(0.2).prop_map(|stops| if stops { Turn::Stops } else { Turn::Passes(1) }),
    ]
}

/// Call-ID, our tag and the peer's.
type Dialog = (String, String, String);

/// The user agent, and what its peer and its bridge have seen of it.
struct Stage {
    agent: Agent,
    requests: Vec<Request>,
    seen: Vec<Message>,
    /// What looks like a dialog, and the number of its INVITE.
    dialogs: Vec<(Dialog, u32)>,
    sent: BTreeSet<(Dialog, String)>,
    places: Vec<Destination>,
    branches: Vec<String>,
    number: u32,
    /// Messages that wait for the bridge.
    waiting: Vec<Ref>,
    decided: BTreeSet<Ref>,
    gone: BTreeSet<Ref>,
    outcomes: BTreeMap<u64, usize>,
    invites: BTreeSet<(String, String)>,
    last: BTreeMap<Dialog, u32>,
}

impl Stage {
    fn new(overrides: Overrides, profile: Option<Profile>) -> Self {
        let mut settings = ocs_world(overrides);
        settings.sip_domains[0].dialect.profile = profile;
        settings.credentials = vec![Credential {
            realm: "ocs.example".to_owned(),
            domain: "ocs.example".to_owned(),
            username: "gw".to_owned(),
            password: "pw".to_owned(),
            over_plain: false,
        }];
        settings.limits.dialogs = 12;
        Self {
            agent: Agent::with(settings),
            requests: Vec::new(),
            seen: Vec::new(),
            dialogs: Vec::new(),
            sent: BTreeSet::new(),
            places: Vec::new(),
            branches: vec!["first".to_owned()],
            number: 1,
            waiting: Vec::new(),
            decided: BTreeSet::new(),
            gone: BTreeSet::new(),
            outcomes: BTreeMap::new(),
            invites: BTreeSet::new(),
            last: BTreeMap::new(),
        }
    }

    fn takes(&mut self, number: u64, turn: &Turn) {
        match turn {
            Turn::Says(thread) => {
                self.outcomes.insert(number, 0);
                self.agent.does(SipOut::Message {
                    reference: Ref(number),
                    from: laptop(),
                    to: bruno(),
                    im: im(&format!("text {number}"), *thread),
                });
            }
            Turn::Shows(state) => self.agent.does(SipOut::ChatState {
                from: laptop(),
                to: bruno(),
                thread: None,
                state: *state,
            }),
            Turn::Answers { .. } => self.answers(turn),
            Turn::Asks { .. } => self.asks(turn),
            Turn::Decides(which, ok) => self.decides(*which, *ok),
            Turn::Passes(millis) => self.agent.passes(Duration::from_millis(*millis)),
            Turn::Fails(which) => {
                if let Some(place) = self.places.iter().rev().nth(*which).cloned() {
                    self.agent.ua.transport_failed(&place, self.agent.now);
                    self.agent.pump();
                }
            }
            Turn::Closes => {
                self.agent.ua.connection_closed(FlowId(7), self.agent.now);
                self.agent.pump();
            }
            Turn::Resolves(well) => {
                self.agent.target = if *well {
                    let target = agent::tls(agent::EDGE, "ocs.example");
                    let transport = self.agent.source.transport;
                    Ok(vec![Target {
                        transport,
                        ..target
                    }])
                } else {
                    Err(TargetError::Temporary)
                };
            }
            Turn::Stops => {
                self.agent.ua.shut_down(self.agent.now);
                self.agent.pump();
            }
        }
        self.looks();
    }

    fn decides(&mut self, which: usize, ok: bool) {
        if which < self.waiting.len() {
            let reference = self.waiting.swap_remove(which);
            self.decided.insert(reference);
            let outcome = match ok {
                true => Ok(()),
                false => Err(Failure::Local(Local::Timeout)),
            };
            self.agent
                .does(SipOut::AnswerMessage { reference, outcome });
        }
    }

    fn answers(&mut self, turn: &Turn) {
        let Turn::Answers {
            back,
            status,
            tag,
            body,
            more,
            fits,
        } = turn
        else {
            return;
        };
        let Some(request) = self.requests.iter().rev().nth(*back) else {
            return;
        };
        let mut to = request.field("To").to_owned();
        if request.tag("To").is_empty() && *tag < 3 {
            to.push_str(&format!(";tag=b{tag}"));
        }
        let (via, from) = (request.field("Via"), request.field("From"));
        let (call_id, cseq) = (request.field("Call-ID"), request.field("CSeq"));
        let status = STATUSES[*status];
        let (kind, body) = self.body(if *fits { 0 } else { *body });
        let contact = if *fits || *tag > 0 {
            "Contact: <sip:bruno@ocs.example;opaque=user:epid:b;gruu>\r\n"
        } else {
            ""
        };
        let more = if *fits && status == 200 {
            ""
        } else {
            MORE[*more]
        };
        let length = body.len();
        self.agent.hears(&format!(
            "SIP/2.0 {status} Words\r\nVia: {via}\r\nFrom: {from}\r\nTo: {to}\r\nCall-ID: {call_id}\r\nCSeq: {cseq}\r\n\
             {contact}{more}{kind}Content-Length: {length}\r\n\r\n{body}"
        ));
    }

    fn body(&self, which: usize) -> (&'static str, String) {
        let offer = described(&format!(
            "m=message 5060 sip null\r\na=accept-types:{ACCEPTS}"
        ));
        match which {
            0 | 1 => ("Content-Type: application/sdp\r\n", offer),
            2 => (
                "Content-Type: text/plain\r\n",
                format!("words {}", self.number),
            ),
            3 => ("Content-Type: application/xml\r\n", keyboard("type")),
            4 => (
                "Content-Type: application/sdp\r\n",
                described("m=audio 9 RTP/AVP 0"),
            ),
            _ => ("", String::new()),
        }
    }

    /// Call-ID, our tag and the peer's of something that was said.
    fn dialog(&self, back: usize) -> Dialog {
        let at = back % self.seen.len().max(1);
        match self.seen.iter().rev().nth(at) {
            Some(Message::Request(sent)) => {
                let theirs = Some(sent.tag("To")).filter(|tag| !tag.is_empty());
                let theirs = theirs.unwrap_or_else(|| "b0".to_owned());
                (sent.field("Call-ID").to_owned(), sent.tag("From"), theirs)
            }
            Some(Message::Response(sent)) => {
                let call_id = sent.field("Call-ID").to_owned();
                (call_id, sent.tag("To"), sent.tag("From"))
            }
            None => ("s2x-1".to_owned(), String::new(), "w1".to_owned()),
        }
    }

    fn asks(&mut self, turn: &Turn) {
        let Turn::Asks {
            method,
            back,
            whole,
            parts,
            body,
            more,
            fits,
        } = turn
        else {
            return;
        };
        let (method, more) = (METHODS[*method], MORE[*more]);
        let whole_one = self.dialogs.iter().rev().nth(*back).filter(|_| *whole);
        let (found, invite) = whole_one
            .cloned()
            .unwrap_or_else(|| (self.dialog(*back), 1));
        let (mut call_id, mut ours, mut theirs) = found;
        if !whole {
            (call_id, ..) = self.dialog(parts[0]);
            (_, ours, _) = self.dialog(parts[1]);
            (_, _, theirs) = self.dialog(parts[2]);
        }
        if method == "INVITE" && parts[3] > 2 {
            call_id = format!("s2x-{}", parts[0]);
            ours.clear();
            theirs = format!("w{}", parts[1]);
        }
        self.number += 1;
        let number = match parts[3] {
            _ if *fits && method == "ACK" => invite,
            n @ 6.. if !fits => NUMBERS[n - 6],
            _ => self.number,
        };
        let fresh = format!("p{}", self.number);
        let branch = match method {
            "CANCEL" if parts[2] > 3 => self.branches.last().unwrap().clone(),
            "ACK" if !fits => self.branches.last().unwrap().clone(),
            _ => fresh,
        };
        if method == "INVITE" {
            self.branches.push(branch.clone());
        }
        let user = if parts[2] == 7 { "carla" } else { "bruno" };
        let tagged = |tag: &str| match tag {
            "" => String::new(),
            tag => format!(";tag={tag}"),
        };
        let (from_tag, to_tag) = (tagged(&theirs), tagged(&ours));
        let route = if parts[1] % 2 == 0 { ROUTE } else { "" };
        let fit = match method {
            "INVITE" => 0,
            "MESSAGE" => 2 + usize::from(parts[0] > 9),
            "INFO" => 3,
            _ => 5,
        };
        let (kind, body) = self.body(if *fits { fit } else { *body });
        let more = if *fits && more != TEXT { "" } else { more };
        let length = body.len();
        self.agent.hears(&format!(
            "{method} sip:alma@jabber.example SIP/2.0\r\nVia: SIP/2.0/TLS edge.ocs.example:5061;branch=z9hG4bK-{branch}\r\n\
             Max-Forwards: 70\r\nFrom: <sip:{user}@ocs.example>{from_tag}\r\nTo: <sip:alma@jabber.example>{to_tag}\r\n\
             Call-ID: {call_id}\r\nCSeq: {number} {method}\r\nContact: <sip:bruno@ocs.example;opaque=user:epid:z;gruu>\r\n\
             {route}{more}{kind}Content-Length: {length}\r\n\r\n{body}"
        ));
    }

    /// Takes in what the user agent said to both sides.
    fn looks(&mut self) {
        for sent in self.agent.said() {
            self.places.push(sent.destination);
            if let Message::Request(request) = &sent.message {
                self.checks(request);
                self.requests.push(request.clone());
            }
            self.notes(&sent.message);
            self.seen.push(sent.message);
        }
        while let Some(input) = self.agent.ua.poll_input() {
            match input {
                SipIn::Outcome { reference, .. } => {
                    *self.outcomes.get_mut(&reference.0).expect("it was said") += 1;
                }
                // Nobody waits for the answer to such a one.
                SipIn::Message { reference, .. } if reference.0 > u64::MAX / 2 => {}
                SipIn::Message { reference, .. } => {
                    assert!(
                        !self.waiting.contains(&reference) && !self.decided.contains(&reference)
                    );
                    self.waiting.push(reference);
                }
                SipIn::MessageGone { reference } => {
                    assert!(self.gone.insert(reference), "gone twice");
                    assert!(!self.decided.contains(&reference), "answered, then gone");
                    self.waiting.retain(|known| *known != reference);
                }
                SipIn::ChatState { .. } => {}
                other => panic!("{other:?}"),
            }
        }
    }

    /// Keeps the names of a dialog that is up, for all that the peer knows.
    fn notes(&mut self, message: &Message) {
        let call_id = message.field("Call-ID").to_owned();
        let (from, to) = (message.tag("From"), message.tag("To"));
        let number = message.headers().cseq().map_or(1, |cseq| cseq.number);
        let is_known = self
            .dialogs
            .iter()
            .any(|((known, ..), _)| *known == call_id);
        match message {
            // That of a second answer is ended at once.
            Message::Request(request) if request.method.as_str() == "ACK" && !is_known => {
                self.dialogs.push(((call_id, from, to), number));
            }
            Message::Response(response)
                if response.status == 200 && response.field("CSeq").ends_with("INVITE") =>
            {
                self.dialogs.push(((call_id, to, from), number));
            }
            _ => {}
        }
    }

    /// Numbers rise in each dialog, and an ACK is of an INVITE that was sent.
    fn checks(&mut self, request: &Request) {
        let number = request.headers.cseq().unwrap().number;
        let call_id = request.field("Call-ID").to_owned();
        match request.method.as_str() {
            "ACK" | "CANCEL" => {
                let known = self.invites.contains(&(call_id, number.to_string()));
                assert!(known, "{request:?}");
            }
            method => {
                if method == "INVITE" {
                    self.invites.insert((call_id.clone(), number.to_string()));
                }
                // A peer without a tag is in the dialog all the same, and an INVITE in none.
                let theirs = match method {
                    "INVITE" => "none".to_owned(),
                    _ => request.tag("To"),
                };
                let key = (call_id, request.tag("From"), theirs);
                // The same one may go out again, or another way.
                let cseq = request.field("CSeq").to_owned();
                let fresh = self.sent.insert((key.clone(), cseq));
                let last = self.last.get(&key).copied().unwrap_or_default();
                self.last.insert(key, number.max(last));
                assert!(number >= last || !fresh, "{last} {request:?}");
            }
        }
    }

    /// The peer falls silent, and the bridge answers everything.
    fn ends(&mut self) {
        for _ in 0..200 {
            while !self.waiting.is_empty() {
                self.decides(0, true);
                self.looks();
            }
            self.agent.passes_seconds(10);
            self.looks();
        }
        for (reference, count) in &self.outcomes {
            assert_eq!(*count, 1, "outcomes of {reference}");
        }
        assert_eq!(self.agent.ua.status(), stox_sip::ua::Status::default());
        assert_eq!(self.agent.ua.poll_timeout(), None);
        assert!(self.agent.ua.is_empty());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn whatever_a_peer_says_each_message_has_one_outcome_and_nothing_is_left(
        first in prop::sample::select(vec![FirstMessage::Take, FirstMessage::Wait, FirstMessage::Ignore]),
        typing in prop::sample::select(vec![Typing::Keyboard, Typing::IsComposing]),
        pace in prop::sample::select(vec![0_u32, 0, 2]),
        known in any::<bool>(),
        udp in any::<bool>(),
        turns in proptest::collection::vec(turn(), 1..60),
    ) {
        let overrides = Overrides {
            first_message: Some(first),
            typing: Some(typing),
            requests_per_second: Some(pace),
            ..Overrides::default()
        };
        let mut stage = Stage::new(overrides, known.then_some(Profile::Ocs2007R2));
        if udp {
            stage.agent.source.transport = Transport::Udp;
            stage.takes(0, &Turn::Resolves(true));
        }
        for (number, turn) in (1_u64..).zip(&turns) {
            stage.takes(number, turn);
        }
        stage.ends();
    }
}
