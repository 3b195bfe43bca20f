//! The two subscription machines, as tables.
//!
//! A row says for some states and some events what is done and which state follows. Every pair of a state and an event
//! has exactly one row; a row without actions and without a next state says that the event means nothing there.

pub mod refusal;
pub mod watch;
pub mod watched;

/// One row of a transition table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row<S: 'static, E: 'static, A: 'static> {
    /// In any of these states,
    pub states: &'static [S],
    /// on any of these events,
    pub events: &'static [E],
    /// do this, in order,
    pub actions: &'static [A],
    /// and go there; `None`: stay.
    pub next: Option<S>,
}

impl<S: PartialEq, E: PartialEq, A> Row<S, E, A> {
    /// Whether the row is for this pair.
    #[must_use]
    pub fn is_for(&self, state: S, event: E) -> bool {
        self.states.contains(&state) && self.events.contains(&event)
    }
}

#[cfg(test)]
mod tests;
