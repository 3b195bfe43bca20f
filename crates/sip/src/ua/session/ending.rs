//! How sessions end, and what becomes of the messages that wait in them.

use std::collections::VecDeque;

use stox_core::vocab::ChatState;

use super::caller::{Ended, unconnected};
use super::{SessionId, Sessions, State, Step};
use crate::method::Method;
use crate::ua::effects::{Env, Outgoing, Purpose};
use crate::ua::page_message::{Page, fail};

impl Sessions {
    /// Nothing has happened for a long time.
    pub(super) fn idled(&mut self, id: SessionId, env: &mut Env<'_>) {
        let Some(session) = self.book.get(id) else {
            return;
        };
        if !session.is_busy() {
            self.leave(id, env);
        } else {
            self.rest(id, env);
        }
    }

    /// The XMPP user has left the conversation.
    pub(super) fn gone(&mut self, id: SessionId, env: &mut Env<'_>) {
        let Some(session) = self.book.get(id) else {
            return;
        };
        if matches!(session.state, State::Open) && !session.is_busy() {
            self.close(id, env);
        }
    }

    /// The peer has ended the session.
    pub(super) fn left(&mut self, id: SessionId, env: &mut Env<'_>) {
        self.tell_gone(id, env);
        let session = self.book.get(id);
        match session.is_some_and(|session| matches!(session.state, State::Linking)) {
            true => self.left_before(id, env),
            false => self.reopen(id, env),
        }
    }

    /// The peer has ended a session in which nothing could flow yet. A message goes into another one for that once: a peer
    /// that takes every session and holds none is not asked without end.
    fn left_before(&mut self, id: SessionId, env: &mut Env<'_>) {
        let mut pages = self.take_all(id);
        let Some(session) = self.book.get(id) else {
            return;
        };
        let (pair, chat_states) = (session.pair.clone(), session.chat_states);
        let ended = Ended::of(session);
        self.forget(id, env);
        if pages.iter().any(|page| page.reopened) {
            return self.go_on_without(Some(ended), pages, &unconnected(), env);
        }
        pages.iter_mut().for_each(|page| page.reopened = true);
        self.resend(pair, pages, chat_states, env);
    }

    /// Ends a session, and says so on both sides.
    pub(super) fn leave(&mut self, id: SessionId, env: &mut Env<'_>) {
        self.tell_gone(id, env);
        self.close(id, env);
    }

    /// An XMPP user who shows chat states is told that the conversation is over, once.
    fn tell_gone(&mut self, id: SessionId, env: &mut Env<'_>) {
        if let Some(session) = self.book.get_mut(id)
            && session.chat_states
            && !matches!(session.state, State::Closing)
        {
            session.typing = false;
            session.tell_state(ChatState::Gone, env);
        }
    }

    /// Ends a session by BYE. Messages that still wait open another one.
    pub(super) fn close(&mut self, id: SessionId, env: &mut Env<'_>) {
        let Some(session) = self.book.get(id) else {
            return;
        };
        let (pair, chat_states) = (session.pair.clone(), session.chat_states);
        if session.sending.is_some() {
            return self.bye(id, env);
        }
        let pages = self.take_all(id);
        self.bye(id, env);
        self.resend(pair, pages, chat_states, env);
    }

    /// Forgets a session that is over. Messages that still wait open another one.
    pub(super) fn reopen(&mut self, id: SessionId, env: &mut Env<'_>) {
        let Some(session) = self.book.get_mut(id) else {
            return;
        };
        let (pair, chat_states) = (session.pair.clone(), session.chat_states);
        // What is under way gets its answer yet: the session is kept for that, and for what waits behind it.
        if session.sending.is_some() {
            session.state = State::Closing;
            return self.still(id, env);
        }
        let pages = self.take_all(id);
        self.forget(id, env);
        self.resend(pair, pages, chat_states, env);
    }

    pub(super) fn resend(
        &mut self,
        pair: super::Pair,
        pages: VecDeque<Page>,
        chat_states: bool,
        env: &mut Env<'_>,
    ) {
        let thread = pages.front().and_then(|page| page.im.thread.clone());
        match self.choose(&pair, thread.as_deref()) {
            Some(other) => {
                for page in pages {
                    self.enqueue(other, page, env);
                }
            }
            None => self.invite(pair, pages, Some(chat_states), env),
        }
    }

    /// Ends every session: the gateway stops. What waits fails, and nothing begins any more.
    pub(in crate::ua) fn shut_down(&mut self, env: &mut Env<'_>) {
        self.stopping = true;
        let stopping = stox_core::failure::Failure::Local(stox_core::failure::Local::ShuttingDown);
        for id in self.book.all() {
            for page in self.take_all(id) {
                fail(page, stopping.clone(), env);
            }
            match self.book.get(id).map(|session| &session.state) {
                Some(State::Inviting) => self.give_up(id, env),
                Some(State::Accepted | State::Linking | State::Open) => self.bye(id, env),
                _ => {}
            }
        }
    }

    /// Sends BYE, after which nothing is owed.
    pub(super) fn bye(&mut self, id: SessionId, env: &mut Env<'_>) {
        let open = |session: &super::Session| matches!(session.state, State::Open);
        if self.book.get(id).is_some_and(open) {
            self.deliver_first(id, env);
        }
        self.still(id, env);
        let Some(session) = self.book.get_mut(id) else {
            return;
        };
        let Some(dialog) = session.dialog.as_mut() else {
            return self.forget(id, env);
        };
        let mut request = dialog.request(Method::BYE);
        request.headers.push("User-Agent", &env.settings.product);
        let outgoing = Outgoing {
            purpose: Purpose::Session(id, Step::Bye),
            next_hop: dialog.next_hop(),
            request,
            over: session.over.clone(),
            domain: session.domain().to_owned(),
            contact: None,
            branch_hint: None,
        };
        session.state = State::Closing;
        env.send(outgoing);
    }
}
