//! What a partner's rule lets the peer, and us, prove a domain with.

use super::*;

const AUTH: &str = "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'>=</auth>";
const KEY: &str = "<db:result from='jabber.test' to='sip.test'>k</db:result>";
const FORBIDDEN: &str = "<db:result from='sip.test' to='jabber.test' type='error'><error type='cancel'>\
    <policy-violation xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></db:result>";
const NOT_AUTHORIZED: &str =
    "<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><not-authorized/></failure>";

fn rule(
    external: ExternalRule,
    dialback: bool,
    certificate: CertificateRule,
    tls: TlsRule,
) -> PartnerRule {
    PartnerRule {
        tls,
        external,
        dialback,
        certificate,
        ..PartnerRule::default()
    }
}

fn accepting(rules: impl IntoIterator<Item = (&'static str, PartnerRule)>) -> Accepted {
    let rules = rules
        .into_iter()
        .map(|(pattern, rule)| (DomainPattern::parse(pattern), rule));
    Accepted::new(InboundSettings {
        partners: rules.collect(),
        ..inbound_settings(&["sip.test"], TlsRule::Required)
    })
}

/// A stream inside TLS, and whether it offers EXTERNAL.
fn inside_tls(mut accepted: Accepted, names: &[&str]) -> (Accepted, bool) {
    accepted.take(&header("jabber.test", "sip.test"));
    accepted.take(STARTTLS);
    accepted.tls(certificate(names));
    let seen = accepted.take(&header("jabber.test", "sip.test"));
    let [Seen::Wrote(wire), Seen::Said(InboundEvent::Opened { .. })] = seen.as_slice() else {
        panic!("{seen:?}");
    };
    let offers = wire.contains("EXTERNAL");
    (accepted, offers)
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Key {
    Asked,
    Proved,
    Refused(ClaimRefusal),
}

fn key(accepted: &mut Accepted) -> Key {
    let seen = accepted.take(KEY);
    match seen.as_slice() {
        [Seen::Said(InboundEvent::VerifyKey { .. })] => Key::Asked,
        [
            Seen::Wrote(_),
            Seen::Said(InboundEvent::DomainProved(_, Proof::CertificateWithKey)),
        ] => Key::Proved,
        [
            Seen::Said(InboundEvent::ClaimRefused(_, why)),
            Seen::Wrote(answer),
        ] if answer == FORBIDDEN => Key::Refused(*why),
        _ => panic!("{seen:?}"),
    }
}

#[test]
fn a_claim_is_held_to_its_partners_rule() {
    use CertificateRule::{Any, ValidForPartner};
    use ExternalRule::{Off, Optional, Required};
    let no_certificate = Key::Refused(ClaimRefusal::CertificateNotValid);
    // external, dialback, certificate: with a valid certificate EXTERNAL is offered, a key does this; without one.
    let cases = [
        (Optional, true, Any, true, Key::Proved, Key::Asked),
        (Off, true, Any, false, Key::Asked, Key::Asked),
        (
            Off,
            true,
            ValidForPartner,
            false,
            Key::Asked,
            no_certificate,
        ),
        (
            Optional,
            true,
            ValidForPartner,
            true,
            Key::Proved,
            no_certificate,
        ),
        (Optional, false, Any, true, Key::Proved, no_certificate),
        (Required, true, Any, true, Key::Proved, no_certificate),
        (Required, false, Any, true, Key::Proved, no_certificate),
    ];
    for (external, dialback, kind, offered, with, without) in cases {
        let rule = rule(external, dialback, kind, TlsRule::Required);
        let (mut valid, offers) = inside_tls(accepting([("*", rule)]), &["jabber.test"]);
        assert_eq!(offers, offered, "{rule:?}");
        if !offered {
            let pair = pair("sip.test", "jabber.test");
            assert_eq!(
                valid.take(AUTH),
                [
                    Seen::Said(InboundEvent::ClaimRefused(
                        pair,
                        ClaimRefusal::ExternalNotAllowed
                    )),
                    wrote(NOT_AUTHORIZED),
                ]
            );
        }
        assert_eq!(key(&mut valid), with, "{rule:?}");
        let (mut invalid, offers) = inside_tls(accepting([("*", rule)]), &["other.test"]);
        assert!(!offers);
        assert_eq!(key(&mut invalid), without, "{rule:?}");
    }
}

#[test]
fn a_domain_without_a_rule_is_no_partner() {
    let others = || accepting([("other.test", PartnerRule::default())]);
    let no_rule = ClaimRefusal::NoRule;
    let (mut accepted, offers) = inside_tls(others(), &["jabber.test"]);
    assert!(offers, "so that there is a line in the log");
    let refused = Seen::Said(InboundEvent::ClaimRefused(
        pair("sip.test", "jabber.test"),
        no_rule,
    ));
    assert_eq!(accepted.take(AUTH), [refused, wrote(NOT_AUTHORIZED)]);
    assert_eq!(key(&mut accepted), Key::Refused(no_rule));
    let mut in_clear = others();
    in_clear.take(&header("jabber.test", "sip.test"));
    assert_eq!(key(&mut in_clear), Key::Refused(no_rule));
}

/// The rule is that of the domain that is claimed, whoever opened the stream.
#[test]
fn each_domain_on_a_stream_has_its_own_rule() {
    let clear = encryption(TlsRule::Optional);
    let strict = PartnerRule {
        external: ExternalRule::Required,
        ..PartnerRule::default()
    };
    let mut accepted = accepting([("old.test", clear), ("*", strict)]);
    let seen = accepted.take(&header("old.test", "sip.test"));
    assert!(
        matches!(seen.first(), Some(Seen::Wrote(wire)) if wire.contains("dialback") && wire.contains("starttls")),
        "{seen:?}"
    );
    accepted.prove("sip.test", "old.test");
    assert_eq!(
        inbound_refused_with(&accepted.take(KEY)),
        Some(StreamCondition::PolicyViolation)
    );
}

#[test]
fn tls_is_offered_by_the_rule_of_the_header() {
    let never = encryption(TlsRule::Never);
    let offers = |from: &str| {
        let mut accepted = accepting([("never.test", never), ("*", PartnerRule::default())]);
        let seen = accepted.take(&header(from, "sip.test"));
        let [Seen::Wrote(wire), _] = seen.as_slice() else {
            panic!("{seen:?}");
        };
        wire.contains("starttls")
    };
    assert!(!offers("never.test"));
    assert!(offers("jabber.test"));
}

#[test]
fn servers_from_before_1_0_are_taken_by_their_rule() {
    let old = PartnerRule {
        before_1_0: true,
        ..encryption(TlsRule::Optional)
    };
    let newer = encryption(TlsRule::Optional);
    let open = |from: &str| {
        let mut accepted = accepting([("old.test", old), ("*", newer)]);
        let opening = header("x", "sip.test")
            .replace(" from='x'", from)
            .replace(" version='1.0'>", ">");
        let seen = accepted.take(&opening);
        (accepted, seen)
    };
    let (_, seen) = open(" from='jabber.test'");
    assert_eq!(
        inbound_refused_with(&seen),
        Some(StreamCondition::UnsupportedVersion)
    );
    open(" from='old.test'").0.prove("sip.test", "old.test");
    // Such servers say nothing of themselves before they claim.
    let (mut unnamed, _) = open("");
    unnamed.prove("sip.test", "old.test");
    assert_eq!(key(&mut unnamed), Key::Refused(ClaimRefusal::Before1_0));
}
