use stox_core::presence::{STATES, Shown};
use stox_core::vocab::{Show, State};
use stox_sip::dialect::Profile;

use stox_core::policy::DomainPattern;

use super::*;

const EXAMPLE: &str = include_str!("../../gateway.toml.example");

fn read(text: &str) -> Result<Config, Problems> {
    let password = ("ALICE_PASSWORD".to_owned(), "pass word".to_owned());
    parse(text, Path::new("/etc/stoxgate/gateway.toml"), [password])
}

/// The example with every commented key in force.
fn example_with_all_keys() -> String {
    let key_or_table = |line: &str| {
        line.starts_with("#[")
            || line
                .split_once(" = ")
                .is_some_and(|(key, _)| !key.contains("# ") && !key.contains(' '))
    };
    let mut lines: Vec<&str> = Vec::new();
    for line in EXAMPLE.lines() {
        match line.strip_prefix('#') {
            Some(bare)
                if key_or_table(line)
                    && !line.contains("password_file =")
                    && !line.contains("secret_file =") =>
            {
                lines.push(bare)
            }
            _ => lines.push(line),
        }
    }
    lines.join("\n")
}

fn problems(text: &str) -> Vec<String> {
    read(text)
        .expect_err("must be refused")
        .list
        .iter()
        .map(ToString::to_string)
        .collect()
}

#[test]
fn the_example_is_accepted() {
    let config = read(EXAMPLE).unwrap();
    assert_eq!(config.gateway.host, "gw.example.org");
    assert_eq!(
        config.tls.certificate,
        Path::new("/etc/stoxgate/gateway.crt")
    );
    assert_eq!(config.sip.domains.len(), 1);
    assert_eq!(config.sip.unnamed, None);
    let full = read(&example_with_all_keys()).unwrap();
    assert_eq!(full.sip.unnamed.unwrap().networks.len(), 1);
}

#[test]
fn commented_keys_show_their_defaults() {
    let plain = read(EXAMPLE).unwrap();
    let full = read(&example_with_all_keys()).unwrap();
    let dump = |c: &Config| {
        format!(
            "{:?} {:?} {:?} {:?} {:?}",
            c.subscriptions, c.ledger, c.rooms.settings, c.limits, c.dns.timeout
        )
    };
    assert_eq!(dump(&plain), dump(&full));
    assert_eq!(plain.log.filter, full.log.filter);
    assert_eq!(plain.presence.language, full.presence.language);
    assert_eq!(full.presence.shown.len(), STATES.len());
    for row in &STATES {
        assert_eq!(
            plain.presence.shown(row.state),
            full.presence.shown(row.state),
            "{}",
            row.name
        );
    }
    assert_eq!(plain.xmpp.listen, full.xmpp.listen);
    assert_eq!(plain.xmpp.keepalive, full.xmpp.keepalive);
    assert_eq!(plain.xmpp.idle_close, full.xmpp.idle_close);
    assert_eq!(plain.xmpp.stanza_limit, full.xmpp.stanza_limit);
    assert_eq!(plain.sip.page_limit, full.sip.page_limit);
    assert_eq!(plain.gateway.stop_within, full.gateway.stop_within);
    assert_eq!(
        full.sip.credentials.len(),
        1,
        "the list of credentials was uncommented too"
    );
    let component = &full.xmpp.components[0];
    assert_eq!(component.tls, ComponentTls::Off);
    assert_eq!(component.server.to_string(), "127.0.0.1:5347");
    let findings = findings(&full);
    assert_eq!(findings.len(), 1, "{findings:?}");
    assert!(findings[0].starts_with("sip.domain \"*\" and xmpp.partner \"*\""));
}

#[test]
fn no_secret_is_written_where_settings_are() {
    let text = example_with_all_keys().replace("\"secret\"", "\"s3cr3t\"");
    assert!(
        text.matches("s3cr3t").count() >= 3,
        "password, relay and component"
    );
    let config = read(&text).unwrap();
    let shown = format!("{config:?}");
    assert!(!shown.contains("s3cr3t"));
    let hidden = shown.matches("Secret(..)").count();
    let of_the_environment = 1;
    let written = text.matches("\"s3cr3t\"").count();
    assert_eq!(hidden, written + of_the_environment, "{shown}");
}

