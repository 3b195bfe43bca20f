//! All MSRP sessions and connections of the gateway in one machine (RFC 4975 §5.4, §7).
//!
//! A session is a [`Channel`]. It is bound to one connection, which it may share with others to the same place. Resource
//! limits are answered 413: it tells the sender to stop that message and leaves the session alone (RFC 4975 §10.5).

mod binding;
mod channel;
mod connection;
mod early;
mod inbound;
mod outbound;
mod relay;
mod shell;
mod types;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use stox_core::time::{Entropy, Now};

use self::channel::{Outgoing, Phase, Session};
use self::connection::{Asked, Connection};
use self::early::Offers;
use self::relay::Relay;
use self::shell::Dialling;
use super::frame::{ByteRange, Frame, Head, Method};
pub use super::frame::{FailureReport, Status};
use super::ident::transaction_id;
use super::uri::MsrpUri;
use crate::deadlines::Deadlines;
use crate::transport::FlowId;

pub use self::types::{
    Channel, Counts, Credentials, DeliveryId, Dial, DialId, Event, Fault, Fingerprint,
    HashFunction, Message, Plan, Proof, Received, RelayId, Relayed, Role, Security, Settings,
};

/// What runs out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    Bind(Channel),
    Unbound(FlowId),
    Response(FlowId, u64),
    Answer(DeliveryId),
    Assembly(Channel),
    Relay(RelayId),
}

/// A request of the peer that waits for [`Endpoint::answer`].
#[derive(Debug)]
struct Delivery {
    channel: Channel,
    flow: FlowId,
    head: Head,
    failure_report: FailureReport,
    octets: u64,
    /// The peer was told 200 already, because it would not have waited longer.
    late: bool,
}

/// The machine.
pub struct Endpoint {
    settings: Settings,
    entropy: Box<dyn Entropy>,
    last_number: u64,
    sessions: BTreeMap<Channel, Session>,
    by_session_id: BTreeMap<String, Channel>,
    offers: Offers,
    flows: BTreeMap<FlowId, Connection>,
    dials: BTreeMap<DialId, Dialling>,
    dial_queue: VecDeque<Dial>,
    relays: BTreeMap<RelayId, Relay>,
    deliveries: BTreeMap<DeliveryId, Delivery>,
    assembly_octets: u64,
    queued: usize,
    timers: Deadlines<Timer>,
    events: VecDeque<Event>,
    transmits: VecDeque<(FlowId, Bytes)>,
    closes: VecDeque<FlowId>,
    /// Connections to be closed when all is written.
    closing: BTreeSet<FlowId>,
    /// The monotonic clock at the last input.
    clock: Duration,
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Endpoint")
            .field("counts", &self.status())
            .finish_non_exhaustive()
    }
}

impl Endpoint {
    /// A machine without sessions.
    #[must_use]
    pub fn new(settings: Settings, entropy: Box<dyn Entropy>) -> Self {
        Self {
            settings,
            entropy,
            last_number: 0,
            sessions: BTreeMap::new(),
            by_session_id: BTreeMap::new(),
            offers: Offers::default(),
            flows: BTreeMap::new(),
            dials: BTreeMap::new(),
            dial_queue: VecDeque::new(),
            relays: BTreeMap::new(),
            deliveries: BTreeMap::new(),
            assembly_octets: 0,
            queued: 0,
            timers: Deadlines::default(),
            events: VecDeque::new(),
            transmits: VecDeque::new(),
            closes: VecDeque::new(),
            closing: BTreeSet::new(),
            clock: Duration::ZERO,
        }
    }

    /// A session id for a local URI: 128 bits that nobody can guess (RFC 4975 §14.1).
    pub fn fresh_session(&mut self) -> String {
        self.entropy.token() + &self.entropy.token()
    }

