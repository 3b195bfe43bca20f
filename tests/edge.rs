//! The real binary and an Edge: mutual TLS, and connections that either side opened and both use.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::panic,
    reason = "a test fails by panicking"
)]

#[path = "process/harness.rs"]
#[allow(dead_code, reason = "each test file uses its own part")]
mod harness;
#[path = "process/tls_peer.rs"]
#[allow(dead_code, reason = "each test file uses its own part")]
mod tls_peer;

use std::io::{Read, Write};
use std::net::TcpListener;

use harness::{Folder, Gateway, SETTINGS};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tls_peer::{TlsPeer, shown};

/// SIP on one connection.
struct Talk<S> {
    stream: S,
    read: Vec<u8>,
}

impl<S: Read + Write> Talk<S> {
    fn new(stream: S) -> Self {
        Self {
            stream,
            read: Vec::new(),
        }
    }

    fn say(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).unwrap();
        self.stream.flush().unwrap();
    }

    fn more(&mut self) {
        let mut buffer = [0; 4096];
        let count = self
            .stream
            .read(&mut buffer)
            .expect("the gateway says something");
        assert!(count > 0, "the gateway closed the connection");
        self.read.extend_from_slice(&buffer[..count]);
    }

    /// The next message, without its body, which is read too.
    fn hear(&mut self) -> String {
        loop {
            let text = String::from_utf8_lossy(&self.read).into_owned();
            if let Some(end) = text.find("\r\n\r\n") {
                let head = text[..end + 2].to_owned();
                let length: usize = field(&head, "Content-Length").parse().unwrap();
                if text.len() >= end + 4 + length {
                    self.read.drain(..end + 4 + length);
                    return head;
                }
            }
            self.more();
        }
    }

    /// Exactly these octets come next.
    fn hear_octets(&mut self, expected: &str) {
        while self.read.len() < expected.len() {
            self.more();
        }
        let heard: Vec<u8> = self.read.drain(..expected.len()).collect();
        assert_eq!(String::from_utf8_lossy(&heard), expected);
    }
}

fn field<'a>(head: &'a str, name: &str) -> &'a str {
    let start = format!("{}:", name.to_lowercase());
    let line = head
        .lines()
        .find(|line| line.to_lowercase().starts_with(&start));
    line.unwrap_or_else(|| panic!("no {name} in {head}"))[start.len()..].trim()
}

fn request(method: &str, uri: &str, to: &str, cseq: u32, more: &str) -> String {
    format!(
        "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/TLS 127.0.0.1:50001;alias\r\nVia: SIP/2.0/tcp 10.0.0.9:49200\r\n\
         Max-Forwards: 60\r\nFrom: <sip:bob@ocs.test>;tag=t1;epid=0a1b\r\nTo: {to}\r\nCall-ID: edge-1\r\n\
         CSeq: {cseq} {method}\r\n{more}Content-Length: 0\r\n\r\n"
    )
}

const ASKS: &str = "Contact: <sip:bob@ocs.test;opaque=user:epid:Qq-7;gruu>\r\nEvent: presence\r\n\
    Accept: application/pidf+xml\r\nExpires: 3600\r\n";

fn accepted(request: &str) -> String {
    let echoed: Vec<String> = ["Via", "From", "To", "Call-ID", "CSeq"]
        .iter()
        .map(|name| format!("{name}: {}\r\n", field(request, name)))
        .collect();
    format!(
        "SIP/2.0 200 OK\r\n{}Content-Length: 0\r\n\r\n",
        echoed.concat()
    )
}

