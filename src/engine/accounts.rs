//! Which SIP users reach which domains through accounts of theirs.

use std::collections::BTreeMap;
use std::sync::Arc;

use stox_core::address::{Jid, canonical_domain};
use stox_core::policy::DomainPattern;

/// One SIP user's account at an XMPP server, as far as it decides ways.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// The account's bare JID, canonical. It names the account everywhere; a SIP user may have several, with other domains.
    pub name: Arc<str>,
    /// The SIP user, as a bare canonical JID.
    pub user: Jid,
    /// Domains that it reaches.
    pub domains: Vec<DomainPattern>,
}

impl Account {
    /// The account `account` of the SIP user `user`, both as JIDs. It reaches its own domain and `others`.
    #[must_use]
    pub fn new(account: &Jid, user: &Jid, others: &[DomainPattern]) -> Self {
        let own = DomainPattern::Exact(canonical_domain(&account.domain));
        Self {
            name: account.bare().canonical().to_string().into(),
            user: user.bare().canonical(),
            domains: std::iter::once(own).chain(others.iter().cloned()).collect(),
        }
    }
}

/// All accounts.
#[derive(Debug, Default)]
pub(super) struct Accounts {
    by_user: BTreeMap<Jid, Vec<Account>>,
}

impl Accounts {
    pub(super) fn new(accounts: Vec<Account>) -> Self {
        let mut by_user: BTreeMap<Jid, Vec<Account>> = BTreeMap::new();
        for account in accounts {
            by_user
                .entry(account.user.clone())
                .or_default()
                .push(account);
        }
        Self { by_user }
    }

    /// The account through which a SIP user reaches a domain. The first one that lists it counts.
    pub(super) fn between(&self, user: &Jid, partner: &str) -> Option<&Account> {
        if self.by_user.is_empty() {
            return None;
        }
        let partner = canonical_domain(partner);
        let mut accounts = self.by_user.get(&user.bare().canonical())?.iter();
        accounts.find(|account| {
            account
                .domains
                .iter()
                .any(|domain| domain.matches(&partner))
        })
    }

    pub(super) fn get(&self, name: &str) -> Option<&Account> {
        self.all().find(|account| *account.name == *name)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Account> {
        self.by_user.values().flatten()
    }
}
