//! `ms-diagnostics` and `ms-diagnostics-public`: why a Communications Server refused, as a number and words.

use std::fmt;

use super::{HeaderError, HeaderValue, Headers};
use crate::grammar::{digits, one_line, quote, split_outside, trim, unquote};

/// The longest text of a peer's that is kept, in characters.
const MAX_TEXT: usize = 100;

/// One value, such as `1003;reason="User does not exist";source="edge.ocs.example"`. What else a peer writes into it is
/// passed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// The number, whose list is Microsoft's (MS-OCER).
    pub id: u32,
    /// Words for people, on one line.
    pub reason: Option<String>,
    /// The host that says it.
    pub source: Option<String>,
}

impl Diagnostic {
    /// COMPAT(ocs, lync): the full one stays inside an enterprise unless it is let out; the public one comes instead.
    pub const NAMES: [&'static str; 2] = ["ms-diagnostics", "ms-diagnostics-public"];

    /// What a message says, the full one first. `None` where it says nothing that can be read.
    #[must_use]
    pub fn of(headers: &Headers) -> Option<Self> {
        Self::NAMES
            .iter()
            .flat_map(|name| headers.get_all(name))
            .find_map(|value| Self::parse(value).ok())
    }
}

impl HeaderValue for Diagnostic {
    /// The number decides; a parameter that cannot be read is as good as none.
    fn parse(text: &str) -> Result<Self, HeaderError> {
        let mut items = split_outside(text, b';').map(trim);
        let id = items
            .next()
            .and_then(digits)
            .and_then(|id| u32::try_from(id).ok())
            .ok_or(HeaderError::Number)?;
        let mut found = Self {
            id,
            reason: None,
            source: None,
        };
        for (name, value) in items.filter_map(|item| item.split_once('=')) {
            match trim(name).to_ascii_lowercase().as_str() {
                "reason" => found.reason = found.reason.or_else(|| words(value)),
                "source" => found.source = found.source.or_else(|| words(value)),
                _ => {}
            }
        }
        Ok(found)
    }
}

/// The words of a value, its quotes taken off even where one is missing.
fn words(value: &str) -> Option<String> {
    let plain = unquote(trim(value));
    let line = one_line(&plain);
    let words: Vec<&str> = line.split_whitespace().collect();
    let edge = ['"', ' '];
    let words: String = words
        .join(" ")
        .trim_matches(edge)
        .chars()
        .take(MAX_TEXT)
        .collect();
    let words = words.trim_end_matches(edge).to_owned();
    (!words.is_empty()).then_some(words)
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.id)?;
        if let Some(reason) = &self.reason {
            write!(f, ";reason={}", quote(reason))?;
        }
        if let Some(source) = &self.source {
            write!(f, ";source={}", quote(source))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_peers_write_is_read() {
        type Read = Option<(u32, &'static str, &'static str)>;
        let rows: [(&str, Read); 10] = [
            (
                r#"1003;reason="User does not exist";source="edge.ocs.example""#,
                Some((1003, "User does not exist", "edge.ocs.example")),
            ),
            (
                r#" 504 ; Source = "a.b" ;Reason="x; y"; HRESULT="0xC3E93EC3(SIPPROXY)";x"#,
                Some((504, "x; y", "a.b")),
            ),
            ("1007", Some((1007, "", ""))),
            ("1007;", Some((1007, "", ""))),
            (r#"1;reason="never ends"#, Some((1, "never ends", ""))),
            (r#"1;reason=bare;source="#, Some((1, "bare", ""))),
            (r#"1;reason="a";reason="b""#, Some((1, "a", ""))),
            ("x;reason=\"a\"", None),
            ("", None),
            ("99999999999", None),
        ];
        for (text, expected) in rows {
            let found = Diagnostic::parse(text).ok();
            let flat = found.as_ref().map(|found| {
                let text = |part: &'_ Option<String>| part.clone().unwrap_or_default();
                (found.id, text(&found.reason), text(&found.source))
            });
            let expected = expected.map(|(id, r, s)| (id, r.to_owned(), s.to_owned()));
            assert_eq!(flat, expected, "{text}");
        }
    }

    #[test]
    fn the_full_one_comes_before_the_public_one() {
        let mut headers = Headers::new();
        assert_eq!(Diagnostic::of(&headers), None);
        headers.push("MS-Diagnostics-Public", "1034;reason=\"none given\"");
        assert_eq!(Diagnostic::of(&headers).map(|d| d.id), Some(1034));
        headers.push("ms-diagnostics", "rubbish");
        headers.push("ms-diagnostics", "1010");
        assert_eq!(Diagnostic::of(&headers).map(|d| d.id), Some(1010));
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(id: u16, tail in ".*", reason in "[a-z\" \\\\;\u{85}]{0,130}") {
            let text = format!("{id};{tail};reason=\"{reason}\"");
            if let Ok(found) = Diagnostic::parse(&text) {
                let again = Diagnostic::parse(&found.to_string());
                prop_assert_eq!(again.as_ref(), Ok(&found));
                prop_assert!(found.reason.is_none_or(|r| r.chars().count() <= MAX_TEXT));
            }
        }

        #[test]
        fn what_we_write_is_read(id: u32, reason in "[a-z\"\\\\;, ]{0,40}[a-z]", source in "[a-z.-]{0,20}[a-z]") {
            let words = reason.split_whitespace().collect::<Vec<_>>().join(" ");
            let sent = Diagnostic { id, reason: Some(words), source: Some(source) };
            let read = Diagnostic::parse(&sent.to_string()).unwrap();
            prop_assert_eq!(read.id, sent.id);
            prop_assert_eq!(read.source, sent.source);
        }
    }
}
