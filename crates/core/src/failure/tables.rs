//! RFC 7247 Tables 2 and 3, the names of our own findings, and the standard reason phrases.

use super::{Condition, ErrorType, Local};

/// One row of RFC 7247 Table 2, with the condition's name and default type (RFC 6120 §8.3.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConditionRow {
    /// Condition.
    pub condition: Condition,
    /// Element name.
    pub name: &'static str,
    /// Default type.
    pub kind: ErrorType,
    /// Status code when a full JID reports it.
    pub full: u16,
    /// Status code when a bare JID reports it.
    pub bare: u16,
}

/// One row of RFC 7247 Table 3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatusRow {
    /// Status code, or the first of its class.
    pub code: u16,
    /// Condition.
    pub condition: Condition,
}

/// What one of our own findings is called on either side.
#[derive(Debug, Clone, Copy)]
pub(super) struct LocalRow {
    pub(super) code: u16,
    pub(super) condition: Condition,
    pub(super) words: &'static str,
}

pub(super) const UNDEFINED: ConditionRow = condition(
    Condition::UndefinedCondition,
    "undefined-condition",
    ErrorType::Cancel,
    400,
    400,
);

/// RFC 7247 §7.1 Table 2.
#[rustfmt::skip]
pub const CONDITIONS: [ConditionRow; 22] = [
    condition(Condition::BadRequest, "bad-request", ErrorType::Modify, 400, 400),
    condition(Condition::Conflict, "conflict", ErrorType::Cancel, 400, 400),
    condition(Condition::FeatureNotImplemented, "feature-not-implemented", ErrorType::Cancel, 405, 501),
    condition(Condition::Forbidden, "forbidden", ErrorType::Auth, 403, 603),
    condition(Condition::Gone, "gone", ErrorType::Cancel, 410, 410), // 301 with an address: note 3
    condition(Condition::InternalServerError, "internal-server-error", ErrorType::Cancel, 500, 500),
    condition(Condition::ItemNotFound, "item-not-found", ErrorType::Cancel, 404, 604),
    condition(Condition::JidMalformed, "jid-malformed", ErrorType::Modify, 400, 400),
    condition(Condition::NotAcceptable, "not-acceptable", ErrorType::Modify, 406, 606),
    condition(Condition::NotAllowed, "not-allowed", ErrorType::Cancel, 403, 403),
    condition(Condition::NotAuthorized, "not-authorized", ErrorType::Auth, 403, 403), // 401 in the RFC: ERX-09
    condition(Condition::PolicyViolation, "policy-violation", ErrorType::Modify, 403, 403),
    condition(Condition::RecipientUnavailable, "recipient-unavailable", ErrorType::Wait, 480, 600),
    condition(Condition::Redirect, "redirect", ErrorType::Modify, 302, 302), // 480 without an address: a 3xx needs a Contact
    condition(Condition::RegistrationRequired, "registration-required", ErrorType::Auth, 403, 403), // 407 in the RFC: ERX-09
    condition(Condition::RemoteServerNotFound, "remote-server-not-found", ErrorType::Cancel, 404, 404),
    condition(Condition::RemoteServerTimeout, "remote-server-timeout", ErrorType::Wait, 408, 408),
    condition(Condition::ResourceConstraint, "resource-constraint", ErrorType::Wait, 500, 500),
    condition(Condition::ServiceUnavailable, "service-unavailable", ErrorType::Cancel, 403, 403), // note 5
    condition(Condition::SubscriptionRequired, "subscription-required", ErrorType::Auth, 400, 400),
    condition(Condition::UndefinedCondition, "undefined-condition", ErrorType::Cancel, 400, 400),
    condition(Condition::UnexpectedRequest, "unexpected-request", ErrorType::Wait, 491, 491),
];

/// RFC 7247 §7.2 Table 3.
pub const STATUSES: [StatusRow; 48] = [
    status(300, Condition::Redirect),
    status(301, Condition::Gone),
    status(302, Condition::Redirect),
    status(305, Condition::Redirect),
    status(380, Condition::NotAcceptable),
    status(400, Condition::BadRequest),
    status(401, Condition::NotAuthorized),
    status(402, Condition::BadRequest),
    status(403, Condition::Forbidden),
    status(404, Condition::ItemNotFound),
    status(405, Condition::FeatureNotImplemented),
    status(406, Condition::NotAcceptable),
    status(407, Condition::RegistrationRequired),
    status(408, Condition::RemoteServerTimeout),
    status(410, Condition::Gone),
    status(413, Condition::PolicyViolation),
    status(414, Condition::PolicyViolation),
    status(415, Condition::NotAcceptable),
    status(416, Condition::NotAcceptable),
    status(420, Condition::FeatureNotImplemented),
    status(421, Condition::NotAcceptable),
    status(423, Condition::ResourceConstraint),
    status(430, Condition::RecipientUnavailable),
    status(439, Condition::FeatureNotImplemented),
    status(440, Condition::PolicyViolation),
    status(480, Condition::RecipientUnavailable),
    status(481, Condition::ItemNotFound),
    status(482, Condition::NotAcceptable),
    status(483, Condition::NotAcceptable),
    status(484, Condition::ItemNotFound),
    status(485, Condition::ItemNotFound),
    status(486, Condition::RecipientUnavailable),
    status(487, Condition::RecipientUnavailable),
    status(488, Condition::NotAcceptable),
    status(489, Condition::PolicyViolation),
    status(491, Condition::UnexpectedRequest),
    status(493, Condition::BadRequest),
    status(500, Condition::InternalServerError),
    status(501, Condition::FeatureNotImplemented),
    status(502, Condition::RemoteServerNotFound),
    status(503, Condition::InternalServerError),
    status(504, Condition::RemoteServerTimeout),
    status(505, Condition::NotAcceptable),
    status(513, Condition::PolicyViolation),
    status(600, Condition::RecipientUnavailable),
    status(603, Condition::RecipientUnavailable),
    status(604, Condition::ItemNotFound),
    status(606, Condition::NotAcceptable),
];

