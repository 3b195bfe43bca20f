//! Which session a request belongs to, and which connection a session is bound to (RFC 4975 §5.4, §7.3).

use stox_core::time::Now;

use super::Timer;
use super::channel::Phase;
use super::connection::{Asked, Connection, Hop};
use super::types::{Channel, Event, Plan, Security};
use super::{Endpoint, Frame, Head, Method, Status};
use crate::msrp::uri::same_path;
use crate::transport::FlowId;

/// Why a request belongs to no session of this connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stranger {
    pub(super) status: Status,
    /// The connection itself is not to be trusted: close it after the response.
    pub(super) hang_up: bool,
}

impl Stranger {
    fn new(code: u16) -> Self {
        Self {
            status: Status::new(code),
            hang_up: false,
        }
    }
}

impl Endpoint {
    /// The session that a request belongs to. A session that waits for its peer is bound by the first one.
    pub(super) fn claim(&mut self, flow: FlowId, head: &Head) -> Result<Channel, Stranger> {
        let channel = self.addressed(head).ok_or_else(|| Stranger::new(481))?;
        let (Some(session), Some(connection)) =
            (self.sessions.get(&channel), self.flows.get(&flow))
        else {
            return Err(Stranger::new(481));
        };
        match session.phase {
            Phase::Bound(bound) if bound == flow => return Ok(channel),
            Phase::Bound(_) => return Err(Stranger::new(506)),
            Phase::Dialling(_) => return Err(Stranger::new(481)),
            Phase::Waiting if head.method() == Some(&Method::Report) => {
                return Err(Stranger::new(481));
            }
            Phase::Waiting => {}
        }
        let trusted = match session.plan.relays.is_empty() {
            true => is_trusted(connection, &session.plan),
            false => self.flow_to_relay(&session.plan) == Some(flow),
        };
        if !trusted {
            if connection.secure && matches!(session.plan.security, Security::Tls(_)) {
                self.events.push_back(Event::Impostor { channel });
            }
            return Err(Stranger {
                status: Status::new(403),
                hang_up: true,
            });
        }
        self.bind(channel, flow);
        Ok(channel)
    }

    /// The session with these paths.
    fn addressed(&self, head: &Head) -> Option<Channel> {
        let [to] = head.to_path.as_slice() else {
            return None;
        };
        let channel = *self.by_session_id.get(to.session.as_deref()?)?;
        let plan = &self.sessions.get(&channel)?.plan;
        let ours = plan.local.is_same(to) && same_path(&plan.way(), &head.from_path);
        ours.then_some(channel)
    }

    pub(super) fn bind(&mut self, channel: Channel, flow: FlowId) {
        let (Some(session), Some(connection)) =
            (self.sessions.get_mut(&channel), self.flows.get_mut(&flow))
        else {
            return;
        };
        session.phase = Phase::Bound(flow);
        connection.channels.insert(channel);
        connection.closing = false;
        if connection.hop.is_none() && knows_peer(connection, &session.plan) {
            let way = session.plan.way();
            connection.hop = way
                .first()
                .map(|first| Hop::new(first, &session.plan.security));
        }
        if !session.outbox.is_empty() {
            connection.make_ready(channel);
        }
        self.timers.clear(Timer::Bind(channel));
        self.timers.clear(Timer::Unbound(flow));
        self.closing.remove(&flow);
        self.events.push_back(Event::Up(channel));
    }

    /// The side that connects sends at once, so that the other side can bind (RFC 4975 §5.4).
    pub(super) fn greet(&mut self, channel: Channel, flow: FlowId, now: Now) {
        let Some(session) = self.sessions.get(&channel) else {
            return;
        };
        if !session.outbox.is_empty() {
            return;
        }
        let (way, local) = (session.plan.way(), session.plan.local.clone());
        let id = self.transaction(flow, None, &[]);
        let mut head = Head::request(Method::Send, &id, &way, &[local]);
        head.headers.push("Message-ID", self.entropy.token());
        head.headers.push("Byte-Range", "1-0/0");
        self.ask(flow, &Frame::bare(head), Asked::Bind(channel), now);
    }
}

/// The connection may carry the session (RFC 4975 §14.4).
fn is_trusted(connection: &Connection, plan: &Plan) -> bool {
    match &plan.security {
        Security::Plain => !connection.secure,
        Security::Tls(_) if !connection.secure => false,
        Security::Tls(proof) if proof.fingerprints.is_empty() => true,
        // Of a connection that we opened the certificate was looked at then.
        Security::Tls(_) if connection.dialled => plan
            .way()
            .first()
            .is_some_and(|first| connection.hop == Some(Hop::new(first, &plan.security))),
        Security::Tls(proof) => connection.shows_one_of(&proof.fingerprints),
    }
}

/// An accepted connection may carry further sessions to the same place only when it is as certain who is there as if we
/// had connected. Without TLS nobody proves that the host of his path is his.
fn knows_peer(connection: &Connection, plan: &Plan) -> bool {
    match &plan.security {
        Security::Plain => false,
        Security::Tls(proof) => connection.shows_one_of(&proof.fingerprints),
    }
}
