//! `stoxgate map`: how an address translates, and what comes back.

use std::fmt::Write as _;

use stox_core::address::{Jid, Scheme, jid_to_sip, sip_to_jid};

/// Describes the translation of `address`, one line a step.
///
/// # Errors
/// Why the address cannot cross, in words.
pub fn describe(address: &str) -> Result<String, String> {
    if is_sip(address) {
        from_sip(address)
    } else {
        from_xmpp(address)
    }
}

fn is_sip(address: &str) -> bool {
    let scheme = address
        .split_once(':')
        .map(|(scheme, _)| scheme.to_ascii_lowercase());
    scheme.is_some_and(|scheme| matches!(scheme.as_str(), "sip" | "sips" | "im" | "pres" | "tel"))
}

fn from_sip(text: &str) -> Result<String, String> {
    let refused = |error: &dyn std::fmt::Display| format!("{text} cannot cross to XMPP: {error}");
    let address = stox_sip::adapt::address::from_text(text).map_err(|error| refused(&error))?;
    let jid = sip_to_jid(&address).map_err(|error| refused(&error))?;
    let mut lines = format!("SIP   {text}\nXMPP  {jid}\n");
    let back = jid_to_sip(&jid, Scheme::Sip).map_err(|error| refused(&error))?;
    _ = writeln!(lines, "back  {back}");
    Ok(lines)
}

fn from_xmpp(text: &str) -> Result<String, String> {
    let refused = |error: &dyn std::fmt::Display| format!("{text} cannot cross to SIP: {error}");
    let jid: Jid = text.parse().map_err(|error| refused(&error))?;
    let address = jid_to_sip(&jid, Scheme::Sip).map_err(|error| refused(&error))?;
    let mut lines = format!("XMPP  {text}\nSIP   {address}\n");
    let back = sip_to_jid(&address).map_err(|error| refused(&error))?;
    _ = writeln!(lines, "back  {back}");
    Ok(lines)
}
