//! Dialled streams: for a link, or for one dialback question.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use minidom::Element;
use stox_core::failure::{Failure, Local};
use stox_core::policy::DomainPattern;
use stox_xmpp::dialback::Trouble;
use stox_xmpp::link::{Attempt, Loss};
use stox_xmpp::stream::{
    CloseReason, DomainPair, OutboundEvent, OutboundSettings, OutboundStream, PairError,
    PartnerRule, StanzaNumber, StreamCommand, StreamCondition, TlsInfo, TlsRule, VerifyRequest,
};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::connection::{Connection, Lost, Side, Start};
use super::{Handled, Shared, StreamArrival, advice, pinned};
use crate::config::{Partner, StreamTls};
use crate::engine::LinkName;
use crate::entropy::OsEntropy;
use crate::net::dane::Pinned;
use crate::net::discovery::{self, Finding, World};
use crate::net::lookup::{self, XmppPlace};

/// How long TCP may take to one address.
const TCP_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a domain may wait for its turn to be asked about.
const DISCOVERY_TURN: Duration = Duration::from_secs(5);

/// Sleeps until then, or for ever.
pub(super) async fn sleep_until(at: Option<tokio::time::Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// Carries a link's stanzas until the link or the stream ends.
pub(super) async fn run(
    shared: Arc<Shared>,
    name: LinkName,
    attempt: Attempt,
    (queue, known): (mpsc::Receiver<Arc<Element>>, Option<World>),
) {
    let loss = carry(&shared, &name, attempt, (queue, known)).await;
    match &loss {
        Some(Loss::Passing(failure) | Loss::Lasting(failure)) => {
            tracing::debug!(
                partner = name.partner,
                ?failure,
                "XMPP stream to the partner is lost"
            );
        }
        None => tracing::info!(
            partner = name.partner,
            local = name.local,
            "XMPP stream to the partner is closed"
        ),
    }
    if let Some(loss) = loss {
        _ = shared
            .arrivals
            .send(StreamArrival::Lost(name, attempt, loss))
            .await;
    }
}

/// `None`: the link let the stream go.
async fn carry(
    shared: &Shared,
    name: &LinkName,
    attempt: Attempt,
    (mut queue, known): (mpsc::Receiver<Arc<Element>>, Option<World>),
) -> Option<Loss> {
    let pair = DomainPair {
        local: name.local.clone(),
        remote: name.partner.clone(),
    };
    let Some(partner) = shared.rules.partner(&name.partner) else {
        return Some(Loss::Lasting(Failure::Local(Local::NotAllowed)));
    };
    if shared.rules.asks_dns(&name.partner) {
        let world = match known {
            Some(world) => world,
            None => discover(shared, &name.partner).await,
        };
        if !world.takes_from_sip() {
            return Some(Loss::Lasting(Failure::Local(Local::SipDomain)));
        }
    }
    let to = Dialled {
        shared,
        domain: &name.partner,
        asker: None,
    };
    let mut task = match Task::dial(to, &pair, partner, |machine, now| {
        machine.authorise(pair.clone(), now)
    })
    .await
    {
        Ok(task) => task,
        Err(loss) => return Some(loss),
    };
    tracing::info!(
        partner = name.partner,
        local = name.local,
        encrypted = task.encrypted,
        "XMPP stream to the partner is ready"
    );
    if shared
        .arrivals
        .send(StreamArrival::Ready {
            name: name.clone(),
            attempt,
            max_octets: task.max_octets,
        })
        .await
        .is_err()
    {
        return None;
    }
    let loss = task.carry(&mut queue).await;
    task.connection.shutdown().await;
    loss
}

/// Asks DNS where a domain lives that no rule names (RFC 7247 §5), and tells what it finds.
async fn discover(shared: &Shared, domain: &str) -> World {
    // Whoever has to wait for others' look-ups goes on as where DNS does not answer.
    let Some(finding) = look_up(shared, domain).await else {
        return World::Unknown;
    };
    let (world, because) = (finding.world, &finding.because);
    if world.takes_from_sip() {
        tracing::debug!(
            partner = domain,
            world = world.word(),
            because,
            "a domain that no rule names is tried on XMPP"
        );
    } else {
        tracing::info!(
            partner = domain,
            because,
            "a domain that no rule names is a SIP domain, and nothing is relayed from SIP to SIP; route it on your own SIP servers, or name it in [[xmpp.partner]]"
        );
    }
    let domain = domain.to_owned();
    // Nobody waits for it when the process stops.
    _ = shared
        .arrivals
        .send(StreamArrival::Discovered { domain, finding })
        .await;
    world
}

/// Asks DNS about a domain when it is its turn. `None`: too many are asked about.
pub(super) async fn look_up(shared: &Shared, domain: &str) -> Option<Finding> {
    let turn = timeout(DISCOVERY_TURN, shared.discovering.acquire()).await;
    let _permit = turn.ok()?.ok()?;
    Some(discovery::find(&shared.dns, domain, &shared.rules.host).await)
}

/// Asks the authoritative server of a domain, which somebody at that address claims, about a dialback key.
pub(super) async fn verify(
    shared: &Shared,
    request: VerifyRequest,
    asker: IpAddr,
) -> Result<bool, Trouble> {
    let time = shared.rules.inbound.timing.authentication;
    let asked = timeout(time, ask_about_key(shared, request, asker));
    asked.await.unwrap_or(Err(Trouble::Timeout))
}

async fn ask_about_key(
    shared: &Shared,
    request: VerifyRequest,
    asker: IpAddr,
) -> Result<bool, Trouble> {
    let partner = shared
        .rules
        .partner(&request.pair.remote)
        .ok_or(Trouble::Forbidden)?;
    let pair = request.pair.clone();
    let to = Dialled {
        shared,
        domain: &pair.remote,
        asker: Some(asker),
    };
    let dialled = Task::dial(to, &pair, partner, |machine, now| {
        machine.verify(request.clone(), now)
    })
    .await;
    let mut task = dialled.map_err(|loss| match loss {
        Loss::Passing(Failure::Local(local)) | Loss::Lasting(Failure::Local(local)) => {
            trouble(local)
        }
        _ => Trouble::ConnectionFailed,
    })?;
    task.machine.close(shared.clock.now());
    _ = task.carry_out().await;
    task.connection.shutdown().await;
    task.verdict.unwrap_or(Err(Trouble::Timeout))
}

fn trouble(local: Local) -> Trouble {
    match local {
        Local::DomainNotFound => Trouble::ServerNotFound,
        Local::Timeout => Trouble::Timeout,
        _ => Trouble::ConnectionFailed,
    }
}

/// The TLSA records of a server, where dns.dane is true. The error: whether there are any is not known.
async fn pin(
    to: Dialled<'_>,
    tls: TlsRule,
    place: &XmppPlace,
) -> Result<Option<Pinned>, Option<Loss>> {
    let Some(host) = place.secure_host.as_ref().filter(|_| tls != TlsRule::Never) else {
        return Ok(None);
    };
    let found = Pinned::find(&to.shared.dns, host, place.address.port()).await;
    found.map_err(|why| {
        to.warn(&advice::no_tlsa(host, place.address.port(), &why));
        Some(Loss::Passing(Failure::Local(Local::Unreachable)))
    })
}

/// Whose server is dialled.
#[derive(Clone, Copy)]
struct Dialled<'a> {
    shared: &'a Shared,
    domain: &'a str,
    /// Who claims to be the domain, where it is asked about that: what goes wrong then is that one's doing.
    asker: Option<IpAddr>,
}

