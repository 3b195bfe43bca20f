//! SASL EXTERNAL on dialled streams.

use super::*;

const AUTH: &str =
    "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'>c2lwLnRlc3Q=</auth>";
const SUCCESS: &str = "<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>";
const FAILURE: &str = "<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><not-authorized/><text>no\tway</text></failure>";
const CHALLENGE: &str = "<challenge xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>";
const FEATURES_EXTERNAL: &str = "<stream:features><mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>\
    <mechanism>PLAIN</mechanism><mechanism>EXTERNAL</mechanism></mechanisms></stream:features>";

fn settings(change: impl FnOnce(&mut OutboundSettings)) -> OutboundSettings {
    let mut settings = outbound_settings("sip.test", "jabber.test");
    change(&mut settings);
    settings
}

fn wanted() -> DomainPair {
    pair("sip.test", "jabber.test")
}

/// Inside TLS, the pair wanted, and what the features brought.
fn offered(
    settings: OutboundSettings,
    names: &[&str],
    features: &str,
) -> (Dialled, Vec<Seen<OutboundEvent>>) {
    let mut dialled = Dialled::new(settings);
    dialled.stream.authorise(wanted(), at(0));
    dialled.take(&answer_header("jabber.test", "sip.test", "s1"));
    dialled.take(FEATURES_STARTTLS);
    dialled.take(PROCEED);
    dialled.stream.tls_established(certificate(names), at(0));
    dialled.seen();
    dialled.take(&answer_header("jabber.test", "sip.test", "s2"));
    let seen = dialled.take(features);
    (dialled, seen)
}

fn asked(change: impl FnOnce(&mut OutboundSettings)) -> Dialled {
    let (dialled, seen) = offered(settings(change), &["jabber.test"], FEATURES_EXTERNAL);
    assert_eq!(seen, [wrote(AUTH)]);
    assert!(dialled.stream.is_authenticating());
    dialled
}

fn key() -> String {
    let key = settings(|_| ()).secret.key("jabber.test", "sip.test", "s2");
    format!("<db:result from='sip.test' to='jabber.test'>{key}</db:result>")
}

fn negotiated(external: bool) -> Seen<OutboundEvent> {
    Seen::Said(OutboundEvent::Negotiated {
        features: features::PeerFeatures {
            external,
            ..features::PeerFeatures::default()
        },
        encrypted: true,
    })
}

fn refused(error: PairError) -> Seen<OutboundEvent> {
    Seen::Said(OutboundEvent::PairRefused(wanted(), error))
}

#[test]
fn our_certificate_proves_us_without_dialback() {
    let mut dialled = asked(|_| ());
    assert_eq!(
        dialled.take(SUCCESS),
        [wrote(our_header("sip.test", "jabber.test", None))]
    );
    assert!(!dialled.stream.is_authenticating());
    dialled.take(&answer_header("jabber.test", "sip.test", "s3"));
    let stanza = "<message xmlns='jabber:client' from='a@sip.test' to='b@jabber.test'/>"
        .parse()
        .unwrap();
    assert_eq!(dialled.stream.send(&stanza, at(0)), Err(NotReady::Pair));
    assert_eq!(
        dialled.take("<stream:features/>"),
        [
            negotiated(false),
            Seen::Said(OutboundEvent::Ready(wanted())),
        ]
    );
    assert_eq!(dialled.stream.send(&stanza, at(0)), Ok(1));
    // Another domain is not what the certificate has proved.
    dialled
        .stream
        .authorise(pair("sip.test", "rooms.jabber.test"), at(0));
    let seen = dialled.seen();
    assert!(
        matches!(seen.as_slice(), [_, Seen::Wrote(_)] | [Seen::Wrote(_)]),
        "{seen:?}"
    );
}

#[test]
fn it_is_tried_only_where_it_can_work() {
    let no_external = FEATURES_DIALBACK;
    type Change = fn(&mut OutboundSettings);
    let cases: [(&str, Change, &str, bool); 5] = [
        ("all is well", |_| (), FEATURES_EXTERNAL, true),
        ("not offered", |_| (), no_external, false),
        (
            "our certificate is for another name",
            |s| s.external = false,
            FEATURES_EXTERNAL,
            false,
        ),
        (
            "the rule has it off",
            |s| s.rule.external = ExternalRule::Off,
            FEATURES_EXTERNAL,
            false,
        ),
        (
            "the rule is TLS as it comes",
            |s| s.rule.tls = TlsRule::Optional,
            FEATURES_EXTERNAL,
            true,
        ),
    ];
    for (name, change, features, tried) in cases {
        let (_, seen) = offered(settings(change), &[], features);
        let first = seen.iter().find_map(|seen| match seen {
            Seen::Wrote(wire) => Some(wire.clone()),
            _ => None,
        });
        assert_eq!(
            first,
            Some(if tried { AUTH.to_owned() } else { key() }),
            "{name}"
        );
    }
    // A question about a key proves nothing of ours.
    let mut asking = Dialled::new(settings(|s| s.rule.tls = TlsRule::Never));
    asking.take(&answer_header("jabber.test", "sip.test", "s1"));
    assert_eq!(
        asking.take(FEATURES_EXTERNAL).len(),
        1,
        "in clear there is no certificate"
    );
}

