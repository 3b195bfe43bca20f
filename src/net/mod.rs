//! What the network is asked for: names, and encryption.

pub mod dns;
pub mod lookup;
pub mod tls;
