//! What one XMPP user is shown of a conference.

use crate::address::{Jid, sip_to_jid};
use crate::bridge::context::Context;
use crate::failure::{Condition, Failure, Local, StanzaError, to_stanza};
use crate::vocab::{
    Affiliation, ConferenceOut, End, Im, ImKind, MucOut, OccupantPresence, Participant, Ref, Role,
    Roster, XmppOut,
};

use super::super::people::{Change as Move, Person};
use super::{Early, Leg, SipAddress, Stage, nick_of, presence_error};

/// Status codes of XEP-0045 §15.6.2.
const NON_ANONYMOUS: u16 = 100;
const OWN: u16 = 110;
const NICK_CHANGED_BY_ROOM: u16 = 210;
const BANNED: u16 = 301;
const NEW_NICK: u16 = 303;
const REMOVED: u16 = 307;
const SERVICE_STOPS: u16 = 332;
const CONNECTION_LOST: u16 = 333;

impl Leg {
    /// Takes a roster; she herself is not among the changes.
    pub(super) fn update(&mut self, mut roster: Roster, room: usize) -> Vec<Move> {
        let own = &self.own;
        let role = roster
            .present
            .iter()
            .find(|participant| is_own(own, &participant.address))
            .map(|participant: &Participant| participant.role);
        roster
            .present
            .retain(|participant| !is_own(own, &participant.address));
        let old_role = self.role;
        self.role = role.unwrap_or(self.role);
        let mut changes = self.people.update(roster, room);
        if self.role != old_role {
            changes.push(Move::Present(Person::of_own(
                &self.nick, self.role, &self.own,
            )));
        }
        changes
    }

    /// The whole room as somebody sees it who enters: herself last (RFC 7702 §5.4), then the subject, which is said even
    /// where there is none.
    pub(super) fn show_all(&self, cx: &mut Context) {
        for person in self.people.iter() {
            self.show(cx, &person.nick, self.presence(person));
        }
        let mut own = self.own_presence();
        if self.nick != self.asked {
            own.statuses.push(NICK_CHANGED_BY_ROOM);
        }
        self.show(cx, &self.nick, own);
        self.show_subject(cx);
    }

    pub(super) fn show_subject(&self, cx: &mut Context) {
        cx.xmpp(XmppOut::Muc(MucOut::Subject {
            from: self.conference.clone(),
            to: self.user.clone(),
            subject: self.subject.clone(),
        }));
    }

    pub(super) fn show_change(&self, cx: &mut Context, change: &Move) {
        match change {
            Move::Present(person) if person.address == self.own => {
                self.show(cx, &self.nick, self.own_presence());
            }
            Move::Present(person) => self.show(cx, &person.nick, self.presence(person)),
            Move::Renamed { old, person } => {
                let new = self.presence(person);
                self.show(cx, old, leaving_for(&person.nick, new.clone()));
                self.show(cx, &person.nick, new);
            }
            Move::Left(person) => self.show(cx, &person.nick, absent(self.presence(person))),
        }
    }

    /// Her own new nickname (XEP-0045 §7.6).
    pub(super) fn show_own_nick(&mut self, cx: &mut Context, wanted: &str) {
        let old = std::mem::take(&mut self.nick);
        self.nick = self.people.own_nick(Some(&old), wanted);
        self.asked.clone_from(&self.nick);
        let new = self.own_presence();
        let mut last = leaving_for(&self.nick, new.clone());
        last.statuses = vec![OWN, NEW_NICK];
        self.show(cx, &old, last);
        self.show(cx, &self.nick, new);
    }

    /// Why she is out. Once.
    pub(super) fn show_end(&mut self, cx: &mut Context, end: End) {
        if std::mem::replace(&mut self.told, true) {
            return;
        }
        if self.stage == Stage::Joining && !self.leaving {
            let from = self.conference.with_resource(&self.asked);
            let error = refusal(end);
            return presence_error(cx, (from, self.user.clone()), self.id.take(), error);
        }
        let mut last = absent(self.own_presence());
        last.statuses = vec![OWN];
        let status = match end {
            End::Left | End::Refused(_) | End::NickTaken => None,
            End::Removed { reason } => {
                last.reason = reason;
                Some(REMOVED)
            }
            End::Banned { reason } => {
                last.reason = reason;
                last.affiliation = Affiliation::Outcast;
                Some(BANNED)
            }
            End::Over { reason } => {
                last.reason = reason;
                Some(SERVICE_STOPS)
            }
            End::Lost(failure) => {
                last.reason = to_stanza(&failure).text;
                Some(CONNECTION_LOST)
            }
        };
        last.statuses.extend(status);
        self.show(cx, &self.nick, last);
    }

    /// The participant that an occupant's address names; `None`: all of them.
    pub(super) fn recipient(
        &self,
        to: &Jid,
        kind: ImKind,
    ) -> Result<Option<SipAddress>, StanzaError> {
        match &to.resource {
            None => Ok(None),
            // XEP-0045 §7.5: never to one occupant as if it were to all.
            Some(_) if kind == ImKind::Groupchat => Err(StanzaError::new(Condition::BadRequest)),
            Some(_) if !self.private_messages => Err(super::local_error(Local::NotImplemented)),
            Some(nick) => match self.people.named(nick) {
                Some(person) => Ok(Some(person.address.clone())),
                None if *nick == self.nick => Ok(Some(self.own.clone())),
                None => Err(StanzaError::new(Condition::ItemNotFound)),
            },
        }
    }

