//! What holds whatever users, servers, the network, the store and time do to the whole gateway: what goes out can be read
//! and is for its link alone, each stanza is taken once and each message kept is settled once, and a stop comes to its end.
//!
//! The octets are steps with a line `%%` between them: a stanza of the XMPP server, what the SIP server says, or a word of
//! [`WORDS`] behind `!`, a number behind some. `%via%` and the like stand for the fields of our last SIP request, `%tag%` for
//! our tag in the last response.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use minidom::Element;
use stox_core::failure::{Failure, Local};
use stox_core::time::{Entropy, Now, SeededEntropy};
use stox_core::vocab::{Ref, StoreIn, StoreOut};
use stox_sip::header::{HeaderValue, NameAddr};
use stox_sip::message::Message;
use stox_sip::target::TargetError;
use stox_sip::transport::{Destination, FlowId, Source, Target, Transport};
use stox_xmpp::link::{Attempt, Loss};
use stoxgate::engine::{BoundPorts, Effect, Engine, LinkName, Settings, StanzaToken};

/// Steps at most.
const MOST: usize = 30;
/// Effects of one step at most.
const MOST_EFFECTS: usize = 2000;
const SETTINGS: &str = "[gateway]\nhost = \"gw.jabber.example\"\nstate_dir = \"state\"\n\
    [tls]\ncertificate = \"gw.crt\"\nkey = \"gw.key\"\n\
    [[xmpp.partner]]\ndomain = \"jabber.example\"\n\
    [sip]\ntls = [\"127.0.0.1:5061\"]\n\
    [[sip.domain]]\ndomain = \"ocs.example\"\ntrusted_addresses = [\"127.0.0.1\"]\n";
const SIP: &str = "ocs.example";
const XMPP: &str = "jabber.example";

type Step = fn(&mut World, u64);

/// What the network, the store and time do.
const WORDS: [(&str, Step); 10] = [
    ("wait", |world, n| {
        world.passes(Duration::from_secs(n.min(4000)))
    }),
    ("full", |world, _| world.store_is_full = true),
    ("mute", |world, _| world.is_mute = true),
    ("lost", |world, _| world.streams_end(true)),
    ("gone", |world, _| world.streams_end(false)),
    ("apart", |world, _| world.is_apart = true),
    ("unresolved", |world, _| world.is_unresolved = true),
    ("unsent", |world, _| world.is_unsent = true),
    ("closed", |world, _| {
        world.engine.sip_closed(FlowId(7), world.now)
    }),
    ("stranger", |world, _| {
        world.source.remote = ([203, 0, 113, 66], 5061).into()
    }),
];

/// How much went out.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seen {
    /// To SIP.
    pub(crate) sent: usize,
    /// To XMPP.
    pub(crate) written: usize,
    /// Messages that were kept.
    pub(crate) kept: usize,
}

pub(crate) fn check(octets: &[u8]) -> Seen {
    let text = String::from_utf8_lossy(octets);
    let mut world = World::new();
    for step in text.split("%%\n").take(MOST) {
        world.step(step);
        world.pump();
    }
    world.ends()
}

struct World {
    engine: Engine,
    now: Now,
    source: Source,
    name: LinkName,
    /// Streams that are up.
    ready: BTreeSet<Attempt>,
    /// Fences that the server has not answered.
    fences: Vec<Element>,
    store_is_full: bool,
    is_mute: bool,
    is_apart: bool,
    is_unresolved: bool,
    is_unsent: bool,
    given: u64,
    handled: BTreeSet<StanzaToken>,
    /// How often each message was settled that was kept.
    kept: BTreeMap<Ref, usize>,
    fields: BTreeMap<&'static str, String>,
    seen: Seen,
}

