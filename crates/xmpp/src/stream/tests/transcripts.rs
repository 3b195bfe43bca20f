//! Dialogues in the very words of real servers.

use super::*;

/// prosody 0.12: attribute order of its own, EXTERNAL offered, two versions of stream management.
#[test]
fn dials_prosody() {
    let mut dialled = Dialled::new(OutboundSettings {
        external: false,
        ..outbound_settings("sip.test", "jabber.test")
    });
    let wanted = pair("sip.test", "jabber.test");
    dialled.stream.authorise(wanted.clone(), at(0));
    assert_eq!(
        dialled.seen(),
        [wrote(our_header("sip.test", "jabber.test", None))]
    );
    let header = |id: &str| {
        format!(
            "<?xml version='1.0'?><stream:stream xmlns:db='jabber:server:dialback' xmlns='jabber:server' \
             from='jabber.test' xml:lang='en' version='1.0' \
             xmlns:stream='http://etherx.jabber.org/streams' to='sip.test' id='{id}'>"
        )
    };
    assert_eq!(
        dialled.take(&format!(
            "{}<stream:features><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'><required/></starttls>\
             <limits xmlns='urn:xmpp:stream-limits:0'><max-bytes>524288</max-bytes></limits></stream:features>",
            header("15f6b3f2-5a4c-4b6a-9f4f-3b1d3e3e0e6c")
        )),
        [wrote(STARTTLS)]
    );
    assert_eq!(dialled.take(PROCEED), [Seen::StartTls]);
    dialled
        .stream
        .tls_established(certificate(&["jabber.test"]), at(0));
    dialled.seen();
    let id = "7c2b1d0e-0f1a-4c46-8e0a-6c3f1e2d4b5a";
    let key = DialbackSecret::new(b"sip.test").key("jabber.test", "sip.test", id);
    let seen = dialled.take(&format!(
        "{}<stream:features><mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>EXTERNAL</mechanism>\
         </mechanisms><dialback xmlns='urn:xmpp:features:dialback'/><sm xmlns='urn:xmpp:sm:2'><optional/></sm>\
         <sm xmlns='urn:xmpp:sm:3'><optional/></sm>\
         <limits xmlns='urn:xmpp:stream-limits:0'><max-bytes>524288</max-bytes></limits></stream:features>",
        header(id)
    ));
    assert_eq!(
        seen,
        [
            Seen::Said(OutboundEvent::Negotiated {
                features: features::PeerFeatures {
                    starttls: false,
                    external: true,
                    dialback: true,
                    bidi: false,
                    stream_management: true,
                    max_octets: Some(524_288),
                },
                encrypted: true,
            }),
            wrote(format!(
                "<db:result from='sip.test' to='jabber.test'>{key}</db:result>"
            )),
        ]
    );
    assert_eq!(
        dialled.take("<db:result from='jabber.test' to='sip.test' type='valid'/>"),
        [
            wrote("<enable xmlns='urn:xmpp:sm:3'/>"),
            Seen::Said(OutboundEvent::Ready(wanted)),
        ]
    );
    assert_eq!(dialled.take("<enabled xmlns='urn:xmpp:sm:3'/>"), []);
    assert_eq!(
        dialled.take("<r xmlns='urn:xmpp:sm:3'/>"),
        [wrote("<a xmlns='urn:xmpp:sm:3' h='0'/>")]
    );
}

