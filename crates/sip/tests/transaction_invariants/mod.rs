//! What holds for any sequence of what a user, peers, the network and time do to the transaction layer: each request that
//! was sent has one outcome, each that came is told once, strangers answer nothing, and in the end nothing is left.
//!
//! Each step is three octets: what happens, and two that choose among what there is.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use stox_core::time::{Now, SeededEntropy};
use stox_sip::message::{Message, Request, Response};
use stox_sip::method::Method;
use stox_sip::transaction::{
    ClientId, GoneCause, SentBy, ServerId, Settings, TransactionEvent, TransactionLayer,
};
use stox_sip::transport::{Destination, FlowId, Source, Target, Transport};

const MOST: usize = 120;
const METHODS: [Method; 5] = [
    Method::MESSAGE,
    Method::INVITE,
    Method::SUBSCRIBE,
    Method::BYE,
    Method::BENOTIFY,
];
const STATUSES: [u16; 10] = [100, 180, 200, 202, 302, 401, 486, 487, 503, 603];
const TRANSPORTS: [(Transport, &str); 3] = [
    (Transport::Udp, "192.0.2.1:5060"),
    (Transport::Tcp, "192.0.2.2:5060"),
    (Transport::Tls, "192.0.2.3:5061"),
];
const STRANGER: &str = "203.0.113.66:5060";
/// Transactions alive at most, on either side.
const ROOM: usize = 12;

pub(crate) fn check(octets: &[u8]) {
    let mut world = World::new();
    for step in octets.chunks_exact(3).take(MOST) {
        world.step(step[0], usize::from(step[1]), usize::from(step[2]));
        world.collect();
    }
    world.ends();
}

struct World {
    layer: TransactionLayer,
    now: Now,
    /// Requests that went out, and where to.
    out: Vec<(Destination, Request)>,
    /// Requests that came in, as they came.
    heard: Vec<(Source, Request)>,
    /// Responses of ours that went out.
    answered: Vec<Response>,
    clients: BTreeMap<ClientId, Sent>,
    servers: BTreeMap<ServerId, Heard>,
    last: Option<Destination>,
}

/// A request that the user has sent.
struct Sent {
    invite: bool,
    finals: usize,
    failed: usize,
    successes: usize,
}

/// A request that the user was told of.
#[derive(Default)]
struct Heard {
    request: Option<Request>,
    answered: bool,
    gone: bool,
}

impl World {
    fn new() -> Self {
        let sent_by = TRANSPORTS.map(|(transport, _)| SentBy {
            transport,
            host: "gw.test".to_owned(),
            port: transport.row().default_port,
        });
        let settings = Settings {
            sent_by: sent_by.to_vec(),
            max_servers: ROOM,
            max_clients: ROOM,
            ..Settings::default()
        };
        Self {
            layer: TransactionLayer::new(settings, &mut SeededEntropy(1)),
            now: Now::default(),
            out: Vec::new(),
            heard: Vec::new(),
            answered: Vec::new(),
            clients: BTreeMap::new(),
            servers: BTreeMap::new(),
            last: None,
        }
    }

    fn step(&mut self, what: u8, a: usize, b: usize) {
        match what % 12 {
            0 => self.sends(a, b),
            1 => self.answer_comes(a, STATUSES[b % STATUSES.len()], false),
            2 => self.answer_comes(a, STATUSES[b % STATUSES.len()], true),
            3 => self.request_comes(a, b),
            4 => self.comes_again(a, b),
            5 => self.responds(a, STATUSES[b % STATUSES.len()]),
            6 => {
                if let Some(id) = pick(self.clients.keys(), a) {
                    self.layer.cancel(*id, self.now);
                }
            }
            7 => {
                if let Some((destination, _)) = pick(self.out.iter(), a) {
                    self.layer.transport_failed(destination, self.now);
                }
            }
            8 => {
                let flow = FlowId(a as u64 % 4);
                self.layer.connection_closed(flow, self.now);
            }
            9 => {
                if let Some(last) = self.last.clone() {
                    self.layer.transport_failed(&last, self.now);
                }
            }
            _ => self.passes(Duration::from_millis(a as u64 * 100 + b as u64)),
        }
    }

