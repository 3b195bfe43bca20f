//! What rooms send, and what follows from it.

use crate::address::Jid;
use crate::bridge::context::{Context, Timer as BridgeTimer};
use crate::failure::{Condition, Failure, Local, StanzaError};
use crate::time::Now;
use crate::vocab::{End, FocusOut, Im, ImKind, NickRefusal, OccupantPresence, Ref, Text};

use super::super::{Timer, is_lost, nick};
use super::{Guests, NICK_TRIES, Stage, Undelivered, is_leg_resource, rooms, unavailable};

impl Guests {
    /// Presence of an occupant. A room that shows somebody to himself who is not there any more is told so.
    pub(in crate::room) fn presence(
        &mut self,
        cx: &mut Context,
        from: &Jid,
        to: &Jid,
        presence: &OccupantPresence,
        now: Now,
    ) {
        let Some(leg) = self.find(from, to) else {
            return self.deny(cx, from, to, presence);
        };
        let Some(entry) = self.legs.get_mut(&leg) else {
            return;
        };
        entry.heard = now.mono;
        let Some(nick) = from.resource.as_deref() else {
            // The room itself: only its end concerns him.
            if !presence.available && presence.destroyed.is_some() {
                self.drop_leg(cx, leg, Some(rooms::end_of(presence)));
            }
            return;
        };
        let own = entry.is_own(nick, presence);
        match (entry.stage, own, presence.available) {
            (Stage::Joining, true, true) => self.entered(cx, leg, nick, presence, now),
            (_, true, false) if presence.new_nick.is_none() || !rooms::is_rename(presence) => {
                self.drop_leg(cx, leg, Some(rooms::end_of(presence)));
            }
            _ => self.occupant(cx, leg, nick, presence, own),
        }
    }

    pub(super) fn deny(&self, cx: &mut Context, from: &Jid, to: &Jid, presence: &OccupantPresence) {
        let ghost = presence.available
            && presence.statuses.contains(&rooms::OWN)
            && to.resource.as_deref().is_some_and(is_leg_resource)
            && !self.by_jid.contains_key(&to.match_key());
        if ghost && from.resource.is_some() {
            cx.xmpp(unavailable(to, from.clone()));
        }
    }

    pub(super) fn entered(
        &mut self,
        cx: &mut Context,
        leg: Ref,
        nick: &str,
        presence: &OccupantPresence,
        now: Now,
    ) {
        if presence.statuses.contains(&rooms::CREATED) {
            // There was no such room; leaving makes its service forget the new one (XEP-0045 §10.1.1).
            let missing = StanzaError::new(Condition::ItemNotFound);
            let end = End::Refused(rooms::refused(missing));
            return self.close(cx, leg, Some(end));
        }
        self.note(cx, leg, nick, presence);
        let Some(entry) = self.legs.get_mut(&leg) else {
            return;
        };
        entry.stage = Stage::Present;
        entry.nick = nick.to_owned();
        if let Some(deadline) = entry.deadline.take() {
            cx.disarm(deadline, BridgeTimer::Room(Timer::Join(leg)));
        }
        let check_at = now.mono.saturating_add(cx.settings.rooms.check_after);
        entry.check_at = Some(check_at);
        cx.arm(check_at, BridgeTimer::Room(Timer::Check(leg)));
        cx.focus(FocusOut::Accept {
            leg,
            nick: entry.nick.clone(),
        });
        cx.focus(FocusOut::Roster {
            leg,
            roster: entry.full_roster(),
        });
        if let Some(subject) = entry.subject.clone() {
            let subject = Some(subject);
            cx.focus(FocusOut::Subject { leg, subject });
        }
    }

