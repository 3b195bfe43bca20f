//! Everything that a peer must not do.

use super::*;
use crate::dialback::Trouble;

fn accepted() -> Accepted {
    Accepted::new(inbound_settings(&["sip.test"], TlsRule::Required))
}

/// An accepted stream inside TLS, nothing proved.
fn encrypted() -> Accepted {
    let mut accepted = accepted();
    accepted.take(&header("jabber.test", "sip.test"));
    accepted.take(STARTTLS);
    accepted.tls(certificate(&[]));
    accepted.take(&header("jabber.test", "sip.test"));
    accepted
}

fn proved() -> Accepted {
    Accepted::proved(
        inbound_settings(&["sip.test", "sip2.test"], TlsRule::Required),
        "sip.test",
        "jabber.test",
    )
}

#[test]
fn headers_that_are_refused() {
    let good = header("jabber.test", "sip.test");
    let cases = [
        (
            good.replace("to='sip.test'", "to='x.test'"),
            StreamCondition::HostUnknown,
        ),
        (
            good.replace("to='sip.test'", "to='@@'"),
            StreamCondition::ImproperAddressing,
        ),
        (
            good.replace("from='jabber.test'", "from='a@jabber.test'"),
            StreamCondition::InvalidFrom,
        ),
        (
            good.replace("from='jabber.test'", "from='SIP.test'"),
            StreamCondition::InvalidFrom,
        ),
        (
            good.replace("'jabber:server'", "'jabber:client'"),
            StreamCondition::InvalidNamespace,
        ),
        (
            good.replace("etherx", "ether"),
            StreamCondition::InvalidNamespace,
        ),
        (
            good.replace("stream:stream", "stream:strain"),
            StreamCondition::BadFormat,
        ),
        (
            good.replace(" version='1.0'>", ">"),
            StreamCondition::UnsupportedVersion,
        ),
        (
            good.replace(" version='1.0'>", " version='0.9'>"),
            StreamCondition::UnsupportedVersion,
        ),
        (
            good.replace(" version='1.0'>", " version='x'>"),
            StreamCondition::UnsupportedVersion,
        ),
        (
            "GET / HTTP/1.1\r\n\r\n".to_owned(),
            StreamCondition::NotWellFormed,
        ),
        (format!("<!-- x -->{good}"), StreamCondition::RestrictedXml),
        (
            format!("<!DOCTYPE x>{good}"),
            StreamCondition::RestrictedXml,
        ),
        (
            format!("{}{good}", " ".repeat(4_097)),
            StreamCondition::PolicyViolation,
        ),
        (
            good.replace("from=", &format!("x='{}' from=", "x".repeat(4_096))),
            StreamCondition::PolicyViolation,
        ),
    ];
    for (text, condition) in cases {
        let seen = accepted().take(&text);
        assert_eq!(inbound_refused_with(&seen), Some(condition), "{text}");
        // Our own header comes first, whatever the peer did (RFC 6120 §4.9.1.2).
        let [Seen::Wrote(wire), _, Seen::Close] = seen.as_slice() else {
            panic!("{seen:?}");
        };
        assert!(
            wire.starts_with("<?xml version='1.0'?><stream:stream "),
            "{wire}"
        );
        assert_eq!(wire.matches("<stream:stream").count(), 1);
        assert!(wire.ends_with("</stream:error></stream:stream>"), "{wire}");
    }
}

#[test]
fn headers_that_are_taken_tolerantly() {
    let good = header("jabber.test", "sip.test");
    for text in [
        good.clone(),
        good.replace("<?xml version='1.0'?>", ""),
        good.replace("<?xml", " \r\n<?xml"),
        good.replace(" version='1.0'>", " version='1.1' x='y' xml:lang='de'>"),
        good.replace(" xmlns:db='jabber:server:dialback'", ""),
        good.replace(" from='jabber.test'", ""),
        good.replace(" to='sip.test'", ""),
        good.replace("sip.test", "SIP.Test."),
    ] {
        let seen = accepted().take(&text);
        let [Seen::Wrote(wire), Seen::Said(InboundEvent::Opened { .. })] = seen.as_slice() else {
            panic!("{text}: {seen:?}");
        };
        assert!(wire.ends_with(FEATURES_STARTTLS), "{wire}");
    }
}

