//! What the parts of the bridge share: the way out, the timers, fresh names.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crate::address::Jid;
use crate::failure::{Failure, Local, StanzaError, to_stanza};
use crate::room;
use crate::time::{Entropy, Now};
use crate::vocab::{Command, ConferenceOut, FocusOut, Ref, SipOut, StoreOut, Trace, XmppOut};

use super::book::ContactKey;
use super::ledger::Tally;
use super::receipts::Receipts;
use super::reports::Reports;
use super::settings::Settings;

/// What a timer is for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    /// A SIP sender has waited long enough.
    Answer(Ref),
    /// A subscription at a SIP user may be tried again.
    Retry(Arc<ContactKey>),
    /// The sender of a message may be told again that it has failed.
    Report(Ref),
    /// For a room.
    Room(room::Timer),
}

pub(crate) struct Context {
    pub(crate) settings: Settings,
    pub(crate) entropy: Box<dyn Entropy>,
    /// No new work is taken.
    pub(crate) stopping: bool,
    /// The time of the last call.
    pub(crate) now: Now,
    /// What the input that is being worked on has crossed.
    trace: Trace,
    pub(super) tally: Tally,
    pub(super) receipts: Receipts,
    pub(super) reports: Reports,
    commands: VecDeque<Command>,
    timers: BTreeSet<(Duration, Timer)>,
    last_ref: u64,
}

impl Context {
    pub(crate) fn new(settings: Settings, entropy: Box<dyn Entropy>) -> Self {
        Self {
            settings,
            entropy,
            stopping: false,
            now: Now::default(),
            trace: Trace::default(),
            tally: Tally::default(),
            receipts: Receipts::default(),
            reports: Reports::default(),
            commands: VecDeque::new(),
            timers: BTreeSet::new(),
            last_ref: 0,
        }
    }

    pub(crate) fn xmpp(&mut self, out: XmppOut) {
        self.commands.push_back(Command::Xmpp(out));
    }

    pub(crate) fn sip(&mut self, out: SipOut) {
        self.commands.push_back(Command::Sip(out));
    }

    pub(crate) fn conference(&mut self, out: ConferenceOut) {
        self.sip(SipOut::Conference(out));
    }

    pub(crate) fn focus(&mut self, out: FocusOut) {
        self.sip(SipOut::Focus(out));
    }

    pub(crate) fn store(&mut self, out: StoreOut) {
        self.commands.push_back(Command::Store(out));
    }

    pub(crate) fn poll_command(&mut self) -> Option<Command> {
        self.commands.pop_front()
    }

    /// A name that this process has not used.
    pub(crate) fn fresh_ref(&mut self) -> Ref {
        self.last_ref += 1;
        Ref(self.last_ref)
    }

    /// Keeps clear of a name from before the restart.
    pub(crate) fn skip_ref(&mut self, taken: Ref) {
        self.last_ref = self.last_ref.max(taken.0);
    }

    pub(crate) fn arm(&mut self, at: Duration, timer: Timer) {
        self.timers.insert((at, timer));
    }

    pub(crate) fn disarm(&mut self, at: Duration, timer: Timer) {
        self.timers.remove(&(at, timer));
    }

    pub(crate) fn next_timeout(&self) -> Option<Duration> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// A timer that is due, taken off the list.
    pub(crate) fn take_due(&mut self, now: Now) -> Option<Timer> {
        self.timers
            .first()
            .is_some_and(|(at, _)| *at <= now.mono)
            .then(|| self.timers.pop_first())
            .flatten()
            .map(|(_, timer)| timer)
    }

    /// Uniformly below `limit`.
    pub(crate) fn random_below(&mut self, limit: Duration) -> Duration {
        let limit = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
        match self.entropy.next_u64().checked_rem(limit) {
            Some(millis) => Duration::from_millis(millis),
            None => Duration::ZERO,
        }
    }

    /// What comes now has crossed these gateways; refused where it has been here before.
    pub(crate) fn came_over(&mut self, trace: Trace) -> Result<(), Local> {
        let is_loop = trace.is_loop(&self.settings.mark);
        self.trace = trace;
        if is_loop { Err(Local::Loop) } else { Ok(()) }
    }

    /// It has crossed no gateway before this one.
    pub(crate) fn is_first(&self) -> bool {
        self.trace.is_empty()
    }

    /// What is written on that which goes out because of what has come.
    pub(crate) fn trace(&self) -> Trace {
        self.trace.with(&self.settings.mark)
    }

    /// What comes now comes from one of the two sides itself.
    pub(crate) fn came_from_here(&mut self) {
        self.trace = Trace::default();
    }

    /// Whether this SIP user, by his JID, may talk now with users of that XMPP domain.
    pub(crate) fn admit_user(&self, xmpp_domain: &str, user: &Jid) -> Result<(), Local> {
        if self.stopping {
            Err(Local::ShuttingDown)
        } else if self.settings.policy.allows_user(xmpp_domain, user) {
            Ok(())
        } else {
            Err(Local::NotAllowed)
        }
    }

    /// Whether users of the two domains may talk now.
    pub(crate) fn admit(&self, xmpp_domain: &str, sip_domain: &str) -> Result<(), Local> {
        if self.stopping {
            Err(Local::ShuttingDown)
        } else if self.settings.policy.allows(xmpp_domain, sip_domain) {
            Ok(())
        } else {
            Err(Local::NotAllowed)
        }
    }
}

/// The stanza error for a finding of ours.
pub(crate) fn local_error(local: Local) -> StanzaError {
    to_stanza(&Failure::Local(local))
}
