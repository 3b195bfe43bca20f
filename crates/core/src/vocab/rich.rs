//! Styled text: what HTML, RTF and their like say beyond the words.

use std::sync::Arc;

/// The text of a message cut into runs of one style each. It is an extra: whoever shows it shows what the plain body
/// says, and whoever cannot loses no word.
///
/// Bounded by construction, and only made where there is some style to show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rich {
    runs: Vec<Run>,
}

/// Text in one style.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Run {
    /// The text; `\n` is a line break. Not empty inside a [`Rich`].
    pub text: String,
    /// How it looks.
    pub style: Style,
}

/// How a run looks. The default is plain.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Style {
    /// Bold.
    pub bold: bool,
    /// Italic.
    pub italic: bool,
    /// Underlined.
    pub underline: bool,
    /// Struck through.
    pub strike: bool,
    /// Colour of the letters. `None` for the reader's own, and for black, which is what senders call their own.
    pub colour: Option<Colour>,
    /// Where it leads.
    pub link: Option<Link>,
}

/// A colour in sRGB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Colour {
    /// Red.
    pub red: u8,
    /// Green.
    pub green: u8,
    /// Blue.
    pub blue: u8,
}

/// A URI that may be offered for clicking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link(Arc<str>);

impl Rich {
    /// Runs of one text at most.
    pub const MAX_RUNS: usize = 256;
    /// Octets of text and of different links at most.
    pub const MAX_OCTETS: usize = 8192;

    /// Makes one text of runs, in order. Equal neighbours become one. `None` when nothing is styled, or when it is
    /// beyond the limits: the plain body does then.
    pub fn new(runs: impl IntoIterator<Item = Run>) -> Option<Self> {
        let mut kept: Vec<Run> = Vec::new();
        let mut octets = 0_usize;
        for run in runs.into_iter().filter(|run| !run.text.is_empty()) {
            octets = octets.saturating_add(run.text.len());
            match kept.last_mut().filter(|last| last.style == run.style) {
                Some(last) => last.text.push_str(&run.text),
                None => {
                    octets = octets.saturating_add(run.style.link.as_ref().map_or(0, Link::len));
                    kept.push(run);
                }
            }
            if kept.len() > Self::MAX_RUNS || octets > Self::MAX_OCTETS {
                return None;
            }
        }
        let styled = kept.iter().any(|run| run.style != Style::default());
        styled.then_some(Self { runs: kept })
    }

    /// The runs, in order: at least one.
    #[must_use]
    pub fn runs(&self) -> &[Run] {
        &self.runs
    }

    /// Whether it has the words of that text, white space aside.
    #[must_use]
    pub fn says(&self, text: &str) -> bool {
        let visible = |c: &char| !c.is_whitespace();
        let own = self.runs.iter().flat_map(|run| run.text.chars());
        own.filter(visible).eq(text.chars().filter(visible))
    }
}

impl Colour {
    /// A colour, unless it is black.
    #[must_use]
    pub fn unless_black(red: u8, green: u8, blue: u8) -> Option<Self> {
        (red > 0 || green > 0 || blue > 0).then_some(Self { red, green, blue })
    }
}

impl Link {
    /// Octets of one link at most.
    pub const MAX_OCTETS: usize = 2048;
    /// Schemes that lead somewhere and run nothing.
    pub const SCHEMES: [&str; 6] = ["http", "https", "mailto", "sip", "sips", "xmpp"];

    /// Takes a URI of one of [`Link::SCHEMES`], white space around it aside. `None` for any other text: a reader who
    /// clicks must not run a script or open a file.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let uri = text.trim();
        let (scheme, rest) = uri.split_once(':')?;
        let known = Self::SCHEMES
            .iter()
            .any(|known| scheme.eq_ignore_ascii_case(known));
        let legal = !rest.is_empty()
            && uri.len() <= Self::MAX_OCTETS
            && uri.chars().all(|c| !c.is_whitespace() && !c.is_control())
            // The last two are no characters of XML.
            && !uri.contains(['<', '>', '"', '`', '\\', '{', '}', '\u{fffe}', '\u{ffff}']);
        (known && legal).then(|| Self(uri.into()))
    }

    /// The URI.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn len(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use proptest::prelude::*;

    use super::*;

    fn run(text: &str, bold: bool) -> Run {
        Run {
            text: text.to_owned(),
            style: Style {
                bold,
                ..Style::default()
            },
        }
    }

    #[test]
    fn neighbours_of_one_style_are_one_run() {
        let rich = Rich::new([
            run("a", true),
            run("", false),
            run("b", true),
            run("c", false),
        ]);
        assert_eq!(rich.unwrap().runs(), [run("ab", true), run("c", false)]);
    }

    #[test]
    fn plain_text_and_too_much_of_it_are_not_rich() {
        assert_eq!(Rich::new([run("plain", false)]), None);
        assert_eq!(Rich::new([]), None);
        assert_eq!(Rich::new([run(&"x".repeat(8193), true)]), None);
        assert!(Rich::new([run(&"x".repeat(8192), true)]).is_some());
        let runs = |count: usize| Rich::new((0..count).map(|at| run("x", at % 2 == 0)));
        assert!(runs(256).is_some());
        assert_eq!(runs(257), None);
    }

    #[test]
    fn links_lead_somewhere_and_run_nothing() {
        for good in [
            "http://a.example/?x=1&y=%3C",
            "HTTPS://a.example",
            " mailto:a@b ",
            "xmpp:a@b?message",
            "sip:a@b;gr=1",
            "http://müller.example/",
        ] {
            assert_eq!(Link::parse(good).unwrap().as_str(), good.trim(), "{good}");
        }
        for bad in [
            "javascript:alert(1)",
            "java\nscript:x",
            " http :x",
            "data:text/html,x",
            "file:///etc/passwd",
            "//a.example",
            "a.example",
            "http:",
            "http://a b",
            "http://a\u{7}b",
            "http://a\"onclick=x",
            "http://a<b>",
            "http://a\u{ffff}b",
            "http://a\u{fffe}b",
            "",
        ] {
            assert_eq!(Link::parse(bad), None, "{bad}");
        }
        assert_eq!(Link::parse(&format!("http://{}", "x".repeat(2042))), None);
    }

    #[test]
    fn black_is_no_colour() {
        assert_eq!(Colour::unless_black(0, 0, 0), None);
        assert_eq!(Colour::unless_black(0, 0, 1).unwrap().blue, 1);
    }

    proptest! {
        #[test]
        fn runs_keep_every_word(pieces in proptest::collection::vec(("[a-z \n]{0,6}", any::<bool>()), 0..40)) {
            let text: String = pieces.iter().map(|(text, _)| text.as_str()).collect();
            match Rich::new(pieces.iter().map(|(text, bold)| run(text, *bold))) {
                Some(rich) => {
                    let joined: String = rich.runs().iter().map(|run| run.text.as_str()).collect();
                    prop_assert_eq!(&joined, &text);
                    prop_assert!(rich.says(&text.replace(' ', "\n ")));
                    let longer = text.clone() + "x";
                    prop_assert!(!rich.says(&longer));
                }
                None => prop_assert!(pieces.iter().all(|(text, bold)| text.is_empty() || !bold)),
            }
        }

        #[test]
        fn no_text_breaks_out_of_a_link(text in ".{0,40}") {
            if let Some(link) = Link::parse(&format!("http://{text}")) {
                prop_assert!(!link.as_str().contains(['<', '>', '"', ' ', '\n']));
            }
        }
    }
}
