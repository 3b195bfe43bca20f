//! The transaction layer (RFC 3261 §17, RFC 6026): one request is one event, and one sent request has one outcome.
//!
//! The user puts messages in with [`TransactionLayer::receive`], [`TransactionLayer::send_request`] and
//! [`TransactionLayer::respond`], and takes out octets to send ([`TransactionLayer::poll_transmit`]), events
//! ([`TransactionLayer::poll_event`]) and the time of the next wake-up ([`TransactionLayer::poll_timeout`]).

mod branch;
mod client;
mod client_machine;
mod key;
mod server;
mod server_machine;
mod timing;
mod via;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::Duration;

use stox_core::time::{Entropy, Now};
use thiserror::Error;

use crate::message::{Message, Request, Response};
use crate::method::Method;
use crate::transport::{Destination, FlowId, Source, Target, Transmit, Transport};

use branch::Branches;
use client::Clients;
use server::Servers;
use timing::Deadlines;
pub use timing::Timing;
use via::Stamped;

/// A sent request, from [`TransactionLayer::send_request`] to its outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientId(pub u64);

/// A received request, from [`TransactionEvent::Request`] to its final response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServerId(pub u64);

/// A name that we write into `Via` (the sent-by of RFC 3261 §18.1.1), and know as ours when it comes back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SentBy {
    /// The transport that the name is for.
    pub transport: Transport,
    /// Host name or address (IPv6 without brackets).
    pub host: String,
    /// The port where we listen.
    pub port: u16,
}

/// How the layer behaves.
#[derive(Debug, Clone)]
pub struct Settings {
    /// T1, T2 and T4.
    pub timing: Timing,
    /// Our names. The first of a transport is written; a transport without a name cannot send requests.
    pub sent_by: Vec<SentBy>,
    /// The longest that a sent request waits for its outcome, all targets together. An INVITE that rings has
    /// [`Settings::invite_limit`] instead.
    pub request_limit: Duration,
    /// The longest that an INVITE rings, in either direction, as timer C of RFC 3261 §16.6.
    pub invite_limit: Duration,
    /// How long a request that came over a reliable transport is remembered after its final response, so that a copy
    /// sent again makes no second event. RFC 3261 §17.2.2 asks for none (timer J is zero there).
    pub reliable_linger: Duration,
    /// The most server transactions alive; a request beyond is refused with 503.
    pub max_servers: usize,
    /// The most client transactions alive; a request beyond fails with [`FailureCause::Overloaded`].
    pub max_clients: usize,
    /// A request larger than this goes to a UDP target over TCP first, when we have a TCP name (RFC 3261 §18.1.1).
    pub large_request: usize,
    /// `Retry-After` of our 503, in seconds.
    pub retry_after: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            timing: Timing::default(),
            sent_by: Vec::new(),
            request_limit: Duration::from_secs(64),
            invite_limit: Duration::from_secs(180),
            reliable_linger: Duration::from_secs(5),
            max_servers: 20_000,
            max_clients: 20_000,
            large_request: 1300,
            retry_after: 10,
        }
    }
}

/// One place to try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hop {
    /// The transport there, for `Via` and the timers.
    pub transport: Transport,
    /// How to get there.
    pub destination: Destination,
}

/// The places to try for one request, in order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Route(pub VecDeque<Hop>);

impl Route {
    /// This route, and then those targets.
    #[must_use]
    pub fn or(mut self, targets: Vec<Target>) -> Self {
        self.0.extend(Self::from(targets).0);
        self
    }
}

impl From<Vec<Target>> for Route {
    fn from(targets: Vec<Target>) -> Self {
        Self(
            targets
                .iter()
                .map(|target| Hop {
                    transport: target.transport,
                    destination: Destination::to_target(target),
                })
                .collect(),
        )
    }
}

/// Back to where a message came from: its connection, or its peer from the same socket.
impl From<&Source> for Route {
    fn from(source: &Source) -> Self {
        let destination = if source.transport.row().reliable {
            Destination::Connection(source.flow)
        } else {
            Destination::Datagram {
                socket: Some(source.flow),
                remote: source.remote,
            }
        };
        Self(VecDeque::from([Hop {
            transport: source.transport,
            destination,
        }]))
    }
}

