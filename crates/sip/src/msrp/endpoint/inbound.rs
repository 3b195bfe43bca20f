//! What peers send: chunks, reports, nicknames, responses (RFC 4975 §7.3).

use bytes::Bytes;
use stox_core::time::Now;

use super::binding::Stranger;
use super::channel::Session;
use super::connection::{Asked, Connection, Inbound};
use super::types::{Channel, DeliveryId, Event, Fault, Received};
use super::{Delivery, Endpoint, FailureReport, Head, Method, Status, Timer};
use crate::msrp::frame::{Defect, Flag, Start};
use crate::msrp::framer::Item;
use crate::msrp::reassembly::{Assembly, Misfit};
use crate::transport::FlowId;

impl Endpoint {
    /// The next piece of a frame.
    pub(super) fn take(&mut self, flow: FlowId, item: Item, now: Now) {
        match item {
            Item::Head {
                head,
                has_body,
                defect,
            } => {
                let inbound = self.take_head(flow, head, has_body, defect, now);
                if let Some(connection) = self.flows.get_mut(&flow) {
                    connection.inbound = Some(inbound);
                }
            }
            Item::Body(octets) => self.take_body(flow, &octets, now),
            Item::End(flag) => {
                let inbound = self.flows.get_mut(&flow).and_then(|c| c.inbound.take());
                match inbound {
                    Some(Inbound::Chunk { head, channel, at }) => {
                        self.end_chunk(flow, head, channel, at, flag, now);
                    }
                    Some(Inbound::AtEnd(head)) => self.end_frame(flow, head, flag, now),
                    Some(Inbound::Skip) | None => {}
                }
            }
        }
    }

    fn take_head(
        &mut self,
        flow: FlowId,
        head: Head,
        has_body: bool,
        defect: Option<Defect>,
        now: Now,
    ) -> Inbound {
        let Start::Request(method) = &head.start else {
            return Inbound::AtEnd(head);
        };
        match (method, defect) {
            (Method::Report, Some(_)) => Inbound::Skip,
            (_, Some(defect)) => {
                let status = Status {
                    code: 400,
                    comment: defect.to_string(),
                };
                self.respond(flow, &head, wish(&head), status);
                Inbound::Skip
            }
            (Method::Send, None) if has_body => match self.begin_chunk(flow, &head, now) {
                Ok((channel, at)) => Inbound::Chunk { head, channel, at },
                Err(stranger) => {
                    self.turn_away(flow, &head, stranger);
                    Inbound::Skip
                }
            },
            (Method::Send | Method::Report | Method::Nickname, None) => Inbound::AtEnd(head),
            (Method::Auth | Method::Other(_), None) => {
                self.respond(flow, &head, FailureReport::Yes, Status::new(501));
                Inbound::Skip
            }
        }
    }

    fn turn_away(&mut self, flow: FlowId, head: &Head, stranger: Stranger) {
        self.respond(flow, head, wish(head), stranger.status);
        if stranger.hang_up {
            self.close_if_idle(flow);
        }
    }

    /// The message that a chunk belongs to, and where its octets go.
    fn begin_chunk(
        &mut self,
        flow: FlowId,
        head: &Head,
        now: Now,
    ) -> Result<(Channel, u64), Stranger> {
        let channel = self.claim(flow, head)?;
        let too_large = || refusal(Misfit::TooLarge);
        let range = head.byte_range().ok().flatten();
        let at = range.map_or(0, |range| range.start - 1);
        let id = head.message_id().ok().flatten().unwrap_or_default();
        let settings = self.settings;
        let Some(session) = self.sessions.get_mut(&channel) else {
            return Err(too_large());
        };
        if at > 0 && session.has_refused(id) {
            return Err(too_large());
        }
        if !session.assemblies.contains_key(id) {
            if session.assemblies.len() >= settings.assemblies
                || session.held() >= settings.deliveries
            {
                session.refuse(id);
                return Err(too_large());
            }
            let until = now.mono + settings.assembly_wait;
            session
                .assemblies
                .insert(id.to_owned(), Assembly::new(head.clone(), until));
            self.watch_assemblies(channel);
        }
        let announced = range.and_then(|range| range.total);
        let assembly = self
            .sessions
            .get_mut(&channel)
            .and_then(|session| session.assemblies.get_mut(id));
        let fits = match (assembly, announced) {
            (Some(assembly), Some(total)) => assembly.announce(total, settings.max_message),
            _ => Ok(()),
        };
        match fits {
            Ok(()) => Ok((channel, at)),
            Err(misfit) => {
                self.drop_assembly(channel, id, true);
                Err(refusal(misfit))
            }
        }
    }