#[test]
fn a_secret_of_the_wrong_type_is_not_shown() {
    let found = problems(&example_with_all_keys().replace("\"secret\"", "271828"));
    let about: Vec<&String> = found
        .iter()
        .filter(|problem| problem.contains("must be text in quotes"))
        .collect();
    assert!(about.len() >= 3, "{found:?}");
    assert!(!found.iter().any(|problem| problem.contains("271828")));
}

#[test]
fn components_are_checked() {
    let with = |lines: &str| {
        EXAMPLE.replace(
            "\n[sip]\n",
            &format!("\n[[xmpp.component]]\n{lines}\n[sip]\n"),
        )
    };
    let good = "domain = \"OCS.example.com\"\nserver = \"xmpp.example.org\"\nsecret = \"s\"\n";
    let config = read(&with(good)).unwrap();
    assert_eq!(config.xmpp.components[0].domain, "ocs.example.com");
    let findings = super::findings(&config);
    assert_eq!(findings.len(), 1);
    assert!(
        findings[0].contains("xmpp.example.org:5347 is not encrypted"),
        "{findings:?}"
    );
    let safe = read(&with(&format!("{good}tls = \"required\""))).unwrap();
    assert!(super::findings(&safe).is_empty());
    let cases = [
        (
            good.replace("OCS.", "lcs."),
            "xmpp.component[0].domain: lcs.example.com is none of the SIP domains",
        ),
        (
            format!("{good}[[xmpp.component]]\n{good}"),
            "xmpp.component[1].domain: names ocs.example.com twice",
        ),
        (
            good.replace("xmpp.example.org", "x y"),
            "xmpp.component[0].server: `x y` is not a server; write 127.0.0.1:5347",
        ),
        (
            good.replace("\"s\"", "\"\""),
            "xmpp.component[0].secret: is empty",
        ),
        (
            good.replace("secret =", "secrets ="),
            "did you mean `secret`?",
        ),
        (
            format!("{good}secret_file = \"x\""),
            "xmpp.component[0].secret: give either secret or secret_file",
        ),
        (
            good.replace("xmpp.example.org", "127.0.0.1") + "tls = \"required\"",
            "xmpp.component[0].server: must be a host name",
        ),
        (
            format!("{good}tls = \"optional\""),
            "xmpp.component[0].tls: unknown variant",
        ),
    ];
    for (lines, expected) in cases {
        let found = problems(&with(&lines)).join("\n");
        assert!(found.contains(expected), "{expected} in {found}");
    }
}

#[test]
fn accounts_are_checked() {
    let with = |lines: &str| {
        EXAMPLE.replace(
            "\n[sip]\n",
            &format!("\n[[xmpp.account]]\n{lines}\n[sip]\n"),
        )
    };
    let good = "user = \"sip:Alice@OCS.example.com\"\njid = \"Alice.ocs@Jabber.example\"\npassword_env = \"ALICE_PASSWORD\"\n";
    let config = read(&with(&format!(
        "{good}domains = \"*.net\"\nserver = \"[::1]\"\ndirect_tls = true"
    )))
    .unwrap();
    let account = &config.xmpp.accounts[0];
    assert_eq!(account.user.to_string(), "alice@ocs.example.com");
    assert_eq!(account.jid.to_string(), "alice.ocs@jabber.example");
    assert_eq!(account.password.reveal(), "pass word");
    assert_eq!(account.domains, [domain_pattern("*.net").unwrap()]);
    assert_eq!(account.server.as_ref().unwrap().to_string(), "[::1]:5223");
    assert!(account.direct_tls && !account.plain);
    let bare = read(&with(&good.replace("sip:", ""))).unwrap();
    assert_eq!(bare.xmpp.accounts[0].user, account.user);
    let cases = [
        (
            good.replace("OCS.", "lcs."),
            "xmpp.account[0].user: lcs.example.com is none of the SIP domains",
        ),
        (
            good.replace("Alice@", ""),
            "xmpp.account[0].user: `sip:OCS.example.com` is not a SIP user",
        ),
        (
            good.replace("Jabber.example", "ocs.example.com"),
            "xmpp.account[0].jid: ocs.example.com is a SIP domain of ours",
        ),
        (
            good.replace("Alice.ocs@", ""),
            "xmpp.account[0].jid: `Jabber.example` is not an account",
        ),
        (
            good.replace("Jabber.example", "Jabber.example/x"),
            "the server chooses the resource",
        ),
        (
            format!("{good}[[xmpp.account]]\n{good}"),
            "xmpp.account[1].user: alice@ocs.example.com has an account already",
        ),
        (
            format!(
                "{good}[[xmpp.account]]\n{}",
                good.replace("sip:Alice", "sip:bob")
            ),
            "xmpp.account[1].jid: alice.ocs@jabber.example is another user's account already",
        ),
        (
            good.replace("_env", ""),
            "password_file: give either password_file or password_env",
        ),
        (
            format!("{good}password_file = \"x\""),
            "password_file: give either password_file or password_env",
        ),
        (
            good.replace("password_env", "password_file"),
            "password_file: ALICE_PASSWORD cannot be read",
        ),
        (
            good.replace("ALICE_P", "BOB_P"),
            "password_env: the environment has no BOB_PASSWORD",
        ),
        (
            format!("{good}direct_tls = true"),
            "xmpp.account[0].direct_tls: is about server, which is missing",
        ),
        (
            format!("{good}server = \"x y\""),
            "xmpp.account[0].server: `x y` is not a server; write 127.0.0.1:5222",
        ),
        (
            format!("{good}domain = [\"x.test\"]"),
            "did you mean `domains`?",
        ),
        (
            format!("{good}domains = [\"a b\"]"),
            "xmpp.account[0].domains",
        ),
        (
            format!("{good}domains = [\"ocs.example.com\"]"),
            "xmpp.account[0].domains: ocs.example.com is a SIP domain of ours",
        ),
    ];
    for (lines, expected) in cases {
        let found = problems(&with(&lines)).join("\n");
        assert!(found.contains(expected), "{expected} in {found}");
        assert!(!found.contains("pass word"));
    }
}

