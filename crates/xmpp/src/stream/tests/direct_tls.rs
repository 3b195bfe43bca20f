//! Streams on connections that begin with TLS (XEP-0368).

use super::*;

fn accepted(names: &[&str]) -> Accepted {
    let settings = inbound_settings(&["sip.test"], TlsRule::Required);
    let mut entropy = SeededEntropy(0);
    let stream = InboundStream::in_tls(Arc::new(settings), certificate(names), &mut entropy, at(0));
    Accepted {
        stream,
        entropy,
        now: at(0),
    }
}

fn dialled(rule: PartnerRule, names: &[&str]) -> Dialled {
    let settings = OutboundSettings {
        rule,
        ..outbound_settings("sip.test", "jabber.test")
    };
    Dialled {
        stream: OutboundStream::in_tls(Arc::new(settings), certificate(names), at(0)),
        now: at(0),
    }
}

#[test]
fn an_accepted_stream_offers_everything_but_starttls() {
    for (names, features) in [
        (&["jabber.test"][..], our_features_with_external()),
        (&[], OUR_FEATURES.to_owned()),
    ] {
        let mut accepted = accepted(names);
        assert_eq!(
            accepted.take(&header("jabber.test", "sip.test")),
            [
                wrote(our_header("sip.test", "jabber.test", Some(ID_1)) + &features),
                Seen::Said(InboundEvent::Opened {
                    from: Some("jabber.test".to_owned()),
                    to: Some("sip.test".to_owned()),
                    encrypted: true,
                }),
            ]
        );
        let seen = accepted.take(STARTTLS);
        assert_eq!(
            seen.last_chunk(),
            Some(&[
                Seen::Said(InboundEvent::Closed(CloseReason::TlsRefused)),
                Seen::Close
            ]),
            "there is no TLS inside TLS"
        );
    }
}

#[test]
fn an_accepted_stream_may_be_proved_either_way() {
    let mut by_key = accepted(&[]);
    by_key.take(&header("jabber.test", "sip.test"));
    by_key.prove("sip.test", "jabber.test");

    let mut by_certificate = accepted(&["jabber.test"]);
    by_certificate.take(&header("jabber.test", "sip.test"));
    let auth = "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'>=</auth>";
    let seen = by_certificate.take(auth);
    let [Seen::Said(InboundEvent::Authenticate { id, .. })] = seen.as_slice() else {
        panic!("{seen:?}");
    };
    by_certificate.stream.verified(*id, Ok(true), at(1));
    by_certificate.seen();
    let seen = by_certificate.take(&header("jabber.test", "sip.test"));
    assert!(
        matches!(seen.first(), Some(Seen::Wrote(wire)) if wire.ends_with(OUR_FEATURES) && !wire.contains(ID_1)),
        "the new stream has an id of its own: {seen:?}"
    );
}

#[test]
fn a_dialled_stream_begins_inside() {
    let mut dialled = dialled(PartnerRule::default(), &[]);
    assert_eq!(
        dialled.seen(),
        [wrote(our_header("sip.test", "jabber.test", None))]
    );
    dialled
        .stream
        .authorise(pair("sip.test", "jabber.test"), at(0));
    dialled.take(&answer_header("jabber.test", "sip.test", "s1"));
    let seen = dialled.take(FEATURES_STARTTLS);
    assert!(
        matches!(
            seen.as_slice(),
            [
                Seen::Said(OutboundEvent::Negotiated {
                    encrypted: true,
                    ..
                }),
                Seen::Wrote(request)
            ] if request.starts_with("<db:result")
        ),
        "an offer of STARTTLS is not taken: {seen:?}"
    );
}

#[test]
fn a_dialled_server_with_the_wrong_certificate_is_told_nothing() {
    let rule = PartnerRule {
        certificate: CertificateRule::ValidForPartner,
        ..PartnerRule::default()
    };
    let mut dialled = dialled(rule, &["other.test"]);
    assert!(matches!(
        dialled.seen().as_slice(),
        [
            Seen::Said(OutboundEvent::Closed(
                CloseReason::CertificateNotValid { .. }
            )),
            Seen::Close
        ]
    ));
}
