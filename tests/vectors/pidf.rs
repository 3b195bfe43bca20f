//! Presence documents in outgoing requests (RFC 3863), as the assertions ask for them.

use std::collections::{BTreeMap, BTreeSet};

use minidom::Element;
use serde_json::{Value, json};

use crate::sip_text::SipText;
use crate::stanza_path::language;

const PIDF: &str = "urn:ietf:params:xml:ns:pidf";
const RPID: &str = "urn:ietf:params:xml:ns:pidf:rpid";
const RPID_STATUS: &str = "urn:ietf:params:xml:ns:pidf:status:rpid-status";

/// The document in a message, if it carries one that is XML.
pub(crate) fn document(sip: &SipText) -> Option<Element> {
    let text = std::str::from_utf8(&sip.body).ok()?;
    text.trim_start_matches('\u{feff}')
        .trim()
        .parse::<Element>()
        .ok()
        .filter(|root| root.is("presence", PIDF))
}

fn tuples(root: &Element) -> Vec<&Element> {
    root.children().filter(|c| c.is("tuple", PIDF)).collect()
}

fn descendant<'a>(element: &'a Element, name: &str) -> Option<&'a Element> {
    element.children().find_map(|child| {
        if child.name() == name {
            Some(child)
        } else {
            descendant(child, name)
        }
    })
}

fn basic(tuple: &Element) -> Option<String> {
    let status = tuple.get_child("status", PIDF)?;
    Some(status.get_child("basic", PIDF)?.text().trim().to_owned())
}

fn notes(parent: &Element) -> Vec<&Element> {
    parent.children().filter(|c| c.is("note", PIDF)).collect()
}

fn texts(elements: &[&Element]) -> Option<Value> {
    let texts: Vec<String> = elements.iter().map(|element| element.text()).collect();
    (!texts.is_empty()).then(|| json!(texts))
}

/// Text by language; what says none has the language of the nearest parent, or of the message.
fn by_language(elements: &[&Element], parents: &[&Element], sip: &SipText) -> Option<Value> {
    let default = parents
        .iter()
        .find_map(|parent| language(parent))
        .or_else(|| sip.header("Content-Language"))
        .unwrap_or_default();
    let map: BTreeMap<String, String> = elements
        .iter()
        .map(|e| (language(e).unwrap_or_else(|| default.clone()), e.text()))
        .collect();
    (!map.is_empty()).then(|| json!(map))
}

/// The names of all activities below an element, in the form of RFC 4480 and in the older one.
fn activities(element: &Element, out: &mut Vec<String>) {
    for child in element.children() {
        if child.is("activities", RPID) {
            let names = child.children().map(|activity| activity.name().to_owned());
            out.extend(names);
        } else if child.is("activities", RPID_STATUS) {
            out.extend(child.children().map(Element::text));
        } else {
            activities(child, out);
        }
    }
}

fn all_activities(element: &Element) -> Option<Value> {
    let mut names = Vec::new();
    activities(element, &mut names);
    (!names.is_empty()).then(|| json!(names))
}

/// What an assertion about one tuple names.
fn of_tuple(
    root: &Element,
    tuple: &Element,
    path: &str,
    sip: &SipText,
) -> Result<Option<Value>, String> {
    let own = |name: &str| tuple.get_child(name, PIDF);
    let value = match path {
        "id" => tuple.attr("id").map(|id| json!(id)),
        "basic" => basic(tuple).map(Value::String),
        "show" => descendant(tuple, "show").map(|show| json!(show.text())),
        "note" => texts(&notes(tuple)),
        "note@lang" => by_language(&notes(tuple), &[tuple, root], sip),
        "contact" => own("contact").map(|contact| json!(contact.text())),
        "priority" => own("contact")
            .and_then(|contact| contact.attr("priority"))
            .map(|priority| json!(priority)),
        "timestamp" => own("timestamp").map(|stamp| json!(stamp.text())),
        "child_order" => Some(json!(
            tuple
                .children()
                .map(|child| if child.has_ns(PIDF) {
                    child.name().to_owned()
                } else {
                    "{extensions}".to_owned()
                })
                .collect::<Vec<_>>()
        )),
        "activities" | "rpid.activities" => all_activities(tuple),
        "status.rpid-status.activity" => own("status")
            .and_then(|status| status.get_child("activities", RPID_STATUS))
            .and_then(|activities| activities.get_child("activity", RPID_STATUS))
            .map(|activity| json!(activity.text())),
        "status.rpid.activities" => own("status").and_then(all_activities),
        _ => return Err(format!("unknown path inside a tuple: {path}")),
    };
    Ok(value)
}

fn indexed(path: &str) -> Option<(usize, &str)> {
    let (index, rest) = path.strip_prefix("tuple[")?.split_once("].")?;
    Some((index.parse().ok()?, rest))
}

