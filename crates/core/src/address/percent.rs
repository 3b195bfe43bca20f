//! Percent-encoding of URI parts (RFC 3986 §2.1).

use super::AddressError;

/// Encodes every octet but letters, digits and those in `plain`.
pub(super) fn encode(text: &str, plain: &[u8]) -> String {
    let mut out = String::with_capacity(text.len());
    for octet in text.bytes() {
        if octet.is_ascii_alphanumeric() || plain.contains(&octet) {
            out.push(char::from(octet));
        } else {
            out.push('%');
            out.push(hex_digit(octet >> 4));
            out.push(hex_digit(octet & 0x0f));
        }
    }
    out
}

/// Decodes all triplets. Octets that are no part of a triplet stay.
pub(super) fn decode(text: &str) -> Result<String, AddressError> {
    let mut octets = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(octet) = rest.next() {
        if octet == b'%' {
            let high = rest.next().and_then(hex_value);
            let low = rest.next().and_then(hex_value);
            let (Some(high), Some(low)) = (high, low) else {
                return Err(AddressError::BrokenTriplet);
            };
            octets.push(high << 4 | low);
        } else {
            octets.push(octet);
        }
    }
    String::from_utf8(octets).map_err(|_| AddressError::NotUtf8)
}

fn hex_digit(nibble: u8) -> char {
    char::from_digit(u32::from(nibble), 16).map_or('0', |digit| digit.to_ascii_uppercase())
}

fn hex_value(octet: u8) -> Option<u8> {
    char::from(octet)
        .to_digit(16)
        .and_then(|value| u8::try_from(value).ok())
}
