//! Which names and addresses belong to the domains that are configured for old TLS.

use std::net::IpAddr;

use stox_sip::target::{NextHop, TransportPolicy};
use stox_sip::ua::trust::AddressBlock;
use stox_sip::uri::Uri;

use crate::config::{DomainTls, SipDomain};
use crate::entropy::OsEntropy;
use crate::net::dns::Dns;
use crate::net::lookup;

/// The domains with old TLS, and the others as far as they bound them.
#[derive(Debug, Clone)]
pub(super) struct Peers {
    legacy: Vec<Peer>,
    /// Names of the domains with modern TLS.
    modern: Vec<String>,
}

#[derive(Debug, Clone)]
struct Peer {
    domain: String,
    /// Where its requests go; the settings hold no other than a SIP URI.
    hop: Option<NextHop>,
    /// Names that speak for it.
    names: Vec<String>,
    blocks: Vec<AddressBlock>,
}

impl Peers {
    /// `None` when there is no such domain.
    pub(super) fn of(domains: &[SipDomain]) -> Option<Self> {
        let (legacy, modern): (Vec<_>, Vec<_>) = domains
            .iter()
            .partition(|domain| domain.tls == DomainTls::LegacyDangerous);
        (!legacy.is_empty()).then(|| Self {
            legacy: legacy.into_iter().map(Peer::new).collect(),
            modern: modern
                .into_iter()
                .map(|domain| domain.domain.clone())
                .collect(),
        })
    }

    pub(super) fn domains(&self) -> impl Iterator<Item = &str> {
        self.legacy.iter().map(|peer| peer.domain.as_str())
    }

    /// Whether connections to this name use old TLS: it is a next hop, a certificate name or an address of such a domain, or
    /// lies in the domain and not in a modern one below it.
    pub(super) fn is_for_name(&self, name: &str) -> bool {
        let name = bare(name);
        if self.legacy.iter().any(|peer| peer.has_name(name)) {
            return true;
        }
        let longest = |mut domains: Box<dyn Iterator<Item = &str> + '_>| {
            let within = domains.by_ref().filter(|domain| is_within(name, domain));
            within.map(str::len).max()
        };
        longest(Box::new(self.domains()))
            > longest(Box::new(self.modern.iter().map(String::as_str)))
    }

    /// Whether the address is written in the settings of such a domain.
    pub(super) fn lists(&self, address: IpAddr) -> bool {
        self.legacy.iter().any(|peer| peer.lists(address))
    }

    /// Whether DNS gives the address for the next hop of such a domain. Asked only about clients that can do nothing but
    /// old TLS; the resolver remembers the answers.
    pub(super) async fn resolve_to(
        &self,
        address: IpAddr,
        dns: &Dns,
        transports: &TransportPolicy,
    ) -> bool {
        let address = address.to_canonical();
        for peer in &self.legacy {
            let Some(hop) = peer.hop.clone() else {
                continue;
            };
            let mut entropy = OsEntropy::default();
            let found = lookup::sip(dns, hop, transports, &mut entropy).await;
            let is_it = |ip: IpAddr| ip.to_canonical() == address;
            if found.is_ok_and(|targets| targets.iter().any(|t| is_it(t.address.ip()))) {
                return true;
            }
        }
        false
    }

    /// Of these names of a certificate, those that speak for such a domain.
    pub(super) fn keep_own(&self, names: &[String]) -> Vec<String> {
        let own = |name: &&String| self.legacy.iter().any(|peer| peer.is_spoken_for_by(name));
        names.iter().filter(own).cloned().collect()
    }
}

impl Peer {
    fn new(domain: &SipDomain) -> Self {
        let by_dns = format!("sip:{}", domain.domain);
        let hop = Uri::parse(domain.next_hop.as_ref().unwrap_or(&by_dns))
            .ok()
            .and_then(|uri| NextHop::try_from(&uri).ok());
        Self {
            domain: domain.domain.clone(),
            hop,
            names: domain.speakers().to_vec(),
            blocks: domain
                .trusted_addresses
                .iter()
                .map(|network| AddressBlock {
                    address: network.address,
                    prefix: network.prefix,
                })
                .collect(),
        }
    }

