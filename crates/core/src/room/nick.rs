//! Nicknames: what one may be, and when two are the same (RFC 8266 §2, which obsoletes RFC 7700).
//!
//! Characters that are new to Unicode are taken as any others: the Freeform class would refuse them by a table of its
//! day.

use unicode_normalization::UnicodeNormalization;

use crate::address::Jid;

/// Longest nickname, in octets.
const MAX_NICK: usize = 255;
/// RFC 8264 §7: the rules are applied until nothing changes, and not more often than this.
const MAX_PASSES: usize = 4;

/// The nickname in the form in which it is shown (RFC 8266 §2.3). `None`: it can be no nickname.
pub(crate) fn enforce(text: &str) -> Option<String> {
    if text.len() > 4 * MAX_NICK {
        return None;
    }
    let nick = settle(text.to_owned(), plain)?;
    let jid = Jid {
        local: None,
        domain: "nick.invalid".to_owned(),
        resource: Some(nick),
    };
    jid.check().ok()?;
    jid.resource.filter(|nick| nick.len() <= MAX_NICK)
}

/// What two nicknames that count as the same have in common (RFC 8266 §2.4). Of a nickname that [`enforce`] gave.
pub(crate) fn key(nick: &str) -> String {
    settle(nick.to_owned(), |text| plain(&text.to_lowercase())).unwrap_or_else(|| nick.to_owned())
}

fn settle(mut text: String, rules: impl Fn(&str) -> String) -> Option<String> {
    for _ in 0..MAX_PASSES {
        let next = rules(&text);
        if next == text {
            return Some(text);
        }
        text = next;
    }
    None
}

/// One space between words and none at the edges, then NFKC.
fn plain(text: &str) -> String {
    let spaced: String = text
        .chars()
        .map(|c| {
            if c.is_whitespace() && !c.is_control() {
                ' '
            } else {
                c
            }
        })
        .collect();
    let words: Vec<&str> = spaced.split(' ').filter(|word| !word.is_empty()).collect();
    words.join(" ").nfkc().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nicknames_are_cleaned_and_compared() {
        let rows = [
            ("Foo", Some("Foo")),
            ("  Foo  Bar ", Some("Foo Bar")),
            ("Foo\u{a0}\u{3000}Bar", Some("Foo Bar")),
            ("\u{ff26}oo", Some("Foo")),
            ("Ⅳ", Some("IV")),
            ("\u{1fae9}", Some("\u{1fae9}")),
            ("", None),
            (" \u{3000} ", None),
            ("a\u{0}b", None),
            ("a\nb", None),
        ];
        for (text, nick) in rows {
            assert_eq!(enforce(text).as_deref(), nick, "{text:?}");
        }
        assert_eq!(enforce(&"x".repeat(MAX_NICK + 1)), None);
        assert_eq!(enforce(&"x".repeat(MAX_NICK)), Some("x".repeat(MAX_NICK)));
        assert_eq!(key("Foo Bar"), key("foo bar"));
        assert_eq!(key("ΣΑΣ"), key("σας"));
        assert_ne!(key("Foo"), key("Bar"));
    }

    proptest::proptest! {
        #[test]
        fn what_is_enforced_stays(text in ".{0,40}") {
            if let Some(nick) = enforce(&text) {
                assert_eq!(enforce(&nick), Some(nick.clone()));
                assert_eq!(key(&key(&nick)), key(&nick));
            }
        }
    }
}
