//! Instant messages: each one ends in exactly one outcome, told to its sender in the sender's protocol.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::address::{
    AddressError, Jid, Scheme, SipAddress, canonical_domain, jid_to_sip, sip_to_jid,
};
use crate::failure::{Failure, Local, StanzaError, to_stanza};
use crate::time::Now;
use crate::vocab::{
    About, ChatState, Fate, Im, ImKind, Outcome, Party, Receipt, Ref, SipOut, StoreOut, Unsettled,
    Way, XmppOut,
};

use super::context::{Context, Timer, local_error};
use super::ledger::Subject;
use seen::Seen;

mod recent;
pub(super) mod seen;

/// A message from XMPP to SIP that has no outcome yet.
struct ToSip {
    /// The XMPP sender, as the stanza said it.
    from: Jid,
    /// The recipient, as the stanza said it.
    to: Jid,
    /// The stanza's id.
    id: Option<String>,
    /// Domain of the recipient, canonical.
    domain: String,
    /// What to send once the store has it; gone when it is sent.
    held: Option<Held>,
    about: About,
    /// What its recipient's side has said before the final answer.
    told: Option<Fate>,
}

struct Held {
    from: SipAddress,
    to: SipAddress,
    im: Im,
}

/// A message from SIP to XMPP that the XMPP side has not settled yet.
struct ToXmpp {
    /// The SIP adapter's name for it while its sender waits; gone when he has been answered or has left.
    open: Option<Ref>,
    stanza: StanzaKey,
    /// Domain of the recipient, canonical.
    domain: String,
    deadline: Duration,
    /// The sender, bare.
    from: Jid,
    /// The recipient, with the device where the sender named one.
    to: Jid,
    about: About,
    /// How it stands in the ledger, once it does.
    entered: Option<Outcome>,
}

/// Recipient, sender (both by their [`Jid::match_key`]) and id: what an error stanza about a message has to name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct StanzaKey {
    pub(super) to: Jid,
    pub(super) from: Jid,
    pub(super) id: String,
}

impl StanzaKey {
    fn new(from: &Jid, to: &Jid, id: String) -> Self {
        Self {
            to: to.bare().match_key(),
            from: from.bare().match_key(),
            id,
        }
    }

    /// The message that a stanza with these addresses answers.
    pub(super) fn of_answer(from: &Jid, to: &Jid, id: String) -> Self {
        Self::new(to, from, id)
    }
}

/// All messages under way.
#[derive(Default)]
pub(super) struct Messages {
    to_sip: BTreeMap<Ref, ToSip>,
    to_xmpp: BTreeMap<Ref, ToXmpp>,
    by_sip_ref: BTreeMap<Ref, Ref>,
    by_stanza: BTreeMap<StanzaKey, Ref>,
    pending: BTreeMap<String, usize>,
    late_errors: u64,
    seen: Seen,
}

impl Messages {
    pub(super) fn to_sip_count(&self) -> usize {
        self.to_sip.len()
    }

    /// The SIP domains of all of them, canonical.
    pub(super) fn sip_domains(&self) -> impl Iterator<Item = &str> {
        let to_sip = self.to_sip.values().map(|message| message.domain.as_str());
        let to_xmpp = self.to_xmpp.values();
        to_sip.chain(to_xmpp.map(|message| message.from.domain.as_str()))
    }

    pub(super) fn to_xmpp_count(&self) -> usize {
        self.to_xmpp.len()
    }

    pub(super) fn late_errors(&self) -> u64 {
        self.late_errors
    }

