//! The table of docs/security.md names tests that exist.

use std::collections::BTreeSet;
use std::path::Path;

use crate::corpus::root;

/// The names of all functions in the sources that stand below `#[test]` or the like.
fn collect(folder: &Path, names: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            if !path.ends_with("target") {
                collect(&path, names);
            }
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            let mut is_test = false;
            for line in text.lines().map(str::trim) {
                if let Some((_, rest)) = line.split_once("fn ") {
                    if is_test {
                        names.insert(rest.split(['(', '<']).next().unwrap().to_owned());
                    }
                    is_test = false;
                } else if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
                    is_test = true;
                }
            }
        }
    }
}

#[test]
fn each_test_that_the_security_document_names_exists() {
    let document = std::fs::read_to_string(root().join("docs/security.md")).unwrap();
    let mut names = BTreeSet::new();
    for folder in ["crates", "src", "tests"] {
        collect(&root().join(folder), &mut names);
    }
    let mut named = 0;
    let mut demands = 0;
    for row in document.lines().filter(|line| line.starts_with("| ")) {
        let columns: Vec<&str> = row.split('|').map(str::trim).collect();
        let [_, number, _, tests, _] = columns[..] else {
            continue;
        };
        if number.parse::<u32>().is_err() && !number.starts_with('R') {
            continue;
        }
        demands += 1;
        // Commands and variables have blanks and capitals in them.
        let is_name = |word: &&str| !word.contains(|c: char| c == ' ' || c.is_uppercase());
        let quoted = tests.split('`').skip(1).step_by(2);
        let words: Vec<&str> = quoted.filter(is_name).collect();
        assert!(
            !words.is_empty() || tests.contains("no test"),
            "neither a test nor a word about it: {row}"
        );
        for word in words {
            named += 1;
            assert!(names.contains(word), "no test `{word}`: {row}");
        }
    }
    assert!(
        demands >= 47 && named > 90,
        "{demands} demands, {named} tests"
    );
}
