//! The bridge: every conversation between the two worlds, as one machine without I/O.
//!
//! It is given [`Input`]s and the time, and polled for [`Command`]s. One bridge owns all state of its user pairs;
//! several can share the work when inputs are dealt to them by pair.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::address::Jid;
use crate::address::canonical_domain;
use crate::room::Rooms;
use crate::subscription::watched;
use crate::time::{Entropy, Now};
use crate::vocab::{
    Command, Direction, Grant, Input, Outcome, Pair, Ref, SipIn, StoreIn, Unsettled, XmppIn,
};

mod book;
pub(crate) mod context;
mod ledger;
pub(crate) mod messages;
mod receipts;
mod reports;
mod settings;
mod stanzas;
mod watchers;
mod watching;

pub use settings::{Server, Settings};

use book::{Book, Names};
use context::{Context, Timer};
use messages::Messages;

/// The machine. See the module's text.
pub struct Bridge {
    cx: Context,
    messages: Messages,
    rooms: Rooms,
    book: Book,
}

/// What an operator sees of a bridge at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Snapshot {
    /// Messages from XMPP to SIP without an outcome.
    pub messages_to_sip: usize,
    /// Messages from SIP to XMPP that the XMPP side has not settled.
    pub messages_to_xmpp: usize,
    /// Error stanzas that matched no message, or came after its answer.
    pub late_errors: u64,
    /// Errors that senders of XMPP messages were never told, as their server could not be reached for a day, or as there
    /// were too many for it.
    pub lost_reports: u64,
    /// Receipts for messages that did not ask for one, or asked too long ago.
    pub unmatched_receipts: u64,
    /// Messages by how they ended, as it was first known, since the start.
    pub outcomes: BTreeMap<Outcome, u64>,
    /// What became known later, by receipts and late answers.
    pub later: BTreeMap<Outcome, u64>,
    /// XMPP users who watch SIP users, by [`crate::subscription::watch::State::name`].
    pub watching: BTreeMap<&'static str, usize>,
    /// SIP users who watch XMPP users, by [`watched::State::name`].
    pub watched: BTreeMap<&'static str, usize>,
    /// Dialogs in which SIP users watch.
    pub watchers: usize,
    /// Dialogs and polls in which XMPP users watch.
    pub subscriptions: usize,
    /// XMPP users in SIP conferences.
    pub in_conferences: usize,
    /// SIP users in XMPP rooms.
    pub in_rooms: usize,
    /// Messages and invitations of rooms without an outcome.
    pub room_messages: usize,
}

impl Bridge {
    /// A bridge with nothing in it.
    #[must_use]
    pub fn new(settings: Settings, entropy: Box<dyn Entropy>) -> Self {
        Self {
            cx: Context::new(settings, entropy),
            messages: Messages::default(),
            rooms: Rooms::default(),
            book: Book::default(),
        }
    }

    /// Says which servers take so many requests a second only, by SIP domain. Before [`Bridge::restore`].
    pub fn set_servers(&mut self, servers: impl IntoIterator<Item = (String, Server)>) {
        let canonical = |(domain, server): (String, Server)| (canonical_domain(&domain), server);
        self.cx.settings.servers = servers.into_iter().map(canonical).collect();
    }

    /// Speaks for one more SIP domain from here on.
    pub fn admit(&mut self, domain: crate::policy::SipDomain) {
        self.cx.settings.policy.admit(domain);
    }

    /// Says which SIP users, by their JIDs, may talk with users of which XMPP domains beside what their domains may.
    /// Before [`Bridge::restore`], and at any time later.
    pub fn set_users(
        &mut self,
        users: impl IntoIterator<Item = (Jid, Vec<crate::policy::DomainPattern>)>,
    ) {
        self.cx.settings.policy.set_users(users);
    }

