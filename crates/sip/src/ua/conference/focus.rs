//! SIP users in XMPP rooms: the focus of RFC 4579 and the switch of RFC 7701, one leg for each user (RFC 7702 §6).

mod ending;
mod setup;
mod traffic;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use stox_core::address::SipAddress;
use stox_core::failure::Failure;
use stox_core::vocab::{FocusEvent, FocusOut, Ref, Roster, SipIn, Text};

use super::referral::Referral;
use super::watchers::{Room, Watchers};
use super::{LegId, Step, Timer, Timers};
use crate::adapt;
use crate::adapt::im::Accepted;
use crate::message::Request;
use crate::msrp::endpoint::{Channel, DeliveryId, Message, Status};
use crate::transaction::ServerId;
use crate::transport::{FlowId, Source};
use crate::ua::effects::{Asked, Env, Fate};
use crate::ua::refusals::Refusal;
use crate::ua::session::Pair;
use crate::ua::session::medium::Medium;

/// Legs of one user at most, in all rooms.
const MOST_OF_ONE: usize = 64;

/// How far a leg has come.
#[derive(Debug)]
enum Stage {
    /// The INVITE waits for the room.
    Asking(ServerId, Box<Request>),
    /// It is accepted, and the answer not acknowledged.
    Accepted,
    /// He is in.
    Open,
    /// Nothing of it is told any more; what is under way gets its answer.
    Over,
}

#[derive(Debug)]
struct Leg {
    /// What the bridge calls it, while it is not over.
    reference: Ref,
    user: SipAddress,
    room: Room,
    stage: Stage,
    /// The peer's own connection.
    over: Option<Source>,
    source: Source,
    medium: Medium,
    description: String,
    /// What the user takes as it is.
    accepted: Accepted,
    /// He takes messages to himself.
    private: bool,
    /// Messages for him until the MSRP connection stands.
    waiting: VecDeque<Message>,
    /// Messages that wait or are under way, by Message-ID.
    sent: BTreeMap<String, Ref>,
    /// A nickname that the room has not answered.
    naming: Option<DeliveryId>,
    /// Messages and referrals that it has not.
    owed: BTreeMap<Ref, Owed>,
    /// The transaction of his INVITE.
    server: ServerId,
    /// Our BYE has no final answer.
    leaving: bool,
}

impl Leg {
    fn domain(&self) -> &str {
        &self.user.host
    }

    fn channel(&self) -> Option<Channel> {
        self.medium.line()?.channel
    }

    fn is_over(&self) -> bool {
        matches!(self.stage, Stage::Over)
    }

    fn is_in(&self) -> bool {
        matches!(self.stage, Stage::Accepted | Stage::Open)
    }

    fn tell(&self, event: FocusEvent, env: &mut Env<'_>) {
        env.tell(SipIn::Focus {
            leg: self.reference,
            event,
        });
    }
}

/// What a room owes an answer.
#[derive(Debug)]
enum Owed {
    /// A message.
    Delivery(DeliveryId),
    /// A REFER.
    Referral(Box<Referral>),
}

/// All SIP users in XMPP rooms.
#[derive(Debug, Default)]
pub(in crate::ua) struct Foci {
    legs: BTreeMap<LegId, Leg>,
    by_ref: BTreeMap<Ref, LegId>,
    by_dialog: BTreeMap<(String, String), LegId>,
    /// User and room, with the newest leg last.
    by_pair: BTreeMap<Pair, Vec<LegId>>,
    by_server: BTreeMap<ServerId, LegId>,
    /// REFERs, by transaction.
    by_referral: BTreeMap<ServerId, Ref>,
    by_channel: BTreeMap<Channel, LegId>,
    /// Messages and referrals that the bridge has not answered, and whose they are.
    by_owed: BTreeMap<Ref, LegId>,
    by_delivery: BTreeMap<DeliveryId, (LegId, Option<Ref>)>,
    watchers: Watchers,
    timers: Timers,
    last: u64,
    stopping: bool,
}

impl Foci {
    /// The SIP domains of all of them.
    pub(in crate::ua) fn domains(&self) -> impl Iterator<Item = &str> {
        self.legs.values().map(Leg::domain)
    }

    pub(in crate::ua) fn len(&self) -> usize {
        self.legs.len()
    }

    /// How many subscriptions to rooms there are.
    pub(in crate::ua) fn watching(&self) -> usize {
        self.watchers.len()
    }

    /// How many messages and referrals the bridge has not answered.
    pub(in crate::ua) fn unanswered(&self) -> usize {
        self.by_owed.len()
    }

    pub(in crate::ua) fn is_empty(&self) -> bool {
        self.legs.is_empty()
            && self.by_ref.is_empty()
            && self.by_dialog.is_empty()
            && self.by_pair.is_empty()
            && self.by_server.is_empty()
            && self.by_referral.is_empty()
            && self.by_channel.is_empty()
            && self.by_owed.is_empty()
            && self.by_delivery.is_empty()
            && self.watchers.len() == 0
    }

