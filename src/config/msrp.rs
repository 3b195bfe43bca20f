//! `[msrp]`

use std::net::SocketAddr;

use super::keys::Table;
use super::types::{List, Msrp, Network, domain_name};

/// The shortest limit of a message that makes sense: RFC 4975 §7.1.1 lets every chunk have 2048 octets.
const LEAST_MESSAGE: u64 = 2048;

/// Reads the section; without listeners and `enabled` there is no MSRP.
pub(super) fn msrp(table: &mut Table) -> Option<Msrp> {
    let tcp = table.or("tcp", List::<SocketAddr>(Vec::new())).0;
    let tls = table.or("tls", List::<SocketAddr>(Vec::new())).0;
    let enabled = table.or("enabled", !(tcp.is_empty() && tls.is_empty()));
    let host: Option<String> = table.optional("host");
    let max_message = table.or("max_message", 65_536_u64);
    let networks = table.or("networks", List::<Network>(Vec::new())).0;
    let host = host.and_then(|host| host_name(table, host));
    if max_message < LEAST_MESSAGE {
        table.problem("max_message", format!("must be at least {LEAST_MESSAGE}"));
    }
    enabled.then_some(Msrp {
        tcp,
        tls,
        host,
        max_message,
        networks,
    })
}

/// A domain name, or an address that peers reach us at.
fn host_name(table: &mut Table, host: String) -> Option<String> {
    if host.parse::<std::net::IpAddr>().is_ok() {
        return Some(host);
    }
    match domain_name(&host) {
        Ok(host) => Some(host),
        Err(message) => {
            table.problem("host", message);
            None
        }
    }
}
