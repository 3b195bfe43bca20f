//! How XMPP servers and the gateway prove themselves to each other, over real sockets and TLS.

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

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

use harness::{DEADLINE, Folder, Gateway, SETTINGS, peer, request};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, StreamOwned,
};

/// A gateway whose partner is `jabber.test`, with these keys in its rule.
fn gateway(folder: &Folder, keys: &str) -> Gateway {
    folder.certificate("jabber", &["jabber.test"]);
    folder.certificate("stranger", &["jabber.test"]);
    let settings = SETTINGS
        .replace(
            "roots = [\"gw.crt\"]",
            "roots = [\"gw.crt\", \"jabber.crt\"]",
        )
        .replace(
            "domain = \"*\"\naddress = \"127.0.0.1:9\"",
            &format!("domain = \"jabber.test\"\n{keys}"),
        );
    Gateway::start_with(folder, &settings)
}

/// A TLS connection that speaks XMPP.
struct Peer<S: Read + Write> {
    stream: S,
    heard: String,
}

impl<S: Read + Write> Peer<S> {
    fn new(stream: S) -> Self {
        Self {
            stream,
            heard: String::new(),
        }
    }

    fn say(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).unwrap();
        self.stream.flush().unwrap();
    }

    /// Everything up to and with these words.
    fn hear(&mut self, words: &str) -> String {
        let mut buffer = [0; 4096];
        loop {
            if let Some(place) = self.heard.find(words) {
                let rest = self.heard.split_off(place + words.len());
                return std::mem::replace(&mut self.heard, rest);
            }
            let count = self.stream.read(&mut buffer).unwrap();
            assert!(count > 0, "the stream ends without {words}: {}", self.heard);
            self.heard
                .push_str(std::str::from_utf8(&buffer[..count]).unwrap());
        }
    }
}

fn chain(folder: &Folder, name: &str) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
    let file = |ending: &str| folder.0.join(format!("{name}.{ending}"));
    (
        vec![CertificateDer::from_pem_file(file("crt")).unwrap()],
        PrivateKeyDer::from_pem_file(file("key")).unwrap(),
    )
}

fn trusted(folder: &Folder) -> Arc<RootCertStore> {
    let mut roots = RootCertStore::empty();
    let gateway = CertificateDer::from_pem_file(folder.0.join("gw.crt")).unwrap();
    roots.add(gateway).unwrap();
    Arc::new(roots)
}

fn patient(stream: TcpStream) -> TcpStream {
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream
}

/// Dials the gateway with TLS at once.
fn dial(
    folder: &Folder,
    name: &str,
    address: SocketAddr,
    alpn: &[&str],
) -> Peer<StreamOwned<ClientConnection, TcpStream>> {
    let (chain, key) = chain(folder, name);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(trusted(folder))
        .with_client_auth_cert(chain, key)
        .unwrap();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    let server = ServerName::try_from("ocs.test").unwrap();
    let tls = ClientConnection::new(Arc::new(config), server).unwrap();
    let stream = patient(TcpStream::connect(address).unwrap());
    Peer::new(StreamOwned::new(tls, stream))
}

/// Takes a connection of the gateway's that begins with TLS.
fn accept(
    folder: &Folder,
    listener: &TcpListener,
) -> Peer<StreamOwned<ServerConnection, TcpStream>> {
    let (chain, key) = chain(folder, "jabber");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let clients = WebPkiClientVerifier::builder_with_provider(trusted(folder), provider.clone());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(clients.build().unwrap())
        .with_single_cert(chain, key)
        .unwrap();
    config.alpn_protocols = vec![b"xmpp-server".to_vec()];
    let tls = ServerConnection::new(Arc::new(config)).unwrap();
    let (stream, _) = listener.accept().unwrap();
    Peer::new(StreamOwned::new(tls, patient(stream)))
}

fn header(id: &str) -> String {
    format!(
        "<?xml version='1.0'?><stream:stream xmlns='jabber:server' xmlns:db='jabber:server:dialback' \
         xmlns:stream='http://etherx.jabber.org/streams' from='jabber.test' to='ocs.test'{id} version='1.0'>"
    )
}

const EXTERNAL: &str = "<mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>EXTERNAL</mechanism></mechanisms>";
const SUCCESS: &str = "<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>";

