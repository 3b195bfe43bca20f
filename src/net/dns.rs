//! DNS questions of both worlds, asked through hickory-resolver.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::Resolver;
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{self, NetError};
use hickory_resolver::proto::dnssec::TrustAnchors;
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};

use super::dane::Tlsa;
use super::recall::Recall;
use crate::config;

/// Why a question has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DnsError {
    /// The name, or records of the type, do not exist.
    #[error("no such DNS record")]
    NotFound,
    /// The servers did not answer, or not sensibly.
    #[error("DNS look-up failed: {0}")]
    Failed(String),
}

/// One SRV record (RFC 2782).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// Lower is tried first.
    pub priority: u16,
    /// Share among equals.
    pub weight: u16,
    /// Port.
    pub port: u16,
    /// Host, lower case, without the final dot.
    pub host: String,
}

/// One NAPTR record (RFC 3403), as far as RFC 3263 reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Naptr {
    /// Lower is processed first.
    pub order: u16,
    /// Lower is preferred within an order.
    pub preference: u16,
    /// Flags, such as `s`.
    pub flags: String,
    /// Service, such as `SIPS+D2T`.
    pub service: String,
    /// Rewriting rule; empty where `replacement` serves.
    pub regexp: String,
    /// The next name to ask for, lower case, without the final dot.
    pub replacement: String,
}

/// Records, and for how long they count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found<T> {
    /// Those that were asked for, unsorted.
    pub records: Vec<T>,
    /// The shortest lifetime among them.
    pub lifetime: Duration,
    /// DNSSEC vouches for all of them. Never so where it is not asked for (`dns.dane`).
    pub secure: bool,
}

/// A resolver, shared by clones.
#[derive(Clone)]
pub struct Dns {
    resolver: TokioResolver,
    validates: bool,
    memory: Recall,
    recalls: bool,
}

impl Dns {
    /// Makes a resolver from the settings.
    ///
    /// # Errors
    /// The system's resolver settings, or the file of trust anchors, cannot be read.
    pub fn new(settings: &config::Dns) -> Result<Self, DnsError> {
        let failed = |error: NetError| DnsError::Failed(error.to_string());
        let mut builder = if settings.servers.is_empty() {
            TokioResolver::builder_tokio().map_err(failed)?
        } else {
            let servers = settings
                .servers
                .iter()
                .map(|address| name_server(*address))
                .collect();
            let config = ResolverConfig::from_parts(None, Vec::new(), servers);
            Resolver::builder_with_config(config, TokioRuntimeProvider::default())
        };
        let options = builder.options_mut();
        options.timeout = settings.timeout;
        options.attempts = 2;
        options.negative_max_ttl = Some(Duration::from_secs(60));
        options.validate = settings.dane;
        if settings.dane
            && let Some(file) = &settings.trust_anchor
        {
            let anchors = TrustAnchors::from_file(file).map_err(|error| {
                let file = file.display();
                DnsError::Failed(format!(
                    "dns.trust_anchor: {file} cannot be read as DNSKEY records: {error}"
                ))
            })?;
            builder = builder.with_trust_anchor(Arc::new(anchors));
        }
        Ok(Self {
            resolver: builder.build().map_err(failed)?,
            validates: settings.dane,
            memory: Recall::default(),
            recalls: false,
        })
    }

    /// The same, for one peer that is dialled: where the name servers fail, their last answer of the past hour is taken
    /// ([`Self::has_recalled`]). Not where answers are held to DNSSEC, which such a one would escape.
    #[must_use]
    pub fn recalling(&self) -> Self {
        Self {
            memory: self.memory.afresh(),
            recalls: !self.validates,
            ..self.clone()
        }
    }

    /// Whether an answer was an old one: whoever is found by it has to prove himself.
    #[must_use]
    pub fn has_recalled(&self) -> bool {
        self.memory.was_used()
    }

    /// Whether answers are held to DNSSEC.
    #[must_use]
    pub fn validates(&self) -> bool {
        self.validates
    }

