//! Where a request goes (RFC 3263), as a machine over DNS answers.
//!
//! ```text
//! let mut lookup = TargetLookup::new(hop, &policy);
//! while let Some(question) = lookup.question() { lookup.answer(dns(question), entropy); }
//! let targets = lookup.finish()?;
//! ```

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};

use stox_core::time::Entropy;
use thiserror::Error;

use crate::transport::{TRANSPORTS, Target, Transport};
use crate::uri::{Scheme, Uri, is_within};

/// The most targets that one lookup yields.
pub const MAX_TARGETS: usize = 16;
/// The most records of one DNS answer that are looked at.
pub const MAX_RECORDS: usize = 32;

/// What a URI or a configured route says about the next hop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NextHop {
    /// Domain name, or numeric address (IPv6 with or without brackets).
    pub host: String,
    /// The port, when it is written.
    pub port: Option<u16>,
    /// The transport, when it is written.
    pub transport: Option<Transport>,
    /// A `sips` URI: only a secure transport will do (RFC 3261 §26.2.2).
    pub secure: bool,
}

/// `maddr` is not followed: it would let the writer of a `Contact` aim our requests at others.
impl TryFrom<&Uri> for NextHop {
    type Error = TargetError;

    /// # Errors
    /// [`TargetError::NoCommonTransport`] when the URI asks for a transport that we do not know.
    fn try_from(uri: &Uri) -> Result<Self, TargetError> {
        let transport = uri
            .param("transport")
            .map(|value| Transport::from_parameter(value).ok_or(TargetError::NoCommonTransport))
            .transpose()?;
        Ok(Self {
            host: uri.host.clone(),
            port: uri.port,
            transport,
            secure: uri.scheme == Scheme::Sips,
        })
    }
}

/// Which transports a lookup may choose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransportPolicy {
    /// The transports that are open to us, the preferred first.
    pub transports: Vec<Transport>,
    /// Whether NAPTR records are asked for, before SRV.
    pub naptr: bool,
}

impl Default for TransportPolicy {
    fn default() -> Self {
        Self {
            transports: vec![Transport::Tls, Transport::Tcp, Transport::Udp],
            naptr: true,
        }
    }
}

/// What to ask the DNS.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Question {
    /// The NAPTR records of this name.
    Naptr(String),
    /// The SRV records of this name.
    Srv(String),
    /// The A and AAAA records of this name.
    Address(String),
}

/// What the DNS said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// NAPTR records.
    Naptr(Vec<NaptrRecord>),
    /// SRV records.
    Srv(Vec<SrvRecord>),
    /// Addresses, in the order to try them.
    Addresses(Vec<IpAddr>),
    /// There is no such name, or it has no such records.
    Nothing,
    /// No answer, or a server failure.
    Failed,
}

/// One NAPTR record (RFC 3403 §4.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NaptrRecord {
    /// Lower first.
    pub order: u16,
    /// Lower first, among those of one order.
    pub preference: u16,
    /// `s` where SRV records follow.
    pub flags: String,
    /// `SIP+D2T` and the like.
    pub service: String,
    /// Empty where `replacement` serves.
    pub regexp: String,
    /// The name to ask for next.
    pub replacement: String,
}

/// One SRV record (RFC 2782).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SrvRecord {
    /// Lower first.
    pub priority: u16,
    /// The share of requests, among those of one priority.
    pub weight: u16,
    /// The port there.
    pub port: u16,
    /// The host; `.` says that the service is not offered.
    pub target: String,
}

/// Why there is no target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
pub enum TargetError {
    /// The name has no usable records: the peer's domain does not exist for SIP.
    #[error("the domain has no usable DNS records")]
    NotFound,
    /// The domain says itself that it offers no SIP, by an SRV target of `.`.
    #[error("the domain offers no SIP")]
    NotOffered,
    /// The URI, or all that the domain offers, asks for transports that our policy excludes.
    #[error("no transport in common")]
    NoCommonTransport,
    /// The host is neither a name nor a number. The fault is with whoever wrote the URI.
    #[error("not a host name")]
    BadHost,
    /// The DNS did not answer. Later it may.
    #[error("the DNS did not answer")]
    Temporary,
}

/// A place whose address is still to be asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    transport: Transport,
    host: String,
    port: u16,
    /// The name that its certificate must have.
    name: String,
}

/// The label of the record that the Edges of Microsoft's servers publish.
const FEDERATION: &str = "_sipfederationtls.";

#[derive(Debug)]
enum Stage {
    Naptr,
    /// Names to ask SRV for, until one has records.
    Srv(VecDeque<(Transport, String)>),
    /// Hosts to ask addresses for, all of them.
    Address(VecDeque<Place>),
    Done,
}

