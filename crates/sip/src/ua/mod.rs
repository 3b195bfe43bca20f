//! The SIP user agent: everything between SIP messages and the words of the bridge.
//!
//! [`UserAgent`] is sans-IO. It is told what arrives ([`UserAgent::receive_datagram`], [`UserAgent::receive`]), what the
//! bridge wants ([`UserAgent::command`]), what name resolution found ([`UserAgent::resolved`]) and what the network did
//! ([`UserAgent::transport_failed`], [`UserAgent::connection_closed`]); it is polled for octets to send, for names to
//! resolve, for words to the bridge, and for the time of its next wake-up.

mod conference;
mod connections;
mod edge;
mod effects;
mod impostors;
mod incoming;
mod msrp;
mod notifier;
mod outgoing;
mod pacing;
mod page_message;
mod received;
mod refusals;
mod registration;
mod relay;
mod routing;
mod session;
pub mod settings;
mod settling;
mod subscriber;
mod troubles;
pub mod trust;
mod typing;

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use stox_core::address::{SipAddress, canonical_domain};
use stox_core::failure::{Failure, Local};
use stox_core::rates::Rates;
use stox_core::time::{Entropy, Now};
use stox_core::vocab::{Ref, SipIn, SipOut, SubscriptionEvent, Trace};

use self::conference::{Foci, Invitations, Participants};
use self::effects::{Asked, Effects, Env};
use self::impostors::Impostors;
pub use self::impostors::{Cure, Impostor, MsrpImpostor};
use self::notifier::Watchers;
use self::outgoing::Requests;
pub use self::outgoing::{Resolve, ResolveId};
use self::page_message::{Inbox, Page, Pages};
use self::registration::Registrations;
pub use self::registration::{LineState, Registration, RegistrationNews};
use self::relay::RelayClient;
pub use self::relay::RelayNews;
use self::session::Sessions;
pub use self::settings::Settings;
use self::subscriber::Subscriptions;
pub use self::troubles::Trouble;
use self::troubles::Troubles;
use self::trust::SipDomain;
use self::typing::Typists;
use crate::dialect::{Dialects, ImMode, Learned, Profile};
use crate::message::{Message, Request, Response};
use crate::method::Method;
use crate::msrp::endpoint::Endpoint;
use crate::parse::ParseError;
use crate::target::TargetError;
use crate::transaction::{Counters, TransactionLayer};
use crate::transport::{Destination, FlowId, Source, Target, Transmit};

/// What a user agent holds at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Status {
    /// Subscriptions of ours.
    pub subscriptions: usize,
    /// Those of them whose dialog is up.
    pub established: usize,
    /// Watchers.
    pub watchers: usize,
    /// MESSAGEs, and texts inside INVITEs, that the bridge has not answered.
    pub messages_in: usize,
    /// MESSAGEs under way.
    pub messages_out: usize,
    /// MESSAGEs that wait for an earlier one to the same address, or for a session.
    pub messages_queued: usize,
    /// IM sessions.
    pub sessions: usize,
    /// XMPP users in SIP conferences.
    pub participants: usize,
    /// SIP users in XMPP rooms.
    pub guests: usize,
    /// Subscriptions of theirs to those rooms.
    pub room_watchers: usize,
    /// Requests that wait for name resolution.
    pub resolving: usize,
    /// Requests that wait for their partner's pace.
    pub paced: usize,
    /// Client transactions.
    pub client_transactions: usize,
    /// Server transactions.
    pub server_transactions: usize,
}

/// A SIP user agent for the users of all XMPP domains that we speak for.
pub struct UserAgent {
    settings: Settings,
    entropy: Box<dyn Entropy>,
    transactions: TransactionLayer,
    effects: Effects,
    /// Answers to requests without transaction.
    strays: VecDeque<Transmit>,
    requests: Requests,
    subscriptions: Subscriptions,
    watchers: Watchers,
    pages: Pages,
    inbox: Inbox,
    sessions: Sessions,
    participants: Participants,
    foci: Foci,
    invitations: Invitations,
    typists: Typists,
    message_rates: Rates,
    notice_rates: Rates,
    subscribe_rates: Rates,
    dialects: Dialects,
    msrp: Endpoint,
    relay: RelayClient,
    troubles: Troubles,
    impostors: Impostors,
    registrations: Registrations,
    last_ref: u64,
}

