//! Accepted streams.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use minidom::Element;
use stox_xmpp::dialback::Trouble;
use stox_xmpp::stream::{
    CloseReason, DomainPair, InboundEvent, InboundStream, PartnerRule, Proof, StanzaNumber,
    StreamCommand, TlsInfo, VerifyId, VerifyRequest,
};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

use super::connection::{Connection, Lost, Opening, Side, Start};
use super::{Asker, Handled, Shared, StreamArrival, WRITE_QUEUE, Wanted, advice, outbound, pinned};
use crate::engine::LinkName;
use crate::entropy::OsEntropy;
use crate::net::dane::Verdict;
use crate::sockets::admission::Admitted;

/// Whom it is about when nobody can connect.
const EVERYBODY: &str = "*";

/// Numbers the streams of this process.
static NEXT: AtomicU64 = AtomicU64::new(1);

/// Accepts for as long as the process runs.
pub(super) async fn accept(shared: Arc<Shared>, listener: TcpListener, stop: watch::Receiver<()>) {
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                let words = format!(
                    "cannot accept XMPP connections for the moment ({error}); check the limit of open files"
                );
                shared.complaints.warn(EVERYBODY, &words);
                tokio::time::sleep(Duration::from_millis(200)).await;
                continue;
            }
        };
        let Some(admitted) = shared.admission.admit(peer.ip()) else {
            tracing::debug!(%peer, "XMPP connection refused: too many are open");
            continue;
        };
        tokio::spawn(serve(shared.clone(), stream, peer, admitted, stop.clone()));
    }
}

async fn serve(
    shared: Arc<Shared>,
    stream: TcpStream,
    peer: SocketAddr,
    _admitted: Admitted,
    mut stop: watch::Receiver<()>,
) {
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    if shared
        .arrivals
        .send(StreamArrival::Opened {
            stream: number,
            peer,
        })
        .await
        .is_err()
    {
        return;
    }
    let mut task = Task::new(shared.clone(), stream, peer, number);
    task.run(&mut stop).await;
    task.connection.shutdown().await;
    _ = shared
        .arrivals
        .send(StreamArrival::Ended { stream: number })
        .await;
    task.connection.linger().await;
}

/// The answer to a dialback question.
type Answer = (VerifyId, Result<bool, Trouble>);

struct Task {
    shared: Arc<Shared>,
    machine: InboundStream,
    connection: Connection,
    entropy: OsEntropy,
    peer: SocketAddr,
    number: u64,
    tls: Option<TlsInfo>,
    /// Who the peer says it is.
    claimed: Option<String>,
    /// A claim was refused, and the log has said so.
    refused: bool,
    /// Whose web server was asked about the certificate.
    asked: Option<String>,
    verdicts: mpsc::Receiver<Answer>,
    verdict_sender: mpsc::Sender<Answer>,
    handled: mpsc::UnboundedReceiver<StanzaNumber>,
    handled_sender: mpsc::UnboundedSender<StanzaNumber>,
    /// Stanzas for the peer (XEP-0288).
    writes: mpsc::Receiver<Arc<Element>>,
    write_sender: mpsc::Sender<Arc<Element>>,
    /// Dialback questions, and those about domains that no rule names; they end with the stream.
    questions: JoinSet<()>,
    /// Until when domains of ours that no rule names are known to be served, of pairs that are proved.
    sought: BTreeMap<DomainPair, Duration>,
}

/// Until when we speak for the domain that a proved partner wants.
async fn sought(shared: &Shared, pair: &DomainPair, peer: IpAddr) -> Result<Duration, Trouble> {
    let (answer, told) = oneshot::channel();
    let wanted = Wanted {
        domain: pair.local.clone(),
        askers: vec![Asker::at(peer), Asker::Domain(pair.remote.clone())],
        answer,
    };
    let asked = shared.arrivals.send(StreamArrival::Wanted(wanted)).await;
    asked.map_err(|_| Trouble::Timeout)?;
    told.await.unwrap_or(Err(Trouble::Timeout))
}

impl Task {
    fn new(shared: Arc<Shared>, stream: TcpStream, peer: SocketAddr, number: u64) -> Self {
        let mut entropy = OsEntropy::default();
        let machine = InboundStream::new(
            shared.rules.inbound.clone(),
            &mut entropy,
            shared.clock.now(),
        );
        let (verdict_sender, verdicts) = mpsc::channel(64);
        let (handled_sender, handled) = mpsc::unbounded_channel();
        let (write_sender, writes) = mpsc::channel(WRITE_QUEUE);
        Self {
            shared,
            machine,
            connection: Connection::new(stream),
            entropy,
            peer,
            number,
            tls: None,
            claimed: None,
            refused: false,
            asked: None,
            verdicts,
            verdict_sender,
            handled,
            handled_sender,
            writes,
            write_sender,
            questions: JoinSet::new(),
            sought: BTreeMap::new(),
        }
    }

