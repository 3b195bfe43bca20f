//! Domains in the one form in which they are compared.

use std::net::{Ipv4Addr, Ipv6Addr};

use minidom::Element;
use stox_core::address::parse_domain;

/// The two ends of server-to-server traffic: what a stream proves, and what a stanza must lie within.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DomainPair {
    /// A domain that this gateway speaks for.
    pub local: String,
    /// The partner's domain.
    pub remote: String,
}

/// A domain in its normal form (RFC 7622 §3.2, A-labels become U-labels), or `None` when it is none: user or
/// resource parts are refused. It is the core's spelling: what a stream proves and whom a stanza then counts as must not
/// differ.
#[must_use]
pub fn normal_domain(text: &str) -> Option<String> {
    parse_domain(text).ok()
}

/// The domain part of an address, in its normal form (RFC 7622 §3.1). The other parts are not looked at.
#[must_use]
pub fn domain_of_address(text: &str) -> Option<String> {
    let bare = text.split_once('/').map_or(text, |(bare, _)| bare);
    normal_domain(bare.split_once('@').map_or(bare, |(_, domain)| domain))
}

/// Whether a normal domain names a host by number or this very machine, so that no federation partner can own it.
#[must_use]
pub fn is_host_literal(domain: &str) -> bool {
    domain.parse::<Ipv4Addr>().is_ok()
        || domain.starts_with('[')
        || domain.parse::<Ipv6Addr>().is_ok()
        || domain == "localhost"
        || domain.ends_with(".localhost")
        || domain
            .rsplit('.')
            .next()
            .is_some_and(|label| label.bytes().all(|b| b.is_ascii_digit()))
}

/// The domains of a stanza's `from` and `to`.
pub(super) fn domains_of(stanza: &Element) -> Option<(String, String)> {
    let domain = |name: &str| stanza.attr(name).and_then(domain_of_address);
    Some((domain("from")?, domain("to")?))
}

#[cfg(test)]
mod tests {
    use stox_core::address::Jid;

    use super::*;

    #[test]
    fn compares_domains_in_one_form() {
        let cases = [
            ("Jabber.TEST", Some("jabber.test")),
            ("jabber.test.", Some("jabber.test")),
            ("BÜCHER.example", Some("bücher.example")),
            ("xn--bcher-kva.example", Some("bücher.example")),
            // Characters that older forms of comparison turn into others or leave out.
            ("fußball.example", Some("fußball.example")),
            ("xn--fuball-cta.example", Some("fußball.example")),
            ("fussball.example", Some("fussball.example")),
            ("βόλος.example", Some("βόλος.example")),
            ("نامه\u{200c}ای.example", Some("نامه\u{200c}ای.example")),
            ("ab\u{200d}c.example", None),
            ("romeo@jabber.test", None),
            ("jabber.test/x", None),
            ("", None),
            ("a\r\nb.example", None),
            ("a b.example", None),
            ("@@//", None),
        ];
        for (text, expected) in cases {
            assert_eq!(normal_domain(text).as_deref(), expected, "{text:?}");
            let Some(normal) = expected else { continue };
            assert_eq!(normal_domain(normal).as_deref(), expected, "{text:?}");
            let jid = Jid::parse(&format!("a@{text}/r")).unwrap();
            assert_eq!(jid.canonical().domain, normal, "{text:?}");
        }
    }

    #[test]
    fn takes_the_domain_out_of_an_address() {
        let cases = [
            ("romeo@Jabber.Test/Balcony", Some("jabber.test")),
            ("jabber.test/a@b", Some("jabber.test")),
            ("jabber.test", Some("jabber.test")),
            ("romeo@a@b", None),
            ("romeo@", None),
        ];
        for (text, expected) in cases {
            assert_eq!(domain_of_address(text).as_deref(), expected, "{text:?}");
        }
    }

    #[test]
    fn knows_hosts_that_nobody_federates() {
        for literal in [
            "127.0.0.1",
            "[::1]",
            "localhost",
            "x.localhost",
            "10.1",
            "2130706433",
        ] {
            assert!(is_host_literal(literal), "{literal}");
        }
        for name in ["jabber.test", "1.example", "4chan.example"] {
            assert!(!is_host_literal(name), "{name}");
        }
    }
}
