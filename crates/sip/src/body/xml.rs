//! A bounded reader of small XML documents, for the bodies that are XML.
//!
//! DTDs and entities other than the five of XML are refused, and nothing is fetched or expanded; the one format that
//! cannot do without a document type declaration may have its bare name ([`parse_with_doctype`]). Size, depth, element count and
//! attribute count have limits, so a document costs at most a small multiple of its octets.

use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE};
use quick_xml::XmlVersion;
use quick_xml::events::{BytesRef, BytesStart, Event};
use quick_xml::name::{NamespaceResolver, ResolveResult};
use quick_xml::reader::NsReader;

use super::text::is_xml_char;

/// Octets of one document.
pub const MAX_OCTETS: usize = 65_536;
/// Open elements at a time.
pub const MAX_DEPTH: usize = 32;
/// Elements of one document.
pub const MAX_ELEMENTS: usize = 4096;
/// Attributes of one element.
pub const MAX_ATTRIBUTES: usize = 64;

/// Namespace that the prefix `xml` stands for.
pub const XML_NAMESPACE: &str = "http://www.w3.org/XML/1998/namespace";

/// Why a document was not read. The sender is at fault in every case.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum XmlError {
    /// Longer than [`MAX_OCTETS`], deeper than [`MAX_DEPTH`] or with more parts than allowed.
    #[error("the document is larger than the limits allow")]
    TooLarge,
    /// A document type declaration.
    #[error("a document type declaration is not accepted")]
    Dtd,
    /// An entity that XML does not define by itself.
    #[error("an entity is not defined")]
    Entity,
    /// A charset that is unknown, or octets that are not in it.
    #[error("the octets are not in the charset of the document")]
    Charset,
    /// Not well-formed.
    #[error("the document is not well-formed")]
    NotWellFormed,
}

/// One element.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Element {
    /// Namespace name, empty when in none.
    pub namespace: String,
    /// Local name.
    pub name: String,
    /// Attributes as namespace, local name, value. Namespace declarations are left out.
    pub attributes: Vec<(String, String, String)>,
    /// Child elements in order.
    pub children: Vec<Element>,
    /// All character data directly inside, in order.
    pub text: String,
}

impl Element {
    /// Whether this is the element of that namespace and local name.
    pub fn is(&self, namespace: &str, name: &str) -> bool {
        self.name == name && self.namespace == namespace
    }

    /// The attribute without namespace.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attribute_ns("", name)
    }

    /// The attribute in a namespace.
    pub fn attribute_ns(&self, namespace: &str, name: &str) -> Option<&str> {
        self.attributes
            .iter()
            .find(|(ns, local, _)| local == name && ns == namespace)
            .map(|(_, _, value)| value.as_str())
    }

    /// The first child element of that namespace and name.
    pub fn child(&self, namespace: &str, name: &str) -> Option<&Element> {
        self.children.iter().find(|child| child.is(namespace, name))
    }

    /// All child elements of that namespace and name.
    pub fn children_named<'a>(
        &'a self,
        namespace: &'a str,
        name: &'a str,
    ) -> impl Iterator<Item = &'a Element> {
        self.children
            .iter()
            .filter(move |child| child.is(namespace, name))
    }

    /// The trimmed text of an element without child elements.
    pub fn simple_text(&self) -> Option<&str> {
        self.children.is_empty().then(|| self.text.trim())
    }
}

/// Reads one document and gives its root element.
///
/// The charset is taken from a byte order mark, then from the `charset` parameter of the content type, then from the
/// XML declaration, then it is UTF-8 (RFC 7303 §3).
///
/// # Errors
/// [`XmlError`] when the octets are no well-formed document within the limits.
pub fn parse(octets: &[u8], charset: Option<&str>) -> Result<Element, XmlError> {
    read(octets, charset, None)
}

/// As [`parse`], for a format whose documents name a document type: one declaration before the root element is passed
/// over when it names this root and declares nothing itself. What it refers to is not looked at, so an entity is still
/// refused.
///
/// # Errors
/// As [`parse`].
pub fn parse_with_doctype(
    octets: &[u8],
    charset: Option<&str>,
    root: &'static str,
) -> Result<Element, XmlError> {
    read(octets, charset, Some(root))
}

