//! What flows in a session that is up.

use stox_core::address::SipAddress;
use stox_core::failure::{Failure, Local};
use stox_core::vocab::Ref;

use super::callee::offered_again;
use super::{Session, SessionId, Sessions, State, Step, Taken, Timer, pair};
use crate::adapt;
use crate::adapt::im::Accepted;
use crate::dialect::ImMode;
use crate::dialog::Order;
use crate::message::Request;
use crate::method::Method;
use crate::transport::Transport;
use crate::ua::effects::{Asked, Env, Fate, Outgoing, Purpose};
use crate::ua::page_message::{Page, fail, taken};
use crate::ua::refusals::Refusal;
use crate::ua::routing;

/// Final answers after which the dialog is gone or of no use (RFC 5057 §5.1).
const ENDS_SESSION: &[u16] = &[404, 408, 410, 416, 480, 482, 483, 484, 485, 502, 604];
/// The peer does not know the dialog: the message was not taken, and may go another way.
const NO_DIALOG: u16 = 481;

/// What a request in a session comes to.
#[derive(Debug)]
pub(in crate::ua) enum Received {
    /// It is answered.
    Done,
    /// A MESSAGE to be read and answered.
    Message {
        from: SipAddress,
        to: SipAddress,
        thread: String,
    },
    /// The last MESSAGE once more, for instance over another connection: to be answered as it was, or will be.
    Again {
        reference: Ref,
        outcome: Option<Result<(), Failure>>,
    },
}

impl Session {
    /// The transport of a request of the peer's, by the last `Via` written.
    pub(super) fn transport(&self, request: &Request) -> Transport {
        let via = request.headers.top_via().ok();
        via.and_then(|via| Transport::from_via(&via.transport))
            .unwrap_or(Transport::Tls)
    }

    /// A request of ours in the dialog, on its way.
    pub(super) fn outgoing(
        &mut self,
        id: SessionId,
        step: Step,
        request: Request,
        env: &Env<'_>,
    ) -> Option<Outgoing> {
        let own = super::caller::own_user(self, env);
        let dialog = self.dialog.as_ref()?;
        Some(Outgoing {
            purpose: Purpose::Session(id, step),
            next_hop: dialog.next_hop(),
            request,
            over: self.over.clone(),
            domain: self.domain().to_owned(),
            contact: Some(own),
            branch_hint: None,
        })
    }
}

impl Sessions {
    /// INVITE, answer and ACK are through: messages flow once there is a connection.
    pub(super) fn set_up(&mut self, id: SessionId, env: &mut Env<'_>) {
        let Some(session) = self.book.get_mut(id) else {
            return;
        };
        if session.medium.is_up() {
            session.state = State::Open;
            self.opened(id, env);
        } else if session
            .medium
            .line()
            .is_some_and(|line| line.channel.is_some() && !line.lost)
        {
            session.state = State::Linking;
        } else {
            self.unlinkable(id, env);
        }
    }

    /// A session is up. Of two that both sides opened at the same moment, the one with the lower Call-ID is used by both;
    /// the other ends.
    pub(super) fn opened(&mut self, id: SessionId, env: &mut Env<'_>) {
        self.rest(id, env);
        let Some(session) = self.book.get(id) else {
            return;
        };
        let (key, mine) = (session.pair.clone(), session.call_id.clone());
        let ours_waits = self.book.of_pair(&key).find(|(other, session)| {
            *other != id
                && matches!(session.state, State::Inviting)
                && session.call_id > mine
                && session.thread.is_none()
        });
        if let Some((other, _)) = ours_waits {
            for page in self.take_all(other) {
                self.enqueue(id, page, env);
            }
        }
        let spare = self
            .book
            .get(id)
            .is_some_and(|session| session.cseq > 0 && !session.is_busy());
        let another = self.book.of_pair(&key).any(|(other, session)| {
            other != id && matches!(session.state, State::Open) && session.call_id < mine
        });
        if self.stopping || (spare && another) {
            self.close(id, env);
        } else {
            self.pump(id, env);
        }
    }

    /// Sends the next message, unless one is under way.
    pub(super) fn pump(&mut self, id: SessionId, env: &mut Env<'_>) {
        let ready =
            |session: &Session| matches!(session.state, State::Open) && session.sending.is_none();
        while self.book.get(id).is_some_and(ready) {
            let Some(page) = self.take_next(id) else {
                return self.type_on(id, env);
            };
            self.transmit(id, page, env);
        }
    }

