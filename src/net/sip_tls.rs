//! TLS on SIP connections: modern, on rustls, or old, for the partners that are configured for it.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use rustls::{AlertDescription, Error, PeerIncompatible};
use stox_sip::target::TransportPolicy;
use stox_sip::transport::Target;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::dns::Dns;
use super::legacy_tls::hello::Hello;
use super::peer_certificate::CertificateFault;
use super::sip_identity::Identity;
use super::tls::{CurrentTls, TlsSettings, server_name};

/// A stream with or without TLS.
pub trait Octets: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Octets for T {}

/// A connection after its handshake.
pub struct Secured {
    /// What is said inside.
    pub stream: Box<dyn Octets>,
    /// The names in the peer's verified certificate that may count for it.
    pub certificate_names: Vec<String>,
}

/// The TLS of SIP connections.
pub struct SipTls {
    tls: CurrentTls,
    dns: Dns,
    transports: Arc<TransportPolicy>,
}

impl SipTls {
    /// `dns` and `transports` find the addresses of partners with old TLS. Warns of each such partner.
    #[must_use]
    pub fn new(tls: CurrentTls, dns: Dns, transports: Arc<TransportPolicy>) -> Self {
        if let Some(legacy) = &tls.get().sip_legacy {
            legacy.warn();
        }
        Self {
            tls,
            dns,
            transports,
        }
    }

    /// The handshake with a client at `remote`.
    ///
    /// # Errors
    /// Why there is no connection, for the administrator.
    pub async fn accept(&self, mut stream: TcpStream, remote: IpAddr) -> Result<Secured, String> {
        let tls = self.tls.get();
        let Some(legacy) = &tls.sip_legacy else {
            return accept_modern(&tls, stream).await;
        };
        let hello = Hello::read(&mut stream, tls.sip_server.crypto_provider())
            .await
            .map_err(|error| error.to_string())?;
        let old = hello.is_old();
        let stream = hello.put_back(stream);
        if old && legacy.is_listed(remote, &self.dns, &self.transports).await {
            legacy
                .accept(stream, remote)
                .await
                .map_err(|why| format!("old TLS: {why}"))
        } else {
            accept_modern(&tls, stream).await
        }
    }

    /// The handshake with a server whose certificate must have one of the target's names.
    ///
    /// # Errors
    /// Why there is no connection, for the administrator.
    pub async fn connect(&self, stream: TcpStream, target: &Target) -> Result<Secured, String> {
        let name = &target.name;
        let tls = self.tls.get();
        if let Some(legacy) = tls.sip_legacy.as_ref().filter(|legacy| legacy.is_for(name)) {
            let secured = legacy.connect(stream, target).await;
            return secured.map_err(|why| format!("old TLS: {why}"));
        }
        let handshake =
            TlsConnector::from(tls.sip_client.clone()).connect(server_name(name)?, stream);
        let stream = handshake.await.map_err(|error| refused_server(&error))?;
        let identity = identity(stream.get_ref().1.peer_certificates());
        let checked = identity.check(target.names());
        checked.map_err(|why| format!("TLS: {why}"))?;
        Ok(Secured {
            stream: Box::new(stream),
            certificate_names: identity.names().to_vec(),
        })
    }
}

async fn accept_modern(
    tls: &TlsSettings,
    stream: impl Octets + 'static,
) -> Result<Secured, String> {
    let handshake = TlsAcceptor::from(tls.sip_server.clone()).accept(stream);
    let stream = handshake.await.map_err(|error| refused_client(&error))?;
    let identity = identity(stream.get_ref().1.peer_certificates());
    let certificate_names = identity.names().to_vec();
    Ok(Secured {
        stream: Box::new(stream),
        certificate_names,
    })
}

fn identity(chain: Option<&[rustls::pki_types::CertificateDer<'_>]>) -> Identity {
    let leaf = chain.and_then(<[_]>::first);
    leaf.map(Identity::read).unwrap_or_default()
}

/// What an old peer lacks.
fn lack(error: &io::Error) -> Option<&'static str> {
    match error.get_ref()?.downcast_ref::<Error>()? {
        Error::PeerIncompatible(
            PeerIncompatible::Tls12NotOffered
            | PeerIncompatible::Tls12NotOfferedOrEnabled
            // TLS 1.2 came with this extension.
            | PeerIncompatible::SignatureAlgorithmsExtensionRequired
            | PeerIncompatible::ServerDoesNotSupportTls12Or13,
        )
        | Error::AlertReceived(AlertDescription::ProtocolVersion) => {
            Some("speaks only old TLS (1.1 or 1.0)")
        }
        // RSA key exchange comes without groups for ECDHE.
        Error::PeerIncompatible(
            PeerIncompatible::NoCipherSuitesInCommon | PeerIncompatible::NoKxGroupsInCommon,
        ) => {
            Some("speaks TLS only with old cipher suites (no ECDHE with AES-GCM)")
        }
        // It says no more; certificates have alerts of their own.
        Error::AlertReceived(AlertDescription::HandshakeFailure) => {
            Some("agrees to no cipher suite, as systems with only old ones do")
        }
        _ => None,
    }
}

const CURE: &str = "Best give it TLS 1.2 with ECDHE and AES-GCM; if that cannot be, set tls = \"legacy-dangerous\" in its \
                    [[sip.domain]] (needs a build with --features legacy-tls)";

/// What is wrong with the peer's certificate, where that is why.
fn fault(error: &io::Error) -> Option<CertificateFault> {
    CertificateFault::of(error.get_ref()?.downcast_ref::<Error>()?)
}

fn refused_server(error: &io::Error) -> String {
    if let Some(fault) = fault(error) {
        return format!("TLS: the server's certificate does not count: {fault}");
    }
    lack(error).map_or_else(
        || format!("TLS: {error}"),
        |lack| format!("TLS: this server {lack}. {CURE} ({error})"),
    )
}

fn refused_client(error: &io::Error) -> String {
    if let Some(fault) = fault(error) {
        return format!("the client's certificate does not count: {fault}");
    }
    lack(error).map_or_else(
        || format!("{error}; the peer's certificate or TLS version does not do"),
        |lack| {
            format!("this client {lack}, and its address is not listed for such a partner. {CURE}, and its address in \
                     trusted_addresses there ({error})")
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_failures_keep_their_own_words() {
        for error in [
            io::Error::other(Error::AlertReceived(AlertDescription::UnknownCA)),
            io::ErrorKind::UnexpectedEof.into(),
        ] {
            assert!(!refused_server(&error).contains("legacy-dangerous"));
            assert!(!refused_client(&error).contains("legacy-dangerous"));
        }
    }
}
