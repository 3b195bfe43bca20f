//! The header fields of one message, in order and to the octet.

use std::fmt;

use bytes::{BufMut, Bytes, BytesMut};

use crate::grammar::{is_control, is_token, is_token_octet, one_line, split_outside, trim};

/// One-letter names and what they stand for (IANA SIP parameters, "Header Fields").
const COMPACT: &[(u8, &str)] = &[
    (b'a', "Accept-Contact"),
    (b'b', "Referred-By"),
    (b'c', "Content-Type"),
    (b'd', "Request-Disposition"),
    (b'e', "Content-Encoding"),
    (b'f', "From"),
    (b'i', "Call-ID"),
    (b'j', "Reject-Contact"),
    (b'k', "Supported"),
    (b'l', "Content-Length"),
    (b'm', "Contact"),
    (b'n', "Identity-Info"),
    (b'o', "Event"),
    (b'r', "Refer-To"),
    (b's', "Subject"),
    (b't', "To"),
    (b'u', "Allow-Events"),
    (b'v', "Via"),
    (b'x', "Session-Expires"),
    (b'y', "Identity"),
];

/// The long form of a header name; any other name is returned as it is.
fn long_name(name: &[u8]) -> &[u8] {
    let [letter] = name else {
        return name;
    };
    let letter = letter.to_ascii_lowercase();
    COMPACT
        .iter()
        .find(|(compact, _)| *compact == letter)
        .map_or(name, |(_, long)| long.as_bytes())
}

/// Shared text: octets that were checked to be UTF-8 when they were stored.
#[derive(Clone, PartialEq, Eq)]
struct Text(Bytes);

impl Text {
    fn new(text: &str) -> Self {
        Self(Bytes::copy_from_slice(text.as_bytes()))
    }

    fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

/// One header field: its name as written, its value, and the octets it came in.
#[derive(Clone, PartialEq, Eq)]
pub struct Field {
    name: Text,
    value: Text,
    /// The logical line as received, where printing `name: value` would not give the same octets.
    wire: Option<Bytes>,
}

/// Why a header line could not be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LineDefect {
    /// No colon, or a name that is not a token.
    Shape,
    /// A control octet outside a quoted pair.
    Control,
    /// A carriage return or a line feed that is no part of a line end.
    LineEnd,
}

impl Field {
    /// A field of our own. Control characters in the value, line ends included, become spaces.
    fn new(name: &'static str, value: &str) -> Self {
        debug_assert!(is_token(name), "header names are tokens");
        Self {
            name: Text(Bytes::from_static(name.as_bytes())),
            value: Text::new(trim(&one_line(value))),
            wire: None,
        }
    }

    /// Reads one logical line, its continuation lines included, without the final line end.
    pub(crate) fn read(block: &Bytes, line: &[u8]) -> Result<Self, LineDefect> {
        let colon = memchr::memchr(b':', line).ok_or(LineDefect::Shape)?;
        let (name, value) = line.split_at(colon);
        let name = trim_octets(name);
        if name.is_empty() || !name.iter().copied().all(is_token_octet) || !line.starts_with(name) {
            return Err(LineDefect::Shape);
        }
        let value = value.get(1..).unwrap_or_default();
        let value = match memchr::memchr2(b'\r', b'\n', value) {
            None => block.slice_ref(trim_octets(value)),
            Some(_) => unfold(value).ok_or(LineDefect::LineEnd)?,
        };
        if has_control(&value) && !controls_are_quoted(&value) {
            return Err(LineDefect::Control);
        }
        let verbatim = line.len() == name.len() + 2 + value.len()
            && line.get(name.len()..name.len() + 2) == Some(b": ")
            && line.ends_with(&value);
        let (value, verbatim) = match std::str::from_utf8(&value) {
            Ok(_) => (Text(value), verbatim),
            Err(_) => (Text::new(&String::from_utf8_lossy(&value)), false),
        };
        Ok(Self {
            name: Text(block.slice_ref(name)),
            value,
            wire: (!verbatim).then(|| block.slice_ref(line)),
        })
    }

