//! What an XMPP user and a conference say to each other (RFC 7702 §5.5, §5.7).

use bytes::Bytes;
use stox_core::address::SipAddress;
use stox_core::failure::{Failure, Local};
use stox_core::vocab::{ConferenceEvent, End, Im, ImKind, Ref, SipIn};

use super::setup::own_user;
use super::{Leg, Participants, Stage};
use crate::adapt;
use crate::body::sdp;
use crate::body::text::clean;
use crate::dialog::{self, Order};
use crate::header::{Params, ReferTo};
use crate::message::Response;
use crate::method::Method;
use crate::msrp::endpoint::{DeliveryId, Event, Received, Status};
use crate::ua::conference::message::{self, Parties};
use crate::ua::conference::{LegId, Step, allow, described, in_short};
use crate::ua::effects::{Asked, Env, Fate, Outgoing, Purpose};
use crate::ua::refusals::Refusal;
use crate::ua::routing;
use crate::ua::session::over_msrp::failure_of;

/// Messages of one conference that the bridge has not answered, at most.
const MOST_UNANSWERED: usize = 64;

impl Participants {
    fn joined_leg(&mut self, reference: Ref) -> Option<(LegId, &mut Leg)> {
        let id = *self.by_ref.get(&reference)?;
        let leg = self.legs.get_mut(&id)?;
        (leg.stage == Stage::Joined).then_some((id, leg))
    }

    /// A message to the conference, or to one participant.
    pub(super) fn send(
        &mut self,
        reference: Ref,
        leg: Ref,
        (to, im): (Option<SipAddress>, &Im),
        env: &mut Env<'_>,
    ) {
        let failure = match self.joined_leg(leg) {
            Some((_, found)) => match found.send(reference, to.as_ref(), im, env) {
                Ok(()) => return,
                Err(local) => local,
            },
            None => Local::TransportFailed,
        };
        outcome(leg, reference, Err(Failure::Local(failure)), env);
    }

    /// Asks the conference to invite somebody (RFC 4579 §5.5).
    pub(super) fn refer(
        &mut self,
        reference: Ref,
        leg: Ref,
        (invitee, reason): (&SipAddress, Option<&str>),
        env: &mut Env<'_>,
    ) {
        let Some((id, found)) = self.joined_leg(leg) else {
            let failure = Failure::Local(Local::TransportFailed);
            return outcome(leg, reference, Err(failure), env);
        };
        let own = own_user(found, env);
        let by = adapt::address::to_uri(&found.user.bare());
        let Some(dialog) = found.dialog.as_mut() else {
            let failure = Failure::Local(Local::TransportFailed);
            return outcome(leg, reference, Err(failure), env);
        };
        let mut refer_to = ReferTo::invite(adapt::address::to_uri(invitee));
        if let Some(reason) = reason {
            refer_to = refer_to.with_header("Subject", &in_short(reason));
        }
        let mut request = dialog.request(Method::REFER);
        let headers = &mut request.headers;
        headers.push("Refer-To", refer_to.to_string());
        headers.push("Referred-By", format!("<{by}>"));
        // RFC 4488: the answer says enough. Who does not know that sends one NOTIFY.
        headers.push("Refer-Sub", "false");
        headers.push("Supported", "norefersub");
        headers.push("User-Agent", &env.settings.product);
        found.referrals.insert(reference);
        env.send(Outgoing {
            purpose: Purpose::Participant(id, Step::Refer(reference)),
            next_hop: dialog.next_hop(),
            request,
            over: found.over.clone(),
            domain: found.conference.host.clone(),
            contact: Some(own),
            branch_hint: None,
        });
    }

    /// The fate of a REFER.
    pub(super) fn referred(&mut self, id: LegId, reference: Ref, fate: Fate, env: &mut Env<'_>) {
        let Some(leg) = self.legs.get_mut(&id) else {
            return;
        };
        if leg.referrals.remove(&reference) {
            let fate = match fate {
                Ok(response) if (200..300).contains(&response.status) => Ok(()),
                Ok(response) => Err(adapt::failure::from_response(&response)),
                Err(failure) => Err(failure),
            };
            outcome(leg.reference, reference, fate, env);
        }
    }

    /// Something happened in an MSRP session. What is of no leg here comes back.
    pub(in crate::ua) fn happened(
        &mut self,
        event: Event,
        reference: Ref,
        env: &mut Env<'_>,
    ) -> Option<Event> {
        if let Event::Abandoned { delivery } = &event {
            let Some(reference) = self.by_delivery.get(delivery).copied() else {
                return Some(event);
            };
            self.take_delivery(reference);
            return None;
        }
        let channel = event.channel();
        let Some((channel, id)) =
            channel.and_then(|channel| Some((channel, *self.by_channel.get(&channel)?)))
        else {
            return Some(event);
        };
        match event {
            Event::Up(_) => self.linked(id, channel, env),
            Event::Received {
                delivery, message, ..
            } => self.received(id, delivery, &message, reference, env),
            Event::Sent {
                message_id,
                outcome: fate,
                ..
            } => {
                if let Some(leg) = self.legs.get_mut(&id)
                    && let Some(sent) = leg.sent.remove(&message_id)
                {
                    outcome(leg.reference, sent, fate.map_err(failure_of), env);
                }
            }
            Event::NicknameSettled { outcome, .. } => self.named(id, outcome, env),
            Event::Nickname { delivery, .. } => {
                let status = Status::said(403, "You Are The Room");
                env.msrp.answer(delivery, status, env.now);
            }
            Event::Down { .. } => self.broken(id, env),
            Event::Abandoned { .. }
            | Event::Report { .. }
            | Event::Relay { .. }
            | Event::Impostor { .. } => {}
        }
        self.sweep(id);
        None
    }

