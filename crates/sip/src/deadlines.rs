//! Timers by name, in the order in which they run out.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// At most one deadline for each key, in monotonic time.
#[derive(Debug)]
pub(crate) struct Deadlines<K> {
    order: BTreeSet<(Duration, K)>,
    by_key: BTreeMap<K, Duration>,
}

impl<K> Default for Deadlines<K> {
    fn default() -> Self {
        Self {
            order: BTreeSet::new(),
            by_key: BTreeMap::new(),
        }
    }
}

impl<K: Ord + Copy> Deadlines<K> {
    /// Sets or moves the deadline of a key.
    pub(crate) fn set(&mut self, key: K, at: Duration) {
        if let Some(old) = self.by_key.insert(key, at) {
            self.order.remove(&(old, key));
        }
        self.order.insert((at, key));
    }

    /// Forgets the deadline of a key.
    pub(crate) fn clear(&mut self, key: K) {
        if let Some(old) = self.by_key.remove(&key) {
            self.order.remove(&(old, key));
        }
    }

    /// The earliest deadline.
    pub(crate) fn next(&self) -> Option<Duration> {
        self.order.first().map(|(at, _)| *at)
    }

    /// Takes the first key whose deadline has come.
    pub(crate) fn pop_due(&mut self, now: Duration) -> Option<K> {
        let (at, key) = *self.order.first()?;
        if at > now {
            return None;
        }
        self.order.pop_first();
        self.by_key.remove(&key);
        Some(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_run_out_in_order_and_once() {
        let mut deadlines = Deadlines::default();
        let second = Duration::from_secs;
        deadlines.set('a', second(3));
        deadlines.set('b', second(2));
        deadlines.set('c', second(1));
        deadlines.set('a', second(1));
        deadlines.clear('c');
        assert_eq!(deadlines.next(), Some(second(1)));
        assert_eq!(deadlines.pop_due(Duration::ZERO), None);
        assert_eq!(deadlines.pop_due(second(2)), Some('a'));
        assert_eq!(deadlines.pop_due(second(2)), Some('b'));
        assert_eq!(deadlines.pop_due(second(9)), None);
        assert_eq!(deadlines.next(), None);
    }
}
