//! One stream, cut by sizes that its own first octets say.
#![no_main]

#[path = "../../crates/sip/tests/invariants/mod.rs"]
mod invariants;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| {
    let sizes = octets.get(..8).unwrap_or(octets);
    invariants::stream(octets, sizes);
});
