//! POSH on real streams in both directions: a domain whose web server vouches for its certificate, and one whose does not.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

#[path = "process/harness.rs"]
#[allow(dead_code, reason = "each test program uses a part of it")]
mod harness;
#[path = "process/signed_zone.rs"]
#[allow(dead_code, reason = "each test program uses a part of it")]
mod signed_zone;
#[path = "process/tls_peer.rs"]
#[allow(dead_code, reason = "each test program uses a part of it")]
mod tls_peer;

use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use harness::{Folder, SETTINGS};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use sha2::{Digest, Sha256};
use signed_zone::{Signed, Zone, address};
use stox_xmpp::dialback::DialbackSecret;
use stox_xmpp::link::Attempt;
use stoxgate::clock::Clock;
use stoxgate::config;
use stoxgate::engine::LinkName;
use stoxgate::net::dns::Dns;
use stoxgate::net::tls::{CurrentTls, TlsSettings};
use stoxgate::sockets::admission::Admission;
use stoxgate::streams::{Rules, StreamParts, Streams};
use tls_peer::{TlsPeer, features, header, hear, patient};

/// Both domains, and whether their web server vouches.
const DOMAINS: &[(&str, bool)] = &[("good.test", true), ("bad.test", false)];

/// The web server of both domains. Gives its port.
fn web(folder: &Folder) -> u16 {
    folder.certificate("web", &["good.test", "bad.test"]);
    let read = |name: &str| CertificateDer::from_pem_file(folder.0.join(name)).unwrap();
    let digest = STANDARD.encode(Sha256::digest(read("xmpp.crt")));
    let document = format!("{{\"fingerprints\":[{{\"sha-256\":\"{digest}\"}}],\"expires\":60}}");
    let key = PrivateKeyDer::from_pem_file(folder.0.join("web.key")).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![read("web.crt")], key)
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            let tls = ServerConnection::new(config.clone()).unwrap();
            let mut stream = StreamOwned::new(tls, patient(stream));
            let request = hear(&mut stream, "\r\n\r\n").unwrap();
            let (status, body) = if request.contains("Host: good.test") {
                ("200 OK", document.as_str())
            } else {
                ("404 Not Found", "")
            };
            let length = body.len();
            let answer = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n{body}");
            stream.write_all(answer.as_bytes()).unwrap();
            stream.flush().unwrap();
        }
    });
    port
}

/// The gateway's streams, with a listener, and the partners' server at `servers`.
fn streams(folder: &Folder, servers: SocketAddr) -> (Streams, SocketAddr) {
    folder.certificate("gw", &["gw.ocs.test", "ocs.test"]);
    folder.certificate("xmpp", &["elsewhere.test"]);
    let port = web(folder);
    let mut zone = Zone::new();
    let mut partners = String::new();
    for (domain, _) in DOMAINS {
        zone.add(domain, address([127, 0, 0, 1]), Signed::Never);
        partners.push_str(&format!(
            "[[xmpp.partner]]\ndomain = \"{domain}\"\ncertificate = \"verify\"\naddress = \"{servers}\"\ndirect_tls = true\n"
        ));
    }
    let settings = SETTINGS
        .replace(
            "127.0.0.1:9\"]\ntimeout",
            &format!("{}\"]\ntimeout", zone.serve()),
        )
        .replace("200ms", "2s")
        .replace(
            "roots = [\"gw.crt\"]",
            "roots = [\"gw.crt\", \"web.crt\"]\nposh = true\nposh_networks = [\"127.0.0.0/8\"]",
        )
        .replace(
            "[[xmpp.partner]]\ndomain = \"*\"\naddress = \"127.0.0.1:9\"\n",
            &partners,
        );
    let mut config = config::parse(&settings, &folder.0.join("gateway.toml"), []).unwrap();
    config.tls.posh.as_mut().unwrap().port = port;
    let (arrivals, mut arrived) = tokio::sync::mpsc::channel(64);
    tokio::spawn(async move { while arrived.recv().await.is_some() {} });
    let mut streams = Streams::new(StreamParts {
        rules: Rules::new(&config, DialbackSecret::new(b"secret")),
        tls: CurrentTls::new(TlsSettings::load(&config.tls, &config.sip).unwrap()),
        dns: Dns::new(&config.dns).unwrap(),
        clock: Clock::start(),
        arrivals,
        admission: Admission::new(100, 100),
    });
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    streams.serve(tokio::net::TcpListener::from_std(listener).unwrap());
    (streams, address)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_dialled_is_proved_by_its_web_server() {
    let folder = Folder::new("posh-dial");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (mut streams, _) = streams(&folder, listener.local_addr().unwrap());
    let peer = Arc::new(TlsPeer::new(&folder, "xmpp"));
    let listener = Arc::new(listener);
    for (domain, vouched) in DOMAINS {
        streams.connect(LinkName::new("ocs.test", domain), Attempt(1));
        let (peer, listener) = (peer.clone(), listener.clone());
        let opened = tokio::task::spawn_blocking(move || {
            hear(&mut peer.accept(&listener), "xml:lang='en'>").is_some()
        });
        assert_eq!(opened.await.unwrap(), *vouched, "{domain}");
    }
}

/// Shows a dialback key, and begins with TLS: it has not said in time who it is to be offered more. Whether the answer is as
/// expected.
fn key_is(expected: &str, peer: &TlsPeer, gateway: SocketAddr, domain: &str) -> bool {
    let mut stream = peer.dial(gateway);
    stream.write_all(header(domain).as_bytes()).unwrap();
    stream.flush().unwrap();
    let offered = hear(&mut stream, "</stream:features>").unwrap();
    assert!(!offered.contains("EXTERNAL"), "{offered}");
    let key = format!("<db:result from='{domain}' to='ocs.test'>key</db:result>");
    stream.write_all(key.as_bytes()).unwrap();
    stream.flush().unwrap();
    hear(&mut stream, &format!(" type='{expected}'")).is_some()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_begins_with_tls_is_proved_when_it_shows_a_key() {
    let folder = Folder::new("posh-key");
    let (_streams, gateway) = streams(&folder, SocketAddr::from(([127, 0, 0, 1], 9)));
    let peer = Arc::new(TlsPeer::new(&folder, "xmpp"));
    for (domain, vouched) in DOMAINS {
        let peer = peer.clone();
        let expected = if *vouched { "valid" } else { "error" };
        let answered =
            tokio::task::spawn_blocking(move || key_is(expected, &peer, gateway, domain));
        assert!(answered.await.unwrap(), "{domain}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_dials_is_proved_by_its_web_server() {
    let folder = Folder::new("posh-accept");
    let (_streams, gateway) = streams(&folder, SocketAddr::from(([127, 0, 0, 1], 9)));
    let peer = Arc::new(TlsPeer::new(&folder, "xmpp"));
    for (domain, vouched) in DOMAINS {
        let peer = peer.clone();
        let offered = tokio::task::spawn_blocking(move || features(&peer, gateway, domain));
        let offered = offered.await.unwrap();
        assert_eq!(
            offered.contains("EXTERNAL"),
            *vouched,
            "{domain}: {offered}"
        );
    }
}
