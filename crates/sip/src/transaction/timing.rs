//! The timers of RFC 3261 §17 and their order.

use std::collections::BTreeSet;
use std::time::Duration;

/// The base values that all timers derive from (RFC 3261 §17.1.1.1, table 4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// The estimate of a round trip.
    pub t1: Duration,
    /// The longest interval between retransmissions, but for INVITE requests.
    pub t2: Duration,
    /// The longest that a message stays in the network.
    pub t4: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            t1: Duration::from_millis(500),
            t2: Duration::from_secs(4),
            t4: Duration::from_secs(5),
        }
    }
}

impl Timing {
    /// 64 × T1: timers B, F, H, L and M.
    #[must_use]
    pub fn transaction(&self) -> Duration {
        self.t1 * 64
    }

    /// How long a server remembers a request that came in a datagram, after its final response. T4 more than timer J
    /// of RFC 3261 §17.2.2: the last repetition leaves the client just before 64 × T1 and may travel for T4, and would
    /// be a new request if it came after timer J.
    pub(super) fn memory(&self) -> Duration {
        self.transaction() + self.t4
    }

    /// When a server sends a 100 by itself for an INVITE (RFC 3261 §17.2.1).
    pub(super) const TRYING: Duration = Duration::from_millis(200);

    /// When a server may send a 100 for another request: the client's timer E has then grown to T2 (RFC 4320 §4.1).
    pub(super) fn trying_non_invite(&self) -> Duration {
        let mut interval = self.t1;
        let mut total = Duration::ZERO;
        while interval < self.t2 && !interval.is_zero() {
            total += interval;
            interval *= 2;
        }
        total
    }
}

/// A growing interval between retransmissions: timers A, E and G.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Backoff {
    interval: Duration,
    cap: Duration,
    /// When to retransmit next.
    pub(super) at: Duration,
}

impl Backoff {
    pub(super) fn start(interval: Duration, cap: Duration, now: Duration) -> Self {
        Self {
            interval,
            cap,
            at: now + interval,
        }
    }

    /// One retransmission went out. Counted from `now`, so that a late wake-up makes no burst.
    pub(super) fn advance(&mut self, now: Duration) {
        self.interval = (self.interval * 2).min(self.cap);
        self.at = now + self.interval;
    }

    /// A provisional response came: from now on the longest interval (RFC 3261 §17.1.2.2).
    pub(super) fn slow_down(&mut self) {
        self.interval = self.cap;
    }
}

/// Deadlines of many transactions, at most one each.
#[derive(Debug)]
pub(super) struct Deadlines<Id>(BTreeSet<(Duration, Id)>);

impl<Id> Default for Deadlines<Id> {
    fn default() -> Self {
        Self(BTreeSet::new())
    }
}

impl<Id: Ord + Copy> Deadlines<Id> {
    /// Moves `id` from its `old` deadline to `new`.
    pub(super) fn set(&mut self, id: Id, old: &mut Option<Duration>, new: Option<Duration>) {
        if *old == new {
            return;
        }
        if let Some(at) = *old {
            self.0.remove(&(at, id));
        }
        if let Some(at) = new {
            self.0.insert((at, id));
        }
        *old = new;
    }

    pub(super) fn first(&self) -> Option<Duration> {
        self.0.first().map(|(at, _)| *at)
    }

    /// Takes all that are due. Their owners set them again.
    pub(super) fn take_due(&mut self, now: Duration) -> Vec<Id> {
        let mut due = Vec::new();
        while let Some(&(at, id)) = self.0.first() {
            if at > now {
                break;
            }
            self.0.pop_first();
            due.push(id);
        }
        due
    }
}
