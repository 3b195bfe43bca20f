//! SIP SIMPLE as sans-IO machines.

pub mod adapt;
pub mod body;
pub mod target;
pub mod transport;
