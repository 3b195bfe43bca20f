//! Header values, URIs and messages as peers really write them.

// Helpers of tests may fail a test.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::net::SocketAddr;
use std::time::Duration;

use stox_sip::framing::{Frame, StreamFramer};
use stox_sip::header::{
    CSeq, Contact, Event, HeaderError, HeaderValue, Headers, MediaType, NameAddr, Params, SipDate,
    SubscriptionState, Via, parse_max_forwards, parse_retry_after, parse_u32,
};
use stox_sip::message::{Message, Request, Response};
use stox_sip::method::Method;
use stox_sip::parse::{Limits, ParseErrorKind};
use stox_sip::uri::{AnyUri, Uri, UriError};
use stox_sip::validate::{Offer, validate_request, validate_support};

fn request(text: &str) -> Request {
    match Message::parse_datagram(text.as_bytes()).unwrap() {
        Message::Request(request) => request,
        Message::Response(response) => panic!("{response:?}"),
    }
}

fn options(fields: &str) -> Request {
    let rest = "f: <sip:a@b>;tag=1\r\nt: <sip:c@d>\r\ni: x\r\nCSeq: 1 OPTIONS\r\n";
    request(&format!("OPTIONS sip:c@d SIP/2.0\r\n{fields}{rest}\r\n"))
}

#[test]
fn uris_keep_every_octet() {
    for text in [
        "sip:a@b",
        "sip:b.example",
        "sips:a@b.example:5061;transport=tls;lr",
        "sip:alice@corp.example;opaque=user:epid:Qq-7;gruu",
        "sip:edge.corp.example:5061;transport=tls;opaque=state:F;lr;ms-route-sig=AbC/+==",
        "sip:j%40x@b",
        "sip:+15551234@gw.example;user=phone",
        "sip:[2001:db8:::192.0.2.1]:5070",
        "sip:1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*:&it+has=1,weird!*pas$wo~d_too.(doesn't-it)@example.com",
        "sip:user;par=u%40example.net@example.com",
        "sip:a@b?Route=%3Csip:x%3E&Subject=y",
        "sip:a:@b",
        "im:a@b",
        "pres:a@b",
    ] {
        assert_eq!(
            Uri::parse(text).map(|uri| uri.to_string()),
            Ok(text.to_owned())
        );
    }
    let gruu = Uri::parse("sip:alice@corp.example;opaque=user:epid:Qq-7;GRUU").unwrap();
    assert_eq!(gruu.param("OPAQUE"), Some("user:epid:Qq-7"));
    assert!(gruu.has_param("gruu"));
    assert_eq!(gruu.param("gruu"), None);
    assert_eq!(
        Uri::parse("SIP:a@[::1]:05060").unwrap().to_string(),
        "sip:a@[::1]:5060"
    );
    assert_eq!(Uri::parse("sip:a@[::1]").unwrap().bare_host(), "::1");
}

#[test]
fn malformed_uris_say_where() {
    for (text, error) in [
        ("", UriError::Scheme),
        ("a@b", UriError::Scheme),
        ("tel:+1", UriError::Scheme),
        ("sip:", UriError::Host),
        ("sip:@b", UriError::User),
        ("sip:a@b@c", UriError::Host),
        ("sip:a b@c", UriError::User),
        ("sip:a%4@c", UriError::User),
        ("sip:a%zz@c", UriError::User),
        ("sip:é@c", UriError::User),
        ("sip:a@b:", UriError::Port),
        ("sip:a@b:65536", UriError::Port),
        ("sip:a@b:+1", UriError::Port),
        ("sip:2001:db8::10", UriError::Port),
        ("sip:a@[::1", UriError::Host),
        ("sip:a@[1.2.3.4]", UriError::Host),
        ("sip:a@b;", UriError::Param),
        ("sip:a@b;;lr", UriError::Param),
        ("sip:a@b;=x", UriError::Param),
        ("sip:a@b;x=", UriError::Param),
        ("sip:a@b; lr", UriError::Param),
        ("sip:a@b?", UriError::Headers),
        ("sip:a@b\r\nX: y", UriError::Host),
    ] {
        assert_eq!(Uri::parse(text), Err(error), "{text}");
    }
    assert_eq!(
        Uri::parse(&format!("sip:a@b{}", ";x".repeat(65))),
        Err(UriError::Param)
    );
    assert_eq!(
        AnyUri::parse("tel:+1"),
        Ok(AnyUri::Other("tel:+1".to_owned()))
    );
    assert_eq!(AnyUri::parse("no scheme"), Err(UriError::Other));
    assert_eq!(AnyUri::parse("<sip:a@b>"), Err(UriError::Other));
    assert_eq!(AnyUri::parse("sip:"), Err(UriError::Host));
}

