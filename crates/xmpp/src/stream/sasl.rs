//! SASL as servers use it among themselves: the one mechanism EXTERNAL (RFC 6120 §6, RFC 4422 Appendix A,
//! XEP-0178 §3).

use base64::{Engine, prelude::BASE64_STANDARD};
use minidom::Element;

use super::{domain::normal_domain, error::peer_text, ns, write::Markup};

/// The mechanism in which the certificate of the TLS connection is the proof.
pub(super) const EXTERNAL: &str = "EXTERNAL";
/// It worked.
pub(super) const SUCCESS: &str = "<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>";
/// Asks for the response that the request should have had.
pub(super) const EMPTY_CHALLENGE: &str = "<challenge xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>";

/// Why an attempt failed (RFC 6120 §6.5), as far as we say so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum SaslFailure {
    /// The peer took its attempt back.
    Aborted,
    /// TLS comes first.
    EncryptionRequired,
    /// The response is not base64.
    IncorrectEncoding,
    /// The peer wants to be somebody else than its header and its certificate say.
    InvalidAuthzid,
    /// A mechanism that is not on offer.
    InvalidMechanism,
    /// The response is no text, or nobody asked for it.
    MalformedRequest,
    /// Policy forbids it.
    NotAuthorized,
    /// It could not be found out.
    TemporaryAuthFailure,
}

impl SaslFailure {
    const fn name(self) -> &'static str {
        match self {
            Self::Aborted => "aborted",
            Self::EncryptionRequired => "encryption-required",
            Self::IncorrectEncoding => "incorrect-encoding",
            Self::InvalidAuthzid => "invalid-authzid",
            Self::InvalidMechanism => "invalid-mechanism",
            Self::MalformedRequest => "malformed-request",
            Self::NotAuthorized => "not-authorized",
            Self::TemporaryAuthFailure => "temporary-auth-failure",
        }
    }

    pub(super) fn to_wire(self) -> String {
        let mut out = Markup::new();
        out.open("failure")
            .attribute("xmlns", ns::SASL)
            .open(self.name())
            .close()
            .close();
        out.finish()
    }
}

/// Checks a response of EXTERNAL: `text` is `=` or nothing for no authorisation identity, or the base64 of one, which
/// must be `domain` (in its normal form) and nothing else.
pub(super) fn check_response(text: &str, domain: &str) -> Result<(), SaslFailure> {
    if text.is_empty() || text == "=" {
        return Ok(());
    }
    let octets = BASE64_STANDARD
        .decode(text)
        .map_err(|_| SaslFailure::IncorrectEncoding)?;
    let identity = String::from_utf8(octets).map_err(|_| SaslFailure::MalformedRequest)?;
    if normal_domain(&identity).as_deref() == Some(domain) {
        Ok(())
    } else {
        Err(SaslFailure::InvalidAuthzid)
    }
}

/// Asks for EXTERNAL, with the domain as authorisation identity.
pub(super) fn auth_to_wire(domain: &str) -> String {
    let mut out = Markup::new();
    out.open("auth")
        .attribute("xmlns", ns::SASL)
        .attribute("mechanism", EXTERNAL)
        .text(&BASE64_STANDARD.encode(domain))
        .close();
    out.finish()
}

/// The identity once more, for a peer that asks for it.
pub(super) fn response_to_wire(domain: &str) -> String {
    let mut out = Markup::new();
    out.open("response")
        .attribute("xmlns", ns::SASL)
        .text(&BASE64_STANDARD.encode(domain))
        .close();
    out.finish()
}

/// What a peer's `<failure/>` says: its condition, and its words where it has some.
pub(super) fn failure_words(element: &Element) -> String {
    let condition = element
        .children()
        .map(Element::name)
        .find(|name| *name != "text")
        .unwrap_or("no reason given");
    let text = element.get_child("text", ns::SASL).map(Element::text);
    match text.filter(|text| !text.trim().is_empty()) {
        Some(text) => peer_text(&format!("{condition}: {text}")),
        None => peer_text(condition),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_the_domain_itself_and_nothing_else() {
        let cases: &[(&[u8], Result<(), SaslFailure>)] = &[
            (b"jabber.test", Ok(())),
            (b"Jabber.TEST", Ok(())),
            (b"jabber.test.", Ok(())),
            (b"a@jabber.test", Err(SaslFailure::InvalidAuthzid)),
            (b"jabber.test/x", Err(SaslFailure::InvalidAuthzid)),
            (b"sub.jabber.test", Err(SaslFailure::InvalidAuthzid)),
            (b"xjabber.test", Err(SaslFailure::InvalidAuthzid)),
            (b"jabber.test\0", Err(SaslFailure::InvalidAuthzid)),
            (b" ", Err(SaslFailure::InvalidAuthzid)),
            (b"\xff\xfe", Err(SaslFailure::MalformedRequest)),
        ];
        for (identity, expected) in cases {
            let text = BASE64_STANDARD.encode(identity);
            assert_eq!(check_response(&text, "jabber.test"), *expected, "{text}");
        }
        let bücher = BASE64_STANDARD.encode("xn--bcher-kva.example");
        assert_eq!(check_response(&bücher, "bücher.example"), Ok(()));
    }

    #[test]
    fn takes_base64_and_nothing_else() {
        let cases = [
            ("", Ok(())),
            ("=", Ok(())),
            ("==", Err(SaslFailure::IncorrectEncoding)),
            ("jabber.test", Err(SaslFailure::IncorrectEncoding)),
            ("amFiYmVyLnRlc3Q", Err(SaslFailure::IncorrectEncoding)),
            ("amFiYmVy LnRlc3Q=", Err(SaslFailure::IncorrectEncoding)),
            ("amFiYmVyLnRlc3R=", Err(SaslFailure::IncorrectEncoding)),
            ("amFiYmVyLnRlc3Q=", Ok(())),
        ];
        for (text, expected) in cases {
            assert_eq!(check_response(text, "jabber.test"), expected, "{text}");
        }
    }
}
