//! The real binary over real sockets.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

#[path = "process/harness.rs"]
mod harness;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Output, Stdio};

use harness::{
    DEADLINE, Folder, Gateway, SETTINGS, binary, follow, peer, receive, request,
    say_and_read_to_end, signal,
};

fn text(octets: &[u8]) -> String {
    String::from_utf8_lossy(octets).into_owned()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

#[test]
fn help_and_version_are_for_people() {
    let help = binary().arg("--help").output().unwrap();
    assert_eq!(code(&help), 0);
    for word in [
        "serve",
        "check-config",
        "map",
        "status",
        "messages",
        "Exit codes",
    ] {
        assert!(
            text(&help.stdout).contains(word),
            "{word} in {}",
            text(&help.stdout)
        );
    }
    assert!(text(&binary().arg("--version").output().unwrap().stdout).starts_with("stoxgate "));
    assert_eq!(
        code(&binary().arg("dance").output().unwrap()),
        2,
        "a wrong command line"
    );
}

#[test]
fn check_config_reports_every_problem_and_exits_with_2() {
    let folder = Folder::new("check");
    let file = folder.write(
        "gateway.toml",
        &SETTINGS
            .replace("host =", "hots =")
            .replace("[tls]", "[tls]\nx = 1"),
    );
    let check = || {
        binary()
            .args(["check-config", "--config"])
            .arg(&file)
            .output()
            .unwrap()
    };
    let wrong = check();
    assert_eq!(code(&wrong), 2);
    let said = text(&wrong.stderr);
    for expected in [
        "gateway.hots: is not a key here; did you mean `host`?",
        "gateway.host: is missing",
        "tls.x: is not a key here",
    ] {
        assert!(said.contains(expected), "{expected} in {said}");
    }
    folder.write("gateway.toml", SETTINGS);
    let no_files = check();
    assert_eq!(code(&no_files), 2);
    assert!(
        text(&no_files.stderr).contains("gw.crt: cannot be read"),
        "{}",
        text(&no_files.stderr)
    );
    folder.certificate("gw", &["gw.ocs.test"]);
    assert_eq!(code(&check()), 0);
    let missing = binary()
        .args(["check-config", "--config", "/nonexistent/g.toml"])
        .output()
        .unwrap();
    assert_eq!(code(&missing), 2);
    assert!(text(&missing.stderr).contains("name another file with --config"));
}

#[test]
fn map_shows_both_ways() {
    let map = |address: &str| binary().args(["map", address]).output().unwrap();
    let out = map("sip:o'neil%40x@ocs.test;gr=desk");
    assert_eq!(code(&out), 0);
    assert!(
        text(&out.stdout).contains("o\\27neil\\40x@ocs.test/desk"),
        "{}",
        text(&out.stdout)
    );
    assert!(text(&map("romeo@jabber.test").stdout).contains("sip:romeo@jabber.test"));
    let tel = map("tel:+15550100");
    assert_eq!(code(&tel), 1);
    assert!(
        text(&tel.stderr).contains("cannot cross to XMPP"),
        "{}",
        text(&tel.stderr)
    );
}

#[test]
fn status_tells_whether_it_runs() {
    let folder = Folder::new("status");
    let mut gateway = Gateway::start(&folder);
    let status = gateway.status();
    assert_eq!(code(&status), 0, "{}", text(&status.stderr));
    let json: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
    assert_eq!(json["bridge"]["pending_messages"], 0);
    assert!(gateway.stop().success());
    let status = gateway.status();
    assert_eq!(code(&status), 1);
    assert!(
        text(&status.stderr).contains("is it running"),
        "{}",
        text(&status.stderr)
    );
}

#[test]
fn an_expired_certificate_is_told_and_makes_the_health_check_fail() {
    let folder = Folder::new("expired");
    let mut gateway = Gateway::start(&folder);
    let settings = gateway.settings.clone();
    let health = || {
        let mut status = binary();
        status
            .args(["status", "--quiet", "--config"])
            .arg(&settings);
        let status = status.output().unwrap();
        assert!(status.stdout.is_empty() && status.stderr.is_empty());
        code(&status)
    };
    assert_eq!(health(), 0);
    folder.certificate_until("gw", &["gw.ocs.test", "ocs.test"], 2026);
    signal(gateway.id(), "HUP");
    let line = gateway.wait_for("partners refuse it");
    assert!(
        line.contains("ERROR") && line.contains("expired on 2026-01-01"),
        "{line}"
    );
    assert_eq!(health(), 1);
    assert_eq!(code(&gateway.status()), 0, "it runs");
    folder.certificate("gw", &["gw.ocs.test", "ocs.test"]);
    signal(gateway.id(), "HUP");
    gateway.wait_for("TLS files read anew");
    assert_eq!(health(), 0);
}

#[test]
fn a_second_gateway_with_the_same_socket_is_refused() {
    let folder = Folder::new("second");
    let mut gateway = Gateway::start(&folder);
    let second = binary()
        .args(["serve", "--config"])
        .arg(&gateway.settings)
        .output()
        .unwrap();
    assert_eq!(code(&second), 1);
    assert!(
        text(&second.stderr).contains("another gateway answers"),
        "{}",
        text(&second.stderr)
    );
    assert!(gateway.is_running());
}

#[test]
fn a_killed_gateway_starts_again_on_the_same_state() {
    let folder = Folder::new("kill");
    Gateway::start(&folder).kill();
    let mut again = Gateway::start(&folder);
    assert!(again.stop().success());
}

#[test]
fn options_are_answered_on_every_sip_transport() {
    let folder = Folder::new("options");
    let gateway = Gateway::start(&folder);
    let options = request("OPTIONS", "gw.ocs.test", "o1", "");
    let answer = gateway.ask(&peer(), &options);
    assert!(answer.starts_with("SIP/2.0 200"), "{answer}");
    assert!(
        answer.contains("Allow: ") && answer.contains("MESSAGE"),
        "{answer}"
    );
    let mut stream = TcpStream::connect(gateway.tcp).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.write_all(b"\r\n\r\n").unwrap();
    let mut pong = [0; 2];
    stream.read_exact(&mut pong).unwrap();
    assert_eq!(&pong, b"\r\n", "a keep-alive is answered");
    stream
        .write_all(
            request("OPTIONS", "gw.ocs.test", "o2", "")
                .replace("UDP", "TCP")
                .as_bytes(),
        )
        .unwrap();
    let mut answer = [0; 11];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"SIP/2.0 200");
}

