//! IM sessions, in both roles (RFC 7573 §4 and §5 for the mapping): those whose messages travel in the dialog of an INVITE
//! (`m=message … sip null`), as OCS, LCS and their heirs hold them, and those over MSRP.
//!
//! A session belongs to a pair of users and, once the XMPP user has named one, to a thread. Messages that come while it is
//! being set up wait in it; they leave one at a time, so that their order is kept. Where a session breaks before a message
//! was taken, the message opens another one.

mod book;
mod callee;
pub(super) mod caller;
mod ending;
pub(super) mod medium;
pub(super) mod over_msrp;
mod traffic;
mod typing;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use stox_core::address::SipAddress;
use stox_core::failure::{Failure, Local};
use stox_core::vocab::{Im, Ref, Trace};

use self::book::Book;
pub(super) use self::callee::{Invitation, in_session};
use self::medium::Medium;
use self::over_msrp::Deliveries;
pub(super) use self::traffic::Received;
use super::effects::{Env, Fate};
use super::page_message::{Page, fail};
use crate::adapt::im::Accepted;
use crate::body::sdp;
use crate::deadlines::Deadlines;
use crate::dialect::{Behaviour, SessionTypes, Word};
use crate::dialog::Dialog;
use crate::header::Headers;
use crate::message::Request;
use crate::transaction::ServerId;
use crate::transport::Source;

/// Names one session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct SessionId(pub(super) u64);

/// What a request of ours in a session is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step {
    /// Sets it up.
    Invite,
    /// Carries a message.
    Message,
    /// Says that somebody types, or does not any more.
    Typing,
    /// Ends it.
    Bye,
}

/// A session's timers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    /// Our INVITE has waited long enough.
    Answer,
    /// The text inside their INVITE was not sent again.
    FirstMessage,
    /// Our notice of typing is to be repeated.
    Typing,
    /// Theirs was not repeated.
    TheirTyping,
    /// Nothing has happened for a long time.
    Idle,
}

impl Timer {
    const ALL: [Self; 5] = [
        Self::Answer,
        Self::FirstMessage,
        Self::Typing,
        Self::TheirTyping,
        Self::Idle,
    ];
}

/// How far a session has come.
#[derive(Debug)]
enum State {
    /// Our INVITE has no final answer.
    Inviting,
    /// So, and we do not want one any more.
    GivenUp,
    /// Their INVITE waits for the fate of the text inside it.
    Answering(ServerId, Box<Request>, Ref),
    /// Their INVITE is answered, and the answer not acknowledged.
    Accepted,
    /// The INVITE is answered, and no MSRP connection is there yet.
    Linking,
    /// Messages flow.
    Open,
    /// Our BYE is on its way.
    Closing,
}

/// The two users: XMPP's, as SIP address, and SIP's; bare and canonical.
pub(super) type Pair = (SipAddress, SipAddress);

#[derive(Debug)]
struct Session {
    pair: Pair,
    /// The XMPP user as she is known in it.
    ours: SipAddress,
    /// The SIP user.
    theirs: SipAddress,
    call_id: String,
    /// Our `From` value, or what their `To` became; our tag included.
    local: String,
    local_tag: String,
    /// Number of our INVITE.
    cseq: u32,
    dialog: Option<Dialog>,
    state: State,
    medium: Medium,
    /// Their INVITE, until its answer is acknowledged.
    server: Option<ServerId>,
    /// Messages that wait, and the one under way.
    queue: VecDeque<Page>,
    sending: Option<Page>,
    /// What the one under way is called in MSRP.
    message_id: Option<String>,
    /// The thread that the XMPP user gave the conversation.
    thread: Option<String>,
    /// The gateways that the message has crossed for which we opened it: our INVITE says so.
    our_trace: Trace,
    /// The gateways that their INVITE has crossed; so have their messages over MSRP, which cannot say so.
    their_trace: Trace,
    /// What the peer takes.
    accepted: Accepted,
    /// The peer's own connection.
    over: Option<Source>,
    /// Where the answer to our INVITE came from.
    answered_from: Option<Source>,
    /// Our session description, and how often it has changed.
    description: String,
    version: u64,
    /// The text inside their INVITE, while it may still come as a message.
    first: Option<Im>,
    /// The XMPP user's client shows chat states.
    chat_states: bool,
    /// The peer was told that she types, at that time first.
    composing: Option<Duration>,
    /// The XMPP user was told that the peer types.
    typing: bool,
    /// The peer refused a notice of typing.
    deaf: bool,
    /// The credentials in our INVITE, for its ACK.
    proof: Headers,
    /// The last MESSAGE of the peer's.
    taken: Option<Taken>,
}

