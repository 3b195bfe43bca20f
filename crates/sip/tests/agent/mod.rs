//! A user agent under test on virtual time, and the words to talk to it as a peer and as the bridge.
#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests may fail a test"
)]

pub(crate) mod session;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use stox_core::address::SipAddress;
use stox_core::policy::DomainPattern;
use stox_core::time::{Now, SeededEntropy};
use stox_core::vocab::{Ref, SipIn, SipOut};
use stox_sip::header::{HeaderValue, NameAddr};
use stox_sip::message::{Message, Request, Response};
use stox_sip::target::TargetError;
use stox_sip::transport::{Destination, FlowId, Source, Target, Transmit, Transport};
use stox_sip::ua::settings::Settings;
use stox_sip::ua::trust::{AddressBlock, SipDomain};
use stox_sip::ua::{Resolve, UserAgent};

pub(crate) const EDGE: &str = "192.0.2.10:5061";

/// The fixed world of the test vectors: jabber.example is ours, ocs.example is a peer at [`EDGE`].
pub(crate) fn world() -> Settings {
    let mut settings = Settings::new("gw.jabber.example");
    settings.xmpp_domains = vec![DomainPattern::parse("jabber.example")];
    settings.sip_domains = vec![SipDomain {
        trusted_addresses: vec![AddressBlock::single(
            EDGE.parse::<SocketAddr>().unwrap().ip(),
        )],
        ..SipDomain::new("ocs.example")
    }];
    settings
}

/// What the user agent sent, and where to.
#[derive(Debug, Clone)]
pub(crate) struct Sent {
    pub(crate) destination: Destination,
    pub(crate) message: Message,
}

impl Sent {
    pub(crate) fn request(&self) -> &Request {
        match &self.message {
            Message::Request(request) => request,
            Message::Response(response) => panic!("a response was sent: {response:?}"),
        }
    }

    pub(crate) fn response(&self) -> &Response {
        match &self.message {
            Message::Response(response) => response,
            Message::Request(request) => panic!("a request was sent: {request:?}"),
        }
    }
}

pub(crate) trait Fields {
    fn field(&self, name: &str) -> &str;
    fn tag(&self, name: &str) -> String;
}

impl Fields for Message {
    fn field(&self, name: &str) -> &str {
        self.headers().get(name).unwrap_or_default()
    }

    fn tag(&self, name: &str) -> String {
        let value = NameAddr::parse(self.field(name)).unwrap();
        value.tag().unwrap_or_default().to_owned()
    }
}

impl Fields for Request {
    fn field(&self, name: &str) -> &str {
        self.headers.get(name).unwrap_or_default()
    }

    fn tag(&self, name: &str) -> String {
        let value = NameAddr::parse(self.field(name)).unwrap();
        value.tag().unwrap_or_default().to_owned()
    }
}

impl Fields for Response {
    fn field(&self, name: &str) -> &str {
        self.headers.get(name).unwrap_or_default()
    }

    fn tag(&self, name: &str) -> String {
        let value = NameAddr::parse(self.field(name)).unwrap();
        value.tag().unwrap_or_default().to_owned()
    }
}

/// One user agent and its surroundings.
pub(crate) struct Agent {
    pub(crate) ua: UserAgent,
    pub(crate) now: Now,
    /// Where what it hears comes from.
    pub(crate) source: Source,
    /// Where every name resolves to.
    pub(crate) target: Result<Vec<Target>, TargetError>,
    sent: VecDeque<Sent>,
    pub(crate) resolved: Vec<Resolve>,
    next_branch: u32,
}

pub(crate) fn tls(address: &str, name: &str) -> Target {
    Target {
        transport: Transport::Tls,
        address: address.parse().unwrap(),
        name: name.to_owned(),
        also: Vec::new(),
    }
}

pub(crate) fn from_edge(transport: Transport) -> Source {
    Source {
        flow: FlowId(7),
        transport,
        remote: EDGE.parse().unwrap(),
        certificate_names: Vec::new(),
    }
}

impl Agent {
    pub(crate) fn new() -> Self {
        Self::with(world())
    }

