//! The relay through which MSRP peers reach us (RFC 4976): we are known to it from the start on, and ask again where it
//! has failed.

use std::time::Duration;

use stox_core::time::Now;

use super::UserAgent;
use super::settings::{Msrp, Settings};
use crate::msrp::endpoint::{Endpoint, Fault, Proof, RelayId, Security};
use crate::msrp::uri::MsrpUri;

/// The wait after a first failure; it doubles with each further one.
const FIRST_WAIT: Duration = Duration::from_secs(10);
/// The longest wait.
const LONGEST_WAIT: Duration = Duration::from_secs(600);

/// What an administrator should hear of the relay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelayNews {
    /// The relay, as the settings name it.
    pub relay: MsrpUri,
    /// Sessions go through it from now on, or why they do not any more.
    pub outcome: Result<(), Fault>,
}

/// Us at the relay.
#[derive(Debug)]
pub(super) struct RelayClient {
    id: Option<RelayId>,
    /// When to ask next.
    ask_at: Option<Duration>,
    wait: Duration,
    /// Whether it worked, as the administrator was told last.
    told: Option<bool>,
    news: Option<RelayNews>,
}

impl RelayClient {
    /// One that asks as soon as time is told.
    pub(super) fn new(settings: &Settings) -> Self {
        let relay = settings.msrp.as_ref().and_then(|msrp| msrp.relay.as_ref());
        Self {
            id: None,
            ask_at: relay.map(|_| Duration::ZERO),
            wait: FIRST_WAIT,
            told: None,
            news: None,
        }
    }

    /// When it has something to do.
    pub(super) fn next_timeout(&self) -> Option<Duration> {
        self.ask_at
    }

    /// Asks, where that is due.
    pub(super) fn handle_timeout(&mut self, settings: &Settings, msrp: &mut Endpoint, now: Now) {
        if self.ask_at.is_none_or(|at| at > now.mono) {
            return;
        }
        self.ask_at = None;
        if let Some(old) = self.id.take() {
            msrp.release(old, now);
        }
        if let Some(own) = &settings.msrp {
            self.id = ask(own, msrp, now);
        }
    }

    /// The relay's answer, or its end.
    pub(super) fn happened(
        &mut self,
        id: RelayId,
        outcome: Result<(), Fault>,
        settings: &Settings,
        now: Now,
    ) {
        let relay = settings.msrp.as_ref().and_then(|msrp| msrp.relay.as_ref());
        let Some(relay) = relay.filter(|_| self.id == Some(id)) else {
            return;
        };
        if outcome.is_ok() {
            self.wait = FIRST_WAIT;
        } else {
            self.id = None;
            self.ask_at = Some(now.mono + self.wait);
            self.wait = (self.wait * 2).min(LONGEST_WAIT);
        }
        if self.told != Some(outcome.is_ok()) {
            self.told = Some(outcome.is_ok());
            let relay = relay.uri.clone();
            self.news = Some(RelayNews { relay, outcome });
        }
    }

    /// Other settings: what was asked before is of no use.
    pub(super) fn start_anew(&mut self) {
        self.ask_at = Some(Duration::ZERO);
        self.wait = FIRST_WAIT;
        self.told = None;
    }

    /// The gateway stops. Sessions that are there end by themselves.
    pub(super) fn stop(&mut self, msrp: &mut Endpoint, now: Now) {
        self.ask_at = None;
        if let Some(id) = self.id.take() {
            msrp.release(id, now);
        }
    }
}

/// AUTH, under a URI of ours that no session has.
fn ask(own: &Msrp, msrp: &mut Endpoint, now: Now) -> Option<RelayId> {
    let relay = own.relay.as_ref()?;
    let secure = relay.uri.secure;
    let local = own.uri(secure, &msrp.fresh_session());
    let security = match secure {
        true => Security::Tls(Proof {
            fingerprints: Vec::new(),
            name: relay.uri.bare_host().to_owned(),
        }),
        false => Security::Plain,
    };
    let credentials = relay.credentials.clone();
    Some(msrp.authorise(relay.uri.clone(), local, credentials, security, now))
}

impl UserAgent {
    /// The next word about the MSRP relay for the administrator.
    pub fn poll_relay_news(&mut self) -> Option<RelayNews> {
        self.relay.news.take()
    }
}
