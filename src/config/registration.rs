//! `[[sip.registration]]`: lines at SIP providers.

use std::time::Duration;

use stox_sip::uri::Uri;

use super::build::check_next_hop;
use super::keys::Table;
use super::types::{Registration, Sip, Span, domain_name};

/// The shortest lifetime that leaves room for a refresh.
const LEAST: Duration = Duration::from_secs(60);
/// The longest.
const MOST: Duration = Duration::from_secs(24 * 3600);
/// How an address is written.
const WRITE: &str = "write sip:gateway@provider.example.net";

/// Reads one line.
pub(super) fn registration(table: &mut Table) -> Option<Registration> {
    let address: Option<String> = table.required(
        "address",
        "the line's address, such as sip:gateway@provider.example.net",
    );
    let registrar: Option<String> = table.optional("registrar");
    let expires = table.or("expires", Span(Duration::from_secs(3600))).0;
    if let Some(uri) = &registrar
        && let Err(message) = check_next_hop(uri)
    {
        table.problem("registrar", message);
    }
    if !(LEAST..=MOST).contains(&expires) {
        table.problem("expires", "must lie between 1m and 1d");
    }
    match line(&address?) {
        Ok((user, domain)) => Some(Registration {
            user,
            domain,
            registrar,
            expires,
        }),
        Err(message) => {
            table.problem("address", message);
            None
        }
    }
}

/// User and domain of a line.
fn line(address: &str) -> Result<(String, String), String> {
    let uri =
        Uri::parse(address).map_err(|error| format!("is not a SIP URI ({error}); {WRITE}"))?;
    let user = uri.user.clone().unwrap_or_default();
    let domain = domain_name(&uri.host)?;
    let plain = format!("sip:{user}@{}", uri.host);
    if user.is_empty() || !plain.eq_ignore_ascii_case(address) {
        return Err(format!("must be a user and a domain alone: {WRITE}"));
    }
    Ok((user, domain))
}

/// A line belongs to a domain that is federated with, and there is one of each.
pub(super) fn check(table: &mut Table, sip: &Sip) {
    for (index, line) in sip.registrations.iter().enumerate() {
        let (user, domain) = (&line.user, &line.domain);
        if !sip.domains.iter().any(|known| known.domain == *domain) {
            let why = format!(
                "sip:{user}@{domain} is of no SIP domain here: add a [[sip.domain]] for {domain}"
            );
            table.problem("registration", why);
        }
        let same = |other: &Registration| other.user == *user && other.domain == *domain;
        if sip.registrations.iter().take(index).any(same) {
            table.problem("registration", format!("names sip:{user}@{domain} twice"));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    fn problems(registration: &str) -> Vec<String> {
        let text = format!(
            "[gateway]\nhost = \"gw.test\"\nstate_dir = \"s\"\n[tls]\ncertificate = \"c\"\nkey = \"k\"\n\
             [[xmpp.partner]]\ndomain = \"*\"\n[sip]\nudp = [\"127.0.0.1:0\"]\n[[sip.domain]]\ndomain = \"provider.test\"\n\
             {registration}\n"
        );
        let read = crate::config::parse(&text, Path::new("/etc/gateway.toml"), []);
        let list = read.err().map(|problems| problems.list);
        list.iter().flatten().map(ToString::to_string).collect()
    }

    #[test]
    fn a_line_is_checked() {
        const GOOD: &str = "[[sip.registration]]\naddress = \"sip:gateway@provider.test\"\n";
        let rows = [
            (GOOD.to_owned(), ""),
            (
                format!("{GOOD}registrar = \"sip:reg.provider.test:5070\"\nexpires = \"10m\""),
                "",
            ),
            (format!("{GOOD}{GOOD}"), "twice"),
            (format!("{GOOD}expires = \"30s\""), "between 1m and 1d"),
            (format!("{GOOD}expires = \"2d\""), "between 1m and 1d"),
            (format!("{GOOD}registrar = \"reg\""), "not a SIP URI"),
            (
                GOOD.replace("provider.test", "other.test"),
                "add a [[sip.domain]] for other.test",
            ),
            (GOOD.replace("gateway@", ""), "a user and a domain alone"),
            (
                GOOD.replace("provider.test", "provider.test:5070"),
                "a user and a domain alone",
            ),
            (GOOD.replace("sip:gateway", "gateway"), "not a SIP URI"),
            ("[[sip.registration]]\n".to_owned(), "is missing"),
        ];
        for (text, words) in rows {
            let found = problems(&text);
            assert_eq!(found.is_empty(), words.is_empty(), "{text} {found:?}");
            assert!(found.iter().all(|line| line.contains(words)), "{found:?}");
        }
    }
}
