//! `application/msrtc-event-categories+xml`: the presence documents of Office Communications Server 2007 and later
//! (COMPAT(ocs2007r2, lync, skype)). Each category is one piece of news; a document may leave out what has not changed.

mod read;
mod write;

pub use read::{Categories, parse};
pub use write::write;

/// Content type.
pub const CONTENT_TYPE: &str = "application/msrtc-event-categories+xml";

const NAMESPACE: &str = "http://schemas.microsoft.com/2006/09/sip/categories";
const STATE: &str = "http://schemas.microsoft.com/2006/09/sip/state";
const NOTE: &str = "http://schemas.microsoft.com/2006/09/sip/note";
const CONTACT_CARD: &str = "http://schemas.microsoft.com/2006/09/sip/contactcard";
const SCHEMA_INSTANCE: &str = "http://www.w3.org/2001/XMLSchema-instance";

/// Language tags and the primary part (lowest ten bits) of a Windows language identifier.
const LANGUAGES: [(u32, &str); 24] = [
    (0x01, "ar"),
    (0x04, "zh"),
    (0x05, "cs"),
    (0x06, "da"),
    (0x07, "de"),
    (0x08, "el"),
    (0x09, "en"),
    (0x0a, "es"),
    (0x0b, "fi"),
    (0x0c, "fr"),
    (0x0d, "he"),
    (0x0e, "hu"),
    (0x10, "it"),
    (0x11, "ja"),
    (0x12, "ko"),
    (0x13, "nl"),
    (0x14, "no"),
    (0x15, "pl"),
    (0x16, "pt"),
    (0x18, "ro"),
    (0x19, "ru"),
    (0x1d, "sv"),
    (0x1f, "tr"),
    (0x22, "uk"),
];

const PRIMARY: u32 = 0x3ff;
/// The first variant of a language.
const DEFAULT_VARIANT: u32 = 0x400;

/// The language of a Windows language identifier such as 1033.
fn language_of(identifier: &str) -> Option<&'static str> {
    let primary = identifier.trim().parse::<u32>().ok()? & PRIMARY;
    LANGUAGES
        .iter()
        .find(|(number, _)| *number == primary)
        .map(|(_, tag)| *tag)
}

/// The identifier for a language tag; none for languages that we do not know.
fn identifier_of(tag: &str) -> Option<u32> {
    let primary = tag.split('-').next().unwrap_or_default();
    LANGUAGES
        .iter()
        .find(|(_, known)| known.eq_ignore_ascii_case(primary))
        .map(|(number, _)| number | DEFAULT_VARIANT)
}
