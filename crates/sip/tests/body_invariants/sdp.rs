//! What holds for any octets that come as a session description.

use stox_sip::adapt::im::Accepted;
use stox_sip::body::sdp::{self, Own, OwnMsrp, Setup};

fn own(msrp: bool) -> Own {
    let accept_types = "text/plain".to_owned();
    if !msrp {
        return Own::Dialog {
            word: "message",
            format: "sip:a@b.example".to_owned(),
            accept_types,
        };
    }
    Own::Msrp(OwnMsrp {
        secure: false,
        port: 2855,
        path: "msrp://gw.example:2855/abc;tcp".to_owned(),
        accept_types,
        accept_wrapped_types: None,
        max_size: 65_536,
        setup: Setup::Passive,
        fingerprint: None,
        chatroom: None,
    })
}

pub(crate) fn check(octets: &[u8]) {
    let offered = sdp::media(octets);
    for types in offered
        .iter()
        .filter_map(|media| media.accept_types.as_deref())
    {
        _ = Accepted::parse(types);
    }
    for (taken, media) in offered.iter().enumerate() {
        let Some(carrier) = media.carrier() else {
            continue;
        };
        let own = own(carrier != sdp::Carrier::Dialog);
        let answer = sdp::answer("gw.example", 0, &offered, taken, &own);
        let answered = sdp::media(answer.as_bytes());
        assert_eq!(answered.len(), offered.len(), "{answer}");
        for (index, media) in answered.iter().enumerate() {
            let expected = Some(carrier).filter(|_| index == taken);
            assert_eq!(media.carrier(), expected, "{answer}");
        }
    }
}
