//! Dialled streams: the originating server of RFC 6120 and XEP-0220, and the receiving server's question to an
//! authoritative server.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use minidom::Element;
use stox_core::time::Now;
use thiserror::Error;
use xmpp_parsers::stanza_error::StanzaError;

use super::{
    StreamCommand, TlsInfo, TlsRule,
    carrier::{Carrier, Due},
    domain::{DomainPair, domain_of_address, normal_domain},
    error::{CloseReason, Step, StreamCondition, StreamError},
    features::PeerFeatures,
    header::{StreamHeader, Version, header_to_wire},
    limits::{Limits, Timing},
    ns,
    write::stanza_to_wire,
    xml::XmlEvent,
};
use crate::dialback::{self, Answer, Dialback, DialbackSecret, Kind};

/// What the certificate of a server that we dialled must show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum CertificateRule {
    /// Valid for every domain that is spoken to on the stream.
    #[default]
    ValidForPartner,
    /// Nothing: TLS hides, dialback through DNS identifies.
    Any,
}

/// What one dialled stream is told.
#[derive(Debug, Clone)]
pub struct OutboundSettings {
    /// The domains in our header, in their normal form ([`normal_domain`]).
    pub pair: DomainPair,
    /// Encryption.
    pub tls: TlsRule,
    /// The partner's certificate.
    pub certificate: CertificateRule,
    /// Speak to servers from before XMPP 1.0, which means in clear: needs [`TlsRule::Optional`] or `Never`, too.
    pub accept_before_1_0: bool,
    /// Use stream management where the peer has it.
    pub stream_management: bool,
    /// The secret of our dialback keys.
    pub secret: DialbackSecret,
    /// Sizes.
    pub limits: Limits,
    /// Times.
    pub timing: Timing,
}

/// A question to the authoritative server: is this key yours (XEP-0220 §2.2.2)?
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VerifyRequest {
    /// `local` is the receiving domain, `remote` the one that was claimed.
    pub pair: DomainPair,
    /// The id of the stream on which it was claimed.
    pub stream_id: String,
    /// The key.
    pub key: String,
}

/// What a dialled stream tells.
#[derive(Debug, Clone, PartialEq)]
pub enum OutboundEvent {
    /// The stream is negotiated; dialback for the pairs asked for has begun.
    Negotiated {
        /// What the peer offers.
        features: PeerFeatures,
        /// Inside TLS.
        encrypted: bool,
    },
    /// The peer has accepted the pair: its stanzas may be sent.
    Ready(DomainPair),
    /// The peer does not accept the pair. Other pairs are not touched.
    PairRefused(DomainPair, PairError),
    /// The answer to [`OutboundStream::verify`].
    Verified(VerifyRequest, Result<bool, VerifyError>),
    /// The peer has this many of the stanzas sent, from the first on (XEP-0198).
    Acknowledged(u64),
    /// The stream is over, and with it every pair and every question that is still open. The last event.
    Closed(CloseReason),
}

impl From<CloseReason> for OutboundEvent {
    fn from(reason: CloseReason) -> Self {
        Self::Closed(reason)
    }
}

/// Why a pair was not accepted.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum PairError {
    /// The peer found our key wrong. Its authoritative server asks another gateway, or DNS misleads it.
    #[error("the peer holds our dialback key for wrong")]
    Invalid,
    /// The peer could not find out (XEP-0220 §2.5). `None`: its error is unreadable.
    #[error("the peer could not verify our dialback key")]
    Peer(Option<Box<StanzaError>>),
    /// No answer in time.
    #[error("the peer did not answer our dialback key in time")]
    Timeout,
    /// The certificate does not name the partner.
    #[error("the certificate is not valid for the partner")]
    CertificateNotValid,
    /// The stream is closing or closed.
    #[error("the stream is closed")]
    Closed,
}

