//! Sent requests: attempts at one hop after another, and one outcome.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;

use super::client_machine::{ClientMachine, Kind, State, Step, earliest};
use super::via;
use super::{ClientId, FailureCause, Hop, Route, Shared, TransactionEvent, Tx};
use crate::message::{Request, Response};
use crate::method::Method;
use crate::transport::{Destination, Source, Target, Transport};
use crate::validate::validate_response;

/// What a UDP datagram can carry over IPv4.
const MAX_DATAGRAM: usize = 65_507;

/// The branch and the method of `CSeq` (RFC 3261 §17.1.3).
type Key = (String, Method);

#[derive(Debug, Default)]
pub(super) struct Clients {
    last_id: u64,
    live: HashMap<ClientId, Client>,
    by_branch: HashMap<Key, ClientId>,
}

#[derive(Debug)]
struct Client {
    /// Without a `Via` of ours.
    request: Request,
    kind: Kind,
    hint: Option<String>,
    hops: VecDeque<Hop>,
    /// The last one is the current one. Others linger to acknowledge repeated final responses.
    attempts: Vec<Attempt>,
    /// Its outcome is an event. Not so for CANCEL.
    reported: bool,
    concluded: bool,
    /// An attempt timed out: its target may have taken the request.
    uncertain: bool,
    /// A connection closed under an attempt: so may its target.
    in_doubt: bool,
    give_up_at: Duration,
    /// When an INVITE that rings is cancelled by the layer.
    ring_until: Option<Duration>,
    cancel: Cancel,
    scheduled: Option<Duration>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cancel {
    No,
    /// As soon as a provisional response comes (RFC 3261 §9.1).
    Wanted,
    /// Sent; the INVITE ends at this time at the latest.
    Sent(Duration),
}

/// A request with its `Via`, and where it goes.
struct Ready {
    request: Request,
    branch: String,
    hop: Hop,
}

#[derive(Debug)]
struct Attempt {
    machine: ClientMachine,
    branch: String,
    hop: Hop,
    /// The request with its `Via`.
    request: Request,
    bytes: Bytes,
    ack: Option<Bytes>,
    provisional: bool,
}

/// How an attempt ended without a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Defeat {
    TimedOut,
    Transport,
}

impl Clients {
    pub(super) fn len(&self) -> usize {
        self.live.len()
    }

    /// Nothing is left of any transaction.
    #[cfg(test)]
    pub(super) fn is_clean(&self) -> bool {
        self.live.is_empty() && self.by_branch.is_empty()
    }

    fn fresh_id(&mut self) -> ClientId {
        self.last_id += 1;
        ClientId(self.last_id)
    }

    pub(super) fn send(
        &mut self,
        shared: &mut Shared,
        (request, route): (Request, Route),
        hint: Option<&str>,
        give_up_at: Duration,
        now: Duration,
    ) -> ClientId {
        let id = self.fresh_id();
        if self.live.len() >= shared.settings.max_clients {
            let cause = FailureCause::Overloaded;
            shared
                .events
                .push_back(TransactionEvent::Failed { id, cause });
            return id;
        }
        let hops = prefer_streams(route.0, &request, shared);
        let mut client = Client::new(request, hops, hint, give_up_at);
        if !client.attempt_next(id, shared, &mut self.by_branch, now) {
            client.fail(id, FailureCause::NoTarget, shared);
        }
        self.settle(id, client, shared);
        id
    }

    /// Puts a client back, with its next deadline, or forgets it.
    fn settle(&mut self, id: ClientId, mut client: Client, shared: &mut Shared) {
        let by_branch = &mut self.by_branch;
        let method = &client.request.method;
        client.attempts.retain(|attempt| {
            let live = attempt.machine.state() != State::Terminated;
            if !live {
                by_branch.remove(&(attempt.branch.clone(), method.clone()));
            }
            live
        });
        let next = client.attempts.iter().fold(client.ring_until, |at, a| {
            earliest(at, a.machine.next_deadline())
        });
        let next = next.filter(|_| !client.attempts.is_empty());
        shared
            .deadlines
            .set(Tx::Client(id), &mut client.scheduled, next);
        if !client.attempts.is_empty() {
            self.live.insert(id, client);
        }
    }

    pub(super) fn response(
        &mut self,
        shared: &mut Shared,
        source: &Source,
        response: Response,
        now: Duration,
    ) {
        let Some((id, mut client, index)) = self.find(shared, source, &response) else {
            shared.counters.stray_responses += 1;
            return;
        };
        if validate_response(&response).is_err() {
            shared.counters.unreadable_responses += 1;
            self.live.insert(id, client);
            return;
        }
        match client.response(id, index, source, response, shared, now) {
            Next::Nothing => {}
            Next::Hop(refusal) => {
                if client.attempt_next(id, shared, &mut self.by_branch, now) {
                    shared.counters.failovers += 1;
                } else {
                    client.deliver(id, source, *refusal, shared);
                }
            }
            Next::Cancel => self.send_cancel(&mut client, shared, now),
        }
        self.settle(id, client, shared);
    }