    /// A stanza from an XMPP user to a SIP user.
    pub(super) fn xmpp_message(&mut self, cx: &mut Context, from: Jid, to: Jid, im: Im, now: Now) {
        let mut im = without_empty_bodies(im);
        let fresh = cx.came_over(std::mem::take(&mut im.trace));
        im.trace = cx.trace();
        if cx.admit_user(&from.domain, &to).is_ok() {
            self.seen.xmpp_wrote((&from, &to), &im, now);
        }
        if im.bodies.is_empty() {
            // What somebody is doing is carried over one gateway only: a notice of typing in SIP bears no mark.
            if cx.is_first() {
                self.xmpp_chat_state(cx, (&from, &to), im, now);
            }
            return;
        }
        let (id, about) = (im.id.clone(), About::of(&im, now.wall));
        match fresh.and_then(|()| self.admit_to_sip(cx, (&from, &to), im, now)) {
            Ok((domain, held)) => {
                let reference = cx.fresh_ref();
                *self.pending.entry(domain.clone()).or_default() += 1;
                cx.store(StoreOut::Keep(Unsettled {
                    reference,
                    from: from.clone(),
                    to: to.clone(),
                    id: id.clone(),
                    about: about.clone(),
                }));
                let message = ToSip {
                    from,
                    to,
                    id,
                    domain,
                    held: Some(held),
                    about,
                    told: None,
                };
                self.to_sip.insert(reference, message);
            }
            Err(local) => {
                let subject = Subject::to_sip(from.clone(), to.clone(), id.clone(), about);
                let number = cx.fresh_ref();
                let about = subject.about.clone();
                cx.record(number, subject, Fate::refused(Way::ToSip, local), now);
                cx.report(number, (to, from, id), local_error(local), (about, false));
            }
        }
    }

    /// A stanza whose content cannot cross.
    pub(super) fn xmpp_unreadable(
        &mut self,
        cx: &mut Context,
        (from, to): (Jid, Jid),
        im: Im,
        why: Local,
        now: Now,
    ) {
        let local = cx.admit_user(&from.domain, &to).err().unwrap_or(why);
        let about = About::of(&im, now.wall);
        let subject = Subject::to_sip(from.clone(), to.clone(), im.id.clone(), about);
        let number = cx.fresh_ref();
        let about = subject.about.clone();
        cx.record(number, subject, Fate::refused(Way::ToSip, local), now);
        cx.report(
            number,
            (to, from, im.id),
            local_error(local),
            (about, false),
        );
    }

    /// A chat state without a text. Where it cannot go, nobody misses it.
    fn xmpp_chat_state(&self, cx: &mut Context, parties: (&Jid, &Jid), im: Im, now: Now) {
        let (thread, state) = (im.thread.clone(), im.chat_state);
        if let Some(state) = state
            && let Ok((_, held)) = self.admit_to_sip(cx, parties, im, now)
        {
            cx.sip(SipOut::ChatState {
                from: held.from,
                to: held.to,
                thread,
                state,
            });
        }
    }

    /// What a SIP user is doing. Where it cannot go or is not understood, nobody misses it.
    pub(super) fn sip_chat_state(
        &self,
        cx: &mut Context,
        addresses: (&SipAddress, &SipAddress),
        (thread, state): (Option<String>, ChatState),
        now: Now,
    ) {
        if let Ok((from, to)) = self.admit_to_xmpp(cx, addresses.0, addresses.1)
            && self.seen.takes_states(&to, &from, now)
        {
            cx.xmpp(XmppOut::ChatState {
                from,
                to,
                thread,
                state,
                trace: cx.trace(),
            });
        }
    }

    /// The store has the message, or cannot take it.
    pub(super) fn kept(&mut self, cx: &mut Context, reference: Ref, kept: bool, now: Now) {
        if cx.report_kept(reference, kept) {
            return;
        }
        if kept {
            let Some(message) = self.to_sip.get_mut(&reference) else {
                return;
            };
            if let Some(Held { from, to, im }) = message.held.take() {
                let parties = (&message.from, &message.to, message.id.as_deref());
                cx.await_sip_receipts(reference, parties, (im.kind, im.wants), now);
                cx.sip(SipOut::Message {
                    reference,
                    from,
                    to,
                    im,
                });
            }
        } else if self.is_held(reference)
            && let Some(message) = self.take_to_sip(reference)
        {
            let fate = Fate::refused(Way::ToSip, Local::Overloaded);
            cx.record(reference, message.subject(), fate, now);
            let error = local_error(Local::Overloaded);
            let failed = (message.to, message.from, message.id);
            cx.report(reference, failed, error, (message.about, true));
            // Asked again only if its sender cannot be told.
            cx.report_kept(reference, false);
        }
    }

