//! Sessions that we open.

use std::collections::VecDeque;

use bytes::Bytes;
use stox_core::address::SipAddress;
use stox_core::failure::{Failure, Local};
use stox_core::vocab::Trace;

use super::medium::{self, Medium};
use super::{Pair, Session, SessionId, Sessions, State, Step, Timer};
use crate::adapt;
use crate::adapt::im::Accepted;
use crate::body::sdp;
use crate::dialect::ImMode;
use crate::dialog::{self, Dialog, MAX_FORWARDS};
use crate::header::Headers;
use crate::message::{Request, Response};
use crate::method::Method;
use crate::transport::Source;
use crate::ua::effects::{Env, Fate, Outgoing, Purpose};
use crate::ua::page_message::{Page, Refused, UNCONNECTED, fail};
use crate::ua::refusals;
use crate::ua::settings::OwnUser;

/// Answers to an INVITE that say that sessions of this kind are not taken at all.
const NO_SESSIONS: &[u16] = &[405, 415, 488, 501, 606, UNCONNECTED];

/// What has to be known of a session that came to nothing.
pub(super) struct Ended {
    pair: Pair,
    /// Peers that speak MSRP take messages outside sessions, too (RFC 7573 §4).
    over_msrp: bool,
}

impl Ended {
    pub(super) fn of(session: &Session) -> Self {
        Self {
            pair: session.pair.clone(),
            over_msrp: session.medium.line().is_some(),
        }
    }
}

impl Sessions {
    /// Opens a session for messages that wait.
    pub(super) fn invite(
        &mut self,
        pair: Pair,
        pages: VecDeque<Page>,
        chat_states: Option<bool>,
        env: &mut Env<'_>,
    ) {
        let Some(first) = pages.front() else {
            return;
        };
        if let Some(local) = self.no_room(env) {
            for page in pages {
                fail(page, Failure::Local(local), env);
            }
            return;
        }
        let mut session = self.new_session(pair, first, env);
        session.chat_states |= chat_states.unwrap_or_default();
        let request = invitation(&session, env);
        let (next_hop, contact) = (request.uri.clone(), own_user(&session, env));
        let (domain, wait) = (
            session.domain().to_owned(),
            env.behaviour(session.domain()).invite_wait,
        );
        let id = self.book.insert(session);
        self.timers.set((id, Timer::Answer), env.now.mono + wait);
        env.send(Outgoing {
            purpose: Purpose::Session(id, Step::Invite),
            request,
            next_hop,
            over: None,
            domain,
            contact: Some(contact),
            branch_hint: None,
        });
        for page in pages {
            self.enqueue(id, page, env);
        }
    }

    /// Why no session can be opened for messages at the moment.
    fn no_room(&self, env: &Env<'_>) -> Option<Local> {
        let limits = &env.settings.limits;
        let full = self.book.len() >= limits.dialogs || self.waiting_in.len() >= limits.queued;
        match self.stopping {
            true => Some(Local::ShuttingDown),
            false => full.then_some(Local::Overloaded),
        }
    }

    fn new_session(&mut self, pair: Pair, first: &Page, env: &mut Env<'_>) -> Session {
        let behaviour = env.behaviour(&first.to.host);
        let local_tag = env.entropy.token();
        // COMPAT(ocs, sipe): an address with a resource in it is a stranger to them.
        let uri = adapt::address::to_uri(&first.from.bare());
        let by_thread = first.im.thread.as_deref().and_then(adapt::im::call_id);
        let call_id = by_thread
            .filter(|call_id| self.book.spend(call_id, env.settings.limits.threads))
            .unwrap_or_else(|| format!("{}@{}", env.entropy.token(), env.settings.local.host));
        let medium = Medium::for_offer(&first.to.host, &behaviour, env);
        let own = medium.own(&behaviour, None);
        let description = sdp::offer(&env.settings.local.host, 0, &own);
        Session {
            pair,
            ours: first.from.clone(),
            theirs: first.to.clone(),
            call_id,
            local: format!("<{uri}>;tag={local_tag}"),
            local_tag,
            cseq: 1,
            dialog: None,
            state: State::Inviting,
            medium,
            server: None,
            queue: VecDeque::new(),
            sending: None,
            message_id: None,
            thread: first.im.thread.clone(),
            our_trace: first.im.trace.clone(),
            their_trace: Trace::default(),
            accepted: Accepted::default(),
            over: None,
            answered_from: None,
            description,
            version: 0,
            first: None,
            chat_states: false,
            composing: None,
            typing: false,
            deaf: false,
            proof: Headers::new(),
            taken: None,
        }
    }

