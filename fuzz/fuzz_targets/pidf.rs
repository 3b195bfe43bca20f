//! One presence document, of whichever family.
#![no_main]

#[path = "../../crates/sip/tests/body_invariants/presence.rs"]
mod presence;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| presence::check(octets));
