//! Requests and responses of MSRP, and how they are written (RFC 4975 §7.1, §7.2, §9).

use std::borrow::Cow;
use std::fmt::Write as _;

use bytes::Bytes;
use thiserror::Error;

use super::ident::{DASHES, is_ident};
use super::uri::{MsrpUri, parse_path, print_path};
use crate::grammar::{digits, is_control, is_token, one_line, trim};

/// What a request wants.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Method {
    /// A chunk of a message.
    Send,
    /// What became of a message.
    Report,
    /// Asks a relay for a URI (RFC 4976 §5.1).
    Auth,
    /// Asks a chat room for a nickname (RFC 7701 §7.1).
    Nickname,
    /// Anything else: upper-case letters.
    Other(String),
}

/// Every known method with its name.
const METHODS: [(Method, &str); 4] = [
    (Method::Send, "SEND"),
    (Method::Report, "REPORT"),
    (Method::Auth, "AUTH"),
    (Method::Nickname, "NICKNAME"),
];

impl Method {
    /// The word of the start line.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Other(word) => word,
            known => METHODS
                .iter()
                .find(|(method, _)| method == known)
                .map_or("", |(_, word)| word),
        }
    }

    /// `None` for what is no word of upper-case letters.
    fn parse(word: &str) -> Option<Self> {
        let known = METHODS.iter().find(|(_, name)| *name == word);
        match known {
            Some((method, _)) => Some(method.clone()),
            None if !word.is_empty() && word.bytes().all(|b| b.is_ascii_uppercase()) => {
                Some(Self::Other(word.to_owned()))
            }
            None => None,
        }
    }
}

/// A response code with its comment.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Status {
    /// Three digits.
    pub code: u16,
    /// For people; may be empty.
    pub comment: String,
}

impl Status {
    /// A code of RFC 4975 §10, RFC 4976 §9 or RFC 7701 §10 with its usual comment.
    #[must_use]
    pub fn new(code: u16) -> Self {
        let comment = COMMENTS
            .iter()
            .find(|(known, _)| *known == code)
            .map_or("", |(_, comment)| comment);
        Self {
            code,
            comment: comment.to_owned(),
        }
    }

    /// A code with a comment of our own.
    #[must_use]
    pub fn said(code: u16, comment: &str) -> Self {
        Self {
            code,
            comment: comment.to_owned(),
        }
    }

    /// 200.
    #[must_use]
    pub fn ok() -> Self {
        Self::new(200)
    }

    /// 2xx.
    #[must_use]
    pub fn is_success(&self) -> bool {
        self.code / 100 == 2
    }
}

const COMMENTS: [(u16, &str); 15] = [
    (200, "OK"),
    (400, "Bad Request"),
    (401, "Unauthorized"),
    (403, "Forbidden"),
    (404, "Not Found"),
    (408, "Request Timeout"),
    (413, "Message Too Large"),
    (415, "Unsupported Media Type"),
    (423, "Parameter Out Of Bounds"),
    (425, "Nickname Reserved Or In Use"),
    (428, "Private Messages Not Supported"),
    (481, "Session Does Not Exist"),
    (501, "Method Not Understood"),
    (503, "Overloaded"),
    (506, "Session Already Bound"),
];

/// The first line, without the transaction id.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Start {
    /// A request.
    Request(Method),
    /// A response.
    Response(Status),
}

/// How a frame ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Flag {
    /// `$`: the message ends here.
    Complete,
    /// `+`: more chunks follow.
    More,
    /// `#`: the sender gave up; the rest will not come.
    Aborted,
}

/// Every flag with its octet.
const FLAGS: [(Flag, u8); 3] = [
    (Flag::Complete, b'$'),
    (Flag::More, b'+'),
    (Flag::Aborted, b'#'),
];

impl Flag {
    /// The octet after the transaction id of an end-line.
    #[must_use]
    pub fn octet(self) -> u8 {
        FLAGS
            .iter()
            .find(|(flag, _)| *flag == self)
            .map_or(b'$', |(_, octet)| *octet)
    }

    pub(super) fn parse(octet: u8) -> Option<Self> {
        FLAGS
            .iter()
            .find(|(_, found)| *found == octet)
            .map(|(flag, _)| *flag)
    }
}

/// Which octets of a message a chunk holds. Counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ByteRange {
    /// The first.
    pub start: u64,
    /// The last; `None` is `*`. One less than `start` for no octets.
    pub end: Option<u64>,
    /// Octets of the whole message; `None` is `*`.
    pub total: Option<u64>,
}

