//! Two gateways that lead to each other: the SIP side of each is the XMPP side of the other.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, OnceLock};

use crate::harness::{Folder, Gateway, SETTINGS, peer, request};

/// A way between the two, with an address before there is anybody at its end, that remembers what was said.
struct Wire {
    address: SocketAddr,
    end: Arc<OnceLock<SocketAddr>>,
    heard: Arc<Mutex<Vec<u8>>>,
}

impl Wire {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let wire = Self {
            address: listener.local_addr().unwrap(),
            end: Arc::default(),
            heard: Arc::default(),
        };
        let (end, heard) = (Arc::clone(&wire.end), Arc::clone(&wire.heard));
        std::thread::spawn(move || {
            for here in listener.incoming().map_while(Result::ok) {
                let Some(there) = end.get().and_then(|end| TcpStream::connect(end).ok()) else {
                    continue;
                };
                let back = (there.try_clone().unwrap(), here.try_clone().unwrap());
                let heard = Arc::clone(&heard);
                std::thread::spawn(move || carry(here, there, &heard));
                std::thread::spawn(move || carry(back.0, back.1, &Mutex::default()));
            }
        });
        wire
    }

    fn leads_to(&self, end: SocketAddr) {
        self.end.set(end).unwrap();
    }

    /// How often these words have crossed.
    fn count(&self, words: &str) -> usize {
        let heard = self.heard.lock().unwrap();
        String::from_utf8_lossy(&heard).matches(words).count()
    }
}

/// Carries one direction to its end.
fn carry(mut from: TcpStream, mut to: TcpStream, heard: &Mutex<Vec<u8>>) {
    let mut buffer = [0; 16 * 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        heard.lock().unwrap().extend_from_slice(&buffer[..count]);
        if to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    _ = to.shutdown(Shutdown::Write);
}

/// `a.example` and `b.example`, each of which is SIP to one gateway and XMPP to the other.
struct Circle {
    one: Gateway,
    other: Gateway,
    /// From the SIP side of `one` to `other`, and from the XMPP side of `other` to `one`.
    sip: Wire,
    xmpp: Wire,
    _folders: [Folder; 2],
}

impl Circle {
    fn start(name: &str, behaviour: &str) -> Self {
        let (sip, xmpp, xmpp_back) = (Wire::new(), Wire::new(), Wire::new());
        let settings = |partner: &str, address: SocketAddr, domain: &str, hop: SocketAddr| {
            SETTINGS
                .replace(
                    "domain = \"*\"\naddress = \"127.0.0.1:9\"",
                    &format!("domain = \"{partner}\"\naddress = \"{address}\"\ntls = \"off\""),
                )
                .replace("ocs.test\"\nnext", &format!("{domain}\"\nnext"))
                .replace("sip:127.0.0.1:9", &format!("sip:{hop};transport=tcp"))
                + behaviour
        };
        let folders = ["one", "other"].map(|side| Folder::new(&format!("circle-{name}-{side}")));
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 9));
        let one = settings("a.example", xmpp_back.address, "b.example", sip.address);
        let one = Gateway::start_with(&folders[0], &one);
        let other = settings("b.example", xmpp.address, "a.example", nowhere);
        let other = Gateway::start_with(&folders[1], &other);
        sip.leads_to(other.tcp);
        xmpp.leads_to(one.xmpp);
        xmpp_back.leads_to(other.xmpp);
        Self {
            one,
            other,
            sip,
            xmpp,
            _folders: folders,
        }
    }

    /// What a user of a.example, who is on SIP, is told by the gateway that he asks.
    fn ask(&mut self, method: &str, branch: &str, (more, body): (&str, &str)) -> String {
        let who = format!("{branch}@a.example");
        let text = request(method, "juliet@b.example", branch, body)
            .replace("bob@ocs.test", &who)
            .replace("Max-Forwards", &format!("{more}Max-Forwards"));
        self.other.ask(&peer(), &text)
    }

    fn crossings(&self, words: &str) -> [usize; 2] {
        [self.sip.count(words), self.xmpp.count(words)]
    }
}

#[test]
fn a_message_crosses_two_gateways_in_a_circle_once() {
    for way in ["page", "session"] {
        let mut circle = Circle::start(way, &format!("[sip.domain.behaviour]\nim = \"{way}\"\n"));
        let words = ["said-once", "and-once-more", "and-at-last"];
        for word in words {
            let answer = circle.ask("MESSAGE", &format!("romeo{}", word.len()), ("", word));
            assert!(answer.starts_with("SIP/2.0 "), "{answer}");
            circle.one.wait_for("outcome of a message to SIP");
        }
        for word in words {
            // In a session the invitation is refused before anything is said in it.
            let [sip, xmpp] = circle.crossings(word);
            assert!(
                sip <= 1 && xmpp == 1,
                "{way}: {word} went {sip}, {xmpp} times"
            );
        }
        assert!(circle.one.is_running() && circle.other.is_running());
    }
}

#[test]
fn subscriptions_and_probes_do_not_circle_either() {
    let mut circle = Circle::start("presence", "");
    // Once for a subscription, and once for the state alone, which nobody has allowed.
    for (branch, expires, end) in [
        ("stay", 600, "event=Refused(Sip(SipStatus { code: 482"),
        ("look", 0, "kind=Unsubscribed"),
    ] {
        let more = format!(
            "Event: presence\r\nExpires: {expires}\r\nContact: <sip:romeo@127.0.0.1:5060>\r\n"
        );
        let answer = circle.ask("SUBSCRIBE", branch, (&more, ""));
        assert!(answer.starts_with("SIP/2.0 200"), "{answer}");
        circle.one.wait_for(end);
    }
    // Behind them a message, which goes the same way.
    let answer = circle.ask("MESSAGE", "last", ("", "the-last-one"));
    assert!(answer.starts_with("SIP/2.0 "), "{answer}");
    circle.one.wait_for("outcome of a message to SIP");
    for (words, most) in [
        ("SUBSCRIBE sip:", 1),
        ("type='subscribe'", 1),
        ("type='probe'", 1),
    ] {
        let count: usize = circle.crossings(words).iter().sum();
        assert!((1..=most).contains(&count), "{count} times {words}");
    }
    assert!(circle.one.is_running() && circle.other.is_running());
}
