//! From octets to messages (RFC 3261 §7, §18.3).

use bytes::Bytes;
use memchr::memmem;

use crate::grammar::{digits, is_control, one_line};
use crate::header::{Field, Headers, LineDefect};
use crate::message::{Message, Request, Response};
use crate::method::Method;

/// How much of a message is taken at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Octets of a datagram.
    pub datagram: usize,
    /// Octets of the start line and the header fields together.
    pub head: usize,
    /// Octets of a body.
    pub body: usize,
    /// Header fields.
    pub fields: usize,
    /// `Via` values.
    pub vias: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            datagram: 65_535,
            head: 16 * 1024,
            body: 64 * 1024,
            fields: 128,
            vias: 70,
        }
    }
}

/// Octets that are no acceptable message, and what can be answered. The sender is at fault, always.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind}")]
pub struct ParseError {
    /// What is wrong.
    pub kind: ParseErrorKind,
    /// What could be read of a request, when that is enough to answer it: `Via`, `From`, `To`, `Call-ID` and `CSeq`
    /// are there, and it is no ACK.
    pub answerable: Option<Box<Request>>,
}

/// What is wrong with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum ParseErrorKind {
    /// Nothing that looks like SIP: empty, keep-alive octets, another protocol.
    #[error("not SIP")]
    NotSip,
    /// A start line that is none: spaces, brackets or parts too many.
    #[error("malformed start line")]
    StartLine,
    /// A SIP version other than 2.0.
    #[error("SIP version not supported")]
    Version,
    /// A status code outside 100 to 699.
    #[error("status code out of range")]
    Status,
    /// A header line without colon or with a name that is no token.
    #[error("malformed header line")]
    HeaderLine,
    /// A control character in a header value.
    #[error("control character in a header field")]
    Control,
    /// A carriage return or line feed that stands alone.
    #[error("bare CR or LF")]
    LineEnd,
    /// The header fields have no end.
    #[error("no empty line after the header fields")]
    NoEmptyLine,
    /// `Content-Length` is not one number.
    #[error("malformed or repeated Content-Length")]
    ContentLength,
    /// A stream needs `Content-Length` (RFC 3261 §18.3).
    #[error("Content-Length missing")]
    ContentLengthMissing,
    /// Fewer octets in the datagram than `Content-Length` says.
    #[error("body shorter than Content-Length")]
    BodyShort,
    /// The start line alone fills the limit of the head.
    #[error("start line too long")]
    StartLineTooLong,
    /// Over [`Limits::head`].
    #[error("header fields too large")]
    HeadTooLarge,
    /// Over [`Limits::fields`].
    #[error("too many header fields")]
    TooManyFields,
    /// Over [`Limits::vias`].
    #[error("too many Via values")]
    TooManyVias,
    /// Over [`Limits::body`].
    #[error("body too large")]
    BodyTooLarge,
    /// Over [`Limits::datagram`].
    #[error("datagram too large")]
    DatagramTooLarge,
}

impl ParseErrorKind {
    /// The status and the words that answer it (RFC 3261 §21.4, §21.5).
    #[must_use]
    pub const fn status(self) -> (u16, &'static str) {
        match self {
            Self::NotSip | Self::StartLine | Self::Status => (400, "Malformed Start Line"),
            Self::Version => (505, "Version Not Supported"),
            Self::HeaderLine => (400, "Malformed Header Line"),
            Self::Control => (400, "Control Character In Header Field"),
            Self::LineEnd => (400, "Bare CR Or LF"),
            Self::NoEmptyLine => (400, "Missing Empty Line"),
            Self::ContentLength => (400, "Malformed Content-Length"),
            Self::ContentLengthMissing => (400, "Missing Content-Length"),
            Self::BodyShort => (400, "Body Shorter Than Content-Length"),
            Self::StartLineTooLong => (414, "Request-URI Too Long"),
            Self::HeadTooLarge
            | Self::TooManyFields
            | Self::TooManyVias
            | Self::DatagramTooLarge => (513, "Message Too Large"),
            Self::BodyTooLarge => (413, "Request Entity Too Large"),
        }
    }

    /// Nobody can be sure any more where the next message of a stream starts: answer, then close.
    #[must_use]
    pub const fn breaks_framing(self) -> bool {
        !matches!(
            self,
            Self::Version | Self::Status | Self::Control | Self::TooManyFields | Self::TooManyVias
        )
    }
}

impl ParseError {
    pub(crate) const fn silent(kind: ParseErrorKind) -> Self {
        Self {
            kind,
            answerable: None,
        }
    }

    /// The answer, where there can be one. Its `To` tag is the caller's.
    #[must_use]
    pub fn response(&self) -> Option<Response> {
        let (status, reason) = self.kind.status();
        self.answerable
            .as_ref()
            .map(|request| Response::for_request(request, status, reason))
    }
}

impl Message {
    /// Reads one datagram within the default [`Limits`]. Octets behind `Content-Length` are dropped; without
    /// `Content-Length` the body is the rest of the datagram (RFC 3261 §18.3).
    ///
    /// # Errors
    /// [`ParseError`]; answer what it says is answerable, drop the rest.
    pub fn parse_datagram(octets: &[u8]) -> Result<Self, ParseError> {
        Self::parse_datagram_within(&Bytes::copy_from_slice(octets), &Limits::default())
    }

