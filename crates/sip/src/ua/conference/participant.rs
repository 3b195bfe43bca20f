//! XMPP users in SIP conferences: the participant of RFC 7701, one leg for each (RFC 7702 §5).

mod ending;
mod setup;
mod state;
mod traffic;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use stox_core::address::SipAddress;
use stox_core::vocab::{ConferenceEvent, ConferenceOut, Ref, SipIn, Text};

use super::roster::Present;
use super::subscription::Subscription;
use super::{LegId, Step, Timer, Timers};
use crate::adapt::im::Accepted;
use crate::dialog::Dialog;
use crate::header::Headers;
use crate::msrp::endpoint::{Channel, DeliveryId};
use crate::transport::Source;
use crate::ua::effects::{Env, Fate};
use crate::ua::session::medium::Medium;

/// How far a leg has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Our INVITE has no final answer.
    Inviting,
    /// It is accepted, and no MSRP connection is there yet.
    Linking,
    /// Our nickname has no answer.
    Naming,
    /// She is in.
    Joined,
    /// Nothing of it is told any more; what is under way gets its answer.
    Over,
}

#[derive(Debug)]
struct Leg {
    /// What the bridge calls it, while it is not over.
    reference: Ref,
    user: SipAddress,
    conference: SipAddress,
    /// The nickname: asked for, then hers.
    nick: String,
    stage: Stage,
    call_id: String,
    /// Our `From` value with our tag.
    local: String,
    local_tag: String,
    /// Number of our INVITE.
    cseq: u32,
    dialog: Option<Dialog>,
    /// The peer's own connection.
    over: Option<Source>,
    answered_from: Option<Source>,
    /// The credentials in our INVITE, for its ACK.
    proof: Headers,
    medium: Medium,
    description: String,
    /// What the peer takes as it is.
    accepted: Accepted,
    nicknames: bool,
    private: bool,
    /// Our INVITE, and our BYE, have no final answer.
    inviting: bool,
    leaving: bool,
    subscription: Option<Subscription>,
    present: Present,
    /// The bridge knows who is there.
    told: bool,
    /// Nobody tells who is there: those who speak are.
    silent: bool,
    subject: Option<Text>,
    /// Messages under way, by Message-ID.
    sent: BTreeMap<String, Ref>,
    /// REFERs under way.
    referrals: BTreeSet<Ref>,
    /// Another nickname has no answer.
    renaming: Option<String>,
    /// Messages that the bridge has not answered.
    deliveries: BTreeMap<Ref, DeliveryId>,
}

impl Leg {
    fn domain(&self) -> &str {
        &self.conference.host
    }

    fn channel(&self) -> Option<Channel> {
        self.medium.line()?.channel
    }

    fn tell(&self, event: ConferenceEvent, env: &mut Env<'_>) {
        env.tell(SipIn::Conference {
            leg: self.reference,
            event,
        });
    }
}

/// All XMPP users in SIP conferences.
#[derive(Debug, Default)]
pub(in crate::ua) struct Participants {
    legs: BTreeMap<LegId, Leg>,
    by_ref: BTreeMap<Ref, LegId>,
    /// INVITE dialogs, and those of subscriptions, by Call-ID and our tag.
    by_dialog: BTreeMap<(String, String), LegId>,
    by_subscription: BTreeMap<(String, String), LegId>,
    by_channel: BTreeMap<Channel, LegId>,
    /// Messages that the bridge has not answered, and whose they are.
    by_message: BTreeMap<Ref, LegId>,
    by_delivery: BTreeMap<DeliveryId, Ref>,
    timers: Timers,
    last: u64,
    stopping: bool,
}

impl Participants {
    /// The SIP domains of all of them.
    pub(in crate::ua) fn domains(&self) -> impl Iterator<Item = &str> {
        self.legs.values().map(Leg::domain)
    }

    pub(in crate::ua) fn len(&self) -> usize {
        self.legs.len()
    }

    /// How many messages the bridge has not answered.
    pub(in crate::ua) fn unanswered(&self) -> usize {
        self.by_message.len()
    }

    pub(in crate::ua) fn is_empty(&self) -> bool {
        self.legs.is_empty()
            && self.by_ref.is_empty()
            && self.by_dialog.is_empty()
            && self.by_subscription.is_empty()
            && self.by_channel.is_empty()
            && self.by_message.is_empty()
            && self.by_delivery.is_empty()
    }

