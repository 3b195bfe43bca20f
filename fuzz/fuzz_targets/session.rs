//! What a peer says in and around IM sessions.
#![no_main]

#[path = "../../crates/sip/tests/agent/mod.rs"]
mod agent;
#[path = "../../crates/sip/tests/session_invariants/mod.rs"]
mod session_invariants;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| session_invariants::check(octets));
