//! SIP SIMPLE as sans-IO machines.

pub mod body;
pub mod target;
pub mod transport;