#[test]
fn the_behaviour_in_the_example_is_that_of_its_dialect() {
    let full = read(&example_with_all_keys()).unwrap();
    let rule = &full.sip.domains[0].dialect;
    let row = &Profile::Ocs2007R2.row().behaviour;
    assert_eq!(&rule.overrides.apply(row.clone()), row);
    // Each column is there: two rows that differ everywhere would become one.
    assert_eq!(
        rule.overrides
            .apply(Profile::Simple.row().behaviour.clone()),
        rule.overrides
            .apply(Profile::Lcs2005.row().behaviour.clone()),
    );
}

#[test]
fn dialects_are_checked() {
    let text = EXAMPLE.replace(
        "#dialect = \"auto\"",
        "dialect = \"ocs\"\n[sip.domain.behaviour]\nim = \"letters\"\npresence_ask = [\"pidf\", \"x\"]\ntypping = 1",
    );
    let found = problems(&text).join("\n");
    for part in [
        "sip.domain[0].dialect: is not a dialect; write auto, simple, ocs2007r2",
        "behaviour.im: cannot be `letters`; write page, session",
        "behaviour.presence_ask: cannot be `x`; write pidf, categories",
        "did you mean `typing`?",
    ] {
        assert!(found.contains(part), "{part} in {found}");
    }
    let text = EXAMPLE.replace("#dialect = \"auto\"", "dialect = \"lcs2005\"");
    let rule = &read(&text).unwrap().sip.domains[0].dialect;
    assert_eq!(rule.profile, Some(Profile::Lcs2005));
}

#[test]
fn an_unknown_key_is_refused_in_every_table() {
    let text = example_with_all_keys();
    let tables: Vec<usize> = text
        .lines()
        .enumerate()
        .filter(|(_, line)| line.starts_with('['))
        .map(|(index, _)| index)
        .collect();
    assert!(tables.len() >= 11, "{tables:?}");
    for table in tables {
        let mut lines: Vec<&str> = text.lines().collect();
        lines.insert(table + 1, "surprise_key = 1");
        let found = problems(&lines.join("\n"));
        assert!(
            found
                .iter()
                .any(|p| p.contains("surprise_key: is not a key here")),
            "after line {table}: {found:?}"
        );
    }
}

