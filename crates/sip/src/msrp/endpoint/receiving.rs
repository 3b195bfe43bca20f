//! What comes in: whose it is, what it makes, and what is answered (RFC 4975 §7.3).

use bytes::BytesMut;
use std::time::Duration;
use stox_core::time::Now;

use super::connection::{Asked, Connection};
use super::words::{Channel, DeliveryId, Event, FailureReport, Fault, Received, Role, Security};
use super::{Endpoint, Session, Status};
use crate::msrp::assembly::{Assembly, ChunkError};
use crate::msrp::frame::{Flag, Head, Method, Start};
use crate::msrp::framer::Item;
use crate::msrp::uri::{MsrpUri, same_path};
use crate::transport::FlowId;

/// A request that is coming in.
#[derive(Debug)]
pub(super) struct Incoming {
    head: Head,
    /// Whose it is, or how it is refused.
    verdict: Result<Channel, Status>,
    body: Option<BytesMut>,
    /// The body has more octets than any message may have.
    too_long: bool,
}

/// Something of the peer's that is not answered yet.
#[derive(Debug)]
pub(super) struct Delivery {
    pub(super) channel: Channel,
    pub(super) flow: FlowId,
    head: Head,
    failure_report: FailureReport,
    octets: u64,
    /// After that its sender does not wait for the response any more.
    until: Duration,
}

impl Endpoint {
    /// Octets came in on a connection.
    pub fn receive(&mut self, flow: FlowId, octets: &[u8], now: Now) {
        self.clock = now.mono;
        let Some(connection) = self.connections.get_mut(&flow) else {
            return;
        };
        connection.framer.push(octets);
        loop {
            let Some(connection) = self.connections.get_mut(&flow) else {
                return;
            };
            match connection.framer.poll() {
                Ok(None) => return,
                Ok(Some(item)) => self.item(flow, item, now),
                Err(_) => return self.cut(flow),
            }
        }
    }

    fn item(&mut self, flow: FlowId, item: Item, now: Now) {
        match item {
            Item::Head { head, body } => self.head(flow, head, body, now),
            Item::Body(octets) => {
                let limit = self.settings.max_message;
                let connection = self.connections.get_mut(&flow);
                if let Some(incoming) = connection.and_then(|known| known.incoming.as_mut())
                    && let Some(body) = &mut incoming.body
                {
                    incoming.too_long |= body.len() + octets.len() > limit;
                    if !incoming.too_long && incoming.verdict.is_ok() {
                        body.extend_from_slice(&octets);
                    }
                }
            }
            Item::End(flag) => {
                let connection = self.connections.get_mut(&flow);
                if let Some(incoming) = connection.and_then(|known| known.incoming.take()) {
                    self.request(flow, incoming, flag, now);
                }
            }
        }
    }

    fn head(&mut self, flow: FlowId, head: Head, body: bool, now: Now) {
        match &head.start {
            Start::Response(status) => {
                let status = status.clone();
                self.response(flow, &head.transaction, status);
            }
            Start::Request(_) => {
                let verdict = self.whose(flow, &head, now);
                let incoming = Incoming {
                    head,
                    verdict,
                    body: body.then(BytesMut::new),
                    too_long: false,
                };
                if let Some(connection) = self.connections.get_mut(&flow) {
                    connection.incoming = Some(incoming);
                }
            }
        }
    }

    fn response(&mut self, flow: FlowId, transaction: &str, status: Status) {
        let connection = self.connections.get_mut(&flow);
        match connection.and_then(|known| known.asked.remove(transaction)) {
            Some(Asked::Chunk(channel, id)) => self.chunk_answered(channel, &id, status),
            Some(Asked::Nickname(channel)) => {
                let outcome = match status.code {
                    200 => Ok(()),
                    _ => Err(Fault::Refused(status)),
                };
                self.events
                    .push_back(Event::NicknameSettled { channel, outcome });
            }
            None => {}
        }
    }

    /// The session that a request belongs to (RFC 4975 §7.3). Its first request binds the connection to a session that
    /// waits for one.
    fn whose(&mut self, flow: FlowId, head: &Head, now: Now) -> Result<Channel, Status> {
        let no_session = || Status::new(481, "No Such Session");
        let (Some(to), Some(from)) = (head.path("To-Path"), head.path("From-Path")) else {
            return Err(Status::new(400, "Malformed Path"));
        };
        let [to] = to.as_slice() else {
            return Err(no_session());
        };
        let id = to.session.as_deref().unwrap_or_default();
        let channel = self.by_session.get(id).copied().ok_or_else(no_session)?;
        let session = self.sessions.get(&channel).ok_or_else(no_session)?;
        if session.down || !to.is_same(&session.plan.local) || !session.is_from_peer(&from) {
            return Err(no_session());
        }
        match session.flow {
            Some(bound) if bound == flow => Ok(channel),
            Some(_) => Err(Status::new(506, "Session Already In Use")),
            None if session.plan.role == Role::Dials => Err(no_session()),
            None => {
                let connection = self.connections.get(&flow).ok_or_else(no_session)?;
                if !proves(connection, &session.plan.security) {
                    return Err(Status::new(403, "Certificate Not As Agreed"));
                }
                if let Some(connection) = self.connections.get_mut(&flow) {
                    connection.bind_by = None;
                }
                self.bind(channel, flow, now);
                Ok(channel)
            }
        }
    }

