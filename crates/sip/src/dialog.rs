//! Dialogs (RFC 3261 §12): who the two ends are, in which order their requests came, and the way between them.

use crate::header::{HeaderValue, Headers, NameAddr};
use crate::message::{Request, Response};
use crate::method::Method;

/// Where the value of `Max-Forwards` starts (RFC 3261 §8.1.1.6).
pub(crate) const MAX_FORWARDS: &str = "70";

/// What makes a message unable to set up a dialog.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DialogError {
    /// A field that every dialog needs is missing or cannot be read. The peer is at fault.
    #[error("{0} is missing or cannot be read")]
    Field(&'static str),
}

/// How a request stands to the ones before it in its dialog (RFC 3261 §12.2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// A later one.
    Next,
    /// The last one once more, in another transaction.
    Repeated,
    /// An earlier one: 500.
    Stale,
}

/// One dialog, from our end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dialog {
    call_id: String,
    local: String,
    local_tag: String,
    remote: String,
    remote_tag: String,
    local_cseq: u32,
    remote_cseq: Option<u32>,
    target: String,
    routes: Vec<String>,
}

impl Dialog {
    /// The dialog that a request of the peer sets up (RFC 3261 §12.1.1). `local` is what its `To` becomes, our tag
    /// included; `local_cseq` is the number of our last request in it.
    ///
    /// # Errors
    /// A field is missing. Without `Contact`, `target` has to say where the peer is.
    pub fn from_request(
        request: &Request,
        local: String,
        local_cseq: u32,
        target: Option<&str>,
    ) -> Result<Self, DialogError> {
        let headers = &request.headers;
        let remote = field(headers, "From")?.to_owned();
        let cseq = headers.cseq().map_err(|_| DialogError::Field("CSeq"))?;
        Ok(Self {
            call_id: field(headers, "Call-ID")?.to_owned(),
            local_tag: tag(&local).ok_or(DialogError::Field("To"))?,
            local,
            remote_tag: tag(&remote).unwrap_or_default(),
            remote,
            local_cseq,
            remote_cseq: Some(cseq.number),
            target: contact(headers)
                .or_else(|| target.map(str::to_owned))
                .ok_or(DialogError::Field("Contact"))?,
            routes: record_routes(headers),
        })
    }

    /// The dialog that a 2xx to a request of ours sets up (RFC 3261 §12.1.2). `local` was its `From`.
    ///
    /// # Errors
    /// A field is missing in the response, or its `To` cannot be read: requests in the dialog would have to repeat it.
    pub fn from_response(
        local: &str,
        call_id: &str,
        cseq: u32,
        response: &Response,
    ) -> Result<Self, DialogError> {
        let remote = field(&response.headers, "To")?.to_owned();
        let to = NameAddr::parse(&remote).map_err(|_| DialogError::Field("To"))?;
        let mut routes = record_routes(&response.headers);
        routes.reverse();
        Ok(Self {
            call_id: call_id.to_owned(),
            local_tag: tag(local).ok_or(DialogError::Field("From"))?,
            local: local.to_owned(),
            remote_tag: to.tag().unwrap_or_default().to_owned(),
            remote,
            local_cseq: cseq,
            remote_cseq: None,
            target: contact(&response.headers).ok_or(DialogError::Field("Contact"))?,
            routes,
        })
    }

    /// `Call-ID`, octet by octet.
    #[must_use]
    pub fn call_id(&self) -> &str {
        &self.call_id
    }

    /// Our `From` or `To` value, tag included.
    pub(crate) fn local(&self) -> &str {
        &self.local
    }

    /// Our tag.
    #[must_use]
    pub fn local_tag(&self) -> &str {
        &self.local_tag
    }

    /// The peer's tag; empty for an agent of RFC 2543.
    #[must_use]
    pub fn remote_tag(&self) -> &str {
        &self.remote_tag
    }

    /// The URI that requests to the peer carry, octet by octet as it came in `Contact`.
    #[must_use]
    pub fn target(&self) -> &str {
        &self.target
    }

    /// The URI of the next element on the way: the first route, else the target (RFC 3261 §12.2.1.1).
    #[must_use]
    pub fn next_hop(&self) -> String {
        self.routes
            .first()
            .and_then(|route| read_route(route))
            .map_or_else(|| self.target.clone(), |(uri, _)| uri)
    }

