//! A SIP user's account at an XMPP server, engine and account joined, on virtual time: what each side sees.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use minidom::Element;
use stox_core::address::{Jid, Scheme, SipAddress};
use stox_core::failure::{Failure, Local};
use stox_core::policy::DomainPattern;
use stox_core::time::{Now, SeededEntropy};
use stox_core::vocab::{Direction, Grant, Pair, StoreIn, StoreOut};
use stox_sip::transport::{FlowId, Source, Target, Transport};
use stox_xmpp::account::{self, AccountNote, Command};
use stox_xmpp::link::{Attempt, Loss};
use stox_xmpp::server::Software;
use stoxgate::config;
use stoxgate::engine::{Account, BoundPorts, Effect, Engine, LinkName, Settings, StanzaToken};

const SETTINGS: &str = r#"
[gateway]
host = "gw.ocs.test"
state_dir = "state"
[tls]
certificate = "c.pem"
key = "k.pem"
[xmpp]
[[xmpp.partner]]
domain = "jabber.test"
[sip]
udp = ["127.0.0.1:5060"]
[[sip.domain]]
domain = "ocs.test"
trusted_addresses = ["127.0.0.1"]
"#;

/// Engine, account and what each side was sent.
struct World {
    engine: Engine,
    account: account::Account,
    route: Account,
    now: Now,
    sip: Vec<String>,
    /// What the account's server was sent.
    xmpp: Vec<Element>,
    /// What other servers were sent.
    beside: Vec<Element>,
    /// The ways that wait for a session, or have one.
    links: Vec<(LinkName, Attempt)>,
    sessions: u32,
    up: bool,
    handled: usize,
    requests: u32,
}

fn jid(text: &str) -> Jid {
    text.parse().unwrap()
}

fn source() -> Source {
    Source {
        flow: FlowId(1),
        transport: Transport::Udp,
        remote: "127.0.0.1:5070".parse().unwrap(),
        certificate_names: Vec::new(),
    }
}

impl World {
    fn new() -> Self {
        let config = config::parse(SETTINGS, Path::new("gateway.toml"), []).unwrap();
        let mut engine = Engine::new(Settings::new(&config, BoundPorts::default()), || {
            Box::new(SeededEntropy(7))
        });
        let others = [DomainPattern::parse("far.test")];
        let route = Account::new(&jid("alice@net.test"), &jid("alice@ocs.test"), &others);
        let now = Now {
            mono: Duration::ZERO,
            wall: Duration::from_secs(1_800_000_000),
        };
        engine.set_accounts(vec![route.clone()], now);
        let settings = account::Settings {
            account: jid("alice@net.test"),
            user: jid("alice@ocs.test"),
            domains: others.to_vec(),
            own_domains: BTreeSet::from(["ocs.test".to_owned()]),
            software: Software {
                name: "stoxgate".to_owned(),
                version: "1".to_owned(),
            },
        };
        Self {
            engine,
            account: account::Account::new(settings),
            route,
            now,
            sip: Vec::new(),
            xmpp: Vec::new(),
            beside: Vec::new(),
            links: Vec::new(),
            sessions: 0,
            up: false,
            handled: 0,
            requests: 0,
        }
    }

    fn up(roster: &str) -> Self {
        let mut world = Self::new();
        world.log_in(roster);
        world.xmpp.clear();
        world
    }

    fn log_in(&mut self, roster: &str) {
        self.sessions += 1;
        self.account.bound("alice@net.test/r").unwrap();
        let id = self.sessions;
        self.server(&format!(
            "<iq xmlns='jabber:client' type='result' id='roster-{id}'><query xmlns='jabber:iq:roster'>{roster}</query></iq>"
        ));
    }

    fn lose_session(&mut self) {
        self.up = false;
        self.account.lost();
        for (name, attempt) in std::mem::take(&mut self.links) {
            let loss = Loss::Passing(Failure::Local(Local::TransportFailed));
            self.engine.stream_lost(&name, attempt, loss, self.now);
        }
        self.pump();
    }

