//! SIP SIMPLE as sans-IO machines.

pub mod target;
pub mod transport;