    /// The way between a SIP user (a bare canonical JID) and his contacts in some XMPP domains is gone for good: neither
    /// side shows anything to the other any more.
    pub fn part(&mut self, user: &Jid, among: impl Fn(&str) -> bool, now: Now) {
        self.cx.now = now;
        let Book {
            contacts, index, ..
        } = &mut self.book;
        let of_user = |contact: &&mut book::Contact| is_of(contact, user, &among);
        for contact in contacts.values_mut().filter(of_user) {
            watchers::lose(contact, index, &mut self.cx);
            watching::lose(contact, index, &mut self.cx, now);
        }
    }

    /// Speaks for a SIP domain no more. To be called when nothing is left of it ([`Bridge::sip_domains`]).
    pub fn forget(&mut self, domain: &str) {
        self.cx.settings.policy.forget(domain);
    }

    /// The SIP domains of all contacts, and of all messages that have no outcome, canonical.
    #[must_use]
    pub fn sip_domains(&self) -> BTreeSet<String> {
        let domains = self.book.sip_domains().chain(self.messages.sip_domains());
        domains.map(str::to_owned).collect()
    }

    /// Numbers new messages above `last`, the highest number in the ledger. Called once, before [`Bridge::restore`].
    pub fn number_from(&mut self, last: Ref) {
        self.cx.skip_ref(last);
    }

    /// Takes up what the last process left: authorisations, and messages that it never settled. Called once, first.
    pub fn restore(
        &mut self,
        authorisations: Vec<(Pair, Grant)>,
        unsettled: Vec<Unsettled>,
        now: Now,
    ) {
        self.cx.now = now;
        let crowds = self.crowds(&authorisations);
        for (pair, grant) in authorisations {
            self.restore_one(&pair, grant, &crowds, now);
        }
        for message in unsettled {
            Messages::unsettled(&mut self.cx, message, now);
        }
    }

    /// Takes one input. Commands may follow.
    pub fn handle(&mut self, input: Input, now: Now) {
        self.cx.now = now;
        self.cx.came_from_here();
        match input {
            Input::Xmpp(input) => self.handle_xmpp(input, now),
            Input::Sip(input) => self.handle_sip(input, now),
            Input::Store(StoreIn::Kept(reference)) => {
                self.messages.kept(&mut self.cx, reference, true, now);
            }
            Input::Store(StoreIn::NotKept(reference)) => {
                self.messages.kept(&mut self.cx, reference, false, now);
            }
        }
    }

    /// The next command, in order.
    pub fn poll_command(&mut self) -> Option<Command> {
        self.cx.poll_command()
    }

