//! Dialling an account's server, and why that fails.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use stox_core::failure::{Failure, Local};
use stox_xmpp::link::Loss;
use stox_xmpp::stream::{CloseReason, LoginFault, StreamCondition};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::AccountPlan;
use crate::config::ComponentServer;
use crate::entropy::OsEntropy;
use crate::net::lookup::{self, XmppPlace};
use crate::streams::Shared;
use crate::streams::connection::Connection;

/// The port for clients where neither DNS nor the settings name one (RFC 6120 §3.2.2).
const PORT: u16 = 5222;
/// How long TCP may take to one address.
const TCP_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest delay before a server that may come back is tried again.
const RETRY_LATEST: Duration = Duration::from_secs(120);
/// Delay before a server that waits for a person is. Servers lock accounts on which wrong passwords are tried.
const RETRY_LASTING: Duration = Duration::from_secs(900);

/// Why there is no session.
#[derive(Debug, Clone)]
pub(super) struct Trouble {
    /// For the administrator.
    pub(super) words: String,
    /// For those who wait.
    pub(super) local: Local,
    /// It does not get better by itself; so it is named.
    pub(super) lasting: Option<&'static str>,
}

impl Trouble {
    pub(super) fn passing(words: impl Into<String>) -> Self {
        Self {
            words: words.into(),
            local: Local::Unreachable,
            lasting: None,
        }
    }

    pub(super) fn lasting(name: &'static str, words: impl Into<String>) -> Self {
        Self {
            words: words.into(),
            local: Local::TransportFailed,
            lasting: Some(name),
        }
    }

    /// What links are told.
    pub(super) fn loss(&self) -> Loss {
        let failure = Failure::Local(self.local);
        match self.lasting {
            Some(_) => Loss::Lasting(failure),
            None => Loss::Passing(failure),
        }
    }

    /// The delay before the next attempt, the first or the longest.
    pub(super) fn delays(&self) -> (Duration, Duration) {
        match self.lasting {
            Some(_) => (RETRY_LASTING, RETRY_LASTING),
            None => (Duration::from_secs(1), RETRY_LATEST),
        }
    }

    pub(super) fn of_login(fault: &LoginFault) -> Self {
        match fault {
            LoginFault::Refused(_) => Self::lasting(
                "wrong password",
                format!(
                    "{fault}: correct xmpp.account.jid or its password, or have the account opened again, and send SIGHUP"
                ),
            ),
            LoginFault::NoMechanism { plain: true, .. } => Self::lasting(
                "no way to sign in",
                format!(
                    "{fault}: set plain = true in this [[xmpp.account]] if the password may be shown to that server"
                ),
            ),
            LoginFault::NoMechanism { .. } | LoginFault::Iterations(_) => Self::lasting(
                "no way to sign in",
                format!("{fault}: the server has to offer SCRAM-SHA-256 or SCRAM-SHA-1"),
            ),
            LoginFault::ServerProof => Self::lasting(
                "server not proved",
                format!(
                    "{fault}: somebody may sit between it and us, with a certificate that we trust; look at tls.roots"
                ),
            ),
            LoginFault::NotNow(_) | LoginFault::Exchange(_) | LoginFault::Bind(_) => {
                Self::passing(fault.to_string())
            }
        }
    }

    /// What the end of a stream means.
    pub(super) fn of_stream(reason: &CloseReason) -> Self {
        match reason {
            CloseReason::TlsNotOffered | CloseReason::TlsRefused => Self::lasting(
                "no TLS",
                format!(
                    "{reason}, and no password is sent in clear: have TLS turned on there, or set server and direct_tls"
                ),
            ),
            CloseReason::CertificateNotValid { domain, .. } => Self::lasting(
                "certificate refused",
                format!("{reason}: the server needs one for {domain} by an authority in tls.roots"),
            ),
            CloseReason::PeerError(error) if error.condition == StreamCondition::HostUnknown => {
                Self::lasting(
                    "no such domain",
                    "the server does not know the domain of xmpp.account.jid: correct it, or server",
                )
            }
            CloseReason::ConnectionLost | CloseReason::Timeout(_) => Self {
                local: Local::TransportFailed,
                ..Self::passing(reason.to_string())
            },
            _ => Self::passing(reason.to_string()),
        }
    }
}

