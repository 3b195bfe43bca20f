//! Scenes of IM sessions from the corpus of the fuzz target, whole and with their messages lost, repeated and moved.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests may fail a test"
)]

mod agent;
mod session_invariants;

use std::path::Path;

use proptest::prelude::*;

fn scenes() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/session");
    let mut paths: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    let read = |path: &std::path::PathBuf| std::fs::read_to_string(path).unwrap();
    paths.iter().map(read).collect()
}

/// Each message of each scene.
fn messages() -> Vec<String> {
    let scenes = scenes();
    let all = scenes.iter().flat_map(|scene| scene.split("%%\n"));
    all.map(str::to_owned).collect()
}

#[test]
fn whole_scenes() {
    let scenes = scenes();
    assert!(scenes.len() >= 11);
    scenes
        .iter()
        .for_each(|scene| session_invariants::check(scene.as_bytes()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn mixed_scenes(messages in proptest::collection::vec(prop::sample::select(messages()), 1..12)) {
        session_invariants::check(messages.join("%%\n").as_bytes());
    }

    #[test]
    fn damaged_scenes(
        scene in prop::sample::select(scenes()),
        cuts in proptest::collection::vec((any::<prop::sample::Index>(), 0_usize..12, "[ -~]{0,4}"), 1..5),
    ) {
        let mut text = scene;
        for (at, length, put) in cuts {
            let at = at.index(text.len());
            let end = (at + length).min(text.len());
            if text.is_char_boundary(at) && text.is_char_boundary(end) {
                text.replace_range(at..end, &put);
            }
        }
        session_invariants::check(text.as_bytes());
    }
}
