//! Conference state: who is in a conference, and what it is about (RFC 4575).

mod pieces;
mod read;
mod roster;
mod write;

pub use pieces::pieces;
pub use read::parse;
pub use roster::{Applied, Roster};
pub use write::write;

/// Content type of a conference document.
pub const CONTENT_TYPE: &str = "application/conference-info+xml";

const CONFERENCE_INFO: &str = "urn:ietf:params:xml:ns:conference-info";

/// Users of one document, and of one conference, at most; further ones are passed over.
pub const MAX_USERS: usize = 1000;
/// Endpoints of one user at most.
pub const MAX_ENDPOINTS: usize = 8;
/// Roles of one user, and URIs of one conference, at most.
pub const MAX_ENTRIES: usize = 16;
/// Octets of one URI, role or purpose at most; what is longer counts as not said.
pub const MAX_WORD: usize = 1024;
/// Characters of a subject or a description at most; the rest is cut off.
pub const MAX_TEXT: usize = 4096;

/// Octets of the users of one conference at most; the later ones are passed over.
pub const MAX_ROSTER: usize = 1 << 20;

/// How an element stands to what was said before (RFC 4575 §4.5, `state-type`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Extent {
    /// It is all there is to know of it.
    #[default]
    Full,
    /// It tells what has changed.
    Partial,
    /// It is gone.
    Deleted,
}

/// Each extent with its word.
const EXTENTS: [(Extent, &str); 3] = [
    (Extent::Full, "full"),
    (Extent::Partial, "partial"),
    (Extent::Deleted, "deleted"),
];

/// One document (RFC 4575 §5.1). What is `None` was not said.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ConferenceInfo {
    /// The conference URI.
    pub entity: String,
    /// How much it tells.
    pub extent: Extent,
    /// Its number within the subscription, one higher than that of the document before.
    pub version: Option<u32>,
    /// What the conference is.
    pub description: Option<Description>,
    /// How many users there are, those included that are not listed.
    pub user_count: Option<u32>,
    /// Who is in it.
    pub users: Option<Users>,
}

/// What a conference is (RFC 4575 §5.3).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Description {
    /// Its name.
    pub display_text: Option<String>,
    /// What it is about.
    pub subject: Option<String>,
    /// More about it.
    pub free_text: Option<String>,
    /// Other ways to reach it.
    pub uris: Vec<ConferenceUri>,
    /// How many may take part.
    pub maximum_users: Option<u32>,
}

/// A URI of a conference (RFC 4575 §5.3.1).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ConferenceUri {
    /// The URI.
    pub uri: String,
    /// A name for people.
    pub display_text: Option<String>,
    /// What it is for, such as `participation`.
    pub purpose: Option<String>,
}

/// The users of a document.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Users {
    /// Whether others have left.
    pub extent: Extent,
    /// In the order of the document.
    pub list: Vec<User>,
}

/// One participant (RFC 4575 §5.6).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct User {
    /// Its URI: what tells it from the others.
    pub entity: String,
    /// How much is told.
    pub extent: Extent,
    /// The name that it goes by.
    pub display_text: Option<String>,
    /// What it may do there, such as `participant`.
    pub roles: Vec<String>,
    /// Its devices.
    pub endpoints: Vec<Endpoint>,
}

impl User {
    /// Whether the user is in the conference: on some device, or as far as is known.
    #[must_use]
    pub fn is_present(&self) -> bool {
        let here = |endpoint: &Endpoint| endpoint.status.is_none_or(Status::is_present);
        self.endpoints.is_empty() || self.endpoints.iter().any(here)
    }
}

/// One device of a participant (RFC 4575 §5.7).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Endpoint {
    /// Its URI: what tells it from the user's others. Empty where none is given.
    pub entity: String,
    /// How much is told.
    pub extent: Extent,
    /// A name for people.
    pub display_text: Option<String>,
    /// How far it is in the conference.
    pub status: Option<Status>,
}

/// How far a device is in the conference (RFC 4575 §5.7.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Takes part.
    Connected,
    /// Does not take part any more.
    Disconnected,
    /// Takes part, on hold.
    OnHold,
    /// Takes part, muted by the focus.
    MutedViaFocus,
    /// Waits to be let in.
    Pending,
    /// Is called.
    Alerting,
    /// Is calling.
    DialingIn,
    /// Is about to be called.
    DialingOut,
    /// Is about to leave.
    Disconnecting,
}

/// Each status with its word, and whether it takes part.
const STATUSES: [(Status, &str, bool); 9] = [
    (Status::Connected, "connected", true),
    (Status::Disconnected, "disconnected", false),
    (Status::OnHold, "on-hold", true),
    (Status::MutedViaFocus, "muted-via-focus", true),
    (Status::Pending, "pending", false),
    (Status::Alerting, "alerting", false),
    (Status::DialingIn, "dialing-in", false),
    (Status::DialingOut, "dialing-out", false),
    (Status::Disconnecting, "disconnecting", false),
];

impl Status {
    fn is_present(self) -> bool {
        STATUSES.iter().any(|row| row.0 == self && row.2)
    }
}
