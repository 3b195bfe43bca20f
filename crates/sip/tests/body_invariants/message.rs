//! What holds for any octets that come as the body of a MESSAGE.

use stox_sip::adapt::im::{self, Inbound};
use stox_sip::body::multipart;
use stox_sip::body::text::is_xml_char;
use stox_sip::message::Request;
use stox_sip::method::Method;

/// A multipart is refused, or taken apart into pieces of itself; a message in it is clean text.
pub(crate) fn check(octets: &[u8]) {
    if let Ok(parts) = multipart::parse(octets, "b") {
        assert!((1..=multipart::MAX_PARTS).contains(&parts.len()));
        let content: usize = parts
            .iter()
            .filter_map(multipart::Part::content)
            .map(|c| c.len())
            .sum();
        assert!(content <= octets.len());
    }
    for content_type in [
        "multipart/alternative;boundary=b",
        "multipart/mixed;boundary=b",
        "message/cpim",
    ] {
        let mut request = Request::new(Method::MESSAGE, "sip:alma@jabber.example");
        request.headers.push("Content-Type", content_type);
        request.body = octets.to_vec().into();
        match im::read(&request, Default::default()) {
            Ok(Inbound::Message(im, _)) => {
                let clean = |text: &str| !text.contains('\r') && text.chars().all(is_xml_char);
                assert!(
                    im.bodies
                        .iter()
                        .chain(&im.subjects)
                        .all(|found| clean(&found.text))
                );
            }
            Ok(_) => {}
            Err(refusal) => assert!([400, 415].contains(&refusal.status)),
        }
    }
}
