//! Presence values: the map between XMPP's sub-states and SIP's activities, and between one document per user and one
//! stanza per resource (RFC 8048 §6, RFC 4480 §3.2).

use crate::vocab::{Document, Show, Text, Tuple};

mod announced;
mod resources;

pub use announced::{Announced, Announcement};
pub use resources::Resources;

/// The largest number of resources of one user, or tuples of one document, that are looked at.
pub const MAX_RESOURCES: usize = 16;

/// The largest number of notes that one device may have, one per language.
const MAX_NOTES: usize = 8;

/// Longest note that is kept, in characters.
const MAX_NOTE: usize = 1024;

/// One row of the presence map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ActivityRow {
    /// Activity name (RFC 4480 §3.2), or its spelling in older documents.
    pub activity: &'static str,
    /// The sub-state that it means.
    pub show: Show,
    /// This activity is what the sub-state becomes on the way to SIP.
    pub written: bool,
}

/// Activities that mean a sub-state; all others mean none (PVAL-05, PVAL-37).
#[rustfmt::skip]
pub const ACTIVITIES: [ActivityRow; 12] = [
    row("away", Show::Away, true),
    row("meal", Show::Away, false),
    row("busy", Show::DoNotDisturb, true),
    row("on-the-phone", Show::DoNotDisturb, false),
    row("meeting", Show::DoNotDisturb, false),
    row("dnd", Show::DoNotDisturb, false), // COMPAT(RFC 3922): sub-states by their XMPP names
    row("vacation", Show::ExtendedAway, false),
    row("holiday", Show::ExtendedAway, false),
    row("sleeping", Show::ExtendedAway, false),
    row("permanent-absence", Show::ExtendedAway, false),
    row("xa", Show::ExtendedAway, false), // COMPAT(RFC 3922)
    row("chat", Show::Chat, false), // COMPAT(RFC 3922)
];

/// The activity that a sub-state becomes on the way to SIP. `xa` becomes `away`, the nearest that plain clients know;
/// `chat` has none.
#[must_use]
pub fn activity_of(show: Show) -> Option<&'static str> {
    let show = match show {
        Show::ExtendedAway => Show::Away,
        other => other,
    };
    ACTIVITIES
        .iter()
        .find(|row| row.written && row.show == show)
        .map(|row| row.activity)
}

/// The sub-state of an open tuple. What the tuple says outright goes first, then its activities, then the person's,
/// then the older forms (PVAL-38). Notes never count.
#[must_use]
pub fn show_of(tuple: &Tuple, document: &Document) -> Option<Show> {
    tuple
        .show
        .or_else(|| first_known(&tuple.activities))
        .or_else(|| first_known(&document.activities))
        .or_else(|| first_known(&tuple.legacy_activities))
}

/// The notes that are kept: those with words in them, one per language, none longer than [`MAX_NOTE`].
fn notes_kept(notes: &[Text]) -> Vec<Text> {
    let mut kept: Vec<Text> = Vec::new();
    for note in notes.iter().filter(|note| !note.text.trim().is_empty()) {
        if kept.len() < MAX_NOTES && kept.iter().all(|other| other.lang != note.lang) {
            kept.push(Text {
                lang: note.lang.clone(),
                text: note.text.chars().take(MAX_NOTE).collect(),
            });
        }
    }
    kept
}

fn first_known(activities: &[String]) -> Option<Show> {
    activities.iter().find_map(|activity| {
        ACTIVITIES
            .iter()
            .find(|row| row.activity.eq_ignore_ascii_case(activity))
            .map(|row| row.show)
    })
}

const fn row(activity: &'static str, show: Show, written: bool) -> ActivityRow {
    ActivityRow {
        activity,
        show,
        written,
    }
}

#[cfg(test)]
mod tests;
