//! The settings as the program uses them.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use serde::de::{self, Deserialize, Deserializer};
use stox_core::policy::DomainPattern;
use stox_core::presence::Rules;
use stox_sip::dialect::Rule;
use stox_sip::msrp::uri::MsrpUri;
use stox_sip::target::TransportPolicy;
use stox_sip::transport::Transport;

use super::Secret;

/// All settings, checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// `[gateway]`
    pub gateway: Gateway,
    /// `[log]`
    pub log: Log,
    /// `[dns]`
    pub dns: Dns,
    /// `[tls]`
    pub tls: Tls,
    /// `[xmpp]`
    pub xmpp: Xmpp,
    /// `[sip]`
    pub sip: Sip,
    /// `[msrp]`; none where it is off.
    pub msrp: Option<Msrp>,
    /// `[presence]`
    pub presence: Rules,
    /// `[subscriptions]`
    pub subscriptions: Subscriptions,
    /// `[ledger]`
    pub ledger: Ledger,
    /// `[rooms]`
    pub rooms: Rooms,
    /// `[limits]`
    pub limits: Limits,
    /// Files that hold our key and passwords.
    pub private_files: Vec<PathBuf>,
}

/// `[gateway]`
#[derive(Debug, Clone)]
pub struct Gateway {
    /// Our host name in Via, Contact and Call-ID.
    pub host: String,
    /// Folder of the database.
    pub state_dir: PathBuf,
    /// UNIX socket for `status`.
    pub admin_socket: PathBuf,
    /// How long a clean stop may take.
    pub stop_within: Duration,
}

/// `[log]`
#[derive(Debug, Clone)]
pub struct Log {
    /// A level, or a filter in the syntax of tracing.
    pub filter: String,
    /// Form of the lines.
    pub format: LogFormat,
}

/// Form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// `[dns]`
#[derive(Debug, Clone)]
pub struct Dns {
    /// Name servers; empty: the system's.
    pub servers: Vec<SocketAddr>,
    /// Limit of one look-up.
    pub timeout: Duration,
    /// Hold answers to DNSSEC, and the certificates of the XMPP servers that we dial to their TLSA records.
    pub dane: bool,
    /// A file of DNSKEY records that are trusted instead of those of the root.
    pub trust_anchor: Option<PathBuf>,
}

/// `[tls]`
#[derive(Debug, Clone)]
pub struct Tls {
    /// PEM chain, our own certificate first.
    pub certificate: PathBuf,
    /// PEM private key.
    pub key: PathBuf,
    /// Take the key though every user of the machine can read it.
    pub lax_key_permissions: bool,
    /// PEM files of trusted authorities; empty: the system's store.
    pub roots: Vec<PathBuf>,
    /// PEM or DER files of revoked certificates (CRL).
    pub crls: Vec<PathBuf>,
    /// Proof over HTTPS; none where it is off.
    pub posh: Option<Posh>,
}

/// `tls.posh`: where a domain's web server may vouch for an XMPP certificate (RFC 7711).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Posh {
    /// Networks whose web servers are asked though they are not public.
    pub networks: Vec<Network>,
    /// Port of the web servers.
    pub port: u16,
}

/// `[xmpp]`
#[derive(Debug, Clone)]
pub struct Xmpp {
    /// Where server-to-server streams are accepted.
    pub listen: Vec<SocketAddr>,
    /// Partner rules, in the order of the file; the first match counts.
    pub partners: Vec<Partner>,
    /// SIP domains that XMPP servers federate for.
    pub components: Vec<super::Component>,
    /// Accounts of SIP users at other XMPP servers.
    pub accounts: Vec<super::Account>,
    /// Port of partners without SRV records.
    pub default_port: u16,
    /// Quiet streams close after this time.
    pub idle_close: Duration,
    /// A ping after this time of silence.
    pub keepalive: Duration,
    /// How long a fence may take.
    pub fence_timeout: Duration,
    /// Longest stanza in octets that is written.
    pub stanza_limit: usize,
}

