//! The embedded store: SQLite with a write-ahead log.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension, params};
use stox_core::address::{Jid, Scheme, SipAddress};
use stox_core::vocab::{Direction, Grant, Lesson, Pair, Ref, StoreOut, Unsettled};

use super::{Kept, Store, StoreError};

const SCHEMA: u32 = 2;
const CREATE: &str = "
CREATE TABLE secret (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE authorisation (
  direction TEXT NOT NULL, xmpp TEXT NOT NULL, sip TEXT NOT NULL, state TEXT NOT NULL,
  PRIMARY KEY (direction, xmpp, sip)) WITHOUT ROWID;
CREATE TABLE unsettled (
  reference INTEGER PRIMARY KEY, sender TEXT NOT NULL, recipient TEXT NOT NULL, id TEXT);
";
/// What schema 2 added to schema 1.
const SECOND: &str = "
CREATE TABLE lesson (
  domain TEXT PRIMARY KEY, dialect TEXT NOT NULL, im TEXT, evidence TEXT NOT NULL, weight TEXT NOT NULL) WITHOUT ROWID;
";

/// A database file.
pub struct SqliteStore {
    connection: Connection,
}

impl SqliteStore {
    /// Opens or makes the database `stoxgate.sqlite` in `folder`, and the folder.
    ///
    /// # Errors
    /// The folder or file cannot be used, or a newer release wrote it.
    pub fn open(folder: &Path) -> Result<Self, StoreError> {
        let at = |error| StoreError::Folder {
            path: folder.display().to_string(),
            error,
        };
        std::fs::create_dir_all(folder).map_err(at)?;
        Self::prepare(Connection::open(folder.join("stoxgate.sqlite"))?)
    }

    /// A database in memory, for tests.
    ///
    /// # Errors
    /// SQLite refused.
    pub fn in_memory() -> Result<Self, StoreError> {
        Self::prepare(Connection::open_in_memory()?)
    }

    fn prepare(connection: Connection) -> Result<Self, StoreError> {
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "NORMAL")?;
        connection.busy_timeout(std::time::Duration::from_secs(2))?;
        let found: u32 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
        match found {
            0 => {
                connection.execute_batch(CREATE)?;
                connection.execute_batch(SECOND)?;
                connection.pragma_update(None, "user_version", SCHEMA)?;
            }
            1 => {
                connection.execute_batch(SECOND)?;
                connection.pragma_update(None, "user_version", SCHEMA)?;
            }
            SCHEMA => {}
            found => {
                return Err(StoreError::Newer {
                    found,
                    known: SCHEMA,
                });
            }
        }
        Ok(Self { connection })
    }

    fn authorisations(&self) -> Result<Vec<(Pair, Grant)>, StoreError> {
        let mut statement = self
            .connection
            .prepare("SELECT direction, xmpp, sip, state FROM authorisation")?;
        let rows = statement.query_map([], |row| {
            Ok((
                row.get::<_, String>(0)?,
                row.get::<_, String>(1)?,
                row.get::<_, String>(2)?,
                row.get::<_, String>(3)?,
            ))
        })?;
        let mut found = Vec::new();
        for row in rows {
            let (direction, xmpp, sip, state) = row?;
            let damaged = || StoreError::Damaged {
                table: "authorisation",
                value: format!("{direction} {xmpp} {sip} {state}"),
            };
            let pair = Pair {
                direction: word_to_direction(&direction).ok_or_else(damaged)?,
                xmpp: xmpp.parse::<Jid>().map_err(|_| damaged())?,
                sip: text_to_sip(&sip).ok_or_else(damaged)?,
            };
            found.push((pair, word_to_grant(&state).ok_or_else(damaged)?));
        }
        Ok(found)
    }

    fn unsettled(&self) -> Result<Vec<Unsettled>, StoreError> {
        let mut statement = self
            .connection
            .prepare("SELECT reference, sender, recipient, id FROM unsettled ORDER BY reference")?;
        let rows = statement.query_map([], |row| {
            Ok((
                row.get::<_, i64>(0)?,
                row.get::<_, String>(1)?,
                row.get::<_, String>(2)?,
                row.get::<_, Option<String>>(3)?,
            ))
        })?;
        let mut found = Vec::new();
        for row in rows {
            let (reference, sender, recipient, id) = row?;
            let damaged = || StoreError::Damaged {
                table: "unsettled",
                value: format!("{reference} {sender} {recipient}"),
            };
            found.push(Unsettled {
                reference: Ref(reference.cast_unsigned()),
                from: sender.parse::<Jid>().map_err(|_| damaged())?,
                to: recipient.parse::<Jid>().map_err(|_| damaged())?,
                id,
            });
        }
        Ok(found)
    }
}

