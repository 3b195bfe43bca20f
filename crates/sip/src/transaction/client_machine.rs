//! The two client machines (RFC 3261 §17.1, RFC 6026 §7.2): one attempt at one target.

use std::time::Duration;

use super::timing::{Backoff, Timing};

/// Which machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// RFC 3261 §17.1.1 and §17.2.1.
    Invite,
    /// RFC 3261 §17.1.2 and §17.2.2.
    NonInvite,
}

/// What the layer does next for the attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Send the request (again).
    Send,
    /// Send the ACK of a final response that is not 2xx.
    Acknowledge,
    /// Give the response to the user.
    Deliver,
    /// Nobody answered in time.
    TimeOut,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// `Calling` of the INVITE machine, `Trying` of the other.
    Trying,
    Proceeding,
    Completed,
    Accepted,
    Terminated,
}

#[derive(Debug, Clone)]
pub(super) struct ClientMachine {
    kind: Kind,
    reliable: bool,
    timing: Timing,
    state: State,
    /// Timer A or E.
    retransmit: Option<Backoff>,
    /// Timer B, D, F, K or M: one at a time.
    deadline: Option<Duration>,
}

impl ClientMachine {
    /// Starts an attempt. The caller sends the request.
    pub(super) fn start(kind: Kind, reliable: bool, timing: Timing, now: Duration) -> Self {
        let cap = match kind {
            Kind::Invite => timing.transaction(),
            Kind::NonInvite => timing.t2,
        };
        Self {
            kind,
            reliable,
            timing,
            state: State::Trying,
            retransmit: (!reliable).then(|| Backoff::start(timing.t1, cap, now)),
            deadline: Some(now + timing.transaction()),
        }
    }

    pub(super) fn state(&self) -> State {
        self.state
    }

    /// No final response came yet.
    pub(super) fn is_open(&self) -> bool {
        matches!(self.state, State::Trying | State::Proceeding)
    }

    /// A matching response came.
    pub(super) fn response(&mut self, status: u16, now: Duration) -> Vec<Step> {
        match (self.state, status) {
            (State::Trying | State::Proceeding, 0..=199) => {
                self.proceed();
                vec![Step::Deliver]
            }
            (State::Trying | State::Proceeding, _) => self.conclude(status, now),
            (State::Completed, 300..) if self.kind == Kind::Invite => vec![Step::Acknowledge],
            (State::Accepted, 200..=299) => vec![Step::Deliver],
            _ => Vec::new(),
        }
    }

    fn proceed(&mut self) {
        match self.kind {
            Kind::Invite => {
                self.retransmit = None;
                self.deadline = None;
            }
            Kind::NonInvite => {
                if let Some(backoff) = &mut self.retransmit {
                    backoff.slow_down();
                }
            }
        }
        self.state = State::Proceeding;
    }

    fn conclude(&mut self, status: u16, now: Duration) -> Vec<Step> {
        self.retransmit = None;
        let (state, linger, steps) = match (self.kind, status) {
            (Kind::Invite, 200..=299) => (
                State::Accepted,
                self.timing.transaction(),
                vec![Step::Deliver],
            ),
            (Kind::Invite, _) => (
                State::Completed,
                self.unless_reliable(self.timing.transaction()),
                vec![Step::Acknowledge, Step::Deliver],
            ),
            (Kind::NonInvite, _) => (
                State::Completed,
                self.unless_reliable(self.timing.t4),
                vec![Step::Deliver],
            ),
        };
        if linger.is_zero() {
            self.terminate();
        } else {
            self.state = state;
            self.deadline = Some(now + linger);
        }
        steps
    }

    fn unless_reliable(&self, timer: Duration) -> Duration {
        if self.reliable { Duration::ZERO } else { timer }
    }

    /// Bounds an INVITE that rings: the layer sent CANCEL, or waits for the end of one.
    pub(super) fn limit(&mut self, deadline: Duration) {
        if self.is_open() {
            self.deadline = Some(self.deadline.map_or(deadline, |at| at.min(deadline)));
        }
    }

    /// The attempt is over.
    pub(super) fn terminate(&mut self) {
        self.state = State::Terminated;
        self.retransmit = None;
        self.deadline = None;
    }

    pub(super) fn next_deadline(&self) -> Option<Duration> {
        earliest(self.deadline, self.retransmit.map(|b| b.at))
    }

    /// Runs the timers that are due.
    pub(super) fn expire(&mut self, now: Duration) -> Vec<Step> {
        if self.deadline.is_some_and(|at| at <= now) {
            let open = self.is_open();
            self.terminate();
            return if open {
                vec![Step::TimeOut]
            } else {
                Vec::new()
            };
        }
        match &mut self.retransmit {
            Some(backoff) if backoff.at <= now => {
                backoff.advance(now);
                vec![Step::Send]
            }
            _ => Vec::new(),
        }
    }
}

/// The earlier of two moments that may be unset.
pub(super) fn earliest(a: Option<Duration>, b: Option<Duration>) -> Option<Duration> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}
