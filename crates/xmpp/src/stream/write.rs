//! Elements to octets.

use minidom::{Element, Node, element::Nodes};

use super::ns;

/// A text of markup that is always well-formed: values are escaped, characters that XML forbids are replaced.
#[derive(Debug, Default)]
pub(crate) struct Markup {
    out: String,
    open: Vec<&'static str>,
    in_tag: bool,
}

impl Markup {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Begins an element by its qualified name.
    pub(crate) fn open(&mut self, name: &'static str) -> &mut Self {
        self.end_tag();
        self.out.push('<');
        self.out.push_str(name);
        self.open.push(name);
        self.in_tag = true;
        self
    }

    /// Adds an attribute to the element that was just begun.
    pub(crate) fn attribute(&mut self, name: &str, value: &str) -> &mut Self {
        push_attribute(&mut self.out, name, value);
        self
    }

    /// Adds an attribute when there is a value.
    pub(crate) fn optional(&mut self, name: &str, value: Option<&str>) -> &mut Self {
        if let Some(value) = value {
            self.attribute(name, value);
        }
        self
    }

    /// Adds character data.
    pub(crate) fn text(&mut self, text: &str) -> &mut Self {
        self.end_tag();
        escape_text(&mut self.out, text);
        self
    }

    /// Ends the innermost open element.
    pub(crate) fn close(&mut self) -> &mut Self {
        let Some(name) = self.open.pop() else {
            return self;
        };
        if self.in_tag {
            self.out.push_str("/>");
            self.in_tag = false;
        } else {
            self.out.push_str("</");
            self.out.push_str(name);
            self.out.push('>');
        }
        self
    }

    /// The markup so far. Elements still open stay open: a stream header is one.
    pub(crate) fn finish(mut self) -> String {
        self.end_tag();
        self.out
    }

    fn end_tag(&mut self) {
        if self.in_tag {
            self.out.push('>');
            self.in_tag = false;
        }
    }
}

/// A stanza as it goes onto a server-to-server stream, whose default namespace it takes over.
pub(crate) fn stanza_to_wire(element: &Element) -> String {
    to_wire(element, ns::SERVER)
}

/// A stanza as it goes onto a component's stream, whose default namespace it takes over. Stanzas inside others stay
/// what they are: there the server renames nothing.
pub(crate) fn component_stanza_to_wire(element: &Element) -> String {
    to_wire(element, ns::CLIENT)
}

/// Writes `jabber:client` as `content`, which is also the namespace that holds around the element. Walks the tree
/// without recursion.
fn to_wire(element: &Element, content: &str) -> String {
    let mut out = String::with_capacity(256);
    let mut open: Vec<(&Element, String, Nodes<'_>)> = Vec::new();
    if let Some(entry) = open_element(&mut out, element, content, content) {
        open.push(entry);
    }
    while let Some((parent, parent_ns, nodes)) = open.last_mut() {
        match nodes.next() {
            Some(Node::Text(text)) => escape_text(&mut out, text),
            Some(Node::Element(child)) => {
                if let Some(entry) = open_element(&mut out, child, parent_ns, content) {
                    open.push(entry);
                }
            }
            None => {
                out.push_str("</");
                out.push_str(parent.name());
                out.push('>');
                open.pop();
            }
        }
    }
    out
}

/// Writes a start tag; an element without content is closed at once and `None` comes back.
fn open_element<'a>(
    out: &mut String,
    element: &'a Element,
    parent_ns: &str,
    content: &str,
) -> Option<(&'a Element, String, Nodes<'a>)> {
    let mut namespace = element.ns();
    if namespace == ns::CLIENT {
        namespace = content.to_owned();
    }
    out.push('<');
    out.push_str(element.name());
    if namespace != parent_ns {
        push_attribute(out, "xmlns", &namespace);
    }
    for (number, ((attr_ns, name), value)) in element.attrs().iter().enumerate() {
        match attr_ns.as_str() {
            "" => push_attribute(out, name, value),
            ns::XML => push_attribute(out, &format!("xml:{name}"), value),
            other => {
                push_attribute(out, &format!("xmlns:a{number}"), other);
                push_attribute(out, &format!("a{number}:{name}"), value);
            }
        }
    }
    if element.nodes().next().is_none() {
        out.push_str("/>");
        return None;
    }
    out.push('>');
    Some((element, namespace, element.nodes()))
}

fn push_attribute(out: &mut String, name: &str, value: &str) {
    out.push(' ');
    out.push_str(name);
    out.push_str("='");
    for c in value.chars() {
        match c {
            '\t' => out.push_str("&#9;"),
            '\n' => out.push_str("&#10;"),
            c => escape_char(out, c),
        }
    }
    out.push('\'');
}

fn escape_text(out: &mut String, text: &str) {
    for c in text.chars() {
        escape_char(out, c);
    }
}

/// One character as both text and attribute values may hold it (XML 1.0 §2.2).
fn escape_char(out: &mut String, c: char) {
    match c {
        '&' => out.push_str("&amp;"),
        '<' => out.push_str("&lt;"),
        '>' => out.push_str("&gt;"),
        '\'' => out.push_str("&apos;"),
        '"' => out.push_str("&quot;"),
        '\r' => out.push_str("&#13;"),
        '\t' | '\n' => out.push(c),
        '\0'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
        c => out.push(c),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_stanzas_in_the_server_namespace() {
        let cases = [
            (
                "<message xmlns='jabber:client' to='a@b'><body xml:lang='en'>1 &lt; 2</body><x xmlns='u:x'><y/></x></message>",
                "<message to='a@b'><body xml:lang='en'>1 &lt; 2</body><x xmlns='u:x'><y/></x></message>",
            ),
            (
                "<iq xmlns='jabber:client' xmlns:p='u:p' p:a='1'><q xmlns='u:q'><m xmlns='jabber:client'/></q></iq>",
                "<iq xmlns:a0='u:p' a0:a='1'><q xmlns='u:q'><m xmlns='jabber:server'/></q></iq>",
            ),
            ("<presence xmlns='jabber:client'/>", "<presence/>"),
        ];
        for (element, wire) in cases {
            assert_eq!(stanza_to_wire(&element.parse().unwrap()), wire);
        }
    }

    #[test]
    fn writes_stanzas_in_the_namespace_of_a_component() {
        let stanza =
            "<iq xmlns='jabber:client'><error/><q xmlns='u:q'><m xmlns='jabber:client'/></q></iq>";
        assert_eq!(
            component_stanza_to_wire(&stanza.parse().unwrap()),
            "<iq><error/><q xmlns='u:q'><m xmlns='jabber:client'/></q></iq>"
        );
    }

    #[test]
    fn replaces_what_xml_forbids() {
        let mut element = Element::bare("message", ns::CLIENT);
        element.append_text("a\u{0}b\u{1b}c\rd\u{fffe}'\"");
        assert_eq!(
            stanza_to_wire(&element),
            "<message>a\u{fffd}b\u{fffd}c&#13;d\u{fffd}&apos;&quot;</message>"
        );
    }

    #[test]
    fn escapes_line_ends_in_attributes() {
        let mut out = Markup::new();
        out.open("a").attribute("b", "1\r\n\t2").close();
        assert_eq!(out.finish(), "<a b='1&#13;&#10;&#9;2'/>");
    }
}
