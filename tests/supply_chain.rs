//! Holds the rules of `deny.toml` without its tool: licences, sources and forbidden crates of both lock files, and the
//! advisories of `fixtures/advisories`. `cargo deny check` looks at more, and at advisories of today.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test fails by panicking"
)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use semver::{Version, VersionReq};
use serde::Deserialize;

/// The workspaces: each has its lock file.
const WORKSPACES: [&str; 2] = [".", "fuzz"];
/// Crates whose manifests name a file with the licence and no expression; read.
const READ: [(&str, &str); 2] = [("rsip", "MIT"), ("rsip-derives", "MIT")];

#[derive(Deserialize)]
struct Lock {
    package: Vec<Package>,
}

/// One crate of a lock file.
#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
    source: Option<String>,
    #[serde(default)]
    dependencies: Vec<String>,
}

/// The part of `deny.toml` that is held here.
#[derive(Deserialize)]
struct Rules {
    licenses: Licenses,
    bans: Bans,
    sources: Sources,
    advisories: Ignored,
}

#[derive(Deserialize)]
struct Licenses {
    allow: BTreeSet<String>,
}

#[derive(Deserialize)]
struct Bans {
    deny: Vec<Ban>,
}

#[derive(Deserialize)]
struct Ban {
    #[serde(rename = "crate")]
    name: String,
    #[serde(default)]
    wrappers: Vec<String>,
}

#[derive(Deserialize)]
struct Sources {
    #[serde(rename = "allow-registry")]
    allow: Vec<String>,
}

#[derive(Deserialize)]
struct Ignored {
    ignore: Vec<String>,
}

/// An advisory in the form of the database.
#[derive(Deserialize)]
struct Published {
    advisory: Head,
    versions: Versions,
}

#[derive(Deserialize)]
struct Head {
    id: String,
    package: String,
    withdrawn: Option<String>,
}

#[derive(Deserialize)]
struct Versions {
    patched: Vec<String>,
    #[serde(default)]
    unaffected: Vec<String>,
}

#[derive(Deserialize)]
struct Later {
    advisory: Vec<LaterAdvisory>,
}

#[derive(Deserialize)]
struct LaterAdvisory {
    id: String,
    package: String,
    patched: Vec<String>,
}

/// A crate, and the versions of it that an advisory says nothing against.
struct Advisory {
    id: String,
    package: String,
    sound: Vec<VersionReq>,
}

impl Advisory {
    fn new(id: String, package: String, sound: &[String]) -> Self {
        let read = |text: &String| {
            text.parse()
                .unwrap_or_else(|why| panic!("{id}: {text}: {why}"))
        };
        Self {
            sound: sound.iter().map(read).collect(),
            id,
            package,
        }
    }

