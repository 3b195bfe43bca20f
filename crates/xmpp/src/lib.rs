//! XMPP federation as sans-IO machines.

pub mod dialback;
pub mod stream;
