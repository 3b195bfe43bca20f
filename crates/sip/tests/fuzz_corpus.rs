//! What the fuzz targets of values and of the transaction layer check, on their corpora and on random steps.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests may fail a test"
)]

mod transaction_invariants;
mod value_invariants;

use std::path::Path;

use proptest::prelude::*;

fn corpus(target: &str, least: usize) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../fuzz/corpus")
        .join(target);
    let entries = std::fs::read_dir(folder).unwrap();
    let found: Vec<_> = entries
        .map(|entry| std::fs::read(entry.unwrap().path()).unwrap())
        .collect();
    assert!(found.len() >= least, "{} in {target}", found.len());
    found
}

#[test]
fn values() {
    let found = corpus("sip_values", 20);
    found
        .iter()
        .for_each(|octets| value_invariants::check(octets));
}

#[test]
fn transactions() {
    let found = corpus("sip_transactions", 5);
    found
        .iter()
        .for_each(|octets| transaction_invariants::check(octets));
}

proptest! {
    #[test]
    fn any_text_is_some_value(kind in any::<u8>(), text in ".{0,60}") {
        value_invariants::check(&[vec![kind], text.into_bytes()].concat());
    }

    #[test]
    fn any_steps_are_some_transactions(octets in proptest::collection::vec(any::<u8>(), 0..240)) {
        transaction_invariants::check(&octets);
    }
}
