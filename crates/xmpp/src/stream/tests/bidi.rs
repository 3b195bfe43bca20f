//! Streams that carry stanzas in both directions (XEP-0288).

use minidom::Element;

use super::*;

const BIDI: &str = "<bidi xmlns='urn:xmpp:bidi'/>";
const OFFER: &str = "<bidi xmlns='urn:xmpp:features:bidi'/>";
const AUTH: &str = "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'>=</auth>";
const KEY: &str = "<db:result from='jabber.test' to='sip.test'>k</db:result>";

fn rule() -> PartnerRule {
    PartnerRule {
        bidirectional: true,
        ..PartnerRule::default()
    }
}

fn wanted() -> DomainPair {
    pair("sip.test", "jabber.test")
}

fn stanza(from: &str, to: &str) -> Element {
    format!("<message xmlns='jabber:client' from='{from}' to='{to}'/>")
        .parse()
        .unwrap()
}

fn ours() -> Element {
    stanza("a@sip.test", "b@jabber.test")
}

/// An accepted stream inside TLS with its features.
fn accepted(rule: PartnerRule, names: &[&str]) -> (Accepted, String) {
    let strict = PartnerRule::default();
    let rules = [("one-way.test", strict), ("*", rule)]
        .map(|(pattern, rule)| (DomainPattern::parse(pattern), rule));
    let mut accepted = Accepted::new(InboundSettings {
        partners: rules.into_iter().collect(),
        ..inbound_settings(&["sip.test"], TlsRule::Required)
    });
    accepted.take(&header("jabber.test", "sip.test"));
    accepted.take(STARTTLS);
    accepted.tls(certificate(names));
    let seen = accepted.take(&header("jabber.test", "sip.test"));
    let [Seen::Wrote(wire), _] = seen.as_slice() else {
        panic!("{seen:?}");
    };
    let wire = wire.clone();
    (accepted, wire)
}

fn told(seen: &[Seen<InboundEvent>]) -> bool {
    seen.contains(&Seen::Said(InboundEvent::Bidirectional(wanted())))
}

/// Confirms the key that was just shown.
fn confirm(accepted: &mut Accepted, seen: &[Seen<InboundEvent>]) -> Vec<Seen<InboundEvent>> {
    let [Seen::Said(InboundEvent::VerifyKey { id, .. } | InboundEvent::Authenticate { id, .. })] =
        seen
    else {
        panic!("{seen:?}");
    };
    accepted.stream.verified(*id, Ok(true), at(0));
    accepted.seen()
}

#[test]
fn nothing_is_written_to_an_accepted_stream_before_the_proof() {
    let (mut accepted, features) = accepted(rule(), &[]);
    assert!(features.contains(OFFER), "{features}");
    assert_eq!(accepted.stream.send(&ours(), at(0)), Err(NotReady::Pair));
    assert_eq!(accepted.take(BIDI), []);
    assert_eq!(accepted.stream.send(&ours(), at(0)), Err(NotReady::Pair));
    let seen = accepted.take(KEY);
    assert_eq!(accepted.stream.send(&ours(), at(0)), Err(NotReady::Pair));
    assert!(told(&confirm(&mut accepted, &seen)));
    assert_eq!(accepted.stream.send(&ours(), at(0)), Ok(1));
    assert_eq!(
        accepted.seen(),
        [wrote("<message from='a@sip.test' to='b@jabber.test'/>")]
    );
    for (from, to) in [
        ("a@sip.test", "b@other.test"),
        ("a@other.test", "b@jabber.test"),
        ("b@jabber.test", "a@sip.test"),
    ] {
        assert_eq!(
            accepted.stream.send(&stanza(from, to), at(0)),
            Err(NotReady::Pair)
        );
    }
    accepted.stream.close(at(1));
    assert_eq!(accepted.stream.send(&ours(), at(1)), Err(NotReady::Closed));
}