    /// The INVITE has waited long enough: it is cancelled, and what waits for it fails, if it can go nowhere else.
    pub(super) fn give_up(&mut self, id: SessionId, env: &mut Env<'_>) {
        let Some(session) = self.book.get_mut(id) else {
            return;
        };
        if matches!(session.state, State::Inviting) {
            session.state = State::GivenUp;
            env.effects
                .cancels
                .push_back(Purpose::Session(id, Step::Invite));
            self.refused_with(id, Failure::Local(Local::Timeout), env);
        }
    }

    /// Nothing came of an INVITE, and what waits for it goes into another session of the two or fails.
    fn refused_with(&mut self, id: SessionId, failure: Failure, env: &mut Env<'_>) {
        let pages = self.take_all(id);
        let Some(pair) = self.book.get(id).map(|session| session.pair.clone()) else {
            return;
        };
        for page in self.shelter(&pair, pages, env) {
            fail(page, failure.clone(), env);
        }
    }

    /// The fate of our INVITE.
    pub(super) fn invited(&mut self, id: SessionId, fate: Fate, env: &mut Env<'_>) {
        self.timers.clear((id, Timer::Answer));
        match fate {
            Ok(response) if (200..300).contains(&response.status) => {
                self.answered(id, &response, env);
            }
            Ok(response) => {
                let refused = Refused {
                    mode: ImMode::Session,
                    status: response.status,
                    failure: adapt::failure::from_response(&response),
                };
                self.refused(id, &refused, env);
            }
            Err(failure) => {
                if let Some(session) = self.book.get_mut(id) {
                    session.state = State::GivenUp;
                }
                self.refused_with(id, failure, env);
                self.forget(id, env);
            }
        }
    }

    /// The final answer to our INVITE, which had these credentials, came over this connection.
    pub(in crate::ua) fn answer_came(
        &mut self,
        id: SessionId,
        response: &Response,
        source: &Source,
        proof: Headers,
    ) {
        if let Some(session) = self.book.get_mut(id) {
            session.proof = proof;
            session.answered_from = Some(source.clone());
            if leads_on(response, source) {
                session.over = Some(source.clone());
            }
        }
    }

    /// A 2xx: the session is up, if the answer fits the offer and is still wanted.
    fn answered(&mut self, id: SessionId, response: &Response, env: &mut Env<'_>) {
        let Some(session) = self.book.get_mut(id) else {
            return;
        };
        let set_up =
            Dialog::from_response(&session.local, &session.call_id, session.cseq, response);
        let Ok(dialog) = set_up else {
            let broken = Refused {
                mode: ImMode::Session,
                status: response.status,
                failure: Failure::Local(Local::TransportFailed),
            };
            return self.refused(id, &broken, env);
        };
        let ack = session.ack(session.cseq, &dialog);
        send_ack(ack, &dialog, session.domain(), session.over.clone(), env);
        session.dialog = Some(dialog);
        let wanted = !matches!(session.state, State::GivenUp);
        let answer = sdp::media(&response.body);
        let taken = answer.iter().find(|media| media.carrier().is_some());
        let fits = taken
            .filter(|_| wanted)
            .and_then(|media| session.take_answer(media, env));
        if fits.is_none() {
            return self.unfit(id, env);
        }
        self.book.note_channel(id);
        self.set_up(id, env);
    }

