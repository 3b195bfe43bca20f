//! DANE: what DNSSEC vouches for in a small signed zone, and what the real binary makes of it.

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

use std::io::Read;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::time::Duration;

use harness::{Folder, Gateway, SETTINGS, peer, request};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use sha2::{Digest, Sha256};
use signed_zone::{Signed, Zone, address, service, tlsa};
use stoxgate::config;
use stoxgate::entropy::OsEntropy;
use stoxgate::net::dane::Pinned;
use stoxgate::net::dns::{Dns, DnsError};
use stoxgate::net::lookup::{self, XmppPlace};
use tls_peer::{TlsPeer, features};

const PORT: u16 = 5269;
const RECORD: &[u8] = &[7; 32];

fn settings(server: SocketAddr, trust_anchor: Option<&Path>) -> config::Dns {
    config::Dns {
        servers: vec![server],
        timeout: Duration::from_secs(2),
        dane: trust_anchor.is_some(),
        trust_anchor: trust_anchor.map(Path::to_owned),
    }
}

/// A domain with a server at a host of its own name, each of whose record sets is signed as said.
fn domain(zone: &mut Zone, label: &str, [srv, host, record]: [Signed; 3]) {
    let server = format!("xmpp.{label}");
    let at = format!("_xmpp-server._tcp.{label}");
    zone.add(&at, service(PORT, &server), srv);
    zone.add(&server, address([127, 0, 0, 1]), host);
    let at = format!("_{PORT}._tcp.{server}");
    zone.add(&at, tlsa(3, 0, 1, RECORD), record);
}

async fn places(dns: &Dns, domain: &str) -> Option<Vec<XmppPlace>> {
    let mut entropy = OsEntropy::default();
    let found = lookup::xmpp(dns, domain, (PORT, true), &mut entropy).await;
    found.ok()
}

async fn pinned(dns: &Dns, domain: &str) -> Option<Result<Option<Pinned>, DnsError>> {
    let places = places(dns, domain).await?;
    match &places[0].secure_host {
        Some(host) => Some(Pinned::find(dns, host, PORT).await),
        None => Some(Ok(None)),
    }
}

#[tokio::test]
async fn only_what_dnssec_vouches_for_counts() {
    use Signed::{Rightly, Wrongly};
    let folder = Folder::new("dane-dns");
    let mut zone = Zone::new();
    domain(&mut zone, "good.test", [Rightly; 3]);
    domain(&mut zone, "srv.test", [Wrongly, Rightly, Rightly]);
    domain(&mut zone, "host.test", [Rightly, Wrongly, Rightly]);
    domain(&mut zone, "record.test", [Rightly, Rightly, Wrongly]);
    domain(&mut zone, "plain.test", [Signed::Never; 3]);
    zone.delegate("plain.test");
    domain(&mut zone, "stripped.test", [Rightly; 3]);
    zone.strip(&format!("_{PORT}._tcp.xmpp.stripped.test"));
    // An unsigned zone speaks for others.
    domain(&mut zone, "lent.test", [Rightly; 3]);
    zone.strip_by(&format!("_{PORT}._tcp.xmpp.lent.test"), "plain.test");
    domain(&mut zone, "moved.test", [Rightly; 3]);
    zone.add("moved.test", address([127, 0, 0, 1]), Rightly);
    zone.strip_by("_xmpp-server._tcp.moved.test", "plain.test");
    zone.strip_by("_xmpps-server._tcp.moved.test", "plain.test");
    // In an unsigned one it does so behind an alias.
    zone.delegate("alias.test");
    domain(&mut zone, "alias.test", [Signed::Never; 3]);
    zone.strip_by("_xmpps-server._tcp.alias.test", "plain.test");
    let at = "_xmpp-server._tcp.silent.test";
    zone.add(at, service(PORT, "xmpp.silent.test"), Rightly);
    zone.add("xmpp.silent.test", address([127, 0, 0, 1]), Rightly);
    zone.add("bare.test", address([127, 0, 0, 1]), Rightly);
    let at = format!("_{PORT}._tcp.bare.test");
    zone.add(&at, tlsa(3, 0, 1, RECORD), Rightly);
    let anchor = folder.write("anchor.key", &zone.trust_anchor());
    let server = zone.serve();

    let dns = Dns::new(&settings(server, Some(&anchor))).unwrap();
    let is_pinned = |found: Option<Result<Option<Pinned>, DnsError>>| match found {
        None => "not dialled",
        Some(Ok(Some(_))) => "pinned",
        Some(Ok(None)) => "by PKIX",
        Some(Err(_)) => "not dialled for want of TLSA",
    };
    let rows = [
        ("good.test", "pinned"),
        ("bare.test", "pinned"),
        ("silent.test", "by PKIX"),
        ("plain.test", "by PKIX"),
        ("lent.test", "not dialled for want of TLSA"),
        ("moved.test", "not dialled"),
        ("alias.test", "by PKIX"),
        ("srv.test", "not dialled"),
        ("host.test", "not dialled"),
        ("record.test", "not dialled for want of TLSA"),
        ("stripped.test", "not dialled for want of TLSA"),
    ];
    for (domain, expected) in rows {
        assert_eq!(is_pinned(pinned(&dns, domain).await), expected, "{domain}");
    }

    // Another key is trusted: nothing of the zone counts.
    let other = folder.write("other.key", &Zone::new().trust_anchor());
    let dns = Dns::new(&settings(server, Some(&other))).unwrap();
    assert_eq!(is_pinned(pinned(&dns, "good.test").await), "not dialled");
    // Somebody in between keeps the keys back.
    let mut zone = Zone::new();
    domain(&mut zone, "good.test", [Rightly; 3]);
    zone.strip("test");
    let anchor = folder.write("kept.key", &zone.trust_anchor());
    let dns = Dns::new(&settings(zone.serve(), Some(&anchor))).unwrap();
    assert_eq!(is_pinned(pinned(&dns, "good.test").await), "not dialled");
    // Nobody asks for DNSSEC.
    let dns = Dns::new(&settings(server, None)).unwrap();
    for (domain, _) in rows {
        assert_eq!(is_pinned(pinned(&dns, domain).await), "by PKIX", "{domain}");
    }
}

