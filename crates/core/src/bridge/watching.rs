//! XMPP users who watch SIP users: what the table of [`watch`] asks for is done here.

use std::sync::Arc;
use std::time::Duration;

use crate::address::Jid;
use crate::failure::{Condition, Local, StanzaError, to_stanza};
use crate::presence::Announcement;
use crate::subscription::refusal;
use crate::subscription::watch::{self, Action, Event, State};
use crate::time::Now;
use crate::vocab::{
    Direction, Document, EndReason, Grant, PresenceKind, Ref, SipOut, StoreOut, SubscriptionEvent,
    XmppOut,
};

use super::book::{Book, Contact, ContactKey, Index, Poll};
use super::context::{Context, Timer, local_error};

/// Longest time that a peer may keep us away by `retry-after`.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(24 * 3600);

/// An event with what came along with it.
pub(super) struct Occurrence {
    event: Event,
    document: Option<Document>,
    error: Option<StanzaError>,
    retry_after: Option<Duration>,
    /// Who wants an answer.
    asker: Option<Jid>,
}

impl Occurrence {
    pub(super) fn of(event: Event) -> Self {
        Self {
            event,
            document: None,
            error: None,
            retry_after: None,
            asker: None,
        }
    }

    pub(super) fn asked_by(event: Event, asker: Jid) -> Self {
        Self {
            asker: Some(asker),
            ..Self::of(event)
        }
    }
}

/// Takes one step of the table.
pub(super) fn step(
    contact: &mut Contact,
    index: &mut Index,
    cx: &mut Context,
    occurrence: &Occurrence,
    now: Now,
) {
    let Some(row) = watch::step(contact.watch.state, occurrence.event) else {
        return;
    };
    if let Some(next) = row.next {
        disarm_retry(contact, cx);
        contact.watch.state = next;
        if next == State::Active {
            contact.watch.failures = 0;
        }
    }
    for action in row.actions {
        match action {
            Action::Subscribe
            | Action::Close
            | Action::Leave
            | Action::Abandon
            | Action::Poll
            | Action::Retry => act_on_dialog(*action, contact, index, cx, occurrence, now),
            Action::StoreAsked => store(contact, cx, Some(Grant::Asked)),
            Action::StoreGranted => store(contact, cx, Some(Grant::Granted)),
            Action::StoreRemove => store(contact, cx, None),
            Action::SaySubscribed
            | Action::SayUnsubscribed
            | Action::SayUnavailable
            | Action::SayError
            | Action::Announce
            | Action::Replay
            | Action::ReplayKnown
            | Action::Forget => speak(*action, contact, cx, occurrence),
        }
    }
}

/// News of a dialog in which we subscribe. Names that are free already are passed over.
pub(super) fn subscription(
    book: &mut Book,
    cx: &mut Context,
    reference: Ref,
    event: SubscriptionEvent,
    now: Now,
) {
    let Some(key) = book.index.subscriptions.get(&reference).map(Arc::clone) else {
        return;
    };
    let goes_on = matches!(
        event,
        SubscriptionEvent::Pending | SubscriptionEvent::Active(_)
    );
    if !goes_on {
        book.index.subscriptions.remove(&reference);
    }
    if let Some((contact, index)) = book.find(&key) {
        if contact
            .watch
            .poll
            .as_ref()
            .is_some_and(|poll| poll.reference == reference)
        {
            polled(contact, index, cx, event, now);
        } else {
            if !goes_on {
                contact.watch.dialog = None;
            }
            if !cx.stopping || contact.watch.state == State::Closing {
                let occurrence = occurrence_of(contact, cx, event, now);
                step(contact, index, cx, &occurrence, now);
            }
        }
    }
    book.tidy(&key);
}

/// A failed subscription may be tried again.
pub(super) fn retry_due(book: &mut Book, cx: &mut Context, key: &Arc<ContactKey>, now: Now) {
    if let Some((contact, index)) = book.find(key) {
        contact.watch.retry_at = None;
        step(contact, index, cx, &Occurrence::of(Event::RetryDue), now);
    }
    book.tidy(key);
}

/// Takes up an authorisation from the store; its dialog follows within this time.
pub(super) fn restore(
    contact: &mut Contact,
    cx: &mut Context,
    (grant, spread): (Grant, Duration),
    now: Now,
) {
    contact.watch.state = match grant {
        Grant::Asked => State::AskLater,
        Grant::Granted => State::Rebuilding,
    };
    let delay = cx.random_below(spread);
    arm_retry(contact, cx, now.mono.saturating_add(delay));
}

/// Contacts see the SIP user leave; nothing is tried again.
pub(super) fn shut_down(contact: &mut Contact, cx: &mut Context) {
    disarm_retry(contact, cx);
    let news = contact.watch.announced.withdraw();
    announce(contact, cx, None, news);
}