/// RFC 3261 §19.1.4, its own examples first.
#[test]
fn uris_compare_by_the_rules() {
    let equal = [
        (
            "sip:%61lice@atlanta.com;transport=TCP",
            "sip:alice@AtLanTa.CoM;Transport=tcp",
        ),
        ("sip:carol@chicago.com", "sip:carol@chicago.com;newparam=5"),
        (
            "sip:carol@chicago.com;security=on",
            "sip:carol@chicago.com;newparam=5",
        ),
        (
            "sip:biloxi.com;transport=tcp;method=REGISTER?to=sip:bob%40biloxi.com",
            "sip:biloxi.com;method=REGISTER;transport=tcp?to=sip:bob%40biloxi.com",
        ),
        (
            "sip:alice@atlanta.com?subject=project%20x&priority=urgent",
            "sip:alice@atlanta.com?priority=urgent&subject=project%20x",
        ),
    ];
    let different = [
        (
            "SIP:ALICE@AtLanTa.CoM;Transport=udp",
            "sip:alice@AtLanTa.CoM;Transport=UDP",
        ),
        ("sip:bob@biloxi.com", "sip:bob@biloxi.com:5060"),
        ("sip:bob@biloxi.com", "sip:bob@biloxi.com;transport=udp"),
        (
            "sip:bob@biloxi.com",
            "sip:bob@biloxi.com:6000;transport=tcp",
        ),
        (
            "sip:carol@chicago.com",
            "sip:carol@chicago.com?Subject=next%20meeting",
        ),
        ("sip:bob@phone21.boxesbybob.com", "sip:bob@192.0.2.4"),
        (
            "sip:carol@chicago.com;security=on",
            "sip:carol@chicago.com;security=off",
        ),
        ("sip:a@b", "sips:a@b"),
        ("sip:b", "sip:a@b"),
        ("sip:a@b", "sip:a:@b"),
        ("sip:a%3Bb@c", "sip:a;b@c"),
        ("sip:a@b;lr", "sip:a@b;lr=on"),
    ];
    for (pairs, expected) in [(&equal[..], true), (&different[..], false)] {
        for (left, right) in pairs {
            let (a, b) = (Uri::parse(left).unwrap(), Uri::parse(right).unwrap());
            assert_eq!(a.uri_eq(&b), expected, "{left} {right}");
            assert_eq!(b.uri_eq(&a), expected, "{right} {left}");
        }
    }
}

#[test]
fn parameters_belong_where_they_stand() {
    // ADDR-30: without angle brackets they are the header's.
    let bare = NameAddr::parse("sip:a@b;tag=1;gr=x").unwrap();
    assert_eq!(bare.sip_uri().unwrap().params, []);
    assert_eq!(bare.tag(), Some("1"));
    assert_eq!(bare.to_string(), "<sip:a@b>;tag=1;gr=x");
    let inside = NameAddr::parse("<sip:a@b;gr=x>;tag=1").unwrap();
    assert_eq!(inside.sip_uri().unwrap().param("gr"), Some("x"));
    assert!(!inside.params.contains("gr"));
}

