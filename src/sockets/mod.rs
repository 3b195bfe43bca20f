//! Sockets: listeners, connections and their limits. Octets in, octets out; no protocol meaning.

mod accept;
pub mod admission;
pub(crate) mod linger;
pub mod listen;
pub mod msrp;
pub mod sip;

use std::sync::atomic::{AtomicU64, Ordering};

use stox_sip::transport::FlowId;

/// Gives each connection and socket its number, never one twice.
#[derive(Debug, Default)]
pub struct FlowIds(AtomicU64);

impl FlowIds {
    /// The next number.
    pub fn next(&self) -> FlowId {
        FlowId(self.0.fetch_add(1, Ordering::Relaxed))
    }
}
