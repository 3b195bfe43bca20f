//! Hostile peers, careless users and failing networks in any order: promises hold and nothing is left behind.

use std::collections::{HashMap, HashSet};

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Act {
    /// A peer's request: source, method, branch, sequence number, `To` tag.
    Request(u8, u8, u8, u8, bool),
    /// A response to something that we sent: which, status, and whether from the right peer.
    Response(u8, u16, bool),
    Respond(u8, u16),
    Send(u8, u8),
    Cancel(u8),
    Fail(u8),
    Close(u8),
    Pass(u16),
}

fn act() -> impl Strategy<Value = Act> {
    let status = prop_oneof![
        Just(100u16),
        Just(180),
        Just(200),
        Just(404),
        Just(486),
        Just(503)
    ];
    prop_oneof![
        4 => (0u8..4, 0u8..5, 0u8..3, 0u8..2, any::<bool>())
            .prop_map(|(s, m, b, n, t)| Act::Request(s, m, b, n, t)),
        4 => (any::<u8>(), status.clone(), prop::bool::weighted(0.9))
            .prop_map(|(w, s, r)| Act::Response(w, s, r)),
        3 => (any::<u8>(), status).prop_map(|(w, s)| Act::Respond(w, s)),
        3 => (0u8..3, 0u8..4).prop_map(|(m, t)| Act::Send(m, t)),
        1 => any::<u8>().prop_map(Act::Cancel),
        1 => (0u8..4).prop_map(Act::Fail),
        1 => (0u8..4).prop_map(Act::Close),
        3 => (0u16..20_000).prop_map(Act::Pass),
    ]
}

const METHODS: [Method; 5] = [
    Method::MESSAGE,
    Method::INVITE,
    Method::ACK,
    Method::CANCEL,
    Method::BENOTIFY,
];
const BRANCHES: [&str; 3] = [";branch=z9hG4bKx", ";branch=z9hG4bKy;rport", ";branch=old"];

struct Chaos {
    layer: TransactionLayer,
    now: u64,
    sent: Vec<Request>,
    clients: Vec<ClientId>,
    servers: Vec<(ServerId, Request)>,
    finals: HashMap<ClientId, Vec<String>>,
    gone: HashSet<ServerId>,
}

impl Chaos {
    fn peer(number: u8) -> Source {
        let transport = if number < 2 {
            Transport::Udp
        } else {
            Transport::Tcp
        };
        Source {
            flow: FlowId(u64::from(number)),
            ..source(transport, &format!("192.0.2.{number}:5060"))
        }
    }

    fn act(&mut self, act: &Act) {
        let now = at(self.now);
        match *act {
            Act::Request(peer, method, branch, number, tagged) => {
                let from = Self::peer(peer);
                let method = METHODS[usize::from(method)].clone();
                let via = format!(
                    "SIP/2.0/{} {}{}",
                    from.transport.row().via,
                    from.remote.ip(),
                    BRANCHES[usize::from(branch)]
                );
                let mut request = incoming(method.clone(), &via);
                request.headers.set("CSeq", format!("{number} {method}"));
                if tagged {
                    request.headers.set("To", "<sip:romeo@peer.test>;tag=t1");
                }
                self.layer.receive(&from, request, now);
            }
            Act::Response(which, status, right) => {
                let Some(request) = pick(&self.sent, which) else {
                    return;
                };
                let mut response = Response::for_request(request, status, "X");
                response.headers.ensure_to_tag("t1");
                for peer in 0..4 {
                    let mut from = Self::peer(peer);
                    if !right {
                        from.remote = socket("198.51.100.1:5060");
                    }
                    self.layer.receive(&from, response.clone(), now);
                }
            }
            Act::Respond(which, status) => {
                if let Some((id, request)) = pick(&self.servers, which) {
                    let mut response = Response::for_request(request, status, "X");
                    response.headers.ensure_to_tag("t1");
                    self.layer.respond(*id, &response, now);
                }
            }
            Act::Send(method, hops) => {
                let route: Route = Route(
                    (0..hops)
                        .flat_map(|peer| Route::from(&Self::peer(peer)).0)
                        .collect(),
                );
                let method = METHODS[usize::from(method % 2)].clone();
                let id = self.layer.send_request(plain(method), route, None, now);
                self.clients.push(id);
                self.finals.insert(id, Vec::new());
            }
            Act::Cancel(which) => {
                if let Some(id) = pick(&self.clients, which) {
                    self.layer.cancel(*id, now);
                }
            }
            Act::Fail(peer) => {
                let destination = Destination::to_target(&target(
                    Self::peer(peer).transport,
                    &format!("192.0.2.{peer}:5060"),
                ));
                self.layer.transport_failed(&destination, now);
            }
            Act::Close(peer) => self.layer.connection_closed(FlowId(u64::from(peer)), now),
            Act::Pass(ms) => self.pass(self.now + u64::from(ms)),
        }
        self.drain();
    }

