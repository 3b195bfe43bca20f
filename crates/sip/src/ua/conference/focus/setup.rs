//! How a SIP user comes into a room (RFC 7702 §6.1).

use std::time::Duration;

use bytes::Bytes;
use stox_core::address::SipAddress;
use stox_core::vocab::{FocusEvent, Ref};

use super::{Foci, Leg, MOST_OF_ONE, Stage, key};
use crate::adapt::im::Accepted;
use crate::body::sdp::{self, Carrier, Media};
use crate::body::text::clean;
use crate::message::{Request, Response};
use crate::msrp::endpoint::Channel;
use crate::transaction::ServerId;
use crate::ua::conference::roster::Present;
use crate::ua::conference::watchers::Room;
use crate::ua::conference::{
    ABILITIES, LegId, Timer, allow, can, described, focus_contact, is_msrp,
};
use crate::ua::effects::{Asked, Env};
use crate::ua::notifier::{leads_back, set_up};
use crate::ua::refusals::Refusal;
use crate::ua::session::medium::Medium;

/// How long the MSRP connection may take, from our answer on.
const LINK_WAIT: Duration = Duration::from_secs(64);

impl Foci {
    /// An INVITE for a room. The room decides; until then the caller hears that it rings.
    pub(in crate::ua) fn arrived(
        &mut self,
        reference: Ref,
        asked: Asked,
        (from, to): (&SipAddress, &SipAddress),
        env: &mut Env<'_>,
    ) {
        let Some(server) = asked.server else {
            return;
        };
        let (user, room) = (from.bare(), to.bare());
        let leg = match self.leg(reference, &asked, server, (&user, &room), env) {
            Ok(leg) => leg,
            Err(refusal) => return env.refuse(&asked, &refusal),
        };
        let id = self.next_id();
        let dialog = &leg.room.dialog;
        let names = (dialog.call_id().to_owned(), dialog.local_tag().to_owned());
        self.by_dialog.insert(names, id);
        let pair = (key(&user), key(&room));
        self.by_pair.entry(pair).or_default().push(id);
        self.by_ref.insert(reference, id);
        self.by_server.insert(server, id);
        let ringing = leg.response(&asked.request, 180, "Ringing", env);
        env.effects.answers.push_back((server, ringing));
        let name = asked.request.headers.from().ok();
        let name = name.and_then(|from| from.display).map(|name| clean(&name));
        let event = FocusEvent::Asked {
            user,
            room,
            nick: to.gr.as_deref().map(crate::uri::unescape_header),
            name: name.filter(|name| !name.trim().is_empty()),
        };
        leg.tell(event, env);
        self.legs.insert(id, leg);
    }

    fn has_room(&self, user: &SipAddress, env: &Env<'_>) -> bool {
        let all = env.settings.limits.legs;
        let of_domain = |leg: &&Leg| leg.user.host.eq_ignore_ascii_case(&user.host);
        let share = self.legs.values().filter(of_domain).count();
        let theirs = key(user);
        let own = |leg: &&Leg| key(&leg.user) == theirs;
        let theirs = self.legs.values().filter(of_domain).filter(own).count();
        // One domain leaves room for the others.
        !self.stopping && self.legs.len() < all && share < all.div_ceil(2) && theirs < MOST_OF_ONE
    }

    fn leg(
        &self,
        reference: Ref,
        asked: &Asked,
        server: ServerId,
        (user, room): (&SipAddress, &SipAddress),
        env: &mut Env<'_>,
    ) -> Result<Leg, Refusal> {
        if !self.has_room(user, env) {
            return Err(Refusal::Busy);
        }
        let request = &asked.request;
        let offer = described(&request.headers, &request.body);
        let behaviour = env.behaviour(&user.host);
        let only_msrp: Vec<Media> = offer.iter().cloned().map(without_dialog).collect();
        let (index, mut medium) =
            Medium::for_answer(&only_msrp, &behaviour, env).ok_or(Refusal::NoMedia)?;
        let theirs = offer.get(index).filter(|media| is_msrp(media));
        let theirs = theirs.ok_or(Refusal::NoMedia)?;
        if let Some(line) = medium.line_mut() {
            line.own.chatroom = Some(ABILITIES.to_owned());
        }
        let local_tag = env.entropy.token();
        let own = medium.own(&behaviour, None);
        let accepted = theirs.accept_types.as_deref();
        Ok(Leg {
            reference,
            user: user.clone(),
            room: Room {
                address: room.clone(),
                present: Present::default(),
                subject: None,
                known: false,
                dialog: set_up(asked, &local_tag, &user.host, env)?,
            },
            stage: Stage::Asking(server, Box::new(request.clone())),
            over: leads_back(asked).then(|| asked.source.clone()),
            source: asked.source.clone(),
            description: sdp::answer(&env.settings.local.host, 0, &offer, index, &own),
            medium,
            accepted: accepted.map(Accepted::parse).unwrap_or_default(),
            private: can(theirs, "private-messages"),
            waiting: Default::default(),
            sent: Default::default(),
            naming: None,
            owed: Default::default(),
            server,
            leaving: false,
        })
    }

