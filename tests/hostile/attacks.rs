//! Attacks that live on time and number, one after another against one gateway, with its memory and its answers to others
//! watched.
//!
//! Small by default. `STOX_HOSTILE_SCALE=20` is the full size, and `STOX_HOSTILE_REPORT` names a file for the figures; then
//! the memory is read once more after a minute of quiet.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use crate::harness::{DEADLINE, Folder, peer, receive, request};
use crate::report;
use crate::sip::{Doors, World};
use crate::sip_sink::{Messages, SipSink};
use crate::tls;
use crate::xml_pieces::{Pieces, header};

/// What a gateway may take up under all attacks, in KiB.
const MEMORY: u64 = 256 * 1024;
/// Connections from one address; the gateway takes 200.
const PER_ADDRESS: u32 = 150;

/// The running attack, and what is known of it.
pub(crate) struct Stage {
    pub(crate) world: World,
    doors: Doors,
    pub(crate) scale: u32,
    report: String,
    /// Attacks so far.
    round: u32,
}

/// Somebody else, who asks at each door while others attack.
struct Prober {
    doors: Doors,
    stranger: Arc<rustls::ClientConfig>,
    /// Of which attack.
    round: u32,
    probes: u32,
    /// The longest that an answer took at each door, in milliseconds.
    longest: [u128; 4],
}

impl Stage {
    fn start(folder: &Folder) -> Self {
        Self::with_sink(folder).0
    }

    /// With what the SIP server behind the gateway hears.
    pub(crate) fn with_sink(folder: &Folder) -> (Self, SipSink) {
        let (world, sip) = World::start(folder);
        let doors = Doors::of(&world.gateway);
        let scale = std::env::var("STOX_HOSTILE_SCALE").map_or(1, |scale| scale.parse().unwrap());
        let stage = Self {
            world,
            doors,
            scale,
            report: String::new(),
            round: 0,
        };
        (stage, sip)
    }

    /// Every attack, one after another.
    pub(crate) fn all_attacks(&mut self) {
        self.attack("idle connections on each port", idle);
        self.attack("half-said words, octet by octet", half_said);
        self.attack("heads and elements without end", endless);
        self.attack("askers that do not read", deaf);
        self.attack("2,000 copies of one message", storm);
        self.attack("answers that nobody waits for", spoofed);
        self.attack("forged dialback", forged);
    }

    /// Memory in KiB: `VmRSS` now, `VmHWM` at most so far.
    pub(crate) fn memory(&self, name: &str) -> u64 {
        report::memory(self.world.gateway.id(), name)
    }

    /// Plays one attack, and asks while it lasts, and once more while what it has returned is kept.
    fn attack<T>(&mut self, name: &str, attack: impl FnOnce(&mut Self) -> T) {
        self.round += 1;
        let mut prober = Prober::new(&self.doors, self.round);
        let over = AtomicBool::new(false);
        let (kept, mut prober) = std::thread::scope(|scope| {
            let probing = scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    prober.probe();
                }
                prober
            });
            // The prober ends, too, where the attack fails.
            let ended = Ended(&over);
            let kept = attack(self);
            drop(ended);
            (kept, probing.join().unwrap())
        });
        prober.probe();
        let (probes, [udp, tcp, tls, xmpp]) = (prober.probes, prober.longest);
        let (now, most) = (self.memory("VmRSS"), self.memory("VmHWM"));
        writeln!(
            self.report,
            "| {name} | {probes} | {udp} | {tcp} | {tls} | {xmpp} | {} | {} |",
            now / 1024,
            most / 1024
        )
        .unwrap();
        drop(kept);
        assert!(self.world.gateway.is_running(), "after {name}");
        assert!(most < MEMORY, "{most} KiB after {name}");
    }
}

/// Says that the attack is over, however it ends.
struct Ended<'a>(&'a AtomicBool);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Prober {
    fn new(doors: &Doors, round: u32) -> Self {
        Self {
            stranger: tls::client(&doors.folder, None),
            doors: doors.clone(),
            round,
            probes: 0,
            longest: [0; 4],
        }
    }

    /// Asks at each door, on a new connection.
    fn probe(&mut self) {
        self.probes += 1;
        let text = |way: &str| {
            let branch = format!("p{way}{}-{}", self.round, self.probes);
            request("OPTIONS", "gw.ocs.test", &branch, "")
        };
        let timed = |ask: &dyn Fn()| {
            let start = Instant::now();
            ask();
            start.elapsed().as_millis()
        };
        let over = |stream: &mut dyn Duplex, way: &str| {
            let text = text(way).replace("/UDP", "/TCP");
            stream.write_all(text.as_bytes()).unwrap();
            stream.flush().unwrap();
            let answer = Messages::default().read(&mut &mut *stream).unwrap();
            assert!(answer.starts_with("SIP/2.0 200"), "{answer}");
        };
        let times = [
            timed(&|| {
                let answer = ask(self.doors.udp, &text("u"));
                assert!(answer.starts_with("SIP/2.0 200"), "{answer}");
            }),
            timed(&|| over(&mut tls::connect(self.doors.tcp), "t")),
            timed(&|| over(&mut tls::dial(&self.stranger, self.doors.tls), "s")),
            timed(&|| {
                let mut stream = Pieces::new(tls::connect(self.doors.xmpp));
                stream.say(&header("xmpp.example", "sip.example", ""));
                stream.wait_for("<stream:features");
            }),
        ];
        for (longest, time) in self.longest.iter_mut().zip(times) {
            *longest = time.max(*longest);
        }
    }
}

