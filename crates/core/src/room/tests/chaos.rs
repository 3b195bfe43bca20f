//! Any order of events, with losses: every message has one outcome, everybody sees who is there, and nobody is left
//! behind as a ghost.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

#[cfg(test)]
use proptest::prelude::*;

use super::*;

fn take<T>(list: &mut Vec<T>, pick: usize) -> Option<T> {
    (!list.is_empty()).then(|| list.remove(pick % list.len()))
}

fn lost() -> Failure {
    Failure::Local(Local::TransportFailed)
}

// ------------------------------------------------------------------- XMPP users in SIP conferences

const USERS: [&str; 3] = [
    "juliet@xmpp.example/balcony",
    "juliet@xmpp.example/garden",
    "ann@xmpp.example/x",
];
const CONFERENCE: &str = "verona@chat.sip.example";

/// A leg as the SIP adapter has it.
#[derive(Default)]
struct Seat {
    user: String,
    joined: bool,
    told: bool,
    leaving: bool,
    nick: String,
    renaming: Option<String>,
}

/// The SIP adapter with one conference, and the XMPP users with what they see.
#[derive(Default)]
struct Conference {
    seats: BTreeMap<Ref, Seat>,
    /// Others in the conference.
    others: BTreeMap<u8, String>,
    /// What each leg was last told of them.
    sends: Vec<(Ref, Ref)>,
    stanzas: Vec<Ref>,
    unanswered: BTreeSet<Ref>,
    next: u64,
    /// What each user sees: nicknames, and whether she sees herself.
    seen: BTreeMap<String, BTreeSet<String>>,
    inside: BTreeMap<String, bool>,
    /// Stanza ids, and how many outcomes each had.
    said: BTreeMap<String, usize>,
    /// Outcomes that may come to nothing, since their sender has left.
    forgiven: BTreeSet<String>,
    by_ref: BTreeMap<Ref, String>,
}

impl Conference {
    fn collect(&mut self, world: &mut World) {
        for command in world.drain() {
            match command {
                Command::Sip(SipOut::Conference(out)) => self.adapter(out),
                Command::Xmpp(out) => self.client(out),
                other => panic!("{other:?}"),
            }
        }
    }

    fn adapter(&mut self, out: ConferenceOut) {
        match out {
            ConferenceOut::Join {
                leg, user, nick, ..
            } => {
                let gr = user.gr.clone().unwrap();
                let user = format!("{}/{gr}", user.bare().to_string().replace("sip:", ""));
                let seat = Seat {
                    user,
                    nick,
                    ..Seat::default()
                };
                assert!(self.seats.insert(leg, seat).is_none());
            }
            ConferenceOut::Message {
                reference, leg, im, ..
            } => {
                assert!(self.seats[&leg].joined && !self.seats[&leg].leaving);
                self.sends.push((leg, reference));
                self.by_ref.insert(reference, im.id.unwrap());
            }
            ConferenceOut::ChangeNick { leg, nick } => {
                let seat = self.seats.get_mut(&leg).unwrap();
                assert!(seat.joined && !seat.leaving && seat.renaming.is_none());
                seat.renaming = Some(nick);
            }
            ConferenceOut::Answer { reference, .. } => {
                assert!(self.unanswered.remove(&reference), "{reference:?}");
            }
            ConferenceOut::Leave { leg } => {
                let seat = self.seats.get_mut(&leg).unwrap();
                assert!(!seat.leaving);
                seat.leaving = true;
            }
            ConferenceOut::Invite { .. } => panic!("nobody invites"),
        }
    }

    fn client(&mut self, out: XmppOut) {
        match out {
            XmppOut::Muc(MucOut::Occupant { from, to, presence }) => {
                let (user, nick) = (to.to_string(), from.resource.unwrap());
                let own = presence.statuses.contains(&110);
                if own {
                    let goes_on = presence.available || presence.new_nick.is_some();
                    self.inside.insert(user.clone(), goes_on);
                    if !goes_on {
                        self.seen.remove(&user);
                    }
                    return;
                }
                let seen = self.seen.entry(user).or_default();
                if presence.available {
                    seen.insert(nick);
                } else {
                    assert!(seen.remove(&nick), "{nick} was not there");
                }
            }
            XmppOut::Muc(MucOut::Subject { .. }) | XmppOut::PresenceError { .. } => {}
            XmppOut::Muc(MucOut::Private { reference, .. }) => self.stanzas.push(reference),
            XmppOut::Message { reference, im, .. } => {
                self.stanzas.push(reference);
                if let Some(count) = im.id.and_then(|id| self.said.get_mut(&id)) {
                    *count += 1;
                }
            }
            XmppOut::MessageError { id, .. } => *self.said.get_mut(&id.unwrap()).unwrap() += 1,
            other => panic!("{other:?}"),
        }
    }

