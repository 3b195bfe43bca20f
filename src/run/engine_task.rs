//! The one task that owns the engine: takes every input, carries out every effect.

mod unnamed;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use stox_core::vocab::{Outcome, StoreIn, StoreOut};
use stox_sip::dialect::{Learned, Profile, Word};
use stox_sip::target::{TargetError, TransportPolicy};
use stox_sip::transport::{Destination, Target};
use stox_sip::ua::{LineState, Resolve, ResolveId};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

use crate::admin::{
    BridgeStatus, LinkStatus, RegistrationStatus, SipDomainStatus, SipStatus, Status, StatusRequest,
};
use crate::clock::Clock;
use crate::config::Network;
use crate::engine::{Effect, Engine, StanzaToken};
use crate::entropy::OsEntropy;
use crate::net::dns::Dns;
use crate::net::expiry;
use crate::net::lookup;
use crate::net::tls::TlsSettings;
use crate::sockets::msrp::{MsrpArrival, MsrpSockets};
use crate::sockets::sip::{SipArrival, SipSockets};
use crate::store::{Owed, StoreWriter};
use crate::streams::{AccountPlan, Handled, StreamArrival, Streams};
use unnamed::Strangers;

/// At most one warning of lost entries of the ledger in this time.
const LEDGER_WARNINGS: Duration = Duration::from_secs(60);
/// When a store that was full is tried again.
const RETRY_STORE: Duration = Duration::from_millis(100);

/// The answer to one resolution.
pub(super) type Resolved = (ResolveId, Result<Vec<Target>, TargetError>);

/// Everything that the engine hears.
pub(super) struct Inputs {
    pub(super) sip: mpsc::Receiver<SipArrival>,
    pub(super) msrp: mpsc::Receiver<MsrpArrival>,
    pub(super) xmpp: mpsc::Receiver<StreamArrival>,
    pub(super) stored: mpsc::Receiver<StoreIn>,
    pub(super) resolved: mpsc::Receiver<Resolved>,
    pub(super) asked: mpsc::Receiver<StatusRequest>,
    pub(super) accounts: mpsc::Receiver<Vec<AccountPlan>>,
    pub(super) stopping: mpsc::Receiver<()>,
    pub(super) tls: watch::Receiver<Arc<TlsSettings>>,
}

/// The engine and what it works with.
pub(super) struct EngineTask {
    engine: Engine,
    clock: Clock,
    sockets: SipSockets,
    msrp: MsrpSockets,
    streams: Streams,
    store: StoreWriter,
    /// What the store's queue had no room for. Messages are refused instead.
    backlog: Owed,
    ledger: LedgerLosses,
    dns: Dns,
    resolving: mpsc::Sender<Resolved>,
    policy: Arc<TransportPolicy>,
    /// Networks that the targets of SIP domains without a name may be in though these are not public.
    networks: Arc<[Network]>,
    strangers: Strangers,
    /// When domains whose records are over were last looked for.
    swept: Duration,
    handled: BTreeMap<StanzaToken, Handled>,
    next_token: u64,
}

