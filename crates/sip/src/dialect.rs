//! Peer dialects: what each kind of SIP server really sends and takes, one profile a row, one habit a column.
//!
//! A federated domain has a [`Rule`]: a profile, or `auto`, which starts as [`Profile::Simple`] and learns from what the
//! peer sends (`evidence`); and an administrator may change each column for it ([`Overrides`]). What comes out is the
//! domain's [`Behaviour`].

mod evidence;
mod learned;
mod profiles;

use std::borrow::Cow;
use std::time::Duration;

pub use evidence::{Evidence, Weight, of_request, of_response};
pub use learned::{Dialects, Learned};
pub use profiles::{PROFILES, Profile, ProfileRow};

use stox_core::presence::Told;
use stox_core::vocab::State;

use crate::adapt::presence::Format;

/// A column whose values have names in settings and documents.
pub trait Word: Sized + Copy + PartialEq + 'static {
    /// All values with their words.
    const WORDS: &'static [(&'static str, Self)];

    /// The word of a value.
    fn word(self) -> &'static str {
        Self::WORDS
            .iter()
            .find(|(_, value)| *value == self)
            .map_or("", |(word, _)| word)
    }

    /// The value of a word.
    fn from_word(word: &str) -> Option<Self> {
        Self::WORDS
            .iter()
            .find(|(known, _)| *known == word)
            .map(|(_, value)| *value)
    }
}

impl Word for Format {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("pidf", Self::Pidf),
        ("categories", Self::Categories),
        ("msrtc-pidf", Self::MsrtcPidf),
        ("xpidf", Self::Xpidf),
    ];
}

impl Word for bool {
    const WORDS: &'static [(&'static str, Self)] = &[("true", true), ("false", false)];
}

/// Declares a column type with its words.
macro_rules! words {
    ($(#[$about:meta])* $name:ident { $($(#[$doc:meta])* $value:ident = $word:literal),+ $(,)? }) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name { $($(#[$doc])* $value),+ }

        impl Word for $name {
            const WORDS: &'static [(&'static str, Self)] = &[$(($word, Self::$value)),+];
        }
    };
}

words! {
    /// How instant messages to the peer travel.
    ImMode {
        /// MESSAGE outside a dialog (RFC 3428).
        Page = "page",
        /// INVITE with `m=message … sip null`, then MESSAGE in its dialog.
        Session = "session",
    }
}

words! {
    /// What carries the messages of sessions that we open.
    SessionBy {
        /// The dialog of the INVITE (`m=message … sip null`).
        Dialog = "dialog",
        /// MSRP (RFC 4975), where the gateway is set up for it; the dialog elsewhere.
        Msrp = "msrp",
    }
}

words! {
    /// Whether MSRP runs over TLS.
    MsrpTls {
        /// In our offers where SIP does; as the peer wishes in its own.
        Auto = "auto",
        /// Always: offers without it are refused.
        Always = "always",
        /// Never in our offers; as the peer wishes in its own.
        Never = "never",
    }
}

words! {
    /// The media type in the `m=` line of our session offers. Answers repeat the word of the offer.
    SessionWord {
        /// `m=message`
        Message = "message",
        /// `m=x-ms-message`
        XMsMessage = "x-ms-message",
    }
}

words! {
    /// What becomes of a text inside an INVITE (`ms-text-format`).
    FirstMessage {
        /// It is delivered; the 200 waits for that, and says `Supported: ms-text-format`, so that it is not sent again.
        Take = "take",
        /// It is kept back, and delivered when no MESSAGE follows the ACK.
        Wait = "wait",
        /// It is not looked at: the peer sends it again as MESSAGE.
        Ignore = "ignore",
    }
}

words! {
    /// How the peer is told that somebody is typing.
    Typing {
        /// INFO with `KeyboardActivity`, inside a session only.
        Keyboard = "keyboard",
        /// MESSAGE with an isComposing document (RFC 3994).
        IsComposing = "iscomposing",
        /// Not at all.
        Off = "off",
    }
}

words! {
    /// Whether the peer is told outside a session that somebody is typing (RFC 3994 §4).
    PageTyping {
        /// Not at all.
        Off = "off",
        /// Users who have shown that they understand it.
        Known = "known",
        /// Everybody, until he refuses it.
        Always = "always",
    }
}