    /// The attempt that a response belongs to (RFC 3261 §17.1.3), if it comes from where the request went
    /// (§18.1.2: and if its only `Via` is ours).
    fn find(
        &mut self,
        shared: &Shared,
        source: &Source,
        response: &Response,
    ) -> Option<(ClientId, Client, usize)> {
        let key = via::response_key(response, shared)?;
        let id = *self.by_branch.get(&key)?;
        let client = self.live.get(&id)?;
        let index = client
            .attempts
            .iter()
            .position(|a| a.branch == key.0 && a.went_to(source))?;
        Some((id, self.live.remove(&id)?, index))
    }

    pub(super) fn cancel(&mut self, shared: &mut Shared, id: ClientId, now: Duration) {
        let Some(mut client) = self.live.remove(&id) else {
            return;
        };
        let ringing = client.attempts.last().map(|a| a.provisional);
        match (client.kind, client.cancel, client.concluded, ringing) {
            (Kind::Invite, Cancel::No, false, Some(true)) => {
                self.send_cancel(&mut client, shared, now);
            }
            (Kind::Invite, Cancel::No, false, Some(false)) => client.cancel = Cancel::Wanted,
            _ => {}
        }
        self.settle(id, client, shared);
    }

    /// Sends CANCEL as a transaction of its own, with the branch of the INVITE (RFC 3261 §9.1).
    fn send_cancel(&mut self, client: &mut Client, shared: &mut Shared, now: Duration) {
        let Some(attempt) = client.attempts.last_mut() else {
            return;
        };
        let limit = now + shared.settings.timing.transaction();
        client.cancel = Cancel::Sent(limit);
        client.ring_until = None;
        attempt.machine.limit(limit);
        let cancel = derived(&attempt.request, Method::CANCEL, None);
        let id = self.fresh_id();
        let give_up_at = now + shared.settings.request_limit;
        let mut sent = Client::new(cancel, VecDeque::new(), None, give_up_at);
        sent.reported = false;
        let ready = Ready {
            request: sent.request.clone(),
            branch: attempt.branch.clone(),
            hop: attempt.hop.clone(),
        };
        sent.launch(id, ready, shared, &mut self.by_branch, now);
        self.settle(id, sent, shared);
    }

    pub(super) fn transport_failed(
        &mut self,
        shared: &mut Shared,
        destination: &Destination,
        now: Duration,
    ) {
        let mut struck: Vec<ClientId> = self
            .live
            .iter()
            .filter(|(_, client)| client.waits_on(destination))
            .map(|(id, _)| *id)
            .collect();
        struck.sort_unstable();
        for id in struck {
            if let Some(mut client) = self.live.remove(&id) {
                client.defeat_current();
                client.next_or_fail(id, Defeat::Transport, shared, &mut self.by_branch, now);
                self.settle(id, client, shared);
            }
        }
    }

    pub(super) fn expire(&mut self, shared: &mut Shared, id: ClientId, now: Duration) {
        let Some(mut client) = self.live.remove(&id) else {
            return;
        };
        client.scheduled = None;
        if client.ring_until.is_some_and(|at| at <= now) {
            self.send_cancel(&mut client, shared, now);
        }
        if client.expire_attempts(shared, now) {
            client.next_or_fail(id, Defeat::TimedOut, shared, &mut self.by_branch, now);
        }
        self.settle(id, client, shared);
    }
}

/// What follows from a response, besides the events.
enum Next {
    Nothing,
    /// The target refuses: try the next, or deliver the refusal.
    Hop(Box<Response>),
    Cancel,
}

impl Client {
    fn new(
        request: Request,
        hops: VecDeque<Hop>,
        hint: Option<&str>,
        give_up_at: Duration,
    ) -> Self {
        let kind = if request.method == Method::INVITE {
            Kind::Invite
        } else {
            Kind::NonInvite
        };
        Self {
            request,
            kind,
            hint: hint.map(str::to_owned),
            hops,
            attempts: Vec::new(),
            reported: true,
            concluded: false,
            uncertain: false,
            in_doubt: false,
            give_up_at,
            ring_until: None,
            cancel: Cancel::No,
            scheduled: None,
        }
    }

    /// Starts an attempt at the next hop that can be used. `false` when there is none.
    fn attempt_next(
        &mut self,
        id: ClientId,
        shared: &mut Shared,
        by_branch: &mut HashMap<Key, ClientId>,
        now: Duration,
    ) -> bool {
        while let Some(hop) = self.hops.pop_front() {
            let branch = shared.branches.next(self.hint.as_deref());
            let Some(our_via) = via::ours(shared, &hop, &branch) else {
                continue;
            };
            let mut request = self.request.clone();
            request.headers.push_front("Via", our_via);
            let ready = Ready {
                request,
                branch,
                hop,
            };
            if self.launch(id, ready, shared, by_branch, now) {
                return true;
            }
        }
        false
    }

