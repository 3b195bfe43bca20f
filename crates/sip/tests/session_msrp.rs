//! IM sessions over MSRP: how the SIP dialog and the MSRP session end together, on virtual time.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests may fail a test"
)]

mod agent;

use agent::session::{GRUU, SDP, described, im, sends, settled};
use agent::{Agent, Fields, from_bruno, world};
use bytes::Bytes;
use stox_sip::dialect::{ImMode, Overrides, Profile, Rule};
use stox_sip::message::Response;
use stox_sip::msrp::endpoint;
use stox_sip::transport::FlowId;
use stox_sip::ua::settings::Msrp;

const THEIRS: &str = "msrp://192.0.2.10:9/k7s;tcp";
const FLOW: FlowId = FlowId(50);

/// A user agent that opens sessions, and takes MSRP.
fn agent() -> Agent {
    let mut settings = world();
    settings.sip_domains[0].dialect = Rule {
        profile: Some(Profile::Simple),
        overrides: Overrides {
            im: Some(ImMode::Session),
            requests_per_second: Some(0),
            ..Overrides::default()
        },
    };
    settings.msrp = Some(Msrp {
        host: "gw.jabber.example".to_owned(),
        tcp_port: Some(2855),
        tls_port: None,
        fingerprint: None,
        networks: Vec::new(),
        endpoint: endpoint::Settings::default(),
    });
    Agent::with(settings)
}

/// Bruno's INVITE, who is going to connect; the answer.
fn called(agent: &mut Agent) -> Response {
    let media = format!(
        "m=message 9 TCP/MSRP *\r\na=accept-types:text/plain\r\na=path:{THEIRS}\r\na=setup:active"
    );
    let more = format!("{GRUU}{SDP}");
    agent.hears(&from_bruno(
        "INVITE",
        "i1",
        1,
        "",
        &more,
        &described(&media),
    ));
    agent.says_response(200)
}

fn acknowledges(agent: &mut Agent, answer: &Response) {
    agent.hears(&from_bruno("ACK", "a1", 1, &answer.tag("To"), "", ""));
}

fn path(answer: &Response) -> String {
    let body = std::str::from_utf8(&answer.body).unwrap();
    let path = body.lines().find_map(|line| line.strip_prefix("a=path:"));
    path.expect("a path").to_owned()
}

/// Bruno connects and binds the connection to the session.
fn connects(agent: &mut Agent, answer: &Response) {
    agent.ua.msrp_accepted(FLOW, false, None, agent.now);
    let bind = format!(
        "MSRP bind0001 SEND\r\nTo-Path: {}\r\nFrom-Path: {THEIRS}\r\nMessage-ID: b\r\n\
         Byte-Range: 1-0/0\r\n-------bind0001$\r\n",
        path(answer)
    );
    agent.ua.msrp_received(FLOW, bind.as_bytes(), agent.now);
    assert!(writes(agent).starts_with("MSRP bind0001 200"));
}

/// What goes out over MSRP next.
fn writes(agent: &mut Agent) -> String {
    let (flow, octets): (FlowId, Bytes) = agent.ua.poll_msrp_transmit().expect("MSRP");
    assert_eq!(flow, FLOW);
    agent.ua.msrp_written(flow, octets.len(), agent.now);
    agent.pump();
    String::from_utf8(octets.to_vec()).unwrap()
}

/// Bruno's answer to a SEND.
fn answers(agent: &mut Agent, send: &str, status: &str, to: &str) {
    let transaction = send.split(' ').nth(1).unwrap();
    let answer = format!(
        "MSRP {transaction} {status}\r\nTo-Path: {to}\r\nFrom-Path: {THEIRS}\r\n-------{transaction}$\r\n"
    );
    agent.ua.msrp_received(FLOW, answer.as_bytes(), agent.now);
    agent.pump();
}

#[test]
fn a_connection_that_ends_before_the_ack_ends_the_session() {
    let mut agent = agent();
    let answer = called(&mut agent);
    connects(&mut agent, &answer);
    agent.ua.msrp_closed(FLOW, agent.now);
    agent.pump();
    agent.is_silent();
    acknowledges(&mut agent, &answer);
    let bye = agent.says_request("BYE");
    agent.hears_answer(&bye, 200, "");
    assert_eq!(agent.ua.status().sessions, 0);
}

#[test]
fn a_message_for_which_the_peer_knows_no_session_opens_another() {
    let mut agent = agent();
    let answer = called(&mut agent);
    acknowledges(&mut agent, &answer);
    connects(&mut agent, &answer);
    sends(&mut agent, 1, im("hello", None));
    let send = writes(&mut agent);
    assert!(send.contains("\r\n\r\nhello\r\n"), "{send}");
    answers(&mut agent, &send, "481 Unknown", &path(&answer));
    // The dialog is still there: it ends properly.
    let bye = agent.says_request("BYE");
    let invite = agent.says_request("INVITE");
    assert_ne!(bye.field("Call-ID"), invite.field("Call-ID"));
    agent.hears_answer(&bye, 200, "");
    assert_eq!(agent.ua.status().sessions, 1);
}

#[test]
fn a_message_whose_connection_is_lost_has_an_unknown_outcome() {
    let mut agent = agent();
    let answer = called(&mut agent);
    acknowledges(&mut agent, &answer);
    connects(&mut agent, &answer);
    sends(&mut agent, 1, im("hello", None));
    let send = writes(&mut agent);
    assert!(send.contains("\r\n\r\nhello\r\n"), "{send}");
    agent.ua.msrp_closed(FLOW, agent.now);
    agent.pump();
    let (reference, outcome) = settled(&mut agent);
    assert_eq!(reference, 1);
    assert!(outcome.is_err());
    let bye = agent.says_request("BYE");
    agent.hears_answer(&bye, 200, "");
    agent.is_silent();
    assert_eq!(agent.ua.status().sessions, 0);
}

#[test]
fn a_stop_ends_a_session_that_waits_for_its_connection() {
    let mut agent = agent();
    let answer = called(&mut agent);
    acknowledges(&mut agent, &answer);
    agent.is_silent();
    agent.ua.shut_down(agent.now);
    agent.pump();
    let bye = agent.says_request("BYE");
    agent.hears_answer(&bye, 200, "");
    assert_eq!(agent.ua.status().sessions, 0);
    assert!(agent.ua.is_quiet());
}
