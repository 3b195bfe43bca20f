//! What accepted streams are told of domains and partners.

use std::collections::BTreeSet;

use crate::{
    dialback::DialbackSecret,
    stream::{
        domain::is_host_literal,
        limits::{Limits, Timing},
        rule::PartnerRules,
    },
};

/// What all accepted streams of one listener share. All domains are in their normal form
/// ([`normal_domain`](crate::stream::domain::normal_domain)).
#[derive(Debug, Clone)]
pub struct InboundSettings {
    /// The domains that this gateway speaks for on XMPP.
    pub local_domains: BTreeSet<String>,
    /// It may speak for domains that nothing here names, too: the owner finds out for each ([`super::InboundEvent::Seek`]).
    pub serves_unnamed: bool,
    /// Other domains that no stream may claim, such as the XMPP domains that are spoken for on SIP.
    pub unclaimable_domains: BTreeSet<String>,
    /// Who may prove itself, and how.
    pub partners: PartnerRules,
    /// The secret of the dialback keys that we answer for.
    pub secret: DialbackSecret,
    /// Sizes.
    pub limits: Limits,
    /// Times.
    pub timing: Timing,
}

impl InboundSettings {
    /// Whether a stream may claim this domain, as far as it is no other's.
    #[must_use]
    pub fn is_claimable(&self, domain: &str) -> bool {
        !self.local_domains.contains(domain)
            && !self.unclaimable_domains.contains(domain)
            && !is_host_literal(domain)
    }

    /// Whether only the owner can say if we speak for this domain: we may for such domains, and nothing here names it.
    #[must_use]
    pub fn is_unnamed(&self, domain: &str) -> bool {
        self.serves_unnamed
            && domain.contains('.')
            && self.is_claimable(domain)
            && !self.partners.name(domain)
    }

    /// Whether a stream may ask for this domain.
    pub(super) fn may_serve(&self, domain: &str) -> bool {
        self.local_domains.contains(domain) || self.is_unnamed(domain)
    }
}
