//! `stoxgate messages`: what became of messages, read from the ledger.

mod question;
mod show;
mod when;

use std::collections::BTreeMap;
use std::io::{ErrorKind, Write};
use std::path::Path;
use std::time::Duration;

use crate::store::{Filter, LedgerReader, Row, StoreError, millis};

pub use question::{Format, Question};

/// How often `--follow` looks.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How long after it was known an entry may be written, and still be shown by `--follow`.
const LATE: Duration = Duration::from_secs(30);
/// How old a message may be whose late receipt `--follow` shows.
const FOLLOW_BACK: Duration = Duration::from_secs(24 * 3600);

/// Why nothing could be shown.
#[derive(Debug, thiserror::Error)]
pub enum MessagesError {
    /// The ledger cannot be read.
    #[error(
        "{folder}: {error}; has a gateway with these settings ever run, and may you read its files?"
    )]
    Store {
        /// The state folder.
        folder: String,
        /// Why.
        error: StoreError,
    },
    /// The output cannot be written.
    #[error(transparent)]
    Output(#[from] std::io::Error),
}

/// Answers the question on `out`. With `follow` it goes on until `out` is closed. `now` is wall-clock time since 1970.
///
/// # Errors
/// The ledger cannot be read, or `out` not written for another reason than that nobody reads it any more.
pub fn run(
    question: &Question,
    folder: &Path,
    now: impl Fn() -> Duration,
    out: &mut dyn Write,
) -> Result<(), MessagesError> {
    let store = |error| MessagesError::Store {
        folder: folder.display().to_string(),
        error,
    };
    let reader = LedgerReader::open(folder).map_err(store)?;
    let filter = question.filter(now());
    let mut news = News::new(filter.clone(), now());
    if question.follow {
        news.only_new(reader.read(&news.filter, u64::MAX).map_err(store)?);
    }
    let rows = reader.read(&filter, question.at_most()).map_err(store)?;
    let mut printer = show::Printer::new(question.format, out);
    let mut shown = printer.print(&rows);
    if !question.follow {
        shown = shown.and_then(|()| printer.finish());
        return ended(shown);
    }
    news.only_new(rows);
    while shown.is_ok() {
        pause();
        news.move_to(now());
        let rows = reader.read(&news.filter, u64::MAX).map_err(store)?;
        shown = printer.print(&news.only_new(rows));
    }
    ended(shown)
}

#[allow(
    clippy::disallowed_methods,
    reason = "nothing tells of what another process has written"
)]
fn pause() {
    std::thread::sleep(LOOK_EVERY);
}

/// Whoever has closed our output does not want the rest of it.
fn ended(shown: std::io::Result<()>) -> Result<(), MessagesError> {
    match shown {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// What `--follow` has shown already, of the last [`LATE`].
struct News {
    filter: Filter,
    /// When each number with its outcome was known, in milliseconds.
    shown: BTreeMap<(i64, String), i64>,
}

impl News {
    fn new(filter: Filter, now: Duration) -> Self {
        let mut news = Self {
            filter,
            shown: BTreeMap::new(),
        };
        news.move_to(now);
        news
    }

    fn move_to(&mut self, now: Duration) {
        let back = Some(now.saturating_sub(FOLLOW_BACK));
        let late = now.saturating_sub(LATE);
        self.filter.since = self.filter.since.max(back);
        self.filter.known_since = Some(late);
        self.shown.retain(|_, known| *known >= millis(late));
    }

    /// Those that were not shown before.
    fn only_new(&mut self, mut rows: Vec<Row>) -> Vec<Row> {
        let name = |row: &Row| (row.number, row.outcome.clone());
        rows.retain(|row| self.shown.insert(name(row), row.known).is_none());
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stox_core::vocab::{About, Amendment, Entry, Outcome, Party, Ref, StoreOut, Way};

    use crate::store::{SqliteStore, Store as _};

    fn entry(number: u64, known: u64) -> StoreOut {
        let arrived = Duration::from_secs(1_000_000);
        StoreOut::Record(Box::new(Entry {
            number: Ref(number),
            way: Way::ToSip,
            xmpp: Party::Jid("a@b".parse().unwrap()),
            sip: Party::Jid("c@d".parse().unwrap()),
            id: None,
            about: About {
                arrived,
                ..About::default()
            },
            known: arrived + Duration::from_secs(known),
            fate: Outcome::Taken.into(),
        }))
    }

    #[test]
    fn following_shows_each_change_once() {
        let folder = std::env::temp_dir().join(format!("stoxgate-follow-{}", std::process::id()));
        let mut store = SqliteStore::open(&folder).unwrap();
        let reader = LedgerReader::open(&folder).unwrap();
        let at = |seconds: u64| Duration::from_secs(1_000_000 + seconds);
        let mut news = News::new(Filter::default(), at(100));
        let mut look = |now| {
            news.move_to(at(now));
            let rows = reader.read(&news.filter, u64::MAX).unwrap();
            let new = news.only_new(rows).into_iter();
            let words: Vec<String> = new
                .map(|row| format!("{} {}", row.number, row.outcome))
                .collect();
            (words, news.shown.len())
        };
        store
            .apply(&[entry(1, 10), entry(2, 99), entry(4, 100)])
            .unwrap();
        assert_eq!(
            look(100),
            (vec!["2 taken".to_owned(), "4 taken".to_owned()], 2)
        );
        // Number 3 became known before number 4 and was written after it.
        let displayed = Amendment {
            number: Ref(2),
            known: at(101),
            fate: Outcome::Displayed.into(),
        };
        store
            .apply(&[entry(3, 98), StoreOut::Amend(Box::new(displayed))])
            .unwrap();
        assert_eq!(
            look(101),
            (vec!["2 displayed".to_owned(), "3 taken".to_owned()], 4)
        );
        assert_eq!(look(102), (vec![], 4));
        assert_eq!(look(1000), (vec![], 0));
        std::fs::remove_dir_all(folder).unwrap();
    }
}
