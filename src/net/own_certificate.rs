//! A look at our own certificate, before partners refuse it without saying why.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use stox_sip::dialect::Profile;
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::public_key::PublicKey;

use super::peer_certificate::{is_for, xmpp_names};
use super::sip_identity::Identity;
use super::tls::dns_names;
use crate::config::Config;

/// An expiry nearer than this is worth a word.
const SOON: Duration = Duration::from_secs(30 * 24 * 3600);

/// What is wrong with the certificate that the settings name, and with who can read our secrets, in words that say what to
/// do. Empty when nothing is, or when the file cannot be read, which loading it says better.
#[must_use]
pub fn findings(config: &Config) -> Vec<String> {
    let mut findings = judged(config);
    let is_told = |file: &&PathBuf| !config.tls.lax_key_permissions || **file != config.tls.key;
    let files = config.private_files.iter().filter(is_told);
    findings.extend(files.filter_map(|file| exposed(file)));
    findings
}

/// Whether every user of the machine can read a file.
pub(super) fn is_exposed(file: &Path) -> bool {
    std::fs::metadata(file).is_ok_and(|found| found.permissions().mode() & 0o004 != 0)
}

/// A file with a secret that every user of the machine can read.
fn exposed(file: &Path) -> Option<String> {
    is_exposed(file).then(|| {
        let file = file.display();
        format!("{file}: it holds a secret, and every user of this machine can read it: give it to the user that \
             the gateway runs as (chown) and chmod 600 {file}")
    })
}

fn judged(config: &Config) -> Vec<String> {
    let file = &config.tls.certificate;
    let Ok(certificate) = CertificateDer::from_pem_file(file) else {
        return Vec::new();
    };
    let domains = config.sip.domains.iter().map(|one| one.domain.as_str());
    let wants = Wants {
        host: &config.gateway.host,
        domains: domains
            .filter(|domain| !config.is_component(domain))
            .collect(),
        rsa: !config.sip.tls.is_empty() && may_need_rsa(config),
        now: SystemTime::now(),
    };
    judge(file, &certificate, &wants)
}

/// Whether a domain is, or may turn out to be, one whose Edge runs on a Windows that knows RSA only.
fn may_need_rsa(config: &Config) -> bool {
    let old = |profile| matches!(profile, None | Some(Profile::Ocs2007R2 | Profile::Lcs2005));
    config
        .sip
        .domains
        .iter()
        .any(|domain| old(domain.dialect.profile))
}

/// What a certificate is looked at for.
struct Wants<'a> {
    host: &'a str,
    /// Those that it speaks for on streams of its own.
    domains: Vec<&'a str>,
    rsa: bool,
    now: SystemTime,
}

fn judge(file: &Path, der: &CertificateDer<'_>, wants: &Wants<'_>) -> Vec<String> {
    let Ok((_, certificate)) = X509Certificate::from_der(der) else {
        return Vec::new();
    };
    [
        lifetime(&certificate, wants.now),
        server_usage(&certificate),
        client_usage(&certificate),
        names(der, wants.host),
        domains(der, &wants.domains),
        key(&certificate).filter(|_| wants.rsa),
    ]
    .into_iter()
    .flatten()
    .map(|words| format!("{}: the certificate {words}", file.display()))
    .collect()
}

fn lifetime(certificate: &X509Certificate<'_>, now: SystemTime) -> Option<String> {
    let seconds = |time: SystemTime| {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
    };
    let validity = certificate.validity();
    let (from, until) = (validity.not_before, validity.not_after);
    if until.timestamp() < seconds(now) {
        Some(format!(
            "expired on {until}: every partner refuses it; have it renewed"
        ))
    } else if from.timestamp() > seconds(now) {
        Some(format!(
            "is valid from {from} only: partners refuse it before; check the clock"
        ))
    } else if until.timestamp() < seconds(now + SOON) {
        Some(format!(
            "expires on {until}: have it renewed, put it there and send SIGHUP"
        ))
    } else {
        None
    }
}

fn server_usage(certificate: &X509Certificate<'_>) -> Option<String> {
    let usage = certificate.extended_key_usage().ok().flatten()?.value;
    let lacks = !usage.server_auth && !usage.any;
    lacks.then(|| {
        "is not for servers (its extended key usage lacks serverAuth): partners that connect to us will refuse it; have it \
         issued for serverAuth and clientAuth"
            .to_owned()
    })
}

fn client_usage(certificate: &X509Certificate<'_>) -> Option<String> {
    let usage = certificate.extended_key_usage().ok().flatten()?.value;
    let lacks = !usage.client_auth && !usage.any;
    lacks.then(|| {
        "is not for clients (its extended key usage lacks clientAuth): partners that we connect to, such as an Edge, will \
         refuse it; have it issued for serverAuth and clientAuth"
            .to_owned()
    })
}

