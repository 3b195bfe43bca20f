//! Page-mode messages in both directions (RFC 3428, RFC 7572), and what is said beside them: receipts and typing.

mod composing;
mod inbox;
mod peers;
mod receipts;
mod sending;
mod threads;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use stox_core::address::SipAddress;
use stox_core::failure::{Failure, Local, SipStatus, to_sip};
use stox_core::vocab::{Im, Receipt, Ref, SipIn};

use self::composing::Typists;
pub(super) use self::inbox::{Arrived, Inbox, Place};
use self::peers::{MEMORY, Peers, Skill};
use self::receipts::{Debts, Expected, Name, Owed};
use self::threads::Threads;
use super::effects::{Env, Fate};
use super::session::{Pair, pair};
use crate::adapt;
use crate::adapt::im::{Accepted, PageMessage};
use crate::body::imdn::{Imdn, Wanted};
use crate::deadlines::Deadlines;
use crate::dialect::ImMode;
use crate::header::Headers;
use crate::message::Response;

/// A message of the bridge.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) reference: Ref,
    pub(super) from: SipAddress,
    pub(super) to: SipAddress,
    pub(super) im: Im,
    /// The way that the peer refused it by before.
    pub(super) refused: Option<Refused>,
    /// It was sent into a session that the peer did not know any more.
    pub(super) reopened: bool,
    /// It was written anew for what the peer said to take.
    pub(super) rewritten: bool,
    /// Until when it may wait for its turn, wherever it waits.
    pub(super) until: Option<Duration>,
    /// How it is written outside a session.
    written: Written,
}

/// How a message is written outside a session.
#[derive(Debug, Default)]
struct Written {
    /// What the peer said to take.
    accepted: Accepted,
    /// Its parts, where it is too long for one MESSAGE, and how many of them were taken.
    parts: Vec<String>,
    taken: usize,
    /// A wrapper is around it; or the peer has refused one.
    wrapped: bool,
    bare: bool,
    /// What a receipt will call it.
    name: Option<(Name, u64)>,
}

impl Page {
    /// A message that was sent no way yet.
    pub(super) fn new(reference: Ref, from: SipAddress, to: SipAddress, im: Im) -> Self {
        Self {
            reference,
            from,
            to,
            im,
            refused: None,
            reopened: false,
            rewritten: false,
            until: None,
            written: Written::default(),
        }
    }
}

/// How a peer refused to take messages one way.
#[derive(Debug, Clone)]
pub(super) struct Refused {
    pub(super) mode: ImMode,
    pub(super) status: u16,
    pub(super) failure: Failure,
}

/// Answers that say that messages outside a session are not taken at all.
const NO_PAGES: &[u16] = &[405, 488, 501];
/// So do some peers say it, too ([`crate::dialect::Behaviour::forbids_pages`]).
const FORBIDDEN: u16 = 403;
/// A type is not taken.
const BAD_TYPE: u16 = 415;
/// In place of an answer, where a message is too long to be sent outside a session.
const TOO_LONG: u16 = 513;
/// In place of an answer, where a session got no connection for its messages.
pub(super) const UNCONNECTED: u16 = 0;

/// A MESSAGE that nobody waits for.
#[derive(Debug)]
struct Notice {
    from: SipAddress,
    to: SipAddress,
    thread: Option<String>,
    content: PageMessage,
    /// It is about typing; otherwise it is a receipt.
    types: bool,
}

/// What waits for its turn.
#[derive(Debug)]
enum Job {
    Page(Box<Page>),
    Notice(Box<Notice>),
}

/// Outgoing messages: one at a time to each user, in order (RFC 3428 §8).
#[derive(Debug, Default)]
pub(super) struct Pages {
    /// What waits, by user, whatever device of his it is for. A key is there while a MESSAGE to him is under way.
    lanes: BTreeMap<SipAddress, VecDeque<Job>>,
    /// Messages under way, with their Call-ID.
    in_flight: BTreeMap<Ref, (Page, String)>,
    /// Notices under way, with their Call-ID.
    notices: BTreeMap<u64, (Notice, String)>,
    last_notice: u64,
    waiting: usize,
    deadlines: Deadlines<Ref>,
    /// Whose turn has to be given up, by lane.
    lane_of: BTreeMap<Ref, SipAddress>,
    threads: Threads,
    /// How many messages of whom to whom have no fate yet.
    open: BTreeMap<Pair, usize>,
    peers: Peers,
    typists: Typists,
    expected: Expected,
    debts: Debts,
}

