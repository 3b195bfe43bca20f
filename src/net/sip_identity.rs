//! Whom a certificate is for, as SIP has it (RFC 5922 §7).

use std::fmt;
use std::net::IpAddr;

use rustls::pki_types::CertificateDer;
use stox_sip::ua::trust::{domain_identities, names_host};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// The subject alternative names of a certificate.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Identity {
    /// The dNSName and URI entries as they stand there, scheme and all.
    names: Vec<String>,
    addresses: Vec<IpAddr>,
}

impl Identity {
    /// Reads them; a certificate that is not well-formed has none.
    #[must_use]
    pub fn read(certificate: &CertificateDer<'_>) -> Self {
        let parsed = X509Certificate::from_der(certificate);
        parsed.map_or_else(
            |_| Self::default(),
            |(_, certificate)| Self::of(&certificate),
        )
    }

    /// The same of a certificate that is parsed.
    #[must_use]
    pub fn of(certificate: &X509Certificate<'_>) -> Self {
        let mut identity = Self::default();
        if let Ok(Some(names)) = certificate.subject_alternative_name() {
            for name in &names.value.general_names {
                identity.add(name);
            }
        }
        identity
    }

    /// One host name and nothing else.
    #[must_use]
    pub fn named(name: String) -> Self {
        Self {
            names: vec![name],
            addresses: Vec::new(),
        }
    }

    fn add(&mut self, name: &GeneralName<'_>) {
        match name {
            GeneralName::DNSName(name) => self.names.push((*name).to_owned()),
            GeneralName::URI(uri) => self.names.push((*uri).to_owned()),
            GeneralName::IPAddress(octets) => self.addresses.extend(address(octets)),
            _ => {}
        }
    }

    /// The dNSName and URI entries, which [`stox_sip::transport::Source`] wants.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Those that count (RFC 5922 §7.1): the hosts of SIP URIs, or without any the host names that are no wildcards.
    #[must_use]
    pub fn domains(&self) -> Vec<String> {
        domain_identities(&self.names)
            .into_iter()
            .map(str::to_lowercase)
            .collect()
    }

    /// Whether it is the certificate of this host or domain, or of this address.
    #[must_use]
    pub fn is_for(&self, name: &str) -> bool {
        let ascii = idna::domain_to_ascii(name).unwrap_or_else(|_| name.to_owned());
        let bare = ascii.trim_start_matches('[').trim_end_matches(']');
        match bare.parse::<IpAddr>() {
            Ok(address) => self.addresses.contains(&address.to_canonical()),
            Err(_) => names_host(&self.names, bare),
        }
    }

    /// Whether it is the certificate of one of these.
    ///
    /// # Errors
    /// It is not; for whom it is instead, and what to set, for the administrator.
    pub fn check<'a>(&self, wanted: impl Iterator<Item = &'a str>) -> Result<(), String> {
        let wanted: Vec<&str> = wanted.collect();
        if wanted.iter().any(|name| self.is_for(name)) {
            return Ok(());
        }
        Err(format!(
            "its certificate is for {self}, not for {} (wildcards do not count); if it is the right server, set \
             certificate_names of its [[sip.domain]] to the name in the certificate",
            wanted.join(" or ")
        ))
    }
}

/// All names, as they stand there.
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

fn address(octets: &[u8]) -> Option<IpAddr> {
    <[u8; 4]>::try_from(octets)
        .map(IpAddr::from)
        .or_else(|_| <[u8; 16]>::try_from(octets).map(IpAddr::from))
        .ok()
        .map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, SanType};

    use super::*;

    fn identity(names: &[&str]) -> Identity {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.subject_alt_names = names
            .iter()
            .map(|name| match name.parse::<IpAddr>() {
                Ok(address) => SanType::IpAddress(address),
                Err(_) if name.contains(':') => SanType::URI((*name).try_into().unwrap()),
                Err(_) => SanType::DnsName((*name).try_into().unwrap()),
            })
            .collect();
        let key = KeyPair::generate().unwrap();
        Identity::read(params.self_signed(&key).unwrap().der())
    }

    #[test]
    fn a_certificate_is_for_whom_rfc_5922_says() {
        let rows: [(&[&str], &str, bool); 16] = [
            (&["ocs.test"], "ocs.test", true),
            (&["OCS.test"], "ocs.Test.", true),
            (&["sip:ocs.test"], "ocs.test", true),
            (&["SIP:OCS.test"], "ocs.test", true),
            (&["sip:ocs.test", "edge.ocs.test"], "ocs.test", true),
            // Host names do not count beside a SIP URI.
            (&["sip:ocs.test", "edge.ocs.test"], "edge.ocs.test", false),
            (&["sip:other.test", "ocs.test"], "ocs.test", false),
            // A URI of another scheme, or of a user, is no identity of a domain, and takes nothing away.
            (&["xmpp:ocs.test", "ocs.test"], "ocs.test", true),
            (&["sips:ocs.test"], "ocs.test", false),
            (&["sip:bob@ocs.test"], "ocs.test", false),
            (&["sip:bob@ocs.test", "ocs.test"], "ocs.test", true),
            (&["*.ocs.test"], "edge.ocs.test", false),
            (&["*.ocs.test"], "*.ocs.test", false),
            (&["192.0.2.7", "ocs.test"], "192.0.2.7", true),
            (&["2001:db8::7"], "[2001:db8::7]", true),
            (&["192.0.2.7"], "192.0.2.8", false),
        ];
        for (names, wanted, expected) in rows {
            assert_eq!(
                identity(names).is_for(wanted),
                expected,
                "{names:?} {wanted}"
            );
        }
    }

    #[test]
    fn one_of_the_wanted_names_will_do_and_else_all_are_said() {
        let found = identity(&["edge.ocs.test", "*.ocs.test"]);
        assert_eq!(
            found.check(["ocs.test", "edge.ocs.test"].into_iter()),
            Ok(())
        );
        let why = found.check(["ocs.test", "sip.ocs.test"].into_iter());
        let why = why.unwrap_err();
        assert!(
            why.contains("is for edge.ocs.test, *.ocs.test, not for ocs.test or sip.ocs.test"),
            "{why}"
        );
    }

    #[test]
    fn what_is_no_certificate_is_for_nobody() {
        let found = Identity::read(&CertificateDer::from(vec![0x30, 0x03, 1, 2, 3]));
        assert_eq!(found.to_string(), "no name");
        assert!(!found.is_for("ocs.test"));
    }
}
