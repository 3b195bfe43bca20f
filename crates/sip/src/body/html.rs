//! HTML reduced to the text a person would read and the little style that a message has.
//!
//! Tokens come from html5gum, which follows the WHATWG rules; no tree is built, so the work is linear. Scripts,
//! styles, forms, pictures and comments are dropped; a picture leaves its alternative text.

mod css;

use html5gum::{DefaultEmitter, StartTag, Token, Tokenizer};
use stox_core::vocab::{Link, Style};

use super::styled::{Styled, Writer};

/// Octets of one document.
pub const MAX_OCTETS: usize = 65_536;
/// Open elements that are kept in mind; what is deeper looks like its parent.
const MAX_DEPTH: usize = 64;

/// Elements whose content is not for reading.
const HIDDEN: [&str; 7] = [
    "iframe", "noembed", "noscript", "script", "style", "template", "title",
];
/// Elements that stand on lines of their own.
const BLOCKS: [&str; 22] = [
    "address",
    "article",
    "blockquote",
    "body",
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
    "pre",
    "table",
    "tr",
    "ul",
];
/// Elements without content.
const VOID: [&str; 14] = [
    "area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "param", "source",
    "track", "wbr",
];
/// Elements that end where their next one begins.
const IMPLIED_END: [&str; 8] = ["a", "dd", "dt", "li", "p", "td", "th", "tr"];

/// An element, and what its name alone does to a style.
type Effect = (&'static str, fn(&mut Style));

/// The elements that are styles.
const EFFECTS: [Effect; 10] = [
    ("b", |style| style.bold = true),
    ("del", |style| style.strike = true),
    ("em", |style| style.italic = true),
    ("i", |style| style.italic = true),
    ("ins", |style| style.underline = true),
    ("s", |style| style.strike = true),
    ("strike", |style| style.strike = true),
    ("strong", |style| style.bold = true),
    ("th", |style| style.bold = true),
    ("u", |style| style.underline = true),
];

/// A document beyond [`MAX_OCTETS`]. The sender is at fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the document is larger than the limits allow")]
pub struct TooLarge;

/// Reads a document or a piece of one. Blank lines at its end are dropped; behind a link whose text does not say
/// where it leads, the text says so. The text is at most three times as long as the document.
///
/// # Errors
/// [`TooLarge`].
pub fn read(html: &str) -> Result<Styled, TooLarge> {
    if html.len() > MAX_OCTETS {
        return Err(TooLarge);
    }
    let mut emitter = DefaultEmitter::default();
    emitter.naively_switch_states(true);
    let mut page = Page::default();
    for Ok(token) in Tokenizer::new_with_emitter(html, emitter) {
        match token {
            Token::StartTag(tag) => page.start(&tag),
            Token::EndTag(tag) => page.end(&String::from_utf8_lossy(&tag.name)),
            Token::String(text) => page.text(&String::from_utf8_lossy(&text)),
            Token::Comment(_) | Token::Doctype(_) | Token::Error(_) => {}
        }
    }
    page.close_down_to(0);
    Ok(page.out.finish())
}

/// Writes text as a piece of HTML that shows it as it is, line ends and spaces included.
#[must_use]
pub fn write(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut before = '\n';
    let mut rest = text.chars().peekable();
    while let Some(character) = rest.next() {
        let at_edge = matches!(before, ' ' | '\n') || matches!(rest.peek(), None | Some('\n'));
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' => out.push_str("<br>"),
            // A space at the edge of a line, or behind another one, would not be shown.
            ' ' if at_edge => out.push_str("&nbsp;"),
            c => out.push(c),
        }
        before = character;
    }
    out
}

/// An open element.
struct Open {
    name: String,
    style: Style,
    hidden: bool,
    preformatted: bool,
    /// Where in the text it began.
    start: usize,
}

#[derive(Default)]
struct Page {
    open: Vec<Open>,
    out: Writer,
    /// White space is owed before the next character, in this style.
    space: Option<Style>,
}

impl Page {
    fn start(&mut self, tag: &StartTag<()>) {
        let name = String::from_utf8_lossy(&tag.name).into_owned();
        if IMPLIED_END.contains(&name.as_str()) {
            self.close_same(&name);
        }
        match name.as_str() {
            "br" => self.break_line(true),
            "td" | "th" => self.space = Some(Style::default()),
            "img" => self.text(&attribute(tag, "alt")),
            block if BLOCKS.contains(&block) => self.break_line(false),
            _ => {}
        }
        if !VOID.contains(&name.as_str()) {
            self.open(name, tag);
        }
    }