/// prosody 0.12 dials us: it proves a pair by its certificate, switches stream management on in the new stream and asks
/// after every stanza; later it asks about a key of ours over the same stream.
#[test]
fn is_dialled_by_prosody() {
    let mut accepted = Accepted::new(inbound_settings(&["sip.test"], TlsRule::Required));
    let header = "<?xml version='1.0'?><stream:stream xmlns='jabber:server' xmlns:db='jabber:server:dialback' \
                  xmlns:stream='http://etherx.jabber.org/streams' from='jabber.test' to='sip.test' \
                  version='1.0' xml:lang='en'>";
    assert_eq!(
        accepted.take(header),
        [
            wrote(format!(
                "{}{FEATURES_STARTTLS}",
                our_header("sip.test", "jabber.test", Some(ID_1))
            )),
            Seen::Said(InboundEvent::Opened {
                from: Some("jabber.test".to_owned()),
                to: Some("sip.test".to_owned()),
                encrypted: false,
            }),
        ]
    );
    assert_eq!(accepted.take(STARTTLS), [wrote(PROCEED), Seen::StartTls]);
    assert_eq!(accepted.tls(certificate(&["jabber.test"])), []);
    assert_eq!(
        accepted.take(header),
        [
            wrote(format!(
                "{}{}",
                our_header("sip.test", "jabber.test", Some(ID_2)),
                our_features_with_external()
            )),
            Seen::Said(InboundEvent::Opened {
                from: Some("jabber.test".to_owned()),
                to: Some("sip.test".to_owned()),
                encrypted: true,
            }),
        ]
    );
    let seen = accepted.take(
        "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'>amFiYmVyLnRlc3Q=</auth>",
    );
    let [Seen::Said(InboundEvent::Authenticate { id, .. })] = seen.as_slice() else {
        panic!("{seen:?}");
    };
    accepted.stream.verified(*id, Ok(true), accepted.now);
    assert_eq!(
        accepted.seen(),
        [
            wrote("<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>"),
            Seen::Said(InboundEvent::DomainProved(
                pair("sip.test", "jabber.test"),
                Proof::Certificate
            )),
        ]
    );
    let seen = accepted.take(header);
    assert!(
        matches!(seen.as_slice(), [Seen::Wrote(wire), _] if wire.ends_with(OUR_FEATURES)),
        "{seen:?}"
    );
    assert_eq!(
        accepted.take("<enable xmlns='urn:xmpp:sm:3'/>"),
        [wrote("<enabled xmlns='urn:xmpp:sm:3'/>")]
    );
    let seen = accepted.take(
        "<message to='juliet@sip.test' type='chat' id='m1' from='romeo@jabber.test/balcony' xml:lang='en'>\
         <body>Call me but love</body><active xmlns='http://jabber.org/protocol/chatstates'/></message>\
         <r xmlns='urn:xmpp:sm:3'/>",
    );
    let [
        Seen::Said(InboundEvent::Stanza {
            number, element, ..
        }),
        Seen::Wrote(answer),
    ] = seen.as_slice()
    else {
        panic!("{seen:?}");
    };
    assert_eq!(answer, "<a xmlns='urn:xmpp:sm:3' h='0'/>");
    assert!(element.is("message", "jabber:client"));
    assert_eq!(
        element.get_child("body", "jabber:client").unwrap().text(),
        "Call me but love"
    );
    accepted.stream.stanza_handled(*number, at(1));
    assert_eq!(accepted.seen(), [wrote("<a xmlns='urn:xmpp:sm:3' h='1'/>")]);

    let key = DialbackSecret::new(b"sip.test").key("jabber.test", "sip.test", "prosody-stream");
    for (key, verdict) in [(key.as_str(), "valid"), ("0123", "invalid")] {
        assert_eq!(
            accepted.take(&format!(
                "<db:verify to='sip.test' from='jabber.test' id='prosody-stream'>{key}</db:verify>"
            )),
            [wrote(format!(
                "<db:verify from='sip.test' to='jabber.test' id='prosody-stream' type='{verdict}'/>"
            ))]
        );
    }
    assert_eq!(
        accepted.take("<db:verify to='x.test' from='jabber.test' id='i'>k</db:verify>"),
        [wrote(
            "<db:verify from='x.test' to='jabber.test' id='i' type='error'><error type='cancel'>\
             <item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></db:verify>"
        )]
    );
}

/// ejabberd 23: long forms of empty elements, dialback with errors, no stream management.
#[test]
fn dials_ejabberd() {
    let mut dialled = Dialled::new(outbound_settings("sip.test", "jabber.test"));
    let wanted = pair("sip.test", "jabber.test");
    dialled.stream.authorise(wanted.clone(), at(0));
    dialled.seen();
    let header = |id: &str| {
        format!(
            "<?xml version='1.0'?><stream:stream id='{id}' version='1.0' xml:lang='en' \
             xmlns:stream='http://etherx.jabber.org/streams' to='sip.test' from='jabber.test' \
             xmlns:db='jabber:server:dialback' xmlns='jabber:server'>"
        )
    };
    assert_eq!(
        dialled.take(&header("10417823394618935234")),
        [],
        "features come alone"
    );
    assert_eq!(
        dialled.take(
            "<stream:features><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'><required></required></starttls></stream:features>"
        ),
        [wrote(STARTTLS)]
    );
    assert_eq!(
        dialled.take("<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'></proceed>"),
        [Seen::StartTls]
    );
    dialled.stream.tls_established(certificate(&[]), at(0));
    dialled.seen();
    dialled.take(&header("6843121938740126349"));
    let seen = dialled.take(
        "<stream:features><dialback xmlns='urn:xmpp:features:dialback'><errors></errors></dialback></stream:features>",
    );
    assert_eq!(seen.len(), 2, "{seen:?}");
    assert_eq!(
        dialled.take(
            "<db:result type='error' to='sip.test' from='jabber.test'><error type='wait'>\
             <remote-server-timeout xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'></remote-server-timeout>\
             <text xmlns='urn:ietf:params:xml:ns:xmpp-stanzas' xml:lang='en'>connection timed out</text>\
             </error></db:result>"
        )
        .len(),
        1
    );
    dialled.stream.authorise(wanted.clone(), at(1));
    dialled.seen();
    assert_eq!(
        dialled.take("<db:result type='valid' to='sip.test' from='jabber.test'></db:result>"),
        [Seen::Said(OutboundEvent::Ready(wanted))]
    );
}

