//! One TCP connection that may become a TLS connection in the middle.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, ProtocolVersion, ServerConfig};
use stox_xmpp::stream::TlsInfo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};
use zeroize::Zeroizing;

use crate::net::peer_certificate::{CertificateFault, judge_xmpp, judge_xmpp_for_clients};
use crate::net::tls::{TlsSettings, server_name};
use crate::sockets::linger::linger;

/// A write that does not finish in this time means a dead peer.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// Octets read at one time.
const READ_SIZE: usize = 16 * 1024;

/// A connection and its read buffer.
pub(super) struct Connection {
    wire: Wire,
    buffer: BytesMut,
}

enum Wire {
    Plain(TcpStream),
    Client(Box<client::TlsStream<TcpStream>>),
    Server(Box<server::TlsStream<TcpStream>>),
    /// After a failed handshake.
    Gone,
}

/// The connection ended or broke.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lost;

/// What a peer begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Opening {
    /// TLS at once (XEP-0368).
    Tls,
    /// Anything else, or nothing any more.
    Clear,
}

/// The type of a TLS handshake record (RFC 8446 §5.1). No XML begins with it.
const TLS_HANDSHAKE: u8 = 0x16;
/// The protocol inside TLS, where a connection between servers begins with it (XEP-0368 §2).
const ALPN: &[u8] = b"xmpp-server";
/// The same of a client's connection.
const CLIENT_ALPN: &[u8] = b"xmpp-client";
/// What a client binds its login to (RFC 9266 §4.2).
const BINDING: (&[u8], usize) = (b"EXPORTER-Channel-Binding", 32);

/// Which end of the handshake we are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side<'a> {
    /// We dialled this domain.
    Client(&'a str),
    /// We accepted.
    Server,
}

/// When the handshake happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Start {
    /// After STARTTLS.
    Negotiated,
    /// Before the stream (XEP-0368): the protocol is named in it.
    Direct,
}

impl Connection {
    pub(super) fn new(stream: TcpStream) -> Self {
        // Stanzas are small and wait for answers; without Nagle's delay they go at once.
        _ = stream.set_nodelay(true);
        Self {
            wire: Wire::Plain(stream),
            buffer: BytesMut::with_capacity(READ_SIZE),
        }
    }

    /// Waits for the first octet and leaves it where it is.
    pub(super) async fn opening(&self) -> Opening {
        let mut first = [0];
        match &self.wire {
            Wire::Plain(stream) => match stream.peek(&mut first).await {
                Ok(1) if first == [TLS_HANDSHAKE] => Opening::Tls,
                _ => Opening::Clear,
            },
            _ => Opening::Clear,
        }
    }

    /// The next octets.
    pub(super) async fn read(&mut self) -> Result<Bytes, Lost> {
        self.buffer.reserve(READ_SIZE);
        let count = match &mut self.wire {
            Wire::Plain(stream) => stream.read_buf(&mut self.buffer).await,
            Wire::Client(stream) => stream.read_buf(&mut self.buffer).await,
            Wire::Server(stream) => stream.read_buf(&mut self.buffer).await,
            Wire::Gone => return Err(Lost),
        };
        match count {
            Ok(count) if count > 0 => {
                let octets = self.buffer.split().freeze();
                tracing::trace!(octets = %String::from_utf8_lossy(&octets), "XMPP in");
                Ok(octets)
            }
            _ => Err(Lost),
        }
    }

    /// Writes all of it.
    pub(super) async fn write(&mut self, octets: &[u8]) -> Result<(), Lost> {
        tracing::trace!(octets = %String::from_utf8_lossy(octets), "XMPP out");
        self.send(octets).await
    }

    /// The same with what may hold a password, or what proves one: it is in no log.
    pub(super) async fn write_secret(&mut self, octets: &[u8]) -> Result<(), Lost> {
        tracing::trace!(octets = octets.len(), "XMPP out: of a login");
        self.send(octets).await
    }

    async fn send(&mut self, octets: &[u8]) -> Result<(), Lost> {
        let written = async {
            match &mut self.wire {
                Wire::Plain(stream) => stream.write_all(octets).await,
                Wire::Client(stream) => {
                    stream.write_all(octets).await?;
                    stream.flush().await
                }
                Wire::Server(stream) => {
                    stream.write_all(octets).await?;
                    stream.flush().await
                }
                Wire::Gone => Err(std::io::ErrorKind::NotConnected.into()),
            }
        };
        match timeout(WRITE_TIMEOUT, written).await {
            Ok(Ok(())) => Ok(()),
            _ => Err(Lost),
        }
    }

