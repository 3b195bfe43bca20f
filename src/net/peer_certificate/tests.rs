use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose,
    NameConstraints, OtherNameValue, RevokedCertParams, SanType, SerialNumber, date_time_ymd,
};

use super::*;
use crate::config;
use crate::net::tls::TlsSettings;

type Change = fn(&mut CertificateParams);

const XMPP_ADDR_OID: [u64; 9] = [1, 3, 6, 1, 5, 5, 7, 8, 5];
const DNS_SRV_OID: [u64; 9] = [1, 3, 6, 1, 5, 5, 7, 8, 7];
const REVOKED: u64 = 77;

fn authority(name: &str) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn leaf(
    issuer: &CertifiedIssuer<'_, KeyPair>,
    names: Vec<SanType>,
    change: Change,
) -> CertificateDer<'static> {
    let mut params = CertificateParams::default();
    params.subject_alt_names = names;
    change(&mut params);
    let key = KeyPair::generate().unwrap();
    params.signed_by(&key, issuer).unwrap().der().clone()
}

fn dns(name: &str) -> SanType {
    SanType::DnsName(Ia5String::try_from(name).unwrap())
}

fn other(oid: [u64; 9], value: &str) -> SanType {
    SanType::OtherName((oid.to_vec(), OtherNameValue::Utf8String(value.to_owned())))
}

/// A verifier that trusts one authority, which has revoked one serial number.
fn verifier(trusted: &CertifiedIssuer<'_, KeyPair>) -> Verifier {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = format!("stoxgate-judge-{}-{number}", std::process::id());
    let folder = std::env::temp_dir().join(name);
    std::fs::create_dir_all(&folder).unwrap();
    let write = |name: &str, text: String| -> PathBuf {
        let path = folder.join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let own = KeyPair::generate().unwrap();
    let ours = CertificateParams::new(vec!["gw.example.org".to_owned()]).unwrap();
    let ours = ours.self_signed(&own).unwrap();
    let list = CertificateRevocationListParams {
        this_update: date_time_ymd(2025, 1, 1),
        // Out of date, and still it counts.
        next_update: date_time_ymd(2025, 2, 1),
        crl_number: SerialNumber::from(1),
        issuing_distribution_point: None,
        revoked_certs: vec![RevokedCertParams {
            serial_number: SerialNumber::from(REVOKED),
            revocation_time: date_time_ymd(2025, 1, 1),
            reason_code: None,
            invalidity_date: None,
        }],
        key_identifier_method: KeyIdMethod::Sha256,
    };
    let tls = config::Tls {
        certificate: write("gw.crt", ours.pem()),
        key: write("gw.key", own.serialize_pem()),
        lax_key_permissions: true,
        roots: vec![write("ca.crt", trusted.pem())],
        crls: vec![write(
            "ca.crl",
            list.signed_by(trusted).unwrap().pem().unwrap(),
        )],
        posh: None,
    };
    let sip = config::Sip {
        udp: Vec::new(),
        tcp: Vec::new(),
        tls: Vec::new(),
        client_certificate: config::ClientCertificate::Optional,
        unnamed: None,
        domains: Vec::new(),
        credentials: Vec::new(),
        registrations: Vec::new(),
        page_limit: 1300,
    };
    let settings = TlsSettings::load(&tls, &sip).unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    settings.verifier
}

#[test]
fn a_certificate_names_the_domains_that_rfc_9525_lets_it_name() {
    let issuer = authority("lab");
    let names = vec![
        dns("Jabber.Test"),
        dns("*.rooms.test"),
        other(XMPP_ADDR_OID, "addr.test"),
        other(XMPP_ADDR_OID, "romeo@users.test"),
        other(DNS_SRV_OID, "_xmpp-server.srv.test"),
        other(DNS_SRV_OID, "_xmpp-client.clients.test"),
        other([1, 3, 6, 1, 5, 5, 7, 8, 4], "elsewhere.test"),
        SanType::URI(Ia5String::try_from("xmpp:uri.test").unwrap()),
    ];
    let found = xmpp_names(&leaf(&issuer, names, |params| {
        params
            .distinguished_name
            .push(DnType::CommonName, "cn.test");
    }));
    assert_eq!(
        found,
        ["jabber.test", "*.rooms.test", "addr.test", "srv.test"]
    );
    let only_service = leaf(
        &issuer,
        vec![other(DNS_SRV_OID, "_xmpp-server.srv.test")],
        |_| {},
    );
    assert_eq!(
        judge_xmpp(&[only_service], &verifier(&issuer)).unwrap(),
        ["srv.test"],
        "a chain counts whatever kinds of names it has"
    );
}

#[test]
fn the_server_of_clients_is_named_for_them_and_is_a_server() {
    let issuer = authority("lab");
    let named = || {
        vec![
            dns("jabber.test"),
            other(XMPP_ADDR_OID, "addr.test"),
            other(DNS_SRV_OID, "_xmpp-server.srv.test"),
            other(DNS_SRV_OID, "_xmpp-client.clients.test"),
        ]
    };
    let trusts = verifier(&issuer);
    let found = judge_xmpp_for_clients(&[leaf(&issuer, named(), |_| {})], &trusts);
    assert_eq!(found.unwrap(), ["jabber.test", "addr.test", "clients.test"]);
    let of_client = leaf(&issuer, named(), |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    });
    let found = judge_xmpp_for_clients(std::slice::from_ref(&of_client), &trusts);
    assert_eq!(found, Err(CertificateFault::WrongUse));
    assert_eq!(
        judge_xmpp(&[of_client], &trusts).map(|names| names.len()),
        Ok(3)
    );
}

