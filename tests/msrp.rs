//! The real binary between an XMPP server and a SIP user who speaks MSRP.

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
#[path = "process/msrp_attacks.rs"]
mod msrp_attacks;
#[path = "process/msrp_line.rs"]
mod msrp_line;
#[path = "process/sip_peer.rs"]
#[allow(dead_code, reason = "each test file uses its own part")]
mod sip_peer;
#[path = "process/tls_peer.rs"]
#[allow(dead_code, reason = "each test file uses its own part")]
mod tls_peer;
#[path = "process/xml_pieces.rs"]
#[allow(dead_code, reason = "each test file uses its own part")]
mod xml_pieces;
#[path = "process/xmpp_server.rs"]
#[allow(dead_code, reason = "each test file uses its own part")]
mod xmpp_server;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

use harness::{Folder, Gateway, SETTINGS};
use msrp_line::Line;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use sha2::{Digest, Sha256};
use sip_peer::{Heard, SipPeer};
use tls_peer::{TlsPeer, patient};
use xml_pieces::attribute;
use xmpp_server::XmppServer;

const ROMEO: &str = "romeo@jabber.test/balcony";

/// The gateway between its two partners.
struct Stage {
    gateway: Gateway,
    xmpp: XmppServer,
    sip: SipPeer,
    folder: Folder,
}

impl Stage {
    /// With these words more for the SIP domain's behaviour.
    fn new(name: &str, behaviour: &str) -> Self {
        let folder = Folder::new(name);
        folder.certificate("gw", &["gw.ocs.test", "ocs.test"]);
        let xmpp = XmppServer::start();
        let mut sip = SipPeer::start();
        let settings = SETTINGS
            .replace(
                "\"127.0.0.1:9\"\n[sip]",
                &format!("\"{}\"\ntls = \"off\"\n[sip]", xmpp.address),
            )
            .replace(
                "sip:127.0.0.1:9",
                &format!("sip:{};transport=tcp", sip.address),
            );
        let settings = format!(
            "{settings}dialect = \"simple\"\n[sip.domain.behaviour]\n{behaviour}\n\
             [msrp]\ntcp = [\"127.0.0.1:0\"]\ntls = [\"127.0.0.1:0\"]\nhost = \"127.0.0.1\"\nnetworks = [\"127.0.0.1\"]\n"
        );
        let gateway = Gateway::start_with(&folder, &settings);
        xmpp.dial(gateway.xmpp);
        sip.dial(gateway.tcp);
        Self {
            gateway,
            xmpp,
            sip,
            folder,
        }
    }

    /// Bob calls with this description; the gateway's answer.
    fn call(&mut self, call: &str, description: &str) -> Heard {
        let to = "<sip:romeo@jabber.test>";
        let content = "Content-Type: application/sdp\r\n";
        self.sip.ask("INVITE", call, 1, to, content, description);
        let answer = self.sip.hear_final();
        assert!(answer.text.starts_with("SIP/2.0 200 "), "{}", answer.text);
        let to = answer.field("To").to_owned();
        self.sip.ask("ACK", call, 1, &to, "", "");
        answer
    }

    /// Bob calls and connects in plain text; the line is bound.
    fn plain_line(&mut self, call: &str) -> Line<TcpStream> {
        let ours = format!("msrp://127.0.0.1:9/{call};tcp");
        let answer = self.call(call, &offer("TCP/MSRP", &ours, "active", ""));
        assert_eq!(answer.attribute("setup"), "passive");
        let theirs = answer.attribute("path");
        let stream = TcpStream::connect(place(theirs)).unwrap();
        let mut line = Line::new(patient(stream), &ours, theirs);
        line.bind();
        line
    }

    /// Romeo writes to bob.
    fn write(&self, id: &str, body: &str, more: &str) {
        self.xmpp.say(&format!(
            "<message type='chat' from='{ROMEO}' to='bob@ocs.test' id='{id}'><body>{body}</body>{more}</message>"
        ));
    }

    /// The gateway offers bob a session.
    fn hear_offer(&mut self) -> Heard {
        self.sip.hear("INVITE ")
    }
}

/// A session description.
fn offer(protocol: &str, path: &str, setup: &str, more: &str) -> String {
    let port = place(path).port();
    format!(
        "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
         m=message {port} {protocol} *\r\na=accept-types:text/plain\r\na=path:{path}\r\na=setup:{setup}\r\n{more}"
    )
}

/// Where an MSRP path leads.
fn place(path: &str) -> SocketAddr {
    let (_, rest) = path.split_once("://").unwrap();
    rest.split('/').next().unwrap().parse().unwrap()
}

