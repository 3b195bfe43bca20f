//! The two sides, and what is on its way between them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use stox_core::address::SipAddress;
use stox_core::policy::DomainPattern;
use stox_core::time::{Entropy, Now, SeededEntropy};
use stox_core::vocab::{ConferenceEvent, ConferenceOut, End, FocusOut, Ref, SipIn, SipOut};
use stox_sip::dialect::{Profile, Rule};
use stox_sip::message::Message;
use stox_sip::msrp::endpoint;
use stox_sip::transport::{Destination, FlowId, Source, Target, Transport};
use stox_sip::ua::UserAgent;
use stox_sip::ua::settings::{Msrp, Settings};
use stox_sip::ua::trust::{AddressBlock, SipDomain};

use crate::agent::address;
use crate::msrp::Wires;
use crate::room::{Room, occupant, room, text};
use crate::user::User;

/// Places for XMPP users.
pub(crate) const LEGS: usize = 4;

const AT: [&str; 2] = ["192.0.2.1:5060", "192.0.2.2:5060"];

/// The connection that each side opens where it needs one.
const STREAMS: [FlowId; 2] = [FlowId(901), FlowId(902)];

struct Parcel {
    at: Duration,
    to: usize,
    source: (FlowId, Transport),
    octets: Bytes,
}

pub(crate) struct World {
    pub(crate) uas: [UserAgent; 2],
    pub(crate) now: Now,
    link: Vec<Parcel>,
    wires: Wires,
    chance: SeededEntropy,
    bad: u64,
    /// All that ever were, by leg.
    pub(crate) users: BTreeMap<Ref, User>,
    /// Who sits where.
    pub(crate) places: [Option<Ref>; LEGS],
    pub(crate) room: Room,
    /// The fates of what the left side has asked for, and its text where it was one.
    pub(crate) outcomes: BTreeMap<Ref, (Option<String>, Vec<bool>)>,
    /// Every request and response that was sent, in order.
    pub(crate) wire: Vec<(usize, Message)>,
    last: u64,
}

/// The user at a place.
pub(crate) fn seat(place: usize) -> SipAddress {
    SipAddress {
        gr: Some(format!("r{place}")),
        ..address(&format!("u{place}"), "left.example")
    }
}

fn settings(side: usize) -> Settings {
    let names = ["left.example", "right.example"];
    let peer: SocketAddr = AT[1 - side].parse().unwrap();
    let mut settings = Settings::new(format!("gw.{}", names[side]));
    let domain = |name: &str| SipDomain {
        trusted_addresses: vec![AddressBlock::single(peer.ip())],
        dialect: Rule {
            profile: Some(Profile::Simple),
            ..Rule::default()
        },
        ..SipDomain::new(name)
    };
    let (own, theirs): (&[&str], &[&str]) = match side {
        0 => (&["left.example"], &["right.example", "rooms.right.example"]),
        _ => (&["right.example", "rooms.right.example"], &["left.example"]),
    };
    settings.xmpp_domains = own.iter().map(|name| DomainPattern::parse(name)).collect();
    settings.sip_domains = theirs.iter().map(|name| domain(name)).collect();
    let at: SocketAddr = AT[side].parse().unwrap();
    settings.msrp = Some(Msrp {
        host: at.ip().to_string(),
        tcp_port: Some(2855),
        tls_port: None,
        fingerprint: None,
        networks: Vec::new(),
        relay: None,
        endpoint: endpoint::Settings::default(),
    });
    settings
}

impl World {
    pub(crate) fn new(seed: u64, bad: u64) -> Self {
        Self::with(seed, bad, [0, 1].map(settings))
    }

    /// With other rules for rooms on the right.
    pub(crate) fn with_rooms(seed: u64, rooms: &[&str]) -> Self {
        let mut both = [0, 1].map(settings);
        both[1].rooms = rooms
            .iter()
            .map(|name| DomainPattern::parse(name))
            .collect();
        Self::with(seed, 0, both)
    }