#[test]
fn a_message_to_a_dead_partner_fails_honestly() {
    let folder = Folder::new("dead");
    let gateway = Gateway::start(&folder);
    let socket = peer();
    let mut answer = gateway.ask(
        &socket,
        &request("MESSAGE", "romeo@jabber.test", "m1", "hi"),
    );
    while answer.starts_with("SIP/2.0 1") {
        answer = receive(&socket);
    }
    let status: u16 = answer.split(' ').nth(1).unwrap().parse().unwrap();
    assert!(status >= 400 && status != 503, "{answer}");
}

#[test]
fn nobody_speaks_for_a_domain_that_is_not_his() {
    let folder = Folder::new("forbidden");
    let mut gateway = Gateway::start(&folder);
    let forged = request("MESSAGE", "romeo@jabber.test", "f1", "hi")
        .replace("bob@ocs.test", "bob@jabber.test");
    let answer = gateway.ask(&peer(), &forged);
    assert!(answer.starts_with("SIP/2.0 403"), "{answer}");
    let relayed = gateway.ask(&peer(), &request("MESSAGE", "carol@ocs.test", "f2", "hi"));
    assert!(
        relayed.starts_with("SIP/2.0 404"),
        "no relay from SIP to SIP: {relayed}"
    );
    let line = gateway.wait_for("has not proved the sender's SIP domain");
    for words in ["WARN", "jabber.test", "127.0.0.1", "[[sip.domain]]"] {
        assert!(line.contains(words), "{words} in {line}");
    }
}

