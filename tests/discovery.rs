//! The real binary and DNS: where domains live that no rule names.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

#[path = "process/harness.rs"]
#[allow(dead_code, reason = "each test file uses its own part")]
mod harness;
#[path = "process/name_server.rs"]
mod name_server;

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use harness::{DEADLINE, Folder, Gateway, SETTINGS, peer, receive, request};
use name_server::{NameServer, Record, at, naptr, srv};

/// The domain that a stream opened here is for. The stream then ends: this server does not know the domain.
fn stream_for(servers: &TcpListener) -> String {
    let (mut stream, _) = servers.accept().unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let mut heard = String::new();
    let mut buffer = [0; 4096];
    while !heard.contains("version=") {
        let count = stream.read(&mut buffer).unwrap();
        assert!(count > 0, "the gateway closed the stream: {heard}");
        heard.push_str(&String::from_utf8_lossy(&buffer[..count]));
    }
    refuse(&mut stream);
    let quoted = heard.split_once(" to=").unwrap().1;
    quoted.split(['"', '\'']).nth(1).unwrap().to_owned()
}

fn refuse(stream: &mut TcpStream) {
    let words = "<stream:stream xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams' id='1' version='1.0'>\
                 <stream:error><host-unknown xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error></stream:stream>";
    stream.write_all(words.as_bytes()).unwrap();
}

fn zone(port: u16) -> Vec<Record> {
    vec![
        srv("_xmpp-server._tcp.chat.test", port, "host.test"),
        srv("_sipfederationtls._tcp.voice.test", 5061, "host.test"),
        naptr("named.test", "SIPS+D2T"),
        srv("_xmpps-server._tcp.both.test", port, "host.test"),
        srv("_sips._tcp.both.test", 5061, "host.test"),
        // It says that it has no SIP servers.
        srv("_xmpp-server._tcp.declined.test", port, "host.test"),
        srv("_sip._tcp.declined.test", 0, ""),
        // Their SIP records lead SIP servers to us, by our name and by another one.
        srv("_xmpp-server._tcp.served.test", port, "host.test"),
        srv("_sips._tcp.served.test", 5061, "gw.ocs.test"),
        srv("_xmpp-server._tcp.hosted.test", port, "host.test"),
        srv(
            "_sipfederationtls._tcp.hosted.test",
            5061,
            "sip.hosted.test",
        ),
        at("sip.hosted.test", [127, 0, 0, 7]),
        at("gw.ocs.test", [127, 0, 0, 7]),
        at("plain.test", [127, 0, 0, 1]),
        at("host.test", [127, 0, 0, 1]),
    ]
}

/// The servers of these tests are on this machine.
const INSIDE: &str = "networks = [\"127.0.0.0/8\"]\n";

fn shown(gateway: &Gateway) -> Vec<serde_json::Value> {
    let status: serde_json::Value = serde_json::from_slice(&gateway.status().stdout).unwrap();
    status["discovered"].as_array().unwrap().clone()
}

#[test]
fn dns_tells_where_a_domain_lives_that_no_rule_names() {
    let folder = Folder::new("discovery");
    let servers = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = servers.local_addr().unwrap().port();
    let names = NameServer::start(zone(port));
    let settings = SETTINGS
        .replace(
            "127.0.0.1:9\"]\ntimeout = \"200ms\"",
            &format!("{}\"]\ntimeout = \"5s\"", names.address),
        )
        .replace("address = \"127.0.0.1:9\"\n", INSIDE)
        .replace(
            "[[xmpp.partner]]",
            &format!("default_port = {port}\n[[xmpp.partner]]"),
        );
    let gateway = Gateway::start_with(&folder, &settings);
    let socket = peer();
    let refused = |domain: &str| {
        let to = format!("romeo@{domain}");
        let answer = gateway.ask(&socket, &request("MESSAGE", &to, domain, "hello"));
        answer.lines().next().unwrap().to_owned()
    };

    for domain in ["voice.test", "named.test", "both.test"] {
        let line = refused(domain);
        assert!(
            line.starts_with("SIP/2.0 404 By its DNS records this is a SIP domain"),
            "{domain}: {line}"
        );
    }
    for domain in [
        "chat.test",
        "declined.test",
        "plain.test",
        "served.test",
        "hosted.test",
    ] {
        let to = format!("romeo@{domain}");
        let message = request("MESSAGE", &to, domain, "hello");
        socket.send_to(message.as_bytes(), gateway.udp).unwrap();
        assert_eq!(stream_for(&servers), domain);
        let answer = receive(&socket);
        assert!(
            answer.starts_with("SIP/2.0 404 The domain was not found"),
            "{answer}"
        );
    }
    let again = refused("voice.test");
    assert!(again.starts_with("SIP/2.0 404 By its DNS"), "{again}");
    assert_eq!(names.count("_sipfederationtls._tcp.voice.test"), 1);

    let found: BTreeSet<_> = shown(&gateway)
        .into_iter()
        .map(|domain| {
            let word = |key: &str| domain[key].as_str().unwrap().to_owned();
            (word("domain"), word("world"), word("because"))
        })
        .collect();
    let neither = "its DNS names no XMPP or SIP servers of its own";
    let expected = [
        ("voice.test", "SIP", "its DNS has _sipfederationtls._tcp"),
        ("named.test", "SIP", "its DNS has NAPTR"),
        (
            "both.test",
            "both",
            "its DNS has _xmpps-server._tcp, _sips._tcp",
        ),
        ("chat.test", "XMPP", "its DNS has _xmpp-server._tcp"),
        ("declined.test", "XMPP", "its DNS has _xmpp-server._tcp"),
        ("plain.test", "neither", neither),
        (
            "served.test",
            "XMPP",
            "its DNS has _xmpp-server._tcp; its _sips._tcp names this gateway",
        ),
        (
            "hosted.test",
            "XMPP",
            "its DNS has _xmpp-server._tcp; its _sipfederationtls._tcp names this gateway",
        ),
    ];
    let owned = |(a, b, c): (&str, &str, &str)| (a.to_owned(), b.to_owned(), c.to_owned());
    assert_eq!(found, expected.map(owned).into());
}

