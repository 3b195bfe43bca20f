//! SIP users in XMPP rooms (RFC 7702 §6): one leg for each user and room.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::address::{Jid, SipAddress, sip_to_jid};
use crate::bridge::context::{Context, Timer as BridgeTimer};
use crate::failure::{Failure, Local, to_stanza};
use crate::time::Now;
use crate::vocab::{
    About, End, FocusEvent, FocusOut, Im, MucOut, NickRefusal, PresenceKind, Ref, ResourcePresence,
    Role, Text, Trace, Way, XmppOut,
};

use super::people::nick_of;
use super::{Timer, nick};

mod rooms;
mod stanzas;

/// The resources of SIP users in rooms begin with this.
const RESOURCE: &str = "room-";
/// Nicknames tried for somebody who did not name one.
const NICK_TRIES: u32 = 9;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The room has not shown him to himself yet.
    Joining,
    Present,
}

struct Leg {
    /// He, with the leg's own resource.
    jid: Jid,
    /// Canonical.
    room: Jid,
    room_sip: SipAddress,
    /// Of [`Leg::jid`], canonical, for the count.
    user: Jid,
    stage: Stage,
    nick: String,
    /// The nickname without the number behind it.
    base: String,
    /// He asked for this very nickname.
    wanted: bool,
    attempt: u32,
    deadline: Option<Duration>,
    /// Who is there, himself too, by nickname.
    occupants: BTreeMap<String, Role>,
    subject: Option<Text>,
    change: Option<Change>,
    /// His messages without an outcome, by stanza id.
    by_id: BTreeMap<String, Ref>,
    /// Entering, or the question whether he is still there.
    question: Option<Ref>,
    /// Messages to him without an outcome.
    undelivered: usize,
    heard: Duration,
    check_at: Option<Duration>,
}

/// A nickname that the room has been asked for.
struct Change {
    nick: String,
    deadline: Duration,
}

impl Change {
    /// Whether an error from this address is about it.
    fn is_meant(&self, from: &Jid) -> bool {
        from.resource.as_ref().is_none_or(|nick| *nick == self.nick)
    }
}

/// A message or an invitation of a SIP user's that he has no answer to.
struct Outgoing {
    leg: Ref,
    /// As the SIP adapter calls it.
    reference: Ref,
    id: String,
    deadline: Duration,
    /// The room does not repeat it: it is to one occupant, or an invitation.
    private: bool,
    text: Option<String>,
    /// For the ledger, where it is a message: room and user.
    parties: (Jid, Jid),
    about: Option<About>,
}

/// A message to a SIP user whose fate is open.
struct Undelivered {
    leg: Ref,
    /// Whom to tell when it fails: from, to and id of the error. Only for private ones.
    report: Option<(Jid, Jid, Option<String>)>,
}

/// All SIP users in rooms.
#[derive(Default)]
pub(crate) struct Guests {
    legs: BTreeMap<Ref, Leg>,
    by_jid: BTreeMap<Jid, Ref>,
    per_user: BTreeMap<Jid, usize>,
    /// Questions to a room: entering, or whether he is still there.
    questions: BTreeMap<Ref, Ref>,
    outgoing: BTreeMap<Ref, Outgoing>,
    undelivered: BTreeMap<Ref, Undelivered>,
    /// In all legs together.
    occupants: usize,
}

impl Guests {
    pub(super) fn leg_count(&self) -> usize {
        self.legs.len()
    }

    pub(super) fn pending_count(&self) -> usize {
        self.outgoing.len() + self.undelivered.len()
    }

    /// The leg that a stanza of a room is for. A leg listens to its own room only.
    fn find(&self, from: &Jid, to: &Jid) -> Option<Ref> {
        if self.by_jid.is_empty() || to.resource.is_none() {
            return None;
        }
        let leg = *self.by_jid.get(&to.match_key())?;
        let entry = self.legs.get(&leg)?;
        entry.is_room(from).then_some(leg)
    }

    // -------------------------------------------------------------------------------------- from SIP

    /// What a SIP user does.
    pub(super) fn event(&mut self, cx: &mut Context, leg: Ref, event: FocusEvent, now: Now) {
        match event {
            FocusEvent::Asked {
                user,
                room,
                nick,
                name,
            } => self.asked(
                cx,
                leg,
                (&user, &room),
                (nick.as_deref(), name.as_deref()),
                now,
            ),
            FocusEvent::Nick { nick } => self.nick(cx, leg, &nick, now),
            FocusEvent::Message { reference, to, im } => {
                if let Err(local) = self.message(cx, leg, reference, to.as_ref(), im, now) {
                    answer(cx, reference, Err(Failure::Local(local)));
                }
            }
            FocusEvent::Invite {
                reference,
                invitee,
                reason,
            } => {
                let invitation = (reference, &invitee, reason);
                if let Err(local) = self.invite(cx, leg, invitation, now) {
                    answer(cx, reference, Err(Failure::Local(local)));
                }
            }
            FocusEvent::Outcome { reference, outcome } => self.outcome(cx, reference, outcome),
            FocusEvent::Left => self.close(cx, leg, None),
        }
    }