#[test]
fn nothing_but_tls_is_possible_in_clear() {
    let cases = [
        (
            "<message from='a@jabber.test' to='b@sip.test'/>",
            StreamCondition::NotAuthorized,
        ),
        (
            "<db:result from='jabber.test' to='sip.test'>k</db:result>",
            StreamCondition::PolicyViolation,
        ),
        (
            "<db:verify from='jabber.test' to='sip.test' id='1'>k</db:verify>",
            StreamCondition::PolicyViolation,
        ),
        (FEATURES_DIALBACK, StreamCondition::UnsupportedStanzaType),
        (PROCEED, StreamCondition::UnsupportedStanzaType),
    ];
    for (text, condition) in cases {
        let mut accepted = accepted();
        accepted.take(&header("jabber.test", "sip.test"));
        assert_eq!(
            inbound_refused_with(&accepted.take(text)),
            Some(condition),
            "{text}"
        );
    }
}

#[test]
fn a_partner_that_may_speak_in_clear_speaks_for_itself_only() {
    let mut accepted = accepted();
    let seen = accepted.take(&header("clear.test", "sip.test"));
    let [Seen::Wrote(wire), Seen::Said(_)] = seen.as_slice() else {
        panic!("{seen:?}");
    };
    assert!(
        wire.contains("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/><dialback"),
        "{wire}"
    );
    accepted.prove("sip.test", "clear.test");
    assert_eq!(
        inbound_refused_with(
            &accepted.take("<db:result from='jabber.test' to='sip.test'>k</db:result>")
        ),
        Some(StreamCondition::PolicyViolation)
    );
}

#[test]
fn octets_behind_starttls_are_never_used() {
    for behind in [" ", "<message/>", "\u{16}\u{3}\u{1}"] {
        let mut pipelined = accepted();
        pipelined.take(&header("jabber.test", "sip.test"));
        assert_eq!(
            pipelined.take(&format!("{STARTTLS}{behind}")),
            [
                wrote("<failure xmlns='urn:ietf:params:xml:ns:xmpp-tls'/></stream:stream>"),
                Seen::Said(InboundEvent::Closed(CloseReason::OctetsBehindStartTls)),
                Seen::Close,
            ]
        );
        let mut late = accepted();
        late.take(&header("jabber.test", "sip.test"));
        assert_eq!(late.take(STARTTLS), [wrote(PROCEED), Seen::StartTls]);
        assert_eq!(
            late.take(behind),
            [
                Seen::Said(InboundEvent::Closed(CloseReason::OctetsBehindStartTls)),
                Seen::Close,
            ]
        );
    }
}

#[test]
fn nothing_of_the_clear_stream_outlives_the_handshake() {
    let mut accepted = Accepted::new(inbound_settings(&["sip.test"], TlsRule::Optional));
    accepted.take(&header("jabber.test", "sip.test"));
    accepted.take(STARTTLS);
    assert_eq!(accepted.tls(certificate(&[])), []);
    assert_eq!(
        inbound_refused_with(&accepted.take("<presence/>")),
        Some(StreamCondition::InvalidNamespace),
        "the old header counts no more"
    );
}

#[test]
fn a_second_starttls_fails() {
    assert_eq!(
        encrypted().take(STARTTLS),
        [
            wrote("<failure xmlns='urn:ietf:params:xml:ns:xmpp-tls'/></stream:stream>"),
            Seen::Said(InboundEvent::Closed(CloseReason::TlsRefused)),
            Seen::Close,
        ]
    );
}

#[test]
fn who_has_shown_a_key_in_clear_stays_there() {
    for is_verified in [false, true] {
        let settings = inbound_settings(&["sip.test"], TlsRule::Optional);
        let mut accepted = Accepted::new(settings);
        accepted.take(&header("jabber.test", "sip.test"));
        if is_verified {
            accepted.prove("sip.test", "jabber.test");
        } else {
            accepted.take("<db:result from='jabber.test' to='sip.test'>k</db:result>");
        }
        assert_eq!(
            accepted.take(STARTTLS),
            [
                wrote("<failure xmlns='urn:ietf:params:xml:ns:xmpp-tls'/></stream:stream>"),
                Seen::Said(InboundEvent::Closed(CloseReason::TlsRefused)),
                Seen::Close,
            ],
            "{is_verified}"
        );
    }
}

#[test]
fn claims_that_nobody_verifies() {
    let cases = [
        ("x.test", "jabber.test", "k", "cancel", "item-not-found"),
        ("sip.test", "sip.test", "k", "cancel", "not-allowed"),
        ("sip.test", "spoken-for.test", "k", "cancel", "not-allowed"),
        ("sip.test", "127.0.0.1", "k", "cancel", "not-allowed"),
        ("sip.test", "[::1]", "k", "cancel", "not-allowed"),
        ("sip.test", "localhost", "k", "cancel", "not-allowed"),
        ("sip.test", "jabber.test", " ", "modify", "bad-request"),
    ];
    for (local, remote, key, kind, condition) in cases {
        assert_eq!(
            encrypted().take(&format!(
                "<db:result from='{remote}' to='{local}'>{key}</db:result>"
            )),
            [wrote(format!(
                "<db:result from='{local}' to='{remote}' type='error'><error type='{kind}'>\
                 <{condition} xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></db:result>"
            ))],
        );
    }
    for claim in [
        "<db:result to='sip.test'>k</db:result>",
        "<db:result from='jabber.test'>k</db:result>",
        "<db:result from='a@jabber.test' to='sip.test'>k</db:result>",
        "<db:result from='a&#13;&#10;b.test' to='sip.test'>k</db:result>",
    ] {
        assert_eq!(
            inbound_refused_with(&encrypted().take(claim)),
            Some(StreamCondition::ImproperAddressing),
            "{claim}"
        );
    }
}

