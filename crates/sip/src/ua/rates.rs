//! How much one domain may ask for (token buckets).

use std::collections::BTreeMap;
use std::time::Duration;

/// A bucket holds this many seconds' worth.
const BURST: u32 = 4;

/// One rate for each federated domain.
#[derive(Debug, Default)]
pub(super) struct Rates {
    buckets: BTreeMap<String, Bucket>,
}

#[derive(Debug)]
struct Bucket {
    tokens: f64,
    filled: Duration,
}

impl Rates {
    /// Whether the domain may ask once more now. The domains are those of the settings, so that they are few.
    pub(super) fn allow(&mut self, domain: &str, per_second: u32, now: Duration) -> bool {
        let most = f64::from(per_second.saturating_mul(BURST));
        let bucket = self
            .buckets
            .entry(domain.to_ascii_lowercase())
            .or_insert(Bucket {
                tokens: most,
                filled: now,
            });
        let passed = now.saturating_sub(bucket.filled).as_secs_f64();
        bucket.tokens = (bucket.tokens + passed * f64::from(per_second)).min(most);
        bucket.filled = now;
        let allowed = bucket.tokens >= 1.0;
        if allowed {
            bucket.tokens -= 1.0;
        }
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_then_the_rate() {
        let mut rates = Rates::default();
        let at = Duration::from_secs;
        let passed = |rates: &mut Rates, name: &str, now| {
            (0..100).filter(|_| rates.allow(name, 10, now)).count()
        };
        assert_eq!(passed(&mut rates, "a.example", at(0)), 40);
        assert_eq!(passed(&mut rates, "A.example", at(1)), 10);
        assert_eq!(passed(&mut rates, "b.example", at(1)), 40);
        assert_eq!(passed(&mut rates, "a.example", at(60)), 40);
    }
}
