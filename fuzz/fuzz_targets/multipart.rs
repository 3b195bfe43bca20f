//! One message body, as multipart and as CPIM.
#![no_main]

#[path = "../../crates/sip/tests/body_invariants/mod.rs"]
mod body_invariants;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| body_invariants::message(octets));
