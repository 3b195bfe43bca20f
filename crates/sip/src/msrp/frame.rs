//! Requests and responses (RFC 4975 §7, §9): their heads, and how they are written.

use std::fmt::Write as _;

use bytes::{BufMut, Bytes, BytesMut};

use super::ident::is_ident;
use super::uri::{MsrpUri, parse_path, print_path};

/// What a request asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Method {
    /// A message, or a part of one.
    Send,
    /// What became of a message.
    Report,
    /// Asks a relay for a path (RFC 4976).
    Auth,
    /// Asks for a nickname (RFC 7701 §7).
    Nickname,
    /// Any other.
    Other(String),
}

/// Methods by name.
const METHODS: [(&str, Method); 4] = [
    ("SEND", Method::Send),
    ("REPORT", Method::Report),
    ("AUTH", Method::Auth),
    ("NICKNAME", Method::Nickname),
];

impl Method {
    fn parse(word: &str) -> Self {
        let row = METHODS.iter().find(|(name, _)| *name == word);
        row.map_or_else(
            || Self::Other(word.to_owned()),
            |(_, method)| method.clone(),
        )
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Other(name) => name,
            known => METHODS
                .iter()
                .find(|(_, method)| method == known)
                .map_or("SEND", |(name, _)| name),
        }
    }
}

/// A status and its comment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// 200, or 400 and above (RFC 4975 §10).
    pub code: u16,
    /// Words for people; may be empty.
    pub comment: String,
}

impl Status {
    /// A status with its comment.
    #[must_use]
    pub fn new(code: u16, comment: &str) -> Self {
        Self {
            code,
            comment: comment.to_owned(),
        }
    }

    /// 200.
    #[must_use]
    pub fn ok() -> Self {
        Self::new(200, "OK")
    }
}

/// What a start line says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// A request.
    Request(Method),
    /// A response.
    Response(Status),
}

/// What ends a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flag {
    /// `$`: the message is complete.
    Complete,
    /// `+`: more of it follows.
    More,
    /// `#`: nothing of it is wanted any more.
    Aborted,
}

impl Flag {
    /// The flag of an octet.
    #[must_use]
    pub const fn of(octet: u8) -> Option<Self> {
        match octet {
            b'$' => Some(Self::Complete),
            b'+' => Some(Self::More),
            b'#' => Some(Self::Aborted),
            _ => None,
        }
    }

    const fn octet(self) -> u8 {
        match self {
            Self::Complete => b'$',
            Self::More => b'+',
            Self::Aborted => b'#',
        }
    }
}

/// Everything of a frame before its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The transaction id.
    pub transaction: String,
    /// Request or response.
    pub start: Start,
    /// Header fields in order.
    pub headers: Vec<(String, String)>,
}

/// Which octets of a message a request is about (RFC 4975 §7.1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByteRange {
    /// The first, counted from 1.
    pub first: u64,
    /// The last, where the sender has committed itself.
    pub last: Option<u64>,
    /// Of how many, where that is known.
    pub total: Option<u64>,
}

impl ByteRange {
    fn parse(text: &str) -> Option<Self> {
        let (range, total) = text.trim().split_once('/')?;
        let (first, last) = range.split_once('-')?;
        let number = |text: &str| text.parse::<u64>().ok();
        let open = |text: &str| match text {
            "*" => Some(None),
            digits => number(digits).map(Some),
        };
        let range = Self {
            first: number(first)?,
            last: open(last)?,
            total: open(total)?,
        };
        (range.first >= 1).then_some(range)
    }
}

/// Why a head cannot be used. The peer is at fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeadError {
    /// The start line is none: the end of all sense on this connection.
    #[error("no MSRP start line")]
    Start,
    /// A line has no colon, or a name that is none.
    #[error("malformed header field")]
    Field,
    /// There are too many lines.
    #[error("too many header fields")]
    Fields,
    /// It is not UTF-8.
    #[error("not UTF-8")]
    Text,
}

/// Header fields of one frame at most.
const MAX_FIELDS: usize = 64;