#[test]
fn the_presence_map_is_checked_key_by_key() {
    let text = EXAMPLE
        .replace("#language = \"en\"", "language = \"tlh\"")
        .replace(
            "#busy = \"dnd\"",
            "busy = \"red\"\nbussy-inactive = \"dnd\"",
        );
    let found = problems(&text);
    for expected in [
        "presence.language: has no texts for `tlh`; write en, de",
        "presence.show.busy: cannot be `red`; write available, chat, away, xa, dnd, unavailable",
        "presence.show.bussy-inactive: is not a key here; did you mean `busy-inactive`?",
    ] {
        assert!(found.iter().any(|p| p.starts_with(expected)), "{found:?}");
    }
    let text = EXAMPLE
        .replace("#language = \"en\"", "language = \"de-CH\"")
        .replace("#busy = \"dnd\"", "busy = \"away\"");
    let presence = read(&text).unwrap().presence;
    assert_eq!(presence.language.tag(), "de");
    assert_eq!(
        presence.shown(State::Busy),
        Shown::Available(Some(Show::Away))
    );
}

#[test]
fn a_typing_mistake_gets_a_hint() {
    let found = problems(&EXAMPLE.replace("state_dir", "statedir"));
    assert!(
        found
            .contains(&"gateway.statedir: is not a key here; did you mean `state_dir`?".to_owned()),
        "{found:?}"
    );
    assert!(
        found
            .iter()
            .any(|p| p.starts_with("gateway.state_dir: is missing")),
        "{found:?}"
    );
}

#[test]
fn xmpp_is_reached_by_a_rule_or_an_account() {
    let with = |account: &str| {
        read(&format!(
            r#"
            [gateway]
            host = "gw.test"
            state_dir = "state"
            [tls]
            certificate = "c.pem"
            key = "k.pem"
            [sip]
            tls = ["0.0.0.0:5061"]
            [[sip.domain]]
            domain = "ocs.test"
            {account}
            "#
        ))
    };
    let account = r#"
        [[xmpp.account]]
        user = "sip:alice@ocs.test"
        jid = "alice@jabber.test"
        password_env = "ALICE_PASSWORD"
    "#;
    assert!(with(account).unwrap().xmpp.partners.is_empty());
    let refused = with("").unwrap_err().to_string();
    assert!(refused.contains("xmpp.partner: is missing"), "{refused}");
}

#[test]
fn a_rule_that_could_never_apply_is_refused() {
    let with = |domains: &[&str]| {
        let rules: Vec<_> = domains
            .iter()
            .map(|domain| format!("domain = \"{domain}\"\n"))
            .collect();
        let text = EXAMPLE.replacen(
            "\ndomain = \"*\"\n",
            &format!("\n{}", rules.join("[[xmpp.partner]]\n")),
            1,
        );
        let list = read(&text).err().map(|problems| problems.list);
        let words = |list: &Vec<Problem>| list.iter().map(ToString::to_string).collect();
        list.as_ref().map_or_else(Vec::new, words)
    };
    let narrow_first = ["a.example.net", "*.example.net", "example.net", "*"];
    assert_eq!(with(&narrow_first), Vec::<String>::new());
    let found = with(&["*", "bank.example"]);
    assert_eq!(found.len(), 1);
    assert!(
        found[0].starts_with("xmpp.partner: for bank.example stands behind *"),
        "{found:?}"
    );
    let found = with(&[
        "*.example.net",
        "a.example.net",
        "*.b.example.net",
        "*.example.net",
    ]);
    let expected = [
        "for a.example.net",
        "for *.b.example.net",
        "names *.example.net twice",
    ];
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.contains(expected), "{found}");
    }
}

#[test]
fn all_problems_are_reported_at_once() {
    let text = r#"
        [gateway]
        host = "not a host"
        state_dir = "state"
        [dns]
        trust_anchor = "root.key"
        [tls]
        certificate = "c.pem"
        key = "k.pem"
        posh_networks = ["10.0.0.0/8"]
        [xmpp]
        listen = ["nowhere"]
        [[xmpp.partner]]
        domain = "ocs.test"
        address = "xmpp.ocs.test"
        tls = "optional"
        certificate = "verify"
        [sip]
        tls = ["0.0.0.0:5061"]
        [[sip.domain]]
        domain = "ocs.test"
        next_hop = "http://x"
        trusted_addresses = ["10.0.0.0/99"]
        [limits]
        message_wait = "1m"
    "#;
    let found = problems(text);
    for expected in [
        "gateway.host: `not a host` is not a domain name",
        "dns.trust_anchor: is of use only where dane is true",
        "tls.posh_networks: is of use only where posh is true",
        "xmpp.listen: `nowhere`: invalid socket address syntax; write address and port, as in 192.0.2.7:5269",
        "xmpp.partner[0].address: invalid socket address syntax; write address and port",
        "xmpp.partner[0].certificate: cannot be \"verify\" unless",
        "sip.domain[0].next_hop: is not a SIP URI",
        "sip.domain[0].trusted_addresses: `10.0.0.0/99`",
        "limits.message_wait: must be below 30s",
    ] {
        assert!(
            found.iter().any(|p| p.starts_with(expected)),
            "{expected} in {found:#?}"
        );
    }
}

