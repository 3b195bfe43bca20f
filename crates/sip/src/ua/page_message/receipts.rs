//! Which message a receipt is about, and which receipts a message of a peer asks for (RFC 5438).

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use stox_core::address::SipAddress;
use stox_core::failure::Failure;
use stox_core::vocab::{Receipt, Ref, SipIn, Wants};

use crate::body::imdn::Wanted;
use crate::ua::session::Pair;

/// For how long a receipt finds its message.
const MEMORY: Duration = Duration::from_secs(24 * 3600);
/// Messages that are remembered in each direction; the oldest is forgotten first.
const MAX_MESSAGES: usize = 20_000;

/// Who wrote to whom, and what a receipt will call the message: the id that we gave it, or else its Call-ID, which others
/// of its thread have too.
pub(super) type Name = (Pair, String);

#[derive(Debug)]
struct Sent {
    serial: u64,
    /// Whom to tell; nobody where it is a part of a message that others follow.
    reference: Option<Ref>,
    wants: Wants,
    delivered: bool,
}

/// Messages of ours, of which receipts may come.
#[derive(Debug, Default)]
pub(super) struct Expected {
    by_name: BTreeMap<Name, VecDeque<Sent>>,
    order: VecDeque<(Duration, Name, u64)>,
    last: u64,
}

impl Expected {
    /// A message goes out. Also one without wishes is remembered: peers tell of it unasked, and what they tell must not be
    /// taken for news of another one of the same name.
    pub(super) fn sent(
        &mut self,
        name: Name,
        (reference, wants): (Option<Ref>, Wants),
        now: Duration,
    ) -> u64 {
        self.forget_old(now);
        self.last += 1;
        let sent = Sent {
            serial: self.last,
            reference,
            wants,
            delivered: false,
        };
        self.by_name
            .entry(name.clone())
            .or_default()
            .push_back(sent);
        self.order.push_back((now, name, self.last));
        self.last
    }

    /// It was not taken.
    pub(super) fn failed(&mut self, name: &Name, serial: u64) {
        self.remove(name, serial);
    }

    /// A receipt came: what is to be told of it. Of several messages of one name it is about the oldest that has none of
    /// its kind, for peers tell of them in order.
    pub(super) fn heard(
        &mut self,
        name: &Name,
        receipt: Result<Receipt, Failure>,
    ) -> Option<SipIn> {
        let all = self.by_name.get_mut(name)?;
        let sent = match &receipt {
            Ok(Receipt::Displayed) => all.front_mut(),
            _ => all.iter_mut().find(|sent| !sent.delivered),
        }?;
        sent.delivered = true;
        let wanted = match &receipt {
            Ok(Receipt::Delivered) => sent.wants.delivered,
            Ok(Receipt::Displayed) => sent.wants.displayed,
            // That it did not arrive is owed to every sender.
            Err(_) => true,
        };
        let (serial, reference) = (sent.serial, sent.reference.filter(|_| wanted));
        // Nothing follows: what is shown has arrived before, and what has failed is not shown.
        if receipt != Ok(Receipt::Delivered) {
            self.remove(name, serial);
        }
        reference.map(|reference| SipIn::Receipt { reference, receipt })
    }

    fn remove(&mut self, name: &Name, serial: u64) {
        if let Some(all) = self.by_name.get_mut(name) {
            all.retain(|sent| sent.serial != serial);
            if all.is_empty() {
                self.by_name.remove(name);
            }
        }
    }

    fn forget_old(&mut self, now: Duration) {
        while let Some((at, ..)) = self.order.front()
            && (*at + MEMORY <= now || self.order.len() >= MAX_MESSAGES)
        {
            if let Some((_, name, serial)) = self.order.pop_front() {
                self.remove(&name, serial);
            }
        }
    }
}

/// A message of a peer whose sender wants to be told of it.
#[derive(Debug, Clone)]
pub(super) struct Owed {
    /// What is wanted; what was told is taken off.
    pub(super) wanted: Wanted,
    /// The SIP user.
    pub(super) theirs: SipAddress,
    /// The XMPP user.
    pub(super) ours: SipAddress,
}

/// Receipts that peers want from us.
#[derive(Debug, Default)]
pub(super) struct Debts {
    owed: BTreeMap<Ref, Owed>,
    order: VecDeque<(Duration, Ref)>,
}

impl Debts {
    /// A message came that asks for receipts.
    pub(super) fn took(&mut self, reference: Ref, owed: Owed, now: Duration) {
        while let Some((at, old)) = self.order.front()
            && (*at + MEMORY <= now || self.order.len() >= MAX_MESSAGES)
        {
            self.owed.remove(old);
            self.order.pop_front();
        }
        self.owed.insert(reference, owed);
        self.order.push_back((now, reference));
    }

    /// It was refused, which its sender is told by other means.
    pub(super) fn refused(&mut self, reference: Ref) {
        self.owed.remove(&reference);
    }