impl SqliteStore {
    fn lessons(&self) -> Result<Vec<Lesson>, StoreError> {
        let mut statement = self
            .connection
            .prepare("SELECT domain, dialect, im, evidence, weight FROM lesson ORDER BY domain")?;
        let rows = statement.query_map([], |row| {
            Ok(Lesson {
                domain: row.get(0)?,
                dialect: row.get(1)?,
                im: row.get(2)?,
                evidence: row.get(3)?,
                weight: row.get(4)?,
            })
        })?;
        rows.map(|row| row.map_err(StoreError::from)).collect()
    }
}

impl Store for SqliteStore {
    fn load(&mut self) -> Result<Kept, StoreError> {
        Ok(Kept {
            authorisations: self.authorisations()?,
            unsettled: self.unsettled()?,
            lessons: self.lessons()?,
        })
    }

    fn apply(&mut self, batch: &[StoreOut]) -> Result<(), StoreError> {
        let transaction = self.connection.transaction()?;
        for command in batch {
            apply_one(&transaction, command)?;
        }
        transaction.commit()?;
        Ok(())
    }

    fn secret(
        &mut self,
        name: &str,
        make: &mut dyn FnMut() -> String,
    ) -> Result<String, StoreError> {
        let kept: Option<String> = self
            .connection
            .query_row("SELECT value FROM secret WHERE name = ?1", [name], |row| {
                row.get(0)
            })
            .optional()?;
        if let Some(kept) = kept {
            return Ok(kept);
        }
        let fresh = make();
        self.connection.execute(
            "INSERT INTO secret (name, value) VALUES (?1, ?2)",
            [name, &fresh],
        )?;
        Ok(fresh)
    }
}

fn apply_one(connection: &Connection, command: &StoreOut) -> Result<(), StoreError> {
    match command {
        StoreOut::Put { pair, grant } => connection
            .prepare_cached("INSERT OR REPLACE INTO authorisation (direction, xmpp, sip, state) VALUES (?1, ?2, ?3, ?4)")?
            .execute(params![direction_to_word(pair.direction), pair.xmpp.to_string(), sip_to_text(&pair.sip), grant_to_word(*grant)])?,
        StoreOut::Remove(pair) => connection
            .prepare_cached("DELETE FROM authorisation WHERE direction = ?1 AND xmpp = ?2 AND sip = ?3")?
            .execute(params![direction_to_word(pair.direction), pair.xmpp.to_string(), sip_to_text(&pair.sip)])?,
        StoreOut::Keep(message) => connection
            .prepare_cached("INSERT OR REPLACE INTO unsettled (reference, sender, recipient, id) VALUES (?1, ?2, ?3, ?4)")?
            .execute(params![message.reference.0.cast_signed(), message.from.to_string(), message.to.to_string(), message.id])?,
        StoreOut::Settle(reference) => connection
            .prepare_cached("DELETE FROM unsettled WHERE reference = ?1")?
            .execute([reference.0.cast_signed()])?,
        StoreOut::Learn(lesson) => connection
            .prepare_cached("INSERT OR REPLACE INTO lesson (domain, dialect, im, evidence, weight) VALUES (?1, ?2, ?3, ?4, ?5)")?
            .execute(params![lesson.domain, lesson.dialect, lesson.im, lesson.evidence, lesson.weight])?,
    };
    Ok(())
}

/// `user@host`, or the host alone: a pair's SIP address has no other parts.
fn sip_to_text(address: &SipAddress) -> String {
    match &address.user {
        Some(user) => format!("{user}@{}", address.host),
        None => address.host.clone(),
    }
}

