//! Transaction and message ids (`ident` of RFC 4975 §9).

use memchr::memmem;
use stox_core::time::Entropy;

/// Octets of an `ident`.
const LENGTH: std::ops::RangeInclusive<usize> = 4..=32;

/// What stands before the transaction id in an end-line.
pub(super) const DASHES: &[u8] = b"-------";

/// 4 to 32 legal characters, the first a letter or digit.
#[must_use]
pub fn is_ident(text: &str) -> bool {
    let legal = |octet: u8| octet.is_ascii_alphanumeric() || b".-+%=".contains(&octet);
    LENGTH.contains(&text.len())
        && text.bytes().all(legal)
        && text
            .as_bytes()
            .first()
            .is_some_and(u8::is_ascii_alphanumeric)
}

/// An end-line with this transaction id could be found inside the body.
#[must_use]
pub fn occurs_in(transaction: &str, body: &[u8]) -> bool {
    let end_line = [DASHES, transaction.as_bytes()].concat();
    memmem::find(body, &end_line).is_some()
}

/// A transaction id for a request with this body: the hint where it is legal and `taken` does not know it, else a fresh
/// one. It never makes an end-line that occurs in the body (RFC 4975 §7.1).
#[must_use]
pub fn transaction_id(
    hint: Option<&str>,
    body: &[u8],
    taken: impl Fn(&str) -> bool,
    entropy: &mut dyn Entropy,
) -> String {
    let fits = |id: &str| is_ident(id) && !taken(id) && !occurs_in(id, body);
    if let Some(hint) = hint.filter(|hint| fits(hint)) {
        return hint.to_owned();
    }
    loop {
        let id = entropy.token();
        if fits(&id) {
            return id;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stox_core::time::SeededEntropy;

    #[test]
    fn what_is_an_ident() {
        for (text, legal) in [
            ("a786hjs2", true),
            ("1234", true),
            ("a.-+%=", true),
            ("123", false),
            ("-abcd", false),
            ("ab cd", false),
            ("abc_d", false),
        ] {
            assert_eq!(is_ident(text), legal, "{text}");
        }
        assert!(is_ident(&"x".repeat(32)));
        assert!(!is_ident(&"x".repeat(33)));
    }

    #[test]
    fn hints_that_do_not_fit_are_replaced() {
        let mut entropy = SeededEntropy(1);
        let mut pick =
            |hint, body: &[u8]| transaction_id(Some(hint), body, |id| id == "taken", &mut entropy);
        assert_eq!(pick("stanza1", b"Hi"), "stanza1");
        assert!(is_ident(&pick("s", b"Hi")));
        assert_ne!(pick("taken", b"Hi"), "taken");
        assert_ne!(pick("stanza1", b"x\r\n-------stanza1$\r\ny"), "stanza1");
        assert_ne!(pick("stanza1", b"---------stanza1$\r\ny"), "stanza1");
        assert_eq!(pick("stanza1", b"------stanza1$\r\ny"), "stanza1");
    }
}