    /// TLSA records of a name such as `_5269._tcp.xmpp.example.org` (RFC 6698).
    ///
    /// # Errors
    /// See [`DnsError`].
    pub async fn tlsa(&self, name: &str) -> Result<Found<Tlsa>, DnsError> {
        self.records(name, RecordType::TLSA, |data| match data {
            RData::TLSA(tlsa) => Some(Tlsa {
                usage: tlsa.cert_usage.into(),
                selector: tlsa.selector.into(),
                matching: tlsa.matching.into(),
                data: tlsa.cert_data.clone(),
            }),
            _ => None,
        })
        .await
    }

    /// SRV records of a name such as `_xmpp-server._tcp.example.org`, unsorted.
    ///
    /// # Errors
    /// See [`DnsError`].
    pub async fn services(&self, name: &str) -> Result<Vec<Service>, DnsError> {
        Ok(self.services_found(name).await?.records)
    }

    /// As [`Self::services`], with the lifetime.
    ///
    /// # Errors
    /// See [`DnsError`].
    pub async fn services_found(&self, name: &str) -> Result<Found<Service>, DnsError> {
        self.records(name, RecordType::SRV, |data| match data {
            RData::SRV(srv) => Some(Service {
                priority: srv.priority,
                weight: srv.weight,
                port: srv.port,
                host: plain(&srv.target),
            }),
            _ => None,
        })
        .await
    }

    /// NAPTR records of a domain, unsorted.
    ///
    /// # Errors
    /// See [`DnsError`].
    pub async fn naptr(&self, name: &str) -> Result<Vec<Naptr>, DnsError> {
        Ok(self.naptr_found(name).await?.records)
    }

