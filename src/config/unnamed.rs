//! `[[sip.domain]]` with `domain = "*"`: what SIP domains have that DNS finds.

use serde_json::Value;

use super::dialect;
use super::keys::Table;
use stox_core::policy::DomainPattern;

use super::types::{ClientCertificate, Config, List, Network, Sip, UnnamedSip};

/// Keys that make sense only where the administrator knows the domain, and why.
const OF_NAMED: &[(&str, &str)] = &[
    ("next_hop", "DNS says where each of them is"),
    (
        "trusted_addresses",
        "an address must not speak for every domain",
    ),
    (
        "certificate_names",
        "each of them proves itself by a certificate for its own name",
    ),
    (
        "trust_asserted_identity",
        "nobody knows whose servers they are",
    ),
    (
        "tls",
        "old TLS is for single partners whose addresses are known",
    ),
];

/// Whether a table of `[[sip.domain]]` is the rule for unnamed domains.
pub(super) fn is_meant(table: &Table) -> bool {
    table.peek("domain").and_then(Value::as_str) == Some("*")
}

/// Reads the rule. `of_all`: what `[sip]` says of certificates.
pub(super) fn rule(table: &mut Table, of_all: ClientCertificate) -> UnnamedSip {
    let _: Option<String> = table.optional("domain");
    for (key, why) in OF_NAMED {
        let given: Option<Value> = table.optional(key);
        if given.is_some_and(|value| value != "modern") {
            table.problem(key, format!("cannot be set for \"*\": {why}; give the domain that needs it a [[sip.domain]] of its own"));
        }
    }
    UnnamedSip {
        client_certificate: table.or("client_certificate", of_all),
        dialect: dialect::rule(table),
        networks: table.or("networks", List::<Network>(Vec::new())).0,
    }
}

/// The one rule that there may be.
pub(super) fn only(table: &mut Table, mut rules: Vec<UnnamedSip>) -> Option<UnnamedSip> {
    if rules.len() > 1 {
        table.problem(
            "domain",
            "names \"*\" twice: one rule is for all SIP domains without a name",
        );
    }
    rules.pop()
}

/// Their certificates need a listener.
pub(super) fn check(table: &mut Table, sip: &Sip) {
    let strict = |rule: &UnnamedSip| rule.client_certificate == ClientCertificate::Required;
    if sip.unnamed.as_ref().is_some_and(strict) && sip.tls.is_empty() {
        table.problem(
            "domain",
            "\"*\" needs certificates (client_certificate = \"required\"), but there is no TLS listener to show them at: set sip.tls",
        );
    }
}

/// Who may reach everybody.
pub(super) fn finding(config: &Config) -> Option<String> {
    let mut partners = config.xmpp.partners.iter();
    let any = partners.any(|partner| partner.domain == DomainPattern::Any);
    (any && config.sip.unnamed.is_some()).then(|| {
        "sip.domain \"*\" and xmpp.partner \"*\" together: every XMPP domain reaches every SIP domain whose XMPP records lead \
         here. If that is not meant, name the XMPP domains in [[xmpp.partner]]"
            .to_owned()
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    const RULE: &str = "[[sip.domain]]\ndomain = \"*\"\n";

    fn read(partner: &str, domains: &str) -> Result<Config, Vec<String>> {
        let text = format!(
            "[gateway]\nhost = \"gw.test\"\nstate_dir = \"s\"\n[tls]\ncertificate = \"c\"\nkey = \"k\"\n\
             [[xmpp.partner]]\ndomain = \"{partner}\"\n[sip]\ntcp = [\"127.0.0.1:0\"]\n{domains}"
        );
        crate::config::parse(&text, Path::new("/etc/gateway.toml"), [])
            .map_err(|problems| problems.list.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn the_rule_is_a_template_and_no_domain() {
        let named = "[[sip.domain]]\ndomain = \"ocs.test\"\n";
        let config = read("*", named).unwrap();
        assert_eq!(config.sip.unnamed, None, "off by default");
        let rule = format!(
            "{named}{RULE}dialect = \"lync\"\nnetworks = [\"10.0.0.0/8\"]\nclient_certificate = \"optional\"\ntls = \"modern\"\n"
        );
        let config = read("*", &rule).unwrap();
        assert_eq!(config.sip.domains.len(), 1);
        let unnamed = config.sip.unnamed.unwrap();
        assert!(unnamed.networks[0].contains([10, 1, 2, 3].into()));
        assert!(unnamed.dialect.profile.is_some());
        // It suffices alone.
        let alone = read("*", RULE).unwrap();
        assert!(alone.sip.domains.is_empty());
        assert!(alone.sip.unnamed.unwrap().networks.is_empty());
    }

    #[test]
    fn what_needs_a_name_is_refused() {
        let rows = [
            (RULE, "names \"*\" twice"),
            ("next_hop = \"sip:edge.test\"\n", "next_hop: cannot be set"),
            (
                "trusted_addresses = [\"192.0.2.7\"]\n",
                "trusted_addresses: cannot be set",
            ),
            (
                "certificate_names = [\"edge.test\"]\n",
                "certificate_names: cannot be set",
            ),
            (
                "trust_asserted_identity = true\n",
                "trust_asserted_identity: cannot be set",
            ),
            ("tls = \"legacy-dangerous\"\n", "tls: cannot be set"),
            ("client_certificate = \"required\"\n", "no TLS listener"),
            ("networks = [\"ten\"]\n", "is not an address or a network"),
            ("network = []\n", "did you mean `networks`?"),
            ("dialect = \"none\"\n", "is not a dialect"),
        ];
        for (lines, words) in rows {
            let problems = read("*", &format!("{RULE}{lines}")).unwrap_err();
            assert_eq!(problems.len(), 1, "{problems:?}");
            assert!(problems[0].contains(words), "{problems:?}");
        }
        let of_named = format!("{}networks = []\n", RULE.replace('*', "ocs.test"));
        let problems = read("*", &of_named).unwrap_err();
        assert!(problems[0].contains("is not a key here"), "{problems:?}");
        assert!(read("*", "").unwrap_err()[0].contains("or \"*\""));
    }

    #[test]
    fn two_stars_are_worth_a_word() {
        let said = |partner: &str, domains: &str| {
            let config = read(partner, domains).unwrap();
            crate::config::findings(&config)
        };
        assert!(said("*", RULE)[0].contains("every SIP domain"));
        assert!(said("jabber.test", RULE).is_empty());
        assert!(said("*", &RULE.replace('*', "ocs.test")).is_empty());
    }
}
