//! Every SIP message of the corpus (RFC 4475, RFC 5118 and our own) against the verdict of its index.

// Helpers of tests may fail a test.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod invariants;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use stox_sip::framing::{Frame, StreamFramer};
use stox_sip::message::Message;
use stox_sip::method::Method;
use stox_sip::parse::ParseError;
use stox_sip::validate::{Offer, validate_request, validate_response, validate_support};

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/corpus")
}

/// Where this layer says something else than the index, which speaks of the whole gateway:
/// file, transport, what this layer says, why.
const ELSEWHERE: &[(&str, &str, &str, &str)] = &[
    (
        "lim-multipart-nobound",
        "udp",
        "accept",
        "parts are cut by the body reader",
    ),
    (
        "lim-multipart-nobound",
        "tcp",
        "accept",
        "parts are cut by the body reader",
    ),
    (
        "rfc4475-clerr",
        "tcp",
        "wait",
        "on a stream the rest of the body may still come; idle streams are closed by the transport",
    ),
    (
        "sem-ack-stray",
        "udp",
        "accept",
        "transactions know what an ACK belongs to",
    ),
    (
        "sem-ack-stray",
        "tcp",
        "accept",
        "transactions know what an ACK belongs to",
    ),
    ("sem-bye-nodialog", "udp", "accept", "dialogs"),
    ("sem-bye-nodialog", "tcp", "accept", "dialogs"),
    ("sem-cancel-nomatch", "udp", "accept", "transactions"),
    ("sem-cancel-nomatch", "tcp", "accept", "transactions"),
    (
        "sem-ctype-unknown",
        "udp",
        "accept",
        "the reader of bodies knows the types it takes",
    ),
    (
        "sem-ctype-unknown",
        "tcp",
        "accept",
        "the reader of bodies knows the types it takes",
    ),
    ("sem-notify-nosub", "udp", "accept", "subscriptions"),
    ("sem-notify-nosub", "tcp", "accept", "subscriptions"),
    (
        "sem-resp-stray",
        "udp",
        "accept",
        "transactions know what was sent",
    ),
    (
        "sem-resp-stray",
        "tcp",
        "accept",
        "transactions know what was sent",
    ),
    (
        "sem-sdp-garbage",
        "udp",
        "accept",
        "session descriptions are read by the session",
    ),
    (
        "sem-sdp-garbage",
        "tcp",
        "accept",
        "session descriptions are read by the session",
    ),
    ("sem-sub-totag", "udp", "accept", "dialogs"),
    ("sem-sub-totag", "tcp", "accept", "dialogs"),
    (
        "spoof-from-gateway",
        "udp",
        "accept",
        "policy knows who may say what",
    ),
    (
        "spoof-from-gateway",
        "tcp",
        "accept",
        "policy knows who may say what",
    ),
    (
        "rfc4475-esc02",
        "udp",
        "reject:501",
        "the message is legal, its method served by nobody",
    ),
    (
        "rfc4475-esc02",
        "tcp",
        "reject:501",
        "the message is legal, its method served by nobody",
    ),
    (
        "rfc4475-intmeth",
        "udp",
        "reject:501",
        "the message is legal, its method served by nobody",
    ),
    (
        "rfc4475-intmeth",
        "tcp",
        "reject:501",
        "the message is legal, its method served by nobody",
    ),
    (
        "rfc4475-inv2543",
        "tcp",
        "reject:400+close",
        "no Content-Length: legal in a datagram only (RFC 3261 §18.3)",
    ),
    (
        "rfc4475-invut",
        "udp",
        "accept",
        "the reader of bodies knows the types it takes",
    ),
    (
        "rfc4475-invut",
        "tcp",
        "accept",
        "the reader of bodies knows the types it takes",
    ),
    (
        "rfc4475-noreason",
        "udp",
        "accept",
        "transactions know what was sent",
    ),
    (
        "rfc4475-noreason",
        "tcp",
        "accept",
        "transactions know what was sent",
    ),
    (
        "rfc4475-unreason",
        "udp",
        "accept",
        "transactions know what was sent",
    ),
    (
        "rfc4475-unreason",
        "tcp",
        "accept",
        "transactions know what was sent",
    ),
    (
        "v-invite-audio",
        "udp",
        "accept",
        "the session knows what it offers",
    ),
    (
        "v-invite-audio",
        "tcp",
        "accept",
        "the session knows what it offers",
    ),
];