    /// Whom to tell of a receipt: once of each kind, and only what is wanted.
    pub(super) fn pay(&mut self, reference: Ref, receipt: Receipt) -> Option<Owed> {
        let owed = self.owed.get_mut(&reference)?;
        let wanted = match receipt {
            Receipt::Delivered => &mut owed.wanted.delivered,
            Receipt::Displayed => &mut owed.wanted.displayed,
        };
        let tells = std::mem::take(wanted);
        let paid = owed.clone();
        if !owed.wanted.delivered && !owed.wanted.displayed {
            self.owed.remove(&reference);
        }
        tells.then_some(paid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(id: &str) -> Name {
        let user = |user: &str| SipAddress {
            scheme: stox_core::address::Scheme::Sip,
            user: Some(user.to_owned()),
            host: "x.example".to_owned(),
            gr: None,
        };
        ((user("a"), user("b")), id.to_owned())
    }

    const BOTH: Wants = Wants {
        delivered: true,
        displayed: true,
    };
    const NOW: Duration = Duration::from_secs(5);

    fn told(reference: u64, receipt: Receipt) -> Option<SipIn> {
        Some(SipIn::Receipt {
            reference: Ref(reference),
            receipt: Ok(receipt),
        })
    }

    #[test]
    fn receipts_of_one_name_come_in_order() {
        let mut expected = Expected::default();
        expected.sent(name("t"), (Some(Ref(1)), BOTH), NOW);
        expected.sent(name("t"), (Some(Ref(2)), Wants::default()), NOW);
        let failed = expected.sent(name("t"), (Some(Ref(3)), BOTH), NOW);
        expected.failed(&name("t"), failed);
        expected.sent(name("t"), (Some(Ref(4)), BOTH), NOW);
        assert_eq!(expected.heard(&name("u"), Ok(Receipt::Delivered)), None);
        assert_eq!(
            expected.heard(&name("t"), Ok(Receipt::Delivered)),
            told(1, Receipt::Delivered)
        );
        assert_eq!(expected.heard(&name("t"), Ok(Receipt::Delivered)), None);
        assert_eq!(
            expected.heard(&name("t"), Ok(Receipt::Displayed)),
            told(1, Receipt::Displayed)
        );
        assert_eq!(expected.heard(&name("t"), Ok(Receipt::Displayed)), None);
        assert_eq!(
            expected.heard(&name("t"), Ok(Receipt::Displayed)),
            told(4, Receipt::Displayed)
        );
        assert_eq!(expected.heard(&name("t"), Ok(Receipt::Delivered)), None);
        assert!(expected.by_name.is_empty());
    }

    #[test]
    fn what_is_old_is_forgotten() {
        let mut expected = Expected::default();
        for number in 0..=MAX_MESSAGES {
            expected.sent(name(&number.to_string()), (Some(Ref(1)), BOTH), NOW);
        }
        assert_eq!(expected.order.len(), MAX_MESSAGES);
        assert_eq!(expected.heard(&name("0"), Ok(Receipt::Delivered)), None);
        expected.sent(name("new"), (Some(Ref(1)), BOTH), NOW + MEMORY);
        assert_eq!((expected.order.len(), expected.by_name.len()), (1, 1));
    }

    #[test]
    fn each_receipt_is_owed_once() {
        let mut debts = Debts::default();
        let ((ours, theirs), _) = name("");
        let owed = |delivered, displayed| Owed {
            wanted: Wanted {
                delivered,
                displayed,
                ..Wanted::default()
            },
            theirs: theirs.clone(),
            ours: ours.clone(),
        };
        debts.took(Ref(1), owed(true, true), NOW);
        debts.took(Ref(2), owed(false, true), NOW);
        debts.took(Ref(3), owed(true, true), NOW);
        debts.refused(Ref(3));
        for (reference, receipt, tells) in [
            (1, Receipt::Delivered, true),
            (1, Receipt::Delivered, false),
            (1, Receipt::Displayed, true),
            (1, Receipt::Displayed, false),
            (2, Receipt::Delivered, false),
            (2, Receipt::Displayed, true),
            (3, Receipt::Delivered, false),
        ] {
            assert_eq!(debts.pay(Ref(reference), receipt).is_some(), tells);
        }
        assert!(debts.owed.is_empty());
    }

    #[test]
    fn that_a_message_did_not_arrive_is_owed_to_every_sender() {
        let mut expected = Expected::default();
        let sent = (Some(Ref(1)), Wants::default());
        expected.sent(name("t"), sent, Duration::ZERO);
        let receipt = Err(Failure::Local(stox_core::failure::Local::Timeout));
        let reference = Ref(1);
        let told = expected.heard(&name("t"), receipt.clone());
        assert_eq!(
            told,
            Some(SipIn::Receipt {
                reference,
                receipt: receipt.clone()
            })
        );
        assert_eq!(expected.heard(&name("t"), receipt), None);
    }
}