    /// Whether the peer's proxies asked to stay on the way.
    #[must_use]
    pub fn is_routed(&self) -> bool {
        !self.routes.is_empty()
    }

    /// Sends this dialog's requests by way of an element that did not ask for it.
    pub fn route_through(&mut self, uri: &str) {
        self.routes.insert(0, format!("<{uri};lr>"));
    }

    /// A request in the dialog, with the next CSeq, route set and identities filled in (RFC 3261 §12.2.1.1).
    pub fn request(&mut self, method: Method) -> Request {
        self.local_cseq = self.local_cseq.wrapping_add(1);
        let (uri, routes) = self.path();
        let mut request = Request::new(method.clone(), uri);
        let headers = &mut request.headers;
        for route in routes {
            headers.push("Route", route);
        }
        headers.push("Max-Forwards", MAX_FORWARDS);
        headers.push("From", &self.local);
        headers.push("To", &self.remote);
        headers.push("Call-ID", &self.call_id);
        headers.push("CSeq", format!("{} {}", self.local_cseq, method.as_str()));
        request
    }

    /// The ACK for a 2xx to our INVITE of that number (RFC 3261 §13.2.2.4).
    pub fn ack(&self, number: u32) -> Request {
        let mut numbered = self.clone();
        numbered.local_cseq = number.wrapping_sub(1);
        numbered.request(Method::ACK)
    }

    /// Request-URI and `Route` values. A first route without `lr` is a strict router: it gets the Request-URI and the
    /// target comes last.
    fn path(&self) -> (String, Vec<String>) {
        match self.routes.first().and_then(|route| read_route(route)) {
            Some((uri, false)) => {
                let mut routes: Vec<String> = self.routes.iter().skip(1).cloned().collect();
                routes.push(format!("<{}>", self.target));
                (uri, routes)
            }
            _ => (self.target.clone(), self.routes.clone()),
        }
    }

    /// Takes the next number for a request that is sent again with other content (RFC 3261 §22.2).
    pub fn next_cseq(&mut self) -> u32 {
        self.local_cseq = self.local_cseq.wrapping_add(1);
        self.local_cseq
    }

    /// Takes a request of the peer into account: its order, and its `Contact` as the new target (RFC 3261 §12.2.2).
    pub fn receive(&mut self, request: &Request) -> Order {
        let number = request.headers.cseq().ok().map(|cseq| cseq.number);
        match (number, self.remote_cseq) {
            (None, _) => return Order::Stale,
            (Some(new), Some(last)) if new < last => return Order::Stale,
            (Some(new), Some(last)) if new == last => return Order::Repeated,
            (Some(new), _) => self.remote_cseq = Some(new),
        }
        self.refresh_target(&request.headers);
        Order::Next
    }

    /// A 2xx to a request of ours may move the target (RFC 6665 §4.4.1).
    pub fn refresh_target(&mut self, headers: &Headers) {
        if let Some(target) = contact(headers) {
            self.target = target;
        }
    }
}

/// The `tag` of a `From` or `To` value.
pub(crate) fn tag(value: &str) -> Option<String> {
    NameAddr::parse(value).ok()?.tag().map(str::to_owned)
}

fn field<'a>(headers: &'a Headers, name: &'static str) -> Result<&'a str, DialogError> {
    headers.get(name).ok_or(DialogError::Field(name))
}

/// The URI of the first `Contact`.
fn contact(headers: &Headers) -> Option<String> {
    headers.contact().ok()?;
    NameAddr::raw_uri(headers.values("Contact").next()?).map(str::to_owned)
}

fn record_routes(headers: &Headers) -> Vec<String> {
    headers.values("Record-Route").map(str::to_owned).collect()
}

/// The URI of a route, and whether it names a loose router (RFC 3261 §16.12).
fn read_route(value: &str) -> Option<(String, bool)> {
    let route = NameAddr::parse(value).ok()?;
    let loose = route.sip_uri().is_some_and(|uri| uri.has_param("lr"));
    Some((NameAddr::raw_uri(value)?.to_owned(), loose))
}
