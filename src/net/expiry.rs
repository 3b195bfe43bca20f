//! When our own certificate expires, and when to say so.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, X509Certificate};

const DAY: Duration = Duration::from_secs(24 * 3600);
/// Days before the end at which a word is said.
const MARKS: [u32; 4] = [30, 14, 7, 1];

/// When a certificate expires; `None` where it cannot be read.
#[must_use]
pub fn of(certificate: &CertificateDer<'_>) -> Option<SystemTime> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let seconds = u64::try_from(certificate.validity().not_after.timestamp()).ok()?;
    UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}

/// Whole days from `now` to the end; negative when it is over.
#[must_use]
pub fn days_left(expires: SystemTime, now: SystemTime) -> i64 {
    let days = |span: Duration| i64::try_from(span.as_secs() / DAY.as_secs()).unwrap_or(i64::MAX);
    match expires.duration_since(now) {
        Ok(left) => days(left),
        Err(over) => -1 - days(over.duration()),
    }
}

/// What is to be said of the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice {
    /// So many days are left at most: 30, 14, 7 or 1.
    Within(u32),
    /// It is over.
    Expired,
}

/// Says each thing once, and daily that it is over.
#[derive(Debug, Default)]
pub struct ExpiryWatch {
    watched: Option<SystemTime>,
    said: Option<(Notice, SystemTime)>,
}

impl ExpiryWatch {
    /// What is to be said now. Another end than the last time begins anew.
    pub fn notice(&mut self, expires: SystemTime, now: SystemTime) -> Option<Notice> {
        if self.watched != Some(expires) {
            *self = Self {
                watched: Some(expires),
                said: None,
            };
        }
        let notice = stage(expires, now)?;
        let is_new = match self.said {
            None => true,
            Some((Notice::Expired, at)) if notice == Notice::Expired => {
                now.duration_since(at).is_ok_and(|since| since >= DAY)
            }
            Some((said, _)) => said != notice,
        };
        if is_new {
            self.said = Some((notice, now));
        }
        is_new.then_some(notice)
    }
}

/// The narrowest mark that has come.
fn stage(expires: SystemTime, now: SystemTime) -> Option<Notice> {
    let Ok(left) = expires.duration_since(now) else {
        return Some(Notice::Expired);
    };
    if left.is_zero() {
        return Some(Notice::Expired);
    }
    let come = MARKS.into_iter().filter(|days| left <= DAY * *days);
    come.min().map(Notice::Within)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_mark_is_said_once_and_the_end_daily() {
        let expires = UNIX_EPOCH + DAY * 100;
        let mut watch = ExpiryWatch::default();
        let hours = |from: u32, to: u32| (from..to).map(|hour| UNIX_EPOCH + DAY / 24 * hour);
        let said: Vec<(u64, Notice)> = hours(0, 24 * 102 + 1)
            .filter_map(|now| {
                let notice = watch.notice(expires, now)?;
                let hour = now.duration_since(UNIX_EPOCH).unwrap().as_secs() / 3600;
                Some((hour, notice))
            })
            .collect();
        let expected = [
            (24 * 70, Notice::Within(30)),
            (24 * 86, Notice::Within(14)),
            (24 * 93, Notice::Within(7)),
            (24 * 99, Notice::Within(1)),
            (24 * 100, Notice::Expired),
            (24 * 101, Notice::Expired),
            (24 * 102, Notice::Expired),
        ];
        assert_eq!(said, expected);
    }

    #[test]
    fn days_are_counted_to_the_end_and_beyond() {
        let end = UNIX_EPOCH + DAY * 50;
        let rows = [
            (DAY * 48, 2),
            (DAY * 49 + DAY / 2, 0),
            (DAY * 50 + DAY / 2, -1),
            (DAY * 52, -3),
        ];
        for (now, days) in rows {
            assert_eq!(days_left(end, UNIX_EPOCH + now), days, "{now:?}");
        }
    }

    #[test]
    fn a_late_start_says_the_narrowest_mark_and_a_new_certificate_begins_anew() {
        let mut watch = ExpiryWatch::default();
        let now = UNIX_EPOCH + DAY * 50;
        assert_eq!(watch.notice(now + DAY * 5, now), Some(Notice::Within(7)));
        assert_eq!(watch.notice(now + DAY * 5, now + DAY / 2), None);
        // Renewed, and as short again.
        assert_eq!(watch.notice(now + DAY * 90, now), None);
        assert_eq!(watch.notice(now + DAY * 6, now), Some(Notice::Within(7)));
        assert_eq!(watch.notice(now, now), Some(Notice::Expired));
        // A clock that is set back does not repeat it for ever.
        assert_eq!(watch.notice(now, now - DAY * 2), Some(Notice::Within(7)));
        assert_eq!(watch.notice(now, now - DAY * 2), None);
    }
}
