//! The way of stanzas from one domain of ours to one partner domain, and the proof that they arrived.
//!
//! XMPP answers messages only with errors. But the stanzas of one domain pair are handled in order, so a ping to the
//! partner's domain (XEP-0199) written behind them is a fence: its answer, even an error, comes after all errors for
//! what went before. (Where another server carries them, an error of that server's is none: [`Settings::routed`].) A
//! [`Link`] keeps every stanza until a fence has passed it, writes it again on the next stream when one is lost, and
//! settles every reference exactly once: `Ok` only behind an answered fence.
//!
//! Answers come in order, too. So a fence that is answered while an older one of its stream is not says that answers were
//! lost, and errors may have been among them: it passes nothing, and what is in flight is written again.
//!
//! The link is above the streams: it asks for one with [`LinkCommand::Connect`] while it has something to write, and is
//! told how that went. Time is [`Now::mono`].

mod command;
mod fence;
mod queue;
mod report;
mod settings;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use minidom::Element;
use stox_core::address::{Jid, canonical_domain};
use stox_core::failure::{Failure, Local};
use stox_core::time::{Entropy, Now};
use stox_core::vocab::Ref;

pub use self::command::{Attempt, CloseReason, LinkCommand, Loss, Outgoing};
pub use self::report::{Counters, LinkState, LinkStatus};
pub use self::settings::Settings;

use self::fence::{Fence, way_is_cut};
use self::queue::{Item, Kind, Queue, Refusal};
use crate::adapt::{Iq, IqKind, jid};

/// The stanza path of one pair of domains.
pub struct Link {
    settings: Settings,
    local: Jid,
    partner: Jid,
    entropy: Box<dyn Entropy>,
    queue: Queue,
    phase: Phase,
    attempt: Attempt,
    /// Attempts since a partner last answered a fence; sets the delay.
    failures: u32,
    last_failure: Option<Failure>,
    /// Largest stanza that the partner takes, as it said on the last stream.
    announced: Option<usize>,
    late: VecDeque<Fence>,
    commands: VecDeque<LinkCommand>,
    counters: Counters,
}

enum Phase {
    /// No stream, and none wanted.
    Idle,
    Connecting,
    Up(Up),
    /// The last attempt failed.
    Waiting {
        failed_at: Duration,
        until: Duration,
    },
    /// The last attempt failed for good.
    Refusing {
        failure: Failure,
        until: Duration,
    },
    Closed,
}

/// What there is to know about a working stream.
struct Up {
    fence: Option<Fence>,
    /// When a fence is to be written for what has none yet.
    fence_due: Option<Duration>,
    /// When another fence is to be written, unless the one that is there was answered before.
    again_due: Option<Duration>,
    missed: u32,
    /// Last write or answer.
    quiet_since: Duration,
    /// Last stanza.
    idle_since: Duration,
}

impl Link {
    /// A link from `local`, a domain that we speak for, to the domain `partner`.
    #[must_use]
    pub fn new(settings: Settings, local: &str, partner: &str, entropy: Box<dyn Entropy>) -> Self {
        Self {
            queue: Queue::new(settings.queue, settings.queue_octets),
            settings,
            local: jid::of_domain(local),
            partner: jid::of_domain(&canonical_domain(partner)),
            entropy,
            phase: Phase::Idle,
            attempt: Attempt(0),
            failures: 0,
            last_failure: None,
            announced: None,
            late: VecDeque::new(),
            commands: VecDeque::new(),
            counters: Counters::default(),
        }
    }

    /// Takes a stanza. With a reference it is settled exactly once, at once when it cannot be taken.
    ///
    /// Presence that only tells a state replaces what waits unwritten from and to the same addresses, and makes room
    /// for others when the queue is full.
    pub fn send(&mut self, outgoing: Outgoing, now: Now) {
        self.counters.accepted += 1;
        self.forget_refusal(now);
        let refusal = match &self.phase {
            Phase::Refusing { failure, .. } => Some(failure.clone()),
            Phase::Closed => Some(Failure::Local(Local::ShuttingDown)),
            _ => None,
        };
        if let Some(failure) = refusal {
            self.note_unaskable(&Arc::new(outgoing.element), &failure);
            return self.fail(outgoing.reference, failure);
        }
        self.enqueue(outgoing, now);
        self.make_progress(now);
    }

