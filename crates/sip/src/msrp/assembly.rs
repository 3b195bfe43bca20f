//! Messages put together from their chunks (RFC 4975 §7.3.1).

use bytes::{Bytes, BytesMut};

use super::frame::{ByteRange, Flag};

/// Separate ranges of one message that are kept apart; a peer that scatters more is not taken seriously.
const MAX_RANGES: usize = 64;

/// Why a chunk cannot be taken. The peer is at fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChunkError {
    /// The message is longer than the limit.
    TooLarge,
    /// Its ranges contradict each other or its octets.
    Malformed,
}

/// A message that is not complete yet.
#[derive(Debug, Default)]
pub struct Assembly {
    octets: BytesMut,
    /// Ranges that are there: from, to (exclusive), in order, apart from each other.
    ranges: Vec<(usize, usize)>,
    total: Option<usize>,
    /// A chunk has said that it is the last.
    ended: bool,
}

impl Assembly {
    /// Takes a chunk. `Some`: the message is complete.
    ///
    /// # Errors
    /// [`ChunkError`].
    pub fn add(
        &mut self,
        range: Option<ByteRange>,
        octets: &[u8],
        flag: Flag,
        limit: usize,
    ) -> Result<Option<Bytes>, ChunkError> {
        let first = range.map_or(1, |range| range.first);
        let from = usize::try_from(first - 1).map_err(|_| ChunkError::TooLarge)?;
        let to = from.checked_add(octets.len()).ok_or(ChunkError::TooLarge)?;
        if let Some(total) = range.and_then(|range| range.total) {
            let total = usize::try_from(total).map_err(|_| ChunkError::TooLarge)?;
            if total > limit {
                return Err(ChunkError::TooLarge);
            }
            if self.total.is_some_and(|known| known != total) {
                return Err(ChunkError::Malformed);
            }
            self.total = Some(total);
        }
        if to > limit {
            return Err(ChunkError::TooLarge);
        }
        if flag == Flag::Complete {
            self.ended = true;
            let end = *self.total.get_or_insert(to);
            if end < to {
                return Err(ChunkError::Malformed);
            }
        }
        if self.total.is_some_and(|total| to > total) {
            return Err(ChunkError::Malformed);
        }
        self.put(from, octets)?;
        let whole = self.total.filter(|_| self.ended);
        let complete = whole.is_some_and(|total| total == 0 || self.ranges == [(0, total)]);
        Ok(complete.then(|| std::mem::take(&mut self.octets).freeze()))
    }

    fn put(&mut self, from: usize, octets: &[u8]) -> Result<(), ChunkError> {
        let to = from + octets.len();
        if to > self.octets.len() {
            self.octets.resize(to, 0);
        }
        if let Some(place) = self.octets.get_mut(from..to) {
            place.copy_from_slice(octets);
        }
        if from < to {
            self.ranges.push((from, to));
            self.ranges.sort_unstable();
        }
        let mut merged: Vec<(usize, usize)> = Vec::with_capacity(self.ranges.len());
        for (from, to) in self.ranges.drain(..) {
            match merged.last_mut().filter(|last| from <= last.1) {
                Some(last) => last.1 = last.1.max(to),
                None => merged.push((from, to)),
            }
        }
        self.ranges = merged;
        match self.ranges.len() > MAX_RANGES {
            true => Err(ChunkError::Malformed),
            false => Ok(()),
        }
    }
}

/// Which octets of a message reports have come for.
#[derive(Debug, Default)]
pub struct Covered(Vec<(u64, u64)>);

impl Covered {
    /// Takes a range; says whether `total` octets are covered now.
    pub fn add(&mut self, first: u64, last: u64, total: u64) -> bool {
        if self.0.len() < MAX_RANGES && first <= last {
            self.0.push((first, last));
            self.0.sort_unstable();
        }
        let mut next = 1;
        for (first, last) in &self.0 {
            if *first > next {
                return false;
            }
            next = next.max(last.saturating_add(1));
        }
        next > total
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn range(first: u64, last: Option<u64>, total: Option<u64>) -> Option<ByteRange> {
        Some(ByteRange { first, last, total })
    }

    #[test]
    fn limits_and_contradictions() {
        let add = |range, octets: &[u8], flag| Assembly::default().add(range, octets, flag, 10);
        assert_eq!(
            add(range(1, None, Some(11)), b"x", Flag::More),
            Err(ChunkError::TooLarge)
        );
        assert_eq!(
            add(range(10, None, None), b"xy", Flag::More),
            Err(ChunkError::TooLarge)
        );
        assert_eq!(
            add(range(u64::MAX, None, None), b"xy", Flag::More),
            Err(ChunkError::TooLarge)
        );
        assert_eq!(
            add(range(1, None, Some(1)), b"xy", Flag::Complete),
            Err(ChunkError::Malformed)
        );
        assert_eq!(
            add(None, b"hello", Flag::Complete),
            Ok(Some(Bytes::from_static(b"hello")))
        );
        assert_eq!(
            add(range(1, Some(0), Some(0)), b"", Flag::Complete),
            Ok(Some(Bytes::new()))
        );
        let mut one = Assembly::default();
        assert_eq!(
            one.add(range(1, None, Some(4)), b"ab", Flag::More, 10),
            Ok(None)
        );
        assert_eq!(
            one.add(range(3, None, Some(5)), b"cd", Flag::More, 10),
            Err(ChunkError::Malformed)
        );
    }

    #[test]
    fn reports_cover_a_message_in_parts() {
        let mut covered = Covered::default();
        assert!(!covered.add(6, 11, 11));
        assert!(!covered.add(1, 4, 11));
        assert!(covered.add(5, 5, 11));
        assert!(Covered::default().add(1, 11, 11));
    }

    proptest! {
        #[test]
        fn chunks_in_any_order_make_the_message(
            text in prop::collection::vec(any::<u8>(), 1..200),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..10),
            order in any::<u64>(),
        ) {
            let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(text.len())).collect();
            places.extend([0, text.len()]);
            places.sort_unstable();
            places.dedup();
            let mut pieces: Vec<(usize, usize)> = places.windows(2).map(|w| (w[0], w[1])).collect();
            let shift = usize::try_from(order % 1000).unwrap_or(0) % pieces.len();
            pieces.rotate_left(shift);
            let mut assembly = Assembly::default();
            let total = text.len();
            let mut whole = None;
            for (from, to) in &pieces {
                let flag = if *to == total { Flag::Complete } else { Flag::More };
                let range = range(*from as u64 + 1, Some(*to as u64), Some(total as u64));
                prop_assert!(whole.is_none());
                whole = assembly.add(range, &text[*from..*to], flag, 1000).unwrap();
            }
            prop_assert_eq!(whole.unwrap(), text);
        }
    }
}
