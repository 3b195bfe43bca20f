//! Properties of the codecs, on generated values and on mutations of the corpus.

// Helpers of tests may fail a test.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod invariants;

use std::path::Path;

use proptest::prelude::*;
use stox_sip::framing::{Frame, StreamFramer};
use stox_sip::header::{Contact, HeaderValue, Headers, NameAddr, Params, SipDate, Via};
use stox_sip::message::{Message, Request, Response};
use stox_sip::method::Method;
use stox_sip::parse::Limits;
use stox_sip::uri::{AnyUri, Scheme, Uri};

fn token() -> impl Strategy<Value = String> {
    "[A-Za-z0-9.!%*_+`'~-]{1,12}"
}

fn host() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z0-9]{1,8}(\\.[a-z0-9-]{1,8}){0,3}",
        "\\[[0-9a-f]{0,4}(:[0-9a-f]{0,4}){1,7}\\]",
    ]
}

fn uri() -> impl Strategy<Value = Uri> {
    let chars = "([A-Za-z0-9_.!~*'()&=+$,;?/-]|%[0-9A-F]{2}){1,12}";
    let password = "([A-Za-z0-9_.!~*'()&=+$,-]|%[0-9a-f]{2}){0,6}";
    let name = "([A-Za-z0-9_.!~*'()/:&+$\\[\\]-]|%[0-9A-F]{2}){1,8}";
    let param = (name, proptest::option::of(name)).boxed();
    let scheme = prop_oneof![
        Just(Scheme::Sip),
        Just(Scheme::Sips),
        Just(Scheme::Im),
        Just(Scheme::Pres)
    ];
    (
        scheme,
        proptest::option::of((chars, proptest::option::of(password))),
        host(),
        any::<Option<u16>>(),
        proptest::collection::vec(param, 0..5),
        proptest::option::of("[a-z]{1,5}=[a-z0-9%/:?+$-]{0,0}[a-z0-9/:?+$-]{0,6}"),
    )
        .prop_map(|(scheme, user, host, port, params, headers)| {
            let (user, password) = match user {
                Some((user, password)) => (Some(user), password),
                None => (None, None),
            };
            Uri {
                scheme,
                user,
                password,
                host,
                port,
                params,
                headers,
            }
        })
}

fn params() -> impl Strategy<Value = Params> {
    let value = prop_oneof![token(), "[ -~äß𝄞]{0,10}"];
    proptest::collection::vec(
        (
            prop::sample::select(vec![
                "tag",
                "epid",
                "branch",
                "+sip.instance",
                "x",
                "ms-received-cid",
            ]),
            proptest::option::of(value),
        ),
        0..5,
    )
    .prop_map(|list| {
        let mut params = Params::new();
        for (name, value) in list {
            match value {
                Some(value) => params.set(name, value),
                None => params.set_flag(name),
            }
        }
        params
    })
}

fn name_addr() -> impl Strategy<Value = NameAddr> {
    let other = "(tel:\\+[0-9]{1,9}|urn:uuid:[0-9a-f]{1,8})".prop_map(AnyUri::Other);
    (
        proptest::option::of("[ -~äß𝄞\"\\\\]{0,12}"),
        prop_oneof![4 => uri().prop_map(AnyUri::Sip), 1 => other],
        params(),
    )
        .prop_map(|(display, uri, params)| NameAddr {
            display,
            uri,
            params,
        })
}

fn via() -> impl Strategy<Value = Via> {
    (token(), host(), any::<Option<u16>>(), params()).prop_map(|(transport, host, port, params)| {
        Via {
            transport,
            host,
            port,
            params,
        }
    })
}

fn value() -> impl Strategy<Value = String> {
    "[!-~äß𝄞]([ -~äß𝄞]{0,20}[!-~äß𝄞])?"
}

const NAMES: [&str; 8] = [
    "Via",
    "From",
    "Subject",
    "s",
    "X-Something",
    "Contact",
    "Call-ID",
    "k",
];

fn headers() -> impl Strategy<Value = Headers> {
    proptest::collection::vec((prop::sample::select(NAMES.to_vec()), value()), 0..10).prop_map(
        |list| {
            let mut headers = Headers::new();
            for (name, value) in list {
                headers.push(name, value);
            }
            headers
        },
    )
}

