//! The real binary, DNS, and SIP domains that no rule names: found when an XMPP server that has proved itself asks for them.

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
#[allow(dead_code, reason = "each test file uses its own part")]
mod name_server;
#[path = "process/sip_peer.rs"]
#[allow(dead_code, reason = "each test file uses its own part")]
mod sip_peer;
#[path = "process/tls_peer.rs"]
#[allow(dead_code, reason = "each test file uses its own part")]
mod tls_peer;
#[path = "process/xml_pieces.rs"]
mod xml_pieces;
#[path = "process/xmpp_server.rs"]
#[allow(dead_code, reason = "each test file uses its own part")]
mod xmpp_server;

use std::io::{Read, Write};

use harness::{Folder, Gateway, SETTINGS};
use name_server::{NameServer, Record, at, srv};
use sip_peer::{Heard, SipPeer};
use tls_peer::TlsPeer;
use xml_pieces::attribute;
use xmpp_server::{XmppServer, claim, open, pong};

const ROMEO: &str = "romeo@jabber.test/balcony";
const JULIET: &str = "juliet@voice.test";

/// The gateway, an XMPP server that a rule allows, and a SIP server that none names.
struct Stage {
    gateway: Gateway,
    xmpp: XmppServer,
    sip: SipPeer,
    names: NameServer,
    folder: Folder,
    settings: String,
}

impl Stage {
    /// With these lines in the rule for unnamed domains.
    fn new(name: &str, rule: &str) -> Self {
        let folder = Folder::new(name);
        folder.certificate("gw", &["gw.ocs.test", "ocs.test"]);
        folder.certificate("voice", &["sip:voice.test"]);
        folder.certificate("other", &["sip:other.test"]);
        let xmpp = XmppServer::start();
        let sip = SipPeer::start();
        let names = NameServer::start(zone(sip.address.port()));
        let settings = SETTINGS
            .replace(
                "127.0.0.1:9\"]\ntimeout = \"200ms\"",
                &format!("{}\"]\ntimeout = \"5s\"", names.address),
            )
            .replace(
                "domain = \"*\"\naddress = \"127.0.0.1:9\"",
                &format!(
                    "domain = \"jabber.test\"\ntls = \"off\"\naddress = \"{}\"",
                    xmpp.address
                ),
            )
            .replace(
                "roots = [\"gw.crt\"]",
                "roots = [\"gw.crt\", \"voice.crt\", \"other.crt\"]",
            );
        let settings = format!("{settings}\n{rule}");
        let gateway = Gateway::start_with(&folder, &settings);
        Self {
            gateway,
            xmpp,
            sip,
            names,
            folder,
            settings,
        }
    }

    /// Romeo subscribes to Juliet and is let in.
    fn subscribe(&mut self) {
        self.xmpp.say(&format!(
            "<presence type='subscribe' from='romeo@jabber.test' to='{JULIET}' id='s1'/>"
        ));
        let mut subscribe = self.sip.hear("SUBSCRIBE ");
        subscribe.answer("200 OK\r\nExpires: 600", self.sip.address, "");
        let taken = self.over_tls("voice", &notify(&subscribe));
        assert!(taken.starts_with("SIP/2.0 200 "), "{taken}");
        self.xmpp.hear("type='subscribed'");
    }

    /// Romeo's message to Juliet.
    fn write(&self, id: &str) {
        self.xmpp.say(&format!(
            "<message type='chat' from='{ROMEO}' to='{JULIET}' id='{id}'><body>hello</body></message>"
        ));
    }

    fn discovered(&self, domain: &str) -> Option<serde_json::Value> {
        let status: serde_json::Value =
            serde_json::from_slice(&self.gateway.status().stdout).unwrap();
        let all = status["discovered"].as_array().unwrap().clone();
        all.into_iter().find(|shown| shown["domain"] == domain)
    }

