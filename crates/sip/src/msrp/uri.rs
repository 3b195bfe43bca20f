//! `msrp` and `msrps` URIs, and paths of them (RFC 4975 §6).

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use thiserror::Error;

use crate::grammar::is_token;
use crate::uri::{bare_host, read_port, split_host};

/// The port of the `msrp` scheme for a relay whose URI writes none (RFC 4976 §4.1).
pub const DEFAULT_PORT: u16 = 2855;

/// URIs of one path at most.
pub const PATH_LIMIT: usize = 16;

/// Parameters of one URI at most, `transport` not counted.
const PARAM_LIMIT: usize = 16;

/// Why a text is no MSRP URI. Whoever wrote it is at fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
pub enum MsrpUriError {
    /// Neither `msrp://` nor `msrps://`.
    #[error("not an MSRP URI")]
    Scheme,
    /// A user part with characters that must be escaped.
    #[error("malformed user part")]
    User,
    /// No host, or a malformed one.
    #[error("malformed host")]
    Host,
    /// A port that is no number from 1 to 65535.
    #[error("malformed port")]
    Port,
    /// An empty session id, or one with characters that it must not have.
    #[error("malformed session id")]
    Session,
    /// No transport, or a malformed one.
    #[error("missing or malformed transport")]
    Transport,
    /// A malformed parameter, or too many of them.
    #[error("malformed URI parameter")]
    Param,
    /// No URI in a path, or too many.
    #[error("a path of no URIs or of too many")]
    Path,
}

/// One URI. All parts are as on the wire, so that printing gives what was read, but for the scheme (in lower case) and
/// zeros before a port. `==` compares octets; [`MsrpUri::is_same`] compares as RFC 4975 §6.1 says.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MsrpUri {
    /// `msrps`: over TLS.
    pub secure: bool,
    /// The user part.
    pub user: Option<String>,
    /// Host name or address; IPv6 in brackets.
    pub host: String,
    /// The port, if one is written.
    pub port: Option<u16>,
    /// What tells the sessions of one host apart. `None` for the URI of a relay as such.
    pub session: Option<String>,
    /// Mostly `tcp`, for TLS too.
    pub transport: String,
    /// The parameters after the transport, in order.
    pub params: Vec<(String, Option<String>)>,
}

impl MsrpUri {
    /// The URI of one of our sessions, over TCP or over TLS.
    #[must_use]
    pub fn new(secure: bool, host: &str, port: u16, session: &str) -> Self {
        let bare_address = host.parse::<Ipv6Addr>().is_ok();
        Self {
            secure,
            user: None,
            host: if bare_address {
                format!("[{host}]")
            } else {
                host.to_owned()
            },
            port: Some(port),
            session: Some(session.to_owned()),
            transport: "tcp".to_owned(),
            params: Vec::new(),
        }
    }

    /// Reads a URI that stands alone.
    ///
    /// # Errors
    /// What is malformed.
    pub fn parse(text: &str) -> Result<Self, MsrpUriError> {
        let (scheme, rest) = text.split_once("://").ok_or(MsrpUriError::Scheme)?;
        let secure = scheme.eq_ignore_ascii_case("msrps");
        if !secure && !scheme.eq_ignore_ascii_case("msrp") {
            return Err(MsrpUriError::Scheme);
        }
        let (address, params) = rest.split_once(';').ok_or(MsrpUriError::Transport)?;
        let (authority, session) = match address.split_once('/') {
            Some((authority, session)) => (authority, Some(read_session(session)?)),
            None => (address, None),
        };
        let (user, host_port) = match authority.rsplit_once('@') {
            Some((user, rest)) => (Some(read_user(user)?), rest),
            None => (None, authority),
        };
        let (host, port) = read_host(host_port)?;
        let (transport, params) = read_params(params)?;
        Ok(Self {
            secure,
            user,
            host,
            port,
            session,
            transport,
            params,
        })
    }

    /// The host without the brackets of an IPv6 address.
    #[must_use]
    pub fn bare_host(&self) -> &str {
        bare_host(&self.host)
    }

