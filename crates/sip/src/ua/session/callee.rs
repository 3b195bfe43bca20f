//! Sessions that the peer opens. The gateway accepts on behalf of the XMPP user, without asking her (RFC 7573 §5).

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use stox_core::address::SipAddress;
use stox_core::failure::Failure;
use stox_core::vocab::{ChatState, Im, ImKind, Ref, SipIn, Trace};

use super::caller::own_user;
use super::medium::Medium;
use super::{MOST_PER_PAIR, Pair, Session, SessionId, Sessions, State, Timer, pair};
use crate::adapt;
use crate::adapt::im::Accepted;
use crate::body::sdp::{self, Media};
use crate::dialect::FirstMessage;
use crate::grammar::split_outside;
use crate::header::HeaderValue;
use crate::header::{Headers, MediaType};
use crate::message::{Request, Response};
use crate::method::Method;
use crate::transaction::ServerId;
use crate::ua::effects::{Asked, Env};
use crate::ua::notifier::{leads_back, set_up};
use crate::ua::refusals::{self, Refusal};

/// How long a text inside an INVITE is waited for to come again as a message, from the ACK on.
const FIRST_MESSAGE_WAIT: Duration = Duration::from_secs(2);
/// What an invitation to a conference is.
const CONFERENCE: &str = "application/ms-conf-invite+xml";
/// What an invitation to a file transfer or to an application is.
const INVITATION: &str = "text/x-msmsgsinvite";
/// People in one conversation, both ends included.
const TWO: usize = 2;

/// An INVITE outside a dialog that has passed the checks of the user agent.
#[derive(Debug)]
pub(in crate::ua) struct Invitation {
    pub(in crate::ua) reference: Ref,
    pub(in crate::ua) asked: Asked,
    pub(in crate::ua) from: SipAddress,
    pub(in crate::ua) to: SipAddress,
}

impl Sessions {
    /// Takes an INVITE, or refuses it.
    pub(in crate::ua) fn arrived(&mut self, invitation: Invitation, env: &mut Env<'_>) {
        let Invitation {
            reference,
            asked,
            from,
            to,
        } = invitation;
        let Some(server) = asked.server else {
            return;
        };
        let set_up = offered(&asked.request)
            .and_then(|offer| self.callee_session(&asked, &offer, (&from, &to), env));
        let session = match set_up {
            Ok(session) => session,
            Err(refusal) => return env.refuse(&asked, &refusal),
        };
        self.make_room(&session.pair, env);
        let behaviour = env.behaviour(session.domain());
        let thread = session.thread();
        let id = self.book.insert(session);
        self.book.note_channel(id);
        self.book.await_server(server, id);
        let wish = behaviour.first_message;
        let first = adapt::im::embedded(&asked.request.headers)
            .filter(|_| wish != FirstMessage::Ignore)
            .map(|im| in_session(im, &thread));
        match first {
            Some(im) if wish == FirstMessage::Take => {
                if let Some(session) = self.book.get_mut(id) {
                    session.state = State::Answering(server, Box::new(asked.request), reference);
                }
                self.embedded.insert(reference, id);
                let input = SipIn::Message {
                    reference,
                    from,
                    to,
                    im,
                };
                env.tell(input);
            }
            kept => {
                if let Some(session) = self.book.get_mut(id) {
                    session.first = kept;
                }
                self.accept(id, server, &asked.request, false, env);
            }
        }
    }

    /// Ends the oldest session of a pair that has too many.
    fn make_room(&mut self, pair: &Pair, env: &mut Env<'_>) {
        let open = |(_, session): &(SessionId, &Session)| matches!(session.state, State::Open);
        let mut sessions = self.book.of_pair(pair).filter(open);
        if let Some((oldest, _)) = sessions.next()
            && sessions.count() + 1 >= MOST_PER_PAIR
        {
            self.close(oldest, env);
        }
    }

