//! Accepted streams: the receiving server of RFC 6120, and the receiving and authoritative server of XEP-0220.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use minidom::Element;
use stox_core::time::{Entropy, Now};
use thiserror::Error;

mod bidi;
mod dialback;
mod external;
mod settings;
mod top_level;

pub use self::settings::InboundSettings;
use self::{bidi::Bidi, external::External, top_level::TopLevel};
use super::{
    StreamCommand, TlsInfo,
    acks::{Acks, StanzaNumber},
    carrier::{Carrier, Due},
    domain::{DomainPair, domains_of, normal_domain},
    error::{CloseReason, Step, StreamCondition, StreamError},
    features::Offer,
    header::{StreamHeader, Version, header_to_wire},
    ns,
    rule::{PartnerRule, TlsRule},
    xml::XmlEvent,
};
use crate::dialback::Trouble;

/// Names one claim of one stream, by key or by certificate, until it is verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VerifyId(u64);

/// What an accepted stream tells.
#[derive(Debug, Clone, PartialEq)]
pub enum InboundEvent {
    /// The peer's header was taken: at first, again inside TLS, again after SASL. It proves nothing.
    Opened {
        /// Who the peer says it is.
        from: Option<String>,
        /// Whom it wants.
        to: Option<String>,
        /// Inside TLS.
        encrypted: bool,
    },
    /// The peer claims a domain. Ask the authoritative server of `pair.remote` about the key (with
    /// [`OutboundStream::verify`](super::OutboundStream::verify)) and report to [`InboundStream::verified`], always
    /// and exactly once.
    VerifyKey {
        /// For the report.
        id: VerifyId,
        /// Who is claimed, and towards whom.
        pair: DomainPair,
        /// The id of this stream, which the key is about.
        stream_id: String,
        /// The key.
        key: String,
    },
    /// The peer wants to speak for `pair.remote` by its certificate, which is valid for that domain (SASL EXTERNAL).
    /// Report to [`InboundStream::verified`], always and exactly once, whether policy allows this; where
    /// [`InboundSettings::is_unnamed`] holds for `pair.local`, also whether we speak for that.
    Authenticate {
        /// For the report.
        id: VerifyId,
        /// Who is claimed, and towards whom.
        pair: DomainPair,
    },
    /// The peer speaks for `pair.remote`, and wants `pair.local`, which nothing in the settings names. Report to
    /// [`InboundStream::verified`], always and exactly once, whether we speak for that.
    Seek {
        /// For the report.
        id: VerifyId,
        /// Who is proved, and who is wanted.
        pair: DomainPair,
    },
    /// The peer speaks for `pair.remote` towards `pair.local` from here on.
    DomainProved(DomainPair, Proof),
    /// The partner's rule does not let the peer speak for `pair.remote`, and the peer was told so.
    ClaimRefused(DomainPair, ClaimRefusal),
    /// Stanzas from `pair.local` to `pair.remote` may be sent on this stream, too (XEP-0288), with
    /// [`InboundStream::send`].
    Bidirectional(DomainPair),
    /// A stanza between the two domains of a proved pair. Its addresses beyond the domains are not checked.
    Stanza {
        /// The pair that it belongs to.
        pair: DomainPair,
        /// For [`InboundStream::stanza_handled`].
        number: StanzaNumber,
        /// The stanza, in `jabber:client`.
        element: Element,
    },
    /// The stream is over. The last event.
    Closed(CloseReason),
}

impl From<CloseReason> for InboundEvent {
    fn from(reason: CloseReason) -> Self {
        Self::Closed(reason)
    }
}

/// What has proved a domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Proof {
    /// The certificate, by SASL EXTERNAL.
    Certificate,
    /// The certificate, when a dialback key was shown (XEP-0344): nobody was asked about the key.
    CertificateWithKey,
    /// The authoritative server has confirmed the key (XEP-0220).
    Dialback,
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Certificate => "certificate",
            Self::CertificateWithKey => "certificate, with a dialback key that was not asked about",
            Self::Dialback => "dialback",
        })
    }
}

