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

proptest! {
    #[test]
    fn streams_whatever_happens(script in proptest::collection::vec(any::<u8>(), 0..200)) {
        machine_invariants::stream(&script);
    }

    #[test]
    fn links_whatever_happens(script in proptest::collection::vec(any::<u8>(), 0..300)) {
        machine_invariants::link(&script);
    }
}