    fn callee_session(
        &self,
        asked: &Asked,
        offer: &[Media],
        (from, to): (&SipAddress, &SipAddress),
        env: &mut Env<'_>,
    ) -> Result<Session, Refusal> {
        let room = env.settings.limits.dialogs;
        // One domain leaves room for the others, and for sessions of ours.
        let share = self.book.of_domain(&pair(to, from).1.host) >= room.div_ceil(2);
        if self.stopping || share || self.book.len() >= room {
            return Err(Refusal::Busy);
        }
        if to.user.is_none() {
            return Err(Refusal::NotFound);
        }
        let behaviour = env.behaviour(&from.host);
        let local_tag = env.entropy.token();
        let dialog = set_up(asked, &local_tag, &from.host, env)?;
        let uri = adapt::address::to_uri(&to.bare()).to_string();
        let host = env.settings.local.host.clone();
        let (medium, taken) = if offer.is_empty() {
            (Medium::for_offer(&from.host, &behaviour, env), None)
        } else {
            let (index, mut medium) =
                Medium::for_answer(offer, &behaviour, env).ok_or(Refusal::NoMedia)?;
            let theirs = offer.get(index).ok_or(Refusal::NoMedia)?;
            let place = (from.host.as_str(), Some(&asked.source));
            medium
                .take_offer(theirs, place, env)
                .ok_or(Refusal::NoMedia)?;
            (medium, Some((index, theirs)))
        };
        let own = medium.own(&behaviour, taken.map(|_| uri));
        let description = match taken {
            None => sdp::offer(&host, 0, &own),
            Some((index, _)) => sdp::answer(&host, 0, offer, index, &own),
        };
        let accepted = taken.and_then(|(_, theirs)| theirs.accept_types.as_deref());
        Ok(Session {
            pair: pair(to, from),
            ours: to.clone(),
            theirs: from.clone(),
            call_id: dialog.call_id().to_owned(),
            local: dialog.local().to_owned(),
            local_tag,
            cseq: 0,
            dialog: Some(dialog),
            state: State::Accepted,
            medium,
            server: None,
            queue: VecDeque::new(),
            sending: None,
            message_id: None,
            thread: None,
            our_trace: Trace::default(),
            their_trace: adapt::trace::read(&asked.request.headers),
            accepted: accepted.map(Accepted::parse).unwrap_or_default(),
            over: leads_back(asked).then(|| asked.source.clone()),
            answered_from: Some(asked.source.clone()),
            description,
            version: 0,
            first: None,
            chat_states: false,
            composing: None,
            typing: false,
            deaf: false,
            proof: Headers::new(),
            taken: None,
        })
    }

    /// 200 to an INVITE. `taken` says that the text inside it has been delivered.
    fn accept(
        &mut self,
        id: SessionId,
        server: ServerId,
        request: &Request,
        taken: bool,
        env: &mut Env<'_>,
    ) {
        let Some(session) = self.book.get_mut(id) else {
            return;
        };
        session.state = State::Accepted;
        let mut response = described(session, request, env);
        if taken {
            // COMPAT(ocs): without this line the peer sends the text again.
            response.headers.push("Supported", "ms-text-format");
        }
        env.effects.answers.push_back((server, response));
    }

    /// The bridge's answer to a text inside an INVITE. `false`: the reference is of something else.
    pub(in crate::ua) fn answer(
        &mut self,
        reference: Ref,
        outcome: &Result<(), Failure>,
        env: &mut Env<'_>,
    ) -> bool {
        let Some(id) = self.embedded.remove(&reference) else {
            return false;
        };
        let state = self.book.get_mut(id).map(|session| &mut session.state);
        let Some(State::Answering(server, request, _)) =
            state.map(|state| std::mem::replace(state, State::Accepted))
        else {
            return true;
        };
        match outcome {
            Ok(()) => self.accept(id, server, &request, true, env),
            Err(failure) => {
                let response = env.failure(&request, failure);
                env.effects.answers.push_back((server, response));
                self.reopen(id, env);
            }
        }
        true
    }

    /// The ACK came: messages may flow. It has the answer where our 200 had the offer.
    pub(in crate::ua) fn acknowledged(
        &mut self,
        server: ServerId,
        ack: &Request,
        env: &mut Env<'_>,
    ) {
        let Some(id) = self.book.take_server(server) else {
            return;
        };
        let Some(session) = self.book.get_mut(id) else {
            return;
        };
        if !matches!(session.state, State::Accepted) {
            return;
        }
        if session.medium.awaits_answer() {
            let answer = sdp::media(&ack.body);
            let taken = answer.iter().find(|media| media.carrier().is_some());
            if taken
                .and_then(|media| session.take_answer(media, env))
                .is_none()
            {
                return self.close(id, env);
            }
            self.book.note_channel(id);
        }
        if self
            .book
            .get(id)
            .is_some_and(|session| session.first.is_some())
        {
            let at = env.now.mono + FIRST_MESSAGE_WAIT;
            self.timers.set((id, Timer::FirstMessage), at);
        }
        self.set_up(id, env);
    }

    /// The caller cancels an INVITE that is not answered yet.
    pub(in crate::ua) fn cancelled(&mut self, server: ServerId, env: &mut Env<'_>) {
        let Some(id) = self.book.by_server(server) else {
            return;
        };
        let state = self.book.get_mut(id).map(|session| &mut session.state);
        if let Some(State::Answering(_, request, reference)) = state {
            let reference = *reference;
            let response = env.response(request, 487, "Request Terminated");
            env.effects.answers.push_back((server, response));
            self.embedded.remove(&reference);
            env.tell(SipIn::MessageGone { reference });
            self.reopen(id, env);
        }
    }