    /// Sends a request as it is. `false` when the hop cannot carry it.
    fn launch(
        &mut self,
        id: ClientId,
        ready: Ready,
        shared: &mut Shared,
        by_branch: &mut HashMap<Key, ClientId>,
        now: Duration,
    ) -> bool {
        let Ready {
            request,
            branch,
            hop,
        } = ready;
        let reliable = hop.transport.row().reliable;
        let bytes = request.to_bytes();
        if !reliable && bytes.len() > MAX_DATAGRAM {
            return false;
        }
        let mut machine = ClientMachine::start(self.kind, reliable, shared.settings.timing, now);
        machine.limit(self.give_up_at);
        by_branch.insert((branch.clone(), request.method.clone()), id);
        shared.transmit(hop.destination.clone(), bytes.clone());
        self.attempts.push(Attempt {
            machine,
            branch,
            hop,
            request,
            bytes,
            ack: None,
            provisional: false,
        });
        true
    }

    fn response(
        &mut self,
        id: ClientId,
        index: usize,
        source: &Source,
        response: Response,
        shared: &mut Shared,
        now: Duration,
    ) -> Next {
        let Some(attempt) = self.attempts.get_mut(index) else {
            return Next::Nothing;
        };
        let steps = attempt.machine.response(response.status, now);
        let provisional = response.status < 200;
        let first = provisional && !attempt.provisional && attempt.machine.is_open();
        attempt.provisional |= provisional;
        if steps.contains(&Step::Acknowledge) {
            attempt.acknowledge(&response, shared);
        }
        if !steps.contains(&Step::Deliver) {
            return Next::Nothing;
        }
        if response.status == 503 && self.cancel == Cancel::No && now < self.give_up_at {
            return Next::Hop(Box::new(response));
        }
        self.deliver(id, source, response, shared);
        if provisional {
            self.ring(first, shared, now)
        } else {
            Next::Nothing
        }
    }

    /// Bounds an INVITE that rings, or cancels it as the user wished.
    fn ring(&mut self, first: bool, shared: &Shared, now: Duration) -> Next {
        if self.kind != Kind::Invite {
            return Next::Nothing;
        }
        match self.cancel {
            Cancel::No => self.ring_until = Some(now + shared.settings.invite_limit),
            Cancel::Wanted if first => return Next::Cancel,
            Cancel::Wanted => {}
            Cancel::Sent(limit) => {
                if let Some(attempt) = self.attempts.last_mut() {
                    attempt.machine.limit(limit);
                }
            }
        }
        Next::Nothing
    }

    fn deliver(&mut self, id: ClientId, source: &Source, response: Response, shared: &mut Shared) {
        if response.status >= 200 {
            self.concluded = true;
            self.ring_until = None;
        }
        if self.reported {
            shared.events.push_back(TransactionEvent::Response {
                id,
                response,
                source: source.clone(),
                in_doubt: self.in_doubt,
            });
        }
    }

    /// The current attempt waits for an answer over this destination.
    fn waits_on(&self, destination: &Destination) -> bool {
        self.attempts
            .last()
            .is_some_and(|a| a.machine.is_open() && a.hop.is_over(destination))
    }

    fn defeat_current(&mut self) {
        if let Some(attempt) = self.attempts.last_mut() {
            // Whether the octets had left when a connection broke, nobody knows.
            self.in_doubt |= !matches!(attempt.hop.destination, Destination::Datagram { .. });
            attempt.machine.terminate();
        }
    }

    /// Runs the timers of all attempts. `true` when the current one got no answer in time.
    fn expire_attempts(&mut self, shared: &mut Shared, now: Duration) -> bool {
        let mut timed_out = false;
        for attempt in &mut self.attempts {
            for step in attempt.machine.expire(now) {
                match step {
                    Step::Send => {
                        shared.counters.retransmissions += 1;
                        shared.transmit(attempt.hop.destination.clone(), attempt.bytes.clone());
                    }
                    Step::TimeOut => timed_out = true,
                    Step::Acknowledge | Step::Deliver => {}
                }
            }
        }
        timed_out
    }

