//! What SIP partners must prove, as far as the keys fit together.

use super::keys::Table;
use super::types::{ClientCertificate, Sip, SipDomain, named_transport};

/// Refuses mutual TLS where there is no TLS.
pub(super) fn check(table: &mut Table, sip: &Sip) {
    let strict = |domain: &&SipDomain| domain.client_certificate == ClientCertificate::Required;
    for domain in sip.domains.iter().filter(strict) {
        let hop = domain.next_hop.as_deref().and_then(named_transport);
        let why = if hop.is_some_and(|transport| !transport.row().secure) {
            "its next_hop names a transport without TLS: write ;transport=tls there"
        } else if sip.tls.is_empty() {
            "there is no TLS listener for its servers to show one at: set sip.tls"
        } else {
            continue;
        };
        table.problem(
            "domain",
            format!(
                "{} needs a certificate (client_certificate = \"required\"), but {why}, or set client_certificate = \
                 \"optional\" in its [[sip.domain]]",
                domain.domain
            ),
        );
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn settings(sip: &str, domain: &str) -> String {
        format!(
            "[gateway]\nhost = \"gw.test\"\nstate_dir = \"s\"\n[tls]\ncertificate = \"c\"\nkey = \"k\"\n\
             [[xmpp.partner]]\ndomain = \"*\"\n[sip]\n{sip}\n[[sip.domain]]\ndomain = \"ocs.test\"\n{domain}\n"
        )
    }

    const LISTENERS: &str = "tls = [\"127.0.0.1:0\"]\ntcp = [\"127.0.0.1:0\"]\n";
    const STRICT: &str = "client_certificate = \"required\"\n";
    const LAX: &str = "client_certificate = \"optional\"\n";
    const TCP: &str = "next_hop = \"sip:ocs.test;transport=tcp\"\n";

    #[test]
    fn a_certificate_is_asked_for_only_where_there_is_tls() {
        let rows = [
            (LISTENERS.to_owned(), STRICT.to_owned(), ""),
            (
                LISTENERS.to_owned(),
                format!("{STRICT}{TCP}"),
                "names a transport without TLS",
            ),
            (
                format!("{LISTENERS}{STRICT}"),
                TCP.to_owned(),
                "names a transport without TLS",
            ),
            (format!("{LISTENERS}{STRICT}"), format!("{LAX}{TCP}"), ""),
            (
                "udp = [\"127.0.0.1:0\"]\n".to_owned(),
                STRICT.to_owned(),
                "no TLS listener",
            ),
            (LISTENERS.to_owned(), TCP.to_owned(), ""),
        ];
        for (sip, domain, words) in rows {
            let text = settings(&sip, &domain);
            let read = crate::config::parse(&text, Path::new("/etc/gateway.toml"), []);
            let said = read.err().map(|problems| problems.list);
            let said: Vec<String> = said.iter().flatten().map(ToString::to_string).collect();
            assert_eq!(said.is_empty(), words.is_empty(), "{said:?}");
            assert!(said.iter().all(|line| line.contains(words)), "{said:?}");
        }
    }

    #[test]
    fn a_domain_has_what_all_have_unless_it_says_else() {
        let rows = [
            (
                format!("{LISTENERS}{STRICT}"),
                "",
                ClientCertificate::Required,
            ),
            (
                format!("{LISTENERS}{STRICT}"),
                LAX,
                ClientCertificate::Optional,
            ),
            (LISTENERS.to_owned(), STRICT, ClientCertificate::Required),
            (LISTENERS.to_owned(), "", ClientCertificate::Optional),
        ];
        for (sip, domain, expected) in rows {
            let text = settings(&sip, domain);
            let read = crate::config::parse(&text, Path::new("/etc/gateway.toml"), []).unwrap();
            assert_eq!(read.sip.domains[0].client_certificate, expected);
            assert!(!read.sip.domains[0].trust_asserted_identity);
        }
    }
}
