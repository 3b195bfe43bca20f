//! Holds the import rules of docs/architecture.md: belt and braces beside the manifests and clippy.toml.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::fs;
use std::path::{Path, PathBuf};

/// A folder, and words that its code must not contain.
const FORBIDDEN: &[(&str, &[&str])] = &[
    (
        "crates/core/src",
        &[
            "tokio",
            "stox_sip",
            "stox_xmpp",
            "std::net::Tcp",
            "std::net::Udp",
            "Instant::now",
            "SystemTime",
            "minidom",
            "rsip",
            "quick_xml",
            "rand::",
        ],
    ),
    (
        "crates/sip/src",
        &[
            "tokio",
            "stox_xmpp",
            "xmpp_parsers",
            "minidom",
            "std::net::Tcp",
            "std::net::Udp",
            "Instant::now",
            "SystemTime",
        ],
    ),
    (
        "crates/xmpp/src",
        &[
            "tokio",
            "stox_sip",
            "rsip",
            "std::net::Tcp",
            "std::net::Udp",
            "Instant::now",
            "SystemTime",
        ],
    ),
    ("src/engine", &["tokio", "Instant::now", "SystemTime"]),
    ("src/net", &["stox_xmpp", "xmpp_parsers"]),
    ("src/sockets", &["stox_xmpp", "stox_core", "minidom"]),
    ("src/streams", &["stox_sip"]),
];

/// Folders where core vocabulary must stay out: wire and core types meet in `adapt` only.
const WIRE_ONLY: &[&str] = &[
    "crates/sip/src/header",
    "crates/sip/src/transaction",
    "crates/xmpp/src/stream",
];

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in
        fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
    {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

/// Code lines without comments.
fn code(path: &Path) -> Vec<(usize, String)> {
    let text = fs::read_to_string(path).unwrap();
    let lines = text.lines().enumerate();
    lines
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
        .map(|(n, line)| (n + 1, line.to_owned()))
        .collect()
}

#[test]
fn each_folder_keeps_to_its_side() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut broken = Vec::new();
    for (folder, words) in FORBIDDEN {
        let files = sources(&root.join(folder));
        assert!(
            !files.is_empty(),
            "{folder} is empty: the rule would prove nothing"
        );
        for file in files {
            for (number, line) in code(&file) {
                broken.extend(
                    words
                        .iter()
                        .filter(|word| line.contains(**word))
                        .map(|word| format!("{}:{number}: {word}", file.display())),
                );
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn wire_layers_do_not_know_the_vocabulary() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for folder in WIRE_ONLY {
        for file in sources(&root.join(folder)) {
            for (number, line) in code(&file) {
                assert!(
                    !line.contains("stox_core::vocab"),
                    "{}:{number} uses the core vocabulary",
                    file.display()
                );
            }
        }
    }
}

#[test]
fn files_stay_readable() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for folder in [
        "crates/core/src",
        "crates/sip/src",
        "crates/xmpp/src",
        "src",
    ] {
        for file in sources(&root.join(folder)) {
            let text = fs::read_to_string(&file).unwrap();
            let own = text
                .split("#[cfg(test)]\nmod tests {")
                .next()
                .unwrap_or_default()
                .lines()
                .count();
            let is_test = file
                .components()
                .any(|part| part.as_os_str().to_string_lossy().starts_with("tests"));
            assert!(
                is_test || own <= 900,
                "{} has {own} lines without its tests",
                file.display()
            );
        }
    }
}
