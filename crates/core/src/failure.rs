//! What can go wrong, and its name in either protocol (RFC 7247 §7).
//!
//! [`to_sip`] and [`to_stanza`] are total: every failure has a name on both sides. The tables are data, one row a line.

use crate::address::{Jid, Scheme, SipAddress, jid_to_sip, sip_to_jid};

mod tables;

pub use tables::{CLASSES, CONDITIONS, ConditionRow, STATUSES, StatusRow};

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

impl Failure {
    /// Whether what failed so may have arrived all the same: a partner that says no is believed, but where time was over or the
    /// connection broke, nobody knows.
    #[must_use]
    pub const fn leaves_doubt(&self) -> bool {
        matches!(
            self,
            Self::Local(
                Local::Timeout
                    | Local::TransportFailed
                    | Local::OutcomeUnknown
                    | Local::ShuttingDown
            )
        )
    }
}

/// What the gateway finds out by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Local {
    /// The address cannot exist in the other protocol.
    BadAddress,
    /// The address is a domain of ours and names no user.
    NoUser,
    /// The domain has no usable DNS data.
    DomainNotFound,
    /// The domain's DNS records say that it lives in the SIP world: nothing is relayed from SIP to SIP.
    SipDomain,
    /// The domain exists and could not be reached.
    Unreachable,
    /// A connection broke, or could not be secured.
    TransportFailed,
    /// No answer in time.
    Timeout,
    /// The two parties may not talk by our rules.
    NotAllowed,
    /// It has been here before, or has crossed too many gateways.
    Loop,
    /// The content is larger than the path carries.
    TooLarge,
    /// The content has nothing that can cross.
    NotAcceptable,
    /// The content is encrypted from end to end: nobody on the other side could read it.
    Encrypted,
    /// Its sender did not want it to be shown any more by the time it came.
    Expired,
    /// What was asked is not offered.
    NotImplemented,
    /// A queue is full or the store cannot write: try later.
    Overloaded,
    /// A crash, or a connection that broke, left the outcome unknown.
    OutcomeUnknown,
    /// The gateway is stopping.
    ShuttingDown,
}

impl Local {
    /// All of them.
    pub const ALL: [Self; 17] = [
        Self::BadAddress,
        Self::NoUser,
        Self::DomainNotFound,
        Self::SipDomain,
        Self::Unreachable,
        Self::TransportFailed,
        Self::Timeout,
        Self::NotAllowed,
        Self::Loop,
        Self::TooLarge,
        Self::NotAcceptable,
        Self::Encrypted,
        Self::Expired,
        Self::NotImplemented,
        Self::Overloaded,
        Self::OutcomeUnknown,
        Self::ShuttingDown,
    ];
}

/// Longest reason phrase that we write, in characters.
const MAX_REASON: usize = 128;

impl Condition {
    /// Its row in RFC 7247 Table 2.
    #[must_use]
    pub fn row(self) -> &'static ConditionRow {
        CONDITIONS
            .iter()
            .find(|row| row.condition == self)
            .unwrap_or(&tables::UNDEFINED)
    }

    /// The element name (RFC 6120 §8.3.3).
    #[must_use]
    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// The condition of this element name; an unknown one is `undefined-condition` (RFC 6120 §8.3.2).
    #[must_use]
    pub fn from_name(name: &str) -> Self {
        CONDITIONS
            .iter()
            .find(|row| row.name == name)
            .map_or(Self::UndefinedCondition, |row| row.condition)
    }
}

impl StanzaError {
    /// The condition with its default type (RFC 6120 §8.3.3) and no words.
    #[must_use]
    pub fn new(condition: Condition) -> Self {
        Self {
            kind: condition.row().kind,
            condition,
            text: None,
            new_address: None,
        }
    }
}

impl SipStatus {
    /// The code with these words, put on one line without controls; the standard phrase where none are left.
    #[must_use]
    pub fn new(code: u16, words: &str) -> Self {
        let words = one_line(words);
        let reason = if words.is_empty() {
            tables::phrase(code).to_owned()
        } else {
            words
        };
        Self {
            code,
            reason,
            contact: None,
        }
    }
}

