//! MSRP sessions through a relay of ours (RFC 4976), on virtual time: what the relay hears, what peers are told, and what
//! becomes of it all when the relay goes.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests may fail a test"
)]

mod agent;

use agent::session::{GRUU, SDP, accepts, described, im, laptop, sends, settled};
use agent::{Agent, Fields, bruno, from_bruno, world};
use stox_core::address::SipAddress;
use stox_core::vocab::{Ref, SipIn, SipOut};
use stox_sip::dialect::{ImMode, Overrides, Profile, Rule, SessionBy};
use stox_sip::message::{Request, Response};
use stox_sip::msrp::endpoint::{self, Fault, Fingerprint, Security};
use stox_sip::msrp::uri::MsrpUri;
use stox_sip::transport::FlowId;
use stox_sip::ua::RelayNews;
use stox_sip::ua::settings::{Msrp, Relay};

const RELAY: &str = "msrps://relay.jabber.example:2855;tcp";
/// What the relay calls the way to us.
const WAY: &str = "msrps://relay.jabber.example:9000/w1;tcp";
const THEIRS: &str = "msrps://192.0.2.10:7000/k7s;tcp";
const FLOW: FlowId = FlowId(50);
const STRANGER: FlowId = FlowId(51);

/// A user agent with a relay, which opens sessions over MSRP. `listens`: peers could come to it, too.
fn agent(listens: bool) -> Agent {
    let mut settings = world();
    settings.sip_domains[0].dialect = Rule {
        profile: Some(Profile::Simple),
        overrides: Overrides {
            im: Some(ImMode::Session),
            session_by: Some(SessionBy::Msrp),
            requests_per_second: Some(0),
            ..Overrides::default()
        },
    };
    settings.msrp = Some(Msrp {
        host: "gw.jabber.example".to_owned(),
        tcp_port: listens.then_some(2855),
        tls_port: listens.then_some(2856),
        fingerprint: Some(Fingerprint::sha256(b"ours")),
        networks: Vec::new(),
        relay: Some(Relay::new(
            MsrpUri::parse(RELAY).unwrap(),
            "gateway".to_owned(),
            "secret".to_owned(),
        )),
        endpoint: endpoint::Settings::default(),
    });
    Agent::with(settings)
}

/// Connects us to the relay, as we want it to be; our first AUTH.
fn connects(agent: &mut Agent) -> String {
    let dial = agent.ua.poll_msrp_dial().expect("the relay is dialled");
    assert_eq!(dial.target, MsrpUri::parse(RELAY).unwrap());
    let Security::Tls(proof) = &dial.security else {
        panic!("{:?}", dial.security)
    };
    assert_eq!(proof.name, "relay.jabber.example");
    agent.ua.msrp_dialled(dial.id, Some(FLOW), agent.now);
    writes(agent)
}

/// What goes out to the relay next.
fn writes(agent: &mut Agent) -> String {
    let (flow, octets) = agent.ua.poll_msrp_transmit().expect("MSRP");
    assert_eq!(flow, FLOW);
    agent.ua.msrp_written(flow, octets.len(), agent.now);
    agent.pump();
    String::from_utf8(octets.to_vec()).unwrap()
}

fn header<'a>(frame: &'a str, name: &str) -> &'a str {
    let of = |line: &'a str| line.strip_prefix(name)?.strip_prefix(": ");
    frame.lines().find_map(of).expect(name)
}

fn transaction(frame: &str) -> &str {
    frame.split(' ').nth(1).unwrap()
}

fn hears(agent: &mut Agent, flow: FlowId, octets: &str) {
    agent.ua.msrp_received(flow, octets.as_bytes(), agent.now);
    agent.pump();
}

/// The answer of the next hop to something of ours.
fn answers(agent: &mut Agent, frame: &str, status: &str, more: &str) {
    let (id, to) = (transaction(frame), header(frame, "From-Path"));
    let from = header(frame, "To-Path").split(' ').next().unwrap();
    let answer = format!(
        "MSRP {id} {status}\r\nTo-Path: {to}\r\nFrom-Path: {from}\r\n{more}-------{id}$\r\n"
    );
    hears(agent, FLOW, &answer);
}

/// Challenge and answer at the relay.
fn proves(agent: &mut Agent, auth: &str, way: &str) {
    assert!(auth.contains(" AUTH\r\n"), "{auth}");
    assert_eq!(header(auth, "To-Path"), RELAY);
    let challenge =
        "WWW-Authenticate: Digest realm=\"relays\", nonce=\"n1\", algorithm=MD5, qop=\"auth\"\r\n";
    answers(agent, auth, "401 Unauthorized", challenge);
    let proven = writes(agent);
    let authorization = header(&proven, "Authorization");
    assert!(
        authorization.contains("username=\"gateway\"")
            && authorization.contains("realm=\"relays\"")
            && !authorization.contains("secret"),
        "{authorization}"
    );
    let more = format!("Use-Path: {way}\r\nExpires: 400\r\n");
    answers(agent, &proven, "200 OK", &more);
}

