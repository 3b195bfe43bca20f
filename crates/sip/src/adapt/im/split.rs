use unicode_segmentation::UnicodeSegmentation as _;

/// Parts of one text at most.
pub const MAX_PARTS: usize = 64;

/// Cuts a text into parts of so many octets of UTF-8 at most. Nothing is lost: the parts make up the text. What a reader
/// takes for one character (a grapheme cluster) is never cut, and a part ends behind white space where there is some in
/// its second half.
///
/// `None` where a single character is longer than that, or more than [`MAX_PARTS`] are needed.
#[must_use]
pub fn split(text: &str, limit: usize) -> Option<Vec<String>> {
    let mut parts = Vec::new();
    let mut part = String::new();
    // Where the part may end: behind the last white space in it.
    let mut gap = None;
    for cluster in text.graphemes(true) {
        if cluster.len() > limit {
            return None;
        }
        while part.len() + cluster.len() > limit {
            let good = gap.take().filter(|end| *end > part.len() / 2);
            let rest = good.map_or(String::new(), |end: usize| part.split_off(end));
            parts.push(std::mem::replace(&mut part, rest));
            if parts.len() >= MAX_PARTS {
                return None;
            }
        }
        part.push_str(cluster);
        if cluster.chars().all(char::is_whitespace) {
            gap = Some(part.len());
        }
    }
    if !part.is_empty() {
        parts.push(part);
    }
    Some(parts)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn parts_end_behind_white_space_but_are_not_short_for_it() {
        for (text, limit, expected) in [
            ("", 5, Some(vec![])),
            ("abc", 5, Some(vec!["abc"])),
            ("one two three", 8, Some(vec!["one two ", "three"])),
            ("a bcdefgh", 6, Some(vec!["a bcde", "fgh"])),
            ("abcdefgh", 3, Some(vec!["abc", "def", "gh"])),
            ("€€", 4, Some(vec!["€", "€"])),
            ("e\u{301}e\u{301}", 3, Some(vec!["e\u{301}", "e\u{301}"])),
            ("👨‍👩‍👧", 17, None),
            ("👨‍👩‍👧", 18, Some(vec!["👨‍👩‍👧"])),
        ] {
            let found = split(text, limit);
            let expected = expected.map(|parts| parts.into_iter().map(str::to_owned).collect());
            assert_eq!(found, expected, "{text:?}");
        }
        assert_eq!(split(&"x".repeat(MAX_PARTS + 1), 1), None);
    }

    /// Texts of what is hard to cut.
    fn text() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            "[a-z]{1,6}",
            Just(" ".to_owned()),
            Just("\r\n".to_owned()),
            Just("e\u{301}\u{323}".to_owned()),
            Just("👨‍👩‍👧‍👦".to_owned()),
            Just("🇩🇪🇫🇷".to_owned()),
            Just("\u{202e}אב".to_owned()),
            any::<char>().prop_map(String::from),
        ];
        proptest::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_no_character_is_cut(text in text(), limit in 1..60_usize) {
            let borders: Vec<usize> = text.grapheme_indices(true).map(|(at, _)| at).chain([text.len()]).collect();
            let longest = text.graphemes(true).map(str::len).max().unwrap_or_default();
            match split(&text, limit) {
                None => prop_assert!(longest > limit || text.len() > limit * MAX_PARTS / 8),
                Some(parts) => {
                    prop_assert_eq!(parts.concat(), text);
                    let mut end = 0;
                    for part in &parts {
                        prop_assert!(!part.is_empty() && part.len() <= limit);
                        end += part.len();
                        prop_assert!(borders.contains(&end));
                    }
                }
            }
        }
    }
}