/// The registrar's answer to a REGISTER.
fn registered(request: &str, lifetime: &str) -> String {
    let echoed: Vec<&str> = request
        .lines()
        .filter(|line| {
            let name = line.split(':').next().unwrap_or_default();
            ["Via", "From", "To", "Call-ID", "CSeq", "Contact"].contains(&name)
        })
        .collect();
    format!(
        "SIP/2.0 200 OK\r\n{}\r\nExpires: {lifetime}\r\nContent-Length: 0\r\n\r\n",
        echoed.join("\r\n")
    )
}

#[test]
fn a_line_at_a_provider_is_registered_shown_and_taken_back() {
    let folder = Folder::new("line");
    let registrar = peer();
    let settings = format!(
        "{SETTINGS}[[sip.domain]]\ndomain = \"provider.test\"\nnext_hop = \"sip:{}\"\n\
         [[sip.registration]]\naddress = \"sip:gateway@provider.test\"\n",
        registrar.local_addr().unwrap()
    );
    let mut gateway = Gateway::start_with(&folder, &settings);
    let request = harness::receive(&registrar);
    assert!(
        request.starts_with("REGISTER sip:provider.test SIP/2.0"),
        "{request}"
    );
    assert!(request.contains("\r\nExpires: 3600\r\n"), "{request}");
    let send = |text: String| registrar.send_to(text.as_bytes(), gateway.udp).unwrap();
    send(registered(&request, "1800"));
    gateway.wait_for("registered at the SIP provider");
    let status = text(&gateway.status().stdout);
    assert!(
        status.contains(
            "\"address\": \"sip:gateway@provider.test\",\n      \"state\": \"registered for 1"
        ),
        "{status}"
    );
    harness::signal(gateway.id(), "TERM");
    let request = harness::receive(&registrar);
    assert!(request.contains("\r\nExpires: 0\r\n"), "{request}");
    let to = gateway.udp;
    registrar
        .send_to(registered(&request, "0").as_bytes(), to)
        .unwrap();
    assert!(gateway.wait().success());
}

#[test]
fn malformed_input_gets_the_protocols_error_and_the_process_lives() {
    let folder = Folder::new("malformed");
    let mut gateway = Gateway::start(&folder);
    let header = "<?xml version='1.0'?><stream:stream xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams' \
                  xmlns:db='jabber:server:dialback' from='jabber.test' to='ocs.test' version='1.0'>";
    let xmpp: [(&str, &str); 5] = [
        ("<!DOCTYPE x [<!ENTITY a 'b'>]>", "stream:error"),
        ("GET / HTTP/1.1\r\n\r\n", "stream:error"),
        (
            &format!(
                "{header}<message from='romeo@jabber.test' to='bob@ocs.test'><body>x</body></message>"
            ),
            "stream:error",
        ),
        (&header.replace("ocs.test", "other.test"), "host-unknown"),
        (&format!("{header}{}", "<a>".repeat(5000)), "stream:error"),
    ];
    for (octets, expected) in xmpp {
        let said = say_and_read_to_end(gateway.xmpp, octets.as_bytes());
        assert!(said.contains(expected), "{octets:.60}: {said}");
    }
    let good = request("OPTIONS", "gw.ocs.test", "b1", "");
    let sip: [(String, &str); 3] = [
        (
            good.replace("Content-Length: 0", "Content-Length: -1"),
            "SIP/2.0 400",
        ),
        (
            good.replace("Content-Length: 0", "Content-Length: 99999999"),
            "SIP/2.0 413",
        ),
        ("\u{1}\u{2}\u{3}garbage\r\n\r\n".to_owned(), ""),
    ];
    for (octets, expected) in sip {
        let said = say_and_read_to_end(gateway.tcp, octets.as_bytes());
        assert!(said.starts_with(expected), "{octets}: {said}");
    }
    _ = say_and_read_to_end(gateway.tls, b"this is no TLS at all\r\n\r\n");
    peer().send_to(&[0xff; 1200], gateway.udp).unwrap();
    let answer = gateway.ask(&peer(), &request("OPTIONS", "gw.ocs.test", "b2", ""));
    assert!(answer.starts_with("SIP/2.0 200"), "{answer}");
    assert!(gateway.stop().success());
}