/// Which part of a partner's rule a claim breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
pub enum ClaimRefusal {
    /// There is no rule: the domain is no partner.
    #[error("the domain is no partner")]
    NoRule,
    /// The rule asks for TLS.
    #[error("the stream is in clear")]
    InClear,
    /// The rule asks for a certificate that is valid for the domain.
    #[error("the certificate is not valid for the domain")]
    CertificateNotValid,
    /// The rule takes no certificate as proof.
    #[error("a certificate is no proof for this partner")]
    ExternalNotAllowed,
    /// The rule takes no key as proof.
    #[error("dialback is no proof for this partner")]
    DialbackNotAllowed,
    /// The rule takes no servers from before XMPP 1.0.
    #[error("the server is older than XMPP 1.0")]
    Before1_0,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Claim {
    /// The partner's domain is not proved yet.
    Pending(VerifyId),
    /// It is, by this; whether we speak for the domain that it wants is being found out.
    Sought(VerifyId, Proof),
    Proved,
}

impl Claim {
    fn is_open(self) -> bool {
        self != Self::Proved
    }
}

/// One accepted stream.
pub struct InboundStream {
    settings: Arc<InboundSettings>,
    carrier: Carrier<InboundEvent>,
    id: String,
    /// For the stream after SASL.
    next_id: String,
    external: External,
    failed_logins: usize,
    tls: Option<TlsInfo>,
    header: Option<StreamHeader>,
    authentication_deadline: Duration,
    claims: BTreeMap<DomainPair, Claim>,
    next_verify: u64,
    refusals: usize,
    acks: Acks,
    bidi: Bidi,
    sent: u64,
}

impl InboundStream {
    /// A stream on a connection that was just accepted.
    pub fn new(settings: Arc<InboundSettings>, entropy: &mut dyn Entropy, now: Now) -> Self {
        let mut carrier = Carrier::new(settings.limits.clone(), settings.timing.clone(), now);
        carrier.expect(Some(now.mono + settings.timing.header));
        let id = stream_id(entropy);
        carrier.begin_with(header_to_wire(None, None, Some(&id)));
        Self {
            carrier,
            id,
            next_id: String::new(),
            external: External::NotOffered,
            failed_logins: 0,
            tls: None,
            header: None,
            authentication_deadline: now.mono + settings.timing.authentication,
            claims: BTreeMap::new(),
            next_verify: 0,
            refusals: 0,
            acks: Acks::default(),
            bidi: Bidi::Off,
            sent: 0,
            settings,
        }
    }

