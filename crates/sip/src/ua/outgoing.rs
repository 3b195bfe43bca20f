//! Requests of ours on their way: name resolution, `Contact`, credentials, and one fate for each.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use stox_core::failure::{Failure, Local};
use stox_core::time::{Entropy, Now};

use super::connections::Connections;
use super::effects::{Fate, Outgoing, Purpose};
use super::pacing::{Lane, Pacer, Turn, Urgency};
use super::routing;
use super::settings::Settings;
use super::trust::SipDomain;
use crate::dialog;
use crate::digest::{self, Credential};
use crate::header::Headers;
use crate::message::{Request, Response};
use crate::method::Method;
use crate::target::{NextHop, TargetError};
use crate::transaction::{ClientId, FailureCause, Route, TransactionLayer};
use crate::transport::{Source, Target, Transport};

/// Names one question of [`Resolve`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResolveId(pub u64);

/// A next hop whose targets are wanted (RFC 3263). Answered with [`super::UserAgent::resolved`], once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolve {
    /// For the answer.
    pub id: ResolveId,
    /// Where to.
    pub hop: NextHop,
    /// No setting names the domain that it is for: nobody in there may choose which hosts of our own networks we speak to.
    pub confined: bool,
}

/// The most challenges of one request that are answered: a server's, a proxy's, and one stale nonce.
const MAX_ANSWERS: u8 = 3;
/// The longest that a partner's `Retry-After` is obeyed: less than what waits in its lane may wait.
const LONGEST_PAUSE: Duration = Duration::from_secs(240);

/// What a second copy of a MESSAGE is refused with where the first was taken: its dialog has gone on or is over, or it is
/// the same one once more. Nobody knows whether that is so.
const OF_A_COPY: &[u16] = &[481, 482, 500];

/// A request that has its fate.
pub(super) type Settled = (Purpose, Fate);

/// A request without final response.
#[derive(Debug)]
struct InFlight {
    outgoing: Outgoing,
    /// How many challenges were answered.
    answers: u8,
    /// When its time began to run.
    began: Duration,
    /// It was sent over a connection that closed then, and once more another way.
    in_doubt: bool,
}

impl InFlight {
    /// It carries the answer to a challenge.
    fn is_authorised(&self) -> bool {
        let headers = &self.outgoing.request.headers;
        digest::ANSWERS.iter().any(|name| headers.contains(name))
    }

    /// Somebody waits for a message or a session; presence may take its time.
    fn urgency(&self) -> Urgency {
        match self.outgoing.request.method {
            Method::SUBSCRIBE | Method::NOTIFY | Method::REGISTER => Urgency::Background,
            _ => Urgency::Urgent,
        }
    }
}

/// What became of a response.
#[derive(Debug)]
pub(super) enum Step {
    /// It is provisional, or nobody's.
    Nothing,
    /// The fate of a request.
    Settled(Purpose, Fate),
    /// It has to be sent again with credentials, under the next CSeq.
    Challenged(Box<Challenged>),
}

/// A request that was challenged, and by what.
#[derive(Debug)]
pub(super) struct Challenged {
    in_flight: InFlight,
    response: Response,
    /// Those that may be used where it came from.
    credentials: Vec<Credential>,
}

impl Challenged {
    /// The usage that the request belongs to.
    pub(super) fn purpose(&self) -> Purpose {
        self.in_flight.outgoing.purpose
    }

    /// The challenge is the fate of the request: nobody wants it to be sent again.
    pub(super) fn refused(self) -> Settled {
        (self.in_flight.outgoing.purpose, Ok(self.response))
    }
}

/// All requests on their way.
#[derive(Debug, Default)]
pub(super) struct Requests {
    resolving: BTreeMap<ResolveId, InFlight>,
    questions: VecDeque<Resolve>,
    in_flight: BTreeMap<ClientId, InFlight>,
    last_question: u64,
    pacer: Pacer<InFlight>,
    /// Connections that may be used.
    pub(super) connections: Connections,
}

impl Requests {
    /// How many wait for their partner's pace.
    pub(super) fn paced(&self) -> usize {
        self.pacer.len()
    }

    /// The domain that a sent request is for, and its method.
    pub(super) fn asked(&self, id: ClientId) -> Option<(&str, &Method)> {
        let outgoing = &self.in_flight.get(&id)?.outgoing;
        Some((&outgoing.domain, &outgoing.request.method))
    }

    /// The credentials that a sent INVITE carries, which its ACK is to repeat (RFC 3261 §13.2.2.4).
    pub(super) fn proof(&self, id: ClientId) -> Headers {
        let mut proof = Headers::new();
        if let Some(sent) = self.in_flight.get(&id)
            && sent.outgoing.request.method == Method::INVITE
        {
            for name in digest::ANSWERS {
                proof.copy_from(&sent.outgoing.request.headers, name);
            }
        }
        proof
    }

