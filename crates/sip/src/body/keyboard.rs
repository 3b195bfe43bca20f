//! `KeyboardActivity`: the typing notification of Communicator and Lync, carried by INFO in a session.

use super::iscomposing::Composing;
use super::xml::{self, XmlError};

/// Content type of the notification. It says little: only the root element tells.
pub const CONTENT_TYPE: &str = "application/xml";

/// Reads a notification: `type` is active, `idle` and any other word is not. It never says for how long.
///
/// # Errors
/// [`XmlError`] when it is none. The sender is at fault.
pub fn parse(octets: &[u8], charset: Option<&str>) -> Result<Composing, XmlError> {
    let root = xml::parse(octets, charset)?;
    let named = |element: &&xml::Element| element.name == "status";
    let status = root.children.iter().find(named);
    let status = status.and_then(|element| element.attribute("status"));
    let status = status.filter(|_| root.name == "KeyboardActivity");
    Ok(Composing {
        active: status.ok_or(XmlError::NotWellFormed)? == "type",
        refresh: None,
    })
}

/// Writes a notification.
#[must_use]
pub fn write(active: bool) -> &'static str {
    if active {
        r#"<?xml version="1.0"?><KeyboardActivity><status status="type"/></KeyboardActivity>"#
    } else {
        r#"<?xml version="1.0"?><KeyboardActivity><status status="idle"/></KeyboardActivity>"#
    }
}
