//! What an endpoint is told and tells.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use bytes::Bytes;
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha384, Sha512};

use crate::msrp::frame::Status;
use crate::msrp::uri::MsrpUri;

/// Names one session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Channel(pub u64);

/// Names one connection that is to be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DialId(pub u64);

/// Names one message or wish of a peer that is to be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeliveryId(pub u64);

/// The digest of a certificate (RFC 8122 §5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fingerprint {
    hash: &'static str,
    octets: Vec<u8>,
}

type Digester = fn(&[u8]) -> Vec<u8>;

/// The hashes that count, the best last. MD5 and MD2 do not.
const HASHES: [(&str, Digester); 4] = [
    ("sha-1", |octets| Sha1::digest(octets).to_vec()),
    ("sha-256", |octets| Sha256::digest(octets).to_vec()),
    ("sha-384", |octets| Sha384::digest(octets).to_vec()),
    ("sha-512", |octets| Sha512::digest(octets).to_vec()),
];

impl Fingerprint {
    /// That of a certificate in DER, by each hash.
    #[must_use]
    pub fn all_of(certificate: &[u8]) -> Vec<Self> {
        let by = |(hash, digest): &(&'static str, Digester)| Self {
            hash,
            octets: digest(certificate),
        };
        HASHES.iter().map(by).collect()
    }

    /// That of a certificate in DER by SHA-256, as we show it.
    #[must_use]
    pub fn sha256(certificate: &[u8]) -> Self {
        Self {
            hash: "sha-256",
            octets: Sha256::digest(certificate).to_vec(),
        }
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.hash)?;
        for (index, octet) in self.octets.iter().enumerate() {
            let colon = if index == 0 { "" } else { ":" };
            write!(f, "{colon}{octet:02X}")?;
        }
        Ok(())
    }
}

/// A value of `a=fingerprint` that is none, or by a hash that does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no fingerprint that counts")]
pub struct FingerprintError;

impl FromStr for Fingerprint {
    type Err = FingerprintError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, value) = text.trim().split_once(' ').ok_or(FingerprintError)?;
        let row = HASHES
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name));
        let (hash, digest) = row.ok_or(FingerprintError)?;
        let pairs = value.trim().split(':');
        let octets: Result<Vec<u8>, _> = pairs
            .map(|pair| match pair.len() {
                2 => u8::from_str_radix(pair, 16).map_err(|_| FingerprintError),
                _ => Err(FingerprintError),
            })
            .collect();
        let octets = octets?;
        let fits = octets.len() == digest(&[]).len();
        fits.then_some(Self { hash, octets })
            .ok_or(FingerprintError)
    }
}

/// How a connection is protected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Security {
    /// Not at all.
    Plain,
    /// By TLS, and the peer must prove itself.
    Tls(Proof),
}

/// What proves a peer (RFC 4975 §14.4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// The certificate is one of these.
    pub fingerprints: Vec<Fingerprint>,
    /// Where there are none: it is valid for this name, by an authority that we trust.
    pub name: String,
}

/// Who opens the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// We do.
    Dials,
    /// The peer does.
    Waits,
}

/// What the session descriptions agreed on.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Our own URI, with its session id.
    pub local: MsrpUri,
    /// The path through our relay, the nearest first; empty without one.
    pub relays: Vec<MsrpUri>,
    /// The peer's path, the nearest first.
    pub remote: Vec<MsrpUri>,
    /// Who connects.
    pub role: Role,
    /// How.
    pub security: Security,
    /// The longest message that the peer takes, in octets.
    pub max_size: Option<u64>,
}

impl Plan {
    /// Where the connection leads.
    pub(super) fn next_hop(&self) -> Option<&MsrpUri> {
        self.relays.first().or_else(|| self.remote.first())
    }
}

/// Limits and timers.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Longest message that is taken, in octets.
    pub max_message: usize,
    /// Octets of one chunk of ours.
    pub chunk: usize,
    /// How long a response may take (RFC 4975 §7.1.1).
    pub response_wait: Duration,
    /// How long a connection or a session may wait for the other.
    pub bind_wait: Duration,
    /// How long the chunks of one message may take.
    pub partial_wait: Duration,
    /// Messages of one session that are put together at one time.
    pub max_partial: usize,
    /// Octets of messages that wait in one session.
    pub max_queued: usize,
    /// Messages of one session that are not answered.
    pub max_unanswered: usize,
    /// Sessions.
    pub max_channels: usize,
    /// Connections.
    pub max_connections: usize,
    /// Octets of one connection that are handed out and not written.
    pub window: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_message: 65_536,
            chunk: 2_048,
            response_wait: Duration::from_secs(30),
            bind_wait: Duration::from_secs(30),
            partial_wait: Duration::from_secs(120),
            max_partial: 8,
            max_queued: 1 << 20,
            max_unanswered: 64,
            max_channels: 20_000,
            max_connections: 20_000,
            window: 65_536,
        }
    }
}

