//! The machines joined: SIP user agent, bridge and XMPP links, still without I/O.
//!
//! The process runs one [`Engine`] in one task; the vector tests run the same engine on virtual time. Inputs are method
//! calls with the time; what is to be done comes out of [`Engine::poll_effect`].

mod accounts;
mod floods;
mod journal;
mod links;
mod settings;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use minidom::Element;
use stox_core::address::{Jid, canonical_domain, sip_to_jid};
use stox_core::bridge::{self, Bridge, Snapshot};
use stox_core::time::{Entropy, Now};
use stox_core::vocab::{
    Command, Grant, Input, Lesson, Pair, Ref, SipIn, SipOut, StoreIn, StoreOut, Unsettled,
    WatcherEvent, XmppIn, XmppOut,
};
use stox_sip::dialect::{Learned, Profile, Word};
use stox_sip::message::{Message, Request};
use stox_sip::msrp::endpoint::{Dial, DialId, Fingerprint};
use stox_sip::parse::ParseError;
use stox_sip::target::TargetError;
use stox_sip::transport::{Destination, FlowId, Source, Target, Transmit};
use stox_sip::ua::{LineState, Resolve, ResolveId, UserAgent};
use stox_xmpp::adapt;
use stox_xmpp::link::{Attempt, CloseReason, LinkStatus, Loss, Outgoing};
use stox_xmpp::server::{self, Software};

pub use accounts::Account;
pub use links::{LinkName, Links};
pub(crate) use settings::block;
pub use settings::{BoundPorts, Settings, Unnamed};

/// Names an inbound stanza until the engine has taken responsibility for it (XEP-0198).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StanzaToken(pub u64);

/// What the engine wants done.
#[derive(Debug)]
pub enum Effect {
    /// Send octets; on failure call [`Engine::sip_not_sent`].
    Send(Transmit),
    /// Find the targets of a next hop; answer with [`Engine::sip_resolved`].
    Resolve(Resolve),
    /// Open an MSRP connection; answer with [`Engine::msrp_dialled`].
    DialMsrp(Dial),
    /// Write octets to an MSRP connection; tell [`Engine::msrp_written`].
    SendMsrp(FlowId, Bytes),
    /// Close an MSRP connection once everything before is written.
    CloseMsrp(FlowId),
    /// Get a stream for this pair; answer with [`Engine::stream_ready`] or [`Engine::stream_lost`].
    Connect(LinkName, Attempt),
    /// Write a stanza to the pair's stream.
    Write(LinkName, Arc<Element>),
    /// Let the pair's stream go.
    CloseStream(LinkName, Attempt, CloseReason),
    /// Write to the store; a `Keep` is answered with [`Engine::stored`].
    Store(StoreOut),
    /// The stanza is handled, or on disk.
    Handled(StanzaToken),
}

/// A stanza that does not count as handled yet.
struct Held {
    token: StanzaToken,
    /// The store has not taken its message when it was asked first.
    not_kept: bool,
}

/// The whole gateway without I/O.
pub struct Engine {
    bridge: Bridge,
    sip: UserAgent,
    links: Links,
    accounts: accounts::Accounts,
    floods: floods::Floods,
    software: Software,
    /// SIP domains whose users are conferences.
    conferences: BTreeSet<String>,
    unnamed: Option<Unnamed>,
    effects: VecDeque<Effect>,
    /// Stanzas that count as handled when the store has their message, or their sender's server the refusal.
    waiting: BTreeMap<Ref, Held>,
    /// The inbound stanza being worked on.
    current: Option<StanzaToken>,
    stopping: bool,
}

