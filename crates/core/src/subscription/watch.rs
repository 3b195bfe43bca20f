//! An XMPP user watches a SIP user: the gateway is the subscriber (RFC 8048 §5.2, RFC 6665 §4.1).

use super::Row;

/// How far the subscription is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum State {
    /// Neither asked nor granted.
    #[default]
    None,
    /// SUBSCRIBE is out, no NOTIFY yet: neutral (PRES-02).
    Asking,
    /// The SIP user has not decided.
    Pending,
    /// Not granted yet; the last attempt failed and another one will follow.
    AskLater,
    /// Granted before a restart; the dialog will be built within the restart window.
    Rebuilding,
    /// Granted; SUBSCRIBE is out.
    Renewing,
    /// Granted, the dialog is active.
    Active,
    /// Granted, and no dialog is wanted now.
    Idle,
    /// Granted; the last attempt failed and another one will follow.
    Waiting,
    /// The XMPP user has unsubscribed; the dialog is being ended.
    Closing,
}

/// What happens to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// `subscribe` from the XMPP user.
    Subscribe,
    /// `unsubscribe` from the XMPP user.
    Unsubscribe,
    /// The XMPP user became available to the SIP user.
    Online,
    /// Her last resource left.
    Offline,
    /// `probe` from the XMPP user.
    Probe,
    /// NOTIFY pending.
    NotifyPending,
    /// NOTIFY active.
    NotifyActive,
    /// The dialog is gone and may be built again at once: deactivated, timeout, no reason; 481 and its like on a refresh.
    EndedAgain,
    /// The dialog is gone and may be built again later: probation, giveup; or at once for the second time in a row.
    EndedLater,
    /// The dialog is gone and there is nothing to watch: noresource.
    EndedForNow,
    /// The dialog is gone since the state cannot change: invariant.
    EndedConstant,
    /// The authorisation is gone: rejected, or 403, 489, 603 (PRES-11).
    Rejected,
    /// SUBSCRIBE failed and would fail again.
    Refused,
    /// SUBSCRIBE failed for a passing reason, or no NOTIFY came (Timer N).
    Failed,
    /// The dialog has been ended as we asked.
    Closed,
    /// It is time for another attempt.
    RetryDue,
    /// The XMPP side says that its user does not exist.
    UserGone,
}

/// What is done about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Send SUBSCRIBE in a new dialog.
    Subscribe,
    /// End the dialog and await the answer.
    Close,
    /// End the dialog; its end is of no interest.
    Leave,
    /// The end of the dialog is of no interest any more.
    Abandon,
    /// Send SUBSCRIBE with Expires 0 in a dialog of its own.
    Poll,
    /// Send `subscribed`.
    SaySubscribed,
    /// Send `unsubscribed`.
    SayUnsubscribed,
    /// Send `unavailable` for every device that was announced as available.
    SayUnavailable,
    /// Send a presence error.
    SayError,
    /// Send the news of the document that came with the event.
    Announce,
    /// Send all that is known to the one who asked.
    Replay,
    /// The same, unless nothing is known.
    ReplayKnown,
    /// Forget what was announced.
    Forget,
    /// Write down that she has asked.
    StoreAsked,
    /// Write down that it is granted.
    StoreGranted,
    /// Strike it out.
    StoreRemove,
    /// Try again later.
    Retry,
}

use Action as A;
use Event as E;
use State as S;

/// The row for a pair.
#[must_use]
pub fn step(state: State, event: Event) -> Option<&'static Row<State, Event, Action>> {
    TABLE.iter().find(|row| row.is_for(state, event))
}