#[test]
fn the_log_keeps_secrets_and_bodies() {
    let folder = Folder::new("privacy");
    let mut gateway = Gateway::start(&folder);
    let socket = peer();
    let mut answer = gateway.ask(
        &socket,
        &request(
            "MESSAGE",
            "romeo@jabber.test",
            "p1",
            "the secret of the sea",
        ),
    );
    while answer.starts_with("SIP/2.0 1") {
        answer = receive(&socket);
    }
    assert!(gateway.stop().success());
    let log = gateway.log.join("\n");
    assert!(!log.contains("secret of the sea"), "{log}");
    let loud = gateway.log.iter().filter(|line| {
        ["INFO", "WARN", "ERROR"]
            .iter()
            .any(|level| line.contains(level))
    });
    for line in loud {
        assert!(
            !line.contains("romeo@") && !line.contains("bob@"),
            "a full address above debug: {line}"
        );
    }
}

/// A TLS 1.0 hello with the suite of old Windows servers, `TLS_RSA_WITH_AES_128_CBC_SHA`.
fn old_hello() -> Vec<u8> {
    let mut hello = vec![22, 3, 1, 0, 45, 1, 0, 0, 41, 3, 1];
    hello.extend([7; 32]);
    hello.extend([0, 0, 2, 0, 0x2f, 1, 0]);
    hello
}

#[test]
#[cfg(not(feature = "legacy-tls"))]
fn old_tls_is_refused_by_a_build_without_it() {
    let folder = Folder::new("no-legacy");
    folder.certificate("gw", &["gw.ocs.test"]);
    let file = folder.write(
        "gateway.toml",
        &format!("{SETTINGS}tls = \"legacy-dangerous\"\n"),
    );
    for command in ["check-config", "serve"] {
        let refused = binary()
            .args([command, "--config"])
            .arg(&file)
            .output()
            .unwrap();
        assert_eq!(code(&refused), 2, "{command}");
        let said = text(&refused.stderr);
        assert!(
            said.contains("sip.domain[0].tls: cannot be \"legacy-dangerous\"")
                && said.contains("cargo build --release --features legacy-tls"),
            "{said}"
        );
    }
}

#[test]
fn a_client_with_old_tls_is_refused_in_words() {
    let folder = Folder::new("old-client");
    let mut gateway = Gateway::start(&folder);
    _ = say_and_read_to_end(gateway.tls, &old_hello());
    let line = gateway.wait_for("SIP TLS handshake refused");
    for words in [
        "WARN",
        "peer=127.0.0.1",
        "speaks only old TLS (1.1 or 1.0)",
        "tls = \"legacy-dangerous\"",
        "--features legacy-tls",
        "trusted_addresses",
    ] {
        assert!(line.contains(words), "{words} in {line}");
    }
}

#[test]
fn a_server_with_old_tls_is_named_in_the_log() {
    let folder = Folder::new("old-server");
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let hop = server.local_addr().unwrap();
    let settings = SETTINGS.replace(
        "sip:127.0.0.1:9",
        &format!("sip:127.0.0.1:{};transport=tls", hop.port()),
    );
    let mut gateway = Gateway::start_with(&folder, &settings);
    let old = std::thread::spawn(move || {
        let (mut stream, _) = server.accept().unwrap();
        let mut hello = [0; 5];
        stream.read_exact(&mut hello).unwrap();
        // A fatal alert in TLS 1.0: protocol_version.
        stream.write_all(&[21, 3, 1, 0, 2, 2, 70]).unwrap();
        _ = stream.read_to_end(&mut Vec::new());
    });
    let subscribe = request("SUBSCRIBE", "romeo@jabber.test", "os1", "").replace(
        "Content-Length",
        "Contact: <sip:bob@ocs.test>\r\nEvent: presence\r\nExpires: 600\r\nContent-Length",
    );
    let answer = gateway.ask(&peer(), &subscribe);
    assert!(answer.starts_with("SIP/2.0 20"), "{answer}");
    let line = gateway.wait_for("SIP connection failed");
    for words in [
        "WARN",
        "name=127.0.0.1",
        "this server speaks only old TLS (1.1 or 1.0)",
        "tls = \"legacy-dangerous\"",
        "--features legacy-tls",
    ] {
        assert!(line.contains(words), "{words} in {line}");
    }
    old.join().unwrap();
}

