//! What a user agent is told about itself, its peers and its limits.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use stox_core::address::{SipAddress, canonical_domain};
use stox_core::policy::DomainPattern;

use super::pacing::Lane;
use super::registration::Registration;
use super::routing;
use super::trust::{AddressBlock, SipDomain, domain_identities, names_host, same_host};
use crate::dialect::{Behaviour, ContactHost, Dialects, Rule};
use crate::digest::Credential;
use crate::msrp::endpoint::{self, Fingerprint};
use crate::msrp::uri::MsrpUri;
use crate::transaction::{self, SentBy};
use crate::transport::{Source, TRANSPORTS, Transport, TransportRow};
use crate::uri::bare_host;

/// Settings of a [`super::UserAgent`].
#[derive(Debug, Clone)]
pub struct Settings {
    /// Our own names and ports.
    pub local: Local,
    /// XMPP domains that we speak for on SIP. Requests for others are refused with 404.
    pub xmpp_domains: Vec<DomainPattern>,
    /// XMPP domains beside those, that single SIP users reach. The bridge knows who.
    pub users_domains: Vec<DomainPattern>,
    /// SIP domains that we federate with. Requests from others are refused with 403.
    pub sip_domains: Vec<SipDomain>,
    /// Others that were found since the start, by their canonical names. They have no next hop, no addresses and no names
    /// of certificates but their own ([`super::UserAgent::admit`]).
    pub found: BTreeMap<String, SipDomain>,
    /// `Expires` of our SUBSCRIBEs.
    pub subscribe_expires: Duration,
    /// The longest time granted to a watcher; a shorter wish is granted as it is (RFC 3856 §6.4).
    pub watcher_expires: Duration,
    /// A watcher's wish above zero, below this and below an hour is refused with 423 (RFC 6665 §4.2.1.1).
    pub min_expires: Duration,
    /// The least time between two NOTIFYs of one watcher (RFC 3856 §6.10).
    pub notify_interval: Duration,
    /// The largest body of an outgoing MESSAGE in octets (RFC 3428 §8).
    pub page_limit: usize,
    /// MSRP, where it is offered and taken.
    pub msrp: Option<Msrp>,
    /// XMPP domains of rooms: an INVITE to them is for a room, every other one is for a user. Where there are none, an
    /// offer with `a=chatroom` is for a room (RFC 7701 §8).
    pub rooms: Vec<DomainPattern>,
    /// Bounds.
    pub limits: Limits,
    /// Lines that we register at SIP providers.
    pub registrations: Vec<Registration>,
    /// Answers to digest challenges, each for one realm.
    pub credentials: Vec<Credential>,
    /// Product token of `Server` and `User-Agent`.
    pub product: String,
    /// The transaction layer's; [`super::UserAgent::new`] fills in its names from [`Settings::local`].
    pub transactions: transaction::Settings,
}

/// Our own names and ports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Local {
    /// The host in `Via`, `Contact` and `Call-ID`.
    pub host: String,
    /// Other names and address literals that mean us in a Request-URI.
    pub aliases: Vec<String>,
    /// The port that we listen on for UDP.
    pub udp_port: u16,
    /// The port that we listen on for TCP.
    pub tcp_port: u16,
    /// The port that we listen on for TLS.
    pub tls_port: u16,
}

impl Local {
    /// All transports on the default ports of a host.
    #[must_use]
    pub fn new(host: impl Into<String>) -> Self {
        Self {
            host: host.into(),
            aliases: Vec::new(),
            udp_port: Transport::Udp.row().default_port,
            tcp_port: Transport::Tcp.row().default_port,
            tls_port: Transport::Tls.row().default_port,
        }
    }

    /// Whether the host of a URI is one of ours.
    #[must_use]
    pub fn is_us(&self, host: &str) -> bool {
        let host = bare_host(host);
        same_host(&self.host, host) || self.aliases.iter().any(|alias| same_host(alias, host))
    }

    /// The port that we listen on.
    #[must_use]
    pub const fn port(&self, transport: Transport) -> u16 {
        match transport {
            Transport::Udp => self.udp_port,
            Transport::Tcp => self.tcp_port,
            Transport::Tls => self.tls_port,
        }
    }

