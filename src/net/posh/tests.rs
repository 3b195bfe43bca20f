use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;
use rcgen::{CertificateParams, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use sha2::{Digest, Sha256, Sha512};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::net::tls::TlsSettings;

/// A domain whose address is in its name, so that no name server is needed.
const DOMAIN: &str = "127.0.0.1";

/// A web server's certificate and key, and how often it was asked.
struct Web {
    address: SocketAddr,
    asked: Arc<AtomicUsize>,
}

struct Lab {
    folder: PathBuf,
    web: CertificateDer<'static>,
    key: KeyPair,
    tls: CurrentTls,
    config: config::Config,
}

impl Drop for Lab {
    fn drop(&mut self) {
        _ = std::fs::remove_dir_all(&self.folder);
    }
}

impl Lab {
    fn new(name: &str, web_name: &str, trusted: bool) -> Self {
        let folder = format!("stoxgate-posh-{name}-{}", std::process::id());
        let folder = std::env::temp_dir().join(folder);
        std::fs::create_dir_all(&folder).unwrap();
        let write = |name: &str, text: String| {
            let path = folder.join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![web_name.to_owned()]).unwrap();
        let web = params.self_signed(&key).unwrap();
        let own_key = KeyPair::generate().unwrap();
        let own = CertificateParams::new(vec!["gw.test".to_owned()]).unwrap();
        let own = own.self_signed(&own_key).unwrap();
        let root = if trusted { web.pem() } else { own.pem() };
        let text = format!(
            "[gateway]\nhost = \"gw.test\"\nstate_dir = \"s\"\n[tls]\ncertificate = \"{}\"\nkey = \"{}\"\nlax_key_permissions = true\nroots = [\"{}\"]\n\
             [[xmpp.partner]]\ndomain = \"*\"\n[sip]\ntcp = [\"127.0.0.1:0\"]\n[[sip.domain]]\ndomain = \"ocs.test\"\n",
            write("gw.crt", own.pem()).display(),
            write("gw.key", own_key.serialize_pem()).display(),
            write("roots.crt", root).display(),
        );
        let config = config::parse(&text, &folder.join("gateway.toml"), []).unwrap();
        Self {
            tls: CurrentTls::new(TlsSettings::load(&config.tls, &config.sip).unwrap()),
            config,
            web: web.der().clone(),
            key,
            folder,
        }
    }

    fn settings(&self) -> TlsSettings {
        TlsSettings::load(&self.config.tls, &self.config.sip).unwrap()
    }

    /// Answers by path; what is not named gets a 404.
    async fn serve(&self, pages: Vec<(&'static str, String)>) -> Web {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let key = PrivateKeyDer::try_from(self.key.serialize_der()).unwrap();
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![self.web.clone()], key)
            .unwrap();
        let (acceptor, asked) = (TlsAcceptor::from(Arc::new(config)), Arc::default());
        let count: Arc<AtomicUsize> = Arc::clone(&asked);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::Relaxed);
                let Ok(mut stream) = acceptor.accept(stream).await else {
                    continue;
                };
                let mut heard = Vec::new();
                while !heard.ends_with(b"\r\n\r\n")
                    && stream.read_buf(&mut heard).await.unwrap() > 0
                {}
                let heard = String::from_utf8(heard).unwrap();
                let path = heard.split(' ').nth(1).unwrap();
                let page = pages.iter().find(|(at, _)| *at == path);
                let missing = || answer("404 Not Found", "");
                let page = page.map_or_else(missing, |(_, page)| page.clone());
                _ = stream.write_all(page.as_bytes()).await;
                _ = stream.shutdown().await;
            }
        });
        Web { address, asked }
    }

    fn posh(&self, port: u16, networks: &[&str]) -> Posh {
        let settings = config::Posh {
            networks: networks.iter().map(|text| text.parse().unwrap()).collect(),
            port,
        };
        let dns = config::Dns {
            servers: vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 9))],
            timeout: Duration::from_millis(100),
            dane: false,
            trust_anchor: None,
        };
        Posh::new(&settings, self.tls.clone(), &Dns::new(&dns).unwrap())
    }
}

