//! Receipts (RFC 7573 §7, XEP-0184, XEP-0333, RFC 5438): who has asked for one, and what has been said already.
//!
//! Each message that asks is remembered for [`KEPT`], the oldest forgotten first where there are too many; one to SIP that
//! does not ask for [`UNASKED`], because its failure may be reported after its answer (RFC 4975 §7.1.2). The memory outlives neither the process nor that bound: a receipt that comes later is dropped and counted.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::address::Jid;
use crate::failure::{Failure, to_stanza};
use crate::time::Now;
use crate::vocab::{ImKind, Receipt, Ref, SipOut, Wants, XmppOut};

use super::context::Context;
use super::messages::StanzaKey;

/// How long a message is remembered.
pub(super) const KEPT: Duration = Duration::from_secs(24 * 3600);
/// How long one is that asks for nothing.
pub(super) const UNASKED: Duration = Duration::from_secs(10 * 60);
/// Messages remembered in one direction, and of these those of one sender.
const MAX: usize = 100_000;
pub(super) const MAX_PER_USER: usize = 1000;
/// So of those that ask for nothing.
const MAX_UNASKED: usize = 10_000;
const MAX_UNASKED_PER_USER: usize = 100;

/// All receipts that may still come.
pub(super) struct Receipts {
    to_sip: Memory<FromXmpp>,
    /// Those that ask for nothing.
    unasked: Memory<FromXmpp>,
    to_xmpp: Memory<FromSip>,
    by_stanza: BTreeMap<StanzaKey, Ref>,
    unmatched: u64,
}

impl Default for Receipts {
    fn default() -> Self {
        Self {
            to_sip: Memory::new(KEPT, MAX, MAX_PER_USER),
            unasked: Memory::new(UNASKED, MAX_UNASKED, MAX_UNASKED_PER_USER),
            to_xmpp: Memory::new(KEPT, MAX, MAX_PER_USER),
            by_stanza: BTreeMap::new(),
            unmatched: 0,
        }
    }
}

/// A message to SIP.
struct FromXmpp {
    from: Jid,
    to: Jid,
    id: String,
    kind: ImKind,
    state: State<Result<Receipt, Failure>>,
}

/// A message to XMPP whose SIP sender has asked.
struct FromSip {
    sip_ref: Ref,
    stanza: StanzaKey,
    state: State<Receipt>,
}

/// How far a message and its receipts have come.
struct State<T> {
    wants: Wants,
    /// Its sender knows that it was taken. Until then receipts wait.
    answered: bool,
    early: Option<T>,
    told: Option<Receipt>,
}

impl<T> State<T> {
    fn new(wants: Wants) -> Self {
        Self {
            wants,
            answered: false,
            early: None,
            told: None,
        }
    }

    /// What there is to tell: what was asked for and has not been told. What was shown has been delivered.
    fn due(&mut self, receipt: Receipt) -> impl Iterator<Item = Receipt> + use<T> {
        let (told, wants) = (self.told, self.wants);
        self.told = told.max(Some(receipt));
        [
            (Receipt::Delivered, wants.delivered),
            (Receipt::Displayed, wants.displayed),
        ]
        .into_iter()
        .filter(move |(due, wanted)| *wanted && *due <= receipt && Some(*due) > told)
        .map(|(due, _)| due)
    }
}

impl Context {
    /// A message goes out to SIP.
    pub(super) fn await_sip_receipts(
        &mut self,
        reference: Ref,
        (from, to, id): (&Jid, &Jid, Option<&str>),
        (kind, wants): (ImKind, Wants),
        now: Now,
    ) {
        // A receipt names its message: without an id there is none (XEP-0184 §5.3).
        let Some(id) = id.filter(|id| !id.is_empty()) else {
            return;
        };
        let message = FromXmpp {
            from: from.clone(),
            to: to.clone(),
            id: id.to_owned(),
            kind,
            state: State::new(wants),
        };
        let user = from.bare().canonical();
        let receipts = &mut self.receipts;
        match asks(wants) {
            true => receipts.to_sip.insert(reference, user, message, now),
            false => receipts.unasked.insert(reference, user, message, now),
        };
    }

    /// The final answer to a message to SIP. After a failure there is no receipt.
    pub(super) fn sip_answered(&mut self, reference: Ref, taken: bool) {
        if !taken {
            self.receipts.forget_to_sip(reference);
            return;
        }
        let early = self.receipts.asked_by_xmpp(reference).and_then(|message| {
            message.state.answered = true;
            message.state.early.take()
        });
        if let Some(receipt) = early {
            self.tell_xmpp(reference, receipt);
        }
    }