/// A user agent that the relay knows.
fn known(listens: bool) -> Agent {
    let mut agent = agent(listens);
    agent.passes_seconds(0);
    let auth = connects(&mut agent);
    proves(&mut agent, &auth, WAY);
    assert_eq!(told(&mut agent), Some(Ok(())));
    agent
}

fn told(agent: &mut Agent) -> Option<Result<(), Fault>> {
    let RelayNews { relay, outcome } = agent.ua.poll_relay_news()?;
    assert_eq!(relay.to_string(), RELAY);
    Some(outcome)
}

fn lines(body: &[u8]) -> Vec<&str> {
    std::str::from_utf8(body).unwrap().lines().collect()
}

fn attribute<'a>(body: &'a [u8], name: &str) -> Option<&'a str> {
    let start = format!("a={name}:");
    lines(body)
        .into_iter()
        .find_map(|line| line.strip_prefix(start.as_str()))
}

/// What a session description says when peers are to come through the relay; our own URI.
fn leads_through(body: &[u8], way: &str, setup: &str) -> String {
    let media = lines(body).into_iter().find(|line| line.starts_with("m="));
    assert_eq!(media, Some("m=message 9000 TCP/TLS/MSRP *"));
    assert_eq!(attribute(body, "setup"), Some(setup));
    // It would be that of another host than the one they see.
    assert_eq!(attribute(body, "fingerprint"), None);
    let path = attribute(body, "path").unwrap();
    let own = path.strip_prefix(way).expect(path).trim_start();
    assert!(own.starts_with("msrps://gw.jabber.example:"), "{own}");
    own.to_owned()
}

/// Bruno's INVITE, with this line on who connects; the answer.
fn called(agent: &mut Agent, setup: &str) -> Response {
    let media = format!(
        "m=message 7000 TCP/TLS/MSRP *\r\na=accept-types:text/plain\r\na=path:{THEIRS}\r\na=setup:{setup}"
    );
    let more = format!("{GRUU}{SDP}");
    let invite = from_bruno("INVITE", "i1", 1, "", &more, &described(&media));
    agent.hears(&invite);
    let answer = agent.says_response(200);
    agent.hears(&from_bruno("ACK", "a1", 1, &answer.tag("To"), "", ""));
    answer
}

/// A SEND of bruno's as it comes to us from the relay.
fn from_peer(own: &str, id: &str, body: &str) -> String {
    let length = body.len();
    let content = match body {
        "" => String::new(),
        _ => format!("Content-Type: text/plain\r\n\r\n{body}\r\n"),
    };
    let first = length.min(1);
    let range = format!("{}-{length}/{length}", first.max(1));
    format!(
        "MSRP {id} SEND\r\nTo-Path: {own}\r\nFrom-Path: {WAY} {THEIRS}\r\nMessage-ID: m-{id}\r\n\
         Byte-Range: {range}\r\n{content}-------{id}$\r\n"
    )
}

/// Bruno writes, and alma's server takes it.
fn hears_text(agent: &mut Agent, own: &str, id: &str, text: &str) {
    hears(agent, FLOW, &from_peer(own, id, text));
    let SipIn::Message { reference, im, .. } = agent.tells() else {
        panic!("no message")
    };
    assert_eq!(im.bodies[0].text, text);
    let outcome = Ok(());
    agent.does(SipOut::AnswerMessage { reference, outcome });
    let answer = writes(agent);
    assert!(answer.starts_with(&format!("MSRP {id} 200")), "{answer}");
    // The relay answers its own side.
    assert_eq!(header(&answer, "To-Path"), WAY);
}

/// Alma writes, and bruno's relay takes it.
fn sends_text(agent: &mut Agent, own: &str, reference: u64, text: &str) {
    sends(agent, reference, im(text, None));
    let send = writes(agent);
    is_to_bruno(&send, own);
    assert!(send.contains(&format!("\r\n\r\n{text}\r\n")), "{send}");
    answers(agent, &send, "200 OK", "");
    assert_eq!(settled(agent), (reference, Ok(())));
}

fn is_to_bruno(send: &str, own: &str) {
    assert_eq!(header(send, "To-Path"), format!("{WAY} {THEIRS}"));
    assert_eq!(header(send, "From-Path"), own);
}

