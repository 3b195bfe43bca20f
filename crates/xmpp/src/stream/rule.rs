//! What a partner may prove itself with, and what it must.

use stox_core::policy::DomainPattern;

/// Whether a stream has to be encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum TlsRule {
    /// No TLS, no stream.
    #[default]
    Required,
    /// TLS where the peer can. A handshake that fails is never followed by a clear stream.
    Optional,
    /// No TLS even where the peer can: for tests and for connections that are protected otherwise.
    Never,
}

/// Whether a certificate proves a domain (SASL EXTERNAL, and dialback where the certificate answers: XEP-0344).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum ExternalRule {
    /// Nothing else does.
    Required,
    /// Where it is valid for the domain.
    #[default]
    Optional,
    /// Never: every domain is asked about by dialback.
    Off,
}

/// What a partner's certificate must show where dialback proves the domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum CertificateRule {
    /// Valid for every domain that is spoken to on the stream.
    #[default]
    ValidForPartner,
    /// Nothing: TLS hides, dialback through DNS identifies.
    Any,
}

/// The rule for one partner, in both directions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PartnerRule {
    /// Encryption.
    pub tls: TlsRule,
    /// Proof by certificate.
    pub external: ExternalRule,
    /// Proof by dialback (XEP-0220).
    pub dialback: bool,
    /// The certificate behind dialback.
    pub certificate: CertificateRule,
    /// Speak to servers from before XMPP 1.0 (no `version`), which means in clear.
    pub before_1_0: bool,
    /// Let one stream carry stanzas in both directions where the peer can (XEP-0288).
    pub bidirectional: bool,
}

/// TLS, and either proof.
impl Default for PartnerRule {
    fn default() -> Self {
        Self {
            tls: TlsRule::Required,
            external: ExternalRule::Optional,
            dialback: true,
            certificate: CertificateRule::Any,
            before_1_0: false,
            bidirectional: false,
        }
    }
}

impl PartnerRule {
    /// A key that the authoritative server confirms is a proof.
    #[must_use]
    pub fn takes_dialback(&self) -> bool {
        self.dialback && self.external != ExternalRule::Required
    }

    /// A valid certificate is a proof.
    #[must_use]
    pub fn takes_external(&self) -> bool {
        self.external != ExternalRule::Off
    }

    /// Without a certificate that is valid for the partner nothing is spoken.
    #[must_use]
    pub fn needs_valid_certificate(&self) -> bool {
        self.certificate == CertificateRule::ValidForPartner || !self.takes_dialback()
    }
}

/// The rules for all partners, in their order; the first that matches counts.
#[derive(Debug, Clone, Default)]
pub struct PartnerRules(Vec<(DomainPattern, PartnerRule)>);

impl FromIterator<(DomainPattern, PartnerRule)> for PartnerRules {
    fn from_iter<T: IntoIterator<Item = (DomainPattern, PartnerRule)>>(rules: T) -> Self {
        Self(rules.into_iter().collect())
    }
}

impl PartnerRules {
    /// The rule for a domain; none means that it is no partner.
    #[must_use]
    pub fn of(&self, domain: &str) -> Option<&PartnerRule> {
        self.0
            .iter()
            .find(|(pattern, _)| pattern.matches(domain))
            .map(|(_, rule)| rule)
    }

    /// Whether a rule is for this domain by name, or for those below another one, and not only for every domain.
    #[must_use]
    pub fn name(&self, domain: &str) -> bool {
        let named =
            |pattern: &DomainPattern| *pattern != DomainPattern::Any && pattern.matches(domain);
        self.0.iter().any(|(pattern, _)| named(pattern))
    }

    /// Whether this holds for the partner, or, while nobody knows who it is, for any.
    pub(super) fn may(
        &self,
        partner: Option<&str>,
        allowed: impl Fn(&PartnerRule) -> bool,
    ) -> bool {
        match partner {
            Some(partner) => self.of(partner).is_some_and(allowed),
            None => self.0.iter().any(|(_, rule)| allowed(rule)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_rule_counts() {
        let rule = |external| PartnerRule {
            external,
            ..PartnerRule::default()
        };
        let rules: PartnerRules = [
            ("jabber.test", ExternalRule::Required),
            ("*.test", ExternalRule::Off),
        ]
        .map(|(pattern, external)| (DomainPattern::parse(pattern), rule(external)))
        .into_iter()
        .collect();
        let of = |domain| rules.of(domain).map(|rule| rule.external);
        assert_eq!(of("jabber.test"), Some(ExternalRule::Required));
        assert_eq!(of("im.test"), Some(ExternalRule::Off));
        assert_eq!(of("jabber.example"), None);
        assert!(rules.may(None, PartnerRule::takes_external));
        assert!(!rules.may(Some("im.test"), PartnerRule::takes_external));
        assert!(!rules.may(Some("jabber.example"), |_| true));
    }

    #[test]
    fn the_certificate_must_be_valid_where_nothing_else_proves() {
        use CertificateRule::{Any, ValidForPartner};
        use ExternalRule::{Off, Optional, Required};
        let cases = [
            (Optional, true, Any, false),
            (Off, true, Any, false),
            (Optional, true, ValidForPartner, true),
            (Off, true, ValidForPartner, true),
            (Required, true, Any, true),
            (Optional, false, Any, true),
        ];
        for (external, dialback, certificate, expected) in cases {
            let rule = PartnerRule {
                external,
                dialback,
                certificate,
                ..PartnerRule::default()
            };
            assert_eq!(rule.needs_valid_certificate(), expected, "{rule:?}");
        }
    }
}
