//! The receiving half of stream management (XEP-0198): counting what has been kept.

use std::collections::BTreeSet;

use super::{ns, write::Markup};

/// Names one stanza of one stream until it is handled. Ascending from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StanzaNumber(u64);

/// Counts stanzas and says how many of them, from the first on, are safe.
#[derive(Debug, Default)]
pub(super) struct Acks {
    received: u64,
    enabled_at: Option<u64>,
    /// All stanzas with a number up to this one are handled.
    handled: u64,
    ahead: BTreeSet<u64>,
    asked: bool,
}

impl Acks {
    /// Numbers a stanza that has come, from 1.
    pub(super) fn receive(&mut self) -> StanzaNumber {
        self.received += 1;
        StanzaNumber(self.received)
    }

    /// Starts the count that the peer sees. `false` when it had been started before.
    pub(super) fn enable(&mut self) -> bool {
        if self.enabled_at.is_some() {
            return false;
        }
        self.enabled_at = Some(self.received);
        true
    }

    /// The owner has taken this stanza over. An answer that the peer still waits for comes back.
    pub(super) fn handle(&mut self, StanzaNumber(number): StanzaNumber) -> Option<String> {
        if number <= self.handled || number > self.received {
            return None;
        }
        self.ahead.insert(number);
        while self.ahead.remove(&(self.handled + 1)) {
            self.handled += 1;
        }
        if !self.asked || self.handled < self.received {
            return None;
        }
        self.answer()
    }

    /// What the peer is told that we have: the stanzas since [`Self::enable`] that are handled, modulo 2^32.
    pub(super) fn count(&self) -> Option<u64> {
        let counted_from = self.enabled_at?;
        Some(self.handled.saturating_sub(counted_from) & u64::from(u32::MAX))
    }

    /// Stanzas that have come and that [`Self::count`] does not cover.
    pub(super) fn uncounted(&self) -> u64 {
        let from = self.enabled_at.unwrap_or(self.received);
        self.received - self.handled.max(from)
    }

    /// The peer's connection is another one now: what it asked on the old one, it asks again.
    pub(super) fn forget_question(&mut self) {
        self.asked = false;
    }

    /// The answer to `<r/>`. When it is not the whole count, another one follows as soon as it can.
    pub(super) fn answer(&mut self) -> Option<String> {
        let count = self.count()?;
        self.asked = self.handled < self.received;
        let mut out = Markup::new();
        out.open("a")
            .attribute("xmlns", ns::SM)
            .attribute("h", &count.to_string())
            .close();
        Some(out.finish())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ack(count: u32) -> Option<String> {
        Some(format!("<a xmlns='urn:xmpp:sm:3' h='{count}'/>"))
    }

    #[test]
    fn counts_only_an_unbroken_run_of_handled_stanzas() {
        let mut acks = Acks::default();
        assert_eq!(acks.receive(), StanzaNumber(1));
        assert_eq!(acks.answer(), None, "not enabled");
        assert!(acks.enable());
        assert!(!acks.enable());
        let more = [(); 3].map(|()| acks.receive());
        assert_eq!(more, [2, 3, 4].map(StanzaNumber));
        assert_eq!(acks.answer(), ack(0));
        assert_eq!(acks.handle(StanzaNumber(3)), None);
        assert_eq!(acks.answer(), ack(0), "1 and 2 are missing");
        assert_eq!(acks.handle(StanzaNumber(1)), None);
        assert_eq!(acks.handle(StanzaNumber(2)), None);
        assert_eq!(acks.answer(), ack(2));
        assert_eq!(
            acks.handle(StanzaNumber(4)),
            ack(3),
            "the peer was owed the rest"
        );
        assert_eq!(acks.handle(StanzaNumber(4)), None, "twice");
        assert_eq!(acks.handle(StanzaNumber(9)), None, "never received");
        assert_eq!(acks.answer(), ack(3));
    }
}
