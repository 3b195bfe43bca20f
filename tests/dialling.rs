//! Where partners are dialled, and what is said there, when name servers or handshakes fail.

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
use std::sync::atomic::Ordering;
use std::time::Duration;

use harness::{Folder, Gateway, SETTINGS, peer, request};
use signed_zone::{Signed, Zone, address, service, service_at};
use socket2::{Domain, Socket, Type};
use stox_sip::target::{NextHop, TargetError, TransportPolicy};
use stox_sip::transport::Transport;
use stox_sip::uri::Uri;
use stoxgate::config;
use stoxgate::entropy::OsEntropy;
use stoxgate::net::dns::Dns;
use stoxgate::net::lookup;
use tls_peer::{TlsPeer, hear, patient};

/// When DNS fails, the partner whose certificate is valid is reached where DNS last said; the other, whom dialback would do
/// for, is not: somebody else may have his address by now.
#[test]
fn while_dns_fails_servers_are_known_by_their_certificates() {
    let folder = Folder::new("recall");
    folder.certificate("gw", &["gw.ocs.test", "ocs.test"]);
    folder.certificate("known", &["known.test"]);
    folder.certificate("other", &["elsewhere.test"]);
    let servers = ["known", "other"].map(|name| (name, closed_port()));
    let mut zone = Zone::new();
    zone.forgettable();
    for (label, socket) in &servers {
        let port = socket.local_addr().unwrap().as_socket().unwrap().port();
        let host = format!("xmpp.{label}.test");
        let at = format!("_xmpps-server._tcp.{label}.test");
        zone.add(&at, service(port, &host), Signed::Never);
        zone.add(&host, address([127, 0, 0, 1]), Signed::Never);
    }
    let failing = zone.failure();
    let server = zone.serve();
    let settings = SETTINGS
        .replace(
            "servers = [\"127.0.0.1:9\"]",
            &format!("servers = [\"{server}\"]"),
        )
        .replace(
            "roots = [\"gw.crt\"]",
            "roots = [\"gw.crt\", \"known.crt\"]",
        )
        .replace(
            "domain = \"*\"\naddress = \"127.0.0.1:9\"",
            "domain = \"known.test\"\n[[xmpp.partner]]\ndomain = \"other.test\"",
        );
    let mut gateway = Gateway::start_with(&folder, &settings);
    let bob = peer();
    for (label, _) in &servers {
        let to = format!("romeo@{label}.test");
        let message = request("MESSAGE", &to, label, "Hello");
        bob.send_to(message.as_bytes(), gateway.udp).unwrap();
        let line = gateway.wait_for("does not take the connection");
        assert!(line.contains(label), "{line}");
    }
    failing.store(true, Ordering::Relaxed);
    for (label, socket) in servers {
        socket.listen(8).unwrap();
        let mut stream = TlsPeer::new(&folder, label).accept(&TcpListener::from(socket));
        let opened = hear(&mut stream, "xml:lang='en'>").is_some();
        assert_eq!(opened, label == "known", "{label}");
    }
    let line = gateway.wait_for("its last answer of the past hour");
    assert!(line.contains("WARN"), "{line}");
}

/// A port of loopback where nobody listens yet.
fn closed_port() -> Socket {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    socket.bind(&any.into()).unwrap();
    socket
}

