//! How an XMPP user comes into a conference: INVITE, the MSRP connection, NICKNAME (RFC 7702 §5.1, §5.2).

use std::time::Duration;

use bytes::Bytes;
use stox_core::address::SipAddress;
use stox_core::failure::{Failure, Local};
use stox_core::vocab::{ConferenceEvent, End, NickRefusal, Ref, SipIn};

use super::{Leg, Participants, Stage};
use crate::adapt;
use crate::adapt::im::Accepted;
use crate::body::sdp;
use crate::dialog::{Dialog, MAX_FORWARDS};
use crate::header::Headers;
use crate::message::{Request, Response};
use crate::method::Method;
use crate::msrp::endpoint::{Channel, Fault};
use crate::transport::Source;
use crate::ua::conference::roster::Present;
use crate::ua::conference::subscription::Subscription;
use crate::ua::conference::{
    ABILITIES, LegId, Step, Timer, allow, can, described, is_focus, is_msrp,
};
use crate::ua::effects::{Env, Fate, Outgoing, Purpose};
use crate::ua::session::caller::{leads_on, send_ack};
use crate::ua::session::medium::{self, Medium};
use crate::ua::session::over_msrp::failure_of;
use crate::ua::settings::OwnUser;

/// How long the MSRP connection may take.
const LINK_WAIT: Duration = Duration::from_secs(40);
/// How long a BYE may take that has lost a race with the end of the MSRP connection.
const GOODBYE_WAIT: Duration = Duration::from_secs(5);

/// What MSRP answers a nickname that another participant has (RFC 7701 §7.2).
const NICK_TAKEN: u16 = 425;
/// That it is none.
const NICK_MALFORMED: u16 = 424;
/// That there are no nicknames after all.
const NO_NICKNAMES: [u16; 2] = [405, 501];

impl Participants {
    /// Enters a conference.
    pub(super) fn join(
        &mut self,
        reference: Ref,
        user: SipAddress,
        conference: SipAddress,
        nick: String,
        env: &mut Env<'_>,
    ) {
        if self.by_ref.contains_key(&reference) {
            return;
        }
        let domain = conference.host.clone();
        let medium = match self.no_room(env) {
            Some(local) => Err(local),
            None => Medium::for_room(&domain, env).ok_or(Local::NotImplemented),
        };
        let medium = match medium {
            Ok(medium) => medium,
            Err(local) => {
                let event = ConferenceEvent::Ended(End::Refused(Failure::Local(local)));
                return env.tell(SipIn::Conference {
                    leg: reference,
                    event,
                });
            }
        };
        let leg = new_leg(reference, (user, conference, nick), medium, env);
        self.last += 1;
        let id = LegId(self.last);
        let request = invitation(&leg, env);
        let wait = env.behaviour(&domain).invite_wait;
        self.timers.set((id, Timer::Answer), env.now.mono + wait);
        env.send(Outgoing {
            purpose: Purpose::Participant(id, Step::Invite),
            next_hop: request.uri.clone(),
            request,
            over: None,
            domain,
            contact: Some(own_user(&leg, env)),
            branch_hint: None,
        });
        let key = (leg.call_id.clone(), leg.local_tag.clone());
        self.by_dialog.insert(key, id);
        self.by_ref.insert(reference, id);
        self.legs.insert(id, leg);
    }

    fn no_room(&self, env: &Env<'_>) -> Option<Local> {
        if self.stopping {
            return Some(Local::ShuttingDown);
        }
        let full = self.legs.len() >= env.settings.limits.legs;
        full.then_some(Local::Overloaded)
    }

    /// The INVITE has waited long enough.
    pub(super) fn give_up(&mut self, id: LegId, env: &mut Env<'_>) {
        let inviting = |leg: &Leg| leg.stage == Stage::Inviting;
        if self.legs.get(&id).is_some_and(inviting) {
            self.finish(id, End::Refused(Failure::Local(Local::Timeout)), env);
        }
    }

    /// The final answer to our INVITE, which had these credentials, came over this connection.
    pub(in crate::ua) fn answer_came(
        &mut self,
        id: LegId,
        response: &Response,
        source: &Source,
        proof: Headers,
    ) {
        if let Some(leg) = self.legs.get_mut(&id) {
            leg.proof = proof;
            leg.answered_from = Some(source.clone());
            if leads_on(response, source) {
                leg.over = Some(source.clone());
            }
        }
    }