    /// How many wait for name resolution.
    pub(super) fn resolving(&self) -> usize {
        self.resolving.len()
    }

    /// The SIP domain that a sent request is for.
    pub(super) fn domain_of(&self, id: ClientId) -> Option<&str> {
        self.in_flight
            .get(&id)
            .map(|in_flight| in_flight.outgoing.domain.as_str())
    }

    /// The SIP domains that all of them are for.
    pub(super) fn domains(&self) -> impl Iterator<Item = &str> {
        let resolving = self.resolving.values().chain(self.in_flight.values());
        let all = resolving.chain(self.pacer.waiting());
        all.map(|in_flight| in_flight.outgoing.domain.as_str())
    }

    /// That domain is none of the federated ones any more.
    pub(super) fn forget(&mut self, domain: &SipDomain) {
        self.pacer.forget(domain.server());
    }

    /// Every request has its fate.
    pub(super) fn is_empty(&self) -> bool {
        self.resolving.is_empty() && self.in_flight.is_empty() && self.pacer.len() == 0
    }

    /// The next question.
    pub(super) fn poll_resolve(&mut self) -> Option<Resolve> {
        self.questions.pop_front()
    }

    /// Sends a request when its partner's pace allows it, over its connection or after resolution, unless it has its fate
    /// at once.
    pub(super) fn send(
        &mut self,
        (outgoing, lane): (Outgoing, Option<Lane>),
        settings: &Settings,
        transactions: &mut TransactionLayer,
        now: Now,
    ) -> Option<Settled> {
        let in_flight = InFlight {
            outgoing,
            answers: 0,
            began: now.mono,
            in_doubt: false,
        };
        let Some(lane) = lane else {
            return self.launch(in_flight, settings, transactions, now);
        };
        if in_flight.outgoing.purpose == Purpose::Ack {
            // It ends what waits on the peer's side, and is not counted there.
            return self.launch(in_flight, settings, transactions, now);
        }
        let urgency = in_flight.urgency();
        let patience = match urgency {
            // The other half is for the answer.
            Urgency::Urgent => settings.transactions.request_limit / 2,
            Urgency::Background => settings.limits.paced_wait,
        };
        let bounds = (now.mono + patience, settings.limits.paced);
        let turn = self
            .pacer
            .offer(&lane, urgency, in_flight, bounds, now.mono)?;
        self.take_turn(turn, settings, transactions, now)
    }

    fn take_turn(
        &mut self,
        turn: Turn<InFlight>,
        settings: &Settings,
        transactions: &mut TransactionLayer,
        now: Now,
    ) -> Option<Settled> {
        match turn {
            Turn::Go(mut in_flight) => {
                if in_flight.urgency() == Urgency::Background {
                    in_flight.began = now.mono;
                }
                self.launch(in_flight, settings, transactions, now)
            }
            Turn::TooLate(in_flight) | Turn::NoRoom(in_flight) => {
                let failure = Failure::Local(Local::Overloaded);
                Some((in_flight.outgoing.purpose, Err(failure)))
            }
        }
    }

    /// When [`Requests::handle_timeout`] has something to do.
    pub(super) fn next_timeout(&self) -> Option<Duration> {
        self.pacer.next_timeout()
    }

    /// Sends what has waited for long enough. To be called until it returns nothing.
    pub(super) fn handle_timeout(
        &mut self,
        settings: &Settings,
        transactions: &mut TransactionLayer,
        now: Now,
    ) -> Option<Settled> {
        while let Some(turn) = self.pacer.poll(now.mono) {
            let settled = self.take_turn(turn, settings, transactions, now);
            if settled.is_some() {
                return settled;
            }
        }
        None
    }

    /// Sends a request once more, out of turn.
    fn relaunch(
        &mut self,
        in_flight: InFlight,
        settings: &Settings,
        transactions: &mut TransactionLayer,
        now: Now,
    ) -> Option<Settled> {
        if let Some(domain) = settings.sip_domain(&in_flight.outgoing.domain) {
            self.pacer.charge(domain.server(), now.mono);
        }
        self.launch(in_flight, settings, transactions, now)
    }

