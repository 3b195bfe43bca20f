//! SIP over UDP, TCP and TLS: listeners, connections, dialling, framing.
//!
//! [`SipSockets`] belongs to the engine's task, which sends through it; each connection is a task of its own that reports
//! to the engine as [`SipArrival`]s.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use socket2::{SockRef, TcpKeepalive};
use stox_sip::framing::{Frame, StreamFramer};
use stox_sip::message::Message;
use stox_sip::parse::{Limits, ParseError};
use stox_sip::transport::{Destination, FlowId, Source, Target, Transmit, Transport};
use stox_sip::ua::trust::AddressBlock;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};

use super::FlowIds;
use super::accept::accept;
use super::admission::{Admission, Admitted};
use super::linger::linger;
use crate::net::sip_tls::{Octets, Secured, SipTls};
use crate::net::warnings::{Kind, Warnings};

/// Messages that wait to be written to one connection; one more and the peer is too slow, and is cut.
const WRITE_QUEUE: usize = 512;
/// How long TCP and TLS may take to come up.
const DIAL_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a TLS handshake with a client may take.
const TLS_TIMEOUT: Duration = Duration::from_secs(10);
/// A connection to us says something in this time, or is closed.
const FIRST_MESSAGE: Duration = Duration::from_secs(30);
/// A message that has begun is whole in this time, however slowly its octets come.
const WHOLE_MESSAGE: Duration = Duration::from_secs(30);
/// A connection of somebody known may be quiet for this long.
const IDLE: Duration = Duration::from_secs(1800);
/// The same of somebody who has shown nothing that could speak for a domain, after each of his messages.
const IDLE_STRANGER: Duration = Duration::from_secs(30);
/// A write that does not finish in this time means a dead peer.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// A quiet connection is probed after this time: firewalls forget one after some minutes.
const KEEP_ALIVE: Duration = Duration::from_secs(60);
/// What has been written and is not acknowledged in this time ends the connection.
const UNACKNOWLEDGED: Duration = Duration::from_secs(20);
/// The answer to a keep-alive double CRLF (RFC 5626 §3.5.1).
const PONG: &[u8] = b"\r\n";

/// What the sockets tell the engine.
#[derive(Debug)]
pub enum SipArrival {
    /// One UDP datagram.
    Datagram {
        /// Where from.
        source: Source,
        /// The datagram.
        octets: Bytes,
    },
    /// One message on a connection, or octets that are none.
    Framed {
        /// Where from.
        source: Source,
        /// The message, or what is wrong with it.
        message: Result<Message, ParseError>,
    },
    /// A connection is gone, or one that we tried to open never came. To be given to [`SipSockets::closed`].
    Closed(FlowId),
}

/// Why octets could not be sent. The engine reports it to the transaction that wanted to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotSent;

/// Everything that connections need to know.
struct Shared {
    tls: SipTls,
    flows: FlowIds,
    arrivals: mpsc::Sender<SipArrival>,
    admission: Arc<Admission>,
    warnings: Arc<Warnings>,
    limits: Limits,
    /// Addresses that speak for some domain.
    trusted: Vec<AddressBlock>,
}

impl Shared {
    /// What stands behind it is somebody's: it has shown a certificate that counts, or is at a trusted address.
    fn knows(&self, source: &Source) -> bool {
        let address = source.remote.ip();
        !source.certificate_names.is_empty()
            || self.trusted.iter().any(|block| block.contains(address))
    }
}

/// The SIP sockets of this gateway.
pub struct SipSockets {
    shared: Arc<Shared>,
    datagram: Vec<(FlowId, Arc<UdpSocket>)>,
    connections: HashMap<FlowId, Connection>,
    dialled: HashMap<Target, FlowId>,
    /// Found out while sending, and not told yet.
    lost: Option<Target>,
    accepted: mpsc::Receiver<Accepted>,
    accepting: mpsc::Sender<Accepted>,
    tasks: JoinSet<()>,
}

struct Connection {
    writer: mpsc::Sender<Bytes>,
    remote: IpAddr,
    target: Option<Target>,
}

