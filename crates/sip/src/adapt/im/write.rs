use bytes::Bytes;
use sha2::{Digest, Sha256};
use stox_core::vocab::{Im, Text};

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
    /// The text, exactly as it was given, in UTF-8.
    pub body: Bytes,
}

/// Writes an instant message as page mode. Of several languages the first is taken, with the subject that goes with
/// it. `None` when there is no text to send (IM-10, IM-11).
pub fn write(im: &Im) -> Option<PageMessage> {
    let body = im.bodies.iter().find(|body| !body.text.is_empty())?;
    let mut headers = vec![("Content-Type", "text/plain;charset=UTF-8".to_owned())];
    if let Some(tag) = body.lang.as_deref().and_then(language_tag) {
        headers.push(("Content-Language", tag.to_owned()));
    }
    if let Some(subject) = subject(&im.subjects, body.lang.as_deref()) {
        headers.push(("Subject", subject));
    }
    if let Some(since_epoch) = im.sent_at {
        headers.push(("Date", SipDate { since_epoch }.to_string()));
    }
    Some(PageMessage {
        headers,
        body: Bytes::copy_from_slice(body.text.as_bytes()),
    })
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
