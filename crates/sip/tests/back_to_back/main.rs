//! Two user agents joined by a link that loses and repeats datagrams, or cuts connections: whatever happens on the way, each message has one
//! outcome and arrives at most once, and both ends of a subscription agree in the end.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests may fail a test"
)]

#[path = "../agent/mod.rs"]
mod agent;
mod msrp;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use agent::address;
use bytes::Bytes;
use msrp::Wires;
use proptest::prelude::*;
use stox_core::policy::DomainPattern;
use stox_core::time::{Entropy, Now, SeededEntropy};
use stox_core::vocab::{
    ChatState, Document, EndReason, Im, Receipt, Ref, SipIn, SipOut, SubscriptionEvent, Text,
    Trace, Tuple, Wants, WatcherEvent, WatcherState,
};
use stox_sip::dialect::{ImMode, Overrides, Profile, Rule, SessionBy};
use stox_sip::msrp::endpoint;
use stox_sip::transport::{Destination, FlowId, Source, Target, Transport};
use stox_sip::ua::UserAgent;
use stox_sip::ua::settings::{Msrp, Settings};
use stox_sip::ua::trust::{AddressBlock, SipDomain};

const LEFT: &str = "192.0.2.1:5060";
const RIGHT: &str = "192.0.2.2:5060";

/// One agent, its address, and the minimal bridge behind it, which takes everything.
struct Side {
    ua: UserAgent,
    at: SocketAddr,
    peer: SocketAddr,
    transport: Transport,
    taken: Vec<String>,
    outcomes: BTreeMap<Ref, Vec<bool>>,
    events: Vec<SubscriptionEvent>,
    watchers: Vec<Ref>,
    /// Messages that ask for receipts, with their subjects.
    asked: Vec<(Ref, Wants, Vec<Text>)>,
    receipts: Vec<(Ref, Receipt)>,
}

impl Side {
    /// `own` is served here, `other` by the peer.
    fn new(own: &str, other: &str, at: &str, peer: &str, seed: u64) -> Self {
        let simple = Rule {
            profile: Some(Profile::Simple),
            ..Rule::default()
        };
        Self::with(own, other, at, peer, (seed, simple))
    }

    /// The same, with a rule for the other side's dialect.
    fn with(own: &str, other: &str, at: &str, peer: &str, (seed, dialect): (u64, Rule)) -> Self {
        let peer: SocketAddr = peer.parse().unwrap();
        let mut settings = Settings::new(format!("gw.{own}"));
        settings.xmpp_domains = vec![DomainPattern::parse(own)];
        settings.msrp = dialect.overrides.session_by.map(|_| offered_msrp(at));
        settings.sip_domains = vec![SipDomain {
            trusted_addresses: vec![AddressBlock::single(peer.ip())],
            dialect,
            ..SipDomain::new(other)
        }];
        Self {
            ua: UserAgent::new(settings, Box::new(SeededEntropy(seed))),
            at: at.parse().unwrap(),
            peer,
            transport: Transport::Udp,
            taken: Vec::new(),
            outcomes: BTreeMap::new(),
            events: Vec::new(),
            watchers: Vec::new(),
            asked: Vec::new(),
            receipts: Vec::new(),
        }
    }

    /// Where what comes over this flow comes from.
    fn source(&self, flow: FlowId) -> Source {
        Source {
            flow,
            transport: self.transport,
            remote: self.peer,
            certificate_names: Vec::new(),
        }
    }

    /// Where the peer is.
    fn target(&self) -> Target {
        Target {
            transport: self.transport,
            address: self.peer,
            name: String::new(),
            also: Vec::new(),
        }
    }

    /// Resolves names and does what the bridge would.
    fn thinks(&mut self, now: Now) {
        loop {
            if let Some(question) = self.ua.poll_resolve() {
                let target = self.target();
                self.ua.resolved(question.id, Ok(vec![target]), now);
            } else if let Some(input) = self.ua.poll_input() {
                self.told(input, now);
            } else {
                return;
            }
        }
    }

