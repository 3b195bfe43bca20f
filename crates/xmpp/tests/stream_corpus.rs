//! The invariants of streams over the whole corpus, cut in several ways.

mod invariants;

use std::path::Path;

#[test]
fn invariants_hold_for_the_corpus() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/corpus/xmpp");
    let mut played = 0;
    for kind in ["valid", "invalid"] {
        for entry in std::fs::read_dir(root.join(kind)).expect("the corpus is there") {
            let octets = std::fs::read(entry.expect("an entry").path()).expect("a file");
            // The head is what matters; the giants among the cases are played whole elsewhere.
            let octets = octets.get(..20_000).unwrap_or(&octets);
            for sizes in [[1].as_slice(), &[7, 0, 64], &[255]] {
                invariants::stream(octets, sizes);
            }
            played += 1;
        }
    }
    assert!(played > 100);
}

#[test]
fn invariants_hold_for_what_the_fuzz_target_has_kept() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/xmpp_stream");
    let mut played = 0;
    for entry in std::fs::read_dir(folder).expect("the corpus is there") {
        let octets = std::fs::read(entry.expect("an entry").path()).expect("a file");
        let sizes = octets.get(octets.len().saturating_sub(8)..);
        invariants::stream(&octets, sizes.unwrap_or(&octets));
        played += 1;
    }
    assert!(played > 0);
}
