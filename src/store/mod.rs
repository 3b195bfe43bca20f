//! What outlives the process: authorisations, messages without an outcome, the ledger of those that have one, and our
//! secrets.

mod ledger;
mod owed;
mod reader;
mod sqlite;
mod writer;

use std::time::Duration;

use stox_core::vocab::{Grant, Lesson, Pair, Ref, StoreOut, Unsettled};

pub use ledger::{Retention, millis};
pub use owed::Owed;
pub use reader::{Filter, LedgerReader, Row};
pub use sqlite::SqliteStore;
pub use writer::{StoreWriter, Written};

/// What the database held at the start.
#[derive(Debug, Clone, PartialEq)]
pub struct Kept {
    /// Authorisations.
    pub authorisations: Vec<(Pair, Grant)>,
    /// Messages whose outcome the last run did not live to see.
    pub unsettled: Vec<Unsettled>,
    /// What was learnt of how peers speak.
    pub lessons: Vec<Lesson>,
    /// The highest number that the ledger has ever had.
    pub last_number: Ref,
}

impl Default for Kept {
    fn default() -> Self {
        Self {
            authorisations: Vec::new(),
            unsettled: Vec::new(),
            lessons: Vec::new(),
            last_number: Ref(0),
        }
    }
}

/// Why the store failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database refused.
    #[error("database: {0}")]
    Database(#[from] rusqlite::Error),
    /// The folder cannot be made or used.
    #[error("{path}: {error}")]
    Folder {
        /// Which.
        path: String,
        /// Why.
        error: std::io::Error,
    },
    /// The database was written by a newer release.
    #[error(
        "the database has schema {found}, this release knows {known}: run the release that wrote it, or a newer one"
    )]
    Newer {
        /// In the file.
        found: u32,
        /// Ours.
        known: u32,
    },
    /// The database was written by an older release, and only its own gateway may take it over.
    #[error(
        "the database has schema {found}, this release reads {known}: start this release's gateway once, it takes the database over"
    )]
    Older {
        /// In the file.
        found: u32,
        /// Ours.
        known: u32,
    },
    /// A row cannot be read back.
    #[error("row of {table} is damaged: {value}")]
    Damaged {
        /// Table.
        table: &'static str,
        /// What stands there.
        value: String,
    },
}

/// A durable store. One owner; calls block.
pub trait Store: Send {
    /// Everything that was kept.
    ///
    /// # Errors
    /// The store cannot be read.
    fn load(&mut self) -> Result<Kept, StoreError>;

    /// Carries out a batch: all of it, or nothing.
    ///
    /// # Errors
    /// The store cannot be written.
    fn apply(&mut self, batch: &[StoreOut]) -> Result<(), StoreError>;

    /// Takes away old entries of the ledger, and those above its limit, at most twice `step` of them. `now` is wall-clock
    /// time since 1970. Says whether there may be more to do.
    ///
    /// # Errors
    /// The store cannot be written.
    fn prune(&mut self, retention: Retention, now: Duration, step: u64)
    -> Result<bool, StoreError>;

    /// A secret by name, made by `make` the first time.
    ///
    /// # Errors
    /// The store cannot be read or written.
    fn secret(
        &mut self,
        name: &str,
        make: &mut dyn FnMut() -> String,
    ) -> Result<String, StoreError>;
}