impl Dialled<'_> {
    fn warn(&self, words: &str) {
        let complaints = &self.shared.complaints;
        match self.asker {
            Some(peer) => complaints.warn_of(peer, self.domain, words),
            None => complaints.warn(self.domain, words),
        }
    }
}

struct Task<'a> {
    to: Dialled<'a>,
    machine: OutboundStream,
    connection: Connection,
    rule: PartnerRule,
    /// The TLSA records of the server, where there are some.
    pinned: Option<Pinned>,
    encrypted: bool,
    max_octets: Option<usize>,
    ready: bool,
    verdict: Option<Result<bool, Trouble>>,
    loss: Option<Loss>,
    handled: mpsc::UnboundedReceiver<StanzaNumber>,
    handled_sender: mpsc::UnboundedSender<StanzaNumber>,
    sent: u64,
    acknowledged: u64,
}

impl<'a> Task<'a> {
    /// Tries each address of the partner until a stream does what `ask` wants of it.
    async fn dial(
        to: Dialled<'a>,
        pair: &DomainPair,
        partner: &Partner,
        ask: impl Fn(&mut OutboundStream, stox_core::time::Now),
    ) -> Result<Self, Loss> {
        let shared = to.shared;
        let dns = match to.asker {
            // Who claims to be the domain is not believed by what DNS said once.
            Some(_) => shared.dns.clone(),
            None => shared.dns.recalling(),
        };
        let addresses = match partner.address {
            Some(address) => Ok(vec![XmppPlace {
                address,
                direct_tls: partner.direct_tls,
                secure_host: None,
            }]),
            None => {
                let mut entropy = OsEntropy::default();
                lookup::xmpp(
                    &dns,
                    &pair.remote,
                    (shared.rules.default_port, partner.tls != StreamTls::Off),
                    &mut entropy,
                )
                .await
            }
        };
        let addresses = Self::confined(to, partner, addresses).map_err(|local| match local {
            Local::DomainNotFound => Loss::Lasting(Failure::Local(local)),
            _ => Loss::Passing(Failure::Local(local)),
        })?;
        let own_names = &shared.tls.get().own_names;
        let mut settings = shared.rules.outbound(pair.clone(), partner, own_names);
        if dns.has_recalled() {
            to.warn(advice::RECALLED);
            settings = pinned::settings(&settings);
        }
        let mut loss = Loss::Passing(Failure::Local(Local::Unreachable));
        for place in addresses {
            match Self::dial_address(to, &settings, &place, &ask).await {
                Ok(task) => return Ok(task),
                // What a server has answered says more than one that is not there.
                Err(Some(last)) => {
                    // Whoever can break a handshake does not get clear text at the next address.
                    if is_over_tls(&last) && settings.rule.tls == TlsRule::Optional {
                        settings.rule.tls = TlsRule::Required;
                    }
                    loss = last;
                }
                Err(None) => {}
            }
        }
        Err(loss)
    }

