use stox_core::vocab::{Document, Text, Tuple};

use super::{CIPID, DATA_MODEL, JABBER_CLIENT, PIDF, RPID, RPID_ACTIVITIES, RPID_STATUS, SHOWS};
use crate::body::text::language_tag;
use crate::body::xml::{close, empty, leaf, open};
use crate::body::{time, tuple_id};

/// Writes a document in the element order of the schema (RFC 3863 §4.4), UTF-8.
///
/// `entity` is the presentity's URI, `contact` what stands in the `contact` of a tuple that has a priority. Tuple ids
/// that occur twice are written once. Without any tuple a closed one is written: a document has at least one
/// (PVAL-12).
pub fn write(document: &Document, entity: &str, contact: &str) -> String {
    let mut out = String::with_capacity(512);
    out.push_str("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    open(
        &mut out,
        "presence",
        &[
            ("xmlns", PIDF),
            ("xmlns:dm", DATA_MODEL),
            ("xmlns:rpid", RPID),
            ("entity", entity),
        ],
    );
    let mut written = std::collections::BTreeSet::new();
    for tuple in &document.tuples {
        if written.insert(&tuple.id) {
            write_tuple(&mut out, tuple, contact);
        }
    }
    if document.tuples.is_empty() {
        let nobody = Tuple {
            open: Some(false),
            ..Tuple::default()
        };
        write_tuple(&mut out, &nobody, contact);
    }
    write_notes(&mut out, &document.notes);
    if !document.activities.is_empty() {
        open(&mut out, "dm:person", &[("id", "person")]);
        write_activities(&mut out, &document.activities);
        close(&mut out, "dm:person");
    }
    if let Some(name) = &document.name {
        leaf(&mut out, "ci:display-name", &[("xmlns:ci", CIPID)], name);
    }
    close(&mut out, "presence");
    out
}

fn write_tuple(out: &mut String, tuple: &Tuple, contact: &str) {
    open(out, "tuple", &[("id", &tuple_id::encode(&tuple.id))]);
    write_status(out, tuple);
    write_activities(out, &tuple.activities);
    if let Some(since) = tuple.idle_since {
        leaf(
            out,
            "rpid:user-input",
            &[("last-input", &time::format_rfc3339(since))],
            "idle",
        );
    }
    if let Some(priority) = tuple.priority.and_then(decimal_priority) {
        leaf(out, "contact", &[("priority", &priority)], contact);
    }
    write_notes(out, &tuple.notes);
    if let Some(since) = tuple.since {
        leaf(out, "timestamp", &[], &time::format_rfc3339(since));
    }
    close(out, "tuple");
}

fn write_status(out: &mut String, tuple: &Tuple) {
    open(out, "status", &[]);
    if let Some(is_open) = tuple.open {
        leaf(out, "basic", &[], if is_open { "open" } else { "closed" });
    }
    let show = SHOWS.iter().find(|(show, _)| Some(*show) == tuple.show);
    if let Some((_, name)) = show {
        leaf(out, "show", &[("xmlns", JABBER_CLIENT)], name);
    }
    if !tuple.legacy_activities.is_empty() {
        // COMPAT(ocs2007r2, lcs2005): reads activities only here, in the namespace of a draft.
        open(out, "ep:activities", &[("xmlns:ep", RPID_STATUS)]);
        for name in &tuple.legacy_activities {
            leaf(out, "ep:activity", &[], name);
        }
        close(out, "ep:activities");
    }
    close(out, "status");
}

fn write_activities(out: &mut String, names: &[String]) {
    if names.is_empty() {
        return;
    }
    open(out, "rpid:activities", &[]);
    for name in names {
        match RPID_ACTIVITIES.iter().find(|known| *known == name) {
            Some(known) => empty(out, &format!("rpid:{known}"), &[]),
            None => leaf(out, "rpid:other", &[], name),
        }
    }
    close(out, "rpid:activities");
}

fn write_notes(out: &mut String, notes: &[Text]) {
    for note in notes {
        match note.lang.as_deref().and_then(language_tag) {
            Some(lang) => leaf(out, "note", &[("xml:lang", lang)], &note.text),
            None => leaf(out, "note", &[], &note.text),
        }
    }
}

/// XMPP priority as decimal of at most three digits; negative ones have no counterpart (RFC 8048 Table 1 note 6).
fn decimal_priority(priority: i8) -> Option<String> {
    let thousandths = u32::try_from(priority).ok()? * 1000 / 127;
    Some(match thousandths {
        0 => "0".to_owned(),
        1000 => "1".to_owned(),
        n => format!("0.{n:03}").trim_end_matches('0').to_owned(),
    })
}
