//! Multipart bodies (RFC 2046 §5.1).

use std::borrow::Cow;

use base64::Engine as _;
use memchr::memmem;

/// Parts of one multipart.
pub const MAX_PARTS: usize = 32;
/// Octets of the header block of one part.
pub const MAX_HEADER_OCTETS: usize = 8192;

/// Why a multipart cannot be taken apart. The sender is at fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MultipartError {
    /// The boundary parameter is missing or illegal.
    #[error("the boundary is missing or illegal")]
    Boundary,
    /// No line with the boundary.
    #[error("the body has no part")]
    NoPart,
    /// More than [`MAX_PARTS`], or a part header beyond [`MAX_HEADER_OCTETS`].
    #[error("the body has more parts than the limits allow")]
    TooLarge,
}

/// One part: MIME headers and octets, both as sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part<'a> {
    headers: Vec<(String, String)>,
    octets: &'a [u8],
}

impl<'a> Part<'a> {
    /// Reads MIME headers, an empty line and the content.
    ///
    /// # Errors
    /// [`MultipartError::TooLarge`] when the headers are too long.
    pub fn parse(octets: &'a [u8]) -> Result<Self, MultipartError> {
        let (head, octets) = split_head(octets);
        if head.len() > MAX_HEADER_OCTETS {
            return Err(MultipartError::TooLarge);
        }
        Ok(Part {
            headers: parse_headers(&String::from_utf8_lossy(head)),
            octets,
        })
    }

    /// The first header of that name.
    pub fn header(&self, name: &str) -> Option<&str> {
        find_header(&self.headers, name)
    }

    /// The content without its `Content-Transfer-Encoding`. `None` when that is unknown or does not fit.
    pub fn content(&self) -> Option<Cow<'a, [u8]>> {
        let encoding = self
            .header("Content-Transfer-Encoding")
            .map(str::to_ascii_lowercase);
        match encoding.as_deref().map(str::trim) {
            None | Some("7bit" | "8bit" | "binary") => Some(Cow::Borrowed(self.octets)),
            Some("base64") => {
                let digits: Vec<u8> = self
                    .octets
                    .iter()
                    .copied()
                    .filter(|b| !b.is_ascii_whitespace())
                    .collect();
                base64::engine::general_purpose::STANDARD
                    .decode(digits)
                    .ok()
                    .map(Cow::Owned)
            }
            Some("quoted-printable") => Some(Cow::Owned(unquote_printable(self.octets))),
            Some(_) => None,
        }
    }
}

/// Takes a multipart apart. Preamble and epilogue are left out. Lines may end in LF alone, and the closing boundary
/// may be missing.
///
/// # Errors
/// [`MultipartError`].
pub fn parse<'a>(body: &'a [u8], boundary: &str) -> Result<Vec<Part<'a>>, MultipartError> {
    if !(1..=70).contains(&boundary.len()) || boundary.chars().any(char::is_control) {
        return Err(MultipartError::Boundary);
    }
    let delimiter = format!("--{boundary}");
    let mut parts = Vec::new();
    let mut open: Option<usize> = None;
    for line in delimiter_lines(body, delimiter.as_bytes()) {
        if let Some(start) = open {
            if parts.len() >= MAX_PARTS {
                return Err(MultipartError::TooLarge);
            }
            let octets = body.get(start..line.start).unwrap_or_default();
            parts.push(Part::parse(without_line_end(octets))?);
        }
        open = (!line.closing).then_some(line.end);
        if line.closing {
            break;
        }
    }
    if let Some(octets) = open
        .and_then(|start| body.get(start..))
        .filter(|octets| !octets.is_empty())
    {
        if parts.len() >= MAX_PARTS {
            return Err(MultipartError::TooLarge);
        }
        parts.push(Part::parse(octets)?);
    }
    if parts.is_empty() {
        return Err(MultipartError::NoPart);
    }
    Ok(parts)
}

