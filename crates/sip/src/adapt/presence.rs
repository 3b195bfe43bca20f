//! The body of a NOTIFY and the presence document of the core.

use std::borrow::Cow;

use bytes::Bytes;
use stox_core::address::{Scheme, SipAddress};
use stox_core::vocab::Document;

use super::is_named;
use crate::body::multipart::{self, MultipartError};
use crate::body::pidf::{self, Pidf, PidfError};
use crate::body::text::language_tag;
use crate::header::{HeaderValue, Headers, MediaType};
use crate::uri::Uri;

/// Content of an `Accept` header for presence documents.
pub const ACCEPT: &str = pidf::CONTENT_TYPE;

/// A family of presence documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Format {
    /// `application/pidf+xml` (RFC 3863, RFC 4480).
    Pidf,
    /// `application/msrtc-event-categories+xml`.
    Categories,
    /// `text/xml+msrtc.pidf`.
    MsrtcPidf,
    /// `application/xpidf+xml`.
    Xpidf,
}

/// Why a presence body says nothing to us. The sender is at fault. The last known state stays in force (PVAL-43).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BodyRefused {
    /// A body of another type, or a body without type: 415 with [`ACCEPT`].
    #[error("the body is no PIDF document")]
    UnsupportedType,
    /// A multipart that cannot be taken apart.
    #[error(transparent)]
    Multipart(#[from] MultipartError),
    /// A document that cannot be read.
    #[error(transparent)]
    Document(#[from] PidfError),
    /// A document about somebody else than the presentity of the dialog.
    #[error("the document is about another user")]
    OtherEntity,
}

impl BodyRefused {
    /// The status of an answer that says so (RFC 3261 §21.4).
    pub fn status(&self) -> u16 {
        match self {
            Self::UnsupportedType => 415,
            Self::Multipart(_) | Self::Document(_) | Self::OtherEntity => 400,
        }
    }
}

/// Reads the body of a NOTIFY about `presentity`, given its `Content-Type` and `Content-Language`. `None`: there is no
/// body, and the last document stays in force (PVAL-35).
///
/// The users of document and dialog have to be the same. Their hosts need not: aliases and addresses of one server
/// are common there.
///
/// # Errors
/// [`BodyRefused`] when there is a body that cannot be used.
pub fn read(
    content_type: Option<&str>,
    content_language: Option<&str>,
    body: &[u8],
    presentity: &SipAddress,
) -> Result<Option<Document>, BodyRefused> {
    if content_type.is_none() && body.is_empty() {
        return Ok(None);
    }
    let media_type = content_type
        .and_then(|text| MediaType::parse(text).ok())
        .ok_or(BodyRefused::UnsupportedType)?;
    let language = content_language.and_then(first_language);
    let Pidf { entity, document } = if is_named(&media_type, pidf::CONTENT_TYPE) {
        pidf::parse(body, media_type.params.text("charset").as_deref(), language)?
    } else if media_type.type_ == "multipart" {
        read_multipart(&media_type, body, language)?
    } else {
        return Err(BodyRefused::UnsupportedType);
    };
    let about = entity_address(&entity).ok_or(PidfError::BadEntity)?;
    if about.canonical().user != presentity.canonical().user {
        return Err(BodyRefused::OtherEntity);
    }
    Ok(Some(document))
}

/// The first PIDF part (RFC 2387 multiparts of resource lists have it after the list).
fn read_multipart(
    outer: &MediaType,
    body: &[u8],
    language: Option<&str>,
) -> Result<Pidf, BodyRefused> {
    let parts = multipart::parse(body, &outer.params.text("boundary").unwrap_or_default())?;
    for part in &parts {
        let media_type = part
            .header("Content-Type")
            .and_then(|text| MediaType::parse(text).ok());
        let Some(media_type) = media_type.filter(|found| is_named(found, pidf::CONTENT_TYPE))
        else {
            continue;
        };
        let content = part.content().ok_or(BodyRefused::UnsupportedType)?;
        let language = part
            .header("Content-Language")
            .and_then(first_language)
            .or(language);
        return Ok(pidf::parse(
            &content,
            media_type.params.text("charset").as_deref(),
            language,
        )?);
    }
    Err(BodyRefused::UnsupportedType)
}

/// The first tag of a `Content-Language` list.
pub(super) fn first_language(list: &str) -> Option<&str> {
    list.split(',')
        .next()
        .and_then(language_tag)
        .filter(|tag| !tag.is_empty())
}

/// Whom an entity URI names. `None` when it is no URI of a presentity.
fn entity_address(entity: &str) -> Option<SipAddress> {
    // An XML attribute holds characters that a URI does not; peers do not always encode them.
    let encode = |c: char| match c.is_ascii() {
        true => c.to_string(),
        false => c
            .to_string()
            .bytes()
            .map(|octet| format!("%{octet:02X}"))
            .collect(),
    };
    let entity: String = entity.chars().map(encode).collect();
    if entity.contains(':') {
        return Uri::parse(&entity)
            .ok()
            .map(|uri| super::address::from_uri(&uri));
    }
    // COMPAT(sipsimple): writes `sip%3Auser%40domain`. Others leave the scheme out.
    let decoded = entity.replace("%3A", ":").replace("%40", "@");
    let whole = if decoded.contains(':') {
        decoded
    } else {
        format!("pres:{decoded}")
    };
    let uri = Uri::parse(&whole).ok().filter(|uri| uri.user.is_some())?;
    Some(super::address::from_uri(&uri))
}

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

/// How a watcher reads activities.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Dialect {
    /// As RFC 4480 says.
    #[default]
    Standard,
    /// COMPAT(ocs2007r2, lcs2005): only inside the status of a tuple, in the namespace of a draft.
    Draft,
}

/// Types that only the readers of the draft accept.
const DRAFT_READERS: [&str; 2] = [
    "application/msrtc-event-categories+xml",
    "text/xml+msrtc.pidf",
];

impl Dialect {
    /// The dialect of the watcher who sent a SUBSCRIBE with these headers.
    pub fn of(headers: &Headers) -> Self {
        let reads_draft = headers.values("Accept").any(|range| {
            let kind = range.split(';').next().unwrap_or(range).trim();
            DRAFT_READERS
                .iter()
                .any(|name| name.eq_ignore_ascii_case(kind))
        });
        if reads_draft {
            Self::Draft
        } else {
            Self::Standard
        }
    }

    /// The document with the activities where the watcher looks for them too (OCS-09).
    pub fn spell(self, document: &Document) -> Cow<'_, Document> {
        match self {
            Self::Standard => Cow::Borrowed(document),
            Self::Draft => {
                let mut document = document.clone();
                for tuple in &mut document.tuples {
                    tuple.legacy_activities.clone_from(&tuple.activities);
                }
                Cow::Owned(document)
            }
        }
    }
}

/// Writes the body of a NOTIFY about `presentity`.
pub fn write(document: &Document, presentity: &SipAddress) -> PresenceBody {
    let contact = SipAddress {
        scheme: Scheme::Sip,
        ..presentity.bare()
    };
    let entity = SipAddress {
        scheme: Scheme::Pres,
        user: presentity.user.as_deref().map(escape_for_pres),
        ..presentity.bare()
    };
    PresenceBody {
        content_type: pidf::CONTENT_TYPE,
        content_language: common_language(document),
        bytes: Bytes::from(pidf::write(
            document,
            &entity.to_string(),
            &contact.to_string(),
        )),
    }
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