/// The lane of a user.
fn lane(to: &SipAddress) -> SipAddress {
    to.bare().canonical()
}

impl Pages {
    /// Whether a message between the two has no fate yet: what comes behind it goes the same way, to keep its place.
    pub(super) fn has(&self, from: &SipAddress, to: &SipAddress) -> bool {
        self.open.contains_key(&pair(from, to))
    }

    fn close(&mut self, page: &Page) {
        let pair = pair(&page.from, &page.to);
        if let Some(count) = self.open.get_mut(&pair) {
            *count -= 1;
            if *count == 0 {
                self.open.remove(&pair);
            }
        }
    }

    /// Nothing is remembered but the numbers of threads, what peers have shown, and what receipts may be about.
    pub(super) fn is_empty(&self) -> bool {
        self.lanes.is_empty()
            && self.in_flight.is_empty()
            && self.notices.is_empty()
            && self.lane_of.is_empty()
            && self.open.is_empty()
            && self.typists.is_empty()
    }

    /// How many are under way and how many wait.
    pub(super) fn counts(&self) -> (usize, usize) {
        (self.in_flight.len() + self.notices.len(), self.waiting)
    }

    /// Takes a message, which ends in exactly one [`SipIn::Outcome`].
    pub(super) fn send(&mut self, mut page: Page, env: &mut Env<'_>) {
        let lane = lane(&page.to);
        if !self.has_room(&lane, env) {
            return fail(page, Failure::Local(Local::Overloaded), env);
        }
        self.ends_typing(&page.from, &page.to);
        *self.open.entry(pair(&page.from, &page.to)).or_default() += 1;
        if self.lanes.contains_key(&lane) {
            let until = env.now.mono + env.settings.limits.queue_wait;
            let until = *page.until.get_or_insert(until);
            self.deadlines.set(page.reference, until);
            self.lane_of.insert(page.reference, lane.clone());
        }
        self.queue(lane, Job::Page(Box::new(page)), env);
    }

    /// Sends what nobody waits for, unless there is no room.
    fn tell(&mut self, notice: Notice, env: &mut Env<'_>) {
        let lane = lane(&notice.to);
        if self.has_room(&lane, env) {
            self.queue(lane, Job::Notice(Box::new(notice)), env);
        }
    }

    fn has_room(&self, lane: &SipAddress, env: &Env<'_>) -> bool {
        let limits = &env.settings.limits;
        match self.lanes.get(lane) {
            None => true,
            Some(lane) => lane.len() < limits.queued_per_address && self.waiting < limits.queued,
        }
    }

    fn queue(&mut self, lane: SipAddress, job: Job, env: &mut Env<'_>) {
        match self.lanes.get_mut(&lane) {
            None => {
                self.lanes.insert(lane.clone(), VecDeque::new());
                self.start(lane, Some(job), env);
            }
            Some(waiting) => {
                self.waiting += 1;
                waiting.push_back(job);
            }
        }
    }

    fn take_next(&mut self, lane: &SipAddress) -> Option<Job> {
        let job = self.lanes.get_mut(lane)?.pop_front()?;
        self.taken_out(&job);
        Some(job)
    }

    fn taken_out(&mut self, job: &Job) {
        self.waiting -= 1;
        if let Job::Page(page) = job {
            self.deadlines.clear(page.reference);
            self.lane_of.remove(&page.reference);
        }
    }

    // ------------------------------------------------------------------------------------- outcomes