    fn next_id(&mut self) -> LegId {
        self.last += 1;
        LegId(self.last)
    }

    /// What the bridge wants.
    pub(in crate::ua) fn command(&mut self, out: FocusOut, env: &mut Env<'_>) {
        match out {
            FocusOut::Accept { leg, .. } => self.accept(leg, env),
            FocusOut::Roster { leg, roster } => self.roster(leg, roster, env),
            FocusOut::Subject { leg, subject } => self.subject(leg, subject, env),
            FocusOut::Message {
                reference,
                leg,
                from,
                private,
                im,
            } => self.send(reference, leg, (&from, private, &im), env),
            FocusOut::Answer { reference, outcome } => {
                _ = self.answer(reference, &outcome, env);
            }
            FocusOut::NickAnswer { leg, outcome } => self.named(leg, &outcome, env),
            FocusOut::End { leg, end } => self.end(leg, &end, env),
        }
    }

    /// The dialog of a leg, or of a subscription.
    pub(in crate::ua) fn find(&self, call_id: &str, local_tag: &str) -> Option<LegId> {
        let key = (call_id.to_owned(), local_tag.to_owned());
        let leg = self.by_dialog.get(&key).copied();
        leg.or_else(|| self.watchers.find(call_id, local_tag))
    }

    /// The SIP domain of an MSRP session.
    pub(in crate::ua) fn domain_of(&self, channel: Channel) -> Option<&str> {
        let id = self.by_channel.get(&channel)?;
        self.legs.get(id).map(Leg::domain)
    }

    /// The newest leg of a user in a room.
    fn of_pair(&self, user: &SipAddress, room: &SipAddress) -> Option<LegId> {
        let ids = self.by_pair.get(&(key(user), key(room)))?;
        ids.last().copied()
    }

    /// The newest leg of a user in a room that is named by our `Contact`, which has our own host (RFC 4579 §5.1).
    fn of_contact(&self, user: &SipAddress, contact: &SipAddress) -> Option<LegId> {
        let (user, name) = (key(user), key(contact).user);
        let named =
            |((theirs, room), _): &(&Pair, &Vec<LegId>)| *theirs == user && room.user == name;
        let legs = self.by_pair.iter().filter(named);
        legs.filter_map(|(_, ids)| ids.last()).max().copied()
    }

    /// Who is there, or has changed.
    fn roster(&mut self, leg: Ref, roster: Roster, env: &mut Env<'_>) {
        let Some((id, leg)) = self.leg_of(leg) else {
            return;
        };
        let first = !std::mem::replace(&mut leg.room.known, true);
        let full = roster.full;
        let touched = leg.room.present.apply(roster);
        if let Some(leg) = self.legs.get_mut(&id) {
            let (room, timers) = (&mut leg.room, &mut self.timers);
            match first || full {
                true => self.watchers.tell_all(id, room, timers, env),
                false => self.watchers.tell(id, (&touched, false), room, timers, env),
            }
        }
    }

    /// What the room is about.
    fn subject(&mut self, leg: Ref, subject: Option<Text>, env: &mut Env<'_>) {
        let Some((id, leg)) = self.leg_of(leg) else {
            return;
        };
        leg.room.subject = subject;
        if let Some(leg) = self.legs.get_mut(&id) {
            let nobody = Default::default();
            let room = &mut leg.room;
            self.watchers
                .tell(id, (&nobody, true), room, &mut self.timers, env);
        }
    }

    /// A leg that is not over.
    fn leg_of(&mut self, reference: Ref) -> Option<(LegId, &mut Leg)> {
        let id = *self.by_ref.get(&reference)?;
        Some((id, self.legs.get_mut(&id)?))
    }

    /// A SUBSCRIBE to a room outside a dialog: for those only who are in it (RFC 4575 §3.5).
    pub(in crate::ua) fn subscribed(
        &mut self,
        asked: &Asked,
        (from, to): (&SipAddress, &SipAddress),
        env: &mut Env<'_>,
    ) {
        let id = self.next_id();
        let leg = match env.settings.local.is_us(&to.host) {
            true => self.of_contact(from, to),
            false => self.of_pair(from, to),
        };
        let Some(leg) = leg else {
            return env.refuse(asked, &Refusal::NotInRoom);
        };
        let found = self.legs.get_mut(&leg).filter(|leg| !leg.is_over());
        match found {
            Some(found) => {
                let place = (&mut found.room, from.host.as_str());
                self.watchers
                    .arrived((id, leg), asked, place, &mut self.timers, env);
            }
            None => env.refuse(asked, &Refusal::NotInRoom),
        }
    }