impl Engine {
    /// An engine that knows nobody yet. `entropy` is called once for each machine that needs numbers.
    pub fn new(
        settings: Settings,
        entropy: impl Fn() -> Box<dyn Entropy> + Send + 'static,
    ) -> Self {
        let bridge = bridge::Settings {
            mark: entropy().token(),
            ..settings.bridge
        };
        Self {
            bridge: Bridge::new(bridge, entropy()),
            sip: UserAgent::new(settings.sip, entropy()),
            links: Links::new(
                settings.link,
                settings.components,
                links::Limits {
                    links: settings.max_links,
                    octets: settings.max_linked_octets,
                },
                Box::new(entropy),
            ),
            accounts: accounts::Accounts::default(),
            floods: floods::Floods::new(settings.messages_per_second, settings.queue),
            software: settings.software,
            conferences: settings.conferences,
            unnamed: settings.unnamed,
            effects: VecDeque::new(),
            waiting: BTreeMap::new(),
            current: None,
            stopping: false,
        }
    }

    /// Numbers new messages above `last`, the highest number in the ledger. Called once, before [`Engine::restore`].
    pub fn number_from(&mut self, last: Ref) {
        self.bridge.number_from(last);
    }

    /// Takes what the last run left behind.
    pub fn restore(
        &mut self,
        authorisations: Vec<(Pair, Grant)>,
        unsettled: Vec<Unsettled>,
        lessons: &[Lesson],
        now: Now,
    ) {
        self.sip
            .restore(lessons.iter().filter_map(Learned::of), now);
        let servers = self.sip.servers().map(|(domain, name, per_second)| {
            let name = name.to_owned();
            (domain.to_owned(), bridge::Server { name, per_second })
        });
        self.bridge.set_servers(servers);
        self.bridge.restore(authorisations, unsettled, now);
        self.settle(now);
    }

    // ------------------------------------------------------------------------- SIP domains without a name

    /// Serves a SIP domain from here on that no setting names, by its canonical name. Where none may be, nothing happens.
    pub fn admit(&mut self, domain: &str) {
        if let Some(unnamed) = &self.unnamed {
            let name = idna::domain_to_ascii(domain).unwrap_or_else(|_| domain.to_owned());
            let (sip, rule) = unnamed.domain(&name);
            self.sip.admit(sip);
            self.bridge.admit(rule);
        }
    }

    /// The SIP domain that a request is from, where its connection has proved it and it is none that is served; canonical.
    #[must_use]
    pub fn proved_stranger(&self, source: &Source, request: &Request) -> Option<String> {
        self.unnamed.as_ref()?;
        self.sip.proved_stranger(source, request)
    }

    /// A request has arrived of a domain that perhaps is served later (503).
    pub fn put_off(&mut self, source: &Source, request: Request, now: Now) {
        self.sip.put_off(source, request);
        self.settle(now);
    }

    /// Serves a domain of [`Self::admit`] no more. To be called when nothing is left of it ([`Self::sip_domains`]).
    pub fn forget(&mut self, domain: &str) {
        if self.sip.has_found(domain) {
            self.sip.forget(domain);
            self.bridge.forget(domain);
        }
    }

    /// The SIP domains, canonical, that contacts, messages, sessions, requests or stanzas are there of.
    #[must_use]
    pub fn sip_domains(&self) -> BTreeSet<String> {
        let mut domains = self.bridge.sip_domains();
        domains.append(&mut self.sip.domains_in_use());
        domains.extend(self.links.busy_domains().map(str::to_owned));
        domains
    }

    // ---------------------------------------------------------------------------------------- accounts

    /// Says which SIP users have accounts: before [`Engine::restore`], and after each change. Accounts that are not named
    /// any more, or reach other domains, are given up, with all that waits for them.
    pub fn set_accounts(&mut self, accounts: Vec<Account>, now: Now) {
        let accounts = accounts::Accounts::new(accounts);
        let before = std::mem::replace(&mut self.accounts, accounts);
        let is_kept = |account: &Account| self.accounts.get(&account.name) == Some(account);
        let users = self.accounts.all();
        let users = users.map(|account| (account.user.clone(), account.domains.clone()));
        self.bridge.set_users(users);
        let domains = self.accounts.all().flat_map(|account| &account.domains);
        self.sip.set_users_domains(domains.cloned().collect());
        for account in before.all().filter(|account| !is_kept(account)) {
            self.bridge
                .part(&account.user, |domain| account.reaches(domain), now);
        }
        let kept: BTreeSet<Arc<str>> = before
            .all()
            .filter(|account| is_kept(account))
            .map(|account| account.name.clone())
            .collect();
        self.settle(now);
        self.links.drop_accounts(|name| kept.contains(name));
        self.settle(now);
    }

