//! TLS for SIP partners whose systems are too old for rustls: TLS 1.0 and 1.1, or RSA key exchange with CBC suites
//! (docs/adr/0007-legacy-tls.md). What of it needs OpenSSL is built with the feature `legacy-tls` only.

#[cfg(not(feature = "legacy-tls"))]
#[path = "absent.rs"]
mod backend;
#[cfg(feature = "legacy-tls")]
#[path = "openssl.rs"]
mod backend;
mod certificate;
pub(super) mod hello;
mod peers;

use std::net::IpAddr;

use rustls::pki_types::CertificateDer;
use stox_sip::target::TransportPolicy;
use stox_sip::transport::Target;
use tokio::net::TcpStream;

use self::backend::Backend;
use self::peers::Peers;
use super::dns::Dns;
use super::sip_tls::{Octets, Secured};
use super::tls::TlsError;
use crate::config;

/// A handshake that is through: the peer holds the key of its certificate, and our authorities know the chain.
struct Handshake {
    stream: Box<dyn Octets>,
    /// The peer's certificate, in DER.
    certificate: CertificateDer<'static>,
    version: &'static str,
    cipher: String,
}

/// Old TLS for the partners that are configured for it, and for nobody else.
pub(super) struct LegacyTls {
    peers: Peers,
    backend: Backend,
}

impl LegacyTls {
    /// `None` when no domain is configured for old TLS.
    ///
    /// # Errors
    /// The files are of no use for it, or this program was built without it.
    pub(super) fn load(
        tls: &config::Tls,
        domains: &[config::SipDomain],
    ) -> Result<Option<Self>, TlsError> {
        let Some(peers) = Peers::of(domains) else {
            return Ok(None);
        };
        let backend = Backend::load(tls)?;
        Ok(Some(Self { peers, backend }))
    }

    /// Says at start what has been switched on.
    pub(super) fn warn(&self) {
        for domain in self.peers.domains() {
            tracing::warn!(
                domain,
                "DANGEROUS: tls = \"legacy-dangerous\" lets this SIP domain use TLS 1.0, SHA-1 certificates and 1024-bit keys; \
                 whoever sits on the path may read or change what is said with it. Take the key out as soon as its servers \
                 speak TLS 1.2 with ECDHE and AES-GCM"
            );
        }
    }

    /// Whether connections to this name, of a domain or host, use old TLS.
    pub(super) fn is_for(&self, name: &str) -> bool {
        self.peers.is_for_name(name)
    }

    /// Whether a client at this address may use old TLS: it is listed, or DNS says that we dial it.
    pub(super) async fn is_listed(
        &self,
        address: IpAddr,
        dns: &Dns,
        transports: &TransportPolicy,
    ) -> bool {
        self.peers.lists(address) || self.peers.resolve_to(address, dns, transports).await
    }

    /// Dials: the certificate must be for one of the target's names.
    ///
    /// # Errors
    /// Why the peer is refused, or refuses us.
    pub(super) async fn connect(
        &self,
        stream: TcpStream,
        target: &Target,
    ) -> Result<Secured, String> {
        let handshake = self.backend.connect(stream, &target.name).await?;
        let identity = certificate::Identity::read(&handshake.certificate)?;
        identity.names().check(target.names())?;
        tracing::info!(
            partner = target.name,
            version = handshake.version,
            cipher = handshake.cipher,
            "SIP connection with old TLS opened"
        );
        Ok(Secured {
            stream: handshake.stream,
            certificate_names: self.peers.keep_own(&identity.names().domains()),
        })
    }

    /// Accepts: the client must show a certificate, and of its names only those count that belong to such a domain.
    ///
    /// # Errors
    /// Why the client is refused.
    pub(super) async fn accept(
        &self,
        stream: impl Octets + 'static,
        remote: IpAddr,
    ) -> Result<Secured, String> {
        let handshake = self.backend.accept(stream).await?;
        let identity = certificate::Identity::read(&handshake.certificate)?;
        if !identity.may_authenticate() {
            return Err(
                "its certificate is neither for TLS servers nor for TLS clients".to_owned(),
            );
        }
        let identity = identity.names();
        let certificate_names = self.peers.keep_own(&identity.domains());
        if certificate_names.is_empty() {
            return Err(format!(
                "its certificate is for {identity}, which no domain with tls = \"legacy-dangerous\" names; add the name to \
                 the domain's certificate_names"
            ));
        }
        tracing::info!(
            peer = %remote,
            names = ?certificate_names,
            version = handshake.version,
            cipher = handshake.cipher,
            "SIP connection with old TLS accepted"
        );
        Ok(Secured {
            stream: handshake.stream,
            certificate_names,
        })
    }
}
