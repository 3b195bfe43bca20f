//! How many connections may be open, in all and from one address, or from the network of 64 bits that one host has in IPv6. The
//! nearer they are to all, the fewer may be from one, so that a few hosts keep nobody out.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::net::public_address::network_of_host;

/// Counts open connections, such as those of one port.
#[derive(Debug)]
pub struct Admission {
    total: usize,
    per_address: usize,
    open: Mutex<Open>,
    refused: AtomicU64,
}

#[derive(Debug, Default)]
struct Open {
    total: usize,
    /// By [`network_of_host`].
    by_address: HashMap<IpAddr, usize>,
}

/// One open connection; counts it out when dropped.
#[derive(Debug)]
pub struct Admitted {
    admission: Arc<Admission>,
    address: IpAddr,
}

impl Admission {
    /// With these limits.
    #[must_use]
    pub fn new(total: usize, per_address: usize) -> Arc<Self> {
        Arc::new(Self {
            total,
            per_address,
            open: Mutex::default(),
            refused: AtomicU64::new(0),
        })
    }

    /// With the same limits, for another port.
    #[must_use]
    pub fn beside(&self) -> Arc<Self> {
        Self::new(self.total, self.per_address)
    }

    /// Counts a connection in, or refuses it: one address may have no more than are free beside.
    pub fn admit(self: &Arc<Self>, address: IpAddr) -> Option<Admitted> {
        let address = network_of_host(address);
        let mut open = self.open.lock();
        let mine = open.by_address.get(&address).copied().unwrap_or(0);
        let free = self.total.saturating_sub(open.total);
        if free == 0 || mine > free || mine >= self.per_address {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        open.total += 1;
        open.by_address.insert(address, mine + 1);
        Some(Admitted {
            admission: self.clone(),
            address,
        })
    }

    /// Connections open now.
    #[must_use]
    pub fn open(&self) -> usize {
        self.open.lock().total
    }

    /// Connections refused since the start.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let mut open = self.admission.open.lock();
        open.total = open.total.saturating_sub(1);
        if let Some(count) = open.by_address.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                open.by_address.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_hold_and_places_come_back() {
        let admission = Admission::new(3, 2);
        let a: IpAddr = "192.0.2.1".parse().unwrap();
        let b: IpAddr = "192.0.2.2".parse().unwrap();
        let first = admission.admit(a).unwrap();
        let _second = admission.admit(a).unwrap();
        assert!(admission.admit(a).is_none(), "two for one address");
        let _third = admission.admit(b).unwrap();
        assert!(admission.admit(b).is_none(), "three in all");
        assert_eq!((admission.open(), admission.refused()), (3, 2));
        drop(first);
        assert!(admission.admit(a).is_some());
    }

    #[test]
    fn a_few_hosts_leave_places_for_newcomers() {
        let admission = Admission::new(100, 40);
        let at = |host: u8| admission.admit(IpAddr::from([192, 0, 2, host]));
        let mut kept = Vec::new();
        for round in 0..40 {
            for host in 0..10 {
                kept.extend(at(host));
            }
            assert!(admission.open() < 100, "round {round}");
        }
        assert!(kept.len() > 85, "{} are used", kept.len());
        assert!(at(0).is_none());
        assert!(at(200).is_some(), "a newcomer");
    }

    #[test]
    fn the_addresses_of_one_host_are_counted_together() {
        let admission = Admission::new(9, 2);
        let at = |text: &str| admission.admit(text.parse().unwrap());
        let first = at("2001:db8::1").unwrap();
        let _second = at("2001:db8::2").unwrap();
        assert!(at("2001:db8:0:0:ffff::3").is_none());
        assert!(at("2001:db8:0:1::1").is_some(), "its neighbour");
        let _third = at("192.0.2.1").unwrap();
        let _fourth = at("::ffff:192.0.2.1").unwrap();
        assert!(at("192.0.2.1").is_none());
        drop(first);
        assert!(at("2001:db8::4").is_some());
    }
}
