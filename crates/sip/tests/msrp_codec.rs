//! The MSRP codec: round trips, the examples of RFC 4975, damaged frames, and the corpus of the fuzz target.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests may fail a test"
)]

mod msrp_invariants;

use std::path::Path;

use msrp_invariants::frames;
use proptest::prelude::*;
use stox_core::time::SeededEntropy;
use stox_sip::msrp::frame::{
    ByteRange, Defect, FailureReport, Flag, Frame, Head, Method, Start, Status,
};
use stox_sip::msrp::framer::{FrameError, Framer, Item, Limits};
use stox_sip::msrp::ident::{occurs_in, transaction_id};
use stox_sip::msrp::uri::MsrpUri;

const PATHS: &str = "To-Path: msrp://us.example:2855/ours1234;tcp\r\n\
    From-Path: msrp://peer.example:7654/theirs56;tcp\r\n";

fn one(octets: &[u8]) -> (Frame, Option<Defect>) {
    let (mut whole, error) = frames(octets, &[]);
    assert_eq!(
        (whole.len(), error),
        (1, None),
        "{}",
        String::from_utf8_lossy(octets)
    );
    whole.remove(0)
}

/// A request of this method with these header lines and no body.
fn request(method: &str, lines: &str) -> Vec<u8> {
    format!("MSRP tid1 {method}\r\n{PATHS}{lines}-------tid1$\r\n").into_bytes()
}

#[test]
fn a_chunk_with_everything() {
    let text = format!(
        "MSRP d93kswow SEND\r\n{PATHS}Message-ID: 12339sdqwer\r\nByte-Range: 1-16/*\r\nSuccess-Report: yes\r\n\
         Failure-Report: partial\r\nContent-Type: text/plain\r\n\r\nHi, I'm Alice!\r\n\r\n-------d93kswow+\r\n"
    );
    let (frame, defect) = one(text.as_bytes());
    let head = &frame.head;
    assert_eq!((defect, frame.flag), (None, Flag::More));
    assert_eq!(head.method(), Some(&Method::Send));
    assert_eq!(head.message_id(), Ok(Some("12339sdqwer")));
    let range = ByteRange {
        start: 1,
        end: Some(16),
        total: None,
    };
    assert_eq!(head.byte_range(), Ok(Some(range)));
    assert_eq!(head.success_report(), Ok(true));
    assert_eq!(head.failure_report(), Ok(FailureReport::Partial));
    assert_eq!(head.content_type(), Some("text/plain"));
    assert_eq!(
        frame.body.as_deref(),
        Some(b"Hi, I'm Alice!\r\n".as_slice())
    );
    assert_eq!(frame.to_bytes(), text.as_bytes());
}

#[test]
fn other_requests_and_responses() {
    let (report, _) = one(&request(
        "REPORT",
        "Message-ID: abcd\r\nStatus: 000 413 Too much\r\n",
    ));
    let status = report.head.status().unwrap().unwrap();
    assert_eq!((status.code, status.comment.as_str()), (413, "Too much"));
    let (nickname, _) = one(&request(
        "NICKNAME",
        "Use-Nickname: \"Al \\\"A\\\" Ice\"\r\n",
    ));
    assert_eq!(
        nickname.head.use_nickname().unwrap().unwrap(),
        "Al \"A\" Ice"
    );
    let response = format!(
        "MSRP tid1 200 OK\r\n{PATHS}Use-Path: msrps://r:1/a;tcp msrps://s:2/b;tcp\r\nExpires: 900\r\n-------tid1$\r\n"
    );
    let (response, _) = one(response.as_bytes());
    assert_eq!(response.head.start, Start::Response(Status::new(200)));
    assert_eq!(response.head.use_path().unwrap().len(), 2);
    assert_eq!(response.head.expires(), Some(900));
}

#[test]
fn a_response_goes_one_hop_back_for_send_and_the_whole_way_else() {
    let path = |count: usize| {
        let uris = (0..count).map(|at| MsrpUri::new(false, "h", 1, &format!("s{at}")));
        uris.collect::<Vec<_>>()
    };
    let (to, from) = (path(1), path(2));
    let send = Head::request(Method::Send, "abcd", &to, &from).response(Status::new(200));
    assert_eq!((send.to_path, send.from_path), (path(1), to.clone()));
    let nickname = Head::request(Method::Nickname, "abcd", &to, &from).response(Status::new(200));
    assert_eq!((nickname.to_path, nickname.from_path), (from, to));
}

