//! The stream parser: octets to stream headers and whole top-level elements, within limits.
//!
//! The result does not depend on how the octets were cut into reads, work is linear in their number, and the tree
//! is built without recursion and bounded in depth, so that dropping it is safe too.

use std::collections::{BTreeMap, btree_map::Entry};

use minidom::Element;
use rxml::{
    Namespace, NcName, Options, Parse, RawEvent, RawParser, RawQName, WithOptions,
    error::{EndOrError, Error as XmlError},
    xml_map::Entry as AttributeEntry,
};

use super::{
    error::{StreamCondition, StreamError},
    header::StreamHeader,
    limits::Limits,
    ns,
};

/// What the parser has read.
#[derive(Debug, Clone, PartialEq)]
pub enum XmlEvent {
    /// The peer opened the stream.
    Open(StreamHeader),
    /// One whole top-level element. Elements of the content namespace are in `jabber:client`.
    Element(Element),
    /// The peer closed the stream.
    Close,
}

/// How far over a limit an element may be that is cut ([`Limits::cut`]): in octets, and in all else.
const CUT: (usize, usize) = (8, 1_024);

/// Where the parser stands between two octets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// Before the root, or between top-level elements: white space is free.
    Gap,
    /// Behind a `<` in a gap.
    Angle,
    /// Within markup.
    Inside,
    /// Behind the root's start tag, which may have been an empty element.
    RootOpened,
    /// Behind the closing tag of the stream.
    End,
}

/// A start tag whose attributes are still arriving.
#[derive(Debug)]
struct Head {
    name: RawQName,
    attributes: Vec<(RawQName, String)>,
    scope: usize,
}

#[derive(Debug)]
struct Open {
    element: Element,
    scope: usize,
}

/// The namespace declarations in scope; the default namespace has the empty prefix.
#[derive(Debug, Default)]
struct Scope {
    order: Vec<String>,
    /// Of each prefix, with their places in `order`.
    bindings: BTreeMap<String, Vec<(usize, Namespace<'static>)>>,
}

impl Scope {
    fn len(&self) -> usize {
        self.order.len()
    }

    fn declares_since(&self, start: usize, prefix: &str) -> bool {
        let last = self.bindings.get(prefix).and_then(|bound| bound.last());
        last.is_some_and(|(place, _)| *place >= start)
    }

    fn declare(&mut self, prefix: String, namespace: Namespace<'static>) {
        self.bindings
            .entry(prefix.clone())
            .or_default()
            .push((self.order.len(), namespace));
        self.order.push(prefix);
    }

    fn find(&self, prefix: &str) -> Option<&Namespace<'static>> {
        let (_, namespace) = self.bindings.get(prefix)?.last()?;
        Some(namespace)
    }

    fn contains(&self, namespace: &str) -> bool {
        self.bindings
            .values()
            .flatten()
            .any(|(_, known)| known.as_str() == namespace)
    }

    fn truncate(&mut self, len: usize) {
        while self.order.len() > len
            && let Some(prefix) = self.order.pop()
        {
            if let Entry::Occupied(mut bound) = self.bindings.entry(prefix) {
                bound.get_mut().pop();
                if bound.get().is_empty() {
                    bound.remove();
                }
            }
        }
    }
}

/// Parses one stream. Made anew for every restart (RFC 6120 §4.3.3).
#[derive(Debug)]
pub struct StreamParser {
    raw: RawParser,
    limits: Limits,
    authenticated: bool,
    at: At,
    used: usize,
    elements: usize,
    attributes: usize,
    in_stream: bool,
    content_ns: String,
    scope: Scope,
    head: Option<Head>,
    open: Vec<Open>,
    /// The element that is being read, or was read last, is not whole.
    cut: bool,
    failed: Option<StreamError>,
}

