//! What holds for any octets that come as a presence document.

use std::time::Duration;

use stox_sip::body::document::{DocumentError, Said};
use stox_sip::body::xml::XmlError;
use stox_sip::body::{categories, msrtc_pidf, pidf, xpidf};

/// Documents that speak of the whole user are written for this one.
const ADDRESS: &str = "bruno@ocs.example";

type Parse = fn(&[u8]) -> Result<Said, DocumentError>;
type Write = fn(&Said) -> Option<String>;

/// The families that tell one state.
const STATED: [(Parse, Write); 3] = [
    (read_categories, write_categories),
    (
        |octets| msrtc_pidf::parse(octets, None),
        |said| {
            let name = said.document.name.as_deref();
            let tuple = said.document.tuples.first()?;
            Some(msrtc_pidf::write(tuple, name, ADDRESS))
        },
    ),
    (
        |octets| xpidf::parse(octets, None),
        |said| Some(xpidf::write(said.document.tuples.first()?, ADDRESS)),
    ),
];

/// A presence document is refused, or says the same after it was written and read again.
pub(crate) fn check(octets: &[u8]) {
    check_pidf(octets);
    for (parse, write) in STATED {
        let Some(written) = parse(octets).ok().and_then(|said| write(&said)) else {
            continue;
        };
        match parse(written.as_bytes()) {
            Ok(again) => assert_eq!(write(&again), Some(written)),
            // What is escaped is longer.
            Err(error) => assert_eq!(error, DocumentError::Xml(XmlError::TooLarge)),
        }
    }
}

fn check_pidf(octets: &[u8]) {
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

fn read_categories(octets: &[u8]) -> Result<Said, DocumentError> {
    let categories = categories::parse(octets, None)?;
    Ok(Said {
        entity: categories.entity.clone(),
        document: categories.complete(None),
    })
}

fn write_categories(said: &Said) -> Option<String> {
    let name = said.document.name.as_deref();
    let tuple = said.document.tuples.first()?;
    Some(categories::write(tuple, name, ADDRESS, Duration::ZERO))
}
