//! What one message costs: the bridge alone, and the whole way through the engine, octets in, octets out.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a bench may fail loudly"
)]

use std::hint::black_box;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use minidom::Element;
use stox_core::bridge::{self, Bridge};
use stox_core::policy::{DomainPattern, Policy, SipDomain};
use stox_core::time::{Now, SeededEntropy};
use stox_core::vocab::{
    About, Command, Entry, Im, Input, Outcome, Party, Ref, SipIn, SipOut, StoreIn, StoreOut, Text,
    Unsettled, Way, XmppIn,
};
use stox_sip::message::{Message, Response};
use stox_sip::transport::{FlowId, Source, Target, Transport};
use stoxgate::config;
use stoxgate::engine::{BoundPorts, Effect, Engine, LinkName, Settings, StanzaToken};
use stoxgate::store::{SqliteStore, Store};

const SETTINGS: &str = r#"
[gateway]
host = "gw.ocs.test"
state_dir = "state"
[tls]
certificate = "c.pem"
key = "k.pem"
[xmpp]
[[xmpp.partner]]
domain = "*"
[sip]
udp = ["127.0.0.1:5060"]
[[sip.domain]]
domain = "ocs.test"
trusted_addresses = ["127.0.0.1"]
[limits]
messages_per_second = 4000000000
"#;

fn now(step: u64) -> Now {
    Now {
        mono: Duration::from_millis(step),
        wall: Duration::from_secs(1_800_000_000),
    }
}

fn bridge_alone(bench: &mut Criterion) {
    let rule = SipDomain {
        name: "ocs.test".to_owned(),
        allowed: vec![DomainPattern::Any],
    };
    let settings = bridge::Settings {
        policy: Policy::new([rule]),
        ..bridge::Settings::default()
    };
    let mut bridge = Bridge::new(settings, Box::new(SeededEntropy(1)));
    let text = Text {
        lang: None,
        text: "Wherefore art thou?".to_owned(),
    };
    let message = XmppIn::Message {
        from: "romeo@jabber.test/orchard".parse().unwrap(),
        to: "alice@ocs.test".parse().unwrap(),
        im: Im {
            id: Some("m1".to_owned()),
            bodies: vec![text],
            ..Im::default()
        },
    };
    let mut step = 0;
    let mut group = bench.benchmark_group("bridge");
    group.throughput(Throughput::Elements(1));
    group.bench_function("message from XMPP to SIP, with its outcome", |b| {
        b.iter(|| {
            step += 1;
            bridge.handle(Input::Xmpp(message.clone()), now(step));
            while let Some(command) = bridge.poll_command() {
                match command {
                    Command::Store(StoreOut::Keep(kept)) => {
                        bridge.handle(Input::Store(StoreIn::Kept(kept.reference)), now(step));
                    }
                    Command::Sip(SipOut::Message { reference, .. }) => {
                        bridge.handle(
                            Input::Sip(SipIn::Outcome {
                                reference,
                                outcome: Ok(()),
                            }),
                            now(step),
                        );
                    }
                    other => _ = black_box(other),
                }
            }
        });
    });
    group.finish();
}

fn engine(ledger: &str) -> Engine {
    let settings = format!("{SETTINGS}[ledger]\nkeep = \"{ledger}\"\n");
    let config = config::parse(&settings, Path::new("gateway.toml"), []).unwrap();
    Engine::new(Settings::new(&config, BoundPorts::default()), || {
        Box::new(SeededEntropy(7))
    })
}

fn source() -> Source {
    Source {
        flow: FlowId(1),
        transport: Transport::Udp,
        remote: "127.0.0.1:5070".parse().unwrap(),
        certificate_names: Vec::new(),
    }
}

/// Answers whatever the engine asks of the world, and counts the messages that reached their end.
fn world(engine: &mut Engine, at: Now) -> usize {
    let mut finished = 0;
    while let Some(effect) = engine.poll_effect() {
        match effect {
            Effect::Store(StoreOut::Keep(kept)) => engine.stored(StoreIn::Kept(kept.reference), at),
            Effect::Resolve(resolve) => {
                let target = Target {
                    transport: Transport::Udp,
                    address: source().remote,
                    name: "ocs.test".to_owned(),
                    also: Vec::new(),
                };
                engine.sip_resolved(resolve.id, Ok(vec![target]), at);
            }
            Effect::Send(transmit) => match Message::parse_datagram(&transmit.bytes) {
                Ok(Message::Request(request)) => {
                    let answer = Response::for_request(&request, 200, "OK").to_bytes();
                    engine.datagram(&source(), &answer, at);
                    finished += 1;
                }
                Ok(Message::Response(response)) => finished += usize::from(response.status == 200),
                Err(error) => panic!("{error}"),
            },
            Effect::Connect(name, attempt) => engine.stream_ready(&name, attempt, None, at),
            Effect::Write(name, element) if element.name() == "iq" => {
                let answer = format!(
                    "<iq xmlns='jabber:client' type='result' id='{}' from='{}' to='{}'/>",
                    element.attr("id").unwrap(),
                    name.partner,
                    name.local
                );
                engine.stanza(&name, &answer.parse().unwrap(), StanzaToken(0), at);
            }
            other => _ = black_box(other),
        }
    }
    finished
}

