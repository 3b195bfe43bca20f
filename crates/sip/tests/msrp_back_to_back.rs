//! Two MSRP endpoints against each other on virtual time, over connections that split, delay and die.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests may fail a test"
)]

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;
use stox_core::time::{Now, SeededEntropy};
use stox_sip::msrp::endpoint::{
    Channel, DeliveryId, Endpoint, Event, Fault, Message, Plan, Role, Security, Settings,
};
use stox_sip::msrp::frame::{FailureReport, Status};
use stox_sip::msrp::uri::MsrpUri;
use stox_sip::transport::FlowId;

/// One side, and what the wire towards it holds.
struct Side {
    endpoint: Endpoint,
    /// Octets that are on their way to it.
    wire: BTreeMap<FlowId, VecDeque<u8>>,
    up: Vec<Channel>,
    down: Vec<(Channel, Fault)>,
    sent: Vec<(Channel, String, Result<(), Fault>)>,
    got: Vec<(Channel, String, Bytes)>,
    unanswered: VecDeque<DeliveryId>,
    handed_out: usize,
}

impl Side {
    fn new(seed: u64, settings: Settings) -> Self {
        Self {
            endpoint: Endpoint::new(settings, Box::new(SeededEntropy(seed))),
            wire: BTreeMap::new(),
            up: vec![],
            down: vec![],
            sent: vec![],
            got: vec![],
            unanswered: VecDeque::new(),
            handed_out: 0,
        }
    }

    fn collect(&mut self) {
        while let Some(event) = self.endpoint.poll_event() {
            match event {
                Event::Up(channel) => self.up.push(channel),
                Event::Down { channel, fault } => self.down.push((channel, fault)),
                Event::Sent {
                    channel,
                    message_id,
                    outcome,
                } => self.sent.push((channel, message_id, outcome)),
                Event::Received {
                    channel,
                    delivery,
                    message,
                } => {
                    assert_eq!(message.content_type.as_deref(), Some("text/plain"));
                    self.got.push((channel, message.message_id, message.body));
                    self.unanswered.push_back(delivery);
                }
                Event::Abandoned { delivery } => self.unanswered.retain(|d| *d != delivery),
                // Of a message that was given up on the way.
                Event::Report { status, .. } => assert_eq!(status.code, 408),
                other => panic!("{other:?}"),
            }
        }
    }
}

struct World {
    sides: [Side; 2],
    now: Now,
    next_flow: u64,
    /// The connection dies after so many octets in both directions.
    life: Option<usize>,
    carried: usize,
}

impl World {
    fn new(settings: Settings) -> Self {
        Self {
            sides: [Side::new(1, settings), Side::new(2, settings)],
            now: Now::default(),
            next_flow: 0,
            life: None,
            carried: 0,
        }
    }

    /// A session between the two: first its channel at the side that dials.
    fn session(&mut self, dialler: usize) -> [Channel; 2] {
        let uris = [0, 1].map(|side| {
            let id = self.sides[side].endpoint.fresh_session();
            MsrpUri::new(false, ["a.example", "b.example"][side], 2855, &id)
        });
        [1 - dialler, dialler]
            .map(|side| {
                let role = if side == dialler {
                    Role::Dials
                } else {
                    Role::Waits
                };
                let plan = Plan {
                    local: uris[side].clone(),
                    relays: vec![],
                    remote: vec![uris[1 - side].clone()],
                    role,
                    security: Security::Plain,
                    max_size: None,
                };
                (side, self.sides[side].endpoint.open(plan, self.now))
            })
            .into_iter()
            .fold([Channel(0); 2], |mut pair, (side, channel)| {
                pair[side] = channel;
                pair
            })
    }