    /// What may be dialled of what DNS has said. Whoever is not named does not make us speak to hosts inside.
    fn confined(
        to: Dialled<'a>,
        partner: &Partner,
        found: Result<Vec<XmppPlace>, Local>,
    ) -> Result<Vec<XmppPlace>, Local> {
        let places = found.inspect_err(|local| to.warn(advice::no_address(*local)))?;
        if partner.address.is_some() || partner.domain != DomainPattern::Any {
            return Ok(places);
        }
        lookup::confine_xmpp(places, &partner.networks).map_err(|address| {
            to.warn(&advice::not_public(address));
            Local::DomainNotFound
        })
    }

    /// Dials one address. Where the peer ends the stream instead of an answer to EXTERNAL, dialback may do better
    /// (COMPAT(ejabberd 23.01)).
    async fn dial_address(
        to: Dialled<'a>,
        settings: &OutboundSettings,
        place: &XmppPlace,
        ask: &impl Fn(&mut OutboundStream, stox_core::time::Now),
    ) -> Result<Self, Option<Loss>> {
        let pinned = pin(to, settings.rule.tls, place).await?;
        let settings = &match pinned {
            Some(_) => pinned::settings(settings),
            None => settings.clone(),
        };
        let place = (place, pinned.as_ref());
        let mut task = Self::connect(to, settings, place, ask).await?;
        let Err(loss) = task.negotiate().await else {
            return Ok(task);
        };
        if !task.machine.is_authenticating() || !settings.rule.takes_dialback() {
            return Err(Some(loss));
        }
        tracing::debug!(
            partner = to.domain,
            "the stream ended over our certificate; once more with dialback"
        );
        let settings = OutboundSettings {
            external: false,
            ..settings.clone()
        };
        let mut task = Self::connect(to, &settings, place, ask).await?;
        task.negotiate().await.map_err(Some)?;
        Ok(task)
    }

