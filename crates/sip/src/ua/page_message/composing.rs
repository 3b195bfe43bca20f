//! XMPP users who are typing, told to their peers outside sessions (RFC 3994, RFC 7573 Table 4).
//!
//! A notice is never waited for and nothing comes of its loss. While a MESSAGE to the same user is under way, the notice
//! is put off, and what counts then is what the XMPP user does at that time.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use stox_core::address::SipAddress;
use stox_core::failure::{Failure, Local};
use stox_core::vocab::ChatState;

use super::peers::{MEMORY, Skill};
use super::{Notice, Pages};
use crate::adapt::im::PageMessage;
use crate::body::iscomposing::{self, Composing};
use crate::deadlines::Deadlines;
use crate::dialect::{ImMode, PageTyping, Typing};
use crate::ua::effects::{Env, Fate};
use crate::ua::session::{Pair, pair};

/// Users who type at one time; the typing of others is not told.
const MAX_TYPISTS: usize = 10_000;
/// While somebody types, the peer is told again after this time, and not sooner (RFC 3994 §3.2).
const REPEATED: Duration = Duration::from_secs(60);
/// What we say that a notice holds: it may be late by half.
const HOLDS: Duration = Duration::from_secs(90);
/// Nobody types for longer than this without a word.
const LONGEST: Duration = Duration::from_secs(120);
/// Answers that say that such notices are not taken (RFC 3994 §4, RFC 3261 §21.4).
const NOT_TAKEN: &[u16] = &[400, 403, 405, 406, 415, 488, 489, 501, 606];
/// For how long a user is spared after a notice that was not answered: messages waited for it.
const SPARED: Duration = Duration::from_secs(600);

#[derive(Debug)]
struct Typist {
    pair: Pair,
    from: SipAddress,
    to: SipAddress,
    thread: Option<String>,
    since: Duration,
    active: bool,
    /// The peer believes that she types.
    told: bool,
    /// He is to be told what she does.
    due: bool,
}

/// All who type.
#[derive(Debug, Default)]
pub(super) struct Typists {
    numbers: BTreeMap<Pair, u64>,
    by_number: BTreeMap<u64, Typist>,
    timers: Deadlines<u64>,
    last: u64,
}

impl Typists {
    pub(super) fn is_empty(&self) -> bool {
        self.by_number.is_empty()
    }

    pub(super) fn next_timeout(&self) -> Option<Duration> {
        self.timers.next()
    }

    /// A message ends the typing by itself, or the peer is not to be told any more.
    pub(super) fn forget(&mut self, pair: &Pair) {
        if let Some(number) = self.numbers.remove(pair) {
            self.by_number.remove(&number);
            self.timers.clear(number);
        }
    }

    fn begin(&mut self, typist: Typist, now: Duration) -> u64 {
        self.last += 1;
        self.numbers.insert(typist.pair.clone(), self.last);
        self.timers.set(self.last, now + LONGEST);
        self.by_number.insert(self.last, typist);
        self.last
    }

    /// Somebody whose typing was put off while the lane of that user was busy.
    fn put_off(&self, lane: &SipAddress) -> Option<u64> {
        let behind = |typist: &&Typist| typist.pair.1 == *lane && typist.due;
        let mut all = self.by_number.iter();
        all.find(|(_, typist)| behind(typist))
            .map(|(number, _)| *number)
    }
}

impl Pages {
    /// What an XMPP user is doing, towards somebody with whom she has no session.
    pub(in crate::ua) fn chat_state(
        &mut self,
        (from, to): (&SipAddress, &SipAddress),
        thread: Option<&str>,
        state: ChatState,
        env: &mut Env<'_>,
    ) {
        let pair = pair(from, to);
        let known = self.typists.numbers.get(&pair).copied();
        match (state, known) {
            (ChatState::Composing, None) => {
                let full = self.typists.by_number.len() >= MAX_TYPISTS;
                if full || !self.tells_typing(to, env) {
                    return;
                }
                let typist = Typist {
                    pair,
                    from: from.clone(),
                    to: to.clone(),
                    thread: thread.map(str::to_owned),
                    since: env.now.mono,
                    active: true,
                    told: false,
                    due: true,
                };
                let number = self.typists.begin(typist, env.now.mono);
                self.tell_typing(number, env);
            }
            (ChatState::Composing, Some(number)) => self.goes_on(number, env),
            (_, Some(number)) => self.stops(number, env),
            (_, None) => {}
        }
    }

