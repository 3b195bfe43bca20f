//! SIP SIMPLE as sans-IO machines.

pub mod transport;
