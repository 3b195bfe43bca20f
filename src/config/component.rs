//! `[[xmpp.component]]`: SIP domains that an XMPP server federates for (XEP-0114).

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::path::Path;
use std::str::FromStr;

use serde::de::{Deserialize, Deserializer};

use super::Secret;
use super::keys::Table;
use super::types::{Config, SipDomain, domain_name, parsed};

/// The port that servers listen on for components.
const DEFAULT_PORT: u16 = 5347;

/// A SIP domain that is a component of an XMPP server.
#[derive(Debug, Clone)]
pub struct Component {
    /// The domain, one of the SIP domains.
    pub domain: String,
    /// The server.
    pub server: ComponentServer,
    /// What the server and we both know.
    pub secret: Secret,
    /// Encryption.
    pub tls: ComponentTls,
}

impl Config {
    /// Whether another XMPP server federates for this SIP domain.
    #[must_use]
    pub fn is_component(&self, domain: &str) -> bool {
        let mut components = self.xmpp.components.iter();
        components.any(|component| component.domain == domain)
    }
}

/// Encryption of a component's connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ComponentTls {
    /// In clear, as most servers want it.
    Off,
    /// TLS from the first octet on, with a certificate for the server's host name.
    Required,
}

/// Host and port of a server of which we are a component, or a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ComponentServer {
    /// A name, or an address without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

impl ComponentServer {
    fn address(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }

    /// Whether whoever listens between us and the server must be inside already: this machine, a private network, or
    /// a name without dots, which only a local resolver knows.
    fn is_near(&self) -> bool {
        match self.address() {
            Some(address) => is_near(address),
            None => !self.host.contains('.'),
        }
    }
}

impl fmt::Display for ComponentServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl FromStr for ComponentServer {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::parse(text, DEFAULT_PORT)
    }
}

impl ComponentServer {
    /// Reads a host with or without a port.
    pub(super) fn parse(text: &str, default_port: u16) -> Result<Self, String> {
        let wrong = || {
            format!(
                "`{text}` is not a server; write 127.0.0.1:{default_port} or xmpp.example.org:{default_port}"
            )
        };
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port))
                if !host.contains(':') || (host.starts_with('[') && host.ends_with(']')) =>
            {
                (host, port.parse().map_err(|_| wrong())?)
            }
            _ => (text, default_port),
        };
        let bracketed = host
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'));
        let is_v6 = |host: &str| host.parse::<Ipv6Addr>().is_ok();
        let host = match bracketed {
            Some(inside) if is_v6(inside) => inside.to_owned(),
            Some(_) => return Err(wrong()),
            None if host.parse::<IpAddr>().is_ok() => host.to_owned(),
            None => domain_name(host).map_err(|_| wrong())?,
        };
        Ok(Self { host, port })
    }
}

impl<'de> Deserialize<'de> for ComponentServer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        parsed(deserializer)
    }
}

/// Whether an address is this machine's or of a network that is not routed on the Internet.
#[must_use]
pub fn is_near(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            address.is_loopback() || address.is_private() || address.is_link_local()
        }
        IpAddr::V6(address) => {
            address.is_loopback() || address.is_unique_local() || address.is_unicast_link_local()
        }
    }
}

/// Reads one table of the list.
pub(super) fn component(table: &mut Table, folder: &Path) -> Option<Component> {
    let domain: Option<String> = table.required(
        "domain",
        "the SIP domain that is a component of the server, such as ocs.example.com",
    );
    let server: Option<ComponentServer> = table.required(
        "server",
        "the XMPP server's component port, such as 127.0.0.1:5347",
    );
    let secret = table.secret(("secret", "secret_file"), folder);
    let tls = table.or("tls", ComponentTls::Off);
    if secret
        .as_ref()
        .is_some_and(|secret| secret.reveal().is_empty())
    {
        table.problem(
            "secret",
            "is empty: set the one that the server's configuration names for the component",
        );
    }
    if let Some(server) = &server
        && tls == ComponentTls::Required
        && server.address().is_some()
    {
        table.problem(
            "server",
            "must be a host name where tls is \"required\": its certificate is held to it",
        );
    }
    match domain_name(&domain?) {
        Ok(domain) => Some(Component {
            domain,
            server: server?,
            secret: secret?,
            tls,
        }),
        Err(message) => {
            table.problem("domain", message);
            None
        }
    }
}

/// Each component is one of the SIP domains, and is one once.
pub(super) fn check_components(root: &mut Table, components: &[Component], domains: &[SipDomain]) {
    let mut seen = BTreeSet::new();
    for (index, component) in components.iter().enumerate() {
        let name = &component.domain;
        let path = format!("xmpp.component[{index}].domain");
        if !domains.iter().any(|domain| domain.domain == *name) {
            root.problem(&path, format!("{name} is none of the SIP domains: add a [[sip.domain]] for it, or name one that is there"));
        } else if !seen.insert(name) {
            root.problem(
                &path,
                format!("names {name} twice: a domain is a component of one server"),
            );
        }
    }
}

/// Connections that whoever sits on the way reads.
pub(super) fn findings(config: &Config) -> Vec<String> {
    let in_clear =
        |component: &&Component| component.tls == ComponentTls::Off && !component.server.is_near();
    let words = |component: &Component| {
        let Component { domain, server, .. } = component;
        format!(
            "xmpp.component {domain}: the connection to {server} is not encrypted: whoever sits on the way reads and writes \
             messages in the name of everybody. Reach the server over loopback, a private network or a tunnel, or set tls = \
             \"required\" where its component port speaks TLS"
        )
    };
    let components = config.xmpp.components.iter();
    components.filter(in_clear).map(words).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_servers() {
        let cases = [
            ("127.0.0.1:5347", Some(("127.0.0.1", 5347))),
            ("127.0.0.1", Some(("127.0.0.1", 5347))),
            ("XMPP.example.org:15347", Some(("xmpp.example.org", 15347))),
            ("prosody", Some(("prosody", 5347))),
            ("[::1]:5348", Some(("::1", 5348))),
            ("[::1]", Some(("::1", 5347))),
            ("::1", Some(("::1", 5347))),
            ("[x]:1", None),
            ("host:port", None),
            ("host:99999", None),
            ("a b:1", None),
            ("", None),
        ];
        for (text, expected) in cases {
            let found = text.parse::<ComponentServer>().ok();
            let found = found.as_ref().map(|s| (s.host.as_str(), s.port));
            assert_eq!(found, expected, "{text}");
        }
        assert_eq!(
            "::1".parse::<ComponentServer>().unwrap().to_string(),
            "[::1]:5347"
        );
    }

    #[test]
    fn knows_what_is_near() {
        let cases = [
            ("127.0.0.1", true),
            ("10.1.2.3", true),
            ("192.168.1.1", true),
            ("[fd00::1]:1", true),
            ("[::1]:1", true),
            ("prosody", true),
            ("localhost", true),
            ("192.0.2.7", false),
            ("[2001:db8::1]:1", false),
            ("xmpp.example.org", false),
        ];
        for (text, near) in cases {
            let server: ComponentServer = text.parse().unwrap();
            assert_eq!(server.is_near(), near, "{text}");
        }
    }
}
