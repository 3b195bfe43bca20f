//! The way from a URI to the places to try, over answers of the DNS.
#![no_main]

#[path = "../../crates/sip/tests/target_invariants/mod.rs"]
mod target_invariants;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| {
    target_invariants::check(octets);
});
