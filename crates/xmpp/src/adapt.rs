//! Stanzas in and out: the only place where XML meets the words of the translation core.
//!
//! Reading is lenient where XMPP allows variety and never loses a message over an odd payload; writing is strict.
//! Elements are in the namespace `jabber:client`, whatever namespace their stream uses.

mod date;
pub mod error;
pub mod iq;
pub mod jid;
pub mod message;
pub mod muc;
pub mod payloads;
pub mod presence;
mod trace;
mod xhtml;
pub(crate) mod xml;

use minidom::Element;
use stox_core::address::Jid;
use stox_core::failure::{Condition, Failure, Local, to_stanza};
use stox_core::time::Now;
use stox_core::vocab::{Im, XmppIn, XmppOut};
use xmpp_parsers::ns;

pub use self::iq::{Iq, IqKind};

/// What one received stanza comes to.
#[derive(Debug, Clone, PartialEq)]
pub enum Inbound {
    /// For the translation core.
    Core(XmppIn),
    /// For the translation core, in this order: receipts, and the message that carries them.
    Several(Vec<XmppIn>),
    /// A query or an answer: [`crate::server::answer`] replies to the former, [`crate::link::Link::receive_iq`] waits
    /// for the latter.
    Iq(Iq),
    /// Nothing follows from it.
    Ignored(Ignored),
    /// It cannot be read: this stanza goes back to its sender.
    Reply(Element),
}

/// Why a stanza has no effect. The stream normally refuses the first two before they get here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Ignored {
    /// `from` is absent or no JID, so that nobody could be answered (RFC 6120 §8.1.2.2).
    #[error("the stanza has no usable sender")]
    BadSender,
    /// `to` is absent (RFC 6120 §8.1.1.2).
    #[error("the stanza has no recipient")]
    NoRecipient,
    /// An error or a result whose `to` is no JID, or that is malformed itself: never answered (RFC 6120 §8.3.1).
    #[error("the stanza is an unusable error or answer")]
    UnusableAnswer,
    /// Neither message, presence nor iq.
    #[error("the element is no stanza")]
    NotAStanza,
}

/// Reads one stanza whose size and shape the stream has already bounded.
#[must_use]
pub fn read(stanza: &Element) -> Inbound {
    if !stanza.has_ns(ns::JABBER_CLIENT) {
        return Inbound::Ignored(Ignored::NotAStanza);
    }
    let read_kind = match stanza.name() {
        "message" => message::read,
        "presence" => presence::read,
        "iq" => iq::read,
        _ => return Inbound::Ignored(Ignored::NotAStanza),
    };
    let Some(Ok(from)) = stanza.attr("from").map(Jid::parse) else {
        return Inbound::Ignored(Ignored::BadSender);
    };
    let Some(to) = stanza.attr("to") else {
        return Inbound::Ignored(Ignored::NoRecipient);
    };
    match Jid::parse(to) {
        Ok(to) => read_kind(stanza, from, to),
        Err(_) => refuse_recipient(stanza, from, to),
    }
}

/// What it means for a request to subscribe that it could not be sent: the error that the partner's server would send.
#[must_use]
pub fn unaskable(request: &Element, failure: &Failure) -> Option<XmppIn> {
    let jid = |name| Jid::parse(request.attr(name)?).ok();
    Some(XmppIn::PresenceError {
        from: jid("to")?,
        to: jid("from")?,
        error: to_stanza(failure),
    })
}

/// Writes what the core asks for. `now` is for delay stamps.
#[must_use]
pub fn write(out: &XmppOut, now: Now) -> Element {
    match out {
        XmppOut::Message { from, to, im, .. } => message::write(from, to, im, now),
        XmppOut::MessageError {
            from,
            to,
            id,
            error,
            ..
        } => error::stanza("message", from, to, id.as_deref(), error),
        XmppOut::ChatState {
            from,
            to,
            thread,
            state,
            trace,
        } => message::write_state(from, to, thread.as_deref(), (*state, trace)),
        XmppOut::Receipt {
            from,
            to,
            id,
            kind,
            receipt,
        } => message::write_receipt(from, to, id, (*kind, *receipt)),
        XmppOut::Presence {
            from,
            to,
            trace,
            kind,
        } => presence::write(from, to, (kind, trace)),
        XmppOut::PresenceError {
            from,
            to,
            id,
            error,
        } => error::stanza("presence", from, to, id.as_deref(), error),
        XmppOut::Muc(out) => muc::write(out, now),
    }
}

/// ADDR-17: `jid-malformed`, from the domain alone, because servers close a stream over a `from` that is no JID.
fn refuse_recipient(stanza: &Element, from: Jid, to: &str) -> Inbound {
    match jid::domain_of(to) {
        // The core sees to it that the sender of a message is told.
        Some(to) if stanza.name() == "message" && !is_answer(stanza) => {
            let id = stanza.attr("id").map(str::to_owned);
            let im = Im {
                id,
                ..Im::default()
            };
            let why = Local::BadAddress;
            Inbound::Core(XmppIn::Unreadable { from, to, im, why })
        }
        Some(domain) if !is_answer(stanza) => Inbound::Reply(error::refuse(
            stanza,
            &domain,
            &from,
            Condition::JidMalformed,
        )),
        _ => Inbound::Ignored(Ignored::UnusableAnswer),
    }
}

/// RFC 6120 §8.3.1 rule 2: errors are never answered with errors, and neither are results.
fn is_answer(stanza: &Element) -> bool {
    matches!(stanza.attr("type"), Some("error" | "result"))
}

#[cfg(test)]
mod tests;
