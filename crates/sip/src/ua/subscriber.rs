//! Our subscriptions to SIP users: the subscriber of RFC 6665 §4.1 for the presence package (RFC 3856).

mod subscription;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use stox_core::address::SipAddress;
use stox_core::failure::{Failure, Local};
use stox_core::vocab::{Document, EndReason, Ref, SipIn, SubscriptionEvent, Trace};

use self::subscription::{InFlight, Subscription};
use super::effects::{Asked, Env, Fate};
use super::refusals::{Refusal, is_presence};
use crate::adapt;
use crate::deadlines::Deadlines;
use crate::dialog::{Dialog, Order};
use crate::header::{Headers, SubscriptionState};
use crate::message::{Request, Response};

/// How often a SUBSCRIBE is sent again with a longer `Expires` after 423.
const BRIEF_LIMIT: u8 = 2;
/// The longest `Min-Expires` that we go along with.
const LONGEST: Duration = Duration::from_secs(24 * 3600);
/// The least time that is left to try a failed refresh once more.
const WORTH_A_RETRY: Duration = Duration::from_secs(20);

/// Responses that end a subscription when they answer a refresh (RFC 6665 §4.1.2.2).
const ENDS_DIALOG: &[u16] = &[
    404, 405, 410, 416, 480, 481, 482, 483, 484, 485, 489, 501, 604,
];

/// What the notifier says in `reason` (RFC 6665 §4.1.3).
const REASONS: &[(&str, EndReason)] = &[
    ("deactivated", EndReason::Deactivated),
    ("probation", EndReason::Probation),
    ("rejected", EndReason::Rejected),
    ("timeout", EndReason::Timeout),
    ("giveup", EndReason::Giveup),
    ("noresource", EndReason::NoResource),
    ("invariant", EndReason::Invariant),
];

/// The word for an end reason; none for an unknown one.
pub(super) fn reason_word(reason: EndReason) -> Option<&'static str> {
    REASONS
        .iter()
        .find(|(_, known)| *known == reason)
        .map(|(word, _)| *word)
}

fn end_reason(word: Option<&str>) -> EndReason {
    REASONS
        .iter()
        .find(|(known, _)| word.is_some_and(|word| word.eq_ignore_ascii_case(known)))
        .map_or(EndReason::Unknown, |(_, reason)| *reason)
}

/// A subscription's timers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    /// Timer N: no NOTIFY came.
    FirstNotify,
    /// It is time to refresh.
    Refresh,
    /// It ran out.
    Expiry,
}

/// The key by which NOTIFYs find a subscription: `Call-ID` and our tag.
type DialogKey = (String, String);

/// All subscriptions of ours.
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    by_ref: BTreeMap<Ref, Subscription>,
    by_dialog: BTreeMap<DialogKey, Ref>,
    timers: Deadlines<(Ref, Timer)>,
    /// The one started last, if that is no poll.
    newest: Option<Ref>,
    /// Closed ones whose last NOTIFY may still come.
    closed: BTreeMap<DialogKey, ()>,
    closed_order: VecDeque<(Duration, DialogKey)>,
}

