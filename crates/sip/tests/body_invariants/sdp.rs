//! What holds for any octets that come as a session description.

use stox_sip::adapt::im::Accepted;
use stox_sip::body::sdp::{self, Media};

pub(crate) fn check(octets: &[u8]) {
    let offered = sdp::media(octets);
    for types in offered
        .iter()
        .filter_map(|media| media.accept_types.as_deref())
    {
        _ = Accepted::parse(types);
    }
    let taken = offered.iter().position(Media::is_in_dialog);
    let answer = sdp::answer(&offered, "gw.example", "sip:a@b.example", "text/plain");
    assert_eq!(answer.is_some(), taken.is_some());
    let Some(answer) = answer else {
        return;
    };
    let answered = sdp::media(answer.as_bytes());
    assert_eq!(answered.len(), offered.len(), "{answer}");
    for (index, media) in answered.iter().enumerate() {
        assert_eq!(media.is_in_dialog(), Some(index) == taken, "{answer}");
    }
}