fn message() -> impl Strategy<Value = Message> {
    let body = proptest::collection::vec(any::<u8>(), 0..64);
    let request =
        (token(), uri(), headers(), body.clone()).prop_map(|(method, uri, headers, body)| {
            let mut request = Request::new(Method::parse(&method).unwrap(), uri.to_string());
            request.headers = headers;
            request
                .headers
                .push("Content-Length", body.len().to_string());
            request.body = body.into();
            Message::Request(request)
        });
    let response = (100_u16..700, "[ -~äß]{0,12}", headers(), body).prop_map(
        |(status, reason, headers, body)| {
            let mut headers = headers;
            headers.push("Content-Length", body.len().to_string());
            Message::Response(Response {
                status,
                reason,
                headers,
                body: body.into(),
            })
        },
    );
    prop_oneof![request, response]
}

fn corpus() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/corpus/sip");
    let mut files: Vec<_> = ["valid", "invalid"]
        .iter()
        .flat_map(|kind| std::fs::read_dir(folder.join(kind)).unwrap())
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    let read = files.iter().map(|path| std::fs::read(path).unwrap());
    read.filter(|octets| octets.len() < 4096).collect()
}

#[derive(Debug, Clone)]
struct Mutation {
    place: usize,
    octets: Vec<u8>,
    removed: usize,
}

fn mutations() -> impl Strategy<Value = Vec<Mutation>> {
    let telling = prop::sample::select(b"\r\n\0 \t\"<>;,:@?%\\[]=/0\x7f\xff".to_vec());
    let octets = proptest::collection::vec(prop_oneof![telling, any::<u8>()], 0..4);
    proptest::collection::vec((any::<usize>(), octets, 0_usize..4), 1..6).prop_map(|list| {
        list.into_iter()
            .map(|(place, octets, removed)| Mutation {
                place,
                octets,
                removed,
            })
            .collect()
    })
}

fn mutate(octets: &mut Vec<u8>, mutations: &[Mutation]) {
    for mutation in mutations {
        let at = mutation.place % (octets.len() + 1);
        let end = (at + mutation.removed).min(octets.len());
        octets.splice(at..end, mutation.octets.iter().copied());
    }
}

fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(cases(512))]

    #[test]
    fn a_message_reads_as_it_was_printed(message in message()) {
        let printed = message.to_bytes();
        let again = Message::parse_datagram(&printed).unwrap();
        prop_assert_eq!(&again, &message);
        prop_assert_eq!(again.to_bytes(), printed);
    }

    #[test]
    fn a_uri_reads_as_it_was_printed(uri in uri()) {
        let printed = uri.to_string();
        let again = Uri::parse(&printed).unwrap();
        prop_assert_eq!(&again, &uri);
        prop_assert!(again.uri_eq(&uri));
        prop_assert_eq!(again.to_string(), printed);
    }

    #[test]
    fn an_address_reads_as_it_was_printed(address in name_addr()) {
        prop_assert_eq!(NameAddr::parse(&address.to_string()), Ok(address));
    }

    #[test]
    fn a_via_reads_as_it_was_printed(via in via()) {
        prop_assert_eq!(Via::parse(&via.to_string()), Ok(via));
    }

    #[test]
    fn a_list_splits_where_it_was_joined(list in proptest::collection::vec(name_addr(), 1..6)) {
        let mut headers = Headers::new();
        headers.push("Route", list.iter().map(ToString::to_string).collect::<Vec<_>>().join(" , "));
        prop_assert_eq!(headers.addresses("Route"), Ok(list));
    }

    #[test]
    fn a_date_reads_as_it_was_printed(seconds in 0_u64..253_402_300_800) {
        let date = SipDate { since_epoch: std::time::Duration::from_secs(seconds) };
        prop_assert_eq!(SipDate::parse(&date.to_string()), Ok(date));
    }

    /// Whatever text becomes a value, a URI or a reason, the message keeps its shape.
    #[test]
    fn content_never_becomes_a_header(text in any::<String>(), control in "[\\x00-\\x1f\\x7fa\"\\\\<>;,]{0,16}") {
        for text in [text, control] {
            let mut request = Request::new(Method::MESSAGE, format!("sip:{text}@b"));
            request.headers.push("Subject", &text);
            request.headers.push_front("Via", format!("SIP/2.0/TCP {text}"));
            let mut address = NameAddr::new(Uri::sip(Some(&text), "b.example"));
            address.display = Some(text.clone());
            address.params.set("tag", &text);
            request.headers.push("From", address.to_string());
            request.headers.set("Call-ID", &text);
            request.headers.push("To", "<sip:b@c>");
            request.headers.ensure_to_tag(&text);
            request.body = text.clone().into();
            let printed = request.to_bytes();
            let head = printed.windows(4).position(|w| w == b"\r\n\r\n").unwrap();
            let lines: Vec<&[u8]> = printed[..head].split(|b| *b == b'\n').collect();
            prop_assert_eq!(lines.len(), 7);
            for line in &lines[..6] {
                prop_assert!(line.ends_with(b"\r"));
            }
            prop_assert!(!printed[..head].iter().any(|b| matches!(b, 0..=8 | 11 | 12 | 14..=31 | 127)));
            prop_assert_eq!(&printed[head + 4..], text.as_bytes());
            prop_assert_eq!(lines[0].iter().filter(|b| **b == b' ').count(), 2);
            let mut response = Response::for_request(&request, 400, text.clone());
            response.headers.push("Warning", &text);
            let printed = response.to_bytes();
            let head = printed.windows(4).position(|w| w == b"\r\n\r\n").unwrap();
            prop_assert_eq!(printed[..head].split(|b| *b == b'\n').count(), 7);
            // An escaped user comes back as the same user; without a user there is no `@`.
            let again = NameAddr::parse(request.headers.get("From").unwrap());
            let user = |address: &NameAddr| address.sip_uri().unwrap().user.clone();
            prop_assert_eq!(again.as_ref().map(user).ok(), Some(user(&address)).filter(|_| !text.is_empty()));
        }
    }

    #[test]
    fn frames_do_not_depend_on_how_a_stream_is_cut(
        messages in proptest::collection::vec((message(), 0_usize..3), 0..5),
        sizes in proptest::collection::vec(any::<u8>(), 1..8),
    ) {
        let mut octets = Vec::new();
        for (message, line_ends) in &messages {
            octets.extend_from_slice(&b"\r\n\r\n\r\n\r\n"[..line_ends * 4]);
            octets.extend_from_slice(&message.to_bytes());
        }
        invariants::stream(&octets, &sizes);
        let (frames, error) = invariants::frames(std::iter::once(&octets[..]));
        prop_assert_eq!(error, None);
        let mut expected = Vec::new();
        for (message, line_ends) in messages {
            expected.extend(std::iter::repeat_n(Frame::KeepAlivePing, line_ends));
            expected.push(Frame::Message(message));
        }
        prop_assert_eq!(frames, expected);
    }

    #[test]
    fn mutations_of_the_corpus_break_no_invariant(
        index in any::<prop::sample::Index>(),
        mutations in mutations(),
        sizes in proptest::collection::vec(any::<u8>(), 1..4),
    ) {
        thread_local! { static CORPUS: Vec<Vec<u8>> = corpus(); }
        let mut octets = CORPUS.with(|corpus| index.get(corpus).clone());
        mutate(&mut octets, &mutations);
        invariants::datagram(&octets);
        invariants::stream(&octets, &sizes);
    }
}

#[test]
fn a_contact_star_stays_a_star() {
    assert_eq!(Contact::parse(" * "), Ok(Contact::Any));
    assert_eq!(Contact::Any.to_string(), "*");
}

#[test]
fn limits_hold_at_their_edges_however_the_stream_is_cut() {
    let limits = Limits::default();
    let start = "OPTIONS sip:a@b SIP/2.0\r\nl: 0\r\nX: ";
    for (extra, fits) in [(0, true), (1, false)] {
        let filler = "a".repeat(limits.head - start.len() + extra);
        let octets = format!("{start}{filler}\r\n\r\n").into_bytes();
        assert_eq!(Message::parse_datagram(&octets).is_ok(), fits);
        for size in [1, 3, 4096, octets.len()] {
            let mut framer = StreamFramer::new(limits);
            let mut outcome = Ok(None);
            for piece in octets.chunks(size) {
                framer.push(piece);
                outcome = framer.poll_frame();
                if !matches!(outcome, Ok(None)) {
                    break;
                }
            }
            assert_eq!(outcome.is_ok(), fits, "pieces of {size}");
        }
    }
}
