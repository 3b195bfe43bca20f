//! Who is in a conference, as far as it tells (RFC 7702 §5.3, §5.4).

use stox_core::address::SipAddress;
use stox_core::vocab::{ConferenceEvent, End, Participant, Role, Roster, Text};

use super::{Leg, Participants, Stage};
use crate::ua::conference::subscription::Heard;
use crate::ua::conference::{LegId, PACKAGE, REFERRALS, Timer, roster};
use crate::ua::effects::{Asked, Env, Fate};
use crate::ua::refusals::Refusal;

impl Participants {
    /// The fate of a SUBSCRIBE.
    pub(super) fn subscribed(&mut self, id: LegId, fate: Fate, env: &mut Env<'_>) {
        let leg = self.legs.get_mut(&id);
        if let Some(subscription) = leg.and_then(|leg| leg.subscription.as_mut()) {
            let heard = subscription.settled(fate, &mut self.timers, env);
            self.heard(id, heard, env);
        }
    }

    pub(super) fn subscription_due(&mut self, id: LegId, timer: Timer, env: &mut Env<'_>) {
        let leg = self.legs.get_mut(&id);
        if let Some(subscription) = leg.and_then(|leg| leg.subscription.as_mut()) {
            let heard = subscription.timed_out(timer, &mut self.timers, env);
            self.heard(id, heard, env);
        }
    }

    /// A NOTIFY that [`Participants::find_notified`] has given to a leg. What a REFER came to is not looked at: the
    /// answer to it has said all.
    pub(in crate::ua) fn notified(&mut self, id: LegId, asked: &Asked, env: &mut Env<'_>) {
        let event = asked.request.headers.event();
        let package = event.ok().flatten().map(|event| event.package);
        let leg = self.legs.get_mut(&id);
        let subscription = leg.and_then(|leg| leg.subscription.as_mut());
        match (package.as_deref(), subscription) {
            (Some(PACKAGE), Some(subscription)) => {
                let heard = subscription.notified(asked, &mut self.timers, env);
                self.heard(id, heard, env);
            }
            (Some(REFERRALS), _) => env.accept(asked),
            (Some(PACKAGE), None) => env.refuse(asked, &Refusal::NoDialog),
            _ => env.refuse(asked, &Refusal::BadEvent),
        }
        self.sweep(id);
    }

    fn heard(&mut self, id: LegId, heard: Heard, env: &mut Env<'_>) {
        let Some(leg) = self
            .legs
            .get_mut(&id)
            .filter(|leg| leg.stage == Stage::Joined)
        else {
            return;
        };
        match heard {
            Heard::Nothing => {}
            Heard::News => leg.tell_news(env),
            Heard::Silence => leg.tell_silence(env),
            Heard::Over => self.finish(id, End::Over { reason: None }, env),
        }
    }
}

impl Leg {
    fn tell_news(&mut self, env: &mut Env<'_>) {
        let Some(subscription) = &self.subscription else {
            return;
        };
        let known = subscription.roster();
        let all = roster::participants(known);
        let subject = known
            .description()
            .and_then(|description| description.subject.clone());
        self.silent = false;
        let changes = self.present.replace(all);
        let full = !std::mem::replace(&mut self.told, true);
        let news = match changes {
            _ if full => Some(Roster {
                full,
                present: self.present.all().cloned().collect(),
                left: Vec::new(),
            }),
            changes => changes,
        };
        let subject = subject.map(|text| Text { lang: None, text });
        if subject != self.subject {
            self.subject.clone_from(&subject);
            self.tell(ConferenceEvent::Subject(subject), env);
        }
        if let Some(news) = news {
            self.tell(ConferenceEvent::Roster(news), env);
        }
    }

    /// Nobody tells who is there, now or at all: what is known stays.
    fn tell_silence(&mut self, env: &mut Env<'_>) {
        if std::mem::replace(&mut self.told, true) {
            return;
        }
        self.silent = true;
        let nobody = Roster {
            full: true,
            ..Roster::default()
        };
        self.tell(ConferenceEvent::Roster(nobody), env);
    }

    /// Whoever speaks is there, where nobody tells.
    pub(super) fn seen(&mut self, address: &SipAddress, name: Option<&str>, env: &mut Env<'_>) {
        if !self.silent || self.present.len() >= crate::body::conference_info::MAX_USERS {
            return;
        }
        let participant = Participant {
            address: address.clone(),
            nick: name.map(str::to_owned),
            role: Role::Participant,
        };
        self.present.insert(participant.clone());
        let news = Roster {
            full: false,
            present: vec![participant],
            left: Vec::new(),
        };
        self.tell(ConferenceEvent::Roster(news), env);
    }
}
