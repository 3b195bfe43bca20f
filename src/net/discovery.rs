//! In which world a domain lives, by its DNS records (RFC 7247 §5).

use std::time::Duration;

use super::dns::{Dns, DnsError, Found};

/// Shortest and longest time that a finding counts, whatever the records say.
const LIFETIME: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(3600));

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
}

/// Asks DNS for everything that tells where a domain lives.
pub async fn find(dns: &Dns, domain: &str) -> Finding {
    let service = |service| async move {
        let name = format!("{service}.{domain}");
        let offered = |records: &Found<_>| {
            let any = |record: &super::dns::Service| !record.host.is_empty();
            records.records.iter().any(any)
        };
        (service, evidence(dns.services_found(&name).await, offered))
    };
    let naptr = async {
        let offered = |records: &Found<_>| records.records.iter().any(is_sip);
        ("NAPTR", evidence(dns.naptr_found(domain).await, offered))
    };
    let [x0, x1] = XMPP_SERVICES;
    let [s0, s1, s2, s3] = SIP_SERVICES;
    let (x0, x1, s0, s1, s2, s3, naptr) = tokio::join!(
        service(x0),
        service(x1),
        service(s0),
        service(s1),
        service(s2),
        service(s3),
        naptr
    );
    decide(&[x0, x1], &[s0, s1, s2, s3, naptr])
}

fn is_sip(record: &super::dns::Naptr) -> bool {
    let service = record.service.to_ascii_uppercase();
    service.starts_with("SIP+D2") || service.starts_with("SIPS+D2")
}

fn evidence<T>(
    answer: Result<Found<T>, DnsError>,
    offered: impl Fn(&Found<T>) -> bool,
) -> Evidence {
    match answer {
        Ok(found) if offered(&found) => Evidence::Offered(found.lifetime),
        Ok(_) | Err(DnsError::NotFound) => Evidence::Absent,
        Err(DnsError::Failed(_)) => Evidence::Failed,
    }
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
        Evidence::Offered(lifetime) => Some(*lifetime),
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
    let names: Vec<&str> = answers
        .filter(|(_, answer)| matches!(answer, Evidence::Offered(_)))
        .map(|(name, _)| *name)
        .collect();
    let names = names.join(", ");
    match world {
        World::Unknown => "DNS did not answer; tried on its address records".to_owned(),
        World::Neither => {
            "its DNS names neither XMPP nor SIP servers; tried on its address records".to_owned()
        }
        _ if failed => format!("its DNS has {names}; some questions had no answer"),
        _ => format!("its DNS has {names}"),
    }
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
            ('n', 'n', World::Neither, true),
            ('n', '?', World::Unknown, true),
            ('?', 'n', World::Unknown, true),
            ('?', '?', World::Unknown, true),
        ];
        for (xmpp, sip, world, takes) in rows {
            let found = decide(&[("x", read(xmpp))], &[("s", read(sip))]);
            assert_eq!(found.world, world, "{xmpp} {sip}");
            assert_eq!(found.world.takes_from_sip(), takes, "{xmpp} {sip}");
            let seconds = if xmpp == '?' || sip == '?' || world == World::Neither {
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
