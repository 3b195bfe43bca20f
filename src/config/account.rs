//! `[[xmpp.account]]`: accounts of SIP users at XMPP servers that do not federate with us.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};

use stox_core::address::{Jid, canonical_domain, sip_to_jid};
use stox_core::policy::DomainPattern;
use stox_sip::adapt::address::from_text;
use stox_xmpp::stream::Password;

use super::keys::Table;
use super::types::{List, SipDomain, domain_pattern};
use super::{ComponentServer, Environment, Secret};

/// The ports that servers listen on for clients: with STARTTLS, and with TLS at once.
const PORTS: (u16, u16) = (5222, 5223);

/// An account through which one SIP user reaches another network.
#[derive(Clone, PartialEq, Eq)]
pub struct Account {
    /// The SIP user, as a bare canonical JID.
    pub user: Jid,
    /// The account, bare and canonical.
    pub jid: Jid,
    /// Its password.
    pub password: Secret,
    /// Domains that are reached through it, beside its own.
    pub domains: Vec<DomainPattern>,
    /// The server, where DNS is not asked for it.
    pub server: Option<ComponentServer>,
    /// That server begins with TLS (XEP-0368).
    pub direct_tls: bool,
    /// The password may be shown to the server.
    pub plain: bool,
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { user, jid, .. } = self;
        write!(f, "Account({user} as {jid}, {:?})", self.password)
    }
}

/// Reads one table of the list.
pub(super) fn account(
    table: &mut Table,
    folder: &Path,
    environment: &Environment,
) -> Option<Account> {
    let user: Option<String> = table.required(
        "user",
        "the SIP user whose account it is, such as sip:alice@ocs.example.com",
    );
    let jid: Option<String> = table.required(
        "jid",
        "the account's address, such as alice.ocs@jabber.example",
    );
    let password = password(table, folder, environment);
    let domains = domains(table);
    let direct_tls = table.or("direct_tls", false);
    let server = server(table, direct_tls);
    let plain = table.or("plain", false);
    let user = user.and_then(|text| note(table, "user", sip_user(&text)));
    let jid = jid.and_then(|text| note(table, "jid", account_jid(&text)));
    Some(Account {
        user: user?,
        jid: jid?,
        password: password?,
        domains,
        server,
        direct_tls,
        plain,
    })
}

fn note<T>(table: &mut Table, key: &str, read: Result<T, String>) -> Option<T> {
    read.map_err(|message| table.problem(key, message)).ok()
}

fn sip_user(text: &str) -> Result<Jid, String> {
    let wrong = |why: String| {
        format!("`{text}` is not a SIP user ({why}); write sip:alice@ocs.example.com")
    };
    let uri = if text.contains(':') {
        text.to_owned()
    } else {
        format!("sip:{text}")
    };
    let address = from_text(&uri).map_err(|why| wrong(why.to_string()))?;
    if address.user.is_none() {
        return Err(wrong("it has no user".to_owned()));
    }
    let jid = sip_to_jid(&address).map_err(|why| wrong(why.to_string()))?;
    Ok(jid.bare().canonical())
}

fn account_jid(text: &str) -> Result<Jid, String> {
    let wrong =
        |why: String| format!("`{text}` is not an account ({why}); write alice.ocs@jabber.example");
    let jid = Jid::parse(text).map_err(|why| wrong(why.to_string()))?;
    if jid.local.is_none() {
        return Err(wrong("it has no user".to_owned()));
    }
    if jid.resource.is_some() {
        return Err(wrong("the server chooses the resource".to_owned()));
    }
    Ok(jid.canonical())
}

fn password(table: &mut Table, folder: &Path, environment: &Environment) -> Option<Secret> {
    let file: Option<PathBuf> = table.optional("password_file");
    let variable: Option<String> = table.optional("password_env");
    let (key, secret) = match (file, variable) {
        (Some(file), None) => {
            let key = "password_file";
            (key, table.secret_file(key, &file, folder)?)
        }
        (None, Some(name)) => {
            let key = "password_env";
            let Some(text) = environment.get(&name) else {
                table.problem(
                    key,
                    format!("the environment has no {name}: set it for the service"),
                );
                return None;
            };
            (key, Secret::from(text.clone()))
        }
        _ => {
            table.problem("password_file", "give either password_file or password_env");
            return None;
        }
    };
    if let Err(why) = Password::new(secret.reveal()) {
        table.problem(key, format!("holds no password: {why}"));
        return None;
    }
    Some(secret)
}

fn domains(table: &mut Table) -> Vec<DomainPattern> {
    let names = table.or("domains", List::<String>(Vec::new())).0;
    let mut patterns = Vec::new();
    for name in names {
        match domain_pattern(&name) {
            Ok(pattern) => patterns.push(pattern),
            Err(message) => table.problem("domains", message),
        }
    }
    patterns
}

fn server(table: &mut Table, direct_tls: bool) -> Option<ComponentServer> {
    let text: Option<String> = table.optional("server");
    let Some(text) = text else {
        if direct_tls {
            table.problem("direct_tls", "is about server, which is missing: without it, DNS says which servers begin with TLS (_xmpps-client._tcp)");
        }
        return None;
    };
    let port = if direct_tls { PORTS.1 } else { PORTS.0 };
    note(table, "server", ComponentServer::parse(&text, port))
}

/// Each account is a user's of ours at a server that is none of ours, and each is there once.
pub(super) fn check_accounts(root: &mut Table, accounts: &[Account], domains: &[SipDomain]) {
    let ours: BTreeSet<String> = domains
        .iter()
        .map(|known| canonical_domain(&known.domain))
        .collect();
    let (mut users, mut jids) = (BTreeSet::new(), BTreeSet::new());
    for (index, account) in accounts.iter().enumerate() {
        let Account { user, jid, .. } = account;
        let mut problem = |key: &str, message: String| {
            root.problem(&format!("xmpp.account[{index}].{key}"), message);
        };
        if !ours.contains(&user.domain) {
            problem(
                "user",
                format!(
                    "{} is none of the SIP domains: add a [[sip.domain]] for it, or name a user of one that is there",
                    user.domain
                ),
            );
        } else if !users.insert(user) {
            problem(
                "user",
                format!("{user} has an account already: a user has one"),
            );
        }
        if ours.contains(&canonical_domain(&jid.domain)) {
            problem(
                "jid",
                format!(
                    "{} is a SIP domain of ours, for which this gateway speaks",
                    jid.domain
                ),
            );
        } else if !jids.insert(jid) {
            problem("jid", format!("{jid} is another user's account already"));
        }
        for pattern in &account.domains {
            if let DomainPattern::Exact(domain) = pattern
                && ours.contains(&canonical_domain(domain))
            {
                problem(
                    "domains",
                    format!("{domain} is a SIP domain of ours, for which this gateway speaks"),
                );
            }
        }
    }
}
