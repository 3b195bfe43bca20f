//! What follows from an input: requests and answers that the usages asked for, and what comes of the transactions.

use stox_core::time::Now;

use super::effects::{Asked, Env, Fate, Purpose};
use super::outgoing::{Challenged, Step};
use super::{UserAgent, conference, edge, session, with};
use crate::adapt::diagnostics;
use crate::dialect;
use crate::message::Response;
use crate::method::Method;
use crate::transaction::{ClientId, TransactionEvent};

impl UserAgent {
    /// Carries out what the usages asked for, and what follows from it, until nothing is left to do.
    pub(super) fn settle(&mut self, now: Now) {
        loop {
            if let Some((server, response)) = self.effects.answers.pop_front() {
                self.transactions.respond(server, &response, now);
                if self.effects.forgotten.remove(&server) {
                    self.transactions.forget(server);
                }
            } else if let Some(outgoing) = self.effects.requests.pop_front() {
                let lane = self.settings.lane(&outgoing.domain, &self.dialects);
                let parts = (outgoing, lane);
                let sent = self
                    .requests
                    .send(parts, &self.settings, &mut self.transactions, now);
                if let Some((purpose, fate)) = sent {
                    self.settled(purpose, fate, now);
                }
            } else if let Some(purpose) = self.effects.cancels.pop_front() {
                let settled = self.requests.cancel(purpose, &mut self.transactions, now);
                if let Some((purpose, fate)) = settled {
                    self.settled(purpose, fate, now);
                }
            } else if let Some(page) = self.effects.reroute.pop_front() {
                self.send_message(page, now);
            } else if let Some(event) = self.msrp.poll_event() {
                self.msrp_happened(event, now);
            } else if let Some(event) = self.transactions.poll_event() {
                self.happened(event, now);
            } else {
                return;
            }
        }
    }

    fn happened(&mut self, event: TransactionEvent, now: Now) {
        match event {
            TransactionEvent::Request {
                id,
                request,
                source,
            } => {
                let server = Some(id);
                let asked = Asked {
                    request,
                    server,
                    source,
                };
                self.take(asked, now);
            }
            TransactionEvent::Response {
                id,
                response,
                source,
                in_doubt,
            } => {
                if is_late_answer(&response) && !self.requests.knows(id) {
                    if with!(self.participants.late_answer(&response), now) {
                        return;
                    }
                    return with!(self.sessions.late_answer(&response, &source), now);
                }
                if let Some(domain) = self.requests.domain_of(id).map(str::to_owned) {
                    self.observe(&domain, dialect::of_response(&response), now);
                }
                self.note_refusal(id, &response, now);
                let proof = self.requests.proof(id);
                let answer = (response, in_doubt);
                match self
                    .requests
                    .response(id, answer, &source, &self.settings, now)
                {
                    Step::Nothing => {}
                    Step::Settled(purpose, fate) => {
                        if let (Purpose::Session(session, session::Step::Invite), Ok(answer)) =
                            (purpose, &fate)
                        {
                            self.sessions.answer_came(session, answer, &source, proof);
                        } else if let (
                            Purpose::Participant(leg, conference::Step::Invite),
                            Ok(answer),
                        ) = (purpose, &fate)
                        {
                            self.participants.answer_came(leg, answer, &source, proof);
                        } else if let (Purpose::Registration(line), Ok(answer)) = (purpose, &fate) {
                            self.registrations.answer_came(line, answer.status, &source);
                        }
                        self.settled(purpose, fate, now);
                    }
                    Step::Challenged(challenged) => self.challenged(*challenged, now),
                }
            }
            TransactionEvent::Failed { id, cause } => {
                let failed =
                    self.requests
                        .failed(id, cause, &self.settings, &mut self.transactions, now);
                if let Some((purpose, fate)) = failed {
                    self.settled(purpose, fate, now);
                }
            }
            TransactionEvent::ServerGone { id, .. } => {
                with!(self.inbox.server_gone(id), now);
                with!(self.watchers.server_gone(id), now);
                with!(self.sessions.server_gone(id), now);
                with!(self.foci.server_gone(id), now);
                self.invitations.server_gone(id);
            }
            TransactionEvent::Ack { id, request, .. } => {
                self.foci.acknowledged(id);
                with!(self.sessions.acknowledged(id, &request), now);
            }
            TransactionEvent::Cancelled { id } => {
                with!(self.sessions.cancelled(id), now);
                with!(self.foci.cancelled(id), now);
                with!(self.invitations.cancelled(id), now);
            }
        }
    }

