//! Received requests: one event each, however often they come.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use bytes::Bytes;

use super::client_machine::Kind;
use super::key::{AckKey, MergeKey, ServerKey};
use super::server_machine::{Patience, ServerMachine, State, Step};
use super::via::{ReturnPath, Stamped};
use super::{GoneCause, ServerId, Shared, TransactionEvent, Tx, is_never_answered};
use crate::message::{Request, Response};
use crate::method::Method;
use crate::transport::{Destination, FlowId, Source};

#[derive(Debug, Default)]
pub(super) struct Servers {
    last_id: u64,
    live: HashMap<ServerId, Server>,
    by_key: HashMap<ServerKey, ServerId>,
    by_merge: HashMap<MergeKey, ServerId>,
    by_ack: HashMap<AckKey, ServerId>,
    /// Which transactions will respond over a connection.
    by_flow: BTreeSet<(FlowId, ServerId)>,
}

#[derive(Debug)]
struct Server {
    machine: ServerMachine,
    key: ServerKey,
    merge: Option<MergeKey>,
    ack: Option<AckKey>,
    flow: FlowId,
    path: ReturnPath,
    number: u32,
    /// The 100 that the layer sends when the user is slow.
    trying: Option<Response>,
    /// The last response.
    last: Option<Bytes>,
    cancelled: bool,
    unreachable: bool,
    scheduled: Option<Duration>,
}

impl Servers {
    pub(super) fn len(&self) -> usize {
        self.live.len()
    }

    /// Nothing is left of any transaction.
    #[cfg(test)]
    pub(super) fn is_clean(&self) -> bool {
        self.live.is_empty()
            && self.by_key.is_empty()
            && self.by_merge.is_empty()
            && self.by_ack.is_empty()
            && self.by_flow.is_empty()
    }

    pub(super) fn request(
        &mut self,
        shared: &mut Shared,
        source: &Source,
        stamped: Stamped,
        now: Duration,
    ) {
        let key = ServerKey::new(&stamped, source);
        if stamped.request.method == Method::ACK {
            self.ack(shared, source, stamped, &key, now);
        } else if let Some(&id) = self.by_key.get(&key) {
            shared.counters.repeated_requests += 1;
            self.step(shared, id, ServerMachine::retransmission);
        } else if stamped.request.method == Method::CANCEL {
            self.cancel(shared, source, &stamped);
        } else {
            self.start(shared, source, stamped, key, now);
        }
    }

    fn start(
        &mut self,
        shared: &mut Shared,
        source: &Source,
        stamped: Stamped,
        key: ServerKey,
        now: Duration,
    ) {
        let merge = MergeKey::new(&stamped);
        if merge
            .as_ref()
            .is_some_and(|m| self.by_merge.contains_key(m))
        {
            shared.counters.merged_requests += 1;
            return self.refuse(shared, source, &stamped, 482, "Merged Request");
        }
        if self.live.len() >= shared.settings.max_servers {
            shared.counters.refused_requests += 1;
            return self.refuse(shared, source, &stamped, 503, "Service Unavailable");
        }
        shared.counters.requests += 1;
        self.last_id += 1;
        let id = ServerId(self.last_id);
        let server = Server::new(&stamped, source, key.clone(), merge.clone(), shared, now);
        self.by_key.insert(key, id);
        if let Some(merge) = merge {
            self.by_merge.insert(merge, id);
        }
        if source.transport.row().reliable {
            self.by_flow.insert((source.flow, id));
        }
        self.live.insert(id, server);
        self.settle(shared, id);
        shared.events.push_back(TransactionEvent::Request {
            id,
            request: stamped.request,
            source: source.clone(),
        });
    }

    /// Runs one input of the machine and does what it says.
    fn step(
        &mut self,
        shared: &mut Shared,
        id: ServerId,
        input: impl FnOnce(&mut ServerMachine) -> Vec<Step>,
    ) -> Vec<Step> {
        let Some(server) = self.live.get_mut(&id) else {
            return Vec::new();
        };
        let steps = input(&mut server.machine);
        for step in &steps {
            server.perform(*step, id, shared);
        }
        self.settle(shared, id);
        steps
    }

