//! Holds what the gateway sent in MSRP sessions against what a vector expects.

use serde_json::{Map, Value};

use crate::assertion::{self, Scene, Subject, object};
use crate::judge::matched;
use crate::msrp_text;
use crate::operators::{self, Context};
use crate::output::Output;
use crate::play::Played;
use crate::sip_text::SipText;

/// The answer to the last MSRP request of the vector, or that there is none.
pub(crate) fn response(played: &Played, wanted: &Value, scene: &Scene<'_>) -> Result<(), String> {
    let asked = played
        .asked_msrp
        .last()
        .ok_or("no MSRP request was given")?;
    let answers = |output: &&Output| {
        let msrp = output.msrp().filter(|msrp| msrp.status().is_some());
        msrp.is_some_and(|msrp| msrp.transaction == *asked)
    };
    let answer = scene.window().iter().find(answers);
    if wanted.is_null() {
        return match answer {
            Some(answer) => Err(format!("there is an answer: {}", answer.summary())),
            None => Ok(()),
        };
    }
    let wanted = object(wanted)?;
    assertion::vet_as(Subject::Msrp, wanted)?;
    let answer = answer.ok_or("no answer")?;
    assertion::holds(wanted, answer, scene)
        .map_err(|why| format!("{why} (the answer was {})", answer.summary()))
}

/// Each assertion of the list has a request of its own; one with `after_step` has none before that step.
pub(crate) fn emitted(played: &Played, wanted: &Value, scene: &Scene<'_>) -> Result<(), String> {
    let list = wanted.as_array().ok_or("not a list")?;
    let requests = |from: usize| {
        let sent = scene.outputs.get(from..scene.end).unwrap_or_default();
        let sent = sent.iter().filter(|output| output.msrp_request().is_some());
        sent.collect::<Vec<_>>()
    };
    let all = requests(scene.mark);
    if list.is_empty() {
        return match all.first() {
            Some(output) => Err(format!("nothing was expected, but {}", output.summary())),
            None => Ok(()),
        };
    }
    let mut plain = Vec::new();
    for wanted in list {
        let mut wanted = object(wanted)?.clone();
        if let Some(step) = wanted.remove("after_step") {
            let from = after(played, &step)?;
            let one = [Value::Object(wanted.clone())];
            matched(&one, &requests(from), scene)?;
            early(&wanted, &all, requests(from).len(), scene)?;
        }
        plain.push(Value::Object(wanted));
    }
    matched(&plain, &all, scene).map(|_| ())
}

/// Index of the first output after the beginning of a step, which are counted from 1.
fn after(played: &Played, step: &Value) -> Result<usize, String> {
    let index = step
        .as_u64()
        .and_then(|step| usize::try_from(step).ok()?.checked_sub(1));
    let steps = played.steps.get(index.unwrap_or(usize::MAX));
    steps.copied().ok_or_else(|| format!("no step {step}"))
}

/// None of the requests before the last `late` ones fits.
fn early(
    wanted: &Map<String, Value>,
    all: &[&Output],
    late: usize,
    scene: &Scene<'_>,
) -> Result<(), String> {
    let before = all
        .get(..all.len().saturating_sub(late))
        .unwrap_or_default();
    let fits = |output: &&&Output| assertion::holds(wanted, output, scene).is_ok();
    match before.iter().find(fits) {
        Some(output) => Err(format!("too early: {}", output.summary())),
        None => Ok(()),
    }
}

/// Requests, without those that only bind a connection.
pub(crate) fn count(scene: &Scene<'_>) -> usize {
    let requests = scene.window().iter().filter_map(Output::msrp_request);
    requests.filter(|msrp| !msrp.is_empty_send()).count()
}

/// How many messages reached the peer, in sessions and outside.
pub(crate) fn copies(scene: &Scene<'_>) -> Result<usize, String> {
    let outside = |sip: &&SipText| sip.method() == "MESSAGE" && sip.tag("To").is_none();
    let requests = scene.window().iter().filter_map(Output::request);
    let pages = requests.filter(outside).count();
    Ok(pages + msrp_text::payloads(scene.window())?.len())
}

/// The messages of the sessions, in order.
pub(crate) fn payload(wanted: &Value, scene: &Scene<'_>) -> Result<(), String> {
    let found = msrp_text::payloads(scene.window())?;
    let found: Vec<Value> = found
        .iter()
        .map(|body| Value::from(String::from_utf8_lossy(body)))
        .collect();
    match wanted.as_array() == Some(&found) {
        true => Ok(()),
        false => Err(format!("wanted {wanted}, found {}", Value::from(found))),
    }
}

/// All messages of the sessions as one text.
pub(crate) fn payload_total(wanted: &Value, scene: &Scene<'_>) -> Result<(), String> {
    let all = msrp_text::payloads(scene.window())?.concat();
    let text = String::from_utf8(all).map_err(|_| "the messages are no UTF-8")?;
    operators::all(
        object(wanted)?,
        Some(&Value::from(text)),
        &Context::default(),
    )
}
