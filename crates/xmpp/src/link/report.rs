//! What a link tells about itself.

use std::time::Duration;

use stox_core::failure::Failure;

/// Where a link stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkState {
    /// No stream, and none wanted.
    Idle,
    /// A stream has been asked for.
    Connecting,
    /// A stream carries stanzas.
    Up,
    /// The next attempt is due at this monotonic time, if there is something to send.
    Waiting {
        /// When.
        until: Duration,
    },
    /// Until this monotonic time everything is refused with the last failure.
    Refusing {
        /// When.
        until: Duration,
    },
    /// Shut down.
    Closed,
}

/// A snapshot of a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkStatus {
    /// Where it stands.
    pub state: LinkState,
    /// Stanzas that wait to be written.
    pub queued: usize,
    /// Stanzas written and not yet passed by a fence.
    pub unfenced: usize,
    /// Octets of both.
    pub octets: usize,
    /// Why the last stream ended or was not to be had; none since a fence has been answered.
    pub last_failure: Option<Failure>,
    /// Events since the link was made.
    pub counters: Counters,
}

/// What has happened on a link.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Counters {
    /// Stanzas given to the link.
    pub accepted: u64,
    /// Stanzas written, each time counted.
    pub written: u64,
    /// Stanzas that a fence has passed.
    pub handled: u64,
    /// Presence that newer presence took the place of, or that made room.
    pub replaced: u64,
    /// Stanzas refused because the queue was full.
    pub overflowed: u64,
    /// Stanzas larger than the partner takes, shortened or refused.
    pub oversized: u64,
    /// Stanzas given up at their deadline.
    pub expired: u64,
    /// Stanzas without reference that were given up for whatever reason.
    pub dropped: u64,
    /// Fences written.
    pub fences: u64,
    /// Fences answered, late ones included.
    pub fences_passed: u64,
    /// Fences not answered in time.
    pub fences_missed: u64,
    /// Streams asked for.
    pub attempts: u64,
    /// Streams that broke, were found dead, or could not be had.
    pub losses: u64,
}