#[test]
fn addresses_as_peers_write_them() {
    let text = "\"Alice \\\"A\\\" <x>\"<sip:alice@corp.example;opaque=user:epid:Qq-7;gruu>;tag=5f1c;epid=0a1b2c3d4e";
    let alice = NameAddr::parse(text).unwrap();
    assert_eq!(alice.display.as_deref(), Some("Alice \"A\" <x>"));
    assert_eq!(alice.params.get("EPID"), Some("0a1b2c3d4e"));
    let contact =
        NameAddr::parse("<sip:a@b>;+sip.instance=\"<urn:uuid:4f;x>\";proxy=replace").unwrap();
    assert_eq!(
        contact.params.text("+sip.instance").as_deref(),
        Some("<urn:uuid:4f;x>")
    );
    assert!(contact.params.contains("proxy"));
    assert_eq!(
        NameAddr::parse("caller<sip:a@b>")
            .unwrap()
            .display
            .as_deref(),
        Some("caller")
    );
    assert_eq!(
        NameAddr::parse("Jörg Ä. <sip:a@b>")
            .unwrap()
            .display
            .as_deref(),
        Some("Jörg Ä.")
    );
    assert_eq!(
        NameAddr::parse("<tel:+1555>;tag=x").unwrap().uri,
        AnyUri::Other("tel:+1555".to_owned())
    );
    for broken in [
        "",
        "<>",
        "<sip:a@b",
        "\"x <sip:a@b>",
        "\"x\" sip:a@b",
        "a, b <sip:a@b>",
        "sip:x <sip:a@b>",
        "<sip:a@b> x",
        "<sip:a@b>;",
        "<sip:a@b>;;x",
        "<sip:a@b>;x=\"",
        "<sip:a@b>;x=\"y\"z",
        "<sip:a@b>;x=y z",
        "sip:a@b?x=y",
        "< sip:a@b >",
        "<sip:>;sip:;1001@sip.example",
    ] {
        assert!(NameAddr::parse(broken).is_err(), "{broken}");
    }
    let many = format!("<sip:a@b>{}", ";x".repeat(257));
    assert_eq!(NameAddr::parse(&many), Err(HeaderError::Param));
}

#[test]
fn contacts_check_their_numbers() {
    for good in [
        "<sip:a@b>;expires=4294967295;q=0.333",
        "<sip:a@b>;q=1.000",
        "sip:a@b;q=0",
        "*",
    ] {
        assert!(Contact::parse(good).is_ok(), "{good}");
    }
    for bad in [
        "<sip:a@b>;expires=4294967296",
        "<sip:a@b>;expires=-1",
        "<sip:a@b>;q=1.001",
        "<sip:a@b>;q=0.3333",
    ] {
        assert!(Contact::parse(bad).is_err(), "{bad}");
    }
}

#[test]
fn vias_as_peers_write_them() {
    let via =
        Via::parse("SIP  / 2.0  / tcp   spindle.example.com : 5061 ;  branch  =   z9hG4bK9ikj8")
            .unwrap();
    assert_eq!(
        (via.transport.as_str(), via.host.as_str(), via.port),
        ("tcp", "spindle.example.com", Some(5061))
    );
    assert_eq!(via.rfc3261_branch(), Some("z9hG4bK9ikj8"));
    let edge = "SIP/2.0/TLS 10.0.0.9:49200;branched=FALSE;ms-received-port=49200;ms-received-cid=1A00;\
        ms-internal-info=\"ab;c,d\"";
    let via = Via::parse(edge).unwrap();
    assert_eq!(via.branch(), None);
    assert_eq!(
        via.params.text("ms-internal-info").as_deref(),
        Some("ab;c,d")
    );
    assert_eq!(via.to_string(), edge);
    for (branch, modern) in [
        ("z9hG4bK", false),
        ("z9hG4bKa", true),
        ("Z9HG4BKa", true),
        ("390skdjuw", false),
    ] {
        let via = Via::parse(&format!("SIP/2.0/UDP a;branch={branch}")).unwrap();
        assert_eq!(
            (via.branch(), via.rfc3261_branch().is_some()),
            (Some(branch), modern)
        );
    }
    for received in ["2001:db8::9:255", "[2001:db8::9:255]"] {
        let via = Via::parse(&format!("SIP/2.0/UDP [::1]:9;received={received}")).unwrap();
        assert_eq!(via.received(), "2001:db8::9:255".parse().ok());
    }
    for broken in [
        "",
        "SIP/2.0/UDP",
        "SIP/2.0/UDP ",
        "SIP/7.0/UDP a",
        "HTTP/2.0/UDP a",
        "SIP/2.0/UDP a b",
        "SIP/2.0/UDP a:x",
        "SIP/2.0/UDP a;",
        "SIP/2.0/UDP 192.0.2.15;;",
        "SIP/2.0/UDP ::1",
        "SIP/2.0/U P a:5060:1",
    ] {
        assert_eq!(Via::parse(broken).ok(), None, "{broken}");
    }
}

