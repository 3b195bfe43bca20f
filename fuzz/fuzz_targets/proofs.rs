//! What a peer shows to prove who it is: certificates, TLSA records, answers to POSH.
#![no_main]

#[path = "../../tests/proof_invariants/mod.rs"]
mod proof_invariants;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| {
    proof_invariants::check(octets);
});
