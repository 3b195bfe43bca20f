//! What the shell does for the machine: connections and octets.

use std::collections::BTreeSet;

use bytes::Bytes;
use stox_core::time::Now;

use super::channel::Phase;
use super::connection::{Connection, Hop};
use super::types::{Channel, Dial, DialId, Fault, Fingerprint, RelayId};
use super::{Endpoint, Timer};
use crate::msrp::framer::FrameError;
use crate::transport::FlowId;

/// An attempt to connect, and who waits for it.
#[derive(Debug)]
pub(super) struct Dialling {
    pub(super) hop: Hop,
    pub(super) channels: BTreeSet<Channel>,
    pub(super) relays: BTreeSet<RelayId>,
}

impl Endpoint {
    /// The next connection to open.
    pub fn poll_dial(&mut self) -> Option<Dial> {
        self.dial_queue.pop_front()
    }

    /// What came of a dial: the name of the connection, protected and proven as asked, or nothing.
    pub fn dialled(&mut self, id: DialId, outcome: Result<FlowId, ()>, now: Now) {
        self.clock = now.mono;
        let Some(dialling) = self.dials.remove(&id) else {
            // Nobody waits any more.
            return self.closes.extend(outcome.ok());
        };
        let Ok(flow) = outcome else {
            for channel in dialling.channels {
                self.take_down(channel, Fault::NotSent);
            }
            for relay in dialling.relays {
                self.lose_relay(relay, Fault::NotSent);
            }
            return;
        };
        let mut connection = Connection::new(&self.settings, dialling.hop.is_secure());
        connection.dialled = true;
        connection.hop = Some(dialling.hop);
        self.flows.insert(flow, connection);
        for channel in dialling.channels {
            self.bind(channel, flow);
            self.greet(channel, flow, now);
        }
        for relay in dialling.relays {
            self.greet_relay(relay, flow, now);
        }
        self.close_if_idle(flow);
        self.pump(flow, now);
        self.sweep();
    }

    /// A peer connected. `certificate` is what it showed, if it showed one, not otherwise verified.
    pub fn accepted(
        &mut self,
        flow: FlowId,
        secure: bool,
        certificate: Option<Vec<Fingerprint>>,
        now: Now,
    ) {
        let unbound = self.flows.values().filter(|c| c.is_idle()).count();
        if unbound >= self.settings.unbound {
            return self.closes.push_back(flow);
        }
        let mut connection = Connection::new(&self.settings, secure);
        connection.certificate = certificate;
        self.flows.insert(flow, connection);
        let until = now.mono + self.settings.bind_wait;
        self.timers.set(Timer::Unbound(flow), until);
    }

    /// Octets arrived.
    pub fn receive(&mut self, flow: FlowId, octets: &[u8], now: Now) {
        self.clock = now.mono;
        let Some(connection) = self.flows.get_mut(&flow) else {
            return;
        };
        connection.framer.push(octets);
        if !self.is_held(flow) {
            self.drain(flow, now);
        }
    }

    /// Looks at everything that has come.
    pub(super) fn drain(&mut self, flow: FlowId, now: Now) {
        while let Some(connection) = self.flows.get_mut(&flow) {
            match connection.framer.poll() {
                Ok(Some(item)) => match self.hold_early(flow, item) {
                    Some(item) => self.take(flow, item, now),
                    None => break,
                },
                Ok(None) => break,
                Err(error) => {
                    self.broken(flow, error);
                    break;
                }
            }
        }
        self.pump(flow, now);
        self.sweep();
    }

    fn broken(&mut self, flow: FlowId, _error: FrameError) {
        self.closes.push_back(flow);
        self.drop_flow(flow);
    }

    /// A connection is gone.
    pub fn closed(&mut self, flow: FlowId, now: Now) {
        self.clock = now.mono;
        self.drop_flow(flow);
        self.sweep();
    }

    /// The shell has written octets of a connection.
    pub fn written(&mut self, flow: FlowId, octets: usize, now: Now) {
        let Some(connection) = self.flows.get_mut(&flow) else {
            return;
        };
        connection.written += octets as u64;
        self.settle_written(flow);
        self.pump(flow, now);
        self.sweep();
    }

    /// The next octets to write. At most [`super::Settings::window`] and a chunk of a connection are out and not
    /// [`Endpoint::written`].
    pub fn poll_transmit(&mut self) -> Option<(FlowId, Bytes)> {
        self.transmits.pop_front()
    }

    /// The next connection to close.
    pub fn poll_close(&mut self) -> Option<FlowId> {
        self.closes.pop_front()
    }

