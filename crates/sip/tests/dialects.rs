//! Each kind of peer by its first request: what it teaches, and how the peer is answered and spoken to from then on.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests may fail a test"
)]

mod agent;

use std::collections::BTreeSet;
use std::path::PathBuf;

use agent::{Agent, EDGE, Fields, address, alma};
use stox_core::policy::DomainPattern;
use stox_core::vocab::{Im, Ref, SipIn, SipOut, Text, WatcherEvent, WatcherState};
use stox_sip::dialect::{ImMode, PROFILES, Profile, SessionWord, Word};
use stox_sip::transport::{FlowId, Source, Transport};
use stox_sip::ua::settings::Settings;
use stox_sip::ua::trust::SipDomain;

fn fixtures() -> Vec<(Profile, String, Vec<u8>)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/dialect/profiles");
    let mut found: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "sip"))
        .map(|path| {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            let profile = Profile::from_word(name.split('.').next().unwrap()).expect(&name);
            (profile, name, std::fs::read(&path).unwrap())
        })
        .collect();
    found.sort_by(|a, b| a.1.cmp(&b.1));
    found
}

/// A gateway that knows nothing of corp.example but its name, and that an Edge speaks for it.
fn stranger() -> Agent {
    let mut settings = Settings::new("gw.jabber.example");
    settings.xmpp_domains = vec![DomainPattern::parse("jabber.example")];
    settings.sip_domains = vec![SipDomain {
        certificate_names: vec!["sip.corp.example".to_owned()],
        ..SipDomain::new("corp.example")
    }];
    let mut agent = Agent::with(settings);
    agent.source = Source {
        flow: FlowId(7),
        transport: Transport::Tls,
        remote: EDGE.parse().unwrap(),
        certificate_names: vec!["sip.corp.example".to_owned()],
    };
    agent
}

fn learned(agent: &Agent) -> Profile {
    agent.ua.dialects().next().unwrap().1
}

/// What the bridge answers, so that the request ends.
fn bridge_answers(agent: &mut Agent) {
    while let Some(input) = agent.ua.poll_input() {
        match input {
            SipIn::Message { reference, .. } => agent.does(SipOut::AnswerMessage {
                reference,
                outcome: Ok(()),
            }),
            SipIn::Watcher {
                reference,
                event: WatcherEvent::Arrived { .. },
            } => {
                agent.does(SipOut::AcceptWatcher { reference });
                agent.does(SipOut::Notify {
                    reference,
                    state: WatcherState::Pending,
                    document: None,
                });
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn each_profile_has_a_first_request_that_teaches_it() {
    let mut seen = BTreeSet::new();
    for (profile, name, octets) in fixtures() {
        let mut agent = stranger();
        let source = agent.source.clone();
        agent.ua.receive_datagram(&source, &octets, agent.now);
        agent.pump();
        bridge_answers(&mut agent);
        assert_eq!(learned(&agent), profile, "{name}");
        let news = agent.ua.poll_learned();
        assert_eq!(news.is_some(), profile != Profile::Simple, "{name}");
        let answers = agent.says_responses();
        let status = answers.last().expect(&name).status;
        let msrp = name.contains("blink");
        assert_eq!(status, if msrp { 488 } else { 200 }, "{name}");
        seen.insert(profile);
    }
    let all: BTreeSet<Profile> = PROFILES.iter().map(|row| row.profile).collect();
    assert_eq!(seen, all);
}

/// The first message to a peer that has shown itself goes the way of its profile.
#[test]
fn each_profile_is_spoken_to_in_its_own_way() {
    for (profile, name, octets) in fixtures() {
        let mut agent = stranger();
        let source = agent.source.clone();
        agent.ua.receive_datagram(&source, &octets, agent.now);
        agent.pump();
        bridge_answers(&mut agent);
        agent.says_responses();
        agent.does(SipOut::Message {
            reference: Ref(1),
            from: alma(),
            // Somebody else: whoever has called is answered in that session.
            to: address("bruno", "corp.example"),
            im: Im {
                bodies: vec![Text {
                    lang: None,
                    text: "hi".to_owned(),
                }],
                ..Im::default()
            },
        });
        let behaviour = &profile.row().behaviour;
        let requests = agent.says_requests();
        let request = requests.last().expect(&name);
        match behaviour.im {
            ImMode::Page => assert_eq!(request.method.as_str(), "MESSAGE", "{name}"),
            ImMode::Session => {
                assert_eq!(request.method.as_str(), "INVITE", "{name}");
                let body = std::str::from_utf8(&request.body).unwrap();
                let line = format!("\r\nm={} 5060 sip null\r\n", behaviour.session_word.word());
                assert!(body.contains(&line), "{name}: {body}");
                assert!(
                    request.field("Contact").contains("alma@jabber.example"),
                    "{name}"
                );
            }
        }
    }
    assert_eq!(
        Profile::Lcs2005.row().behaviour.session_word,
        SessionWord::XMsMessage
    );
}