#[test]
fn a_file_that_holds_no_keys_is_refused() {
    let folder = Folder::new("dane-anchor");
    let nowhere = SocketAddr::from(([127, 0, 0, 1], 9));
    let junk = folder.write("junk.key", "test. IN A 127.0.0.1\n");
    for file in [junk, folder.0.join("missing.key")] {
        let why = Dns::new(&settings(nowhere, Some(&file))).err().unwrap();
        assert!(why.to_string().contains("dns.trust_anchor"), "{why}");
    }
}

/// Reads until the gateway has opened its stream, or ended the connection.
fn hears_a_stream(stream: &mut impl Read) -> bool {
    let mut heard = String::new();
    let mut buffer = [0; 4096];
    while !heard.contains("xml:lang='en'>") {
        match stream.read(&mut buffer) {
            Ok(count) if count > 0 => heard.push_str(&String::from_utf8_lossy(&buffer[..count])),
            _ => return false,
        }
    }
    true
}

/// `good.test` shows a certificate that nobody has issued and that names somebody else, but is in its record; `bad.test`
/// one that is trusted, and is not. Whoever dials, the record decides.
#[test]
fn the_record_decides_whatever_the_authorities_say() {
    let folder = Folder::new("dane-dial");
    folder.certificate("gw", &["gw.ocs.test", "ocs.test"]);
    folder.certificate("good", &["elsewhere.test"]);
    folder.certificate("bad", &["bad.test"]);
    folder.certificate("plain", &["plain.test", "half.test"]);
    let listeners = ["good", "bad"].map(|name| (name, TcpListener::bind("127.0.0.1:0").unwrap()));
    let in_record = CertificateDer::from_pem_file(folder.0.join("good.crt")).unwrap();
    let record = tlsa(3, 0, 1, &Sha256::digest(&in_record));
    let mut zone = Zone::new();
    for (label, listener) in &listeners {
        let (port, host) = (listener.local_addr().unwrap().port(), "xmpp.host.test");
        let at = format!("_xmpps-server._tcp.{label}.test");
        zone.add(&at, service(port, host), Signed::Rightly);
        let at = format!("_{port}._tcp.{host}");
        zone.add(&at, record.clone(), Signed::Rightly);
    }
    zone.add("xmpp.host.test", address([127, 0, 0, 1]), Signed::Rightly);
    // One of its two servers has no record.
    zone.add("half.test", address([127, 0, 0, 1]), Signed::Rightly);
    let at = "_xmpp-server._tcp.half.test";
    zone.add(at, service(PORT, "half.test"), Signed::Rightly);
    let at = "_xmpps-server._tcp.half.test";
    let pinned = listeners[0].1.local_addr().unwrap().port();
    zone.add(at, service(pinned, "xmpp.host.test"), Signed::Rightly);
    zone.add("plain.test", address([127, 0, 0, 1]), Signed::Rightly);
    domain(&mut zone, "lost.test", [Signed::Rightly; 3]);
    zone.strip(&format!("_{PORT}._tcp.xmpp.lost.test"));
    folder.write("anchor.key", &zone.trust_anchor());
    let server = zone.serve();
    let settings = SETTINGS
        .replace(
            "servers = [\"127.0.0.1:9\"]\ntimeout = \"200ms\"",
            &format!(
                "servers = [\"{server}\"]\ntimeout = \"2s\"\ndane = true\ntrust_anchor = \"anchor.key\""
            ),
        )
        .replace(
            "roots = [\"gw.crt\"]",
            "roots = [\"gw.crt\", \"bad.crt\", \"plain.crt\"]",
        )
        .replace(
            "domain = \"*\"\naddress = \"127.0.0.1:9\"",
            "domain = \"good.test\"\ncertificate = \"verify\"\n[[xmpp.partner]]\ndomain = \"*\"\nnetworks = [\"127.0.0.0/8\"]",
        );
    let mut gateway = Gateway::start_with(&folder, &settings);
    let bob = peer();
    for (label, listener) in &listeners {
        let to = format!("romeo@{label}.test");
        let message = request("MESSAGE", &to, label, "Hello");
        bob.send_to(message.as_bytes(), gateway.udp).unwrap();
        let mut stream = TlsPeer::new(&folder, label).accept(listener);
        assert_eq!(hears_a_stream(&mut stream), *label == "good", "{label}");
    }
    let line = gateway.wait_for("TLSA records at ");
    for words in ["WARN", "bad.test", "._tcp.xmpp.host.test", "none of them"] {
        assert!(line.contains(words), "{words} in {line}");
    }

    let dials = [
        ("good", "good.test", true),
        ("bad", "bad.test", false),
        ("good", "bad.test", true),
        ("plain", "good.test", false),
        ("plain", "plain.test", true),
        ("plain", "half.test", true),
        ("good", "half.test", true),
        ("bad", "half.test", false),
        ("plain", "lost.test", false),
    ];
    for (shown, domain, proved) in dials {
        let offered = features(&TlsPeer::new(&folder, shown), gateway.xmpp, domain);
        let row = format!("{shown} as {domain}: {offered}");
        assert_eq!(offered.contains("EXTERNAL"), proved, "{row}");
    }
}