struct Accepted {
    flow: FlowId,
    remote: IpAddr,
    writer: mpsc::Sender<Bytes>,
}

impl SipSockets {
    /// Without listeners yet. `arrivals` leads to the engine. Each listener admits as many as `admission`. Connections from
    /// `trusted` addresses may be quiet for long.
    #[must_use]
    pub fn new(
        tls: SipTls,
        arrivals: mpsc::Sender<SipArrival>,
        admission: Arc<Admission>,
        (limits, trusted): (Limits, Vec<AddressBlock>),
    ) -> Self {
        let (accepting, accepted) = mpsc::channel(256);
        Self {
            shared: Arc::new(Shared {
                tls,
                flows: FlowIds::default(),
                arrivals,
                admission,
                warnings: Arc::default(),
                limits,
                trusted,
            }),
            datagram: Vec::new(),
            connections: HashMap::new(),
            dialled: HashMap::new(),
            lost: None,
            accepted,
            accepting,
            tasks: JoinSet::new(),
        }
    }

    /// Serves a bound UDP socket.
    pub fn serve_udp(&mut self, socket: UdpSocket) {
        let flow = self.shared.flows.next();
        let socket = Arc::new(socket);
        self.datagram.push((flow, socket.clone()));
        self.tasks
            .spawn(receive_datagrams(self.shared.clone(), flow, socket));
    }

    /// Serves a bound TCP listener, with or without TLS.
    pub fn serve_stream(&mut self, listener: TcpListener, transport: Transport) {
        let (shared, accepting) = (self.shared.clone(), self.accepting.clone());
        let parts = ("SIP", shared.admission.beside(), shared.warnings.clone());
        self.tasks
            .spawn(accept(listener, parts, move |stream, remote, admitted| {
                let (shared, accepting) = (shared.clone(), accepting.clone());
                serve_accepted(shared, stream, remote, transport, accepting, admitted)
            }));
    }

    /// Waits for the next accepted connection to be entered; the engine's loop polls this beside its other inputs.
    pub async fn admit_next(&mut self) {
        if let Some(accepted) = self.accepted.recv().await {
            self.enter(accepted);
        }
    }

    fn enter_accepted(&mut self) {
        while let Ok(accepted) = self.accepted.try_recv() {
            self.enter(accepted);
        }
    }

    fn enter(&mut self, accepted: Accepted) {
        self.connections.insert(
            accepted.flow,
            Connection {
                writer: accepted.writer,
                remote: accepted.remote,
                target: None,
            },
        );
    }

    /// Sends, opening a connection where there is none.
    ///
    /// # Errors
    /// The connection is gone or does not take more, or no socket fits. [`SipSockets::take_lost`] may know more.
    pub fn send(&mut self, transmit: Transmit) -> Result<(), NotSent> {
        tracing::trace!(
            destination = ?transmit.destination,
            octets = %String::from_utf8_lossy(&transmit.bytes),
            "SIP out"
        );
        match transmit.destination {
            Destination::Datagram { socket, remote } => {
                self.send_datagram(socket, remote, &transmit.bytes)
            }
            Destination::Connection(flow) => self.send_on(flow, transmit.bytes),
            Destination::Dial(target) => {
                let flow = match self.dialled.get(&target) {
                    Some(flow) => *flow,
                    None => self.dial(target),
                };
                self.send_on(flow, transmit.bytes)
            }
        }
    }

    /// Forgets a connection that has ended. Where it was our way to a target, what was sent there may not have arrived;
    /// a way that was opened since is another one.
    pub fn closed(&mut self, flow: FlowId) -> Option<Target> {
        // The end may overtake the beginning, which came first on a channel of its own.
        self.enter_accepted();
        let target = self.connections.remove(&flow)?.target?;
        let current = self.dialled.get(&target) == Some(&flow);
        current.then(|| {
            self.dialled.remove(&target);
            target
        })
    }

    /// The target whose way was found to be gone by the last [`SipSockets::send`].
    pub fn take_lost(&mut self) -> Option<Target> {
        self.lost.take()
    }

    /// Connections open now.
    #[must_use]
    pub fn open_connections(&self) -> usize {
        self.connections.len()
    }