/// Asks over UDP, again and again as a client does: during a flood a datagram may be lost.
pub(crate) fn ask(to: SocketAddr, text: &str) -> String {
    let socket = peer();
    socket
        .set_read_timeout(Some(Duration::from_millis(500)))
        .unwrap();
    let mut buffer = vec![0; 65_535];
    for _ in 0..40 {
        socket.send_to(text.as_bytes(), to).unwrap();
        if let Ok(count) = socket.recv(&mut buffer) {
            return String::from_utf8(buffer[..count].to_vec()).unwrap();
        }
    }
    panic!("no answer to {text}");
}

trait Duplex: Read + Write {}
impl<T: Read + Write> Duplex for T {}

/// Silent connections, from as many addresses as it takes. Those that the gateway closes at once are left out.
fn connections(to: SocketAddr, count: u32, network: u8) -> Vec<TcpStream> {
    (0..count)
        .map(|number| {
            let host = Ipv4Addr::new(127, network, 0, 1).to_bits() + number / PER_ADDRESS;
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            let from = SocketAddr::from((Ipv4Addr::from_bits(host), 0));
            socket.bind(&from.into()).unwrap();
            socket.connect(&to.into()).unwrap();
            tls::patient(socket.into())
        })
        .collect()
}

/// Silent ones on each door. Those of TLS are handshakes that never begin.
fn idle(stage: &mut Stage) -> Vec<TcpStream> {
    let count = 100 * stage.scale;
    let mut all = connections(stage.doors.tcp, count, 70);
    all.extend(connections(stage.doors.tls, count, 71));
    all.extend(connections(stage.doors.xmpp, count, 72));
    all
}

/// Ones that say a little, as the slowest would, and never come to an end.
fn half_said(stage: &mut Stage) -> Vec<TcpStream> {
    let count = 40 * stage.scale;
    let mut all = Vec::new();
    for (door, network, words) in [
        (
            stage.doors.tcp,
            73,
            "MESSAGE sip:juliet@xmpp.example SIP/2.0\r\nVia: SIP",
        ),
        (stage.doors.tls, 74, "\u{16}\u{3}\u{1}"),
        (
            stage.doors.xmpp,
            75,
            "<?xml version='1.0'?><stream:stream xmlns='jabber:ser",
        ),
    ] {
        for mut stream in connections(door, count, network) {
            for octet in words.bytes() {
                _ = stream.write_all(&[octet]);
            }
            all.push(stream);
        }
    }
    all
}

/// Heads, elements and texts that do not end. The gateway cuts each of them.
fn endless(stage: &mut Stage) {
    let stream = header("xmpp.example", "sip.example", "");
    let cases: [(SocketAddr, &str, &str); 6] = [
        (
            stage.doors.tcp,
            "OPTIONS sip:gw.ocs.test SIP/2.0\r\nSubject: ",
            "x",
        ),
        (
            stage.doors.tcp,
            "OPTIONS sip:gw.ocs.test SIP/2.0\r\n",
            "Via: SIP/2.0/TCP a;branch=b\r\n",
        ),
        (stage.doors.xmpp, &stream, "<a>"),
        (stage.doors.xmpp, &stream, "<message>x</message>"),
        (
            stage.doors.xmpp,
            "<?xml version='1.0'?><stream:stream a='",
            "x",
        ),
        (
            stage.doors.xmpp,
            &format!("{stream}<db:result from='xmpp.example' to='sip.example'>"),
            "k",
        ),
    ];
    for (door, start, more) in cases {
        for _ in 0..stage.scale {
            let mut stream = tls::connect(door);
            stream.write_all(start.as_bytes()).unwrap();
            let more = more.repeat(16 * 1024 / more.len());
            let deadline = Instant::now() + DEADLINE;
            let mut is_cut = false;
            while !is_cut && Instant::now() < deadline {
                is_cut = stream.write_all(more.as_bytes()).is_err();
            }
            assert!(is_cut, "`{start:.40}` goes on");
        }
    }
}

/// Requests without end from one who does not read the answers.
fn deaf(stage: &mut Stage) -> Vec<TcpStream> {
    let ask = |number: u32| {
        request("OPTIONS", "gw.ocs.test", &format!("deaf{number}"), "").replace("/UDP", "/TCP")
    };
    let mut all = connections(stage.doors.tcp, 2 * stage.scale, 76);
    for (number, stream) in all.iter_mut().enumerate() {
        stream
            .set_write_timeout(Some(Duration::from_millis(200)))
            .unwrap();
        let first = u32::try_from(number).unwrap() * 100_000;
        // Until neither side takes more, or the gateway has cut it.
        _ = (first..first + 20_000).any(|number| stream.write_all(ask(number).as_bytes()).is_err());
    }
    all
}