/// What the layer tells its user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TransactionEvent {
    /// A new request. To be answered with [`TransactionLayer::respond`]. Its top `Via` carries `received` and `rport`.
    Request {
        /// The new transaction.
        id: ServerId,
        /// The request.
        request: Request,
        /// Where it came from.
        source: Source,
    },
    /// A response to a sent request: any number of provisional ones, then one final one. An INVITE may have several 2xx,
    /// each of which asks for an ACK with [`TransactionLayer::send_once`] (RFC 6026 §7.2).
    Response {
        /// The transaction.
        id: ClientId,
        /// The response.
        response: Response,
        /// Where it came from.
        source: Source,
        /// An earlier copy of the request went over a connection that closed then: it may have been taken.
        in_doubt: bool,
    },
    /// A sent request has no final response, and will get none.
    Failed {
        /// The transaction.
        id: ClientId,
        /// Why.
        cause: FailureCause,
    },
    /// The ACK for our 2xx to an INVITE came, for the first time.
    Ack {
        /// The transaction of the INVITE.
        id: ServerId,
        /// The ACK.
        request: Request,
        /// Where it came from.
        source: Source,
    },
    /// The caller cancels an INVITE that has no final response yet; the CANCEL is answered. The user is to respond 487
    /// (RFC 3261 §9.2).
    Cancelled {
        /// The transaction of the INVITE.
        id: ServerId,
    },
    /// A received request ended otherwise than by a response that was sent.
    ServerGone {
        /// The transaction.
        id: ServerId,
        /// Why.
        cause: GoneCause,
    },
}

/// Why a sent request failed without a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
pub enum FailureCause {
    /// At least one target may have taken it, and none answered: as 408 (RFC 3261 §8.1.3.1).
    #[error("no target answered in time")]
    Timeout,
    /// No target could be reached: as 503 (RFC 3261 §8.1.3.1).
    #[error("no target could be reached")]
    Transport,
    /// There was no target with a transport that we have.
    #[error("there is no target with a transport of ours")]
    NoTarget,
    /// Too many requests are waiting already. The fault is ours.
    #[error("too many requests are waiting")]
    Overloaded,
}

/// Why a received request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
pub enum GoneCause {
    /// The user gave no final response while the client still waited. The fault is ours; the client has seen a timeout.
    #[error("not answered while the client waited")]
    Unanswered,
    /// The final response of an INVITE was sent for 64 × T1 and no ACK came.
    #[error("the final response was not acknowledged")]
    Unacknowledged,
    /// The response could not be sent: the connection closed, and the peer did not accept another.
    #[error("the response could not be sent")]
    Transport,
}

/// What has been counted since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Requests that became transactions.
    pub requests: u64,
    /// Repetitions of requests that were absorbed.
    pub repeated_requests: u64,
    /// Responses dropped because they match nothing that we sent to that peer.
    pub stray_responses: u64,
    /// Responses to requests of ours dropped because a mandatory header field of theirs cannot be read.
    pub unreadable_responses: u64,
    /// ACKs dropped because they match no response of ours.
    pub stray_acks: u64,
    /// Requests that came a second way and got 482 (RFC 3261 §8.2.2.2).
    pub merged_requests: u64,
    /// Requests that carried our own `Via` and got 482.
    pub looped_requests: u64,
    /// Requests refused with 503 for want of room.
    pub refused_requests: u64,
    /// Requests whose `Via` or `CSeq` cannot be read.
    pub unreadable_requests: u64,
    /// Requests and responses that the layer sent again.
    pub retransmissions: u64,
    /// Attempts at a target that failed so that the next was tried.
    pub failovers: u64,
}

/// The parts that client and server transactions share.
#[derive(Debug)]
struct Shared {
    settings: Settings,
    branches: Branches,
    deadlines: Deadlines<Tx>,
    transmits: VecDeque<Transmit>,
    events: VecDeque<TransactionEvent>,
    counters: Counters,
}

/// Either kind of transaction, as the owner of a deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Tx {
    Client(ClientId),
    Server(ServerId),
}

impl Shared {
    fn transmit(&mut self, destination: Destination, bytes: bytes::Bytes) {
        self.transmits.push_back(Transmit { destination, bytes });
    }

    fn is_ours(&self, host: &str, port: Option<u16>, transport: Transport) -> bool {
        let port = port.unwrap_or(transport.row().default_port);
        self.settings
            .sent_by
            .iter()
            .any(|name| name.port == port && name.host.eq_ignore_ascii_case(host))
    }
}

/// All transactions of one SIP endpoint.
#[derive(Debug)]
pub struct TransactionLayer {
    shared: Shared,
    clients: Clients,
    servers: Servers,
}

impl TransactionLayer {
    /// A layer without transactions. All its branches derive from what it draws from `entropy` now.
    pub fn new(settings: Settings, entropy: &mut dyn Entropy) -> Self {
        Self {
            shared: Shared {
                settings,
                branches: Branches::new(entropy),
                deadlines: Deadlines::default(),
                transmits: VecDeque::new(),
                events: VecDeque::new(),
                counters: Counters::default(),
            },
            clients: Clients::default(),
            servers: Servers::default(),
        }
    }

    /// A message came in.
    pub fn receive(&mut self, source: &Source, message: impl Into<Message>, now: Now) {
        match message.into() {
            Message::Response(response) => {
                self.clients
                    .response(&mut self.shared, source, response, now.mono);
            }
            Message::Request(request) => match via::stamp(request, source) {
                Some(stamped) => self.receive_request(source, stamped, now.mono),
                None => self.shared.counters.unreadable_requests += 1,
            },
        }
    }

