//! What a peer may cost us.

use std::time::Duration;

/// Sizes and shapes; the first element over a limit ends the stream with `policy-violation`, unless it is [`Self::cut`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Octets of a stream header with everything before it.
    pub header_octets: usize,
    /// Octets of one top-level element before a domain is proved (RFC 6120 §13.12 asks for at least 10 000).
    pub octets_before_auth: usize,
    /// Octets of one top-level element afterwards. Advertised (XEP-0478).
    pub octets_after_auth: usize,
    /// Elements inside one another in one top-level element, itself included.
    pub depth: usize,
    /// Attributes of one element.
    pub attributes: usize,
    /// Attributes in one top-level element: one takes more than ten times its octets in memory.
    pub attributes_in_all: usize,
    /// Namespace declarations in scope.
    pub namespaces: usize,
    /// Elements in one top-level element.
    pub elements: usize,
    /// Domain pairs claimed and not yet verified on one stream.
    pub pending_claims: usize,
    /// Domain pairs proved on one stream.
    pub proved_pairs: usize,
    /// Claims refused or found wrong on one stream before it is closed.
    pub refused_claims: usize,
    /// On an authenticated stream, cut an element that is over a limit down to what fits instead of ending the stream: for
    /// the stream of a component, on which one sender must not cut off all others. What is far over a limit still ends it.
    pub cut: bool,
    /// SASL attempts that failed on one stream before it is closed (RFC 6120 §6.4.5 asks for 2 to 5).
    pub failed_logins: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            header_octets: 4_096,
            octets_before_auth: 10_000,
            octets_after_auth: 262_144,
            depth: 64,
            attributes: 128,
            attributes_in_all: 8_192,
            namespaces: 64,
            elements: 4_096,
            pending_claims: 10,
            proved_pairs: 100,
            refused_claims: 20,
            cut: false,
            failed_logins: 5,
        }
    }
}

/// How long a peer may take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timing {
    /// From the connection, or a restart, to the peer's stream header (and, when we dialled, its features).
    pub header: Duration,
    /// From STARTTLS to a finished TLS handshake.
    pub tls: Duration,
    /// From the connection to the first proved domain; also the life of one dialback request.
    pub authentication: Duration,
    /// From the first to the last octet of one top-level element.
    pub element: Duration,
    /// Without any element either way; afterwards the stream is closed politely.
    pub idle: Duration,
    /// Without any octet from us; afterwards one space is sent (RFC 6120 §4.6.1).
    pub keep_alive: Duration,
    /// From our closing tag to the peer's.
    pub close: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            header: Duration::from_secs(10),
            tls: Duration::from_secs(10),
            authentication: Duration::from_secs(30),
            element: Duration::from_secs(30),
            idle: Duration::from_secs(600),
            keep_alive: Duration::from_secs(60),
            close: Duration::from_secs(5),
        }
    }
}
