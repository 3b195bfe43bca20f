//! stoxgate: the I/O shell of the gateway.
//!
//! The pure crates decide; this package moves bytes: sockets, TLS, DNS, the store and the command line.

pub mod admin;
pub mod cli;
pub mod clock;
pub mod config;
pub mod demo;
pub mod engine;
pub mod entropy;
pub mod log;
pub mod map;
pub mod messages;
pub mod net;
pub mod run;
pub mod sockets;
pub mod store;
pub mod streams;