    fn roster(&self, full: bool, left: Option<u8>) -> Roster {
        let person =
            |(number, nick): (&u8, &String)| person(&format!("u{number}@sip.example"), nick);
        Roster {
            full,
            present: self.others.iter().map(person).collect(),
            left: left
                .map(|number| sip(&format!("u{number}@sip.example")))
                .into_iter()
                .collect(),
        }
    }

    /// Tells every leg that knows the roster already.
    fn spread(&mut self, world: &mut World, left: Option<u8>) {
        let legs: Vec<Ref> = self
            .seats
            .iter()
            .filter(|(_, seat)| seat.told)
            .map(|(leg, _)| *leg)
            .collect();
        for leg in legs {
            let roster = self.roster(false, left);
            self.tell(world, leg, ConferenceEvent::Roster(roster));
        }
    }

    fn tell(&mut self, world: &mut World, leg: Ref, event: ConferenceEvent) {
        world
            .bridge
            .handle(Input::Sip(SipIn::Conference { leg, event }), world.now);
        self.collect(world);
    }

    fn outcome(&mut self, world: &mut World, pick: usize, outcome: Result<(), Failure>) {
        if let Some((leg, reference)) = take(&mut self.sends, pick) {
            if !self.seats.contains_key(&leg) || self.seats[&leg].leaving {
                self.forgiven.insert(self.by_ref[&reference].clone());
            }
            self.tell(world, leg, ConferenceEvent::Outcome { reference, outcome });
        }
    }

    fn end(&mut self, world: &mut World, leg: Ref, end: End) {
        self.seats.remove(&leg);
        self.tell(world, leg, ConferenceEvent::Ended(end));
    }

    fn play(&mut self, world: &mut World, event: u8, pick: usize) {
        let user = USERS[pick % USERS.len()];
        let here = format!("{CONFERENCE}/{}", ["J", "K"][pick / 3 % 2]);
        self.next += 1;
        let leg = self
            .seats
            .keys()
            .nth(pick % self.seats.len().max(1))
            .copied();
        let number = u8::try_from(pick % 5).unwrap();
        match event {
            0 => self.input(
                world,
                Input::Xmpp(XmppIn::Muc(MucIn::Join {
                    from: jid(user),
                    to: jid(&here),
                    id: None,
                })),
            ),
            1 => self.input(world, presence(user, &here, false)),
            2 => {
                if world
                    .bridge
                    .in_conference(&jid(user), &jid(CONFERENCE))
                    .is_some()
                {
                    self.input(world, presence(user, &here, true));
                }
            }
            3 => {
                let id = format!("m{}", self.next);
                self.said.insert(id.clone(), 0);
                self.input(
                    world,
                    message(user, CONFERENCE, im(ImKind::Groupchat, &id, "x")),
                );
            }
            4 => self.advance(world, leg),
            5 => {
                self.others
                    .insert(number, ["Ben", "Tom", "J"][pick % 3].to_owned());
                self.spread(world, None);
            }
            6 => {
                self.others.remove(&number);
                self.spread(world, Some(number));
            }
            7 => {
                if let Some(leg) = leg.filter(|leg| self.seats[leg].joined) {
                    let reference = Ref(1_000_000 + self.next);
                    self.unanswered.insert(reference);
                    let said = ConferenceEvent::Message {
                        reference,
                        from: sip(&format!("u{number}@sip.example")),
                        private: pick.is_multiple_of(2),
                        im: im(ImKind::Normal, "", "x"),
                    };
                    self.tell(world, leg, said);
                }
            }
            8 => self.outcome(world, pick, Ok(())),
            9 => self.outcome(world, pick, Err(code(403))),
            10 => {
                if let Some(leg) = leg {
                    let ends = [
                        End::Over { reason: None },
                        End::Lost(lost()),
                        End::NickTaken,
                    ];
                    let end = if self.seats[&leg].leaving {
                        End::Left
                    } else {
                        ends[pick % 3].clone()
                    };
                    self.end(world, leg, end);
                }
            }
            11 | 12 => {
                if let Some(reference) = take(&mut self.stanzas, pick) {
                    let outcome = if event == 11 || !pick.is_multiple_of(4) {
                        Ok(())
                    } else {
                        Err(lost())
                    };
                    self.input(world, Input::Xmpp(XmppIn::Settled { reference, outcome }));
                }
            }
            _ => {
                world.now = world.now.after(Duration::from_secs(9));
                world.bridge.handle_timeout(world.now);
                self.collect(world);
            }
        }
    }