    fn server(&mut self, xml: &str) {
        self.account.receive(xml.parse().expect(xml));
        self.pump();
    }

    fn wait(&mut self, wait: Duration) {
        let end = self.now.mono + wait;
        while let Some(at) = self.engine.poll_timeout().filter(|at| *at <= end) {
            self.now.mono = at;
            self.engine.handle_timeout(self.now);
            self.pump();
        }
        self.now.mono = end;
    }

    // -------------------------------------------------------------------------------------------- SIP

    fn send_sip(&mut self, text: &str) {
        self.engine
            .datagram(&source(), &Bytes::from(text.to_owned()), self.now);
        self.pump();
    }

    /// A request of a SIP user outside dialogs.
    fn request(&mut self, method: &str, from: &str, to: &str, more: &str) {
        self.requests += 1;
        let n = self.requests;
        let (more, body) = match more.split_once("\r\n\r\n") {
            Some((more, body)) => (format!("{more}\r\n"), body),
            None => (more.to_owned(), ""),
        };
        let length = body.len();
        self.send_sip(&format!(
            "{method} sip:{to} SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:5070;branch=z9hG4bKt{n}\r\nMax-Forwards: 70\r\n\
             From: <sip:{from}>;tag={n}\r\nTo: <sip:{to}>\r\nCall-ID: c{n}\r\nCSeq: 1 {method}\r\n\
             Contact: <sip:{from};transport=udp>\r\n{more}Content-Length: {length}\r\n\r\n{body}"
        ));
    }

    fn message(&mut self, from: &str, to: &str) {
        self.request("MESSAGE", from, to, "Content-Type: text/plain\r\n\r\nhello");
    }

    /// Answers the last request of the gateway's of that method, and returns it.
    fn answer(&mut self, method: &str, status: &str) -> String {
        let request = self.last(method);
        let mut answer = format!("SIP/2.0 {status}\r\n");
        for name in ["Via", "From", "To", "Call-ID", "CSeq"] {
            let tag = if name == "To" && !header(&request, name).contains(";tag=") {
                ";tag=peer"
            } else {
                ""
            };
            answer += &format!("{name}: {}{tag}\r\n", header(&request, name));
        }
        answer +=
            "Contact: <sip:alice@127.0.0.1:5070>\r\nExpires: 3600\r\nContent-Length: 0\r\n\r\n";
        self.send_sip(&answer);
        request
    }

    /// Tells a subscription of the gateway's how alice is.
    fn notify(&mut self, subscribe: &str, number: u32, basic: &str) {
        let target = header(subscribe, "Contact");
        let target = target.split(['<', '>']).nth(1).unwrap();
        let body = format!(
            "<?xml version='1.0'?><presence xmlns='urn:ietf:params:xml:ns:pidf' entity='pres:alice@ocs.test'>\
             <tuple id='desk'><status><basic>{basic}</basic></status></tuple></presence>"
        );
        self.send_sip(&format!(
            "NOTIFY {target} SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:5070;branch=z9hG4bKn{number}\r\nMax-Forwards: 70\r\n\
             From: {};tag=peer\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: {number} NOTIFY\r\nContact: <sip:alice@127.0.0.1:5070>\r\n\
             Event: presence\r\nSubscription-State: active;expires=3600\r\nContent-Type: application/pidf+xml\r\n\
             Content-Length: {}\r\n\r\n{body}",
            header(subscribe, "To"),
            header(subscribe, "From"),
            header(subscribe, "Call-ID"),
            body.len()
        ));
    }

    fn last(&self, start: &str) -> String {
        let found = self.sip.iter().rev().find(|text| text.starts_with(start));
        found
            .unwrap_or_else(|| panic!("no {start} in {:#?}", self.sip))
            .clone()
    }

    /// The final answers to the SIP user's requests of that method, in order.
    fn answers(&self, method: &str) -> Vec<&str> {
        let answers = self.sip.iter().filter(|text| {
            text.starts_with("SIP/2.0 ")
                && !text.starts_with("SIP/2.0 1")
                && header(text, "CSeq").ends_with(method)
        });
        answers.filter_map(|text| text.split(' ').nth(1)).collect()
    }

