//! XMPP connections to other servers, to those of which we are a component, and to those at which users of ours have
//! accounts: accepting, dialling, TLS, and the tasks that drive the stream machines.

mod account;
mod advice;
mod carried;
mod complaints;
mod component;
mod connection;
mod inbound;
mod outbound;
mod pinned;
mod rules;
mod seeking;
mod worlds;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use minidom::Element;
use rustls::pki_types::CertificateDer;
use stox_core::failure::{Failure, Local};
use stox_xmpp::link::{self, Attempt, Loss};
use stox_xmpp::stream::{PartnerRule, StanzaNumber, TlsInfo};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::admin::{AccountStatus, ComponentStatus, DiscoveredStatus, InboundStatus};
use crate::clock::Clock;
use crate::engine::LinkName;
use crate::net::dane::Verdict;
use crate::net::discovery::Finding;
use crate::net::dns::Dns;
use crate::net::posh::Posh;
use crate::net::tls::CurrentTls;
use crate::sockets::admission::Admission;

pub use account::{AccountNews, AccountPlan, account_plans};
use complaints::Complaints;
pub use component::{Plan, plans};
pub use rules::Rules;
use seeking::Seeking;
pub use seeking::{Asker, Decided, Wanted};
use worlds::Worlds;

/// Stanzas that wait to be written to one stream. The link's window keeps far fewer in flight.
const WRITE_QUEUE: usize = 1_024;
/// Dialback questions on their way at one time: in all, and for streams from one address.
const QUESTIONS: (usize, usize) = (1_024, 64);
/// Domains that DNS is asked about at one time; others wait their turn.
const DISCOVERIES: usize = 64;

/// What the streams tell the engine.
#[derive(Debug)]
pub enum StreamArrival {
    /// A stream to us is open.
    Opened {
        /// Its number.
        stream: u64,
        /// Its peer.
        peer: SocketAddr,
    },
    /// A stream to us has proved a domain.
    Proved {
        /// Its number.
        stream: u64,
        /// The pair.
        name: LinkName,
        /// Inside TLS.
        encrypted: bool,
        /// By SASL EXTERNAL: the peer has still to be told what we offer.
        by_login: bool,
    },
    /// A stream to us may be written to for this pair (XEP-0288).
    Bidirectional {
        /// Its number.
        stream: u64,
        /// The pair.
        name: LinkName,
        /// The way to it.
        writer: mpsc::Sender<Arc<Element>>,
    },
    /// A stanza on a proved stream.
    Stanza {
        /// The proved pair.
        name: LinkName,
        /// The stanza.
        element: Element,
        /// Where to say that it is handled.
        handled: Handled,
    },
    /// A stream to us has ended.
    Ended {
        /// Its number.
        stream: u64,
    },
    /// A stream of ours is authorised.
    Ready {
        /// The pair.
        name: LinkName,
        /// The stream.
        attempt: Attempt,
        /// Largest stanza that the partner takes, where it said so (XEP-0478).
        max_octets: Option<usize>,
    },
    /// A stream of ours has ended, or could not be had.
    Lost(LinkName, Attempt, Loss),
    /// A partner that could not be reached through a component's server can be now, as it seems.
    Seen(LinkName),
    /// The component of that domain is connected again: what was said meanwhile, nobody took.
    Rejoined(String),
    /// How a component is.
    Component(ComponentStatus),
    /// How an account is.
    Account(AccountNews),
    /// That account has a new session: what was said since the last one, nobody took.
    SignedInAgain(Arc<str>),
    /// The component of that domain, or the account of that name, takes nothing more, after [`Streams::leave`].
    Left(String),
    /// Somebody wants to know whether we speak for a domain that no rule names. To be given to [`Streams::want`].
    Wanted(Wanted),
    /// DNS has said in which world a domain lives that no rule names.
    Discovered {
        /// The domain, canonical.
        domain: String,
        /// What was found.
        finding: Finding,
    },
}

/// Tells a stream that one of its stanzas is handled.
#[derive(Debug)]
pub struct Handled {
    /// The channel is unbounded, and yet bounded by the stanzas that the stream itself has passed on.
    stream: Option<(StanzaNumber, mpsc::UnboundedSender<StanzaNumber>)>,
}

impl Handled {
    fn by(number: StanzaNumber, stream: mpsc::UnboundedSender<StanzaNumber>) -> Self {
        Self {
            stream: Some((number, stream)),
        }
    }