    /// The next thing that an adapter does for a leg by itself.
    fn advance(&mut self, world: &mut World, leg: Option<Ref>) {
        let Some((leg, seat)) = leg.and_then(|leg| Some((leg, self.seats.get_mut(&leg)?))) else {
            return;
        };
        let event = if seat.leaving {
            self.seats.remove(&leg);
            ConferenceEvent::Ended(End::Left)
        } else if !seat.joined {
            seat.joined = true;
            ConferenceEvent::Joined {
                nick: seat.nick.clone(),
                private_messages: true,
            }
        } else if !seat.told {
            seat.told = true;
            ConferenceEvent::Roster(self.roster(true, None))
        } else if let Some(nick) = seat.renaming.take() {
            ConferenceEvent::Nick(Ok(nick))
        } else {
            return;
        };
        self.tell(world, leg, event);
    }

    fn input(&mut self, world: &mut World, input: Input) {
        world.bridge.handle(input, world.now);
        self.collect(world);
    }

    fn quiesce(&mut self, world: &mut World) {
        for _ in 0..4 {
            for leg in self.seats.keys().copied().collect::<Vec<_>>() {
                self.advance(world, Some(leg));
            }
            while !self.sends.is_empty() {
                self.outcome(world, 0, Ok(()));
            }
            while let Some(reference) = take(&mut self.stanzas, 0) {
                let outcome = Ok(());
                self.input(world, Input::Xmpp(XmppIn::Settled { reference, outcome }));
            }
        }
    }

    fn check(&self) {
        assert!(
            self.unanswered.is_empty(),
            "no answer: {:?}",
            self.unanswered
        );
        for (id, count) in &self.said {
            let forgiven = self.forgiven.contains(id) && *count == 0;
            assert!(*count == 1 || forgiven, "{id} has {count} outcomes");
        }
        for user in USERS {
            let is_in = self
                .seats
                .values()
                .any(|seat| seat.user == user && seat.told && !seat.leaving);
            let sees = self.inside.get(user).copied().unwrap_or_default();
            assert_eq!(sees, is_in, "{user}");
            if is_in {
                let seen = self.seen.get(user).map_or(0, BTreeSet::len);
                assert_eq!(seen, self.others.len(), "{user}");
            }
        }
    }
}

// ------------------------------------------------------------------------- SIP users in XMPP rooms

const ROOM: &str = "capulet@rooms.xmpp.example";

/// A room of an XMPP server, and the stanzas on their way to it and from it, in order.
#[derive(Default)]
struct Room {
    occupants: BTreeMap<String, Jid>,
    to_room: VecDeque<XmppOut>,
    from_room: VecDeque<Input>,
    closed: BTreeSet<String>,
}

impl Room {
    fn presence(&mut self, of: &str, to: &Jid, presence: OccupantPresence) {
        let from = jid(ROOM).with_resource(of);
        let to = to.clone();
        let input = XmppIn::Muc(MucIn::Occupant { from, to, presence });
        self.from_room.push_back(Input::Xmpp(input));
    }

    /// Tells everybody of one of them; the one himself with status 110.
    fn spread(&mut self, nick: &str, of: &Jid, presence: &OccupantPresence) {
        let mut to: Vec<Jid> = self.occupants.values().cloned().collect();
        if !to.contains(of) {
            to.push(of.clone());
        }
        for to in to.iter().filter(|to| to.domain == "sip.example") {
            let mut presence = presence.clone();
            if to == of {
                presence.statuses.insert(0, 110);
            }
            self.presence(nick, to, presence);
        }
    }

