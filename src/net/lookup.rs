//! From a domain to the addresses to try, for either protocol.

use std::net::SocketAddr;

use stox_core::failure::Local;
use stox_core::time::Entropy;
use stox_sip::target::{
    Answer, NaptrRecord, NextHop, Question, SrvRecord, TargetError, TargetLookup, TransportPolicy,
};
use stox_sip::transport::Target;

use super::dns::{Dns, DnsError, Found, Service, order_by_service};
use super::public_address::is_public;
use crate::config::Network;

/// Addresses tried for one domain at most.
const MAX_ADDRESSES: usize = 12;

/// The targets of a SIP next hop, the best first (RFC 3263).
///
/// # Errors
/// Why there are none.
pub async fn sip(
    dns: &Dns,
    hop: NextHop,
    policy: &TransportPolicy,
    entropy: &mut (dyn Entropy + Send),
) -> Result<Vec<Target>, TargetError> {
    let mut lookup = TargetLookup::new(hop, policy);
    while let Some(question) = lookup.question() {
        let answer = ask(dns, &question).await;
        lookup.answer(answer, entropy);
    }
    lookup.finish()
}

/// The lowest port that SIP domains without a name are reached at: those below are for the services of a system
/// (RFC 6335 §6), and none of SIP's is among them.
const LOWEST_PORT: u16 = 1024;

/// Takes out the targets of a domain that no setting names where they are neither public nor in one of these networks, or at
/// the port of another service.
///
/// # Errors
/// None is left. The first of them is named.
pub fn confine(targets: Vec<Target>, networks: &[Network]) -> Result<Vec<Target>, SocketAddr> {
    let is_open =
        |target: &Target| target.address.port() >= LOWEST_PORT && is_open(target.address, networks);
    let first = targets.first().map(|target| target.address);
    some_left(first, targets.into_iter().filter(is_open).collect())
}

/// Takes out the targets that do not prove themselves by a certificate: what DNS said some time ago may lead to somebody else
/// by now.
///
/// # Errors
/// None is left.
pub fn proving(mut targets: Vec<Target>) -> Result<Vec<Target>, TargetError> {
    targets.retain(|target| target.transport.row().secure);
    if targets.is_empty() {
        Err(TargetError::Temporary)
    } else {
        Ok(targets)
    }
}

/// Takes out the addresses of an XMPP domain that no setting names where they are neither public nor in one of these
/// networks. Any port will do: some servers take streams where a firewall lets HTTPS through.
///
/// # Errors
/// None is left. The first of them is named.
pub fn confine_xmpp(
    places: Vec<XmppPlace>,
    networks: &[Network],
) -> Result<Vec<XmppPlace>, SocketAddr> {
    let first = places.first().map(|place| place.address);
    let is_open = |place: &XmppPlace| is_open(place.address, networks);
    some_left(first, places.into_iter().filter(is_open).collect())
}

/// What is left of addresses of which that was the first.
fn some_left<T>(first: Option<SocketAddr>, open: Vec<T>) -> Result<Vec<T>, SocketAddr> {
    match first {
        Some(address) if open.is_empty() => Err(address),
        _ => Ok(open),
    }
}

fn is_open(address: SocketAddr, networks: &[Network]) -> bool {
    let address = address.ip().to_canonical();
    is_public(address) || networks.iter().any(|network| network.contains(address))
}

async fn ask(dns: &Dns, question: &Question) -> Answer {
    let answer = match question {
        Question::Naptr(name) => dns.naptr(name).await.map(|records| {
            Answer::Naptr(
                records
                    .into_iter()
                    .map(|r| NaptrRecord {
                        order: r.order,
                        preference: r.preference,
                        flags: r.flags,
                        service: r.service,
                        regexp: r.regexp,
                        replacement: r.replacement,
                    })
                    .collect(),
            )
        }),
        Question::Srv(name) => dns.services(name).await.map(|records| {
            let record = |r: super::dns::Service| SrvRecord {
                priority: r.priority,
                weight: r.weight,
                port: r.port,
                target: if r.host.is_empty() {
                    ".".to_owned()
                } else {
                    r.host
                },
            };
            Answer::Srv(records.into_iter().map(record).collect())
        }),
        Question::Address(name) => dns.addresses(name).await.map(Answer::Addresses),
    };
    answer.unwrap_or_else(|error| match error {
        DnsError::NotFound => Answer::Nothing,
        DnsError::Failed(_) => Answer::Failed,
    })
}

/// An address of an XMPP server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct XmppPlace {
    /// Where.
    pub address: SocketAddr,
    /// TLS comes at once (XEP-0368), not after STARTTLS.
    pub direct_tls: bool,
    /// The host, where DNSSEC vouches for its name and its addresses, so that its TLSA records count (RFC 7673 §3).
    pub secure_host: Option<String>,
}