#[test]
fn a_domain_that_a_rule_names_is_reached_whatever_dns_says() {
    let folder = Folder::new("discovery-named");
    let servers = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = servers.local_addr().unwrap().port();
    let names = NameServer::start(vec![
        srv("_xmpp-server._tcp.both.test", port, "host.test"),
        srv("_sips._tcp.both.test", 5061, "host.test"),
        at("host.test", [127, 0, 0, 1]),
    ]);
    let settings = SETTINGS
        .replace(
            "127.0.0.1:9\"]\ntimeout = \"200ms\"",
            &format!("{}\"]\ntimeout = \"5s\"", names.address),
        )
        .replace(
            "domain = \"*\"\naddress = \"127.0.0.1:9\"",
            "domain = \"both.test\"",
        );
    let gateway = Gateway::start_with(&folder, &settings);
    let socket = peer();
    let message = request("MESSAGE", "romeo@both.test", "named", "hello");
    socket.send_to(message.as_bytes(), gateway.udp).unwrap();
    assert_eq!(stream_for(&servers), "both.test");
    assert!(shown(&gateway).is_empty());
    assert_eq!(names.count("_sips._tcp.both.test"), 0);
}

#[test]
fn nobody_makes_the_gateway_dial_hosts_inside() {
    let folder = Folder::new("discovery-inside");
    let servers = TcpListener::bind("127.0.0.1:0").unwrap();
    servers.set_nonblocking(true).unwrap();
    let names = NameServer::start(zone(servers.local_addr().unwrap().port()));
    let settings = SETTINGS
        .replace(
            "127.0.0.1:9\"]\ntimeout = \"200ms\"",
            &format!("{}\"]\ntimeout = \"5s\"", names.address),
        )
        .replace("address = \"127.0.0.1:9\"\n", "");
    let mut gateway = Gateway::start_with(&folder, &settings);
    let message = request("MESSAGE", "romeo@chat.test", "inside", "hello");
    let answer = gateway.ask(&peer(), &message);
    assert!(answer.starts_with("SIP/2.0 404 "), "{answer}");
    let line = gateway.wait_for("which is not public");
    assert!(
        line.contains("chat.test") && line.contains("127.0.0.1"),
        "{line}"
    );
    // Before its answer it would have dialled.
    assert!(servers.accept().is_err());
}

#[test]
fn who_wants_to_watch_a_user_of_a_sip_domain_is_told_that_there_is_none() {
    let folder = Folder::new("discovery-watch");
    let names = NameServer::start(zone(5269));
    let settings = SETTINGS
        .replace(
            "127.0.0.1:9\"]\ntimeout = \"200ms\"",
            &format!("{}\"]\ntimeout = \"5s\"", names.address),
        )
        .replace("address = \"127.0.0.1:9\"\n", INSIDE);
    let gateway = Gateway::start_with(&folder, &settings);
    let socket = peer();
    let own = socket.local_addr().unwrap();
    let ask = |branch: &str| {
        let more =
            format!("Event: presence\r\nExpires: 600\r\nContact: <sip:bob@{own}>\r\nMax-Forwards");
        let text = request("SUBSCRIBE", "romeo@voice.test", branch, "")
            .replace("Max-Forwards", &more)
            .replace("127.0.0.1:5060", &own.to_string());
        socket.send_to(text.as_bytes(), gateway.udp).unwrap();
    };
    // The first one is taken before DNS has said anything, and ended when it has.
    ask("first");
    let mut heard = Vec::new();
    while !heard
        .iter()
        .any(|text: &String| text.contains("Subscription-State: terminated"))
    {
        let text = receive(&socket);
        if text.starts_with("NOTIFY ") {
            let lines = text.lines().filter(|line| {
                ["Via:", "From:", "To:", "Call-ID:", "CSeq:"]
                    .iter()
                    .any(|name| line.starts_with(name))
            });
            let head: Vec<&str> = lines.collect();
            let answer = format!(
                "SIP/2.0 200 OK\r\n{}\r\nContent-Length: 0\r\n\r\n",
                head.join("\r\n")
            );
            socket.send_to(answer.as_bytes(), gateway.udp).unwrap();
        }
        heard.push(text);
    }
    assert!(heard[0].starts_with("SIP/2.0 200"), "{heard:#?}");
    ask("second");
    let answer = receive(&socket);
    assert!(
        answer.starts_with("SIP/2.0 404 By its DNS records this is a SIP domain"),
        "{answer}"
    );
}