/// 2,000 copies of one message are one message.
fn storm(stage: &mut Stage) {
    let from = UdpSocket::bind("127.77.0.1:0").unwrap();
    let said = |branch: &str, body: &str| {
        request("MESSAGE", "juliet@xmpp.example", branch, body)
            .replace("bob@ocs.test", "bob@sip.example")
    };
    // Another message than in the round before.
    let round = stage.round;
    let text = said(&format!("storm{round}"), "said-again-and-again");
    for _ in 0..2_000 {
        from.send_to(text.as_bytes(), stage.doors.udp).unwrap();
    }
    let answer = ask(
        stage.doors.udp,
        &said(&format!("calm{round}"), "after-the-storm"),
    );
    assert!(answer.starts_with("SIP/2.0 2"), "{answer}");
    let heard = stage.world.xmpp.hear("after-the-storm");
    let copies = heard
        .iter()
        .filter(|stanza| stanza.contains("said-again-and-again"))
        .count();
    assert_eq!(copies, 1, "{heard:#?}");
}

/// Answers that nobody waits for, from everywhere.
fn spoofed(stage: &mut Stage) {
    for number in 0..500 * stage.scale {
        let text = format!(
            "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP gw.ocs.test;branch=z9hG4bK{number:024x}\r\n\
             From: <sip:juliet@xmpp.example>;tag=1\r\nTo: <sip:romeo@sip.example>;tag=2\r\nCall-ID: {number}\r\n\
             CSeq: 1 MESSAGE\r\nContent-Length: 0\r\n\r\n"
        );
        let source = if number % 2 == 0 {
            "127.78.0.1:0"
        } else {
            "127.78.0.2:0"
        };
        let socket = UdpSocket::bind(source).unwrap();
        socket.send_to(text.as_bytes(), stage.doors.udp).unwrap();
    }
}

/// A key that its own domain does not know, and stanzas behind it.
fn forged(stage: &mut Stage) {
    for _ in 0..5 * stage.scale {
        let mut pieces = Pieces::new(tls::connect(stage.doors.xmpp));
        pieces.say(&header("xmpp.example", "sip.example", ""));
        pieces.wait_for("<stream:features");
        pieces.say("<db:result from='xmpp.example' to='sip.example'>forged</db:result>");
        let result = pieces.wait_for("<db:result");
        assert!(result.contains("type='invalid'"), "{result}");
        pieces.say(
            "<message from='juliet@xmpp.example' to='romeo@sip.example'><body>x</body></message>",
        );
        // The stream ends, one way or another.
        assert!(pieces.all(|piece| piece.starts_with("<stream:error")));
    }
}

#[test]
fn others_are_served_during_every_attack_and_memory_is_bounded() {
    let folder = Folder::new("hostile-attacks");
    let mut stage = Stage::start(&folder);
    stage.attack("none", |_| ());
    // It has answered once on each door: its code is loaded.
    let before = stage.memory("VmRSS");
    stage.all_attacks();
    // What was taken the first time is used again.
    stage.attack("idle connections once more", idle);
    if !report::is_wanted() {
        return;
    }
    // Only for the figures: what a minute of quiet gives back.
    #[allow(clippy::disallowed_methods, reason = "the minute itself is measured")]
    std::thread::sleep(Duration::from_secs(60));
    let after = stage.memory("VmRSS");
    let head = "| attack | probes | UDP ms | TCP ms | TLS ms | XMPP ms | memory MiB | most so far MiB |\n\
                |---|---|---|---|---|---|---|---|\n";
    report::add(&format!(
        "scale {}\n\n{head}{}\nMemory: {before} KiB before, {after} KiB after a minute of quiet.\n",
        stage.scale, stage.report
    ));
    assert!(
        after * 10 <= before * 12,
        "{before} KiB became {after} KiB, and stayed"
    );
}

#[test]
fn a_made_up_address_gets_no_long_answer() {
    let folder = Folder::new("hostile-amplification");
    let stage = Stage::start(&folder);
    let text = "OPTIONS sip:gw.ocs.test SIP/2.0\r\nv: SIP/2.0/UDP a;branch=z9hG4bKa;rport\r\nf: <sip:a@b>;tag=1\r\n\
                t: <sip:x>\r\ni: amp\r\nCSeq: 1 OPTIONS\r\nl: 0\r\n\r\n";
    // An address that no rule lists.
    let stranger = UdpSocket::bind("127.200.0.1:0").unwrap();
    stranger.set_read_timeout(Some(DEADLINE)).unwrap();
    stranger.send_to(text.as_bytes(), stage.doors.udp).unwrap();
    let answer = receive(&stranger);
    assert!(answer.starts_with("SIP/2.0 200"), "{answer}");
    assert!(answer.len() <= 2 * text.len(), "{answer}");
}
