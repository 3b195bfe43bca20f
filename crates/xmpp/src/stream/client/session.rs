//! What of a session outlives its connection (XEP-0198 §5).

use std::collections::VecDeque;

use minidom::Element;
use thiserror::Error;

use crate::stream::acks::{Acks, StanzaNumber};
use crate::stream::write::{Markup, component_stanza_to_wire};
use crate::stream::{StreamCondition, StreamError, ns};

/// Stanzas, and octets, that are kept until the server has acknowledged them.
const UNACKNOWLEDGED: (usize, usize) = (4_096, 4 * 1024 * 1024);

/// Why a stanza was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum SendError {
    /// There is no session.
    #[error("there is no session")]
    NoSession,
    /// The server has not acknowledged so many that no more are kept.
    #[error("the server acknowledges nothing")]
    Full,
}

/// One session at a server. Without stream management it ends with its connection.
#[derive(Debug, Default)]
pub struct Session {
    /// What the server needs to hear to go on with it.
    id: Option<String>,
    managed: bool,
    received: Acks,
    /// Of what the server sends again, so much is with us already.
    again: u64,
    /// Our stanzas since stream management was enabled.
    sent: u64,
    acknowledged: u64,
    unacknowledged: VecDeque<String>,
    octets: usize,
    /// The server owes an answer to `<r/>`.
    asked: bool,
    /// What is not acknowledged is written by others.
    forgotten: bool,
}

impl Session {
    /// Stream management is on; `id`: the server would resume it.
    pub(super) fn manage(&mut self, id: Option<String>) {
        self.managed = true;
        self.id = id;
        self.received.enable();
    }

    /// Whether it can go on behind a cut.
    #[must_use]
    pub fn is_resumable(&self) -> bool {
        self.id.is_some()
    }

    pub(super) fn is_managed(&self) -> bool {
        self.managed
    }

    /// Takes a stanza that is to be written now, or when the session goes on.
    ///
    /// # Errors
    /// [`SendError::Full`]: it is not kept, and must not be written.
    pub fn push(&mut self, stanza: &Element) -> Result<(), SendError> {
        self.keep(component_stanza_to_wire(stanza)).map(|_| ())
    }

    /// The same with what is to be written.
    pub(super) fn keep(&mut self, wire: String) -> Result<String, SendError> {
        if !self.managed {
            return Ok(wire);
        }
        let (most, most_octets) = UNACKNOWLEDGED;
        let octets = self.octets.saturating_add(wire.len());
        if self.unacknowledged.len() >= most || octets > most_octets {
            return Err(SendError::Full);
        }
        self.octets = octets;
        self.sent += 1;
        self.unacknowledged.push_back(wire.clone());
        Ok(wire)
    }

    /// What is not acknowledged is not written again: whoever sent it knows that its way was lost.
    pub fn forget(&mut self) {
        self.unacknowledged.clear();
        self.octets = 0;
        self.forgotten = true;
    }

    // -------------------------------------------------------------------------------- the server's stanzas

    /// Numbers a stanza. `None`: it was sent again, and is with us already.
    pub(super) fn receive(&mut self) -> Option<StanzaNumber> {
        if self.again > 0 {
            self.again -= 1;
            return None;
        }
        Some(self.received.receive())
    }

    /// A stanza is taken over. What comes back is to be written, where there is a connection.
    pub fn handle(&mut self, number: StanzaNumber) -> Option<String> {
        self.received.handle(number)
    }

    /// The answer to `<r/>`.
    pub(super) fn answer(&mut self) -> Option<String> {
        self.received.answer()
    }

    // ---------------------------------------------------------------------------------------- our stanzas

