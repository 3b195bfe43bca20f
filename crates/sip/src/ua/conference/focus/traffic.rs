//! What a SIP user and a room say to each other (RFC 7702 §6.3 to §6.5).

use bytes::Bytes;
use stox_core::address::SipAddress;
use stox_core::failure::{Failure, Local};
use stox_core::vocab::{FocusEvent, Im, ImKind, NickRefusal, Ref, SipIn};

use super::{Foci, Leg, Owed, Stage, key};
use crate::adapt;
use crate::body::sdp::{self, Media};
use crate::body::text::clean;
use crate::dialog::{self, Order};
use crate::header::ReferTo;
use crate::message::Response;
use crate::method::Method;
use crate::msrp::endpoint::{DeliveryId, Event, Received, Status};
use crate::ua::conference::message::{self, Parties};
use crate::ua::conference::referral::{self, Referral};
use crate::ua::conference::{LegId, PACKAGE, allow, described, focus_contact};
use crate::ua::effects::{Asked, Env};
use crate::ua::refusals::Refusal;
use crate::ua::routing;
use crate::ua::session::over_msrp::failure_of;

/// Messages and referrals of one leg that the bridge has not answered, at most.
const MOST_UNANSWERED: usize = 64;
/// The host of users who hide (RFC 7701 §6.1, RFC 3323).
const ANONYMOUS: &str = "anonymous.invalid";
/// Characters of a nickname at most (RFC 7700 sets no limit).
const MAX_NICK: usize = 256;

impl Foci {
    /// A message of the room.
    pub(super) fn send(
        &mut self,
        reference: Ref,
        leg: Ref,
        what: (&SipAddress, bool, &Im),
        env: &mut Env<'_>,
    ) {
        let failure = match self.leg_of(leg) {
            Some((_, found)) if found.is_in() => match found.send(reference, what, env) {
                Ok(()) => return,
                Err(local) => local,
            },
            _ => Local::TransportFailed,
        };
        outcome(leg, reference, Err(Failure::Local(failure)), env);
    }

    /// The room's answer to a nickname.
    pub(super) fn named(&mut self, leg: Ref, outcome: &Result<(), NickRefusal>, env: &mut Env<'_>) {
        let Some((_, leg)) = self.leg_of(leg) else {
            return;
        };
        if let Some(delivery) = leg.naming.take() {
            self.by_delivery.remove(&delivery);
            let status = match outcome {
                Ok(()) => Status::ok(),
                Err(NickRefusal::Taken) => Status::said(425, "Nickname Reserved Or Already In Use"),
                Err(NickRefusal::Malformed) => Status::said(424, "Malformed Nickname"),
                Err(NickRefusal::Refused(failure)) => {
                    let status = adapt::failure::to_msrp(failure);
                    Status::said(403, &status.comment)
                }
            };
            env.msrp.answer(delivery, status, env.now);
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
            return (!self.abandoned(*delivery)).then_some(event);
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
            Event::Nickname {
                delivery, nickname, ..
            } => self.wants_name(id, delivery, &nickname, env),
            Event::Down { .. } => {
                self.lost(id, env);
                self.sweep(id);
            }
            Event::NicknameSettled { .. }
            | Event::Abandoned { .. }
            | Event::Report { .. }
            | Event::Relay { .. }
            | Event::Impostor { .. } => {}
        }
        None
    }

    /// Nobody waits for the answer to a message or a nickname any more.
    fn abandoned(&mut self, delivery: DeliveryId) -> bool {
        let Some((id, reference)) = self.by_delivery.remove(&delivery) else {
            return false;
        };
        match reference {
            Some(reference) => _ = self.take_owed(reference),
            None => {
                if let Some(leg) = self.legs.get_mut(&id) {
                    leg.naming = None;
                }
            }
        }
        true
    }

    /// A message of the user's. It is answered when the room has answered (RFC 7702 §6.3.1).
    fn received(
        &mut self,
        id: LegId,
        delivery: DeliveryId,
        message: &Received,
        reference: Ref,
        env: &mut Env<'_>,
    ) {
        let Some(leg) = self.legs.get(&id) else {
            return;
        };
        let full = leg.owed.len() >= MOST_UNANSWERED;
        let status = match leg.read(message, env) {
            Ok(Some(_)) if full => Status::said(408, "Too Many Messages"),
            Ok(Some((to, im))) => {
                leg.tell(FocusEvent::Message { reference, to, im }, env);
                return self.owe(id, reference, Owed::Delivery(delivery));
            }
            Ok(None) => Status::ok(),
            Err(status) => status,
        };
        env.msrp.answer(delivery, status, env.now);
    }

