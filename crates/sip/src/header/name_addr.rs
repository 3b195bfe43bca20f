//! `From`, `To`, `Contact`, `Route` and their like (RFC 3261 §20.10).

use std::fmt;

use super::{HeaderError, HeaderValue, Params};
use crate::grammar::{is_control, quote, quoted_length, trim, unquote};
use crate::uri::{AnyUri, Uri};

/// A URI with an optional display name and header parameters.
///
/// Printed always with angle brackets, so that parameters of the URI stay its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameAddr {
    /// Display name, without quotes and escapes. It may hold any character that the sender quoted, controls too.
    pub display: Option<String>,
    /// The URI.
    pub uri: AnyUri,
    /// Header parameters, such as `tag`, `epid` and `+sip.instance`.
    pub params: Params,
}

impl NameAddr {
    /// A URI without display name and parameters.
    #[must_use]
    pub fn new(uri: impl Into<AnyUri>) -> Self {
        Self {
            display: None,
            uri: uri.into(),
            params: Params::new(),
        }
    }

    /// The URI, where it is `sip`, `sips`, `im` or `pres`.
    #[must_use]
    pub fn sip_uri(&self) -> Option<&Uri> {
        self.uri.as_sip()
    }

    /// The `tag` of `From` and `To`.
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        self.params.get("tag")
    }

    /// The URI of a value that can be read, octet by octet as it stands there.
    #[must_use]
    pub fn raw_uri(text: &str) -> Option<&str> {
        let text = trim(text);
        let bracketed = if text.starts_with('"') {
            text.get(quoted_length(text)?..)?.split_once('<')
        } else {
            text.split_once('<')
        };
        match bracketed {
            Some((_, rest)) => rest.split_once('>').map(|(uri, _)| uri),
            None => text.split(';').next().map(trim),
        }
    }

    /// `<…>` and what surrounds it: the display name before, the parameters behind.
    fn parse_bracketed(display: Option<String>, text: &str) -> Result<Self, HeaderError> {
        let (uri, tail) = text.split_once('>').ok_or(HeaderError::NameAddr)?;
        Ok(Self {
            display,
            uri: AnyUri::parse(uri)?,
            params: Params::parse_tail(tail)?,
        })
    }

    /// Without angle brackets all parameters belong to the header, and the URI has no headers (RFC 3261 §20.10).
    fn parse_bare(text: &str) -> Result<Self, HeaderError> {
        let (uri, tail) = text
            .split_at_checked(text.find(';').unwrap_or(text.len()))
            .unwrap_or((text, ""));
        let uri = trim(uri);
        if uri.contains(['?', ',']) {
            return Err(HeaderError::NameAddr);
        }
        Ok(Self {
            display: None,
            uri: AnyUri::parse(uri)?,
            params: Params::parse_tail(tail)?,
        })
    }
}

impl HeaderValue for NameAddr {
    /// Unquoted display names may hold any character but separators that would change the meaning of the value.
    fn parse(text: &str) -> Result<Self, HeaderError> {
        let text = trim(text);
        if text.starts_with('"') {
            let (display, rest) = quoted_length(text)
                .and_then(|end| text.split_at_checked(end))
                .ok_or(HeaderError::NameAddr)?;
            let bracketed = trim(rest).strip_prefix('<').ok_or(HeaderError::NameAddr)?;
            return Self::parse_bracketed(Some(unquote(display).into_owned()), bracketed);
        }
        match text.split_once('<') {
            Some((display, bracketed)) => {
                let display = trim(display);
                if display.contains(['"', ',', ';', ':', '>', '@'])
                    || display.bytes().any(is_control)
                {
                    return Err(HeaderError::NameAddr);
                }
                let display = (!display.is_empty()).then(|| display.to_owned());
                Self::parse_bracketed(display, bracketed)
            }
            None => Self::parse_bare(text),
        }
    }
}

impl fmt::Display for NameAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(display) = &self.display {
            write!(f, "{} ", quote(display))?;
        }
        write!(f, "<{}>{}", self.uri, self.params)
    }
}

/// One value of `Contact` (RFC 3261 §20.10).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Contact {
    /// `*`, in REGISTER only.
    Any,
    /// An address.
    Address(NameAddr),
}

impl HeaderValue for Contact {
    /// `expires` and `q` are checked: digits up to 2³²−1, and 0 to 1 with at most three decimals (RFC 3261 §20.10).
    fn parse(text: &str) -> Result<Self, HeaderError> {
        if trim(text) == "*" {
            return Ok(Self::Any);
        }
        let address = NameAddr::parse(text)?;
        if let Some(expires) = address.params.get("expires") {
            super::parse_u32(expires)?;
        }
        if address.params.get("q").is_some_and(|q| !is_q_value(q)) {
            return Err(HeaderError::Param);
        }
        Ok(Self::Address(address))
    }
}

impl fmt::Display for Contact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::Address(address) => address.fmt(f),
        }
    }
}

/// `0`, `1`, or one of them with up to three decimals, and not above 1.
fn is_q_value(text: &str) -> bool {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    let digits = decimals.len() <= 3 && decimals.bytes().all(|b| b.is_ascii_digit());
    match whole {
        "0" => digits,
        "1" => digits && decimals.bytes().all(|b| b == b'0'),
        _ => false,
    }
}