impl StreamParser {
    /// A parser before the peer's stream header.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        let mut options = Options::default();
        if limits.cut {
            options.max_token_length = limits.octets_after_auth.saturating_mul(CUT.0);
        }
        Self {
            raw: RawParser::with_options(options),
            limits,
            authenticated: false,
            at: At::Gap,
            used: 0,
            elements: 0,
            attributes: 0,
            in_stream: false,
            content_ns: String::new(),
            scope: Scope::default(),
            head: None,
            open: Vec::new(),
            cut: false,
            failed: None,
        }
    }

    /// Raises the element limit: a domain has been proved.
    pub fn set_authenticated(&mut self) {
        self.authenticated = true;
    }

    /// The element that was read last was over a limit and is not whole.
    #[must_use]
    pub fn was_cut(&self) -> bool {
        self.cut
    }

    /// Something has begun and not ended: the peer owes octets.
    #[must_use]
    pub fn is_mid_element(&self) -> bool {
        self.at != At::Gap && self.at != At::End
    }

    /// Reads on and takes what it used off the front of `input`. `None`: all is used, and more is needed.
    ///
    /// # Errors
    /// What the peer did wrong. The same error comes back ever after.
    pub fn next(&mut self, input: &mut &[u8]) -> Result<Option<XmlEvent>, StreamError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let result = self.advance(input);
        if let Err(error) = &result {
            self.failed = Some(error.clone());
            self.open.clear();
        }
        result
    }

    fn advance(&mut self, input: &mut &[u8]) -> Result<Option<XmlEvent>, StreamError> {
        loop {
            match self.at {
                At::Gap => {
                    if !self.leave_gap(input)? {
                        self.raw.release_temporaries();
                        return Ok(None);
                    }
                }
                At::Angle => match input.first() {
                    None => return Ok(None),
                    Some(b'!') => return Err(restricted("markup declaration, comment or CDATA")),
                    Some(b'?') if self.in_stream => {
                        return Err(restricted("processing instruction"));
                    }
                    Some(_) => self.at = At::Inside,
                },
                At::Inside => match self.parse(input)? {
                    Some(event) => {
                        if let Some(event) = self.take(event)? {
                            return Ok(Some(event));
                        }
                    }
                    None => return Ok(None),
                },
                At::RootOpened => {
                    self.at = At::Gap;
                    if let Some(event) = self.parse(&mut [].as_slice())? {
                        return self.take(event);
                    }
                }
                At::End if input.is_empty() => return Ok(None),
                At::End => {
                    return Err(StreamError::new(
                        StreamCondition::BadFormat,
                        "octets behind the end of the stream",
                    ));
                }
            }
        }
    }

    /// Passes white space and takes the `<` behind it. `false` when the input ends first.
    fn leave_gap(&mut self, input: &mut &[u8]) -> Result<bool, StreamError> {
        let spaces = input
            .iter()
            .take_while(|b| matches!(b, b' ' | b'\t' | b'\r' | b'\n'))
            .count();
        *input = input.get(spaces..).unwrap_or_default();
        if !self.in_stream {
            self.used += spaces;
            if self.used > self.limits.header_octets {
                return Err(too_large());
            }
        }
        match input.first() {
            None => return Ok(false),
            Some(b'<') => {}
            Some(_) if self.in_stream => {
                return Err(StreamError::new(
                    StreamCondition::BadFormat,
                    "text between elements",
                ));
            }
            Some(_) => {
                return Err(StreamError::new(
                    StreamCondition::NotWellFormed,
                    "not an XML stream",
                ));
            }
        }
        if self.parse_within(&mut b"<".as_slice())?.is_some() {
            return Err(StreamError::new(
                StreamCondition::NotWellFormed,
                "unexpected markup",
            ));
        }
        *input = input.get(1..).unwrap_or_default();
        self.used += 1;
        self.at = At::Angle;
        Ok(true)
    }

    /// One raw event out of what the limit leaves of the input.
    fn parse(&mut self, input: &mut &[u8]) -> Result<Option<RawEvent>, StreamError> {
        let left = self.octet_limit().saturating_sub(self.used);
        let mut window = input.get(..left).unwrap_or(input);
        let before = window.len();
        let event = self.parse_within(&mut window)?;
        let taken = before - window.len();
        self.used += taken;
        self.cut |= self.may_cut() && self.used > self.limits.octets_after_auth;
        *input = input.get(taken..).unwrap_or_default();
        if event.is_none() && !input.is_empty() {
            return Err(too_large());
        }
        Ok(event)
    }

    fn parse_within(&mut self, window: &mut &[u8]) -> Result<Option<RawEvent>, StreamError> {
        match self.raw.parse(window, false) {
            Ok(event) => Ok(event),
            Err(EndOrError::NeedMoreData) => Ok(None),
            Err(EndOrError::Error(error)) => Err(from_xml_error(error)),
        }
    }

    fn octet_limit(&self) -> usize {
        match (self.in_stream, self.authenticated) {
            (false, _) => self.limits.header_octets,
            (true, false) => self.limits.octets_before_auth,
            (true, true) if self.limits.cut => self.limits.octets_after_auth.saturating_mul(CUT.0),
            (true, true) => self.limits.octets_after_auth,
        }
    }

    fn may_cut(&self) -> bool {
        self.limits.cut && self.in_stream && self.authenticated
    }

    /// What to do about one more than so many.
    fn exceed(&mut self, count: usize, limit: usize, text: &str) -> Result<(), StreamError> {
        if !self.may_cut() || count >= limit.saturating_mul(CUT.1) {
            return Err(over(text));
        }
        self.cut = true;
        Ok(())
    }

    fn take(&mut self, event: RawEvent) -> Result<Option<XmlEvent>, StreamError> {
        match event {
            RawEvent::XmlDeclaration(..) => {
                self.at = At::Gap;
                Ok(None)
            }
            RawEvent::ElementHeadOpen(_, name) => self.begin_head(name).map(|()| None),
            RawEvent::Attribute(_, name, value) => self.add_attribute(name, value).map(|()| None),
            RawEvent::ElementHeadClose(_) => self.finish_head(),
            RawEvent::Text(_, text) => {
                if let Some(top) = self.open.last_mut().filter(|_| !self.cut) {
                    top.element.append_text(text);
                }
                Ok(None)
            }
            RawEvent::ElementFoot(_) => Ok(self.end_element()),
        }
    }

    fn begin_head(&mut self, name: RawQName) -> Result<(), StreamError> {
        if self.in_stream {
            self.elements += 1;
            let (depth, elements) = (self.open.len(), self.elements);
            if depth == 0 {
                self.cut = false;
            }
            if depth >= self.limits.depth {
                self.exceed(depth, self.limits.depth, "elements nested too deep")?;
            }
            if elements > self.limits.elements {
                self.exceed(elements, self.limits.elements, "too many elements")?;
            }
        }
        self.head = Some(Head {
            name,
            attributes: Vec::new(),
            scope: self.scope.len(),
        });
        Ok(())
    }

    fn add_attribute(&mut self, name: RawQName, value: String) -> Result<(), StreamError> {
        let Some(head) = self.head.as_mut() else {
            return Err(not_well_formed());
        };
        let declared = match &name {
            (Some(prefix), local) if prefix.as_str() == "xmlns" => Some(local.as_str()),
            (None, local) if local.as_str() == "xmlns" => Some(""),
            _ => None,
        };
        let Some(prefix) = declared else {
            let count = head.attributes.len();
            if count >= self.limits.attributes {
                // None is kept beyond the limit, so that only octets count from here on.
                return self.exceed(count, self.limits.attributes, "too many attributes");
            }
            let (in_all, limit) = (self.attributes, self.limits.attributes_in_all);
            if in_all >= limit {
                return self.exceed(in_all, limit, "too many attributes");
            }
            self.attributes += 1;
            head.attributes.push((name, value));
            return Ok(());
        };
        if self.scope.declares_since(head.scope, prefix) {
            return Err(not_well_formed());
        }
        if self.scope.len() >= self.limits.namespaces {
            let count = self.scope.len();
            self.exceed(count, self.limits.namespaces, "too many namespaces")?;
        }
        self.scope.declare(prefix.to_owned(), value.into());
        Ok(())
    }

    fn finish_head(&mut self) -> Result<Option<XmlEvent>, StreamError> {
        let Some(head) = self.head.take() else {
            return Err(not_well_formed());
        };
        let namespace = self.resolve(head.name.0.as_ref())?;
        let mut element = Element::bare(head.name.1.as_str(), self.rename(namespace.as_str()));
        for ((prefix, name), value) in head.attributes {
            let namespace = match prefix {
                Some(prefix) => self.resolve(Some(&prefix))?,
                None => Namespace::NONE,
            };
            match element.attrs_mut().entry(namespace, name) {
                AttributeEntry::Occupied(_) => return Err(not_well_formed()),
                AttributeEntry::Vacant(vacant) => {
                    vacant.insert(value);
                }
            }
        }
        if !self.in_stream {
            return self.open_stream(&element).map(Some);
        }
        if self.open.is_empty() && namespace.as_str() == ns::CLIENT && self.content_ns != ns::CLIENT
        {
            return Err(StreamError::new(
                StreamCondition::InvalidNamespace,
                "this is a stream between servers",
            ));
        }
        self.open.push(Open {
            element,
            scope: head.scope,
        });
        Ok(None)
    }

    fn open_stream(&mut self, root: &Element) -> Result<XmlEvent, StreamError> {
        if root.ns() != ns::STREAMS {
            return Err(StreamError::new(
                StreamCondition::InvalidNamespace,
                "not the streams namespace",
            ));
        }
        if root.name() != "stream" {
            return Err(StreamError::new(StreamCondition::BadFormat, "not a stream"));
        }
        let attribute = |name: &str| root.attr(name).map(str::to_owned);
        let default_ns = self.resolve(None)?.as_str().to_owned();
        self.in_stream = true;
        self.used = 0;
        self.at = At::RootOpened;
        self.content_ns.clone_from(&default_ns);
        Ok(XmlEvent::Open(StreamHeader {
            from: attribute("from"),
            to: attribute("to"),
            id: attribute("id"),
            version: attribute("version"),
            lang: root.attr_ns(ns::XML, "lang").map(str::to_owned),
            default_ns,
            declares_dialback: self.scope.contains(ns::DIALBACK),
        }))
    }

    fn end_element(&mut self) -> Option<XmlEvent> {
        let Some(done) = self.open.pop() else {
            self.at = At::End;
            return Some(XmlEvent::Close);
        };
        self.scope.truncate(done.scope);
        if let Some(parent) = self.open.last_mut() {
            // Behind a cut nothing is kept: the tree stays within its limits, and dropping it is safe.
            if !self.cut {
                parent.element.append_child(done.element);
            }
            return None;
        }
        self.at = At::Gap;
        self.used = 0;
        self.elements = 0;
        self.attributes = 0;
        Some(XmlEvent::Element(done.element))
    }

    fn resolve(&self, prefix: Option<&NcName>) -> Result<Namespace<'static>, StreamError> {
        if prefix.is_some_and(|prefix| prefix.as_str() == "xml") {
            return Ok(Namespace::XML);
        }
        let found = self.scope.find(prefix.map_or("", |prefix| prefix.as_str()));
        match (found, prefix) {
            (Some(namespace), _) => Ok(namespace.clone()),
            (None, None) => Ok(Namespace::NONE),
            (None, Some(_)) => Err(StreamError::new(
                StreamCondition::BadNamespacePrefix,
                "prefix without a declaration",
            )),
        }
    }

    fn rename<'a>(&self, namespace: &'a str) -> &'a str {
        let is_content = match namespace {
            ns::SERVER => self.in_stream,
            ns::COMPONENT => self.in_stream && self.content_ns == ns::COMPONENT,
            _ => false,
        };
        if is_content { ns::CLIENT } else { namespace }
    }
}