    /// The port to connect to.
    #[must_use]
    pub fn effective_port(&self) -> u16 {
        self.port.unwrap_or(DEFAULT_PORT)
    }

    /// The rules of RFC 4975 §6.1: user parts and parameters do not count, the session id counts to the octet, a written
    /// port never equals one that is not written.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.secure == other.secure
            && self.port == other.port
            && self.session == other.session
            && self.transport.eq_ignore_ascii_case(&other.transport)
            && same_host(&self.host, &other.host)
    }
}

impl fmt::Display for MsrpUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.secure { "msrps://" } else { "msrp://" })?;
        if let Some(user) = &self.user {
            write!(f, "{user}@")?;
        }
        f.write_str(&self.host)?;
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        if let Some(session) = &self.session {
            write!(f, "/{session}")?;
        }
        write!(f, ";{}", self.transport)?;
        for (name, value) in &self.params {
            write!(f, ";{name}")?;
            if let Some(value) = value {
                write!(f, "={value}")?;
            }
        }
        Ok(())
    }
}

/// Reads a path: URIs with white space between them, at least one.
///
/// # Errors
/// The first URI that is malformed, or a path of none or of more than [`PATH_LIMIT`].
pub fn parse_path(text: &str) -> Result<Vec<MsrpUri>, MsrpUriError> {
    let path = text
        .split([' ', '\t'])
        .filter(|uri| !uri.is_empty())
        .take(PATH_LIMIT + 1)
        .map(MsrpUri::parse)
        .collect::<Result<Vec<_>, _>>()?;
    if path.is_empty() || path.len() > PATH_LIMIT {
        return Err(MsrpUriError::Path);
    }
    Ok(path)
}

/// Writes a path as [`parse_path`] reads it.
#[must_use]
pub fn print_path(path: &[MsrpUri]) -> String {
    let uris: Vec<String> = path.iter().map(MsrpUri::to_string).collect();
    uris.join(" ")
}

/// Two paths of the same URIs, by RFC 4975 §6.1.
#[must_use]
pub fn same_path(ours: &[MsrpUri], theirs: &[MsrpUri]) -> bool {
    ours.len() == theirs.len() && ours.iter().zip(theirs).all(|(a, b)| a.is_same(b))
}

fn read_user(text: &str) -> Result<String, MsrpUriError> {
    let legal = |c: char| c.is_ascii_alphanumeric() || "-_.!~*'()%;:&=+$,".contains(c);
    checked(text, legal).ok_or(MsrpUriError::User)
}

fn read_session(text: &str) -> Result<String, MsrpUriError> {
    // `%` is no octet of the grammar; real peers write it, and nothing is gained by refusing it.
    let legal = |c: char| c.is_ascii_alphanumeric() || "-._~+=/%!*'()".contains(c);
    checked(text, legal).ok_or(MsrpUriError::Session)
}

fn checked(text: &str, legal: impl Fn(char) -> bool) -> Option<String> {
    (!text.is_empty() && text.chars().all(legal)).then(|| text.to_owned())
}

fn read_host(text: &str) -> Result<(String, Option<u16>), MsrpUriError> {
    let (host, port) = split_host(text).ok_or(MsrpUriError::Host)?;
    let port = port.map(|port| read_port(port).filter(|port| *port != 0));
    match port {
        Some(None) => Err(MsrpUriError::Port),
        Some(Some(port)) => Ok((host.to_owned(), Some(port))),
        None => Ok((host.to_owned(), None)),
    }
}

type Params = Vec<(String, Option<String>)>;

fn read_params(text: &str) -> Result<(String, Params), MsrpUriError> {
    let mut items = text.split(';');
    let alphanumeric = |c: char| c.is_ascii_alphanumeric();
    let transport = items
        .next()
        .and_then(|word| checked(word, alphanumeric))
        .ok_or(MsrpUriError::Transport)?;
    let mut params = Vec::new();
    for item in items {
        let (name, value) = match item.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (item, None),
        };
        let legal = is_token(name) && value.is_none_or(is_token);
        if !legal || params.len() >= PARAM_LIMIT {
            return Err(MsrpUriError::Param);
        }
        params.push((name.to_owned(), value.map(str::to_owned)));
    }
    Ok((transport, params))
}