/// A host of an XMPP domain, before its addresses are known.
#[derive(Debug, Clone, PartialEq, Eq)]
struct XmppHost {
    service: Service,
    direct_tls: bool,
}

/// The addresses of an XMPP domain's servers, the best first: SRV records of both kinds by priority and weight as if they
/// were of one (RFC 6120 §3.2, XEP-0368 §3), or the domain's own address records. `direct_tls`: servers that begin with
/// TLS will do.
///
/// # Errors
/// The domain has no usable records, or DNS does not answer.
pub async fn xmpp(
    dns: &Dns,
    domain: &str,
    (default_port, direct_tls): (u16, bool),
    entropy: &mut (dyn Entropy + Send),
) -> Result<Vec<XmppPlace>, Local> {
    let names = ["_xmpp-server", "_xmpps-server"].map(|name| format!("{name}._tcp.{domain}"));
    xmpp_places(dns, (domain, names), (default_port, direct_tls), entropy).await
}

/// The same for a client of the domain (RFC 6120 §3.2.1, XEP-0368 §3).
///
/// # Errors
/// As [`xmpp`].
pub async fn xmpp_client(
    dns: &Dns,
    domain: &str,
    default_port: u16,
    entropy: &mut (dyn Entropy + Send),
) -> Result<Vec<XmppPlace>, Local> {
    let names = ["_xmpp-client", "_xmpps-client"].map(|name| format!("{name}._tcp.{domain}"));
    xmpp_places(dns, (domain, names), (default_port, true), entropy).await
}

async fn xmpp_places(
    dns: &Dns,
    (domain, [clear_name, direct_name]): (&str, [String; 2]),
    (default_port, direct_tls): (u16, bool),
    entropy: &mut (dyn Entropy + Send),
) -> Result<Vec<XmppPlace>, Local> {
    let (clear, direct) = if direct_tls {
        tokio::join!(
            dns.services_found(&clear_name),
            dns.services_found(&direct_name)
        )
    } else {
        let clear = dns.services_found(&clear_name).await;
        (clear, Err(DnsError::NotFound))
    };
    if let Err(DnsError::Failed(_)) = clear {
        return Err(Local::Unreachable);
    }
    // Without SRV records the name is the domain's own, and nobody can have changed it.
    let secure = |found: &Result<Found<Service>, DnsError>| match found {
        Ok(found) => found.secure,
        Err(_) => true,
    };
    let (clear_secure, direct_secure) = (secure(&clear), secure(&direct));
    let services = |found: Result<Found<Service>, DnsError>| {
        found.map(|found| found.records).unwrap_or_default()
    };
    // Whoever publishes no such records may have name servers that do not even say so.
    let hosts = xmpp_hosts(
        (domain, default_port),
        services(clear),
        services(direct),
        |below| entropy.next_u64() % below,
    );
    if hosts.is_empty() {
        return Err(Local::DomainNotFound);
    }
    let mut found = Vec::new();
    let mut failure = Local::DomainNotFound;
    for host in hosts.into_iter().take(MAX_ADDRESSES) {
        let (name, port) = (&host.service.host, host.service.port);
        let named_securely = if host.direct_tls {
            direct_secure
        } else {
            clear_secure
        };
        match dns.addresses_found(name).await {
            Ok(addresses) => {
                let secure_host = (named_securely && addresses.secure).then(|| name.clone());
                found.extend(addresses.records.into_iter().map(|address| XmppPlace {
                    address: SocketAddr::new(address, port),
                    direct_tls: host.direct_tls,
                    secure_host: secure_host.clone(),
                }));
            }
            Err(DnsError::NotFound) => {}
            Err(DnsError::Failed(_)) => failure = Local::Unreachable,
        }
    }
    found.truncate(MAX_ADDRESSES);
    if found.is_empty() {
        Err(failure)
    } else {
        Ok(found)
    }
}

