//! The book of contacts: who watches whom, found by pair and by the names of dialogs.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::address::{Jid, Scheme, SipAddress, jid_to_sip, sip_to_jid};
use crate::failure::Local;
use crate::presence::{Announced, Resources};
use crate::subscription::{watch, watched};
use crate::vocab::{Direction, Grant, Pair, PresenceKind, Ref, Trace, XmppOut};

use super::context::Context;

/// An XMPP user and a SIP user, both bare and canonical.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ContactKey {
    pub(super) xmpp: Jid,
    pub(super) sip: SipAddress,
}

/// The two users by their names in either world.
#[derive(Debug, Clone)]
pub(super) struct Names {
    pub(super) key: Arc<ContactKey>,
    /// The SIP user, as JID.
    pub(super) sip_as_jid: Jid,
    /// The XMPP user, as SIP address.
    pub(super) xmpp_as_sip: SipAddress,
}

/// Two users of whom at least one watches the other, or has asked to.
pub(super) struct Contact {
    pub(super) names: Names,
    pub(super) watch: Watch,
    pub(super) watched: Watched,
    /// What the XMPP user shows to the SIP user.
    pub(super) resources: Resources,
    /// The XMPP user has withdrawn her presence: that she is unavailable to the SIP user no longer means offline.
    pub(super) hidden: bool,
}

/// The XMPP user watches the SIP user.
#[derive(Default)]
pub(super) struct Watch {
    pub(super) state: watch::State,
    pub(super) dialog: Option<Ref>,
    pub(super) poll: Option<Poll>,
    pub(super) announced: Announced,
    /// Attempts in a row that failed.
    pub(super) failures: u32,
    pub(super) retry_at: Option<Duration>,
    /// When a lost dialog was last replaced at once.
    pub(super) replaced_at: Option<Duration>,
    /// Id of the last `subscribe`, for an error in reply.
    pub(super) asked_id: Option<String>,
}

/// A one-time question to the SIP side.
pub(super) struct Poll {
    pub(super) reference: Ref,
    pub(super) asker: Jid,
}

/// The SIP user watches the XMPP user.
#[derive(Default)]
pub(super) struct Watched {
    pub(super) state: watched::State,
    pub(super) watchers: BTreeSet<Ref>,
}

/// From the names of dialogs to the pairs that they belong to.
#[derive(Default)]
pub(super) struct Index {
    /// Dialogs and polls in which we subscribe.
    pub(super) subscriptions: BTreeMap<Ref, Arc<ContactKey>>,
    /// Dialogs in which we notify.
    pub(super) watchers: BTreeMap<Ref, Arc<ContactKey>>,
}

#[derive(Default)]
pub(super) struct Book {
    pub(super) contacts: BTreeMap<Arc<ContactKey>, Contact>,
    pub(super) index: Index,
    /// How many contacts each user has.
    xmpp_users: BTreeMap<Jid, usize>,
    sip_users: BTreeMap<SipAddress, usize>,
    /// How many there are of each SIP domain, canonical.
    sip_domains: BTreeMap<String, usize>,
}

impl Names {
    /// From the addresses of a stanza.
    pub(super) fn of_stanza(xmpp: &Jid, sip: &Jid) -> Result<Self, Local> {
        if xmpp.local.is_none() || sip.local.is_none() {
            return Err(Local::NoUser);
        }
        let sip = jid_to_sip(&sip.bare(), Scheme::Sip).map_err(|_| Local::BadAddress)?;
        Self::of(xmpp, &sip)
    }

    /// From the addresses of a SIP request.
    pub(super) fn of_request(sip: &SipAddress, xmpp: &SipAddress) -> Result<Self, Local> {
        let xmpp = sip_to_jid(xmpp).map_err(|_| Local::BadAddress)?;
        if xmpp.local.is_none() || sip.user.is_none() {
            return Err(Local::NoUser);
        }
        Self::of(&xmpp, sip)
    }

    /// From one address of either world.
    pub(super) fn of(xmpp: &Jid, sip: &SipAddress) -> Result<Self, Local> {
        let sip_as_jid = sip_to_jid(&sip.bare()).map_err(|_| Local::BadAddress)?;
        let xmpp = xmpp.bare().canonical();
        let xmpp_as_sip = jid_to_sip(&xmpp, Scheme::Sip).map_err(|_| Local::BadAddress)?;
        Ok(Self {
            key: Arc::new(ContactKey {
                xmpp,
                sip: sip.bare().canonical(),
            }),
            sip_as_jid,
            xmpp_as_sip,
        })
    }

    pub(super) fn pair(&self, direction: Direction) -> Pair {
        Pair {
            direction,
            xmpp: self.key.xmpp.clone(),
            sip: self.key.sip.clone(),
        }
    }
}