fn answer(status: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n{body}")
}

fn shown() -> CertificateDer<'static> {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["elsewhere.test".to_owned()]).unwrap();
    params.self_signed(&key).unwrap().der().clone()
}

fn fingerprints(certificate: &CertificateDer<'_>, expires: u64) -> String {
    let digest = STANDARD.encode(Sha256::digest(certificate));
    format!("{{\"fingerprints\":[{{\"sha-256\":\"{digest}\"}}],\"expires\":{expires}}}")
}

const PEER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

const WELL_KNOWN: &str = "/.well-known/posh/xmpp-server.json";

async fn judged(posh: &Posh, certificate: &CertificateDer<'static>) -> Verdict {
    let chain = [certificate.clone()];
    posh.judge(&chain, DOMAIN, Some(PEER)).await
}

/// Nothing, where the domain is proved.
fn said(verdict: Verdict) -> String {
    match verdict {
        Verdict::Proved => String::new(),
        Verdict::Refused(why) => why,
        Verdict::Silent => panic!("nobody was asked"),
    }
}

/// What the web server says, and what an administrator reads of it; nothing where it proves the domain.
#[tokio::test]
async fn a_web_server_vouches_or_it_is_said_why_not() {
    let lab = Lab::new("table", DOMAIN, true);
    let (mine, other) = (shown(), shown());
    let (good, long) = (fingerprints(&mine, 600), " ".repeat(http::MAX_BODY));
    let refer = |port: &str, path: &str| {
        let body = format!("{{\"url\":\"https://{DOMAIN}:{port}{path}\",\"expires\":60}}");
        answer("200 OK", &body)
    };
    let chunked = |body: &str| {
        let (head, tail) = body.split_at(7);
        format!(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n7\r\n{head}\r\n{:x}\r\n{tail}\r\n0\r\n\r\n",
            tail.len()
        )
    };
    let ok = |body: &str| answer("200 OK", body);
    let rows = [
        (ok(&good), ""),
        (chunked(&good), ""),
        (format!("HTTP/1.1 200 OK\r\n\r\n{good}"), ""),
        (refer("55555", "/good.json"), ""),
        (ok(&fingerprints(&other, 600)), "does not name it"),
        (refer("55555", "/again.json"), "refers to another"),
        (refer("55555", "/missing.json"), "status 404"),
        (
            ok("{\"url\":\"http://127.0.0.1/\",\"expires\":9}"),
            "is not an https URL",
        ),
        (
            ok("{\"url\":\"https://u:p@127.0.0.1/\",\"expires\":9}"),
            "is not an https URL",
        ),
        (refer("1", "/"), "does not take connections"),
        (ok(&fingerprints(&mine, 0)), "expires"),
        (ok("{\"fingerprints\":[]}"), "expires"),
        (ok("{\"fingerprints\":[],\"expires\":5}"), "no sha-256"),
        (
            ok("{\"fingerprints\":[{\"sha-256\":\"AAAA\"}],\"expires\":5}"),
            "no sha-256",
        ),
        (ok("{\"expires\":5}"), "either fingerprints or url"),
        (ok("<html>"), "not JSON"),
        (answer("301 Moved", ""), "status 301"),
        (answer("500 Oops", ""), "status 500"),
        (ok(&format!("{good}{long}")), "longer than"),
        (
            format!("HTTP/1.1 200 OK\r\n\r\n{good}{long}"),
            "longer than",
        ),
        ("SSH-2.0-web\r\n".to_owned(), "complete HTTP"),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}".to_owned(),
            "complete HTTP",
        ),
    ];
    for (page, words) in rows {
        let second = vec![
            ("/good.json", ok(&good)),
            ("/again.json", refer("55555", "/good.json")),
        ];
        let second = lab.serve(second).await;
        let port = second.address.port().to_string();
        let web = lab
            .serve(vec![(WELL_KNOWN, page.replace("55555", &port))])
            .await;
        let posh = lab.posh(web.address.port(), &["127.0.0.0/8"]);
        let heard = said(judged(&posh, &mine).await);
        assert_eq!(heard.is_empty(), words.is_empty(), "{page} {heard}");
        assert!(heard.contains(words), "{words} in {heard}");
    }
}

