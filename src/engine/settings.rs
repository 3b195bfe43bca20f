//! From the administrator's settings to each machine's.

use std::collections::BTreeSet;

use stox_core::address::canonical_domain;
use stox_core::bridge;
use stox_core::policy::{self, DomainPattern, Policy};
use stox_sip::dialect::Rule;
use stox_sip::digest::Credential;
use stox_sip::msrp::endpoint;
use stox_sip::ua::Registration;
use stox_sip::ua::settings as sip;
use stox_sip::ua::trust::{AddressBlock, SipDomain};
use stox_xmpp::link;
use stox_xmpp::server::Software;

use crate::config::{self, Config};

/// Requests a second to one SIP domain that no setting names, where the rule for them says nothing else: whoever owns a name
/// may point it at anybody's host.
const UNNAMED_PACE: u32 = 15;

/// Partners that may be linked at one time.
const MAX_LINKS: usize = 5_000;

/// Octets of all stanzas that wait for any partner. As trees they take some times as much memory.
const MAX_LINKED_OCTETS: usize = 48 * 1024 * 1024;

/// Settings of every machine in the engine.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Translation.
    pub bridge: bridge::Settings,
    /// SIP user agent.
    pub sip: sip::Settings,
    /// Each XMPP link.
    pub link: link::Settings,
    /// Domains of ours that other XMPP servers federate for, canonical.
    pub components: BTreeSet<String>,
    /// XMPP links at one time.
    pub max_links: usize,
    /// Octets of stanzas that wait on all of them.
    pub max_linked_octets: usize,
    /// Messages a second from one XMPP domain.
    pub messages_per_second: u32,
    /// How many of them at once.
    pub queue: usize,
    /// SIP domains whose users are conferences, in lower case.
    pub conferences: BTreeSet<String>,
    /// What SIP domains have that are found while the engine runs; none: there are none.
    pub unnamed: Option<Unnamed>,
    /// What we say of ourselves.
    pub software: Software,
}

/// What a SIP domain has that no setting names.
#[derive(Debug, Clone)]
pub struct Unnamed {
    /// What kind of server it is.
    pub dialect: Rule,
    /// Only a certificate speaks for it.
    pub needs_certificate: bool,
    /// The XMPP domains that may talk with it.
    pub allowed: Vec<DomainPattern>,
}

impl Unnamed {
    /// A domain, by its name in SIP.
    pub(super) fn domain(&self, name: &str) -> (SipDomain, policy::SipDomain) {
        let mut dialect = self.dialect.clone();
        let pace = &mut dialect.overrides.requests_per_second;
        pace.get_or_insert(UNNAMED_PACE);
        let sip = SipDomain {
            dialect,
            needs_certificate: self.needs_certificate,
            ..SipDomain::new(name)
        };
        let rule = policy::SipDomain {
            name: name.to_owned(),
            allowed: self.allowed.clone(),
        };
        (sip, rule)
    }
}

/// The ports that were really bound; zero in the settings means any.
#[derive(Debug, Clone, Copy, Default)]
pub struct BoundPorts {
    /// UDP.
    pub udp: Option<u16>,
    /// TCP.
    pub tcp: Option<u16>,
    /// TLS.
    pub tls: Option<u16>,
    /// MSRP without TLS.
    pub msrp_tcp: Option<u16>,
    /// MSRP over TLS.
    pub msrp_tls: Option<u16>,
}

