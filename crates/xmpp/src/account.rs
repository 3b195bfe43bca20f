//! A client login: one SIP user's account at an ordinary XMPP server (RFC 6121), as links see it.
//!
//! The engine's links write stanzas from the SIP user to contacts, and take stanzas from contacts to the SIP user, as if
//! each domain of contacts were a partner. A client session knows neither: it has one address, a roster that its server
//! keeps, and one presence for everybody in it. [`Account`] stands between the two and does no I/O.
//!
//! The roster decides who is subscribed to whom. Where a link asks for what the roster has already, the answer comes from
//! here; where the roster says something else than the translation core believes, the core is told so as the contact would
//! tell it.

mod iqs;
mod outgoing;
mod roster;
mod seen;
mod shown;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use minidom::Element;
use rxml::xml_ncname;
use stox_core::address::{Jid, canonical_domain};
use stox_core::failure::Condition;
use stox_core::policy::DomainPattern;
use xmpp_parsers::ns;

use self::iqs::Asked;
use self::roster::{Roster, Subscription};
use self::seen::Seen;
use self::shown::Shown;
use crate::adapt::{error, xml};
use crate::server::Software;

/// What one account is and whom it reaches.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The account at its server, bare.
    pub account: Jid,
    /// The SIP user whose account it is, as a bare JID.
    pub user: Jid,
    /// Domains of contacts that are reached through the account, beside its own.
    pub domains: Vec<DomainPattern>,
    /// SIP domains of ours, canonical: nothing in their names is taken from the server.
    pub own_domains: BTreeSet<String>,
    /// What we say of ourselves to the server.
    pub software: Software,
}

impl Settings {
    /// Whether the account reaches contacts of this domain.
    #[must_use]
    pub fn reaches(&self, domain: &str) -> bool {
        let domain = canonical_domain(domain);
        !self.own_domains.contains(&domain)
            && (domain == canonical_domain(&self.account.domain)
                || self.domains.iter().any(|pattern| pattern.matches(&domain)))
    }
}

/// What the account wants done.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Write this to the session.
    Write(Element),
    /// Give this to the engine, as a stanza of the link to that partner. Those that come out behind one call of
    /// [`Account::receive`] belong to the stanza that was received: when all of them are handled, so is that one. Where
    /// none comes out, it is handled at once.
    Deliver {
        /// Domain of the contact, canonical.
        partner: String,
        /// With `from` the contact's and `to` the SIP user's address.
        element: Element,
    },
    /// For the log and the state that is shown.
    Note(AccountNote),
}

/// What is worth knowing of an account.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AccountNote {
    /// The roster is there and presence is out: links may write from now on.
    #[error("the roster is read: {contacts} contacts")]
    Ready {
        /// Contacts in the roster.
        contacts: usize,
    },
    /// The server keeps its roster from us: it cannot be used.
    #[error("the server does not give the roster: {0}")]
    NoRoster(String),
    /// A stanza went no further.
    #[error("a stanza is dropped: {0}")]
    Dropped(Odd),
}

/// Why a stanza of the server's is not delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Odd {
    /// `from` or `to` is no address.
    #[error("its addresses cannot be read")]
    Addresses,
    /// It is for another address than the account's.
    #[error("it is not for this account")]
    NotForUs,
    /// It claims to come from a SIP domain of ours.
    #[error("it claims to come from a SIP domain of ours")]
    OwnDomain,
    /// Its sender's domain is none of the account's.
    #[error("its sender's domain is not among the account's domains")]
    NotAContact,
    /// It comes from the account itself: another client of the same account, or a copy (XEP-0280).
    #[error("it comes from the account itself")]
    Ourselves,
    /// It answers nothing that was asked.
    #[error("it answers nothing that was asked")]
    Unasked,
    /// It is neither message, presence nor iq.
    #[error("it is no stanza")]
    NotAStanza,
}

