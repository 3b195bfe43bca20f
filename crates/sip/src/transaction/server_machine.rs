//! The two server machines (RFC 3261 §17.2, RFC 6026 §7.1).

use std::time::Duration;

use super::client_machine::{Kind, earliest};
use super::timing::{Backoff, Timing};

/// What the layer does next for the transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Send the response.
    Send,
    /// Send the last response again.
    Resend,
    /// Make and send a 100.
    SendTrying,
    /// Tell the user of the ACK.
    DeliverAck,
    /// The user gave no final response while the client could still wait for one.
    Unanswered,
    /// The final response of an INVITE was never acknowledged.
    Unacknowledged,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Nothing has been answered yet. The INVITE machine of the RFC calls this `Proceeding` as well.
    Trying,
    Proceeding,
    Completed,
    /// The ACK came, or nobody waits any more: repetitions under way are absorbed.
    Confirmed,
    Accepted,
    Terminated,
}

/// How long a server transaction waits where RFC 3261 leaves it open.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// For the user's final response to an INVITE.
    pub(super) invite: Duration,
    /// For repeated requests after the final response on a reliable transport, where RFC 3261 says zero.
    pub(super) linger: Duration,
}

#[derive(Debug, Clone)]
pub(super) struct ServerMachine {
    kind: Kind,
    reliable: bool,
    timing: Timing,
    patience: Patience,
    state: State,
    /// When a 100 goes out by itself.
    trying: Option<Duration>,
    /// Timer G, or the user's repetition of a 2xx (RFC 3261 §13.3.1.4).
    retransmit: Option<Backoff>,
    /// Timer H, I, J or L, or the limit of the user's patience.
    deadline: Option<Duration>,
    acknowledged: bool,
}

impl ServerMachine {
    pub(super) fn start(
        kind: Kind,
        reliable: bool,
        timing: Timing,
        patience: Patience,
        now: Duration,
    ) -> Self {
        let (trying, limit) = match kind {
            Kind::Invite => (Timing::TRYING, patience.invite),
            Kind::NonInvite => (timing.trying_non_invite(), timing.transaction()),
        };
        Self {
            kind,
            reliable,
            timing,
            patience,
            state: State::Trying,
            trying: Some(now + trying),
            retransmit: None,
            deadline: Some(now + limit),
            acknowledged: false,
        }
    }

    pub(super) fn state(&self) -> State {
        self.state
    }

    /// The user may still respond.
    pub(super) fn is_open(&self) -> bool {
        matches!(self.state, State::Trying | State::Proceeding)
    }

    pub(super) fn kind(&self) -> Kind {
        self.kind
    }

    /// The request is never answered, and only remembered.
    pub(super) fn settle_silently(&mut self, now: Duration) {
        self.trying = None;
        self.conclude(State::Completed, self.timing.memory(), now);
    }

    /// Nothing is to be remembered of the request.
    pub(super) fn forget(&mut self) -> Vec<Step> {
        self.terminate();
        Vec::new()
    }

    /// The same request came again.
    pub(super) fn retransmission(&mut self) -> Vec<Step> {
        match self.state {
            State::Proceeding | State::Completed => vec![Step::Resend],
            State::Trying | State::Confirmed | State::Accepted | State::Terminated => Vec::new(),
        }
    }

    /// The user responds. Nothing goes out when the final response has been given already.
    pub(super) fn respond(&mut self, status: u16, now: Duration) -> Vec<Step> {
        if !self.is_open() {
            return Vec::new();
        }
        self.trying = None;
        match (self.kind, status) {
            (_, 0..=199) => self.state = State::Proceeding,
            (Kind::Invite, 200..=299) => {
                self.conclude(State::Accepted, self.timing.transaction(), now);
                self.retransmit = Some(Backoff::start(self.timing.t1, self.timing.t2, now));
            }
            (Kind::Invite, _) => {
                self.conclude(State::Completed, self.timing.transaction(), now);
                self.retransmit =
                    (!self.reliable).then(|| Backoff::start(self.timing.t1, self.timing.t2, now));
            }
            (Kind::NonInvite, _) => {
                let linger = if self.reliable {
                    self.patience.linger
                } else {
                    self.timing.memory()
                };
                self.conclude(State::Completed, linger, now);
            }
        }
        vec![Step::Send]
    }

    fn conclude(&mut self, state: State, linger: Duration, now: Duration) {
        if linger.is_zero() {
            self.terminate();
        } else {
            self.state = state;
            self.deadline = Some(now + linger);
        }
    }

    /// The ACK of our final response came.
    pub(super) fn acknowledge(&mut self, now: Duration) -> Vec<Step> {
        match self.state {
            State::Completed if self.kind == Kind::Invite => {
                self.retransmit = None;
                self.acknowledged = true;
                self.conclude(State::Confirmed, self.unless_reliable(self.timing.t4), now);
                Vec::new()
            }
            State::Accepted => {
                self.retransmit = None;
                let first = !self.acknowledged;
                self.acknowledged = true;
                if first {
                    vec![Step::DeliverAck]
                } else {
                    Vec::new()
                }
            }
            _ => Vec::new(),
        }
    }

    pub(super) fn terminate(&mut self) {
        self.state = State::Terminated;
        self.trying = None;
        self.retransmit = None;
        self.deadline = None;
    }

    pub(super) fn next_deadline(&self) -> Option<Duration> {
        earliest(
            self.trying,
            earliest(self.deadline, self.retransmit.map(|b| b.at)),
        )
    }

    /// Runs the timers that are due.
    pub(super) fn expire(&mut self, now: Duration) -> Vec<Step> {
        if self.deadline.is_some_and(|at| at <= now) {
            return self.run_out(now);
        }
        if self.trying.is_some_and(|at| at <= now) {
            self.trying = None;
            self.state = State::Proceeding;
            return vec![Step::SendTrying];
        }
        match &mut self.retransmit {
            Some(backoff) if backoff.at <= now => {
                backoff.advance(now);
                vec![Step::Resend]
            }
            _ => Vec::new(),
        }
    }

    fn run_out(&mut self, now: Duration) -> Vec<Step> {
        let step = match self.state {
            State::Trying | State::Proceeding => Step::Unanswered,
            State::Accepted | State::Completed
                if self.kind == Kind::Invite && !self.acknowledged =>
            {
                Step::Unacknowledged
            }
            _ => {
                self.terminate();
                return Vec::new();
            }
        };
        self.trying = None;
        self.retransmit = None;
        self.conclude(State::Confirmed, self.unless_reliable(self.timing.t4), now);
        vec![step]
    }

    fn unless_reliable(&self, timer: Duration) -> Duration {
        if self.reliable { Duration::ZERO } else { timer }
    }
}
