//! Accepted streams.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use stox_xmpp::dialback::Trouble;
use stox_xmpp::stream::{
    CloseReason, DomainPair, InboundEvent, InboundStream, StanzaNumber, StreamCommand, VerifyId,
    VerifyRequest,
};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};

use super::connection::{Connection, Lost, Side};
use super::{Handled, Shared, StreamArrival, outbound};
use crate::config::{CertificateRule, StreamTls};
use crate::engine::LinkName;
use crate::entropy::OsEntropy;
use crate::sockets::admission::Admitted;

/// Numbers the streams of this process.
static NEXT: AtomicU64 = AtomicU64::new(1);

/// Accepts for as long as the process runs.
pub(super) async fn accept(shared: Arc<Shared>, listener: TcpListener, stop: watch::Receiver<()>) {
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot accept XMPP connections for the moment; check the limit of open files");
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
}

type Verdict = (VerifyId, Result<bool, Trouble>);

struct Task {
    shared: Arc<Shared>,
    machine: InboundStream,
    connection: Connection,
    entropy: OsEntropy,
    peer: SocketAddr,
    number: u64,
    encrypted: bool,
    verdicts: mpsc::Receiver<Verdict>,
    verdict_sender: mpsc::Sender<Verdict>,
    handled: mpsc::UnboundedReceiver<StanzaNumber>,
    handled_sender: mpsc::UnboundedSender<StanzaNumber>,
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
        Self {
            shared,
            machine,
            connection: Connection::new(stream),
            entropy,
            peer,
            number,
            encrypted: false,
            verdicts,
            verdict_sender,
            handled,
            handled_sender,
        }
    }

    async fn run(&mut self, stop: &mut watch::Receiver<()>) {
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
                Ok(()) = stop.changed() => self.machine.close(clock.now()),
                () = outbound::sleep_until(wake) => self.machine.handle_timeout(clock.now()),
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
        let time = self.shared.rules.inbound.timing.tls;
        let handshake = self.connection.start_tls(Side::Server, &self.shared.tls);
        match tokio::time::timeout(time, handshake).await {
            Ok(Ok(info)) => {
                self.encrypted = true;
                self.machine
                    .tls_established(info, &mut self.entropy, self.shared.clock.now());
            }
            Ok(Err(why)) => self.machine.tls_failed(why),
            Err(_) => self.machine.tls_failed("no handshake in time"),
        }
    }

    async fn event(&mut self, event: InboundEvent) -> Result<(), Lost> {
        match event {
            InboundEvent::Opened {
                from,
                to,
                encrypted,
            } => {
                tracing::debug!(peer = %self.peer, ?from, ?to, encrypted, "XMPP stream opened");
            }
            InboundEvent::VerifyKey {
                id,
                pair,
                stream_id,
                key,
                certificate_valid,
            } => {
                let request = VerifyRequest {
                    pair,
                    stream_id,
                    key,
                };
                self.verify(id, request, certificate_valid).await;
            }
            InboundEvent::Authenticate { id, pair } => self.authenticate(id, &pair),
            InboundEvent::DomainProved(pair) => {
                tracing::info!(partner = pair.remote, local = pair.local, encrypted = self.encrypted, peer = %self.peer.ip(), "XMPP partner has proved its domain");
                let arrival = StreamArrival::Proved {
                    stream: self.number,
                    name: LinkName::new(&pair.local, &pair.remote),
                    encrypted: self.encrypted,
                };
                self.shared.arrivals.send(arrival).await.map_err(|_| Lost)?;
            }
            InboundEvent::Stanza {
                pair,
                number,
                element,
            } => {
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
            _ => tracing::warn!(%peer, %reason, "XMPP stream from a partner was ended"),
        }
    }

    /// Holds the claim to the partner's rule. That the certificate is valid is known.
    fn authenticate(&mut self, id: VerifyId, pair: &DomainPair) {
        let verdict = match self.permitted(pair, true) {
            Ok(()) => Ok(true),
            Err(why) => {
                self.warn_refused(pair, why);
                Err(Trouble::Forbidden)
            }
        };
        self.machine.verified(id, verdict, self.shared.clock.now());
    }

    fn warn_refused(&self, pair: &DomainPair, why: &str) {
        tracing::warn!(partner = pair.remote, peer = %self.peer.ip(), "XMPP partner refused: {why}");
    }

    /// Holds the claim to the partner's rule, then asks the claimed domain's own server.
    async fn verify(&self, id: VerifyId, request: VerifyRequest, certificate_valid: bool) {
        let verdicts = self.verdict_sender.clone();
        if let Err(why) = self.permitted(&request.pair, certificate_valid) {
            self.warn_refused(&request.pair, why);
            _ = verdicts.send((id, Err(Trouble::Forbidden))).await;
            return;
        }
        let shared = self.shared.clone();
        tokio::spawn(async move {
            let verdict = outbound::verify(&shared, request).await;
            _ = verdicts.send((id, verdict)).await;
        });
    }

    fn permitted(&self, pair: &DomainPair, certificate_valid: bool) -> Result<(), &'static str> {
        let partner = self
            .shared
            .rules
            .partner(&pair.remote)
            .ok_or("no [[xmpp.partner]] rule allows this domain")?;
        if partner.tls == StreamTls::Required && !self.encrypted {
            return Err("its rule requires TLS and the stream is in clear");
        }
        if partner.certificate == CertificateRule::Verify && !certificate_valid {
            return Err(
                "its rule requires a certificate that is valid for the domain, and the one shown is not; check its names, dates and authority, and tls.roots",
            );
        }
        Ok(())
    }
}