    /// The user sends a request along one or two targets.
    fn sends(&mut self, a: usize, b: usize) {
        let method = METHODS[a % 4].clone();
        let targets = (0..=b % 2).map(|n| {
            let (transport, address) = TRANSPORTS[(b / 2 + n) % 3];
            Target {
                transport,
                address: address.parse().expect("an address"),
                name: "peer.test".to_owned(),
                also: Vec::new(),
            }
        });
        let targets: Vec<Target> = targets.collect();
        let request = plain(&method, self.clients.len());
        let id = self.layer.send_request(request, targets, None, self.now);
        let sent = Sent {
            invite: method == Method::INVITE,
            finals: 0,
            failed: 0,
            successes: 0,
        };
        assert!(self.clients.insert(id, sent).is_none(), "{id:?} was there");
    }

    /// A response to a request that went out, from where it went to or from a stranger.
    fn answer_comes(&mut self, a: usize, status: u16, stranger: bool) {
        let Some((destination, request)) = pick(self.out.iter(), a) else {
            return;
        };
        let mut source = source_of(destination);
        if stranger {
            source.remote = STRANGER.parse().expect("an address");
            source.flow = FlowId(99);
        }
        let response = response_to(request, status, "peer");
        let before = self.layer.counters().stray_responses;
        self.layer.receive(&source, response, self.now);
        if stranger {
            assert_eq!(self.layer.counters().stray_responses, before + 1);
        }
    }

    fn request_comes(&mut self, a: usize, b: usize) {
        let (transport, remote) = TRANSPORTS[a / 8 % 3];
        let method = &METHODS[a % METHODS.len()];
        let mut request = plain(method, b);
        let word = transport.row().via;
        let via = format!("SIP/2.0/{word} peer.test;branch=z9hG4bK-{};rport", b % 16);
        request.headers.push_front("Via", via);
        let source = source(transport, remote, b as u64 % 4);
        self.layer.receive(&source, request.clone(), self.now);
        self.heard.push((source, request));
    }

    /// A request comes again, or its ACK or CANCEL.
    fn comes_again(&mut self, a: usize, b: usize) {
        let Some((source, request)) = pick(self.heard.iter(), a).cloned() else {
            return;
        };
        let mut request = request;
        let method = [None, Some(Method::ACK), Some(Method::CANCEL)][b % 3].clone();
        if let Some(method) = method {
            let number = request.headers.cseq().expect("a number").number;
            request.headers.set("CSeq", format!("{number} {method}"));
            request.method = method;
            let tag = self
                .answered
                .iter()
                .rev()
                .find(|answer| answer.headers.call_id() == request.headers.call_id());
            if let Some(answer) = tag {
                let to = answer.headers.get("To").unwrap_or_default().to_owned();
                request.headers.set("To", to);
            }
        }
        self.layer.receive(&source, request, self.now);
    }

    fn responds(&mut self, a: usize, status: u16) {
        let Some((id, heard)) = pick_mut(self.servers.iter_mut(), a) else {
            return;
        };
        let request = heard.request.as_ref().expect("it was told");
        let response = response_to(request, status, "ours");
        heard.answered |= status >= 200;
        self.layer.respond(*id, &response, self.now);
    }

    fn passes(&mut self, time: Duration) {
        let end = self.now.after(time);
        let mut wakes = 0;
        while let Some(at) = self.layer.poll_timeout().filter(|at| *at <= end.mono) {
            self.now = self.now.after(at.saturating_sub(self.now.mono));
            self.layer.handle_timeout(self.now);
            self.collect();
            wakes += 1;
            assert!(wakes < 10_000, "it asks for time and does nothing");
        }
        self.now = end;
    }

    fn collect(&mut self) {
        while let Some(transmit) = self.layer.poll_transmit() {
            let message =
                Message::parse_datagram(&transmit.bytes).expect("we send what can be read");
            self.last = Some(transmit.destination.clone());
            match message {
                Message::Request(request) => self.out.push((transmit.destination, request)),
                Message::Response(response) => self.answered.push(response),
            }
        }
        while let Some(event) = self.layer.poll_event() {
            self.event(event);
        }
        let (clients, servers) = self.layer.live();
        assert!(
            clients <= 2 * ROOM && servers <= ROOM,
            "{clients} {servers}"
        );
    }

