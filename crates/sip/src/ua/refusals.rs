//! What is refused, in which order it is looked at, and with which words (RFC 3261 §8.2, RFC 6665, RFC 3428).

use std::time::Duration;

use stox_core::address::SipAddress;

use super::edge;
use super::effects::Env;
use super::trust::SipDomain;
use crate::adapt;
use crate::adapt::presence::Format;
use crate::body::{coding, conference_info, keyboard, sdp};
use crate::dialog;
use crate::grammar::trim;
use crate::header::{Event, HeaderValue, NameAddr};
use crate::message::{Request, Response};
use crate::method::Method;
use crate::transport::{Source, Transport};
use crate::uri::{AnyUri, Scheme, same_host};
use crate::validate::{Offer, Rejection, validate_request, validate_support};

/// The event package that we serve (RFC 3856 §6.1).
pub(super) const PACKAGE: &str = "presence";
/// The methods that we serve.
const SERVED: &[Method] = &[
    Method::INVITE,
    Method::ACK,
    Method::CANCEL,
    Method::BYE,
    Method::INFO,
    Method::UPDATE,
    Method::MESSAGE,
    Method::SUBSCRIBE,
    Method::NOTIFY,
    // COMPAT(ocs): best-effort NOTIFY, never answered.
    Method::BENOTIFY,
    Method::OPTIONS,
];
/// After how many seconds a busy gateway may be asked again.
const RETRY_AFTER: &str = "5";

/// Why a request is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refusal {
    /// By the message layer.
    Rejected(Rejection),
    /// A field is missing or cannot be read.
    Malformed(String),
    /// The sender is not spoken for by the connection.
    Forbidden,
    /// The sender hides, and XMPP has no way to say so (RFC 5079).
    Anonymous,
    /// The domain is none of ours.
    NotFound,
    /// `Accept` lacks what we can make.
    NotAcceptable,
    /// A scheme that is not translated.
    BadScheme,
    /// `Expires` is shorter than this.
    TooBrief(Duration),
    /// No such dialog or subscription.
    NoDialog,
    /// Another event package.
    BadEvent,
    /// A request out of order in its dialog.
    StaleCseq,
    /// Over a limit.
    Busy,
    /// INVITE: nothing in its description is taken, or it asks for a file transfer or a conference.
    NoMedia,
    /// INVITE: its body is no session description.
    NoDescription,
    /// INVITE: a conversation of more than two.
    GroupChat,
    /// INFO: it is no notice of typing.
    NoTyping,
    /// REFER: the conversation goes nowhere else.
    NoTransfer,
    /// SUBSCRIBE to a room: its sender is not in it.
    NotInRoom,
    /// SUBSCRIBE to a room: `Accept` lacks conference documents.
    NoConferenceInfo,
}

