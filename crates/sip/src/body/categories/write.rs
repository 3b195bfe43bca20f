use std::time::Duration;

use stox_core::vocab::Tuple;

use super::{CONTACT_CARD, NAMESPACE, NOTE, SCHEMA_INSTANCE, STATE, identifier_of};
use crate::body::document;
use crate::body::time;
use crate::body::xml::{close, empty, leaf, open};

/// Writes what a tuple tells about `user@host`, published at `published` since 1970 UTC unless the tuple has its own
/// time. The note without language goes first.
pub fn write(tuple: &Tuple, name: Option<&str>, address: &str, published: Duration) -> String {
    let stamp = time::format_zoneless(tuple.since.unwrap_or(published));
    let mut out = String::with_capacity(1024);
    out.push_str("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let uri = format!("sip:{address}");
    open(
        &mut out,
        "categories",
        &[("xmlns", NAMESPACE), ("uri", &uri)],
    );
    if let Some(name) = name {
        category(&mut out, "contactCard", "0", &stamp);
        open(&mut out, "contactCard", &[("xmlns", CONTACT_CARD)]);
        open(&mut out, "identity", &[]);
        open(&mut out, "name", &[]);
        leaf(&mut out, "displayName", &[], name);
        for element in ["name", "identity", "contactCard", "category"] {
            close(&mut out, element);
        }
    }
    write_note(&mut out, tuple, &stamp);
    write_state(&mut out, tuple, &stamp);
    close(&mut out, "categories");
    out
}

/// A document without note says that there is none any more.
fn write_note(out: &mut String, tuple: &Tuple, stamp: &str) {
    let note = tuple
        .notes
        .iter()
        .find(|note| note.lang.is_none())
        .or_else(|| tuple.notes.first());
    category(out, "note", "0", stamp);
    open(out, "note", &[("xmlns", NOTE)]);
    if let Some(note) = note {
        leaf(
            out,
            "body",
            &[("type", "personal"), ("uri", "")],
            &note.text,
        );
    }
    close(out, "note");
    close(out, "category");
}

fn write_state(out: &mut String, tuple: &Tuple, stamp: &str) {
    let row = document::state_of(tuple).row();
    category(out, "state", "1", stamp);
    let attributes = [
        ("xmlns", STATE),
        ("xmlns:xsi", SCHEMA_INSTANCE),
        ("xsi:type", "aggregateState"),
    ];
    open(out, "state", &attributes);
    leaf(out, "availability", &[], &row.publish.to_string());
    let token = row.token.map(|token| [("token", token)]);
    let attributes: &[(&str, &str)] = token.as_ref().map_or(&[], |pair| pair);
    let texts = tuple.state_texts.iter().filter_map(|text| {
        let identifier = identifier_of(text.lang.as_deref().unwrap_or("en"))?;
        Some((identifier.to_string(), &text.text))
    });
    let mut texts = texts.peekable();
    if texts.peek().is_some() {
        open(out, "activity", attributes);
        for (identifier, text) in texts {
            leaf(out, "custom", &[("LCID", &identifier)], text);
        }
        close(out, "activity");
    } else if !attributes.is_empty() {
        empty(out, "activity", attributes);
    }
    close(out, "state");
    close(out, "category");
}

fn category(out: &mut String, name: &str, instance: &str, stamp: &str) {
    let attributes = [
        ("name", name),
        ("instance", instance),
        ("publishTime", stamp),
    ];
    open(out, "category", &attributes);
}
