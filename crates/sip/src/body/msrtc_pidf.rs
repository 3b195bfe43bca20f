//! `text/xml+msrtc.pidf`: the presence documents of Live Communications Server 2005, an availability number and an
//! activity number (COMPAT(lcs2005, ocs2007r2)).

use stox_core::vocab::{Document, State, Text, Tuple};

use super::document::{self, DocumentError, Said};
use super::xml::{self, Element, close, empty, open};

/// Content type.
pub const CONTENT_TYPE: &str = "text/xml+msrtc.pidf";

const NAMESPACE: &str = "http://schemas.microsoft.com/2002/09/sip/presence";

/// Reads a document. Without an availability number it tells the state as unknown.
///
/// # Errors
/// [`DocumentError`].
pub fn parse(octets: &[u8], charset: Option<&str>) -> Result<Said, DocumentError> {
    let root = xml::parse(octets, charset)?;
    if !root.is(NAMESPACE, "presentity") {
        return Err(DocumentError::WrongRoot);
    }
    let state = match (number(&root, "availability"), number(&root, "activity")) {
        (None, _) => State::Unknown,
        (Some(availability), activity) => {
            State::of_levels(availability, activity.unwrap_or_default())
        }
    };
    let tuple = Tuple {
        state_texts: description(&root).into_iter().collect(),
        notes: note(&root).into_iter().collect(),
        ..document::stated(state)
    };
    let name = root
        .child(NAMESPACE, "displayName")
        .and_then(|element| element.attribute("displayName"))
        .and_then(document::name);
    Ok(Said {
        entity: document::entity(root.attribute("uri"))?,
        document: Document {
            name,
            tuples: vec![tuple],
            ..Document::default()
        },
    })
}

fn number(root: &Element, name: &str) -> Option<u32> {
    let written = root.child(NAMESPACE, name)?.attribute("aggregate")?;
    written.trim().parse().ok()
}

/// The user's own word for the activity.
fn description(root: &Element) -> Option<Text> {
    let written = root
        .child(NAMESPACE, "activity")?
        .attribute("description")?;
    document::plain_text(written)
}

/// Notes stand in `userInfo`, in a namespace that differs between versions.
fn note(root: &Element) -> Option<Text> {
    let info = root.child(NAMESPACE, "userInfo")?;
    let note = info.children.iter().find(|child| child.name == "note")?;
    document::plain_text(note.simple_text()?)
}

/// Writes what a tuple tells about `user@host`. Notes have no place that every reader knows.
pub fn write(tuple: &Tuple, name: Option<&str>, address: &str) -> String {
    let (availability, activity) = document::state_of(tuple).row().levels;
    let (availability, activity) = (availability.to_string(), activity.to_string());
    let words = tuple.state_texts.first().map_or("", |text| &text.text);
    let mut out = String::with_capacity(256);
    out.push_str("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    open(
        &mut out,
        "presentity",
        &[("xmlns", NAMESPACE), ("uri", address)],
    );
    let level = |out: &mut String, name, number: &str, words: &str| {
        let attributes = [("aggregate", number), ("description", words)];
        empty(out, name, &attributes);
    };
    level(&mut out, "availability", &availability, "");
    level(&mut out, "activity", &activity, words);
    if let Some(name) = name {
        empty(&mut out, "displayName", &[("displayName", name)]);
    }
    empty(&mut out, "userInfo", &[]);
    close(&mut out, "presentity");
    out
}
