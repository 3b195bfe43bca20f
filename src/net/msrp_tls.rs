//! TLS on MSRP connections: certificates count by the fingerprint that SIP has told, or by the host's name
//! (RFC 4975 §14.4, RFC 8122).

use rustls::pki_types::CertificateDer;
use stox_sip::msrp::endpoint::{Fingerprint, Proof};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};

use super::tls::{CurrentTls, server_name};

/// The TLS of MSRP connections.
#[derive(Clone)]
pub struct MsrpTls(CurrentTls);

impl MsrpTls {
    /// With the certificate that is in force at the time of a handshake. Those of peers are judged after it.
    #[must_use]
    pub fn new(current: CurrentTls) -> Self {
        Self(current)
    }

    /// The handshake with a client, and the fingerprints of the certificate that it showed.
    ///
    /// # Errors
    /// Why there is no connection, for the administrator.
    pub async fn accept(
        &self,
        stream: TcpStream,
    ) -> Result<(server::TlsStream<TcpStream>, Option<Vec<Fingerprint>>), String> {
        let handshake = TlsAcceptor::from(self.0.get().xmpp_server.clone()).accept(stream);
        let stream = handshake.await.map_err(|error| error.to_string())?;
        let chain = stream.get_ref().1.peer_certificates();
        let shown = chain
            .and_then(<[_]>::first)
            .map(|leaf| Fingerprint::all_of(leaf));
        Ok((stream, shown))
    }

    /// The handshake with a server that must prove itself.
    ///
    /// # Errors
    /// Why there is no connection, for the administrator.
    pub async fn connect(
        &self,
        stream: TcpStream,
        proof: &Proof,
    ) -> Result<client::TlsStream<TcpStream>, String> {
        let name = server_name(&proof.name)?;
        let handshake = TlsConnector::from(self.0.get().xmpp_client.clone()).connect(name, stream);
        let stream = handshake.await.map_err(|error| error.to_string())?;
        let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
        self.check(chain, proof)?;
        Ok(stream)
    }

    fn check(&self, chain: &[CertificateDer<'_>], proof: &Proof) -> Result<(), String> {
        if proof.fingerprints.is_empty() {
            return self.0.get().verifier.server(chain, &proof.name);
        }
        let leaf = chain.first().ok_or("no certificate was shown")?;
        let shown = Fingerprint::all_of(leaf);
        let known = proof
            .fingerprints
            .iter()
            .any(|wanted| shown.contains(wanted));
        known.then_some(()).ok_or_else(|| {
            "the certificate is not the one whose fingerprint SIP has told".to_owned()
        })
    }
}