/// `[[xmpp.partner]]`: a rule for XMPP domains.
#[derive(Debug, Clone)]
pub struct Partner {
    /// A domain, `*.example.org`, or `*`.
    pub domain: DomainPattern,
    /// Whether streams must be encrypted.
    pub tls: StreamTls,
    /// Whether a certificate proves the domain.
    pub external: StreamExternal,
    /// Whether dialback proves the domain.
    pub dialback: bool,
    /// Whether the partner's certificate must be valid for its domain where dialback proves it.
    pub certificate: CertificateRule,
    /// Whether a server from before XMPP 1.0 will do.
    pub before_1_0: bool,
    /// Whether one stream may carry stanzas in both directions.
    pub bidirectional: bool,
    /// Dial this address instead of asking DNS.
    pub address: Option<SocketAddr>,
    /// TLS comes at once at that address (XEP-0368), not after STARTTLS.
    pub direct_tls: bool,
    /// Networks that a domain of the rule `*` may be dialled in though they are not public.
    pub networks: Vec<Network>,
}

/// Encryption of a partner's streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StreamTls {
    /// No TLS, no stream.
    Required,
    /// TLS when the partner offers it.
    Optional,
    /// Never TLS.
    Off,
}

/// Whether a certificate proves a partner's domain, and ours to it (SASL EXTERNAL).
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StreamExternal {
    /// Nothing else does.
    Required,
    /// Where the certificate is valid for the domain.
    Optional,
    /// Never.
    Off,
}

/// What a partner's certificate must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CertificateRule {
    /// Anything: dialback proves the domain.
    Any,
    /// Valid for the domain, by a trusted authority, in both directions.
    Verify,
}

/// Reads a pattern and refuses what is no domain name.
pub(super) fn domain_pattern(text: &str) -> Result<DomainPattern, String> {
    if text != "*" {
        domain_name(text.strip_prefix("*.").unwrap_or(text))?;
    }
    Ok(DomainPattern::parse(text))
}

/// A domain name in lower case, checked for its form.
///
/// # Errors
/// Says what a domain name looks like.
pub fn domain_name(text: &str) -> Result<String, String> {
    let name = text.trim_end_matches('.').to_lowercase();
    let label_fits = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .chars()
                .all(|c| c.is_alphanumeric() || c == '-' || c == '_')
    };
    if name.len() <= 253 && name.parse::<IpAddr>().is_err() && name.split('.').all(label_fits) {
        Ok(name)
    } else {
        Err(format!(
            "`{text}` is not a domain name; write one such as example.org"
        ))
    }
}

/// `[sip]`
#[derive(Debug, Clone)]
pub struct Sip {
    /// UDP listeners.
    pub udp: Vec<SocketAddr>,
    /// TCP listeners.
    pub tcp: Vec<SocketAddr>,
    /// TLS listeners.
    pub tls: Vec<SocketAddr>,
    /// Whether a TLS client must show a certificate.
    pub client_certificate: ClientCertificate,
    /// Domains that we speak for on XMPP.
    pub domains: Vec<SipDomain>,
    /// What those have that DNS says are SIP domains; none: we speak for no domain without a name.
    pub unnamed: Option<UnnamedSip>,
    /// Passwords for challenges.
    pub credentials: Vec<Credentials>,
    /// Lines at providers.
    pub registrations: Vec<Registration>,
    /// Longest MESSAGE in octets outside a session (RFC 3428 §8).
    pub page_limit: usize,
}

/// `[msrp]`: message sessions by RFC 4975.
#[derive(Debug, Clone)]
pub struct Msrp {
    /// TCP listeners.
    pub tcp: Vec<SocketAddr>,
    /// TLS listeners.
    pub tls: Vec<SocketAddr>,
    /// The host in our URIs; that of the gateway without it.
    pub host: Option<String>,
    /// Longest message in octets that is taken.
    pub max_message: u64,
    /// Networks that may be dialled besides those of the peer's own domain.
    pub networks: Vec<Network>,
    /// The relay that peers connect to.
    pub relay: Option<MsrpRelay>,
}

/// `msrp.relay` with our name and password there (RFC 4976).
#[derive(Debug, Clone)]
pub struct MsrpRelay {
    /// The relay, without session.
    pub uri: MsrpUri,
    /// User.
    pub user: String,
    /// Password.
    pub password: Secret,
}

/// Whether TLS clients must show a certificate; for a domain, whether its servers must.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClientCertificate {
    /// No certificate, no connection.
    Required,
    /// Asked for; without one, only `trusted_addresses` speak for a domain.
    Optional,
}

