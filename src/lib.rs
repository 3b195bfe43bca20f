//! stoxgate: the I/O shell of the gateway.
//!
//! The pure crates decide; this package moves bytes: sockets, TLS, DNS, the store and the command line.

pub mod config;
pub mod entropy;
pub mod net;