/// Merges the two kinds of records. A target of "." says that this kind is not offered (RFC 2782); the domain itself
/// serves where there are no records of either kind.
fn xmpp_hosts(
    (domain, default_port): (&str, u16),
    clear: Vec<Service>,
    direct: Vec<Service>,
    draw: impl FnMut(u64) -> u64,
) -> Vec<XmppHost> {
    if clear.is_empty() && direct.is_empty() {
        let service = Service {
            priority: 0,
            weight: 0,
            port: default_port,
            host: domain.to_owned(),
        };
        return vec![XmppHost {
            service,
            direct_tls: false,
        }];
    }
    let host = |service, direct_tls| XmppHost {
        service,
        direct_tls,
    };
    let hosts = clear
        .into_iter()
        .map(|service| host(service, false))
        .chain(direct.into_iter().map(|service| host(service, true)))
        .filter(|host| !host.service.host.is_empty())
        .collect();
    order_by_service(hosts, |host| &host.service, draw)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(priority: u16, host: &str, port: u16) -> Service {
        Service {
            priority,
            weight: 0,
            port,
            host: host.to_owned(),
        }
    }

    fn merged(clear: &[Service], direct: &[Service]) -> Vec<(String, u16, bool)> {
        xmpp_hosts(
            ("jabber.test", 5269),
            clear.to_vec(),
            direct.to_vec(),
            |_| 0,
        )
        .into_iter()
        .map(|host| (host.service.host, host.service.port, host.direct_tls))
        .collect()
    }

    fn host(name: &str, port: u16, direct_tls: bool) -> (String, u16, bool) {
        (name.to_owned(), port, direct_tls)
    }

    /// Targets, the networks that are listed, and how many are left.
    type Row<'a> = (&'a [&'a str], &'a [Network], Result<usize, SocketAddr>);

    #[test]
    fn a_strangers_domain_leads_to_no_host_inside() {
        let targets = |addresses: &[&str]| -> Vec<Target> {
            let target = |address: &&str| Target {
                transport: stox_sip::transport::Transport::Tls,
                address: address.parse().unwrap(),
                name: "voice.test".to_owned(),
                also: Vec::new(),
            };
            addresses.iter().map(target).collect()
        };
        let listed: Vec<Network> = vec!["10.0.0.0/24".parse().unwrap()];
        let rows: [Row; 8] = [
            (&["8.8.8.8:5061", "10.0.0.1:5061"], &[], Ok(1)),
            (
                &["10.0.0.1:5061"],
                &[],
                Err("10.0.0.1:5061".parse().unwrap()),
            ),
            (&["8.8.8.8:25"], &listed, Err("8.8.8.8:25".parse().unwrap())),
            (&["10.0.0.1:5061"], &listed, Ok(1)),
            (&["[::ffff:10.0.0.1]:5061"], &listed, Ok(1)),
            (
                &["[::ffff:127.0.0.1]:5061"],
                &listed,
                Err("[::ffff:127.0.0.1]:5061".parse().unwrap()),
            ),
            (&["[2620:fe::fe]:5061", "[fd00::1]:5061"], &[], Ok(1)),
            (&[], &[], Ok(0)),
        ];
        for (addresses, networks, expected) in rows {
            let found = confine(targets(addresses), networks);
            assert_eq!(found.map(|found| found.len()), expected, "{addresses:?}");
        }
    }

    #[test]
    fn xmpp_domains_without_a_name_are_dialled_outside_only() {
        let places = |addresses: &[&str]| -> Vec<XmppPlace> {
            let place = |address: &&str| XmppPlace {
                address: address.parse().unwrap(),
                direct_tls: false,
                secure_host: None,
            };
            addresses.iter().map(place).collect()
        };
        let listed: Vec<Network> = vec!["10.0.0.0/8".parse().unwrap()];
        let found = confine_xmpp(places(&["127.0.0.1:5269", "8.8.8.8:443"]), &listed);
        assert_eq!(found, Ok(places(&["8.8.8.8:443"])));
        let found = confine_xmpp(places(&["[::1]:5269", "127.0.0.1:5269"]), &listed);
        assert_eq!(found, Err("[::1]:5269".parse().unwrap()));
        let inside = places(&["[::ffff:10.0.0.1]:5269"]);
        assert_eq!(confine_xmpp(inside.clone(), &listed), Ok(inside));
        assert_eq!(confine_xmpp(Vec::new(), &[]), Ok(Vec::new()));
    }

    #[test]
    fn servers_with_and_without_direct_tls_are_one_list() {
        let clear = [service(10, "a", 5269), service(30, "c", 5269)];
        let direct = [service(20, "b", 5270), service(5, "a", 443)];
        assert_eq!(
            merged(&clear, &direct),
            [
                host("a", 443, true),
                host("a", 5269, false),
                host("b", 5270, true),
                host("c", 5269, false),
            ]
        );
        assert_eq!(merged(&[], &direct).len(), 2, "TLS at once is all there is");
        assert_eq!(merged(&clear, &[]).len(), 2);
    }

    #[test]
    fn the_domain_itself_serves_without_records_and_not_against_them() {
        let none = [service(0, "", 0)];
        let itself = [host("jabber.test", 5269, false)];
        assert_eq!(merged(&[], &[]), itself);
        assert_eq!(merged(&none, &[]), []);
        assert_eq!(merged(&[], &none), []);
        assert_eq!(
            merged(&none, &[service(0, "a", 5270)]),
            [host("a", 5270, true)]
        );
        assert_eq!(
            merged(&[service(0, "a", 5269)], &none),
            [host("a", 5269, false)]
        );
    }
}