/// One lookup from a next hop to an ordered list of targets.
#[derive(Debug)]
pub struct TargetLookup {
    hop: NextHop,
    usable: Vec<Transport>,
    stage: Stage,
    targets: Vec<Target>,
    /// What to report when no target is found.
    error: TargetError,
}

impl TargetLookup {
    /// Starts a lookup. For a numeric host it is over at once.
    #[must_use]
    pub fn new(mut hop: NextHop, policy: &TransportPolicy) -> Self {
        normalize_host(&mut hop.host);
        let usable = usable_transports(&hop, policy);
        let mut lookup = Self {
            hop,
            usable,
            stage: Stage::Done,
            targets: Vec::new(),
            error: TargetError::NotFound,
        };
        lookup.begin(policy.naptr);
        lookup
    }

    fn begin(&mut self, naptr: bool) {
        if self.usable.is_empty() {
            self.error = TargetError::NoCommonTransport;
            return;
        }
        if let Ok(ip) = self.hop.host.parse::<IpAddr>() {
            let place = self.default_place();
            self.push_target(&place, ip);
        } else if !is_host_name(&self.hop.host) {
            self.error = TargetError::BadHost;
        } else if self.hop.port.is_some() {
            self.stage = Stage::Address(VecDeque::from([self.default_place()]));
        } else if self.hop.transport.is_some() || !naptr {
            self.stage = Stage::Srv(self.srv_names());
        } else {
            self.stage = Stage::Naptr;
        }
    }

    /// The question that is open now. The same until it is answered; `None` when the lookup is over.
    #[must_use]
    pub fn question(&self) -> Option<Question> {
        match &self.stage {
            Stage::Naptr => Some(Question::Naptr(self.hop.host.clone())),
            Stage::Srv(names) => names.front().map(|(_, name)| Question::Srv(name.clone())),
            Stage::Address(places) => places.front().map(|p| Question::Address(p.host.clone())),
            Stage::Done => None,
        }
    }

    /// The answer to the open question. One of another kind counts as nothing found.
    pub fn answer(&mut self, answer: Answer, entropy: &mut dyn Entropy) {
        match std::mem::replace(&mut self.stage, Stage::Done) {
            Stage::Naptr => self.naptr_answer(answer),
            Stage::Srv(names) => self.srv_answer(names, answer, entropy),
            Stage::Address(places) => self.address_answer(places, answer),
            Stage::Done => {}
        }
    }

    /// The targets, the best first.
    ///
    /// # Errors
    /// Why there are none.
    pub fn finish(self) -> Result<Vec<Target>, TargetError> {
        if self.targets.is_empty() {
            Err(self.error)
        } else {
            Ok(self.targets)
        }
    }

    /// A failed NAPTR question counts as no records: name servers that know no NAPTR are common, and SRV still decides.
    fn naptr_answer(&mut self, answer: Answer) {
        let mut names = match answer {
            Answer::Naptr(records) => naptr_names(records, &self.usable),
            _ => VecDeque::new(),
        };
        if names.is_empty() {
            names = self.srv_names();
        }
        self.stage = Stage::Srv(names);
    }

    fn srv_answer(
        &mut self,
        mut names: VecDeque<(Transport, String)>,
        answer: Answer,
        entropy: &mut dyn Entropy,
    ) {
        let Some((transport, asked)) = names.pop_front() else {
            return;
        };
        match answer {
            Answer::Srv(records) if !records.is_empty() => {
                let places = srv_places(transport, (&asked, &self.hop.host), records, entropy);
                if !places.is_empty() {
                    self.stage = Stage::Address(places);
                    return;
                }
                self.error = TargetError::NotOffered;
            }
            Answer::Failed => self.error = TargetError::Temporary,
            _ => {}
        }
        if !names.is_empty() {
            self.stage = Stage::Srv(names);
        } else if self.error == TargetError::NotFound {
            self.stage = Stage::Address(VecDeque::from([self.default_place()]));
        }
    }

    fn address_answer(&mut self, mut places: VecDeque<Place>, answer: Answer) {
        let Some(place) = places.pop_front() else {
            return;
        };
        match answer {
            Answer::Addresses(addresses) => {
                for ip in addresses.into_iter().take(MAX_RECORDS) {
                    self.push_target(&place, ip);
                }
            }
            Answer::Failed => self.error = TargetError::Temporary,
            _ => {}
        }
        if !places.is_empty() && self.targets.len() < MAX_TARGETS {
            self.stage = Stage::Address(places);
        }
    }

    fn push_target(&mut self, place: &Place, ip: IpAddr) {
        let target = Target {
            transport: place.transport,
            address: SocketAddr::new(ip, place.port),
            name: place.name.clone(),
            also: Vec::new(),
        };
        if self.targets.len() < MAX_TARGETS && !self.targets.contains(&target) {
            self.targets.push(target);
        }
    }