    fn asked(
        &mut self,
        cx: &mut Context,
        leg: Ref,
        (user, room): (&SipAddress, &SipAddress),
        (wanted, name): (Option<&str>, Option<&str>),
        now: Now,
    ) {
        if self.legs.contains_key(&leg) {
            return;
        }
        let admitted = self.admit(cx, user, room).and_then(|(user, room)| {
            let nick = match wanted {
                Some(wanted) => nick::enforce(wanted).ok_or(Local::BadAddress)?,
                None => name
                    .and_then(nick::enforce)
                    .unwrap_or_else(|| nick_of_jid(&user)),
            };
            Ok((user, room, nick))
        });
        match admitted {
            Ok((user, room_jid, nick)) => {
                let token = cx.entropy.token();
                let jid = user.with_resource(&format!("{RESOURCE}{token}"));
                self.by_jid.insert(jid.match_key(), leg);
                *self.per_user.entry(user.canonical()).or_default() += 1;
                let entry = Leg {
                    jid,
                    room: room_jid,
                    room_sip: room.bare(),
                    user: user.canonical(),
                    stage: Stage::Joining,
                    base: nick.clone(),
                    nick,
                    wanted: wanted.is_some(),
                    attempt: 1,
                    deadline: None,
                    occupants: BTreeMap::new(),
                    subject: None,
                    change: None,
                    by_id: BTreeMap::new(),
                    question: None,
                    undelivered: 0,
                    heard: now.mono,
                    check_at: None,
                };
                self.legs.insert(leg, entry);
                let deadline = now.mono.saturating_add(cx.settings.rooms.enter_within);
                cx.arm(deadline, BridgeTimer::Room(Timer::Join(leg)));
                if let Some(entry) = self.legs.get_mut(&leg) {
                    entry.deadline = Some(deadline);
                }
                self.try_to_enter(cx, leg);
            }
            Err(local) => end(cx, leg, End::Refused(Failure::Local(local))),
        }
    }

    fn admit(
        &self,
        cx: &Context,
        user: &SipAddress,
        room: &SipAddress,
    ) -> Result<(Jid, Jid), Local> {
        let settings = &cx.settings.rooms;
        if !settings.enabled {
            return Err(Local::NotImplemented);
        }
        let user = sip_to_jid(&user.bare()).map_err(|_| Local::BadAddress)?;
        let room = sip_to_jid(&room.bare()).map_err(|_| Local::BadAddress)?;
        if user.local.is_none() || room.local.is_none() {
            return Err(Local::NoUser);
        }
        cx.admit_user(&room.domain, &user)?;
        let many = self
            .per_user
            .get(&user.canonical())
            .copied()
            .unwrap_or_default();
        if self.legs.len() >= settings.max_legs || many >= settings.max_legs_per_user {
            return Err(Local::Overloaded);
        }
        Ok((user, room.canonical()))
    }

    /// A question takes the place of the one before it.
    fn question(&mut self, cx: &mut Context, leg: Ref) -> Ref {
        let reference = cx.fresh_ref();
        if let Some(entry) = self.legs.get_mut(&leg) {
            if let Some(old) = entry.question.replace(reference) {
                self.questions.remove(&old);
            }
            self.questions.insert(reference, leg);
        }
        reference
    }

    fn try_to_enter(&mut self, cx: &mut Context, leg: Ref) {
        let reference = self.question(cx, leg);
        if let Some(entry) = self.legs.get(&leg) {
            cx.xmpp(XmppOut::Muc(MucOut::Join {
                reference,
                from: entry.jid.clone(),
                to: entry.room.with_resource(&entry.nick),
                history: cx.settings.rooms.history,
            }));
        }
    }

    fn nick(&mut self, cx: &mut Context, leg: Ref, wanted: &str, now: Now) {
        let Some(entry) = self.legs.get_mut(&leg) else {
            return;
        };
        let outcome = match nick::enforce(wanted) {
            None => Err(NickRefusal::Malformed),
            Some(_) if entry.stage == Stage::Joining || entry.change.is_some() => {
                Err(NickRefusal::Refused(Failure::Local(Local::Overloaded)))
            }
            Some(nick) if nick == entry.nick => Ok(()),
            Some(nick) => {
                let deadline = now.mono.saturating_add(cx.settings.answer_within);
                cx.arm(deadline, BridgeTimer::Room(Timer::Nick(leg)));
                cx.xmpp(XmppOut::Presence {
                    from: entry.jid.clone(),
                    to: entry.room.with_resource(&nick),
                    trace: Trace::default(),
                    kind: PresenceKind::Available(ResourcePresence::default()),
                });
                entry.change = Some(Change { nick, deadline });
                return;
            }
        };
        cx.focus(FocusOut::NickAnswer { leg, outcome });
    }

