//! How much one domain, and one address, may ask for (token buckets).

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

/// A bucket holds this many seconds' worth.
const BURST: u32 = 4;
/// Addresses that are counted apart at one time.
const MAX_ADDRESSES: usize = 10_000;

/// The rates of one kind of request.
#[derive(Debug, Default)]
pub(super) struct Rates {
    /// The domains are those of the settings, and those that were found ([`Rates::forget`]).
    domains: BTreeMap<String, Bucket>,
    addresses: BTreeMap<IpAddr, Bucket>,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    tokens: f64,
    filled: Duration,
}

impl Bucket {
    fn full(per_second: u32, now: Duration) -> Self {
        Self {
            tokens: Self::most(per_second),
            filled: now,
        }
    }

    fn most(per_second: u32) -> f64 {
        f64::from(per_second.saturating_mul(BURST))
    }

    fn fill(&mut self, per_second: u32, now: Duration) {
        let passed = now.saturating_sub(self.filled).as_secs_f64();
        let tokens = self.tokens + passed * f64::from(per_second);
        self.tokens = tokens.min(Self::most(per_second));
        self.filled = now;
    }

    fn has_one(&self) -> bool {
        self.tokens >= 1.0
    }
}

impl Rates {
    /// The domain is none of the federated ones any more.
    pub(super) fn forget(&mut self, domain: &str) {
        self.domains.remove(&domain.to_ascii_lowercase());
    }

    /// Whether the domain, and the address that speaks for it, may ask once more now. What comes in a session that is up
    /// counts for its domain alone.
    pub(super) fn allow(
        &mut self,
        domain: &str,
        address: Option<IpAddr>,
        per_second: u32,
        now: Duration,
    ) -> bool {
        if self.addresses.len() >= MAX_ADDRESSES {
            self.forget_full(per_second, now);
        }
        let full = Bucket::full(per_second, now);
        let name = domain.to_ascii_lowercase();
        let domain = self.domains.entry(name).or_insert(full);
        let address = address.map(|address| {
            let address = address.to_canonical();
            self.addresses.entry(address).or_insert(full)
        });
        let mut buckets: Vec<&mut Bucket> = std::iter::once(domain).chain(address).collect();
        for bucket in &mut buckets {
            bucket.fill(per_second, now);
        }
        let allowed = buckets.iter().all(|bucket| bucket.has_one());
        if allowed {
            for bucket in buckets {
                bucket.tokens -= 1.0;
            }
        }
        allowed
    }

    /// Forgets the addresses that have asked for little: all of them, if need be.
    fn forget_full(&mut self, per_second: u32, now: Duration) {
        self.addresses.retain(|_, bucket| {
            bucket.fill(per_second, now);
            bucket.tokens < Bucket::most(per_second)
        });
        if self.addresses.len() >= MAX_ADDRESSES {
            self.addresses.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: fn(u64) -> Duration = Duration::from_secs;

    fn passed(rates: &mut Rates, name: &str, address: &str, now: u64) -> usize {
        let address = address.parse().unwrap();
        let allowed = |_: &u32| rates.allow(name, Some(address), 10, AT(now));
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
    fn addresses_are_bounded() {
        let mut rates = Rates::default();
        for number in 0..25_000_u32 {
            let address = IpAddr::V4(number.into());
            rates.allow(&format!("{number}.example"), Some(address), 10, AT(0));
        }
        assert!(rates.addresses.len() <= MAX_ADDRESSES);
    }
}