    fn nick_of(&self, jid: &Jid) -> Option<String> {
        let mut all = self.occupants.iter();
        all.find(|(_, who)| *who == jid)
            .map(|(nick, _)| nick.clone())
    }

    fn enter(&mut self, jid_: &Jid, nick: &str) {
        let taken = self.occupants.get(nick).is_some_and(|who| who != jid_);
        if taken || self.closed.contains(nick) {
            let condition = if taken {
                Condition::Conflict
            } else {
                Condition::Forbidden
            };
            return self.from_room.push_back(Input::Xmpp(XmppIn::PresenceError {
                from: jid(ROOM).with_resource(nick),
                to: jid_.clone(),
                error: StanzaError::new(condition),
            }));
        }
        let here = OccupantPresence {
            available: true,
            role: Role::Participant,
            ..OccupantPresence::default()
        };
        if let Some(old) = self.nick_of(jid_) {
            if old != nick {
                let gone = OccupantPresence {
                    new_nick: Some(nick.to_owned()),
                    statuses: vec![303],
                    ..OccupantPresence::default()
                };
                self.spread(&old, jid_, &gone);
                self.occupants.remove(&old);
                self.occupants.insert(nick.to_owned(), jid_.clone());
                self.spread(nick, jid_, &here);
            }
            return;
        }
        if jid_.domain == "sip.example" {
            for other in self.occupants.keys().cloned().collect::<Vec<_>>() {
                self.presence(&other, jid_, here.clone());
            }
        }
        self.occupants.insert(nick.to_owned(), jid_.clone());
        self.spread(nick, jid_, &here);
    }

    fn leave(&mut self, jid_: &Jid, statuses: &[u16]) {
        if let Some(nick) = self.nick_of(jid_) {
            let gone = OccupantPresence {
                statuses: statuses.to_vec(),
                role: Role::None,
                ..OccupantPresence::default()
            };
            self.spread(&nick, jid_, &gone);
            self.occupants.remove(&nick);
        }
    }

    fn groupchat(&mut self, from: &Jid, im: &Im, refuse: bool) {
        let Some(nick) = self.nick_of(from).filter(|_| !refuse) else {
            return self.from_room.push_back(Input::Xmpp(XmppIn::MessageError {
                from: jid(ROOM),
                to: from.clone(),
                id: im.id.clone(),
                error: StanzaError::new(Condition::Forbidden),
            }));
        };
        for to in self
            .occupants
            .values()
            .filter(|to| to.domain == "sip.example")
        {
            let from = jid(ROOM).with_resource(&nick);
            let (to, im) = (to.clone(), im.clone());
            let input = Input::Xmpp(XmppIn::Message { from, to, im });
            self.from_room.push_back(input);
        }
    }

    /// Takes the next stanza of ours; says how it is settled.
    fn receive(&mut self, pick: usize) -> Option<Input> {
        let out = self.to_room.pop_front()?;
        let settled = |reference| {
            let outcome = Ok(());
            Some(Input::Xmpp(XmppIn::Settled { reference, outcome }))
        };
        match out {
            XmppOut::Muc(MucOut::Join {
                reference,
                from,
                to,
                ..
            }) => {
                if pick % 11 == 3 {
                    let outcome = Err(lost());
                    return Some(Input::Xmpp(XmppIn::Settled { reference, outcome }));
                }
                self.enter(&from, &to.resource.unwrap());
                settled(reference)
            }
            XmppOut::Presence { from, to, kind, .. } => {
                if matches!(kind, PresenceKind::Available(_)) {
                    if self.nick_of(&from).is_some() {
                        self.enter(&from, &to.resource.unwrap());
                    }
                } else {
                    self.leave(&from, &[]);
                }
                None
            }
            XmppOut::Message {
                reference,
                from,
                im,
                ..
            } => {
                self.groupchat(&from, &im, pick % 7 == 3);
                settled(reference)
            }
            XmppOut::Muc(MucOut::Ping { reference, .. }) => settled(reference),
            XmppOut::MessageError { .. } => None,
            other => panic!("{other:?}"),
        }
    }
}

/// The SIP adapter with its legs.
#[derive(Default)]
struct Focus {
    room: Room,
    /// INVITEs without an answer.
    asking: BTreeSet<Ref>,
    /// Accepted, with the roster that each sees.
    inside: BTreeMap<Ref, BTreeSet<String>>,
    renaming: BTreeSet<Ref>,
    unanswered: BTreeMap<Ref, Ref>,
    undelivered: Vec<(Ref, Ref)>,
    next: u64,
}