    fn told(&mut self, input: SipIn, now: Now) {
        match input {
            SipIn::Message { reference, im, .. } => {
                self.taken.push(im.bodies[0].text.clone());
                if im.wants != Wants::default() {
                    self.asked.push((reference, im.wants, im.subjects));
                }
                let outcome = Ok(());
                self.ua
                    .command(SipOut::AnswerMessage { reference, outcome }, now);
            }
            SipIn::Outcome { reference, outcome } => {
                self.outcomes
                    .entry(reference)
                    .or_default()
                    .push(outcome.is_ok());
            }
            SipIn::Subscription { event, .. } => self.events.push(event),
            SipIn::Watcher { reference, event } => self.watched(reference, &event, now),
            SipIn::Receipt { reference, receipt } => {
                self.receipts.push((reference, receipt.unwrap()));
            }
            SipIn::ChatState { .. } => {}
            SipIn::Conference { .. } | SipIn::Focus { .. } | SipIn::Invitation(_) => {
                panic!("nobody enters a room here")
            }
            SipIn::MessageExpired { .. } => panic!("nobody's clock goes wrong"),
            SipIn::MessageGone { .. } => panic!("everything is answered at once"),
        }
    }

    fn watched(&mut self, reference: Ref, event: &WatcherEvent, now: Now) {
        let over = WatcherState::Terminated {
            reason: EndReason::Timeout,
            retry_after: None,
        };
        let state = match event {
            WatcherEvent::Arrived { poll, .. } => {
                self.ua.command(SipOut::AcceptWatcher { reference }, now);
                if *poll {
                    over
                } else {
                    self.watchers.push(reference);
                    WatcherState::Active
                }
            }
            WatcherEvent::Refreshed => WatcherState::Active,
            WatcherEvent::Left | WatcherEvent::Expired => over,
            WatcherEvent::Broken => return self.watchers.retain(|known| *known != reference),
        };
        if state == over {
            self.watchers.retain(|known| *known != reference);
        }
        let document = Some(shown("now"));
        self.ua.command(
            SipOut::Notify {
                reference,
                state,
                document,
            },
            now,
        );
    }
}

fn shown(note: &str) -> Document {
    Document {
        tuples: vec![Tuple {
            id: "x".to_owned(),
            open: Some(true),
            notes: vec![Text {
                lang: None,
                text: note.to_owned(),
            }],
            ..Tuple::default()
        }],
        ..Document::default()
    }
}

/// MSRP at an address.
fn offered_msrp(at: &str) -> Msrp {
    let at: SocketAddr = at.parse().unwrap();
    Msrp {
        host: at.ip().to_string(),
        tcp_port: Some(2855),
        tls_port: None,
        fingerprint: None,
        networks: Vec::new(),
        relay: None,
        endpoint: endpoint::Settings::default(),
    }
}

/// Octets on their way.
struct Parcel {
    at: Duration,
    to: usize,
    flow: FlowId,
    octets: Bytes,
}

/// A connection that is open.
struct Stream {
    flow: FlowId,
    dialled_by: usize,
    /// What goes to each side arrives after this.
    last: [Duration; 2],
}

/// Both sides and what is on its way between them.
struct World {
    sides: [Side; 2],
    now: Now,
    link: Vec<Parcel>,
    streams: Vec<Stream>,
    last_flow: u64,
    wires: Wires,
    chance: SeededEntropy,
    /// Of 100 datagrams so many are lost, and as many come twice.
    bad: u64,
}

impl World {
    fn new(seed: u64, bad: u64) -> Self {
        Self {
            sides: [
                Side::new("left.example", "right.example", LEFT, RIGHT, seed),
                Side::new("right.example", "left.example", RIGHT, LEFT, seed + 1),
            ],
            now: Now {
                mono: Duration::from_secs(5),
                wall: Duration::from_secs(1_772_000_000),
            },
            link: Vec::new(),
            streams: Vec::new(),
            last_flow: 1,
            wires: Wires::new(bad),
            chance: SeededEntropy(seed ^ 0x5eed),
            bad,
        }
    }

    /// Two sides that speak to each other by these rules.
    fn between(seed: u64, bad: u64, rules: [Rule; 2]) -> Self {
        let mut world = Self::new(seed, bad);
        let [left, right] = rules;
        world.sides = [
            Side::with("left.example", "right.example", LEFT, RIGHT, (seed, left)),
            Side::with(
                "right.example",
                "left.example",
                RIGHT,
                LEFT,
                (seed + 1, right),
            ),
        ];
        world
    }

