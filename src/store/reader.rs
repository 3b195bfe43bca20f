//! Reads the ledger beside a running gateway, or without one: SQLite's write-ahead log lets it.

use std::path::Path;
use std::time::Duration;

use rusqlite::types::Value;
use rusqlite::{Connection, OpenFlags, params_from_iter};
use serde::Serialize;
use stox_core::vocab::{Outcome, Way};

use super::StoreError;
use super::ledger::millis;
use super::sqlite::{FILE, SCHEMA};

const COLUMNS: &str = "number, arrived, known, direction, xmpp, resource, sip, id, thread, kind, octets, outcome, said_by, code, words";

/// Which entries to read. What is not set does not matter.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Filter {
    /// Either user: his address as XMPP and as SIP know him, both canonical.
    pub user: Option<(String, String)>,
    /// The domain of either user, canonical.
    pub domain: Option<String>,
    /// Any of these outcomes; empty: all.
    pub outcomes: Vec<Outcome>,
    /// Which way.
    pub way: Option<Way>,
    /// Arrived then or later, since 1970 UTC.
    pub since: Option<Duration>,
    /// Arrived before.
    pub until: Option<Duration>,
    /// Became known, or changed, then or later.
    pub known_since: Option<Duration>,
}

/// One entry, with the field names that `stoxgate messages` promises. Times are milliseconds since 1970 UTC.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "docs/ledger.md describes each field")]
pub struct Row {
    pub number: i64,
    pub arrived: i64,
    pub known: i64,
    pub direction: String,
    pub xmpp: String,
    pub resource: Option<String>,
    pub sip: String,
    pub id: Option<String>,
    pub thread: Option<String>,
    pub kind: String,
    pub octets: i64,
    pub outcome: String,
    pub said_by: Option<String>,
    pub code: Option<String>,
    pub words: Option<String>,
}

/// A database that is only read.
pub struct LedgerReader {
    connection: Connection,
}

impl LedgerReader {
    /// Opens the database in the state folder.
    ///
    /// # Errors
    /// There is none, it cannot be read, or another release wrote it.
    pub fn open(folder: &Path) -> Result<Self, StoreError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(folder.join(FILE), flags)?;
        connection.busy_timeout(Duration::from_secs(5))?;
        let found: u32 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
        match found {
            SCHEMA => Ok(Self { connection }),
            found if found > SCHEMA => Err(StoreError::Newer {
                found,
                known: SCHEMA,
            }),
            found => Err(StoreError::Older {
                found,
                known: SCHEMA,
            }),
        }
    }

    /// The last `limit` entries that the filter lets pass, the oldest first.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn read(&self, filter: &Filter, limit: u64) -> Result<Vec<Row>, StoreError> {
        let (conditions, mut values) = conditions(filter);
        let sql = format!(
            "SELECT {COLUMNS} FROM ledger {conditions} ORDER BY arrived DESC, number DESC LIMIT ?"
        );
        values.push(Value::Integer(i64::try_from(limit).unwrap_or(i64::MAX)));
        let mut statement = self.connection.prepare_cached(&sql)?;
        let rows = statement.query_map(params_from_iter(values), row)?;
        let mut rows = rows.collect::<Result<Vec<_>, _>>()?;
        rows.reverse();
        Ok(rows)
    }
}

fn conditions(filter: &Filter) -> (String, Vec<Value>) {
    let mut terms: Vec<String> = Vec::new();
    let mut values = Vec::new();
    if let Some((xmpp, sip)) = &filter.user {
        terms.push("(xmpp = ? OR sip = ?)".to_owned());
        values.extend([Value::Text(xmpp.clone()), Value::Text(sip.clone())]);
    }
    if let Some(domain) = &filter.domain {
        terms.push("(xmpp_domain = ? OR sip_domain = ?)".to_owned());
        values.extend([Value::Text(domain.clone()), Value::Text(domain.clone())]);
    }
    if !filter.outcomes.is_empty() {
        let marks = vec!["?"; filter.outcomes.len()].join(", ");
        terms.push(format!("outcome IN ({marks})"));
        let names = filter.outcomes.iter().map(|outcome| outcome.name());
        values.extend(names.map(|name| Value::Text(name.to_owned())));
    }
    if let Some(way) = filter.way {
        terms.push("direction = ?".to_owned());
        values.push(Value::Text(way.name().to_owned()));
    }
    let times = [
        ("arrived >= ?", filter.since),
        ("arrived < ?", filter.until),
        ("known >= ?", filter.known_since),
    ];
    for (term, time) in times {
        if let Some(time) = time {
            terms.push(term.to_owned());
            values.push(Value::Integer(millis(time)));
        }
    }
    if terms.is_empty() {
        return (String::new(), values);
    }
    (format!("WHERE {}", terms.join(" AND ")), values)
}

fn row(row: &rusqlite::Row<'_>) -> rusqlite::Result<Row> {
    Ok(Row {
        number: row.get(0)?,
        arrived: row.get(1)?,
        known: row.get(2)?,
        direction: row.get(3)?,
        xmpp: row.get(4)?,
        resource: row.get(5)?,
        sip: row.get(6)?,
        id: row.get(7)?,
        thread: row.get(8)?,
        kind: row.get(9)?,
        octets: row.get(10)?,
        outcome: row.get(11)?,
        said_by: row.get(12)?,
        code: row.get(13)?,
        words: row.get(14)?,
    })
}