    /// A stream on a new connection. The error is [`None`] where there is nobody.
    async fn connect(
        to: Dialled<'a>,
        settings: &OutboundSettings,
        (place, pinned): (&XmppPlace, Option<&Pinned>),
        ask: &impl Fn(&mut OutboundStream, stox_core::time::Now),
    ) -> Result<Self, Option<Loss>> {
        let address = place.address;
        let stream = match timeout(TCP_TIMEOUT, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                to.warn(&format!(
                    "does not take the connection at {address}: {error}"
                ));
                return Err(None);
            }
            Err(_) => {
                to.warn(&format!("does not answer at {address}"));
                return Err(None);
            }
        };
        let (handled_sender, handled) = mpsc::unbounded_channel();
        let shared = to.shared;
        let mut task = Self {
            to,
            machine: OutboundStream::new(Arc::new(settings.clone()), shared.clock.now()),
            connection: Connection::new(stream),
            rule: settings.rule,
            pinned: pinned.cloned(),
            encrypted: false,
            max_octets: None,
            ready: false,
            verdict: None,
            loss: None,
            handled,
            handled_sender,
            sent: 0,
            acknowledged: 0,
        };
        if place.direct_tls {
            match task.shake_hands(Start::Direct).await {
                Ok(info) => {
                    let settings = Arc::new(settings.clone());
                    task.machine = OutboundStream::in_tls(settings, info, shared.clock.now());
                }
                Err(why) => task.machine.tls_failed(why),
            }
        }
        ask(&mut task.machine, shared.clock.now());
        Ok(task)
    }

    /// Runs until the pair is ready or the question is answered.
    async fn negotiate(&mut self) -> Result<(), Loss> {
        while !self.ready && self.verdict.is_none() {
            if self.carry_out().await.is_err() {
                break;
            }
            if !self.ready && self.verdict.is_none() {
                self.wait().await;
            }
        }
        if self.ready || self.verdict.is_some() {
            return Ok(());
        }
        Err(self
            .loss
            .take()
            .unwrap_or(Loss::Passing(Failure::Local(Local::TransportFailed))))
    }

    async fn wait(&mut self) {
        let clock = self.to.shared.clock;
        let wake = self.machine.poll_timeout().map(|at| clock.instant(at));
        tokio::select! {
            read = self.connection.read() => match read {
                Ok(octets) => self.machine.receive(&octets, clock.now()),
                Err(Lost) => self.machine.connection_lost(),
            },
            () = sleep_until(wake) => self.machine.handle_timeout(clock.now()),
        }
    }

    /// Writes stanzas until the queue ends (`None`) or the stream does.
    async fn carry(&mut self, queue: &mut mpsc::Receiver<Arc<Element>>) -> Option<Loss> {
        let clock = self.to.shared.clock;
        let mut let_go = false;
        while self.carry_out().await.is_ok() {
            let wake = self.machine.poll_timeout().map(|at| clock.instant(at));
            tokio::select! {
                read = self.connection.read() => match read {
                    Ok(octets) => self.machine.receive(&octets, clock.now()),
                    Err(Lost) => self.machine.connection_lost(),
                },
                Some(number) = self.handled.recv() => self.machine.stanza_handled(number, clock.now()),
                stanza = queue.recv(), if !let_go => match stanza {
                    Some(stanza) => {
                        self.write(&stanza);
                        if queue.is_empty() {
                            self.machine.request_acknowledgement(clock.now());
                        }
                    }
                    None => {
                        let_go = true;
                        self.machine.close(clock.now());
                    }
                },
                () = sleep_until(wake) => self.machine.handle_timeout(clock.now()),
            }
        }
        if let_go {
            return None;
        }
        if self.acknowledged > 0 {
            tracing::debug!(
                partner = self.to.domain,
                sent = self.sent,
                acknowledged = self.acknowledged,
                "XMPP stream ended; what the partner has not answered for is sent again"
            );
        }
        Some(
            self.loss
                .take()
                .unwrap_or(Loss::Passing(Failure::Local(Local::TransportFailed))),
        )
    }

    fn write(&mut self, stanza: &Element) {
        match self.machine.send(stanza, self.to.shared.clock.now()) {
            Ok(number) => self.sent = number,
            // The link keeps the stanza until a fence passes it, and gives it up at its deadline.
            Err(why) => {
                tracing::warn!(partner = self.to.domain, %why, "a stanza could not be written to the partner");
            }
        }
    }

    /// Does what the machine asks for. `Err`: the stream is over.
    async fn carry_out(&mut self) -> Result<(), Lost> {
        while let Some(command) = self.machine.poll_command() {
            match command {
                StreamCommand::Write(octets) => {
                    if self.connection.write(&octets).await.is_err() {
                        self.machine.connection_lost();
                    }
                }
                StreamCommand::StartTls => self.start_tls().await,
                StreamCommand::Event(event) => self.event(event).await?,
                StreamCommand::Close => return Err(Lost),
            }
        }
        Ok(())
    }

    async fn start_tls(&mut self) {
        match self.shake_hands(Start::Negotiated).await {
            Ok(info) => self
                .machine
                .tls_established(info, self.to.shared.clock.now()),
            Err(why) => self.machine.tls_failed(why),
        }
    }

    async fn shake_hands(&mut self, start: Start) -> Result<TlsInfo, String> {
        let time = self.to.shared.rules.inbound.timing.tls;
        let tls = &self.to.shared.tls.get();
        let handshake = self
            .connection
            .start_tls(Side::Client(self.to.domain), start, tls);
        let info = timeout(time, handshake)
            .await
            .unwrap_or_else(|_| Err("no handshake in time".to_owned()))?;
        self.encrypted = true;
        let chain = self.connection.peer_chain();
        Ok(match &self.pinned {
            Some(pinned) => {
                let verdict = pinned.judge((chain, &tls.verifier), self.to.domain);
                pinned::held_to(verdict, info, self.to.domain)
            }
            None => {
                let who = (self.to.domain, &self.rule);
                self.to.shared.vouched(info, who, chain, None).await
            }
        })
    }

    async fn event(&mut self, event: OutboundEvent) -> Result<(), Lost> {
        match event {
            OutboundEvent::Negotiated { features, .. } => self.max_octets = features.max_octets,
            OutboundEvent::Acknowledged(count) => self.acknowledged = count,
            OutboundEvent::Stanza {
                pair,
                number,
                element,
            } => {
                let arrival = StreamArrival::Stanza {
                    name: LinkName::new(&pair.local, &pair.remote),
                    element,
                    handled: Handled::by(number, self.handled_sender.clone()),
                };
                self.to
                    .shared
                    .arrivals
                    .send(arrival)
                    .await
                    .map_err(|_| Lost)?;
            }
            OutboundEvent::Ready(_) => self.ready = true,
            OutboundEvent::PairRefused(pair, why) => {
                let words = advice::pair_refused(&pair.local, &why);
                self.to.shared.complaints.warn(&pair.remote, &words);
                self.loss = Some(refusal(&why));
                self.machine.close(self.to.shared.clock.now());
            }
            OutboundEvent::ExternalRefused(why) => {
                tracing::info!(partner = self.to.domain, %why, "XMPP partner does not take our certificate as proof");
            }
            OutboundEvent::Verified(_, answer) => {
                self.verdict = Some(answer.map_err(|why| {
                    self.to.warn(&advice::not_verified(&why));
                    Trouble::ConnectionFailed
                }));
            }
            OutboundEvent::Closed(reason) => self.closed(&reason),
        }
        Ok(())
    }

    fn closed(&mut self, reason: &CloseReason) {
        match reason {
            CloseReason::PeerClosed
            | CloseReason::Idle
            | CloseReason::Requested
            | CloseReason::ConnectionLost => {
                tracing::debug!(partner = self.to.domain, %reason, "XMPP stream to the partner ended");
            }
            _ => {
                let words = format!("the stream to it failed: {}", advice::stream_ended(reason));
                self.to.warn(&words);
            }
        }
        if self.loss.is_none() {
            self.loss = Some(loss(reason));
        }
    }
}

