//! One presence document.
#![no_main]

#[path = "../../crates/sip/tests/body_invariants/mod.rs"]
mod body_invariants;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| body_invariants::presence(octets));
