//! What the families of presence documents have in common.

use stox_core::vocab::{Document, State, Text, Tuple};

use super::text::clean;
use super::xml::XmlError;

/// The tuple id of documents that speak of a user as a whole: what Office Communications Server writes in PIDF.
pub const WHOLE_USER: &str = "0";

/// Longest display name that is kept, in characters.
const MAX_NAME: usize = 256;

/// A presence document as it was sent.
#[derive(Debug, Clone, PartialEq)]
pub struct Said {
    /// The presentity as written: a URI, or an address without scheme. Only a hint: the dialog says whose presence it
    /// is (RFC 8048 §8.2).
    pub entity: String,
    /// What it says.
    pub document: Document,
}

/// Why a document is of no use. The sender is at fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DocumentError {
    /// Not a document that we can read.
    #[error(transparent)]
    Xml(#[from] XmlError),
    /// Well-formed, but its root is not the one of its type.
    #[error("the root element is not the one of this type of document")]
    WrongRoot,
    /// No presentity, or something that cannot be one.
    #[error("the entity is missing or is no presentity")]
    BadEntity,
    /// An extension outside the tuples has to be understood and is not (RFC 3863 §4.2.3).
    #[error("the document needs an extension that is not known")]
    MustUnderstand,
}

/// The presentity that an attribute names.
pub(super) fn entity(attribute: Option<&str>) -> Result<String, DocumentError> {
    let entity = attribute.map(str::trim).unwrap_or_default();
    if entity.is_empty() || entity.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(DocumentError::BadEntity);
    }
    Ok(entity.to_owned())
}

/// A name for people; white space alone is none.
pub(super) fn name(text: &str) -> Option<String> {
    let name: String = clean(text).trim().chars().take(MAX_NAME).collect();
    // What is cut may end in white space.
    let name = name.trim_end();
    (!name.is_empty()).then(|| name.to_owned())
}

/// Text for people without language; white space alone is none.
pub(super) fn plain_text(text: &str) -> Option<Text> {
    let text = clean(text).trim().to_owned();
    (!text.is_empty()).then_some(Text { lang: None, text })
}

/// The one tuple of a document that tells a state.
pub(super) fn stated(state: State) -> Tuple {
    Tuple {
        id: WHOLE_USER.to_owned(),
        open: Some(state.is_open()),
        state: Some(state),
        ..Tuple::default()
    }
}

/// The state that a tuple tells, for formats that know only states.
pub(super) fn state_of(tuple: &Tuple) -> State {
    tuple.state.unwrap_or(match tuple.open {
        Some(true) => State::Available,
        _ => State::Offline,
    })
}