#[tokio::test]
async fn while_dns_fails_sip_servers_are_dialled_with_tls_alone() {
    let mut zone = Zone::new();
    zone.forgettable();
    for (service_name, label) in [("_sips._tcp", "secure"), ("_sip._udp", "open")] {
        let host = format!("sip.{label}.test");
        let at = format!("{service_name}.{label}.test");
        zone.add(&at, service(5061, &host), Signed::Never);
        zone.add(&host, address([127, 0, 0, 1]), Signed::Never);
    }
    let failing = zone.failure();
    let settings = |server: SocketAddr| config::Dns {
        servers: vec![server],
        timeout: Duration::from_secs(2),
        dane: false,
        trust_anchor: None,
    };
    let dns = Dns::new(&settings(zone.serve())).unwrap();
    let find = async |domain: &str| {
        let dns = dns.recalling();
        let uri = Uri::parse(&format!("sip:{domain}")).unwrap();
        let hop = NextHop::try_from(&uri).unwrap();
        let policy = TransportPolicy::default();
        let found = lookup::sip(&dns, hop, &policy, &mut OsEntropy::default()).await;
        match dns.has_recalled() {
            true => found.and_then(lookup::proving),
            false => found,
        }
    };
    let transports = async |domain: &str| -> Result<Vec<Transport>, TargetError> {
        let found = find(domain).await?;
        Ok(found.into_iter().map(|target| target.transport).collect())
    };
    let (secure, open) = (vec![Transport::Tls], vec![Transport::Udp]);
    assert_eq!(transports("secure.test").await, Ok(secure.clone()));
    assert_eq!(transports("open.test").await, Ok(open));
    failing.store(true, Ordering::Relaxed);
    assert_eq!(transports("secure.test").await, Ok(secure));
    assert_eq!(transports("open.test").await, Err(TargetError::Temporary));
    assert_eq!(
        transports("unknown.test").await,
        Err(TargetError::Temporary)
    );
}

const HEADER: &str = "<?xml version='1.0'?><stream:stream xmlns='jabber:server' xmlns:db='jabber:server:dialback' \
     xmlns:stream='http://etherx.jabber.org/streams' id='1' version='1.0'>";

/// Offers TLS in clear, and breaks the handshake.
fn break_handshake(listener: &TcpListener) {
    let mut stream = patient(listener.accept().unwrap().0);
    hear(&mut stream, "xml:lang='en'>").unwrap();
    let offer =
        "<stream:features><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/></stream:features>";
    stream
        .write_all(format!("{HEADER}{offer}").as_bytes())
        .unwrap();
    hear(&mut stream, "<starttls").unwrap();
    let proceed = "<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>this is no TLS";
    stream.write_all(proceed.as_bytes()).unwrap();
}

/// Whether the gateway goes on in clear with a server that knows nothing else.
fn goes_on_in_clear(listener: &TcpListener) -> bool {
    let mut stream = patient(listener.accept().unwrap().0);
    hear(&mut stream, "xml:lang='en'>").unwrap();
    let offer = "<stream:features><dialback xmlns='urn:xmpp:features:dialback'/></stream:features>";
    stream
        .write_all(format!("{HEADER}{offer}").as_bytes())
        .unwrap();
    hear(&mut stream, "<db:result").is_some()
}

#[test]
fn where_tls_is_optional_a_broken_handshake_is_not_followed_by_clear_text() {
    let folder = Folder::new("optional");
    folder.certificate("gw", &["gw.ocs.test", "ocs.test"]);
    let listener = || TcpListener::bind("127.0.0.1:0").unwrap();
    let (broken, clear, calm) = (listener(), listener(), listener());
    let mut zone = Zone::new();
    let port = |listener: &TcpListener| listener.local_addr().unwrap().port();
    zone.add("host.test", address([127, 0, 0, 1]), Signed::Never);
    let records = [
        ("broken.test", 1, &broken),
        ("broken.test", 2, &clear),
        ("calm.test", 1, &calm),
    ];
    for (domain, priority, listener) in records {
        let at = format!("_xmpp-server._tcp.{domain}");
        zone.add_beside(&at, service_at(priority, port(listener), "host.test"));
    }
    let settings = SETTINGS
        .replace("servers = [\"127.0.0.1:9\"]", &format!("servers = [\"{}\"]", zone.serve()))
        .replace(
            "domain = \"*\"\naddress = \"127.0.0.1:9\"",
            "domain = \"broken.test\"\ntls = \"optional\"\n[[xmpp.partner]]\ndomain = \"calm.test\"\ntls = \"optional\"",
        );
    let gateway = Gateway::start_with(&folder, &settings);
    let bob = peer();
    for label in ["broken", "calm"] {
        let message = request("MESSAGE", &format!("romeo@{label}.test"), label, "Hello");
        bob.send_to(message.as_bytes(), gateway.udp).unwrap();
    }
    assert!(goes_on_in_clear(&calm));
    break_handshake(&broken);
    assert!(!goes_on_in_clear(&clear));
}
