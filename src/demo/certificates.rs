//! A certificate authority for one run, and what it signs.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};

/// What went wrong, in words; the demo can only report it.
pub(super) type Trouble = Box<dyn std::error::Error + Send + Sync>;

/// The demo's authority.
pub(super) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    pem: String,
}

/// A certificate with its key.
struct Identity {
    certificate: CertificateDer<'static>,
    key: KeyPair,
}

/// TLS settings of a peer: the gateway must show a certificate of the demo's authority, in both directions.
#[derive(Clone)]
pub(super) struct PeerTls {
    /// For accepting.
    pub(super) server: Arc<ServerConfig>,
    /// For dialling.
    pub(super) client: Arc<ClientConfig>,
}

impl Authority {
    /// Makes the authority, and writes `ca.crt`.
    pub(super) fn new(folder: &Path) -> Result<Self, Trouble> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(Vec::new())?;
        params
            .distinguished_name
            .push(DnType::CommonName, "stoxgate demo authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key)?;
        std::fs::write(folder.join("ca.crt"), certificate.pem())?;
        Ok(Self {
            certificate: certificate.der().clone(),
            pem: certificate.pem(),
            issuer: Issuer::new(params, key),
        })
    }

    /// Makes a certificate for host names and addresses, and writes `name.crt` and `name.key`.
    fn identity(&self, folder: &Path, name: &str, hosts: &[&str]) -> Result<Identity, Trouble> {
        let key = KeyPair::generate()?;
        let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
        let mut params = CertificateParams::new(hosts)?;
        params.distinguished_name.push(DnType::CommonName, name);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        let certificate = params.signed_by(&key, &self.issuer)?;
        let pem = format!("{}{}", certificate.pem(), self.pem);
        std::fs::write(folder.join(format!("{name}.crt")), pem)?;
        write_private(&folder.join(format!("{name}.key")), &key.serialize_pem())?;
        Ok(Identity {
            certificate: certificate.der().clone(),
            key,
        })
    }

    /// The gateway's certificate files.
    pub(super) fn gateway(&self, folder: &Path, hosts: &[&str]) -> Result<(), Trouble> {
        self.identity(folder, "gateway", hosts).map(|_| ())
    }

    /// A peer's certificate files and TLS settings.
    pub(super) fn peer(
        &self,
        folder: &Path,
        name: &str,
        hosts: &[&str],
    ) -> Result<PeerTls, Trouble> {
        let identity = self.identity(folder, name, hosts)?;
        let chain = vec![identity.certificate, self.certificate.clone()];
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(identity.key.serialize_der()));
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone())?;
        let roots = Arc::new(roots);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let clients =
            WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone()).build()?;
        let server = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()?
            .with_client_cert_verifier(clients)
            .with_single_cert(chain.clone(), key.clone_key())?;
        let client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key)?;
        Ok(PeerTls {
            server: Arc::new(server),
            client: Arc::new(client),
        })
    }
}

/// Writes a file for its owner alone.
fn write_private(file: &Path, text: &str) -> std::io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    options.open(file)?.write_all(text.as_bytes())
}