fn read(
    octets: &[u8],
    charset: Option<&str>,
    doctype: Option<&'static str>,
) -> Result<Element, XmlError> {
    if octets.len() > MAX_OCTETS {
        return Err(XmlError::TooLarge);
    }
    let text = decode(octets, charset)?;
    if !text.chars().all(is_xml_char) {
        return Err(XmlError::NotWellFormed);
    }
    let reader = TreeReader {
        doctype,
        ..TreeReader::default()
    };
    reader.read(&text)
}

fn decode(octets: &[u8], charset: Option<&str>) -> Result<String, XmlError> {
    let (encoding, mark) = match Encoding::for_bom(octets) {
        Some(found) => found,
        None => (declared_encoding(octets, charset)?, 0),
    };
    let octets = octets.get(mark..).unwrap_or_default();
    encoding
        .decode_without_bom_handling_and_without_replacement(octets)
        .map(std::borrow::Cow::into_owned)
        .ok_or(XmlError::Charset)
}

fn declared_encoding(octets: &[u8], charset: Option<&str>) -> Result<&'static Encoding, XmlError> {
    match octets {
        [0, b'<', ..] => return Ok(UTF_16BE),
        [b'<', 0, ..] => return Ok(UTF_16LE),
        _ => {}
    }
    let declared = charset
        .map(str::to_owned)
        .or_else(|| declaration_encoding(octets));
    match declared {
        None => Ok(UTF_8),
        Some(label) => super::text::encoding_for(&label).ok_or(XmlError::Charset),
    }
}

/// The value of `encoding` in an XML declaration that is ASCII-compatible.
fn declaration_encoding(octets: &[u8]) -> Option<String> {
    let rest = octets.strip_prefix(b"<?xml")?;
    let end = rest.iter().position(|&octet| octet == b'>')?;
    let declaration = std::str::from_utf8(rest.get(..end)?).ok()?;
    let (_, after) = declaration.split_once("encoding")?;
    let after = after.trim_start().strip_prefix('=')?.trim_start();
    let quote = after.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    let mut parts = after.split(quote);
    parts.next()?;
    parts.next().map(str::to_owned)
}

/// Builds the tree; `open` is the path from the root to the current element.
#[derive(Default)]
struct TreeReader {
    open: Vec<Element>,
    root: Option<Element>,
    elements: usize,
    /// The document type that may be named once.
    doctype: Option<&'static str>,
}

/// A name without its prefix, which the reader does not look into (Namespaces in XML 1.0 §3).
fn local_name(name: &str) -> Result<String, XmlError> {
    let starts = |c: char| c.is_ascii_alphabetic() || c == '_' || !c.is_ascii();
    let goes_on = |c: char| starts(c) || c.is_ascii_digit() || matches!(c, '-' | '.');
    if name.starts_with(starts) && name.chars().all(goes_on) {
        Ok(name.to_owned())
    } else {
        Err(XmlError::NotWellFormed)
    }
}

impl TreeReader {
    fn read(mut self, text: &str) -> Result<Element, XmlError> {
        let mut reader = NsReader::from_str(text);
        reader.config_mut().check_comments = true;
        loop {
            match reader.read_event().map_err(|_| XmlError::NotWellFormed)? {
                Event::Start(tag) => self.start(&tag, reader.resolver())?,
                Event::Empty(tag) => {
                    self.start(&tag, reader.resolver())?;
                    self.end()?;
                }
                Event::End(_) => self.end()?,
                Event::Text(text) => self.text(&text.xml10_content())?,
                Event::CData(text) if !self.open.is_empty() => self.text(&text.xml10_content())?,
                Event::GeneralRef(reference) if !self.open.is_empty() => {
                    self.reference(&reference)?
                }
                Event::DocType(declaration) => self.doctype(&declaration.xml10_content())?,
                Event::Decl(_) if self.elements > 0 => return Err(XmlError::NotWellFormed),
                Event::CData(_) | Event::GeneralRef(_) => return Err(XmlError::NotWellFormed),
                Event::Decl(_) | Event::PI(_) | Event::Comment(_) => {}
                Event::Eof => break,
            }
        }
        if !self.open.is_empty() {
            return Err(XmlError::NotWellFormed);
        }
        self.root.ok_or(XmlError::NotWellFormed)
    }