    /// The answer takes something that was not offered, or comes too late.
    pub(super) fn unfit(&mut self, id: SessionId, env: &mut Env<'_>) {
        let refused = Refused {
            mode: ImMode::Session,
            status: 488,
            failure: Failure::Local(Local::NotAcceptable),
        };
        self.end_without(id, &refused, env);
    }

    /// No connection came for a session.
    pub(super) fn unlinkable(&mut self, id: SessionId, env: &mut Env<'_>) {
        self.end_without(id, &unconnected(), env);
    }

    fn end_without(&mut self, id: SessionId, refused: &Refused, env: &mut Env<'_>) {
        let pages = self.take_all(id);
        let ended = self.book.get(id).map(Ended::of);
        self.bye(id, env);
        self.go_on_without(ended, pages, refused, env);
    }

    fn refused(&mut self, id: SessionId, refused: &Refused, env: &mut Env<'_>) {
        let pages = self.take_all(id);
        let ended = self.book.get(id).map(Ended::of);
        self.forget(id, env);
        self.go_on_without(ended, pages, refused, env);
    }

    /// This session cannot be had: messages go into one that the peer has opened at the same time, else as page-mode
    /// messages where that may help, or fail.
    pub(super) fn go_on_without(
        &mut self,
        ended: Option<Ended>,
        mut pages: VecDeque<Page>,
        refused: &Refused,
        env: &mut Env<'_>,
    ) {
        let over_msrp = ended.as_ref().is_some_and(|ended| ended.over_msrp);
        if let Some(ended) = ended {
            pages = self.shelter(&ended.pair, pages, env);
        }
        for mut page in pages {
            let behaviour = env.behaviour(&page.to.host);
            let elsewhere = (behaviour.im_fallback || over_msrp)
                && page.refused.is_none()
                && NO_SESSIONS.contains(&refused.status);
            if elsewhere {
                page.refused = Some(refused.clone());
                env.effects.reroute.push_back(page);
            } else {
                fail(page, refused.failure.clone(), env);
            }
        }
    }

    /// A 2xx that belongs to no request any more: the answer of another fork, the same answer once more, or one that came
    /// after all. It is acknowledged, and what it opened is closed (RFC 3261 §13.2.2.4).
    pub(in crate::ua) fn late_answer(
        &mut self,
        response: &Response,
        source: &Source,
        env: &mut Env<'_>,
    ) {
        let headers = &response.headers;
        let (Some(local), Ok(cseq)) = (headers.get("From"), headers.cseq()) else {
            return;
        };
        let call_id = headers.get("Call-ID").unwrap_or_default();
        let Ok(mut dialog) = Dialog::from_response(local, call_id, cseq.number, response) else {
            return;
        };
        let known = dialog::tag(local)
            .and_then(|tag| self.book.find(call_id, &tag))
            .and_then(|id| self.book.get(id));
        let same = known
            .and_then(|session| session.dialog.as_ref())
            .is_some_and(|known| known.remote_tag() == dialog.remote_tag());
        // Whatever `To` says, nobody is taken for another domain whose settings let us dial hosts inside.
        let answers_for = |to: &SipAddress| {
            let domain = env.settings.sip_domain(&to.host);
            domain.is_some_and(|domain| domain.is_spoken_for_by(source))
        };
        let domain = match known {
            Some(session) => session.domain().to_owned(),
            None => headers
                .to()
                .ok()
                .and_then(|to| adapt::address::from_name_addr(&to).ok())
                .filter(answers_for)
                .map(|to| to.host)
                .unwrap_or_default(),
        };
        let over = Some(source.clone()).filter(|source| leads_on(response, source));
        let ack = known.map_or_else(
            || dialog.ack(cseq.number),
            |session| session.ack(cseq.number, &dialog),
        );
        send_ack(ack, &dialog, &domain, over.clone(), env);
        let limit = env.settings.limits.threads;
        if !same && self.book.is_new_stray(call_id, dialog.remote_tag(), limit) {
            let mut request = dialog.request(Method::BYE);
            request.headers.push("User-Agent", &env.settings.product);
            env.send(Outgoing {
                purpose: Purpose::Stray,
                next_hop: dialog.next_hop(),
                request,
                over,
                domain,
                contact: None,
                branch_hint: None,
            });
        }
    }
}

