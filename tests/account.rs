//! The real binary signed in with an account at an XMPP server, for a SIP user.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::panic,
    reason = "a test fails by panicking"
)]

#[path = "process/client_server.rs"]
mod client_server;
#[path = "process/harness.rs"]
#[allow(dead_code, reason = "each test file uses its own part")]
mod harness;
#[path = "process/sip_peer.rs"]
#[allow(dead_code, reason = "each test file uses its own part")]
mod sip_peer;
#[path = "process/xml_pieces.rs"]
#[allow(dead_code, reason = "each test file uses its own part")]
mod xml_pieces;

use client_server::{ClientServer, Line, PASSWORD};
use harness::{Folder, Gateway, SETTINGS, signal};
use sip_peer::{Heard, SipPeer};
use xml_pieces::attribute;

/// The gateway between the account's server and a SIP peer.
struct Stage {
    gateway: Gateway,
    server: ClientServer,
    sip: SipPeer,
    folder: Folder,
}

fn settings(server: &str, sip: &str, more: &str) -> String {
    let account = format!(
        "[[xmpp.account]]\nuser = \"sip:bob@ocs.test\"\njid = \"bob.ocs@jabber.test\"\n\
         password_file = \"password\"\nserver = \"{server}\"\n{more}\n[sip]\n"
    );
    SETTINGS
        .replace("domain = \"*\"", "domain = \"other.test\"")
        .replace("level = \"debug\"", "level = \"trace\"")
        .replace(
            "roots = [\"gw.crt\"]",
            "roots = [\"gw.crt\", \"jabber.crt\", \"wrong.crt\"]",
        )
        .replace("[sip]\n", &account)
        .replace("sip:127.0.0.1:9", sip)
        + "dialect = \"simple\"\n"
}

impl Stage {
    fn new(name: &str) -> Self {
        Self::with(name, "jabber", "")
    }

    fn with(name: &str, certificate: &str, more: &str) -> Self {
        let folder = Folder::new(&format!("account-{name}"));
        folder.certificate("jabber", &["jabber.test"]);
        folder.certificate("wrong", &["elsewhere.test"]);
        folder.certificate("third", &["jabber.test"]);
        folder.write("password", &format!("{PASSWORD}\n"));
        let server = ClientServer::start(&folder, certificate);
        let mut sip = SipPeer::start();
        let hop = format!("sip:{};transport=tcp", sip.address);
        let settings = settings(&server.address().to_string(), &hop, more);
        let gateway = Gateway::start_with(&folder, &settings);
        sip.dial(gateway.tcp);
        Self {
            gateway,
            server,
            sip,
            folder,
        }
    }

    /// With a session.
    fn signed_in(name: &str) -> (Self, Line) {
        let mut stage = Self::new(name);
        let line = stage.server.accept();
        stage.gateway.wait_for("XMPP account is signed in");
        (stage, line)
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
        assert_eq!(answer.field("Call-ID"), call, "{}", answer.text);
        answer.text.split(' ').nth(1).unwrap().to_owned()
    }

    /// The message that the SIP peer hears next.
    fn hear(&mut self, text: &str) -> Heard {
        let message = self.sip.hear("MESSAGE ");
        assert!(message.text.ends_with(text), "{}", message.text);
        message
    }

    fn status(&self) -> serde_json::Value {
        let status = self.gateway.status();
        let status: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
        status["xmpp_accounts"][0].clone()
    }

    /// The gateway has said that it is not signed in, once, and why.
    fn refuses(&mut self, words: &str) {
        let line = self.gateway.wait_for("XMPP account is not signed in");
        assert!(
            line.contains("ERROR") && line.contains(words),
            "{words} in {line}"
        );
        let log = self.gateway.log.join("\n");
        assert!(!log.contains(PASSWORD), "the password is in the log");
    }
}

