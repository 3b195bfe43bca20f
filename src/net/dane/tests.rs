use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};

use super::*;

fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn leaf(
    issuer: &CertifiedIssuer<'_, KeyPair>,
    name: &str,
    last_year: i32,
) -> CertificateDer<'static> {
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.not_after = date_time_ymd(last_year, 1, 1);
    let key = KeyPair::generate().unwrap();
    params.signed_by(&key, issuer).unwrap().der().clone()
}

/// The record that somebody publishes for this certificate.
fn record(
    (usage, selector, matching): (u8, u8, u8),
    certificate: &CertificateDer<'static>,
) -> Tlsa {
    let whole = certificate.as_ref();
    let selected = if selector == 0 {
        whole
    } else {
        public_key(certificate).unwrap()
    };
    let data = match matching {
        0 => selected.to_vec(),
        1 => Sha256::digest(selected).to_vec(),
        _ => Sha512::digest(selected).to_vec(),
    };
    Tlsa {
        usage,
        selector,
        matching,
        data,
    }
}

const NAMES: &[&str] = &["jabber.test", "xmpp.host.test"];

#[test]
fn each_kind_of_record_proves_what_it_names_and_nothing_else() {
    let (ours, theirs) = (authority(), authority());
    let kinds = [0, 1].map(|selector| [0, 1, 2].map(|matching| (selector, matching)));
    for (selector, matching) in kinds.into_iter().flatten() {
        // Usage, and whether a certificate for a name, until a year, under its own authority is proved.
        let rows = [
            (3, "jabber.test", 2999, true),
            (3, "elsewhere.test", 2999, true),
            (3, "jabber.test", 2001, true),
            (2, "jabber.test", 2999, true),
            (2, "xmpp.host.test", 2999, true),
            (2, "elsewhere.test", 2999, false),
            (2, "jabber.test", 2001, false),
        ];
        for (usage, name, year, expected) in rows {
            let certificate = leaf(&ours, name, year);
            let chain = [certificate.clone(), ours.der().clone()];
            let named = if usage == 3 { &certificate } else { ours.der() };
            let kind = (usage, selector, matching);
            let verdict = judge(&[record(kind, named)], &chain, NAMES);
            assert_eq!(
                verdict == Verdict::Proved,
                expected,
                "{kind:?} {name}: {verdict:?}"
            );
            let other = leaf(&theirs, name, year);
            let named = if usage == 3 { &other } else { theirs.der() };
            let verdict = judge(&[record(kind, named)], &chain, NAMES);
            assert!(
                matches!(verdict, Verdict::Refused(_)),
                "{kind:?}: {verdict:?}"
            );
            // One that matches is enough.
            let good = if usage == 3 { &certificate } else { ours.der() };
            let both = [record(kind, named), record(kind, good)];
            assert_eq!(judge(&both, &chain, NAMES) == Verdict::Proved, expected);
        }
    }
}

#[test]
fn an_authority_may_be_in_the_record_instead_of_the_chain() {
    let ours = authority();
    let chain = [leaf(&ours, "jabber.test", 2999)];
    for (kind, expected) in [((2, 0, 0), true), ((2, 0, 1), false), ((2, 1, 0), false)] {
        let verdict = judge(&[record(kind, ours.der())], &chain, NAMES);
        assert_eq!(verdict == Verdict::Proved, expected, "{kind:?} {verdict:?}");
    }
}

#[test]
fn what_has_the_right_authority_in_its_chain_needs_its_signature_too() {
    let (ours, theirs) = (authority(), authority());
    let chain = [leaf(&theirs, "jabber.test", 2999), ours.der().clone()];
    let verdict = judge(&[record((2, 0, 1), ours.der())], &chain, NAMES);
    assert!(matches!(verdict, Verdict::Refused(_)), "{verdict:?}");
}

#[test]
fn records_that_do_not_count_say_nothing() {
    let ours = authority();
    let chain = [leaf(&ours, "jabber.test", 2999), ours.der().clone()];
    let short = |mut record: Tlsa| {
        record.data.truncate(20);
        record
    };
    let rows = [
        record((0, 0, 1), ours.der()),
        record((1, 1, 1), &chain[0]),
        record((1, 1, 1), ours.der()),
        record((4, 1, 1), &chain[0]),
        record((255, 1, 1), &chain[0]),
        record((3, 2, 1), &chain[0]),
        record((3, 1, 3), &chain[0]),
        short(record((3, 1, 1), &chain[0])),
        short(record((2, 0, 2), ours.der())),
    ];
    for row in &rows {
        let verdict = judge(std::slice::from_ref(row), &chain, NAMES);
        assert_eq!(verdict, Verdict::Silent, "{row:?}");
        assert_eq!(
            Pinned::of("h", "at".to_owned(), vec![row.clone()]),
            None,
            "{row:?}"
        );
    }
    assert_eq!(judge(&[], &chain, NAMES), Verdict::Silent);
    let with_good = [rows[2].clone(), record((3, 1, 1), &chain[0])];
    assert_eq!(judge(&with_good, &chain, NAMES), Verdict::Proved);
}

#[test]
fn without_a_certificate_there_is_nothing_to_match() {
    let ours = authority();
    let verdict = judge(&[record((3, 0, 0), ours.der())], &[], NAMES);
    assert!(matches!(verdict, Verdict::Refused(_)), "{verdict:?}");
}

#[test]
fn octets_that_are_no_certificate_match_nothing() {
    let junk = Tlsa {
        usage: 2,
        selector: 0,
        matching: 0,
        data: vec![0x30, 0x82, 0xff, 0xff, 1],
    };
    let chain = [
        CertificateDer::from(vec![0x30, 0x01]),
        CertificateDer::from(Vec::new()),
    ];
    for kind in [0, 1].map(|selector| Tlsa {
        selector,
        ..junk.clone()
    }) {
        let verdict = judge(&[kind], &chain, NAMES);
        assert!(matches!(verdict, Verdict::Refused(_)), "{verdict:?}");
    }
}

#[test]
fn records_decide_whatever_pkix_finds() {
    let (trusted, theirs) = (authority(), authority());
    let verifier = Verifier::of_anchor(trusted.der().clone()).unwrap();
    let good = [leaf(&trusted, "jabber.test", 2999)];
    let unknown = [leaf(&theirs, "elsewhere.test", 2999)];
    let pinned = |certificate: &CertificateDer<'static>| Pinned {
        host: "xmpp.host.test".to_owned(),
        at: "_5269._tcp.xmpp.host.test".to_owned(),
        records: vec![record((3, 1, 1), certificate)],
    };
    let judged = |chain: &[CertificateDer<'static>], pinned: &Pinned| {
        pinned.judge((chain, &verifier), "jabber.test")
    };
    assert_eq!(judged(&unknown, &pinned(&unknown[0])), Verdict::Proved);
    let Verdict::Refused(why) = judged(&good, &pinned(&unknown[0])) else {
        panic!("a trusted authority does not outweigh the records");
    };
    assert!(why.contains("_5269._tcp.xmpp.host.test"), "{why}");
}
