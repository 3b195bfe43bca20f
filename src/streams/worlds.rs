//! What is known of domains that no rule names: in which world each lives, and for how long that counts.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use super::seeking::Asker;
use crate::admin::DiscoveredStatus;
use crate::net::discovery::{Finding, World};

/// How long a domain that has proved itself on a stream lives in the XMPP world, from the last that was heard of it there.
const PROOF: Duration = Duration::from_secs(3600);

/// A SIP domain that is served stays for so long after its records, so that what was sent to it in time still comes.
const GRACE: Duration = Duration::from_secs(10);

/// Findings by domain, so many at most: the one that was used least recently goes first, unless it is served. All times are
/// monotonic.
pub(super) struct Worlds {
    limit: usize,
    known: BTreeMap<String, Known>,
}

struct Known {
    world: World,
    because: String,
    proved: bool,
    /// The engine has it among the SIP domains.
    served: bool,
    /// Who asked for it when it came there: they hold its place.
    held_by: Vec<Asker>,
    since: Duration,
    until: Duration,
    used: Duration,
}

impl Known {
    /// Until when it is served without a question, if it is.
    fn served_until(&self) -> Option<Duration> {
        let counts = if self.proved { self.since } else { self.until };
        self.served.then(|| counts.saturating_add(GRACE))
    }
}