/// A MESSAGE of the peer's, which may come once more.
#[derive(Debug)]
struct Taken {
    cseq: u32,
    reference: Ref,
    /// The bridge's answer, once it is there.
    outcome: Option<Result<(), Failure>>,
}

impl Session {
    /// Messages may be put into it. Behind one whose fate is open they wait even when the session ends: it may have to go
    /// elsewhere, and they after it.
    fn takes_messages(&self) -> bool {
        match self.state {
            State::GivenUp => false,
            State::Closing => self.sending.is_some(),
            _ => true,
        }
    }

    /// A message of that thread waits or is under way in it.
    fn holds(&self, thread: Option<&str>) -> bool {
        let pages = self.sending.iter().chain(&self.queue);
        pages
            .map(|page| page.im.thread.as_deref())
            .any(|held| held == thread)
    }

    /// Messages wait or are under way in it.
    fn is_busy(&self) -> bool {
        self.sending.is_some() || !self.queue.is_empty()
    }

    /// What the XMPP side calls the conversation.
    fn thread(&self) -> String {
        self.thread.clone().unwrap_or_else(|| self.call_id.clone())
    }

    /// Whether the XMPP user means this conversation by that thread.
    fn is_thread(&self, thread: &str) -> bool {
        self.thread.as_deref() == Some(thread) || self.call_id == thread
    }

    fn domain(&self) -> &str {
        &self.theirs.host
    }
}

/// All sessions.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    book: Book,
    timers: Deadlines<(SessionId, Timer)>,
    /// How long each waiting message may wait, and where it waits.
    waits: Deadlines<Ref>,
    waiting_in: BTreeMap<Ref, SessionId>,
    /// Messages inside INVITEs that the bridge has not answered.
    embedded: BTreeMap<Ref, SessionId>,
    /// Messages that came over MSRP.
    deliveries: Deliveries,
    /// The gateway stops: none is opened any more, and those that are end.
    stopping: bool,
}

/// Sessions that we open between one pair of users at most; more threads share them.
const MAX_PER_PAIR: usize = 8;
/// Sessions of one pair at most; the oldest ends for a newer one of the peer's.
const MOST_PER_PAIR: usize = 16;

