//! MSRP connections: listeners, dialling, octets in and out.
//!
//! [`MsrpSockets`] belongs to the engine's task; each connection is a task of its own that reports as [`MsrpArrival`]s.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use stox_sip::msrp::endpoint::{Dial, DialId, Fingerprint, Security};
use stox_sip::msrp::uri::MsrpUri;
use stox_sip::transport::FlowId;
use stox_sip::ua::trust::AddressBlock;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::FlowIds;
use super::accept::accept;
use super::admission::{Admission, Admitted};
use crate::net::dns::Dns;
use crate::net::msrp_tls::MsrpTls;
use crate::net::public_address::is_public;
use crate::net::sip_tls::Octets;
use crate::net::warnings::{Kind, Warnings};

/// Pieces that wait to be written to one connection: more than there are in the endpoint's window of octets, the shortest
/// responses too.
const WRITE_QUEUE: usize = 1024;
/// How long name resolution, TCP and TLS may take together.
const DIAL_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a TLS handshake with a client may take.
const TLS_TIMEOUT: Duration = Duration::from_secs(10);
/// A connection without octets for this long is closed; sessions end long before that.
const IDLE: Duration = Duration::from_secs(3600);
/// A write that does not finish in this time means a dead peer.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// Addresses of one host that are tried.
const MAX_ADDRESSES: usize = 4;

/// What the sockets tell the engine.
#[derive(Debug)]
pub enum MsrpArrival {
    /// A peer has connected.
    Accepted {
        /// The connection.
        flow: FlowId,
        /// It is encrypted.
        secure: bool,
        /// The certificate that the peer showed.
        certificate: Option<Vec<Fingerprint>>,
        /// What writes to it.
        writer: mpsc::Sender<Bytes>,
    },
    /// A connection that we wanted is open, or cannot be had.
    Dialled {
        /// Which.
        id: DialId,
        /// The connection, with what writes to it.
        outcome: Option<(FlowId, mpsc::Sender<Bytes>)>,
    },
    /// Octets came in.
    Octets {
        /// Where.
        flow: FlowId,
        /// Which.
        octets: Bytes,
    },
    /// So many octets are written.
    Written {
        /// Where.
        flow: FlowId,
        /// How many.
        octets: usize,
    },
    /// A connection is gone.
    Closed(FlowId),
}

struct Shared {
    tls: MsrpTls,
    dns: Dns,
    /// Addresses that are not public, and may be dialled all the same.
    inside: Vec<AddressBlock>,
    /// A host that may be at any address: our relay.
    relay: Option<String>,
    flows: FlowIds,
    arrivals: mpsc::Sender<MsrpArrival>,
    admission: Arc<Admission>,
    warnings: Arc<Warnings>,
}

/// The MSRP sockets of this gateway.
pub struct MsrpSockets {
    shared: Arc<Shared>,
    writers: HashMap<FlowId, mpsc::Sender<Bytes>>,
    tasks: JoinSet<()>,
}

impl MsrpSockets {
    /// Without listeners yet. `arrivals` leads to the engine. Hosts by name are dialled at public addresses and at those
    /// that lie `inside`; the host of the `relay` is dialled wherever it is.
    #[must_use]
    pub fn new(
        tls: MsrpTls,
        dns: Dns,
        (inside, relay): (Vec<AddressBlock>, Option<String>),
        arrivals: mpsc::Sender<MsrpArrival>,
        admission: Arc<Admission>,
    ) -> Self {
        let shared = Arc::new(Shared {
            tls,
            dns,
            inside,
            relay,
            flows: FlowIds::default(),
            arrivals,
            admission,
            warnings: Arc::default(),
        });
        Self {
            shared,
            writers: HashMap::new(),
            tasks: JoinSet::new(),
        }
    }

    /// Serves a bound listener, with or without TLS.
    pub fn serve(&mut self, listener: TcpListener, secure: bool) {
        let shared = self.shared.clone();
        let parts = ("MSRP", shared.admission.beside(), shared.warnings.clone());
        self.tasks
            .spawn(accept(listener, parts, move |stream, remote, admitted| {
                serve_accepted(shared.clone(), stream, remote, secure, admitted)
            }));
    }

