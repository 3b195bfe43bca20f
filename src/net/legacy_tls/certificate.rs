//! Whom a certificate of an old system is for.

use std::fmt;
use std::net::IpAddr;

use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate, X509Error};

/// The names of a certificate, and its use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Identity {
    /// Lower case, without `sip:`.
    names: Vec<String>,
    addresses: Vec<IpAddr>,
    for_tls: bool,
}

impl Identity {
    /// Reads the subject alternative names (RFC 5922 §7.1).
    ///
    /// COMPAT(ocs2007): an Access Edge certificate may have no such extension at all; only then its common name is its name.
    /// Next to any alternative name the common name counts nothing.
    ///
    /// # Errors
    /// The certificate is not well-formed.
    pub(super) fn read(certificate: &CertificateDer<'_>) -> Result<Self, String> {
        let malformed = |_: X509Error| "its certificate is not well-formed".to_owned();
        let (_, certificate) =
            X509Certificate::from_der(certificate).map_err(|error| malformed(error.into()))?;
        let usage = certificate.extended_key_usage().map_err(malformed)?;
        let for_tls = usage.is_none_or(|usage| {
            usage.value.any || usage.value.server_auth || usage.value.client_auth
        });
        let alternatives = certificate
            .subject_alternative_name()
            .map_err(malformed)?
            .map(|extension| &extension.value.general_names);
        let mut identity = Self {
            names: Vec::new(),
            addresses: Vec::new(),
            for_tls,
        };
        match alternatives {
            Some(names) => names.iter().for_each(|name| identity.add(name)),
            None => identity.names.extend(common_name(&certificate)),
        }
        Ok(identity)
    }

    fn add(&mut self, name: &GeneralName<'_>) {
        match name {
            GeneralName::DNSName(name) => self.names.push(name.to_lowercase()),
            GeneralName::URI(uri) => {
                let uri = uri.to_lowercase();
                self.names
                    .push(uri.strip_prefix("sip:").unwrap_or(&uri).to_owned());
            }
            GeneralName::IPAddress(octets) => self.addresses.extend(address(octets)),
            _ => {}
        }
    }

    /// Whether it is the certificate of this host or domain. Wildcards match nothing (RFC 5922 §7.2).
    pub(super) fn is_for(&self, name: &str) -> bool {
        let ascii = idna::domain_to_ascii(name).unwrap_or_else(|_| name.to_owned());
        let bare = ascii.trim_start_matches('[').trim_end_matches(']');
        match bare.parse::<IpAddr>() {
            Ok(address) => self.addresses.contains(&address),
            Err(_) => self
                .names
                .iter()
                .any(|had| had.eq_ignore_ascii_case(bare.trim_end_matches('.'))),
        }
    }

    /// Whether it may be used to prove who one is: no extended key usage, or one of TLS. Servers dial servers here, and
    /// show the only certificate that they have.
    pub(super) fn may_authenticate(&self) -> bool {
        self.for_tls
    }

    /// The names that may stand for a domain.
    pub(super) fn names(&self) -> &[String] {
        &self.names
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let addresses = self.addresses.iter().map(ToString::to_string);
        let all: Vec<String> = self.names.iter().cloned().chain(addresses).collect();
        if all.is_empty() {
            f.write_str("no name")
        } else {
            f.write_str(&all.join(", "))
        }
    }
}

/// The only common name, when it is written as a host name.
fn common_name(certificate: &X509Certificate<'_>) -> Option<String> {
    let mut names = certificate.subject().iter_common_name();
    let (Some(only), None) = (names.next(), names.next()) else {
        return None;
    };
    crate::config::domain_name(only.as_str().ok()?).ok()
}

fn address(octets: &[u8]) -> Option<IpAddr> {
    <[u8; 4]>::try_from(octets)
        .map(IpAddr::from)
        .or_else(|_| <[u8; 16]>::try_from(octets).map(IpAddr::from))
        .ok()
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair, SanType};

    use super::*;

    fn identity(change: impl FnOnce(&mut CertificateParams)) -> Identity {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params
            .distinguished_name
            .push(DnType::CommonName, "Edge.OCS.test");
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        Identity::read(params.self_signed(&key).unwrap().der()).unwrap()
    }

    fn dns(name: &str) -> SanType {
        SanType::DnsName(name.try_into().unwrap())
    }

    #[test]
    fn the_common_name_counts_only_without_alternative_names() {
        assert!(identity(|_| {}).is_for("edge.ocs.test"));
        let with_names = identity(|params| params.subject_alt_names = vec![dns("sip.ocs.test")]);
        assert!(with_names.is_for("sip.ocs.test."));
        assert!(!with_names.is_for("edge.ocs.test"));
        let with_address = identity(|params| {
            params.subject_alt_names = vec![SanType::IpAddress([192, 0, 2, 7].into())];
        });
        assert!(with_address.is_for("192.0.2.7"));
        assert!(!with_address.is_for("192.0.2.8"));
        assert!(
            !with_address.is_for("edge.ocs.test"),
            "an alternative name of any kind silences the common name"
        );
    }

    #[test]
    fn a_common_name_that_is_no_host_name_counts_nothing() {
        for name in ["Edge of OCS", "*.ocs.test", "192.0.2.7"] {
            let found = identity(|params| {
                params.distinguished_name.push(DnType::CommonName, name);
            });
            assert_eq!(found.to_string(), "no name", "{name}");
        }
    }

    #[test]
    fn wildcards_match_nothing() {
        let found = identity(|params| params.subject_alt_names = vec![dns("*.ocs.test")]);
        assert!(!found.is_for("sip.ocs.test"));
    }

    #[test]
    fn sip_uris_are_names() {
        let found = identity(|params| {
            params.subject_alt_names = vec![SanType::URI("sip:OCS.test".try_into().unwrap())];
        });
        assert!(found.is_for("ocs.test"));
    }

    #[test]
    fn either_use_in_tls_will_do_and_no_other() {
        let with =
            |usage| identity(|params| params.extended_key_usages = vec![usage]).may_authenticate();
        assert!(identity(|_| {}).may_authenticate());
        assert!(with(ExtendedKeyUsagePurpose::ServerAuth));
        assert!(with(ExtendedKeyUsagePurpose::ClientAuth));
        assert!(!with(ExtendedKeyUsagePurpose::EmailProtection));
    }
}
