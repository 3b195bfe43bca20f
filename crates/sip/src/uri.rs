//! SIP URIs and their relatives (RFC 3261 §19.1, RFC 3859, RFC 3860).

use std::borrow::Cow;
use std::fmt;

use crate::grammar::{digits, is_control};

/// Schemes whose URIs have a user and a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Scheme {
    /// `sip`
    #[default]
    Sip,
    /// `sips`
    Sips,
    /// `im` (RFC 3860)
    Im,
    /// `pres` (RFC 3859)
    Pres,
}

/// Every scheme with its name.
const SCHEMES: &[(Scheme, &str)] = &[
    (Scheme::Sip, "sip"),
    (Scheme::Sips, "sips"),
    (Scheme::Im, "im"),
    (Scheme::Pres, "pres"),
];

impl Scheme {
    /// The name in lower case.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        SCHEMES
            .iter()
            .find(|(scheme, _)| *scheme == self)
            .map_or("sip", |(_, name)| name)
    }

    fn parse(text: &str) -> Option<Self> {
        SCHEMES
            .iter()
            .find(|(_, name)| name.eq_ignore_ascii_case(text))
            .map(|(scheme, _)| *scheme)
    }
}

/// Why a text is no URI. Whoever wrote it is at fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UriError {
    /// No scheme, or none with a user and a host.
    #[error("unsupported URI scheme")]
    Scheme,
    /// A user or password with characters that must be escaped, or more than one `@`.
    #[error("malformed user part")]
    User,
    /// No host, or a malformed one.
    #[error("malformed host")]
    Host,
    /// A port that is no number up to 65535.
    #[error("malformed port")]
    Port,
    /// An empty or malformed parameter.
    #[error("malformed URI parameter")]
    Param,
    /// Malformed headers behind `?`.
    #[error("malformed URI headers")]
    Headers,
    /// A URI of another scheme that is empty or holds what no URI holds.
    #[error("malformed URI")]
    Other,
}

/// A `sip`, `sips`, `im` or `pres` URI. All parts are as on the wire, percent-encoded.
///
/// Reading and printing gives the same octets, but for the scheme (printed in lower case) and zeros before a port.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Uri {
    /// Scheme.
    pub scheme: Scheme,
    /// User part. `None` for a URI that names only a host.
    pub user: Option<String>,
    /// Password (deprecated; kept so that nothing is lost).
    pub password: Option<String>,
    /// Host name or address; IPv6 in brackets.
    pub host: String,
    /// Port, if one is written.
    pub port: Option<u16>,
    /// Parameters in order, such as `("opaque", Some("user:epid:xx"))` and `("gruu", None)`.
    pub params: Vec<(String, Option<String>)>,
    /// What stands behind `?`.
    pub headers: Option<String>,
}

/// Parameters of one URI at most.
const PARAM_LIMIT: usize = 64;

/// Parameters that matter in comparison even when only one URI has them (RFC 3261 §19.1.4).
const SIGNIFICANT: [&str; 5] = ["user", "ttl", "method", "maddr", "transport"];

impl Uri {
    /// A `sip` URI of a user at a host. The user is percent-encoded where it must be.
    #[must_use]
    pub fn sip(user: Option<&str>, host: impl Into<String>) -> Self {
        Self {
            user: user.map(|user| escape(user, is_user).into_owned()),
            host: host.into(),
            ..Self::default()
        }
    }

    /// Reads a URI that stands alone or inside angle brackets.
    ///
    /// # Errors
    /// [`UriError::Scheme`] when it may well be a URI, but of another scheme; the others when it is malformed.
    pub fn parse(text: &str) -> Result<Self, UriError> {
        let (scheme, rest) = text.split_once(':').ok_or(UriError::Scheme)?;
        let scheme = Scheme::parse(scheme).ok_or(UriError::Scheme)?;
        let mut uri = Self {
            scheme,
            ..Self::default()
        };
        let rest = match rest.split_once('@') {
            Some((user, rest)) => {
                uri.read_user(user)?;
                rest
            }
            None => rest,
        };
        let rest = match rest.split_once('?') {
            Some((rest, headers)) => {
                uri.headers = Some(checked(headers, is_header, UriError::Headers)?);
                rest
            }
            None => rest,
        };
        let (host, params) = match rest.split_once(';') {
            Some((host, params)) => (host, Some(params)),
            None => (rest, None),
        };
        uri.read_host(host)?;
        if let Some(params) = params {
            uri.read_params(params)?;
        }
        Ok(uri)
    }