    /// The stream of that attempt is authorised for the pair. The partner may have said on it how many octets of a stanza
    /// it takes at most (XEP-0478).
    pub fn stream_ready(&mut self, attempt: Attempt, announced: Option<usize>, now: Now) {
        if attempt != self.attempt || !matches!(self.phase, Phase::Connecting) {
            return;
        }
        self.announced = announced;
        for (octets, item) in self.queue.fit(self.stanza_limit()) {
            self.note_oversized(octets, item);
        }
        self.phase = Phase::Up(Up {
            fence: None,
            fence_due: None,
            again_due: None,
            missed: 0,
            quiet_since: now.mono,
            idle_since: now.mono,
        });
        self.flush(now);
    }

    /// The stream of that attempt could not be had, or has ended.
    pub fn stream_lost(&mut self, attempt: Attempt, loss: Loss, now: Now) {
        if attempt != self.attempt || !matches!(self.phase, Phase::Connecting | Phase::Up(_)) {
            return;
        }
        self.counters.losses += 1;
        self.drop_stream();
        match loss {
            Loss::Passing(failure) => self.back_off(failure, now),
            Loss::Lasting(failure) => {
                self.last_failure = Some(failure.clone());
                self.phase = Phase::Refusing {
                    failure: failure.clone(),
                    until: now.mono + self.settings.negative_cache,
                };
                self.fail_all(&failure);
            }
        }
    }

    /// The partner has opened a stream to us: no need to wait with the next attempt, nor for an answer that may have
    /// been lost while it had none.
    pub fn partner_seen(&mut self, now: Now) {
        match &mut self.phase {
            Phase::Waiting { .. } | Phase::Refusing { .. } => {
                self.failures = 0;
                self.phase = Phase::Idle;
                self.make_progress(now);
            }
            // COMPAT(ejabberd): answers are dropped, not kept, while it waits to connect to us again. With them go errors:
            // that the second fence is answered and the first is not tells it.
            Phase::Up(up) => {
                let asked_twice = self.late.iter().any(|fence| fence.stream == self.attempt);
                if !asked_twice && let Some(fence) = up.fence.take() {
                    self.keep_late(fence);
                    self.fence_again(now);
                }
            }
            Phase::Idle | Phase::Connecting | Phase::Closed => {}
        }
    }

    /// As [`Self::partner_seen`], where the partner has logged in by SASL EXTERNAL.
    ///
    /// COMPAT(prosody 0.12): from that login until it has read the features behind it, its answers go out at once, ahead of
    /// the errors that wait for the stream. A fence that is written now could be answered before them. The one that is
    /// there waits behind them, and its answer decides; only where that does not come (it was dropped) is there another.
    pub fn partner_logged_in(&mut self, now: Now) {
        match &mut self.phase {
            Phase::Up(up) if up.fence.is_some() => {
                up.again_due = Some(now.mono + self.settings.login_settles);
            }
            _ => self.partner_seen(now),
        }
    }

    /// Looks whether an iq answers a fence. `false`: it is about something else.
    pub fn receive_iq(&mut self, iq: &Iq, now: Now) -> bool {
        let from_partner = iq.from.local.is_none()
            && iq.from.resource.is_none()
            && canonical_domain(&iq.from.domain) == self.partner.domain;
        if !from_partner || !matches!(iq.kind, IqKind::Result | IqKind::Error(_)) {
            return false;
        }
        let Some(answered) = self.take_fence(&iq.id, now) else {
            return false;
        };
        let cut = match &iq.kind {
            IqKind::Error(error) if self.settings.routed => way_is_cut(error.condition),
            _ => None,
        };
        match cut {
            // What was written behind it may have come back, too, on a way that was cut.
            Some(_) if answered.is_late && answered.is_present => {
                self.write_again();
                self.make_progress(now);
            }
            Some(_) if answered.is_late => {}
            Some(why) => self.lose_fence(answered.covers, why, now),
            None => self.hear(&answered, now),
        }
        true
    }

    /// What is to be done next.
    pub fn poll_command(&mut self) -> Option<LinkCommand> {
        self.commands.pop_front()
    }

