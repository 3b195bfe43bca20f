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

const NEWEST: &str = "ORDER BY arrived DESC, number DESC LIMIT ?";

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
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let (common, common_values) = conditions(filter);
        let mut parts = Vec::new();
        let mut values = Vec::new();
        for (term, value) in alternatives(filter) {
            let terms: Vec<&str> = term
                .into_iter()
                .chain(common.iter().map(String::as_str))
                .collect();
            let condition = match terms.is_empty() {
                true => String::new(),
                false => format!("WHERE {}", terms.join(" AND ")),
            };
            parts.push(format!(
                "SELECT * FROM (SELECT {COLUMNS} FROM ledger {condition} {NEWEST})"
            ));
            values.extend(value);
            values.extend(common_values.iter().cloned());
            values.push(Value::Integer(limit));
        }
        let sql = format!("{} {NEWEST}", parts.join(" UNION "));
        values.push(Value::Integer(limit));
        let mut statement = self.connection.prepare_cached(&sql)?;
        let rows = statement.query_map(params_from_iter(values), row)?;
        let mut rows = rows.collect::<Result<Vec<_>, _>>()?;
        rows.reverse();
        Ok(rows)
    }
}

/// The sides on which the user, or else the domain, may stand. Each is asked for alone, so that its index gives the newest
/// first and the search ends at the limit.
fn alternatives(filter: &Filter) -> Vec<(Option<&'static str>, Option<Value>)> {
    let text = |value: &String| Some(Value::Text(value.clone()));
    match (&filter.user, &filter.domain) {
        (Some((xmpp, sip)), _) => {
            vec![(Some("xmpp = ?"), text(xmpp)), (Some("sip = ?"), text(sip))]
        }
        (None, Some(domain)) => vec![
            (Some("xmpp_domain = ?"), text(domain)),
            (Some("sip_domain = ?"), text(domain)),
        ],
        (None, None) => vec![(None, None)],
    }
}

/// What holds on either side.
fn conditions(filter: &Filter) -> (Vec<String>, Vec<Value>) {
    let mut terms: Vec<String> = Vec::new();
    let mut values = Vec::new();
    if filter.user.is_some()
        && let Some(domain) = &filter.domain
    {
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
    (terms, values)
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

#[cfg(test)]
mod tests {
    use stox_core::vocab::{About, Entry, Fate, Party, Ref, StoreOut};

    use super::super::{SqliteStore, Store as _};
    use super::*;

    fn entry(number: u64, way: Way, xmpp: &str, sip: &str, outcome: Outcome) -> StoreOut {
        StoreOut::Record(Box::new(Entry {
            number: Ref(number),
            way,
            xmpp: Party::Jid(xmpp.parse().unwrap()),
            sip: Party::Jid(sip.parse().unwrap()),
            id: None,
            about: About {
                // The later numbers came first.
                arrived: Duration::from_secs(100 - number),
                ..About::default()
            },
            known: Duration::from_secs(200 + number),
            fate: Fate::from(outcome),
        }))
    }

    #[test]
    fn filters_narrow_and_the_newest_stay() {
        let folder = std::env::temp_dir().join(format!("stoxgate-reader-{}", std::process::id()));
        assert!(LedgerReader::open(&folder).is_err());
        let mut store = SqliteStore::open(&folder).unwrap();
        let (alma, dora) = ("alma@jabber.example/desk", "dora@other.example");
        let (bruno, carla) = ("Bruno@ocs.example", "o\\27neil@ocs.example");
        store
            .apply(&[
                entry(1, Way::ToSip, alma, bruno, Outcome::Taken),
                entry(2, Way::ToXmpp, alma, carla, Outcome::Failed),
                entry(3, Way::ToSip, dora, bruno, Outcome::Unknown),
                entry(4, Way::ToSip, dora, carla, Outcome::Taken),
            ])
            .unwrap();
        let reader = LedgerReader::open(&folder).unwrap();
        let all = Filter::default;
        let user = |xmpp: &str, sip: &str| Some((xmpp.to_owned(), sip.to_owned()));
        let at = |seconds| Some(Duration::from_secs(seconds));
        let rows: Vec<(Filter, u64, &[i64])> = vec![
            (all(), 9, &[4, 3, 2, 1]),
            (all(), 2, &[2, 1]),
            (
                Filter {
                    user: user("alma@jabber.example", "sip:alma@jabber.example"),
                    ..all()
                },
                9,
                &[2, 1],
            ),
            (
                Filter {
                    user: user("bruno@ocs.example", "sip:bruno@ocs.example"),
                    ..all()
                },
                9,
                &[3, 1],
            ),
            (
                Filter {
                    user: user("bruno@ocs.example", "sip:bruno@ocs.example"),
                    ..all()
                },
                1,
                &[1],
            ),
            (
                Filter {
                    user: user("o\\27neil@ocs.example", "sip:o'neil@ocs.example"),
                    domain: Some("other.example".to_owned()),
                    ..all()
                },
                9,
                &[4],
            ),
            (
                Filter {
                    domain: Some("ocs.example".to_owned()),
                    ..all()
                },
                3,
                &[3, 2, 1],
            ),
            (
                Filter {
                    domain: Some("jabber.example".to_owned()),
                    ..all()
                },
                9,
                &[2, 1],
            ),
            (
                Filter {
                    domain: Some("nowhere".to_owned()),
                    ..all()
                },
                9,
                &[],
            ),
            (
                Filter {
                    outcomes: vec![Outcome::Failed, Outcome::Unknown],
                    ..all()
                },
                9,
                &[3, 2],
            ),
            (
                Filter {
                    way: Some(Way::ToXmpp),
                    ..all()
                },
                9,
                &[2],
            ),
            (
                Filter {
                    since: at(97),
                    until: at(99),
                    ..all()
                },
                9,
                &[3, 2],
            ),
            (
                Filter {
                    known_since: at(203),
                    ..all()
                },
                u64::MAX,
                &[4, 3],
            ),
        ];
        for (filter, limit, expected) in rows {
            let found = reader.read(&filter, limit).unwrap();
            let numbers: Vec<i64> = found.iter().map(|row| row.number).collect();
            assert_eq!(numbers, expected, "{filter:?}");
        }
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_database_of_another_release_is_not_read() {
        let folder = std::env::temp_dir().join(format!("stoxgate-other-{}", std::process::id()));
        drop(SqliteStore::open(&folder).unwrap());
        for (schema, words) in [
            (2u32, "start this release's gateway once"),
            (99, "newer one"),
        ] {
            let connection = Connection::open(folder.join(FILE)).unwrap();
            connection
                .pragma_update(None, "user_version", schema)
                .unwrap();
            drop(connection);
            let error = LedgerReader::open(&folder).err().unwrap().to_string();
            assert!(error.contains(words), "{error}");
        }
        std::fs::remove_dir_all(folder).unwrap();
    }
}