#[test]
fn either_side_uses_the_connections_of_both() {
    let folder = Folder::new("edge");
    folder.certificate("gw", &["gw.ocs.test", "ocs.test"]);
    folder.certificate("edge", &["localhost"]);
    let edge = TlsPeer::new(&folder, "edge");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let settings = SETTINGS
        .replace("roots = [\"gw.crt\"]", "roots = [\"gw.crt\", \"edge.crt\"]")
        .replace(
            "sip:127.0.0.1:9",
            &format!("sip:localhost:{port};transport=tls"),
        )
        .replace(
            "trusted_addresses = [\"127.0.0.1\"]",
            "certificate_names = [\"localhost\"]\ndialect = \"ocs2007r2\"",
        );
    let gateway = Gateway::start_with(&folder, &settings);

    // The Edge dials: the offer of compression first, keep-alives in between, then a watcher behind a proxy.
    let mut theirs = Talk::new(edge.dial(gateway.tls));
    let offer = request(
        "NEGOTIATE",
        "sip:127.0.0.1:5061",
        "<sip:gw.ocs.test>",
        1,
        "Compression: LZ77-8K\r\n",
    );
    theirs.say(&offer.replace("Max-Forwards: 60", "Max-Forwards: 0"));
    assert!(theirs.hear().starts_with("SIP/2.0 488 "));
    theirs.say("\r\n\r\n");
    theirs.hear_octets("\r\n");
    let romeo = "sip:romeo@jabber.test";
    theirs.say(&format!(
        "\r\n{}",
        request("SUBSCRIBE", romeo, &format!("<{romeo}>"), 2, ASKS)
    ));
    let answer = theirs.hear();
    assert!(answer.starts_with("SIP/2.0 200 "), "{answer}");
    let to = field(&answer, "To").to_owned();

    // Its NOTIFY comes over the same connection, which it has offered and whose certificate proves the domain. That dies before the answer.
    let first = theirs.hear();
    assert!(
        first.starts_with("NOTIFY sip:bob@ocs.test;opaque=user:epid:Qq-7;gruu SIP/2.0"),
        "{first}"
    );
    drop(theirs);

    // So the gateway dials, and shows its certificate, which the Edge has asked for.
    let mut ours = Talk::new(edge.accept(&listener));
    let again = ours.hear();
    assert_eq!(field(&again, "CSeq"), field(&first, "CSeq"));
    let gateways = CertificateDer::from_pem_file(folder.0.join("gw.crt")).unwrap();
    assert_eq!(shown(&ours.stream.conn), Some(gateways));
    ours.say(&accepted(&again));

    // And the Edge asks over that connection: the certificate that it showed there speaks for its users.
    ours.say("\r\n\r\n");
    ours.hear_octets("\r\n");
    ours.say(
        &request(
            "OPTIONS",
            "sip:127.0.0.1:5061;transport=tls",
            "<sip:127.0.0.1>",
            1,
            "",
        )
        .replace("edge-1", "edge-2"),
    );
    let answer = ours.hear();
    assert!(answer.starts_with("SIP/2.0 200 "), "{answer}");
    assert!(field(&answer, "Allow").contains("OPTIONS"));
    ours.say(&request("SUBSCRIBE", romeo, &to, 3, ASKS));
    let answer = ours.hear();
    assert!(answer.starts_with("SIP/2.0 200 "), "{answer}");
    assert!(ours.hear().starts_with("NOTIFY "));
}

/// A domain whose server shows some certificate.
struct Server {
    domain: &'static str,
    /// More keys of its `[[sip.domain]]`.
    keys: &'static str,
    certificate: &'static [&'static str],
    is_right: bool,
}

const SERVERS: [Server; 7] = [
    Server {
        domain: "hop.test",
        keys: "",
        certificate: &["localhost"],
        is_right: true,
    },
    Server {
        domain: "own.test",
        keys: "",
        certificate: &["other.test", "own.test"],
        is_right: true,
    },
    Server {
        domain: "listed.test",
        keys: "certificate_names = [\"edge.hoster.test\"]",
        certificate: &["edge.hoster.test"],
        is_right: true,
    },
    Server {
        domain: "uri.test",
        keys: "",
        certificate: &["sip:uri.test", "x.test"],
        is_right: true,
    },
    Server {
        domain: "other.test",
        keys: "",
        certificate: &["sip:third.test", "other.test", "localhost"],
        is_right: false,
    },
    Server {
        domain: "a.wild.test",
        keys: "",
        certificate: &["*.wild.test"],
        is_right: false,
    },
    Server {
        domain: "wrong.test",
        keys: "certificate_names = [\"edge.hoster.test\"]",
        certificate: &["hoster.test"],
        is_right: false,
    },
];