    /// Opens a connection; [`MsrpArrival::Dialled`] follows.
    pub fn dial(&mut self, dial: Dial) {
        self.tasks.spawn(open(self.shared.clone(), dial));
        while self.tasks.try_join_next().is_some() {}
    }

    /// Enters a connection.
    pub fn enter(&mut self, flow: FlowId, writer: mpsc::Sender<Bytes>) {
        self.writers.insert(flow, writer);
    }

    /// Sends. `false`: the connection is gone or reads too slowly, and is closed; [`MsrpArrival::Closed`] follows.
    pub fn send(&mut self, flow: FlowId, octets: Bytes) -> bool {
        tracing::trace!(flow = flow.0, octets = %String::from_utf8_lossy(&octets), "MSRP out");
        let sent = match self
            .writers
            .get(&flow)
            .map(|writer| writer.try_send(octets))
        {
            Some(Ok(())) => return true,
            sent => sent,
        };
        if let Some(Err(mpsc::error::TrySendError::Full(_))) = sent
            && let Some(unsaid) = self.shared.warnings.ask_host(Kind::Slow, "")
        {
            tracing::warn!(
                flow = flow.0,
                unsaid,
                "an MSRP peer reads too slowly; its connection is cut"
            );
        }
        self.close(flow);
        false
    }

    /// Closes a connection when everything before is written.
    pub fn close(&mut self, flow: FlowId) {
        self.writers.remove(&flow);
    }

    /// Connections open now.
    #[must_use]
    pub fn open_connections(&self) -> usize {
        self.writers.len()
    }
}

async fn serve_accepted(
    shared: Arc<Shared>,
    stream: TcpStream,
    remote: SocketAddr,
    secure: bool,
    _admitted: Admitted,
) {
    _ = stream.set_nodelay(true);
    let (stream, certificate): (Box<dyn Octets>, _) = if secure {
        match timeout(TLS_TIMEOUT, shared.tls.accept(stream)).await {
            Ok(Ok((stream, certificate))) => (Box::new(stream), certificate),
            Ok(Err(why)) => {
                match shared.warnings.ask(Kind::Handshake, remote.ip()) {
                    Some(unsaid) => {
                        tracing::warn!(peer = %remote.ip(), %why, unsaid, "MSRP TLS handshake refused");
                    }
                    None => {
                        tracing::debug!(peer = %remote.ip(), %why, "MSRP TLS handshake refused")
                    }
                }
                return;
            }
            Err(_) => {
                tracing::debug!(%remote, "MSRP TLS handshake took too long");
                return;
            }
        }
    } else {
        (Box::new(stream), None)
    };
    let flow = shared.flows.next();
    tracing::debug!(%remote, flow = flow.0, secure, "MSRP connection accepted");
    let (writer, queue) = mpsc::channel(WRITE_QUEUE);
    let arrival = MsrpArrival::Accepted {
        flow,
        secure,
        certificate,
        writer,
    };
    if shared.arrivals.send(arrival).await.is_ok() {
        converse(&shared, flow, stream, queue).await;
    }
}

/// Opens a connection, tells how that went, and serves it to its end.
async fn open(shared: Arc<Shared>, dial: Dial) {
    let target = dial.target.to_string();
    let opened = match timeout(DIAL_TIMEOUT, connect(&shared, &dial)).await {
        Ok(opened) => opened,
        Err(_) => Err("no answer in time".to_owned()),
    };
    let id = dial.id;
    match opened {
        Ok(stream) => {
            let flow = shared.flows.next();
            let (writer, queue) = mpsc::channel(WRITE_QUEUE);
            let outcome = Some((flow, writer));
            let arrival = MsrpArrival::Dialled { id, outcome };
            if shared.arrivals.send(arrival).await.is_ok() {
                converse(&shared, flow, stream, queue).await;
            }
        }
        Err(why) => {
            // What that means for a relay is said elsewhere.
            match shared.relay.as_ref() == Some(&dial.target.host) {
                true => {
                    tracing::info!(host = dial.target.host, %why, "cannot connect to the MSRP relay");
                }
                false => not_dialled(&shared, &dial.target.host, &why),
            }
            tracing::debug!(target, "the MSRP URI that could not be reached");
            let arrival = MsrpArrival::Dialled { id, outcome: None };
            _ = shared.arrivals.send(arrival).await;
        }
    }
}

