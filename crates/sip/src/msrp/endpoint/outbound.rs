//! What we send: chunks in turn, and what the responses mean (RFC 4975 §7.1).

use bytes::Bytes;
use stox_core::time::Now;

use super::connection::Asked;
use super::types::{Channel, Event, Fault};
use super::{ByteRange, Endpoint, FailureReport, Frame, Head, Method, Timer};
use crate::msrp::frame::Flag;
use crate::transport::FlowId;

impl Endpoint {
    /// Sends a small request that has a response.
    pub(super) fn ask(&mut self, flow: FlowId, frame: &Frame, asked: Asked, now: Now) {
        self.expect_response(flow, &frame.head.transaction, asked, now);
        if let Some(connection) = self.flows.get_mut(&flow) {
            connection.push_control(frame.to_bytes());
        }
    }

    fn expect_response(&mut self, flow: FlowId, transaction: &str, asked: Asked, now: Now) {
        let number = self.number();
        if let Some(connection) = self.flows.get_mut(&flow) {
            let transaction = transaction.to_owned();
            connection.by_number.insert(number, transaction.clone());
            connection.pending.insert(transaction, (number, asked));
            let until = now.mono + self.settings.transaction_wait;
            self.timers.set(Timer::Response(flow, number), until);
        }
    }

    pub(super) fn make_ready(&mut self, flow: FlowId, channel: Channel, now: Now) {
        if let Some(connection) = self.flows.get_mut(&flow) {
            connection.make_ready(channel);
        }
        self.pump(flow, now);
    }

    /// Hands out as much as the window allows: small frames first, then a chunk of each session in turn.
    pub(super) fn pump(&mut self, flow: FlowId, now: Now) {
        self.clock = now.mono;
        while let Some(connection) = self.flows.get_mut(&flow) {
            if connection.control_octets > self.settings.control_queue {
                self.closes.push_back(flow);
                return self.drop_flow(flow);
            }
            if connection.unwritten() >= self.settings.window as u64 {
                return;
            }
            if let Some(octets) = connection.pop_control() {
                connection.handed += octets.len() as u64;
                self.transmits.push_back((flow, octets));
                continue;
            }
            let Some(channel) = connection.ready.pop_front() else {
                break;
            };
            self.send_chunk(flow, channel, now);
        }
        self.sweep();
    }

    fn send_chunk(&mut self, flow: FlowId, channel: Channel, now: Now) {
        let size = self.settings.chunk.max(1);
        let Some(session) = self.sessions.get_mut(&channel) else {
            return;
        };
        let (way, local) = (session.plan.way(), session.plan.local.clone());
        let Some(message) = session.next_outgoing() else {
            return;
        };
        let start = message.offset;
        let end = message.message.body.len().min(start + size);
        let piece = message.message.body.slice(start..end);
        let hint = message.message.hint.clone().filter(|_| start == 0);
        message.offset = end;
        message.all_sent = end == message.message.body.len();
        let (number, last) = (message.number, message.all_sent);
        let wish = message.message.failure_report;
        if wish != FailureReport::No {
            message.unanswered += 1;
        }
        let mut head = Head::request(Method::Send, "", &way, &[local]);
        let range = ByteRange {
            start: start as u64 + 1,
            end: Some(end as u64),
            total: Some(message.message.body.len() as u64),
        };
        head.headers.push("Message-ID", &message.wire_id);
        head.headers.push("Byte-Range", range.to_string());
        if message.message.success_report {
            head.headers.push("Success-Report", "yes");
        }
        if wish != FailureReport::Yes {
            head.headers.push("Failure-Report", wish.as_str());
        }
        head.headers
            .push("Content-Type", &message.message.content_type);
        session.queued -= end - start;
        self.queued -= end - start;
        let more = session.next_outgoing().is_some();
        head.transaction = self.transaction(flow, hint.as_deref(), &piece);
        if wish != FailureReport::No {
            let asked = Asked::Chunk(channel, number);
            self.expect_response(flow, &head.transaction, asked, now);
        }
        let settles = (last && wish == FailureReport::No).then_some(number);
        let flag = if last { Flag::Complete } else { Flag::More };
        let frame = Frame {
            head,
            body: Some(piece),
            flag,
        };
        self.hand_chunk(flow, channel, frame.to_bytes(), settles);
        if let (true, Some(connection)) = (more, self.flows.get_mut(&flow)) {
            connection.make_ready(channel);
        }
    }

