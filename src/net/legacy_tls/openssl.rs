//! Old TLS on the system's OpenSSL.

use std::cmp::Ordering;
use std::path::Path;
use std::pin::Pin;

use openssl::error::ErrorStack;
use openssl::nid::Nid;
use openssl::pkey::{Id, PKey, Private};
use openssl::ssl::{
    Ssl, SslContext, SslContextBuilder, SslMethod, SslOptions, SslRef, SslSessionCacheMode,
    SslVerifyMode, SslVersion,
};
use openssl::stack::Stack;
use openssl::x509::store::X509StoreBuilder;
use openssl::x509::verify::X509VerifyFlags;
use openssl::x509::{CrlStatus, X509, X509Crl, X509PurposeId, X509Ref, X509VerifyResult};
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_openssl::SslStream;

use super::Handshake;
use crate::config;
use crate::net::peer_certificate::CertificateFault;
use crate::net::sip_tls::Octets;
use crate::net::tls::{TlsError, revocation_lists, server_name};

/// What an old Windows offers that authenticates and encrypts, the better first. No anonymous suites, no RC4 (RFC 7465),
/// no finite-field DHE, whose parameters may be of any size. Level 0 is what OpenSSL 3 asks for TLS 1.0 and SHA-1.
const SUITES: &str = "ECDHE+AES:kRSA+AES:kRSA+3DES:@SECLEVEL=0";
/// `SSL_OP_LEGACY_SERVER_CONNECT`, which the crate does not name: servers from before RFC 5746 are dialled. Neither side
/// renegotiates with us.
const LEGACY_SERVER_CONNECT: SslOptions = SslOptions::from_bits_retain(1 << 2);
/// What an RSA key of 1024 bits is worth in bits of security. A peer's keys are worth no less.
const MIN_SECURITY_BITS: u32 = 80;
/// Level 0 would also take these.
const BROKEN_SIGNATURES: [Nid; 2] = [Nid::MD5WITHRSAENCRYPTION, Nid::MD2WITHRSAENCRYPTION];

/// The contexts of both directions.
pub(super) struct Backend {
    client: SslContext,
    server: SslContext,
    revoked: Vec<X509Crl>,
}

impl Backend {
    /// Reads the same files as the rustls settings.
    ///
    /// # Errors
    /// A file, or our key, is of no use with old systems.
    pub(super) fn load(tls: &config::Tls) -> Result<Self, TlsError> {
        let unusable = |error: ErrorStack| TlsError::Legacy(words(&error));
        let files = Files::read(tls)?;
        Ok(Self {
            client: files.client().map_err(unusable)?,
            server: files.server().map_err(unusable)?,
            revoked: lists(tls)?,
        })
    }

    pub(super) async fn connect(&self, stream: TcpStream, name: &str) -> Result<Handshake, String> {
        let mut ssl = Ssl::new(&self.client).map_err(|error| words(&error))?;
        if let ServerName::DnsName(host) = server_name(name)? {
            ssl.set_hostname(host.as_ref())
                .map_err(|error| words(&error))?;
        }
        let mut stream = SslStream::new(ssl, stream).map_err(|error| words(&error))?;
        let result = Pin::new(&mut stream).connect().await;
        self.finish(result, stream)
    }

    pub(super) async fn accept(&self, stream: impl Octets + 'static) -> Result<Handshake, String> {
        let ssl = Ssl::new(&self.server).map_err(|error| words(&error))?;
        let mut stream = SslStream::new(ssl, stream).map_err(|error| words(&error))?;
        let result = Pin::new(&mut stream).accept().await;
        self.finish(result, stream)
    }

    fn finish<S: Octets + 'static>(
        &self,
        result: Result<(), openssl::ssl::Error>,
        stream: SslStream<S>,
    ) -> Result<Handshake, String> {
        let ssl = stream.ssl();
        if let Err(error) = result {
            return Err(refusal(&error, ssl.verify_result()));
        }
        let certificate = ssl
            .peer_certificate()
            .ok_or("it shows no certificate")?
            .to_der()
            .map_err(|error| words(&error))?;
        check_strength(ssl)?;
        self.check_revoked(ssl)?;
        Ok(Handshake {
            certificate: certificate.into(),
            version: ssl.version_str(),
            cipher: ssl
                .current_cipher()
                .map_or("none", |cipher| cipher.name())
                .to_owned(),
            stream: Box::new(stream),
        })
    }

    /// No certificate of the chain stands in a list of its issuer (tls.crls).
    fn check_revoked(&self, ssl: &SslRef) -> Result<(), String> {
        let chain = ssl.verified_chain().ok_or("its chain is not verified")?;
        let stands_in = |certificate: &X509Ref, list: &X509Crl| {
            let order = list.issuer_name().try_cmp(certificate.issuer_name());
            order.is_ok_and(Ordering::is_eq)
                && matches!(
                    list.get_by_serial(certificate.serial_number()),
                    CrlStatus::Revoked(_)
                )
        };
        let is_revoked = |certificate: &X509Ref| {
            let mut lists = self.revoked.iter();
            lists.any(|list| stands_in(certificate, list))
        };
        match chain.iter().any(is_revoked) {
            true => Err(CertificateFault::Revoked.to_string()),
            false => Ok(()),
        }
    }
}

/// Those that rustls reads, too.
fn lists(tls: &config::Tls) -> Result<Vec<X509Crl>, TlsError> {
    let unusable = |error: ErrorStack| TlsError::Crl(words(&error));
    let lists = revocation_lists(&tls.crls)?;
    let lists = lists.iter().map(|list| X509Crl::from_der(list));
    lists.collect::<Result<_, _>>().map_err(unusable)
}