#[test]
fn networks_are_for_partners_that_no_rule_names() {
    let with = |domain: &str| {
        let place = "domain = \"*\"\n";
        let keys = format!("domain = \"{domain}\"\nnetworks = [\"10.0.0.0/8\"]\n");
        read(&EXAMPLE.replacen(place, &keys, 1))
    };
    assert_eq!(with("*").unwrap().xmpp.partners[0].networks.len(), 1);
    for domain in ["jabber.test", "*.jabber.test"] {
        let found = with(domain).expect_err(domain).list;
        assert_eq!(found.len(), 1);
        let problem = found[0].to_string();
        assert!(
            problem.starts_with("xmpp.partner[0].networks: is of use only"),
            "{problem}"
        );
    }
}

#[test]
fn what_a_partner_may_prove_itself_with_must_be_able_to_work() {
    let with = |keys: &str| {
        let place = "[[xmpp.partner]]\n";
        read(&EXAMPLE.replace(place, &format!("{place}{keys}\n")))
    };
    let conflicts = [
        (
            "tls = \"optional\"\ncertificate = \"verify\"",
            "certificate: cannot be \"verify\" unless",
        ),
        (
            "tls = \"optional\"\nexternal = \"required\"",
            "external: cannot be \"required\" unless",
        ),
        (
            "tls = \"off\"\nexternal = \"required\"",
            "external: cannot be \"required\" unless",
        ),
        (
            "external = \"off\"\ndialback = false",
            "dialback: cannot be false where external",
        ),
        (
            "tls = \"optional\"\ndialback = false",
            "dialback: cannot be false unless tls",
        ),
        (
            "tls = \"off\"\ndialback = false",
            "dialback: cannot be false unless tls",
        ),
        ("before_1_0 = true", "before_1_0: cannot be true where tls"),
        ("external = \"maybe\"", "external: unknown variant"),
        ("direct_tls = true", "direct_tls: is about address"),
        (
            "tls = \"off\"\naddress = \"192.0.2.7:5270\"\ndirect_tls = true",
            "direct_tls: cannot be true where tls",
        ),
    ];
    for (keys, problem) in conflicts {
        let found = with(keys).expect_err(keys).list;
        let found: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert_eq!(found.len(), 1, "{keys}: {found:?}");
        assert!(
            found[0].starts_with(&format!("xmpp.partner[0].{problem}")),
            "{found:?}"
        );
    }
    for keys in [
        "",
        "external = \"required\"",
        "address = \"192.0.2.7:5270\"\ndirect_tls = true",
        "external = \"required\"\ndialback = false",
        "dialback = false",
        "external = \"off\"",
        "external = \"off\"\ncertificate = \"verify\"",
        "tls = \"optional\"",
        "tls = \"optional\"\nbefore_1_0 = true",
        "tls = \"off\"\nexternal = \"off\"\nbefore_1_0 = true",
    ] {
        assert!(with(keys).is_ok(), "{keys}");
    }
    let (plain, full) = (read(EXAMPLE), read(&example_with_all_keys()));
    let rule = |config: Result<Config, Problems>| {
        let partner = config.unwrap().xmpp.partners.remove(0);
        let (tls, external, certificate) = (partner.tls, partner.external, partner.certificate);
        (
            tls,
            external,
            partner.dialback,
            certificate,
            partner.before_1_0,
        )
    };
    assert_eq!(
        rule(plain),
        rule(full),
        "commented keys show their defaults"
    );
}

