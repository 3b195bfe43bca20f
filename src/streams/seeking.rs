//! SIP domains that no rule names and that XMPP servers ask for: who may have DNS asked, and who waits for its answer.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use stox_xmpp::dialback::Trouble;
use tokio::sync::oneshot;

use crate::net::discovery::World;
use crate::net::public_address::network_of_host;

/// The time that look-ups are counted over.
const MINUTE: Duration = Duration::from_secs(60);
/// Domains that DNS is asked about in that time.
const IN_ALL: usize = 240;
/// The same for one asker.
const OF_ONE: usize = 30;
/// The same for what is served already.
const OF_OURS: usize = 120;
/// Whoever asks about one domain at one time.
const MAX_WAITING: usize = 256;

/// Where a question about a domain comes from. Each of these is counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asker {
    /// An address; of IPv6 its network.
    Address(IpAddr),
    /// A domain that has proved itself.
    Domain(String),
    /// We ourselves, about what is served already.
    Ourselves,
}

impl Asker {
    const fn limit(&self) -> usize {
        match self {
            Self::Address(_) | Self::Domain(_) => OF_ONE,
            Self::Ourselves => OF_OURS,
        }
    }

    /// Whoever is at that address.
    #[must_use]
    pub fn at(address: IpAddr) -> Self {
        Self::Address(network_of_host(address))
    }
}

/// Somebody wants to know whether we speak for a domain.
#[derive(Debug)]
pub struct Wanted {
    /// The domain, canonical.
    pub domain: String,
    /// Who wants it.
    pub askers: Vec<Asker>,
    /// Whom to tell: until when we do, in monotonic time, or why not.
    pub answer: oneshot::Sender<Result<Duration, Trouble>>,
}

/// A domain whose world is known, and who waits for that.
#[derive(Debug)]
pub struct Decided {
    /// The domain, canonical.
    pub domain: String,
    /// Its world.
    pub world: World,
    /// DNS has answered just now.
    pub(super) is_fresh: bool,
    waiting: Vec<Wanted>,
}

impl Decided {
    /// The proved domain that asked first.
    pub(super) fn asked_by(&self) -> &str {
        let mut domains = self.asking().flatten().filter_map(|asker| match asker {
            Asker::Domain(domain) => Some(domain.as_str()),
            Asker::Address(_) | Asker::Ourselves => None,
        });
        domains.next().unwrap_or("nobody any more")
    }

    /// Everybody who asked, each with where from.
    pub(super) fn asking(&self) -> impl Iterator<Item = &[Asker]> {
        self.waiting.iter().map(|wanted| wanted.askers.as_slice())
    }

    /// Tells everybody who waits: until when the domain is served, or `None` where there is no room for it.
    pub fn tell(self, served: Option<Duration>) {
        let answer = match (self.world, served) {
            (_, Some(until)) => Ok(until),
            (World::Sip, None) => Err(Trouble::Overloaded),
            (World::Unknown, None) => Err(Trouble::Timeout),
            (World::Xmpp | World::Both | World::Neither, None) => Err(Trouble::NotServed),
        };
        for wanted in self.waiting {
            // Whoever asked may have gone.
            _ = wanted.answer.send(answer);
        }
    }
}

/// What is being asked, and what has been found.
#[derive(Debug, Default)]
pub(super) struct Seeking {
    waiting: BTreeMap<String, Vec<Wanted>>,
    decided: VecDeque<Decided>,
    budget: Budget,
}

impl Seeking {
    /// Takes a question. `known`: the domain's world, while that counts. `true`: DNS is to be asked, and what it says to be
    /// given to [`Self::found`].
    pub(super) fn want(&mut self, wanted: Wanted, known: Option<World>, now: Duration) -> bool {
        let domain = wanted.domain.clone();
        if let Some(world) = known {
            let waiting = vec![wanted];
            self.decided.push_back(Decided {
                domain,
                world,
                is_fresh: false,
                waiting,
            });
            return false;
        }
        if let Some(waiting) = self.waiting.get_mut(&domain) {
            if waiting.len() < MAX_WAITING {
                waiting.push(wanted);
            } else {
                _ = wanted.answer.send(Err(Trouble::Overloaded));
            }
            return false;
        }
        if !self.budget.take(&wanted.askers, now) {
            tracing::debug!(
                domain,
                "too many domains are asked about; this one is not, for now"
            );
            _ = wanted.answer.send(Err(Trouble::Overloaded));
            return false;
        }
        self.waiting.insert(domain, vec![wanted]);
        true
    }

    /// The world of a domain that is served no longer counts. `true` as for [`Self::want`].
    pub(super) fn again(&mut self, domain: &str, now: Duration) -> bool {
        if self.waiting.contains_key(domain) {
            return false;
        }
        let allowed = self.budget.take(&[Asker::Ourselves], now);
        if allowed {
            self.waiting.insert(domain.to_owned(), Vec::new());
        }
        allowed
    }

    /// A domain's world is known now.
    pub(super) fn found(&mut self, domain: &str, world: World) {
        if let Some(waiting) = self.waiting.remove(domain) {
            let domain = domain.to_owned();
            self.decided.push_back(Decided {
                domain,
                world,
                is_fresh: true,
                waiting,
            });
        }
    }

    pub(super) fn poll_decided(&mut self) -> Option<Decided> {
        self.decided.pop_front()
    }
}

