//! In place of OpenSSL where the program is built without the feature `legacy-tls`.

use tokio::net::TcpStream;

use super::Handshake;
use crate::config;
use crate::net::sip_tls::Octets;
use crate::net::tls::TlsError;

/// There is none.
pub(super) enum Backend {}

impl Backend {
    pub(super) fn load(_: &config::Tls) -> Result<Self, TlsError> {
        Err(TlsError::Legacy(config::DomainTls::NOT_BUILT.to_owned()))
    }

    pub(super) async fn connect(&self, _: TcpStream, _: &str) -> Result<Handshake, String> {
        std::future::ready(()).await;
        match *self {}
    }

    pub(super) async fn accept(&self, _: impl Octets + 'static) -> Result<Handshake, String> {
        std::future::ready(()).await;
        match *self {}
    }
}
