//! One MSRP connection, cut by sizes that its own first octets say.
#![no_main]

#[path = "../../crates/sip/tests/msrp_invariants/mod.rs"]
mod msrp_invariants;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| {
    let sizes = octets.get(..8).unwrap_or(octets);
    msrp_invariants::stream(octets, sizes);
});
