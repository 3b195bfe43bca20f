//! HTML reduced to the text a person would read. Scripts, styles, attributes and comments are dropped; the output is
//! never longer than the input.

/// Elements whose content is not for reading.
const HIDDEN: [&str; 6] = ["script", "style", "head", "title", "template", "noscript"];
/// Elements that stand on lines of their own.
const BLOCKS: [&str; 20] = [
    "address",
    "article",
    "blockquote",
    "br",
    "dd",
    "div",
    "dl",
    "dt",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "hr",
    "li",
    "ol",
    "p",
    "tr",
    "ul",
];
/// Character references by name; every other name stays as written.
const NAMED: [(&str, char); 12] = [
    ("amp", '&'),
    ("apos", '\''),
    ("copy", '©'),
    ("euro", '€'),
    ("gt", '>'),
    ("hellip", '…'),
    ("laquo", '«'),
    ("lt", '<'),
    ("mdash", '—'),
    ("nbsp", ' '),
    ("quot", '"'),
    ("raquo", '»'),
];
/// Octets of the longest reference looked at.
const MAX_REFERENCE: usize = 10;

/// The readable text, lines ended by `\n`, without blank lines at its ends.
pub fn to_text(html: &str) -> String {
    let mut out = Lines::default();
    let mut rest = html;
    while let Some((before, after)) = rest.split_once('<') {
        push_text(&mut out, before);
        rest = match Tag::parse(after) {
            Some(tag) => {
                if BLOCKS.contains(&tag.name.as_str()) {
                    out.break_line(tag.name == "br");
                }
                let hidden = !tag.closing && HIDDEN.contains(&tag.name.as_str());
                if hidden {
                    skip_element(tag.behind, &tag.name)
                } else {
                    tag.behind
                }
            }
            None => {
                out.push('<');
                after
            }
        };
    }
    push_text(&mut out, rest);
    out.finish()
}

/// Collapses white space and keeps at most one line break in a row, two after `br`.
#[derive(Default)]
struct Lines {
    text: String,
    /// White space is owed before the next character.
    space: bool,
}

impl Lines {
    fn push(&mut self, character: char) {
        if character.is_whitespace() {
            self.space = true;
            return;
        }
        if self.space && !self.text.is_empty() && !self.text.ends_with('\n') {
            self.text.push(' ');
        }
        self.space = false;
        self.text.push(character);
    }

    fn break_line(&mut self, forced: bool) {
        self.space = false;
        if !self.text.is_empty() && (forced || !self.text.ends_with('\n')) {
            self.text.push('\n');
        }
    }

    fn finish(mut self) -> String {
        let length = self.text.trim_end().len();
        self.text.truncate(length);
        self.text
    }
}

struct Tag<'a> {
    name: String,
    closing: bool,
    /// What follows the tag.
    behind: &'a str,
}

impl<'a> Tag<'a> {
    /// Reads what follows a `<`. `None` when that is no markup but a plain character.
    fn parse(after: &'a str) -> Option<Self> {
        if let Some(comment) = after.strip_prefix("!--") {
            let behind = comment.split_once("-->").map_or("", |(_, behind)| behind);
            return Some(Self::nameless(behind));
        }
        if after.starts_with(['!', '?']) {
            return Some(Self::nameless(
                after.split_once('>').map_or("", |(_, behind)| behind),
            ));
        }
        let (closing, inner) = match after.strip_prefix('/') {
            Some(inner) => (true, inner),
            None => (false, after),
        };
        if !inner.starts_with(|c: char| c.is_ascii_alphabetic()) {
            return None;
        }
        let end = inner
            .find(|c: char| !c.is_ascii_alphanumeric())
            .unwrap_or(inner.len());
        let (name, attributes) = inner.split_at_checked(end)?;
        Some(Self {
            name: name.to_ascii_lowercase(),
            closing,
            behind: behind_attributes(attributes),
        })
    }

    fn nameless(behind: &'a str) -> Self {
        Self {
            name: String::new(),
            closing: false,
            behind,
        }
    }
}

/// What follows the `>` of a tag; one inside a quoted attribute value does not count.
fn behind_attributes(attributes: &str) -> &str {
    let mut quote = None;
    for (position, character) in attributes.char_indices() {
        match (quote, character) {
            (None, '>') => return attributes.get(position + 1..).unwrap_or_default(),
            (None, '"' | '\'') => quote = Some(character),
            (Some(open), c) if c == open => quote = None,
            _ => {}
        }
    }
    ""
}

/// What follows the end tag of a hidden element; nothing when it has none.
fn skip_element<'a>(mut rest: &'a str, name: &str) -> &'a str {
    while let Some((_, after)) = rest.split_once("</") {
        let found = after
            .get(..name.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(name));
        if found {
            return after.split_once('>').map_or("", |(_, behind)| behind);
        }
        rest = after;
    }
    ""
}

fn push_text(out: &mut Lines, text: &str) {
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('&') {
        before.chars().for_each(|c| out.push(c));
        match reference(after) {
            Some((character, behind)) => {
                out.push(character);
                rest = behind;
            }
            None => {
                out.push('&');
                rest = after;
            }
        }
    }
    rest.chars().for_each(|c| out.push(c));
}

fn reference(after: &str) -> Option<(char, &str)> {
    let end = after.bytes().take(MAX_REFERENCE).position(|b| b == b';')?;
    let (name, behind) = after.split_at_checked(end)?;
    let behind = behind.strip_prefix(';')?;
    let character = match name.strip_prefix('#') {
        None => NAMED.iter().find(|(known, _)| *known == name)?.1,
        Some(number) => {
            let code = match number.strip_prefix(['x', 'X']) {
                Some(digits) => u32::from_str_radix(digits, 16),
                None => number.parse(),
            };
            char::from_u32(code.ok()?)?
        }
    };
    Some((character, behind))
}
