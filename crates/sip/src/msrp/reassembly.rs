//! Messages put together from their chunks (RFC 4975 §5.1, §7.3.1).

use std::time::Duration;

use super::frame::Head;

/// Octets of a message that are there, as ranges that neither touch nor overlap. Counted from 0, ends exclusive.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Ranges(Vec<(u64, u64)>);

impl Ranges {
    pub(super) fn insert(&mut self, start: u64, end: u64) {
        if start >= end {
            return;
        }
        let (mut start, mut end) = (start, end);
        self.0.retain(|(from, to)| {
            let apart = *to < start || *from > end;
            if !apart {
                start = start.min(*from);
                end = end.max(*to);
            }
            apart
        });
        let at = self.0.partition_point(|(from, _)| *from < start);
        self.0.insert(at, (start, end));
    }

    pub(super) fn covers(&self, total: u64) -> bool {
        total == 0 || self.0.first() == Some(&(0, total))
    }

    pub(super) fn pieces(&self) -> usize {
        self.0.len()
    }
}

/// Why a chunk is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Misfit {
    /// More octets than we take: 413.
    TooLarge,
    /// More octets than the message has by its own word: 400.
    Outside,
}

/// Pieces of one message at most that do not touch each other.
const MAX_PIECES: usize = 64;

/// One message that is not complete.
#[derive(Debug)]
pub(super) struct Assembly {
    /// The first chunk that arrived.
    pub(super) head: Head,
    pub(super) body: Vec<u8>,
    have: Ranges,
    total: Option<u64>,
    /// When it is given up.
    pub(super) until: Duration,
}

impl Assembly {
    pub(super) fn new(head: Head, until: Duration) -> Self {
        Self {
            head,
            body: Vec::new(),
            have: Ranges::default(),
            total: None,
            until,
        }
    }

    /// The message has so many octets, as one of its chunks says.
    pub(super) fn announce(&mut self, total: u64, max: u64) -> Result<(), Misfit> {
        if total > max {
            return Err(Misfit::TooLarge);
        }
        let known = *self.total.get_or_insert(total);
        if known == total && self.body.len() as u64 <= total {
            Ok(())
        } else {
            Err(Misfit::Outside)
        }
    }

    /// The chunk that ended at `at` was the last of the message.
    pub(super) fn finish(&mut self, at: u64) -> Result<(), Misfit> {
        let total = *self.total.get_or_insert(at);
        if self.body.len() as u64 <= total {
            Ok(())
        } else {
            Err(Misfit::Outside)
        }
    }

    /// Octets from `at` on, counted from 0. Of octets that arrive twice the later ones count.
    pub(super) fn write(&mut self, at: u64, octets: &[u8], max: u64) -> Result<(), Misfit> {
        let end = at.saturating_add(octets.len() as u64);
        if end > max {
            return Err(Misfit::TooLarge);
        }
        if self.total.is_some_and(|total| end > total) {
            return Err(Misfit::Outside);
        }
        let (from, to) = (to_index(at)?, to_index(end)?);
        if self.body.len() < to {
            self.body.resize(to, 0);
        }
        if let Some(place) = self.body.get_mut(from..to) {
            place.copy_from_slice(octets);
        }
        self.have.insert(at, end);
        if self.have.pieces() > MAX_PIECES {
            return Err(Misfit::TooLarge);
        }
        Ok(())
    }

    pub(super) fn is_complete(&self) -> bool {
        self.total.is_some_and(|total| self.have.covers(total))
    }
}

fn to_index(at: u64) -> Result<usize, Misfit> {
    usize::try_from(at).map_err(|_| Misfit::TooLarge)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::msrp::frame::Method;

    fn assembly() -> Assembly {
        Assembly::new(
            Head::request(Method::Send, "abcd", &[], &[]),
            Duration::ZERO,
        )
    }

    #[test]
    fn ranges_grow_together() {
        let mut ranges = Ranges::default();
        for (start, end) in [(5, 7), (0, 2), (9, 9), (10, 12), (6, 10)] {
            ranges.insert(start, end);
        }
        assert_eq!(ranges, Ranges(vec![(0, 2), (5, 12)]));
        ranges.insert(2, 5);
        assert!(ranges.covers(12) && !ranges.covers(13));
    }

    #[test]
    fn chunks_in_any_order_and_twice() {
        let mut message = assembly();
        message.write(3, b"xx", 9).unwrap();
        message.write(3, b"def", 9).unwrap();
        message.announce(6, 9).unwrap();
        assert!(!message.is_complete());
        message.write(0, b"abcd", 9).unwrap();
        assert!(message.is_complete());
        assert_eq!(message.body, b"abcdef");
    }

    #[test]
    fn what_does_not_fit() {
        let mut message = assembly();
        assert_eq!(message.announce(10, 9), Err(Misfit::TooLarge));
        assert_eq!(message.write(8, b"ab", 9), Err(Misfit::TooLarge));
        assert_eq!(message.write(u64::MAX, b"ab", 9), Err(Misfit::TooLarge));
        message.announce(4, 9).unwrap();
        assert_eq!(message.announce(5, 9), Err(Misfit::Outside));
        assert_eq!(message.write(3, b"ab", 9), Err(Misfit::Outside));
        let mut holes = assembly();
        let refused = (0..200).find_map(|at| holes.write(at * 2, b"x", 1000).err());
        assert_eq!(refused, Some(Misfit::TooLarge));
    }
}
