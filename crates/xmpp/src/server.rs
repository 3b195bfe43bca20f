//! What a server owes to those who ask, for the domains and users that the gateway speaks for.
//!
//! Every query is answered (RFC 6120 §8.2.3). A domain says what it is (XEP-0030), answers pings (XEP-0199) and names
//! its software (XEP-0092). Users, bare or full, answer every query with `service-unavailable` whether they exist or
//! not (RFC 6121 §8.5.1, §8.5.2.1.3; XEP-0030 §8; SEC-13): nothing here knows the asker's subscription, and a client
//! that learns that its peer has no features sends what SIP can carry. That includes pings: XEP-0199 lets a server
//! refuse them, and an answer would only tell who exists.
//!
//! Conferences are no users: they say what they are, and tell their occupants whether they still are (XEP-0410).

mod conference;

use minidom::Element;
use rxml::xml_ncname;
use stox_core::failure::{Condition, StanzaError};
use xmpp_parsers::ns;

use crate::adapt::{Iq, IqKind, error, xml};

/// How the gateway introduces itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Software {
    /// Name of the service and of the program.
    pub name: String,
    /// Its version.
    pub version: String,
}

pub use conference::Place;

/// How one query to a domain is answered.
type Answer = fn(&Software, &Element) -> Result<Option<Element>, StanzaError>;

/// The queries that a domain answers: namespace, element, answer. Their namespaces are its features.
const QUERIES: [(&str, &str, Answer); 4] = [
    (ns::DISCO_INFO, "query", info),
    (ns::DISCO_ITEMS, "query", items),
    (ns::PING, "ping", |_, _| Ok(None)),
    (ns::VERSION, "query", version),
];

/// The answer to an iq, or nothing when it is an answer itself (RFC 6120 §8.3.1).
#[must_use]
pub fn answer(software: &Software, place: Place, iq: &Iq) -> Option<Element> {
    let outcome = match &iq.kind {
        IqKind::Get(payload) if is_domain(iq) => {
            ask_domain(software, payload).map(|answer| conference::with_service(place, answer))
        }
        IqKind::Get(payload) if place.is_conference() => conference::ask(place, iq, payload),
        IqKind::Get(_) | IqKind::Set(_) => Err(StanzaError::new(Condition::ServiceUnavailable)),
        IqKind::Result | IqKind::Error(_) => return None,
    };
    Some(match outcome {
        Ok(payload) => result(iq, payload),
        Err(refusal) => error::stanza("iq", &iq.to, &iq.from, Some(&iq.id), &refusal),
    })
}

fn is_domain(iq: &Iq) -> bool {
    iq.to.local.is_none() && iq.to.resource.is_none()
}

fn ask_domain(software: &Software, payload: &Element) -> Result<Option<Element>, StanzaError> {
    QUERIES
        .iter()
        .find(|(namespace, name, _)| payload.is(*name, *namespace))
        .map_or_else(
            || Err(StanzaError::new(Condition::ServiceUnavailable)),
            |(_, _, answer)| answer(software, payload),
        )
}

fn result(iq: &Iq, payload: Option<Element>) -> Element {
    let mut stanza = xml::stanza("iq", &iq.to, &iq.from);
    xml::set_attr(&mut stanza, xml_ncname!("type").into(), "result");
    xml::set_attr(&mut stanza, xml_ncname!("id").into(), &iq.id);
    if let Some(payload) = payload {
        stanza.append_child(payload);
    }
    stanza
}

fn info(software: &Software, query: &Element) -> Result<Option<Element>, StanzaError> {
    no_node(query)?;
    let mut answer = Element::bare("query", ns::DISCO_INFO);
    let mut identity = Element::bare("identity", ns::DISCO_INFO);
    xml::set_attr(&mut identity, xml_ncname!("category").into(), "gateway");
    xml::set_attr(&mut identity, xml_ncname!("type").into(), "sip");
    xml::set_attr(&mut identity, xml_ncname!("name").into(), &software.name);
    answer.append_child(identity);
    for (namespace, _, _) in QUERIES {
        let mut feature = Element::bare("feature", ns::DISCO_INFO);
        xml::set_attr(&mut feature, xml_ncname!("var").into(), namespace);
        answer.append_child(feature);
    }
    Ok(Some(answer))
}

fn items(_: &Software, query: &Element) -> Result<Option<Element>, StanzaError> {
    no_node(query)?;
    Ok(Some(Element::bare("query", ns::DISCO_ITEMS)))
}

fn version(software: &Software, _: &Element) -> Result<Option<Element>, StanzaError> {
    let mut answer = Element::bare("query", ns::VERSION);
    for (name, text) in [("name", &software.name), ("version", &software.version)] {
        let mut child = Element::bare(name, ns::VERSION);
        xml::add_text(&mut child, text);
        answer.append_child(child);
    }
    Ok(Some(answer))
}

/// We have no nodes (XEP-0030 §7: `item-not-found`).
fn no_node(query: &Element) -> Result<(), StanzaError> {
    match query.attr("node") {
        None | Some("") => Ok(()),
        Some(_) => Err(StanzaError::new(Condition::ItemNotFound)),
    }
}

#[cfg(test)]
mod tests;
