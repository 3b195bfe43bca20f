//! What the bridge on the right does: one room, which lets people in, repeats what they say, and knows their nicknames.

use std::collections::BTreeMap;

use stox_core::address::SipAddress;
use stox_core::failure::{Failure, Local};
use stox_core::vocab::{
    FocusEvent, FocusOut, Im, NickRefusal, Participant, Ref, Role, Roster, Text,
};

use crate::agent::address;

/// One SIP user in the room.
#[derive(Debug)]
pub(crate) struct Guest {
    pub(crate) user: SipAddress,
    pub(crate) nick: String,
}

#[derive(Debug, Default)]
pub(crate) struct Room {
    pub(crate) guests: BTreeMap<Ref, Guest>,
    pub(crate) subject: Option<String>,
    /// What was said to all, to one by his nickname, and by whom.
    pub(crate) said: Vec<(String, Option<String>, String)>,
    pub(crate) invited: Vec<(SipAddress, Option<String>)>,
    /// The fates of messages of the room.
    pub(crate) outcomes: BTreeMap<Ref, Vec<bool>>,
    /// Who is refused.
    pub(crate) banned: Option<SipAddress>,
    last: u64,
}

pub(crate) fn room() -> SipAddress {
    address("tea", "rooms.right.example")
}

/// An occupant.
pub(crate) fn occupant(nick: &str) -> SipAddress {
    SipAddress {
        gr: Some(nick.to_owned()),
        ..room()
    }
}

pub(crate) fn text(body: &str) -> Im {
    Im {
        id: Some(format!("id-{}", body.replace(' ', "-"))),
        bodies: vec![Text {
            lang: None,
            text: body.to_owned(),
        }],
        ..Im::default()
    }
}

impl Room {
    pub(crate) fn nicks(&self) -> Vec<String> {
        let mut nicks: Vec<String> = self.guests.values().map(|one| one.nick.clone()).collect();
        nicks.sort();
        nicks
    }

    fn has(&self, nick: &str) -> bool {
        self.guests.values().any(|guest| guest.nick == nick)
    }

    fn everybody(&self) -> Roster {
        Roster {
            full: true,
            present: self.guests.values().map(present).collect(),
            left: Vec::new(),
        }
    }

    /// The same to all but one.
    fn others(&self, but: Ref, roster: &Roster) -> Vec<FocusOut> {
        let others = self.guests.keys().filter(|leg| **leg != but);
        let roster = |leg: &Ref| FocusOut::Roster {
            leg: *leg,
            roster: roster.clone(),
        };
        others.map(roster).collect()
    }

    /// What the room does about something that a guest does.
    pub(crate) fn told(&mut self, leg: Ref, event: FocusEvent) -> Vec<FocusOut> {
        match event {
            FocusEvent::Asked { user, name, .. } => self.asked(leg, user, name),
            FocusEvent::Nick { nick } => self.wants_name(leg, nick),
            FocusEvent::Message { reference, to, im } => self.hears(leg, reference, to, &im),
            FocusEvent::Invite {
                reference,
                invitee,
                reason,
            } => {
                self.invited.push((invitee, reason));
                let outcome = Ok(());
                vec![FocusOut::Answer { reference, outcome }]
            }
            FocusEvent::Outcome { reference, outcome } => {
                let all = self.outcomes.get_mut(&reference);
                all.expect("it was sent").push(outcome.is_ok());
                Vec::new()
            }
            FocusEvent::Left => self.gone(leg),
        }
    }

    fn asked(&mut self, leg: Ref, user: SipAddress, name: Option<String>) -> Vec<FocusOut> {
        assert!(!self.guests.contains_key(&leg));
        if self.banned.as_ref() == Some(&user) {
            let failure = Failure::Local(Local::NotAllowed);
            let end = stox_core::vocab::End::Refused(failure);
            return vec![FocusOut::End { leg, end }];
        }
        let mut nick = name.unwrap_or_else(|| user.user.clone().unwrap());
        while self.has(&nick) {
            nick.push('_');
        }
        let guest = Guest {
            user,
            nick: nick.clone(),
        };
        let came = Roster {
            present: vec![present(&guest)],
            ..Roster::default()
        };
        let mut out = self.others(leg, &came);
        self.guests.insert(leg, guest);
        out.push(FocusOut::Accept { leg, nick });
        let roster = self.everybody();
        out.push(FocusOut::Roster { leg, roster });
        if self.subject.is_some() {
            out.push(self.topic(leg));
        }
        out
    }

    pub(crate) fn topic(&self, leg: Ref) -> FocusOut {
        let text = |text: &String| Text {
            lang: None,
            text: text.clone(),
        };
        FocusOut::Subject {
            leg,
            subject: self.subject.as_ref().map(text),
        }
    }

    fn wants_name(&mut self, leg: Ref, nick: String) -> Vec<FocusOut> {
        let own = self.guests[&leg].nick.clone();
        if own != nick && self.has(&nick) {
            let outcome = Err(NickRefusal::Taken);
            return vec![FocusOut::NickAnswer { leg, outcome }];
        }
        self.guests.get_mut(&leg).unwrap().nick.clone_from(&nick);
        let outcome = Ok(());
        let mut out = vec![FocusOut::NickAnswer { leg, outcome }];
        if own != nick {
            let roster = Roster {
                full: false,
                present: vec![present(&self.guests[&leg])],
                left: vec![occupant(&own)],
            };
            let all = self.guests.keys().map(|leg| FocusOut::Roster {
                leg: *leg,
                roster: roster.clone(),
            });
            out.extend(all);
        }
        out
    }

    fn hears(
        &mut self,
        leg: Ref,
        reference: Ref,
        to: Option<SipAddress>,
        im: &Im,
    ) -> Vec<FocusOut> {
        let from = self.guests[&leg].nick.clone();
        let body = im.bodies[0].text.clone();
        let to = to.map(|to| to.gr.expect("to an occupant"));
        self.said.push((body, to.clone(), from.clone()));
        let private = to.is_some();
        let heard = |(known, guest): &(&Ref, &Guest)| match &to {
            Some(nick) => guest.nick == *nick,
            None => **known != leg,
        };
        let to: Vec<Ref> = self
            .guests
            .iter()
            .filter(heard)
            .map(|(leg, _)| *leg)
            .collect();
        let outcome = match private && to.is_empty() {
            true => Err(Failure::Local(Local::NoUser)),
            false => Ok(()),
        };
        let from = occupant(&from);
        let mut out: Vec<FocusOut> = to
            .into_iter()
            .map(|leg| self.message(leg, &from, private, im))
            .collect();
        out.push(FocusOut::Answer { reference, outcome });
        out
    }

    /// A message to one guest.
    pub(crate) fn message(
        &mut self,
        leg: Ref,
        from: &SipAddress,
        private: bool,
        im: &Im,
    ) -> FocusOut {
        self.last += 1;
        let reference = Ref(1_000_000 + self.last);
        self.outcomes.insert(reference, Vec::new());
        FocusOut::Message {
            reference,
            leg,
            from: from.clone(),
            private,
            im: im.clone(),
        }
    }

    /// A guest is not there any more.
    pub(crate) fn gone(&mut self, leg: Ref) -> Vec<FocusOut> {
        let Some(guest) = self.guests.remove(&leg) else {
            return Vec::new();
        };
        let roster = Roster {
            left: vec![occupant(&guest.nick)],
            ..Roster::default()
        };
        self.others(leg, &roster)
    }
}

fn present(guest: &Guest) -> Participant {
    Participant {
        address: occupant(&guest.nick),
        nick: Some(guest.nick.clone()),
        role: Role::Participant,
    }
}
