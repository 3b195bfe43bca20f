//! One conference document.
#![no_main]

#[path = "../../crates/sip/tests/body_invariants/conference_info.rs"]
mod conference_info;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| conference_info::check(octets));
