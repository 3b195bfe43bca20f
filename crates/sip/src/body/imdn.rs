//! Disposition notifications: delivery and display receipts (RFC 5438).

use super::xml::{self, Element, XmlError};

/// Content type of a disposition notification.
pub const CONTENT_TYPE: &str = "message/imdn+xml";
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
    /// It was refused, or the state is not told.
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

/// (element around the status, status element, meaning): RFC 5438 §7.2.1.
const DISPOSITIONS: [(&str, &str, Disposition); 3] = [
    ("delivery-notification", "delivered", Disposition::Delivered),
    ("delivery-notification", "failed", Disposition::Failed),
    ("display-notification", "displayed", Disposition::Displayed),
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
