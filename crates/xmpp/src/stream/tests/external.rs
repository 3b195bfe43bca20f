//! SASL EXTERNAL on accepted streams, and the acknowledgements that servers use behind it.

use stox_core::time::Entropy;

use super::*;
use crate::dialback::Trouble;

const AUTH: &str = "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'>=</auth>";
const SUCCESS: &str = "<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>";
const KEY: &str = "<db:result from='jabber.test' to='sip.test'>k</db:result>";

fn settings() -> InboundSettings {
    inbound_settings(&["sip.test", "sip2.test"], TlsRule::Required)
}

fn auth(response: &str) -> String {
    AUTH.replace(">=<", &format!(">{response}<"))
}

fn failure(condition: &str) -> Seen<InboundEvent> {
    wrote(format!(
        "<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><{condition}/></failure>"
    ))
}

/// The id of the stream after SASL.
fn id_3() -> String {
    let mut entropy = SeededEntropy(0);
    let ids = [(); 3].map(|()| entropy.token() + &entropy.token());
    assert_eq!((ids[0].as_str(), ids[1].as_str()), (ID_1, ID_2));
    ids[2].clone()
}

/// A stream inside TLS whose peer has shown a certificate for these names, and what it was offered.
fn encrypted(opening: &str, names: &[&str]) -> (Accepted, Vec<Seen<InboundEvent>>) {
    let mut accepted = Accepted::new(settings());
    accepted.take(&header("jabber.test", "sip.test"));
    accepted.take(STARTTLS);
    accepted.tls(certificate(names));
    let seen = accepted.take(opening);
    (accepted, seen)
}

fn offered() -> Accepted {
    encrypted(&header("jabber.test", "sip.test"), &["jabber.test"]).0
}

/// EXTERNAL was asked for with this; the owner has to decide.
fn asked(accepted: &mut Accepted, request: &str) -> VerifyId {
    let seen = accepted.take(request);
    let [Seen::Said(InboundEvent::Authenticate { id, pair: wanted })] = seen.as_slice() else {
        panic!("{request}: {seen:?}");
    };
    assert_eq!(wanted, &pair("sip.test", "jabber.test"));
    *id
}

fn authenticated() -> Accepted {
    let mut accepted = offered();
    let id = asked(&mut accepted, AUTH);
    accepted.stream.verified(id, Ok(true), accepted.now);
    assert_eq!(
        accepted.seen(),
        [
            wrote(SUCCESS),
            Seen::Said(InboundEvent::DomainProved(
                pair("sip.test", "jabber.test"),
                Proof::Certificate
            )),
        ]
    );
    accepted
}

fn restarted() -> Accepted {
    let mut accepted = authenticated();
    accepted.take(&header("jabber.test", "sip.test"));
    accepted
}

fn stanza_number(seen: &[Seen<InboundEvent>]) -> StanzaNumber {
    let [Seen::Said(InboundEvent::Stanza { number, .. })] = seen else {
        panic!("{seen:?}");
    };
    *number
}

/// As prosody 0.12 does it: EXTERNAL, a new stream, stream management with the wish to resume, and then a request for
/// an acknowledgement behind what it sends.
#[test]
fn a_certificate_proves_the_domain_and_its_stanzas_are_acknowledged() {
    let (mut accepted, seen) = encrypted(&header("jabber.test", "sip.test"), &["jabber.test"]);
    let opened = |encrypted| {
        Seen::Said(InboundEvent::Opened {
            from: Some("jabber.test".to_owned()),
            to: Some("sip.test".to_owned()),
            encrypted,
        })
    };
    assert_eq!(
        seen,
        [
            wrote(
                our_header("sip.test", "jabber.test", Some(ID_2)) + &our_features_with_external()
            ),
            opened(true),
        ]
    );
    let id = asked(&mut accepted, &auth("amFiYmVyLnRlc3Q="));
    accepted.stream.verified(id, Ok(true), at(1));
    assert_eq!(
        accepted.seen(),
        [
            wrote(SUCCESS),
            Seen::Said(InboundEvent::DomainProved(
                pair("sip.test", "jabber.test"),
                Proof::Certificate
            )),
        ]
    );
    assert_eq!(
        accepted.take(&header("jabber.test", "sip.test")),
        [
            wrote(our_header("sip.test", "jabber.test", Some(&id_3())) + OUR_FEATURES),
            opened(true),
        ]
    );
    assert_eq!(
        accepted.take("<enable xmlns='urn:xmpp:sm:3' resume='true' max='600'/>"),
        [wrote("<enabled xmlns='urn:xmpp:sm:3'/>")]
    );
    let first = accepted.take("<message from='a@jabber.test' to='b@sip.test'/>");
    let second = accepted.take("<message from='a@jabber.test' to='b@sip.test'/>");
    let ack = |count: u32| wrote(format!("<a xmlns='urn:xmpp:sm:3' h='{count}'/>"));
    assert_eq!(accepted.take("<r xmlns='urn:xmpp:sm:3'/>"), [ack(0)]);
    accepted.stream.stanza_handled(stanza_number(&first), at(2));
    assert_eq!(accepted.seen(), []);
    assert_eq!(accepted.take("<r xmlns='urn:xmpp:sm:3'/>"), [ack(1)]);
    accepted
        .stream
        .stanza_handled(stanza_number(&second), at(2));
    assert_eq!(accepted.seen(), [ack(2)], "the peer was owed the rest");
}