    /// When [`Link::handle_timeout`] has something to do, in monotonic time.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Duration> {
        let phase = match &self.phase {
            Phase::Idle | Phase::Connecting | Phase::Closed => None,
            Phase::Up(up) => Some(self.next_on_stream(up)),
            Phase::Waiting { failed_at, until } => Some(self.retry_at(*failed_at, *until)),
            Phase::Refusing { until, .. } => Some(*until),
        };
        [phase, self.queue.next_deadline()]
            .into_iter()
            .flatten()
            .min()
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Now) {
        self.expire(now);
        self.forget_refusal(now);
        match &self.phase {
            Phase::Waiting { failed_at, until }
                if self.retry_at(*failed_at, *until) <= now.mono =>
            {
                self.phase = Phase::Idle;
            }
            Phase::Up(_) => self.watch_stream(now),
            _ => {}
        }
        self.make_progress(now);
    }

    /// From now on no fence waits for company: the process is about to stop and wants to know what has been handled.
    pub fn hurry(&mut self, now: Now) {
        self.settings.fence_delay = Duration::ZERO;
        if let Phase::Up(up) = &mut self.phase {
            up.fence_due = None;
        }
        self.make_progress(now);
    }

    /// Gives everything up and lets the stream go.
    pub fn shut_down(&mut self) {
        if matches!(self.phase, Phase::Connecting | Phase::Up(_)) {
            self.close_stream(CloseReason::ShuttingDown);
        }
        self.phase = Phase::Closed;
        self.fail_all(&Failure::Local(Local::ShuttingDown));
    }

    /// Octets on the wire of all that it keeps.
    #[must_use]
    pub fn octets(&self) -> usize {
        self.queue.octets()
    }

    /// What an operator wants to know.
    #[must_use]
    pub fn status(&self) -> LinkStatus {
        let state = match &self.phase {
            Phase::Idle => LinkState::Idle,
            Phase::Connecting => LinkState::Connecting,
            Phase::Up(_) => LinkState::Up,
            Phase::Waiting { failed_at, until } => LinkState::Waiting {
                until: self.retry_at(*failed_at, *until),
            },
            Phase::Refusing { until, .. } => LinkState::Refusing { until: *until },
            Phase::Closed => LinkState::Closed,
        };
        LinkStatus {
            state,
            queued: self.queue.unwritten(),
            unfenced: self.queue.in_flight(),
            octets: self.queue.octets(),
            last_failure: self.last_failure.clone(),
            counters: self.counters.clone(),
        }
    }

    // ------------------------------------------------------------------------------------------------ queue

    fn enqueue(&mut self, outgoing: Outgoing, now: Now) {
        let kind = Kind::of(&outgoing);
        let wait = if matches!(kind, Kind::Report | Kind::State(_)) {
            self.settings.presence_wait
        } else {
            self.settings.message_wait
        };
        let mut item = Item::new(
            outgoing.reference,
            outgoing.element,
            outgoing.deadline.unwrap_or(now.mono + wait),
        );
        let (octets, limit) = (item.octets(), self.stanza_limit());
        if octets > limit {
            if !item.shorten(limit) {
                return self.note_oversized(octets, Some(item));
            }
            self.note_oversized(octets, None);
        }
        match self.queue.push(kind, item) {
            Ok(replaced) => self.counters.replaced += replaced,
            Err(Refusal { item, replaced }) => {
                self.counters.replaced += replaced;
                self.counters.overflowed += 1;
                self.fail_item(&item, Failure::Local(Local::Overloaded));
            }
        }
    }

    fn stanza_limit(&self) -> usize {
        let most = self.settings.stanza_octets;
        self.announced.map_or(most, |announced| announced.min(most))
    }

    /// A stanza of that size was too large; `None`: it has been shortened.
    fn note_oversized(&mut self, octets: usize, refused: Option<Item>) {
        self.counters.oversized += 1;
        self.commands.push_back(LinkCommand::Oversized {
            octets,
            limit: self.stanza_limit(),
            goes: refused.is_none(),
        });
        if let Some(item) = refused {
            self.fail_item(&item, Failure::Local(Local::TooLarge));
        }
    }

    fn expire(&mut self, now: Now) {
        while let Some(item) = self.queue.expire(now.mono) {
            self.counters.expired += 1;
            let failure = self.why_late();
            self.fail_item(&item, failure);
        }
    }

    /// With a stream it was slow; without one the reason is why there is none.
    fn why_late(&self) -> Failure {
        match (&self.phase, &self.last_failure) {
            (Phase::Connecting | Phase::Waiting { .. }, Some(failure)) => failure.clone(),
            _ => Failure::Local(Local::Timeout),
        }
    }

    fn fail_all(&mut self, failure: &Failure) {
        for item in self.queue.drain() {
            self.note_unaskable(item.element(), failure);
            self.fail_item(&item, failure.clone());
        }
    }

    /// Whoever wants to subscribe at a name that leads nowhere hears of it.
    fn note_unaskable(&mut self, element: &Arc<Element>, failure: &Failure) {
        let nowhere = [Local::SipDomain, Local::DomainNotFound].map(Failure::Local);
        let asks = element.name() == "presence" && element.attr("type") == Some("subscribe");
        if asks && nowhere.contains(failure) {
            self.commands.push_back(LinkCommand::Unaskable {
                element: Arc::clone(element),
                failure: failure.clone(),
            });
        }
    }

    fn fail_item(&mut self, item: &Item, failure: Failure) {
        self.fail(item.reference, item.fate(failure));
    }

    fn fail(&mut self, reference: Option<Ref>, failure: Failure) {
        match reference {
            Some(reference) => self.settle(reference, Err(failure)),
            None => self.counters.dropped += 1,
        }
    }

    fn settle(&mut self, reference: Ref, outcome: Result<(), Failure>) {
        self.commands
            .push_back(LinkCommand::Settled { reference, outcome });
    }

    // -------------------------------------------------------------------------------------------- streams

    /// Writes what can be written, or asks for a stream if that takes one.
    fn make_progress(&mut self, now: Now) {
        match &self.phase {
            Phase::Up(_) => self.flush(now),
            Phase::Waiting { failed_at, until } => {
                let retry_at = self.retry_at(*failed_at, *until);
                if retry_at <= now.mono {
                    self.phase = Phase::Idle;
                    self.connect_if_wanted();
                } else {
                    self.fail_hopeless(retry_at);
                }
            }
            Phase::Idle => self.connect_if_wanted(),
            Phase::Connecting | Phase::Refusing { .. } | Phase::Closed => {}
        }
    }

    fn connect_if_wanted(&mut self) {
        if !self.queue.is_empty() {
            self.attempt = Attempt(self.attempt.0.saturating_add(1));
            self.counters.attempts += 1;
            self.phase = Phase::Connecting;
            self.commands.push_back(LinkCommand::Connect(self.attempt));
        }
    }

    /// Whoever waits for a stanza that is due before the next attempt learns it now rather than then.
    fn fail_hopeless(&mut self, retry_at: Duration) {
        let failure = self.why_late();
        for item in self.queue.take_awaited_due_by(retry_at) {
            self.fail_item(&item, failure.clone());
        }
    }

    /// People who wait for an answer shorten the wait for the next attempt.
    fn retry_at(&self, failed_at: Duration, until: Duration) -> Duration {
        if self.queue.has_awaited() {
            until.min(failed_at + self.settings.retry_wanted)
        } else {
            until
        }
    }

    fn back_off(&mut self, failure: Failure, now: Now) {
        let doubled = self
            .settings
            .retry_min
            .saturating_mul(1_u32.checked_shl(self.failures).unwrap_or(u32::MAX))
            .min(self.settings.retry_max);
        self.failures = self.failures.saturating_add(1);
        // Between half of it and all of it, so that many links do not knock at the same time.
        let share = u32::try_from(self.entropy.next_u64() % 1024).unwrap_or(0);
        let delay = doubled / 2 + doubled / 2 * share / 1024;
        self.last_failure = Some(failure);
        self.phase = Phase::Waiting {
            failed_at: now.mono,
            until: now.mono + delay,
        };
        self.make_progress(now);
    }

    fn forget_refusal(&mut self, now: Now) {
        if matches!(self.phase, Phase::Refusing { until, .. } if until <= now.mono) {
            self.phase = Phase::Idle;
        }
    }

    fn close_stream(&mut self, reason: CloseReason) {
        self.drop_stream();
        self.commands.push_back(LinkCommand::CloseStream {
            attempt: self.attempt,
            reason,
        });
    }

    /// Forgets the stream, not what was written to it.
    fn drop_stream(&mut self) {
        if let Phase::Up(Up { fence, .. }) = std::mem::replace(&mut self.phase, Phase::Idle)
            && let Some(fence) = fence
        {
            self.keep_late(fence);
        }
        self.rewind();
    }

    fn rewind(&mut self) {
        self.commands
            .retain(|command| !matches!(command, LinkCommand::Write(_)));
        for item in self.queue.rewind(self.settings.resend) {
            self.fail_item(&item, Failure::Local(Local::TransportFailed));
        }
    }

    fn flush(&mut self, now: Now) {
        let Phase::Up(up) = &mut self.phase else {
            return;
        };
        while let Some(element) = self.queue.write_next(self.settings.window_octets) {
            self.counters.written += 1;
            up.idle_since = now.mono;
            up.quiet_since = now.mono;
            self.commands.push_back(LinkCommand::Write(element));
        }
        if up.fence.is_some() || !self.queue.wants_fence() {
            up.fence_due = None;
            return;
        }
        let due = *up
            .fence_due
            .get_or_insert(now.mono + self.settings.fence_delay);
        if due <= now.mono || self.queue.is_fence_urgent() {
            self.write_fence(now);
        }
    }
}

#[cfg(test)]
mod tests;
