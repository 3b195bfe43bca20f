//! What a vector gives, in order.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use regex::Regex;
use serde_json::{Map, Value};

use crate::world::Surroundings;

/// One thing that happens to the gateway, or that it must have done by then.
#[derive(Debug, Clone)]
pub(crate) enum Event {
    /// A SIP request.
    Request(String),
    /// A SIP request with a body of raw octets.
    RawRequest(String, Vec<u8>),
    /// A SIP response.
    Response(String),
    Stanza(String),
    /// An MSRP request of the peer's.
    Msrp(String),
    /// A step of the vector begins.
    Step,
    /// The gateway has sent something that fits each of these assertions.
    Sends(Vec<Value>),
    /// A step that is left out when the last response lists this token in this header.
    Unless {
        header: String,
        token: String,
        event: Box<Event>,
    },
    /// The peer closes its connections.
    Close,
    Advance(Duration),
}

/// Everything that a vector gives, read.
#[derive(Debug, Default)]
pub(crate) struct Given {
    pub(crate) preconditions: Vec<Map<String, Value>>,
    pub(crate) config: Map<String, Value>,
    pub(crate) surroundings: Surroundings,
    /// The wall clock at the start.
    pub(crate) wall: Option<Duration>,
    pub(crate) events: Vec<Event>,
    /// The point in time that the clock runs towards.
    pub(crate) limit: Option<Duration>,
}

/// How long before an expiry anything must have been done about it.
const MARGIN: Duration = Duration::from_secs(10);
/// Added where the vector says "plus grace", and behind a time that is not to be missed by a rounding.
const GRACE: Duration = Duration::from_secs(60);

/// Words of a vector for a peer that ends its connections,
const CLOSED: [&str; 4] = [
    "closes the connection",
    "connection closed",
    "connection is closed",
    "stream ends",
];
/// for one that cannot be reached,
const UNREACHABLE: [&str; 6] = [
    "refused",
    "unreachable",
    "cannot be reached",
    "NXDOMAIN",
    "handshake",
    "certificate",
];
/// and for one that says nothing.
const SILENT: [&str; 8] = [
    "no response",
    "no answer",
    "no final response",
    "no reply",
    "never answers",
    "does not answer",
    "times out",
    "Timer F",
];

fn text(value: &Value) -> Result<String, String> {
    value
        .as_str()
        .map(str::to_owned)
        .ok_or_else(|| format!("not a text: {value}"))
}

impl Given {
    /// Reads `given`.
    ///
    /// # Errors
    /// A key or a sentence that this runner does not know.
    pub(crate) fn read(given: &Map<String, Value>) -> Result<Self, String> {
        let mut out = Self::default();
        let step = Regex::new(r"^step(\d+)_(.*)$").map_err(|error| error.to_string())?;
        let mut steps: Vec<(u32, String, &Value)> = Vec::new();
        for (key, value) in given {
            if let Some(parts) = step.captures(key) {
                let number = parts.get(1).and_then(|n| n.as_str().parse().ok());
                let name = parts.get(2).map_or("", |name| name.as_str());
                steps.push((number.unwrap_or_default(), name.to_owned(), value));
                continue;
            }
            match key.as_str() {
                "precondition" => out.precondition(value)?,
                "config" => out.config(value)?,
                "clock" => {}
                _ => out.event(key, value)?,
            }
        }
        steps.sort_by_key(|(number, _, _)| *number);
        for (_, name, value) in steps {
            out.events.push(Event::Step);
            out.event(&name, value)?;
        }
        if let Some(clock) = given.get("clock") {
            out.clock(&text(clock)?)?;
        }
        Ok(out)
    }

    fn config(&mut self, value: &Value) -> Result<(), String> {
        let config = value.as_object().ok_or("config is no object")?;
        self.config.extend(config.clone());
        Ok(())
    }

    fn precondition(&mut self, value: &Value) -> Result<(), String> {
        let mut state = value
            .as_object()
            .ok_or("precondition is no object")?
            .clone();
        if let Some(both) = state.remove("both") {
            return both
                .as_array()
                .into_iter()
                .flatten()
                .try_for_each(|one| self.precondition(one));
        }
        if let Some(config) = state.remove("config") {
            self.config(&config)?;
        }
        if let Some(clock) = state.remove("clock") {
            self.clock(&text(&clock)?)?;
        }
        if let Some(peer) = state.remove("sip_peer") {
            self.surrounding(&text(&peer)?)?;
        }
        if let Some(xmpp) = state
            .remove("xmpp_peer")
            .or_else(|| state.remove("xmpp_server"))
        {
            self.surrounding(&text(&xmpp)?)?;
        }
        if state.keys().any(|key| key != "meaning") {
            self.preconditions.push(state);
        }
        Ok(())
    }

    /// `clock` or `then_clock`: an instant, or how far to advance.
    pub(crate) fn clock(&mut self, clock: &str) -> Result<(), String> {
        if let Some(wall) = instant(clock) {
            self.wall = Some(wall);
            return Ok(());
        }
        let (time, limit) = advance(clock)?;
        self.limit = Some(limit);
        self.events.push(Event::Advance(time));
        Ok(())
    }