#[test]
fn only_a_valid_certificate_for_a_claimable_name_gets_the_offer() {
    let good = header("jabber.test", "sip.test");
    let from = |name: &str| good.replace("from='jabber.test'", &format!("from='{name}'"));
    let cases = [
        (good.clone(), vec!["jabber.test"], true),
        (good.clone(), vec!["other.test", "JABBER.test"], true),
        (from("Jabber.Test."), vec!["jabber.test"], true),
        (from("im.jabber.test"), vec!["*.jabber.test"], true),
        (from("bücher.test"), vec!["xn--bcher-kva.test"], true),
        (good.clone(), vec![], false),
        (good.clone(), vec!["other.test"], false),
        (good.clone(), vec!["sub.jabber.test", "test"], false),
        (good.clone(), vec!["*.jabber.test"], false),
        (from("a.b.jabber.test"), vec!["*.jabber.test"], false),
        (from("spoken-for.test"), vec!["spoken-for.test"], false),
        (from("127.0.0.1"), vec!["127.0.0.1"], false),
        (from("localhost"), vec!["localhost"], false),
        (
            good.replace(" from='jabber.test'", ""),
            vec!["jabber.test"],
            false,
        ),
        (
            good.replace(" to='sip.test'", ""),
            vec!["jabber.test"],
            false,
        ),
    ];
    for (opening, names, expected) in cases {
        let (mut accepted, seen) = encrypted(&opening, &names);
        let [Seen::Wrote(wire), Seen::Said(InboundEvent::Opened { .. })] = seen.as_slice() else {
            panic!("{opening}: {seen:?}");
        };
        let features = if expected {
            our_features_with_external()
        } else {
            OUR_FEATURES.to_owned()
        };
        assert!(wire.ends_with(&features), "{opening} {names:?}: {wire}");
        if !expected {
            assert_eq!(accepted.take(AUTH), [failure("invalid-mechanism")]);
        }
    }
}

#[test]
fn there_is_no_offer_in_clear() {
    for tls in [TlsRule::Required, TlsRule::Optional] {
        let mut accepted = Accepted::new(inbound_settings(&["sip.test"], tls));
        let seen = accepted.take(&header("jabber.test", "sip.test"));
        let [Seen::Wrote(wire), _] = seen.as_slice() else {
            panic!("{seen:?}");
        };
        assert!(!wire.contains("mechanism"), "{wire}");
        let condition = match tls {
            TlsRule::Required => "encryption-required",
            TlsRule::Optional | TlsRule::Never => "invalid-mechanism",
        };
        assert_eq!(accepted.take(AUTH), [failure(condition)]);
    }
}