    /// The fate of our INVITE.
    pub(super) fn invited(&mut self, id: LegId, fate: Fate, env: &mut Env<'_>) {
        self.timers.clear((id, Timer::Answer));
        let Some(leg) = self.legs.get_mut(&id) else {
            return;
        };
        leg.inviting = false;
        let end = match fate {
            Ok(response) if (200..300).contains(&response.status) => {
                match leg.accepted(&response, env) {
                    Ok(()) => return self.link(id, env),
                    Err(local) => End::Refused(Failure::Local(local)),
                }
            }
            Ok(response) => End::Refused(adapt::failure::from_response(&response)),
            Err(failure) => End::Refused(failure),
        };
        self.finish(id, end, env);
    }

    /// The conference has accepted: now the MSRP connection.
    fn link(&mut self, id: LegId, env: &mut Env<'_>) {
        let Some(leg) = self.legs.get_mut(&id) else {
            return;
        };
        if let Some(channel) = leg.channel() {
            leg.stage = Stage::Linking;
            self.by_channel.insert(channel, id);
            self.timers.set((id, Timer::Link), env.now.mono + LINK_WAIT);
        }
    }

    /// The MSRP connection stands.
    pub(super) fn linked(&mut self, id: LegId, channel: Channel, env: &mut Env<'_>) {
        self.timers.clear((id, Timer::Link));
        let Some(leg) = self.legs.get_mut(&id) else {
            return;
        };
        if let Some(line) = leg.medium.line_mut() {
            line.up = true;
        }
        if leg.stage != Stage::Linking {
            return;
        }
        if leg.nicknames {
            leg.stage = Stage::Naming;
            env.msrp.nickname(channel, &leg.nick, env.now);
        } else {
            self.joined(id, env);
        }
    }

    /// The MSRP connection is gone, or could not be opened. A BYE that explains it may be on its way.
    pub(super) fn broken(&mut self, id: LegId, env: &mut Env<'_>) {
        let Some(leg) = self.legs.get_mut(&id) else {
            return;
        };
        if leg.stage != Stage::Joined {
            return self.unlinked(id, env);
        }
        if let Some(line) = leg.medium.line_mut() {
            line.up = false;
            if let Some(channel) = line.channel.take() {
                self.by_channel.remove(&channel);
                env.msrp.close(channel, env.now);
            }
            self.timers
                .set((id, Timer::Link), env.now.mono + GOODBYE_WAIT);
        }
    }

    /// There is no MSRP connection, and none comes any more.
    pub(super) fn unlinked(&mut self, id: LegId, env: &mut Env<'_>) {
        let failure = Failure::Local(Local::TransportFailed);
        let joined = |leg: &Leg| leg.stage == Stage::Joined;
        let end = match self.legs.get(&id).is_some_and(joined) {
            true => End::Lost(failure),
            false => End::Refused(failure),
        };
        self.finish(id, end, env);
    }

    /// The answer to a nickname: the first one, or another.
    pub(super) fn named(&mut self, id: LegId, outcome: Result<(), Fault>, env: &mut Env<'_>) {
        let Some(leg) = self.legs.get_mut(&id) else {
            return;
        };
        if leg.stage == Stage::Joined {
            return leg.renamed(outcome, env);
        }
        if leg.stage != Stage::Naming {
            return;
        }
        let end = match outcome {
            Ok(()) => return self.joined(id, env),
            Err(Fault::Refused(status)) if NO_NICKNAMES.contains(&status.code) => {
                leg.nicknames = false;
                return self.joined(id, env);
            }
            Err(Fault::Refused(status)) if status.code == NICK_TAKEN => End::NickTaken,
            Err(fault) => End::Refused(failure_of(fault)),
        };
        self.finish(id, end, env);
    }

    /// She is in: who else is?
    fn joined(&mut self, id: LegId, env: &mut Env<'_>) {
        let Some(leg) = self.legs.get_mut(&id) else {
            return;
        };
        leg.stage = Stage::Joined;
        let event = ConferenceEvent::Joined {
            nick: leg.nick.clone(),
            private_messages: leg.private,
        };
        leg.tell(event, env);
        let subscription = Subscription::start(id, &leg.user, &leg.conference, env);
        self.by_subscription.insert(subscription.key(), id);
        leg.subscription = Some(subscription);
    }

    /// Another nickname (RFC 7702 §5.6).
    pub(super) fn rename(&mut self, reference: Ref, nick: String, env: &mut Env<'_>) {
        let id = self.by_ref.get(&reference);
        let Some(leg) = id.and_then(|id| self.legs.get_mut(id)) else {
            return;
        };
        let local = match leg.channel() {
            Some(channel) if leg.nicknames && leg.renaming.is_none() => {
                env.msrp.nickname(channel, &nick, env.now);
                leg.renaming = Some(nick);
                return;
            }
            _ if leg.renaming.is_some() => Local::Overloaded,
            _ => Local::NotImplemented,
        };
        let refusal = NickRefusal::Refused(Failure::Local(local));
        leg.tell(ConferenceEvent::Nick(Err(refusal)), env);
    }
}

