//! Holds what the gateway did against what a vector expects.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use regex::Regex;
use serde_json::{Map, Value};

use crate::assertion::{self, Scene, object};
use crate::given::{Event, Given};
use crate::operators::Context;
use crate::output::Output;
use crate::play::{Asked, Played, suits};
use crate::sip_text::SipText;
use crate::{fill, judge_msrp, pidf, stanza_path, states};

/// How long the gateway has for what it owes: longer than its least time between two NOTIFYs.
const WAIT: Duration = Duration::from_secs(6);
/// How long "later" may be.
const LATER: Duration = Duration::from_secs(86_400);
/// What a subscription of ours has left when its state is reached.
const SUBSCRIPTION_LEFT: Duration = Duration::from_secs(1800);

/// Keys that explain or allow and assert nothing.
const SAYS_NOTHING: [&str; 7] = [
    "note",
    "notes",
    "applies_on_wire",
    "allow",
    "then_optional",
    "emit_xmpp_optional",
    "emit_sip_optional",
];

/// Runs the vector's expectations.
///
/// # Errors
/// The first that does not hold.
pub(crate) fn judge(mut played: Played, expect: &Map<String, Value>) -> Result<(), String> {
    let mut expect = expect.clone();
    afterwards(&mut played, &mut expect)?;
    played.world.run_for(WAIT)?;
    let end = played.world.outputs.len();
    by_status(&played, &mut expect)?;
    let (late, immediate): (Map<_, _>, Map<_, _>) =
        expect.into_iter().partition(|(key, _)| is_late(key));
    all(&played, end, &immediate)?;
    for (key, wanted) in &late {
        probe(&mut played, key, wanted).map_err(|why| format!("{key}: {why}"))?;
    }
    for (key, wanted) in immediate.iter().chain(&late) {
        let outcome = in_time(&mut played, end, key, wanted);
        outcome.map_err(|why| format!("{key}: {why}"))?;
    }
    Ok(())
}

/// What happens only after the given events, although the vector lists it among its expectations.
fn afterwards(played: &mut Played, expect: &mut Map<String, Value>) -> Result<(), String> {
    let mut given = Map::new();
    for (key, name) in [("then_clock", "clock"), ("then_event", "step1_event")] {
        given.extend(expect.remove(key).map(|value| (name.to_owned(), value)));
    }
    let then = expect.remove("then");
    let mut events: Vec<Event> = Vec::new();
    for given in [Some(Value::Object(given)), then].into_iter().flatten() {
        let read = Given::read(object(&given)?)?;
        played.limit = read.limit.or(played.limit);
        events.extend(read.events);
    }
    let last = played.last;
    played.all(&events)?;
    played.last = last;
    Ok(())
}

/// `if_status_is`: with that answer, other outputs are expected.
fn by_status(played: &Played, expect: &mut Map<String, Value>) -> Result<(), String> {
    let Some(cases) = expect.remove("if_status_is") else {
        return Ok(());
    };
    let answer = played
        .asked
        .last()
        .and_then(|asked| answer_to(played, asked));
    let status = answer
        .and_then(Output::sip)
        .and_then(SipText::status)
        .unwrap_or_default();
    if let Some(instead) = object(&cases)?.get(&status.to_string()) {
        expect.retain(|key, _| !key.starts_with("emit_"));
        expect.extend(object(instead)?.clone());
    }
    Ok(())
}

/// Keys that are seen only by sending more or by letting time pass.
fn is_late(key: &str) -> bool {
    matches!(
        key,
        "dialog" | "subscription_state" | "session" | "later_sip_request" | "after_expiry_forbid"
    )
}

fn all(played: &Played, end: usize, expect: &Map<String, Value>) -> Result<(), String> {
    for (key, wanted) in expect {
        one(played, end, key, wanted, expect).map_err(|why| format!("{key}: {why}"))?;
    }
    Ok(())
}

