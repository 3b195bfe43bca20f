//! Stanzas from the peer on a dialled stream (XEP-0288).
//!
//! The peer is the server that DNS, or the rule's address, names for its domain: where a key may prove a domain, that is
//! what a key proves, too. Where only a certificate may, no pair becomes ready without a valid one. So a pair that is
//! ready for our stanzas is proved for the peer's.

use minidom::Element;
use stox_core::time::Now;

use super::{OutboundEvent, OutboundStream, Progress, StanzaNumber};
use crate::stream::{
    StreamCondition, StreamError,
    domain::{DomainPair, domains_of},
};

const BIDI: &str = "<bidi xmlns='urn:xmpp:bidi'/>";

impl OutboundStream {
    /// The owner has taken this stanza over for good: only now may it be acknowledged (XEP-0198).
    pub fn stanza_handled(&mut self, number: StanzaNumber, now: Now) {
        if let Some(answer) = self.received.handle(number) {
            self.carrier.write(answer, now);
        }
    }

    /// Once, before every proof (XEP-0288 §2), and where there will be one.
    pub(super) fn ask_for_bidi(&mut self, now: Now) {
        if self.features.bidi
            && self.settings.rule.bidirectional
            && !self.bidi
            && !self.pairs.is_empty()
        {
            self.bidi = true;
            self.carrier.write(BIDI.to_owned(), now);
        }
    }

    pub(super) fn stanza(&mut self, element: Element) -> Result<(), StreamError> {
        let (remote, local) = domains_of(&element).ok_or_else(|| {
            StreamError::new(
                StreamCondition::ImproperAddressing,
                "from and to are needed",
            )
        })?;
        let pair = DomainPair { local, remote };
        if self.pairs.get(&pair) != Some(&Progress::Ready) {
            return Err(StreamError::new(
                StreamCondition::InvalidFrom,
                "this pair of domains is not proved",
            ));
        }
        let number = self.received.receive();
        self.carrier.event(OutboundEvent::Stanza {
            pair,
            number,
            element,
        });
        Ok(())
    }
}