    pub(crate) fn with(settings: Settings) -> Self {
        Self {
            ua: UserAgent::new(settings, Box::new(SeededEntropy(7))),
            now: Now {
                mono: Duration::from_secs(100),
                wall: Duration::from_secs(1_772_000_000),
            },
            source: from_edge(Transport::Tls),
            target: Ok(vec![tls(EDGE, "ocs.example")]),
            sent: VecDeque::new(),
            resolved: Vec::new(),
            next_branch: 0,
        }
    }

    /// Hears octets from its source, as a datagram or one frame.
    pub(crate) fn hears(&mut self, text: &str) {
        let source = self.source.clone();
        self.ua.receive_datagram(&source, text.as_bytes(), self.now);
        self.pump();
    }

    pub(crate) fn does(&mut self, out: SipOut) {
        self.ua.command(out, self.now);
        self.pump();
    }

    /// Answers every question about names and takes what goes out.
    pub(crate) fn pump(&mut self) {
        loop {
            if let Some(question) = self.ua.poll_resolve() {
                self.resolved.push(question.clone());
                self.ua.resolved(question.id, self.target.clone(), self.now);
            } else if let Some(Transmit { destination, bytes }) = self.ua.poll_transmit() {
                let message = Message::parse_datagram(&bytes).expect("we send what can be read");
                self.sent.push_back(Sent {
                    destination,
                    message,
                });
            } else {
                return;
            }
        }
    }

    /// Lets time pass, waking it whenever it asks for it.
    pub(crate) fn passes(&mut self, time: Duration) {
        let end = self.now.after(time);
        while let Some(at) = self.ua.poll_timeout().filter(|at| *at <= end.mono) {
            self.now = self.now.after(at.saturating_sub(self.now.mono));
            self.ua.handle_timeout(self.now);
            self.pump();
        }
        self.now = end;
    }

    pub(crate) fn passes_seconds(&mut self, seconds: u64) {
        self.passes(Duration::from_secs(seconds));
    }

    /// The next message that went out.
    pub(crate) fn says(&mut self) -> Sent {
        self.sent.pop_front().expect("something was sent")
    }

    pub(crate) fn says_request(&mut self, method: &str) -> Request {
        let sent = self.says();
        assert_eq!(sent.request().method.as_str(), method, "{sent:?}");
        sent.request().clone()
    }

    pub(crate) fn says_response(&mut self, status: u16) -> Response {
        let sent = self.says();
        assert_eq!(sent.response().status, status, "{sent:?}");
        sent.response().clone()
    }

    /// The requests among what went out, everything else forgotten.
    pub(crate) fn says_requests(&mut self) -> Vec<Request> {
        let sent = std::mem::take(&mut self.sent);
        sent.into_iter()
            .filter_map(|sent| match sent.message {
                Message::Request(request) => Some(request),
                Message::Response(_) => None,
            })
            .collect()
    }

    /// The responses among what went out, everything else forgotten.
    pub(crate) fn says_responses(&mut self) -> Vec<Response> {
        let sent = std::mem::take(&mut self.sent);
        sent.into_iter()
            .filter_map(|sent| match sent.message {
                Message::Response(response) => Some(response),
                Message::Request(_) => None,
            })
            .collect()
    }

    /// Everything that went out.
    pub(crate) fn said(&mut self) -> Vec<Sent> {
        std::mem::take(&mut self.sent).into()
    }

    /// The next word to the bridge.
    pub(crate) fn tells(&mut self) -> SipIn {
        self.ua.poll_input().expect("the bridge was told something")
    }

    /// Nothing is left to say to anybody.
    pub(crate) fn is_silent(&mut self) {
        assert_eq!(self.ua.poll_input(), None);
        assert!(self.sent.is_empty(), "{:?}", self.sent);
    }

    /// Hears the answer to a request that it sent.
    pub(crate) fn hears_answer(&mut self, request: &Request, status: u16, more: &str) {
        self.hears_answer_with(request, status, more, "");
    }

