//! SIP messages (RFC 3261 §7), kept to the octet and read on use.

use bytes::{BufMut, Bytes, BytesMut};

use crate::grammar::{digits, is_control, one_line};
use crate::header::Headers;
use crate::method::Method;

/// A request or a response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// A request.
    Request(Request),
    /// A response.
    Response(Response),
}

/// A request (RFC 3261 §7.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// What is asked.
    pub method: Method,
    /// The Request-URI as received.
    pub uri: String,
    /// The header fields.
    pub headers: Headers,
    /// The body; as many octets as `Content-Length` says.
    pub body: Bytes,
}

/// A response (RFC 3261 §7.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// 100 to 699.
    pub status: u16,
    /// The reason phrase, possibly empty.
    pub reason: String,
    /// The header fields.
    pub headers: Headers,
    /// The body; as many octets as `Content-Length` says.
    pub body: Bytes,
}

/// What a response repeats of its request besides `Via` (RFC 3261 §8.2.6.2): the first field of each name, so that the
/// answer to a request with two of them is itself legal.
const REPEATED: [&str; 4] = ["From", "To", "Call-ID", "CSeq"];

impl Message {
    /// The header fields of either kind.
    #[must_use]
    pub fn headers(&self) -> &Headers {
        match self {
            Self::Request(request) => &request.headers,
            Self::Response(response) => &response.headers,
        }
    }

    /// The header fields of either kind, to be changed.
    pub fn headers_mut(&mut self) -> &mut Headers {
        match self {
            Self::Request(request) => &mut request.headers,
            Self::Response(response) => &mut response.headers,
        }
    }

    /// The body of either kind.
    #[must_use]
    pub fn body(&self) -> &Bytes {
        match self {
            Self::Request(request) => &request.body,
            Self::Response(response) => &response.body,
        }
    }

    /// The message in octets. See [`Request::to_bytes`].
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        match self {
            Self::Request(request) => request.to_bytes(),
            Self::Response(response) => response.to_bytes(),
        }
    }
}

impl From<Request> for Message {
    fn from(request: Request) -> Self {
        Self::Request(request)
    }
}

impl From<Response> for Message {
    fn from(response: Response) -> Self {
        Self::Response(response)
    }
}

impl Request {
    /// A request without header fields and body.
    #[must_use]
    pub fn new(method: Method, uri: impl Into<String>) -> Self {
        Self {
            method,
            uri: uri.into(),
            headers: Headers::new(),
            body: Bytes::new(),
        }
    }

    /// The request in octets. `Content-Length` is written right, whatever the header fields say; white space and
    /// control characters in [`Request::uri`] are percent-encoded, so that nothing can end the start line.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        let mut start = String::with_capacity(self.uri.len() + 24);
        start.push_str(self.method.as_str());
        start.push(' ');
        push_uri(&mut start, &self.uri);
        start.push_str(" SIP/2.0");
        write(&start, &self.headers, &self.body)
    }
}

impl Response {
    /// A response to a request, with the header fields that it must repeat (RFC 3261 §8.2.6.2): every `Via` in
    /// order, `From`, `To`, `Call-ID` and `CSeq` to the octet, and `Timestamp` in a 100. The `To` tag is the caller's:
    /// [`Headers::ensure_to_tag`].
    #[must_use]
    pub fn for_request(request: &Request, status: u16, reason: impl Into<String>) -> Self {
        let mut headers = Headers::new();
        headers.copy_from(&request.headers, "Via");
        for name in REPEATED {
            if let Some(field) = request.headers.fields(name).next() {
                headers.push_field(field.clone());
            }
        }
        if status == 100 {
            headers.copy_from(&request.headers, "Timestamp");
        }
        Self {
            status,
            reason: reason.into(),
            headers,
            body: Bytes::new(),
        }
    }

    /// The response in octets. `Content-Length` is written right, whatever the header fields say; control characters
    /// of the reason phrase become spaces.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        let start = format!("SIP/2.0 {:03} {}", self.status, one_line(&self.reason));
        write(&start, &self.headers, &self.body)
    }
}

fn push_uri(start: &mut String, uri: &str) {
    for c in uri.chars() {
        match u8::try_from(c) {
            Ok(octet) if is_control(octet) || octet.is_ascii_whitespace() => {
                start.push_str(&format!("%{octet:02X}"));
            }
            _ => start.push(c),
        }
    }
}

fn write(start: &str, headers: &Headers, body: &Bytes) -> Bytes {
    let fields: usize = headers
        .iter()
        .map(crate::header::Field::written_length)
        .sum();
    let mut out = BytesMut::with_capacity(start.len() + fields + body.len() + 40);
    out.put_slice(start.as_bytes());
    out.put_slice(b"\r\n");
    let mut length_written = false;
    for field in headers {
        if !field.is("Content-Length") {
            field.write(&mut out);
        } else if !length_written {
            length_written = true;
            if digits(field.value()) == u64::try_from(body.len()).ok() {
                field.write(&mut out);
            } else {
                write_length(&mut out, body.len());
            }
        }
    }
    if !length_written {
        write_length(&mut out, body.len());
    }
    out.put_slice(b"\r\n");
    out.put_slice(body);
    out.freeze()
}

fn write_length(out: &mut BytesMut, length: usize) {
    out.put_slice(b"Content-Length: ");
    out.put_slice(length.to_string().as_bytes());
    out.put_slice(b"\r\n");
}