/// SIP knows no wildcards (RFC 5922 §7.2), and no name outside the subject alternative names.
fn names(der: &CertificateDer<'_>, host: &str) -> Option<String> {
    let identity = Identity::read(der);
    if identity.is_for(host) {
        return None;
    }
    let host = idna::domain_to_ascii(host).unwrap_or_else(|_| host.to_owned());
    let below = |name: &String| {
        let parent = name.strip_prefix("*.");
        parent.is_some_and(|parent| host.split_once('.').is_some_and(|(_, rest)| rest == parent))
    };
    if dns_names(der).iter().any(below) {
        return Some(format!(
            "names {host} by a wildcard only, which SIP partners refuse; have it issued with {host} itself"
        ));
    }
    let known = dns_names(der);
    let instead = if known.is_empty() {
        "it has no subject alternative names".to_owned()
    } else {
        format!("it names {}", known.join(", "))
    };
    Some(format!(
        "does not name gateway.host, {host} ({instead}): partners that look for that name will refuse it; have it issued with \
         {host}, or change gateway.host"
    ))
}

fn domains(der: &CertificateDer<'_>, wanted: &[&str]) -> Option<String> {
    let names = xmpp_names(der);
    let missing: Vec<&str> = wanted
        .iter()
        .copied()
        .filter(|domain| !is_for(&names, domain))
        .collect();
    (!missing.is_empty()).then(|| {
        format!(
            "does not name {}: XMPP partners that want a valid certificate for the SIP domains that we speak for will refuse \
             us, others take dialback; have it issued with these names, too",
            missing.join(", ")
        )
    })
}

fn key(certificate: &X509Certificate<'_>) -> Option<String> {
    let rsa = matches!(certificate.public_key().parsed(), Ok(PublicKey::RSA(_)));
    (!rsa).then(|| {
        "has no RSA key: the Edge of OCS 2007 R2 or LCS 2005 may refuse it; have it issued with an RSA key, or set each \
         domain's dialect if none of them is that old"
            .to_owned()
    })
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, KeyPair, date_time_ymd};

    use super::*;

    fn made(
        names: &[&str],
        change: impl FnOnce(&mut CertificateParams),
    ) -> CertificateDer<'static> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.not_before = date_time_ymd(2025, 1, 1);
        params.not_after = date_time_ymd(2026, 1, 1);
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().clone()
    }

    /// What is said on a day of 2025, counted from 1.
    fn said(certificate: &CertificateDer<'_>, rsa: bool, day: u64) -> Vec<String> {
        let wants = Wants {
            host: "gw.example.org",
            domains: vec!["ocs.example"],
            rsa,
            // 2024-12-31 is the day 20088 since 1970.
            now: UNIX_EPOCH + Duration::from_secs((20_088 + day) * 24 * 3600),
        };
        judge(Path::new("gw.crt"), certificate, &wants)
    }

    const BOTH: [ExtendedKeyUsagePurpose; 2] = [
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];

    #[test]
    fn a_good_certificate_is_passed_over_in_silence() {
        for usages in [
            Vec::new(),
            BOTH.to_vec(),
            vec![ExtendedKeyUsagePurpose::Any],
        ] {
            let good = made(&["*.example", "gw.example.org"], |params| {
                params.extended_key_usages = usages;
            });
            assert_eq!(said(&good, false, 10), Vec::<String>::new());
        }
    }

    #[test]
    fn a_secret_that_everybody_can_read_is_named() {
        let name = format!("stoxgate-exposed-{}", std::process::id());
        let file = std::env::temp_dir().join(name);
        std::fs::write(&file, "secret").unwrap();
        let with = |mode| {
            let permissions = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(&file, permissions).unwrap();
            exposed(&file)
        };
        assert_eq!((with(0o600), with(0o640)), (None, None));
        let said = with(0o644).unwrap();
        assert!(said.contains("chmod 600"), "{said}");
        std::fs::remove_file(&file).unwrap();
        assert_eq!(exposed(&file), None);
    }

    #[test]
    fn one_without_names_is_said_to_be_so() {
        let said = said(&made(&[], |_| {}), false, 10);
        assert!(said[0].contains("(it has no subject alternative names)"));
        assert_eq!(said.len(), 2, "for the host, and for the domain");
    }

    #[test]
    fn each_fault_is_named_with_what_to_do() {
        let plain = |names: &[&str]| made(names, |_| {});
        let with = |usage: ExtendedKeyUsagePurpose| {
            made(&["gw.example.org", "ocs.example"], |params| {
                params.extended_key_usages = vec![usage]
            })
        };
        let good = plain(&["gw.example.org", "ocs.example"]);
        let rows = [
            (with(BOTH[1].clone()), false, 10, "lacks serverAuth"),
            (with(BOTH[0].clone()), false, 10, "lacks clientAuth"),
            (
                plain(&["*.example.org", "ocs.example"]),
                false,
                10,
                "by a wildcard only",
            ),
            (plain(&["ocs.example"]), false, 10, "(it names ocs.example)"),
            (
                plain(&["gw.example.org"]),
                false,
                10,
                "does not name ocs.example: XMPP partners",
            ),
            (good.clone(), true, 10, "has no RSA key"),
            (good.clone(), false, 340, "expires on"),
            (good.clone(), false, 367, "expired on"),
            (good, false, 0, "is valid from"),
        ];
        for (certificate, rsa, day, words) in rows {
            let found = said(&certificate, rsa, day);
            assert_eq!(found.len(), 1, "{words}: {found:?}");
            assert!(found[0].starts_with("gw.crt: the certificate "));
            assert!(found[0].contains(words), "{words}: {found:?}");
        }
    }
}
