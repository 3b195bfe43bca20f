//! The machines of XMPP over the corpora of their fuzz targets, and over random lists of what may happen.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests may fail a test"
)]

mod machine_invariants;

use std::path::Path;

use proptest::prelude::*;

fn corpus(name: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../fuzz/corpus")
        .join(name);
    let entries = std::fs::read_dir(folder).expect("the corpus is there");
    let mut paths: Vec<_> = entries
        .map(|entry| entry.expect("an entry").path())
        .collect();
    paths.sort();
    paths
        .iter()
        .map(|path| std::fs::read(path).expect("a file"))
        .collect()
}

#[test]
fn streams_over_the_corpus() {
    let scripts = corpus("xmpp_machines");
    assert!(scripts.len() >= 8);
    scripts
        .iter()
        .for_each(|script| machine_invariants::stream(script));
}

#[test]
fn links_over_the_corpus() {
    let scripts = corpus("link");
    assert!(scripts.len() >= 4);
    scripts
        .iter()
        .for_each(|script| machine_invariants::link(script));
}

#[test]
fn stanzas_over_the_corpus() {
    let stanzas = corpus("xmpp_stanzas");
    assert!(stanzas.len() >= 8);
    stanzas
        .iter()
        .for_each(|octets| machine_invariants::stanzas(octets));
}

/// One of the corpus with some octets changed, taken out and said again.
fn damaged(name: &'static str) -> impl Strategy<Value = Vec<u8>> {
    let change = (any::<prop::sample::Index>(), any::<u8>(), 0_u8..4);
    let changes = proptest::collection::vec(change, 1..6);
    (prop::sample::select(corpus(name)), changes).prop_map(|(mut octets, changes)| {
        for (at, octet, kind) in changes {
            let at = at.index(octets.len() + 1);
            let end = (at + usize::from(octet % 16)).min(octets.len());
            match kind {
                0 => octets.insert(at, octet),
                1 => drop(octets.drain(at..end)),
                2 => octets.extend_from_within(at..end),
                _ => octets
                    .iter_mut()
                    .skip(at)
                    .take(1)
                    .for_each(|old| *old = octet),
            }
        }
        octets
    })
}

proptest! {
    #[test]
    fn damaged_streams(script in damaged("xmpp_machines")) {
        machine_invariants::stream(&script);
    }

    #[test]
    fn damaged_links(script in damaged("link")) {
        machine_invariants::link(&script);
    }

    #[test]
    fn damaged_stanzas(octets in damaged("xmpp_stanzas")) {
        machine_invariants::stanzas(&octets);
    }

    #[test]
    fn streams_whatever_happens(script in proptest::collection::vec(any::<u8>(), 0..200)) {
        machine_invariants::stream(&script);
    }

    #[test]
    fn links_whatever_happens(script in proptest::collection::vec(any::<u8>(), 0..300)) {
        machine_invariants::link(&script);
    }
}
