//! What users, servers, the network, the store and time do to the whole gateway.
#![no_main]

#[path = "../../tests/engine_invariants/mod.rs"]
mod engine_invariants;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| {
    engine_invariants::check(octets);
});
