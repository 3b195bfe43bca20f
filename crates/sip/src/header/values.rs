//! The smaller values: `CSeq`, media types, events, numbers, subscription state.

use std::fmt;

use super::{HeaderError, HeaderValue, Params};
use crate::grammar::{digits, is_token, trim};
use crate::method::Method;

/// `CSeq` (RFC 3261 §20.16).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CSeq {
    /// Below 2³¹.
    pub number: u32,
    /// The method of the request.
    pub method: Method,
}

impl HeaderValue for CSeq {
    fn parse(text: &str) -> Result<Self, HeaderError> {
        let (number, method) = trim(text)
            .split_once([' ', '\t'])
            .ok_or(HeaderError::CSeq)?;
        let number = digits(number)
            .and_then(|number| u32::try_from(number).ok())
            .filter(|number| *number < 1 << 31)
            .ok_or(HeaderError::CSeq)?;
        let method = Method::parse(trim(method)).ok_or(HeaderError::CSeq)?;
        Ok(Self { number, method })
    }
}

impl fmt::Display for CSeq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.number, self.method)
    }
}

/// `Content-Type` and values of `Accept` (RFC 3261 §20.1, §20.15).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaType {
    /// Type in lower case, or `*`.
    pub type_: String,
    /// Subtype in lower case, or `*`.
    pub subtype: String,
    /// `charset`, `boundary`, `q`, …
    pub params: Params,
}

impl MediaType {
    /// A type without parameters.
    #[must_use]
    pub fn new(type_: &str, subtype: &str) -> Self {
        Self {
            type_: type_.to_ascii_lowercase(),
            subtype: subtype.to_ascii_lowercase(),
            params: Params::new(),
        }
    }

    /// This type, whatever its parameters.
    #[must_use]
    pub fn is(&self, type_: &str, subtype: &str) -> bool {
        self.type_.eq_ignore_ascii_case(type_) && self.subtype.eq_ignore_ascii_case(subtype)
    }

    /// As a range of `Accept` it covers that type: `*/*`, `text/*` or the type itself.
    #[must_use]
    pub fn covers(&self, type_: &str, subtype: &str) -> bool {
        (self.type_ == "*" || self.type_.eq_ignore_ascii_case(type_))
            && (self.subtype == "*" || self.subtype.eq_ignore_ascii_case(subtype))
    }
}

impl HeaderValue for MediaType {
    fn parse(text: &str) -> Result<Self, HeaderError> {
        let (range, tail) = text
            .split_at_checked(text.find(';').unwrap_or(text.len()))
            .ok_or(HeaderError::MediaType)?;
        let (type_, subtype) = range.split_once('/').ok_or(HeaderError::MediaType)?;
        let (type_, subtype) = (trim(type_), trim(subtype));
        if !is_token(type_) || !is_token(subtype) {
            return Err(HeaderError::MediaType);
        }
        let mut media = Self::new(type_, subtype);
        // COMPAT(various): a semicolon with nothing behind it.
        let tail = trim(tail).trim_end_matches([';', ' ', '\t']);
        media.params =
            Params::parse_tail(tail).or_else(|_| Params::parse_tail(&without_msgr(tail)))?;
        Ok(media)
    }
}

/// COMPAT(OC, pidgin-sipe): the looks of a text in a parameter; one that is malformed spoils them, not the message.
fn without_msgr(tail: &str) -> String {
    let is_msgr = |item: &&str| {
        let name = item.trim_start().get(..4);
        name.is_some_and(|name| name.eq_ignore_ascii_case("msgr"))
    };
    let rest: Vec<&str> = tail.split(';').filter(|item| !is_msgr(item)).collect();
    rest.join(";")
}

impl fmt::Display for MediaType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}{}", self.type_, self.subtype, self.params)
    }
}