    /// Of a stanza on a stream without acknowledgements.
    fn unasked() -> Self {
        Self { stream: None }
    }

    /// The gateway has taken the stanza over.
    pub fn confirm(self) {
        if let Some((number, stream)) = self.stream {
            // A stream that is gone needs no acknowledgement.
            _ = stream.send(number);
        }
    }
}

/// What every stream task needs.
struct Shared {
    rules: Rules,
    tls: CurrentTls,
    dns: Dns,
    posh: Option<Posh>,
    clock: Clock,
    arrivals: mpsc::Sender<StreamArrival>,
    admission: Arc<Admission>,
    /// Dialback questions on their way at one time.
    verifying: Arc<Admission>,
    complaints: Complaints,
    /// Domains that DNS is asked about at one time.
    discovering: tokio::sync::Semaphore,
}

/// Where a link's stanzas go.
struct Route {
    attempt: Attempt,
    writer: mpsc::Sender<Arc<Element>>,
    /// The number of the stream, where the partner has opened it.
    accepted: Option<u64>,
}

impl Shared {
    /// Monotonic time.
    fn now(&self) -> Duration {
        self.clock.now().mono
    }

    /// What a chain is worth that was shown for `domain`, where its rule needs one that is valid and its web server may
    /// vouch for it. `peer`: of a stream to us.
    async fn vouched(
        &self,
        mut found: TlsInfo,
        (domain, rule): (&str, &PartnerRule),
        chain: &[CertificateDer<'static>],
        peer: Option<IpAddr>,
    ) -> TlsInfo {
        let Some(posh) = &self.posh else {
            return found;
        };
        if !rule.needs_valid_certificate() || found.is_valid_for(domain) {
            return found;
        }
        match posh.judge(chain, domain, peer).await {
            Verdict::Silent => {}
            Verdict::Proved => {
                found.valid_names.push(domain.to_owned());
                found.distrust = None;
            }
            Verdict::Refused(why) => {
                let otherwise = found.why_not_valid_for(domain);
                found.distrust = Some(format!("{otherwise}; {why}"));
            }
        }
        found
    }
}

/// All XMPP streams. Belongs to the engine's task.
pub struct Streams {
    shared: Arc<Shared>,
    outbound: BTreeMap<LinkName, Route>,
    /// Streams to us that may be written to, by their numbers.
    bidirectional: BTreeMap<LinkName, (u64, mpsc::Sender<Arc<Element>>)>,
    inbound: BTreeMap<u64, InboundStatus>,
    components: component::Components,
    accounts: account::Accounts,
    worlds: Worlds,
    seeking: Seeking,
    listeners: JoinSet<()>,
    tasks: JoinSet<()>,
    /// Tells accepted streams to close; each of them holds a receiver until it has.
    stop: watch::Sender<()>,
}

/// Parts that streams are made with.
pub struct StreamParts {
    /// Domains, partners and times.
    pub rules: Rules,
    /// Certificates.
    pub tls: CurrentTls,
    /// Resolver.
    pub dns: Dns,
    /// Time.
    pub clock: Clock,
    /// The way to the engine.
    pub arrivals: mpsc::Sender<StreamArrival>,
    /// Limits of accepted connections.
    pub admission: Arc<Admission>,
}

impl Streams {
    /// Without listeners yet.
    #[must_use]
    pub fn new(parts: StreamParts) -> Self {
        let StreamParts {
            rules,
            tls,
            dns,
            clock,
            arrivals,
            admission,
        } = parts;
        let verifying = Admission::new(QUESTIONS.0, QUESTIONS.1);
        Self {
            worlds: Worlds::new(rules.discovered),
            shared: Arc::new(Shared {
                posh: rules
                    .posh
                    .as_ref()
                    .map(|posh| Posh::new(posh, tls.clone(), &dns)),
                rules,
                tls,
                dns,
                clock,
                arrivals,
                admission,
                verifying,
                complaints: Complaints::default(),
                discovering: tokio::sync::Semaphore::new(DISCOVERIES),
            }),
            outbound: BTreeMap::new(),
            bidirectional: BTreeMap::new(),
            inbound: BTreeMap::new(),
            components: component::Components::default(),
            accounts: account::Accounts::default(),
            seeking: Seeking::default(),
            listeners: JoinSet::new(),
            tasks: JoinSet::new(),
            stop: watch::Sender::new(()),
        }
    }