    /// Says this on a connection with that certificate.
    fn say_over_tls(&self, certificate: &str, request: &str) -> impl Read + use<> {
        let peer = TlsPeer::new(&self.folder, certificate);
        let mut stream = peer.dial(self.gateway.tls);
        stream.write_all(request.as_bytes()).unwrap();
        stream.flush().unwrap();
        stream
    }

    /// The same, and reads the final answer.
    fn over_tls(&self, certificate: &str, request: &str) -> String {
        final_answer(self.say_over_tls(certificate, request))
    }
}

fn final_answer(mut stream: impl Read) -> String {
    let mut read = String::new();
    let mut buffer = [0; 4096];
    loop {
        let count = stream.read(&mut buffer).expect("an answer");
        assert!(count > 0, "the gateway closed the connection: {read}");
        read.push_str(&String::from_utf8_lossy(&buffer[..count]));
        let answers = read.split_inclusive("\r\n\r\n");
        let whole = answers.filter(|answer| answer.ends_with("\r\n\r\n"));
        let mut finals = whole.filter(|answer| !answer.starts_with("SIP/2.0 1"));
        if let Some(answer) = finals.next() {
            return answer.to_owned();
        }
    }
}

const RULE: &str = "[[sip.domain]]\ndomain = \"*\"\nnetworks = [\"127.0.0.1\"]\n";

fn zone(sip: u16) -> Vec<Record> {
    let ours = |domain: &str| srv(&format!("_xmpp-server._tcp.{domain}"), 5269, "gw.ocs.test");
    let mut zone = vec![
        // Its users are on SIP; XMPP servers are led to us.
        ours("voice.test"),
        srv("_sip._tcp.voice.test", sip, "host.test"),
        srv("_xmpp-server._tcp.both.test", 5269, "host.test"),
        srv("_sip._tcp.both.test", sip, "host.test"),
        srv("_xmpp-server._tcp.chat.test", 5269, "host.test"),
        // Both of its worlds are we.
        ours("mirror.test"),
        srv("_sips._tcp.mirror.test", 5061, "gw.ocs.test"),
        at("gw.ocs.test", [127, 0, 0, 7]),
        at("host.test", [127, 0, 0, 1]),
    ];
    for number in 0..40 {
        zone.push(srv(&format!("_sip._tcp.n{number}.test"), sip, "host.test"));
    }
    zone
}

