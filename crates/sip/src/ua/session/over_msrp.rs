//! What flows in a session over MSRP (RFC 4975 §7, RFC 7573 §5 to §8).

use std::collections::{BTreeMap, BTreeSet};

use stox_core::address::SipAddress;
use stox_core::failure::{Failure, Local};
use stox_core::time::Now;
use stox_core::vocab::{Im, Receipt, Ref, SipIn, Wants};

use super::{SessionId, Sessions, State, in_session};
use crate::adapt;
use crate::adapt::im::{Accepted, Inbound, PageMessage};
use crate::body::imdn::{Imdn, Wanted};
use crate::dialect::ImMode;
use crate::msrp::endpoint::{
    Channel, DeliveryId, Event, FailureReport, Fault, Message, Received, Status,
};
use crate::ua::effects::Env;
use crate::ua::page_message::{Page, fail, taken};

/// The type of the wrapper that says more of a message.
const CPIM: (&str, &str) = ("message", "cpim");
/// Receipts that XMPP users may still send for messages over MSRP; the oldest goes first.
const MAX_OWED: usize = 10_000;

/// A message of the peer's that the bridge has not answered.
#[derive(Debug)]
struct Incoming {
    delivery: DeliveryId,
    channel: Channel,
    owed: Option<Owed>,
}

/// What the sender of a message wants to be told of it.
#[derive(Debug, Clone)]
pub(super) struct Owed {
    session: SessionId,
    message_id: String,
    octets: u64,
    /// A success report (RFC 4975 §7.1.2).
    report: bool,
    /// Notifications (RFC 5438).
    wanted: Option<Wanted>,
}

/// Messages that came over MSRP.
#[derive(Debug, Default)]
pub(super) struct Deliveries {
    by_ref: BTreeMap<Ref, Incoming>,
    by_delivery: BTreeMap<DeliveryId, Ref>,
    /// Delivered ones whose senders wait for a report.
    owed: BTreeMap<Ref, Owed>,
    /// MSRP sessions of which nothing is left but the answers to these.
    ending: BTreeSet<Channel>,
}

impl Deliveries {
    /// How many the bridge has not answered.
    pub(super) fn len(&self) -> usize {
        self.by_ref.len()
    }

    /// Nothing is known of any message.
    pub(super) fn is_empty(&self) -> bool {
        self.by_ref.is_empty()
            && self.by_delivery.is_empty()
            && self.owed.is_empty()
            && self.ending.is_empty()
    }

    /// The bridge has not answered all that came in an MSRP session.
    fn awaits(&self, channel: Channel) -> bool {
        self.by_ref
            .values()
            .any(|incoming| incoming.channel == channel)
    }

    /// Nobody can be told anything any more in a session.
    fn forget(&mut self, session: SessionId) {
        self.owed.retain(|_, owed| owed.session != session);
    }
}

impl Sessions {
    /// Something happened to the MSRP session of a channel. Events of channels that are none of ours come back.
    pub(in crate::ua) fn happened(
        &mut self,
        event: Event,
        reference: Ref,
        env: &mut Env<'_>,
    ) -> Option<Event> {
        if let Event::Abandoned { delivery } = &event {
            let known = self.deliveries.by_delivery.remove(delivery);
            let Some(reference) = known else {
                return Some(event);
            };
            let incoming = self.deliveries.by_ref.remove(&reference);
            env.tell(SipIn::MessageGone { reference });
            if let Some(incoming) = incoming {
                self.end(incoming.channel, env);
            }
            return None;
        }
        let channel = event.channel();
        if channel.is_some_and(|channel| self.deliveries.ending.contains(&channel)) {
            if let Event::Received { delivery, .. } | Event::Nickname { delivery, .. } = event {
                env.msrp.answer(delivery, over(), env.now);
            }
            return None;
        }
        let Some(id) = channel.and_then(|channel| self.book.by_channel(channel)) else {
            return Some(event);
        };
        match event {
            Event::Up(_) => self.linked(id, env),
            Event::Received {
                delivery, message, ..
            } => self.arrived_over_msrp(id, delivery, &message, reference, env),
            Event::Sent {
                message_id,
                outcome,
                ..
            } => self.sent(id, &message_id, outcome, env),
            Event::Report {
                message_id, status, ..
            } => self.reported(id, &message_id, &status, env),
            Event::Down { .. } => self.unlinked(id, env),
            Event::Nickname { delivery, .. } => {
                let status = Status::said(403, "This Is No Chat Room");
                env.msrp.answer(delivery, status, env.now);
            }
            _ => {}
        }
        None
    }