/// An authority for `corp.test` that names other domains where its bound does not reach.
#[test]
fn of_an_authority_that_is_bound_only_dns_names_count() {
    let bound = |name: &str| {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.name_constraints = Some(NameConstraints {
            permitted_subtrees: vec![GeneralSubtree::DnsName("corp.test".to_owned())],
            excluded_subtrees: Vec::new(),
        });
        params
    };
    let names = || {
        vec![
            dns("xmpp.corp.test"),
            other(XMPP_ADDR_OID, "bank.test"),
            other(DNS_SRV_OID, "_xmpp-server.bank.test"),
        ]
    };
    let root = authority("lab");
    let key = KeyPair::generate().unwrap();
    let between = CertifiedIssuer::signed_by(bound("between"), key, &root).unwrap();
    let chain = [leaf(&between, names(), |_| {}), between.der().clone()];
    assert_eq!(
        judge_xmpp(&chain, &verifier(&root)),
        Ok(vec!["xmpp.corp.test".to_owned()])
    );
    let anchor =
        CertifiedIssuer::self_signed(bound("anchor"), KeyPair::generate().unwrap()).unwrap();
    let chain = [leaf(&anchor, names(), |_| {})];
    assert_eq!(
        judge_xmpp(&chain, &verifier(&anchor)),
        Ok(vec!["xmpp.corp.test".to_owned()])
    );
    let elsewhere = [leaf(&anchor, vec![dns("bank.test")], |_| {})];
    assert!(judge_xmpp(&elsewhere, &verifier(&anchor)).is_err());
}

#[test]
fn a_wildcard_is_the_whole_left_most_label() {
    let rows = [
        ("jabber.test", "jabber.test", true),
        ("Jabber.test", "jabber.TEST.", true),
        ("*.jabber.test", "im.jabber.test", true),
        ("*.jabber.test", "jabber.test", false),
        ("*.jabber.test", "a.im.jabber.test", false),
        ("i*.jabber.test", "im.jabber.test", false),
        ("xn--bcher-kva.test", "bücher.test", true),
        ("*", "test", false),
    ];
    for (name, domain, expected) in rows {
        assert_eq!(
            is_for(&[name.to_owned()], domain),
            expected,
            "{name} {domain}"
        );
    }
}

#[test]
fn each_fault_is_told_in_words_that_say_what_to_do() {
    let (issuer, stranger) = (authority("lab"), authority("Nobody knows"));
    let verifier = verifier(&issuer);
    let judged = |issuer, change: Change| {
        let judged = judge_xmpp(&[leaf(issuer, vec![dns("jabber.test")], change)], &verifier);
        judged.map_or_else(
            |fault| fault.to_string(),
            |names| {
                assert_eq!(names, ["jabber.test"]);
                String::new()
            },
        )
    };
    let rows: [(&CertifiedIssuer<'_, KeyPair>, Change, &[&str]); 9] = [
        (&issuer, |_| {}, &[]),
        // A certificate for one side of TLS only: servers show theirs as clients, too.
        (
            &issuer,
            |params| {
                params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
            },
            &[],
        ),
        (
            &issuer,
            |params| {
                params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
            },
            &[],
        ),
        (
            &issuer,
            |params| params.not_after = date_time_ymd(2021, 3, 4),
            &["expired on 2021-03-04", "renewed"],
        ),
        (
            &issuer,
            |params| params.not_before = date_time_ymd(2048, 5, 6),
            &[
                "not valid before 2048-05-06",
                "set this machine's clock",
                "administrator has to",
            ],
        ),
        (
            &issuer,
            |params| {
                params.extended_key_usages = vec![ExtendedKeyUsagePurpose::EmailProtection];
            },
            &["may not be used for TLS"],
        ),
        (
            &issuer,
            |params| params.serial_number = Some(SerialNumber::from(REVOKED)),
            &["revoked by its authority"],
        ),
        (&stranger, |_| {}, &["CN=Nobody knows", "not in tls.roots"]),
        (
            &stranger,
            |params| params.serial_number = Some(SerialNumber::from(REVOKED)),
            &["not in tls.roots"],
        ),
    ];
    for (issuer, change, words) in rows {
        let said = judged(issuer, change);
        assert_eq!(said.is_empty(), words.is_empty(), "{words:?}: {said}");
        for word in words {
            assert!(said.contains(word), "{word}: {said}");
        }
    }
    assert_eq!(judge_xmpp(&[], &verifier), Err(CertificateFault::Missing));
    let junk = judge_xmpp(&[CertificateDer::from(vec![1, 2, 3])], &verifier);
    assert_eq!(junk, Err(CertificateFault::Malformed));
}

#[test]
fn texts_are_read_from_whatever_a_peer_puts_there() {
    for octets in [
        &[][..],
        &[0xa0],
        &[0xa0, 0x80],
        &[0xa0, 2, 0x0c, 9],
        &[0xa0, 3, 0x0c, 1, 0xff],
    ] {
        assert_eq!(text(octets), None, "{octets:?}");
    }
    assert_eq!(text(&[0xa0, 3, 0x0c, 1, b'x']), Some("x"));
    assert_eq!(text(&[0x16, 1, b'x']), Some("x"));
    // Nesting ends where the octets do.
    let deep: Vec<u8> = [0xa0, 0x80].repeat(50_000);
    assert_eq!(text(&deep), None);
}