/// A request of Juliet's to Romeo.
fn request(method: &str, branch: &str, dialog: &str, more: &str, body: &str) -> String {
    format!(
        "{method} sip:romeo@jabber.test SIP/2.0\r\nVia: SIP/2.0/TLS 127.0.0.1:5061;branch=z9hG4bK{branch}\r\n\
         Max-Forwards: 70\r\n{dialog}{more}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn message(branch: &str) -> String {
    let dialog = format!(
        "From: <sip:{JULIET}>;tag=j1\r\nTo: <sip:romeo@jabber.test>\r\nCall-ID: {branch}@test\r\nCSeq: 1 MESSAGE\r\n"
    );
    request(
        "MESSAGE",
        branch,
        &dialog,
        "Content-Type: text/plain\r\n",
        "soon",
    )
}

/// A NOTIFY in the dialog of a SUBSCRIBE that was answered.
fn notify(subscribe: &Heard) -> String {
    let to = subscribe.field("From");
    let dialog = format!(
        "From: {};tag=b1\r\nTo: {to}\r\nCall-ID: {}\r\nCSeq: 1 NOTIFY\r\nContact: <sip:{JULIET}>\r\n",
        subscribe.field("To"),
        subscribe.field("Call-ID"),
    );
    let body = format!(
        "<?xml version='1.0'?><presence xmlns='urn:ietf:params:xml:ns:pidf' entity='pres:{JULIET}'><tuple id='t'><status>\
         <basic>open</basic></status></tuple></presence>"
    );
    let more = "Event: presence\r\nSubscription-State: active;expires=600\r\nContent-Type: application/pidf+xml\r\n";
    request("NOTIFY", "notify1", &dialog, more, &body)
}

#[test]
fn xmpp_users_and_those_of_an_unnamed_sip_domain_reach_each_other() {
    let mut stage = Stage::new("unnamed", RULE);
    // Nothing is looked up for who has not proved itself.
    let refused = stage.over_tls("other", &message("early"));
    assert!(refused.starts_with("SIP/2.0 403 "), "{refused}");
    let mut stream = open(stage.gateway.xmpp, "voice.test");
    let answer = claim(&mut stream, "voice.test", "wrong");
    assert!(answer.contains("type='invalid'"), "{answer}");
    assert_eq!(stage.names.count("_sip._tcp.voice.test"), 0);

    stage.xmpp.dial_for(stage.gateway.xmpp, "voice.test");
    assert_eq!(stage.names.count("_sip._tcp.voice.test"), 1);
    let line = stage.gateway.wait_for("is served as a SIP domain");
    assert!(line.contains("jabber.test"), "{line}");

    stage.write("m1");
    let mut heard = stage.sip.hear("MESSAGE ");
    assert!(heard.text.contains(&format!("sip:{JULIET}")));
    assert!(heard.field("From").contains("sip:romeo@jabber.test"));
    heard.answer("200 OK", stage.sip.address, "");

    // She answers, on a connection whose certificate is for her domain; nobody else speaks for it.
    let refused = stage.over_tls("other", &message("forged"));
    assert!(refused.starts_with("SIP/2.0 403 "), "{refused}");
    let taken = stage.over_tls("voice", &message("answer"));
    assert!(taken.starts_with("SIP/2.0 200 "), "{taken}");
    let heard = stage.xmpp.hear("soon");
    assert_eq!(attribute(&heard, "from"), JULIET);

    // He watches her.
    stage.subscribe();

    let shown = stage.discovered("voice.test").unwrap();
    let expected = "its DNS has _sip._tcp; its _xmpp-server._tcp names this gateway";
    assert_eq!(shown["world"], "SIP");
    assert_eq!(shown["because"], expected);
    assert_eq!(shown["served"], true);
    let left = shown["left_seconds"].as_u64().unwrap();
    assert!((1..=300).contains(&left), "{left}");
    let status = harness::binary()
        .args(["status", "--config"])
        .arg(&stage.gateway.settings)
        .output();
    let text = String::from_utf8(status.unwrap().stdout).unwrap();
    let words =
        format!("voice.test (world: SIP): its SIP users are reached from XMPP; {expected} (found");
    assert!(text.contains(&words), "{text}");
    assert!(text.contains("voice.test: dialect"), "{text}");
}

#[test]
fn a_sip_user_of_an_unnamed_domain_may_write_first() {
    let stage = Stage::new("unnamed-first", RULE);
    let refused = stage.over_tls("other", &message("forged"));
    assert!(refused.starts_with("SIP/2.0 403 "), "{refused}");
    assert_eq!(stage.names.count("_sip._tcp.voice.test"), 0);
    // The fence comes back on a stream of the XMPP server's for that domain.
    let line = stage.say_over_tls("voice", &message("first"));
    stage.xmpp.hear("soon");
    let ping = stage.xmpp.hear("urn:xmpp:ping");
    stage.xmpp.dial_for(stage.gateway.xmpp, "voice.test");
    stage.xmpp.say(&pong(&ping));
    let answer = final_answer(line);
    assert!(answer.starts_with("SIP/2.0 200 "), "{answer}");
    assert_eq!(stage.names.count("_sip._tcp.voice.test"), 1);
    assert_eq!(stage.discovered("voice.test").unwrap()["served"], true);
    // A certificate is not enough: DNS has to say that it is a SIP domain.
    let refused = stage.over_tls("other", &message("other").replace(JULIET, "a@other.test"));
    assert!(refused.starts_with("SIP/2.0 403 "), "{refused}");
    assert_eq!(stage.names.count("_sip._tcp.other.test"), 1);
    assert_eq!(stage.discovered("other.test").unwrap()["world"], "neither");
}

#[test]
fn contacts_keep_their_domain_over_a_restart() {
    let rule = format!("{RULE}[subscriptions]\nrestart_spread = \"1s\"\n");
    let mut stage = Stage::new("unnamed-restart", &rule);
    stage.xmpp.dial_for(stage.gateway.xmpp, "voice.test");
    stage.subscribe();
    assert!(stage.gateway.stop().success());
    while !stage.sip.has_heard_nothing() {
        // What the end of the subscription still brought.
    }
    stage.gateway = Gateway::start_with(&stage.folder, &stage.settings);
    let again = stage.sip.hear("SUBSCRIBE ");
    assert!(again.text.contains(&format!("sip:{JULIET}")));
    let shown = stage.discovered("voice.test").unwrap();
    assert_eq!(shown["served"], true);
    assert_eq!(shown["because"], "contacts of the last run are left");
}

#[test]
fn a_domain_that_is_no_sip_domain_is_not_served() {
    let mut stage = Stage::new("unnamed-worlds", RULE);
    let rows = [
        ("both.test", "both", "name it in [[sip.domain]]"),
        ("chat.test", "XMPP", "nothing is relayed from XMPP to XMPP"),
        (
            "mirror.test",
            "neither",
            "nothing says that it is a SIP domain",
        ),
        (
            "nowhere.test",
            "neither",
            "nothing says that it is a SIP domain",
        ),
    ];
    let mut stream = open(stage.gateway.xmpp, "both.test");
    for (domain, world, words) in rows {
        for _ in 0..2 {
            let answer = claim(&mut stream, domain, "key");
            assert!(answer.contains("item-not-found"), "{domain}: {answer}");
        }
        let line = stage.gateway.wait_for("not served as a SIP domain");
        assert!(line.contains(words), "{line}");
        assert!(line.contains("jabber.test"), "{line}");
        let shown = stage.discovered(domain).unwrap();
        assert_eq!(shown["world"], world, "{domain}");
        assert_eq!(shown["served"], false, "{domain}");
        assert_eq!(
            stage.names.count(&format!("_sip._tcp.{domain}")),
            1,
            "it is known"
        );
    }
}

#[test]
fn nobody_makes_the_gateway_speak_to_hosts_inside() {
    let rule = RULE.replace("networks = [\"127.0.0.1\"]\n", "");
    let mut stage = Stage::new("unnamed-inside", &rule);
    stage.xmpp.dial_for(stage.gateway.xmpp, "voice.test");
    stage.write("m1");
    let error = stage.xmpp.hear("type='error'");
    assert!(error.contains("remote-server-not-found"), "{error}");
    let line = stage.gateway.wait_for("an address that is not public");
    assert!(line.contains("127.0.0.1"), "{line}");
    assert!(stage.sip.has_heard_nothing());
}

#[test]
fn without_the_rule_no_domain_is_sought() {
    let stage = Stage::new("unnamed-off", "");
    let mut stream = open(stage.gateway.xmpp, "ocs.test");
    let answer = claim(&mut stream, "voice.test", "key");
    assert!(answer.contains("item-not-found"), "{answer}");
    assert_eq!(stage.names.count("_sip._tcp.voice.test"), 0);
    assert!(stage.discovered("voice.test").is_none());
}

#[test]
fn one_partner_has_so_many_domains_looked_up_a_minute() {
    let stage = Stage::new("unnamed-bound", RULE);
    let mut stream = open(stage.gateway.xmpp, "n0.test");
    for number in 0..30 {
        let answer = claim(&mut stream, &format!("n{number}.test"), "key");
        assert!(answer.contains("type='valid'"), "{number}: {answer}");
    }
    let mut another = open(stage.gateway.xmpp, "n30.test");
    for stream in [&mut stream, &mut another] {
        let answer = claim(stream, "n30.test", "key");
        assert!(answer.contains("resource-constraint"), "{answer}");
    }
    assert_eq!(stage.names.count("_sip._tcp.n30.test"), 0);
    // What is known already costs nothing.
    let answer = claim(&mut another, "n7.test", "key");
    assert!(answer.contains("type='valid'"), "{answer}");
}
