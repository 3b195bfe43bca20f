//! The files of the corpus and what the index says of them.

use std::path::{Path, PathBuf};

/// One file.
pub(crate) struct Case {
    /// Name without folder and ending.
    pub(crate) name: String,
    pub(crate) octets: Vec<u8>,
    /// Verdicts that are allowed, separated by `|`.
    pub(crate) expected: String,
    pub(crate) phase: String,
    transports: String,
}

impl Case {
    pub(crate) fn is_for(&self, transport: &str) -> bool {
        self.transports.split(',').any(|listed| listed == transport)
    }

    /// Whether a verdict (`accept`, `reject:400`, `stream-error:not-authorized`) is among those allowed. `tolerate` is
    /// accept or 400.
    pub(crate) fn allows(&self, verdict: &str) -> bool {
        let (kind, word) = verdict.split_once(':').unwrap_or((verdict, ""));
        self.expected.split('|').any(|alternative| {
            let (allowed, words) = alternative.split_once(':').unwrap_or((alternative, ""));
            match allowed {
                "tolerate" => matches!(verdict, "accept" | "reject:400"),
                _ => allowed == kind && (words.is_empty() || words.split(',').any(|w| w == word)),
            }
        })
    }
}

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).into()
}

/// The files of one folder: `sip`, `xmpp` or `pidf`.
pub(crate) fn cases(folder: &str) -> Vec<Case> {
    let corpus = root().join("fixtures/corpus");
    let index = std::fs::read_to_string(corpus.join("INDEX.tsv")).unwrap();
    let start = format!("{folder}/");
    let rows = index.lines().filter(|row| row.starts_with(&start));
    let cases: Vec<Case> = rows
        .map(|row| {
            let columns: Vec<&str> = row.split('\t').collect();
            let [file, _, expected, _, phase, transports] = columns[..] else {
                panic!("{row}");
            };
            let name = Path::new(file).file_stem().unwrap().to_str().unwrap();
            Case {
                name: name.to_owned(),
                octets: std::fs::read(corpus.join(file)).unwrap(),
                expected: expected.to_owned(),
                phase: phase.to_owned(),
                transports: transports.to_owned(),
            }
        })
        .collect();
    assert!(cases.len() > 30, "the corpus is there");
    cases
}