    /// Somebody comes, goes, or is renamed.
    pub(super) fn occupant(
        &mut self,
        cx: &mut Context,
        leg: Ref,
        nick: &str,
        presence: &OccupantPresence,
        own: bool,
    ) {
        let roster = self.note(cx, leg, nick, presence);
        let Some(entry) = self.legs.get_mut(&leg) else {
            return;
        };
        if entry.stage == Stage::Joining {
            return;
        }
        if let Some(roster) = roster {
            cx.focus(FocusOut::Roster { leg, roster });
        }
        let new_nick = match entry.renamed(presence) {
            Some(new) if own => Some(new),
            _ if own && presence.available && nick != entry.nick => Some(nick),
            _ => None,
        };
        if let Some(new) = new_nick {
            new.clone_into(&mut entry.nick);
            if let Some(change) = entry.change.take() {
                cx.disarm(change.deadline, BridgeTimer::Room(Timer::Nick(leg)));
                cx.focus(FocusOut::NickAnswer {
                    leg,
                    outcome: Ok(()),
                });
            }
        }
    }

    /// An error about presence of ours. False: it is not about a room.
    pub(in crate::room) fn presence_error(
        &mut self,
        cx: &mut Context,
        from: &Jid,
        to: &Jid,
        error: &StanzaError,
    ) -> bool {
        let Some(leg) = self.find(from, to) else {
            return to.resource.as_deref().is_some_and(is_leg_resource);
        };
        let Some(entry) = self.legs.get_mut(&leg) else {
            return true;
        };
        if entry.stage == Stage::Joining {
            self.not_entered(cx, leg, from, error);
        } else if let Some(change) = entry.change.take_if(|change| change.is_meant(from)) {
            cx.disarm(change.deadline, BridgeTimer::Room(Timer::Nick(leg)));
            let refusal = match error.condition {
                Condition::Conflict => NickRefusal::Taken,
                Condition::JidMalformed => NickRefusal::Malformed,
                _ => NickRefusal::Refused(rooms::refused(error.clone())),
            };
            cx.focus(FocusOut::NickAnswer {
                leg,
                outcome: Err(refusal),
            });
        }
        true
    }

    pub(super) fn not_entered(
        &mut self,
        cx: &mut Context,
        leg: Ref,
        from: &Jid,
        error: &StanzaError,
    ) {
        let Some(entry) = self.legs.get_mut(&leg) else {
            return;
        };
        if error.condition != Condition::Conflict {
            let failure = rooms::refused(error.clone());
            return self.drop_leg(cx, leg, Some(End::Refused(failure)));
        }
        // An error about a nickname that is not the one under way is old news.
        if from
            .resource
            .as_ref()
            .is_some_and(|nick| *nick != entry.nick)
        {
            return;
        }
        let next = (!entry.wanted && entry.attempt < NICK_TRIES)
            .then(|| nick::enforce(&format!("{} {}", entry.base, entry.attempt + 1)))
            .flatten();
        match next {
            Some(nick) => {
                entry.attempt += 1;
                entry.nick = nick;
                self.try_to_enter(cx, leg);
            }
            None => self.drop_leg(cx, leg, Some(End::NickTaken)),
        }
    }

    /// A message from a room, or from an occupant. Given back: it is none.
    pub(in crate::room) fn stanza(
        &mut self,
        cx: &mut Context,
        from: Jid,
        to: Jid,
        im: Im,
        now: Now,
    ) -> Option<(Jid, Jid, Im)> {
        let Some(leg) = self.find(&from, &to) else {
            if im.kind == ImKind::Groupchat && to.resource.as_deref().is_some_and(is_leg_resource) {
                // A room that takes him for an occupant removes him over this (XEP-0045 §18.3.3).
                let error = StanzaError::new(Condition::RecipientUnavailable);
                cx.report_new((to, from, im.id), error);
                return None;
            }
            return Some((from, to, im));
        };
        if let Some(entry) = self.legs.get_mut(&leg) {
            entry.heard = now.mono;
            self.said(cx, leg, from, im);
        }
        None
    }