    /// A connection carries the session.
    fn linked(&mut self, id: SessionId, env: &mut Env<'_>) {
        let Some(session) = self.book.get_mut(id) else {
            return;
        };
        if let Some(line) = session.medium.line_mut() {
            line.up = true;
        }
        if matches!(session.state, State::Linking) {
            session.state = State::Open;
            self.opened(id, env);
        }
    }

    /// No connection carries it any more, or none ever came.
    fn unlinked(&mut self, id: SessionId, env: &mut Env<'_>) {
        let Some(session) = self.book.get_mut(id) else {
            return;
        };
        if let Some(line) = session.medium.line_mut() {
            line.up = false;
            line.lost = true;
        }
        match session.state {
            State::Linking => self.unlinkable(id, env),
            State::Open => self.leave(id, env),
            // The answer to their INVITE is on its way: its ACK ends the session.
            _ => {}
        }
    }

    /// Sends a message.
    pub(super) fn transmit_over_msrp(&mut self, id: SessionId, page: Page, env: &mut Env<'_>) {
        let Some(session) = self.book.get_mut(id) else {
            return fail(page, Failure::Local(Local::TransportFailed), env);
        };
        let Some(line) = session.medium.line_mut() else {
            return fail(page, Failure::Local(Local::TransportFailed), env);
        };
        let Some(channel) = line.channel else {
            return fail(page, Failure::Local(Local::TransportFailed), env);
        };
        let id_of_message = env.entropy.token();
        let parties = (&session.ours, &session.theirs);
        let accepted = (&session.accepted, &line.wrapped);
        let content = written(&page.im, &id_of_message, parties, accepted, env.now);
        let Some(content) = content else {
            return fail(page, Failure::Local(Local::NotAcceptable), env);
        };
        let message = Message {
            id: id_of_message,
            content_type: content.content_type().to_owned(),
            body: content.body,
            success_report: page.im.wants.delivered,
            // Not `no`, as RFC 7573 §7 has it: then nobody would say that it was refused.
            failure_report: FailureReport::Yes,
            hint: page.im.id.clone(),
        };
        // A failure may be reported of any.
        line.remember(message.id.clone(), page.reference);
        session.message_id = Some(message.id.clone());
        session.sending = Some(page);
        // A message ends the typing before it by itself (RFC 3994 §3.3).
        session.composing = None;
        env.msrp.send(channel, message, env.now);
        self.timers.clear((id, super::Timer::Typing));
        self.rest(id, env);
    }

    /// The fate of something that we sent.
    fn sent(
        &mut self,
        id: SessionId,
        message_id: &str,
        outcome: Result<(), Fault>,
        env: &mut Env<'_>,
    ) {
        let Some(session) = self.book.get_mut(id) else {
            return;
        };
        let line = session.medium.line_mut();
        if let Some(line) = line.filter(|line| line.typing.as_deref() == Some(message_id)) {
            line.typing = None;
            session.deaf |= matches!(outcome, Err(Fault::Refused(_)));
            return;
        }
        if session.message_id.as_deref() != Some(message_id) {
            return;
        }
        session.message_id = None;
        let Some(page) = session.sending.take() else {
            return;
        };
        let closing = matches!(session.state, State::Closing);
        match outcome {
            Ok(()) => taken(page, ImMode::Session, env),
            Err(fault) if was_not_taken(&fault) && !page.reopened => {
                return self.send_elsewhere(id, page, env);
            }
            Err(fault) => {
                let broken = !matches!(fault, Fault::Refused(_) | Fault::TooLarge);
                fail(page, failure_of(fault), env);
                if broken && !closing {
                    return self.close(id, env);
                }
            }
        }
        if closing {
            self.reopen(id, env);
        } else {
            self.pump(id, env);
        }
    }

    /// What the peer says of a message of ours later (RFC 7573 §7).
    fn reported(&mut self, id: SessionId, message_id: &str, status: &Status, env: &mut Env<'_>) {
        let line = self.book.get(id).and_then(|session| session.medium.line());
        let reference = line.and_then(|line| line.reported(message_id));
        if let Some(reference) = reference {
            let receipt = match status.code {
                200 => Ok(Receipt::Delivered),
                _ => Err(adapt::failure::from_msrp(status.code, &status.comment)),
            };
            env.tell(SipIn::Receipt { reference, receipt });
        }
    }

    // ------------------------------------------------------------------------------------------ in