    fn has_name(&self, name: &str) -> bool {
        self.hop_host()
            .is_some_and(|host| host.eq_ignore_ascii_case(name))
            || self.is_spoken_for_by(name)
            || name.parse().is_ok_and(|address| self.lists(address))
    }

    fn is_spoken_for_by(&self, name: &str) -> bool {
        self.names
            .iter()
            .any(|own| bare(own).eq_ignore_ascii_case(bare(name)))
    }

    fn lists(&self, address: IpAddr) -> bool {
        let hop = self.hop_host().and_then(|host| host.parse::<IpAddr>().ok());
        self.blocks.iter().any(|block| block.contains(address))
            || hop.is_some_and(|hop| hop == address.to_canonical())
    }

    fn hop_host(&self) -> Option<&str> {
        self.hop.as_ref().map(|hop| bare(&hop.host))
    }
}

/// A host without brackets and final dot.
fn bare(name: &str) -> &str {
    name.trim_start_matches('[')
        .trim_end_matches(']')
        .trim_end_matches('.')
}

fn is_within(name: &str, domain: &str) -> bool {
    let name = name.to_lowercase();
    name.strip_suffix(domain)
        .is_some_and(|head| head.is_empty() || head.ends_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn domain(name: &str, tls: DomainTls) -> SipDomain {
        SipDomain {
            domain: name.to_owned(),
            next_hop: None,
            trusted_addresses: Vec::new(),
            certificate_names: Vec::new(),
            client_certificate: crate::config::ClientCertificate::Optional,
            trust_asserted_identity: false,
            dialect: Default::default(),
            tls,
        }
    }

    fn peers() -> Peers {
        Peers::of(&[
            SipDomain {
                next_hop: Some("sip:Edge.hoster.test:5061;transport=tls".to_owned()),
                trusted_addresses: vec!["192.0.2.32/28".parse().unwrap()],
                certificate_names: vec!["certified.hoster.test".to_owned()],
                ..domain("old.test", DomainTls::LegacyDangerous)
            },
            SipDomain {
                next_hop: Some("sip:[2001:db8::7];transport=tls".to_owned()),
                ..domain("six.test", DomainTls::LegacyDangerous)
            },
            domain("new.old.test", DomainTls::Modern),
            domain("modern.test", DomainTls::Modern),
        ])
        .unwrap()
    }

    #[test]
    fn no_domain_no_old_tls() {
        assert!(Peers::of(&[domain("modern.test", DomainTls::Modern)]).is_none());
    }

    #[test]
    fn names_belong_to_the_nearest_domain() {
        for (name, expected) in [
            ("old.test", true),
            ("sip.OLD.test.", true),
            ("edge.hoster.test", true),
            ("certified.hoster.test", true),
            ("2001:db8::7", true),
            ("other.hoster.test", false),
            ("new.old.test", false),
            ("sip.new.old.test", false),
            ("modern.test", false),
            ("bold.test", false),
            ("192.0.2.33", true),
            ("192.0.2.48", false),
        ] {
            assert_eq!(peers().is_for_name(name), expected, "{name}");
        }
    }

    #[test]
    fn addresses_are_those_of_the_settings() {
        for (address, expected) in [
            ("192.0.2.33", true),
            ("::ffff:192.0.2.33", true),
            ("192.0.2.48", false),
            ("2001:db8::7", true),
            ("2001:db8::8", false),
        ] {
            assert_eq!(
                peers().lists(address.parse().unwrap()),
                expected,
                "{address}"
            );
        }
    }

    #[test]
    fn only_the_names_of_such_domains_are_kept() {
        let names = [
            "Certified.hoster.test",
            "modern.test",
            "old.test",
            "six.test",
        ];
        let names = names.map(str::to_owned);
        assert_eq!(
            peers().keep_own(&names),
            ["Certified.hoster.test", "six.test"],
            "with certificate_names the domain's own name does not count"
        );
    }
}