fn say_to_bob(line: &mut Line, id: &str, text: &str) {
    line.say(&format!(
        "<message type='chat' from='romeo@jabber.test/x' to='bob.ocs@jabber.test/r1' id='{id}'><body>{text}</body></message>"
    ));
}

#[test]
fn messages_cross_both_ways_and_each_side_is_told_the_truth() {
    let (mut stage, mut line) = Stage::signed_in("both");
    let status = stage.status();
    assert_eq!(status["state"], "signed in");
    assert_eq!(
        (&status["user"], &status["jid"]),
        (&"bob@ocs.test".into(), &"bob.ocs@jabber.test".into())
    );
    assert_eq!(
        (&status["contacts"], &status["resumable"]),
        (&1.into(), &true.into())
    );
    stage.write("m1", "to romeo");
    let message = line.hear("to romeo");
    assert_eq!(attribute(&message, "to"), "romeo@jabber.test");
    assert!(
        !message.contains("ocs.test"),
        "the server puts the account's address there: {message}"
    );
    line.pass_fence();
    assert_eq!(stage.outcome("m1"), "200");
    stage.write("m2", "to nobody");
    let message = line.hear("to nobody");
    let id = attribute(&message, "id");
    line.say(&format!(
        "<message type='error' id='{id}' from='romeo@jabber.test' to='bob.ocs@jabber.test/r1'><error type='cancel'>\
         <service-unavailable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></message>"
    ));
    line.pass_fence();
    assert_ne!(stage.outcome("m2"), "200");
    say_to_bob(&mut line, "x1", "to bob");
    let mut message = stage.hear("to bob");
    assert!(
        message.text.starts_with("MESSAGE sip:bob@ocs.test"),
        "{}",
        message.text
    );
    message.answer("404 Not Found", stage.sip.address, "");
    let error = line.hear("type='error'");
    assert_eq!(attribute(&error, "id"), "x1");
    assert_eq!(attribute(&error, "to"), "romeo@jabber.test/x");
}

#[test]
fn a_stanza_is_acknowledged_when_it_is_kept() {
    let (mut stage, mut line) = Stage::signed_in("acks");
    let before = line.ask();
    say_to_bob(&mut line, "x1", "one");
    stage.hear("one").answer("200 OK", stage.sip.address, "");
    assert_eq!(line.ask(), before + 1);
}

#[test]
fn a_cut_loses_nothing_and_doubles_nothing() {
    let (mut stage, mut line) = Stage::signed_in("cut");
    line.answers = false;
    stage.write("m1", "before the cut");
    line.hear("before the cut");
    let heard = line.heard;
    let taken = line.ask();
    say_to_bob(&mut line, "x1", "held by bob");
    let mut held = stage.hear("held by bob");
    line.cut();
    stage.write("m2", "in the cut");
    // The server has the first message, and not what came behind it.
    let (mut line, has) = stage.server.accept_again(heard);
    if has == taken {
        say_to_bob(&mut line, "x1", "held by bob");
    }
    held.answer("200 OK", stage.sip.address, "");
    line.pass_fence();
    assert_eq!(stage.outcome("m1"), "200");
    line.hear("in the cut");
    line.pass_fence();
    assert_eq!(stage.outcome("m2"), "200");
    say_to_bob(&mut line, "x2", "behind the cut");
    stage
        .hear("behind the cut")
        .answer("200 OK", stage.sip.address, "");
    assert!(stage.sip.has_heard_nothing());
    stage.gateway.wait_for("has its session again behind a cut");
}

#[test]
fn a_message_whose_session_is_gone_fails_for_its_sender() {
    let (mut stage, mut line) = Stage::signed_in("gone");
    stage.write("m1", "lost");
    line.hear("lost");
    line.cut();
    drop(std::mem::replace(
        &mut stage.server,
        ClientServer::start(&stage.folder, "jabber"),
    ));
    let code = stage.outcome("m1");
    assert!(code.starts_with(['4', '5']), "{code}");
    assert!(
        stage.status()["state"]
            .as_str()
            .unwrap()
            .starts_with("waiting")
    );
}