impl Subscriptions {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.by_ref.len()
    }

    /// How many have an active or pending dialog.
    pub(super) fn established(&self) -> usize {
        self.by_ref.values().filter(|s| s.dialog.is_some()).count()
    }

    /// Starts one, of who watches whom. Its wish has crossed these gateways.
    pub(super) fn subscribe(
        &mut self,
        reference: Ref,
        (watcher, presentity): (SipAddress, SipAddress),
        poll: bool,
        trace: Trace,
        env: &mut Env<'_>,
    ) {
        if self.by_ref.contains_key(&reference)
            || (poll && self.rides(reference, &watcher, &presentity, env))
        {
            return;
        }
        let call_id = format!("{}@{}", env.entropy.token(), env.settings.local.host);
        let local_tag = env.entropy.token();
        let subscription = Subscription {
            target: adapt::address::to_uri(&presentity).to_string(),
            from: format!("<{}>;tag={local_tag}", adapt::address::to_uri(&watcher)),
            watcher,
            presentity,
            poll,
            trace,
            call_id: call_id.clone(),
            local_tag: local_tag.clone(),
            cseq: 0,
            dialog: None,
            answered: None,
            in_flight: None,
            wish: if poll {
                Duration::ZERO
            } else {
                env.settings.subscribe_expires
            },
            brief: 0,
            closing: false,
            riders: Vec::new(),
            last: None,
            granted: Duration::ZERO,
            expires_at: Duration::ZERO,
            last_failure: None,
        };
        self.by_dialog.insert((call_id, local_tag), reference);
        self.newest = (!poll).then_some(reference);
        let subscription = self.by_ref.entry(reference).or_insert(subscription);
        subscription.send_first(reference, env);
    }

    /// Lets a poll wait for the first document of a subscription that is being set up for the same two users, where the
    /// peer wants few requests.
    fn rides(
        &mut self,
        poll: Ref,
        watcher: &SipAddress,
        presentity: &SipAddress,
        env: &Env<'_>,
    ) -> bool {
        if env.behaviour(&presentity.host).probe_polls {
            return false;
        }
        let newest = self.newest.and_then(|newest| self.by_ref.get_mut(&newest));
        let host = newest.filter(|host| {
            let same = host.watcher == *watcher && host.presentity == *presentity;
            same && host.dialog.is_none() && !host.closing
        });
        match host {
            Some(host) => {
                host.riders.push(poll);
                true
            }
            None => false,
        }
    }

    /// Ends one.
    pub(super) fn unsubscribe(&mut self, reference: Ref, env: &mut Env<'_>) {
        let Some(subscription) = self.by_ref.get_mut(&reference) else {
            return;
        };
        subscription.closing = true;
        for timer in [Timer::FirstNotify, Timer::Refresh, Timer::Expiry] {
            self.timers.clear((reference, timer));
        }
        if subscription.in_flight.is_none() {
            self.close(reference, env);
        }
    }

    /// SUBSCRIBE with Expires 0, or nothing where no dialog was ever set up.
    fn close(&mut self, reference: Ref, env: &mut Env<'_>) {
        let Some(subscription) = self.by_ref.get_mut(&reference) else {
            return;
        };
        if subscription.dialog_mut().is_some() {
            subscription.send_in_dialog(reference, InFlight::Close, env);
        } else {
            self.end(reference, SubscriptionEvent::Closed, env);
        }
    }

    /// Whether a NOTIFY of this `Call-ID` and `To` tag is ours.
    pub(super) fn find(&self, call_id: &str, local_tag: &str) -> Option<Ref> {
        let key = (call_id.to_owned(), local_tag.to_owned());
        self.by_dialog.get(&key).copied()
    }

    /// Whether it belonged to a subscription that was closed a moment ago.
    pub(super) fn was_closed(&self, call_id: &str, local_tag: &str) -> bool {
        self.closed
            .contains_key(&(call_id.to_owned(), local_tag.to_owned()))
    }

    /// The fate of a SUBSCRIBE.
    pub(super) fn settled(&mut self, reference: Ref, fate: Fate, env: &mut Env<'_>) {
        let Some(in_flight) = self
            .by_ref
            .get_mut(&reference)
            .and_then(|subscription| subscription.in_flight.take())
        else {
            return;
        };
        match (in_flight, fate) {
            (InFlight::Close, _) => self.end(reference, SubscriptionEvent::Closed, env),
            (_, Ok(response)) if (200..300).contains(&response.status) => {
                self.accepted(reference, in_flight, &response, env);
            }
            (_, Ok(response))
                if response.status == 423 && self.ask_longer(reference, &response) =>
            {
                self.send_again(reference, in_flight, env);
            }
            (InFlight::First, fate) => self.first_failed(reference, failure_of(fate), env),
            (InFlight::Refresh, fate) => self.refresh_failed(reference, fate, env),
        }
    }

    fn accepted(
        &mut self,
        reference: Ref,
        in_flight: InFlight,
        response: &Response,
        env: &mut Env<'_>,
    ) {
        let Some(subscription) = self.by_ref.get_mut(&reference) else {
            return;
        };
        match subscription.dialog.as_mut() {
            Some(dialog) => dialog.refresh_target(&response.headers),
            None => subscription.answered = subscription.dialog_of(response),
        }
        if subscription.closing {
            self.close(reference, env);
            return;
        }
        if subscription.dialog.is_none() {
            let limit = env.now.mono + env.settings.transaction_time();
            self.timers.set((reference, Timer::FirstNotify), limit);
        }
        let granted = expires(&response.headers).unwrap_or(subscription.wish);
        // The NOTIFY that came before this answer has the last word on the time (RFC 6665 §4.1.3), and on the state.
        let fresh = in_flight == InFlight::Refresh || subscription.dialog.is_none();
        if fresh {
            self.schedule(reference, granted, env);
            self.piggybacked(reference, response, env);
        }
    }

    /// COMPAT(ocs2007r2, lcs2005): a document in the 200 counts as NOTIFY. Its fields may be missing: the state is active
    /// then, and the package ours.
    fn piggybacked(&mut self, reference: Ref, response: &Response, env: &mut Env<'_>) {
        let Some(subscription) = self.by_ref.get_mut(&reference) else {
            return;
        };
        let headers = &response.headers;
        let Some(document) = subscription.read(headers, &response.body) else {
            return;
        };
        if subscription.dialog.is_none() {
            subscription.dialog = subscription.answered.take();
        }
        self.timers.clear((reference, Timer::FirstNotify));
        let state = headers.subscription_state().ok().flatten();
        let state = state.unwrap_or_else(|| SubscriptionState::new("active"));
        self.apply(reference, &state, Some(document), env);
    }

    /// Raises the wish to `Min-Expires` and says whether to try again (RFC 6665 §4.1.2.1).
    fn ask_longer(&mut self, reference: Ref, response: &Response) -> bool {
        let least = match response.headers.min_expires() {
            Ok(Some(seconds)) => Duration::from_secs(u64::from(seconds)),
            _ => return false,
        };
        let Some(subscription) = self.by_ref.get_mut(&reference) else {
            return false;
        };
        let obey = !subscription.closing
            && !subscription.poll
            && subscription.brief < BRIEF_LIMIT
            && least > subscription.wish
            && least <= LONGEST;
        if obey {
            subscription.brief += 1;
            subscription.wish = least;
        }
        obey
    }

    fn send_again(&mut self, reference: Ref, in_flight: InFlight, env: &mut Env<'_>) {
        if let Some(subscription) = self.by_ref.get_mut(&reference) {
            match in_flight {
                InFlight::First => subscription.send_first(reference, env),
                other => subscription.send_in_dialog(reference, other, env),
            }
        }
    }

    fn first_failed(&mut self, reference: Ref, failure: Failure, env: &mut Env<'_>) {
        let Some(subscription) = self.by_ref.get(&reference) else {
            return;
        };
        if subscription.closing {
            self.close(reference, env);
        } else if subscription.dialog.is_none() {
            self.end(reference, SubscriptionEvent::Refused(failure), env);
        }
        // A dialog that a NOTIFY has set up lives on whatever a fork answers (RFC 6665 §4.4.1).
    }

    fn refresh_failed(&mut self, reference: Ref, fate: Fate, env: &mut Env<'_>) {
        let fatal = matches!(&fate, Ok(response) if ENDS_DIALOG.contains(&response.status));
        let failure = failure_of(fate);
        let Some(subscription) = self.by_ref.get_mut(&reference) else {
            return;
        };
        if subscription.closing {
            self.close(reference, env);
        } else if fatal {
            self.end(reference, SubscriptionEvent::Lost(failure), env);
        } else {
            subscription.last_failure = Some(failure);
            let left = subscription.expires_at.saturating_sub(env.now.mono);
            if left >= WORTH_A_RETRY {
                let again = env.now.mono + left / 2;
                self.timers.set((reference, Timer::Refresh), again);
            }
        }
    }

    /// A NOTIFY or BENOTIFY that [`Subscriptions::find`] gave to this subscription. It is answered at once
    /// (RFC 6665 §4.1.3).
    pub(super) fn notified(&mut self, reference: Ref, asked: &Asked, env: &mut Env<'_>) {
        let Some(subscription) = self.by_ref.get_mut(&reference) else {
            return;
        };
        let state = match notify_state(&asked.request) {
            Ok(state) => state,
            Err(refusal) => return env.refuse(asked, &refusal),
        };
        match subscription.take_in(&asked.request) {
            Ok(Order::Next) => {}
            Ok(Order::Repeated) => return env.accept(asked),
            Ok(Order::Stale) => return env.refuse(asked, &Refusal::StaleCseq),
            Err(refusal) => return env.refuse(asked, &refusal),
        }
        env.accept(asked);
        let document = subscription.read(&asked.request.headers, &asked.request.body);
        self.timers.clear((reference, Timer::FirstNotify));
        self.apply(reference, &state, document, env);
    }

    fn apply(
        &mut self,
        reference: Ref,
        state: &SubscriptionState,
        document: Option<Document>,
        env: &mut Env<'_>,
    ) {
        let Some(subscription) = self.by_ref.get_mut(&reference) else {
            return;
        };
        if subscription.closing {
            return;
        }
        // A pending answer shows nothing of the presentity (RFC 8048 §5.2.1).
        let pending = state.state == "pending";
        let document = document.filter(|_| !pending);
        for poll in std::mem::take(&mut subscription.riders) {
            env.tell(answer_to(poll, document.clone()));
        }
        if state.state == "terminated" || subscription.poll {
            let event = SubscriptionEvent::Ended {
                reason: end_reason(state.reason()),
                retry_after: state.retry_after().map(from_seconds),
                document,
            };
            self.end(reference, event, env);
            return;
        }
        let unset = subscription
            .expires_at
            .is_zero()
            .then_some(subscription.wish);
        match state.expires().map(from_seconds).or(unset) {
            Some(left) => self.schedule(reference, left, env),
            None => self.extend(reference, env),
        }
        let event = if pending {
            SubscriptionEvent::Pending
        } else {
            SubscriptionEvent::Active(document)
        };
        env.tell(SipIn::Subscription { reference, event });
    }

    /// A NOTIFY that names no time shows that the subscription lives, however its refreshes fare: the peer may extend it
    /// by itself (COMPAT(ocs): `com.microsoft.autoextend`). The refresh stays where it is.
    fn extend(&mut self, reference: Ref, env: &Env<'_>) {
        if let Some(subscription) = self.by_ref.get_mut(&reference) {
            let until = env.now.mono + subscription.granted;
            subscription.expires_at = subscription.expires_at.max(until);
            self.timers
                .set((reference, Timer::Expiry), subscription.expires_at);
        }
    }

    /// Sets expiry and refresh for a subscription that has so much time left.
    fn schedule(&mut self, reference: Ref, left: Duration, env: &Env<'_>) {
        let Some(subscription) = self.by_ref.get_mut(&reference) else {
            return;
        };
        if subscription.poll {
            return;
        }
        let left = left.min(LONGEST);
        let now = env.now.mono;
        subscription.granted = left;
        subscription.expires_at = now + left;
        self.timers.set((reference, Timer::Expiry), now + left);
        let margin = (left / 10).clamp(Duration::from_secs(10), Duration::from_secs(60));
        let refresh = left.saturating_sub(margin).max(left / 2);
        self.timers.set((reference, Timer::Refresh), now + refresh);
    }

    /// The next timer.
    pub(super) fn next_timeout(&self) -> Option<Duration> {
        let closed = self.closed_order.front().map(|(at, _)| *at);
        [self.timers.next(), closed].into_iter().flatten().min()
    }

    /// Runs the timers that are due.
    pub(super) fn handle_timeout(&mut self, env: &mut Env<'_>) {
        while let Some((reference, timer)) = self.timers.pop_due(env.now.mono) {
            match timer {
                Timer::FirstNotify => {
                    let failure = Failure::Local(Local::Timeout);
                    self.end(reference, SubscriptionEvent::Refused(failure), env);
                }
                Timer::Refresh => self.refresh(reference, env),
                Timer::Expiry => self.expired(reference, env),
            }
        }
        while let Some((at, _)) = self.closed_order.front()
            && *at <= env.now.mono
        {
            if let Some((_, key)) = self.closed_order.pop_front() {
                self.closed.remove(&key);
            }
        }
    }

    fn refresh(&mut self, reference: Ref, env: &mut Env<'_>) {
        if let Some(subscription) = self.by_ref.get_mut(&reference)
            && subscription.in_flight.is_none()
            && subscription.dialog_mut().is_some()
        {
            subscription.send_in_dialog(reference, InFlight::Refresh, env);
        }
    }

    fn expired(&mut self, reference: Ref, env: &mut Env<'_>) {
        let Some(subscription) = self.by_ref.get_mut(&reference) else {
            return;
        };
        let timeout = Failure::Local(Local::Timeout);
        let failure = subscription.last_failure.take().unwrap_or(timeout);
        self.end(reference, SubscriptionEvent::Lost(failure), env);
    }

    /// Takes the next CSeq for a SUBSCRIBE that is sent again with credentials.
    pub(super) fn next_cseq(&mut self, reference: Ref) -> Option<u32> {
        let subscription = self.by_ref.get_mut(&reference)?;
        if subscription.in_flight == Some(InFlight::First) {
            subscription.cseq += 1;
            return Some(subscription.cseq);
        }
        subscription.dialog_mut().map(Dialog::next_cseq)
    }

    /// Frees a subscription, tells the bridge, and keeps answering its last NOTIFY for a while.
    fn end(&mut self, reference: Ref, event: SubscriptionEvent, env: &mut Env<'_>) {
        let Some(subscription) = self.by_ref.remove(&reference) else {
            return;
        };
        for timer in [Timer::FirstNotify, Timer::Refresh, Timer::Expiry] {
            self.timers.clear((reference, timer));
        }
        for poll in subscription.riders {
            let event = match &event {
                SubscriptionEvent::Refused(failure) | SubscriptionEvent::Lost(failure) => {
                    SubscriptionEvent::Refused(failure.clone())
                }
                _ => SubscriptionEvent::Closed,
            };
            env.tell(SipIn::Subscription {
                reference: poll,
                event,
            });
        }
        let key = (subscription.call_id, subscription.local_tag);
        self.by_dialog.remove(&key);
        let had_dialog = subscription.dialog.is_some() || subscription.answered.is_some();
        // The answer to a poll may have come in its 200 already, and comes again.
        let over = event == SubscriptionEvent::Closed || subscription.poll;
        if over && had_dialog {
            let until = env.now.mono + env.settings.transaction_time();
            self.closed.insert(key.clone(), ());
            self.closed_order.push_back((until, key));
        }
        env.tell(SipIn::Subscription { reference, event });
    }
}

