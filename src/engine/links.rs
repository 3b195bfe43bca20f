//! The links to all partners, made on demand and forgotten when idle.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use minidom::Element;
use stox_core::address::canonical_domain;
use stox_core::failure::{Failure, Local};
use stox_core::time::{Entropy, Now};
use stox_core::vocab::Ref;
use stox_xmpp::adapt::Iq;
use stox_xmpp::link::{self, Attempt, Link, LinkCommand, LinkState, LinkStatus, Loss, Outgoing};

use super::{Account, Effect};

/// A domain of ours and a partner's, and by what way where that is an account.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkName {
    /// Our domain, canonical.
    pub local: String,
    /// The partner's domain, canonical.
    pub partner: String,
    /// The account ([`Account::name`]) that carries it; `None`: server to server, or a component.
    pub account: Option<Arc<str>>,
}

impl LinkName {
    /// The canonical name of a pair.
    #[must_use]
    pub fn new(local: &str, partner: &str) -> Self {
        Self {
            local: canonical_domain(local),
            partner: canonical_domain(partner),
            account: None,
        }
    }

    /// The canonical name of an account's way to a partner.
    #[must_use]
    pub fn of_account(account: &Account, partner: &str) -> Self {
        Self {
            account: Some(account.name.clone()),
            ..Self::new(&account.user.domain, partner)
        }
    }

    /// Whether a server in between carries the stanzas on to the partner.
    fn is_routed(&self, components: &BTreeSet<String>) -> bool {
        match &self.account {
            Some(account) => account.rsplit('@').next() != Some(self.partner.as_str()),
            None => components.contains(&self.local),
        }
    }
}

/// How much all links together may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Links.
    pub(super) links: usize,
    /// Octets of stanzas. One link may keep no more than are free beside, so that nobody takes the others' room.
    pub(super) octets: usize,
}

/// All links.
pub struct Links {
    settings: link::Settings,
    /// Domains of ours whose stanzas another server carries on.
    components: BTreeSet<String>,
    limits: Limits,
    /// Of all that is kept.
    octets: usize,
    entropy: Box<dyn Fn() -> Box<dyn Entropy> + Send>,
    links: BTreeMap<LinkName, Link>,
    timeouts: BTreeSet<(Duration, LinkName)>,
    timeout_of: BTreeMap<LinkName, Duration>,
    settled: VecDeque<(Ref, Result<(), Failure>)>,
    unaskable: VecDeque<(Arc<Element>, Failure)>,
    effects: VecDeque<Effect>,
}

impl Links {
    pub(super) fn new(
        settings: link::Settings,
        components: BTreeSet<String>,
        limits: Limits,
        entropy: Box<dyn Fn() -> Box<dyn Entropy> + Send>,
    ) -> Self {
        Self {
            settings,
            components,
            limits,
            octets: 0,
            entropy,
            links: BTreeMap::new(),
            timeouts: BTreeSet::new(),
            timeout_of: BTreeMap::new(),
            settled: VecDeque::new(),
            unaskable: VecDeque::new(),
            effects: VecDeque::new(),
        }
    }

    /// Sends on a link, which is made when it is not there.
    pub(super) fn send(&mut self, name: &LinkName, outgoing: Outgoing, now: Now) {
        if !self.has_room_for_more(name) {
            tracing::debug!(
                partner = name.partner,
                "what waits for this partner and others takes all room; a stanza is refused"
            );
            return self.refuse(&outgoing);
        }
        if !self.links.contains_key(name) {
            if self.links.len() >= self.limits.links {
                self.forget_idle();
            }
            if self.links.len() >= self.limits.links {
                tracing::warn!(
                    partner = name.partner,
                    limit = self.limits.links,
                    "too many XMPP partners at one time; a stanza is refused"
                );
                return self.refuse(&outgoing);
            }
            let settings = link::Settings {
                routed: name.is_routed(&self.components),
                ..self.settings.clone()
            };
            let link = Link::new(settings, &name.local, &name.partner, (self.entropy)());
            self.links.insert(name.clone(), link);
        }
        self.with(name, |link| link.send(outgoing, now));
    }

    fn has_room_for_more(&self, name: &LinkName) -> bool {
        let free = self.limits.octets.saturating_sub(self.octets);
        let own = self.links.get(name).map_or(0, Link::octets);
        free > 0 && own <= free
    }

    fn refuse(&mut self, outgoing: &Outgoing) {
        let overloaded = Err(Failure::Local(Local::Overloaded));
        let fate = outgoing.reference.map(|reference| (reference, overloaded));
        self.settled.extend(fate);
    }

