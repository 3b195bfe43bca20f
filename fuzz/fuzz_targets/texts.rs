//! One settings file, or one address of `stoxgate map`.
#![no_main]

#[path = "../../tests/text_invariants/mod.rs"]
mod text_invariants;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| text_invariants::check(octets));