#[test]
fn claims_are_bounded() {
    let mut accepted = encrypted();
    let claims: String = (0..100)
        .map(|n| format!("<db:result from='d{n}.test' to='sip.test'>k</db:result>"))
        .collect();
    let seen = accepted.take(&claims);
    let asked = seen
        .iter()
        .filter(|seen| matches!(seen, Seen::Said(InboundEvent::VerifyKey { .. })))
        .count();
    assert_eq!(asked, Limits::default().pending_claims);
    assert_eq!(
        inbound_refused_with(&seen),
        Some(StreamCondition::PolicyViolation)
    );
}

#[test]
fn a_claim_is_verified_once_and_reports_count_once() {
    let mut accepted = encrypted();
    let claim = "<db:result from='jabber.test' to='sip.test'>k</db:result>";
    let first = accepted.take(claim);
    let [Seen::Said(InboundEvent::VerifyKey { id, .. })] = first.as_slice() else {
        panic!("{first:?}");
    };
    assert_eq!(accepted.take(claim), [], "one is pending");
    accepted.stream.verified(*id, Err(Trouble::Timeout), at(1));
    assert_eq!(accepted.seen().len(), 1);
    accepted.stream.verified(*id, Ok(true), at(2));
    assert_eq!(accepted.seen(), [], "the claim is gone");
    let mut proved = proved();
    assert_eq!(
        proved.take(claim),
        [wrote(
            "<db:result from='sip.test' to='jabber.test' type='valid'/>"
        )]
    );
}

#[test]
fn answers_that_nobody_asked_for_prove_nothing() {
    for answer in [
        "<db:result from='jabber.test' to='sip.test' type='valid'/>",
        "<db:verify from='jabber.test' to='sip.test' id='1' type='valid'/>",
    ] {
        let mut accepted = encrypted();
        assert_eq!(accepted.take(answer), []);
        assert_eq!(
            inbound_refused_with(&accepted.take("<message from='a@jabber.test' to='b@sip.test'/>")),
            Some(StreamCondition::NotAuthorized)
        );
    }
}

#[test]
fn stanzas_are_taken_from_proved_pairs_only() {
    let cases = [
        (
            "from='a@victim.test' to='b@sip.test'",
            StreamCondition::InvalidFrom,
        ),
        (
            "from='a@sub.jabber.test' to='b@sip.test'",
            StreamCondition::InvalidFrom,
        ),
        (
            "from='a@sip.test' to='b@sip.test'",
            StreamCondition::InvalidFrom,
        ),
        (
            "from='a@jabber.test' to='b@sip2.test'",
            StreamCondition::ImproperAddressing,
        ),
        (
            "from='a@jabber.test' to='b@third.test'",
            StreamCondition::HostUnknown,
        ),
        ("from='a@jabber.test'", StreamCondition::ImproperAddressing),
        ("to='b@sip.test'", StreamCondition::ImproperAddressing),
        (
            "from='' to='b@sip.test'",
            StreamCondition::ImproperAddressing,
        ),
        (
            "from='jabber.test@victim.test/jabber.test' to='b@sip.test'",
            StreamCondition::InvalidFrom,
        ),
        (
            "from='a@jabber.test' to='b c@@sip.test//'",
            StreamCondition::ImproperAddressing,
        ),
    ];
    for (addresses, condition) in cases {
        for name in ["message", "presence", "iq"] {
            let stanza = format!("<{name} {addresses}/>");
            assert_eq!(
                inbound_refused_with(&proved().take(&stanza)),
                Some(condition),
                "{stanza}"
            );
        }
    }
    for addresses in [
        "from='a@JABBER.test/x' to='b@sip.test'",
        "from='jabber.test' to='sip.test'",
        "from='jabber.test/a@b' to='b@Sip.Test/r'",
    ] {
        let seen = proved().take(&format!("<iq {addresses}/>"));
        assert!(
            matches!(seen.as_slice(), [Seen::Said(InboundEvent::Stanza { .. })]),
            "{addresses}"
        );
    }
}

