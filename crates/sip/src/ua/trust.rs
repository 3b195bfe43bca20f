//! Who may speak for which SIP domain (RFC 3261 §26.3, RFC 5922), and which XMPP domains we answer for.

use std::net::IpAddr;

use crate::dialect::Rule;
use crate::transport::Source;
pub(crate) use crate::uri::{is_within, same_host};

/// A block of addresses: an address and the number of its leading bits that count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AddressBlock {
    /// Any address of the block.
    pub address: IpAddr,
    /// Leading bits that must agree, 0 to 32 or 0 to 128.
    pub prefix: u8,
}

impl AddressBlock {
    /// One address alone.
    #[must_use]
    pub const fn single(address: IpAddr) -> Self {
        Self {
            address,
            prefix: 128,
        }
    }

    /// Whether the address lies in the block. An IPv4 address that came in mapped into IPv6 counts as IPv4.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address.to_canonical(), address.to_canonical()) {
            (IpAddr::V4(ours), IpAddr::V4(theirs)) => {
                let keep = mask(u128::from(u32::MAX), 32, self.prefix);
                (u128::from(ours.to_bits()) ^ u128::from(theirs.to_bits())) & keep == 0
            }
            (IpAddr::V6(ours), IpAddr::V6(theirs)) => {
                let keep = mask(u128::MAX, 128, self.prefix);
                (ours.to_bits() ^ theirs.to_bits()) & keep == 0
            }
            _ => false,
        }
    }
}

/// The leading `prefix` bits of a word of `width` ones.
fn mask(ones: u128, width: u32, prefix: u8) -> u128 {
    let drop = width.saturating_sub(u32::from(prefix));
    ones & u128::MAX.checked_shl(drop).unwrap_or(0)
}

/// A SIP domain that we federate with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SipDomain {
    /// Its name.
    pub name: String,
    /// Where all its requests go, as a SIP URI. Without it RFC 3263 decides.
    pub next_hop: Option<String>,
    /// Who may speak for it on any transport, by network address, unless it needs a certificate.
    pub trusted_addresses: Vec<AddressBlock>,
    /// Names of which one must be in the peer's verified certificate to speak for it. Empty: the domain's own name.
    pub certificate_names: Vec<String>,
    /// Only a certificate speaks for it (mutual TLS), no address.
    pub needs_certificate: bool,
    /// What its servers assert of a sender is believed (`P-Asserted-Identity`, RFC 3325), as far as it is of this domain.
    pub asserts_identity: bool,
    /// What kind of server it is.
    pub dialect: Rule,
}

impl SipDomain {
    /// A domain that is found by RFC 3263 and proves itself by its own certificate.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            next_hop: None,
            trusted_addresses: Vec::new(),
            certificate_names: Vec::new(),
            needs_certificate: false,
            asserts_identity: false,
            dialect: Rule::default(),
        }
    }

    /// Where its requests go: domains with the same next hop share its pace.
    #[must_use]
    pub fn server(&self) -> &str {
        self.next_hop.as_deref().unwrap_or(&self.name)
    }

    /// Whether what came from this source may name a user of this domain as its sender (RFC 3261 §26.3.2).
    #[must_use]
    pub fn is_spoken_for_by(&self, source: &Source) -> bool {
        let by_address = !self.needs_certificate && self.trusts_address(source.remote.ip());
        by_address || self.trusts_certificate(source)
    }

    /// Whether the address is in the table of this domain.
    #[must_use]
    pub fn trusts_address(&self, address: IpAddr) -> bool {
        self.trusted_addresses
            .iter()
            .any(|block| block.contains(address))
    }

    /// Whether the certificate that was shown there proves this domain.
    #[must_use]
    pub fn trusts_certificate(&self, source: &Source) -> bool {
        let named = |wanted: &str| names_host(&source.certificate_names, wanted);
        if self.certificate_names.is_empty() {
            named(&self.name)
        } else {
            self.certificate_names.iter().any(|name| named(name))
        }
    }

    /// The names of which one in its certificate shows that a server which we dialled as `name` is this domain's
    /// (RFC 5922 §7.3), besides that name.
    #[must_use]
    pub fn other_names(&self, name: &str) -> Vec<String> {
        let all = std::iter::once(&self.name).chain(&self.certificate_names);
        all.filter(|other| !same_host(other, name))
            .cloned()
            .collect()
    }
}

/// Whether the names of a verified certificate include this host or domain (RFC 5922 §7.2).
#[must_use]
pub fn names_host(names: &[String], wanted: &str) -> bool {
    domain_identities(names)
        .iter()
        .any(|had| same_host(had, wanted))
}