    /// The room has taken him: 200.
    pub(super) fn accept(&mut self, reference: Ref, env: &mut Env<'_>) {
        let Some((id, leg)) = self.leg_of(reference) else {
            return;
        };
        let stage = std::mem::replace(&mut leg.stage, Stage::Open);
        let Stage::Asking(server, request) = stage else {
            leg.stage = stage;
            return;
        };
        leg.stage = Stage::Accepted;
        let mut response = leg.response(&request, 200, "OK", env);
        response.headers.push("Allow", allow());
        response.headers.push("Content-Type", sdp::CONTENT_TYPE);
        response.body = Bytes::from(leg.description.clone());
        env.effects.answers.push_back((server, response));
        match leg.connect(&request, env) {
            Some(channel) => {
                self.by_channel.insert(channel, id);
                let limit = env.now.mono + LINK_WAIT;
                self.timers.set((id, Timer::Link), limit);
            }
            None => self.lost(id, env),
        }
        self.sweep(id);
    }

    /// The ACK came.
    pub(in crate::ua) fn acknowledged(&mut self, server: ServerId) {
        let id = self.by_server.get(&server).copied();
        let Some(leg) = id.and_then(|id| self.legs.get_mut(&id)) else {
            return;
        };
        if matches!(leg.stage, Stage::Accepted) {
            leg.stage = Stage::Open;
            self.by_server.remove(&server);
        }
    }

    /// The MSRP connection stands: what has waited for it goes out.
    pub(super) fn linked(&mut self, id: LegId, channel: Channel, env: &mut Env<'_>) {
        self.timers.clear((id, Timer::Link));
        let Some(leg) = self.legs.get_mut(&id) else {
            return;
        };
        if let Some(line) = leg.medium.line_mut() {
            line.up = true;
        }
        for message in std::mem::take(&mut leg.waiting) {
            env.msrp.send(channel, message, env.now);
        }
    }
}

impl Leg {
    /// A response to his INVITE, with the room's Contact.
    fn response(
        &self,
        request: &Request,
        status: u16,
        reason: &str,
        env: &mut Env<'_>,
    ) -> Response {
        let mut response = env.response(request, status, reason);
        let own = focus_contact(&self.room.address, self.domain(), env);
        let headers = &mut response.headers;
        headers.set("To", self.room.dialog.local());
        headers.copy_from(&request.headers, "Record-Route");
        let transport = self.source.transport;
        headers.push("Contact", env.settings.local.contact(&own, transport));
        response
    }

    /// Begins the MSRP session that his offer and our answer describe.
    fn connect(&mut self, request: &Request, env: &mut Env<'_>) -> Option<Channel> {
        let offer = described(&request.headers, &request.body);
        let secure = self.medium.line()?.own.secure;
        let fits = |media: &&Media| media.carrier() == Some(Carrier::Msrp { secure });
        let theirs = offer.iter().find(fits)?;
        let place = (self.user.host.as_str(), Some(&self.source));
        self.medium.take_offer(theirs, place, env)?;
        self.channel()
    }
}

/// The same line, unless its messages would travel in the dialog: rooms take MSRP alone.
fn without_dialog(media: Media) -> Media {
    if is_msrp(&media) {
        return media;
    }
    Media {
        port: "0".to_owned(),
        ..media
    }
}
