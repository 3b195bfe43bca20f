//! DANE: a server's certificate, held to the TLSA records of its host, which DNSSEC protects (RFC 6698, RFC 7671, RFC 7673,
//! RFC 7712).
//!
//! Usages 2 (DANE-TA) and 3 (DANE-EE) count. Usages 0 and 1, which only narrow down what PKIX takes, are passed over as if
//! they were not there (RFC 7672 §3.1.3), and so are selectors, matching types and digests that nobody can read.

use rustls::pki_types::CertificateDer;
use sha2::{Digest, Sha256, Sha512};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::dns::{Dns, DnsError};
use super::peer_certificate::{CertificateFault, is_for, xmpp_names};
use super::tls::Verifier;

/// Records of one name that are looked at.
const MAX_RECORDS: usize = 64;
/// Certificates of one chain that are held to the records.
const MAX_CHAIN: usize = 16;

/// One TLSA record (RFC 6698 §2.1), as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tlsa {
    /// Certificate usage.
    pub usage: u8,
    /// What of the certificate is matched.
    pub selector: u8,
    /// How it is matched.
    pub matching: u8,
    /// The certificate association data.
    pub data: Vec<u8>,
}

/// What the records say of a chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing: none of them is of a kind that counts.
    Silent,
    /// The chain is the server's.
    Proved,
    /// It is not, for this reason.
    Refused(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Usage {
    TrustAnchor,
    EndEntity,
}

impl Tlsa {
    /// How the record counts; `None` where it does not.
    fn usage(&self) -> Option<Usage> {
        let length_fits = match self.matching {
            0 => !self.data.is_empty(),
            1 => self.data.len() == 32,
            2 => self.data.len() == 64,
            _ => false,
        };
        match self.usage {
            2 if length_fits && self.selector <= 1 => Some(Usage::TrustAnchor),
            3 if length_fits && self.selector <= 1 => Some(Usage::EndEntity),
            _ => None,
        }
    }

    fn matches(&self, certificate: &CertificateDer<'_>) -> bool {
        let selected = match self.selector {
            0 => Some(certificate.as_ref()),
            _ => public_key(certificate),
        };
        let Some(selected) = selected else {
            return false;
        };
        match self.matching {
            0 => self.data == selected,
            1 => self.data == Sha256::digest(selected).as_slice(),
            _ => self.data == Sha512::digest(selected).as_slice(),
        }
    }

    /// The authority that the record means: one that the server has sent, or the record itself (RFC 7671 §5.2).
    fn anchor<'a>(&'a self, chain: &'a [CertificateDer<'_>]) -> Option<CertificateDer<'a>> {
        let sent = chain
            .iter()
            .skip(1)
            .take(MAX_CHAIN)
            .find(|certificate| self.matches(certificate));
        match sent {
            Some(certificate) => Some(CertificateDer::from(certificate.as_ref())),
            None if self.selector == 0 && self.matching == 0 => {
                Some(CertificateDer::from(self.data.as_slice()))
            }
            None => None,
        }
    }
}

/// The DER of the SubjectPublicKeyInfo.
fn public_key<'a>(certificate: &'a CertificateDer<'_>) -> Option<&'a [u8]> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    Some(certificate.tbs_certificate.subject_pki.raw)
}

/// Holds a chain to the records. `names`: those that the certificate may be for, where an authority is named (RFC 7673
/// §4.2); where the certificate itself is, neither its names nor its dates count (RFC 7671 §5.1).
#[must_use]
pub fn judge(records: &[Tlsa], chain: &[CertificateDer<'_>], names: &[&str]) -> Verdict {
    let usable = || {
        let records = records.iter().take(MAX_RECORDS);
        records.filter_map(|record| record.usage().map(|usage| (usage, record)))
    };
    if usable().next().is_none() {
        return Verdict::Silent;
    }
    let Some(leaf) = chain.first() else {
        return Verdict::Refused(CertificateFault::Missing.to_string());
    };
    let mut because = None;
    for (usage, record) in usable() {
        let proved = match usage {
            Usage::EndEntity => record.matches(leaf),
            Usage::TrustAnchor => match record.anchor(chain) {
                None => false,
                Some(anchor) => match leads_to(anchor, chain, names) {
                    Ok(()) => true,
                    Err(why) => {
                        because = Some(why);
                        false
                    }
                },
            },
        };
        if proved {
            return Verdict::Proved;
        }
    }
    Verdict::Refused(because.unwrap_or_else(|| "none of them matches it".to_owned()))
}

/// Whether the chain is valid by this authority alone, and for one of the names.
fn leads_to(
    anchor: CertificateDer<'_>,
    chain: &[CertificateDer<'_>],
    names: &[&str],
) -> Result<(), String> {
    let verifier = Verifier::of_anchor(anchor)
        .map_err(|_| "the authority in a TLSA record cannot be read".to_owned())?;
    verifier.chain(chain).map_err(|fault| fault.to_string())?;
    let shown = chain.first().map(xmpp_names).unwrap_or_default();
    if names.iter().any(|name| is_for(&shown, name)) {
        Ok(())
    } else {
        Err(format!(
            "one of them names its authority, and it is for {}, not for {}",
            match shown.as_slice() {
                [] => "no domain".to_owned(),
                names => names.join(", "),
            },
            names.join(" or ")
        ))
    }
}

/// A server whose certificate is held to TLSA records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pinned {
    /// The server's host, as the SRV record names it.
    host: String,
    /// Where the records are, such as `_5269._tcp.xmpp.example.org`.
    at: String,
    records: Vec<Tlsa>,
}

impl Pinned {
    /// Asks for the records of a host that DNSSEC vouches for. `None`: there are none that count, and the certificate is
    /// as good as PKIX finds it.
    ///
    /// # Errors
    /// DNS does not say whether there are any; whoever goes on without them does what an attacker wants (RFC 7672 §2.1).
    pub async fn find(dns: &Dns, host: &str, port: u16) -> Result<Option<Self>, DnsError> {
        let at = format!("_{port}._tcp.{host}");
        let found = match dns.tlsa(&at).await {
            Ok(found) if found.secure => found.records,
            Ok(_) | Err(DnsError::NotFound) => return Ok(None),
            Err(failed) => return Err(failed),
        };
        Ok(Self::of(host, at, found))
    }

    fn of(host: &str, at: String, records: Vec<Tlsa>) -> Option<Self> {
        let counts = records.iter().any(|record| record.usage().is_some());
        counts.then(|| Self {
            host: host.to_owned(),
            at,
            records,
        })
    }

    /// What the records say of the chain that the server has shown for `domain`, whatever PKIX finds: nothing of one that
    /// a list of tls.crls has revoked.
    #[must_use]
    pub fn judge(
        &self,
        (chain, verifier): (&[CertificateDer<'_>], &Verifier),
        domain: &str,
    ) -> Verdict {
        if verifier.chain(chain) == Err(CertificateFault::Revoked) {
            return Verdict::Silent;
        }
        match judge(&self.records, chain, &[domain, &self.host]) {
            Verdict::Refused(why) => Verdict::Refused(format!(
                "its administrator has published TLSA records at {} (DANE), and the certificate does not agree with \
                 them: {why}; the records or the certificate have to be put right there, or somebody is in between, \
                 and nothing else proves it while dns.dane is true",
                self.at
            )),
            verdict => verdict,
        }
    }
}

#[cfg(test)]
mod tests;
