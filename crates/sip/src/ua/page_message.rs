//! Page-mode messages in both directions (RFC 3428, RFC 7572).

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use stox_core::address::SipAddress;
use stox_core::failure::{Failure, Local};
use stox_core::vocab::{Im, Ref, SipIn};

use super::deadlines::Deadlines;
use super::effects::{Asked, Env, Fate, Outgoing, Purpose};
use super::session::{self, Pair, pair};
use crate::adapt;
use crate::body::iscomposing::Composing;
use crate::dialect::ImMode;
use crate::dialog::MAX_FORWARDS;
use crate::message::{Request, Response};
use crate::method::Method;
use crate::transaction::ServerId;

/// For how long the last CSeq of a Call-ID is remembered.
const THREAD_MEMORY: Duration = Duration::from_secs(24 * 3600);
/// The wall clock at which CSeq numbers start: 2020-01-01T00:00:00Z.
const CSEQ_EPOCH: u64 = 1_577_836_800;
/// CSeq numbers stay below this (RFC 3261 §8.1.1.5).
const CSEQ_LIMIT: u64 = 1 << 31;

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

/// Outgoing messages: one at a time to each address, in order (RFC 3428 §8).
#[derive(Debug, Default)]
pub(super) struct Pages {
    /// Messages that wait, by Request-URI. A key is there while a MESSAGE to it is under way.
    lanes: BTreeMap<String, VecDeque<Page>>,
    /// What is under way, with its Request-URI and Call-ID.
    in_flight: BTreeMap<Ref, (Page, String, String)>,
    waiting: usize,
    deadlines: Deadlines<Ref>,
    /// Whose turn has to be given up, by Request-URI.
    lane_of: BTreeMap<Ref, String>,
    threads: Threads,
    /// How many messages of whom to whom have no fate yet.
    open: BTreeMap<Pair, usize>,
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

    /// Nothing is remembered of any message but the numbers of its thread.
    pub(super) fn is_empty(&self) -> bool {
        self.lanes.is_empty()
            && self.in_flight.is_empty()
            && self.lane_of.is_empty()
            && self.open.is_empty()
    }

    /// How many are under way and how many wait.
    pub(super) fn counts(&self) -> (usize, usize) {
        (self.in_flight.len(), self.waiting)
    }

    /// Takes a message, which ends in exactly one [`SipIn::Outcome`].
    pub(super) fn send(&mut self, mut page: Page, env: &mut Env<'_>) {
        let uri = adapt::address::to_uri(&page.to).to_string();
        let limits = &env.settings.limits;
        let room = match self.lanes.get(&uri) {
            None => true,
            Some(lane) => lane.len() < limits.queued_per_address && self.waiting < limits.queued,
        };
        if !room {
            return fail(page, Failure::Local(Local::Overloaded), env);
        }
        *self.open.entry(pair(&page.from, &page.to)).or_default() += 1;
        match self.lanes.get_mut(&uri) {
            None => {
                self.lanes.insert(uri.clone(), VecDeque::new());
                self.start(uri, page, env);
            }
            Some(lane) => {
                let until = env.now.mono + limits.queue_wait;
                self.deadlines
                    .set(page.reference, *page.until.get_or_insert(until));
                self.lane_of.insert(page.reference, uri);
                self.waiting += 1;
                lane.push_back(page);
            }
        }
    }

    /// Sends a message, or settles it and the lane's next one until one is under way.
    fn start(&mut self, uri: String, first: Page, env: &mut Env<'_>) {
        let mut next = Some(first);
        while let Some(page) = next {
            match self.request(&uri, &page, env) {
                Ok(request) => {
                    let call_id = request
                        .headers
                        .get("Call-ID")
                        .unwrap_or_default()
                        .to_owned();
                    env.send(Outgoing {
                        purpose: Purpose::Page(page.reference),
                        request,
                        next_hop: uri.clone(),
                        over: None,
                        domain: page.to.host.clone(),
                        contact: None,
                        branch_hint: page.im.id.as_deref().map(adapt::im::branch_hint),
                    });
                    self.in_flight.insert(page.reference, (page, uri, call_id));
                    return;
                }
                Err(local) => {
                    self.close(&page);
                    fail(page, Failure::Local(local), env);
                }
            }
            next = self.take_next(&uri);
        }
        self.lanes.remove(&uri);
    }

