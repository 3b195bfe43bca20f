//! `application/xpidf+xml`: the presence documents of peer-to-peer messengers (COMPAT(lcs2005, Windows Messenger)).
//!
//! They come with a document type declaration. It is passed over unread.

use stox_core::vocab::{Document, State, Tuple};

use super::document::{self, DocumentError, Said};
use super::xml::{self, Element, close, empty, open};

/// Content type.
pub const CONTENT_TYPE: &str = "application/xpidf+xml";

const ROOT: &str = "presence";

/// Reads a document. Of several addresses the one that can be reached best counts, of equals the first by priority.
///
/// # Errors
/// [`DocumentError`].
pub fn parse(octets: &[u8], charset: Option<&str>) -> Result<Said, DocumentError> {
    let root = xml::parse_with_doctype(octets, charset, ROOT)?;
    if root.name != ROOT {
        return Err(DocumentError::WrongRoot);
    }
    let presentity = named(&root, "presentity").next();
    let entity = document::entity(presentity.and_then(|element| element.attribute("uri")))?;
    let addresses = named(&root, "atom").flat_map(|atom| named(atom, "address"));
    let states: Vec<(bool, u32, State)> = addresses
        .filter_map(|address| {
            let state = state(address)?;
            Some((state.is_open(), priority(address), state))
        })
        .collect();
    let best = states
        .iter()
        .rev()
        .max_by_key(|(open, priority, _)| (*open, *priority));
    let state = best.map_or(State::Unknown, |(_, _, state)| *state);
    Ok(Said {
        entity,
        document: Document {
            tuples: vec![document::stated(state)],
            ..Document::default()
        },
    })
}

/// The format has no namespace; some writers give it one.
fn named<'a>(element: &'a Element, name: &'static str) -> impl Iterator<Item = &'a Element> {
    element
        .children
        .iter()
        .filter(move |child| child.name == name)
}

fn state(address: &Element) -> Option<State> {
    let word = |element: &'static str, attribute: &str| {
        let found = named(address, element).next()?;
        found.attribute(attribute).map(str::trim)
    };
    let (status, substatus) = (word("status", "status"), word("msnsubstatus", "substatus"));
    if status.is_none() && substatus.is_none() {
        return None;
    }
    Some(State::of_words(status.unwrap_or_default(), substatus))
}

/// `0.800000` as millionths; what is no such number is the lowest.
fn priority(address: &Element) -> u32 {
    let written = address.attribute("priority").unwrap_or_default().trim();
    let (whole, fraction) = written.split_once('.').unwrap_or((written, ""));
    let digits: String = fraction.chars().chain("000000".chars()).take(6).collect();
    match (whole.parse::<u32>(), digits.parse::<u32>()) {
        (Ok(whole), Ok(millionths)) => whole.saturating_mul(1_000_000).saturating_add(millionths),
        _ => 0,
    }
}

/// Writes what a tuple tells about `user@host`.
pub fn write(tuple: &Tuple, address: &str) -> String {
    let (status, substatus) = document::state_of(tuple).row().words;
    let presentity = format!("sip:{address};method=SUBSCRIBE");
    let contact = format!("sip:{address};user=ip");
    let mut out = String::with_capacity(512);
    out.push_str("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    out.push_str(
        "<!DOCTYPE presence PUBLIC \"-//IETF//DTD RFCxxxx XPIDF 1.0//EN\" \"xpidf.dtd\">\n",
    );
    open(&mut out, ROOT, &[]);
    empty(&mut out, "presentity", &[("uri", &presentity)]);
    open(&mut out, "atom", &[("id", "1000")]);
    let attributes = [("uri", contact.as_str()), ("priority", "0.800000")];
    open(&mut out, "address", &attributes);
    empty(&mut out, "status", &[("status", status)]);
    empty(&mut out, "msnsubstatus", &[("substatus", substatus)]);
    close(&mut out, "address");
    close(&mut out, "atom");
    close(&mut out, ROOT);
    out
}