    /// A word in the one conversation of u on the left and v on the right.
    fn says(&mut self, side: usize, reference: u64, thread: Option<&str>) {
        let ends = [address("u", "left.example"), address("v", "right.example")];
        let im = Im {
            id: Some(format!("id{reference}")),
            thread: thread.map(str::to_owned),
            bodies: vec![Text {
                lang: None,
                text: format!("text {reference}"),
            }],
            ..Im::default()
        };
        let out = SipOut::Message {
            reference: Ref(reference),
            from: ends[side].clone(),
            to: ends[1 - side].clone(),
            im,
        };
        self.command(side, out);
    }

    fn shows(&mut self, side: usize, state: ChatState) {
        let ends = [address("u", "left.example"), address("v", "right.example")];
        let out = SipOut::ChatState {
            from: ends[side].clone(),
            to: ends[1 - side].clone(),
            thread: None,
            state,
        };
        self.command(side, out);
    }

    fn command(&mut self, side: usize, out: SipOut) {
        let now = self.now;
        self.sides[side].ua.command(out, now);
        self.carry();
    }

    /// The same over connections.
    fn connected(seed: u64, rules: [Rule; 2]) -> Self {
        let mut world = Self::between(seed, 0, rules);
        for side in &mut world.sides {
            side.transport = Transport::Tls;
        }
        world
    }

    /// Puts everything that both say on the link.
    fn carry(&mut self) {
        for index in [0, 1] {
            self.sides[index].thinks(self.now);
            while let Some(transmit) = self.sides[index].ua.poll_transmit() {
                match &transmit.destination {
                    Destination::Datagram { remote, .. } => {
                        self.throws(index, *remote, &transmit.bytes);
                    }
                    other => self.writes(index, other, transmit.bytes),
                }
                self.sides[index].thinks(self.now);
            }
            let side = &mut self.sides[index];
            while self
                .wires
                .hears(index, &mut side.ua, self.now, &mut self.chance)
            {
                side.thinks(self.now);
            }
        }
    }

    fn delay(&mut self) -> Duration {
        Duration::from_millis(1 + self.chance.next_u64() % 400)
    }

    /// A datagram, which may be lost, or come twice, or later than others.
    fn throws(&mut self, index: usize, remote: SocketAddr, octets: &Bytes) {
        let side = &self.sides[index];
        assert_eq!(
            (side.transport, remote.ip()),
            (Transport::Udp, side.peer.ip())
        );
        assert_ne!(remote.ip(), side.at.ip());
        let copies = match self.chance.next_u64() % 100 {
            n if n < self.bad => 0,
            n if n < 2 * self.bad => 2,
            _ => 1,
        };
        for _ in 0..copies {
            let at = self.now.mono + self.delay();
            self.link.push(Parcel {
                at,
                to: 1 - index,
                flow: FlowId(1),
                octets: octets.clone(),
            });
        }
    }

    /// Octets for a connection, which is opened if it is not there yet.
    fn writes(&mut self, index: usize, destination: &Destination, octets: Bytes) {
        let known = |stream: &&mut Stream| match destination {
            Destination::Connection(flow) => stream.flow == *flow,
            _ => stream.dialled_by == index,
        };
        let at = self.now.mono + self.delay();
        let open = self.streams.iter().any(|stream| {
            known(&&mut Stream {
                last: stream.last,
                ..*stream
            })
        });
        if !open {
            if matches!(destination, Destination::Connection(_)) {
                let now = self.now;
                return self.sides[index].ua.transport_failed(destination, now);
            }
            self.last_flow += 1;
            self.streams.push(Stream {
                flow: FlowId(self.last_flow),
                dialled_by: index,
                last: [at; 2],
            });
        }
        if let Some(stream) = self.streams.iter_mut().find(known) {
            let to = 1 - index;
            stream.last[to] = stream.last[to].max(at) + Duration::from_micros(1);
            self.link.push(Parcel {
                at: stream.last[to],
                to,
                flow: stream.flow,
                octets,
            });
        }
    }

    /// All connections are cut: what is on its way is lost, and both ends see it.
    fn cuts(&mut self) {
        let now = self.now;
        let [left, right] = &mut self.sides;
        self.wires.cuts([&mut left.ua, &mut right.ua], now);
        for stream in std::mem::take(&mut self.streams) {
            self.link.retain(|parcel| parcel.flow != stream.flow);
            for (index, side) in self.sides.iter_mut().enumerate() {
                if index == stream.dialled_by {
                    let target = Destination::Dial(side.target());
                    side.ua.transport_failed(&target, now);
                }
                side.ua.connection_closed(stream.flow, now);
            }
        }
        self.carry();
    }

