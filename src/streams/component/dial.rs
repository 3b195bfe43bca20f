//! Dialling a component's server, and why that fails.

use std::net::IpAddr;
use std::time::Duration;

use stox_core::address::canonical_domain;
use stox_core::failure::Local;
use stox_xmpp::stream::{
    CloseReason, ComponentEvent, ComponentStream, Step, StreamCommand, StreamCondition,
};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{Line, Plan};
use crate::config::{ComponentTls, is_near};
use crate::streams::Shared;
use crate::streams::connection::{Connection, Lost, Side, Start};
use crate::streams::outbound::sleep_until;

/// How long TCP may take to one address.
const TCP_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest delay before a server that may come back is tried again: until then nobody reaches us.
const RETRY_LATEST: Duration = Duration::from_secs(30);
/// Longest delay before a server that waits for a person is.
const RETRY_LASTING: Duration = Duration::from_secs(300);

/// Why there is no connection.
pub(super) struct Trouble {
    /// For the administrator.
    pub(super) words: String,
    /// For those who wait.
    pub(super) local: Local,
    /// It does not get better by itself.
    pub(super) lasting: bool,
}

impl Trouble {
    pub(super) fn passing(words: impl Into<String>) -> Self {
        Self {
            words: words.into(),
            local: Local::Unreachable,
            lasting: false,
        }
    }

    /// A connection that worked has ended.
    pub(super) fn broken() -> Self {
        Self {
            local: Local::TransportFailed,
            ..Self::passing("")
        }
    }

    pub(super) fn latest(&self) -> Duration {
        if self.lasting {
            RETRY_LASTING
        } else {
            RETRY_LATEST
        }
    }

    fn lasting(words: impl Into<String>) -> Self {
        Self {
            words: words.into(),
            local: Local::TransportFailed,
            lasting: true,
        }
    }

    /// What the end of a stream before its first stanza means.
    fn of(reason: &CloseReason) -> Self {
        match reason {
            CloseReason::PeerError(error) => match error.condition {
                StreamCondition::NotAuthorized => Self::lasting(
                    "the server refused our secret: check xmpp.component.secret against its configuration (ejabberd says the same where \
                     its listener does not name the domain)",
                ),
                StreamCondition::HostUnknown => Self::lasting(
                    "the server has no component of this name: add it to the server's configuration, or correct xmpp.component.domain",
                ),
                StreamCondition::Conflict => Self::lasting(
                    "another connection to the server is this component already: end the other one; if there is none, the server \
                     has yet to notice that an old connection is dead",
                ),
                _ => Self::passing(format!("{reason}")),
            },
            CloseReason::Refused(error)
                if matches!(
                    error.condition,
                    StreamCondition::InvalidNamespace | StreamCondition::NotWellFormed
                ) =>
            {
                Self::lasting(
                    "what listens there is no component port: correct xmpp.component.server",
                )
            }
            CloseReason::ConnectionLost | CloseReason::Timeout(Step::Header) => {
                Self::passing(format!(
                    "{reason}: is this the server's component port, and does it speak TLS as xmpp.component.tls says?"
                ))
            }
            _ => Self::passing(format!("{reason}")),
        }
    }
}

/// A connection to the first address that takes our handshake.
pub(super) async fn dial(shared: &Shared, plan: &Plan) -> Result<Line, Trouble> {
    let server = &plan.component.server;
    let addresses = addresses(shared, &server.host).await?;
    let mut trouble = Trouble::passing("its name leads to no address");
    for address in addresses {
        let connecting = TcpStream::connect((address, server.port));
        let stream = match timeout(TCP_TIMEOUT, connecting).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                trouble = Trouble::passing(format!(
                    "{address} does not take the connection ({error}): does the server run, and listen for components there?"
                ));
                continue;
            }
            Err(_) => {
                trouble = Trouble::passing(format!("{address} does not answer"));
                continue;
            }
        };
        if plan.component.tls == ComponentTls::Off && !is_near(address) {
            tracing::warn!(component = plan.component.domain, %address, "the connection to the component's server is not encrypted and leaves the local network");
        }
        trouble = match negotiate(shared, plan, stream).await {
            Ok(line) => return Ok(line),
            Err(why) => why,
        };
    }
    Err(trouble)
}