#[test]
fn the_source_is_written_over_what_the_sender_claims() {
    let source: SocketAddr = "[2001:db8::1]:7000".parse().unwrap();
    for (before, after) in [
        (
            "SIP/2.0/UDP a;branch=x",
            "SIP/2.0/UDP a;branch=x;received=2001:db8::1",
        ),
        (
            "SIP/2.0/UDP a;received=6.6.6.6;rport=9",
            "SIP/2.0/UDP a;received=2001:db8::1;rport=7000",
        ),
        (
            "SIP/2.0/UDP [2001:DB8::1];rport",
            "SIP/2.0/UDP [2001:DB8::1];rport=7000;received=2001:db8::1",
        ),
        (
            "SIP/2.0/UDP [2001:db8::1];received=6.6.6.6",
            "SIP/2.0/UDP [2001:db8::1]",
        ),
    ] {
        let mut via = Via::parse(before).unwrap();
        via.set_source(source);
        assert_eq!(via.to_string(), after);
        assert_eq!(Via::parse(after).unwrap(), via);
    }
}

#[test]
fn small_values() {
    let cseq = CSeq::parse("0009  INVITE").unwrap();
    assert_eq!((cseq.number, cseq.method), (9, Method::INVITE));
    assert!(CSeq::parse("2147483647 X").is_ok());
    for bad in [
        "2147483648 X",
        "1",
        "x X",
        "-1 X",
        "1 A B",
        "36893488147419103232 REGISTER",
    ] {
        assert_eq!(CSeq::parse(bad), Err(HeaderError::CSeq), "{bad}");
    }
    let media = MediaType::parse("TEXT/Plain ; charset=\"utf-8\";").unwrap();
    assert!(media.is("text", "plain"));
    assert_eq!(media.params.text("Charset").as_deref(), Some("utf-8"));
    assert!(MediaType::parse("text").is_err());
    assert!(
        MediaType::parse("*/*;q=0.1")
            .unwrap()
            .covers("text", "plain")
    );
    assert!(!MediaType::parse("image/*").unwrap().covers("text", "plain"));
    let event = Event::parse("presence;id=7;x=y").unwrap();
    assert!(event.matches(&Event::parse("presence ; id=7").unwrap()));
    assert!(!event.matches(&Event::new("presence")));
    assert!(!event.matches(&Event::parse("Presence;id=7").unwrap()));
    let state = SubscriptionState::parse("Terminated;reason=deactivated;retry-after=30").unwrap();
    assert_eq!(
        (
            state.state.as_str(),
            state.reason(),
            state.retry_after(),
            state.expires()
        ),
        ("terminated", Some("deactivated"), Some(30), None)
    );
    assert_eq!(
        SubscriptionState::parse("active;expires=99999999999")
            .unwrap()
            .expires(),
        None
    );
    assert_eq!(parse_retry_after("18000;duration=3600"), Ok(18000));
    assert_eq!(parse_retry_after("120 (I'm in a meeting)"), Ok(120));
    assert_eq!(
        parse_retry_after("949302838503028349304023988"),
        Err(HeaderError::Number)
    );
    assert_eq!(
        (parse_max_forwards("255"), parse_max_forwards("0068")),
        (Ok(255), Ok(68))
    );
    assert_eq!(parse_max_forwards("256"), Err(HeaderError::Number));
    assert_eq!(
        (parse_u32("4294967295"), parse_u32("4294967296")),
        (Ok(u32::MAX), Err(HeaderError::Number))
    );
}