/// Writes a multipart from content types and contents. The boundary must not occur in any of them.
///
/// COMPAT(pidgin-sipe): its parser takes two more octets off the end of each part than it should, so that each ends in
/// an empty line of its own.
#[must_use]
pub fn write(boundary: &str, parts: &[(&str, &[u8])]) -> Vec<u8> {
    let mut out = Vec::new();
    for (content_type, content) in parts {
        let head = format!("--{boundary}\r\nContent-Type: {content_type}\r\n\r\n");
        out.extend_from_slice(head.as_bytes());
        out.extend_from_slice(content);
        out.extend_from_slice(b"\r\n\r\n");
    }
    out.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    out
}

struct DelimiterLine {
    /// Where `--boundary` begins.
    start: usize,
    /// Where the line after it begins.
    end: usize,
    closing: bool,
}

/// The lines that are delimiters. Only they are looked at to their end, so the work is linear.
fn delimiter_lines(body: &[u8], delimiter: &[u8]) -> impl Iterator<Item = DelimiterLine> {
    let found: Vec<usize> = memmem::find_iter(body, delimiter).collect();
    let length = delimiter.len();
    found.into_iter().filter_map(move |start| {
        if start > 0 && body.get(start - 1) != Some(&b'\n') {
            return None;
        }
        let rest = body.get(start + length..)?;
        let (closing, rest) = match rest.strip_prefix(b"--") {
            Some(rest) => (true, rest),
            None => (false, rest),
        };
        let line_length = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
        let (line, behind) = rest.split_at_checked(line_length)?;
        let blank = line
            .iter()
            .all(|octet| matches!(octet, b' ' | b'\t' | b'\r'));
        let end = body.len() - behind.len() + behind.len().min(1);
        (blank || closing).then_some(DelimiterLine {
            start,
            end,
            closing,
        })
    })
}

fn without_line_end(octets: &[u8]) -> &[u8] {
    let octets = octets.strip_suffix(b"\n").unwrap_or(octets);
    octets.strip_suffix(b"\r").unwrap_or(octets)
}

/// Splits at the first empty line, which may be the very first one.
pub(super) fn split_head(octets: &[u8]) -> (&[u8], &[u8]) {
    let mut start = 0;
    for newline in memchr::memchr_iter(b'\n', octets) {
        let line = octets.get(start..newline).unwrap_or_default();
        if line.is_empty() || line == b"\r" {
            return (
                octets.get(..start).unwrap_or_default(),
                octets.get(newline + 1..).unwrap_or_default(),
            );
        }
        start = newline + 1;
    }
    (octets, &[])
}

/// Header lines as name and value, folded lines joined; lines without a colon are skipped.
pub(super) fn parse_headers(head: &str) -> Vec<(String, String)> {
    let mut headers: Vec<(String, String)> = Vec::new();
    for line in head.lines() {
        if line.starts_with([' ', '\t']) {
            if let Some((_, value)) = headers.last_mut() {
                value.push(' ');
                value.push_str(line.trim());
            }
        } else if let Some((name, value)) = line.split_once(':') {
            headers.push((name.trim().to_owned(), value.trim().to_owned()));
        }
    }
    headers
}

pub(super) fn find_header<'h>(headers: &'h [(String, String)], name: &str) -> Option<&'h str> {
    headers
        .iter()
        .find(|(own, _)| own.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.as_str())
}

/// RFC 2045 §6.7; what is no valid escape stays as it is.
fn unquote_printable(octets: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(octets.len());
    let mut rest = octets;
    while let Some((&octet, behind)) = rest.split_first() {
        rest = behind;
        if octet != b'=' {
            out.push(octet);
            continue;
        }
        if let Some(next) = behind
            .strip_prefix(b"\r\n")
            .or_else(|| behind.strip_prefix(b"\n"))
        {
            rest = next;
        } else if let [high, low, next @ ..] = behind
            && let (Some(high), Some(low)) = (hex(*high), hex(*low))
        {
            out.push(high * 16 + low);
            rest = next;
        } else {
            out.push(octet);
        }
    }
    out
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|value| u8::try_from(value).ok())
}