    async fn run(&mut self, stop: &mut watch::Receiver<()>) {
        self.begin(stop).await;
        loop {
            if self.carry_out().await.is_err() {
                return;
            }
            let clock = self.shared.clock;
            let wake = self.machine.poll_timeout().map(|at| clock.instant(at));
            tokio::select! {
                read = self.connection.read() => match read {
                    Ok(octets) => self.machine.receive(&octets, clock.now()),
                    Err(Lost) => self.machine.connection_lost(),
                },
                Some((id, verdict)) = self.verdicts.recv() => self.machine.verified(id, verdict, clock.now()),
                Some(number) = self.handled.recv() => {
                    self.machine.stanza_handled(number, clock.now());
                    while let Ok(number) = self.handled.try_recv() {
                        self.machine.stanza_handled(number, clock.now());
                    }
                }
                Some(stanza) = self.writes.recv() => self.write(&stanza),
                Ok(()) = stop.changed() => self.machine.close(clock.now()),
                () = outbound::sleep_until(wake) => self.machine.handle_timeout(clock.now()),
            }
        }
    }

    fn write(&mut self, stanza: &Element) {
        if let Err(why) = self.machine.send(stanza, self.shared.clock.now()) {
            // The link keeps the stanza and writes it again on the next stream.
            tracing::debug!(peer = %self.peer.ip(), %why, "a stanza could not be written to the partner's stream");
        }
    }

    /// A peer may begin with TLS (XEP-0368). One that says nothing is left to the machine's clocks.
    async fn begin(&mut self, stop: &mut watch::Receiver<()>) {
        let clock = self.shared.clock;
        let wake = self.machine.poll_timeout().map(|at| clock.instant(at));
        let opening = tokio::select! {
            opening = self.connection.opening() => opening,
            Ok(()) = stop.changed() => {
                self.machine.close(clock.now());
                Opening::Clear
            }
            () = outbound::sleep_until(wake) => Opening::Clear,
        };
        if opening == Opening::Clear {
            return;
        }
        match self.shake_hands(Start::Direct).await {
            Ok(info) => {
                let rules = self.shared.rules.inbound.clone();
                self.machine = InboundStream::in_tls(rules, info, &mut self.entropy, clock.now());
            }
            Err(why) => self.machine.tls_failed(why),
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
            Ok(info) => {
                self.machine
                    .tls_established(info, &mut self.entropy, self.shared.clock.now());
            }
            Err(why) => self.machine.tls_failed(why),
        }
    }

    async fn shake_hands(&mut self, start: Start) -> Result<TlsInfo, String> {
        let time = self.shared.rules.inbound.timing.tls;
        let tls = &self.shared.tls.get();
        let handshake = self.connection.start_tls(Side::Server, start, tls);
        let info = tokio::time::timeout(time, handshake)
            .await
            .unwrap_or_else(|_| Err("no handshake in time".to_owned()))?;
        self.tls = Some(info);
        Ok(self.vouched().await.unwrap_or_default())
    }

    /// What the certificate is worth, once DNS and the domain that the peer says it is have been asked about it. `None` in clear.
    async fn vouched(&mut self) -> Option<TlsInfo> {
        let found = self.tls.clone()?;
        let rules = &self.shared.rules.inbound;
        let claimed = self.claimed.as_deref();
        let partner = claimed
            .filter(|domain| self.asked.as_deref() != Some(*domain) && rules.is_claimable(domain))
            .and_then(|domain| Some((domain, rules.partners.of(domain)?)));
        if let Some(partner) = partner {
            let judged = self.judged(found, partner).await;
            self.tls = Some(judged);
            self.asked.clone_from(&self.claimed);
        }
        self.tls.clone()
    }

    /// TLSA records decide where there are some; then the domain's web server may vouch for it.
    async fn judged(&self, found: TlsInfo, partner: (&str, &PartnerRule)) -> TlsInfo {
        let (chain, peer) = (self.connection.peer_chain(), self.peer.ip());
        match pinned::judge(&self.shared, chain, partner, peer).await {
            Verdict::Silent => {
                let vouched = self.shared.vouched(found, partner, chain, Some(peer));
                vouched.await
            }
            verdict => pinned::held_to(verdict, found, partner.0),
        }
    }

