//! Pairs and questions on a dialled stream: the originating and the receiving server of XEP-0220.

use std::{collections::BTreeMap, time::Duration};

use minidom::Element;
use stox_core::time::Now;

use super::{
    External, OutboundEvent, OutboundStream, PairError, Progress, State, VerifyError, VerifyRequest,
};
use crate::{
    dialback::{self, Answer, Dialback, Kind, Trouble},
    stream::domain::{DomainPair, normal_domain},
};

impl OutboundStream {
    /// Sends everything that is wanted and not yet asked. Dialback is tried even where it is not offered: servers
    /// from before XEP-0220's feature take it (COMPAT(jabberd 1.4)).
    pub(super) fn ask(&mut self, now: Now) {
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
        if self.external == External::Done && pair == self.settings.pair {
            self.pair_ready(pair, now);
            return;
        }
        if let Err(error) = self.may_show_key(&pair) {
            self.pairs.remove(&pair);
            self.carrier.event(OutboundEvent::PairRefused(pair, error));
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

    /// The rule lets dialback prove the pair.
    fn may_show_key(&self, pair: &DomainPair) -> Result<(), PairError> {
        self.may_speak_to(&pair.remote)
            .map_err(PairError::CertificateNotValid)?;
        if self.settings.rule.takes_dialback() {
            return Ok(());
        }
        Err(match &self.external {
            External::Failed(why) => PairError::ExternalFailed(why.clone()),
            _ if !self.settings.external => PairError::OwnCertificate,
            _ => PairError::ExternalNotOffered,
        })
    }

    fn pair_ready(&mut self, pair: DomainPair, now: Now) {
        self.pairs.insert(pair.clone(), Progress::Ready);
        self.carrier.set_authenticated();
        self.enable_stream_management(now);
        self.carrier.event(OutboundEvent::Ready(pair));
    }

    /// As receiving server (XEP-0220 §2.2.1).
    fn ask_about_key(&mut self, question: VerifyRequest, deadline: Duration, now: Now) {
        if let Err(why) = self.may_speak_to(&question.pair.remote) {
            self.questions.remove(&question);
            let error = VerifyError::CertificateNotValid(why);
            self.carrier
                .event(OutboundEvent::Verified(question, Err(error)));
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

    /// Only what was asked can be answered (CVE-2012-3525). A peer may ask about our keys where both directions are in
    /// use; everything else is ignored.
    pub(super) fn dialback(&mut self, element: &Element, now: Now) {
        let Some(dialback) = Dialback::from_element(element) else {
            return;
        };
        let domain = |text: &Option<String>| text.as_deref().and_then(normal_domain);
        let (Some(remote), Some(local)) = (domain(&dialback.from), domain(&dialback.to)) else {
            return;
        };
        let pair = DomainPair { local, remote };
        match (dialback.kind, dialback.answer) {
            (Kind::Result, Some(answer)) => self.pair_answered(pair, answer, now),
            (Kind::Verify, Some(answer)) => {
                self.key_answered(&pair, dialback.id.as_deref(), answer);
            }
            (Kind::Verify, None) if self.bidi => {
                self.answer_for_our_key(&pair, dialback.id.as_deref(), &dialback.key, now);
            }
            (Kind::Result | Kind::Verify, None) => {}
        }
    }

    /// As authoritative server (XEP-0220 §2.2.2), for the domains that we speak for on this stream. COMPAT(prosody): it
    /// asks on any stream that it has.
    fn answer_for_our_key(&mut self, pair: &DomainPair, id: Option<&str>, key: &str, now: Now) {
        let is_ours = self.pairs.keys().any(|known| known.local == pair.local);
        let verdict = if is_ours {
            let (secret, stream_id) = (&self.settings.secret, id.unwrap_or_default());
            Ok(secret.verify(&pair.remote, &pair.local, stream_id, key))
        } else {
            Err(Trouble::NotServed)
        };
        let wire = dialback::answer_to_wire(Kind::Verify, &pair.local, &pair.remote, id, verdict);
        self.carrier.write(wire, now);
    }

    fn pair_answered(&mut self, pair: DomainPair, answer: Answer, now: Now) {
        let Some(Progress::Asked(_)) = self.pairs.get(&pair) else {
            return;
        };
        let error = match answer {
            Answer::Valid => {
                self.pair_ready(pair, now);
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

    pub(super) fn give_up(&mut self, now: Now) {
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