/// The floor under level 0: the peer's own key, and every signature that we rely on.
fn check_strength(ssl: &SslRef) -> Result<(), String> {
    let chain = ssl.verified_chain().ok_or("its chain is not verified")?;
    let last = chain.len().saturating_sub(1);
    for (place, certificate) in chain.iter().enumerate() {
        check_key(certificate)?;
        // Nobody relies on the signature of the authority that we trust.
        let signature = certificate.signature_algorithm().object().nid();
        if place < last && BROKEN_SIGNATURES.contains(&signature) {
            return Err("its certificate is signed with MD5 or MD2".to_owned());
        }
    }
    Ok(())
}

fn check_key(certificate: &X509Ref) -> Result<(), String> {
    let key = certificate.public_key().map_err(|error| words(&error))?;
    if key.security_bits() < MIN_SECURITY_BITS {
        return Err(format!(
            "a key in its chain has {} bits; an RSA key must have 1024",
            key.bits()
        ));
    }
    Ok(())
}

fn refusal(error: &openssl::ssl::Error, verified: X509VerifyResult) -> String {
    if verified != X509VerifyResult::OK {
        return format!(
            "its certificate is refused: {}; check tls.roots",
            verified.error_string()
        );
    }
    match (error.ssl_error(), error.io_error()) {
        (Some(stack), _) => words(stack),
        (None, Some(error)) => error.to_string(),
        (None, None) => "it closed the connection during the handshake".to_owned(),
    }
}

/// The reasons in OpenSSL's words, without its codes.
fn words(stack: &ErrorStack) -> String {
    let reasons: Vec<&str> = stack
        .errors()
        .iter()
        .filter_map(openssl::error::Error::reason)
        .collect();
    if reasons.is_empty() {
        "OpenSSL gives no reason".to_owned()
    } else {
        reasons.join(", ")
    }
}

/// Our certificate and the authorities, as OpenSSL reads them.
struct Files {
    chain: Vec<X509>,
    key: PKey<Private>,
    roots: Vec<X509>,
    /// Whether the roots were chosen by the administrator. The system's are too many for a list in the handshake.
    chosen_roots: bool,
}

impl Files {
    fn read(tls: &config::Tls) -> Result<Self, TlsError> {
        let key = PKey::private_key_from_pem(&octets(&tls.key)?).map_err(at(&tls.key))?;
        if key.id() != Id::RSA {
            return Err(TlsError::Legacy(format!(
                "{} is no RSA key: old systems know no other; get an RSA certificate for tls.certificate and tls.key",
                tls.key.display()
            )));
        }
        let mut roots = Vec::new();
        for file in &tls.roots {
            roots.extend(certificates(file)?);
        }
        if tls.roots.is_empty() {
            let system = rustls_native_certs::load_native_certs().certs;
            roots.extend(system.iter().filter_map(|der| X509::from_der(der).ok()));
        }
        Ok(Self {
            chain: certificates(&tls.certificate)?,
            key,
            roots,
            chosen_roots: !tls.roots.is_empty(),
        })
    }

    fn client(&self) -> Result<SslContext, ErrorStack> {
        let mut context = self.context(SslMethod::tls_client())?;
        context.set_options(LEGACY_SERVER_CONNECT);
        context.set_verify(SslVerifyMode::PEER);
        Ok(context.build())
    }

    fn server(&self) -> Result<SslContext, ErrorStack> {
        let mut context = self.context(SslMethod::tls_server())?;
        context.set_verify(SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT);
        // Edges show the certificate of a server when they dial; what it may be used for is checked afterwards.
        context.verify_param_mut().set_purpose(X509PurposeId::ANY)?;
        if self.chosen_roots {
            let mut names = Stack::new()?;
            for root in &self.roots {
                names.push(root.subject_name().to_owned()?)?;
            }
            context.set_client_ca_list(names);
        }
        Ok(context.build())
    }

    fn context(&self, method: SslMethod) -> Result<SslContextBuilder, ErrorStack> {
        let mut context = SslContext::builder(method)?;
        context.set_min_proto_version(Some(SslVersion::TLS1))?;
        context.set_max_proto_version(Some(SslVersion::TLS1_2))?;
        context.set_cipher_list(SUITES)?;
        context.set_options(
            SslOptions::NO_RENEGOTIATION
                | SslOptions::NO_COMPRESSION
                | SslOptions::NO_TICKET
                | SslOptions::CIPHER_SERVER_PREFERENCE,
        );
        // Every connection verifies the peer anew.
        context.set_session_cache_mode(SslSessionCacheMode::OFF);
        if let Some((own, rest)) = self.chain.split_first() {
            context.set_certificate(own)?;
            for certificate in rest {
                context.add_extra_chain_cert(certificate.clone())?;
            }
        }
        context.set_private_key(&self.key)?;
        context.check_private_key()?;
        let mut store = X509StoreBuilder::new()?;
        for root in &self.roots {
            store.add_cert(root.clone())?;
        }
        // Whatever certificate is configured is trusted, its own issuer known or not, as rustls has it.
        store.set_flags(X509VerifyFlags::PARTIAL_CHAIN)?;
        context.set_cert_store(store.build());
        Ok(context)
    }
}

fn octets(file: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(file).map_err(|error| TlsError::File {
        file: file.to_owned(),
        problem: error.to_string(),
    })
}

fn certificates(file: &Path) -> Result<Vec<X509>, TlsError> {
    X509::stack_from_pem(&octets(file)?).map_err(at(file))
}

fn at(file: &Path) -> impl Fn(ErrorStack) -> TlsError + '_ {
    move |error| TlsError::File {
        file: file.to_owned(),
        problem: format!("OpenSSL cannot read it: {}", words(&error)),
    }
}
