//! Small tools for reading and building elements.

use minidom::Element;
use rxml::{Namespace, xml_ncname};
use stox_core::address::Jid;
use stox_core::vocab::Text;
use xmpp_parsers::ns;

/// The text with every character that XML 1.0 forbids (§2.2) replaced, since one of them ends the stream.
pub(crate) fn clean(text: &str) -> String {
    text.chars()
        .map(|c| if is_xml_char(c) { c } else { '\u{fffd}' })
        .collect()
}

fn is_xml_char(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
}

/// An empty stanza with its addresses.
pub(crate) fn stanza(name: &str, from: &Jid, to: &Jid) -> Element {
    let mut element = Element::bare(name, ns::JABBER_CLIENT);
    set_attr(&mut element, xml_ncname!("from").into(), &from.to_string());
    set_attr(&mut element, xml_ncname!("to").into(), &to.to_string());
    element
}

pub(crate) fn set_attr(element: &mut Element, name: rxml::NcName, value: &str) {
    element.set_attr(Namespace::NONE, name, clean(value));
}

pub(crate) fn set_lang(element: &mut Element, lang: &str) {
    element.set_attr(Namespace::XML, xml_ncname!("lang").into(), clean(lang));
}

/// `xml:lang` of this element alone; an empty one means "not said" (XML 1.0 §2.12).
pub(crate) fn lang(element: &Element) -> Option<&str> {
    element.attr_ns(&Namespace::XML, "lang")
}

/// An element of the stanza namespace with nothing but text in it.
pub(crate) fn text_child(name: &str, text: &str) -> Element {
    let mut child = Element::bare(name, ns::JABBER_CLIENT);
    add_text(&mut child, text);
    child
}

pub(crate) fn add_text(element: &mut Element, text: &str) {
    if !text.is_empty() {
        element.append_text_node(clean(text));
    }
}

/// All children of that name, each with its own language or else that of the stanza (RFC 6120 §8.1.5).
pub(crate) fn read_texts(stanza: &Element, name: &str) -> Vec<Text> {
    let inherited = lang(stanza);
    children(stanza, name)
        .map(|child| Text {
            lang: lang(child)
                .or(inherited)
                .filter(|tag| !tag.is_empty())
                .map(str::to_owned),
            text: with_line_feeds(&child.text()),
        })
        .collect()
}

/// All children of that name in the stanza namespace.
pub(crate) fn children<'a>(
    stanza: &'a Element,
    name: &'a str,
) -> impl Iterator<Item = &'a Element> {
    stanza
        .children()
        .filter(move |child| child.is(name, ns::JABBER_CLIENT))
}

/// Writes texts as children, each with its `xml:lang`: readers look for it on the child or on the stanza, few on both.
pub(crate) fn append_texts(stanza: &mut Element, name: &str, texts: &[Text]) {
    for text in texts {
        let mut child = text_child(name, &text.text);
        if let Some(tag) = &text.lang {
            set_lang(&mut child, tag);
        }
        stanza.append_child(child);
    }
}

/// The language that all texts have in common, if any.
pub(crate) fn common_lang<'a>(mut texts: impl Iterator<Item = &'a Text>) -> Option<&'a str> {
    let first = texts.next()?.lang.as_deref()?;
    texts
        .all(|text| text.lang.as_deref() == Some(first))
        .then_some(first)
}

/// XML turns CR LF into LF, but not where a CR was written as a character reference.
fn with_line_feeds(text: &str) -> String {
    if text.contains('\r') {
        text.replace("\r\n", "\n").replace('\r', "\n")
    } else {
        text.to_owned()
    }
}
