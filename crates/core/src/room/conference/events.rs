//! What conferences say, and what follows from it.

use crate::bridge::context::{Context, Timer as BridgeTimer};
use crate::failure::{Condition, Failure, Local, StanzaError, to_stanza};
use crate::time::Now;
use crate::vocab::{ConferenceEvent, ConferenceOut, End, NickRefusal, Ref, Roster, Text, Way};

use super::super::{Timer, nick, release};
use super::{Conferences, Early, Incoming, Stage, presence_error};

impl Conferences {
    /// What a conference says.
    pub(in crate::room) fn event(
        &mut self,
        cx: &mut Context,
        leg: Ref,
        event: ConferenceEvent,
        now: Now,
    ) {
        match event {
            ConferenceEvent::Joined {
                nick,
                private_messages,
            } => self.joined(leg, &nick, private_messages),
            ConferenceEvent::Roster(roster) => self.roster(cx, leg, roster),
            ConferenceEvent::Subject(subject) => self.subject(cx, leg, subject),
            ConferenceEvent::Message {
                reference,
                from,
                private,
                im,
            } => {
                let said = Early {
                    reference,
                    from,
                    private,
                    im,
                };
                self.said(cx, leg, said);
            }
            ConferenceEvent::Nick(answer) => self.nick_answered(cx, leg, answer),
            ConferenceEvent::Outcome { reference, outcome } => self.outcome(cx, reference, outcome),
            ConferenceEvent::Ended(end) => self.ended(cx, leg, end, now),
        }
    }

    pub(super) fn joined(&mut self, leg: Ref, nick: &str, private_messages: bool) {
        if let Some(entry) = self.legs.get_mut(&leg)
            && entry.stage == Stage::Joining
        {
            entry.stage = Stage::Entering;
            entry.private_messages = private_messages;
            if let Some(nick) = nick::enforce(nick) {
                entry.nick = nick;
            }
            entry.nick = entry.people.own_nick(None, &entry.nick);
        }
    }

    pub(super) fn roster(&mut self, cx: &mut Context, leg: Ref, roster: Roster) {
        let settings = &cx.settings.rooms;
        let overall = settings
            .max_occupants_overall
            .saturating_sub(self.occupants);
        let Some(entry) = self.legs.get_mut(&leg) else {
            return;
        };
        if entry.leaving {
            return;
        }
        let before = entry.people.len();
        let room = settings.max_occupants.min(before.saturating_add(overall));
        let changes = entry.update(roster, room);
        self.occupants = self.occupants.saturating_sub(before) + entry.people.len();
        match entry.stage {
            Stage::Joining => {}
            Stage::Entering => self.enter(cx, leg),
            Stage::Present => changes
                .iter()
                .for_each(|change| entry.show_change(cx, change)),
        }
    }

    /// Everything that somebody who enters is told, in order (XEP-0045 §7.2).
    pub(super) fn enter(&mut self, cx: &mut Context, leg: Ref) {
        let Some(entry) = self.legs.get_mut(&leg) else {
            return;
        };
        entry.stage = Stage::Present;
        cx.disarm(entry.deadline, BridgeTimer::Room(Timer::Enter(leg)));
        entry.show_all(cx);
        let early = std::mem::take(&mut entry.early);
        entry.incoming = entry.incoming.saturating_sub(early.len());
        for said in early {
            self.said(cx, leg, said);
        }
    }

    pub(super) fn subject(&mut self, cx: &mut Context, leg: Ref, subject: Option<Text>) {
        if let Some(entry) = self.legs.get_mut(&leg)
            && entry.subject != subject
        {
            entry.subject = subject;
            if entry.stage == Stage::Present && !entry.leaving {
                entry.show_subject(cx);
            }
        }
    }