    fn concerns(&self, package: &Package) -> bool {
        let version: Version = package.version.parse().unwrap();
        self.package == package.name && !self.sound.iter().any(|sound| sound.matches(&version))
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read<T: serde::de::DeserializeOwned>(path: impl AsRef<Path>) -> T {
    let path = path.as_ref();
    let text =
        std::fs::read_to_string(path).unwrap_or_else(|why| panic!("{}: {why}", path.display()));
    toml::from_str(&text).unwrap_or_else(|why| panic!("{}: {why}", path.display()))
}

fn rules() -> Rules {
    read(root().join("deny.toml"))
}

/// Every crate of both lock files.
fn packages() -> Vec<Package> {
    WORKSPACES
        .iter()
        .flat_map(|folder| read::<Lock>(root().join(folder).join("Cargo.lock")).package)
        .collect()
}

fn advisories() -> Vec<Advisory> {
    let folder = root().join("fixtures/advisories");
    let later: Later = read(folder.join("later.toml"));
    let later = later.advisory.into_iter();
    let later = later.map(|later| Advisory::new(later.id, later.package, &later.patched));
    let files = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let is_published = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy();
        name.starts_with("RUSTSEC-")
    };
    let published = files.filter(is_published).map(read::<Published>);
    published
        .filter(|published| published.advisory.withdrawn.is_none())
        .map(|published| {
            let sound = [published.versions.patched, published.versions.unaffected].concat();
            Advisory::new(published.advisory.id, published.advisory.package, &sound)
        })
        .chain(later)
        .collect()
}

#[test]
fn no_advisory_is_against_a_dependency() {
    let (rules, packages, advisories) = (rules(), packages(), advisories());
    assert!(advisories.len() >= 70, "{}", advisories.len());
    let mut against = Vec::new();
    for package in &packages {
        let of = |advisory: &&Advisory| advisory.concerns(package);
        let ignored = |advisory: &&Advisory| rules.advisories.ignore.contains(&advisory.id);
        for advisory in advisories.iter().filter(of).filter(|a| !ignored(a)) {
            against.push(format!(
                "{} {}: {}",
                package.name, package.version, advisory.id
            ));
        }
    }
    assert_eq!(against, Vec::<String>::new());
}

#[test]
fn advisories_are_understood() {
    let package = |name: &str, version: &str| Package {
        name: name.to_owned(),
        version: version.to_owned(),
        source: None,
        dependencies: Vec::new(),
    };
    let advisories = advisories();
    let against = |package: &Package| {
        let of = advisories
            .iter()
            .filter(|advisory| advisory.concerns(package));
        of.map(|advisory| advisory.id.as_str()).collect::<Vec<_>>()
    };
    assert_eq!(
        against(&package("anstream", "0.6.7")),
        ["RUSTSEC-2024-0404"]
    );
    assert_eq!(
        against(&package("hickory-proto", "0.7.0")),
        Vec::<&str>::new()
    );
    assert!(against(&package("rustls-webpki", "0.103.12")).contains(&"RUSTSEC-2026-0104"));
}

#[test]
fn every_crate_is_from_the_registry() {
    let allowed = rules().sources.allow;
    let known = |source: &String| {
        let registry = source.strip_prefix("registry+");
        registry.is_some_and(|registry| allowed.iter().any(|allowed| allowed == registry))
    };
    for package in packages() {
        let source = package.source;
        let ours = package.name == "stoxgate" || package.name.starts_with("stox");
        assert!(
            source.as_ref().map_or(ours, known),
            "{}: {source:?}",
            package.name
        );
    }
}

#[test]
fn no_crate_is_forbidden() {
    let packages = packages();
    for ban in rules().bans.deny {
        let needs_it = |package: &&Package| {
            let names = package.dependencies.iter();
            names
                .filter_map(|text| text.split(' ').next())
                .any(|name| name == ban.name)
        };
        let users = packages
            .iter()
            .filter(needs_it)
            .map(|package| package.name.as_str());
        let users: BTreeSet<&str> = users
            .filter(|user| !ban.wrappers.iter().any(|w| w == user))
            .collect();
        assert!(
            users.is_empty(),
            "{} is forbidden; {users:?} need it",
            ban.name
        );
    }
}

#[test]
fn every_licence_is_allowed() {
    let allowed = rules().licenses.allow;
    let mut looked_at = 0;
    for folder in WORKSPACES {
        for (name, licence) in licences(&root().join(folder)) {
            let read = READ
                .iter()
                .find(|(known, _)| *known == name)
                .map(|(_, licence)| *licence);
            let licence = licence.as_deref().or(read);
            let licence = licence.unwrap_or_else(|| panic!("{name} names no licence"));
            assert!(permits(licence, &allowed), "{name}: {licence}");
            looked_at += 1;
        }
    }
    assert!(looked_at > 300, "{looked_at}");
}

/// Each crate of a workspace with its licence, as cargo says it.
fn licences(folder: &Path) -> Vec<(String, Option<String>)> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args([
        "metadata",
        "--format-version",
        "1",
        "--locked",
        "--all-features",
    ]);
    let output = cargo.current_dir(folder).output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata
        .get("packages")
        .and_then(|list| list.as_array())
        .unwrap();
    let text = |package: &serde_json::Value, key: &str| {
        package
            .get(key)
            .and_then(|value| value.as_str())
            .map(str::to_owned)
    };
    packages
        .iter()
        .map(|package| (text(package, "name").unwrap(), text(package, "license")))
        .collect()
}

/// Whether a licence expression can be met by what is allowed: `AND` binds closer than `OR`; a slash is an old `OR`.
fn permits(expression: &str, allowed: &BTreeSet<String>) -> bool {
    let spaced = expression
        .replace('/', " OR ")
        .replace('(', " ( ")
        .replace(')', " ) ");
    let tokens: Vec<&str> = spaced.split_whitespace().collect();
    let mut rest = tokens.as_slice();
    let met = either(&mut rest, allowed);
    assert!(rest.is_empty(), "{expression}");
    met
}

fn either(tokens: &mut &[&str], allowed: &BTreeSet<String>) -> bool {
    let mut met = both(tokens, allowed);
    while let ["OR", rest @ ..] = *tokens {
        *tokens = rest;
        met |= both(tokens, allowed);
    }
    met
}

fn both(tokens: &mut &[&str], allowed: &BTreeSet<String>) -> bool {
    let mut met = one(tokens, allowed);
    while let ["AND", rest @ ..] = *tokens {
        *tokens = rest;
        met &= one(tokens, allowed);
    }
    met
}

fn one(tokens: &mut &[&str], allowed: &BTreeSet<String>) -> bool {
    match *tokens {
        ["(", rest @ ..] => {
            *tokens = rest;
            let met = either(tokens, allowed);
            let [")", rest @ ..] = *tokens else {
                panic!("no closing bracket before {tokens:?}");
            };
            *tokens = rest;
            met
        }
        [licence, "WITH", exception, rest @ ..] => {
            *tokens = rest;
            allowed.contains(&format!("{licence} WITH {exception}"))
        }
        [licence, rest @ ..] => {
            *tokens = rest;
            allowed.contains(*licence)
        }
        [] => panic!("no licence where one is expected"),
    }
}

#[test]
fn licence_expressions_are_understood() {
    let allowed = ["MIT", "ISC"].map(str::to_owned).into();
    for (expression, met) in [
        ("MIT", true),
        ("GPL-3.0", false),
        ("GPL-3.0 OR MIT", true),
        ("GPL-3.0/ISC", true),
        ("GPL-3.0 AND MIT", false),
        ("(GPL-3.0 OR MIT) AND ISC", true),
        ("MIT OR GPL-3.0 AND GPL-2.0", true),
        ("MIT WITH Some-exception", false),
    ] {
        assert_eq!(permits(expression, &allowed), met, "{expression}");
    }
}
