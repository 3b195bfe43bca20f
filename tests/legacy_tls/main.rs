//! Old TLS through the real binary, against the `openssl` command limited to what old systems can do.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod authority;
#[path = "../process/harness.rs"]
#[allow(dead_code, reason = "the other process tests use the rest")]
mod harness;
mod openssl;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};

use ::openssl::hash::MessageDigest;
use authority::{Authority, Make, NEW, OLD};
use harness::{DEADLINE, Folder, Gateway, SETTINGS, binary, request};
use openssl::{Ability, MODERN, Peer, TLS_1_0, TLS_1_2_RSA_CBC};

const EDGE: &[&str] = &["edge.ocs.test", "127.0.0.1"];
const OPENED: &str = "SIP connection with old TLS opened";
const ACCEPTED: &str = "SIP connection with old TLS accepted";

/// A folder with an authority, the gateway's certificate and an old Edge's.
fn folder(name: &str) -> (Folder, Authority) {
    let folder = Folder::new(&format!("legacy-{name}"));
    let authority = Authority::new(&folder, "ca");
    authority.issue(
        &folder,
        "gw",
        &["gw.ocs.test", "ocs.test", "127.0.0.1"],
        NEW,
    );
    authority.issue(&folder, "edge", EDGE, OLD);
    (folder, authority)
}

/// The settings with other SIP domains.
fn settings(domains: &str) -> String {
    let (head, _) = SETTINGS.split_once("[[sip.domain]]").unwrap();
    let head = head
        .replace("roots = [\"gw.crt\"]", "roots = [\"ca.crt\"]")
        .replace("stop_within = \"3s\"", "stop_within = \"1s\"");
    format!("{head}{domains}[limits]\nmessage_wait = \"1s\"\n")
}

/// A domain with old TLS at `hop`; its Edge is known by its certificate, and by `more` keys.
fn legacy(hop: impl ToString, more: &str) -> String {
    let hop = hop.to_string();
    format!(
        "[[sip.domain]]\ndomain = \"ocs.test\"\ntls = \"legacy-dangerous\"\nnext_hop = \"sip:{hop};transport=tls\"\n\
         certificate_names = [\"edge.ocs.test\"]\n{more}\n"
    )
}

/// A domain with modern TLS.
fn modern(hop: impl ToString, more: &str) -> String {
    let hop = hop.to_string();
    format!(
        "[[sip.domain]]\ndomain = \"new.test\"\nnext_hop = \"sip:{hop};transport=tls\"\n{more}\n"
    )
}

/// Has bob watch romeo over UDP from `ip`, so that the gateway dials bob's next hop with a NOTIFY.
fn subscribe(gateway: &Gateway, ip: &str, domain: &str) {
    let socket = UdpSocket::bind((ip, 0)).unwrap();
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    let subscribe = request("SUBSCRIBE", "romeo@jabber.test", &format!("s-{domain}"), "")
        .replace("bob@ocs.test", &format!("bob@{domain}"))
        .replace(
            "Content-Length",
            &format!(
                "Contact: <sip:bob@{domain}>\r\nEvent: presence\r\nAccept: application/pidf+xml\r\nExpires: 600\r\n\
                 Content-Length"
            ),
        );
    let answer = gateway.ask(&socket, &subscribe);
    assert!(answer.starts_with("SIP/2.0 20"), "{answer}");
}

fn options(branch: &str) -> String {
    request("OPTIONS", "gw.ocs.test", branch, "")
}

/// The peer gets a NOTIFY over the connection that the gateway opened, and has an OPTIONS of its own answered there.
fn converse_dialled(peer: &mut Peer) {
    peer.answer("NOTIFY sip:");
    let status = peer.ask(&options("dialled"));
    assert!(status.starts_with("SIP/2.0 200"), "{status}");
}

