//! The client side of relays (RFC 4976 §5.1).

use std::time::Duration;

use stox_core::time::Now;

use super::channel::Phase;
use super::connection::{Asked, Hop};
use super::types::{Credentials, Dial, DialId, Event, Fault, Plan, RelayId, Relayed, Security};
use super::{Endpoint, Frame, Head, Method, Status, Timer};
use crate::digest;
use crate::grammar::digits;
use crate::msrp::uri::MsrpUri;
use crate::transport::FlowId;

/// One relay.
#[derive(Debug)]
pub(super) struct Relay {
    uri: MsrpUri,
    local: MsrpUri,
    credentials: Credentials,
    security: Security,
    flow: Option<FlowId>,
    path: Vec<MsrpUri>,
    /// The lifetime to ask for, after a 423.
    expires: Option<u64>,
    /// Requests since the relay last said yes.
    attempts: u32,
}

/// How long a path is good for when the relay does not say.
const DEFAULT_EXPIRES: u64 = 600;

/// Without credentials, with them, and both again with another lifetime.
const MAX_ATTEMPTS: u32 = 4;

impl Relay {
    pub(super) fn new(
        uri: MsrpUri,
        local: MsrpUri,
        credentials: Credentials,
        security: Security,
    ) -> Self {
        Self {
            uri,
            local,
            credentials,
            security,
            flow: None,
            path: Vec::new(),
            expires: None,
            attempts: 0,
        }
    }
}

impl Endpoint {
    /// Forgets a relay without a further event. Its path ends when it expires.
    pub fn release(&mut self, relay: RelayId, now: Now) {
        if let Some(flow) = self.forget_relay(relay) {
            self.pump(flow, now);
        }
    }

    /// The way to us through a relay that has given us a path.
    #[must_use]
    pub fn relayed(&self) -> Option<Relayed> {
        let relay = self.relays.values().find(|relay| !relay.path.is_empty())?;
        Some(Relayed {
            path: relay.path.clone(),
            security: relay.security.clone(),
        })
    }

    /// The connection on which a session through a relay runs: the one on which the relay knows us.
    pub(super) fn flow_to_relay(&self, plan: &Plan) -> Option<FlowId> {
        let known = || self.relays.values().filter(|relay| !relay.path.is_empty());
        // A path may have changed since the session description was written.
        let relay = known()
            .find(|relay| relay.path == plan.relays)
            .or_else(|| known().find(|relay| relay.security == plan.security));
        relay?.flow
    }

    /// Peers are told to come through a relay that does not know us any more.
    pub(super) fn lacks_relay(&self, plan: &Plan) -> bool {
        !plan.relays.is_empty() && self.flow_to_relay(plan).is_none()
    }

    pub(super) fn connect_relay(&mut self, id: RelayId, now: Now) {
        let Some(relay) = self.relays.get(&id) else {
            return;
        };
        let (target, security) = (relay.uri.clone(), relay.security.clone());
        let hop = Hop::new(&target, &security);
        if let Some(flow) = self.flow_to(&hop) {
            self.greet_relay(id, flow, now);
            return self.pump(flow, now);
        }
        let unnamed = Dial {
            id: DialId(0),
            target,
            security,
        };
        let dial = self.dial_to(hop, unnamed);
        if let Some(dialling) = self.dials.get_mut(&dial) {
            dialling.relays.insert(id);
        }
    }

    pub(super) fn greet_relay(&mut self, id: RelayId, flow: FlowId, now: Now) {
        if let (Some(relay), Some(connection)) =
            (self.relays.get_mut(&id), self.flows.get_mut(&flow))
        {
            relay.flow = Some(flow);
            connection.relays.insert(id);
            self.send_auth(id, None, now);
        }
    }

    fn send_auth(&mut self, id: RelayId, authorization: Option<String>, now: Now) {
        let Some(relay) = self.relays.get_mut(&id) else {
            return;
        };
        let Some(flow) = relay.flow else {
            return;
        };
        relay.attempts += 1;
        let (to, from) = ([relay.uri.clone()], [relay.local.clone()]);
        let expires = relay.expires;
        let transaction = self.transaction(flow, None, &[]);
        let mut head = Head::request(Method::Auth, &transaction, &to, &from);
        if let Some(expires) = expires {
            head.headers.push("Expires", expires.to_string());
        }
        if let Some(authorization) = authorization {
            head.headers.push("Authorization", authorization);
        }
        self.ask(flow, &Frame::bare(head), Asked::Auth(id), now);
    }