/// What `pidf.PATH` names in a message.
pub(crate) fn lookup(sip: &SipText, path: &str) -> Result<Option<Value>, String> {
    let document = document(sip);
    if path == "valid" {
        let problem = document.as_ref().map_or(Some("no document"), problem);
        return Ok(Some(json!(problem.is_none())));
    }
    // A tree without anything, so that paths are judged even where there is no document.
    let root = document
        .clone()
        .unwrap_or_else(|| Element::bare("presence", PIDF));
    let tuples = tuples(&root);
    if let Some((index, rest)) = indexed(path) {
        return match tuples.get(index) {
            Some(tuple) => of_tuple(&root, tuple, rest, sip),
            None => of_tuple(&root, &root, rest, sip).map(|_| None),
        };
    }
    let basics: Vec<String> = tuples.iter().filter_map(|tuple| basic(tuple)).collect();
    let value = match path {
        "entity" => root.attr("entity").map(|entity| json!(entity)),
        "tuples.count" => Some(json!(tuples.len())),
        "all_basic" | "any_basic" => (!basics.is_empty()).then(|| json!(basics)),
        "tuple_ids_unique" => {
            let ids: Vec<_> = tuples.iter().filter_map(|tuple| tuple.attr("id")).collect();
            let unique: BTreeSet<_> = ids.iter().collect();
            Some(json!(
                unique.len() == ids.len() && ids.len() == tuples.len()
            ))
        }
        "note" => texts(&notes(&root)),
        "note@lang" => by_language(&notes(&root), &[&root], sip),
        "rpid.activities" => all_activities(&root),
        _ => return Err(format!("unknown path: pidf.{path}")),
    };
    Ok(value.filter(|_| document.is_some()))
}

/// Each tuple as `(id, contact, look-up)` for assertions about sets of tuples.
pub(crate) fn each_tuple<R>(sip: &SipText, mut see: impl FnMut(TupleView<'_>) -> R) -> Vec<R> {
    let Some(root) = document(sip) else {
        return Vec::new();
    };
    let all = tuples(&root).into_iter();
    all.map(|tuple| {
        see(TupleView {
            root: &root,
            tuple,
            sip,
        })
    })
    .collect()
}

/// One tuple in its document.
pub(crate) struct TupleView<'a> {
    root: &'a Element,
    tuple: &'a Element,
    sip: &'a SipText,
}

impl TupleView<'_> {
    pub(crate) fn lookup(&self, path: &str) -> Result<Option<Value>, String> {
        of_tuple(self.root, self.tuple, path, self.sip)
    }

    /// Whether the tuple stands for this resource, by its id or by the `gr` of its contact.
    pub(crate) fn is_for(&self, resource: &str) -> bool {
        let id = self.tuple.attr("id").unwrap_or_default();
        let contact = self.tuple.get_child("contact", PIDF).map(Element::text);
        is_id_of(id, resource)
            || contact.is_some_and(|contact| contact.ends_with(&format!(";gr={resource}")))
    }
}

/// Whether a tuple id names this resource: as it is, or with a prefix that makes it an XML name.
pub(crate) fn is_id_of(id: &str, resource: &str) -> bool {
    id == resource || id.strip_prefix("ID-") == Some(resource)
}

/// XML's NCName, as far as ids in documents need it.
pub(crate) fn is_ncname(text: &str) -> bool {
    let first = |c: char| c.is_alphabetic() || c == '_';
    let later = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '\u{b7}');
    let mut chars = text.chars();
    chars.next().is_some_and(first) && chars.all(later)
}

/// The first thing that RFC 3863 §4 does not allow.
fn problem(root: &Element) -> Option<&'static str> {
    if root.attr("entity").is_none_or(str::is_empty) {
        return Some("no entity");
    }
    let order = ["status", "{extensions}", "contact", "note", "timestamp"];
    let mut ids = BTreeSet::new();
    for tuple in tuples(root) {
        let id = tuple.attr("id").unwrap_or_default();
        if !is_ncname(id) || !ids.insert(id) {
            return Some("a tuple id that is no xs:ID");
        }
        if tuple.get_child("status", PIDF).is_none() {
            return Some("a tuple without status");
        }
        if basic(tuple).is_some_and(|basic| basic != "open" && basic != "closed") {
            return Some("a basic that is neither open nor closed");
        }
        let mut rank = 0;
        for child in tuple.children() {
            let name = if child.has_ns(PIDF) {
                child.name()
            } else {
                "{extensions}"
            };
            match order.iter().position(|known| *known == name) {
                Some(at) if at >= rank => rank = at,
                _ => return Some("the children of a tuple in another order than the schema's"),
            }
        }
    }
    None
}
