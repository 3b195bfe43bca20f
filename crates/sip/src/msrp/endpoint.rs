//! All MSRP sessions and connections of the gateway, as one machine without I/O (RFC 4975, RFC 7701 §7).
//!
//! A session is a [`Channel`]. The shell opens connections ([`Endpoint::poll_dial`]) and moves octets; the user agent opens
//! channels by what session descriptions say, sends, and answers what comes. Every [`Endpoint::send`] ends in exactly one
//! [`Event::Sent`], unless its channel is closed before.

mod connection;
mod receiving;
mod sending;
mod words;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use stox_core::time::{Entropy, Now};

pub use self::words::{
    Channel, Counts, DeliveryId, Dial, DialId, Event, FailureReport, Fault, Fingerprint, Message,
    Plan, Proof, Received, Role, Security, Settings,
};
pub use super::frame::Status;

use self::connection::{Connection, Place};
use self::receiving::Delivery;
use self::sending::Sending;
use super::assembly::{Assembly, Covered};
use super::uri::MsrpUri;
use crate::transport::FlowId;

/// One session.
struct Session {
    plan: Plan,
    flow: Option<FlowId>,
    dialling: Option<DialId>,
    /// When it must have a connection.
    bind_by: Option<Duration>,
    /// Messages, the one being sent first.
    queue: VecDeque<Sending>,
    /// Octets in it.
    queued: usize,
    /// Messages all of whose chunks are out, by Message-ID.
    awaiting: BTreeMap<String, Sending>,
    /// Messages of the peer that are not complete, by Message-ID, and until when they may take.
    partial: BTreeMap<String, (Assembly, Duration)>,
    /// Messages whose success reports are waited for: Message-ID, octets, what was reported.
    reported: VecDeque<(String, u64, Covered)>,
    /// Our NICKNAME that is under way.
    nickname: Option<String>,
    /// It has told [`Event::Down`]: nothing happens in it any more.
    down: bool,
}

/// See the module's text.
pub struct Endpoint {
    settings: Settings,
    entropy: Box<dyn Entropy>,
    sessions: BTreeMap<Channel, Session>,
    /// By the session id of our own URI.
    by_session: BTreeMap<String, Channel>,
    connections: BTreeMap<FlowId, Connection>,
    /// Connections that we opened, by where they lead.
    places: Vec<(Place, FlowId)>,
    dialling: BTreeMap<DialId, (Place, BTreeSet<Channel>)>,
    deliveries: BTreeMap<DeliveryId, Delivery>,
    /// Connections that have something to send.
    ready: BTreeSet<FlowId>,
    dials: VecDeque<Dial>,
    closing: VecDeque<FlowId>,
    events: VecDeque<Event>,
    /// The time of the last call.
    clock: Duration,
    last: u64,
}

impl Endpoint {
    /// An endpoint without sessions.
    #[must_use]
    pub fn new(settings: Settings, entropy: Box<dyn Entropy>) -> Self {
        Self {
            settings,
            entropy,
            sessions: BTreeMap::new(),
            by_session: BTreeMap::new(),
            connections: BTreeMap::new(),
            places: Vec::new(),
            dialling: BTreeMap::new(),
            deliveries: BTreeMap::new(),
            ready: BTreeSet::new(),
            dials: VecDeque::new(),
            closing: VecDeque::new(),
            events: VecDeque::new(),
            clock: Duration::ZERO,
            last: 0,
        }
    }

    /// A session id for a URI of ours that nobody can guess (RFC 4975 §14.1 asks for 80 bits).
    pub fn fresh_session(&mut self) -> String {
        format!("{}{}", self.entropy.token(), self.entropy.token())
    }

