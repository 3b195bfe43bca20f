//! Domains of ours that no setting names: sought for whoever has proved itself, and for nobody else.

use super::*;
use crate::dialback::Trouble;

const WANTED: &str = "voice.test";
const KEY: &str = "<db:result from='jabber.test' to='voice.test'>k</db:result>";
const VALID: &str = "<db:result from='voice.test' to='jabber.test' type='valid'/>";
const AUTH: &str = "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'>=</auth>";

fn settings() -> InboundSettings {
    InboundSettings {
        serves_unnamed: true,
        ..inbound_settings(&["sip.test"], TlsRule::Required)
    }
}

/// A stream inside TLS to the wanted domain, whose peer has shown a certificate for these names.
fn opened(settings: InboundSettings, names: &[&str]) -> Accepted {
    let mut accepted = Accepted::new(settings);
    accepted.take(&header("jabber.test", WANTED));
    accepted.take(STARTTLS);
    accepted.tls(certificate(names));
    accepted.take(&header("jabber.test", WANTED));
    accepted
}

fn asked(seen: &[Seen<InboundEvent>]) -> VerifyId {
    match seen {
        [Seen::Said(InboundEvent::VerifyKey { id, pair: of, .. })]
        | [Seen::Said(InboundEvent::Authenticate { id, pair: of })]
        | [Seen::Said(InboundEvent::Seek { id, pair: of })] => {
            assert_eq!(of, &pair(WANTED, "jabber.test"));
            *id
        }
        _ => panic!("{seen:?}"),
    }
}

fn is_sought(seen: &[Seen<InboundEvent>]) -> bool {
    matches!(seen, [Seen::Said(InboundEvent::Seek { .. })])
}

fn only_write(seen: &[Seen<InboundEvent>]) -> String {
    match seen {
        [Seen::Wrote(text)] => text.clone(),
        _ => panic!("{seen:?}"),
    }
}

fn proved(proof: Proof) -> Seen<InboundEvent> {
    Seen::Said(InboundEvent::DomainProved(
        pair(WANTED, "jabber.test"),
        proof,
    ))
}

#[test]
fn a_domain_is_sought_once_the_key_is_confirmed() {
    let mut accepted = opened(settings(), &[]);
    let seen = accepted.take(KEY);
    assert!(!is_sought(&seen), "{seen:?}");
    let key = asked(&seen);
    accepted.stream.verified(key, Ok(true), accepted.now);
    let seen = accepted.seen();
    assert!(is_sought(&seen), "{seen:?}");
    let sought = asked(&seen);
    // The first report says nothing more, and neither does the key once more.
    accepted.stream.verified(key, Ok(true), accepted.now);
    assert_eq!(accepted.seen(), []);
    assert_eq!(accepted.take(KEY), []);
    accepted.stream.verified(sought, Ok(true), accepted.now);
    assert_eq!(accepted.seen(), [wrote(VALID), proved(Proof::Dialback)]);
    assert_eq!(accepted.take(KEY), [wrote(VALID)]);
}

#[test]
fn a_domain_is_sought_where_the_certificate_has_proved_the_partner() {
    let mut accepted = opened(settings(), &["jabber.test"]);
    let seen = accepted.take(KEY);
    assert!(is_sought(&seen), "{seen:?}");
    accepted
        .stream
        .verified(asked(&seen), Ok(true), accepted.now);
    let proof = proved(Proof::CertificateWithKey);
    assert_eq!(accepted.seen(), [wrote(VALID), proof]);

    let mut accepted = opened(settings(), &["jabber.test"]);
    let id = asked(&accepted.take(AUTH));
    accepted.stream.verified(id, Ok(true), accepted.now);
    assert_eq!(accepted.seen().last(), Some(&proved(Proof::Certificate)));
}

#[test]
fn what_is_not_found_is_not_served_and_nothing_is_sought_without_proof() {
    let rows = [
        (Trouble::NotServed, "item-not-found"),
        (Trouble::Timeout, "remote-server-timeout"),
        (Trouble::Overloaded, "resource-constraint"),
    ];
    for (trouble, condition) in rows {
        let mut accepted = opened(settings(), &["jabber.test"]);
        let id = asked(&accepted.take(KEY));
        accepted.stream.verified(id, Err(trouble), accepted.now);
        let answer = only_write(&accepted.seen());
        assert!(answer.contains(condition), "{answer}");
        let stanza = "<message from='a@jabber.test' to='b@voice.test'/>";
        let refused = inbound_refused_with(&accepted.take(stanza));
        assert_eq!(refused, Some(StreamCondition::NotAuthorized));
    }
    let mut accepted = opened(settings(), &[]);
    let key = asked(&accepted.take(KEY));
    accepted.stream.verified(key, Ok(false), accepted.now);
    let seen = accepted.seen();
    assert!(
        !seen
            .iter()
            .any(|seen| matches!(seen, Seen::Said(InboundEvent::Seek { .. }))),
        "{seen:?}"
    );
}

#[test]
fn a_stanza_needs_its_own_pair() {
    let mut accepted = opened(settings(), &["jabber.test"]);
    accepted.prove_by_certificate("sip.test", "jabber.test");
    let stanza = "<message from='a@jabber.test' to='b@voice.test'/>";
    let refused = inbound_refused_with(&accepted.take(stanza));
    assert_eq!(refused, Some(StreamCondition::ImproperAddressing));
}

#[test]
fn a_time_out_ends_what_is_sought() {
    let mut accepted = opened(settings(), &["jabber.test"]);
    asked(&accepted.take(KEY));
    let timing = Timing::default();
    let seen = accepted.time_out_at(timing.authentication.as_secs());
    let Some(Seen::Wrote(answer)) = seen.first() else {
        panic!("{seen:?}");
    };
    assert!(answer.contains("remote-server-timeout"), "{answer}");
}

/// Dialback questions about keys of ours, for whatever domain we made them.
#[test]
fn a_key_of_an_unnamed_domain_is_known_again() {
    let settings = settings();
    let key = settings.secret.key("jabber.test", WANTED, "s1");
    let mut accepted = opened(settings, &[]);
    for (key, verdict) in [(key.as_str(), "valid"), ("other", "invalid")] {
        let question =
            format!("<db:verify from='jabber.test' to='{WANTED}' id='s1'>{key}</db:verify>");
        let answer = only_write(&accepted.take(&question));
        assert!(answer.contains(&format!("type='{verdict}'")), "{answer}");
    }
}

#[test]
fn only_names_that_no_rule_has_may_be_sought() {
    let rows = [
        ("voice.test", true),
        ("sip.test", false),
        ("spoken-for.test", false),
        ("clear.test", false),
        ("192.0.2.7", false),
        ("localhost", false),
        ("single", false),
    ];
    for (domain, unnamed) in rows {
        assert_eq!(settings().is_unnamed(domain), unnamed, "{domain}");
        let off = inbound_settings(&["sip.test"], TlsRule::Required);
        assert!(!off.is_unnamed(domain), "{domain}");
    }
    let mut accepted = opened(settings(), &["jabber.test"]);
    let own = "<db:result from='voice.test' to='voice.test'>k</db:result>";
    let answer = only_write(&accepted.take(own));
    assert!(answer.contains("not-allowed"), "{answer}");
}