/// ejabberd 23 dials us, declares the dialback namespace on each element and pipelines claims of two domains.
#[test]
fn is_dialled_by_ejabberd() {
    let mut accepted = Accepted::new(inbound_settings(&["sip.test"], TlsRule::Required));
    let header = "<?xml version='1.0'?><stream:stream version='1.0' xml:lang='en' \
                  xmlns:stream='http://etherx.jabber.org/streams' to='sip.test' from='jabber.test' \
                  xmlns:db='jabber:server:dialback' xmlns='jabber:server'>";
    accepted.take(header);
    accepted.take("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'></starttls>");
    accepted.tls(certificate(&[]));
    accepted.take(header);
    let seen = accepted.take(
        "<db:result xmlns:db='jabber:server:dialback' from='jabber.test' to='sip.test'>k1</db:result>\
         <db:result xmlns:db='jabber:server:dialback' from='conference.jabber.test' to='sip.test'>k2</db:result>",
    );
    let claims: Vec<_> = seen
        .iter()
        .filter_map(|seen| match seen {
            Seen::Said(InboundEvent::VerifyKey { id, pair, key, .. }) => {
                Some((*id, pair.remote.as_str(), key.as_str()))
            }
            _ => None,
        })
        .collect();
    let [
        (first, "jabber.test", "k1"),
        (second, "conference.jabber.test", "k2"),
    ] = claims.as_slice()
    else {
        panic!("{claims:?}");
    };
    accepted.stream.verified(*second, Ok(true), at(1));
    accepted.stream.verified(*first, Ok(false), at(1));
    let seen = accepted.seen();
    assert_eq!(
        seen,
        [
            wrote("<db:result from='sip.test' to='conference.jabber.test' type='valid'/>"),
            Seen::Said(InboundEvent::DomainProved(
                pair("sip.test", "conference.jabber.test"),
                Proof::Dialback
            )),
            wrote("<db:result from='sip.test' to='jabber.test' type='invalid'/>"),
        ],
        "the pair that is proved keeps the stream"
    );
}

/// A server from before XMPP 1.0: no version, no features, dialback at once.
#[test]
fn speaks_to_servers_from_before_1_0_where_allowed() {
    let old = "<?xml version='1.0'?><stream:stream xmlns:stream='http://etherx.jabber.org/streams' \
               xmlns='jabber:server' xmlns:db='jabber:server:dialback' id='457F9224A0'>";
    let wanted = pair("sip.test", "old.test");
    let dial = |tls, before_1_0| {
        let mut dialled = Dialled::new(OutboundSettings {
            rule: PartnerRule {
                before_1_0,
                ..encryption(tls)
            },
            ..outbound_settings("sip.test", "old.test")
        });
        dialled.stream.authorise(wanted.clone(), at(0));
        dialled.seen();
        dialled.take(old)
    };
    let seen = dial(TlsRule::Optional, true);
    assert!(
        matches!(seen.as_slice(), [Seen::Said(OutboundEvent::Negotiated { encrypted: false, .. }), Seen::Wrote(request)]
            if request.starts_with("<db:result from='sip.test' to='old.test'>")),
        "{seen:?}"
    );
    assert_eq!(dial(TlsRule::Required, true), [wrote(CLOSING)]);
    assert_eq!(
        dial(TlsRule::Optional, false),
        [
            wrote(error_and_close("unsupported-version", "XMPP 1.0 is needed")),
            Seen::Said(OutboundEvent::Closed(CloseReason::Refused(
                StreamError::new(StreamCondition::UnsupportedVersion, "XMPP 1.0 is needed")
            ))),
            Seen::Close,
        ]
    );

    let mut accepted = Accepted::new(InboundSettings {
        partners: partners(PartnerRule {
            before_1_0: true,
            ..encryption(TlsRule::Optional)
        }),
        ..inbound_settings(&["sip.test"], TlsRule::Optional)
    });
    let seen = accepted.take(&old.replace(" id='457F9224A0'", " from='old.test' to='sip.test'"));
    assert_eq!(
        seen.first(),
        Some(&wrote(our_header("sip.test", "old.test", Some(ID_1)))),
        "no features"
    );
    accepted.prove("sip.test", "old.test");
}