/// What a dialog's event means, with the two brakes: a dialog that keeps breaking is not rebuilt at once each time, and a
/// question that keeps failing is given up.
fn occurrence_of(
    contact: &mut Contact,
    cx: &Context,
    event: SubscriptionEvent,
    now: Now,
) -> Occurrence {
    let mut occurrence = plain_occurrence(event);
    let watch = &mut contact.watch;
    if occurrence.event == Event::EndedAgain {
        let brake = cx.settings.retry_first;
        let in_a_row = watch
            .replaced_at
            .is_some_and(|at| now.mono < at.saturating_add(brake));
        if in_a_row {
            occurrence.event = Event::EndedLater;
        } else {
            watch.replaced_at = Some(now.mono);
        }
    }
    let attempts = watch.failures.saturating_add(1);
    if watch.state.is_asked()
        && matches!(occurrence.event, Event::Failed | Event::EndedLater)
        && attempts >= cx.settings.ask_attempts
    {
        occurrence.event = Event::Refused;
    }
    occurrence
}

fn plain_occurrence(event: SubscriptionEvent) -> Occurrence {
    match event {
        SubscriptionEvent::Pending => Occurrence::of(Event::NotifyPending),
        SubscriptionEvent::Active(document) => Occurrence {
            document,
            ..Occurrence::of(Event::NotifyActive)
        },
        SubscriptionEvent::Ended {
            reason,
            retry_after,
            document,
        } => Occurrence {
            document,
            error: Some(end_error(reason)),
            retry_after,
            ..Occurrence::of(refusal::of_end(reason, retry_after.is_some()))
        },
        SubscriptionEvent::Refused(failure) => Occurrence {
            error: Some(to_stanza(&failure)),
            ..Occurrence::of(refusal::of_subscribe(&failure))
        },
        SubscriptionEvent::Lost(failure) => Occurrence {
            error: Some(to_stanza(&failure)),
            ..Occurrence::of(refusal::of_dialog(&failure))
        },
        SubscriptionEvent::Closed => Occurrence::of(Event::Closed),
    }
}

/// What an XMPP user is told when her question ends like this.
fn end_error(reason: EndReason) -> StanzaError {
    StanzaError::new(match reason {
        EndReason::NoResource | EndReason::Invariant => Condition::ItemNotFound,
        EndReason::Rejected => Condition::Forbidden,
        EndReason::Deactivated
        | EndReason::Probation
        | EndReason::Timeout
        | EndReason::Giveup
        | EndReason::Unknown => Condition::RecipientUnavailable,
    })
}

/// News of a poll. Whatever ends it, its document is presence and no cancellation (PRES-25), unless the SIP side says
/// that the authorisation is gone.
fn polled(
    contact: &mut Contact,
    index: &mut Index,
    cx: &mut Context,
    event: SubscriptionEvent,
    now: Now,
) {
    let (document, verdict) = match event {
        SubscriptionEvent::Pending | SubscriptionEvent::Active(None) => return,
        SubscriptionEvent::Active(Some(document)) => {
            return poll_answer(contact, cx, Some(&document));
        }
        SubscriptionEvent::Ended {
            reason, document, ..
        } => (document, refusal::of_end(reason, false)),
        SubscriptionEvent::Refused(failure) | SubscriptionEvent::Lost(failure) => {
            (None, refusal::of_subscribe(&failure))
        }
        SubscriptionEvent::Closed => (None, Event::Closed),
    };
    if verdict == Event::Rejected && contact.watch.state != State::Active {
        contact.watch.poll = None;
        step(contact, index, cx, &Occurrence::of(Event::Rejected), now);
    } else {
        poll_answer(contact, cx, document.as_ref());
        contact.watch.poll = None;
    }
}

/// Passes the answer of a poll on, unless a dialog has brought fresher news meanwhile.
fn poll_answer(contact: &mut Contact, cx: &mut Context, document: Option<&Document>) {
    if !contact.watch.state.is_granted() || contact.watch.state == State::Active {
        return;
    }
    let asker = contact.watch.poll.as_ref().map(|poll| poll.asker.clone());
    let news = match document {
        Some(document) => {
            contact.watch.announced.forget();
            contact
                .watch
                .announced
                .update(document, &cx.settings.presence)
        }
        None => contact.watch.announced.unknown().into_iter().collect(),
    };
    announce(contact, cx, asker, news);
}

fn act_on_dialog(
    action: Action,
    contact: &mut Contact,
    index: &mut Index,
    cx: &mut Context,
    occurrence: &Occurrence,
    now: Now,
) {
    match action {
        Action::Subscribe => {
            let reference = subscribe(contact, index, cx, false);
            contact.watch.dialog = Some(reference);
        }
        Action::Poll => poll(contact, index, cx, occurrence.asker.clone()),
        Action::Close => {
            contact.watch.announced.forget();
            if let Some(reference) = contact.watch.dialog {
                cx.sip(SipOut::Unsubscribe { reference });
            }
        }
        Action::Leave => {
            if let Some(reference) = contact.watch.dialog.take() {
                index.subscriptions.remove(&reference);
                cx.sip(SipOut::Unsubscribe { reference });
            }
        }
        Action::Abandon => {
            if let Some(reference) = contact.watch.dialog.take() {
                index.subscriptions.remove(&reference);
            }
        }
        _ => {
            let delay = retry_delay(contact, cx, occurrence.retry_after);
            contact.watch.failures = contact.watch.failures.saturating_add(1);
            arm_retry(contact, cx, now.mono.saturating_add(delay));
        }
    }
}

