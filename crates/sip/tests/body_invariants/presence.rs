//! What holds for any octets that come as a presence document.

use stox_sip::body::document::DocumentError;
use stox_sip::body::pidf;
use stox_sip::body::xml::XmlError;

/// A presence document is refused, or says the same after it was written and read again.
pub(crate) fn check(octets: &[u8]) {
    let Ok(found) = pidf::parse(octets, None, None) else {
        return;
    };
    if found.document.tuples.is_empty() {
        return;
    }
    let written = pidf::write(&found.document, &found.entity, &found.entity);
    match pidf::parse(written.as_bytes(), None, None) {
        Ok(again) => assert_eq!(again, found),
        // What is missing is spelled out, so a document at a limit may grow beyond it.
        Err(error) => assert_eq!(error, DocumentError::Xml(XmlError::TooLarge)),
    }
}
