//! Who may talk to whom: nobody, unless a rule says so.

use std::collections::BTreeMap;

use crate::address::{Jid, canonical_domain};

/// A domain of XMPP users in a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DomainPattern {
    /// Every domain.
    Any,
    /// This domain.
    Exact(String),
    /// Every domain below this one, but not the domain itself.
    Below(String),
}

/// A SIP domain that we speak for towards XMPP, and the XMPP domains that may talk with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SipDomain {
    /// Its name.
    pub name: String,
    /// The XMPP domains; empty: none.
    pub allowed: Vec<DomainPattern>,
}

/// The rules. Default: nobody.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policy {
    rules: BTreeMap<String, Vec<DomainPattern>>,
    /// What single SIP users may beside that.
    users: BTreeMap<Jid, Vec<DomainPattern>>,
}

impl DomainPattern {
    /// Reads `*`, `*.example.org` or `example.org`.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        match (text, text.strip_prefix("*.")) {
            ("*", _) => Self::Any,
            (_, Some(parent)) => Self::Below(canonical_domain(parent)),
            _ => Self::Exact(canonical_domain(text)),
        }
    }

    /// Whether it names this domain, given in canonical spelling.
    #[must_use]
    pub fn matches(&self, domain: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Exact(name) => name == domain,
            Self::Below(parent) => domain
                .strip_suffix(parent.as_str())
                .is_some_and(|rest| rest.len() > 1 && rest.ends_with('.')),
        }
    }

    /// Whether it names every domain that the other names.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Any, _) => true,
            (_, Self::Any) => false,
            (_, Self::Exact(name)) => self.matches(name),
            (Self::Below(wider), Self::Below(parent)) => wider == parent || self.matches(parent),
            (Self::Exact(_), Self::Below(_)) => false,
        }
    }
}

impl Policy {
    /// The rules for these SIP domains. A domain named twice gets the patterns of both.
    #[must_use]
    pub fn new(domains: impl IntoIterator<Item = SipDomain>) -> Self {
        let mut rules: BTreeMap<String, Vec<DomainPattern>> = BTreeMap::new();
        for domain in domains {
            rules
                .entry(canonical_domain(&domain.name))
                .or_default()
                .extend(domain.allowed);
        }
        Self {
            rules,
            users: BTreeMap::new(),
        }
    }

    /// Adds a SIP domain that has become known later. One that is there already stays as it is.
    pub fn admit(&mut self, domain: SipDomain) {
        let rule = self.rules.entry(canonical_domain(&domain.name));
        rule.or_insert(domain.allowed);
    }

    /// Takes a SIP domain out.
    pub fn forget(&mut self, sip_domain: &str) {
        self.rules.remove(&canonical_domain(sip_domain));
    }

    /// Says which SIP users, by their JIDs, may talk with users of which XMPP domains, whatever their own domain may.
    pub fn set_users(&mut self, users: impl IntoIterator<Item = (Jid, Vec<DomainPattern>)>) {
        self.users.clear();
        for (user, domains) in users {
            let user = user.bare().canonical();
            self.users.entry(user).or_default().extend(domains);
        }
    }

    /// Whether we speak for this SIP domain.
    #[must_use]
    pub fn speaks_for(&self, sip_domain: &str) -> bool {
        self.rules.contains_key(&canonical_domain(sip_domain))
    }

    /// Whether users of these two domains may talk. An own SIP domain never stands for an XMPP domain: nothing is
    /// relayed from SIP to SIP.
    #[must_use]
    pub fn allows(&self, xmpp_domain: &str, sip_domain: &str) -> bool {
        let xmpp_domain = canonical_domain(xmpp_domain);
        !self.rules.contains_key(&xmpp_domain)
            && self
                .rules
                .get(&canonical_domain(sip_domain))
                .is_some_and(|patterns| patterns.iter().any(|p| p.matches(&xmpp_domain)))
    }
}

impl Policy {
    /// As [`Policy::allows`], for one SIP user, by his JID.
    #[must_use]
    pub fn allows_user(&self, xmpp_domain: &str, user: &Jid) -> bool {
        self.allows(xmpp_domain, &user.domain)
            || (!self.users.is_empty() && self.has_a_way(&canonical_domain(xmpp_domain), user))
    }