fn invites(agent: &mut Agent) -> Request {
    sends(agent, 1, im("hello", None));
    agent.says_request("INVITE")
}

#[test]
fn a_session_of_ours_runs_through_the_relay() {
    let mut agent = known(false);
    let invite = invites(&mut agent);
    let own = leads_through(&invite.body, WAY, "actpass");
    let media = format!(
        "m=message 7000 TCP/TLS/MSRP *\r\na=accept-types:text/plain\r\na=path:{THEIRS}\r\na=setup:passive"
    );
    accepts(&mut agent, &invite, "b1", &media);
    agent.says_request("ACK");
    // Nothing is dialled: the relay finds the way to bruno.
    assert_eq!(agent.ua.poll_msrp_dial(), None);
    let first = writes(&mut agent);
    is_to_bruno(&first, &own);
    answers(&mut agent, &first, "200 OK", "");
    let send = writes(&mut agent);
    is_to_bruno(&send, &own);
    answers(&mut agent, &send, "200 OK", "");
    assert_eq!(settled(&mut agent), (1, Ok(())));
    hears_text(&mut agent, &own, "text0001", "hi");
    agent.is_silent();
}

#[test]
fn a_session_of_the_peers_comes_in_through_the_relay() {
    let mut agent = known(true);
    let answer = called(&mut agent, "active");
    let own = leads_through(&answer.body, WAY, "passive");
    assert_eq!(agent.ua.poll_msrp_dial(), None);
    // It comes through the relay, and not to the door.
    agent.ua.msrp_accepted(STRANGER, true, None, agent.now);
    hears(&mut agent, STRANGER, &from_peer(&own, "bind0001", ""));
    let (flow, refusal) = agent.ua.poll_msrp_transmit().unwrap();
    assert!(flow == STRANGER && refusal.starts_with(b"MSRP bind0001 403"));
    agent.ua.msrp_closed(STRANGER, agent.now);
    hears(&mut agent, FLOW, &from_peer(&own, "bind0002", ""));
    assert!(writes(&mut agent).starts_with("MSRP bind0002 200"));
    hears_text(&mut agent, &own, "text0001", "hi");
    sends_text(&mut agent, &own, 1, "hello");
    agent.is_silent();
}

#[test]
fn the_relay_is_asked_again_before_its_path_expires() {
    let mut agent = known(false);
    let answer = called(&mut agent, "active");
    let own = leads_through(&answer.body, WAY, "passive");
    hears(&mut agent, FLOW, &from_peer(&own, "bind0001", ""));
    writes(&mut agent);
    agent.passes_seconds(300);
    let auth = writes(&mut agent);
    // A relay may have another way to us by now. What is there stays as it is.
    let other = "msrps://relay.jabber.example:9000/w2;tcp";
    proves(&mut agent, &auth, other);
    sends_text(&mut agent, &own, 1, "hello");
    let more = format!("{GRUU}{SDP}");
    let media = format!("m=message 7000 TCP/TLS/MSRP *\r\na=path:{THEIRS}\r\na=setup:actpass");
    let invite = from_bruno("INVITE", "i2", 1, "", &more, &described(&media));
    agent.hears(&invite.replace("s2x-1@ocs.example", "s2x-2@ocs.example"));
    let answer = agent.says_response(200);
    leads_through(&answer.body, other, "passive");
    assert_eq!(told(&mut agent), None);
}

/// The relay's connection breaks; what the administrator is told.
fn breaks(agent: &mut Agent) {
    agent.ua.msrp_closed(FLOW, agent.now);
    agent.pump();
    assert_eq!(told(agent), Some(Err(Fault::Lost)));
}

#[test]
fn sessions_end_with_the_relay_and_go_on_without_it() {
    let mut agent = known(true);
    let answer = called(&mut agent, "active");
    let own = leads_through(&answer.body, WAY, "passive");
    hears(&mut agent, FLOW, &from_peer(&own, "bind0001", ""));
    writes(&mut agent);
    breaks(&mut agent);
    let bye = agent.says_request("BYE");
    agent.hears_answer(&bye, 200, "");
    let invite = invites(&mut agent);
    // As without a relay: by how SIP runs.
    let path = attribute(&invite.body, "path").unwrap();
    assert!(path.starts_with("msrp://gw.jabber.example:2855/"), "{path}");
    // It is tried again, and used again.
    agent.passes_seconds(10);
    let auth = connects(&mut agent);
    proves(&mut agent, &auth, WAY);
    assert_eq!(told(&mut agent), Some(Ok(())));
}

