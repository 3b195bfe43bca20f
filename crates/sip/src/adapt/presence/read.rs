use std::borrow::Cow;

use stox_core::address::SipAddress;
use stox_core::vocab::Document;

use super::Format;
use crate::body::document::{DocumentError, Said};
use crate::body::multipart::{self, MultipartError, Part};
use crate::body::text::language_tag;
use crate::body::{categories, msrtc_pidf, pidf, xpidf};
use crate::header::{HeaderValue, MediaType};
use crate::uri::Uri;

/// Why a presence body says nothing to us. The sender is at fault. The last known state stays in force (PVAL-43).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BodyRefused {
    /// A body of another type, or a body without type: 415 with the types that we read.
    #[error("the body is no presence document")]
    UnsupportedType,
    /// A multipart that cannot be taken apart.
    #[error(transparent)]
    Multipart(#[from] MultipartError),
    /// A document that cannot be read.
    #[error(transparent)]
    Document(#[from] DocumentError),
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
    read_after(content_type, content_language, body, presentity, None)
}

/// As [`read`], in a subscription whose last document was `before`: one that tells only what has changed is completed
/// from it.
///
/// # Errors
/// As [`read`].
pub fn read_after(
    content_type: Option<&str>,
    content_language: Option<&str>,
    body: &[u8],
    presentity: &SipAddress,
    before: Option<&Document>,
) -> Result<Option<Document>, BodyRefused> {
    if content_type.is_none() && body.is_empty() {
        return Ok(None);
    }
    let media_type = content_type
        .and_then(|text| MediaType::parse(text).ok())
        .ok_or(BodyRefused::UnsupportedType)?;
    let reader = Reader {
        presentity,
        before,
        language: content_language.and_then(first_language),
    };
    if media_type.type_ == "multipart" {
        reader.multipart(&media_type, body)
    } else {
        reader.document(&media_type, body)
    }
    .map(Some)
}

struct Reader<'a> {
    presentity: &'a SipAddress,
    before: Option<&'a Document>,
    language: Option<&'a str>,
}

impl Reader<'_> {
    fn document(&self, media_type: &MediaType, body: &[u8]) -> Result<Document, BodyRefused> {
        let charset = media_type.params.text("charset");
        let charset = charset.as_deref();
        let said = match Format::of(media_type).ok_or(BodyRefused::UnsupportedType)? {
            Format::Pidf => pidf::parse(body, charset, self.language)?,
            Format::MsrtcPidf => msrtc_pidf::parse(body, charset)?,
            Format::Xpidf => xpidf::parse(body, charset)?,
            Format::Categories => {
                let categories = categories::parse(body, charset)?;
                Said {
                    entity: categories.entity.clone(),
                    document: categories.complete(self.before),
                }
            }
        };
        let about = entity_address(&said.entity).ok_or(DocumentError::BadEntity)?;
        if about.canonical().user != self.presentity.canonical().user {
            return Err(BodyRefused::OtherEntity);
        }
        Ok(said.document)
    }

    /// The first part about the presentity: multiparts of resource lists hold a list and documents about several users
    /// (RFC 2387, RFC 4662 §5).
    fn multipart(&self, outer: &MediaType, body: &[u8]) -> Result<Document, BodyRefused> {
        let parts = multipart::parse(body, &outer.params.text("boundary").unwrap_or_default())?;
        let mut refused = BodyRefused::UnsupportedType;
        for part in &parts {
            match self.part(part) {
                Ok(document) => return Ok(document),
                Err(BodyRefused::UnsupportedType) => {}
                Err(error) => refused = error,
            }
        }
        Err(refused)
    }

    fn part(&self, part: &Part<'_>) -> Result<Document, BodyRefused> {
        let media_type = part
            .header("Content-Type")
            .and_then(|text| MediaType::parse(text).ok())
            .ok_or(BodyRefused::UnsupportedType)?;
        let content: Cow<'_, [u8]> = part.content().ok_or(BodyRefused::UnsupportedType)?;
        let language = part.header("Content-Language").and_then(first_language);
        let reader = Reader {
            language: language.or(self.language),
            ..*self
        };
        reader.document(&media_type, &content)
    }
}

/// The first tag of a `Content-Language` list.
pub(in crate::adapt) fn first_language(list: &str) -> Option<&str> {
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
            .map(|uri| crate::adapt::address::from_uri(&uri));
    }
    // COMPAT(sipsimple): writes `sip%3Auser%40domain`. Others leave the scheme out.
    let decoded = entity.replace("%3A", ":").replace("%40", "@");
    let whole = if decoded.contains(':') {
        decoded
    } else {
        format!("pres:{decoded}")
    };
    let uri = Uri::parse(&whole).ok().filter(|uri| uri.user.is_some())?;
    Some(crate::adapt::address::from_uri(&uri))
}
