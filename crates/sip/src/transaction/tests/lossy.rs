//! Two layers joined by a link that drops, delays, swaps and doubles datagrams.

use std::collections::{BTreeMap, HashMap};

use proptest::prelude::*;
use stox_core::time::Entropy;

use super::*;

const CLIENT: &str = "192.0.2.1:5060";
const SERVER: &str = "192.0.2.2:5060";

/// How the link treats datagrams, in percent and milliseconds.
#[derive(Debug, Clone, Copy)]
struct Weather {
    loss: u64,
    doubling: u64,
    delay: u64,
}

/// One side: its layer, and what it saw.
struct Side {
    layer: TransactionLayer,
    address: SocketAddr,
}

struct World {
    sides: [Side; 2],
    weather: Weather,
    chance: SeededEntropy,
    /// Datagrams under way: arrival, a number that keeps them apart → side that gets it, octets.
    link: BTreeMap<(u64, u64), (usize, bytes::Bytes)>,
    numbered: u64,
    now: u64,
    requests: HashMap<String, u32>,
    acks: u32,
    outcomes: HashMap<ClientId, Vec<String>>,
    /// Answers that the server's user will give: time → transaction and request.
    answers: BTreeMap<(u64, u64), (ServerId, Request)>,
}

impl World {
    fn new(seed: u64, weather: Weather) -> Self {
        let side = |host: &str, address: &str, seed| Side {
            layer: TransactionLayer::new(settings(host), &mut SeededEntropy(seed)),
            address: socket(address),
        };
        Self {
            sides: [
                side("a.test", CLIENT, seed),
                side("b.test", SERVER, seed ^ 1),
            ],
            weather,
            chance: SeededEntropy(seed ^ 2),
            link: BTreeMap::new(),
            numbered: 0,
            now: 0,
            requests: HashMap::new(),
            acks: 0,
            outcomes: HashMap::new(),
            answers: BTreeMap::new(),
        }
    }

    fn percent(&mut self, of: u64) -> bool {
        self.chance.next_u64() % 100 < of
    }

    fn send(&mut self, method: &Method, call_id: &str) {
        let mut request = plain(method.clone());
        request.headers.set("Call-ID", call_id);
        let route = vec![target(Transport::Udp, SERVER)];
        let layer = &mut self.sides[0].layer;
        let id = layer.send_request(request, route, None, at(self.now));
        self.outcomes.insert(id, Vec::new());
    }

    /// Moves datagrams onto the link and events to the users.
    fn drain(&mut self) {
        for side in 0..2 {
            while let Some(transmit) = self.sides[side].layer.poll_transmit() {
                self.launch(1 - side, &transmit.bytes);
            }
            while let Some(event) = self.sides[side].layer.poll_event() {
                self.note(event);
            }
        }
    }

    fn launch(&mut self, to: usize, bytes: &bytes::Bytes) {
        let copies = if self.percent(self.weather.doubling) {
            2
        } else {
            1
        };
        for _ in 0..copies {
            if self.percent(self.weather.loss) {
                continue;
            }
            self.numbered += 1;
            let delay = self.chance.next_u64() % (self.weather.delay + 1);
            let key = (self.now + 1 + delay, self.numbered);
            self.link.insert(key, (to, bytes.clone()));
        }
    }

    fn note(&mut self, event: TransactionEvent) {
        match event {
            TransactionEvent::Request { id, request, .. } => {
                let call_id = request.headers.get("Call-ID").unwrap().to_owned();
                *self.requests.entry(call_id).or_default() += 1;
                let wait = self.chance.next_u64() % 2000;
                self.answers.insert((self.now + wait, id.0), (id, request));
            }
            TransactionEvent::Response { id, response, .. } if response.status >= 200 => {
                let outcome = response.status.to_string();
                self.outcomes.get_mut(&id).unwrap().push(outcome);
            }
            TransactionEvent::Failed { id, cause } => {
                let outcome = format!("{cause:?}");
                self.outcomes.get_mut(&id).unwrap().push(outcome);
            }
            TransactionEvent::Ack { .. } => self.acks += 1,
            _ => {}
        }
    }