fn dials(name: &str, ability: Ability) {
    let (folder, _authority) = folder(name);
    let (mut peer, address) = Peer::server(&folder, ability, "edge", "127.0.0.1");
    let trusted = "trusted_addresses = [\"127.0.0.1\"]";
    let mut gateway = Gateway::start_with(&folder, &settings(&legacy(address, trusted)));
    subscribe(&gateway, "127.0.0.1", "ocs.test");
    converse_dialled(&mut peer);
    let line = gateway.wait_for(OPENED);
    assert!(line.contains(ability.negotiated), "{line}");
}

#[test]
fn a_server_with_tls_1_0_is_reached() {
    dials("dial-10", TLS_1_0);
}

#[test]
fn a_server_with_rsa_and_cbc_only_is_reached() {
    dials("dial-12", TLS_1_2_RSA_CBC);
}

/// The Edge is known by its next hop's address alone, so that only its certificate lets it speak.
fn accepts(name: &str, ability: Ability) {
    let (folder, authority) = folder(name);
    let both = ["edge.ocs.test", "new.test"];
    authority.issue(&folder, "both", &both, OLD);
    let domains = legacy("127.0.0.1:9", "") + &modern("127.0.0.2:9", "");
    let mut gateway = Gateway::start_with(&folder, &settings(&domains));
    assert!(
        gateway
            .log
            .iter()
            .any(|line| line.contains("WARN") && line.contains("DANGEROUS")),
        "{:?}",
        gateway.log
    );
    let mut peer = Peer::client(&folder, ability, Some("both"), gateway.tls);
    let status = peer.ask(&options("accepted"));
    assert!(status.starts_with("SIP/2.0 200"), "{status}");
    let line = gateway.wait_for(ACCEPTED);
    assert!(line.contains(ability.negotiated), "{line}");
    let message = |domain: &str, branch: &str| {
        request("MESSAGE", "romeo@jabber.test", branch, "hi")
            .replace("bob@ocs.test", &format!("bob@{domain}"))
    };
    let own = peer.ask(&message("ocs.test", "m1"));
    assert!(
        !own.starts_with("SIP/2.0 403"),
        "its own domain's message is taken, and fails for want of a partner: {own}"
    );
    let modern = peer.ask(&message("new.test", "m2"));
    assert!(
        modern.starts_with("SIP/2.0 403"),
        "a modern domain is not spoken for over old TLS, whatever the certificate says: {modern}"
    );
    authority.issue(&folder, "both-new", &both, NEW);
    let mut peer = Peer::client(&folder, MODERN, Some("both-new"), gateway.tls);
    let modern = peer.ask(&message("new.test", "m3"));
    assert!(!modern.starts_with("SIP/2.0 403"), "{modern}");
}

#[test]
fn a_client_with_tls_1_0_is_served() {
    accepts("accept-10", TLS_1_0);
}

#[test]
fn a_client_with_rsa_and_cbc_only_is_served() {
    accepts("accept-12", TLS_1_2_RSA_CBC);
}

#[test]
fn a_client_is_known_by_the_host_of_its_next_hop() {
    let (folder, _authority) = folder("accept-hop");
    let mut gateway = Gateway::start_with(&folder, &settings(&legacy("localhost:9", "")));
    let mut peer = Peer::client(&folder, TLS_1_0, Some("edge"), gateway.tls);
    let status = peer.ask(&options("hop"));
    assert!(status.starts_with("SIP/2.0 200"), "{status}");
    gateway.wait_for(ACCEPTED);
}

/// Windows Server 2003 may wrap its offer of TLS 1.0 so (RFC 5246 appendix E.2).
#[test]
fn an_envelope_of_ssl_2_0_is_opened() {
    let (folder, _authority) = folder("envelope");
    let gateway = Gateway::start_with(&folder, &settings(&legacy("127.0.0.1:9", "")));
    let mut hello = vec![0x80, 28, 1, 3, 1, 0, 3, 0, 0, 0, 16, 0, 0, 0x2f];
    hello.extend([7; 16]);
    let mut stream = TcpStream::connect(gateway.tls).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.write_all(&hello).unwrap();
    let mut answer = [0; 6];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(
        (&answer[..3], answer[5]),
        (&[22, 3, 1][..], 2),
        "a ServerHello in TLS 1.0"
    );
}