    /// Asks for an acknowledgement, unless one is owed.
    pub(super) fn ask(&mut self) -> Option<&'static str> {
        let wanted = self.managed && !self.unacknowledged.is_empty() && !self.asked;
        self.asked |= wanted;
        wanted.then_some("<r xmlns='urn:xmpp:sm:3'/>")
    }

    /// `h` counts modulo 2^32 (XEP-0198 §4).
    pub(super) fn acknowledge(&mut self, element: &Element) -> Result<(), StreamError> {
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
        self.acknowledged += more;
        for _ in 0..more {
            let Some(wire) = self.unacknowledged.pop_front() else {
                break;
            };
            self.octets = self.octets.saturating_sub(wire.len());
        }
        Ok(())
    }

    // ----------------------------------------------------------------------------------------- resumption

    /// `<resume/>`.
    pub(super) fn resume(&mut self) -> Option<String> {
        let id = self.id.as_deref()?;
        let count = self.received.count()?;
        self.again = self.received.uncounted();
        self.received.forget_question();
        let mut out = Markup::new();
        out.open("resume")
            .attribute("xmlns", ns::SM)
            .attribute("h", &count.to_string())
            .attribute("previd", id)
            .close();
        Some(out.finish())
    }

    /// The server goes on with it, and has so many of our stanzas. What it has not comes back, to be written again.
    pub(super) fn resumed(&mut self, element: &Element) -> Result<Vec<String>, StreamError> {
        if std::mem::take(&mut self.forgotten) {
            // Those behind the forgotten ones stand where the server expects the next.
            let behind = self.unacknowledged.len() as u64;
            let forgotten = self.sent - behind;
            let mut upto = Self {
                acknowledged: self.acknowledged,
                sent: forgotten,
                ..Self::default()
            };
            upto.acknowledge(element)?;
            self.acknowledged = upto.acknowledged;
            self.sent = upto.acknowledged + behind;
        } else {
            self.acknowledge(element)?;
        }
        self.asked = false;
        Ok(self.unacknowledged.iter().cloned().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(h: u64) -> Element {
        format!("<a xmlns='urn:xmpp:sm:3' h='{h}'/>")
            .parse()
            .unwrap()
    }

    fn session() -> Session {
        let mut session = Session::default();
        session.manage(Some("id".to_owned()));
        for name in ["a", "b", "c"] {
            session.push(&Element::bare(name, ns::CLIENT)).unwrap();
        }
        session
    }

    #[test]
    fn writes_again_what_was_not_acknowledged_and_only_that() {
        let mut session = session();
        session.acknowledge(&count(1)).unwrap();
        assert_eq!(session.resumed(&count(2)).unwrap(), ["<c/>"]);
        session.push(&Element::bare("d", ns::CLIENT)).unwrap();
        session.acknowledge(&count(4)).unwrap();
        assert!(session.resumed(&count(4)).unwrap().is_empty());
        assert!(session.acknowledge(&count(5)).is_err());
    }

    #[test]
    fn counts_on_behind_what_was_forgotten() {
        let mut session = session();
        session.forget();
        session.push(&Element::bare("d", ns::CLIENT)).unwrap();
        assert_eq!(session.resumed(&count(1)).unwrap(), ["<d/>"]);
        session.acknowledge(&count(2)).unwrap();
        assert_eq!((session.sent, session.octets), (2, 0));
        assert!(session.acknowledge(&count(3)).is_err());
    }

    #[test]
    fn drops_what_comes_again_while_it_is_worked_on() {
        let mut session = session();
        let numbers = [(); 3].map(|()| session.receive().unwrap());
        session.handle(numbers[0]);
        assert_eq!(
            session.resume().unwrap(),
            "<resume xmlns='urn:xmpp:sm:3' h='1' previd='id'/>"
        );
        session.resumed(&count(3)).unwrap();
        assert_eq!([session.receive(), session.receive()], [None, None]);
        assert!(session.receive().is_some());
        session.handle(numbers[2]);
        session.handle(numbers[1]);
        assert_eq!(
            session.answer().unwrap(),
            "<a xmlns='urn:xmpp:sm:3' h='3'/>"
        );
    }

    #[test]
    fn keeps_so_much_and_no_more() {
        let mut session = session();
        let stanza = Element::bare("x", ns::CLIENT);
        for _ in 3..UNACKNOWLEDGED.0 {
            session.push(&stanza).unwrap();
        }
        assert_eq!(session.push(&stanza), Err(SendError::Full));
        session.acknowledge(&count(1)).unwrap();
        assert_eq!(session.push(&stanza), Ok(()));
    }
}
