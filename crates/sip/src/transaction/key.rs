//! By what a request is known again (RFC 3261 §17.2.3).

use std::net::IpAddr;

use super::via::Stamped;
use crate::header::{HeaderValue, Headers, NameAddr};
use crate::method::Method;
use crate::transport::{Source, Transport};

/// The same for a request, its repetitions, and the ACK of its non-2xx response.
///
/// Beside what RFC 3261 §17.2.3 compares, the peer's address, `Call-ID` and the sequence number must agree: so no peer
/// can occupy the branch of another, and one that uses a branch twice does not lose a request.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct ServerKey {
    peer: IpAddr,
    transport: Transport,
    branch: Branch,
    method: Method,
    call_id: String,
    number: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Branch {
    /// With the magic cookie: the branch and sent-by.
    Unique(String, String),
    /// Without: RFC 2543 peers.
    Old {
        via: String,
        uri: String,
        from_tag: String,
        /// Not for INVITE and ACK, whose `To` tags differ.
        to_tag: Option<String>,
    },
}

impl ServerKey {
    pub(super) fn new(stamped: &Stamped, source: &Source) -> Self {
        let method = match &stamped.request.method {
            &Method::ACK => Method::INVITE,
            other => other.clone(),
        };
        Self {
            peer: source.remote.ip().to_canonical(),
            transport: source.transport,
            branch: Branch::new(stamped, &method),
            method,
            call_id: call_id(&stamped.request.headers),
            number: stamped.cseq.number,
        }
    }

    pub(super) fn is_for(&self, method: &Method) -> bool {
        self.method == *method
    }

    /// The key of the request that a CANCEL is about, if that has this method (RFC 3261 §9.2).
    pub(super) fn cancelled(stamped: &Stamped, source: &Source, method: &Method) -> Self {
        Self {
            branch: Branch::new(stamped, method),
            method: method.clone(),
            ..Self::new(stamped, source)
        }
    }
}

impl Branch {
    fn new(stamped: &Stamped, method: &Method) -> Self {
        let via = &stamped.via;
        if let Some(branch) = via.rfc3261_branch() {
            let port = via.port.map(|p| p.to_string()).unwrap_or_default();
            let sent_by = format!("{}:{port}", via.host.to_ascii_lowercase());
            return Self::Unique(branch.to_owned(), sent_by);
        }
        let headers = &stamped.request.headers;
        Self::Old {
            via: via.to_string(),
            uri: stamped.request.uri.clone(),
            from_tag: tag(headers, "From"),
            to_tag: (*method != Method::INVITE).then(|| tag(headers, "To")),
        }
    }
}

/// The same for copies of one request that came different ways (RFC 3261 §8.2.2.2).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct MergeKey {
    from_tag: String,
    call_id: String,
    number: u32,
    method: Method,
}

impl MergeKey {
    /// `None` for a request inside a dialog, and for one without a `From` tag, which cannot be told apart.
    pub(super) fn new(stamped: &Stamped) -> Option<Self> {
        let headers = &stamped.request.headers;
        let from_tag = tag(headers, "From");
        (tag(headers, "To").is_empty() && !from_tag.is_empty()).then(|| Self {
            from_tag,
            call_id: call_id(headers),
            number: stamped.cseq.number,
            method: stamped.request.method.clone(),
        })
    }
}

/// The same for a 2xx to INVITE and its ACK, which is a transaction of its own (RFC 3261 §13.2.2.4).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct AckKey {
    from_tag: String,
    to_tag: String,
    call_id: String,
    number: u32,
}

impl AckKey {
    /// From the response, or from the ACK.
    pub(super) fn new(headers: &Headers, number: u32) -> Self {
        Self {
            from_tag: tag(headers, "From"),
            to_tag: tag(headers, "To"),
            call_id: call_id(headers),
            number,
        }
    }
}

fn call_id(headers: &Headers) -> String {
    headers.get("Call-ID").unwrap_or_default().to_owned()
}

/// The tag of `From` or `To`, empty where there is none.
fn tag(headers: &Headers, name: &str) -> String {
    headers
        .get(name)
        .and_then(|value| NameAddr::parse(value).ok())
        .and_then(|addr| addr.tag().map(str::to_owned))
        .unwrap_or_default()
}
