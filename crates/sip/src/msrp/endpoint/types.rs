//! What goes into and comes out of an [`super::Endpoint`].

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use sha1::Sha1;
use sha2::{Digest as _, Sha256, Sha384, Sha512};

use crate::digest::Credential;
use crate::msrp::frame::{FailureReport, Headers, Status};
use crate::msrp::framer::Limits;
use crate::msrp::uri::MsrpUri;

/// One MSRP session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Channel(pub u64);

/// One attempt to connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DialId(pub u64);

/// A message or a nickname of the peer that waits for [`super::Endpoint::answer`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeliveryId(pub u64);

/// A relay that we are known to (RFC 4976).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RelayId(pub u64);

/// How a connection is protected.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Security {
    /// TCP.
    Plain,
    /// TLS, with what the peer's certificate must be.
    Tls(Proof),
}

impl Security {
    /// TLS of whatever proof.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        matches!(self, Self::Tls(_))
    }
}

/// What the peer's certificate must be: any of these, or, if there are none, one for this name from an authority that we
/// trust (RFC 4975 §14.4).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Proof {
    /// The certificates that the signalling named.
    pub fingerprints: Vec<Fingerprint>,
    /// The host name to ask for, and to find in the certificate when there are no fingerprints.
    pub name: String,
}

/// Hash functions of fingerprints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum HashFunction {
    /// `sha-1`
    Sha1,
    /// `sha-256`
    Sha256,
    /// `sha-384`
    Sha384,
    /// `sha-512`
    Sha512,
}

/// Every function with its name and the octets of its value.
const HASHES: [(HashFunction, &str, usize); 4] = [
    (HashFunction::Sha1, "sha-1", 20),
    (HashFunction::Sha256, "sha-256", 32),
    (HashFunction::Sha384, "sha-384", 48),
    (HashFunction::Sha512, "sha-512", 64),
];

/// The hash of a certificate, as session descriptions write it: `sha-256 AB:CD:…` (RFC 8122 §5).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fingerprint {
    /// The hash function.
    pub hash: HashFunction,
    /// Its value.
    pub octets: Vec<u8>,
}

impl Fingerprint {
    /// That of a certificate in DER, by each hash.
    #[must_use]
    pub fn all_of(certificate: &[u8]) -> Vec<Self> {
        let values = [
            (HashFunction::Sha1, Sha1::digest(certificate).to_vec()),
            (HashFunction::Sha256, Sha256::digest(certificate).to_vec()),
            (HashFunction::Sha384, Sha384::digest(certificate).to_vec()),
            (HashFunction::Sha512, Sha512::digest(certificate).to_vec()),
        ];
        let print = |(hash, octets)| Self { hash, octets };
        values.into_iter().map(print).collect()
    }

    /// That of a certificate in DER by SHA-256, as we show it.
    #[must_use]
    pub fn sha256(certificate: &[u8]) -> Self {
        Self {
            hash: HashFunction::Sha256,
            octets: Sha256::digest(certificate).to_vec(),
        }
    }

    /// Reads the value of `a=fingerprint`. `None` when it is malformed, or of a hash that we do not know.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (name, value) = text.trim().split_once(' ')?;
        let (hash, _, length) = HASHES
            .into_iter()
            .find(|(_, known, _)| known.eq_ignore_ascii_case(name))?;
        let octet = |pair: &str| match pair.len() {
            2 if pair.bytes().all(|b| b.is_ascii_hexdigit()) => u8::from_str_radix(pair, 16).ok(),
            _ => None,
        };
        let octets: Vec<u8> = value.trim().split(':').map(octet).collect::<Option<_>>()?;
        (octets.len() == length).then_some(Self { hash, octets })
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = HASHES
            .iter()
            .find(|(hash, ..)| *hash == self.hash)
            .map_or("", |(_, name, _)| name);
        write!(f, "{name} ")?;
        for (index, octet) in self.octets.iter().enumerate() {
            let colon = if index == 0 { "" } else { ":" };
            write!(f, "{colon}{octet:02X}")?;
        }
        Ok(())
    }
}

