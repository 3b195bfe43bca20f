//! What holds whatever bridge, peers, network and time do to a user agent: each message and each subscription has one end,
//! no stranger is believed, and when everybody has left nothing is left.
//!
//! The octets are steps with a line `%%` between them: what is heard, as in the scenes of sessions, or a word of [`WORDS`]
//! behind `!`, a number behind some.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use stox_core::address::canonical_domain;
use stox_core::failure::{Failure, Local};
use stox_core::time::Now;
use stox_core::vocab::{
    ChatState, Document, EndReason, Ref, SipIn, SipOut, SubscriptionEvent, Trace, Tuple,
    WatcherEvent, WatcherState,
};
use stox_sip::dialect::Overrides;
use stox_sip::digest::Credential;
use stox_sip::header::{HeaderValue, NameAddr};
use stox_sip::message::Message;
use stox_sip::method::Method;
use stox_sip::target::TargetError;
use stox_sip::transport::{Destination, FlowId, Transport};
use stox_sip::ua::Registration;
use stox_sip::ua::settings::Settings;
use stox_sip::ua::trust::SipDomain;

use crate::agent::session::{im, ocs_world, sends, shows};
use crate::agent::{Agent, Sent, alma, bruno, from_edge, world};
use crate::session_invariants::Words;

/// Steps at most.
const MOST: usize = 40;
const STRANGER: &str = "203.0.113.66:5061";
const PROVIDER: &str = "provider.example";
const PASSWORD: &str = "correct horse";

type Step = fn(&mut World, u64);

/// What the bridge, the network and time do.
const WORDS: [(&str, Step); 16] = [
    ("message", World::message),
    ("typing", |world, n| {
        let state = [ChatState::Composing, ChatState::Paused, ChatState::Gone][n as usize % 3];
        shows(&mut world.agent, state);
    }),
    ("subscribe", |world, _| world.subscribe(false)),
    ("poll", |world, _| world.subscribe(true)),
    ("unsubscribe", World::unsubscribe),
    ("accept", World::accept),
    ("refuse", World::refuse),
    ("notify", |world, n| world.notify(n, WatcherState::Active)),
    ("end", |world, n| world.notify(n, ENDED)),
    ("later", |world, _| world.answers_at_once = false),
    ("wait", |world, n| world.agent.passes_seconds(n.min(4000))),
    ("lost", World::lost),
    ("closed", |world, n| {
        let flow = [FlowId(7), FlowId(n)][n as usize % 2];
        world.agent.ua.connection_closed(flow, world.agent.now);
        world.agent.pump();
    }),
    ("unresolved", |world, _| {
        world.agent.target = Err(TargetError::NotFound);
    }),
    ("stranger", World::stranger),
    ("friend", World::friend),
];

const ENDED: WatcherState = WatcherState::Terminated {
    reason: EndReason::Timeout,
    retry_after: None,
};

pub(crate) fn check(octets: &[u8]) {
    let text = String::from_utf8_lossy(octets);
    let mut steps = text.split("%%\n").take(MOST).peekable();
    let mut is_in = |name: &str| steps.next_if(|step| step.trim_end() == name).is_some();
    let settings = if is_in("!ocs") {
        ocs_world(Overrides::default())
    } else if is_in("!provider") {
        provider()
    } else {
        world()
    };
    let mut world = World::new(settings);
    for step in steps {
        world.step(step);
        world.told();
    }
    world.ends();
}

/// A world with a line at a provider.
fn provider() -> Settings {
    let mut settings = world();
    settings.sip_domains.push(SipDomain::new(PROVIDER));
    settings.registrations = vec![Registration {
        user: "gateway".to_owned(),
        domain: PROVIDER.to_owned(),
        registrar: None,
        expires: Duration::from_secs(600),
    }];
    settings.credentials = vec![Credential {
        domain: PROVIDER.to_owned(),
        realm: PROVIDER.to_owned(),
        username: "gateway".to_owned(),
        password: PASSWORD.to_owned(),
        over_plain: true,
    }];
    settings
}

struct World {
    agent: Agent,
    words: Words,
    /// What went out last.
    last: Option<Destination>,
    is_stranger: bool,
    answers_at_once: bool,
    /// How often each message has come to its end.
    outcomes: BTreeMap<Ref, usize>,
    /// Whether each subscription has come to its end.
    subscriptions: BTreeMap<Ref, bool>,
    watchers: BTreeMap<Ref, Watcher>,
    waiting: Vec<Ref>,
    began: Now,
    /// The numbers of our REGISTERs.
    registers: BTreeSet<u32>,
}

#[derive(Debug, PartialEq)]
enum Watcher {
    Unanswered,
    Watches,
    Over,
}

impl World {
    fn new(mut settings: Settings) -> Self {
        settings.sip_domains.push(SipDomain::new("other.example"));
        let mut agent = Agent::with(settings);
        // A line is asked for at once.
        agent.passes(Duration::ZERO);
        Self {
            began: agent.now,
            registers: BTreeSet::new(),
            agent,
            words: Words::default(),
            last: None,
            is_stranger: false,
            answers_at_once: true,
            outcomes: BTreeMap::new(),
            subscriptions: BTreeMap::new(),
            watchers: BTreeMap::new(),
            waiting: Vec::new(),
        }
    }