/// The value of `a=fingerprint` for the certificate of that name.
fn fingerprint(folder: &Folder, name: &str) -> String {
    let certificate = CertificateDer::from_pem_file(folder.0.join(format!("{name}.crt"))).unwrap();
    let octets: Vec<String> = Sha256::digest(&certificate)
        .iter()
        .map(|octet| format!("{octet:02X}"))
        .collect();
    format!("SHA-256 {}", octets.join(":"))
}

/// Takes the gateway's next message over MSRP.
fn take<S: Read + Write>(line: &mut Line<S>, body: &str) -> msrp_line::Heard {
    let heard = line.hear_text();
    assert_eq!(heard.body, body, "{heard:?}");
    assert_eq!(heard.flag, '$', "{heard:?}");
    line.answer(&heard, "200 OK");
    heard
}

#[test]
fn a_caller_and_a_user_of_xmpp_write_to_each_other() {
    let mut stage = Stage::new("msrp-caller", "");
    let mut line = stage.plain_line("call-1");

    assert!(
        line.send("msg-1", "1-5/5", "", "hello", '$')
            .starts_with("200")
    );
    let heard = stage.xmpp.hear("<message");
    assert!(heard.contains("<body>hello</body>"), "{heard}");
    assert!(
        attribute(&heard, "from").starts_with("bob@ocs.test"),
        "{heard}"
    );

    // In parts, which may come in any order of transactions but this one.
    assert!(
        line.send("msg-2", "1-6/11", "", "hello ", '+')
            .starts_with("200")
    );
    assert!(
        line.send("msg-2", "7-11/11", "", "world", '$')
            .starts_with("200")
    );
    let heard = stage.xmpp.hear("<message");
    assert!(heard.contains("<body>hello world</body>"), "{heard}");

    // What is not taken, each with the status that says why; the session goes on.
    let answer = line.send("msg-3", "1-5/900000", "", "12345", '+');
    assert!(answer.starts_with("413"), "{answer}");
    let png = "Message-ID: msg-4\r\nByte-Range: 1-3/3\r\nContent-Type: image/png\r\n";
    let transaction = line.request("SEND", png, Some("PNG"), '$');
    let answer = line.hear_answer(&transaction);
    assert!(answer.starts_with("415"), "{answer}");

    // Romeo answers in the same session.
    stage.write("r1", "read me", "");
    take(&mut line, "read me");
    assert!(stage.gateway.is_running());
}

#[test]
fn receipts_cross_both_ways() {
    let mut stage = Stage::new("msrp-receipts", "");
    let mut line = stage.plain_line("call-1");

    // Romeo wants to know that it arrived.
    stage.write("r1", "read me", "<request xmlns='urn:xmpp:receipts'/>");
    let heard = take(&mut line, "read me");
    assert_eq!(heard.field("Success-Report"), "yes");
    let id = heard.field("Message-ID");
    let report = format!("Message-ID: {id}\r\nByte-Range: 1-7/7\r\nStatus: 000 200 OK\r\n");
    line.request("REPORT", &report, None, '$');
    let receipt = stage.xmpp.hear("urn:xmpp:receipts");
    assert_eq!(attribute(&receipt, "to"), ROMEO);
    let (_, received) = receipt.split_once("<received").unwrap();
    assert_eq!(attribute(received, "id"), "r1");

    // And so does bob.
    let answer = line.send("msg-5", "1-2/2", "Success-Report: yes\r\n", "ok", '$');
    assert!(answer.starts_with("200"), "{answer}");
    let heard = stage.xmpp.hear("<body>ok</body>");
    assert!(heard.contains("urn:xmpp:receipts"), "{heard}");
    let id = attribute(&heard, "id");
    stage.xmpp.say(&format!(
        "<message from='{ROMEO}' to='bob@ocs.test' id='ack1'><received xmlns='urn:xmpp:receipts' id='{id}'/></message>"
    ));
    let report = line.hear();
    assert_eq!(report.what, "REPORT", "{report:?}");
    assert_eq!(report.field("Message-ID"), "msg-5");
    assert!(report.field("Status").starts_with("000 200"), "{report:?}");
}