/// The machine.
#[rustfmt::skip]
pub const TABLE: &[Row<State, Event, Action>] = &[
    // -- the XMPP user asks
    row(&[S::None], &[E::Subscribe], &[A::StoreAsked, A::Subscribe], S::Asking),
    row(&[S::AskLater], &[E::Subscribe, E::RetryDue], &[A::Subscribe], S::Asking),
    row(&[S::Rebuilding, S::Idle], &[E::Subscribe], &[A::SaySubscribed, A::Subscribe], S::Renewing), // PRES-21
    stay(&[S::Renewing], &[E::Subscribe], &[A::SaySubscribed, A::ReplayKnown]), // PRES-21
    stay(&[S::Active, S::Waiting], &[E::Subscribe], &[A::SaySubscribed, A::Replay]), // PRES-21
    row(&[S::Closing], &[E::Subscribe], &[A::SayUnsubscribed, A::Abandon, A::StoreAsked, A::Subscribe], S::Asking),
    ignore(&[S::Asking, S::Pending], &[E::Subscribe]),

    // -- the XMPP user leaves
    stay(&[S::None], &[E::Unsubscribe], &[A::SayUnsubscribed]), // PRES-18
    row(&[S::AskLater], &[E::Unsubscribe], &[A::StoreRemove, A::SayUnsubscribed], S::None), // PRES-18
    row(&[S::Rebuilding, S::Idle, S::Waiting], &[E::Unsubscribe], &[A::SayUnavailable, A::StoreRemove, A::SayUnsubscribed], S::None), // PRES-18
    row(&[S::Asking, S::Pending], &[E::Unsubscribe], &[A::StoreRemove, A::Close], S::Closing), // PRES-15
    row(&[S::Renewing, S::Active], &[E::Unsubscribe], &[A::SayUnavailable, A::StoreRemove, A::Close], S::Closing), // PRES-15, RFC 6121 §3.3.3
    ignore(&[S::Closing], &[E::Unsubscribe]),
    row(&[S::Closing], &[E::Closed, E::EndedAgain, E::EndedLater, E::EndedForNow, E::EndedConstant, E::Rejected, E::Refused, E::Failed], &[A::SayUnsubscribed], S::None), // PRES-16, PRES-18
    row(&[S::Closing], &[E::UserGone], &[A::Abandon], S::None),
    row(&[S::AskLater, S::Rebuilding, S::Idle, S::Waiting], &[E::UserGone], &[A::StoreRemove], S::None),
    row(&[S::Asking, S::Pending, S::Renewing, S::Active], &[E::UserGone], &[A::StoreRemove, A::Leave], S::None),
    ignore(&[S::None], &[E::UserGone]),

    // -- the XMPP user comes and goes
    row(&[S::Rebuilding, S::Idle], &[E::Online], &[A::Subscribe], S::Renewing), // PRES-10
    ignore(&[S::None, S::Asking, S::Pending, S::AskLater, S::Renewing, S::Active, S::Waiting, S::Closing], &[E::Online]),
    row(&[S::Renewing, S::Active], &[E::Offline], &[A::Leave, A::Forget], S::Idle), // PRES-28
    row(&[S::Rebuilding, S::Waiting], &[E::Offline], &[A::Forget], S::Idle),
    stay(&[S::Idle], &[E::Offline], &[A::Forget]),
    ignore(&[S::None, S::Asking, S::Pending, S::AskLater, S::Closing], &[E::Offline]),

    // -- the XMPP user wants to know
    stay(&[S::None], &[E::Probe], &[A::SayUnsubscribed]), // SEC-15
    row(&[S::Rebuilding], &[E::Probe], &[A::Subscribe], S::Renewing), // PRES-29
    stay(&[S::Renewing], &[E::Probe], &[A::ReplayKnown]),
    stay(&[S::Active, S::Waiting], &[E::Probe], &[A::Replay]), // PRES-24
    // She is online, and a probe may be the only sign of it: the poll answers her, the dialog keeps her up to date. The
    // SIP side makes one request of the two where the peer counts requests.
    row(&[S::Idle], &[E::Probe], &[A::Subscribe, A::Poll], S::Renewing), // PRES-10, PRES-24
    ignore(&[S::Asking, S::Pending, S::AskLater, S::Closing], &[E::Probe]),

    // -- NOTIFY
    row(&[S::Asking], &[E::NotifyPending], &[], S::Pending), // PRES-03
    row(&[S::Active], &[E::NotifyPending], &[A::SayUnavailable], S::Renewing), // PVAL-50
    ignore(&[S::Pending, S::Renewing], &[E::NotifyPending]),
    row(&[S::Asking, S::Pending], &[E::NotifyActive], &[A::StoreGranted, A::SaySubscribed, A::Announce], S::Active), // PRES-04, PRES-05
    row(&[S::Renewing], &[E::NotifyActive], &[A::Announce], S::Active),
    stay(&[S::Active], &[E::NotifyActive], &[A::Announce]),
    ignore(&[S::None, S::AskLater, S::Rebuilding, S::Idle, S::Waiting, S::Closing], &[E::NotifyPending, E::NotifyActive]),

    // -- the dialog ends (PRES-13, PRES-20)
    row(&[S::Asking, S::Pending], &[E::EndedAgain], &[A::Subscribe], S::Asking),
    row(&[S::Asking, S::Pending], &[E::EndedLater], &[A::Retry], S::AskLater),
    row(&[S::Asking, S::Pending], &[E::EndedForNow, E::EndedConstant], &[A::StoreRemove, A::SayError], S::None),
    stay(&[S::Renewing], &[E::EndedAgain], &[A::Subscribe]),
    row(&[S::Active], &[E::EndedAgain], &[A::Announce, A::Subscribe], S::Renewing),
    row(&[S::Renewing, S::Active], &[E::EndedLater], &[A::SayUnavailable, A::Retry], S::Waiting),
    row(&[S::Renewing, S::Active], &[E::EndedForNow], &[A::SayUnavailable], S::Idle),
    row(&[S::Renewing], &[E::EndedConstant], &[], S::Idle),
    row(&[S::Active], &[E::EndedConstant], &[A::Announce], S::Idle),
    ignore(&[S::None, S::AskLater, S::Rebuilding, S::Idle, S::Waiting], &[E::EndedAgain, E::EndedLater, E::EndedForNow, E::EndedConstant]),

    // -- SUBSCRIBE fails (PRES-11, PRES-12, PRES-14, PRES-31)
    row(&[S::Asking, S::Pending, S::AskLater], &[E::Rejected], &[A::StoreRemove, A::SayUnsubscribed], S::None),
    row(&[S::Rebuilding, S::Renewing, S::Active, S::Idle, S::Waiting], &[E::Rejected], &[A::SayUnavailable, A::StoreRemove, A::SayUnsubscribed], S::None),
    row(&[S::Asking, S::Pending], &[E::Refused], &[A::StoreRemove, A::SayError], S::None),
    row(&[S::Asking, S::Pending], &[E::Failed], &[A::Retry], S::AskLater),
    row(&[S::Renewing, S::Active], &[E::Refused, E::Failed], &[A::SayUnavailable, A::Retry], S::Waiting),
    ignore(&[S::None], &[E::Rejected, E::Refused, E::Failed]),
    ignore(&[S::AskLater, S::Rebuilding, S::Idle, S::Waiting], &[E::Refused, E::Failed]),

    // -- time
    row(&[S::Rebuilding, S::Waiting], &[E::RetryDue], &[A::Subscribe], S::Renewing),
    ignore(&[S::None, S::Asking, S::Pending, S::Renewing, S::Active, S::Idle, S::Closing], &[E::RetryDue]),
    ignore(&[S::None, S::Asking, S::Pending, S::AskLater, S::Rebuilding, S::Renewing, S::Active, S::Idle, S::Waiting], &[E::Closed]),
];

