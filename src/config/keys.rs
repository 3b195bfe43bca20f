//! Takes keys out of a table one by one and remembers every problem, so that all are reported at once.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::{Problem, Secret};

/// One table of the file. What is left in it at the end is unknown.
pub(super) struct Table {
    path: String,
    map: Map<String, Value>,
    known: Vec<&'static str>,
    problems: Vec<Problem>,
    /// Files that hold secrets.
    private_files: Vec<PathBuf>,
}

impl Table {
    pub(super) fn root(tree: Value) -> Self {
        let map = if let Value::Object(map) = tree {
            map
        } else {
            Map::new()
        };
        Self {
            path: String::new(),
            map,
            known: Vec::new(),
            problems: Vec::new(),
            private_files: Vec::new(),
        }
    }

    /// The files that secrets were read from.
    pub(super) fn private_files(&self) -> &[PathBuf] {
        &self.private_files
    }

    fn join(&self, key: &str) -> String {
        if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        }
    }

    /// Notes a problem at `key`.
    pub(super) fn problem(&mut self, key: &str, message: impl Into<String>) {
        let path = self.join(key);
        self.problems.push(Problem {
            path,
            message: message.into(),
        });
    }

    /// Takes a secret from one of two keys: itself, or the file that holds it, by its path from `folder`.
    pub(super) fn secret(
        &mut self,
        (key, file_key): (&'static str, &'static str),
        folder: &Path,
    ) -> Option<Secret> {
        let file: Option<PathBuf> = self.optional(file_key);
        match (self.optional(key), file) {
            (Some(secret), None) => Some(secret),
            (None, Some(file)) => self.secret_file(file_key, &file, folder),
            _ => {
                self.problem(key, format!("give either {key} or {file_key}"));
                None
            }
        }
    }

    /// Reads the file of a secret, which one line end may follow.
    pub(super) fn secret_file(
        &mut self,
        key: &'static str,
        file: &Path,
        folder: &Path,
    ) -> Option<Secret> {
        match std::fs::read_to_string(folder.join(file)) {
            Ok(text) => {
                self.private_files.push(folder.join(file));
                let text = Zeroizing::new(text);
                Some(text.trim_end_matches(['\r', '\n']).to_owned().into())
            }
            Err(error) => {
                let message = format!("{} cannot be read: {error}", file.display());
                self.problem(key, message);
                None
            }
        }
    }

    /// The value of a key that is not taken yet.
    pub(super) fn peek(&self, key: &str) -> Option<&Value> {
        self.map.get(key)
    }

    /// Takes an optional key. A value of the wrong type is a problem and reads as absent.
    pub(super) fn optional<T: DeserializeOwned>(&mut self, key: &'static str) -> Option<T> {
        self.known.push(key);
        let value = self.map.remove(key)?;
        match serde_json::from_value(value) {
            Ok(value) => Some(value),
            Err(error) => {
                self.problem(key, with_advice(error.to_string()));
                None
            }
        }
    }

    /// Takes a key with a default.
    pub(super) fn or<T: DeserializeOwned>(&mut self, key: &'static str, default: T) -> T {
        self.optional(key).unwrap_or(default)
    }

    /// Takes a key that must be there; `why` says what it is for.
    pub(super) fn required<T: DeserializeOwned>(
        &mut self,
        key: &'static str,
        why: &str,
    ) -> Option<T> {
        if !self.map.contains_key(key) {
            self.known.push(key);
            self.problem(key, format!("is missing: {why}"));
            return None;
        }
        self.optional(key)
    }

    /// Takes a sub-table, empty when it is absent, and gives it to `read`.
    pub(super) fn section<R>(&mut self, key: &'static str, read: impl FnOnce(&mut Self) -> R) -> R {
        self.known.push(key);
        let value = self
            .map
            .remove(key)
            .unwrap_or_else(|| Value::Object(Map::new()));
        self.descend(self.join(key), value, read)
    }

    /// Takes an array of tables, written `[[key]]`.
    pub(super) fn each<R>(
        &mut self,
        key: &'static str,
        mut read: impl FnMut(&mut Self) -> Option<R>,
    ) -> Vec<R> {
        self.known.push(key);
        let items = match self.map.remove(key) {
            None => return Vec::new(),
            Some(Value::Array(items)) => items,
            Some(_) => {
                let path = self.join(key);
                self.problem(key, format!("must be a list of tables: write [[{path}]]"));
                return Vec::new();
            }
        };
        let mut found = Vec::new();
        for (index, item) in items.into_iter().enumerate() {
            let path = format!("{}[{index}]", self.join(key));
            found.extend(self.descend(path, item, &mut read));
        }
        found
    }

    fn descend<R>(&mut self, path: String, value: Value, read: impl FnOnce(&mut Self) -> R) -> R {
        let map = match value {
            Value::Object(map) => map,
            _ => {
                self.problems.push(Problem {
                    path: path.clone(),
                    message: "must be a table of keys".to_owned(),
                });
                Map::new()
            }
        };
        let mut child = Self {
            path,
            map,
            known: Vec::new(),
            problems: Vec::new(),
            private_files: Vec::new(),
        };
        let result = read(&mut child);
        self.private_files.append(&mut child.private_files);
        self.problems.extend(child.finish());
        result
    }

    /// Ends the table: what nobody took is unknown.
    pub(super) fn finish(&mut self) -> Vec<Problem> {
        let unknown: Vec<String> = self.map.keys().cloned().collect();
        for key in unknown {
            let message = match nearest(&key, &self.known) {
                Some(near) => format!("is not a key here; did you mean `{near}`?"),
                None => format!("is not a key here; known keys: {}", self.known.join(", ")),
            };
            self.problem(&key, message);
        }
        self.map.clear();
        std::mem::take(&mut self.problems)
    }
}

/// What the library says of an address tells nobody how to write one.
fn with_advice(message: String) -> String {
    let of_library = "".parse::<SocketAddr>().map_err(|error| error.to_string());
    match of_library {
        Err(words) if message.contains(&words) => format!(
            "{message}; write address and port, as in 192.0.2.7:5269 or [2001:db8::7]:5269, not a host name"
        ),
        _ => message,
    }
}

/// The known key that is at most two edits away.
fn nearest(key: &str, known: &[&'static str]) -> Option<&'static str> {
    known
        .iter()
        .map(|candidate| (distance(key, candidate), *candidate))
        .filter(|(distance, candidate)| *distance <= 2.min(candidate.len() / 2))
        .min()
        .map(|(_, candidate)| candidate)
}

/// Levenshtein distance in characters.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut next = vec![i + 1];
        for (j, cb) in b.iter().enumerate() {
            let above = row.get(j + 1).copied().unwrap_or(usize::MAX);
            let diagonal = row.get(j).copied().unwrap_or(usize::MAX);
            let left = next.get(j).copied().unwrap_or(usize::MAX);
            next.push(
                (diagonal + usize::from(ca != *cb))
                    .min(above + 1)
                    .min(left + 1),
            );
        }
        row = next;
    }
    row.last().copied().unwrap_or(usize::MAX)
}
