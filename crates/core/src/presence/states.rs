//! The states of a user as office systems name them, and what each is called on either side: the one table that both
//! directions are driven from.

use crate::vocab::{Show, State};

/// How a state looks to XMPP users.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Shown {
    /// Unavailable.
    Unavailable,
    /// Available, with this sub-state.
    Available(Option<Show>),
}

/// The values of [`Shown`] by name, as settings and documents write them.
pub const SHOWN: [(&str, Shown); 6] = [
    ("available", Shown::Available(None)),
    ("chat", Shown::Available(Some(Show::Chat))),
    ("away", Shown::Available(Some(Show::Away))),
    ("xa", Shown::Available(Some(Show::ExtendedAway))),
    ("dnd", Shown::Available(Some(Show::DoNotDisturb))),
    ("unavailable", Shown::Unavailable),
];

impl Shown {
    /// Its name in [`SHOWN`].
    #[must_use]
    pub fn name(self) -> &'static str {
        SHOWN
            .iter()
            .find(|(_, shown)| *shown == self)
            .map_or("available", |(name, _)| name)
    }
}

/// A standard status text; [`crate::presence::text_of`] has the words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phrase {
    /// In a call
    InACall,
    /// In a conference
    InAConference,
    /// In a meeting
    InAMeeting,
    /// Presenting
    Presenting,
    /// Urgent interruptions only
    UrgentOnly,
    /// Be right back
    BeRightBack,
    /// Out to lunch
    OutToLunch,
    /// Off work
    OffWork,
    /// Out of office
    OutOfOffice,
}

/// How far what a row says about XMPP is backed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// Seen with a real peer.
    Measured,
    /// Written in a specification or a manual.
    Documented,
    /// Our choice, because nothing settles it: a setting can change it.
    Chosen,
}

/// One row of the state map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StateRow {
    /// State.
    pub state: State,
    /// Its name in settings and documents.
    pub name: &'static str,
    /// What XMPP users see.
    pub shown: Shown,
    /// Said as status text there, where the sub-state alone would hide it.
    pub phrase: Option<Phrase>,
    /// Backing of the two.
    pub mark: Mark,
    /// What an XMPP user shows when SIP users see this state.
    pub sent_for: Option<Shown>,
    /// Availability numbers in which the token has this meaning: lowest, highest.
    pub range: (u32, u32),
    /// The number to publish.
    pub publish: u32,
    /// A number in [`StateRow::range`] without a known token means this state.
    pub by_number: bool,
    /// Activity token.
    pub token: Option<&'static str>,
    /// The activity in a PIDF document. Office systems read `away` and `busy` there; any other word shows as
    /// available.
    pub activity: Option<&'static str>,
    /// Other activity names that mean this state (RFC 4480 §3.2, and older spellings).
    pub also: &'static [&'static str],
    /// Availability and activity of the 2005 format, as published.
    pub levels: (u32, u32),
    /// Activity numbers of the 2005 format from which on this state is meant.
    pub levels_from: &'static [u32],
    /// Status word and sub-status of the peer-to-peer format.
    pub words: (&'static str, &'static str),
}

const NOTHING: StateRow = StateRow {
    state: State::Unknown,
    name: "unknown",
    shown: Shown::Unavailable,
    phrase: None,
    mark: Mark::Chosen,
    sent_for: None,
    range: (0, 2999),
    publish: 0,
    by_number: false,
    token: None,
    activity: None,
    also: &[],
    levels: (0, 0),
    levels_from: &[],
    words: ("closed", "unknown"),
};

const AVAILABLE: Shown = Shown::Available(None);
const CHAT: Shown = Shown::Available(Some(Show::Chat));
const AWAY: Shown = Shown::Available(Some(Show::Away));
const XA: Shown = Shown::Available(Some(Show::ExtendedAway));
const DND: Shown = Shown::Available(Some(Show::DoNotDisturb));

/// Numbers without upper limit.
const MAX: u32 = u32::MAX;