impl Worlds {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit,
            known: BTreeMap::new(),
        }
    }

    /// Where a domain lives, while that counts.
    pub(super) fn get(&mut self, domain: &str, now: Duration) -> Option<World> {
        let known = self.known.get_mut(domain)?;
        known.used = now;
        (now < known.until).then_some(known.world)
    }

    /// DNS has answered. What a domain itself has proved counts more.
    pub(super) fn found(&mut self, domain: &str, finding: Finding, now: Duration) {
        let proved = |known: &Known| known.proved && now < known.until;
        if !self.known.get(domain).is_some_and(proved) {
            let until = now.saturating_add(finding.lifetime);
            self.learn(domain, finding.world, finding.because, now..until);
        }
    }

    /// A domain has proved itself on an XMPP stream: its users are there, whatever else its DNS offers, and are to get
    /// answers.
    pub(super) fn proved(&mut self, domain: &str, now: Duration) {
        let because = "it has proved itself on an XMPP stream".to_owned();
        self.learn(domain, World::Xmpp, because, now..now.saturating_add(PROOF));
        if let Some(known) = self.known.get_mut(domain) {
            known.proved = true;
        }
    }

    /// A stanza came from the domain on a stream that it has proved.
    pub(super) fn heard(&mut self, domain: &str, now: Duration) {
        if let Some(known) = self.known.get_mut(domain).filter(|known| known.proved) {
            known.until = now.saturating_add(PROOF);
            known.used = now;
        }
    }

    /// Why it is believed to live there.
    pub(super) fn because(&self, domain: &str) -> Option<&str> {
        self.known.get(domain).map(|known| known.because.as_str())
    }

    /// The engine may serve the domain until then, from now on or still. `None`: there is no room for one more, or each that
    /// asks holds more places already than are left. `asking`: who asks, where from; nobody where we ask ourselves.
    pub(super) fn serve<'a>(
        &mut self,
        domain: &str,
        asking: impl Iterator<Item = &'a [Asker]>,
    ) -> Option<Duration> {
        let mut asking = asking.peekable();
        let holder = match asking.peek() {
            Some(_) => asking.find(|askers| askers.iter().all(|asker| self.has_room_for(asker))),
            None => Some([].as_slice()),
        };
        let known = self.known.get_mut(domain)?;
        if !known.served {
            known.held_by = holder?.to_vec();
            known.served = true;
        }
        Some(known.until)
    }

    /// Whoever asks may hold half of the places, or of those that others have left.
    fn has_room_for(&self, asker: &Asker) -> bool {
        let served = self.known.values().filter(|known| known.served);
        let (mut all, mut own) = (0, 0);
        for known in served {
            all += 1;
            own += usize::from(known.held_by.contains(asker));
        }
        own <= self.limit.saturating_sub(all)
    }

    /// The engine serves a domain of which an earlier run has left contacts.
    pub(super) fn restore(&mut self, domain: &str, now: Duration) {
        let because = "contacts of the last run are left".to_owned();
        self.learn(domain, World::Unknown, because, now..now);
        if let Some(known) = self.known.get_mut(domain) {
            known.served = true;
        }
    }

    /// The SIP domains that are served though their records count no more, or though they have shown themselves on XMPP.
    pub(super) fn overdue(&self, now: Duration) -> Vec<String> {
        let over = self
            .known
            .iter()
            .filter(|(_, known)| known.served_until().is_some_and(|until| until <= now));
        over.map(|(domain, _)| domain.clone()).collect()
    }

    /// When [`Self::overdue`] has the next one.
    pub(super) fn next_overdue(&self) -> Option<Duration> {
        self.known.values().filter_map(Known::served_until).min()
    }

    /// The engine serves the domain no more.
    pub(super) fn forget(&mut self, domain: &str) {
        self.known.remove(domain);
    }

    pub(super) fn status(&self, now: Duration) -> Vec<DiscoveredStatus> {
        let shown = |(domain, known): (&String, &Known)| DiscoveredStatus {
            domain: domain.clone(),
            world: known.world.word().to_owned(),
            refused: !known.world.takes_from_sip(),
            served: known.served,
            because: known.because.clone(),
            age_seconds: now.saturating_sub(known.since).as_secs(),
            left_seconds: Some(known.until.saturating_sub(now).as_secs()),
        };
        self.known.iter().map(shown).collect()
    }

    /// Whether it is served does not change by what is learned.
    fn learn(&mut self, domain: &str, world: World, because: String, counts: Range<Duration>) {
        let before = self.known.get_mut(domain);
        let served = before.as_ref().is_some_and(|known| known.served);
        let known = Known {
            world,
            because,
            proved: false,
            served,
            held_by: before.map_or_else(Vec::new, |known| std::mem::take(&mut known.held_by)),
            since: counts.start,
            until: counts.end,
            used: counts.start,
        };
        self.insert(domain, known);
    }

    fn insert(&mut self, domain: &str, known: Known) {
        if self.limit == 0 {
            return;
        }
        if !self.known.contains_key(domain) && self.known.len() >= self.limit {
            // Whoever asks for many domains pushes out no partner that has proved itself.
            let now = known.used;
            let rank = |known: &Known| (known.proved && now < known.until, known.used);
            let unserved = self.known.iter().filter(|(_, known)| !known.served);
            let oldest = unserved.min_by_key(|(_, known)| rank(known));
            let Some(oldest) = oldest.map(|(domain, _)| domain.clone()) else {
                return;
            };
            self.known.remove(&oldest);
        }
        self.known.insert(domain.to_owned(), known);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn finding(world: World) -> Finding {
        Finding {
            world,
            because: "a record".to_owned(),
            lifetime: at(60),
        }
    }

    /// Nobody in particular asks.
    fn nobody<'a>() -> impl Iterator<Item = &'a [Asker]> {
        std::iter::empty()
    }

    #[test]
    fn a_finding_counts_for_its_lifetime() {
        let mut worlds = Worlds::new(9);
        worlds.found("a", finding(World::Sip), at(10));
        assert_eq!(worlds.get("a", at(69)), Some(World::Sip));
        assert_eq!(worlds.get("a", at(70)), None);
        assert_eq!(worlds.get("b", at(10)), None);
    }

    #[test]
    fn what_a_domain_proves_counts_more_than_dns_while_it_is_heard_of() {
        let mut worlds = Worlds::new(9);
        worlds.found("a", finding(World::Both), at(0));
        worlds.proved("a", at(10));
        worlds.found("a", finding(World::Both), at(20));
        worlds.heard("a", at(3000));
        assert_eq!(worlds.get("a", at(6599)), Some(World::Xmpp));
        assert_eq!(worlds.get("a", at(6600)), None);
        worlds.found("a", finding(World::Both), at(6600));
        assert_eq!(worlds.get("a", at(6601)), Some(World::Both));
        worlds.heard("a", at(6602));
        assert_eq!(worlds.get("a", at(6660)), None, "DNS is not proof");
    }

    #[test]
    fn who_has_proved_itself_is_not_pushed_out_by_those_that_are_asked_about() {
        let mut worlds = Worlds::new(2);
        worlds.proved("a", at(0));
        for number in 1..10 {
            worlds.found(&number.to_string(), finding(World::Both), at(number));
        }
        assert_eq!(worlds.get("a", at(10)), Some(World::Xmpp));
        assert_eq!(worlds.status(at(10)).len(), 2);
        worlds.found("b", finding(World::Both), at(4000));
        assert_eq!(worlds.get("a", at(4000)), None, "its time is over");
    }

    #[test]
    fn what_is_served_stays_until_its_records_are_over_and_it_is_forgotten() {
        let mut worlds = Worlds::new(2);
        assert_eq!(worlds.serve("a", nobody()), None, "nothing is known of it");
        worlds.found("a", finding(World::Sip), at(0));
        assert_eq!(worlds.next_overdue(), None);
        assert_eq!(worlds.serve("a", nobody()), Some(at(60)));
        assert_eq!(worlds.next_overdue(), Some(at(70)));
        assert!(worlds.overdue(at(69)).is_empty());
        assert_eq!(worlds.overdue(at(70)), ["a"]);
        // Records that are asked for again hold it for longer.
        worlds.found("a", finding(World::Sip), at(71));
        assert!(worlds.overdue(at(71)).is_empty());
        assert_eq!(worlds.overdue(at(141)), ["a"]);
        // Whatever DNS says then, it is served until it is forgotten, and nobody pushes it out.
        worlds.found("a", finding(World::Neither), at(141));
        for number in 0..9 {
            worlds.found(&number.to_string(), finding(World::Sip), at(142));
        }
        assert_eq!(worlds.get("a", at(142)), Some(World::Neither));
        assert_eq!(worlds.serve("8", nobody()), Some(at(202)));
        worlds.found("b", finding(World::Sip), at(142));
        assert_eq!(worlds.get("b", at(142)), None, "no room");
        assert_eq!(worlds.serve("b", nobody()), None);
        worlds.forget("a");
        worlds.found("b", finding(World::Sip), at(142));
        assert_eq!(worlds.get("b", at(142)), Some(World::Sip));
    }

    #[test]
    fn one_asker_leaves_places_for_others() {
        let mut worlds = Worlds::new(8);
        let from = |address: [u8; 4], domain: &str| {
            let domain = Asker::Domain(domain.to_owned());
            vec![Asker::at(address.into()), domain]
        };
        let mut serve = |number: u32, askers: &[Vec<Asker>]| {
            let domain = format!("{number}.test");
            worlds.found(&domain, finding(World::Sip), at(0));
            let asking = askers.iter().map(Vec::as_slice);
            worlds.serve(&domain, asking).is_some()
        };
        let first = from([192, 0, 2, 1], "a.test");
        // Four, and a fifth while there are as many left.
        for number in 0..5 {
            assert!(serve(number, std::slice::from_ref(&first)));
        }
        assert!(!serve(5, &[from([192, 0, 2, 1], "b.test")]), "the address");
        assert!(!serve(5, &[from([192, 0, 2, 2], "a.test")]), "the domain");
        assert!(serve(4, std::slice::from_ref(&first)), "it has its place");
        // Whoever else asks for it gets it, whoever asked before.
        let second = from([192, 0, 2, 2], "b.test");
        assert!(serve(5, &[first.clone(), second.clone()]));
        assert!(serve(6, std::slice::from_ref(&second)));
        assert!(!serve(7, &[second]), "half of what was left");
        worlds.forget("0.test");
        worlds.forget("1.test");
        worlds.forget("2.test");
        let mut serve = |domain: &str| {
            worlds.found(domain, finding(World::Sip), at(0));
            worlds.serve(domain, [first.as_slice()].into_iter())
        };
        assert_eq!(serve("8.test"), Some(at(60)), "places have come back");
    }

    #[test]
    fn a_served_domain_that_shows_itself_on_xmpp_is_let_go() {
        let mut worlds = Worlds::new(2);
        worlds.found("a", finding(World::Sip), at(0));
        worlds.serve("a", nobody());
        worlds.proved("a", at(5));
        worlds.heard("a", at(14));
        assert_eq!(worlds.get("a", at(14)), Some(World::Xmpp));
        assert_eq!(worlds.overdue(at(15)), ["a"]);
    }

    #[test]
    fn what_the_last_run_has_left_is_asked_about_soon() {
        let mut worlds = Worlds::new(1);
        worlds.restore("a", at(5));
        worlds.restore("b", at(5));
        assert_eq!(worlds.get("a", at(5)), None);
        assert_eq!(worlds.overdue(at(15)), ["a"]);
        assert_eq!(worlds.status(at(5)).len(), 1);
    }

    #[test]
    fn the_least_recently_used_makes_room() {
        let mut worlds = Worlds::new(2);
        worlds.found("a", finding(World::Xmpp), at(0));
        worlds.found("b", finding(World::Xmpp), at(1));
        worlds.get("a", at(2));
        worlds.found("c", finding(World::Sip), at(3));
        let names: Vec<_> = worlds
            .status(at(5))
            .into_iter()
            .map(|shown| (shown.domain, shown.age_seconds, shown.refused))
            .collect();
        assert_eq!(
            names,
            [("a".to_owned(), 5, false), ("c".to_owned(), 2, true)]
        );
    }
}
