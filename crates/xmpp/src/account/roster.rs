//! The roster as the server keeps it (RFC 6121 §2), as far as it says who sees whom.

use std::collections::BTreeMap;

use minidom::Element;
use stox_core::address::Jid;
use xmpp_parsers::ns;

/// Contacts that are kept at most.
const MAX_CONTACTS: usize = 10_000;

/// How a contact and the account see each other (RFC 6121 §2.1.2.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Subscription {
    /// We may see the contact.
    pub(super) to: bool,
    /// The contact may see us.
    pub(super) from: bool,
    /// We have asked, and not been answered.
    pub(super) asked: bool,
}

#[derive(Debug, Default)]
pub(super) struct Roster {
    contacts: BTreeMap<Jid, Subscription>,
}

impl Roster {
    /// From the answer to our question.
    pub(super) fn read(query: Option<&Element>) -> Self {
        let items = query
            .into_iter()
            .flat_map(Element::children)
            .filter_map(item);
        let contacts = items.filter_map(|(contact, entry)| Some((contact, entry?)));
        Self {
            contacts: contacts.take(MAX_CONTACTS).collect(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.contacts.len()
    }

    /// Nothing, for whoever is not in it.
    pub(super) fn get(&self, contact: &Jid) -> Subscription {
        self.contacts.get(contact).copied().unwrap_or_default()
    }

    /// As the server says. `None`: the contact was removed.
    pub(super) fn set(&mut self, contact: &Jid, entry: Option<Subscription>) {
        match entry {
            Some(entry) => {
                if self.contacts.contains_key(contact) || self.contacts.len() < MAX_CONTACTS {
                    self.contacts.insert(contact.clone(), entry);
                }
            }
            None => {
                self.contacts.remove(contact);
            }
        }
    }

    /// As a stanza says ahead of the server's own word.
    pub(super) fn note(&mut self, contact: &Jid, change: impl FnOnce(&mut Subscription)) {
        let mut entry = self.get(contact);
        change(&mut entry);
        self.set(contact, Some(entry));
    }

    /// Contacts that see us and never show themselves to us.
    pub(super) fn watchers_only(&self) -> impl Iterator<Item = &Jid> {
        let entries = self.contacts.iter();
        entries
            .filter(|(_, entry)| entry.from && !entry.to)
            .map(|(contact, _)| contact)
    }
}

/// The contact of an item, bare and canonical, and its entry; none where it was removed.
pub(super) fn item(item: &Element) -> Option<(Jid, Option<Subscription>)> {
    if !item.is("item", ns::ROSTER) {
        return None;
    }
    let contact = Jid::parse(item.attr("jid")?).ok()?.bare().canonical();
    let (to, from) = match item.attr("subscription") {
        Some("remove") => return Some((contact, None)),
        Some("both") => (true, true),
        Some("to") => (true, false),
        Some("from") => (false, true),
        _ => (false, false),
    };
    let asked = item.attr("ask") == Some("subscribe");
    Some((contact, Some(Subscription { to, from, asked })))
}