    /// The final answer to a message that went to SIP.
    pub(super) fn sip_outcome(
        &mut self,
        cx: &mut Context,
        reference: Ref,
        outcome: Result<(), Failure>,
        now: Now,
    ) {
        if self.is_held(reference) {
            return;
        }
        if let Some(message) = self.take_to_sip(reference) {
            let fate = match &outcome {
                Ok(()) => Outcome::Taken.into(),
                Err(failure) => {
                    self.seen.forget_device(&message.to, &message.from);
                    Fate::of(Way::ToSip, failure)
                }
            };
            let taken = outcome.is_ok();
            Self::settle(cx, reference, message, (outcome, fate), now);
            cx.sip_answered(reference, taken);
        }
    }

    /// A message from before a crash: nobody knows how far it came.
    pub(super) fn unsettled(cx: &mut Context, message: Unsettled, now: Now) {
        cx.skip_ref(message.reference);
        let mut about = message.about;
        if about.arrived.is_zero() {
            about.arrived = now.wall;
        }
        let (from, to) = (message.from.clone(), message.to.clone());
        let subject = Subject::to_sip(from, to, message.id.clone(), about.clone());
        let fate = Fate::of(Way::ToSip, &Failure::Local(Local::OutcomeUnknown));
        cx.record(message.reference, subject, fate, now);
        let error = local_error(Local::OutcomeUnknown);
        let failed = (message.to, message.from, message.id);
        let age = now.wall.saturating_sub(about.arrived);
        let left = cx.settings.report_for.saturating_sub(age);
        cx.report_for(left, message.reference, failed, error, (about, true));
    }

    /// A MESSAGE from a SIP user to an XMPP user.
    pub(super) fn sip_message(
        &mut self,
        cx: &mut Context,
        sip_ref: Ref,
        addresses: (&SipAddress, &SipAddress),
        im: Im,
        now: Now,
    ) {
        if self.by_sip_ref.contains_key(&sip_ref) {
            return;
        }
        let mut im = without_empty_bodies(im);
        let fresh = cx.came_over(std::mem::take(&mut im.trace));
        im.trace = cx.trace();
        if im.bodies.is_empty() {
            return answer(cx, sip_ref, Ok(()));
        }
        match fresh.and_then(|()| self.admit_to_xmpp(cx, addresses.0, addresses.1)) {
            Ok((from, to)) => {
                self.seen.sip_wrote(addresses.0, (&from, &to), now);
                self.send_to_xmpp(cx, sip_ref, from, to, im, now);
            }
            Err(local) => {
                let about = About::of(&im, now.wall);
                let subject = Subject::to_xmpp(addresses.0, addresses.1, im.id, about);
                let number = cx.fresh_ref();
                cx.record(number, subject, Fate::refused(Way::ToXmpp, local), now);
                answer(cx, sip_ref, Err(Failure::Local(local)));
            }
        }
    }

    /// A MESSAGE that came too late to be shown. Only the ledger tells of it.
    pub(super) fn sip_expired(
        cx: &mut Context,
        (from, to): (&SipAddress, &SipAddress),
        im: Im,
        now: Now,
    ) {
        let about = About::of(&im, now.wall);
        let subject = Subject::to_xmpp(from, to, im.id, about);
        let number = cx.fresh_ref();
        let fate = Fate::refused(Way::ToXmpp, Local::Expired);
        cx.record(number, subject, fate, now);
    }

