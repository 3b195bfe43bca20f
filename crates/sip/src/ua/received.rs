//! Requests of peers: checked, and given to their usage.

use stox_core::address::SipAddress;
use stox_core::rates::Rate;
use stox_core::time::Now;
use stox_core::vocab::Ref;

use super::conference;
use super::effects::{Asked, Env};
use super::notifier::Arrival;
use super::page_message::{Arrived, Place};
use super::refusals::{self, Refusal};
use super::session::{Invitation, Received, SessionId};
use super::trust::SipDomain;
use super::typing::Conversation;
use super::{UserAgent, edge, routing, with};
use crate::dialect::{self, Evidence};
use crate::message::Request;
use crate::method::Method;

impl UserAgent {
    /// Checks a request and gives it to its usage, or refuses it.
    pub(super) fn take(&mut self, asked: Asked, now: Now) {
        self.note_reason(&asked, now);
        let mut env = self.env(now);
        if let Some(response) = edge::decline_compression(&asked, &mut env) {
            return env.respond(&asked, response);
        }
        if asked.request.method == Method::REFER && self.is_in_session(&asked.request) {
            return self.refuse(&asked, &Refusal::NoTransfer, now);
        }
        if asked.request.method == Method::REFER && self.settings.msrp.is_some() {
            return match refusals::check_refer(&asked.request) {
                Ok(()) => self.take_refer(asked, now),
                Err(refusal) => self.refuse(&asked, &refusal, now),
            };
        }
        if let Err(refusal) = refusals::check(&asked.request) {
            return self.refuse_and_forget(&asked, &refusal, now);
        }
        match &asked.request.method {
            &Method::OPTIONS => self.take_options(&asked, now),
            &Method::NOTIFY | &Method::BENOTIFY => match self.speaker(&asked, now) {
                Ok(_) => self.take_notify(&asked, now),
                Err(refusal) => self.refuse_and_forget(&asked, &refusal, now),
            },
            _ => match self.parties(&asked, now) {
                Ok((from, to)) => {
                    self.observe(&from.host, dialect::of_request(&asked.request), now);
                    self.take_from(asked, from, to, now);
                }
                Err(refusal) => self.refuse_and_forget(&asked, &refusal, now),
            },
        }
    }

    /// Refuses a request of somebody who may be anybody, or who asks too much. Nothing is remembered of it, or they would fill the
    /// table of transactions, and refused INVITEs would be answered again and again to wherever they seem to come from.
    fn refuse_and_forget(&mut self, asked: &Asked, refusal: &Refusal, now: Now) {
        self.refuse(asked, refusal, now);
        self.effects.forgotten.extend(asked.server);
    }

    /// Learns from a message of a domain that is left to learning.
    pub(super) fn observe(&mut self, domain: &str, evidence: Option<Evidence>, now: Now) {
        let open = |domain: &&SipDomain| domain.dialect.profile.is_none();
        if let Some(evidence) = evidence
            && let Some(domain) = self.settings.sip_domain(domain).filter(open)
        {
            self.dialects.observe(&domain.name, evidence, now.mono);
        }
    }

    pub(super) fn refuse(&mut self, asked: &Asked, refusal: &Refusal, now: Now) {
        if *refusal == Refusal::Forbidden {
            let claimed = refusals::sender(&asked.request).map(|from| from.host);
            self.impostors.note(
                claimed.unwrap_or_default(),
                &asked.request.method,
                &asked.source,
                &self.settings,
                now.mono,
            );
        }
        self.env(now).refuse(asked, refusal);
    }

