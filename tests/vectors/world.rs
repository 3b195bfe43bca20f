//! The gateway on virtual time between a SIP peer and an XMPP server that do what a vector says, and otherwise answer
//! everything at once.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use minidom::Element;
use stox_core::failure::{Failure, Local};
use stox_core::time::{Entropy, Now, SeededEntropy};
use stox_core::vocab::{Grant, Pair, StoreIn, StoreOut};
use stox_sip::framing::{Frame, StreamFramer};
use stox_sip::parse::Limits;
use stox_sip::target::TargetError;
use stox_sip::transport::{Destination, FlowId, Source, Target, Transmit, Transport};
use stox_xmpp::link::Loss;
use stoxgate::engine::{BoundPorts, Effect, Engine, LinkName, Settings, StanzaToken};

use crate::msrp_peer::{self, MsrpPeer};
use crate::output::{Output, Sent};
use crate::sip_text::SipText;

const PING: &str = "urn:xmpp:ping";
/// 2026-03-01T10:00:00Z
const START: Duration = Duration::from_secs(1_772_359_200);
/// Where the gateway listens for MSRP.
const MSRP_PORT: u16 = 8763;
/// More rounds than any vector needs; a gateway that goes on for longer never comes to rest.
const MOST_ROUNDS: usize = 100_000;

/// How the surroundings behave where a vector says so.
#[derive(Debug, Clone, Default)]
pub(crate) struct Surroundings {
    /// The SIP domain has no DNS data.
    pub(crate) no_dns: bool,
    /// Nothing can be sent to any SIP target.
    pub(crate) sip_unreachable: bool,
    /// The SIP peer answers nothing by itself.
    pub(crate) sip_silent: bool,
    /// No stream to the XMPP server comes about.
    pub(crate) xmpp_unreachable: bool,
    /// The XMPP server answers no pings.
    pub(crate) xmpp_silent: bool,
    /// The first request of this method is answered only after this time.
    pub(crate) slow: Option<(String, Duration)>,
}

/// What the surroundings leave unanswered for now, because the vector answers it itself later.
#[derive(Debug, Clone, Default)]
pub(crate) struct Held {
    /// SIP requests of these methods.
    pub(crate) methods: BTreeSet<String>,
    /// All SIP requests.
    pub(crate) every_method: bool,
    /// The pings behind messages.
    pub(crate) fences: bool,
    /// Messages over MSRP.
    pub(crate) msrp: bool,
}

/// Gateway, surroundings and the log of what was sent.
pub(crate) struct World {
    pub(crate) engine: Engine,
    pub(crate) now: Now,
    pub(crate) outputs: Vec<Output>,
    /// Authorisations in the store.
    pub(crate) grants: BTreeMap<Pair, Grant>,
    pub(crate) surroundings: Surroundings,
    pub(crate) held: Held,
    /// Index of the request whose dialog the precondition names.
    pub(crate) dialog: Option<usize>,
    /// Indexes of SIP requests without final answer.
    unanswered: Vec<usize>,
    /// When the answer to such a request is due at the earliest.
    due: BTreeMap<usize, Duration>,
    /// When the peer gave its final answers.
    pub(crate) answered_at: BTreeMap<usize, Duration>,
    fences: Vec<(LinkName, Element)>,
    /// Where the gateway has connected to.
    dialled: Vec<Destination>,
    framers: BTreeMap<Transport, (FlowId, StreamFramer)>,
    flows: u64,
    tokens: u64,
    pub(crate) msrp: MsrpPeer,
}

fn peer() -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 5061)
}

impl World {
    /// A gateway with these settings, written as the administrator writes them.
    pub(crate) fn new(settings: &str) -> Result<Self, String> {
        let config = stoxgate::config::parse(settings, Path::new("gateway.toml"), [])
            .map_err(|problems| problems.to_string())?;
        let seed = AtomicU64::new(1);
        let entropy = move || {
            let seed = seed.fetch_add(1, Ordering::Relaxed);
            Box::new(SeededEntropy(seed << 32)) as Box<dyn Entropy>
        };
        let ports = BoundPorts {
            msrp_tcp: Some(MSRP_PORT),
            ..BoundPorts::default()
        };
        Ok(Self {
            engine: Engine::new(Settings::new(&config, ports), entropy),
            now: Now {
                mono: Duration::ZERO,
                wall: START,
            },
            outputs: Vec::new(),
            grants: BTreeMap::new(),
            surroundings: Surroundings::default(),
            held: Held::default(),
            dialog: None,
            unanswered: Vec::new(),
            due: BTreeMap::new(),
            answered_at: BTreeMap::new(),
            fences: Vec::new(),
            dialled: Vec::new(),
            framers: BTreeMap::new(),
            flows: 0,
            tokens: 0,
            msrp: MsrpPeer::default(),
        })
    }