    fn read_user(&mut self, text: &str) -> Result<(), UriError> {
        let (user, password) = match text.split_once(':') {
            Some((user, password)) => (user, Some(password)),
            None => (text, None),
        };
        self.user = Some(checked(user, is_user, UriError::User)?);
        self.password = match password {
            Some("") => Some(String::new()),
            Some(password) => Some(checked(password, is_password, UriError::User)?),
            None => None,
        };
        Ok(())
    }

    fn read_host(&mut self, text: &str) -> Result<(), UriError> {
        let (host, port) = split_host(text).ok_or(UriError::Host)?;
        self.port = match port {
            Some(port) => Some(read_port(port).ok_or(UriError::Port)?),
            None => None,
        };
        host.clone_into(&mut self.host);
        Ok(())
    }

    fn read_params(&mut self, text: &str) -> Result<(), UriError> {
        for param in text.split(';') {
            let (name, value) = match param.split_once('=') {
                Some((name, value)) => {
                    (name, Some(checked(value, is_param_value, UriError::Param)?))
                }
                None => (param, None),
            };
            if self.params.len() >= PARAM_LIMIT {
                return Err(UriError::Param);
            }
            let name = checked(name, is_param_name, UriError::Param)?;
            self.params.push((name, value));
        }
        Ok(())
    }

    /// There is a parameter of that name, with or without a value. Names are found in any case.
    #[must_use]
    pub fn has_param(&self, name: &str) -> bool {
        self.params
            .iter()
            .any(|(found, _)| found.eq_ignore_ascii_case(name))
    }

    /// The value of the first parameter of that name. `None` where there is none, or it has no value.
    #[must_use]
    pub fn param(&self, name: &str) -> Option<&str> {
        self.params
            .iter()
            .find(|(found, _)| found.eq_ignore_ascii_case(name))?
            .1
            .as_deref()
    }

    /// Sets a parameter, in its place or at the end; what must be is percent-encoded.
    pub fn set_param(&mut self, name: &str, value: Option<&str>) {
        let value = value.map(|value| escape(value, is_param_value).into_owned());
        match self
            .params
            .iter_mut()
            .find(|(found, _)| found.eq_ignore_ascii_case(name))
        {
            Some(param) => param.1 = value,
            None => self
                .params
                .push((escape(name, is_param_name).into_owned(), value)),
        }
    }

    /// The host without the brackets of an IPv6 address.
    #[must_use]
    pub fn bare_host(&self) -> &str {
        bare_host(&self.host)
    }

    /// Equality of RFC 3261 §19.1.4: hosts and parameters in any case, escapes equal to what they stand for, unknown
    /// parameters that only one side has ignored. Not transitive.
    #[must_use]
    pub fn uri_eq(&self, other: &Self) -> bool {
        self.scheme == other.scheme
            && optional_eq(self.user.as_deref(), other.user.as_deref(), escapes_eq)
            && optional_eq(
                self.password.as_deref(),
                other.password.as_deref(),
                escapes_eq,
            )
            && self.host.eq_ignore_ascii_case(&other.host)
            && self.port == other.port
            && self.params_agree(other)
            && other.params_agree(self)
            && headers_eq(self.headers.as_deref(), other.headers.as_deref())
    }