#[tokio::test]
async fn only_a_trusted_web_server_at_an_allowed_address_is_heard() {
    let mine = shown();
    let page = || vec![(WELL_KNOWN, answer("200 OK", &fingerprints(&mine, 600)))];
    let rows = [
        (
            "public",
            DOMAIN,
            true,
            &["10.0.0.0/8"][..],
            "has no public address",
        ),
        (
            "root",
            DOMAIN,
            false,
            &["127.0.0.1"],
            "its own certificate does not count",
        ),
        (
            "name",
            "other.test",
            true,
            &["127.0.0.1"],
            "not valid for name",
        ),
    ];
    for (name, web_name, trusted, networks, words) in rows {
        let lab = Lab::new(name, web_name, trusted);
        let web = lab.serve(page()).await;
        let heard = said(judged(&lab.posh(web.address.port(), networks), &mine).await);
        assert!(heard.contains(words), "{words} in {heard}");
    }
}

#[tokio::test]
async fn an_answer_is_remembered_for_as_long_as_it_says() {
    let lab = Lab::new("cache", DOMAIN, true);
    let mine = shown();
    let day = MAX_LIFETIME.as_secs();
    for (body, seconds) in [
        (fingerprints(&mine, 600), 600),
        (fingerprints(&mine, u64::MAX), day),
        ("{}".to_owned(), FAILURE_LIFETIME.as_secs()),
    ] {
        let web = lab.serve(vec![(WELL_KNOWN, answer("200 OK", &body))]).await;
        let posh = lab.posh(web.address.port(), &["127.0.0.1"]);
        let before = Instant::now();
        let first = judged(&posh, &mine).await;
        assert_eq!(judged(&posh, &mine).await, first);
        assert_eq!(web.asked.load(Ordering::Relaxed), 1);
        let until = posh.cache.lock()[DOMAIN].until;
        assert!(until >= before + Duration::from_secs(seconds));
        assert!(until <= Instant::now() + Duration::from_secs(seconds));
        // When it is over, the server is asked again.
        posh.cache.lock().get_mut(DOMAIN).unwrap().until = before;
        assert_eq!(judged(&posh, &mine).await, first);
        assert_eq!(web.asked.load(Ordering::Relaxed), 2);
    }
}

#[tokio::test]
async fn what_was_believed_under_other_authorities_is_asked_again() {
    let lab = Lab::new("reload", DOMAIN, true);
    let mine = shown();
    let page = answer("200 OK", &fingerprints(&mine, 600));
    let web = lab.serve(vec![(WELL_KNOWN, page)]).await;
    let posh = lab.posh(web.address.port(), &["127.0.0.1"]);
    assert_eq!(judged(&posh, &mine).await, Verdict::Proved);
    let without = Lab::new("reload-without", DOMAIN, false);
    lab.tls.replace(without.settings());
    let why = said(judged(&posh, &mine).await);
    assert!(why.contains("its own certificate does not count"), "{why}");
}

#[tokio::test]
async fn one_host_has_a_share_of_the_questions_only() {
    let lab = Lab::new("share", DOMAIN, true);
    let mine = shown();
    let page = answer("200 OK", &fingerprints(&mine, 600));
    let web = lab.serve(vec![(WELL_KNOWN, page)]).await;
    let posh = lab.posh(web.address.port(), &["127.0.0.1"]);
    let open: Vec<_> = (0..FETCHES_OF_HOST)
        .map(|_| posh.hosts.admit(PEER).expect("room"))
        .collect();
    let heard = said(judged(&posh, &mine).await);
    assert!(heard.contains("as one host may claim"), "{heard}");
    assert_eq!(web.asked.load(Ordering::Relaxed), 0);
    // Others are asked about, and so is this one when there is room again, at once.
    let chain = [mine.clone()];
    let other = Some(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2)));
    assert_eq!(posh.judge(&chain, DOMAIN, other).await, Verdict::Proved);
    drop(open);
    posh.cache.lock().clear();
    assert_eq!(judged(&posh, &mine).await, Verdict::Proved);
    assert_eq!(posh.hosts.open(), 0);
}

