//! SIP SIMPLE as sans-IO machines.
