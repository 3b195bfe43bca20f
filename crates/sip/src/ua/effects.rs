//! What the usages of a user agent are given to work with, and what they hand back.

use std::collections::{BTreeSet, VecDeque};

use stox_core::failure::Failure;
use stox_core::time::{Entropy, Now};
use stox_core::vocab::{Ref, SipIn};

use super::conference;
use super::edge;
use super::page_message::Page;
use super::refusals::{self, Refusal};
use super::session::{SessionId, Step};
use super::settings::{OwnUser, Settings};
use crate::adapt;
use crate::dialect::{Behaviour, Dialects};
use crate::dialog;
use crate::message::{Request, Response};
use crate::msrp::endpoint::Endpoint;
use crate::transaction::ServerId;
use crate::transport::Source;

/// Which usage a request of ours belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Purpose {
    /// A page-mode message of the bridge.
    Page(Ref),
    /// A receipt or a notice of typing outside a session.
    PageNotice(u64),
    /// A SUBSCRIBE of a subscription of ours.
    Subscription(Ref),
    /// A NOTIFY to a watcher.
    Watcher(Ref),
    /// A BENOTIFY to a watcher, for which no answer comes back.
    Notice(Ref),
    /// A request of a session.
    Session(SessionId, Step),
    /// A request for an XMPP user in a SIP conference.
    Participant(conference::LegId, conference::Step),
    /// A request for a SIP user in an XMPP room.
    Focus(conference::LegId, conference::Step),
    /// A REGISTER of a line at a provider.
    Registration(usize),
    /// The ACK of a 2xx, for which nothing comes back.
    Ack,
    /// A request whose fate nobody waits for.
    Stray,
}

/// The final fate of a request of ours: a final response, or why there is none.
pub(super) type Fate = Result<Response, Failure>;

/// A request to send.
#[derive(Debug, Clone)]
pub(super) struct Outgoing {
    /// Who gets its fate.
    pub(super) purpose: Purpose,
    /// The request without `Via` and `Contact`.
    pub(super) request: Request,
    /// URI of the next element.
    pub(super) next_hop: String,
    /// The peer's own connection, to be tried before that.
    pub(super) over: Option<Source>,
    /// The SIP domain that it is for.
    pub(super) domain: String,
    /// Whom its `Contact` names; `None` where the request has no `Contact`.
    pub(super) contact: Option<OwnUser>,
    /// What its branch should remind of (RFC 7572 Table 1).
    pub(super) branch_hint: Option<String>,
}

/// A request of a peer, and how it can be answered.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    /// The request.
    pub(super) request: Request,
    /// Its server transaction. `None`: it is never answered (BENOTIFY).
    pub(super) server: Option<ServerId>,
    /// Where it came from.
    pub(super) source: Source,
}

/// What the usages ask for.
#[derive(Debug, Default)]
pub(super) struct Effects {
    /// To the bridge.
    pub(super) inputs: VecDeque<SipIn>,
    /// Requests.
    pub(super) requests: VecDeque<Outgoing>,
    /// Answers.
    pub(super) answers: VecDeque<(ServerId, Response)>,
    /// Those of which nothing is remembered once they have gone out.
    pub(super) forgotten: BTreeSet<ServerId>,
    /// INVITEs that are not wanted any more.
    pub(super) cancels: VecDeque<Purpose>,
    /// Messages that go another way, because the peer refused the first.
    pub(super) reroute: VecDeque<Page>,
}

/// What a usage may use during one call.
pub(super) struct Env<'a> {
    pub(super) settings: &'a Settings,
    pub(super) entropy: &'a mut dyn Entropy,
    pub(super) now: Now,
    pub(super) effects: &'a mut Effects,
    pub(super) dialects: &'a mut Dialects,
    pub(super) msrp: &'a mut Endpoint,
}

impl Env<'_> {
    /// How the peer of a domain behaves.
    pub(super) fn behaviour(&self, domain: &str) -> Behaviour {
        self.settings.behaviour(domain, self.dialects)
    }

    /// Tells the bridge.
    pub(super) fn tell(&mut self, input: SipIn) {
        self.effects.inputs.push_back(input);
    }

    /// Sends a request.
    pub(super) fn send(&mut self, outgoing: Outgoing) {
        self.effects.requests.push_back(outgoing);
    }

    /// Answers a request, unless it is one that is never answered.
    pub(super) fn respond(&mut self, asked: &Asked, response: Response) {
        if let Some(server) = asked.server {
            self.effects.answers.push_back((server, response));
        }
    }

    /// Answers with a bare 200. Our tag is in `To` already.
    pub(super) fn accept(&mut self, asked: &Asked) {
        let response = self.response(&asked.request, 200, "OK");
        self.respond(asked, response);
    }

    /// Refuses a request.
    pub(super) fn refuse(&mut self, asked: &Asked, refusal: &Refusal) {
        let response = refusal.response(&asked.request, self);
        self.respond(asked, response);
    }

    /// The response that tells a failure of the bridge.
    pub(super) fn failure(&mut self, request: &Request, failure: &Failure) -> Response {
        let mut response = adapt::failure::to_response(failure, request, &refusals::allow());
        let why = adapt::diagnostics::of_failure(failure);
        edge::explain(&mut response, request, why, self);
        self.complete(request, response)
    }

    /// A response to a request, with our product token, and a tag where `To` has none (RFC 3261 §8.2.6.2).
    pub(super) fn response(&mut self, request: &Request, status: u16, reason: &str) -> Response {
        self.complete(request, Response::for_request(request, status, reason))
    }

    fn complete(&mut self, request: &Request, mut response: Response) -> Response {
        if let Some(to) = request.headers.get("To")
            && dialog::tag(to).is_none()
        {
            let tagged = format!("{to};tag={}", self.entropy.token());
            response.headers.set("To", tagged);
        }
        response.headers.set("Server", &self.settings.product);
        response
    }
}
