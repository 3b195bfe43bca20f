//! What holds for any text that stands where a value of a header, of a body or of a session is expected. The first octet
//! chooses which.

use std::time::Duration;

use stox_core::time::SeededEntropy;
use stox_sip::adapt::address::from_text;
use stox_sip::body::cpim::{self, Cpim, Wrapper};
use stox_sip::body::imdn::{self, Disposition, Notification, Wanted};
use stox_sip::body::text::is_xml_char;
use stox_sip::body::{iscomposing, keyboard, ms_imdn, sipfrag, time, tuple_id, xml};
use stox_sip::digest::{Credential, authorize};
use stox_sip::header::{HeaderValue, Headers, MediaType, NameAddr, Params, ReferTo, SipDate};
use stox_sip::message::{Message, Request, Response};
use stox_sip::method::Method;
use stox_sip::msrp::uri::{parse_path, print_path, same_path};
use stox_sip::uri::{AnyUri, Uri};

/// Parameters of a URI at most.
const MOST_PARAMS: usize = 64;

type Check = fn(&str, &[u8]);

const CHECKS: [Check; 12] = [
    uri,
    address,
    challenge,
    date,
    path,
    refer,
    wrapper,
    notification,
    composing,
    fragment,
    id,
    parameters,
];

pub(crate) fn check(octets: &[u8]) {
    let Some((kind, octets)) = octets.split_first() else {
        return;
    };
    let text = String::from_utf8_lossy(octets);
    CHECKS[usize::from(*kind) % CHECKS.len()](&text, octets);
}

/// No text that came from a peer ends a line.
fn one_line(printed: &str) {
    assert!(!printed.contains(['\r', '\n', '\0']), "{printed:?}");
}

/// A URI is printed as it reads, and equals itself.
fn uri(text: &str, _: &[u8]) {
    if let Ok(read) = AnyUri::parse(text) {
        let printed = read.to_string();
        one_line(&printed);
        assert_eq!(AnyUri::parse(&printed), Ok(read));
    }
    if let Ok(mut read) = Uri::parse(text) {
        assert!(read.uri_eq(&read.clone()));
        if let Ok(address) = from_text(text) {
            one_line(&address.to_string());
        }
        read.set_param("x", Some(text));
        let printed = read.to_string();
        one_line(&printed);
        // One more than is read has no place.
        let fits = read.params.len() <= MOST_PARAMS;
        assert_eq!(Uri::parse(&printed).is_ok(), fits);
        assert!(
            !fits || Uri::parse(&printed).as_ref() == Ok(&read),
            "{printed}"
        );
    }
    // A name that anybody may have chosen becomes a user part and nothing else.
    let made = Uri::sip(Some(text), "a.example");
    let printed = made.to_string();
    one_line(&printed);
    if !text.is_empty() {
        assert_eq!(Uri::parse(&printed), Ok(made));
    }
}

/// An address and its display name.
fn address(text: &str, _: &[u8]) {
    if let Ok(read) = NameAddr::parse(text) {
        let printed = read.to_string();
        one_line(&printed);
        let again = NameAddr::parse(&printed).expect("what we print we read");
        assert_eq!((&again.uri, &again.params), (&read.uri, &read.params));
        assert_eq!(again.to_string(), printed);
    }
    let mut made = NameAddr::new(Uri::sip(Some("a"), "a.example"));
    made.display = Some(text.to_owned());
    let printed = made.to_string();
    one_line(&printed);
    let again = NameAddr::parse(&printed).expect("what we print we read");
    assert_eq!(again.uri, made.uri, "{printed:?}");
}

