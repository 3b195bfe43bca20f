//! SIP domains that no setting names and that were found later.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod agent;

use agent::{Agent, EDGE, Fields, alma, bruno, from_edge, tls, world};
use stox_core::address::SipAddress;
use stox_core::vocab::{Ref, SipIn, SipOut, Trace};
use stox_sip::message::Message;
use stox_sip::transport::{FlowId, Source, Transport};
use stox_sip::ua::trust::SipDomain;

/// A connection with this certificate.
fn shows(names: &[&str]) -> Source {
    Source {
        flow: FlowId(9),
        remote: "198.51.100.9:40123".parse().unwrap(),
        certificate_names: names.iter().map(|name| (*name).to_owned()).collect(),
        ..from_edge(Transport::Tls)
    }
}

fn message(branch: &str, from: &str, to: &str) -> String {
    format!(
        "MESSAGE sip:{to} SIP/2.0\r\nVia: SIP/2.0/TLS a.example:5061;branch=z9hG4bK{branch}\r\nMax-Forwards: 69\r\n\
         From: <sip:{from}>;tag=b1\r\nTo: <sip:{to}>\r\nCall-ID: {branch}\r\nCSeq: 1 MESSAGE\r\n\
         Content-Type: text/plain\r\nContent-Length: 2\r\n\r\nhi"
    )
}

/// What a message of bert's gets.
fn status(agent: &mut Agent, branch: &str, certificate: &[&str]) -> Option<u16> {
    agent.source = shows(certificate);
    agent.hears(&message(
        branch,
        "bert@voice.example",
        "alma@jabber.example",
    ));
    let told = agent.ua.poll_input();
    let status = agent.says_responses().first().map(|answer| answer.status);
    assert_eq!(
        matches!(told, Some(SipIn::Message { .. })),
        status != Some(403),
        "{told:?} {status:?}"
    );
    status
}

#[test]
fn a_found_domain_speaks_by_its_own_certificate_until_it_is_forgotten() {
    let mut agent = Agent::with(world());
    let own: &[&str] = &["sip:voice.example"];
    assert_eq!(status(&mut agent, "1", own), Some(403));
    agent.ua.admit(SipDomain::new("Voice.example"));
    assert!(agent.ua.has_found("voice.example"));
    assert_eq!(status(&mut agent, "2", own), None, "the bridge decides");
    assert_eq!(status(&mut agent, "3", &["other.example"]), Some(403));
    assert_eq!(status(&mut agent, "4", &["*.example"]), Some(403));
    assert_eq!(status(&mut agent, "5", &[]), Some(403));
    // Nothing goes from one SIP domain to the other.
    agent.source = shows(own);
    agent.hears(&message("6", "bert@voice.example", "otto@ocs.example"));
    agent.says_response(404);
    agent.ua.forget("voice.example");
    assert_eq!(status(&mut agent, "7", own), Some(403));
}

#[test]
fn a_stranger_is_known_by_what_its_certificate_proves() {
    let mut agent = Agent::with(world());
    let (own, user) = ("bert@voice.example", "alma@jabber.example");
    let rows: [(&[&str], &str, &str, bool); 7] = [
        (&["sip:voice.example"], own, user, true),
        (&["voice.example"], "bert@Voice.example", user, true),
        (&["sip:other.example"], own, user, false),
        (&["*.example"], own, user, false),
        (&[], own, user, false),
        // One that is federated with is no stranger, and nothing goes from SIP to SIP.
        (&["ocs.example"], "bruno@ocs.example", user, false),
        (&["voice.example"], own, "bruno@ocs.example", false),
    ];
    for (names, from, to, expected) in rows {
        let octets = message("1", from, to);
        let Ok(Message::Request(request)) = Message::parse_datagram(octets.as_bytes()) else {
            panic!("{octets}");
        };
        let found = agent.ua.proved_stranger(&shows(names), &request);
        let expected = expected.then(|| "voice.example".to_owned());
        assert_eq!(found, expected, "{names:?} {from} {to}");
    }
    let octets = message("2", own, user);
    if let Ok(Message::Request(request)) = Message::parse_datagram(octets.as_bytes()) {
        agent.ua.put_off(&shows(&["voice.example"]), request);
    }
    agent.pump();
    agent.says_response(503);
    agent.is_silent();
}

#[test]
fn a_name_of_the_settings_is_not_replaced() {
    let mut agent = Agent::with(world());
    agent.ua.admit(SipDomain::new("ocs.example"));
    agent.ua.forget("ocs.example");
    assert!(!agent.ua.has_found("ocs.example"));
    agent.hears(&message("1", "bruno@ocs.example", "alma@jabber.example"));
    assert!(matches!(agent.tells(), SipIn::Message { .. }));
}

#[test]
fn requests_to_a_found_domain_are_confined_and_keep_it() {
    let mut agent = Agent::with(world());
    agent.ua.admit(SipDomain::new("voice.example"));
    agent.target = Ok(vec![tls(EDGE, "voice.example")]);
    for (number, host) in [(1, "voice.example"), (2, "ocs.example")] {
        let presentity = SipAddress {
            host: host.to_owned(),
            ..bruno()
        };
        agent.does(SipOut::Subscribe {
            trace: Trace::default(),
            reference: Ref(number),
            watcher: alma(),
            presentity,
            poll: false,
        });
    }
    let confined: Vec<(String, bool)> = agent
        .resolved
        .iter()
        .map(|question| (question.hop.host.clone(), question.confined))
        .collect();
    assert!(confined.contains(&("voice.example".to_owned(), true)));
    assert!(confined.iter().any(|(_, confined)| !confined));
    assert!(agent.ua.domains_in_use().contains("voice.example"));
    let requests = agent.says_requests();
    let to_voice = requests
        .iter()
        .find(|request| request.field("To").contains("voice.example"));
    agent.hears_answer(to_voice.unwrap(), 404, "");
    assert!(!agent.ua.domains_in_use().contains("voice.example"));
}
