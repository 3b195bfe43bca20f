//! Which partner may speak how.

use std::collections::BTreeSet;
use std::sync::Arc;

use stox_core::address::canonical_domain;
use stox_core::policy::DomainPattern;
use stox_xmpp::dialback::DialbackSecret;
use stox_xmpp::stream::{
    CertificateRule, DomainPair, ExternalRule, InboundSettings, Limits, OutboundSettings,
    PartnerRule, Timing, TlsRule,
};

use crate::config::{self, Config, Partner, StreamExternal, StreamTls};
use crate::net::peer_certificate::is_for;

/// Domains, partners, limits and times of all streams.
#[derive(Clone)]
pub struct Rules {
    /// For accepted streams.
    pub inbound: Arc<InboundSettings>,
    /// Port of partners without SRV records.
    pub default_port: u16,
    /// Domains that no rule names and whose world is remembered, at most.
    pub discovered: usize,
    /// Our host, by which others' DNS names us.
    pub host: String,
    /// Proof over HTTPS, where it is on.
    pub posh: Option<config::Posh>,
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
        let partners = &config.xmpp.partners;
        // Their servers could prove them, but only we speak for them, wherever they are known.
        let components = config
            .xmpp
            .components
            .iter()
            .map(|component| canonical_domain(&component.domain))
            .collect();
        let inbound = InboundSettings {
            local_domains,
            serves_unnamed: config.sip.unnamed.is_some(),
            unclaimable_domains: components,
            partners: partners
                .iter()
                .map(|partner| (partner.domain.clone(), rule(partner)))
                .collect(),
            secret,
            limits,
            timing,
        };
        Self {
            inbound: Arc::new(inbound),
            default_port: config.xmpp.default_port,
            discovered: config.limits.discovered,
            host: config.gateway.host.clone(),
            posh: config.tls.posh.clone(),
            partners: partners.clone().into(),
        }
    }

    /// The rule for a partner; none means that it may not use the gateway.
    #[must_use]
    pub fn partner(&self, domain: &str) -> Option<&Partner> {
        self.partners
            .iter()
            .find(|partner| partner.domain.matches(domain))
    }

    /// Whether DNS decides in which world a domain lives: a rule allows it without naming it or its server.
    #[must_use]
    pub fn asks_dns(&self, domain: &str) -> bool {
        self.partner(domain).is_some_and(|partner| {
            partner.domain == DomainPattern::Any && partner.address.is_none()
        })
    }

    /// How to dial a partner. `own_names`: those of the certificate that we show.
    #[must_use]
    pub fn outbound(
        &self,
        pair: DomainPair,
        partner: &Partner,
        own_names: &[String],
    ) -> OutboundSettings {
        OutboundSettings {
            external: is_for(own_names, &pair.local),
            pair,
            rule: rule(partner),
            stream_management: true,
            secret: self.inbound.secret.clone(),
            limits: self.inbound.limits.clone(),
            timing: self.inbound.timing.clone(),
        }
    }
}

fn rule(partner: &Partner) -> PartnerRule {
    PartnerRule {
        tls: match partner.tls {
            StreamTls::Required => TlsRule::Required,
            StreamTls::Optional => TlsRule::Optional,
            StreamTls::Off => TlsRule::Never,
        },
        external: match partner.external {
            StreamExternal::Required => ExternalRule::Required,
            StreamExternal::Optional => ExternalRule::Optional,
            StreamExternal::Off => ExternalRule::Off,
        },
        dialback: partner.dialback,
        certificate: match partner.certificate {
            config::CertificateRule::Any => CertificateRule::Any,
            config::CertificateRule::Verify => CertificateRule::ValidForPartner,
        },
        before_1_0: partner.before_1_0,
        bidirectional: partner.bidirectional,
    }
}