/// Challenges as a line each: answered only for the realm that we know, and no value ends its header field.
fn challenge(text: &str, _: &[u8]) {
    let mut request = Request::new(Method::MESSAGE, "sip:bruno@ocs.example");
    let mut response = Response {
        status: 401,
        reason: "Unauthorized".to_owned(),
        headers: Headers::new(),
        body: bytes::Bytes::new(),
    };
    for line in text.split('\n').take(12) {
        response.headers.push("WWW-Authenticate", line);
    }
    let credential = Credential {
        domain: "ocs.example".to_owned(),
        realm: "ocs.example".to_owned(),
        username: "gateway".to_owned(),
        password: "secret".to_owned(),
        over_plain: false,
    };
    let before = request.to_bytes();
    let mut entropy = SeededEntropy(7);
    let mut once = || {
        authorize(
            &mut request,
            &response,
            "ocs.example",
            std::slice::from_ref(&credential),
            &mut entropy,
        )
    };
    if once().is_err() {
        assert_eq!(request.to_bytes(), before, "refused and changed");
        return;
    }
    let first: Vec<String> = request
        .headers
        .get_all("Authorization")
        .map(str::to_owned)
        .collect();
    assert!(!first.is_empty());
    for answer in &first {
        one_line(answer);
        assert!(!answer.contains("secret"), "{answer}");
        assert!(answer.contains("realm=\"ocs.example\""), "{answer}");
    }
    Message::parse_datagram(&whole(&request)).expect("what we print we read");
}

/// The request with the fields that a message must have.
fn whole(request: &Request) -> bytes::Bytes {
    let mut request = request.clone();
    for (name, value) in [
        ("Via", "SIP/2.0/TLS a.example;branch=z9hG4bK-1"),
        ("From", "<sip:a@a.example>;tag=1"),
        ("To", "<sip:b@b.example>"),
        ("Call-ID", "1"),
        ("CSeq", "1 MESSAGE"),
        ("Max-Forwards", "70"),
    ] {
        request.headers.push(name, value);
    }
    request.to_bytes()
}

/// Dates of either grammar, and days before and after.
fn date(text: &str, _: &[u8]) {
    if let Ok(read) = SipDate::parse(text) {
        assert_eq!(SipDate::parse(&read.to_string()), Ok(read));
    }
    if let Some(read) = time::parse_rfc3339(text) {
        let printed = time::format_rfc3339(read);
        assert_eq!(time::parse_rfc3339(&printed), Some(read), "{printed}");
    }
    if let Some(read) = time::parse_zoneless(text) {
        let printed = time::format_zoneless(read);
        let millis = |time: Duration| time.as_millis();
        assert_eq!(
            time::parse_zoneless(&printed).map(millis),
            Some(millis(read))
        );
    }
}

/// A path of MSRP URIs.
fn path(text: &str, _: &[u8]) {
    if let Ok(read) = parse_path(text) {
        let printed = print_path(&read);
        one_line(&printed);
        let again = parse_path(&printed).expect("what we print we read");
        assert!(same_path(&read, &again) && !read.is_empty());
        assert_eq!(print_path(&again), printed);
    }
}

/// `Refer-To` with fields in it: what is put in comes out, and nothing else is added.
fn refer(text: &str, _: &[u8]) {
    if let Ok(read) = ReferTo::parse(text) {
        assert!(
            read.method()
                .is_none_or(|method| !method.as_str().is_empty())
        );
        assert!(
            read.header("Replaces")
                .is_none_or(|value| value.len() <= text.len())
        );
        one_line(&read.to_string());
    }
    let target = Uri::sip(Some("a"), "a.example");
    let made = ReferTo::invite(target)
        .with_header("Subject", text)
        .with_header("Replaces", "x");
    let printed = made.to_string();
    one_line(&printed);
    let again = ReferTo::parse(&printed).expect("what we print we read");
    assert_eq!(again.header("Subject").as_deref(), Some(text), "{printed}");
    assert_eq!(again.header("Replaces").as_deref(), Some("x"), "{printed}");
}

/// A wrapper that came in, and one that we write with the same words in each of its fields.
fn wrapper(text: &str, octets: &[u8]) {
    if let Ok(read) = Cpim::parse(octets) {
        let clean = |text: &str| text.chars().all(|c| is_xml_char(c) && c != '\r');
        assert!(read.subject().is_none_or(|(_, subject)| clean(&subject)));
        assert!(
            read.message_id()
                .is_none_or(|id| !id.is_empty() && clean(&id))
        );
        read.sender();
        read.recipient();
        read.wanted();
    }
    // Each control becomes six octets, in each of six fields, and a head that is longer than its limit is not read.
    let text: &str = &text.chars().take(80).collect::<String>();
    let wanted = Wanted {
        message_id: text.to_owned(),
        delivered: true,
        ..Wanted::default()
    };
    let wrapper = Wrapper {
        from: text,
        to: text,
        sent_at: None,
        subject: Some((Some(text), text)),
        message_id: Some(text),
        wanted: Some(&wanted),
    };
    let written = cpim::write_as(Some(text), &wrapper, &[("Content-Type", text)], b"content");
    let again = Cpim::parse(&written).expect("what we write we read");
    let content = again.content.content().expect("the content is there");
    assert_eq!(&*content, b"content", "{written:?}");
    let head = String::from_utf8_lossy(&written);
    let lines = head.split("\r\n\r\n").next().unwrap_or_default().lines();
    assert_eq!(lines.count(), 6, "a line more or less: {head:?}");
}

