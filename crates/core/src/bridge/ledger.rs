//! The ledger as the bridge writes it: one entry for each message, amended when more is known.

use std::collections::BTreeMap;

use crate::address::{Jid, SipAddress};
use crate::failure::Failure;
use crate::time::Now;
use crate::vocab::{About, Amendment, Entry, Fate, Outcome, Party, Receipt, Ref, StoreOut, Way};

use super::context::Context;

/// Messages by outcome since the start; counted whether or not they are entered.
#[derive(Debug, Clone, Default)]
pub(super) struct Tally {
    first: BTreeMap<Outcome, u64>,
    later: BTreeMap<Outcome, u64>,
}

impl Tally {
    /// As they were first known.
    pub(super) fn first(&self) -> BTreeMap<Outcome, u64> {
        self.first.clone()
    }

    /// What became known after that.
    pub(super) fn later(&self) -> BTreeMap<Outcome, u64> {
        self.later.clone()
    }
}

/// A message under way, in the words of its entry.
pub(super) struct Subject {
    pub(super) way: Way,
    pub(super) xmpp: Party,
    pub(super) sip: Party,
    pub(super) id: Option<String>,
    pub(super) about: About,
}

impl Subject {
    /// A message from XMPP, with its addresses as its sender wrote them.
    pub(super) fn to_sip(from: Jid, to: Jid, id: Option<String>, about: About) -> Self {
        Self {
            way: Way::ToSip,
            xmpp: Party::Jid(from),
            sip: Party::Jid(to),
            id,
            about,
        }
    }

    /// A message from SIP, with its addresses as its sender wrote them.
    pub(super) fn to_xmpp(
        from: &SipAddress,
        to: &SipAddress,
        id: Option<String>,
        about: About,
    ) -> Self {
        Self {
            way: Way::ToXmpp,
            xmpp: Party::cut(to),
            sip: Party::cut(from),
            id,
            about,
        }
    }
}

impl Context {
    /// Enters a message whose outcome is known.
    pub(super) fn record(&mut self, number: Ref, subject: Subject, fate: Fate, now: Now) {
        *self.tally.first.entry(fate.outcome).or_default() += 1;
        if self.settings.ledger {
            self.store(StoreOut::Record(Box::new(Entry {
                number,
                way: subject.way,
                xmpp: subject.xmpp,
                sip: subject.sip,
                id: Entry::id(subject.id),
                about: subject.about,
                known: now.wall,
                fate,
            })));
        }
    }

    /// Enters a message to a conference or a room, of which no more is ever known than whether it was taken.
    pub(crate) fn record_in_room(
        &mut self,
        number: Ref,
        (way, xmpp, sip): (Way, &Jid, &Jid),
        (id, about): (Option<String>, About),
        outcome: &Result<(), Failure>,
    ) {
        let fate = match outcome {
            Ok(()) => Outcome::Taken.into(),
            Err(failure) => Fate::of(way, failure),
        };
        let subject = Subject {
            way,
            xmpp: Party::Jid(xmpp.clone()),
            sip: Party::Jid(sip.clone()),
            id,
            about,
        };
        self.record(number, subject, fate, self.now);
    }

    /// More is known of a message that has been entered.
    pub(super) fn amend(&mut self, number: Ref, fate: Fate, now: Now) {
        *self.tally.later.entry(fate.outcome).or_default() += 1;
        if self.settings.ledger {
            self.store(StoreOut::Amend(Box::new(Amendment {
                number,
                known: now.wall,
                fate,
            })));
        }
    }
}

/// What the recipient's side says of a message to SIP after all.
pub(super) fn told(receipt: &Result<Receipt, Failure>) -> Fate {
    match receipt {
        Ok(receipt) => Outcome::from(*receipt).into(),
        Err(failure) => Fate::of(Way::ToSip, failure),
    }
}