    fn step(&mut self, step: &str) {
        match step.trim_end().strip_prefix('!') {
            Some(words) => {
                let (word, number) = words.split_once(' ').unwrap_or((words, "0"));
                let number = number.parse().unwrap_or(0);
                if let Some((_, act)) = WORDS.iter().find(|(known, _)| *known == word) {
                    act(self, number);
                }
            }
            None => {
                let text = self.words.filled(step);
                self.agent.hears(&text);
            }
        }
        let said = self.said();
        self.words.look(&said);
        self.last = said
            .last()
            .map(|sent| sent.destination.clone())
            .or(self.last.take());
    }

    /// What went out, looked at.
    fn said(&mut self) -> Vec<Sent> {
        let said = self.agent.said();
        for sent in &said {
            within_bounds(sent);
            if let Message::Request(request) = &sent.message
                && request.method == Method::REGISTER
            {
                self.registers
                    .extend(request.headers.cseq().map(|cseq| cseq.number));
            }
        }
        let passed = self.agent.now.mono.saturating_sub(self.began.mono);
        let most = 8 + passed.as_secs() / 10;
        assert!(self.registers.len() as u64 <= most, "{:?}", self.registers);
        said
    }

    fn message(&mut self, number: u64) {
        if self.outcomes.len() < 8 {
            let reference = Ref(100 + self.outcomes.len() as u64);
            self.outcomes.insert(reference, 0);
            let text = if number > 1000 {
                "x".repeat(3000)
            } else {
                format!("hello {number}")
            };
            sends(&mut self.agent, reference.0, im(&text, Some("t-1")));
        }
    }

    fn subscribe(&mut self, poll: bool) {
        if self.subscriptions.len() < 8 {
            let reference = Ref(200 + self.subscriptions.len() as u64);
            self.subscriptions.insert(reference, false);
            self.agent.does(SipOut::Subscribe {
                reference,
                watcher: alma(),
                presentity: bruno(),
                poll,
                trace: Trace::default(),
            });
        }
    }

    fn unsubscribe(&mut self, number: u64) {
        let mut live = self.subscriptions.iter().filter(|(_, over)| !**over);
        let count = live.clone().count().max(1);
        if let Some((reference, _)) = live.nth(number as usize % count) {
            let reference = *reference;
            self.agent.does(SipOut::Unsubscribe { reference });
        }
    }

    fn any_watcher(&self, number: u64, like: &Watcher) -> Option<Ref> {
        let mut found = self.watchers.iter().filter(|(_, state)| *state == like);
        let count = found.clone().count().max(1);
        found
            .nth(number as usize % count)
            .map(|(reference, _)| *reference)
    }

    fn accept(&mut self, number: u64) {
        if let Some(reference) = self.any_watcher(number, &Watcher::Unanswered) {
            self.watchers.insert(reference, Watcher::Watches);
            self.agent.does(SipOut::AcceptWatcher { reference });
        }
    }

    fn refuse(&mut self, number: u64) {
        if let Some(reference) = self.any_watcher(number, &Watcher::Unanswered) {
            self.watchers.insert(reference, Watcher::Over);
            let failure = Failure::Local(Local::ShuttingDown);
            self.agent
                .does(SipOut::RefuseWatcher { reference, failure });
        }
    }

    fn notify(&mut self, number: u64, state: WatcherState) {
        let Some(reference) = self.any_watcher(number, &Watcher::Watches) else {
            return;
        };
        if state == ENDED {
            self.watchers.insert(reference, Watcher::Over);
        }
        let tuple = Tuple {
            id: "laptop".to_owned(),
            open: Some(number.is_multiple_of(2)),
            ..Tuple::default()
        };
        let document = Some(Document {
            tuples: vec![tuple],
            ..Document::default()
        });
        self.agent.does(SipOut::Notify {
            reference,
            state,
            document,
        });
    }

    fn lost(&mut self, _: u64) {
        if let Some(last) = self.last.clone() {
            self.agent.ua.transport_failed(&last, self.agent.now);
            self.agent.pump();
        }
    }

    /// From here on it is somebody else who talks, without a certificate.
    fn stranger(&mut self, number: u64) {
        let transport = [Transport::Udp, Transport::Tcp, Transport::Tls][number as usize % 3];
        self.agent.source = from_edge(transport);
        self.agent.source.flow = FlowId(66);
        self.agent.source.remote = STRANGER.parse::<SocketAddr>().expect("an address");
        self.is_stranger = true;
    }

    fn friend(&mut self, _: u64) {
        self.agent.source = from_edge(Transport::Tls);
        self.is_stranger = false;
    }