    /// Forgets a connection and tells everyone who used it.
    pub(super) fn drop_flow(&mut self, flow: FlowId) {
        let Some(connection) = self.flows.remove(&flow) else {
            return;
        };
        self.timers.clear(Timer::Unbound(flow));
        self.closing.remove(&flow);
        if let Some(early) = &connection.early {
            self.offers.forget(flow, &early.session);
        }
        for number in connection.by_number.keys() {
            self.timers.clear(Timer::Response(flow, *number));
        }
        self.transmits.retain(|(other, _)| *other != flow);
        for delivery in &connection.deliveries {
            self.take_delivery(*delivery);
            let delivery = *delivery;
            self.events.push_back(super::Event::Abandoned { delivery });
        }
        for channel in &connection.channels {
            self.nickname_lost(&connection, *channel);
            self.take_down(*channel, Fault::Lost);
        }
        for relay in connection.relays {
            self.lose_relay(relay, Fault::Lost);
        }
    }

    /// Someone does not wait any more; dials that nobody waits for are forgotten.
    pub(super) fn stop_dialling(&mut self, leave: impl Fn(&mut Dialling)) {
        self.dials.retain(|_, dialling| {
            leave(dialling);
            !dialling.channels.is_empty() || !dialling.relays.is_empty()
        });
        let dials = &self.dials;
        self.dial_queue
            .retain(|queued| dials.contains_key(&queued.id));
    }

    /// An accepted connection that no session has claimed.
    pub(super) fn close_unbound(&mut self, flow: FlowId) {
        if self.flows.get(&flow).is_some_and(Connection::is_idle) {
            self.closes.push_back(flow);
            self.drop_flow(flow);
        }
    }

    /// A connection that was used and is not any more goes when all is written, or when its peer does not read.
    pub(super) fn close_if_idle(&mut self, flow: FlowId) {
        if let Some(connection) = self.flows.get_mut(&flow)
            && connection.is_idle()
        {
            connection.closing = true;
            self.closing.insert(flow);
            let until = self.clock + self.settings.bind_wait;
            self.timers.set(Timer::Unbound(flow), until);
        }
    }

    /// Closes what is to be closed and written.
    pub(super) fn sweep(&mut self) {
        let flows = &self.flows;
        let is_done = |flow: &&FlowId| flows.get(flow).is_none_or(Connection::is_done);
        let done: Vec<FlowId> = self.closing.iter().filter(is_done).copied().collect();
        for flow in done {
            self.closes.push_back(flow);
            self.drop_flow(flow);
        }
    }

    /// A connection for this session: one that leads there, one that is being opened, or a new one.
    pub(super) fn connect(&mut self, channel: Channel, now: Now) {
        let Some(session) = self.sessions.get(&channel) else {
            return;
        };
        let Some(target) = session.plan.way().into_iter().next() else {
            return self.take_down(channel, Fault::NotSent);
        };
        let security = session.plan.security.clone();
        let hop = Hop::new(&target, &security);
        let flow = match session.plan.relays.is_empty() {
            true => self.flow_to(&hop),
            false => self.flow_to_relay(&session.plan),
        };
        if let Some(flow) = flow {
            self.bind(channel, flow);
            self.greet(channel, flow, now);
            return self.pump(flow, now);
        }
        let dial = self.dial_to(
            hop,
            Dial {
                id: DialId(0),
                target,
                security,
            },
        );
        if let Some(dialling) = self.dials.get_mut(&dial) {
            dialling.channels.insert(channel);
        }
        if let Some(session) = self.sessions.get_mut(&channel) {
            session.phase = Phase::Dialling(dial);
        }
    }

    /// A connection that leads there.
    pub(super) fn flow_to(&self, hop: &Hop) -> Option<FlowId> {
        self.flows
            .iter()
            .find(|(_, c)| c.hop.as_ref() == Some(hop) && !c.closing)
            .map(|(flow, _)| *flow)
    }

    /// The dial to this place, a new one if there is none. `dial.id` is given here.
    pub(super) fn dial_to(&mut self, hop: Hop, dial: Dial) -> DialId {
        if let Some((id, _)) = self.dials.iter().find(|(_, d)| d.hop == hop) {
            return *id;
        }
        let id = DialId(self.number());
        self.dial_queue.push_back(Dial { id, ..dial });
        let (channels, relays) = (BTreeSet::new(), BTreeSet::new());
        let dialling = Dialling {
            hop,
            channels,
            relays,
        };
        self.dials.insert(id, dialling);
        id
    }
}
