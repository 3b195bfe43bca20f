//! XMPP users in SIP conferences (RFC 7702 §5): one leg for each user and conference.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::address::{Jid, Scheme, SipAddress, jid_to_sip};
use crate::bridge::context::{Context, Timer as BridgeTimer, local_error};
use crate::bridge::messages::reported;
use crate::failure::{Condition, Failure, Local, StanzaError};
use crate::time::Now;
use crate::vocab::{About, ConferenceOut, End, Im, ImKind, Ref, Role, Text, XmppOut};

use super::people::{People, nick_of};
use super::{Timer, nick};

mod events;
mod views;

/// Whom one stanza may ask to be invited, at most.
const MOST_INVITEES: usize = 20;

/// A user's device and a conference, both canonical.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct LegKey {
    user: Jid,
    conference: Jid,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The conference has not taken her yet.
    Joining,
    /// It has, and has not said who is there.
    Entering,
    /// She sees the room.
    Present,
}

/// A nickname that the conference has been asked for.
struct Change {
    nick: String,
    id: Option<String>,
}

/// What a conference said before it told who is there.
struct Early {
    reference: Ref,
    from: SipAddress,
    private: bool,
    im: Im,
}

struct Leg {
    key: Arc<LegKey>,
    /// As the stanzas say them.
    user: Jid,
    conference: Jid,
    conference_sip: SipAddress,
    /// She, as the conference may name her.
    own: SipAddress,
    stage: Stage,
    nick: String,
    /// The nickname that she asked for when she entered.
    asked: String,
    role: Role,
    /// Id of the presence with which she came.
    id: Option<String>,
    deadline: Duration,
    private_messages: bool,
    subject: Option<Text>,
    people: People,
    change: Option<Change>,
    early: Vec<Early>,
    /// Messages of hers without an outcome, and of the conference's.
    outgoing: usize,
    incoming: usize,
    /// The conference has been asked to let her go.
    leaving: bool,
    /// She has been told the end already.
    told: bool,
    /// She wants to come back when she is out.
    again: Option<(Jid, Option<String>)>,
}

/// What an XMPP user waits for.
struct Outgoing {
    leg: Ref,
    /// Her address and the one that she wrote to.
    from: Jid,
    to: Jid,
    id: Option<String>,
    /// What the room repeats to her when the conference has it (RFC 7702 §5.5).
    echo: Option<Im>,
    /// For the ledger, where it is a message.
    about: Option<About>,
}

/// A stanza on its way to a user.
struct Incoming {
    leg: Ref,
    /// Its id.
    id: Option<String>,
    /// The message for which the conference waits; none where she gets her own back, or it has its answer.
    reference: Option<Ref>,
}

/// All XMPP users in conferences.
#[derive(Default)]
pub(crate) struct Conferences {
    legs: BTreeMap<Ref, Leg>,
    by_key: BTreeMap<Arc<LegKey>, Ref>,
    per_user: BTreeMap<Jid, usize>,
    outgoing: BTreeMap<Ref, Outgoing>,
    incoming: BTreeMap<Ref, Incoming>,
    /// Those for which a conference waits, by leg and id.
    incoming_by_id: BTreeMap<(Ref, String), Ref>,
    /// In all legs together.
    occupants: usize,
}

impl Conferences {
    pub(super) fn leg_count(&self) -> usize {
        self.legs.len()
    }

    pub(super) fn pending_count(&self) -> usize {
        self.outgoing.len() + self.incoming.len()
    }

    /// The leg of a user's device in a conference, whatever the nickname in either address.
    fn find(&self, user: &Jid, conference: &Jid) -> Option<Ref> {
        if self.by_key.is_empty() || user.resource.is_none() {
            return None;
        }
        self.by_key.get(&key_of(user, conference)).copied()
    }

    /// Whether a user's device is in a conference, and under this nickname if the address names one.
    pub(super) fn knows(&self, user: &Jid, occupant: &Jid) -> Option<bool> {
        let leg = self.legs.get(&self.find(user, occupant)?)?;
        Some(match &occupant.resource {
            Some(resource) => leg.stage == Stage::Present && leg.nick == *resource,
            None => true,
        })
    }

    // ------------------------------------------------------------------------------------ from XMPP

