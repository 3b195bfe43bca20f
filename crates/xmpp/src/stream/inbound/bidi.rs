//! Stanzas to the peer on an accepted stream (XEP-0288).

use minidom::Element;
use stox_core::time::Now;

use super::{Claim, InboundEvent, InboundStream, refusal};
use crate::stream::{
    NotReady, StreamCondition, StreamError,
    domain::{DomainPair, domains_of},
    write::stanza_to_wire,
};

/// How far the peer has come with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bidi {
    /// Not on offer.
    Off,
    /// On offer.
    Offered,
    /// Asked for.
    On,
}

impl InboundStream {
    /// Sends a stanza from a domain of ours to one that the peer has proved, after [`InboundEvent::Bidirectional`].
    /// Returns its number, from 1.
    ///
    /// # Errors
    /// [`NotReady`]: nothing was sent.
    pub fn send(&mut self, stanza: &Element, now: Now) -> Result<u64, NotReady> {
        if !self.carrier.is_open() {
            return Err(NotReady::Closed);
        }
        let (local, remote) = domains_of(stanza).ok_or(NotReady::Pair)?;
        if !self.may_write(&DomainPair { local, remote }) {
            return Err(NotReady::Pair);
        }
        self.carrier.write(stanza_to_wire(stanza), now);
        self.sent += 1;
        Ok(self.sent)
    }

    /// Before anything is proved (XEP-0288 §2), where the partner's rule allows it.
    pub(super) fn offer_bidi(&mut self, from: Option<&str>, may_speak: bool) {
        let partner = from.and_then(|from| self.settings.partners.of(from));
        if self.bidi != Bidi::On {
            let offered = may_speak
                && self.claims.is_empty()
                && partner.is_some_and(|rule| rule.bidirectional);
            self.bidi = if offered { Bidi::Offered } else { Bidi::Off };
        }
    }

    pub(super) fn take_bidi(&mut self) -> Result<(), StreamError> {
        if self.bidi != Bidi::Offered || !self.claims.is_empty() {
            return Err(refusal(
                StreamCondition::UnsupportedStanzaType,
                "bidi comes before every proof, where it is offered",
            ));
        }
        self.bidi = Bidi::On;
        Ok(())
    }

    /// The pair is proved, and the rule of its domain, which need not be that of the header, allows it. Between SASL and
    /// the new header there is no stream to write to.
    fn may_write(&self, pair: &DomainPair) -> bool {
        let rule = self.settings.partners.of(&pair.remote);
        self.bidi == Bidi::On
            && !self.carrier.owes_header()
            && self.claims.get(pair) == Some(&Claim::Proved)
            && rule.is_some_and(|rule| rule.bidirectional)
    }

    /// Tells the pairs that may be written to from here on: one, or those that were proved before this stream began.
    pub(super) fn tell_bidirectional<'a>(
        &mut self,
        pairs: impl IntoIterator<Item = &'a DomainPair>,
    ) {
        for pair in pairs {
            if self.may_write(pair) {
                self.carrier
                    .event(InboundEvent::Bidirectional(pair.clone()));
            }
        }
    }
}
