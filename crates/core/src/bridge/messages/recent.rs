//! What holds for a time after it was seen, for so many at most.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::time::Now;

/// Values by key, and by whose doing they are here. Who brings too many loses his own oldest first.
pub(super) struct Recent<O, K, V> {
    limits: Limits,
    owners: BTreeMap<O, BTreeMap<K, (Duration, V)>>,
    order: BTreeSet<(Duration, O, K)>,
}

/// How much is kept.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// How long a value holds.
    pub(super) kept: Duration,
    /// Most values.
    pub(super) values: usize,
    /// Most of one owner.
    pub(super) of_owner: usize,
}

impl<O: Ord + Clone, K: Ord + Clone, V> Recent<O, K, V> {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            owners: BTreeMap::new(),
            order: BTreeSet::new(),
        }
    }

    /// Seen now: it holds from now on.
    pub(super) fn insert(&mut self, owner: &O, key: &K, value: V, now: Now) {
        self.expire(now);
        self.remove(owner, key);
        while self.order.len() >= self.limits.values
            && let Some((_, owner, key)) = self.order.first().cloned()
        {
            self.remove(&owner, &key);
        }
        if let Some(key) = self.surplus(owner) {
            self.remove(owner, &key);
        }
        let until = now.mono.saturating_add(self.limits.kept);
        self.order.insert((until, owner.clone(), key.clone()));
        let own = self.owners.entry(owner.clone()).or_default();
        own.insert(key.clone(), (until, value));
    }

    /// What was seen and still holds.
    pub(super) fn get(&self, owner: &O, key: &K, now: Now) -> Option<&V> {
        let (until, value) = self.owners.get(owner)?.get(key)?;
        (*until > now.mono).then_some(value)
    }

    /// It holds no more.
    pub(super) fn remove(&mut self, owner: &O, key: &K) {
        let Some(own) = self.owners.get_mut(owner) else {
            return;
        };
        if let Some((until, _)) = own.remove(key) {
            self.order.remove(&(until, owner.clone(), key.clone()));
        }
        if own.is_empty() {
            self.owners.remove(owner);
        }
    }

    /// The oldest of an owner who has as many as he may have.
    fn surplus(&self, owner: &O) -> Option<K> {
        let own = self.owners.get(owner)?;
        let oldest = own.iter().min_by_key(|(_, (until, _))| *until)?;
        (own.len() >= self.limits.of_owner).then(|| oldest.0.clone())
    }

    fn expire(&mut self, now: Now) {
        while let Some((until, owner, key)) = self.order.first().cloned()
            && until <= now.mono
        {
            self.remove(&owner, &key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(recent: &Recent<u8, u8, u8>, now: Now) -> Vec<(u8, u8)> {
        let all = (0..10).flat_map(|owner| (0..10).map(move |key| (owner, key)));
        all.filter(|(owner, key)| recent.get(owner, key, now).is_some())
            .collect()
    }

    #[test]
    fn the_oldest_goes_in_time_and_number() {
        let start = Now::default();
        let at = |seconds| start.after(Duration::from_secs(seconds));
        let mut recent = Recent::new(Limits {
            kept: Duration::from_secs(10),
            values: 4,
            of_owner: 2,
        });
        for (second, (owner, key)) in [(1, 1), (1, 2), (2, 1), (1, 1), (1, 3)].iter().enumerate() {
            recent.insert(owner, key, 7, at(second as u64));
        }
        assert_eq!(held(&recent, at(4)), [(1, 1), (1, 3), (2, 1)]);
        assert_eq!(held(&recent, at(12)), [(1, 1), (1, 3)]);
        recent.insert(&3, &1, 7, at(5));
        recent.insert(&4, &1, 7, at(6));
        assert_eq!(held(&recent, at(6)), [(1, 1), (1, 3), (3, 1), (4, 1)]);
        recent.remove(&1, &1);
        recent.remove(&9, &9);
        assert_eq!(held(&recent, at(6)), [(1, 3), (3, 1), (4, 1)]);
        recent.insert(&5, &1, 8, at(100));
        assert_eq!((recent.owners.len(), recent.order.len()), (1, 1));
    }
}
