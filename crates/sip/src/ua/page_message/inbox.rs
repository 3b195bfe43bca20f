//! MESSAGEs of peers.

use std::collections::BTreeMap;

use stox_core::address::SipAddress;
use stox_core::failure::Failure;
use stox_core::vocab::{ChatState, Im, Ref, SipIn, Wants};

use crate::adapt;
use crate::adapt::im::Inbound;
use crate::body::imdn::{Imdn, Wanted};
use crate::body::iscomposing::Composing;
use crate::message::Request;
use crate::transaction::ServerId;
use crate::ua::effects::{Asked, Env};
use crate::ua::refusals::Refusal;
use crate::ua::session::{self, SessionId};

/// What a MESSAGE was.
#[derive(Debug)]
pub(in crate::ua) enum Arrived {
    /// A message for the bridge.
    Message {
        /// Its language.
        language: Option<String>,
        /// What its sender wants to be told of it.
        wanted: Option<Wanted>,
    },
    /// A notice of typing, which is answered.
    Composing(Composing),
    /// Receipts, which are answered.
    Receipts(Vec<Imdn>),
    /// Something that is answered, and nothing else.
    Nothing,
}

/// Where a message came to.
#[derive(Debug, Clone, Copy)]
pub(in crate::ua) struct Place<'a> {
    /// Names it to the bridge.
    pub(in crate::ua) reference: Ref,
    /// The session that it came in, and its thread.
    pub(in crate::ua) session: Option<(SessionId, &'a str)>,
    /// The sender outside a session can show what the XMPP user does.
    pub(in crate::ua) shows_typing: bool,
}

impl Place<'_> {
    fn put(&self, im: Im) -> Im {
        match self.session {
            // Receipts are told outside sessions only.
            Some((_, thread)) => Im {
                wants: Wants::default(),
                ..session::in_session(im, thread)
            },
            None => Im {
                chat_state: self.shows_typing.then_some(ChatState::Active),
                ..im
            },
        }
    }
}

/// A message that the bridge has not answered yet.
#[derive(Debug)]
struct Waiting {
    session: Option<SessionId>,
    /// Its MESSAGE, and the copies of it that came since.
    copies: Vec<(ServerId, Request)>,
}

/// Copies of one MESSAGE that are kept at most.
const MAX_COPIES: usize = 8;

/// Incoming messages that the bridge has not answered yet.
#[derive(Debug, Default)]
pub(in crate::ua) struct Inbox {
    by_ref: BTreeMap<Ref, Waiting>,
    by_server: BTreeMap<ServerId, Ref>,
}

impl Inbox {
    /// How many there are.
    pub(in crate::ua) fn len(&self) -> usize {
        self.by_ref.len()
    }

    /// Takes a MESSAGE to the bridge, or answers it where there is nothing for a person in it.
    pub(in crate::ua) fn arrived(
        &mut self,
        asked: Asked,
        parties: (SipAddress, SipAddress),
        place: &Place<'_>,
        env: &mut Env<'_>,
    ) -> Arrived {
        let Some(server) = asked.server else {
            return Arrived::Nothing;
        };
        match adapt::im::read(&asked.request, env.now) {
            Ok(Inbound::Message(im, wanted)) => {
                let language = im.bodies.first().and_then(|body| body.lang.clone());
                let reference = place.reference;
                let waiting = Waiting {
                    session: place.session.map(|(session, _)| session),
                    copies: vec![(server, asked.request)],
                };
                self.by_ref.insert(reference, waiting);
                self.by_server.insert(server, reference);
                let (from, to) = parties;
                env.tell(SipIn::Message {
                    reference,
                    from,
                    to,
                    im: place.put(*im),
                });
                Arrived::Message { language, wanted }
            }
            Ok(Inbound::Composing(composing)) => {
                env.accept(&asked);
                Arrived::Composing(composing)
            }
            Ok(Inbound::Disposition(receipts)) => {
                env.accept(&asked);
                Arrived::Receipts(receipts)
            }
            Ok(Inbound::Expired(im)) => {
                env.accept(&asked);
                let (from, to) = parties;
                let im = place.put(*im);
                env.tell(SipIn::MessageExpired { from, to, im });
                Arrived::Nothing
            }
            Ok(Inbound::Empty) => {
                env.accept(&asked);
                Arrived::Nothing
            }
            Err(refusal) => {
                refuse(&asked, refusal, env);
                Arrived::Nothing
            }
        }
    }

    /// A copy of the MESSAGE of that name, whose outcome may be known. It gets the same answer, and no effect.
    pub(in crate::ua) fn arrived_again(
        &mut self,
        asked: Asked,
        (reference, outcome): (Ref, Option<&Result<(), Failure>>),
        env: &mut Env<'_>,
    ) {
        let Some(server) = asked.server else {
            return;
        };
        if let Some(outcome) = outcome {
            return answer(server, &asked.request, outcome, env);
        }
        if let Some(waiting) = self.by_ref.get_mut(&reference) {
            if waiting.copies.len() >= MAX_COPIES {
                return env.refuse(&asked, &Refusal::Busy);
            }
            waiting.copies.push((server, asked.request));
            self.by_server.insert(server, reference);
            return;
        }
        match adapt::im::read(&asked.request, env.now) {
            // Nobody knows any more what became of it.
            Ok(Inbound::Message(..)) => env.refuse(&asked, &Refusal::StaleCseq),
            Ok(_) => env.accept(&asked),
            Err(refusal) => refuse(&asked, refusal, env),
        }
    }

    /// The bridge's answer; the session whose message it was. A second one finds nothing to answer.
    pub(in crate::ua) fn answer(
        &mut self,
        reference: Ref,
        outcome: &Result<(), Failure>,
        env: &mut Env<'_>,
    ) -> Option<SessionId> {
        let waiting = self.by_ref.remove(&reference)?;
        for (server, request) in &waiting.copies {
            self.by_server.remove(server);
            answer(*server, request, outcome, env);
        }
        waiting.session
    }

    /// A MESSAGE that cannot be answered any more. With the last copy of it goes the wait for its fate.
    pub(in crate::ua) fn server_gone(&mut self, server: ServerId, env: &mut Env<'_>) {
        let Some(reference) = self.by_server.remove(&server) else {
            return;
        };
        if let Some(waiting) = self.by_ref.get_mut(&reference) {
            waiting.copies.retain(|(copy, _)| *copy != server);
            if waiting.copies.is_empty() {
                self.by_ref.remove(&reference);
                env.tell(SipIn::MessageGone { reference });
            }
        }
    }
}

fn answer(server: ServerId, request: &Request, outcome: &Result<(), Failure>, env: &mut Env<'_>) {
    let response = match outcome {
        Ok(()) => env.response(request, 200, "OK"),
        Err(failure) => env.failure(request, failure),
    };
    env.effects.answers.push_back((server, response));
}

fn refuse(asked: &Asked, refusal: adapt::im::Refusal, env: &mut Env<'_>) {
    let mut response = env.response(&asked.request, refusal.status, refusal.reason);
    for (name, value) in refusal.headers {
        response.headers.push(name, value);
    }
    env.respond(asked, response);
}
