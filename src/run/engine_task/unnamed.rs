//! SIP domains that no rule names: taken in when DNS has found them, let go when nobody needs them any more. Requests of
//! theirs wait meanwhile.

use std::collections::BTreeMap;
use std::time::Duration;

use stox_core::time::Now;
use stox_sip::message::{Message, Request};
use stox_sip::parse::ParseError;
use stox_sip::transport::{FlowId, Source};
use tokio::sync::oneshot;

use super::EngineTask;
use crate::net::discovery::World;
use crate::net::public_address::network_of_host;
use crate::streams::{Asker, Wanted};

/// Between two looks for domains whose records are over: each look goes through everything that may need one.
const PAUSE: Duration = Duration::from_secs(30);

/// Requests of domains without a name that wait for DNS, in all.
const MAX_WAITING: usize = 256;
/// The same of one host.
const MAX_WAITING_OF_HOST: usize = 32;

/// Requests of SIP domains without a name that their connections have proved, until DNS has answered about them.
#[derive(Default)]
pub(super) struct Strangers {
    waiting: BTreeMap<String, Vec<(Source, Request)>>,
}

impl Strangers {
    fn has_room(&self, source: &Source) -> bool {
        let host = network_of_host(source.remote.ip());
        let (mut all, mut own) = (0, 0);
        for (other, _) in self.waiting.values().flatten() {
            all += 1;
            own += usize::from(network_of_host(other.remote.ip()) == host);
        }
        all < MAX_WAITING && own < MAX_WAITING_OF_HOST
    }

    fn wait(&mut self, domain: String, source: Source, request: Request) {
        let waiting = self.waiting.entry(domain).or_default();
        waiting.push((source, request));
    }

    /// A connection is gone, and with it whatever could be answered there.
    pub(super) fn left(&mut self, flow: FlowId) {
        for waiting in self.waiting.values_mut() {
            waiting.retain(|(source, _)| source.flow != flow);
        }
    }

    fn take(&mut self, domain: &str) -> Vec<(Source, Request)> {
        self.waiting.remove(domain).unwrap_or_default()
    }
}

impl EngineTask {
    /// A message on a SIP connection. One of a domain that no rule names, and that the connection's certificate has proved,
    /// waits until DNS has said whether the domain is served.
    pub(super) fn framed(
        &mut self,
        source: Source,
        message: Result<Message, ParseError>,
        now: Now,
    ) {
        match message {
            Ok(Message::Request(request)) => match self.sought_for(&source, &request) {
                Some(domain) => self.seek_for(domain, source, request, now),
                None => {
                    let message = Ok(Message::Request(request));
                    self.engine.framed(&source, message, now);
                }
            },
            other => self.engine.framed(&source, other, now),
        }
    }

    fn sought_for(&self, source: &Source, request: &Request) -> Option<String> {
        let domain = self.engine.proved_stranger(source, request)?;
        self.streams.may_seek(&domain).then_some(domain)
    }

    fn seek_for(&mut self, domain: String, source: Source, request: Request, now: Now) {
        let (answer, mut told) = oneshot::channel();
        let wanted = Wanted {
            askers: vec![Asker::at(source.remote.ip()), Asker::Domain(domain.clone())],
            domain: domain.clone(),
            answer,
        };
        self.streams.want(wanted);
        // An answer at once is that nobody may ask now.
        if told.try_recv().is_ok() || !self.strangers.has_room(&source) {
            self.engine.put_off(&source, request, now);
        } else {
            self.strangers.wait(domain, source, request);
        }
        self.decide();
    }

    /// DNS has answered about the domain of requests that wait.
    fn go_on(&mut self, domain: &str, world: World) {
        let now = self.clock.now();
        for (source, request) in self.strangers.take(domain) {
            match world {
                World::Unknown => self.engine.put_off(&source, request, now),
                _ => {
                    let message = Ok(Message::Request(request));
                    self.engine.framed(&source, message, now);
                }
            }
        }
    }

    /// Serves what has been found, and tells those who wait for it.
    pub(super) fn decide(&mut self) {
        while let Some(decided) = self.streams.poll_decided() {
            let until = self.streams.admit(&decided);
            if until.is_some() {
                self.engine.admit(&decided.domain);
            }
            let (domain, world) = (decided.domain.clone(), decided.world);
            decided.tell(until);
            self.go_on(&domain, world);
        }
    }

    /// When [`Self::sweep`] has something to do, in monotonic time.
    pub(super) fn next_sweep(&self) -> Option<Duration> {
        Some(self.streams.next_overdue()?.max(self.swept + PAUSE))
    }

    /// Asks again about domains that are needed though their records are over, and forgets the others.
    pub(super) fn sweep(&mut self) {
        let now = self.clock.now().mono;
        if self.next_sweep().is_none_or(|at| now < at) {
            return;
        }
        self.swept = now;
        let needed = self.engine.sip_domains();
        for domain in self.streams.overdue(now) {
            if needed.contains(&domain) {
                self.streams.seek_again(domain, now);
            } else {
                tracing::info!(
                    domain,
                    "a SIP domain that no rule names is not needed any more and forgotten"
                );
                self.engine.forget(&domain);
                self.streams.forget(&domain);
            }
        }
    }
}

#[cfg(test)]
mod tests;
