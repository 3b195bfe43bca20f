//! Which partner may speak how.

use std::collections::BTreeSet;
use std::sync::Arc;

use stox_core::address::canonical_domain;
use stox_xmpp::dialback::DialbackSecret;
use stox_xmpp::stream::{
    CertificateRule, DomainPair, InboundSettings, Limits, OutboundSettings, Timing, TlsRule,
};

use crate::config::{self, Config, Partner, StreamTls};

/// Domains, partners, limits and times of all streams.
#[derive(Clone)]
pub struct Rules {
    /// For accepted streams.
    pub inbound: Arc<InboundSettings>,
    /// Port of partners without SRV records.
    pub default_port: u16,
    partners: Arc<[Partner]>,
}

impl Rules {
    /// From the settings and the gateway's dialback secret.
    #[must_use]
    pub fn new(config: &Config, secret: DialbackSecret) -> Self {
        let limits = Limits {
            octets_after_auth: config.limits.stanza,
            ..Limits::default()
        };
        let timing = Timing {
            idle: config.xmpp.idle_close,
            ..Timing::default()
        };
        let local_domains: BTreeSet<String> = config
            .sip
            .domains
            .iter()
            .filter(|domain| !config.is_component(&domain.domain))
            .map(|domain| canonical_domain(&domain.domain))
            .collect();
        // Their servers could prove them, but only we speak for them, wherever they are known.
        let components = config
            .xmpp
            .components
            .iter()
            .map(|component| canonical_domain(&component.domain))
            .collect();
        let inbound = InboundSettings {
            local_domains,
            unclaimable_domains: components,
            tls: inbound_rule(&config.xmpp.partners),
            clear_partners: BTreeSet::new(),
            accept_before_1_0: false,
            secret,
            limits,
            timing,
        };
        Self {
            inbound: Arc::new(inbound),
            default_port: config.xmpp.default_port,
            partners: config.xmpp.partners.clone().into(),
        }
    }

    /// The rule for a partner; none means that it may not use the gateway.
    #[must_use]
    pub fn partner(&self, domain: &str) -> Option<&Partner> {
        self.partners
            .iter()
            .find(|partner| partner.domain.matches(domain))
    }

    /// How to dial a partner.
    #[must_use]
    pub fn outbound(&self, pair: DomainPair, partner: &Partner) -> Arc<OutboundSettings> {
        Arc::new(OutboundSettings {
            pair,
            tls: tls_rule(partner.tls),
            certificate: match partner.certificate {
                config::CertificateRule::Any => CertificateRule::Any,
                config::CertificateRule::Verify => CertificateRule::ValidForPartner,
            },
            accept_before_1_0: false,
            stream_management: false,
            secret: self.inbound.secret.clone(),
            limits: self.inbound.limits.clone(),
            timing: self.inbound.timing.clone(),
        })
    }
}

/// The stream's own rule is the weakest of all partners'; [`super::inbound`] holds each claim to its partner's rule.
fn inbound_rule(partners: &[Partner]) -> TlsRule {
    if partners
        .iter()
        .all(|partner| partner.tls == StreamTls::Required)
    {
        TlsRule::Required
    } else if partners.iter().all(|partner| partner.tls == StreamTls::Off) {
        TlsRule::Never
    } else {
        TlsRule::Optional
    }
}

fn tls_rule(tls: StreamTls) -> TlsRule {
    match tls {
        StreamTls::Required => TlsRule::Required,
        StreamTls::Optional => TlsRule::Optional,
        StreamTls::Off => TlsRule::Never,
    }
}