    /// Reads one datagram without copying it.
    ///
    /// # Errors
    /// See [`Message::parse_datagram`].
    pub fn parse_datagram_within(octets: &Bytes, limits: &Limits) -> Result<Self, ParseError> {
        let start = leading_line_ends(octets);
        let octets = octets.slice(start..);
        if octets.len() > limits.datagram {
            return Err(ParseError::silent(ParseErrorKind::DatagramTooLarge));
        }
        let Some(end) = memmem::find(&octets, b"\r\n\r\n") else {
            let head = octets.slice(..octets.len().min(limits.head));
            return Err(Head::read(&head, limits).fail(ParseErrorKind::NoEmptyLine));
        };
        let head = octets.slice(..end.min(limits.head));
        if end > limits.head {
            return Err(Head::overlong(&head, limits));
        }
        let head = Head::read(&head, limits);
        let available = octets.slice(end + 4..);
        let length = match head.content_length(limits) {
            Ok(Some(length)) => length,
            Ok(None) if available.len() > limits.body => {
                return Err(head.fail(ParseErrorKind::BodyTooLarge));
            }
            Ok(None) => available.len(),
            Err(kind) => return Err(head.fail(kind)),
        };
        if length > available.len() {
            return Err(head.fail(ParseErrorKind::BodyShort));
        }
        head.finish(available.slice(..length))
    }
}

/// Empty lines before a start line are skipped (RFC 3261 §7.5).
fn leading_line_ends(octets: &[u8]) -> usize {
    octets
        .iter()
        .position(|octet| !matches!(octet, b'\r' | b'\n'))
        .unwrap_or(octets.len())
}

/// A start line.
#[derive(Debug)]
enum Start {
    Request { method: Method, uri: String },
    Response { status: u16, reason: String },
}

/// Everything before the body, as far as it could be read.
#[derive(Debug)]
pub(crate) struct Head {
    start: Option<Start>,
    headers: Headers,
    defect: Option<ParseErrorKind>,
}

impl Head {
    /// Reads a start line and header fields, without the empty line behind them. A defect does not end the reading,
    /// so that a broken request can be answered.
    pub(crate) fn read(block: &Bytes, limits: &Limits) -> Self {
        let mut lines = Lines { rest: block };
        let (line, ended) = lines.next().unwrap_or_default();
        let mut head = Self {
            start: None,
            headers: Headers::roomy(),
            defect: None,
        };
        match read_start(line) {
            Ok(start) => head.start = Some(start),
            Err((kind, start)) => {
                head.start = start;
                head.note(kind);
            }
        }
        if !ended {
            head.note(ParseErrorKind::LineEnd);
        }
        for (line, ended) in lines {
            if !ended {
                head.note(ParseErrorKind::LineEnd);
            }
            if head.headers.len() >= limits.fields {
                head.note(ParseErrorKind::TooManyFields);
                break;
            }
            match Field::read(block, line) {
                Ok(field) => head.headers.push_field(field),
                Err(LineDefect::Shape) => head.note(ParseErrorKind::HeaderLine),
                Err(LineDefect::Control) => head.note(ParseErrorKind::Control),
                Err(LineDefect::LineEnd) => head.note(ParseErrorKind::LineEnd),
            }
        }
        if head.headers.values("Via").count() > limits.vias {
            head.note(ParseErrorKind::TooManyVias);
        }
        head
    }

    /// The error for a head that is larger than the limit; `block` is its beginning.
    pub(crate) fn overlong(block: &Bytes, limits: &Limits) -> ParseError {
        if memchr::memchr(b'\n', block).is_none() {
            return ParseError::silent(ParseErrorKind::StartLineTooLong);
        }
        let mut error = Self::read(block, limits).fail(ParseErrorKind::HeadTooLarge);
        error.kind = ParseErrorKind::HeadTooLarge;
        error
    }

    /// The first defect stands, but one that breaks the framing of a stream outweighs the others.
    fn note(&mut self, kind: ParseErrorKind) {
        let worse = |old: ParseErrorKind| kind.breaks_framing() && !old.breaks_framing();
        if self.defect.is_none_or(worse) {
            self.defect = Some(kind);
        }
    }

    /// The number in `Content-Length`, if there is one.
    pub(crate) fn content_length(&self, limits: &Limits) -> Result<Option<usize>, ParseErrorKind> {
        let mut values = self.headers.get_all("Content-Length");
        let Some(value) = values.next() else {
            return Ok(None);
        };
        if values.next().is_some() || value.is_empty() || !value.bytes().all(|b| b.is_ascii_digit())
        {
            return Err(ParseErrorKind::ContentLength);
        }
        match digits(value).and_then(|length| usize::try_from(length).ok()) {
            Some(length) if length <= limits.body => Ok(Some(length)),
            _ => Err(ParseErrorKind::BodyTooLarge),
        }
    }

