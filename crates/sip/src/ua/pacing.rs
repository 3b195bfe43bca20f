//! How fast requests of ours go to one partner: an Edge blocks whoever sends it more than it likes.
//!
//! Each lane is one partner's server. Urgent requests (messages, sessions) go before others (subscriptions and
//! notifications), but not always, so that presence never stands still.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// Urgent requests in a row before another one that waits gets its turn.
const URGENT_ROW: u8 = 4;

/// The server that requests go to, and how many a second.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Lane {
    /// By which name its requests are counted together.
    pub(super) name: String,
    /// Requests a second; 0: as many as there are.
    pub(super) per_second: u32,
}

/// Which requests go first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Urgency {
    /// Somebody waits for it.
    Urgent,
    /// It may take its time, and stands still while the partner is overloaded.
    Background,
}

/// What becomes of an item.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Turn<T> {
    /// It is its turn.
    Go(T),
    /// It waited too long.
    TooLate(T),
    /// There is no room to wait.
    NoRoom(T),
}

/// All lanes. Their names are those of the settings, and of the domains that were found ([`Pacer::forget`]).
#[derive(Debug)]
pub(super) struct Pacer<T> {
    lanes: BTreeMap<String, State<T>>,
}

#[derive(Debug)]
struct State<T> {
    per_second: u32,
    urgent: VecDeque<Waiting<T>>,
    background: VecDeque<Waiting<T>>,
    /// When the next request would go if none ever went early (the virtual schedule of a leaky bucket).
    schedule: Duration,
    /// Background requests wait until then.
    paused_until: Duration,
    /// Urgent requests that went while others waited.
    urgent_row: u8,
}

#[derive(Debug)]
struct Waiting<T> {
    item: T,
    until: Duration,
}

impl<T> Default for Pacer<T> {
    fn default() -> Self {
        Self {
            lanes: BTreeMap::new(),
        }
    }
}

impl<T> Pacer<T> {
    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.lanes
            .values()
            .map(|lane| lane.urgent.len() + lane.background.len())
            .sum()
    }

    /// Lets an item go or wait. Each queue of a lane holds `room` items.
    pub(super) fn offer(
        &mut self,
        lane: &Lane,
        urgency: Urgency,
        item: T,
        (until, room): (Duration, usize),
        now: Duration,
    ) -> Option<Turn<T>> {
        let state = self.lane(&lane.name);
        state.per_second = lane.per_second;
        if state.is_free(urgency, now) {
            state.charge(now);
            return Some(Turn::Go(item));
        }
        let queue = state.queue(urgency);
        if queue.len() >= room {
            return Some(Turn::NoRoom(item));
        }
        queue.push_back(Waiting { item, until });
        None
    }

    /// Everything that waits.
    pub(super) fn waiting(&self) -> impl Iterator<Item = &T> {
        let queues = self.lanes.values();
        let queues = queues.flat_map(|lane| lane.urgent.iter().chain(&lane.background));
        queues.map(|waiting| &waiting.item)
    }

    /// Nobody goes to that server any more.
    pub(super) fn forget(&mut self, name: &str) {
        let is_idle = |lane: &State<T>| lane.urgent.is_empty() && lane.background.is_empty();
        if self.lanes.get(name).is_some_and(is_idle) {
            self.lanes.remove(name);
        }
    }

    /// A request went out of turn, such as one that is sent again with a password.
    pub(super) fn charge(&mut self, name: &str, now: Duration) {
        self.lane(name).charge(now);
    }

    /// Takes out one that waits.
    pub(super) fn withdraw(&mut self, is_it: impl Fn(&T) -> bool) -> Option<T> {
        self.lanes
            .values_mut()
            .flat_map(|lane| [&mut lane.urgent, &mut lane.background])
            .find_map(|queue| {
                let at = queue.iter().position(|waiting| is_it(&waiting.item))?;
                queue.remove(at)
            })
            .map(|waiting| waiting.item)
    }

    /// The partner asks for silence.
    pub(super) fn pause(&mut self, name: &str, until: Duration) {
        let state = self.lane(name);
        state.paused_until = state.paused_until.max(until);
    }

    /// The next item whose wait is over.
    pub(super) fn poll(&mut self, now: Duration) -> Option<Turn<T>> {
        self.lanes.values_mut().find_map(|lane| lane.poll(now))
    }

    /// When [`Pacer::poll`] has something again.
    pub(super) fn next_timeout(&self) -> Option<Duration> {
        self.lanes.values().filter_map(State::next_timeout).min()
    }

    fn lane(&mut self, name: &str) -> &mut State<T> {
        self.lanes.entry(name.to_owned()).or_insert_with(State::new)
    }
}