#[test]
fn rooms_are_bounded_and_their_domains_known() {
    let rooms = |text: &str| problems(&EXAMPLE.replace("[rooms]", &format!("[rooms]\n{text}")));
    assert_eq!(
        rooms("conferences = [\"Chat.example.net\"]"),
        [
            "rooms.conferences: chat.example.net is not served here: name it in a [[sip.domain]], too"
        ]
    );
    for (text, key) in [
        ("enter_within = \"10m\"", "rooms.enter_within"),
        ("enter_within = 0", "rooms.enter_within"),
        ("check_after = \"1s\"", "rooms.check_after"),
        ("occupants = 0", "rooms.occupants"),
        ("occupants = 100000", "rooms.occupants"),
        ("occupant = 1", "rooms.occupant"),
        ("services = [\"*\"]", "rooms.services"),
        ("services = [\"a b\"]", "rooms.services"),
    ] {
        let found = rooms(text);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with(&format!("{key}: ")), "{found:?}");
    }
    let full = read(&example_with_all_keys()).unwrap();
    assert!(full.rooms.conferences.contains("ocs.example.com"));
    let service = DomainPattern::parse("conference.xmpp.example.net");
    assert_eq!(full.rooms.services, [service]);
}

#[test]
fn a_domain_cannot_live_in_both_worlds() {
    let found = problems(&EXAMPLE.replace("domain = \"*\"", "domain = \"ocs.example.com\""));
    assert_eq!(
        found,
        [
            "sip: ocs.example.com is both a SIP domain and an XMPP partner; it can live in one world only"
        ]
    );
}

#[test]
fn the_environment_overrides_the_file() {
    let environment = [
        ("STOXGATE_LOG__LEVEL", "debug"),
        ("STOXGATE_SIP__UDP", "127.0.0.1:5060,[::1]:5060"),
        ("STOXGATE_LIMITS__QUEUE", "7"),
        ("STOXGATE_BIN", "not a key"),
        ("OTHER__KEY", "not ours"),
    ];
    let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let config = parse(EXAMPLE, Path::new("gateway.toml"), environment).unwrap();
    assert_eq!(config.log.filter, "debug");
    assert_eq!(config.sip.udp.len(), 2);
    assert_eq!(config.limits.queue, 7);
}

#[test]
fn a_relay_has_a_name_and_a_password() {
    let relay = |text: &str| {
        let text = EXAMPLE.replace("[msrp]\n", &format!("[msrp]\n{text}\n"));
        read(&text).map(|config| config.msrp.and_then(|msrp| msrp.relay))
    };
    let whole = "relay = \"msrps://relay.example.org;tcp\"\nrelay_user = \"gw\"\n";
    let found = relay(&format!("{whole}relay_password = \"secret\"")).unwrap();
    let found = found.expect("a relay turns MSRP on");
    assert_eq!(
        (found.user.as_str(), found.password.reveal()),
        ("gw", "secret")
    );
    assert_eq!(found.uri.to_string(), "msrps://relay.example.org;tcp");

    // Any file will do.
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = format!("[msrp]\n{whole}relay_password_file = \"clippy.toml\"\n");
    let text = EXAMPLE.replace("[msrp]\n", &text);
    let config = parse(&text, &folder.join("gateway.toml"), []).unwrap();
    let found = config.msrp.and_then(|msrp| msrp.relay).unwrap();
    let word = std::fs::read_to_string(folder.join("clippy.toml")).unwrap();
    assert_eq!(found.password.reveal(), word.trim_end());

    let uri =
        |uri: &str| format!("relay = \"{uri}\"\nrelay_user = \"gw\"\nrelay_password = \"secret\"");
    for (text, problem) in [
        (
            whole.to_owned(),
            "msrp.relay_password: give either relay_password or relay_password_file",
        ),
        (
            "relay_user = \"gw\"".to_owned(),
            "msrp.relay_user: is for a relay",
        ),
        (
            uri("msrp://relay.example.org:2855;tcp"),
            "msrp.relay: must be reached over TLS",
        ),
        (
            uri("msrps://relay.example.org:2855/x;tcp"),
            "msrp.relay: must name a host alone",
        ),
        (uri("relay.example.org"), "msrp.relay: is not an MSRP URI"),
    ] {
        let found = relay(&text).expect_err("must be refused").list;
        assert_eq!(found.len(), 1, "{found:?}");
        let found = found[0].to_string();
        assert!(
            found.starts_with(problem) && !found.contains("secret"),
            "{found}"
        );
    }
}