    fn launch(
        &mut self,
        in_flight: InFlight,
        settings: &Settings,
        transactions: &mut TransactionLayer,
        now: Now,
    ) -> Option<Settled> {
        let outgoing = &in_flight.outgoing;
        if let Some(source) = &outgoing.over {
            let (route, transport) = (Route::from(source), source.transport);
            self.start(in_flight, route, transport, settings, transactions, now);
            return None;
        }
        let fail = |local| Some((outgoing.purpose, Err(Failure::Local(local))));
        let Some(hop) = routing::next_hop(&outgoing.next_hop, settings) else {
            return fail(Local::BadAddress);
        };
        if self.resolving.len() >= settings.limits.resolving {
            return fail(Local::Overloaded);
        }
        let confined = settings.named(&outgoing.domain).is_none();
        self.last_question += 1;
        let id = ResolveId(self.last_question);
        self.resolving.insert(id, in_flight);
        self.questions.push_back(Resolve { id, hop, confined });
        None
    }

    /// The answer to a question.
    pub(super) fn resolved(
        &mut self,
        id: ResolveId,
        answer: Result<Vec<Target>, TargetError>,
        settings: &Settings,
        transactions: &mut TransactionLayer,
        now: Now,
    ) -> Option<Settled> {
        let in_flight = self.resolving.remove(&id)?;
        let domain = &in_flight.outgoing.domain;
        let targets = match answer {
            Ok(mut targets) => {
                if in_flight.is_authorised() {
                    confine(&mut targets, domain, settings);
                }
                if is_first(&in_flight.outgoing.request) {
                    secure_for(settings.sip_domain(domain), &mut targets);
                }
                named_for(settings.sip_domain(domain), targets)
            }
            Err(error) => {
                let failure = Failure::Local(local_of(error));
                return Some((in_flight.outgoing.purpose, Err(failure)));
            }
        };
        let transport = targets
            .first()
            .map_or(Transport::Udp, |target| target.transport);
        let route = self.connections.route(targets, domain, settings);
        self.start(in_flight, route, transport, settings, transactions, now);
        None
    }

    fn start(
        &mut self,
        in_flight: InFlight,
        route: Route,
        transport: Transport,
        settings: &Settings,
        transactions: &mut TransactionLayer,
        now: Now,
    ) {
        let outgoing = &in_flight.outgoing;
        let mut request = outgoing.request.clone();
        if let Some(own) = &outgoing.contact {
            let contact = settings.local.contact(own, transport);
            request.headers.push("Contact", contact);
        }
        if outgoing.purpose == Purpose::Ack {
            // Where it cannot be sent, the peer asks again by repeating its answer.
            _ = transactions.send_once(request, route);
            return;
        }
        let hint = outgoing.branch_hint.as_deref();
        let id = transactions.send_request_since(request, route, hint, in_flight.began, now);
        self.in_flight.insert(id, in_flight);
    }

    /// Cancels a sent INVITE, whose fate comes as ever. One that is not sent yet has its fate at once.
    pub(super) fn cancel(
        &mut self,
        purpose: Purpose,
        transactions: &mut TransactionLayer,
        now: Now,
    ) -> Option<Settled> {
        let sent = |in_flight: &InFlight| in_flight.outgoing.purpose == purpose;
        let id = self.in_flight.iter().find(|(_, found)| sent(found));
        if let Some(id) = id.map(|(id, _)| *id) {
            transactions.cancel(id, now);
            return None;
        }
        let id = self.resolving.iter().find(|(_, found)| sent(found));
        match id.map(|(id, _)| *id) {
            Some(id) => _ = self.resolving.remove(&id),
            None => _ = self.pacer.withdraw(sent)?,
        }
        Some((purpose, Err(Failure::Local(Local::Timeout))))
    }

    /// Whether a response with this name can still belong to a request.
    pub(super) fn knows(&self, id: ClientId) -> bool {
        self.in_flight.contains_key(&id)
    }

    /// A response came.
    pub(super) fn response(
        &mut self,
        id: ClientId,
        (response, in_doubt): (Response, bool),
        source: &Source,
        settings: &Settings,
        now: Now,
    ) -> Step {
        if response.status < 200 {
            return Step::Nothing;
        }
        let Some(in_flight) = self.in_flight.remove(&id) else {
            return Step::Nothing;
        };
        // Inside a dialog the answer may be one user's own program's.
        if is_first(&in_flight.outgoing.request) {
            self.obey(&response, &in_flight.outgoing.domain, settings, now);
        }
        let challenged = matches!(response.status, 401 | 407);
        if challenged && in_flight.answers < MAX_ANSWERS {
            let names = source.certificate_names.as_slice();
            let server = (source.transport, source.remote.ip(), names);
            let domain = &in_flight.outgoing.domain;
            let credentials = settings.credentials_for(domain, server);
            if !credentials.is_empty() {
                return Step::Challenged(Box::new(Challenged {
                    in_flight,
                    response,
                    credentials,
                }));
            }
        }
        let is_message = in_flight.outgoing.request.method == Method::MESSAGE;
        let purpose = in_flight.outgoing.purpose;
        if is_message && (in_doubt || in_flight.in_doubt) && OF_A_COPY.contains(&response.status) {
            let unknown = Failure::Local(Local::TransportFailed);
            return Step::Settled(purpose, Err(unknown));
        }
        Step::Settled(purpose, Ok(response))
    }

