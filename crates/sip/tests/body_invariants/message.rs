//! What holds for any octets that come as the body of a MESSAGE.

use stox_sip::adapt::im::{self, Inbound, Refusal};
use stox_sip::body::imdn::Wanted;
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
    for coding in ["identity", "deflate", "gzip"] {
        for content_type in TYPES {
            let mut request = Request::new(Method::MESSAGE, "sip:alma@jabber.example");
            request.headers.push("Content-Type", content_type);
            request.headers.push("Content-Encoding", coding);
            request.body = octets.to_vec().into();
            read(im::read(&request, Default::default()));
        }
    }
    for content_type in TYPES {
        read(im::read_content(
            Some(content_type),
            octets,
            Default::default(),
        ));
    }
}

const TYPES: [&str; 5] = [
    "multipart/alternative;boundary=b",
    "multipart/mixed;boundary=b",
    "message/cpim",
    "message/imdn+xml",
    "text/plain",
];

fn read(read: Result<Inbound, Refusal>) {
    match read {
        Ok(Inbound::Message(im, wanted)) => {
            let clean = |text: &str| !text.contains('\r') && text.chars().all(is_xml_char);
            assert!(
                im.bodies
                    .iter()
                    .chain(&im.subjects)
                    .all(|found| clean(&found.text))
            );
            let any = |wanted: &Wanted| wanted.delivered || wanted.failed || wanted.displayed;
            assert!(wanted.is_none_or(|wanted| any(&wanted) && !wanted.message_id.is_empty()));
        }
        Ok(Inbound::Disposition(receipts)) => assert!(!receipts.is_empty()),
        Ok(_) => {}
        Err(refusal) => assert!([400, 413, 415].contains(&refusal.status)),
    }
}