    fn transmit(&mut self, id: SessionId, page: Page, env: &mut Env<'_>) {
        let Some(session) = self.book.get_mut(id) else {
            return fail(page, Failure::Local(Local::TransportFailed), env);
        };
        if session.medium.line().is_some() {
            return self.transmit_over_msrp(id, page, env);
        }
        let Ok(content) = adapt::im::write(&page.im, &session.accepted) else {
            return fail(page, Failure::Local(Local::NotAcceptable), env);
        };
        let Some(mut request) = session
            .dialog
            .as_mut()
            .map(|dialog| dialog.request(Method::MESSAGE))
        else {
            return fail(page, Failure::Local(Local::TransportFailed), env);
        };
        request.headers.push("User-Agent", &env.settings.product);
        adapt::trace::write(&mut request.headers, &page.im.trace);
        for (name, value) in &content.headers {
            request.headers.push(name, value);
        }
        request.body = content.body;
        let outgoing = session.outgoing(id, Step::Message, request, env);
        session.sending = Some(page);
        // A message ends the typing before it by itself (RFC 3994 §3.3).
        session.composing = None;
        self.timers.clear((id, Timer::Typing));
        self.rest(id, env);
        if let Some(mut outgoing) = outgoing {
            let sent = self
                .book
                .get(id)
                .and_then(|session| session.sending.as_ref());
            let hint = sent.and_then(|page| page.im.id.as_deref());
            outgoing.branch_hint = hint.map(adapt::im::branch_hint);
            env.send(outgoing);
        }
    }

    /// The fate of a message.
    pub(super) fn delivered(&mut self, id: SessionId, fate: Fate, env: &mut Env<'_>) {
        let Some(session) = self.book.get_mut(id) else {
            return;
        };
        let Some(mut page) = session.sending.take() else {
            return;
        };
        let closing = matches!(session.state, State::Closing);
        match fate {
            Ok(response) if (200..300).contains(&response.status) => {
                taken(page, ImMode::Session, env);
            }
            Ok(response) if response.status == NO_DIALOG && !page.reopened => {
                return self.send_elsewhere(id, page, env);
            }
            Ok(response)
                if response.status == 415
                    && !closing
                    && !page.rewritten
                    && session.learn_types(&page, &response.headers) =>
            {
                page.rewritten = true;
                return self.transmit(id, page, env);
            }
            Ok(response) => {
                fail(page, adapt::failure::from_response(&response), env);
                if response.status == NO_DIALOG {
                    return self.reopen(id, env);
                }
                if ENDS_SESSION.contains(&response.status) && !closing {
                    return self.close(id, env);
                }
            }
            Err(failure) => {
                // Want of room of our own says nothing about the peer.
                let broken = failure != Failure::Local(Local::Overloaded);
                fail(page, failure, env);
                if broken && !closing {
                    return self.close(id, env);
                }
            }
        }
        if closing {
            self.reopen(id, env);
        } else {
            self.pump(id, env);
        }
    }

    /// The dialog, or the MSRP session, is gone at the peer: the message, which was not taken, opens another one.
    pub(super) fn send_elsewhere(&mut self, id: SessionId, mut page: Page, env: &mut Env<'_>) {
        page.reopened = true;
        page.until = None;
        let Some(session) = self.book.get(id) else {
            return fail(page, Failure::Local(Local::TransportFailed), env);
        };
        let (key, chat_states) = (session.pair.clone(), session.chat_states);
        // The dialog around an MSRP session is still there.
        let ends = session.medium.line().is_some() && !matches!(session.state, State::Closing);
        let mut pages = self.take_all(id);
        pages.push_front(page);
        match ends {
            true => self.bye(id, env),
            false => self.forget(id, env),
        }
        self.resend(key, pages, chat_states, env);
    }

    // ------------------------------------------------------------------------------------------ in

    /// A request in the dialog of a session.
    pub(in crate::ua) fn receive(
        &mut self,
        id: SessionId,
        asked: &Asked,
        from: &SipAddress,
        env: &mut Env<'_>,
    ) -> Received {
        match self.admit(id, asked, from, env) {
            Ok(None) => {}
            Ok(Some(again)) => return again,
            Err(refusal) => {
                env.refuse(asked, &refusal);
                return Received::Done;
            }
        }
        self.rest(id, env);
        let Some(session) = self.book.get_mut(id) else {
            return Received::Done;
        };
        match &asked.request.method {
            &Method::MESSAGE if session.medium.line().is_none() => {
                return self.message(id, asked, env);
            }
            &Method::INFO => self.info(id, asked, env),
            &Method::BYE => {
                env.accept(asked);
                self.timers.clear((id, Timer::FirstMessage));
                self.deliver_first(id, env);
                self.left(id, env);
            }
            &Method::INVITE | &Method::UPDATE => {
                match offered_again(session, &asked.request, env) {
                    Ok(response) => env.respond(asked, response),
                    Err(refusal) => env.refuse(asked, &refusal),
                }
            }
            _ => env.refuse(asked, &Refusal::NoDialog),
        }
        Received::Done
    }