    /// As [`Self::naptr`], with the lifetime.
    ///
    /// # Errors
    /// See [`DnsError`].
    pub async fn naptr_found(&self, name: &str) -> Result<Found<Naptr>, DnsError> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        self.records(name, RecordType::NAPTR, |data| match data {
            RData::NAPTR(naptr) => Some(Naptr {
                order: naptr.order,
                preference: naptr.preference,
                flags: text(&naptr.flags),
                service: text(&naptr.services),
                regexp: text(&naptr.regexp),
                replacement: plain(&naptr.replacement),
            }),
            _ => None,
        })
        .await
    }

    /// IPv6 and IPv4 addresses of a host, IPv6 first; a literal is its own answer.
    ///
    /// # Errors
    /// See [`DnsError`].
    pub async fn addresses(&self, host: &str) -> Result<Vec<IpAddr>, DnsError> {
        Ok(self.addresses_found(host).await?.records)
    }

    /// As [`Self::addresses`], with the lifetime. A literal lives for ever, and DNSSEC does not vouch for it.
    ///
    /// # Errors
    /// See [`DnsError`].
    pub async fn addresses_found(&self, host: &str) -> Result<Found<IpAddr>, DnsError> {
        let literal = host.trim_start_matches('[').trim_end_matches(']');
        if let Ok(address) = literal.parse() {
            return Ok(Found {
                records: vec![address],
                lifetime: Duration::MAX,
                secure: false,
            });
        }
        let name = absolute(host)?;
        let (v6, v4) = tokio::join!(
            self.ask(name.clone(), RecordType::AAAA),
            self.ask(name, RecordType::A)
        );
        let mut both: Option<Found<IpAddr>> = None;
        let mut failure = DnsError::NotFound;
        for answer in [v6, v4] {
            let found = answer.and_then(|records| self.found(&records, RData::ip_addr));
            match (found, &mut both) {
                (Ok(found), _) if found.records.is_empty() => {}
                (Ok(found), Some(both)) => {
                    both.records.extend(found.records);
                    both.lifetime = both.lifetime.min(found.lifetime);
                    both.secure &= found.secure;
                }
                (Ok(found), None) => both = Some(found),
                (Err(DnsError::NotFound), _) => {}
                (Err(failed), _) => failure = failed,
            }
        }
        both.ok_or(failure)
    }

    /// What of an answer is of use. Aliases on the way to it have to be secure, too. An answer of which DNSSEC cannot say
    /// whether it should be signed is none: whoever withholds the keys would have it count as one of an unsigned zone.
    fn found<T>(
        &self,
        answers: &[Record],
        read: impl Fn(&RData) -> Option<T>,
    ) -> Result<Found<T>, DnsError> {
        let mut secure = self.validates && !answers.is_empty();
        for record in answers.iter().filter(|_| self.validates) {
            let proof = record.proof;
            if record.record_type() == RecordType::RRSIG {
                continue;
            }
            if !proof.is_secure() && !proof.is_insecure() {
                return Err(DnsError::Failed(format!(
                    "DNSSEC can neither prove nor disprove the answer ({proof})"
                )));
            }
            secure &= proof.is_secure();
        }
        let seconds = answers.iter().map(|record| record.ttl).min();
        Ok(Found {
            records: answers.iter().filter_map(|r| read(&r.data)).collect(),
            lifetime: Duration::from_secs(u64::from(seconds.unwrap_or(0))),
            secure,
        })
    }

    async fn records<T>(
        &self,
        name: &str,
        kind: RecordType,
        read: impl Fn(&RData) -> Option<T>,
    ) -> Result<Found<T>, DnsError> {
        let records = self.ask(absolute(name)?, kind).await?;
        self.found(&records, read)
    }

    async fn ask(&self, name: Name, kind: RecordType) -> Result<Vec<Record>, DnsError> {
        let asked = self.ask_servers(name.clone(), kind);
        if self.recalls {
            self.memory.or_last((name, kind), asked).await
        } else {
            asked.await
        }
    }

    async fn ask_servers(&self, name: Name, kind: RecordType) -> Result<Vec<Record>, DnsError> {
        match self.resolver.lookup(name.clone(), kind).await {
            Ok(lookup) => Ok(lookup.answers().to_vec()),
            Err(error) if self.is_borrowed_denial(&name, kind, &error).await => {
                Err(DnsError::Failed(
                    "that there is nothing is said by another zone, which cannot know".to_owned(),
                ))
            }
            Err(error) => Err(problem(&error)),
        }
    }

    /// Whether an unsigned denial about a signed domain comes from a zone that the name is not in. The validator takes each that
    /// comes from some unsigned zone, so that whoever is on the way could take records of signed zones away. Behind an
    /// alias such a denial is right, but of a domain that is not signed only.
    async fn is_borrowed_denial(&self, name: &Name, kind: RecordType, error: &NetError) -> bool {
        let matters = self.validates && matches!(kind, RecordType::SRV | RecordType::TLSA);
        if !matters || says_its_zone(error) {
            return false;
        }
        let name = plain(name);
        let labels = name.split('.').skip_while(|label| label.starts_with('_'));
        let domain = labels.collect::<Vec<_>>().join(".");
        let Ok(domain) = absolute(&domain) else {
            return true;
        };
        match self.resolver.lookup(domain, RecordType::NS).await {
            Ok(servers) => servers.answers().iter().any(|r| !r.proof.is_insecure()),
            // A proof that there are none says that the zone is signed.
            Err(error) => !(is_unsigned(&error) && says_its_zone(&error)),
        }
    }
}

/// Nothing but records of zones that are not signed.
fn is_unsigned(error: &NetError) -> bool {
    denial(error)
        .is_some_and(|records| !records.is_empty() && records.iter().all(|r| r.proof.is_insecure()))
}

/// Whether what is not signed in a denial is of zones above the name that was asked for.
fn says_its_zone(error: &NetError) -> bool {
    let NetError::Dns(net::DnsError::NoRecordsFound(none)) = error else {
        return true;
    };
    let records = denial(error).unwrap_or_default().iter();
    let mut unsigned = records.filter(|record| !record.proof.is_secure());
    unsigned.all(|record| record.name.zone_of(none.query.name()))
}

fn denial(error: &NetError) -> Option<&[Record]> {
    match error {
        NetError::Dns(net::DnsError::NoRecordsFound(none)) => none.authorities.as_deref(),
        _ => None,
    }
}

