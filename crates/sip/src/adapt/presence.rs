//! The body of a NOTIFY and the presence document of the core.

use bytes::Bytes;
use stox_core::address::SipAddress;
use stox_core::vocab::Document;

use crate::body::media_type::MediaType;
use crate::body::multipart::{self, MultipartError};
use crate::body::pidf::{self, Pidf, PidfError};
use crate::body::text::language_tag;

/// Content of an `Accept` header for presence documents.
pub const ACCEPT: &str = pidf::CONTENT_TYPE;

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
    let media_type = content_type.and_then(MediaType::parse).ok_or(BodyRefused::UnsupportedType)?;
    let language = content_language.and_then(first_language);
    let Pidf { entity, document } = if media_type.is_named(pidf::CONTENT_TYPE) {
        pidf::parse(body, media_type.param("charset"), language)?
    } else if media_type.is("multipart", "*") {
        read_multipart(&media_type, body, language)?
    } else {
        return Err(BodyRefused::UnsupportedType);
    };
    match entity_user(&entity) {
        None => Err(PidfError::BadEntity.into()),
        Some(user) if user != folded_user(presentity.user.as_deref().unwrap_or_default()) => {
            Err(BodyRefused::OtherEntity)
        }
        Some(_) => Ok(Some(document)),
    }
}

/// The first PIDF part (RFC 2387 multiparts of resource lists have it after the list).
fn read_multipart(outer: &MediaType, body: &[u8], language: Option<&str>) -> Result<Pidf, BodyRefused> {
    let parts = multipart::parse(body, outer.param("boundary").unwrap_or_default())?;
    for part in &parts {
        let media_type = part.header("Content-Type").and_then(MediaType::parse);
        let Some(media_type) = media_type.filter(|found| found.is_named(pidf::CONTENT_TYPE)) else {
            continue;
        };
        let content = part.content().ok_or(BodyRefused::UnsupportedType)?;
        let language = part.header("Content-Language").and_then(first_language).or(language);
        return Ok(pidf::parse(&content, media_type.param("charset"), language)?);
    }
    Err(BodyRefused::UnsupportedType)
}

/// The first tag of a `Content-Language` list.
pub(super) fn first_language(list: &str) -> Option<&str> {
    list.split(',').next().and_then(language_tag).filter(|tag| !tag.is_empty())
}

/// The user of an entity URI, in the form of [`folded_user`]; empty for a URI of a domain. `None` when it is no URI of
/// a presentity.
fn entity_user(entity: &str) -> Option<String> {
    let mut entity = entity.to_owned();
    if !entity.contains(':') {
        // COMPAT(sipsimple): writes `sip%3Auser%40domain`.
        entity = percent_decoded(&entity);
    }
    let (scheme, rest) = match entity.split_once(':') {
        Some(parts) => parts,
        None if entity.contains('@') => ("pres", entity.as_str()),
        None => return None,
    };
    let known = ["sip", "sips", "pres", "im"].iter().any(|own| scheme.eq_ignore_ascii_case(own));
    let user = rest.rsplit_once('@').map_or("", |(user, _)| user);
    let user = user.split_once(':').map_or(user, |(user, _)| user);
    (known && !rest.is_empty()).then(|| folded_user(user))
}

/// Percent-decoded and in lower case, for a comparison that must not be too fine.
fn folded_user(user: &str) -> String {
    percent_decoded(user).to_lowercase()
}

fn percent_decoded(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut pieces = text.split('%');
    out.extend_from_slice(pieces.next().unwrap_or_default().as_bytes());
    for piece in pieces {
        let escape = piece.split_at_checked(2);
        let octet = escape.and_then(|(digits, rest)| Some((u8::from_str_radix(digits, 16).ok()?, rest)));
        match octet {
            Some((octet, rest)) => {
                out.push(octet);
                out.extend_from_slice(rest.as_bytes());
            }
            None => {
                out.push(b'%');
                out.extend_from_slice(piece.as_bytes());
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
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

/// Writes the body of a NOTIFY about `presentity`.
pub fn write(document: &Document, presentity: &SipAddress) -> PresenceBody {
    let user = presentity.user.as_ref().map(|user| format!("{user}@")).unwrap_or_default();
    let contact = format!("sip:{user}{}", presentity.host);
    let entity = format!("pres:{}{}", escape_for_pres(&user), presentity.host);
    PresenceBody {
        content_type: pidf::CONTENT_TYPE,
        content_language: common_language(document),
        bytes: Bytes::from(pidf::write(document, &entity, &contact)),
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
    let mut notes = document.tuples.iter().flat_map(|tuple| &tuple.notes).chain(&document.notes);
    let first = notes.next()?.lang.as_deref().and_then(language_tag)?;
    notes.all(|note| note.lang.is_some()).then(|| first.to_owned())
}
