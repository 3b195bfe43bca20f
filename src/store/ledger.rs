//! The ledger's table: one row for each message, with what an administrator asks for.

use std::time::Duration;

use rusqlite::{Connection, params};
use stox_core::vocab::{Amendment, Entry, Fate, ImKind, Ref};

use super::StoreError;

/// What schema 3 added: the ledger, and what it has to know of a message that a crash leaves behind.
pub(super) const THIRD: &str = "
CREATE TABLE ledger (
  number INTEGER PRIMARY KEY AUTOINCREMENT, arrived INTEGER NOT NULL, known INTEGER NOT NULL, direction TEXT NOT NULL,
  xmpp TEXT NOT NULL, resource TEXT, sip TEXT NOT NULL, xmpp_domain TEXT NOT NULL, sip_domain TEXT NOT NULL,
  id TEXT, thread TEXT, kind TEXT NOT NULL, octets INTEGER NOT NULL,
  outcome TEXT NOT NULL, rank INTEGER NOT NULL, said_by TEXT, code TEXT, words TEXT);
CREATE INDEX ledger_arrived ON ledger (arrived);
CREATE INDEX ledger_xmpp ON ledger (xmpp, arrived);
CREATE INDEX ledger_sip ON ledger (sip, arrived);
CREATE INDEX ledger_xmpp_domain ON ledger (xmpp_domain, arrived);
CREATE INDEX ledger_sip_domain ON ledger (sip_domain, arrived);
CREATE INDEX ledger_outcome ON ledger (outcome, arrived);
ALTER TABLE unsettled ADD COLUMN arrived INTEGER NOT NULL DEFAULT 0;
ALTER TABLE unsettled ADD COLUMN octets INTEGER NOT NULL DEFAULT 0;
ALTER TABLE unsettled ADD COLUMN kind TEXT NOT NULL DEFAULT 'normal';
ALTER TABLE unsettled ADD COLUMN thread TEXT;
";

const RECORD: &str = "
INSERT OR IGNORE INTO ledger (number, arrived, known, direction, xmpp, resource, sip, xmpp_domain, sip_domain, id, thread, kind,
  octets, outcome, rank, said_by, code, words)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18)";
const AMEND: &str = "
UPDATE ledger SET known = ?2, outcome = ?3, rank = ?4, said_by = ?5, code = ?6, words = ?7 WHERE number = ?1 AND rank < ?4";
const TOO_OLD: &str = "
DELETE FROM ledger WHERE number IN (SELECT number FROM ledger WHERE arrived < ?1 ORDER BY arrived LIMIT ?2)";
const TOO_MANY: &str = "
DELETE FROM ledger WHERE number IN (SELECT number FROM ledger ORDER BY number LIMIT ?1)";

/// How much of the ledger stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// How long an entry stays.
    pub keep: Duration,
    /// Entries that stay at most, the newest.
    pub max_entries: u64,
}

/// Whole milliseconds: the ledger's unit of time.
pub fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

fn number(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Writes an entry; one that is there stays.
pub(super) fn record(connection: &Connection, entry: &Entry) -> Result<usize, StoreError> {
    let fate = &entry.fate;
    let [by, code, words] = reason(fate);
    let mut statement = connection.prepare_cached(RECORD)?;
    Ok(statement.execute(params![
        entry.number.0.cast_signed(),
        millis(entry.about.arrived),
        millis(entry.known),
        entry.way.name(),
        entry.xmpp.xmpp(),
        entry.xmpp.resource(),
        entry.sip.sip(),
        entry.xmpp.domain(),
        entry.sip.domain(),
        entry.id,
        entry.about.thread,
        entry.about.kind.name(),
        number(entry.about.octets),
        fate.outcome.name(),
        fate.outcome as i64,
        by,
        code,
        words,
    ])?)
}

/// Amends an entry, where there is one of which less was known.
pub(super) fn amend(connection: &Connection, amendment: &Amendment) -> Result<usize, StoreError> {
    let fate = &amendment.fate;
    let [by, code, words] = reason(fate);
    let mut statement = connection.prepare_cached(AMEND)?;
    Ok(statement.execute(params![
        amendment.number.0.cast_signed(),
        millis(amendment.known),
        fate.outcome.name(),
        fate.outcome as i64,
        by,
        code,
        words,
    ])?)
}

/// Takes away at most `step` entries that are older than `before`, then at most `step` of those above `max_entries`.
/// Says how many are gone.
pub(super) fn prune(
    connection: &Connection,
    before: Duration,
    excess: u64,
    step: u64,
) -> Result<u64, StoreError> {
    let mut gone = connection
        .prepare_cached(TOO_OLD)?
        .execute(params![millis(before), number(step)])?;
    let excess = excess.saturating_sub(gone as u64).min(step);
    if excess > 0 {
        gone += connection
            .prepare_cached(TOO_MANY)?
            .execute([number(excess)])?;
    }
    Ok(gone as u64)
}

/// How many entries there are.
pub(super) fn count(connection: &Connection) -> Result<u64, StoreError> {
    let count: i64 = connection.query_row("SELECT count(*) FROM ledger", [], |row| row.get(0))?;
    Ok(u64::try_from(count).unwrap_or_default())
}

/// The highest number that the ledger has ever had, also when the entry is gone.
pub(super) fn last_number(connection: &Connection) -> Result<Ref, StoreError> {
    let last: i64 = connection.query_row(
        "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'ledger'",
        [],
        |row| row.get(0),
    )?;
    Ok(Ref(u64::try_from(last).unwrap_or_default()))
}

pub(super) fn word_to_kind(word: &str) -> ImKind {
    let found = ImKind::ALL.into_iter().find(|kind| kind.name() == word);
    found.unwrap_or_default()
}

fn reason(fate: &Fate) -> [Option<&str>; 3] {
    match &fate.reason {
        Some(reason) => [
            Some(reason.by.name()),
            Some(&reason.code),
            Some(&reason.words),
        ],
        None => [None; 3],
    }
}