    /// NICKNAME (RFC 7702 §6.4).
    fn wants_name(&mut self, id: LegId, delivery: DeliveryId, nick: &str, env: &mut Env<'_>) {
        let Some(leg) = self.legs.get_mut(&id) else {
            return;
        };
        let nick = clean(nick);
        let legal = !nick.trim().is_empty() && nick.chars().count() <= MAX_NICK;
        let status = match leg.naming {
            Some(_) => Status::said(403, "Another Nickname Is Being Asked For"),
            None if !leg.is_in() => Status::said(481, "The Session Is Over"),
            None if !legal => Status::said(424, "Malformed Nickname"),
            None => {
                leg.naming = Some(delivery);
                self.by_delivery.insert(delivery, (id, None));
                return leg.tell(FocusEvent::Nick { nick }, env);
            }
        };
        env.msrp.answer(delivery, status, env.now);
    }

    /// A REFER that asks the room to invite somebody, in the dialog of a leg or beside it. One for another comes back.
    pub(in crate::ua) fn referred(
        &mut self,
        reference: Ref,
        asked: Asked,
        refer_to: &ReferTo,
        (from, to): (&SipAddress, &SipAddress),
        env: &mut Env<'_>,
    ) -> Option<Asked> {
        let headers = &asked.request.headers;
        let tag = headers.get("To").and_then(dialog::tag);
        let call_id = headers.get("Call-ID").unwrap_or_default();
        let inside = tag.as_ref().and_then(|tag| self.find(call_id, tag));
        let beside = match &tag {
            None => self.of_pair(from, to),
            Some(_) => None,
        };
        let Some(id) = inside.or(beside) else {
            return Some(asked);
        };
        let Some(leg) = self.legs.get_mut(&id) else {
            return Some(asked);
        };
        let full = leg.owed.len() >= MOST_UNANSWERED;
        if inside.is_some()
            && let Err(refusal) = leg.admit(&asked, from, env)
        {
            env.refuse(&asked, &refusal);
            return None;
        }
        let invitee = match referral::invitee(refer_to) {
            Ok(_) if full || !leg.is_in() => Err(Refusal::Busy),
            found => found,
        };
        let referral = invitee.and_then(|invitee| {
            let own = focus_contact(&leg.room.address, &leg.user.host, env);
            let referral = Referral::new(asked.clone(), from, own, inside.is_some(), env)?;
            Ok((invitee, referral))
        });
        match referral {
            Ok((invitee, referral)) => {
                let event = FocusEvent::Invite {
                    reference,
                    invitee,
                    reason: refer_to.header("Subject").map(|words| clean(&words)),
                };
                leg.tell(event, env);
                self.owe(id, reference, Owed::Referral(Box::new(referral)));
            }
            Err(refusal) => env.refuse(&asked, &refusal),
        }
        None
    }

    /// A request in the dialog of a leg, or of a subscription.
    pub(in crate::ua) fn receive(
        &mut self,
        id: LegId,
        asked: &Asked,
        from: &SipAddress,
        env: &mut Env<'_>,
    ) {
        if let Some(leg) = self.watchers.leg(id) {
            let room = self.legs.get_mut(&leg).map(|leg| &mut leg.room);
            return match room {
                Some(room) if asked.request.method == Method::SUBSCRIBE => {
                    self.watchers
                        .refreshed(id, asked, room, &mut self.timers, env)
                }
                _ => env.refuse(asked, &Refusal::NoDialog),
            };
        }
        let Some(leg) = self.legs.get_mut(&id) else {
            return env.refuse(asked, &Refusal::NoDialog);
        };
        if let Err(refusal) = leg.admit(asked, from, env) {
            return env.refuse(asked, &refusal);
        }
        match &asked.request.method {
            &Method::BYE => {
                env.accept(asked);
                self.left(id, env);
                self.sweep(id);
            }
            &Method::INVITE | &Method::UPDATE => match leg.offered_again(asked, env) {
                Ok(response) => env.respond(asked, response),
                Err(refusal) => env.refuse(asked, &refusal),
            },
            &Method::SUBSCRIBE => self.subscribed_inside(id, asked, env),
            &Method::INFO => env.accept(asked),
            _ => env.refuse(asked, &Refusal::NoDialog),
        }
    }

    /// A SUBSCRIBE in the dialog of the INVITE: RFC 6665 §4.5.2 would not have it, but some do it.
    fn subscribed_inside(&mut self, id: LegId, asked: &Asked, env: &mut Env<'_>) {
        let event = asked.request.headers.event().ok().flatten();
        if event.is_none_or(|event| event.package != PACKAGE) {
            return env.refuse(asked, &Refusal::BadEvent);
        }
        let fresh = self.next_id();
        let Some(leg) = self.legs.get_mut(&id) else {
            return;
        };
        let domain = leg.user.host.clone();
        match self.watchers.inside(id) {
            Some(known) => {
                self.watchers
                    .refreshed(known, asked, &mut leg.room, &mut self.timers, env);
            }
            None => {
                let place = (&mut leg.room, domain.as_str());
                self.watchers
                    .arrived((fresh, id), asked, place, &mut self.timers, env);
            }
        }
    }
}

