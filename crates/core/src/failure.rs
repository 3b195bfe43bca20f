//! What can go wrong, and its name in either protocol.

use crate::address::{Jid, SipAddress};

/// The stanza error conditions of RFC 6120 §8.3.3.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Condition {
    BadRequest,
    Conflict,
    FeatureNotImplemented,
    Forbidden,
    Gone,
    InternalServerError,
    ItemNotFound,
    JidMalformed,
    NotAcceptable,
    NotAllowed,
    NotAuthorized,
    PolicyViolation,
    RecipientUnavailable,
    Redirect,
    RegistrationRequired,
    RemoteServerNotFound,
    RemoteServerTimeout,
    ResourceConstraint,
    ServiceUnavailable,
    SubscriptionRequired,
    UndefinedCondition,
    UnexpectedRequest,
}

/// The error types of RFC 6120 §8.3.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorType {
    /// Retry after providing credentials.
    Auth,
    /// Do not retry.
    Cancel,
    /// Proceed; it was only a warning.
    Continue,
    /// Retry after changing the data.
    Modify,
    /// Retry after waiting.
    Wait,
}

/// An error as a stanza says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StanzaError {
    /// What to do about it.
    pub kind: ErrorType,
    /// What happened.
    pub condition: Condition,
    /// Words for people.
    pub text: Option<String>,
    /// The new address in `gone` or `redirect`.
    pub new_address: Option<String>,
}

/// An error as a SIP response says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SipStatus {
    /// 300 to 699.
    pub code: u16,
    /// One line of words.
    pub reason: String,
    /// `Contact` of a 3xx.
    pub contact: Option<SipAddress>,
}

/// Why something could not be done, and who said so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// A SIP peer answered with this final status.
    Sip(SipStatus),
    /// An XMPP entity answered with this error.
    Xmpp {
        /// The error.
        error: StanzaError,
        /// It came from a full JID (RFC 7247 §7.1 notes 1 and 2).
        from_full_jid: bool,
        /// Address named in `gone` or `redirect`, when it is an XMPP address.
        new_address: Option<Jid>,
    },
    /// The gateway found out by itself.
    Local(Local),
}

/// What the gateway finds out by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Local {
    /// The address cannot exist in the other protocol.
    BadAddress,
    /// The domain has no usable DNS data.
    DomainNotFound,
    /// The domain exists and could not be reached.
    Unreachable,
    /// A connection broke, or could not be secured.
    TransportFailed,
    /// No answer in time.
    Timeout,
    /// The two parties may not talk by our rules.
    NotAllowed,
    /// The content is larger than the path carries.
    TooLarge,
    /// The content has nothing that can cross.
    NotAcceptable,
    /// What was asked is not offered.
    NotImplemented,
    /// A queue is full or the store cannot write: try later.
    Overloaded,
    /// A crash left the outcome unknown.
    OutcomeUnknown,
    /// The gateway is stopping.
    ShuttingDown,
}
