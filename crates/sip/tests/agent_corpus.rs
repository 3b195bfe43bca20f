//! Every SIP file of the corpus against a whole user agent: it answers what the index says, and tells the bridge of
//! nothing else.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests may fail a test"
)]

mod agent;

use std::path::PathBuf;

use agent::Agent;
use stox_core::policy::DomainPattern;
use stox_core::vocab::{SipIn, SipOut, WatcherEvent};
use stox_sip::framing::{Frame, StreamFramer};
use stox_sip::parse::Limits;
use stox_sip::transport::{FlowId, Source, Transport};
use stox_sip::ua::settings::Settings;
use stox_sip::ua::trust::{AddressBlock, SipDomain};

/// Where this user agent does otherwise than the index says of a whole gateway, and why.
const OTHERWISE: &[(&str, &[u16], &str)] = &[
    ("rfc4475-invut", &[403], "its sender is of nobody's domain"),
    ("v-invite-msrp", &[488], "MSRP is not served"),
    ("v-publish", &[405], "we are no presence server"),
    (
        "rfc4475-clerr",
        &[400],
        "on a stream it waits for octets that never come",
    ),
];

fn corpus() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/corpus")
}

/// The world of the corpus: xmpp.example is ours, everything that its files come from is trusted.
fn world() -> Settings {
    let mut settings = Settings::new("gw.xmpp.example");
    settings.xmpp_domains = vec![DomainPattern::parse("xmpp.example")];
    let everywhere = AddressBlock {
        address: [0, 0, 0, 0].into(),
        prefix: 0,
    };
    settings.sip_domains = vec![SipDomain {
        trusted_addresses: vec![everywhere],
        ..SipDomain::new("sip.example")
    }];
    settings
}

/// What became of one file, in the words of the index.
fn verdict(agent: &mut Agent) -> Vec<String> {
    let mut verdicts = Vec::new();
    while let Some(input) = agent.ua.poll_input() {
        match input {
            SipIn::Message { reference, .. } => agent.does(SipOut::AnswerMessage {
                reference,
                outcome: Ok(()),
            }),
            SipIn::Watcher {
                reference,
                event: WatcherEvent::Arrived { .. },
            } => agent.does(SipOut::AcceptWatcher { reference }),
            other => panic!("{other:?}"),
        }
    }
    for response in agent.says_responses() {
        verdicts.push(match response.status {
            100..=299 => "accept".to_owned(),
            status => format!("reject:{status}"),
        });
    }
    verdicts
}

fn allows(expected: &str, verdict: &str) -> bool {
    expected.split('|').any(|alternative| {
        match (alternative.split_once(':'), verdict.split_once(':')) {
            (Some((kind, codes)), Some((found, code))) => {
                kind == found && codes.split(',').any(|c| c == code)
            }
            _ => alternative == verdict || alternative == "tolerate",
        }
    })
}

fn feed(agent: &mut Agent, octets: &[u8], transport: Transport) {
    let source = Source {
        flow: FlowId(3),
        transport,
        remote: "192.0.2.66:5060".parse().unwrap(),
        certificate_names: Vec::new(),
    };
    if transport == Transport::Udp {
        agent.ua.receive_datagram(&source, octets, agent.now);
        agent.pump();
        return;
    }
    let mut framer = StreamFramer::new(Limits::default());
    framer.push(octets);
    loop {
        let framed = match framer.poll_frame() {
            Ok(Some(Frame::Message(message))) => Ok(message),
            Ok(Some(Frame::Malformed(error))) | Err(error) => Err(error),
            Ok(Some(Frame::KeepAlivePing | Frame::KeepAlivePong)) => continue,
            Ok(None) => return,
        };
        agent.ua.receive_framed(&source, framed, agent.now);
        agent.pump();
    }
}

/// The files of RFC 4475 and RFC 5118 are about other people's domains and methods.
fn is_elsewhere(name: &str) -> bool {
    name.starts_with("rfc")
}

#[test]
fn every_file_is_answered_as_the_index_says() {
    let index = std::fs::read_to_string(corpus().join("INDEX.tsv")).unwrap();
    let mut seen = 0;
    let mut wrong = Vec::new();
    for row in index.lines().filter(|row| row.starts_with("sip/")) {
        let columns: Vec<&str> = row.split('\t').collect();
        let [file, _, expected, _, _, transports] = columns[..] else {
            panic!("{row}");
        };
        let name = file.rsplit('/').next().unwrap().trim_end_matches(".sip");
        let octets = std::fs::read(corpus().join(file)).unwrap();
        for transport in [Transport::Udp, Transport::Tcp] {
            let word = transport.row().via.to_lowercase();
            if !transports.split(',').any(|listed| listed == word) {
                continue;
            }
            seen += 1;
            let mut agent = Agent::with(world());
            feed(&mut agent, &octets, transport);
            let verdicts = verdict(&mut agent);
            let silent =
                verdicts.is_empty() && (allows(expected, "ignore") || allows(expected, "close"));
            let otherwise = OTHERWISE.iter().find(|(known, ..)| *known == name);
            let fine = match otherwise {
                Some((_, codes, _)) => verdicts
                    .iter()
                    .all(|v| codes.iter().any(|code| *v == format!("reject:{code}"))),
                None if is_elsewhere(name) && allows(expected, "accept") => true,
                None => {
                    silent || (!verdicts.is_empty() && verdicts.iter().all(|v| allows(expected, v)))
                }
            };
            if !fine {
                wrong.push(format!("{name} {word}: {expected}, but {verdicts:?}"));
            }
            agent.passes_seconds(70);
        }
    }
    assert!(seen > 150, "{seen}");
    assert!(wrong.is_empty(), "{wrong:#?}");
}
