//! What a request or response must be before anything acts on it (RFC 3261 §8.1.1, §8.2, §16.3; RFC 4475).

use crate::header::{CSeq, Contact, HeaderValue, Headers, NameAddr, Via};
use crate::message::{Request, Response};
use crate::method::Method;
use crate::uri::AnyUri;

/// A request that is refused, and how to say so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{status} {reason}")]
pub struct Rejection {
    /// Final status.
    pub status: u16,
    /// Reason phrase.
    pub reason: String,
    /// Header fields that the response must carry.
    pub headers: Vec<(&'static str, String)>,
}

impl Rejection {
    fn new(status: u16, reason: impl Into<String>) -> Self {
        Self {
            status,
            reason: reason.into(),
            headers: Vec::new(),
        }
    }

    fn with(mut self, name: &'static str, value: String) -> Self {
        self.headers.push((name, value));
        self
    }

    /// The response. Its `To` tag is the caller's. Never answer an ACK or a BENOTIFY.
    #[must_use]
    pub fn response(&self, request: &Request) -> Response {
        let mut response = Response::for_request(request, self.status, self.reason.clone());
        for (name, value) in &self.headers {
            response.headers.push(name, value);
        }
        response
    }
}

/// A response that is dropped; nothing is ever answered to a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("unusable response: {0}")]
pub struct Unusable(pub &'static str);

/// What this element takes, for [`validate_support`].
#[derive(Debug, Clone, Copy)]
pub struct Offer<'a> {
    /// Methods that are served.
    pub methods: &'a [Method],
    /// Option tags that are supported.
    pub extensions: &'a [&'a str],
}

/// Header fields that every request and response has (RFC 3261 §8.1.1).
const MANDATORY: [&str; 5] = ["Via", "From", "To", "Call-ID", "CSeq"];

/// Header fields that stand at most once, because a second one would leave the meaning to chance (RFC 3261 §7.3.1,
/// RFC 4475 §3.3.9).
const SINGLE: &[&str] = &[
    "From",
    "To",
    "Call-ID",
    "CSeq",
    "Max-Forwards",
    "Content-Length",
    "Content-Type",
    "Content-Disposition",
    "Expires",
    "Min-Expires",
    "Event",
    "Subscription-State",
    "Subject",
    "Date",
    "Refer-To",
    "Referred-By",
    "Replaces",
    "Session-Expires",
    "Min-SE",
    "SIP-ETag",
    "SIP-If-Match",
    "RSeq",
    "RAck",
    "Identity",
    "MIME-Version",
    "Retry-After",
];

/// Checks what a request says by itself, whoever it is for: mandatory and repeated header fields, the Request-URI,
/// addresses, numbers, `Max-Forwards` (0 is 483), `Content-Type` of a body, and `Content-Encoding` (415; that of a
/// MESSAGE is for who reads it).
///
/// # Errors
/// [`Rejection`]; it cannot be sent where the request has no `Via`.
pub fn validate_request(request: &Request) -> Result<(), Rejection> {
    let headers = &request.headers;
    check_presence(headers).map_err(|reason| Rejection::new(400, reason))?;
    check_request_uri(&request.uri)?;
    check_dialog_fields(request)?;
    check_numbers(headers)?;
    check_contacts(request)?;
    check_body(request)
}

fn check_presence(headers: &Headers) -> Result<(), String> {
    for name in MANDATORY {
        if headers.get(name).is_none_or(str::is_empty) {
            return Err(format!("Missing {name} Header Field"));
        }
    }
    let mut seen = [false; SINGLE.len()];
    for field in headers {
        let single = SINGLE
            .iter()
            .zip(&mut seen)
            .find(|(name, _)| field.is(name));
        if let Some((name, seen)) = single
            && std::mem::replace(seen, true)
        {
            return Err(format!("Repeated {name} Header Field"));
        }
    }
    Ok(())
}

fn check_request_uri(text: &str) -> Result<(), Rejection> {
    match AnyUri::parse(text) {
        Ok(AnyUri::Sip(uri)) if uri.headers.is_some() => {
            Err(Rejection::new(400, "Header Fields In Request-URI"))
        }
        Ok(AnyUri::Sip(_)) => Ok(()),
        Ok(AnyUri::Other(_)) => Err(Rejection::new(416, "Unsupported URI Scheme")),
        Err(error) => Err(Rejection::new(400, format!("Bad Request-URI: {error}"))),
    }
}

fn check_dialog_fields(request: &Request) -> Result<(), Rejection> {
    let headers = &request.headers;
    for via in headers.values("Via") {
        Via::parse(via).map_err(|_| malformed("Via"))?;
    }
    for (name, value) in [("From", headers.from()), ("To", headers.to())] {
        let address = value.map_err(|_| malformed(name))?;
        if tag_count(&address) > 1 {
            return Err(Rejection::new(400, format!("Repeated {name} Tag")));
        }
    }
    if headers.call_id().is_some_and(|id| id.contains([' ', '\t'])) {
        return Err(malformed("Call-ID"));
    }
    let cseq: CSeq = headers.cseq().map_err(|_| malformed("CSeq"))?;
    if cseq.method != request.method {
        return Err(Rejection::new(400, "CSeq Method Does Not Match"));
    }
    Ok(())
}

