//! Scenes of the whole gateway and texts of administrators from the corpora of the fuzz targets, whole and with their steps
//! lost, repeated and moved.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests may fail a test"
)]

mod engine_invariants;
mod text_invariants;

use std::path::Path;

use engine_invariants::Seen;

use proptest::prelude::*;

/// What the corpus of a fuzz target holds.
fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    let entries = std::fs::read_dir(folder.join(target)).unwrap();
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let read = |path: &std::path::PathBuf| std::fs::read(path).unwrap();
    paths.iter().map(read).collect()
}

fn scenes() -> Vec<String> {
    let scenes = corpus("engine").into_iter();
    scenes
        .map(|scene| String::from_utf8_lossy(&scene).into_owned())
        .collect()
}

fn steps() -> Vec<String> {
    let scenes = scenes();
    let all = scenes.iter().flat_map(|scene| scene.split("%%\n"));
    all.map(str::to_owned).collect()
}

#[test]
fn whole_scenes() {
    let scenes = scenes();
    assert!(scenes.len() >= 10);
    let seen = scenes
        .iter()
        .map(|scene| engine_invariants::check(scene.as_bytes()));
    let seen: Vec<Seen> = seen.collect();
    let total = |part: fn(&Seen) -> usize| seen.iter().map(part).sum::<usize>();
    assert!(total(|seen| seen.sent) >= 50, "{seen:?}");
    assert!(total(|seen| seen.written) >= 30, "{seen:?}");
    assert!(total(|seen| seen.kept) >= 8, "{seen:?}");
}

#[test]
fn whole_texts() {
    let texts = corpus("texts");
    assert!(texts.len() >= 7);
    texts.iter().for_each(|text| text_invariants::check(text));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn mixed_scenes(steps in proptest::collection::vec(prop::sample::select(steps()), 1..14)) {
        engine_invariants::check(steps.join("%%\n").as_bytes());
    }

    #[test]
    fn damaged_texts(
        text in prop::sample::select(corpus("texts")),
        cuts in proptest::collection::vec((any::<prop::sample::Index>(), 0_usize..20, "[ -~\n]{0,4}"), 1..4),
    ) {
        let mut text = text;
        for (at, length, put) in cuts {
            let at = at.index(text.len() + 1);
            let end = (at + length).min(text.len());
            text.splice(at..end, put.into_bytes());
        }
        text_invariants::check(&text);
    }
}