    /// A stream on a connection that began with TLS (XEP-0368): no STARTTLS is offered.
    pub fn in_tls(
        settings: Arc<InboundSettings>,
        tls: TlsInfo,
        entropy: &mut dyn Entropy,
        now: Now,
    ) -> Self {
        let mut stream = Self::new(settings, entropy, now);
        stream.next_id = stream_id(entropy);
        stream.tls = Some(tls);
        stream
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
                Ok(Some(XmlEvent::Element(element))) => {
                    self.element(element, !input.is_empty(), now)
                }
                Ok(Some(XmlEvent::Close)) => {
                    self.carrier.peer_closed(now);
                    return;
                }
                Ok(None) => return,
                Err(error) => Err(error),
            };
            if let Err(error) = result {
                self.refuse(error, now);
            }
        }
    }

    /// The TLS handshake is done; the peer has to open a new stream.
    pub fn tls_established(&mut self, tls: TlsInfo, entropy: &mut dyn Entropy, now: Now) {
        if !self.carrier.is_in_handshake() {
            return;
        }
        self.tls = Some(tls);
        // What was said in clear counts no more (RFC 6120 §5.4.3.3).
        self.bidi = Bidi::Off;
        let id = stream_id(entropy);
        self.next_id = stream_id(entropy);
        self.restart(id, now);
    }

    /// The TLS handshake failed.
    pub fn tls_failed(&mut self, why: impl Into<String>) {
        self.carrier.end(CloseReason::TlsFailed(why.into()));
    }

    /// What the authoritative server, or policy, said about a claim. A report for a claim that is gone is ignored.
    pub fn verified(&mut self, id: VerifyId, verdict: Result<bool, Trouble>, now: Now) {
        if self.external.is_pending(id) {
            self.judge_external(verdict, now);
            return;
        }
        let found = self.claims.iter().find_map(|(pair, claim)| match claim {
            Claim::Pending(pending) if *pending == id => Some((pair.clone(), None)),
            Claim::Sought(sought, proof) if *sought == id => Some((pair.clone(), Some(*proof))),
            _ => None,
        });
        let Some((pair, proof)) = found else {
            return;
        };
        if verdict == Ok(true) && proof.is_none() && self.settings.is_unnamed(&pair.local) {
            self.seek(pair, Proof::Dialback);
            return;
        }
        self.answer(&pair, verdict, now);
        if verdict == Ok(true) {
            self.carrier.expect(None);
            self.proved(pair, proof.unwrap_or(Proof::Dialback));
            return;
        }
        self.claims.remove(&pair);
        if let Err(error) = self.count_refusal() {
            self.refuse(error, now);
        } else if verdict == Ok(false) && self.claims.is_empty() {
            let error = StreamError::new(StreamCondition::NotAuthorized, "dialback key is wrong");
            self.carrier.close(CloseReason::Refused(error), now);
        }
    }

    /// The owner has taken this stanza over for good: only now may it be acknowledged (XEP-0198).
    pub fn stanza_handled(&mut self, number: StanzaNumber, now: Now) {
        if let Some(answer) = self.acks.handle(number) {
            self.carrier.write(answer, now);
        }
    }

    /// Closes in order; stanzas that the peer sends until it has closed, too, still come.
    pub fn close(&mut self, now: Now) {
        self.carrier.close(CloseReason::Requested, now);
    }

    /// The connection ended or broke.
    pub fn connection_lost(&mut self) {
        self.carrier.end(CloseReason::ConnectionLost);
    }

    /// The next thing to do.
    pub fn poll_command(&mut self) -> Option<StreamCommand<InboundEvent>> {
        self.carrier.poll_command()
    }

    /// When [`Self::handle_timeout`] is due, in monotonic time.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Duration> {
        self.carrier.poll_timeout()
    }

    /// Lets time pass.
    pub fn handle_timeout(&mut self, now: Now) {
        let step = match self.carrier.handle_timeout(now) {
            Due::Nothing => return,
            Due::Element => Step::Element,
            Due::Step if self.carrier.is_in_handshake() => {
                self.carrier.end(CloseReason::Timeout(Step::Tls));
                return;
            }
            Due::Step if self.header.is_none() => Step::Header,
            Due::Step => Step::Authentication,
        };
        for pair in self.pending() {
            self.answer(&pair, Err(Trouble::Timeout), now);
        }
        let error = StreamError::new(
            StreamCondition::ConnectionTimeout,
            format!("no {step} in time"),
        );
        self.carrier.refuse(&error, CloseReason::Timeout(step), now);
    }

    // ----------------------------------------------------------------------------------------- header

    /// A new stream begins on the same connection; the peer opens it.
    fn restart(&mut self, id: String, now: Now) {
        self.carrier.restart(now);
        self.carrier
            .begin_with(header_to_wire(None, None, Some(&id)));
        self.id = id;
        self.header = None;
        self.carrier
            .expect(Some(now.mono + self.settings.timing.header));
    }

    fn opened(&mut self, header: StreamHeader, now: Now) -> Result<(), StreamError> {
        let header = self.header.insert(header).clone();
        self.answer_header(now);
        if header.default_ns != ns::SERVER {
            return Err(refusal(
                StreamCondition::InvalidNamespace,
                "this is a stream between servers",
            ));
        }
        let to = self.check_header_to(&header)?;
        let from = self.check_header_from(&header)?;
        match header.version() {
            Version::AtLeast1 => {}
            Version::Before1
                if self
                    .settings
                    .partners
                    .may(from.as_deref(), |rule| rule.before_1_0) => {}
            Version::Before1 | Version::Malformed => {
                return Err(refusal(
                    StreamCondition::UnsupportedVersion,
                    "XMPP 1.0 is needed",
                ));
            }
        }
        self.check_header_after_external(from.as_deref(), to.as_deref())?;
        let deadline = (!self.has_proof()).then_some(self.authentication_deadline);
        self.carrier.expect(deadline);
        if header.version() == Version::AtLeast1 {
            self.offer_external(from.as_deref(), to.as_deref());
            self.offer_features(from.as_deref(), now);
        }
        self.carrier.event(InboundEvent::Opened {
            from,
            to,
            encrypted: self.tls.is_some(),
        });
        let proved: Vec<DomainPair> = self.claims.keys().cloned().collect();
        self.tell_bidirectional(&proved);
        Ok(())
    }

    /// A header without `to` is let through: dialback requests name their own domains.
    fn check_header_to(&self, header: &StreamHeader) -> Result<Option<String>, StreamError> {
        let Some(to) = header.to.as_deref() else {
            return Ok(None);
        };
        let domain = normal_domain(to)
            .ok_or_else(|| refusal(StreamCondition::ImproperAddressing, "to is no domain"))?;
        if self.settings.may_serve(&domain) {
            Ok(Some(domain))
        } else {
            Err(refusal(
                StreamCondition::HostUnknown,
                "this domain is not served here",
            ))
        }
    }

    fn check_header_from(&self, header: &StreamHeader) -> Result<Option<String>, StreamError> {
        let Some(from) = header.from.as_deref() else {
            return Ok(None);
        };
        let domain = normal_domain(from)
            .ok_or_else(|| refusal(StreamCondition::InvalidFrom, "from is no domain"))?;
        if self.settings.local_domains.contains(&domain) {
            return Err(refusal(
                StreamCondition::InvalidFrom,
                "this domain is served here",
            ));
        }
        Ok(Some(domain))
    }

    fn offer_features(&mut self, from: Option<&str>, now: Now) {
        let may_speak = self.may_speak(from);
        self.offer_bidi(from, may_speak);
        let offer = Offer {
            starttls: self.may_start_tls(from),
            starttls_required: !may_speak,
            external: matches!(self.external, External::Offered(_)),
            bidi: self.bidi == Bidi::Offered,
            dialback: may_speak,
        };
        let wire = offer.to_wire(&self.settings.limits, &self.settings.timing);
        self.carrier.write(wire, now);
    }

    /// Our header goes out once.
    fn answer_header(&mut self, now: Now) {
        if !self.carrier.owes_header() {
            return;
        }
        let asked = |name: fn(&StreamHeader) -> Option<&String>| {
            self.header
                .as_ref()
                .and_then(name)
                .and_then(|text| normal_domain(text))
        };
        let from = asked(|header| header.to.as_ref()).filter(|to| self.settings.may_serve(to));
        let to = asked(|header| header.from.as_ref());
        let wire = header_to_wire(from.as_deref(), to.as_deref(), Some(&self.id));
        self.carrier.write_header(wire, now);
    }

    /// Encryption is as this partner needs it; while nobody knows who it is, as the strictest one does.
    fn may_speak(&self, partner: Option<&str>) -> bool {
        let needs_tls = |rule: &PartnerRule| rule.tls == TlsRule::Required;
        let partners = &self.settings.partners;
        let is_known = partner.is_none_or(|partner| partners.of(partner).is_some());
        self.tls.is_some() || (is_known && !partners.may(partner, needs_tls))
    }

    /// A domain without a rule of its own may as well be told so inside TLS. Who has shown a key in clear stays there: it is
    /// about this stream, and what follows the handshake is another one (RFC 6120 §5.4.3.3).
    fn may_start_tls(&self, partner: Option<&str>) -> bool {
        let partner = partner.filter(|partner| self.settings.partners.of(partner).is_some());
        let inside = |rule: &PartnerRule| rule.tls != TlsRule::Never;
        let is_new = self.tls.is_none() && self.claims.is_empty();
        is_new && self.settings.partners.may(partner, inside)
    }

    fn refuse(&mut self, error: StreamError, now: Now) {
        let reason = CloseReason::Refused(error.clone());
        self.carrier.refuse(&error, reason, now);
    }

    // --------------------------------------------------------------------------------------- elements

    fn element(
        &mut self,
        element: Element,
        more_follows: bool,
        now: Now,
    ) -> Result<(), StreamError> {
        let kind = TopLevel::of(&element);
        self.check_turn(kind, &element)?;
        match kind {
            TopLevel::Stanza => self.stanza(element),
            TopLevel::Dialback => self.dialback(&element, now),
            TopLevel::StartTls => {
                self.start_tls(more_follows, now);
                Ok(())
            }
            TopLevel::StreamError => {
                let error = StreamError::from_element(&element);
                self.carrier.peer_failed(error, now);
                Ok(())
            }
            TopLevel::Sasl => self.sasl(&element, now),
            TopLevel::Bidi => self.take_bidi(),
            TopLevel::Compress => {
                self.carrier.write(COMPRESS_FAILURE.to_owned(), now);
                self.count_refusal()
            }
            TopLevel::StreamManagement => self.stream_management(element.name(), now),
            TopLevel::Unknown => Err(refusal(StreamCondition::UnsupportedStanzaType, "")),
        }
    }

    /// RFC 6120 §5.4.2. Octets pipelined behind the request would be taken from the clear into the encrypted stream.
    fn start_tls(&mut self, more_follows: bool, now: Now) {
        if !self.may_start_tls(self.claimed_domain().as_deref()) || more_follows {
            self.carrier.write(TLS_FAILURE.to_owned(), now);
            self.carrier.write("</stream:stream>".to_owned(), now);
            self.carrier.end(if more_follows {
                CloseReason::OctetsBehindStartTls
            } else {
                CloseReason::TlsRefused
            });
            return;
        }
        self.carrier.write(TLS_PROCEED.to_owned(), now);
        self.carrier.start_tls(now);
    }

    /// A peer that is too early with it is told so and may go on to prove itself.
    fn stream_management(&mut self, name: &str, now: Now) -> Result<(), StreamError> {
        let answer = match name {
            "enable" if self.has_proof() && self.acks.enable() => Some(SM_ENABLED.to_owned()),
            "enable" => Some(SM_FAILED_UNEXPECTED.to_owned()),
            "resume" => Some(SM_FAILED_RESUME.to_owned()),
            "r" => self.acks.answer(),
            _ => None,
        };
        if let Some(answer) = answer {
            self.carrier.write(answer, now);
        }
        if self.has_proof() {
            Ok(())
        } else {
            self.count_refusal()
        }
    }

    fn stanza(&mut self, element: Element) -> Result<(), StreamError> {
        if !self.has_proof() {
            return Err(refusal(
                StreamCondition::NotAuthorized,
                "no domain is proved",
            ));
        }
        let Some((remote, local)) = domains_of(&element) else {
            return Err(refusal(
                StreamCondition::ImproperAddressing,
                "from and to are needed",
            ));
        };
        let pair = DomainPair { local, remote };
        if self.claims.get(&pair) != Some(&Claim::Proved) {
            return Err(self.wrong_pair(&pair));
        }
        let number = self.acks.receive();
        self.carrier.event(InboundEvent::Stanza {
            pair,
            number,
            element,
        });
        Ok(())
    }

    fn wrong_pair(&self, pair: &DomainPair) -> StreamError {
        let remote_is_proved = self
            .claims
            .iter()
            .any(|(known, claim)| known.remote == pair.remote && *claim == Claim::Proved);
        if !remote_is_proved {
            refusal(StreamCondition::InvalidFrom, "this domain is not proved")
        } else if self.settings.may_serve(&pair.local) {
            refusal(
                StreamCondition::ImproperAddressing,
                "not proved towards this domain",
            )
        } else {
            refusal(
                StreamCondition::HostUnknown,
                "this domain is not served here",
            )
        }
    }

    // ----------------------------------------------------------------------------------------- claims

    /// Who the peer says it is, in normal form.
    fn claimed_domain(&self) -> Option<String> {
        normal_domain(self.header.as_ref()?.from.as_deref()?)
    }

    fn claimed_pair(&self) -> Option<DomainPair> {
        let to = self.header.as_ref()?.to.as_deref()?;
        Some(DomainPair {
            local: normal_domain(to)?,
            remote: self.claimed_domain()?,
        })
    }

    fn has_certificate_for(&self, domain: &str) -> bool {
        self.tls
            .as_ref()
            .is_some_and(|tls| tls.is_valid_for(domain))
    }

    /// The rule of a partner that may prove itself on this stream.
    fn rule_for_claim(&self, partner: &str) -> Result<PartnerRule, ClaimRefusal> {
        let rule = self.settings.partners.of(partner);
        let rule = *rule.ok_or(ClaimRefusal::NoRule)?;
        let version = self.header.as_ref().map(StreamHeader::version);
        if version == Some(Version::Before1) && !rule.before_1_0 {
            Err(ClaimRefusal::Before1_0)
        } else {
            Ok(rule)
        }
    }

    fn proved(&mut self, pair: DomainPair, proof: Proof) {
        self.claims.insert(pair.clone(), Claim::Proved);
        self.carrier.set_authenticated();
        self.carrier
            .event(InboundEvent::DomainProved(pair.clone(), proof));
        self.tell_bidirectional([&pair]);
    }

    /// The partner's domain is proved; the owner has to find the other one.
    fn seek(&mut self, pair: DomainPair, proof: Proof) {
        let id = self.verify_id();
        self.claims.insert(pair.clone(), Claim::Sought(id, proof));
        self.carrier.event(InboundEvent::Seek { id, pair });
    }

    fn note_refused(&mut self, pair: &DomainPair, why: ClaimRefusal) {
        self.carrier
            .event(InboundEvent::ClaimRefused(pair.clone(), why));
    }

    fn verify_id(&mut self) -> VerifyId {
        self.next_verify += 1;
        VerifyId(self.next_verify)
    }

    /// Whether a domain may be a peer's at all.
    fn is_claimable_domain(&self, domain: &str) -> bool {
        self.settings.is_claimable(domain)
    }

    fn has_proof(&self) -> bool {
        self.claims.values().any(|claim| *claim == Claim::Proved)
    }

    fn count_refusal(&mut self) -> Result<(), StreamError> {
        self.refusals += 1;
        if self.refusals > self.settings.limits.refused_claims {
            return Err(refusal(
                StreamCondition::PolicyViolation,
                "too many attempts",
            ));
        }
        Ok(())
    }
}

const TLS_PROCEED: &str = "<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>";
const TLS_FAILURE: &str = "<failure xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>";
const COMPRESS_FAILURE: &str =
    "<failure xmlns='http://jabber.org/protocol/compress'><setup-failed/></failure>";
const SM_ENABLED: &str = "<enabled xmlns='urn:xmpp:sm:3'/>";
const SM_FAILED_UNEXPECTED: &str = "<failed xmlns='urn:xmpp:sm:3'>\
    <unexpected-request xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></failed>";
const SM_FAILED_RESUME: &str = "<failed xmlns='urn:xmpp:sm:3'>\
    <item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></failed>";

fn refusal(condition: StreamCondition, text: &str) -> StreamError {
    StreamError::new(condition, text)
}

/// 128 random bits (RFC 6120 §4.7.3).
fn stream_id(entropy: &mut dyn Entropy) -> String {
    entropy.token() + &entropy.token()
}