    /// When [`Bridge::handle_timeout`] wants to be called, in monotonic time.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Duration> {
        self.cx.next_timeout()
    }

    /// Does what is due. Early calls do nothing.
    pub fn handle_timeout(&mut self, now: Now) {
        self.cx.now = now;
        self.cx.came_from_here();
        while let Some(timer) = self.cx.take_due(now) {
            match timer {
                Timer::Answer(reference) => self.messages.overdue(&mut self.cx, reference, now),
                Timer::Retry(key) => {
                    watching::retry_due(&mut self.book, &mut self.cx, &key, now);
                }
                Timer::Report(reference) => self.cx.report_due(reference),
                Timer::Room(timer) => self.rooms.due(&mut self.cx, timer, now),
            }
        }
    }

    /// Says goodbye: SIP senders are answered, watchers are told to come back later, contacts see each other leave.
    /// Outcomes of what is under way are still taken; new work is refused.
    pub fn shutdown(&mut self, now: Now) {
        self.handle_timeout(now);
        self.cx.stopping = true;
        self.cx.stop_reports();
        self.messages.shut_down(&mut self.cx, now);
        self.rooms.shut_down(&mut self.cx);
        let Book {
            contacts, index, ..
        } = &mut self.book;
        for contact in contacts.values_mut() {
            watching::shut_down(contact, &mut self.cx);
            watchers::shut_down(contact, index, &mut self.cx);
        }
    }

    /// The users of that SIP domain were cut off from XMPP for a while, and nobody knows what was told meanwhile: both
    /// sides tell each other anew.
    pub fn resume(&mut self, domain: &str, now: Now) {
        self.resume_those(|contact| contact.names.sip_as_jid.domain == domain, now);
    }

    /// The same for one SIP user (a bare canonical JID) and his contacts in some XMPP domains.
    pub fn resume_user(&mut self, user: &Jid, among: impl Fn(&str) -> bool, now: Now) {
        self.resume_those(|contact| is_of(contact, user, &among), now);
    }

    fn resume_those(&mut self, is_meant: impl Fn(&book::Contact) -> bool, now: Now) {
        self.cx.now = now;
        let Book {
            contacts, index, ..
        } = &mut self.book;
        for contact in contacts.values_mut().filter(|contact| is_meant(contact)) {
            watching::tell_again(contact, index, &mut self.cx, now);
            watchers::ask_again(contact, &mut self.cx);
        }
    }

    /// Whether the sender of that message is still to be told that it has failed.
    #[must_use]
    pub fn owes_report(&self, reference: Ref) -> bool {
        self.cx.reports.owes(reference)
    }

    /// What there is at this moment.
    #[must_use]
    pub fn status(&self) -> Snapshot {
        Snapshot {
            messages_to_sip: self.messages.to_sip_count(),
            messages_to_xmpp: self.messages.to_xmpp_count(),
            late_errors: self.messages.late_errors(),
            lost_reports: self.cx.reports.lost(),
            unmatched_receipts: self.cx.receipts.unmatched(),
            outcomes: self.cx.tally.first(),
            later: self.cx.tally.later(),
            watching: count(&self.book, |contact| contact.watch.state.name()),
            watched: count(&self.book, |contact| contact.watched.state.name()),
            watchers: self.book.index.watchers.len(),
            subscriptions: self.book.index.subscriptions.len(),
            in_conferences: self.rooms.in_conferences(),
            in_rooms: self.rooms.in_rooms(),
            room_messages: self.rooms.pending(),
        }
    }

    /// Every authorisation, as the store should hold it: for an audit.
    #[must_use]
    pub fn authorisations(&self) -> Vec<(Pair, Grant)> {
        self.book.authorisations()
    }

    /// How many subscriptions at each server of a limited rate there will be.
    fn crowds(&self, authorisations: &[(Pair, Grant)]) -> BTreeMap<String, u32> {
        let mut crowds = BTreeMap::new();
        let watching = authorisations
            .iter()
            .filter(|(pair, _)| pair.direction == Direction::XmppWatchesSip);
        for (pair, _) in watching {
            if let Some(server) = self.cx.settings.server(&pair.sip.host) {
                let count: &mut u32 = crowds.entry(server.name.clone()).or_default();
                *count = count.saturating_add(1);
            }
        }
        crowds
    }

    /// An authorisation that the rules do not allow any more stays in the store and sleeps.
    fn restore_one(&mut self, pair: &Pair, grant: Grant, crowds: &BTreeMap<String, u32>, now: Now) {
        let Ok(names) = Names::of(&pair.xmpp, &pair.sip) else {
            return;
        };
        if !self
            .cx
            .settings
            .policy
            .allows_user(&names.key.xmpp.domain, &names.sip_as_jid)
        {
            return;
        }
        let (contact, _) = self.book.entry(names);
        match pair.direction {
            Direction::XmppWatchesSip => {
                let settings = &self.cx.settings;
                let server = settings.server(&pair.sip.host);
                let crowd = server.and_then(|server| crowds.get(&server.name));
                let spread = settings.spread(&pair.sip.host, crowd.copied().unwrap_or(0));
                watching::restore(contact, &mut self.cx, (grant, spread), now);
            }
            Direction::SipWatchesXmpp => {
                contact.watched.state = match grant {
                    Grant::Asked => watched::State::Asked,
                    Grant::Granted => watched::State::Granted,
                };
            }
        }
    }

    /// Whether an XMPP user's device is in a conference, and where the address names a nickname, under this one.
    /// `None`: it is in none of that address.
    #[must_use]
    pub fn in_conference(&self, user: &Jid, occupant: &Jid) -> Option<bool> {
        self.rooms.in_conference(user, occupant)
    }

    fn handle_xmpp(&mut self, input: XmppIn, now: Now) {
        let Some(input) = self.rooms.xmpp(&mut self.cx, input, now) else {
            return;
        };
        let cx = &mut self.cx;
        match input {
            XmppIn::Message { from, to, im } => self.messages.xmpp_message(cx, from, to, im, now),
            XmppIn::Muc(_) => {}
            XmppIn::Unreadable { from, to, im, why } => {
                self.messages.xmpp_unreadable(cx, (from, to), im, why, now);
            }
            XmppIn::Receipt {
                from,
                to,
                id,
                receipt,
            } => self
                .messages
                .xmpp_receipt(cx, (&from, &to), id, receipt, now),
            XmppIn::MessageError {
                from,
                to,
                id,
                error,
            } => self.messages.xmpp_error(cx, (&from, &to), id, error, now),
            XmppIn::Settled { reference, outcome } => {
                self.messages.xmpp_settled(cx, reference, outcome, now);
            }
            XmppIn::Presence {
                from,
                to,
                id,
                trace,
                kind,
            } => {
                let origin = (id, cx.came_over(trace));
                stanzas::presence(&mut self.book, cx, (from, to), origin, kind, now);
            }
            XmppIn::PresenceError { from, to, error } => {
                stanzas::presence_error(&mut self.book, cx, &from, &to, &error, now);
            }
        }
    }

    fn handle_sip(&mut self, input: SipIn, now: Now) {
        let Some(input) = self.rooms.sip(&mut self.cx, input, now) else {
            return;
        };
        let cx = &mut self.cx;
        match input {
            SipIn::Message {
                reference,
                from,
                to,
                im,
            } => self
                .messages
                .sip_message(cx, reference, (&from, &to), im, now),
            SipIn::ChatState {
                from,
                to,
                thread,
                state,
            } => self
                .messages
                .sip_chat_state(cx, (&from, &to), (thread, state), now),
            SipIn::Receipt { reference, receipt } => {
                let fate = ledger::told(&receipt);
                self.messages.amend(cx, reference, fate, now);
                cx.sip_receipt(reference, receipt, now);
            }
            SipIn::MessageExpired { from, to, im } => {
                Messages::sip_expired(cx, (&from, &to), im, now);
            }
            SipIn::MessageGone { reference } => self.messages.sip_gone(cx, reference),
            SipIn::Outcome { reference, outcome } => {
                self.messages.sip_outcome(cx, reference, outcome, now);
            }
            SipIn::Subscription { reference, event } => {
                watching::subscription(&mut self.book, cx, reference, event, now);
            }
            SipIn::Watcher { reference, event } => {
                watchers::watcher(&mut self.book, cx, reference, event);
            }
            SipIn::Conference { .. } | SipIn::Focus { .. } | SipIn::Invitation(_) => {}
        }
    }
}

fn is_of(contact: &book::Contact, user: &Jid, among: &impl Fn(&str) -> bool) -> bool {
    contact.names.sip_as_jid.canonical() == *user && among(&contact.names.key.xmpp.domain)
}

fn count(
    book: &Book,
    name: impl Fn(&book::Contact) -> &'static str,
) -> BTreeMap<&'static str, usize> {
    let mut counts = BTreeMap::new();
    for contact in book.contacts.values() {
        *counts.entry(name(contact)).or_default() += 1;
    }
    counts.remove("none");
    counts
}

#[cfg(test)]
mod tests;