#[test]
fn a_claim_that_is_not_verified_yet_carries_nothing() {
    let mut accepted = encrypted();
    accepted.take("<db:result from='jabber.test' to='sip.test'>k</db:result>");
    assert_eq!(
        inbound_refused_with(&accepted.take("<message from='a@jabber.test' to='b@sip.test'/>")),
        Some(StreamCondition::NotAuthorized)
    );
}

#[test]
fn elements_that_have_no_place_between_servers() {
    let cases = [
        (
            "<message xmlns='jabber:client' from='a@jabber.test' to='b@sip.test'/>",
            StreamCondition::InvalidNamespace,
        ),
        (
            "<message xmlns='urn:x' from='a@jabber.test' to='b@sip.test'/>",
            StreamCondition::UnsupportedStanzaType,
        ),
        (
            "<memo from='a@jabber.test' to='b@sip.test'/>",
            StreamCondition::UnsupportedStanzaType,
        ),
        (
            "<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>",
            StreamCondition::UnsupportedStanzaType,
        ),
        ("<db:other/>", StreamCondition::UnsupportedStanzaType),
        ("text", StreamCondition::BadFormat),
        ("<![CDATA[text]]>", StreamCondition::RestrictedXml),
        ("<!-- comment -->", StreamCondition::RestrictedXml),
        ("<?php ?>", StreamCondition::RestrictedXml),
        ("<iq><!-- comment --></iq>", StreamCondition::RestrictedXml),
        ("<iq><?php ?></iq>", StreamCondition::RestrictedXml),
        ("<iq>&nbsp;</iq>", StreamCondition::RestrictedXml),
        ("<iq>\u{0}</iq>", StreamCondition::NotWellFormed),
        ("<iq>&#0;</iq>", StreamCondition::NotWellFormed),
        ("<iq a='1' a='2'/>", StreamCondition::NotWellFormed),
        (
            "<iq xmlns:p='u' xmlns:q='u' p:a='1' q:a='2'/>",
            StreamCondition::NotWellFormed,
        ),
        (
            "<iq xmlns:p='u' xmlns:p='v'/>",
            StreamCondition::NotWellFormed,
        ),
        ("<iq></message>", StreamCondition::NotWellFormed),
        ("<p:iq/>", StreamCondition::BadNamespacePrefix),
        ("<iq p:a='1'/>", StreamCondition::BadNamespacePrefix),
    ];
    for (text, condition) in cases {
        assert_eq!(
            inbound_refused_with(&proved().take(text)),
            Some(condition),
            "{text}"
        );
    }
}

#[test]
fn compression_and_logins_fail_a_few_times_and_then_for_good() {
    let cases = [
        (
            "<compress xmlns='http://jabber.org/protocol/compress'><method>zlib</method></compress>",
            "<failure xmlns='http://jabber.org/protocol/compress'><setup-failed/></failure>",
            Limits::default().refused_claims,
        ),
        (
            "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'>=</auth>",
            "<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><invalid-mechanism/></failure>",
            Limits::default().failed_logins,
        ),
    ];
    for (request, failure, most) in cases {
        let mut accepted = encrypted();
        for _ in 0..most {
            assert_eq!(accepted.take(request), [wrote(failure)]);
        }
        assert_eq!(
            inbound_refused_with(&accepted.take(request)),
            Some(StreamCondition::PolicyViolation)
        );
    }
}

#[test]
fn stream_management_waits_for_a_proof() {
    let failed = "<failed xmlns='urn:xmpp:sm:3'><unexpected-request \
                  xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></failed>";
    let mut early = encrypted();
    assert_eq!(
        early.take("<enable xmlns='urn:xmpp:sm:3'/><r xmlns='urn:xmpp:sm:3'/>"),
        [wrote(failed)]
    );
    early.prove("sip.test", "jabber.test");
    assert_eq!(
        early.take("<enable xmlns='urn:xmpp:sm:3' resume='true'/><enable xmlns='urn:xmpp:sm:3'/>"),
        [wrote(format!("<enabled xmlns='urn:xmpp:sm:3'/>{failed}"))]
    );
    assert_eq!(
        early.take("<resume xmlns='urn:xmpp:sm:3' h='1' previd='x'/>"),
        [wrote(
            "<failed xmlns='urn:xmpp:sm:3'><item-not-found \
             xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></failed>"
        )]
    );
}

