//! Accounts: one task for each SIP user's account at another XMPP server. It stays signed in, and carries the stanzas of all
//! the account's links.

mod again;
mod dial;
mod task;

use std::collections::BTreeMap;
use std::sync::Arc;

use minidom::Element;
use stox_core::address::canonical_domain;
use stox_xmpp::account;
use stox_xmpp::link::Attempt;
use stox_xmpp::server::Software;
use stox_xmpp::stream::{
    ClientSettings, Limits, Password, PasswordError, Timing, domain::normal_domain,
};

use super::Shared;
use super::carried::Carried;
use crate::admin::AccountStatus;
use crate::config::{self, Config};
use crate::engine::{self, LinkName};

/// What waits for one account's task. Each link keeps far less in flight.
const QUEUE: usize = 4_096;

/// What one account's task needs.
#[derive(Clone)]
pub struct AccountPlan {
    /// Which links go through it.
    pub way: engine::Account,
    config: config::Account,
    client: Arc<ClientSettings>,
    translation: account::Settings,
}

/// The accounts of the settings.
///
/// # Errors
/// A password that the settings should not have let in.
pub fn account_plans(
    config: &Config,
    software: &Software,
) -> Result<Vec<AccountPlan>, PasswordError> {
    let own_domains = config.sip.domains.iter();
    let own_domains = own_domains
        .map(|domain| canonical_domain(&domain.domain))
        .collect();
    let plan = |account: &config::Account| {
        let domain = &account.jid.domain;
        let client = ClientSettings {
            user: account.jid.local.clone().unwrap_or_default(),
            domain: normal_domain(domain).unwrap_or_else(|| canonical_domain(domain)),
            password: Password::new(account.password.reveal())?,
            plain: account.plain,
            limits: Limits {
                octets_after_auth: config.limits.stanza,
                ..Limits::default()
            },
            timing: Timing {
                keep_alive: config.xmpp.keepalive,
                ..Timing::default()
            },
        };
        Ok(AccountPlan {
            way: engine::Account::new(&account.jid, &account.user, &account.domains),
            config: account.clone(),
            client: Arc::new(client),
            translation: account::Settings {
                account: account.jid.clone(),
                user: account.user.clone(),
                domains: account.domains.clone(),
                own_domains: std::collections::BTreeSet::clone(&own_domains),
                software: software.clone(),
            },
        })
    };
    config.xmpp.accounts.iter().map(plan).collect()
}

/// How an account is. The number tells the task from an earlier one of the same account.
#[derive(Debug, Clone)]
pub struct AccountNews {
    name: Arc<str>,
    number: u64,
    status: AccountStatus,
    /// A person has to do something before it is tried again.
    waits_for_person: bool,
}

/// The accounts as the engine's side sees them.
#[derive(Default)]
pub(super) struct Accounts {
    handles: BTreeMap<Arc<str>, Handle>,
    last: u64,
}

struct Handle {
    number: u64,
    config: config::Account,
    carried: Carried,
    status: AccountStatus,
    waits_for_person: bool,
}

impl Accounts {
    /// Enters an account and returns its task.
    pub(super) fn enter(
        &mut self,
        plan: AccountPlan,
        shared: Arc<Shared>,
    ) -> impl Future<Output = ()> + Send + use<> {
        let (carried, words) = Carried::new(QUEUE);
        self.last += 1;
        let status = AccountStatus {
            user: plan.config.user.to_string(),
            jid: plan.config.jid.to_string(),
            state: "signing in".to_owned(),
            since: shared.clock.now().wall.as_secs(),
            resumable: false,
            contacts: 0,
        };
        let handle = Handle {
            number: self.last,
            config: plan.config.clone(),
            carried,
            status: status.clone(),
            waits_for_person: false,
        };
        self.handles.insert(plan.way.name.clone(), handle);
        task::run(shared, plan, words, (self.last, status))
    }

    /// Accounts that are not in `plans`, or not as they are, or that a person may have mended elsewhere.
    pub(super) fn stale(&self, plans: &[AccountPlan]) -> Vec<Arc<str>> {
        let is_kept = |name: &Arc<str>, handle: &Handle| {
            let is_same =
                |plan: &AccountPlan| plan.way.name == *name && plan.config == handle.config;
            !handle.waits_for_person && plans.iter().any(is_same)
        };
        let stale = self
            .handles
            .iter()
            .filter(|(name, handle)| !is_kept(name, handle));
        stale.map(|(name, _)| name.clone()).collect()
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.handles.contains_key(name)
    }

    /// Ends an account's task in order. What comes back has lost its way.
    pub(super) fn remove(&mut self, name: &str) -> Vec<(LinkName, Attempt)> {
        let handle = self.handles.remove(name);
        handle
            .map(|handle| handle.carried.end())
            .into_iter()
            .flatten()
            .collect()
    }

    fn of(&mut self, name: &LinkName) -> Option<&mut Handle> {
        self.handles.get_mut(name.account.as_ref()?)
    }

    /// `false`: there is no such account, or its task takes no more, and the link has to be told.
    pub(super) fn join(&mut self, name: LinkName, attempt: Attempt) -> bool {
        let Some(handle) = self.of(&name) else {
            return false;
        };
        handle.carried.join(name, attempt)
    }

    /// Writes for a link. What comes back is the attempt that is lost, since the task takes no more.
    pub(super) fn write(&mut self, name: &LinkName, element: Arc<Element>) -> Option<Attempt> {
        self.of(name)?.carried.write(name, element)
    }

    /// The link has let go, or has lost that attempt.
    pub(super) fn leave(&mut self, name: &LinkName, attempt: Attempt) {
        if let Some(handle) = self.of(name) {
            handle.carried.leave(name, attempt);
        }
    }

    /// Keeps what a task says of itself.
    pub(super) fn note(&mut self, news: &AccountNews) {
        if let Some(handle) = self.handles.get_mut(&news.name)
            && handle.number == news.number
        {
            handle.status = news.status.clone();
            handle.waits_for_person = news.waits_for_person;
        }
    }

    /// Takes nothing more. Each task confirms that with [`StreamArrival::Left`](super::StreamArrival::Left), behind the
    /// last that it has taken.
    pub(super) fn leave_all(&mut self) {
        for handle in self.handles.values_mut() {
            handle.carried.close();
        }
    }

    /// A task has left.
    pub(super) fn note_left(&mut self, name: &str) {
        if let Some(handle) = self.handles.get_mut(name) {
            handle.carried.note_left();
        }
    }

    /// Whether all tasks have.
    pub(super) fn have_left(&self) -> bool {
        self.handles
            .values()
            .all(|handle| handle.carried.has_left())
    }

    pub(super) fn status(&self) -> Vec<AccountStatus> {
        let handles = self.handles.values();
        handles.map(|handle| handle.status.clone()).collect()
    }

    /// Lets all sessions end in order.
    pub(super) fn end(&mut self) {
        self.handles.clear();
    }
}
