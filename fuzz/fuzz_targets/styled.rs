//! One styled text, first message or typing notification.
#![no_main]

#[path = "../../crates/sip/tests/body_invariants/styled.rs"]
mod styled;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| styled::check(octets));