#[test]
fn limits_are_exact() {
    let stanza = |filler: &str| format!("<iq from='jabber.test' to='sip.test'>{filler}</iq>");
    let empty = stanza("").len();
    let most = Limits::default().octets_after_auth;
    let deep = |depth: usize| stanza(&format!("{}{}", "<a>".repeat(depth), "</a>".repeat(depth)));
    let attributes = |count: usize| {
        let list: String = (0..count).map(|n| format!(" a{n}=''")).collect();
        stanza(&format!("<a{list}/>"))
    };
    let namespaces = |count: usize| {
        let list: String = (0..count).map(|n| format!(" xmlns:a{n}='u'")).collect();
        stanza(&format!("<a{list}/>"))
    };
    let cases = [
        (
            "octets",
            stanza(&"x".repeat(most - empty)),
            stanza(&"x".repeat(most + 1 - empty)),
        ),
        (
            "octets of references",
            stanza(&"&lt;".repeat((most - empty) / 4)),
            stanza(&"&lt;".repeat(most / 4)),
        ),
        ("depth", deep(63), deep(64)),
        ("attributes", attributes(128), attributes(129)),
        (
            "attributes in all, with the two of the stanza",
            stanza(&"<a b='' c=''/>".repeat(4_095)),
            stanza(&("<a b='' c=''/>".repeat(4_094) + "<a b='' c='' d=''/>")),
        ),
        ("namespaces", namespaces(61), namespaces(62)),
        (
            "elements",
            stanza(&"<a/>".repeat(4_095)),
            stanza(&"<a/>".repeat(4_096)),
        ),
    ];
    for (what, fits, too_much) in cases {
        let mut accepted = proved();
        for _ in 0..2 {
            let seen = accepted.take(&fits);
            assert!(
                matches!(seen.as_slice(), [Seen::Said(InboundEvent::Stanza { .. })]),
                "{what}"
            );
        }
        assert_eq!(
            inbound_refused_with(&accepted.take(&too_much)),
            Some(StreamCondition::PolicyViolation),
            "{what}"
        );
    }
    let before = Limits::default().octets_before_auth;
    let unproved = format!(
        "<db:result from='jabber.test' to='sip.test'>{}",
        "x".repeat(before)
    );
    assert_eq!(
        inbound_refused_with(&encrypted().take(&unproved)),
        Some(StreamCondition::PolicyViolation)
    );
}

#[test]
fn the_deepest_tree_that_is_let_in_can_be_written_again() {
    let inner = format!("{}{}", "<a>".repeat(63), "</a>".repeat(63));
    let seen = proved().take(&format!(
        "<iq from='jabber.test' to='sip.test'>{inner}</iq>"
    ));
    let [Seen::Said(InboundEvent::Stanza { element, .. })] = seen.as_slice() else {
        panic!("{seen:?}");
    };
    let wire = super::super::write::stanza_to_wire(element);
    assert_eq!(wire.matches("<a").count(), 63);
}

#[test]
fn the_peers_own_error_is_reported_with_its_words() {
    assert_eq!(
        proved().take(
            "<stream:error><host-gone xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>\
             <text xmlns='urn:ietf:params:xml:ns:xmpp-streams'>so&#13;&#10;long</text></stream:error>"
        ),
        [
            wrote(CLOSING),
            Seen::Said(InboundEvent::Closed(CloseReason::PeerError(StreamError::new(
                StreamCondition::HostGone,
                "so  long"
            )))),
            Seen::Close,
        ]
    );
}

#[test]
fn a_closed_stream_is_deaf_and_mute() {
    let mut accepted = proved();
    accepted.stream.connection_lost();
    assert_eq!(
        accepted.seen(),
        [
            Seen::Said(InboundEvent::Closed(CloseReason::ConnectionLost)),
            Seen::Close
        ]
    );
    assert_eq!(accepted.take("<iq from='jabber.test' to='sip.test'/>"), []);
    accepted.stream.connection_lost();
    accepted.stream.close(at(1));
    accepted.stream.handle_timeout(at(10_000));
    assert_eq!(accepted.seen(), []);
    assert_eq!(accepted.stream.poll_timeout(), None);
}

// --------------------------------------------------------------------------------------- dialled streams

fn closed_with(seen: &[Seen<OutboundEvent>]) -> Option<&CloseReason> {
    match seen {
        [.., Seen::Said(OutboundEvent::Closed(reason)), Seen::Close] => Some(reason),
        _ => None,
    }
}

#[test]
fn a_server_without_tls_is_left() {
    let mut dialled = Dialled::new(outbound_settings("sip.test", "jabber.test"));
    dialled
        .stream
        .authorise(pair("sip.test", "jabber.test"), at(0));
    dialled.seen();
    dialled.take(&answer_header("jabber.test", "sip.test", "s1"));
    assert_eq!(dialled.take(FEATURES_DIALBACK), [wrote(CLOSING)]);
    assert_eq!(
        closed_with(&dialled.take(CLOSING)),
        Some(&CloseReason::TlsNotOffered)
    );
}