fn one(
    played: &Played,
    end: usize,
    key: &str,
    wanted: &Value,
    expect: &Map<String, Value>,
) -> Result<(), String> {
    let scene = played.scene(end);
    if let Some(count) = counted(played, &scene, key)? {
        return assertion::value(key, wanted, Some(&Value::from(count)), &Context::default());
    }
    if let Some(method) = key.strip_prefix("response_to_") {
        let asked = played
            .asked
            .iter()
            .find(|asked| asked.method.eq_ignore_ascii_case(method));
        return answer_holds(played, asked, wanted, &scene);
    }
    match key {
        _ if SAYS_NOTHING.contains(&key) => Ok(()),
        "sip_response" => answer_holds(played, played.asked.last(), wanted, &scene),
        "mapped_sip_response" => answer_holds(played, played.asked.first(), wanted, &scene),
        "emit_xmpp"
        | "emit_sip_requests"
        | "emit_xmpp_contains"
        | "emit_sip_contains"
        | "emit_sip_requests_contains" => emitted(&scene, key, wanted, expect),
        "forbid" | "emit_xmpp_forbid" | "emit_sip_forbid" | "emit_sip_requests_forbid" => {
            forbidden(scene.window(), wanted, &scene)
        }
        "msrp_response" => judge_msrp::response(played, wanted, &scene),
        "emit_msrp" => judge_msrp::emitted(played, wanted, &scene),
        "session_payload" => judge_msrp::payload(wanted, &scene),
        "session_payload_total" => judge_msrp::payload_total(wanted, &scene),
        "one_of" => alternatives(played, end, wanted),
        "last_sip_request" => last_request(&scene, wanted),
        "order" => ordered(&scene, wanted, expect),
        "order_of_bodies" => bodies(&scene, wanted),
        "authorization" => authorization(played, wanted),
        "never" => well_formed(&scene),
        "alternative" => alternative_words(wanted),
        "sip_responses_equal" => equal_responses(&scene, wanted),
        "branches_distinct" => distinct_branches(&scene, wanted),
        "overlapping_transactions_to_same_uri" => overlapping(played, &scene, wanted),
        "pidf.tuple[0].id_equal_across_notifies" => stable_ids(&scene, wanted),
        "deadline_s" => deadline(played, &scene, wanted),
        "deadline" => deadline_words(played, &scene, wanted),
        _ => Err("unknown expectation".to_owned()),
    }
}

// ---------------------------------------------------------------------------------------------- answers

/// The final answer to a request of the vector, else a provisional one.
fn answer_to<'a>(played: &'a Played, asked: &Asked) -> Option<&'a Output> {
    let answers = || {
        let outputs = played.world.outputs.iter();
        outputs.filter(|output| {
            output
                .response()
                .is_some_and(|sip| asked.is_answered_by(sip))
        })
    };
    let is_final = |output: &&Output| {
        output
            .sip()
            .and_then(SipText::status)
            .is_some_and(|status| status >= 200)
    };
    answers().find(is_final).or_else(|| answers().next())
}

fn answer_holds(
    played: &Played,
    asked: Option<&Asked>,
    wanted: &Value,
    scene: &Scene<'_>,
) -> Result<(), String> {
    let wanted = object(wanted)?;
    assertion::vet(wanted)?;
    let asked = asked.ok_or("no request was given")?;
    let answer = answer_to(played, asked).ok_or("no answer")?;
    assertion::holds(wanted, answer, scene)
        .map_err(|why| format!("{why} (the answer was {})", answer.summary()))
}

// ---------------------------------------------------------------------------------------------- counts