    /// Her own message as the room repeats it (RFC 7702 §5.5.1).
    pub(super) fn echo(&self, cx: &mut Context, im: Im) -> Ref {
        let reference = cx.fresh_ref();
        let im = room_im(cx, im, ImKind::Groupchat);
        cx.xmpp(XmppOut::Message {
            reference,
            from: self.conference.with_resource(&self.nick),
            to: self.user.clone(),
            im,
        });
        reference
    }

    /// What somebody in the conference said, as a stanza with its id. `None`: it has nothing to show.
    pub(super) fn stanza(
        &self,
        cx: &mut Context,
        said: Early,
    ) -> Option<(Ref, Option<String>, XmppOut)> {
        let Early {
            from, private, im, ..
        } = said;
        if im.bodies.iter().all(|body| body.text.is_empty()) {
            return None;
        }
        let from = self.speaker(&from);
        let to = self.user.clone();
        let reference = cx.fresh_ref();
        let kind = if private {
            ImKind::Chat
        } else {
            ImKind::Groupchat
        };
        let im = room_im(cx, im, kind);
        let id = im.id.clone();
        let out = if private {
            XmppOut::Muc(MucOut::Private {
                reference,
                from,
                to,
                im,
            })
        } else {
            XmppOut::Message {
                reference,
                from,
                to,
                im,
            }
        };
        Some((reference, id, out))
    }

    /// Those who are not in the roster speak under the name of their address; nobody under that of another.
    fn speaker(&self, address: &SipAddress) -> Jid {
        if address.canonical() == self.conference_sip.canonical() {
            return self.conference.clone();
        }
        if let Some(person) = self.people.get(address) {
            return self.conference.with_resource(&person.nick);
        }
        if is_own(&self.own, address) {
            return self.conference.with_resource(&self.nick);
        }
        let nick = nick_of(address);
        if self.people.has(&nick) {
            let whole = super::nick::enforce(&address.to_string());
            return match whole.filter(|nick| !self.people.has(nick)) {
                Some(nick) => self.conference.with_resource(&nick),
                None => self.conference.clone(),
            };
        }
        self.conference.with_resource(&nick)
    }

    pub(super) fn refuse_early(&mut self, cx: &mut Context) {
        for said in std::mem::take(&mut self.early) {
            self.incoming = self.incoming.saturating_sub(1);
            cx.conference(ConferenceOut::Answer {
                reference: said.reference,
                outcome: Err(Failure::Local(Local::NoUser)),
            });
        }
    }

    fn show(&self, cx: &mut Context, nick: &str, presence: OccupantPresence) {
        cx.xmpp(XmppOut::Muc(MucOut::Occupant {
            from: self.conference.with_resource(nick),
            to: self.user.clone(),
            presence,
        }));
    }

    fn own_presence(&self) -> OccupantPresence {
        OccupantPresence {
            available: true,
            role: self.role,
            jid: Some(self.user.clone()),
            statuses: vec![NON_ANONYMOUS, OWN],
            ..OccupantPresence::default()
        }
    }

    fn presence(&self, person: &Person) -> OccupantPresence {
        OccupantPresence {
            available: true,
            role: person.role,
            jid: sip_to_jid(&person.address)
                .ok()
                .filter(|jid| !jid.domain.ends_with(".invalid")),
            ..OccupantPresence::default()
        }
    }
}

fn is_own(own: &SipAddress, address: &SipAddress) -> bool {
    address.bare().canonical() == *own
}

fn absent(presence: OccupantPresence) -> OccupantPresence {
    OccupantPresence {
        available: false,
        role: Role::None,
        ..presence
    }
}

fn leaving_for(nick: &str, presence: OccupantPresence) -> OccupantPresence {
    OccupantPresence {
        available: false,
        new_nick: Some(nick.to_owned()),
        statuses: vec![NEW_NICK],
        ..presence
    }
}

/// Why she did not get in.
fn refusal(end: End) -> StanzaError {
    let (condition, text) = match end {
        End::Refused(failure) | End::Lost(failure) => return to_stanza(&failure),
        End::NickTaken => (Condition::Conflict, None),
        End::Removed { reason } | End::Banned { reason } => (Condition::Forbidden, reason),
        End::Over { reason } => (Condition::ItemNotFound, reason),
        End::Left => (Condition::RecipientUnavailable, None),
    };
    StanzaError {
        text,
        ..StanzaError::new(condition)
    }
}

/// A message as a room sends it: nobody in a room is asked for receipts or told who types.
fn room_im(cx: &mut Context, im: Im, kind: ImKind) -> Im {
    Im {
        kind,
        id: Some(im.id.unwrap_or_else(|| cx.entropy.token())),
        chat_state: None,
        wants: crate::vocab::Wants::default(),
        ..im
    }
}