    /// The first parameter of each name counts. Bounded by the square of the number of parameters, which is at most 64.
    fn params_agree(&self, other: &Self) -> bool {
        self.params.iter().all(|(name, _)| {
            let (ours, theirs) = (self.first_param(name), other.first_param(name));
            match (ours, theirs) {
                (Some(ours), Some(theirs)) => optional_eq(ours, theirs, |a, b| {
                    decode(a).eq_ignore_ascii_case(&decode(b))
                }),
                _ => !SIGNIFICANT
                    .iter()
                    .any(|known| known.eq_ignore_ascii_case(name)),
            }
        })
    }

    /// The value of the first parameter of a name, escapes equal to what they stand for.
    fn first_param(&self, name: &str) -> Option<Option<&str>> {
        let same = |found: &str| decode(found).eq_ignore_ascii_case(&decode(name));
        let found = self.params.iter().find(|(found, _)| same(found));
        found.map(|(_, value)| value.as_deref())
    }
}

impl fmt::Display for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.scheme.as_str())?;
        if let Some(user) = &self.user {
            f.write_str(&escape_breaking(user))?;
            if let Some(password) = &self.password {
                write!(f, ":{}", escape_breaking(password))?;
            }
            f.write_str("@")?;
        }
        f.write_str(&escape_breaking(&self.host))?;
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        for (name, value) in &self.params {
            write!(f, ";{}", escape_breaking(name))?;
            if let Some(value) = value {
                write!(f, "={}", escape_breaking(value))?;
            }
        }
        if let Some(headers) = &self.headers {
            write!(f, "?{}", escape_breaking(headers))?;
        }
        Ok(())
    }
}

/// Any URI: one of ours, or one that is only passed on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum AnyUri {
    /// `sip`, `sips`, `im`, `pres`.
    Sip(Uri),
    /// Another scheme (`tel:`, `urn:`, …), as written.
    Other(String),
}

impl AnyUri {
    /// Reads a URI of any scheme.
    ///
    /// # Errors
    /// [`UriError`] when the scheme is ours and the rest malformed, or when it is no URI at all.
    pub fn parse(text: &str) -> Result<Self, UriError> {
        match Uri::parse(text) {
            Ok(uri) => Ok(Self::Sip(uri)),
            Err(UriError::Scheme) if is_other_uri(text) => Ok(Self::Other(text.to_owned())),
            Err(UriError::Scheme) => Err(UriError::Other),
            Err(error) => Err(error),
        }
    }

    /// The URI, where it is one of ours.
    #[must_use]
    pub fn as_sip(&self) -> Option<&Uri> {
        match self {
            Self::Sip(uri) => Some(uri),
            Self::Other(_) => None,
        }
    }
}

impl From<Uri> for AnyUri {
    fn from(uri: Uri) -> Self {
        Self::Sip(uri)
    }
}

impl fmt::Display for AnyUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sip(uri) => uri.fmt(f),
            Self::Other(text) => f.write_str(&escape_breaking(text)),
        }
    }
}

/// A host and what stands behind its colon. `None` when the host is malformed.
pub(crate) fn split_host(text: &str) -> Option<(&str, Option<&str>)> {
    let (host, rest) = if text.starts_with('[') {
        text.split_at_checked(text.find(']')? + 1)?
    } else {
        text.split_at_checked(text.find(':').unwrap_or(text.len()))?
    };
    let port = match rest.strip_prefix(':') {
        Some(port) => Some(port),
        None if rest.is_empty() => None,
        None => return None,
    };
    is_host(host).then_some((host, port))
}

/// A port in digits.
pub(crate) fn read_port(text: &str) -> Option<u16> {
    digits(text).and_then(|port| u16::try_from(port).ok())
}

/// Host names compared as DNS does, a final dot aside.
#[must_use]
pub(crate) fn same_host(a: &str, b: &str) -> bool {
    let strip = |name: &'_ str| name.strip_suffix('.').map_or(name.len(), str::len);
    let (a, b) = (a.get(..strip(a)), b.get(..strip(b)));
    matches!((a, b), (Some(a), Some(b)) if a.eq_ignore_ascii_case(b))
}