    // ------------------------------------------------------------------------------------------- XMPP

    /// What the account's server was sent, but for pings.
    fn stanzas(&mut self) -> Vec<String> {
        let (pings, stanzas) = std::mem::take(&mut self.xmpp)
            .into_iter()
            .partition(|element| element.has_child("ping", "urn:xmpp:ping"));
        self.xmpp = pings;
        stanzas.iter().map(text).collect()
    }

    /// The fences are answered as each domain would.
    fn answer_fences(&mut self) {
        let (pings, rest): (Vec<_>, Vec<_>) = std::mem::take(&mut self.xmpp)
            .into_iter()
            .partition(|element| element.has_child("ping", "urn:xmpp:ping"));
        self.xmpp = rest;
        assert!(!pings.is_empty(), "no fence");
        for ping in pings {
            let (to, id) = (ping.attr("to").unwrap(), ping.attr("id").unwrap());
            self.server(&format!("<iq xmlns='jabber:client' type='result' id='{id}' from='{to}' to='alice@net.test/r'/>"));
        }
    }

    fn pump(&mut self) {
        loop {
            if let Some(effect) = self.engine.poll_effect() {
                self.carry_out(effect);
            } else if let Some(command) = self.account.poll_command() {
                self.obey(command);
            } else {
                return;
            }
        }
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Send(transmit) => self
                .sip
                .push(String::from_utf8(transmit.bytes.to_vec()).unwrap()),
            Effect::Resolve(resolve) => {
                let target = Target {
                    transport: Transport::Udp,
                    address: source().remote,
                    name: "ocs.test".to_owned(),
                    also: Vec::new(),
                };
                self.engine
                    .sip_resolved(resolve.id, Ok(vec![target]), self.now);
            }
            Effect::Connect(name, attempt) if name.account.is_none() => {
                self.engine.stream_ready(&name, attempt, None, self.now);
            }
            Effect::Connect(name, attempt) => {
                assert_eq!(name.account.as_deref(), Some("alice@net.test"));
                if self.up {
                    self.engine.stream_ready(&name, attempt, None, self.now);
                }
                self.links.push((name, attempt));
            }
            Effect::Write(name, element) if name.account.is_none() => {
                self.beside.push(Element::clone(&element));
            }
            Effect::Write(name, element) => self.account.write(&name.partner, &element),
            Effect::CloseStream(name, attempt, _) => {
                self.links.retain(|link| *link != (name.clone(), attempt))
            }
            Effect::Store(StoreOut::Keep(kept)) => {
                self.engine.stored(StoreIn::Kept(kept.reference), self.now)
            }
            Effect::Handled(_) => self.handled += 1,
            _ => {}
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Write(element) => self.xmpp.push(element),
            Command::Deliver { partner, element } => {
                let name = LinkName::of_account(&self.route, &partner);
                self.engine
                    .stanza(&name, &element, StanzaToken(1), self.now);
            }
            Command::Note(AccountNote::Ready { .. }) => {
                self.up = true;
                for (name, attempt) in self.links.clone() {
                    self.engine.stream_ready(&name, attempt, None, self.now);
                }
                if self.sessions > 1 {
                    self.engine.account_rejoined("alice@net.test", self.now);
                }
            }
            Command::Note(note) => panic!("{note}"),
        }
    }
}

fn header(text: &str, name: &str) -> String {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(&format!("{name}: ")));
    line.unwrap_or_else(|| panic!("no {name} in {text}"))
        .to_owned()
}

/// A stanza without what tells gateways where it has been.
fn text(element: &Element) -> String {
    let mut element = element.clone();
    element.remove_child("trace", "stoxgate:trace:0");
    String::from(&element).replace(" xmlns='jabber:client'", "")
}

const TO: &str = "<item jid='romeo@net.test' subscription='to'/>";
const BOTH: &str = "<item jid='romeo@net.test' subscription='both'/>";