#[test]
fn a_stranger_finds_no_session() {
    let mut stage = Stage::new("msrp-stranger", "");
    let mut line = stage.plain_line("call-1");
    let at = stage.gateway.address("listening for MSRP over TCP");
    let stream = patient(TcpStream::connect(at).unwrap());
    let mut stranger = Line::new(
        stream,
        "msrp://127.0.0.1:9/stranger;tcp",
        &format!("msrp://{at}/guessed;tcp"),
    );
    let answer = stranger.send("msg-1", "1-2/2", "", "hi", '$');
    assert!(answer.starts_with("481"), "{answer}");
    assert!(
        line.send("msg-1", "1-5/5", "", "hello", '$')
            .starts_with("200")
    );
    let heard = stage.xmpp.hear("<message");
    assert!(heard.contains("<body>hello</body>"), "{heard}");
}

#[test]
fn a_user_of_xmpp_opens_a_session() {
    let mut stage = Stage::new("msrp-offer", "im = \"session\"");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    stage.write("w1", "first line", "");
    let mut invite = stage.hear_offer();
    assert_eq!(invite.attribute("setup"), "actpass");
    let theirs = invite.attribute("path").to_owned();
    let ours = format!("msrp://{}/bob1;tcp", listener.local_addr().unwrap());
    invite.answer(
        "200 OK",
        stage.sip.address,
        &offer("TCP/MSRP", &ours, "passive", ""),
    );
    stage.sip.hear("ACK ");
    let (stream, _) = listener.accept().unwrap();
    let mut line = Line::new(patient(stream), &ours, &theirs);
    let heard = take(&mut line, "first line");
    assert_eq!(heard.field("To-Path"), ours);
    assert_eq!(heard.field("From-Path"), theirs);
    // The next one goes the same way.
    stage.write("w2", "second line", "");
    take(&mut line, "second line");
}

#[test]
fn a_peer_that_connects_is_waited_for() {
    let mut stage = Stage::new("msrp-active", "im = \"session\"");
    stage.write("w1", "first line", "");
    let mut invite = stage.hear_offer();
    let theirs = invite.attribute("path").to_owned();
    let ours = "msrp://127.0.0.1:9/bob2;tcp";
    invite.answer(
        "200 OK",
        stage.sip.address,
        &offer("TCP/MSRP", ours, "active", ""),
    );
    stage.sip.hear("ACK ");
    let stream = TcpStream::connect(place(&theirs)).unwrap();
    let mut line = Line::new(patient(stream), ours, &theirs);
    line.bind();
    take(&mut line, "first line");
}

#[test]
fn a_peer_without_sessions_gets_page_messages() {
    let mut stage = Stage::new("msrp-fallback", "im = \"session\"\nim_fallback = true");
    stage.write("w1", "first line", "");
    let mut invite = stage.hear_offer();
    invite.answer("488 Not Acceptable Here", stage.sip.address, "");
    let mut page = stage.sip.hear("MESSAGE ");
    assert!(page.text.ends_with("\r\n\r\nfirst line"), "{}", page.text);
    page.answer("200 OK", stage.sip.address, "");
}

#[test]
fn a_lost_connection_is_told_and_the_next_message_opens_another_session() {
    let mut stage = Stage::new("msrp-lost", "im = \"session\"");
    let mut line = stage.plain_line("call-1");
    stage.write("w1", "who gets this", "");
    assert_eq!(line.hear_text().body, "who gets this");
    drop(line);
    let error = stage.xmpp.hear("type='error'");
    assert_eq!(attribute(&error, "id"), "w1");
    let mut bye = stage.sip.hear("BYE ");
    bye.answer("200 OK", stage.sip.address, "");

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    stage.write("w2", "once more", "");
    let mut invite = stage.hear_offer();
    let theirs = invite.attribute("path").to_owned();
    let ours = format!("msrp://{}/bob3;tcp", listener.local_addr().unwrap());
    invite.answer(
        "200 OK",
        stage.sip.address,
        &offer("TCP/MSRP", &ours, "passive", ""),
    );
    let (stream, _) = listener.accept().unwrap();
    let mut line = Line::new(patient(stream), &ours, &theirs);
    take(&mut line, "once more");
}

/// `a=fingerprint` of a peer's certificate.
fn proof(folder: &Folder, name: &str) -> String {
    format!("a=fingerprint:{}\r\n", fingerprint(folder, name))
}

#[test]
fn a_caller_proves_itself_by_its_fingerprint() {
    let mut stage = Stage::new("msrps-caller", "");
    stage.folder.certificate("bob", &["bob.invalid"]);
    let proof = proof(&stage.folder, "bob");
    let ours = "msrps://127.0.0.1:9/tls1;tcp";
    let answer = stage.call("call-1", &offer("TCP/TLS/MSRP", ours, "active", &proof));
    let gateway = fingerprint(&stage.folder, "gw");
    assert!(
        answer
            .attribute("fingerprint")
            .eq_ignore_ascii_case(&gateway)
    );
    let theirs = answer.attribute("path");
    let stream = TlsPeer::new(&stage.folder, "bob").dial(place(theirs));
    let mut line = Line::new(stream, ours, theirs);
    line.bind();
    assert!(
        line.send("msg-1", "1-6/6", "", "secret", '$')
            .starts_with("200")
    );
    let heard = stage.xmpp.hear("<message");
    assert!(heard.contains("<body>secret</body>"), "{heard}");
    stage.write("w1", "and back", "");
    take(&mut line, "and back");
}

