//! The ledger: for each message its parties, its times and how it ended. Never what it said.

use std::borrow::Cow;
use std::time::Duration;

use crate::address::{Jid, Scheme, SipAddress, canonical_domain, jid_to_sip, sip_to_jid};
use crate::failure::{Failure, Local, to_sip, to_stanza};

use super::{Im, ImKind, Receipt, Ref};

/// Longest text in an entry that a peer has chosen, in characters.
const MAX_TEXT: usize = 256;

/// Which way a message goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Way {
    /// From XMPP to SIP.
    ToSip,
    /// From SIP to XMPP.
    ToXmpp,
}

impl Way {
    /// Both.
    pub const ALL: [Self; 2] = [Self::ToSip, Self::ToXmpp];

    /// Its word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ToSip => "to-sip",
            Self::ToXmpp => "to-xmpp",
        }
    }
}

/// How a message ended, as far as is known. What is learnt later only ever moves it down this list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// It may or may not have arrived.
    Unknown,
    /// The partner's server has it: 2xx, or the fence has passed.
    Taken,
    /// It did not arrive.
    Failed,
    /// The recipient's device has it, and says so.
    Delivered,
    /// It was shown there.
    Displayed,
}

impl Outcome {
    /// All, in order.
    pub const ALL: [Self; 5] = [
        Self::Unknown,
        Self::Taken,
        Self::Failed,
        Self::Delivered,
        Self::Displayed,
    ];

    /// Its word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Taken => "taken",
            Self::Failed => "failed",
            Self::Delivered => "delivered",
            Self::Displayed => "displayed",
        }
    }
}

impl From<Receipt> for Outcome {
    fn from(receipt: Receipt) -> Self {
        match receipt {
            Receipt::Delivered => Self::Delivered,
            Receipt::Displayed => Self::Displayed,
        }
    }
}

/// Who says that a message failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Sayer {
    /// The recipient's own device (an error stanza from a full JID).
    Device,
    /// The partner's server, or whoever answered for it.
    Partner,
    /// The gateway itself.
    Gateway,
}

impl Sayer {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Device, Self::Partner, Self::Gateway];

    /// Its word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Device => "device",
            Self::Partner => "partner",
            Self::Gateway => "gateway",
        }
    }
}

/// Why a message failed, or why its outcome is not known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    /// Who says so.
    pub by: Sayer,
    /// SIP status code, or the name of a stanza error condition.
    pub code: Cow<'static, str>,
    /// Words for people.
    pub words: Cow<'static, str>,
}

/// How a message ended and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fate {
    /// How.
    pub outcome: Outcome,
    /// Why, where it failed or is unknown.
    pub reason: Option<Reason>,
}

impl From<Outcome> for Fate {
    fn from(outcome: Outcome) -> Self {
        Self {
            outcome,
            reason: None,
        }
    }
}

impl Fate {
    /// The fate of a message that was refused before anything of it was sent.
    #[must_use]
    pub fn refused(way: Way, local: Local) -> Self {
        Self {
            outcome: Outcome::Failed,
            reason: Some(reason(way, &Failure::Local(local))),
        }
    }

    /// The fate of a message that was handed to an adapter. Where that does not say whether octets have left before the
    /// time was over or the connection broke, nobody knows.
    #[must_use]
    pub fn of(way: Way, failure: &Failure) -> Self {
        Self {
            outcome: if failure.leaves_doubt() {
                Outcome::Unknown
            } else {
                Outcome::Failed
            },
            reason: Some(reason(way, failure)),
        }
    }
}

/// A failure as its sender is told, and who said so. The gateway's own findings have the code of the sender's protocol.
fn reason(way: Way, failure: &Failure) -> Reason {
    match failure {
        Failure::Sip(status) => Reason {
            by: Sayer::Partner,
            code: status.code.to_string().into(),
            words: short(&status.reason).into(),
        },
        Failure::Xmpp {
            error,
            from_full_jid,
            ..
        } => Reason {
            by: if *from_full_jid {
                Sayer::Device
            } else {
                Sayer::Partner
            },
            code: error.condition.name().into(),
            words: short(error.text.as_deref().unwrap_or_default()).into(),
        },
        Failure::Local(_) => Reason {
            by: Sayer::Gateway,
            code: match way {
                Way::ToSip => to_stanza(failure).condition.name().into(),
                Way::ToXmpp => to_sip(failure).code.to_string().into(),
            },
            words: to_sip(failure).reason.into(),
        },
    }
}

/// What is known of a message from its first moment, but for its parties.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct About {
    /// When it came, since 1970 UTC.
    pub arrived: Duration,
    /// Octets of its bodies, in UTF-8.
    pub octets: u64,
    /// Kind.
    pub kind: ImKind,
    /// Thread, or Call-ID; cut where it is very long.
    pub thread: Option<String>,
}

impl About {
    /// What a message shows of itself.
    #[must_use]
    pub fn of(im: &Im, arrived: Duration) -> Self {
        let octets: usize = im.bodies.iter().map(|body| body.text.len()).sum();
        Self {
            arrived,
            octets: u64::try_from(octets).unwrap_or(u64::MAX),
            kind: im.kind,
            thread: im.thread.as_deref().map(short),
        }
    }
}

impl ImKind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Normal, Self::Chat, Self::Headline, Self::Groupchat];

    /// Its name in XMPP (RFC 6121 §5.2.2).
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Chat => "chat",
            Self::Headline => "headline",
            Self::Groupchat => "groupchat",
        }
    }
}

