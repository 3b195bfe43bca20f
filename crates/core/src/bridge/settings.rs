//! What an operator may set, and what must never grow without bound.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::address::canonical_domain;
use crate::policy::Policy;
use crate::{presence, room};

/// The settings of a [`super::Bridge`].
#[derive(Debug, Clone)]
pub struct Settings {
    /// What this gateway writes on what crosses it, so that it knows it again; of its own. Empty: nothing.
    pub mark: String,
    /// Who may talk to whom.
    pub policy: Policy,
    /// How XMPP users see SIP users.
    pub presence: presence::Rules,
    /// Group chat.
    pub rooms: room::Settings,
    /// How long a SIP sender waits for the XMPP side before its MESSAGE is answered with a failure. Well below
    /// 32 s, the end of the sender's transaction (RFC 3261 §17.1.2.2).
    pub answer_within: Duration,
    /// After a start, stored subscriptions are asked for again over this time, so that no edge is flooded. Also the
    /// `retry-after` that watchers are given when the gateway stops.
    pub restart_spread: Duration,
    /// Servers of SIP domains, by canonical domain, that take so many requests a second only. The subscriptions at one
    /// of them are spread over more than [`Settings::restart_spread`] where they are too many for it.
    pub servers: BTreeMap<String, Server>,
    /// First wait before a failed subscription is tried again; it doubles with each failure.
    pub retry_first: Duration,
    /// Longest wait of that kind.
    pub retry_longest: Duration,
    /// How often a subscription that was never granted is tried before its user is told that it failed.
    pub ask_attempts: u32,
    /// How long after an error report was given up it is made again.
    pub report_again: Duration,
    /// How long after its message came an error report is made again. Then its sender never learns that it failed.
    pub report_for: Duration,
    /// Error reports that wait to be made again, in all; more are given up.
    pub max_reports: usize,
    /// Messages of one domain without an outcome; more are refused for now. Also error reports to one domain that wait to
    /// be made again; more are given up.
    pub max_pending_per_domain: usize,
    /// Pairs of users with a subscription in either direction; more are refused for now.
    pub max_contacts: usize,
    /// The same for one user, of either side.
    pub max_contacts_per_user: usize,
    /// Dialogs in which one SIP user watches one XMPP user; more are refused for now.
    pub max_watchers_per_contact: usize,
    /// Whether each message is entered in the ledger.
    pub ledger: bool,
}

/// The server of a SIP domain, which may be that of others, too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// The same for every domain behind it.
    pub name: String,
    /// Requests that it takes in a second; 0: as many as there are.
    pub per_second: u32,
}

impl Settings {
    /// The server of a SIP domain that takes so many requests a second only.
    pub(super) fn server(&self, domain: &str) -> Option<&Server> {
        let server = self.servers.get(&canonical_domain(domain))?;
        (server.per_second > 0).then_some(server)
    }

    /// The time over which so many subscriptions at a domain's server are made again.
    pub(super) fn spread(&self, domain: &str, count: u32) -> Duration {
        let needed = self.server(domain).map_or(Duration::ZERO, |server| {
            Duration::from_secs(1) * count / server.per_second
        });
        self.restart_spread.max(needed)
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            mark: String::new(),
            policy: Policy::default(),
            presence: presence::Rules::default(),
            rooms: room::Settings::default(),
            answer_within: Duration::from_secs(20),
            restart_spread: Duration::from_secs(30),
            servers: BTreeMap::new(),
            retry_first: Duration::from_secs(60),
            retry_longest: Duration::from_secs(3600),
            ask_attempts: 5,
            report_again: Duration::from_secs(600),
            report_for: Duration::from_secs(24 * 3600),
            max_reports: 20_000,
            max_pending_per_domain: 1000,
            max_contacts: 200_000,
            max_contacts_per_user: 1000,
            max_watchers_per_contact: 16,
            ledger: true,
        }
    }
}
