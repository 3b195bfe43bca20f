//! What SIP users have shown to understand, or refused (RFC 3994 §4).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use stox_core::address::SipAddress;

/// Users that are remembered; the one who has not shown anything for the longest time is forgotten first.
const MAX_USERS: usize = 10_000;
/// For how long.
pub(super) const MEMORY: Duration = Duration::from_secs(24 * 3600);

/// What a user may understand beside text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::ua) enum Skill {
    /// Notices of typing.
    Typing,
    /// Wrappers with wishes for receipts.
    Wrapper,
}

impl Skill {
    /// All, with the media type that each is about.
    pub(super) const TYPES: [(Self, &'static str, &'static str); 2] = [
        (Self::Typing, "application", "im-iscomposing+xml"),
        (Self::Wrapper, "message", "cpim"),
    ];
}

#[derive(Debug, Default)]
struct User {
    /// Understood or refused, and until when that is believed.
    skills: BTreeMap<Skill, (bool, Duration)>,
    language: Option<String>,
    heard: Duration,
}

/// The users, by bare canonical address.
#[derive(Debug, Default)]
pub(in crate::ua) struct Peers {
    users: BTreeMap<SipAddress, User>,
    order: BTreeSet<(Duration, SipAddress)>,
}

impl Peers {
    /// Whether a user understands something, as far as that is known.
    pub(super) fn knows(&self, user: &SipAddress, skill: Skill, now: Duration) -> Option<bool> {
        let user = self.users.get(&user.bare().canonical())?;
        let (known, until) = user.skills.get(&skill)?;
        (*until > now).then_some(*known)
    }

    /// The language that a user wrote in last.
    pub(super) fn language(&self, user: &SipAddress, now: Duration) -> Option<&str> {
        let user = self.users.get(&user.bare().canonical())?;
        let language = user.language.as_deref()?;
        (user.heard + MEMORY > now).then_some(language)
    }

    /// A user has shown or refused something; that is believed for so long. A refusal is believed before what he shows.
    pub(super) fn learn(
        &mut self,
        user: &SipAddress,
        (skill, known): (Skill, bool),
        holds: Duration,
        now: Duration,
    ) {
        let refused = self.knows(user, skill, now) == Some(false);
        let user = self.user(user, now);
        if !(known && refused) {
            user.skills.insert(skill, (known, now + holds));
        }
    }

    /// A user has written in a language.
    pub(super) fn wrote_in(&mut self, user: &SipAddress, language: &str, now: Duration) {
        self.user(user, now).language = Some(language.to_owned());
    }

    fn user(&mut self, user: &SipAddress, now: Duration) -> &mut User {
        let key = user.bare().canonical();
        self.make_room(&key, now);
        self.order.insert((now, key.clone()));
        let user = self.users.entry(key.clone()).or_default();
        if user.heard != now {
            self.order.remove(&(user.heard, key));
        }
        user.heard = now;
        user
    }

    fn make_room(&mut self, key: &SipAddress, now: Duration) {
        while let Some((heard, user)) = self.order.first() {
            let full = self.users.len() >= MAX_USERS && !self.users.contains_key(key);
            if !full && *heard + MEMORY > now {
                return;
            }
            self.users.remove(user);
            self.order.pop_first();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(number: usize) -> SipAddress {
        SipAddress {
            scheme: stox_core::address::Scheme::Sip,
            user: Some(format!("u{number}")),
            host: "ocs.example".to_owned(),
            gr: None,
        }
    }

    #[test]
    fn users_are_few_and_forgotten_in_time() {
        let mut peers = Peers::default();
        let second = Duration::from_secs;
        for number in 0..MAX_USERS {
            let at = second(10 + number as u64);
            peers.learn(&user(number), (Skill::Typing, true), MEMORY, at);
        }
        let late = second(20_000);
        peers.learn(&user(0), (Skill::Typing, false), second(60), late);
        peers.learn(&user(MAX_USERS), (Skill::Wrapper, true), MEMORY, late);
        assert_eq!(
            (peers.users.len(), peers.order.len()),
            (MAX_USERS, MAX_USERS)
        );
        assert_eq!(peers.knows(&user(0), Skill::Typing, late), Some(false));
        assert_eq!(
            peers.knows(&user(0), Skill::Typing, late + second(60)),
            None
        );
        peers.learn(&user(0), (Skill::Typing, true), MEMORY, late);
        assert_eq!(peers.knows(&user(0), Skill::Typing, late), Some(false));
        assert_eq!(peers.knows(&user(1), Skill::Typing, late), None);
        assert_eq!(peers.knows(&user(2), Skill::Typing, late), Some(true));
        let gruu = SipAddress {
            gr: Some("x".to_owned()),
            ..user(MAX_USERS)
        };
        assert_eq!(peers.knows(&gruu, Skill::Wrapper, late), Some(true));
        peers.wrote_in(&user(0), "de", late + MEMORY);
        assert_eq!((peers.users.len(), peers.order.len()), (1, 1));
        assert_eq!(peers.language(&user(0), late + MEMORY), Some("de"));
        assert_eq!(peers.language(&user(0), late + MEMORY + MEMORY), None);
    }
}