/// Which responses the sender of a message wants (RFC 4975 §7.1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FailureReport {
    /// All of them.
    #[default]
    Yes,
    /// Those that tell of a failure.
    Partial,
    /// None.
    No,
}

/// A message to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// `Message-ID`: an `ident`, unique in its session.
    pub id: String,
    /// `Content-Type`.
    pub content_type: String,
    /// The content.
    pub body: Bytes,
    /// A success report is wanted.
    pub success_report: bool,
    /// Which responses are wanted.
    pub failure_report: FailureReport,
    /// What its first transaction id should be, where it is legal.
    pub hint: Option<String>,
}

/// A message of the peer's, complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// `Message-ID`.
    pub message_id: String,
    /// `Content-Type`.
    pub content_type: Option<String>,
    /// The content.
    pub body: Bytes,
    /// Its sender wants a success report.
    pub success_report: bool,
    /// Which responses its sender wants.
    pub failure_report: FailureReport,
}

/// Why something was not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The peer has refused it.
    Refused(Status),
    /// No response in time, or no connection.
    Timeout,
    /// The connection broke; it may have been taken.
    Lost,
    /// It was never sent.
    NotSent,
    /// The peer takes no message of that length.
    TooLarge,
    /// A limit of ours.
    Overloaded,
    /// The session is over.
    Closed,
}

/// What an endpoint tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A connection carries the session.
    Up(Channel),
    /// A message is complete. The response to its last chunk waits for [`super::Endpoint::answer`].
    Received {
        /// Where.
        channel: Channel,
        /// For the answer.
        delivery: DeliveryId,
        /// What.
        message: Received,
    },
    /// It cannot be answered any more.
    Abandoned {
        /// Which.
        delivery: DeliveryId,
    },
    /// The fate of a message: exactly one for each that was sent.
    Sent {
        /// Where.
        channel: Channel,
        /// Which.
        message_id: String,
        /// All its chunks were taken, or why not.
        outcome: Result<(), Fault>,
    },
    /// What the peer says of a message of ours later (RFC 4975 §7.1.2).
    Report {
        /// Where.
        channel: Channel,
        /// Which.
        message_id: String,
        /// 200: all of it has arrived.
        status: Status,
    },
    /// The peer asks for a nickname.
    Nickname {
        /// Where.
        channel: Channel,
        /// For the answer.
        delivery: DeliveryId,
        /// Which one.
        nickname: String,
    },
    /// The fate of our own wish for a nickname.
    NicknameSettled {
        /// Where.
        channel: Channel,
        /// Granted, or why not.
        outcome: Result<(), Fault>,
    },
    /// The session is over: it never got a connection, or has lost it. It is still to be closed.
    Down {
        /// Which.
        channel: Channel,
        /// Why.
        fault: Fault,
    },
}

impl Event {
    /// The session that it is about.
    #[must_use]
    pub const fn channel(&self) -> Option<Channel> {
        match self {
            Self::Up(channel)
            | Self::Received { channel, .. }
            | Self::Sent { channel, .. }
            | Self::Report { channel, .. }
            | Self::Nickname { channel, .. }
            | Self::NicknameSettled { channel, .. }
            | Self::Down { channel, .. } => Some(*channel),
            Self::Abandoned { .. } => None,
        }
    }
}

/// A connection to open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dial {
    /// For the answer.
    pub id: DialId,
    /// Where to.
    pub target: MsrpUri,
    /// How.
    pub security: Security,
}

/// What an endpoint holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Sessions.
    pub channels: usize,
    /// Connections.
    pub connections: usize,
    /// Connections that are being opened.
    pub dialling: usize,
    /// Messages that are not answered.
    pub deliveries: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints_are_read_as_they_are_written() {
        for print in Fingerprint::all_of(b"certificate") {
            assert_eq!(print.to_string().parse(), Ok(print.clone()));
            assert_eq!(print.to_string().to_lowercase().parse(), Ok(print));
        }
        for bad in [
            "",
            "sha-256",
            "md5 00:11",
            "sha-1 00:11",
            "sha-256 zz",
            "sha-1 +1",
        ] {
            assert!(bad.parse::<Fingerprint>().is_err(), "{bad}");
        }
    }
}
