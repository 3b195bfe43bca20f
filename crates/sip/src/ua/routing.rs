//! Which way requests of ours go.

use std::net::IpAddr;

use super::effects::Asked;
use super::settings::Settings;
use super::trust::{is_within, same_host};
use crate::msrp::uri::MsrpUri;
use crate::target::NextHop;
use crate::transport::{Source, TRANSPORTS};
use crate::uri::Uri;

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

/// Whether a `Contact` is where its sender may have traffic sent to: inside its own domain, at its next hop or an address that the
/// domain's table trusts, or where the request itself came from; and at a port where SIP can be ([`is_open_to_peers`]).
pub(super) fn is_near(target: &str, domain: &str, asked: &Asked, settings: &Settings) -> bool {
    let Ok(uri) = Uri::parse(target) else {
        return false;
    };
    if !uri.port.is_none_or(is_open_to_peers) {
        return false;
    }
    let source = &asked.source;
    match uri.bare_host().parse::<IpAddr>() {
        Ok(address) if is_our_host(address, settings) => {
            let via = asked.request.headers.top_via().ok();
            let own = via.and_then(|via| via.port);
            let known =
                |port: u16| port == source.remote.port() || Some(port) == own || is_default(port);
            address.to_canonical() == source.remote.ip().to_canonical()
                && uri.port.is_none_or(known)
        }
        Ok(address) => {
            let trusted = settings
                .sip_domain(domain)
                .is_some_and(|domain| domain.trusts_address(address));
            trusted || address.to_canonical() == source.remote.ip().to_canonical()
        }
        Err(_) => is_within(&uri.host, domain) || is_next_hop(&uri.host, domain, settings),
    }
}

fn is_next_hop(name: &str, domain: &str, settings: &Settings) -> bool {
    let domain = settings.sip_domain(domain);
    let hop = domain.and_then(|domain| host(domain.next_hop.as_deref()?));
    hop.is_some_and(|hop| same_host(&hop, name))
}

/// Whether MSRP may be dialled to a URI that a peer of that domain names: as for a `Contact`, or in a network that the
/// settings allow. Nobody makes us connect to a third party, nor to other services of our own host: behind a proxy on the
/// same machine everybody's requests come from there, so that only the settings open it.
pub(super) fn may_dial(
    target: &MsrpUri,
    domain: &str,
    source: Option<&Source>,
    settings: &Settings,
) -> bool {
    let open = target.port.is_none_or(is_open_to_peers);
    match target.bare_host().parse::<IpAddr>() {
        Ok(address) => {
            let networks = settings.msrp.iter().flat_map(|msrp| &msrp.networks);
            let listed = networks.into_iter().any(|block| block.contains(address));
            let known = settings.sip_domain(domain);
            let trusted = known.is_some_and(|domain| domain.trusts_address(address));
            let came_from = source.map(|source| source.remote.ip().to_canonical());
            let near = trusted || came_from == Some(address.to_canonical());
            listed || open && near && !is_our_host(address, settings)
        }
        Err(_) => open && is_within(&target.host, domain),
    }
}

/// Whether a port may be one of a user's program: those below are for the services of a system (RFC 6335 §6), and none of
/// ours is among them.
const fn is_open_to_peers(port: u16) -> bool {
    port >= 1024
}

/// A port of SIP itself.
fn is_default(port: u16) -> bool {
    TRANSPORTS.iter().any(|row| row.default_port == port)
}

/// Whether other services of the machine that we run on may be at the address, too.
fn is_our_host(address: IpAddr, settings: &Settings) -> bool {
    let address = address.to_canonical();
    address.is_loopback() || address.is_unspecified() || settings.local.is_us(&address.to_string())
}