    /// Everything that machines want from the shell, and at most `octets` of each wire. Something was done?
    fn turn(&mut self, octets: usize) -> bool {
        let mut busy = false;
        for at in [0, 1] {
            let peer = 1 - at;
            while let Some(dial) = self.sides[at].endpoint.poll_dial() {
                busy = true;
                self.next_flow += 1;
                let flow = FlowId(self.next_flow);
                self.sides[at].wire.insert(flow, VecDeque::new());
                self.sides[peer].wire.insert(flow, VecDeque::new());
                self.sides[peer]
                    .endpoint
                    .accepted(flow, false, None, self.now);
                self.sides[at].endpoint.dialled(dial.id, Ok(flow), self.now);
            }
            while let Some((flow, out)) = self.sides[at].endpoint.poll_transmit() {
                busy = true;
                self.sides[at].handed_out += out.len();
                if let Some(wire) = self.sides[peer].wire.get_mut(&flow) {
                    wire.extend(out.iter());
                }
            }
            while let Some(flow) = self.sides[at].endpoint.poll_close() {
                busy = true;
                self.sides[at].wire.remove(&flow);
                // What is on the wire arrives before the end does.
                while self.deliver(peer, flow, usize::MAX) {}
                self.sides[peer].wire.remove(&flow);
                self.sides[peer].endpoint.closed(flow, self.now);
            }
            let flows: Vec<_> = self.sides[at].wire.keys().copied().collect();
            for flow in flows {
                busy |= self.deliver(at, flow, octets);
            }
            self.sides[at].collect();
        }
        busy
    }

    fn deliver(&mut self, to: usize, flow: FlowId, octets: usize) -> bool {
        let Some(wire) = self.sides[to].wire.get_mut(&flow) else {
            return false;
        };
        let mut count = wire.len().min(octets);
        if let Some(life) = self.life {
            count = count.min(life - self.carried);
        }
        let piece: Vec<u8> = wire.drain(..count).collect();
        self.carried += count;
        if count > 0 {
            self.sides[to].endpoint.receive(flow, &piece, self.now);
            self.sides[1 - to].endpoint.written(flow, count, self.now);
        }
        if self.life == Some(self.carried) {
            self.life = None;
            for side in &mut self.sides {
                side.wire.remove(&flow);
                side.endpoint.closed(flow, self.now);
            }
            return true;
        }
        count > 0
    }

    fn answer(&mut self, side: usize) {
        if let Some(delivery) = self.sides[side].unanswered.pop_front() {
            let status = Status::new(200);
            self.sides[side].endpoint.answer(delivery, status, self.now);
        }
    }

    /// Runs until nothing moves, everything answered.
    fn run(&mut self, octets: usize) {
        for _ in 0..1_000_000 {
            let answered = (0..2).any(|side| !self.sides[side].unanswered.is_empty());
            (0..2).for_each(|side| self.answer(side));
            if !self.turn(octets) && !answered {
                return;
            }
        }
        panic!("it never rests");
    }

    /// Runs until nothing is due any more.
    fn settle(&mut self) {
        self.run(usize::MAX);
        while self.tick() {
            self.run(usize::MAX);
        }
    }

    /// Lets the clock run to the next deadline.
    fn tick(&mut self) -> bool {
        let next = self
            .sides
            .iter()
            .filter_map(|s| s.endpoint.poll_timeout())
            .min();
        let Some(at) = next else {
            return false;
        };
        self.now = self.now.after(at.saturating_sub(self.now.mono));
        for side in &mut self.sides {
            side.endpoint.handle_timeout(self.now);
        }
        true
    }
}

fn message(id: &str, body: Vec<u8>) -> Message {
    Message {
        id: id.to_owned(),
        content_type: "text/plain".to_owned(),
        body: body.into(),
        success_report: false,
        failure_report: FailureReport::Yes,
        hint: Some(id.to_owned()),
    }
}

#[test]
fn a_small_message_overtakes_a_large_one_of_another_session() {
    let mut world = World::new(Settings {
        window: 1,
        ..Settings::default()
    });
    let large = world.session(0);
    let small = world.session(0);
    world.run(usize::MAX);
    let now = world.now;
    let at = &mut world.sides[0].endpoint;
    at.send(large[0], message("large", vec![b'x'; 100_000]), now);
    at.send(small[0], message("small", b"Hi".to_vec()), now);
    world.run(usize::MAX);
    let order: Vec<_> = world.sides[1]
        .got
        .iter()
        .map(|(_, id, _)| id.as_str())
        .collect();
    assert_eq!(order, ["small", "large"]);
    assert_eq!(world.sides[0].endpoint.status().connections, 1);
    assert_eq!(world.sides[0].endpoint.status().bound, 2);
}

