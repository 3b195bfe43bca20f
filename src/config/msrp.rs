//! `[msrp]`

use std::net::SocketAddr;
use std::path::Path;

use stox_sip::msrp::uri::MsrpUri;

use super::keys::Table;
use super::types::{List, Msrp, MsrpRelay, Network, domain_name};

/// The shortest limit of a message that makes sense: RFC 4975 §7.1.1 lets every chunk have 2048 octets.
const LEAST_MESSAGE: u64 = 2048;

/// Reads the section; without listeners, relay and `enabled` there is no MSRP.
pub(super) fn msrp(table: &mut Table, folder: &Path) -> Option<Msrp> {
    let tcp = table.or("tcp", List::<SocketAddr>(Vec::new())).0;
    let tls = table.or("tls", List::<SocketAddr>(Vec::new())).0;
    let relay: Option<String> = table.optional("relay");
    let reached = relay.is_some() || !(tcp.is_empty() && tls.is_empty());
    let enabled = table.or("enabled", reached);
    let relay = relay_of(table, relay.as_deref(), folder);
    let host: Option<String> = table.optional("host");
    let max_message = table.or("max_message", 65_536_u64);
    let networks = table.or("networks", List::<Network>(Vec::new())).0;
    let host = host.and_then(|host| host_name(table, host));
    if max_message < LEAST_MESSAGE {
        table.problem("max_message", format!("must be at least {LEAST_MESSAGE}"));
    }
    enabled.then_some(Msrp {
        tcp,
        tls,
        host,
        max_message,
        networks,
        relay,
    })
}

/// How a relay is written.
const RELAY: &str = "write msrps://relay.example.org:2855;tcp";

/// The relay with our name and password there, which make sense together only.
fn relay_of(table: &mut Table, relay: Option<&str>, folder: &Path) -> Option<MsrpRelay> {
    const USER: &str = "relay_user";
    const SECRETS: (&str, &str) = ("relay_password", "relay_password_file");
    let Some(relay) = relay else {
        for key in [USER, SECRETS.0, SECRETS.1] {
            if table.optional::<String>(key).is_some() {
                table.problem(key, "is for a relay, and there is none: set relay, too");
            }
        }
        return None;
    };
    let user = table.required(USER, "the user name at the relay");
    let password = table.secret(SECRETS, folder);
    let uri = match MsrpUri::parse(relay) {
        Ok(uri) if uri.session.is_some() || uri.user.is_some() => {
            table.problem("relay", format!("must name a host alone: {RELAY}"));
            None
        }
        // RFC 4976 §9.1
        Ok(uri) if !uri.secure => {
            let why = format!("must be reached over TLS, as the password is sent there: {RELAY}");
            table.problem("relay", why);
            None
        }
        Ok(uri) => Some(uri),
        Err(error) => {
            table.problem("relay", format!("is not an MSRP URI ({error}): {RELAY}"));
            None
        }
    };
    Some(MsrpRelay {
        uri: uri?,
        user: user?,
        password: password?,
    })
}

/// A domain name, or an address that peers reach us at.
fn host_name(table: &mut Table, host: String) -> Option<String> {
    if host.parse::<std::net::IpAddr>().is_ok() {
        return Some(host);
    }
    match domain_name(&host) {
        Ok(host) => Some(host),
        Err(message) => {
            table.problem("host", message);
            None
        }
    }
}
