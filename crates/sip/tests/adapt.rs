//! Addresses and failures between the wire and the core.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::expect_used
)]

use std::path::PathBuf;

use proptest::prelude::*;
use serde_json::Value;
use stox_core::address::{Jid, Scheme, SipAddress, jid_to_sip, sip_to_jid};
use stox_core::failure::{Failure, Local, SipStatus};
use stox_sip::adapt::address::{
    AddressRefused, from_name_addr, from_text, from_uri, to_name_addr, to_uri,
};
use stox_sip::adapt::failure::{from_response, to_response};
use stox_sip::header::{HeaderValue, NameAddr};
use stox_sip::message::{Message, Request, Response};

fn vectors(prefix: &str) -> Vec<Value> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/vectors/address");
    let paths = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let named = paths.filter(|path| {
        path.file_name()
            .unwrap()
            .to_str()
            .unwrap()
            .starts_with(prefix)
    });
    named
        .map(|path| serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap())
        .collect()
}

/// What the vector gives, as an address, or the status that refuses it.
fn given(vector: &Value) -> Result<SipAddress, u16> {
    match vector["given"]["header"].as_str() {
        Some(header) => {
            let value = NameAddr::parse(header.split_once(':').unwrap().1).map_err(|_| 400_u16)?;
            from_name_addr(&value).map_err(AddressRefused::status)
        }
        None => {
            from_text(vector["given"]["sip_uri"].as_str().unwrap()).map_err(AddressRefused::status)
        }
    }
}

#[test]
fn every_sip_address_vector_holds() {
    let vectors = vectors("ADDR-S2X");
    assert_eq!(vectors.len(), 31);
    for vector in vectors {
        let id = &vector["id"];
        let result = given(&vector)
            .and_then(|address| sip_to_jid(&address).map_err(|error| error.sip_code()));
        let expect = &vector["expect"];
        match result {
            Ok(jid) => {
                let jid = jid.to_string();
                let one_of = expect["jid_one_of"].as_array();
                let held = expect["jid"] == jid.as_str()
                    || one_of.is_some_and(|list| list.iter().any(|one| *one == jid));
                assert!(held, "{id}: {jid}");
            }
            Err(status) => {
                let allowed = expect["sip_status_one_of"].as_array();
                assert!(
                    allowed.is_some_and(|list| list.iter().any(|one| *one == status)),
                    "{id}: {status}"
                );
            }
        }
    }
}

#[test]
fn every_xmpp_address_vector_holds() {
    let vectors = vectors("ADDR-X2S");
    assert_eq!(vectors.len(), 25);
    for vector in vectors {
        let (id, expect, config) = (&vector["id"], &vector["expect"], &vector["given"]["config"]);
        let scheme = match config["uri_scheme"].as_str() {
            Some("im") => Scheme::Im,
            Some("pres") => Scheme::Pres,
            _ => Scheme::Sip,
        };
        let Ok(mut jid) = Jid::parse(vector["given"]["jid"].as_str().unwrap()) else {
            assert_eq!(expect["outcome"], "reject", "{id}");
            continue;
        };
        if config["canonicalize"] == true {
            jid = jid.canonical();
        }
        let address = jid_to_sip(&jid, scheme).unwrap();
        assert_eq!(
            expect["sip_uri"],
            to_uri(&address).to_string().as_str(),
            "{id}"
        );
    }
}

#[test]
fn only_the_address_parts_of_a_uri_are_an_address() {
    let address = |gr: Option<&str>| SipAddress {
        scheme: Scheme::Sip,
        user: Some("bruno".to_owned()),
        host: "ocs.example".to_owned(),
        gr: gr.map(str::to_owned),
    };
    let cases = [
        (
            "sip:bruno:pw@ocs.example:5061;transport=tls;maddr=192.0.2.1;GR=a%20b?Subject=x",
            Some("a%20b"),
        ),
        ("sip:bruno@ocs.example;gr", None),
        ("sip:bruno@ocs.example;opaque=user:epid:Zq81;gruu", None),
    ];
    for (text, gr) in cases {
        assert_eq!(from_text(text), Ok(address(gr)), "{text}");
    }
    let six = from_text("sips:[2001:db8::7]:5061").unwrap();
    assert_eq!(
        (six.scheme, six.user, six.host.as_str()),
        (Scheme::Sips, None, "[2001:db8::7]")
    );
    let header = |text: &str| from_name_addr(&NameAddr::parse(text).unwrap());
    assert_eq!(
        header("\"<sip:mallory@evil.example>\" <sip:bruno@ocs.example;gr=1>;tag=2;gr=3"),
        Ok(address(Some("1")))
    );
    assert_eq!(header("<sip:bruno@ocs.example>;gr=zz9"), Ok(address(None)));
    assert_eq!(header("sip:bruno@ocs.example;gr=zz9"), Ok(address(None)));
    assert_eq!(header("<tel:+15551230001>"), Err(AddressRefused::Scheme));
}

#[test]
fn other_schemes_and_nonsense_are_told_apart() {
    for text in ["tel:+1", "mailto:a@b", "http://x", "urn:service:sos"] {
        assert_eq!(from_text(text), Err(AddressRefused::Scheme), "{text}");
    }
    for text in [
        "",
        "bruno@ocs.example",
        "sip:",
        "sip:a@",
        ":x",
        "sip:a b@c",
        "<sip:a@b>",
    ] {
        assert_eq!(from_text(text), Err(AddressRefused::Malformed), "{text}");
    }
    assert_eq!(
        (
            AddressRefused::Scheme.status(),
            AddressRefused::Malformed.status()
        ),
        (416, 400)
    );
}