#[test]
fn dates() {
    let date = SipDate::parse("Sat, 15 Oct 2005 04:44:56 GMT").unwrap();
    assert_eq!(date.since_epoch, Duration::from_secs(1_129_351_496));
    assert_eq!(date.to_string(), "Sat, 15 Oct 2005 04:44:56 GMT");
    assert_eq!(
        SipDate::parse("Thu, 29 Feb 2024 00:00:00 GMT")
            .unwrap()
            .since_epoch
            .as_secs(),
        1_709_164_800
    );
    for bad in [
        "Fri, 01 Jan 2010 16:00:00 EST",
        "Thu, 29 Feb 2023 00:00:00 GMT",
        "Thu, 31 Apr 2023 00:00:00 GMT",
        "Thu, 00 Apr 2023 00:00:00 GMT",
        "Thu, 1 Apr 2023 00:00:00 GMT",
        "Thu, 01 Apr 1969 00:00:00 GMT",
        "Thu, 01 Apr 2023 24:00:00 GMT",
        "Thu, 01 Apr 2023 00:00 GMT",
        "Xxx, 01 Apr 2023 00:00:00 GMT",
        "",
    ] {
        assert_eq!(SipDate::parse(bad), Err(HeaderError::Date), "{bad}");
    }
}

#[test]
fn fields_are_found_and_kept() {
    let text = "OPTIONS sip:c@d SIP/2.0\r\nv : SIP/2.0/UDP a,\r\n\t SIP/2.0/TCP b;x=\"1,2\"\r\nVIA:SIP/2.0/TLS c\r\n\
        s:\r\nContact: <sip:a@b?x=1,2>, \"p,q\\\"r\" <sip:c@d>,, *\r\nX-Raw: \u{e9}\r\nl:  0\r\n\r\n";
    let raw: Vec<u8> = text
        .replace('\u{e9}', "\u{1}")
        .bytes()
        .map(|b| if b == 1 { 0xe9 } else { b })
        .collect();
    let message = Message::parse_datagram(&raw).unwrap();
    let headers = message.headers();
    let vias: Vec<&str> = headers.values("Via").collect();
    assert_eq!(
        vias,
        ["SIP/2.0/UDP a", "SIP/2.0/TCP b;x=\"1,2\"", "SIP/2.0/TLS c"]
    );
    assert_eq!(
        headers.get("V"),
        Some("SIP/2.0/UDP a, SIP/2.0/TCP b;x=\"1,2\"")
    );
    assert_eq!(headers.get("Subject"), Some(""));
    assert_eq!(headers.get("x-raw"), Some("\u{fffd}"));
    assert_eq!(
        headers.values("m").collect::<Vec<_>>(),
        ["<sip:a@b?x=1,2>", "\"p,q\\\"r\" <sip:c@d>", "*"]
    );
    assert_eq!(message.to_bytes(), raw);
    assert!(headers.contains("Content-Length"));
    assert!(!headers.contains("From"));
}

#[test]
fn fields_are_changed_in_place() {
    let mut headers = Headers::new();
    headers.push("Via", "SIP/2.0/UDP a, SIP/2.0/UDP b");
    headers.push("v", "SIP/2.0/UDP c");
    headers.set_first("Via", "SIP/2.0/UDP a;received=1.2.3.4");
    assert_eq!(
        headers.values("Via").collect::<Vec<_>>(),
        [
            "SIP/2.0/UDP a;received=1.2.3.4",
            "SIP/2.0/UDP b",
            "SIP/2.0/UDP c"
        ]
    );
    headers.push_front("Via", "SIP/2.0/TLS d");
    assert_eq!(headers.top_via().unwrap().transport, "TLS");
    headers.push("Subject", "one");
    headers.set("VIA", "SIP/2.0/TCP e");
    let list: Vec<_> = headers
        .iter()
        .map(|field| (field.name(), field.value()))
        .collect();
    assert_eq!(list, [("VIA", "SIP/2.0/TCP e"), ("Subject", "one")]);
    assert!(headers.remove("s"));
    assert!(!headers.remove("s"));
    headers.set("Expires", "5");
    assert_eq!((headers.expires(), headers.len()), (Ok(Some(5)), 2));
}