    /// The host as URIs have it: an IPv6 address in brackets.
    pub(crate) fn uri_host(&self) -> String {
        if self.host.parse::<Ipv6Addr>().is_ok() {
            format!("[{}]", self.host)
        } else {
            self.host.clone()
        }
    }

    /// The names for `Via`.
    pub(crate) fn sent_by(&self) -> Vec<SentBy> {
        let name = |row: &TransportRow| SentBy {
            transport: row.transport,
            host: bare_host(&self.host).to_owned(),
            port: self.port(row.transport),
        };
        TRANSPORTS.iter().map(name).collect()
    }

    /// The value of `Contact` for requests and answers on a transport (RFC 3261 §8.1.1.8).
    #[must_use]
    pub(crate) fn contact(&self, own: &OwnUser, transport: Transport) -> String {
        let user = own.user.as_ref();
        let user = user.map(|user| format!("{user}@")).unwrap_or_default();
        // COMPAT(ocs, lync, kamailio): they look for transport=tls, which RFC 3261 §26.2.2 deprecates.
        let transport_parameter = match transport {
            Transport::Udp => "",
            Transport::Tcp => ";transport=tcp",
            Transport::Tls => ";transport=tls",
        };
        let place = own
            .host
            .clone()
            .unwrap_or_else(|| format!("{}:{}", self.uri_host(), self.port(transport)));
        let feature = own.feature.map(|feature| format!(";{feature}"));
        let feature = feature.unwrap_or_default();
        format!("<sip:{user}{place}{transport_parameter}>{feature}")
    }
}

/// MSRP as this gateway offers it.
#[derive(Debug, Clone)]
pub struct Msrp {
    /// The host in our paths: what peers connect to.
    pub host: String,
    /// The port that we listen on without TLS.
    pub tcp_port: Option<u16>,
    /// The port that we listen on for TLS.
    pub tls_port: Option<u16>,
    /// Our certificate. Without it there is no TLS.
    pub fingerprint: Option<Fingerprint>,
    /// Where peers may be that we connect to, besides the hosts of their domain and where their requests come from.
    pub networks: Vec<AddressBlock>,
    /// The relay through which peers reach us, where there is one.
    pub relay: Option<Relay>,
    /// Limits and timers.
    pub endpoint: endpoint::Settings,
}

/// An MSRP relay of ours (RFC 4976).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relay {
    /// The relay itself: a URI without session id.
    pub uri: MsrpUri,
    /// Our name and password there.
    pub credentials: endpoint::Credentials,
}

impl Relay {
    /// A relay with our name and password, which no other host ever sees an answer made of. The relay names the realm.
    #[must_use]
    pub fn new(uri: MsrpUri, user: String, password: String) -> Self {
        let credentials = endpoint::Credentials {
            domain: uri.bare_host().to_owned(),
            realm: String::new(),
            username: user,
            password,
            over_plain: false,
        };
        Self { uri, credentials }
    }
}

/// The port of those who only connect (RFC 4145 §4.1).
const DISCARD: u16 = 9;

impl Msrp {
    /// Our own URI of a session.
    pub(crate) fn uri(&self, secure: bool, session: &str) -> MsrpUri {
        let port = self.port(secure).unwrap_or(DISCARD);
        MsrpUri::new(secure, &self.host, port, session)
    }

    /// The port that we listen on.
    #[must_use]
    pub const fn port(&self, secure: bool) -> Option<u16> {
        if secure { self.tls_port } else { self.tcp_port }
    }
}

/// Whom a `Contact` of ours names.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct OwnUser {
    /// User part, as it stands on the wire.
    pub(crate) user: Option<String>,
    /// The domain that stands there in place of our own host and port.
    pub(crate) host: Option<String>,
    /// A feature tag of the `Contact` (RFC 3840).
    pub(crate) feature: Option<&'static str>,
}

impl OwnUser {
    /// A user of ours, as a peer wants to see it.
    pub(crate) fn new(user: &SipAddress, peer: &Behaviour) -> Self {
        Self {
            user: user.user.clone(),
            host: (peer.contact_host == ContactHost::Domain).then(|| user.host.clone()),
            feature: None,
        }
    }
}