    /// Presence with a `<x/>` of MUC.
    pub(super) fn join(
        &mut self,
        cx: &mut Context,
        from: Jid,
        to: Jid,
        id: Option<String>,
        now: Now,
    ) {
        if let Some(leg) = self
            .find(&from, &to)
            .and_then(|leg| self.legs.get_mut(&leg))
        {
            return if leg.leaving {
                leg.again = Some((to, id));
            } else if leg.stage == Stage::Present {
                // Her client has lost what it knew (XEP-0045 §7.2.2 lets it enter again).
                leg.show_all(cx);
            };
        }
        match self.admit(cx, &from, &to) {
            Ok((user_sip, conference_sip, nick)) => {
                let leg = self.open(cx, (from, to), (&user_sip, &conference_sip), nick, now);
                if let Some(entry) = self.legs.get_mut(&leg) {
                    entry.id = id;
                    let nick = entry.nick.clone();
                    cx.conference(ConferenceOut::Join {
                        leg,
                        user: user_sip,
                        conference: conference_sip,
                        nick,
                    });
                }
            }
            Err(error) => presence_error(cx, (to, from), id, error),
        }
    }

    fn admit(
        &self,
        cx: &Context,
        from: &Jid,
        to: &Jid,
    ) -> Result<(SipAddress, SipAddress, String), StanzaError> {
        let settings = &cx.settings.rooms;
        if !settings.enabled {
            return Err(local_error(Local::NotImplemented));
        }
        cx.admit(&from.domain, &to.domain).map_err(local_error)?;
        if to.local.is_none() || from.local.is_none() {
            return Err(local_error(Local::NoUser));
        }
        // XEP-0045 §7.2.1: without a nickname, or with one that cannot be.
        let nick = to
            .resource
            .as_deref()
            .filter(|_| from.resource.is_some())
            .and_then(nick::enforce)
            .ok_or_else(|| StanzaError::new(Condition::JidMalformed))?;
        let user = from.bare().canonical();
        let many = self.per_user.get(&user).copied().unwrap_or_default();
        if self.legs.len() >= settings.max_legs || many >= settings.max_legs_per_user {
            return Err(local_error(Local::Overloaded));
        }
        let bad = |_| local_error(Local::BadAddress);
        let user = jid_to_sip(from, Scheme::Sip).map_err(bad)?;
        let conference = jid_to_sip(&to.bare(), Scheme::Sip).map_err(bad)?;
        Ok((user, conference, nick))
    }

    fn open(
        &mut self,
        cx: &mut Context,
        (user, to): (Jid, Jid),
        (user_sip, conference_sip): (&SipAddress, &SipAddress),
        nick: String,
        now: Now,
    ) -> Ref {
        let leg = cx.fresh_ref();
        let key = Arc::new(key_of(&user, &to));
        let deadline = now.mono.saturating_add(cx.settings.rooms.enter_within);
        cx.arm(deadline, BridgeTimer::Room(Timer::Enter(leg)));
        self.by_key.insert(Arc::clone(&key), leg);
        *self.per_user.entry(key.user.bare()).or_default() += 1;
        let entry = Leg {
            key,
            conference: to.bare(),
            conference_sip: conference_sip.clone(),
            own: user_sip.bare().canonical(),
            user,
            stage: Stage::Joining,
            asked: nick.clone(),
            nick,
            role: Role::Participant,
            id: None,
            deadline,
            private_messages: false,
            subject: None,
            people: People::default(),
            change: None,
            early: Vec::new(),
            outgoing: 0,
            incoming: 0,
            leaving: false,
            told: false,
            again: None,
        };
        self.legs.insert(leg, entry);
        leg
    }

    /// Available presence without that `<x/>`: another nickname, or nothing new. False: it is not about a conference.
    pub(super) fn available(
        &mut self,
        cx: &mut Context,
        from: &Jid,
        to: &Jid,
        id: Option<&String>,
    ) -> bool {
        let Some(leg) = self.find(from, to) else {
            return false;
        };
        let Some(entry) = self.legs.get_mut(&leg) else {
            return false;
        };
        let ready = entry.stage == Stage::Present && !entry.leaving;
        let Some(resource) = to
            .resource
            .as_ref()
            .filter(|nick| ready && **nick != entry.nick)
        else {
            return true;
        };
        let refusal = match nick::enforce(resource) {
            None => Some(StanzaError::new(Condition::JidMalformed)),
            Some(_) if entry.change.is_some() => Some(local_error(Local::Overloaded)),
            Some(nick) if entry.people.named(&nick).is_some() => {
                Some(StanzaError::new(Condition::Conflict))
            }
            Some(nick) => {
                entry.change = Some(Change {
                    nick: nick.clone(),
                    id: id.cloned(),
                });
                cx.conference(ConferenceOut::ChangeNick { leg, nick });
                None
            }
        };
        if let Some(error) = refusal {
            presence_error(cx, (to.clone(), from.clone()), id.cloned(), error);
        }
        true
    }