    fn passes(&mut self, time: Duration) {
        let end = self.now.after(time);
        loop {
            let timers = self.sides.iter().filter_map(|side| side.ua.poll_timeout());
            let parcels = self.link.iter().map(|parcel| parcel.at);
            let next = timers.chain(parcels).chain(self.wires.next()).min();
            let Some(at) = next.filter(|at| *at <= end.mono) else {
                break;
            };
            self.now = self.now.after(at.saturating_sub(self.now.mono));
            self.arrives();
            for (index, side) in self.sides.iter_mut().enumerate() {
                self.wires.arrives(index, &mut side.ua, self.now);
                side.thinks(self.now);
            }
            self.wires.tidy();
            for side in &mut self.sides {
                side.ua.handle_timeout(self.now);
            }
            self.carry();
        }
        self.now = end;
    }

    fn arrives(&mut self) {
        loop {
            let due = self
                .link
                .iter()
                .enumerate()
                .filter(|(_, parcel)| parcel.at <= self.now.mono);
            let Some(first) = due
                .min_by_key(|(_, parcel)| parcel.at)
                .map(|(index, _)| index)
            else {
                return;
            };
            let Parcel {
                to, flow, octets, ..
            } = self.link.swap_remove(first);
            let side = &mut self.sides[to];
            let source = side.source(flow);
            side.ua.receive_datagram(&source, &octets, self.now);
            side.thinks(self.now);
        }
    }

    fn send(&mut self, side: usize, reference: u64, text: &str) {
        let (own, other) = [
            ("left.example", "right.example"),
            ("right.example", "left.example"),
        ][side];
        let im = Im {
            id: Some(format!("id{reference}")),
            thread: Some("the-same-thread".to_owned()),
            bodies: vec![Text {
                lang: None,
                text: text.to_owned(),
            }],
            ..Im::default()
        };
        let out = SipOut::Message {
            reference: Ref(reference),
            from: address("u", own),
            to: address("v", other),
            im,
        };
        self.command(side, out);
    }

    fn subscribe(&mut self, poll: bool) {
        let out = SipOut::Subscribe {
            trace: Trace::default(),
            reference: Ref(1),
            watcher: address("u", "left.example"),
            presentity: address("v", "right.example"),
            poll,
        };
        self.command(0, out);
    }

    fn assert_nothing_is_left(&mut self) {
        self.passes(Duration::from_secs(100));
        for side in &self.sides {
            let status = side.ua.status();
            assert_eq!(status, stox_sip::ua::Status::default());
            assert_eq!(side.ua.poll_timeout(), None);
            assert!(side.ua.is_quiet() && side.ua.is_empty());
        }
    }
}

#[test]
fn a_subscription_lives_for_hours_and_ends_on_both_sides() {
    let mut world = World::new(3, 0);
    world.subscribe(false);
    world.passes(Duration::from_secs(3));
    assert_eq!(world.sides[0].events.len(), 1);
    assert!(
        matches!(&world.sides[0].events[0], SubscriptionEvent::Active(Some(d)) if *d == shown("now") || !d.tuples.is_empty())
    );
    world.passes(Duration::from_secs(5 * 3600));
    let status = world.sides.each_ref().map(|side| side.ua.status());
    assert_eq!((status[0].established, status[1].watchers), (1, 1));
    assert!(
        world.sides[0]
            .events
            .iter()
            .all(|e| matches!(e, SubscriptionEvent::Active(Some(_))))
    );
    assert!(
        (5..9).contains(&world.sides[0].events.len()),
        "one for each refresh"
    );
    world.command(0, SipOut::Unsubscribe { reference: Ref(1) });
    world.passes(Duration::from_secs(2));
    assert_eq!(
        world.sides[0].events.last(),
        Some(&SubscriptionEvent::Closed)
    );
    world.assert_nothing_is_left();
}

#[test]
fn a_poll_is_one_answer() {
    let mut world = World::new(4, 0);
    world.subscribe(true);
    world.passes(Duration::from_secs(3));
    let events = &world.sides[0].events;
    assert!(
        matches!(
            &events[..],
            [SubscriptionEvent::Ended {
                document: Some(_),
                ..
            }]
        ),
        "{events:?}"
    );
    world.assert_nothing_is_left();
}