/// What a NOTIFY of this package must say (RFC 6665 §4.1.3).
fn notify_state(request: &Request) -> Result<SubscriptionState, Refusal> {
    let missing =
        |name: &str| Refusal::Malformed(format!("Missing Or Malformed {name} Header Field"));
    let headers = &request.headers;
    match headers.event() {
        Ok(Some(event)) if is_presence(&event) => {}
        Ok(Some(_)) => return Err(Refusal::BadEvent),
        _ => return Err(missing("Event")),
    }
    let state = headers.subscription_state().ok().flatten();
    state.ok_or_else(|| missing("Subscription-State"))
}

/// What ends a poll: its answer.
fn answer_to(reference: Ref, document: Option<Document>) -> SipIn {
    let event = SubscriptionEvent::Ended {
        reason: EndReason::Timeout,
        retry_after: None,
        document,
    };
    SipIn::Subscription { reference, event }
}

fn expires(headers: &Headers) -> Option<Duration> {
    headers.expires().ok().flatten().map(from_seconds)
}

fn from_seconds(seconds: u32) -> Duration {
    Duration::from_secs(u64::from(seconds))
}

fn failure_of(fate: Fate) -> Failure {
    match fate {
        Ok(response) => adapt::failure::from_response(&response),
        Err(failure) => failure,
    }
}
