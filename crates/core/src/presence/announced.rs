//! From one document per SIP user to one stanza per device: what an XMPP user has been told, and what is news to her.

use std::collections::BTreeMap;

use crate::address::MAX_PART;
use crate::vocab::{Document, PresenceKind, ResourcePresence, Tuple};

use super::status::statuses;
use super::{MAX_RESOURCES, Rules, Shown, state_of_activities};

/// One presence stanza to send: the resource it comes from, the bare JID if none, and its meaning.
pub type Announcement = (Option<String>, PresenceKind);

/// What one XMPP user has been told of one SIP user.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Announced {
    /// Last stanza by resource; the empty name is the bare JID.
    devices: BTreeMap<String, PresenceKind>,
    /// The bare JID has been said to be unavailable, and nothing since.
    offline: bool,
}

impl Announced {
    /// The news in a document, which is the full state: a device that it leaves out is offline (PVAL-32), one that has
    /// not changed is no news (PVAL-33), and no device at all is the user offline (PVAL-34). A tuple that says neither
    /// open nor closed changes nothing, unless it names a sub-state (PVAL-47, PVAL-49).
    pub fn update(&mut self, document: &Document, rules: &Rules) -> Vec<Announcement> {
        if document.tuples.is_empty() {
            // What the bare JID said goes with the rest.
            self.devices.remove("");
            let mut news = self.withdraw();
            news.extend(self.offline());
            return news;
        }
        let mut news = Vec::new();
        let mut devices = BTreeMap::new();
        for tuple in document.tuples.iter().take(MAX_RESOURCES) {
            let device = resource_name(&tuple.id);
            if devices.contains_key(&device) {
                continue;
            }
            let before = self.devices.remove(&device);
            let Some(kind) = meaning(tuple, document, rules).or_else(|| before.clone()) else {
                continue;
            };
            if before.as_ref() != Some(&kind) {
                news.push(announcement(&device, kind.clone()));
            }
            devices.insert(device, kind);
        }
        news.extend(self.withdraw());
        self.devices = devices;
        self.offline &= news.is_empty();
        news
    }

    /// The stanza that says that nothing is known or the user is offline, unless something has been said already.
    pub fn unknown(&mut self) -> Option<Announcement> {
        if self.devices.is_empty() {
            self.offline()
        } else {
            None
        }
    }

    /// Everything again, for somebody who asks: the devices that are available, else the user as unavailable.
    #[must_use]
    pub fn replay(&self) -> Vec<Announcement> {
        let available: Vec<Announcement> = self
            .devices
            .iter()
            .filter(|(_, kind)| is_available(kind))
            .map(|(device, kind)| announcement(device, kind.clone()))
            .collect();
        if available.is_empty() {
            vec![(None, PresenceKind::Unavailable(Vec::new()))]
        } else {
            available
        }
    }

    /// No device has been announced.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.devices.is_empty()
    }

    /// Unavailable for every device that was available. Nothing is announced afterwards.
    pub fn withdraw(&mut self) -> Vec<Announcement> {
        std::mem::take(&mut self.devices)
            .into_iter()
            .filter(|(_, kind)| is_available(kind))
            .map(|(device, _)| announcement(&device, PresenceKind::Unavailable(Vec::new())))
            .collect()
    }

    /// As if nothing had ever been said: the XMPP user was away and has lost it.
    pub fn forget(&mut self) {
        *self = Self::default();
    }

    fn offline(&mut self) -> Option<Announcement> {
        let said = std::mem::replace(&mut self.offline, true);
        (!said).then(|| (None, PresenceKind::Unavailable(Vec::new())))
    }
}

fn announcement(device: &str, kind: PresenceKind) -> Announcement {
    ((!device.is_empty()).then(|| device.to_owned()), kind)
}

fn is_available(kind: &PresenceKind) -> bool {
    matches!(kind, PresenceKind::Available(_))
}

/// What a tuple says as a stanza; `None` when it says nothing. A sub-state said outright goes first, then a state, then
/// the activities (PVAL-38).
fn meaning(tuple: &Tuple, document: &Document, rules: &Rules) -> Option<PresenceKind> {
    let activity = match tuple.state {
        None => state_of_activities(tuple, document),
        Some(_) => None,
    };
    let by_state = tuple.state.or(activity).map(|state| rules.shown(state));
    let show = match (tuple.show, by_state) {
        (Some(show), _) | (None, Some(Shown::Available(Some(show)))) => Some(show),
        (None, _) => None,
    };
    let unavailable = match tuple.state.and(by_state) {
        Some(shown) => shown == Shown::Unavailable,
        None if tuple.open.is_none() && show.is_none() => return None,
        None => tuple.open == Some(false),
    };
    // Why somebody is away matters no more once she has left.
    let activity = activity.filter(|_| !unavailable);
    let statuses = statuses(tuple, document, activity, rules);
    if unavailable {
        return Some(PresenceKind::Unavailable(statuses));
    }
    Some(PresenceKind::Available(ResourcePresence {
        show,
        statuses,
        priority: tuple.priority,
        lang: None,
        stamp: None,
        idle_since: tuple.idle_since,
    }))
}

/// The tuple id as a legal resource.
fn resource_name(id: &str) -> String {
    let mut name = String::new();
    for c in id.chars().filter(|c| !c.is_control()) {
        if name.len() + c.len_utf8() > MAX_PART {
            break;
        }
        name.push(c);
    }
    name
}
