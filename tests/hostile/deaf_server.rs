//! An XMPP server that takes the gateway's streams and then reads no more.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};

use crate::harness::{DEADLINE, Folder, Gateway, SETTINGS, peer, request};
use crate::sip_sink::{Messages, field};
use crate::tls;
use crate::xml_pieces::{Pieces, header};
use crate::xmpp_server::{XmppServer, prove};

const DEAF: &str = "deaf.example";
/// Messages for it, of so many octets each.
const MESSAGES: usize = 300;
const LENGTH: usize = 8 * 1024;
/// What they may cost in KiB: far less than all of them, and than what a stream's buffer in the system takes.
const MEMORY: u64 = 48 * 1024;

/// Takes streams, proves and believes everything, and reads no word behind that. Hands on the connections.
fn deaf_server() -> (SocketAddr, Receiver<TcpStream>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, connections) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let mut pieces = Pieces::new(tls::patient(stream));
            pieces.wait_for("<stream:stream");
            pieces.say(&(header(DEAF, "sip.example", " id='s1'")
                + "<stream:features><dialback xmlns='urn:xmpp:features:dialback'/></stream:features>"));
            let Some(piece) = pieces.next() else { continue };
            let answer = if piece.starts_with("<db:verify") {
                "verify"
            } else {
                "result"
            };
            pieces.say(&format!(
                "<db:{answer} from='{DEAF}' to='sip.example' id='{}' type='valid'/>",
                if answer == "verify" {
                    crate::xml_pieces::attribute(&piece, "id")
                } else {
                    ""
                }
            ));
            if answer == "result" && sender.send(pieces.stream).is_err() {
                return;
            }
        }
    });
    (address, connections)
}

fn start(folder: &Folder, deaf: SocketAddr) -> (Gateway, XmppServer) {
    let xmpp = XmppServer::start("xmpp.example", "sip.example");
    let partner = |domain: &str, address: SocketAddr| {
        format!("domain = \"{domain}\"\naddress = \"{address}\"\ntls = \"off\"")
    };
    let settings = SETTINGS
        .replace(
            "domain = \"*\"\naddress = \"127.0.0.1:9\"",
            &format!(
                "{}\n[[xmpp.partner]]\n{}",
                partner("xmpp.example", xmpp.address),
                partner(DEAF, deaf)
            ),
        )
        .replace("[xmpp]\n", "[xmpp]\nfence_timeout = \"1s\"\n")
        .replace("domain = \"ocs.test\"", "domain = \"sip.example\"")
        .replace("[\"127.0.0.1\"]\n", "[\"127.0.0.0/9\"]\n")
        + "[limits]\nmessages_per_second = 1000\nmessage_wait = \"3s\"\n";
    let gateway = Gateway::start_with(folder, &settings);
    xmpp.dial(gateway.xmpp);
    (gateway, xmpp)
}

fn resident(gateway: &Gateway) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", gateway.id())).unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS"))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn said(to: &str, branch: &str, body: &str) -> String {
    request("MESSAGE", to, branch, body).replace("bob@ocs.test", "bob@sip.example")
}

#[test]
fn an_xmpp_server_that_does_not_read_costs_a_bounded_buffer_and_then_its_connection() {
    let (address, connections) = deaf_server();
    let folder = Folder::new("hostile-deaf-server");
    let (gateway, xmpp) = start(&folder, address);
    let before = resident(&gateway);
    let mut sender = tls::connect(gateway.tcp);
    for number in 0..MESSAGES {
        let text = said(
            "eve@deaf.example",
            &format!("d{number}"),
            &"x".repeat(LENGTH),
        );
        sender
            .write_all(text.replace("/UDP", "/TCP").as_bytes())
            .unwrap();
    }
    // Besides, it asks, and reads none of the answers, which go over the gateway's own stream to it.
    let mut asks = Pieces::new(tls::connect(gateway.xmpp));
    prove(&mut asks, DEAF, "sip.example");
    for number in 0..5_000 {
        asks.say(&format!(
            "<iq type='get' id='{number}' from='{DEAF}' to='sip.example'><ping xmlns='urn:xmpp:ping'/></iq>"
        ));
    }
    let answer = gateway.ask(
        &peer(),
        &said("juliet@xmpp.example", "other", "for-another"),
    );
    assert!(answer.starts_with("SIP/2.0 200"), "{answer}");
    xmpp.hear("for-another");
    // Each sender is told that it failed, once.
    let mut answers = Messages::default();
    let mut failed = std::collections::BTreeSet::new();
    while failed.len() < MESSAGES {
        let answer = answers
            .read(&mut sender)
            .expect("every message gets an answer");
        let status: u16 = answer.split(' ').nth(1).unwrap().parse().unwrap();
        assert!(status < 200 || (500..600).contains(&status), "{answer}");
        if status >= 200 {
            assert!(
                failed.insert(field(&answer, "Call-ID").to_owned()),
                "{answer}"
            );
        }
    }
    let grown = resident(&gateway).saturating_sub(before);
    assert!(grown < MEMORY, "{grown} KiB for {MESSAGES} messages");
    // The stream has been given up: behind what was written is its end.
    let mut stream = connections.recv_timeout(DEADLINE).unwrap();
    let mut written = Vec::new();
    stream.read_to_end(&mut written).expect("the stream ends");
    assert!(
        written.len() < 128 * 1024,
        "{} octets are under way",
        written.len()
    );
}
