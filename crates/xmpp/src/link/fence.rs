//! Fences: what is written behind stanzas, so that its answer says that they were handled.

use std::sync::Arc;
use std::time::Duration;

use minidom::Element;
use rxml::xml_ncname;
use stox_core::failure::{Condition, Failure, Local};
use stox_core::time::Now;
use xmpp_parsers::ns;

use super::{Attempt, CloseReason, Link, LinkCommand, Phase, Up};
use crate::adapt::xml;

/// How many fences that were given up, or whose stream is gone, still count when their answer comes late.
pub(super) const LATE_FENCES: usize = 4;

pub(super) struct Fence {
    id: String,
    pub(super) stream: Attempt,
    /// It passes all stanzas with a lower number.
    covers: u64,
    written_at: Duration,
}

/// What an answer to a fence says.
pub(super) struct Answered {
    /// See [`Fence::covers`].
    pub(super) covers: u64,
    /// It was given up, or its stream is gone.
    pub(super) is_late: bool,
    /// It was written to the present stream.
    pub(super) is_present: bool,
    /// An older fence of its stream has no answer.
    behind_gap: bool,
}

impl Link {
    pub(super) fn write_fence(&mut self, now: Now) {
        let id = self.entropy.token();
        let ping = self.ping(&id);
        let Phase::Up(up) = &mut self.phase else {
            return;
        };
        up.fence = Some(Fence {
            id,
            stream: self.attempt,
            covers: self.queue.fence(),
            written_at: now.mono,
        });
        up.fence_due = None;
        up.again_due = None;
        up.quiet_since = now.mono;
        self.counters.fences += 1;
        self.commands.push_back(LinkCommand::Write(Arc::new(ping)));
    }

    fn ping(&self, id: &str) -> Element {
        let mut ping = xml::stanza("iq", &self.local, &self.partner);
        xml::set_attr(&mut ping, xml_ncname!("type").into(), "get");
        xml::set_attr(&mut ping, xml_ncname!("id").into(), id);
        ping.append_child(Element::bare("ping", ns::PING));
        ping
    }

    /// Takes the fence of that id away, wherever it is, with all that were written before it.
    pub(super) fn take_fence(&mut self, id: &str, now: Now) -> Option<Answered> {
        if let Phase::Up(up) = &mut self.phase
            && let Some(fence) = up.fence.take_if(|fence| fence.id == id)
        {
            up.missed = 0;
            up.again_due = None;
            up.quiet_since = now.mono;
            let behind_gap = self.late.iter().any(|old| old.stream == fence.stream);
            self.late.clear();
            return Some(Answered {
                covers: fence.covers,
                is_late: false,
                is_present: true,
                behind_gap,
            });
        }
        let place = self.late.iter().position(|fence| fence.id == id)?;
        let mut older: Vec<Fence> = self.late.drain(..=place).collect();
        let fence = older.pop()?;
        let is_present = fence.stream == self.attempt;
        match &mut self.phase {
            Phase::Up(up) if is_present => up.missed = 0,
            _ => {}
        }
        Some(Answered {
            covers: fence.covers,
            is_late: true,
            is_present,
            behind_gap: older.iter().any(|old| old.stream == fence.stream),
        })
    }

    /// The partner has come to a fence.
    pub(super) fn hear(&mut self, answered: &Answered, now: Now) {
        self.counters.fences_passed += 1;
        self.failures = 0;
        self.last_failure = None;
        if !answered.behind_gap {
            for item in self.queue.pass(answered.covers) {
                self.counters.handled += 1;
                if let Some(reference) = item.reference {
                    self.settle(reference, Ok(()));
                }
            }
        } else if answered.is_present {
            self.write_again();
        }
        self.make_progress(now);
    }

    /// Errors about what is in flight may have been lost on a stream that works.
    pub(super) fn write_again(&mut self) {
        let Phase::Up(up) = &mut self.phase else {
            return;
        };
        up.fence = None;
        up.fence_due = None;
        up.again_due = None;
        self.late.clear();
        self.rewind();
    }

    pub(super) fn keep_late(&mut self, fence: Fence) {
        if self.late.len() >= LATE_FENCES
            && let Some(oldest) = self.late.pop_front()
        {
            // What stands behind a gap that nobody remembers proves nothing.
            let present = self.attempt;
            self.late
                .retain(|late| late.stream != oldest.stream || late.stream == present);
        }
        self.late.push_back(fence);
    }

    pub(super) fn next_on_stream(&self, up: &Up) -> Duration {
        match (&up.fence, up.fence_due) {
            (Some(fence), _) => {
                let late = fence.written_at + self.settings.fence_timeout;
                up.again_due.map_or(late, |again| again.min(late))
            }
            (None, Some(due)) => due,
            (None, None) if self.queue.is_empty() => {
                (up.quiet_since + self.settings.keepalive).min(up.idle_since + self.settings.idle)
            }
            (None, None) => up.quiet_since + self.settings.keepalive,
        }
    }

    pub(super) fn watch_stream(&mut self, now: Now) {
        let Phase::Up(up) = &mut self.phase else {
            return;
        };
        if let Some(fence) = up
            .fence
            .take_if(|fence| fence.written_at + self.settings.fence_timeout <= now.mono)
        {
            up.missed = up.missed.saturating_add(1);
            let dead = up.missed >= self.settings.missed_fences;
            self.miss_fence(fence, dead, now);
        } else if up.again_due.is_some_and(|at| at <= now.mono) {
            up.again_due = None;
            self.partner_seen(now);
        } else if up.fence.is_none() && up.fence_due.is_none() {
            if self.queue.is_empty() && up.idle_since + self.settings.idle <= now.mono {
                self.close_stream(CloseReason::Idle);
            } else if up.quiet_since + self.settings.keepalive <= now.mono {
                self.write_fence(now);
            }
        }
    }

    /// Nobody knows what became of the stanzas before it: who waits for them is told so, the others are fenced again.
    fn miss_fence(&mut self, fence: Fence, dead: bool, now: Now) {
        self.counters.fences_missed += 1;
        for item in self.queue.take_awaited_below(fence.covers) {
            self.fail_item(&item, Failure::Local(Local::Timeout));
        }
        self.keep_late(fence);
        if dead {
            self.counters.losses += 1;
            self.close_stream(CloseReason::Dead);
            self.back_off(Failure::Local(Local::Timeout), now);
        } else {
            self.flush(now);
            self.fence_again(now);
        }
    }

    /// The server that carries our stanzas on has no way for the fence. Those that it had not carried on have come back
    /// before it, each with its own error; of the others nobody knows.
    pub(super) fn lose_fence(&mut self, covers: u64, why: Local, now: Now) {
        self.counters.fences_missed += 1;
        self.last_failure = Some(Failure::Local(why));
        for item in self.queue.pass(covers) {
            self.fail_item(&item, Failure::Local(Local::OutcomeUnknown));
        }
        self.make_progress(now);
    }

    pub(super) fn fence_again(&mut self, now: Now) {
        if matches!(&self.phase, Phase::Up(up) if up.fence.is_none()) {
            self.write_fence(now);
        }
    }
}

/// Why a server that carries stanzas on has not carried this one on, where its error says that. The partner itself cannot
/// mean these of its own domain, save the last, which counts as not knowing.
pub(super) fn way_is_cut(condition: Condition) -> Option<Local> {
    match condition {
        Condition::RemoteServerNotFound => Some(Local::DomainNotFound),
        Condition::RemoteServerTimeout => Some(Local::Unreachable),
        Condition::ResourceConstraint => Some(Local::Overloaded),
        _ => None,
    }
}