    // ------------------------------------------------------------------------------------------- SIP in

    /// A UDP datagram has arrived.
    pub fn datagram(&mut self, source: &Source, octets: &Bytes, now: Now) {
        self.sip.receive_datagram(source, octets, now);
        self.settle(now);
    }

    /// A message, or the end of all sense, has arrived on a connection.
    pub fn framed(&mut self, source: &Source, message: Result<Message, ParseError>, now: Now) {
        self.sip.receive_framed(source, message, now);
        self.settle(now);
    }

    /// Octets of [`Effect::Send`] could not be sent.
    pub fn sip_not_sent(&mut self, destination: &Destination, now: Now) {
        self.sip.transport_failed(destination, now);
        self.settle(now);
    }

    /// A SIP connection is gone.
    pub fn sip_closed(&mut self, flow: FlowId, now: Now) {
        self.sip.connection_closed(flow, now);
        self.settle(now);
    }

    /// The answer to [`Effect::Resolve`].
    pub fn sip_resolved(
        &mut self,
        id: ResolveId,
        targets: Result<Vec<Target>, TargetError>,
        now: Now,
    ) {
        self.sip.resolved(id, targets, now);
        self.settle(now);
    }

    // ------------------------------------------------------------------------------------------ MSRP in

    /// The answer to [`Effect::DialMsrp`].
    pub fn msrp_dialled(&mut self, id: DialId, flow: Option<FlowId>, now: Now) {
        self.sip.msrp_dialled(id, flow, now);
        self.settle(now);
    }

    /// Our certificate is another one, for offers to come.
    pub fn msrp_certificate(&mut self, fingerprint: Fingerprint) {
        self.sip.msrp_certificate(fingerprint);
    }

    /// A peer has opened an MSRP connection, and showed this certificate.
    pub fn msrp_accepted(
        &mut self,
        flow: FlowId,
        secure: bool,
        certificate: Option<Vec<Fingerprint>>,
        now: Now,
    ) {
        self.sip.msrp_accepted(flow, secure, certificate, now);
        self.settle(now);
    }

    /// Octets came on an MSRP connection.
    pub fn msrp_received(&mut self, flow: FlowId, octets: &Bytes, now: Now) {
        self.sip.msrp_received(flow, octets, now);
        self.settle(now);
    }

    /// Octets of [`Effect::SendMsrp`] are written.
    pub fn msrp_written(&mut self, flow: FlowId, octets: usize, now: Now) {
        self.sip.msrp_written(flow, octets, now);
        self.settle(now);
    }

    /// An MSRP connection is gone.
    pub fn msrp_closed(&mut self, flow: FlowId, now: Now) {
        self.sip.msrp_closed(flow, now);
        self.settle(now);
    }

    // ------------------------------------------------------------------------------------------ XMPP in

    /// A stanza has arrived on a stream that proved `name.partner` towards `name.local`.
    pub fn stanza(&mut self, name: &LinkName, element: &Element, token: StanzaToken, now: Now) {
        if self.accounts.is_beside(name, element) {
            self.refuse_beside(name, element, now);
            self.effects.push_back(Effect::Handled(token));
            return;
        }
        if let Some(refusal) = self.floods.refusal(&name.partner, element, now.mono) {
            self.links.send(name, plain(refusal), now);
            self.effects.push_back(Effect::Handled(token));
            return self.settle(now);
        }
        self.current = Some(token);
        match adapt::read(element) {
            adapt::Inbound::Core(input) => self.tell(Input::Xmpp(input), now),
            adapt::Inbound::Several(inputs) => {
                for input in inputs {
                    self.tell(Input::Xmpp(input), now);
                }
            }
            adapt::Inbound::Iq(iq) => {
                if let Some(pong) = adapt::muc::read_pong(&iq) {
                    self.tell(Input::Xmpp(XmppIn::Muc(pong)), now);
                } else if !self.links.receive_iq(name, &iq, now)
                    && let Some(answer) = server::answer(&self.software, self.place(&iq), &iq)
                {
                    self.links.send(name, plain(answer), now);
                }
            }
            adapt::Inbound::Reply(reply) => self.links.send(name, plain(reply), now),
            adapt::Inbound::Ignored(why) => {
                tracing::debug!(partner = name.partner, %why, "stanza ignored")
            }
        }
        // Only what the bridge says of this stanza may take the token.
        while let Some(command) = self.bridge.poll_command() {
            self.carry_out(command, now);
        }
        if let Some(token) = self.current.take() {
            self.effects.push_back(Effect::Handled(token));
        }
        self.settle(now);
    }