    pub(super) fn said(&mut self, cx: &mut Context, leg: Ref, mut said: Early) {
        // An error about it must not be taken for one about another.
        let id = said.im.id.clone();
        if id.is_some_and(|id| self.incoming_by_id.contains_key(&(leg, id))) {
            said.im.id = None;
        }
        let max = cx.settings.rooms.max_pending;
        let reference = said.reference;
        let refusal = match self.legs.get_mut(&leg) {
            None => Some(Local::NoUser),
            Some(entry) if entry.leaving => Some(Local::NoUser),
            Some(entry) if entry.incoming >= max => Some(Local::Overloaded),
            Some(entry) if entry.stage != Stage::Present => {
                entry.incoming += 1;
                entry.early.push(said);
                return;
            }
            Some(entry) => {
                if let Some(stanza) = entry.stanza(cx, said) {
                    entry.incoming += 1;
                    let (stanza, id, out) = stanza;
                    let incoming = Incoming {
                        leg,
                        id,
                        reference: Some(reference),
                    };
                    self.await_fate(stanza, incoming);
                    return cx.xmpp(out);
                }
                None
            }
        };
        cx.conference(ConferenceOut::Answer {
            reference,
            outcome: refusal.map(Failure::Local).map_or(Ok(()), Err),
        });
    }

    pub(super) fn nick_answered(
        &mut self,
        cx: &mut Context,
        leg: Ref,
        answer: Result<String, NickRefusal>,
    ) {
        let Some(entry) = self.legs.get_mut(&leg) else {
            return;
        };
        let change = entry.change.take();
        if entry.leaving || entry.stage != Stage::Present {
            return;
        }
        match (answer, change) {
            (Ok(nick), _) => {
                let nick = nick::enforce(&nick).unwrap_or_else(|| entry.nick.clone());
                if nick != entry.nick {
                    entry.show_own_nick(cx, &nick);
                }
            }
            (Err(refusal), Some(change)) => {
                let error = match refusal {
                    NickRefusal::Taken => StanzaError::new(Condition::Conflict),
                    NickRefusal::Malformed => StanzaError::new(Condition::JidMalformed),
                    NickRefusal::Refused(failure) => to_stanza(&failure),
                };
                let from = entry.conference.with_resource(&change.nick);
                presence_error(cx, (from, entry.user.clone()), change.id, error);
            }
            (Err(_), None) => {}
        }
    }

    pub(super) fn outcome(
        &mut self,
        cx: &mut Context,
        reference: Ref,
        outcome: Result<(), Failure>,
    ) {
        let Some(waiting) = self.outgoing.remove(&reference) else {
            return;
        };
        if let Some(about) = waiting.about {
            let way = (Way::ToSip, &waiting.from, &waiting.to);
            cx.record_in_room(reference, way, (waiting.id.clone(), about), &outcome);
        }
        let leg = self.legs.get_mut(&waiting.leg);
        match (outcome, leg) {
            (Ok(()), Some(entry)) => {
                entry.outgoing = entry.outgoing.saturating_sub(1);
                if let Some(im) = waiting.echo.filter(|_| !entry.told) {
                    let stanza = entry.echo(cx, im);
                    entry.incoming += 1;
                    let incoming = Incoming {
                        leg: waiting.leg,
                        id: None,
                        reference: None,
                    };
                    self.await_fate(stanza, incoming);
                }
            }
            (Ok(()), None) => {}
            (Err(failure), leg) => {
                if let Some(entry) = leg {
                    entry.outgoing = entry.outgoing.saturating_sub(1);
                }
                let failed = (waiting.to, waiting.from, waiting.id);
                cx.report_as(reference, failed, to_stanza(&failure));
            }
        }
    }

    pub(super) fn ended(&mut self, cx: &mut Context, leg: Ref, end: End, now: Now) {
        let Some(mut entry) = self.legs.remove(&leg) else {
            return;
        };
        self.by_key.remove(&entry.key);
        release(&mut self.per_user, &entry.key.user.bare());
        self.occupants = self.occupants.saturating_sub(entry.people.len());
        cx.disarm(entry.deadline, BridgeTimer::Room(Timer::Enter(leg)));
        entry.refuse_early(cx);
        entry.show_end(cx, end);
        if let Some((to, id)) = entry.again {
            self.join(cx, entry.user, to, id, now);
        }
    }
}
