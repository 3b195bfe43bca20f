//! The top `Via`: written for what we send, stamped with the truth on what we receive.

use std::net::SocketAddr;

use super::{Hop, Shared};
use crate::header::{CSeq, HeaderValue, Headers, Via};
use crate::message::{Request, Response};
use crate::method::Method;
use crate::transport::{Destination, Source, Target, Transport};

/// A received request whose top `Via` tells where it came from.
#[derive(Debug)]
pub(super) struct Stamped {
    pub(super) request: Request,
    /// The top `Via` as its sender wrote it.
    pub(super) via: Via,
    pub(super) cseq: CSeq,
}

/// Writes `received` and `rport` into the top `Via` (RFC 3261 §18.2.1, RFC 3581 §4). `None` when `Via` or `CSeq` cannot
/// be read.
pub(super) fn stamp(mut request: Request, source: &Source) -> Option<Stamped> {
    let via = top(&request.headers)?;
    let cseq = cseq(&request.headers)?;
    let mut true_via = via.clone();
    true_via.set_source(canonical(source.remote));
    if true_via != via {
        request.headers.set_first("Via", true_via.to_string());
    }
    Some(Stamped { request, via, cseq })
}

/// An IPv4 peer of an IPv6 socket is named by its IPv4 address.
fn canonical(remote: SocketAddr) -> SocketAddr {
    SocketAddr::new(remote.ip().to_canonical(), remote.port())
}

fn top(headers: &Headers) -> Option<Via> {
    Via::parse(headers.values("Via").next()?).ok()
}

/// The value of `CSeq`.
pub(super) fn cseq(headers: &Headers) -> Option<CSeq> {
    CSeq::parse(headers.get("CSeq")?).ok()
}

/// The request has been through us before.
pub(super) fn is_loop(request: &Request, shared: &Shared) -> bool {
    request
        .headers
        .values("Via")
        .filter_map(|value| Via::parse(value).ok())
        .any(|via| is_ours(&via, shared))
}

fn is_ours(via: &Via, shared: &Shared) -> bool {
    let Some(transport) = Transport::from_via(&via.transport) else {
        return false;
    };
    let host = via.host.trim_start_matches('[').trim_end_matches(']');
    shared.is_ours(host, via.port, transport)
}

/// Our own `Via` for a hop, with the branch. `None` where we have no name for its transport. Over TLS that we open it
/// offers the connection for requests in the other direction, too (RFC 5923 §6).
pub(super) fn ours(shared: &Shared, hop: &Hop, branch: &str) -> Option<String> {
    let transport = hop.transport;
    let name = shared
        .settings
        .sent_by
        .iter()
        .find(|name| name.transport == transport)?;
    let row = transport.row();
    let opened = matches!(hop.destination, Destination::Dial(_));
    let offer = match (row.reliable, row.secure && opened) {
        (false, _) => ";rport",
        (true, true) => ";alias",
        (true, false) => "",
    };
    let (open, close) = if name.host.contains(':') {
        ("[", "]")
    } else {
        ("", "")
    };
    Some(format!(
        "SIP/2.0/{} {open}{}{close}:{};branch={branch}{offer}",
        row.via, name.host, name.port
    ))
}

/// The branch and method by which a response names its request, if its only `Via` is ours (RFC 3261 §8.1.3.3, §18.1.2).
pub(super) fn response_key(response: &Response, shared: &Shared) -> Option<(String, Method)> {
    if response.headers.values("Via").nth(1).is_some() {
        return None;
    }
    let via = top(&response.headers)?;
    if !is_ours(&via, shared) {
        return None;
    }
    let method = cseq(&response.headers)?.method;
    Some((via.branch()?.to_owned(), method))
}

/// The way back of responses (RFC 3261 §18.2.2, RFC 3581 §4).
#[derive(Debug, Clone)]
pub(super) struct ReturnPath {
    pub(super) destination: Destination,
    /// Where to dial when the connection is gone: sent-by's port at the true address.
    redial: Option<Target>,
}

impl ReturnPath {
    /// `maddr` and `received` of the peer's are never followed: they would let it aim our responses at others.
    pub(super) fn new(via: &Via, source: &Source) -> Self {
        let row = source.transport.row();
        let port = via.port.unwrap_or(row.default_port);
        if row.reliable {
            return Self {
                destination: Destination::Connection(source.flow),
                redial: Some(Target {
                    transport: source.transport,
                    address: SocketAddr::new(source.remote.ip(), port),
                    name: via.host.clone(),
                    also: Vec::new(),
                }),
            };
        }
        let port = if via.params.contains("rport") {
            source.remote.port()
        } else {
            port
        };
        Self {
            destination: Destination::Datagram {
                socket: Some(source.flow),
                remote: SocketAddr::new(source.remote.ip(), port),
            },
            redial: None,
        }
    }

    /// The connection is gone.
    pub(super) fn connection_closed(&mut self) {
        if let Some(target) = self.redial.take() {
            self.destination = Destination::Dial(target);
        }
    }
}