    pub(super) fn env(&mut self, now: Now) -> Env<'_> {
        Env {
            settings: &self.settings,
            entropy: self.entropy.as_mut(),
            now,
            effects: &mut self.effects,
            dialects: &mut self.dialects,
            msrp: &mut self.msrp,
        }
    }

    fn is_in_session(&self, request: &Request) -> bool {
        let call_id = request.headers.get("Call-ID").unwrap_or_default();
        refusals::to_tag(request).is_some_and(|tag| self.sessions.find(call_id, &tag).is_some())
    }

    /// OPTIONS for us or for a domain of ours; a way to see whether we live, which asks for no proof of identity.
    fn take_options(&mut self, asked: &Asked, now: Now) {
        if routing::is_for_us(&asked.request.uri, &self.settings)
            || edge::asks_neighbour(asked, &self.settings)
        {
            let mut env = self.env(now);
            let response = refusals::options(&asked.request, &asked.source, &mut env);
            env.respond(asked, response);
        } else {
            self.refuse(asked, &Refusal::NotFound, now);
        }
    }

    /// A NOTIFY belongs to the dialog of a subscription of ours.
    fn take_notify(&mut self, asked: &Asked, now: Now) {
        let call_id = asked.request.headers.get("Call-ID").unwrap_or_default();
        let tag = refusals::to_tag(&asked.request).unwrap_or_default();
        if let Some(reference) = self.subscriptions.find(call_id, &tag) {
            with!(self.subscriptions.notified(reference, asked), now);
        } else if let Some(leg) = self.participants.find_notified(call_id, &tag) {
            with!(self.participants.notified(leg, asked), now);
        } else if self.subscriptions.was_closed(call_id, &tag) {
            self.env(now).accept(asked);
        } else {
            self.refuse(asked, &Refusal::NoDialog, now);
        }
    }

    /// Who asks whom: a sender that the connection may speak for, and a user of a domain of ours.
    pub(super) fn parties(
        &self,
        asked: &Asked,
        now: Now,
    ) -> Result<(SipAddress, SipAddress), Refusal> {
        let from = self.speaker(asked, now)?;
        let to = refusals::recipient(&asked.request)?;
        let in_dialog = refusals::to_tag(&asked.request).is_some();
        let focus = is_for_conference(&asked.request) && self.settings.local.is_us(&to.host);
        if self.settings.serves(&to.host) || in_dialog || focus {
            Ok((from, to))
        } else {
            Err(Refusal::NotFound)
        }
    }

    /// Who asks: whom a trusted server asserts (RFC 3325), or else whom `From` names. His domain must be one that the
    /// connection may speak for (RFC 3261 §26.3.2).
    fn speaker(&self, asked: &Asked, now: Now) -> Result<SipAddress, Refusal> {
        let source = &asked.source;
        let is_registrar = |domain: &SipDomain| {
            !domain.needs_certificate && self.registrations.vouch(&domain.name, source, now.mono)
        };
        let domain = |host: &str| {
            let domain = self.settings.sip_domain(host);
            domain.filter(|domain| domain.is_spoken_for_by(source) || is_registrar(domain))
        };
        let trusted = |asserted: &SipAddress| {
            domain(&asserted.host).is_some_and(|domain| domain.asserts_identity)
        };
        if let Some(asserted) = refusals::asserted(&asked.request).filter(trusted) {
            return Ok(asserted);
        }
        let from = refusals::sender(&asked.request)?;
        if domain(&from.host).is_some() {
            Ok(from)
        } else if refusals::is_anonymous(&from) && edge::neighbour(source, &self.settings).is_some()
        {
            Err(Refusal::Anonymous)
        } else {
            Err(Refusal::Forbidden)
        }
    }

    /// A MESSAGE or SUBSCRIBE between two parties that may talk to each other.
    fn take_from(&mut self, asked: Asked, from: SipAddress, to: SipAddress, now: Now) {
        if !self.is_within_rate(&asked, &from.host, now) {
            return self.refuse_and_forget(&asked, &Refusal::Busy, now);
        }
        match refusals::to_tag(&asked.request) {
            Some(tag) => self.take_in_dialog(asked, &from, &tag, now),
            None => match asked.request.method.clone() {
                Method::MESSAGE => self.take_message(asked, from, to, None, now),
                Method::INVITE => {
                    let parties = (&from, &to);
                    let Some(asked) = self.take_conference_invite(asked, parties, now) else {
                        return;
                    };
                    let invitation = Invitation {
                        reference: self.next_ref(),
                        asked,
                        from,
                        to,
                    };
                    with!(self.sessions.arrived(invitation), now);
                }
                Method::SUBSCRIBE if is_for_conference(&asked.request) => {
                    self.take_room_subscribe(&asked, (&from, &to), now);
                }
                Method::SUBSCRIBE => self.take_subscribe(asked, from, to, now),
                _ => self.refuse(&asked, &Refusal::NoDialog, now),
            },
        }
    }

    /// A MESSAGE, in a session of that thread or outside.
    fn take_message(
        &mut self,
        asked: Asked,
        from: SipAddress,
        to: SipAddress,
        session: Option<(SessionId, String)>,
        now: Now,
    ) {
        let conversation = Conversation {
            from: from.clone(),
            to: to.clone(),
        };
        let reference = self.next_ref();
        self.pages.saw(&from, &asked.request.headers, now.mono);
        let shows_typing = session.is_none() && self.shows_typing(&from, now);
        let place = Place {
            reference,
            session: session.as_ref().map(|(id, thread)| (*id, thread.as_str())),
            shows_typing,
        };
        if let Some((id, _)) = &session {
            self.sessions.took(*id, &asked.request, reference);
        }
        let parties = (from.clone(), to.clone());
        let arrived = with!(self.inbox.arrived(asked, parties, &place), now);
        match (session, arrived) {
            (Some((id, _)), Arrived::Composing(composing)) => {
                with!(self.sessions.heard(id, &composing), now);
            }
            (None, Arrived::Composing(composing)) => {
                with!(self.typists.heard(conversation, &composing), now);
            }
            (_, Arrived::Receipts(receipts)) => {
                with!(self.pages.heard((&from, &to), receipts), now);
            }
            (Some((id, _)), _) => self.sessions.wrote(id),
            (None, Arrived::Message { language, wanted }) => {
                self.typists.wrote(&conversation);
                if let Some(language) = language {
                    self.pages.wrote_in(&from, &language, now.mono);
                }
                if let Some(wanted) = wanted {
                    self.pages.owes(reference, wanted, (from, to), now.mono);
                }
            }
            (None, Arrived::Nothing) => _ = self.typists.wrote(&conversation),
        }
    }

    /// Whether a user outside a session can be told what an XMPP user does, so that her client is to tell it.
    fn shows_typing(&mut self, user: &SipAddress, now: Now) -> bool {
        let env = Env {
            settings: &self.settings,
            entropy: self.entropy.as_mut(),
            now,
            effects: &mut self.effects,
            dialects: &mut self.dialects,
            msrp: &mut self.msrp,
        };
        self.pages.tells_typing(user, &env)
    }

    fn take_in_dialog(&mut self, asked: Asked, from: &SipAddress, tag: &str, now: Now) {
        let call_id = asked.request.headers.get("Call-ID").unwrap_or_default();
        if let Some(id) = self.sessions.find(call_id, tag) {
            return match with!(self.sessions.receive(id, &asked, from), now) {
                Received::Done => {}
                Received::Message { from, to, thread } => {
                    self.take_message(asked, from, to, Some((id, thread)), now);
                }
                Received::Again { reference, outcome } => {
                    let known = (reference, outcome.as_ref());
                    with!(self.inbox.arrived_again(asked, known), now);
                }
            };
        }
        let Some(asked) = self.take_in_conference(asked, from, tag, now) else {
            return;
        };
        let call_id = asked.request.headers.get("Call-ID").unwrap_or_default();
        let found = self
            .watchers
            .find(call_id, tag)
            .filter(|_| asked.request.method == Method::SUBSCRIBE);
        match found {
            Some(reference) => with!(self.watchers.refreshed(reference, &asked), now),
            None => self.refuse_and_forget(&asked, &Refusal::NoDialog, now),
        }
    }

    fn take_subscribe(
        &mut self,
        asked: Asked,
        watcher: SipAddress,
        presentity: SipAddress,
        now: Now,
    ) {
        if let Err(refusal) = refusals::check_subscribe(&asked.request) {
            return self.refuse(&asked, &refusal, now);
        }
        if self.is_full() {
            return self.refuse(&asked, &Refusal::Busy, now);
        }
        let arrival = Arrival {
            reference: self.next_ref(),
            asked,
            watcher,
            presentity,
        };
        with!(self.watchers.arrived(arrival), now);
    }

    /// Whether its domain and the address that it came from may ask once more now, each by the same measure: one server
    /// may speak for many domains, and many servers for one.
    pub(super) fn is_within_rate(&mut self, asked: &Asked, domain: &str, now: Now) -> bool {
        let limits = &self.settings.limits;
        let (rates, most) = match &asked.request.method {
            &Method::MESSAGE | &Method::INVITE | &Method::REFER => {
                (&mut self.message_rates, limits.messages_per_second)
            }
            // Typing must not cost anybody a message.
            &Method::INFO | &Method::UPDATE => (&mut self.notice_rates, limits.messages_per_second),
            &Method::SUBSCRIBE => (&mut self.subscribe_rates, limits.subscribes_per_second),
            _ => return true,
        };
        let rate = Rate::per_second(most);
        rates.allow(domain, Some(asked.source.remote.ip()), rate, now.mono)
    }

    pub(super) fn next_ref(&mut self) -> Ref {
        self.last_ref += 1;
        Ref(self.last_ref)
    }
}

/// A SUBSCRIBE to the state of a conference.
fn is_for_conference(request: &Request) -> bool {
    matches!(request.headers.event(), Ok(Some(event)) if event.package == conference::PACKAGE)
}
