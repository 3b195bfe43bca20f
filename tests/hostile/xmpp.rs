//! The XMPP files: in clear, inside TLS, and on streams that have proved their domain either way.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use crate::corpus::{Case, cases};
use crate::harness::{DEADLINE, Folder, Gateway, SETTINGS, peer, receive, request};
use crate::report::Tally;
use crate::sip_sink::{SipSink, field};
use crate::tls;
use crate::xml_pieces::{Pieces, attribute, header};
use crate::xmpp_server::{XmppServer, prove};

const PEER: &str = "attacker.example";
const TARGET: &str = "xmpp.example";
/// A stanza that never ends: what follows is inside it.
const UNFINISHED: &str = "post-truncated";

/// Where the running gateway does otherwise than the index, and why: file, verdict, reason.
const OTHERWISE: &[(&str, &str, &str)] = &[
    ("starttls-junk", "tls-failure", "it says why it closes"),
    ("starttls-pipelined", "tls-failure", "it says why it closes"),
];

/// The gateway of the XMPP files: `xmpp.example` is a SIP domain, `attacker.example` may use it.
struct World {
    gateway: Gateway,
    server: XmppServer,
    sip: SipSink,
}

impl World {
    /// `rule` stands in the partner's rule.
    fn start(folder: &Folder, rule: &str, secure: bool) -> Self {
        folder.certificate("gw", &["gw.ocs.test", TARGET]);
        folder.certificate("peer", &[PEER]);
        let secure = secure.then(|| tls::server(&folder.0, "peer"));
        let server = XmppServer::start_with(PEER, TARGET, secure);
        let sip = SipSink::start();
        let settings = SETTINGS
            .replace("[\"gw.crt\"]", "[\"gw.crt\", \"peer.crt\"]")
            .replace(
                "domain = \"*\"\naddress = \"127.0.0.1:9\"",
                &format!(
                    "domain = \"{PEER}\"\naddress = \"{}\"\n{rule}",
                    server.address
                ),
            )
            .replace("domain = \"ocs.test\"", &format!("domain = \"{TARGET}\""))
            .replace(
                "sip:127.0.0.1:9",
                &format!("sip:{};transport=tcp", sip.address),
            );
        let gateway = Gateway::start_with(folder, &settings);
        Self {
            gateway,
            server,
            sip,
        }
    }

    /// The requests that crossed to SIP up to the mark, without it.
    fn crossed(&self, case: &Case, marked: bool) -> Vec<String> {
        let mark = format!("mark-{}-", case.name);
        let mut crossed: Vec<String> = Vec::new();
        if marked {
            while crossed.last().is_none_or(|heard| !heard.contains(&mark)) {
                let heard = self.sip.heard.recv_timeout(DEADLINE);
                crossed.push(heard.unwrap_or_else(|_| panic!("no {mark}: {crossed:?}")));
            }
            crossed.pop();
        } else {
            crossed.extend(self.sip.heard.try_iter());
        }
        crossed.retain(|heard| !heard.starts_with("SIP/2.0"));
        crossed
    }

    /// Both doors still open.
    fn is_alive(&self, name: &str) {
        let socket = peer();
        // A branch of its own, or it would be a retransmission that is answered where it first came from.
        let port = socket.local_addr().unwrap().port();
        let branch = format!("after-{name}-{port}");
        let probe = request("OPTIONS", "gw.ocs.test", &branch, "");
        socket.send_to(probe.as_bytes(), self.gateway.udp).unwrap();
        let answer = receive(&socket);
        assert!(answer.starts_with("SIP/2.0 200"), "after {name}: {answer}");
        let mut stream = Pieces::new(tls::connect(self.gateway.xmpp));
        stream.say(&header(PEER, TARGET, ""));
        stream.wait_for("<stream:features");
    }
}

