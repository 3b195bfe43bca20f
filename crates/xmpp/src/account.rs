//! A client login: one SIP user's account at an ordinary XMPP server (RFC 6121), as links see it.
//!
//! The engine's links write stanzas from the SIP user to contacts, and take stanzas from contacts to the SIP user, as if
//! each domain of contacts were a partner. A client session knows neither: it has one address, a roster that its server
//! keeps, and one presence for everybody in it. [`Account`] stands between the two and does no I/O.

use std::collections::VecDeque;

use minidom::Element;
use rxml::{Namespace, xml_ncname};
use stox_core::address::{Jid, canonical_domain};
use stox_core::policy::DomainPattern;

use crate::adapt::xml;
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
    pub own_domains: std::collections::BTreeSet<String>,
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

/// The account's machine. Kept over sessions; one at a time.
pub struct Account {
    settings: Settings,
    /// Our full address in the present session.
    bound: Option<Jid>,
    commands: VecDeque<Command>,
}

impl Account {
    /// Without a session.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            bound: None,
            commands: VecDeque::new(),
        }
    }

    /// A new session has got this full address (RFC 6120 §7). The roster is asked for; [`AccountNote::Ready`] follows.
    ///
    /// # Errors
    /// The address is not the account's: the session must not be used.
    pub fn bound(&mut self, address: &str) -> Result<(), NotOurs> {
        let bound = Jid::parse(address).map_err(|_| NotOurs(address.to_owned()))?;
        if bound.bare().canonical() != self.settings.account.bare().canonical() {
            return Err(NotOurs(address.to_owned()));
        }
        self.bound = Some(bound);
        self.note(AccountNote::Ready { contacts: 0 });
        Ok(())
    }

    /// The last session goes on on another connection (XEP-0198 §5): nothing was lost.
    pub fn resumed(&mut self) {}

    /// The session is over. What it knew is learnt again in the next one.
    pub fn lost(&mut self) {
        self.bound = None;
    }

    /// A link to `partner` writes a stanza from the SIP user or his domain.
    pub fn write(&mut self, partner: &str, element: &Element) {
        _ = partner;
        let mut element = element.clone();
        element.set_attr(Namespace::NONE, xml_ncname!("from").into(), None::<String>);
        self.commands.push_back(Command::Write(element));
    }

    /// The server has sent a stanza, whose size and shape the stream has bounded.
    pub fn receive(&mut self, mut element: Element) {
        let Some(Ok(from)) = element.attr("from").map(Jid::parse) else {
            return self.note(AccountNote::Dropped(Odd::Addresses));
        };
        if !self.settings.reaches(&from.domain) {
            return self.note(AccountNote::Dropped(Odd::NotAContact));
        }
        let to = self.settings.user.to_string();
        xml::set_attr(&mut element, xml_ncname!("to").into(), &to);
        self.commands.push_back(Command::Deliver {
            partner: canonical_domain(&from.domain),
            element,
        });
    }

    /// The next thing to do.
    pub fn poll_command(&mut self) -> Option<Command> {
        self.commands.pop_front()
    }

    fn note(&mut self, note: AccountNote) {
        self.commands.push_back(Command::Note(note));
    }
}
