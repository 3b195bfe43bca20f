//! What is still to be written, where it could not be at once.

use std::collections::BTreeMap;

use stox_core::vocab::{Pair, Ref, StoreOut};

/// Subjects at most. Well above what there can be of messages; a store that fails goes on being asked for contacts.
const MAX_OWED: usize = 100_000;

/// What a command changes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Subject {
    Message(Ref),
    Contact(Pair),
    Dialect(String),
}

/// Commands that nobody gives again. Of those about the same only the last counts.
#[derive(Debug, Default)]
pub struct Owed {
    commands: BTreeMap<Subject, StoreOut>,
    /// That something was left out has been logged.
    told: bool,
}

impl Owed {
    /// Whether such a command may wait: what it says stands until it is changed.
    #[must_use]
    pub fn takes(command: &StoreOut) -> bool {
        subject(command).is_some()
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.commands.is_empty()
    }

    /// Takes a command. One that may not wait, or has no room, is left out.
    pub fn push(&mut self, command: StoreOut) {
        let Some(subject) = subject(&command) else {
            return;
        };
        if self.commands.len() >= MAX_OWED && !self.commands.contains_key(&subject) {
            if !std::mem::replace(&mut self.told, true) {
                tracing::error!(
                    limit = MAX_OWED,
                    "the store has failed for so long that outcomes and subscriptions are forgotten at the next start; check \
                     disk space and permissions of gateway.state_dir"
                );
            }
            return;
        }
        self.told &= !self.commands.is_empty();
        self.commands.insert(subject, command);
    }

    /// A message is kept again: that it may be struck out was said of the time before.
    pub fn withdraw(&mut self, reference: Ref) {
        self.commands.remove(&Subject::Message(reference));
    }

    /// The next command, which does not wait any more.
    pub fn pop(&mut self) -> Option<StoreOut> {
        self.commands.pop_first().map(|(_, command)| command)
    }

    /// So many of the next commands.
    #[must_use]
    pub fn first(&self, count: usize) -> Vec<StoreOut> {
        self.commands.values().take(count).cloned().collect()
    }

    /// They are written.
    pub fn drop_first(&mut self, count: usize) {
        for _ in 0..count {
            self.commands.pop_first();
        }
    }
}

fn subject(command: &StoreOut) -> Option<Subject> {
    match command {
        StoreOut::Put { pair, .. } | StoreOut::Remove(pair) => Some(Subject::Contact(pair.clone())),
        StoreOut::Settle(reference) => Some(Subject::Message(*reference)),
        StoreOut::Learn(lesson) => Some(Subject::Dialect(lesson.domain.clone())),
        StoreOut::Keep(_) | StoreOut::Record(_) | StoreOut::Amend(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use stox_core::address::{Scheme, SipAddress};
    use stox_core::vocab::{Direction, Grant};

    use super::*;

    fn pair(number: usize) -> Pair {
        Pair {
            direction: Direction::SipWatchesXmpp,
            xmpp: format!("u{number}@jabber.example").parse().unwrap(),
            sip: SipAddress {
                scheme: Scheme::Sip,
                user: Some("bruno".to_owned()),
                host: "ocs.example".to_owned(),
                gr: None,
            },
        }
    }

    fn put(number: usize) -> StoreOut {
        StoreOut::Put {
            pair: pair(number),
            grant: Grant::Granted,
        }
    }

    #[test]
    fn the_last_word_about_something_counts() {
        let mut owed = Owed::default();
        owed.push(put(1));
        owed.push(StoreOut::Settle(Ref(7)));
        owed.push(StoreOut::Remove(pair(1)));
        owed.push(StoreOut::Settle(Ref(7)));
        assert_eq!(
            owed.first(9),
            [StoreOut::Settle(Ref(7)), StoreOut::Remove(pair(1))]
        );
        owed.drop_first(1);
        assert_eq!(owed.pop(), Some(StoreOut::Remove(pair(1))));
        assert!(owed.is_empty());
    }

    #[test]
    fn what_is_kept_again_is_not_struck_out() {
        let mut owed = Owed::default();
        owed.push(StoreOut::Settle(Ref(7)));
        owed.push(StoreOut::Settle(Ref(8)));
        owed.withdraw(Ref(7));
        assert_eq!(owed.first(9), [StoreOut::Settle(Ref(8))]);
    }

    #[test]
    fn it_is_bounded_and_what_waits_can_still_change() {
        let mut owed = Owed::default();
        (0..MAX_OWED).for_each(|number| owed.push(put(number)));
        owed.push(put(MAX_OWED));
        owed.push(StoreOut::Remove(pair(0)));
        let all = owed.first(usize::MAX);
        assert_eq!(all.len(), MAX_OWED);
        assert!(all.contains(&StoreOut::Remove(pair(0))));
        assert!(!all.contains(&put(0)));
    }
}
