use super::*;

/// Every pair of a state and an event has one row, and no row names a pair twice.
macro_rules! table_is_total {
    ($name:ident, $machine:ident, $events:expr) => {
        #[test]
        fn $name() {
            for state in $machine::State::ALL {
                for event in $events {
                    let rows = $machine::TABLE
                        .iter()
                        .map(|row| {
                            let states = row.states.iter().filter(|s| **s == state).count();
                            states * row.events.iter().filter(|e| **e == event).count()
                        })
                        .sum::<usize>();
                    assert_eq!(rows, 1, "{state:?} {event:?}");
                    assert!($machine::step(state, event).is_some());
                }
            }
            let pairs: usize = $machine::TABLE
                .iter()
                .map(|row| row.states.len() * row.events.len())
                .sum();
            assert_eq!(pairs, $machine::State::ALL.len() * $events.len());
        }
    };
}

table_is_total!(
    watch_table_is_total,
    watch,
    [
        watch::Event::Subscribe,
        watch::Event::Unsubscribe,
        watch::Event::Online,
        watch::Event::Offline,
        watch::Event::Probe,
        watch::Event::NotifyPending,
        watch::Event::NotifyActive,
        watch::Event::EndedAgain,
        watch::Event::EndedLater,
        watch::Event::EndedForNow,
        watch::Event::EndedConstant,
        watch::Event::Rejected,
        watch::Event::Refused,
        watch::Event::Failed,
        watch::Event::Closed,
        watch::Event::RetryDue,
        watch::Event::UserGone,
    ]
);

table_is_total!(
    watched_table_is_total,
    watched,
    [
        watched::Event::FirstArrived,
        watched::Event::Arrived,
        watched::Event::Polled,
        watched::Event::Refreshed,
        watched::Event::Left,
        watched::Event::LastLeft,
        watched::Event::Broken,
        watched::Event::LastBroken,
        watched::Event::Approved,
        watched::Event::Denied,
        watched::Event::Missing,
        watched::Event::Unserved,
        watched::Event::Forbidden,
        watched::Event::Unreachable,
        watched::Event::Changed,
    ]
);

/// What leaves a granted state for good strikes the authorisation out, and what enters one writes it down.
#[test]
fn the_store_follows_the_tables() {
    use watch::{Action, State};
    for row in watch::TABLE {
        let Some(next) = row.next else { continue };
        for state in row.states {
            let stored = state.is_asked() || state.is_granted();
            let keeps = next.is_asked() || next.is_granted();
            let has = |action| row.actions.contains(&action);
            assert_eq!(has(Action::StoreRemove), stored && !keeps, "{row:?}");
            assert_eq!(has(Action::StoreAsked), !stored && keeps, "{row:?}");
            assert_eq!(
                has(Action::StoreGranted),
                state.is_asked() && next.is_granted(),
                "{row:?}"
            );
        }
        if next == State::Waiting || next == State::AskLater {
            assert!(row.actions.contains(&Action::Retry), "{row:?}");
        }
    }
}