#[test]
fn defects_have_an_end_all_the_same() {
    for (method, lines, defect) in [
        ("SEND", "", Defect::MessageId),
        ("SEND", "Message-ID: a\r\n", Defect::MessageId),
        (
            "SEND",
            "Message-ID: abcd\r\nMessage-ID: abcd\r\n",
            Defect::Repeated,
        ),
        (
            "SEND",
            "Message-ID: abcd\r\nByte-Range: 0-1/2\r\n",
            Defect::ByteRange,
        ),
        (
            "SEND",
            "Message-ID: abcd\r\nByte-Range: 1-3/2\r\n",
            Defect::ByteRange,
        ),
        (
            "SEND",
            "Message-ID: abcd\r\nByte-Range: 5-3/9\r\n",
            Defect::ByteRange,
        ),
        (
            "SEND",
            "Message-ID: abcd\r\nSuccess-Report: maybe\r\n",
            Defect::ReportWish,
        ),
        (
            "SEND",
            "Message-ID: abcd\r\nFailure-Report: maybe\r\n",
            Defect::ReportWish,
        ),
        ("SEND", "Message-ID: abcd\r\nno colon\r\n", Defect::Line),
        ("SEND", "Message-ID: abcd\r\nX: \u{1}\r\n", Defect::Value),
        ("REPORT", "Message-ID: abcd\r\n", Defect::Status),
        (
            "REPORT",
            "Message-ID: abcd\r\nStatus: 001 200\r\n",
            Defect::Status,
        ),
        ("NICKNAME", "", Defect::Nickname),
        ("NICKNAME", "Use-Nickname: \"x\r\n", Defect::Nickname),
        (
            "SEND",
            "Message-ID: abcd\r\nTo-Path: msrp://a:1/s;tcp\r\n",
            Defect::PathOrder,
        ),
    ] {
        assert_eq!(
            one(&request(method, lines)).1,
            Some(defect),
            "{method} {lines}"
        );
    }
}

#[test]
fn what_ends_a_connection() {
    let long = format!("X: {}\r\n", "x".repeat(20_000));
    let many = "X: y\r\n".repeat(70);
    for (octets, error) in [
        (b"GET / HTTP/1.1\r\n".to_vec(), FrameError::NotMsrp),
        (b"\x16\x03\x01".to_vec(), FrameError::NotMsrp),
        (b"MSRP abc SEND\r\n\r\n".to_vec(), FrameError::StartLine),
        (b"MSRP abcd send\r\n\r\n".to_vec(), FrameError::StartLine),
        (b"MSRP abcd SEND\n".to_vec(), FrameError::LineEnd),
        (b"MSRP abcd SEND\r\n\r\n".to_vec(), FrameError::Path),
        (request("SEND", "-------tid2$\r\n"), FrameError::EndLine),
        (request("SEND", &long), FrameError::HeadTooLarge),
        (request("SEND", &many), FrameError::HeadTooLarge),
    ] {
        assert_eq!(frames(&octets, &[]), (vec![], Some(error)));
        assert_eq!(frames(&octets, &[0]), (vec![], Some(error)));
    }
}

#[test]
fn a_body_of_any_length_comes_in_pieces() {
    let mut framer = Framer::new(Limits {
        body: 500_000,
        ..Limits::default()
    });
    framer.push(
        format!("MSRP tid1 SEND\r\n{PATHS}Message-ID: abcd\r\nContent-Type: a/b\r\n\r\n")
            .as_bytes(),
    );
    assert!(matches!(
        framer.poll(),
        Ok(Some(Item::Head { has_body: true, .. }))
    ));
    for _ in 0..488 {
        framer.push(&[b'x'; 1024]);
        assert!(matches!(framer.poll(), Ok(Some(Item::Body(piece))) if piece.len() > 900));
        assert_eq!(framer.poll(), Ok(None));
    }
    framer.push(&[b'x'; 1024]);
    assert_eq!(framer.poll(), Err(FrameError::BodyTooLarge));
}

#[test]
fn what_looks_like_an_end_line_is_body() {
    for body in [
        "",
        "-------tid1x\r\n",
        "\r\n-------tid1$ \r\n",
        "\r\n-------tid2$\r\n",
        "--------tid1$x",
        "\r\n",
    ] {
        let text = format!(
            "MSRP tid1 SEND\r\n{PATHS}Message-ID: abcd\r\nContent-Type: a/b\r\n\r\n{body}\r\n-------tid1$\r\n"
        );
        assert_eq!(
            one(text.as_bytes()).0.body.as_deref(),
            Some(body.as_bytes())
        );
        assert_eq!(frames(text.as_bytes(), &[0]), frames(text.as_bytes(), &[]));
    }
}

fn corpus() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/msrp");
    let mut paths: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|e| e.unwrap().path())
        .collect();
    paths.sort();
    paths
        .iter()
        .map(|path| std::fs::read(path).unwrap())
        .collect()
}