/// The server has bound another account than ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the server has bound `{0}`, which is not this account")]
pub struct NotOurs(pub String);

/// Rooms that the SIP user is in, at most.
const ROOMS: usize = 256;
/// Requests of contacts that are remembered at most.
const REQUESTS: usize = 10_000;

/// The account's machine. Kept over sessions; one at a time.
pub struct Account {
    settings: Settings,
    /// Our full address in the present session.
    bound: Option<Jid>,
    /// The roster of this session is there.
    ready: bool,
    /// Numbers the sessions, and so what is asked in each.
    session: u64,
    roster: Roster,
    /// Contacts that are known to the core as watchers, since they were told of or asked; `true`: granted.
    introduced: BTreeMap<Jid, bool>,
    /// Contacts whose requests wait for the SIP user.
    requests: BTreeSet<Jid>,
    shown: Shown,
    seen: Seen,
    /// Questions of links that wait for their answers.
    asked: Asked,
    /// The address under which the SIP user is in each room.
    rooms: BTreeMap<Jid, Jid>,
    commands: VecDeque<Command>,
}

impl Account {
    /// Without a session.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            bound: None,
            ready: false,
            session: 0,
            roster: Roster::default(),
            introduced: BTreeMap::new(),
            requests: BTreeSet::new(),
            shown: Shown::default(),
            seen: Seen::default(),
            asked: Asked::default(),
            rooms: BTreeMap::new(),
            commands: VecDeque::new(),
        }
    }

    /// A new session has got this full address (RFC 6120 §7). The roster is asked for; [`AccountNote::Ready`] or
    /// [`AccountNote::NoRoster`] follows.
    ///
    /// # Errors
    /// The address is not the account's: the session must not be used.
    pub fn bound(&mut self, address: &str) -> Result<(), NotOurs> {
        let bound = Jid::parse(address).map_err(|_| NotOurs(address.to_owned()))?;
        if bound.bare().canonical() != self.own() {
            return Err(NotOurs(address.to_owned()));
        }
        self.lost();
        self.bound = Some(bound);
        self.session = self.session.saturating_add(1);
        let mut question = iq("get", &self.roster_id());
        question.append_child(Element::bare("query", ns::ROSTER));
        self.put(question);
        Ok(())
    }

    /// The last session goes on on another connection (XEP-0198 §5): nothing was lost, and nothing has to be said again.
    pub fn resumed(&mut self) {}

    /// The session is over. What it knew is learnt again in the next one.
    pub fn lost(&mut self) {
        self.bound = None;
        self.ready = false;
        self.requests.clear();
        self.shown.session_lost();
        self.seen = Seen::default();
        self.asked = Asked::default();
        self.rooms.clear();
        self.commands
            .retain(|command| !matches!(command, Command::Write(_)));
    }

    /// A link to `partner` writes a stanza from the SIP user or his domain. Before [`AccountNote::Ready`] it goes nowhere:
    /// the link keeps it.
    pub fn write(&mut self, partner: &str, element: &Element) {
        let Some(Ok(to)) = element.attr("to").map(Jid::parse) else {
            return;
        };
        let is_meant = canonical_domain(&to.domain) == canonical_domain(partner);
        if !self.ready || !is_meant || !self.settings.reaches(partner) {
            return;
        }
        if to.bare().canonical() == self.own() {
            return self.write_to_ourselves(element);
        }
        match element.name() {
            "presence" => self.write_presence(element),
            "iq" => self.write_iq(element),
            _ => self.put(element.clone()),
        }
    }

    /// The server has sent a stanza, whose size and shape the stream has bounded.
    pub fn receive(&mut self, element: Element) {
        if !element.has_ns(ns::JABBER_CLIENT)
            || !matches!(element.name(), "message" | "presence" | "iq")
        {
            return self.drop_it(Odd::NotAStanza);
        }
        let Some(bound) = &self.bound else {
            return self.drop_it(Odd::NotForUs);
        };
        let own = self.own();
        // RFC 6120 §8.1.1.1, §8.1.2.1: an address that is left out is the account's.
        let (from, to) = (
            address(&element, "from", &own),
            address(&element, "to", &own),
        );
        let (Some(from), Some(to)) = (from, to) else {
            return self.drop_it(Odd::Addresses);
        };
        let is_ours = to.bare().canonical() == own
            && (to.resource.is_none() || to.resource == bound.resource);
        if !is_ours {
            return self.drop_it(Odd::NotForUs);
        }
        if element.name() == "iq" {
            return self.receive_iq(element, &from);
        }
        if from.bare().canonical() == own {
            return self.receive_from_ourselves(&element, &from);
        }
        if let Err(why) = self.is_contact(&from) {
            return self.refuse(&element, &from, why);
        }
        if element.name() == "presence" {
            self.receive_presence(element, &from);
        } else {
            self.deliver(element, &from);
        }
    }

    /// The next thing to do.
    pub fn poll_command(&mut self) -> Option<Command> {
        self.commands.pop_front()
    }

    // ---------------------------------------------------------------------------------------- receiving

    /// The account, bare and canonical.
    fn own(&self) -> Jid {
        self.settings.account.bare().canonical()
    }

    fn is_contact(&self, from: &Jid) -> Result<(), Odd> {
        let domain = canonical_domain(&from.domain);
        if self.settings.own_domains.contains(&domain) {
            Err(Odd::OwnDomain)
        } else if self.settings.reaches(&domain) {
            Ok(())
        } else {
            Err(Odd::NotAContact)
        }
    }

    /// What the account says to itself: presence of its own clients, copies of their messages (XEP-0280), which prove
    /// nothing of who wrote what is in them.
    fn receive_from_ourselves(&mut self, element: &Element, from: &Jid) {
        if element.name() == "presence" {
            return;
        }
        match from.resource {
            Some(_) => self.refuse(element, from, Odd::Ourselves),
            None => self.drop_it(Odd::Ourselves),
        }
    }

    fn receive_presence(&mut self, element: Element, from: &Jid) {
        let contact = from.bare().canonical();
        match element.attr("type") {
            None if !self.rooms.contains_key(&contact) => {
                self.introduce(&contact);
                if self.roster.get(&contact).to {
                    self.seen.available(&contact, from, &element);
                }
            }
            Some("unavailable") if !self.rooms.contains_key(&contact) => self.left(&contact, from),
            Some("subscribe") => self.requested(contact),
            Some("unsubscribe") => self.forget_watcher(&contact),
            Some("subscribed") => self.decided(&contact, true),
            Some("unsubscribed") => self.decided(&contact, false),
            // A server answers for its clients (RFC 6121 §4.3).
            Some("probe") => return,
            _ => {}
        }
        self.deliver(element, from);
        self.broadcast();
    }

    /// A contact that may see the account, and whom the core does not know as a watcher yet, is made one.
    fn introduce(&mut self, contact: &Jid) {
        if self.roster.get(contact).from && !self.introduced.contains_key(contact) {
            self.introduced.insert(contact.clone(), false);
            self.say_for(contact, "subscribe");
        }
    }

    /// When all of her has left, the core lets go of the SIP user's presence for her.
    fn left(&mut self, contact: &Jid, from: &Jid) {
        if self.roster.get(contact).to && self.seen.unavailable(contact, from) {
            self.shown.forget(contact);
        }
    }

    fn requested(&mut self, contact: Jid) {
        if self.requests.len() < REQUESTS {
            self.requests.insert(contact);
        }
    }

    /// The contact lets the SIP user see her, or not.
    fn decided(&mut self, contact: &Jid, granted: bool) {
        self.roster.note(contact, |entry| {
            entry.to = granted;
            entry.asked = false;
        });
        if !granted {
            self.seen.forget(contact);
        }
    }

    fn forget_watcher(&mut self, contact: &Jid) {
        self.roster.note(contact, |entry| entry.from = false);
        self.requests.remove(contact);
        self.introduced.remove(contact);
        self.shown.forget(contact);
    }

    // -------------------------------------------------------------------------------------------- roster

    /// The whole roster (RFC 6121 §2.1.4).
    fn roster_read(&mut self, query: Option<&Element>) {
        self.roster = Roster::read(query);
        self.ready = true;
        let watchers: Vec<Jid> = self.roster.watchers_only().cloned().collect();
        let contacts = self.roster.len();
        self.commands
            .push_back(Command::Note(AccountNote::Ready { contacts }));
        self.broadcast();
        // The others are made known when they show themselves.
        for contact in watchers {
            if self.is_contact(&contact).is_ok() {
                self.introduce(&contact);
            }
        }
    }

    /// One entry has changed (RFC 6121 §2.1.6).
    fn roster_changed(&mut self, contact: &Jid, new: Option<Subscription>) {
        let old = self.roster.get(contact);
        self.roster.set(contact, new);
        let new = new.unwrap_or_default();
        if self.is_contact(contact).is_err() {
            return;
        }
        if new.to && !old.to {
            self.say_for(contact, "subscribed");
        }
        if old.to && !new.to {
            self.seen.forget(contact);
            self.say_for(contact, "unsubscribed");
        }
        if old.from && !new.from {
            self.forget_watcher(contact);
            self.say_for(contact, "unsubscribe");
        }
        self.introduce(contact);
        self.broadcast();
    }

    // --------------------------------------------------------------------------------------------- words

    /// To the engine, with the SIP user's address in place of the account's.
    fn deliver(&mut self, mut element: Element, from: &Jid) {
        let room = self.rooms.get(&from.bare().canonical());
        let to = room.unwrap_or(&self.settings.user).to_string();
        xml::set_attr(&mut element, xml_ncname!("from").into(), &from.to_string());
        xml::set_attr(&mut element, xml_ncname!("to").into(), &to);
        self.commands.push_back(Command::Deliver {
            partner: canonical_domain(&from.domain),
            element,
        });
    }

    /// Presence of that type, as the contact would send it.
    fn say_for(&mut self, contact: &Jid, kind: &str) {
        let mut element = Element::bare("presence", ns::JABBER_CLIENT);
        xml::set_attr(&mut element, xml_ncname!("type").into(), kind);
        self.deliver(element, contact);
    }

    /// What is not taken goes back to who wrote it, unless it must not be answered (RFC 6120 §8.3.1).
    fn refuse(&mut self, element: &Element, from: &Jid, why: Odd) {
        let answerable = match element.name() {
            "message" => element.attr("type") != Some("error"),
            "iq" => matches!(element.attr("type"), Some("get" | "set")),
            _ => false,
        };
        if answerable {
            let user = self.settings.account.clone();
            let condition = Condition::ServiceUnavailable;
            self.put(error::refuse(element, &user, from, condition));
        }
        self.drop_it(why);
    }

    fn drop_it(&mut self, why: Odd) {
        self.note(AccountNote::Dropped(why));
    }

    fn note(&mut self, note: AccountNote) {
        self.commands.push_back(Command::Note(note));
    }
}

/// An address of a stanza; where it is left out, `own`. `None`: it is no address.
fn address(element: &Element, name: &str, own: &Jid) -> Option<Jid> {
    match element.attr(name) {
        None => Some(own.clone()),
        Some(text) => Jid::parse(text).ok(),
    }
}

fn iq(kind: &str, id: &str) -> Element {
    let mut element = Element::bare("iq", ns::JABBER_CLIENT);
    xml::set_attr(&mut element, xml_ncname!("type").into(), kind);
    xml::set_attr(&mut element, xml_ncname!("id").into(), id);
    element
}

#[cfg(test)]
mod tests;
