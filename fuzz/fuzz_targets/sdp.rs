//! One session description.
#![no_main]

#[path = "../../crates/sip/tests/body_invariants/sdp.rs"]
mod sdp;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| sdp::check(octets));
