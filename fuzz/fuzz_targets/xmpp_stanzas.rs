//! The stanzas of one XMPP stream.
#![no_main]

#[path = "../../crates/xmpp/tests/machine_invariants/mod.rs"]
#[allow(dead_code, unused_imports, reason = "other targets use the rest")]
mod machine_invariants;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| machine_invariants::stanzas(octets));