    /// The local addresses of the UDP sockets, in the order of [`Self::serve_udp`].
    pub fn datagram_addresses(&self) -> impl Iterator<Item = std::io::Result<SocketAddr>> + '_ {
        self.datagram.iter().map(|(_, socket)| socket.local_addr())
    }

    fn send_datagram(
        &self,
        socket: Option<FlowId>,
        remote: SocketAddr,
        octets: &[u8],
    ) -> Result<(), NotSent> {
        let way = |(_, socket): &(FlowId, Arc<UdpSocket>)| {
            let to = reach(socket.local_addr().ok()?, remote)?;
            Some((to != remote, socket.clone(), to))
        };
        let named = socket.and_then(|flow| self.datagram.iter().find(|(id, _)| *id == flow));
        let (_, socket, to) = named
            .and_then(way)
            .or_else(|| {
                self.datagram
                    .iter()
                    .filter_map(way)
                    .min_by_key(|(mapped, ..)| *mapped)
            })
            .ok_or(NotSent)?;
        match socket.try_send_to(octets, to) {
            Ok(_) => Ok(()),
            // A full socket buffer is a lost datagram: the transaction sends it again.
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Ok(()),
            Err(error) => {
                tracing::debug!(%remote, %error, "datagram not sent");
                Err(NotSent)
            }
        }
    }

    fn send_on(&mut self, flow: FlowId, octets: Bytes) -> Result<(), NotSent> {
        self.enter_accepted();
        let connection = self.connections.get(&flow).ok_or(NotSent)?;
        match connection.writer.try_send(octets) {
            Ok(()) => Ok(()),
            Err(error) => {
                // Why a connection is gone was said when it went.
                let peer = connection.remote;
                if matches!(error, mpsc::error::TrySendError::Full(_))
                    && let Some(unsaid) = self.shared.warnings.ask(Kind::Slow, peer)
                {
                    tracing::warn!(%peer, unsaid, "a SIP peer reads too slowly; its connection is cut");
                }
                self.lost = self.closed(flow);
                Err(NotSent)
            }
        }
    }

    fn dial(&mut self, target: Target) -> FlowId {
        let flow = self.shared.flows.next();
        let (writer, queue) = mpsc::channel(WRITE_QUEUE);
        self.connections.insert(
            flow,
            Connection {
                writer,
                remote: target.address.ip(),
                target: Some(target.clone()),
            },
        );
        self.dialled.insert(target.clone(), flow);
        self.tasks
            .spawn(dial(self.shared.clone(), target, flow, queue));
        // A task that has ended keeps its memory until it is asked for.
        while self.tasks.try_join_next().is_some() {}
        flow
    }
}

/// How a remote address is written for a socket bound to `local`; `None` when that socket does not lead there. An IPv6
/// wildcard socket also carries IPv4.
fn reach(local: SocketAddr, remote: SocketAddr) -> Option<SocketAddr> {
    match (local.ip(), remote.ip()) {
        (ours, theirs) if ours.is_loopback() && !theirs.to_canonical().is_loopback() => None,
        (IpAddr::V4(_), IpAddr::V4(_)) | (IpAddr::V6(_), IpAddr::V6(_)) => Some(remote),
        (IpAddr::V6(ours), IpAddr::V4(theirs)) if ours.is_unspecified() => Some(SocketAddr::new(
            theirs.to_ipv6_mapped().into(),
            remote.port(),
        )),
        _ => None,
    }
}

async fn receive_datagrams(shared: Arc<Shared>, flow: FlowId, socket: Arc<UdpSocket>) {
    let mut buffer = vec![0; 65_535];
    loop {
        let (length, remote) = match socket.recv_from(&mut buffer).await {
            Ok(received) => received,
            Err(error) => {
                // ICMP errors of earlier datagrams arrive here; they end nothing.
                tracing::debug!(%error, "UDP receive");
                continue;
            }
        };
        let octets = Bytes::copy_from_slice(buffer.get(..length).unwrap_or_default());
        tracing::trace!(%remote, octets = %String::from_utf8_lossy(&octets), "SIP in");
        let source = Source {
            flow,
            transport: Transport::Udp,
            remote,
            certificate_names: Vec::new(),
        };
        if shared
            .arrivals
            .send(SipArrival::Datagram { source, octets })
            .await
            .is_err()
        {
            return;
        }
    }
}