    /// The fate of a MESSAGE.
    pub(super) fn settled(&mut self, reference: Ref, fate: Fate, env: &mut Env<'_>) {
        let Some((mut page, _)) = self.in_flight.remove(&reference) else {
            return;
        };
        let lane = lane(&page.to);
        match fate {
            Ok(response) if (200..300).contains(&response.status) => {
                self.saw(&page.to, &response.headers, env.now.mono);
                page.written.taken += 1;
                if page.written.taken < page.written.parts.len() {
                    return self.start(lane, Some(Job::Page(Box::new(page))), env);
                }
                self.close(&page);
                taken(page, ImMode::Page, env);
            }
            Ok(response) => {
                self.not_taken(&mut page);
                self.saw(&page.to, &response.headers, env.now.mono);
                if self.rewrites(&mut page, &response, env.now.mono) {
                    return self.start(lane, Some(Job::Page(Box::new(page))), env);
                }
                self.close(&page);
                refused(page, &response, env);
            }
            Err(failure) => {
                self.not_taken(&mut page);
                self.close(&page);
                fail_part(page, failure, env);
            }
        }
        let next = self.take_next(&lane);
        self.start(lane, next, env);
    }

    /// No receipt will come of it.
    fn not_taken(&mut self, page: &mut Page) {
        if let Some((name, serial)) = page.written.name.take() {
            self.expected.failed(&name, serial);
        }
    }

    /// A peer that does not take the type of a message gets it once more without its wrapper, or in what it takes.
    fn rewrites(&mut self, page: &mut Page, response: &Response, now: Duration) -> bool {
        if response.status != BAD_TYPE {
            return false;
        }
        let written = &mut page.written;
        if std::mem::take(&mut written.wrapped) {
            written.bare = true;
            self.peers
                .learn(&page.to, (Skill::Wrapper, false), MEMORY, now);
            return true;
        }
        let accepted = response.headers.get("Accept").map(Accepted::parse);
        let Some(accepted) = accepted.filter(|_| !page.rewritten && written.parts.is_empty())
        else {
            return false;
        };
        page.rewritten =
            !accepted.takes("text", "plain") && adapt::im::write(&page.im, &accepted).is_ok();
        if page.rewritten {
            written.accepted = accepted;
        }
        page.rewritten
    }

    /// The fate of a notice, for which nobody waits.
    pub(super) fn noticed(&mut self, number: u64, fate: &Fate, env: &mut Env<'_>) {
        let Some((notice, _)) = self.notices.remove(&number) else {
            return;
        };
        if notice.types {
            self.typing_told(&notice, fate, env);
        }
        let lane = lane(&notice.to);
        let next = self.take_next(&lane);
        self.start(lane, next, env);
    }

    /// Takes the next CSeq for a MESSAGE that is sent again with credentials.
    pub(super) fn next_cseq(&mut self, reference: Ref, env: &Env<'_>) -> Option<u32> {
        let (_, call_id) = self.in_flight.get(&reference)?;
        Some(self.threads.next(call_id, env))
    }

    /// So for a notice.
    pub(super) fn next_cseq_of_notice(&mut self, number: u64, env: &Env<'_>) -> Option<u32> {
        let (_, call_id) = self.notices.get(&number)?;
        Some(self.threads.next(call_id, env))
    }

    /// The next timer.
    pub(super) fn next_timeout(&self) -> Option<Duration> {
        let timers = [self.deadlines.next(), self.typists.next_timeout()];
        timers.into_iter().flatten().min()
    }

    /// Gives up messages whose turn did not come in time, and looks after those who type.
    pub(super) fn handle_timeout(&mut self, env: &mut Env<'_>) {
        while let Some(reference) = self.deadlines.pop_due(env.now.mono) {
            let Some(lane) = self.lane_of.remove(&reference) else {
                continue;
            };
            let waits = |job: &Job| matches!(job, Job::Page(page) if page.reference == reference);
            let lane = self.lanes.get_mut(&lane);
            let job = lane.and_then(|lane| lane.remove(lane.iter().position(waits)?));
            if let Some(Job::Page(page)) = job {
                self.waiting -= 1;
                self.close(&page);
                fail(*page, Failure::Local(Local::Timeout), env);
            }
        }
        self.typing_timeout(env);
    }

    // ------------------------------------------------------------------------------------- receipts

    /// What a peer has written shows what it understands.
    pub(super) fn saw(&mut self, user: &SipAddress, headers: &Headers, now: Duration) {
        for name in ["Accept", "Content-Type"] {
            let Some(named) = headers.get(name).map(Accepted::parse) else {
                continue;
            };
            for (skill, type_, subtype) in Skill::TYPES {
                if named.names(type_, subtype) {
                    self.peers.learn(user, (skill, true), MEMORY, now);
                }
            }
        }
    }