/// RFC 5922 §7.1 to §7.3, and what the administrator has listed.
#[test]
fn a_server_that_is_dialled_must_show_the_right_name() {
    let folder = Folder::new("names");
    folder.certificate("gw", &["gw.ocs.test", "ocs.test"]);
    let mut settings = SETTINGS.to_owned();
    let mut roots = vec!["\"gw.crt\"".to_owned()];
    let listeners = SERVERS.map(|server| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        folder.certificate(server.domain, server.certificate);
        roots.push(format!("\"{}.crt\"", server.domain));
        settings.push_str(&format!(
            "[[sip.domain]]\ndomain = \"{}\"\nnext_hop = \"sip:localhost:{port};transport=tls\"\n\
             trusted_addresses = [\"127.0.0.1\"]\n{}\n",
            server.domain, server.keys
        ));
        listener
    });
    let settings = settings.replace("\"gw.crt\"]", &format!("{}]", roots.join(", ")));
    let gateway = Gateway::start_with(&folder, &settings);
    for (server, listener) in SERVERS.iter().zip(&listeners) {
        let domain = server.domain;
        let romeo = "sip:romeo@jabber.test";
        let watch = request("SUBSCRIBE", romeo, &format!("<{romeo}>"), 1, ASKS)
            .replace("ocs.test", domain)
            .replace("SIP/2.0/TLS", "SIP/2.0/UDP")
            .replace("edge-1", domain);
        let socket = harness::peer();
        let port = socket.local_addr().unwrap().port().to_string();
        socket
            .send_to(watch.replace("50001", &port).as_bytes(), gateway.udp)
            .unwrap();
        let answer = harness::receive(&socket);
        assert!(answer.starts_with("SIP/2.0 200 "), "{domain}: {answer}");
        let mut stream = TlsPeer::new(&folder, domain).accept(listener);
        let mut first = [0; 7];
        let heard = stream.read_exact(&mut first).is_ok() && &first == b"NOTIFY ";
        assert_eq!(heard, server.is_right, "{domain}");
    }
}

#[test]
fn check_config_says_what_partners_will_not_like_about_the_certificate() {
    let folder = Folder::new("certificate");
    folder.certificate("gw", &["other.test"]);
    let file = folder.write("gateway.toml", SETTINGS);
    let output = harness::binary()
        .args(["check-config", "--config"])
        .arg(&file)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    for words in [
        "warning: ",
        "does not name gateway.host, gw.ocs.test (it names other.test)",
        "no RSA key",
    ] {
        assert!(said.contains(words), "{words} in {said}");
    }
    folder.certificate("other", &["gw.ocs.test"]);
    let text = SETTINGS.replace("key = \"gw.key\"", "key = \"other.key\"");
    folder.write("gateway.toml", &text);
    let output = harness::binary()
        .args(["check-config", "--config"])
        .arg(&file)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(
        said.contains("check that tls.key belongs to tls.certificate"),
        "{said}"
    );
}

#[test]
fn a_hang_up_reads_the_certificate_anew_and_cuts_nobody_off() {
    let folder = Folder::new("reload");
    folder.certificate("gw", &["gw.ocs.test", "ocs.test"]);
    let mut gateway = Gateway::start_with(&folder, SETTINGS);
    let mut asked = 0;
    let mut now_shown = |gateway: &Gateway| {
        asked += 1;
        let mut talk = Talk::new(TlsPeer::new(&folder, "gw").dial(gateway.tls));
        talk.say(&ask(asked));
        assert!(talk.hear().starts_with("SIP/2.0 200 "));
        let certificate = shown(&talk.stream.conn).unwrap();
        (talk, certificate)
    };
    let own = || CertificateDer::from_pem_file(folder.0.join("gw.crt")).unwrap();
    let (mut old, first) = now_shown(&gateway);
    assert_eq!(first, own());
    let status = String::from_utf8(gateway.status().stdout).unwrap();
    let days = status.split("\"certificate_days_left\": ").nth(1).unwrap();
    let days: u64 = days.split(',').next().unwrap().parse().unwrap();
    assert!(days > 365, "the certificate holds for long: {status}");

    folder.certificate("gw", &["gw.ocs.test", "ocs.test"]);
    harness::signal(gateway.id(), "HUP");
    gateway.wait_for("TLS files read anew");
    let (_, second) = now_shown(&gateway);
    assert_eq!(second, own());
    assert_ne!(second, first);

    let good = std::fs::read_to_string(folder.0.join("gw.key")).unwrap();
    folder.write("gw.key", "no key at all");
    harness::signal(gateway.id(), "HUP");
    let said = gateway.wait_for("those read before stay in use");
    assert!(said.contains("ERROR") && said.contains("gw.key"), "{said}");
    folder.write("gw.key", &good);
    assert_eq!(now_shown(&gateway).1, second);
    old.say(&ask(9));
    assert!(old.hear().starts_with("SIP/2.0 200 "));
    assert!(gateway.stop().success());
}

fn ask(cseq: u32) -> String {
    let us = "sip:gw.ocs.test";
    request("OPTIONS", us, &format!("<{us}>"), cseq, "").replace("edge-1", &format!("asked-{cseq}"))
}
