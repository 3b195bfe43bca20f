//! Who is in a conference, with one nickname for each (RFC 7702 §7).

use std::collections::BTreeMap;

use crate::address::{SipAddress, sip_to_jid};
use crate::vocab::{Participant, Role, Roster};

use super::nick;

/// Numbers tried behind a nickname that is taken.
const TRIES: u32 = 50;

/// Somebody as the XMPP user sees him.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Person {
    /// His nickname, unique in the room.
    pub(super) nick: String,
    pub(super) role: Role,
    /// As the conference names him.
    pub(super) address: SipAddress,
    /// The nickname that the conference gives him.
    base: String,
}

/// What a roster changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Change {
    /// He is there, or may do something else than before.
    Present(Person),
    /// He goes on under another nickname.
    Renamed {
        /// Until now.
        old: String,
        /// From now on.
        person: Person,
    },
    /// He is gone.
    Left(Person),
}

/// Everybody but the user herself.
#[derive(Debug, Default)]
pub(super) struct People {
    people: BTreeMap<SipAddress, Person>,
    /// Whose a nickname is, by its key; `None`: the user's own.
    nicks: BTreeMap<String, Option<SipAddress>>,
}

impl Person {
    /// The user herself.
    pub(super) fn of_own(nick: &str, role: Role, address: &SipAddress) -> Self {
        Self {
            nick: nick.to_owned(),
            role,
            address: address.clone(),
            base: nick.to_owned(),
        }
    }
}

impl People {
    /// Whether somebody has this nickname, or the user herself.
    pub(super) fn has(&self, nick: &str) -> bool {
        self.nicks.contains_key(&nick::key(nick))
    }

    pub(super) fn len(&self) -> usize {
        self.people.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Person> {
        self.people.values()
    }

    pub(super) fn get(&self, address: &SipAddress) -> Option<&Person> {
        self.people.get(&address.canonical())
    }

    /// The one of this nickname.
    pub(super) fn named(&self, nick: &str) -> Option<&Person> {
        let address = self.nicks.get(&nick::key(nick))?.as_ref()?;
        self.people.get(address)
    }

    /// Gives the user herself a nickname, and takes her old one back. It is another one than she wanted where somebody
    /// has that.
    pub(super) fn own_nick(&mut self, old: Option<&str>, wanted: &str) -> String {
        if let Some(old) = old.map(nick::key)
            && self.nicks.get(&old) == Some(&None)
        {
            self.nicks.remove(&old);
        }
        let nick = self
            .free_nick(wanted, None)
            .unwrap_or_else(|| wanted.to_owned());
        self.nicks.entry(nick::key(&nick)).or_insert(None);
        nick
    }

    /// Takes a roster without the user herself. Those for whom there is no room are passed over.
    pub(super) fn update(&mut self, roster: Roster, room: usize) -> Vec<Change> {
        let mut changes = Vec::new();
        let mut gone: Vec<SipAddress> = roster.left.iter().map(SipAddress::canonical).collect();
        if roster.full {
            let mut absent: BTreeMap<SipAddress, ()> =
                self.people.keys().map(|key| (key.clone(), ())).collect();
            for participant in &roster.present {
                absent.remove(&participant.address.canonical());
            }
            gone = absent.into_keys().collect();
        }
        changes.extend(
            gone.iter()
                .filter_map(|key| self.remove(key))
                .map(Change::Left),
        );
        for participant in roster.present {
            changes.extend(self.put(participant, room));
        }
        changes
    }

    fn put(&mut self, participant: Participant, room: usize) -> Option<Change> {
        let key = participant.address.canonical();
        let base = base_nick(&participant);
        let full = self.people.len() >= room;
        match self.people.get_mut(&key) {
            Some(person) if person.base == base => {
                if person.role == participant.role {
                    return None;
                }
                person.role = participant.role;
                Some(Change::Present(person.clone()))
            }
            Some(_) => self.rename(key, participant, base),
            None if full => None,
            None => {
                let nick = self.free_nick(&base, Some(&key))?;
                Some(Change::Present(self.insert(key, participant, base, nick)))
            }
        }
    }

    fn rename(
        &mut self,
        key: SipAddress,
        participant: Participant,
        base: String,
    ) -> Option<Change> {
        let old = self.remove(&key)?;
        let nick = self
            .free_nick(&base, Some(&key))
            .unwrap_or_else(|| old.nick.clone());
        let person = self.insert(key, participant, base, nick);
        Some(if person.nick == old.nick {
            Change::Present(person)
        } else {
            Change::Renamed {
                old: old.nick,
                person,
            }
        })
    }

    fn insert(
        &mut self,
        key: SipAddress,
        participant: Participant,
        base: String,
        nick: String,
    ) -> Person {
        let person = Person {
            nick,
            role: participant.role,
            address: participant.address,
            base,
        };
        self.nicks
            .insert(nick::key(&person.nick), Some(key.clone()));
        self.people.insert(key, person.clone());
        person
    }

    fn remove(&mut self, key: &SipAddress) -> Option<Person> {
        let person = self.people.remove(key)?;
        self.nicks.remove(&nick::key(&person.nick));
        Some(person)
    }

    /// The nickname, with a number or the address behind it where somebody has it.
    fn free_nick(&self, base: &str, owner: Option<&SipAddress>) -> Option<String> {
        let free = |nick: &String| !self.nicks.contains_key(&nick::key(nick));
        let numbered = (2..10).map(|number| format!("{base} {number}"));
        let with_address = owner
            .and_then(|owner| nick::enforce(&format!("{base} ({owner})")))
            .unwrap_or_else(|| base.to_owned());
        let again = (2..TRIES).map(|number| format!("{with_address} {number}"));
        std::iter::once(base.to_owned())
            .chain(numbered)
            .chain([with_address.clone()])
            .chain(again)
            .find(free)
            .filter(|nick| nick::enforce(nick).as_deref() == Some(nick))
    }
}

/// The nickname that somebody has by himself.
pub(super) fn base_nick(participant: &Participant) -> String {
    participant
        .nick
        .as_deref()
        .and_then(nick::enforce)
        .unwrap_or_else(|| nick_of(&participant.address))
}

/// A nickname for somebody of whom only the address is known.
pub(super) fn nick_of(address: &SipAddress) -> String {
    sip_to_jid(&address.bare())
        .ok()
        .and_then(|jid| jid.local)
        .and_then(|local| nick::enforce(&local))
        .unwrap_or_else(|| "participant".to_owned())
}
