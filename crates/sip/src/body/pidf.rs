//! Presence documents: PIDF (RFC 3863) with RPID (RFC 4480), the data model (RFC 4479) and the show extension of
//! RFC 8048 §6, and the display name of RFC 4482.

mod read;
mod write;

pub use read::parse;
pub use write::write;

/// Content type of a PIDF document.
pub const CONTENT_TYPE: &str = "application/pidf+xml";

const PIDF: &str = "urn:ietf:params:xml:ns:pidf";
const DATA_MODEL: &str = "urn:ietf:params:xml:ns:pidf:data-model";
const RPID: &str = "urn:ietf:params:xml:ns:pidf:rpid";
const RPID_STATUS: &str = "urn:ietf:params:xml:ns:pidf:status:rpid-status";
const PIDF_IM: &str = "urn:ietf:params:xml:ns:pidf:im";
const JABBER_CLIENT: &str = "jabber:client";
const CIPID: &str = "urn:ietf:params:xml:ns:pidf:cipid";

/// Namespaces whose elements we know: `mustUnderstand` on them is met (RFC 3863 §4.2.3).
const UNDERSTOOD: [&str; 7] = [
    PIDF,
    DATA_MODEL,
    RPID,
    RPID_STATUS,
    PIDF_IM,
    JABBER_CLIENT,
    CIPID,
];

/// The forms in which an activity is said, newest first: (namespace, element around it, how its name is given, older
/// than RFC 4480). COMPAT(ocs2007r2, lcs2005) speaks the second, COMPAT(RFC 3922 gateways) the fourth.
const ACTIVITY_FORMS: [(&str, Option<&str>, NameIn, bool); 4] = [
    (RPID, Some("activities"), NameIn::Element, false),
    (
        RPID_STATUS,
        Some("activities"),
        NameIn::Text("activity"),
        true,
    ),
    (RPID, Some("activities"), NameIn::Text("activity"), true),
    (PIDF_IM, None, NameIn::Text("im"), true),
];

/// Where the name of an activity stands.
#[derive(Clone, Copy)]
enum NameIn {
    /// It is the name of the element.
    Element,
    /// It is the text of an element of this name.
    Text(&'static str),
}

/// Elements inside `rpid:activities` that are no activity.
const NOT_ACTIVITIES: [&str; 2] = ["note", "activity"];

/// The activities of RFC 4480 §3.2. Any other name is written as the text of `rpid:other`.
const RPID_ACTIVITIES: [&str; 25] = [
    "appointment",
    "away",
    "breakfast",
    "busy",
    "dinner",
    "holiday",
    "in-transit",
    "looking-for-work",
    "lunch",
    "meal",
    "meeting",
    "on-the-phone",
    "performance",
    "permanent-absence",
    "playing",
    "presentation",
    "shopping",
    "sleeping",
    "spectator",
    "steering",
    "travel",
    "tv",
    "unknown",
    "vacation",
    "working",
];

/// The four values of the show extension (RFC 6121 §4.7.2.1).
const SHOWS: [(stox_core::vocab::Show, &str); 4] = [
    (stox_core::vocab::Show::Chat, "chat"),
    (stox_core::vocab::Show::Away, "away"),
    (stox_core::vocab::Show::ExtendedAway, "xa"),
    (stox_core::vocab::Show::DoNotDisturb, "dnd"),
];
