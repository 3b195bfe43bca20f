//! The fate of a conference message, as Microsoft's conference servers report it (MS-CONFIM).

use super::imdn::{Disposition, Imdn};
use super::xml::{self, Element, XmlError};

/// Content type of the report.
pub const CONTENT_TYPE: &str = "application/ms-imdn+xml";
/// From this status on a recipient did not get the message.
const FAILED_FROM: u16 = 300;

/// Reads a report: delivered when every recipient has it, failed when one has not.
///
/// # Errors
/// [`XmlError`] when it is none. The sender is at fault.
pub fn parse(octets: &[u8], charset: Option<&str>) -> Result<Imdn, XmlError> {
    let root = xml::parse(octets, charset)?;
    let message_id = named(&root, "message-id").find_map(Element::simple_text);
    let Some(message_id) = message_id.filter(|_| root.name == "imdn") else {
        return Err(XmlError::NotWellFormed);
    };
    let statuses: Vec<u16> = named(&root, "recipient")
        .flat_map(|recipient| named(recipient, "status"))
        .filter_map(|status| status.simple_text()?.parse().ok())
        .collect();
    let disposition = if statuses.iter().any(|status| *status >= FAILED_FROM) {
        Disposition::Failed
    } else if statuses.is_empty() {
        Disposition::Other
    } else {
        Disposition::Delivered
    };
    Ok(Imdn {
        message_id: message_id.to_owned(),
        disposition,
    })
}

/// Child elements of that name in any namespace: the servers do not agree on one.
fn named<'a>(parent: &'a Element, name: &'a str) -> impl Iterator<Item = &'a Element> {
    parent
        .children
        .iter()
        .filter(move |child| child.name == name)
}