/// The state map. Of several rows that fit, the first counts.
///
/// Sources: the availability classes and tokens of the Lync schema and of the Office Communicator deployment guides;
/// the numbers of 2005 and what a client makes of each document as measured with pidgin-sipe 1.25; RFC 4480 §3.2 and
/// RFC 8048 §6 for activities of plain SIMPLE peers.
#[rustfmt::skip]
pub const STATES: [StateRow; 19] = [
    StateRow { state: State::Available, name: "available", shown: AVAILABLE, mark: Mark::Measured, sent_for: Some(AVAILABLE),
        range: (3000, 4499), publish: 3500, by_number: true,
        levels: (300, 400), levels_from: &[400, 800], words: ("open", "online"), ..NOTHING },
    StateRow { state: State::FreeForChat, name: "free-for-chat", shown: CHAT, mark: Mark::Documented, sent_for: Some(CHAT),
        range: (3000, 4499), publish: 3500, also: &["chat"], // COMPAT(RFC 3922): sub-states by their XMPP names
        levels: (300, 400), words: ("open", "online"), ..NOTHING },
    StateRow { state: State::Inactive, name: "inactive", shown: AWAY,
        range: (4500, 5999), publish: 5000, by_number: true, token: Some("idle"), activity: Some("away"),
        levels: (200, 200), levels_from: &[200], words: ("open", "idle"), ..NOTHING },
    StateRow { state: State::Busy, name: "busy", shown: DND,
        range: (6000, 7499), publish: 6500, by_number: true, token: Some("busy"), activity: Some("busy"),
        levels: (300, 600), levels_from: &[600], words: ("inuse", "busy"), ..NOTHING },
    StateRow { state: State::InACall, name: "in-a-call", shown: DND, phrase: Some(Phrase::InACall),
        range: (6000, 8999), publish: 6500, token: Some("on-the-phone"), activity: Some("busy"),
        levels: (300, 500), levels_from: &[500], words: ("inuse", "onthephone"), ..NOTHING },
    StateRow { state: State::InAConference, name: "in-a-conference", shown: DND, phrase: Some(Phrase::InAConference),
        range: (6000, 8999), publish: 7000, token: Some("in-a-conference"), activity: Some("busy"),
        levels: (300, 500), words: ("inuse", "onthephone"), ..NOTHING },
    StateRow { state: State::InAMeeting, name: "in-a-meeting", shown: DND, phrase: Some(Phrase::InAMeeting),
        range: (6000, 8999), publish: 6500, token: Some("in-a-meeting"), activity: Some("busy"), also: &["meeting"],
        levels: (300, 600), words: ("inuse", "busy"), ..NOTHING },
    StateRow { state: State::BusyInactive, name: "busy-inactive", shown: DND,
        range: (7500, 8999), publish: 7750, by_number: true, token: Some("busyidle"), activity: Some("busy"),
        levels: (300, 600), words: ("inuse", "busy"), ..NOTHING },
    StateRow { state: State::DoNotDisturb, name: "do-not-disturb", shown: DND, mark: Mark::Measured, sent_for: Some(DND),
        range: (9000, 11_999), publish: 9500, by_number: true, token: Some("do-not-disturb"), activity: Some("busy"),
        also: &["dnd"], // COMPAT(RFC 3922)
        levels: (300, 600), words: ("inuse", "busy"), ..NOTHING },
    StateRow { state: State::Presenting, name: "presenting", shown: DND, phrase: Some(Phrase::Presenting),
        range: (9000, 11_999), publish: 9500, token: Some("in-presentation"), activity: Some("busy"),
        levels: (300, 600), words: ("inuse", "busy"), ..NOTHING },
    // A team member sees 9500, everybody else 6900.
    StateRow { state: State::UrgentOnly, name: "urgent-only", shown: DND, phrase: Some(Phrase::UrgentOnly),
        range: (6000, 11_999), publish: 9500, token: Some("urgent-interruptions-only"), activity: Some("busy"),
        levels: (300, 600), words: ("inuse", "busy"), ..NOTHING },
    StateRow { state: State::BeRightBack, name: "be-right-back", shown: AWAY, phrase: Some(Phrase::BeRightBack), mark: Mark::Documented,
        range: (12_000, 14_999), publish: 12_500, by_number: true, token: Some("be-right-back"), activity: Some("away"),
        levels: (300, 300), levels_from: &[300], words: ("open", "berightback"), ..NOTHING },
    StateRow { state: State::Away, name: "away", shown: AWAY, mark: Mark::Measured, sent_for: Some(AWAY),
        range: (15_000, 17_999), publish: 15_500, by_number: true, token: Some("away"), activity: Some("away"), also: &["meal"],
        levels: (300, 100), levels_from: &[1, 700], words: ("open", "away"), ..NOTHING },
    StateRow { state: State::OutToLunch, name: "out-to-lunch", shown: AWAY, phrase: Some(Phrase::OutToLunch),
        range: (12_000, 17_999), publish: 15_500, token: Some("out-to-lunch"), activity: Some("away"),
        levels: (300, 150), levels_from: &[150], words: ("open", "outtolunch"), ..NOTHING },
    StateRow { state: State::ExtendedAway, name: "extended-away", shown: XA, mark: Mark::Documented, sent_for: Some(XA),
        range: (15_000, 17_999), publish: 15_500, activity: Some("away"),
        also: &["vacation", "holiday", "sleeping", "permanent-absence", "xa"], // the last: COMPAT(RFC 3922)
        levels: (300, 100), words: ("open", "away"), ..NOTHING },
    StateRow { state: State::OffWork, name: "off-work", shown: XA, phrase: Some(Phrase::OffWork),
        range: (15_000, 17_999), publish: 15_500, token: Some("off-work"), activity: Some("away"),
        levels: (300, 100), words: ("open", "away"), ..NOTHING },
    StateRow { state: State::OutOfOffice, name: "out-of-office", shown: XA, phrase: Some(Phrase::OutOfOffice),
        range: (15_000, 17_999), publish: 15_500, token: Some("out-of-office"), activity: Some("away"),
        levels: (300, 100), words: ("open", "away"), ..NOTHING },
    StateRow { state: State::Offline, name: "offline", mark: Mark::Measured, sent_for: Some(Shown::Unavailable),
        range: (18_000, MAX), publish: 18_500, by_number: true, token: Some("offline"), ..NOTHING },
    StateRow { state: State::Unknown, by_number: true, ..NOTHING },
];