async fn serve_accepted(
    shared: Arc<Shared>,
    stream: TcpStream,
    remote: SocketAddr,
    transport: Transport,
    accepting: mpsc::Sender<Accepted>,
    _admitted: Admitted,
) {
    let flow = shared.flows.next();
    let (writer, queue) = mpsc::channel(WRITE_QUEUE);
    prepare(&stream);
    let source = |certificate_names| Source {
        flow,
        transport,
        remote,
        certificate_names,
    };
    if transport != Transport::Tls {
        let accepted = Accepted {
            flow,
            remote: remote.ip(),
            writer,
        };
        attend(
            &shared,
            source(Vec::new()),
            stream,
            queue,
            (accepting, accepted),
        )
        .await;
        return;
    }
    match timeout(TLS_TIMEOUT, shared.tls.accept(stream, remote.ip())).await {
        Ok(Ok(Secured {
            stream,
            certificate_names,
        })) => {
            tracing::debug!(%remote, names = ?certificate_names, "SIP TLS connection accepted");
            let accepted = Accepted {
                flow,
                remote: remote.ip(),
                writer,
            };
            let source = source(certificate_names);
            attend(&shared, source, stream, queue, (accepting, accepted)).await;
        }
        Ok(Err(why)) => match shared.warnings.ask(Kind::Handshake, remote.ip()) {
            Some(unsaid) => {
                tracing::warn!(peer = %remote.ip(), %why, unsaid, "SIP TLS handshake refused");
            }
            None => tracing::debug!(peer = %remote.ip(), %why, "SIP TLS handshake refused"),
        },
        Err(_) => tracing::debug!(%remote, "SIP TLS handshake took too long"),
    }
}

/// Enters an accepted connection and serves it to its end.
async fn attend(
    shared: &Shared,
    source: Source,
    stream: impl Octets,
    queue: mpsc::Receiver<Bytes>,
    (accepting, accepted): (mpsc::Sender<Accepted>, Accepted),
) {
    if accepting.send(accepted).await.is_ok() {
        let patience = Patience::with_a_client(shared.knows(&source), Instant::now());
        converse(shared, &source, stream, queue, patience).await;
        _ = shared.arrivals.send(SipArrival::Closed(source.flow)).await;
    }
}

async fn dial(shared: Arc<Shared>, target: Target, flow: FlowId, queue: mpsc::Receiver<Bytes>) {
    match open(&shared, &target).await {
        Ok((stream, certificate_names)) => {
            let source = Source {
                flow,
                transport: target.transport,
                remote: target.address,
                certificate_names,
            };
            // The answer to the first request may take longer than a stranger's first word.
            converse(
                &shared,
                &source,
                stream,
                queue,
                Patience::with_a_server(Instant::now()),
            )
            .await;
        }
        Err(why) => {
            let (address, name) = (target.address, &target.name);
            match shared.warnings.ask(Kind::Dial, address.ip()) {
                Some(unsaid) => {
                    tracing::warn!(%address, %name, %why, unsaid, "SIP connection failed");
                }
                None => tracing::debug!(%address, %name, %why, "SIP connection failed"),
            }
        }
    }
    _ = shared.arrivals.send(SipArrival::Closed(flow)).await;
}

async fn open(shared: &Shared, target: &Target) -> Result<(Box<dyn Octets>, Vec<String>), String> {
    match timeout(DIAL_TIMEOUT, TcpStream::connect(target.address)).await {
        Ok(Ok(stream)) => {
            prepare(&stream);
            secure(shared, target, stream).await
        }
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("no TCP connection in time".to_owned()),
    }
}

