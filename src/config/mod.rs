//! The administrator's settings: `gateway.toml`, overridden by the environment.
//!
//! [`load`] reads the file through the `config` crate, takes each key through serde into its type, and reports every
//! problem at once, each with its path and a hint.

mod account;
mod build;
mod component;
mod dialect;
mod keys;
mod msrp;
mod partner;
mod presence;
mod registration;
mod rooms;
mod secret;
mod trust;
mod types;
mod unnamed;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

pub use account::Account;
pub use component::{Component, ComponentServer, ComponentTls, is_near};
pub use secret::Secret;
pub use types::*;

/// What is allowed and yet worth a word, in words that say what to do.
#[must_use]
pub fn findings(config: &Config) -> Vec<String> {
    let mut findings = component::findings(config);
    findings.extend(unnamed::finding(config));
    findings
}

/// One thing that is wrong with the settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where, such as `sip.domain[1].next_hop`. Empty for the file as a whole.
    pub path: String,
    /// What is wrong and what to do.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() {
            write!(f, "{}", self.message)
        } else {
            write!(f, "{}: {}", self.path, self.message)
        }
    }
}

/// All that is wrong with the settings.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Problems {
    /// The file that was read.
    pub file: PathBuf,
    /// In the order of the file's sections; never empty.
    pub list: Vec<Problem>,
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.list.len() == 1 { "" } else { "s" };
        write!(
            f,
            "{} has {} problem{plural}:",
            self.file.display(),
            self.list.len()
        )?;
        for problem in &self.list {
            write!(f, "\n  {problem}")?;
        }
        Ok(())
    }
}

/// Prefix of environment variables that override keys: `STOXGATE_XMPP__LISTEN` is `xmpp.listen`.
pub const ENVIRONMENT_PREFIX: &str = "STOXGATE";

/// The environment by its names.
type Environment = BTreeMap<String, String>;

/// Reads `file` and the overrides found in `environment`.
///
/// # Errors
/// Every problem found, not only the first.
pub fn load(
    file: &Path,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<Config, Problems> {
    let text = std::fs::read_to_string(file).map_err(|error| Problems {
        file: file.to_owned(),
        list: vec![Problem {
            path: String::new(),
            message: format!("cannot be read: {error}; name another file with --config"),
        }],
    })?;
    parse(&text, file, environment)
}

/// As [`load`], with the file's text at hand. Relative paths in it are taken from the folder of `file`.
///
/// # Errors
/// As [`load`].
pub fn parse(
    text: &str,
    file: &Path,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<Config, Problems> {
    let fail = |list| Problems {
        file: file.to_owned(),
        list,
    };
    let environment: Environment = environment.into_iter().collect();
    let tree = read_tree(text, &environment).map_err(|message| {
        fail(vec![Problem {
            path: String::new(),
            message,
        }])
    })?;
    let mut root = keys::Table::root(tree);
    let folder = file.parent().unwrap_or(Path::new("."));
    let config = build::config(&mut root, folder, &environment);
    let list = root.finish();
    match config {
        Some(config) if list.is_empty() => Ok(config),
        _ => Err(fail(list)),
    }
}

fn read_tree(text: &str, environment: &Environment) -> Result<serde_json::Value, String> {
    let prefix = format!("{ENVIRONMENT_PREFIX}_");
    let overrides = environment
        .iter()
        .filter(|(name, _)| name.starts_with(&prefix) && name.contains("__"))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    config::Config::builder()
        .add_source(config::File::from_str(text, config::FileFormat::Toml))
        .add_source(
            config::Environment::with_prefix(ENVIRONMENT_PREFIX)
                .prefix_separator("_")
                .separator("__")
                .try_parsing(true)
                .source(Some(overrides)),
        )
        .build()
        .and_then(config::Config::try_deserialize)
        .map_err(|error| format!("is not valid TOML: {error}"))
}

#[cfg(test)]
mod tests;