    /// Serves a bound listener.
    pub fn serve(&mut self, listener: TcpListener) {
        let accepting = inbound::accept(self.shared.clone(), listener, self.stop.subscribe());
        self.listeners.spawn(accepting);
    }

    /// Connects a component and keeps it connected.
    pub fn attach(&mut self, plan: Plan) {
        let task = self.components.enter(plan, self.shared.clone());
        self.tasks.spawn(task);
    }

    /// Signs in with an account and keeps it signed in.
    pub fn sign_in(&mut self, plan: AccountPlan) {
        let task = self.accounts.enter(plan, self.shared.clone());
        self.spawn(task);
    }

    /// Signs an account out, in order.
    pub fn sign_out(&mut self, name: &str) {
        for (name, attempt) in self.accounts.remove(name) {
            self.lose(name, attempt, Local::Unreachable);
        }
    }

    /// From now on there are these accounts: those that are gone are signed out, new ones in, and changed ones again.
    pub fn set_accounts(&mut self, plans: Vec<AccountPlan>) {
        for name in self.accounts.stale(&plans) {
            self.sign_out(&name);
        }
        for plan in plans {
            if !self.accounts.has(&plan.way.name) {
                self.sign_in(plan);
            }
        }
    }

    /// Gets a stream for a link: the partner's own, where that may be written to, or a new one.
    pub fn connect(&mut self, name: LinkName, attempt: Attempt) {
        if name.account.is_some() {
            if !self.accounts.join(name.clone(), attempt) {
                self.lose(name, attempt, Local::Unreachable);
            }
            return;
        }
        if self.components.has(&name) {
            if !self.components.join(name.clone(), attempt) {
                self.lose(name, attempt, Local::Overloaded);
            }
            return;
        }
        let partners_own = self.bidirectional.get(&name);
        if let Some((stream, writer)) = partners_own.filter(|(_, writer)| !writer.is_closed()) {
            tracing::info!(
                partner = name.partner,
                local = name.local,
                "XMPP stream of the partner is used in both directions"
            );
            let route = Route {
                attempt,
                writer: writer.clone(),
                accepted: Some(*stream),
            };
            self.outbound.insert(name.clone(), route);
            self.tell(StreamArrival::Ready {
                name,
                attempt,
                max_octets: None,
            });
            return;
        }
        let (writer, queue) = mpsc::channel(WRITE_QUEUE);
        let route = Route {
            attempt,
            writer,
            accepted: None,
        };
        self.outbound.insert(name.clone(), route);
        let known = self.worlds.get(&name.partner, self.shared.now());
        let stream = outbound::run(self.shared.clone(), name, attempt, (queue, known));
        self.spawn(stream);
    }

    /// A task that has ended keeps its memory until it is asked for.
    fn spawn(&mut self, task: impl Future<Output = ()> + Send + 'static) {
        while self.tasks.try_join_next().is_some() {}
        self.tasks.spawn(task);
    }

    /// Tells the engine, whose queue may be full for a moment.
    fn tell(&mut self, arrival: StreamArrival) {
        let arrivals = self.shared.arrivals.clone();
        self.spawn(async move {
            // An engine that is gone needs no news.
            _ = arrivals.send(arrival).await;
        });
    }

    /// A stream to us has ended, and with it what was written to it.
    fn forget_accepted(&mut self, stream: u64) {
        self.inbound.remove(&stream);
        self.bidirectional
            .retain(|_, (number, _)| *number != stream);
        let lost: Vec<(LinkName, Attempt)> = self
            .outbound
            .iter()
            .filter(|(_, route)| route.accepted == Some(stream))
            .map(|(name, route)| (name.clone(), route.attempt))
            .collect();
        for (name, attempt) in lost {
            self.outbound.remove(&name);
            self.lose(name, attempt, Local::TransportFailed);
        }
    }

    /// Writes to a link's stream. A dialled stream that is gone reports its loss by itself, and the link writes again; a
    /// partner's stream does not know who writes to it.
    pub fn write(&mut self, name: &LinkName, element: Arc<Element>) {
        if name.account.is_some() {
            if let Some(attempt) = self.accounts.write(name, element) {
                self.lose(name.clone(), attempt, Local::Overloaded);
            }
            return;
        }
        if self.components.has(name) {
            if let Some(attempt) = self.components.write(name, element) {
                self.lose(name.clone(), attempt, Local::Overloaded);
            }
            return;
        }
        let Some(route) = self.outbound.get(name) else {
            return;
        };
        if route.writer.try_send(element).is_ok() {
            return;
        }
        let accepted = route.accepted.is_some().then_some(route.attempt);
        self.outbound.remove(name);
        if let Some(attempt) = accepted {
            self.lose(name.clone(), attempt, Local::TransportFailed);
        }
    }

