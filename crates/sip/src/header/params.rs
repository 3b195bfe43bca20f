//! Parameters of header values (RFC 3261 §25.1, `generic-param`).

use std::borrow::Cow;
use std::fmt;

use super::HeaderError;
use crate::grammar::{
    is_control, is_token, one_line, quote, quoted_length, split_outside, trim, unquote,
};

/// The parameters of one value, in order, values as written (quotes included).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Params(Vec<(String, Option<String>)>);

/// Parameters of one value at most.
const LIMIT: usize = 256;

impl Params {
    /// No parameters.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads what stands behind the first semicolon. Names are tokens; values are quoted strings, or any characters
    /// but white space, quotes and angle brackets, which is more than RFC 3261 allows and what peers send
    /// (`received=2001:db8::9`).
    ///
    /// # Errors
    /// [`HeaderError::Param`] for an empty parameter, a bad name, a bad value, or more than 256 of them.
    pub fn parse(text: &str) -> Result<Self, HeaderError> {
        let mut params = Vec::new();
        for item in split_outside(text, b';') {
            let (name, value) = match item.split_once('=') {
                Some((name, value)) => (trim(name), Some(trim(value))),
                None => (trim(item), None),
            };
            if !is_token(name) || !value.is_none_or(is_value) || params.len() >= LIMIT {
                return Err(HeaderError::Param);
            }
            params.push((name.to_owned(), value.map(str::to_owned)));
        }
        Ok(Self(params))
    }

    /// Reads the tail of a value: nothing, or a semicolon and parameters.
    pub(crate) fn parse_tail(text: &str) -> Result<Self, HeaderError> {
        let text = trim(text);
        match text.strip_prefix(';') {
            Some(params) => Self::parse(params),
            None if text.is_empty() => Ok(Self::new()),
            None => Err(HeaderError::Param),
        }
    }

    /// There is a parameter of that name, with or without a value. Names are found in any case.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.0
            .iter()
            .any(|(found, _)| found.eq_ignore_ascii_case(name))
    }

    /// The value of the first parameter of that name as written. `None` where there is none, or it has no value.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(found, _)| found.eq_ignore_ascii_case(name))?
            .1
            .as_deref()
    }

    /// The value of the first parameter of that name, quotes and quoted pairs resolved.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<Cow<'_, str>> {
        self.get(name).map(unquote)
    }

    /// Sets a parameter, in its place or at the end. A value that is not plain is quoted; its control characters
    /// become spaces.
    pub fn set(&mut self, name: &'static str, value: impl AsRef<str>) {
        let value = value.as_ref();
        let plain =
            !value.is_empty() && value.bytes().all(|b| b.is_ascii_graphic()) && is_plain(value);
        let value = if plain {
            value.to_owned()
        } else {
            quote(value)
        };
        self.put(name, Some(value));
    }

    /// Sets a parameter without value.
    pub fn set_flag(&mut self, name: &'static str) {
        self.put(name, None);
    }

    fn put(&mut self, name: &'static str, value: Option<String>) {
        match self
            .0
            .iter_mut()
            .find(|(found, _)| found.eq_ignore_ascii_case(name))
        {
            Some(param) => param.1 = value,
            None => self.0.push((name.to_owned(), value)),
        }
    }

    /// Removes every parameter of that name.
    pub fn remove(&mut self, name: &str) {
        self.0
            .retain(|(found, _)| !found.eq_ignore_ascii_case(name));
    }

    /// Names and values in order.
    pub fn iter(&self) -> std::slice::Iter<'_, (String, Option<String>)> {
        self.0.iter()
    }

    /// There are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Params {
    /// Each parameter with its semicolon before it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in &self.0 {
            write!(f, ";{}", one_line(name))?;
            if let Some(value) = value {
                write!(f, "={}", one_line(value))?;
            }
        }
        Ok(())
    }
}

fn is_value(text: &str) -> bool {
    if text.starts_with('"') {
        return quoted_length(text) == Some(text.len());
    }
    !text.is_empty() && is_plain(text)
}

fn is_plain(text: &str) -> bool {
    !text
        .bytes()
        .any(|b| is_control(b) || matches!(b, b' ' | b'\t' | b'"' | b'<' | b'>' | b',' | b';'))
}