/// A count, for keys that ask for one.
fn counted(played: &Played, scene: &Scene<'_>, key: &str) -> Result<Option<usize>, String> {
    let within =
        Regex::new(r"^(emit_\w+_count)_within_(\d+)_?s$").map_err(|error| error.to_string())?;
    let parts = within.captures(key);
    let base = parts
        .as_ref()
        .and_then(|parts| parts.get(1))
        .map_or(key, |base| base.as_str());
    let seconds = parts
        .as_ref()
        .and_then(|parts| parts.get(2))
        .and_then(|s| s.as_str().parse().ok());
    let until = seconds.map_or(Duration::MAX, |s: u64| {
        played.started.saturating_add(Duration::from_secs(s))
    });
    let window = || scene.window().iter().filter(|output| output.at <= until);
    let requests = || window().filter_map(Output::request);
    Ok(match base {
        "emit_xmpp_count" => Some(window().filter_map(Output::stanza).count()),
        // An ACK is the end of its INVITE.
        "emit_sip_request_count" | "emit_sip_requests_count" => {
            Some(requests().filter(|sip| sip.method() != "ACK").count())
        }
        "emit_sip_invite_count" => Some(requests().filter(|sip| sip.method() == "INVITE").count()),
        "emit_sip_message_count" => {
            Some(requests().filter(|sip| sip.method() == "MESSAGE").count())
        }
        "emit_sip_notify_count" => Some(requests().filter(|sip| sip.method() == "NOTIFY").count()),
        "emit_sip_subscribe_count" => {
            Some(requests().filter(|sip| sip.method() == "SUBSCRIBE").count())
        }
        "emit_msrp_count" => Some(judge_msrp::count(scene)),
        "delivered_copies" => Some(judge_msrp::copies(scene)?),
        // Answers to earlier steps do not count.
        "emit_sip_response_count" => {
            let since = scene
                .outputs
                .get(played.last..scene.end)
                .unwrap_or_default();
            Some(since.iter().filter_map(Output::response).count())
        }
        _ => None,
    })
}

// ---------------------------------------------------------------------------------------------- outputs

/// Each assertion of the list has an output of its own. An empty list, and a subset too, say what they say.
fn emitted(
    scene: &Scene<'_>,
    key: &str,
    wanted: &Value,
    expect: &Map<String, Value>,
) -> Result<(), String> {
    let list = wanted.as_array().ok_or("not a list")?;
    let of_kind: Vec<&Output> = scene
        .window()
        .iter()
        .filter(|output| is_of_kind(key, output))
        .collect();
    if list.is_empty() && !key.ends_with("_contains") {
        let delayed =
            expect.get("alternative").is_some() && of_kind.iter().all(|output| is_delayed(output));
        return match of_kind.first() {
            Some(output) if !delayed => {
                Err(format!("nothing was expected, but {}", output.summary()))
            }
            _ => Ok(()),
        };
    }
    matched(list, &of_kind, scene).map(|_| ())
}

fn is_of_kind(key: &str, output: &Output) -> bool {
    if key.starts_with("emit_xmpp") {
        output.stanza().is_some()
    } else if key == "emit_sip_contains" {
        output.sip().is_some()
    } else {
        output.request().is_some()
    }
}

/// For each assertion the index of its output.
pub(crate) fn matched(
    list: &[Value],
    outputs: &[&Output],
    scene: &Scene<'_>,
) -> Result<Vec<usize>, String> {
    let mut rows = Vec::new();
    let mut reasons = Vec::new();
    for wanted in list {
        let wanted = object(wanted)?;
        assertion::vet(wanted)?;
        let results: Vec<_> = outputs
            .iter()
            .map(|output| assertion::holds(wanted, output, scene))
            .collect();
        if results.iter().all(Result::is_err) {
            let whys = results.iter().zip(outputs).filter_map(|(result, output)| {
                result
                    .as_ref()
                    .err()
                    .map(|why| format!("\n      {why}\n        in {}", output.summary()))
            });
            let whys: String = whys.collect();
            let whys = if whys.is_empty() {
                " nothing was sent".to_owned()
            } else {
                whys
            };
            reasons.push(format!(
                "no output for {}:{whys}",
                Value::Object(wanted.clone())
            ));
        }
        rows.push(results.iter().map(Result::is_ok).collect());
    }
    if let Some(reason) = reasons.into_iter().next() {
        return Err(reason);
    }
    assertion::assign(&rows).ok_or_else(|| "two assertions share one output".to_owned())
}