impl EngineTask {
    #[allow(
        clippy::too_many_arguments,
        reason = "each is one part of the process, named at the only call"
    )]
    pub(super) fn new(
        engine: Engine,
        clock: Clock,
        sockets: SipSockets,
        msrp: MsrpSockets,
        streams: Streams,
        store: StoreWriter,
        dns: Dns,
        resolving: mpsc::Sender<Resolved>,
        (policy, networks): (Arc<TransportPolicy>, Arc<[Network]>),
    ) -> Self {
        Self {
            engine,
            clock,
            sockets,
            msrp,
            streams,
            store,
            backlog: Owed::default(),
            ledger: LedgerLosses::default(),
            dns,
            resolving,
            policy,
            networks,
            strangers: Strangers::default(),
            swept: Duration::ZERO,
            handled: BTreeMap::new(),
            next_token: 0,
        }
    }

    /// Runs until told to stop, then for as long as a clean stop needs, `stop_within` at most: first what is under way
    /// gets its outcome, which may come on the partners' streams; then those are closed, and whatever still came on
    /// them is answered.
    pub(super) async fn run(mut self, mut inputs: Inputs, stop_within: Duration) {
        let mut deadline: Option<Instant> = None;
        let mut leaving = false;
        loop {
            self.carry_out();
            if !leaving && self.engine.is_quiet() {
                self.streams.leave();
                leaving = true;
            }
            if deadline.is_some_and(|at| Instant::now() >= at)
                || (leaving && self.streams.is_left() && self.engine.is_written())
            {
                break;
            }
            let wake = self.next_wake(deadline);
            tokio::select! {
                Some(arrival) = inputs.sip.recv() => self.sip(arrival),
                Some(arrival) = inputs.msrp.recv() => self.msrp(arrival),
                Some(arrival) = inputs.xmpp.recv() => self.xmpp(arrival),
                Some(answer) = inputs.stored.recv() => self.engine.stored(answer, self.clock.now()),
                Some((id, targets)) = inputs.resolved.recv() => {
                    self.engine.sip_resolved(id, targets, self.clock.now());
                }
                Some(reply) = inputs.asked.recv() => {
                    // Whoever asked may have gone.
                    _ = reply.send(self.status());
                }
                Some(plans) = inputs.accounts.recv() => self.set_accounts(plans),
                Some(()) = inputs.stopping.recv() => {
                    if deadline.is_some() {
                        tracing::warn!("told to stop again; stopping at once");
                        break;
                    }
                    tracing::info!("stopping: contacts are told that their partners leave");
                    self.engine.shut_down(self.clock.now());
                    deadline = Some(Instant::now() + stop_within);
                }
                Ok(()) = inputs.tls.changed() => {
                    let fingerprint = inputs.tls.borrow_and_update().fingerprint.clone();
                    tracing::debug!(%fingerprint, "MSRP offers name another certificate from now on");
                    self.engine.msrp_certificate(fingerprint);
                }
                () = self.sockets.admit_next() => {}
                () = sleep_until(wake) => {
                    self.sweep();
                    self.engine.handle_timeout(self.clock.now());
                }
            }
        }
        self.carry_out();
        // Nobody hears the store's answers any more, and it must not wait for that.
        inputs.stored.close();
        self.store.finish(std::mem::take(&mut self.backlog));
        let last = Instant::now() + Duration::from_secs(2);
        self.streams
            .finish(deadline.unwrap_or(last).min(last))
            .await;
    }

    /// Links of accounts that are gone are given up before their sessions.
    pub(super) fn set_accounts(&mut self, plans: Vec<AccountPlan>) {
        let ways = plans.iter().map(|plan| plan.way.clone()).collect();
        self.engine.set_accounts(ways, self.clock.now());
        self.streams.set_accounts(plans);
    }

    fn next_wake(&self, deadline: Option<Instant>) -> Instant {
        let mut wake = Instant::now() + Duration::from_secs(3600);
        if let Some(at) = self.engine.poll_timeout() {
            wake = wake.min(self.clock.instant(at));
        }
        if let Some(at) = self.next_sweep() {
            wake = wake.min(self.clock.instant(at));
        }
        if let Some(at) = deadline {
            wake = wake.min(at);
        }
        if !self.backlog.is_empty() {
            wake = wake.min(Instant::now() + RETRY_STORE);
        }
        wake
    }

    fn sip(&mut self, arrival: SipArrival) {
        let now = self.clock.now();
        match arrival {
            SipArrival::Datagram { source, octets } => self.engine.datagram(&source, &octets, now),
            SipArrival::Framed { source, message } => self.framed(source, message, now),
            SipArrival::Closed(flow) => {
                self.strangers.left(flow);
                // What was sent there fails first, and then whatever follows may dial again.
                if let Some(target) = self.sockets.closed(flow) {
                    let destination = Destination::Dial(target);
                    self.engine.sip_not_sent(&destination, now);
                }
                self.engine.sip_closed(flow, now);
            }
        }
    }

    fn msrp(&mut self, arrival: MsrpArrival) {
        let now = self.clock.now();
        match arrival {
            MsrpArrival::Accepted {
                flow,
                secure,
                certificate,
                writer,
            } => {
                self.msrp.enter(flow, writer);
                self.engine.msrp_accepted(flow, secure, certificate, now);
            }
            MsrpArrival::Dialled { id, outcome } => {
                let flow = outcome.map(|(flow, writer)| {
                    self.msrp.enter(flow, writer);
                    flow
                });
                self.engine.msrp_dialled(id, flow, now);
            }
            MsrpArrival::Octets { flow, octets } => self.engine.msrp_received(flow, &octets, now),
            MsrpArrival::Written { flow, octets } => self.engine.msrp_written(flow, octets, now),
            MsrpArrival::Closed(flow) => {
                self.msrp.close(flow);
                self.engine.msrp_closed(flow, now);
            }
        }
    }

    fn xmpp(&mut self, arrival: StreamArrival) {
        self.streams.note(&arrival);
        let now = self.clock.now();
        match arrival {
            StreamArrival::Stanza {
                name,
                element,
                handled,
            } => {
                self.next_token += 1;
                let token = StanzaToken(self.next_token);
                self.handled.insert(token, handled);
                self.engine.stanza(&name, &element, token, now);
            }
            StreamArrival::Proved {
                name,
                by_login: true,
                ..
            }
            | StreamArrival::Bidirectional { name, .. } => {
                self.engine.partner_logged_in(&name, now);
            }
            StreamArrival::Proved { name, .. } => self.engine.partner_seen(&name, now),
            StreamArrival::Ready {
                name,
                attempt,
                max_octets,
            } => self.engine.stream_ready(&name, attempt, max_octets, now),
            StreamArrival::Lost(name, attempt, loss) => {
                self.engine.stream_lost(&name, attempt, loss, now)
            }
            StreamArrival::SignedInAgain(account) => self.engine.account_rejoined(&account, now),
            StreamArrival::Rejoined(local) => self.engine.rejoined(&local, now),
            StreamArrival::Seen(name) => self.engine.partner_seen(&name, now),
            StreamArrival::Opened { .. }
            | StreamArrival::Ended { .. }
            | StreamArrival::Component(_)
            | StreamArrival::Account(_)
            | StreamArrival::Left(_)
            | StreamArrival::Discovered { .. } => {}
            StreamArrival::Wanted(wanted) => self.streams.want(wanted),
        }
        self.decide();
    }

    fn carry_out(&mut self) {
        while let Some(command) = self.backlog.pop() {
            if let Err(command) = self.store.send(command) {
                self.backlog.push(command);
                break;
            }
        }
        while let Some(effect) = self.engine.poll_effect() {
            match effect {
                Effect::Send(transmit) => {
                    let destination = transmit.destination.clone();
                    if self.sockets.send(transmit).is_err() {
                        self.not_sent(&destination);
                    }
                }
                Effect::Resolve(resolve) => self.resolve(resolve),
                Effect::DialMsrp(dial) => self.msrp.dial(dial),
                Effect::SendMsrp(flow, octets) => {
                    if !self.msrp.send(flow, octets) {
                        self.engine.msrp_closed(flow, self.clock.now());
                    }
                }
                Effect::CloseMsrp(flow) => self.msrp.close(flow),
                Effect::Connect(name, attempt) => self.streams.connect(name, attempt),
                Effect::Write(name, element) => self.streams.write(&name, element),
                Effect::CloseStream(name, attempt, why) => self.streams.close(&name, attempt, why),
                Effect::Store(command) => self.store(command),
                Effect::Handled(token) => {
                    if let Some(handled) = self.handled.remove(&token) {
                        handled.confirm();
                    }
                }
            }
        }
    }

    fn not_sent(&mut self, destination: &Destination) {
        let now = self.clock.now();
        let lost = self.sockets.take_lost().map(Destination::Dial);
        self.engine.sip_not_sent(destination, now);
        if let Some(lost) = lost.filter(|lost| lost != destination) {
            self.engine.sip_not_sent(&lost, now);
        }
    }

    fn store(&mut self, command: StoreOut) {
        if matches!(command, StoreOut::Record(_) | StoreOut::Amend(_)) {
            if self.store.send(command).is_err() {
                self.ledger.lose(self.clock.now().mono);
            }
            return;
        }
        let refused = if self.backlog.is_empty() {
            self.store.send(command).err()
        } else {
            Some(command)
        };
        match refused {
            None => {}
            Some(StoreOut::Keep(message)) => {
                self.engine
                    .stored(StoreIn::NotKept(message.reference), self.clock.now());
            }
            Some(command) => self.backlog.push(command),
        }
    }

    fn resolve(&self, resolve: Resolve) {
        let (dns, policy, resolving) = (
            self.dns.recalling(),
            self.policy.clone(),
            self.resolving.clone(),
        );
        let networks = resolve.confined.then(|| self.networks.clone());
        tokio::spawn(async move {
            let mut entropy = OsEntropy::default();
            let host = resolve.hop.host.clone();
            let mut targets = lookup::sip(&dns, resolve.hop, &policy, &mut entropy).await;
            if dns.has_recalled() {
                tracing::warn!(
                    host,
                    "DNS does not answer, and its last answer of the past hour is used: the servers must show a certificate; check dns.servers, and the partner's name servers"
                );
                targets = targets.and_then(lookup::proving);
            }
            if let Some(networks) = networks {
                targets = targets.and_then(|targets| confined(&host, targets, &networks));
            }
            if let Err(why) = &targets {
                tracing::warn!(host, %why, "a SIP domain cannot be resolved");
            }
            // Nobody waits for it when the process stops.
            _ = resolving.send((resolve.id, targets)).await;
        });
    }

    fn status(&self) -> Status {
        let bridge = self.engine.bridge_status();
        let watching = bridge
            .watching
            .iter()
            .map(|(state, count)| (format!("XMPP user watches SIP user: {state}"), *count));
        let watched = bridge
            .watched
            .iter()
            .map(|(state, count)| (format!("SIP user watches XMPP user: {state}"), *count));
        let sip = self.engine.sip_status();
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime_seconds: self.clock.now().mono.as_secs(),
            certificate_days_left: self
                .streams
                .certificate_expires()
                .map(|at| expiry::days_left(at, SystemTime::now())),
            xmpp_inbound: self.streams.inbound_status(),
            xmpp_components: self.streams.component_status(),
            xmpp_accounts: self.streams.account_status(),
            xmpp_links: self
                .engine
                .link_status()
                .map(|(name, status)| link_status(name, &status))
                .collect(),
            discovered: self.streams.discovered_status(),
            sip: SipStatus {
                connections: self.sockets.open_connections(),
                transactions: sip.client_transactions + sip.server_transactions,
                paced: sip.paced,
                subscriptions: sip.subscriptions,
                watchers: sip.watchers,
            },
            sip_domains: self.engine.dialects().map(dialect_status).collect(),
            sip_registrations: self
                .engine
                .lines(self.clock.now())
                .map(line_status)
                .collect(),
            bridge: BridgeStatus {
                authorisations: watching
                    .chain(watched)
                    .filter(|(_, count)| *count > 0)
                    .collect(),
                pending_messages: bridge.messages_to_sip
                    + bridge.messages_to_xmpp
                    + bridge.room_messages,
                in_conferences: bridge.in_conferences,
                in_rooms: bridge.in_rooms,
                outcomes: by_name(&bridge.outcomes),
                later: by_name(&bridge.later),
                late_errors: bridge.late_errors,
                lost_reports: bridge.lost_reports,
                unmatched_receipts: bridge.unmatched_receipts,
                left_out: self.ledger.count,
            },
        }
    }
}

