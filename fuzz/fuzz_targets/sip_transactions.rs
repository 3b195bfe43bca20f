//! What a user, peers, the network and time do to the transaction layer.
#![no_main]

#[path = "../../crates/sip/tests/transaction_invariants/mod.rs"]
mod transaction_invariants;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| transaction_invariants::check(octets));
