//! Presence: what a user, a device, a document says.

use std::time::Duration;

use super::Text;

/// The four availability sub-states of XMPP (RFC 6121 §4.7.2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Show {
    /// `chat`
    Chat,
    /// `away`
    Away,
    /// `xa`
    ExtendedAway,
    /// `dnd`
    DoNotDisturb,
}

/// What a user does or is ready for, as office systems tell it. [`crate::presence::STATES`] says what each is called
/// on either side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// Can be reached.
    Available,
    /// Wants to be reached: `chat` of XMPP.
    FreeForChat,
    /// Available, but has not touched a key for a while.
    Inactive,
    /// Busy.
    Busy,
    /// On the telephone.
    InACall,
    /// In a conference call.
    InAConference,
    /// In a meeting.
    InAMeeting,
    /// Busy, and has not touched a key for a while.
    BusyInactive,
    /// Wants no interruption.
    DoNotDisturb,
    /// Gives a presentation.
    Presenting,
    /// May be interrupted for urgent things only.
    UrgentOnly,
    /// Comes back in a moment.
    BeRightBack,
    /// Away.
    Away,
    /// Out to lunch.
    OutToLunch,
    /// Away for long: `xa` of XMPP.
    ExtendedAway,
    /// Off work.
    OffWork,
    /// Out of office.
    OutOfOffice,
    /// Offline, or wants to look so.
    Offline,
    /// Not told.
    Unknown,
}

/// What one device or resource of a user shows.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Tuple {
    /// The resource, or the tuple id with our own prefix taken off. Stable over time, unique in a document.
    pub id: String,
    /// `basic`: `Some(true)` open, `Some(false)` closed, `None` not said.
    pub open: Option<bool>,
    /// Sub-state said outright (XMPP show, or the show extension of RFC 8048).
    pub show: Option<Show>,
    /// A state told outright, by a format that has such; it goes before `open` and the activities.
    pub state: Option<State>,
    /// The peer's own words for that state, by language.
    pub state_texts: Vec<Text>,
    /// RPID activity names (RFC 4480 §3.2) that belong to this tuple, such as `away`, `busy`, `on-the-phone`.
    pub activities: Vec<String>,
    /// Activity names in older, pre-RFC forms; looked at last (PVAL-38).
    pub legacy_activities: Vec<String>,
    /// Free text for people, by language.
    pub notes: Vec<Text>,
    /// XMPP priority, -128 to 127.
    pub priority: Option<i8>,
    /// When this state began, since 1970 UTC.
    pub since: Option<Duration>,
    /// Last user input, since 1970 UTC.
    pub idle_since: Option<Duration>,
}

/// The full state of one user: a tuple for each device. What a presence document says.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Document {
    /// Name for people, where the document has one.
    pub name: Option<String>,
    /// One entry per device. Empty: offline (PVAL-34).
    pub tuples: Vec<Tuple>,
    /// Activities of the person rather than of one device.
    pub activities: Vec<String>,
    /// Notes about the person; used where a tuple has none.
    pub notes: Vec<Text>,
}

/// The presence of one XMPP resource as its stanza says it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ResourcePresence {
    /// Sub-state, when legal.
    pub show: Option<Show>,
    /// Status texts by language.
    pub statuses: Vec<Text>,
    /// Priority, when said and legal. Not said, it counts as 0 (RFC 6121 §4.7.2.3).
    pub priority: Option<i8>,
    /// `xml:lang` of the stanza.
    pub lang: Option<String>,
    /// XEP-0203 stamp, since 1970 UTC.
    pub stamp: Option<Duration>,
    /// XEP-0319 last interaction, since 1970 UTC.
    pub idle_since: Option<Duration>,
}

/// What a presence stanza means (RFC 6121 §4.7.1).
#[derive(Debug, Clone, PartialEq)]
pub enum PresenceKind {
    /// No type: this resource is available.
    Available(ResourcePresence),
    /// `unavailable`, with its status texts.
    Unavailable(Vec<Text>),
    /// `subscribe`
    Subscribe,
    /// `subscribed`
    Subscribed,
    /// `unsubscribe`
    Unsubscribe,
    /// `unsubscribed`
    Unsubscribed,
    /// `probe`
    Probe,
}