    fn with(seed: u64, bad: u64, settings: [Settings; 2]) -> Self {
        let [left, right] = settings;
        let ua = |settings, seed| UserAgent::new(settings, Box::new(SeededEntropy(seed)));
        Self {
            uas: [ua(left, seed), ua(right, seed.wrapping_add(1))],
            now: Now {
                mono: Duration::from_secs(5),
                wall: Duration::from_secs(1_772_000_000),
            },
            link: Vec::new(),
            wires: Wires::new(bad),
            chance: SeededEntropy(seed ^ 0x5eed),
            bad,
            users: BTreeMap::new(),
            places: [None; LEGS],
            room: Room::default(),
            outcomes: BTreeMap::new(),
            wire: Vec::new(),
            last: 0,
        }
    }

    // -------------------------------------------------------------------------------------- deeds

    fn next_ref(&mut self) -> Ref {
        self.last += 1;
        Ref(self.last)
    }

    pub(crate) fn conference(&mut self, out: ConferenceOut) {
        let now = self.now;
        self.uas[0].command(SipOut::Conference(out), now);
        self.carry();
    }

    pub(crate) fn focus(&mut self, out: FocusOut) {
        let now = self.now;
        self.uas[1].command(SipOut::Focus(out), now);
        self.carry();
    }

    pub(crate) fn joins(&mut self, place: usize, nick: &str) {
        if self.places[place].is_some() {
            return;
        }
        let leg = self.next_ref();
        self.places[place] = Some(leg);
        self.users.insert(leg, User::default());
        self.conference(ConferenceOut::Join {
            leg,
            user: seat(place),
            conference: room(),
            nick: nick.to_owned(),
        });
    }

    /// The leg of a place, if she is in.
    fn inside(&self, place: usize) -> Option<Ref> {
        let leg = self.places[place]?;
        self.users[&leg].joined.then_some(leg)
    }

    pub(crate) fn says(&mut self, place: usize, to: Option<SipAddress>) {
        let Some(leg) = self.inside(place) else {
            return;
        };
        let reference = self.next_ref();
        let body = format!("text {}", reference.0);
        let fate = (Some(body.clone()), Vec::new());
        self.outcomes.insert(reference, fate);
        self.conference(ConferenceOut::Message {
            reference,
            leg,
            to,
            im: text(&body),
        });
    }

    pub(crate) fn whispers(&mut self, place: usize, to: usize) {
        let nick = self.inside(to).map(|leg| self.users[&leg].nick.clone());
        if let Some(nick) = nick {
            self.says(place, Some(occupant(&nick)));
        }
    }

    pub(crate) fn renames(&mut self, place: usize, nick: &str) {
        let Some(leg) = self.inside(place) else {
            return;
        };
        if !std::mem::replace(&mut self.users.get_mut(&leg).unwrap().renaming, true) {
            self.conference(ConferenceOut::ChangeNick {
                leg,
                nick: nick.to_owned(),
            });
        }
    }

    pub(crate) fn invites(&mut self, place: usize) {
        let Some(leg) = self.inside(place) else {
            return;
        };
        let reference = self.next_ref();
        self.outcomes.insert(reference, (None, Vec::new()));
        self.conference(ConferenceOut::Invite {
            reference,
            leg,
            invitee: address("carla", "right.example"),
            reason: Some("Tea time & more".to_owned()),
        });
    }

    pub(crate) fn leaves(&mut self, place: usize) {
        if let Some(leg) = self.places[place] {
            self.conference(ConferenceOut::Leave { leg });
        }
    }

    fn guest(&self, place: usize) -> Option<Ref> {
        let user = seat(place).bare();
        let mut guests = self.room.guests.iter();
        guests
            .find(|(_, guest)| guest.user == user)
            .map(|(leg, _)| *leg)
    }

    pub(crate) fn room_says(&mut self) {
        self.last += 1;
        let body = text(&format!("room {}", self.last));
        let legs: Vec<Ref> = self.room.guests.keys().copied().collect();
        for leg in legs {
            let out = self.room.message(leg, &occupant("Xenia"), false, &body);
            self.focus(out);
        }
    }