#[test]
fn another_session_follows_one_that_the_server_has_forgotten() {
    let (mut stage, mut line) = Stage::signed_in("forgotten");
    stage.write("m1", "twice perhaps");
    let first = line.hear("twice perhaps");
    line.cut();
    let mut line = stage.server.meet();
    line.hear("<resume ");
    line.say("<failed xmlns='urn:xmpp:sm:3'><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></failed>");
    line.begin();
    let again = line.hear("twice perhaps");
    assert_eq!(attribute(&again, "id"), attribute(&first, "id"));
    line.pass_fence();
    assert_eq!(stage.outcome("m1"), "200");
}

#[test]
fn a_message_that_the_server_has_kept_though_it_was_taken_comes_once() {
    let (mut stage, mut line) = Stage::signed_in("kept");
    say_to_bob(&mut line, "x1", "once");
    stage.hear("once").answer("200 OK", stage.sip.address, "");
    line.cut();
    let mut line = stage.server.meet();
    line.hear("<resume ");
    line.say("<failed xmlns='urn:xmpp:sm:3'/>");
    line.begin();
    line.say(
        "<message type='chat' from='romeo@jabber.test/x' to='bob.ocs@jabber.test' id='x1'><body>once</body>\
         <delay xmlns='urn:xmpp:delay' from='jabber.test' stamp='2026-11-26T12:00:00Z'/></message>",
    );
    say_to_bob(&mut line, "x2", "and another one");
    stage.hear("and another one");
}

/// The account meets the authorities that SIGHUP has read, not those before.
#[test]
fn a_hang_up_reads_authorities_before_accounts() {
    let mut stage = Stage::with("order", "third", "");
    assert!(
        stage.server.encrypted().is_none(),
        "nobody knows its authority"
    );
    stage.refuses("tls.roots");
    let authority = std::fs::read_to_string(stage.folder.0.join("third.crt")).unwrap();
    stage.folder.write("wrong.crt", &authority);
    signal(stage.gateway.id(), "HUP");
    stage.server.accept();
    stage.gateway.wait_for("XMPP account is signed in");
}

#[test]
fn a_wrong_password_waits_for_a_person() {
    let mut stage = Stage::new("wrong");
    let mut line = stage.server.encrypted().unwrap();
    line.offer("SCRAM-SHA-256");
    line.hear("<auth ");
    line.say("<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><not-authorized/></failure>");
    stage.refuses("correct xmpp.account.jid or its password");
    assert!(
        stage.status()["state"]
            .as_str()
            .unwrap()
            .starts_with("wrong password")
    );
    stage.write("m1", "no way");
    let code = stage.outcome("m1");
    assert!(code.starts_with(['4', '5']), "{code}");
    // A person corrects it at the server, and then here.
    signal(stage.gateway.id(), "HUP");
    let mut line = stage.server.encrypted().unwrap();
    line.offer("SCRAM-SHA-256");
    line.hear("<auth ");
    line.say("<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><not-authorized/></failure>");
    stage.refuses("correct xmpp.account.jid or its password");
    stage.folder.write("password", "another one");
    signal(stage.gateway.id(), "HUP");
    let mut line = stage.server.encrypted().unwrap();
    line.offer("SCRAM-SHA-256");
    line.hear("<auth ");
}

