//! The table.

use std::borrow::Cow;
use std::time::Duration;

use super::{
    Behaviour, ContactHost, DndShows, FirstMessage, ImMode, LongMessages, MsrpTls, Negotiate,
    PageTyping, PageWrapper, PendingShows, SessionBy, SessionTypes, SessionWord, Typing, Word,
    XaShows,
};
use crate::adapt::presence::Format;

/// A kind of SIP server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Profile {
    /// Any server that keeps to the RFCs, such as Kamailio.
    Simple,
    /// Office Communications Server 2007 and 2007 R2.
    Ocs2007R2,
    /// Live Communications Server 2005.
    Lcs2005,
    /// Lync 2010 and 2013.
    Lync,
    /// Skype for Business 2015 and 2019.
    Skype,
}

impl Word for Profile {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("simple", Self::Simple),
        ("ocs2007r2", Self::Ocs2007R2),
        ("lcs2005", Self::Lcs2005),
        ("lync", Self::Lync),
        ("skype", Self::Skype),
    ];
}

/// One kind of server and its habits.
#[derive(Debug, Clone)]
pub struct ProfileRow {
    /// Which.
    pub profile: Profile,
    /// For people.
    pub product: &'static str,
    /// How it behaves.
    pub behaviour: Behaviour,
}

/// All kinds.
pub static PROFILES: [ProfileRow; 5] = [
    row(Profile::Simple, "SIMPLE server", SIMPLE),
    row(
        Profile::Ocs2007R2,
        "Office Communications Server 2007 R2",
        MICROSOFT,
    ),
    row(Profile::Lcs2005, "Live Communications Server 2005", LCS),
    row(Profile::Lync, "Lync 2010 or 2013", MICROSOFT),
    row(Profile::Skype, "Skype for Business", MICROSOFT),
];

impl Profile {
    /// Its row.
    #[must_use]
    pub fn row(self) -> &'static ProfileRow {
        let [simple, ocs, lcs, lync, skype] = &PROFILES;
        match self {
            Self::Simple => simple,
            Self::Ocs2007R2 => ocs,
            Self::Lcs2005 => lcs,
            Self::Lync => lync,
            Self::Skype => skype,
        }
    }

    /// One of Microsoft's.
    #[must_use]
    pub const fn is_microsoft(self) -> bool {
        !matches!(self, Self::Simple)
    }
}

const SIMPLE: Behaviour = Behaviour {
    im: ImMode::Page,
    im_fallback: false,
    forbids_pages: false,
    session_by: SessionBy::Msrp,
    msrp_tls: MsrpTls::Auto,
    session_word: SessionWord::Message,
    session_types: SessionTypes::Rich,
    session_idle: Duration::from_secs(600),
    invite_wait: Duration::from_secs(60),
    first_message: FirstMessage::Take,
    typing: Typing::IsComposing,
    typing_holds: Duration::from_secs(120), // RFC 3994 §3.3
    // A peer that does not know a type may show it as text, or, as baresip, refuse each with 415.
    page_typing: PageTyping::Known,
    page_wrapper: PageWrapper::Known,
    // RFC 7572 §6. The peers of this row that were tried take no session, and parts are a change to the message.
    long_messages: LongMessages::Refuse,
    presence_ask: Cow::Borrowed(&[Format::Pidf]),
    presence_tell: Cow::Borrowed(&[Format::Pidf]),
    one_tuple: false,
    dnd_shows: DndShows::DoNotDisturb,
    xa_shows: XaShows::Away,
    pending_shows: PendingShows::Nothing,
    piggyback: false,
    benotify: false,
    one_dialog: false,
    probe_polls: true,
    contact_host: ContactHost::Gateway,
    negotiate: Negotiate::Refuse,
    requests_per_second: 0,
    diagnostics: false,
};

// COMPAT(ocs, lync, skype). Remembered or inferred rather than measured, and therefore worth changing when a peer
// disagrees: that page-mode MESSAGE is refused, which host an Edge wants in Contact, the idle time, the answer to
// NEGOTIATE, how long a typing notice holds.
const MICROSOFT: Behaviour = Behaviour {
    im: ImMode::Session,
    session_by: SessionBy::Dialog,
    im_fallback: true,
    forbids_pages: true,
    session_types: SessionTypes::Plain,
    typing: Typing::Keyboard,
    typing_holds: Duration::from_secs(15),
    page_typing: PageTyping::Off,
    page_wrapper: PageWrapper::None,
    // What it takes of any length.
    long_messages: LongMessages::Session,
    // The server picks categories before PIDF when both are listed; they alone tell notes, calls and meetings.
    presence_ask: Cow::Borrowed(&[Format::Categories, Format::MsrtcPidf, Format::Pidf]),
    one_tuple: true,
    pending_shows: PendingShows::Offline,
    piggyback: true,
    one_dialog: true,
    probe_polls: false,
    contact_host: ContactHost::Domain,
    requests_per_second: 15,
    diagnostics: true,
    ..SIMPLE
};

// COMPAT(lcs).
const LCS: Behaviour = Behaviour {
    session_word: SessionWord::XMsMessage,
    presence_ask: Cow::Borrowed(&[Format::MsrtcPidf, Format::Pidf, Format::Xpidf]),
    presence_tell: Cow::Borrowed(&[Format::Pidf, Format::MsrtcPidf, Format::Xpidf]),
    ..MICROSOFT
};

const fn row(profile: Profile, product: &'static str, behaviour: Behaviour) -> ProfileRow {
    ProfileRow {
        profile,
        product,
        behaviour,
    }
}