    /// Virtual time since the start.
    pub(crate) fn elapsed(&self) -> Duration {
        self.now.mono
    }

    /// Sets the wall clock.
    pub(crate) fn set_wall(&mut self, wall: Duration) {
        self.now.wall = wall;
    }

    /// Starts the gateway again with these authorisations in its store.
    pub(crate) fn restore(&mut self, grants: Vec<(Pair, Grant)>) -> Result<(), String> {
        self.grants = grants.iter().cloned().collect();
        self.engine.restore(grants, Vec::new(), &[], self.now);
        self.settle()
    }

    // ------------------------------------------------------------------------------------------- inputs

    fn flow(&mut self, transport: Transport) -> &mut (FlowId, StreamFramer) {
        let flows = &mut self.flows;
        self.framers.entry(transport).or_insert_with(|| {
            *flows += 1;
            (FlowId(*flows), StreamFramer::new(Limits::default()))
        })
    }

    /// Octets from the SIP peer, over the transport that their `Via` names.
    pub(crate) fn sip(&mut self, octets: &[u8]) -> Result<(), String> {
        let via = SipText::parse(octets).ok();
        let transport = via
            .as_ref()
            .and_then(|sip| sip.via_transport().and_then(Transport::from_via))
            .unwrap_or(Transport::Tls);
        let (flow, framer) = self.flow(transport);
        let source = Source {
            flow: *flow,
            transport,
            remote: peer(),
            certificate_names: vec!["ocs.example".to_owned()],
        };
        if !transport.row().reliable {
            let octets = Bytes::copy_from_slice(octets);
            self.engine.datagram(&source, &octets, self.now);
            return self.pump();
        }
        framer.push(octets);
        loop {
            let (message, ends) = match self.flow(transport).1.poll_frame() {
                Ok(None) => break,
                Ok(Some(Frame::Message(message))) => (Ok(message), false),
                Ok(Some(Frame::Malformed(error))) => (Err(error), false),
                Ok(Some(Frame::KeepAlivePing | Frame::KeepAlivePong)) => continue,
                Err(error) => (Err(error), true),
            };
            self.engine.framed(&source, message, self.now);
            if ends {
                self.close_sip();
                break;
            }
        }
        self.pump()
    }

    /// The SIP peer closes its connections.
    pub(crate) fn close_sip(&mut self) {
        for (flow, _) in std::mem::take(&mut self.framers).into_values() {
            self.engine.sip_closed(flow, self.now);
        }
        for target in std::mem::take(&mut self.dialled) {
            self.engine.sip_not_sent(&target, self.now);
        }
    }

    /// The peer opens an MSRP connection.
    pub(crate) fn open_msrp(&mut self) {
        let flow = self.new_msrp_flow();
        self.engine.msrp_accepted(flow, false, None, self.now);
    }

    fn new_msrp_flow(&mut self) -> FlowId {
        self.flows += 1;
        let flow = FlowId(self.flows);
        self.msrp.opened(flow);
        flow
    }

    /// Octets from the peer over the newest MSRP connection.
    pub(crate) fn msrp(&mut self, octets: &[u8]) -> Result<(), String> {
        let flow = self.msrp.flow().ok_or("there is no MSRP connection")?;
        self.msrp_over(flow, octets)
    }

    fn msrp_over(&mut self, flow: FlowId, octets: &[u8]) -> Result<(), String> {
        let octets = Bytes::copy_from_slice(octets);
        self.engine.msrp_received(flow, &octets, self.now);
        self.pump()
    }

    /// A stanza from the XMPP server of its sender's domain. One that is no XML never gets past the stream.
    pub(crate) fn stanza(&mut self, xml: &str) -> Result<(), String> {
        let Ok(stanza) = xml.parse::<Element>() else {
            return Ok(());
        };
        let domain = |attribute: &str| {
            let jid = stanza.attr(attribute).unwrap_or_default();
            let bare = jid.split('/').next().unwrap_or_default();
            bare.rsplit('@').next().unwrap_or_default().to_owned()
        };
        let name = LinkName::new(&domain("to"), &domain("from"));
        self.element(&name, &stanza)
    }

    fn element(&mut self, name: &LinkName, stanza: &Element) -> Result<(), String> {
        self.tokens += 1;
        let token = StanzaToken(self.tokens);
        self.engine.stanza(name, stanza, token, self.now);
        self.pump()
    }

    // ------------------------------------------------------------------------------------------ effects

    /// Carries out what the gateway wants, until it wants nothing.
    pub(crate) fn pump(&mut self) -> Result<(), String> {
        for _ in 0..MOST_ROUNDS {
            let Some(effect) = self.engine.poll_effect() else {
                return Ok(());
            };
            self.carry_out(effect)?;
        }
        Err("the gateway never comes to rest".to_owned())
    }