impl ByteRange {
    fn parse(text: &str) -> Option<Self> {
        let (start, rest) = text.split_once('-')?;
        let (end, total) = rest.split_once('/')?;
        let number = |text: &str| match text {
            "*" => Some(None),
            text => digits(text).map(Some),
        };
        let range = Self {
            start: digits(start)?,
            end: number(end)?,
            total: number(total)?,
        };
        let after_start = |end: u64| end.saturating_add(1) >= range.start;
        let inside = |total: u64| range.end.is_none_or(|end| end <= total);
        let fits =
            range.start > 0 && range.end.is_none_or(after_start) && range.total.is_none_or(inside);
        fits.then_some(range)
    }
}

impl std::fmt::Display for ByteRange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let number = |number: Option<u64>| match number {
            Some(number) => Cow::Owned(number.to_string()),
            None => Cow::Borrowed("*"),
        };
        write!(
            f,
            "{}-{}/{}",
            self.start,
            number(self.end),
            number(self.total)
        )
    }
}

/// Which failures of a message its sender wants to hear of (RFC 4975 §7.1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum FailureReport {
    /// All, and a response to each chunk.
    #[default]
    Yes,
    /// Failures only; no response says that a chunk arrived.
    Partial,
    /// None, and no response either.
    No,
}

/// Every wish with its word.
const FAILURE_REPORTS: [(FailureReport, &str); 3] = [
    (FailureReport::Yes, "yes"),
    (FailureReport::Partial, "partial"),
    (FailureReport::No, "no"),
];

impl FailureReport {
    /// The word on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        FAILURE_REPORTS
            .iter()
            .find(|(wish, _)| *wish == self)
            .map_or("yes", |(_, word)| word)
    }
}

/// What is wrong with a frame whose end is known all the same. The sender is at fault; a request is answered 400.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
pub enum Defect {
    /// A line without colon, or with a name that is no token.
    #[error("malformed header line")]
    Line,
    /// A value that is not UTF-8 or has a control character.
    #[error("malformed header value")]
    Value,
    /// `To-Path` and `From-Path` are not the first two, or stand there twice.
    #[error("misplaced or repeated path")]
    PathOrder,
    /// `Message-ID` is missing or no `ident`.
    #[error("missing or malformed Message-ID")]
    MessageId,
    /// `Byte-Range` cannot be read.
    #[error("malformed Byte-Range")]
    ByteRange,
    /// `Success-Report` or `Failure-Report` is none of the words.
    #[error("malformed Success-Report or Failure-Report")]
    ReportWish,
    /// `Status` is missing in a REPORT, or cannot be read.
    #[error("missing or malformed Status")]
    Status,
    /// `Use-Nickname` is missing in a NICKNAME, or cannot be read.
    #[error("missing or malformed Use-Nickname")]
    Nickname,
    /// A header that stands alone stands there twice.
    #[error("repeated header")]
    Repeated,
}

/// Headers in order, `To-Path` and `From-Path` not among them.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Headers(Vec<(String, String)>);

impl Headers {
    /// None.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one at the end. Control characters of the value become spaces.
    pub fn push(&mut self, name: &str, value: impl AsRef<str>) {
        let value = one_line(trim(value.as_ref())).into_owned();
        self.0.push((name.to_owned(), value));
    }

    /// The first value of a name, in any case.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.get_all(name).next()
    }

    /// Every value of a name.
    pub fn get_all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.iter()
            .filter(move |(found, _)| found.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }

    /// Names and values in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// There are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Everything of a frame but its body and its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Request or response.
    pub start: Start,
    /// Ties a response to its request, on one connection.
    pub transaction: String,
    /// Where it goes, the next hop first. Never empty.
    pub to_path: Vec<MsrpUri>,
    /// Where it comes from, the last hop first. Never empty.
    pub from_path: Vec<MsrpUri>,
    /// The other headers.
    pub headers: Headers,
}

impl Head {
    /// A request without headers.
    #[must_use]
    pub fn request(
        method: Method,
        transaction: &str,
        to_path: &[MsrpUri],
        from_path: &[MsrpUri],
    ) -> Self {
        Self {
            start: Start::Request(method),
            transaction: transaction.to_owned(),
            to_path: to_path.to_vec(),
            from_path: from_path.to_vec(),
            headers: Headers::new(),
        }
    }

    /// The response to this request. To a SEND it goes one hop back, else the whole way (RFC 4975 §7.2).
    #[must_use]
    pub fn response(&self, status: Status) -> Self {
        let hops = match self.start {
            Start::Request(Method::Send) => 1,
            _ => self.from_path.len(),
        };
        Self {
            start: Start::Response(status),
            transaction: self.transaction.clone(),
            to_path: self.from_path.iter().take(hops).cloned().collect(),
            from_path: self.to_path.iter().take(1).cloned().collect(),
            headers: Headers::new(),
        }
    }