/// The look-ups of the last minute.
#[derive(Debug, Default)]
struct Budget {
    taken: VecDeque<(Duration, Vec<Asker>)>,
}

impl Budget {
    /// Whether all of them may ask once more.
    fn take(&mut self, askers: &[Asker], now: Duration) -> bool {
        let is_over = |(at, _): &(Duration, Vec<Asker>)| at.saturating_add(MINUTE) <= now;
        while self.taken.front().is_some_and(is_over) {
            self.taken.pop_front();
        }
        let of = |asker: &Asker| {
            let theirs = self.taken.iter();
            let theirs = theirs.filter(|(_, askers)| askers.contains(asker));
            theirs.count()
        };
        let allowed =
            self.taken.len() < IN_ALL && askers.iter().all(|asker| of(asker) < asker.limit());
        if allowed {
            self.taken.push_back((now, askers.to_vec()));
        }
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    type Answer = oneshot::Receiver<Result<Duration, Trouble>>;

    fn wanted(domain: &str, asker: &str) -> (Wanted, Answer) {
        let (answer, told) = oneshot::channel();
        let wanted = Wanted {
            domain: domain.to_owned(),
            askers: vec![Asker::Domain(asker.to_owned())],
            answer,
        };
        (wanted, told)
    }

    #[test]
    fn dns_is_asked_once_for_all_who_wait() {
        let mut seeking = Seeking::default();
        let (first, mut first_told) = wanted("v.test", "a");
        let (second, mut second_told) = wanted("v.test", "b");
        assert!(seeking.want(first, None, at(0)));
        assert!(!seeking.want(second, None, at(0)));
        assert!(!seeking.again("v.test", at(0)));
        seeking.found("other.test", World::Sip);
        assert!(seeking.poll_decided().is_none());
        seeking.found("v.test", World::Sip);
        let decided = seeking.poll_decided().unwrap();
        assert_eq!(decided.world, World::Sip);
        decided.tell(Some(at(60)));
        assert_eq!(first_told.try_recv(), Ok(Ok(at(60))));
        assert_eq!(second_told.try_recv(), Ok(Ok(at(60))));
        assert!(seeking.poll_decided().is_none());
    }

    #[test]
    fn each_world_has_its_answer() {
        let rows = [
            (World::Sip, Some(at(9)), Ok(at(9))),
            (World::Sip, None, Err(Trouble::Overloaded)),
            (World::Xmpp, None, Err(Trouble::NotServed)),
            (World::Both, None, Err(Trouble::NotServed)),
            (World::Neither, None, Err(Trouble::NotServed)),
            (World::Unknown, None, Err(Trouble::Timeout)),
        ];
        for (world, served, expected) in rows {
            let mut seeking = Seeking::default();
            let (question, mut told) = wanted("v.test", "a");
            assert!(!seeking.want(question, Some(world), at(0)), "it is known");
            seeking.poll_decided().unwrap().tell(served);
            assert_eq!(told.try_recv(), Ok(expected), "{world:?}");
        }
    }

    #[test]
    fn one_asker_has_thirty_look_ups_a_minute() {
        let mut budget = Budget::default();
        let address = |octets: [u8; 4]| Asker::at(octets.into());
        let askers = |domain: &str, last: u8| {
            let domain = Asker::Domain(domain.to_owned());
            vec![address([192, 0, 2, last]), domain]
        };
        for second in 0..30 {
            assert!(budget.take(&askers("a.test", 1), at(second)));
        }
        assert!(!budget.take(&askers("a.test", 2), at(30)), "the domain");
        assert!(!budget.take(&askers("b.test", 1), at(30)), "the address");
        assert!(budget.take(&askers("b.test", 2), at(30)));
        assert!(!budget.take(&askers("a.test", 1), at(59)));
        assert!(budget.take(&askers("a.test", 1), at(60)));
        assert!(!budget.take(&askers("a.test", 1), at(60)));
        assert!(budget.take(&askers("a.test", 1), at(61)));
    }

    #[test]
    fn all_together_have_240_a_minute_and_no_memory_beyond() {
        let mut seeking = Seeking::default();
        let mut refused = 0;
        for number in 0_u64..1000 {
            let (question, mut told) = wanted(&format!("{number}.test"), &number.to_string());
            if !seeking.want(question, None, at(number / 20)) {
                assert_eq!(told.try_recv(), Ok(Err(Trouble::Overloaded)));
                refused += 1;
            }
        }
        assert_eq!(refused, 760);
        assert_eq!(seeking.waiting.len(), IN_ALL);
        assert_eq!(seeking.budget.taken.len(), IN_ALL);
        assert!(!seeking.again("v.test", at(59)));
        assert!(seeking.again("v.test", at(60)));
    }

    #[test]
    fn what_is_served_leaves_half_of_it_to_others() {
        let mut seeking = Seeking::default();
        let asked = (0..300).filter(|number| seeking.again(&number.to_string(), at(0)));
        assert_eq!(asked.count(), OF_OURS);
        let (question, _told) = wanted("v.test", "a");
        assert!(seeking.want(question, None, at(0)));
    }

    #[test]
    fn an_ipv6_network_is_one_asker() {
        let of = |text: &str| Asker::at(text.parse().unwrap());
        assert_eq!(of("2001:db8::1"), of("2001:db8::2:3"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
    }
}
