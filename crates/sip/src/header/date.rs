//! `Date` (RFC 3261 §20.17): the RFC 1123 form, GMT only.

use std::time::Duration;

use super::{HeaderError, HeaderValue};

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];
/// 1970-01-01 was a Thursday.
const WEEKDAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
const DAY: u64 = 86_400;

/// A moment, to the second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SipDate {
    /// Time since 1970-01-01T00:00:00Z, leap seconds not counted.
    pub since_epoch: Duration,
}

impl HeaderValue for SipDate {
    /// Years 1970 to 9999. The weekday must be one, but need not be the right one.
    fn parse(text: &str) -> Result<Self, HeaderError> {
        read(text)
            .map(|seconds| Self {
                since_epoch: Duration::from_secs(seconds),
            })
            .ok_or(HeaderError::Date)
    }
}

fn read(text: &str) -> Option<u64> {
    let mut parts = text.split_ascii_whitespace();
    let weekday = parts.next()?.strip_suffix(',')?;
    let day = number(parts.next()?, 2)?;
    let month = parts.next()?;
    let year = number(parts.next()?, 4)?;
    let time = parts.next()?;
    if parts.next() != Some("GMT") || parts.next().is_some() || !WEEKDAYS.contains(&weekday) {
        return None;
    }
    let month = (1_u64..).zip(MONTHS).find(|(_, name)| *name == month)?.0;
    let mut clock = time.splitn(3, ':').map(|part| number(part, 2));
    let (hour, minute, second) = (clock.next()??, clock.next()??, clock.next()??);
    let legal = year >= 1970
        && day >= 1
        && day <= month_length(year, month)
        && hour < 24
        && minute < 60
        && second < 61;
    legal.then(|| {
        days_before(year, month) * DAY + (day - 1) * DAY + hour * 3600 + minute * 60 + second
    })
}

fn number(text: &str, length: usize) -> Option<u64> {
    (text.len() == length)
        .then(|| crate::grammar::digits(text))
        .flatten()
}

const fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

const fn month_length(year: u64, month: u64) -> u64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 to the first of that month.
fn days_before(year: u64, month: u64) -> u64 {
    let past = year - 1;
    let years = (year - 1970) * 365 + (past / 4 - past / 100 + past / 400)
        - (1969 / 4 - 1969 / 100 + 1969 / 400);
    years
        + (1..month)
            .map(|earlier| month_length(year, earlier))
            .sum::<u64>()
}

impl std::fmt::Display for SipDate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let seconds = self.since_epoch.as_secs();
        let days = seconds / DAY;
        let mut year = 1970 + days / 366;
        while days_before(year + 1, 1) <= days {
            year += 1;
        }
        let (month, name) = (1_u64..)
            .zip(MONTHS)
            .take_while(|(month, _)| days_before(year, *month) <= days)
            .last()
            .unwrap_or((1, "Jan"));
        let weekday = WEEKDAYS
            .get(usize::try_from(days % 7).unwrap_or_default())
            .unwrap_or(&"Thu");
        write!(
            f,
            "{weekday}, {:02} {name} {year:04} {:02}:{:02}:{:02} GMT",
            days - days_before(year, month) + 1,
            seconds / 3600 % 24,
            seconds / 60 % 60,
            seconds % 60
        )
    }
}
