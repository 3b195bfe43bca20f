//! Stream errors and why streams end.

use minidom::Element;
use thiserror::Error;

use super::{ns, write::Markup};

/// Longest text of a peer that is kept, in characters.
const PEER_TEXT: usize = 200;

macro_rules! conditions {
    ($($variant:ident = $name:literal),+ $(,)?) => {
        /// The stream error conditions of RFC 6120 §4.9.3.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[allow(missing_docs, reason = "the names are the documentation, as in the RFC")]
        pub enum StreamCondition { $($variant),+ }

        impl StreamCondition {
            /// All conditions.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The element name.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }
        }
    };
}

conditions! {
    BadFormat = "bad-format",
    BadNamespacePrefix = "bad-namespace-prefix",
    Conflict = "conflict",
    ConnectionTimeout = "connection-timeout",
    HostGone = "host-gone",
    HostUnknown = "host-unknown",
    ImproperAddressing = "improper-addressing",
    InternalServerError = "internal-server-error",
    InvalidFrom = "invalid-from",
    InvalidNamespace = "invalid-namespace",
    InvalidXml = "invalid-xml",
    NotAuthorized = "not-authorized",
    NotWellFormed = "not-well-formed",
    PolicyViolation = "policy-violation",
    RemoteConnectionFailed = "remote-connection-failed",
    Reset = "reset",
    ResourceConstraint = "resource-constraint",
    RestrictedXml = "restricted-xml",
    SeeOtherHost = "see-other-host",
    SystemShutdown = "system-shutdown",
    UndefinedCondition = "undefined-condition",
    UnsupportedEncoding = "unsupported-encoding",
    UnsupportedFeature = "unsupported-feature",
    UnsupportedStanzaType = "unsupported-stanza-type",
    UnsupportedVersion = "unsupported-version",
}

/// A stream error, ours or the peer's (RFC 6120 §4.9).
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{}{}{}", .condition.name(), if .text.is_empty() { "" } else { ": " }, .text)]
pub struct StreamError {
    /// What happened.
    pub condition: StreamCondition,
    /// Words for people; empty when nothing was said. A peer's words are cleaned of control characters and cut.
    pub text: String,
}

impl StreamError {
    /// An error of ours.
    #[must_use]
    pub fn new(condition: StreamCondition, text: impl Into<String>) -> Self {
        Self {
            condition,
            text: text.into(),
        }
    }

    /// Reads a peer's `<stream:error/>`. Unknown conditions become `undefined-condition` (RFC 6120 §4.9.3.21).
    #[must_use]
    pub fn from_element(element: &Element) -> Self {
        let of_streams = || {
            element
                .children()
                .filter(|child| child.has_ns(ns::STREAM_ERRORS))
        };
        let condition = of_streams()
            .find_map(|child| {
                StreamCondition::ALL
                    .iter()
                    .find(|condition| condition.name() == child.name())
            })
            .copied()
            .unwrap_or(StreamCondition::UndefinedCondition);
        let text = of_streams()
            .find(|child| child.name() == "text")
            .map_or_else(String::new, Element::text);
        Self {
            condition,
            text: peer_text(&text),
        }
    }

    /// The element as we write it (RFC 6120 §4.9.2), without the closing tag of the stream.
    #[must_use]
    pub fn to_wire(&self) -> String {
        let mut out = Markup::new();
        out.open("stream:error")
            .open(self.condition.name())
            .attribute("xmlns", ns::STREAM_ERRORS)
            .close();
        if !self.text.is_empty() {
            out.open("text")
                .attribute("xmlns", ns::STREAM_ERRORS)
                .attribute("xml:lang", "en")
                .text(&self.text)
                .close();
        }
        out.close();
        out.finish()
    }
}

/// The step of a stream that took too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
pub enum Step {
    /// The peer's stream header, or the features that follow it.
    #[error("stream header")]
    Header,
    /// The TLS handshake.
    #[error("TLS handshake")]
    Tls,
    /// Proof of the first domain.
    #[error("authentication")]
    Authentication,
    /// The rest of an element that the peer had begun.
    #[error("rest of an element")]
    Element,
    /// Any sign of life (XEP-0114 has none of its own: a component pings itself through its server).
    #[error("sign of life")]
    Life,
}

/// Why a stream ended.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CloseReason {
    /// The peer closed it in order.
    #[error("closed by the peer")]
    PeerClosed,
    /// The connection broke without a closing tag.
    #[error("connection lost")]
    ConnectionLost,
    /// The peer sent a stream error.
    #[error("the peer reported {0}")]
    PeerError(StreamError),
    /// The peer broke a rule; this is the error that it was sent.
    #[error("the peer was refused with {0}")]
    Refused(StreamError),
    /// The peer was too slow.
    #[error("no {0} from the peer in time")]
    Timeout(Step),
    /// Nothing had been said for the idle time.
    #[error("idle")]
    Idle,
    /// The owner of the stream asked for it.
    #[error("closed by us")]
    Requested,
    /// TLS is required and the peer does not offer it.
    #[error("the peer offers no TLS")]
    TlsNotOffered,
    /// The peer answered STARTTLS with a failure, or we did.
    #[error("STARTTLS failed")]
    TlsRefused,
    /// The handshake failed.
    #[error("the TLS handshake failed: {0}")]
    TlsFailed(String),
    /// The certificate does not speak for the domain that was dialled.
    #[error("the certificate is not valid for {domain}: {why}")]
    CertificateNotValid {
        /// Who was dialled.
        domain: String,
        /// Why not, for the administrator.
        why: String,
    },
    /// Octets in clear behind the end of the clear stream (RFC 6120 §5.4.3.3): an injection.
    #[error("clear octets behind STARTTLS")]
    OctetsBehindStartTls,
}

/// A peer's words, safe to log and to show.
pub(crate) fn peer_text(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .filter(|c| !matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'))
        .take(PEER_TEXT)
        .collect::<String>()
        .trim()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_and_reads_every_condition() {
        for condition in StreamCondition::ALL {
            let error = StreamError::new(*condition, "a <b> & c");
            let wire = error.to_wire().replace(
                "<stream:error>",
                "<stream:error xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams'>",
            );
            let element: Element = wire.parse().unwrap();
            assert_eq!(StreamError::from_element(&element), error);
        }
    }

    #[test]
    fn cleans_the_words_of_a_peer() {
        let (long, cut) = ("x".repeat(500), "x".repeat(PEER_TEXT));
        let cases = [
            ("\r\nInjected: 1\u{7}", "Injected: 1"),
            ("a\u{202e}b", "ab"),
            (long.as_str(), cut.as_str()),
        ];
        for (text, expected) in cases {
            assert_eq!(peer_text(text), expected);
        }
    }
}