/// Runs one call of a usage with what it needs of the user agent.
macro_rules! with {
    ($self:ident . $usage:ident . $call:ident ( $($argument:expr),* ), $now:expr) => {
        $self.$usage.$call($($argument,)* &mut Env {
            settings: &$self.settings,
            entropy: $self.entropy.as_mut(),
            now: $now,
            effects: &mut $self.effects,
            dialects: &mut $self.dialects,
            msrp: &mut $self.msrp,
        })
    };
}

use with;

impl UserAgent {
    /// A user agent without dialogs.
    #[must_use]
    pub fn new(mut settings: Settings, mut entropy: Box<dyn Entropy>) -> Self {
        let msrp = settings.msrp.as_ref();
        let msrp = msrp.map(|msrp| msrp.endpoint).unwrap_or_default();
        let msrp = Endpoint::new(msrp, entropy.another());
        settings.transactions.sent_by = settings.local.sent_by();
        Self {
            transactions: TransactionLayer::new(settings.transactions.clone(), entropy.as_mut()),
            relay: RelayClient::new(&settings),
            registrations: Registrations::new(&settings, entropy.as_mut()),
            settings,
            entropy,
            effects: Effects::default(),
            strays: VecDeque::new(),
            requests: Requests::default(),
            subscriptions: Subscriptions::default(),
            watchers: Watchers::default(),
            pages: Pages::default(),
            inbox: Inbox::default(),
            sessions: Sessions::default(),
            participants: Participants::default(),
            foci: Foci::default(),
            invitations: Invitations::default(),
            typists: Typists::default(),
            message_rates: Rates::default(),
            notice_rates: Rates::default(),
            subscribe_rates: Rates::default(),
            dialects: Dialects::default(),
            msrp,
            troubles: Troubles::default(),
            impostors: Impostors::default(),
            last_ref: 0,
        }
    }

    /// Replaces the settings. Dialogs and transactions live on; names of ours change with a new user agent only.
    pub fn reconfigure(&mut self, mut settings: Settings) {
        settings.transactions = self.settings.transactions.clone();
        settings.local = self.settings.local.clone();
        settings.found = std::mem::take(&mut self.settings.found);
        let relay = |settings: &Settings| settings.msrp.as_ref().map(|msrp| msrp.relay.clone());
        if relay(&settings) != relay(&self.settings) {
            self.relay.start_anew();
        }
        self.settings = settings;
    }

    /// Federates with one more domain from here on: one that its DNS has, and that proves itself by its own certificate.
    pub fn admit(&mut self, domain: SipDomain) {
        if self.settings.sip_domain(&domain.name).is_none() {
            let name = canonical_domain(&domain.name);
            self.settings.found.insert(name, domain);
        }
    }

    /// Speaks for users of these XMPP domains, too, whom single SIP users reach.
    pub fn set_users_domains(&mut self, domains: Vec<stox_core::policy::DomainPattern>) {
        self.settings.users_domains = domains;
    }

    /// Federates with a domain of [`Self::admit`] no more.
    pub fn forget(&mut self, domain: &str) {
        if let Some(gone) = self.settings.found.remove(&canonical_domain(domain)) {
            self.dialects.forget(domain);
            self.requests.forget(&gone);
            let rates = [
                &mut self.message_rates,
                &mut self.notice_rates,
                &mut self.subscribe_rates,
            ];
            for rates in rates {
                rates.forget(&gone.name);
            }
        }
    }

    /// Whether a domain of [`Self::admit`] is federated with.
    #[must_use]
    pub fn has_found(&self, domain: &str) -> bool {
        self.settings.found.contains_key(&canonical_domain(domain))
    }

    /// The SIP domain, canonical, that a request is from and that its connection has proved by a certificate (RFC 5922), where
    /// it is for a user of ours and the domain is none that we federate with.
    #[must_use]
    pub fn proved_stranger(&self, source: &Source, request: &Request) -> Option<String> {
        let from = refusals::sender(request).ok()?;
        let to = refusals::recipient(request).ok()?;
        let is_proved = trust::names_host(&source.certificate_names, &from.host);
        let is_strange = is_proved && self.settings.sip_domain(&from.host).is_none();
        (is_strange && self.settings.serves(&to.host)).then(|| canonical_domain(&from.host))
    }

    /// A request came in that can be served later at best.
    pub fn put_off(&mut self, source: &Source, request: Request) {
        self.turn_away(source, request, 503, "Service Unavailable");
    }

    /// The domains that sessions, conferences and requests under way are with, canonical.
    #[must_use]
    pub fn domains_in_use(&self) -> BTreeSet<String> {
        let sessions = self.sessions.domains().chain(self.participants.domains());
        let all = sessions
            .chain(self.foci.domains())
            .chain(self.requests.domains());
        all.map(canonical_domain).collect()
    }