    pub(super) fn relay_answered(&mut self, id: RelayId, head: &Head, status: &Status, now: Now) {
        let refused = Fault::Refused(status.clone());
        let attempts = self.relays.get(&id).map_or(0, |relay| relay.attempts);
        match (status.code, head.use_path()) {
            (200, Some(path)) => self.relay_ready(id, path, head.expires(), now),
            (401, _) if attempts < MAX_ATTEMPTS && attempts % 2 == 1 => {
                match self.answer_challenge(id, head) {
                    Some(answer) => self.send_auth(id, Some(answer), now),
                    None => self.lose_relay(id, refused),
                }
            }
            (423, _) if attempts < MAX_ATTEMPTS => match self.other_lifetime(id, head) {
                Some(()) => self.send_auth(id, None, now),
                None => self.lose_relay(id, refused),
            },
            _ => self.lose_relay(id, refused),
        }
    }

    fn relay_ready(&mut self, id: RelayId, path: Vec<MsrpUri>, expires: Option<u64>, now: Now) {
        let Some(relay) = self.relays.get_mut(&id) else {
            return;
        };
        relay.attempts = 0;
        let lifetime = Duration::from_secs(expires.unwrap_or(DEFAULT_EXPIRES).clamp(4, 86_400));
        self.timers
            .set(Timer::Relay(id), now.mono + lifetime / 4 * 3);
        if relay.path != path {
            relay.path.clone_from(&path);
            self.events.push_back(Event::Relay {
                id,
                outcome: Ok(path),
            });
        }
    }

    /// The answer to a challenge. The password goes to the relay that it belongs to and to nobody else.
    fn answer_challenge(&mut self, id: RelayId, head: &Head) -> Option<String> {
        let relay = self.relays.get(&id)?;
        let host = relay.uri.bare_host();
        if !relay.credentials.domain.eq_ignore_ascii_case(host) {
            return None;
        }
        let challenges = head.headers.get_all("WWW-Authenticate");
        let (credentials, uri) = (&relay.credentials, relay.uri.to_string());
        let entropy = self.entropy.as_mut();
        digest::answer(challenges, credentials, "AUTH", &uri, entropy).ok()
    }

    /// The lifetime that a 423 asks for.
    fn other_lifetime(&mut self, id: RelayId, head: &Head) -> Option<()> {
        let relay = self.relays.get_mut(&id)?;
        let number = |name| digits(head.headers.get(name)?);
        let lifetime = number("Min-Expires").or_else(|| number("Max-Expires"))?;
        // A round starts anew, without credentials.
        relay.attempts = relay.attempts.next_multiple_of(2);
        relay.expires = Some(lifetime);
        Some(())
    }

    /// No path in time, or a path that is to be refreshed.
    pub(super) fn relay_due(&mut self, id: RelayId, now: Now) {
        let Some(relay) = self.relays.get(&id) else {
            return;
        };
        if relay.path.is_empty() {
            return self.lose_relay(id, Fault::Timeout);
        }
        let flow = relay.flow;
        self.send_auth(id, None, now);
        if let Some(flow) = flow {
            self.pump(flow, now);
        }
    }

    pub(super) fn lose_relay(&mut self, id: RelayId, fault: Fault) {
        if self.relays.contains_key(&id) {
            self.forget_relay(id);
            let outcome = Err(fault);
            self.events.push_back(Event::Relay { id, outcome });
            let waiting = self.sessions.iter().filter(|(_, session)| {
                session.phase == Phase::Waiting && self.lacks_relay(&session.plan)
            });
            let lost: Vec<_> = waiting.map(|(channel, _)| *channel).collect();
            for channel in lost {
                self.take_down(channel, Fault::NotSent);
            }
        }
    }

    fn forget_relay(&mut self, id: RelayId) -> Option<FlowId> {
        let relay = self.relays.remove(&id)?;
        self.timers.clear(Timer::Relay(id));
        self.stop_dialling(|dialling| {
            dialling.relays.remove(&id);
        });
        let flow = relay.flow?;
        if let Some(connection) = self.flows.get_mut(&flow) {
            connection.relays.remove(&id);
        }
        self.close_if_idle(flow);
        Some(flow)
    }
}
