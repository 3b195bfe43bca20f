//! Dialback on an accepted stream: the receiving and the authoritative server of XEP-0220.

use minidom::Element;
use stox_core::time::Now;

use super::{Claim, ClaimRefusal, InboundEvent, InboundStream, Proof, refusal};
use crate::{
    dialback::{self, Dialback, Kind, Trouble},
    stream::{
        StreamCondition, StreamError, TlsInfo,
        domain::{DomainPair, normal_domain},
    },
};

impl InboundStream {
    /// What the certificate is worth, where that is found out after the handshake. Keys that are shown from here on are
    /// held to it (XEP-0344); what was offered already stays as it was.
    pub fn certificate_judged(&mut self, tls: TlsInfo) {
        if self.tls.is_some() {
            self.tls = Some(tls);
        }
    }

    pub(super) fn dialback(&mut self, element: &Element, now: Now) -> Result<(), StreamError> {
        let Some(request) = Dialback::from_element(element) else {
            return Err(refusal(StreamCondition::UnsupportedStanzaType, ""));
        };
        if request.answer.is_some() {
            // Nothing was asked on this stream, so nothing can be answered (CVE-2012-3525).
            return Ok(());
        }
        let domain = |text: &Option<String>| text.as_deref().and_then(normal_domain);
        let (Some(remote), Some(local)) = (domain(&request.from), domain(&request.to)) else {
            return Err(refusal(
                StreamCondition::ImproperAddressing,
                "from and to are needed",
            ));
        };
        let pair = DomainPair { local, remote };
        let is_partner = self.settings.partners.of(&pair.remote).is_some();
        if !self.may_speak(Some(&pair.remote)) && (is_partner || request.kind == Kind::Verify) {
            self.note_refused(&pair, ClaimRefusal::InClear);
            return Err(refusal(StreamCondition::PolicyViolation, "TLS is required"));
        }
        match request.kind {
            Kind::Result => self.claim(pair, request, now),
            Kind::Verify => {
                self.answer_for_our_key(&pair, &request, now);
                Ok(())
            }
        }
    }

    /// As receiving server (XEP-0220 §2.1.1).
    fn claim(&mut self, pair: DomainPair, request: Dialback, now: Now) -> Result<(), StreamError> {
        match self.claims.get(&pair) {
            Some(Claim::Proved) => {
                self.answer(&pair, Ok(true), now);
                return Ok(());
            }
            Some(Claim::Pending(_) | Claim::Sought(..)) => return Ok(()),
            None => {}
        }
        if let Err(trouble) = self.is_claimable(&pair, &request) {
            self.answer(&pair, Err(trouble), now);
            return self.count_refusal();
        }
        match self.judge_claim(&pair.remote) {
            Ok(Some(proof)) if self.settings.is_unnamed(&pair.local) => self.seek(pair, proof),
            Ok(Some(proof)) => {
                self.answer(&pair, Ok(true), now);
                self.carrier.expect(None);
                self.proved(pair, proof);
            }
            Ok(None) => {
                let id = self.verify_id();
                self.claims.insert(pair.clone(), Claim::Pending(id));
                self.carrier.event(InboundEvent::VerifyKey {
                    id,
                    pair,
                    stream_id: self.id.clone(),
                    key: request.key,
                });
            }
            Err(why) => {
                self.note_refused(&pair, why);
                self.answer(&pair, Err(Trouble::Forbidden), now);
                return self.count_refusal();
            }
        }
        Ok(())
    }

    /// Holds a key to the partner's rule: what proves the domain without a question (XEP-0344), or nothing yet.
    fn judge_claim(&self, partner: &str) -> Result<Option<Proof>, ClaimRefusal> {
        let rule = self.rule_for_claim(partner)?;
        let certificate_valid = self.has_certificate_for(partner);
        if certificate_valid && rule.takes_external() {
            Ok(Some(Proof::CertificateWithKey))
        } else if rule.needs_valid_certificate() && !certificate_valid {
            Err(ClaimRefusal::CertificateNotValid)
        } else if rule.takes_dialback() {
            Ok(None)
        } else {
            Err(ClaimRefusal::DialbackNotAllowed)
        }
    }

    fn is_claimable(&self, pair: &DomainPair, request: &Dialback) -> Result<(), Trouble> {
        let settings = &self.settings;
        let pending = self.pending().len();
        let proved = self.claims.len() - pending;
        if !settings.may_serve(&pair.local) {
            Err(Trouble::NotServed)
        } else if !self.is_claimable_domain(&pair.remote) || pair.remote == pair.local {
            Err(Trouble::NotClaimable)
        } else if !request.has_usable_key() {
            Err(Trouble::MalformedKey)
        } else if pending >= settings.limits.pending_claims
            || proved >= settings.limits.proved_pairs
        {
            Err(Trouble::Overloaded)
        } else {
            Ok(())
        }
    }

    /// As authoritative server (XEP-0220 §2.2.2), for any domain of ours, whatever else this stream is used for.
    fn answer_for_our_key(&mut self, pair: &DomainPair, request: &Dialback, now: Now) {
        let stream_id = request.id.as_deref().unwrap_or_default();
        let verdict = if self.settings.may_serve(&pair.local) {
            Ok(self
                .settings
                .secret
                .verify(&pair.remote, &pair.local, stream_id, &request.key))
        } else {
            Err(Trouble::NotServed)
        };
        let wire = dialback::answer_to_wire(
            Kind::Verify,
            &pair.local,
            &pair.remote,
            request.id.as_deref(),
            verdict,
        );
        self.carrier.write(wire, now);
    }

    pub(super) fn answer(&mut self, pair: &DomainPair, verdict: Result<bool, Trouble>, now: Now) {
        let wire = dialback::answer_to_wire(Kind::Result, &pair.local, &pair.remote, None, verdict);
        self.carrier.write(wire, now);
    }

    pub(super) fn pending(&self) -> Vec<DomainPair> {
        self.claims
            .iter()
            .filter(|(_, claim)| claim.is_open())
            .map(|(pair, _)| pair.clone())
            .collect()
    }
}