#[test]
fn a_stream_that_is_closing_starts_no_tls() {
    let mut dialled = Dialled::new(outbound_settings("sip.test", "jabber.test"));
    dialled.take(&answer_header("jabber.test", "sip.test", "s1"));
    dialled.take(FEATURES_STARTTLS);
    dialled.stream.close(at(1));
    assert_eq!(dialled.seen(), [wrote(CLOSING)]);
    assert_eq!(dialled.take(PROCEED), []);
    assert_eq!(
        closed_with(&dialled.take(CLOSING)),
        Some(&CloseReason::Requested)
    );

    let mut accepted = accepted();
    accepted.take(&header("jabber.test", "sip.test"));
    accepted.stream.close(at(1));
    assert_eq!(accepted.seen(), [wrote(CLOSING)]);
    assert_eq!(accepted.take(STARTTLS), []);
}

#[test]
fn a_failed_starttls_is_never_followed_by_clear_text() {
    for tls in [TlsRule::Required, TlsRule::Optional] {
        let settings = OutboundSettings {
            rule: encryption(tls),
            ..outbound_settings("sip.test", "jabber.test")
        };
        let start = || {
            let mut dialled = Dialled::new(settings.clone());
            dialled
                .stream
                .authorise(pair("sip.test", "jabber.test"), at(0));
            dialled.take(&answer_header("jabber.test", "sip.test", "s1"));
            assert_eq!(dialled.take(FEATURES_STARTTLS), [wrote(STARTTLS)]);
            dialled
        };
        let mut refused = start();
        assert_eq!(
            refused.take("<failure xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"),
            [wrote(CLOSING)]
        );
        assert_eq!(
            closed_with(&refused.take(CLOSING)),
            Some(&CloseReason::TlsRefused)
        );

        let mut failed = start();
        assert_eq!(failed.take(PROCEED), [Seen::StartTls]);
        failed.stream.tls_failed("bad certificate");
        let reason = CloseReason::TlsFailed("bad certificate".to_owned());
        assert_eq!(closed_with(&failed.seen()), Some(&reason));

        let mut injected = start();
        let seen = injected.take(&format!("{PROCEED}<db:result/>"));
        assert_eq!(closed_with(&seen), Some(&CloseReason::OctetsBehindStartTls));
        assert_eq!(seen.len(), 3, "{seen:?}");

        let mut early = start();
        let seen = early.take("<db:result from='jabber.test' to='sip.test' type='valid'/>");
        assert!(
            matches!(closed_with(&seen), Some(CloseReason::Refused(_))),
            "{seen:?}"
        );
    }
}

#[test]
fn a_certificate_that_must_be_valid_is_asked_for_every_partner() {
    let settings = OutboundSettings {
        rule: PartnerRule {
            certificate: CertificateRule::ValidForPartner,
            ..PartnerRule::default()
        },
        ..outbound_settings("sip.test", "jabber.test")
    };
    let mut wrong = Dialled::new(settings.clone());
    wrong.take(&answer_header("jabber.test", "sip.test", "s1"));
    wrong.take(FEATURES_STARTTLS);
    wrong.take(PROCEED);
    wrong
        .stream
        .tls_established(certificate(&["other.test"]), at(0));
    assert_eq!(
        wrong.seen(),
        [
            Seen::Said(OutboundEvent::Closed(CloseReason::CertificateNotValid {
                domain: "jabber.test".to_owned(),
                why: "it is for other.test, not for jabber.test".to_owned(),
            })),
            Seen::Close,
        ]
    );

    let mut right = Dialled::negotiated(settings.clone());
    let other = pair("sip.test", "rooms.jabber.test");
    right.stream.authorise(other.clone(), at(0));
    let why = "it is for jabber.test, not for rooms.jabber.test".to_owned();
    let question = VerifyRequest {
        pair: other.clone(),
        stream_id: "i".to_owned(),
        key: "k".to_owned(),
    };
    right.stream.verify(question.clone(), at(0));
    assert_eq!(
        right.seen(),
        [
            Seen::Said(OutboundEvent::PairRefused(
                other,
                PairError::CertificateNotValid(why.clone())
            )),
            Seen::Said(OutboundEvent::Verified(
                question,
                Err(VerifyError::CertificateNotValid(why))
            )),
        ]
    );

    let mut clear = Dialled::new(OutboundSettings {
        rule: PartnerRule {
            tls: TlsRule::Optional,
            ..settings.rule
        },
        ..settings
    });
    clear
        .stream
        .authorise(pair("sip.test", "jabber.test"), at(0));
    clear.take(&answer_header("jabber.test", "sip.test", "s1"));
    let seen = clear.take(FEATURES_DIALBACK);
    assert!(
        matches!(
            seen.as_slice(),
            [
                Seen::Said(OutboundEvent::Negotiated {
                    encrypted: false,
                    ..
                }),
                Seen::Said(OutboundEvent::PairRefused(
                    _,
                    PairError::CertificateNotValid(_)
                )),
            ]
        ),
        "{seen:?}"
    );
}

