//! Who types in a session, in both directions.

use std::time::Duration;

use bytes::Bytes;
use stox_core::address::SipAddress;
use stox_core::vocab::{ChatState, SipIn};

use super::{Session, SessionId, Sessions, State, Step, Timer, pair};
use crate::adapt;
use crate::body::iscomposing::{self, Composing};
use crate::body::keyboard;
use crate::dialect::Typing;
use crate::header::{HeaderValue, MediaType};
use crate::method::Method;
use crate::msrp::endpoint::{FailureReport, Message};
use crate::ua::effects::{Asked, Env};
use crate::ua::refusals::Refusal;
use crate::ua::typing;

/// While somebody types, the peer is told again and again: it takes silence for the end of it.
const KEYBOARD_EVERY: Duration = Duration::from_secs(8);
/// So it is with isComposing, whose notices say how long they hold (RFC 3994 §3.2).
const COMPOSING_EVERY: Duration = Duration::from_secs(90);
/// Nobody types for longer than this without a word.
const TYPING_LIMIT: Duration = Duration::from_secs(120);

impl Sessions {
    /// What an XMPP user is doing. Nothing is opened for that.
    pub(in crate::ua) fn chat_state(
        &mut self,
        (from, to): (&SipAddress, &SipAddress),
        thread: Option<&str>,
        state: ChatState,
        env: &mut Env<'_>,
    ) {
        let Some(id) = self.choose(&pair(from, to), thread) else {
            return;
        };
        let Some(session) = self.book.get_mut(id) else {
            return;
        };
        session.chat_states = true;
        session.ours.clone_from(from);
        let composing = session.composing.is_some();
        match state {
            ChatState::Gone => self.gone(id, env),
            ChatState::Composing if !composing => {
                session.composing = Some(env.now.mono);
                let again = env.now.mono + session.typing_every(env);
                self.tell_typing(id, true, env);
                self.timers.set((id, Timer::Typing), again);
            }
            ChatState::Active | ChatState::Paused | ChatState::Inactive if composing => {
                session.composing = None;
                self.timers.clear((id, Timer::Typing));
                self.tell_typing(id, false, env);
            }
            _ => {}
        }
    }

    /// She still types: the peer is told again, or that she has stopped when it goes on for too long.
    pub(super) fn repeat_typing(&mut self, id: SessionId, env: &mut Env<'_>) {
        let Some(session) = self.book.get_mut(id) else {
            return;
        };
        let Some(since) = session.composing else {
            return;
        };
        let goes_on = env.now.mono < since + TYPING_LIMIT;
        if goes_on {
            let again = env.now.mono + session.typing_every(env);
            let end = since + TYPING_LIMIT;
            self.timers.set((id, Timer::Typing), again.min(end));
        } else {
            session.composing = None;
        }
        self.tell_typing(id, goes_on, env);
    }

    fn tell_typing(&mut self, id: SessionId, active: bool, env: &mut Env<'_>) {
        let Some(session) = self.book.get_mut(id) else {
            return;
        };
        // It must not overtake a message, which would be refused then as one out of order.
        if session.deaf || !matches!(session.state, State::Open) || session.sending.is_some() {
            return;
        }
        if session.medium.line().is_some() {
            return self.tell_typing_over_msrp(id, active, env);
        }
        let (method, content_type, body) = match env.behaviour(session.domain()).typing {
            Typing::Off => return,
            Typing::Keyboard => (
                Method::INFO,
                keyboard::CONTENT_TYPE,
                keyboard::write(active).to_owned(),
            ),
            Typing::IsComposing => (
                Method::MESSAGE,
                iscomposing::CONTENT_TYPE,
                composing_document(active),
            ),
        };
        let Some(mut request) = session.dialog.as_mut().map(|dialog| dialog.request(method)) else {
            return;
        };
        request.headers.push("User-Agent", &env.settings.product);
        request.headers.push("Content-Type", content_type);
        request.body = Bytes::from(body);
        if let Some(outgoing) = session.outgoing(id, Step::Typing, request, env) {
            env.send(outgoing);
        }
        self.rest(id, env);
    }

