//! What a room says, and what a SIP user is told of it.

use std::collections::BTreeMap;

use crate::address::{Jid, Scheme, SipAddress, jid_to_sip, sip_to_jid};
use crate::bridge::context::{Context, Timer as BridgeTimer};
use crate::failure::{Condition, Failure, Local, StanzaError};
use crate::vocab::{
    End, FocusOut, Im, ImKind, MucOut, OccupantPresence, Participant, Ref, Role, Roster, Text,
    Wants, XmppOut,
};

use super::super::{Timer, is_gone};
use super::{Guests, Leg, Outgoing, Stage};

/// Status codes of XEP-0045 §15.6.2.
pub(super) const OWN: u16 = 110;
pub(super) const CREATED: u16 = 201;
const BANNED: u16 = 301;
const NEW_NICK: u16 = 303;
const REMOVED: [u16; 3] = [307, 321, 322];
const SERVICE_STOPS: u16 = 332;
const CONNECTION_LOST: u16 = 333;

impl Guests {
    /// Takes what a presence says into the list of occupants, and says what of it is new.
    pub(super) fn note(
        &mut self,
        cx: &Context,
        leg: Ref,
        nick: &str,
        presence: &OccupantPresence,
    ) -> Option<Roster> {
        let settings = &cx.settings.rooms;
        let entry = self.legs.get_mut(&leg)?;
        let before = entry.occupants.len();
        let full =
            before >= settings.max_occupants || self.occupants >= settings.max_occupants_overall;
        let roster = entry.note(nick, presence, full);
        self.occupants = self.occupants.saturating_sub(before) + entry.occupants.len();
        roster
    }
}

impl Leg {
    /// Whether an occupant is he himself. Old rooms leave status 110 out.
    pub(super) fn is_own(&self, nick: &str, presence: &OccupantPresence) -> bool {
        if presence.statuses.contains(&OWN) {
            return true;
        }
        match &presence.jid {
            Some(jid) => jid.match_key() == self.jid.match_key(),
            None => nick == self.nick && self.stage == Stage::Present,
        }
    }

    /// The name that a presence gives to its occupant from now on, where it can be one.
    pub(super) fn renamed<'a>(&self, presence: &'a OccupantPresence) -> Option<&'a str> {
        let new = presence.new_nick.as_deref();
        let new = new.filter(|_| !presence.available && is_rename(presence))?;
        self.room.with_resource(new).check().is_ok().then_some(new)
    }

    fn note(&mut self, nick: &str, presence: &OccupantPresence, full: bool) -> Option<Roster> {
        let mut roster = Roster::default();
        let known = self.occupants.get(nick).copied();
        let (now_called, role) = if presence.available {
            (Some(nick), presence.role)
        } else {
            self.occupants.remove(nick);
            roster.left.extend(known.and(self.address_of(Some(nick))));
            let renamed = self.renamed(presence).filter(|_| known.is_some());
            (renamed, known.unwrap_or_default())
        };
        if let Some(nick) = now_called
            && (!full || self.occupants.contains_key(nick))
            && let Some(participant) = self.participant(nick, role)
            && self.occupants.insert(nick.to_owned(), role) != Some(role)
        {
            roster.present.push(participant);
        }
        (roster != Roster::default()).then_some(roster)
    }

    pub(super) fn full_roster(&self) -> Roster {
        Roster {
            full: true,
            present: self
                .occupants
                .iter()
                .filter_map(|(nick, role)| self.participant(nick, *role))
                .collect(),
            left: Vec::new(),
        }
    }

    fn participant(&self, nick: &str, role: Role) -> Option<Participant> {
        Some(Participant {
            address: self.address_of(Some(nick))?,
            nick: Some(nick.to_owned()),
            role,
        })
    }

    /// An occupant's address in SIP, or the room's.
    pub(super) fn address_of(&self, nick: Option<&str>) -> Option<SipAddress> {
        match nick {
            None => Some(self.room_sip.clone()),
            Some(nick) => jid_to_sip(&self.room.with_resource(nick), Scheme::Sip).ok(),
        }
    }

    /// The occupant that a SIP address names.
    pub(super) fn occupant(&self, address: &SipAddress) -> Result<String, Local> {
        let jid = sip_to_jid(address).map_err(|_| Local::BadAddress)?;
        let nick = jid.resource.as_ref().ok_or(Local::NoUser)?;
        if self.is_room(&jid) && self.occupants.contains_key(nick) {
            Ok(nick.clone())
        } else {
            Err(Local::NoUser)
        }
    }

    pub(super) fn set_subject(&mut self, cx: &mut Context, leg: Ref, subject: Option<Text>) {
        let subject = subject.filter(|subject| !subject.text.is_empty());
        if subject == self.subject {
            return;
        }
        self.subject.clone_from(&subject);
        if self.stage == Stage::Present {
            cx.focus(FocusOut::Subject { leg, subject });
        }
    }

    /// The message of his that the room repeats here, by its id. COMPAT(rooms without stable ids): the oldest one of
    /// that text.
    pub(super) fn repeated(
        &self,
        outgoing: &BTreeMap<Ref, Outgoing>,
        from: &Jid,
        im: &Im,
    ) -> Option<Ref> {
        let own = from.resource.as_ref() == Some(&self.nick);
        if !own || im.kind != ImKind::Groupchat || im.sent_at.is_some() {
            return None;
        }
        let by_id = im.id.as_ref().and_then(|id| self.by_id.get(id));
        let text = im.bodies.first().map(|body| &body.text);
        let same = |stanza: &&Ref| {
            outgoing.get(stanza).is_some_and(|waiting| {
                !waiting.private && text.is_some() && waiting.text.as_ref() == text
            })
        };
        by_id
            .or_else(|| self.by_id.values().filter(same).min())
            .copied()
    }

    /// Whether that is the room, or an occupant of it, as its server spells it.
    pub(super) fn is_room(&self, from: &Jid) -> bool {
        let from = from.bare();
        from == self.room || from.match_key() == self.room.match_key()
    }

    pub(super) fn disarm(&self, cx: &mut Context, leg: Ref) {
        let change = self.change.as_ref().map(|change| change.deadline);
        let timers = [
            (self.deadline, Timer::Join(leg)),
            (self.check_at, Timer::Check(leg)),
            (change, Timer::Nick(leg)),
        ];
        for (at, timer) in timers {
            if let Some(at) = at {
                cx.disarm(at, BridgeTimer::Room(timer));
            }
        }
    }
}

