//! What links write, as a client says it.

use minidom::Element;
use rxml::{Namespace, xml_ncname};
use stox_core::address::Jid;
use stox_core::failure::Condition;
use xmpp_parsers::ns;

use super::{Account, Command, ROOMS};
use crate::adapt::{error, xml};

impl Account {
    /// Nobody is there but the SIP user himself.
    pub(super) fn write_to_ourselves(&mut self, element: &Element) {
        let own = self.own();
        let kind = element.attr("type");
        match element.name() {
            "presence" if matches!(kind, Some("subscribe" | "probe")) => {
                self.say_for(&own, "unsubscribed");
            }
            "message" if kind != Some("error") => {
                let user = self.settings.user.clone();
                let condition = Condition::ServiceUnavailable;
                self.deliver(error::refuse(element, &own, &user, condition), &own);
            }
            _ => {}
        }
    }

    pub(super) fn write_presence(&mut self, element: &Element) {
        let address = |name: &str| Jid::parse(element.attr(name)?).ok();
        let (Some(from), Some(to)) = (address("from"), address("to")) else {
            return;
        };
        let contact = to.bare().canonical();
        if element.has_child("x", ns::MUC) {
            if self.rooms.len() >= ROOMS {
                self.rooms.pop_first();
            }
            self.rooms.insert(contact.clone(), from.clone());
        }
        if self.rooms.contains_key(&contact) {
            return self.put(element.clone());
        }
        match element.attr("type") {
            None => self.show(&contact, from.resource, element),
            Some("unavailable") => {
                self.shown.unavailable(&contact, &from.resource);
                self.broadcast();
            }
            Some("subscribe") => self.ask(&contact, element),
            Some("subscribed") => self.grant(&contact, element),
            Some("unsubscribed") => self.withdraw(&contact, element),
            Some("probe") => self.probe(&contact),
            Some("error") => self.fail_request(&contact, element),
            _ => self.put_for(&contact, element),
        }
    }

    /// Tells everybody how the SIP user is, where that has changed.
    pub(super) fn broadcast(&mut self) {
        if self.ready
            && let Some(presence) = self.shown.news()
        {
            self.put(presence);
        }
    }

    /// To the session. A client does not say who it is (RFC 6120 §8.1.2.1).
    pub(super) fn put(&mut self, mut element: Element) {
        element.attrs_mut().remove(&Namespace::NONE, "from");
        self.commands.push_back(Command::Write(element));
    }

    /// Subscriptions are between bare addresses (RFC 6121 §3.1.1).
    fn put_for(&mut self, contact: &Jid, element: &Element) {
        let mut element = element.clone();
        xml::set_attr(&mut element, xml_ncname!("to").into(), &contact.to_string());
        self.put(element);
    }

    fn show(&mut self, contact: &Jid, device: Option<String>, element: &Element) {
        if self.roster.get(contact).from {
            self.shown.available(contact, device, element);
            self.broadcast();
        } else {
            // She may not see the account (any more): the core believes otherwise.
            self.introduced.remove(contact);
            self.say_for(contact, "unsubscribe");
        }
    }

    fn ask(&mut self, contact: &Jid, element: &Element) {
        if self.roster.get(contact).to {
            return self.say_for(contact, "subscribed");
        }
        self.roster.note(contact, |entry| entry.asked = true);
        self.put_for(contact, element);
    }

    fn grant(&mut self, contact: &Jid, element: &Element) {
        self.requests.remove(contact);
        self.introduced.insert(contact.clone(), true);
        if !self.roster.get(contact).from {
            self.roster.note(contact, |entry| entry.from = true);
            self.put_for(contact, element);
        }
    }

    /// The SIP side lets her see him no more. One who had her right from elsewhere, and to whom the SIP side has never granted
    /// anything, keeps it: what she sees then tells nothing.
    fn withdraw(&mut self, contact: &Jid, element: &Element) {
        let asked = self.requests.remove(contact);
        let granted = self.introduced.remove(contact).unwrap_or(false);
        self.shown.forget(contact);
        if asked || (granted && self.roster.get(contact).from) {
            self.roster.note(contact, |entry| entry.from = false);
            self.put_for(contact, element);
        }
        self.broadcast();
    }

    /// The question that a client cannot ask is answered by the roster and by what the server has told.
    fn probe(&mut self, contact: &Jid) {
        let entry = self.roster.get(contact);
        if !entry.to {
            if !entry.asked {
                self.say_for(contact, "unsubscribed");
            }
            return;
        }
        // A server tells how each contact is, soon behind our first presence (RFC 6121 §4.2.2).
        let Some(resources) = self.seen.of(contact) else {
            return;
        };
        if resources.is_empty() {
            self.say_for(contact, "unavailable");
        }
        for element in resources {
            let from = element.attr("from").and_then(|from| Jid::parse(from).ok());
            if let Some(from) = from {
                self.deliver(element, &from);
            }
        }
    }

    /// Her request came to nothing. It rests at the server where that may pass, and comes again in the next session.
    fn fail_request(&mut self, contact: &Jid, element: &Element) {
        let error = element.get_child("error", ns::JABBER_CLIENT);
        let passes = error.is_some_and(|error| error.attr("type") == Some("wait"));
        if !passes && self.requests.remove(contact) {
            self.introduced.remove(contact);
            let mut refusal = Element::bare("presence", ns::JABBER_CLIENT);
            xml::set_attr(&mut refusal, xml_ncname!("type").into(), "unsubscribed");
            self.put_for(contact, &refusal);
        }
    }
}
