//! Properties of the parser and the machines over many inputs.

use minidom::Element;
use proptest::prelude::*;

use super::{
    xml::{StreamParser, XmlEvent},
    *,
};

/// Small limits, so that short inputs reach them.
fn limits() -> Limits {
    Limits {
        header_octets: 400,
        octets_before_auth: 200,
        octets_after_auth: 300,
        depth: 4,
        attributes: 4,
        namespaces: 8,
        elements: 12,
        ..Limits::default()
    }
}

fn parse(parts: &[&[u8]]) -> Result<Vec<XmlEvent>, (Vec<XmlEvent>, StreamError)> {
    let mut parser = StreamParser::new(limits());
    let mut events = Vec::new();
    for part in parts {
        let mut input = *part;
        loop {
            match parser.next(&mut input) {
                Ok(Some(event)) => events.push(event),
                Ok(None) => break,
                Err(error) => return Err((events, error)),
            }
        }
    }
    Ok(events)
}

/// Pieces that make streams, good ones and bad ones.
fn piece() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => Just("<message from='a@b' to='c@d'><body>text</body></message>".to_owned()),
        2 => Just("<iq xmlns:p='u:p' p:a='1' b=\"2\"><p:q/></iq>".to_owned()),
        2 => Just("<x xmlns='u:x'>&lt;&#x1F600;<![CDATA[<&]]>ü</x>".to_owned()),
        2 => Just(" \n".to_owned()),
        1 => Just("<a><b><c><d><e/></d></c></b></a>".to_owned()),
        1 => Just("<a b='' c='' d='' e='' f=''/>".to_owned()),
        1 => Just("<a><!-- no --></a>".to_owned()),
        1 => Just("<?no ?>".to_owned()),
        1 => Just("text".to_owned()),
        1 => Just("<a>&no;</a>".to_owned()),
        1 => Just("</stream:stream>".to_owned()),
        1 => (0_usize..400).prop_map(|n| format!("<t>{}</t>", "x".repeat(n))),
        1 => (0_usize..20).prop_map(|n| format!("<t>{}</t>", "<y/>".repeat(n))),
        1 => "[<>/a&;!\\[\\]'\" =:-]{0,12}",
        1 => "\\PC{0,6}",
    ]
}

fn stream() -> impl Strategy<Value = Vec<u8>> {
    (
        prop::collection::vec(piece(), 0..8),
        prop::option::weighted(0.3, (any::<prop::sample::Index>(), any::<u8>())),
    )
        .prop_map(|(pieces, flip)| {
            let mut octets =
                format!("{}{}", header("a.test", "b.test"), pieces.concat()).into_bytes();
            if let Some((place, value)) = flip {
                let place = place.index(octets.len());
                octets[place] = value;
            }
            octets
        })
}

fn cut(octets: &[u8], places: &[prop::sample::Index]) -> Vec<Vec<u8>> {
    let mut places: Vec<_> = places
        .iter()
        .map(|place| place.index(octets.len() + 1))
        .collect();
    places.extend([0, octets.len()]);
    places.sort_unstable();
    places
        .windows(2)
        .map(|window| octets[window[0]..window[1]].to_vec())
        .collect()
}

fn text() -> impl Strategy<Value = String> {
    "[a-z<>&'\"\\r\\n\\t ü\u{1F600}]{0,12}"
}

