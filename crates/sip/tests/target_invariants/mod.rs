//! What holds for the way from a URI to the places to try, whatever the DNS says. The first line is the URI and, behind a
//! space, the transports that we may use; behind it come the answers of the DNS, with an empty line before each.
//!
//! ```text
//! sips:ocs.example TLS TCP UDP
//!
//! N 10 20 s SIPS+D2T _sips._tcp.ocs.example
//!
//! S 0 5 5061 edge.ocs.example
//!
//! A 192.0.2.7
//! ```
//!
//! An answer with nothing readable in it is that there is nothing; `!` is that the DNS has failed.

use std::net::IpAddr;

use stox_core::time::SeededEntropy;
use stox_sip::target::{
    Answer, MAX_RECORDS, MAX_TARGETS, NaptrRecord, NextHop, Question, SrvRecord, TargetError,
    TargetLookup, TransportPolicy,
};
use stox_sip::transport::{Target, Transport};
use stox_sip::uri::Uri;

/// NAPTR once, SRV for what each of its records names, and addresses for each SRV record.
const MAX_QUESTIONS: usize = 1 + 2 * MAX_RECORDS;

/// How many targets there were.
pub(crate) fn check(octets: &[u8]) -> usize {
    let text = String::from_utf8_lossy(octets);
    let mut blocks = text.split("\n\n");
    let first = blocks.next().unwrap_or_default();
    let (uri, transports) = first.split_once(' ').unwrap_or((first, "TLS TCP UDP"));
    let Some(hop) = hop(uri) else {
        return 0;
    };
    let mut listed: Vec<Transport> = Vec::new();
    for transport in transports.split(' ').filter_map(transport) {
        if !listed.contains(&transport) {
            listed.push(transport);
        }
    }
    let policy = TransportPolicy {
        transports: listed,
        naptr: !transports.contains('-'),
    };
    let answers: Vec<Answer> = blocks.map(answer).collect();
    let (asked, found) = run(&hop, &policy, &answers);
    assert!(asked.len() <= MAX_QUESTIONS, "{} questions", asked.len());
    asked.iter().for_each(question);
    match found {
        Ok(targets) => {
            assert!((1..=MAX_TARGETS).contains(&targets.len()));
            targets
                .iter()
                .for_each(|target| one(target, &hop, &policy, &asked, &answers));
            targets.len()
        }
        Err(error) => {
            let is_bad = error == TargetError::BadHost;
            assert!(!is_bad || asked.is_empty(), "asked for what is no host");
            0
        }
    }
}

fn run(
    hop: &NextHop,
    policy: &TransportPolicy,
    answers: &[Answer],
) -> (Vec<Question>, Result<Vec<Target>, TargetError>) {
    let mut lookup = TargetLookup::new(hop.clone(), policy);
    let mut entropy = SeededEntropy(3);
    let mut asked = Vec::new();
    while let Some(question) = lookup.question() {
        assert!(asked.len() <= MAX_QUESTIONS, "the lookup does not end");
        let answer = answers.get(asked.len()).cloned();
        asked.push(question);
        lookup.answer(answer.unwrap_or(Answer::Nothing), &mut entropy);
    }
    (asked, lookup.finish())
}

/// A transport that we may use, the security that is asked for, an address that was told, and the name of a certificate
/// that the domain has chosen itself.
fn one(
    target: &Target,
    hop: &NextHop,
    policy: &TransportPolicy,
    asked: &[Question],
    answers: &[Answer],
) {
    assert!(policy.transports.contains(&target.transport));
    let is_secure = target.transport.row().secure;
    assert!(is_secure || !hop.secure, "sips in clear: {target:?}");
    if let Some(wanted) = hop.transport {
        assert!(target.transport == wanted || hop.secure, "{target:?}");
    }
    if let Some(port) = hop.port {
        assert_eq!(target.address.port(), port);
        assert!(asked.len() <= 1, "a port leaves nothing to choose");
    }
    let host = hop.host.to_ascii_lowercase();
    let host = host.trim_matches(['[', ']']);
    let domain = host.strip_suffix('.').unwrap_or(host);
    let outside = target.name.strip_suffix(domain);
    let is_within = outside.is_some_and(|labels| labels.is_empty() || labels.ends_with('.'));
    assert!(is_within, "{} for {domain}", target.name);
    let told = answers.iter().any(|answer| match answer {
        Answer::Addresses(list) => list.contains(&target.address.ip()),
        _ => false,
    });
    assert!(told || domain.parse() == Ok(target.address.ip()));
}

/// No question has anything but a host name in it.
fn question(question: &Question) {
    let (Question::Naptr(name) | Question::Srv(name) | Question::Address(name)) = question;
    let plain = |octet: u8| octet.is_ascii_alphanumeric() || b"-_.".contains(&octet);
    assert!(name.bytes().all(plain), "{name:?}");
    assert!(!name.is_empty() && name.len() <= 300, "{name:?}");
}

fn hop(text: &str) -> Option<NextHop> {
    match Uri::parse(text) {
        Ok(uri) => NextHop::try_from(&uri).ok(),
        // What no URI has may still stand in a setting.
        Err(_) => Some(NextHop {
            host: text.to_owned(),
            port: None,
            transport: None,
            secure: text.starts_with("sips"),
        }),
    }
}

fn transport(word: &str) -> Option<Transport> {
    Transport::from_parameter(&word.to_ascii_lowercase())
}

fn answer(block: &str) -> Answer {
    let (mut naptr, mut srv, mut addresses) = (Vec::new(), Vec::new(), Vec::new());
    for line in block.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        match words.as_slice() {
            ["!", ..] => return Answer::Failed,
            ["N", order, preference, flags, service, rest @ ..] => naptr.push(NaptrRecord {
                order: order.parse().unwrap_or_default(),
                preference: preference.parse().unwrap_or_default(),
                flags: (*flags).to_owned(),
                service: (*service).to_owned(),
                replacement: rest.first().copied().unwrap_or_default().to_owned(),
                regexp: rest.get(1).copied().unwrap_or_default().to_owned(),
            }),
            ["S", priority, weight, port, target] => srv.push(SrvRecord {
                priority: priority.parse().unwrap_or_default(),
                weight: weight.parse().unwrap_or_default(),
                port: port.parse().unwrap_or_default(),
                target: (*target).to_owned(),
            }),
            ["A", listed @ ..] => {
                addresses.extend(listed.iter().filter_map(|text| text.parse::<IpAddr>().ok()));
            }
            _ => {}
        }
    }
    if !naptr.is_empty() {
        Answer::Naptr(naptr)
    } else if !srv.is_empty() {
        Answer::Srv(srv)
    } else if !addresses.is_empty() {
        Answer::Addresses(addresses)
    } else {
        Answer::Nothing
    }
}
