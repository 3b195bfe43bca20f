//! What holds for every input, shared by the tests and the fuzz targets.

// Each test takes what it needs, and fails by panicking.
#![allow(dead_code, unreachable_pub, clippy::expect_used)]

use stox_sip::framing::{Frame, StreamFramer};
use stox_sip::header::{Contact, HeaderValue, NameAddr, Via};
use stox_sip::message::Message;
use stox_sip::parse::{Limits, ParseError};
use stox_sip::uri::AnyUri;
use stox_sip::validate::{validate_request, validate_response};

/// Room for the `Content-Length` that printing adds, and for every `Via` that an answer must repeat.
fn wider() -> Limits {
    let limits = Limits::default();
    Limits {
        datagram: limits.datagram * 2,
        head: limits.head * 2,
        fields: limits.fields + 1,
        vias: usize::MAX,
        ..limits
    }
}

/// A datagram: reading never panics, printing and reading again changes nothing, nothing is injected.
pub fn datagram(octets: &[u8]) {
    let message = match Message::parse_datagram(octets) {
        Ok(message) => message,
        Err(error) => return answer_is_sip(&error),
    };
    let printed = message.to_bytes();
    let again = Message::parse_datagram_within(&printed, &wider()).expect("what we print we read");
    assert_eq!(again.to_bytes(), printed);
    assert_eq!(again.body(), message.body());
    let added = usize::from(!message.headers().contains("Content-Length"));
    assert_eq!(again.headers().len(), message.headers().len() + added);
    for (before, after) in message.headers().iter().zip(again.headers().iter()) {
        assert_eq!(before.name(), after.name());
    }
    values(&message);
}

/// An answer to a broken request is itself a readable message.
fn answer_is_sip(error: &ParseError) {
    if let Some(response) = error.response() {
        let printed = response.to_bytes();
        Message::parse_datagram_within(&printed, &wider()).expect("answers are messages");
    }
}

/// Typed values: reading never panics, and what is printed reads as the same value.
fn values(message: &Message) {
    match message {
        Message::Request(request) => {
            if let Err(rejection) = validate_request(request) {
                let printed = rejection.response(request).to_bytes();
                Message::parse_datagram_within(&printed, &wider()).expect("answers are messages");
            }
            stable(AnyUri::parse(&request.uri).ok(), |text| {
                AnyUri::parse(text).ok()
            });
        }
        Message::Response(response) => {
            validate_response(response).ok();
        }
    }
    let headers = message.headers();
    headers.date().ok();
    headers.retry_after().ok();
    for field in headers {
        let value = field.value();
        assert_eq!(value.trim(), value.trim_matches([' ', '\t']).trim());
        header_value::<Via>(value);
        header_value::<Contact>(value);
        header_value::<stox_sip::header::MediaType>(value);
        header_value::<stox_sip::header::SubscriptionState>(value);
        header_value::<stox_sip::header::Event>(value);
        header_value::<stox_sip::header::CSeq>(value);
        header_value::<stox_sip::header::Diagnostic>(value);
        // What stands in quotes loses its control characters when it is printed.
        let clean = !value.contains(char::is_control);
        let address = NameAddr::parse(value).ok().filter(|_| clean);
        stable(address, |text| NameAddr::parse(text).ok());
    }
}

fn header_value<T: HeaderValue + PartialEq + std::fmt::Debug + std::fmt::Display>(text: &str) {
    if let Ok(value) = T::parse(text) {
        let printed = value.to_string();
        assert!(!printed.contains(['\r', '\n', '\0']));
        if !printed.contains("\" <") && !text.contains(char::is_control) {
            stable(Some(value), |text| T::parse(text).ok());
        }
    }
}

fn stable<T: PartialEq + std::fmt::Debug + std::fmt::Display>(
    value: Option<T>,
    parse: impl Fn(&str) -> Option<T>,
) {
    if let Some(value) = value {
        assert_eq!(parse(&value.to_string()).as_ref(), Some(&value));
    }
}

/// Everything that comes out of a stream, its error at the end.
pub fn frames<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<Frame>, Option<ParseError>) {
    let mut framer = StreamFramer::default();
    let mut frames = Vec::new();
    for piece in pieces {
        framer.push(piece);
        loop {
            match framer.poll_frame() {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(error) => {
                    framer.push(b"OPTIONS sip:a@b SIP/2.0\r\nl: 0\r\n\r\n");
                    assert_eq!(framer.poll_frame(), Ok(None), "an error ends the stream");
                    return (frames, Some(error));
                }
            }
        }
    }
    (frames, None)
}

/// A stream: however it is cut, the same frames come out, and each message prints what the stream held.
pub fn stream(octets: &[u8], sizes: &[u8]) {
    let whole = frames(std::iter::once(octets));
    assert_eq!(frames(octets.chunks(1)), whole, "octet by octet");
    assert_eq!(frames(cut(octets, sizes)), whole, "in pieces of {sizes:?}");
    for frame in &whole.0 {
        if let Frame::Message(message) = frame {
            datagram(&message.to_bytes());
        }
    }
}

/// The octets in pieces of the given sizes, over and over.
fn cut<'a>(octets: &'a [u8], sizes: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
    let mut rest = octets;
    let mut sizes = sizes
        .iter()
        .map(|size| usize::from(*size) + 1)
        .collect::<Vec<_>>()
        .into_iter()
        .cycle();
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let size = sizes.next().unwrap_or(rest.len()).min(rest.len());
        let (piece, tail) = rest.split_at(size);
        rest = tail;
        Some(piece)
    })
}
