//! Invariants of the bodies on damaged documents, and on the corpora of the fuzz targets.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::expect_used
)]

use std::path::{Path, PathBuf};

use proptest::prelude::*;

mod body_invariants;

fn files(folder: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .join(folder);
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    paths
        .iter()
        .map(|path| std::fs::read(path).unwrap())
        .collect()
}

/// Small documents to start from.
fn seeds(folder: &str) -> Vec<Vec<u8>> {
    files(folder)
        .into_iter()
        .filter(|seed| !seed.is_empty() && seed.len() < 2000)
        .collect()
}

/// One change of a document.
#[derive(Debug, Clone)]
enum Change {
    Set(prop::sample::Index, u8),
    Insert(prop::sample::Index, u8),
    Remove(prop::sample::Index, usize),
    Repeat(prop::sample::Index, usize),
}

fn change() -> impl Strategy<Value = Change> {
    let octet = || {
        prop_oneof![
            any::<u8>(),
            proptest::sample::select(b"<>&;/'\"= -\r\n".to_vec())
        ]
    };
    prop_oneof![
        (any::<prop::sample::Index>(), octet()).prop_map(|(at, octet)| Change::Set(at, octet)),
        (any::<prop::sample::Index>(), octet()).prop_map(|(at, octet)| Change::Insert(at, octet)),
        (any::<prop::sample::Index>(), 1..40_usize)
            .prop_map(|(at, length)| Change::Remove(at, length)),
        (any::<prop::sample::Index>(), 1..80_usize)
            .prop_map(|(at, length)| Change::Repeat(at, length)),
    ]
}

fn damaged(seed: &[u8], changes: &[Change]) -> Vec<u8> {
    let mut octets = seed.to_vec();
    for change in changes {
        let length = octets.len().max(1);
        match change {
            Change::Set(at, octet) => {
                let at = at.index(length);
                octets.splice(at..(at + 1).min(octets.len()), [*octet]);
            }
            Change::Insert(at, octet) => octets.insert(at.index(length).min(octets.len()), *octet),
            Change::Remove(at, count) => {
                let at = at.index(length).min(octets.len());
                octets.drain(at..(at + count).min(octets.len()));
            }
            Change::Repeat(at, count) => {
                let at = at.index(length).min(octets.len());
                let piece = octets[at..(at + count).min(octets.len())].to_vec();
                octets.splice(at..at, piece);
            }
        }
    }
    octets
}

/// Where presence documents are kept.
const PRESENCE: [&str; 3] = [
    "fixtures/corpus/pidf",
    "fixtures/dialect/presence",
    "fuzz/corpus/pidf",
];

proptest! {
    #[test]
    fn damaged_presence_documents(
        seed in proptest::sample::select(PRESENCE.map(seeds).concat()),
        changes in proptest::collection::vec(change(), 1..5),
    ) {
        body_invariants::presence::check(&damaged(&seed, &changes));
    }

    #[test]
    fn damaged_messages(
        seed in proptest::sample::select(seeds("fuzz/corpus/multipart")),
        changes in proptest::collection::vec(change(), 1..6),
    ) {
        body_invariants::message::check(&damaged(&seed, &changes));
    }

    #[test]
    fn damaged_styled_texts(
        seed in proptest::sample::select(seeds("fuzz/corpus/styled")),
        changes in proptest::collection::vec(change(), 1..6),
    ) {
        body_invariants::styled::check(&damaged(&seed, &changes));
    }

    #[test]
    fn damaged_session_descriptions(
        seed in proptest::sample::select(seeds("fuzz/corpus/sdp")),
        changes in proptest::collection::vec(change(), 1..6),
    ) {
        body_invariants::sdp::check(&damaged(&seed, &changes));
    }

    #[test]
    fn damaged_conference_documents(
        seed in proptest::sample::select(seeds("fuzz/corpus/conference_info")),
        changes in proptest::collection::vec(change(), 1..6),
    ) {
        body_invariants::conference_info::check(&damaged(&seed, &changes));
    }

    #[test]
    fn any_octets_are_some_body(octets in proptest::collection::vec(any::<u8>(), 0..200), tag in 0..8_u8) {
        let octets = [vec![tag], octets].concat();
        body_invariants::styled::check(&octets);
    }

    #[test]
    fn any_tokens_are_some_body(
        tag in 0..8_u8,
        tokens in proptest::collection::vec(proptest::sample::select(vec![
            "<b>", "</b>", "<a href='http://a.example/?x'>", "</a>", "<a href=javascript:x>", "<img alt='<x>'>", "<br>", "<p style='color:red;display:none'>",
            "</p>", "<script>", "</script>", "<!--", "-->", "&lt;", "&#0;", "<pre>", "<td>", "x", " ", "\n", "<font color=#123456>",
            "{\\rtf1 ", "{", "}", "\\b ", "\\'e9", "\\u8364?", "\\par", "{\\colortbl;\\red1;}", "\\cf1 ", "\\bin3 ", "{\\*\\x ", "\0",
        ]), 0..40),
    ) {
        let octets = [vec![tag], tokens.concat().into_bytes()].concat();
        body_invariants::styled::check(&octets);
    }
}

#[test]
fn whole_presence_documents() {
    let documents = PRESENCE.map(files).concat();
    assert!(documents.len() >= 50);
    documents
        .iter()
        .for_each(|octets| body_invariants::presence::check(octets));
}

#[test]
fn whole_messages() {
    let messages = files("fuzz/corpus/multipart");
    assert!(messages.len() >= 3);
    messages
        .iter()
        .for_each(|octets| body_invariants::message::check(octets));
}

#[test]
fn whole_styled_texts() {
    let texts = files("fuzz/corpus/styled");
    assert!(texts.len() >= 8);
    texts
        .iter()
        .for_each(|octets| body_invariants::styled::check(octets));
}

#[test]
fn whole_session_descriptions() {
    let descriptions = files("fuzz/corpus/sdp");
    assert!(descriptions.len() >= 7);
    descriptions
        .iter()
        .for_each(|octets| body_invariants::sdp::check(octets));
}

#[test]
fn whole_conference_documents() {
    let documents = files("fuzz/corpus/conference_info");
    assert!(documents.len() >= 6);
    documents
        .iter()
        .for_each(|octets| body_invariants::conference_info::check(octets));
}