    /// The SIP sender can no longer be answered.
    pub(super) fn sip_gone(&mut self, cx: &mut Context, sip_ref: Ref) {
        if let Some(reference) = self.by_sip_ref.get(&sip_ref).copied() {
            self.close(cx, reference);
        }
    }

    /// An error stanza about a message that went to XMPP. One that matches nothing, or comes after the answer, is
    /// counted and dropped (ERX-08, ERX-13).
    pub(super) fn xmpp_error(
        &mut self,
        cx: &mut Context,
        (from, to): (&Jid, &Jid),
        id: Option<String>,
        error: StanzaError,
        now: Now,
    ) {
        let reference = id.and_then(|id| {
            let key = StanzaKey::of_answer(from, to, id);
            self.by_stanza.get(&key).copied()
        });
        let failure = reported(from, error);
        if let Some(reference) = reference {
            self.enter(cx, reference, Fate::of(Way::ToXmpp, &failure), now);
            cx.xmpp_answered(reference, false);
        }
        let open = reference.and_then(|reference| self.close(cx, reference));
        let Some(sip_ref) = open else {
            self.late_errors = self.late_errors.saturating_add(1);
            return;
        };
        answer(cx, sip_ref, Err(failure));
    }

    /// The XMPP side has handled a message, or given it up.
    pub(super) fn xmpp_settled(
        &mut self,
        cx: &mut Context,
        reference: Ref,
        outcome: Result<(), Failure>,
        now: Now,
    ) {
        if cx.report_settled(reference, &outcome) {
            return;
        }
        let fate = match &outcome {
            Ok(()) => Outcome::Taken.into(),
            Err(failure) => Fate::of(Way::ToXmpp, failure),
        };
        self.enter(cx, reference, fate, now);
        let open = self.close(cx, reference);
        if let Some(message) = self.to_xmpp.remove(&reference) {
            self.by_stanza.remove(&message.stanza);
            self.release(&message.domain);
        }
        let taken = outcome.is_ok();
        if let Some(sip_ref) = open {
            answer(cx, sip_ref, outcome);
        }
        cx.xmpp_answered(reference, taken);
    }

    /// A SIP sender has waited long enough.
    pub(super) fn overdue(&mut self, cx: &mut Context, reference: Ref, now: Now) {
        self.give_up(cx, reference, Local::Timeout, now);
    }

    /// Answers a SIP sender for whom there is no outcome. What the XMPP side says after that still amends the ledger.
    fn give_up(&mut self, cx: &mut Context, reference: Ref, local: Local, now: Now) {
        if let Some(sip_ref) = self.close(cx, reference) {
            let failure = Failure::Local(local);
            self.enter(cx, reference, Fate::of(Way::ToXmpp, &failure), now);
            answer(cx, sip_ref, Err(failure));
            cx.xmpp_answered(reference, false);
        }
    }

    /// A receipt from XMPP, about a message that may have been settled for long.
    pub(super) fn xmpp_receipt(
        &mut self,
        cx: &mut Context,
        addresses: (&Jid, &Jid),
        id: String,
        receipt: Receipt,
        now: Now,
    ) {
        for number in cx.xmpp_receipt(addresses, id, receipt, now) {
            self.amend(cx, number, Outcome::from(receipt).into(), now);
        }
    }

    /// More is known of a message, by the name that it has here: a receipt has come, or a failure after its outcome. May be
    /// called before the outcome, too.
    pub(super) fn amend(&mut self, cx: &mut Context, number: Ref, fate: Fate, now: Now) {
        if let Some(message) = self.to_sip.get_mut(&number) {
            let said = message.told.as_ref().map(|told| told.outcome);
            if said < Some(fate.outcome) {
                message.told = Some(fate);
            }
        } else if self.to_xmpp.contains_key(&number) {
            self.enter(cx, number, fate, now);
        } else {
            cx.amend(number, fate, now);
        }
    }

