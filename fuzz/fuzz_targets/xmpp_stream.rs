//! One accepted XMPP stream, cut by sizes that its own last octets say.
#![no_main]

#[path = "../../crates/xmpp/tests/invariants/mod.rs"]
mod invariants;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| {
    let sizes = octets
        .get(octets.len().saturating_sub(8)..)
        .unwrap_or(octets);
    invariants::stream(octets, sizes);
});