    /// A partner that is overloaded says for how long (RFC 3261 §21.5.4).
    fn obey(&mut self, response: &Response, domain: &str, settings: &Settings, now: Now) {
        if response.status != 503 {
            return;
        }
        if let Ok(Some(seconds)) = response.headers.retry_after()
            && let Some(domain) = settings.sip_domain(domain)
        {
            let pause = Duration::from_secs(u64::from(seconds)).min(LONGEST_PAUSE);
            self.pacer.pause(domain.server(), now.mono + pause);
        }
    }

    /// Sends a challenged request again under that CSeq, if a credential answers the challenge; else gives its fate.
    pub(super) fn authorise(
        &mut self,
        challenged: Challenged,
        cseq: u32,
        settings: &Settings,
        entropy: &mut dyn Entropy,
        transactions: &mut TransactionLayer,
        now: Now,
    ) -> Option<Settled> {
        let Challenged {
            mut in_flight,
            response,
            credentials,
        } = challenged;
        in_flight.answers += 1;
        let Outgoing {
            purpose,
            request,
            domain,
            ..
        } = &mut in_flight.outgoing;
        if digest::authorize(request, &response, domain, &credentials, entropy).is_err() {
            return Some((*purpose, Ok(response)));
        }
        let method = request.method.clone();
        request.headers.set("CSeq", format!("{cseq} {method}"));
        self.relaunch(in_flight, settings, transactions, now)
    }

    /// A request got no response. One that went over a connection of the peer's is tried once more by resolution.
    pub(super) fn failed(
        &mut self,
        id: ClientId,
        cause: FailureCause,
        settings: &Settings,
        transactions: &mut TransactionLayer,
        now: Now,
    ) -> Option<Settled> {
        let mut in_flight = self.in_flight.remove(&id)?;
        if cause == FailureCause::Transport && in_flight.outgoing.over.take().is_some() {
            in_flight.in_doubt = true;
            return self.relaunch(in_flight, settings, transactions, now);
        }
        let local = match cause {
            FailureCause::Timeout => Local::Timeout,
            FailureCause::Transport => Local::TransportFailed,
            FailureCause::NoTarget => Local::Unreachable,
            FailureCause::Overloaded => Local::Overloaded,
        };
        Some((in_flight.outgoing.purpose, Err(Failure::Local(local))))
    }
}

/// It is in no dialog.
fn is_first(request: &Request) -> bool {
    let to = request.headers.get("To");
    to.is_none_or(|to| dialog::tag(to).is_none())
}

/// Where only a certificate speaks for a domain, its servers are dialled with TLS alone, whatever else its DNS offers:
/// answers come from there, and nothing else would prove whose they are. A next hop that is set is as it is set.
fn secure_for(domain: Option<&SipDomain>, targets: &mut Vec<Target>) {
    if domain.is_some_and(|domain| domain.needs_certificate && domain.next_hop.is_none()) {
        targets.retain(|target| target.transport.row().secure);
    }
}

/// The targets that an answer to a challenge may go to: without TLS, or to another host inside the domain, it may be another
/// one than the one that has asked. Such a host has to show that it is the domain's server.
fn confine(targets: &mut Vec<Target>, domain: &str, settings: &Settings) {
    targets.retain_mut(|to| {
        let names = std::slice::from_ref(&to.name);
        let server = (to.transport, to.address.ip(), names);
        let usable = !settings.credentials_for(domain, server).is_empty();
        if !usable && to.transport.row().secure {
            domain.clone_into(&mut to.name);
            return true;
        }
        usable
    });
}

/// The targets with every name by which a server there may show that it is the domain's.
fn named_for(domain: Option<&SipDomain>, mut targets: Vec<Target>) -> Vec<Target> {
    if let Some(domain) = domain {
        for target in targets.iter_mut().filter(|t| t.transport.row().secure) {
            target.also = domain.other_names(&target.name);
        }
    }
    targets
}

fn local_of(error: TargetError) -> Local {
    match error {
        TargetError::NotFound | TargetError::NotOffered => Local::DomainNotFound,
        TargetError::BadHost => Local::BadAddress,
        TargetError::NoCommonTransport | TargetError::Temporary => Local::Unreachable,
    }
}