    fn has_a_way(&self, xmpp_domain: &str, user: &Jid) -> bool {
        let domains = self.users.get(&user.bare().canonical());
        self.speaks_for(&user.domain)
            && !self.rules.contains_key(xmpp_domain)
            && domains.is_some_and(|domains| domains.iter().any(|p| p.matches(xmpp_domain)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> Policy {
        Policy::new([
            SipDomain {
                name: "OCS.example".to_owned(),
                allowed: vec![
                    DomainPattern::parse("jabber.example"),
                    DomainPattern::parse("*.chat.example"),
                ],
            },
            SipDomain {
                name: "open.example".to_owned(),
                allowed: vec![DomainPattern::parse("*")],
            },
            SipDomain {
                name: "closed.example".to_owned(),
                allowed: vec![],
            },
        ])
    }

    #[test]
    fn pairs_are_denied_unless_a_rule_names_them() {
        let rows = [
            ("jabber.example", "ocs.example", true),
            ("Jabber.Example.", "OCS.EXAMPLE", true),
            ("a.chat.example", "ocs.example", true),
            ("chat.example", "ocs.example", false),
            (".chat.example", "ocs.example", false),
            ("evilchat.example", "ocs.example", false),
            ("other.example", "ocs.example", false),
            ("other.example", "open.example", true),
            ("ocs.example", "open.example", false),
            ("jabber.example", "closed.example", false),
            ("jabber.example", "unknown.example", false),
        ];
        for (xmpp, sip, expected) in rows {
            assert_eq!(policy().allows(xmpp, sip), expected, "{xmpp} {sip}");
        }
        assert!(!Policy::default().allows("jabber.example", "ocs.example"));
    }

    #[test]
    fn a_domain_may_come_and_go() {
        let mut policy = policy();
        let found = |name: &str| SipDomain {
            name: name.to_owned(),
            allowed: vec![DomainPattern::parse("*")],
        };
        policy.admit(found("Found.example"));
        assert!(policy.allows("jabber.example", "found.example"));
        assert!(!policy.allows("found.example", "open.example"));
        policy.admit(found("closed.example"));
        assert!(!policy.allows("jabber.example", "closed.example"));
        policy.forget("FOUND.example");
        assert!(!policy.speaks_for("found.example"));
    }

    #[test]
    fn one_user_may_more_than_his_domain() {
        let mut policy = policy();
        let alice: Jid = "Alice@Closed.example/desk".parse().unwrap();
        let domains = || {
            vec![
                DomainPattern::parse("net.example"),
                DomainPattern::parse("ocs.example"),
            ]
        };
        let stranger: Jid = "alice@unknown.example".parse().unwrap();
        policy.set_users([(alice.clone(), domains()), (stranger.clone(), domains())]);
        assert!(policy.allows_user("NET.example", &alice));
        assert!(!policy.allows("net.example", "closed.example"));
        assert!(!policy.allows_user("net.example", &"bob@closed.example".parse().unwrap()));
        assert!(!policy.allows_user("other.example", &alice));
        assert!(
            !policy.allows_user("ocs.example", &alice),
            "nothing goes from SIP to SIP"
        );
        assert!(
            !policy.allows_user("net.example", &stranger),
            "we do not speak for his domain"
        );
        policy.set_users([]);
        assert!(!policy.allows_user("net.example", &alice));
    }

    #[test]
    fn a_pattern_covers_another() {
        let rows = [
            ("*", "*", true),
            ("*", "*.a.test", true),
            ("*", "a.test", true),
            ("*.a.test", "*", false),
            ("a.test", "*", false),
            ("*.a.test", "*.a.test", true),
            ("*.a.test", "*.b.a.test", true),
            ("*.b.a.test", "*.a.test", false),
            ("*.a.test", "*.ba.test", false),
            ("*.a.test", "b.a.test", true),
            ("*.a.test", "a.test", false),
            ("a.test", "*.a.test", false),
            ("a.test", "A.test", true),
            ("a.test", "b.test", false),
        ];
        for (wider, other, expected) in rows {
            let covers = DomainPattern::parse(wider).covers(&DomainPattern::parse(other));
            assert_eq!(covers, expected, "{wider} {other}");
        }
    }

    #[test]
    fn domains_compare_as_names() {
        let policy = Policy::new([SipDomain {
            name: "xn--bcher-kva.example".to_owned(),
            allowed: vec![DomainPattern::parse("*")],
        }]);
        assert!(policy.speaks_for("bücher.example"));
        assert!(policy.allows("jabber.example", "BÜCHER.example"));
    }
}