#[test]
fn a_message_to_a_contact_is_answered_behind_the_fence() {
    for contact in ["romeo@net.test", "juliet@far.test"] {
        let mut world = World::up("");
        world.message("alice@ocs.test", contact);
        let stanzas = world.stanzas();
        assert_eq!(stanzas.len(), 1, "{stanzas:?}");
        assert!(stanzas[0].starts_with("<message id="), "{stanzas:?}");
        assert!(
            stanzas[0].contains(&format!("to='{contact}'")) && stanzas[0].contains(">hello<"),
            "{stanzas:?}"
        );
        assert!(!stanzas[0].contains("ocs.test"), "{stanzas:?}");
        assert_eq!(
            world.answers("MESSAGE"),
            [""; 0],
            "nobody has said yet that it is handled"
        );
        world.answer_fences();
        assert_eq!(world.answers("MESSAGE"), ["200"]);
    }
}

#[test]
fn an_error_of_the_contacts_server_is_the_answer() {
    let mut world = World::up("");
    world.message("alice@ocs.test", "nobody@net.test");
    let id = world.xmpp[0].attr("id").unwrap().to_owned();
    world.server(&format!(
        "<message xmlns='jabber:client' type='error' id='{id}' from='nobody@net.test' to='alice@net.test/r'>\
         <error type='cancel'><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></message>"
    ));
    assert_eq!(world.answers("MESSAGE"), ["604"]);
    world.answer_fences();
    assert_eq!(world.answers("MESSAGE"), ["604"]);
}

/// What the account's own server says in the name of a domain that it does not reach proves nothing of what went before.
#[test]
fn a_way_that_is_cut_behind_the_accounts_server_is_no_proof() {
    let mut world = World::up("");
    world.message("alice@ocs.test", "juliet@far.test");
    let id = world.xmpp[1].attr("id").unwrap().to_owned();
    world.server(&format!(
        "<iq xmlns='jabber:client' type='error' id='{id}' from='far.test' to='alice@net.test/r'>\
         <error type='cancel'><remote-server-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>"
    ));
    assert_eq!(world.answers("MESSAGE"), ["500"]);
    // Its own domain it can speak for.
    let mut world = World::up("");
    world.message("alice@ocs.test", "romeo@net.test");
    let id = world.xmpp[1].attr("id").unwrap().to_owned();
    world.server(&format!(
        "<iq xmlns='jabber:client' type='error' id='{id}' from='net.test' to='alice@net.test/r'>\
         <error type='cancel'><service-unavailable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>"
    ));
    assert_eq!(world.answers("MESSAGE"), ["200"]);
}

#[test]
fn a_message_outlives_the_session_or_is_not_said_to_have_arrived() {
    let mut world = World::up("");
    world.message("alice@ocs.test", "romeo@net.test");
    let first = world.stanzas();
    world.lose_session();
    world.xmpp.clear();
    assert_eq!(world.answers("MESSAGE"), [""; 0]);
    world.wait(Duration::from_secs(3));
    world.log_in("");
    let again: Vec<String> = world
        .stanzas()
        .into_iter()
        .filter(|text| text.starts_with("<message"))
        .collect();
    assert_eq!(again, first, "the same stanza with the same id");
    world.answer_fences();
    assert_eq!(world.answers("MESSAGE"), ["200"]);

    let mut world = World::up("");
    world.message("alice@ocs.test", "romeo@net.test");
    world.lose_session();
    world.wait(Duration::from_secs(40));
    let answers = world.answers("MESSAGE");
    assert!(answers.len() == 1 && answers[0] != "200", "{answers:?}");
}

#[test]
fn a_message_from_a_contact_arrives_or_its_error_goes_back() {
    let mut world = World::up("");
    let stanza = "<message xmlns='jabber:client' id='m1' type='chat' from='romeo@net.test/x' to='alice@net.test/r'><body>hi</body></message>";
    world.server(stanza);
    let request = world.answer("MESSAGE", "200 OK");
    assert!(
        request.starts_with("MESSAGE sip:alice@ocs.test SIP/2.0"),
        "{request}"
    );
    assert!(
        header(&request, "From").contains("romeo@net.test"),
        "{request}"
    );
    assert_eq!(world.stanzas(), [""; 0]);
    world.server(&stanza.replace("m1", "m2"));
    world.answer("MESSAGE", "486 Busy Here");
    let errors = world.stanzas();
    assert_eq!(errors.len(), 1);
    assert!(
        errors[0].starts_with("<message id='m2' to='romeo@net.test/x' type='error'>"),
        "{errors:?}"
    );
}