fn is_delayed(output: &Output) -> bool {
    let stamp = output
        .stanza()
        .map(|stanza| stanza_path::lookup(stanza, "delay.stamp"));
    matches!(stamp, Some(Ok(Some(_))))
}

fn alternative_words(wanted: &Value) -> Result<(), String> {
    match wanted.as_str() {
        Some("delivered with an XEP-0203 delay stamp") => Ok(()),
        _ => Err("unknown alternative".to_owned()),
    }
}

fn forbidden(outputs: &[Output], wanted: &Value, scene: &Scene<'_>) -> Result<(), String> {
    forbidden_in(outputs, wanted.as_array().ok_or("not a list")?, scene)
}

fn forbidden_in(outputs: &[Output], list: &[Value], scene: &Scene<'_>) -> Result<(), String> {
    for wanted in list {
        let wanted = object(wanted)?;
        assertion::vet(wanted)?;
        let fits = |output: &&Output| {
            suits(wanted, output) && assertion::holds(wanted, output, scene).is_ok()
        };
        if let Some(output) = outputs.iter().find(fits) {
            return Err(format!("forbidden: {}", output.summary()));
        }
    }
    Ok(())
}

fn alternatives(played: &Played, end: usize, wanted: &Value) -> Result<(), String> {
    let mut reasons = Vec::new();
    for alternative in wanted.as_array().into_iter().flatten() {
        match all(played, end, object(alternative)?) {
            Ok(()) => return Ok(()),
            Err(why) => reasons.push(why),
        }
    }
    Err(format!("no alternative holds: {}", reasons.join("; or ")))
}

fn last_request(scene: &Scene<'_>, wanted: &Value) -> Result<(), String> {
    let wanted = object(wanted)?;
    assertion::vet(wanted)?;
    let last = scene
        .window()
        .iter()
        .rev()
        .find(|output| output.request().is_some());
    let last = last.ok_or("no request was sent")?;
    assertion::holds(wanted, last, scene).map_err(|why| format!("{why} in {}", last.summary()))
}

fn ordered(scene: &Scene<'_>, wanted: &Value, expect: &Map<String, Value>) -> Result<(), String> {
    if wanted.as_str() != Some("as listed") {
        return Err("unknown order".to_owned());
    }
    for key in ["emit_xmpp", "emit_sip_requests"] {
        let Some(list) = expect.get(key).and_then(Value::as_array) else {
            continue;
        };
        let mut outputs: &[Output] = scene.window();
        for wanted in list {
            let wanted = object(wanted)?;
            let fits = |output: &Output| {
                is_of_kind(key, output) && assertion::holds(wanted, output, scene).is_ok()
            };
            let at = outputs
                .iter()
                .position(fits)
                .ok_or_else(|| format!("{key} is not in the order listed"))?;
            outputs = outputs.get(at + 1..).unwrap_or_default();
        }
    }
    Ok(())
}

fn bodies(scene: &Scene<'_>, wanted: &Value) -> Result<(), String> {
    let stanza_bodies = scene
        .window()
        .iter()
        .filter_map(Output::stanza)
        .filter(|s| s.name() == "message");
    let mut found: Vec<Value> = stanza_bodies
        .filter_map(|stanza| stanza_path::lookup(stanza, "body").ok().flatten())
        .collect();
    let requests = scene
        .window()
        .iter()
        .filter_map(Output::request)
        .filter(|sip| sip.method() == "MESSAGE");
    found.extend(requests.map(|sip| Value::from(String::from_utf8_lossy(&sip.body).into_owned())));
    if wanted.as_array() == Some(&found) {
        return Ok(());
    }
    Err(format!("wanted {wanted}, found {}", Value::from(found)))
}

