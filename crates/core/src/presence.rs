//! Presence values: the map between XMPP's sub-states, SIP's activities and the states of office systems, and between
//! one document per user and one stanza per resource (RFC 8048 §6, RFC 4480 §3.2).

use std::collections::BTreeMap;

use crate::vocab::{Document, Show, State, Text, Tuple};

mod aggregate;
mod announced;
mod phrases;
mod resources;
mod states;
mod status;

pub use aggregate::{Told, aggregate, leading};
pub use announced::{Announced, Announcement};
pub use phrases::{LANGUAGES, Language, text_of};
pub use resources::Resources;
pub use states::{Mark, Phrase, SHOWN, STATES, Shown, StateRow};

/// The largest number of resources of one user, or tuples of one document, that are looked at.
pub const MAX_RESOURCES: usize = 16;

/// The largest number of notes that one device may have, one per language.
const MAX_NOTES: usize = 8;

/// Longest note that is kept, in characters.
const MAX_NOTE: usize = 1024;

/// How XMPP users see SIP users, as far as an administrator may choose.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rules {
    /// Language of the standard status texts.
    pub language: Language,
    /// States that are shown in another way than [`STATES`] says.
    pub shown: BTreeMap<State, Shown>,
}

impl Rules {
    /// What XMPP users see of a state.
    #[must_use]
    pub fn shown(&self, state: State) -> Shown {
        self.shown
            .get(&state)
            .copied()
            .unwrap_or_else(|| state.row().shown)
    }
}

/// The activity that a sub-state becomes on the way to SIP. `xa` becomes `away`, the nearest that plain clients know;
/// `chat` has none.
#[must_use]
pub fn activity_of(show: Show) -> Option<&'static str> {
    State::sent_for(Shown::Available(Some(show))).row().activity
}

/// The state that the activities name. The device's own go first, then the person's, then the device's in older forms
/// (PVAL-38). Notes never count.
#[must_use]
pub fn state_of_activities(tuple: &Tuple, document: &Document) -> Option<State> {
    let known = |names: &[String]| names.iter().find_map(|name| State::of_activity(name));
    known(&tuple.activities)
        .or_else(|| known(&document.activities))
        .or_else(|| known(&tuple.legacy_activities))
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

#[cfg(test)]
mod tests;