    /// Takes up what an earlier run has learnt of its peers.
    pub fn restore(&mut self, learned: impl IntoIterator<Item = Learned>, now: Now) {
        for lesson in learned {
            self.dialects.restore(lesson, now.mono);
        }
    }

    /// Something new that was learnt of a peer, to be kept.
    pub fn poll_learned(&mut self) -> Option<Learned> {
        self.dialects.poll_news()
    }

    /// Each federated domain with its kind of server, and what taught it where its rule leaves that open.
    pub fn dialects(&self) -> impl Iterator<Item = (&str, Profile, Option<&Learned>)> {
        self.settings.all_sip_domains().map(|domain| {
            let rule = &domain.dialect;
            let learned = self
                .dialects
                .learned(&domain.name)
                .filter(|_| rule.profile.is_none());
            let profile = self.dialects.profile(&domain.name, rule);
            (domain.name.as_str(), profile, learned)
        })
    }

    /// Each federated domain with the name of its server, which may be that of others, too, and the requests that it
    /// takes in a second (0: as many as there are).
    pub fn servers(&self) -> impl Iterator<Item = (&str, &str, u32)> {
        self.settings.all_sip_domains().map(|domain| {
            let behaviour = self.settings.behaviour(&domain.name, &self.dialects);
            let pace = behaviour.requests_per_second;
            (domain.name.as_str(), domain.server(), pace)
        })
    }

    /// A datagram came in.
    pub fn receive_datagram(&mut self, source: &Source, octets: &[u8], now: Now) {
        match Message::parse_datagram(octets) {
            Ok(message) => self.receive(source, message, now),
            Err(error) => self.unreadable(source, error),
        }
    }

    /// A stream yielded a message, or the end of all sense: that is answered where it can be, and the shell closes the
    /// connection once the answer is out.
    pub fn receive_framed(
        &mut self,
        source: &Source,
        framed: Result<Message, ParseError>,
        now: Now,
    ) {
        match framed {
            Ok(message) => self.receive(source, message, now),
            Err(error) => self.unreadable(source, error),
        }
    }

    /// Octets came in that are no message. What can be answered is; the rest is dropped.
    fn unreadable(&mut self, source: &Source, error: ParseError) {
        let (status, reason) = error.kind.status();
        if let Some(request) = error.answerable {
            self.turn_away(source, *request, status, reason);
        }
    }

    /// Answers a request that cannot become a transaction. Where not even its `Via` says where to, that is where it came
    /// from: no reason to keep a peer in the dark.
    fn turn_away(&mut self, source: &Source, request: Request, status: u16, reason: &str) {
        if matches!(request.method, Method::ACK | Method::BENOTIFY) {
            return;
        }
        if incoming::has_transaction(&request) {
            self.transactions.refuse(source, request, status, reason);
        } else if incoming::is_answerable(&request) {
            let response = Response::for_request(&request, status, reason);
            self.strays
                .push_back(incoming::straight_back(source, &response));
        }
    }

    /// A message came in, from a datagram or a stream.
    pub fn receive(&mut self, source: &Source, message: Message, now: Now) {
        if let Message::Request(request) = &message {
            let connections = &mut self.requests.connections;
            connections.heard(source, request, &self.settings);
        }
        match message {
            // COMPAT(ocs): never answered, so there is no transaction to keep.
            Message::Request(request) if request.method == Method::BENOTIFY => {
                let asked = Asked {
                    request,
                    server: None,
                    source: source.clone(),
                };
                self.take(asked, now);
            }
            Message::Request(request) if !incoming::has_transaction(&request) => {
                self.turn_away(source, request, 400, "Malformed Via Or CSeq Header Field");
            }
            message => self.transactions.receive(source, message, now),
        }
        self.settle(now);
    }