fn well_formed(scene: &Scene<'_>) -> Result<(), String> {
    let broken = scene
        .window()
        .iter()
        .filter_map(Output::stanza)
        .find(|s| !stanza_path::is_well_formed(s));
    match broken {
        Some(stanza) => Err(format!("not well-formed: {}", String::from(stanza))),
        None => Ok(()),
    }
}

fn equal_responses(scene: &Scene<'_>, wanted: &Value) -> Result<(), String> {
    let responses: Vec<&SipText> = scene.window().iter().filter_map(Output::response).collect();
    let first = responses.first().ok_or("no response")?;
    let same = responses.iter().all(|sip| sip.raw == first.raw);
    if Some(same) == wanted.as_bool() {
        return Ok(());
    }
    let starts: Vec<&str> = responses.iter().map(|sip| sip.start.as_str()).collect();
    Err(format!("the responses are {starts:?}"))
}

fn distinct_branches(scene: &Scene<'_>, wanted: &Value) -> Result<(), String> {
    let branches: Vec<_> = scene
        .window()
        .iter()
        .filter_map(Output::request)
        .map(SipText::branch)
        .collect();
    let distinct: BTreeSet<_> = branches.iter().collect();
    let same = distinct.len() == branches.len() && branches.len() > 1;
    if Some(same) == wanted.as_bool() {
        Ok(())
    } else {
        Err(format!("the branches are {branches:?}"))
    }
}

/// How many transactions began while an earlier one to the same Request-URI had no answer.
fn overlapping(played: &Played, scene: &Scene<'_>, wanted: &Value) -> Result<(), String> {
    let mut busy: BTreeMap<String, Duration> = BTreeMap::new();
    let mut count = 0_u64;
    for (index, output) in scene.outputs.iter().enumerate().skip(scene.mark) {
        let Some(uri) = output.request().and_then(SipText::request_uri) else {
            continue;
        };
        let until = played
            .world
            .answered_at
            .get(&index)
            .copied()
            .unwrap_or(Duration::MAX);
        let before = busy.insert(uri.to_owned(), until);
        count += u64::from(before.is_some_and(|before| before > output.at));
    }
    assertion::value("", wanted, Some(&Value::from(count)), &Context::default())
}

fn stable_ids(scene: &Scene<'_>, wanted: &Value) -> Result<(), String> {
    let with_document = |sip: &&SipText| pidf::document(sip).is_some();
    let requests = scene
        .window()
        .iter()
        .filter_map(Output::request)
        .filter(with_document);
    let ids: Result<Vec<_>, _> = requests
        .map(|sip| pidf::lookup(sip, "tuple[0].id"))
        .collect();
    let ids = ids?;
    let same = ids.len() > 1 && ids.iter().all(|id| id.is_some() && Some(id) == ids.first());
    if Some(same) == wanted.as_bool() {
        Ok(())
    } else {
        Err(format!("the ids are {ids:?}"))
    }
}

// ------------------------------------------------------------------------------------------------ time

/// Everything that the vector's part sent first of each kind came in time.
fn deadline(played: &Played, scene: &Scene<'_>, wanted: &Value) -> Result<(), String> {
    let seconds = wanted.as_f64().ok_or("not a number")?;
    let end = played.started + Duration::from_secs_f64(seconds);
    let kinds: [fn(&Output) -> bool; 3] = [
        |output| output.response().is_some(),
        |output| output.request().is_some(),
        |output| output.stanza().is_some(),
    ];
    for kind in kinds {
        let first = scene.window().iter().find(|output| kind(output));
        if let Some(late) = first.filter(|output| output.at > end) {
            return Err(format!("too late: {}", late.summary()));
        }
    }
    Ok(())
}