#[test]
fn a_partner_must_be_a_domain() {
    for wrong in ["a b", "192.0.2.1", "*.", "-x.example"] {
        let found = problems(&EXAMPLE.replace("domain = \"*\"", &format!("domain = \"{wrong}\"")));
        assert!(
            found
                .iter()
                .any(|p| p.starts_with("xmpp.partner[0].domain:")),
            "{wrong}: {found:?}"
        );
    }
}

/// The example with a second SIP domain, and old TLS for the first.
fn with_legacy_domain(second: &str) -> String {
    EXAMPLE
        .replace(
            "#tls = \"modern\"\n",
            &format!("tls = \"legacy-dangerous\"\n[[sip.domain]]\n{second}\n"),
        )
        .replace("#trusted_addresses =", "trusted_addresses =")
}

/// Problems apart from the one that a build without old TLS reports.
fn problems_of_legacy(second: &str) -> Vec<String> {
    let list = read(&with_legacy_domain(second)).err().map(|p| p.list);
    let other = |problem: &Problem| !problem.message.contains(DomainTls::NOT_BUILT);
    let found = list.unwrap_or_default();
    found
        .iter()
        .filter(|problem| other(problem))
        .map(ToString::to_string)
        .collect()
}

#[test]
fn old_tls_needs_a_build_with_it() {
    let settings = with_legacy_domain("domain = \"other.test\"");
    if DomainTls::IS_BUILT {
        let config = read(&settings).unwrap();
        assert_eq!(config.sip.domains[0].tls, DomainTls::LegacyDangerous);
        assert_eq!(config.sip.domains[1].tls, DomainTls::Modern);
        return;
    }
    let found = problems(&settings);
    let [only] = found.as_slice() else {
        panic!("{found:?}");
    };
    assert!(
        only.starts_with("sip.domain[0].tls: cannot be \"legacy-dangerous\"")
            && only.contains("--features legacy-tls"),
        "{only}"
    );
}

#[test]
fn a_host_with_old_tls_belongs_to_no_modern_domain() {
    for (second, shared) in [
        (
            "domain = \"other.test\"\ncertificate_names = [\"Edge.ocs.example.com\"]",
            "edge.ocs.example.com",
        ),
        ("domain = \"edge.ocs.example.com\"", "edge.ocs.example.com"),
        (
            "domain = \"other.test\"\nnext_hop = \"sip:EDGE.ocs.example.com\"",
            "edge.ocs.example.com",
        ),
        (
            "domain = \"other.test\"\ntrusted_addresses = [\"192.0.2.0/24\"]",
            "192.0.2.10",
        ),
    ] {
        let found = problems_of_legacy(second);
        let expected = format!(
            "sip.domain: {shared} belongs both to ocs.example.com, which has tls = \"legacy-dangerous\""
        );
        assert!(
            matches!(found.as_slice(), [only] if only.starts_with(&expected)),
            "{found:?}"
        );
        let same = format!("{second}\ntls = \"legacy-dangerous\"");
        assert_eq!(problems_of_legacy(&same), Vec::<String>::new());
    }
    let apart = "domain = \"other.test\"\ntrusted_addresses = [\"192.0.2.11\", \"2001:db8::/32\"]";
    assert_eq!(problems_of_legacy(apart), Vec::<String>::new());
}

#[test]
fn old_tls_needs_tls() {
    let clear = with_legacy_domain("domain = \"other.test\"").replace("=tls", "=tcp");
    let found = problems(&clear);
    assert!(
        found
            .iter()
            .any(|p| p.starts_with("sip.domain[0].tls:") && p.contains("write ;transport=tls")),
        "{found:?}"
    );
}

#[test]
fn stanzas_may_be_as_long_as_every_server_takes() {
    let with = |limit: u32| {
        let line = format!("stanza_limit = {limit}");
        EXAMPLE.replace("#stanza_limit = 65536", &line)
    };
    assert_eq!(read(&with(10_000)).unwrap().xmpp.stanza_limit, 10_000);
    let found = problems(&with(9_999));
    assert!(
        matches!(found.as_slice(), [only] if only.starts_with("xmpp.stanza_limit: must be at least 10000")),
        "{found:?}"
    );
}

#[test]
fn old_tls_must_not_be_named_by_halves() {
    let found = problems(&EXAMPLE.replace("#tls = \"modern\"", "tls = \"legacy\""));
    assert!(
        found
            .iter()
            .any(|p| p.starts_with("sip.domain[0].tls:") && p.contains("legacy-dangerous")),
        "{found:?}"
    );
}