    /// The name as written: compact or long, in the sender's case.
    #[must_use]
    pub fn name(&self) -> &str {
        self.name.as_str()
    }

    /// The value without surrounding white space, folded lines joined by one space. Octets that are not UTF-8
    /// read as U+FFFD; they are kept and sent on as they came.
    #[must_use]
    pub fn value(&self) -> &str {
        self.value.as_str()
    }

    /// The same header under any of its names (RFC 3261 §7.3.1, §7.3.3).
    #[must_use]
    pub fn is(&self, name: &str) -> bool {
        self.is_long(long_name(name.as_bytes()))
    }

    fn is_long(&self, long: &[u8]) -> bool {
        long_name(&self.name.0).eq_ignore_ascii_case(long)
    }

    /// Adds to the end of the value; the octets before it stay as they came.
    fn append(&mut self, tail: &str) {
        let wire = self
            .wire
            .as_ref()
            .map(|wire| [wire, tail.as_bytes()].concat());
        self.value = Text::new(&format!("{}{tail}", self.value()));
        self.wire = wire.map(Bytes::from);
    }

    /// Writes the field with its line end.
    pub(crate) fn write(&self, out: &mut BytesMut) {
        if let Some(wire) = &self.wire {
            out.put_slice(wire);
        } else {
            out.put_slice(&self.name.0);
            out.put_slice(b": ");
            out.put_slice(&self.value.0);
        }
        out.put_slice(b"\r\n");
    }

    /// An upper bound of what [`Field::write`] writes.
    pub(crate) fn written_length(&self) -> usize {
        let canonical = self.name.0.len() + self.value.0.len() + 4;
        self.wire.as_ref().map_or(canonical, |wire| wire.len() + 2)
    }
}

impl fmt::Debug for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {:?}", self.name(), self.value())
    }
}

fn is_param(param: &str, name: &str) -> bool {
    let found = param.split_once('=').map_or(param, |(found, _)| found);
    trim(found).eq_ignore_ascii_case(name)
}

fn trim_octets(octets: &[u8]) -> &[u8] {
    let white = |octet: &u8| matches!(octet, b' ' | b'\t');
    let start = octets
        .iter()
        .position(|b| !white(b))
        .unwrap_or(octets.len());
    let end = octets
        .iter()
        .rposition(|b| !white(b))
        .map_or(start, |at| at + 1);
    octets.get(start..end).unwrap_or_default()
}

/// Each line end and the white space around it replaced by one space (RFC 3261 §7.3.1). `None` when a carriage
/// return or line feed stands alone.
fn unfold(value: &[u8]) -> Option<Bytes> {
    let mut out = BytesMut::with_capacity(value.len());
    let mut lines = value.split(|octet| *octet == b'\n').peekable();
    while let Some(line) = lines.next() {
        let line = match lines.peek() {
            Some(_) => line.strip_suffix(b"\r")?,
            None => line,
        };
        if memchr::memchr(b'\r', line).is_some() {
            return None;
        }
        let line = trim_octets(line);
        if !out.is_empty() && !line.is_empty() {
            out.put_u8(b' ');
        }
        out.put_slice(line);
    }
    Some(out.freeze())
}

/// Without early exit, so that it runs on many octets at once.
fn has_control(octets: &[u8]) -> bool {
    octets
        .iter()
        .fold(false, |found, octet| found | is_control(*octet))
}

/// Control octets are legal as quoted pairs inside a quoted string, and nowhere else (RFC 3261 §25.1).
fn controls_are_quoted(value: &[u8]) -> bool {
    let (mut in_quotes, mut escaped) = (false, false);
    for &octet in value {
        if is_control(octet) && !(in_quotes && escaped) {
            return false;
        }
        match octet {
            _ if escaped => escaped = false,
            b'\\' if in_quotes => escaped = true,
            b'"' => in_quotes = !in_quotes,
            _ => {}
        }
    }
    true
}