    pub(super) fn receive_iq(&mut self, name: &LinkName, iq: &Iq, now: Now) -> bool {
        self.with(name, |link| link.receive_iq(iq, now))
            .unwrap_or(false)
    }

    pub(super) fn stream_ready(
        &mut self,
        name: &LinkName,
        attempt: Attempt,
        max_octets: Option<usize>,
        now: Now,
    ) {
        self.with(name, |link| link.stream_ready(attempt, max_octets, now));
    }

    pub(super) fn stream_lost(&mut self, name: &LinkName, attempt: Attempt, loss: Loss, now: Now) {
        self.with(name, |link| link.stream_lost(attempt, loss, now));
    }

    pub(super) fn partner_seen(&mut self, name: &LinkName, now: Now) {
        self.with(name, |link| link.partner_seen(now));
    }

    pub(super) fn partner_logged_in(&mut self, name: &LinkName, now: Now) {
        self.with(name, |link| link.partner_logged_in(now));
    }

    pub(super) fn poll_timeout(&self) -> Option<Duration> {
        self.timeouts.first().map(|(at, _)| *at)
    }

    pub(super) fn handle_timeout(&mut self, now: Now) {
        let due: Vec<LinkName> = self
            .timeouts
            .iter()
            .take_while(|(at, _)| *at <= now.mono)
            .map(|(_, name)| name.clone())
            .collect();
        for name in due {
            self.with(&name, |link| link.handle_timeout(now));
        }
    }

    /// The next fate of a message.
    pub(super) fn poll_settled(&mut self) -> Option<(Ref, Result<(), Failure>)> {
        self.settled.pop_front()
    }

    /// The next request to subscribe whose partner's name leads nowhere.
    pub(super) fn poll_unaskable(&mut self) -> Option<(Arc<Element>, Failure)> {
        self.unaskable.pop_front()
    }

    /// Why nobody can be asked there, where that was found out a moment ago: the name leads nowhere.
    pub(super) fn leads_nowhere(&self, name: &LinkName, now: Now) -> Option<Failure> {
        let status = self.links.get(name)?.status();
        let holds = matches!(status.state, LinkState::Refusing { until } if until > now.mono);
        let nowhere = [Local::SipDomain, Local::DomainNotFound].map(Failure::Local);
        let failure = status.last_failure.filter(|_| holds)?;
        nowhere.contains(&failure).then_some(failure)
    }

    pub(super) fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// The ways of accounts that `keep` does not know are given up, with all that waited for them.
    pub(super) fn drop_accounts(&mut self, keep: impl Fn(&Arc<str>) -> bool) {
        let gone = |name: &&LinkName| name.account.as_ref().is_some_and(|account| !keep(account));
        let gone: Vec<LinkName> = self.links.keys().filter(gone).cloned().collect();
        for name in gone {
            self.with(&name, Link::shut_down);
            self.forget(&name);
        }
    }

    /// No fence of any link waits for company any more.
    pub(super) fn hurry(&mut self, now: Now) {
        self.settings.fence_delay = Duration::ZERO;
        let names: Vec<LinkName> = self.links.keys().cloned().collect();
        for name in names {
            self.with(&name, |link| link.hurry(now));
        }
    }

    /// Nothing waits to be written or proved on a stream that works or is coming.
    pub(super) fn is_quiet(&self) -> bool {
        self.links.values().all(|link| {
            let status = link.status();
            let has_a_way = matches!(status.state, LinkState::Up | LinkState::Connecting);
            !has_a_way || status.queued + status.unfenced == 0
        })
    }

    /// Nothing waits to be written on a stream that works.
    pub(super) fn is_written(&self) -> bool {
        self.links
            .values()
            .map(Link::status)
            .all(|status| status.state != LinkState::Up || status.queued == 0)
    }

    /// The domains of ours whose stanzas wait, or are not proved to be handled.
    pub(super) fn busy_domains(&self) -> impl Iterator<Item = &str> {
        let busy = self
            .status()
            .filter(|(_, status)| status.queued + status.unfenced > 0);
        busy.map(|(name, _)| name.local.as_str())
    }

    pub(super) fn status(&self) -> impl Iterator<Item = (&LinkName, LinkStatus)> {
        self.links.iter().map(|(name, link)| (name, link.status()))
    }

