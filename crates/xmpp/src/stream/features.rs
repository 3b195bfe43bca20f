//! Stream features (RFC 6120 §4.3.2).

use minidom::Element;

use super::{limits::Limits, limits::Timing, ns, sasl::EXTERNAL, write::Markup};

/// What we offer on an accepted stream. Compression is never offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Offer {
    /// `<starttls/>`.
    pub(crate) starttls: bool,
    /// `<required/>` in it.
    pub(crate) starttls_required: bool,
    /// SASL EXTERNAL (XEP-0178 §3).
    pub(crate) external: bool,
    /// Stanzas in both directions (XEP-0288).
    pub(crate) bidi: bool,
    /// Dialback, stream management and limits: all that needs no (more) TLS.
    pub(crate) dialback: bool,
}

impl Offer {
    pub(crate) fn to_wire(self, limits: &Limits, timing: &Timing) -> String {
        let mut out = Markup::new();
        out.open("stream:features");
        if self.starttls {
            out.open("starttls").attribute("xmlns", ns::TLS);
            if self.starttls_required {
                out.open("required").close();
            }
            out.close();
        }
        if self.external {
            out.open("mechanisms")
                .attribute("xmlns", ns::SASL)
                .open("mechanism")
                .text(EXTERNAL)
                .close()
                .close();
        }
        if self.bidi {
            out.open("bidi")
                .attribute("xmlns", ns::BIDI_FEATURE)
                .close();
        }
        if self.dialback {
            out.open("dialback")
                .attribute("xmlns", ns::DIALBACK_FEATURE)
                .open("errors")
                .close()
                .close();
            out.open("sm").attribute("xmlns", ns::SM).close();
            out.open("limits").attribute("xmlns", ns::LIMITS);
            out.open("max-bytes")
                .text(&limits.octets_after_auth.to_string())
                .close();
            out.open("idle-seconds")
                .text(&timing.idle.as_secs().to_string())
                .close()
                .close();
        }
        out.close();
        out.finish()
    }
}

/// What a peer offers, as far as we use it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PeerFeatures {
    /// STARTTLS is offered.
    pub starttls: bool,
    /// SASL EXTERNAL is offered.
    pub external: bool,
    /// Dialback is offered. Some servers accept it without saying so.
    pub dialback: bool,
    /// Stanzas in both directions are offered (XEP-0288).
    pub bidi: bool,
    /// Stream management is offered.
    pub stream_management: bool,
    /// Largest top-level element that the peer takes, in octets (XEP-0478).
    pub max_octets: Option<usize>,
}

impl PeerFeatures {
    /// Reads `<stream:features/>`; what is unknown is ignored.
    #[must_use]
    pub(crate) fn from_element(element: &Element) -> Self {
        let max_octets = element
            .get_child("limits", ns::LIMITS)
            .and_then(|limits| limits.get_child("max-bytes", ns::LIMITS))
            .and_then(|octets| octets.text().trim().parse().ok());
        Self {
            starttls: element.has_child("starttls", ns::TLS),
            external: offers_external(element),
            dialback: element.has_child("dialback", ns::DIALBACK_FEATURE),
            bidi: element.has_child("bidi", ns::BIDI_FEATURE),
            stream_management: element.has_child("sm", ns::SM),
            max_octets,
        }
    }
}

fn offers_external(element: &Element) -> bool {
    let mechanisms = element.get_child("mechanisms", ns::SASL);
    mechanisms.is_some_and(|mechanisms| {
        mechanisms
            .children()
            .any(|child| child.is("mechanism", ns::SASL) && child.text().trim() == EXTERNAL)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offers_only_tls_while_tls_is_required() {
        let offer = Offer {
            starttls: true,
            starttls_required: true,
            external: false,
            bidi: false,
            dialback: false,
        };
        assert_eq!(
            offer.to_wire(&Limits::default(), &Timing::default()),
            "<stream:features><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'><required/></starttls></stream:features>"
        );
    }

    #[test]
    fn reads_its_own_offer_back() {
        let offer = Offer {
            starttls: false,
            starttls_required: false,
            external: true,
            bidi: true,
            dialback: true,
        };
        let wire = offer
            .to_wire(&Limits::default(), &Timing::default())
            .replace(
                "<stream:features>",
                "<stream:features xmlns:stream='http://etherx.jabber.org/streams' xmlns='jabber:server'>",
            );
        assert_eq!(
            PeerFeatures::from_element(&wire.parse().unwrap()),
            PeerFeatures {
                starttls: false,
                external: true,
                dialback: true,
                bidi: true,
                stream_management: true,
                max_octets: Some(262_144),
            }
        );
    }
}