/// Whether the host is the domain or lies below it.
#[must_use]
pub(crate) fn is_within(host: &str, domain: &str) -> bool {
    if same_host(host, domain) {
        return true;
    }
    let host = host.strip_suffix('.').unwrap_or(host);
    let domain = domain.strip_suffix('.').unwrap_or(domain);
    let Some(cut) = host.len().checked_sub(domain.len()) else {
        return false;
    };
    match (host.get(..cut), host.get(cut..)) {
        (Some(head), Some(tail)) => head.ends_with('.') && tail.eq_ignore_ascii_case(domain),
        _ => false,
    }
}

/// Without the brackets of an IPv6 address.
pub(crate) fn bare_host(host: &str) -> &str {
    host.strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host)
}

/// A host name, an IPv4 address, or an IPv6 address in brackets. The insides of addresses are not checked: RFC 5118
/// §4.8 asks for tolerance of three colons. COMPAT(Windows host names): underscores.
pub(crate) fn is_host(text: &str) -> bool {
    let name = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
    let address = |b: u8| b.is_ascii_hexdigit() || matches!(b, b':' | b'.');
    match text.strip_prefix('[') {
        Some(rest) => rest
            .strip_suffix(']')
            .is_some_and(|inner| inner.contains(':') && inner.bytes().all(address)),
        None => !text.is_empty() && text.bytes().all(name),
    }
}

const fn is_unreserved(octet: u8) -> bool {
    octet.is_ascii_alphanumeric()
        || matches!(
            octet,
            b'-' | b'_' | b'.' | b'!' | b'~' | b'*' | b'\'' | b'(' | b')'
        )
}

const fn is_user(octet: u8) -> bool {
    is_unreserved(octet) || matches!(octet, b'&' | b'=' | b'+' | b'$' | b',' | b';' | b'?' | b'/')
}

const fn is_password(octet: u8) -> bool {
    is_unreserved(octet) || matches!(octet, b'&' | b'=' | b'+' | b'$' | b',')
}

const fn is_param_name(octet: u8) -> bool {
    is_unreserved(octet) || matches!(octet, b'[' | b']' | b'/' | b':' | b'&' | b'+' | b'$')
}

/// COMPAT(Communications Server): route signatures are Base64, padded with `=`.
const fn is_param_value(octet: u8) -> bool {
    is_param_name(octet) || octet == b'='
}

const fn is_header(octet: u8) -> bool {
    is_unreserved(octet)
        || matches!(
            octet,
            b'[' | b']' | b'/' | b'?' | b':' | b'+' | b'$' | b'=' | b'&'
        )
}

/// The text, if it is not empty and holds only allowed octets and whole escapes.
fn checked(text: &str, allowed: fn(u8) -> bool, error: UriError) -> Result<String, UriError> {
    let octets = text.as_bytes();
    let legal = |(at, octet): (usize, &u8)| match *octet {
        b'%' => escape_at(octets, at).is_some(),
        octet => allowed(octet),
    };
    if text.is_empty() || !octets.iter().enumerate().all(legal) {
        return Err(error);
    }
    Ok(text.to_owned())
}

/// The octet that the escape at this place stands for.
fn escape_at(octets: &[u8], at: usize) -> Option<u8> {
    let [b'%', high, low] = octets.get(at..at + 3)? else {
        return None;
    };
    let digit = |octet: &u8| char::from(*octet).to_digit(16);
    u8::try_from(digit(high)? * 16 + digit(low)?).ok()
}

/// The name or the value of one header of a URI.
pub(crate) fn escape_header(text: &str) -> Cow<'_, str> {
    escape(text, is_unreserved)
}

