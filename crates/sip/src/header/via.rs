//! `Via` (RFC 3261 §20.42, RFC 3581).

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use super::{HeaderError, HeaderValue, Params};
use crate::grammar::{is_token, one_line, trim};
use crate::uri::{bare_host, read_port, split_host};

/// How every branch of RFC 3261 starts (§8.1.1.7).
pub const MAGIC_COOKIE: &str = "z9hG4bK";

/// One `Via` value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Via {
    /// Transport as written: `UDP`, `TCP`, `TLS`, or anything else.
    pub transport: String,
    /// Host of sent-by; IPv6 in brackets.
    pub host: String,
    /// Port of sent-by, if one is written.
    pub port: Option<u16>,
    /// `branch`, `received`, `rport`, and what peers add.
    pub params: Params,
}

impl Via {
    /// The branch, if there is one.
    #[must_use]
    pub fn branch(&self) -> Option<&str> {
        self.params.get("branch")
    }

    /// The branch, if it follows RFC 3261: the magic cookie and something behind it. Requests without one are matched
    /// by RFC 2543 rules (RFC 3261 §17.2.3).
    #[must_use]
    pub fn rfc3261_branch(&self) -> Option<&str> {
        let branch = self.branch()?;
        let (cookie, rest) = branch.split_at_checked(MAGIC_COOKIE.len())?;
        (cookie.eq_ignore_ascii_case(MAGIC_COOKIE) && !rest.is_empty()).then_some(branch)
    }

    /// Where the request came from, as an element behind it saw it. With or without brackets (RFC 5118 §4.5).
    #[must_use]
    pub fn received(&self) -> Option<IpAddr> {
        bare_host(self.params.get("received")?).parse().ok()
    }

    /// The source port, as an element behind it saw it (RFC 3581).
    #[must_use]
    pub fn rport(&self) -> Option<u16> {
        read_port(self.params.get("rport")?)
    }

    /// Writes down where the request really came from, over whatever it claimed (RFC 3261 §18.2.1, RFC 3581 §4):
    /// `received` where sent-by is another address or `rport` is asked for, `rport` where it is asked for.
    pub fn set_source(&mut self, source: SocketAddr) {
        let wants_port = self.params.contains("rport");
        let honest = bare_host(&self.host).parse::<IpAddr>() == Ok(source.ip());
        if honest && !wants_port {
            self.params.remove("received");
        } else {
            self.params.set("received", source.ip().to_string());
        }
        if wants_port {
            self.params.set("rport", source.port().to_string());
        }
    }
}

impl HeaderValue for Via {
    /// White space may stand around every slash and colon (RFC 3261 §25.1).
    fn parse(text: &str) -> Result<Self, HeaderError> {
        let mut parts = text.splitn(3, '/').map(trim);
        let (Some(protocol), Some(version), Some(rest)) =
            (parts.next(), parts.next(), parts.next())
        else {
            return Err(HeaderError::Via);
        };
        if !protocol.eq_ignore_ascii_case("SIP") || version != "2.0" {
            return Err(HeaderError::Via);
        }
        let (transport, rest) = rest.split_once([' ', '\t']).ok_or(HeaderError::Via)?;
        let (sent_by, tail) = rest
            .split_at_checked(rest.find(';').unwrap_or(rest.len()))
            .ok_or(HeaderError::Via)?;
        let spaceless: String = sent_by
            .chars()
            .filter(|c| !matches!(c, ' ' | '\t'))
            .collect();
        if !is_token(transport) || !spaces_only_at_colon(sent_by) {
            return Err(HeaderError::Via);
        }
        let (host, port) = split_host(&spaceless).ok_or(HeaderError::Via)?;
        let port = match port {
            Some(port) => Some(read_port(port).ok_or(HeaderError::Via)?),
            None => None,
        };
        Ok(Self {
            transport: transport.to_owned(),
            host: host.to_owned(),
            port,
            params: Params::parse_tail(tail)?,
        })
    }
}

/// White space in sent-by may only stand at its ends and around the colon before the port.
fn spaces_only_at_colon(sent_by: &str) -> bool {
    let inner = |text: &str| trim(text).contains([' ', '\t']);
    match sent_by.rsplit_once(':') {
        Some((host, port)) => !inner(host) && !inner(port),
        None => !inner(sent_by),
    }
}

impl fmt::Display for Via {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "SIP/2.0/{} {}",
            one_line(&self.transport),
            one_line(&self.host)
        )?;
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        self.params.fmt(f)
    }
}