impl Focus {
    fn collect(&mut self, world: &mut World) {
        for command in world.drain() {
            match command {
                Command::Xmpp(out) => self.room.to_room.push_back(out),
                Command::Sip(SipOut::Focus(out)) => self.adapter(out),
                other => panic!("{other:?}"),
            }
        }
    }

    fn adapter(&mut self, out: FocusOut) {
        match out {
            FocusOut::Accept { leg, .. } => {
                assert!(self.asking.remove(&leg));
                self.inside.insert(leg, BTreeSet::new());
            }
            FocusOut::Roster { leg, roster } => {
                let seen = self.inside.get_mut(&leg).unwrap();
                for address in &roster.left {
                    let nick = crate::address::sip_to_jid(address)
                        .unwrap()
                        .resource
                        .unwrap();
                    assert!(seen.remove(&nick));
                }
                if roster.full {
                    seen.clear();
                }
                seen.extend(roster.present.into_iter().filter_map(|who| who.nick));
            }
            FocusOut::Message { reference, leg, .. } => {
                assert!(self.inside.contains_key(&leg));
                self.undelivered.push((leg, reference));
            }
            FocusOut::Answer { reference, .. } => {
                assert!(self.unanswered.remove(&reference).is_some());
            }
            FocusOut::NickAnswer { leg, .. } => assert!(self.renaming.remove(&leg)),
            FocusOut::End { leg, .. } => {
                let was_there = self.asking.remove(&leg) || self.inside.remove(&leg).is_some();
                assert!(was_there);
                assert!(!self.renaming.contains(&leg));
                assert!(!self.unanswered.values().any(|of| *of == leg));
            }
            FocusOut::Subject { .. } => {}
        }
    }

    fn event(&mut self, world: &mut World, leg: Ref, event: FocusEvent) {
        self.input(world, Input::Sip(SipIn::Focus { leg, event }));
    }

    fn input(&mut self, world: &mut World, input: Input) {
        world.bridge.handle(input, world.now);
        self.collect(world);
    }

    fn play(&mut self, world: &mut World, event: u8, pick: usize) {
        self.next += 1;
        let fresh = Ref(1_000_000 + self.next);
        let inside = self
            .inside
            .keys()
            .nth(pick % self.inside.len().max(1))
            .copied();
        let nick = ["Romeo", "Ben", "Tom"][pick % 3];
        match event {
            0 => {
                self.asking.insert(fresh);
                let asked = FocusEvent::Asked {
                    user: sip(["romeo@sip.example", "ben@sip.example"][pick % 2]),
                    room: sip(ROOM),
                    nick: pick.is_multiple_of(3).then(|| nick.to_owned()),
                    name: Some(nick.to_owned()),
                };
                self.event(world, fresh, asked);
            }
            1 => {
                if let Some(leg) = inside {
                    self.unanswered.insert(fresh, leg);
                    let said = FocusEvent::Message {
                        reference: fresh,
                        to: None,
                        im: im(ImKind::Normal, "", &format!("x{pick}")),
                    };
                    self.event(world, leg, said);
                }
            }
            2 => {
                if let Some(leg) = inside.filter(|leg| !self.renaming.contains(leg)) {
                    self.renaming.insert(leg);
                    let nick = nick.to_owned();
                    self.event(world, leg, FocusEvent::Nick { nick });
                }
            }
            3 => {
                let leg = if pick.is_multiple_of(3) {
                    self.asking.first().copied()
                } else {
                    inside
                };
                if let Some(leg) = leg {
                    self.left(world, leg);
                }
            }
            4..=6 => self.room_takes(world, pick),
            7..=9 => self.room_tells(world),
            10 => {
                if let Some((leg, reference)) = take(&mut self.undelivered, pick) {
                    let outcome = Ok(());
                    self.event(world, leg, FocusEvent::Outcome { reference, outcome });
                }
            }
            11 => {
                let other = jid(["ann@xmpp.example/x", "bea@xmpp.example/x"][pick % 2]);
                match pick % 3 {
                    0 => self.room.leave(&other, &[]),
                    _ => self.room.enter(&other, ["Tom", "Ann", "romeo"][pick % 3]),
                }
            }
            12 => {
                let guests = self.room.occupants.values();
                let victim = guests
                    .filter(|who| who.domain == "sip.example")
                    .nth(pick % 3);
                if let Some(victim) = victim.cloned() {
                    self.room.leave(&victim, &[307]);
                }
            }
            _ => {
                world.now = world.now.after(Duration::from_secs(7));
                world.bridge.handle_timeout(world.now);
                self.collect(world);
            }
        }
    }

