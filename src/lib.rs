//! stoxgate: the I/O shell of the gateway.
//!
//! The pure crates decide; this package moves bytes: sockets, TLS, DNS, the store and the command line.

pub mod admin;
pub mod cli;
pub mod clock;
pub mod config;
pub mod entropy;
pub mod log;
pub mod net;
pub mod sockets;
pub mod store;
