//! What is shown as a proof, from the corpus of the fuzz target, whole and damaged.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests may fail a test"
)]

mod proof_invariants;

use std::path::Path;

use proof_invariants::check;
use proptest::prelude::*;

fn corpus() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/proofs");
    let entries = std::fs::read_dir(folder).unwrap();
    entries
        .map(|entry| std::fs::read(entry.unwrap().path()).unwrap())
        .collect()
}

#[test]
fn whole() {
    let proofs = corpus();
    let proved = proofs.iter().filter(|proof| check(proof)).count();
    assert!(proved >= 8, "{proved} of {}", proofs.len());
}

proptest! {
    #[test]
    fn damaged(
        proof in prop::sample::select(corpus()),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        end in any::<prop::sample::Index>(),
    ) {
        let mut proof = proof;
        for (at, octet) in changes {
            let at = at.index(proof.len());
            proof[at] = octet;
        }
        check(&proof);
        check(&proof[..end.index(proof.len())]);
    }

    #[test]
    fn anything(octets in proptest::collection::vec(any::<u8>(), 0..200)) {
        check(&octets);
    }
}
