//! MESSAGE bodies: the vectors, content negotiation, and the way out.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::expect_used
)]

use std::collections::BTreeSet;
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use base64::Engine as _;
use proptest::prelude::*;
use serde_json::Value;
use stox_core::time::Now;
use stox_core::vocab::{Im, ImKind, Text, Trace, Wants};
use stox_sip::adapt::im::{
    Accepted, Inbound, Refusal, Unwritable, accept, branch_hint, call_id, read, read_content, write,
};
use stox_sip::body::imdn::{Disposition, Imdn};
use stox_sip::body::iscomposing::Composing;
use stox_sip::body::time::parse_rfc3339;
use stox_sip::header::Headers;
use stox_sip::message::{Message, Request};
use stox_sip::method::Method;

fn now() -> Now {
    Now {
        wall: parse_rfc3339("2026-03-01T10:00:00Z").unwrap(),
        ..Now::default()
    }
}

fn request(headers: &[(&'static str, &str)], body: &[u8]) -> Request {
    let mut request = Request::new(Method::MESSAGE, "sip:alma@jabber.example");
    request.headers.push(
        "Via",
        "SIP/2.0/TLS edge.ocs.example:5061;branch=z9hG4bK-im1",
    );
    request.headers.push("Call-ID", "c100@ocs.example");
    for (name, value) in headers {
        request.headers.push(name, value);
    }
    request.body = body.to_vec().into();
    request
}

fn typed(content_type: &str, body: &[u8]) -> Result<Inbound, Refusal> {
    read(&request(&[("Content-Type", content_type)], body), now())
}

fn deflated(octets: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(octets).unwrap();
    encoder.finish().unwrap()
}

fn im(result: Result<Inbound, Refusal>) -> Im {
    match result {
        Ok(Inbound::Message(im, _)) => *im,
        other => panic!("no message: {other:?}"),
    }
}

fn text(content_type: &str, body: &[u8]) -> String {
    im(typed(content_type, body)).bodies.remove(0).text
}

fn status(result: Result<Inbound, Refusal>) -> u16 {
    result.unwrap_err().status
}

// -------------------------------------------------------------------------------------------- vectors

fn vectors(prefix: &str) -> Vec<(String, Value)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/vectors/im");
    let mut found: Vec<(String, Value)> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.file_name()
                .unwrap()
                .to_str()
                .unwrap()
                .starts_with(prefix)
        })
        .map(|path| serde_json::from_str::<Value>(&std::fs::read_to_string(path).unwrap()).unwrap())
        .map(|vector| (vector["id"].as_str().unwrap().to_owned(), vector))
        .collect();
    found.sort_by(|one, other| one.0.cmp(&other.0));
    found
}

fn given(vector: &Value) -> Request {
    let octets = match vector["given"].get("sip") {
        Some(sip) => sip.as_str().unwrap().as_bytes().to_vec(),
        None => {
            let raw = &vector["given"]["sip_headers_then_body_base64"];
            let body = base64::engine::general_purpose::STANDARD
                .decode(raw["body_base64"].as_str().unwrap())
                .unwrap();
            [raw["head"].as_str().unwrap().as_bytes(), &body].concat()
        }
    };
    match Message::parse_datagram(&octets).unwrap() {
        Message::Request(request) => request,
        Message::Response(_) => panic!("a response"),
    }
}

