//! One session: its messages on their way out and in.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use super::types::{DeliveryId, DialId, Message, Plan};
use crate::msrp::frame::{ByteRange, FailureReport, Status};
use crate::msrp::ident::is_ident;
use crate::msrp::reassembly::{Assembly, Ranges};
use crate::transport::FlowId;

/// Where a session stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// For the peer to connect.
    Waiting,
    Dialling(DialId),
    Bound(FlowId),
}

/// One message of ours.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) number: u64,
    pub(super) message: Message,
    /// The `Message-ID` on the wire.
    pub(super) wire_id: String,
    /// Octets in frames so far.
    pub(super) offset: usize,
    /// Its last chunk is in a frame.
    pub(super) all_sent: bool,
    /// Chunks without response.
    pub(super) unanswered: usize,
}

impl Outgoing {
    /// Every chunk has its response, or needs none.
    pub(super) fn is_settled(&self) -> bool {
        self.all_sent && self.unanswered == 0 && self.message.failure_report != FailureReport::No
    }

    pub(super) fn has_left(&self) -> bool {
        self.offset > 0 || self.all_sent
    }

    pub(super) fn waiting_octets(&self) -> usize {
        self.message.body.len() - self.offset
    }
}

/// What the peer has reported of one message of ours.
#[derive(Debug)]
pub(super) struct Reported {
    wire_id: String,
    id: String,
    octets: u64,
    have: Ranges,
}

/// One session.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) plan: Plan,
    pub(super) phase: Phase,
    /// In the order in which they were given to us, until they are settled.
    pub(super) outbox: VecDeque<Outgoing>,
    pub(super) queued: usize,
    pub(super) assemblies: BTreeMap<String, Assembly>,
    pub(super) deliveries: BTreeSet<DeliveryId>,
    reported: VecDeque<Reported>,
    /// Messages that were refused and whose further chunks are refused too, the last few.
    refused: VecDeque<String>,
}

const MAX_REFUSED: usize = 16;

impl Session {
    pub(super) fn new(plan: Plan) -> Self {
        Self {
            plan,
            phase: Phase::Waiting,
            outbox: VecDeque::new(),
            queued: 0,
            assemblies: BTreeMap::new(),
            deliveries: BTreeSet::new(),
            reported: VecDeque::new(),
            refused: VecDeque::new(),
        }
    }

    pub(super) fn flow(&self) -> Option<FlowId> {
        match self.phase {
            Phase::Bound(flow) => Some(flow),
            Phase::Waiting | Phase::Dialling(_) => None,
        }
    }

    /// The message to make the next chunk of.
    pub(super) fn next_outgoing(&mut self) -> Option<&mut Outgoing> {
        self.outbox.iter_mut().find(|message| !message.all_sent)
    }

    /// What waits for its answer, or will when its rest has come.
    pub(super) fn held(&self) -> usize {
        self.deliveries.len() + self.assemblies.len()
    }

    pub(super) fn outgoing(&mut self, number: u64) -> Option<&mut Outgoing> {
        self.outbox
            .iter_mut()
            .find(|message| message.number == number)
    }

    /// Takes a message out; its octets do not wait any more.
    pub(super) fn take_outgoing(&mut self, number: u64) -> Option<Outgoing> {
        let at = self.outbox.iter().position(|m| m.number == number)?;
        let message = self.outbox.remove(at)?;
        self.queued -= message.waiting_octets();
        Some(message)
    }

    /// Further chunks of this message are refused.
    pub(super) fn refuse(&mut self, id: &str) {
        if !self.has_refused(id) {
            if self.refused.len() >= MAX_REFUSED {
                self.refused.pop_front();
            }
            self.refused.push_back(id.to_owned());
        }
    }

    pub(super) fn has_refused(&self, id: &str) -> bool {
        self.refused.iter().any(|refused| refused == id)
    }

    /// Octets of what is being put together.
    pub(super) fn assembled(&self) -> u64 {
        self.assemblies.values().map(|a| a.body.len() as u64).sum()
    }

    /// What has been put together for the longest time.
    pub(super) fn oldest_assembly(&self) -> Option<String> {
        let all = self.assemblies.iter();
        let oldest = all.min_by_key(|(_, assembly)| assembly.until);
        oldest.map(|(id, _)| id.clone())
    }

    /// When the first message that is being put together is given up.
    pub(super) fn next_assembly(&self) -> Option<Duration> {
        self.assemblies.values().map(|a| a.until).min()
    }

    /// The id of a message on the wire: its own where that is legal and not under way.
    pub(super) fn wire_id(&self, id: &str, fresh: String) -> String {
        let taken = self.outbox.iter().any(|message| message.wire_id == id);
        if is_ident(id) && !taken {
            id.to_owned()
        } else {
            fresh
        }
    }

    /// Remembers a message for its reports, the last `limit` of them.
    pub(super) fn expect_reports(&mut self, message: &Message, wire_id: &str, limit: usize) {
        if self.reported.len() >= limit {
            self.reported.pop_front();
        }
        self.reported.push_back(Reported {
            wire_id: wire_id.to_owned(),
            id: message.id.clone(),
            octets: message.body.len() as u64,
            have: Ranges::default(),
        });
    }

    /// Takes a report in. The id of the message that is now settled by it.
    pub(super) fn take_report(
        &mut self,
        wire_id: &str,
        range: Option<ByteRange>,
        status: &Status,
    ) -> Option<String> {
        let at = self.reported.iter().rposition(|r| r.wire_id == wire_id)?;
        let report = self.reported.get_mut(at)?;
        if status.is_success() {
            let (start, end) = match range {
                Some(range) => (range.start - 1, range.end.unwrap_or(report.octets)),
                None => (0, report.octets),
            };
            report.have.insert(start, end.min(report.octets));
            if !report.have.covers(report.octets) {
                return None;
            }
        }
        self.reported.remove(at).map(|report| report.id)
    }
}