fn same_host(ours: &str, theirs: &str) -> bool {
    let addresses = (
        bare_host(ours).parse::<IpAddr>(),
        bare_host(theirs).parse::<IpAddr>(),
    );
    match addresses {
        (Ok(ours), Ok(theirs)) => ours == theirs,
        _ => ours.eq_ignore_ascii_case(theirs),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uris_come_back_as_they_were() {
        for text in [
            "msrp://alicepc.example.com:7777/iau39soe2843z;tcp",
            "msrps://a@relay.example.com:9000/jui787s2f;tcp",
            "msrp://[2001:db8::1]:2855/s.9+=/x;tcp;line=7;flag",
            "msrp://relay.example.org;tcp",
        ] {
            assert_eq!(MsrpUri::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(
            MsrpUri::new(false, "2001:db8::1", 7, "abcd").to_string(),
            "msrp://[2001:db8::1]:7/abcd;tcp"
        );
    }

    #[test]
    fn what_is_no_uri() {
        use MsrpUriError as E;
        for (text, error) in [
            ("sip:a@b;tcp", E::Scheme),
            ("http://a/b;tcp", E::Scheme),
            ("msrp://a:1/s", E::Transport),
            ("msrp://a:1/s;", E::Transport),
            ("msrp://a:1/s;t-p", E::Transport),
            ("msrp://a:1/;tcp", E::Session),
            ("msrp://a:1/a b;tcp", E::Session),
            ("msrp://:1/s;tcp", E::Host),
            ("msrp://[::1:1/s;tcp", E::Host),
            ("msrp://[::1]x/s;tcp", E::Host),
            ("msrp://a:0/s;tcp", E::Port),
            ("msrp://a:65536/s;tcp", E::Port),
            ("msrp://a:/s;tcp", E::Port),
            ("msrp://@a:1/s;tcp", E::User),
            ("msrp://a:1/s;tcp;", E::Param),
            ("msrp://a:1/s;tcp;=x", E::Param),
        ] {
            assert_eq!(MsrpUri::parse(text), Err(error), "{text}");
        }
    }

    #[test]
    fn sameness_is_that_of_the_standard() {
        let base = "msrp://host.example.com:8493/asfd34;tcp";
        for (other, same) in [
            ("MSRP://HOST.example.com:8493/asfd34;TCP", true),
            ("msrp://user@host.example.com:8493/asfd34;tcp", true),
            ("msrp://host.example.com:8493/asfd34;tcp;x=y", true),
            ("msrps://host.example.com:8493/asfd34;tcp", false),
            ("msrp://host.example.com/asfd34;tcp", false),
            ("msrp://host.example.com:8494/asfd34;tcp", false),
            ("msrp://host.example.com:8493/ASFD34;tcp", false),
            ("msrp://host.example.com:8493;tcp", false),
            ("msrp://host.example.com:8493/asfd34;sctp", false),
        ] {
            let (base, other) = (
                MsrpUri::parse(base).unwrap(),
                MsrpUri::parse(other).unwrap(),
            );
            assert_eq!(base.is_same(&other), same, "{other}");
        }
        let v6 = |host: &str| MsrpUri::parse(&format!("msrp://[{host}]:1/abcd;tcp")).unwrap();
        assert!(v6("2001:DB8:0::1").is_same(&v6("2001:db8::1")));
    }

    #[test]
    fn paths() {
        let text = "msrp://a:1/s;tcp msrps://b:2/t;tcp";
        let path = parse_path(text).unwrap();
        assert_eq!(print_path(&path), text);
        assert!(same_path(&path, &path));
        assert!(!same_path(&path, path.get(..1).unwrap()));
        assert_eq!(parse_path(" "), Err(MsrpUriError::Path));
        assert_eq!(
            parse_path(&"msrp://a:1/s;tcp ".repeat(17)),
            Err(MsrpUriError::Path)
        );
    }
}
