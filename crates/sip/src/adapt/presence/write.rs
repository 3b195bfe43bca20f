use std::time::Duration;

use bytes::Bytes;
use stox_core::address::{Scheme, SipAddress};
use stox_core::presence::{Told, aggregate, leading};
use stox_core::vocab::{Document, Tuple};

use super::Format;
use crate::body::text::language_tag;
use crate::body::{categories, msrtc_pidf, pidf, xpidf};

/// A body with the headers that describe it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PresenceBody {
    /// `Content-Type`
    pub content_type: &'static str,
    /// `Content-Language`, when every text in the body has a language (RFC 8048 Table 1).
    pub content_language: Option<String>,
    /// The document.
    pub bytes: Bytes,
}

/// How one watcher wants to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Style {
    /// The family of documents.
    pub format: Format,
    /// PIDF: one tuple for all devices, with its activity in the old form as well. The other families know no more than
    /// one anyway.
    pub one_tuple: bool,
    /// PIDF with a tuple for each device: activities in the old form as well, and the leading device first.
    pub old_form: bool,
    /// What XMPP's sub-states become where one tuple stands for the user.
    pub told: Told,
    /// The time now since 1970 UTC, for documents that have to say when they were published.
    pub now: Duration,
}

impl Default for Style {
    /// PIDF as the RFCs have it.
    fn default() -> Self {
        Self {
            format: Format::Pidf,
            one_tuple: false,
            old_form: false,
            told: Told::default(),
            now: Duration::ZERO,
        }
    }
}

/// Writes the body of a NOTIFY about `presentity`.
#[must_use]
pub fn write(document: &Document, presentity: &SipAddress, style: &Style) -> PresenceBody {
    let contact = SipAddress {
        scheme: Scheme::Sip,
        ..presentity.bare()
    }
    .to_string();
    let one = || aggregate(document, style.told);
    let name = document.name.as_deref();
    let address = contact.strip_prefix("sip:").unwrap_or(&contact);
    let (text, language) = match style.format {
        Format::Pidf if style.one_tuple => {
            // COMPAT(pidgin-sipe): takes the entity for a SIP URI.
            write_pidf(&for_one_reader(document, one()), &contact, &contact)
        }
        Format::Pidf if style.old_form => {
            write_pidf(&in_old_form(document), &as_pres(presentity), &contact)
        }
        Format::Pidf => write_pidf(document, &as_pres(presentity), &contact),
        Format::Categories => (categories::write(&one(), name, address, style.now), None),
        Format::MsrtcPidf => (msrtc_pidf::write(&one(), name, address), None),
        Format::Xpidf => (xpidf::write(&one(), address), None),
    };
    PresenceBody {
        content_type: style.format.content_type(),
        content_language: language,
        bytes: Bytes::from(text),
    }
}

/// COMPAT(ocs2007r2, lcs2005): the activity both inside the status and for the person.
fn for_one_reader(document: &Document, one: Tuple) -> Document {
    Document {
        name: document.name.clone(),
        activities: one.activities.clone(),
        tuples: vec![one],
        notes: Vec::new(),
    }
}

/// COMPAT(ocs2007r2, lcs2005): what a reader of the old form makes of several tuples is what it makes of the first.
fn in_old_form(document: &Document) -> Document {
    let mut document = document.clone();
    let first = leading(&document).map(|tuple| tuple.id.clone());
    document
        .tuples
        .sort_by_key(|tuple| Some(&tuple.id) != first.as_ref());
    for tuple in &mut document.tuples {
        tuple.legacy_activities.clone_from(&tuple.activities);
    }
    document
}

fn write_pidf(document: &Document, entity: &str, contact: &str) -> (String, Option<String>) {
    let text = pidf::write(document, entity, contact);
    (text, common_language(document))
}

/// The presentity as `pres:` URI (RFC 3863 §4.1.1).
fn as_pres(presentity: &SipAddress) -> String {
    let address = SipAddress {
        scheme: Scheme::Pres,
        user: presentity.user.as_deref().map(escape_for_pres),
        ..presentity.bare()
    };
    address.to_string()
}

/// Characters of a SIP user part that a `pres:` URI does not take literally (RFC 3859 §2, RFC 7247 §6.5).
fn escape_for_pres(user: &str) -> String {
    let mut out = String::with_capacity(user.len());
    for character in user.chars() {
        match character {
            '(' => out.push_str("%28"),
            ')' => out.push_str("%29"),
            ',' => out.push_str("%2C"),
            ';' => out.push_str("%3B"),
            c => out.push(c),
        }
    }
    out
}

/// The language of the first note, unless there is a note without one, which it would then label too.
fn common_language(document: &Document) -> Option<String> {
    let mut notes = document
        .tuples
        .iter()
        .flat_map(|tuple| &tuple.notes)
        .chain(&document.notes);
    let first = notes.next()?.lang.as_deref().and_then(language_tag)?;
    notes
        .all(|note| note.lang.is_some())
        .then(|| first.to_owned())
}
