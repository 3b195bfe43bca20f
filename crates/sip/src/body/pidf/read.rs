use std::collections::BTreeSet;
use std::time::Duration;

use stox_core::vocab::{Document, Show, Text, Tuple};

use super::{
    ACTIVITY_FORMS, CIPID, DATA_MODEL, JABBER_CLIENT, NOT_ACTIVITIES, NameIn, PIDF, RPID, SHOWS,
    UNDERSTOOD,
};
use crate::body::document::{DocumentError, Said};
use crate::body::text::{clean, language_tag};
use crate::body::xml::{self, Element, XML_NAMESPACE};
use crate::body::{document, time, tuple_id};

/// Reads a document. `charset` is the parameter of the content type, `language` applies where the document names
/// none (RFC 8048 Table 2).
///
/// A tuple whose state depends on an extension that is not known stays in the list with nothing said about it, so
/// that it does not read as gone.
///
/// # Errors
/// [`DocumentError`]: the last known state stays in force then (PVAL-43).
pub fn parse(
    octets: &[u8],
    charset: Option<&str>,
    language: Option<&str>,
) -> Result<Said, DocumentError> {
    let root = xml::parse(octets, charset)?;
    if !root.is(PIDF, "presence") {
        return Err(DocumentError::WrongRoot);
    }
    let entity = document::entity(root.attribute("entity"))?;
    let beside_tuples = |child: &&Element| !child.is(PIDF, "tuple");
    if must_understand(&root)
        || root
            .children
            .iter()
            .filter(beside_tuples)
            .any(needs_unknown)
    {
        return Err(DocumentError::MustUnderstand);
    }
    Ok(Said {
        entity,
        document: read_document(&root, language),
    })
}

fn read_document(root: &Element, language: Option<&str>) -> Document {
    let language = own_language(root, language);
    let mut document = Document::default();
    let mut ids = BTreeSet::new();
    for (position, element) in root.children_named(PIDF, "tuple").enumerate() {
        let mut tuple = read_tuple(element, language);
        tuple.id = unique_id(element, position, &mut ids);
        document.tuples.push(tuple);
    }
    document.name = root
        .child(CIPID, "display-name")
        .and_then(|name| document::name(&name.text));
    document.notes = notes(root, PIDF, language);
    let mut person_input = None;
    for person in root.children_named(DATA_MODEL, "person") {
        document.activities.extend(activities(person, false));
        document
            .notes
            .extend(notes(person, DATA_MODEL, own_language(person, language)));
        person_input = person_input.or_else(|| idle_since(person));
    }
    for tuple in &mut document.tuples {
        tuple.idle_since = tuple.idle_since.or(person_input);
    }
    document
}

/// Our own prefix is taken off. Peers that give no id, or one id twice, get the position as name.
fn unique_id(element: &Element, position: usize, taken: &mut BTreeSet<String>) -> String {
    let written = element
        .attribute("id")
        .map(str::trim)
        .filter(|id| !id.is_empty() && !id.contains(char::is_control));
    let candidates = [
        written.map(tuple_id::decode),
        written.map(str::to_owned),
        // COMPAT(kamailio): its XMPP module writes tuples without an id.
        Some(format!("tuple-{position}")),
    ];
    let free = candidates
        .into_iter()
        .flatten()
        .find(|id| !taken.contains(id));
    let id = free.unwrap_or_else(|| format!("tuple-{position}-{}", taken.len()));
    taken.insert(id.clone());
    id
}

fn read_tuple(element: &Element, language: Option<&str>) -> Tuple {
    if needs_unknown(element) {
        return Tuple::default();
    }
    let nothing = Element::default();
    let status = element.child(PIDF, "status").unwrap_or(&nothing);
    let both = |legacy| {
        activities(status, legacy)
            .chain(activities(element, legacy))
            .collect()
    };
    Tuple {
        id: String::new(),
        open: basic(status),
        show: show(status),
        state: None,
        state_texts: Vec::new(),
        activities: both(false),
        legacy_activities: both(true),
        notes: notes(element, PIDF, own_language(element, language)),
        priority: element.child(PIDF, "contact").and_then(priority),
        since: element
            .child(PIDF, "timestamp")
            .and_then(Element::simple_text)
            .and_then(time::parse_rfc3339),
        idle_since: idle_since(element).or_else(|| idle_since(status)),
    }
}

