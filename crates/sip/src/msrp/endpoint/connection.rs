//! One connection: what came in of a frame, what waits to go out, and which requests wait for responses.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;

use super::early::Early;
use super::types::{Channel, DeliveryId, Fingerprint, RelayId, Security, Settings};
use crate::msrp::frame::Head;
use crate::msrp::framer::Framer;
use crate::msrp::uri::MsrpUri;

/// Where a connection leads to. Sessions with the same one share it (RFC 4975 §5.4).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Hop {
    host: String,
    port: u16,
    security: Security,
}

impl Hop {
    pub(super) fn is_secure(&self) -> bool {
        self.security.is_tls()
    }

    pub(super) fn new(target: &MsrpUri, security: &Security) -> Self {
        Self {
            host: target.bare_host().to_ascii_lowercase(),
            port: target.effective_port(),
            security: security.clone(),
        }
    }
}

/// Who asked, and so who hears of the response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Asked {
    /// A chunk of this message.
    Chunk(Channel, u64),
    /// The empty SEND that binds.
    Bind(Channel),
    Nickname(Channel),
    Auth(RelayId),
}

/// What to do with the rest of the frame that is coming in.
#[derive(Debug)]
pub(super) enum Inbound {
    /// Nothing; it was answered, or needs no answer.
    Skip,
    /// Look at it when its end is there.
    AtEnd(Head),
    /// The body belongs to this message; the next octet goes to `at`.
    Chunk {
        head: Head,
        channel: Channel,
        at: u64,
    },
}

/// One connection.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) secure: bool,
    pub(super) certificate: Option<Vec<Fingerprint>>,
    /// We connected, and so know who it is.
    pub(super) dialled: bool,
    pub(super) hop: Option<Hop>,
    pub(super) framer: Framer,
    pub(super) inbound: Option<Inbound>,
    /// A request for a session that is only offered; nothing behind it is looked at.
    pub(super) early: Option<Early>,
    pub(super) channels: BTreeSet<Channel>,
    pub(super) relays: BTreeSet<RelayId>,
    pub(super) deliveries: BTreeSet<DeliveryId>,
    /// Requests without response, by transaction id, and the number of their timer.
    pub(super) pending: BTreeMap<String, (u64, Asked)>,
    pub(super) by_number: BTreeMap<u64, String>,
    /// Responses, reports and other small frames: they go first.
    pub(super) control: VecDeque<Bytes>,
    pub(super) control_octets: usize,
    /// Sessions with chunks to send, in turn.
    pub(super) ready: VecDeque<Channel>,
    /// Octets handed to the shell since the start, and octets it has written.
    pub(super) handed: u64,
    pub(super) written: u64,
    /// Messages that are settled when so many octets are written.
    pub(super) on_written: VecDeque<(u64, Channel, u64)>,
    /// Close when all is written.
    pub(super) closing: bool,
}

impl Connection {
    pub(super) fn new(settings: &Settings, secure: bool) -> Self {
        Self {
            secure,
            certificate: None,
            dialled: false,
            hop: None,
            framer: Framer::new(settings.frames),
            inbound: None,
            early: None,
            channels: BTreeSet::new(),
            relays: BTreeSet::new(),
            deliveries: BTreeSet::new(),
            pending: BTreeMap::new(),
            by_number: BTreeMap::new(),
            control: VecDeque::new(),
            control_octets: 0,
            ready: VecDeque::new(),
            handed: 0,
            written: 0,
            on_written: VecDeque::new(),
            closing: false,
        }
    }

    /// Nobody needs it any more.
    pub(super) fn is_idle(&self) -> bool {
        self.channels.is_empty() && self.relays.is_empty()
    }

    /// It is to be closed, and all is written.
    pub(super) fn is_done(&self) -> bool {
        self.closing && self.is_idle() && self.control.is_empty() && self.unwritten() == 0
    }

    pub(super) fn unwritten(&self) -> u64 {
        self.handed.saturating_sub(self.written)
    }

    /// Its certificate is one of these.
    pub(super) fn shows_one_of(&self, wanted: &[Fingerprint]) -> bool {
        self.certificate
            .iter()
            .flatten()
            .any(|shown| wanted.contains(shown))
    }

    pub(super) fn push_control(&mut self, octets: Bytes) {
        self.control_octets += octets.len();
        self.control.push_back(octets);
    }

    pub(super) fn pop_control(&mut self) -> Option<Bytes> {
        let octets = self.control.pop_front()?;
        self.control_octets -= octets.len();
        Some(octets)
    }

    pub(super) fn make_ready(&mut self, channel: Channel) {
        if !self.ready.contains(&channel) {
            self.ready.push_back(channel);
        }
    }

    pub(super) fn settle(&mut self, transaction: &str) -> Option<(u64, Asked)> {
        let (number, asked) = self.pending.remove(transaction)?;
        self.by_number.remove(&number);
        Some((number, asked))
    }
}