#[test]
fn a_notifier_that_dies_is_noticed() {
    let mut world = World::new(5, 0);
    world.subscribe(false);
    world.passes(Duration::from_secs(3));
    // It comes back without its memory.
    world.sides[1] = Side::new("right.example", "left.example", RIGHT, LEFT, 99);
    world.passes(Duration::from_secs(3700));
    assert!(matches!(
        world.sides[0].events.last(),
        Some(SubscriptionEvent::Lost(_))
    ));
    world.assert_nothing_is_left();
}

#[test]
fn a_watcher_that_dies_is_noticed() {
    let mut world = World::new(6, 0);
    world.subscribe(false);
    world.passes(Duration::from_secs(3));
    world.sides[0] = Side::new("left.example", "right.example", LEFT, RIGHT, 99);
    let reference = world.sides[1].watchers[0];
    let document = Some(shown("later"));
    let state = WatcherState::Active;
    world.passes(Duration::from_secs(10));
    world.command(
        1,
        SipOut::Notify {
            reference,
            state,
            document,
        },
    );
    world.passes(Duration::from_secs(3));
    assert!(world.sides[1].watchers.is_empty());
    world.assert_nothing_is_left();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn each_message_has_one_outcome_and_arrives_at_most_once(
        seed in any::<u64>(),
        bad in 0_u64..30,
        gaps in proptest::collection::vec((0_usize..2, 0_u64..3000), 1..20),
    ) {
        let mut world = World::new(seed, bad);
        for (reference, (side, gap)) in gaps.iter().enumerate() {
            let reference = u64::try_from(reference).unwrap();
            world.send(*side, reference, &format!("text {reference}"));
            world.passes(Duration::from_millis(*gap));
        }
        world.passes(Duration::from_secs(2000));
        for (reference, (side, _)) in gaps.iter().enumerate() {
            let text = format!("text {reference}");
            let outcomes = &world.sides[*side].outcomes[&Ref(u64::try_from(reference).unwrap())];
            let arrived = world.sides[1 - *side].taken.iter().filter(|t| **t == text).count();
            prop_assert_eq!(outcomes.len(), 1);
            prop_assert!(arrived <= 1);
            prop_assert!(!outcomes[0] || arrived == 1, "a lie about delivery");
        }
        world.assert_nothing_is_left();
    }

    #[test]
    fn both_ends_agree_after_any_loss(seed in any::<u64>(), bad in 0_u64..25) {
        let mut world = World::new(seed, bad);
        world.subscribe(false);
        world.passes(Duration::from_secs(4000));
        world.bad = 0;
        world.passes(Duration::from_secs(4000));
        let holds = world.sides[0].ua.status().subscriptions;
        let watched = world.sides[1].ua.status().watchers;
        prop_assert_eq!(holds, watched);
        if holds == 1 {
            world.command(0, SipOut::Unsubscribe { reference: Ref(1) });
        }
        world.assert_nothing_is_left();
        let ends = |e: &&SubscriptionEvent| !matches!(e, SubscriptionEvent::Active(_) | SubscriptionEvent::Pending);
        prop_assert_eq!(world.sides[0].events.iter().filter(ends).count(), 1);
    }
}

/// How the other side is spoken to: as a server that wants sessions, that wants none, that has to be found out, or that
/// wants MSRP.
fn rule(kind: usize) -> Rule {
    let msrp = kind == 3;
    let overrides = Overrides {
        requests_per_second: Some(0),
        im: msrp.then_some(ImMode::Session),
        im_fallback: msrp.then_some(true),
        session_by: msrp.then_some(SessionBy::Msrp),
        ..Overrides::default()
    };
    let simple = Some(Profile::Simple);
    Rule {
        profile: [Some(Profile::Ocs2007R2), simple, None, simple][kind],
        overrides,
    }
}