fn deadline_words(played: &Played, scene: &Scene<'_>, wanted: &Value) -> Result<(), String> {
    let pattern =
        Regex::new(r"^at least (\d+) s before expiry$").map_err(|error| error.to_string())?;
    let parts = wanted
        .as_str()
        .and_then(|words| pattern.captures(words))
        .ok_or("unknown deadline")?;
    let before = parts
        .get(1)
        .and_then(|s| s.as_str().parse().ok())
        .unwrap_or_default();
    let expiry = played.started + played.limit.unwrap_or(SUBSCRIPTION_LEFT);
    let end = expiry.saturating_sub(Duration::from_secs(before));
    let mut requests = scene
        .window()
        .iter()
        .filter(|output| output.request().is_some());
    if requests.any(|output| output.at <= end) {
        Ok(())
    } else {
        Err("nothing was sent by then".to_owned())
    }
}

/// What takes more time to see.
fn in_time(played: &mut Played, end: usize, key: &str, wanted: &Value) -> Result<(), String> {
    match key {
        "forbid" => {
            for forbidden in wanted.as_array().into_iter().flatten() {
                if let Some(seconds) = forbidden.get("within_s").and_then(Value::as_u64) {
                    let until = played.started + Duration::from_secs(seconds);
                    played.world.run_until(until, |_| false)?;
                    let scene = played.scene(played.world.outputs.len());
                    let outputs = scene.outputs.get(end..).unwrap_or_default();
                    forbidden_in(outputs, std::slice::from_ref(forbidden), &scene)?;
                }
            }
            Ok(())
        }
        "later_sip_request" => later(played, wanted),
        "after_expiry_forbid" => {
            played
                .world
                .run_until(played.started + SUBSCRIPTION_LEFT, |_| false)?;
            let from = played.world.outputs.len();
            played.world.run_for(SUBSCRIPTION_LEFT * 2)?;
            let scene = played.scene(played.world.outputs.len());
            let outputs = scene.outputs.get(from..).unwrap_or_default();
            forbidden(outputs, wanted, &scene)
        }
        _ => Ok(()),
    }
}

fn later(played: &mut Played, wanted: &Value) -> Result<(), String> {
    let wanted = object(wanted)?;
    assertion::vet(wanted)?;
    let mark = played.mark;
    let known = played.known.clone();
    let end = played.world.elapsed() + LATER;
    let mut seen = mark;
    let found = played.world.run_until(end, |outputs| {
        let scene = Scene {
            outputs,
            mark,
            end: outputs.len(),
            known: &known,
        };
        let fresh = outputs.get(seen..).unwrap_or_default();
        seen = outputs.len();
        fresh.iter().any(|output| {
            output.request().is_some() && assertion::holds(wanted, output, &scene).is_ok()
        })
    })?;
    if found {
        Ok(())
    } else {
        Err("it is never sent".to_owned())
    }
}

// ------------------------------------------------------------------------------------------------ state

/// What the store holds for alma and bruno.
fn authorization(played: &Played, wanted: &Value) -> Result<(), String> {
    let kept = played.world.grants.contains_key(&states::pair());
    match (wanted.as_str(), kept) {
        (Some("kept"), true) | (Some("cancelled" | "removed" | "none"), false) => Ok(()),
        (Some("kept" | "cancelled" | "removed" | "none"), _) => Err(format!(
            "the authorisation is {}",
            if kept { "kept" } else { "gone" }
        )),
        _ => Err("unknown state".to_owned()),
    }
}

