//! What a peer's certificate is worth: which XMPP domains it names (RFC 6120 §13.7.1.2, RFC 9525), and what is wrong with
//! one that does not count, in words for the administrator.

use std::fmt;
use std::time::{Duration, UNIX_EPOCH};

use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::{CertificateError, Error};
use x509_parser::asn1_rs::{Any, Class, Tag};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use super::tls::{Verifier, dns_names};

/// `id-on-xmppAddr` (RFC 6120 §13.7.1.4).
const XMPP_ADDR: &str = "1.3.6.1.5.5.7.8.5";
/// `id-on-dnsSRV` (RFC 4985 §2).
const DNS_SRV: &str = "1.3.6.1.5.5.7.8.7";
/// The services that the SRVName of a server is of: for other servers, and for clients.
const BETWEEN_SERVERS: &str = "_xmpp-server.";
const FOR_CLIENTS: &str = "_xmpp-client.";

/// Why a certificate does not count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CertificateFault {
    /// The peer has shown none.
    Missing,
    /// It cannot be read.
    Malformed,
    /// Its time is over.
    Expired {
        /// Since when, where that is known.
        on: Option<UnixTime>,
    },
    /// Its time has not come.
    NotYetValid {
        /// When it comes, where that is known.
        before: Option<UnixTime>,
    },
    /// Nobody whom we trust has issued it.
    UnknownIssuer {
        /// Who has, where that is known.
        issuer: Option<String>,
    },
    /// It is for something else than TLS.
    WrongUse,
    /// Its authority has taken it back.
    Revoked,
    /// A signature of the chain is wrong, or of a kind that we do not take.
    Signature,
    /// Anything else, in the words of the library.
    Other(String),
}

impl CertificateFault {
    /// What the library's error says of the certificate; `None` where it is about something else.
    #[must_use]
    pub fn of(error: &Error) -> Option<Self> {
        let Error::InvalidCertificate(error) = error else {
            return matches!(error, Error::NoCertificatesPresented).then_some(Self::Missing);
        };
        #[allow(deprecated, reason = "the library still says it")]
        let fault = match error {
            CertificateError::BadEncoding => Self::Malformed,
            CertificateError::Expired => Self::Expired { on: None },
            CertificateError::ExpiredContext { not_after, .. } => Self::Expired {
                on: Some(*not_after),
            },
            CertificateError::NotValidYet => Self::NotYetValid { before: None },
            CertificateError::NotValidYetContext { not_before, .. } => Self::NotYetValid {
                before: Some(*not_before),
            },
            CertificateError::UnknownIssuer => Self::UnknownIssuer { issuer: None },
            CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
                Self::WrongUse
            }
            CertificateError::Revoked => Self::Revoked,
            CertificateError::BadSignature
            | CertificateError::UnsupportedSignatureAlgorithm
            | CertificateError::UnsupportedSignatureAlgorithmContext { .. }
            | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
                Self::Signature
            }
            other => Self::Other(Error::from(other.clone()).to_string()),
        };
        Some(fault)
    }

    /// The same, with what the chain tells besides.
    #[must_use]
    pub fn of_chain(error: &Error, chain: &[CertificateDer<'_>]) -> Self {
        match Self::of(error) {
            Some(Self::UnknownIssuer { .. }) => Self::UnknownIssuer {
                issuer: chain.last().and_then(issuer),
            },
            Some(fault) => fault,
            None => Self::Other(error.to_string()),
        }
    }
}

/// What is wrong and what to do; the subject is `it`, the certificate.
impl fmt::Display for CertificateFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("no certificate was shown"),
            Self::Malformed => {
                f.write_str("it cannot be read; its administrator has to have it issued anew")
            }
            Self::Expired { on } => {
                let date = on.map_or_else(String::new, |time| format!(" on {}", day(time)));
                write!(
                    f,
                    "it expired{date}; its administrator has to have it renewed"
                )
            }
            Self::NotYetValid { before } => {
                let date = before.map_or_else(
                    || " yet".to_owned(),
                    |time| format!(" before {}", day(time)),
                );
                write!(
                    f,
                    "it is not valid{date}; if that is in the past, set this machine's clock, otherwise its administrator has \
                     to have one issued that is valid now"
                )
            }
            Self::UnknownIssuer { issuer } => {
                let by = issuer
                    .as_ref()
                    .map_or_else(String::new, |issuer| format!(" ({issuer})"));
                write!(
                    f,
                    "its issuer{by} is not in tls.roots, or the peer does not send the certificates between; add the \
                     authority to tls.roots if you trust it"
                )
            }
            Self::WrongUse => f.write_str(
                "it may not be used for TLS (its extended key usage has neither serverAuth nor clientAuth as needed); its \
                 administrator has to have it issued for that",
            ),
            Self::Revoked => f.write_str(
                "it was revoked by its authority; its administrator has to have a new one issued",
            ),
            Self::Signature => f.write_str(
                "a signature in its chain is wrong, or of a kind too old to be trusted; its administrator has to have it \
                 issued anew, or tls.roots has another authority of the same name",
            ),
            Self::Other(why) => f.write_str(why),
        }
    }
}