/// RFC 7247 §7.2: codes that Table 3 does not list, by class.
pub const CLASSES: [StatusRow; 4] = [
    status(300, Condition::Redirect),
    status(400, Condition::BadRequest),
    status(500, Condition::InternalServerError),
    status(600, Condition::RecipientUnavailable),
];

/// The names of our own findings. 503 only where the whole gateway is meant (RFC 3261 §21.5.4); 504 rather than 408,
/// which a non-INVITE request must not get (RFC 4320 §4.2).
#[rustfmt::skip]
pub(super) const fn local(local: Local) -> LocalRow {
    let (code, condition, words) = match local {
        Local::BadAddress => (400, Condition::JidMalformed, "The address has no counterpart in the other network"),
        Local::NoUser => (404, Condition::ServiceUnavailable, "The address names no user"),
        Local::DomainNotFound => (404, Condition::RemoteServerNotFound, "The domain was not found"),
        Local::SipDomain => (404, Condition::RemoteServerNotFound, "By its DNS records this is a SIP domain: route it on your own SIP servers, or name it in [[xmpp.partner]]"),
        Local::Unreachable => (504, Condition::RemoteServerTimeout, "The domain could not be reached"),
        Local::TransportFailed => (504, Condition::InternalServerError, "The connection to the domain failed"),
        Local::Timeout => (504, Condition::RemoteServerTimeout, "The other side did not answer in time"),
        Local::NotAllowed => (403, Condition::NotAllowed, "The two domains may not talk by local policy"),
        Local::Loop => (482, Condition::NotAcceptable, "It has crossed this gateway before: two gateways lead to each other"),
        Local::TooLarge => (513, Condition::PolicyViolation, "The message is too large"),
        Local::NotAcceptable => (415, Condition::NotAcceptable, "The message holds nothing that can cross"),
        Local::Encrypted => (415, Condition::NotAcceptable, "Encrypted messages cannot be read in the other network: turn encryption off for this contact and send it again"),
        Local::Expired => (480, Condition::RecipientUnavailable, "It came later than its sender wanted it to be shown: if that is wrong, the two clocks differ"),
        Local::NotImplemented => (501, Condition::FeatureNotImplemented, "Not offered by this gateway"),
        Local::Overloaded => (503, Condition::ResourceConstraint, "The gateway is busy: try later"),
        Local::OutcomeUnknown => (500, Condition::InternalServerError, "The way broke off: the message may or may not have arrived"),
        Local::ShuttingDown => (503, Condition::ResourceConstraint, "The gateway is stopping: try later"),
    };
    LocalRow { code, condition, words }
}

/// The reason phrase that RFC 3261 §21 and its extensions print beside a code.
pub(super) fn phrase(code: u16) -> &'static str {
    PHRASES
        .iter()
        .find(|(listed, _)| *listed == code)
        .map_or("Failed", |(_, phrase)| phrase)
}

#[rustfmt::skip]
const PHRASES: &[(u16, &str)] = &[
    (300, "Multiple Choices"),
    (301, "Moved Permanently"),
    (302, "Moved Temporarily"),
    (400, "Bad Request"),
    (403, "Forbidden"),
    (404, "Not Found"),
    (405, "Method Not Allowed"),
    (406, "Not Acceptable"),
    (408, "Request Timeout"),
    (410, "Gone"),
    (413, "Request Entity Too Large"),
    (414, "Request-URI Too Long"),
    (415, "Unsupported Media Type"),
    (416, "Unsupported URI Scheme"),
    (420, "Bad Extension"),
    (480, "Temporarily Unavailable"),
    (481, "Call/Transaction Does Not Exist"),
    (482, "Loop Detected"),
    (483, "Too Many Hops"),
    (484, "Address Incomplete"),
    (486, "Busy Here"),
    (488, "Not Acceptable Here"),
    (489, "Bad Event"),
    (491, "Request Pending"),
    (500, "Server Internal Error"),
    (501, "Not Implemented"),
    (502, "Bad Gateway"),
    (503, "Service Unavailable"),
    (504, "Server Time-out"),
    (513, "Message Too Large"),
    (600, "Busy Everywhere"),
    (603, "Decline"),
    (604, "Does Not Exist Anywhere"),
    (606, "Not Acceptable"),
];

const fn condition(
    condition: Condition,
    name: &'static str,
    kind: ErrorType,
    full: u16,
    bare: u16,
) -> ConditionRow {
    ConditionRow {
        condition,
        name,
        kind,
        full,
        bare,
    }
}

const fn status(code: u16, condition: Condition) -> StatusRow {
    StatusRow { code, condition }
}