/// The header fields of one message, in order.
///
/// Names are found in any case and in their compact form. What was received is written again to the octet, folding,
/// odd spacing and octets outside UTF-8 included. What is built here can never break a line: names are written in
/// the source code (`&'static str`), and every control character of a value becomes a space.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Headers(Vec<Field>);

impl Headers {
    /// No fields.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// No fields, with room for as many as most messages have.
    pub(crate) fn roomy() -> Self {
        Self(Vec::with_capacity(16))
    }

    /// The value of the first field of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.fields(name).next().map(Field::value)
    }

    /// The value of each field of that name, unsplit.
    pub fn get_all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        self.fields(name).map(Field::value)
    }

    /// The values of that name, fields with comma-separated lists split (outside quotes and angle brackets),
    /// trimmed, empty ones left out. Not for headers whose single value may hold a comma, such as `Date`.
    pub fn values<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        self.get_all(name)
            .flat_map(|value| split_outside(value, b','))
            .map(trim)
            .filter(|value| !value.is_empty())
    }

    /// The fields of that name.
    pub fn fields<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a Field> {
        let long = long_name(name.as_bytes());
        self.0.iter().filter(move |field| field.is_long(long))
    }

    /// Some field has that name.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.fields(name).next().is_some()
    }

    /// All fields in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Field> {
        self.0.iter()
    }

    /// How many fields there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// There are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds a field at the end. Control characters in the value become spaces.
    pub fn push(&mut self, name: &'static str, value: impl AsRef<str>) {
        self.0.push(Field::new(name, value.as_ref()));
    }

    /// Adds a field at the front, as `Via` and `Route` need. Control characters in the value become spaces.
    pub fn push_front(&mut self, name: &'static str, value: impl AsRef<str>) {
        self.0.insert(0, Field::new(name, value.as_ref()));
    }

    /// Adds a field as it stands in another message, to the octet.
    pub fn push_field(&mut self, field: Field) {
        self.0.push(field);
    }

    /// Adds every field of that name of another message, in order and to the octet.
    pub fn copy_from(&mut self, other: &Self, name: &str) {
        self.0.extend(other.fields(name).cloned());
    }

    /// Replaces the first field of that name, removes further ones, and adds it at the end where there was none.
    pub fn set(&mut self, name: &'static str, value: impl AsRef<str>) {
        let mut replacement = Some(Field::new(name, value.as_ref()));
        self.0.retain_mut(|field| {
            if !field.is(name) {
                return true;
            }
            replacement.take().map(|new| *field = new).is_some()
        });
        self.0.extend(replacement);
    }

    /// Replaces the first of the comma-separated values of that name and keeps the others, as writing `received`
    /// into the top `Via` needs (RFC 3261 §18.2.1). Nothing happens where there is none.
    pub fn set_first(&mut self, name: &'static str, value: impl AsRef<str>) {
        let Some(field) = self.0.iter_mut().find(|field| field.is(name)) else {
            return;
        };
        let mut text = value.as_ref().to_owned();
        for other in split_outside(field.value(), b',')
            .map(trim)
            .filter(|v| !v.is_empty())
            .skip(1)
        {
            text.push_str(", ");
            text.push_str(other);
        }
        *field = Field::new(name, &text);
    }

    /// Gives the `To` of a response its tag, where it has none yet (RFC 3261 §8.2.6.2).
    pub fn ensure_to_tag(&mut self, tag: &str) {
        let Some(field) = self.0.iter_mut().find(|field| field.is("To")) else {
            return;
        };
        let has_tag = split_outside(field.value(), b';')
            .skip(1)
            .any(|param| is_param(param, "tag"));
        if !has_tag {
            field.append(&one_line(&format!(";tag={tag}")));
        }
    }

    /// Removes every field of that name and says whether there was one.
    pub fn remove(&mut self, name: &str) -> bool {
        let before = self.0.len();
        self.0.retain(|field| !field.is(name));
        self.0.len() != before
    }
}

impl<'a> IntoIterator for &'a Headers {
    type Item = &'a Field;
    type IntoIter = std::slice::Iter<'a, Field>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}