    /// Time goes on, timer by timer.
    fn pass(&mut self, end: u64) {
        while let Some(due) = self.layer.poll_timeout() {
            let due = u64::try_from(due.as_millis()).unwrap();
            if due > end {
                break;
            }
            self.now = self.now.max(due);
            self.layer.handle_timeout(at(self.now));
            self.drain();
        }
        self.now = end;
    }

    fn drain(&mut self) {
        while let Some(transmit) = self.layer.poll_transmit() {
            let reached = transmit.destination.ip().map(|ip| ip.to_string());
            assert!(
                reached.is_none_or(|ip| ip.starts_with("192.0.2.") || ip == "198.51.100.1"),
                "only to where something came from, or where we were told to send"
            );
            if let Message::Request(request) = parse(&transmit.bytes) {
                self.sent.push(request);
            }
        }
        while let Some(event) = self.layer.poll_event() {
            self.note(event);
        }
    }

    fn note(&mut self, event: TransactionEvent) {
        match event {
            TransactionEvent::Request { id, request, .. } => self.servers.push((id, request)),
            TransactionEvent::Response { id, response, .. } => {
                let finals = self.finals.get_mut(&id).expect("a request of ours");
                if response.status >= 200 {
                    finals.push(response.status.to_string());
                } else {
                    assert!(finals.is_empty(), "a provisional response after the end");
                }
            }
            TransactionEvent::Failed { id, cause } => {
                self.finals
                    .get_mut(&id)
                    .expect("a request of ours")
                    .push(format!("{cause:?}"));
            }
            TransactionEvent::ServerGone { id, .. } => {
                assert!(self.gone.insert(id), "gone twice");
            }
            TransactionEvent::Ack { .. } | TransactionEvent::Cancelled { .. } => {}
        }
    }

    fn assert_promises(&mut self) {
        self.pass(self.now + 1_000_000);
        for (id, finals) in &self.finals {
            let repeated = finals.iter().all(|f| f == "200");
            assert!(
                finals.len() == 1 || (!finals.is_empty() && repeated),
                "{id:?}: {finals:?}"
            );
        }
        assert_eq!(self.layer.live(), (0, 0));
        assert_eq!(self.layer.poll_timeout(), None);
        assert!(self.layer.clients.is_clean() && self.layer.servers.is_clean());
    }
}

fn pick<T>(list: &[T], which: u8) -> Option<&T> {
    // The latest are the likeliest to be alive.
    list.iter()
        .rev()
        .nth(usize::from(which) % list.len().clamp(1, 6))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    #[test]
    fn nothing_breaks_the_promises(acts in prop::collection::vec(act(), 1..60)) {
        let mut chaos = Chaos {
            layer: layer(),
            now: 0,
            sent: Vec::new(),
            clients: Vec::new(),
            servers: Vec::new(),
            finals: HashMap::new(),
            gone: HashSet::new(),
        };
        for act in &acts {
            chaos.act(act);
        }
        chaos.assert_promises();
    }
}

/// Every request of the corpus, from one address: at most one answer each, to that address and nowhere else.
#[test]
fn the_corpus_is_answered_to_its_source_only() {
    let corpus = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/corpus/sip");
    let mut received = 0;
    let mut layer = layer();
    for folder in ["valid", "invalid"] {
        for entry in std::fs::read_dir(corpus.join(folder)).unwrap() {
            let octets = std::fs::read(entry.unwrap().path()).unwrap();
            let Ok(message) = Message::parse_datagram(&octets) else {
                continue;
            };
            let from = source(Transport::Udp, "203.0.113.77:40077");
            layer.receive(&from, message, at(received));
            received += 1;
            while let Some(event) = layer.poll_event() {
                let TransactionEvent::Request { id, request, .. } = event else {
                    panic!("{event:?}");
                };
                respond_to(&mut layer, id, &request, received);
            }
            let destinations: Vec<_> = std::iter::from_fn(|| layer.poll_transmit())
                .map(|t| t.destination)
                .collect();
            assert!(destinations.len() <= 1, "{octets:?}");
            assert!(
                destinations
                    .iter()
                    .all(|d| d.ip() == Some(from.remote.ip()))
            );
        }
    }
    assert!(
        received > 100,
        "{received} messages of the corpus can be read"
    );
}

fn respond_to(layer: &mut TransactionLayer, id: ServerId, request: &Request, ms: u64) {
    let mut response = Response::for_request(request, 404, "Not Found");
    response.headers.ensure_to_tag("t1");
    layer.respond(id, &response, at(ms));
}