#[test]
fn the_gateway_dials_tls_at_once_and_proves_itself_by_certificate() {
    let folder = Folder::new("trust-dial");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let keys = format!("external = \"required\"\naddress = \"{address}\"\ndirect_tls = true");
    let mut gateway = gateway(&folder, &keys);
    let bob = peer();
    bob.send_to(
        request("MESSAGE", "romeo@jabber.test", "m1", "Hello").as_bytes(),
        gateway.udp,
    )
    .unwrap();

    let mut server = accept(&folder, &listener);
    server.hear("xml:lang='en'>");
    let tls = &server.stream.conn;
    assert_eq!(tls.alpn_protocol(), Some(&b"xmpp-server"[..]));
    assert_eq!(tls.server_name(), Some("jabber.test"));
    server.say(&format!(
        "{}<stream:features>{EXTERNAL}</stream:features>",
        header(" id='s1'")
    ));
    let auth = server.hear("</auth>");
    assert!(
        auth.contains("mechanism='EXTERNAL'>b2NzLnRlc3Q=<"),
        "{auth}"
    );
    server.say(SUCCESS);
    server.hear("xml:lang='en'>");
    server.say(&format!("{}<stream:features/>", header(" id='s2'")));
    let message = server.hear("</message>");
    assert!(message.contains("<body>Hello</body>"), "{message}");
    assert!(!message.contains("db:result"), "{message}");
    gateway.wait_for("XMPP stream to the partner is ready");
}

#[test]
fn a_server_that_stumbles_over_the_certificate_gets_dialback() {
    let folder = Folder::new("trust-stumble");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let keys = format!("address = \"{address}\"\ndirect_tls = true");
    let gateway = gateway(&folder, &keys);
    let bob = peer();
    bob.send_to(
        request("MESSAGE", "romeo@jabber.test", "m2", "Hello").as_bytes(),
        gateway.udp,
    )
    .unwrap();
    let features = format!(
        "{}<stream:features>{EXTERNAL}</stream:features>",
        header(" id='s1'")
    );
    let mut first = accept(&folder, &listener);
    first.hear("xml:lang='en'>");
    first.say(&features);
    first.hear("</auth>");
    drop(first);
    let mut second = accept(&folder, &listener);
    second.hear("xml:lang='en'>");
    second.say(&features);
    second.hear("</db:result>");
    second.say("<db:result from='jabber.test' to='ocs.test' type='valid'/>");
    second.hear("<body>Hello</body>");
}

#[test]
fn a_partner_may_begin_with_tls_and_prove_itself_by_certificate() {
    let folder = Folder::new("trust-accept");
    let mut gateway = gateway(&folder, "external = \"required\"");
    for alpn in [&[][..], &["xmpp-server"], &["h2", "xmpp-server"]] {
        let mut client = dial(&folder, "jabber", gateway.xmpp, alpn);
        client.say(&header(""));
        let features = client.hear("</stream:features>");
        assert!(features.contains(EXTERNAL), "{features}");
        assert!(!features.contains("starttls"), "{features}");
        client.say("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'>=</auth>");
        client.hear(SUCCESS);
        let proved = gateway.wait_for("has proved its domain");
        assert!(proved.contains("proof=certificate"), "{proved}");
    }
}

#[test]
fn a_certificate_that_nobody_vouches_for_proves_nothing() {
    let folder = Folder::new("trust-stranger");
    let mut gateway = gateway(&folder, "external = \"required\"");
    let mut client = dial(&folder, "stranger", gateway.xmpp, &["xmpp-server"]);
    client.say(&header(""));
    let features = client.hear("</stream:features>");
    assert!(!features.contains(EXTERNAL), "{features}");
    client.say("<db:result from='jabber.test' to='ocs.test'>key</db:result>");
    let answer = client.hear("</db:result>");
    assert!(answer.contains("type='error'"), "{answer}");
    let line = gateway.wait_for("its certificate is not valid for it");
    for words in ["WARN", "jabber.test", "tls.roots"] {
        assert!(line.contains(words), "{words} in {line}");
    }
    // What it says then is no second trouble.
    client.say("<stream:error><not-authorized xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error></stream:stream>");
    let line = gateway.wait_for("not-authorized");
    assert!(line.contains("DEBUG"), "{line}");
}

/// The gateway's features for a partner whose stream may carry both directions.
const BIDI_FEATURE: &str = "<bidi xmlns='urn:xmpp:features:bidi'/>";
const BIDI: &str = "<bidi xmlns='urn:xmpp:bidi'/>";

/// The last fence that was heard, answered.
fn pong(heard: &str) -> String {
    let ping = heard.rsplit("<iq").next().unwrap();
    let (_, id) = ping.split_once(" id='").expect(ping);
    let id = id.split('\'').next().unwrap();
    format!("<iq type='result' id='{id}' from='jabber.test' to='ocs.test'/>")
}