    pub(crate) fn room_whispers(&mut self, place: usize) {
        if let Some(leg) = self.guest(place) {
            self.last += 1;
            let body = text(&format!("whisper {}", self.last));
            let out = self.room.message(leg, &occupant("Xenia"), true, &body);
            self.focus(out);
        }
    }

    pub(crate) fn topic(&mut self, number: usize) {
        let subject = (number > 0).then(|| format!("topic {number}"));
        self.room.subject = subject;
        let legs: Vec<Ref> = self.room.guests.keys().copied().collect();
        for leg in legs {
            self.focus(self.room.topic(leg));
        }
    }

    pub(crate) fn removes(&mut self, place: usize, over: bool) {
        let Some(leg) = self.guest(place) else {
            return;
        };
        let end = match over {
            true => End::Over { reason: None },
            false => End::Removed {
                reason: Some("No \"tea\"".to_owned()),
            },
        };
        let news = self.room.gone(leg);
        self.focus(FocusOut::End { leg, end });
        for out in news {
            self.focus(out);
        }
    }

    pub(crate) fn stops(&mut self, side: usize) {
        let now = self.now;
        self.uas[side].shut_down(now);
        self.carry();
    }

    pub(crate) fn cuts(&mut self) {
        let now = self.now;
        let [left, right] = &mut self.uas;
        self.wires.cuts([left, right], now);
        self.carry();
    }

    pub(crate) fn everybody_leaves(&mut self) {
        for place in 0..LEGS {
            self.leaves(place);
        }
        self.passes(Duration::from_secs(300));
    }

    // -------------------------------------------------------------------------------------- bridge

    fn think(&mut self, side: usize) {
        let now = self.now;
        loop {
            let ua = &mut self.uas[side];
            if let Some(question) = ua.poll_resolve() {
                let target = Target {
                    transport: Transport::Udp,
                    address: AT[1 - side].parse().unwrap(),
                    name: String::new(),
                    also: Vec::new(),
                };
                ua.resolved(question.id, Ok(vec![target]), now);
                continue;
            }
            match ua.poll_input() {
                None => return,
                Some(SipIn::Conference { leg, event }) => self.left_is_told(leg, event),
                Some(SipIn::Focus { leg, event }) => {
                    for out in self.room.told(leg, event) {
                        self.uas[1].command(SipOut::Focus(out), now);
                    }
                }
                Some(other) => panic!("{other:?}"),
            }
        }
    }

    fn left_is_told(&mut self, leg: Ref, event: ConferenceEvent) {
        if let ConferenceEvent::Outcome { reference, outcome } = event {
            let fates = self.outcomes.get_mut(&reference).expect("it was asked for");
            return fates.1.push(outcome.is_ok());
        }
        let ended = matches!(event, ConferenceEvent::Ended(_));
        let user = self.users.get_mut(&leg).expect("a leg of ours");
        if let Some(reference) = user.told(event) {
            let outcome = Ok(());
            let answer = ConferenceOut::Answer { reference, outcome };
            self.uas[0].command(SipOut::Conference(answer), self.now);
        }
        if ended {
            for place in &mut self.places {
                *place = place.filter(|known| *known != leg);
            }
        }
    }

    // ---------------------------------------------------------------------------------------- link

    fn carry(&mut self) {
        let mut any = true;
        while std::mem::take(&mut any) {
            for side in [0, 1] {
                self.think(side);
                while let Some(transmit) = self.uas[side].poll_transmit() {
                    any = true;
                    let message = Message::parse_datagram(&transmit.bytes).expect("readable");
                    self.wire.push((side, message));
                    match &transmit.destination {
                        Destination::Datagram { .. } => self.throws(side, &transmit.bytes),
                        // What is too long for a datagram.
                        Destination::Connection(flow) => self.writes(side, *flow, transmit.bytes),
                        _ => self.writes(side, STREAMS[side], transmit.bytes),
                    }
                }
                let ua = &mut self.uas[side];
                while self.wires.hears(side, ua, self.now, &mut self.chance) {
                    any = true;
                }
            }
        }
    }

