//! Connections: where they lead, whose sessions they carry, and what is under way on them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use stox_core::time::Now;

use super::receiving::Incoming;
use super::words::{Channel, Fingerprint, Security};
use crate::msrp::framer::Framer;
use crate::msrp::uri::MsrpUri;

/// Where a connection of ours leads, and how it is protected: sessions with the same share it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    host: String,
    port: u16,
    security: Security,
}

impl Place {
    pub(super) fn new(target: &MsrpUri, security: &Security) -> Self {
        Self {
            host: target.host.to_ascii_lowercase(),
            port: target.effective_port(),
            security: security.clone(),
        }
    }

    pub(super) fn is_secure(&self) -> bool {
        self.security != Security::Plain
    }
}

/// What a response of the peer's is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Asked {
    /// A chunk of this message.
    Chunk(Channel, String),
    /// Our nickname.
    Nickname(Channel),
}

/// One connection.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) framer: Framer,
    pub(super) secure: bool,
    /// What the client showed.
    pub(super) certificate: Option<Vec<Fingerprint>>,
    pub(super) channels: BTreeSet<Channel>,
    /// When it must belong to a session.
    pub(super) bind_by: Option<Duration>,
    /// The request that is coming in.
    pub(super) incoming: Option<Incoming>,
    /// Responses and reports, which go before messages.
    pub(super) urgent: VecDeque<Bytes>,
    /// Octets handed out and not written.
    pub(super) in_flight: usize,
    /// The session whose chunk went last.
    pub(super) turn: Option<Channel>,
    /// Requests of ours that have no response, by transaction id.
    pub(super) asked: BTreeMap<String, Asked>,
    /// It closes when nothing is left to send.
    pub(super) ending: bool,
}

impl Connection {
    pub(super) fn new(secure: bool, certificate: Option<Vec<Fingerprint>>, _now: Now) -> Self {
        Self {
            framer: Framer::default(),
            secure,
            certificate,
            channels: BTreeSet::new(),
            bind_by: None,
            incoming: None,
            urgent: VecDeque::new(),
            in_flight: 0,
            turn: None,
            asked: BTreeMap::new(),
            ending: false,
        }
    }

    /// The sessions in the order of their turns.
    pub(super) fn round(&self) -> Vec<Channel> {
        let after = |channel: &&Channel| self.turn.is_none_or(|turn| **channel > turn);
        let (first, then): (Vec<&Channel>, Vec<&Channel>) = self.channels.iter().partition(after);
        first.into_iter().chain(then).copied().collect()
    }
}
