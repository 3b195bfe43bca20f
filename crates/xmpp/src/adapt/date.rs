//! XEP-0082 times.

use std::time::Duration;

use minidom::Element;
use xmpp_parsers::date::DateTime;

/// Reads a time as the span since 1970 UTC; earlier times and what is no time give nothing.
pub(super) fn parse(text: &str) -> Option<Duration> {
    let time: DateTime = text.trim().parse().ok()?;
    u64::try_from(time.0.timestamp_millis())
        .ok()
        .map(Duration::from_millis)
}

/// The time in the attribute of a child such as XEP-0203 `delay`.
pub(super) fn attribute_of(
    stanza: &Element,
    child: &str,
    ns: &str,
    attribute: &str,
) -> Option<Duration> {
    stanza.get_child(child, ns)?.attr(attribute).and_then(parse)
}

/// Writes a time to the second, in UTC.
pub(super) fn print(since_1970: Duration) -> String {
    const DAY: u64 = 86_400;
    let seconds = since_1970.as_secs();
    let (year, month, day) = civil(seconds / DAY);
    let rest = seconds % DAY;
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z",
        rest / 3600,
        rest / 60 % 60,
        rest % 60
    )
}

/// Gregorian date of a day number counted from 1970-01-01. Years are counted from March, so that the leap day is the
/// last of its year, in eras of 400 years.
fn civil(days_since_1970: u64) -> (u64, u64, u64) {
    let days = days_since_1970 + 719_468;
    let era = days / 146_097;
    let day_of_era = days % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 {
        march_month + 3
    } else {
        march_month - 9
    };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_the_forms_in_use() {
        let day = Some(Duration::from_millis(1_031_699_305_000));
        for text in [
            "2002-09-10T23:08:25Z",
            " 2002-09-10T23:08:25Z ",
            "2002-09-11T01:08:25+02:00",
        ] {
            assert_eq!(parse(text), day, "{text}");
        }
        assert_eq!(
            parse("2002-09-10T23:08:25.250Z"),
            Some(Duration::from_millis(1_031_699_305_250))
        );
        for text in ["", "yesterday", "1969-12-31T23:59:59Z", "20020910T23:08:25"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn writes_leap_days() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_709_251_199, "2024-02-29T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(print(Duration::from_secs(seconds)), text);
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(seconds in 0_u64..250_000_000_000) {
            let time = Duration::from_secs(seconds);
            prop_assert_eq!(parse(&print(time)), Some(time));
        }
    }
}
