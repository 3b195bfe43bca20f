//! SIP users who watch XMPP users: what the table of [`watched`] asks for is done here.

use std::sync::Arc;
use std::time::Duration;

use crate::address::SipAddress;
use crate::failure::{Failure, Local};
use crate::presence::Resources;
use crate::subscription::watch;
use crate::subscription::watched::{self, Action, Event, State};
use crate::vocab::{
    Direction, Document, EndReason, Grant, PresenceKind, Ref, SipOut, StoreOut, WatcherEvent,
    WatcherState,
};

use super::book::{Book, Contact, Index, Names};
use super::context::Context;

/// Takes one step of the table. `current` is the dialog that the event is about.
pub(super) fn step(
    contact: &mut Contact,
    index: &mut Index,
    cx: &mut Context,
    event: Event,
    current: Option<Ref>,
) {
    let Some(row) = watched::step(contact.watched.state, event) else {
        return;
    };
    if let Some(next) = row.next {
        contact.watched.state = next;
    }
    for action in row.actions {
        if let Some(reference) = current {
            notify_one(*action, contact, cx, reference);
        }
        act(*action, contact, index, cx);
    }
    if row.next == Some(State::None) {
        contact.resources = Resources::default();
    }
}

/// News of a watcher.
pub(super) fn watcher(book: &mut Book, cx: &mut Context, reference: Ref, event: WatcherEvent) {
    match event {
        WatcherEvent::Arrived {
            watcher,
            presentity,
            poll,
            trace,
        } => {
            let arrived = cx
                .came_over(trace)
                .and_then(|()| arrived(book, cx, reference, &watcher, &presentity, poll));
            if let Err(local) = arrived {
                cx.sip(SipOut::RefuseWatcher {
                    reference,
                    failure: Failure::Local(local),
                });
            }
        }
        WatcherEvent::Refreshed => goes_on(book, cx, reference),
        WatcherEvent::Left | WatcherEvent::Expired => {
            ends(book, cx, reference, Event::Left, Event::LastLeft);
        }
        WatcherEvent::Broken => ends(book, cx, reference, Event::Broken, Event::LastBroken),
    }
}

/// Every watcher is told to come back later.
pub(super) fn shut_down(contact: &mut Contact, index: &mut Index, cx: &mut Context) {
    // Never at once: the gateway is not back yet.
    let retry_after = cx.settings.restart_spread.max(Duration::from_secs(1));
    end_all(
        contact,
        index,
        cx,
        WatcherState::Terminated {
            reason: EndReason::Probation,
            retry_after: Some(retry_after),
        },
    );
}

fn arrived(
    book: &mut Book,
    cx: &mut Context,
    reference: Ref,
    watcher: &SipAddress,
    presentity: &SipAddress,
    poll: bool,
) -> Result<(), Local> {
    if book.index.watchers.contains_key(&reference) {
        return Ok(());
    }
    let names = Names::of_request(watcher, presentity)?;
    let key = Arc::clone(&names.key);
    cx.admit_user(&key.xmpp.domain, &names.sip_as_jid)?;
    if !book.has_room(cx, &key) {
        return Err(Local::Overloaded);
    }
    let (contact, index) = book.entry(names);
    if poll {
        step(contact, index, cx, Event::Polled, Some(reference));
    } else if contact.watched.watchers.len() < cx.settings.max_watchers_per_contact {
        let event = if contact.watched.watchers.is_empty() {
            Event::FirstArrived
        } else {
            Event::Arrived
        };
        contact.watched.watchers.insert(reference);
        index.watchers.insert(reference, Arc::clone(&key));
        step(contact, index, cx, event, Some(reference));
    } else {
        return Err(Local::Overloaded);
    }
    book.tidy(&key);
    Ok(())
}

fn goes_on(book: &mut Book, cx: &mut Context, reference: Ref) {
    let Some(key) = book.index.watchers.get(&reference).map(Arc::clone) else {
        return;
    };
    if let Some((contact, index)) = book.find(&key) {
        step(contact, index, cx, Event::Refreshed, Some(reference));
    }
}

fn ends(book: &mut Book, cx: &mut Context, reference: Ref, one: Event, last: Event) {
    let Some(key) = book.index.watchers.remove(&reference) else {
        return;
    };
    if let Some((contact, index)) = book.find(&key) {
        contact.watched.watchers.remove(&reference);
        let event = if contact.watched.watchers.is_empty() {
            last
        } else {
            one
        };
        step(contact, index, cx, event, Some(reference));
    }
    book.tidy(&key);
}

