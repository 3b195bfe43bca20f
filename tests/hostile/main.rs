//! Hostile input against the real binary, over real sockets: every file of the corpus, and attacks that live on time and
//! number.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

#[path = "../process/harness.rs"]
#[allow(dead_code, reason = "each test program uses a part of it")]
mod harness;

mod attacks;
mod circle;
#[path = "../process/xml_pieces.rs"]
mod xml_pieces;

mod corpus;
mod deaf_server;
mod pidf;
mod report;
mod security_document;
mod sip;
mod sip_sink;
mod soak;
mod spoofed;
mod store;
mod tls;
mod torture;
mod want;
mod xmpp;
mod xmpp_server;