    fn receive_request(&mut self, source: &Source, stamped: Stamped, now: Duration) {
        if via::is_loop(&stamped.request, &self.shared) {
            self.shared.counters.looped_requests += 1;
            self.servers
                .refuse(&mut self.shared, source, &stamped, 482, "Loop Detected");
        } else {
            self.servers.request(&mut self.shared, source, stamped, now);
        }
    }

    /// Answers a request that is not to become a transaction, such as one that could not be parsed as a whole. Nothing
    /// is remembered. Nothing goes out for an ACK, or when the top `Via` cannot be read.
    pub fn refuse(&mut self, source: &Source, request: Request, status: u16, reason: &str) {
        match via::stamp(request, source) {
            Some(stamped) => {
                self.servers
                    .refuse(&mut self.shared, source, &stamped, status, reason);
            }
            None => self.shared.counters.unreadable_requests += 1,
        }
    }

    /// Sends a request, which has no `Via` yet, along a route until a hop answers. `hint` is a word that the branch shall
    /// contain, so that a trace shows what belongs together. Exactly one outcome follows: a final
    /// [`TransactionEvent::Response`], or [`TransactionEvent::Failed`].
    ///
    /// The next hop is tried, with a new branch, when one fails to take the request, answers 503, or answers nothing at
    /// all in 64 × T1 (RFC 3263 §4.3).
    pub fn send_request(
        &mut self,
        request: Request,
        route: impl Into<Route>,
        hint: Option<&str>,
        now: Now,
    ) -> ClientId {
        self.send_request_since(request, route, hint, now.mono, now)
    }

    /// As [`TransactionLayer::send_request`], for a request whose time began to run at `began`.
    pub fn send_request_since(
        &mut self,
        request: Request,
        route: impl Into<Route>,
        hint: Option<&str>,
        began: Duration,
        now: Now,
    ) -> ClientId {
        let give_up_at = began.saturating_add(self.shared.settings.request_limit);
        let route = route.into();
        self.clients.send(
            &mut self.shared,
            (request, route),
            hint,
            give_up_at,
            now.mono,
        )
    }

    /// Sends a request for which no response is to be expected, such as the ACK for a 2xx, to the first hop that has a
    /// transport of ours.
    ///
    /// # Errors
    /// [`FailureCause::NoTarget`] when there is no such hop.
    pub fn send_once(
        &mut self,
        request: Request,
        route: impl Into<Route>,
    ) -> Result<(), FailureCause> {
        client::send_once(&mut self.shared, request, route.into())
    }

    /// Cancels a sent INVITE (RFC 3261 §9.1). The outcome comes as ever: 487, or whatever was faster.
    pub fn cancel(&mut self, id: ClientId, now: Now) {
        self.clients.cancel(&mut self.shared, id, now.mono);
    }

    /// Responds to a received request. After a final response, later ones are ignored.
    pub fn respond(&mut self, id: ServerId, response: &Response, now: Now) {
        self.servers
            .respond(&mut self.shared, id, response, now.mono);
    }

    /// Remembers nothing of a request that has its final response: one that comes again is told as a new one. For those that
    /// anybody may send as often as he likes, and that are refused as easily again.
    pub fn forget(&mut self, id: ServerId) {
        self.servers.forget(&mut self.shared, id);
    }

    /// Octets for this destination could not be sent, or the connection that was dialled for it could not be opened or
    /// closed again.
    pub fn transport_failed(&mut self, destination: &Destination, now: Now) {
        self.clients
            .transport_failed(&mut self.shared, destination, now.mono);
        self.servers.transport_failed(&mut self.shared, destination);
    }

    /// A connection that carried messages is gone. For one that was dialled, the shell says
    /// [`TransactionLayer::transport_failed`] as well.
    pub fn connection_closed(&mut self, flow: FlowId, now: Now) {
        self.clients
            .transport_failed(&mut self.shared, &Destination::Connection(flow), now.mono);
        self.servers.connection_closed(flow);
    }

    /// The next octets to send.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.shared.transmits.pop_front()
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<TransactionEvent> {
        self.shared.events.pop_front()
    }

    /// When [`TransactionLayer::handle_timeout`] is to be called next, in monotonic time.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Duration> {
        self.shared.deadlines.first()
    }

    /// Runs all timers that are due.
    pub fn handle_timeout(&mut self, now: Now) {
        for tx in self.shared.deadlines.take_due(now.mono) {
            match tx {
                Tx::Client(id) => self.clients.expire(&mut self.shared, id, now.mono),
                Tx::Server(id) => self.servers.expire(&mut self.shared, id, now.mono),
            }
        }
    }

    /// What has been counted.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.shared.counters
    }

    /// Live client and server transactions, those included that only wait for repetitions.
    #[must_use]
    pub fn live(&self) -> (usize, usize) {
        (self.clients.len(), self.servers.len())
    }
}

/// Methods whose requests are never answered.
/// COMPAT(ocs): the best-effort NOTIFY.
fn is_never_answered(method: &Method) -> bool {
    matches!(*method, Method::ACK | Method::BENOTIFY)
}