#[test]
fn a_server_that_does_not_prove_itself_is_refused() {
    let (folder, authority) = folder("dial-refused");
    let stranger = Authority::new(&folder, "stranger");
    stranger.issue(&folder, "foreign", EDGE, OLD);
    authority.issue(&folder, "misnamed", &["other.test"], OLD);
    let md5 = MessageDigest::md5;
    authority.issue(&folder, "md5", EDGE, Make { digest: md5, ..OLD });
    authority.issue(&folder, "short", EDGE, Make { bits: 512, ..OLD });
    for (certificate, words) in [
        (
            "foreign",
            "its certificate is refused: unable to get local issuer certificate; check tls.roots",
        ),
        (
            "misnamed",
            "its certificate is for other.test, not for 127.0.0.1",
        ),
        ("md5", "signed with MD5"),
        ("short", "has 512 bits"),
    ] {
        let (_peer, address) = Peer::server(&folder, TLS_1_0, certificate, "127.0.0.1");
        let trusted = "trusted_addresses = [\"127.0.0.1\"]";
        let mut gateway = Gateway::start_with(&folder, &settings(&legacy(address, trusted)));
        subscribe(&gateway, "127.0.0.1", "ocs.test");
        let line = gateway.wait_for("SIP connection failed");
        assert!(line.contains("WARN") && line.contains(words), "{line}");
    }
}

#[test]
fn a_client_that_does_not_prove_itself_is_refused() {
    let (folder, authority) = folder("accept-refused");
    let stranger = Authority::new(&folder, "stranger");
    stranger.issue(&folder, "foreign", EDGE, OLD);
    authority.issue(&folder, "misnamed", &["other.test"], OLD);
    let trusted = "trusted_addresses = [\"127.0.0.1\"]";
    let mut gateway = Gateway::start_with(&folder, &settings(&legacy("127.0.0.9:9", trusted)));
    // The same address is warned of once a minute.
    for (level, certificate, words) in [
        (
            "WARN",
            Some("foreign"),
            "its certificate is refused: unable to get local issuer certificate",
        ),
        (
            "DEBUG",
            Some("misnamed"),
            "its certificate is for other.test, which no domain",
        ),
        ("DEBUG", None, "peer did not return a certificate"),
    ] {
        let _peer = Peer::client(&folder, TLS_1_0, certificate, gateway.tls);
        let line = gateway.wait_for("SIP TLS handshake refused");
        assert!(line.contains(level) && line.contains(words), "{line}");
    }
    let mut peer = Peer::client(&folder, TLS_1_0, Some("edge"), gateway.tls);
    assert!(peer.ask(&options("after")).starts_with("SIP/2.0 200"));
}

#[test]
fn a_revoked_certificate_is_refused_in_both_directions() {
    let (folder, authority) = folder("revoked");
    authority.issue(&folder, "stolen", EDGE, OLD);
    authority.revoke(&folder, "list", "stolen");
    let settings = |domains: &str| {
        let crls = "roots = [\"ca.crt\"]\ncrls = [\"list.crl\"]";
        settings(domains).replace("roots = [\"ca.crt\"]", crls)
    };
    let trusted = "trusted_addresses = [\"127.0.0.1\"]";
    let (_peer, address) = Peer::server(&folder, TLS_1_0, "stolen", "127.0.0.1");
    let mut gateway = Gateway::start_with(&folder, &settings(&legacy(address, trusted)));
    subscribe(&gateway, "127.0.0.1", "ocs.test");
    let line = gateway.wait_for("SIP connection failed");
    assert!(line.contains("it was revoked by its authority"), "{line}");
    let _stolen = Peer::client(&folder, TLS_1_0, Some("stolen"), gateway.tls);
    let line = gateway.wait_for("SIP TLS handshake refused");
    assert!(line.contains("it was revoked by its authority"), "{line}");
    let mut peer = Peer::client(&folder, TLS_1_0, Some("edge"), gateway.tls);
    assert!(peer.ask(&options("other")).starts_with("SIP/2.0 200"));
}