    /// The error for a head that is of no use: its own defect, or else `kind`; the one that breaks framing first.
    pub(crate) fn fail(mut self, kind: ParseErrorKind) -> ParseError {
        self.note(kind);
        ParseError {
            kind: self.defect.unwrap_or(kind),
            answerable: self.answerable(),
        }
    }

    /// What is wrong with it, if anything.
    pub(crate) fn defect(&self) -> Option<ParseErrorKind> {
        self.defect
    }

    /// The message, now that its body is there.
    pub(crate) fn finish(self, body: Bytes) -> Result<Message, ParseError> {
        if let Some(kind) = self.defect {
            return Err(self.fail(kind));
        }
        match self.start {
            Some(Start::Request { method, uri }) => Ok(Message::Request(Request {
                method,
                uri,
                headers: self.headers,
                body,
            })),
            Some(Start::Response { status, reason }) => Ok(Message::Response(Response {
                status,
                reason,
                headers: self.headers,
                body,
            })),
            None => Err(ParseError::silent(ParseErrorKind::NotSip)),
        }
    }

    fn answerable(self) -> Option<Box<Request>> {
        let Some(Start::Request { method, uri }) = self.start else {
            return None;
        };
        let needed = ["Via", "From", "To", "Call-ID", "CSeq"];
        let usable = needed.iter().all(|name| {
            self.headers
                .get(name)
                .is_some_and(|value| !value.is_empty())
        });
        (usable && method != Method::ACK).then(|| {
            Box::new(Request {
                method,
                uri,
                headers: self.headers,
                body: Bytes::new(),
            })
        })
    }
}

/// Reads a start line. An error comes with what a broken request line still says.
fn read_start(line: &[u8]) -> Result<Start, (ParseErrorKind, Option<Start>)> {
    let text = String::from_utf8_lossy(line);
    if text
        .get(..4)
        .is_some_and(|start| start.eq_ignore_ascii_case("SIP/"))
    {
        return read_status_line(&text).map_err(|kind| (kind, None));
    }
    let Some((name, rest)) = text.split_once(' ') else {
        return Err((ParseErrorKind::NotSip, None));
    };
    let Some(method) = Method::parse(name) else {
        return Err((ParseErrorKind::NotSip, None));
    };
    let trimmed = rest.trim_end();
    let (uri, version) = trimmed.rsplit_once(' ').unwrap_or((trimmed, ""));
    let clean = trimmed.len() == rest.len()
        && !uri.is_empty()
        && uri.is_ascii()
        && !uri
            .bytes()
            .any(|octet| is_control(octet) || octet.is_ascii_whitespace());
    let kind = match read_version(version) {
        None => Some(ParseErrorKind::StartLine),
        Some(_) if !clean => Some(ParseErrorKind::StartLine),
        Some(false) => Some(ParseErrorKind::Version),
        Some(true) => None,
    };
    let start = Start::Request {
        method,
        uri: one_line(uri).trim().to_owned(),
    };
    match kind {
        None => Ok(start),
        Some(kind) => Err((kind, Some(start))),
    }
}

/// `Some(true)` for SIP/2.0 in any case, `Some(false)` for another SIP version, `None` for anything else.
fn read_version(text: &str) -> Option<bool> {
    let (protocol, number) = text.split_once('/')?;
    let (major, minor) = number.split_once('.')?;
    let is_sip = protocol.eq_ignore_ascii_case("SIP");
    let version = (digits(major)?, digits(minor)?);
    is_sip.then_some(version == (2, 0))
}

fn read_status_line(text: &str) -> Result<Start, ParseErrorKind> {
    let (version, rest) = text.split_once(' ').ok_or(ParseErrorKind::StartLine)?;
    match read_version(version) {
        None => return Err(ParseErrorKind::StartLine),
        Some(false) => return Err(ParseErrorKind::Version),
        Some(true) => {}
    }
    // The space before an empty reason phrase is required, and often left out.
    let (code, reason) = rest.split_once(' ').unwrap_or((rest, ""));
    if reason.bytes().any(is_control) {
        return Err(ParseErrorKind::Control);
    }
    match digits(code) {
        Some(status @ 100..=699) if code.len() == 3 => Ok(Start::Response {
            status: u16::try_from(status).map_err(|_| ParseErrorKind::Status)?,
            reason: reason.to_owned(),
        }),
        Some(_) => Err(ParseErrorKind::Status),
        None => Err(ParseErrorKind::StartLine),
    }
}

/// Logical lines, and whether each ends as it should: by CR LF, or by the end of the block. Continuation lines belong
/// to the line before them (RFC 3261 §7.3.1). Linear.
struct Lines<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Lines<'a> {
    type Item = (&'a [u8], bool);

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let mut from = 0;
        while let Some(step) = memchr::memchr(b'\n', self.rest.get(from..)?) {
            let end = from + step;
            from = end + 1;
            if !matches!(self.rest.get(from), Some(b' ' | b'\t')) {
                let line = self.rest.get(..end)?;
                self.rest = self.rest.get(from..)?;
                return Some(match line.strip_suffix(b"\r") {
                    Some(line) => (line, true),
                    None => (line, false),
                });
            }
        }
        Some((std::mem::take(&mut self.rest), true))
    }
}
