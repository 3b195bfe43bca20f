//! The embedded store: SQLite with a write-ahead log.

use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode, OptionalExtension, params};
use stox_core::address::{Jid, Scheme, SipAddress};
use stox_core::vocab::{About, Direction, Grant, Lesson, Pair, Ref, StoreOut, Unsettled};

use super::ledger::{self, Retention};
use super::{Kept, Store, StoreError};

/// The schema that this release writes.
pub(super) const SCHEMA: u32 = 3;
/// The database's file in the state folder.
pub(super) const FILE: &str = "stoxgate.sqlite";
/// Memory for pages: the ledger's indexes are written all over.
const CACHE_KIB: i64 = 16_384;
/// Pages in the write-ahead log (4 KiB each) before they are moved to the file, which waits for the disk. A page that was
/// written many times is moved once.
const CHECKPOINT_PAGES: i64 = 4_000;
/// Between two attempts to make room on a full disk.
const ROOM: Duration = Duration::from_secs(1);
/// What schema 1 had.
const FIRST: &str = "
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

/// What each schema added to the one before.
const STEPS: [&str; SCHEMA as usize] = [FIRST, SECOND, ledger::THIRD];

/// A database file.
pub struct SqliteStore {
    connection: Connection,
    /// Entries in the ledger, once they have been counted.
    entries: Option<u64>,
    /// When room was last made on a full disk.
    made_room: Option<Instant>,
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
        Self::prepare(Connection::open(folder.join(FILE))?)
    }

    /// A database in memory, for tests.
    ///
    /// # Errors
    /// SQLite refused.
    pub fn in_memory() -> Result<Self, StoreError> {
        Self::prepare(Connection::open_in_memory()?)
    }

    fn prepare(mut connection: Connection) -> Result<Self, StoreError> {
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "NORMAL")?;
        connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
        connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
        connection.busy_timeout(Duration::from_secs(2))?;
        let transaction = connection.transaction()?;
        let found: u32 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
        if found > SCHEMA {
            return Err(StoreError::Newer {
                found,
                known: SCHEMA,
            });
        }
        if found < SCHEMA {
            for step in STEPS.iter().skip(found as usize) {
                transaction.execute_batch(step)?;
            }
            transaction.pragma_update(None, "user_version", SCHEMA)?;
        }
        transaction.commit()?;
        Ok(Self {
            connection,
            entries: None,
            made_room: None,
        })
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
            .prepare("SELECT reference, sender, recipient, id, arrived, octets, kind, thread FROM unsettled ORDER BY reference")?;
        let rows = statement.query_map([], |row| {
            Ok((
                row.get::<_, i64>(0)?,
                row.get::<_, String>(1)?,
                row.get::<_, String>(2)?,
                row.get::<_, Option<String>>(3)?,
                About {
                    arrived: Duration::from_millis(row.get::<_, i64>(4)?.try_into().unwrap_or(0)),
                    octets: row.get::<_, i64>(5)?.try_into().unwrap_or(0),
                    kind: ledger::word_to_kind(&row.get::<_, String>(6)?),
                    thread: row.get(7)?,
                },
            ))
        })?;
        let mut found = Vec::new();
        for row in rows {
            let (reference, sender, recipient, id, about) = row?;
            let damaged = || StoreError::Damaged {
                table: "unsettled",
                value: format!("{reference} {sender} {recipient}"),
            };
            found.push(Unsettled {
                reference: Ref(reference.cast_unsigned()),
                from: sender.parse::<Jid>().map_err(|_| damaged())?,
                to: recipient.parse::<Jid>().map_err(|_| damaged())?,
                id,
                about,
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

impl SqliteStore {
    fn write(&mut self, batch: &[StoreOut]) -> Result<(), StoreError> {
        let transaction = self.connection.transaction()?;
        let mut entered = 0;
        for command in batch {
            let rows = apply_one(&transaction, command)?;
            if matches!(command, StoreOut::Record(_)) {
                entered += rows as u64;
            }
        }
        transaction.commit()?;
        if let Some(entries) = &mut self.entries {
            *entries = entries.saturating_add(entered);
        }
        Ok(())
    }

    /// Moves the write-ahead log to the file, so that it begins anew: it may be what has filled the disk.
    fn make_room(&mut self) {
        if self.made_room.is_some_and(|at| at.elapsed() < ROOM) {
            return;
        }
        self.made_room = Some(Instant::now());
        let moved = self
            .connection
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        if let Err(error) = moved {
            tracing::debug!(%error, "the write-ahead log of the store cannot be moved to its file");
        }
    }
}

impl Store for SqliteStore {
    fn load(&mut self) -> Result<Kept, StoreError> {
        self.entries = Some(ledger::count(&self.connection)?);
        Ok(Kept {
            authorisations: self.authorisations()?,
            unsettled: self.unsettled()?,
            lessons: self.lessons()?,
            last_number: ledger::last_number(&self.connection)?,
        })
    }

    fn apply(&mut self, batch: &[StoreOut]) -> Result<(), StoreError> {
        let applied = self.write(batch);
        if let Err(StoreError::Database(error)) = &applied
            && error.sqlite_error_code() == Some(ErrorCode::DiskFull)
        {
            self.make_room();
        }
        applied
    }

    fn prune(
        &mut self,
        retention: Retention,
        now: Duration,
        step: u64,
    ) -> Result<bool, StoreError> {
        let entries = match self.entries {
            Some(entries) => entries,
            None => ledger::count(&self.connection)?,
        };
        let transaction = self.connection.transaction()?;
        let before = now.saturating_sub(retention.keep);
        let excess = entries.saturating_sub(retention.max_entries);
        let gone = ledger::prune(&transaction, before, excess, step)?;
        transaction.commit()?;
        self.entries = Some(entries.saturating_sub(gone));
        Ok(gone >= step)
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

/// How many rows it has changed.
fn apply_one(connection: &Connection, command: &StoreOut) -> Result<usize, StoreError> {
    let rows = match command {
        StoreOut::Put { pair, grant } => connection
            .prepare_cached("INSERT OR REPLACE INTO authorisation (direction, xmpp, sip, state) VALUES (?1, ?2, ?3, ?4)")?
            .execute(params![direction_to_word(pair.direction), pair.xmpp.to_string(), sip_to_text(&pair.sip), grant_to_word(*grant)])?,
        StoreOut::Remove(pair) => connection
            .prepare_cached("DELETE FROM authorisation WHERE direction = ?1 AND xmpp = ?2 AND sip = ?3")?
            .execute(params![direction_to_word(pair.direction), pair.xmpp.to_string(), sip_to_text(&pair.sip)])?,
        StoreOut::Keep(message) => connection
            .prepare_cached("INSERT OR REPLACE INTO unsettled (reference, sender, recipient, id, arrived, octets, kind, thread) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)")?
            .execute(params![message.reference.0.cast_signed(), message.from.to_string(), message.to.to_string(), message.id, ledger::millis(message.about.arrived), i64::try_from(message.about.octets).unwrap_or(i64::MAX), message.about.kind.name(), message.about.thread])?,
        StoreOut::Settle(reference) => connection
            .prepare_cached("DELETE FROM unsettled WHERE reference = ?1")?
            .execute([reference.0.cast_signed()])?,
        StoreOut::Learn(lesson) => connection
            .prepare_cached("INSERT OR REPLACE INTO lesson (domain, dialect, im, evidence, weight) VALUES (?1, ?2, ?3, ?4, ?5)")?
            .execute(params![lesson.domain, lesson.dialect, lesson.im, lesson.evidence, lesson.weight])?,
        StoreOut::Record(entry) => ledger::record(connection, entry)?,
        StoreOut::Amend(amendment) => ledger::amend(connection, amendment)?,
    };
    Ok(rows)
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
    use stox_core::failure::{Failure, SipStatus};
    use stox_core::vocab::{Amendment, Entry, Fate, ImKind, Outcome, Party, Way};

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
            about: About {
                arrived: Duration::from_millis(1_800_000_000_123),
                octets: 5,
                kind: ImKind::Chat,
                thread: Some("t1".to_owned()),
            },
        }
    }

    fn entry(number: u64, arrived: u64) -> Entry {
        Entry {
            number: Ref(number),
            way: Way::ToSip,
            xmpp: Party::Jid("Romeo@jabber.test/orchard".parse().unwrap()),
            sip: Party::Jid("alice@ocs.test".parse().unwrap()),
            id: Some("m1".to_owned()),
            about: About {
                arrived: Duration::from_secs(arrived),
                ..About::default()
            },
            known: Duration::from_secs(arrived + 1),
            fate: Outcome::Taken.into(),
        }
    }

    fn record(number: u64, arrived: u64) -> StoreOut {
        StoreOut::Record(Box::new(entry(number, arrived)))
    }

    fn amend(number: u64, fate: Fate) -> StoreOut {
        StoreOut::Amend(Box::new(Amendment {
            number: Ref(number),
            known: Duration::from_secs(99),
            fate,
        }))
    }

    /// Number, outcome and code of each entry.
    fn entries(store: &SqliteStore) -> Vec<(i64, String, Option<String>)> {
        let mut statement = store
            .connection
            .prepare("SELECT number, outcome, code FROM ledger ORDER BY number")
            .unwrap();
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)));
        rows.unwrap().map(Result::unwrap).collect()
    }

    #[test]
    fn an_entry_stays_and_moves_forward_only() {
        let mut store = SqliteStore::in_memory().unwrap();
        let failure = Failure::Sip(SipStatus::new(480, ""));
        let failed = || Fate::of(Way::ToSip, &failure);
        let crashed = StoreOut::Record(Box::new(Entry {
            fate: Outcome::Unknown.into(),
            ..entry(2, 5)
        }));
        store
            .apply(&[
                record(1, 5),
                record(2, 5),
                record(3, 5),
                // A restart does not know that its predecessor had entered it.
                crashed,
                amend(1, Outcome::Displayed.into()),
                amend(1, Outcome::Delivered.into()),
                amend(2, failed()),
                amend(2, Outcome::Taken.into()),
                amend(77, failed()),
            ])
            .unwrap();
        let row = |number, outcome: &str, code: Option<&str>| {
            (number, outcome.to_owned(), code.map(str::to_owned))
        };
        let expected = [
            row(1, "displayed", None),
            row(2, "failed", Some("480")),
            row(3, "taken", None),
        ];
        assert_eq!(entries(&store), expected);
        assert_eq!(store.load().unwrap().last_number, Ref(3));
    }

    #[test]
    fn old_and_surplus_entries_go_in_steps_and_their_numbers_do_not_come_back() {
        let mut store = SqliteStore::in_memory().unwrap();
        let batch: Vec<StoreOut> = (1..=30).map(|number| record(number, number)).collect();
        store.apply(&batch).unwrap();
        let retention = Retention {
            keep: Duration::from_secs(100),
            max_entries: 15,
        };
        let mut prune = |now| {
            let more = store.prune(retention, Duration::from_secs(now), 4).unwrap();
            (more, entries(&store).first().map(|row| row.0))
        };
        // Ten are too old: 1 to 10; five more are too many.
        assert_eq!(prune(111), (true, Some(9)));
        assert_eq!(prune(111), (true, Some(15)));
        assert_eq!(prune(111), (false, Some(16)));
        assert_eq!(prune(111), (false, Some(16)));
        store.apply(&[record(31, 31), record(31, 31)]).unwrap();
        let mut prune = |now| {
            store
                .prune(retention, Duration::from_secs(now), 40)
                .unwrap()
        };
        assert!(!prune(111));
        assert!(!prune(1000));
        assert_eq!(entries(&store), []);
        assert_eq!(store.load().unwrap().last_number, Ref(31));
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
            last_number: Ref(4),
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
            batch.push(record(4, 9));
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
    fn a_database_of_an_older_schema_is_taken_over() {
        for old in 1..SCHEMA {
            let connection = Connection::open_in_memory().unwrap();
            for step in STEPS.iter().take(old as usize) {
                connection.execute_batch(step).unwrap();
            }
            connection
                .execute_batch(
                    "INSERT INTO unsettled VALUES (3, 'romeo@jabber.test', 'alice@ocs.test', 'm1')",
                )
                .unwrap();
            connection.pragma_update(None, "user_version", old).unwrap();
            let mut store = SqliteStore::prepare(connection).unwrap();
            let left = Unsettled {
                reference: Ref(3),
                from: "romeo@jabber.test".parse().unwrap(),
                to: "alice@ocs.test".parse().unwrap(),
                about: About::default(),
                ..message(3)
            };
            let expected = Kept {
                unsettled: vec![left],
                ..Kept::default()
            };
            assert_eq!(store.load().unwrap(), expected);
            store.apply(&[record(1, 1)]).unwrap();
            let again = SqliteStore::prepare(store.connection).unwrap();
            assert_eq!(entries(&again).len(), 1);
        }
    }

    #[test]
    fn a_newer_database_is_refused() {
        let connection = Connection::open_in_memory().unwrap();
        connection.pragma_update(None, "user_version", 99).unwrap();
        let error = SqliteStore::prepare(connection).err().unwrap();
        assert!(error.to_string().contains("schema 99"), "{error}");
    }
}