/// The SIP domain identities of a certificate: its SIP URIs without user part, and only where there is none of those
/// its host names. Wildcards do not count (RFC 5922 §7.1, §7.2).
#[must_use]
pub fn domain_identities(names: &[String]) -> Vec<&str> {
    let uris: Vec<&str> = names
        .iter()
        .filter_map(|name| sip_domain_uri(name))
        .collect();
    if !uris.is_empty() {
        return uris;
    }
    names
        .iter()
        .map(String::as_str)
        .filter(|name| !name.contains([':', '*', '@', '/']))
        .collect()
}

fn sip_domain_uri(name: &str) -> Option<&str> {
    let (scheme, host) = name.split_once(':')?;
    (scheme.eq_ignore_ascii_case("sip") && !host.contains(['@', '*', ';', '?', ':']))
        .then_some(host)
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;
    use crate::transport::{FlowId, Transport};

    fn source(remote: &str, names: &[&str]) -> Source {
        Source {
            flow: FlowId(1),
            transport: Transport::Tls,
            remote: SocketAddr::new(remote.parse().unwrap(), 40_000),
            certificate_names: names.iter().map(|n| (*n).to_owned()).collect(),
        }
    }

    fn block(address: &str, prefix: u8) -> AddressBlock {
        AddressBlock {
            address: address.parse().unwrap(),
            prefix,
        }
    }

    #[test]
    fn blocks_hold_their_own_addresses_only() {
        let rows = [
            ("192.0.2.0", 24, "192.0.2.255", true),
            ("192.0.2.0", 24, "192.0.3.0", false),
            ("192.0.2.7", 32, "192.0.2.7", true),
            ("192.0.2.7", 128, "192.0.2.7", true),
            ("192.0.2.7", 128, "192.0.2.6", false),
            ("192.0.2.7", 32, "::ffff:192.0.2.7", true),
            ("0.0.0.0", 0, "203.0.113.9", true),
            ("0.0.0.0", 0, "2001:db8::1", false),
            ("2001:db8::", 32, "2001:db8:ffff::1", true),
            ("2001:db8::", 32, "2001:db9::1", false),
            ("2001:db8::1", 128, "2001:db8::1", true),
        ];
        for (address, prefix, probe, inside) in rows {
            assert_eq!(
                block(address, prefix).contains(probe.parse().unwrap()),
                inside,
                "{address}/{prefix} {probe}"
            );
        }
    }

    #[test]
    fn a_domain_is_spoken_for_by_its_addresses_or_its_certificate() {
        let plain = SipDomain::new("ocs.example");
        let edge = SipDomain {
            trusted_addresses: vec![block("192.0.2.0", 28)],
            certificate_names: vec!["edge.ocs.example".to_owned()],
            ..SipDomain::new("ocs.example")
        };
        let strict = SipDomain {
            needs_certificate: true,
            ..edge.clone()
        };
        let rows: [(&SipDomain, &str, &[&str], bool); 13] = [
            (&plain, "192.0.2.3", &[], false),
            (&plain, "192.0.2.3", &["ocs.example"], true),
            (&plain, "192.0.2.3", &["OCS.Example"], true),
            (
                &plain,
                "192.0.2.3",
                &["sip:ocs.example", "other.example"],
                true,
            ),
            // RFC 5922 §7.1: host names do not count where a SIP URI is present.
            (
                &plain,
                "192.0.2.3",
                &["sip:other.example", "ocs.example"],
                false,
            ),
            (
                &plain,
                "192.0.2.3",
                &["*.example", "sip:a@ocs.example"],
                false,
            ),
            (&edge, "192.0.2.3", &[], true),
            (&edge, "192.0.2.99", &["edge.ocs.example"], true),
            (&edge, "192.0.2.99", &["ocs.example"], false),
            (&edge, "192.0.2.99", &["xedge.ocs.example"], false),
            (&strict, "192.0.2.3", &[], false),
            (&strict, "192.0.2.3", &["other.example"], false),
            (&strict, "192.0.2.99", &["edge.ocs.example"], true),
        ];
        for (domain, remote, names, allowed) in rows {
            assert_eq!(
                domain.is_spoken_for_by(&source(remote, names)),
                allowed,
                "{remote} {names:?}"
            );
        }
    }

    #[test]
    fn a_server_may_show_any_name_of_its_domain() {
        let domain = SipDomain {
            certificate_names: vec!["edge.hoster.example".to_owned()],
            ..SipDomain::new("ocs.example")
        };
        for (dialled, others) in [
            ("OCS.example.", &["edge.hoster.example"][..]),
            ("edge.hoster.example", &["ocs.example"]),
            ("192.0.2.7", &["ocs.example", "edge.hoster.example"]),
        ] {
            assert_eq!(domain.other_names(dialled), others, "{dialled}");
        }
    }
}