    fn carry_out(&mut self, effect: Effect) -> Result<(), String> {
        match effect {
            Effect::Send(transmit) => return self.send(&transmit),
            Effect::Resolve(resolve) => {
                let targets = if self.surroundings.no_dns {
                    Err(TargetError::NotFound)
                } else {
                    Ok(vec![Target {
                        transport: Transport::Tls,
                        address: peer(),
                        name: "ocs.example".to_owned(),
                        also: Vec::new(),
                    }])
                };
                self.engine.sip_resolved(resolve.id, targets, self.now);
            }
            Effect::DialMsrp(dial) => {
                let flow = MsrpPeer::takes(&dial).then(|| self.new_msrp_flow());
                self.engine.msrp_dialled(dial.id, flow, self.now);
            }
            Effect::SendMsrp(flow, octets) => return self.receive_msrp(flow, &octets),
            Effect::CloseMsrp(flow) => {
                self.msrp.closed(flow);
                self.engine.msrp_closed(flow, self.now);
            }
            Effect::Connect(name, attempt) if self.surroundings.xmpp_unreachable => {
                let loss = Loss::Lasting(Failure::Local(Local::DomainNotFound));
                self.engine.stream_lost(&name, attempt, loss, self.now);
            }
            Effect::Connect(name, attempt) => {
                self.engine.stream_ready(&name, attempt, None, self.now)
            }
            Effect::Write(name, element) => self.write(name, &element),
            Effect::Store(StoreOut::Keep(message)) => {
                self.engine
                    .stored(StoreIn::Kept(message.reference), self.now);
            }
            Effect::Store(StoreOut::Put { pair, grant }) => {
                self.grants.insert(pair, grant);
            }
            Effect::Store(StoreOut::Remove(pair)) => {
                self.grants.remove(&pair);
            }
            Effect::Store(
                StoreOut::Settle(_) | StoreOut::Learn(_) | StoreOut::Record(_) | StoreOut::Amend(_),
            )
            | Effect::CloseStream(..)
            | Effect::Handled(_) => {}
        }
        Ok(())
    }

    fn send(&mut self, transmit: &Transmit) -> Result<(), String> {
        let sip = SipText::parse(&transmit.bytes)?;
        if self.surroundings.sip_unreachable && !sip.is_response() {
            self.engine.sip_not_sent(&transmit.destination, self.now);
            return Ok(());
        }
        let destination = &transmit.destination;
        if matches!(destination, Destination::Dial(_)) && !self.dialled.contains(destination) {
            self.dialled.push(destination.clone());
        }
        let index = self.outputs.len();
        if !sip.is_response() && sip.method() != "ACK" {
            self.unanswered.push(index);
            let slow = &mut self.surroundings.slow;
            if let Some((_, wait)) = slow.take_if(|(method, _)| method == sip.method()) {
                self.due.insert(index, self.now.mono + wait);
            }
        }
        self.outputs.push(Output {
            at: self.now.mono,
            what: Sent::Sip(sip),
        });
        Ok(())
    }

    fn receive_msrp(&mut self, flow: FlowId, octets: &Bytes) -> Result<(), String> {
        for message in self.msrp.receive(flow, octets)? {
            self.outputs.push(Output {
                at: self.now.mono,
                what: Sent::Msrp(message),
            });
        }
        self.engine.msrp_written(flow, octets.len(), self.now);
        Ok(())
    }

    fn write(&mut self, name: LinkName, element: &Element) {
        if element.name() == "iq" && element.has_child("ping", PING) {
            self.fences.push((name, element.clone()));
            return;
        }
        self.outputs.push(Output {
            at: self.now.mono,
            what: Sent::Stanza(element.clone()),
        });
    }

    // ------------------------------------------------------------------------------------- surroundings

    /// Lets the surroundings answer what is not held, until nothing is left to answer.
    pub(crate) fn settle(&mut self) -> Result<(), String> {
        for _ in 0..MOST_ROUNDS {
            self.pump()?;
            if !self.answer_fence()? && !self.answer_request()? && !self.answer_msrp()? {
                return Ok(());
            }
        }
        Err("the gateway never comes to rest".to_owned())
    }

    fn answer_fence(&mut self) -> Result<bool, String> {
        if self.held.fences || self.surroundings.xmpp_silent || self.fences.is_empty() {
            return Ok(false);
        }
        let (name, ping) = self.fences.remove(0);
        let from = ping.attr("to").unwrap_or_default();
        let to = ping.attr("from").unwrap_or_default();
        let id = ping.attr("id").unwrap_or_default();
        let pong =
            format!("<iq xmlns='jabber:client' type='result' id='{id}' from='{from}' to='{to}'/>");
        let pong = pong.parse().map_err(|error| format!("ping: {error}"))?;
        self.element(&name, &pong)?;
        Ok(true)
    }