fn tree() -> impl Strategy<Value = Element> {
    let leaf = (
        "[a-c]",
        prop_oneof![Just("jabber:client"), Just("u:x"), Just("")],
        text(),
        text(),
    )
        .prop_map(|(name, namespace, attribute, text)| {
            let mut element = Element::builder(name, namespace)
                .attr("k".try_into().unwrap(), attribute)
                .build();
            if !text.is_empty() {
                element.append_text(text);
            }
            element
        });
    leaf.prop_recursive(3, 10, 3, |inner| {
        (
            prop_oneof![Just("jabber:client"), Just("u:y")],
            prop::collection::vec(inner, 0..3),
        )
            .prop_map(|(namespace, children)| {
                let mut element = Element::bare("n", namespace);
                for child in children {
                    element.append_child(child);
                }
                element
            })
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn any_cut_gives_the_same_events_and_the_same_error(
        octets in stream(),
        places in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let whole = parse(&[&octets]);
        let cut = cut(&octets, &places);
        let parts: Vec<_> = cut.iter().map(Vec::as_slice).collect();
        let in_parts = parse(&parts);
        let condition = |error: &(Vec<XmlEvent>, StreamError)| (error.0.clone(), error.1.condition);
        prop_assert_eq!(in_parts.as_ref().map_err(condition), whole.as_ref().map_err(condition));
        let octet_by_octet: Vec<_> = octets.chunks(1).collect();
        let single = parse(&octet_by_octet);
        prop_assert_eq!(single.as_ref().map_err(condition), whole.as_ref().map_err(condition));
    }

    #[test]
    fn whatever_is_written_reads_back(tree in tree()) {
        let mut stanza = Element::bare("message", ns::CLIENT);
        stanza.append_child(tree);
        let wire = super::write::stanza_to_wire(&stanza);
        let mut parser = StreamParser::new(Limits::default());
        let opening = header("a.test", "b.test");
        parser.next(&mut opening.as_bytes()).unwrap();
        let read = parser.next(&mut wire.as_bytes());
        prop_assert_eq!(read, Ok(Some(XmlEvent::Element(stanza))), "{}", wire);
    }

    #[test]
    fn no_octets_make_the_machines_panic_or_write_bad_xml(octets in stream(), tls: bool) {
        let rule = if tls { TlsRule::Required } else { TlsRule::Optional };
        let mut accepted = Accepted::new(inbound_settings(&["b.test"], rule));
        accepted.stream.receive(&octets, at(1));
        check_wire(accepted.seen());
        accepted.stream.handle_timeout(at(1_000));
        check_wire(accepted.seen());

        let mut dialled = Dialled::ready(outbound_settings("b.test", "a.test"));
        dialled.stream.receive(&octets[header("a.test", "b.test").len()..], at(1));
        dialled.stream.handle_timeout(at(1_000));
        dialled.seen();
        component::survives(&octets[header("a.test", "b.test").len()..]);
    }
}

/// Steps of a peer that dialled us, in any order.
const STEPS_IN: &[&str] = &[
    "HEADER",
    "TLS",
    "VERIFIED",
    "REFUSED",
    "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>",
    "<bidi xmlns='urn:xmpp:bidi'/>",
    "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'>=</auth>",
    "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'/>",
    "<response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>=</response>",
    "<abort xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>",
    "<db:result from='jabber.test' to='sip.test'>k</db:result>",
    "<db:result from='jabber.test' to='sip.test' type='valid'/>",
    "<db:result from='other.test' to='sip.test'>k</db:result>",
    "<enable xmlns='urn:xmpp:sm:3'/>",
    "<message from='b@jabber.test' to='a@sip.test'/>",
];

/// Steps of a peer that we dialled, in any order.
const STEPS_OUT: &[&str] = &[
    "HEADER",
    "TLS",
    "<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>",
    "<stream:features><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/></stream:features>",
    "<stream:features><bidi xmlns='urn:xmpp:features:bidi'/><mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>EXTERNAL</mechanism></mechanisms><sm xmlns='urn:xmpp:sm:3'/></stream:features>",
    "<stream:features/>",
    "<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>",
    "<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>",
    "<challenge xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>",
    "<db:result from='jabber.test' to='sip.test' type='valid'/>",
    "<db:result from='jabber.test' to='sip.test' type='invalid'/>",
    "<enabled xmlns='urn:xmpp:sm:3'/>",
    "<r xmlns='urn:xmpp:sm:3'/>",
    "<message from='b@jabber.test' to='a@sip.test'/>",
];

fn any_rule() -> impl Strategy<Value = PartnerRule> {
    let tls = prop::sample::select(vec![TlsRule::Required, TlsRule::Optional, TlsRule::Never]);
    let external = prop::sample::select(vec![
        ExternalRule::Required,
        ExternalRule::Optional,
        ExternalRule::Off,
    ]);
    let certificate =
        prop::sample::select(vec![CertificateRule::Any, CertificateRule::ValidForPartner]);
    let any = (tls, external, any::<bool>(), certificate, any::<bool>()).prop_map(
        |(tls, external, dialback, certificate, bidirectional)| PartnerRule {
            tls,
            external,
            dialback,
            certificate,
            before_1_0: false,
            bidirectional,
        },
    );
    let both_ways = PartnerRule {
        bidirectional: true,
        ..PartnerRule::default()
    };
    prop_oneof![Just(both_ways), any]
}

/// Dialogues that lead to a proof, as places in [`STEPS_IN`].
const GOOD_IN: &[&[usize]] = &[
    &[0, 4, 1, 0, 5, 6, 2, 0, 13, 14, 14],
    &[0, 4, 1, 0, 5, 10, 2, 14],
    &[0, 4, 1, 0, 7, 8, 2, 0, 12, 2, 14],
    &[0, 5, 10, 2, 14],
];

/// Dialogues that lead to a proof, as places in [`STEPS_OUT`].
const GOOD_OUT: &[&[usize]] = &[
    &[0, 3, 2, 1, 0, 4, 6, 0, 5, 11, 13],
    &[0, 3, 2, 1, 0, 4, 7, 9, 13, 12],
    &[0, 3, 2, 1, 0, 4, 8, 6, 0, 4, 9, 13],
    &[0, 5, 9, 13],
];

/// A good dialogue, in which some steps are left out, come too often, or come from elsewhere.
fn steps(
    of: &'static [&'static str],
    good: &'static [&'static [usize]],
) -> impl Strategy<Value = Vec<&'static str>> {
    let change = (0_u8..3, any::<prop::sample::Index>(), 0..of.len());
    let changes = prop::collection::vec(change, 0..3);
    (prop::sample::select(good.to_vec()), changes).prop_map(move |(good, changes)| {
        let mut steps = good.to_vec();
        for (kind, place, other) in changes {
            let place = place.index(steps.len().max(1));
            match kind {
                0 if place < steps.len() => _ = steps.remove(place),
                1 if place < steps.len() => steps.insert(place, steps[place]),
                _ => steps.insert(place.min(steps.len()), other),
            }
        }
        steps.into_iter().map(|step| of[step]).collect()
    })
}