/// `[[sip.domain]]`: a SIP domain whose users appear on XMPP.
#[derive(Debug, Clone)]
pub struct SipDomain {
    /// Its name.
    pub domain: String,
    /// Where its requests go instead of DNS.
    pub next_hop: Option<String>,
    /// Hosts and networks that may speak for it without a certificate.
    pub trusted_addresses: Vec<Network>,
    /// Certificate names that may speak for it; empty: the domain itself.
    pub certificate_names: Vec<String>,
    /// Whether only a certificate speaks for it.
    pub client_certificate: ClientCertificate,
    /// Whether its servers say who a sender is (RFC 3325).
    pub trust_asserted_identity: bool,
    /// What kind of server it is, and what the administrator knows better.
    pub dialect: Rule,
    /// How old its TLS may be.
    pub tls: DomainTls,
}

/// `[[sip.domain]]` with `domain = "*"`: SIP domains that no rule names and that DNS finds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnnamedSip {
    /// Whether only a certificate speaks for them.
    pub client_certificate: ClientCertificate,
    /// What kind of servers they have.
    pub dialect: Rule,
    /// Networks that their servers may be in though these are not public.
    pub networks: Vec<Network>,
}

impl SipDomain {
    /// The certificate names that speak for it.
    #[must_use]
    pub fn speakers(&self) -> &[String] {
        if self.certificate_names.is_empty() {
            std::slice::from_ref(&self.domain)
        } else {
            &self.certificate_names
        }
    }
}

/// How old a SIP domain's TLS may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DomainTls {
    /// TLS 1.2 or 1.3 with modern suites.
    Modern,
    /// Down to TLS 1.0 with SHA-1 and short keys. Needs the feature `legacy-tls`.
    LegacyDangerous,
}

impl DomainTls {
    /// Whether this program was built with old TLS.
    pub const IS_BUILT: bool = cfg!(feature = "legacy-tls");
    /// What to say where it was not.
    pub const NOT_BUILT: &str = "this stoxgate was built without old TLS; build it with `cargo build --release --features \
                                 legacy-tls` (the container: --build-arg FEATURES=legacy-tls), or take the key out";
}

/// `[[sip.credentials]]`: the answer to one realm's challenge.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// Realm.
    pub realm: String,
    /// The SIP domain whose servers may ask. No other one ever sees an answer.
    pub domain: String,
    /// User.
    pub user: String,
    /// Password.
    pub password: Secret,
    /// Whether it may be answered with outside TLS and the domain's addresses.
    pub over_plain: bool,
}

/// `[[sip.registration]]`: a line at a SIP provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registration {
    /// User of its address.
    pub user: String,
    /// Domain of its address, one of the SIP domains.
    pub domain: String,
    /// Where to register instead of the domain's next hop or DNS.
    pub registrar: Option<String>,
    /// Lifetime that we ask for.
    pub expires: Duration,
}

/// An address or a network in CIDR form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    /// Base address.
    pub address: IpAddr,
    /// Length of the prefix in bits.
    pub prefix: u8,
}

impl Network {
    /// Whether the address is in it.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let prefix = if address.is_ipv4() { 32 } else { 128 };
        self.overlaps(&Self { address, prefix })
    }

    /// Whether the two have an address in common.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        let leading = |address: IpAddr, prefix: u8| match address {
            IpAddr::V4(address) => (4, u128::from(address.to_bits()) >> (32 - prefix.min(32))),
            IpAddr::V6(address) => {
                let bits = address.to_bits();
                (
                    6,
                    bits.checked_shr(128 - u32::from(prefix.min(128)))
                        .unwrap_or(0),
                )
            }
        };
        let prefix = self.prefix.min(other.prefix);
        leading(self.address, prefix) == leading(other.address, prefix)
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("`{text}` is not an address or a network; write 192.0.2.7 or 192.0.2.0/24");
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix.parse::<u8>().map_err(|_| wrong())?)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.unwrap_or(longest);
        if prefix > longest {
            Err(wrong())
        } else {
            Ok(Self { address, prefix })
        }
    }
}

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        parsed(deserializer)
    }
}