    fn event(&mut self, event: TransactionEvent) {
        match event {
            TransactionEvent::Request { id, request, .. } => {
                assert!(!matches!(request.method, Method::ACK | Method::CANCEL));
                let heard = Heard {
                    // Nobody answers it (RFC 3265 knows none; so do servers of OCS).
                    answered: request.method == Method::BENOTIFY,
                    request: Some(request),
                    gone: false,
                };
                assert!(
                    self.servers.insert(id, heard).is_none(),
                    "told twice: {id:?}"
                );
            }
            TransactionEvent::Response { id, response, .. } => {
                let sent = self.clients.get_mut(&id).expect("a request of ours");
                let success = (200..300).contains(&response.status);
                if sent.invite && success && sent.successes > 0 {
                    return;
                }
                assert_eq!((sent.finals, sent.failed), (0, 0), "after its end: {id:?}");
                sent.finals += usize::from(response.status >= 200);
                sent.successes += usize::from(success);
            }
            TransactionEvent::Failed { id, .. } => {
                let sent = self.clients.get_mut(&id).expect("a request of ours");
                assert_eq!((sent.finals, sent.failed), (0, 0), "after its end: {id:?}");
                sent.failed += 1;
            }
            TransactionEvent::Ack { id, .. } => assert!(self.servers[&id].answered),
            TransactionEvent::Cancelled { id } => assert!(!self.servers[&id].answered),
            TransactionEvent::ServerGone { id, cause } => {
                let heard = self.servers.get_mut(&id).expect("it was told");
                assert!(!std::mem::replace(&mut heard.gone, true), "gone twice");
                match cause {
                    GoneCause::Unanswered => assert!(!heard.answered),
                    GoneCause::Unacknowledged => assert!(heard.answered),
                    GoneCause::Transport => {}
                }
            }
        }
    }

    /// When long enough nothing happens, everything has come to its end.
    fn ends(mut self) {
        self.passes(Duration::from_secs(2000));
        for (id, sent) in &self.clients {
            assert_eq!(sent.finals + sent.failed, 1, "{id:?} has no outcome");
        }
        for (id, heard) in &self.servers {
            assert!(heard.answered || heard.gone, "{id:?} is forgotten");
        }
        assert_eq!(self.layer.live(), (0, 0));
        assert_eq!(self.layer.poll_timeout(), None);
        let branches: BTreeSet<&str> = self
            .out
            .iter()
            .filter_map(|(_, request)| request.headers.get("Via"))
            .collect();
        assert!(branches.len() >= self.clients.len().min(self.out.len().min(1)));
    }
}

fn pick<T>(mut items: impl ExactSizeIterator<Item = T>, which: usize) -> Option<T> {
    let length = items.len();
    (length > 0).then(|| items.nth(which % length)).flatten()
}

fn pick_mut<T>(items: impl ExactSizeIterator<Item = T>, which: usize) -> Option<T> {
    pick(items, which)
}

fn plain(method: &Method, number: usize) -> Request {
    let mut request = Request::new(method.clone(), "sip:romeo@peer.test");
    let headers = &mut request.headers;
    headers.push("From", "<sip:juliet@gw.test>;tag=f1");
    headers.push("To", "<sip:romeo@peer.test>");
    headers.push("Call-ID", format!("c{number}@gw.test"));
    headers.push("CSeq", format!("7 {method}"));
    headers.push("Max-Forwards", "70");
    request
}

fn response_to(request: &Request, status: u16, tag: &str) -> Response {
    let mut response = Response::for_request(request, status, "Words");
    response.headers.ensure_to_tag(tag);
    response
}

fn source(transport: Transport, remote: &str, flow: u64) -> Source {
    Source {
        flow: FlowId(flow),
        transport,
        remote: remote.parse::<SocketAddr>().expect("an address"),
        certificate_names: Vec::new(),
    }
}

/// Where the answer to what went there comes from.
fn source_of(destination: &Destination) -> Source {
    match destination {
        Destination::Connection(flow) => source(Transport::Tcp, TRANSPORTS[1].1, flow.0),
        Destination::Datagram { remote, .. } => source(Transport::Udp, &remote.to_string(), 0),
        Destination::Dial(target) => source(target.transport, &target.address.to_string(), 3),
    }
}