#[test]
fn responses_repeat_what_they_must() {
    let request = options(
        "v: SIP/2.0/UDP a;branch=z9hG4bK1\r\nTimestamp: 5\r\nVia : SIP/2.0/UDP b\r\nSubject: no\r\n",
    );
    let mut response = Response::for_request(&request, 100, "Trying");
    response.headers.ensure_to_tag("abc");
    response.headers.ensure_to_tag("def");
    assert_eq!(
        response.to_bytes(),
        "SIP/2.0 100 Trying\r\nv: SIP/2.0/UDP a;branch=z9hG4bK1\r\nVia : SIP/2.0/UDP b\r\nf: <sip:a@b>;tag=1\r\n\
         t: <sip:c@d>;tag=abc\r\ni: x\r\nCSeq: 1 OPTIONS\r\nTimestamp: 5\r\nContent-Length: 0\r\n\r\n"
    );
    let twice = options("Via: SIP/2.0/UDP a\r\nCall-ID: first\r\n");
    let repeated = Response::for_request(&twice, 400, "Repeated");
    assert_eq!(repeated.headers.get_all("i").collect::<Vec<_>>(), ["first"]);
    assert!(
        !Response::for_request(&request, 200, "OK")
            .headers
            .contains("Timestamp")
    );
}

#[test]
fn broken_requests_can_be_answered() {
    let fields = "Via: SIP/2.0/UDP a\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:c@d>\r\nCall-ID: x\r\nCSeq: 1 OPTIONS\r\n";
    let start = "OPTIONS sip:c@d SIP/2.0\r\n";
    let vias = "Via: SIP/2.0/UDP a,SIP/2.0/UDP a\r\n".repeat(36);
    for (text, kind, status) in [
        (
            format!("OPTIONS sip:c@d SIP/3.0\r\n{fields}\r\n"),
            ParseErrorKind::Version,
            505,
        ),
        (
            format!("OPTIONS  sip:c@d SIP/2.0\r\n{fields}\r\n"),
            ParseErrorKind::StartLine,
            400,
        ),
        (
            format!("OPTIONS sip:c@d\r\n{fields}\r\n"),
            ParseErrorKind::StartLine,
            400,
        ),
        (
            format!("{start}no colon\r\n{fields}\r\n"),
            ParseErrorKind::HeaderLine,
            400,
        ),
        (
            format!("{start}Sub\u{1}ject: x\r\n{fields}\r\n"),
            ParseErrorKind::HeaderLine,
            400,
        ),
        (
            format!("{start}Subject: \"\u{1}\"\r\n{fields}\r\n"),
            ParseErrorKind::Control,
            400,
        ),
        (
            format!("{start}{fields}Subject: x\n\r\n"),
            ParseErrorKind::LineEnd,
            400,
        ),
        (
            format!("{start}Subject: x\n{fields}\r\n"),
            ParseErrorKind::LineEnd,
            400,
        ),
        (
            format!("{start}Subject: x\ry\r\n{fields}\r\n"),
            ParseErrorKind::LineEnd,
            400,
        ),
        (format!("{start}{fields}"), ParseErrorKind::NoEmptyLine, 400),
        (
            format!("{start}{fields}l: 1\r\n\r\n"),
            ParseErrorKind::BodyShort,
            400,
        ),
        (
            format!("{start}{fields}l: 0\r\nl: 0\r\n\r\n"),
            ParseErrorKind::ContentLength,
            400,
        ),
        (
            format!("{start}{fields}l: 0, 0\r\n\r\n"),
            ParseErrorKind::ContentLength,
            400,
        ),
        (
            format!("{start}{fields}l: 70000\r\n\r\n"),
            ParseErrorKind::BodyTooLarge,
            413,
        ),
        (
            format!("{start}{fields}{vias}\r\n"),
            ParseErrorKind::TooManyVias,
            513,
        ),
        (
            format!("{start}{fields}{}\r\n", "X: y\r\n".repeat(128)),
            ParseErrorKind::TooManyFields,
            513,
        ),
        (
            format!("{start}{fields}X: {}\r\n\r\n", "y".repeat(16_384)),
            ParseErrorKind::HeadTooLarge,
            513,
        ),
    ] {
        let error = Message::parse_datagram(text.as_bytes()).unwrap_err();
        assert_eq!(error.kind, kind, "{text:.200}");
        let response = error.response().unwrap();
        assert_eq!(
            (response.status, response.headers.call_id()),
            (status, Some("x"))
        );
    }
    for silent in [
        String::new(),
        "\r\n\r\n".to_owned(),
        "\0\0\0\0".to_owned(),
        format!("ACK sip:c@d SIP/3.0\r\n{fields}\r\n"),
        format!("SIP/2.0 700 X\r\n{fields}\r\n"),
        format!("SIP/3.0 200 X\r\n{fields}\r\n"),
        "OPTIONS sip:c@d SIP/3.0\r\n\r\n".to_owned(),
    ] {
        assert_eq!(
            Message::parse_datagram(silent.as_bytes())
                .unwrap_err()
                .response(),
            None,
            "{silent:?}"
        );
    }
}

