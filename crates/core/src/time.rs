//! Time and randomness as arguments.

use std::time::Duration;

/// One reading of both clocks, taken by the I/O shell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Now {
    /// Monotonic time since an arbitrary start. All deadlines are in this time.
    pub mono: Duration,
    /// Wall-clock time since 1970-01-01T00:00:00Z. Only for stamps that people or peers read.
    pub wall: Duration,
}

impl Now {
    /// The same moment on both clocks, moved forward.
    #[must_use]
    pub fn after(self, delta: Duration) -> Self {
        Self {
            mono: self.mono + delta,
            wall: self.wall + delta,
        }
    }
}

/// Where machines take their unguessable numbers from: the operating system, or a seeded list in tests.
pub trait Entropy: Send {
    /// Sixty-four fresh bits.
    fn next_u64(&mut self) -> u64;

    /// Another source of the same kind, for a machine inside a machine.
    fn another(&mut self) -> Box<dyn Entropy>;

    /// A lower-case hexadecimal token of sixteen characters, legal in every SIP and XMPP identifier.
    fn token(&mut self) -> String {
        format!("{:016x}", self.next_u64())
    }
}

/// A deterministic [`Entropy`] for tests: a counter through a mixing function (SplitMix64).
#[derive(Debug, Clone)]
pub struct SeededEntropy(pub u64);

impl Entropy for SeededEntropy {
    fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn another(&mut self) -> Box<dyn Entropy> {
        Box::new(Self(self.next_u64()))
    }
}
