//! `[[xmpp.partner]]`: which proofs of a domain count, and which combinations cannot work.

use stox_core::policy::DomainPattern;

use super::keys::Table;
use super::types::*;

/// A combination that cannot work.
struct Conflict {
    /// The key at fault.
    key: &'static str,
    applies: fn(&Partner) -> bool,
    why: &'static str,
}

/// One row a reason.
const CONFLICTS: &[Conflict] = &[
    Conflict {
        key: "certificate",
        applies: |rule| {
            rule.tls != StreamTls::Required && rule.certificate == CertificateRule::Verify
        },
        why: "cannot be \"verify\" unless tls is \"required\": an unencrypted stream has no certificate",
    },
    Conflict {
        key: "external",
        applies: |rule| {
            rule.tls != StreamTls::Required && rule.external == StreamExternal::Required
        },
        why: "cannot be \"required\" unless tls is \"required\": an unencrypted stream has no certificate",
    },
    Conflict {
        key: "dialback",
        applies: |rule| !rule.dialback && rule.external == StreamExternal::Off,
        why: "cannot be false where external is \"off\": nothing would be left to prove a domain with",
    },
    Conflict {
        key: "dialback",
        applies: |rule| !rule.dialback && rule.tls != StreamTls::Required,
        why: "cannot be false unless tls is \"required\": on an unencrypted stream nothing else proves a domain",
    },
    Conflict {
        key: "before_1_0",
        applies: |rule| rule.before_1_0 && rule.tls == StreamTls::Required,
        why: "cannot be true where tls is \"required\": servers from before XMPP 1.0 know no STARTTLS",
    },
    Conflict {
        key: "direct_tls",
        applies: |rule| rule.direct_tls && rule.address.is_none(),
        why: "is about address, which is missing: without it, DNS says which servers begin with TLS (_xmpps-server._tcp)",
    },
    Conflict {
        key: "direct_tls",
        applies: |rule| rule.direct_tls && rule.tls == StreamTls::Off,
        why: "cannot be true where tls is \"off\"",
    },
];

pub(super) fn partner(table: &mut Table) -> Option<Partner> {
    let domain: Option<String> =
        table.required("domain", "the XMPP domain that this rule is for, or \"*\"");
    let partner = Partner {
        domain: domain_pattern("*").ok()?,
        tls: table.or("tls", StreamTls::Required),
        external: table.or("external", StreamExternal::Optional),
        dialback: table.or("dialback", true),
        certificate: table.or("certificate", CertificateRule::Any),
        before_1_0: table.or("before_1_0", false),
        bidirectional: table.or("bidirectional", false),
        address: table.optional("address"),
        direct_tls: table.or("direct_tls", false),
        networks: table.or("networks", List(Vec::new())).0,
    };
    for conflict in CONFLICTS.iter().filter(|row| (row.applies)(&partner)) {
        table.problem(conflict.key, conflict.why);
    }
    match domain_pattern(&domain?) {
        Ok(domain) => {
            if domain != DomainPattern::Any && !partner.networks.is_empty() {
                table.problem("networks", "is of use only where domain is \"*\": others are dialled wherever their DNS says");
            }
            Some(Partner { domain, ..partner })
        }
        Err(message) => {
            table.problem("domain", message);
            None
        }
    }
}