    /// Keeps for the administrator why a partner refuses.
    fn note_refusal(&mut self, id: ClientId, response: &Response, now: Now) {
        if response.status < 300 {
            return;
        }
        if let Some(why) = diagnostics::explanation(response)
            && let Some((domain, method)) = self.requests.asked(id)
        {
            let asked = (method.clone(), Some(response.status));
            self.troubles.note(domain, asked, why, now.mono);
        }
    }

    /// Keeps for the administrator why a partner ends something.
    pub(super) fn note_reason(&mut self, asked: &Asked, now: Now) {
        if let Some(why) = diagnostics::explained(&asked.request.headers)
            && let Some(domain) = edge::neighbour(&asked.source, &self.settings)
        {
            let method = (asked.request.method.clone(), None);
            self.troubles.note(&domain.name, method, why, now.mono);
        }
    }

    /// Gives a request's fate to its usage.
    pub(super) fn settled(&mut self, purpose: Purpose, fate: Fate, now: Now) {
        match purpose {
            Purpose::Page(reference) => with!(self.pages.settled(reference, fate), now),
            Purpose::PageNotice(number) => with!(self.pages.noticed(number, &fate), now),
            Purpose::Subscription(reference) => {
                with!(self.subscriptions.settled(reference, fate), now);
            }
            Purpose::Watcher(reference) => with!(self.watchers.settled(reference, &fate), now),
            Purpose::Notice(reference) => with!(self.watchers.noticed(reference, &fate), now),
            Purpose::Session(id, step) => with!(self.sessions.settled(id, step, fate), now),
            Purpose::Participant(id, step) => {
                with!(self.participants.settled(id, step, fate), now);
            }
            Purpose::Focus(id, step) => with!(self.foci.settled(id, step, &fate), now),
            Purpose::Registration(line) => with!(self.registrations.settled(line, &fate), now),
            Purpose::Ack | Purpose::Stray => {}
        }
    }

    /// Answers a challenge under the next CSeq of the usage.
    fn challenged(&mut self, challenged: Challenged, now: Now) {
        let cseq = match challenged.purpose() {
            Purpose::Page(reference) => with!(self.pages.next_cseq(reference), now),
            Purpose::PageNotice(number) => with!(self.pages.next_cseq_of_notice(number), now),
            Purpose::Subscription(reference) => self.subscriptions.next_cseq(reference),
            Purpose::Watcher(reference) | Purpose::Notice(reference) => {
                self.watchers.next_cseq(reference)
            }
            Purpose::Session(id, step) => self.sessions.next_cseq(id, step),
            Purpose::Participant(id, step) => self.participants.next_cseq(id, step),
            Purpose::Focus(id, step) => self.foci.next_cseq(id, step),
            Purpose::Registration(line) => self.registrations.next_cseq(line),
            Purpose::Ack | Purpose::Stray => None,
        };
        let Some(cseq) = cseq else {
            let (purpose, fate) = challenged.refused();
            return self.settled(purpose, fate, now);
        };
        let sent = self.requests.authorise(
            challenged,
            cseq,
            &self.settings,
            self.entropy.as_mut(),
            &mut self.transactions,
            now,
        );
        if let Some((purpose, fate)) = sent {
            self.settled(purpose, fate, now);
        }
    }
}

/// A 2xx to an INVITE, of which there may be several (RFC 6026 §7.2).
fn is_late_answer(response: &Response) -> bool {
    (200..300).contains(&response.status)
        && matches!(response.headers.cseq(), Ok(cseq) if cseq.method == Method::INVITE)
}