    /// Shakes hands.
    ///
    /// # Errors
    /// Why it failed, in words.
    pub(super) async fn start_tls(
        &mut self,
        side: Side<'_>,
        start: Start,
        tls: &TlsSettings,
    ) -> Result<TlsInfo, String> {
        let Wire::Plain(stream) = std::mem::replace(&mut self.wire, Wire::Gone) else {
            return Err("TLS is already on".to_owned());
        };
        match side {
            Side::Client(domain) => {
                let connector = TlsConnector::from(client_settings(&tls.xmpp_client, start));
                let stream = connector
                    .connect(server_name(domain)?, stream)
                    .await
                    .map_err(|error| error.to_string())?;
                let info = judge(stream.get_ref().1.peer_certificates(), tls);
                self.wire = Wire::Client(Box::new(stream));
                Ok(info)
            }
            Side::Server => {
                let acceptor = TlsAcceptor::from(server_settings(&tls.xmpp_server, start));
                let stream = acceptor
                    .accept(stream)
                    .await
                    .map_err(|error| error.to_string())?;
                let info = judge(stream.get_ref().1.peer_certificates(), tls);
                self.wire = Wire::Server(Box::new(stream));
                Ok(info)
            }
        }
    }

    /// Shakes hands with the server of an account in this domain. Our certificate is not shown: an account has a password.
    /// Beside what is known of the peer comes what a login can be bound to (RFC 9266), where the connection has it.
    ///
    /// # Errors
    /// Why it failed, in words.
    pub(super) async fn start_client_tls(
        &mut self,
        domain: &str,
        start: Start,
        tls: &TlsSettings,
    ) -> Result<(TlsInfo, Option<Zeroizing<Vec<u8>>>), String> {
        let Wire::Plain(stream) = std::mem::replace(&mut self.wire, Wire::Gone) else {
            return Err("TLS is already on".to_owned());
        };
        let mut settings = ClientConfig::clone(&tls.xmpp_account);
        if start == Start::Direct {
            settings.alpn_protocols = vec![CLIENT_ALPN.to_vec()];
        }
        let stream = TlsConnector::from(Arc::new(settings))
            .connect(server_name(domain)?, stream)
            .await
            .map_err(|error| error.to_string())?;
        let connection = stream.get_ref().1;
        let chain = connection.peer_certificates().unwrap_or_default();
        let info = known(judge_xmpp_for_clients(chain, &tls.verifier));
        let (label, octets) = BINDING;
        let binds = connection.protocol_version() == Some(ProtocolVersion::TLSv1_3);
        let exporter = binds
            .then(|| Zeroizing::new(vec![0; octets]))
            .and_then(|mut space| {
                let made = connection.export_keying_material(&mut *space, label, Some(&[]));
                made.is_ok().then_some(space)
            });
        self.wire = Wire::Client(Box::new(stream));
        Ok((info, exporter))
    }

    /// The chain that the peer has shown, its own certificate first.
    pub(super) fn peer_chain(&self) -> &[CertificateDer<'static>] {
        let chain = match &self.wire {
            Wire::Client(stream) => stream.get_ref().1.peer_certificates(),
            Wire::Server(stream) => stream.get_ref().1.peer_certificates(),
            Wire::Plain(_) | Wire::Gone => None,
        };
        chain.unwrap_or_default()
    }

    /// Ends it in order, within a moment.
    pub(super) async fn shutdown(&mut self) {
        let done = async {
            match &mut self.wire {
                Wire::Plain(stream) => stream.shutdown().await,
                Wire::Client(stream) => stream.shutdown().await,
                Wire::Server(stream) => stream.shutdown().await,
                Wire::Gone => Ok(()),
            }
        };
        _ = timeout(Duration::from_secs(2), done).await;
    }

    /// After [`Self::shutdown`]: lets the peer read why, though it is still writing.
    pub(super) async fn linger(&mut self) {
        match &mut self.wire {
            Wire::Plain(stream) => linger(stream).await,
            Wire::Client(stream) => linger(stream.get_mut().0).await,
            Wire::Server(stream) => linger(stream.get_mut().0).await,
            Wire::Gone => {}
        }
    }
}

fn client_settings(settings: &Arc<ClientConfig>, start: Start) -> Arc<ClientConfig> {
    match start {
        Start::Negotiated => settings.clone(),
        Start::Direct => {
            let mut settings = ClientConfig::clone(settings);
            settings.alpn_protocols = vec![ALPN.to_vec()];
            Arc::new(settings)
        }
    }
}

/// A client that names no protocol is taken, too.
fn server_settings(settings: &Arc<ServerConfig>, start: Start) -> Arc<ServerConfig> {
    match start {
        Start::Negotiated => settings.clone(),
        Start::Direct => {
            let mut settings = ServerConfig::clone(settings);
            settings.alpn_protocols = vec![ALPN.to_vec()];
            Arc::new(settings)
        }
    }
}

fn judge(chain: Option<&[CertificateDer<'static>]>, tls: &TlsSettings) -> TlsInfo {
    known(judge_xmpp(chain.unwrap_or_default(), &tls.verifier))
}

fn known(judged: Result<Vec<String>, CertificateFault>) -> TlsInfo {
    match judged {
        Ok(valid_names) => TlsInfo {
            valid_names,
            distrust: None,
        },
        Err(fault) => TlsInfo {
            valid_names: Vec::new(),
            distrust: Some(fault.to_string()),
        },
    }
}
