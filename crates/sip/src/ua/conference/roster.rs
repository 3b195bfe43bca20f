//! Rosters of the core and conference documents (RFC 7702 Table 3, RFC 4575).

use std::collections::{BTreeMap, BTreeSet};

use stox_core::address::SipAddress;
use stox_core::vocab::{Participant, Role, Roster};

use crate::adapt;
use crate::body::conference_info::{self, Endpoint, Extent, Status, User};

/// What `roles` of conferences say, best first, and what that is in a room. Any other word, and none, is a participant.
const ROLES: [(&str, Role); 9] = [
    ("moderator", Role::Moderator),
    ("participant", Role::Participant),
    ("visitor", Role::Visitor),
    ("chair", Role::Moderator),
    ("administrator", Role::Moderator),
    ("organizer", Role::Moderator),
    ("presenter", Role::Moderator),
    ("observer", Role::Visitor),
    ("listener", Role::Visitor),
];

fn role(words: &[String]) -> Role {
    let known = |word: &String| {
        ROLES
            .iter()
            .position(|(known, _)| known.eq_ignore_ascii_case(word))
    };
    let best = words.iter().filter_map(known).min();
    best.and_then(|at| ROLES.get(at))
        .map_or(Role::Participant, |(_, role)| *role)
}

fn role_word(role: Role) -> Option<&'static str> {
    let row = ROLES.iter().find(|(_, known)| *known == role);
    row.map(|(word, _)| *word)
}

/// Those who are in a conference by what it tells; one address names one.
pub(super) fn participants(roster: &conference_info::Roster) -> Vec<Participant> {
    let mut seen = BTreeSet::new();
    let mut found = Vec::new();
    for user in roster.users().iter().filter(|user| user.is_present()) {
        let Ok(address) = adapt::address::from_text(&user.entity) else {
            continue;
        };
        if seen.insert(address.canonical()) {
            found.push(Participant {
                address,
                nick: user.display_text.clone(),
                role: role(&user.roles),
            });
        }
    }
    found
}

/// A participant of a room, as its documents tell of him.
pub(super) fn user(participant: &Participant) -> User {
    let entity = adapt::address::to_uri(&participant.address).to_string();
    let endpoint = Endpoint {
        entity: entity.clone(),
        status: Some(Status::Connected),
        ..Endpoint::default()
    };
    User {
        entity,
        extent: Extent::Full,
        display_text: participant.nick.clone(),
        roles: role_word(participant.role)
            .map(str::to_owned)
            .into_iter()
            .collect(),
        endpoints: vec![endpoint],
    }
}

/// One who has left.
pub(super) fn gone(address: &SipAddress) -> User {
    User {
        entity: adapt::address::to_uri(address).to_string(),
        extent: Extent::Deleted,
        ..User::default()
    }
}

/// Everybody who is there, by canonical address.
#[derive(Debug, Default)]
pub(super) struct Present {
    by_address: BTreeMap<SipAddress, Participant>,
}

impl Present {
    /// Everybody at once: what has changed by that. `None` where nothing has.
    pub(super) fn replace(&mut self, all: Vec<Participant>) -> Option<Roster> {
        let mut before = std::mem::take(&mut self.by_address);
        let mut changes = Roster::default();
        for participant in all {
            let key = participant.address.canonical();
            if before.remove(&key).as_ref() != Some(&participant) {
                changes.present.push(participant.clone());
            }
            self.by_address.insert(key, participant);
        }
        let left = before.into_values().map(|participant| participant.address);
        changes.left = left.collect();
        let changed = !changes.present.is_empty() || !changes.left.is_empty();
        changed.then_some(changes)
    }

    /// Somebody who is there.
    pub(super) fn insert(&mut self, participant: Participant) {
        let key = participant.address.canonical();
        self.by_address.insert(key, participant);
    }

    /// Takes in what a room tells, and says whose entries it touches, by canonical address.
    pub(super) fn apply(&mut self, roster: Roster) -> BTreeSet<SipAddress> {
        let mut touched = BTreeSet::new();
        if roster.full {
            touched.extend(std::mem::take(&mut self.by_address).into_keys());
        }
        for address in roster.left {
            let key = address.canonical();
            self.by_address.remove(&key);
            touched.insert(key);
        }
        for participant in roster.present {
            touched.insert(participant.address.canonical());
            self.insert(participant);
        }
        touched
    }

    /// All of them.
    pub(super) fn all(&self) -> impl Iterator<Item = &Participant> {
        self.by_address.values()
    }

    pub(super) fn len(&self) -> usize {
        self.by_address.len()
    }

    /// The one with this address.
    pub(super) fn get(&self, canonical: &SipAddress) -> Option<&Participant> {
        self.by_address.get(canonical)
    }

    /// The one that a message names: by his address, by the one address that differs from it in `gr` alone, or by the one
    /// nickname.
    pub(super) fn find(&self, address: &SipAddress, name: Option<&str>) -> Option<&Participant> {
        let address = address.canonical();
        if let Some(found) = self.by_address.get(&address) {
            return Some(found);
        }
        let bare = address.bare();
        let first = self.by_address.range(bare.clone()..);
        let mut devices = first
            .take_while(|(key, _)| key.bare() == bare)
            .map(|(_, participant)| participant);
        if let (Some(one), None) = (devices.next(), devices.next()) {
            return Some(one);
        }
        let mut named = self
            .all()
            .filter(|one| name.is_some() && one.nick.as_deref() == name);
        match (named.next(), named.next()) {
            (Some(one), None) => Some(one),
            _ => None,
        }
    }
}