    /// What a SIP user's device says of a message.
    pub(super) fn sip_receipt(
        &mut self,
        reference: Ref,
        receipt: Result<Receipt, Failure>,
        now: Now,
    ) {
        self.receipts.to_sip.expire(now);
        self.receipts.unasked.expire(now);
        let Some(message) = self.receipts.asked_by_xmpp(reference) else {
            return self.receipts.miss();
        };
        if message.state.answered {
            return self.tell_xmpp(reference, receipt);
        }
        let early = &mut message.state.early;
        *early = Some(match (early.take(), receipt) {
            (Some(Ok(before)), Ok(receipt)) => Ok(before.max(receipt)),
            (Some(Ok(before)), Err(_)) => Ok(before),
            (_, receipt) => receipt,
        });
    }

    fn tell_xmpp(&mut self, reference: Ref, receipt: Result<Receipt, Failure>) {
        let Some(message) = self.receipts.asked_by_xmpp(reference) else {
            return;
        };
        let policy = &self.settings.policy;
        if !policy.allows_user(&message.from.domain, &message.to) {
            return self.receipts.miss();
        }
        let (from, to) = (message.to.clone(), message.from.clone());
        let (id, kind) = (message.id.clone(), message.kind);
        match receipt {
            Ok(receipt) => {
                for receipt in message.state.due(receipt) {
                    let (from, to, id) = (from.clone(), to.clone(), id.clone());
                    self.xmpp(XmppOut::Receipt {
                        from,
                        to,
                        id,
                        kind,
                        receipt,
                    });
                }
            }
            // One device has it: that another has not is no failure.
            Err(_) if message.state.told.is_some() => {}
            Err(failure) => {
                self.receipts.forget_to_sip(reference);
                self.report_as(reference, (from, to, Some(id)), to_stanza(&failure));
            }
        }
    }

    /// A message goes out to XMPP.
    pub(super) fn await_xmpp_receipts(
        &mut self,
        (reference, sip_ref): (Ref, Ref),
        stanza: &StanzaKey,
        wants: Wants,
        now: Now,
    ) {
        if !asks(wants) {
            return;
        }
        let message = FromSip {
            sip_ref,
            stanza: stanza.clone(),
            state: State::new(wants),
        };
        let user = stanza.from.clone();
        let receipts = &mut self.receipts;
        receipts.by_stanza.insert(stanza.clone(), reference);
        let forgotten = receipts.to_xmpp.insert(reference, user, message, now);
        receipts.unlist(&forgotten);
    }

    /// The SIP sender of a message to XMPP has its answer. After a failure there is no receipt.
    pub(super) fn xmpp_answered(&mut self, reference: Ref, taken: bool) {
        if !taken {
            let removed = self.receipts.to_xmpp.remove(reference);
            let forgotten = removed.map(|message| (reference, message));
            return self.receipts.unlist(forgotten.as_slice());
        }
        let early = self
            .receipts
            .to_xmpp
            .get_mut(reference)
            .and_then(|message| {
                message.state.answered = true;
                message.state.early.take()
            });
        if let Some(receipt) = early {
            self.tell_sip(reference, receipt);
        }
    }

    /// A receipt from XMPP: the messages that it is about. `displayed` is about all before it, too (XEP-0333 §4).
    pub(super) fn xmpp_receipt(
        &mut self,
        (from, to): (&Jid, &Jid),
        id: String,
        receipt: Receipt,
        now: Now,
    ) -> Vec<Ref> {
        let forgotten = self.receipts.to_xmpp.expire(now);
        self.receipts.unlist(&forgotten);
        let allowed = self.settings.policy.allows_user(&from.domain, to);
        let stanza = StanzaKey::of_answer(from, to, id);
        let found = self.receipts.by_stanza.get(&stanza).copied();
        let Some(last) = found.filter(|_| allowed) else {
            self.receipts.miss();
            return Vec::new();
        };
        let mut about = match receipt {
            Receipt::Delivered => Vec::new(),
            Receipt::Displayed => self.receipts.shown_before(last, &stanza),
        };
        about.push(last);
        for reference in &about {
            self.take_xmpp_receipt(*reference, receipt);
        }
        about
    }

    fn take_xmpp_receipt(&mut self, reference: Ref, receipt: Receipt) {
        let Some(message) = self.receipts.to_xmpp.get_mut(reference) else {
            return;
        };
        if message.state.answered {
            self.tell_sip(reference, receipt);
        } else {
            message.state.early = message.state.early.max(Some(receipt));
        }
    }

