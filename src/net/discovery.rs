//! In which world a domain lives, by its DNS records (RFC 7247 §5).

use std::net::{IpAddr, UdpSocket};
use std::time::Duration;

use super::dns::{Dns, DnsError, Found};

/// Shortest and longest time that a finding counts, whatever the records say.
const LIFETIME: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(3600));

/// How long all questions about a domain may take: less than a message waits.
const PATIENCE: Duration = Duration::from_secs(10);
/// Hosts of one kind of record that are looked at.
const MAX_HOSTS: usize = 4;

/// Services of XMPP servers (RFC 6120 §3.2.1, XEP-0368).
const XMPP_SERVICES: [&str; 2] = ["_xmpp-server._tcp", "_xmpps-server._tcp"];
/// Services of SIP servers (RFC 3263 §4.1), and of federating Edge servers.
const SIP_SERVICES: [&str; 4] = [
    "_sipfederationtls._tcp",
    "_sips._tcp",
    "_sip._tcp",
    "_sip._udp",
];

/// Where a domain's users are, by its DNS records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum World {
    /// It has XMPP servers.
    Xmpp,
    /// It has SIP servers.
    Sip,
    /// It has servers of both.
    Both,
    /// It publishes neither.
    Neither,
    /// DNS did not answer.
    Unknown,
}

/// What DNS said to one question about a domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Evidence {
    /// The domain offers the service; the record counts for so long.
    Offered(Duration),
    /// The record names this gateway: the other world reaches the domain through us.
    Ours(Duration),
    /// There is no such record, or it says that the service is not offered (RFC 2782).
    Absent,
    /// DNS did not answer.
    Failed,
}

/// A decision, and what it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The world.
    pub world: World,
    /// Why, in words.
    pub because: String,
    /// For how long it counts.
    pub lifetime: Duration,
}

impl World {
    /// In words.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Xmpp => "XMPP",
            Self::Sip => "SIP",
            Self::Both => "both",
            Self::Neither => "neither",
            Self::Unknown => "unknown",
        }
    }

    /// Whether what comes from SIP may go on to the domain over XMPP. A domain with servers of both stays in SIP, where the
    /// sender is; without an answer, the attempt to connect decides.
    #[must_use]
    pub const fn takes_from_sip(self) -> bool {
        match self {
            Self::Xmpp | Self::Neither | Self::Unknown => true,
            Self::Sip | Self::Both => false,
        }
    }

    /// Whether what comes from XMPP may go on to the domain over SIP. A domain with servers of both stays in XMPP, where
    /// the sender is; and without records nobody has said that it is a SIP domain at all.
    #[must_use]
    pub const fn takes_from_xmpp(self) -> bool {
        matches!(self, Self::Sip)
    }
}

impl Finding {
    /// Nobody had the time to ask: it counts for no later question.
    #[must_use]
    pub fn not_asked() -> Self {
        Self {
            world: World::Unknown,
            because: "too many domains are asked about".to_owned(),
            lifetime: Duration::ZERO,
        }
    }
}

/// Asks DNS for everything that tells where a domain lives. Whoever is served by this gateway publishes records that name
/// it, so these say nothing.
pub async fn find(dns: &Dns, domain: &str, our_host: &str) -> Finding {
    let asked = async {
        let (mut xmpp, mut sip) = (Vec::new(), Vec::new());
        let (own, hosts) = tokio::join!(dns.addresses(our_host), hosts(dns, domain));
        let own = own.unwrap_or_default();
        for (name, hosts) in hosts {
            let evidence = evidence(dns, hosts, (our_host, &own)).await;
            let world = match XMPP_SERVICES.contains(&name) {
                true => &mut xmpp,
                false => &mut sip,
            };
            world.push((name, evidence));
        }
        decide(&xmpp, &sip)
    };
    let found = tokio::time::timeout(PATIENCE, asked).await;
    found.unwrap_or_else(|_| decide(&[("", Evidence::Failed)], &[]))
}

type Hosts = Result<Found<String>, DnsError>;