#[test]
fn requests_that_fail_leave_another_try_and_dialback() {
    let cases = [
        (auth("b3RoZXIudGVzdA=="), "invalid-authzid"),
        (auth("YUBqYWJiZXIudGVzdA=="), "invalid-authzid"),
        (auth("jabber.test"), "incorrect-encoding"),
        (auth("amFiYmVyLnRlc3Q"), "incorrect-encoding"),
        (auth("//4="), "malformed-request"),
        (AUTH.replace("EXTERNAL", "PLAIN"), "invalid-mechanism"),
        (AUTH.replace("EXTERNAL", "external"), "invalid-mechanism"),
        (
            AUTH.replace(" mechanism='EXTERNAL'", ""),
            "invalid-mechanism",
        ),
        (
            "<response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>=</response>".to_owned(),
            "malformed-request",
        ),
        (
            "<abort xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>".to_owned(),
            "aborted",
        ),
    ];
    for (request, condition) in &cases {
        let mut accepted = offered();
        assert_eq!(accepted.take(request), [failure(condition)], "{request}");
        accepted.prove_by_certificate("sip.test", "jabber.test");

        let mut accepted = offered();
        accepted.take(request);
        asked(&mut accepted, AUTH);
    }
    let mut accepted = offered();
    for _ in 0..Limits::default().failed_logins {
        assert_eq!(accepted.take(&cases[0].0).len(), 1);
    }
    assert_eq!(
        inbound_refused_with(&accepted.take(&cases[0].0)),
        Some(StreamCondition::PolicyViolation)
    );
}

#[test]
fn a_response_may_come_behind_a_challenge() {
    let respond = |text: &str| {
        format!("<response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>{text}</response>")
    };
    let challenged = || {
        let mut accepted = offered();
        assert_eq!(
            accepted.take(&auth("")),
            [wrote(
                "<challenge xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>"
            )]
        );
        accepted
    };
    for text in ["", "=", "amFiYmVyLnRlc3Q="] {
        asked(&mut challenged(), &respond(text));
    }
    let mut wrong = challenged();
    assert_eq!(
        wrong.take(&respond("b3RoZXIudGVzdA==")),
        [failure("invalid-authzid")]
    );
    assert_eq!(
        wrong.take(&respond("=")),
        [failure("malformed-request")],
        "the attempt is over"
    );
    let mut keyed = challenged();
    keyed.prove_by_certificate("sip.test", "jabber.test");
    assert_eq!(keyed.take(&respond("=")), [failure("invalid-mechanism")]);
}

#[test]
fn policy_has_the_last_word() {
    let cases = [
        (Err(Trouble::Forbidden), "not-authorized"),
        (Ok(false), "not-authorized"),
        (Err(Trouble::Overloaded), "temporary-auth-failure"),
    ];
    for (verdict, condition) in cases {
        let mut accepted = offered();
        let id = asked(&mut accepted, AUTH);
        accepted.stream.verified(id, verdict, at(1));
        assert_eq!(accepted.seen(), [failure(condition)]);
        accepted.stream.verified(id, Ok(true), at(1));
        assert_eq!(accepted.seen(), [], "a report counts once");
        assert_eq!(
            inbound_refused_with(&accepted.take("<iq from='jabber.test' to='sip.test'/>")),
            Some(StreamCondition::NotAuthorized)
        );
    }
}

#[test]
fn the_peer_waits_for_the_decision() {
    let refused = [
        "<message from='a@jabber.test' to='b@sip.test'/>",
        KEY,
        AUTH,
        STARTTLS,
        "<enable xmlns='urn:xmpp:sm:3'/>",
    ];
    for behind in refused {
        let mut accepted = offered();
        let seen = accepted.take(&format!("{AUTH}{behind}"));
        assert_eq!(
            inbound_refused_with(&seen),
            Some(StreamCondition::PolicyViolation),
            "{behind}"
        );
        let proved = |seen: &Seen<_>| matches!(seen, Seen::Said(InboundEvent::DomainProved(..)));
        assert!(!seen.iter().any(proved));
    }
    // The beginning of the next stream, which is not this one's to read.
    for behind in [header("jabber.test", "sip.test").as_str(), "<mess", "<"] {
        let mut accepted = offered();
        let behind = behind.replace("<?xml version='1.0'?>", "");
        let id = asked(&mut accepted, &format!("{AUTH}{behind}"));
        accepted.stream.verified(id, Ok(true), at(1));
        assert_eq!(
            inbound_refused_with(&accepted.seen()),
            Some(StreamCondition::PolicyViolation),
            "{behind}"
        );
    }
    let mut accepted = offered();
    let id = asked(&mut accepted, &format!("{AUTH}\r\n "));
    let key = settings().secret.key("jabber.test", "sip.test", "s9");
    assert_eq!(
        accepted.take(&format!(
            "<db:verify from='jabber.test' to='sip.test' id='s9'>{key}</db:verify>"
        )),
        [wrote(
            "<db:verify from='sip.test' to='jabber.test' id='s9' type='valid'/>"
        )],
        "a question about our key is no part of it"
    );
    accepted.stream.verified(id, Ok(true), at(1));
    assert_eq!(accepted.seen().len(), 2);
}