    /// She leaves. False: she was not there.
    pub(super) fn unavailable(&mut self, cx: &mut Context, from: &Jid, to: &Jid) -> bool {
        let Some(leg) = self.find(from, to) else {
            return false;
        };
        self.leave(cx, leg);
        true
    }

    /// Her server says that she cannot be reached (XEP-0045 §18.3.3): nothing more is sent to her. False: it is not about
    /// a conference.
    pub(super) fn error(
        &mut self,
        cx: &mut Context,
        from: &Jid,
        to: &Jid,
        error: &StanzaError,
    ) -> bool {
        let Some(leg) = self.find(from, to) else {
            return false;
        };
        if super::is_gone(error.condition) {
            self.leave(cx, leg);
        }
        true
    }

    /// The same, in answer to a stanza of this id: if the conference waits for it, it is told.
    pub(super) fn message_error(
        &mut self,
        cx: &mut Context,
        (from, to): (&Jid, &Jid),
        id: Option<&String>,
        error: &StanzaError,
    ) -> bool {
        if let Some(leg) = self.find(from, to)
            && let Some(id) = id
            && let Some(stanza) = self.incoming_by_id.remove(&(leg, id.clone()))
            && let Some(incoming) = self.incoming.get_mut(&stanza)
            && let Some(reference) = incoming.reference.take()
        {
            let outcome = Err(reported(from, error.clone()));
            cx.conference(ConferenceOut::Answer { reference, outcome });
        }
        self.error(cx, from, to, error)
    }

    /// A stanza goes out to a user.
    fn await_fate(&mut self, stanza: Ref, incoming: Incoming) {
        if let Some(id) = &incoming.id
            && incoming.reference.is_some()
        {
            self.incoming_by_id
                .insert((incoming.leg, id.clone()), stanza);
        }
        self.incoming.insert(stanza, incoming);
    }

    fn leave(&mut self, cx: &mut Context, leg: Ref) {
        if let Some(entry) = self.legs.get_mut(&leg)
            && !entry.leaving
        {
            entry.leaving = true;
            entry.refuse_early(cx);
            cx.disarm(entry.deadline, BridgeTimer::Room(Timer::Enter(leg)));
            cx.conference(ConferenceOut::Leave { leg });
        } else if let Some(entry) = self.legs.get_mut(&leg) {
            entry.again = None;
        }
    }

    /// A message to a conference in which she is. Given back: it is none.
    pub(super) fn message(
        &mut self,
        cx: &mut Context,
        from: Jid,
        to: Jid,
        im: Im,
    ) -> Option<(Jid, Jid, Im)> {
        let about_room = im.kind == ImKind::Groupchat || to.resource.is_some();
        let Some(leg) = self.find(&from, &to).filter(|_| about_room) else {
            return Some((from, to, im));
        };
        let id = im.id.clone();
        if let Err(error) = self.send(cx, leg, (&from, &to), im) {
            cx.report_new((to, from, id), error);
        }
        None
    }

    fn send(
        &mut self,
        cx: &mut Context,
        leg: Ref,
        (from, to): (&Jid, &Jid),
        mut im: Im,
    ) -> Result<(), StanzaError> {
        im.bodies.retain(|body| !body.text.is_empty());
        if im.bodies.is_empty() {
            // No standard lets a participant set the subject of a conference; chat states stay where they are.
            return if im.subjects.is_empty() || im.kind != ImKind::Groupchat {
                Ok(())
            } else {
                Err(local_error(Local::NotImplemented))
            };
        }
        let max = cx.settings.rooms.max_pending;
        let Some(entry) = self.legs.get_mut(&leg) else {
            return Ok(());
        };
        if entry.stage != Stage::Present || entry.leaving {
            return Err(StanzaError::new(Condition::NotAcceptable));
        }
        if entry.outgoing >= max {
            return Err(local_error(Local::Overloaded));
        }
        let recipient = entry.recipient(to, im.kind)?;
        entry.outgoing += 1;
        let reference = cx.fresh_ref();
        let waiting = Outgoing {
            leg,
            from: from.clone(),
            to: to.clone(),
            id: im.id.clone(),
            echo: recipient.is_none().then(|| im.clone()),
            about: Some(About::of(&im, cx.now.wall)),
        };
        self.outgoing.insert(reference, waiting);
        cx.conference(ConferenceOut::Message {
            reference,
            leg,
            to: recipient,
            im,
        });
        Ok(())
    }