    /// A stream for a link is authorised. The partner takes stanzas of so many octets at most, where it said so.
    pub fn stream_ready(
        &mut self,
        name: &LinkName,
        attempt: Attempt,
        max_octets: Option<usize>,
        now: Now,
    ) {
        self.links.stream_ready(name, attempt, max_octets, now);
        self.settle(now);
    }

    /// A stream for a link could not be had, or has ended.
    pub fn stream_lost(&mut self, name: &LinkName, attempt: Attempt, loss: Loss, now: Now) {
        self.links.stream_lost(name, attempt, loss, now);
        self.settle(now);
    }

    /// A partner has proved its domain on a stream to us.
    pub fn partner_seen(&mut self, name: &LinkName, now: Now) {
        self.links.partner_seen(name, now);
        self.settle(now);
    }

    /// A partner has logged in on a stream to us by its certificate (SASL EXTERNAL).
    pub fn partner_logged_in(&mut self, name: &LinkName, now: Now) {
        self.links.partner_logged_in(name, now);
        self.settle(now);
    }

    /// An account has a new session: what was said meanwhile, nobody took.
    pub fn account_rejoined(&mut self, name: &str, now: Now) {
        if let Some(account) = self.accounts.get(name) {
            self.bridge
                .resume_user(&account.user, |domain| account.reaches(domain), now);
        }
        self.settle(now);
    }

    /// That domain of ours was cut off from all its partners, and is not any more.
    pub fn rejoined(&mut self, domain: &str, now: Now) {
        self.bridge.resume(domain, now);
        self.settle(now);
    }

    /// The store has answered.
    pub fn stored(&mut self, answer: StoreIn, now: Now) {
        match &answer {
            StoreIn::Kept(reference) => self.is_handled(*reference),
            // Of what neither side takes, no more will come than this.
            StoreIn::NotKept(reference) => match self.waiting.get_mut(reference) {
                Some(held) if held.not_kept => self.is_handled(*reference),
                Some(held) => held.not_kept = true,
                None => {}
            },
        }
        self.tell(Input::Store(answer), now);
        self.settle(now);
    }

    // --------------------------------------------------------------------------------------- time, end

    /// When [`Self::handle_timeout`] has something to do, in monotonic time.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Duration> {
        [
            self.bridge.poll_timeout(),
            self.sip.poll_timeout(),
            self.links.poll_timeout(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Now) {
        self.sip.handle_timeout(now);
        self.links.handle_timeout(now);
        self.bridge.handle_timeout(now);
        self.settle(now);
    }

    /// Begins a clean stop: contacts see unavailable, watchers are told, open messages are answered.
    pub fn shut_down(&mut self, now: Now) {
        self.stopping = true;
        self.links.hurry(now);
        self.bridge.shutdown(now);
        self.sip.shut_down(now);
        self.settle(now);
    }

    /// Whether everything that a clean stop owes has been sent and handled.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.stopping && self.links.is_quiet() && self.sip.is_quiet()
    }

    /// Whether everything that was owed behind [`Self::is_quiet`], to whoever wrote late, has been sent.
    #[must_use]
    pub fn is_written(&self) -> bool {
        self.links.is_written() && self.sip.is_quiet()
    }

