//! The message/cpim wrapper (RFC 3862).

use std::time::Duration;

use super::multipart::{MAX_HEADER_OCTETS, Part, find_header, parse_headers, split_head};
use super::text::clean;
use super::time::parse_rfc3339;

/// A wrapper that is not in the form of RFC 3862. The sender is at fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the message/cpim wrapper is malformed")]
pub struct CpimError;

/// An unwrapped message. Its `From` and `To` are claims of the sender and no identity (RFC 3428 §11.5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cpim<'a> {
    headers: Vec<(String, String)>,
    /// The content with its MIME headers.
    pub content: Part<'a>,
}

impl<'a> Cpim<'a> {
    /// Reads message headers, an empty line, MIME headers, an empty line and the content.
    ///
    /// # Errors
    /// [`CpimError`] when the message headers are missing or too long.
    pub fn parse(octets: &'a [u8]) -> Result<Self, CpimError> {
        let (head, rest) = split_head(octets);
        if head.len() > MAX_HEADER_OCTETS {
            return Err(CpimError);
        }
        let headers = parse_headers(std::str::from_utf8(head).map_err(|_| CpimError)?);
        if headers.is_empty() {
            return Err(CpimError);
        }
        Ok(Self {
            headers,
            content: Part::parse(rest).map_err(|_| CpimError)?,
        })
    }

    /// `Subject` with its language, when given.
    pub fn subject(&self) -> Option<(Option<&str>, String)> {
        let value = find_header(&self.headers, "Subject")?;
        let (lang, text) = match value
            .strip_prefix(";lang=")
            .and_then(|rest| rest.split_once(' '))
        {
            Some((lang, text)) => (Some(lang), text),
            None => (None, value),
        };
        Some((lang, clean(text)))
    }

    /// `DateTime`, since 1970 UTC, when given and legal.
    pub fn sent_at(&self) -> Option<Duration> {
        parse_rfc3339(find_header(&self.headers, "DateTime")?)
    }
}