/// What the gateway wrote on a stream, in the words of the index.
fn verdicts(said: &str) -> Vec<String> {
    let mut verdicts = Vec::new();
    if let Some((_, error)) = said.split_once("<stream:error>") {
        let condition = error.trim_start_matches('<').split([' ', '/', '>']).next();
        verdicts.push(format!("stream-error:{}", condition.unwrap()));
    }
    for piece in said.split("<db:result").skip(1) {
        let kinds = ["invalid", "error", "valid"];
        let tag = piece.split('>').next().unwrap();
        if let Some(kind) = kinds
            .iter()
            .find(|kind| tag.contains(&format!("type='{kind}'")))
        {
            verdicts.push(format!("db-{kind}"));
        }
    }
    for (part, verdict) in [
        (
            "<failure xmlns='urn:ietf:params:xml:ns:xmpp-tls'",
            "tls-failure",
        ),
        (
            "<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'",
            "sasl-failure",
        ),
        (
            "<failure xmlns='http://jabber.org/protocol/compress'",
            "compress-failure",
        ),
    ] {
        if said.contains(part) {
            verdicts.push(verdict.to_owned());
        }
    }
    verdicts
}

/// Everything up to the end of the stream.
fn read_to_end(stream: &mut impl Read) -> Result<String, String> {
    let mut said = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(count) if count > 0 => said.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                return Err(String::from_utf8_lossy(&said).into_owned());
            }
            _ => return Ok(String::from_utf8(said).expect("the gateway writes UTF-8")),
        }
    }
}

/// Whether the file must end the stream by itself.
fn must_end(case: &Case) -> bool {
    let kinds = ["accept", "drop"];
    let alternatives = || case.expected.split('|');
    !alternatives().any(|one| kinds.contains(&one) || one.starts_with("stanza-error"))
        && !alternatives().any(|one| one.ends_with("-failure") || one.starts_with("db-"))
}

/// A message behind the file: when it has crossed, so has everything before it.
fn mark(case: &Case) -> String {
    format!(
        "<message from='mark@{PEER}' to='juliet@{TARGET}'><body>mark-{}-</body></message>",
        case.name
    )
}

/// Writes a file and reads what comes to the end of the stream; a complaint if the verdict is wrong.
fn play<S: Read + Write>(case: &Case, stream: &mut S) -> Result<Vec<String>, String> {
    _ = stream.write_all(&case.octets);
    if case.name == "proto-tls" {
        // The rest of its hello, or the handshake would wait for it until its time is over.
        _ = stream.write_all(&[0; 20_000]);
    }
    if !must_end(case) {
        if case.phase == "post" {
            _ = stream.write_all(mark(case).as_bytes());
        }
        _ = stream.write_all(b"</stream:stream>");
    }
    _ = stream.flush();
    let said = read_to_end(stream)
        .map_err(|said| format!("{}: the stream stays open: {said}", case.name))?;
    let found = verdicts(&said);
    // Our own end of the stream inside an open element is not the file's fault.
    let unfinished = case.name == UNFINISHED;
    let is_fine = |verdict: &String| {
        case.allows(verdict)
            || (case.allows("close") && verdict.starts_with("stream-error:"))
            || OTHERWISE
                .iter()
                .any(|(name, word, _)| *name == case.name && word == verdict)
            || unfinished
    };
    let must_say = !["accept", "drop", "close", "stanza-error"]
        .iter()
        .any(|kind| case.expected.split(['|', ':']).any(|word| word == *kind));
    if found.iter().all(is_fine) && !(must_say && found.is_empty()) {
        Ok(found)
    } else {
        Err(format!(
            "{}: {} expected, got {found:?}: {}",
            case.name,
            case.expected,
            said.get(..600).unwrap_or(&said)
        ))
    }
}

/// How a stream gets to where a file of the corpus begins.
type Open<'a, S> = &'a dyn Fn(&Case, SocketAddr) -> Pieces<S>;

/// `way`: how the files come, in words.
fn play_all<S: Read + Write>(world: &mut World, (phase, way): (&str, &str), open: Open<'_, S>) {
    let mut complaints = Vec::new();
    let mut tally = Tally::start(world.gateway.id(), &format!("XMPP {way}"));
    let mut cases = cases("xmpp");
    cases.retain(|case| case.phase == phase);
    for case in &cases {
        let mut pieces = open(case, world.gateway.xmpp);
        let played = play(case, &mut pieces.stream);
        let verdicts = played.clone().unwrap_or_default();
        let marked = match played {
            Ok(found) => {
                let ended = |verdict: &String| {
                    verdict.starts_with("stream-error") || verdict == "tls-failure"
                };
                phase == "post" && !found.iter().any(ended) && case.name != UNFINISHED
            }
            Err(complaint) => {
                complaints.push(complaint);
                false
            }
        };
        let crossed = world.crossed(case, marked);
        world.is_alive(&case.name);
        tally.played(&verdicts);
        complaints.extend(crossing(case, &crossed));
    }
    tally.end();
    if phase == "post" {
        let mut pieces = open(&cases[0], world.gateway.xmpp);
        pieces.say(&format!(
            "<iq type='get' id='the-last' from='{PEER}' to='{TARGET}'><ping xmlns='urn:xmpp:ping'/></iq>"
        ));
        complaints.extend(refusals(&cases, &world.server.hear("the-last")));
    }
    assert!(cases.len() > 40, "the corpus is there");
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
    assert!(world.gateway.is_running());
}

