//! Log lines that a peer can cause: each kind once in a while, with a count of those that were not written.

use std::collections::BTreeMap;
use std::time::Duration;

/// Kinds that are kept apart; beyond them all others count as one.
const KINDS: usize = 1000;

/// Which kinds were told a moment ago.
#[derive(Debug)]
pub struct Quiet<K> {
    interval: Duration,
    told: BTreeMap<K, Told>,
    others: Option<Told>,
}

#[derive(Debug, Clone, Copy)]
struct Told {
    at: Duration,
    unsaid: u64,
}

impl<K: Ord> Quiet<K> {
    /// Each kind is told at most once in `interval`.
    #[must_use]
    pub const fn new(interval: Duration) -> Self {
        Self {
            interval,
            told: BTreeMap::new(),
            others: None,
        }
    }

    /// Whether it may be told at `now`, in monotonic time: with how often it was not since the last time. `None`: not now.
    pub fn ask(&mut self, kind: K, now: Duration) -> Option<u64> {
        if self.told.len() >= KINDS && !self.told.contains_key(&kind) {
            let interval = self.interval;
            self.told
                .retain(|_, told| now.saturating_sub(told.at) < interval);
            if self.told.len() >= KINDS {
                return Told::ask(&mut self.others, interval, now);
            }
        }
        let mut told = self.told.remove(&kind);
        let answer = Told::ask(&mut told, self.interval, now);
        if let Some(told) = told {
            self.told.insert(kind, told);
        }
        answer
    }
}

impl Told {
    fn ask(told: &mut Option<Self>, interval: Duration, now: Duration) -> Option<u64> {
        if let Some(told) = told
            && now.saturating_sub(told.at) < interval
        {
            told.unsaid = told.unsaid.saturating_add(1);
            return None;
        }
        let unsaid = told.map_or(0, |told| told.unsaid);
        *told = Some(Self { at: now, unsaid: 0 });
        Some(unsaid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: fn(u64) -> Duration = Duration::from_secs;

    #[test]
    fn each_kind_is_told_once_in_a_while_with_what_was_left_out() {
        let mut quiet = Quiet::new(AT(60));
        assert_eq!(quiet.ask("a", AT(0)), Some(0));
        assert_eq!(quiet.ask("b", AT(1)), Some(0));
        for second in 2..5 {
            assert_eq!(quiet.ask("a", AT(second)), None);
        }
        assert_eq!(quiet.ask("a", AT(59)), None);
        assert_eq!(quiet.ask("a", AT(60)), Some(4));
        assert_eq!(quiet.ask("a", AT(119)), None);
        assert_eq!(quiet.ask("a", AT(1000)), Some(1));
        assert_eq!(quiet.ask("b", AT(1000)), Some(0));
    }

    #[test]
    fn whoever_makes_up_kinds_is_bounded_and_still_told_of() {
        let mut quiet = Quiet::new(AT(60));
        let told = (0..5000).filter(|kind| quiet.ask(*kind, AT(0)).is_some());
        assert_eq!(told.count(), KINDS + 1);
        assert_eq!(quiet.ask(4999, AT(60)), Some(0), "the old ones made room");
        assert_eq!(quiet.told.len(), 1);
    }
}
