use stox_core::vocab::Im;

use super::content::{self, Found};
use crate::body::msgr::decode_base64;
use crate::header::{HeaderValue, Headers, MediaType};

/// Characters of a body in a header field that is looked at.
const MAX_LENGTH: usize = 16_384;

/// The first message of a session, which Microsoft's clients put into a header field of their INVITE:
/// `ms-text-format: text/plain; charset=UTF-8;msgr=…;ms-body=…`, the body in base64. What `ms-im-format` says beside it
/// is the same text again. `None` when there is none that can be read: it comes as a MESSAGE then.
#[must_use]
pub fn embedded(headers: &Headers) -> Option<Im> {
    let media_type = headers.get("ms-text-format")?;
    let parsed = MediaType::parse(media_type).ok()?;
    let body = parsed.params.text("ms-body")?;
    if body.len() > MAX_LENGTH {
        return None;
    }
    let octets = decode_base64(&body)?;
    let charset = parsed.params.text("charset");
    let is_utf8 = charset.is_none_or(|name| name.eq_ignore_ascii_case("utf-8"));
    if is_utf8 && std::str::from_utf8(&octets).is_err() {
        return None;
    }
    let content = content::Content {
        media_type: Some(media_type),
        encoding: None,
        language: None,
        octets: &octets,
        inflated: false,
    };
    match content::read(&content) {
        Ok(Found::Text(text)) if !text.body.is_empty() => Some(super::assemble(headers, text).0),
        _ => None,
    }
}