#[test]
fn quoted_pairs_may_hold_controls() {
    let request = options("Via: SIP/2.0/UDP a\r\nX: \"\\\u{7} \\\u{0}\"\r\n");
    assert_eq!(request.headers.get("X"), Some("\"\\\u{7} \\\u{0}\""));
    assert!(Message::parse_datagram(b"OPTIONS sip:a@b SIP/2.0\r\nX: \\\x07\r\n\r\n").is_err());
}

#[test]
fn datagram_bodies() {
    let head = "MESSAGE sip:a@b SIP/2.0\r\n";
    for (text, body) in [
        ("\r\nhi", "hi"),
        ("l: 1\r\n\r\nhi", "h"),
        ("l: 000\r\n\r\nhi", ""),
        ("\r\n", ""),
    ] {
        assert_eq!(request(&format!("{head}{text}")).body, body);
    }
    assert_eq!(
        request(&format!("\r\n\r\n{head}\r\n")).method,
        Method::MESSAGE
    );
}

#[test]
fn content_length_is_always_right() {
    for wrong in ["", "l: 0\r\n", "Content-Length : 00\r\n"] {
        let mut request = options(&format!("Via: SIP/2.0/UDP a\r\n{wrong}"));
        request.body = "hello".into();
        let printed = request.to_bytes();
        let Message::Request(again) = Message::parse_datagram(&printed).unwrap() else {
            panic!("a request");
        };
        assert_eq!(again.headers.get_all("l").collect::<Vec<_>>(), ["5"]);
        assert_eq!(again.body, "hello");
    }
}