    /// Opens a session. `Up` or `Down` follows. The local session id must be one of [`Endpoint::fresh_session`].
    pub fn open(&mut self, plan: Plan, now: Now) -> Channel {
        let channel = Channel(self.number());
        let id = plan.local.session.clone().unwrap_or_default();
        if self.sessions.len() >= self.settings.channels || self.by_session_id.contains_key(&id) {
            let fault = Fault::Overloaded;
            self.events.push_back(Event::Down { channel, fault });
            self.expect_no_more(&id, now);
            return channel;
        }
        self.by_session_id.insert(id.clone(), channel);
        let (role, lost) = (plan.role, self.lacks_relay(&plan));
        self.sessions.insert(channel, Session::new(plan));
        let until = now.mono + self.settings.bind_wait;
        self.timers.set(Timer::Bind(channel), until);
        if lost {
            self.take_down(channel, Fault::NotSent);
        } else if role == Role::Dials {
            self.connect(channel, now);
        }
        self.expect_no_more(&id, now);
        channel
    }

    /// Ends a session without a further event. What was answered before still goes out; messages without answer are
    /// answered 481.
    pub fn close(&mut self, channel: Channel, now: Now) {
        self.clock = now.mono;
        let flow = self.sessions.get(&channel).and_then(Session::flow);
        if let Some(session) = self.forget(channel) {
            session
                .outbox
                .iter()
                .for_each(|message| self.unqueue(message));
        }
        let about = |event: &Event| event.channel() == Some(channel);
        self.events.retain(|event| !about(event));
        if let Some(flow) = flow {
            self.pump(flow, now);
        }
    }

    /// Sends a message. Exactly one `Sent` follows.
    pub fn send(&mut self, channel: Channel, message: Message, now: Now) {
        if let Err(fault) = self.admit(channel, &message) {
            let (message_id, outcome) = (message.id, Err(fault));
            return self.events.push_back(Event::Sent {
                channel,
                message_id,
                outcome,
            });
        }
        let number = self.number();
        let fresh = self.entropy.token();
        let limit = self.settings.reports;
        let Some(session) = self.sessions.get_mut(&channel) else {
            return;
        };
        let wire_id = session.wire_id(&message.id, fresh);
        session.expect_reports(&message, &wire_id, limit);
        session.queued += message.body.len();
        self.queued += message.body.len();
        session.outbox.push_back(Outgoing {
            number,
            message,
            wire_id,
            offset: 0,
            all_sent: false,
            unanswered: 0,
        });
        if let Some(flow) = session.flow() {
            self.make_ready(flow, channel, now);
        }
    }

    fn admit(&self, channel: Channel, message: &Message) -> Result<(), Fault> {
        let session = self.sessions.get(&channel).ok_or(Fault::Closed)?;
        let octets = message.body.len();
        if session.plan.max_size.is_some_and(|max| octets as u64 > max) {
            return Err(Fault::TooLarge);
        }
        // Messages without octets cost something too.
        let many = session.outbox.len() >= self.settings.channel_queue / 256;
        let full = session.queued + octets > self.settings.channel_queue
            || self.queued + octets > self.settings.total_queue;
        if full || many {
            return Err(Fault::Overloaded);
        }
        Ok(())
    }

    /// Answers a message or a nickname. What goes out depends on what its sender asked for (RFC 4975 §7.2): a response,
    /// nothing, or a failure REPORT where it is too late for a response.
    pub fn answer(&mut self, delivery: DeliveryId, status: Status, now: Now) {
        let Some(delivery) = self.take_delivery(delivery) else {
            return;
        };
        let flow = delivery.flow;
        if !delivery.late {
            self.respond(flow, &delivery.head, delivery.failure_report, status);
        } else if !status.is_success() && delivery.failure_report != FailureReport::No {
            let id = delivery.head.message_id().ok().flatten().map(str::to_owned);
            self.push_report(delivery.channel, id.as_deref(), delivery.octets, &status);
        }
        self.pump(flow, now);
    }

    /// Reports what became of a message of the peer, of `octets` octets (RFC 4975 §7.1.2).
    pub fn report(
        &mut self,
        channel: Channel,
        message_id: &str,
        octets: u64,
        status: Status,
        now: Now,
    ) {
        self.push_report(channel, Some(message_id), octets, &status);
        if let Some(flow) = self.sessions.get(&channel).and_then(Session::flow) {
            self.pump(flow, now);
        }
    }