/// The condition for a SIP status code: RFC 7247 Table 3, and its class where the code is not listed.
#[must_use]
pub fn condition_of(code: u16) -> Condition {
    STATUSES
        .iter()
        .find(|row| row.code == code)
        .or_else(|| CLASSES.iter().find(|row| row.code / 100 == code / 100))
        .map_or(Condition::UndefinedCondition, |row| row.condition)
}

/// The failure as a SIP response says it.
///
/// A user's error never becomes 503, which would make the peer avoid the whole gateway (ERX-05), and never 401 or 407,
/// which need a challenge to go with them (ERX-09).
#[must_use]
pub fn to_sip(failure: &Failure) -> SipStatus {
    match failure {
        Failure::Sip(status) => {
            let code = match status.code {
                401 | 407 => 403,
                300..=699 => status.code,
                _ => 500,
            };
            SipStatus {
                contact: status.contact.clone(),
                ..SipStatus::new(code, &status.reason)
            }
        }
        Failure::Xmpp {
            error,
            from_full_jid,
            new_address,
        } => stanza_to_sip(error, *from_full_jid, new_address.as_ref()),
        Failure::Local(local) => {
            let row = tables::local(*local);
            SipStatus::new(row.code, row.words)
        }
    }
}

/// The failure as a stanza error.
#[must_use]
pub fn to_stanza(failure: &Failure) -> StanzaError {
    match failure {
        Failure::Sip(status) => sip_to_stanza(status),
        Failure::Xmpp { error, .. } => StanzaError {
            text: error.text.as_deref().and_then(text_for_stanza),
            ..error.clone()
        },
        Failure::Local(local) => {
            let row = tables::local(*local);
            StanzaError {
                text: Some(row.words.to_owned()),
                ..StanzaError::new(row.condition)
            }
        }
    }
}

fn stanza_to_sip(error: &StanzaError, from_full_jid: bool, new_address: Option<&Jid>) -> SipStatus {
    let row = error.condition.row();
    let contact = new_address.and_then(|jid| jid_to_sip(jid, Scheme::Sip).ok());
    let named = error
        .new_address
        .as_deref()
        .is_some_and(|address| !address.trim().is_empty());
    let code = match error.condition {
        // RFC 7247 §7.1 note 3: the address decides. A 3xx needs its Contact.
        Condition::Gone if contact.is_some() => 301,
        Condition::Redirect if contact.is_none() && !named => 480,
        _ if from_full_jid => row.full,
        _ => row.bare,
    };
    SipStatus {
        contact: contact.filter(|_| code / 100 == 3),
        ..SipStatus::new(code, error.text.as_deref().unwrap_or_default())
    }
}

fn sip_to_stanza(status: &SipStatus) -> StanzaError {
    let condition = condition_of(status.code);
    let new_address = match (condition, status.code) {
        // RFC 7247 §7.2 note 1: 410 names no address.
        (Condition::Gone, 301) | (Condition::Redirect, _) => status
            .contact
            .as_ref()
            .and_then(|contact| sip_to_jid(contact).ok())
            .map(|jid| jid.to_uri()),
        _ => None,
    };
    StanzaError {
        text: text_for_stanza(&status.reason),
        new_address,
        ..StanzaError::new(condition)
    }
}

fn text_for_stanza(text: &str) -> Option<String> {
    let text: String = text.chars().filter(|c| is_xml(*c)).collect();
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

fn one_line(words: &str) -> String {
    let spaced: String = words
        .chars()
        .map(|c| if c.is_control() || !is_xml(c) { ' ' } else { c })
        .collect();
    let line = spaced.split_whitespace().collect::<Vec<_>>().join(" ");
    line.chars().take(MAX_REASON).collect()
}

/// Characters that XML 1.0 §2.2 allows.
fn is_xml(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
}

#[cfg(test)]
mod tests;