    /// The bridge's answer to a message or to a REFER. `false`: the reference is of something else.
    pub(in crate::ua) fn answer(
        &mut self,
        reference: Ref,
        outcome: &Result<(), Failure>,
        env: &mut Env<'_>,
    ) -> bool {
        let Some((id, owed)) = self.take_owed(reference) else {
            return false;
        };
        match owed {
            Owed::Delivery(delivery) => {
                let status = match outcome {
                    Ok(()) => Status::ok(),
                    Err(failure) => adapt::failure::to_room_status(failure),
                };
                env.msrp.answer(delivery, status, env.now);
            }
            Owed::Referral(referral) => {
                let dialog = self.legs.get_mut(&id).map(|leg| &mut leg.room.dialog);
                referral.answer(dialog, outcome, env);
            }
        }
        true
    }

    /// Something that is not owed any more.
    fn take_owed(&mut self, reference: Ref) -> Option<(LegId, Owed)> {
        let id = self.by_owed.remove(&reference)?;
        let owed = self.legs.get_mut(&id)?.owed.remove(&reference)?;
        match &owed {
            Owed::Delivery(delivery) => _ = self.by_delivery.remove(delivery),
            Owed::Referral(referral) => {
                let server = referral.server();
                server.and_then(|server| self.by_referral.remove(&server));
            }
        }
        Some((id, owed))
    }

    /// Something that is owed from now on.
    fn owe(&mut self, id: LegId, reference: Ref, owed: Owed) {
        match &owed {
            Owed::Delivery(delivery) => {
                self.by_delivery.insert(*delivery, (id, Some(reference)));
            }
            Owed::Referral(referral) => {
                if let Some(server) = referral.server() {
                    self.by_referral.insert(server, reference);
                }
            }
        }
        if let Some(leg) = self.legs.get_mut(&id) {
            leg.owed.insert(reference, owed);
            self.by_owed.insert(reference, id);
        }
    }

    /// The fate of a request of ours.
    pub(in crate::ua) fn settled(&mut self, id: LegId, step: Step, fate: &Fate, env: &mut Env<'_>) {
        if step == Step::Notify {
            let leg = self.watchers.leg(id);
            let room = leg.and_then(|leg| self.legs.get_mut(&leg));
            let room = room.map(|leg| &mut leg.room);
            self.watchers.settled(id, fate, room, &mut self.timers, env);
            if let Some(leg) = leg {
                self.sweep(leg);
            }
            return;
        }
        if let Some(leg) = self.legs.get_mut(&id)
            && step == Step::Bye
        {
            leg.leaving = false;
        }
        self.sweep(id);
    }

    /// Takes the next CSeq for a request that is sent again with credentials.
    pub(in crate::ua) fn next_cseq(&mut self, id: LegId, step: Step) -> Option<u32> {
        if step == Step::Notify {
            return self.watchers.next_cseq(id);
        }
        self.legs
            .get_mut(&id)
            .map(|leg| leg.room.dialog.next_cseq())
    }

    /// A connection is gone.
    pub(in crate::ua) fn connection_closed(&mut self, flow: FlowId) {
        self.watchers.connection_closed(flow);
        for leg in self.legs.values_mut() {
            if leg.over.as_ref().is_some_and(|over| over.flow == flow) {
                leg.over = None;
            }
        }
    }

    /// The next timer.
    pub(in crate::ua) fn next_timeout(&self) -> Option<Duration> {
        self.timers.next()
    }

    /// Runs the timers that are due.
    pub(in crate::ua) fn handle_timeout(&mut self, env: &mut Env<'_>) {
        while let Some((id, timer)) = self.timers.pop_due(env.now.mono) {
            if timer == Timer::Link {
                self.lost(id, env);
                self.sweep(id);
                continue;
            }
            let leg = self.watchers.leg(id);
            let room = leg.and_then(|leg| self.legs.get_mut(&leg));
            let room = room.map(|leg| &mut leg.room);
            self.watchers
                .timed_out((id, timer), room, &mut self.timers, env);
            if let Some(leg) = leg {
                self.sweep(leg);
            }
        }
    }

    /// Forgets a leg that is over and of which nothing is under way.
    fn sweep(&mut self, id: LegId) {
        let done = |leg: &Leg| leg.is_over() && !leg.leaving;
        if !self.legs.get(&id).is_some_and(done) || self.watchers.has(id) {
            return;
        }
        if let Some(leg) = self.legs.remove(&id) {
            let dialog = &leg.room.dialog;
            let key = (dialog.call_id().to_owned(), dialog.local_tag().to_owned());
            self.by_dialog.remove(&key);
        }
        self.timers.clear((id, Timer::Link));
    }
}

/// The one spelling of a user or a room.
fn key(address: &SipAddress) -> SipAddress {
    address.bare().canonical()
}