impl Head {
    /// Reads a start line and header lines, without line ends.
    ///
    /// # Errors
    /// [`HeadError`].
    pub fn parse<'a>(
        start: &[u8],
        lines: impl Iterator<Item = &'a [u8]>,
    ) -> Result<Self, HeadError> {
        let (transaction, start) = parse_start(start)?;
        let mut headers = Vec::new();
        for line in lines {
            if headers.len() == MAX_FIELDS {
                return Err(HeadError::Fields);
            }
            let line = std::str::from_utf8(line).map_err(|_| HeadError::Text)?;
            let (name, value) = line.split_once(':').ok_or(HeadError::Field)?;
            let token = |octet: u8| octet.is_ascii_graphic() && octet != b':';
            if name.is_empty() || !name.bytes().all(token) {
                return Err(HeadError::Field);
            }
            headers.push((name.to_owned(), value.trim().to_owned()));
        }
        Ok(Self {
            transaction,
            start,
            headers,
        })
    }

    /// The first header field of a name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        let field = self
            .headers
            .iter()
            .find(|(own, _)| own.eq_ignore_ascii_case(name));
        field.map(|(_, value)| value.as_str())
    }

    /// `To-Path` or `From-Path`.
    #[must_use]
    pub fn path(&self, name: &str) -> Option<Vec<MsrpUri>> {
        parse_path(self.get(name)?).ok()
    }

    /// `Byte-Range`; `Err` where it is there and cannot be read.
    ///
    /// # Errors
    /// It is malformed.
    pub fn byte_range(&self) -> Result<Option<ByteRange>, HeadError> {
        match self.get("Byte-Range") {
            None => Ok(None),
            Some(text) => ByteRange::parse(text).map(Some).ok_or(HeadError::Field),
        }
    }

    /// `Status` of a REPORT, of the one namespace that there is (RFC 4975 §7.1.3).
    #[must_use]
    pub fn status(&self) -> Option<Status> {
        let rest = self.get("Status")?.strip_prefix("000 ")?;
        let (code, comment) = rest.split_at_checked(3)?;
        Some(Status::new(code.parse().ok()?, comment.trim()))
    }

    /// Writes a whole frame. A body comes with its `Content-Type` among the header fields.
    #[must_use]
    pub fn write(&self, body: Option<&[u8]>, flag: Flag) -> Bytes {
        let mut text = String::with_capacity(256);
        _ = match &self.start {
            Start::Request(method) => {
                write!(text, "MSRP {} {}\r\n", self.transaction, method.name())
            }
            Start::Response(status) if status.comment.is_empty() => {
                write!(text, "MSRP {} {:03}\r\n", self.transaction, status.code)
            }
            Start::Response(status) => write!(
                text,
                "MSRP {} {:03} {}\r\n",
                self.transaction,
                status.code,
                one_line(&status.comment)
            ),
        };
        for (name, value) in &self.headers {
            _ = write!(text, "{name}: {}\r\n", one_line(value));
        }
        let mut out = BytesMut::from(text.as_bytes());
        if let Some(body) = body {
            out.put_slice(b"\r\n");
            out.put_slice(body);
            out.put_slice(b"\r\n");
        }
        out.put_slice(b"-------");
        out.put_slice(self.transaction.as_bytes());
        out.put_u8(flag.octet());
        out.put_slice(b"\r\n");
        out.freeze()
    }

    /// A request; `To-Path` and `From-Path` come first, as RFC 4975 §7.1 wants.
    #[must_use]
    pub fn request(transaction: String, method: Method, to: &[MsrpUri], from: &[MsrpUri]) -> Self {
        Self {
            transaction,
            start: Start::Request(method),
            headers: vec![
                ("To-Path".to_owned(), print_path(to)),
                ("From-Path".to_owned(), print_path(from)),
            ],
        }
    }

    /// The response to this request (RFC 4975 §7.2): it goes back one hop, or all the way where the request is no SEND.
    #[must_use]
    pub fn response(&self, status: Status) -> Option<Self> {
        let (to, from) = (self.path("From-Path")?, self.path("To-Path")?);
        let hops = match self.start {
            Start::Request(Method::Send) => 1,
            _ => to.len(),
        };
        Some(Self {
            transaction: self.transaction.clone(),
            start: Start::Response(status),
            headers: vec![
                ("To-Path".to_owned(), print_path(to.get(..hops)?)),
                ("From-Path".to_owned(), print_path(from.get(..1)?)),
            ],
        })
    }

    /// Adds a header field.
    pub fn push(&mut self, name: &str, value: impl Into<String>) {
        self.headers.push((name.to_owned(), value.into()));
    }
}

/// No value adds a line.
fn one_line(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

fn parse_start(line: &[u8]) -> Result<(String, Start), HeadError> {
    let line = std::str::from_utf8(line).map_err(|_| HeadError::Start)?;
    let rest = line.strip_prefix("MSRP ").ok_or(HeadError::Start)?;
    let (transaction, rest) = rest.split_once(' ').ok_or(HeadError::Start)?;
    if !is_ident(transaction) {
        return Err(HeadError::Start);
    }
    let (word, comment) = rest.split_once(' ').unwrap_or((rest, ""));
    let start = match word.len() == 3 && word.bytes().all(|octet| octet.is_ascii_digit()) {
        true => Start::Response(Status::new(
            word.parse().map_err(|_| HeadError::Start)?,
            comment,
        )),
        false
            if !word.is_empty()
                && comment.is_empty()
                && word.bytes().all(|o| o.is_ascii_uppercase()) =>
        {
            Start::Request(Method::parse(word))
        }
        false => return Err(HeadError::Start),
    };
    Ok((transaction.to_owned(), start))
}