words! {
    /// Whether a message outside a session travels in a wrapper (`message/cpim`) that asks for receipts (RFC 5438).
    PageWrapper {
        /// Never.
        None = "none",
        /// To users who have shown that they understand wrappers.
        Known = "known",
        /// To everybody, until he refuses it.
        Always = "always",
    }
}

words! {
    /// What becomes of a message that is too long for one MESSAGE outside a session (RFC 7572 §6).
    LongMessages {
        /// It is refused.
        Refuse = "refuse",
        /// It opens a session. Where the peer takes none, it is refused.
        Session = "session",
        /// It goes out in parts.
        Split = "split",
    }
}

words! {
    /// What our session descriptions say that we take (`a=accept-types`).
    SessionTypes {
        /// Plain text, so that peers convert what they have.
        Plain = "plain",
        /// Everything that is converted here: HTML, RTF, alternatives.
        Rich = "rich",
    }
}

words! {
    /// The host in our `Contact`.
    ContactHost {
        /// The gateway's own.
        Gateway = "gateway",
        /// The user's XMPP domain: what the rule of an Edge is about.
        Domain = "domain",
    }
}

words! {
    /// What a watcher sees while the XMPP user has not decided.
    PendingShows {
        /// No document (RFC 3856 §6.6.2).
        Nothing = "nothing",
        /// A document that says offline.
        Offline = "offline",
    }
}

words! {
    /// What a peer that reads states is told in place of XMPP's `dnd`.
    DndShows {
        /// Do not disturb: its users cannot write to the XMPP user without being warned.
        DoNotDisturb = "do-not-disturb",
        /// Busy.
        Busy = "busy",
    }
}

words! {
    /// What a peer that reads states is told in place of XMPP's `xa`.
    XaShows {
        /// Away.
        Away = "away",
        /// Off work.
        OffWork = "off-work",
        /// Out of office.
        OutOfOffice = "out-of-office",
    }
}

words! {
    /// The answer to an Edge that offers compression (NEGOTIATE).
    Negotiate {
        /// 488.
        Refuse = "refuse",
        /// 200 with `Compression: None`.
        None = "none",
    }
}

/// The habits of one peer: a row of the table, or such a row with an administrator's changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Behaviour {
    /// How messages go out.
    pub im: ImMode,
    /// Whether the other way is tried when the peer refuses the first.
    pub im_fallback: bool,
    /// 403 to a message outside a session means that it takes none, and not that this one is forbidden.
    pub forbids_pages: bool,
    /// What carries the messages of sessions that we open.
    pub session_by: SessionBy,
    /// Whether MSRP runs over TLS.
    pub msrp_tls: MsrpTls,
    /// The word of our session offers.
    pub session_word: SessionWord,
    /// What our session descriptions accept.
    pub session_types: SessionTypes,
    /// A session without traffic ends after this time.
    pub session_idle: Duration,
    /// How long an INVITE of ours may wait for its answer: the peer may ask every device of the user.
    pub invite_wait: Duration,
    /// What becomes of text inside an INVITE.
    pub first_message: FirstMessage,
    /// How typing is told.
    pub typing: Typing,
    /// How long a typing notice of the peer holds when it is not repeated.
    pub typing_holds: Duration,
    /// Who is told of typing outside a session.
    pub page_typing: PageTyping,
    /// Whose messages outside a session have a wrapper that asks for receipts.
    pub page_wrapper: PageWrapper,
    /// What becomes of a message that is too long to go outside a session.
    pub long_messages: LongMessages,
    /// Presence documents that our SUBSCRIBEs accept, the best first.
    pub presence_ask: Cow<'static, [Format]>,
    /// Presence documents that watchers get, the best first, as far as they accept them.
    pub presence_tell: Cow<'static, [Format]>,
    /// One tuple stands for all devices of a user.
    pub one_tuple: bool,
    /// What it is told in place of `dnd`.
    pub dnd_shows: DndShows,
    /// What it is told in place of `xa`.
    pub xa_shows: XaShows,
    /// What a pending watcher sees.
    pub pending_shows: PendingShows,
    /// The first document rides in the 200 when the watcher offers it (`ms-piggyback-first-notify`).
    pub piggyback: bool,
    /// NOTIFYs go unanswered when the watcher offers it (`ms-benotify`).
    pub benotify: bool,
    /// A new subscription of one device of a watcher ends the one before.
    pub one_dialog: bool,
    /// A probe is asked on its own (RFC 8048 §7.1), also while a dialog is being set up that will answer it.
    pub probe_polls: bool,
    /// The host in `Contact`.
    pub contact_host: ContactHost,
    /// The answer to NEGOTIATE.
    pub negotiate: Negotiate,
    /// Requests a second to the peer; 0 means no limit.
    pub requests_per_second: u32,
    /// `ms-diagnostics` and its like are sent.
    pub diagnostics: bool,
}

