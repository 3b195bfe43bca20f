//! From what each contact is told of the SIP user's devices to the one presence of a client's session.

use std::collections::BTreeMap;

use minidom::Element;
use rxml::Namespace;
use stox_core::address::Jid;
use xmpp_parsers::ns;

use crate::adapt::xml;

/// Which of two devices counts more, where neither has the higher priority: the one at which a message is read sooner.
const SHOWS: [&str; 5] = ["xa", "away", "dnd", "", "chat"];

/// What the core has told each contact.
#[derive(Debug, Default)]
pub(super) struct Shown {
    views: BTreeMap<Jid, View>,
    /// Grows with each change.
    clock: u64,
    /// What everybody was told last in this session.
    broadcast: Option<Element>,
}

#[derive(Debug, Default)]
struct View {
    devices: BTreeMap<Option<String>, Element>,
    changed: u64,
}

impl Shown {
    /// A contact is told that this device is available.
    pub(super) fn available(&mut self, contact: &Jid, device: Option<String>, element: &Element) {
        self.clock = self.clock.saturating_add(1);
        let view = self.views.entry(contact.clone()).or_default();
        view.devices.insert(device, element.clone());
        view.changed = self.clock;
    }

    /// A contact is told that this device, or else the SIP user, is not.
    pub(super) fn unavailable(&mut self, contact: &Jid, device: &Option<String>) {
        if let Some(view) = self.views.get_mut(contact) {
            match device {
                Some(_) => _ = view.devices.remove(device),
                None => view.devices.clear(),
            }
            if view.devices.is_empty() {
                self.views.remove(contact);
            }
        }
    }

    /// The core keeps the contact up to date no more.
    pub(super) fn forget(&mut self, contact: &Jid) {
        self.views.remove(contact);
    }

    /// Presence for everybody, where it is another one than the last. The view that changed last counts: all are of the
    /// same SIP user. The account has to stay available while the gateway wants messages, so a SIP user who is offline, or
    /// of whom nothing is known, is away for long.
    pub(super) fn news(&mut self) -> Option<Element> {
        let views = self.views.values().max_by_key(|view| view.changed);
        let device = views.and_then(|view| view.devices.values().max_by_key(|device| rank(device)));
        let presence = device.map_or_else(nothing_known, for_everybody);
        if self.broadcast.as_ref() == Some(&presence) {
            return None;
        }
        self.broadcast = Some(presence.clone());
        Some(presence)
    }

    /// The next session begins with presence of its own. What the core has told contacts, it does not tell again.
    pub(super) fn session_lost(&mut self) {
        self.broadcast = None;
    }
}

fn child(presence: &Element, name: &str) -> String {
    let mut children = xml::children(presence, name);
    children.next().map(Element::text).unwrap_or_default()
}

fn rank(presence: &Element) -> (i8, Option<usize>) {
    let show = child(presence, "show");
    (
        child(presence, "priority").parse().unwrap_or(0),
        SHOWS.iter().position(|name| *name == show),
    )
}

/// Without address, and without a priority: a negative one would keep messages away (RFC 6121 §8.5.2.1).
fn for_everybody(device: &Element) -> Element {
    let mut presence = Element::bare("presence", ns::JABBER_CLIENT);
    if let Some(lang) = device.attr_ns(&Namespace::XML, "lang") {
        xml::set_lang(&mut presence, lang);
    }
    for child in device.children() {
        if !child.is("priority", ns::JABBER_CLIENT) {
            presence.append_child(child.clone());
        }
    }
    presence
}

fn nothing_known() -> Element {
    let mut presence = Element::bare("presence", ns::JABBER_CLIENT);
    presence.append_child(xml::text_child("show", "xa"));
    presence
}