    fn take_next(&mut self, uri: &str) -> Option<Page> {
        let page = self.lanes.get_mut(uri)?.pop_front()?;
        self.deadlines.clear(page.reference);
        self.lane_of.remove(&page.reference);
        self.waiting -= 1;
        Some(page)
    }

    /// RFC 7572 Table 1.
    fn request(&mut self, uri: &str, page: &Page, env: &mut Env<'_>) -> Result<Request, Local> {
        let accepted = adapt::im::Accepted::default();
        let content = adapt::im::write(&page.im, &accepted).map_err(|_| Local::NotAcceptable)?;
        if content.body.len() > env.settings.page_limit {
            return Err(Local::TooLarge);
        }
        let call_id = page
            .im
            .thread
            .as_deref()
            .and_then(adapt::im::call_id)
            .unwrap_or_else(|| format!("{}@{}", env.entropy.token(), env.settings.local.host));
        let cseq = self.threads.next(&call_id, env);
        let from = adapt::address::to_uri(&page.from).to_string();
        let tag = env.entropy.token();
        let mut request = Request::new(Method::MESSAGE, uri);
        let headers = &mut request.headers;
        headers.push("Max-Forwards", MAX_FORWARDS);
        headers.push("From", format!("<{from}>;tag={tag}"));
        headers.push("To", format!("<{uri}>"));
        headers.push("Call-ID", call_id);
        headers.push("CSeq", format!("{cseq} {}", Method::MESSAGE));
        headers.push("User-Agent", &env.settings.product);
        for (name, value) in &content.headers {
            headers.push(name, value);
        }
        request.body = content.body;
        Ok(request)
    }

    /// The fate of a MESSAGE.
    pub(super) fn settled(&mut self, reference: Ref, fate: Fate, env: &mut Env<'_>) {
        let Some((page, uri, _)) = self.in_flight.remove(&reference) else {
            return;
        };
        self.close(&page);
        match fate {
            Ok(response) if (200..300).contains(&response.status) => taken(page, ImMode::Page, env),
            Ok(response) => refused(page, &response, env),
            Err(failure) => fail(page, failure, env),
        }
        match self.take_next(&uri) {
            Some(page) => self.start(uri, page, env),
            None => {
                self.lanes.remove(&uri);
            }
        }
    }

    /// Takes the next CSeq for a MESSAGE that is sent again with credentials.
    pub(super) fn next_cseq(&mut self, reference: Ref, env: &Env<'_>) -> Option<u32> {
        let (_, _, call_id) = self.in_flight.get(&reference)?;
        Some(self.threads.next(call_id, env))
    }

    /// The next timer.
    pub(super) fn next_timeout(&self) -> Option<Duration> {
        self.deadlines.next()
    }

    /// Gives up messages whose turn did not come in time.
    pub(super) fn handle_timeout(&mut self, env: &mut Env<'_>) {
        while let Some(reference) = self.deadlines.pop_due(env.now.mono) {
            let Some(uri) = self.lane_of.remove(&reference) else {
                continue;
            };
            let waits = |page: &Page| page.reference == reference;
            let lane = self.lanes.get_mut(&uri);
            let page = lane.and_then(|lane| lane.remove(lane.iter().position(waits)?));
            if let Some(page) = page {
                self.waiting -= 1;
                self.close(&page);
                fail(page, Failure::Local(Local::Timeout), env);
            }
        }
    }
}