impl Refusal {
    /// Status, words, and the field that goes with them.
    fn parts(&self) -> (u16, &str, Option<(&'static str, String)>) {
        let with = |name, value: &str| Some((name, value.to_owned()));
        match self {
            Self::Rejected(rejection) => (rejection.status, &rejection.reason, None),
            Self::Malformed(what) => (400, what, None),
            Self::Forbidden => (403, "Sender Not Authenticated For Its Domain", None),
            Self::Anonymous => (433, "Anonymity Disallowed", None),
            Self::NotFound => (404, "Not Found", None),
            Self::NotAcceptable => {
                let accept = Some(("Accept", adapt::presence::accept(&[Format::Pidf])));
                (406, "Not Acceptable", accept)
            }
            Self::BadScheme => (416, "Unsupported URI Scheme", None),
            Self::TooBrief(least) => {
                let least = least.as_secs().to_string();
                (423, "Interval Too Brief", with("Min-Expires", &least))
            }
            Self::NoMedia => (488, "Not Acceptable Here", None),
            Self::NoDescription => {
                let accept = with("Accept", sdp::CONTENT_TYPE);
                (415, "Unsupported Media Type", accept)
            }
            Self::GroupChat => (606, "Not Acceptable", None),
            Self::NoTyping => {
                let accept = with("Accept", keyboard::CONTENT_TYPE);
                (415, "Unsupported Media Type", accept)
            }
            Self::NoTransfer => (603, "Decline", None),
            Self::NotInRoom => (403, "Not In The Room", None),
            Self::NoConferenceInfo => {
                let accept = with("Accept", conference_info::CONTENT_TYPE);
                (406, "Not Acceptable", accept)
            }
            Self::NoDialog => (481, "Call/Transaction Does Not Exist", None),
            Self::BadEvent => (489, "Bad Event", with("Allow-Events", PACKAGE)),
            Self::StaleCseq => (500, "CSeq Out Of Order", None),
            Self::Busy => (503, "Service Unavailable", with("Retry-After", RETRY_AFTER)),
        }
    }

    /// The response that says so.
    pub(super) fn response(&self, request: &Request, env: &mut Env<'_>) -> Response {
        let (status, reason, field) = self.parts();
        let mut response = env.response(request, status, reason);
        let rejection = match self {
            Self::Rejected(rejection) => rejection.headers.as_slice(),
            _ => &[],
        };
        for (name, value) in field.iter().chain(rejection) {
            response.headers.push(name, value);
        }
        let why = adapt::diagnostics::of_refusal(status);
        edge::explain(&mut response, request, why, env);
        response
    }
}

/// The answer to OPTIONS: what we are able to do (RFC 3261 §11.2). Who may have made up its address is told only that we
/// live: whoever owns that address would get the long answer.
pub(super) fn options(request: &Request, source: &Source, env: &mut Env<'_>) -> Response {
    let mut response = env.response(request, 200, "OK");
    let is_of_partner = |domain: &SipDomain| domain.trusts_address(source.remote.ip());
    if source.transport == Transport::Udp && !env.settings.sip_domains.iter().any(is_of_partner) {
        return response;
    }
    let headers = &mut response.headers;
    headers.push("Allow", allow());
    headers.push("Accept", adapt::im::accept());
    headers.push("Accept-Encoding", coding::ACCEPTED);
    headers.push("Allow-Events", PACKAGE);
    headers.push("Supported", "");
    response
}

/// The checks that every request has to pass (RFC 3261 §8.2, §16.3): it is well-formed, has hops left, and asks for a
/// method, extensions and schemes that we serve. `Proxy-Require` is for proxies, and we are none: `ms-benotify` there
/// does no harm.
pub(super) fn check(request: &Request) -> Result<(), Refusal> {
    validate_request(request).map_err(Refusal::Rejected)?;
    if is_for_session(request) {
        return Err(Refusal::NoDialog);
    }
    support(request, SERVED)
}

/// The same for a REFER, which only conferences serve.
pub(super) fn check_refer(request: &Request) -> Result<(), Refusal> {
    validate_request(request).map_err(Refusal::Rejected)?;
    support(request, &[Method::REFER])
}

fn support(request: &Request, methods: &[Method]) -> Result<(), Refusal> {
    let offer = Offer {
        methods,
        extensions: &[],
    };
    validate_support(request, &offer).map_err(Refusal::Rejected)?;
    schemes(request)
}

/// A request inside a dialog of a kind that we never have, such as BYE (RFC 3261 §15.1.2).
fn is_for_session(request: &Request) -> bool {
    let method = &request.method;
    method.is_known() && !SERVED.contains(method) && to_tag(request).is_some()
}

/// `sips` promises protection to the end, which a translation cannot keep (RFC 7247 §8); schemes without user and host
/// name nobody.
fn schemes(request: &Request) -> Result<(), Refusal> {
    let to = request.headers.to().ok().map(|to| to.uri);
    let target = AnyUri::parse(&request.uri).ok();
    let served = |uri: &AnyUri| uri.as_sip().is_some_and(|uri| uri.scheme != Scheme::Sips);
    if to.as_ref().is_some_and(served) && target.as_ref().is_some_and(served) {
        Ok(())
    } else {
        Err(Refusal::BadScheme)
    }
}

/// What a SUBSCRIBE must ask for (RFC 6665 §4.2.1.1).
pub(super) fn check_subscribe(request: &Request) -> Result<(), Refusal> {
    if matches!(request.headers.event(), Ok(Some(event)) if is_presence(&event)) {
        Ok(())
    } else {
        Err(Refusal::BadEvent)
    }
}

/// Whether the package is ours, whatever its parameters.
pub(super) fn is_presence(event: &Event) -> bool {
    event.package == PACKAGE
}

/// The tag in `To`: the request belongs to a dialog.
pub(super) fn to_tag(request: &Request) -> Option<String> {
    request.headers.get("To").and_then(dialog::tag)
}

/// The sender, by `From` and nothing else.
pub(super) fn sender(request: &Request) -> Result<SipAddress, Refusal> {
    let from = request.headers.from().ok();
    from.and_then(|from| adapt::address::from_name_addr(&from).ok())
        .ok_or_else(|| Refusal::Malformed("From Names No SIP Address".to_owned()))
}

/// The sender that a proxy asserts, unless he wants it kept from those that the proxy does not trust, as XMPP is
/// (RFC 3325 §7, §9.1).
pub(super) fn asserted(request: &Request) -> Option<SipAddress> {
    let headers = &request.headers;
    let withheld = headers
        .get_all("Privacy")
        .flat_map(|value| value.split(';'))
        .any(|wish| {
            WITHHOLDING
                .iter()
                .any(|known| trim(wish).eq_ignore_ascii_case(known))
        });
    let mut asserted = headers.values("P-Asserted-Identity").take(MAX_ASSERTED);
    let address = |value: &str| {
        let identity = NameAddr::parse(value).ok()?;
        adapt::address::from_name_addr(&identity).ok()
    };
    (!withheld).then(|| asserted.find_map(address)).flatten()
}

/// The wishes of `Privacy` that have an asserted identity withheld (RFC 3325 §9.3, RFC 3323 §4.2).
const WITHHOLDING: [&str; 3] = ["id", "user", "header"];
/// The most asserted identities that are looked at: one URI of SIP and one telephone number (RFC 3325 §9.1), and some
/// patience.
const MAX_ASSERTED: usize = 4;
/// The domain of those who hide (RFC 3323 §4.1.1.3).
const ANONYMOUS: &str = "anonymous.invalid";

/// Whether the sender hides.
pub(super) fn is_anonymous(sender: &SipAddress) -> bool {
    same_host(&sender.host, ANONYMOUS)
}

/// The user that is asked for, by the Request-URI.
pub(super) fn recipient(request: &Request) -> Result<SipAddress, Refusal> {
    adapt::address::from_text(&request.uri).map_err(|_| Refusal::BadScheme)
}

/// The methods that we serve, for `Allow`.
pub(super) fn allow() -> String {
    let names: Vec<&str> = SERVED.iter().map(Method::as_str).collect();
    names.join(", ")
}