impl Contact {
    pub(super) fn new(names: Names) -> Self {
        Self {
            names,
            watch: Watch::default(),
            watched: Watched::default(),
            resources: Resources::default(),
            hidden: false,
        }
    }

    /// Nothing is asked or granted in either direction.
    pub(super) fn is_vacant(&self) -> bool {
        self.watch.state == watch::State::None && self.watched.state == watched::State::None
    }

    /// A presence stanza from the SIP user, bare to bare.
    pub(super) fn say(&self, cx: &mut Context, kind: PresenceKind) {
        self.say_from(cx, None, self.names.key.xmpp.clone(), kind);
    }

    /// A presence stanza from one device of the SIP user.
    pub(super) fn say_from(
        &self,
        cx: &mut Context,
        device: Option<&str>,
        to: Jid,
        kind: PresenceKind,
    ) {
        let from = match device {
            Some(device) => self.names.sip_as_jid.with_resource(device),
            None => self.names.sip_as_jid.clone(),
        };
        let trace = match kind {
            PresenceKind::Subscribe | PresenceKind::Probe => cx.trace(),
            _ => Trace::default(),
        };
        cx.xmpp(XmppOut::Presence {
            from,
            to,
            trace,
            kind,
        });
    }
}

impl Book {
    pub(super) fn has_room(&self, cx: &Context, key: &Arc<ContactKey>) -> bool {
        let each = cx.settings.max_contacts_per_user;
        self.contacts.contains_key(key)
            || (self.contacts.len() < cx.settings.max_contacts
                && self
                    .xmpp_users
                    .get(&key.xmpp)
                    .is_none_or(|count| *count < each)
                && self
                    .sip_users
                    .get(&key.sip)
                    .is_none_or(|count| *count < each))
    }

    /// The contact of these names, made if need be, with the index beside it. [`Book::tidy`] must follow.
    pub(super) fn entry(&mut self, names: Names) -> (&mut Contact, &mut Index) {
        let contact = match self.contacts.entry(Arc::clone(&names.key)) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                count_up(&mut self.xmpp_users, &names.key.xmpp);
                count_up(&mut self.sip_users, &names.key.sip);
                count_up(&mut self.sip_domains, &names.sip_as_jid.domain);
                entry.insert(Contact::new(names))
            }
        };
        (contact, &mut self.index)
    }

    /// The contact of this key, with the index beside it. [`Book::tidy`] must follow.
    pub(super) fn find(&mut self, key: &Arc<ContactKey>) -> Option<(&mut Contact, &mut Index)> {
        let contact = self.contacts.get_mut(key)?;
        Some((contact, &mut self.index))
    }

    /// Strikes a contact out when nothing is asked or granted any more.
    pub(super) fn tidy(&mut self, key: &Arc<ContactKey>) {
        if self.contacts.get(key).is_some_and(Contact::is_vacant)
            && let Some(contact) = self.contacts.remove(key)
        {
            count_down(&mut self.xmpp_users, &key.xmpp);
            count_down(&mut self.sip_users, &key.sip);
            count_down(&mut self.sip_domains, &contact.names.sip_as_jid.domain);
            if let Some(poll) = contact.watch.poll {
                self.index.subscriptions.remove(&poll.reference);
            }
        }
    }

    /// The SIP domains of all contacts, canonical.
    pub(super) fn sip_domains(&self) -> impl Iterator<Item = &str> {
        self.sip_domains.keys().map(String::as_str)
    }

    /// All that the store should hold.
    pub(super) fn authorisations(&self) -> Vec<(Pair, Grant)> {
        let mut found = Vec::new();
        for contact in self.contacts.values() {
            let watch = contact.watch.state;
            let grant = if watch.is_granted() {
                Some(Grant::Granted)
            } else if watch.is_asked() {
                Some(Grant::Asked)
            } else {
                None
            };
            let pair = |direction| contact.names.pair(direction);
            found.extend(grant.map(|grant| (pair(Direction::XmppWatchesSip), grant)));
            let grant = match contact.watched.state {
                watched::State::None => None,
                watched::State::Asked => Some(Grant::Asked),
                watched::State::Granted => Some(Grant::Granted),
            };
            found.extend(grant.map(|grant| (pair(Direction::SipWatchesXmpp), grant)));
        }
        found
    }
}

fn count_up<K: Ord + Clone>(counts: &mut BTreeMap<K, usize>, user: &K) {
    *counts.entry(user.clone()).or_default() += 1;
}

fn count_down<K: Ord>(counts: &mut BTreeMap<K, usize>, user: &K) {
    if let Some(count) = counts.get_mut(user) {
        *count = count.saturating_sub(1);
        if *count == 0 {
            counts.remove(user);
        }
    }
}
