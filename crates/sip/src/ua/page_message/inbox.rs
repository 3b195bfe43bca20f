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
use crate::ua::session;

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
    /// The thread of the session that it came in.
    pub(in crate::ua) thread: Option<&'a str>,
    /// The sender outside a session can show what the XMPP user does.
    pub(in crate::ua) shows_typing: bool,
}

impl Place<'_> {
    fn put(&self, im: Im) -> Im {
        match self.thread {
            // Receipts are told outside sessions only.
            Some(thread) => Im {
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

/// Incoming messages that the bridge has not answered yet.
#[derive(Debug, Default)]
pub(in crate::ua) struct Inbox {
    by_ref: BTreeMap<Ref, (ServerId, Request)>,
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
                self.by_ref.insert(reference, (server, asked.request));
                self.by_server.insert(server, reference);
                let (from, to) = parties;
                env.tell(SipIn::Message {
                    reference,
                    from,
                    to,
                    im: place.put(im),
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
            Ok(Inbound::Expired | Inbound::Empty) => {
                env.accept(&asked);
                Arrived::Nothing
            }
            Err(refusal) => {
                let mut response = env.response(&asked.request, refusal.status, refusal.reason);
                for (name, value) in refusal.headers {
                    response.headers.push(name, value);
                }
                env.respond(&asked, response);
                Arrived::Nothing
            }
        }
    }

    /// The bridge's answer. A second one finds nothing to answer.
    pub(in crate::ua) fn answer(
        &mut self,
        reference: Ref,
        outcome: &Result<(), Failure>,
        env: &mut Env<'_>,
    ) {
        let Some((server, request)) = self.by_ref.remove(&reference) else {
            return;
        };
        self.by_server.remove(&server);
        let response = match outcome {
            Ok(()) => env.response(&request, 200, "OK"),
            Err(failure) => env.failure(&request, failure),
        };
        env.effects.answers.push_back((server, response));
    }

    /// A MESSAGE that cannot be answered any more.
    pub(in crate::ua) fn server_gone(&mut self, server: ServerId, env: &mut Env<'_>) {
        if let Some(reference) = self.by_server.remove(&server) {
            self.by_ref.remove(&reference);
            env.tell(SipIn::MessageGone { reference });
        }
    }
}