fn through_the_engine(bench: &mut Criterion) {
    let mut group = bench.benchmark_group("engine");
    group.throughput(Throughput::Elements(1));
    let stanza: Element = "<message xmlns='jabber:client' from='romeo@jabber.test/orchard' to='alice@ocs.test' id='m1' \
                           type='chat'><body>Wherefore art thou?</body></message>"
        .parse()
        .unwrap();
    let name = LinkName::new("ocs.test", "jabber.test");
    let mut step = 0;
    for (ledger, words) in [("90d", ""), ("0s", ", no ledger")] {
        let mut gateway = engine(ledger);
        let what = format!("message from XMPP to SIP, stanza to 200{words}");
        group.bench_function(what, |b| {
            b.iter(|| {
                // Far apart, so that finished transactions leave.
                step += 100_000;
                let at = now(step);
                gateway.handle_timeout(at);
                gateway.stanza(&name, black_box(&stanza), StanzaToken(step), at);
                assert_eq!(world(&mut gateway, at), 1);
            });
        });
    }
    let mut gateway = engine("90d");
    group.bench_function("message from SIP to XMPP, datagram to 200 behind the fence", |b| {
        b.iter(|| {
            step += 100_000;
            let at = now(step);
            gateway.handle_timeout(at);
            let request = format!(
                "MESSAGE sip:romeo@jabber.test SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:5070;branch=z9hG4bK{step}\r\n\
                 Max-Forwards: 70\r\nFrom: <sip:alice@ocs.test>;tag=1\r\nTo: <sip:romeo@jabber.test>\r\n\
                 Call-ID: c{step}\r\nCSeq: 1 MESSAGE\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nhi"
            );
            gateway.datagram(&source(), &Bytes::from(request), at);
            assert_eq!(world(&mut gateway, at), 1);
        });
    });
    group.finish();
}

/// Messages in one transaction of the store.
const BATCH: u64 = 128;

/// What the store is asked for one message from XMPP to SIP.
fn asked(number: u64, with_ledger: bool) -> Vec<StoreOut> {
    let from = format!("romeo{}@jabber.test/orchard", number % 1000);
    let about = About {
        arrived: Duration::from_millis(1_800_000_000_000 + number),
        octets: 19,
        ..About::default()
    };
    let entry = Entry {
        number: Ref(number),
        way: Way::ToSip,
        xmpp: Party::Jid(from.parse().unwrap()),
        sip: Party::Jid("alice@ocs.test".parse().unwrap()),
        id: Some(format!("id-{number}")),
        known: about.arrived + Duration::from_millis(40),
        about: about.clone(),
        fate: Outcome::Taken.into(),
    };
    let keep = StoreOut::Keep(Unsettled {
        reference: Ref(number),
        from: from.parse().unwrap(),
        to: "alice@ocs.test".parse().unwrap(),
        id: Some(format!("id-{number}")),
        about,
    });
    let mut commands = vec![keep, StoreOut::Settle(Ref(number))];
    if with_ledger {
        commands.push(StoreOut::Record(Box::new(entry)));
    }
    commands
}

fn store(bench: &mut Criterion) {
    let mut group = bench.benchmark_group("store");
    group.throughput(Throughput::Elements(BATCH));
    let rows = [
        ("a message kept and struck out", false),
        ("a message kept, struck out and entered in the ledger", true),
    ];
    for (name, with_ledger) in rows {
        let folder = std::env::temp_dir().join(format!("stoxgate-bench-{}", std::process::id()));
        let mut store = SqliteStore::open(&folder).unwrap();
        let mut next = 0;
        group.bench_function(name, |b| {
            b.iter_batched(
                || {
                    next += BATCH;
                    (next - BATCH..next)
                        .flat_map(|number| asked(number, with_ledger))
                        .collect::<Vec<_>>()
                },
                |batch| store.apply(&batch).unwrap(),
                criterion::BatchSize::SmallInput,
            );
        });
        drop(store);
        std::fs::remove_dir_all(folder).unwrap();
    }
    group.finish();
}

criterion_group!(benches, bridge_alone, through_the_engine, store);
criterion_main!(benches);
