//! How much one domain, and one address, may ask for (token buckets).

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

/// How many seconds' worth may come at once, where nothing else is said.
const BURST: u32 = 4;
/// Domains, and addresses, that are counted apart at one time.
const MAX_COUNTED: usize = 10_000;

/// How often, and how many at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// In the long run.
    pub per_second: u32,
    /// After a while of silence.
    pub at_once: u32,
}

impl Rate {
    /// Four times as many at once as in a second.
    #[must_use]
    pub const fn per_second(per_second: u32) -> Self {
        Self {
            per_second,
            at_once: per_second.saturating_mul(BURST),
        }
    }
}

/// The rates of one kind of request.
#[derive(Debug, Default)]
pub struct Rates {
    domains: BTreeMap<String, Bucket>,
    addresses: BTreeMap<IpAddr, Bucket>,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    tokens: f64,
    filled: Duration,
}

impl Bucket {
    fn full(rate: Rate, now: Duration) -> Self {
        Self {
            tokens: f64::from(rate.at_once),
            filled: now,
        }
    }

    fn fill(&mut self, rate: Rate, now: Duration) {
        let passed = now.saturating_sub(self.filled).as_secs_f64();
        let tokens = self.tokens + passed * f64::from(rate.per_second);
        self.tokens = tokens.min(f64::from(rate.at_once));
        self.filled = now;
    }

    fn has_one(&self) -> bool {
        self.tokens >= 1.0
    }
}

impl Rates {
    /// The domain is none of the federated ones any more.
    pub fn forget(&mut self, domain: &str) {
        self.domains.remove(&domain.to_ascii_lowercase());
    }

    /// Whether the domain, and the address that speaks for it, may ask once more at `now`, in monotonic time. Without an
    /// address it counts for its domain alone.
    pub fn allow(
        &mut self,
        domain: &str,
        address: Option<IpAddr>,
        rate: Rate,
        now: Duration,
    ) -> bool {
        make_room(&mut self.domains, rate, now);
        make_room(&mut self.addresses, rate, now);
        let full = Bucket::full(rate, now);
        let name = domain.to_ascii_lowercase();
        let domain = self.domains.entry(name).or_insert(full);
        let address = address.map(|address| {
            let address = address.to_canonical();
            self.addresses.entry(address).or_insert(full)
        });
        let mut buckets: Vec<&mut Bucket> = std::iter::once(domain).chain(address).collect();
        for bucket in &mut buckets {
            bucket.fill(rate, now);
        }
        let allowed = buckets.iter().all(|bucket| bucket.has_one());
        if allowed {
            for bucket in buckets {
                bucket.tokens -= 1.0;
            }
        }
        allowed
    }
}

/// Forgets those that have asked for little: all of them, if need be.
fn make_room<K: Ord>(counted: &mut BTreeMap<K, Bucket>, rate: Rate, now: Duration) {
    if counted.len() < MAX_COUNTED {
        return;
    }
    counted.retain(|_, bucket| {
        bucket.fill(rate, now);
        bucket.tokens < f64::from(rate.at_once)
    });
    if counted.len() >= MAX_COUNTED {
        counted.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: fn(u64) -> Duration = Duration::from_secs;

    fn passed(rates: &mut Rates, name: &str, address: &str, now: u64) -> usize {
        let address = address.parse().unwrap();
        let allowed = |_: &u32| rates.allow(name, Some(address), Rate::per_second(10), AT(now));
        (0..100).filter(allowed).count()
    }

    #[test]
    fn a_burst_passes_then_the_rate() {
        let mut rates = Rates::default();
        assert_eq!(passed(&mut rates, "a.example", "192.0.2.1", 0), 40);
        assert_eq!(passed(&mut rates, "A.example", "192.0.2.1", 1), 10);
        assert_eq!(passed(&mut rates, "b.example", "192.0.2.2", 1), 40);
        assert_eq!(passed(&mut rates, "a.example", "192.0.2.1", 60), 40);
    }

    #[test]
    fn neither_many_addresses_nor_many_domains_get_more() {
        let mut rates = Rates::default();
        assert_eq!(passed(&mut rates, "a.example", "192.0.2.1", 0), 40);
        assert_eq!(passed(&mut rates, "a.example", "192.0.2.2", 0), 0);
        assert_eq!(passed(&mut rates, "b.example", "::ffff:192.0.2.1", 0), 0);
        assert_eq!(passed(&mut rates, "b.example", "192.0.2.2", 0), 40);
    }

    #[test]
    fn what_is_counted_is_bounded() {
        let mut rates = Rates::default();
        for number in 0..25_000_u32 {
            let address = IpAddr::V4(number.into());
            let rate = Rate::per_second(10);
            rates.allow(&format!("{number}.example"), Some(address), rate, AT(0));
        }
        assert!(rates.addresses.len() <= MAX_COUNTED);
        assert!(rates.domains.len() <= MAX_COUNTED);
    }
}