    /// She asks the conference to invite others. False: she is not in it.
    pub(super) fn invite(
        &mut self,
        cx: &mut Context,
        (from, to): (&Jid, &Jid),
        id: Option<&String>,
        invitees: &[Jid],
        reason: Option<&String>,
    ) -> bool {
        let max = cx.settings.rooms.max_pending;
        let Some((leg, entry)) = self
            .find(from, to)
            .and_then(|leg| Some((leg, self.legs.get_mut(&leg)?)))
            .filter(|(_, entry)| entry.stage == Stage::Present && !entry.leaving)
        else {
            return false;
        };
        if invitees.len() > MOST_INVITEES {
            let error = StanzaError::new(Condition::PolicyViolation);
            cx.report_new((to.clone(), from.clone(), id.cloned()), error);
            return true;
        }
        for invitee in invitees {
            let refusal = match jid_to_sip(invitee, Scheme::Sip) {
                Err(_) => Local::BadAddress,
                Ok(_) if entry.outgoing >= max => Local::Overloaded,
                Ok(invitee) => {
                    entry.outgoing += 1;
                    let reference = cx.fresh_ref();
                    let waiting = Outgoing {
                        leg,
                        from: from.clone(),
                        to: to.clone(),
                        id: id.cloned(),
                        echo: None,
                        about: None,
                    };
                    self.outgoing.insert(reference, waiting);
                    cx.conference(ConferenceOut::Invite {
                        reference,
                        leg,
                        invitee,
                        reason: reason.cloned(),
                    });
                    continue;
                }
            };
            let failed = (to.clone(), from.clone(), id.cloned());
            cx.report_new(failed, local_error(refusal));
        }
        true
    }

    /// The fate of a stanza to a user. False: it is none of ours.
    pub(super) fn settled(
        &mut self,
        cx: &mut Context,
        reference: Ref,
        outcome: &Result<(), Failure>,
    ) -> bool {
        let Some(mut incoming) = self.incoming.remove(&reference) else {
            return false;
        };
        if let Some(id) = incoming.id.take() {
            let key = (incoming.leg, id);
            // A later message may have taken the same id.
            if self.incoming_by_id.get(&key) == Some(&reference) {
                self.incoming_by_id.remove(&key);
            }
        }
        if let Some(reference) = incoming.reference {
            cx.conference(ConferenceOut::Answer {
                reference,
                outcome: outcome.clone(),
            });
        }
        if let Some(entry) = self.legs.get_mut(&incoming.leg) {
            entry.incoming = entry.incoming.saturating_sub(1);
        }
        if outcome.as_ref().is_err_and(super::is_lost) {
            // The room would do the same to a user of its own whom it cannot reach.
            self.leave(cx, incoming.leg);
        }
        true
    }

    // -------------------------------------------------------------------------------------- time, end

    /// Entering has taken too long.
    pub(super) fn overdue(&mut self, cx: &mut Context, leg: Ref) {
        let Some(entry) = self.legs.get_mut(&leg) else {
            return;
        };
        match entry.stage {
            // The conference does not say who is there: she sees herself.
            Stage::Entering => self.enter(cx, leg),
            Stage::Joining => {
                let timeout = End::Refused(Failure::Local(Local::Timeout));
                entry.show_end(cx, timeout);
                self.leave(cx, leg);
            }
            Stage::Present => {}
        }
    }

    /// The gateway stops: everybody is told, and leaves.
    pub(super) fn shut_down(&mut self, cx: &mut Context) {
        let legs: Vec<Ref> = self.legs.keys().copied().collect();
        for leg in legs {
            if let Some(entry) = self.legs.get_mut(&leg) {
                entry.again = None;
                entry.show_end(cx, End::Over { reason: None });
            }
            self.leave(cx, leg);
        }
    }
}

fn key_of(user: &Jid, conference: &Jid) -> LegKey {
    LegKey {
        user: user.canonical(),
        conference: conference.bare().canonical(),
    }
}

fn presence_error(
    cx: &mut Context,
    (from, to): (Jid, Jid),
    id: Option<String>,
    error: StanzaError,
) {
    cx.xmpp(XmppOut::PresenceError {
        from,
        to,
        id,
        error,
    });
}