    fn request(&mut self, flow: FlowId, incoming: Incoming, flag: Flag, now: Now) {
        let Start::Request(method) = &incoming.head.start else {
            return;
        };
        let channel = match &incoming.verdict {
            Ok(channel) => *channel,
            Err(status) => {
                let status = status.clone();
                if *method != Method::Report {
                    self.respond(flow, &incoming.head, FailureReport::Yes, status);
                }
                return;
            }
        };
        match method {
            Method::Send => self.chunk(channel, flow, incoming, flag, now),
            Method::Report => self.reported(channel, &incoming.head),
            Method::Nickname => self.asks_nickname(channel, flow, incoming.head),
            Method::Auth | Method::Other(_) => {
                let unknown = Status::new(501, "Not Implemented");
                self.respond(flow, &incoming.head, FailureReport::Yes, unknown);
            }
        }
    }

    fn chunk(&mut self, channel: Channel, flow: FlowId, incoming: Incoming, flag: Flag, now: Now) {
        let failure_report = failure_report(&incoming.head);
        let taken = self.put_together(channel, &incoming, flag, now);
        let Incoming { head, .. } = incoming;
        match taken {
            Err(status) => {
                if let Some(session) = self.sessions.get_mut(&channel)
                    && let Some(id) = head.get("Message-ID")
                {
                    session.partial.remove(id);
                }
                self.respond(flow, &head, failure_report, status);
            }
            Ok(None) => self.respond(flow, &head, failure_report, Status::ok()),
            Ok(Some(message)) => {
                let delivery = DeliveryId(self.number());
                let octets = message.body.len() as u64;
                let until = now.mono + self.settings.response_wait;
                self.deliveries.insert(
                    delivery,
                    Delivery {
                        channel,
                        flow,
                        head,
                        failure_report,
                        octets,
                        until,
                    },
                );
                self.events.push_back(Event::Received {
                    channel,
                    delivery,
                    message,
                });
            }
        }
    }

    /// Adds a chunk to its message. `Some`: the message is complete, and has something in it.
    fn put_together(
        &mut self,
        channel: Channel,
        incoming: &Incoming,
        flag: Flag,
        now: Now,
    ) -> Result<Option<Received>, Status> {
        let bad = |words| Status::new(400, words);
        let too_large = || Status::new(413, "Message Too Large");
        let head = &incoming.head;
        let id = head
            .get("Message-ID")
            .ok_or_else(|| bad("Missing Message-ID"))?;
        let range = head.byte_range().map_err(|_| bad("Malformed Byte-Range"))?;
        let unanswered = self.deliveries.values();
        let unanswered = unanswered.filter(|known| known.channel == channel).count();
        let session = self
            .sessions
            .get_mut(&channel)
            .ok_or_else(|| bad("No Session"))?;
        if flag == Flag::Aborted {
            session.partial.remove(id);
            return Ok(None);
        }
        let Some(body) = &incoming.body else {
            return Ok(None);
        };
        if incoming.too_long {
            return Err(too_large());
        }
        let content_type = head
            .get("Content-Type")
            .ok_or_else(|| bad("Missing Content-Type"))?;
        if unanswered >= self.settings.max_unanswered {
            return Err(Status::new(408, "Too Many Messages Under Way"));
        }
        if session.partial.len() >= self.settings.max_partial && !session.partial.contains_key(id) {
            return Err(too_large());
        }
        let until = now.mono + self.settings.partial_wait;
        let (assembly, _) = session
            .partial
            .entry(id.to_owned())
            .or_insert_with(|| (Assembly::default(), until));
        let whole = assembly.add(range, body, flag, self.settings.max_message);
        let whole = whole.map_err(|error| match error {
            ChunkError::TooLarge => too_large(),
            ChunkError::Malformed => bad("Byte-Range And Body Do Not Agree"),
        })?;
        let Some(octets) = whole else {
            return Ok(None);
        };
        session.partial.remove(id);
        let says = |name: &str| {
            head.get(name)
                .is_some_and(|value| value.eq_ignore_ascii_case("yes"))
        };
        Ok(Some(Received {
            message_id: id.to_owned(),
            content_type: Some(content_type.to_owned()),
            body: octets,
            success_report: says("Success-Report"),
            failure_report: failure_report(head),
        }))
    }