    fn number(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    // ---------------------------------------------------------------------------------------- sessions

    /// Begins a session. [`Event::Up`] or [`Event::Down`] follows.
    pub fn open(&mut self, plan: Plan, now: Now) -> Channel {
        self.clock = now.mono;
        let channel = Channel(self.number());
        if let Some(session) = &plan.local.session {
            self.by_session.insert(session.clone(), channel);
        }
        let role = plan.role;
        let full = self.sessions.len() >= self.settings.max_channels;
        self.sessions.insert(
            channel,
            Session {
                plan,
                flow: None,
                dialling: None,
                bind_by: Some(now.mono + self.settings.bind_wait),
                queue: VecDeque::new(),
                queued: 0,
                awaiting: BTreeMap::new(),
                partial: BTreeMap::new(),
                reported: VecDeque::new(),
                nickname: None,
                down: false,
            },
        );
        if full {
            self.break_down(channel, &Fault::Overloaded);
        } else if role == Role::Dials {
            self.dial(channel, now);
        }
        channel
    }

    /// Ends a session without a word. No event follows for it; its connection closes with the last of its sessions.
    pub fn close(&mut self, channel: Channel, _now: Now) {
        let Some(session) = self.sessions.remove(&channel) else {
            return;
        };
        if let Some(id) = &session.plan.local.session {
            self.by_session.remove(id);
        }
        self.deliveries
            .retain(|_, delivery| delivery.channel != channel);
        self.events.retain(|event| event.channel() != Some(channel));
        if let Some((_, waiting)) = session.dialling.and_then(|id| self.dialling.get_mut(&id)) {
            waiting.remove(&channel);
        }
        if let Some(flow) = session.flow {
            self.leave(flow, channel);
        }
    }

    /// The session cannot go on: everything in it fails.
    fn break_down(&mut self, channel: Channel, fault: &Fault) {
        let Some(session) = self.sessions.get_mut(&channel) else {
            return;
        };
        if std::mem::replace(&mut session.down, true) {
            return;
        }
        session.bind_by = None;
        session.flow = None;
        session.partial.clear();
        session.queued = 0;
        let nickname = session.nickname.take();
        let queue = std::mem::take(&mut session.queue);
        let awaiting = std::mem::take(&mut session.awaiting);
        let all = awaiting.into_values().chain(queue);
        let failed = all.filter(|sending| sending.is_wanted()).map(|sending| {
            let outcome = match (fault, sending.has_begun()) {
                (Fault::Overloaded, _) => Fault::Overloaded,
                (_, true) => Fault::Lost,
                (_, false) => Fault::NotSent,
            };
            Event::Sent {
                channel,
                message_id: sending.message.id,
                outcome: Err(outcome),
            }
        });
        self.events.extend(failed);
        if nickname.is_some() {
            self.events.push_back(Event::NicknameSettled {
                channel,
                outcome: Err(Fault::Lost),
            });
        }
        self.abandon(|delivery| delivery.channel == channel);
        self.events.push_back(Event::Down {
            channel,
            fault: fault.clone(),
        });
    }

    /// Deliveries that cannot be answered any more.
    fn abandon(&mut self, gone: impl Fn(&Delivery) -> bool) {
        let lost: Vec<DeliveryId> = self
            .deliveries
            .iter()
            .filter(|(_, delivery)| gone(delivery))
            .map(|(id, _)| *id)
            .collect();
        for delivery in lost {
            self.deliveries.remove(&delivery);
            self.events.push_back(Event::Abandoned { delivery });
        }
    }

    // ------------------------------------------------------------------------------------- connections

    fn dial(&mut self, channel: Channel, now: Now) {
        let Some(session) = self.sessions.get_mut(&channel) else {
            return;
        };
        let Some(target) = session.plan.next_hop().cloned() else {
            return self.break_down(channel, &Fault::NotSent);
        };
        let place = Place::new(&target, &session.plan.security);
        let known = self.places.iter().find(|(known, _)| *known == place);
        if let Some((_, flow)) = known {
            let flow = *flow;
            return self.bind(channel, flow, now);
        }
        let under_way = self
            .dialling
            .iter_mut()
            .find(|(_, (known, _))| *known == place);
        if let Some((id, (_, waiting))) = under_way {
            session.dialling = Some(*id);
            waiting.insert(channel);
            return;
        }
        let security = session.plan.security.clone();
        self.last += 1;
        let id = DialId(self.last);
        session.dialling = Some(id);
        self.dialling.insert(id, (place, BTreeSet::from([channel])));
        self.dials.push_back(Dial {
            id,
            target,
            security,
        });
    }

    /// A connection carries a session from now on.
    fn bind(&mut self, channel: Channel, flow: FlowId, now: Now) {
        let Some(session) = self.sessions.get_mut(&channel) else {
            return;
        };
        session.flow = Some(flow);
        session.dialling = None;
        session.bind_by = None;
        if let Some(connection) = self.connections.get_mut(&flow) {
            connection.channels.insert(channel);
        }
        let dials = session.plan.role == Role::Dials;
        self.events.push_back(Event::Up(channel));
        if dials {
            // So that the other side learns whose connection this is (RFC 4975 §5.4).
            self.send_empty(channel, now);
        }
        self.ready.insert(flow);
    }

    /// A session does not need its connection any more.
    fn leave(&mut self, flow: FlowId, channel: Channel) {
        if let Some(connection) = self.connections.get_mut(&flow) {
            connection.channels.remove(&channel);
            if connection.channels.is_empty() {
                connection.ending = true;
                self.ready.insert(flow);
            }
        }
    }

    /// The next connection to open.
    pub fn poll_dial(&mut self) -> Option<Dial> {
        self.dials.pop_front()
    }

    /// A connection is open, or could not be opened.
    ///
    /// # Errors
    /// None: `outcome` is the shell's.
    pub fn dialled(&mut self, id: DialId, outcome: Result<FlowId, ()>, now: Now) {
        self.clock = now.mono;
        let Some((place, waiting)) = self.dialling.remove(&id) else {
            if let Ok(flow) = outcome {
                self.closing.push_back(flow);
            }
            return;
        };
        match outcome {
            Err(()) => {
                for channel in waiting {
                    self.break_down(channel, &Fault::NotSent);
                }
            }
            Ok(flow) if waiting.is_empty() => self.closing.push_back(flow),
            Ok(flow) => {
                let connection = Connection::new(place.is_secure(), None, now);
                self.connections.insert(flow, connection);
                self.places.push((place, flow));
                for channel in waiting {
                    self.bind(channel, flow, now);
                }
            }
        }
    }

    /// A peer has connected. `certificate`: the fingerprints of what it showed.
    pub fn accepted(
        &mut self,
        flow: FlowId,
        secure: bool,
        certificate: Option<Vec<Fingerprint>>,
        now: Now,
    ) {
        let mut connection = Connection::new(secure, certificate, now);
        connection.bind_by = Some(now.mono + self.settings.bind_wait);
        self.connections.insert(flow, connection);
        if self.connections.len() > self.settings.max_connections {
            self.cut(flow);
        }
    }

    /// A connection is gone.
    pub fn closed(&mut self, flow: FlowId, _now: Now) {
        self.lost(flow);
    }

    fn lost(&mut self, flow: FlowId) {
        self.places.retain(|(_, known)| *known != flow);
        self.ready.remove(&flow);
        let Some(connection) = self.connections.remove(&flow) else {
            return;
        };
        self.abandon(|delivery| delivery.flow == flow);
        for channel in connection.channels {
            self.break_down(channel, &Fault::Lost);
        }
    }

    /// Ends a connection that makes no sense any more.
    fn cut(&mut self, flow: FlowId) {
        self.lost(flow);
        self.closing.push_back(flow);
    }

    /// The next connection to close, once everything before is written.
    pub fn poll_close(&mut self) -> Option<FlowId> {
        self.closing.pop_front()
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    // -------------------------------------------------------------------------------------------- time

    /// When [`Endpoint::handle_timeout`] is to be called next, in monotonic time.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Duration> {
        let sessions = self.sessions.values().filter_map(Session::next_timeout);
        let connections = self.connections.values().filter_map(|known| known.bind_by);
        sessions.chain(connections).min()
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Now) {
        self.clock = now.mono;
        let due = |at: Duration| at <= now.mono;
        let idle: Vec<FlowId> = self
            .connections
            .iter()
            .filter(|(_, known)| known.bind_by.is_some_and(due))
            .map(|(flow, _)| *flow)
            .collect();
        for flow in idle {
            self.cut(flow);
        }
        let late: Vec<Channel> = self
            .sessions
            .iter()
            .filter(|(_, session)| session.next_timeout().is_some_and(due))
            .map(|(channel, _)| *channel)
            .collect();
        for channel in late {
            self.session_timeout(channel, now);
        }
    }

    fn session_timeout(&mut self, channel: Channel, now: Now) {
        let Some(session) = self.sessions.get_mut(&channel) else {
            return;
        };
        if session.bind_by.is_some_and(|at| at <= now.mono) {
            return self.break_down(channel, &Fault::Timeout);
        }
        session.partial.retain(|_, (_, until)| *until > now.mono);
        let late: Vec<String> = session
            .awaiting
            .iter()
            .filter(|(_, sending)| sending.until <= now.mono)
            .map(|(id, _)| id.clone())
            .collect();
        for id in late {
            if let Some(sending) = session.awaiting.remove(&id)
                && sending.is_wanted()
            {
                self.events.push_back(Event::Sent {
                    channel,
                    message_id: id,
                    outcome: Err(Fault::Timeout),
                });
            }
        }
    }

    /// What there is at this moment.
    #[must_use]
    pub fn status(&self) -> Counts {
        Counts {
            channels: self.sessions.len(),
            connections: self.connections.len(),
            dialling: self.dialling.len(),
            deliveries: self.deliveries.len(),
        }
    }

    /// Nothing is held for any peer.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.status() == Counts::default()
            && self.by_session.is_empty()
            && self.places.is_empty()
            && self.events.is_empty()
            && self.dials.is_empty()
            && self.closing.is_empty()
    }
}