    /// A message of the peer's. Its last chunk is answered when the bridge has answered.
    fn arrived_over_msrp(
        &mut self,
        id: SessionId,
        delivery: DeliveryId,
        message: &Received,
        reference: Ref,
        env: &mut Env<'_>,
    ) {
        self.rest(id, env);
        let Some(session) = self.book.get(id) else {
            return;
        };
        let flows = matches!(
            session.state,
            State::Open | State::Accepted | State::Linking
        );
        if !flows {
            return env.msrp.answer(delivery, over(), env.now);
        }
        let Some(channel) = session.medium.line().and_then(|line| line.channel) else {
            return env.msrp.answer(delivery, over(), env.now);
        };
        let (from, to) = (session.theirs.clone(), session.ours.clone());
        let media_type = message.content_type.as_deref();
        match adapt::im::read_content(media_type, &message.body, env.now) {
            Ok(Inbound::Message(im, wanted)) => {
                let mut im = in_session(*im, &session.thread());
                im.trace = session.their_trace.clone();
                im.wants.delivered |= message.success_report;
                let owed = (message.success_report || wanted.is_some()).then(|| Owed {
                    session: id,
                    message_id: message.message_id.clone(),
                    octets: message.body.len() as u64,
                    report: message.success_report,
                    wanted,
                });
                self.deliveries.by_delivery.insert(delivery, reference);
                let incoming = Incoming {
                    delivery,
                    channel,
                    owed,
                };
                self.deliveries.by_ref.insert(reference, incoming);
                self.wrote(id);
                env.tell(SipIn::Message {
                    reference,
                    from,
                    to,
                    im,
                });
            }
            Ok(other) => {
                env.msrp.answer(delivery, Status::ok(), env.now);
                match other {
                    Inbound::Composing(composing) => self.heard(id, &composing, env),
                    Inbound::Disposition(all) => {
                        all.iter().for_each(|imdn| self.disposed(id, imdn, env));
                    }
                    _ => {}
                }
            }
            Err(refusal) => {
                let status = Status::said(refusal.status, refusal.reason);
                env.msrp.answer(delivery, status, env.now);
            }
        }
    }

    /// A notification about a message of ours (RFC 5438).
    fn disposed(&mut self, id: SessionId, imdn: &Imdn, env: &mut Env<'_>) {
        let line = self.book.get(id).and_then(|session| session.medium.line());
        let reference = line.and_then(|line| line.reported(&imdn.message_id));
        if let Some(reference) = reference
            && let Some(receipt) = adapt::im::receipt(imdn.disposition)
        {
            env.tell(SipIn::Receipt { reference, receipt });
        }
    }

    /// The bridge's answer to a message that came over MSRP. `false`: the reference is of something else.
    pub(in crate::ua) fn answer_delivery(
        &mut self,
        reference: Ref,
        outcome: &Result<(), Failure>,
        env: &mut Env<'_>,
    ) -> bool {
        let Some(incoming) = self.deliveries.by_ref.remove(&reference) else {
            return false;
        };
        self.deliveries.by_delivery.remove(&incoming.delivery);
        let status = match outcome {
            Ok(()) => Status::ok(),
            Err(failure) => adapt::failure::to_msrp(failure),
        };
        env.msrp.answer(incoming.delivery, status, env.now);
        self.end(incoming.channel, env);
        if outcome.is_ok()
            && let Some(owed) = incoming.owed
            && self.book.get(owed.session).is_some()
        {
            let owed_all = &mut self.deliveries.owed;
            if owed_all.len() >= MAX_OWED {
                owed_all.pop_first();
            }
            owed_all.insert(reference, owed);
        }
        true
    }

    /// The XMPP user's client says something of a message: its sender is told, once of each. `false`: the reference is
    /// of something else.
    pub(in crate::ua) fn receipt(
        &mut self,
        reference: Ref,
        receipt: Receipt,
        env: &mut Env<'_>,
    ) -> bool {
        let Some(owed) = self.deliveries.owed.get_mut(&reference) else {
            return false;
        };
        let (report, notice) = owed.pay(receipt);
        let (id, octets) = (owed.session, owed.octets);
        let message_id = owed.message_id.clone();
        if owed.is_settled() {
            self.deliveries.owed.remove(&reference);
        }
        let session = self.book.get(id);
        let Some((session, channel)) =
            session.and_then(|session| Some((session, session.medium.line()?.channel?)))
        else {
            return true;
        };
        if report {
            env.msrp
                .report(channel, &message_id, octets, Status::ok(), env.now);
        }
        if let Some(wanted) = notice {
            let parties = (&session.ours, &session.theirs);
            let id = env.entropy.token();
            let notice = adapt::im::notification(&wanted, receipt, parties, &id, env.now);
            env.msrp.send(channel, plain(id, notice), env.now);
        }
        true
    }