    /// Asks for a nickname; an empty one gives it back. `NicknameSettled` follows.
    pub fn nickname(&mut self, channel: Channel, nickname: &str, now: Now) {
        let bound = self.sessions.get(&channel).and_then(|session| {
            Some((
                session.flow()?,
                session.plan.way(),
                session.plan.local.clone(),
            ))
        });
        let Some((flow, way, local)) = bound else {
            let outcome = Err(Fault::NotSent);
            return self
                .events
                .push_back(Event::NicknameSettled { channel, outcome });
        };
        let id = self.transaction(flow, None, &[]);
        let mut head = Head::request(Method::Nickname, &id, &way, &[local]);
        head.headers
            .push("Use-Nickname", crate::grammar::quote(nickname));
        self.ask(flow, &Frame::bare(head), Asked::Nickname(channel), now);
        self.pump(flow, now);
    }

    /// Makes us known to a relay (RFC 4976 §5.1): `Event::Relay` follows, and again whenever its path changes. It is
    /// refreshed before it expires. `local` is our URI towards it; the credentials' domain is the relay's host.
    pub fn authorise(
        &mut self,
        relay: MsrpUri,
        local: MsrpUri,
        credentials: Credentials,
        security: Security,
        now: Now,
    ) -> RelayId {
        let id = RelayId(self.number());
        self.relays
            .insert(id, Relay::new(relay, local, credentials, security));
        let until = now.mono + self.settings.bind_wait;
        self.timers.set(Timer::Relay(id), until);
        self.connect_relay(id, now);
        id
    }

    /// The next thing that happened.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// How much there is.
    #[must_use]
    pub fn status(&self) -> Counts {
        let sessions = self.sessions.values();
        Counts {
            channels: self.sessions.len(),
            bound: sessions.clone().filter(|s| s.flow().is_some()).count(),
            connections: self.flows.len(),
            deliveries: self.deliveries.len(),
            assemblies: sessions.map(|s| s.assemblies.len()).sum(),
            queued: self.queued,
        }
    }