    /// Whether a request belongs to the session, comes from its other end, and in order (RFC 3261 §12.2.2), or is a copy of
    /// the last one.
    fn admit(
        &mut self,
        id: SessionId,
        asked: &Asked,
        from: &SipAddress,
        env: &Env<'_>,
    ) -> Result<Option<Received>, Refusal> {
        let session = self.book.get_mut(id).ok_or(Refusal::NoDialog)?;
        let again = session.copy_of(&asked.request);
        let theirs = asked.request.headers.get("From");
        let tag = theirs.and_then(crate::dialog::tag).unwrap_or_default();
        let (_, known) = pair(&session.ours, from);
        let dialog = session.dialog.as_mut().ok_or(Refusal::NoDialog)?;
        if tag != dialog.remote_tag() || known != session.pair.1 {
            return Err(Refusal::NoDialog);
        }
        if again.is_some() {
            return Ok(again);
        }
        let over = matches!(session.state, State::Closing) && asked.request.method != Method::BYE;
        if over || matches!(session.state, State::Answering(..)) {
            return Err(Refusal::NoDialog);
        }
        let before = dialog.target().to_owned();
        if dialog.receive(&asked.request) != Order::Next {
            return Err(Refusal::StaleCseq);
        }
        let domain = &session.theirs.host;
        let moved = dialog.target() != before && !dialog.is_routed() && session.over.is_none();
        if moved && !routing::is_near(dialog.target(), domain, asked, env.settings) {
            // As at the start: a Contact elsewhere could be anybody's.
            dialog.route_through(&format!("sip:{domain}"));
        }
        Ok(None)
    }

    /// Remembers a MESSAGE of the peer's, in case that it comes once more.
    pub(in crate::ua) fn took(&mut self, id: SessionId, request: &Request, reference: Ref) {
        if let Some(session) = self.book.get_mut(id)
            && let Ok(cseq) = request.headers.cseq()
        {
            session.taken = Some(Taken {
                cseq: cseq.number,
                reference,
                outcome: None,
            });
        }
    }

    /// The bridge has answered it.
    pub(in crate::ua) fn settles(
        &mut self,
        id: SessionId,
        reference: Ref,
        outcome: Result<(), Failure>,
    ) {
        let taken = self.book.get_mut(id).and_then(|s| s.taken.as_mut());
        if let Some(taken) = taken.filter(|taken| taken.reference == reference) {
            taken.outcome = Some(outcome);
        }
    }

    fn message(&mut self, id: SessionId, asked: &Asked, env: &mut Env<'_>) -> Received {
        let Some(session) = self.book.get_mut(id) else {
            return Received::Done;
        };
        if let Some(first) = session.first.take() {
            self.timers.clear((id, Timer::FirstMessage));
            let again = adapt::im::read(&asked.request, env.now);
            let same = matches!(&again, Ok(adapt::im::Inbound::Message(im, _)) if im.bodies == first.bodies);
            session.first = Some(first).filter(|_| !same);
            self.deliver_first(id, env);
        }
        match self.book.get(id) {
            Some(session) => Received::Message {
                from: session.theirs.clone(),
                to: session.ours.clone(),
                thread: session.thread(),
            },
            None => Received::Done,
        }
    }
}

impl Session {
    /// What is known of the MESSAGE of which this is a copy.
    fn copy_of(&self, request: &Request) -> Option<Received> {
        let taken = self.taken.as_ref()?;
        let same = matches!(request.headers.cseq(), Ok(cseq) if cseq.number == taken.cseq);
        (request.method == Method::MESSAGE && same).then(|| Received::Again {
            reference: taken.reference,
            outcome: taken.outcome.clone(),
        })
    }

    /// A 415 says what the peer takes: whether the message can be written so that it fits.
    fn learn_types(&mut self, page: &Page, headers: &crate::header::Headers) -> bool {
        let list: Vec<&str> = headers.values("Accept").collect();
        let accepted = Accepted::parse(&list.join(", "));
        let now = adapt::im::write(&page.im, &accepted).ok();
        let before = adapt::im::write(&page.im, &self.accepted).ok();
        let news = now.is_some() && now != before;
        if news {
            self.accepted = accepted;
        }
        news
    }
}