    fn tell_sip(&mut self, reference: Ref, receipt: Receipt) {
        if let Some(message) = self.receipts.to_xmpp.get_mut(reference) {
            let reference = message.sip_ref;
            for receipt in message.state.due(receipt) {
                self.sip(SipOut::Receipt { reference, receipt });
            }
        }
    }
}

impl Receipts {
    /// Receipts that matched no message.
    pub(super) fn unmatched(&self) -> u64 {
        self.unmatched
    }

    /// A message to SIP.
    fn asked_by_xmpp(&mut self, reference: Ref) -> Option<&mut FromXmpp> {
        let asked = self.to_sip.get_mut(reference);
        asked.or_else(|| self.unasked.get_mut(reference))
    }

    fn forget_to_sip(&mut self, reference: Ref) {
        self.to_sip.remove(reference);
        self.unasked.remove(reference);
    }

    fn miss(&mut self) {
        self.unmatched = self.unmatched.saturating_add(1);
    }

    /// Answered messages of the same two users before this one, of which no more than their delivery is known.
    fn shown_before(&self, last: Ref, stanza: &StanzaKey) -> Vec<Ref> {
        self.to_xmpp
            .of_user(&stanza.from)
            .take_while(|(reference, _)| *reference < last)
            .filter(|(_, message)| message.stanza.to == stanza.to && message.state.answered)
            .filter(|(_, message)| message.state.told < Some(Receipt::Displayed))
            .map(|(reference, _)| reference)
            .collect()
    }

    fn unlist(&mut self, forgotten: &[(Ref, FromSip)]) {
        for (reference, message) in forgotten {
            // A later message may have taken the same id.
            if self.by_stanza.get(&message.stanza) == Some(reference) {
                self.by_stanza.remove(&message.stanza);
            }
        }
    }
}

fn asks(wants: Wants) -> bool {
    wants.delivered || wants.displayed
}

/// Messages by name, which rises with time.
struct Memory<T> {
    messages: BTreeMap<Ref, Remembered<T>>,
    by_user: BTreeMap<Jid, BTreeSet<Ref>>,
    kept: Duration,
    max: usize,
    max_per_user: usize,
}

struct Remembered<T> {
    until: Duration,
    user: Jid,
    message: T,
}

impl<T> Memory<T> {
    fn new(kept: Duration, max: usize, max_per_user: usize) -> Self {
        Self {
            messages: BTreeMap::new(),
            by_user: BTreeMap::new(),
            kept,
            max,
            max_per_user,
        }
    }

    /// Remembers a message; what is forgotten for it comes back.
    fn insert(&mut self, reference: Ref, user: Jid, message: T, now: Now) -> Vec<(Ref, T)> {
        let mut forgotten = self.expire(now);
        let own = self.by_user.entry(user.clone()).or_default();
        let first_own = own.first().copied();
        let first_own = first_own.filter(|_| own.len() >= self.max_per_user);
        own.insert(reference);
        let remembered = Remembered {
            until: now.mono.saturating_add(self.kept),
            user,
            message,
        };
        self.messages.insert(reference, remembered);
        let first = self.messages.keys().next().copied();
        let first = first.filter(|_| self.messages.len() > self.max);
        if let Some(oldest) = first_own.or(first) {
            forgotten.extend(self.remove(oldest).map(|message| (oldest, message)));
        }
        forgotten
    }

    /// Forgets what is too old.
    fn expire(&mut self, now: Now) -> Vec<(Ref, T)> {
        let mut forgotten = Vec::new();
        while let Some((reference, oldest)) = self.messages.first_key_value()
            && oldest.until <= now.mono
        {
            let reference = *reference;
            forgotten.extend(self.remove(reference).map(|message| (reference, message)));
        }
        forgotten
    }

    fn get_mut(&mut self, reference: Ref) -> Option<&mut T> {
        let remembered = self.messages.get_mut(&reference)?;
        Some(&mut remembered.message)
    }

    fn remove(&mut self, reference: Ref) -> Option<T> {
        let Remembered { user, message, .. } = self.messages.remove(&reference)?;
        if let Some(own) = self.by_user.get_mut(&user) {
            own.remove(&reference);
            if own.is_empty() {
                self.by_user.remove(&user);
            }
        }
        Some(message)
    }

    /// The messages of one sender, the oldest first.
    fn of_user(&self, user: &Jid) -> impl Iterator<Item = (Ref, &T)> {
        let own = self.by_user.get(user).into_iter().flatten();
        own.filter_map(|reference| {
            let remembered = self.messages.get(reference)?;
            Some((*reference, &remembered.message))
        })
    }
}
