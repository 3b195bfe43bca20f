//! Errors that the senders of XMPP messages are owed, until their servers have handled them.
//!
//! Nobody asks for an error that does not come, so a report that its link gives up is made again after a while. Until it is
//! handled the store holds its message, also one that was refused before it was kept, so that a crash does not end the
//! matter either.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::address::{Jid, canonical_domain};
use crate::failure::{Failure, Local, StanzaError};
use crate::vocab::{About, Ref, StoreOut, Unsettled, XmppOut};

use super::context::{Context, Timer};

/// The message that has failed: the address that it was for, its sender and its id.
pub(crate) type Failed = (Jid, Jid, Option<String>);

/// Longest id of a stanza whose report may wait, in octets: nobody needs longer ones.
const MAX_ID: usize = 1024;
/// Reports that the store has been asked to keep, and has not yet. More are kept only when they are given up: a flood of
/// refusals takes no places from messages.
const MAX_ASKED: usize = 256;

struct Report {
    failed: Failed,
    /// That it is for, canonical.
    domain: String,
    error: StanzaError,
    about: About,
    /// The store holds the message, or is asked to.
    kept: bool,
    /// It is not made again after that, in monotonic time.
    until: Duration,
    /// When it is made again; `None`: it is on its way.
    again_at: Option<Duration>,
}

/// All reports that are not handled.
#[derive(Default)]
pub(super) struct Reports {
    by_ref: BTreeMap<Ref, Report>,
    /// How many wait to be made again, by the domain that they are for.
    waiting: BTreeMap<String, usize>,
    waiting_in_all: usize,
    /// What the store has been asked to keep.
    asked: BTreeSet<Ref>,
    lost: u64,
}

impl Reports {
    /// How many were given up for good.
    pub(super) fn lost(&self) -> u64 {
        self.lost
    }

    fn wait(&mut self, domain: String) {
        *self.waiting.entry(domain).or_default() += 1;
        self.waiting_in_all += 1;
    }

    /// Whether one is still owed.
    pub(super) fn owes(&self, reference: Ref) -> bool {
        self.by_ref.contains_key(&reference)
    }

    fn release(&mut self, domain: &str) {
        if let Some(count) = self.waiting.get_mut(domain) {
            self.waiting_in_all = self.waiting_in_all.saturating_sub(1);
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.waiting.remove(domain);
            }
        }
    }
}

impl Context {
    /// Reports an error to the sender of a message. `kept`: the store holds the message under that name.
    pub(crate) fn report(
        &mut self,
        reference: Ref,
        failed: Failed,
        error: StanzaError,
        (about, kept): (About, bool),
    ) {
        let left = self.settings.report_for;
        self.report_for(left, reference, failed, error, (about, kept));
    }

    /// The same for a message from before the start, of whose time so much is left.
    pub(super) fn report_for(
        &mut self,
        left: Duration,
        reference: Ref,
        failed: Failed,
        error: StanzaError,
        (about, kept): (About, bool),
    ) {
        let mut report = Report {
            domain: canonical_domain(&failed.1.domain),
            failed,
            error,
            about,
            kept,
            until: self.now.mono.saturating_add(left),
            again_at: None,
        };
        if self.reports.asked.len() < MAX_ASKED {
            self.keep_report(reference, &mut report);
        }
        self.make(reference, &report);
        self.reports.by_ref.insert(reference, report);
    }

    /// The same for a message that is not in the store, and has no name yet.
    pub(crate) fn report_new(&mut self, failed: Failed, error: StanzaError) {
        let reference = self.fresh_ref();
        self.report_as(reference, failed, error);
    }

    /// The same for one that stands in the ledger under that name, and is in the store no more.
    pub(crate) fn report_as(&mut self, reference: Ref, failed: Failed, error: StanzaError) {
        let about = About {
            arrived: self.now.wall,
            ..About::default()
        };
        self.report(reference, failed, error, (about, false));
    }