    /// What the peer says of a message of ours. A success counts when it is about all of it.
    fn reported(&mut self, channel: Channel, head: &Head) {
        let (Some(id), Some(status)) = (head.get("Message-ID"), head.status()) else {
            return;
        };
        let Some(session) = self.sessions.get_mut(&channel) else {
            return;
        };
        if status.code == 200 {
            let place = session.reported.iter().position(|(known, ..)| known == id);
            let Some((_, total, covered)) = place.and_then(|at| session.reported.get_mut(at))
            else {
                return;
            };
            let range = head.byte_range().ok().flatten();
            let first = range.map_or(1, |range| range.first);
            let last = range.and_then(|range| range.last).unwrap_or(*total);
            if !covered.add(first, last, *total) {
                return;
            }
        }
        session.reported.retain(|(known, ..)| known != id);
        self.events.push_back(Event::Report {
            channel,
            message_id: id.to_owned(),
            status,
        });
    }

    fn asks_nickname(&mut self, channel: Channel, flow: FlowId, head: Head) {
        let Some(nickname) = head.get("Use-Nickname").and_then(unquoted) else {
            let bad = Status::new(424, "Malformed Nickname");
            return self.respond(flow, &head, FailureReport::Yes, bad);
        };
        let delivery = DeliveryId(self.number());
        let until = self.clock + self.settings.response_wait;
        self.deliveries.insert(
            delivery,
            Delivery {
                channel,
                flow,
                head,
                failure_report: FailureReport::Yes,
                octets: 0,
                until,
            },
        );
        self.events.push_back(Event::Nickname {
            channel,
            delivery,
            nickname,
        });
    }

    /// Answers a message or a wish. What comes too late for a response is a report, where it tells of a failure.
    pub fn answer(&mut self, delivery: DeliveryId, status: Status, now: Now) {
        self.clock = now.mono;
        let Some(found) = self.deliveries.remove(&delivery) else {
            return;
        };
        if now.mono < found.until {
            return self.respond(found.flow, &found.head, found.failure_report, status);
        }
        let id = found.head.get("Message-ID").map(str::to_owned);
        if let Some(id) = id.filter(|_| status.code != 200)
            && found.failure_report != FailureReport::No
        {
            self.report(found.channel, &id, found.octets, status, now);
        }
    }

    /// A response, where the sender wants one (RFC 4975 §7.2).
    fn respond(&mut self, flow: FlowId, head: &Head, wanted: FailureReport, status: Status) {
        let wants = match wanted {
            FailureReport::Yes => true,
            FailureReport::Partial => status.code != 200,
            FailureReport::No => false,
        };
        if let Some(response) = head.response(status).filter(|_| wants) {
            self.urge(flow, response.write(None, Flag::Complete));
        }
    }
}

impl Session {
    /// Whether a path is the peer's; relays of ours may stand before it.
    fn is_from_peer(&self, from: &[MsrpUri]) -> bool {
        let remote = &self.plan.remote;
        let before = from.len().saturating_sub(remote.len());
        before <= self.plan.relays.len()
            && from
                .get(before..)
                .is_some_and(|from| same_path(from, remote))
    }
}

/// Whether a connection that the peer opened is what was agreed on (RFC 4975 §14.4).
fn proves(connection: &Connection, security: &Security) -> bool {
    match security {
        Security::Plain => true,
        Security::Tls(_) if !connection.secure => false,
        Security::Tls(proof) if proof.fingerprints.is_empty() => true,
        Security::Tls(proof) => {
            let shown = connection.certificate.as_deref().unwrap_or_default();
            shown.iter().any(|shown| proof.fingerprints.contains(shown))
        }
    }
}

fn failure_report(head: &Head) -> FailureReport {
    match head
        .get("Failure-Report")
        .map(str::to_ascii_lowercase)
        .as_deref()
    {
        Some("no") => FailureReport::No,
        Some("partial") => FailureReport::Partial,
        _ => FailureReport::Yes,
    }
}

/// The text of a quoted string.
fn unquoted(value: &str) -> Option<String> {
    let inside = value.trim().strip_prefix('"')?.strip_suffix('"')?;
    let mut out = String::new();
    let mut chars = inside.chars();
    while let Some(c) = chars.next() {
        out.push(if c == '\\' { chars.next()? } else { c });
    }
    (!out.is_empty()).then_some(out)
}