    /// Answers every SIP sender that waits, and refuses what has not gone out to SIP yet.
    pub(super) fn shut_down(&mut self, cx: &mut Context, now: Now) {
        let open: Vec<Ref> = self.by_sip_ref.values().copied().collect();
        for reference in open {
            self.give_up(cx, reference, Local::ShuttingDown, now);
        }
        let held: Vec<Ref> = self
            .to_sip
            .iter()
            .filter(|(_, message)| message.held.is_some())
            .map(|(reference, _)| *reference)
            .collect();
        for reference in held {
            if let Some(message) = self.take_to_sip(reference) {
                let stopping = Err(Failure::Local(Local::ShuttingDown));
                let fate = Fate::refused(Way::ToSip, Local::ShuttingDown);
                Self::settle(cx, reference, message, (stopping, fate), now);
            }
        }
    }

    fn admit_to_sip(
        &self,
        cx: &Context,
        (from, to): (&Jid, &Jid),
        im: Im,
        now: Now,
    ) -> Result<(String, Held), Local> {
        if im.kind == ImKind::Groupchat {
            return Err(Local::NotAcceptable);
        }
        cx.admit_user(&from.domain, to)?;
        if to.local.is_none() {
            return Err(Local::NoUser);
        }
        // Only the devices that wrote to her are known to be GRUUs. Resources that we announce are tuple ids: behind those
        // the recipient is the user, on whatever device.
        let recipient = SipAddress {
            gr: self.seen.device(to, from, now),
            ..jid_to_sip(&to.bare(), Scheme::Sip).map_err(bad_address)?
        };
        let sender = jid_to_sip(from, Scheme::Sip).map_err(bad_address)?;
        let domain = canonical_domain(&to.domain);
        self.has_room(cx, &domain)?;
        let held = Held {
            from: sender,
            to: recipient,
            im,
        };
        Ok((domain, held))
    }

    fn admit_to_xmpp(
        &self,
        cx: &Context,
        from: &SipAddress,
        to: &SipAddress,
    ) -> Result<(Jid, Jid), Local> {
        let from = sip_to_jid(from).map_err(bad_address)?;
        let to = sip_to_jid(to).map_err(bad_address)?;
        cx.admit_user(&to.domain, &from)?;
        if to.local.is_none() {
            return Err(Local::NoUser);
        }
        self.has_room(cx, &to.domain)?;
        Ok((from, to))
    }

    fn send_to_xmpp(
        &mut self,
        cx: &mut Context,
        sip_ref: Ref,
        from: Jid,
        to: Jid,
        mut im: Im,
        now: Now,
    ) {
        let reference = cx.fresh_ref();
        let about = About::of(&im, now.wall);
        let mut stanza = StanzaKey::new(&from, &to, im.id.take().unwrap_or_default());
        while stanza.id.is_empty() || self.by_stanza.contains_key(&stanza) {
            stanza.id = cx.entropy.token();
        }
        im.id = Some(stanza.id.clone());
        let deadline = now.mono.saturating_add(cx.settings.answer_within);
        cx.arm(deadline, Timer::Answer(reference));
        *self.pending.entry(to.domain.clone()).or_default() += 1;
        self.by_sip_ref.insert(sip_ref, reference);
        self.by_stanza.insert(stanza.clone(), reference);
        let message = ToXmpp {
            open: Some(sip_ref),
            stanza,
            domain: to.domain.clone(),
            deadline,
            from: from.bare(),
            to: to.clone(),
            about,
            entered: None,
        };
        cx.await_xmpp_receipts((reference, sip_ref), &message.stanza, im.wants, now);
        self.to_xmpp.insert(reference, message);
        cx.xmpp(XmppOut::Message {
            reference,
            from,
            to,
            im,
        });
    }

    fn has_room(&self, cx: &Context, domain: &str) -> Result<(), Local> {
        let pending = self.pending.get(domain).copied().unwrap_or_default();
        if pending < cx.settings.max_pending_per_domain {
            Ok(())
        } else {
            Err(Local::Overloaded)
        }
    }