impl Leg {
    /// A message to the user: in a wrapper that says who speaks (RFC 7702 Table 5), unless he takes none.
    fn send(
        &mut self,
        reference: Ref,
        (from, private, im): (&SipAddress, bool, &Im),
        env: &mut Env<'_>,
    ) -> Result<(), Local> {
        if private && !self.private {
            return Err(Local::NotImplemented);
        }
        let limit = env.settings.limits.queued_per_address;
        if self.sent.len() >= limit {
            return Err(Local::Overloaded);
        }
        if !self.accepted.takes("message", "cpim") {
            return Err(Local::NotAcceptable);
        }
        let line = self.medium.line().ok_or(Local::TransportFailed)?;
        let channel = line.channel.ok_or(Local::TransportFailed)?;
        let nick = self.room.present.get(&from.canonical());
        let nick = nick.and_then(|participant| participant.nick.clone());
        let nick = nick.or_else(|| from.gr.as_deref().map(crate::uri::unescape_header));
        let parties = Parties {
            name: nick.as_deref(),
            from,
            to: if private {
                &self.user
            } else {
                &self.room.address
            },
        };
        let message = message::write(im, &parties, &line.wrapped, env)?;
        self.sent.insert(message.id.clone(), reference);
        if line.up {
            env.msrp.send(channel, message, env.now);
        } else {
            self.waiting.push_back(message);
        }
        Ok(())
    }

    /// To whom the user says what; nothing where it is no text. He speaks for nobody but himself.
    fn read(
        &self,
        message: &Received,
        env: &mut Env<'_>,
    ) -> Result<Option<(Option<SipAddress>, Im)>, Status> {
        if !self.is_in() {
            return Err(Status::said(481, "The Session Is Over"));
        }
        let said = message::read(message, env.now)?;
        let himself = |(_, sender): &(Option<String>, SipAddress)| {
            key(sender) == key(&self.user) || sender.host.eq_ignore_ascii_case(ANONYMOUS)
        };
        if !said.from.as_ref().is_none_or(himself) {
            return Err(Status::said(403, "From Is Not Who Speaks"));
        }
        let Some(mut im) = said.im else {
            return Ok(None);
        };
        match said.to {
            None => Ok(Some((None, im))),
            Some(to) if key(&to) != key(&self.room.address) => {
                Err(Status::said(404, "Nobody Of That Address Is Here"))
            }
            Some(to) if to.gr.is_none() => Ok(Some((None, im))),
            Some(to) => {
                im.kind = ImKind::Chat;
                Ok(Some((Some(to), im)))
            }
        }
    }

    /// Whether a request belongs to the leg, comes from its other end, and in order (RFC 3261 §12.2.2).
    fn admit(&mut self, asked: &Asked, from: &SipAddress, env: &Env<'_>) -> Result<(), Refusal> {
        let theirs = asked.request.headers.get("From");
        let tag = theirs.and_then(dialog::tag).unwrap_or_default();
        let asking = matches!(self.stage, Stage::Asking(..));
        let over = self.is_over() && asked.request.method != Method::BYE;
        if over || asking || tag != self.room.dialog.remote_tag() || key(from) != key(&self.user) {
            return Err(Refusal::NoDialog);
        }
        let before = self.room.dialog.target().to_owned();
        if self.room.dialog.receive(&asked.request) != Order::Next {
            return Err(Refusal::StaleCseq);
        }
        let (dialog, domain) = (&mut self.room.dialog, &self.user.host);
        let moved = dialog.target() != before && !dialog.is_routed() && self.over.is_none();
        if moved && !routing::is_near(dialog.target(), domain, asked, env.settings) {
            // A Contact elsewhere could be anybody's.
            dialog.route_through(&format!("sip:{domain}"));
        }
        Ok(())
    }

    /// The answer to another offer, which has to go on with the MSRP session that is there.
    fn offered_again(&self, asked: &Asked, env: &mut Env<'_>) -> Result<Response, Refusal> {
        let request = &asked.request;
        let offer = described(&request.headers, &request.body);
        let fits = |media: &Media| self.medium.continues_with(media);
        if !request.body.is_empty() && !offer.iter().any(fits) {
            return Err(Refusal::NoMedia);
        }
        let mut response = env.response(request, 200, "OK");
        let own = focus_contact(&self.room.address, self.domain(), env);
        let contact = env.settings.local.contact(&own, asked.source.transport);
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

/// The fate of something that the bridge has asked for.
pub(super) fn outcome(leg: Ref, reference: Ref, outcome: Result<(), Failure>, env: &mut Env<'_>) {
    let event = FocusEvent::Outcome { reference, outcome };
    env.tell(SipIn::Focus { leg, event });
}
