//! What a conference owes to those who ask (XEP-0045 §6.4, XEP-0410).

use minidom::Element;
use rxml::xml_ncname;
use stox_core::failure::{Condition, StanzaError};
use xmpp_parsers::ns;

use super::no_node;
use crate::adapt::{Iq, xml};

/// What every SIP conference is as a room (XEP-0045 §15.3).
const FEATURES: [&str; 8] = [
    ns::DISCO_INFO,
    ns::DISCO_ITEMS,
    ns::MUC,
    "muc_nonanonymous",
    "muc_open",
    "muc_public",
    "muc_unmoderated",
    "muc_unsecured",
];

/// What is known of the address that was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Place {
    /// All users of its domain are conferences.
    pub conferences: bool,
    /// Whether the asker is in this very conference under this nickname. `None`: he is not in it at all.
    pub occupant: Option<bool>,
}

impl Place {
    pub(super) fn is_conference(self) -> bool {
        self.conferences || self.occupant.is_some()
    }
}

/// A domain of conferences is a service of rooms.
pub(super) fn with_service(place: Place, answer: Option<Element>) -> Option<Element> {
    let mut answer = answer?;
    if place.conferences && answer.is("query", ns::DISCO_INFO) {
        answer.append_child(identity(None));
        answer.append_child(feature(ns::MUC));
    }
    Some(answer)
}

/// The answer of a conference or of one of its occupants.
pub(super) fn ask(
    place: Place,
    iq: &Iq,
    payload: &Element,
) -> Result<Option<Element>, StanzaError> {
    let room = iq.to.resource.is_none();
    if room && payload.is("query", ns::DISCO_INFO) {
        no_node(payload)?;
        let mut answer = Element::bare("query", ns::DISCO_INFO);
        answer.append_child(identity(iq.to.local.as_deref()));
        for name in FEATURES {
            answer.append_child(feature(name));
        }
        Ok(Some(answer))
    } else if room && payload.is("query", ns::DISCO_ITEMS) {
        no_node(payload)?;
        Ok(Some(Element::bare("query", ns::DISCO_ITEMS)))
    } else if !room && payload.is("ping", ns::PING) {
        match place.occupant {
            Some(true) => Ok(None),
            Some(false) => Err(StanzaError::new(Condition::ItemNotFound)),
            None => Err(StanzaError::new(Condition::NotAcceptable)),
        }
    } else {
        Err(StanzaError::new(Condition::ServiceUnavailable))
    }
}

fn identity(name: Option<&str>) -> Element {
    let mut identity = Element::bare("identity", ns::DISCO_INFO);
    xml::set_attr(&mut identity, xml_ncname!("category").into(), "conference");
    xml::set_attr(&mut identity, xml_ncname!("type").into(), "text");
    if let Some(name) = name {
        xml::set_attr(&mut identity, xml_ncname!("name").into(), name);
    }
    identity
}

fn feature(name: &str) -> Element {
    let mut feature = Element::bare("feature", ns::DISCO_INFO);
    xml::set_attr(&mut feature, xml_ncname!("var").into(), name);
    feature
}