/// Requests are small and wait for answers; without Nagle's delay they go at once. A way that a firewall has forgotten is found
/// out by what nobody acknowledges, rather than after the quarter of an hour that the system tries.
fn prepare(stream: &TcpStream) {
    _ = stream.set_nodelay(true);
    let socket = SockRef::from(stream);
    let probes = TcpKeepalive::new()
        .with_time(KEEP_ALIVE)
        .with_interval(KEEP_ALIVE);
    _ = socket.set_tcp_keepalive(&probes);
    #[cfg(target_os = "linux")]
    {
        _ = socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED));
    }
}

async fn secure(
    shared: &Shared,
    target: &Target,
    stream: TcpStream,
) -> Result<(Box<dyn Octets>, Vec<String>), String> {
    if target.transport != Transport::Tls {
        return Ok((Box::new(stream), Vec::new()));
    }
    match timeout(DIAL_TIMEOUT, shared.tls.connect(stream, target)).await {
        Ok(secured) => secured.map(|secured| (secured.stream, secured.certificate_names)),
        Err(_) => Err("TLS: no handshake in time".to_owned()),
    }
}

/// Reads and writes one connection until either side ends it.
async fn converse(
    shared: &Shared,
    source: &Source,
    stream: impl Octets,
    queue: mpsc::Receiver<Bytes>,
    patience: Patience,
) {
    let (reader, writer) = tokio::io::split(stream);
    let (pongs, pong_queue) = mpsc::channel(4);
    tokio::select! {
        () = read_frames(shared, source, (reader, patience), pongs) => {}
        () = write_all(writer, queue, pong_queue) => {}
    }
}

async fn read_frames(
    shared: &Shared,
    source: &Source,
    (mut reader, mut patience): (impl AsyncRead + Unpin, Patience),
    pongs: mpsc::Sender<()>,
) {
    let mut framer = StreamFramer::new(shared.limits);
    let mut buffer = BytesMut::with_capacity(16 * 1024);
    loop {
        buffer.clear();
        match timeout_at(patience.ends, reader.read_buf(&mut buffer)).await {
            Ok(Ok(count)) if count > 0 => {
                tracing::trace!(remote = %source.remote, octets = %String::from_utf8_lossy(&buffer), "SIP in");
                framer.push(&buffer);
            }
            _ => return,
        }
        loop {
            let (message, last) = match framer.poll_frame() {
                Ok(None) => break,
                Ok(Some(Frame::Message(message))) => {
                    patience.heard_message(Instant::now());
                    (Ok(message), false)
                }
                Ok(Some(Frame::Malformed(error))) => (Err(error), false),
                Ok(Some(Frame::KeepAlivePing)) => {
                    _ = pongs.try_send(());
                    continue;
                }
                Ok(Some(Frame::KeepAlivePong)) => continue,
                Err(error) => (Err(error), true),
            };
            let arrival = SipArrival::Framed {
                source: source.clone(),
                message,
            };
            if shared.arrivals.send(arrival).await.is_err() {
                return;
            }
            if last {
                // Time for the refusal to be written before the connection goes.
                linger(&mut reader).await;
                return;
            }
        }
        patience.read(framer.is_mid_message(), Instant::now());
    }
}

/// Until when a peer may take to say something.
#[derive(Debug)]
struct Patience {
    ends: Instant,
    /// How long it may be quiet. Whoever is nobody's wins that by whole messages only.
    idle: Duration,
    is_stranger: bool,
    /// Whether it has said a whole message, or need not.
    has_spoken: bool,
    /// Whether a message has begun and is not whole.
    is_mid_message: bool,
}

impl Patience {
    /// Who has connected to us has to say a message; octets alone win no time.
    fn with_a_client(is_known: bool, now: Instant) -> Self {
        Self {
            ends: now + FIRST_MESSAGE,
            idle: if is_known { IDLE } else { IDLE_STRANGER },
            is_stranger: !is_known,
            has_spoken: false,
            is_mid_message: false,
        }
    }

    fn with_a_server(now: Instant) -> Self {
        Self {
            ends: now + IDLE,
            idle: IDLE,
            is_stranger: false,
            has_spoken: true,
            is_mid_message: false,
        }
    }

    fn heard_message(&mut self, now: Instant) {
        self.has_spoken = true;
        self.is_mid_message = false;
        self.ends = now + self.idle;
    }

