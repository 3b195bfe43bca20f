//! What carries SIP, and where octets come from and go to.

use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;

/// A transport protocol that SIP runs over (RFC 3261 §18). [`Transport::row`] says how they differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Transport {
    /// Datagrams, lost and repeated at will.
    Udp,
    /// A stream without protection.
    Tcp,
    /// A stream inside TLS.
    Tls,
}

/// One transport's properties.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TransportRow {
    /// The transport that the row is about.
    pub transport: Transport,
    /// It repeats lost octets by itself, so that the transaction layer need not (RFC 3261 §17).
    pub reliable: bool,
    /// It protects what it carries.
    pub secure: bool,
    /// The word in `Via` after `SIP/2.0/` (RFC 3261 §20.42).
    pub via: &'static str,
    /// The value of the URI parameter `transport` (RFC 3261 §19.1.1). TLS has none of its own.
    pub parameter: Option<&'static str>,
    /// The port where no port is written (RFC 3261 §19.1.2).
    pub default_port: u16,
    /// The SRV labels before the domain, the better first (RFC 3263 §4.1).
    pub srv_labels: &'static [&'static str],
    /// The NAPTR service field (RFC 3263 §4.1).
    pub naptr_service: &'static str,
}

/// All transports, one a row.
pub const TRANSPORTS: [TransportRow; 3] = [UDP, TCP, TLS];

const UDP: TransportRow = TransportRow {
    transport: Transport::Udp,
    reliable: false,
    secure: false,
    via: "UDP",
    parameter: Some("udp"),
    default_port: 5060,
    srv_labels: &["_sip._udp"],
    naptr_service: "SIP+D2U",
};

const TCP: TransportRow = TransportRow {
    transport: Transport::Tcp,
    reliable: true,
    secure: false,
    via: "TCP",
    parameter: Some("tcp"),
    default_port: 5060,
    srv_labels: &["_sip._tcp"],
    naptr_service: "SIP+D2T",
};

const TLS: TransportRow = TransportRow {
    transport: Transport::Tls,
    reliable: true,
    secure: true,
    via: "TLS",
    parameter: None,
    default_port: 5061,
    // COMPAT(ocs, lync): their Edges publish the federation record and often not the one of RFC 3263.
    srv_labels: &["_sips._tcp", "_sipfederationtls._tcp"],
    naptr_service: "SIPS+D2T",
};

impl Transport {
    /// This transport's properties.
    #[must_use]
    pub const fn row(self) -> &'static TransportRow {
        match self {
            Self::Udp => &UDP,
            Self::Tcp => &TCP,
            Self::Tls => &TLS,
        }
    }

    /// The transport of a `Via` word, in any case.
    #[must_use]
    pub fn from_via(word: &str) -> Option<Self> {
        TRANSPORTS
            .iter()
            .find(|row| row.via.eq_ignore_ascii_case(word))
            .map(|row| row.transport)
    }

    /// The transport of a `transport` URI parameter, in any case. `tls` is deprecated there (RFC 3261 §26.2.2) and
    /// understood, because OCS and Lync write it.
    #[must_use]
    pub fn from_parameter(value: &str) -> Option<Self> {
        if value.eq_ignore_ascii_case("tls") {
            return Some(Self::Tls);
        }
        TRANSPORTS
            .iter()
            .find(|row| row.parameter.is_some_and(|p| p.eq_ignore_ascii_case(value)))
            .map(|row| row.transport)
    }
}

/// One connection, or one datagram socket of ours. The I/O shell gives the numbers and never gives one twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FlowId(pub u64);

/// Where a message came from, as the I/O shell knows it and not as the message says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The connection or socket that it came in on.
    pub flow: FlowId,
    /// The transport of that flow.
    pub transport: Transport,
    /// The peer's address and port.
    pub remote: SocketAddr,
    /// The `dNSName`s and URIs in the subject alternative names of the peer's verified TLS certificate (RFC 5922 §7.1).
    /// Empty when there is none.
    pub certificate_names: Vec<String>,
}

/// A place to send a request to (RFC 3263 §4).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Target {
    /// The transport to use.
    pub transport: Transport,
    /// Address and port.
    pub address: SocketAddr,
    /// The SIP domain or host that the peer's certificate must name (RFC 5922 §7.3).
    pub name: String,
    /// Other names of which one in the certificate does as well: those that speak for the domain.
    pub also: Vec<String>,
}

impl Target {
    /// The names of which the peer's certificate must have one.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&self.name)
            .chain(&self.also)
            .map(String::as_str)
    }
}

/// Where the I/O shell is to send octets.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Destination {
    /// Over this connection, and nowhere else.
    Connection(FlowId),
    /// A datagram, from this socket or from any that fits.
    Datagram {
        /// The socket of ours to send from.
        socket: Option<FlowId>,
        /// The peer.
        remote: SocketAddr,
    },
    /// Over a connection to this target that the shell has, or opens now.
    Dial(Target),
}

impl Destination {
    /// How to reach a target: a datagram for UDP, else a connection.
    #[must_use]
    pub fn to_target(target: &Target) -> Self {
        if target.transport.row().reliable {
            Self::Dial(target.clone())
        } else {
            Self::Datagram {
                socket: None,
                remote: target.address,
            }
        }
    }

    /// The peer's IP address, when the destination says it.
    #[must_use]
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::Connection(_) => None,
            Self::Datagram { remote, .. } => Some(remote.ip()),
            Self::Dial(target) => Some(target.address.ip()),
        }
    }
}

/// Octets to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transmit {
    /// Where to.
    pub destination: Destination,
    /// One whole SIP message.
    pub bytes: Bytes,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_row_is_found_by_its_own_words() {
        for row in TRANSPORTS {
            assert_eq!(*row.transport.row(), row);
            assert_eq!(
                Transport::from_via(&row.via.to_lowercase()),
                Some(row.transport)
            );
            if let Some(parameter) = row.parameter {
                assert_eq!(
                    Transport::from_parameter(&parameter.to_uppercase()),
                    Some(row.transport)
                );
            }
        }
        assert_eq!(Transport::from_parameter("TLS"), Some(Transport::Tls));
        assert_eq!(Transport::from_via("SCTP"), None);
        assert_eq!(Transport::from_parameter("ws"), None);
    }
}
