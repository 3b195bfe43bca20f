//! Requests of ours on their way: name resolution, `Contact`, credentials, and one fate for each.

use std::collections::{BTreeMap, VecDeque};

use stox_core::failure::{Failure, Local};
use stox_core::time::{Entropy, Now};

use super::effects::{Fate, Outgoing, Purpose};
use super::routing;
use super::settings::Settings;
use crate::digest;
use crate::message::Response;
use crate::target::{NextHop, TargetError};
use crate::transaction::{ClientId, FailureCause, Route, TransactionLayer};
use crate::transport::{Target, Transport};

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
}

/// The most challenges of one request that are answered: a server's, a proxy's, and one stale nonce.
const MAX_ANSWERS: u8 = 3;

/// A request that has its fate.
pub(super) type Settled = (Purpose, Fate);

/// A request without final response.
#[derive(Debug)]
struct InFlight {
    outgoing: Outgoing,
    /// How many challenges were answered.
    answers: u8,
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
}

impl Challenged {
    /// The usage that the request belongs to.
    pub(super) fn purpose(&self) -> Purpose {
        self.in_flight.outgoing.purpose
    }
}

/// All requests on their way.
#[derive(Debug, Default)]
pub(super) struct Requests {
    resolving: BTreeMap<ResolveId, InFlight>,
    questions: VecDeque<Resolve>,
    in_flight: BTreeMap<ClientId, InFlight>,
    last_question: u64,
}

impl Requests {
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

    /// Every request has its fate.
    pub(super) fn is_empty(&self) -> bool {
        self.resolving.is_empty() && self.in_flight.is_empty()
    }

    /// The next question.
    pub(super) fn poll_resolve(&mut self) -> Option<Resolve> {
        self.questions.pop_front()
    }

    /// Sends a request, over its connection or after resolution, unless it has its fate at once.
    pub(super) fn send(
        &mut self,
        outgoing: Outgoing,
        settings: &Settings,
        transactions: &mut TransactionLayer,
        now: Now,
    ) -> Option<Settled> {
        let in_flight = InFlight {
            outgoing,
            answers: 0,
        };
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
        self.last_question += 1;
        let id = ResolveId(self.last_question);
        self.resolving.insert(id, in_flight);
        self.questions.push_back(Resolve { id, hop });
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
        let targets = match answer {
            Ok(targets) => targets,
            Err(error) => {
                let failure = Failure::Local(local_of(error));
                return Some((in_flight.outgoing.purpose, Err(failure)));
            }
        };
        let transport = targets
            .first()
            .map_or(Transport::Udp, |target| target.transport);
        self.start(
            in_flight,
            Route::from(targets),
            transport,
            settings,
            transactions,
            now,
        );
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
        let id = transactions.send_request(request, route, hint, now);
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
        let id = id.map(|(id, _)| *id)?;
        self.resolving.remove(&id);
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
        response: Response,
        settings: &Settings,
    ) -> Step {
        if response.status < 200 {
            return Step::Nothing;
        }
        let Some(in_flight) = self.in_flight.remove(&id) else {
            return Step::Nothing;
        };
        let challenged = matches!(response.status, 401 | 407);
        if challenged
            && in_flight.answers < MAX_ANSWERS
            && settings.can_answer(&in_flight.outgoing.domain)
        {
            return Step::Challenged(Box::new(Challenged {
                in_flight,
                response,
            }));
        }
        Step::Settled(in_flight.outgoing.purpose, Ok(response))
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
        } = challenged;
        in_flight.answers += 1;
        let Outgoing {
            purpose,
            request,
            domain,
            ..
        } = &mut in_flight.outgoing;
        let credentials = &settings.credentials;
        if digest::authorize(request, &response, domain, credentials, entropy).is_err() {
            return Some((*purpose, Ok(response)));
        }
        let method = request.method.clone();
        request.headers.set("CSeq", format!("{cseq} {method}"));
        self.launch(in_flight, settings, transactions, now)
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
            return self.launch(in_flight, settings, transactions, now);
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

fn local_of(error: TargetError) -> Local {
    match error {
        TargetError::NotFound | TargetError::NotOffered => Local::DomainNotFound,
        TargetError::BadHost => Local::BadAddress,
        TargetError::NoCommonTransport | TargetError::Temporary => Local::Unreachable,
    }
}