/// Why a question had no answer.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum VerifyError {
    /// The authoritative server reported an error. `None`: it is unreadable.
    #[error("the authoritative server reported an error")]
    Peer(Option<Box<StanzaError>>),
    /// No answer in time.
    #[error("the authoritative server did not answer in time")]
    Timeout,
    /// The certificate does not name the partner.
    #[error("the certificate is not valid for the partner")]
    CertificateNotValid,
    /// The stream is closing or closed.
    #[error("the stream is closed")]
    Closed,
}

/// Why a stanza was not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum NotReady {
    /// The stream is closing or closed.
    #[error("the stream is closed")]
    Closed,
    /// The pair of its addresses is not ready on this stream.
    #[error("the domain pair is not ready")]
    Pair,
    /// The peer takes no stanza of this size (XEP-0478).
    #[error("larger than the {0} octets that the peer takes")]
    TooLarge(usize),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The peer's header is awaited.
    Header,
    /// Its features are awaited.
    Features,
    /// Its answer to STARTTLS is awaited.
    Proceed,
    /// Dialback and stanzas flow.
    Negotiated,
}

/// A pair or a question on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    /// To be asked when the stream is negotiated.
    Wanted,
    /// Asked; given up at this time.
    Asked(Duration),
    /// Accepted.
    Ready,
}

