//! CSeq numbers of MESSAGEs outside dialogs.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::ua::effects::Env;

/// For how long the last CSeq of a Call-ID is remembered.
const THREAD_MEMORY: Duration = Duration::from_secs(24 * 3600);
/// The wall clock at which CSeq numbers start: 2020-01-01T00:00:00Z.
const CSEQ_EPOCH: u64 = 1_577_836_800;
/// CSeq numbers stay below this (RFC 3261 §8.1.1.5).
const CSEQ_LIMIT: u64 = 1 << 31;

/// The last CSeq of each Call-ID. Numbers start from the wall clock, so that they rise across a restart too.
#[derive(Debug, Default)]
pub(super) struct Threads {
    last: BTreeMap<String, (u32, Duration)>,
    order: VecDeque<(Duration, String)>,
}

impl Threads {
    /// The next number for a Call-ID.
    pub(super) fn next(&mut self, call_id: &str, env: &Env<'_>) -> u32 {
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