    /// The method, of a request.
    #[must_use]
    pub fn method(&self) -> Option<&Method> {
        match &self.start {
            Start::Request(method) => Some(method),
            Start::Response(_) => None,
        }
    }

    /// `Message-ID`.
    ///
    /// # Errors
    /// It is no `ident`.
    pub fn message_id(&self) -> Result<Option<&str>, Defect> {
        match self.headers.get("Message-ID") {
            Some(id) if !is_ident(id) => Err(Defect::MessageId),
            id => Ok(id),
        }
    }

    /// `Byte-Range`.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn byte_range(&self) -> Result<Option<ByteRange>, Defect> {
        self.headers
            .get("Byte-Range")
            .map(|text| ByteRange::parse(text).ok_or(Defect::ByteRange))
            .transpose()
    }

    /// `Success-Report`; `no` where there is none.
    ///
    /// # Errors
    /// Neither `yes` nor `no`.
    pub fn success_report(&self) -> Result<bool, Defect> {
        match self.headers.get("Success-Report") {
            None => Ok(false),
            Some(word) if word.eq_ignore_ascii_case("yes") => Ok(true),
            Some(word) if word.eq_ignore_ascii_case("no") => Ok(false),
            Some(_) => Err(Defect::ReportWish),
        }
    }

    /// `Failure-Report`; `yes` where there is none.
    ///
    /// # Errors
    /// None of the three words.
    pub fn failure_report(&self) -> Result<FailureReport, Defect> {
        let Some(word) = self.headers.get("Failure-Report") else {
            return Ok(FailureReport::Yes);
        };
        FAILURE_REPORTS
            .iter()
            .find(|(_, known)| known.eq_ignore_ascii_case(word))
            .map(|(wish, _)| *wish)
            .ok_or(Defect::ReportWish)
    }

    /// `Status` of a REPORT.
    ///
    /// # Errors
    /// It cannot be read, or its namespace is not `000`.
    pub fn status(&self) -> Result<Option<Status>, Defect> {
        let Some(text) = self.headers.get("Status") else {
            return Ok(None);
        };
        let rest = text.strip_prefix("000 ").ok_or(Defect::Status)?;
        read_status(rest).map(Some).ok_or(Defect::Status)
    }

    /// `Use-Nickname`, quotes resolved. May be empty: the nickname is given back (RFC 7701 §7.1).
    ///
    /// # Errors
    /// It is no quoted string.
    pub fn use_nickname(&self) -> Result<Option<String>, Defect> {
        let Some(text) = self.headers.get("Use-Nickname") else {
            return Ok(None);
        };
        match crate::grammar::quoted_length(text) {
            Some(length) if length == text.len() && text.starts_with('"') => {
                Ok(Some(crate::grammar::unquote(text).into_owned()))
            }
            _ => Err(Defect::Nickname),
        }
    }

    /// `Content-Type`.
    #[must_use]
    pub fn content_type(&self) -> Option<&str> {
        self.headers.get("Content-Type")
    }

    /// `Use-Path`: what to put into our session descriptions' paths, and into `From-Path` (RFC 4976 §5.1).
    #[must_use]
    pub fn use_path(&self) -> Option<Vec<MsrpUri>> {
        parse_path(self.headers.get("Use-Path")?).ok()
    }

    /// `Expires`, in seconds (RFC 4976 §5.1).
    #[must_use]
    pub fn expires(&self) -> Option<u64> {
        digits(self.headers.get("Expires")?)
    }

    /// What the headers of this method must and must not be.
    ///
    /// # Errors
    /// The first defect.
    pub fn check(&self) -> Result<(), Defect> {
        for name in ALONE {
            if self.headers.get_all(name).nth(1).is_some() {
                return Err(Defect::Repeated);
            }
        }
        self.byte_range()?;
        self.success_report()?;
        self.failure_report()?;
        let required = |there: bool, defect| if there { Ok(()) } else { Err(defect) };
        match self.method() {
            Some(Method::Send) => required(self.message_id()?.is_some(), Defect::MessageId),
            Some(Method::Report) => {
                required(self.message_id()?.is_some(), Defect::MessageId)?;
                required(self.status()?.is_some(), Defect::Status)
            }
            Some(Method::Nickname) => required(self.use_nickname()?.is_some(), Defect::Nickname),
            Some(Method::Auth | Method::Other(_)) | None => Ok(()),
        }
    }

    /// The octets up to where the body or the end-line starts.
    fn write(&self, out: &mut String) {
        // Writing to a `String` cannot fail.
        let _ = match &self.start {
            Start::Request(method) => {
                write!(out, "MSRP {} {}\r\n", self.transaction, method.as_str())
            }
            Start::Response(Status { code, comment }) if comment.is_empty() => {
                write!(out, "MSRP {} {code:03}\r\n", self.transaction)
            }
            Start::Response(Status { code, comment }) => {
                let comment = one_line(comment);
                write!(out, "MSRP {} {code:03} {comment}\r\n", self.transaction)
            }
        };
        let _ = write!(out, "To-Path: {}\r\n", print_path(&self.to_path));
        let _ = write!(out, "From-Path: {}\r\n", print_path(&self.from_path));
        let is_type = |name: &str| name.eq_ignore_ascii_case("Content-Type");
        let types_last = |last: bool| {
            self.headers
                .iter()
                .filter(move |(name, _)| is_type(name) == last)
        };
        for (name, value) in types_last(false).chain(types_last(true)) {
            let _ = write!(out, "{name}: {value}\r\n");
        }
    }
}