    /// A peer has written in a language.
    pub(super) fn wrote_in(&mut self, user: &SipAddress, language: &str, now: Duration) {
        self.peers.wrote_in(user, language, now);
    }

    /// Receipts of a user about messages of one of ours: what matches none says nothing.
    pub(super) fn heard(
        &mut self,
        (theirs, ours): (&SipAddress, &SipAddress),
        receipts: Vec<Imdn>,
        env: &mut Env<'_>,
    ) {
        for imdn in receipts {
            let name = (pair(ours, theirs), imdn.message_id);
            let told = adapt::im::receipt(imdn.disposition)
                .and_then(|receipt| self.expected.heard(&name, receipt));
            if let Some(told) = told {
                env.tell(told);
            }
        }
    }

    /// A message of a peer asks for receipts.
    pub(super) fn owes(
        &mut self,
        reference: Ref,
        wanted: Wanted,
        (theirs, ours): (SipAddress, SipAddress),
        now: Duration,
    ) {
        let owed = Owed {
            wanted,
            theirs,
            ours,
        };
        self.debts.took(reference, owed, now);
    }

    /// The bridge has refused such a message.
    pub(super) fn owes_nothing(&mut self, reference: Ref) {
        self.debts.refused(reference);
    }

    /// The XMPP user's client tells of a message: its sender is told, where he wants to know (RFC 5438 §8.1).
    pub(super) fn receipt(&mut self, reference: Ref, receipt: Receipt, env: &mut Env<'_>) {
        let Some(owed) = self.debts.pay(reference, receipt) else {
            return;
        };
        let parties = (&owed.ours, &owed.theirs);
        let id = env.entropy.token();
        let content = adapt::im::notification(&owed.wanted, receipt, parties, &id, env.now);
        let notice = Notice {
            content,
            from: owed.ours,
            to: owed.theirs,
            thread: None,
            types: false,
        };
        self.tell(notice, env);
    }
}

/// A message that was taken this way. Where the peer had refused it the other way, that is a lesson.
pub(super) fn taken(page: Page, took: ImMode, env: &mut Env<'_>) {
    let teaches = |refused: &&Refused| !matches!(refused.status, TOO_LONG | UNCONNECTED);
    if let Some(refused) = page.refused.as_ref().filter(teaches) {
        let (domain, now) = (page.to.host.as_str(), env.now.mono);
        env.dialects.answered(domain, took, refused.status, now);
    }
    env.tell(SipIn::Outcome {
        reference: page.reference,
        outcome: Ok(()),
    });
}

/// A refusal: of this message, or of messages outside a session, which then opens one.
fn refused(mut page: Page, response: &Response, env: &mut Env<'_>) {
    let status = response.status;
    let behaviour = env.behaviour(&page.to.host);
    let no_pages = NO_PAGES.contains(&status) || (status == FORBIDDEN && behaviour.forbids_pages);
    let failure = adapt::failure::from_response(response);
    if behaviour.im_fallback && page.refused.is_none() && no_pages && page.written.taken == 0 {
        page.refused = Some(Refused {
            mode: ImMode::Page,
            status,
            failure,
        });
        env.effects.reroute.push_back(page);
    } else {
        fail_part(page, failure, env);
    }
}

/// Ends a message that failed. Of one in parts the sender is told how much has arrived.
fn fail_part(page: Page, failure: Failure, env: &mut Env<'_>) {
    let (taken, parts) = (page.written.taken, page.written.parts.len());
    if taken == 0 {
        return fail(page, failure, env);
    }
    let status = to_sip(&failure);
    let words = format!("Only {taken} of {parts} parts arrived: {}", status.reason);
    fail(page, Failure::Sip(SipStatus::new(status.code, &words)), env);
}

/// Ends a message that failed. Where another way had refused it before, that is the news.
pub(super) fn fail(page: Page, failure: Failure, env: &mut Env<'_>) {
    let failure = page.refused.map_or(failure, |refused| refused.failure);
    env.tell(SipIn::Outcome {
        reference: page.reference,
        outcome: Err(failure),
    });
}
