//! Load and attacks in turns, for as long as is wanted: nothing may add up.
//!
//! Three rounds by default. `STOX_SOAK_MINUTES=60` goes on for that long, and `STOX_SOAK_REPORT` names a file for the memory
//! after each round.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use crate::attacks::{Stage, ask};
use crate::harness::{DEADLINE, Folder, request};
use crate::sip_sink::SipSink;

/// Messages each way in a round.
const MESSAGES: usize = 200;
/// Messages from XMPP that are on their way together.
const AT_ONCE: usize = 50;

/// From SIP to XMPP: a 200 for each, and each stands in one stanza.
fn to_xmpp(stage: &Stage, round: usize) {
    let udp = stage.world.gateway.udp;
    for number in 0..MESSAGES {
        let name = format!("to-xmpp-{round}-{number}.");
        let said = request("MESSAGE", "juliet@xmpp.example", &name, &name)
            .replace("bob@ocs.test", "bob@sip.example");
        let answer = ask(udp, &said);
        assert!(answer.starts_with("SIP/2.0 200"), "{name}: {answer}");
    }
    let heard = stage
        .world
        .xmpp
        .hear(&format!("to-xmpp-{round}-{}.", MESSAGES - 1));
    assert_all_once(heard.iter(), &format!("to-xmpp-{round}-"));
}

/// From XMPP to SIP: one MESSAGE for each, as many at once as one user's queue takes.
fn to_sip(stage: &Stage, sip: &SipSink, round: usize) {
    let deadline = Instant::now() + DEADLINE;
    let mut heard = Vec::new();
    for number in 0..MESSAGES {
        stage.world.xmpp.say(&format!(
            "<message from='juliet@xmpp.example/balcony' to='romeo@sip.example' type='chat' id='{round}-{number}'>\
             <body>to-sip-{round}-{number}.</body></message>"
        ));
        while (number + 1) % AT_ONCE == 0 && heard.len() <= number {
            let left = deadline.saturating_duration_since(Instant::now());
            let request = sip.heard.recv_timeout(left).expect("every message");
            if request.starts_with("MESSAGE ") && request.contains(&format!("to-sip-{round}-")) {
                heard.push(request);
            }
        }
    }
    assert_all_once(heard.iter(), &format!("to-sip-{round}-"));
}

fn assert_all_once<'a>(heard: impl Iterator<Item = &'a String>, name: &str) {
    let mut numbers = HashSet::new();
    for text in heard {
        let Some((_, rest)) = text.split_once(name) else {
            continue;
        };
        let number: usize = rest.split_once('.').unwrap().0.parse().unwrap();
        assert!(numbers.insert(number), "{name}{number} came twice");
    }
    assert_eq!(numbers.len(), MESSAGES, "{name}");
}

/// Connections and streams that the gateway counts.
fn open(stage: &Stage) -> (u64, usize) {
    let output = stage.world.gateway.status();
    let status: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    (
        status["sip"]["connections"].as_u64().unwrap(),
        status["xmpp_inbound"].as_array().unwrap().len(),
    )
}

/// Waits until there are as few as at the start.
fn wait_until_closed(stage: &Stage, before: (u64, usize)) {
    let deadline = Instant::now() + 3 * DEADLINE;
    while open(stage) != before {
        assert!(Instant::now() < deadline, "{:?}", open(stage));
        std::thread::yield_now();
    }
}

#[test]
fn load_and_attacks_in_turns_leave_nothing_behind() {
    let folder = Folder::new("hostile-soak");
    let (mut stage, sip) = Stage::with_sink(&folder);
    let minutes = std::env::var("STOX_SOAK_MINUTES").map_or(0, |text| text.parse().unwrap());
    let until = Instant::now() + Duration::from_secs(60 * minutes);
    let mut report = "| round | minute | memory KiB |\n|---|---|---|\n".to_owned();
    let start = Instant::now();
    let mut before = None;
    let mut round = 0;
    while round < 3 || Instant::now() < until {
        to_xmpp(&stage, round);
        to_sip(&stage, &sip, round);
        let calm = *before.get_or_insert_with(|| open(&stage));
        stage.all_attacks();
        wait_until_closed(&stage, calm);
        let (passed, memory) = (start.elapsed().as_secs() / 60, stage.memory("VmRSS"));
        writeln!(report, "| {round} | {passed} | {memory} |").unwrap();
        round += 1;
    }
    if let Some(file) = std::env::var_os("STOX_SOAK_REPORT") {
        std::fs::write(file, report).unwrap();
    }
}
