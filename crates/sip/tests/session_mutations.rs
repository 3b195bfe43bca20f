//! Scenes of IM sessions and of user agents from the corpora of the fuzz targets, whole and with their messages lost, repeated and moved.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests may fail a test"
)]

mod agent;
mod agent_invariants;
mod session_invariants;

use std::path::Path;

use proptest::prelude::*;

/// The scenes of sessions.
fn scenes() -> Vec<String> {
    corpus("session")
}

fn corpus(target: &str) -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../fuzz/corpus")
        .join(target);
    let mut paths: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    let read = |path: &std::path::PathBuf| {
        String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned()
    };
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

#[test]
fn whole_scenes_of_user_agents() {
    let scenes = corpus("sip_agent");
    assert!(scenes.len() >= 8);
    scenes
        .iter()
        .for_each(|scene| agent_invariants::check(scene.as_bytes()));
}

/// Each step of each scene, of sessions and of user agents.
fn steps() -> Vec<String> {
    let scenes = [scenes(), corpus("sip_agent")].concat();
    let all = scenes.iter().flat_map(|scene| scene.split("%%\n"));
    all.map(str::to_owned).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn mixed_steps(steps in proptest::collection::vec(prop::sample::select(steps()), 1..12)) {
        agent_invariants::check(steps.join("%%\n").as_bytes());
    }

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
