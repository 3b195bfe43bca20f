//! Warnings about partners: each at most once a minute, with a count of those that were held back. Whoever connects has so many
//! lines a minute, whatever names it claims.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::net::public_address::network_of_host;

/// Time between two equal warnings about one partner.
const PAUSE: Duration = Duration::from_secs(60);
/// Different warnings about one partner in that time.
const DIFFERENT: usize = 3;
/// Partners that are remembered. Who claims a domain chooses its name, so that there may be any number of them.
const PARTNERS: usize = 1_000;

/// Lines that one who connects may cause in that time.
const OF_A_PEER: u32 = 10;

/// Who was warned about what, and when.
#[derive(Debug, Default)]
pub(super) struct Complaints {
    partners: Mutex<HashMap<String, Complaint>>,
    peers: Mutex<HashMap<IpAddr, Lines>>,
}

/// The lines that a peer has caused.
#[derive(Debug)]
struct Lines {
    since: Instant,
    count: u32,
}

#[derive(Debug)]
struct Complaint {
    since: Instant,
    said: Vec<String>,
    held_back: u32,
}

impl Complaints {
    /// Logs a warning about a partner, or counts it where it was said a moment ago.
    pub(super) fn warn(&self, partner: &str, words: &str) {
        match self.admit(partner, words, Instant::now()) {
            Some(0) => tracing::warn!(partner, "XMPP partner: {words}"),
            Some(held_back) => tracing::warn!(
                partner,
                held_back,
                "XMPP partner: {words} (and earlier warnings, held back)"
            ),
            None => tracing::debug!(partner, "XMPP partner: {words}"),
        }
    }

    /// As [`Self::warn`], for what somebody at that address has caused under a name that it may not have.
    pub(super) fn warn_of(&self, peer: IpAddr, partner: &str, words: &str) {
        if self.hears(peer) {
            self.warn(partner, &format!("{words} [stream from {peer}]"));
        } else {
            tracing::debug!(partner, %peer, "XMPP partner: {words}");
        }
    }

    /// Whether one more line may be written because of this peer now.
    pub(super) fn hears(&self, peer: IpAddr) -> bool {
        self.hears_at(peer, Instant::now())
    }

    fn hears_at(&self, peer: IpAddr, now: Instant) -> bool {
        let peer = network_of_host(peer);
        let mut peers = self.peers.lock();
        let is_over = |lines: &Lines| now.duration_since(lines.since) >= PAUSE;
        if peers.len() >= PARTNERS && !peers.contains_key(&peer) {
            peers.retain(|_, lines| !is_over(lines));
            if peers.len() >= PARTNERS {
                return false;
            }
        }
        let fresh = || Lines {
            since: now,
            count: 0,
        };
        let lines = peers.entry(peer).or_insert_with(fresh);
        if is_over(lines) {
            *lines = fresh();
        }
        lines.count = lines.count.saturating_add(1);
        lines.count <= OF_A_PEER
    }

    /// How many warnings were held back before this one; `None` where it is, too.
    fn admit(&self, partner: &str, words: &str, now: Instant) -> Option<u32> {
        let mut complaints = self.partners.lock();
        let is_over = |complaint: &Complaint| now.duration_since(complaint.since) >= PAUSE;
        if complaints.len() >= PARTNERS && !complaints.contains_key(partner) {
            complaints.retain(|_, complaint| !is_over(complaint));
            if complaints.len() >= PARTNERS {
                return None;
            }
        }
        let complaint = complaints
            .entry(partner.to_owned())
            .or_insert_with(|| Complaint {
                since: now,
                said: Vec::new(),
                held_back: 0,
            });
        let mut held_back = 0;
        if is_over(complaint) {
            held_back = std::mem::take(&mut complaint.held_back);
            complaint.since = now;
            complaint.said.clear();
        }
        if complaint.said.len() >= DIFFERENT || complaint.said.iter().any(|said| said == words) {
            complaint.held_back = complaint.held_back.saturating_add(1);
            return None;
        }
        complaint.said.push(words.to_owned());
        Some(held_back)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_is_said_once_a_minute() {
        let complaints = Complaints::default();
        let start = Instant::now();
        let admit = |partner: &str, words: &str, seconds| {
            complaints.admit(partner, words, start + Duration::from_secs(seconds))
        };
        assert_eq!(admit("a.test", "x", 0), Some(0));
        assert_eq!(admit("a.test", "x", 1), None);
        assert_eq!(admit("b.test", "x", 1), Some(0), "another partner");
        assert_eq!(admit("a.test", "y", 2), Some(0), "something else");
        assert_eq!(admit("a.test", "x", 59), None);
        assert_eq!(admit("a.test", "x", 60), Some(2));
        assert_eq!(admit("a.test", "x", 61), None);
        assert_eq!(admit("a.test", "y", 120), Some(1));
    }

    #[test]
    fn a_partner_that_thinks_of_new_words_is_not_heard_for_ever() {
        let complaints = Complaints::default();
        let now = Instant::now();
        let heard = (0..100)
            .filter(|number| {
                complaints
                    .admit("a.test", &number.to_string(), now)
                    .is_some()
            })
            .count();
        assert_eq!(heard, DIFFERENT);
    }

    #[test]
    fn the_memory_is_bounded() {
        let complaints = Complaints::default();
        let start = Instant::now();
        for number in 0..PARTNERS {
            let partner = format!("{number}.test");
            assert_eq!(complaints.admit(&partner, "x", start), Some(0));
        }
        assert_eq!(complaints.admit("one-more.test", "x", start), None);
        assert_eq!(
            complaints.admit("one-more.test", "x", start + PAUSE),
            Some(0)
        );
        assert_eq!(complaints.partners.lock().len(), 1);
    }

    #[test]
    fn a_peer_that_thinks_of_new_names_is_not_heard_for_ever() {
        let complaints = Complaints::default();
        let start = Instant::now();
        let heard = |peers: &dyn Fn(u16) -> String, seconds| {
            let now = start + Duration::from_secs(seconds);
            let of = |number: &u16| complaints.hears_at(peers(*number).parse().unwrap(), now);
            (0..500).filter(of).count()
        };
        let most = usize::try_from(OF_A_PEER).unwrap();
        assert_eq!(heard(&|_| "192.0.2.1".to_owned(), 0), most);
        assert_eq!(heard(&|_| "::ffff:192.0.2.1".to_owned(), 1), 0, "the same");
        assert_eq!(
            heard(&|number| format!("2001:db8::{number:x}"), 1),
            most,
            "one network"
        );
        assert_eq!(heard(&|_| "192.0.2.1".to_owned(), 60), most);
        assert_eq!(
            heard(&|number| format!("2001:db8:2:{number:x}::1"), 60),
            500,
            "others"
        );
        assert_eq!(
            heard(&|number| format!("2001:db8:1:{number:x}::1"), 60),
            498,
            "no more places"
        );
    }
}
