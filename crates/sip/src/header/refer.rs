//! `Refer-To` and `Refer-Sub` (RFC 3515, RFC 4488).

use std::fmt;

use super::{HeaderError, HeaderValue, NameAddr};
use crate::grammar::trim;
use crate::method::Method;
use crate::uri::{self, AnyUri, Uri};

/// `Refer-To` (RFC 3515 §2.1): what the other end is asked to send a request to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReferTo {
    /// The URI with its `method` and its headers, as written.
    pub target: NameAddr,
}

impl ReferTo {
    /// Asks for an INVITE to this URI.
    #[must_use]
    pub fn invite(uri: Uri) -> Self {
        Self {
            target: NameAddr::new(uri),
        }
    }

    /// The method that is asked for: INVITE where none is named. `None` for what is no method.
    #[must_use]
    pub fn method(&self) -> Option<Method> {
        match self.target.sip_uri()?.param("method") {
            Some(method) => Method::parse(method),
            None => Some(Method::INVITE),
        }
    }

    /// A field that the request asked for is to carry, decoded, such as `Subject` and `Replaces` (RFC 3261 §19.1.1).
    #[must_use]
    pub fn header(&self, name: &str) -> Option<String> {
        let headers = self.target.sip_uri()?.headers.as_deref()?;
        let mut fields = headers.split('&').filter_map(|field| field.split_once('='));
        let named = |found: &str| uri::unescape_header(found).eq_ignore_ascii_case(name);
        let (_, value) = fields.find(|(found, _)| named(found))?;
        Some(uri::unescape_header(value))
    }

    /// Adds a field that the request asked for is to carry.
    #[must_use]
    pub fn with_header(mut self, name: &str, value: &str) -> Self {
        if let AnyUri::Sip(uri) = &mut self.target.uri {
            let (name, value) = (uri::escape_header(name), uri::escape_header(value));
            let before = uri.headers.take().map(|before| before + "&");
            uri.headers = Some(format!("{}{name}={value}", before.unwrap_or_default()));
        }
        self
    }
}

impl HeaderValue for ReferTo {
    fn parse(text: &str) -> Result<Self, HeaderError> {
        NameAddr::parse(text).map(|target| Self { target })
    }
}

impl fmt::Display for ReferTo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.target.fmt(f)
    }
}

/// `Refer-Sub` (RFC 4488 §4): whether a REFER starts a subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReferSub(pub bool);

impl HeaderValue for ReferSub {
    fn parse(text: &str) -> Result<Self, HeaderError> {
        let word = text.split(';').next().map(trim).unwrap_or_default();
        [("true", true), ("false", false)]
            .into_iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(word))
            .map(|(_, wanted)| Self(wanted))
            .ok_or(HeaderError::Param)
    }
}

impl fmt::Display for ReferSub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0 { "true" } else { "false" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refer_to_names_a_method_and_fields() {
        let rows = [
            ("<sip:b@x.example>", Some(Method::INVITE), None),
            ("sip:b@x.example;method=BYE", Some(Method::INVITE), None),
            (
                "\"B\" <sip:b@x.example;method=BYE?subject=Tea%20time>",
                Some(Method::BYE),
                Some("Tea time"),
            ),
            (
                "<sip:b@x.example?Replaces=a%3Bb&Subject=x>",
                Some(Method::INVITE),
                Some("x"),
            ),
            ("<tel:+15550100>", None, None),
        ];
        for (text, method, subject) in rows {
            let read = ReferTo::parse(text).unwrap();
            assert_eq!(read.method(), method, "{text}");
            assert_eq!(read.header("Subject").as_deref(), subject, "{text}");
            assert_eq!(ReferTo::parse(&read.to_string()), Ok(read));
        }
        assert!(ReferTo::parse("<sip:b@x.example").is_err());
    }

    #[test]
    fn a_field_added_comes_back() {
        let uri = Uri::parse("sip:b@x.example;method=INVITE").unwrap();
        let refer = ReferTo::invite(uri)
            .with_header("Subject", "a&b=c é")
            .with_header("X", "%");
        let text = refer.to_string();
        assert_eq!(
            text,
            "<sip:b@x.example;method=INVITE?Subject=a%26b%3Dc%20%C3%A9&X=%25>"
        );
        let again = ReferTo::parse(&text).unwrap();
        assert_eq!(again.header("subject").as_deref(), Some("a&b=c é"));
        assert_eq!(again.header("x").as_deref(), Some("%"));
    }

    #[test]
    fn refer_sub_is_a_word() {
        assert_eq!(ReferSub::parse("False"), Ok(ReferSub(false)));
        assert_eq!(ReferSub::parse(" true;x=y"), Ok(ReferSub(true)));
        assert!(ReferSub::parse("maybe").is_err());
        assert_eq!(ReferSub(false).to_string(), "false");
    }
}
