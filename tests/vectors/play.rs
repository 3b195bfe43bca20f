//! Plays what a vector gives.

use std::time::Duration;

use regex::Regex;
use serde_json::{Map, Value};

use crate::assertion::{self, Scene, Subject};
use crate::given::{Event, Given};
use crate::output::Output;
use crate::sip_text::SipText;
use crate::world::{Held, World};
use crate::{fill, settings, states};

/// A request that the vector gave.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) method: String,
    branch: Option<String>,
    call_id: Option<String>,
    cseq: Option<String>,
}

/// The gateway after everything that was given.
pub(crate) struct Played {
    pub(crate) world: World,
    /// Index of the first output after the preconditions.
    pub(crate) mark: usize,
    /// When the preconditions were reached.
    pub(crate) started: Duration,
    /// Index of the first output after the last thing given.
    pub(crate) last: usize,
    pub(crate) asked: Vec<Asked>,
    /// Transactions of the MSRP requests that the vector gave.
    pub(crate) asked_msrp: Vec<String>,
    /// Index of the first output after the beginning of each step.
    pub(crate) steps: Vec<usize>,
    /// Full addresses in the vector.
    pub(crate) known: Vec<String>,
    /// The point in time that the vector's clock runs towards.
    pub(crate) limit: Option<Duration>,
}

/// The SIP user types. These vectors are about what the XMPP user is told of it, so her client understands it.
fn tells_typing(given: &Map<String, Value>) -> bool {
    let sip = given.get("sip").and_then(Value::as_str).unwrap_or_default();
    ["<isComposing", "<KeyboardActivity"]
        .iter()
        .any(|form| sip.contains(form))
}

/// Starts a gateway and plays.
///
/// # Errors
/// Something that the runner does not know, or that the gateway should have sent along the way.
pub(crate) fn play(given: &Map<String, Value>) -> Result<Played, String> {
    let read = Given::read(given)?;
    let mut world = World::new(&settings::file(&read.config)?)?;
    if let Some(wall) = read.wall {
        world.set_wall(wall);
    }
    for precondition in &read.preconditions {
        states::reach(&mut world, precondition, only_tuple(given).as_deref())
            .map_err(|why| format!("precondition not reached: {why}"))?;
    }
    if tells_typing(given) {
        states::shows_chat_states(&mut world, "")?;
    }
    world.surroundings = read.surroundings;
    let mut played = Played {
        mark: world.outputs.len(),
        started: world.elapsed(),
        last: world.outputs.len(),
        world,
        asked: Vec::new(),
        asked_msrp: Vec::new(),
        steps: Vec::new(),
        known: full_addresses(given),
        limit: read.limit,
    };
    played.all(&read.events)?;
    Ok(played)
}

