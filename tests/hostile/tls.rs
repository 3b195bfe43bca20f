//! Connections of peers, and their TLS.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, StreamOwned,
};
use socket2::{Domain, Socket, Type};

use crate::harness::DEADLINE;

pub(crate) type Client = StreamOwned<ClientConnection, TcpStream>;

fn chain(folder: &Path, name: &str) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
    let file = |ending: &str| folder.join(format!("{name}.{ending}"));
    (
        vec![CertificateDer::from_pem_file(file("crt")).unwrap()],
        PrivateKeyDer::from_pem_file(file("key")).unwrap(),
    )
}

/// A client that trusts the gateway's certificate, with one of its own if it has a name.
pub(crate) fn client(folder: &Path, name: Option<&str>) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(folder.join("gw.crt")).unwrap())
        .unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    Arc::new(match name {
        Some(name) => {
            let (chain, key) = chain(folder, name);
            config.with_client_auth_cert(chain, key).unwrap()
        }
        None => config.with_no_client_auth(),
    })
}

pub(crate) fn server(folder: &Path, name: &str) -> Arc<ServerConfig> {
    let (chain, key) = chain(folder, name);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key);
    Arc::new(config.unwrap())
}

/// Connects to the gateway with TLS at once.
pub(crate) fn dial(config: &Arc<ClientConfig>, address: SocketAddr) -> Client {
    let name = ServerName::try_from("gw.ocs.test").unwrap();
    let tls = ClientConnection::new(config.clone(), name).unwrap();
    StreamOwned::new(tls, connect(address))
}

/// A loopback address that nobody else has.
pub(crate) fn own_address() -> Ipv4Addr {
    static LAST: AtomicU32 = AtomicU32::new(0);
    let number = LAST.fetch_add(1, Ordering::Relaxed);
    Ipv4Addr::from_bits(Ipv4Addr::new(127, 66, 0, 1).to_bits() + number)
}

/// Connects from an address of its own, so that each file comes from another peer.
pub(crate) fn connect(to: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket
        .bind(&SocketAddr::from((own_address(), 0)).into())
        .unwrap();
    socket.connect(&to.into()).unwrap();
    patient(socket.into())
}

pub(crate) fn accept(
    config: &Arc<ServerConfig>,
    stream: TcpStream,
) -> StreamOwned<ServerConnection, TcpStream> {
    StreamOwned::new(ServerConnection::new(config.clone()).unwrap(), stream)
}

pub(crate) fn patient(stream: TcpStream) -> TcpStream {
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}