impl World {
    fn new() -> Self {
        let config = stoxgate::config::parse(SETTINGS, Path::new("gateway.toml"), []);
        let config = config.expect("these settings are right");
        let seed = AtomicU64::new(1);
        let entropy = move || {
            let seed = seed.fetch_add(1, Ordering::Relaxed);
            Box::new(SeededEntropy(seed << 32)) as Box<dyn Entropy>
        };
        Self {
            engine: Engine::new(Settings::new(&config, BoundPorts::default()), entropy),
            now: Now {
                mono: Duration::from_secs(100),
                wall: Duration::from_secs(1_772_000_000),
            },
            source: Source {
                flow: FlowId(7),
                transport: Transport::Tls,
                remote: ([127, 0, 0, 1], 5061).into(),
                certificate_names: Vec::new(),
            },
            name: LinkName::new(SIP, XMPP),
            ready: BTreeSet::new(),
            fences: Vec::new(),
            store_is_full: false,
            is_mute: false,
            is_apart: false,
            is_unresolved: false,
            is_unsent: false,
            given: 0,
            handled: BTreeSet::new(),
            kept: BTreeMap::new(),
            fields: BTreeMap::new(),
            seen: Seen::default(),
        }
    }

    fn step(&mut self, step: &str) {
        if step.starts_with('<') {
            self.stanza(step);
        } else if let Some(words) = step.trim_end().strip_prefix('!') {
            let (word, number) = words.split_once(' ').unwrap_or((words, "0"));
            if let Some((_, act)) = WORDS.iter().find(|(known, _)| *known == word) {
                act(self, number.parse().unwrap_or(0));
            }
        } else {
            let fields = self.fields.iter();
            let text = fields.fold(step.to_owned(), |text, (name, value)| {
                text.replace(name, value)
            });
            let octets = Bytes::from(text.into_bytes());
            self.engine.datagram(&self.source, &octets, self.now);
        }
    }

    /// A stanza that a stream would pass on: from the partner's domain, to ours.
    fn stanza(&mut self, text: &str) {
        let Ok(element) = text.trim_end().parse::<Element>() else {
            return;
        };
        let is_of = |name: &str, domain: &str| {
            element
                .attr(name)
                .is_some_and(|jid| domain_of(jid) == domain)
        };
        if is_of("from", XMPP) && is_of("to", SIP) {
            self.takes(&element);
        }
    }

    fn takes(&mut self, element: &Element) {
        self.given += 1;
        let token = StanzaToken(self.given);
        self.engine.stanza(&self.name, element, token, self.now);
    }

    fn passes(&mut self, time: Duration) {
        let end = self.now.after(time);
        let mut wakes = 0;
        while let Some(at) = self.engine.poll_timeout().filter(|at| *at <= end.mono) {
            self.now = self.now.after(at.saturating_sub(self.now.mono));
            self.engine.handle_timeout(self.now);
            self.pump();
            wakes += 1;
            assert!(wakes < 100_000, "it asks for time and does nothing");
        }
        self.now = end;
    }

    fn streams_end(&mut self, passing: bool) {
        let failure = Failure::Local(Local::Timeout);
        for attempt in std::mem::take(&mut self.ready) {
            let loss = if passing {
                Loss::Passing(failure.clone())
            } else {
                Loss::Lasting(failure.clone())
            };
            self.engine.stream_lost(&self.name, attempt, loss, self.now);
            self.pump();
        }
    }

