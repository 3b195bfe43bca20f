//! One value of a header, a body or a session.
#![no_main]

#[path = "../../crates/sip/tests/value_invariants/mod.rs"]
mod value_invariants;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| value_invariants::check(octets));