/// The XMPP domains that a chain shown on a stream proves; a leading `*.` stands for one label. Servers often show a
/// certificate for servers only, or for clients only, so either use will do.
///
/// # Errors
/// Why the chain proves nothing.
pub fn judge_xmpp(
    chain: &[CertificateDer<'_>],
    verifier: &Verifier,
) -> Result<Vec<String>, CertificateFault> {
    verifier.chain(chain)?;
    Ok(names_of(chain, verifier, BETWEEN_SERVERS))
}

/// The XMPP domains whose clients a chain may serve: it must be for servers, and SRVName counts for clients.
///
/// # Errors
/// Why the chain proves nothing.
pub fn judge_xmpp_for_clients(
    chain: &[CertificateDer<'_>],
    verifier: &Verifier,
) -> Result<Vec<String>, CertificateFault> {
    verifier.chain_of_server(chain)?;
    Ok(names_of(chain, verifier, FOR_CLIENTS))
}

/// Of an authority that may issue for some names only, that bound is checked for dNSName, so that no other counts.
fn names_of(chain: &[CertificateDer<'_>], verifier: &Verifier, service: &str) -> Vec<String> {
    match chain.first() {
        None => Vec::new(),
        Some(leaf) if verifier.is_bound(chain) => dns_names(leaf),
        Some(leaf) => names(leaf, service),
    }
}

/// The XMPP domains that a certificate names between servers: dNSName, with `*.` as the whole left-most label, SRVName of XMPP
/// servers, and xmppAddr without user. The common name does not count.
#[must_use]
pub fn xmpp_names(certificate: &CertificateDer<'_>) -> Vec<String> {
    names(certificate, BETWEEN_SERVERS)
}

fn names(certificate: &CertificateDer<'_>, service: &str) -> Vec<String> {
    let Ok((_, certificate)) = X509Certificate::from_der(certificate) else {
        return Vec::new();
    };
    let Ok(Some(names)) = certificate.subject_alternative_name() else {
        return Vec::new();
    };
    let names = names.value.general_names.iter();
    names.filter_map(|name| xmpp_name(name, service)).collect()
}

/// Whether one of the names of a certificate is for the domain (RFC 9525 §6.3).
#[must_use]
pub fn is_for(names: &[String], domain: &str) -> bool {
    let ascii = |name: &str| {
        let name = name.trim_end_matches('.');
        idna::domain_to_ascii(name).unwrap_or_else(|_| name.to_lowercase())
    };
    let domain = ascii(domain);
    let parent = domain.split_once('.').map(|(_, parent)| parent);
    names.iter().any(|name| match name.strip_prefix("*.") {
        Some(name) => parent.is_some_and(|parent| parent == ascii(name)),
        None => ascii(name) == domain,
    })
}

fn xmpp_name(name: &GeneralName<'_>, service: &str) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some(name.to_lowercase()),
        GeneralName::OtherName(oid, value) => {
            let value = text(value)?.to_lowercase();
            match oid.to_id_string().as_str() {
                XMPP_ADDR if !value.contains(['@', '/', '*']) => Some(value),
                DNS_SRV => value
                    .strip_prefix(service)
                    .filter(|domain| !domain.contains('*'))
                    .map(str::to_owned),
                _ => None,
            }
        }
        _ => None,
    }
}

/// The string in an otherName, with or without its explicit tag.
fn text(value: &[u8]) -> Option<&str> {
    let (_, any) = Any::from_der(value).ok()?;
    if any.class() == Class::ContextSpecific {
        let (_, inner) = Any::from_der(any.data).ok()?;
        string(&inner)
    } else {
        string(&any)
    }
}

fn string<'a>(any: &Any<'a>) -> Option<&'a str> {
    let is_text = any.class() == Class::Universal
        && [Tag::Utf8String, Tag::Ia5String, Tag::PrintableString].contains(&any.tag());
    is_text.then(|| std::str::from_utf8(any.data).ok())?
}

fn issuer(certificate: &CertificateDer<'_>) -> Option<String> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let name: String = certificate.issuer().to_string().chars().take(100).collect();
    Some(name.replace(char::is_control, " "))
}

/// `2026-01-31`.
fn day(time: UnixTime) -> String {
    // Beyond what the clock's type can hold there is no date to write.
    let Some(time) = UNIX_EPOCH.checked_add(Duration::from_secs(time.as_secs())) else {
        return "a day far off".to_owned();
    };
    let stamp = humantime::format_rfc3339_seconds(time).to_string();
    stamp.split('T').next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests;