/// Bounds on what peers and users can make us hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Subscriptions of ours and watchers together.
    pub dialogs: usize,
    /// XMPP users in SIP conferences, and SIP users in XMPP rooms, of either so many.
    pub legs: usize,
    /// MESSAGEs that wait for an earlier one to the same address, for each address.
    pub queued_per_address: usize,
    /// MESSAGEs that wait, altogether.
    pub queued: usize,
    /// How long a MESSAGE may wait for its turn.
    pub queue_wait: Duration,
    /// Call-IDs whose last CSeq is remembered.
    pub threads: usize,
    /// Outgoing requests that wait for name resolution.
    pub resolving: usize,
    /// Outgoing requests that wait for one partner's pace, urgent ones and others counted apart.
    pub paced: usize,
    /// How long a request that nobody waits for (SUBSCRIBE, NOTIFY) may wait for the partner's pace.
    pub paced_wait: Duration,
    /// MESSAGEs a second from one domain; four times as many at once.
    pub messages_per_second: u32,
    /// SUBSCRIBEs a second from one domain; four times as many at once.
    pub subscribes_per_second: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            dialogs: 100_000,
            legs: 10_000,
            queued_per_address: 100,
            queued: 10_000,
            queue_wait: Duration::from_secs(60),
            threads: 20_000,
            resolving: 20_000,
            paced: 10_000,
            paced_wait: Duration::from_secs(300),
            messages_per_second: 50,
            subscribes_per_second: 10,
        }
    }
}

impl Settings {
    /// Defaults for a host that serves nobody yet.
    #[must_use]
    pub fn new(host: impl Into<String>) -> Self {
        Self {
            local: Local::new(host),
            xmpp_domains: Vec::new(),
            users_domains: Vec::new(),
            sip_domains: Vec::new(),
            found: BTreeMap::new(),
            subscribe_expires: Duration::from_secs(3600),
            watcher_expires: Duration::from_secs(3600),
            min_expires: Duration::from_secs(60),
            notify_interval: Duration::from_secs(5),
            page_limit: 1300,
            msrp: None,
            rooms: Vec::new(),
            limits: Limits::default(),
            registrations: Vec::new(),
            credentials: Vec::new(),
            product: "stoxgate".to_owned(),
            transactions: transaction::Settings::default(),
        }
    }

    /// 64*T1: how long a transaction of ours, or the wait for a first NOTIFY, lasts (RFC 6665 Timer N).
    #[must_use]
    pub fn transaction_time(&self) -> Duration {
        self.transactions.timing.transaction()
    }

    /// The federated domain of this name.
    #[must_use]
    pub fn sip_domain(&self, host: &str) -> Option<&SipDomain> {
        self.named(host).or_else(|| {
            let is_any = !self.found.is_empty();
            is_any.then(|| self.found.get(&canonical_domain(host)))?
        })
    }

    /// The same among those that the administrator has named.
    pub(super) fn named(&self, host: &str) -> Option<&SipDomain> {
        self.sip_domains
            .iter()
            .find(|domain| same_host(&domain.name, host))
    }

    /// All federated domains.
    pub(super) fn all_sip_domains(&self) -> impl Iterator<Item = &SipDomain> {
        self.sip_domains.iter().chain(self.found.values())
    }