    fn open(&mut self, name: String, tag: &StartTag<()>) {
        let declarations = attribute(tag, "style");
        let outer = self.open.last();
        let was_hidden = outer.is_some_and(|open| open.hidden);
        let hidden = was_hidden || HIDDEN.contains(&name.as_str()) || css::hides(&declarations);
        // What is hidden stays so at any depth.
        if self.open.len() >= MAX_DEPTH + usize::from(hidden && !was_hidden) {
            return;
        }
        let preformatted = outer.is_some_and(|open| open.preformatted) || name == "pre";
        let mut style = outer.map(|open| open.style.clone()).unwrap_or_default();
        if let Some((_, effect)) = EFFECTS.iter().find(|(element, _)| *element == name) {
            effect(&mut style);
        }
        match name.as_str() {
            "a" => style.link = Link::parse(&attribute(tag, "href")),
            "font" => css::set_colour(&mut style, &attribute(tag, "color")),
            _ => {}
        }
        css::apply(&mut style, &declarations);
        self.open.push(Open {
            name,
            style,
            hidden,
            preformatted,
            start: self.out.text().len(),
        });
    }

    fn end(&mut self, name: &str) {
        if let Some(at) = self.open.iter().rposition(|open| open.name == name) {
            self.close_down_to(at);
        }
        if name == "br" || BLOCKS.contains(&name) {
            self.break_line(name == "br");
        }
    }

    /// Ends an element that cannot hold another of its kind: a link anywhere, others when nothing is open inside.
    fn close_same(&mut self, name: &str) {
        let at = self.open.iter().rposition(|open| open.name == name);
        if let Some(at) = at.filter(|at| name == "a" || at + 1 == self.open.len()) {
            self.close_down_to(at);
        }
    }

    fn close_down_to(&mut self, depth: usize) {
        while self.open.len() > depth {
            if let Some(open) = self
                .open
                .pop()
                .filter(|open| open.name == "a" && !open.hidden)
            {
                self.name_target(&open);
            }
        }
    }

    /// Says where a link leads, unless its own text does.
    fn name_target(&mut self, anchor: &Open) {
        let (Some(link), Some(shown)) = (&anchor.style.link, self.out.text().get(anchor.start..))
        else {
            return;
        };
        let shown = shown.trim();
        if !shown.is_empty() && bare(shown) != bare(link.as_str()) {
            let target = format!(" <{}>", link.as_str());
            self.out.push_plain_only(&target);
        }
    }

    fn text(&mut self, text: &str) {
        if self.open.last().is_some_and(|open| open.hidden) {
            return;
        }
        let preformatted = self.open.last().is_some_and(|open| open.preformatted);
        for character in text.chars() {
            match character {
                '\n' if preformatted => self.break_line(true),
                ' ' | '\t' if preformatted => self.put(character),
                ' ' | '\t' | '\n' | '\r' | '\u{c}' => self.owe_space(),
                '\u{a0}' => self.put(' '),
                other => self.put(other),
            }
        }
    }

    /// White space has the style of where it begins.
    fn owe_space(&mut self) {
        if self.space.is_none() {
            let style = self.open.last().map(|open| open.style.clone());
            self.space = Some(style.unwrap_or_default());
        }
    }

    fn put(&mut self, character: char) {
        let text = self.out.text();
        let at_start = text.is_empty() || text.ends_with('\n');
        if let Some(style) = self.space.take().filter(|_| !at_start) {
            self.out.push(' ', &style);
        }
        let plain = Style::default();
        let style = self.open.last().map_or(&plain, |open| &open.style);
        self.out.push(character, style);
    }

    fn break_line(&mut self, forced: bool) {
        self.space = None;
        let hidden = self.open.last().is_some_and(|open| open.hidden);
        let text = self.out.text();
        if !hidden && !text.is_empty() && (forced || !text.ends_with('\n')) {
            self.out.push('\n', &Style::default());
        }
    }
}

fn attribute(tag: &StartTag<()>, name: &str) -> String {
    let value = tag.attributes.get(name.as_bytes());
    value.map_or_else(String::new, |value| {
        String::from_utf8_lossy(&value.value).into_owned()
    })
}

/// A link without what people leave out when they write it.
fn bare(link: &str) -> &str {
    let rest = ["http://", "https://", "mailto:"]
        .iter()
        .find_map(|scheme| link.strip_prefix(scheme));
    rest.unwrap_or(link).trim_end_matches('/')
}