    fn hand_chunk(&mut self, flow: FlowId, channel: Channel, octets: Bytes, settles: Option<u64>) {
        if let Some(connection) = self.flows.get_mut(&flow) {
            connection.handed += octets.len() as u64;
            let mark = connection.handed;
            connection
                .on_written
                .extend(settles.map(|number| (mark, channel, number)));
            self.transmits.push_back((flow, octets));
        }
    }

    /// Messages that nobody answers are sent when they are written.
    pub(super) fn settle_written(&mut self, flow: FlowId) {
        while let Some(connection) = self.flows.get_mut(&flow) {
            let written = connection.written;
            match connection.on_written.front() {
                Some((mark, channel, number)) if *mark <= written => {
                    let (channel, number) = (*channel, *number);
                    connection.on_written.pop_front();
                    self.settle(channel, number, Ok(()));
                }
                _ => return,
            }
        }
    }

    /// One chunk of a message was answered. The first failure settles the message, and no further chunk of it leaves.
    pub(super) fn chunk_answered(
        &mut self,
        channel: Channel,
        number: u64,
        outcome: Result<(), Fault>,
    ) {
        let Some(message) = self
            .sessions
            .get_mut(&channel)
            .and_then(|session| session.outgoing(number))
        else {
            return;
        };
        message.unanswered = message.unanswered.saturating_sub(1);
        match outcome {
            Ok(()) if message.is_settled() => self.settle(channel, number, Ok(())),
            Ok(()) => {}
            Err(fault) => {
                if fault == Fault::Timeout {
                    self.give_up(channel, number);
                }
                self.settle(channel, number, Err(fault.clone()));
                if let Fault::Refused(status) = &fault
                    && matches!(status.code, 481 | 506)
                {
                    self.take_down(channel, fault);
                }
            }
        }
    }

    /// Tells the peer that the rest of a message will not come. After a refusal it knows.
    fn give_up(&mut self, channel: Channel, number: u64) {
        let Some(session) = self.sessions.get_mut(&channel) else {
            return;
        };
        let (way, local, flow) = (
            session.plan.way(),
            session.plan.local.clone(),
            session.flow(),
        );
        let message = session.outgoing(number).filter(|m| !m.all_sent);
        let (Some(message), Some(flow)) = (message, flow) else {
            return;
        };
        let range = ByteRange {
            start: message.offset as u64 + 1,
            end: None,
            total: Some(message.message.body.len() as u64),
        };
        let mut head = Head::request(Method::Send, "", &way, &[local]);
        head.headers.push("Message-ID", &message.wire_id);
        head.headers.push("Byte-Range", range.to_string());
        head.headers
            .push("Failure-Report", FailureReport::No.as_str());
        head.transaction = self.transaction(flow, None, &[]);
        let flag = Flag::Aborted;
        let frame = Frame {
            head,
            body: None,
            flag,
        };
        if let Some(connection) = self.flows.get_mut(&flow) {
            connection.push_control(frame.to_bytes());
        }
    }

    fn settle(&mut self, channel: Channel, number: u64, outcome: Result<(), Fault>) {
        let taken = self
            .sessions
            .get_mut(&channel)
            .and_then(|session| session.take_outgoing(number));
        if let Some(message) = taken {
            self.unqueue(&message);
            self.events.push_back(Event::Sent {
                channel,
                message_id: message.message.id,
                outcome,
            });
        }
    }

    /// A request of ours got no response in time: as if it were answered 408, but with `Failure-Report: partial`, where
    /// silence is success.
    pub(super) fn no_response(&mut self, flow: FlowId, number: u64, now: Now) {
        let settled = self.flows.get_mut(&flow).and_then(|connection| {
            let transaction = connection.by_number.get(&number)?.clone();
            connection.settle(&transaction)
        });
        let Some((_, asked)) = settled else {
            return;
        };
        match asked {
            Asked::Chunk(channel, message) => {
                let silence_is_success = self
                    .sessions
                    .get_mut(&channel)
                    .and_then(|session| session.outgoing(message))
                    .is_some_and(|m| m.message.failure_report == FailureReport::Partial);
                let outcome = if silence_is_success {
                    Ok(())
                } else {
                    Err(Fault::Timeout)
                };
                self.chunk_answered(channel, message, outcome);
            }
            Asked::Bind(channel) => self.take_down(channel, Fault::Timeout),
            Asked::Nickname(channel) => self.nickname_settled(channel, Err(Fault::Timeout)),
            Asked::Auth(relay) => self.lose_relay(relay, Fault::Timeout),
        }
        self.pump(flow, now);
    }
}
