//! Stream management on a dialled stream (XEP-0198 §3, §4): how many of our stanzas the peer has, and we of its.

use minidom::Element;
use stox_core::time::Now;

use super::{OutboundEvent, OutboundStream, StreamManagement};
use crate::stream::{StreamCondition, StreamError};

impl OutboundStream {
    /// Before the first stanza, so that both sides count alike (XEP-0198 §4).
    pub(super) fn enable_stream_management(&mut self, now: Now) {
        if self.stream_management == StreamManagement::Off
            && self.sent == 0
            && self.settings.stream_management
            && self.features.stream_management
        {
            self.stream_management = StreamManagement::On;
            self.carrier.write(SM_ENABLE.to_owned(), now);
        }
    }

    pub(super) fn stream_management(
        &mut self,
        name: &str,
        element: &Element,
        now: Now,
    ) -> Result<(), StreamError> {
        match name {
            "enabled" if self.stream_management == StreamManagement::On => {
                self.received.enable();
            }
            "failed" => self.stream_management = StreamManagement::Off,
            "r" if self.stream_management == StreamManagement::On => {
                if let Some(answer) = self.received.answer() {
                    self.carrier.write(answer, now);
                }
            }
            "a" if self.stream_management == StreamManagement::On => {
                return self.acknowledged(element);
            }
            _ => {}
        }
        Ok(())
    }

    /// `h` counts modulo 2^32 (XEP-0198 §4).
    fn acknowledged(&mut self, element: &Element) -> Result<(), StreamError> {
        self.asked = false;
        let Some(count) = element.attr("h").and_then(|h| h.parse::<u32>().ok()) else {
            return Err(StreamError::new(StreamCondition::BadFormat, "no count"));
        };
        let known = self.acknowledged & u64::from(u32::MAX);
        let more = u64::from(count).wrapping_sub(known) & u64::from(u32::MAX);
        if self.acknowledged + more > self.sent {
            return Err(StreamError::new(
                StreamCondition::UndefinedCondition,
                "more stanzas acknowledged than sent",
            ));
        }
        if more > 0 {
            self.acknowledged += more;
            self.carrier
                .event(OutboundEvent::Acknowledged(self.acknowledged));
        }
        Ok(())
    }
}

const SM_ENABLE: &str = "<enable xmlns='urn:xmpp:sm:3'/>";
pub(super) const REQUEST: &str = "<r xmlns='urn:xmpp:sm:3'/>";