#[test]
fn a_partner_that_cannot_be_dialled_is_written_to_on_its_own_stream() {
    let folder = Folder::new("trust-bidi-accept");
    let gateway = gateway(&folder, "bidirectional = true\naddress = \"127.0.0.1:9\"");
    let mut client = dial(&folder, "jabber", gateway.xmpp, &["xmpp-server"]);
    client.say(&header(""));
    assert!(client.hear("</stream:features>").contains(BIDI_FEATURE));
    client.say(BIDI);
    client.say("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'>=</auth>");
    client.hear(SUCCESS);
    client.say(&header(""));
    client.hear("</stream:features>");

    let bob = peer();
    let message = request("MESSAGE", "romeo@jabber.test", "m3", "Hello");
    bob.send_to(message.as_bytes(), gateway.udp).unwrap();
    client.hear("<body>Hello</body>");
    let fence = client.hear("</iq>");
    client.say(&pong(&fence));
    let answer = harness::receive(&bob);
    assert!(answer.starts_with("SIP/2.0 200 "), "{answer}");

    // When it is gone, there is nobody at the address of the rule.
    drop(client);
    let message = request("MESSAGE", "romeo@jabber.test", "m4", "Are you there?");
    bob.send_to(message.as_bytes(), gateway.udp).unwrap();
    let mut gateway = gateway;
    gateway.wait_for("does not take the connection at 127.0.0.1:9");
}

#[test]
fn a_partner_that_cannot_dial_answers_on_the_gateways_stream() {
    let folder = Folder::new("trust-bidi-dial");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let keys = format!("bidirectional = true\naddress = \"{address}\"\ndirect_tls = true");
    let gateway = gateway(&folder, &keys);
    let bob = peer();
    let message = request("MESSAGE", "romeo@jabber.test", "m5", "Hello");
    bob.send_to(message.as_bytes(), gateway.udp).unwrap();

    let mut server = accept(&folder, &listener);
    server.hear("xml:lang='en'>");
    server.say(&format!(
        "{}<stream:features>{EXTERNAL}{BIDI_FEATURE}</stream:features>",
        header(" id='s1'")
    ));
    let heard = server.hear("</auth>");
    assert!(heard.starts_with(BIDI), "{heard}");
    server.say(SUCCESS);
    server.hear("xml:lang='en'>");
    server.say(&format!(
        "{}<stream:features><sm xmlns='urn:xmpp:sm:3'/></stream:features>",
        header(" id='s2'")
    ));
    server.hear("<enable xmlns='urn:xmpp:sm:3'/>");
    server.say("<enabled xmlns='urn:xmpp:sm:3'/>");
    server.hear("<body>Hello</body>");
    let fence = server.hear("</iq>");
    server.say(&pong(&fence));
    server.say("<r xmlns='urn:xmpp:sm:3'/>");
    let answer = harness::receive(&bob);
    assert!(answer.starts_with("SIP/2.0 200 "), "{answer}");
    server.hear("<a xmlns='urn:xmpp:sm:3' h='1'/>");
}

/// A ClientHello that ends with TLS 1.`minor`, and offers suites that this version has.
fn old_hello(minor: u8) -> Vec<u8> {
    let mut hello = vec![3, minor + 1];
    hello.extend([7; 32]);
    // No session; two suites; no compression.
    hello.extend([0, 0, 4, 0xc0, 0x13, 0x00, 0x2f, 1, 0]);
    let length = u8::try_from(hello.len()).unwrap();
    let mut record = vec![22, 3, 1, 0, length + 4, 1, 0, 0, length];
    record.extend(hello);
    record
}

/// RFC 8996: neither TLS 1.0 nor 1.1, on XMPP and on SIP.
#[test]
fn old_versions_of_tls_are_refused() {
    const FATAL_ALERT: [u8; 6] = [21, 3, 3, 0, 2, 2];
    let folder = Folder::new("trust-old-tls");
    let gateway = gateway(&folder, "");
    for door in [gateway.xmpp, gateway.tls] {
        for minor in [0, 1] {
            let mut stream = patient(TcpStream::connect(door).unwrap());
            stream.write_all(&old_hello(minor)).unwrap();
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).unwrap();
            let (alert, _) = answer.split_at(FATAL_ALERT.len());
            assert_eq!(alert, FATAL_ALERT, "TLS 1.{minor} at {door}");
            assert_eq!(answer.len(), FATAL_ALERT.len() + 1, "and nothing else");
        }
    }
}