/// An INVITE of bob's client, as Communicator sends it.
fn invite(peer: &std::net::UdpSocket) -> String {
    let at = peer.local_addr().unwrap();
    let sdp = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=session\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
               m=message 5060 sip null\r\na=accept-types:text/plain\r\n";
    let more = format!(
        "Contact: <sip:bob@{at}>\r\nUser-Agent: UCCAPI/3.5.6907.9 OC/3.5.6907.34 (Microsoft Office Communicator 2007 R2)\r\n\
         Content-Type: application/sdp\r\n"
    );
    request("INVITE", "romeo@jabber.test", "i1", sdp).replace("Content-Type: text/plain\r\n", &more)
}

#[test]
fn a_session_teaches_the_dialect_which_outlives_the_process() {
    let folder = Folder::new("session");
    let mut gateway = Gateway::start(&folder);
    let socket = peer();
    let mut answer = gateway.ask(&socket, &invite(&socket));
    while answer.starts_with("SIP/2.0 1") {
        answer = receive(&socket);
    }
    assert!(answer.starts_with("SIP/2.0 200 "), "{answer}");
    assert!(
        answer.contains("m=message 5060 sip sip:romeo@jabber.test"),
        "{answer}"
    );
    let learnt = gateway.wait_for("learnt how a SIP domain speaks");
    assert!(learnt.contains("ocs2007r2"), "{learnt}");
    let to = answer
        .lines()
        .find_map(|line| line.strip_prefix("To: "))
        .unwrap();
    let ack = request("ACK", "romeo@jabber.test", "i1", "")
        .replace("To: <sip:romeo@jabber.test>", &format!("To: {to}"))
        .replace("branch=z9hG4bKi1", "branch=z9hG4bKa1");
    socket.send_to(ack.as_bytes(), gateway.udp).unwrap();
    let domain = |gateway: &Gateway| {
        let status: serde_json::Value = serde_json::from_slice(&gateway.status().stdout).unwrap();
        let domain = &status["sip_domains"][0];
        (domain["dialect"].clone(), domain["because"].clone())
    };
    let known = domain(&gateway);
    assert_eq!(known.0, "ocs2007r2");
    assert_eq!(known.1, "Communicator 2007 in User-Agent");

    signal_and_answer_bye(&mut gateway, &socket);
    let gateway = Gateway::start(&folder);
    assert_eq!(domain(&gateway), known);
}

/// A clean stop ends the session.
fn signal_and_answer_bye(gateway: &mut Gateway, socket: &std::net::UdpSocket) {
    harness::signal(gateway.id(), "TERM");
    let mut bye = receive(socket);
    while !bye.starts_with("BYE ") {
        bye = receive(socket);
    }
    let repeated: String = bye
        .lines()
        .filter(|line| {
            ["Via:", "From:", "To:", "Call-ID:", "CSeq:"]
                .iter()
                .any(|name| line.starts_with(name))
        })
        .map(|line| format!("{line}\r\n"))
        .collect();
    let ok = format!("SIP/2.0 200 OK\r\n{repeated}Content-Length: 0\r\n\r\n");
    socket.send_to(ok.as_bytes(), gateway.udp).unwrap();
    assert!(gateway.wait().success());
}

