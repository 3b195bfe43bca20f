//! Group chat through the whole gateway on virtual time: a SIP user in an XMPP room, and XMPP users in a SIP conference,
//! between a scripted room and a scripted conference that are neither of our own making nor of one mind with us.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests may fail a test"
)]

#[allow(dead_code, reason = "the vectors use all of it")]
#[path = "../vectors/msrp_peer.rs"]
mod msrp_peer;
#[allow(dead_code, reason = "the vectors use all of it")]
#[path = "../vectors/msrp_text.rs"]
mod msrp_text;
#[allow(dead_code, reason = "the vectors use all of it")]
#[path = "../vectors/output.rs"]
mod output;
#[allow(dead_code, reason = "the vectors use all of it")]
#[path = "../vectors/sip_text.rs"]
mod sip_text;
#[allow(dead_code, reason = "the vectors use all of it")]
#[path = "../vectors/world.rs"]
mod world;

mod conference;
mod hostile;
mod room;
mod stage;