    async fn event(&mut self, event: InboundEvent) -> Result<(), Lost> {
        match event {
            InboundEvent::Opened {
                from,
                to,
                encrypted,
            } => {
                self.claimed.clone_from(&from);
                tracing::debug!(peer = %self.peer, ?from, ?to, encrypted, "XMPP stream opened");
                if let Some(info) = self.vouched().await {
                    self.machine.certificate_judged(info);
                }
            }
            InboundEvent::VerifyKey {
                id,
                pair,
                stream_id,
                key,
            } => {
                let request = VerifyRequest {
                    pair,
                    stream_id,
                    key,
                };
                self.verify(id, request);
            }
            InboundEvent::Authenticate { id, pair } | InboundEvent::Seek { id, pair }
                if self.shared.rules.inbound.is_unnamed(&pair.local) =>
            {
                self.seek(id, pair);
            }
            // The machine has held the claim to the partner's rule.
            InboundEvent::Authenticate { id, .. } | InboundEvent::Seek { id, .. } => {
                self.machine.verified(id, Ok(true), self.shared.clock.now());
            }
            InboundEvent::ClaimRefused(pair, why) => {
                self.refused = true;
                let words = advice::claim_refused(&pair.remote, why, self.tls.as_ref());
                self.warn(&pair.remote, &words);
            }
            InboundEvent::DomainProved(pair, proof) => {
                let encrypted = self.tls.is_some();
                tracing::info!(partner = pair.remote, local = pair.local, %proof, encrypted, peer = %self.peer.ip(), "XMPP partner has proved its domain");
                let arrival = StreamArrival::Proved {
                    stream: self.number,
                    name: LinkName::new(&pair.local, &pair.remote),
                    encrypted,
                    by_login: proof == Proof::Certificate,
                };
                self.shared.arrivals.send(arrival).await.map_err(|_| Lost)?;
            }
            InboundEvent::Bidirectional(pair) => {
                let arrival = StreamArrival::Bidirectional {
                    stream: self.number,
                    name: LinkName::new(&pair.local, &pair.remote),
                    writer: self.write_sender.clone(),
                };
                self.shared.arrivals.send(arrival).await.map_err(|_| Lost)?;
            }
            InboundEvent::Stanza {
                pair,
                number,
                element,
            } => {
                if self.shared.rules.inbound.is_unnamed(&pair.local) {
                    self.seek_again(&pair).await;
                }
                let arrival = StreamArrival::Stanza {
                    name: LinkName::new(&pair.local, &pair.remote),
                    element,
                    handled: Handled::by(number, self.handled_sender.clone()),
                };
                self.shared.arrivals.send(arrival).await.map_err(|_| Lost)?;
            }
            InboundEvent::Closed(reason) => self.closed(&reason),
        }
        Ok(())
    }

    fn closed(&self, reason: &CloseReason) {
        let peer = self.peer.ip();
        match reason {
            CloseReason::PeerClosed
            | CloseReason::Idle
            | CloseReason::Requested
            | CloseReason::ConnectionLost => {
                tracing::debug!(%peer, %reason, "XMPP stream from a partner ended");
            }
            CloseReason::PeerError(_) if self.refused => {
                tracing::debug!(%peer, %reason, "XMPP stream was ended by the partner that was refused");
            }
            _ => match &self.claimed {
                Some(partner) => self.warn(partner, &advice::stream_ended(reason)),
                // Anybody may connect: without a name there is no partner to warn about.
                None if self.shared.complaints.hears(peer) => {
                    tracing::info!(%peer, %reason, "XMPP stream to us was ended");
                }
                None => tracing::debug!(%peer, %reason, "XMPP stream to us was ended"),
            },
        }
    }

    fn warn(&self, partner: &str, words: &str) {
        let peer = self.peer.ip();
        self.shared.complaints.warn_of(peer, partner, words);
    }

    /// Finds out whether we speak for the domain that a proved partner wants.
    fn seek(&mut self, id: VerifyId, pair: DomainPair) {
        while self.questions.try_join_next().is_some() {}
        let (shared, verdicts, peer) = (
            self.shared.clone(),
            self.verdict_sender.clone(),
            self.peer.ip(),
        );
        self.questions.spawn(async move {
            let found = sought(&shared, &pair, peer).await;
            // The stream holds the other end for as long as this runs.
            _ = verdicts.send((id, found.map(|_| true))).await;
        });
    }

    /// A stanza to a domain whose records may be over: what is forgotten meanwhile is found again before it goes on. What
    /// is not found is refused by the engine.
    async fn seek_again(&mut self, pair: &DomainPair) {
        let now = self.shared.now();
        if self.sought.get(pair).is_none_or(|until| *until <= now) {
            let found = sought(&self.shared, pair, self.peer.ip()).await;
            self.sought.insert(pair.clone(), found.unwrap_or(now));
        }
    }

    /// Asks the claimed domain's own server.
    fn verify(&mut self, id: VerifyId, request: VerifyRequest) {
        while self.questions.try_join_next().is_some() {}
        let Some(place) = self.shared.verifying.admit(self.peer.ip()) else {
            let verdict = Err(Trouble::Overloaded);
            self.machine.verified(id, verdict, self.shared.clock.now());
            return;
        };
        let verdicts = self.verdict_sender.clone();
        let (shared, peer) = (self.shared.clone(), self.peer.ip());
        self.questions.spawn(async move {
            let verdict = outbound::verify(&shared, request, peer).await;
            drop(place);
            // The stream holds the other end for as long as this runs.
            _ = verdicts.send((id, verdict)).await;
        });
    }
}