    /// What is to be done next.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    // ------------------------------------------------------------------------------------------- status

    /// Contacts and messages in numbers.
    #[must_use]
    pub fn bridge_status(&self) -> Snapshot {
        self.bridge.status()
    }

    /// Each SIP domain with its kind of server, and what taught it.
    pub fn dialects(&self) -> impl Iterator<Item = (&str, Profile, Option<&Learned>)> {
        self.sip.dialects()
    }

    /// SIP in numbers.
    #[must_use]
    pub fn sip_status(&self) -> stox_sip::ua::Status {
        self.sip.status()
    }

    /// Each line at a SIP provider, with its state.
    pub fn lines(&self, now: Now) -> impl Iterator<Item = (String, LineState)> + '_ {
        self.sip.registrations(now)
    }

    /// Each link.
    pub fn link_status(&self) -> impl Iterator<Item = (&LinkName, LinkStatus)> {
        self.links.status()
    }

    // ------------------------------------------------------------------------------------------- inside

    fn place(&self, iq: &adapt::Iq) -> server::Place {
        server::Place {
            conferences: self.conferences.contains(&canonical_domain(&iq.to.domain)),
            occupant: self.bridge.in_conference(&iq.from, &iq.to),
        }
    }

    fn tell(&mut self, input: Input, now: Now) {
        journal::input(&input);
        self.bridge.handle(input, now);
    }

    /// The refusal of somebody who wants to watch a user of a domain that is known to lead nowhere: 404 at once, where the
    /// subscription would only end a moment later.
    fn refuses_watcher(&self, input: &SipIn, now: Now) -> Option<SipOut> {
        let SipIn::Watcher {
            reference,
            event:
                WatcherEvent::Arrived {
                    watcher,
                    presentity,
                    ..
                },
        } = input
        else {
            return None;
        };
        let (from, to) = (sip_to_jid(watcher).ok()?, sip_to_jid(presentity).ok()?);
        let name = self.way(&from, &to);
        let failure = self.links.leads_nowhere(&name, now)?;
        Some(SipOut::RefuseWatcher {
            reference: *reference,
            failure,
        })
    }

    /// Carries words between the machines until none has anything left to say.
    fn settle(&mut self, now: Now) {
        loop {
            let mut idle = true;
            while let Some(input) = self.sip.poll_input() {
                idle = false;
                match self.refuses_watcher(&input, now) {
                    Some(refusal) => self.carry_out(Command::Sip(refusal), now),
                    None => self.tell(Input::Sip(input), now),
                }
            }
            while let Some((element, failure)) = self.links.poll_unaskable() {
                idle = false;
                if let Some(error) = adapt::unaskable(&element, &failure) {
                    self.tell(Input::Xmpp(error), now);
                }
            }
            while let Some((reference, outcome)) = self.links.poll_settled() {
                idle = false;
                let told = outcome.is_ok();
                self.bridge
                    .handle(Input::Xmpp(XmppIn::Settled { reference, outcome }), now);
                // Of a report that is given up for good no more will come.
                let given_up = !self.stopping && !self.bridge.owes_report(reference);
                if told || given_up {
                    self.is_handled(reference);
                }
            }
            while let Some(command) = self.bridge.poll_command() {
                idle = false;
                self.carry_out(command, now);
            }
            if idle {
                break;
            }
        }
        while let Some(learned) = self.sip.poll_learned() {
            tracing::info!(
                partner = learned.domain,
                dialect = learned.profile.word(),
                im = learned.im.map(Word::word),
                because = learned.evidence,
                "learnt how a SIP domain speaks"
            );
            // What has no name is learnt anew, so that strangers do not fill the store.
            if !self.sip.has_found(&learned.domain) {
                let lesson = StoreOut::Learn(Lesson::from(&learned));
                self.effects.push_back(Effect::Store(lesson));
            }
        }
        while let Some(trouble) = self.sip.poll_trouble() {
            journal::trouble(&trouble);
        }
        while let Some(impostor) = self.sip.poll_impostor() {
            journal::impostor(&impostor);
        }
        while let Some(impostor) = self.sip.poll_msrp_impostor() {
            journal::msrp_impostor(&impostor);
        }
        while let Some(news) = self.sip.poll_registration_news() {
            journal::registration(&news);
        }
        if let Some(news) = self.sip.poll_relay_news() {
            journal::relay(&news);
        }
        self.effects
            .extend(std::iter::from_fn(|| self.sip.poll_resolve()).map(Effect::Resolve));
        self.effects
            .extend(std::iter::from_fn(|| self.sip.poll_transmit()).map(Effect::Send));
        self.effects
            .extend(std::iter::from_fn(|| self.sip.poll_msrp_dial()).map(Effect::DialMsrp));
        let octets = std::iter::from_fn(|| self.sip.poll_msrp_transmit());
        self.effects
            .extend(octets.map(|(flow, octets)| Effect::SendMsrp(flow, octets)));
        self.effects
            .extend(std::iter::from_fn(|| self.sip.poll_msrp_close()).map(Effect::CloseMsrp));
        self.effects
            .extend(std::iter::from_fn(|| self.links.poll_effect()));
    }

    fn carry_out(&mut self, command: Command, now: Now) {
        journal::command(&command);
        match command {
            Command::Sip(out) => self.sip.command(out, now),
            Command::Xmpp(out) => {
                if let XmppOut::MessageError { reference, .. } = &out {
                    self.wait(*reference);
                }
                self.send_stanza(&out, now);
            }
            Command::Store(out) => {
                match &out {
                    StoreOut::Keep(message) => self.wait(message.reference),
                    StoreOut::Settle(reference) => self.is_handled(*reference),
                    StoreOut::Put { .. }
                    | StoreOut::Remove(_)
                    | StoreOut::Learn(_)
                    | StoreOut::Record(_)
                    | StoreOut::Amend(_) => {}
                }
                self.effects.push_back(Effect::Store(out));
            }
        }
    }

    /// The stanza that is being worked on is handled when that message is kept, or its sender told.
    fn wait(&mut self, reference: Ref) {
        if let Some(token) = self.current.take() {
            let held = Held {
                token,
                not_kept: false,
            };
            self.waiting.insert(reference, held);
        }
    }

    fn is_handled(&mut self, reference: Ref) {
        if let Some(held) = self.waiting.remove(&reference) {
            self.effects.push_back(Effect::Handled(held.token));
        }
    }

    /// A contact who is reached through an account is not reached beside it: answers would come from another address than
    /// she wrote to.
    fn refuse_beside(&mut self, name: &LinkName, element: &Element, now: Now) {
        tracing::debug!(
            partner = name.partner,
            "a stanza to a user who reaches that domain through an account is refused beside it"
        );
        if let Some(refusal) = accounts::refusal(element) {
            self.links.send(name, plain(refusal), now);
        }
        self.settle(now);
    }

    /// By which way stanzas from a SIP user go to an XMPP user.
    fn way(&self, from: &Jid, to: &Jid) -> LinkName {
        match self.accounts.between(from, &to.domain) {
            Some(account) => LinkName::of_account(account, &to.domain),
            None => LinkName::new(&from.domain, &to.domain),
        }
    }

    fn send_stanza(&mut self, out: &XmppOut, now: Now) {
        let (from, to) = match out {
            XmppOut::Message { from, to, .. }
            | XmppOut::MessageError { from, to, .. }
            | XmppOut::ChatState { from, to, .. }
            | XmppOut::Receipt { from, to, .. }
            | XmppOut::Presence { from, to, .. }
            | XmppOut::PresenceError { from, to, .. } => (from, to),
            XmppOut::Muc(out) => out.addresses(),
        };
        let name = self.way(from, to);
        self.links.send(&name, Outgoing::from_core(out, now), now);
    }
}

/// A stanza whose fate nobody waits for.
fn plain(element: Element) -> Outgoing {
    Outgoing {
        reference: None,
        element,
        deadline: None,
    }
}

#[cfg(test)]
mod tests;