#[test]
fn an_attempt_can_be_taken_back() {
    let mut accepted = offered();
    let id = asked(&mut accepted, AUTH);
    assert_eq!(
        accepted.take("<abort xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>"),
        [failure("aborted")]
    );
    accepted.stream.verified(id, Ok(true), at(1));
    assert_eq!(accepted.seen(), [], "the claim is gone");
    let id = asked(&mut accepted, AUTH);
    accepted.stream.verified(id, Ok(true), at(1));
    assert_eq!(accepted.seen().len(), 2);
}

#[test]
fn the_new_stream_is_between_the_same_domains() {
    let good = header("jabber.test", "sip.test");
    for (text, condition) in [
        (
            good.replace("from='jabber", "from='other"),
            StreamCondition::InvalidFrom,
        ),
        (
            good.replace("to='sip.", "to='sip2."),
            StreamCondition::ImproperAddressing,
        ),
        (
            good.replace("to='sip.", "to='third."),
            StreamCondition::HostUnknown,
        ),
        (
            "<message from='a@jabber.test' to='b@sip.test'/>".to_owned(),
            StreamCondition::InvalidNamespace,
        ),
    ] {
        let seen = authenticated().take(&text);
        assert_eq!(inbound_refused_with(&seen), Some(condition), "{text}");
    }
    for text in [
        good.replace(" from='jabber.test'", ""),
        good.replace(" to='sip.test'", ""),
        format!("\n{good}"),
    ] {
        let mut accepted = authenticated();
        accepted.take(&text);
        stanza_number(&accepted.take("<iq from='jabber.test' to='sip.test'/>"));
    }
}

#[test]
fn a_certificate_proves_one_pair_and_dialback_proves_more() {
    for (addresses, condition) in [
        ("from='a@jabber.test' to='b@sip2.test'", "improper"),
        ("from='a@im.jabber.test' to='b@sip.test'", "invalid-from"),
    ] {
        let seen = restarted().take(&format!("<message {addresses}/>"));
        let refused = inbound_refused_with(&seen).unwrap();
        assert!(refused.name().starts_with(condition), "{addresses}");
    }
    let mut accepted = restarted();
    let seen = accepted.take("<db:result from='im.jabber.test' to='sip2.test'>k</db:result>");
    let [Seen::Said(InboundEvent::VerifyKey { id, stream_id, .. })] = seen.as_slice() else {
        panic!("{seen:?}");
    };
    assert_eq!(stream_id, &id_3());
    accepted.stream.verified(*id, Ok(false), at(1));
    assert_eq!(
        accepted.seen(),
        [wrote(
            "<db:result from='sip2.test' to='im.jabber.test' type='invalid'/>"
        )],
        "the proved pair keeps the stream"
    );
    accepted.prove("sip2.test", "im.jabber.test");
    stanza_number(&accepted.take("<iq from='im.jabber.test' to='sip2.test'/>"));
    assert_eq!(
        accepted.take(KEY),
        [wrote(
            "<db:result from='sip.test' to='jabber.test' type='valid'/>"
        )],
        "a key for what is proved is not asked about"
    );
    assert_eq!(accepted.take(AUTH), [failure("invalid-mechanism")]);
    assert_eq!(
        inbound_refused_with(&accepted.take("<iq from='im.jabber.test' to='sip.test'/>")),
        Some(StreamCondition::ImproperAddressing)
    );
}

/// XEP-0344. COMPAT: the offer is no demand.
#[test]
fn whoever_shows_a_key_with_its_certificate_is_not_asked_about() {
    let mut accepted = offered();
    accepted.prove_by_certificate("sip.test", "jabber.test");
    assert_eq!(accepted.take(AUTH), [failure("invalid-mechanism")]);
    stanza_number(&accepted.take("<iq from='jabber.test' to='sip.test'/>"));
}

