//! What an operator may set, and what must never grow without bound.

use std::time::Duration;

use crate::policy::Policy;

/// The settings of a [`super::Bridge`].
#[derive(Debug, Clone)]
pub struct Settings {
    /// Who may talk to whom.
    pub policy: Policy,
    /// How long a SIP sender waits for the XMPP side before its MESSAGE is answered with a failure. Well below
    /// 32 s, the end of the sender's transaction (RFC 3261 §17.1.2.2).
    pub answer_within: Duration,
    /// After a start, stored subscriptions are asked for again over this time, so that no edge is flooded. Also the
    /// `retry-after` that watchers are given when the gateway stops.
    pub restart_spread: Duration,
    /// First wait before a failed subscription is tried again; it doubles with each failure.
    pub retry_first: Duration,
    /// Longest wait of that kind.
    pub retry_longest: Duration,
    /// How often a subscription that was never granted is tried before its user is told that it failed.
    pub ask_attempts: u32,
    /// Messages of one domain without an outcome; more are refused for now.
    pub max_pending_per_domain: usize,
    /// Pairs of users with a subscription in either direction; more are refused for now.
    pub max_contacts: usize,
    /// The same for one user, of either side.
    pub max_contacts_per_user: usize,
    /// Dialogs in which one SIP user watches one XMPP user; more are refused for now.
    pub max_watchers_per_contact: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            policy: Policy::default(),
            answer_within: Duration::from_secs(20),
            restart_spread: Duration::from_secs(30),
            retry_first: Duration::from_secs(60),
            retry_longest: Duration::from_secs(3600),
            ask_attempts: 5,
            max_pending_per_domain: 1000,
            max_contacts: 200_000,
            max_contacts_per_user: 1000,
            max_watchers_per_contact: 16,
        }
    }
}