/// The id of the tuple in the vector's documents, if all name the same one.
fn only_tuple(given: &Map<String, Value>) -> Option<String> {
    let pattern = Regex::new(r#"<(?:\w+:)?tuple id=\\?"([^"\\]+)"#).ok()?;
    let text = Value::Object(given.clone()).to_string();
    let mut ids = pattern
        .captures_iter(&text)
        .filter_map(|found| found.get(1));
    let first = ids.next()?.as_str().to_owned();
    ids.all(|id| id.as_str() == first).then_some(first)
}

fn full_addresses(given: &Map<String, Value>) -> Vec<String> {
    let Ok(pattern) = Regex::new(r"from='([^'/]+/[^']+)'") else {
        return Vec::new();
    };
    let text = Value::Object(given.clone()).to_string();
    let found = pattern.captures_iter(&text);
    found
        .filter_map(|found| found.get(1).map(|jid| jid.as_str().to_owned()))
        .collect()
}

/// What must stay unanswered because these events answer it.
fn held(events: &[Event]) -> Held {
    let responses = events.iter().filter_map(|event| match event {
        Event::Response(text) => Some(text),
        _ => None,
    });
    let method = |text: &String| {
        let line = text
            .lines()
            .find(|line| line.to_ascii_lowercase().starts_with("cseq:"))?;
        line.split_whitespace().last().map(str::to_owned)
    };
    Held {
        methods: responses.filter_map(method).collect(),
        every_method: events.iter().any(|event| matches!(event, Event::Close)),
        fences: events.iter().any(|event| match event {
            Event::Stanza(text) => text.contains("type='error'"),
            _ => false,
        }),
        ..Held::default()
    }
}

impl Played {
    /// Plays further events.
    pub(crate) fn all(&mut self, events: &[Event]) -> Result<(), String> {
        for (index, event) in events.iter().enumerate() {
            self.world.held = held(events.get(index..).unwrap_or_default());
            self.world.settle()?;
            self.event(event)?;
        }
        self.world.held = Held::default();
        self.world.settle()
    }

    fn given(&mut self) {
        self.last = self.world.outputs.len();
    }

    fn event(&mut self, event: &Event) -> Result<(), String> {
        match event {
            Event::Request(text) => {
                let text = fill::sip(&self.world, text);
                self.request(text.as_bytes())
            }
            Event::RawRequest(head, body) => {
                let octets = [head.as_bytes(), body].concat();
                self.request(&octets)
            }
            Event::Response(text) => {
                let text = fill::sip(&self.world, text);
                self.given();
                self.world.response(text.as_bytes())
            }
            Event::Stanza(text) => {
                let text = fill::stanza(&self.world, text);
                self.given();
                self.world.stanza(&text)
            }
            Event::Msrp(text) => {
                let text = fill::msrp(&self.world, text);
                let transaction = text.split(' ').nth(1).unwrap_or_default();
                self.asked_msrp.push(transaction.to_owned());
                self.given();
                self.world.msrp(text.as_bytes())
            }
            Event::Step => {
                self.steps.push(self.world.outputs.len());
                Ok(())
            }
            Event::Sends(assertions) => assertions.iter().try_for_each(|wanted| self.sends(wanted)),
            Event::Unless {
                header,
                token,
                event,
            } => {
                let response = self.world.outputs.iter().rev().find_map(Output::response);
                let lists = response
                    .and_then(|sip| sip.header(header))
                    .is_some_and(|value| {
                        value
                            .split(',')
                            .any(|have| have.trim().eq_ignore_ascii_case(token))
                    });
                if lists { Ok(()) } else { self.event(event) }
            }
            Event::Close => {
                self.given();
                self.world.close_sip();
                self.world.pump()
            }
            Event::Advance(time) => {
                self.given();
                self.world.run_for(*time)
            }
        }
    }

    fn request(&mut self, octets: &[u8]) -> Result<(), String> {
        if let Ok(sip) = SipText::parse(octets) {
            self.asked.push(Asked {
                method: sip.method().to_owned(),
                branch: sip.branch(),
                call_id: sip.call_id().map(str::to_owned),
                cseq: sip.header("CSeq"),
            });
        }
        self.given();
        self.world.sip(octets)
    }

    /// The gateway has sent something that fits, at the latest when its partners have answered everything.
    fn sends(&mut self, wanted: &Value) -> Result<(), String> {
        let mut wanted = assertion::object(wanted)?.clone();
        // Either way of saying that a MESSAGE was taken.
        if wanted.get("status") == Some(&Value::from(202)) {
            wanted.insert(
                "status".to_owned(),
                serde_json::json!({"one_of": [200, 202]}),
            );
        }
        assertion::vet(&wanted)?;
        if self.has_sent(&wanted) {
            return Ok(());
        }
        let held = std::mem::take(&mut self.world.held);
        self.world.settle()?;
        self.world.held = held;
        if self.has_sent(&wanted) {
            return Ok(());
        }
        Err(format!(
            "along the way the gateway should have sent {}",
            Value::Object(wanted)
        ))
    }

    fn has_sent(&self, wanted: &Map<String, Value>) -> bool {
        let scene = self.scene(self.world.outputs.len());
        let mut candidates = scene.window().iter();
        candidates
            .any(|output| suits(wanted, output) && assertion::holds(wanted, output, &scene).is_ok())
    }

    /// Everything sent up to an index.
    pub(crate) fn scene(&self, end: usize) -> Scene<'_> {
        Scene {
            outputs: &self.world.outputs,
            mark: self.mark,
            end,
            known: &self.known,
        }
    }
}

/// Whether an output is of the kind that the assertion is about.
pub(crate) fn suits(assertion: &Map<String, Value>, output: &Output) -> bool {
    match assertion::subject(assertion) {
        Subject::Stanza => return output.stanza().is_some(),
        Subject::Msrp => return output.msrp().is_some(),
        Subject::Sip => {}
    }
    if assertion.contains_key("status") {
        return output.response().is_some();
    }
    if assertion.contains_key("method") {
        return output.request().is_some();
    }
    output.sip().is_some()
}

impl Asked {
    /// Whether the response answers this request.
    pub(crate) fn is_answered_by(&self, response: &SipText) -> bool {
        response.branch() == self.branch
            && response.call_id() == self.call_id.as_deref()
            && response.header("CSeq") == self.cseq
    }
}