#[test]
fn messages_shows_what_became_of_a_message() {
    let folder = Folder::new("messages");
    let settings = format!("{SETTINGS}[limits]\nmessage_wait = \"1s\"\n");
    let mut gateway = Gateway::start_with(&folder, &settings);
    let file = gateway.settings.clone();
    let messages = |more: &[&str]| {
        binary()
            .args(["messages", "--config"])
            .arg(&file)
            .args(more)
            .output()
            .unwrap()
    };
    let none = messages(&[]);
    assert_eq!(code(&none), 0, "{}", text(&none.stderr));
    assert!(text(&none.stdout).contains("no message in the ledger matches"));
    let mut following = binary()
        .args(["messages", "--follow", "--config"])
        .arg(&file)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = follow(following.stdout.take().unwrap());

    let socket = peer();
    let mut answer = gateway.ask(
        &socket,
        &request("MESSAGE", "romeo@jabber.test", "m1", "hush"),
    );
    while answer.starts_with("SIP/2.0 1") {
        answer = receive(&socket);
    }
    let status: serde_json::Value = serde_json::from_slice(&gateway.status().stdout).unwrap();
    let outcomes = status["bridge"]["outcomes"].as_object().unwrap();
    assert_eq!(outcomes.values().cloned().collect::<Vec<_>>(), [1]);
    let head = lines.recv_timeout(DEADLINE).unwrap();
    assert!(head.starts_with("arrived "), "{head}");
    let line = lines.recv_timeout(DEADLINE).unwrap();
    assert!(
        line.contains("sip:bob@ocs.test -> romeo@jabber.test"),
        "{line}"
    );
    following.kill().unwrap();
    following.wait().unwrap();
    // A clean stop writes all that is queued.
    assert!(gateway.stop().success());
    let found = messages(&["--address", "SIP:Bob@OCS.test", "--since", "1h"]);
    assert_eq!(code(&found), 0, "{}", text(&found.stderr));
    let table = text(&found.stdout);
    assert!(
        table.contains("sip:bob@ocs.test -> romeo@jabber.test"),
        "{table}"
    );
    let json = messages(&["--partner", "jabber.test", "--format", "json"]);
    let line: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(
        (&line["direction"], &line["octets"]),
        (&"to-xmpp".into(), &4.into())
    );
    let status = answer.split(' ').nth(1).unwrap();
    assert_eq!(line["code"], status, "the code that the sender got");
    assert!(!text(&json.stdout).contains("hush"));
    let other = messages(&["--outcome", "delivered", "--format", "json"]);
    assert_eq!((code(&other), text(&other.stdout)), (0, String::new()));

    let wrong = messages(&["--outcome", "lost"]);
    assert_eq!(code(&wrong), 2);
    assert!(
        text(&wrong.stderr).contains("is none of unknown, taken"),
        "{}",
        text(&wrong.stderr)
    );
    std::fs::remove_file(folder.0.join("state/stoxgate.sqlite")).unwrap();
    let missing = messages(&[]);
    assert_eq!(code(&missing), 1);
    assert!(text(&missing.stderr).contains("has a gateway with these settings ever run"));
}

#[test]
fn a_ledger_that_is_off_keeps_nothing() {
    let folder = Folder::new("ledger-off");
    let settings = format!("{SETTINGS}[ledger]\nkeep = 0\n[limits]\nmessage_wait = \"1s\"\n");
    let mut gateway = Gateway::start_with(&folder, &settings);
    let socket = peer();
    let mut answer = gateway.ask(
        &socket,
        &request("MESSAGE", "romeo@jabber.test", "m1", "hush"),
    );
    while answer.starts_with("SIP/2.0 1") {
        answer = receive(&socket);
    }
    assert!(gateway.stop().success());
    let found = binary()
        .args(["messages", "--format", "json", "--config"])
        .arg(&gateway.settings)
        .output()
        .unwrap();
    assert_eq!((code(&found), text(&found.stdout)), (0, String::new()));
    assert!(text(&found.stderr).contains("the ledger is switched off"));
}
