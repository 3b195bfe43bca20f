//! Localparts and the text that they stand for (XEP-0106).

use stringprep::tables::{case_fold_for_nfkc, commonly_mapped_to_nothing};
use unicode_normalization::UnicodeNormalization;

use super::classes::{ESCAPES, localpart_allows, text_allows};
use super::{AddressError, MAX_PART};

/// [`match_key`] is at rest after so many.
const MAX_PASSES: usize = 3;

/// Lower case and NFC: how localparts are compared (RFC 7622 §3.3, RFC 8265 §3.3).
pub(super) fn fold(text: &str) -> String {
    // Every address of every message comes by here, and most are ASCII, which is in NFC.
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    text.to_lowercase().nfc().collect()
}

/// See [`super::Jid::match_key`]. Of a folded localpart.
pub(super) fn match_key(mut local: String) -> String {
    // What folds to something that folds again is younger than the tables of Nodeprep.
    for _ in 0..MAX_PASSES {
        if local.is_ascii() {
            break;
        }
        let kept = local.chars().filter(|c| !commonly_mapped_to_nothing(*c));
        let folded: String = kept.flat_map(case_fold_for_nfkc).nfkc().collect();
        let next = fold(&folded);
        if next == local {
            break;
        }
        local = next;
    }
    local
}

/// The text that a localpart stands for, folded: what the user part of a SIP URI carries.
///
/// A localpart whose text would read differently on the way back is refused, never changed.
pub(super) fn to_text(local: &str) -> Result<String, AddressError> {
    check_text(unescape(&fold(local)))
}

/// The localpart for a text: the inverse of [`to_text`].
pub(super) fn from_text(text: &str) -> Result<String, AddressError> {
    let text = check_text(fold(text))?;
    let local = escape(&text);
    if local.len() > MAX_PART {
        return Err(AddressError::TooLong);
    }
    Ok(local)
}

/// Refuses a localpart that RFC 7622 §3.3 does not allow, as it is written or folded: some characters grow when they are.
pub(super) fn check(local: &str) -> Result<(), AddressError> {
    if local.is_empty() {
        return Err(AddressError::EmptyPart);
    }
    if local.len() > MAX_PART || (!local.is_ascii() && fold(local).len() > MAX_PART) {
        return Err(AddressError::TooLong);
    }
    if !local.chars().all(localpart_allows) {
        return Err(AddressError::Forbidden);
    }
    Ok(())
}

fn check_text(text: String) -> Result<String, AddressError> {
    if text.is_empty() {
        return Err(AddressError::EmptyPart);
    }
    if !text.chars().all(text_allows) {
        return Err(AddressError::Forbidden);
    }
    if text.starts_with(' ') || text.ends_with(' ') {
        return Err(AddressError::SpaceAtEdge);
    }
    let escaped = escape(&text);
    // A combining mark after an escaped character joins with its last digit, or with the character itself.
    if fold(&text) != text || fold(&escaped) != escaped {
        return Err(AddressError::Unstable);
    }
    Ok(text)
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for (at, c) in text.char_indices() {
        let code = ESCAPES
            .iter()
            .find(|(escaped, _)| *escaped == c)
            .map(|(_, code)| *code)
            .filter(|_| c != '\\' || sequence(text.get(at..).unwrap_or_default()).is_some());
        match code {
            Some(code) => {
                out.push('\\');
                out.push_str(code);
            }
            None => out.push(c),
        }
    }
    out
}

fn unescape(local: &str) -> String {
    let mut out = String::with_capacity(local.len());
    let mut rest = local;
    while let Some(c) = rest.chars().next() {
        let (shown, length) = match sequence(rest) {
            Some(shown) => (shown, 3),
            None => (c, c.len_utf8()),
        };
        out.push(shown);
        rest = rest.get(length..).unwrap_or_default();
    }
    out
}

/// The character that an escape sequence at the start of `text` stands for.
fn sequence(text: &str) -> Option<char> {
    let code = text.strip_prefix('\\')?.get(..2)?;
    ESCAPES
        .iter()
        .find(|(_, listed)| *listed == code)
        .map(|(c, _)| *c)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_short_way_leads_to_the_same_place(text in "[\\x00-\\x7f]{0,20}") {
            prop_assert_eq!(fold(&text), text.to_lowercase().nfc().collect::<String>());
        }
    }
}