/// The actions that are about the dialog of the event.
fn notify_one(action: Action, contact: &Contact, cx: &mut Context, reference: Ref) {
    let over = WatcherState::Terminated {
        reason: EndReason::Timeout,
        retry_after: None,
    };
    let (state, document) = match action {
        Action::Accept => return cx.sip(SipOut::AcceptWatcher { reference }),
        Action::NotifyPending => (WatcherState::Pending, None),
        Action::NotifyActive => (WatcherState::Active, contact.resources.document()),
        Action::NotifyOver => (over, None),
        Action::NotifyAnswer => (over, contact.resources.document()),
        Action::NotifyClosed => (over, Some(contact.resources.closed_document())),
        _ => return,
    };
    notify(cx, reference, state, document);
}

/// Asks again what the XMPP user shows, or whether she approves. Resources that are not told of again are gone.
pub(super) fn ask_again(contact: &mut Contact, cx: &mut Context) {
    if contact.watched.watchers.is_empty() {
        return;
    }
    match contact.watched.state {
        State::Granted => {
            contact.resources.forget();
            contact.say(cx, PresenceKind::Probe);
        }
        State::Asked => contact.say(cx, PresenceKind::Subscribe),
        _ => {}
    }
}

/// There is no way to the XMPP user any more. An authorisation that she has given stays.
pub(super) fn lose(contact: &mut Contact, index: &mut Index, cx: &mut Context) {
    if contact.watched.state == State::Granted {
        step(contact, index, cx, Event::Unreachable, None);
    }
}

/// The actions that are about the pair.
fn act(action: Action, contact: &mut Contact, index: &mut Index, cx: &mut Context) {
    match action {
        Action::Accept
        | Action::NotifyPending
        | Action::NotifyActive
        | Action::NotifyOver
        | Action::NotifyAnswer
        | Action::NotifyClosed => {}
        Action::NotifyAll => notify_all(contact, cx),
        Action::NotifyAllLost => {
            if contact.resources.unavailable(None, &[]) {
                notify_all(contact, cx);
            }
        }
        Action::EndRejected => end(contact, index, cx, EndReason::Rejected),
        Action::EndNoResource => end(contact, index, cx, EndReason::NoResource),
        Action::EndProbation => end(contact, index, cx, EndReason::Probation),
        Action::SaySubscribe => contact.say(cx, PresenceKind::Subscribe),
        Action::SayProbe => contact.say(cx, PresenceKind::Probe),
        Action::SayProbeIfUnknown if contact.resources.document().is_some() => {}
        Action::SayProbeIfUnknown => contact.say(cx, PresenceKind::Probe),
        // While a dialog of the other direction tells her how the SIP user really is, his leaving this one is no news.
        Action::SayUnavailable if contact.watch.state == watch::State::Active => {}
        Action::SayUnavailable => contact.say(cx, PresenceKind::Unavailable(Vec::new())),
        Action::StoreAsked => store(contact, cx, Some(Grant::Asked)),
        Action::StoreGranted => store(contact, cx, Some(Grant::Granted)),
        Action::StoreRemove => store(contact, cx, None),
    }
}

fn notify_all(contact: &Contact, cx: &mut Context) {
    let document = contact.resources.document();
    for reference in &contact.watched.watchers {
        notify(cx, *reference, WatcherState::Active, document.clone());
    }
}

fn end(contact: &mut Contact, index: &mut Index, cx: &mut Context, reason: EndReason) {
    let retry_after = match reason {
        EndReason::Probation => Some(cx.settings.retry_first),
        _ => None,
    };
    end_all(
        contact,
        index,
        cx,
        WatcherState::Terminated {
            reason,
            retry_after,
        },
    );
}

fn end_all(contact: &mut Contact, index: &mut Index, cx: &mut Context, state: WatcherState) {
    for reference in std::mem::take(&mut contact.watched.watchers) {
        index.watchers.remove(&reference);
        notify(cx, reference, state, None);
    }
}

fn notify(cx: &mut Context, reference: Ref, state: WatcherState, document: Option<Document>) {
    cx.sip(SipOut::Notify {
        reference,
        state,
        document,
    });
}

fn store(contact: &Contact, cx: &mut Context, grant: Option<Grant>) {
    let pair = contact.names.pair(Direction::SipWatchesXmpp);
    cx.store(match grant {
        Some(grant) => StoreOut::Put { pair, grant },
        None => StoreOut::Remove(pair),
    });
}