#[test]
fn the_sip_user_sees_a_contact() {
    let mut world = World::up("");
    world.request(
        "SUBSCRIBE",
        "alice@ocs.test",
        "romeo@net.test",
        "Event: presence\r\nExpires: 3600\r\nAccept: application/pidf+xml\r\n",
    );
    assert_eq!(
        world.stanzas(),
        ["<presence to='romeo@net.test' type='subscribe'/>"]
    );
    assert!(world.last("NOTIFY").contains("Subscription-State: pending"));
    world.answer("NOTIFY", "200 OK");
    world.server(&format!("<iq xmlns='jabber:client' type='set' id='p'><query xmlns='jabber:iq:roster'>{TO}</query></iq>"));
    world.server("<presence xmlns='jabber:client' type='subscribed' from='romeo@net.test' to='alice@net.test'/>");
    assert!(world.last("NOTIFY").contains("Subscription-State: active"));
    world.answer("NOTIFY", "200 OK");
    world.server("<presence xmlns='jabber:client' from='romeo@net.test/x' to='alice@net.test'><show>dnd</show></presence>");
    world.wait(Duration::from_secs(10));
    let notify = world.last("NOTIFY");
    assert!(notify.contains("<basic>open</basic>"), "{notify}");
    world.answer("NOTIFY", "200 OK");
    // Later watchers are served from what the server told once.
    world.request(
        "SUBSCRIBE",
        "alice@ocs.test",
        "romeo@net.test",
        "Event: presence\r\nExpires: 0\r\nAccept: application/pidf+xml\r\n",
    );
    assert!(world.last("NOTIFY").contains("<basic>open</basic>"));
    assert_eq!(world.stanzas(), ["<iq id='p' type='result'/>"]);
}

#[test]
fn a_contact_sees_the_sip_user() {
    let mut world = World::up("");
    world.server("<presence xmlns='jabber:client' type='subscribe' from='romeo@net.test' to='alice@net.test'/>");
    let subscribe = world.answer("SUBSCRIBE", "200 OK");
    assert!(
        header(&subscribe, "From").contains("romeo@net.test"),
        "{subscribe}"
    );
    world.notify(&subscribe, 1, "open");
    assert_eq!(
        world.stanzas(),
        [
            "<presence to='romeo@net.test' type='subscribed'/>",
            "<presence/>"
        ]
    );
    world.notify(&subscribe, 2, "closed");
    assert_eq!(world.stanzas(), ["<presence><show>xa</show></presence>"]);
    world.notify(&subscribe, 3, "open");
    assert_eq!(world.stanzas(), ["<presence/>"]);
    // The next session says it again.
    world.wait(Duration::from_secs(2));
    world.answer_fences();
    world.lose_session();
    world.wait(Duration::from_secs(1));
    world.log_in(&BOTH.replace("both", "from"));
    let said = world.stanzas();
    assert!(said.contains(&"<presence/>".to_owned()), "{said:?}");
    assert!(
        !said.contains(&"<presence><show>xa</show></presence>".to_owned()),
        "{said:?}"
    );
}

/// What was granted before a restart counts again, where the account was named first.
#[test]
fn authorisations_outlive_the_gateway() {
    let pair = |sip: &str| Pair {
        direction: Direction::XmppWatchesSip,
        xmpp: jid("romeo@net.test"),
        sip: SipAddress {
            scheme: Scheme::Sip,
            user: Some(sip.to_owned()),
            host: "ocs.test".to_owned(),
            gr: None,
        },
    };
    let mut world = World::new();
    let grants = vec![
        (pair("alice"), Grant::Granted),
        (pair("bob"), Grant::Granted),
    ];
    world.engine.restore(grants, Vec::new(), &[], world.now);
    let watching = world.engine.bridge_status().watching;
    assert_eq!(watching.values().sum::<usize>(), 1, "{watching:?}");
    world.log_in(BOTH);
    world.server("<presence xmlns='jabber:client' from='romeo@net.test/x' to='alice@net.test'/>");
    let subscribe = world.answer("SUBSCRIBE", "200 OK");
    assert!(
        subscribe.starts_with("SUBSCRIBE sip:alice@ocs.test"),
        "{subscribe}"
    );
    world.xmpp.clear();
    world.notify(&subscribe, 1, "open");
    assert_eq!(world.stanzas(), ["<presence/>"]);
}

