//! SASL EXTERNAL on an accepted stream: the certificate as proof (XEP-0178 §3).

use minidom::Element;
use stox_core::time::Now;

use super::{ClaimRefusal, InboundEvent, InboundStream, Proof, TopLevel, VerifyId, refusal};
use crate::{
    dialback::Trouble,
    stream::{
        StreamCondition, StreamError,
        domain::DomainPair,
        sasl::{self, SaslFailure},
    },
};

/// How far EXTERNAL has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum External {
    /// Not on offer: no valid certificate for the name in the header.
    NotOffered,
    /// On offer for the pair in the header.
    Offered(DomainPair),
    /// Asked for without a response, which is awaited.
    Challenged(DomainPair),
    /// The owner decides.
    Pending(DomainPair, VerifyId),
    /// Proved this pair. There is no second time.
    Done(DomainPair),
}

impl External {
    pub(super) fn is_pending(&self, id: VerifyId) -> bool {
        matches!(self, Self::Pending(_, pending) if *pending == id)
    }
}

impl InboundStream {
    /// Puts EXTERNAL on offer for the pair in the header where the certificate speaks for its `from`, and the rule of
    /// that partner takes it. A domain without a rule is told so when it tries. A header that leaves a domain out leaves nothing to authorise: such a peer has dialback.
    pub(super) fn offer_external(&mut self, from: Option<&str>, to: Option<&str>) {
        if let (External::NotOffered, Some(remote), Some(local)) = (&self.external, from, to)
            && remote != local
            && self.has_certificate_for(remote)
            && self.is_claimable_domain(remote)
            && self.takes_external(remote)
        {
            self.external = External::Offered(DomainPair {
                local: local.to_owned(),
                remote: remote.to_owned(),
            });
        }
    }

    fn takes_external(&self, partner: &str) -> bool {
        let rule = self.settings.partners.of(partner);
        rule.is_none_or(|rule| rule.takes_external())
    }

    /// The stream after SASL is between the same domains, or says nothing about them (RFC 6120 §4.7.1).
    pub(super) fn check_header_after_external(
        &self,
        from: Option<&str>,
        to: Option<&str>,
    ) -> Result<(), StreamError> {
        let External::Done(pair) = &self.external else {
            return Ok(());
        };
        if from.is_some_and(|from| from != pair.remote) {
            return Err(refusal(
                StreamCondition::InvalidFrom,
                "not the domain that was proved",
            ));
        }
        if to.is_some_and(|to| to != pair.local) {
            return Err(refusal(
                StreamCondition::ImproperAddressing,
                "not proved towards this domain",
            ));
        }
        Ok(())
    }

    /// While the owner decides, the peer has to wait: what it sends belongs to neither stream. Questions about our own
    /// keys are no part of its login.
    pub(super) fn check_turn(&self, kind: TopLevel, element: &Element) -> Result<(), StreamError> {
        let in_turn = match kind {
            TopLevel::StreamError => true,
            TopLevel::Sasl => element.name() == "abort",
            TopLevel::Dialback => element.name() == "verify",
            _ => false,
        };
        if in_turn || !matches!(self.external, External::Pending(..)) {
            Ok(())
        } else {
            Err(out_of_turn())
        }
    }

    pub(super) fn sasl(&mut self, element: &Element, now: Now) -> Result<(), StreamError> {
        let text = element.text();
        let result = match element.name() {
            "auth" => self.auth(element.attr("mechanism"), text.trim(), now),
            "response" => self.response(text.trim()),
            _ => Err(SaslFailure::Aborted),
        };
        match result {
            Ok(()) => Ok(()),
            Err(failure) => self.fail_external(failure, now),
        }
    }

