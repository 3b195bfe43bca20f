//! What the fuzz targets of this crate check, on their corpora.
#![allow(clippy::unwrap_used, clippy::panic)]

mod address_invariants;

use std::path::Path;

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
fn addresses() {
    let found = corpus("addresses", 5);
    found
        .iter()
        .for_each(|octets| address_invariants::check(octets));
}
