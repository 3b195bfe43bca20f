//! Rooms and conferences, with whatever their occupants, servers and adapters do: the tests of the core, on octets.
#![no_main]

// The tests name the parts of their crate as its own.
use stox_core::{address, bridge, failure, policy, time, vocab};

#[path = "../../crates/core/src/room/tests.rs"]
#[allow(dead_code, unused_imports, reason = "the tests beside it use the rest")]
mod tests;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| tests::chaos::script(octets));