    /// Something that happens around the gateway, in words.
    pub(crate) fn surrounding(&mut self, words: &str) -> Result<(), String> {
        let slow =
            Regex::new(r"answers the first (\w+) after (\d+) s").map_err(|e| e.to_string())?;
        if let Some(parts) = slow.captures(words) {
            let method = parts.get(1).map_or("", |m| m.as_str()).to_owned();
            let wait = parts
                .get(2)
                .and_then(|s| s.as_str().parse().ok())
                .unwrap_or_default();
            self.surroundings.slow = Some((method, Duration::from_secs(wait)));
            return Ok(());
        }
        let says = |options: &[&str]| options.iter().any(|option| words.contains(option));
        let xmpp = says(&["XMPP", "xmpp", "jabber.example", "s2s"]);
        if says(&CLOSED) {
            self.events.push(Event::Close);
        } else if says(&["NXDOMAIN", "no DNS"]) && !xmpp {
            self.surroundings.no_dns = true;
        } else if says(&UNREACHABLE) {
            if xmpp {
                self.surroundings.xmpp_unreachable = true;
            } else {
                self.surroundings.sip_unreachable = true;
            }
        } else if says(&SILENT) {
            if xmpp {
                self.surroundings.xmpp_silent = true;
            } else {
                self.surroundings.sip_silent = true;
            }
            let transaction = Duration::from_secs(32);
            self.events.push(Event::Advance(transaction + GRACE));
        } else {
            return Err(format!("unknown event: {words}"));
        }
        Ok(())
    }

    fn event(&mut self, name: &str, value: &Value) -> Result<(), String> {
        match name {
            "sip" | "sip_request" => self.events.push(Event::Request(text(value)?)),
            "sip_response" => self.events.push(Event::Response(text(value)?)),
            "sip_responses" => {
                for response in value.as_array().into_iter().flatten() {
                    self.events.push(Event::Response(text(response)?));
                }
            }
            "sip_headers_then_body_base64" => {
                let part = |key: &str| {
                    value
                        .get(key)
                        .map(text)
                        .unwrap_or_else(|| Err(format!("no {key}")))
                };
                let body = STANDARD
                    .decode(part("body_base64")?)
                    .map_err(|error| error.to_string())?;
                self.events.push(Event::RawRequest(part("head")?, body));
            }
            "xmpp" | "stanza" => self.events.push(Event::Stanza(text(value)?)),
            "gateway_sends" | "gateway_sends_sip" | "gateway_sends_xmpp" => {
                let list = value
                    .as_array()
                    .cloned()
                    .unwrap_or_else(|| vec![value.clone()]);
                self.events.push(Event::Sends(list));
            }
            "event" => self.surrounding(&text(value)?)?,
            "clock" => self.clock(&text(value)?)?,
            "msrp" => self.events.push(Event::Msrp(text(value)?)),
            "steps" => {
                for step in value.as_array().into_iter().flatten() {
                    self.step(step.as_object().ok_or("a step is no object")?)?;
                }
            }
            _ => return Err(format!("unknown key in given: {name}")),
        }
        Ok(())
    }

    fn step(&mut self, step: &Map<String, Value>) -> Result<(), String> {
        self.events.push(Event::Step);
        let first = self.events.len();
        for (key, value) in step.iter().filter(|(key, _)| *key != "if_response_lacks") {
            self.event(key, value)?;
        }
        let Some(lacks) = step.get("if_response_lacks") else {
            return Ok(());
        };
        let part = |key: &str| {
            lacks
                .get(key)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        for event in self.events.iter_mut().skip(first) {
            *event = Event::Unless {
                header: part("header"),
                token: part("token"),
                event: Box::new(event.clone()),
            };
        }
        Ok(())
    }
}

/// How far to advance, and the point that the words are about.
fn advance(words: &str) -> Result<(Duration, Duration), String> {
    let pattern = Regex::new(r"^advance (?:by |until |to )?(?:(\d+) ?(s|min|h)|(64)\*T1)(.*)$")
        .map_err(|error| error.to_string())?;
    let parts = pattern
        .captures(words)
        .ok_or_else(|| format!("unknown clock: {words}"))?;
    let number = parts.get(1).and_then(|n| n.as_str().parse::<u64>().ok());
    let unit = parts.get(2).map_or("s", |unit| unit.as_str());
    let factor = match unit {
        "h" => 3600,
        "min" => 60,
        _ => 1,
    };
    let limit = Duration::from_secs(number.map_or(32, |number| number * factor));
    let time = match parts.get(4).map_or("", |rest| rest.as_str()).trim() {
        "" => limit + Duration::from_millis(100),
        "plus grace" => limit + GRACE,
        "minus the safety margin" => limit.saturating_sub(MARGIN),
        other => return Err(format!("unknown clock: {other}")),
    };
    Ok((time, limit))
}

/// An instant of RFC 3339 in UTC, as time since 1970.
fn instant(text: &str) -> Option<Duration> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let numbers = |text: &str, sign: char| -> Option<[i64; 3]> {
        let parts: Option<Vec<i64>> = text.split(sign).map(|part| part.parse().ok()).collect();
        parts?.try_into().ok()
    };
    let [year, month, day] = numbers(date, '-')?;
    let [hour, minute, second] = numbers(time, ':')?;
    // Days since 1970-01-01 in the proleptic calendar, with years that begin in March.
    let (y, m) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let era_days = 365 * y + y.div_euclid(4) - y.div_euclid(100) + y.div_euclid(400);
    let days = era_days + (153 * m + 2) / 5 + day - 1 - 719_468;
    let seconds = days * 86_400 + hour * 3_600 + minute * 60 + second;
    u64::try_from(seconds).ok().map(Duration::from_secs)
}
