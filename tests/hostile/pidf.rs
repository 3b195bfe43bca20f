//! The presence documents, as bodies of NOTIFYs in a subscription that the gateway made.

use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};

use crate::corpus::cases;
use crate::harness::Folder;
use crate::sip::{Doors, World, is_alive};
use crate::sip_sink::{Messages, field};
use crate::tls;

/// Documents that state what the index wants, and what juliet is then told.
const OPEN: &str = "open";
const CLOSED: &str = "closed";

fn document(basic: &str, note: &str) -> Vec<u8> {
    format!(
        "<?xml version='1.0'?><presence xmlns='urn:ietf:params:xml:ns:pidf' entity='pres:romeo@sip.example'>\
         <tuple id='a1'><status><basic>{basic}</basic></status><note>{note}</note></tuple></presence>"
    )
    .into()
}

/// The dialog that the gateway's SUBSCRIBE has begun.
struct Subscription {
    /// Kept open: the gateway's own connection.
    _stream: TcpStream,
    gateway: SocketAddr,
    subscribe: String,
    cseq: u32,
}

impl Subscription {
    /// Takes the gateway's connection and its SUBSCRIBE.
    fn accept(listener: &TcpListener, gateway: SocketAddr) -> Self {
        let (stream, _) = listener.accept().unwrap();
        let mut stream = tls::patient(stream);
        let mut messages = Messages::default();
        let subscribe = messages.read(&mut stream).expect("a SUBSCRIBE");
        assert!(subscribe.starts_with("SUBSCRIBE "), "{subscribe}");
        let mut answer = String::from("SIP/2.0 200 OK\r\n");
        for name in ["Via", "From", "Call-ID", "CSeq"] {
            answer += &format!("{name}: {}\r\n", field(&subscribe, name));
        }
        let to = field(&subscribe, "To");
        answer += &format!(
            "To: {to};tag=r1\r\nContact: <sip:romeo@{};transport=tcp>\r\nExpires: 3600\r\nContent-Length: 0\r\n\r\n",
            listener.local_addr().unwrap()
        );
        stream.write_all(answer.as_bytes()).unwrap();
        Self {
            _stream: stream,
            gateway,
            subscribe,
            cseq: 0,
        }
    }

    /// Sends a NOTIFY on a connection of its own; the status of the answer.
    fn notify(&mut self, body: &[u8]) -> u16 {
        self.cseq += 1;
        let (subscribe, cseq) = (&self.subscribe, self.cseq);
        let target = field(subscribe, "Contact")
            .trim_start_matches('<')
            .split('>')
            .next()
            .unwrap();
        let head = format!(
            "NOTIFY {target} SIP/2.0\r\nVia: SIP/2.0/TCP 127.0.0.1;branch=z9hG4bKpidf{cseq}\r\nMax-Forwards: 70\r\n\
             From: {};tag=r1\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: {cseq} NOTIFY\r\nContact: <sip:romeo@127.0.0.1>\r\n\
             Event: presence\r\nSubscription-State: active;expires=3000\r\n\
             Content-Type: application/pidf+xml\r\nContent-Length: {}\r\n\r\n",
            field(subscribe, "To"),
            field(subscribe, "From"),
            field(subscribe, "Call-ID"),
            body.len()
        );
        let mut stream = tls::connect(self.gateway);
        // It may be refused before it was read to its end.
        _ = stream.write_all(head.as_bytes());
        _ = stream.write_all(body);
        let answer = Messages::default().read(&mut stream);
        let answer = answer.expect("an answer to the NOTIFY");
        answer.split(' ').nth(1).unwrap().parse().unwrap()
    }
}

/// What juliet was told between two states, in the words of the index.
fn verdict(status: u16, told: &[String]) -> String {
    let Some(last) = told.last() else {
        return if status < 300 { "unchanged" } else { "reject" }.to_owned();
    };
    let gone = last.contains("unavailable");
    if gone { "accept:closed" } else { "accept:open" }.to_owned()
}

#[test]
fn every_presence_document_in_a_notify() {
    let folder = Folder::new("hostile-pidf");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut world = World::start_towards(&folder, listener.local_addr().unwrap());
    world
        .xmpp
        .say("<presence type='subscribe' from='juliet@xmpp.example' to='romeo@sip.example'/>");
    let mut subscription = Subscription::accept(&listener, world.gateway.tcp);
    let mut complaints = Vec::new();
    for (number, case) in cases("pidf").into_iter().enumerate() {
        // The other state before it, so that a change shows; then the document; then a mark.
        let before = if case.allows("accept:open") {
            CLOSED
        } else {
            OPEN
        };
        let (first, mark) = (format!("before-{number}-"), format!("after-{number}-"));
        assert_eq!(subscription.notify(&document(OPEN, &first)), 200);
        if before == CLOSED {
            world.xmpp.hear(&first);
            assert_eq!(subscription.notify(&document(CLOSED, "")), 200);
            world.xmpp.hear("unavailable");
        } else {
            world.xmpp.hear(&first);
        }
        let status = subscription.notify(&case.octets);
        assert_eq!(
            subscription.notify(&document(OPEN, &mark)),
            200,
            "{}",
            case.name
        );
        let mut told = world.xmpp.hear(&mark);
        told.pop();
        for stanza in &told {
            let parsed: minidom::Element = stanza
                .replacen("<presence", "<presence xmlns='jabber:server'", 1)
                .parse()
                .unwrap();
            assert_eq!(parsed.name(), "presence", "{}: {stanza}", case.name);
            let from = parsed.attr("from").unwrap();
            assert!(
                from.starts_with("romeo@sip.example"),
                "{}: {stanza}",
                case.name
            );
        }
        let verdict = verdict(status, &told);
        let allowed = case.allows(&verdict)
            // Nothing is told where nothing is known, and nothing changes by what is ignored.
            || (verdict == "unchanged" && (case.allows("reject") || case.allows("accept:unknown")))
            || (verdict == "unchanged" && case.allows(&format!("accept:{before}")))
            || (verdict == "accept:closed" && case.allows("accept:unknown"));
        if !allowed {
            complaints.push(format!(
                "{}: {} expected, got {verdict} ({status}): {told:?}",
                case.name, case.expected
            ));
        }
        is_alive(&Doors::of(&world.gateway), &case.name);
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
    assert!(world.gateway.is_running());
}