/// There was no connection for the messages of a session: that of this user and moment, which says nothing about others.
pub(super) fn unconnected() -> Refused {
    Refused {
        mode: ImMode::Session,
        status: UNCONNECTED,
        failure: Failure::Local(Local::TransportFailed),
    }
}

/// Whether requests in the dialog of a response can go back the way that it came: over a connection to a proxy that wants
/// to stay on the way. So they keep their order.
pub(in crate::ua) fn leads_on(response: &Response, source: &Source) -> bool {
    source.transport.row().reliable && response.headers.contains("Record-Route")
}

impl Session {
    /// Takes the answer to our offer; `None` where it does not fit.
    pub(super) fn take_answer(&mut self, theirs: &sdp::Media, env: &mut Env<'_>) -> Option<()> {
        if let Some(types) = &theirs.accept_types {
            self.accepted = Accepted::parse(types);
        }
        match &mut self.medium {
            Medium::Dialog => theirs.is_in_dialog().then_some(()),
            Medium::Msrp(line) => {
                let role = medium::caller_role(line.own.setup, theirs.setup)?;
                let place = (self.theirs.host.as_str(), self.answered_from.as_ref());
                line.open(theirs, role, place, env)
            }
        }
    }

    /// The ACK of a 2xx to our INVITE of that number, with its credentials.
    fn ack(&self, number: u32, dialog: &Dialog) -> Request {
        let mut ack = dialog.ack(number);
        for field in self.proof.iter() {
            ack.headers.push_field(field.clone());
        }
        ack
    }
}

/// Sends the ACK of a 2xx, for which nothing ever comes back.
pub(in crate::ua) fn send_ack(
    request: Request,
    dialog: &Dialog,
    domain: &str,
    over: Option<Source>,
    env: &mut Env<'_>,
) {
    env.send(Outgoing {
        purpose: Purpose::Ack,
        request,
        next_hop: dialog.next_hop(),
        over,
        domain: domain.to_owned(),
        contact: None,
        branch_hint: None,
    });
}

/// The user that our `Contact` in a session names.
pub(super) fn own_user(session: &Session, env: &Env<'_>) -> OwnUser {
    OwnUser::new(&session.ours, &env.behaviour(session.domain()))
}

/// RFC 7573 §4, with what Microsoft's servers look for.
fn invitation(session: &Session, env: &mut Env<'_>) -> Request {
    let uri = adapt::address::to_uri(&session.theirs).to_string();
    let user = adapt::address::to_uri(&session.theirs.bare()).to_string();
    let mut request = Request::new(Method::INVITE, uri);
    let headers = &mut request.headers;
    headers.push("Max-Forwards", MAX_FORWARDS);
    headers.push("From", &session.local);
    headers.push("To", format!("<{user}>"));
    headers.push("Call-ID", &session.call_id);
    headers.push("CSeq", format!("{} INVITE", session.cseq));
    adapt::trace::write(headers, &session.our_trace);
    headers.push("User-Agent", &env.settings.product);
    headers.push("Allow", refusals::allow());
    // COMPAT(ocs, lync): the same word in two live sessions of one client makes it refuse the second.
    headers.push("Ms-Conversation-ID", env.entropy.token());
    headers.push("Content-Type", sdp::CONTENT_TYPE);
    request.body = Bytes::from(session.description.clone());
    request
}