    /// Makes room for octets of a session, where those that hold more stand in its way: their oldest messages are given
    /// up first. So nobody keeps the others out.
    fn make_room(&mut self, channel: Channel, wanted: u64, now: Now) {
        let limit = self.settings.assembly_octets;
        while self.assembly_octets.saturating_add(wanted) > limit {
            let sessions = self.sessions.iter();
            let held = sessions.map(|(channel, session)| (session.assembled(), *channel));
            let (Some((most, hog)), Some(mine)) = (
                held.max(),
                self.sessions.get(&channel).map(Session::assembled),
            ) else {
                return;
            };
            let oldest = self.sessions.get(&hog).and_then(Session::oldest_assembly);
            let Some(id) = oldest.filter(|_| hog != channel && most > mine.saturating_add(wanted))
            else {
                return;
            };
            self.give_up_assembly(hog, &id, 413);
            if let Some(flow) = self.sessions.get(&hog).and_then(Session::flow) {
                self.pump(flow, now);
            }
        }
    }

    fn take_body(&mut self, flow: FlowId, octets: &[u8], now: Now) {
        let Some(connection) = self.flows.get_mut(&flow) else {
            return;
        };
        let Some(Inbound::Chunk { head, channel, at }) = &mut connection.inbound else {
            return;
        };
        let (channel, start) = (*channel, *at);
        *at = at.saturating_add(octets.len() as u64);
        let id = head
            .message_id()
            .ok()
            .flatten()
            .unwrap_or_default()
            .to_owned();
        let Err(misfit) = self.write_assembly((channel, &id), start, octets, now) else {
            return;
        };
        let Some(connection) = self.flows.get_mut(&flow) else {
            return;
        };
        // Answered before its end, so that the sender can stop (RFC 4975 §7.1.1).
        if let Some(Inbound::Chunk { head, .. }) = connection.inbound.replace(Inbound::Skip) {
            self.drop_assembly(channel, &id, true);
            self.turn_away(flow, &head, refusal(misfit));
        }
    }

    fn write_assembly(
        &mut self,
        (channel, id): (Channel, &str),
        at: u64,
        octets: &[u8],
        now: Now,
    ) -> Result<(), Misfit> {
        let max = self.settings.max_message;
        let end = at.saturating_add(octets.len() as u64);
        let session = self.sessions.get(&channel);
        let there = session.and_then(|session| Some(session.assemblies.get(id)?.body.len()));
        let wanted = end
            .min(max)
            .saturating_sub(there.unwrap_or_default() as u64);
        self.make_room(channel, wanted, now);
        let room = self
            .settings
            .assembly_octets
            .saturating_sub(self.assembly_octets);
        let assembly = self
            .sessions
            .get_mut(&channel)
            .and_then(|session| session.assemblies.get_mut(id))
            .ok_or(Misfit::TooLarge)?;
        let before = assembly.body.len() as u64;
        let result = assembly.write(at, octets, max.min(before.saturating_add(room)));
        self.assembly_octets += assembly.body.len() as u64 - before;
        result
    }

    fn end_chunk(
        &mut self,
        flow: FlowId,
        head: Head,
        channel: Channel,
        at: u64,
        flag: Flag,
        now: Now,
    ) {
        let id = head.message_id().ok().flatten().unwrap_or_default();
        let assembly = self
            .sessions
            .get_mut(&channel)
            .and_then(|session| session.assemblies.get_mut(id));
        let Some(assembly) = assembly else {
            // The session or the message was given up in between.
            return self.respond(flow, &head, wish(&head), Status::new(413));
        };
        let fits = match flag {
            Flag::Complete => assembly.finish(at),
            Flag::More | Flag::Aborted => Ok(()),
        };
        let complete = assembly.is_complete() && flag != Flag::Aborted;
        match fits {
            Err(misfit) => {
                self.drop_assembly(channel, id, true);
                self.turn_away(flow, &head, refusal(misfit));
            }
            Ok(()) if complete => {
                let assembly = self.drop_assembly(channel, id, false);
                let assembly = assembly.filter(|assembly| !assembly.body.is_empty());
                match assembly {
                    Some(assembly) => self.deliver(flow, head, channel, assembly, now),
                    None => self.respond(flow, &head, wish(&head), Status::new(200)),
                }
            }
            Ok(()) => {
                if flag == Flag::Aborted {
                    self.drop_assembly(channel, id, false);
                }
                self.respond(flow, &head, wish(&head), Status::new(200));
            }
        }
    }