/// Nobody who is not named here makes us speak to hosts inside.
fn confined(
    host: &str,
    targets: Vec<Target>,
    networks: &[Network],
) -> Result<Vec<Target>, TargetError> {
    lookup::confine(targets, networks).map_err(|address| {
        tracing::warn!(
            host,
            %address,
            "a SIP domain that no rule names leads to an address that is not public, or to a port below 1024; if it is right, list its network in networks of the [[sip.domain]] rule for \"*\", or name the domain"
        );
        TargetError::NotFound
    })
}

fn by_name(counts: &BTreeMap<Outcome, u64>) -> BTreeMap<String, u64> {
    let named = counts
        .iter()
        .map(|(outcome, count)| (outcome.name().to_owned(), *count));
    named.collect()
}

/// Entries of the ledger that its queue had no room for.
#[derive(Default)]
struct LedgerLosses {
    count: u64,
    /// When the next warning may be written, in monotonic time.
    quiet_until: Duration,
}

impl LedgerLosses {
    fn lose(&mut self, now: Duration) {
        self.count += 1;
        if self.quiet_until <= now {
            tracing::warn!(
                lost = self.count,
                "the disk is too slow for the ledger: entries are left out, messages are not touched; look at the load of \
                 gateway.state_dir's disk"
            );
            self.quiet_until = now + LEDGER_WARNINGS;
        }
    }
}