    /// The link learns it on the way on which it hears of everything else.
    fn lose(&mut self, name: LinkName, attempt: Attempt, why: Local) {
        let loss = Loss::Passing(Failure::Local(why));
        self.tell(StreamArrival::Lost(name, attempt, loss));
    }

    /// Lets a link's stream go, in order. A stream of the partner's on which nothing is answered is not taken again.
    pub fn close(&mut self, name: &LinkName, attempt: Attempt, why: link::CloseReason) {
        let accepted = self.outbound.get(name).and_then(|route| route.accepted);
        self.forget_route(name, attempt);
        let dead = accepted.filter(|_| why == link::CloseReason::Dead);
        if dead.is_some() && self.bidirectional.get(name).map(|(stream, _)| *stream) == dead {
            self.bidirectional.remove(name);
        }
    }

    fn forget_route(&mut self, name: &LinkName, attempt: Attempt) {
        self.components.leave(name, attempt);
        self.accounts.leave(name, attempt);
        if self
            .outbound
            .get(name)
            .is_some_and(|route| route.attempt == attempt)
        {
            self.outbound.remove(name);
        }
    }

    /// Keeps the books for `status`.
    pub fn note(&mut self, arrival: &StreamArrival) {
        match arrival {
            StreamArrival::Opened { stream, peer } => {
                let status = InboundStatus {
                    peer: peer.to_string(),
                    encrypted: false,
                    proved: Vec::new(),
                };
                self.inbound.insert(*stream, status);
            }
            StreamArrival::Proved {
                stream,
                name,
                encrypted,
                ..
            } => {
                if self.shared.rules.asks_dns(&name.partner) {
                    self.worlds.proved(&name.partner, self.shared.now());
                }
                if let Some(status) = self.inbound.get_mut(stream) {
                    status.encrypted = *encrypted;
                    status
                        .proved
                        .push(format!("{} -> {}", name.partner, name.local));
                }
            }
            StreamArrival::Bidirectional {
                stream,
                name,
                writer,
            } => {
                self.bidirectional
                    .insert(name.clone(), (*stream, writer.clone()));
            }
            StreamArrival::Ended { stream } => self.forget_accepted(*stream),
            StreamArrival::Lost(name, attempt, _) => self.forget_route(name, *attempt),
            StreamArrival::Component(status) => self.components.note(status),
            StreamArrival::Account(news) => self.accounts.note(news),
            StreamArrival::Left(name) => {
                self.components.note_left(name);
                self.accounts.note_left(name);
            }
            StreamArrival::Ready { .. }
            | StreamArrival::Seen(_)
            | StreamArrival::Rejoined(_)
            | StreamArrival::SignedInAgain(_)
            | StreamArrival::Wanted(_) => {}
            StreamArrival::Stanza { name, .. } => {
                self.worlds.heard(&name.partner, self.shared.now());
            }
            StreamArrival::Discovered { domain, finding } => {
                let now = self.shared.now();
                self.worlds.found(domain, finding.clone(), now);
                let world = self.worlds.get(domain, now).unwrap_or(finding.world);
                self.seeking.found(domain, world);
            }
        }
    }

    /// Whether a domain is one that no rule names and that is served where DNS says so.
    #[must_use]
    pub fn may_seek(&self, domain: &str) -> bool {
        self.shared.rules.inbound.is_unnamed(domain)
    }

    /// Somebody wants to know whether we speak for a domain that no rule names; [`Self::poll_decided`] says so, at once or
    /// when DNS has answered.
    pub fn want(&mut self, wanted: Wanted) {
        let now = self.shared.now();
        let domain = wanted.domain.clone();
        let known = self.worlds.get(&domain, now);
        if self.seeking.want(wanted, known, now) {
            self.look_up(domain);
        }
    }

    fn look_up(&mut self, domain: String) {
        let shared = self.shared.clone();
        self.spawn(async move {
            let finding = outbound::look_up(&shared, &domain).await;
            let finding = finding.unwrap_or_else(Finding::not_asked);
            let arrival = StreamArrival::Discovered { domain, finding };
            // Nobody waits for it when the process stops.
            _ = shared.arrivals.send(arrival).await;
        });
    }

