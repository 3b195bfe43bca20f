//! Runs the interoperability vectors of `fixtures/vectors`, or of the folder that `STOX_VECTORS` names, through the
//! whole gateway without I/O on virtual time.
//!
//! `fixtures/vectors-not-yet.toml` lists the vectors that do not pass yet, and those that never shall, because the
//! gateway deviates from them on purpose; each with its reason. For the default folder the list is exact: a listed vector
//! that passes fails the run, like an unlisted one that fails.
//! `cargo test --test vectors -- TEXT…` runs only the vectors whose id contains one of the texts.

mod address;
mod assertion;
mod fill;
mod given;
mod judge;
mod judge_msrp;
mod msrp_path;
mod msrp_peer;
mod msrp_text;
mod operators;
mod output;
mod pidf;
mod play;
mod report;
mod settings;
mod sip_path;
mod sip_text;
mod stanza_path;
mod states;
mod world;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde::Deserialize;
use serde_json::{Map, Value};

use report::{Listed, Outcome, Report};

/// One file of the folder.
#[derive(Debug, Deserialize)]
struct Vector {
    id: String,
    title: String,
    strength: String,
    req: Vec<String>,
    given: Map<String, Value>,
    expect: Map<String, Value>,
}

/// Vectors with one reason.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Group {
    reason: String,
    vectors: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct ListFile {
    #[serde(default, rename = "not-yet")]
    not_yet: Vec<Group>,
    #[serde(default, rename = "deviation")]
    deviations: Vec<Group>,
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures")
}

fn files(folder: &Path, out: &mut Vec<PathBuf>) -> Result<(), String> {
    let entries =
        std::fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    for entry in entries.flatten() {
        let path = entry.path();
        if path.is_dir() {
            files(&path, out)?;
        } else if path
            .extension()
            .is_some_and(|extension| extension == "json")
        {
            out.push(path);
        }
    }
    Ok(())
}

fn read(folder: &Path) -> Result<Vec<Vector>, String> {
    let mut paths = Vec::new();
    files(folder, &mut paths)?;
    paths.sort();
    let one = |path: &PathBuf| {
        let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
        serde_json::from_str(&text).map_err(|error| error.to_string())
    };
    let vectors = paths
        .iter()
        .map(|path| one(path).map_err(|why: String| format!("{}: {why}", path.display())));
    vectors.collect()
}

/// The listed vectors by id.
fn listed() -> Result<BTreeMap<String, Listed>, String> {
    let path = fixtures().join("vectors-not-yet.toml");
    let text =
        std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let file: ListFile =
        toml::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))?;
    let mut listed = BTreeMap::new();
    for (groups, as_what) in [
        (file.not_yet, Listed::NotYet),
        (file.deviations, Listed::Deviation),
    ] {
        for group in groups {
            if group.reason.is_empty() {
                return Err(format!("{}: no reason is given", path.display()));
            }
            listed.extend(group.vectors.into_iter().map(|id| (id, as_what)));
        }
    }
    Ok(listed)
}

fn run(vector: &Vector) -> Result<(), String> {
    if address::is_one(&vector.given) {
        return address::judge(&vector.given, &vector.expect);
    }
    let played = play::play(&vector.given)?;
    judge::judge(played, &vector.expect)
}

fn everything(filters: &[String]) -> Result<bool, String> {
    let own = std::env::var_os("STOX_VECTORS").map(PathBuf::from);
    let folder = own.clone().unwrap_or_else(|| fixtures().join("vectors"));
    let listed = listed()?;
    let vectors = read(&folder)?;
    let chosen = |vector: &&Vector| {
        filters.is_empty() || filters.iter().any(|filter| vector.id.contains(filter))
    };
    let mut report = Report::default();
    for vector in vectors.iter().filter(chosen) {
        let outcome = Outcome {
            id: &vector.id,
            title: &vector.title,
            strength: &vector.strength,
            requirements: &vector.req,
            listed: listed.get(&vector.id).copied(),
            result: run(vector),
        };
        report.add(outcome);
    }
    let exact = own.is_none() && filters.is_empty();
    if exact {
        let ids: Vec<&str> = vectors.iter().map(|vector| vector.id.as_str()).collect();
        report.unknown = listed
            .keys()
            .filter(|id| !ids.contains(&id.as_str()))
            .cloned()
            .collect();
    }
    report.print(own.is_none());
    Ok(report.is_good(own.is_none()))
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|argument| argument == "--list") {
        report::say("vectors: test");
        return ExitCode::SUCCESS;
    }
    let filters: Vec<String> = arguments
        .into_iter()
        .filter(|a| !a.starts_with('-') && a != "vectors")
        .collect();
    match everything(&filters) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            report::say(&why);
            ExitCode::FAILURE
        }
    }
}