/// The hosts that each record names.
async fn hosts(dns: &Dns, domain: &str) -> [(&'static str, Hosts); 7] {
    let service = |service| async move {
        let name = format!("{service}.{domain}");
        (service, service_hosts(dns, &name).await)
    };
    let [x0, x1] = XMPP_SERVICES;
    let [s0, s1, s2, s3] = SIP_SERVICES;
    let found = tokio::join!(
        service(x0),
        service(x1),
        service(s0),
        service(s1),
        service(s2),
        service(s3),
        naptr_hosts(dns, domain)
    );
    let (x0, x1, s0, s1, s2, s3, naptr) = found;
    [x0, x1, s0, s1, s2, s3, ("NAPTR", naptr)]
}

async fn service_hosts(dns: &Dns, name: &str) -> Hosts {
    let found = dns.services_found(name).await?;
    let hosts = found.records.into_iter().map(|record| record.host);
    Ok(Found {
        records: hosts.filter(|host| !host.is_empty()).collect(),
        lifetime: found.lifetime,
        secure: found.secure,
    })
}

/// The hosts behind NAPTR records of SIP; what they point to is named itself where it leads nowhere.
async fn naptr_hosts(dns: &Dns, domain: &str) -> Hosts {
    let found = dns.naptr_found(domain).await?;
    let mut hosts = Vec::new();
    for record in found.records.into_iter().filter(is_sip).take(MAX_HOSTS) {
        match service_hosts(dns, &record.replacement).await {
            Ok(found) if record.flags.eq_ignore_ascii_case("s") => hosts.extend(found.records),
            _ => hosts.push(record.replacement),
        }
    }
    Ok(Found {
        records: hosts,
        lifetime: found.lifetime,
        secure: found.secure,
    })
}

fn is_sip(record: &super::dns::Naptr) -> bool {
    let service = record.service.to_ascii_uppercase();
    service.starts_with("SIP+D2") || service.starts_with("SIPS+D2")
}

async fn evidence(dns: &Dns, hosts: Hosts, own: (&str, &[IpAddr])) -> Evidence {
    match hosts {
        Ok(found) if found.records.is_empty() => Evidence::Absent,
        Ok(found) => {
            for host in found.records.iter().take(MAX_HOSTS) {
                if !is_ours(dns, host, own).await {
                    return Evidence::Offered(found.lifetime);
                }
            }
            Evidence::Ours(found.lifetime)
        }
        Err(DnsError::NotFound) => Evidence::Absent,
        Err(DnsError::Failed(_)) => Evidence::Failed,
    }
}

/// Whether this machine has the address. What the system lets bind though it has not, as pairs of machines for one service
/// do, counts as well.
fn is_local(address: IpAddr) -> bool {
    let public = !address.is_loopback() && !address.is_unspecified() && !address.is_multicast();
    public && UdpSocket::bind((address, 0)).is_ok()
}

/// A host by our name, or by another one on our addresses: Edge servers want it below the domain that it serves.
async fn is_ours(dns: &Dns, host: &str, (name, own): (&str, &[IpAddr])) -> bool {
    if host.eq_ignore_ascii_case(name) {
        return true;
    }
    let addresses = dns.addresses(host).await.unwrap_or_default();
    let ours = |address: &IpAddr| own.contains(address) || is_local(*address);
    !addresses.is_empty() && addresses.iter().all(ours)
}

/// The decision of what DNS said about XMPP and about SIP servers, each with the record's name.
#[must_use]
pub fn decide(xmpp: &[(&str, Evidence)], sip: &[(&str, Evidence)]) -> Finding {
    let offers = |answers: &[(&str, Evidence)]| {
        answers
            .iter()
            .any(|(_, answer)| matches!(answer, Evidence::Offered(_)))
    };
    let all = || xmpp.iter().chain(sip);
    let failed = all().any(|(_, answer)| *answer == Evidence::Failed);
    let world = match (offers(xmpp), offers(sip)) {
        (true, true) => World::Both,
        (true, false) => World::Xmpp,
        (false, true) => World::Sip,
        (false, false) if failed => World::Unknown,
        (false, false) => World::Neither,
    };
    Finding {
        world,
        because: reason(world, failed, all()),
        lifetime: lifetime(failed, all()),
    }
}

fn lifetime<'a>(failed: bool, answers: impl Iterator<Item = &'a (&'a str, Evidence)>) -> Duration {
    let (shortest, longest) = LIFETIME;
    let records = answers.filter_map(|(_, answer)| match answer {
        Evidence::Offered(lifetime) | Evidence::Ours(lifetime) => Some(*lifetime),
        Evidence::Absent | Evidence::Failed => None,
    });
    match records.min() {
        Some(lifetime) if !failed => lifetime.clamp(shortest, longest),
        _ => shortest,
    }
}

fn reason<'a>(
    world: World,
    failed: bool,
    answers: impl Iterator<Item = &'a (&'a str, Evidence)>,
) -> String {
    let (mut names, mut ours) = (Vec::new(), Vec::new());
    for (name, answer) in answers {
        match answer {
            Evidence::Offered(_) => names.push(*name),
            Evidence::Ours(_) => ours.push(*name),
            Evidence::Absent | Evidence::Failed => {}
        }
    }
    let names = names.join(", ");
    let mut words = match world {
        World::Unknown => "DNS did not answer".to_owned(),
        World::Neither => "its DNS names no XMPP or SIP servers of its own".to_owned(),
        _ if failed => format!("its DNS has {names}; some questions had no answer"),
        _ => format!("its DNS has {names}"),
    };
    if !ours.is_empty() {
        words.push_str(&format!("; its {} names this gateway", ours.join(", ")));
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);
    const MINUTE: Duration = Duration::from_secs(60);

    fn read(letter: char) -> Evidence {
        match letter {
            'y' => Evidence::Offered(Duration::from_secs(300)),
            'n' => Evidence::Absent,
            'o' => Evidence::Ours(Duration::from_secs(300)),
            _ => Evidence::Failed,
        }
    }

    #[test]
    fn every_combination_has_its_world() {
        let rows = [
            ('y', 'y', World::Both, false),
            ('y', 'n', World::Xmpp, true),
            ('y', '?', World::Xmpp, true),
            ('n', 'y', World::Sip, false),
            ('?', 'y', World::Sip, false),
            ('y', 'o', World::Xmpp, true),
            ('n', 'o', World::Neither, true),
            ('?', 'o', World::Unknown, true),
            ('o', 'y', World::Sip, false),
            ('o', 'n', World::Neither, true),
            ('o', 'o', World::Neither, true),
            ('o', '?', World::Unknown, true),
            ('n', 'n', World::Neither, true),
            ('n', '?', World::Unknown, true),
            ('?', 'n', World::Unknown, true),
            ('?', '?', World::Unknown, true),
        ];
        for (xmpp, sip, world, takes) in rows {
            let found = decide(&[("x", read(xmpp))], &[("s", read(sip))]);
            assert_eq!(found.world, world, "{xmpp} {sip}");
            assert_eq!(found.world.takes_from_sip(), takes, "{xmpp} {sip}");
            let only_sip = xmpp != 'y' && sip == 'y';
            assert_eq!(found.world.takes_from_xmpp(), only_sip, "{xmpp} {sip}");
            let seconds = if xmpp == '?' || sip == '?' || (xmpp, sip) == ('n', 'n') {
                60
            } else {
                300
            };
            assert_eq!(found.lifetime.as_secs(), seconds, "{xmpp} {sip}");
        }
    }

    #[test]
    fn any_record_of_a_world_counts_for_it() {
        let one = |position: usize| {
            let mut answers = [Evidence::Absent; 7];
            if let Some(answer) = answers.get_mut(position) {
                *answer = Evidence::Offered(HOUR);
            }
            let names = ["x0", "x1", "s0", "s1", "s2", "s3", "NAPTR"];
            let named: Vec<(&str, Evidence)> = names.into_iter().zip(answers).collect();
            let (xmpp, sip) = named.split_at(2);
            decide(xmpp, sip)
        };
        for position in 0..2 {
            assert_eq!(one(position).world, World::Xmpp);
        }
        for position in 2..7 {
            assert_eq!(one(position).world, World::Sip);
        }
        assert_eq!(one(6).because, "its DNS has NAPTR");
    }

    #[test]
    fn the_shortest_record_counts_within_bounds() {
        let rows = [(1, MINUTE), (61, Duration::from_secs(61)), (90_000, HOUR)];
        for (seconds, expected) in rows {
            let offered = Evidence::Offered(Duration::from_secs(seconds));
            let long = Evidence::Offered(Duration::from_secs(100_000));
            let found = decide(&[("x", offered), ("y", long)], &[("s", Evidence::Absent)]);
            assert_eq!(found.lifetime, expected, "{seconds}");
        }
    }

    #[test]
    fn only_sip_among_naptr_services_counts() {
        let rows = [
            ("SIPS+D2T", true),
            ("sip+d2u", true),
            ("SIP+D2S", true),
            ("E2U+sip", false),
            ("x-sip", false),
        ];
        for (service, expected) in rows {
            let record = super::super::dns::Naptr {
                order: 0,
                preference: 0,
                flags: "s".to_owned(),
                service: service.to_owned(),
                regexp: String::new(),
                replacement: String::new(),
            };
            assert_eq!(is_sip(&record), expected, "{service}");
        }
    }
}