#[test]
fn the_cache_is_bounded() {
    let lab = Lab::new("bound", DOMAIN, true);
    let posh = lab.posh(443, &[]);
    for number in 0..MAX_CACHED + 5 {
        let lifetime = Duration::from_secs(60 + number as u64);
        posh.remember(
            &number.to_string(),
            &Err(PoshError::Timeout),
            (lifetime, posh.tls.get()),
        );
    }
    let cache = posh.cache.lock();
    assert_eq!(cache.len(), MAX_CACHED);
    assert!(!cache.contains_key("4") && cache.contains_key("5"));
}

#[tokio::test]
async fn nobody_is_asked_about_no_certificate() {
    let lab = Lab::new("unasked", DOMAIN, true);
    let web = lab.serve(Vec::new()).await;
    let posh = lab.posh(web.address.port(), &["127.0.0.1"]);
    assert_eq!(posh.judge(&[], DOMAIN, None).await, Verdict::Silent);
    assert_eq!(web.asked.load(Ordering::Relaxed), 0);
}

#[test]
fn every_digest_of_a_descriptor_has_to_be_right() {
    let (mine, other) = (shown(), shown());
    let sha256 = |of: &CertificateDer<'_>| STANDARD.encode(Sha256::digest(of));
    let sha512 = |of: &CertificateDer<'_>| STANDARD.encode(Sha512::digest(of));
    let rows = [
        (vec![("sha-256", sha256(&mine))], true),
        (vec![("sha-512", sha512(&mine))], true),
        (
            vec![("sha-256", sha256(&mine)), ("sha-512", sha512(&mine))],
            true,
        ),
        (
            vec![("sha-256", sha256(&mine)), ("sha-512", sha512(&other))],
            false,
        ),
        (
            vec![("sha-256", sha256(&other)), ("sha-512", sha512(&mine))],
            false,
        ),
        (
            vec![("sha-1", "AAAA".to_owned()), ("sha-256", sha256(&mine))],
            true,
        ),
    ];
    for (members, expected) in rows {
        let members: Vec<_> = members
            .iter()
            .map(|(name, value)| format!("\"{name}\":\"{value}\""))
            .collect();
        let text = format!(
            "{{\"fingerprints\":[{{{}}}],\"expires\":1}}",
            members.join(",")
        );
        let Ok(Document::Fingerprints { of, .. }) = Document::read(text.as_bytes()) else {
            panic!("{text}");
        };
        assert_eq!(of.iter().any(|one| one.is_of(&mine)), expected, "{text}");
    }
}

proptest! {
    /// What comes in pieces is read as what comes at once, and nothing that comes does harm.
    #[test]
    fn a_body_is_read_however_it_is_cut(body in "[ -~]{0,300}", cut in 1_usize..40) {
        let chunks: String = body
            .as_bytes()
            .chunks(cut)
            .map(|chunk| format!("{:x}\r\n{}\r\n", chunk.len(), String::from_utf8_lossy(chunk)))
            .collect();
        let whole = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n{chunks}0\r\n\r\n");
        prop_assert_eq!(http::body(whole.as_bytes(), false), Ok(Some(body.clone().into_bytes())));
        let part = &whole.as_bytes()[..whole.len() - cut.min(5)];
        prop_assert!(!matches!(http::body(part, true), Ok(Some(read)) if read != body.as_bytes()));
    }

    #[test]
    fn nothing_that_comes_does_harm(octets in proptest::collection::vec(any::<u8>(), 0..400), ended: bool) {
        _ = http::body(&octets, ended);
        let framed = [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", octets.as_slice()].concat();
        _ = http::body(&framed, ended);
        _ = Document::read(&octets);
    }
}