impl Behaviour {
    /// The states that XMPP's sub-states become for this peer.
    #[must_use]
    pub fn told(&self) -> Told {
        Told {
            dnd: match self.dnd_shows {
                DndShows::DoNotDisturb => State::DoNotDisturb,
                DndShows::Busy => State::Busy,
            },
            xa: match self.xa_shows {
                XaShows::Away => State::ExtendedAway,
                XaShows::OffWork => State::OffWork,
                XaShows::OutOfOffice => State::OutOfOffice,
            },
        }
    }
}

/// An administrator's changes to a [`Behaviour`]; `None` leaves a column as it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[expect(
    missing_docs,
    reason = "each field is the column of Behaviour of the same name"
)]
pub struct Overrides {
    pub im: Option<ImMode>,
    pub im_fallback: Option<bool>,
    pub forbids_pages: Option<bool>,
    pub session_by: Option<SessionBy>,
    pub msrp_tls: Option<MsrpTls>,
    pub session_word: Option<SessionWord>,
    pub session_types: Option<SessionTypes>,
    pub session_idle: Option<Duration>,
    pub invite_wait: Option<Duration>,
    pub first_message: Option<FirstMessage>,
    pub typing: Option<Typing>,
    pub typing_holds: Option<Duration>,
    pub page_typing: Option<PageTyping>,
    pub page_wrapper: Option<PageWrapper>,
    pub long_messages: Option<LongMessages>,
    pub presence_ask: Option<Vec<Format>>,
    pub presence_tell: Option<Vec<Format>>,
    pub one_tuple: Option<bool>,
    pub dnd_shows: Option<DndShows>,
    pub xa_shows: Option<XaShows>,
    pub pending_shows: Option<PendingShows>,
    pub piggyback: Option<bool>,
    pub benotify: Option<bool>,
    pub one_dialog: Option<bool>,
    pub probe_polls: Option<bool>,
    pub contact_host: Option<ContactHost>,
    pub negotiate: Option<Negotiate>,
    pub requests_per_second: Option<u32>,
    pub diagnostics: Option<bool>,
}

impl Overrides {
    /// The behaviour with these changes.
    #[must_use]
    pub fn apply(&self, mut to: Behaviour) -> Behaviour {
        macro_rules! change {
            ($($column:ident),+) => { $(if let Some(value) = self.$column { to.$column = value; })+ };
        }
        change!(
            im,
            im_fallback,
            forbids_pages,
            session_by,
            msrp_tls,
            session_word,
            session_types,
            session_idle,
            invite_wait,
            first_message,
            typing,
            typing_holds,
            page_typing,
            page_wrapper,
            long_messages,
            one_tuple,
            dnd_shows,
            xa_shows,
            pending_shows,
            piggyback,
            benotify,
            one_dialog,
            probe_polls,
            contact_host,
            negotiate,
            requests_per_second,
            diagnostics
        );
        if let Some(formats) = &self.presence_ask {
            to.presence_ask = Cow::Owned(formats.clone());
        }
        if let Some(formats) = &self.presence_tell {
            to.presence_tell = Cow::Owned(formats.clone());
        }
        to
    }
}

/// What the settings say of one domain's dialect.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rule {
    /// The profile; `None` is `auto`.
    pub profile: Option<Profile>,
    /// Changes to its columns.
    pub overrides: Overrides,
}

#[cfg(test)]
mod tests;