    fn message(
        &mut self,
        cx: &mut Context,
        leg: Ref,
        reference: Ref,
        to: Option<&SipAddress>,
        mut im: Im,
        now: Now,
    ) -> Result<(), Local> {
        im.bodies.retain(|body| !body.text.is_empty());
        let max = cx.settings.rooms.max_pending;
        let entry = self
            .legs
            .get_mut(&leg)
            .filter(|entry| entry.stage == Stage::Present)
            .ok_or(Local::NoUser)?;
        if im.bodies.is_empty() {
            answer(cx, reference, Ok(()));
            return Ok(());
        }
        if entry.by_id.len() >= max {
            return Err(Local::Overloaded);
        }
        let occupant = to.map(|to| entry.occupant(to)).transpose()?;
        let id = cx.entropy.token();
        let stanza = cx.fresh_ref();
        let deadline = now.mono.saturating_add(cx.settings.answer_within);
        cx.arm(deadline, BridgeTimer::Room(Timer::Repeat(stanza)));
        entry.by_id.insert(id.clone(), stanza);
        let private = occupant.is_some();
        let waiting = Outgoing {
            leg,
            reference,
            deadline,
            private,
            text: im.bodies.first().map(|body| body.text.clone()),
            id: id.clone(),
            parties: (entry.room.clone(), entry.user.clone()),
            about: Some(About::of(&im, now.wall)),
        };
        self.outgoing.insert(stanza, waiting);
        let from = entry.jid.clone();
        let room = entry.room.clone();
        cx.xmpp(rooms::stanza(stanza, from, room, occupant, id, im));
        Ok(())
    }

    fn invite(
        &mut self,
        cx: &mut Context,
        leg: Ref,
        (reference, invitee, reason): (Ref, &SipAddress, Option<String>),
        now: Now,
    ) -> Result<(), Local> {
        let max = cx.settings.rooms.max_pending;
        let entry = self
            .legs
            .get_mut(&leg)
            .filter(|entry| entry.stage == Stage::Present)
            .ok_or(Local::NoUser)?;
        if entry.by_id.len() >= max {
            return Err(Local::Overloaded);
        }
        let invitee = sip_to_jid(&invitee.bare()).map_err(|_| Local::BadAddress)?;
        let id = cx.entropy.token();
        let stanza = cx.fresh_ref();
        let deadline = now.mono.saturating_add(cx.settings.answer_within);
        cx.arm(deadline, BridgeTimer::Room(Timer::Repeat(stanza)));
        entry.by_id.insert(id.clone(), stanza);
        let waiting = Outgoing {
            leg,
            reference,
            deadline,
            private: true,
            text: None,
            id: id.clone(),
            parties: (entry.room.clone(), entry.user.clone()),
            about: None,
        };
        self.outgoing.insert(stanza, waiting);
        cx.xmpp(XmppOut::Muc(MucOut::Invite {
            reference: stanza,
            from: entry.jid.clone(),
            to: entry.room.clone(),
            id,
            invitee,
            reason,
        }));
        Ok(())
    }

    fn outcome(&mut self, cx: &mut Context, reference: Ref, outcome: Result<(), Failure>) {
        let Some(message) = self.undelivered.remove(&reference) else {
            return;
        };
        if let Some(entry) = self.legs.get_mut(&message.leg) {
            entry.undelivered = entry.undelivered.saturating_sub(1);
        }
        if let (Err(failure), Some(failed)) = (outcome, message.report) {
            cx.report_new(failed, rooms::harmless(to_stanza(&failure)));
        }
    }

    // -------------------------------------------------------------------------------------- time, end

    /// The room has not answered.
    pub(super) fn join_overdue(&mut self, cx: &mut Context, leg: Ref) {
        let timeout = End::Refused(Failure::Local(Local::Timeout));
        self.close(cx, leg, Some(timeout));
    }

    /// The room has not answered to a nickname.
    pub(super) fn nick_overdue(&mut self, cx: &mut Context, leg: Ref) {
        if let Some(entry) = self.legs.get_mut(&leg)
            && entry.change.take().is_some()
        {
            let refusal = NickRefusal::Refused(Failure::Local(Local::Timeout));
            cx.focus(FocusOut::NickAnswer {
                leg,
                outcome: Err(refusal),
            });
        }
    }