/// `localhost` is known without DNS; other names are asked for.
async fn addresses(shared: &Shared, host: &str) -> Result<Vec<IpAddr>, Trouble> {
    if host == "localhost" {
        return Ok(vec![
            IpAddr::from(std::net::Ipv4Addr::LOCALHOST),
            IpAddr::from(std::net::Ipv6Addr::LOCALHOST),
        ]);
    }
    let found = shared.dns.addresses(host).await;
    found.map_err(|error| Trouble::passing(format!("{host} cannot be resolved: {error}")))
}

async fn negotiate(shared: &Shared, plan: &Plan, stream: TcpStream) -> Result<Line, Trouble> {
    let mut connection = Connection::new(stream);
    if plan.component.tls == ComponentTls::Required {
        encrypt(shared, plan, &mut connection).await?;
    }
    let clock = shared.clock;
    let mut line = Line {
        machine: ComponentStream::new(plan.settings.clone(), clock.now()),
        connection,
    };
    loop {
        while let Some(command) = line.machine.poll_command() {
            match command {
                StreamCommand::Write(octets) => {
                    if line.connection.write(&octets).await.is_err() {
                        line.machine.connection_lost();
                    }
                }
                StreamCommand::Event(ComponentEvent::Ready) => return Ok(line),
                StreamCommand::Event(ComponentEvent::Closed(reason)) => {
                    return Err(Trouble::of(&reason));
                }
                StreamCommand::Event(_) | StreamCommand::StartTls | StreamCommand::Close => {}
            }
        }
        let wake = line.machine.poll_timeout().map(|at| clock.instant(at));
        tokio::select! {
            read = line.connection.read() => match read {
                Ok(octets) => line.machine.receive(&octets, clock.now()),
                Err(Lost) => line.machine.connection_lost(),
            },
            () = sleep_until(wake) => line.machine.handle_timeout(clock.now()),
        }
    }
}

/// TLS before the first octet, with a certificate for the server's host.
async fn encrypt(shared: &Shared, plan: &Plan, connection: &mut Connection) -> Result<(), Trouble> {
    let host = &plan.component.server.host;
    let tls = shared.tls.get();
    let handshake = connection.start_tls(Side::Client(host), Start::Negotiated, &tls);
    let info = match timeout(plan.settings.timing.tls, handshake).await {
        Ok(Ok(info)) => info,
        Ok(Err(why)) => {
            return Err(Trouble::passing(format!(
                "the TLS handshake failed: {why}; does the component port speak TLS, with a certificate?"
            )));
        }
        Err(_) => return Err(Trouble::passing("the TLS handshake does not end")),
    };
    let name = canonical_domain(host);
    if info.is_valid_for(&name) {
        return Ok(());
    }
    Err(Trouble::lasting(format!(
        "the server's certificate does not count: {}; it has to be valid for {host}, the name in xmpp.component.server",
        info.why_not_valid_for(&name)
    )))
}

#[cfg(test)]
mod tests {
    use stox_xmpp::stream::StreamError;

    use super::*;

    #[test]
    fn says_what_to_do() {
        let said = |condition| CloseReason::PeerError(StreamError::new(condition, ""));
        let found = |condition| CloseReason::Refused(StreamError::new(condition, ""));
        let cases = [
            (
                said(StreamCondition::NotAuthorized),
                true,
                "check xmpp.component.secret",
            ),
            (
                said(StreamCondition::HostUnknown),
                true,
                "no component of this name",
            ),
            (
                said(StreamCondition::Conflict),
                true,
                "is this component already",
            ),
            (
                said(StreamCondition::SystemShutdown),
                false,
                "system-shutdown",
            ),
            (
                found(StreamCondition::InvalidNamespace),
                true,
                "correct xmpp.component.server",
            ),
            (
                found(StreamCondition::NotWellFormed),
                true,
                "correct xmpp.component.server",
            ),
            (
                found(StreamCondition::PolicyViolation),
                false,
                "policy-violation",
            ),
            (
                CloseReason::ConnectionLost,
                false,
                "as xmpp.component.tls says",
            ),
            (
                CloseReason::Timeout(Step::Header),
                false,
                "as xmpp.component.tls says",
            ),
            (CloseReason::PeerClosed, false, "closed by the peer"),
        ];
        for (reason, lasting, words) in cases {
            let trouble = Trouble::of(&reason);
            assert_eq!(trouble.lasting, lasting, "{reason}");
            assert!(
                trouble.words.contains(words),
                "{words} in {}",
                trouble.words
            );
        }
    }
}