#[test]
fn a_session_that_waits_for_its_peer_ends_with_the_relay() {
    let mut agent = known(false);
    called(&mut agent, "active");
    breaks(&mut agent);
    let bye = agent.says_request("BYE");
    agent.hears_answer(&bye, 200, "");
    assert_eq!(agent.ua.status().sessions, 0);
}

#[test]
fn without_relay_and_listener_nothing_is_offered_over_msrp() {
    let mut agent = known(false);
    breaks(&mut agent);
    let invite = invites(&mut agent);
    assert_eq!(attribute(&invite.body, "path"), None);
    let media = format!("m=message 7000 TCP/TLS/MSRP *\r\na=path:{THEIRS}\r\na=setup:active");
    let more = format!("{GRUU}{SDP}");
    let theirs = from_bruno("INVITE", "i1", 1, "", &more, &described(&media));
    agent.hears(&theirs);
    agent.says_response(488);
}

#[test]
fn a_path_that_is_gone_when_the_peer_answers_is_not_waited_for() {
    let mut agent = known(false);
    let invite = invites(&mut agent);
    breaks(&mut agent);
    let media = format!(
        "m=message 7000 TCP/TLS/MSRP *\r\na=accept-types:text/plain\r\na=path:{THEIRS}\r\na=setup:active"
    );
    accepts(&mut agent, &invite, "b1", &media);
    agent.says_request("ACK");
    agent.says_request("BYE");
    // The message goes another way, or fails; it is not kept.
    match agent.ua.poll_input() {
        Some(SipIn::Outcome { outcome, .. }) => assert!(outcome.is_err()),
        None => _ = agent.says_request("MESSAGE"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_relay_that_refuses_is_told_of_once_and_asked_more_and_more_rarely() {
    let mut agent = agent(true);
    agent.passes_seconds(0);
    for (round, wait) in [10, 20, 40].into_iter().enumerate() {
        let auth = connects(&mut agent);
        let challenge =
            "WWW-Authenticate: Digest realm=\"r\", nonce=\"n1\", algorithm=MD5, qop=\"auth\"\r\n";
        answers(&mut agent, &auth, "401 Unauthorized", challenge);
        let proven = writes(&mut agent);
        answers(&mut agent, &proven, "401 Unauthorized", challenge);
        let told = told(&mut agent);
        match round {
            0 => assert!(matches!(told, Some(Err(Fault::Refused(status))) if status.code == 401)),
            _ => assert_eq!(told, None),
        }
        assert_eq!(agent.ua.poll_msrp_close(), Some(FLOW));
        agent.ua.msrp_closed(FLOW, agent.now);
        agent.passes_seconds(wait - 1);
        assert_eq!(agent.ua.poll_msrp_dial(), None);
        agent.passes_seconds(1);
    }
    // A relay that cannot be reached is no news either.
    let dial = agent.ua.poll_msrp_dial().unwrap();
    agent.ua.msrp_dialled(dial.id, None, agent.now);
    assert_eq!(told(&mut agent), None);
    // Sessions do not wait for it.
    let answer = called(&mut agent, "active");
    let path = attribute(&answer.body, "path").unwrap();
    assert!(
        path.starts_with("msrps://gw.jabber.example:2856/"),
        "{path}"
    );
    assert!(attribute(&answer.body, "fingerprint").is_some());
}

#[test]
fn a_peer_that_is_quicker_than_its_answer_does_not_stop_the_relay() {
    let mut agent = known(false);
    let answer = called(&mut agent, "active");
    let own = leads_through(&answer.body, WAY, "passive");
    hears(&mut agent, FLOW, &from_peer(&own, "bind0001", ""));
    writes(&mut agent);
    // Somebody else's conversation is offered, and not answered yet.
    let carla = SipAddress {
        user: Some("carla".to_owned()),
        ..bruno()
    };
    agent.does(SipOut::Message {
        reference: Ref(7),
        from: laptop(),
        to: carla,
        im: im("hello", None),
    });
    let invite = agent.says_request("INVITE");
    let offered = leads_through(&invite.body, WAY, "actpass");
    hears(&mut agent, FLOW, &from_peer(&offered, "bind0002", ""));
    assert!(writes(&mut agent).starts_with("MSRP bind0002 481"));
    hears_text(&mut agent, &own, "text0001", "hi");
}

#[test]
fn a_stop_leaves_the_relay() {
    let mut agent = known(true);
    agent.ua.shut_down(agent.now);
    agent.pump();
    assert_eq!(agent.ua.poll_msrp_close(), Some(FLOW));
    agent.ua.msrp_closed(FLOW, agent.now);
    agent.passes_seconds(1000);
    assert_eq!(agent.ua.poll_msrp_dial(), None);
    assert_eq!(told(&mut agent), None);
    assert!(agent.ua.is_empty());
}