/// Who connects (`a=setup`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// We do: `active`.
    Dials,
    /// The peer does: `passive`.
    Waits,
}

/// What the session descriptions agreed on.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Our URI.
    pub local: MsrpUri,
    /// The `Use-Path` of our relay, in its order; empty without.
    pub relays: Vec<MsrpUri>,
    /// The peer's `a=path`, in its order.
    pub remote: Vec<MsrpUri>,
    /// Who connects.
    pub role: Role,
    /// How the connection of this session is protected; with a relay, ours to it.
    pub security: Security,
    /// The peer's `a=max-size`: octets of one message.
    pub max_size: Option<u64>,
}

impl Plan {
    /// The way to the peer: our relays from the inside out, then its path.
    #[must_use]
    pub fn way(&self) -> Vec<MsrpUri> {
        self.relays
            .iter()
            .rev()
            .chain(&self.remote)
            .cloned()
            .collect()
    }
}

/// The way to us through a relay (RFC 4976 §5.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relayed {
    /// The relay's `Use-Path`, in its order: peers come to the first. Never empty.
    pub path: Vec<MsrpUri>,
    /// How our own connection to the relay is protected.
    pub security: Security,
}

impl Relayed {
    /// Peers come to it over TLS.
    #[must_use]
    pub fn is_secure(&self) -> bool {
        self.path.first().is_some_and(|first| first.secure)
    }
}

/// User name and password at a relay. An empty realm is whatever the relay calls its own.
pub type Credentials = Credential;

/// Limits and patience. All times on the monotonic clock.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Octets of a message that we take.
    pub max_message: u64,
    /// Octets of the body of a chunk that we send.
    pub chunk: usize,
    /// Limits of frames.
    pub frames: Limits,
    /// How long a request waits for its response (RFC 4975 §7.1.1).
    pub transaction_wait: Duration,
    /// How long [`super::Endpoint::answer`] may take before the peer is told 200 all the same. Shorter than the peer's
    /// wait for the response.
    pub answer_wait: Duration,
    /// How long a session waits for its connection, and an accepted connection for a session.
    pub bind_wait: Duration,
    /// How long a message may take from its first chunk to its last.
    pub assembly_wait: Duration,
    /// Sessions.
    pub channels: usize,
    /// Accepted connections without session.
    pub unbound: usize,
    /// Messages of one session that are being put together.
    pub assemblies: usize,
    /// Octets of all messages that are being put together.
    pub assembly_octets: u64,
    /// Messages and nicknames of one session that wait for their answer, those that are being put together among them.
    /// The next is answered 413.
    pub deliveries: usize,
    /// Octets of the messages of one session that wait to be sent.
    pub channel_queue: usize,
    /// Octets of all messages that wait to be sent.
    pub total_queue: usize,
    /// Octets of a connection that are handed to the shell and not written.
    pub window: usize,
    /// Octets of responses and reports of one connection that wait for the window. A peer that does not read them loses
    /// its connection.
    pub control_queue: usize,
    /// Messages of one session whose reports are still known.
    pub reports: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_message: 1024 * 1024,
            chunk: 2048,
            frames: Limits::default(),
            transaction_wait: Duration::from_secs(30),
            answer_wait: Duration::from_secs(25),
            bind_wait: Duration::from_secs(30),
            assembly_wait: Duration::from_secs(300),
            channels: 10_000,
            unbound: 8_000,
            assemblies: 8,
            assembly_octets: 64 * 1024 * 1024,
            deliveries: 32,
            channel_queue: 4 * 1024 * 1024,
            total_queue: 64 * 1024 * 1024,
            window: 64 * 1024,
            control_queue: 256 * 1024,
            reports: 64,
        }
    }
}

/// A message to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// `Message-ID`. One that is no `ident` is replaced on the wire; events name it as it is here.
    pub id: String,
    /// `Content-Type`.
    pub content_type: String,
    /// The body.
    pub body: Bytes,
    /// Ask for a success report.
    pub success_report: bool,
    /// Which failures to hear of.
    pub failure_report: FailureReport,
    /// A wish for the transaction id of the first chunk.
    pub hint: Option<String>,
}