impl<T> State<T> {
    const fn new() -> Self {
        Self {
            per_second: 0,
            urgent: VecDeque::new(),
            background: VecDeque::new(),
            schedule: Duration::ZERO,
            paused_until: Duration::ZERO,
            urgent_row: 0,
        }
    }

    fn queue(&mut self, urgency: Urgency) -> &mut VecDeque<Waiting<T>> {
        match urgency {
            Urgency::Urgent => &mut self.urgent,
            Urgency::Background => &mut self.background,
        }
    }

    fn interval(&self) -> Duration {
        Duration::from_secs(1)
            .checked_div(self.per_second)
            .unwrap_or_default()
    }

    /// When the bucket lets the next request go. A third of a second's worth may go at once: an Edge that takes 20 a
    /// second is never sent more than that in any second at a rate of 15.
    fn open_at(&self) -> Duration {
        let early = (self.per_second / 3).max(1) - 1;
        self.schedule.saturating_sub(self.interval() * early)
    }

    fn charge(&mut self, now: Duration) {
        self.schedule = self.schedule.max(now) + self.interval();
    }

    /// Whether a new item need not wait at all.
    fn is_free(&self, urgency: Urgency, now: Duration) -> bool {
        let first = match urgency {
            Urgency::Urgent => self.urgent.is_empty(),
            Urgency::Background => {
                self.urgent.is_empty() && self.background.is_empty() && self.paused_until <= now
            }
        };
        first && self.open_at() <= now
    }

    fn poll(&mut self, now: Duration) -> Option<Turn<T>> {
        for queue in [&mut self.urgent, &mut self.background] {
            let late = queue.front().is_some_and(|waiting| waiting.until <= now);
            if late && let Some(waiting) = queue.pop_front() {
                return Some(Turn::TooLate(waiting.item));
            }
        }
        if self.open_at() > now {
            return None;
        }
        let waiting = self.take_next(now)?;
        self.charge(now);
        Some(Turn::Go(waiting.item))
    }

    fn take_next(&mut self, now: Duration) -> Option<Waiting<T>> {
        let background = !self.background.is_empty() && self.paused_until <= now;
        if self.urgent.is_empty() || (background && self.urgent_row >= URGENT_ROW) {
            self.urgent_row = 0;
            return background.then(|| self.background.pop_front()).flatten();
        }
        self.urgent_row = if background { self.urgent_row + 1 } else { 0 };
        self.urgent.pop_front()
    }

