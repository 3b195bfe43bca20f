use stox_core::failure::{Failure, Local};
use stox_core::time::SeededEntropy;

use super::*;
use crate::net::test_settings::settings;

const NOW: Now = Now {
    mono: Duration::from_secs(100),
    wall: Duration::from_secs(1_772_000_000),
};

/// The engine, and everything that it wanted and was not looked at.
struct Stage {
    engine: Engine,
    effects: VecDeque<Effect>,
    /// Whether the store takes messages.
    keeps: bool,
}

impl Stage {
    fn new(lines: &str) -> Self {
        let (config, _) = settings(&format!(
            "[[sip.domain]]\ndomain = \"*\"\n[[xmpp.partner]]\ndomain = \"jabber.test\"\n{lines}"
        ));
        let settings = Settings::new(&config, BoundPorts::default());
        Self {
            engine: Engine::new(settings, || Box::new(SeededEntropy(7))),
            effects: VecDeque::new(),
            keeps: true,
        }
    }

    /// Romeo writes to Juliet.
    fn write(&mut self, number: u64) {
        let text = format!(
            "<message xmlns='jabber:client' from='romeo@jabber.test/a' to='juliet@voice.test' id='m{number}'><body>x</body></message>"
        );
        let name = LinkName::new("voice.test", "jabber.test");
        let element = text.parse().unwrap();
        self.engine
            .stanza(&name, &element, StanzaToken(number), NOW);
        self.pump();
    }

    /// Whatever is to be kept is kept, or not.
    fn pump(&mut self) {
        while let Some(effect) = self.engine.poll_effect() {
            if let Effect::Store(StoreOut::Keep(message)) = &effect {
                let answer = if self.keeps {
                    StoreIn::Kept(message.reference)
                } else {
                    StoreIn::NotKept(message.reference)
                };
                self.engine.stored(answer, NOW);
            }
            self.effects.push_back(effect);
        }
    }

    fn take<T>(&mut self, wanted: impl Fn(&Effect) -> Option<T>) -> Option<T> {
        let effects = std::mem::take(&mut self.effects);
        effects.iter().find_map(wanted)
    }

    fn resolve(&mut self) -> Option<Resolve> {
        self.take(|effect| match effect {
            Effect::Resolve(resolve) => Some(resolve.clone()),
            _ => None,
        })
    }

    fn connect(&mut self) -> Option<(LinkName, Attempt)> {
        self.take(|effect| match effect {
            Effect::Connect(name, attempt) => Some((name.clone(), *attempt)),
            _ => None,
        })
    }

    /// What is written, and what is handled, in order.
    fn told(&mut self) -> Vec<String> {
        let effects = std::mem::take(&mut self.effects);
        let word = |effect: Effect| match effect {
            Effect::Write(_, element) => {
                let id = element.attr("id").unwrap_or_default();
                Some(match element.name() {
                    "iq" => format!("ping {id}"),
                    _ => format!("{} {id}", element.attr("type").unwrap_or("normal")),
                })
            }
            Effect::Handled(StanzaToken(number)) => Some(format!("handled {number}")),
            _ => None,
        };
        effects.into_iter().filter_map(word).collect()
    }

    /// The stream is there, and the partner handles what comes on it.
    fn connects(&mut self, handles: bool) -> Vec<String> {
        let (name, attempt) = self.connect().unwrap();
        self.engine.stream_ready(&name, attempt, None, NOW);
        self.pump();
        let mut told = self.told();
        let ping = told.iter().find_map(|word| word.strip_prefix("ping "));
        if let Some(id) = ping.filter(|_| handles) {
            let pong = format!(
                "<iq xmlns='jabber:client' type='result' from='jabber.test' to='{}' id='{id}'/>",
                name.local
            );
            let token = StanzaToken(1000);
            self.engine
                .stanza(&name, &pong.parse().unwrap(), token, NOW);
            self.pump();
            told.extend(self.told());
        }
        told.retain(|word| !word.starts_with("ping ") && word != "handled 1000");
        told
    }

    fn needs(&self) -> bool {
        self.engine.sip_domains().contains("voice.test")
    }
}