#[test]
fn the_corpus() {
    let corpus = corpus();
    assert!(corpus.len() >= 8);
    for octets in corpus {
        for sizes in [&[][..], &[0], &[1, 6], &[40]] {
            msrp_invariants::stream(&octets, sizes);
        }
    }
}

fn uri() -> impl Strategy<Value = MsrpUri> {
    let token = "[A-Za-z0-9.!%*_+`'~-]{1,6}";
    let host = prop_oneof![
        "[a-z0-9]{1,8}(\\.[a-z0-9-]{1,8}){0,2}",
        Just("[2001:db8::7]".to_owned())
    ];
    let params = proptest::collection::vec((token, proptest::option::of(token)), 0..3);
    (
        any::<bool>(),
        proptest::option::of("[a-z0-9._%]{1,6}"),
        host,
        proptest::option::of(1..=u16::MAX),
        proptest::option::of("[A-Za-z0-9.~+=/-]{1,20}"),
        "[a-z0-9]{1,4}",
        params,
    )
        .prop_map(
            |(secure, user, host, port, session, transport, params)| MsrpUri {
                secure,
                user,
                host,
                port,
                session,
                transport,
                params,
            },
        )
}

fn frame() -> impl Strategy<Value = Frame> {
    let start = prop_oneof![
        proptest::sample::select(vec![Method::Auth, Method::Other("FOO".into())])
            .prop_map(Start::Request),
        (100..700_u16, "([!-~]([ -~]{0,10}[!-~])?)?")
            .prop_map(|(code, comment)| Start::Response(Status { code, comment })),
    ];
    let path = || proptest::collection::vec(uri(), 1..4);
    let headers =
        proptest::collection::vec(("X-[A-Za-z0-9-]{1,8}", "([!-~]([ -~]{0,20}[!-~])?)?"), 0..5);
    let piece = prop_oneof![
        any::<Vec<u8>>(),
        proptest::sample::select(vec!["\r\n", "-------", "-", "$", "tid0", "MSRP "])
            .prop_map(|s| s.as_bytes().to_vec()),
    ];
    let body = proptest::option::of(proptest::collection::vec(piece, 0..8));
    let flag = proptest::sample::select(vec![Flag::Complete, Flag::More, Flag::Aborted]);
    (start, path(), path(), headers, body, flag, any::<u64>()).prop_map(
        |(start, to_path, from_path, fields, body, flag, seed)| {
            let body = body.map(|pieces| pieces.concat());
            let octets = body.clone().unwrap_or_default();
            let transaction =
                transaction_id(Some("tid0"), &octets, |_| false, &mut SeededEntropy(seed));
            assert!(!occurs_in(&transaction, &octets));
            let mut head = Head {
                start,
                transaction,
                to_path,
                from_path,
                headers: Default::default(),
            };
            fields
                .iter()
                .for_each(|(name, value)| head.headers.push(name, value));
            if body.is_some() {
                head.headers.push("Content-Type", "text/plain");
            }
            Frame {
                head,
                body: body.map(Into::into),
                flag,
            }
        },
    )
}

proptest! {
    #[test]
    fn uris_come_back(uri in uri()) {
        prop_assert_eq!(MsrpUri::parse(&uri.to_string()), Ok(uri));
    }

    #[test]
    fn frames_come_back_however_they_are_cut(
        written in proptest::collection::vec(frame(), 1..4),
        sizes in proptest::collection::vec(any::<u8>(), 1..6),
    ) {
        let octets: Vec<u8> = written.iter().flat_map(|frame| frame.to_bytes()).collect();
        let whole: Vec<_> = written.into_iter().map(|frame| (frame, None)).collect();
        prop_assert_eq!(frames(&octets, &sizes), (whole.clone(), None));
        prop_assert_eq!(frames(&octets, &[0]), (whole, None));
    }

    #[test]
    fn damaged_frames(
        seed in proptest::sample::select(corpus()),
        cuts in proptest::collection::vec((any::<prop::sample::Index>(), 0..12_usize, "[ -~\r\n]{0,4}"), 1..5),
        sizes in proptest::collection::vec(any::<u8>(), 0..6),
    ) {
        let mut octets = seed;
        for (at, length, put) in cuts {
            let at = at.index(octets.len().max(1)).min(octets.len());
            let end = (at + length).min(octets.len());
            octets.splice(at..end, put.into_bytes());
        }
        msrp_invariants::stream(&octets, &sizes);
    }

    #[test]
    fn mixed_frames(
        seeds in proptest::collection::vec(proptest::sample::select(corpus()), 1..6),
        sizes in proptest::collection::vec(any::<u8>(), 0..6),
    ) {
        msrp_invariants::stream(&seeds.concat(), &sizes);
    }
}