#[test]
fn only_that_user_goes_that_way() {
    let mut world = World::up("");
    world.message("bob@ocs.test", "romeo@net.test");
    world.message("alice@ocs.test", "romeo@jabber.test");
    assert_eq!(world.stanzas(), [""; 0]);
    let answers = world.answers("MESSAGE");
    assert!(
        answers.len() == 1 && answers[0].starts_with('4'),
        "bob has no way: {answers:?}"
    );
    let beside: Vec<&str> = world
        .beside
        .iter()
        .filter_map(|element| element.attr("to"))
        .collect();
    assert_eq!(beside, ["romeo@jabber.test", "jabber.test"]);
    assert_eq!(world.beside[0].attr("from"), Some("alice@ocs.test"));
}

#[test]
fn a_contact_is_not_heard_beside_the_account() {
    let mut world = World::up("");
    let name = LinkName::new("ocs.test", "net.test");
    for xml in [
        "<message xmlns='jabber:client' id='1' from='romeo@net.test/x' to='alice@ocs.test'><body>b</body></message>",
        "<presence xmlns='jabber:client' id='2' type='subscribe' from='romeo@net.test' to='alice@ocs.test'/>",
        "<presence xmlns='jabber:client' from='romeo@net.test/x' to='alice@ocs.test'/>",
    ] {
        let element: Element = xml.parse().unwrap();
        world
            .engine
            .stanza(&name, &element, StanzaToken(1), world.now);
        world.pump();
    }
    assert_eq!(world.handled, 3);
    assert_eq!(world.sip, [""; 0]);
    assert_eq!(world.stanzas(), [""; 0]);
    let refused: Vec<_> = world
        .beside
        .iter()
        .filter(|element| element.attr("type") == Some("error"))
        .collect();
    let ids: Vec<_> = refused
        .iter()
        .filter_map(|element| element.attr("id"))
        .collect();
    assert_eq!(ids, ["1", "2"]);
}

#[test]
fn an_account_that_is_taken_away_leaves_nobody_waiting() {
    let mut world = World::up(BOTH);
    world.server("<presence xmlns='jabber:client' from='romeo@net.test/x' to='alice@net.test'/>");
    world.request(
        "SUBSCRIBE",
        "alice@ocs.test",
        "romeo@net.test",
        "Event: presence\r\nExpires: 3600\r\nAccept: application/pidf+xml\r\n",
    );
    world.answer("NOTIFY", "200 OK");
    world.wait(Duration::from_secs(10));
    let notify = world.last("NOTIFY");
    assert!(notify.contains("<basic>open</basic>"), "{notify}");
    world.answer("NOTIFY", "200 OK");
    world.message("alice@ocs.test", "romeo@net.test");
    assert_eq!(world.answers("MESSAGE"), [""; 0]);
    world.engine.set_accounts(Vec::new(), world.now);
    world.pump();
    let answers = world.answers("MESSAGE");
    assert!(answers.len() == 1 && answers[0] != "200", "{answers:?}");
    world.wait(Duration::from_secs(10));
    let notify = world.last("NOTIFY");
    assert!(notify.contains("<basic>closed</basic>"), "{notify}");
    world.message("alice@ocs.test", "romeo@net.test");
    let answers = world.answers("MESSAGE");
    assert!(
        answers.len() == 2 && answers[1].starts_with('4'),
        "{answers:?}"
    );
    assert!(world.beside.is_empty(), "{:?}", world.beside);
}