impl Leg {
    /// A 2xx to our INVITE: acknowledged, and looked at.
    fn accepted(&mut self, response: &Response, env: &mut Env<'_>) -> Result<(), Local> {
        let dialog = Dialog::from_response(&self.local, &self.call_id, self.cseq, response);
        let dialog = dialog.map_err(|_| Local::TransportFailed)?;
        let ack = self.ack(&dialog, self.cseq);
        let over = self.over.clone();
        send_ack(ack, &dialog, self.domain(), over, env);
        self.dialog = Some(dialog);
        let unfit = || Local::NotAcceptable;
        let answer = described(&response.headers, &response.body);
        let theirs = answer.iter().find(|media| is_msrp(media));
        let theirs = theirs
            .filter(|media| media.chatroom.is_some() || is_focus(&response.headers))
            .ok_or_else(unfit)?;
        if self.stage == Stage::Over {
            return Err(unfit());
        }
        self.nicknames = can(theirs, "nickname");
        self.private = can(theirs, "private-messages");
        if let Some(types) = &theirs.accept_types {
            self.accepted = Accepted::parse(types);
        }
        let place = (self.conference.host.as_str(), self.answered_from.as_ref());
        let line = self.medium.line_mut().ok_or_else(unfit)?;
        let role = medium::caller_role(line.own.setup, theirs.setup).ok_or_else(unfit)?;
        line.open(theirs, role, place, env).ok_or_else(unfit)
    }

    /// The ACK of a 2xx to our INVITE, with its credentials.
    pub(super) fn ack(&self, dialog: &Dialog, number: u32) -> Request {
        let mut ack = dialog.ack(number);
        for field in self.proof.iter() {
            ack.headers.push_field(field.clone());
        }
        ack
    }

    fn renamed(&mut self, outcome: Result<(), Fault>, env: &mut Env<'_>) {
        let Some(nick) = self.renaming.take() else {
            return;
        };
        let outcome = match outcome {
            Ok(()) => {
                self.nick.clone_from(&nick);
                Ok(nick)
            }
            Err(Fault::Refused(status)) if status.code == NICK_TAKEN => Err(NickRefusal::Taken),
            Err(Fault::Refused(status)) if status.code == NICK_MALFORMED => {
                Err(NickRefusal::Malformed)
            }
            Err(fault) => Err(NickRefusal::Refused(failure_of(fault))),
        };
        self.tell(ConferenceEvent::Nick(outcome), env);
    }
}

fn new_leg(
    reference: Ref,
    (user, conference, nick): (SipAddress, SipAddress, String),
    mut medium: Medium,
    env: &mut Env<'_>,
) -> Leg {
    let local_tag = env.entropy.token();
    if let Some(line) = medium.line_mut() {
        line.own.chatroom = Some(ABILITIES.to_owned());
    }
    let own = medium.own(&env.behaviour(&conference.host), None);
    Leg {
        reference,
        local: format!("<{}>;tag={local_tag}", adapt::address::to_uri(&user)),
        user,
        conference,
        nick,
        stage: Stage::Inviting,
        call_id: format!("{}@{}", env.entropy.token(), env.settings.local.host),
        local_tag,
        cseq: 1,
        dialog: None,
        over: None,
        answered_from: None,
        proof: Headers::new(),
        description: sdp::offer(&env.settings.local.host, 0, &own),
        medium,
        accepted: Accepted::default(),
        nicknames: false,
        private: false,
        inviting: true,
        leaving: false,
        subscription: None,
        present: Present::default(),
        told: false,
        silent: false,
        subject: None,
        sent: Default::default(),
        referrals: Default::default(),
        renaming: None,
        deliveries: Default::default(),
    }
}

/// The user that our `Contact` names.
pub(super) fn own_user(leg: &Leg, env: &Env<'_>) -> OwnUser {
    OwnUser::new(&leg.user, &env.behaviour(leg.domain()))
}

/// RFC 7702 §5.1: `From` with the resource, `To` without a nickname.
fn invitation(leg: &Leg, env: &Env<'_>) -> Request {
    let uri = adapt::address::to_uri(&leg.conference).to_string();
    let mut request = Request::new(Method::INVITE, uri.clone());
    let headers = &mut request.headers;
    headers.push("Max-Forwards", MAX_FORWARDS);
    headers.push("From", &leg.local);
    headers.push("To", format!("<{uri}>"));
    headers.push("Call-ID", &leg.call_id);
    headers.push("CSeq", format!("{} INVITE", leg.cseq));
    headers.push("User-Agent", &env.settings.product);
    headers.push("Allow", allow());
    headers.push("Content-Type", sdp::CONTENT_TYPE);
    request.body = Bytes::from(leg.description.clone());
    request
}
