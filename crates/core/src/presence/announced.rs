//! From one document per SIP user to one stanza per device: what an XMPP user has been told, and what is news to her.

use std::collections::BTreeMap;

use crate::address::MAX_PART;
use crate::vocab::{Document, PresenceKind, ResourcePresence, Text, Tuple};

use super::{MAX_RESOURCES, notes_kept, show_of};

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
    pub fn update(&mut self, document: &Document) -> Vec<Announcement> {
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
            let Some(kind) = meaning(tuple, document).or_else(|| before.clone()) else {
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

/// What a tuple says as a stanza; `None` when it says nothing.
fn meaning(tuple: &Tuple, document: &Document) -> Option<PresenceKind> {
    let show = show_of(tuple, document);
    let notes = notes_of(tuple, document);
    match tuple.open {
        Some(false) => Some(PresenceKind::Unavailable(notes)),
        None if show.is_none() => None,
        Some(true) | None => Some(PresenceKind::Available(ResourcePresence {
            show,
            statuses: notes,
            priority: tuple.priority,
            lang: None,
            stamp: None,
            idle_since: tuple.idle_since,
        })),
    }
}

/// The tuple's own notes before the person's (PVAL-40).
fn notes_of(tuple: &Tuple, document: &Document) -> Vec<Text> {
    let own = notes_kept(&tuple.notes);
    if own.is_empty() {
        notes_kept(&document.notes)
    } else {
        own
    }
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
