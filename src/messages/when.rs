//! Moments as an administrator writes them.

use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// A moment, or how long ago.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// So long before now.
    Ago(Duration),
    /// Then, since 1970 UTC.
    At(Duration),
}

impl When {
    /// Reads `2h`, `1d 6h`, `2026-11-25`, `2026-11-25T10:00`, `2026-11-25 10:00:30`, or a full RFC 3339 time. A time without
    /// a zone is in `zone`.
    ///
    /// # Errors
    /// What it should look like.
    pub fn parse(text: &str, zone: &TimeZone) -> Result<Self, String> {
        let text = text.trim();
        if let Ok(ago) = humantime::parse_duration(text) {
            return Ok(Self::Ago(ago));
        }
        let at = text.parse::<Timestamp>().or_else(|_| {
            let civil: DateTime = text.parse()?;
            zone.to_timestamp(civil)
        });
        at.map(|at| Self::At(Duration::try_from(at.as_duration()).unwrap_or_default()))
            .map_err(|_| {
                format!(
                    "`{text}` is no time; write how long ago (30m, 2h, 7d), a day (2026-11-25), or a moment (2026-11-25T10:00)"
                )
            })
    }

    /// Since 1970 UTC.
    #[must_use]
    pub fn resolve(self, now: Duration) -> Duration {
        match self {
            Self::Ago(ago) => now.saturating_sub(ago),
            Self::At(at) => at,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOON: u64 = 1_795_608_000;

    fn berlin() -> TimeZone {
        TimeZone::fixed(jiff::tz::offset(1))
    }

    #[test]
    fn people_write_times_in_many_ways() {
        let rows = [
            ("2h", When::Ago(Duration::from_secs(7200))),
            ("1d 6h", When::Ago(Duration::from_secs(30 * 3600))),
            ("2026-11-25T12:00Z", When::At(Duration::from_secs(NOON))),
            (
                "2026-11-25T13:00+01:00",
                When::At(Duration::from_secs(NOON)),
            ),
            (" 2026-11-25T13:00 ", When::At(Duration::from_secs(NOON))),
            (
                "2026-11-25 13:00:30",
                When::At(Duration::from_secs(NOON + 30)),
            ),
            (
                "2026-11-25",
                When::At(Duration::from_secs(NOON - 13 * 3600)),
            ),
        ];
        for (text, expected) in rows {
            assert_eq!(When::parse(text, &berlin()), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_refused_with_examples() {
        for text in [
            "",
            "soon",
            "2h ago",
            "25.11.2026",
            "2026-13-01",
            "10:00",
            "-2h",
        ] {
            let error = When::parse(text, &berlin()).unwrap_err();
            assert!(error.contains("2026-11-25T10:00"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn no_text_breaks_it(text in "\\PC*") {
            _ = When::parse(&text, &berlin()).map(|when| when.resolve(Duration::from_secs(NOON)));
        }

        #[test]
        fn every_moment_can_be_written(seconds in 0i64..100_000_000_000) {
            let text = Timestamp::from_second(seconds).unwrap().to_string();
            let at = Duration::from_secs(seconds.cast_unsigned());
            prop_assert_eq!(When::parse(&text, &berlin()), Ok(When::At(at)));
        }
    }
}
