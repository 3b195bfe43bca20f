//! Instant messages.

use std::time::Duration;

use super::{Rich, Trace};

/// A run of text in one language.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    /// BCP 47 tag, when the sender named one.
    pub lang: Option<String>,
    /// The text, with `\n` line ends and without characters that XML forbids.
    pub text: String,
}

/// The kind of an XMPP message (RFC 6121 §5.2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ImKind {
    /// A single message: SIP page mode.
    #[default]
    Normal,
    /// Part of a conversation.
    Chat,
    /// An announcement.
    Headline,
    /// A room message; refused when it is addressed to a user.
    Groupchat,
}

/// What somebody is doing in a conversation (XEP-0085 §5.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ChatState {
    /// Attending to it.
    Active,
    /// Writing.
    Composing,
    /// Has stopped writing.
    Paused,
    /// Has not looked at it for some time.
    Inactive,
    /// Has left it.
    Gone,
}

/// What the sender of a message asked to be told of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Wants {
    /// That it has reached the recipient's device (XEP-0184 §5.1, RFC 4975 §7.1.2, RFC 5438 §3.2).
    pub delivered: bool,
    /// That it has been shown (XEP-0333, RFC 5438 §3.2).
    pub displayed: bool,
}

/// What the recipient's device says of a message. Never made up: a 2xx is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Receipt {
    /// It has arrived there.
    Delivered,
    /// It has been shown.
    Displayed,
}

/// The content of one instant message, whatever carried it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Im {
    /// Kind as named by XMPP, or implied by the SIP mode (page mode: normal).
    pub kind: ImKind,
    /// The sender's identifier: stanza id, or the SIP branch made legal (RFC 7572 Table 1 and 2).
    pub id: Option<String>,
    /// Thread, or Call-ID.
    pub thread: Option<String>,
    /// Subject lines by language.
    pub subjects: Vec<Text>,
    /// Bodies by language; empty where the message carries none (chat states, receipts).
    pub bodies: Vec<Text>,
    /// The styled form of the first body, where its sender styled it.
    pub rich: Option<Rich>,
    /// When it was sent, since 1970 UTC, if the sender said so (XEP-0203, SIP Date).
    pub sent_at: Option<Duration>,
    /// What the sender is doing. On the way to XMPP it also says that the SIP side can show such states.
    pub chat_state: Option<ChatState>,
    /// What the sender wants to be told of it.
    pub wants: Wants,
    /// Which gateways it has crossed; on the way out, this one included.
    pub trace: Trace,
}
