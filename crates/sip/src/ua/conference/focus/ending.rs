//! How the stay of a SIP user in a room ends (RFC 7702 §6.6), on either side.

use stox_core::failure::{Failure, Local};
use stox_core::vocab::{End, FocusEvent, Ref};

use super::traffic::outcome;
use super::{Foci, Leg, Owed, Stage, key};
use crate::grammar::quote;
use crate::method::Method;
use crate::msrp::endpoint::Status;
use crate::transaction::ServerId;
use crate::ua::conference::watchers::Last;
use crate::ua::conference::{LegId, Step, Timer, in_short};
use crate::ua::effects::{Env, Outgoing, Purpose};

impl Foci {
    /// The room says that it is over: the answer to the INVITE, or BYE and the last NOTIFYs.
    pub(super) fn end(&mut self, reference: Ref, end: &End, env: &mut Env<'_>) {
        let Some((id, leg)) = self.leg_of(reference) else {
            return;
        };
        let last = match end {
            End::Over { .. } => Last::Deleted,
            _ => Last::Left,
        };
        let stage = std::mem::replace(&mut leg.stage, Stage::Over);
        match stage {
            Stage::Asking(server, request) => {
                let response = match end {
                    End::Refused(failure) | End::Lost(failure) => env.failure(&request, failure),
                    other => {
                        let (status, words) = refusal(other);
                        env.response(&request, status, words)
                    }
                };
                let mut response = response;
                response.headers.set("To", leg.room.dialog.local());
                env.effects.answers.push_back((server, response));
            }
            Stage::Accepted | Stage::Open => leg.bye(id, cause(end), env),
            Stage::Over => {}
        }
        self.close(id, last, env);
        self.sweep(id);
    }

    /// He has said goodbye.
    pub(super) fn left(&mut self, id: LegId, env: &mut Env<'_>) {
        let Some(leg) = self.legs.get_mut(&id).filter(|leg| !leg.is_over()) else {
            return;
        };
        leg.stage = Stage::Over;
        leg.tell_left(env);
        self.close(id, Last::Left, env);
    }

    /// His MSRP connection is gone, or never came: goodbye.
    pub(super) fn lost(&mut self, id: LegId, env: &mut Env<'_>) {
        let Some(leg) = self.legs.get_mut(&id).filter(|leg| !leg.is_over()) else {
            return;
        };
        leg.stage = Stage::Over;
        leg.bye(id, (408, "The MSRP Connection Is Lost"), env);
        leg.tell_left(env);
        self.close(id, Last::Left, env);
    }

    /// He does not want to come in any more.
    pub(in crate::ua) fn cancelled(&mut self, server: ServerId, env: &mut Env<'_>) {
        let Some(id) = self.by_server.get(&server).copied() else {
            return;
        };
        let Some(leg) = self.legs.get_mut(&id) else {
            return;
        };
        if let Stage::Asking(_, request) = &leg.stage {
            let mut response = env.response(request, 487, "Request Terminated");
            response.headers.set("To", leg.room.dialog.local());
            env.effects.answers.push_back((server, response));
            self.left(id, env);
            self.sweep(id);
        }
    }

    /// An INVITE that cannot be answered any more, or whose answer was never acknowledged.
    pub(in crate::ua) fn server_gone(&mut self, server: ServerId, env: &mut Env<'_>) {
        let Some(id) = self.by_server.remove(&server) else {
            return self.forget_referral(server);
        };
        match self.legs.get(&id).map(|leg| &leg.stage) {
            Some(Stage::Asking(..)) => self.left(id, env),
            Some(Stage::Accepted) => self.lost(id, env),
            _ => {}
        }
        self.sweep(id);
    }

    /// A REFER that cannot be answered any more.
    fn forget_referral(&mut self, server: ServerId) {
        if let Some(reference) = self.by_referral.remove(&server) {
            self.take_owed(reference);
        }
    }

    /// The gateway stops: everybody is sent away, and nobody comes in any more.
    pub(in crate::ua) fn shut_down(&mut self, env: &mut Env<'_>) {
        self.stopping = true;
        let legs: Vec<Ref> = self.by_ref.keys().copied().collect();
        for reference in legs {
            if let Some((_, leg)) = self.leg_of(reference) {
                leg.tell_left(env);
            }
            let stopping = Failure::Local(Local::ShuttingDown);
            self.end(reference, &End::Lost(stopping), env);
        }
    }