enum Expected {
    Text(&'static str),
    Refused(u16),
    Empty,
    Expired,
    Composing(bool),
}

/// Every vector that this layer decides.
const VECTORS: [(&str, Expected); 23] = [
    ("IM-S2X-001", Expected::Text("Coffee?")),
    ("IM-S2X-003", Expected::Text("Coffee?")),
    ("IM-S2X-004", Expected::Text("Coffee?")),
    ("IM-S2X-005", Expected::Text("Coffee?")),
    ("IM-S2X-006", Expected::Text("Coffee?")),
    ("IM-S2X-010", Expected::Text("Жук — 🐞")),
    ("IM-S2X-013", Expected::Text("ab\u{fffd}\u{fffd}c")),
    ("IM-S2X-016", Expected::Text("hello")),
    ("IM-S2X-017", Expected::Refused(415)),
    ("IM-S2X-018", Expected::Refused(400)),
    ("IM-S2X-019", Expected::Empty),
    ("IM-S2X-020", Expected::Text("Hello Alma, café €")),
    ("IM-S2X-021", Expected::Text("plain version €")),
    ("IM-S2X-022", Expected::Text("fallback")),
    ("IM-S2X-023", Expected::Refused(415)),
    ("IM-S2X-026", Expected::Text("wrapped ü")),
    ("IM-S2X-036", Expected::Expired),
    ("IM-S2X-037", Expected::Refused(415)),
    ("IM-S2X-038", Expected::Composing(true)),
    ("IM-S2X-040", Expected::Composing(false)),
    ("IM-S2X-042", Expected::Refused(400)),
    ("IM-S2X-043", Expected::Text("please confirm")),
    ("IM-S2X-045", Expected::Refused(415)),
];

/// Decided elsewhere: by the transaction, the user agent, policy, or the framing of a stream.
const ELSEWHERE: [&str; 9] = [
    "IM-S2X-029", // retransmission
    "IM-S2X-031", // sips
    "IM-S2X-034", // Max-Forwards
    "IM-S2X-035", // Require
    "IM-S2X-041", // expiry of a typing state
    "IM-S2X-046", // method
    "IM-S2X-047", // sender
    "IM-S2X-050", // Content-Length
    "IM-S2X-051", // Content-Length
];

#[test]
fn every_vector_of_this_layer_holds() {
    let found = vectors("IM-S2X");
    let named: BTreeSet<&str> = VECTORS.iter().map(|row| row.0).chain(ELSEWHERE).collect();
    assert_eq!(
        found
            .iter()
            .map(|row| row.0.as_str())
            .collect::<BTreeSet<_>>(),
        named
    );
    for (id, vector) in &found {
        let Some((_, expected)) = VECTORS.iter().find(|row| row.0 == id) else {
            continue;
        };
        let result = read(&given(vector), now());
        match (expected, &result) {
            (Expected::Text(text), Ok(Inbound::Message(im, _))) => {
                assert_eq!(im.bodies[0].text, *text, "{id}");
                assert_eq!(im.thread.as_deref(), Some("c100@ocs.example"), "{id}");
                assert_eq!(im.id.as_deref(), Some("z9hG4bK-im1"), "{id}");
                assert_eq!(im.kind, ImKind::Normal, "{id}");
            }
            (Expected::Refused(status), Err(refusal)) => {
                assert_eq!(refusal.status, *status, "{id}")
            }
            (Expected::Empty, Ok(Inbound::Empty))
            | (Expected::Expired, Ok(Inbound::Expired(_))) => {}
            (Expected::Composing(active), Ok(Inbound::Composing(state))) => {
                assert_eq!(state.active, *active, "{id}")
            }
            _ => panic!("{id}: {result:?}"),
        }
    }
}

#[test]
fn subject_and_language_cross() {
    let vector = vectors("IM-S2X-006").remove(0).1;
    let im = im(read(&given(&vector), now()));
    let french = |text: &str| Text {
        lang: Some("fr".to_owned()),
        text: text.to_owned(),
    };
    assert_eq!(
        (im.subjects, im.bodies),
        (
            vec![french("Café <today> & tomorrow")],
            vec![french("Coffee?")]
        )
    );
}

// -------------------------------------------------------------------------------------------- charsets

#[test]
fn text_is_transcoded_and_never_dropped() {
    let cases: [(&str, &[u8], &str); 9] = [
        ("text/plain", "ž€".as_bytes(), "ž€"),
        // COMPAT(plain SIP user agents): Latin-1 without a charset.
        ("text/plain", b"caf\xe9 \x80", "café €"),
        ("text/plain; charset=ISO-8859-15", b"\xa4", "€"),
        (
            "text/plain;charset=\"windows-1251\";msgr=WAAtAE0=",
            b"\xc6\xf3\xea",
            "Жук",
        ),
        ("text/plain;charset=UTF-16", &[0xff, 0xfe, 0x41, 0], "A"),
        (
            "text/plain;charset=us-ascii;format=flowed",
            b"plain",
            "plain",
        ),
        ("TEXT/PLAIN; Charset=utf-8", b"\xef\xbb\xbfmark", "mark"),
        ("text/plain", b"a\r\nb\rc\nd", "a\nb\nc\nd"),
        (
            "text/plain",
            b"bell\x07 nul\x00 tab\t",
            "bell\u{fffd} nul\u{fffd} tab\t",
        ),
    ];
    for (content_type, octets, expected) in cases {
        assert_eq!(text(content_type, octets), expected, "{content_type}");
    }
    for label in ["klingon-8", "iso-2022-kr", ""] {
        assert_eq!(
            status(typed(&format!("text/plain;charset=\"{label}\""), b"x")),
            415,
            "{label}"
        );
    }
}

#[test]
fn html_becomes_the_text_that_a_person_reads() {
    let cases = [
        (
            "<p>one</p><p>two <b>bold</b>   words</p>",
            "one\ntwo bold words",
        ),
        ("a<br>b<br/><br>c", "a\nb\n\nc"),
        (
            "<html><head><title>t</title><style>p{}</style></head><body>x</body></html>",
            "x",
        ),
        ("<script>alert('</p>')</script>ok", "ok"),
        ("<!-- no <b> --><!DOCTYPE html>yes", "yes"),
        (
            "1 &lt; 2 &amp;&amp; &quot;q&quot; &#8364;&#x20AC; &nosuch; & &#xD800;",
            "1 < 2 && \"q\" €€ &nosuch; & \u{fffd}",
        ),
        ("1 < 2", "1 < 2"),
        ("<a href=\"x>y\" onclick='a>b'>link</a>", "link"),
        ("<ul><li>one</li><li>two</li></ul>", "one\ntwo"),
        ("<SCRIPT>x</ScRiPt >y", "y"),
    ];
    for (html, expected) in cases {
        assert_eq!(text("text/html", html.as_bytes()), expected, "{html}");
    }
    // Nothing to read is no message, and no false 200 either.
    assert_eq!(status(typed("text/html", b"<img src='cat.png'>")), 415);
    assert_eq!(status(typed("text/html", b"<script>x")), 415);
}

// ------------------------------------------------------------------------------------------ multiparts

fn multipart(kind: &str, parts: &[&str]) -> Result<Inbound, Refusal> {
    let mut body = "preamble\r\n".to_owned();
    for part in parts {
        body.push_str(&format!("--b7\r\n{part}\r\n"));
    }
    body.push_str("--b7--\r\nepilogue");
    typed(
        &format!("multipart/{kind};boundary=\"b7\""),
        body.as_bytes(),
    )
}

#[test]
fn the_best_part_of_an_alternative_is_taken() {
    let plain = "Content-Type: text/plain\r\nContent-Language: de\r\n\r\nschlicht";
    let html = "Content-Type: text/html\r\n\r\n<b>rich</b>";
    let image = "Content-Type: image/gif\r\n\r\nGIF89a";
    let nothing = "Content-Type: text/plain; charset=klingon\r\n\r\nx";
    for parts in [
        [plain, html, image],
        [html, image, plain],
        [nothing, plain, html],
    ] {
        let im = im(multipart("alternative", &parts));
        assert_eq!(
            (im.bodies[0].text.as_str(), im.bodies[0].lang.as_deref()),
            ("schlicht", Some("de"))
        );
    }
    assert_eq!(
        im(multipart("alternative", &[html, image])).bodies[0].text,
        "rich"
    );
    // The sender likes the last one of equals best.
    assert_eq!(
        im(multipart("alternative", &["\r\none", "\r\ntwo"])).bodies[0].text,
        "two"
    );
    // A blank part does not win.
    assert_eq!(
        im(multipart("alternative", &["\r\n ", html])).bodies[0].text,
        "rich"
    );
    assert_eq!(
        im(multipart("alternative", &["\r\n ", image])).bodies[0].text,
        " "
    );
    assert_eq!(status(multipart("alternative", &[image])), 415);
    assert_eq!(status(multipart("unheard-of", &[plain])), 415);
}

#[test]
fn all_texts_of_a_mixed_body_are_shown() {
    let image = "Content-Type: image/gif\r\n\r\nGIF89a";
    let required =
        "Content-Type: image/gif\r\nContent-Disposition: render;handling=required\r\n\r\nGIF89a";
    assert_eq!(
        im(multipart("mixed", &["\r\none", image, "\r\ntwo"])).bodies[0].text,
        "one\ntwo"
    );
    assert_eq!(status(multipart("mixed", &["\r\none", required])), 415);
    assert_eq!(status(multipart("mixed", &[image])), 415);
}

#[test]
fn parts_are_decoded_or_left_alone() {
    let encoded = |encoding: &str, content: &str| {
        let part = format!(
            "Content-Type: text/plain;charset=utf-8\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n{content}"
        );
        multipart("mixed", &[&part])
    };
    assert_eq!(im(encoded("base64", "Y2Fm\r\nw6k=")).bodies[0].text, "café");
    assert_eq!(
        im(encoded("Quoted-Printable", "caf=C3=A9 a=3Db =\r\nsoft=zz")).bodies[0].text,
        "café a=b soft=zz"
    );
    assert_eq!(im(encoded("8bit", "café")).bodies[0].text, "café");
    assert_eq!(status(encoded("base64", "!!!")), 415);
    assert_eq!(status(encoded("x-uuencode", "begin")), 415);
}

#[test]
fn odd_multiparts_are_read_or_refused() {
    let body = |text: &str| typed("multipart/mixed;boundary=b", text.as_bytes());
    assert_eq!(im(body("--b\n\nlf only\n--b--")).bodies[0].text, "lf only");
    assert_eq!(
        im(body("--b\r\n\r\nnever closed")).bodies[0].text,
        "never closed"
    );
    assert_eq!(
        im(body("--b \t\r\n\r\nline --b inside\r\n--bc\r\n--b--")).bodies[0].text,
        "line --b inside\n--bc"
    );
    for text in ["", "x", "--b--", "--bc\r\n\r\nx"] {
        let result = body(text);
        let expected = if text.is_empty() {
            Ok(Inbound::Empty)
        } else {
            result.clone()
        };
        assert!(
            result == expected && (text.is_empty() || status(result.clone()) == 400),
            "{text}: {result:?}"
        );
    }
    assert_eq!(status(typed("multipart/mixed", b"--b\r\n\r\nx")), 400);
    assert_eq!(status(body(&"--b\r\n\r\nx\r\n".repeat(40))), 400);
    assert_eq!(
        status(body(&format!("--b\r\nX: {}\r\n\r\nx", "y".repeat(10_000)))),
        400
    );
}

#[test]
fn nesting_ends_somewhere() {
    let nested = |depth: usize| {
        let mut body = "\r\ndeep".to_owned();
        for level in 0..depth {
            let inner = if level == 0 {
                String::new()
            } else {
                format!("Content-Type: multipart/mixed;boundary=b{}\r\n", level - 1)
            };
            body = format!("--b{level}\r\n{inner}{body}\r\n--b{level}--");
            if level + 1 < depth {
                body = format!("\r\n{body}");
            }
        }
        typed(
            &format!("multipart/mixed;boundary=b{}", depth - 1),
            body.as_bytes(),
        )
    };
    assert_eq!(im(nested(4)).bodies[0].text, "deep");
    assert_eq!(status(nested(12)), 415);
}

#[test]
fn what_xml_allows_arrives_as_it_is() {
    for words in [
        "👨‍👩‍👧‍👦 🇩🇪 👍🏽",
        "e\u{301}\u{323} क्षि",
        "\u{202e}אב\u{2066}x\u{2069}\u{200f}",
        "tab\t nel\u{85} c1\u{80}\u{9f} del\u{7f}",
        "\u{fdd0}\u{1fffe}\u{10ffff}\u{e000}",
        " ",
        "x",
    ] {
        let wire = words.as_bytes();
        assert_eq!(text("text/plain;charset=UTF-8", wire), words);
        assert_eq!(text("text/plain", wire), words);
    }
    // What it forbids shows as damage: one sign for each.
    for (wire, shown) in [
        ("a\0b\u{1}c", "a\u{fffd}b\u{fffd}c"),
        ("\u{fffe}\u{ffff}", "\u{fffd}\u{fffd}"),
        ("a\r\nb\rc", "a\nb\nc"),
    ] {
        assert_eq!(text("text/plain", wire.as_bytes()), shown);
    }
    let long = "é€😀 ".repeat(6000);
    assert_eq!(text("text/plain", long.as_bytes()), long);
    // Each octet of Latin-1 is one character.
    let latin: Vec<u8> = (0xa0..=0xff).collect();
    let expected: String = latin.iter().map(|octet| char::from(*octet)).collect();
    assert_eq!(text("text/plain", &latin), expected);
}

// ------------------------------------------------------------------------------------------------ CPIM

#[test]
fn a_wrapper_gives_subject_and_time_but_no_identity() {
    let body = "From: <im:mallory@evil.example>\r\nSubject:;lang=fr Objet\r\nDateTime: 2026-03-01T09:00:00Z\r\n\r\n\
                Content-Type: text/plain; charset=utf-8\r\nContent-ID: <1>\r\n\r\nwrapped\r\n";
    let found = im(typed("message/cpim", body.as_bytes()));
    let expected = Im {
        trace: Trace::default(),
        kind: ImKind::Normal,
        id: Some("z9hG4bK-im1".to_owned()),
        thread: Some("c100@ocs.example".to_owned()),
        subjects: vec![Text {
            lang: Some("fr".to_owned()),
            text: "Objet".to_owned(),
        }],
        bodies: vec![Text {
            lang: None,
            text: "wrapped\n".to_owned(),
        }],
        sent_at: parse_rfc3339("2026-03-01T09:00:00Z"),
        chat_state: None,
        rich: None,
        wants: Wants::default(),
    };
    assert_eq!(found, expected);
    assert_eq!(status(typed("message/cpim", b"no wrapper")), 400);
    assert_eq!(status(typed("message/cpim", b"\r\n\r\nx")), 400);
    assert_eq!(
        status(typed(
            "message/cpim",
            b"From: <im:a@b>\r\n\r\nContent-Type: image/gif\r\n\r\nGIF"
        )),
        415
    );
}

#[test]
fn the_header_of_the_request_beats_the_wrapper() {
    let body = b"Subject: inner\r\nDateTime: 2026-03-01T09:00:00Z\r\n\r\n\r\nx";
    let headers = [
        ("Content-Type", "message/cpim"),
        ("Subject", "outer"),
        ("Date", "Sun, 01 Mar 2026 08:00:00 GMT"),
    ];
    let found = im(read(&request(&headers, body), now()));
    assert_eq!(found.subjects[0].text, "outer");
    assert_eq!(found.sent_at, parse_rfc3339("2026-03-01T08:00:00Z"));
}

#[test]
fn a_wrapper_says_what_its_sender_wants_to_be_told() {
    let body = "From: <im:b@o>\r\nNS: imdn <urn:ietf:params:imdn>\r\nimdn.Message-ID: a1\r\n\
                imdn.Disposition-Notification: positive-delivery, display\r\n\r\nContent-Type: text/plain\r\n\r\nx";
    let Ok(Inbound::Message(im, Some(wanted))) = typed("message/cpim", body.as_bytes()) else {
        panic!("nothing is wanted");
    };
    assert!(im.wants.delivered && im.wants.displayed);
    assert_eq!((wanted.message_id.as_str(), wanted.failed), ("a1", false));
    let content = read_content(Some("message/cpim"), body.as_bytes(), now());
    assert!(
        matches!(content, Ok(Inbound::Message(im, Some(_))) if im.thread.is_none() && im.wants.displayed)
    );
}

// ------------------------------------------------------------------------------------------------ state

#[test]
fn compressed_bodies_are_read() {
    let receipt = |id: &str| {
        format!(
            "<imdn xmlns='urn:ietf:params:xml:ns:imdn'><message-id>{id}</message-id><delivery-notification><status>\
             <delivered/></status></delivery-notification></imdn>"
        )
    };
    let imdn = |id: &str| Imdn {
        message_id: id.to_owned(),
        disposition: Disposition::Delivered,
    };
    // COMPAT(linphone): without wrapper, deflated; or several together.
    let headers = |content_type| {
        [
            ("Content-Type", content_type),
            ("Content-Encoding", "deflate"),
        ]
    };
    let plain = receipt("c1@host");
    let one = read(
        &request(&headers("message/imdn+xml"), &deflated(plain.as_bytes())),
        now(),
    );
    assert_eq!(one, Ok(Inbound::Disposition(vec![imdn("c1@host")])));
    let part = |id| {
        format!(
            "--b\r\nContent-Type: message/imdn+xml\r\n\r\n{}\r\n",
            receipt(id)
        )
    };
    let several = format!("{}{}--b--\r\n", part("m1"), part("m2"));
    let both = Ok(Inbound::Disposition(vec![imdn("m1"), imdn("m2")]));
    assert_eq!(
        typed("multipart/mixed;boundary=b", several.as_bytes()),
        both
    );
    let packed = deflated(several.as_bytes());
    assert_eq!(
        read(
            &request(&headers("multipart/mixed;boundary=b"), &packed),
            now()
        ),
        both
    );
    let text = read(&request(&headers("text/plain"), &deflated(b"hi")), now());
    assert_eq!(im(text).bodies[0].text, "hi");
    // What is compressed inside what is compressed is not looked at, and what grows without measure is refused.
    let mut nested =
        b"--b\r\nContent-Type: text/plain\r\nContent-Encoding: deflate\r\n\r\n".to_vec();
    nested.extend(deflated(b"hi"));
    nested.extend(b"\r\n--b--");
    let inside = typed("multipart/mixed;boundary=b", &nested);
    assert_eq!(im(inside).bodies[0].text, "hi");
    let twice = request(&headers("multipart/mixed;boundary=b"), &deflated(&nested));
    assert_eq!(status(read(&twice, now())), 415);
    let bomb = request(&headers("text/plain"), &deflated(&vec![b'a'; 1_000_000]));
    assert_eq!(status(read(&bomb, now())), 413);
}

#[test]
fn typing_and_receipts_are_state_and_no_text() {
    let typing = "<?xml version='1.0'?><i:isComposing xmlns:i='urn:ietf:params:xml:ns:im-iscomposing'>\
                  <i:state> active </i:state><i:refresh>60</i:refresh></i:isComposing>";
    let composing = Composing {
        active: true,
        refresh: Some(Duration::from_secs(60)),
    };
    assert_eq!(
        typed("application/im-iscomposing+xml", typing.as_bytes()),
        Ok(Inbound::Composing(composing))
    );
    let receipt = |around: &str, status: &str| {
        format!(
            "From: <im:a@b>\r\n\r\nContent-Type: message/imdn+xml\r\nContent-Disposition: notification\r\n\r\n\
             <imdn xmlns='urn:ietf:params:xml:ns:imdn'><message-id>34jk</message-id><{around}><status><{status}/>\
             </status></{around}></imdn>"
        )
    };
    let cases = [
        ("delivery-notification", "delivered", Disposition::Delivered),
        ("display-notification", "displayed", Disposition::Displayed),
        ("delivery-notification", "failed", Disposition::Failed),
        ("processing-notification", "delivered", Disposition::Other),
    ];
    for (around, status, disposition) in cases {
        let imdn = Imdn {
            message_id: "34jk".to_owned(),
            disposition,
        };
        assert_eq!(
            typed("message/cpim", receipt(around, status).as_bytes()),
            Ok(Inbound::Disposition(vec![imdn]))
        );
    }
    for (coding, octets, expected) in [
        ("deflate", &b"x\x9c"[..], 415),
        ("br", b"x", 415),
        ("gzip, deflate", b"x", 415),
    ] {
        let headers = [
            ("Content-Type", "message/imdn+xml"),
            ("Content-Encoding", coding),
        ];
        assert_eq!(status(read(&request(&headers, octets), now())), expected);
    }
    let bomb = "<!DOCTYPE x [<!ENTITY a 'b'>]><isComposing xmlns='urn:ietf:params:xml:ns:im-iscomposing'>\
                <state>&a;</state></isComposing>";
    assert_eq!(
        status(typed("application/im-iscomposing+xml", bomb.as_bytes())),
        400
    );
    assert_eq!(status(typed("message/imdn+xml", b"<imdn/>")), 400);
}

#[test]
fn a_refusal_says_what_would_be_taken() {
    let refused = typed("application/octet-stream", b"x").unwrap_err();
    assert_eq!(refused.headers, [("Accept", accept())]);
    assert!(accept().starts_with("text/plain, "));
    let squeezed = request(
        &[("Content-Type", "text/plain"), ("Content-Encoding", "gzip")],
        b"x",
    );
    let refused = read(&squeezed, now()).unwrap_err();
    assert_eq!(
        (refused.status, refused.headers),
        (
            415,
            vec![("Accept-Encoding", "identity, deflate, gzip".to_owned())]
        )
    );
    let plain = request(
        &[
            ("Content-Type", "text/plain"),
            ("Content-Encoding", "Identity"),
        ],
        b"x",
    );
    assert_eq!(im(read(&plain, now())).bodies[0].text, "x");
}

#[test]
fn a_message_expires_by_its_own_clock_only() {
    let result = |date: Option<&str>, expires: &str| {
        let mut headers = vec![("Content-Type", "text/plain"), ("Expires", expires)];
        headers.extend(date.map(|date| ("Date", date)));
        read(&request(&headers, b"x"), now()).unwrap()
    };
    let fresh = Some("Sun, 01 Mar 2026 09:59:30 GMT");
    assert!(matches!(result(fresh, "60"), Inbound::Message(..)));
    assert!(matches!(result(fresh, "10"), Inbound::Expired(_)));
    assert!(matches!(result(fresh, "soon"), Inbound::Message(..)));
    assert!(matches!(result(None, "0"), Inbound::Message(..)));
    assert!(matches!(
        result(Some("yesterday"), "0"),
        Inbound::Message(..)
    ));
}

// ------------------------------------------------------------------------------------------------- out

fn texts(rows: &[(Option<&str>, &str)]) -> Vec<Text> {
    let text = |(lang, text): &(Option<&str>, &str)| Text {
        lang: lang.map(str::to_owned),
        text: (*text).to_owned(),
    };
    rows.iter().map(text).collect()
}

#[test]
fn the_text_goes_out_exactly_with_its_own_language() {
    let im = Im {
        subjects: texts(&[
            (None, "Budget <Q3>"),
            (Some("en"), " two\r\nlines\u{2028}of\u{7}it "),
        ]),
        bodies: texts(&[
            (Some("fr"), ""),
            (Some("en"), "Good\nmorning €"),
            (Some("de"), "Guten Morgen"),
        ]),
        sent_at: parse_rfc3339("2026-02-28T23:41:07.9Z"),
        ..Im::default()
    };
    let out = write(&im, &Accepted::default()).unwrap();
    assert_eq!(out.body, "Good\nmorning €".as_bytes());
    let expected = [
        ("Content-Type", "text/plain;charset=UTF-8"),
        ("Content-Language", "en"),
        ("Subject", "two lines of it"),
        ("Date", "Sat, 28 Feb 2026 23:41:07 GMT"),
    ];
    assert_eq!(
        out.headers,
        expected.map(|(name, value)| (name, value.to_owned()))
    );
}

#[test]
fn no_text_is_no_message_but_a_space_is_one() {
    let body = |rows: &[(Option<&str>, &str)]| {
        let im = Im {
            bodies: texts(rows),
            subjects: texts(&[(None, " \r\n")]),
            ..Im::default()
        };
        write(&im, &Accepted::default())
    };
    assert_eq!(body(&[]), Err(Unwritable::NoText));
    assert_eq!(body(&[(None, "")]), Err(Unwritable::NoText));
    let space = body(&[(Some("en\r\nX: y"), " ")]).unwrap();
    assert_eq!(space.body, b" ".as_slice());
    assert_eq!(
        space.headers,
        [("Content-Type", "text/plain;charset=UTF-8".to_owned())]
    );
}

#[test]
fn identifiers_are_made_legal_and_stay_apart() {
    for legal in ["711609sa", "c100@ocs.example", "a(b)<c>:\\\"/[]?{}@x"] {
        assert_eq!(call_id(legal).as_deref(), Some(legal));
    }
    assert_eq!((call_id(""), call_id(" \n")), (None, None));
    let illegal = [
        "a b",
        "a  b",
        "ä",
        "a@b@c",
        "@b",
        "a@",
        "x\r\nVia: y",
        &"l".repeat(200),
    ];
    let made: BTreeSet<String> = illegal
        .iter()
        .map(|thread| call_id(thread).unwrap())
        .collect();
    assert_eq!(made.len(), illegal.len());
    assert!(made.iter().all(|id| call_id(id).as_ref() == Some(id)));
    assert_eq!(branch_hint("purple-12.x"), "purple-12.x");
    assert!(
        ["", "a b", "a;b", "ü", &"l".repeat(65)]
            .iter()
            .all(|id| branch_hint(id).len() == 32)
    );
}

proptest! {
    #[test]
    fn a_text_survives_the_way_there_and_back(
        body in "[ -~ä漢🚀\n\t]{1,40}",
        subject in "[!-~ä]{1,5}( [!-~ä]{1,5}){0,2}",
        lang in proptest::option::of("[a-z]{2,3}(-[A-Z]{2})?"),
        seconds in proptest::option::of(0..253_402_300_800_u64),
    ) {
        let text = |text: &str| Text { lang: lang.clone(), text: text.to_owned() };
        let sent = Im {
            id: Some("z9hG4bK-im1".to_owned()),
            thread: Some("c100@ocs.example".to_owned()),
            subjects: vec![text(&subject)],
            bodies: vec![text(&body)],
            sent_at: seconds.map(Duration::from_secs),
            ..Im::default()
        };
        let out = write(&sent, &Accepted::default()).unwrap();
        let headers: Vec<(&'static str, &str)> = out.headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        prop_assert_eq!(read(&request(&headers, &out.body), now()), Ok(Inbound::Message(Box::new(sent), None)));
    }

    #[test]
    fn identifiers_are_always_legal(text in "\\PC{0,30}|[ -~\r\n]{0,200}") {
        let mut headers = Headers::new();
        if let Some(id) = call_id(&text) {
            headers.push("Call-ID", &id);
            prop_assert_eq!(headers.get("Call-ID"), Some(id.as_str()));
            prop_assert!(id.bytes().all(|b| b.is_ascii_graphic()) && id.len() <= 128);
        }
        let hint = branch_hint(&text);
        let separators = b";,\"<>@:/?=()[]{}\\";
        let is_token = hint.bytes().all(|b| b.is_ascii_graphic() && !separators.contains(&b));
        prop_assert!(is_token && !hint.is_empty());
    }

    #[test]
    fn hostile_bodies_are_read_or_refused(
        content_type in proptest::sample::select(vec![
            "text/plain", "text/html", "message/cpim", "multipart/mixed;boundary=b", "multipart/alternative;boundary=b",
            "application/im-iscomposing+xml", "message/imdn+xml", "text/plain;charset=utf-16",
        ]),
        pieces in proptest::collection::vec(prop_oneof![
            Just(b"--b".to_vec()), Just(b"--b--".to_vec()), Just(b"\r\n".to_vec()), Just(b"\r\n\r\n".to_vec()),
            Just(b"Content-Type: ".to_vec()), Just(b"multipart/mixed;boundary=b".to_vec()), Just(b"text/html".to_vec()),
            Just(b"Content-Transfer-Encoding: base64".to_vec()), Just(b"<script>".to_vec()), Just(b"<!--".to_vec()),
            Just(b"&#x".to_vec()), Just(b"</".to_vec()), Just(b"=".to_vec()), Just(b";".to_vec()),
            proptest::collection::vec(any::<u8>(), 0..8),
        ], 0..20),
    ) {
        let body = pieces.concat();
        match typed(content_type, &body) {
            Ok(Inbound::Message(im, _)) => {
                let text = &im.bodies[0].text;
                prop_assert!(!text.is_empty() && !text.contains('\r'));
                prop_assert!(text.chars().all(stox_sip::body::text::is_xml_char));
            }
            Ok(_) => {}
            Err(refusal) => prop_assert!([400, 415].contains(&refusal.status)),
        }
    }
}
