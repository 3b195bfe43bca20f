//! Tests on virtual time.

mod chaos;
mod clients;
mod lossy;
mod machines;
mod servers;

use std::net::SocketAddr;
use std::time::Duration;

use stox_core::time::{Now, SeededEntropy};

use super::*;
use crate::message::{Message, Request, Response};
use crate::method::Method;
use crate::transport::{Destination, FlowId, Source, Target, Transport};

pub(super) fn at(ms: u64) -> Now {
    Now::default().after(Duration::from_millis(ms))
}

pub(super) fn settings(host: &str) -> Settings {
    Settings {
        sent_by: [
            (Transport::Udp, 5060),
            (Transport::Tcp, 5060),
            (Transport::Tls, 5061),
        ]
        .into_iter()
        .map(|(transport, port)| SentBy {
            transport,
            host: host.to_owned(),
            port,
        })
        .collect(),
        ..Settings::default()
    }
}

pub(super) fn layer() -> TransactionLayer {
    TransactionLayer::new(settings("gw.test"), &mut SeededEntropy(1))
}

pub(super) fn source(transport: Transport, remote: &str) -> Source {
    Source {
        flow: FlowId(7),
        transport,
        remote: remote.parse().unwrap(),
        certificate_names: Vec::new(),
    }
}

pub(super) fn target(transport: Transport, address: &str) -> Target {
    Target {
        transport,
        address: address.parse().unwrap(),
        name: "peer.test".into(),
        also: Vec::new(),
    }
}

/// A request as our user would make it: without `Via`.
pub(super) fn plain(method: Method) -> Request {
    let mut request = Request::new(method.clone(), "sip:romeo@peer.test");
    let headers = &mut request.headers;
    headers.push("From", "<sip:juliet@gw.test>;tag=f1");
    headers.push("To", "<sip:romeo@peer.test>");
    headers.push("Call-ID", "c1@gw.test");
    headers.push("CSeq", format!("7 {method}"));
    headers.push("Max-Forwards", "70");
    request
}

/// A request as a peer would send it.
pub(super) fn incoming(method: Method, via: &str) -> Request {
    let mut request = plain(method);
    request.headers.push_front("Via", via);
    request
}

/// What the layer sends, as `<destination> <start line words>`.
pub(super) fn sent(layer: &mut TransactionLayer) -> Vec<String> {
    std::iter::from_fn(|| layer.poll_transmit())
        .map(|t| format!("{} {}", place(&t.destination), summary(&parse(&t.bytes))))
        .collect()
}

pub(super) fn parse(bytes: &[u8]) -> Message {
    Message::parse_datagram(bytes).expect("the layer sends legal messages")
}

pub(super) fn place(destination: &Destination) -> String {
    match destination {
        Destination::Connection(flow) => format!("flow{}", flow.0),
        Destination::Datagram { remote, .. } => format!("udp:{remote}"),
        Destination::Dial(t) => format!("{}:{}", t.transport.row().via.to_lowercase(), t.address),
    }
}

fn summary(message: &Message) -> String {
    match message {
        Message::Request(request) => request.method.to_string(),
        Message::Response(response) => response.status.to_string(),
    }
}

/// What the layer tells, in short words.
pub(super) fn told(layer: &mut TransactionLayer) -> Vec<String> {
    std::iter::from_fn(|| layer.poll_event())
        .map(|event| match event {
            TransactionEvent::Request { request, .. } => format!("request {}", request.method),
            TransactionEvent::Response { response, .. } => format!("response {}", response.status),
            TransactionEvent::Failed { cause, .. } => format!("failed {cause:?}"),
            TransactionEvent::Ack { .. } => "ack".into(),
            TransactionEvent::Cancelled { .. } => "cancelled".into(),
            TransactionEvent::ServerGone { cause, .. } => format!("gone {cause:?}"),
        })
        .collect()
}

/// Runs all timers until `end` and returns `<ms> <what was sent or told>`.
pub(super) fn run_until(layer: &mut TransactionLayer, end: u64) -> Vec<String> {
    let mut log = Vec::new();
    while let Some(due) = layer.poll_timeout() {
        let ms = u64::try_from(due.as_millis()).unwrap();
        if ms > end {
            break;
        }
        layer.handle_timeout(at(ms));
        let lines = sent(layer).into_iter().chain(told(layer));
        log.extend(lines.map(|line| format!("{ms} {line}")));
    }
    log
}

pub(super) fn strings(list: &[&str]) -> Vec<String> {
    list.iter().map(|&s| s.to_owned()).collect()
}

pub(super) fn socket(text: &str) -> SocketAddr {
    text.parse().unwrap()
}