pub(super) fn is_rename(presence: &OccupantPresence) -> bool {
    presence.statuses.contains(&NEW_NICK)
}

/// Why a room shows somebody as gone to himself.
pub(super) fn end_of(presence: &OccupantPresence) -> End {
    let has = |code: &u16| presence.statuses.contains(code);
    let reason = presence.reason.clone();
    if let Some(destroyed) = &presence.destroyed {
        End::Over {
            reason: destroyed.reason.clone(),
        }
    } else if has(&BANNED) {
        End::Banned { reason }
    } else if has(&SERVICE_STOPS) {
        End::Over { reason }
    } else if has(&CONNECTION_LOST) {
        End::Lost(Failure::Local(Local::TransportFailed))
    } else if REMOVED.iter().any(has) {
        End::Removed { reason }
    } else {
        End::Lost(Failure::Local(Local::TransportFailed))
    }
}

/// The failure that a room reported. It is one place, not all devices of somebody: its code is never a 6xx for lack of
/// others (RFC 7247 §7.1 notes 1 and 2).
pub(super) fn refused(error: StanzaError) -> Failure {
    let new_address = error
        .new_address
        .as_deref()
        .and_then(|uri| Jid::from_uri(uri).ok());
    Failure::Xmpp {
        error,
        from_full_jid: true,
        new_address,
    }
}

/// A message of his as a stanza.
pub(super) fn stanza(
    reference: Ref,
    from: Jid,
    room: Jid,
    occupant: Option<String>,
    id: String,
    im: Im,
) -> XmppOut {
    let im = Im {
        id: Some(id),
        thread: None,
        chat_state: None,
        wants: Wants::default(),
        sent_at: None,
        kind: if occupant.is_some() {
            ImKind::Chat
        } else {
            ImKind::Groupchat
        },
        ..im
    };
    match occupant {
        Some(nick) => XmppOut::Muc(MucOut::Private {
            reference,
            from,
            to: room.with_resource(&nick),
            im,
        }),
        None => XmppOut::Message {
            reference,
            from,
            to: room,
            im,
        },
    }
}

/// An error for the sender of a private message that does not make the room remove the recipient (XEP-0045 §18.3.3).
pub(super) fn harmless(error: StanzaError) -> StanzaError {
    if is_gone(error.condition) {
        StanzaError {
            text: error.text,
            ..StanzaError::new(Condition::UndefinedCondition)
        }
    } else {
        error
    }
}
