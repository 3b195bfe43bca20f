use bytes::Bytes;
use sha2::{Digest, Sha256};
use stox_core::vocab::{Im, Text};

use super::accepted::Accepted;
use crate::body::html;
use crate::body::text::{language_tag, one_line};
use crate::grammar::is_token_octet;
use crate::header::SipDate;

/// Octets of a Call-ID that is taken over as it is.
const MAX_CALL_ID: usize = 128;
/// Octets of a branch hint that is taken over as it is.
const MAX_BRANCH_HINT: usize = 64;
/// Octets of a digest that stands for an identifier that SIP does not allow.
const DIGEST_OCTETS: usize = 16;

/// What a MESSAGE carries: header fields about the content, and the body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageMessage {
    /// `Content-Type`, and `Content-Language`, `Subject`, `Date` as far as known.
    pub headers: Vec<(&'static str, String)>,
    /// The text, in UTF-8: exactly as it was given when it is plain.
    pub body: Bytes,
}

impl PageMessage {
    /// `Content-Type`.
    #[must_use]
    pub fn content_type(&self) -> &str {
        let row = self
            .headers
            .iter()
            .find(|(name, _)| *name == "Content-Type");
        row.map_or("text/plain", |(_, value)| value.as_str())
    }
}

/// Why an instant message cannot be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unwritable {
    /// There is no text to send (IM-10, IM-11).
    #[error("the message has no text")]
    NoText,
    /// The peer takes no type that text can be written in.
    #[error("the peer accepts no kind of text")]
    NotAccepted,
}

/// Type, subtype, and how text is written in it.
type Form = (&'static str, &'static str, fn(&str) -> String);

/// The types that text is written in, best first.
const FORMS: [Form; 2] = [
    ("text", "plain", str::to_owned),
    ("text", "html", html::write),
];

/// The types that text is written in, best first.
pub fn written_types() -> impl Iterator<Item = String> {
    FORMS
        .into_iter()
        .map(|(type_, subtype, _)| format!("{type_}/{subtype}"))
}

/// Writes an instant message in the best type that the peer accepts. Of several languages the first is taken, with the
/// subject that goes with it.
///
/// # Errors
/// [`Unwritable`].
pub fn write(im: &Im, accepted: &Accepted) -> Result<PageMessage, Unwritable> {
    let body = im.bodies.iter().find(|body| !body.text.is_empty());
    let body = body.ok_or(Unwritable::NoText)?;
    let form = FORMS
        .iter()
        .find(|(type_, subtype, _)| accepted.takes(type_, subtype));
    let (type_, subtype, written) = form.ok_or(Unwritable::NotAccepted)?;
    let content_type = format!("{type_}/{subtype};charset=UTF-8");
    let mut headers = vec![("Content-Type", content_type)];
    if let Some(tag) = body.lang.as_deref().and_then(language_tag) {
        headers.push(("Content-Language", tag.to_owned()));
    }
    if let Some(subject) = subject(&im.subjects, body.lang.as_deref()) {
        headers.push(("Subject", subject));
    }
    if let Some(since_epoch) = im.sent_at {
        headers.push(("Date", SipDate { since_epoch }.to_string()));
    }
    Ok(PageMessage {
        headers,
        body: Bytes::from(written(&body.text)),
    })
}

/// Puts the body in that language first, where there is one among several: that is the one which [`write()`] takes
/// (RFC 7572 §8). Looks belong to the first body, and go with it.
pub fn prefer(im: &mut Im, language: &str) {
    let in_language = |body: &Text| {
        let tag = body.lang.as_deref();
        tag.is_some_and(|tag| tag.eq_ignore_ascii_case(language)) && !body.text.is_empty()
    };
    if let Some(at) = im.bodies.iter().position(in_language).filter(|at| *at > 0) {
        im.bodies.swap(0, at);
        im.rich = None;
    }
}

/// The subject in the language of the body, else the first one; on one line.
fn subject(subjects: &[Text], lang: Option<&str>) -> Option<String> {
    let chosen = subjects
        .iter()
        .find(|subject| subject.lang.as_deref() == lang)
        .or_else(|| subjects.first())?;
    Some(one_line(&chosen.text)).filter(|subject| !subject.is_empty())
}

/// The Call-ID of a thread: the thread itself when SIP allows it, otherwise a digest of it, so that one thread always
/// has one Call-ID (RFC 7572 Table 1). `None` for an empty thread.
pub fn call_id(thread: &str) -> Option<String> {
    if thread.trim().is_empty() {
        return None;
    }
    let (local, host) = thread.split_once('@').unwrap_or((thread, "-"));
    let legal = thread.len() <= MAX_CALL_ID && is_word(local) && is_word(host);
    Some(if legal {
        thread.to_owned()
    } else {
        digest(thread)
    })
}

/// A stanza id as part of a branch: the id itself when it is a SIP token, otherwise a digest of it. The transaction
/// layer puts the magic cookie before it and makes it unique.
pub fn branch_hint(id: &str) -> String {
    let legal = (1..=MAX_BRANCH_HINT).contains(&id.len()) && id.bytes().all(is_token_octet);
    if legal { id.to_owned() } else { digest(id) }
}

fn digest(text: &str) -> String {
    let octets = Sha256::digest(text.as_bytes());
    octets
        .iter()
        .take(DIGEST_OCTETS)
        .map(|octet| format!("{octet:02x}"))
        .collect()
}

/// `word` of RFC 3261 §25.1.
fn is_word(text: &str) -> bool {
    let more = |octet| b"()<>:\\\"/[]?{}".contains(&octet);
    !text.is_empty()
        && text
            .bytes()
            .all(|octet| is_token_octet(octet) || more(octet))
}