/// Asks the gateway about a state by sending something that belongs to it.
fn probe(played: &mut Played, key: &str, wanted: &Value) -> Result<(), String> {
    let state = wanted.as_str().unwrap_or_default();
    match (key, state) {
        ("dialog", "terminated") => in_dialog(played, true),
        ("dialog", "kept" | "active" | "confirmed") => in_dialog(played, false),
        ("subscription_state", "failed" | "terminated") => notified(played, 481, false),
        ("subscription_state", "neutral" | "pending") => notified(played, 200, true),
        ("subscription_state", "active") => notified(played, 200, false),
        ("session", "kept") => in_session(played, 200),
        ("session", "ended" | "terminated") => in_session(played, 481),
        ("dialog" | "subscription_state" | "session", _) => Err(format!("unknown state: {state}")),
        _ => Ok(()),
    }
}

/// A further request in the dialog that the vector is about: 481 when it is over.
fn in_dialog(played: &mut Played, over: bool) -> Result<(), String> {
    let text = if let Some(subscribe) = states::last_subscribe(&played.world, played.mark) {
        states::notify(subscribe, 1_000, "active;expires=1800", "")
    } else {
        let text = "SUBSCRIBE {{gateway_contact}} SIP/2.0\r\n\
             Via: SIP/2.0/TLS edge.ocs.example:5061;branch=z9hG4bK-probe\r\nMax-Forwards: 70\r\n\
             From: <sip:bruno@ocs.example>;tag=w1\r\nTo: <sip:alma@jabber.example>;tag={{totag}}\r\n\
             Call-ID: s2x-1@ocs.example\r\nCSeq: 1000 SUBSCRIBE\r\n\
             Contact: <sip:bruno@edge.ocs.example:5061;transport=tls>\r\nEvent: presence\r\n\
             Expires: 600\r\nContent-Length: 0\r\n\r\n";
        fill::sip(&played.world, text)
    };
    let status = ask(played, &text)?;
    if (status == 481) == over {
        Ok(())
    } else {
        Err(format!("a request in the dialog is answered with {status}"))
    }
}

/// A further request in the session of the vector.
fn in_session(played: &mut Played, status: u16) -> Result<(), String> {
    let text = "INFO {{gateway_contact}} SIP/2.0\r\n\
         Via: SIP/2.0/TLS edge.ocs.example:5061;branch=z9hG4bK-probe\r\nMax-Forwards: 70\r\n\
         From: <sip:bruno@ocs.example>;tag=i1\r\nTo: <sip:alma@jabber.example>;tag={{totag}}\r\n\
         Call-ID: ocs-1@ocs.example\r\nCSeq: 1000 INFO\r\nContent-Length: 0\r\n\r\n";
    let answer = ask(played, &fill::sip(&played.world, text))?;
    if answer == status {
        Ok(())
    } else {
        Err(format!(
            "a request in the session is answered with {answer}"
        ))
    }
}

/// The first NOTIFY of the subscription: how it is answered, and whether it brings `subscribed` about.
fn notified(played: &mut Played, status: u16, grants: bool) -> Result<(), String> {
    let before = played.world.outputs.len();
    let subscribe = states::last_subscribe(&played.world, played.mark)
        .or_else(|| states::last_subscribe(&played.world, usize::MAX))
        .ok_or("the gateway has never subscribed")?;
    let text = states::notify(subscribe, 1_000, "active;expires=1800", "");
    let answer = ask(played, &text)?;
    if answer != status {
        return Err(format!("a NOTIFY is answered with {answer}"));
    }
    let mut stanzas = played
        .world
        .outputs
        .iter()
        .skip(before)
        .filter_map(Output::stanza);
    let granted = stanzas.any(|stanza| stanza.attr("type") == Some("subscribed"));
    if granted == grants {
        Ok(())
    } else {
        Err(format!("subscribed was sent: {granted}"))
    }
}

fn ask(played: &mut Played, text: &str) -> Result<u16, String> {
    let before = played.world.outputs.len();
    played.world.sip(text.as_bytes())?;
    played.world.settle()?;
    let mut responses = played
        .world
        .outputs
        .iter()
        .skip(before)
        .filter_map(Output::response);
    responses
        .find_map(SipText::status)
        .ok_or_else(|| "no answer".to_owned())
}