/// The reverse. A user part holds no `@`, which stands there percent-encoded.
fn text_to_sip(text: &str) -> Option<SipAddress> {
    let (user, host) = match text.split_once('@') {
        Some((user, host)) => (Some(user.to_owned()), host),
        None => (None, text),
    };
    let full = !host.is_empty() && !host.contains('@') && user.as_deref() != Some("");
    full.then(|| SipAddress {
        scheme: Scheme::Sip,
        user,
        host: host.to_owned(),
        gr: None,
    })
}

fn direction_to_word(direction: Direction) -> &'static str {
    match direction {
        Direction::XmppWatchesSip => "xmpp-watches-sip",
        Direction::SipWatchesXmpp => "sip-watches-xmpp",
    }
}

fn word_to_direction(word: &str) -> Option<Direction> {
    [Direction::XmppWatchesSip, Direction::SipWatchesXmpp]
        .into_iter()
        .find(|d| direction_to_word(*d) == word)
}

fn grant_to_word(grant: Grant) -> &'static str {
    match grant {
        Grant::Asked => "asked",
        Grant::Granted => "granted",
    }
}

fn word_to_grant(word: &str) -> Option<Grant> {
    [Grant::Asked, Grant::Granted]
        .into_iter()
        .find(|g| grant_to_word(*g) == word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(direction: Direction) -> Pair {
        Pair {
            direction,
            xmpp: "romeo@jabber.test".parse().unwrap(),
            sip: text_to_sip("alice%20b@ocs.test").unwrap(),
        }
    }

    fn message(reference: u64) -> Unsettled {
        Unsettled {
            reference: Ref(reference),
            from: "romeo@jabber.test/a b".parse().unwrap(),
            to: "o\\27neil@ocs.test".parse().unwrap(),
            id: Some("m1".to_owned()),
        }
    }

    #[test]
    fn what_is_put_comes_back_after_opening_again() {
        let folder = std::env::temp_dir().join(format!("stoxgate-store-{}", std::process::id()));
        let written = Kept {
            authorisations: vec![
                (pair(Direction::SipWatchesXmpp), Grant::Asked),
                (pair(Direction::XmppWatchesSip), Grant::Granted),
            ],
            unsettled: vec![message(u64::MAX), message(7)],
            lessons: vec![Lesson {
                domain: "ocs.test".to_owned(),
                dialect: "lync".to_owned(),
                im: None,
                evidence: "RTC/5 in Server".to_owned(),
                weight: "product".to_owned(),
            }],
        };
        {
            let mut store = SqliteStore::open(&folder).unwrap();
            let mut batch: Vec<StoreOut> = written
                .authorisations
                .iter()
                .map(|(pair, grant)| StoreOut::Put {
                    pair: pair.clone(),
                    grant: *grant,
                })
                .collect();
            batch.extend(written.unsettled.iter().cloned().map(StoreOut::Keep));
            batch.extend(written.lessons.iter().cloned().map(StoreOut::Learn));
            batch.push(StoreOut::Keep(message(8)));
            batch.push(StoreOut::Settle(Ref(8)));
            store.apply(&batch).unwrap();
            assert_eq!(
                store.secret("x", &mut || "first".to_owned()).unwrap(),
                "first"
            );
        }
        let mut store = SqliteStore::open(&folder).unwrap();
        assert_eq!(store.load().unwrap(), written);
        assert_eq!(
            store.secret("x", &mut || "second".to_owned()).unwrap(),
            "first"
        );
        store
            .apply(&[StoreOut::Remove(pair(Direction::SipWatchesXmpp))])
            .unwrap();
        assert_eq!(store.load().unwrap().authorisations.len(), 1);
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_database_of_the_first_schema_is_taken_over() {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(CREATE).unwrap();
        connection.pragma_update(None, "user_version", 1).unwrap();
        let mut store = SqliteStore::prepare(connection).unwrap();
        assert_eq!(store.load().unwrap(), Kept::default());
    }

    #[test]
    fn a_newer_database_is_refused() {
        let connection = Connection::open_in_memory().unwrap();
        connection.pragma_update(None, "user_version", 99).unwrap();
        let error = SqliteStore::prepare(connection).err().unwrap();
        assert!(error.to_string().contains("schema 99"), "{error}");
    }
}