#[test]
fn a_new_certificate_is_the_one_that_is_offered_and_shown() {
    let mut stage = Stage::new("msrps-reload", "");
    stage.folder.certificate("bob", &["bob.invalid"]);
    let proof = proof(&stage.folder, "bob");
    let ours = "msrps://127.0.0.1:9/tls1;tcp";
    let before = fingerprint(&stage.folder, "gw");
    stage.folder.certificate("gw", &["gw.ocs.test", "ocs.test"]);
    harness::signal(stage.gateway.id(), "HUP");
    stage
        .gateway
        .wait_for("MSRP offers name another certificate");
    let answer = stage.call("call-1", &offer("TCP/TLS/MSRP", ours, "active", &proof));
    let offered = answer.attribute("fingerprint");
    assert!(offered.eq_ignore_ascii_case(&fingerprint(&stage.folder, "gw")));
    assert!(!offered.eq_ignore_ascii_case(&before));
    let theirs = answer.attribute("path");
    let stream = TlsPeer::new(&stage.folder, "bob").dial(place(theirs));
    let mut line = Line::new(stream, ours, theirs);
    line.bind();
    let own = CertificateDer::from_pem_file(stage.folder.0.join("gw.crt")).unwrap();
    let shown = line.stream.conn.peer_certificates().unwrap();
    assert_eq!(shown.first(), Some(&own));
}

#[test]
fn a_caller_with_another_certificate_is_refused() {
    let mut stage = Stage::new("msrps-impostor", "");
    stage.folder.certificate("bob", &["bob.invalid"]);
    stage.folder.certificate("eve", &["bob.invalid"]);
    let proof = proof(&stage.folder, "bob");
    let ours = "msrps://127.0.0.1:9/tls1;tcp";
    let answer = stage.call("call-1", &offer("TCP/TLS/MSRP", ours, "active", &proof));
    let theirs = answer.attribute("path");
    let stream = TlsPeer::new(&stage.folder, "eve").dial(place(theirs));
    let mut line = Line::new(stream, ours, theirs);
    let answer = line.send("msg-1", "1-6/6", "", "secret", '$');
    assert!(answer.starts_with("403"), "{answer}");
    let told = stage.gateway.wait_for("its certificate is not the one");
    assert!(told.contains("WARN") && told.contains("ocs.test"), "{told}");
    // The one who is meant still gets through.
    let stream = TlsPeer::new(&stage.folder, "bob").dial(place(theirs));
    let mut line = Line::new(stream, ours, theirs);
    line.bind();
    assert!(
        line.send("msg-2", "1-6/6", "", "it's I", '$')
            .starts_with("200")
    );
    let heard = stage.xmpp.hear("<message");
    assert!(!heard.contains("secret"), "{heard}");
}

#[test]
fn the_gateway_dials_over_tls_and_knows_the_peer_by_its_fingerprint() {
    let mut stage = Stage::new("msrps-offer", "im = \"session\"\nmsrp_tls = \"always\"");
    stage.folder.certificate("bob", &["bob.invalid"]);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    stage.write("w1", "first line", "");
    let mut invite = stage.hear_offer();
    let theirs = invite.attribute("path").to_owned();
    assert!(theirs.starts_with("msrps://"), "{theirs}");
    let ours = format!("msrps://{}/bob1;tcp", listener.local_addr().unwrap());
    let answer = offer(
        "TCP/TLS/MSRP",
        &ours,
        "passive",
        &proof(&stage.folder, "bob"),
    );
    invite.answer("200 OK", stage.sip.address, &answer);
    let stream = TlsPeer::new(&stage.folder, "bob").accept(&listener);
    let mut line = Line::new(stream, &ours, &theirs);
    take(&mut line, "first line");
    let shown = tls_peer::shown(&line.stream.conn).unwrap();
    let gateway = CertificateDer::from_pem_file(stage.folder.0.join("gw.crt")).unwrap();
    assert_eq!(shown, gateway);
}

