//! Connections that peers opened, for requests of ours to the same peer (RFC 5923).
//!
//! Mutual TLS names both ends, so that either side may use a connection, whoever opened it. On plain TCP the peer must be
//! trusted by its address, and its `Via` must say that it is the server that we would dial.

use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;

use super::settings::Settings;
use super::trust::{names_host, same_host};
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
        if !source.transport.row().reliable || self.by_flow.contains_key(&source.flow) {
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
                sent_by: sent_by(source, request),
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
        let trusted = settings
            .sip_domain(domain)
            .is_some_and(|domain| domain.trusts_address(target.address.ip()));
        let leads_there = |known: &&Known| {
            known.source.transport == target.transport
                && match target.transport {
                    Transport::Tls => names_host(&known.source.certificate_names, &target.name),
                    _ => trusted && known.is_server(target),
                }
        };
        let known = self.by_flow.values().rev().find(leads_there)?;
        Some(&known.source)
    }
}

impl Known {
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

fn sent_by(source: &Source, request: &Request) -> Option<(String, u16)> {
    let via = request.headers.top_via().ok()?;
    let port = via.port.unwrap_or(source.transport.row().default_port);
    Some((via.host, port))
}
