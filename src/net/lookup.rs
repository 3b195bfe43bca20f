//! From a domain to the addresses to try, for either protocol.

use std::net::SocketAddr;

use stox_core::failure::Local;
use stox_core::time::Entropy;
use stox_sip::target::{
    Answer, NaptrRecord, NextHop, Question, SrvRecord, TargetError, TargetLookup, TransportPolicy,
};
use stox_sip::transport::Target;

use super::dns::{Dns, DnsError, order_services};

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

/// The addresses of an XMPP domain's servers, the best first (RFC 6120 §3.2): SRV by priority and weight, or the domain's own
/// address records.
///
/// # Errors
/// The domain has no usable records, or DNS does not answer.
pub async fn xmpp(
    dns: &Dns,
    domain: &str,
    default_port: u16,
    entropy: &mut (dyn Entropy + Send),
) -> Result<Vec<SocketAddr>, Local> {
    let services = match dns.services(&format!("_xmpp-server._tcp.{domain}")).await {
        Ok(services) => services,
        Err(DnsError::NotFound) => Vec::new(),
        Err(DnsError::Failed(_)) => return Err(Local::Unreachable),
    };
    let places: Vec<(String, u16)> = if services.is_empty() {
        vec![(domain.to_owned(), default_port)]
    } else if services.iter().all(|service| service.host.is_empty()) {
        // RFC 2782: a target of "." says that the service is not offered.
        return Err(Local::DomainNotFound);
    } else {
        let ordered = order_services(services, |below| entropy.next_u64() % below);
        ordered
            .into_iter()
            .map(|service| (service.host, service.port))
            .collect()
    };
    let mut found = Vec::new();
    let mut failure = Local::DomainNotFound;
    for (host, port) in places
        .into_iter()
        .filter(|(host, _)| !host.is_empty())
        .take(MAX_ADDRESSES)
    {
        match dns.addresses(&host).await {
            Ok(addresses) => found.extend(
                addresses
                    .into_iter()
                    .map(|address| SocketAddr::new(address, port)),
            ),
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