impl Sessions {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.book.len()
    }

    /// Nothing is known of any session, and nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.book.is_empty()
            && self.waiting_in.is_empty()
            && self.embedded.is_empty()
            && self.deliveries.is_empty()
    }

    /// How many texts inside INVITEs, and messages over MSRP, the bridge has not answered.
    pub(super) fn unanswered(&self) -> usize {
        self.embedded.len() + self.deliveries.len()
    }

    /// The SIP domains that they are with.
    pub(super) fn domains(&self) -> impl Iterator<Item = &str> {
        self.book.domains()
    }

    /// How many messages of ours have no fate yet, in sessions.
    pub(super) fn under_way(&self) -> usize {
        self.book.under_way()
    }

    /// How many messages wait for their turn or for a session.
    pub(super) fn waiting(&self) -> usize {
        self.waiting_in.len()
    }

    /// The session of a dialog.
    pub(super) fn find(&self, call_id: &str, local_tag: &str) -> Option<SessionId> {
        self.book.find(call_id, local_tag)
    }

    /// Whether the two users have a session that messages can go into, whatever way they would go otherwise.
    pub(super) fn has(&self, from: &SipAddress, to: &SipAddress) -> bool {
        let pair = pair(from, to);
        self.book
            .of_pair(&pair)
            .any(|(_, session)| session.takes_messages())
    }

    /// Takes a message, which ends in exactly one [`SipIn::Outcome`], or goes on as page-mode message.
    pub(super) fn send(&mut self, page: Page, env: &mut Env<'_>) {
        let pair = pair(&page.from, &page.to);
        match self.choose(&pair, page.im.thread.as_deref()) {
            Some(id) => self.enqueue(id, page, env),
            None => self.invite(pair, VecDeque::from([page]), None, env),
        }
    }

    /// The session that a thread belongs to: its own, else the newest one without a thread; without a thread, the newest.
    /// One with messages under way goes before others, above all with those of the thread, so that nothing overtakes them.
    fn choose(&self, pair: &Pair, thread: Option<&str>) -> Option<SessionId> {
        let open = |(_, session): &(SessionId, &Session)| session.takes_messages();
        let newest: Vec<(SessionId, &Session)> = self.book.of_pair(pair).filter(open).collect();
        let fits = |(_, session): &&(SessionId, &Session)| match thread {
            Some(thread) => session.is_thread(thread),
            None => true,
        };
        let fresh = |(_, session): &&(SessionId, &Session)| session.thread.is_none();
        let busy = |(_, session): &&(SessionId, &Session)| session.is_busy();
        newest
            .iter()
            .rev()
            .find(|(_, session)| session.holds(thread))
            .or_else(|| newest.iter().rev().filter(fits).find(busy))
            .or_else(|| newest.iter().rev().find(fits))
            .or_else(|| newest.iter().rev().find(fresh))
            .or_else(|| newest.last().filter(|_| newest.len() >= MAX_PER_PAIR))
            .map(|(id, _)| *id)
    }

    /// Puts a message into a session, within the limits.
    fn enqueue(&mut self, id: SessionId, mut page: Page, env: &mut Env<'_>) {
        let limits = &env.settings.limits;
        if self.stopping {
            return fail(page, Failure::Local(Local::ShuttingDown), env);
        }
        let full = self.waiting_in.len() >= limits.queued;
        let Some(session) = self.book.get_mut(id) else {
            return fail(page, Failure::Local(Local::TransportFailed), env);
        };
        if full || session.queue.len() >= limits.queued_per_address {
            return fail(page, Failure::Local(Local::Overloaded), env);
        }
        if session.thread.is_none()
            && let Some(thread) = &page.im.thread
            && *thread != session.call_id
        {
            session.thread = Some(thread.clone());
        }
        session.chat_states |= page.im.chat_state.is_some();
        session.ours.clone_from(&page.from);
        let reference = page.reference;
        let until = *page.until.get_or_insert(env.now.mono + limits.queue_wait);
        session.queue.push_back(page);
        self.waits.set(reference, until);
        self.waiting_in.insert(reference, id);
        self.pump(id, env);
    }

    /// The fate of a request of ours.
    pub(super) fn settled(&mut self, id: SessionId, step: Step, fate: Fate, env: &mut Env<'_>) {
        match step {
            Step::Invite => self.invited(id, fate, env),
            Step::Message => self.delivered(id, fate, env),
            Step::Typing => {
                if let Ok(response) = &fate
                    && matches!(response.status, 415 | 405 | 501)
                    && let Some(session) = self.book.get_mut(id)
                {
                    session.deaf = true;
                }
            }
            // A message that is still under way gets its outcome first.
            Step::Bye => {
                if self
                    .book
                    .get(id)
                    .is_none_or(|session| session.sending.is_none())
                {
                    self.forget(id, env);
                }
            }
        }
    }

    /// Takes the next CSeq for a request that is sent again with credentials; none for one that is not wanted any more.
    pub(super) fn next_cseq(&mut self, id: SessionId, step: Step) -> Option<u32> {
        let session = self.book.get_mut(id)?;
        if step == Step::Invite {
            if matches!(session.state, State::GivenUp) {
                return None;
            }
            session.cseq += 1;
            Some(session.cseq)
        } else {
            session.dialog.as_mut().map(Dialog::next_cseq)
        }
    }

    /// The next timer.
    pub(super) fn next_timeout(&self) -> Option<Duration> {
        [self.timers.next(), self.waits.next()]
            .into_iter()
            .flatten()
            .min()
    }

    /// Runs the timers that are due.
    pub(super) fn handle_timeout(&mut self, env: &mut Env<'_>) {
        while let Some((id, timer)) = self.timers.pop_due(env.now.mono) {
            match timer {
                Timer::Answer => self.give_up(id, env),
                Timer::FirstMessage => self.deliver_first(id, env),
                Timer::Typing => self.repeat_typing(id, env),
                Timer::TheirTyping => self.hush(id, env),
                Timer::Idle => self.idled(id, env),
            }
        }
        // After that: what waited for a session may have found another one.
        while let Some(reference) = self.waits.pop_due(env.now.mono) {
            self.waited_too_long(reference, env);
        }
    }

    fn waited_too_long(&mut self, reference: Ref, env: &mut Env<'_>) {
        let Some(id) = self.waiting_in.remove(&reference) else {
            return;
        };
        let Some(session) = self.book.get_mut(id) else {
            return;
        };
        let waiting = |page: &Page| page.reference == reference;
        if let Some(at) = session.queue.iter().position(waiting)
            && let Some(page) = session.queue.remove(at)
        {
            fail(page, Failure::Local(Local::Timeout), env);
        }
    }

    /// The next message of a session, and no wait for it any more.
    fn take_next(&mut self, id: SessionId) -> Option<Page> {
        let page = self.book.get_mut(id)?.queue.pop_front()?;
        self.waits.clear(page.reference);
        self.waiting_in.remove(&page.reference);
        Some(page)
    }

    /// All messages of a session that were not sent, and no wait for them any more.
    fn take_all(&mut self, id: SessionId) -> VecDeque<Page> {
        std::iter::from_fn(|| self.take_next(id)).collect()
    }

    fn rest(&mut self, id: SessionId, env: &Env<'_>) {
        if let Some(session) = self.book.get(id) {
            let idle = env.behaviour(session.domain()).session_idle;
            self.timers.set((id, Timer::Idle), env.now.mono + idle);
        }
    }

    /// Puts messages into another session of the two. What comes back has none to go to.
    fn shelter(&mut self, pair: &Pair, pages: VecDeque<Page>, env: &mut Env<'_>) -> VecDeque<Page> {
        let thread = pages.front().and_then(|page| page.im.thread.as_deref());
        let other = self.choose(pair, thread);
        let Some(other) = other.or_else(|| self.choose(pair, None)) else {
            return pages;
        };
        for page in pages {
            self.enqueue(other, page, env);
        }
        VecDeque::new()
    }

    /// A session is over for the two users, whatever is still owed in it.
    fn still(&mut self, id: SessionId, env: &mut Env<'_>) {
        self.hush(id, env);
        for timer in Timer::ALL {
            self.timers.clear((id, timer));
        }
    }

    /// Forgets a session of which nothing is owed any more.
    fn forget(&mut self, id: SessionId, env: &mut Env<'_>) {
        self.still(id, env);
        self.unplug(id, env);
        self.book.remove(id);
    }
}

/// The key of two users.
pub(super) fn pair(ours: &SipAddress, theirs: &SipAddress) -> Pair {
    (ours.bare().canonical(), theirs.bare().canonical())
}

/// Our side of a session whose messages travel in the dialog.
fn in_dialog(behaviour: &Behaviour, format: String) -> sdp::Own {
    sdp::Own::Dialog {
        word: behaviour.session_word.word(),
        format,
        accept_types: session_types(behaviour.session_types).to_owned(),
    }
}

/// What our session descriptions say that we take.
fn session_types(types: SessionTypes) -> &'static str {
    match types {
        SessionTypes::Plain => "text/plain",
        SessionTypes::Rich => {
            "text/plain text/html multipart/alternative text/rtf application/im-iscomposing+xml"
        }
    }
}
