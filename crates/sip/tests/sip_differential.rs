//! The same messages read by rsip, where rsip is right: long header names, no folding, ASCII, methods that it knows,
//! `Content-Length` present and correct, no `transport` parameter (rsip writes it in upper case).

// Helpers of tests may fail a test.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use proptest::prelude::*;
use stox_sip::message::{Message, Request, Response};
use stox_sip::method::Method;

/// Names that rsip keeps apart as typed headers or as others; both print what they read.
const NAMES: [&str; 8] = [
    "Subject",
    "User-Agent",
    "Contact",
    "Supported",
    "Route",
    "X-Something",
    "Allow",
    "Date",
];
const METHODS: [Method; 8] = [
    Method::MESSAGE,
    Method::SUBSCRIBE,
    Method::NOTIFY,
    Method::INVITE,
    Method::OPTIONS,
    Method::REGISTER,
    Method::INFO,
    Method::PUBLISH,
];

fn fields() -> impl Strategy<Value = Vec<(&'static str, String)>> {
    let value = "[A-Za-z0-9;=<>@.\"-]([A-Za-z0-9;=<>@.,:\" -]{0,20}[A-Za-z0-9;=<>@.\"-])?";
    proptest::collection::vec((prop::sample::select(NAMES.to_vec()), value), 0..8)
}

fn request() -> impl Strategy<Value = Message> {
    let uri = "sip:[a-z0-9]{1,8}@[a-z]{1,8}\\.example(:[1-9][0-9]{0,3})?(;lr)?";
    let method = prop::sample::select(METHODS.to_vec());
    (method, uri, fields(), "[ -~]{0,40}").prop_map(|(method, uri, fields, body)| {
        let mut request = Request::new(method, uri);
        request
            .headers
            .push("Via", "SIP/2.0/UDP a.example;branch=z9hG4bKx");
        for (name, value) in fields {
            request.headers.push(name, value);
        }
        request
            .headers
            .push("Content-Length", body.len().to_string());
        request.body = body.into();
        Message::Request(request)
    })
}

/// Reason phrases are left out: rsip replaces them with its own.
fn response() -> impl Strategy<Value = Message> {
    let status = prop::sample::select(vec![
        100_u16, 180, 200, 202, 302, 400, 404, 481, 488, 503, 603,
    ]);
    (status, fields(), "[ -~]{0,40}").prop_map(|(status, fields, body)| {
        let request = Request::new(Method::OPTIONS, "sip:a@b");
        let mut response = Response::for_request(&request, status, "OK");
        for (name, value) in fields {
            response.headers.push(name, value);
        }
        response
            .headers
            .push("Content-Length", body.len().to_string());
        response.body = body.into();
        Message::Response(response)
    })
}

fn rsip_fields(headers: &rsip::Headers) -> Vec<(String, String)> {
    headers
        .iter()
        .map(|header| {
            let text = header.to_string();
            let (name, value) = text.split_once(':').unwrap();
            (name.to_ascii_lowercase(), value.trim().to_owned())
        })
        .collect()
}

fn our_fields(message: &Message) -> Vec<(String, String)> {
    let field = |field: &stox_sip::header::Field| {
        (field.name().to_ascii_lowercase(), field.value().to_owned())
    };
    message.headers().iter().map(field).collect()
}

fn agree(octets: &[u8]) {
    let ours = Message::parse_datagram(octets).unwrap();
    match (rsip::SipMessage::try_from(octets).unwrap(), &ours) {
        (rsip::SipMessage::Request(theirs), Message::Request(request)) => {
            assert_eq!(theirs.method.to_string(), request.method.as_str());
            assert_eq!(theirs.uri.to_string(), request.uri);
            assert_eq!(rsip_fields(&theirs.headers), our_fields(&ours));
            assert_eq!(theirs.body, request.body);
        }
        (rsip::SipMessage::Response(theirs), Message::Response(response)) => {
            assert_eq!(theirs.status_code.code(), response.status);
            assert_eq!(rsip_fields(&theirs.headers), our_fields(&ours));
            assert_eq!(theirs.body, response.body);
        }
        (theirs, ours) => panic!("{theirs:?} against {ours:?}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

    #[test]
    fn rsip_reads_the_same(message in prop_oneof![request(), response()]) {
        agree(&message.to_bytes());
    }
}

/// Also what rsip prints, we read as it does.
#[test]
fn what_rsip_prints_reads_the_same() {
    let text = "NOTIFY sip:a@b.example SIP/2.0\r\nVia: SIP/2.0/TCP c.example;branch=z9hG4bKy\r\n\
        From: <sip:d@e.example>;tag=1\r\nTo: \"A, B\" <sip:a@b.example>;tag=2\r\nCall-ID: x@y\r\nCSeq: 2 NOTIFY\r\n\
        Subscription-State: active;expires=60\r\nContent-Length: 2\r\n\r\nhi";
    let theirs: rsip::SipMessage = rsip::SipMessage::try_from(text).unwrap();
    agree(theirs.to_string().as_bytes());
}
