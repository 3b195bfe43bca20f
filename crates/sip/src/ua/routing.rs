//! Which way requests of ours go.

use std::net::IpAddr;

use super::settings::Settings;
use super::trust::is_within;
use crate::target::NextHop;
use crate::transport::Source;
use crate::uri::{Uri, bare_host};

/// The next hop for a URI: the configured one of its domain, or what the URI says (RFC 3261 §8.1.2). `None` where
/// it names no host, or a transport that we do not know.
pub(super) fn next_hop(uri: &str, settings: &Settings) -> Option<NextHop> {
    let uri = Uri::parse(uri).ok()?;
    let configured = settings
        .sip_domain(&uri.host)
        .filter(|_| uri.port.is_none())
        .and_then(|domain| domain.next_hop.as_deref())
        .and_then(|hop| Uri::parse(hop).ok());
    NextHop::try_from(&configured.unwrap_or(uri)).ok()
}

/// The host that a configured next hop names, an IPv6 address without brackets.
pub(super) fn host(hop: &str) -> Option<String> {
    let uri = Uri::parse(hop).ok()?;
    Some(uri.bare_host().to_owned())
}

/// Whether a `Contact` is where its sender may have traffic sent to: inside its own domain, at an address that the
/// domain's table trusts, or where the request itself came from.
pub(super) fn is_near(target: &str, domain: &str, source: &Source, settings: &Settings) -> bool {
    let Ok(uri) = Uri::parse(target) else {
        return false;
    };
    match uri.bare_host().parse::<IpAddr>() {
        Ok(address) => {
            let trusted = settings
                .sip_domain(domain)
                .is_some_and(|domain| domain.trusts_address(address));
            trusted || address.to_canonical() == source.remote.ip().to_canonical()
        }
        Err(_) => is_within(&uri.host, domain),
    }
}

/// Whether MSRP may be dialled to a host that a peer of that domain names: as for a `Contact`, or in a network that the
/// settings allow. Nobody makes us connect to a third party.
pub(super) fn may_dial(
    host: &str,
    domain: &str,
    source: Option<&Source>,
    settings: &Settings,
) -> bool {
    let known = settings.sip_domain(domain);
    match bare_host(host).parse::<IpAddr>() {
        Ok(address) => {
            let networks = settings.msrp.iter().flat_map(|msrp| &msrp.networks);
            let came_from = source.map(|source| source.remote.ip().to_canonical());
            known.is_some_and(|domain| domain.trusts_address(address))
                || came_from == Some(address.to_canonical())
                || networks.into_iter().any(|block| block.contains(address))
        }
        Err(_) => is_within(host, domain),
    }
}

/// Whether a Request-URI is us, or a user or the whole of a domain that we speak for.
pub(super) fn is_for_us(uri: &str, settings: &Settings) -> bool {
    Uri::parse(uri).is_ok_and(|uri| settings.local.is_us(&uri.host) || settings.serves(&uri.host))
}
