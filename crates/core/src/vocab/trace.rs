//! Which gateways something has crossed.
//!
//! A message that crosses from XMPP to SIP begins with a fresh `Max-Forwards` and `Via`, and on the way back XMPP has
//! neither: what each network has against loops ends at the border (RFC 7247 §8). So every gateway writes down a mark of its
//! own, and refuses what bears it already.

use std::fmt;

/// The marks of the gateways that something has crossed, the first one first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Trace(Vec<String>);

impl Trace {
    /// Gateways that something may cross at most.
    pub const MOST: usize = 8;
    /// Longest mark in characters.
    const LONGEST: usize = 32;

    /// Reads marks between commas or spaces. What is no mark is left out; of too many, one more than allowed is kept.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let is_mark = |word: &&str| {
            (1..=Self::LONGEST).contains(&word.len())
                && word.bytes().all(|octet| octet.is_ascii_alphanumeric())
        };
        let words = text.split([',', ' ', '\t', '\r', '\n']).filter(is_mark);
        Self(words.take(Self::MOST + 1).map(str::to_owned).collect())
    }

    /// It has crossed no gateway that writes down a mark.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a gateway with this mark has to refuse it: it was there before, or has crossed too many.
    #[must_use]
    pub fn is_loop(&self, mark: &str) -> bool {
        self.0.len() >= Self::MOST || self.0.iter().any(|other| other == mark)
    }

    /// The same with one mark more. An empty one is none.
    #[must_use]
    pub fn with(&self, mark: &str) -> Self {
        let mut marks = self.0.clone();
        if !mark.is_empty() {
            marks.push(mark.to_owned());
        }
        Self(marks)
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::Trace;

    #[test]
    fn marks_are_read_and_written() {
        let rows = [
            ("", ""),
            ("a1", "a1"),
            (" a1,\tb2 c3 ", "a1, b2, c3"),
            ("a1, b;2, <c>, \u{e9}, d4", "a1, d4"),
            (&"x".repeat(33), ""),
            ("1 2 3 4 5 6 7 8 9 10 11", "1, 2, 3, 4, 5, 6, 7, 8, 9"),
        ];
        for (text, expected) in rows {
            let trace = Trace::parse(text);
            assert_eq!(trace.to_string(), expected, "{text}");
            assert_eq!(Trace::parse(expected), trace, "{text}");
        }
    }

    #[test]
    fn what_bears_the_mark_or_too_many_is_a_loop() {
        let rows = [
            ("", false),
            ("other", false),
            ("other, own", true),
            ("1 2 3 4 5 6 7", false),
            ("1 2 3 4 5 6 7 8", true),
        ];
        for (text, expected) in rows {
            assert_eq!(Trace::parse(text).is_loop("own"), expected, "{text}");
        }
        assert_eq!(Trace::parse("a").with("b").to_string(), "a, b");
        assert_eq!(Trace::parse("a").with("").to_string(), "a");
    }
}
