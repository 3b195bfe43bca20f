//! A SIP user watches an XMPP user: the gateway is the notifier (RFC 8048 §5.3, RFC 6665 §4.2).
//!
//! All dialogs of one watcher share one XMPP subscription (PRES-56). The authorisation outlives them.

use super::Row;

/// How far the authorisation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum State {
    /// Neither asked nor granted.
    #[default]
    None,
    /// `subscribe` has been sent, and not answered.
    Asked,
    /// Granted, by an answer or ahead of any question (RFC 6121 §3.4).
    Granted,
}

/// What happens to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// SUBSCRIBE outside a dialog, and there is no other dialog.
    FirstArrived,
    /// SUBSCRIBE outside a dialog, beside other dialogs.
    Arrived,
    /// SUBSCRIBE with Expires 0 outside a dialog.
    Polled,
    /// A refresh.
    Refreshed,
    /// One of several dialogs was ended or ran out.
    Left,
    /// The last dialog was ended or ran out.
    LastLeft,
    /// One of several dialogs broke.
    Broken,
    /// The last dialog broke.
    LastBroken,
    /// `subscribed` from the XMPP user.
    Approved,
    /// `unsubscribed` from the XMPP user.
    Denied,
    /// A presence error: no such user.
    Missing,
    /// A presence error: nobody to serve it now.
    Unserved,
    /// A presence error: not permitted.
    Forbidden,
    /// A presence error that will pass.
    Unreachable,
    /// The XMPP user's presence is another one now.
    Changed,
}

/// What is done about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// 200 to the SUBSCRIBE.
    Accept,
    /// NOTIFY pending to this watcher.
    NotifyPending,
    /// NOTIFY active to this watcher, with the document if there is one.
    NotifyActive,
    /// NOTIFY terminated, timeout, to this watcher, empty.
    NotifyOver,
    /// The same with the document, if there is one.
    NotifyAnswer,
    /// The same with all closed.
    NotifyClosed,
    /// NOTIFY active to all watchers, with the document if there is one.
    NotifyAll,
    /// The XMPP user is out of sight: NOTIFY active with all closed to all watchers, if she was in sight.
    NotifyAllLost,
    /// NOTIFY terminated, rejected, to all watchers.
    EndRejected,
    /// NOTIFY terminated, noresource, to all watchers.
    EndNoResource,
    /// NOTIFY terminated, probation with retry-after, to all watchers.
    EndProbation,
    /// Send `subscribe`.
    SaySubscribe,
    /// Send `probe`.
    SayProbe,
    /// Send `probe` if no presence is known.
    SayProbeIfUnknown,
    /// Send `unavailable`, unless the XMPP user sees the SIP user by a subscription of her own.
    SayUnavailable,
    /// Write down that it is asked for.
    StoreAsked,
    /// Write down that it is granted.
    StoreGranted,
    /// Strike it out.
    StoreRemove,
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
    // -- a watcher arrives
    row(&[S::None], &[E::FirstArrived], &[A::Accept, A::NotifyPending, A::StoreAsked, A::SaySubscribe], S::Asked), // PRES-40, PRES-42
    stay(&[S::Asked], &[E::FirstArrived], &[A::Accept, A::NotifyPending, A::SaySubscribe]),
    stay(&[S::Asked], &[E::Arrived], &[A::Accept, A::NotifyPending]), // PRES-56
    stay(&[S::Granted], &[E::FirstArrived], &[A::Accept, A::NotifyActive, A::SayProbe]), // PRES-33, PRES-53
    stay(&[S::Granted], &[E::Arrived], &[A::Accept, A::NotifyActive]), // PRES-56
    ignore(&[S::None], &[E::Arrived]),
    stay(&[S::None], &[E::Polled], &[A::Accept, A::NotifyOver, A::SayProbe]), // PRES-49
    // An unauthorised probe makes some servers drop the request that waits for an answer (PRES-53).
    stay(&[S::Asked], &[E::Polled], &[A::Accept, A::NotifyOver]),
    stay(&[S::Granted], &[E::Polled], &[A::Accept, A::NotifyAnswer, A::SayProbeIfUnknown]), // PRES-49

    // -- a dialog goes on or ends
    stay(&[S::Asked], &[E::Refreshed], &[A::NotifyPending]),
    stay(&[S::Granted], &[E::Refreshed], &[A::NotifyActive]), // PRES-46
    stay(&[S::Asked], &[E::Left, E::LastLeft], &[A::NotifyOver]), // PRES-55
    stay(&[S::Granted], &[E::Left], &[A::NotifyClosed]),
    stay(&[S::Granted], &[E::LastLeft], &[A::NotifyClosed, A::SayUnavailable]), // PRES-47, PRES-48
    ignore(&[S::Asked], &[E::Broken, E::LastBroken]),
    ignore(&[S::Granted], &[E::Broken]),
    stay(&[S::Granted], &[E::LastBroken], &[A::SayUnavailable]), // PRES-57
    ignore(&[S::None], &[E::Refreshed, E::Left, E::LastLeft, E::Broken, E::LastBroken]),

    // -- the XMPP user decides
    row(&[S::None], &[E::Approved], &[A::StoreGranted], S::Granted), // PRES-33
    row(&[S::Asked], &[E::Approved], &[A::StoreGranted, A::NotifyAll, A::SayProbe], S::Granted), // PRES-43, PRES-53
    ignore(&[S::Granted], &[E::Approved]),
    row(&[S::Asked, S::Granted], &[E::Denied], &[A::StoreRemove, A::EndRejected], S::None), // PRES-44, PRES-45
    ignore(&[S::None], &[E::Denied]),

    // -- the XMPP side reports an error
    row(&[S::Asked, S::Granted], &[E::Missing], &[A::StoreRemove, A::EndNoResource], S::None), // PRES-54
    row(&[S::Asked], &[E::Unserved], &[A::StoreRemove, A::EndNoResource], S::None), // PRES-54
    row(&[S::Asked, S::Granted], &[E::Forbidden], &[A::StoreRemove, A::EndRejected], S::None), // PRES-54
    row(&[S::Asked], &[E::Unreachable], &[A::StoreRemove, A::EndProbation], S::None), // PRES-54
    stay(&[S::Granted], &[E::Unserved, E::Unreachable], &[A::NotifyAllLost]),
    ignore(&[S::None], &[E::Missing, E::Unserved, E::Forbidden, E::Unreachable]),

    // -- the XMPP user's presence
    stay(&[S::Granted], &[E::Changed], &[A::NotifyAll]),
    ignore(&[S::None, S::Asked], &[E::Changed]), // SEC-04
];

impl State {
    /// All states.
    pub const ALL: [Self; 3] = [S::None, S::Asked, S::Granted];

    /// The name in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            S::None => "none",
            S::Asked => "asked",
            S::Granted => "granted",
        }
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
