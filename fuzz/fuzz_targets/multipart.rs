//! One message body, as multipart and as CPIM.
#![no_main]

#[path = "../../crates/sip/tests/body_invariants/message.rs"]
mod message;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| message::check(octets));