/// Whether a Request-URI is us, or a user or the whole of a domain that we speak for.
pub(super) fn is_for_us(uri: &str, settings: &Settings) -> bool {
    Uri::parse(uri).is_ok_and(|uri| settings.local.is_us(&uri.host) || settings.serves(&uri.host))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Request;
    use crate::method::Method;
    use crate::transport::{FlowId, Transport};
    use crate::ua::settings::Msrp;
    use crate::ua::trust::{AddressBlock, SipDomain};

    fn settings(networks: &[&str]) -> Settings {
        let block = |text: &&str| AddressBlock::single(text.parse().unwrap());
        let mut settings = Settings::new("gw.jabber.example");
        settings.local.aliases = vec!["192.0.2.7".to_owned()];
        settings.sip_domains = vec![SipDomain {
            trusted_addresses: ["127.0.0.1", "192.0.2.7", "192.0.2.10"]
                .iter()
                .map(block)
                .collect(),
            ..SipDomain::new("ocs.example")
        }];
        settings.msrp = Some(Msrp {
            host: "gw.jabber.example".to_owned(),
            tcp_port: Some(2855),
            tls_port: None,
            fingerprint: None,
            networks: networks.iter().map(block).collect(),
            relay: None,
            endpoint: Default::default(),
        });
        settings
    }

    fn asked(remote: &str, via: &str) -> Asked {
        let mut request = Request::new(Method::SUBSCRIBE, "sip:alma@jabber.example");
        request
            .headers
            .push("Via", format!("SIP/2.0/TCP {via};branch=z9hG4bK1"));
        Asked {
            request,
            server: None,
            source: Source {
                flow: FlowId(1),
                transport: Transport::Tcp,
                remote: remote.parse().unwrap(),
                certificate_names: Vec::new(),
            },
        }
    }

    /// Behind a proxy on our own machine everybody's requests come from loopback: only what is SIP's may be named there.
    #[test]
    fn a_contact_is_near_at_its_own_place_and_at_ports_of_sip() {
        let local = ("127.0.0.1:40001", "127.0.0.1:5070");
        let far = ("198.51.100.9:40001", "198.51.100.9:5070");
        let rows = [
            (far, "sip:b@198.51.100.9:6379", true),
            (far, "sip:b@198.51.100.9", true),
            (far, "sip:b@198.51.100.9:25", false),
            (far, "sip:b@198.51.100.8:5060", false),
            (far, "sip:b@192.0.2.10:5080", true),
            (far, "sip:b@192.0.2.10:22", false),
            (far, "sip:b@127.0.0.1:5060", false),
            (far, "sip:b@192.0.2.7:6379", false),
            (far, "sip:b@pc.ocs.example:5080", true),
            (far, "sip:b@pc.ocs.example:80", false),
            (far, "sip:b@pc.other.example:5080", false),
            (local, "sip:b@127.0.0.1:40001", true),
            (local, "sip:b@127.0.0.1:5070", true),
            (local, "sip:b@127.0.0.1:5061;transport=tls", true),
            (local, "sip:b@127.0.0.1", true),
            (local, "sip:b@127.0.0.1:6379", false),
            (local, "sip:b@[::1]:5060", false),
            (local, "sip:b@192.0.2.7:5070", false),
        ];
        for ((remote, via), contact, near) in rows {
            let asked = asked(remote, via);
            let found = is_near(contact, "ocs.example", &asked, &settings(&[]));
            assert_eq!(found, near, "{remote} {contact}");
        }
    }

    #[test]
    fn msrp_is_dialled_to_nobody_elses_services() {
        let far = "198.51.100.9:40001";
        let local = "127.0.0.1:40001";
        let rows = [
            (far, "msrp://198.51.100.9:7394/s;tcp", &[][..], true),
            (far, "msrp://198.51.100.9:25/s;tcp", &[], false),
            (far, "msrp://198.51.100.8:7394/s;tcp", &[], false),
            (far, "msrp://192.0.2.10:7394/s;tcp", &[], true),
            (far, "msrp://192.0.2.10:443/s;tcp", &[], false),
            (far, "msrp://pc.ocs.example:7394/s;tcp", &[], true),
            (far, "msrp://pc.ocs.example:25/s;tcp", &[], false),
            (far, "msrp://pc.other.example:7394/s;tcp", &[], false),
            // Our own machine, whatever the domain lists: only as the administrator says.
            (local, "msrp://127.0.0.1:6379/s;tcp", &[], false),
            (local, "msrp://[::ffff:127.0.0.1]:6379/s;tcp", &[], false),
            (local, "msrp://127.0.0.1:40001/s;tcp", &[], false),
            (far, "msrp://127.0.0.1:6379/s;tcp", &[], false),
            (far, "msrp://192.0.2.7:6379/s;tcp", &[], false),
            (far, "msrp://0.0.0.0:6379/s;tcp", &[], false),
            (local, "msrp://127.0.0.1:7394/s;tcp", &["127.0.0.1"], true),
        ];
        for (remote, uri, networks, may) in rows {
            let source = asked(remote, remote).source;
            let uri = MsrpUri::parse(uri).unwrap();
            let found = may_dial(&uri, "ocs.example", Some(&source), &settings(networks));
            assert_eq!(found, may, "{remote} {uri}");
        }
    }
}