/// What the name or the value of a header of a URI stands for. Octets that are not UTF-8 become U+FFFD.
pub(crate) fn unescape_header(text: &str) -> String {
    let octets = text.as_bytes();
    let mut out = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some(&octet) = octets.get(at) {
        let escaped = escape_at(octets, at);
        out.push(escaped.unwrap_or(octet));
        at += if escaped.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Percent-encodes every octet that is not allowed. A `%` is encoded too: the input is plain text.
fn escape(text: &str, allowed: fn(u8) -> bool) -> Cow<'_, str> {
    if text.bytes().all(allowed) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    for octet in text.bytes() {
        push_octet(&mut out, octet, allowed(octet));
    }
    Cow::Owned(out)
}

fn push_octet(out: &mut String, octet: u8, plain: bool) {
    if plain {
        out.push(char::from(octet));
    } else {
        out.push_str(&format!("%{octet:02X}"));
    }
}

/// Percent-encodes what would end a URI, a value or a line wherever the URI is written.
fn escape_breaking(text: &str) -> Cow<'_, str> {
    let harmless = |octet: u8| {
        !(is_control(octet) || matches!(octet, b' ' | b'\t' | b'"' | b'<' | b'>'))
            && octet.is_ascii()
    };
    if text.bytes().all(harmless) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    for octet in text.bytes() {
        push_octet(&mut out, octet, harmless(octet));
    }
    Cow::Owned(out)
}

/// The text with every escape resolved that stands for an unreserved character; others in upper case, so that texts
/// with the same meaning become equal (RFC 3261 §19.1.4: escapes of reserved characters are not equal to them).
fn decode(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return Cow::Borrowed(text);
    }
    let octets = text.as_bytes();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while let Some(&octet) = octets.get(at) {
        match escape_at(octets, at) {
            Some(escaped) => {
                push_octet(&mut out, escaped, is_unreserved(escaped));
                at += 3;
            }
            None => {
                push_octet(&mut out, octet, octet == b'%' || octet.is_ascii_graphic());
                at += 1;
            }
        }
    }
    Cow::Owned(out)
}

fn escapes_eq(left: &str, right: &str) -> bool {
    decode(left) == decode(right)
}

fn optional_eq(left: Option<&str>, right: Option<&str>, eq: fn(&str, &str) -> bool) -> bool {
    match (left, right) {
        (Some(left), Some(right)) => eq(left, right),
        (None, None) => true,
        _ => false,
    }
}

/// The same header names and values in any order (RFC 3261 §19.1.4: header components are never ignored).
fn headers_eq(left: Option<&str>, right: Option<&str>) -> bool {
    let sorted = |headers: &str| {
        let mut list: Vec<(String, String)> = headers
            .split('&')
            .map(|item| item.split_once('=').unwrap_or((item, "")))
            .map(|(name, value)| {
                (
                    decode(name).to_ascii_lowercase(),
                    decode(value).into_owned(),
                )
            })
            .collect();
        list.sort_unstable();
        list
    };
    match (left, right) {
        (Some(left), Some(right)) => sorted(left) == sorted(right),
        (None, None) => true,
        _ => false,
    }
}

/// `scheme:rest` with a legal scheme, of printable ASCII that no URI delimiter breaks.
fn is_other_uri(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once(':') else {
        return false;
    };
    scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'))
        && !rest.is_empty()
        && rest
            .bytes()
            .all(|b| b.is_ascii_graphic() && !matches!(b, b'<' | b'>' | b'"'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_within_domains() {
        let rows = [
            ("ocs.example", "ocs.example", true),
            ("Edge.OCS.example.", "ocs.example", true),
            ("edgeocs.example", "ocs.example", false),
            ("example", "ocs.example", false),
            ("ë.example", "ocs.example", false),
        ];
        for (host, domain, within) in rows {
            assert_eq!(is_within(host, domain), within, "{host} {domain}");
        }
    }

    #[test]
    fn a_uri_equals_itself_even_with_a_parameter_twice() {
        let twice = Uri::parse("sip:a@b.example;x;x=1").unwrap();
        assert!(twice.uri_eq(&twice));
        let once = Uri::parse("sip:a@b.example;x").unwrap();
        assert!(twice.uri_eq(&once) && once.uri_eq(&twice));
        let other = Uri::parse("sip:a@b.example;x=1").unwrap();
        assert!(!twice.uri_eq(&other) && !other.uri_eq(&twice));
    }
}