impl Settings {
    /// Derives the settings of all machines.
    #[must_use]
    pub fn new(config: &Config, ports: BoundPorts) -> Self {
        Self {
            bridge: bridge(config),
            sip: sip(config, ports),
            link: link(config),
            components: components(config),
            max_links: MAX_LINKS,
            max_linked_octets: MAX_LINKED_OCTETS,
            messages_per_second: config.limits.messages_per_second,
            queue: config.limits.queue,
            conferences: config.rooms.conferences.clone(),
            unnamed: config.sip.unnamed.as_ref().map(|rule| Unnamed {
                dialect: rule.dialect.clone(),
                needs_certificate: rule.client_certificate == config::ClientCertificate::Required,
                allowed: allowed(config),
            }),
            software: Software {
                name: "stoxgate".to_owned(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
            },
        }
    }
}

/// The XMPP domains that may use the gateway.
fn allowed(config: &Config) -> Vec<DomainPattern> {
    let partners = config.xmpp.partners.iter();
    partners.map(|partner| partner.domain.clone()).collect()
}

fn bridge(config: &Config) -> bridge::Settings {
    let allowed = allowed(config);
    let domains = config.sip.domains.iter().map(|domain| policy::SipDomain {
        name: domain.domain.clone(),
        allowed: allowed.clone(),
    });
    bridge::Settings {
        policy: Policy::new(domains),
        presence: config.presence.clone(),
        rooms: config.rooms.settings.clone(),
        restart_spread: config.subscriptions.restart_spread,
        max_pending_per_domain: config.limits.queue,
        ledger: !config.ledger.keep.is_zero(),
        ..bridge::Settings::default()
    }
}

fn components(config: &Config) -> BTreeSet<String> {
    let components = config.xmpp.components.iter();
    components
        .map(|component| canonical_domain(&component.domain))
        .collect()
}

fn link(config: &Config) -> link::Settings {
    link::Settings {
        queue: config.limits.queue,
        message_wait: config.limits.message_wait,
        fence_timeout: config.xmpp.fence_timeout,
        stanza_octets: config.xmpp.stanza_limit,
        keepalive: config.xmpp.keepalive,
        idle: config.xmpp.idle_close,
        ..link::Settings::default()
    }
}

fn sip_domain(domain: &config::SipDomain) -> SipDomain {
    SipDomain {
        name: domain.domain.clone(),
        next_hop: domain.next_hop.clone(),
        trusted_addresses: domain.trusted_addresses.iter().map(block).collect(),
        certificate_names: domain.certificate_names.clone(),
        needs_certificate: domain.client_certificate == config::ClientCertificate::Required,
        asserts_identity: domain.trust_asserted_identity,
        dialect: domain.dialect.clone(),
    }
}

fn sip(config: &Config, ports: BoundPorts) -> sip::Settings {
    let mut settings = sip::Settings::new(&config.gateway.host);
    let local = &mut settings.local;
    local.udp_port = ports.udp.unwrap_or(local.udp_port);
    local.tcp_port = ports.tcp.unwrap_or(local.tcp_port);
    local.tls_port = ports.tls.unwrap_or(local.tls_port);
    let listeners = config
        .sip
        .udp
        .iter()
        .chain(&config.sip.tcp)
        .chain(&config.sip.tls);
    local.aliases = listeners
        .map(|address| address.ip())
        .filter(|ip| !ip.is_unspecified())
        .map(|ip| ip.to_string())
        .collect();
    settings.xmpp_domains = allowed(config);
    settings.rooms.clone_from(&config.rooms.services);
    // The bridge refuses first, and with better words; those that are leaving count here, too.
    settings.limits.legs = config.rooms.settings.max_legs.saturating_mul(2);
    settings.sip_domains = config.sip.domains.iter().map(sip_domain).collect();
    settings.subscribe_expires = config.subscriptions.expires;
    settings.watcher_expires = config.subscriptions.expires;
    settings.min_expires = config.subscriptions.min_expires;
    settings.notify_interval = config.subscriptions.notify_interval;
    settings.page_limit = config.sip.page_limit;
    settings.msrp = config
        .msrp
        .as_ref()
        .map(|msrp| self::msrp(config, msrp, ports));
    settings.transactions.max_servers = config.limits.transactions;
    settings.transactions.max_clients = config.limits.transactions;
    settings.limits.messages_per_second = config.limits.messages_per_second;
    settings.registrations = config.sip.registrations.iter().map(registration).collect();
    settings.credentials = config.sip.credentials.iter().map(credential).collect();
    settings.product = format!("stoxgate/{}", env!("CARGO_PKG_VERSION"));
    settings
}

fn msrp(config: &Config, msrp: &config::Msrp, ports: BoundPorts) -> sip::Msrp {
    let endpoint = endpoint::Settings {
        max_message: msrp.max_message,
        // The sockets let no more in on its two ports, with a share for each address.
        unbound: config.limits.connections.saturating_mul(2),
        ..endpoint::Settings::default()
    };
    sip::Msrp {
        host: msrp
            .host
            .clone()
            .unwrap_or_else(|| config.gateway.host.clone()),
        tcp_port: ports.msrp_tcp,
        tls_port: ports.msrp_tls,
        fingerprint: None,
        networks: msrp.networks.iter().map(block).collect(),
        relay: msrp.relay.as_ref().map(relay),
        endpoint,
    }
}

fn relay(relay: &config::MsrpRelay) -> sip::Relay {
    let password = relay.password.reveal().to_owned();
    sip::Relay::new(relay.uri.clone(), relay.user.clone(), password)
}

/// A network of the settings, as the user agent compares addresses with it.
pub(crate) fn block(network: &config::Network) -> AddressBlock {
    AddressBlock {
        address: network.address,
        prefix: network.prefix,
    }
}

fn registration(line: &config::Registration) -> Registration {
    Registration {
        user: line.user.clone(),
        domain: line.domain.clone(),
        registrar: line.registrar.clone(),
        expires: line.expires,
    }
}

fn credential(credentials: &config::Credentials) -> Credential {
    Credential {
        realm: credentials.realm.clone(),
        domain: credentials.domain.clone(),
        username: credentials.user.clone(),
        password: credentials.password.reveal().to_owned(),
        over_plain: credentials.over_plain,
    }
}