/// A message that is complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// `Message-ID`.
    pub message_id: String,
    /// `Content-Type`.
    pub content_type: Option<String>,
    /// The headers of the chunk that came first, paths aside.
    pub headers: Headers,
    /// The body.
    pub body: Bytes,
    /// It asks for [`super::Endpoint::report`] when it is delivered.
    pub success_report: bool,
    /// Which failures its sender wants to hear of.
    pub failure_report: FailureReport,
}

/// Why something did not work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The peer said no.
    Refused(Status),
    /// No response in time, or no connection in time.
    Timeout,
    /// The connection went with the fate unknown.
    Lost,
    /// It never left: safe to send another way. Of a session: it could not be connected.
    NotSent,
    /// Over the peer's `max-size`.
    TooLarge,
    /// Our own queues are full.
    Overloaded,
    /// There is no such session any more.
    Closed,
}

/// What happened. Nothing comes for a session after its `Down` or its [`super::Endpoint::close`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A connection is bound to it: messages may flow.
    Up(Channel),
    /// A message is complete. Its last response waits for [`super::Endpoint::answer`].
    Received {
        /// Where.
        channel: Channel,
        /// To answer it.
        delivery: DeliveryId,
        /// The message.
        message: Received,
    },
    /// It cannot be answered any more.
    Abandoned {
        /// What.
        delivery: DeliveryId,
    },
    /// What became of a message of ours: exactly one for each [`super::Endpoint::send`].
    Sent {
        /// Where.
        channel: Channel,
        /// Which.
        message_id: String,
        /// Whether each chunk was accepted; with `Failure-Report: no`, written.
        outcome: Result<(), Fault>,
    },
    /// A REPORT about a message of ours. Success only when all of it is covered.
    Report {
        /// Where.
        channel: Channel,
        /// Which.
        message_id: String,
        /// What it says.
        status: Status,
    },
    /// The peer asks for a nickname (RFC 7701 §7.1).
    Nickname {
        /// Where.
        channel: Channel,
        /// To answer it.
        delivery: DeliveryId,
        /// Empty to give it back.
        nickname: String,
    },
    /// The answer to our own NICKNAME.
    NicknameSettled {
        /// Where.
        channel: Channel,
        /// Whether it is ours.
        outcome: Result<(), Fault>,
    },
    /// Somebody wanted to bind a connection to it whose certificate is not the one that the signalling named: refused
    /// (RFC 4975 §14.4). It waits on.
    Impostor {
        /// Which.
        channel: Channel,
    },
    /// Never bound in time, refused, or its connection is gone. `Sent` for what was under way came first.
    Down {
        /// Which; it is closed.
        channel: Channel,
        /// Why.
        fault: Fault,
    },
    /// A relay gave us a path, or another one, or none any more. After an error it is forgotten.
    Relay {
        /// Which.
        id: RelayId,
        /// Its `Use-Path`.
        outcome: Result<Vec<MsrpUri>, Fault>,
    },
}

/// A connection to open: answer with [`super::Endpoint::dialled`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dial {
    /// Which.
    pub id: DialId,
    /// Host and port are what counts.
    pub target: MsrpUri,
    /// How to protect it, and what to find.
    pub security: Security,
}

/// How much there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Sessions.
    pub channels: usize,
    /// Sessions with a connection.
    pub bound: usize,
    /// Connections.
    pub connections: usize,
    /// Messages and nicknames of peers that wait for their answer.
    pub deliveries: usize,
    /// Messages that are being put together.
    pub assemblies: usize,
    /// Octets of messages that wait to be sent.
    pub queued: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints() {
        let text = format!("sha-256 {}", ["AB"; 32].join(":"));
        assert_eq!(Fingerprint::parse(&text).unwrap().to_string(), text);
        assert_eq!(
            Fingerprint::parse(&text.to_lowercase()),
            Fingerprint::parse(&text)
        );
        for text in ["sha-256 AB:CD", "md5 AB", "sha-1", "sha-256 +A:B"] {
            assert_eq!(Fingerprint::parse(text), None, "{text}");
        }
    }
}
