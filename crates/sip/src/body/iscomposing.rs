//! Typing notifications (RFC 3994).

use std::time::Duration;

use super::xml::{self, XmlError};

/// Content type of a typing notification.
pub const CONTENT_TYPE: &str = "application/im-iscomposing+xml";
const NAMESPACE: &str = "urn:ietf:params:xml:ns:im-iscomposing";

/// What a typing notification says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Composing {
    /// The sender is typing. Any other state counts as idle (RFC 3994 §3.2).
    pub active: bool,
    /// How long `active` holds without another notification, when said.
    pub refresh: Option<Duration>,
}

/// Reads a typing notification.
///
/// # Errors
/// [`XmlError`] when it is none. The sender is at fault.
pub fn parse(octets: &[u8], charset: Option<&str>) -> Result<Composing, XmlError> {
    let root = xml::parse(octets, charset)?;
    let state = root
        .child(NAMESPACE, "state")
        .and_then(xml::Element::simple_text);
    let Some(state) = state.filter(|_| root.is(NAMESPACE, "isComposing")) else {
        return Err(XmlError::NotWellFormed);
    };
    let refresh = root
        .child(NAMESPACE, "refresh")
        .and_then(xml::Element::simple_text);
    Ok(Composing {
        active: state == "active",
        refresh: refresh
            .and_then(|text| text.parse().ok())
            .map(Duration::from_secs),
    })
}

/// Writes a typing notification; `content_type` is of the message that is being written. A refresh is given in whole
/// seconds, and not for `idle`, which needs none (RFC 3994 §3.2).
#[must_use]
pub fn write(composing: &Composing, content_type: Option<&str>) -> String {
    let state = if composing.active { "active" } else { "idle" };
    let mut out = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><isComposing xmlns=\"{NAMESPACE}\"><state>{state}</state>"
    );
    if let Some(content_type) = content_type {
        out.push_str("<contenttype>");
        xml::escape_into(&mut out, content_type);
        out.push_str("</contenttype>");
    }
    if let Some(refresh) = composing.refresh.filter(|_| composing.active) {
        out.push_str(&format!("<refresh>{}</refresh>", refresh.as_secs().max(1)));
    }
    out.push_str("</isComposing>");
    out
}