#[test]
fn sighup_signs_accounts_in_and_out() {
    let (mut stage, mut line) = Stage::signed_in("hup");
    let file = stage.gateway.settings.clone();
    let text = std::fs::read_to_string(&file).unwrap();
    let table = text.find("[[xmpp.account]]").unwrap();
    let end = text.find("[sip]\n").unwrap();
    std::fs::write(&file, format!("{}{}", &text[..table], &text[end..])).unwrap();
    signal(stage.gateway.id(), "HUP");
    stage.gateway.wait_for("XMPP account is signed out");
    while line.try_next().is_some() {}
    assert_eq!(stage.status(), serde_json::Value::Null);
    stage.write("m1", "no way any more");
    let code = stage.outcome("m1");
    assert!(code.starts_with(['4', '5']), "{code}");
    std::fs::write(&file, text).unwrap();
    signal(stage.gateway.id(), "HUP");
    stage.server.accept();
    stage.gateway.wait_for("XMPP account is signed in");
    std::fs::write(&file, "not TOML at all").unwrap();
    signal(stage.gateway.id(), "HUP");
    stage.gateway.wait_for("XMPP accounts are not read anew");
}

#[test]
fn nothing_is_said_to_a_server_without_tls() {
    let mut stage = Stage::new("no-tls");
    let mut clear = stage.server.clear();
    clear.say("<stream:features><mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>PLAIN</mechanism></mechanisms></stream:features>");
    assert_eq!(clear.next(), None, "its end is all that follows");
    clear.say("</stream:stream>");
    stage.refuses("no password is sent in clear");
}

#[test]
fn a_certificate_of_another_name_is_refused() {
    let mut stage = Stage::with("name", "wrong", "");
    assert!(stage.server.encrypted().is_none(), "nothing is said inside");
    stage.refuses("the server needs one for jabber.test");
}

#[test]
fn plain_is_used_only_where_it_is_allowed() {
    let mut stage = Stage::new("plain");
    let mut line = stage.server.encrypted().unwrap();
    line.offer("PLAIN");
    assert_eq!(line.try_next(), None);
    stage.refuses("set plain = true");

    let mut stage = Stage::with("plain-too", "jabber", "plain = true");
    let mut line = stage.server.encrypted().unwrap();
    line.offer("PLAIN");
    let auth = line.hear("<auth ");
    assert_eq!(attribute(&auth, "mechanism"), "PLAIN");
    line.say("<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><not-authorized/></failure>");
    stage.refuses("not-authorized");
    let shown = client_server::text(&auth);
    let log = stage.gateway.log.join("\n");
    assert!(
        log.contains("XMPP out: of a login") && !log.contains(shown),
        "{shown}"
    );
}

#[test]
fn hostile_servers_end_their_stream_and_nothing_else() {
    let mut stage = Stage::new("hostile");
    let mut line = stage.server.encrypted().unwrap();
    line.say(&format!("<stream:features>{}", "<a>".repeat(20_000)));
    line.ends();
    stage.gateway.wait_for("elements nested too deep");
    let mut line = stage.server.encrypted().unwrap();
    line.say(&format!("<stream:features a='{}", "x".repeat(20_000)));
    line.ends();
    stage.gateway.wait_for("policy-violation");
    let mut line = stage.server.accept();
    stage.gateway.wait_for("XMPP account is signed in");
    // Larger than is taken, from one contact: he is told, and the session goes on.
    say_to_bob(&mut line, "big", &"x".repeat(300_000));
    let error = line.hear("type='error'");
    assert_eq!(attribute(&error, "id"), "big");
    line.say(&"<message>".repeat(100_000));
    line.ends();
    let mut line = stage.server.encrypted().unwrap();
    line.offer("SCRAM-SHA-256");
    let auth = line.hear("<auth ");
    let nonce = client_server::nonce(&auth);
    line.sasl("challenge", &format!("r={nonce}x,s=AAAA,i=4000000000"));
    stage.refuses("asks for 4000000000 SCRAM iterations");
    assert!(stage.gateway.is_running());
}

#[test]
fn a_clean_stop_signs_out() {
    let (mut stage, mut line) = Stage::signed_in("stop");
    let rest = std::thread::spawn(move || while line.try_next().is_some() {});
    assert!(stage.gateway.stop().success());
    rest.join().unwrap();
}