    fn release(&mut self, domain: &str) {
        if let Some(pending) = self.pending.get_mut(domain) {
            *pending = pending.saturating_sub(1);
            if *pending == 0 {
                self.pending.remove(domain);
            }
        }
    }

    /// The end of a message to SIP. It is struck out of the store at once, or when its error has been handled.
    fn settle(
        cx: &mut Context,
        reference: Ref,
        mut message: ToSip,
        (outcome, mut fate): (Result<(), Failure>, Fate),
        now: Now,
    ) {
        if let Some(told) = message.told.take_if(|told| told.outcome > fate.outcome) {
            fate = told;
        }
        // The entry goes first, so that the store has it when it forgets the message.
        match outcome {
            Ok(()) => {
                let ToSip {
                    from,
                    to,
                    id,
                    about,
                    ..
                } = message;
                cx.record(reference, Subject::to_sip(from, to, id, about), fate, now);
                cx.store(StoreOut::Settle(reference));
            }
            Err(failure) => {
                cx.record(reference, message.subject(), fate, now);
                let failed = (message.to, message.from, message.id);
                let error = to_stanza(&failure);
                cx.report(reference, failed, error, (message.about, true));
            }
        }
    }

    /// Enters a message to XMPP in the ledger, or amends what stands there.
    fn enter(&mut self, cx: &mut Context, reference: Ref, fate: Fate, now: Now) {
        let Some(message) = self.to_xmpp.get_mut(&reference) else {
            return;
        };
        match message.entered {
            None => {
                message.entered = Some(fate.outcome);
                cx.record(reference, message.subject(), fate, now);
            }
            Some(before) if before < fate.outcome => {
                message.entered = Some(fate.outcome);
                cx.amend(reference, fate, now);
            }
            Some(_) => {}
        }
    }

    fn is_held(&self, reference: Ref) -> bool {
        self.to_sip
            .get(&reference)
            .is_some_and(|message| message.held.is_some())
    }

    fn take_to_sip(&mut self, reference: Ref) -> Option<ToSip> {
        let message = self.to_sip.remove(&reference)?;
        self.release(&message.domain);
        Some(message)
    }

    /// Ends the wait of a SIP sender; `None` when nobody waits any more.
    fn close(&mut self, cx: &mut Context, reference: Ref) -> Option<Ref> {
        let message = self.to_xmpp.get_mut(&reference)?;
        let sip_ref = message.open.take()?;
        cx.disarm(message.deadline, Timer::Answer(reference));
        self.by_sip_ref.remove(&sip_ref);
        Some(sip_ref)
    }
}

impl ToSip {
    fn subject(&self) -> Subject {
        Subject::to_sip(
            self.from.clone(),
            self.to.clone(),
            self.id.clone(),
            self.about.clone(),
        )
    }
}

impl ToXmpp {
    fn subject(&self) -> Subject {
        Subject {
            way: Way::ToXmpp,
            xmpp: Party::Jid(self.to.clone()),
            sip: Party::Jid(self.from.clone()),
            id: Some(self.stanza.id.clone()),
            about: self.about.clone(),
        }
    }
}

/// The failure that an XMPP entity reported.
pub(crate) fn reported(from: &Jid, error: StanzaError) -> Failure {
    let new_address = error
        .new_address
        .as_deref()
        .and_then(|uri| Jid::from_uri(uri).ok());
    Failure::Xmpp {
        error,
        from_full_jid: from.resource.is_some(),
        new_address,
    }
}

fn answer(cx: &mut Context, reference: Ref, outcome: Result<(), Failure>) {
    cx.sip(SipOut::AnswerMessage { reference, outcome });
}

fn bad_address(_: AddressError) -> Local {
    Local::BadAddress
}

fn without_empty_bodies(mut im: Im) -> Im {
    im.bodies.retain(|body| !body.text.is_empty());
    im
}
