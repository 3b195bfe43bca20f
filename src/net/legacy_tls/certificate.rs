//! Whom a certificate of an old system is for.

use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, X509Certificate, X509Error};

use crate::net::sip_identity;

/// The names of a certificate, and its use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Identity {
    names: sip_identity::Identity,
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
        let alternatives = certificate.subject_alternative_name().map_err(malformed)?;
        let names = match alternatives {
            Some(_) => sip_identity::Identity::of(&certificate),
            None => common_name(&certificate)
                .map(sip_identity::Identity::named)
                .unwrap_or_default(),
        };
        Ok(Self { names, for_tls })
    }

    /// Whether it may be used to prove who one is: no extended key usage, or one of TLS. Servers dial servers here, and
    /// show the only certificate that they have.
    pub(super) fn may_authenticate(&self) -> bool {
        self.for_tls
    }

    /// Whom it is for.
    pub(super) fn names(&self) -> &sip_identity::Identity {
        &self.names
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
        assert!(identity(|_| {}).names().is_for("edge.ocs.test"));
        let with_names = identity(|params| params.subject_alt_names = vec![dns("sip.ocs.test")]);
        assert!(with_names.names().is_for("sip.ocs.test."));
        assert!(!with_names.names().is_for("edge.ocs.test"));
        let with_address = identity(|params| {
            params.subject_alt_names = vec![SanType::IpAddress([192, 0, 2, 7].into())];
        });
        assert!(with_address.names().is_for("192.0.2.7"));
        assert!(!with_address.names().is_for("192.0.2.8"));
        assert!(
            !with_address.names().is_for("edge.ocs.test"),
            "an alternative name of any kind silences the common name"
        );
    }

    #[test]
    fn a_common_name_that_is_no_host_name_counts_nothing() {
        for name in ["Edge of OCS", "*.ocs.test", "192.0.2.7"] {
            let found = identity(|params| {
                params.distinguished_name.push(DnType::CommonName, name);
            });
            assert_eq!(found.names().to_string(), "no name", "{name}");
        }
    }

    #[test]
    fn wildcards_match_nothing() {
        let found = identity(|params| params.subject_alt_names = vec![dns("*.ocs.test")]);
        assert!(!found.names().is_for("sip.ocs.test"));
    }

    #[test]
    fn sip_uris_are_names() {
        let found = identity(|params| {
            params.subject_alt_names = vec![SanType::URI("sip:OCS.test".try_into().unwrap())];
        });
        assert!(found.names().is_for("ocs.test"));
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
