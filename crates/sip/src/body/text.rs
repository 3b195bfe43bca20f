//! Text of any charset as clean Unicode (RFC 2046 §4.1, RFC 6120 §11.6).

use std::borrow::Cow;

use encoding_rs::{Encoding, REPLACEMENT, UTF_8, WINDOWS_1252};

/// A charset name that means nothing to us.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the charset {0:?} is not known")]
pub struct UnknownCharset(pub String);

/// Decodes a text body.
///
/// * With a charset: octets that are not in it become U+FFFD, so damage shows.
/// * Without one: UTF-8 when it is valid UTF-8, otherwise Windows-1252, the superset of Latin-1.
///
/// # Errors
/// [`UnknownCharset`] when the named charset is not known; nothing is guessed then.
pub fn decode(octets: &[u8], charset: Option<&str>) -> Result<String, UnknownCharset> {
    let encoding = match charset {
        Some(label) => encoding_for(label).ok_or_else(|| UnknownCharset(label.to_owned()))?,
        // COMPAT(plain SIP user agents): Latin-1 octets under text/plain without charset.
        None if std::str::from_utf8(octets).is_err() => WINDOWS_1252,
        None => UTF_8,
    };
    let (text, _) = encoding.decode_with_bom_removal(octets);
    Ok(clean(&text))
}

/// The encoding of a charset name, unless it is one that only stands for "undecodable".
pub fn encoding_for(label: &str) -> Option<&'static Encoding> {
    Encoding::for_label(label.as_bytes()).filter(|&encoding| encoding != REPLACEMENT)
}

/// Line ends as `\n`, and U+FFFD in place of each character that XML forbids.
pub fn clean(text: &str) -> String {
    let text: Cow<'_, str> = if text.contains('\r') {
        text.replace("\r\n", "\n").replace('\r', "\n").into()
    } else {
        text.into()
    };
    if text.chars().all(is_xml_char) {
        return text.into_owned();
    }
    let replace = |c| {
        if is_xml_char(c) {
            c
        } else {
            char::REPLACEMENT_CHARACTER
        }
    };
    text.chars().map(replace).collect()
}

/// Whether XML 1.0 §2.2 allows the character.
pub fn is_xml_char(character: char) -> bool {
    matches!(character,
        '\t' | '\n' | '\r' | '\u{20}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..='\u{10ffff}')
}

/// One line for a header or a reason phrase: each run of controls and line ends is one space, ends are trimmed.
pub fn one_line(text: &str) -> String {
    let is_break = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
    text.split(is_break)
        .filter(|piece| !piece.trim().is_empty())
        .map(str::trim)
        .collect::<Vec<_>>()
        .join(" ")
}

/// A language tag that is safe in a header and in XML (the shape of RFC 5646, not its registry).
pub fn language_tag(text: &str) -> Option<&str> {
    let tag = text.trim();
    let subtag = |part: &str| {
        (1..=8).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_alphanumeric())
    };
    (tag.len() <= 64 && tag.split('-').all(subtag)).then_some(tag)
}