fn malformed(name: &str) -> Rejection {
    Rejection::new(400, format!("Malformed {name} Header Field"))
}

fn tag_count(address: &NameAddr) -> usize {
    let is_tag = |(name, _): &&(String, Option<String>)| name.eq_ignore_ascii_case("tag");
    address.params.iter().filter(is_tag).count()
}

fn check_numbers(headers: &Headers) -> Result<(), Rejection> {
    headers.expires().map_err(|_| malformed("Expires"))?;
    match headers.max_forwards() {
        Err(_) => Err(malformed("Max-Forwards")),
        Ok(Some(0)) => Err(Rejection::new(483, "Too Many Hops")),
        Ok(_) => Ok(()),
    }
}

/// A SUBSCRIBE that starts a subscription says where its NOTIFYs go (RFC 6665 §8.2.4).
fn check_contacts(request: &Request) -> Result<(), Rejection> {
    let headers = &request.headers;
    for value in headers.values("Contact") {
        let contact = Contact::parse(value).map_err(|_| malformed("Contact"))?;
        if contact == Contact::Any && request.method != Method::REGISTER {
            return Err(malformed("Contact"));
        }
    }
    let in_dialog = headers.to().is_ok_and(|to| to.tag().is_some());
    if request.method == Method::SUBSCRIBE && !in_dialog && !headers.contains("Contact") {
        return Err(Rejection::new(400, "Missing Contact Header Field"));
    }
    Ok(())
}

fn check_body(request: &Request) -> Result<(), Rejection> {
    let headers = &request.headers;
    let media = headers
        .content_type()
        .map_err(|_| malformed("Content-Type"))?;
    if media.is_none() && !request.body.is_empty() {
        return Err(Rejection::new(400, "Missing Content-Type Header Field"));
    }
    let identity = |coding: &str| coding.eq_ignore_ascii_case("identity");
    if request.method != Method::MESSAGE && !headers.values("Content-Encoding").all(identity) {
        return Err(Rejection::new(415, "Unsupported Media Type")
            .with("Accept-Encoding", "identity".to_owned()));
    }
    Ok(())
}

/// Checks that this element serves the method (405 for one that it knows, 501 for any other) and every extension that
/// the request requires (420). ACK and CANCEL are never refused for `Require` (RFC 3261 §8.2.2.3).
///
/// # Errors
/// [`Rejection`].
pub fn validate_support(request: &Request, offer: &Offer<'_>) -> Result<(), Rejection> {
    if !offer.methods.contains(&request.method) {
        let allow: Vec<&str> = offer.methods.iter().map(Method::as_str).collect();
        let rejection = if request.method.is_known() {
            Rejection::new(405, "Method Not Allowed")
        } else {
            Rejection::new(501, "Not Implemented")
        };
        return Err(rejection.with("Allow", allow.join(", ")));
    }
    if matches!(request.method, Method::ACK | Method::CANCEL) {
        return Ok(());
    }
    let supported = |tag: &str| {
        offer
            .extensions
            .iter()
            .any(|known| known.eq_ignore_ascii_case(tag))
    };
    let unsupported: Vec<&str> = request
        .headers
        .values("Require")
        .filter(|tag| !supported(tag))
        .collect();
    if unsupported.is_empty() {
        return Ok(());
    }
    Err(Rejection::new(420, "Bad Extension").with("Unsupported", unsupported.join(", ")))
}

/// Checks a response that came back to a request of ours: mandatory header fields once each, addresses, `CSeq`, and exactly
/// one `Via` value, ours (RFC 3261 §8.1.3.3, §18.1.2). What it may repeat or leave out besides takes nothing from what it
/// says of the request.
///
/// # Errors
/// [`Unusable`]: drop it.
pub fn validate_response(response: &Response) -> Result<(), Unusable> {
    let headers = &response.headers;
    for name in MANDATORY {
        if headers.get(name).is_none_or(str::is_empty) {
            return Err(Unusable("missing header field"));
        }
        if name != "Via" && headers.get_all(name).nth(1).is_some() {
            return Err(Unusable("repeated header field"));
        }
    }
    let mut vias = headers.values("Via");
    if vias.next().is_none_or(|via| Via::parse(via).is_err()) {
        return Err(Unusable("malformed Via"));
    }
    if vias.next().is_some() {
        return Err(Unusable("more than one Via value"));
    }
    headers.cseq().map_err(|_| Unusable("malformed CSeq"))?;
    headers.from().map_err(|_| Unusable("malformed From"))?;
    headers.to().map_err(|_| Unusable("malformed To"))?;
    Ok(())
}