/// A connection to one of the server's addresses, and whether TLS comes at once. `attempt`: those that did not lead to a
/// session are tried in turn.
pub(super) async fn connect(
    shared: &Shared,
    plan: &AccountPlan,
    attempt: u32,
) -> Result<(Connection, bool), Trouble> {
    let mut places = places(shared, plan).await?;
    if !places.is_empty() {
        let turn = usize::try_from(attempt).unwrap_or(0) % places.len();
        places.rotate_left(turn);
    }
    let mut trouble = Trouble::passing("its name leads to no address");
    for place in places {
        let address = place.address;
        match timeout(TCP_TIMEOUT, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok((Connection::new(stream), place.direct_tls)),
            Ok(Err(error)) => {
                trouble =
                    Trouble::passing(format!("{address} does not take the connection: {error}"));
            }
            Err(_) => trouble = Trouble::passing(format!("{address} does not answer")),
        }
    }
    Err(trouble)
}

async fn places(shared: &Shared, plan: &AccountPlan) -> Result<Vec<XmppPlace>, Trouble> {
    let domain = &plan.client.domain;
    if let Some(server) = &plan.config.server {
        let addresses = addresses(shared, server).await?;
        let place = |address| XmppPlace {
            address: SocketAddr::new(address, server.port),
            direct_tls: plan.config.direct_tls,
            secure_host: None,
        };
        return Ok(addresses.into_iter().map(place).collect());
    }
    let mut entropy = OsEntropy::default();
    let found = lookup::xmpp_client(&shared.dns, domain, PORT, &mut entropy).await;
    found.map_err(|local| match local {
        Local::DomainNotFound => Trouble {
            local,
            ..Trouble::lasting(
                "no such domain",
                format!("DNS has no XMPP server for clients of {domain}: correct xmpp.account.jid, or set server"),
            )
        },
        _ => Trouble::passing(format!("DNS does not answer for {domain}")),
    })
}

/// `localhost` is known without DNS, as are addresses; other names are asked for.
async fn addresses(shared: &Shared, server: &ComponentServer) -> Result<Vec<IpAddr>, Trouble> {
    let host = &server.host;
    if let Ok(address) = host.parse() {
        return Ok(vec![address]);
    }
    if host == "localhost" {
        return Ok(vec![
            IpAddr::from(std::net::Ipv4Addr::LOCALHOST),
            IpAddr::from(std::net::Ipv6Addr::LOCALHOST),
        ]);
    }
    let found = shared.dns.addresses(host).await;
    found.map_err(|error| Trouble::passing(format!("{host} cannot be resolved: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_to_do_and_when_it_is_tried_again() {
        let refused = LoginFault::Refused("not-authorized".to_owned());
        let plain = LoginFault::NoMechanism {
            offered: "PLAIN".to_owned(),
            plain: true,
        };
        let no_certificate = CloseReason::CertificateNotValid {
            domain: "jabber.test".to_owned(),
            why: "it names other.test".to_owned(),
        };
        let cases = [
            (Trouble::of_login(&refused), true, "send SIGHUP"),
            (Trouble::of_login(&plain), true, "set plain = true"),
            (
                Trouble::of_login(&LoginFault::ServerProof),
                true,
                "tls.roots",
            ),
            (
                Trouble::of_login(&LoginFault::NotNow(String::new())),
                false,
                "",
            ),
            (
                Trouble::of_stream(&no_certificate),
                true,
                "needs one for jabber.test",
            ),
            (
                Trouble::of_stream(&CloseReason::TlsNotOffered),
                true,
                "in clear",
            ),
            (
                Trouble::of_stream(&CloseReason::ConnectionLost),
                false,
                "lost",
            ),
        ];
        for (trouble, lasting, words) in cases {
            assert_eq!(trouble.lasting.is_some(), lasting, "{trouble:?}");
            assert!(trouble.words.contains(words), "{words} in {trouble:?}");
            let first = trouble.delays().0;
            assert_eq!(first >= Duration::from_secs(900), lasting, "{trouble:?}");
        }
    }
}