    /// The bridge wants something.
    pub fn command(&mut self, out: SipOut, now: Now) {
        match out {
            SipOut::Message {
                reference,
                from,
                to,
                im,
            } => {
                let page = Page::new(reference, from, to, im);
                self.send_message(page, now);
            }
            SipOut::ChatState {
                from,
                to,
                thread,
                state,
            } => {
                let (parties, thread) = ((&from, &to), thread.as_deref());
                if self.sessions.has(&from, &to) {
                    self.pages.ends_typing(&from, &to);
                    with!(self.sessions.chat_state(parties, thread, state), now);
                } else {
                    with!(self.pages.chat_state(parties, thread, state), now);
                }
            }
            SipOut::Receipt { reference, receipt } => {
                if !with!(self.sessions.receipt(reference, receipt), now) {
                    with!(self.pages.receipt(reference, receipt), now);
                }
            }
            SipOut::AnswerMessage { reference, outcome } => {
                if outcome.is_err() {
                    self.pages.owes_nothing(reference);
                }
                if !with!(self.sessions.answer(reference, &outcome), now)
                    && !with!(self.sessions.answer_delivery(reference, &outcome), now)
                {
                    let session = with!(self.inbox.answer(reference, &outcome), now);
                    if let Some(session) = session {
                        self.sessions.settles(session, reference, outcome);
                    }
                }
            }
            SipOut::Subscribe {
                reference,
                watcher,
                presentity,
                poll,
                trace,
            } => self.subscribe(reference, (watcher, presentity), poll, trace, now),
            SipOut::Unsubscribe { reference } => {
                with!(self.subscriptions.unsubscribe(reference), now);
            }
            SipOut::AcceptWatcher { reference } => with!(self.watchers.accept(reference), now),
            SipOut::RefuseWatcher { reference, failure } => {
                with!(self.watchers.reject(reference, &failure), now);
            }
            SipOut::Notify {
                reference,
                state,
                document,
            } => with!(self.watchers.notify(reference, state, document), now),
            SipOut::Conference(out) => self.conference(out, now),
            SipOut::Focus(out) => self.focus(out, now),
            SipOut::AnswerInvitation { reference, outcome } => {
                with!(self.invitations.answer(reference, &outcome), now);
            }
        }
        self.settle(now);
    }

    /// Sends a message the way that its peer wants, or the other way when the peer has refused it.
    fn send_message(&mut self, page: Page, now: Now) {
        let wanted = self.env(now).behaviour(&page.to.host).im;
        let mode = match &page.refused {
            Some(refused) if refused.mode == ImMode::Page => ImMode::Session,
            Some(_) => ImMode::Page,
            None if self.pages.has(&page.from, &page.to) => ImMode::Page,
            None if self.sessions.has(&page.from, &page.to) => ImMode::Session,
            None => wanted,
        };
        match mode {
            ImMode::Page => with!(self.pages.send(page), now),
            ImMode::Session => {
                self.pages.ends_typing(&page.from, &page.to);
                with!(self.sessions.send(page), now);
            }
        }
    }

    /// The gateway stops: sessions end.
    pub fn shut_down(&mut self, now: Now) {
        with!(self.sessions.shut_down(), now);
        with!(self.participants.shut_down(), now);
        with!(self.foci.shut_down(), now);
        with!(self.registrations.shut_down(), now);
        self.relay.stop(&mut self.msrp, now);
        self.settle(now);
    }

    fn subscribe(
        &mut self,
        reference: Ref,
        parties: (SipAddress, SipAddress),
        poll: bool,
        trace: Trace,
        now: Now,
    ) {
        if self.is_full() {
            let failure = Failure::Local(Local::Overloaded);
            let event = SubscriptionEvent::Refused(failure);
            let input = SipIn::Subscription { reference, event };
            self.effects.inputs.push_back(input);
            return;
        }
        with!(
            self.subscriptions
                .subscribe(reference, parties, poll, trace),
            now
        );
    }

    fn is_full(&self) -> bool {
        self.subscriptions.len() + self.watchers.len() >= self.settings.limits.dialogs
    }

    /// Name resolution is over.
    pub fn resolved(&mut self, id: ResolveId, answer: Result<Vec<Target>, TargetError>, now: Now) {
        let sent = self
            .requests
            .resolved(id, answer, &self.settings, &mut self.transactions, now);
        if let Some((purpose, fate)) = sent {
            self.settled(purpose, fate, now);
        }
        self.settle(now);
    }

    /// Octets for this destination could not be sent, or the connection dialled for it could not be opened or closed.
    pub fn transport_failed(&mut self, destination: &Destination, now: Now) {
        if let Destination::Connection(flow) = destination {
            self.watchers.connection_closed(*flow);
            self.foci.connection_closed(*flow);
        }
        self.requests.connections.lost(destination);
        self.transactions.transport_failed(destination, now);
        self.settle(now);
    }

    /// A connection is gone.
    pub fn connection_closed(&mut self, flow: FlowId, now: Now) {
        self.watchers.connection_closed(flow);
        self.foci.connection_closed(flow);
        self.requests.connections.closed(flow);
        self.registrations.connection_closed(flow, now.mono);
        self.transactions.connection_closed(flow, now);
        self.settle(now);
    }