/// That there is nothing, may be proved, or come from a zone that is not signed.
fn problem(error: &NetError) -> DnsError {
    let nothing = match error {
        NetError::Dns(net::DnsError::Nsec { proof, .. }) => {
            proof.is_secure() || proof.is_insecure()
        }
        error => error.is_no_records_found() || error.is_nx_domain(),
    };
    if nothing {
        DnsError::NotFound
    } else {
        DnsError::Failed(error.to_string())
    }
}

fn name_server(address: SocketAddr) -> NameServerConfig {
    let with_port = |mut connection: ConnectionConfig| {
        connection.port = address.port();
        connection
    };
    NameServerConfig::new(
        address.ip(),
        true,
        vec![
            with_port(ConnectionConfig::udp()),
            with_port(ConnectionConfig::tcp()),
        ],
    )
}

/// A name without search list.
fn absolute(name: &str) -> Result<Name, DnsError> {
    let ascii = idna::domain_to_ascii(name).unwrap_or_else(|_| name.to_owned());
    let mut name = Name::from_ascii(&ascii).map_err(|_| DnsError::NotFound)?;
    name.set_fqdn(true);
    Ok(name)
}

fn plain(name: &Name) -> String {
    name.to_ascii().trim_end_matches('.').to_lowercase()
}

/// Orders SRV records by priority, and by weight at random within one (RFC 2782). `draw` gives a number below its argument.
pub fn order_services(services: Vec<Service>, draw: impl FnMut(u64) -> u64) -> Vec<Service> {
    order_by_service(services, |service| service, draw)
}

/// As [`order_services`], for what belongs to SRV records.
pub(super) fn order_by_service<T>(
    mut items: Vec<T>,
    service: impl Fn(&T) -> &Service,
    mut draw: impl FnMut(u64) -> u64,
) -> Vec<T> {
    let weight = |item: &T| u64::from(service(item).weight);
    items.sort_by_key(|item| (service(item).priority, service(item).weight));
    let mut ordered = Vec::with_capacity(items.len());
    while let Some(priority) = items.first().map(|item| service(item).priority) {
        let group = items
            .iter()
            .take_while(|item| service(item).priority == priority);
        let total: u64 = group.clone().map(weight).sum();
        let mut left = draw(total + 1);
        let chosen = group
            .clone()
            .position(|item| {
                let hit = left <= weight(item);
                left = left.saturating_sub(weight(item));
                hit
            })
            .unwrap_or(0);
        ordered.push(items.remove(chosen));
    }
    ordered
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(priority: u16, weight: u16, host: &str) -> Service {
        Service {
            priority,
            weight,
            port: 5269,
            host: host.to_owned(),
        }
    }

    #[test]
    fn lower_priorities_come_first() {
        let records = vec![
            service(20, 0, "c"),
            service(10, 0, "a"),
            service(10, 100, "b"),
        ];
        let hosts = |draw: u64| -> Vec<String> {
            order_services(records.clone(), |_| draw)
                .into_iter()
                .map(|s| s.host)
                .collect()
        };
        assert_eq!(
            hosts(0),
            ["a", "b", "c"],
            "a draw of zero may choose the record without weight"
        );
        assert_eq!(hosts(50), ["b", "a", "c"]);
    }

    #[test]
    fn weights_share_the_first_place() {
        let records = vec![service(0, 1, "light"), service(0, 3, "heavy")];
        let heavy_first = (0..=4)
            .filter(|draw| {
                order_services(records.clone(), |_| *draw)
                    .first()
                    .is_some_and(|s| s.host == "heavy")
            })
            .count();
        assert_eq!(heavy_first, 3);
    }

    #[test]
    fn every_record_is_kept_once() {
        let records: Vec<Service> = (0..40).map(|n| service(n % 3, n, &n.to_string())).collect();
        let mut ordered = order_services(records.clone(), |below| below / 2);
        ordered.sort_by_key(|s| s.host.clone());
        let mut expected = records;
        expected.sort_by_key(|s| s.host.clone());
        assert_eq!(ordered, expected);
    }
}
