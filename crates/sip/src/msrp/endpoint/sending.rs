//! Messages out: chunk by chunk, sessions of one connection in turn (RFC 4975 §7.1).

use bytes::Bytes;
use std::time::Duration;
use stox_core::time::Now;

use super::connection::Asked;
use super::words::{Channel, Event, FailureReport, Fault, Message};
use super::{Endpoint, Status};
use crate::msrp::assembly::Covered;
use crate::msrp::frame::{Flag, Head, Method};
use crate::msrp::ident::transaction_id;
use crate::transport::FlowId;

/// Messages of one session whose success reports are waited for; the oldest goes first.
const MAX_REPORTED: usize = 64;
/// Urgent frames of one connection: a peer that makes us owe more than that does not read.
const MAX_URGENT: usize = 1_000;

/// A message on its way.
#[derive(Debug)]
pub(super) struct Sending {
    pub(super) message: Message,
    /// Octets that are out.
    sent: usize,
    /// Its first chunk is out.
    begun: bool,
    /// Chunks without response.
    open: usize,
    /// When the last response is due.
    pub(super) until: Duration,
    /// It binds the connection, and nobody waits for its fate.
    binds: bool,
}

impl Sending {
    /// Whether somebody waits for its fate.
    pub(super) const fn is_wanted(&self) -> bool {
        !self.binds
    }

    /// Whether the peer may have some of it.
    pub(super) const fn has_begun(&self) -> bool {
        self.begun
    }
}

impl Endpoint {
    /// Sends a message; exactly one [`Event::Sent`] follows, unless the session is closed before.
    pub fn send(&mut self, channel: Channel, message: Message, now: Now) {
        self.clock = now.mono;
        let limit = self.settings.max_queued;
        let refused = match self.sessions.get(&channel) {
            None => Some(Fault::Closed),
            Some(session) if session.down => Some(Fault::Closed),
            Some(session) => {
                let size = message.body.len();
                let most = session.plan.max_size.unwrap_or(u64::MAX);
                let full = session.queued.saturating_add(size) > limit;
                match size as u64 > most {
                    true => Some(Fault::TooLarge),
                    false => full.then_some(Fault::Overloaded),
                }
            }
        };
        if let Some(fault) = refused {
            return self.events.push_back(Event::Sent {
                channel,
                message_id: message.id,
                outcome: Err(fault),
            });
        }
        self.enqueue(channel, message, false);
    }

    /// Shows the peer whose connection this is (RFC 4975 §5.4).
    pub(super) fn send_empty(&mut self, channel: Channel, _now: Now) {
        let message = Message {
            id: self.entropy.token(),
            content_type: String::new(),
            body: Bytes::new(),
            success_report: false,
            failure_report: FailureReport::Yes,
            hint: None,
        };
        self.enqueue(channel, message, true);
    }

    fn enqueue(&mut self, channel: Channel, message: Message, binds: bool) {
        let Some(session) = self.sessions.get_mut(&channel) else {
            return;
        };
        session.queued += message.body.len();
        let sending = Sending {
            message,
            sent: 0,
            begun: false,
            open: 0,
            until: Duration::MAX,
            binds,
        };
        match binds {
            true => session.queue.push_front(sending),
            false => session.queue.push_back(sending),
        }
        if let Some(flow) = session.flow {
            self.ready.insert(flow);
        }
    }

    /// Asks for a nickname (RFC 7701 §7.1); [`Event::NicknameSettled`] follows.
    pub fn nickname(&mut self, channel: Channel, nickname: &str, _now: Now) {
        let Some(session) = self.sessions.get_mut(&channel).filter(|known| !known.down) else {
            return self.events.push_back(Event::NicknameSettled {
                channel,
                outcome: Err(Fault::Closed),
            });
        };
        session.nickname = Some(nickname.to_owned());
        if let Some(flow) = session.flow {
            self.ready.insert(flow);
        }
    }

    /// Tells the sender of a message of so many octets what became of it.
    pub fn report(
        &mut self,
        channel: Channel,
        message_id: &str,
        octets: u64,
        status: Status,
        _now: Now,
    ) {
        let Some(session) = self.sessions.get(&channel) else {
            return;
        };
        let Some(flow) = session.flow else {
            return;
        };
        let from = [session.plan.local.clone()];
        let to = session.to_path();
        let mut head = Head::request(self.entropy.token(), Method::Report, &to, &from);
        head.push("Message-ID", message_id);
        head.push("Byte-Range", format!("1-{octets}/{octets}"));
        head.push(
            "Status",
            format!("000 {:03} {}", status.code, status.comment),
        );
        self.urge(flow, head.write(None, Flag::Complete));
    }

    /// Queues a response or a report.
    pub(super) fn urge(&mut self, flow: FlowId, octets: Bytes) {
        let Some(connection) = self.connections.get_mut(&flow) else {
            return;
        };
        connection.urgent.push_back(octets);
        self.ready.insert(flow);
        if connection.urgent.len() > MAX_URGENT {
            self.cut(flow);
        }
    }

    /// The next frame for a connection, within its window.
    pub(super) fn next_octets(&mut self, flow: FlowId) -> Option<Bytes> {
        let window = self.settings.window;
        let connection = self.connections.get_mut(&flow)?;
        if connection.in_flight >= window && !connection.ending {
            return None;
        }
        if let Some(octets) = connection.urgent.pop_front() {
            connection.in_flight += octets.len();
            return Some(octets);
        }
        let channel = connection.round().into_iter().find(|channel| {
            let session = self.sessions.get(channel);
            session.is_some_and(|known| !known.queue.is_empty() || known.nickname.is_some())
        })?;
        connection.turn = Some(channel);
        let octets = self.next_request(channel, flow)?;
        if let Some(connection) = self.connections.get_mut(&flow) {
            connection.in_flight += octets.len();
        }
        Some(octets)
    }