/// An address as the gateway met it. It may have no counterpart in the other world: that is why it was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Party {
    /// As a JID.
    Jid(Jid),
    /// As a SIP address.
    Sip(SipAddress),
}

impl Party {
    /// The user as XMPP knows him: the bare canonical JID, or the SIP address where there is none.
    #[must_use]
    pub fn xmpp(&self) -> String {
        match self {
            Self::Jid(jid) => jid.bare().canonical().to_string(),
            Self::Sip(address) => {
                let address = address.bare().canonical();
                sip_to_jid(&address).map_or_else(
                    |_| short(&address.to_string()),
                    |jid| jid.canonical().to_string(),
                )
            }
        }
    }

    /// The user as SIP knows him: the canonical address of record, or the JID where there is none.
    #[must_use]
    pub fn sip(&self) -> String {
        match self {
            Self::Jid(jid) => {
                let jid = jid.bare().canonical();
                jid_to_sip(&jid, Scheme::Sip).map_or_else(
                    |_| short(&jid.to_string()),
                    |address| address.canonical().to_string(),
                )
            }
            Self::Sip(address) => short(&address.bare().canonical().to_string()),
        }
    }

    /// The domain, canonical.
    #[must_use]
    pub fn domain(&self) -> String {
        short(&match self {
            Self::Jid(jid) => canonical_domain(&jid.domain),
            Self::Sip(address) => canonical_domain(&address.host),
        })
    }

    /// The device, where it is known.
    #[must_use]
    pub fn resource(&self) -> Option<&str> {
        match self {
            Self::Jid(jid) => jid.resource.as_deref(),
            Self::Sip(address) => address.gr.as_deref(),
        }
    }

    /// As it will be remembered: an address of absurd length, which is refused, is cut.
    #[must_use]
    pub fn cut(address: &SipAddress) -> Self {
        Self::Sip(SipAddress {
            scheme: address.scheme,
            user: address.user.as_deref().map(short),
            host: short(&address.host),
            gr: address.gr.as_deref().map(short),
        })
    }
}

/// One message in the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Names the message, also after a restart. Where the store has an entry of that number already, that one stays.
    pub number: Ref,
    /// Which way it went.
    pub way: Way,
    /// The XMPP user.
    pub xmpp: Party,
    /// The SIP user.
    pub sip: Party,
    /// Stanza id; cut where it is very long.
    pub id: Option<String>,
    /// What was known from the first moment.
    pub about: About,
    /// When its outcome was known, since 1970 UTC.
    pub known: Duration,
    /// How it ended.
    pub fate: Fate,
}

impl Entry {
    /// When the sender's id is longer than what an entry keeps, the rest is cut.
    #[must_use]
    pub fn id(id: Option<String>) -> Option<String> {
        id.map(|id| if id.len() <= MAX_TEXT { id } else { short(&id) })
    }
}

/// More is known of a message that has an entry: a receipt or a failure came late. Moves it down [`Outcome::ALL`] only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Amendment {
    /// As in [`Entry::number`].
    pub number: Ref,
    /// When it was known, since 1970 UTC.
    pub known: Duration,
    /// How it ended.
    pub fate: Fate,
}

fn short(text: &str) -> String {
    match text.char_indices().nth(MAX_TEXT) {
        Some((end, _)) => text.get(..end).unwrap_or_default().to_owned(),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::{Condition, SipStatus, StanzaError};

    #[test]
    fn a_failure_names_who_said_so_and_what() {
        let xmpp = |from_full_jid| Failure::Xmpp {
            error: StanzaError {
                text: Some("gone fishing".to_owned()),
                ..StanzaError::new(Condition::RecipientUnavailable)
            },
            from_full_jid,
            new_address: None,
        };
        let rows = [
            (
                Way::ToSip,
                Failure::Sip(SipStatus::new(486, "Busy Here")),
                "failed partner 486 Busy Here",
            ),
            (
                Way::ToXmpp,
                xmpp(true),
                "failed device recipient-unavailable gone fishing",
            ),
            (
                Way::ToXmpp,
                xmpp(false),
                "failed partner recipient-unavailable gone fishing",
            ),
            (
                Way::ToXmpp,
                Failure::Local(Local::Unreachable),
                "failed gateway 504 The domain could not be reached",
            ),
            (
                Way::ToSip,
                Failure::Local(Local::Timeout),
                "unknown gateway remote-server-timeout The other side did not answer in time",
            ),
        ];
        for (way, failure, expected) in rows {
            let fate = Fate::of(way, &failure);
            let reason = fate.reason.unwrap();
            let found = [
                fate.outcome.name(),
                reason.by.name(),
                &reason.code,
                &reason.words,
            ];
            assert_eq!(found.join(" "), expected);
        }
    }

    #[test]
    fn both_spellings_of_a_party_are_canonical() {
        let jid = Party::Jid("O\\27Neil@OCS.example/desk".parse().unwrap());
        assert_eq!(jid.xmpp(), "o\\27neil@ocs.example");
        assert_eq!(jid.sip(), "sip:o'neil@ocs.example");
        assert_eq!(jid.resource(), Some("desk"));
        let address = SipAddress {
            scheme: Scheme::Sip,
            user: Some("O'Neil".to_owned()),
            host: "OCS.example".to_owned(),
            gr: None,
        };
        let sip = Party::Sip(address.clone());
        assert_eq!(
            (sip.xmpp(), sip.sip(), sip.domain()),
            (jid.xmpp(), jid.sip(), jid.domain())
        );
        let endless = SipAddress {
            user: Some("ü".repeat(5000)),
            ..address
        };
        assert!(Party::cut(&endless).sip().chars().count() <= MAX_TEXT);
    }
}