/// What the end of a stream means for what waits.
fn loss(reason: &CloseReason) -> Loss {
    let failed = Failure::Local(Local::TransportFailed);
    match reason {
        CloseReason::TlsNotOffered
        | CloseReason::TlsRefused
        | CloseReason::TlsFailed(_)
        | CloseReason::OctetsBehindStartTls
        | CloseReason::CertificateNotValid { .. } => Loss::Lasting(failed),
        CloseReason::PeerError(error) if error.condition == StreamCondition::HostUnknown => {
            Loss::Lasting(Failure::Local(Local::DomainNotFound))
        }
        _ => Loss::Passing(failed),
    }
}

/// Whether it may be for want of TLS, or of a certificate.
fn is_over_tls(loss: &Loss) -> bool {
    matches!(loss, Loss::Lasting(Failure::Local(Local::TransportFailed)))
}

fn refusal(why: &PairError) -> Loss {
    let failed = Failure::Local(Local::TransportFailed);
    match why {
        PairError::CertificateNotValid(_)
        | PairError::Invalid
        | PairError::OwnCertificate
        | PairError::ExternalNotOffered
        | PairError::ExternalFailed(_) => Loss::Lasting(failed),
        PairError::Peer(_) | PairError::Timeout | PairError::Closed => Loss::Passing(failed),
    }
}