/// RFC 3863 §4.1.4; any other value says nothing.
fn basic(status: &Element) -> Option<bool> {
    match status.child(PIDF, "basic")?.simple_text()? {
        "open" => Some(true),
        "closed" => Some(false),
        _ => None,
    }
}

fn show(status: &Element) -> Option<Show> {
    let text = status.child(JABBER_CLIENT, "show")?.simple_text()?;
    SHOWS
        .iter()
        .find(|(_, name)| *name == text)
        .map(|&(show, _)| show)
}

/// The activities said directly in this element, in the current or in the older forms.
fn activities(element: &Element, legacy: bool) -> impl Iterator<Item = String> {
    let forms = ACTIVITY_FORMS.iter().filter(move |form| form.3 == legacy);
    forms.flat_map(move |&(namespace, around, name_in, _)| {
        let places: Vec<&Element> = match around {
            Some(name) => element.children_named(namespace, name).collect(),
            None => vec![element],
        };
        places
            .into_iter()
            .flat_map(move |place| activity_names(place, namespace, name_in))
    })
}

fn activity_names<'a>(
    place: &'a Element,
    namespace: &'a str,
    name_in: NameIn,
) -> impl Iterator<Item = String> {
    let known = place
        .children
        .iter()
        .filter(move |child| child.namespace == namespace);
    known.filter_map(move |child| match name_in {
        NameIn::Element if NOT_ACTIVITIES.contains(&child.name.as_str()) => None,
        NameIn::Element if child.name == "other" => {
            Some(spoken(child).unwrap_or("other").to_owned())
        }
        NameIn::Element => Some(child.name.clone()),
        NameIn::Text(name) if child.name == name => spoken(child).map(str::to_owned),
        NameIn::Text(_) => None,
    })
}

fn spoken(element: &Element) -> Option<&str> {
    element.simple_text().filter(|text| !text.is_empty())
}

fn notes(element: &Element, namespace: &str, language: Option<&str>) -> Vec<Text> {
    let read = |note: &Element| Text {
        lang: own_language(note, language).map(str::to_owned),
        text: clean(&note.text),
    };
    element
        .children_named(namespace, "note")
        .map(read)
        .filter(|note| !note.text.trim().is_empty())
        .collect()
}

/// `xml:lang` of the element, else the one it inherits; an empty one says that none is known.
fn own_language<'a>(element: &'a Element, inherited: Option<&'a str>) -> Option<&'a str> {
    match element.attribute_ns(XML_NAMESPACE, "lang") {
        Some(tag) => language_tag(tag),
        None => inherited,
    }
}

/// `priority` of a contact as XMPP priority (RFC 8048 Table 2 note 2).
fn priority(contact: &Element) -> Option<i8> {
    let written = contact.attribute("priority")?.trim();
    if !written.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
        return None;
    }
    let value: f64 = written.parse().ok()?;
    // In 0.0..=1.0 the product is in 0.0..=127.0: the cast cannot cut anything off.
    (0.0..=1.0)
        .contains(&value)
        .then(|| (value * 127.0).round() as i8)
}

/// `last-input` while the user is idle (RFC 4480 §3.14).
fn idle_since(element: &Element) -> Option<Duration> {
    let input = element.child(RPID, "user-input")?;
    if input.simple_text()? != "idle" {
        return None;
    }
    time::parse_rfc3339(input.attribute("last-input")?)
}

/// Whether something inside has to be understood and is not.
fn needs_unknown(element: &Element) -> bool {
    must_understand(element) || element.children.iter().any(needs_unknown)
}

fn must_understand(element: &Element) -> bool {
    let mark = element.attribute_ns(PIDF, "mustUnderstand").map(str::trim);
    matches!(mark, Some("1" | "true")) && !UNDERSTOOD.contains(&element.namespace.as_str())
}