impl Progress {
    fn deadline(self) -> Option<Duration> {
        match self {
            Self::Asked(deadline) => Some(deadline),
            Self::Wanted | Self::Ready => None,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum StreamManagement {
    Off,
    On,
}

/// One dialled stream.
pub struct OutboundStream {
    settings: Arc<OutboundSettings>,
    carrier: Carrier<OutboundEvent>,
    state: State,
    header: StreamHeader,
    features: PeerFeatures,
    tls: Option<TlsInfo>,
    pairs: BTreeMap<DomainPair, Progress>,
    questions: BTreeMap<VerifyRequest, Progress>,
    stream_management: StreamManagement,
    sent: u64,
    acknowledged: u64,
}

impl OutboundStream {
    /// A stream on a connection that was just dialled.
    #[must_use]
    pub fn new(settings: Arc<OutboundSettings>, now: Now) -> Self {
        let carrier = Carrier::new(settings.limits.clone(), settings.timing.clone(), now);
        let mut stream = Self {
            settings,
            carrier,
            state: State::Header,
            header: StreamHeader::default(),
            features: PeerFeatures::default(),
            tls: None,
            pairs: BTreeMap::new(),
            questions: BTreeMap::new(),
            stream_management: StreamManagement::Off,
            sent: 0,
            acknowledged: 0,
        };
        stream.open(now);
        stream
    }

    /// Asks for a pair: its stanzas may be sent after [`OutboundEvent::Ready`]. Several pairs share a stream
    /// (XEP-0220 §2.6).
    pub fn authorise(&mut self, pair: DomainPair, now: Now) {
        if !self.carrier.is_open() && !self.carrier.is_in_handshake() {
            self.carrier
                .event(OutboundEvent::PairRefused(pair, PairError::Closed));
        } else {
            self.pairs.entry(pair).or_insert(Progress::Wanted);
            self.ask(now);
        }
    }

    /// Asks about a key, as the receiving server that it was shown to.
    pub fn verify(&mut self, request: VerifyRequest, now: Now) {
        if !self.carrier.is_open() && !self.carrier.is_in_handshake() {
            self.carrier
                .event(OutboundEvent::Verified(request, Err(VerifyError::Closed)));
        } else {
            self.questions.entry(request).or_insert(Progress::Wanted);
            self.ask(now);
        }
    }

    /// Sends a stanza of a ready pair and returns its number, from 1, as [`OutboundEvent::Acknowledged`] counts.
    ///
    /// # Errors
    /// [`NotReady`]: nothing was sent.
    pub fn send(&mut self, stanza: &Element, now: Now) -> Result<u64, NotReady> {
        if !self.carrier.is_open() {
            return Err(NotReady::Closed);
        }
        let address = |name: &str| stanza.attr(name).and_then(domain_of_address);
        let (Some(local), Some(remote)) = (address("from"), address("to")) else {
            return Err(NotReady::Pair);
        };
        if self.pairs.get(&DomainPair { local, remote }) != Some(&Progress::Ready) {
            return Err(NotReady::Pair);
        }
        let wire = stanza_to_wire(stanza);
        if let Some(most) = self.features.max_octets
            && wire.len() > most
        {
            return Err(NotReady::TooLarge(most));
        }
        self.carrier.write(wire, now);
        self.sent += 1;
        Ok(self.sent)
    }

    /// Asks the peer how many stanzas it has. `false` when it cannot say.
    pub fn request_acknowledgement(&mut self, now: Now) -> bool {
        if self.stream_management == StreamManagement::Off || !self.carrier.is_open() {
            return false;
        }
        self.carrier.write(SM_REQUEST.to_owned(), now);
        true
    }

    /// Takes octets: clear ones before, deciphered ones after the TLS handshake.
    pub fn receive(&mut self, mut input: &[u8], now: Now) {
        while !self.carrier.is_closed() {
            if self.carrier.is_in_handshake() {
                if !input.is_empty() {
                    self.carrier.end(CloseReason::OctetsBehindStartTls);
                }
                return;
            }
            let result = match self.carrier.read(&mut input, now) {
                Ok(Some(XmlEvent::Open(header))) => self.opened(header, now),
                Ok(Some(XmlEvent::Element(element))) => self.element(&element, now),
                Ok(Some(XmlEvent::Close)) => {
                    self.carrier.peer_closed(now);
                    return;
                }
                Ok(None) => return,
                Err(error) => Err(error),
            };
            if let Err(error) = result {
                let reason = CloseReason::Refused(error.clone());
                self.carrier.refuse(&error, reason, now);
            }
        }
    }

    /// The TLS handshake is done; the stream begins anew inside.
    pub fn tls_established(&mut self, tls: TlsInfo, now: Now) {
        if !self.carrier.is_in_handshake() {
            return;
        }
        self.tls = Some(tls);
        self.carrier.restart(now);
        if !self.may_speak_to(&self.settings.pair.remote) {
            let remote = self.settings.pair.remote.clone();
            self.carrier.end(CloseReason::CertificateNotValid(remote));
            return;
        }
        self.open(now);
    }

    /// The TLS handshake failed. Nothing is tried in clear.
    pub fn tls_failed(&mut self, why: impl Into<String>) {
        self.carrier.end(CloseReason::TlsFailed(why.into()));
    }

    /// Closes in order.
    pub fn close(&mut self, now: Now) {
        self.carrier.close(CloseReason::Requested, now);
    }

    /// The connection ended or broke.
    pub fn connection_lost(&mut self) {
        self.carrier.end(CloseReason::ConnectionLost);
    }

    /// The next thing to do.
    pub fn poll_command(&mut self) -> Option<StreamCommand<OutboundEvent>> {
        self.carrier.poll_command()
    }

    /// When [`Self::handle_timeout`] is due, in monotonic time.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Duration> {
        if self.carrier.is_closed() {
            return None;
        }
        self.pairs
            .values()
            .chain(self.questions.values())
            .filter_map(|progress| progress.deadline())
            .chain(self.carrier.poll_timeout())
            .min()
    }

    /// Lets time pass.
    pub fn handle_timeout(&mut self, now: Now) {
        if self.carrier.is_closed() {
            return;
        }
        self.give_up(now);
        let step = match self.carrier.handle_timeout(now) {
            Due::Nothing => return,
            Due::Element => Step::Element,
            Due::Step if self.carrier.is_in_handshake() => {
                self.carrier.end(CloseReason::Timeout(Step::Tls));
                return;
            }
            Due::Step if self.state == State::Proceed => Step::Tls,
            Due::Step => Step::Header,
        };
        let error = StreamError::new(
            StreamCondition::ConnectionTimeout,
            format!("no {step} in time"),
        );
        self.carrier.refuse(&error, CloseReason::Timeout(step), now);
    }

    // ------------------------------------------------------------------------------------ negotiation

    fn open(&mut self, now: Now) {
        let pair = &self.settings.pair;
        let wire = header_to_wire(Some(&pair.local), Some(&pair.remote), None);
        self.state = State::Header;
        self.header = StreamHeader::default();
        self.features = PeerFeatures::default();
        self.carrier.write(wire, now);
        self.carrier
            .expect(Some(now.mono + self.settings.timing.header));
    }

    fn opened(&mut self, header: StreamHeader, now: Now) -> Result<(), StreamError> {
        if header.default_ns != ns::SERVER {
            return Err(StreamError::new(
                StreamCondition::InvalidNamespace,
                "this is a stream between servers",
            ));
        }
        let version = header.version();
        self.header = header;
        match version {
            Version::AtLeast1 => self.state = State::Features,
            Version::Before1 if !self.settings.accept_before_1_0 => {
                return Err(StreamError::new(
                    StreamCondition::UnsupportedVersion,
                    "XMPP 1.0 is needed",
                ));
            }
            Version::Before1 => return self.without_tls_offer(now),
            Version::Malformed => {
                return Err(StreamError::new(StreamCondition::UnsupportedVersion, ""));
            }
        }
        Ok(())
    }

    fn element(&mut self, element: &Element, now: Now) -> Result<(), StreamError> {
        let namespace = element.ns();
        match (namespace.as_str(), element.name(), self.state) {
            (ns::STREAMS, "error", _) => {
                let error = StreamError::from_element(element);
                self.carrier.peer_failed(error, now);
                Ok(())
            }
            (ns::STREAMS, "features", State::Features) => {
                self.features = PeerFeatures::from_element(element);
                self.features_read(now)
            }
            (ns::TLS, "proceed", State::Proceed) => {
                self.carrier.start_tls(now);
                Ok(())
            }
            (ns::TLS, "failure", State::Proceed) => {
                self.carrier.close(CloseReason::TlsRefused, now);
                Ok(())
            }
            (_, _, State::Features | State::Proceed) => Err(StreamError::new(
                StreamCondition::UnsupportedStanzaType,
                "the stream is not negotiated",
            )),
            (ns::DIALBACK, _, State::Negotiated) => {
                self.dialback_answer(element, now);
                Ok(())
            }
            (ns::SM, name, State::Negotiated) => self.stream_management(name, element, now),
            // This stream carries stanzas in one direction only: what comes back is not believed.
            (_, _, State::Header | State::Negotiated) => Ok(()),
        }
    }

    fn features_read(&mut self, now: Now) -> Result<(), StreamError> {
        if self.tls.is_some() || self.settings.tls == TlsRule::Never {
            return self.negotiated(now);
        }
        if !self.features.starttls {
            return self.without_tls_offer(now);
        }
        self.state = State::Proceed;
        self.carrier.write(STARTTLS.to_owned(), now);
        self.carrier
            .expect(Some(now.mono + self.settings.timing.tls));
        Ok(())
    }

    fn without_tls_offer(&mut self, now: Now) -> Result<(), StreamError> {
        if self.tls.is_none() && self.settings.tls == TlsRule::Required {
            self.carrier.close(CloseReason::TlsNotOffered, now);
            return Ok(());
        }
        self.negotiated(now)
    }

    fn negotiated(&mut self, now: Now) -> Result<(), StreamError> {
        if self.header.id.as_deref().is_none_or(str::is_empty) {
            return Err(StreamError::new(StreamCondition::BadFormat, "no stream id"));
        }
        self.state = State::Negotiated;
        self.carrier.expect(None);
        self.carrier.event(OutboundEvent::Negotiated {
            features: self.features,
            encrypted: self.tls.is_some(),
        });
        self.ask(now);
        Ok(())
    }

    /// The certificate rule holds for this partner.
    fn may_speak_to(&self, partner: &str) -> bool {
        match self.settings.certificate {
            CertificateRule::Any => true,
            CertificateRule::ValidForPartner => self
                .tls
                .as_ref()
                .is_some_and(|tls| tls.is_valid_for(partner)),
        }
    }

    // --------------------------------------------------------------------------------------- dialback

    /// Sends everything that is wanted and not yet asked. Dialback is tried even where it is not offered: servers
    /// from before XEP-0220's feature take it (COMPAT(jabberd 1.4)).
    fn ask(&mut self, now: Now) {
        if self.state != State::Negotiated || !self.carrier.is_open() {
            return;
        }
        let deadline = now.mono + self.carrier.timing().authentication;
        for pair in wanted(&self.pairs) {
            self.ask_for_pair(pair, deadline, now);
        }
        for question in wanted(&self.questions) {
            self.ask_about_key(question, deadline, now);
        }
    }

    /// As originating server (XEP-0220 §2.1.1).
    fn ask_for_pair(&mut self, pair: DomainPair, deadline: Duration, now: Now) {
        if !self.may_speak_to(&pair.remote) {
            self.pairs.remove(&pair);
            self.carrier.event(OutboundEvent::PairRefused(
                pair,
                PairError::CertificateNotValid,
            ));
            return;
        }
        let stream_id = self.header.id.as_deref().unwrap_or_default();
        let key = self
            .settings
            .secret
            .key(&pair.remote, &pair.local, stream_id);
        let wire = dialback::request_to_wire(Kind::Result, &pair.local, &pair.remote, None, &key);
        self.carrier.write(wire, now);
        self.pairs.insert(pair, Progress::Asked(deadline));
    }

    /// As receiving server (XEP-0220 §2.2.1).
    fn ask_about_key(&mut self, question: VerifyRequest, deadline: Duration, now: Now) {
        if !self.may_speak_to(&question.pair.remote) {
            self.questions.remove(&question);
            self.carrier.event(OutboundEvent::Verified(
                question,
                Err(VerifyError::CertificateNotValid),
            ));
            return;
        }
        let wire = dialback::request_to_wire(
            Kind::Verify,
            &question.pair.local,
            &question.pair.remote,
            Some(&question.stream_id),
            &question.key,
        );
        self.carrier.write(wire, now);
        self.questions.insert(question, Progress::Asked(deadline));
    }

    /// Only what was asked can be answered (CVE-2012-3525): everything else is ignored.
    fn dialback_answer(&mut self, element: &Element, now: Now) {
        let Some(Dialback {
            kind,
            from: Some(from),
            to: Some(to),
            id,
            answer: Some(answer),
            ..
        }) = Dialback::from_element(element)
        else {
            return;
        };
        let (Some(remote), Some(local)) = (normal_domain(&from), normal_domain(&to)) else {
            return;
        };
        let pair = DomainPair { local, remote };
        match kind {
            Kind::Result => self.pair_answered(pair, answer, now),
            Kind::Verify => self.key_answered(&pair, id.as_deref(), answer),
        }
    }

    fn pair_answered(&mut self, pair: DomainPair, answer: Answer, now: Now) {
        let Some(Progress::Asked(_)) = self.pairs.get(&pair) else {
            return;
        };
        let error = match answer {
            Answer::Valid => {
                self.pairs.insert(pair.clone(), Progress::Ready);
                self.carrier.set_authenticated();
                self.enable_stream_management(now);
                self.carrier.event(OutboundEvent::Ready(pair));
                return;
            }
            Answer::Invalid => PairError::Invalid,
            Answer::Error(error) => PairError::Peer(error),
        };
        self.pairs.remove(&pair);
        self.carrier.event(OutboundEvent::PairRefused(pair, error));
    }

    fn key_answered(&mut self, pair: &DomainPair, stream_id: Option<&str>, answer: Answer) {
        let Some(question) = self
            .questions
            .iter()
            .find(|(question, progress)| {
                matches!(progress, Progress::Asked(_))
                    && question.pair == *pair
                    && Some(question.stream_id.as_str()) == stream_id
            })
            .map(|(question, _)| question.clone())
        else {
            return;
        };
        self.questions.remove(&question);
        let verdict = match answer {
            Answer::Valid => Ok(true),
            Answer::Invalid => Ok(false),
            Answer::Error(error) => Err(VerifyError::Peer(error)),
        };
        self.carrier
            .event(OutboundEvent::Verified(question, verdict));
    }

    fn give_up(&mut self, now: Now) {
        for pair in late(&self.pairs, now) {
            self.pairs.remove(&pair);
            self.carrier
                .event(OutboundEvent::PairRefused(pair, PairError::Timeout));
        }
        for question in late(&self.questions, now) {
            self.questions.remove(&question);
            self.carrier
                .event(OutboundEvent::Verified(question, Err(VerifyError::Timeout)));
        }
    }

    // ------------------------------------------------------------------------------ stream management

    /// Before the first stanza, so that both sides count alike (XEP-0198 §4).
    fn enable_stream_management(&mut self, now: Now) {
        if self.stream_management == StreamManagement::Off
            && self.sent == 0
            && self.settings.stream_management
            && self.features.stream_management
        {
            self.stream_management = StreamManagement::On;
            self.carrier.write(SM_ENABLE.to_owned(), now);
        }
    }

    fn stream_management(
        &mut self,
        name: &str,
        element: &Element,
        now: Now,
    ) -> Result<(), StreamError> {
        match name {
            "failed" => self.stream_management = StreamManagement::Off,
            "r" if self.stream_management == StreamManagement::On => {
                self.carrier.write(SM_NOTHING_RECEIVED.to_owned(), now);
            }
            "a" if self.stream_management == StreamManagement::On => {
                return self.acknowledged(element);
            }
            _ => {}
        }
        Ok(())
    }

    /// `h` counts modulo 2^32 (XEP-0198 §4).
    fn acknowledged(&mut self, element: &Element) -> Result<(), StreamError> {
        let Some(count) = element.attr("h").and_then(|h| h.parse::<u32>().ok()) else {
            return Err(StreamError::new(StreamCondition::BadFormat, "no count"));
        };
        let known = self.acknowledged & u64::from(u32::MAX);
        let more = u64::from(count).wrapping_sub(known) & u64::from(u32::MAX);
        if self.acknowledged + more > self.sent {
            return Err(StreamError::new(
                StreamCondition::UndefinedCondition,
                "more stanzas acknowledged than sent",
            ));
        }
        if more > 0 {
            self.acknowledged += more;
            self.carrier
                .event(OutboundEvent::Acknowledged(self.acknowledged));
        }
        Ok(())
    }
}

fn wanted<K: Clone>(list: &BTreeMap<K, Progress>) -> Vec<K> {
    keys_where(list, |progress| progress == Progress::Wanted)
}

fn late<K: Clone>(list: &BTreeMap<K, Progress>, now: Now) -> Vec<K> {
    keys_where(list, |progress| {
        progress
            .deadline()
            .is_some_and(|deadline| deadline <= now.mono)
    })
}

fn keys_where<K: Clone>(list: &BTreeMap<K, Progress>, test: impl Fn(Progress) -> bool) -> Vec<K> {
    list.iter()
        .filter(|(_, progress)| test(**progress))
        .map(|(key, _)| key.clone())
        .collect()
}

const STARTTLS: &str = "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>";
const SM_ENABLE: &str = "<enable xmlns='urn:xmpp:sm:3'/>";
const SM_REQUEST: &str = "<r xmlns='urn:xmpp:sm:3'/>";
const SM_NOTHING_RECEIVED: &str = "<a xmlns='urn:xmpp:sm:3' h='0'/>";
