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

/// Where the clock on the wall is looked at. It may be set at any time, so no timer may hang on it: machines are given the
/// time since the start, and beside it the date for what is written down or shown.
const WALL_CLOCK: &[(&str, &str)] = &[
    ("src/clock.rs", "both clocks are read here"),
    (
        "src/net/own_certificate.rs",
        "the validity of our certificate",
    ),
    (
        "src/run/certificates.rs",
        "the same, looked at every ten minutes",
    ),
    ("src/run/engine_task.rs", "days left, in the status"),
    ("src/store/writer.rs", "the age of the ledger's entries"),
];

/// The same for the date that the machines are given.
const DATES: &[(&str, &str)] = &[
    ("crates/core/src/bridge/ledger.rs", "the ledger"),
    ("crates/core/src/bridge/messages.rs", "the ledger"),
    (
        "crates/core/src/bridge/reports.rs",
        "when a message of a room came",
    ),
    ("crates/core/src/room/conference.rs", "the ledger"),
    ("crates/core/src/room/guest.rs", "the ledger"),
    ("crates/core/src/time.rs", "the type itself"),
    (
        "crates/sip/src/adapt/im.rs",
        "messages that have lost their point (RFC 3428 §7)",
    ),
    (
        "crates/sip/src/adapt/im/receipt.rs",
        "DateTime of a wrapper",
    ),
    (
        "crates/sip/src/ua/conference/message.rs",
        "DateTime of a wrapper",
    ),
    (
        "crates/sip/src/ua/notifier/watcher.rs",
        "timestamps of documents",
    ),
    (
        "crates/sip/src/ua/page_message/threads.rs",
        "CSeq that grows over a restart",
    ),
    ("crates/xmpp/src/adapt/message.rs", "delay stamps"),
    ("src/streams/account.rs", "since when, in the status"),
    ("src/streams/account/task.rs", "since when, in the status"),
];

#[test]
fn the_clock_on_the_wall_is_read_in_named_places_only() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = [
        "crates/core/src",
        "crates/sip/src",
        "crates/xmpp/src",
        "src",
    ];
    let files = folders
        .iter()
        .flat_map(|folder| sources(&root.join(folder)));
    let mut found = [Vec::new(), Vec::new()];
    for file in files {
        let name = file
            .strip_prefix(root)
            .unwrap()
            .to_string_lossy()
            .into_owned();
        let is_test = name.contains("/tests") || name == "src/main.rs";
        for (words, names) in ["SystemTime::now", ".wall"].iter().zip(&mut found) {
            let text = fs::read_to_string(&file).unwrap();
            let own = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
            if !is_test && own.lines().any(|line| line.contains(words)) {
                names.push(name.clone());
            }
        }
    }
    for (mut found, named) in found.into_iter().zip([WALL_CLOCK, DATES]) {
        found.sort();
        let mut named: Vec<&str> = named.iter().map(|(file, _)| *file).collect();
        named.sort_unstable();
        assert_eq!(found, named);
    }
}