#[test]
fn behind_external_the_new_stream_is_awaited() {
    let (mut accepted, _) = accepted(rule(), &["jabber.test"]);
    accepted.take(BIDI);
    let seen = accepted.take(AUTH);
    assert!(!told(&confirm(&mut accepted, &seen)));
    assert_eq!(accepted.stream.send(&ours(), at(0)), Err(NotReady::Pair));
    let seen = accepted.take(&header("jabber.test", "sip.test"));
    assert!(told(&seen), "{seen:?}");
    assert!(
        matches!(seen.first(), Some(Seen::Wrote(wire)) if !wire.contains(OFFER)),
        "{seen:?}"
    );
    assert_eq!(accepted.stream.send(&ours(), at(0)), Ok(1));
}

#[test]
fn it_comes_in_turn_or_not_at_all() {
    let refused = |accepted: &mut Accepted| {
        let seen = accepted.take(BIDI);
        assert_eq!(
            inbound_refused_with(&seen),
            Some(StreamCondition::UnsupportedStanzaType)
        );
    };
    let (mut not_offered, features) = accepted(PartnerRule::default(), &[]);
    assert!(!features.contains(OFFER));
    refused(&mut not_offered);

    let (mut twice, _) = accepted(rule(), &[]);
    twice.take(BIDI);
    refused(&mut twice);

    let (mut late, _) = accepted(rule(), &[]);
    let seen = late.take(KEY);
    confirm(&mut late, &seen);
    refused(&mut late);

    let (mut behind_the_key, _) = accepted(rule(), &[]);
    behind_the_key.take(KEY);
    refused(&mut behind_the_key);

    let (mut without, _) = accepted(rule(), &[]);
    let seen = without.take(KEY);
    assert!(!told(&confirm(&mut without, &seen)), "it was not asked for");
    assert_eq!(without.stream.send(&ours(), at(0)), Err(NotReady::Pair));
}

#[test]
fn what_was_asked_for_in_clear_does_not_count_inside_tls() {
    let mut accepted = Accepted::new(InboundSettings {
        partners: partners(PartnerRule {
            tls: TlsRule::Optional,
            ..rule()
        }),
        ..inbound_settings(&["sip.test"], TlsRule::Optional)
    });
    accepted.take(&header("jabber.test", "sip.test"));
    assert_eq!(accepted.take(BIDI), []);
    accepted.take(STARTTLS);
    accepted.tls(certificate(&["jabber.test"]));
    accepted.take(&header("jabber.test", "sip.test"));
    accepted.prove_by_certificate("sip.test", "jabber.test");
    assert_eq!(accepted.stream.send(&ours(), at(0)), Err(NotReady::Pair));
}

#[test]
fn another_domain_on_the_stream_is_written_to_by_its_own_rule() {
    let (mut accepted, _) = accepted(rule(), &[]);
    accepted.take(BIDI);
    accepted.prove("sip.test", "one-way.test");
    assert_eq!(
        accepted
            .stream
            .send(&stanza("a@sip.test", "b@one-way.test"), at(0)),
        Err(NotReady::Pair)
    );
}

/// A dialled stream inside TLS, the pair wanted, and what it wrote on features with the offer.
fn dialled(rule: PartnerRule) -> (Dialled, Vec<Seen<OutboundEvent>>) {
    let mut dialled = Dialled::new(OutboundSettings {
        rule,
        ..outbound_settings("sip.test", "jabber.test")
    });
    dialled.stream.authorise(wanted(), at(0));
    dialled.take(&answer_header("jabber.test", "sip.test", "s1"));
    dialled.take(FEATURES_STARTTLS);
    dialled.take(PROCEED);
    dialled
        .stream
        .tls_established(certificate(&["jabber.test"]), at(0));
    dialled.seen();
    dialled.take(&answer_header("jabber.test", "sip.test", "s2"));
    let seen = dialled.take(&format!(
        "<stream:features>{OFFER}<sm xmlns='urn:xmpp:sm:3'/></stream:features>"
    ));
    (dialled, seen)
}