/// What the rule demands of a proof, checked against what has happened.
fn check_proof(proof: Proof, rule: &PartnerRule, tls: bool, valid: bool) {
    match proof {
        Proof::Certificate | Proof::CertificateWithKey => {
            assert!(tls && valid && rule.takes_external(), "{proof}: {rule:?}");
        }
        Proof::Dialback => {
            assert!(rule.takes_dialback(), "{rule:?}");
            assert!(tls && valid || !rule.needs_valid_certificate(), "{rule:?}");
        }
    }
    assert!(tls || rule.tls != TlsRule::Required, "{proof}: {rule:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_024))]

    /// No stanza is taken, and none written, before a proof that the rule takes.
    #[test]
    fn an_accepted_stream_believes_and_writes_nothing_before_a_proof(
        rule in any_rule(),
        valid: bool,
        steps in steps(STEPS_IN, GOOD_IN),
    ) {
        let names: &[&str] = if valid { &["jabber.test"] } else { &[] };
        let ours: Element = "<message xmlns='jabber:client' from='a@sip.test' to='b@jabber.test'/>"
            .parse()
            .unwrap();
        let mut accepted = Accepted::new(InboundSettings {
            partners: partners(rule),
            ..inbound_settings(&["sip.test"], TlsRule::Required)
        });
        let (mut tls, mut proved, mut asked_for_bidi) = (false, false, false);
        let mut pending = Vec::new();
        for step in steps {
            match step {
                "HEADER" => accepted
                    .stream
                    .receive(header("jabber.test", "sip.test").as_bytes(), at(1)),
                "TLS" => accepted.stream.tls_established(
                    certificate(names),
                    &mut accepted.entropy,
                    at(1),
                ),
                "VERIFIED" | "REFUSED" => {
                    if let Some(id) = pending.pop() {
                        accepted.stream.verified(id, Ok(step == "VERIFIED"), at(1));
                    }
                }
                text => {
                    asked_for_bidi |= text.contains("bidi");
                    accepted.stream.receive(text.as_bytes(), at(1));
                }
            }
            for seen in accepted.seen() {
                match seen {
                    Seen::Said(InboundEvent::Opened { encrypted, .. }) => tls = encrypted,
                    Seen::Said(
                        InboundEvent::VerifyKey { id, .. } | InboundEvent::Authenticate { id, .. },
                    ) => pending.push(id),
                    Seen::Said(InboundEvent::DomainProved(pair, proof)) => {
                        check_proof(proof, &rule, tls, valid && pair.remote == "jabber.test");
                        proved |= pair.remote == "jabber.test";
                    }
                    Seen::Said(InboundEvent::Stanza { .. }) => prop_assert!(proved),
                    Seen::Said(InboundEvent::Bidirectional(pair)) => {
                        prop_assert!(asked_for_bidi && rule.bidirectional);
                        prop_assert!(proved || pair.remote != "jabber.test");
                    }
                    _ => {}
                }
            }
            if accepted.stream.send(&ours, at(1)).is_ok() {
                prop_assert!(proved && asked_for_bidi && rule.bidirectional);
                accepted.seen();
            }
        }
    }

    /// The same for a stream that we dialled.
    #[test]
    fn a_dialled_stream_believes_and_writes_nothing_before_a_proof(
        rule in any_rule(),
        (valid, external) in any::<(bool, bool)>(),
        steps in steps(STEPS_OUT, GOOD_OUT),
    ) {
        let names: &[&str] = if valid { &["jabber.test"] } else { &[] };
        let ours: Element = "<message xmlns='jabber:client' from='a@sip.test' to='b@jabber.test'/>"
            .parse()
            .unwrap();
        let mut dialled = Dialled::new(OutboundSettings {
            rule,
            external,
            ..outbound_settings("sip.test", "jabber.test")
        });
        dialled.stream.authorise(pair("sip.test", "jabber.test"), at(1));
        let (mut tls, mut showed_key, mut authenticated) = (false, false, false);
        let (mut ready, mut asked_for_bidi) = (false, false);
        for step in steps {
            match step {
                "HEADER" => dialled
                    .stream
                    .receive(answer_header("jabber.test", "sip.test", "s1").as_bytes(), at(1)),
                "TLS" => dialled.stream.tls_established(certificate(names), at(1)),
                text => dialled.stream.receive(text.as_bytes(), at(1)),
            }
            for seen in dialled.seen() {
                match seen {
                    Seen::Wrote(text) => {
                        showed_key |= text.contains("<db:result");
                        authenticated |= text.contains("<auth");
                        asked_for_bidi |= text.contains("<bidi");
                        prop_assert!(rule.takes_dialback() || !showed_key);
                        prop_assert!((rule.takes_external() && external) || !authenticated);
                        prop_assert!(rule.bidirectional || !asked_for_bidi);
                    }
                    Seen::Said(OutboundEvent::Negotiated { encrypted, .. }) => tls = encrypted,
                    Seen::Said(OutboundEvent::Ready(_)) => {
                        prop_assert!(showed_key || authenticated);
                        prop_assert!(tls || rule.tls != TlsRule::Required);
                        prop_assert!(tls && valid || !rule.needs_valid_certificate());
                        ready = true;
                    }
                    Seen::Said(OutboundEvent::Stanza { .. }) => {
                        prop_assert!(ready && asked_for_bidi);
                    }
                    _ => {}
                }
            }
            if dialled.stream.send(&ours, at(1)).is_ok() {
                prop_assert!(ready);
                dialled.seen();
            }
        }
    }
}

/// All that an accepted stream wrote is one stream of ours, whole or cut off behind an element.
fn check_wire(seen: Vec<Seen<InboundEvent>>) {
    let wire: String = seen
        .into_iter()
        .filter_map(|seen| match seen {
            Seen::Wrote(text) => Some(text),
            _ => None,
        })
        .collect();
    if !wire.starts_with("<?xml") {
        return;
    }
    let mut parser = StreamParser::new(Limits::default());
    let mut input = wire.as_bytes();
    while parser.next(&mut input).unwrap().is_some() {}
    assert!(!parser.is_mid_element());
}