#[test]
fn only_the_pair_that_was_asked_for_becomes_ready() {
    let mut dialled = Dialled::negotiated(outbound_settings("sip.test", "jabber.test"));
    dialled
        .stream
        .authorise(pair("sip.test", "jabber.test"), at(0));
    dialled.seen();
    for forged in [
        "<db:result from='jabber.test' to='other.test' type='valid'/>",
        "<db:result from='victim.test' to='sip.test' type='valid'/>",
        "<db:result to='sip.test' type='valid'/>",
        "<db:result from='jabber.test' to='sip.test'>claim</db:result>",
        "<db:verify from='jabber.test' to='sip.test' id='s2' type='valid'/>",
        "<message from='a@jabber.test' to='b@sip.test'/>",
        "<iq from='jabber.test' to='sip.test' type='get' id='1'/>",
    ] {
        assert_eq!(dialled.take(forged), [], "{forged}");
    }
    let stanza = "<message xmlns='jabber:client' from='a@sip.test' to='b@jabber.test'/>"
        .parse()
        .unwrap();
    assert_eq!(dialled.stream.send(&stanza, at(0)), Err(NotReady::Pair));
}

#[test]
fn a_question_is_answered_by_its_own_answer_only() {
    let mut dialled = Dialled::negotiated(outbound_settings("sip.test", "jabber.test"));
    let question = VerifyRequest {
        pair: pair("sip.test", "jabber.test"),
        stream_id: "i1".to_owned(),
        key: "k".to_owned(),
    };
    dialled.stream.verify(question.clone(), at(0));
    assert_eq!(
        dialled.seen(),
        [wrote(
            "<db:verify from='sip.test' to='jabber.test' id='i1'>k</db:verify>"
        )]
    );
    for forged in [
        "<db:verify from='jabber.test' to='sip.test' id='i2' type='valid'/>",
        "<db:verify from='jabber.test' to='sip.test' type='valid'/>",
        "<db:verify from='victim.test' to='sip.test' id='i1' type='valid'/>",
        "<db:result from='jabber.test' to='sip.test' id='i1' type='valid'/>",
    ] {
        assert_eq!(dialled.take(forged), [], "{forged}");
    }
    assert_eq!(
        dialled.take("<db:verify from='jabber.test' to='sip.test' id='i1' type='bogus'/>"),
        [Seen::Said(OutboundEvent::Verified(question, Ok(false)))]
    );
    assert_eq!(
        dialled.take("<db:verify from='jabber.test' to='sip.test' id='i1' type='valid'/>"),
        []
    );
}

#[test]
fn more_acknowledgements_than_stanzas_end_the_stream() {
    let settings = outbound_settings("sip.test", "jabber.test");
    let mut dialled = Dialled::negotiated(settings);
    dialled
        .stream
        .authorise(pair("sip.test", "jabber.test"), at(0));
    dialled.take("<db:result from='jabber.test' to='sip.test' type='valid'/>");
    assert!(
        !dialled.stream.request_acknowledgement(at(0)),
        "it is not offered"
    );
    assert_eq!(dialled.take("<a xmlns='urn:xmpp:sm:3' h='1'/>"), []);

    let mut dialled = Dialled::new(OutboundSettings {
        rule: encryption(TlsRule::Never),
        ..outbound_settings("sip.test", "jabber.test")
    });
    dialled
        .stream
        .authorise(pair("sip.test", "jabber.test"), at(0));
    dialled.take(&answer_header("jabber.test", "sip.test", "s1"));
    dialled.take(OUR_FEATURES);
    dialled.take("<db:result from='jabber.test' to='sip.test' type='valid'/>");
    let stanza = "<message xmlns='jabber:client' from='a@sip.test' to='b@jabber.test'/>"
        .parse()
        .unwrap();
    assert_eq!(dialled.stream.send(&stanza, at(0)), Ok(1));
    dialled.seen();
    let seen = dialled.take("<a xmlns='urn:xmpp:sm:3' h='2'/>");
    assert!(
        matches!(closed_with(&seen), Some(CloseReason::Refused(_))),
        "{seen:?}"
    );
}

