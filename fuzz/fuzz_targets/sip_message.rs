//! One datagram.
#![no_main]

#[path = "../../crates/sip/tests/invariants/mod.rs"]
mod invariants;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| invariants::datagram(octets));
