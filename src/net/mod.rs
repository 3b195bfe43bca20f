//! What the network is asked for: names, and encryption.

pub mod dns;
pub mod lookup;
pub mod own_certificate;
pub mod tls;
