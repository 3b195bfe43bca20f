//! Group chat (RFC 7702): XMPP users in SIP conferences, SIP users in XMPP rooms, and invitations to either.
//!
//! The machines here share the bridge's way out and its timers. Each takes what is about a room of its own and gives
//! back everything else, so that rooms and contacts never see each other's stanzas.

use std::collections::BTreeMap;

use crate::address::Jid;
use crate::bridge::context::Context;
use crate::failure::{Condition, Failure, Local, StanzaError};
use crate::time::Now;
use crate::vocab::{MucIn, PresenceKind, Ref, SipIn, XmppIn};

mod conference;
mod guest;
mod invitation;
mod nick;
mod people;
mod settings;

pub use settings::Settings;

use conference::Conferences;
use guest::Guests;
use invitation::Invitations;

/// What a timer of a room is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    /// An XMPP user has waited long enough for a conference.
    Enter(Ref),
    /// A SIP user has waited long enough for a room.
    Join(Ref),
    /// The same for a nickname.
    Nick(Ref),
    /// The same for the repetition of a message.
    Repeat(Ref),
    /// A room may have forgotten a SIP user.
    Check(Ref),
}

/// All rooms.
#[derive(Default)]
pub(crate) struct Rooms {
    conferences: Conferences,
    guests: Guests,
    invitations: Invitations,
}

impl Rooms {
    pub(crate) fn in_conferences(&self) -> usize {
        self.conferences.leg_count()
    }

    pub(crate) fn in_rooms(&self) -> usize {
        self.guests.leg_count()
    }

    /// Messages and invitations without an outcome.
    pub(crate) fn pending(&self) -> usize {
        self.conferences.pending_count()
            + self.guests.pending_count()
            + self.invitations.pending_count()
    }

    /// See [`crate::bridge::Bridge::in_conference`].
    pub(crate) fn in_conference(&self, user: &Jid, occupant: &Jid) -> Option<bool> {
        self.conferences.knows(user, occupant)
    }

    /// Takes a word of the XMPP side; gives back what is not about a room.
    pub(crate) fn xmpp(&mut self, cx: &mut Context, input: XmppIn, now: Now) -> Option<XmppIn> {
        match input {
            XmppIn::Muc(input) => {
                self.muc(cx, input, now);
                None
            }
            XmppIn::Message { from, to, im } => self
                .guests
                .stanza(cx, from, to, im, now)
                .and_then(|(from, to, im)| self.conferences.message(cx, from, to, im))
                .map(|(from, to, im)| XmppIn::Message { from, to, im }),
            XmppIn::MessageError {
                from,
                to,
                id,
                error,
            } => {
                let taken = self
                    .guests
                    .message_error(cx, &from, &to, id.as_ref(), &error)
                    || self
                        .conferences
                        .message_error(cx, (&from, &to), id.as_ref(), &error)
                    || self
                        .invitations
                        .message_error(cx, (&from, &to), id.as_ref(), &error);
                (!taken).then_some(XmppIn::MessageError {
                    from,
                    to,
                    id,
                    error,
                })
            }
            XmppIn::PresenceError { from, to, error } => {
                let taken = self.guests.presence_error(cx, &from, &to, &error)
                    || self.conferences.error(cx, &from, &to, &error);
                (!taken).then_some(XmppIn::PresenceError { from, to, error })
            }
            XmppIn::Presence {
                from,
                to,
                id,
                trace,
                kind,
            } => {
                let taken = match &kind {
                    PresenceKind::Available(_) => {
                        self.conferences.available(cx, &from, &to, id.as_ref())
                    }
                    PresenceKind::Unavailable(_) => self.conferences.unavailable(cx, &from, &to),
                    _ => false,
                };
                (!taken).then_some(XmppIn::Presence {
                    from,
                    to,
                    id,
                    trace,
                    kind,
                })
            }
            XmppIn::Settled { reference, outcome } => {
                let taken = self.conferences.settled(cx, reference, &outcome)
                    || self.guests.settled(cx, reference, &outcome)
                    || self.invitations.settled(cx, reference, &outcome);
                (!taken).then_some(XmppIn::Settled { reference, outcome })
            }
            XmppIn::Receipt { .. } | XmppIn::Unreadable { .. } => Some(input),
        }
    }