/// Headers that stand alone.
const ALONE: [&str; 7] = [
    "Message-ID",
    "Byte-Range",
    "Success-Report",
    "Failure-Report",
    "Status",
    "Content-Type",
    "Use-Nickname",
];

/// One whole frame, as it is sent. See [`super::framer::Framer`] for how they arrive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Start line and headers.
    pub head: Head,
    /// The body, of a request with `Content-Type`.
    pub body: Option<Bytes>,
    /// The end.
    pub flag: Flag,
}

impl Frame {
    /// A frame without body that is complete.
    #[must_use]
    pub fn bare(head: Head) -> Self {
        Self {
            head,
            body: None,
            flag: Flag::Complete,
        }
    }

    /// The octets. The transaction id must not make an end-line inside the body: see [`super::ident::transaction_id`].
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        let mut head = String::with_capacity(512);
        self.head.write(&mut head);
        let mut out = head.into_bytes();
        if let Some(body) = &self.body {
            out.extend_from_slice(b"\r\n");
            out.extend_from_slice(body);
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(DASHES);
        out.extend_from_slice(self.head.transaction.as_bytes());
        out.extend_from_slice(&[self.flag.octet(), b'\r', b'\n']);
        Bytes::from(out)
    }
}

/// The first line of a frame.
pub(super) fn read_start(line: &str) -> Option<(Start, &str)> {
    let rest = line.strip_prefix("MSRP ")?;
    let (transaction, what) = rest.split_once(' ')?;
    if !is_ident(transaction) {
        return None;
    }
    let start = match Method::parse(what) {
        Some(method) => Start::Request(method),
        None => Start::Response(read_status(what)?),
    };
    Some((start, transaction))
}

/// Three digits, and a comment.
fn read_status(text: &str) -> Option<Status> {
    let (code, comment) = text.split_once(' ').unwrap_or((text, ""));
    if code.len() != 3 || comment.bytes().any(is_control) {
        return None;
    }
    let code = digits(code).and_then(|code| u16::try_from(code).ok())?;
    Some(Status {
        code,
        comment: trim(comment).to_owned(),
    })
}

/// The headers of a frame, and what is wrong with them.
#[derive(Debug, Default)]
pub(super) struct HeaderLines {
    pub(super) to_path: Vec<MsrpUri>,
    pub(super) from_path: Vec<MsrpUri>,
    pub(super) headers: Headers,
    pub(super) defect: Option<Defect>,
}

impl HeaderLines {
    /// Takes the next line, without its end.
    pub(super) fn read(&mut self, line: &[u8]) {
        let text = String::from_utf8_lossy(line);
        if matches!(text, Cow::Owned(_)) {
            self.blame(Defect::Value);
        }
        let Some((name, value)) = text.split_once(':') else {
            return self.blame(Defect::Line);
        };
        if !is_token(name) {
            return self.blame(Defect::Line);
        }
        if value.bytes().any(is_control) {
            self.blame(Defect::Value);
        }
        let value = trim(value);
        if name.eq_ignore_ascii_case("To-Path") {
            let first = self.from_path.is_empty() && self.headers.is_empty();
            self.read_path(value, first, |lines| &mut lines.to_path);
        } else if name.eq_ignore_ascii_case("From-Path") {
            let second = !self.to_path.is_empty() && self.headers.is_empty();
            self.read_path(value, second, |lines| &mut lines.from_path);
        } else {
            self.headers.push(name, value);
        }
    }

    fn read_path(
        &mut self,
        value: &str,
        in_place: bool,
        slot: impl Fn(&mut Self) -> &mut Vec<MsrpUri>,
    ) {
        if !in_place || !slot(self).is_empty() {
            self.blame(Defect::PathOrder);
        }
        if let (true, Ok(path)) = (slot(self).is_empty(), parse_path(value)) {
            *slot(self) = path;
        }
    }

    /// The first defect counts.
    fn blame(&mut self, defect: Defect) {
        self.defect.get_or_insert(defect);
    }
}
