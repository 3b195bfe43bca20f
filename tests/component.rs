//! The real binary as a component of an XMPP server (XEP-0114).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::panic,
    reason = "a test fails by panicking"
)]

#[path = "process/component_server.rs"]
mod component_server;
#[path = "process/harness.rs"]
#[allow(dead_code, reason = "each test file uses its own part")]
mod harness;
#[path = "process/sip_peer.rs"]
#[allow(dead_code, reason = "each test file uses its own part")]
mod sip_peer;
#[path = "process/xml_pieces.rs"]
#[allow(dead_code, reason = "each test file uses its own part")]
mod xml_pieces;

use component_server::{ComponentServer, Line, SECRET};
use harness::{Folder, Gateway, SETTINGS, binary, say_and_read_to_end};
use sip_peer::{Heard, SipPeer};
use xml_pieces::attribute;

/// The gateway between its server and a SIP peer.
struct Stage {
    gateway: Gateway,
    server: ComponentServer,
    sip: SipPeer,
    _folder: Folder,
}

fn settings(server: &str, sip: &str) -> String {
    let component = format!(
        "[[xmpp.component]]\ndomain = \"ocs.test\"\nserver = \"{server}\"\nsecret = \"{SECRET}\"\n[sip]\n"
    );
    SETTINGS
        .replace("domain = \"*\"", "domain = \"jabber.test\"")
        .replace("level = \"debug\"", "level = \"trace\"")
        .replace("[sip]\n", &component)
        .replace("sip:127.0.0.1:9", sip)
        + "dialect = \"simple\"\n"
}

impl Stage {
    fn new(name: &str) -> Self {
        let folder = Folder::new(name);
        let server = ComponentServer::start();
        let mut sip = SipPeer::start();
        let hop = format!("sip:{};transport=tcp", sip.address);
        let settings = settings(&server.address().to_string(), &hop);
        let gateway = Gateway::start_with(&folder, &settings);
        sip.dial(gateway.tcp);
        Self {
            gateway,
            server,
            sip,
            _folder: folder,
        }
    }

    /// Bob writes to romeo.
    fn write(&mut self, call: &str, text: &str) {
        let content = "Content-Type: text/plain\r\n";
        let to = "<sip:romeo@jabber.test>";
        self.sip.ask("MESSAGE", call, 1, to, content, text);
    }

    /// How that ended for bob.
    fn outcome(&mut self, call: &str) -> String {
        let answer = self.sip.hear_final();
        assert_eq!(answer.field("Call-ID"), call);
        let code = answer.text.split(' ').nth(1).unwrap();
        code.to_owned()
    }

    /// The SIP peer takes a message.
    fn take(&mut self, text: &str) -> Heard {
        let mut message = self.sip.hear("MESSAGE ");
        assert!(message.text.ends_with(text), "{}", message.text);
        message.answer("200 OK", self.sip.address, "");
        message
    }

    fn component(&self) -> serde_json::Value {
        let status = self.gateway.status();
        let status: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
        status["xmpp_components"][0].clone()
    }
}

fn say_to_bob(line: &mut Line, from: &str, id: &str, text: &str) {
    line.say(&format!(
        "<message type='chat' from='{from}' to='bob@ocs.test' id='{id}'><body>{text}</body></message>"
    ));
}

#[test]
fn messages_and_presence_cross_both_ways() {
    let mut stage = Stage::new("component-both");
    let mut line = stage.server.accept();
    stage.gateway.wait_for("XMPP component is connected");
    assert_eq!(stage.component()["state"], "connected");
    stage.write("m1", "to romeo");
    let message = line.hear("to romeo");
    assert_eq!(attribute(&message, "to"), "romeo@jabber.test");
    assert!(!message.contains("xmlns='jabber:"), "{message}");
    line.pass_fence();
    assert_eq!(stage.outcome("m1"), "200");
    say_to_bob(&mut line, "romeo@jabber.test/x", "x1", "to bob");
    stage.take("to bob");
    line.say("<presence type='subscribe' id='p1' from='romeo@jabber.test' to='bob@ocs.test'/>");
    let mut subscribe = stage.sip.hear("SUBSCRIBE ");
    subscribe.answer("403 Forbidden", stage.sip.address, "");
    let refused = line.hear("<presence");
    assert_eq!(attribute(&refused, "type"), "unsubscribed");
    line.pass_fence();
    let more = "Event: presence\r\nAccept: application/pidf+xml\r\nExpires: 600\r\n";
    let to = "<sip:romeo@jabber.test>";
    stage.sip.ask("SUBSCRIBE", "s1", 1, to, more, "");
    let asked = line.hear("type='subscribe'");
    assert_eq!(attribute(&asked, "from"), "bob@ocs.test");
}