/// `Event` and values of `Allow-Events` (RFC 6665 §8.2.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The package with its templates, as written: `presence`, `presence.winfo`. Case-sensitive.
    pub package: String,
    /// `id` and others.
    pub params: Params,
}

impl Event {
    /// A package without parameters.
    #[must_use]
    pub fn new(package: impl Into<String>) -> Self {
        Self {
            package: package.into(),
            params: Params::new(),
        }
    }

    /// The `id`, which is part of what tells subscriptions of one dialog apart.
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        self.params.get("id")
    }

    /// The same package and `id` (RFC 6665 §8.2.1: other parameters do not count).
    #[must_use]
    pub fn matches(&self, other: &Self) -> bool {
        self.package == other.package && self.id() == other.id()
    }
}

impl HeaderValue for Event {
    fn parse(text: &str) -> Result<Self, HeaderError> {
        let (package, params) = token_and_params(text).ok_or(HeaderError::Event)?;
        Ok(Self {
            package: package.to_owned(),
            params: params?,
        })
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.package, self.params)
    }
}

/// `Subscription-State` (RFC 6665 §8.2.3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubscriptionState {
    /// `active`, `pending`, `terminated`, or another token, in lower case.
    pub state: String,
    /// `expires`, `reason`, `retry-after` and others.
    pub params: Params,
}

impl SubscriptionState {
    /// A state without parameters.
    #[must_use]
    pub fn new(state: &str) -> Self {
        Self {
            state: state.to_ascii_lowercase(),
            params: Params::new(),
        }
    }

    /// Seconds left. `None` where nothing usable is said.
    #[must_use]
    pub fn expires(&self) -> Option<u32> {
        self.params
            .get("expires")
            .and_then(|text| parse_u32(text).ok())
    }

    /// Why it was terminated.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        self.params.get("reason")
    }

    /// Seconds to wait before subscribing again. `None` where nothing usable is said.
    #[must_use]
    pub fn retry_after(&self) -> Option<u32> {
        self.params
            .get("retry-after")
            .and_then(|text| parse_u32(text).ok())
    }
}

impl HeaderValue for SubscriptionState {
    fn parse(text: &str) -> Result<Self, HeaderError> {
        let (state, params) = token_and_params(text).ok_or(HeaderError::SubscriptionState)?;
        Ok(Self {
            state: state.to_ascii_lowercase(),
            params: params?,
        })
    }
}

impl fmt::Display for SubscriptionState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.state, self.params)
    }
}

/// A token and what stands behind it. `None` when there is no token.
fn token_and_params(text: &str) -> Option<(&str, Result<Params, HeaderError>)> {
    let (token, tail) = text.split_at_checked(text.find(';').unwrap_or(text.len()))?;
    let token = trim(token);
    is_token(token).then(|| (token, Params::parse_tail(tail)))
}

/// A number of seconds or hops: digits, up to 2³²−1 (RFC 3261 §25.1 `delta-seconds`, §20.19).
///
/// # Errors
/// [`HeaderError::Number`].
pub fn parse_u32(text: &str) -> Result<u32, HeaderError> {
    digits(trim(text))
        .and_then(|number| u32::try_from(number).ok())
        .ok_or(HeaderError::Number)
}

/// `Max-Forwards` (RFC 3261 §20.22): 0 to 255.
///
/// # Errors
/// [`HeaderError::Number`].
pub fn parse_max_forwards(text: &str) -> Result<u8, HeaderError> {
    digits(trim(text))
        .and_then(|number| u8::try_from(number).ok())
        .ok_or(HeaderError::Number)
}

/// `Retry-After` (RFC 3261 §20.33): seconds, with a comment and parameters behind them that are read over.
///
/// # Errors
/// [`HeaderError::Number`].
pub fn parse_retry_after(text: &str) -> Result<u32, HeaderError> {
    let end = text.find([' ', '\t', ';', '(']).unwrap_or(text.len());
    parse_u32(text.get(..end).unwrap_or_default())
}
