//! SASL EXTERNAL on a dialled stream: our certificate as proof (XEP-0178 §3, RFC 6120 §6).

use minidom::Element;
use stox_core::time::Now;

use super::{OutboundEvent, OutboundStream, State};
use crate::stream::{StreamCondition, StreamError, sasl};

/// How far EXTERNAL has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum External {
    /// Not tried.
    Untried,
    /// Asked for. The response may be asked for once more.
    Asked,
    /// As [`Self::Asked`], and the response was given again.
    Responded,
    /// The pair of the settings is proved.
    Done,
    /// The peer's words.
    Failed(String),
}

impl OutboundStream {
    /// The peer's answer to EXTERNAL is awaited. Where the stream ends now, some servers have stumbled over our
    /// certificate: another stream without EXTERNAL may fare better (COMPAT(ejabberd 23.01)).
    #[must_use]
    pub fn is_authenticating(&self) -> bool {
        self.state == State::Sasl
    }

    /// There is something to prove, and EXTERNAL may do it.
    pub(super) fn wants_external(&self) -> bool {
        self.tls.is_some()
            && self.external == External::Untried
            && self.settings.external
            && self.settings.rule.takes_external()
            && self.features.external
            && self.pairs.contains_key(&self.settings.pair)
    }

    /// The authorisation identity is our domain (XEP-0178 §3, step 11).
    pub(super) fn ask_for_external(&mut self, now: Now) {
        self.state = State::Sasl;
        self.external = External::Asked;
        let wire = sasl::auth_to_wire(&self.settings.pair.local);
        self.carrier.write(wire, now);
        self.carrier
            .expect(Some(now.mono + self.settings.timing.authentication));
    }

    pub(super) fn sasl(&mut self, element: &Element, now: Now) -> Result<(), StreamError> {
        match (element.name(), &self.external) {
            // A stream that closes does not begin anew.
            ("success", _) if !self.carrier.is_open() => Ok(()),
            ("success", _) => {
                self.external = External::Done;
                self.carrier.restart(now);
                self.open(now);
                Ok(())
            }
            ("failure", _) => self.external_failed(sasl::failure_words(element), now),
            // COMPAT(RFC 3920): it does not look at a response that comes with the request.
            ("challenge", External::Asked) => {
                self.external = External::Responded;
                let wire = sasl::response_to_wire(&self.settings.pair.local);
                self.carrier.write(wire, now);
                Ok(())
            }
            _ => Err(StreamError::new(
                StreamCondition::UnsupportedStanzaType,
                "EXTERNAL has no such step",
            )),
        }
    }

    /// The stream goes on as it was, with dialback where that may prove us.
    fn external_failed(&mut self, why: String, now: Now) -> Result<(), StreamError> {
        self.external = External::Failed(why.clone());
        self.carrier.event(OutboundEvent::ExternalRefused(why));
        self.negotiated(now)
    }
}