#[test]
fn what_no_fence_has_passed_is_written_again_and_nothing_else() {
    let mut stage = Stage::new("component-again");
    let mut line = stage.server.accept();
    stage.write("m1", "first");
    line.hear("first");
    line.pass_fence();
    assert_eq!(stage.outcome("m1"), "200");
    stage.write("m2", "second");
    let second = line.hear("second");
    line.hear("urn:xmpp:ping");
    // It may or may not have gone on: the connection breaks before the fence is answered.
    drop(line);
    stage.write("m3", "third");
    let mut line = stage.server.accept();
    let again = line.hear("second");
    assert_eq!(attribute(&again, "id"), attribute(&second, "id"));
    let mut next = line.stanza();
    if next.contains("urn:xmpp:ping") {
        let id = attribute(&next, "id");
        line.say(&format!(
            "<iq type='result' id='{id}' from='jabber.test' to='ocs.test'/>"
        ));
        next = line.stanza();
    }
    assert!(next.contains("third"), "{next}");
    line.pass_fence();
    let mut ended = [
        stage.sip.hear_final().field("Call-ID").to_owned(),
        stage.sip.hear_final().field("Call-ID").to_owned(),
    ];
    ended.sort();
    assert_eq!(ended, ["m2", "m3"]);
    say_to_bob(&mut line, "romeo@jabber.test/x", "x1", "back");
    stage.take("back");
    // What is owed is written before the end, and the stream is closed in order.
    let rest = std::thread::spawn(move || line.rest());
    assert!(stage.gateway.stop().success());
    assert_eq!(rest.join().unwrap(), Vec::<String>::new());
}

#[test]
fn what_comes_behind_the_end_is_refused_on_another_connection() {
    let mut stage = Stage::new("component-late");
    let mut line = stage.server.accept();
    stage.gateway.wait_for("XMPP component is connected");
    harness::signal(stage.gateway.id(), "TERM");
    line.hear_end();
    // The server had written this before it read the end.
    say_to_bob(&mut line, "romeo@jabber.test/x", "x1", "too late");
    line.say("</stream:stream>");
    drop(line);
    let mut line = stage.server.accept();
    let error = line.hear("resource-constraint");
    assert_eq!(attribute(&error, "type"), "error");
    assert_eq!(attribute(&error, "id"), "x1");
    assert_eq!(attribute(&error, "to"), "romeo@jabber.test/x");
    line.hear_end();
    line.say("</stream:stream>");
    drop(line);
    assert!(stage.gateway.wait().success());
}

#[test]
fn the_server_cannot_reach_the_partner() {
    let mut stage = Stage::new("component-cut");
    let mut line = stage.server.accept();
    stage.write("m1", "one");
    let (message, ping) = (line.hear("one"), line.hear("urn:xmpp:ping"));
    line.bounce(&message, "remote-server-not-found");
    line.bounce(&ping, "remote-server-not-found");
    assert_eq!(stage.outcome("m1"), "404");
    stage.write("m2", "two");
    line.hear("two");
    let ping = line.hear("urn:xmpp:ping");
    // The way broke between the two: nobody knows, and nobody says that it arrived.
    line.bounce(&ping, "remote-server-timeout");
    assert_eq!(stage.outcome("m2"), "500");
}

#[test]
fn nobody_else_speaks_there() {
    let mut stage = Stage::new("component-others");
    let mut line = stage.server.accept();
    say_to_bob(&mut line, "mallory@elsewhere.test", "x1", "no rule for me");
    let refused = line.hear("not-allowed");
    assert_eq!(attribute(&refused, "to"), "mallory@elsewhere.test");
    say_to_bob(&mut line, "carol@ocs.test", "x2", "as carol");
    let line_of_log = stage
        .gateway
        .wait_for("a stanza from the component's server is dropped");
    assert!(
        line_of_log.contains("for which only this gateway speaks"),
        "{line_of_log}"
    );
    say_to_bob(&mut line, "romeo@jabber.test", "x3", "as romeo");
    stage.take("as romeo");
    // Other servers find the domain at the component's server, not here.
    let header = "<?xml version='1.0'?><stream:stream xmlns='jabber:server' xmlns:db='jabber:server:dialback' \
                  xmlns:stream='http://etherx.jabber.org/streams' from='jabber.test' to='ocs.test' version='1.0'>";
    let said = say_and_read_to_end(stage.gateway.xmpp, header.as_bytes());
    assert!(said.contains("host-unknown"), "{said}");
}

#[test]
fn refusals_say_what_to_do_and_the_secret_stays_one() {
    let mut stage = Stage::new("component-refused");
    stage.server.meet().refuse("not-authorized");
    let line = stage.gateway.wait_for("XMPP component is not connected");
    let words =
        "the server refused our secret: check xmpp.component.secret against its configuration";
    assert!(line.contains("ERROR") && line.contains(words), "{line}");
    let state = stage.component()["state"].clone();
    assert!(
        state.as_str().unwrap().contains("not connected: "),
        "{state}"
    );
    stage.write("m1", "waits");
    let mut line = stage.server.accept();
    line.hear("waits");
    line.pass_fence();
    assert_eq!(stage.outcome("m1"), "200");
    let rest = std::thread::spawn(move || line.rest());
    assert!(stage.gateway.stop().success());
    rest.join().unwrap();
    let log = stage.gateway.log.join("\n");
    assert!(!log.contains(SECRET), "{log}");
}

#[test]
fn a_connection_in_clear_over_the_internet_is_worth_a_warning() {
    let folder = Folder::new("component-clear");
    let text = settings("xmpp.example.org", "sip:127.0.0.1:9");
    let file = folder.write("gateway.toml", &text);
    let mut command = binary();
    command.args(["check-config", "--no-files", "--config"]);
    let output = command.arg(file).output().unwrap();
    assert!(output.status.success());
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains("the connection to xmpp.example.org:5347 is not encrypted"),
        "{said}"
    );
}