    /// The federated domains that what came from this source may name as its sender's.
    pub(super) fn spoken_for_by<'a>(
        &'a self,
        source: &'a Source,
    ) -> impl Iterator<Item = &'a SipDomain> {
        let named = self.sip_domains.iter();
        let named = named.filter(|domain| domain.is_spoken_for_by(source));
        let identities = match self.found.is_empty() {
            true => Vec::new(),
            false => domain_identities(&source.certificate_names),
        };
        let found = identities
            .into_iter()
            .filter_map(|name| self.found.get(&canonical_domain(name)));
        named.chain(found)
    }

    /// How the peer of a domain behaves, as far as that is known.
    #[must_use]
    pub fn behaviour(&self, domain: &str, dialects: &Dialects) -> Behaviour {
        match self.sip_domain(domain) {
            Some(known) => dialects.behaviour(&known.name, &known.dialect),
            None => dialects.behaviour(domain, &Rule::default()),
        }
    }

    /// How requests for a domain are counted: together with those for others that go to the same next hop, by the
    /// slowest of their rates.
    pub(super) fn lane(&self, domain: &str, dialects: &Dialects) -> Option<Lane> {
        let known = self.sip_domain(domain)?;
        let name = known.server();
        let pace = |domain: &SipDomain| {
            let behaviour = dialects.behaviour(&domain.name, &domain.dialect);
            behaviour.requests_per_second
        };
        let together = self.sip_domains.iter().filter(|d| d.server() == name);
        let together = together.chain(std::iter::once(known));
        let per_second = together.map(pace).filter(|pace| *pace > 0).min();
        Some(Lane {
            name: name.to_owned(),
            per_second: per_second.unwrap_or(0),
        })
    }

    /// Whether we speak for the users of this domain on SIP. A federated SIP domain is never one of them.
    #[must_use]
    pub fn serves(&self, host: &str) -> bool {
        let domain = canonical_domain(host);
        !is_literal(host)
            && self.sip_domain(host).is_none()
            && self
                .xmpp_domains
                .iter()
                .chain(&self.users_domains)
                .any(|pattern| pattern.matches(&domain))
    }

    /// The credentials of a SIP domain that an answer over this transport, to this address and to whom the certificate there
    /// names, may be made of: the domain has to list the address, or it is its server by its certificate, or the credential
    /// has to allow it.
    pub(crate) fn credentials_for(
        &self,
        domain: &str,
        (transport, address, names): (Transport, IpAddr, &[String]),
    ) -> Vec<Credential> {
        let known = self.sip_domain(domain);
        let trusted = known.is_some_and(|known| {
            known.trusts_address(address)
                || transport.row().secure && self.is_server_of(known, address, names)
        });
        self.credentials
            .iter()
            .filter(|credential| same_host(&credential.domain, domain))
            .filter(|credential| trusted || credential.over_plain)
            .cloned()
            .collect()
    }

    /// Whether who is at that address, and has these names in its certificate, is a server that the settings name for the
    /// domain, or the domain's own: not just any host inside it that a dialog leads to.
    fn is_server_of(&self, domain: &SipDomain, address: IpAddr, names: &[String]) -> bool {
        let lines = self.registrations.iter();
        let registrars = lines
            .filter(|line| same_host(&line.domain, &domain.name))
            .filter_map(|line| line.registrar.as_deref());
        let mut hosts = registrars
            .chain(domain.next_hop.as_deref())
            .filter_map(routing::host);
        let own = std::iter::once(&domain.name).chain(&domain.certificate_names);
        own.into_iter().any(|name| names_host(names, name))
            || hosts.any(|host| match host.parse::<IpAddr>() {
                Ok(literal) => literal.to_canonical() == address.to_canonical(),
                Err(_) => names_host(names, &host),
            })
    }
}

/// A host by number belongs to nobody's domain.
fn is_literal(host: &str) -> bool {
    host.starts_with('[') || host.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_literal_may_be_our_name() {
        for host in ["2001:db8::1", "[2001:db8::1]"] {
            let local = Local::new(host);
            let own = OwnUser {
                user: Some("a".to_owned()),
                ..OwnUser::default()
            };
            let contact = local.contact(&own, Transport::Udp);
            assert_eq!(contact, "<sip:a@[2001:db8::1]:5060>");
            assert_eq!(local.sent_by()[0].host, "2001:db8::1");
        }
        let local = Local {
            aliases: vec!["2001:db8::1".to_owned()],
            ..Local::new("gw.example")
        };
        assert!(local.is_us("[2001:db8::1]") && local.is_us("GW.example."));
        assert!(!local.is_us("[2001:db8::2]"));
    }

    #[test]
    fn serves_the_domains_of_its_patterns_but_no_literals() {
        let mut settings = Settings::new("gw.example");
        settings.xmpp_domains = vec![DomainPattern::parse("jabber.example")];
        assert!(settings.serves("JABBER.example"));
        assert!(!settings.serves("x.jabber.example"));
        settings.xmpp_domains = vec![DomainPattern::parse("*")];
        assert!(settings.serves("any.example"));
        assert!(!settings.serves("192.0.2.1"));
        assert!(!settings.serves("[::1]"));
    }
}
