//! TLS settings of both worlds, on rustls with the ring provider.
//!
//! Handshakes on XMPP streams take any certificate, because dialback may prove the domain; what the certificate is
//! worth is found out after the handshake by [`Verifier`]. SIP connections verify during the handshake.

use std::fmt;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, VerifierBuilderError, WebPkiServerVerifier};
use rustls::crypto::CryptoProvider;
use rustls::crypto::ring::sign;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{
    CertificateDer, CertificateRevocationListDer, Der, PrivateKeyDer, ServerName, UnixTime,
};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, InconsistentKeys,
    RootCertStore, ServerConfig, SignatureScheme,
};

use stox_sip::msrp::endpoint::Fingerprint;
use tokio::sync::watch;
use x509_parser::prelude::{CertificateRevocationList, FromDer, GeneralName, X509Certificate};
use zeroize::Zeroizing;

use super::expiry;
use super::legacy_tls::LegacyTls;
use super::own_certificate::is_exposed;
use super::peer_certificate::{CertificateFault, xmpp_names};
use crate::config;

/// What is wrong with our own TLS files.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read or holds nothing of use.
    #[error("{}: {problem}", .file.display())]
    File {
        /// Which.
        file: PathBuf,
        /// What.
        problem: String,
    },
    /// Everybody on the machine can read our key.
    #[error(
        "{}: every user of this machine can read the private key: chmod 600 {}; in a container of its own, where nobody else \
         is, set tls.lax_key_permissions instead", .0.display(), .0.display()
    )]
    ExposedKey(PathBuf),
    /// Certificate and key do not fit, or rustls refuses them.
    #[error("certificate or key is unusable: {0}; check that tls.key belongs to tls.certificate")]
    Unusable(#[from] rustls::Error),
    /// A revocation list cannot be used.
    #[error("a file of tls.crls cannot be used: {0}; fetch it anew from its authority")]
    Crl(String),
    /// No trusted authority is known.
    #[error("no trusted authority found: set tls.roots to a PEM file")]
    NoRoots,
    /// Old TLS is configured and cannot be had.
    #[error("tls = \"legacy-dangerous\": {0}")]
    Legacy(String),
}

/// The TLS settings in force. All who shake hands share them; a reload replaces them for handshakes to come.
#[derive(Clone)]
pub struct CurrentTls(watch::Sender<Arc<TlsSettings>>);

impl CurrentTls {
    /// Begins with these.
    #[must_use]
    pub fn new(settings: TlsSettings) -> Self {
        Self(watch::Sender::new(Arc::new(settings)))
    }

    /// Those in force now.
    #[must_use]
    pub fn get(&self) -> Arc<TlsSettings> {
        self.0.borrow().clone()
    }

    /// Tells when others are put in force.
    #[must_use]
    pub fn follow(&self) -> watch::Receiver<Arc<TlsSettings>> {
        self.0.subscribe()
    }

    /// Puts others in force.
    pub fn replace(&self, settings: TlsSettings) {
        self.0.send_replace(Arc::new(settings));
    }
}

/// The TLS settings that listeners and dialled connections use.
#[derive(Clone)]
pub struct TlsSettings {
    /// Accepts XMPP streams; asks for a certificate and takes any.
    pub xmpp_server: Arc<ServerConfig>,
    /// Dials XMPP streams; takes any certificate.
    pub xmpp_client: Arc<ClientConfig>,
    /// Dials the servers of accounts; takes any certificate, and shows none.
    pub xmpp_account: Arc<ClientConfig>,
    /// Accepts SIP connections by the configured rule.
    pub sip_server: Arc<ServerConfig>,
    /// Dials SIP connections; the chain must be valid, and for whom it is stands in
    /// [`super::sip_identity::Identity`].
    pub sip_client: Arc<ClientConfig>,
    /// SIP connections with partners that speak only old TLS.
    pub(super) sip_legacy: Option<Arc<LegacyTls>>,
    /// Judges certificates after a handshake.
    pub verifier: Verifier,
    /// The fingerprint of our own certificate (RFC 8122).
    pub fingerprint: Fingerprint,
    /// When our own certificate expires; `None` where it cannot be read.
    pub expires: Option<SystemTime>,
    /// The XMPP domains that it names.
    pub own_names: Vec<String>,
}