    fn left(&mut self, world: &mut World, leg: Ref) {
        self.asking.remove(&leg);
        self.inside.remove(&leg);
        self.renaming.remove(&leg);
        self.event(world, leg, FocusEvent::Left);
        assert!(!self.unanswered.values().any(|of| *of == leg));
    }

    fn room_takes(&mut self, world: &mut World, pick: usize) {
        if let Some(settled) = self.room.receive(pick) {
            self.input(world, settled);
        }
    }

    fn room_tells(&mut self, world: &mut World) {
        if let Some(input) = self.room.from_room.pop_front() {
            self.input(world, input);
        }
    }

    fn quiesce(&mut self, world: &mut World) {
        for _ in 0..10_000 {
            if self.room.to_room.is_empty() && self.room.from_room.is_empty() {
                break;
            }
            self.room_takes(world, 0);
            self.room_tells(world);
        }
        for (leg, reference) in std::mem::take(&mut self.undelivered) {
            let outcome = Ok(());
            self.event(world, leg, FocusEvent::Outcome { reference, outcome });
        }
    }

    fn check(&self) {
        assert!(self.unanswered.is_empty(), "{:?}", self.unanswered);
        assert!(self.asking.is_empty() && self.renaming.is_empty());
        let here: BTreeSet<String> = self.room.occupants.keys().cloned().collect();
        for (leg, seen) in &self.inside {
            assert_eq!(*seen, here, "{leg:?}");
        }
        let guests = self.room.occupants.values();
        let ours = guests.filter(|who| who.domain == "sip.example").count();
        assert_eq!(ours, self.inside.len(), "ghosts");
    }
}

/// What happens, and to whom: numbers below 14 and 1000.
type Events = Vec<(u8, usize)>;

pub(crate) fn conferences(events: Events) {
    let mut world = World::new();
    let mut conference = Conference::default();
    for (event, pick) in events {
        conference.play(&mut world, event, pick);
    }
    conference.quiesce(&mut world);
    conference.check();
    for _ in 0..2 {
        for leg in conference.seats.keys().copied().collect::<Vec<_>>() {
            conference.end(&mut world, leg, End::Over { reason: None });
        }
        conference.quiesce(&mut world);
    }
    conference.check();
    world.is_empty();
}

pub(crate) fn rooms(events: Events) {
    let mut world = World::new();
    let mut focus = Focus::default();
    for (event, pick) in events {
        focus.play(&mut world, event, pick);
    }
    focus.quiesce(&mut world);
    focus.check();
    for leg in focus.inside.keys().copied().collect::<Vec<_>>() {
        focus.left(&mut world, leg);
    }
    focus.quiesce(&mut world);
    focus.check();
    world.is_empty();
}

/// As the fuzz target has it: the first octet chooses the kind of room, then three are an event.
pub(crate) fn script(octets: &[u8]) {
    let Some((kind, octets)) = octets.split_first() else {
        return;
    };
    let event = |event: &[u8]| {
        let pick = u16::from_be_bytes([event[1], event[2]]);
        (event[0] % 14, usize::from(pick) % 1000)
    };
    let events = octets.chunks_exact(3).take(200).map(event).collect();
    if kind % 2 == 0 {
        conferences(events);
    } else {
        rooms(events);
    }
}

#[test]
fn rooms_over_the_corpus() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/rooms");
    let paths = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let scripts: Vec<Vec<u8>> = paths.map(|path| std::fs::read(path).unwrap()).collect();
    assert!(scripts.len() >= 4);
    scripts.iter().for_each(|octets| script(octets));
}

#[cfg(test)]
proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn conferences_in_any_order(events in prop::collection::vec((0_u8..14, 0_usize..1000), 0..150)) {
        conferences(events);
    }

    #[test]
    fn rooms_in_any_order(events in prop::collection::vec((0_u8..14, 0_usize..1000), 0..150)) {
        rooms(events);
    }
}