    /// Takes a word of the SIP side; gives back what is not about a room.
    pub(crate) fn sip(&mut self, cx: &mut Context, input: SipIn, now: Now) -> Option<SipIn> {
        match input {
            SipIn::Conference { leg, event } => self.conferences.event(cx, leg, event, now),
            SipIn::Focus { leg, event } => self.guests.event(cx, leg, event, now),
            SipIn::Invitation(invitation) => self.invitations.invite_xmpp_user(cx, &invitation),
            SipIn::Outcome { reference, outcome } => {
                return self
                    .invitations
                    .outcome(cx, reference, &outcome)
                    .then_some(())
                    .map_or(Some(SipIn::Outcome { reference, outcome }), |()| None);
            }
            other => return Some(other),
        }
        None
    }

    /// Does what is due.
    pub(crate) fn due(&mut self, cx: &mut Context, timer: Timer, now: Now) {
        match timer {
            Timer::Enter(leg) => self.conferences.overdue(cx, leg),
            Timer::Join(leg) => self.guests.join_overdue(cx, leg),
            Timer::Nick(leg) => self.guests.nick_overdue(cx, leg),
            Timer::Repeat(stanza) => self.guests.repeat_overdue(cx, stanza),
            Timer::Check(leg) => self.guests.check(cx, leg, now),
        }
    }

    /// Everybody leaves.
    pub(crate) fn shut_down(&mut self, cx: &mut Context) {
        self.conferences.shut_down(cx);
        self.guests.shut_down(cx);
    }

    fn muc(&mut self, cx: &mut Context, input: MucIn, now: Now) {
        match input {
            MucIn::Join { from, to, id } => self.conferences.join(cx, from, to, id, now),
            MucIn::Occupant { from, to, presence } => {
                self.guests.presence(cx, &from, &to, &presence, now);
            }
            MucIn::Invite {
                from,
                to,
                id,
                invitees,
                reason,
            } => {
                let words = reason.as_ref();
                let addresses = (&from, &to);
                let taken = self
                    .conferences
                    .invite(cx, addresses, id.as_ref(), &invitees, words);
                if !taken {
                    let error = StanzaError::new(Condition::NotAcceptable);
                    cx.report_new((to, from, id), error);
                }
            }
            MucIn::Invited { .. } => self.invitations.invite_sip_user(cx, input),
            MucIn::Declined {
                from,
                to,
                by,
                reason,
            } => self
                .guests
                .declined(cx, &from, &to, by.as_ref(), reason.as_deref()),
            MucIn::Pong {
                from,
                reference,
                joined,
            } => self.guests.pong(cx, &from, reference, joined),
        }
    }
}

/// The conditions over which a room removes an occupant (XEP-0045 §18.3.3).
fn is_gone(condition: Condition) -> bool {
    matches!(
        condition,
        Condition::Gone
            | Condition::ItemNotFound
            | Condition::RecipientUnavailable
            | Condition::Redirect
            | Condition::RemoteServerNotFound
            | Condition::RemoteServerTimeout
            | Condition::JidMalformed
            | Condition::InternalServerError
            | Condition::ServiceUnavailable
    )
}

/// Whether a failure says that the other domain cannot be reached.
fn is_lost(failure: &Failure) -> bool {
    matches!(
        failure,
        Failure::Local(
            Local::DomainNotFound
                | Local::SipDomain
                | Local::Unreachable
                | Local::TransportFailed
                | Local::Timeout
        )
    )
}

fn release(counts: &mut BTreeMap<Jid, usize>, user: &Jid) {
    if let Some(count) = counts.get_mut(user) {
        *count = count.saturating_sub(1);
        if *count == 0 {
            counts.remove(user);
        }
    }
}

#[cfg(test)]
mod tests;
