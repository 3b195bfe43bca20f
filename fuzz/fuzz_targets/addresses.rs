//! One address of either world.
#![no_main]

#[path = "../../crates/core/tests/address_invariants/mod.rs"]
mod address_invariants;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| address_invariants::check(octets));
