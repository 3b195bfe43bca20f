//! POSH: a domain's web server vouches for the certificate of its XMPP server (RFC 7711, RFC 7712 §5).

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rustls::pki_types::CertificateDer;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::{timeout, timeout_at};
use tokio_rustls::TlsConnector;
use url::Url;

mod document;
mod http;
#[cfg(test)]
mod tests;

pub use self::document::{Descriptor, Document};
pub use self::http::body;
use super::dane::Verdict;
use super::dns::{Dns, DnsError};
use super::peer_certificate::CertificateFault;
use super::public_address::is_public;
use super::tls::{CurrentTls, TlsSettings, server_name};
use crate::config;
use crate::sockets::admission::Admission;

/// All that is asked for one domain, the reference included.
const TIME: Duration = Duration::from_secs(10);
/// TCP to one address.
const TCP_TIME: Duration = Duration::from_secs(3);
/// Addresses tried for one host.
const MAX_ADDRESSES: usize = 4;
/// Longest that an answer counts.
const MAX_LIFETIME: Duration = Duration::from_secs(24 * 3600);
/// How long a domain is not asked again after it had no answer.
const FAILURE_LIFETIME: Duration = Duration::from_secs(60);
/// Domains that are remembered.
const MAX_CACHED: usize = 1_000;
/// Domains that are asked at one time.
const FETCHES: usize = 32;
/// The same for those whose certificates one host has shown.
const FETCHES_OF_HOST: usize = 4;

/// Why a domain's web server vouches for nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PoshError {
    /// The URL leads elsewhere than to a web server with TLS.
    #[error("`{0}` is not an https URL")]
    Url(String),
    /// No address.
    #[error("{host}: {why}")]
    Address {
        /// Of whom.
        host: String,
        /// Why not.
        why: DnsError,
    },
    /// Its peer has too many questions open.
    #[error("as many domains are asked about already as one host may claim at one time")]
    Busy,
    /// The addresses are not for everybody.
    #[error("{0} has no public address; name its network in tls.posh_networks if it may be asked")]
    NotPublic(String),
    /// TCP fails.
    #[error("{0} does not take connections")]
    Unreachable(String),
    /// TLS fails.
    #[error("{host}: {why}")]
    Tls {
        /// With whom.
        host: String,
        /// Why.
        why: String,
    },
    /// The connection broke, or what came is not HTTP.
    #[error("what the web server answers is not a complete HTTP response")]
    Http,
    /// Too much of it.
    #[error("the document is longer than {} octets", http::MAX_BODY)]
    TooLong,
    /// Any status but 200, a redirection included.
    #[error("the web server answers with status {0}")]
    Status(u16),
    /// Not what RFC 7711 §3 describes.
    #[error("the document is wrong: {0}")]
    Document(&'static str),
    /// It took too long.
    #[error("no answer in time")]
    Timeout,
}

type Answer = Result<Arc<[Descriptor]>, PoshError>;

#[derive(Clone)]
struct Cached {
    answer: Answer,
    until: Instant,
    /// What was trusted when it was asked for.
    trusted: Arc<TlsSettings>,
}

/// Asks web servers, and remembers what they have said. Shared by clones.
#[derive(Clone)]
pub struct Posh {
    tls: CurrentTls,
    dns: Dns,
    settings: config::Posh,
    cache: Arc<Mutex<BTreeMap<String, Cached>>>,
    fetches: Arc<Semaphore>,
    /// Who has shown the certificates that are asked about.
    hosts: Arc<Admission>,
}

impl Posh {
    /// With the authorities of `tls.roots`, as they are when a web server is asked.
    #[must_use]
    pub fn new(settings: &config::Posh, tls: CurrentTls, dns: &Dns) -> Self {
        Self {
            tls,
            dns: dns.clone(),
            settings: settings.clone(),
            cache: Arc::default(),
            fetches: Arc::new(Semaphore::new(FETCHES)),
            hosts: Admission::new(usize::MAX, FETCHES_OF_HOST),
        }
    }

