//! What the gateway lacks: names that nobody resolves, and files that the system does not give.

use std::io::Write as _;
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::process::Command;
use std::time::Instant;

use socket2::{Domain, Socket, Type};

use crate::harness::{DEADLINE, Folder, Gateway, SETTINGS, peer, request};
use crate::sip::{Doors, World};
use crate::sip_sink::{Messages, field};
use crate::tls;
use crate::xml_pieces::{Pieces, header};
use crate::xmpp_server::XmppServer;

fn said(to: &str, branch: &str) -> String {
    request("MESSAGE", to, branch, "hello").replace("bob@ocs.test", "bob@sip.example")
}

#[test]
fn a_name_server_that_says_nothing_holds_up_nobody_else() {
    const SEEKERS: usize = 200;
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let folder = Folder::new("hostile-silent-names");
    let xmpp = XmppServer::start("xmpp.example", "sip.example");
    let settings = SETTINGS
        .replace("127.0.0.1:9\"]\ntimeout = \"200ms\"", &format!("{}\"]\ntimeout = \"2s\"", silent.local_addr().unwrap()))
        .replace(
            "domain = \"*\"\naddress = \"127.0.0.1:9\"",
            &format!(
                "domain = \"xmpp.example\"\naddress = \"{}\"\ntls = \"off\"\n[[xmpp.partner]]\ndomain = \"*\"",
                xmpp.address
            ),
        )
        .replace("domain = \"ocs.test\"", "domain = \"sip.example\"")
        + "[limits]\nmessages_per_second = 1000\nmessage_wait = \"3s\"\n";
    let gateway = Gateway::start_with(&folder, &settings);
    xmpp.dial(gateway.xmpp);
    let mut seekers = connect("127.0.0.1", gateway.tcp);
    for number in 0..SEEKERS {
        let text = said(&format!("eve@d{number}.example"), &format!("seek{number}"));
        seekers
            .write_all(text.replace("/UDP", "/TCP").as_bytes())
            .unwrap();
    }
    // It has been asked, and now somebody else is served before anybody has learnt that there is no answer.
    silent.set_read_timeout(Some(DEADLINE)).unwrap();
    silent.recv(&mut [0; 512]).expect("a question");
    let answer = gateway.ask(&peer(), &said("juliet@xmpp.example", "known"));
    assert!(answer.starts_with("SIP/2.0 200"), "{answer}");
    seekers.set_nonblocking(true).unwrap();
    let early = seekers.peek(&mut [0; 1]);
    assert!(early.is_err(), "nobody knows yet: {early:?}");
    // Each of the others is told in the end.
    seekers.set_nonblocking(false).unwrap();
    let mut answers = Messages::default();
    let mut failed = std::collections::BTreeSet::new();
    while failed.len() < SEEKERS {
        let answer = answers.read(&mut seekers).expect("an answer to each");
        assert!(answer.starts_with("SIP/2.0 50"), "{answer}");
        failed.insert(field(&answer, "Call-ID").to_owned());
    }
}

/// Open files of the process.
fn files(gateway: &Gateway) -> usize {
    let folder = format!("/proc/{}/fd", gateway.id());
    std::fs::read_dir(folder).unwrap().count()
}

/// Time on a processor so far, in clock ticks.
fn ticks(gateway: &Gateway) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", gateway.id())).unwrap();
    let behind = stat.rsplit(')').next().unwrap();
    let mut fields = behind.split_whitespace().skip(11);
    let mut next = || fields.next().unwrap().parse::<u64>().unwrap();
    next() + next()
}

fn connect(from: &str, to: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let from: SocketAddr = format!("{from}:0").parse().unwrap();
    socket.bind(&from.into()).unwrap();
    socket.connect(&to.into()).unwrap();
    tls::patient(socket.into())
}

#[test]
fn want_of_files_keeps_newcomers_out_for_a_while_and_hurts_nobody_else() {
    let folder = Folder::new("hostile-files");
    let (mut world, _sip) = World::start(&folder);
    let doors = Doors::of(&world.gateway);
    let answer = world
        .gateway
        .ask(&peer(), &said("juliet@xmpp.example", "before"));
    assert!(answer.starts_with("SIP/2.0 200"), "{answer}");
    let limit = files(&world.gateway) + 20;
    let limited = Command::new("prlimit")
        .args([
            format!("--pid={}", world.gateway.id()),
            format!("--nofile={limit}:{limit}"),
        ])
        .status()
        .unwrap();
    assert!(limited.success());
    let mut crowd: Vec<TcpStream> = (0..30).map(|_| connect("127.91.0.1", doors.tcp)).collect();
    world.gateway.wait_for("cannot accept connections");
    crowd.extend((0..5).map(|_| connect("127.92.0.1", doors.xmpp)));
    world.gateway.wait_for("cannot accept XMPP connections");
    // Whoever is there already goes on, the store included.
    let (before, start) = (ticks(&world.gateway), Instant::now());
    for number in 0..50 {
        let branch = format!("meanwhile{number}");
        let answer = world
            .gateway
            .ask(&peer(), &said("juliet@xmpp.example", &branch));
        assert!(answer.starts_with("SIP/2.0 200"), "{answer}");
    }
    let (used, took) = (ticks(&world.gateway) - before, start.elapsed());
    let warned = |log: &[String]| {
        log.iter()
            .filter(|line| line.contains("cannot accept"))
            .count()
    };
    assert!(warned(&world.gateway.log) <= 2 + 2, "the log is not filled");
    assert!(
        u128::from(used) * 10 <= took.as_millis() + 500,
        "{used} ticks in {took:?}"
    );
    drop(crowd);
    // And now newcomers are taken again.
    let mut stream = tls::connect(doors.tcp);
    let text = request("OPTIONS", "gw.ocs.test", "newcomer", "").replace("/UDP", "/TCP");
    stream.write_all(text.as_bytes()).unwrap();
    let answer = Messages::default().read(&mut stream).unwrap();
    assert!(answer.starts_with("SIP/2.0 200"), "{answer}");
    let mut pieces = Pieces::new(tls::connect(doors.xmpp));
    pieces.say(&header("xmpp.example", "sip.example", ""));
    pieces.wait_for("<stream:features");
    assert!(world.gateway.is_running());
}
