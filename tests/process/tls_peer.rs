//! TLS of a peer with a certificate of its own, as server and as client.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, SideData,
    StreamOwned,
};

use crate::harness::{DEADLINE, Folder};

/// A peer.
pub(crate) struct TlsPeer {
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
}

impl TlsPeer {
    /// With the certificate of that name; trusts the gateway's, and asks for it.
    pub(crate) fn new(folder: &Folder, name: &str) -> Self {
        let read = |name: &str| CertificateDer::from_pem_file(folder.0.join(name)).unwrap();
        let chain = vec![read(&format!("{name}.crt"))];
        let key = PrivateKeyDer::from_pem_file(folder.0.join(format!("{name}.key"))).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(read("gw.crt")).unwrap();
        let roots = Arc::new(roots);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let clients = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone());
        let server = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(clients.build().unwrap())
            .with_single_cert(chain.clone(), key.clone_key())
            .unwrap();
        let client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key)
            .unwrap();
        Self {
            server: Arc::new(server),
            client: Arc::new(client),
        }
    }

    /// Connects to the gateway.
    pub(crate) fn dial(&self, gateway: SocketAddr) -> StreamOwned<ClientConnection, TcpStream> {
        self.begin(patient(TcpStream::connect(gateway).unwrap()))
    }

    /// Begins with TLS on a connection to the gateway.
    pub(crate) fn begin(&self, stream: TcpStream) -> StreamOwned<ClientConnection, TcpStream> {
        let name = ServerName::try_from("gw.ocs.test").unwrap();
        let tls = ClientConnection::new(self.client.clone(), name).unwrap();
        StreamOwned::new(tls, stream)
    }

    /// Takes the next connection of the gateway's.
    pub(crate) fn accept(
        &self,
        listener: &TcpListener,
    ) -> StreamOwned<ServerConnection, TcpStream> {
        let tls = ServerConnection::new(self.server.clone()).unwrap();
        let (stream, _) = listener.accept().unwrap();
        StreamOwned::new(tls, patient(stream))
    }
}

pub(crate) fn patient(stream: TcpStream) -> TcpStream {
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream
}

/// The gateway's certificate, as the peer has seen it.
pub(crate) fn shown<D: SideData>(
    tls: &rustls::ConnectionCommon<D>,
) -> Option<CertificateDer<'static>> {
    tls.peer_certificates()?
        .first()
        .cloned()
        .map(CertificateDer::into_owned)
}

/// Everything up to and with these words, if they come.
pub(crate) fn hear(stream: &mut impl Read, words: &str) -> Option<String> {
    let mut heard = String::new();
    let mut buffer = [0; 4096];
    while !heard.contains(words) {
        match stream.read(&mut buffer) {
            Ok(count) if count > 0 => heard.push_str(&String::from_utf8_lossy(&buffer[..count])),
            _ => return None,
        }
    }
    Some(heard)
}

const STARTTLS: &str = "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>";

/// Of a stream of that domain to `ocs.test`.
pub(crate) fn header(domain: &str) -> String {
    format!(
        "<?xml version='1.0'?><stream:stream xmlns='jabber:server' xmlns:db='jabber:server:dialback' \
         xmlns:stream='http://etherx.jabber.org/streams' from='{domain}' to='ocs.test' version='1.0'>"
    )
}

/// What the gateway offers inside TLS to who says that it is `domain`.
pub(crate) fn features(peer: &TlsPeer, gateway: SocketAddr, domain: &str) -> String {
    let header = header(domain);
    let mut clear = patient(TcpStream::connect(gateway).unwrap());
    clear.write_all(header.as_bytes()).unwrap();
    hear(&mut clear, "</stream:features>").unwrap();
    clear.write_all(STARTTLS.as_bytes()).unwrap();
    hear(&mut clear, "<proceed").unwrap();
    let mut stream = peer.begin(clear);
    stream.write_all(header.as_bytes()).unwrap();
    stream.flush().unwrap();
    hear(&mut stream, "</stream:features>").unwrap()
}