    /// The same over MSRP, where the peer takes such notices. One at a time: a newer one says it all.
    fn tell_typing_over_msrp(&mut self, id: SessionId, active: bool, env: &mut Env<'_>) {
        let Some(session) = self.book.get_mut(id) else {
            return;
        };
        let (kind, subtype) = COMPOSING_TYPE;
        let off = env.behaviour(session.domain()).typing == Typing::Off;
        let wanted = !off && session.accepted.takes(kind, subtype);
        let Some(line) = session.medium.line_mut().filter(|_| wanted) else {
            return;
        };
        let Some(channel) = line.channel else {
            return;
        };
        let message = Message {
            id: env.entropy.token(),
            content_type: iscomposing::CONTENT_TYPE.to_owned(),
            body: Bytes::from(composing_document(active)),
            success_report: false,
            failure_report: FailureReport::Yes,
            hint: None,
        };
        line.typing = Some(message.id.clone());
        env.msrp.send(channel, message, env.now);
        self.rest(id, env);
    }

    /// The messages are out: what she types since goes out now.
    pub(super) fn type_on(&mut self, id: SessionId, env: &mut Env<'_>) {
        let types = |session: &Session| session.composing.is_some();
        if self.book.get(id).is_some_and(types) {
            self.tell_typing(id, true, env);
        }
    }

    // ------------------------------------------------------------------------------------------ in

    /// INFO: a notice of typing, or nothing at all (RFC 6086 §4.2.2).
    pub(super) fn info(&mut self, id: SessionId, asked: &Asked, env: &mut Env<'_>) {
        let request = &asked.request;
        if request.body.is_empty() {
            return env.accept(asked);
        }
        let media_type = request.headers.get("Content-Type").map(MediaType::parse);
        let named = |name| matches!(&media_type, Some(Ok(found)) if adapt::is_named(found, name));
        let read = if named(keyboard::CONTENT_TYPE) {
            keyboard::parse(&request.body, None).ok()
        } else if named(iscomposing::CONTENT_TYPE) {
            iscomposing::parse(&request.body, None).ok()
        } else {
            None
        };
        match read {
            Some(composing) => {
                env.accept(asked);
                self.heard(id, &composing, env);
            }
            None => env.refuse(asked, &Refusal::NoTyping),
        }
    }

    /// The peer types, or has stopped: the XMPP user is told (RFC 7573 Table 3), once for each change.
    pub(in crate::ua) fn heard(&mut self, id: SessionId, composing: &Composing, env: &mut Env<'_>) {
        if !composing.active {
            return self.hush(id, env);
        }
        let Some(session) = self.book.get_mut(id) else {
            return;
        };
        let holds = typing::holds(composing, session.domain(), env);
        self.timers
            .set((id, Timer::TheirTyping), env.now.mono + holds);
        if !std::mem::replace(&mut session.typing, true) {
            session.tell_state(ChatState::Composing, env);
        }
    }

    /// A message of the peer's ends the typing by itself.
    pub(in crate::ua) fn wrote(&mut self, id: SessionId) {
        self.timers.clear((id, Timer::TheirTyping));
        if let Some(session) = self.book.get_mut(id) {
            session.typing = false;
        }
    }

    /// The peer does not type any more.
    pub(super) fn hush(&mut self, id: SessionId, env: &mut Env<'_>) {
        self.timers.clear((id, Timer::TheirTyping));
        if let Some(session) = self.book.get_mut(id)
            && std::mem::take(&mut session.typing)
        {
            session.tell_state(ChatState::Active, env);
        }
    }
}

/// The type and subtype of isComposing documents.
const COMPOSING_TYPE: (&str, &str) = ("application", "im-iscomposing+xml");

fn composing_document(active: bool) -> String {
    let refresh = active.then_some(TYPING_LIMIT);
    iscomposing::write(&Composing { active, refresh }, Some("text/plain"))
}

impl Session {
    /// How often the peer is told that she still types.
    fn typing_every(&self, env: &Env<'_>) -> Duration {
        let keyboard = env.behaviour(self.domain()).typing == Typing::Keyboard;
        match keyboard && self.medium.line().is_none() {
            true => KEYBOARD_EVERY,
            false => COMPOSING_EVERY,
        }
    }

    /// Tells the XMPP user what the peer does.
    pub(super) fn tell_state(&self, state: ChatState, env: &mut Env<'_>) {
        env.tell(SipIn::ChatState {
            from: self.theirs.clone(),
            to: self.ours.clone(),
            thread: Some(self.thread()),
            state,
        });
    }
}
