//! Attacks on the MSRP listeners, one after another against one gateway, while another session goes on.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use super::harness::DEADLINE;
use super::msrp_line::Line;
use super::tls_peer::patient;
use super::{Stage, offer, place};

/// What the gateway may take up under all of them, in KiB.
const MEMORY: u64 = 256 * 1024;
/// Connections from one address; the gateway takes 200.
const PER_ADDRESS: u32 = 150;

/// The running attack, and the session that nothing may happen to.
struct Attacked {
    stage: Stage,
    line: Line<TcpStream>,
    tcp: SocketAddr,
    tls: SocketAddr,
    said: u32,
}

impl Attacked {
    fn start() -> Self {
        let mut stage = Stage::new("msrp-attacks", "");
        let line = stage.plain_line("victim");
        Self {
            tcp: stage.gateway.address("listening for MSRP over TCP"),
            tls: stage.gateway.address("listening for MSRP over TLS"),
            stage,
            line,
            said: 0,
        }
    }

    /// Plays an attack; while what it returns is kept, somebody else's message crosses and memory is within its bounds.
    fn attack<T>(&mut self, name: &str, attack: impl FnOnce(&mut Self) -> T) {
        let kept = attack(self);
        self.said += 1;
        let text = format!("behind-{}-attacks", self.said);
        let (id, range) = (
            format!("msg-{}", self.said),
            format!("1-{0}/{0}", text.len()),
        );
        // Nor is anybody kept out who comes now.
        drop(self.session(&format!("newcomer-{}", self.said)));
        let start = Instant::now();
        let answer = self.line.send(&id, &range, "", &text, '$');
        assert!(answer.starts_with("200"), "{name}: {answer}");
        let took = start.elapsed();
        assert!(took < Duration::from_secs(5), "{name}: {took:?}");
        // Nothing of the attack has become a message.
        let heard = self.stage.xmpp.hear("<message");
        assert!(heard.contains(&text), "{name}: {heard}");
        let status = format!("/proc/{}/status", self.stage.gateway.id());
        let status = std::fs::read_to_string(status).unwrap();
        let most = status.lines().find(|line| line.starts_with("VmHWM"));
        let most: u64 = most
            .unwrap()
            .split_whitespace()
            .nth(1)
            .unwrap()
            .parse()
            .unwrap();
        assert!(most < MEMORY, "{most} KiB after {name}");
        drop(kept);
    }

    /// A session of the attacker's own, which is bound.
    fn session(&mut self, call: &str) -> Line<TcpStream> {
        let ours = format!("msrp://127.0.0.1:9/{call};tcp");
        let answer = self
            .stage
            .call(call, &offer("TCP/MSRP", &ours, "active", ""));
        let theirs = answer.attribute("path");
        let stream = TcpStream::connect(place(theirs)).unwrap();
        let mut line = Line::new(patient(stream), &ours, theirs);
        line.bind();
        line
    }
}

/// Silent connections, from as many addresses as it takes.
fn idle(to: SocketAddr, network: u8) -> Vec<TcpStream> {
    let connect = |number: u32| {
        let host = Ipv4Addr::new(127, network, 0, 1).to_bits() + number / PER_ADDRESS;
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let from = SocketAddr::from((Ipv4Addr::from_bits(host), 0));
        socket.bind(&from.into()).unwrap();
        socket.connect(&to.into()).unwrap();
        socket.into()
    };
    (0..2 * PER_ADDRESS).map(connect).collect()
}

/// Says the beginning, and more and more, until the gateway has cut the connection.
fn until_cut(to: SocketAddr, start: &str, more: &str) {
    let mut stream = patient(TcpStream::connect(to).unwrap());
    stream.write_all(start.as_bytes()).unwrap();
    let more = more.repeat(16 * 1024 / more.len());
    let deadline = Instant::now() + DEADLINE;
    while stream.write_all(more.as_bytes()).is_ok() {
        assert!(Instant::now() < deadline, "`{start:.40}` goes on");
    }
}

#[test]
fn others_are_served_during_every_attack_on_msrp_and_memory_is_bounded() {
    let mut attacked = Attacked::start();
    attacked.attack("silent connections", |it| {
        (idle(it.tcp, 81), idle(it.tls, 82))
    });
    attacked.attack("heads that do not end", |it| {
        until_cut(it.tcp, "MSRP abcd SEND\r\nTo-Path: msrp://", "x");
        until_cut(it.tcp, "MSRP abcd SEND\r\n", "To-Path: msrp://a/b;tcp\r\n");
        until_cut(it.tcp, "", "MSRP abcd SEND\r\n\r\n");
    });
    attacked.attack("sessions that there are not", |it| {
        let theirs = format!("msrp://127.0.0.1:{}/nobodys;tcp", it.tcp.port());
        let stream = patient(TcpStream::connect(it.tcp).unwrap());
        let mut line = Line::new(stream, "msrp://127.0.0.1:9/eve;tcp", &theirs);
        let answer = line.send("evil1", "1-4/4", "", "evil", '$');
        assert!(answer.starts_with("481"), "{answer}");
        // A chunk of 16 MiB for it, which is kept nowhere.
        line.say(&format!(
            "MSRP long SEND\r\nTo-Path: {theirs}\r\nFrom-Path: msrp://127.0.0.1:9/eve;tcp\r\nMessage-ID: evil2\r\n\
             Byte-Range: 1-*/*\r\nContent-Type: text/plain\r\n\r\n"
        ));
        for _ in 0..256 {
            if line.stream.write_all(&[b'x'; 64 * 1024]).is_err() {
                break;
            }
        }
        line
    });
    attacked.attack("somebody else's session", |it| {
        let theirs = it.line.path().to_owned();
        let stream = patient(TcpStream::connect(it.tcp).unwrap());
        let mut line = Line::new(stream, "msrp://127.0.0.1:9/victim;tcp", &theirs);
        let answer = line.send("evil1", "1-4/4", "", "evil", '$');
        assert!(!answer.starts_with("200"), "{answer}");
        line
    });
    attacked.attack("ranges without measure", |it| {
        let mut line = it.session("giant");
        for range in [
            "1-4/99999999999999",
            "99999999999-*/99999999999999",
            "1-*/18446744073709551616",
        ] {
            let answer = line.send("giant1", range, "", "evil", '+');
            assert!(answer.starts_with('4'), "{range}: {answer}");
        }
        line
    });
    attacked.attack("chunks of many messages, none of which ends", |it| {
        let mut line = it.session("flood");
        // Nobody reads the answers, so that in the end the connection goes.
        line.stream
            .set_write_timeout(Some(Duration::from_millis(500)))
            .unwrap();
        for number in 0..20_000 {
            let text = line.chunk(
                &format!("flood{number}"),
                "1-*/60000",
                &"x".repeat(900),
                '+',
            );
            if line.stream.write_all(text.as_bytes()).is_err() {
                break;
            }
        }
        line
    });
    attacked.attack("silent connections once more", |it| {
        (idle(it.tcp, 83), idle(it.tls, 84))
    });
    assert!(attacked.stage.gateway.is_running());
}
