//! What the fuzz targets of values, of the transaction layer and of the way to a peer check, on their corpora and on random
//! steps.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests may fail a test"
)]

mod target_invariants;
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

#[test]
fn targets() {
    let found = corpus("sip_targets", 9);
    let targets: usize = found
        .iter()
        .map(|octets| target_invariants::check(octets))
        .sum();
    assert!(targets >= 6, "{targets}");
}

proptest! {
    #[test]
    fn any_answers_lead_somewhere_or_nowhere(
        hop in "sips?:[a-c.]{1,9}(:[0-9]{1,5})?(;transport=(tls|tcp|udp))?( (TLS|TCP|UDP|-)){0,3}",
        answers in proptest::collection::vec("(S [0-2] [0-9] [0-9]{1,4} [a-c.]{1,6}\n|N 1 [0-3] s SIP\\+D2T [a-c.]{1,6}\n|A 192.0.2.[1-9]\n|!\n){0,4}", 0..8),
    ) {
        let text = format!("{hop}\n\n{}", answers.join("\n\n"));
        target_invariants::check(text.as_bytes());
    }

    #[test]
    fn any_text_is_some_value(kind in any::<u8>(), text in ".{0,60}") {
        value_invariants::check(&[vec![kind], text.into_bytes()].concat());
    }

    #[test]
    fn any_steps_are_some_transactions(octets in proptest::collection::vec(any::<u8>(), 0..240)) {
        transaction_invariants::check(&octets);
    }
}