    /// The room has not repeated a message.
    pub(super) fn repeat_overdue(&mut self, cx: &mut Context, stanza: Ref) {
        self.finish(cx, stanza, Err(Failure::Local(Local::Timeout)));
    }

    /// It may be time to ask whether he is still there.
    pub(super) fn check(&mut self, cx: &mut Context, leg: Ref, now: Now) {
        let after = cx.settings.rooms.check_after;
        let Some(heard) = self.legs.get(&leg).map(|entry| entry.heard) else {
            return;
        };
        let silent = heard.saturating_add(after) <= now.mono;
        let since = if silent { now.mono } else { heard };
        let next = since.saturating_add(after);
        let reference = silent.then(|| self.question(cx, leg));
        let Some(entry) = self.legs.get_mut(&leg) else {
            return;
        };
        if let Some(reference) = reference {
            cx.xmpp(XmppOut::Muc(MucOut::Ping {
                reference,
                from: entry.jid.clone(),
                to: entry.room.with_resource(&entry.nick),
            }));
        }
        entry.check_at = Some(next);
        cx.arm(next, BridgeTimer::Room(Timer::Check(leg)));
    }

    /// The gateway stops: everybody leaves.
    pub(super) fn shut_down(&mut self, cx: &mut Context) {
        let legs: Vec<Ref> = self.legs.keys().copied().collect();
        for leg in legs {
            let end = End::Lost(Failure::Local(Local::ShuttingDown));
            self.close(cx, leg, Some(end));
        }
    }

    /// Answers one message or invitation of a SIP user's.
    fn finish(&mut self, cx: &mut Context, stanza: Ref, outcome: Result<(), Failure>) {
        let Some(waiting) = self.outgoing.remove(&stanza) else {
            return;
        };
        cx.disarm(waiting.deadline, BridgeTimer::Room(Timer::Repeat(stanza)));
        if let Some(entry) = self.legs.get_mut(&waiting.leg) {
            entry.by_id.remove(&waiting.id);
        }
        if let Some(about) = waiting.about {
            let (room, user) = &waiting.parties;
            let way = (Way::ToXmpp, room, user);
            cx.record_in_room(stanza, way, (Some(waiting.id), about), &outcome);
        }
        answer(cx, waiting.reference, outcome);
    }

    /// The end of a leg: the room is told that he leaves, and he is told why unless he left by himself.
    fn close(&mut self, cx: &mut Context, leg: Ref, end: Option<End>) {
        if let Some(entry) = self.legs.get(&leg) {
            let occupant = entry.room.with_resource(&entry.nick);
            cx.xmpp(unavailable(&entry.jid, occupant));
            self.drop_leg(cx, leg, end);
        }
    }

    /// The end of a leg that the room knows of.
    fn drop_leg(&mut self, cx: &mut Context, leg: Ref, why: Option<End>) {
        let Some(entry) = self.legs.remove(&leg) else {
            return;
        };
        self.by_jid.remove(&entry.jid.match_key());
        super::release(&mut self.per_user, &entry.user);
        self.occupants = self.occupants.saturating_sub(entry.occupants.len());
        if let Some(question) = &entry.question {
            self.questions.remove(question);
        }
        entry.disarm(cx, leg);
        for stanza in entry.by_id.values() {
            self.finish(cx, *stanza, Err(Failure::Local(Local::OutcomeUnknown)));
        }
        if let Some(why) = why {
            if entry.change.is_some() {
                let refusal = NickRefusal::Refused(Failure::Local(Local::NoUser));
                cx.focus(FocusOut::NickAnswer {
                    leg,
                    outcome: Err(refusal),
                });
            }
            end(cx, leg, why);
        }
    }
}

/// Whether a resource is one that legs have: those who write to it mean a SIP user in a room.
fn is_leg_resource(resource: &str) -> bool {
    resource.starts_with(RESOURCE)
}

fn nick_of_jid(user: &Jid) -> String {
    crate::address::jid_to_sip(user, crate::address::Scheme::Sip)
        .map_or_else(|_| "participant".to_owned(), |address| nick_of(&address))
}

fn unavailable(from: &Jid, to: Jid) -> XmppOut {
    XmppOut::Presence {
        from: from.clone(),
        to,
        trace: Trace::default(),
        kind: PresenceKind::Unavailable(Vec::new()),
    }
}

fn answer(cx: &mut Context, reference: Ref, outcome: Result<(), Failure>) {
    cx.focus(FocusOut::Answer { reference, outcome });
}

fn end(cx: &mut Context, leg: Ref, end: End) {
    cx.focus(FocusOut::End { leg, end });
}
