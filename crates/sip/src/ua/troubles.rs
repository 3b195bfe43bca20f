//! What an administrator should hear about refusals of partners: each kind once in a while, without addresses of users.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::adapt::diagnostics::{Explanation, Scope};
use crate::method::Method;

/// The same kind is told again after this time.
const QUIET: Duration = Duration::from_secs(600);
/// Kinds that are kept in mind for all partners together.
const KINDS: usize = 1000;

/// A partner explains why it refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// The partner's SIP domain.
    pub domain: String,
    /// The request that was refused, or that carried the explanation.
    pub method: Method,
    /// The answer's status; `None` where a request of the partner's explains.
    pub status: Option<u16>,
    /// The number of the explanation.
    pub id: u32,
    /// What happened, without addresses.
    pub words: String,
    /// Whom it is about.
    pub scope: Scope,
    /// The host that says so.
    pub source: Option<String>,
    /// How often it happened unsaid since it was told last.
    pub unsaid: u32,
}

/// Partner and number.
type Kind = (String, u32);

/// Troubles to tell, and which ones were told a moment ago.
#[derive(Debug, Default)]
pub(super) struct Troubles {
    waiting: VecDeque<Trouble>,
    told: BTreeMap<Kind, (Duration, u32)>,
}

impl Troubles {
    /// A partner explained something.
    pub(super) fn note(
        &mut self,
        domain: &str,
        (method, status): (Method, Option<u16>),
        why: Explanation,
        now: Duration,
    ) {
        let kind = (domain.to_ascii_lowercase(), why.id);
        let last = self.told.get_mut(&kind);
        if let Some((at, unsaid)) = last
            && now.saturating_sub(*at) < QUIET
        {
            *unsaid = unsaid.saturating_add(1);
            return;
        }
        let unsaid = self.told.remove(&kind).map_or(0, |(_, unsaid)| unsaid);
        if self.told.len() >= KINDS && !self.forget_old(now) {
            return;
        }
        self.told.insert(kind, (now, 0));
        self.waiting.push_back(Trouble {
            domain: domain.to_owned(),
            method,
            status,
            id: why.id,
            words: without_addresses(&why.words),
            scope: why.scope,
            source: why.source.as_deref().map(without_addresses),
            unsaid,
        });
    }

    /// The next one to tell.
    pub(super) fn poll(&mut self) -> Option<Trouble> {
        self.waiting.pop_front()
    }

    /// Makes room, and says whether there is some.
    fn forget_old(&mut self, now: Duration) -> bool {
        self.told
            .retain(|_, (at, _)| now.saturating_sub(*at) < QUIET);
        self.told.len() < KINDS
    }
}

/// A peer's words with each word that may be somebody's address left out.
fn without_addresses(text: &str) -> String {
    let clean = |word| {
        if str::contains(word, ['@', ':']) {
            "…"
        } else {
            word
        }
    };
    text.split_whitespace()
        .map(clean)
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn why(id: u32) -> Explanation {
        Explanation {
            id,
            words: "no user <sip:bruno@ocs.example> here".to_owned(),
            scope: Scope::User,
            source: None,
        }
    }

    #[test]
    fn each_kind_is_told_once_in_a_while_and_without_addresses() {
        let mut troubles = Troubles::default();
        let at = Duration::from_secs;
        let note = |troubles: &mut Troubles, domain: &str, id, now| {
            troubles.note(domain, (Method::MESSAGE, Some(404)), why(id), at(now));
            troubles.poll()
        };
        let first = note(&mut troubles, "ocs.example", 1003, 0).unwrap();
        assert_eq!(first.words, "no user … here");
        assert_eq!(note(&mut troubles, "OCS.example", 1003, 1), None);
        assert_eq!(note(&mut troubles, "ocs.example", 1003, 599), None);
        assert!(note(&mut troubles, "ocs.example", 1007, 2).is_some());
        assert!(note(&mut troubles, "b.example", 1003, 2).is_some());
        assert_eq!(
            note(&mut troubles, "ocs.example", 1003, 600)
                .unwrap()
                .unsaid,
            2
        );
    }

    #[test]
    fn a_partner_that_makes_up_numbers_is_bounded() {
        let mut troubles = Troubles::default();
        for id in 0..5000 {
            let asked = (Method::MESSAGE, None);
            troubles.note("ocs.example", asked, why(id), Duration::ZERO);
        }
        assert_eq!(std::iter::from_fn(|| troubles.poll()).count(), KINDS);
        let asked = (Method::MESSAGE, None);
        troubles.note("b.example", asked, why(1), QUIET);
        assert!(troubles.poll().is_some());
    }
}