/// Notifications of all kinds that came in, and one that we write of what came in.
fn notification(text: &str, octets: &[u8]) {
    for charset in [None, Some("utf-16"), Some("windows-1252")] {
        imdn::parse(octets, charset).ok();
        ms_imdn::parse(octets, charset).ok();
    }
    let wanted = Wanted {
        message_id: text.to_owned(),
        original_to: Some(text.to_owned()),
        ..Wanted::default()
    };
    for disposition in [
        Disposition::Delivered,
        Disposition::Displayed,
        Disposition::Failed,
        Disposition::Other,
    ] {
        let written = imdn::write(&Notification {
            wanted: &wanted,
            recipient: text,
            now: Duration::from_secs(1),
            disposition,
        });
        xml::parse(written.as_bytes(), None).expect("what we write is XML");
        if !text.trim().is_empty() && text.chars().all(is_xml_char) {
            let again = imdn::parse(written.as_bytes(), None);
            assert_eq!(again.map(|again| again.disposition), Ok(disposition));
        }
    }
}

/// Typing notifications.
fn composing(text: &str, octets: &[u8]) {
    if let Ok(read) = iscomposing::parse(octets, None) {
        let written = iscomposing::write(&read, Some(text));
        let again = iscomposing::parse(written.as_bytes(), None).expect("what we write we read");
        assert_eq!(again.active, read.active);
    }
    if let Ok(read) = keyboard::parse(octets, None) {
        let again = keyboard::parse(keyboard::write(read.active).as_bytes(), None);
        assert_eq!(again.map(|again| again.active), Ok(read.active));
    }
}

/// The first line of a message as a body.
fn fragment(text: &str, octets: &[u8]) {
    let read = sipfrag::status(octets);
    assert!(read.is_none_or(|status| (100..700).contains(&status)));
    let written = sipfrag::write(486, text);
    assert_eq!(sipfrag::status(written.as_bytes()), Some(486));
    assert_eq!(written.lines().count(), 1, "{written:?}");
}

/// Resources as names of tuples, one to one.
fn id(text: &str, _: &[u8]) {
    tuple_id::decode(text);
    let written = tuple_id::encode(text);
    assert!(
        written
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b))
    );
    if !text.chars().any(char::is_control) {
        assert_eq!(tuple_id::decode(&written), text, "{written}");
    }
}

/// Parameters and media types, as read and as set. Control characters become spaces when they are written.
fn parameters(text: &str, _: &[u8]) {
    let is_clean = !text.contains(char::is_control);
    if let Ok(read) = Params::parse(text) {
        let printed = read.to_string();
        one_line(&printed);
        let again = Params::parse(written_params(&printed)).expect("what we print we read");
        assert_eq!(again.to_string(), printed);
        assert!(!is_clean || again == read, "{printed:?}");
    }
    if let Ok(read) = MediaType::parse(text) {
        let printed = read.to_string();
        one_line(&printed);
        let again = MediaType::parse(&printed).expect("what we print we read");
        assert_eq!(again.to_string(), printed);
        assert!(!is_clean || again == read, "{printed:?}");
    }
    let mut made = Params::new();
    made.set("a", text);
    made.set("b", "1");
    let printed = made.to_string();
    one_line(&printed);
    let again = Params::parse(written_params(&printed)).expect("what we print we read");
    assert_eq!(again.get("b"), Some("1"), "{printed}");
}

/// Parameters behind their semicolon.
fn written_params(printed: &str) -> &str {
    printed.strip_prefix(';').unwrap_or(printed)
}