    /// Does what the gateway wants, until it wants nothing more.
    fn pump(&mut self) {
        let mut effects = 0;
        loop {
            while let Some(effect) = self.engine.poll_effect() {
                self.carry_out(effect);
                effects += 1;
                assert!(effects < MOST_EFFECTS, "it never comes to rest");
            }
            if self.is_mute || self.fences.is_empty() {
                return;
            }
            for fence in std::mem::take(&mut self.fences) {
                self.takes(&fence);
            }
        }
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Send(transmit) => self.sent(&transmit.destination, &transmit.bytes),
            Effect::Resolve(resolve) => {
                let target = Target {
                    transport: Transport::Tls,
                    address: ([127, 0, 0, 1], 5061).into(),
                    name: SIP.to_owned(),
                    also: Vec::new(),
                };
                let answer = if self.is_unresolved {
                    Err(TargetError::NotFound)
                } else {
                    Ok(vec![target])
                };
                self.engine.sip_resolved(resolve.id, answer, self.now);
            }
            Effect::Connect(name, attempt) => {
                assert_eq!(name, self.name);
                if self.is_apart {
                    let loss = Loss::Passing(Failure::Local(Local::Timeout));
                    self.engine.stream_lost(&name, attempt, loss, self.now);
                } else {
                    assert!(self.ready.insert(attempt), "{attempt:?} asked for twice");
                    self.engine.stream_ready(&name, attempt, None, self.now);
                }
            }
            Effect::CloseStream(_, attempt, _) => drop(self.ready.remove(&attempt)),
            Effect::Write(name, element) => self.written(&name, &element),
            Effect::Store(out) => self.stored(out),
            Effect::Handled(token) => {
                assert!(token.0 <= self.given, "{token:?} was never given");
                assert!(self.handled.insert(token), "{token:?} handled twice");
            }
            Effect::DialMsrp(dial) => self.engine.msrp_dialled(dial.id, None, self.now),
            Effect::SendMsrp(..) | Effect::CloseMsrp(_) => {}
        }
    }

    fn sent(&mut self, destination: &Destination, octets: &Bytes) {
        self.seen.sent += 1;
        match Message::parse_datagram(octets).expect("we send what can be read") {
            Message::Request(request) => {
                for (word, name) in [
                    ("%via%", "Via"),
                    ("%from%", "From"),
                    ("%to%", "To"),
                    ("%call%", "Call-ID"),
                    ("%cseq%", "CSeq"),
                ] {
                    let value = request.headers.get(name).unwrap_or_default();
                    self.fields.insert(word, value.to_owned());
                }
            }
            Message::Response(response) => {
                let to = response.headers.get("To").unwrap_or_default();
                let to = NameAddr::parse(to).ok();
                let tag = to.and_then(|to| to.tag().map(str::to_owned));
                self.fields.insert("%tag%", tag.unwrap_or_default());
            }
        }
        if self.is_unsent {
            self.engine.sip_not_sent(destination, self.now);
        }
    }

    /// What is written is XML, goes over a stream that is up, and is for its two domains.
    fn written(&mut self, name: &LinkName, element: &Element) {
        self.seen.written += 1;
        assert_eq!(*name, self.name);
        assert!(!self.ready.is_empty(), "written to no stream");
        let again = String::from(element)
            .parse::<Element>()
            .expect("we write XML");
        assert_eq!(again.name(), element.name());
        let (from, to) = (element.attr("from"), element.attr("to"));
        assert_eq!(from.map(domain_of), Some(SIP), "{again:?}");
        assert_eq!(to.map(domain_of), Some(XMPP), "{again:?}");
        let asks = element.name() == "iq" && element.attr("type") == Some("get");
        if asks {
            let part = |name: &str| {
                let value = element.attr(name).unwrap_or_default();
                value
                    .replace('&', "&amp;")
                    .replace('\'', "&apos;")
                    .replace('<', "&lt;")
            };
            let (id, from, to) = (part("id"), part("to"), part("from"));
            let answer = format!(
                "<iq xmlns='jabber:client' type='result' id='{id}' from='{from}' to='{to}'/>"
            );
            self.fences.push(answer.parse().expect("an answer"));
        }
    }

    fn stored(&mut self, out: StoreOut) {
        match out {
            StoreOut::Keep(message) => {
                let answer = if self.store_is_full {
                    StoreIn::NotKept(message.reference)
                } else {
                    let before = self.kept.insert(message.reference, 0);
                    assert_eq!(before, None, "kept twice");
                    StoreIn::Kept(message.reference)
                };
                self.engine.stored(answer, self.now);
            }
            StoreOut::Settle(reference) => {
                if let Some(times) = self.kept.get_mut(&reference) {
                    *times += 1;
                    assert_eq!(*times, 1, "{reference:?} settled twice");
                }
            }
            _ => {}
        }
    }

    /// Nobody says anything more; then the gateway stops.
    fn ends(mut self) -> Seen {
        self.is_mute = false;
        self.is_apart = false;
        self.passes(Duration::from_secs(1000));
        assert!(
            self.kept.values().all(|times| *times == 1),
            "{:?}",
            self.kept
        );
        assert_eq!(
            self.handled.len() as u64,
            self.given,
            "a stanza is not taken"
        );
        self.engine.shut_down(self.now);
        self.pump();
        self.passes(Duration::from_secs(200));
        assert!(self.engine.is_quiet(), "{:?}", self.engine.sip_status());
        assert!(self.engine.is_written());
        Seen {
            kept: self.kept.len(),
            ..self.seen
        }
    }
}

fn domain_of(jid: &str) -> &str {
    let bare = jid.split('/').next().unwrap_or_default();
    bare.rsplit('@').next().unwrap_or_default()
}