    /// The next domain whose world is known, and who waits for that.
    pub fn poll_decided(&mut self) -> Option<Decided> {
        self.seeking.poll_decided()
    }

    /// A decided domain may be served as a SIP domain, from now on or still: until when, in monotonic time. `None`: it is
    /// none, or there is no room for it; the administrator is told.
    pub fn admit(&mut self, decided: &Decided) -> Option<Duration> {
        let Decided { domain, world, .. } = decided;
        let served = match world.takes_from_xmpp() {
            true => self.worlds.serve(domain, decided.asking()),
            false => None,
        };
        if decided.is_fresh {
            let because = self.worlds.because(domain).unwrap_or_default();
            let asked_by = decided.asked_by();
            match served {
                Some(_) => tracing::info!(
                    domain,
                    because,
                    asked_by,
                    "a domain that no rule names is served as a SIP domain"
                ),
                None => tracing::info!(
                    domain,
                    because,
                    asked_by,
                    "a domain that no rule names is asked for and not served as a SIP domain: {}",
                    advice::no_sip_domain(*world)
                ),
            }
        }
        served
    }

    /// The engine serves a SIP domain that no rule names, since an earlier run has left contacts of it. DNS is asked about it
    /// soon.
    pub fn restore(&mut self, domain: &str) {
        self.worlds.restore(domain, self.shared.now());
    }

    /// The SIP domains that are served though their records count no more at this monotonic time: each is to be given to [`Self::seek_again`] or
    /// to [`Self::forget`].
    #[must_use]
    pub fn overdue(&self, now: Duration) -> Vec<String> {
        self.worlds.overdue(now)
    }

    /// When there may be one, in monotonic time.
    #[must_use]
    pub fn next_overdue(&self) -> Option<Duration> {
        self.worlds.next_overdue()
    }

    /// A domain is still needed: DNS is asked about it again as soon as that is allowed.
    pub fn seek_again(&mut self, domain: String, now: Duration) {
        // What a domain has proved itself needs no question.
        let is_open = self.worlds.get(&domain, now).is_none();
        if is_open && self.seeking.again(&domain, now) {
            self.look_up(domain);
        }
    }

    /// The engine serves a domain no more.
    pub fn forget(&mut self, domain: &str) {
        self.worlds.forget(domain);
    }

    /// The streams to us.
    #[must_use]
    pub fn inbound_status(&self) -> Vec<InboundStatus> {
        self.inbound.values().cloned().collect()
    }

    /// The components.
    #[must_use]
    pub fn component_status(&self) -> Vec<ComponentStatus> {
        self.components.status()
    }

    /// The accounts.
    #[must_use]
    pub fn account_status(&self) -> Vec<AccountStatus> {
        self.accounts.status()
    }

    /// The domains that no rule names, as far as they are known.
    #[must_use]
    pub fn discovered_status(&self) -> Vec<DiscoveredStatus> {
        self.worlds.status(self.shared.now())
    }

    /// Accepts no more streams and closes those to us: partners keep what they have not sent, and what they send until
    /// they close still comes.
    pub fn leave(&mut self) {
        self.listeners.abort_all();
        self.components.leave_all();
        self.accounts.leave_all();
        // Where no stream is accepted nobody listens.
        _ = self.stop.send(());
    }

    /// When our own certificate expires.
    #[must_use]
    pub fn certificate_expires(&self) -> Option<std::time::SystemTime> {
        self.shared.tls.get().expires
    }

    /// Whether all streams to us have ended, and no component or account takes anything any more.
    #[must_use]
    pub fn is_left(&self) -> bool {
        self.inbound.is_empty() && self.components.have_left() && self.accounts.have_left()
    }

    /// Lets all streams end in order, and waits for that until `deadline`.
    pub async fn finish(mut self, deadline: tokio::time::Instant) {
        self.leave();
        self.outbound.clear();
        self.components.end();
        self.accounts.end();
        self.bidirectional.clear();
        let drained = async {
            while self.tasks.join_next().await.is_some() {}
            self.stop.closed().await;
        };
        _ = tokio::time::timeout_at(deadline, drained).await;
        self.tasks.abort_all();
    }
}

#[cfg(test)]
mod tests;