/// One thing that happens in a conversation.
#[derive(Debug, Clone, Copy)]
enum Turn {
    Says(usize, Option<&'static str>),
    Types(usize, ChatState),
    Waits(u64),
    /// A side comes back without its memory.
    Dies(usize),
    Stops(usize),
    /// All connections break.
    Cuts,
}

fn turn() -> impl Strategy<Value = Turn> {
    let side = 0_usize..2;
    let thread = prop::sample::select(vec![None, Some("t1"), Some("t2")]);
    let state = prop::sample::select(vec![
        ChatState::Active,
        ChatState::Composing,
        ChatState::Paused,
        ChatState::Gone,
    ]);
    prop_oneof![
        6 => (side.clone(), thread).prop_map(|(side, thread)| Turn::Says(side, thread)),
        2 => (side.clone(), state).prop_map(|(side, state)| Turn::Types(side, state)),
        3 => (0_u64..4_000).prop_map(Turn::Waits),
        1 => (0_u64..900_000).prop_map(Turn::Waits),
        1 => side.clone().prop_map(Turn::Dies),
        1 => side.prop_map(Turn::Stops),
        1 => Just(Turn::Cuts),
    ]
}

/// Plays a conversation; tells which messages were said by whom since the side last came up, and how often each side died.
fn play(world: &mut World, kinds: [usize; 2], turns: &[Turn]) -> Said {
    let mut said = BTreeMap::new();
    for (number, turn) in (0_u64..).zip(turns) {
        match *turn {
            Turn::Says(side, thread) => {
                said.insert(number, (side, thread));
                world.says(side, number, thread);
            }
            Turn::Types(side, state) => world.shows(side, state),
            Turn::Waits(millis) => world.passes(Duration::from_millis(millis)),
            Turn::Dies(side) => {
                // Who said something before its death has nobody to be told to; what was taken stays taken.
                said.retain(|_, (by, _)| *by != side);
                let (own, other) = [
                    ("left.example", "right.example"),
                    ("right.example", "left.example"),
                ][side];
                let (at, peer) = [(LEFT, RIGHT), (RIGHT, LEFT)][side];
                let fresh = Side::with(own, other, at, peer, (number + 1_000, rule(kinds[side])));
                let dead = std::mem::replace(&mut world.sides[side], fresh);
                world.sides[side].taken = dead.taken;
                world.sides[side].transport = dead.transport;
                world.cuts();
            }
            Turn::Cuts => world.cuts(),
            Turn::Stops(side) => {
                let now = world.now;
                world.sides[side].ua.shut_down(now);
                world.carry();
            }
        }
    }
    said
}

type Said = BTreeMap<u64, (usize, Option<&'static str>)>;

/// What one side says in one thread arrives in order, as far as it is known to have arrived.
fn check_order(world: &World, said: &Said) -> Result<(), TestCaseError> {
    let mut last: BTreeMap<(usize, Option<&str>), (u64, usize)> = BTreeMap::new();
    for (number, (side, thread)) in said {
        if world.sides[*side].outcomes[&Ref(*number)] != [true] {
            continue;
        }
        let text = format!("text {number}");
        let taken = &world.sides[1 - *side].taken;
        let at = taken.iter().position(|t| *t == text).unwrap();
        if let Some((earlier, before)) = last.insert((*side, *thread), (*number, at)) {
            prop_assert!(before < at, "{} came before {}", number, earlier);
        }
    }
    Ok(())
}

/// One outcome for each message, no lie about delivery, nothing twice that was not in doubt, and nothing left.
fn check_promises(world: &mut World, said: &Said, turns: &[Turn]) -> Result<(), TestCaseError> {
    world.passes(Duration::from_secs(3000));
    let died = turns.iter().any(|turn| matches!(turn, Turn::Dies(_)));
    for (number, (side, _)) in said {
        let text = format!("text {number}");
        let outcomes = world.sides[*side].outcomes.get(&Ref(*number)).cloned();
        let outcomes = outcomes.unwrap_or_default();
        let taken = &world.sides[1 - *side].taken;
        let arrived = taken.iter().filter(|t| **t == text).count();
        prop_assert_eq!(outcomes.len(), 1, "message {} has {:?}", number, outcomes);
        prop_assert!(
            !outcomes[0] || arrived >= 1,
            "a lie about delivery of {}",
            number
        );
        prop_assert!(died || arrived <= 1, "{} came {} times", number, arrived);
    }
    check_order(world, said)?;
    world.assert_nothing_is_left();
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_conversation_keeps_its_promises(
        seed in any::<u64>(),
        bad in 0_u64..25,
        kinds in [0_usize..4, 0_usize..4],
        turns in proptest::collection::vec(turn(), 1..30),
    ) {
        let mut world = World::between(seed, bad, kinds.map(rule));
        let said = play(&mut world, kinds, &turns);
        check_promises(&mut world, &said, &turns)?;
    }

    #[test]
    fn a_conversation_over_connections_keeps_its_promises(
        seed in any::<u64>(),
        kinds in [0_usize..4, 0_usize..4],
        turns in proptest::collection::vec(turn(), 1..30),
    ) {
        let mut world = World::connected(seed, kinds.map(rule));
        let said = play(&mut world, kinds, &turns);
        check_promises(&mut world, &said, &turns)?;
    }

    #[test]
    fn words_of_one_thread_keep_their_order(
        seed in any::<u64>(),
        kinds in [0_usize..4, 0_usize..4],
        turns in proptest::collection::vec((0_usize..2, 0_u64..1_500), 1..25),
        thread in prop::sample::select(vec![None, Some("t1")]),
    ) {
        let mut world = World::between(seed, 0, kinds.map(rule));
        for (number, (side, gap)) in (0_u64..).zip(&turns) {
            world.says(*side, number, thread);
            world.passes(Duration::from_millis(*gap));
        }
        world.passes(Duration::from_secs(3000));
        for side in [0, 1] {
            let expected: Vec<String> = (0_u64..)
                .zip(&turns)
                .filter(|(_, (by, _))| *by == side)
                .map(|(number, _)| format!("text {number}"))
                .collect();
            prop_assert_eq!(&world.sides[1 - side].taken, &expected);
        }
        world.assert_nothing_is_left();
    }
}

#[test]
fn two_sides_talk_over_msrp() {
    let mut world = World::between(7, 0, [rule(3), rule(3)]);
    for number in 0..4 {
        world.says(0, number, Some("t1"));
    }
    world.passes(Duration::from_secs(30));
    world.says(1, 10, Some("t1"));
    world.passes(Duration::from_secs(30));
    let texts: Vec<String> = (0..4).map(|number| format!("text {number}")).collect();
    assert_eq!(world.sides[1].taken, texts);
    assert_eq!(world.sides[0].taken, ["text 10"]);
    assert_eq!(world.wires.opened(), 1, "one connection carried them all");
    let sessions = world.sides.each_ref().map(|side| side.ua.status().sessions);
    assert_eq!(sessions, [1, 1]);
    world.passes(Duration::from_secs(1200));
    world.assert_nothing_is_left();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn a_conversation_over_msrp_keeps_its_promises(
        seed in any::<u64>(),
        bad in 0_u64..25,
        turns in proptest::collection::vec(turn(), 1..30),
    ) {
        let mut world = World::between(seed, bad, [rule(3), rule(3)]);
        let said = play(&mut world, [3, 3], &turns);
        check_promises(&mut world, &said, &turns)?;
    }
}

#[test]
fn receipts_over_msrp_are_told_once_and_only_where_they_were_asked_for() {
    let all = Wants {
        delivered: true,
        displayed: true,
    };
    let delivery = Wants {
        delivered: true,
        displayed: false,
    };
    for wants in [delivery, all] {
        let mut world = World::between(11, 0, [rule(3), rule(3)]);
        let subject = Text {
            lang: Some("de".to_owned()),
            text: "Betreff \\ \u{e4}".to_owned(),
        };
        let im = Im {
            bodies: vec![Text {
                lang: Some("de".to_owned()),
                text: "Text".to_owned(),
            }],
            subjects: vec![subject.clone()],
            wants,
            ..Im::default()
        };
        let out = SipOut::Message {
            reference: Ref(70),
            from: address("u", "left.example"),
            to: address("v", "right.example"),
            im,
        };
        world.command(0, out);
        world.passes(Duration::from_secs(10));
        assert_eq!(world.sides[0].outcomes[&Ref(70)], [true]);
        assert!(world.sides[0].receipts.is_empty(), "a 200 is none");
        let (reference, asked, subjects) = world.sides[1].asked[0].clone();
        assert_eq!((asked, subjects), (wants, vec![subject]));
        for receipt in [Receipt::Delivered, Receipt::Displayed, Receipt::Delivered] {
            world.command(1, SipOut::Receipt { reference, receipt });
            world.passes(Duration::from_secs(5));
        }
        let mut told = vec![(Ref(70), Receipt::Delivered)];
        told.extend(wants.displayed.then_some((Ref(70), Receipt::Displayed)));
        assert_eq!(world.sides[0].receipts, told);
        world.passes(Duration::from_secs(1200));
        world.assert_nothing_is_left();
    }
}