/// The errors that came back and are none of those allowed for the file whose stanza they answer.
fn refusals(cases: &[Case], heard: &[String]) -> Vec<String> {
    let errors = heard
        .iter()
        .filter(|stanza| stanza.contains("type='error'"));
    let unexpected = errors.filter(|stanza| {
        let id = stanza.contains(" id='").then(|| attribute(stanza, "id"));
        let mut asked = cases.iter().filter(|case| {
            let text = String::from_utf8_lossy(&case.octets);
            match id {
                Some(id) => text.contains(&format!("id='{id}'")),
                None => !text.contains(" id="),
            }
        });
        !asked.any(|case| case.expected.contains("stanza-error"))
    });
    unexpected
        .map(|stanza| format!("refused: {stanza}"))
        .collect()
}

/// What crossed the border because of a file, where it should not, or not so.
fn crossing(case: &Case, crossed: &[String]) -> Vec<String> {
    let mut complaints = Vec::new();
    if crossed.is_empty() && case.expected == "accept" && case.name.starts_with("msg-") {
        complaints.push(format!("{}: did not arrive", case.name));
    }
    for request in crossed {
        let from = field(request, "From");
        if case.phase == "pre" || !case.allows("accept") {
            complaints.push(format!("{}: crossed: {request}", case.name));
        }
        if !from.contains("@attacker.example") || !field(request, "To").contains("@xmpp.example") {
            complaints.push(format!("{}: in another name: {request}", case.name));
        }
    }
    complaints
}

fn in_clear(_: &Case, gateway: SocketAddr) -> Pieces<TcpStream> {
    Pieces::new(tls::connect(gateway))
}

#[test]
fn every_xmpp_file_in_clear_and_behind_dialback() {
    let folder = Folder::new("hostile-clear");
    let mut world = World::start(&folder, "tls = \"optional\"", false);
    world.server.dial(world.gateway.xmpp);
    play_all(&mut world, ("pre", "in clear"), &in_clear);
    play_all(&mut world, ("post", "behind dialback"), &|_, gateway| {
        let mut pieces = Pieces::new(tls::connect(gateway));
        prove(&mut pieces, PEER, TARGET);
        pieces
    });
}

#[test]
fn every_xmpp_file_where_tls_is_required() {
    let folder = Folder::new("hostile-before-tls");
    let mut world = World::start(&folder, "direct_tls = true", true);
    play_all(&mut world, ("pre", "where TLS is required"), &in_clear);
    let config = tls::client(&folder.0, Some("peer"));
    let stranger = tls::client(&folder.0, None);
    play_all(&mut world, ("pre", "inside TLS"), &|_, gateway| {
        Pieces::new(tls::dial(&stranger, gateway))
    });
    let answers = by_certificate(&config, world.gateway.xmpp).stream;
    world.server.answer_on(answers);
    play_all(
        &mut world,
        ("post", "behind a certificate"),
        &|_, gateway| by_certificate(&config, gateway),
    );
}

/// A stream that is proved by a certificate.
fn by_certificate(config: &Arc<rustls::ClientConfig>, gateway: SocketAddr) -> Pieces<tls::Client> {
    let mut pieces = Pieces::new(tls::dial(config, gateway));
    pieces.say(&header(PEER, TARGET, ""));
    pieces.wait_for("<stream:features");
    pieces.say("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'>=</auth>");
    pieces.wait_for("<success");
    pieces.say(&header(PEER, TARGET, ""));
    pieces.wait_for("<stream:features");
    pieces
}
