//! The SIP files over UDP, TCP and TLS.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::sync::Mutex;

use regex::Regex;

use crate::corpus::{Case, cases};
use crate::harness::{DEADLINE, Folder, Gateway, SETTINGS, peer, receive, request};
use crate::report::{self, Tally};
use crate::sip_sink::{Messages, SipSink, field};
use crate::tls;
use crate::xml_pieces::{Pieces, attribute, header};
use crate::xmpp_server::XmppServer;

/// Where the running gateway does otherwise than the index, and why. `*` stands for any answer.
const OTHERWISE: &[(&str, &str, &str)] = &[
    ("v-publish", "reject:405", "it is no presence server"),
    (
        "rfc4475-invut",
        "reject:403",
        "its sender is of nobody's domain",
    ),
    ("v-invite-msrp", "reject:488", "MSRP is off"),
    (
        "rfc4475-inv2543",
        "reject:400",
        "without Content-Length it has no end on a stream",
    ),
];

/// On a stream the rest of these may still come, so they are answered by the end of the stream.
const UNFINISHED: &[&str] = &["rfc4475-clerr"];

/// The gateway of the SIP files: `xmpp.example` is behind it, `sip.example` may use it.
pub(crate) struct World {
    pub(crate) gateway: Gateway,
    pub(crate) xmpp: XmppServer,
}

impl World {
    pub(crate) fn start(folder: &Folder) -> (Self, SipSink) {
        let sip = SipSink::start();
        (Self::start_towards(folder, sip.address), sip)
    }

    /// With this next hop for `sip.example`, over TCP.
    pub(crate) fn start_towards(folder: &Folder, next_hop: SocketAddr) -> Self {
        Self::start_by(folder, &format!("sip:{next_hop};transport=tcp"))
    }

    /// With this URI as next hop for `sip.example`.
    pub(crate) fn start_by(folder: &Folder, next_hop: &str) -> Self {
        let xmpp = XmppServer::start("xmpp.example", "sip.example");
        let settings = SETTINGS
            .replace(
                "domain = \"*\"\naddress = \"127.0.0.1:9\"",
                &format!(
                    "domain = \"xmpp.example\"\naddress = \"{}\"\ntls = \"off\"",
                    xmpp.address
                ),
            )
            .replace("domain = \"ocs.test\"", "domain = \"sip.example\"")
            .replace("[\"127.0.0.1\"]\n", "[\"127.0.0.0/9\"]\n")
            .replace("sip:127.0.0.1:9", next_hop)
            + "[limits]\nmessages_per_second = 1000\n";
        let gateway = Gateway::start_with(folder, &settings);
        xmpp.dial(gateway.xmpp);
        Self { gateway, xmpp }
    }
}

impl World {
    /// juliet writes to romeo.
    pub(crate) fn says(&self, id: &str) {
        self.xmpp.say(&format!(
            "<message from='juliet@xmpp.example/a' to='romeo@sip.example' id='{id}' type='chat'><body>{id}</body></message>"
        ));
    }

    /// The same, as romeo's server at that socket is asked to take it.
    pub(crate) fn writes(&self, partner: &UdpSocket, id: &str) -> String {
        self.says(id);
        loop {
            let asked = receive(partner);
            if asked.starts_with("MESSAGE ") && asked.ends_with(id) {
                return asked;
            }
        }
    }
}

/// Where it listens, and where its files are.
#[derive(Clone)]
pub(crate) struct Doors {
    pub(crate) udp: SocketAddr,
    pub(crate) tcp: SocketAddr,
    pub(crate) tls: SocketAddr,
    pub(crate) xmpp: SocketAddr,
    pub(crate) folder: PathBuf,
}

impl Doors {
    pub(crate) fn of(gateway: &Gateway) -> Self {
        Self {
            udp: gateway.udp,
            tcp: gateway.tcp,
            tls: gateway.tls,
            xmpp: gateway.xmpp,
            folder: gateway.settings.parent().unwrap().to_owned(),
        }
    }
}

/// An OPTIONS that shows that the gateway lives and has read what came before it.
fn probe(name: &str) -> String {
    request("OPTIONS", "gw.ocs.test", &format!("probe-{name}"), "")
}

/// Both doors still open.
pub(crate) fn is_alive(doors: &Doors, name: &str) {
    let socket = peer();
    socket
        .send_to(probe(&format!("after-{name}")).as_bytes(), doors.udp)
        .unwrap();
    let answer = receive(&socket);
    assert!(answer.starts_with("SIP/2.0 200"), "after {name}: {answer}");
    let mut stream = Pieces::new(tls::patient(TcpStream::connect(doors.xmpp).unwrap()));
    stream.say(&header("xmpp.example", "sip.example", ""));
    stream.wait_for("<stream:features");
}