    /// What the bridge is told, answered at once or later.
    fn told(&mut self) {
        while let Some(input) = self.agent.ua.poll_input() {
            match input {
                SipIn::Message {
                    reference, from, ..
                } => {
                    self.believed(&from.host);
                    self.waiting.push(reference);
                }
                SipIn::MessageExpired { from, .. } => self.believed(&from.host),
                SipIn::Outcome { reference, .. } => {
                    let times = self
                        .outcomes
                        .get_mut(&reference)
                        .expect("a message of ours");
                    *times += 1;
                    assert_eq!(*times, 1, "{reference:?}");
                }
                SipIn::Subscription { reference, event } => self.subscription(reference, &event),
                SipIn::Watcher { reference, event } => self.watcher(reference, event),
                // The end of it comes with time, too, whoever speaks by then.
                SipIn::ChatState {
                    from,
                    state: ChatState::Composing,
                    ..
                } => {
                    self.believed(&from.host);
                }
                SipIn::MessageGone { reference } => self.waiting.retain(|one| *one != reference),
                _ => {}
            }
            if self.answers_at_once {
                self.answers();
            }
        }
    }

    /// Nobody but a domain's own servers speaks for its users.
    fn believed(&self, host: &str) {
        assert!(!self.is_stranger, "a stranger spoke for {host}");
        assert_eq!(canonical_domain(host), "ocs.example");
    }

    fn answers(&mut self) {
        for reference in std::mem::take(&mut self.waiting) {
            let outcome = Ok(());
            self.agent
                .does(SipOut::AnswerMessage { reference, outcome });
        }
        while let Some(reference) = self.any_watcher(0, &Watcher::Unanswered) {
            if reference.0.is_multiple_of(4) {
                self.refuse(0);
            } else {
                self.accept(0);
                self.notify(reference.0, WatcherState::Active);
            }
        }
    }

    fn subscription(&mut self, reference: Ref, event: &SubscriptionEvent) {
        let over = self
            .subscriptions
            .get_mut(&reference)
            .expect("a subscription of ours");
        assert!(!*over, "{event:?} of {reference:?} after its end");
        *over = !matches!(
            event,
            SubscriptionEvent::Pending | SubscriptionEvent::Active(_)
        );
    }

    fn watcher(&mut self, reference: Ref, event: WatcherEvent) {
        if let WatcherEvent::Arrived { watcher, .. } = event {
            self.believed(&watcher.host);
            let before = self.watchers.insert(reference, Watcher::Unanswered);
            assert!(before.is_none(), "{reference:?} arrived twice");
            return;
        }
        // One that nobody has answered in time may break, too.
        let state = self.watchers.get(&reference);
        let breaks = event == WatcherEvent::Broken && state == Some(&Watcher::Unanswered);
        assert!(
            breaks || state == Some(&Watcher::Watches),
            "{event:?} of {reference:?}, {state:?}"
        );
        match event {
            WatcherEvent::Broken => drop(self.watchers.insert(reference, Watcher::Over)),
            WatcherEvent::Left | WatcherEvent::Expired => {
                self.watchers.insert(reference, Watcher::Over);
                let document = None;
                self.agent.does(SipOut::Notify {
                    reference,
                    state: ENDED,
                    document,
                });
            }
            _ => {}
        }
    }

    /// Everybody leaves, and time passes.
    fn ends(mut self) {
        self.answers_at_once = true;
        self.told();
        self.answers();
        // Some of them have broken over their first document.
        self.told();
        while self.any_watcher(0, &Watcher::Watches).is_some() {
            self.notify(0, ENDED);
            self.told();
        }
        let live = self.subscriptions.iter().filter(|(_, over)| !**over);
        for reference in live.map(|(reference, _)| *reference).collect::<Vec<_>>() {
            self.agent.does(SipOut::Unsubscribe { reference });
        }
        self.agent.ua.shut_down(self.agent.now);
        self.agent.pump();
        for _ in 0..100 {
            self.told();
            self.agent.passes_seconds(60);
            self.said();
        }
        self.told();
        assert!(
            self.outcomes.values().all(|times| *times == 1),
            "{:?}",
            self.outcomes
        );
        assert!(
            self.subscriptions.values().all(|over| *over),
            "{:?}",
            self.subscriptions
        );
        assert!(self.agent.ua.is_empty(), "{:?}", self.agent.ua.status());
    }
}

/// A request of ours has one of each field that there is one of, and names addresses that can be read. No password goes out.
fn within_bounds(sent: &Sent) {
    let octets = sent.message.to_bytes();
    assert!(
        !String::from_utf8_lossy(&octets).contains(PASSWORD),
        "{sent:?}"
    );
    // An answer, and the ACK of one, repeat what the peer wrote.
    let Message::Request(request) = &sent.message else {
        return;
    };
    let headers = &request.headers;
    for name in ["From", "To", "Call-ID", "CSeq"] {
        assert_eq!(headers.fields(name).count(), 1, "{name} in {sent:?}");
    }
    let is_ours = request.method != Method::ACK;
    for name in ["From", "To"].into_iter().filter(|_| is_ours) {
        let value = headers.get(name).unwrap_or_default();
        assert!(NameAddr::parse(value).is_ok(), "{value:?} in {sent:?}");
    }
}
