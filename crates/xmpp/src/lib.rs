//! XMPP federation as sans-IO machines.

pub mod account;
pub mod adapt;
pub mod dialback;
pub mod link;
pub mod server;
pub mod stream;