    /// Octets on a connection, which never breaks.
    fn writes(&mut self, side: usize, flow: FlowId, octets: Bytes) {
        self.link.push(Parcel {
            at: self.now.mono + Duration::from_millis(200),
            to: 1 - side,
            source: (flow, Transport::Tcp),
            octets,
        });
    }

    fn throws(&mut self, side: usize, octets: &Bytes) {
        let copies = match self.chance.next_u64() % 100 {
            n if n < self.bad => 0,
            n if n < 2 * self.bad => 2,
            _ => 1,
        };
        for _ in 0..copies {
            let delay = Duration::from_millis(1 + self.chance.next_u64() % 400);
            self.link.push(Parcel {
                at: self.now.mono + delay,
                to: 1 - side,
                source: (FlowId(1), Transport::Udp),
                octets: octets.clone(),
            });
        }
    }

    pub(crate) fn passes(&mut self, time: Duration) {
        let end = self.now.after(time);
        loop {
            let timers = self.uas.iter().filter_map(UserAgent::poll_timeout);
            let parcels = self.link.iter().map(|parcel| parcel.at);
            let next = timers.chain(parcels).chain(self.wires.next()).min();
            let Some(at) = next.filter(|at| *at <= end.mono) else {
                break;
            };
            self.now = self.now.after(at.saturating_sub(self.now.mono));
            self.arrives();
            for side in [0, 1] {
                self.wires.arrives(side, &mut self.uas[side], self.now);
                self.think(side);
                self.uas[side].handle_timeout(self.now);
            }
            self.wires.tidy();
            self.carry();
        }
        self.now = end;
    }

    fn arrives(&mut self) {
        let now = self.now;
        let mut due: Vec<Parcel> = Vec::new();
        self.link.sort_by_key(|parcel| parcel.at);
        while self
            .link
            .first()
            .is_some_and(|parcel| parcel.at <= now.mono)
        {
            due.push(self.link.remove(0));
        }
        for Parcel {
            to,
            source: (flow, transport),
            octets,
            ..
        } in due
        {
            let source = Source {
                flow,
                transport,
                remote: AT[1 - to].parse().unwrap(),
                certificate_names: Vec::new(),
            };
            self.uas[to].receive_datagram(&source, &octets, now);
            self.think(to);
        }
    }

    // ------------------------------------------------------------------------------------ promises

    /// Every message has one outcome, and none is said to have arrived that did not.
    pub(crate) fn check_promises(&self) {
        for (reference, (text, fates)) in &self.outcomes {
            assert_eq!(fates.len(), 1, "{reference:?} {text:?}: {fates:?}");
            if let Some(text) = text {
                let came = self.room.said.iter().filter(|said| said.0 == *text);
                let came = came.count();
                assert!(came <= 1, "{text} came {came} times");
                assert!(!fates[0] || came == 1, "a lie about {text}");
            }
        }
        for (reference, fates) in &self.room.outcomes {
            assert_eq!(fates.len(), 1, "{reference:?}: {fates:?}");
        }
    }

    /// Who is in on both sides sees who is in the room.
    pub(crate) fn check_rosters(&self) {
        let expected = self.room.nicks();
        for place in 0..LEGS {
            let (Some(leg), Some(_)) = (self.inside(place), self.guest(place)) else {
                assert_eq!(self.guest(place), None, "he is in on one side alone");
                continue;
            };
            let user = &self.users[&leg];
            assert_eq!(user.nicks(), expected, "at place {place}");
            assert_eq!(user.subject, self.room.subject, "at place {place}");
            assert!(expected.contains(&user.nick) && user.private_messages);
        }
    }

    pub(crate) fn assert_nothing_is_left(&mut self) {
        self.passes(Duration::from_secs(200));
        assert!(self.room.guests.is_empty(), "{:?}", self.room.guests);
        for (leg, user) in &self.users {
            assert!(user.ended.is_some(), "{leg:?}");
        }
        for ua in &self.uas {
            assert_eq!(ua.status(), stox_sip::ua::Status::default());
            assert_eq!(ua.poll_timeout(), None);
            assert!(ua.is_quiet() && ua.is_empty());
        }
    }
}