/// A message that was taken this way. Where the other way had refused it, that is a lesson.
pub(super) fn taken(page: Page, took: ImMode, env: &mut Env<'_>) {
    if let Some(refused) = &page.refused {
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
    if behaviour.im_fallback && page.refused.is_none() && no_pages {
        page.refused = Some(Refused {
            mode: ImMode::Page,
            status,
            failure,
        });
        env.effects.reroute.push_back(page);
    } else {
        fail(page, failure, env);
    }
}

/// Ends a message that failed. Where another way had refused it before, that is the news.
pub(super) fn fail(page: Page, failure: Failure, env: &mut Env<'_>) {
    let failure = page.refused.map_or(failure, |refused| refused.failure);
    env.tell(SipIn::Outcome {
        reference: page.reference,
        outcome: Err(failure),
    });
}

/// The last CSeq of each Call-ID. Numbers start from the wall clock, so that they rise across a restart too.
#[derive(Debug, Default)]
struct Threads {
    last: BTreeMap<String, (u32, Duration)>,
    order: VecDeque<(Duration, String)>,
}

impl Threads {
    fn next(&mut self, call_id: &str, env: &Env<'_>) -> u32 {
        let now = env.now.mono;
        self.forget_old(now, env.settings.limits.threads);
        let clock = env.now.wall.as_secs().saturating_sub(CSEQ_EPOCH) % CSEQ_LIMIT;
        let clock = u32::try_from(clock).unwrap_or_default().max(1);
        let known = self.last.get(call_id).map(|(last, _)| *last);
        let cseq = known.map_or(clock, |last| clock.max(last.wrapping_add(1)));
        self.last.insert(call_id.to_owned(), (cseq, now));
        self.order.push_back((now, call_id.to_owned()));
        cseq
    }

    fn forget_old(&mut self, now: Duration, limit: usize) {
        while let Some((used, call_id)) = self.order.front() {
            if *used + THREAD_MEMORY > now && self.order.len() < limit {
                return;
            }
            let is_last_use = self.last.get(call_id).is_some_and(|(_, last)| last == used);
            if is_last_use {
                self.last.remove(call_id);
            }
            self.order.pop_front();
        }
    }
}

/// Incoming messages that the bridge has not answered yet.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    by_ref: BTreeMap<Ref, (ServerId, Request)>,
    by_server: BTreeMap<ServerId, Ref>,
}

impl Inbox {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.by_ref.len()
    }

    /// Takes a MESSAGE to the bridge. `thread` is that of the session that it came in. What is left over is a notice of
    /// typing, which is answered.
    pub(super) fn arrived(
        &mut self,
        asked: Asked,
        reference: Ref,
        from: SipAddress,
        to: SipAddress,
        thread: Option<&str>,
        env: &mut Env<'_>,
    ) -> Option<Composing> {
        let server = asked.server?;
        match adapt::im::read(&asked.request, env.now) {
            Ok(adapt::im::Inbound::Message(im, _)) => {
                let im = match thread {
                    Some(thread) => session::in_session(im, thread),
                    None => im,
                };
                self.by_ref.insert(reference, (server, asked.request));
                self.by_server.insert(server, reference);
                let input = SipIn::Message {
                    reference,
                    from,
                    to,
                    im,
                };
                env.tell(input);
            }
            Ok(adapt::im::Inbound::Composing(composing)) => {
                env.accept(&asked);
                return Some(composing);
            }
            Ok(_) => env.accept(&asked),
            Err(refusal) => {
                let mut response = env.response(&asked.request, refusal.status, refusal.reason);
                for (name, value) in refusal.headers {
                    response.headers.push(name, value);
                }
                env.respond(&asked, response);
            }
        }
        None
    }

    /// The bridge's answer. A second one finds nothing to answer.
    pub(super) fn answer(
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
    pub(super) fn server_gone(&mut self, server: ServerId, env: &mut Env<'_>) {
        if let Some(reference) = self.by_server.remove(&server) {
            self.by_ref.remove(&reference);
            env.tell(SipIn::MessageGone { reference });
        }
    }
}
