//! What bridge, peers, network and time do to a user agent.
#![no_main]

#[path = "../../crates/sip/tests/agent/mod.rs"]
mod agent;
#[path = "../../crates/sip/tests/agent_invariants/mod.rs"]
mod agent_invariants;
#[path = "../../crates/sip/tests/session_invariants/mod.rs"]
mod session_invariants;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| agent_invariants::check(octets));
