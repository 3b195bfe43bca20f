//! Queries and answers (RFC 6120 §8.2.3).

use minidom::Element;
use stox_core::address::Jid;
use stox_core::failure::{Condition, StanzaError};

use super::{Ignored, Inbound, error};

/// An iq stanza with a legal frame.
#[derive(Debug, Clone, PartialEq)]
pub struct Iq {
    /// Sender.
    pub from: Jid,
    /// User or domain that we speak for.
    pub to: Jid,
    /// Its id, which the answer repeats.
    pub id: String,
    /// Question or answer.
    pub kind: IqKind,
}

/// The four kinds of iq.
#[derive(Debug, Clone, PartialEq)]
pub enum IqKind {
    /// A question, with its one payload.
    Get(Element),
    /// An order, with its one payload.
    Set(Element),
    /// The answer to a question of ours.
    Result,
    /// The refusal of a question of ours.
    Error(StanzaError),
}

/// Reads an iq. Questions without id, of unknown type or without exactly one payload get `bad-request`.
#[must_use]
pub fn read(stanza: &Element, from: Jid, to: Jid) -> Inbound {
    let kind = match stanza.attr("type") {
        Some("get") => only_child(stanza).map(IqKind::Get),
        Some("set") => only_child(stanza).map(IqKind::Set),
        Some("result") => Some(IqKind::Result),
        Some("error") => Some(IqKind::Error(error::read(stanza))),
        _ => None,
    };
    match (kind, stanza.attr("id")) {
        (Some(kind), Some(id)) => Inbound::Iq(Iq {
            from,
            to,
            id: id.to_owned(),
            kind,
        }),
        _ if super::is_answer(stanza) => Inbound::Ignored(Ignored::UnusableAnswer),
        _ => Inbound::Reply(error::refuse(stanza, &to, &from, Condition::BadRequest)),
    }
}

fn only_child(stanza: &Element) -> Option<Element> {
    let mut children = stanza.children();
    match (children.next(), children.next()) {
        (Some(child), None) => Some(child.clone()),
        _ => None,
    }
}
