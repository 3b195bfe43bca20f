//! Certificates of XMPP servers and the TLSA records of their hosts (DANE), of those that we dial and of those that dial us.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use stox_core::failure::Local;
use stox_xmpp::stream::{
    CertificateRule, ExternalRule, OutboundSettings, PartnerRule, TlsInfo, TlsRule,
};
use tokio::time::timeout;

use super::Shared;
use crate::entropy::OsEntropy;
use crate::net::dane::{Pinned, Verdict};
use crate::net::lookup;

/// All questions to DNS about one certificate that was shown on a stream to us.
const TIME: Duration = Duration::from_secs(10);

/// Whoever publishes TLSA records has TLS, and a certificate that agrees with them (RFC 7673 §4.1).
pub(super) fn settings(settings: &OutboundSettings) -> OutboundSettings {
    OutboundSettings {
        rule: PartnerRule {
            tls: TlsRule::Required,
            certificate: CertificateRule::ValidForPartner,
            ..settings.rule
        },
        ..settings.clone()
    }
}

/// What the certificate is worth where TLSA records have something to say of it.
pub(super) fn held_to(verdict: Verdict, mut info: TlsInfo, domain: &str) -> TlsInfo {
    match verdict {
        Verdict::Silent => info,
        Verdict::Proved => {
            info.valid_names.push(domain.to_owned());
            TlsInfo {
                distrust: None,
                ..info
            }
        }
        Verdict::Refused(why) => TlsInfo {
            valid_names: Vec::new(),
            distrust: Some(why),
        },
    }
}

/// What the records of a domain's servers say of the chain that somebody at `peer` has shown on a stream to us as that
/// domain (RFC 7712). Dialback needs none of it: whoever is asked about the key is held to the records by himself.
pub(super) async fn judge(
    shared: &Shared,
    chain: &[CertificateDer<'static>],
    (domain, rule): (&str, &PartnerRule),
    peer: IpAddr,
) -> Verdict {
    let matters = rule.external != ExternalRule::Off || rule.needs_valid_certificate();
    let dns_leads_there = shared
        .rules
        .partner(domain)
        .is_some_and(|partner| partner.address.is_none());
    if !shared.dns.validates() || !matters || !dns_leads_there || chain.is_empty() {
        return Verdict::Silent;
    }
    let Some(_place) = shared.verifying.admit(peer) else {
        return unknown(
            "as many domains are asked about already as one host may claim at one time",
        );
    };
    let asked = timeout(TIME, ask(shared, chain, domain));
    asked
        .await
        .unwrap_or_else(|_| unknown("DNS does not answer in time"))
}

/// Every server of the domain may have dialled. One that publishes nothing leaves the certificate to the authorities.
async fn ask(shared: &Shared, chain: &[CertificateDer<'static>], domain: &str) -> Verdict {
    let port = (shared.rules.default_port, true);
    let mut entropy = OsEntropy::default();
    let places = match lookup::xmpp(&shared.dns, domain, port, &mut entropy).await {
        Ok(places) => places,
        Err(Local::DomainNotFound) => return Verdict::Silent,
        Err(_) => return unknown("DNS does not say which servers it has"),
    };
    let hosts: BTreeSet<(Option<String>, u16)> = places
        .into_iter()
        .map(|place| (place.secure_host, place.address.port()))
        .collect();
    let verifier = &shared.tls.get().verifier;
    let mut refused = None;
    let mut open = false;
    for (host, port) in hosts {
        let found = match &host {
            Some(host) => Pinned::find(&shared.dns, host, port).await,
            None => Ok(None),
        };
        match found.map(|found| found.map(|pinned| pinned.judge((chain, verifier), domain))) {
            Ok(Some(Verdict::Proved)) => return Verdict::Proved,
            Ok(Some(Verdict::Refused(why))) => refused = Some(why),
            Ok(Some(Verdict::Silent) | None) => open = true,
            Err(why) => {
                refused = Some(format!(
                    "DNS does not say whether it has TLSA records: {why}"
                ))
            }
        }
    }
    match refused {
        Some(why) if !open => Verdict::Refused(why),
        _ => Verdict::Silent,
    }
}

fn unknown(why: &str) -> Verdict {
    Verdict::Refused(format!(
        "whether TLSA records prove it is not known: {why}; check its name servers, and that dns.servers pass DNSSEC records on"
    ))
}