    /// The next octets to send.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        let stray = self.strays.pop_front();
        let transmit = stray.or_else(|| self.transactions.poll_transmit())?;
        self.requests.connections.sent_to(&transmit.destination);
        Some(transmit)
    }

    /// The next hop to find targets for.
    pub fn poll_resolve(&mut self) -> Option<Resolve> {
        self.requests.poll_resolve()
    }

    /// The next word to the bridge.
    pub fn poll_input(&mut self) -> Option<SipIn> {
        self.effects.inputs.pop_front()
    }

    /// The next word to the administrator.
    pub fn poll_trouble(&mut self) -> Option<Trouble> {
        self.troubles.poll()
    }

    /// The next sender that was refused and that the administrator should hear of.
    pub fn poll_impostor(&mut self) -> Option<Impostor> {
        self.impostors.poll()
    }

    /// The next stranger on MSRP that the administrator should hear of.
    pub fn poll_msrp_impostor(&mut self) -> Option<MsrpImpostor> {
        self.impostors.poll_msrp()
    }

    /// The next thing to hear of a line at a provider.
    pub fn poll_registration_news(&mut self) -> Option<RegistrationNews> {
        self.registrations.poll()
    }

    /// Each line at a provider, by its address of record, with its state.
    pub fn registrations(&self, now: Now) -> impl Iterator<Item = (String, LineState)> + '_ {
        self.registrations.states(now.mono)
    }

    /// When [`UserAgent::handle_timeout`] is to be called next, in monotonic time.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Duration> {
        [
            self.transactions.poll_timeout(),
            self.subscriptions.next_timeout(),
            self.watchers.next_timeout(),
            self.pages.next_timeout(),
            self.sessions.next_timeout(),
            self.participants.next_timeout(),
            self.foci.next_timeout(),
            self.typists.next_timeout(),
            self.requests.next_timeout(),
            self.msrp.poll_timeout(),
            self.relay.next_timeout(),
            self.registrations.next_timeout(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Runs the timers that are due.
    pub fn handle_timeout(&mut self, now: Now) {
        self.transactions.handle_timeout(now);
        with!(self.subscriptions.handle_timeout(), now);
        with!(self.watchers.handle_timeout(), now);
        with!(self.pages.handle_timeout(), now);
        with!(self.sessions.handle_timeout(), now);
        with!(self.participants.handle_timeout(), now);
        with!(self.foci.handle_timeout(), now);
        with!(self.typists.handle_timeout(), now);
        self.msrp.handle_timeout(now);
        self.relay
            .handle_timeout(&self.settings, &mut self.msrp, now);
        with!(self.registrations.handle_timeout(), now);
        self.send_paced(now);
        self.settle(now);
    }

    /// Sends requests whose turn has come.
    fn send_paced(&mut self, now: Now) {
        while let Some((purpose, fate)) =
            self.requests
                .handle_timeout(&self.settings, &mut self.transactions, now)
        {
            self.settled(purpose, fate, now);
        }
    }

    /// What is held at the moment.
    #[must_use]
    pub fn status(&self) -> Status {
        let (client_transactions, server_transactions) = self.transactions.live();
        let (messages_out, messages_queued) = self.pages.counts();
        Status {
            subscriptions: self.subscriptions.len(),
            established: self.subscriptions.established(),
            watchers: self.watchers.len(),
            messages_in: self.inbox.len() + self.sessions.unanswered() + self.conferences_owe(),
            messages_out,
            messages_queued: messages_queued + self.sessions.waiting(),
            sessions: self.sessions.len(),
            participants: self.participants.len(),
            guests: self.foci.len(),
            room_watchers: self.foci.watching(),
            resolving: self.requests.resolving(),
            paced: self.requests.paced(),
            client_transactions,
            server_transactions,
        }
    }

    /// Nothing is under way: every request has its fate, and every message its answer.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.requests.is_empty()
            && self.inbox.len() == 0
            && self.sessions.unanswered() == 0
            && self.sessions.under_way() == 0
            && self.conferences_owe() == 0
            && self.effects.inputs.is_empty()
    }

    /// Nothing is held for any peer: no dialog, session, transaction or timer, and no message.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.status() == Status::default()
            && self.is_quiet()
            && self.pages.is_empty()
            && self.sessions.is_empty()
            && self.participants.is_empty()
            && self.foci.is_empty()
            && self.msrp.is_empty()
            && self.poll_timeout().is_none()
    }

    /// What the transaction layer has counted.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.transactions.counters()
    }
}