    pub(super) fn said(&mut self, cx: &mut Context, leg: Ref, from: Jid, mut im: Im) {
        im.bodies.retain(|body| !body.text.is_empty());
        let max = cx.settings.rooms.max_pending;
        let Some(entry) = self.legs.get_mut(&leg) else {
            return;
        };
        let group = im.kind == ImKind::Groupchat;
        if group && im.bodies.is_empty() && !im.subjects.is_empty() {
            return entry.set_subject(cx, leg, im.subjects.into_iter().next());
        }
        if let Some(stanza) = entry.repeated(&self.outgoing, &from, &im) {
            return self.finish(cx, stanza, Ok(()));
        }
        if im.bodies.is_empty() || entry.stage == Stage::Joining {
            return;
        }
        if entry.undelivered >= max {
            // He cannot follow, and nobody could tell the room which messages he has missed.
            let end = End::Lost(Failure::Local(Local::Overloaded));
            return self.close(cx, leg, Some(end));
        }
        let Some(speaker) = entry.address_of(from.resource.as_deref()) else {
            return;
        };
        let reference = cx.fresh_ref();
        entry.undelivered += 1;
        let report = (!group).then(|| (entry.jid.clone(), from, im.id.clone()));
        self.undelivered
            .insert(reference, Undelivered { leg, report });
        cx.focus(FocusOut::Message {
            reference,
            leg,
            from: speaker,
            private: !group,
            im,
        });
    }

    /// An error about a message of a SIP user's. False: it is not about a room.
    pub(in crate::room) fn message_error(
        &mut self,
        cx: &mut Context,
        from: &Jid,
        to: &Jid,
        id: Option<&String>,
        error: &StanzaError,
    ) -> bool {
        let Some(leg) = self.find(from, to) else {
            return to.resource.as_deref().is_some_and(is_leg_resource);
        };
        let entry = self.legs.get(&leg);
        let waiting = entry.zip(id).and_then(|(entry, id)| entry.by_id.get(id));
        if let Some(stanza) = waiting.copied() {
            self.finish(cx, stanza, Err(rooms::refused(error.clone())));
        }
        true
    }

    /// Somebody does not follow an invitation of his: the room tells him.
    pub(in crate::room) fn declined(
        &mut self,
        cx: &mut Context,
        from: &Jid,
        to: &Jid,
        by: Option<&Jid>,
        reason: Option<&str>,
    ) {
        let Some(leg) = self.find(from, to) else {
            return;
        };
        let by = by.map_or_else(|| "Somebody".to_owned(), |by| by.bare().to_string());
        let reason = reason.map(|reason| format!(": {reason}"));
        let text = format!("{by} does not come{}", reason.unwrap_or_default());
        let im = Im {
            kind: ImKind::Normal,
            bodies: vec![Text { lang: None, text }],
            ..Im::default()
        };
        self.said(cx, leg, from.bare(), im);
    }

    /// The fate of a stanza to a room. False: it is none of ours.
    pub(in crate::room) fn settled(
        &mut self,
        cx: &mut Context,
        reference: Ref,
        outcome: &Result<(), Failure>,
    ) -> bool {
        let leg = if let Some(leg) = self.questions.get(&reference).copied() {
            // The answer of the room itself is still to come.
            leg
        } else if let Some(waiting) = self.outgoing.get(&reference) {
            let leg = waiting.leg;
            if waiting.private || outcome.is_err() {
                self.finish(cx, reference, outcome.clone());
            }
            leg
        } else {
            return false;
        };
        let Some(entry) = self.legs.get(&leg) else {
            return true;
        };
        if let Err(failure) = outcome {
            if entry.stage == Stage::Joining {
                self.close(cx, leg, Some(End::Refused(failure.clone())));
            } else if is_lost(failure) {
                self.close(cx, leg, Some(End::Lost(failure.clone())));
            }
        }
        true
    }

    /// The answer to the question whether he is still there.
    pub(in crate::room) fn pong(
        &mut self,
        cx: &mut Context,
        from: &Jid,
        reference: Ref,
        joined: Option<bool>,
    ) {
        let Some(leg) = self.questions.get(&reference).copied() else {
            return;
        };
        let Some(entry) = self.legs.get(&leg) else {
            return;
        };
        if !entry.is_room(from) || entry.stage == Stage::Joining {
            return;
        }
        if joined == Some(false) {
            let end = End::Lost(Failure::Local(Local::TransportFailed));
            self.drop_leg(cx, leg, Some(end));
        }
    }
}