    /// Runs to the end of all timers.
    fn run(&mut self) {
        for _ in 0..100_000 {
            self.drain();
            let timers = self.sides.iter().filter_map(|s| s.layer.poll_timeout());
            let timer = timers.min().map(|d| u64::try_from(d.as_millis()).unwrap());
            let link = self.link.first_key_value().map(|(k, _)| k.0);
            let answer = self.answers.first_key_value().map(|(k, _)| k.0);
            let Some(next) = [timer, link, answer].into_iter().flatten().min() else {
                return;
            };
            self.now = self.now.max(next);
            self.advance();
        }
        panic!("the world does not come to rest");
    }

    fn advance(&mut self) {
        let now = at(self.now);
        while let Some(entry) = self.link.first_entry().filter(|e| e.key().0 <= self.now) {
            let (to, bytes) = entry.remove();
            let remote = self.sides[1 - to].address.to_string();
            let from = source(Transport::Udp, &remote);
            self.sides[to].layer.receive(&from, parse(&bytes), now);
        }
        while let Some(entry) = self.answers.first_entry().filter(|e| e.key().0 <= self.now) {
            let (id, request) = entry.remove();
            let status = if request.headers.get("Call-ID").unwrap().starts_with('n') {
                486
            } else {
                200
            };
            let mut response = Response::for_request(&request, status, "X");
            response.headers.ensure_to_tag("t1");
            self.sides[1].layer.respond(id, &response, now);
        }
        for side in &mut self.sides {
            side.layer.handle_timeout(now);
        }
    }

    fn assert_at_rest(&self) {
        for side in &self.sides {
            assert_eq!(side.layer.live(), (0, 0));
            assert_eq!(side.layer.poll_timeout(), None);
            assert!(side.layer.clients.is_clean() && side.layer.servers.is_clean());
        }
    }
}

/// Sends `count` requests of a method and checks the promises.
fn play(seed: u64, weather: Weather, method: &Method, count: u32) -> World {
    let mut world = World::new(seed, weather);
    for n in 0..count {
        let prefix = if n % 3 == 0 { 'n' } else { 'y' };
        world.send(method, &format!("{prefix}{n}"));
    }
    world.run();
    assert!(
        world.requests.values().all(|seen| *seen == 1),
        "seen twice: {:?}",
        world.requests
    );
    for (id, outcomes) in &world.outcomes {
        let distinct: std::collections::HashSet<_> = outcomes.iter().collect();
        assert_eq!(distinct.len(), 1, "{id:?} has {outcomes:?}");
        // Only the 2xx of an INVITE is told again.
        assert!(outcomes.len() == 1 || (*method == Method::INVITE && outcomes[0] == "200"));
    }
    world.assert_at_rest();
    world
}

#[test]
fn messages_cross_a_bad_link_once() {
    let weather = Weather {
        loss: 40,
        doubling: 30,
        delay: 800,
    };
    let world = play(1, weather, &Method::MESSAGE, 300);
    let answered = world
        .outcomes
        .values()
        .filter(|o| o[0] == "200" || o[0] == "486")
        .count();
    assert!(answered > 290, "{answered} of 300 got through");
    assert_eq!(world.requests.len(), 300);
}

#[test]
fn invites_cross_a_bad_link_once() {
    let weather = Weather {
        loss: 30,
        doubling: 30,
        delay: 800,
    };
    let world = play(2, weather, &Method::INVITE, 100);
    assert!(world.requests.len() > 95);
}

#[test]
fn a_dead_link_fails_everything_once() {
    let weather = Weather {
        loss: 100,
        doubling: 0,
        delay: 0,
    };
    let world = play(3, weather, &Method::MESSAGE, 50);
    assert!(world.outcomes.values().all(|o| *o == ["Timeout"]));
    assert!(world.requests.is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn any_weather_keeps_the_promises(
        seed in any::<u64>(),
        loss in 0u64..=100,
        doubling in 0u64..=100,
        // T4: the longest that a message stays in the network.
        delay in 0u64..=4990,
        invite in any::<bool>(),
    ) {
        let method = if invite { Method::INVITE } else { Method::MESSAGE };
        play(seed, Weather { loss, doubling, delay }, &method, 12);
    }
}
