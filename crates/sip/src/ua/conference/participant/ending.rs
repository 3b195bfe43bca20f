//! How the stay of an XMPP user in a conference ends (RFC 7702 §5.8).

use stox_core::failure::{Failure, Local};
use stox_core::vocab::{ConferenceEvent, End, Ref};

use super::traffic::outcome;
use super::{Participants, Stage};
use crate::method::Method;
use crate::ua::conference::{LegId, Step, Timer};
use crate::ua::effects::{Env, Outgoing, Purpose};

impl Participants {
    /// She leaves: BYE, or CANCEL while the INVITE is open.
    pub(super) fn leave(&mut self, reference: Ref, env: &mut Env<'_>) {
        if let Some(id) = self.by_ref.get(&reference).copied() {
            self.finish(id, End::Left, env);
            self.sweep(id);
        }
    }

    /// The gateway stops: everybody leaves, and nobody enters any more.
    pub(in crate::ua) fn shut_down(&mut self, env: &mut Env<'_>) {
        self.stopping = true;
        let legs: Vec<LegId> = self.legs.keys().copied().collect();
        for id in legs {
            let end = End::Lost(Failure::Local(Local::ShuttingDown));
            self.finish(id, end, env);
            self.sweep(id);
        }
    }

    /// Ends a leg, whatever it had come to: everything that is owed gets its outcome, the bridge is told, and the
    /// conference where it does not know.
    pub(super) fn finish(&mut self, id: LegId, end: End, env: &mut Env<'_>) {
        for timer in [Timer::Answer, Timer::Link] {
            self.timers.clear((id, timer));
        }
        let Some(leg) = self.legs.get_mut(&id) else {
            return;
        };
        if let Some(line) = leg.medium.line() {
            line.withdraw(env);
        }
        let channel = leg.medium.line_mut().and_then(|line| line.channel.take());
        if let Some(channel) = channel {
            self.by_channel.remove(&channel);
            env.msrp.close(channel, env.now);
        }
        for (reference, delivery) in std::mem::take(&mut leg.deliveries) {
            self.by_message.remove(&reference);
            self.by_delivery.remove(&delivery);
        }
        if leg.stage != Stage::Over {
            let failure = match &end {
                End::Lost(failure) => failure.clone(),
                _ => Failure::Local(Local::TransportFailed),
            };
            let owed = std::mem::take(&mut leg.sent).into_values();
            let owed = owed.chain(std::mem::take(&mut leg.referrals));
            let owed: Vec<Ref> = owed.collect();
            for reference in owed {
                outcome(leg.reference, reference, Err(failure.clone()), env);
            }
            leg.tell(ConferenceEvent::Ended(end), env);
            leg.stage = Stage::Over;
            self.by_ref.remove(&leg.reference);
            if leg.inviting {
                let invite = Purpose::Participant(id, Step::Invite);
                env.effects.cancels.push_back(invite);
            }
        }
        if let Some(subscription) = leg.subscription.as_mut() {
            subscription.close(&mut self.timers, env);
        }
        let Some(dialog) = leg.dialog.as_mut().filter(|_| !leg.leaving) else {
            return;
        };
        let mut request = dialog.request(Method::BYE);
        request.headers.push("User-Agent", &env.settings.product);
        let outgoing = Outgoing {
            purpose: Purpose::Participant(id, Step::Bye),
            next_hop: dialog.next_hop(),
            request,
            over: leg.over.clone(),
            domain: leg.conference.host.clone(),
            contact: None,
            branch_hint: None,
        };
        leg.leaving = true;
        env.send(outgoing);
    }
}
