//! Domains in their two spellings: A-labels in SIP, U-labels in XMPP (ADDR-09).

use std::net::Ipv6Addr;

use idna::AsciiDenyList;
use idna::uts46::{DnsLength, Hyphens, Uts46};

use super::AddressError;

/// The host as SIP spells it: lower case, A-labels, no root dot; an IPv6 literal in its shortest form.
pub(super) fn to_ascii(host: &str) -> Result<String, AddressError> {
    if let Some(literal) = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
    {
        let address: Ipv6Addr = literal.parse().map_err(|_| AddressError::BadHost)?;
        return Ok(format!("[{address}]"));
    }
    let host = host.strip_suffix('.').unwrap_or(host);
    let ascii = Uts46::new()
        .to_ascii(
            host.as_bytes(),
            AsciiDenyList::EMPTY,
            Hyphens::Allow,
            DnsLength::Verify,
        )
        .map_err(|_| AddressError::BadHost)?;
    if !ascii
        .bytes()
        .all(|octet| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'.' | b'_'))
    {
        return Err(AddressError::BadHost);
    }
    Ok(ascii.into_owned())
}

/// The host as XMPP spells it: lower case, NFC, U-labels (RFC 7622 §3.2).
pub(super) fn to_unicode(host: &str) -> Result<String, AddressError> {
    let ascii = to_ascii(host)?;
    if ascii.starts_with('[') {
        return Ok(ascii);
    }
    let (unicode, outcome) =
        Uts46::new().to_unicode(ascii.as_bytes(), AsciiDenyList::EMPTY, Hyphens::Allow);
    outcome.map_err(|_| AddressError::BadHost)?;
    // Some A-labels decode to what begins with xn-- again, and leads elsewhere or nowhere.
    if unicode != ascii && to_ascii(&unicode).as_ref() != Ok(&ascii) {
        return Err(AddressError::BadHost);
    }
    Ok(unicode.into_owned())
}