#[test]
fn a_stanza_that_the_peer_would_not_take_is_not_sent() {
    let mut dialled = Dialled::new(OutboundSettings {
        rule: encryption(TlsRule::Never),
        ..outbound_settings("sip.test", "jabber.test")
    });
    dialled
        .stream
        .authorise(pair("sip.test", "jabber.test"), at(0));
    dialled.take(&answer_header("jabber.test", "sip.test", "s1"));
    dialled.take(
        "<stream:features><limits xmlns='urn:xmpp:stream-limits:0'><max-bytes>100</max-bytes></limits></stream:features>",
    );
    dialled.take("<db:result from='jabber.test' to='sip.test' type='valid'/>");
    let stanza = |body: &str| {
        format!("<message xmlns='jabber:client' from='a@sip.test' to='b@jabber.test'><body>{body}</body></message>")
            .parse()
            .unwrap()
    };
    assert_eq!(
        dialled.stream.send(&stanza(&"x".repeat(100)), at(0)),
        Err(NotReady::TooLarge(100))
    );
    assert_eq!(dialled.seen(), []);
    assert_eq!(dialled.stream.send(&stanza("x"), at(0)), Ok(1));
}

#[test]
fn a_stream_without_id_cannot_carry_dialback() {
    let mut dialled = Dialled::new(OutboundSettings {
        rule: encryption(TlsRule::Never),
        ..outbound_settings("sip.test", "jabber.test")
    });
    dialled.take(&header("jabber.test", "sip.test"));
    let seen = dialled.take(FEATURES_DIALBACK);
    assert!(
        matches!(closed_with(&seen), Some(CloseReason::Refused(_))),
        "{seen:?}"
    );
}

#[test]
fn requests_to_a_closed_stream_are_answered_at_once() {
    let mut dialled = Dialled::ready(outbound_settings("sip.test", "jabber.test"));
    dialled.stream.close(at(1));
    assert_eq!(dialled.seen(), [wrote(CLOSING)]);
    let wanted = pair("sip.test", "x.test");
    dialled.stream.authorise(wanted.clone(), at(1));
    assert_eq!(
        dialled.seen(),
        [Seen::Said(OutboundEvent::PairRefused(
            wanted,
            PairError::Closed
        ))]
    );
    let stanza = "<message xmlns='jabber:client' from='a@sip.test' to='b@jabber.test'/>"
        .parse()
        .unwrap();
    assert_eq!(dialled.stream.send(&stanza, at(1)), Err(NotReady::Closed));
}

#[test]
fn a_pair_that_is_asked_for_again_while_the_stream_closes_is_settled_once() {
    let mut dialled = Dialled::ready(outbound_settings("sip.test", "jabber.test"));
    let wanted = pair("sip.test", "x.test");
    dialled.stream.authorise(wanted.clone(), at(1));
    dialled.seen();
    dialled.stream.close(at(1));
    dialled.stream.authorise(wanted.clone(), at(1));
    dialled.stream.authorise(wanted, at(1));
    assert_eq!(dialled.seen(), [wrote(CLOSING)]);
    let end = "<db:result from='x.test' to='sip.test' type='invalid'/></stream:stream>";
    let told = dialled.take(end).into_iter().filter(|seen| {
        matches!(
            seen,
            Seen::Said(OutboundEvent::PairRefused(..) | OutboundEvent::Closed(_))
        )
    });
    assert_eq!(told.count(), 2, "the answer, and the end");
}

#[test]
fn compares_certificate_names() {
    let cases = [
        ("jabber.test", "jabber.test", true),
        ("Jabber.Test", "jabber.test", true),
        ("*.test", "jabber.test", true),
        ("*.test", "a.jabber.test", false),
        ("*.jabber.test", "jabber.test", false),
        ("*", "jabber", false),
        ("j*.test", "jabber.test", false),
        ("xn--bcher-kva.test", "bücher.test", true),
        ("*.xn--bcher-kva.test", "im.bücher.test", true),
    ];
    for (name, domain, expected) in cases {
        let info = TlsInfo {
            valid_names: vec![name.to_owned()],
            ..TlsInfo::default()
        };
        assert_eq!(info.is_valid_for(domain), expected, "{name} {domain}");
    }
    assert!(!TlsInfo::default().is_valid_for("jabber.test"));
}

/// RFC 6120 §4.9.1.2.
#[test]
fn our_header_comes_before_our_closing_tag() {
    let header = |id| super::header::header_to_wire(None, None, Some(id));
    let mut accepted = accepted();
    accepted.stream.close(accepted.now);
    assert_eq!(accepted.seen(), [wrote(header(ID_1) + CLOSING)]);

    let mut inside = self::accepted();
    inside.take(&self::header("jabber.test", "sip.test"));
    inside.take(STARTTLS);
    inside.tls(certificate(&[]));
    inside.stream.close(inside.now);
    assert_eq!(inside.seen(), [wrote(header(ID_2) + CLOSING)]);
}
