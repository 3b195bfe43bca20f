//! Time stamps of XML bodies (RFC 3339) as time since 1970-01-01T00:00:00Z.

use std::time::Duration;

const DAY: i64 = 86_400;

/// Reads an RFC 3339 date-time. `None` for anything else and for times before 1970.
pub fn parse_rfc3339(text: &str) -> Option<Duration> {
    let text = text.trim();
    let (date, clock) = text.split_at_checked(10)?;
    let clock = clock.strip_prefix(['T', 't', ' '])?;
    let (year, month, day) = parse_date(date)?;
    let (hms, rest) = clock.split_at_checked(8)?;
    let seconds = parse_clock(hms)?;
    let (nanos, zone) = parse_fraction(rest)?;
    let total = days_from_civil(year, month, day) * DAY + seconds - parse_zone(zone)?;
    Some(Duration::new(u64::try_from(total).ok()?, nanos))
}

/// Reads a date-time in UTC that may come without its zone, as Office Communications Server writes it.
pub fn parse_zoneless(text: &str) -> Option<Duration> {
    let text = text.trim();
    parse_rfc3339(text).or_else(|| parse_rfc3339(&format!("{text}Z")))
}

/// Writes a date-time in UTC to the millisecond, without its zone.
pub fn format_zoneless(since_epoch: Duration) -> String {
    let whole = format_rfc3339(Duration::from_secs(since_epoch.as_secs()));
    let whole = whole.trim_end_matches('Z');
    format!("{whole}.{:03}", since_epoch.subsec_millis())
}

/// Writes an RFC 3339 date-time in UTC, with as many digits of a second as are needed.
pub fn format_rfc3339(since_epoch: Duration) -> String {
    let (year, month, day) = civil_from_days(since_epoch.as_secs() / 86_400);
    let second_of_day = since_epoch.as_secs() % 86_400;
    let (hour, minute, second) = (
        second_of_day / 3600,
        second_of_day / 60 % 60,
        second_of_day % 60,
    );
    let fraction = match since_epoch.subsec_nanos() {
        0 => String::new(),
        nanos => format!(".{nanos:09}").trim_end_matches('0').to_owned(),
    };
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{fraction}Z")
}

fn parse_date(date: &str) -> Option<(i64, i64, i64)> {
    let mut parts = date.split('-');
    let (year, month, day) = (
        number(parts.next()?, 4)?,
        number(parts.next()?, 2)?,
        number(parts.next()?, 2)?,
    );
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let last = match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    ((1..=last).contains(&day) && parts.next().is_none()).then_some((year, month, day))
}

fn parse_clock(clock: &str) -> Option<i64> {
    let mut parts = clock.split(':');
    let (hour, minute, second) = (
        number(parts.next()?, 2)?,
        number(parts.next()?, 2)?,
        number(parts.next()?, 2)?,
    );
    // 60 is a leap second.
    let valid = hour < 24 && minute < 60 && second <= 60 && parts.next().is_none();
    valid.then_some(hour * 3600 + minute * 60 + second)
}

fn parse_fraction(rest: &str) -> Option<(u32, &str)> {
    let Some(rest) = rest.strip_prefix('.') else {
        return Some((0, rest));
    };
    let end = rest
        .bytes()
        .position(|b| !b.is_ascii_digit())
        .unwrap_or(rest.len());
    let (digits, zone) = rest.split_at_checked(end)?;
    if digits.is_empty() {
        return None;
    }
    let nanos = digits
        .bytes()
        .chain(std::iter::repeat(b'0'))
        .take(9)
        .fold(0, |n, b| n * 10 + u32::from(b - b'0'));
    Some((nanos, zone))
}

/// Seconds east of UTC.
fn parse_zone(zone: &str) -> Option<i64> {
    if matches!(zone, "Z" | "z") {
        return Some(0);
    }
    let (sign, rest) = match zone.split_at_checked(1)? {
        ("+", rest) => (1, rest),
        ("-", rest) => (-1, rest),
        _ => return None,
    };
    let (hours, minutes) = rest.split_once(':')?;
    let (hours, minutes) = (number(hours, 2)?, number(minutes, 2)?);
    (hours < 24 && minutes < 60).then_some(sign * (hours * 3600 + minutes * 60))
}

fn number(digits: &str, length: usize) -> Option<i64> {
    let plain = digits.len() == length && digits.bytes().all(|b| b.is_ascii_digit());
    digits.parse().ok().filter(|_| plain)
}

/// Days since 1970-01-01 of a Gregorian date: years begin in March, so that the leap day is the last of its year.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

fn civil_from_days(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}