    /// Sets the next deadline, or forgets a transaction that is over.
    fn settle(&mut self, shared: &mut Shared, id: ServerId) {
        let Some(server) = self.live.get_mut(&id) else {
            return;
        };
        let next = server.machine.next_deadline();
        shared
            .deadlines
            .set(Tx::Server(id), &mut server.scheduled, next);
        if server.machine.state() != State::Terminated {
            return;
        }
        if let Some(server) = self.live.remove(&id) {
            self.by_key.remove(&server.key);
            self.by_flow.remove(&(server.flow, id));
            if let Some(merge) = &server.merge {
                self.by_merge.remove(merge);
            }
            if let Some(ack) = &server.ack {
                self.by_ack.remove(ack);
            }
        }
    }

    fn ack(
        &mut self,
        shared: &mut Shared,
        source: &Source,
        stamped: Stamped,
        key: &ServerKey,
        now: Duration,
    ) {
        let ack_key = AckKey::new(&stamped.request.headers, stamped.cseq.number);
        let Some(&id) = self.by_key.get(key).or_else(|| self.by_ack.get(&ack_key)) else {
            shared.counters.stray_acks += 1;
            return;
        };
        let steps = self.step(shared, id, |machine| machine.acknowledge(now));
        if steps.contains(&Step::DeliverAck) {
            shared.events.push_back(TransactionEvent::Ack {
                id,
                request: stamped.request,
                source: source.clone(),
            });
        }
    }

    /// Answers a CANCEL, and tells the user if it comes in time (RFC 3261 §9.2). Nothing is remembered of the CANCEL
    /// itself: the same answer is right for its repetitions.
    fn cancel(&mut self, shared: &mut Shared, source: &Source, stamped: &Stamped) {
        let found = Method::KNOWN
            .iter()
            .filter(|method| !is_never_answered(method) && **method != Method::CANCEL)
            .find_map(|method| {
                self.by_key
                    .get(&ServerKey::cancelled(stamped, source, method))
            });
        let Some(&id) = found else {
            let reason = "Call/Transaction Does Not Exist";
            return self.refuse(shared, source, stamped, 481, reason);
        };
        self.refuse(shared, source, stamped, 200, "OK");
        let Some(server) = self.live.get_mut(&id) else {
            return;
        };
        let in_time = server.machine.kind() == Kind::Invite && server.machine.is_open();
        if in_time && !server.cancelled {
            server.cancelled = true;
            shared.events.push_back(TransactionEvent::Cancelled { id });
        }
    }

    pub(super) fn respond(
        &mut self,
        shared: &mut Shared,
        id: ServerId,
        response: &Response,
        now: Duration,
    ) {
        let Some(server) = self.live.get_mut(&id) else {
            return;
        };
        if !server.machine.is_open() {
            return;
        }
        server.last = Some(response.to_bytes());
        let accepted = (200..300).contains(&response.status);
        if accepted && server.machine.kind() == Kind::Invite {
            let key = AckKey::new(&response.headers, server.number);
            server.ack = Some(key.clone());
            self.by_ack.insert(key, id);
        }
        if response.status >= 200 {
            server.trying = None;
        }
        let is_free = server.key.is_for(&Method::OPTIONS) && response.status >= 200;
        self.step(shared, id, |machine| machine.respond(response.status, now));
        if is_free {
            // Answering it again costs nothing; remembering it would let strangers fill the table.
            self.forget(shared, id);
        }
    }

    pub(super) fn forget(&mut self, shared: &mut Shared, id: ServerId) {
        let is_answered = |server: &Server| !server.machine.is_open();
        if self.live.get(&id).is_some_and(is_answered) {
            self.step(shared, id, ServerMachine::forget);
        }
    }