    fn keep_report(&mut self, reference: Ref, report: &mut Report) {
        if !report.kept {
            report.kept = true;
            self.reports.asked.insert(reference);
            let (to, from, id) = report.failed.clone();
            let about = report.about.clone();
            self.store(StoreOut::Keep(Unsettled {
                reference,
                from,
                to,
                id,
                about,
            }));
        }
    }

    fn make(&mut self, reference: Ref, report: &Report) {
        let (from, to, id) = report.failed.clone();
        self.xmpp(XmppOut::MessageError {
            reference,
            from,
            to,
            id,
            error: report.error.clone(),
        });
    }

    /// The fate of a stanza. False: it was no report.
    pub(super) fn report_settled(&mut self, reference: Ref, outcome: &Result<(), Failure>) -> bool {
        let Some(report) = self.reports.by_ref.get(&reference) else {
            return false;
        };
        match outcome {
            Ok(()) if report.kept => self.forget_report(reference),
            Ok(()) => drop(self.reports.by_ref.remove(&reference)),
            // What the store holds is told at the next start.
            Err(_) if self.stopping => drop(self.reports.by_ref.remove(&reference)),
            Err(failure) => self.make_later(reference, failure),
        }
        true
    }

    fn make_later(&mut self, reference: Ref, why: &Failure) {
        let Some(mut report) = self.reports.by_ref.remove(&reference) else {
            return;
        };
        let waiting = self.reports.waiting.get(&report.domain).copied();
        let hopeless = *why == Failure::Local(Local::TooLarge)
            || report.until <= self.now.mono
            || report.failed.2.as_ref().is_some_and(|id| id.len() > MAX_ID)
            || waiting.unwrap_or(0) >= self.most_waiting();
        if hopeless {
            self.reports.lost = self.reports.lost.saturating_add(1);
            if report.kept {
                self.store(StoreOut::Settle(reference));
            }
            return;
        }
        self.reports.wait(report.domain.clone());
        let at = self.now.mono.saturating_add(self.settings.report_again);
        report.again_at = Some(at);
        self.arm(at, Timer::Report(reference));
        self.keep_report(reference, &mut report);
        self.reports.by_ref.insert(reference, report);
    }

    /// How many reports to one domain may wait: the less, the more wait in all, so that some room is left for others.
    fn most_waiting(&self) -> usize {
        let left = self
            .settings
            .max_reports
            .saturating_sub(self.reports.waiting_in_all);
        self.settings.max_pending_per_domain.min(left.div_ceil(10))
    }

    fn forget_report(&mut self, reference: Ref) {
        self.reports.by_ref.remove(&reference);
        self.store(StoreOut::Settle(reference));
    }

    /// The store has answered about a message. False: it was none of a report.
    pub(super) fn report_kept(&mut self, reference: Ref, kept: bool) -> bool {
        let asked = self.reports.asked.remove(&reference);
        let report = self.reports.by_ref.get_mut(&reference);
        report.map(|report| report.kept &= kept).is_some() || asked
    }

    /// It is time to make a report again. In the name of a domain that is not ours for the moment none is made.
    pub(super) fn report_due(&mut self, reference: Ref) {
        let Some(mut report) = self.reports.by_ref.remove(&reference) else {
            return;
        };
        report.again_at = None;
        self.reports.release(&report.domain);
        let (from, ..) = &report.failed;
        let speaks = self.settings.policy.speaks_for(&from.domain);
        if speaks {
            self.make(reference, &report);
        }
        self.reports.by_ref.insert(reference, report);
        if !speaks {
            self.make_later(reference, &Failure::Local(Local::NotAllowed));
        }
    }

    /// What waits is left to the next start.
    pub(super) fn stop_reports(&mut self) {
        let waiting = |report: &Report| report.again_at;
        let stopped: Vec<(Ref, Duration)> = self
            .reports
            .by_ref
            .iter()
            .filter_map(|(reference, report)| Some((*reference, waiting(report)?)))
            .collect();
        for (reference, at) in stopped {
            self.disarm(at, Timer::Report(reference));
            self.reports.by_ref.remove(&reference);
        }
        self.reports.waiting.clear();
        self.reports.waiting_in_all = 0;
    }
}
