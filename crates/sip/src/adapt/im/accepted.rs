use crate::header::{HeaderValue, MediaType};

/// Ranges of one list at most; the rest is not looked at.
const MAX_RANGES: usize = 64;

/// The media types that a peer said it takes: `a=accept-types` of its session description (RFC 4975 §8.6), or `Accept` of
/// its 415 (RFC 3261 §21.4.13). The default is a peer that has said nothing, and is taken to read plain text.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Accepted(Option<Vec<MediaType>>);

impl Accepted {
    /// Reads a list, divided by spaces or by commas; what is no media type in it is passed over. An empty list is what
    /// a peer says that takes nothing (RFC 3261 §20.1).
    #[must_use]
    pub fn parse(list: &str) -> Self {
        let divider = if list.contains(',') { ',' } else { ' ' };
        let ranges = list.split(divider).take(MAX_RANGES);
        Self(Some(ranges.filter_map(read_range).collect()))
    }

    /// Whether the peer takes that type.
    #[must_use]
    pub fn takes(&self, type_: &str, subtype: &str) -> bool {
        match &self.0 {
            None => (type_, subtype) == ("text", "plain"),
            Some(ranges) => ranges.iter().any(|range| range.covers(type_, subtype)),
        }
    }

    /// Whether the peer has named that very type. A range, which covers what nobody thought of, is no such word.
    #[must_use]
    pub fn names(&self, type_: &str, subtype: &str) -> bool {
        let ranges = self.0.iter().flatten();
        ranges.into_iter().any(|range| range.is(type_, subtype))
    }
}

/// `*` alone is what a session description says for anything (RFC 4975 §8.6). A range of quality 0 is none.
fn read_range(text: &str) -> Option<MediaType> {
    let text = text.trim();
    let range = if text == "*" { "*/*" } else { text };
    let range = MediaType::parse(range).ok()?;
    let quality = range.params.text("q").and_then(|q| q.parse::<f32>().ok());
    quality.is_none_or(|q| q > 0.0).then_some(range)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lists_come_with_spaces_or_commas() {
        for (list, plain, html) in [
            (
                "text/plain multipart/alternative image/gif text/html",
                true,
                true,
            ),
            ("text/html;q=0.5, TEXT/Plain ; charset=utf-8", true, true),
            ("text/html", false, true),
            ("text/*", true, true),
            ("*", true, true),
            ("*/*", true, true),
            ("message/cpim  application/xml", false, false),
            ("text/plain;q=0, text/html", false, true),
            ("rubbish, ,text/html", false, true),
            ("", false, false),
        ] {
            let accepted = Accepted::parse(list);
            let found = (
                accepted.takes("text", "plain"),
                accepted.takes("text", "html"),
            );
            assert_eq!(found, (plain, html), "{list}");
        }
        assert!(Accepted::default().takes("text", "plain"));
        assert!(!Accepted::default().takes("text", "html"));
    }

    proptest! {
        #[test]
        fn any_list_is_read(list in ".{0,80}") {
            let _ = Accepted::parse(&list).takes("text", "plain");
        }
    }
}