#[test]
fn a_client_at_another_address_is_refused_in_words() {
    let (folder, _authority) = folder("unlisted");
    let trusted = "trusted_addresses = [\"127.0.0.8\"]";
    let mut gateway = Gateway::start_with(&folder, &settings(&legacy("127.0.0.9:9", trusted)));
    for (ability, words) in [
        (
            TLS_1_0,
            "speaks only old TLS (1.1 or 1.0), and its address is not listed",
        ),
        (TLS_1_2_RSA_CBC, "speaks TLS only with old cipher suites"),
    ] {
        let _peer = Peer::client(&folder, ability, Some("edge"), gateway.tls);
        let line = gateway.wait_for("SIP TLS handshake refused");
        for words in [words, "tls = \"legacy-dangerous\"", "trusted_addresses"] {
            assert!(line.contains(words), "{words} in {line}");
        }
    }
}

#[test]
fn a_modern_domain_gets_no_old_tls() {
    let (folder, authority) = folder("modern-only");
    authority.issue(&folder, "old-two", &["new.test", "127.0.0.2"], NEW);
    for (ability, words) in [
        (TLS_1_0, "this server speaks only old TLS (1.1 or 1.0)"),
        (TLS_1_2_RSA_CBC, "this server agrees to no cipher suite"),
    ] {
        let (_peer, address) = Peer::server(&folder, ability, "old-two", "127.0.0.2");
        let trusted = "trusted_addresses = [\"127.0.0.2\"]";
        let domains = legacy("127.0.0.1:9", "") + &modern(address, trusted);
        let mut gateway = Gateway::start_with(&folder, &settings(&domains));
        subscribe(&gateway, "127.0.0.2", "new.test");
        let line = gateway.wait_for("SIP connection failed");
        for words in [words, "tls = \"legacy-dangerous\""] {
            assert!(line.contains(words), "{words} in {line}");
        }
    }
}

#[test]
fn modern_peers_are_served_as_ever() {
    let (folder, authority) = folder("modern");
    authority.issue(&folder, "new", &["new.test", "127.0.0.2"], NEW);
    let (mut server, address) = Peer::server(&folder, MODERN, "new", "127.0.0.2");
    let trusted = "trusted_addresses = [\"127.0.0.2\"]";
    let domains = legacy("127.0.0.1:9", "") + &modern(address, trusted);
    let mut gateway = Gateway::start_with(&folder, &settings(&domains));
    subscribe(&gateway, "127.0.0.2", "new.test");
    converse_dialled(&mut server);
    // From the very address of the old Edge, and without a certificate, which rustls here does not ask for.
    let mut client = Peer::client(&folder, MODERN, None, gateway.tls);
    assert!(client.ask(&options("modern")).starts_with("SIP/2.0 200"));
    gateway.stop();
    let old = gateway
        .log
        .iter()
        .find(|line| line.contains(OPENED) || line.contains(ACCEPTED));
    assert_eq!(old, None);
}

#[test]
fn our_own_certificate_must_be_rsa() {
    let folder = Folder::new("legacy-own");
    Authority::new(&folder, "ca");
    folder.certificate("gw", &["gw.ocs.test"]);
    let nowhere = SocketAddr::from(([127, 0, 0, 1], 9));
    let file = folder.write("gateway.toml", &settings(&legacy(nowhere, "")));
    let check = binary()
        .args(["check-config", "--config"])
        .arg(&file)
        .output()
        .unwrap();
    assert_eq!(check.status.code(), Some(2));
    let said = String::from_utf8_lossy(&check.stderr);
    assert!(
        said.contains("gw.key is no RSA key: old systems know no other"),
        "{said}"
    );
}
