//! Warnings that a peer can cause by connecting: each kind for each peer once a minute, the others at debug.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use stox_core::quiet::Quiet;

/// How long one is not repeated.
const QUIET: Duration = Duration::from_secs(60);

/// What is warned of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A TLS handshake of a client's failed.
    Handshake,
    /// A connection could not be opened.
    Dial,
    /// A peer reads too slowly.
    Slow,
    /// Connections cannot be accepted.
    Accept,
}

/// Which were written a moment ago, in one protocol.
#[derive(Debug)]
pub struct Warnings {
    began: Instant,
    quiet: Mutex<Quiet<(Kind, String)>>,
}

impl Default for Warnings {
    fn default() -> Self {
        Self {
            began: Instant::now(),
            quiet: Mutex::new(Quiet::new(QUIET)),
        }
    }
}

impl Warnings {
    /// Whether to write one of the peer at this address now: with how many were left out since the last. `None`: not now.
    pub fn ask(&self, kind: Kind, address: IpAddr) -> Option<u64> {
        self.ask_host(kind, &address.to_canonical().to_string())
    }

    /// The same of a host by name.
    pub fn ask_host(&self, kind: Kind, host: &str) -> Option<u64> {
        let kind = (kind, host.to_ascii_lowercase());
        self.quiet.lock().ask(kind, self.began.elapsed())
    }
}
