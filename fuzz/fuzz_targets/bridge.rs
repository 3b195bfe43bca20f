//! Messages and presence on the bridge, whatever users, adapters, store and time do: the tests of the core, on octets.
#![no_main]

// The tests name the parts of their crate as its own, and take what the bridge has at hand.
use std::time::Duration;

use stox_core::bridge::{Bridge, Settings};
use stox_core::time::Now;
use stox_core::vocab::{Command, Direction, Grant, Input, Outcome, Pair, SipIn, StoreIn, XmppIn};
use stox_core::{address, failure, policy, time, vocab};

#[path = "../../crates/core/src/bridge/tests.rs"]
#[allow(dead_code, unused_imports, reason = "the tests beside it use the rest")]
mod tests;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| tests::chaos::script(octets));