/// What came back for one file.
#[derive(Default)]
struct Answers {
    verdicts: Vec<String>,
    probed: bool,
}

impl Answers {
    fn take(&mut self, message: &str) {
        let Some(rest) = message.strip_prefix("SIP/2.0 ") else {
            assert!(
                field(message, "To").contains("sip.example"),
                "to a third party: {message}"
            );
            return;
        };
        if field(message, "Call-ID").starts_with("probe-") {
            self.probed = true;
            return;
        }
        match rest.get(..3).unwrap() {
            status if status.starts_with('1') => {}
            status if status.starts_with('2') => self.verdicts.push("accept".to_owned()),
            status => self.verdicts.push(format!("reject:{status}")),
        }
    }

    /// Whether nothing more is to be waited for.
    fn are_complete(&self, case: &Case) -> bool {
        self.probed && (!self.verdicts.is_empty() || case.allows("ignore"))
    }
}

/// Where answers go to a request without rport: the port of its first Via (RFC 3261 §18.2.2).
fn sent_by_port(octets: &[u8]) -> u16 {
    let text = String::from_utf8_lossy(octets);
    let via = Regex::new(
        r"(?im)^v(?:ia)?\s*:\s*SIP\s*/\s*2.0\s*/\s*\w+\s+[^;,\s]*[^;,\s:]\s*:\s*(\d+)\s*[;,\r]",
    );
    let port = via
        .unwrap()
        .captures(&text)
        .and_then(|found| found[1].parse().ok());
    port.unwrap_or(5060)
}

fn over_udp(case: &Case, gateway: SocketAddr) -> Vec<String> {
    let socket = UdpSocket::bind((tls::own_address(), sent_by_port(&case.octets))).unwrap();
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    socket.connect(gateway).unwrap();
    socket.send(&case.octets).unwrap();
    socket.send(probe(&case.name).as_bytes()).unwrap();
    let mut answers = Answers::default();
    let mut buffer = vec![0; 65_535];
    while !answers.are_complete(case) {
        let Ok(count) = socket.recv(&mut buffer) else {
            answers.verdicts.push("silence".to_owned());
            break;
        };
        answers.take(&String::from_utf8_lossy(&buffer[..count]));
    }
    answers.verdicts
}

fn over_stream<S: Read + Write>(case: &Case, mut stream: S, end: impl Fn(&S)) -> Vec<String> {
    // The gateway may close before it has read everything.
    _ = stream.write_all(&case.octets);
    if UNFINISHED.contains(&case.name.as_str()) {
        _ = stream.flush();
        end(&stream);
    } else {
        _ = stream.write_all(probe(&case.name).replace("/UDP", "/TCP").as_bytes());
        _ = stream.flush();
    }
    let mut answers = Answers::default();
    let mut messages = Messages::default();
    while !answers.are_complete(case) {
        let Some(message) = messages.read(&mut stream) else {
            let verdict = if messages.silent { "silence" } else { "close" };
            answers.verdicts.push(verdict.to_owned());
            break;
        };
        answers.take(&message);
    }
    answers.verdicts
}

/// Why the verdicts of a file are wrong, if they are.
fn complaint(case: &Case, verdicts: &[String]) -> Option<String> {
    let otherwise = OTHERWISE.iter().find(|(name, ..)| *name == case.name);
    let is_fine = |verdict: &String| {
        case.allows(verdict)
            || otherwise.is_some_and(|(_, allowed, _)| allowed == verdict)
            // An answer before the end is as good as the end alone.
            || (case.allows("close") && verdict.starts_with("reject:"))
            // Those of the RFCs are about other people's domains and methods; but they are read.
            || (case.name.starts_with("rfc") && case.allows("accept") && verdict.starts_with("reject:") && verdict != "reject:400")
            // What was refused may be closed, too.
            || (verdict == "close" && (verdicts.len() > 1 || case.allows("ignore")))
            || (verdict == "close" && UNFINISHED.contains(&case.name.as_str()))
    };
    let silent = verdicts.is_empty() && !case.allows("ignore");
    (silent || !verdicts.iter().all(is_fine)).then(|| {
        format!(
            "{}: {} expected, got {verdicts:?}",
            case.name, case.expected
        )
    })
}

