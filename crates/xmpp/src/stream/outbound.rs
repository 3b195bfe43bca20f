//! Dialled streams: the originating server of RFC 6120 and XEP-0220, and the receiving server's question to an
//! authoritative server.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::Arc,
    time::Duration,
};

use minidom::Element;
use stox_core::time::Now;
use thiserror::Error;
use xmpp_parsers::stanza_error::StanzaError;

mod acks;
mod bidi;
mod dialback;
mod external;

use self::external::External;
use super::{
    StreamCommand, TlsInfo,
    acks::{Acks, StanzaNumber},
    carrier::{Carrier, Due},
    domain::{DomainPair, domains_of},
    error::{CloseReason, Step, StreamCondition, StreamError},
    features::PeerFeatures,
    header::{StreamHeader, Version, header_to_wire},
    limits::{Limits, Timing},
    ns,
    rule::{PartnerRule, TlsRule},
    write::stanza_to_wire,
    xml::XmlEvent,
};
use crate::dialback::DialbackSecret;

/// What one dialled stream is told.
#[derive(Debug, Clone)]
pub struct OutboundSettings {
    /// The domains in our header, in their normal form ([`normal_domain`](super::domain::normal_domain)).
    pub pair: DomainPair,
    /// The rule for `pair.remote`, and for every other domain on the stream.
    pub rule: PartnerRule,
    /// Our certificate names `pair.local`, so that it may be tried as proof.
    pub external: bool,
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
    /// The peer did not take our certificate as proof; these are its words. Dialback follows where it may.
    ExternalRefused(String),
    /// The peer has accepted the pair: its stanzas may be sent.
    Ready(DomainPair),
    /// The peer does not accept the pair. Other pairs are not touched.
    PairRefused(DomainPair, PairError),
    /// The answer to [`OutboundStream::verify`].
    Verified(VerifyRequest, Result<bool, VerifyError>),
    /// A stanza to `pair.local` from `pair.remote`, which is ready, on a stream in both directions (XEP-0288). Its
    /// addresses beyond the domains are not checked.
    Stanza {
        /// The pair that it belongs to.
        pair: DomainPair,
        /// For [`OutboundStream::stanza_handled`].
        number: StanzaNumber,
        /// The stanza, in `jabber:client`.
        element: Element,
    },
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
    /// The certificate does not speak for the partner, for this reason.
    #[error("the partner's certificate is not valid for it: {0}")]
    CertificateNotValid(String),
    /// Only a certificate may prove us, and ours does not name the domain.
    #[error("our own certificate does not name our domain, and the rule allows no dialback")]
    OwnCertificate,
    /// Only a certificate may prove us, and the peer asks for none.
    #[error(
        "the peer does not offer SASL EXTERNAL to our certificate, and the rule allows no dialback"
    )]
    ExternalNotOffered,
    /// Only a certificate may prove us, and the peer did not take it. Its words.
    #[error(
        "the peer did not take our certificate as proof ({0}), and the rule allows no dialback"
    )]
    ExternalFailed(String),
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
    /// The certificate does not speak for the partner, for this reason.
    #[error("the partner's certificate is not valid for it: {0}")]
    CertificateNotValid(String),
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
    /// Its answer to EXTERNAL is awaited.
    Sasl,
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
    external: External,
    pairs: BTreeMap<DomainPair, Progress>,
    questions: BTreeMap<VerifyRequest, Progress>,
    stream_management: StreamManagement,
    /// Asked for stanzas in both directions.
    bidi: bool,
    received: Acks,
    sent: u64,
    acknowledged: u64,
    /// The peer owes an answer to `<r/>`.
    asked: bool,
}

impl OutboundStream {
    /// A stream on a connection that was just dialled.
    #[must_use]
    pub fn new(settings: Arc<OutboundSettings>, now: Now) -> Self {
        let mut stream = Self::unopened(settings, now);
        stream.open(now);
        stream
    }

    /// A stream on a connection that began with TLS (XEP-0368).
    #[must_use]
    pub fn in_tls(settings: Arc<OutboundSettings>, tls: TlsInfo, now: Now) -> Self {
        let mut stream = Self::unopened(settings, now);
        stream.begin_in_tls(tls, now);
        stream
    }

    fn unopened(settings: Arc<OutboundSettings>, now: Now) -> Self {
        let carrier = Carrier::new(settings.limits.clone(), settings.timing.clone(), now);
        Self {
            settings,
            carrier,
            state: State::Header,
            header: StreamHeader::default(),
            features: PeerFeatures::default(),
            tls: None,
            external: External::Untried,
            pairs: BTreeMap::new(),
            questions: BTreeMap::new(),
            stream_management: StreamManagement::Off,
            bidi: false,
            received: Acks::default(),
            sent: 0,
            acknowledged: 0,
            asked: false,
        }
    }

