//! One device for the whole user: for peers that look at no more than one.

use crate::vocab::{Document, Show, State, Tuple};

use super::state_of_activities;
use super::states::Shown;

/// The states that XMPP's sub-states become, where peers differ in what they can show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Told {
    /// For `dnd`: [`State::DoNotDisturb`], or [`State::Busy`].
    pub dnd: State,
    /// For `xa`: [`State::ExtendedAway`], or a state with a text of its own such as [`State::OffWork`].
    pub xa: State,
}

impl Default for Told {
    fn default() -> Self {
        Self {
            dnd: State::DoNotDisturb,
            xa: State::ExtendedAway,
        }
    }
}

impl Told {
    fn replace(self, state: State) -> State {
        match state {
            State::DoNotDisturb => self.dnd,
            State::ExtendedAway => self.xa,
            other => other,
        }
    }
}

/// The tuple that speaks for the user: open before closed, then the highest priority, then the one that can be reached
/// best (`chat`, available, `dnd`, `away`, `xa`), then the one changed last.
#[must_use]
pub fn leading(document: &Document) -> Option<&Tuple> {
    let rank = |tuple: &&Tuple| {
        (
            is_open(tuple),
            tuple.priority.unwrap_or_default(),
            reachability(shown(tuple, document)),
            tuple.since,
        )
    };
    // The first of equals.
    document.tuples.iter().rev().max_by_key(rank)
}

/// The document as one tuple with its state spelled out, in every way that it can be said. No tuple at all is offline.
#[must_use]
pub fn aggregate(document: &Document, told: Told) -> Tuple {
    let mut one = leading(document).cloned().unwrap_or_default();
    let state = told.replace(state_of(&one, document));
    if one.notes.is_empty() {
        one.notes.clone_from(&document.notes);
    }
    one.open = Some(state.is_open());
    one.show = None;
    one.state = Some(state);
    let activity: Vec<String> = state
        .row()
        .activity
        .map(str::to_owned)
        .into_iter()
        .collect();
    one.legacy_activities.clone_from(&activity);
    one.activities = activity;
    one
}

fn state_of(tuple: &Tuple, document: &Document) -> State {
    if let Some(state) = tuple.state {
        return state;
    }
    if !is_open(tuple) {
        return State::Offline;
    }
    match tuple.show {
        Some(_) => State::sent_for(Shown::Available(tuple.show)),
        None => state_of_activities(tuple, document).unwrap_or(State::Available),
    }
}

fn shown(tuple: &Tuple, document: &Document) -> Shown {
    match tuple.show {
        Some(_) => Shown::Available(tuple.show),
        None => state_of(tuple, document).row().shown,
    }
}

/// A tuple that names a sub-state is open unless it says otherwise (PVAL-49).
fn is_open(tuple: &Tuple) -> bool {
    tuple.open.unwrap_or(tuple.show.is_some())
}

fn reachability(shown: Shown) -> u8 {
    match shown {
        Shown::Available(Some(Show::Chat)) => 5,
        Shown::Available(None) => 4,
        Shown::Available(Some(Show::DoNotDisturb)) => 3,
        Shown::Available(Some(Show::Away)) => 2,
        Shown::Available(Some(Show::ExtendedAway)) => 1,
        Shown::Unavailable => 0,
    }
}