fn not_dialled(shared: &Shared, host: &str, why: &str) {
    const WORDS: &str = "cannot open an MSRP connection; its messages go another way or fail";
    match shared.warnings.ask_host(Kind::Dial, host) {
        Some(unsaid) => tracing::warn!(host, %why, unsaid, "{WORDS}"),
        None => tracing::debug!(host, %why, "{WORDS}"),
    }
}

async fn connect(shared: &Shared, dial: &Dial) -> Result<Box<dyn Octets>, String> {
    let port = port(&dial.target).ok_or("the URI has no port")?;
    let mut last = "the host has no address that may be dialled; see msrp.networks".to_owned();
    for address in addresses(shared, &dial.target.host).await? {
        match TcpStream::connect((address, port)).await {
            Ok(stream) => {
                _ = stream.set_nodelay(true);
                return match &dial.security {
                    Security::Plain => Ok(Box::new(stream)),
                    Security::Tls(proof) => {
                        let secured = shared.tls.connect(stream, proof).await;
                        secured.map(|stream| Box::new(stream) as Box<dyn Octets>)
                    }
                };
            }
            Err(error) => last = format!("{address}: {error}"),
        }
    }
    Err(last)
}

/// The port of a URI. That of a relay as such may go without saying (RFC 4976 §4.1).
fn port(target: &MsrpUri) -> Option<u16> {
    let relay = target.session.is_none().then(|| target.effective_port());
    target.port.or(relay)
}

/// The addresses of a host. One by number was allowed by the user agent; a name may lead to public addresses only, and
/// to those that are listed, lest it leads us to services of our own network.
async fn addresses(shared: &Shared, host: &str) -> Result<Vec<IpAddr>, String> {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    if let Ok(address) = bare.parse::<IpAddr>() {
        return Ok(vec![address]);
    }
    let found = shared.dns.addresses(host).await;
    let found = found.map_err(|error| error.to_string())?;
    let listed = |address: &IpAddr| shared.inside.iter().any(|block| block.contains(*address));
    let relay = shared.relay.as_deref() == Some(host);
    let allowed = |address: &IpAddr| relay || is_public(*address) || listed(address);
    Ok(found
        .into_iter()
        .filter(allowed)
        .take(MAX_ADDRESSES)
        .collect())
}

/// Moves octets until either side is done.
async fn converse(
    shared: &Shared,
    flow: FlowId,
    stream: impl Octets,
    queue: mpsc::Receiver<Bytes>,
) {
    let (reader, writer) = tokio::io::split(stream);
    tokio::select! {
        () = read_all(shared, flow, reader) => {}
        () = write_all(shared, flow, writer, queue) => {}
    }
    _ = shared.arrivals.send(MsrpArrival::Closed(flow)).await;
}

async fn read_all(shared: &Shared, flow: FlowId, mut reader: impl AsyncRead + Unpin) {
    let mut buffer = BytesMut::with_capacity(16 * 1024);
    loop {
        buffer.reserve(4 * 1024);
        match timeout(IDLE, reader.read_buf(&mut buffer)).await {
            Ok(Ok(count)) if count > 0 => {}
            _ => return,
        }
        let octets = buffer.split().freeze();
        tracing::trace!(flow = flow.0, octets = %String::from_utf8_lossy(&octets), "MSRP in");
        let arrival = MsrpArrival::Octets { flow, octets };
        if shared.arrivals.send(arrival).await.is_err() {
            return;
        }
    }
}

async fn write_all(
    shared: &Shared,
    flow: FlowId,
    mut writer: impl AsyncWrite + Unpin,
    mut queue: mpsc::Receiver<Bytes>,
) {
    while let Some(octets) = queue.recv().await {
        let written = async {
            writer.write_all(&octets).await?;
            writer.flush().await
        };
        match timeout(WRITE_TIMEOUT, written).await {
            Ok(Ok(())) => {}
            _ => return,
        }
        let octets = octets.len();
        let arrival = MsrpArrival::Written { flow, octets };
        if shared.arrivals.send(arrival).await.is_err() {
            return;
        }
    }
    _ = timeout(WRITE_TIMEOUT, writer.shutdown()).await;
}