/// XEP-0220 §2.6: each domain on the stream is judged by itself.
#[test]
fn the_certificate_proves_only_the_domains_that_it_names() {
    let opening = header("jabber.test", "sip.test");
    let (mut accepted, _) = encrypted(&opening, &["jabber.test", "rooms.jabber.test"]);
    accepted.prove_by_certificate("sip.test", "rooms.jabber.test");
    accepted.prove_by_certificate("sip2.test", "jabber.test");
    accepted.prove("sip.test", "other.test");
    stanza_number(&accepted.take("<iq from='rooms.jabber.test' to='sip.test'/>"));
    assert_eq!(
        inbound_refused_with(&accepted.take("<iq from='third.test' to='sip.test'/>")),
        Some(StreamCondition::InvalidFrom)
    );
}

#[test]
fn limits_grow_with_the_proof() {
    let filler = "x".repeat(Limits::default().octets_before_auth);
    let mut accepted = restarted();
    stanza_number(&accepted.take(&format!(
        "<iq from='jabber.test' to='sip.test'>{filler}</iq>"
    )));
    assert_eq!(
        inbound_refused_with(&offered().take(&auth(&filler))),
        Some(StreamCondition::PolicyViolation)
    );
    let long = "x".repeat(Limits::default().header_octets);
    assert_eq!(
        inbound_refused_with(&authenticated().take(&format!("<stream:stream a='{long}'"))),
        Some(StreamCondition::PolicyViolation)
    );
}

#[test]
fn every_step_has_its_time() {
    let timed_out = |seen: &[Seen<InboundEvent>], expected| {
        let closed = Seen::Said(InboundEvent::Closed(CloseReason::Timeout(expected)));
        assert_eq!(seen[1..], [closed, Seen::Close], "{seen:?}");
    };
    let mut undecided = offered();
    asked(&mut undecided, AUTH);
    timed_out(&undecided.time_out_at(30), Step::Authentication);

    timed_out(&authenticated().time_out_at(10), Step::Header);

    let mut quiet = restarted();
    assert_eq!(quiet.time_out_at(60), [wrote(" ")], "only a sign of life");
}

#[test]
fn a_stream_that_closes_does_not_begin_anew() {
    let mut accepted = offered();
    let id = asked(&mut accepted, AUTH);
    accepted.stream.close(at(1));
    assert_eq!(accepted.seen(), [wrote(CLOSING)]);
    accepted.stream.verified(id, Ok(true), at(1));
    assert_eq!(accepted.seen(), []);
    assert_eq!(
        accepted.take(CLOSING),
        [
            Seen::Said(InboundEvent::Closed(CloseReason::Requested)),
            Seen::Close
        ]
    );
}

#[test]
fn octets_may_come_one_by_one() {
    let steps = [
        AUTH.to_owned(),
        header("jabber.test", "sip.test") + "<enable xmlns='urn:xmpp:sm:3'/>",
        "<iq from='jabber.test' to='sip.test'/><r xmlns='urn:xmpp:sm:3'/>".to_owned(),
    ];
    let play = |size: usize| {
        let mut accepted = offered();
        let mut all = Vec::new();
        for step in &steps {
            for part in step.as_bytes().chunks(size) {
                accepted.stream.receive(part, accepted.now);
                for seen in accepted.seen() {
                    if let Seen::Said(InboundEvent::Authenticate { id, .. }) = &seen {
                        accepted.stream.verified(*id, Ok(true), accepted.now);
                    }
                    all.push(seen);
                }
                all.extend(accepted.seen());
            }
        }
        let mut queue = all.into_iter();
        // Neighbouring writes are one again.
        seen(|| {
            Some(match queue.next()? {
                Seen::Wrote(text) => StreamCommand::Write(bytes::Bytes::from(text)),
                Seen::StartTls => StreamCommand::StartTls,
                Seen::Close => StreamCommand::Close,
                Seen::Said(event) => StreamCommand::Event(event),
            })
        })
    };
    let whole = play(usize::MAX);
    assert!(
        matches!(whole.last(), Some(Seen::Wrote(text)) if text == "<a xmlns='urn:xmpp:sm:3' h='0'/>"),
        "{whole:?}"
    );
    for size in [1, 2, 7] {
        assert_eq!(play(size), whole);
    }
}