    fn start(&mut self, tag: &BytesStart<'_>, names: &NamespaceResolver) -> Result<(), XmlError> {
        self.elements += 1;
        if self.elements > MAX_ELEMENTS || self.open.len() >= MAX_DEPTH {
            return Err(XmlError::TooLarge);
        }
        if self.root.is_some() {
            return Err(XmlError::NotWellFormed);
        }
        let (namespace, name) = names.resolve_element(tag.name());
        let mut element = Element {
            namespace: namespace_text(&namespace)?,
            name: local_name(name.into_inner())?,
            ..Element::default()
        };
        for attribute in tag.attributes() {
            let attribute = attribute.map_err(|_| XmlError::NotWellFormed)?;
            if element.attributes.len() >= MAX_ATTRIBUTES {
                return Err(XmlError::TooLarge);
            }
            if attribute.key.as_namespace_binding().is_some() {
                continue;
            }
            let (namespace, name) = names.resolve_attribute(attribute.key);
            let value = attribute
                .normalized_value(XmlVersion::Implicit1_0)
                .map_err(|_| XmlError::Entity)?;
            if !value.chars().all(is_xml_char) {
                return Err(XmlError::NotWellFormed);
            }
            let row = (
                namespace_text(&namespace)?,
                local_name(name.into_inner())?,
                value.into_owned(),
            );
            element.attributes.push(row);
        }
        self.open.push(element);
        Ok(())
    }

    fn doctype(&mut self, declaration: &str) -> Result<(), XmlError> {
        let allowed = self.doctype.take().filter(|_| self.elements == 0);
        let bare = !declaration.contains(['[', '<', '>', '%', '&']);
        let named = declaration.split_ascii_whitespace().next();
        if bare && allowed.is_some() && named == allowed {
            Ok(())
        } else {
            Err(XmlError::Dtd)
        }
    }

    fn end(&mut self) -> Result<(), XmlError> {
        let element = self.open.pop().ok_or(XmlError::NotWellFormed)?;
        match self.open.last_mut() {
            Some(parent) => parent.children.push(element),
            None => self.root = Some(element),
        }
        Ok(())
    }

    fn text(&mut self, text: &str) -> Result<(), XmlError> {
        match self.open.last_mut() {
            Some(element) => element.text.push_str(text),
            None if text.trim().is_empty() => {}
            None => return Err(XmlError::NotWellFormed),
        }
        Ok(())
    }

    fn reference(&mut self, reference: &BytesRef<'_>) -> Result<(), XmlError> {
        let resolved = reference
            .resolve_char_ref()
            .map_err(|_| XmlError::NotWellFormed)?;
        if let Some(character) = resolved {
            if !is_xml_char(character) {
                return Err(XmlError::NotWellFormed);
            }
            return self.text(character.encode_utf8(&mut [0; 4]));
        }
        let name = reference.xml10_content();
        let text = quick_xml::escape::resolve_xml_entity(&name).ok_or(XmlError::Entity)?;
        self.text(text)
    }
}

fn namespace_text(resolved: &ResolveResult<'_>) -> Result<String, XmlError> {
    match resolved {
        ResolveResult::Bound(namespace) => Ok(namespace.into_inner().to_owned()),
        ResolveResult::Unbound => Ok(String::new()),
        ResolveResult::Unknown(_) => Err(XmlError::NotWellFormed),
    }
}

/// Appends text as XML character data or attribute value. Characters that XML forbids become U+FFFD.
pub fn escape_into(out: &mut String, text: &str) {
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            // A bare carriage return would be read back as a line feed.
            '\r' => out.push_str("&#13;"),
            c if is_xml_char(c) => out.push(c),
            _ => out.push(char::REPLACEMENT_CHARACTER),
        }
    }
}

/// Appends a start tag. Names are written as they are.
pub(super) fn open(out: &mut String, name: &str, attributes: &[(&str, &str)]) {
    start(out, name, attributes);
    out.push('>');
}

/// Appends an element without content.
pub(super) fn empty(out: &mut String, name: &str, attributes: &[(&str, &str)]) {
    start(out, name, attributes);
    out.push_str("/>");
}

/// Appends an end tag.
pub(super) fn close(out: &mut String, name: &str) {
    out.push_str("</");
    out.push_str(name);
    out.push('>');
}

/// Appends an element with text.
pub(super) fn leaf(out: &mut String, name: &str, attributes: &[(&str, &str)], text: &str) {
    open(out, name, attributes);
    escape_into(out, text);
    close(out, name);
}

fn start(out: &mut String, name: &str, attributes: &[(&str, &str)]) {
    out.push('<');
    out.push_str(name);
    for (attribute, value) in attributes {
        out.push(' ');
        out.push_str(attribute);
        out.push_str("=\"");
        escape_into(out, value);
        out.push('"');
    }
}
