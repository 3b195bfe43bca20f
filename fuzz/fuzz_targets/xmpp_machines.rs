//! What happens to one XMPP stream of ours (accepted, dialled, of a component or of an account), or to one account.
#![no_main]

#[path = "../../crates/xmpp/tests/machine_invariants/mod.rs"]
#[allow(dead_code, unused_imports, reason = "other targets use the rest")]
mod machine_invariants;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| machine_invariants::stream(octets));