impl Config {
    /// The transports that outgoing requests may use: those that we listen on, and those that a next hop names. Whoever
    /// listens on TLS only never speaks in clear.
    #[must_use]
    pub fn sip_transports(&self) -> TransportPolicy {
        let named = self
            .sip
            .domains
            .iter()
            .filter_map(|domain| domain.next_hop.as_deref())
            .filter_map(named_transport);
        let listening = [
            (Transport::Tls, self.sip.tls.is_empty()),
            (Transport::Tcp, self.sip.tcp.is_empty()),
            (Transport::Udp, self.sip.udp.is_empty()),
        ];
        let named: Vec<Transport> = named.collect();
        let transports = listening
            .into_iter()
            .filter(|(transport, absent)| !absent || named.contains(transport))
            .map(|(transport, _)| transport)
            .collect();
        TransportPolicy {
            transports,
            naptr: true,
        }
    }
}

pub(super) fn named_transport(next_hop: &str) -> Option<Transport> {
    let uri = stox_sip::uri::Uri::parse(next_hop).ok()?;
    Transport::from_parameter(uri.param("transport")?)
}

/// `[subscriptions]`
#[derive(Debug, Clone)]
pub struct Subscriptions {
    /// Lifetime that we ask for and grant at most.
    pub expires: Duration,
    /// Shortest lifetime that we grant.
    pub min_expires: Duration,
    /// At most one NOTIFY per watcher in this time.
    pub notify_interval: Duration,
    /// Window over which subscriptions are rebuilt after a start.
    pub restart_spread: Duration,
}

/// `[ledger]`
#[derive(Debug, Clone)]
pub struct Ledger {
    /// How long the outcome of a message stays known; zero: nothing is recorded.
    pub keep: Duration,
    /// Entries at most, the newest.
    pub max_entries: u64,
}

/// `[rooms]`
#[derive(Debug, Clone)]
pub struct Rooms {
    /// For the translation.
    pub settings: stox_core::room::Settings,
    /// SIP domains whose users are conferences, in lower case.
    pub conferences: BTreeSet<String>,
    /// XMPP domains whose users are rooms; none: the SIP user's call says what it is for.
    pub services: Vec<DomainPattern>,
}

/// `[limits]`
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections on all listeners of one protocol.
    pub connections: usize,
    /// Connections of one address.
    pub connections_per_address: usize,
    /// Stanzas that wait for one partner.
    pub queue: usize,
    /// A stanza's octets after the stream is proved.
    pub stanza: usize,
    /// A SIP body's octets.
    pub sip_body: usize,
    /// How long a message may wait for a partner that is down.
    pub message_wait: Duration,
    /// SIP transactions at one time.
    pub transactions: usize,
    /// MESSAGEs a second from one SIP domain; four times as many at once.
    pub messages_per_second: u32,
    /// Domains that no rule names and whose world is remembered.
    pub discovered: usize,
}

/// A duration written `90s`, `10m`, `1h 30m`, or as a number of seconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span(pub(super) Duration);

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(serde::Deserialize)]
        #[serde(untagged)]
        enum Raw {
            Seconds(u64),
            Words(String),
        }
        let wrong =
            || de::Error::custom("is not a time; write 30s, 10m, 1h or a number of seconds");
        match Raw::deserialize(deserializer).map_err(|_| wrong())? {
            Raw::Seconds(seconds) => Ok(Self(Duration::from_secs(seconds))),
            Raw::Words(words) => humantime::parse_duration(&words)
                .map(Self)
                .map_err(|_| wrong()),
        }
    }
}

/// A list, or one string with commas (as an environment variable gives it).
#[derive(Debug, Clone)]
pub(super) struct List<T>(pub(super) Vec<T>);

impl<'de, T> Deserialize<'de> for List<T>
where
    T: FromStr,
    T::Err: fmt::Display,
{
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(serde::Deserialize)]
        #[serde(untagged)]
        enum Raw {
            Many(Vec<String>),
            One(String),
        }
        let items = match Raw::deserialize(deserializer)
            .map_err(|_| de::Error::custom("must be a list of strings"))?
        {
            Raw::Many(items) => items,
            Raw::One(line) => line
                .split(',')
                .map(|item| item.trim().to_owned())
                .filter(|i| !i.is_empty())
                .collect(),
        };
        let parse = |item: &String| {
            item.parse()
                .map_err(|e| de::Error::custom(format!("`{item}`: {e}")))
        };
        items.iter().map(parse).collect::<Result<_, _>>().map(Self)
    }
}

/// A string taken through [`FromStr`].
pub(super) fn parsed<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr,
    T::Err: fmt::Display,
{
    String::deserialize(deserializer)?
        .parse()
        .map_err(de::Error::custom)
}
