//! Presence stanzas: which machine they are for, and what becomes of those that are for none.

use std::sync::Arc;

use crate::address::{Jid, MAX_PART};
use crate::failure::{Local, StanzaError};
use crate::subscription::{refusal, watch, watched};
use crate::time::Now;
use crate::vocab::{PresenceKind, XmppOut};

use super::book::{Book, Contact, Names};
use super::context::{Context, local_error};
use super::watchers;
use super::watching::{self, Occurrence};

/// A presence stanza from an XMPP user to a SIP user, with its id, and whether it has been here before.
pub(super) fn presence(
    book: &mut Book,
    cx: &mut Context,
    addresses: (Jid, Jid),
    (id, fresh): (Option<String>, Result<(), Local>),
    kind: PresenceKind,
    now: Now,
) {
    let (from, to) = addresses;
    match fresh.and_then(|()| admit(book, cx, &from, &to, &kind)) {
        Ok(names) => dispatch(book, cx, names, from, id, kind, now),
        // Only a request is owed an answer (RFC 6121 §3.1.3, RFC 6120 §8.3.1).
        Err(local) if kind == PresenceKind::Subscribe => cx.xmpp(XmppOut::PresenceError {
            from: to,
            to: from,
            id,
            error: local_error(local),
        }),
        Err(_) => {}
    }
}

/// A presence error. One from a full JID is about a resource that has just left, and no matter.
pub(super) fn presence_error(
    book: &mut Book,
    cx: &mut Context,
    from: &Jid,
    to: &Jid,
    error: &StanzaError,
    now: Now,
) {
    if from.resource.is_some() {
        return;
    }
    let Ok(names) = Names::of_stanza(from, to) else {
        return;
    };
    let Some((contact, index)) = book.find(&names.key) else {
        return;
    };
    let event = refusal::of_presence(error.condition);
    watchers::step(contact, index, cx, event, None);
    if event == watched::Event::Missing {
        let gone = Occurrence::of(watch::Event::UserGone);
        watching::step(contact, index, cx, &gone, now);
    } else {
        // She has missed what we said of the SIP user: the next news says all of it again.
        contact.watch.announced.forget();
    }
    book.tidy(&names.key);
}

fn admit(
    book: &Book,
    cx: &Context,
    from: &Jid,
    to: &Jid,
    kind: &PresenceKind,
) -> Result<Names, Local> {
    let names = Names::of_stanza(from, to)?;
    let opens = matches!(kind, PresenceKind::Subscribe | PresenceKind::Subscribed);
    if !cx
        .settings
        .policy
        .allows_user(&names.key.xmpp.domain, &names.sip_as_jid)
    {
        return Err(Local::NotAllowed);
    }
    if opens && cx.stopping {
        return Err(Local::ShuttingDown);
    }
    if opens && !book.has_room(cx, &names.key) {
        return Err(Local::Overloaded);
    }
    Ok(names)
}

fn dispatch(
    book: &mut Book,
    cx: &mut Context,
    names: Names,
    from: Jid,
    id: Option<String>,
    kind: PresenceKind,
    now: Now,
) {
    let key = Arc::clone(&names.key);
    let resource = from.resource.as_deref();
    // Presence of somebody who is no contact is nobody's business and leaves no trace.
    let known_only = matches!(
        kind,
        PresenceKind::Available(_) | PresenceKind::Unavailable(_)
    );
    if known_only && !book.contacts.contains_key(&key) {
        return;
    }
    let (contact, index) = book.entry(names);
    let (watched_event, watch_event) = meaning(contact, resource, id, kind);
    if let Some(event) = watched_event {
        watchers::step(contact, index, cx, event, None);
    }
    if let Some(event) = watch_event.filter(|event| may_step(cx, *event)) {
        let asker = if event == watch::Event::Probe {
            from
        } else {
            from.bare()
        };
        let occurrence = Occurrence::asked_by(event, asker);
        watching::step(contact, index, cx, &occurrence, now);
    }
    book.tidy(&key);
}

/// Notes what a stanza says of the XMPP user, and says what it means to either machine.
fn meaning(
    contact: &mut Contact,
    resource: Option<&str>,
    id: Option<String>,
    kind: PresenceKind,
) -> (Option<watched::Event>, Option<watch::Event>) {
    match kind {
        PresenceKind::Available(presence) => {
            let changed = contact.resources.available(resource, presence);
            (
                changed.then_some(watched::Event::Changed),
                Some(watch::Event::Online),
            )
        }
        // COMPAT(prosody): it acknowledges a request to subscribe like this, wherever the user is.
        PresenceKind::Unavailable(_)
            if resource.is_none() && contact.watched.state == watched::State::Asked =>
        {
            (None, None)
        }
        PresenceKind::Unavailable(statuses) => {
            let changed = contact.resources.unavailable(resource, &statuses);
            let offline = !contact.hidden && !contact.resources.is_online();
            (
                changed.then_some(watched::Event::Changed),
                offline.then_some(watch::Event::Offline),
            )
        }
        PresenceKind::Subscribe => {
            contact.watch.asked_id = id.filter(|id| id.len() <= MAX_PART);
            (None, Some(watch::Event::Subscribe))
        }
        PresenceKind::Unsubscribe => (None, Some(watch::Event::Unsubscribe)),
        PresenceKind::Probe => (None, Some(watch::Event::Probe)),
        PresenceKind::Subscribed => {
            contact.hidden = false;
            (Some(watched::Event::Approved), None)
        }
        PresenceKind::Unsubscribed => {
            // Servers make her unavailable to the SIP user along with this; she is online all the same.
            contact.hidden = true;
            (Some(watched::Event::Denied), Some(watch::Event::Online))
        }
    }
}

/// While the gateway stops, only what ends something goes through.
fn may_step(cx: &Context, event: watch::Event) -> bool {
    !cx.stopping || event == watch::Event::Unsubscribe
}
