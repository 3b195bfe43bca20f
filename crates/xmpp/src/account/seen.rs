//! What contacts show, for whoever asks: a server tells it once (RFC 6121 §4.2), and a client cannot ask again.

use std::collections::BTreeMap;

use minidom::Element;
use stox_core::address::Jid;

/// Resources of one contact that are kept at most.
const MAX_RESOURCES: usize = 32;

/// The last presence of each resource that is available; none for a contact who is known to be away. Contacts are bounded
/// by the roster.
#[derive(Debug, Default)]
pub(super) struct Seen {
    contacts: BTreeMap<Jid, BTreeMap<Option<String>, Element>>,
}

impl Seen {
    pub(super) fn available(&mut self, contact: &Jid, from: &Jid, element: &Element) {
        let resources = self.contacts.entry(contact.clone()).or_default();
        if resources.contains_key(&from.resource) || resources.len() < MAX_RESOURCES {
            resources.insert(from.resource.clone(), element.clone());
        }
    }

    /// `true`: the last resource of the contact has left.
    pub(super) fn unavailable(&mut self, contact: &Jid, from: &Jid) -> bool {
        let resources = self.contacts.entry(contact.clone()).or_default();
        let was_there = !resources.is_empty();
        match from.resource {
            Some(_) => _ = resources.remove(&from.resource),
            None => resources.clear(),
        }
        was_there && resources.is_empty()
    }

    pub(super) fn forget(&mut self, contact: &Jid) {
        self.contacts.remove(contact);
    }

    /// The presence of all resources of a contact. `None`: the server has not told yet.
    pub(super) fn of(&self, contact: &Jid) -> Option<Vec<Element>> {
        let resources = self.contacts.get(contact)?;
        Some(resources.values().cloned().collect())
    }
}