    /// The names to ask SRV records for, by our preference (RFC 3263 §4.1).
    fn srv_names(&self) -> VecDeque<(Transport, String)> {
        self.usable
            .iter()
            .flat_map(|t| t.row().srv_labels.iter().map(move |label| (*t, label)))
            .map(|(t, label)| (t, format!("{label}.{}", self.hop.host)))
            .collect()
    }

    /// The place without SRV: the transport is UDP for `sip` where nothing else is said (RFC 3263 §4.1), or our first.
    fn default_place(&self) -> Place {
        let transport = if self.usable.contains(&Transport::Udp) {
            Transport::Udp
        } else {
            self.usable.first().copied().unwrap_or(Transport::Tls)
        };
        Place {
            transport,
            host: self.hop.host.clone(),
            port: self.hop.port.unwrap_or(transport.row().default_port),
            name: self.hop.host.clone(),
        }
    }
}

fn normalize_host(host: &mut String) {
    host.make_ascii_lowercase();
    if let Some(inner) = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')) {
        *host = inner.to_owned();
    } else if let Some(name) = host.strip_suffix('.') {
        *host = name.to_owned();
    }
}

fn usable_transports(hop: &NextHop, policy: &TransportPolicy) -> Vec<Transport> {
    let wanted = match (hop.secure, hop.transport) {
        // `sips` with transport=tcp means TLS over TCP (RFC 3261 §26.2.2).
        (true, Some(Transport::Tcp)) => Some(Transport::Tls),
        (_, wanted) => wanted,
    };
    policy
        .transports
        .iter()
        .copied()
        .filter(|t| wanted.is_none_or(|w| w == *t))
        .filter(|t| !hop.secure || t.row().secure)
        .collect()
}

/// A name that may be asked for: letters, digits, hyphens, underscores and dots within the limits of RFC 1035 §2.3.4.
fn is_host_name(host: &str) -> bool {
    host.len() <= 253
        && host.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && label
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        })
}

fn naptr_names(
    mut records: Vec<NaptrRecord>,
    usable: &[Transport],
) -> VecDeque<(Transport, String)> {
    records.truncate(MAX_RECORDS);
    records.sort_by_key(|r| (r.order, r.preference));
    records
        .into_iter()
        .filter(|r| r.flags.eq_ignore_ascii_case("s") && r.regexp.is_empty())
        .filter_map(|r| {
            let row = TRANSPORTS
                .iter()
                .find(|row| row.naptr_service.eq_ignore_ascii_case(&r.service))?;
            let mut name = r.replacement;
            normalize_host(&mut name);
            (usable.contains(&row.transport) && is_host_name(&name))
                .then_some((row.transport, name))
        })
        .collect()
}

/// The name to look for in the certificate of an SRV record's host: the domain that was asked for (RFC 5922 §7.3).
/// COMPAT(ocs, lync): behind the federation record it is the host's own name, which must lie in that domain.
fn certificate_name(asked: &str, host: &str, domain: &str) -> String {
    let own = asked.starts_with(FEDERATION) && is_within(host, domain);
    if own { host } else { domain }.to_owned()
}

fn srv_places(
    transport: Transport,
    (asked, domain): (&str, &str),
    records: Vec<SrvRecord>,
    entropy: &mut dyn Entropy,
) -> VecDeque<Place> {
    order_srv(records, entropy)
        .into_iter()
        .filter_map(|r| {
            let mut host = r.target;
            normalize_host(&mut host);
            is_host_name(&host).then(|| Place {
                transport,
                name: certificate_name(asked, &host, domain),
                host,
                port: r.port,
            })
        })
        .collect()
}

/// The order of RFC 2782: by priority, and at random by weight within one.
fn order_srv(mut records: Vec<SrvRecord>, entropy: &mut dyn Entropy) -> Vec<SrvRecord> {
    records.truncate(MAX_RECORDS);
    records.sort_by_key(|r| (r.priority, r.weight));
    let mut ordered = Vec::with_capacity(records.len());
    while let Some(first) = records.first() {
        let priority = first.priority;
        let group = records.iter().take_while(|r| r.priority == priority);
        let total: u64 = group.clone().map(|r| u64::from(r.weight)).sum();
        let drawn = entropy.next_u64() % (total + 1);
        let mut running = 0;
        let chosen = group
            .map(|r| {
                running += u64::from(r.weight);
                running
            })
            .position(|sum| sum >= drawn)
            .unwrap_or(0);
        ordered.push(records.remove(chosen));
    }
    ordered
}

#[cfg(test)]
mod tests;
