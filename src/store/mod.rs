//! What outlives the process: authorisations, messages without an outcome, and our secrets.

mod sqlite;
mod writer;

use stox_core::vocab::{Grant, Lesson, Pair, StoreOut, Unsettled};

pub use sqlite::SqliteStore;
pub use writer::{StoreWriter, Written};

/// What the database held at the start.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Kept {
    /// Authorisations.
    pub authorisations: Vec<(Pair, Grant)>,
    /// Messages whose outcome the last run did not live to see.
    pub unsettled: Vec<Unsettled>,
    /// What was learnt of how peers speak.
    pub lessons: Vec<Lesson>,
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