    /// After a defeat: the next hop, if the peer showed no sign of life and time is left, or the end.
    fn next_or_fail(
        &mut self,
        id: ClientId,
        defeat: Defeat,
        shared: &mut Shared,
        by_branch: &mut HashMap<Key, ClientId>,
        now: Duration,
    ) {
        let heard = self.attempts.last().is_some_and(|a| a.provisional);
        self.uncertain |= defeat == Defeat::TimedOut || heard;
        // What was only slow may have been taken.
        self.in_doubt |= defeat == Defeat::TimedOut;
        // COMPAT(ocs): nobody answers a BENOTIFY, so silence is no defeat.
        let done = defeat == Defeat::TimedOut && self.request.method == Method::BENOTIFY;
        let may_retry = !heard && !done && now < self.give_up_at && self.cancel == Cancel::No;
        if may_retry && self.attempt_next(id, shared, by_branch, now) {
            shared.counters.failovers += 1;
            return;
        }
        let cause = if self.uncertain {
            FailureCause::Timeout
        } else {
            FailureCause::Transport
        };
        self.fail(id, cause, shared);
    }

    fn fail(&mut self, id: ClientId, cause: FailureCause, shared: &mut Shared) {
        self.ring_until = None;
        if self.reported {
            shared
                .events
                .push_back(TransactionEvent::Failed { id, cause });
        }
        self.concluded = true;
    }
}

impl Attempt {
    /// A response from `source` may belong to this attempt: it comes over the connection, or from the address, that the
    /// request went to.
    fn went_to(&self, source: &Source) -> bool {
        self.hop.transport == source.transport
            && match &self.hop.destination {
                Destination::Connection(flow) => *flow == source.flow,
                Destination::Datagram { remote, .. } => same_ip(remote.ip(), source.remote.ip()),
                Destination::Dial(target) => same_ip(target.address.ip(), source.remote.ip()),
            }
    }

    /// Sends the ACK of a final response that is not 2xx (RFC 3261 §17.1.1.3).
    fn acknowledge(&mut self, response: &Response, shared: &mut Shared) {
        let ack = self.ack.get_or_insert_with(|| {
            derived(&self.request, Method::ACK, response.headers.get("To")).to_bytes()
        });
        shared.transmit(self.hop.destination.clone(), ack.clone());
    }
}

impl Hop {
    fn is_over(&self, failed: &Destination) -> bool {
        match (&self.destination, failed) {
            (Destination::Datagram { remote: ours, .. }, Destination::Datagram { remote, .. }) => {
                ours == remote
            }
            (ours, failed) => ours == failed,
        }
    }
}

/// The shell may name a peer of an IPv6 socket by its IPv4-mapped address.
fn same_ip(a: IpAddr, b: IpAddr) -> bool {
    a.to_canonical() == b.to_canonical()
}

/// ACK and CANCEL: the same Request-URI, top `Via`, `Route`, `From`, `Call-ID` and sequence number
/// (RFC 3261 §9.1, §17.1.1.3).
fn derived(request: &Request, method: Method, to: Option<&str>) -> Request {
    let mut new = Request::new(method, request.uri.clone());
    if let Some(top) = request.headers.get("Via") {
        new.headers.push("Via", top);
    }
    for name in ["Route", "From", "To", "Call-ID"] {
        new.headers.copy_from(&request.headers, name);
    }
    if let Some(to) = to {
        new.headers.set("To", to);
    }
    let number = via::cseq(&request.headers).map_or(1, |cseq| cseq.number);
    new.headers.push("CSeq", format!("{number} {}", new.method));
    new.headers.push("Max-Forwards", "70");
    new
}

/// A large request goes to each UDP target over TCP first (RFC 3261 §18.1.1).
fn prefer_streams(hops: VecDeque<Hop>, request: &Request, shared: &Shared) -> VecDeque<Hop> {
    /// About what our `Via` adds.
    const VIA_LENGTH: usize = 120;
    let size = request.to_bytes().len() + VIA_LENGTH;
    let has_tcp = shared
        .settings
        .sent_by
        .iter()
        .any(|name| name.transport == Transport::Tcp);
    if size <= shared.settings.large_request || !has_tcp {
        return hops;
    }
    let mut expanded = VecDeque::with_capacity(hops.len() * 2);
    for hop in hops {
        if let Destination::Datagram { remote, .. } = &hop.destination {
            expanded.push_back(Hop {
                transport: Transport::Tcp,
                destination: Destination::Dial(Target {
                    transport: Transport::Tcp,
                    address: *remote,
                    name: remote.ip().to_string(),
                    also: Vec::new(),
                }),
            });
        }
        expanded.push_back(hop);
    }
    expanded
}

/// Sends a request without a transaction.
pub(super) fn send_once(
    shared: &mut Shared,
    mut request: Request,
    route: Route,
) -> Result<(), FailureCause> {
    for hop in prefer_streams(route.0, &request, shared) {
        let branch = shared.branches.next(None);
        if let Some(our_via) = via::ours(shared, &hop, &branch) {
            request.headers.push_front("Via", our_via);
            shared.transmit(hop.destination, request.to_bytes());
            return Ok(());
        }
    }
    Err(FailureCause::NoTarget)
}