fn too_large() -> StreamError {
    over("larger than this server takes")
}

fn over(text: &str) -> StreamError {
    StreamError::new(StreamCondition::PolicyViolation, text)
}

fn restricted(text: &str) -> StreamError {
    StreamError::new(StreamCondition::RestrictedXml, text)
}

fn not_well_formed() -> StreamError {
    StreamError::new(StreamCondition::NotWellFormed, "")
}

/// The words in which rxml says what it restricts, where they mean more than `restricted-xml`.
const RESTRICTIONS: &[(&str, StreamCondition)] = &[
    (
        "only utf-8 encoding is allowed",
        StreamCondition::UnsupportedEncoding,
    ),
    ("long name or reference", StreamCondition::PolicyViolation),
    ("event too long", StreamCondition::PolicyViolation),
];

fn from_xml_error(error: XmlError) -> StreamError {
    let condition = match error {
        XmlError::RestrictedXml(text) => RESTRICTIONS
            .iter()
            .find(|(known, _)| *known == text)
            .map_or(StreamCondition::RestrictedXml, |(_, condition)| *condition),
        XmlError::UndeclaredEntity => StreamCondition::RestrictedXml,
        XmlError::UndeclaredNamespacePrefix(_)
        | XmlError::ReservedNamespacePrefix
        | XmlError::ReservedNamespaceName
        | XmlError::EmptyNamespaceUri => StreamCondition::BadNamespacePrefix,
        XmlError::InvalidEof(_)
        | XmlError::InvalidChar(..)
        | XmlError::UnexpectedChar(..)
        | XmlError::UnexpectedByte(..)
        | XmlError::InvalidSyntax(_)
        | XmlError::UnexpectedToken(..)
        | XmlError::DuplicateAttribute
        | XmlError::ElementMismatch
        | XmlError::MultiColonName(_)
        | XmlError::EmptyNamePart(_)
        | XmlError::InvalidLocalName(_)
        | XmlError::InvalidUtf8Byte(_) => StreamCondition::NotWellFormed,
    };
    StreamError::new(condition, error.to_string())
}