impl State {
    /// Its row.
    #[must_use]
    pub fn row(self) -> &'static StateRow {
        first(|row| row.state == self)
    }

    /// What an availability number with its activity token means. A token counts where its number fits: the number
    /// says how available the user is, the token only why.
    #[must_use]
    pub fn of_availability(number: u32, token: Option<&str>) -> Self {
        let inside = |row: &StateRow| (row.range.0..=row.range.1).contains(&number);
        let named = |row: &StateRow| {
            token
                .zip(row.token)
                .is_some_and(|(said, own)| said.eq_ignore_ascii_case(own))
        };
        STATES
            .iter()
            .find(|row| named(row) && inside(row))
            .unwrap_or_else(|| first(|row| row.by_number && inside(row)))
            .state
    }

    /// What an activity token alone means.
    #[must_use]
    pub fn of_token(token: &str) -> Option<Self> {
        STATES
            .iter()
            .find(|row| row.token.is_some_and(|own| own.eq_ignore_ascii_case(token)))
            .map(|row| row.state)
    }

    /// What availability and activity of the 2005 format mean. An activity between two known ones counts as the lower;
    /// activity 0 says nothing.
    #[must_use]
    pub fn of_levels(availability: u32, activity: u32) -> Self {
        if availability < 100 {
            return Self::Offline;
        }
        let lower = |row: &'static StateRow| {
            row.levels_from
                .iter()
                .filter(|from| **from <= activity)
                .map(move |from| (*from, row.state))
        };
        let known = STATES.iter().flat_map(lower).max_by_key(|(from, _)| *from);
        match known {
            Some((_, state)) => state,
            None if availability >= 300 => Self::Available,
            None if availability >= 200 => Self::Inactive,
            None => Self::Away,
        }
    }

    /// What status word and sub-status of the peer-to-peer format mean.
    #[must_use]
    pub fn of_words(status: &str, substatus: Option<&str>) -> Self {
        if status.eq_ignore_ascii_case("closed") {
            return Self::Offline;
        }
        let named = |row: &&StateRow| {
            row.words.0 != "closed"
                && substatus.is_some_and(|said| said.eq_ignore_ascii_case(row.words.1))
        };
        match STATES.iter().find(named) {
            Some(row) => row.state,
            None if status.eq_ignore_ascii_case("inuse") => Self::Busy,
            None => Self::Available,
        }
    }

    /// What an activity of a PIDF document means; most mean no state (PVAL-37), and none that the user is gone: `basic`
    /// says that.
    #[must_use]
    pub fn of_activity(name: &str) -> Option<Self> {
        let also = |row: &StateRow| row.also.iter().any(|own| own.eq_ignore_ascii_case(name));
        Self::of_token(name)
            .filter(|state| state.is_open())
            .or_else(|| STATES.iter().find(|row| also(row)).map(|row| row.state))
    }

    /// What SIP users see of an XMPP user who shows this.
    #[must_use]
    pub fn sent_for(shown: Shown) -> Self {
        first(|row| row.sent_for == Some(shown)).state
    }

    /// Whether XMPP's map has the user available.
    #[must_use]
    pub fn is_open(self) -> bool {
        self.row().shown != Shown::Unavailable
    }
}

/// The first row that fits; the last one, unknown, where none does.
fn first(fits: impl Fn(&StateRow) -> bool) -> &'static StateRow {
    let [.., unknown] = &STATES;
    STATES.iter().find(|row| fits(row)).unwrap_or(unknown)
}
