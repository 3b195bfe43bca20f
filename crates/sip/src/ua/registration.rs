//! Lines at SIP providers: where one wants a REGISTER before it gives us anything (RFC 3261 §10).
//!
//! While a line is registered, what its registrar sends counts as from the provider, and for the provider's domain only.

mod line;

use std::time::Duration;

use stox_core::time::Entropy;

use self::line::Line;
use super::effects::{Env, Fate};
use super::settings::Settings;
use super::trust::same_host;
use crate::transport::{FlowId, Source};

/// A line that we register.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registration {
    /// User of the address of record.
    pub user: String,
    /// Its domain, one of the federated ones.
    pub domain: String,
    /// The registrar as a SIP URI. Without it the domain's next hop, or RFC 3263, decides.
    pub registrar: Option<String>,
    /// The lifetime that we ask for.
    pub expires: Duration,
}

impl Registration {
    /// The address of record.
    #[must_use]
    pub fn address(&self) -> String {
        format!("sip:{}@{}", self.user, self.domain)
    }
}

/// How a line stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LineState {
    /// No answer yet.
    Asking,
    /// Registered for so long from now on.
    Registered(Duration),
    /// Not registered, and why.
    Failed(String),
    /// Given up at our stop.
    Removed,
}

/// What an administrator should hear of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistrationNews {
    /// The address of record.
    pub address: String,
    /// It is registered for so long, and will be again before that ends; or why it is not.
    pub outcome: Result<Duration, String>,
}

/// All lines.
#[derive(Debug, Default)]
pub(super) struct Registrations {
    lines: Vec<Line>,
}

impl Registrations {
    /// Lines that ask as soon as time is told.
    pub(super) fn new(settings: &Settings, entropy: &mut dyn Entropy) -> Self {
        let lines = settings.registrations.iter();
        Self {
            lines: lines.map(|line| Line::new(line.clone(), entropy)).collect(),
        }
    }

    /// When one has something to do.
    pub(super) fn next_timeout(&self) -> Option<Duration> {
        self.lines.iter().filter_map(Line::next_timeout).min()
    }

    /// Asks where that is due.
    pub(super) fn handle_timeout(&mut self, env: &mut Env<'_>) {
        for (index, line) in self.lines.iter_mut().enumerate() {
            line.handle_timeout(index, env);
        }
    }

    /// A registrar answered from there.
    pub(super) fn answer_came(&mut self, index: usize, status: u16, source: &Source) {
        if let Some(line) = self.lines.get_mut(index) {
            line.answer_came(status, source);
        }
    }

    /// The fate of a REGISTER.
    pub(super) fn settled(&mut self, index: usize, fate: &Fate, env: &mut Env<'_>) {
        if let Some(line) = self.lines.get_mut(index) {
            line.settled(index, fate, env);
        }
    }

    /// The CSeq under which a challenged REGISTER goes again.
    pub(super) fn next_cseq(&mut self, index: usize) -> Option<u32> {
        self.lines.get_mut(index).map(Line::next_cseq)
    }

    /// A connection is gone, and maybe with it the way from a registrar to us.
    pub(super) fn connection_closed(&mut self, flow: FlowId, now: Duration) {
        for line in &mut self.lines {
            line.connection_closed(flow, now);
        }
    }

    /// We stop: what is registered is taken back.
    pub(super) fn shut_down(&mut self, env: &mut Env<'_>) {
        for (index, line) in self.lines.iter_mut().enumerate() {
            line.shut_down(index, env);
        }
    }

    /// Whether what came from this source came from the registrar of a line of that domain that is registered now.
    pub(super) fn vouch(&self, domain: &str, source: &Source, now: Duration) -> bool {
        let of_domain = |line: &&Line| same_host(&line.settings().domain, domain);
        let mut lines = self.lines.iter().filter(of_domain);
        lines.any(|line| line.vouches(source, now))
    }

    /// Each line with its state.
    pub(super) fn states(&self, now: Duration) -> impl Iterator<Item = (String, LineState)> + '_ {
        let state = move |line: &Line| (line.settings().address(), line.state(now));
        self.lines.iter().map(state)
    }

    /// The next one to tell of.
    pub(super) fn poll(&mut self) -> Option<RegistrationNews> {
        self.lines.iter_mut().find_map(Line::poll)
    }
}