impl TlsSettings {
    /// Reads the files.
    ///
    /// # Errors
    /// Names the file and what is wrong with it.
    pub fn load(tls: &config::Tls, sip: &config::Sip) -> Result<Self, TlsError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        if !tls.lax_key_permissions && is_exposed(&tls.key) {
            return Err(TlsError::ExposedKey(tls.key.clone()));
        }
        let chain = certificates(&tls.certificate)?;
        let own = chain.first().ok_or(TlsError::NoRoots)?;
        let fingerprint = Fingerprint::sha256(own);
        let expires = expiry::of(own);
        let own_names = xmpp_names(own);
        let identity = identity(chain, &tls.key)?;
        let roots = Arc::new(roots(&tls.roots)?);
        let crls = revocation_lists(&tls.crls)?;
        let clients = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone())
            .with_crls(crls.iter().cloned())
            .allow_unknown_revocation_status();
        let clients = match sip.client_certificate {
            config::ClientCertificate::Required => clients,
            config::ClientCertificate::Optional => clients.allow_unauthenticated(),
        };
        let clients = clients.build().map_err(unusable_verifier)?;
        let verifier = Verifier::new(roots.clone(), &crls, &provider)?;
        let any = Arc::new(AnyCertificate(provider.clone()));
        let server = |clients: Arc<dyn ClientCertVerifier>| -> Result<Arc<ServerConfig>, TlsError> {
            let config = ServerConfig::builder_with_provider(provider.clone())
                .with_safe_default_protocol_versions()?
                .with_client_cert_verifier(clients)
                .with_cert_resolver(identity.clone());
            Ok(Arc::new(without_sessions(config)))
        };
        let client = |servers: Arc<dyn ServerCertVerifier>| -> Result<Arc<ClientConfig>, TlsError> {
            let config = ClientConfig::builder_with_provider(provider.clone())
                .with_safe_default_protocol_versions()?
                .dangerous()
                .with_custom_certificate_verifier(servers)
                .with_client_cert_resolver(identity.clone());
            Ok(Arc::new(without_tickets(config)))
        };
        let account = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(any.clone())
            .with_no_client_auth();
        Ok(Self {
            xmpp_server: server(any.clone())?,
            xmpp_client: client(any)?,
            xmpp_account: Arc::new(without_tickets(account)),
            sip_server: server(clients)?,
            sip_client: client(Arc::new(AnyName(verifier.servers.clone())))?,
            sip_legacy: LegacyTls::load(tls, &sip.domains)?.map(Arc::new),
            verifier,
            fingerprint,
            expires,
            own_names,
        })
    }
}