    /// Hands a complete message out. `head` is that of the chunk that completed it.
    fn deliver(
        &mut self,
        flow: FlowId,
        head: Head,
        channel: Channel,
        assembly: Assembly,
        now: Now,
    ) {
        let first = &assembly.head;
        let id = head.message_id().ok().flatten().unwrap_or_default();
        let message = Received {
            message_id: id.to_owned(),
            content_type: first.content_type().map(str::to_owned),
            headers: first.headers.clone(),
            success_report: first.success_report().unwrap_or(false),
            failure_report: wish(first),
            body: Bytes::from(assembly.body),
        };
        let octets = message.body.len() as u64;
        let delivery = self.hold(flow, head, channel, octets, now);
        self.events.push_back(Event::Received {
            channel,
            delivery,
            message,
        });
    }

    fn hold(
        &mut self,
        flow: FlowId,
        head: Head,
        channel: Channel,
        octets: u64,
        now: Now,
    ) -> DeliveryId {
        let id = DeliveryId(self.number());
        let delivery = Delivery {
            channel,
            flow,
            failure_report: wish(&head),
            head,
            octets,
            late: false,
        };
        self.deliveries.insert(id, delivery);
        if let Some(session) = self.sessions.get_mut(&channel) {
            session.deliveries.insert(id);
        }
        if let Some(connection) = self.flows.get_mut(&flow) {
            connection.deliveries.insert(id);
        }
        let until = now.mono + self.settings.answer_wait;
        self.timers.set(Timer::Answer(id), until);
        id
    }

    /// The peer waits no longer: a message is taken, a nickname is not.
    pub(super) fn answer_for_now(&mut self, id: DeliveryId, now: Now) {
        let Some(delivery) = self.deliveries.get_mut(&id) else {
            return;
        };
        let (flow, wish, head) = (
            delivery.flow,
            delivery.failure_report,
            delivery.head.clone(),
        );
        if head.method() == Some(&Method::Nickname) {
            self.take_delivery(id);
            self.events.push_back(Event::Abandoned { delivery: id });
            self.respond(flow, &head, wish, Status::new(408));
        } else {
            delivery.late = true;
            self.respond(flow, &head, wish, Status::new(200));
        }
        self.pump(flow, now);
    }

    /// The end of a frame without a body that counts.
    fn end_frame(&mut self, flow: FlowId, head: Head, flag: Flag, now: Now) {
        let Start::Request(method) = &head.start else {
            return self.take_response(flow, &head, now);
        };
        let is_report = *method == Method::Report;
        let is_nickname = *method == Method::Nickname;
        match self.claim(flow, &head) {
            Err(_) if is_report => {}
            Err(stranger) => self.turn_away(flow, &head, stranger),
            Ok(channel) if is_report => self.take_report(channel, &head),
            Ok(channel) if is_nickname => self.take_nickname(flow, channel, head, now),
            Ok(channel) => {
                if flag == Flag::Aborted {
                    let id = head.message_id().ok().flatten().unwrap_or_default();
                    self.drop_assembly(channel, id, false);
                }
                self.respond(flow, &head, wish(&head), Status::new(200));
            }
        }
    }

    fn take_report(&mut self, channel: Channel, head: &Head) {
        let (Ok(Some(id)), Ok(Some(status))) = (head.message_id(), head.status()) else {
            return;
        };
        let range = head.byte_range().ok().flatten();
        let settled = self
            .sessions
            .get_mut(&channel)
            .and_then(|session| session.take_report(id, range, &status));
        if let Some(message_id) = settled {
            self.events.push_back(Event::Report {
                channel,
                message_id,
                status,
            });
        }
    }

    fn take_nickname(&mut self, flow: FlowId, channel: Channel, head: Head, now: Now) {
        let held = self.sessions.get(&channel).map_or(0, Session::held);
        if held >= self.settings.deliveries {
            return self.respond(flow, &head, FailureReport::Yes, Status::new(413));
        }
        let nickname = head.use_nickname().ok().flatten().unwrap_or_default();
        let delivery = self.hold(flow, head, channel, 0, now);
        self.events.push_back(Event::Nickname {
            channel,
            delivery,
            nickname,
        });
    }