    fn auth(
        &mut self,
        mechanism: Option<&str>,
        response: &str,
        now: Now,
    ) -> Result<(), SaslFailure> {
        if !self.may_speak(self.claimed_domain().as_deref()) {
            return Err(SaslFailure::EncryptionRequired);
        }
        if let Some(pair) = self.claimed_pair()
            && !self.takes_external(&pair.remote)
        {
            self.note_refused(&pair, ClaimRefusal::ExternalNotAllowed);
            return Err(SaslFailure::NotAuthorized);
        }
        let (External::Offered(pair) | External::Challenged(pair)) = &self.external else {
            return Err(SaslFailure::InvalidMechanism);
        };
        if mechanism != Some(sasl::EXTERNAL) {
            return Err(SaslFailure::InvalidMechanism);
        }
        let pair = pair.clone();
        if response.is_empty() {
            // RFC 6120 §6.4.2: an empty response is written `=`; this one is still to come.
            self.external = External::Challenged(pair);
            self.carrier.write(sasl::EMPTY_CHALLENGE.to_owned(), now);
            return Ok(());
        }
        self.ask_owner(pair, response)
    }

    fn response(&mut self, response: &str) -> Result<(), SaslFailure> {
        let External::Challenged(pair) = &self.external else {
            return Err(SaslFailure::MalformedRequest);
        };
        self.ask_owner(pair.clone(), response)
    }

    fn ask_owner(&mut self, pair: DomainPair, response: &str) -> Result<(), SaslFailure> {
        // A stream on which a key was shown goes on with dialback: a restart would lose what hangs on its id.
        if !self.claims.is_empty() {
            return Err(SaslFailure::InvalidMechanism);
        }
        sasl::check_response(response, &pair.remote)?;
        if let Err(why) = self.rule_for_claim(&pair.remote) {
            self.note_refused(&pair, why);
            return Err(SaslFailure::NotAuthorized);
        }
        let id = self.verify_id();
        self.external = External::Pending(pair.clone(), id);
        self.carrier.event(InboundEvent::Authenticate { id, pair });
        Ok(())
    }

    /// The owner has decided.
    pub(super) fn judge_external(&mut self, verdict: Result<bool, Trouble>, now: Now) {
        // A stream that closes must not begin anew.
        if !self.carrier.is_open() {
            return;
        }
        let result = match verdict {
            Ok(true) if self.carrier.is_mid_element() => Err(out_of_turn()),
            Ok(true) => {
                self.accept_external(now);
                Ok(())
            }
            Ok(false) => self.fail_external(SaslFailure::NotAuthorized, now),
            Err(trouble) => self.fail_external(failure_of(trouble), now),
        };
        if let Err(error) = result {
            self.refuse(error, now);
        }
    }

    fn accept_external(&mut self, now: Now) {
        let External::Pending(pair, _) = &self.external else {
            return;
        };
        let pair = pair.clone();
        self.carrier.write(sasl::SUCCESS.to_owned(), now);
        let id = std::mem::take(&mut self.next_id);
        self.restart(id, now);
        self.external = External::Done(pair.clone());
        self.proved(pair, Proof::Certificate);
    }

    /// The stream goes on as it was: another attempt, or dialback.
    fn fail_external(&mut self, failure: SaslFailure, now: Now) -> Result<(), StreamError> {
        if let External::Challenged(pair) | External::Pending(pair, _) = &self.external {
            self.external = External::Offered(pair.clone());
        }
        self.carrier.write(failure.to_wire(), now);
        self.failed_logins += 1;
        if self.failed_logins > self.settings.limits.failed_logins {
            return Err(refusal(
                StreamCondition::PolicyViolation,
                "too many attempts",
            ));
        }
        Ok(())
    }
}

fn out_of_turn() -> StreamError {
    refusal(
        StreamCondition::PolicyViolation,
        "the answer to auth comes first",
    )
}

const fn failure_of(trouble: Trouble) -> SaslFailure {
    match trouble {
        Trouble::NotServed | Trouble::NotClaimable | Trouble::MalformedKey | Trouble::Forbidden => {
            SaslFailure::NotAuthorized
        }
        Trouble::ServerNotFound
        | Trouble::ConnectionFailed
        | Trouble::Timeout
        | Trouble::Overloaded => SaslFailure::TemporaryAuthFailure,
    }
}