    /// Nothing of a leg is told any more: what is owed on either side gets its outcome.
    fn close(&mut self, id: LegId, last: Last, env: &mut Env<'_>) {
        self.timers.clear((id, Timer::Link));
        let Some(leg) = self.legs.get_mut(&id) else {
            return;
        };
        let lost = Failure::Local(Local::TransportFailed);
        for reference in std::mem::take(&mut leg.sent).into_values() {
            outcome(leg.reference, reference, Err(lost.clone()), env);
        }
        leg.waiting.clear();
        self.by_ref.remove(&leg.reference);
        self.by_server.remove(&leg.server);
        let pair = (key(&leg.user), key(&leg.room.address));
        if let Some(ids) = self.by_pair.get_mut(&pair) {
            ids.retain(|known| *known != id);
            if ids.is_empty() {
                self.by_pair.remove(&pair);
            }
        }
        if let Some(delivery) = leg.naming.take() {
            self.by_delivery.remove(&delivery);
        }
        for (reference, owed) in std::mem::take(&mut leg.owed) {
            self.by_owed.remove(&reference);
            match owed {
                Owed::Delivery(delivery) => {
                    self.by_delivery.remove(&delivery);
                    let status = Status::said(481, "The Session Is Over");
                    env.msrp.answer(delivery, status, env.now);
                }
                Owed::Referral(referral) => {
                    let server = referral.server();
                    server.and_then(|server| self.by_referral.remove(&server));
                    referral.answer(None, &Err(lost.clone()), env);
                }
            }
        }
        let channel = leg.medium.line_mut().and_then(|line| line.channel.take());
        if let Some(channel) = channel {
            self.by_channel.remove(&channel);
            env.msrp.close(channel, env.now);
        }
        self.watchers
            .end_all(id, last, &mut leg.room, &mut self.timers, env);
    }
}

impl Leg {
    fn tell_left(&self, env: &mut Env<'_>) {
        self.tell(FocusEvent::Left, env);
    }

    /// BYE, with the reason for it where there is one to tell (RFC 3326).
    fn bye(&mut self, id: LegId, (cause, words): (u16, &str), env: &mut Env<'_>) {
        let mut request = self.room.dialog.request(Method::BYE);
        let headers = &mut request.headers;
        headers.push("User-Agent", &env.settings.product);
        if !words.is_empty() {
            let words = quote(&in_short(words));
            headers.push("Reason", format!("SIP;cause={cause};text={words}"));
        }
        self.leaving = true;
        let outgoing = Outgoing {
            purpose: Purpose::Focus(id, Step::Bye),
            next_hop: self.room.dialog.next_hop(),
            request,
            over: self.over.clone(),
            domain: self.user.host.clone(),
            contact: None,
            branch_hint: None,
        };
        env.send(outgoing);
    }
}

/// Why somebody is sent away (RFC 3326): a status of SIP, and words.
fn cause(end: &End) -> (u16, &str) {
    match end {
        End::Removed { reason } => (480, reason.as_deref().unwrap_or("Removed From The Room")),
        End::Banned { reason } => (403, reason.as_deref().unwrap_or("Banned From The Room")),
        End::Over { reason } => (410, reason.as_deref().unwrap_or("The Room Is No More")),
        End::Lost(_) | End::Refused(_) => (503, "The Room Cannot Be Reached"),
        End::Left | End::NickTaken => (200, ""),
    }
}

/// The answer to an INVITE that tells an end which is no failure.
fn refusal(end: &End) -> (u16, &'static str) {
    match end {
        End::Banned { .. } => (403, "Banned From The Room"),
        End::Removed { .. } => (603, "Removed From The Room"),
        End::Over { .. } => (410, "The Room Is No More"),
        End::NickTaken => (480, "Nickname Already In Use"),
        End::Left | End::Refused(_) | End::Lost(_) => (480, "Temporarily Unavailable"),
    }
}