    /// What the bridge wants.
    pub(in crate::ua) fn command(&mut self, out: ConferenceOut, env: &mut Env<'_>) {
        match out {
            ConferenceOut::Join {
                leg,
                user,
                conference,
                nick,
            } => self.join(leg, user, conference, nick, env),
            ConferenceOut::Message {
                reference,
                leg,
                to,
                im,
            } => self.send(reference, leg, (to, &im), env),
            ConferenceOut::ChangeNick { leg, nick } => self.rename(leg, nick, env),
            ConferenceOut::Invite {
                reference,
                leg,
                invitee,
                reason,
            } => self.refer(reference, leg, (&invitee, reason.as_deref()), env),
            ConferenceOut::Answer { reference, outcome } => {
                self.answer(reference, &outcome, env);
            }
            ConferenceOut::Leave { leg } => self.leave(leg, env),
        }
    }

    /// The INVITE dialog of a leg.
    pub(in crate::ua) fn find(&self, call_id: &str, local_tag: &str) -> Option<LegId> {
        let key = (call_id.to_owned(), local_tag.to_owned());
        self.by_dialog.get(&key).copied()
    }

    /// The leg that a NOTIFY is for: in the dialog of its subscription, or, about a REFER, in that of its INVITE.
    pub(in crate::ua) fn find_notified(&self, call_id: &str, local_tag: &str) -> Option<LegId> {
        let key = (call_id.to_owned(), local_tag.to_owned());
        let found = self.by_subscription.get(&key);
        found.or_else(|| self.by_dialog.get(&key)).copied()
    }

    /// The SIP domain of an MSRP session.
    pub(in crate::ua) fn domain_of(&self, channel: Channel) -> Option<&str> {
        let id = self.by_channel.get(&channel)?;
        self.legs.get(id).map(Leg::domain)
    }

    /// The fate of a request of ours.
    pub(in crate::ua) fn settled(&mut self, id: LegId, step: Step, fate: Fate, env: &mut Env<'_>) {
        match step {
            Step::Invite => self.invited(id, fate, env),
            Step::Bye => {
                if let Some(leg) = self.legs.get_mut(&id) {
                    leg.leaving = false;
                }
            }
            Step::Subscribe => self.subscribed(id, fate, env),
            Step::Refer(reference) => self.referred(id, reference, fate, env),
            Step::Notify => {}
        }
        self.sweep(id);
    }

    /// Takes the next CSeq for a request that is sent again with credentials; none for one that is not wanted any more.
    pub(in crate::ua) fn next_cseq(&mut self, id: LegId, step: Step) -> Option<u32> {
        let leg = self.legs.get_mut(&id)?;
        match step {
            Step::Invite if leg.stage == Stage::Over => None,
            Step::Invite => {
                leg.cseq += 1;
                Some(leg.cseq)
            }
            Step::Subscribe => leg.subscription.as_mut()?.next_cseq(),
            _ => leg.dialog.as_mut().map(Dialog::next_cseq),
        }
    }

    /// The next timer.
    pub(in crate::ua) fn next_timeout(&self) -> Option<Duration> {
        self.timers.next()
    }

    /// Runs the timers that are due.
    pub(in crate::ua) fn handle_timeout(&mut self, env: &mut Env<'_>) {
        while let Some((id, timer)) = self.timers.pop_due(env.now.mono) {
            match timer {
                Timer::Answer => self.give_up(id, env),
                Timer::Link => self.unlinked(id, env),
                Timer::FirstNotify | Timer::Refresh | Timer::Expiry | Timer::Pace => {
                    self.subscription_due(id, timer, env);
                }
            }
            self.sweep(id);
        }
    }

    /// Forgets a leg that is over and of which nothing is under way.
    fn sweep(&mut self, id: LegId) {
        let done = |leg: &Leg| {
            let quiet = leg.subscription.as_ref().is_none_or(Subscription::is_idle);
            leg.stage == Stage::Over && !leg.inviting && !leg.leaving && quiet
        };
        if !self.legs.get(&id).is_some_and(done) {
            return;
        }
        if let Some(leg) = self.legs.remove(&id) {
            self.by_dialog.remove(&(leg.call_id, leg.local_tag));
            if let Some(subscription) = leg.subscription {
                subscription.still(&mut self.timers);
                self.by_subscription.remove(&subscription.key());
            }
        }
        for timer in [Timer::Answer, Timer::Link] {
            self.timers.clear((id, timer));
        }
    }
}