    /// A message of the conference.
    fn received(
        &mut self,
        id: LegId,
        delivery: DeliveryId,
        message: &Received,
        reference: Ref,
        env: &mut Env<'_>,
    ) {
        let Some(leg) = self.legs.get_mut(&id) else {
            return;
        };
        let full = leg.deliveries.len() >= MOST_UNANSWERED;
        let status = match leg.read(message, env) {
            Ok(Some(_)) if full => Status::said(408, "Too Many Messages"),
            Ok(Some((from, private, im))) => {
                let event = ConferenceEvent::Message {
                    reference,
                    from,
                    private,
                    im,
                };
                leg.tell(event, env);
                leg.deliveries.insert(reference, delivery);
                self.by_message.insert(reference, id);
                self.by_delivery.insert(delivery, reference);
                return;
            }
            Ok(None) => Status::ok(),
            Err(status) => status,
        };
        env.msrp.answer(delivery, status, env.now);
    }

    /// A message for which no answer is waited for any more.
    fn take_delivery(&mut self, reference: Ref) -> Option<DeliveryId> {
        let id = self.by_message.remove(&reference)?;
        let delivery = self.legs.get_mut(&id)?.deliveries.remove(&reference)?;
        self.by_delivery.remove(&delivery);
        Some(delivery)
    }

    /// The bridge's answer to a message.
    pub(super) fn answer(
        &mut self,
        reference: Ref,
        outcome: &Result<(), Failure>,
        env: &mut Env<'_>,
    ) {
        if let Some(delivery) = self.take_delivery(reference) {
            let status = match outcome {
                Ok(()) => Status::ok(),
                Err(failure) => adapt::failure::to_msrp(failure),
            };
            env.msrp.answer(delivery, status, env.now);
        }
    }

    /// A request in the dialog of an INVITE of ours.
    pub(in crate::ua) fn receive(
        &mut self,
        id: LegId,
        asked: &Asked,
        from: &SipAddress,
        env: &mut Env<'_>,
    ) {
        let Some(leg) = self.legs.get_mut(&id) else {
            return env.refuse(asked, &Refusal::NoDialog);
        };
        if let Err(refusal) = leg.admit(asked, from, env) {
            return env.refuse(asked, &refusal);
        }
        match &asked.request.method {
            &Method::BYE => {
                env.accept(asked);
                leg.dialog = None;
                let up = leg.medium.is_up();
                let end = end_of(asked, up);
                self.finish(id, end, env);
                self.sweep(id);
            }
            &Method::INVITE | &Method::UPDATE => match leg.offered_again(asked, env) {
                Ok(response) => env.respond(asked, response),
                Err(refusal) => env.refuse(asked, &refusal),
            },
            &Method::INFO => env.accept(asked),
            &Method::REFER => env.refuse(asked, &Refusal::NoTransfer),
            _ => env.refuse(asked, &Refusal::NoDialog),
        }
    }

    /// A 2xx to an INVITE that has had its answer: acknowledged where it is the same once more. `false`: it is of no leg.
    pub(in crate::ua) fn late_answer(&mut self, response: &Response, env: &mut Env<'_>) -> bool {
        let headers = &response.headers;
        let call_id = headers.get("Call-ID").unwrap_or_default();
        let ours = headers.get("From").and_then(dialog::tag);
        let theirs = headers.get("To").and_then(dialog::tag).unwrap_or_default();
        let Some(leg) = ours
            .and_then(|tag| self.find(call_id, &tag))
            .and_then(|id| self.legs.get(&id))
        else {
            return false;
        };
        let (Some(dialog), Ok(cseq)) = (&leg.dialog, headers.cseq()) else {
            return false;
        };
        if dialog.remote_tag() != theirs {
            return false;
        }
        let ack = leg.ack(dialog, cseq.number);
        let over = leg.over.clone();
        crate::ua::session::caller::send_ack(ack, dialog, leg.domain(), over, env);
        true
    }
}

impl Leg {
    fn send(
        &mut self,
        reference: Ref,
        to: Option<&SipAddress>,
        im: &Im,
        env: &mut Env<'_>,
    ) -> Result<(), Local> {
        let line = self.medium.line().ok_or(Local::TransportFailed)?;
        let channel = line.channel.ok_or(Local::TransportFailed)?;
        if to.is_some() && !self.private {
            return Err(Local::NotImplemented);
        }
        if self.sent.len() >= env.settings.limits.queued_per_address {
            return Err(Local::Overloaded);
        }
        let parties = Parties {
            name: Some(&self.nick),
            from: &self.user,
            to: to.unwrap_or(&self.conference),
        };
        let message = message::write(im, &parties, &line.wrapped, env)?;
        self.sent.insert(message.id.clone(), reference);
        env.msrp.send(channel, message, env.now);
        Ok(())
    }