    /// Whether the web server of `domain` vouches for the certificate that its XMPP server has shown; in words for the
    /// administrator where it does not. `peer` has shown it on a stream to us, and may have so many asked about only. A
    /// certificate that a list of tls.crls has revoked is not asked about.
    pub async fn judge(
        &self,
        chain: &[CertificateDer<'_>],
        domain: &str,
        peer: Option<IpAddr>,
    ) -> Verdict {
        let Some(leaf) = chain.first() else {
            return Verdict::Silent;
        };
        if self.tls.get().verifier.chain(chain) == Err(CertificateFault::Revoked) {
            return Verdict::Silent;
        }
        let why = match self.ask(domain, peer).await {
            Ok(descriptors) if descriptors.iter().any(|one| one.is_of(leaf)) => {
                tracing::debug!(
                    partner = domain,
                    "its web server vouches for the certificate"
                );
                return Verdict::Proved;
            }
            Ok(_) => "the document does not name it".to_owned(),
            Err(why) => why.to_string(),
        };
        let url = well_known(domain, self.settings.port);
        Verdict::Refused(format!("nor does {url} vouch for it (POSH): {why}"))
    }

    /// The certificates that a domain's web server vouches for.
    async fn ask(&self, domain: &str, peer: Option<IpAddr>) -> Answer {
        if let Some(answer) = self.remembered(domain) {
            return answer;
        }
        // Held until the answer is there.
        let place = peer.map(|peer| self.hosts.admit(peer));
        if matches!(place, Some(None)) {
            return Err(PoshError::Busy);
        }
        let deadline = tokio::time::Instant::now() + TIME;
        // That others take long says nothing of this domain, and is not remembered of it.
        let Ok(Ok(_permit)) = timeout_at(deadline, self.fetches.acquire()).await else {
            return Err(PoshError::Timeout);
        };
        if let Some(answer) = self.remembered(domain) {
            return answer;
        }
        let trusted = self.tls.get();
        let fetched = timeout_at(deadline, self.fetch(domain)).await;
        let (answer, lifetime) = match fetched.unwrap_or(Err(PoshError::Timeout)) {
            Ok((descriptors, lifetime)) => (Ok(descriptors), lifetime.min(MAX_LIFETIME)),
            Err(why) => (Err(why), FAILURE_LIFETIME),
        };
        self.remember(domain, &answer, (lifetime, trusted));
        answer
    }

    fn remembered(&self, domain: &str) -> Option<Answer> {
        let cached = self.cache.lock().get(domain).cloned();
        // Other authorities may not have believed the web server.
        let fresh = cached.filter(|cached| {
            cached.until > Instant::now() && Arc::ptr_eq(&cached.trusted, &self.tls.get())
        })?;
        Some(fresh.answer)
    }

    fn remember(
        &self,
        domain: &str,
        answer: &Answer,
        (lifetime, trusted): (Duration, Arc<TlsSettings>),
    ) {
        let now = Instant::now();
        let mut cache = self.cache.lock();
        if cache.len() >= MAX_CACHED {
            cache.retain(|_, cached| cached.until > now);
        }
        if cache.len() >= MAX_CACHED {
            let first = cache.iter().min_by_key(|(_, cached)| cached.until);
            let first = first.map(|(domain, _)| domain.clone());
            first.and_then(|domain| cache.remove(&domain));
        }
        let cached = Cached {
            answer: answer.clone(),
            until: now + lifetime,
            trusted,
        };
        cache.insert(domain.to_owned(), cached);
    }

    async fn fetch(&self, domain: &str) -> Result<(Arc<[Descriptor]>, Duration), PoshError> {
        let first = self.get(&well_known(domain, self.settings.port)).await?;
        match Document::read(&first)? {
            Document::Fingerprints { of, lifetime } => Ok((of.into(), lifetime)),
            Document::Reference { url, lifetime } => {
                match Document::read(&self.get(&url).await?)? {
                    Document::Fingerprints { of, lifetime: then } => {
                        Ok((of.into(), then.min(lifetime)))
                    }
                    Document::Reference { .. } => Err(PoshError::Document(
                        "it refers to one that refers to another",
                    )),
                }
            }
        }
    }

    async fn get(&self, url: &str) -> Result<Vec<u8>, PoshError> {
        let wrong = || PoshError::Url(url.chars().take(200).collect());
        let url = Url::parse(url).map_err(|_| wrong())?;
        let host = url.host_str().map(str::to_owned).ok_or_else(wrong)?;
        let plain = url.username().is_empty() && url.password().is_none();
        if url.scheme() != "https" || !plain {
            return Err(wrong());
        }
        let port = url.port_or_known_default().ok_or_else(wrong)?;
        let stream = self.connect(&host, port).await?;
        let name = server_name(&host).map_err(|_| wrong())?;
        let client = self.tls.get().verifier.web_client();
        let mut client = client.map_err(|error| PoshError::Tls {
            host: host.clone(),
            why: error.to_string(),
        })?;
        client.alpn_protocols = vec![b"http/1.1".to_vec()];
        let connected = TlsConnector::from(Arc::new(client)).connect(name, stream);
        let mut stream = connected.await.map_err(|error| PoshError::Tls {
            host: host.clone(),
            why: CertificateFault::of(&tls_error(&error)).map_or_else(
                || error.to_string(),
                |fault| format!("its own certificate does not count: {fault}"),
            ),
        })?;
        http::get(&mut stream, &url).await
    }

    async fn connect(&self, host: &str, port: u16) -> Result<TcpStream, PoshError> {
        let found = self.dns.addresses(host).await;
        let addresses = found.map_err(|why| PoshError::Address {
            host: host.to_owned(),
            why,
        })?;
        let allowed: Vec<IpAddr> = addresses
            .into_iter()
            .filter(|address| self.may_ask(*address))
            .collect();
        if allowed.is_empty() {
            return Err(PoshError::NotPublic(host.to_owned()));
        }
        for address in allowed.into_iter().take(MAX_ADDRESSES) {
            let connected = timeout(TCP_TIME, TcpStream::connect((address, port))).await;
            if let Ok(Ok(stream)) = connected {
                return Ok(stream);
            }
        }
        Err(PoshError::Unreachable(host.to_owned()))
    }

    fn may_ask(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        let networks = &self.settings.networks;
        is_public(address) || networks.iter().any(|network| network.contains(address))
    }
}

fn well_known(domain: &str, port: u16) -> String {
    let port = match port {
        443 => String::new(),
        port => format!(":{port}"),
    };
    format!("https://{domain}{port}/.well-known/posh/xmpp-server.json")
}

fn tls_error(error: &std::io::Error) -> rustls::Error {
    error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>())
        .cloned()
        .unwrap_or_else(|| rustls::Error::General(error.to_string()))
}