#[test]
fn dialback_follows_a_failure_where_it_may() {
    let words = "not-authorized: no way".to_owned();
    let failed = Seen::Said(OutboundEvent::ExternalRefused(words.clone()));
    let mut lenient = asked(|_| ());
    assert_eq!(
        lenient.take(&FAILURE.replace("<text>", "<text xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>")),
        [failed.clone(), negotiated(true), wrote(key())]
    );
    let strict: [fn(&mut OutboundSettings); 2] = [
        |s| s.rule.external = ExternalRule::Required,
        |s| s.rule.dialback = false,
    ];
    for change in strict {
        let mut strict = asked(change);
        assert_eq!(
            strict.take(
                &FAILURE.replace("<text>", "<text xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>")
            ),
            [
                failed.clone(),
                negotiated(true),
                refused(PairError::ExternalFailed(words.clone())),
            ]
        );
    }
}

#[test]
fn where_only_a_certificate_counts_its_lack_is_told() {
    let required = |s: &mut OutboundSettings| s.rule.external = ExternalRule::Required;
    let (_, seen) = offered(settings(required), &["jabber.test"], FEATURES_DIALBACK);
    assert_eq!(seen.last(), Some(&refused(PairError::ExternalNotOffered)));
    let without = |s: &mut OutboundSettings| {
        required(s);
        s.external = false;
    };
    let (_, seen) = offered(settings(without), &["jabber.test"], FEATURES_EXTERNAL);
    assert_eq!(seen.last(), Some(&refused(PairError::OwnCertificate)));
    // The partner's own certificate comes first.
    let mut dialled = Dialled::new(settings(required));
    dialled.take(&answer_header("jabber.test", "sip.test", "s1"));
    dialled.take(FEATURES_STARTTLS);
    dialled.take(PROCEED);
    let expired = TlsInfo {
        valid_names: Vec::new(),
        distrust: Some("it has expired".to_owned()),
    };
    dialled.stream.tls_established(expired, at(0));
    assert_eq!(
        dialled.seen(),
        [
            Seen::Said(OutboundEvent::Closed(CloseReason::CertificateNotValid {
                domain: "jabber.test".to_owned(),
                why: "it has expired".to_owned(),
            })),
            Seen::Close,
        ]
    );
}

/// COMPAT(RFC 3920): the response is asked for although it came with the request.
#[test]
fn a_challenge_is_answered_once() {
    let mut dialled = asked(|_| ());
    assert_eq!(
        dialled.take(CHALLENGE),
        [wrote(
            "<response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>c2lwLnRlc3Q=</response>"
        )]
    );
    let mut again = asked(|_| ());
    again.take(CHALLENGE);
    for (dialled, out_of_turn) in [
        (again, CHALLENGE),
        (
            asked(|_| ()),
            "<message from='a@jabber.test' to='b@sip.test'/>",
        ),
        (
            asked(|_| ()),
            "<db:result from='jabber.test' to='sip.test' type='valid'/>",
        ),
        (asked(|_| ()), FEATURES_DIALBACK),
        (asked(|_| ()), PROCEED),
    ] {
        let mut dialled = dialled;
        let seen = dialled.take(out_of_turn);
        assert!(
            matches!(
                seen.as_slice(),
                [
                    Seen::Wrote(_),
                    Seen::Said(OutboundEvent::Closed(CloseReason::Refused(_))),
                    Seen::Close
                ]
            ),
            "{out_of_turn}: {seen:?}"
        );
    }
    assert_eq!(dialled.take(SUCCESS).len(), 1);
}

#[test]
fn sasl_elements_out_of_turn_change_nothing() {
    let mut dialled = Dialled::negotiated(settings(|_| ()));
    dialled.stream.authorise(wanted(), at(0));
    dialled.seen();
    for element in [SUCCESS, FAILURE, CHALLENGE] {
        assert_eq!(dialled.take(element), [], "{element}");
    }
    let stanza = "<message xmlns='jabber:client' from='a@sip.test' to='b@jabber.test'/>"
        .parse()
        .unwrap();
    assert_eq!(dialled.stream.send(&stanza, at(0)), Err(NotReady::Pair));
}

#[test]
fn an_answer_that_does_not_come_ends_the_stream() {
    let mut dialled = asked(|_| ());
    let seen = dialled.time_out_at(30);
    assert!(
        seen.contains(&Seen::Said(OutboundEvent::Closed(CloseReason::Timeout(
            Step::Authentication
        )))),
        "{seen:?}"
    );
    // Some servers end the stream instead of an answer: whoever dials may try once more without.
    let mut gone = asked(|_| ());
    gone.stream.connection_lost();
    assert!(gone.stream.is_authenticating());
}

#[test]
fn a_stream_that_closes_does_not_begin_anew() {
    let mut dialled = asked(|_| ());
    dialled.stream.close(at(1));
    assert_eq!(dialled.seen(), [wrote(CLOSING)]);
    assert_eq!(dialled.take(SUCCESS), []);
    assert_eq!(
        dialled.take(CLOSING),
        [
            Seen::Said(OutboundEvent::Closed(CloseReason::Requested)),
            Seen::Close
        ]
    );
}