    /// After everything whole was taken out of what was read.
    fn read(&mut self, is_mid_message: bool, now: Instant) {
        if !self.has_spoken {
            return;
        }
        if is_mid_message && !self.is_mid_message {
            self.ends = now + WHOLE_MESSAGE;
        } else if !is_mid_message && !self.is_stranger {
            self.ends = now + self.idle;
        }
        self.is_mid_message = is_mid_message;
    }
}

async fn write_all(
    mut writer: impl AsyncWrite + Unpin,
    mut queue: mpsc::Receiver<Bytes>,
    mut pongs: mpsc::Receiver<()>,
) {
    loop {
        let octets = tokio::select! {
            octets = queue.recv() => match octets {
                Some(octets) => octets,
                None => break,
            },
            Some(()) = pongs.recv() => Bytes::from_static(PONG),
        };
        let written = async {
            writer.write_all(&octets).await?;
            writer.flush().await
        };
        match timeout(WRITE_TIMEOUT, written).await {
            Ok(Ok(())) => {}
            _ => return,
        }
    }
    _ = timeout(WRITE_TIMEOUT, writer.shutdown()).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::dns::Dns;
    use crate::net::test_settings::settings;
    use crate::net::tls::CurrentTls;

    #[test]
    fn a_wildcard_ipv6_socket_reaches_both_worlds() {
        let cases = [
            ("0.0.0.0:5060", "192.0.2.1:5060", Some("192.0.2.1:5060")),
            (
                "[::]:5060",
                "192.0.2.1:5060",
                Some("[::ffff:192.0.2.1]:5060"),
            ),
            (
                "[::]:5060",
                "[2001:db8::1]:5060",
                Some("[2001:db8::1]:5060"),
            ),
            ("[2001:db8::2]:5060", "192.0.2.1:5060", None),
            ("0.0.0.0:5060", "[2001:db8::1]:5060", None),
            ("127.0.0.1:5060", "192.0.2.1:5060", None),
            ("127.0.0.1:5060", "127.0.0.2:5060", Some("127.0.0.2:5060")),
        ];
        for (local, remote, expected) in cases {
            let found = reach(local.parse().unwrap(), remote.parse().unwrap());
            assert_eq!(
                found,
                expected.map(|to| to.parse().unwrap()),
                "{local} to {remote}"
            );
        }
    }

    /// Sockets without listeners, and what they tell.
    fn sockets() -> (SipSockets, mpsc::Receiver<SipArrival>) {
        let (config, tls) = settings("[[xmpp.partner]]\ndomain = \"*\"\n");
        let dns = Dns::new(&config.dns).unwrap();
        let tls = SipTls::new(CurrentTls::new(tls), dns, Arc::new(config.sip_transports()));
        let (arrivals, arrived) = mpsc::channel(16);
        let admission = Admission::new(16, 16);
        let limits = Limits::default();
        let parts = (limits, Vec::new());
        (SipSockets::new(tls, arrivals, admission, parts), arrived)
    }

    async fn closed(arrived: &mut mpsc::Receiver<SipArrival>) -> FlowId {
        let arrival = timeout(Duration::from_secs(20), arrived.recv()).await;
        match arrival.unwrap().unwrap() {
            SipArrival::Closed(flow) => flow,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn a_way_that_is_lost_is_told_once_and_never_for_the_next_one() {
        let (mut sockets, mut arrived) = sockets();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = Target {
            transport: Transport::Tcp,
            address: listener.local_addr().unwrap(),
            name: "edge.test".to_owned(),
            also: Vec::new(),
        };
        let message = Transmit {
            destination: Destination::Dial(target.clone()),
            bytes: Bytes::from_static(b"x"),
        };
        // The end of a connection is told, and names the target.
        sockets.send(message.clone()).unwrap();
        drop(listener.accept().await.unwrap());
        let first = closed(&mut arrived).await;
        // Before that was taken in, the loss shows when something is sent.
        assert!(sockets.send(message.clone()).is_err());
        assert_eq!(sockets.take_lost(), Some(target.clone()));
        assert_eq!(sockets.take_lost(), None);
        // The next one is dialled, and the end of the first is nothing to it.
        sockets.send(message.clone()).unwrap();
        assert_eq!(sockets.closed(first), None);
        let (stream, _) = listener.accept().await.unwrap();
        assert_eq!(sockets.open_connections(), 1);
        drop(stream);
        let second = closed(&mut arrived).await;
        assert_ne!(first, second);
        assert_eq!(sockets.closed(second), Some(target.clone()));
        // One that cannot be opened is lost likewise.
        drop(listener);
        sockets.send(message).unwrap();
        let third = closed(&mut arrived).await;
        assert_eq!(sockets.closed(third), Some(target));
        assert_eq!(sockets.open_connections(), 0);
    }

    #[tokio::test]
    async fn an_end_that_overtakes_its_beginning_leaves_nothing() {
        let (mut sockets, _arrived) = sockets();
        let (writer, _queue) = mpsc::channel(1);
        let accepted = Accepted {
            flow: FlowId(7),
            remote: IpAddr::from([127, 0, 0, 1]),
            writer,
        };
        sockets.accepting.send(accepted).await.unwrap();
        assert_eq!(sockets.closed(FlowId(7)), None);
        assert!(timeout(Duration::ZERO, sockets.admit_next()).await.is_err());
        assert_eq!(sockets.open_connections(), 0);
    }

    #[tokio::test]
    async fn tasks_that_have_ended_are_not_kept() {
        let (mut sockets, mut arrived) = sockets();
        let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = nobody.local_addr().unwrap();
        drop(nobody);
        for _ in 0..20 {
            let target = Target {
                transport: Transport::Tcp,
                address,
                name: "edge.test".to_owned(),
                also: Vec::new(),
            };
            let message = Transmit {
                destination: Destination::Dial(target),
                bytes: Bytes::from_static(b"x"),
            };
            sockets.send(message).unwrap();
            let flow = closed(&mut arrived).await;
            sockets.closed(flow);
        }
        assert!(sockets.tasks.len() < 5, "{}", sockets.tasks.len());
    }

    #[tokio::test]
    async fn a_quiet_connection_is_probed_and_a_dead_one_given_up() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stream = TcpStream::connect(address).await.unwrap();
        prepare(&stream);
        let socket = SockRef::from(&stream);
        assert!(socket.keepalive().unwrap() && stream.nodelay().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), KEEP_ALIVE);
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(UNACKNOWLEDGED));
    }

    #[test]
    fn octets_win_no_time() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut patience = Patience::with_a_client(true, start);
        patience.read(true, at(10));
        patience.read(true, at(20));
        patience.read(false, at(25));
        assert_eq!(patience.ends, at(0) + FIRST_MESSAGE, "keep-alives neither");
        patience.heard_message(at(29));
        patience.read(false, at(29));
        assert_eq!(patience.ends, at(29) + IDLE);
        patience.read(true, at(40));
        patience.read(true, at(60));
        assert_eq!(patience.ends, at(40) + WHOLE_MESSAGE);
        patience.heard_message(at(65));
        patience.read(true, at(65));
        assert_eq!(patience.ends, at(65) + WHOLE_MESSAGE, "the next one");
        let mut server = Patience::with_a_server(start);
        assert_eq!(server.ends, at(0) + IDLE);
        server.read(true, at(5));
        assert_eq!(server.ends, at(5) + WHOLE_MESSAGE);
    }

    #[test]
    fn one_request_of_a_stranger_buys_no_long_silence() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut patience = Patience::with_a_client(false, start);
        patience.heard_message(at(10));
        patience.read(false, at(10));
        assert_eq!(patience.ends, at(10) + IDLE_STRANGER);
        // Keep-alives.
        patience.read(false, at(20));
        patience.read(false, at(30));
        assert_eq!(patience.ends, at(10) + IDLE_STRANGER);
        patience.heard_message(at(35));
        patience.read(false, at(35));
        assert_eq!(patience.ends, at(35) + IDLE_STRANGER, "whoever asks again");
    }
}