    /// The SIP domain of an MSRP session.
    pub(in crate::ua) fn domain_of(&self, channel: Channel) -> Option<&str> {
        let id = self.book.by_channel(channel)?;
        self.book.get(id).map(super::Session::domain)
    }

    /// The MSRP part of a session is over, but for answers that the peer waits for: without them it would send those
    /// messages again.
    pub(super) fn unplug(&mut self, id: SessionId, env: &mut Env<'_>) {
        if let Some(line) = self.book.get(id).and_then(|session| session.medium.line()) {
            line.withdraw(env);
        }
        if let Some(channel) = self.book.take_channel(id) {
            self.deliveries.ending.insert(channel);
            self.end(channel, env);
        }
        self.deliveries.forget(id);
    }

    /// Closes an MSRP session that is over, once all is answered.
    fn end(&mut self, channel: Channel, env: &mut Env<'_>) {
        if !self.deliveries.awaits(channel) && self.deliveries.ending.remove(&channel) {
            env.msrp.close(channel, env.now);
        }
    }
}

fn over() -> Status {
    Status::said(481, "The Session Is Over")
}

/// The peer has not taken it, and never will: it may go another way.
fn was_not_taken(fault: &Fault) -> bool {
    match fault {
        Fault::NotSent | Fault::Closed => true,
        Fault::Refused(status) => matches!(status.code, 481 | 506),
        Fault::Timeout | Fault::Lost | Fault::TooLarge | Fault::Overloaded => false,
    }
}

pub(in crate::ua) fn failure_of(fault: Fault) -> Failure {
    match fault {
        Fault::Refused(status) => adapt::failure::from_msrp(status.code, &status.comment),
        Fault::Timeout => Failure::Local(Local::Timeout),
        Fault::Lost => Failure::Local(Local::OutcomeUnknown),
        Fault::TooLarge => Failure::Local(Local::TooLarge),
        Fault::Overloaded => Failure::Local(Local::Overloaded),
        Fault::NotSent | Fault::Closed => Failure::Local(Local::TransportFailed),
    }
}

/// A message in the form that the peer takes: with a wrapper where it is to say what plain text cannot, or where the peer
/// takes nothing else. `None`: it takes no text at all.
fn written(
    im: &Im,
    message_id: &str,
    parties: (&SipAddress, &SipAddress),
    (bare, wrapped): (&Accepted, &Accepted),
    now: Now,
) -> Option<PageMessage> {
    let plain = adapt::im::write(im, bare).ok();
    let (kind, subtype) = CPIM;
    // Delivery is what a success report tells (RFC 7573 §7).
    let wants = Wants {
        delivered: false,
        ..im.wants
    };
    let says_more = wants.displayed || !im.subjects.is_empty();
    if !bare.names(kind, subtype) || (plain.is_some() && !says_more) {
        return plain;
    }
    let inside = adapt::im::write(im, wrapped).ok();
    let around = inside.map(|inside| adapt::im::wrap(&inside, parties, (message_id, wants), now));
    around.or(plain)
}

/// Something to send of which nobody wants to hear again.
pub(super) fn plain(id: String, content: PageMessage) -> Message {
    Message {
        id,
        content_type: content.content_type().to_owned(),
        body: content.body,
        success_report: false,
        failure_report: FailureReport::Yes,
        hint: None,
    }
}

impl Owed {
    /// What is to be told now: a report, a notification. What is told is taken off.
    fn pay(&mut self, receipt: Receipt) -> (bool, Option<Wanted>) {
        let delivered = receipt == Receipt::Delivered;
        let report = delivered && std::mem::take(&mut self.report);
        let notice = self.wanted.as_mut().and_then(|wanted| {
            let asked = match receipt {
                Receipt::Delivered => &mut wanted.delivered,
                Receipt::Displayed => &mut wanted.displayed,
            };
            std::mem::take(asked).then(|| wanted.clone())
        });
        (report, notice)
    }

    /// Nothing more is to be told.
    fn is_settled(&self) -> bool {
        let wanted = self.wanted.as_ref();
        !self.report && wanted.is_none_or(|wanted| !wanted.delivered && !wanted.displayed)
    }
}
