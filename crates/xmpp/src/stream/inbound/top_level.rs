//! The elements that an accepted stream knows.

use minidom::Element;

use crate::stream::ns;

/// What an accepted stream knows to do with a top-level element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TopLevel {
    Stanza,
    Dialback,
    StartTls,
    StreamError,
    Sasl,
    Bidi,
    Compress,
    StreamManagement,
    Unknown,
}

impl TopLevel {
    const KNOWN: &'static [(&'static str, &'static str, Self)] = &[
        (ns::CLIENT, "message", Self::Stanza),
        (ns::CLIENT, "presence", Self::Stanza),
        (ns::CLIENT, "iq", Self::Stanza),
        (ns::DIALBACK, "result", Self::Dialback),
        (ns::DIALBACK, "verify", Self::Dialback),
        (ns::TLS, "starttls", Self::StartTls),
        (ns::STREAMS, "error", Self::StreamError),
        (ns::SASL, "auth", Self::Sasl),
        (ns::SASL, "response", Self::Sasl),
        (ns::SASL, "abort", Self::Sasl),
        (ns::BIDI, "bidi", Self::Bidi),
        (ns::COMPRESS, "compress", Self::Compress),
        (ns::SM, "enable", Self::StreamManagement),
        (ns::SM, "resume", Self::StreamManagement),
        (ns::SM, "r", Self::StreamManagement),
        (ns::SM, "a", Self::StreamManagement),
    ];

    pub(super) fn of(element: &Element) -> Self {
        let namespace = element.ns();
        Self::KNOWN
            .iter()
            .find(|(known_ns, name, _)| *known_ns == namespace && *name == element.name())
            .map_or(Self::Unknown, |(_, _, kind)| *kind)
    }
}