#[derive(Debug, Clone)]
enum Act {
    Send {
        side: usize,
        session: usize,
        octets: usize,
    },
    Turn(usize),
    Answer(usize),
    Close {
        side: usize,
        session: usize,
    },
    Tick,
}

fn act() -> impl Strategy<Value = Act> {
    let octets = prop_oneof![Just(1_usize), 1..200_usize, 2000..9000_usize];
    prop_oneof![
        4 => (0..2_usize, 0..3_usize, octets)
            .prop_map(|(side, session, octets)| Act::Send { side, session, octets }),
        6 => prop_oneof![1..40_usize, Just(usize::MAX)].prop_map(Act::Turn),
        3 => (0..2_usize).prop_map(Act::Answer),
        1 => (0..2_usize, 0..3_usize).prop_map(|(side, session)| Act::Close { side, session }),
        1 => Just(Act::Tick),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn every_message_has_one_fate(
        diallers in proptest::collection::vec(0..2_usize, 3),
        acts in proptest::collection::vec(act(), 1..60),
        life in proptest::option::of(1..40_000_usize),
        (window, chunk, max_message) in (1..5000_usize, 1..3000_usize, 1000..9000_u64),
    ) {
        let settings = Settings { window, chunk, max_message, ..Settings::default() };
        let mut world = World::new(settings);
        world.life = life;
        let sessions: Vec<_> = diallers.iter().map(|dialler| world.session(*dialler)).collect();
        let mut asked: [Vec<(Channel, String, Vec<u8>)>; 2] = Default::default();
        let mut closed = Vec::new();
        let calm = life.is_none() && !acts.iter().any(|act| matches!(act, Act::Close { .. } | Act::Tick));
        for (number, act) in acts.into_iter().enumerate() {
            let now = world.now;
            match act {
                Act::Send { side, session, octets } => {
                    let channel = sessions[session][side];
                    if closed.contains(&(side, channel)) { continue; }
                    let body = format!("{number}-------m{number:05}$\r\n").into_bytes();
                    let body: Vec<u8> = body.into_iter().cycle().take(octets).collect();
                    let id = format!("m{number:05}");
                    world.sides[side].endpoint.send(channel, message(&id, body.clone()), now);
                    asked[side].push((channel, id, body));
                }
                Act::Turn(octets) => { world.turn(octets); }
                Act::Answer(side) => world.answer(side),
                Act::Close { side, session } => {
                    let channel = sessions[session][side];
                    world.sides[side].collect();
                    world.sides[side].endpoint.close(channel, now);
                    closed.push((side, channel));
                }
                Act::Tick => { world.tick(); }
            }
        }
        world.settle();
        for side in [0, 1] {
            let (ours, theirs) = (&world.sides[side], &world.sides[1 - side]);
            for (channel, id, body) in &asked[side] {
                let fates: Vec<_> = ours.sent.iter().filter(|(c, i, _)| c == channel && i == id).collect();
                let is_closed = closed.contains(&(side, *channel));
                let got: Vec<_> = theirs.got.iter().filter(|(_, i, _)| i == id).collect();
                prop_assert!(got.len() <= 1);
                prop_assert!(got.iter().all(|(.., found)| found == body));
                prop_assert!(fates.len() == 1 || (is_closed && fates.is_empty()), "{id} {fates:?} {:?}", ours.endpoint.status());
                if let [(.., outcome)] = fates.as_slice() {
                    let fits = body.len() as u64 <= max_message;
                    prop_assert!(!calm || outcome.is_ok() == fits, "{id} {outcome:?}");
                    prop_assert!(outcome.is_err() || got.len() == 1, "{id}");
                    prop_assert!(*outcome != Err(Fault::NotSent) || got.is_empty(), "{id}");
                }
            }
            for session in &sessions {
                let arrived: Vec<_> = theirs.got.iter().filter(|(c, ..)| *c == session[1 - side]).map(|(_, id, _)| id).collect();
                prop_assert!(arrived.is_sorted(), "{arrived:?}");
            }
        }
        for session in &sessions {
            for side in [0, 1] {
                let now = world.now;
                world.sides[side].endpoint.close(session[side], now);
            }
        }
        world.settle();
        prop_assert!(world.now.mono < Duration::from_secs(3600));
        for side in &world.sides {
            prop_assert!(side.endpoint.is_empty(), "{:?}", side.endpoint);
        }
    }
}