/// Judges a peer's certificate chain by the trusted authorities, the clock and a name.
#[derive(Clone)]
pub struct Verifier {
    servers: Arc<WebPkiServerVerifier>,
    clients: Arc<dyn ClientCertVerifier>,
    /// The trusted authorities that may issue for some names only: their subjects.
    bound: Arc<[Der<'static>]>,
}

impl Verifier {
    fn new(
        roots: Arc<RootCertStore>,
        crls: &[CertificateRevocationListDer<'static>],
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, TlsError> {
        let bound = roots
            .roots
            .iter()
            .filter(|anchor| anchor.name_constraints.is_some());
        let bound = bound.map(|anchor| anchor.subject.clone()).collect();
        let servers = WebPkiServerVerifier::builder_with_provider(roots.clone(), provider.clone())
            .with_crls(crls.iter().cloned())
            .allow_unknown_revocation_status()
            .build()
            .map_err(unusable_verifier)?;
        let clients = WebPkiClientVerifier::builder_with_provider(roots, provider.clone())
            .with_crls(crls.iter().cloned())
            .allow_unknown_revocation_status()
            .build()
            .map_err(unusable_verifier)?;
        Ok(Self {
            servers,
            clients,
            bound,
        })
    }

    /// One that trusts this certificate alone, whatever its dates.
    pub(super) fn of_anchor(anchor: CertificateDer<'_>) -> Result<Self, TlsError> {
        let mut roots = RootCertStore::empty();
        roots.add(anchor)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        Self::new(Arc::new(roots), &[], &provider)
    }

    /// Dials web servers, whose certificates must be valid for their names.
    pub(super) fn web_client(&self) -> Result<ClientConfig, rustls::Error> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_webpki_verifier(self.servers.clone())
            .with_no_client_auth();
        Ok(without_tickets(config))
    }

    /// Whether the chain leads to a trusted authority, for either use in TLS, whoever it is for.
    ///
    /// # Errors
    /// Why not.
    pub fn chain(&self, chain: &[CertificateDer<'_>]) -> Result<(), CertificateFault> {
        let (leaf, rest) = chain.split_first().ok_or(CertificateFault::Missing)?;
        let (now, fault) = (UnixTime::now(), |error: rustls::Error| {
            CertificateFault::of_chain(&error, chain)
        });
        match self.server_chain(leaf, rest, now).map_err(fault) {
            Err(CertificateFault::WrongUse) => {
                let verified = self.clients.verify_client_cert(leaf, rest, now);
                verified.map(|_| ()).map_err(fault)
            }
            judged => judged,
        }
    }

    /// The same for the use of servers alone.
    pub(super) fn chain_of_server(
        &self,
        chain: &[CertificateDer<'_>],
    ) -> Result<(), CertificateFault> {
        let (leaf, rest) = chain.split_first().ok_or(CertificateFault::Missing)?;
        let judged = self.server_chain(leaf, rest, UnixTime::now());
        judged.map_err(|error| CertificateFault::of_chain(&error, chain))
    }

    /// Whether an authority of the chain, or the trusted one that it leads to, may issue for some names only (RFC 5280
    /// §4.2.1.10). What cannot be read may be anything.
    pub(super) fn is_bound(&self, chain: &[CertificateDer<'_>]) -> bool {
        let by_trusted = |issuer: &[u8]| self.bound.iter().any(|one| issuer.ends_with(one));
        chain.iter().enumerate().any(|(place, certificate)| {
            let Ok((_, certificate)) = X509Certificate::from_der(certificate) else {
                return true;
            };
            let constraints = certificate.name_constraints();
            let is_open = matches!(constraints, Ok(None)) || place == 0;
            !is_open || by_trusted(certificate.issuer().as_raw())
        })
    }

    fn server_chain(
        &self,
        leaf: &CertificateDer<'_>,
        rest: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), rustls::Error> {
        let nobody = ServerName::IpAddress(Ipv4Addr::UNSPECIFIED.into());
        AnyName(self.servers.clone())
            .verify_server_cert(leaf, rest, &nobody, &[], now)
            .map(|_| ())
    }

    /// Whether the chain of a server that we dialled is valid for `domain` (RFC 9525, dNSName).
    ///
    /// # Errors
    /// Why not, in words.
    pub fn server(&self, chain: &[CertificateDer<'_>], domain: &str) -> Result<(), String> {
        let (leaf, rest) = chain
            .split_first()
            .ok_or_else(|| CertificateFault::Missing.to_string())?;
        let name = server_name(domain)?;
        self.servers
            .verify_server_cert(leaf, rest, &name, &[], UnixTime::now())
            .map(|_| ())
            .map_err(|error| CertificateFault::of_chain(&error, chain).to_string())
    }
}

/// A ticket is what a server says that we are to say to whoever has its name next, and DNS says who that is: it could be
/// a command to a host inside.
fn without_tickets(mut config: ClientConfig) -> ClientConfig {
    config.resumption = Resumption::disabled();
    config
}

/// Whoever resumes a session shows no certificate, and would be believed for as long as it goes on, whether the one that it has
/// shown at first is still valid or not.
fn without_sessions(mut config: ServerConfig) -> ServerConfig {
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config
}

fn unusable_verifier(error: VerifierBuilderError) -> TlsError {
    match error {
        VerifierBuilderError::InvalidCrl(why) => {
            TlsError::Crl(rustls::Error::from(why).to_string())
        }
        _ => TlsError::NoRoots,
    }
}

/// The dNSName entries of a certificate, lower case: the names that an XMPP server is known by (RFC 9525 §2).
#[must_use]
pub fn dns_names(certificate: &CertificateDer<'_>) -> Vec<String> {
    alternative_names(certificate, |name| match name {
        GeneralName::DNSName(name) => Some(name.to_lowercase()),
        _ => None,
    })
}

fn alternative_names(
    certificate: &CertificateDer<'_>,
    read: fn(&GeneralName<'_>) -> Option<String>,
) -> Vec<String> {
    let Ok((_, certificate)) = X509Certificate::from_der(certificate) else {
        return Vec::new();
    };
    let Ok(Some(names)) = certificate.subject_alternative_name() else {
        return Vec::new();
    };
    names.value.general_names.iter().filter_map(read).collect()
}

/// A name for SNI and verification.
///
/// # Errors
/// The name cannot stand in a certificate.
pub fn server_name(domain: &str) -> Result<ServerName<'static>, String> {
    let ascii = idna::domain_to_ascii(domain).unwrap_or_else(|_| domain.to_owned());
    let bare = ascii
        .trim_start_matches('[')
        .trim_end_matches(']')
        .to_owned();
    ServerName::try_from(bare)
        .map_err(|_| format!("`{domain}` is not a name that a certificate can hold"))
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let problem = |problem: String| TlsError::File {
        file: file.to_owned(),
        problem,
    };
    let chain: Vec<_> = CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect)
        .map_err(|error| problem(format!("cannot be read as PEM certificates: {error}")))?;
    if chain.is_empty() {
        Err(problem(format!(
            "holds no PEM certificate; if it is DER, as Windows exports by default: openssl x509 -inform der -in {} -out FILE",
            file.display()
        )))
    } else {
        Ok(chain)
    }
}

/// The lists in PEM files, and in files of one list in DER. One that its authority should have replaced still counts.
pub(super) fn revocation_lists(
    files: &[PathBuf],
) -> Result<Vec<CertificateRevocationListDer<'static>>, TlsError> {
    let mut lists = Vec::new();
    for file in files {
        let problem = |problem: String| TlsError::File {
            file: file.clone(),
            problem,
        };
        let octets = std::fs::read(file).map_err(|error| problem(error.to_string()))?;
        let found: Vec<_> = CertificateRevocationListDer::pem_slice_iter(&octets)
            .collect::<Result<_, _>>()
            .map_err(|error| problem(format!("cannot be read as PEM: {error}")))?;
        let found = if found.is_empty() {
            vec![CertificateRevocationListDer::from(octets)]
        } else {
            found
        };
        for list in &found {
            warn_of_old_list(file, list).map_err(problem)?;
        }
        lists.extend(found);
    }
    Ok(lists)
}

fn warn_of_old_list(file: &Path, list: &CertificateRevocationListDer<'_>) -> Result<(), String> {
    let (_, list) = CertificateRevocationList::from_der(list)
        .map_err(|_| "holds no certificate revocation list (CRL)".to_owned())?;
    let now = i64::try_from(UnixTime::now().as_secs()).unwrap_or(i64::MAX);
    if let Some(next) = list.next_update().filter(|next| next.timestamp() < now) {
        tracing::warn!(file = %file.display(), %next, "the list of revoked certificates is out of date: what was revoked since is not known; fetch the new one");
    }
    Ok(())
}

/// Our chain with its key, which all settings share. The octets of the key are wiped from memory once it is made of them.
fn identity(
    chain: Vec<CertificateDer<'static>>,
    file: &Path,
) -> Result<Arc<SingleCertAndKey>, TlsError> {
    let key = private_key(file)?;
    // The library drops what it is given without wiping it.
    let key = sign::any_supported_type(&key)?;
    let identity = CertifiedKey::new(chain, key);
    match identity.keys_match() {
        // The key does not tell its public half.
        Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => {
            Ok(Arc::new(identity.into()))
        }
        Err(error) => Err(error.into()),
    }
}

fn private_key(file: &Path) -> Result<Zeroizing<PrivateKeyDer<'static>>, TlsError> {
    let wrong = |problem: &dyn fmt::Display| TlsError::File {
        file: file.to_owned(),
        problem: format!("cannot be read as a PEM private key: {problem}"),
    };
    let text = Zeroizing::new(std::fs::read(file).map_err(|error| wrong(&error))?);
    let key = PrivateKeyDer::from_pem_slice(&text).map_err(|error| wrong(&error))?;
    Ok(Zeroizing::new(key))
}

fn roots(files: &[PathBuf]) -> Result<RootCertStore, TlsError> {
    let mut store = RootCertStore::empty();
    if files.is_empty() {
        store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    }
    for file in files {
        for certificate in certificates(file)? {
            store.add(certificate).map_err(|error| TlsError::File {
                file: file.clone(),
                problem: format!(
                    "holds an authority that cannot be used ({error}): take it out, or have it exported again"
                ),
            })?;
        }
    }
    if store.is_empty() {
        Err(TlsError::NoRoots)
    } else {
        Ok(store)
    }
}

/// Takes any certificate, but still checks that the peer holds its key.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(
            message,
            cert,
            dss,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(
            message,
            cert,
            dss,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// Verifies the chain of a server, and leaves the name to us: by the rules of the web a wildcard would do, which
/// RFC 5922 §7.2 forbids.
#[derive(Debug)]
struct AnyName(Arc<WebPkiServerVerifier>);

impl ServerCertVerifier for AnyName {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let (name, ocsp) = (server_name, ocsp_response);
        let verified = self
            .0
            .verify_server_cert(end_entity, intermediates, name, ocsp, now);
        match verified {
            // The name is looked at last, when everything else is known to be right.
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

impl ClientCertVerifier for AnyCertificate {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        ServerCertVerifier::verify_tls12_signature(self, message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        ServerCertVerifier::verify_tls13_signature(self, message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ServerCertVerifier::supported_verify_schemes(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_shows_its_certificate_on_each_connection() {
        let folder = std::env::temp_dir().join(format!("stoxgate-resume-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let (config, _) =
            crate::net::test_settings::settings_in(&folder, "[[xmpp.partner]]\ndomain = \"*\"\n");
        let settings = TlsSettings::load(&config.tls, &config.sip).unwrap();
        for server in [&settings.sip_server, &settings.xmpp_server] {
            assert!(!server.session_storage.can_cache() && !server.ticketer.enabled());
            assert_eq!(server.send_tls13_tickets, 0);
        }
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_key_that_everybody_can_read_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let folder = std::env::temp_dir().join(format!("stoxgate-lax-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let (config, _) =
            crate::net::test_settings::settings_in(&folder, "[[xmpp.partner]]\ndomain = \"*\"\n");
        let key = folder.join("gw.key");
        let with = |mode, lax_key_permissions| {
            std::fs::set_permissions(&key, std::fs::Permissions::from_mode(mode)).unwrap();
            let tls = config::Tls {
                lax_key_permissions,
                ..config.tls.clone()
            };
            let read = TlsSettings::load(&tls, &config.sip);
            read.map(|_| ()).map_err(|error| error.to_string())
        };
        let refused = with(0o644, false).unwrap_err();
        assert!(
            refused.contains("gw.key: every user") && refused.contains("chmod 600"),
            "{refused}"
        );
        for (mode, lax) in [
            (0o600, false),
            (0o640, false),
            (0o400, false),
            (0o644, true),
        ] {
            assert_eq!(with(mode, lax), Ok(()), "{mode:o}");
        }
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_key_that_is_none_or_another_certificates_is_refused() {
        let made = || rcgen::generate_simple_self_signed(["gw.example.org".to_owned()]).unwrap();
        let (own, other) = (made(), made());
        let name = format!("stoxgate-identity-{}", std::process::id());
        let file = std::env::temp_dir().join(name);
        let with = |key: &str| {
            std::fs::write(&file, key).unwrap();
            let read = identity(vec![own.cert.der().clone()], &file);
            read.map(|_| ()).map_err(|error| error.to_string())
        };
        assert_eq!(with(&own.signing_key.serialize_pem()), Ok(()));
        let foreign = with(&other.signing_key.serialize_pem()).unwrap_err();
        assert!(
            foreign.contains("check that tls.key belongs to tls.certificate"),
            "{foreign}"
        );
        let none = with("no key at all").unwrap_err();
        assert!(none.contains("cannot be read as a PEM private key"));
        std::fs::remove_file(&file).unwrap();
        let absent = identity(vec![own.cert.der().clone()], &file);
        assert!(absent.is_err_and(|error| error.to_string().contains(&*file.to_string_lossy())));
    }
}