fn of_error(error: &ParseError) -> String {
    match error.response() {
        Some(response) => format!("reject:{}", response.status),
        None => "ignore".to_owned(),
    }
}

fn of_message(message: &Message) -> String {
    let offer = Offer {
        methods: Method::KNOWN,
        extensions: &[],
    };
    match message {
        Message::Request(request) => {
            match validate_request(request).and_then(|()| validate_support(request, &offer)) {
                Ok(()) => "accept".to_owned(),
                Err(rejection) => format!("reject:{}", rejection.status),
            }
        }
        Message::Response(response) => match validate_response(response) {
            Ok(()) => "accept".to_owned(),
            Err(_) => "ignore".to_owned(),
        },
    }
}

fn over_udp(octets: &[u8]) -> String {
    match Message::parse_datagram(octets) {
        Ok(message) => of_message(&message),
        Err(error) => of_error(&error),
    }
}

/// The first thing that is not a keep-alive.
fn over_tcp(octets: &[u8]) -> String {
    let mut framer = StreamFramer::default();
    framer.push(octets);
    loop {
        match framer.poll_frame() {
            Ok(Some(Frame::Message(message))) => return of_message(&message),
            Ok(Some(Frame::Malformed(error))) => return of_error(&error),
            Ok(Some(Frame::KeepAlivePing | Frame::KeepAlivePong)) => {}
            Ok(None) => return "wait".to_owned(),
            Err(error) => return format!("{}+close", of_error(&error)),
        }
    }
}

/// `tolerate` is accept or 400; `close` allows any answer before it.
fn allowed(expected: &str, verdict: &str) -> bool {
    let (answer, closes) = match verdict.strip_suffix("+close") {
        Some(answer) => (answer, true),
        None => (verdict, false),
    };
    expected
        .split('|')
        .any(|alternative| match alternative.split_once(':') {
            Some((kind, codes)) => codes
                .split(',')
                .any(|code| format!("{kind}:{code}") == answer),
            None if alternative == "tolerate" => matches!(answer, "accept" | "reject:400"),
            None if alternative == "close" => closes,
            None => alternative == answer,
        })
}

#[test]
fn every_message_gets_the_verdict_of_the_index() {
    let index = std::fs::read_to_string(corpus().join("INDEX.tsv")).unwrap();
    let mut elsewhere: BTreeMap<(&str, &str), &str> = ELSEWHERE
        .iter()
        .map(|(file, transport, verdict, _)| ((*file, *transport), *verdict))
        .collect();
    assert_eq!(elsewhere.len(), ELSEWHERE.len(), "one line each");
    let mut wrong = Vec::new();
    let mut seen = 0;
    for row in index.lines().filter(|row| row.starts_with("sip/")) {
        let columns: Vec<&str> = row.split('\t').collect();
        let octets = std::fs::read(corpus().join(columns[0])).unwrap();
        let name = columns[0]
            .rsplit('/')
            .next()
            .unwrap()
            .trim_end_matches(".sip");
        for transport in columns[5].split(',') {
            seen += 1;
            let verdict = if transport == "udp" {
                over_udp(&octets)
            } else {
                over_tcp(&octets)
            };
            let fits = allowed(columns[2], &verdict);
            match elsewhere.remove(&(name, transport)) {
                None if fits => {}
                Some(ours) if !fits && ours == verdict => {}
                listed => wrong.push(format!(
                    "{name} {transport}: {verdict}, index {}, listed {listed:?}",
                    columns[2]
                )),
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(elsewhere.is_empty(), "not in the index: {elsewhere:?}");
    assert!(seen > 200, "the corpus is there");
}

#[test]
fn the_index_names_every_file() {
    let index = std::fs::read_to_string(corpus().join("INDEX.tsv")).unwrap();
    for folder in ["sip/valid", "sip/invalid"] {
        for entry in std::fs::read_dir(corpus().join(folder)).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            let start = format!("{folder}/{name}\t");
            assert!(index.lines().any(|row| row.starts_with(&start)), "{start}");
        }
    }
}

/// The octets that fuzzing starts from, and those that it found worth keeping.
#[test]
fn invariants_hold_for_the_corpora() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus");
    let folders = [
        corpus().join("sip/valid"),
        corpus().join("sip/invalid"),
        fuzz.join("sip_message"),
        fuzz.join("sip_stream"),
    ];
    for folder in folders {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let octets = std::fs::read(entry.unwrap().path()).unwrap();
            invariants::datagram(&octets);
            invariants::stream(&octets, &[0, 7, 1, 40, 2, 255]);
        }
    }
}
