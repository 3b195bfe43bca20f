//! What holds for any octets that come as a conference document.

use stox_sip::body::conference_info::{self, Applied, ConferenceInfo, Extent, Roster};
use stox_sip::body::document::DocumentError;
use stox_sip::body::xml::XmlError;

/// A document is refused, or says the same after it was written and read again; and no document makes a roster grow
/// beyond its limits.
pub(crate) fn check(octets: &[u8]) {
    let Ok(found) = conference_info::parse(octets, None) else {
        return;
    };
    let written = conference_info::write(&found);
    match conference_info::parse(written.as_bytes(), None) {
        Ok(again) => assert_eq!(again, found),
        // What is missing is spelled out, so a document at a limit may grow beyond it.
        Err(error) => assert_eq!(error, DocumentError::Xml(XmlError::TooLarge)),
    }
    taken_in(&found);
    in_pieces(&found);
}

fn taken_in(info: &ConferenceInfo) {
    let mut roster = Roster::default();
    let applied = roster.apply(info.clone());
    assert_eq!(applied == Applied::News, info.extent == Extent::Full);
    assert_eq!(roster.is_unknown(), applied != Applied::News);
    let before = roster.clone();
    let mut next = info.clone();
    next.extent = Extent::Partial;
    if roster.apply(next) != Applied::News {
        assert_eq!(roster, before);
    }
    let users = roster.users();
    assert!(users.len() <= conference_info::MAX_USERS);
    for (at, user) in users.iter().enumerate() {
        assert!(!users[..at].iter().any(|other| other.entity == user.entity));
        assert!(user.endpoints.len() <= conference_info::MAX_ENDPOINTS);
    }
}

/// In pieces, it says the same as in one.
fn in_pieces(info: &ConferenceInfo) {
    if info.extent != Extent::Full || info.version == Some(u32::MAX) {
        return;
    }
    let (mut whole, mut parts) = (Roster::default(), Roster::default());
    whole.apply(info.clone());
    for piece in conference_info::pieces(info.clone()) {
        assert_eq!(parts.apply(piece), Applied::News);
    }
    assert_eq!(parts.users(), whole.users());
    assert_eq!(parts.description(), whole.description());
}