    /// The two have a session now, where all is told; what was told outside runs out by itself.
    pub(in crate::ua) fn ends_typing(&mut self, from: &SipAddress, to: &SipAddress) {
        self.typists.forget(&pair(from, to));
    }

    /// Whether a user is told who types to him outside sessions.
    pub(in crate::ua) fn tells_typing(&self, to: &SipAddress, env: &Env<'_>) -> bool {
        let behaviour = env.behaviour(&to.host);
        let known = self.peers.knows(to, Skill::Typing, env.now.mono);
        let tells = match behaviour.page_typing {
            PageTyping::Off => false,
            PageTyping::Known => known == Some(true) && behaviour.im == ImMode::Page,
            PageTyping::Always => known != Some(false),
        };
        tells && behaviour.typing != Typing::Off
    }

    /// She says once more that she types.
    fn goes_on(&mut self, number: u64, env: &mut Env<'_>) {
        if let Some(typist) = self.typists.by_number.get_mut(&number)
            && !typist.active
        {
            typist.active = true;
            typist.since = env.now.mono;
            // He was not told that she had stopped.
            typist.due = !typist.told;
            let over = typist.since + LONGEST;
            self.typists.timers.set(number, over);
        }
    }

    fn stops(&mut self, number: u64, env: &mut Env<'_>) {
        if let Some(typist) = self.typists.by_number.get_mut(&number) {
            typist.active = false;
            if typist.told {
                self.tell_typing(number, env);
            } else {
                let pair = typist.pair.clone();
                self.typists.forget(&pair);
            }
        }
    }

    /// Somebody still types, or has done so for too long.
    pub(super) fn typing_timeout(&mut self, env: &mut Env<'_>) {
        while let Some(number) = self.typists.timers.pop_due(env.now.mono) {
            let Some(typist) = self.typists.by_number.get(&number) else {
                continue;
            };
            if env.now.mono >= typist.since + LONGEST {
                self.stops(number, env);
            } else {
                self.tell_typing(number, env);
            }
        }
    }

    /// Tells the peer what she does, unless something else is on its way to him.
    fn tell_typing(&mut self, number: u64, env: &mut Env<'_>) {
        let now = env.now.mono;
        let Some(typist) = self.typists.by_number.get_mut(&number) else {
            return;
        };
        typist.due = self.lanes.contains_key(&typist.pair.1);
        let (over, again) = (typist.since + LONGEST, now + REPEATED);
        let next = match typist.active {
            true if typist.due => over,
            true => over.min(again),
            false => again,
        };
        self.typists.timers.set(number, next);
        if typist.due {
            return;
        }
        typist.told = typist.active;
        let notice = Notice {
            from: typist.from.clone(),
            to: typist.to.clone(),
            thread: typist.thread.clone(),
            content: written(typist.active),
            types: true,
        };
        if !typist.active {
            let pair = typist.pair.clone();
            self.typists.forget(&pair);
        }
        self.tell(notice, env);
    }

    /// Nothing is on its way to a user any more: what was put off is told.
    pub(super) fn type_on(&mut self, lane: &SipAddress, env: &mut Env<'_>) {
        if let Some(number) = self.typists.put_off(lane) {
            self.tell_typing(number, env);
        }
    }

    /// The fate of a notice: a peer that does not take it gets no more.
    pub(super) fn typing_told(&mut self, notice: &Notice, fate: &Fate, env: &Env<'_>) {
        let holds = match fate {
            Ok(response) if (200..300).contains(&response.status) => return,
            Ok(response) if NOT_TAKEN.contains(&response.status) => MEMORY,
            Ok(_) => Duration::ZERO,
            Err(Failure::Local(Local::Timeout)) => SPARED,
            Err(_) => Duration::ZERO,
        };
        if !holds.is_zero() {
            let skill = (Skill::Typing, false);
            self.peers.learn(&notice.to, skill, holds, env.now.mono);
        }
        self.typists.forget(&pair(&notice.from, &notice.to));
    }
}

fn written(active: bool) -> PageMessage {
    let refresh = active.then_some(HOLDS);
    let composing = Composing { active, refresh };
    let body = iscomposing::write(&composing, Some("text/plain"));
    PageMessage {
        headers: vec![("Content-Type", iscomposing::CONTENT_TYPE.to_owned())],
        body: Bytes::from(body),
    }
}
