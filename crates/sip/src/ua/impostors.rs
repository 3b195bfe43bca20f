//! Requests from outside the domain that their connection has proved: what an administrator should hear of them.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::Duration;

use stox_core::quiet::Quiet;

use super::settings::Settings;
use crate::method::Method;
use crate::transport::{Source, Transport};

/// One address is told of again after this time, for each domain that it claims.
const QUIET: Duration = Duration::from_secs(60);
/// Names of one list that are told.
const MAX_NAMES: usize = 5;

/// A request was refused, because its connection may not speak for its sender.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Impostor {
    /// The SIP domain that it claims.
    pub domain: String,
    /// What it was.
    pub method: Method,
    /// Where it came from.
    pub address: IpAddr,
    /// How.
    pub transport: Transport,
    /// The names in its certificate, some of them at most.
    pub certificate_names: Vec<String>,
    /// The federated domains that the connection may speak for, some of them at most.
    pub proved: Vec<String>,
    /// What to set if it is right all the same.
    pub cure: Cure,
    /// How often it happened unsaid since it was told last.
    pub unsaid: u64,
}

/// Somebody who is not the peer of a session has connected for it over MSRP, and was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MsrpImpostor {
    /// The SIP domain whose session it is.
    pub domain: String,
    /// How often it happened unsaid since it was told last.
    pub unsaid: u64,
}

/// Which key lets a sender in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cure {
    /// The domain is none of the settings: a `[[sip.domain]]` of its own.
    Domain,
    /// It has shown a certificate: `certificate_names`.
    CertificateName,
    /// It has shown none: `trusted_addresses`.
    Address,
    /// It has shown none, and must: mutual TLS at its side.
    Certificate,
}

impl Cure {
    fn of(domain: &str, source: &Source, settings: &Settings) -> Self {
        match settings.sip_domain(domain) {
            None => Self::Domain,
            Some(_) if !source.certificate_names.is_empty() => Self::CertificateName,
            Some(domain) if domain.needs_certificate => Self::Certificate,
            Some(_) => Self::Address,
        }
    }
}

/// Those to tell of.
#[derive(Debug)]
pub(super) struct Impostors {
    waiting: VecDeque<Impostor>,
    quiet: Quiet<(IpAddr, Option<String>)>,
    on_msrp: VecDeque<MsrpImpostor>,
    msrp_quiet: Quiet<String>,
}

impl Default for Impostors {
    fn default() -> Self {
        Self {
            waiting: VecDeque::new(),
            quiet: Quiet::new(QUIET),
            on_msrp: VecDeque::new(),
            msrp_quiet: Quiet::new(QUIET),
        }
    }
}

impl Impostors {
    /// A request was refused.
    pub(super) fn note(
        &mut self,
        domain: String,
        method: &Method,
        source: &Source,
        settings: &Settings,
        now: Duration,
    ) {
        let address = source.remote.ip().to_canonical();
        // Domains that are made up share one line.
        let known = settings.sip_domain(&domain).map(|known| known.name.clone());
        let Some(unsaid) = self.quiet.ask((address, known), now) else {
            return;
        };
        let proved = settings.spoken_for_by(source);
        self.waiting.push_back(Impostor {
            method: method.clone(),
            address,
            transport: source.transport,
            certificate_names: some(source.certificate_names.iter()),
            proved: some(proved.map(|domain| &domain.name)),
            cure: Cure::of(&domain, source, settings),
            domain,
            unsaid,
        });
    }

    /// A connection was refused to a session of the domain.
    pub(super) fn note_msrp(&mut self, domain: String, now: Duration) {
        if let Some(unsaid) = self.msrp_quiet.ask(domain.clone(), now) {
            self.on_msrp.push_back(MsrpImpostor { domain, unsaid });
        }
    }

    /// The next one on MSRP to tell of.
    pub(super) fn poll_msrp(&mut self) -> Option<MsrpImpostor> {
        self.on_msrp.pop_front()
    }

    /// The next one to tell of.
    pub(super) fn poll(&mut self) -> Option<Impostor> {
        self.waiting.pop_front()
    }
}

fn some<'a>(names: impl Iterator<Item = &'a String>) -> Vec<String> {
    names.take(MAX_NAMES).cloned().collect()
}
