//! Both clocks of this process.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use stox_core::time::Now;

/// Reads the clocks; its start is the machines' time zero.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    /// Starts at zero.
    #[must_use]
    pub fn start() -> Self {
        Self {
            start: Instant::now(),
        }
    }

    /// One that is ahead of this one.
    #[cfg(test)]
    pub(crate) fn ahead(self, by: Duration) -> Self {
        Self {
            start: self.start - by,
        }
    }

    /// This moment.
    #[must_use]
    pub fn now(&self) -> Now {
        Now {
            mono: self.start.elapsed(),
            wall: SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default(),
        }
    }

    /// The moment of a machine's deadline.
    #[must_use]
    pub fn instant(&self, mono: Duration) -> tokio::time::Instant {
        tokio::time::Instant::from_std(self.start + mono)
    }
}