#[test]
fn a_peer_with_another_certificate_gets_nothing() {
    let behaviour = "im = \"session\"\nmsrp_tls = \"always\"\nim_fallback = true";
    let mut stage = Stage::new("msrps-wrong", behaviour);
    stage.folder.certificate("bob", &["bob.invalid"]);
    stage.folder.certificate("eve", &["bob.invalid"]);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    stage.write("w1", "first line", "");
    let mut invite = stage.hear_offer();
    let theirs = invite.attribute("path").to_owned();
    let ours = format!("msrps://{}/bob1;tcp", listener.local_addr().unwrap());
    let answer = offer(
        "TCP/TLS/MSRP",
        &ours,
        "passive",
        &proof(&stage.folder, "bob"),
    );
    invite.answer("200 OK", stage.sip.address, &answer);
    let stream = TlsPeer::new(&stage.folder, "eve").accept(&listener);
    let said = Line::new(stream, &ours, &theirs).hear_end();
    assert!(said.is_empty(), "{said}");
    let line = stage.gateway.wait_for("cannot open an MSRP connection");
    assert!(line.contains("fingerprint"), "{line}");
    let mut bye = stage.sip.hear("BYE ");
    bye.answer("200 OK", stage.sip.address, "");
    // The SIP user takes messages outside sessions.
    let mut page = stage.sip.hear("MESSAGE ");
    assert!(page.text.ends_with("\r\n\r\nfirst line"), "{}", page.text);
    page.answer("200 OK", stage.sip.address, "");
}

#[test]
fn garbage_hurts_nobody_else() {
    let mut stage = Stage::new("msrp-garbage", "");
    let mut line = stage.plain_line("call-1");
    let at = stage.gateway.address("listening for MSRP over TCP");
    let tls = stage.gateway.address("listening for MSRP over TLS");
    let long = "x".repeat(200_000);
    let garbage: [&[u8]; 6] = [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x00\xff\xfe\r\n\r\n\r\n",
        long.as_bytes(),
        b"MSRP a SEND\r\n\r\n",
        b"MSRP abcd SEND\r\nno colon\r\n-------abcd$\r\n",
        b"INVITE sip:romeo@jabber.test SIP/2.0\r\n\r\n",
    ];
    for octets in garbage {
        let mut stream = patient(TcpStream::connect(at).unwrap());
        // Whoever is not listened to any more may be cut off in the middle.
        _ = stream.write_all(octets);
        _ = stream.shutdown(std::net::Shutdown::Write);
        Line::new(stream, "", "").hear_end();
    }
    let mut no_tls = patient(TcpStream::connect(tls).unwrap());
    no_tls.write_all(b"this is no TLS at all\r\n\r\n").unwrap();
    Line::new(no_tls, "", "").hear_end();

    // A message octet by octet, while another connection waits in the middle of one.
    let mut slow = patient(TcpStream::connect(at).unwrap());
    slow.write_all(b"MSRP half SEND\r\nTo-Path: msrp").unwrap();
    line.stream.set_nodelay(true).unwrap();
    let text = line.text("slow", "1-4/4", "slow");
    for octet in text.as_bytes() {
        line.stream.write_all(&[*octet]).unwrap();
    }
    assert!(line.hear().what.starts_with("200"));
    let heard = stage.xmpp.hear("<message");
    assert!(heard.contains("<body>slow</body>"), "{heard}");
    stage.write("w1", "still here", "");
    take(&mut line, "still here");
    assert!(stage.gateway.is_running());
    harness::signal(stage.gateway.id(), "TERM");
    stage
        .sip
        .hear("BYE ")
        .answer("200 OK", stage.sip.address, "");
    assert!(stage.gateway.wait().success());
}

#[test]
fn long_messages_cross_in_chunks() {
    let mut stage = Stage::new("msrp-long", "");
    let mut line = stage.plain_line("call-1");
    let long: String = (0..7_500).map(|number| format!("{number:07} ")).collect();
    let total = long.len();
    stage.write("w1", long.trim_end(), "");
    assert_eq!(line.hear_whole(), long.trim_end());

    let mut sent = 0;
    for chunk in long.as_bytes().chunks(2048) {
        let end = sent + chunk.len();
        let range = format!("{}-{end}/{total}", sent + 1);
        let flag = if end == total { '$' } else { '+' };
        let chunk = std::str::from_utf8(chunk).unwrap();
        let answer = line.send("msg-1", &range, "", chunk, flag);
        assert!(answer.starts_with("200"), "{range}: {answer}");
        sent = end;
    }
    let heard = stage.xmpp.hear("<message");
    assert!(heard.contains(&format!("<body>{long}</body>")), "{heard}");
}