    /// Hears an answer with a body.
    pub(crate) fn hears_answer_with(
        &mut self,
        request: &Request,
        status: u16,
        more: &str,
        body: &str,
    ) {
        let mut to = request.field("To").to_owned();
        if request.tag("To").is_empty() {
            to.push_str(";tag=peer5");
        }
        let (via, from) = (request.field("Via"), request.field("From"));
        let (call_id, cseq) = (request.field("Call-ID"), request.field("CSeq"));
        let text = format!(
            "SIP/2.0 {status} Words\r\nVia: {via}\r\nFrom: {from}\r\nTo: {to}\r\nCall-ID: {call_id}\r\nCSeq: {cseq}\r\n\
             {more}Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        self.hears(&text);
    }

    /// Hears a NOTIFY or BENOTIFY of the presentity in the dialog of a SUBSCRIBE that it sent.
    pub(crate) fn hears_notify(&mut self, subscribe: &Request, notify: &Notify<'_>) {
        self.next_branch += 1;
        let branch = self.next_branch;
        let Notify {
            method,
            cseq,
            tag,
            event,
            state,
            contact,
            more,
            body,
        } = notify;
        let (from, to) = (subscribe.field("To"), subscribe.field("From"));
        let from = from.split(';').next().unwrap();
        let contact = if contact.is_empty() {
            String::new()
        } else {
            format!("Contact: {contact}\r\n")
        };
        let uri = NameAddr::parse(subscribe.field("Contact")).unwrap().uri;
        let call_id = subscribe.field("Call-ID");
        let length = body.len();
        let text = format!(
            "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/TLS edge.ocs.example:5061;branch=z9hG4bK-n{branch}\r\n\
             Max-Forwards: 69\r\nFrom: {from};tag={tag}\r\nTo: {to}\r\nCall-ID: {call_id}\r\nCSeq: {cseq} {method}\r\n\
             {contact}{event}{state}{more}Content-Length: {length}\r\n\r\n{body}"
        );
        self.hears(&text);
    }
}

/// The parts of a NOTIFY that tests vary.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Notify<'a> {
    pub(crate) method: &'a str,
    pub(crate) cseq: u32,
    pub(crate) tag: &'a str,
    pub(crate) event: &'a str,
    pub(crate) state: &'a str,
    pub(crate) contact: &'a str,
    pub(crate) more: &'a str,
    pub(crate) body: &'a str,
}

impl Default for Notify<'_> {
    fn default() -> Self {
        Self {
            method: "NOTIFY",
            cseq: 1,
            tag: "peer5",
            event: "Event: presence\r\n",
            state: "Subscription-State: active;expires=1800\r\n",
            contact: "<sip:bruno@edge.ocs.example:5061;transport=tls>",
            more: "",
            body: "",
        }
    }
}

pub(crate) const PIDF_TYPE: &str = "Content-Type: application/pidf+xml\r\n";

pub(crate) const OPEN: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n<presence xmlns=\"urn:ietf:params:xml:ns:pidf\" \
    entity=\"pres:bruno@ocs.example\"><tuple id=\"t1\"><status><basic>open</basic></status></tuple></presence>";

pub(crate) fn address(user: &str, host: &str) -> SipAddress {
    SipAddress {
        scheme: stox_core::address::Scheme::Sip,
        user: Some(user.to_owned()),
        host: host.to_owned(),
        gr: None,
    }
}

pub(crate) fn alma() -> SipAddress {
    address("alma", "jabber.example")
}

pub(crate) fn bruno() -> SipAddress {
    address("bruno", "ocs.example")
}

/// A request from bruno to alma, as the edge sends it. `more` are header lines, each with its line end.
pub(crate) fn from_bruno(
    method: &str,
    branch: &str,
    cseq: u32,
    to_tag: &str,
    more: &str,
    body: &str,
) -> String {
    let to_tag = if to_tag.is_empty() {
        String::new()
    } else {
        format!(";tag={to_tag}")
    };
    let length = body.len();
    format!(
        "{method} sip:alma@jabber.example SIP/2.0\r\nVia: SIP/2.0/TLS edge.ocs.example:5061;branch=z9hG4bK-{branch}\r\n\
         Max-Forwards: 70\r\nFrom: <sip:bruno@ocs.example>;tag=w1;epid=0a1b\r\nTo: <sip:alma@jabber.example>{to_tag}\r\n\
         Call-ID: s2x-1@ocs.example\r\nCSeq: {cseq} {method}\r\n{more}Content-Length: {length}\r\n\r\n{body}"
    )
}

/// One message as octets, for joining two agents.
pub(crate) fn octets(sent: &Sent) -> Bytes {
    sent.message.to_bytes()
}

pub(crate) const REF: Ref = Ref(11);