#[test]
fn streams_go_on_after_what_they_survive_and_end_at_what_they_do_not() {
    let good = "OPTIONS sip:a@b SIP/2.0\r\nl: 0\r\n\r\n";
    let mut framer = StreamFramer::new(Limits::default());
    framer.push(format!("OPTIONS sip:a@b SIP/3.0\r\nl: 2\r\n\r\nhi{good}").as_bytes());
    let Ok(Some(Frame::Malformed(error))) = framer.poll_frame() else {
        panic!("a malformed message");
    };
    assert_eq!(error.kind, ParseErrorKind::Version);
    assert!(matches!(framer.poll_frame(), Ok(Some(Frame::Message(_)))));
    assert_eq!(
        (framer.poll_frame(), framer.is_mid_message()),
        (Ok(None), false)
    );
    for (broken, kind) in [
        (
            "OPTIONS sip:a@b SIP/2.0\r\n\r\n",
            ParseErrorKind::ContentLengthMissing,
        ),
        (
            "OPTIONS sip:a@b SIP/3.0\r\nl: x\r\n\r\n",
            ParseErrorKind::ContentLength,
        ),
        (
            "OPTIONS sip:a@b SIP/2.0\r\nl: 99999999999999999999\r\n\r\n",
            ParseErrorKind::BodyTooLarge,
        ),
        ("OPTIONS sip:a@b SIP/2.0\n", ParseErrorKind::LineEnd),
        ("\rx", ParseErrorKind::LineEnd),
        ("GET / HTTP/1.1\r\nl: 0\r\n\r\n", ParseErrorKind::StartLine),
        ("<?xml", ParseErrorKind::NotSip),
        ("\u{16}\u{3}\u{1}", ParseErrorKind::NotSip),
    ] {
        let mut framer = StreamFramer::default();
        framer.push(format!("{good}{broken}{good}").as_bytes());
        assert!(matches!(framer.poll_frame(), Ok(Some(Frame::Message(_)))));
        assert_eq!(framer.poll_frame().unwrap_err().kind, kind, "{broken:?}");
        assert_eq!(framer.poll_frame(), Ok(None));
        assert!(!framer.is_mid_message());
    }
}

#[test]
fn keep_alives() {
    let mut framer = StreamFramer::default();
    framer.push(b"\r\n\r\n\r\n");
    assert_eq!(framer.poll_frame(), Ok(Some(Frame::KeepAlivePing)));
    assert_eq!(framer.poll_frame(), Ok(None));
    framer.expect_pong();
    assert_eq!(framer.poll_frame(), Ok(Some(Frame::KeepAlivePong)));
    framer.push(b"\r\nSIP/2.0 200 OK\r\nl: 0\r\n\r\n");
    assert!(matches!(
        framer.poll_frame(),
        Ok(Some(Frame::Message(Message::Response(_))))
    ));
    assert_eq!(framer.poll_frame(), Ok(None));
}

#[test]
fn refusals_carry_their_headers() {
    let offer = Offer {
        methods: &[Method::OPTIONS, Method::MESSAGE],
        extensions: &["gruu"],
    };
    let via = "Via: SIP/2.0/UDP a\r\n";
    let verdict = |request: &Request| {
        validate_request(request).and_then(|()| validate_support(request, &offer))
    };
    assert_eq!(
        verdict(&options(&format!("{via}Require: GRUU\r\n"))),
        Ok(())
    );
    for (fields, status, name, value) in [
        (
            "Require: gruu, 100rel, x\r\n",
            420,
            "Unsupported",
            "100rel, x",
        ),
        (
            "Content-Encoding: gzip\r\n",
            415,
            "Accept-Encoding",
            "identity",
        ),
    ] {
        let request = options(&format!("{via}{fields}"));
        let rejection = verdict(&request).unwrap_err();
        let response = rejection.response(&request);
        assert_eq!(
            (response.status, response.headers.get(name)),
            (status, Some(value))
        );
    }
    let mut squeezed = options(&format!("{via}Content-Encoding: deflate\r\n"));
    squeezed.method = Method::MESSAGE;
    squeezed.headers.set("CSeq", "1 MESSAGE");
    assert_eq!(verdict(&squeezed), Ok(()));
    for (method, status) in [("BYE", Some(405)), ("bye", Some(501)), ("MESSAGE", None)] {
        let mut request = options(via);
        request.method = Method::parse(method).unwrap();
        request.headers.set("CSeq", format!("1 {method}"));
        let rejection = verdict(&request).err();
        assert_eq!(rejection.as_ref().map(|r| r.status), status);
        let allow = rejection.map(|r| r.headers);
        assert_eq!(
            allow,
            status.map(|_| vec![("Allow", "OPTIONS, MESSAGE".to_owned())])
        );
    }
    let mut params = Params::new();
    params.set_flag("lr");
    assert_eq!(params.to_string(), ";lr");
}
