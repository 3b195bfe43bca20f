//! The hostile corpus against an accepted stream.

use std::{collections::BTreeMap, path::PathBuf};

use super::*;

/// Cases that this layer lets through and another one decides, with who that is.
const DECIDED_ABOVE: &[(&str, &str)] = &[
    ("iq-type.xml", "the stanza reader refuses unknown types"),
    ("jid-1k.xml", "the address reader refuses long localparts"),
    (
        "jid-crlf-local.xml",
        "the address reader refuses control characters",
    ),
    ("msg-error-loop.xml", "the server half answers no errors"),
    ("pres-type.xml", "the stanza reader refuses unknown types"),
];

struct Case {
    file: String,
    octets: Vec<u8>,
    expected: String,
    after_proof: bool,
}

fn corpus() -> Vec<Case> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/corpus");
    let index = std::fs::read_to_string(root.join("INDEX.tsv")).unwrap();
    index
        .lines()
        .filter(|line| line.starts_with("xmpp/"))
        .map(|line| {
            let columns: Vec<_> = line.split('\t').collect();
            Case {
                file: columns[0].to_owned(),
                octets: std::fs::read(root.join(columns[0])).unwrap(),
                expected: columns[2].to_owned(),
                after_proof: columns[4] == "post",
            }
        })
        .collect()
}

/// What happened, in the words of the index.
fn verdicts(seen: &[Seen<InboundEvent>]) -> Vec<String> {
    let mut verdicts = Vec::new();
    for seen in seen {
        match seen {
            Seen::Wrote(text) => {
                for (part, verdict) in [
                    ("<db:result", "db-"),
                    ("xmpp-tls'/></stream:stream>", "tls-failure"),
                    (
                        "<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'",
                        "sasl-failure",
                    ),
                    (
                        "<failure xmlns='http://jabber.org/protocol/compress'",
                        "compress-failure",
                    ),
                ] {
                    if text.contains(part) {
                        let kind = ["invalid", "error", "valid"]
                            .into_iter()
                            .find(|kind| text.contains(&format!("type='{kind}'")));
                        verdicts.push(match (verdict, kind) {
                            ("db-", Some(kind)) => format!("db-{kind}"),
                            (verdict, _) => verdict.to_owned(),
                        });
                    }
                }
            }
            Seen::Said(InboundEvent::Closed(CloseReason::Refused(error))) => {
                verdicts.push(format!("stream-error:{}", error.condition.name()));
            }
            Seen::Said(InboundEvent::Closed(_)) => verdicts.push("close".to_owned()),
            Seen::Said(InboundEvent::Stanza { .. }) => verdicts.push("accept".to_owned()),
            Seen::Said(InboundEvent::Opened { .. }) => verdicts.push("opened".to_owned()),
            Seen::Said(_) | Seen::StartTls | Seen::Close => {}
        }
    }
    verdicts
}

fn play(case: &Case, tls: TlsRule) -> Vec<Seen<InboundEvent>> {
    let settings = inbound_settings(&["xmpp.example"], tls);
    let mut accepted = if case.after_proof {
        Accepted::proved(settings, "xmpp.example", "attacker.example")
    } else {
        Accepted::new(settings)
    };
    let mut all = Vec::new();
    for part in case.octets.chunks(1_400) {
        accepted.stream.receive(part, accepted.now);
        let seen = accepted.seen();
        for seen in &seen {
            if let Seen::Said(InboundEvent::VerifyKey { id, .. }) = seen {
                accepted.stream.verified(*id, Ok(false), accepted.now);
            }
        }
        all.extend(seen);
        all.extend(accepted.seen());
    }
    all
}

/// The last verdict counts; a stream that opened and lives on has accepted; a case without any was dropped.
fn matches(expected: &str, verdicts: &[String]) -> bool {
    let last = verdicts.last().map_or("drop", String::as_str);
    let last = if last == "opened" { "accept" } else { last };
    expected.split('|').any(|expected| {
        let (kind, conditions) = expected.split_once(':').unwrap_or((expected, ""));
        match last.split_once(':') {
            Some((last_kind, condition)) => {
                kind == last_kind && conditions.split(',').any(|one| one == condition)
                    || kind == "close"
            }
            None => kind == last,
        }
    })
}

#[test]
fn every_case_ends_as_the_index_says() {
    let mut wrong = BTreeMap::new();
    let mut played = 0;
    for case in corpus() {
        for tls in [TlsRule::Required, TlsRule::Optional] {
            let seen = play(&case, tls);
            played += 1;
            let verdicts = verdicts(&seen);
            if !matches(&case.expected, &verdicts) {
                let name = case.file.rsplit('/').next().unwrap().to_owned();
                wrong.insert(name, format!("{verdicts:?} is not {}", case.expected));
            }
        }
    }
    assert!(played > 200, "the corpus is there");
    let above: Vec<_> = DECIDED_ABOVE.iter().map(|(name, _)| *name).collect();
    let wrong_names: Vec<_> = wrong.keys().map(String::as_str).collect();
    assert_eq!(wrong_names, above, "{wrong:#?}");
}

/// Whatever a stranger sends, nothing of it reaches the layers above.
#[test]
fn no_stanza_comes_before_a_proof() {
    for case in corpus().iter().filter(|case| !case.after_proof) {
        for seen in play(case, TlsRule::Optional) {
            assert!(
                !matches!(
                    seen,
                    Seen::Said(InboundEvent::Stanza { .. } | InboundEvent::DomainProved(..))
                ),
                "{}: {seen:?}",
                case.file
            );
        }
    }
}