    fn take_response(&mut self, flow: FlowId, head: &Head, now: Now) {
        let Start::Response(status) = &head.start else {
            return;
        };
        let settled = self
            .flows
            .get_mut(&flow)
            .and_then(|connection| connection.settle(&head.transaction));
        let Some((number, asked)) = settled else {
            return;
        };
        self.timers.clear(Timer::Response(flow, number));
        let outcome = if status.is_success() {
            Ok(())
        } else {
            Err(Fault::Refused(status.clone()))
        };
        match asked {
            Asked::Chunk(channel, message) => self.chunk_answered(channel, message, outcome),
            Asked::Bind(channel) if ends_session(status) => {
                self.take_down(channel, Fault::Refused(status.clone()));
            }
            Asked::Bind(_) => {}
            Asked::Nickname(channel) => self.nickname_settled(channel, outcome),
            Asked::Auth(relay) => self.relay_answered(relay, head, status, now),
        }
    }

    /// Forgets a message that is being put together.
    pub(super) fn drop_assembly(
        &mut self,
        channel: Channel,
        id: &str,
        refuse: bool,
    ) -> Option<Assembly> {
        let session = self.sessions.get_mut(&channel)?;
        if refuse {
            session.refuse(id);
        }
        let assembly = session.assemblies.remove(id)?;
        self.assembly_octets -= assembly.body.len() as u64;
        self.watch_assemblies(channel);
        Some(assembly)
    }

    fn watch_assemblies(&mut self, channel: Channel) {
        let next = self.sessions.get(&channel).and_then(Session::next_assembly);
        match next {
            Some(until) => self.timers.set(Timer::Assembly(channel), until),
            None => self.timers.clear(Timer::Assembly(channel)),
        }
    }

    /// Messages whose rest has not come in time are reported as failed, with 408 (RFC 4975 §10.4).
    pub(super) fn give_up_assemblies(&mut self, channel: Channel, now: Now) {
        let Some(session) = self.sessions.get(&channel) else {
            return;
        };
        let flow = session.flow();
        let late = session
            .assemblies
            .iter()
            .filter(|(_, a)| a.until <= now.mono);
        let ids: Vec<String> = late.map(|(id, _)| id.clone()).collect();
        for id in ids {
            self.give_up_assembly(channel, &id, 408);
        }
        self.watch_assemblies(channel);
        if let Some(flow) = flow {
            self.pump(flow, now);
        }
    }

    /// Gives up a message that is not complete, and reports that with a status.
    fn give_up_assembly(&mut self, channel: Channel, id: &str, code: u16) {
        let assembly = self.drop_assembly(channel, id, true);
        if let Some(assembly) = assembly.filter(|a| wish(&a.head) != FailureReport::No) {
            let octets = assembly.body.len() as u64;
            self.push_report(channel, Some(id), octets, &Status::new(code));
        }
    }

    /// The connection is gone before our nickname was answered.
    pub(super) fn nickname_lost(&mut self, connection: &Connection, channel: Channel) {
        for (_, asked) in connection.pending.values() {
            if *asked == Asked::Nickname(channel) {
                self.nickname_settled(channel, Err(Fault::Lost));
            }
        }
    }

    pub(super) fn nickname_settled(&mut self, channel: Channel, outcome: Result<(), Fault>) {
        if self.sessions.contains_key(&channel) {
            self.events
                .push_back(Event::NicknameSettled { channel, outcome });
        }
    }
}

/// Responses that say that there is no session for us there.
const ENDS_SESSION: [u16; 3] = [403, 481, 506];

pub(super) fn ends_session(status: &Status) -> bool {
    ENDS_SESSION.contains(&status.code)
}

/// Which responses the sender wants. Only a SEND can say so.
fn wish(head: &Head) -> FailureReport {
    match head.method() {
        Some(Method::Send) => head.failure_report().unwrap_or_default(),
        _ => FailureReport::Yes,
    }
}

fn refusal(misfit: Misfit) -> Stranger {
    let code = match misfit {
        Misfit::TooLarge => 413,
        Misfit::Outside => 400,
    };
    Stranger {
        status: Status::new(code),
        hang_up: false,
    }
}
