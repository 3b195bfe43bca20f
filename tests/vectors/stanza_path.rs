//! What a path of the assertion language names in a stanza.

use std::collections::BTreeMap;

use minidom::Element;
use serde_json::{Value, json};

const XML: &str = "http://www.w3.org/XML/1998/namespace";
const STANZAS: &str = "urn:ietf:params:xml:ns:xmpp-stanzas";
const CHAT_STATES: &str = "http://jabber.org/protocol/chatstates";
const RECEIPTS: &str = "urn:xmpp:receipts";
const DELAY: &str = "urn:xmpp:delay";
const XHTML_IM: &str = "http://jabber.org/protocol/xhtml-im";

/// Children of stanzas whose text the assertions may name.
const TEXTS: [&str; 6] = ["body", "show", "status", "priority", "subject", "thread"];

/// `xml:lang` of this element alone.
pub(crate) fn language(element: &Element) -> Option<String> {
    element
        .attr_ns::<str, str>(XML, "lang")
        .map(str::to_owned)
        .filter(|lang| !lang.is_empty())
}

fn named<'a>(stanza: &'a Element, name: &'a str) -> impl Iterator<Item = &'a Element> {
    let ns = stanza.ns();
    stanza
        .children()
        .filter(move |child| child.name() == name && child.has_ns(ns.as_str()))
}

/// The child without a language of its own, else the first.
fn text(stanza: &Element, name: &str) -> Option<Value> {
    named(stanza, name)
        .find(|child| language(child).is_none())
        .or_else(|| named(stanza, name).next())
        .map(|child| json!(child.text()))
}

fn by_language(stanza: &Element, name: &str) -> Option<Value> {
    let default = language(stanza).unwrap_or_default();
    let map: BTreeMap<String, String> = named(stanza, name)
        .map(|c| (language(c).unwrap_or_else(|| default.clone()), c.text()))
        .collect();
    (!map.is_empty()).then(|| json!(map))
}

fn error(stanza: &Element, path: &str) -> Result<Option<Value>, String> {
    let error = named(stanza, "error").next();
    let conditions = || {
        error.into_iter().flat_map(|error| {
            error
                .children()
                .filter(|c| c.has_ns(STANZAS) && c.name() != "text")
        })
    };
    if let Some(attribute) = path.strip_prefix('@') {
        return Ok(error
            .and_then(|error| error.attr(attribute))
            .map(|value| json!(value)));
    }
    if let Some(condition) = path.strip_suffix(".text") {
        return Ok(conditions()
            .find(|c| c.name() == condition)
            .map(|c| json!(c.text())));
    }
    match path {
        "condition" => Ok(conditions().next().map(|c| json!(c.name()))),
        "text" => Ok(error
            .and_then(|error| error.get_child("text", STANZAS))
            .map(|text| json!(text.text()))),
        _ => Err(format!("unknown path: error.{path}")),
    }
}

/// What the path names. An unknown path is an error, so that no assertion passes by being misspelt.
pub(crate) fn lookup(stanza: &Element, path: &str) -> Result<Option<Value>, String> {
    if let Some(attribute) = path.strip_prefix('@') {
        return match attribute {
            "xml:lang" => Ok(language(stanza).map(Value::String)),
            "from" | "to" | "id" | "type" => Ok(stanza.attr(attribute).map(|value| json!(value))),
            _ => Err(format!("unknown attribute of a stanza: {attribute}")),
        };
    }
    if let Some(rest) = path.strip_prefix("error.") {
        return error(stanza, rest);
    }
    if let Some(name) = path.strip_suffix("@lang")
        && TEXTS.contains(&name)
    {
        return Ok(by_language(stanza, name));
    }
    if TEXTS.contains(&path) {
        return Ok(text(stanza, path));
    }
    let child = |name: &str, ns: &str| stanza.get_child(name, ns);
    let value = match path {
        "stanza" => Some(json!(stanza.name())),
        "error" => named(stanza, "error").next().map(|_| json!(true)),
        "chatstate" => stanza
            .children()
            .find(|child| child.has_ns(CHAT_STATES))
            .map(|child| json!(child.name())),
        "received.id" => child("received", RECEIPTS)
            .and_then(|received| received.attr("id"))
            .map(|id| json!(id)),
        "receipt_request" => child("request", RECEIPTS).map(|_| json!(true)),
        "delay" => child("delay", DELAY).map(|_| json!(true)),
        "delay.stamp" | "delay.@stamp" => child("delay", DELAY)
            .and_then(|delay| delay.attr("stamp"))
            .map(|stamp| json!(stamp)),
        "xhtml_im" => child("html", XHTML_IM).map(|html| json!(String::from(html))),
        "well_formed" => Some(json!(is_well_formed(stanza))),
        _ => return Err(format!("unknown path of a stanza: {path}")),
    };
    Ok(value)
}

/// Whether the stanza can be written and read again.
pub(crate) fn is_well_formed(stanza: &Element) -> bool {
    String::from(stanza).parse::<Element>().is_ok()
}