proptest! {
    #[test]
    fn addresses_survive_the_wire(
        scheme in proptest::sample::select(vec![Scheme::Sip, Scheme::Sips, Scheme::Im, Scheme::Pres]),
        user in proptest::option::of("[a-z0-9._~!'()*&=+$,;?/-]{1,8}(%2[0-9A-F]){0,2}"),
        host in "[a-z]{1,8}\\.example",
        gr in proptest::option::of("[a-z0-9._:/-]{1,8}(%2[0-9A-F]){0,2}"),
    ) {
        let address = SipAddress { scheme, user, host, gr };
        prop_assert_eq!(from_text(&to_uri(&address).to_string()), Ok(address.clone()));
        prop_assert_eq!(&from_uri(&to_uri(&address)), &address);
        let header = NameAddr::parse(&to_name_addr(&address).to_string()).unwrap();
        prop_assert_eq!(from_name_addr(&header), Ok(address));
    }

    #[test]
    fn any_text_is_an_address_or_none(text in "\\PC{0,40}|sip:[ -~]{0,30}") {
        if let Ok(address) = from_text(&text) {
            prop_assert_eq!(from_text(&to_uri(&address).to_string()), Ok(address));
        }
    }
}

// -------------------------------------------------------------------------------------------- failures

fn request() -> Request {
    let text = "MESSAGE sip:alma@jabber.example SIP/2.0\r\nVia: SIP/2.0/TLS edge.ocs.example:5061;branch=z9hG4bK-im1\r\n\
                Max-Forwards: 70\r\nFrom: <sip:bruno@ocs.example>;tag=f1\r\nTo: <sip:alma@jabber.example>\r\n\
                Call-ID: c100@ocs.example\r\nCSeq: 1 MESSAGE\r\nContent-Length: 0\r\n\r\n";
    match Message::parse_datagram(text.as_bytes()).unwrap() {
        Message::Request(request) => request,
        Message::Response(_) => panic!("a response"),
    }
}

fn answered(status: u16, contacts: &[&str]) -> SipStatus {
    let mut response = Response::for_request(&request(), status, "Some\tWords");
    for contact in contacts {
        response.headers.push("Contact", contact);
    }
    match from_response(&response) {
        Failure::Sip(found) => found,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_final_answer_is_a_failure_with_its_words_and_new_address() {
    let moved = answered(
        301,
        &[
            "*",
            "<tel:+1>",
            "\"New\" <sip:bruno@new.example;gr=1>;q=1",
            "<sip:late@x>",
        ],
    );
    assert_eq!((moved.code, moved.reason.as_str()), (301, "Some Words"));
    assert_eq!(
        moved.contact.unwrap().to_string(),
        "sip:bruno@new.example;gr=1"
    );
    assert_eq!(
        answered(302, &["<sip:a@b>, <sip:c@d>"])
            .contact
            .unwrap()
            .to_string(),
        "sip:a@b"
    );
    assert_eq!(answered(302, &["<broken"]).contact, None);
    assert_eq!(answered(404, &["<sip:a@b>"]).contact, None);
    assert_eq!(answered(603, &[]).code, 603);
}

fn answer(code: u16, reason: &str, contact: Option<&str>) -> Response {
    let status = SipStatus {
        code,
        reason: reason.to_owned(),
        contact: contact.map(|text| from_text(text).unwrap()),
    };
    to_response(&Failure::Sip(status), &request(), "MESSAGE, OPTIONS")
}

#[test]
fn an_answer_has_the_headers_of_its_status() {
    let headers = |code, contact| {
        let response = answer(code, "Words", contact);
        let get = |name: &str| response.headers.get(name).map(str::to_owned);
        (
            response.status,
            get("Allow"),
            get("Contact"),
            get("Accept").is_some(),
        )
    };
    let contact = Some("sip:bruno@new.example;gr=1");
    assert_eq!(headers(404, contact), (404, None, None, false));
    assert_eq!(
        headers(405, contact),
        (405, Some("MESSAGE, OPTIONS".to_owned()), None, false)
    );
    assert_eq!(
        headers(301, contact),
        (
            301,
            None,
            Some("<sip:bruno@new.example;gr=1>".to_owned()),
            false
        )
    );
    assert_eq!(headers(302, None), (302, None, None, false));
    assert_eq!(headers(415, None), (415, None, None, true));
}

#[test]
fn an_answer_never_asks_for_credentials_and_is_always_final() {
    for code in 0..=999 {
        let status = answer(code, "Words", None).status;
        assert!(
            (300..=699).contains(&status) && ![401, 407].contains(&status),
            "{code} → {status}"
        );
        let kept = (300..=699).contains(&code) && ![401, 407].contains(&code);
        assert_eq!(status == code, kept, "{code} → {status}");
    }
}

#[test]
fn the_reason_stays_on_one_line_and_the_dialog_is_repeated() {
    let response = answer(486, "Busy\r\nX-Evil: 1\r\n\r\nbody", None);
    assert_eq!(response.reason, "Busy X-Evil: 1 body");
    assert_eq!(response.headers.get("Call-ID"), Some("c100@ocs.example"));
    assert_eq!(response.headers.get("CSeq"), Some("1 MESSAGE"));
    let local = to_response(&Failure::Local(Local::NotAllowed), &request(), "");
    assert!((400..700).contains(&local.status) && !local.reason.is_empty());
}