/// Tells the XMPP user again what she was told last, and takes up what rests: she may have come online meanwhile, and
/// her server does not say so twice.
pub(super) fn tell_again(contact: &mut Contact, index: &mut Index, cx: &mut Context, now: Now) {
    if contact.watch.state != State::None {
        let asker = contact.names.key.xmpp.clone();
        let probed = Occurrence::asked_by(Event::Probe, asker);
        step(contact, index, cx, &probed, now);
    }
}

/// There is no way to the XMPP user any more: nobody is told how the SIP user is. Her right stays.
pub(super) fn lose(contact: &mut Contact, index: &mut Index, cx: &mut Context, now: Now) {
    step(contact, index, cx, &Occurrence::of(Event::Offline), now);
}

fn speak(action: Action, contact: &mut Contact, cx: &mut Context, occurrence: &Occurrence) {
    match action {
        Action::SaySubscribed => contact.say(cx, PresenceKind::Subscribed),
        Action::SayUnsubscribed => contact.say(cx, PresenceKind::Unsubscribed),
        Action::SayUnavailable => {
            let news = contact.watch.announced.withdraw();
            announce(contact, cx, None, news);
        }
        Action::SayError => say_error(contact, cx, occurrence.error.clone()),
        Action::Announce => {
            let news = match &occurrence.document {
                Some(document) => contact
                    .watch
                    .announced
                    .update(document, &cx.settings.presence),
                None => contact.watch.announced.unknown().into_iter().collect(),
            };
            announce(contact, cx, None, news);
        }
        Action::ReplayKnown if contact.watch.announced.is_empty() => {}
        Action::Replay | Action::ReplayKnown => {
            let news = contact.watch.announced.replay();
            announce(contact, cx, occurrence.asker.clone(), news);
        }
        _ => contact.watch.announced.forget(),
    }
}

fn subscribe(contact: &Contact, index: &mut Index, cx: &mut Context, poll: bool) -> Ref {
    let reference = cx.fresh_ref();
    index
        .subscriptions
        .insert(reference, Arc::clone(&contact.names.key));
    cx.sip(SipOut::Subscribe {
        reference,
        watcher: contact.names.xmpp_as_sip.clone(),
        presentity: contact.names.key.sip.clone(),
        poll,
        trace: cx.trace(),
    });
    reference
}

/// One question at a time: a second asker shares the answer, which then goes to the bare JID.
fn poll(contact: &mut Contact, index: &mut Index, cx: &mut Context, asker: Option<Jid>) {
    let everybody = contact.names.key.xmpp.clone();
    if let Some(poll) = &mut contact.watch.poll {
        poll.asker = everybody;
        return;
    }
    let reference = subscribe(contact, index, cx, true);
    contact.watch.poll = Some(Poll {
        reference,
        asker: asker.unwrap_or(everybody),
    });
}

fn announce(contact: &Contact, cx: &mut Context, to: Option<Jid>, news: Vec<Announcement>) {
    let to = to.unwrap_or_else(|| contact.names.key.xmpp.clone());
    for (device, kind) in news {
        contact.say_from(cx, device.as_deref(), to.clone(), kind);
    }
}

fn say_error(contact: &mut Contact, cx: &mut Context, error: Option<StanzaError>) {
    let id = contact.watch.asked_id.take();
    cx.xmpp(XmppOut::PresenceError {
        from: contact.names.sip_as_jid.clone(),
        to: contact.names.key.xmpp.clone(),
        id,
        error: error.unwrap_or_else(|| local_error(Local::Timeout)),
    });
}

fn store(contact: &Contact, cx: &mut Context, grant: Option<Grant>) {
    let pair = contact.names.pair(Direction::XmppWatchesSip);
    cx.store(match grant {
        Some(grant) => StoreOut::Put { pair, grant },
        None => StoreOut::Remove(pair),
    });
}

/// What the peer asked for, or twice the last wait; a little more each time, so that many do not come back at once.
fn retry_delay(contact: &Contact, cx: &mut Context, retry_after: Option<Duration>) -> Duration {
    let settings = &cx.settings;
    let longest = settings.retry_longest;
    let (delay, longest) = match retry_after {
        Some(wish) => (wish.min(LONGEST_RETRY_AFTER), Duration::MAX),
        None => {
            let doublings = contact.watch.failures.min(16);
            let delay = settings.retry_first.saturating_mul(1 << doublings);
            (delay.min(longest), longest)
        }
    };
    let jitter = cx.random_below(delay / 4);
    delay.saturating_add(jitter).min(longest)
}

fn arm_retry(contact: &mut Contact, cx: &mut Context, at: Duration) {
    disarm_retry(contact, cx);
    contact.watch.retry_at = Some(at);
    cx.arm(at, Timer::Retry(Arc::clone(&contact.names.key)));
}

fn disarm_retry(contact: &mut Contact, cx: &mut Context) {
    if let Some(at) = contact.watch.retry_at.take() {
        cx.disarm(at, Timer::Retry(Arc::clone(&contact.names.key)));
    }
}
