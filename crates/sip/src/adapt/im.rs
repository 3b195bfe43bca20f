//! MESSAGE requests and the instant messages of the core (RFC 3428, RFC 7572).

mod accepted;
mod content;
mod embedded;
mod receipt;
mod split;
mod write;

use std::time::Duration;

use stox_core::time::Now;
use stox_core::vocab::{Im, ImKind, Text, Wants};

pub use accepted::Accepted;
pub use content::{accept, treatments};
pub use embedded::embedded;
pub use receipt::{notification, receipt, wrap};
pub use split::{MAX_PARTS, split};
pub use write::{PageMessage, Unwritable, branch_hint, call_id, prefer, write, written_types};

use super::presence::first_language;
use crate::body::imdn::{Imdn, Wanted};
use crate::body::iscomposing::Composing;
use crate::body::text::{clean, one_line};
use crate::header::Headers;
use crate::message::Request;

/// What a MESSAGE turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Inbound {
    /// Something to read, and what its sender wants to be told of it, as `wants` of the message says too.
    Message(Box<Im>, Option<Wanted>),
    /// A text that its sender did not want to be shown any more by now (RFC 3428 §7): it goes no further.
    Expired(Box<Im>),
    /// The sender is typing, or has stopped.
    Composing(Composing),
    /// Delivery or display receipts: one, or several that came together.
    Disposition(Vec<Imdn>),
    /// No content at all (RFC 3428 §4).
    Empty,
}

/// A final answer that refuses a request because of its content. The sender is at fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// 400, 413 or 415.
    pub status: u16,
    /// Reason phrase.
    pub reason: &'static str,
    /// Header fields that belong to the status (RFC 3261 §8.2.3).
    pub headers: Vec<(&'static str, String)>,
}

/// Reads a MESSAGE. The sender's identity is not looked for: it comes from the connection and `From`, never from a
/// wrapper in the body (RFC 3428 §11.5).
///
/// # Errors
/// [`Refusal`] when nothing in the body can be shown.
pub fn read(request: &Request, now: Now) -> Result<Inbound, Refusal> {
    let headers = &request.headers;
    if request.body.is_empty() {
        return Ok(Inbound::Empty);
    }
    let content = content::Content {
        media_type: headers.get("Content-Type"),
        encoding: headers.get("Content-Encoding"),
        language: headers.get("Content-Language").and_then(first_language),
        octets: &request.body,
        inflated: false,
    };
    read_described(&content, headers, now)
}

/// Reads the content of a message that has no header fields of SIP, such as one of MSRP: its `Content-Type` and octets.
/// The caller knows its id and its thread.
///
/// # Errors
/// [`Refusal`] when nothing in it can be shown.
pub fn read_content(media_type: Option<&str>, octets: &[u8], now: Now) -> Result<Inbound, Refusal> {
    if octets.is_empty() {
        return Ok(Inbound::Empty);
    }
    let content = content::Content {
        media_type,
        encoding: None,
        language: None,
        octets,
        inflated: false,
    };
    read_described(&content, &Headers::default(), now)
}

fn read_described(
    content: &content::Content<'_>,
    headers: &Headers,
    now: Now,
) -> Result<Inbound, Refusal> {
    let text = match content::read(content).map_err(content::Unusable::refusal)? {
        content::Found::Text(text) => text,
        content::Found::Composing(composing) => return Ok(Inbound::Composing(composing)),
        content::Found::Disposition(receipts) => return Ok(Inbound::Disposition(receipts)),
    };
    if text.body.is_empty() {
        return Ok(Inbound::Empty);
    }
    let (im, wanted) = assemble(headers, text);
    let im = Box::new(im);
    Ok(match expiry(headers) {
        Some(end) if end < now.wall => Inbound::Expired(im),
        _ => Inbound::Message(im, wanted),
    })
}

fn assemble(headers: &Headers, text: content::ReadableText) -> (Im, Option<Wanted>) {
    let subject = headers.get("Subject").map(|subject| Text {
        lang: text.language.clone(),
        text: one_line(&clean(subject)),
    });
    let subject = subject
        .or(text.subject)
        .filter(|subject| !subject.text.is_empty());
    let wants = text.wanted.as_ref().map(|wanted| Wants {
        delivered: wanted.delivered,
        displayed: wanted.displayed,
    });
    let im = Im {
        kind: ImKind::Normal,
        id: transaction_id(headers),
        thread: headers
            .get("Call-ID")
            .map(clean)
            .filter(|id| !id.is_empty()),
        subjects: subject.into_iter().collect(),
        bodies: vec![Text {
            lang: text.language,
            text: text.body,
        }],
        rich: text.rich,
        sent_at: sent_at(headers).or(text.sent_at),
        chat_state: None,
        wants: wants.unwrap_or_default(),
        trace: super::trace::read(headers),
    };
    (im, text.wanted)
}

/// The branch of the top `Via`: the transaction identifier (RFC 7572 Table 2).
fn transaction_id(headers: &Headers) -> Option<String> {
    let via = headers.top_via().ok()?;
    via.branch().map(clean).filter(|id| !id.is_empty())
}

/// `Date`; a malformed one says nothing.
fn sent_at(headers: &Headers) -> Option<Duration> {
    headers.date().ok()?.map(|date| date.since_epoch)
}

/// When the message loses its point: `Expires` counts from `Date` (RFC 3428 §7). Without `Date` nobody can tell.
fn expiry(headers: &Headers) -> Option<Duration> {
    let seconds = headers.expires().ok()??;
    sent_at(headers)?.checked_add(Duration::from_secs(seconds.into()))
}