impl State {
    /// All states.
    pub const ALL: [Self; 10] = [
        S::None,
        S::Asking,
        S::Pending,
        S::AskLater,
        S::Rebuilding,
        S::Renewing,
        S::Active,
        S::Idle,
        S::Waiting,
        S::Closing,
    ];

    /// The name in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            S::None => "none",
            S::Asking => "asking",
            S::Pending => "pending",
            S::AskLater => "ask-later",
            S::Rebuilding => "rebuilding",
            S::Renewing => "renewing",
            S::Active => "active",
            S::Idle => "idle",
            S::Waiting => "waiting",
            S::Closing => "closing",
        }
    }

    /// Asked, and no decision yet.
    #[must_use]
    pub fn is_asked(self) -> bool {
        matches!(self, S::Asking | S::Pending | S::AskLater)
    }

    /// The XMPP user may see the SIP user.
    #[must_use]
    pub fn is_granted(self) -> bool {
        matches!(
            self,
            S::Rebuilding | S::Renewing | S::Active | S::Idle | S::Waiting
        )
    }
}

type Machine = Row<State, Event, Action>;

const fn row(
    states: &'static [State],
    events: &'static [Event],
    actions: &'static [Action],
    next: State,
) -> Machine {
    Row {
        states,
        events,
        actions,
        next: Some(next),
    }
}

const fn stay(
    states: &'static [State],
    events: &'static [Event],
    actions: &'static [Action],
) -> Machine {
    Row {
        states,
        events,
        actions,
        next: None,
    }
}

const fn ignore(states: &'static [State], events: &'static [Event]) -> Machine {
    stay(states, events, &[])
}