impl Session {
    fn next_timeout(&self) -> Option<Duration> {
        let partial = self.partial.values().map(|(_, until)| *until);
        let awaiting = self.awaiting.values().map(|sending| sending.until);
        partial.chain(awaiting).chain(self.bind_by).min()
    }

    /// Where our requests go.
    fn to_path(&self) -> Vec<MsrpUri> {
        let relays = self.plan.relays.iter();
        relays.chain(&self.plan.remote).cloned().collect()
    }
}

impl Endpoint {
    /// The next octets to write.
    pub fn poll_transmit(&mut self) -> Option<(FlowId, Bytes)> {
        while let Some(flow) = self.ready.first().copied() {
            if let Some(octets) = self.next_octets(flow) {
                return Some((flow, octets));
            }
            self.ready.remove(&flow);
            let ends = self
                .connections
                .get(&flow)
                .is_some_and(|known| known.ending);
            if ends {
                self.cut(flow);
            }
        }
        None
    }

    /// So many octets of a connection are written: as many more may follow.
    pub fn written(&mut self, flow: FlowId, octets: usize, now: Now) {
        self.clock = now.mono;
        if let Some(connection) = self.connections.get_mut(&flow) {
            connection.in_flight = connection.in_flight.saturating_sub(octets);
            self.ready.insert(flow);
        }
    }
}