fn dialect_status(
    (domain, profile, learned): (&str, Profile, Option<&Learned>),
) -> SipDomainStatus {
    let because = match learned {
        Some(learned) => match learned.im {
            Some(im) => format!("{}; messages by {}", learned.evidence, im.word()),
            None => learned.evidence.clone(),
        },
        None => "by the settings, or nothing learnt yet".to_owned(),
    };
    SipDomainStatus {
        domain: domain.to_owned(),
        dialect: profile.word().to_owned(),
        because,
    }
}

fn line_status((address, state): (String, LineState)) -> RegistrationStatus {
    let state = match state {
        LineState::Asking => "asking the registrar".to_owned(),
        LineState::Registered(left) => format!("registered for {}s", left.as_secs()),
        LineState::Failed(why) => format!("NOT registered: {why}"),
        LineState::Removed => "taken back".to_owned(),
    };
    RegistrationStatus { address, state }
}

fn link_status(name: &crate::engine::LinkName, status: &stox_xmpp::link::LinkStatus) -> LinkStatus {
    use stox_xmpp::link::LinkState;
    let state = match status.state {
        LinkState::Idle => "idle",
        LinkState::Connecting => "connecting",
        LinkState::Up => "up",
        LinkState::Waiting { .. } => "waiting to try again",
        LinkState::Refusing { .. } => "failed for now",
        LinkState::Closed => "closed",
    };
    let words = |failure: &stox_core::failure::Failure| {
        stox_core::failure::to_stanza(failure)
            .text
            .unwrap_or_default()
    };
    LinkStatus {
        local: name.local.clone(),
        partner: name.partner.clone(),
        state: state.to_owned(),
        queued: status.queued,
        unproved: status.unfenced,
        last_failure: status.last_failure.as_ref().map(words),
    }
}
