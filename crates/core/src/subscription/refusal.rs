//! What a failure means for a subscription.

use crate::failure::{Condition, Failure, Local};
use crate::vocab::EndReason;

use super::{watch, watched};

/// Status codes that say more than "this SUBSCRIBE will never do": RFC 8048 §5.2.2 for those that end the
/// authorisation, RFC 6665 §4.1.2 and RFC 3261 §21 for those that pass.
#[rustfmt::skip]
const CODES: &[(u16, watch::Event)] = &[
    (403, watch::Event::Rejected), (489, watch::Event::Rejected), (603, watch::Event::Rejected),
    (408, watch::Event::Failed), (423, watch::Event::Failed), (429, watch::Event::Failed),
    (430, watch::Event::Failed), (480, watch::Event::Failed), (481, watch::Event::Failed),
    (486, watch::Event::Failed), (487, watch::Event::Failed), (491, watch::Event::Failed),
    (500, watch::Event::Failed), (502, watch::Event::Failed), (503, watch::Event::Failed),
    (504, watch::Event::Failed), (580, watch::Event::Failed), (600, watch::Event::Failed),
];

/// What a refused SUBSCRIBE means.
#[must_use]
pub fn of_subscribe(failure: &Failure) -> watch::Event {
    match failure {
        Failure::Sip(status) => CODES
            .iter()
            .find(|(code, _)| *code == status.code)
            .map_or(watch::Event::Refused, |(_, event)| *event),
        Failure::Xmpp { .. } => watch::Event::Refused,
        Failure::Local(local) => match local {
            Local::Unreachable
            | Local::TransportFailed
            | Local::Timeout
            | Local::Overloaded
            | Local::OutcomeUnknown
            | Local::ShuttingDown => watch::Event::Failed,
            Local::BadAddress
            | Local::NoUser
            | Local::DomainNotFound
            | Local::SipDomain
            | Local::NotAllowed
            | Local::Loop
            | Local::TooLarge
            | Local::NotAcceptable
            | Local::Encrypted
            | Local::Expired
            | Local::NotImplemented => watch::Event::Refused,
        },
    }
}

/// What the loss of an established dialog means: a new one, unless the authorisation is gone with it.
#[must_use]
pub fn of_dialog(failure: &Failure) -> watch::Event {
    match of_subscribe(failure) {
        watch::Event::Rejected => watch::Event::Rejected,
        _ => watch::Event::EndedAgain,
    }
}

/// What NOTIFY terminated means (RFC 6665 §4.1.3, PRES-20). `patient`: the peer has said when to come back.
#[must_use]
pub fn of_end(reason: EndReason, patient: bool) -> watch::Event {
    match reason {
        EndReason::Rejected => watch::Event::Rejected,
        EndReason::NoResource => watch::Event::EndedForNow,
        EndReason::Invariant => watch::Event::EndedConstant,
        EndReason::Probation | EndReason::Giveup => watch::Event::EndedLater,
        EndReason::Unknown if patient => watch::Event::EndedLater,
        EndReason::Deactivated | EndReason::Timeout | EndReason::Unknown => {
            watch::Event::EndedAgain
        }
    }
}

/// What a presence error from an XMPP user's bare address means for those who watch her (PRES-54).
#[must_use]
pub fn of_presence(condition: Condition) -> watched::Event {
    match condition {
        Condition::ItemNotFound | Condition::Gone | Condition::JidMalformed => {
            watched::Event::Missing
        }
        Condition::ServiceUnavailable
        | Condition::FeatureNotImplemented
        | Condition::NotAcceptable
        | Condition::BadRequest
        | Condition::Redirect => watched::Event::Unserved,
        Condition::Forbidden
        | Condition::NotAllowed
        | Condition::NotAuthorized
        | Condition::PolicyViolation
        | Condition::RegistrationRequired
        | Condition::SubscriptionRequired => watched::Event::Forbidden,
        Condition::Conflict
        | Condition::InternalServerError
        | Condition::RecipientUnavailable
        | Condition::RemoteServerNotFound
        | Condition::RemoteServerTimeout
        | Condition::ResourceConstraint
        | Condition::UndefinedCondition
        | Condition::UnexpectedRequest => watched::Event::Unreachable,
    }
}