#[test]
fn a_dialled_stream_asks_for_it_first_and_takes_stanzas_of_ready_pairs() {
    let (mut dialled, seen) = dialled(rule());
    assert_eq!(seen.first(), Some(&wrote(BIDI)), "{seen:?}");
    assert!(
        matches!(seen.last(), Some(Seen::Wrote(request)) if request.starts_with("<db:result")),
        "{seen:?}"
    );
    dialled.take("<db:result from='jabber.test' to='sip.test' type='valid'/>");
    dialled.take("<enabled xmlns='urn:xmpp:sm:3'/>");
    let seen = dialled.take("<message from='b@jabber.test' to='a@sip.test'/>");
    let [
        Seen::Said(OutboundEvent::Stanza {
            pair,
            number,
            element,
        }),
    ] = seen.as_slice()
    else {
        panic!("{seen:?}");
    };
    assert_eq!(pair, &wanted());
    assert_eq!(element, &stanza("b@jabber.test", "a@sip.test"));
    let ack = |count: u32| wrote(format!("<a xmlns='urn:xmpp:sm:3' h='{count}'/>"));
    assert_eq!(dialled.take("<r xmlns='urn:xmpp:sm:3'/>"), [ack(0)]);
    dialled.stream.stanza_handled(*number, at(1));
    assert_eq!(dialled.seen(), [ack(1)]);
}

#[test]
fn a_peer_may_ask_about_our_keys_where_both_directions_are_in_use() {
    let key = DialbackSecret::new(b"sip.test").key("jabber.test", "sip.test", "s9");
    let ask = |to: &str, key: &str| {
        format!("<db:verify from='jabber.test' to='{to}' id='s9'>{key}</db:verify>")
    };
    let answer = |verdict: &str| {
        wrote(format!(
            "<db:verify from='sip.test' to='jabber.test' id='s9' type='{verdict}'/>"
        ))
    };
    let (mut both, _) = dialled(rule());
    assert_eq!(both.take(&ask("sip.test", &key)), [answer("valid")]);
    assert_eq!(both.take(&ask("sip.test", "x")), [answer("invalid")]);
    let seen = both.take(&ask("other.test", &key));
    assert!(
        matches!(seen.as_slice(), [Seen::Wrote(error)] if error.contains("item-not-found")),
        "{seen:?}"
    );
    assert_eq!(
        both.take("<db:result from='rooms.jabber.test' to='sip.test'>k</db:result>"),
        [],
        "its other domains prove themselves on streams of their own"
    );
    let (mut one_way, _) = dialled(PartnerRule::default());
    assert_eq!(one_way.take(&ask("sip.test", &key)), []);
}

#[test]
fn a_dialled_stream_takes_nothing_that_is_not_proved() {
    let theirs = "<message from='b@jabber.test' to='a@sip.test'/>";
    let refused = |seen: &[Seen<OutboundEvent>]| {
        matches!(
            seen,
            [
                Seen::Wrote(_),
                Seen::Said(OutboundEvent::Closed(CloseReason::Refused(_))),
                Seen::Close
            ]
        )
    };
    let (mut early, _) = dialled(rule());
    assert!(refused(&early.take(theirs)), "before its answer");
    for forged in [
        "<message from='b@other.test' to='a@sip.test'/>",
        "<message from='b@jabber.test' to='a@other.test'/>",
        "<message from='a@sip.test' to='b@jabber.test'/>",
        "<message to='a@sip.test'/>",
        "<presence from='b@jabber.test'/>",
    ] {
        let (mut ready, _) = dialled(rule());
        ready.take("<db:result from='jabber.test' to='sip.test' type='valid'/>");
        assert!(refused(&ready.take(forged)), "{forged}");
    }
    // Where it was not asked for, stanzas are not even looked at.
    let (mut one_way, seen) = dialled(PartnerRule::default());
    assert!(!seen.contains(&wrote(BIDI)));
    one_way.take("<db:result from='jabber.test' to='sip.test' type='valid'/>");
    assert_eq!(one_way.take(theirs), []);
}