    /// Asks for a pair: its stanzas may be sent after [`OutboundEvent::Ready`]. Several pairs share a stream
    /// (XEP-0220 §2.6).
    pub fn authorise(&mut self, pair: DomainPair, now: Now) {
        let takes = self.carrier.is_open() || self.carrier.is_in_handshake();
        // One that is open already is told of the end with all others.
        match self.pairs.entry(pair) {
            Entry::Occupied(_) => {}
            Entry::Vacant(place) if takes => {
                place.insert(Progress::Wanted);
                self.ask(now);
            }
            Entry::Vacant(place) => {
                let event = OutboundEvent::PairRefused(place.into_key(), PairError::Closed);
                self.carrier.event(event);
            }
        }
    }

    /// Asks about a key, as the receiving server that it was shown to.
    pub fn verify(&mut self, request: VerifyRequest, now: Now) {
        let takes = self.carrier.is_open() || self.carrier.is_in_handshake();
        match self.questions.entry(request) {
            Entry::Occupied(_) => {}
            Entry::Vacant(place) if takes => {
                place.insert(Progress::Wanted);
                self.ask(now);
            }
            Entry::Vacant(place) => {
                let event = OutboundEvent::Verified(place.into_key(), Err(VerifyError::Closed));
                self.carrier.event(event);
            }
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
        let (local, remote) = domains_of(stanza).ok_or(NotReady::Pair)?;
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

    /// Asks the peer how many stanzas it has, unless it owes an answer. `false` when it cannot say.
    pub fn request_acknowledgement(&mut self, now: Now) -> bool {
        if self.stream_management == StreamManagement::Off || !self.carrier.is_open() {
            return false;
        }
        if !std::mem::replace(&mut self.asked, true) {
            self.carrier.write(acks::REQUEST.to_owned(), now);
        }
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
                Ok(Some(XmlEvent::Element(element))) => self.element(element, now),
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
        self.carrier.restart(now);
        self.begin_in_tls(tls, now);
    }

    fn begin_in_tls(&mut self, tls: TlsInfo, now: Now) {
        self.tls = Some(tls);
        if let Err(why) = self.may_speak_to(&self.settings.pair.remote) {
            let domain = self.settings.pair.remote.clone();
            self.carrier
                .end(CloseReason::CertificateNotValid { domain, why });
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
            Due::Step if self.state == State::Sasl => Step::Authentication,
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
            Version::Before1 if !self.settings.rule.before_1_0 => {
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

    fn element(&mut self, element: Element, now: Now) -> Result<(), StreamError> {
        let namespace = element.ns();
        match (namespace.as_str(), element.name(), self.state) {
            (ns::STREAMS, "error", _) => {
                let error = StreamError::from_element(&element);
                self.carrier.peer_failed(error, now);
                Ok(())
            }
            (ns::STREAMS, "features", State::Features) => {
                self.features = PeerFeatures::from_element(&element);
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
            (ns::SASL, _, State::Sasl) => self.sasl(&element, now),
            (_, _, State::Features | State::Proceed | State::Sasl) => Err(StreamError::new(
                StreamCondition::UnsupportedStanzaType,
                "the stream is not negotiated",
            )),
            (ns::DIALBACK, _, State::Negotiated) => {
                self.dialback(&element, now);
                Ok(())
            }
            (ns::SM, name, State::Negotiated) => self.stream_management(name, &element, now),
            (ns::CLIENT, "message" | "presence" | "iq", State::Negotiated) if self.bidi => {
                self.stanza(element)
            }
            // Such a stream carries stanzas in one direction only: what comes back is not believed.
            (_, _, State::Header | State::Negotiated) => Ok(()),
        }
    }

    fn features_read(&mut self, now: Now) -> Result<(), StreamError> {
        if self.tls.is_some() || self.settings.rule.tls == TlsRule::Never {
            return self.authenticate(now);
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

    /// Encryption is as it will be.
    fn authenticate(&mut self, now: Now) -> Result<(), StreamError> {
        self.ask_for_bidi(now);
        if self.wants_external() {
            self.ask_for_external(now);
            Ok(())
        } else {
            self.negotiated(now)
        }
    }

    fn without_tls_offer(&mut self, now: Now) -> Result<(), StreamError> {
        if self.tls.is_none() && self.settings.rule.tls == TlsRule::Required {
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

    /// The certificate is as the rule needs it.
    ///
    /// # Errors
    /// Why not, in words.
    fn may_speak_to(&self, partner: &str) -> Result<(), String> {
        if !self.settings.rule.needs_valid_certificate() {
            return Ok(());
        }
        match &self.tls {
            Some(tls) if tls.is_valid_for(partner) => Ok(()),
            Some(tls) => Err(tls.why_not_valid_for(partner)),
            None => Err("the stream is in clear".to_owned()),
        }
    }
}

const STARTTLS: &str = "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>";