    /// Who says what, to her alone or to all. Nothing where it is no text, or one of her own that comes back.
    fn read(
        &mut self,
        message: &Received,
        env: &mut Env<'_>,
    ) -> Result<Option<(SipAddress, bool, Im)>, Status> {
        if self.stage != Stage::Joined {
            return Err(Status::said(481, "The Session Is Over"));
        }
        let said = message::read(message, env.now)?;
        let Some(mut im) = said.im else {
            return Ok(None);
        };
        let Some((name, sender)) = said.from else {
            return Ok(Some((self.conference.clone(), false, im)));
        };
        let (sender_bare, own) = (sender.bare().canonical(), self.user.canonical());
        if sender_bare == own.bare() && (sender.gr.is_none() || sender.canonical() == own) {
            return Ok(None);
        }
        let private = said
            .to
            .is_some_and(|to| to.bare().canonical() == own.bare());
        if private {
            im.kind = ImKind::Chat;
        }
        if sender.canonical() == self.conference.canonical() {
            return Ok(Some((self.conference.clone(), private, im)));
        }
        let known = self.present.find(&sender, name.as_deref());
        if let Some(known) = known {
            return Ok(Some((known.address.clone(), private, im)));
        }
        self.seen(&sender, name.as_deref(), env);
        Ok(Some((sender, private, im)))
    }

    /// Whether a request belongs to the leg, comes from its other end, and in order (RFC 3261 §12.2.2).
    fn admit(&mut self, asked: &Asked, from: &SipAddress, env: &Env<'_>) -> Result<(), Refusal> {
        let theirs = asked.request.headers.get("From");
        let tag = theirs.and_then(dialog::tag).unwrap_or_default();
        let conference = self.conference.canonical();
        let bye = asked.request.method == Method::BYE;
        let over = self.stage == Stage::Over && !bye;
        let dialog = self.dialog.as_mut().ok_or(Refusal::NoDialog)?;
        if over || tag != dialog.remote_tag() || from.bare().canonical() != conference {
            return Err(Refusal::NoDialog);
        }
        let before = dialog.target().to_owned();
        if dialog.receive(&asked.request) != Order::Next {
            return Err(Refusal::StaleCseq);
        }
        let domain = &self.conference.host;
        let moved = dialog.target() != before && !dialog.is_routed() && self.over.is_none();
        if moved && !routing::is_near(dialog.target(), domain, asked, env.settings) {
            dialog.route_through(&format!("sip:{domain}"));
        }
        Ok(())
    }

    /// The answer to another offer, which has to go on with the MSRP session that is there.
    fn offered_again(&self, asked: &Asked, env: &mut Env<'_>) -> Result<Response, Refusal> {
        let request = &asked.request;
        let offer = described(&request.headers, &request.body);
        let fits = |media: &sdp::Media| self.medium.continues_with(media);
        if !request.body.is_empty() && !offer.iter().any(fits) {
            return Err(Refusal::NoMedia);
        }
        let mut response = env.response(request, 200, "OK");
        let contact = env
            .settings
            .local
            .contact(&own_user(self, env), asked.source.transport);
        let headers = &mut response.headers;
        headers.copy_from(&request.headers, "Record-Route");
        headers.push("Contact", contact);
        headers.push("Allow", allow());
        if !request.body.is_empty() || request.method == Method::INVITE {
            headers.push("Content-Type", sdp::CONTENT_TYPE);
            response.body = Bytes::from(self.description.clone());
        }
        Ok(response)
    }
}

/// Why the conference says goodbye (RFC 3326). Words without a cause that we know are for whoever is removed.
fn end_of(asked: &Asked, up: bool) -> End {
    let reason = asked.request.headers.get("Reason").unwrap_or_default();
    let tail = reason.find(';').and_then(|at| reason.get(at..));
    let params = tail.and_then(|tail| Params::parse_tail(tail).ok());
    let said = |name| params.as_ref().and_then(|params| params.text(name));
    let cause = said("cause").and_then(|cause| cause.parse::<u16>().ok());
    let reason = said("text").map(|words| clean(&words));
    let reason = reason.filter(|words| !words.is_empty());
    match cause {
        Some(404 | 410) => End::Over { reason },
        Some(403) => End::Banned { reason },
        Some(408 | 500..=599) => End::Lost(Failure::Local(Local::TransportFailed)),
        _ if reason.is_some() => End::Removed { reason },
        _ if up => End::Over { reason },
        _ => End::Lost(Failure::Local(Local::TransportFailed)),
    }
}

/// The fate of something that the bridge has asked for.
pub(super) fn outcome(leg: Ref, reference: Ref, outcome: Result<(), Failure>, env: &mut Env<'_>) {
    let event = ConferenceEvent::Outcome { reference, outcome };
    env.tell(SipIn::Conference { leg, event });
}