#[test]
fn a_found_domain_is_needed_while_anything_of_it_is_under_way() {
    let mut stage = Stage::new("");
    stage.engine.admit("voice.test");
    assert!(!stage.needs());
    stage.write(1);
    assert!(stage.needs(), "a message without outcome");
    let resolve = stage.resolve().unwrap();
    assert!(resolve.confined);
    assert_eq!(resolve.hop.host, "voice.test");
    stage
        .engine
        .sip_resolved(resolve.id, Err(TargetError::NotFound), NOW);
    stage.pump();
    assert!(stage.needs(), "an error that waits for its stream");
    let (name, attempt) = stage.connect().unwrap();
    let loss = Loss::Lasting(Failure::Local(Local::DomainNotFound));
    stage.engine.stream_lost(&name, attempt, loss, NOW);
    stage.pump();
    assert!(
        !stage.needs(),
        "an error that is told again only if it is found again"
    );

    stage.engine.forget("voice.test");
    stage.effects.clear();
    stage.write(2);
    assert!(stage.resolve().is_none(), "nothing is sent to it any more");
}

#[test]
fn a_contact_needs_its_domain() {
    let mut stage = Stage::new("");
    stage.engine.admit("voice.test");
    let text = "<presence xmlns='jabber:client' type='subscribe' from='romeo@jabber.test' to='juliet@voice.test'/>";
    let name = LinkName::new("voice.test", "jabber.test");
    let element = text.parse().unwrap();
    stage.engine.stanza(&name, &element, StanzaToken(1), NOW);
    stage.pump();
    let resolve = stage.resolve().unwrap();
    assert!(resolve.confined);
    assert!(stage.needs());
}

#[test]
fn a_domain_of_the_settings_stays_what_it_is() {
    let mut stage = Stage::new("");
    stage.engine.admit("sip.test");
    stage.engine.forget("sip.test");
    let text = "<message xmlns='jabber:client' from='romeo@jabber.test/a' to='a@sip.test' id='m1'><body>x</body></message>";
    let name = LinkName::new("sip.test", "jabber.test");
    let element = text.parse().unwrap();
    stage.engine.stanza(&name, &element, StanzaToken(1), NOW);
    stage.pump();
    assert!(!stage.resolve().unwrap().confined);
}

#[test]
fn a_refused_stanza_is_handled_when_it_is_kept_or_its_sender_has_been_told() {
    let mut stage = Stage::new("");
    stage.write(1);
    assert_eq!(stage.told(), ["handled 1"], "the store has it");

    let mut stage = Stage::new("");
    stage.keeps = false;
    stage.write(1);
    assert_eq!(stage.connects(true), ["error m1", "handled 1"]);

    // Neither the store nor the partner's server takes it: this has to do.
    let mut stage = Stage::new("");
    stage.keeps = false;
    stage.write(1);
    let (name, attempt) = stage.connect().unwrap();
    let loss = Loss::Lasting(Failure::Local(Local::DomainNotFound));
    stage.engine.stream_lost(&name, attempt, loss, NOW);
    stage.pump();
    assert_eq!(stage.told(), ["handled 1"]);
}

#[test]
fn what_is_given_up_for_good_holds_no_acknowledgement_back() {
    let mut stage = Stage::new("");
    stage.keeps = false;
    let id = "x".repeat(2000);
    let text = format!(
        "<message xmlns='jabber:client' from='romeo@jabber.test/a' to='juliet@voice.test' id='{id}'><body>x</body></message>"
    );
    let name = LinkName::new("voice.test", "jabber.test");
    let element = text.parse().unwrap();
    stage.engine.stanza(&name, &element, StanzaToken(1), NOW);
    stage.pump();
    let (name, attempt) = stage.connect().unwrap();
    let loss = Loss::Lasting(Failure::Local(Local::DomainNotFound));
    stage.engine.stream_lost(&name, attempt, loss, NOW);
    stage.pump();
    assert_eq!(stage.told(), ["handled 1"]);
    assert!(stage.engine.waiting.is_empty());
}

#[test]
fn a_stanza_that_says_nothing_of_a_message_is_handled_at_once() {
    let mut stage = Stage::new("");
    // An error that is on its way takes the token of no other stanza.
    stage.keeps = false;
    stage.write(1);
    let name = LinkName::new("sip.test", "jabber.test");
    let text = "<presence xmlns='jabber:client' from='romeo@jabber.test' to='juliet@sip.test'/>";
    let element = text.parse().unwrap();
    stage.engine.stanza(&name, &element, StanzaToken(2), NOW);
    stage.pump();
    assert_eq!(stage.told(), ["handled 2"]);
}