    /// No session, no connection, no relay, and nothing to tell.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
            && self.flows.is_empty()
            && self.dials.is_empty()
            && self.dial_queue.is_empty()
            && self.relays.is_empty()
            && self.deliveries.is_empty()
            && self.events.is_empty()
            && self.transmits.is_empty()
            && self.closes.is_empty()
            && self.by_session_id.is_empty()
            && self.offers.is_empty()
            && self.assembly_octets == 0
            && self.queued == 0
            && self.timers.next().is_none()
    }

    fn number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }

    /// A transaction id that is free on this connection.
    fn transaction(&mut self, flow: FlowId, hint: Option<&str>, body: &[u8]) -> String {
        let connection = self.flows.get(&flow);
        let taken = |id: &str| connection.is_some_and(|c| c.pending.contains_key(id));
        transaction_id(hint, body, taken, self.entropy.as_mut())
    }

    /// Removes a session from everywhere but the events. Its outbox is the caller's to settle.
    fn forget(&mut self, channel: Channel) -> Option<Session> {
        let session = self.sessions.remove(&channel)?;
        if let Some(id) = &session.plan.local.session {
            self.by_session_id.remove(id);
        }
        self.timers.clear(Timer::Bind(channel));
        self.timers.clear(Timer::Assembly(channel));
        for assembly in session.assemblies.values() {
            self.assembly_octets -= assembly.body.len() as u64;
        }
        for id in &session.deliveries {
            if let Some(delivery) = self.take_delivery(*id).filter(|delivery| !delivery.late) {
                let (flow, wish) = (delivery.flow, delivery.failure_report);
                self.respond(flow, &delivery.head, wish, Status::new(481));
            }
        }
        match session.phase {
            Phase::Bound(flow) => {
                if let Some(connection) = self.flows.get_mut(&flow) {
                    connection.channels.remove(&channel);
                    connection.ready.retain(|other| *other != channel);
                }
                self.close_if_idle(flow);
            }
            Phase::Dialling(_) => self.stop_dialling(|dialling| {
                dialling.channels.remove(&channel);
            }),
            Phase::Waiting => {}
        }
        Some(session)
    }

    /// Ends a session with everything that is to be told about it.
    fn take_down(&mut self, channel: Channel, fault: Fault) {
        let deliveries: Vec<_> = self
            .sessions
            .get(&channel)
            .map(|session| session.deliveries.iter().copied().collect())
            .unwrap_or_default();
        let abandoned = |delivery| Event::Abandoned { delivery };
        self.events.extend(deliveries.into_iter().map(abandoned));
        let Some(session) = self.forget(channel) else {
            return;
        };
        for message in session.outbox {
            self.unqueue(&message);
            let fate = match (&fault, message.has_left()) {
                (_, false) => Fault::NotSent,
                // Whoever knows no such session has taken nothing in it.
                (Fault::Refused(status), true) if inbound::ends_session(status) => fault.clone(),
                _ => Fault::Lost,
            };
            self.events.push_back(Event::Sent {
                channel,
                message_id: message.message.id,
                outcome: Err(fate),
            });
        }
        self.events.push_back(Event::Down { channel, fault });
    }

    fn unqueue(&mut self, message: &Outgoing) {
        self.queued -= message.waiting_octets();
    }

    fn take_delivery(&mut self, id: DeliveryId) -> Option<Delivery> {
        let delivery = self.deliveries.remove(&id)?;
        self.timers.clear(Timer::Answer(id));
        if let Some(session) = self.sessions.get_mut(&delivery.channel) {
            session.deliveries.remove(&id);
        }
        if let Some(connection) = self.flows.get_mut(&delivery.flow) {
            connection.deliveries.remove(&id);
        }
        Some(delivery)
    }

    /// A response, where the request wants one (RFC 4975 §7.2).
    fn respond(&mut self, flow: FlowId, head: &Head, wish: FailureReport, status: Status) {
        let silent = match wish {
            FailureReport::Yes => false,
            FailureReport::Partial => status.is_success(),
            FailureReport::No => true,
        };
        if silent {
            return;
        }
        let octets = Frame::bare(head.response(status)).to_bytes();
        if let Some(connection) = self.flows.get_mut(&flow) {
            connection.push_control(octets);
        }
    }

    fn push_report(&mut self, channel: Channel, id: Option<&str>, octets: u64, status: &Status) {
        let Some(session) = self.sessions.get(&channel) else {
            return;
        };
        let (Some(flow), Some(id)) = (session.flow(), id) else {
            return;
        };
        let (way, local) = (session.plan.way(), session.plan.local.clone());
        let transaction = self.transaction(flow, None, &[]);
        let mut head = Head::request(Method::Report, &transaction, &way, &[local]);
        let range = ByteRange {
            start: 1,
            end: Some(octets),
            total: Some(octets),
        };
        head.headers.push("Message-ID", id);
        head.headers.push("Byte-Range", range.to_string());
        let text = format!("000 {:03} {}", status.code, status.comment);
        head.headers.push("Status", text);
        let octets = Frame::bare(head).to_bytes();
        if let Some(connection) = self.flows.get_mut(&flow) {
            connection.push_control(octets);
        }
    }

    /// The next moment at which [`Endpoint::handle_timeout`] has something to do, on the monotonic clock.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Duration> {
        self.timers.next()
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Now) {
        self.clock = now.mono;
        while let Some(timer) = self.timers.pop_due(now.mono) {
            match timer {
                Timer::Bind(channel) => self.take_down(channel, Fault::Timeout),
                Timer::Unbound(flow) => self.close_unbound(flow),
                Timer::Response(flow, number) => self.no_response(flow, number, now),
                Timer::Answer(delivery) => self.answer_for_now(delivery, now),
                Timer::Assembly(channel) => self.give_up_assemblies(channel, now),
                Timer::Relay(relay) => self.relay_due(relay, now),
            }
        }
        self.sweep();
    }
}

impl Event {
    /// The session that it is about, where that is said.
    #[must_use]
    pub fn channel(&self) -> Option<Channel> {
        match self {
            Self::Up(channel)
            | Self::Received { channel, .. }
            | Self::Sent { channel, .. }
            | Self::Report { channel, .. }
            | Self::Nickname { channel, .. }
            | Self::NicknameSettled { channel, .. }
            | Self::Impostor { channel }
            | Self::Down { channel, .. } => Some(*channel),
            Self::Abandoned { .. } | Self::Relay { .. } => None,
        }
    }
}