    /// The next request of a session: its nickname, or a chunk.
    fn next_request(&mut self, channel: Channel, flow: FlowId) -> Option<Bytes> {
        let session = self.sessions.get_mut(&channel)?;
        let connection = self.connections.get_mut(&flow)?;
        let (to, from) = (session.to_path(), [session.plan.local.clone()]);
        if let Some(nickname) = session.nickname.take() {
            let id = self.entropy.token();
            let mut head = Head::request(id.clone(), Method::Nickname, &to, &from);
            head.push("Use-Nickname", quoted(&nickname));
            connection.asked.insert(id, Asked::Nickname(channel));
            return Some(head.write(None, Flag::Complete));
        }
        let sending = session.queue.front_mut()?;
        let total = sending.message.body.len();
        let end = total.min(sending.sent + self.settings.chunk);
        let body = sending.message.body.slice(sending.sent..end);
        let hint = sending.message.hint.take();
        let asked = &connection.asked;
        let taken = |id: &str| asked.contains_key(id);
        let id = transaction_id(hint.as_deref(), &body, taken, self.entropy.as_mut());
        let mut head = Head::request(id.clone(), Method::Send, &to, &from);
        head.push("Message-ID", &sending.message.id);
        head.push("Byte-Range", format!("{}-{end}/{total}", sending.sent + 1));
        if sending.message.success_report {
            head.push("Success-Report", "yes");
        }
        match sending.message.failure_report {
            FailureReport::Yes => {}
            FailureReport::Partial => head.push("Failure-Report", "partial"),
            FailureReport::No => head.push("Failure-Report", "no"),
        }
        let content = (!sending.binds).then_some(body.as_ref());
        if content.is_some() {
            head.push("Content-Type", &sending.message.content_type);
        }
        (sending.sent, sending.begun) = (end, true);
        let wanted = sending.message.failure_report == FailureReport::Yes;
        if wanted {
            connection
                .asked
                .insert(id, Asked::Chunk(channel, sending.message.id.clone()));
            sending.open += 1;
        }
        let last = end == total;
        let flag = if last { Flag::Complete } else { Flag::More };
        let octets = head.write(content, flag);
        if last {
            self.all_out(channel);
        }
        Some(octets)
    }

    /// All chunks of the first message of a session are out.
    fn all_out(&mut self, channel: Channel) {
        let Some(session) = self.sessions.get_mut(&channel) else {
            return;
        };
        let Some(mut sending) = session.queue.pop_front() else {
            return;
        };
        session.queued = session.queued.saturating_sub(sending.message.body.len());
        let id = sending.message.id.clone();
        if sending.message.success_report {
            if session.reported.len() >= MAX_REPORTED {
                session.reported.pop_front();
            }
            let octets = sending.message.body.len() as u64;
            session
                .reported
                .push_back((id.clone(), octets, Covered::default()));
        }
        if sending.open == 0 {
            return self.sent(channel, &sending, Ok(()));
        }
        sending.until = self.clock + self.settings.response_wait;
        session.awaiting.insert(id, sending);
    }

    fn sent(&mut self, channel: Channel, sending: &Sending, outcome: Result<(), Fault>) {
        if sending.is_wanted() {
            self.events.push_back(Event::Sent {
                channel,
                message_id: sending.message.id.clone(),
                outcome,
            });
        }
    }

    /// A response to a chunk of ours.
    pub(super) fn chunk_answered(&mut self, channel: Channel, id: &str, status: Status) {
        let Some(session) = self.sessions.get_mut(&channel) else {
            return;
        };
        let in_queue = session
            .queue
            .front_mut()
            .filter(|known| known.message.id == id);
        let sending = match in_queue {
            Some(sending) => sending,
            None => match session.awaiting.get_mut(id) {
                Some(sending) => sending,
                None => return,
            },
        };
        sending.open = sending.open.saturating_sub(1);
        if status.code == 200 {
            if sending.open == 0
                && let Some(sending) = session.awaiting.remove(id)
            {
                self.sent(channel, &sending, Ok(()));
            }
            return;
        }
        let refused = Err(Fault::Refused(status));
        if let Some(sending) = session.awaiting.remove(id) {
            session.reported.retain(|(known, ..)| known != id);
            return self.sent(channel, &sending, refused);
        }
        if let Some(sending) = session.queue.pop_front() {
            session.queued = session.queued.saturating_sub(sending.message.body.len());
            self.abort(channel, &sending);
            self.sent(channel, &sending, refused);
        }
    }

    /// Says that the rest of a message does not come (RFC 4975 §7.3).
    fn abort(&mut self, channel: Channel, sending: &Sending) {
        let Some(session) = self.sessions.get(&channel) else {
            return;
        };
        let Some(flow) = session.flow else {
            return;
        };
        let (to, from) = (session.to_path(), [session.plan.local.clone()]);
        let mut head = Head::request(self.entropy.token(), Method::Send, &to, &from);
        let total = sending.message.body.len();
        head.push("Message-ID", &sending.message.id);
        head.push(
            "Byte-Range",
            format!("{}-{}/{total}", sending.sent + 1, sending.sent),
        );
        head.push("Content-Type", &sending.message.content_type);
        self.urge(flow, head.write(Some(&[]), Flag::Aborted));
    }
}

/// A quoted string (RFC 7701 §9).
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars().filter(|c| !c.is_control()) {
        if matches!(c, '"' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    out.push('"');
    out
}
