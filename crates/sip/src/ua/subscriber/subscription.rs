//! One subscription of ours: its SUBSCRIBEs, and what comes back in its dialog.

use std::time::Duration;

use stox_core::address::SipAddress;
use stox_core::failure::Failure;
use stox_core::vocab::{Document, Ref, Trace};

use crate::adapt;
use crate::dialog::{self, Dialog, MAX_FORWARDS, Order};
use crate::header::Headers;
use crate::message::{Request, Response};
use crate::method::Method;
use crate::ua::effects::{Env, Outgoing, Purpose};
use crate::ua::notifier::PIGGYBACK;
use crate::ua::refusals::{PACKAGE, Refusal};
use crate::ua::settings::OwnUser;

/// The SUBSCRIBE that has no final response yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum InFlight {
    First,
    Refresh,
    Close,
}

#[derive(Debug)]
pub(super) struct Subscription {
    /// Request-URI and `To` of the first SUBSCRIBE.
    pub(super) target: String,
    /// `From` with our tag.
    pub(super) from: String,
    pub(super) watcher: SipAddress,
    pub(super) presentity: SipAddress,
    pub(super) poll: bool,
    /// The gateways that the wish for it has crossed.
    pub(super) trace: Trace,
    pub(super) call_id: String,
    pub(super) local_tag: String,
    /// CSeq of the last SUBSCRIBE outside a dialog.
    pub(super) cseq: u32,
    /// Set up by the first NOTIFY (RFC 6665 §4.4.1).
    pub(super) dialog: Option<Dialog>,
    /// What the 2xx told, in use only until that NOTIFY.
    pub(super) answered: Option<Dialog>,
    pub(super) in_flight: Option<InFlight>,
    /// `Expires` to ask for.
    pub(super) wish: Duration,
    /// How often 423 was obeyed.
    pub(super) brief: u8,
    /// The bridge wants it closed.
    pub(super) closing: bool,
    /// Polls that its first document answers as well.
    pub(super) riders: Vec<Ref>,
    /// The last document, where later ones tell only what has changed.
    pub(super) last: Option<Document>,
    /// The time that was granted last.
    pub(super) granted: Duration,
    pub(super) expires_at: Duration,
    pub(super) last_failure: Option<Failure>,
}

impl Subscription {
    /// The dialog to send in.
    pub(super) fn dialog_mut(&mut self) -> Option<&mut Dialog> {
        self.dialog.as_mut().or(self.answered.as_mut())
    }
}

impl Subscription {
    /// A SUBSCRIBE outside a dialog (RFC 3856 §6.4, §6.5).
    pub(super) fn send_first(&mut self, reference: Ref, env: &mut Env<'_>) {
        self.cseq += 1;
        let mut request = Request::new(Method::SUBSCRIBE, self.target.clone());
        let headers = &mut request.headers;
        headers.push("Max-Forwards", MAX_FORWARDS);
        headers.push("From", &self.from);
        headers.push("To", format!("<{}>", self.target));
        headers.push("Call-ID", &self.call_id);
        headers.push("CSeq", format!("{} {}", self.cseq, Method::SUBSCRIBE));
        adapt::trace::write(headers, &self.trace);
        let next_hop = self.target.clone();
        self.send(reference, InFlight::First, request, next_hop, env);
    }

    /// A SUBSCRIBE in the dialog; `Expires` is zero to close it.
    pub(super) fn send_in_dialog(
        &mut self,
        reference: Ref,
        in_flight: InFlight,
        env: &mut Env<'_>,
    ) {
        if in_flight == InFlight::Close {
            self.wish = Duration::ZERO;
        }
        if let Some(dialog) = self.dialog_mut() {
            let request = dialog.request(Method::SUBSCRIBE);
            let next_hop = dialog.next_hop();
            self.send(reference, in_flight, request, next_hop, env);
        }
    }

    fn send(
        &mut self,
        reference: Ref,
        in_flight: InFlight,
        mut request: Request,
        next_hop: String,
        env: &mut Env<'_>,
    ) {
        let headers = &mut request.headers;
        headers.push("Event", PACKAGE);
        let behaviour = env.behaviour(&self.presentity.host);
        headers.push("Accept", adapt::presence::accept(&behaviour.presence_ask));
        if behaviour.piggyback && in_flight != InFlight::Close {
            headers.push("Supported", PIGGYBACK);
        }
        headers.push("Expires", self.wish.as_secs().to_string());
        headers.push("User-Agent", &env.settings.product);
        self.in_flight = Some(in_flight);
        env.send(Outgoing {
            purpose: Purpose::Subscription(reference),
            request,
            next_hop,
            over: None,
            domain: self.presentity.host.clone(),
            contact: Some(OwnUser::new(&self.watcher, &behaviour)),
            branch_hint: None,
        });
    }

    /// The document in a NOTIFY or a 200. One that cannot be read changes nothing (RFC 3863 §4.1).
    pub(super) fn read(&mut self, headers: &Headers, body: &[u8]) -> Option<Document> {
        let (type_, language) = (headers.get("Content-Type"), headers.get("Content-Language"));
        let before = self.last.as_ref();
        let document = adapt::presence::read_after(type_, language, body, &self.presentity, before)
            .ok()
            .flatten()?;
        let tells_changes = document.tuples.iter().any(|tuple| tuple.state.is_some());
        self.last = tells_changes.then(|| document.clone());
        Some(document)
    }

    /// The dialog as the 2xx describes it; none where it lacks a field.
    pub(super) fn dialog_of(&self, response: &Response) -> Option<Dialog> {
        Dialog::from_response(&self.from, &self.call_id, self.cseq, response).ok()
    }

    /// Finds the order of a NOTIFY. The first one sets up the dialog, others of other forks are refused
    /// (RFC 3856 §6.9).
    pub(super) fn take_in(&mut self, request: &Request) -> Result<Order, Refusal> {
        if let Some(dialog) = self.dialog.as_mut() {
            let theirs = request.headers.get("From").and_then(dialog::tag);
            return if theirs.unwrap_or_default() == dialog.remote_tag() {
                Ok(dialog.receive(request))
            } else {
                Err(Refusal::NoDialog)
            };
        }
        // COMPAT(ocs): the first notification may come without Contact; the 2xx had one.
        let target = self.answered.as_ref().map(Dialog::target);
        let dialog = Dialog::from_request(request, self.from.clone(), self.cseq, target)
            .map_err(|error| Refusal::Malformed(error.to_string()))?;
        self.dialog = Some(dialog);
        Ok(Order::Next)
    }
}