    /// An INVITE of the peer's that cannot be answered any more, or whose answer was never acknowledged.
    pub(in crate::ua) fn server_gone(&mut self, server: ServerId, env: &mut Env<'_>) {
        let Some(id) = self.book.take_server(server) else {
            return;
        };
        match self.book.get(id).map(|session| &session.state) {
            Some(State::Answering(_, _, reference)) => {
                let reference = *reference;
                self.embedded.remove(&reference);
                env.tell(SipIn::MessageGone { reference });
                self.reopen(id, env);
            }
            Some(State::Accepted) => self.close(id, env),
            _ => {}
        }
    }

    /// The text inside an INVITE was not sent again: it is delivered now.
    pub(super) fn deliver_first(&mut self, id: SessionId, env: &mut Env<'_>) {
        let Some(session) = self.book.get_mut(id) else {
            return;
        };
        if let Some(im) = session.first.take() {
            let input = SipIn::Message {
                // Nobody can be answered any more: the reference is one that no request has.
                reference: Ref(u64::MAX - id.0),
                from: session.theirs.clone(),
                to: session.ours.clone(),
                im,
            };
            env.tell(input);
        }
    }
}

/// The media lines of an INVITE; none where it has no description. What is no conversation of two is refused.
fn offered(request: &Request) -> Result<Vec<Media>, Refusal> {
    let headers = &request.headers;
    let parties = headers.get("EndPoints").unwrap_or_default();
    if split_outside(parties, b',').count() > TWO {
        return Err(Refusal::GroupChat);
    }
    let first = headers.get("ms-text-format").map(MediaType::parse);
    if matches!(first, Some(Ok(found)) if adapt::is_named(&found, INVITATION)) {
        return Err(Refusal::NoMedia);
    }
    let media_type = headers.get("Content-Type").map(MediaType::parse);
    match media_type {
        _ if request.body.is_empty() => Ok(Vec::new()),
        Some(Ok(found)) if adapt::is_named(&found, sdp::CONTENT_TYPE) => {
            Ok(sdp::media(&request.body)).and_then(|media| {
                if media.is_empty() {
                    Err(Refusal::NoMedia)
                } else {
                    Ok(media)
                }
            })
        }
        Some(Ok(found)) if adapt::is_named(&found, CONFERENCE) => Err(Refusal::NoMedia),
        // COMPAT(ocs): tries again with the description alone.
        _ => Err(Refusal::NoDescription),
    }
}

/// The answer to another offer in a session, or to none: 200, or a refusal that changes nothing (RFC 3261 §14.2).
pub(super) fn offered_again(
    session: &mut Session,
    request: &Request,
    env: &mut Env<'_>,
) -> Result<Response, Refusal> {
    let offer = offered(request)?;
    if offer.is_empty() && request.method == Method::UPDATE {
        // RFC 3311 §5.2: without an offer there is no answer.
        let mut response = described(session, request, env);
        response.headers.remove("Content-Type");
        response.body = Bytes::new();
        return Ok(response);
    }
    if !offer.is_empty() {
        session.take_another_offer(&offer, env)?;
    }
    Ok(described(session, request, env))
}

impl Session {
    /// Answers an offer that changes the session or repeats it. The medium stays: what the session was set up for.
    fn take_another_offer(&mut self, offer: &[Media], env: &mut Env<'_>) -> Result<(), Refusal> {
        let fits = |media: &Media| self.medium.continues_with(media);
        let taken = offer.iter().position(fits).ok_or(Refusal::NoMedia)?;
        let uri = adapt::address::to_uri(&self.ours.bare()).to_string();
        let own = self.medium.own(&env.behaviour(self.domain()), Some(uri));
        let host = &env.settings.local.host;
        let mut description = sdp::answer(host, self.version, offer, taken, &own);
        if description != self.description {
            self.version += 1;
            description = sdp::answer(host, self.version, offer, taken, &own);
        }
        self.description = description;
        let types = offer
            .get(taken)
            .and_then(|media| media.accept_types.as_deref());
        if let Some(types) = types {
            self.accepted = Accepted::parse(types);
        }
        Ok(())
    }
}

/// 200 with our session description: the answer to an INVITE, the first and every later one.
fn described(session: &Session, request: &Request, env: &mut Env<'_>) -> Response {
    let mut response = env.response(request, 200, "OK");
    let own = own_user(session, env);
    let transport = session.transport(request);
    let headers = &mut response.headers;
    headers.set("To", &session.local);
    headers.copy_from(&request.headers, "Record-Route");
    headers.push("Contact", env.settings.local.contact(&own, transport));
    headers.push("Allow", refusals::allow());
    headers.push("Content-Type", sdp::CONTENT_TYPE);
    response.body = Bytes::from(session.description.clone());
    response
}

/// A message of a session, as the XMPP side sees it. That the peer's client shows typing is worth saying.
pub(in crate::ua) fn in_session(im: Im, thread: &str) -> Im {
    Im {
        kind: ImKind::Chat,
        thread: Some(thread.to_owned()),
        chat_state: Some(ChatState::Active),
        ..im
    }
}