    /// Answers without a transaction.
    pub(super) fn refuse(
        &self,
        shared: &mut Shared,
        source: &Source,
        stamped: &Stamped,
        status: u16,
        reason: &str,
    ) {
        let request = &stamped.request;
        if is_never_answered(&request.method) {
            return;
        }
        let mut response = Response::for_request(request, status, reason);
        let call_id = request.headers.get("Call-ID").unwrap_or_default();
        let number = stamped.cseq.number.to_string();
        response
            .headers
            .ensure_to_tag(&shared.branches.stateless_tag(call_id, &number));
        if status == 503 {
            let seconds = shared.settings.retry_after.to_string();
            response.headers.push("Retry-After", seconds);
        }
        let path = ReturnPath::new(&stamped.via, source);
        shared.transmit(path.destination, response.to_bytes());
    }

    /// The peer cannot be dialled. A datagram that was refused changes nothing: the request is still to be remembered,
    /// and its repetition brings the response again.
    pub(super) fn transport_failed(&mut self, shared: &mut Shared, destination: &Destination) {
        if !matches!(destination, Destination::Dial(_)) {
            return;
        }
        let mut struck: Vec<ServerId> = self
            .live
            .iter()
            .filter(|(_, s)| {
                s.last.is_some() && !s.unreachable && s.path.destination == *destination
            })
            .map(|(id, _)| *id)
            .collect();
        struck.sort_unstable();
        for id in struck {
            if let Some(server) = self.live.get_mut(&id) {
                server.unreachable = true;
                let cause = GoneCause::Transport;
                shared
                    .events
                    .push_back(TransactionEvent::ServerGone { id, cause });
            }
        }
    }

    pub(super) fn connection_closed(&mut self, flow: FlowId) {
        let range = (flow, ServerId(0))..=(flow, ServerId(u64::MAX));
        for (_, id) in self.by_flow.range(range) {
            if let Some(server) = self.live.get_mut(id) {
                server.path.connection_closed();
            }
        }
    }

    pub(super) fn expire(&mut self, shared: &mut Shared, id: ServerId, now: Duration) {
        if let Some(server) = self.live.get_mut(&id) {
            server.scheduled = None;
        }
        self.step(shared, id, |machine| machine.expire(now));
    }
}

impl Server {
    fn new(
        stamped: &Stamped,
        source: &Source,
        key: ServerKey,
        merge: Option<MergeKey>,
        shared: &Shared,
        now: Duration,
    ) -> Self {
        let request = &stamped.request;
        let kind = if request.method == Method::INVITE {
            Kind::Invite
        } else {
            Kind::NonInvite
        };
        let settings = &shared.settings;
        let patience = Patience {
            invite: settings.invite_limit,
            linger: settings.reliable_linger,
        };
        let reliable = source.transport.row().reliable;
        let mut machine = ServerMachine::start(kind, reliable, settings.timing, patience, now);
        if is_never_answered(&request.method) {
            machine.settle_silently(now);
        }
        Self {
            machine,
            key,
            merge,
            ack: None,
            flow: source.flow,
            path: ReturnPath::new(&stamped.via, source),
            number: stamped.cseq.number,
            trying: Some(trying(request)),
            last: None,
            cancelled: false,
            unreachable: false,
            scheduled: None,
        }
    }

    fn perform(&mut self, step: Step, id: ServerId, shared: &mut Shared) {
        let gone = match step {
            Step::Send => return self.send(shared),
            Step::Resend => {
                shared.counters.retransmissions += 1;
                return self.send(shared);
            }
            Step::SendTrying => {
                self.last = self.trying.take().map(|response| response.to_bytes());
                return self.send(shared);
            }
            Step::DeliverAck => return,
            Step::Unanswered => GoneCause::Unanswered,
            Step::Unacknowledged => GoneCause::Unacknowledged,
        };
        if !self.unreachable {
            shared
                .events
                .push_back(TransactionEvent::ServerGone { id, cause: gone });
        }
    }

    fn send(&self, shared: &mut Shared) {
        if let Some(bytes) = &self.last {
            shared.transmit(self.path.destination.clone(), bytes.clone());
        }
    }
}

fn trying(request: &Request) -> Response {
    Response::for_request(request, 100, "Trying")
}