    fn next_timeout(&self) -> Option<Duration> {
        let urgent = self
            .urgent
            .front()
            .map(|waiting| self.open_at().min(waiting.until));
        let background = self
            .background
            .front()
            .map(|waiting| self.open_at().max(self.paused_until).min(waiting.until));
        [urgent, background].into_iter().flatten().min()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LATE: Duration = Duration::from_secs(600);

    fn lane(per_second: u32) -> Lane {
        Lane {
            name: "edge".to_owned(),
            per_second,
        }
    }

    /// Everything that goes in one stretch of time, waking up exactly when asked to.
    fn run(pacer: &mut Pacer<u32>, from: Duration, to: Duration) -> Vec<(Duration, u32)> {
        let mut gone = Vec::new();
        let mut now = from;
        loop {
            while let Some(turn) = pacer.poll(now) {
                match turn {
                    Turn::Go(item) => gone.push((now, item)),
                    other => panic!("{other:?}"),
                }
            }
            match pacer.next_timeout().filter(|at| *at <= to) {
                Some(at) => {
                    assert!(at > now, "it asks to be woken for nothing");
                    now = at;
                }
                None => return gone,
            }
        }
    }

    fn fill(
        pacer: &mut Pacer<u32>,
        rate: u32,
        urgency: Urgency,
        items: std::ops::Range<u32>,
    ) -> u32 {
        let mut gone = 0;
        for item in items {
            match pacer.offer(&lane(rate), urgency, item, (LATE, 10_000), Duration::ZERO) {
                Some(Turn::Go(_)) => gone += 1,
                None => {}
                other => panic!("{other:?}"),
            }
        }
        gone
    }

    #[test]
    fn a_thousand_refreshes_go_at_the_rate_and_never_above_twenty_in_a_second() {
        let mut pacer = Pacer::default();
        let at_once = fill(&mut pacer, 15, Urgency::Background, 0..1000);
        assert_eq!(at_once, 5);
        let gone = run(&mut pacer, Duration::ZERO, LATE);
        assert_eq!(gone.len(), 995);
        let last = gone.last().unwrap().0;
        assert!(
            (Duration::from_secs(66)..Duration::from_secs(67)).contains(&last),
            "{last:?}"
        );
        let times: Vec<Duration> = std::iter::repeat_n(Duration::ZERO, 5)
            .chain(gone.iter().map(|(at, _)| *at))
            .collect();
        let second = Duration::from_secs(1);
        for (index, start) in times.iter().enumerate() {
            let within = times[index..]
                .iter()
                .take_while(|at| **at < *start + second);
            assert!(within.count() <= 20);
        }
    }

    #[test]
    fn messages_overtake_refreshes_but_do_not_stop_them() {
        let mut pacer = Pacer::default();
        fill(&mut pacer, 10, Urgency::Background, 0..100);
        fill(&mut pacer, 10, Urgency::Urgent, 1000..1020);
        let gone: Vec<u32> = run(&mut pacer, Duration::ZERO, LATE)
            .iter()
            .map(|(_, item)| *item)
            .collect();
        assert_eq!(gone[..6], [1000, 1001, 1002, 1003, 3, 1004]);
        let urgent: Vec<u32> = gone.iter().copied().filter(|item| *item >= 1000).collect();
        assert_eq!(urgent, (1000..1020).collect::<Vec<_>>(), "in order");
        assert_eq!(gone.len(), 97 + 20);
    }

    #[test]
    fn a_pause_holds_back_what_is_not_urgent() {
        let mut pacer = Pacer::default();
        let until = Duration::from_secs(30);
        pacer.pause("edge", until);
        assert_eq!(
            fill(&mut pacer, 0, Urgency::Urgent, 0..3),
            3,
            "no rate, no wait"
        );
        assert_eq!(fill(&mut pacer, 0, Urgency::Background, 3..6), 0);
        let gone = run(&mut pacer, Duration::ZERO, LATE);
        assert_eq!(gone, [(until, 3), (until, 4), (until, 5)]);
    }

    #[test]
    fn waiting_ends_in_time_and_room_is_bounded() {
        let mut pacer = Pacer::default();
        let (now, until) = (Duration::ZERO, Duration::from_secs(1));
        pacer.pause("edge", LATE);
        let offer = |pacer: &mut Pacer<u32>, item| {
            pacer.offer(&lane(1), Urgency::Background, item, (until, 2), now)
        };
        assert_eq!(offer(&mut pacer, 1), None);
        assert_eq!(offer(&mut pacer, 2), None);
        assert_eq!(offer(&mut pacer, 3), Some(Turn::NoRoom(3)));
        assert_eq!(pacer.len(), 2);
        assert_eq!(pacer.next_timeout(), Some(until));
        assert_eq!(pacer.poll(until), Some(Turn::TooLate(1)));
        assert_eq!(pacer.poll(until), Some(Turn::TooLate(2)));
        assert_eq!(pacer.poll(until), None);
        assert_eq!(pacer.next_timeout(), None);
    }

    #[test]
    fn one_that_waits_can_be_withdrawn() {
        let mut pacer = Pacer::default();
        fill(&mut pacer, 1, Urgency::Urgent, 0..4);
        assert_eq!(pacer.withdraw(|item| *item == 2), Some(2));
        assert_eq!(pacer.withdraw(|item| *item == 2), None);
        let gone = run(&mut pacer, Duration::ZERO, LATE);
        let gone: Vec<u32> = gone.iter().map(|(_, item)| *item).collect();
        assert_eq!(gone, [1, 3]);
    }

    proptest! {
        /// Whatever comes when: nothing is lost, and no window of a second takes more than rate and burst.
        #[test]
        fn the_rate_holds(rate in 1_u32..40, arrivals in prop::collection::vec((0_u64..5_000, any::<bool>()), 1..200)) {
            let mut arrivals = arrivals;
            arrivals.sort_unstable();
            let mut pacer = Pacer::default();
            let mut times = Vec::new();
            let mut now = Duration::ZERO;
            for (millis, urgent) in &arrivals {
                let next = Duration::from_millis(*millis);
                while let Some(at) = pacer.next_timeout().filter(|at| *at < next) {
                    now = at;
                    while let Some(Turn::Go(())) = pacer.poll(now) { times.push(now); }
                }
                now = next.max(now);
                let urgency = if *urgent { Urgency::Urgent } else { Urgency::Background };
                if pacer.offer(&lane(rate), urgency, (), (LATE, 1000), now).is_some() { times.push(now); }
            }
            while let Some(at) = pacer.next_timeout() {
                now = now.max(at);
                while let Some(Turn::Go(())) = pacer.poll(now) { times.push(now); }
            }
            prop_assert_eq!(times.len(), arrivals.len());
            let most = (rate + (rate / 3).max(1)) as usize;
            for (index, start) in times.iter().enumerate() {
                let end = *start + Duration::from_secs(1);
                prop_assert!(times[index..].iter().take_while(|at| **at < end).count() <= most);
            }
        }
    }
}
