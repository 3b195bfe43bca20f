//! Where sessions are kept and found.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::{Pair, Session, SessionId};
use crate::msrp::endpoint::Channel;
use crate::transaction::ServerId;

/// All sessions, by name, dialog, pair and waiting transaction.
#[derive(Debug, Default)]
pub(super) struct Book {
    by_id: BTreeMap<SessionId, Session>,
    by_dialog: BTreeMap<(String, String), SessionId>,
    /// The newest last.
    by_pair: BTreeMap<Pair, Vec<SessionId>>,
    by_server: BTreeMap<ServerId, SessionId>,
    by_channel: BTreeMap<Channel, SessionId>,
    /// How many there are with users of a SIP domain.
    by_domain: BTreeMap<String, usize>,
    /// Call-IDs of ours, so that none names a second dialog.
    spent: Recent<String>,
    /// Call-ID and tag of dialogs that answers of no use to us have set up.
    strays: Recent<(String, String)>,
    last: u64,
}

/// The latest of many keys.
#[derive(Debug)]
struct Recent<K> {
    known: BTreeSet<K>,
    order: VecDeque<K>,
}

impl<K> Default for Recent<K> {
    fn default() -> Self {
        Self {
            known: BTreeSet::new(),
            order: VecDeque::new(),
        }
    }
}

impl<K: Ord + Clone> Recent<K> {
    /// Whether the key is a new one; so many are remembered.
    fn insert(&mut self, key: K, limit: usize) -> bool {
        if !self.known.insert(key.clone()) {
            return false;
        }
        self.order.push_back(key);
        if self.order.len() > limit
            && let Some(old) = self.order.pop_front()
        {
            self.known.remove(&old);
        }
        true
    }
}

impl Book {
    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Nothing is known of any session.
    pub(super) fn is_empty(&self) -> bool {
        self.by_id.is_empty()
            && self.by_dialog.is_empty()
            && self.by_pair.is_empty()
            && self.by_server.is_empty()
            && self.by_channel.is_empty()
            && self.by_domain.is_empty()
    }

    /// How many sessions have a message under way.
    pub(super) fn under_way(&self) -> usize {
        let sessions = self.by_id.values();
        sessions.filter(|session| session.sending.is_some()).count()
    }

    /// How many sessions there are with users of a SIP domain, by its canonical name.
    pub(super) fn of_domain(&self, domain: &str) -> usize {
        self.by_domain.get(domain).copied().unwrap_or_default()
    }

    /// The SIP domains that there are sessions with.
    pub(super) fn domains(&self) -> impl Iterator<Item = &str> {
        self.by_domain.keys().map(String::as_str)
    }

    pub(super) fn insert(&mut self, session: Session) -> SessionId {
        self.last += 1;
        let id = SessionId(self.last);
        let dialog = (session.call_id.clone(), session.local_tag.clone());
        self.by_dialog.insert(dialog, id);
        self.by_pair
            .entry(session.pair.clone())
            .or_default()
            .push(id);
        let domain = session.pair.1.host.clone();
        *self.by_domain.entry(domain).or_default() += 1;
        self.by_id.insert(id, session);
        id
    }

    pub(super) fn get(&self, id: SessionId) -> Option<&Session> {
        self.by_id.get(&id)
    }

    pub(super) fn get_mut(&mut self, id: SessionId) -> Option<&mut Session> {
        self.by_id.get_mut(&id)
    }

    pub(super) fn find(&self, call_id: &str, local_tag: &str) -> Option<SessionId> {
        let key = (call_id.to_owned(), local_tag.to_owned());
        self.by_dialog.get(&key).copied()
    }

    /// The sessions of two users, the newest last.
    pub(super) fn of_pair(&self, pair: &Pair) -> impl Iterator<Item = (SessionId, &Session)> {
        let ids = self.by_pair.get(pair).into_iter().flatten();
        ids.filter_map(|id| Some((*id, self.by_id.get(id)?)))
    }

    pub(super) fn all(&self) -> Vec<SessionId> {
        self.by_id.keys().copied().collect()
    }

    /// Ties a transaction of the peer's to a session.
    pub(super) fn await_server(&mut self, server: ServerId, id: SessionId) {
        if let Some(session) = self.by_id.get_mut(&id) {
            session.server = Some(server);
            self.by_server.insert(server, id);
        }
    }

    /// The session that a transaction belongs to, which is over now.
    pub(super) fn take_server(&mut self, server: ServerId) -> Option<SessionId> {
        self.by_server.remove(&server)
    }

    /// The session that a transaction belongs to.
    pub(super) fn by_server(&self, server: ServerId) -> Option<SessionId> {
        self.by_server.get(&server).copied()
    }

    /// Ties the MSRP session that a session has begun to it.
    pub(super) fn note_channel(&mut self, id: SessionId) {
        let session = self.by_id.get(&id);
        if let Some(channel) = session.and_then(|session| session.medium.line()?.channel) {
            self.by_channel.insert(channel, id);
        }
    }

    /// The session of an MSRP session.
    pub(super) fn by_channel(&self, channel: Channel) -> Option<SessionId> {
        self.by_channel.get(&channel).copied()
    }

    /// Unties the MSRP session of a session, which is over.
    pub(super) fn take_channel(&mut self, id: SessionId) -> Option<Channel> {
        let line = self.by_id.get_mut(&id)?.medium.line_mut()?;
        line.up = false;
        let channel = line.channel.take()?;
        self.by_channel.remove(&channel);
        Some(channel)
    }

    pub(super) fn remove(&mut self, id: SessionId) -> Option<Session> {
        let session = self.by_id.remove(&id)?;
        let dialog = (session.call_id.clone(), session.local_tag.clone());
        self.by_dialog.remove(&dialog);
        if let Some(ids) = self.by_pair.get_mut(&session.pair) {
            ids.retain(|known| *known != id);
            if ids.is_empty() {
                self.by_pair.remove(&session.pair);
            }
        }
        if let Some(server) = session.server {
            self.by_server.remove(&server);
        }
        if let Some(count) = self.by_domain.get_mut(&session.pair.1.host) {
            *count -= 1;
            if *count == 0 {
                self.by_domain.remove(&session.pair.1.host);
            }
        }
        Some(session)
    }

    /// Takes a Call-ID that no earlier dialog of ours had; of old ones so many are remembered.
    pub(super) fn spend(&mut self, call_id: &str, limit: usize) -> bool {
        self.spent.insert(call_id.to_owned(), limit)
    }

    /// Whether a dialog that is of no use is seen for the first time.
    pub(super) fn is_new_stray(&mut self, call_id: &str, tag: &str, limit: usize) -> bool {
        let key = (call_id.to_owned(), tag.to_owned());
        self.strays.insert(key, limit)
    }
}