    fn forget_idle(&mut self) {
        let idle: Vec<LinkName> = self
            .status()
            .filter(|(_, status)| status.state == LinkState::Idle && status.queued == 0)
            .map(|(name, _)| name.clone())
            .collect();
        for name in idle {
            self.forget(&name);
        }
    }

    fn forget(&mut self, name: &LinkName) {
        let gone = self.links.remove(name);
        self.octets -= gone.as_ref().map_or(0, Link::octets);
        if let Some(at) = self.timeout_of.remove(name) {
            self.timeouts.remove(&(at, name.clone()));
        }
    }

    /// Works on one link, then takes its commands and its next timeout.
    fn with<R>(&mut self, name: &LinkName, work: impl FnOnce(&mut Link) -> R) -> Option<R> {
        let link = self.links.get_mut(name)?;
        let before = link.octets();
        let result = work(link);
        self.octets = self.octets - before + link.octets();
        while let Some(command) = link.poll_command() {
            match command {
                LinkCommand::Connect(attempt) => self
                    .effects
                    .push_back(Effect::Connect(name.clone(), attempt)),
                LinkCommand::Write(element) => {
                    self.effects.push_back(Effect::Write(name.clone(), element))
                }
                LinkCommand::Settled { reference, outcome } => {
                    self.settled.push_back((reference, outcome))
                }
                LinkCommand::Unaskable { element, failure } => {
                    self.unaskable.push_back((element, failure));
                }
                LinkCommand::Oversized {
                    octets,
                    limit,
                    goes,
                } => tracing::debug!(
                    partner = name.partner,
                    octets,
                    limit,
                    goes,
                    "a stanza is larger than the partner takes; presence and errors go without their words"
                ),
                LinkCommand::CloseStream { attempt, reason } => {
                    self.effects
                        .push_back(Effect::CloseStream(name.clone(), attempt, reason));
                }
            }
        }
        let next = link.poll_timeout();
        let last = match next {
            Some(at) => self.timeout_of.insert(name.clone(), at),
            None => self.timeout_of.remove(name),
        };
        if last != next {
            if let Some(at) = last {
                self.timeouts.remove(&(at, name.clone()));
            }
            if let Some(at) = next {
                self.timeouts.insert((at, name.clone()));
            }
        }
        Some(result)
    }
}

#[cfg(test)]
mod tests {
    use stox_core::time::SeededEntropy;

    use super::*;

    fn links(octets: usize) -> Links {
        let limits = Limits { links: 100, octets };
        let settings = link::Settings::default();
        let entropy = Box::new(|| Box::new(SeededEntropy(1)) as Box<dyn Entropy>);
        Links::new(settings, BTreeSet::new(), limits, entropy)
    }

    /// How many of the messages to a partner that cannot be reached are kept.
    fn keeps(links: &mut Links, partner: &str, count: u64) -> u64 {
        let name = LinkName::new("ocs.test", partner);
        for number in 0..count {
            let body = "x".repeat(900);
            let text = format!(
                "<message xmlns='jabber:client' to='a@{partner}'><body>{body}</body></message>"
            );
            let outgoing = Outgoing {
                reference: Some(Ref(number)),
                element: text.parse().unwrap(),
                deadline: None,
            };
            links.send(&name, outgoing, Now::default());
        }
        let mut refused = 0;
        while let Some((_, fate)) = links.poll_settled() {
            assert_eq!(fate, Err(Failure::Local(Local::Overloaded)));
            refused += 1;
        }
        count - refused
    }

    #[test]
    fn what_waits_for_some_partners_leaves_room_for_others() {
        let mut links = links(100_000);
        let first = keeps(&mut links, "a.test", 200);
        assert!((45..=60).contains(&first), "half of it: {first}");
        let second = keeps(&mut links, "b.test", 200);
        assert!(
            (20..=30).contains(&second),
            "and half of the rest: {second}"
        );
        for number in 0..40 {
            keeps(&mut links, &format!("{number}.test"), 50);
        }
        assert!(links.octets <= 101_000, "{}", links.octets);
        let kept: usize = links.status().map(|(_, status)| status.octets).sum();
        assert_eq!(links.octets, kept);
        // It comes back.
        let name = LinkName::new("ocs.test", "a.test");
        links.with(&name, Link::shut_down);
        while links.poll_settled().is_some() {}
        links.forget(&name);
        assert!(keeps(&mut links, "c.test", 40) > 20);
        let kept: usize = links.status().map(|(_, status)| status.octets).sum();
        assert_eq!(links.octets, kept);
    }
}