/// Plays the files on eight connections at a time, and looks at both sides of the border afterwards.
fn play(transport: &str, each: impl Fn(&Case, &Doors) -> Vec<String> + Sync) {
    let folder = Folder::new(&format!("hostile-{transport}"));
    let (mut world, sip) = World::start(&folder);
    let listed = if transport == "udp" { "udp" } else { "tcp" };
    let waiting: VecDeque<Case> = cases("sip")
        .into_iter()
        .filter(|case| case.is_for(listed))
        .collect();
    let total = waiting.len();
    assert!(total > 100, "the corpus is there");
    let doors = Doors::of(&world.gateway);
    let (waiting, done) = (Mutex::new(waiting), Mutex::new(Vec::new()));
    let tally = Mutex::new(Tally::start(
        world.gateway.id(),
        &format!("SIP over {transport}"),
    ));
    // One at a time is to be had for its figures only.
    let hands = if report::is_wanted() { 1 } else { 8 };
    std::thread::scope(|scope| {
        for _ in 0..hands {
            scope.spawn(|| {
                while let Some(case) = { waiting.lock().unwrap().pop_front() } {
                    let verdicts = each(&case, &doors);
                    is_alive(&doors, &case.name);
                    tally.lock().unwrap().played(&verdicts);
                    done.lock().unwrap().push((case, verdicts));
                }
            });
        }
    });
    let done = done.into_inner().unwrap();
    assert_eq!(done.len(), total);
    tally.into_inner().unwrap().end();
    let complaints: Vec<String> = done
        .iter()
        .filter_map(|(case, verdicts)| complaint(case, verdicts))
        .collect();
    assert!(
        complaints.is_empty(),
        "over {transport}:\n{}",
        complaints.join("\n")
    );
    let accepted = done
        .iter()
        .filter(|(_, verdicts)| verdicts.iter().any(|verdict| verdict == "accept"))
        .count();
    nothing_slipped_through(&mut world, &sip, accepted);
}

/// Nothing but stanzas of the one domain for the other, no more than were accepted; no request and no question to anybody
/// else.
fn nothing_slipped_through(world: &mut World, sip: &SipSink, accepted: usize) {
    let last = request("MESSAGE", "juliet@xmpp.example", "last", "the-last-one")
        .replace("bob@ocs.test", "bob@sip.example");
    let answer = world.gateway.ask(&peer(), &last);
    assert!(answer.starts_with("SIP/2.0 "), "{answer}");
    let stanzas = world.xmpp.hear("the-last-one");
    let messages = stanzas
        .iter()
        .filter(|stanza| stanza.contains("<body"))
        .count();
    assert!(messages > 5, "what is good arrives: {stanzas:#?}");
    assert!(
        messages <= accepted + 1,
        "{messages} of {accepted}: {stanzas:#?}"
    );
    for stanza in &stanzas {
        let name = stanza.trim_start_matches('<').split([' ', '>', '/']).next();
        assert!(
            matches!(name, Some("message" | "presence" | "iq")),
            "{stanza}"
        );
        let domain = |address: &str| {
            let bare = address.split('/').next().unwrap().to_owned();
            bare.rsplit('@').next().unwrap().to_owned()
        };
        assert_eq!(domain(attribute(stanza, "from")), "sip.example", "{stanza}");
        assert_eq!(domain(attribute(stanza, "to")), "xmpp.example", "{stanza}");
    }
    for request in sip.heard.try_iter() {
        assert!(field(&request, "To").contains("@sip.example"), "{request}");
    }
    assert!(world.gateway.is_running());
    _ = world.gateway.stop();
    let log = &world.gateway.log;
    // An answer may be brought to where the request came from (RFC 3261 §18.2.2), nowhere else.
    let elsewhere = |line: &&String| {
        [
            "SIP connection failed",
            "datagram not sent",
            "panicked",
            "ERROR",
        ]
        .iter()
        .any(|words| line.contains(words))
            && !line.contains("address=127.66.")
    };
    let elsewhere: Vec<&String> = log.iter().filter(elsewhere).collect();
    assert!(elsewhere.is_empty(), "{elsewhere:#?}");
}

#[test]
fn every_sip_file_over_udp() {
    play("udp", |case, doors| over_udp(case, doors.udp));
}

#[test]
fn every_sip_file_over_tcp() {
    play("tcp", |case, doors| {
        let stream = tls::connect(doors.tcp);
        over_stream(case, stream, |stream| {
            stream.shutdown(Shutdown::Write).unwrap();
        })
    });
}

#[test]
fn every_sip_file_over_tls() {
    let config = std::sync::OnceLock::new();
    play("tls", |case, doors| {
        let config = config.get_or_init(|| tls::client(&doors.folder, None));
        over_stream(case, tls::dial(config, doors.tls), |stream| {
            stream.sock.shutdown(Shutdown::Write).unwrap();
        })
    });
}
