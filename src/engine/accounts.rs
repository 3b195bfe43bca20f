//! Which SIP users reach which domains through accounts of theirs.

use std::collections::BTreeMap;
use std::sync::Arc;

use minidom::Element;
use stox_core::address::{Jid, canonical_domain};
use stox_core::failure::Condition;
use stox_core::policy::DomainPattern;
use stox_xmpp::adapt;

use super::LinkName;

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

    /// Whether the account is the way to that domain, given in canonical spelling.
    #[must_use]
    pub fn reaches(&self, domain: &str) -> bool {
        self.domains.iter().any(|pattern| pattern.matches(domain))
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
        accounts.find(|account| account.reaches(&partner))
    }

    /// Whether a stanza for a SIP user comes by another way than the account through which he reaches its sender. Answers to
    /// what went that way before there was the account are not meant.
    pub(super) fn is_beside(&self, name: &LinkName, element: &Element) -> bool {
        if self.by_user.is_empty() || matches!(element.attr("type"), Some("error" | "result")) {
            return false;
        }
        let Some(Ok(to)) = element.attr("to").map(Jid::parse) else {
            return false;
        };
        let account = self.between(&to, &name.partner);
        account.is_some_and(|account| name.account.as_ref() != Some(&account.name))
    }

    pub(super) fn get(&self, name: &str) -> Option<&Account> {
        self.all().find(|account| *account.name == *name)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Account> {
        self.by_user.values().flatten()
    }
}

/// What is refused, as its sender is told; presence that asks for nothing is no question.
pub(super) fn refusal(element: &Element) -> Option<Element> {
    if element.name() == "presence" && element.attr("type") != Some("subscribe") {
        return None;
    }
    let address = |name: &str| Jid::parse(element.attr(name)?).ok();
    let (from, to) = (address("from")?, address("to")?);
    let condition = Condition::NotAllowed;
    Some(adapt::error::refuse(element, &to, &from, condition))
}