    fn answer_request(&mut self) -> Result<bool, String> {
        if self.surroundings.sip_silent {
            return Ok(false);
        }
        let due = |index: &usize| self.due.get(index).is_none_or(|at| *at <= self.now.mono);
        let free = |index: &usize| {
            let request = self.outputs.get(*index).and_then(Output::request);
            !self.held.every_method
                && request.is_some_and(|sip| !self.held.methods.contains(sip.method()))
        };
        let Some(index) = self.unanswered.iter().copied().find(|i| due(i) && free(i)) else {
            return Ok(false);
        };
        let request = self.outputs.get(index).and_then(Output::request);
        let answer = request.map(usual_answer).unwrap_or_default();
        self.answered(index);
        self.sip(answer.as_bytes())?;
        Ok(true)
    }

    fn answer_msrp(&mut self) -> Result<bool, String> {
        if self.held.msrp {
            return Ok(false);
        }
        let Some((flow, answer)) = self.msrp.answer() else {
            return Ok(false);
        };
        self.msrp_over(flow, answer.as_bytes())?;
        Ok(true)
    }

    fn answered(&mut self, index: usize) {
        self.unanswered.retain(|other| *other != index);
        self.answered_at.insert(index, self.now.mono);
    }

    /// The vector's own answer to a request takes the place of the usual one.
    pub(crate) fn response(&mut self, octets: &[u8]) -> Result<(), String> {
        let sip = SipText::parse(octets)?;
        let branch = sip.branch();
        let of = |index: &usize| {
            let request = self.outputs.get(*index).and_then(Output::request);
            request.is_some_and(|request| request.branch() == branch)
        };
        if let Some(index) = self.unanswered.iter().copied().find(of)
            && sip.status().is_some_and(|status| status >= 200)
        {
            self.answered(index);
        }
        self.sip(octets)
    }

    // --------------------------------------------------------------------------------------------- time

    /// Lets virtual time pass.
    pub(crate) fn run_for(&mut self, time: Duration) -> Result<(), String> {
        self.run_until(self.now.mono + time, |_| false).map(|_| ())
    }

    /// Lets virtual time pass until `end`, or until `enough` says so; whether it did.
    pub(crate) fn run_until(
        &mut self,
        end: Duration,
        mut enough: impl FnMut(&[Output]) -> bool,
    ) -> Result<bool, String> {
        for _ in 0..MOST_ROUNDS {
            self.settle()?;
            if enough(&self.outputs) {
                return Ok(true);
            }
            let answers = self.due.values().copied().filter(|at| *at > self.now.mono);
            let next = self.engine.poll_timeout().into_iter().chain(answers).min();
            let Some(next) = next.filter(|at| *at <= end) else {
                self.pass(end);
                return Ok(false);
            };
            self.pass(next);
            self.engine.handle_timeout(self.now);
        }
        Err("the gateway's timers never come to rest".to_owned())
    }

    fn pass(&mut self, until: Duration) {
        let delta = until.saturating_sub(self.now.mono);
        self.now = self.now.after(delta);
    }
}

/// 200, with what a dialog needs.
fn usual_answer(request: &SipText) -> String {
    use std::fmt::Write;
    let mut answer = String::from("SIP/2.0 200 OK\r\n");
    let header = |name: &str| request.header(name).unwrap_or_default();
    for via in request.lines("Via") {
        _ = write!(answer, "Via: {via}\r\n");
    }
    let tag = if request.tag("To").is_some() {
        ""
    } else {
        ";tag=peer5"
    };
    _ = write!(
        answer,
        "From: {}\r\nTo: {}{tag}\r\nCall-ID: {}\r\nCSeq: {}\r\n",
        header("From"),
        header("To"),
        header("Call-ID"),
        header("CSeq"),
    );
    if request.method() == "SUBSCRIBE" {
        _ = write!(
            answer,
            "Contact: <sip:bruno@edge.ocs.example:5061;transport=tls>\r\nExpires: {}\r\n",
            header("Expires"),
        );
    }
    let body = match request.method() {
        "INVITE" => msrp_peer::description(request),
        _ => None,
    };
    if body.is_some() {
        answer.push_str(
            "Contact: <sip:bruno@edge.ocs.example:5061;transport=tls>\r\n\
             Content-Type: application/sdp\r\n",
        );
    }
    let body = body.unwrap_or_default();
    _ = write!(answer, "Content-Length: {}\r\n\r\n{body}", body.len());
    answer
}
