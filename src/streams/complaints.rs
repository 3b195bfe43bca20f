//! Warnings about partners: at most one a minute for each, with a count of those between.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Time between two warnings about one partner.
const PAUSE: Duration = Duration::from_secs(60);
/// Partners that are remembered. Who claims a domain chooses its name, so that there may be any number of them.
const MOST: usize = 1_000;

/// When who was warned about.
#[derive(Debug, Default)]
pub(super) struct Complaints(Mutex<HashMap<String, Complaint>>);

#[derive(Debug)]
struct Complaint {
    warned: Instant,
    held_back: u32,
}

impl Complaints {
    /// Logs a warning about a partner, or counts it where there was one a moment ago.
    pub(super) fn warn(&self, partner: &str, words: &str) {
        match self.admit(partner, Instant::now()) {
            Some(0) => tracing::warn!(partner, "XMPP partner: {words}"),
            Some(held_back) => tracing::warn!(
                partner,
                held_back,
                "XMPP partner: {words} (and earlier warnings, held back)"
            ),
            None => tracing::debug!(partner, "XMPP partner: {words}"),
        }
    }

    /// How many warnings were held back since the last; `None` where this one is, too.
    fn admit(&self, partner: &str, now: Instant) -> Option<u32> {
        let mut complaints = self.0.lock();
        if let Some(complaint) = complaints.get_mut(partner) {
            if now.duration_since(complaint.warned) < PAUSE {
                complaint.held_back = complaint.held_back.saturating_add(1);
                return None;
            }
            complaint.warned = now;
            return Some(std::mem::take(&mut complaint.held_back));
        }
        if complaints.len() >= MOST {
            complaints.retain(|_, complaint| now.duration_since(complaint.warned) < PAUSE);
        }
        if complaints.len() >= MOST {
            return None;
        }
        let complaint = Complaint {
            warned: now,
            held_back: 0,
        };
        complaints.insert(partner.to_owned(), complaint);
        Some(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partner_is_warned_about_once_a_minute() {
        let complaints = Complaints::default();
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(complaints.admit("a.test", at(0)), Some(0));
        assert_eq!(complaints.admit("a.test", at(1)), None);
        assert_eq!(complaints.admit("b.test", at(1)), Some(0), "on its own");
        assert_eq!(complaints.admit("a.test", at(59)), None);
        assert_eq!(complaints.admit("a.test", at(60)), Some(2));
        assert_eq!(complaints.admit("a.test", at(61)), None);
        assert_eq!(complaints.admit("a.test", at(120)), Some(1));
    }

    #[test]
    fn the_memory_is_bounded() {
        let complaints = Complaints::default();
        let start = Instant::now();
        for number in 0..MOST {
            assert_eq!(complaints.admit(&format!("{number}.test"), start), Some(0));
        }
        assert_eq!(complaints.admit("one-more.test", start), None);
        assert_eq!(complaints.admit("one-more.test", start + PAUSE), Some(0));
        assert_eq!(complaints.0.lock().len(), 1);
    }
}
