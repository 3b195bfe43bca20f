//! Connections that peers opened, for requests of ours to the same peer (RFC 5923).
//!
//! Over TLS the certificate that the peer showed must prove the domain that a request is for, and its `Via` must offer the
//! connection (`alias`). On plain TCP the peer must be trusted by its address, and its `Via` must say that it is the server
//! that we would dial.

use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;

use super::routing;
use super::settings::Settings;
use super::trust::{SipDomain, names_host, same_host};
use crate::header::Via;
use crate::message::Request;
use crate::transaction::Route;
use crate::transport::{Destination, FlowId, Source, Target, Transport};
use crate::uri::bare_host;

/// A connection that a peer has sent a request on.
#[derive(Debug)]
struct Known {
    source: Source,
    /// Host and port of the top `Via` of its first request.
    sent_by: Option<(String, u16)>,
    /// The peer has offered it for our requests.
    offered: bool,
}

/// What is known of open connections.
#[derive(Debug, Default)]
pub(super) struct Connections {
    by_flow: BTreeMap<FlowId, Known>,
    /// Targets that the shell has a connection of ours to.
    dialled: HashSet<Target>,
}

impl Connections {
    /// A request came in.
    pub(super) fn heard(&mut self, source: &Source, request: &Request, settings: &Settings) {
        if !source.transport.row().reliable {
            return;
        }
        let via = request.headers.top_via().ok();
        let offered = via.as_ref().is_some_and(|via| via.params.contains("alias"));
        if let Some(known) = self.by_flow.get_mut(&source.flow) {
            known.offered |= offered;
            return;
        }
        let address = source.remote.ip();
        let mut domains = settings.sip_domains.iter();
        let usable = match source.transport {
            Transport::Tls => !source.certificate_names.is_empty(),
            _ => domains.any(|domain| domain.trusts_address(address)),
        };
        if usable {
            let known = Known {
                source: source.clone(),
                sent_by: via.map(|via| sent_by(source, via)),
                offered,
            };
            self.by_flow.insert(source.flow, known);
        }
    }

    /// A connection is gone.
    pub(super) fn closed(&mut self, flow: FlowId) {
        self.by_flow.remove(&flow);
    }

    /// Octets go there.
    pub(super) fn sent_to(&mut self, destination: &Destination) {
        if let Destination::Dial(target) = destination
            && !self.dialled.contains(target)
        {
            self.dialled.insert(target.clone());
        }
    }

    /// The way there is gone.
    pub(super) fn lost(&mut self, destination: &Destination) {
        match destination {
            Destination::Connection(flow) => self.closed(*flow),
            Destination::Dial(target) => _ = self.dialled.remove(target),
            Destination::Datagram { .. } => {}
        }
    }

    /// The targets, with a connection of the peer's before them where none of ours leads to the best of them yet.
    pub(super) fn route(&self, targets: Vec<Target>, domain: &str, settings: &Settings) -> Route {
        let best = targets.first();
        let reused = best
            .filter(|target| !self.dialled.contains(*target))
            .and_then(|target| self.find(target, domain, settings));
        match reused {
            Some(source) => Route::from(source).or(targets),
            None => Route::from(targets),
        }
    }

    /// The latest connection that leads to a target.
    fn find(&self, target: &Target, domain: &str, settings: &Settings) -> Option<&Source> {
        let domain = settings.sip_domain(domain)?;
        let trusted = !domain.needs_certificate && domain.trusts_address(target.address.ip());
        let leads_there = |known: &&Known| {
            known.source.transport == target.transport
                && match target.transport {
                    Transport::Tls => known.offered && known.proves(domain, target),
                    _ => trusted && known.is_server(target),
                }
        };
        let known = self.by_flow.values().rev().find(leads_there)?;
        Some(&known.source)
    }
}

impl Known {
    /// The peer's certificate proves the domain, and is that of the target or of the domain's one and only server.
    fn proves(&self, domain: &SipDomain, target: &Target) -> bool {
        let hop = domain.next_hop.as_deref().and_then(routing::host);
        let of_domain = same_host(&domain.name, &target.name)
            || hop.is_some_and(|hop| same_host(&hop, &target.name));
        domain.trusts_certificate(&self.source)
            && (of_domain || names_host(&self.source.certificate_names, &target.name))
    }

    /// The peer is at the target's address and says that it listens on its port.
    fn is_server(&self, target: &Target) -> bool {
        let ip = |ip: IpAddr| ip.to_canonical();
        let at_home = ip(self.source.remote.ip()) == ip(target.address.ip());
        let says_so = |(host, port): &(String, u16)| {
            let literal = bare_host(host).parse().ok().map(ip);
            *port == target.address.port()
                && (literal == Some(ip(target.address.ip())) || same_host(host, &target.name))
        };
        at_home && self.sent_by.as_ref().is_some_and(says_so)
    }
}

fn sent_by(source: &Source, via: Via) -> (String, u16) {
    let port = via.port.unwrap_or(source.transport.row().default_port);
    (via.host, port)
}
