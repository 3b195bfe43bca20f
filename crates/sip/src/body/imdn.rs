//! Disposition notifications: delivery and display receipts (RFC 5438).

use std::time::Duration;

use super::time::format_rfc3339;
use super::xml::{self, Element, XmlError};

/// Content type of a disposition notification.
pub const CONTENT_TYPE: &str = "message/imdn+xml";
/// The namespace of the header fields in a wrapper (RFC 5438 §6).
pub const HEADER_NAMESPACE: &str = "urn:ietf:params:imdn";
const NAMESPACE: &str = "urn:ietf:params:xml:ns:imdn";

/// What happened to a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disposition {
    /// It reached the recipient's device.
    Delivered,
    /// It was shown.
    Displayed,
    /// It did not reach the recipient.
    Failed,
    /// The state is not told, or is one that says nothing of delivery.
    Other,
}

/// A notification about one message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imdn {
    /// `imdn.Message-ID` of the message that it is about.
    pub message_id: String,
    /// What happened.
    pub disposition: Disposition,
}

/// What the sender of a message wants to be told of it, and under which name (RFC 5438 §6.2, §6.3).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Wanted {
    /// `imdn.Message-ID`.
    pub message_id: String,
    /// `positive-delivery`.
    pub delivered: bool,
    /// `negative-delivery`.
    pub failed: bool,
    /// `display`.
    pub displayed: bool,
    /// `DateTime` of the message, since 1970 UTC.
    pub sent_at: Option<Duration>,
    /// `imdn.Original-To`: whom it was for before it was sent on.
    pub original_to: Option<String>,
}

/// A notification to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notification<'a> {
    /// What it is about.
    pub wanted: &'a Wanted,
    /// URI of whoever got the message.
    pub recipient: &'a str,
    /// Now, since 1970 UTC: stands where the message had no time.
    pub now: Duration,
    /// What happened; [`Disposition::Other`] is an error (RFC 5438 §7.2.1.1).
    pub disposition: Disposition,
}

/// (element around the status, status element, meaning): RFC 5438 §7.2.1. `forbidden` says that nothing will be told.
pub const DISPOSITIONS: [(&str, &str, Disposition); 4] = [
    ("delivery-notification", "delivered", Disposition::Delivered),
    ("delivery-notification", "failed", Disposition::Failed),
    ("display-notification", "displayed", Disposition::Displayed),
    ("delivery-notification", "error", Disposition::Other),
];

/// Reads a disposition notification.
///
/// # Errors
/// [`XmlError`] when it is none. The sender is at fault.
pub fn parse(octets: &[u8], charset: Option<&str>) -> Result<Imdn, XmlError> {
    let root = xml::parse(octets, charset)?;
    let message_id = root
        .child(NAMESPACE, "message-id")
        .and_then(Element::simple_text);
    let Some(message_id) = message_id.filter(|_| root.is(NAMESPACE, "imdn")) else {
        return Err(XmlError::NotWellFormed);
    };
    let says = |&&(around, status, _): &&(&str, &str, Disposition)| {
        let status_of = root
            .child(NAMESPACE, around)
            .and_then(|outer| outer.child(NAMESPACE, "status"));
        status_of.is_some_and(|inner| inner.child(NAMESPACE, status).is_some())
    };
    Ok(Imdn {
        message_id: message_id.to_owned(),
        disposition: DISPOSITIONS
            .iter()
            .find(says)
            .map_or(Disposition::Other, |row| row.2),
    })
}

/// Writes a disposition notification (RFC 5438 §7.1.2).
#[must_use]
pub fn write(notification: &Notification<'_>) -> String {
    let wanted = notification.wanted;
    let row = DISPOSITIONS
        .iter()
        .find(|row| row.2 == notification.disposition);
    let (around, status) = row.map_or(("delivery-notification", "error"), |row| (row.0, row.1));
    let sent_at = format_rfc3339(wanted.sent_at.unwrap_or(notification.now));
    let mut out = format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?><imdn xmlns=\"{NAMESPACE}\">");
    let original = wanted.original_to.as_deref();
    for (name, text) in [
        ("message-id", Some(wanted.message_id.as_str())),
        ("datetime", Some(sent_at.as_str())),
        ("recipient-uri", Some(notification.recipient)),
        ("original-recipient-uri", original),
    ] {
        if let Some(text) = text {
            out.push_str(&format!("<{name}>"));
            xml::escape_into(&mut out, text);
            out.push_str(&format!("</{name}>"));
        }
    }
    out.push_str(&format!(
        "<{around}><status><{status}/></status></{around}></imdn>"
    ));
    out
}

/// Reads the words of `imdn.Disposition-Notification` into what is wanted; others are passed over.
pub(super) fn read_words(words: &str, wanted: &mut Wanted) {
    for word in words.split(',') {
        // A word may have parameters (RFC 5438 §6.2).
        let word = word.split(';').next().unwrap_or_default().trim();
        match word.to_ascii_lowercase().as_str() {
            "positive-delivery" => wanted.delivered = true,
            "negative-delivery" => wanted.failed = true,
            "display" => wanted.displayed = true,
            _ => {}
        }
    }
}

/// The words of `imdn.Disposition-Notification`; `None` where nothing is wanted.
pub(super) fn write_words(wanted: &Wanted) -> Option<String> {
    let words: Vec<&str> = [
        (wanted.delivered, "positive-delivery"),
        (wanted.failed, "negative-delivery"),
        (wanted.displayed, "display"),
    ]
    .into_iter()
    .filter_map(|(set, word)| set.then_some(word))
    .collect();
    (!words.is_empty()).then(|| words.join(", "))
}
