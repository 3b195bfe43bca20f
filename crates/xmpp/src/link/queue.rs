//! The stanzas that a link keeps, in the order in which they are written.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use minidom::Element;
use stox_core::failure::{Failure, Local};
use stox_core::vocab::Ref;
use xmpp_parsers::ns;

use super::Outgoing;
use crate::stream::write::stanza_to_wire;

/// A stanza that has been written so often goes out alone from then on: if it is what the partner closes streams over,
/// it takes no others with it.
const SUSPECT_AFTER: u32 = 2;

/// What a stanza is to the queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    /// Somebody waits for its fate.
    Message,
    /// Presence that tells a state: only the last from and to the same addresses matters.
    State(Addresses),
    /// What a room says of an occupant: the order counts, so none takes another's place. A flood of them costs no contact
    /// his presence.
    Occupant,
    /// An answer to a query: whoever asks more than is read loses answers.
    Answer,
    /// Everything else (errors, subscriptions): nothing would repeat it.
    Report,
}

pub(super) type Addresses = (String, String);

impl Kind {
    pub(super) fn of(outgoing: &Outgoing) -> Self {
        let element = &outgoing.element;
        let attr = |name: &str| element.attr(name).unwrap_or_default().to_owned();
        let is_error = element.attr("type") == Some("error");
        if outgoing.reference.is_some() && !is_error {
            return Self::Message;
        }
        match (element.name(), element.attr("type")) {
            ("presence", _) if element.has_child("x", ns::MUC_USER) => Self::Occupant,
            ("presence", None | Some("unavailable")) => Self::State((attr("from"), attr("to"))),
            ("iq", _) => Self::Answer,
            _ => Self::Report,
        }
    }
}

/// One stanza.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Item {
    pub(super) reference: Option<Ref>,
    element: Arc<Element>,
    deadline: Duration,
    octets: usize,
    writes: u32,
    addresses: Option<Addresses>,
    /// Somebody waits for its fate.
    awaited: bool,
}

impl Item {
    /// The stanza.
    pub(super) fn element(&self) -> &Arc<Element> {
        &self.element
    }

    pub(super) fn new(reference: Option<Ref>, element: Element, deadline: Duration) -> Self {
        Self {
            reference,
            octets: stanza_to_wire(&element).len(),
            element: Arc::new(element),
            deadline,
            writes: 0,
            addresses: None,
            awaited: false,
        }
    }

    /// What to say of it when it is given up for this reason. What was written may have arrived, whatever hinders the next
    /// stream.
    pub(super) fn fate(&self, failure: Failure) -> Failure {
        if self.writes > 0 && !failure.leaves_doubt() {
            return Failure::Local(Local::OutcomeUnknown);
        }
        failure
    }

    /// Its size on the wire.
    pub(super) fn octets(&self) -> usize {
        self.octets
    }

    /// Leaves out what people wrote beside a state or an error, if it fits the limit then. What a message says is never
    /// shortened.
    pub(super) fn shorten(&mut self, limit: usize) -> bool {
        let mut element = Element::clone(&self.element);
        let default = element.ns();
        if element.attr("type") == Some("error") {
            if let Some(error) = element.get_child_mut("error", default.as_str()) {
                while error.remove_child("text", ns::XMPP_STANZAS).is_some() {}
            }
        } else if element.name() == "presence" {
            while element.remove_child("status", default.as_str()).is_some() {}
        }
        let octets = stanza_to_wire(&element).len();
        if octets > limit {
            return false;
        }
        self.octets = octets;
        self.element = Arc::new(element);
        true
    }
}

/// There is no room for it.
#[derive(Debug, PartialEq)]
pub(super) struct Refusal {
    pub(super) item: Item,
    /// How many others made room in vain.
    pub(super) replaced: u64,
}

/// Stanzas by number: first those in flight (written to the present stream), then those to be written.
#[derive(Debug)]
pub(super) struct Queue {
    limit: usize,
    limit_octets: usize,
    items: BTreeMap<u64, Item>,
    deadlines: BTreeSet<(Duration, u64)>,
    /// Deadlines of those for whose fate somebody waits.
    urgent_deadlines: BTreeSet<(Duration, u64)>,
    /// State presence that no stream has carried yet.
    states: BTreeMap<Addresses, u64>,
    oldest_states: BTreeSet<u64>,
    octets: usize,
    next_number: u64,
    /// The first number not written to the present stream.
    next_write: u64,
    in_flight: usize,
    in_flight_octets: usize,
    /// The first number that no fence on the present stream covers.
    unfenced_from: u64,
    /// A fence should not wait.
    urgent: bool,
}

impl Queue {
    pub(super) fn new(limit: usize, limit_octets: usize) -> Self {
        Self {
            limit,
            limit_octets,
            items: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            urgent_deadlines: BTreeSet::new(),
            states: BTreeMap::new(),
            oldest_states: BTreeSet::new(),
            octets: 0,
            next_number: 0,
            next_write: 0,
            in_flight: 0,
            in_flight_octets: 0,
            unfenced_from: 0,
            urgent: false,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    pub(super) fn unwritten(&self) -> usize {
        self.items.len() - self.in_flight
    }

    pub(super) fn in_flight(&self) -> usize {
        self.in_flight
    }

    pub(super) fn octets(&self) -> usize {
        self.octets
    }

    pub(super) fn has_awaited(&self) -> bool {
        !self.urgent_deadlines.is_empty()
    }

    pub(super) fn next_deadline(&self) -> Option<Duration> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    /// Appends a stanza; tells how many were replaced for it.
    pub(super) fn push(&mut self, kind: Kind, mut item: Item) -> Result<u64, Refusal> {
        let mut replaced = 0;
        let reserve = if kind == Kind::Report { 4 } else { 0 };
        item.awaited = kind == Kind::Message;
        if let Kind::State(addresses) = kind {
            replaced += u64::from(self.replace(&addresses));
            item.addresses = Some(addresses);
        }
        let gives_way = item.addresses.is_some() || reserve > 0;
        while !self.has_room(&item, reserve) {
            if !gives_way || !self.drop_oldest_state() {
                return Err(Refusal { item, replaced });
            }
            replaced += 1;
        }
        self.insert(item);
        Ok(replaced)
    }

    /// Makes each fit that limit, before any is written to a stream. What was too large comes back with its size, and
    /// with itself where it could not be shortened.
    pub(super) fn fit(&mut self, limit: usize) -> Vec<(usize, Option<Item>)> {
        let larger: Vec<u64> = self
            .items
            .iter()
            .filter(|(_, item)| item.octets > limit)
            .map(|(number, _)| *number)
            .collect();
        let mut fitted = Vec::new();
        for number in larger {
            let Some(item) = self.items.get_mut(&number) else {
                continue;
            };
            let before = item.octets;
            if item.shorten(limit) {
                self.octets -= before - item.octets;
                fitted.push((before, None));
            } else {
                fitted.push((before, self.remove(number)));
            }
        }
        fitted
    }

    /// Hands out the next stanza if the window allows. One that is suspect waits until it is alone.
    pub(super) fn write_next(&mut self, window_octets: usize) -> Option<Arc<Element>> {
        let alone = self.in_flight == 0;
        let behind_suspect = !alone
            && self
                .items
                .first_key_value()
                .is_some_and(|(_, first)| first.writes > SUSPECT_AFTER);
        let (number, item) = self.items.range_mut(self.next_write..).next()?;
        let suspect = item.writes >= SUSPECT_AFTER;
        let fits = self.in_flight_octets.saturating_add(item.octets) <= window_octets;
        if !alone && (suspect || behind_suspect || !fits) {
            // What is in the way leaves behind a fence only.
            self.urgent = true;
            return None;
        }
        item.writes = item.writes.saturating_add(1);
        self.in_flight += 1;
        self.in_flight_octets += item.octets;
        self.urgent |= item.reference.is_some() || suspect;
        self.next_write = *number + 1;
        let (number, element) = (*number, Arc::clone(&item.element));
        if let Some(addresses) = item.addresses.take() {
            self.states.remove(&addresses);
            self.oldest_states.remove(&number);
        }
        Some(element)
    }

    /// There are stanzas in flight that no fence covers.
    pub(super) fn wants_fence(&self) -> bool {
        self.items
            .range(self.unfenced_from..)
            .next()
            .is_some_and(|(number, _)| *number < self.next_write)
    }

    /// Somebody waits for that fence, or more stanzas do.
    pub(super) fn is_fence_urgent(&self) -> bool {
        self.urgent
    }

    /// A fence is written here: the number below which it covers all.
    pub(super) fn fence(&mut self) -> u64 {
        self.urgent = false;
        self.unfenced_from = self.next_write;
        self.next_write
    }

    /// A fence has passed all below that number.
    pub(super) fn pass(&mut self, covers: u64) -> Vec<Item> {
        let numbers: Vec<u64> = self.items.range(..covers).map(|(n, _)| *n).collect();
        self.take(numbers)
    }

    /// Removes those below that number for which somebody waits. The others count as not fenced.
    pub(super) fn take_awaited_below(&mut self, covers: u64) -> Vec<Item> {
        self.unfenced_from = 0;
        let numbers = self
            .items
            .range(..covers)
            .filter(|(_, item)| item.awaited)
            .map(|(number, _)| *number)
            .collect();
        self.take(numbers)
    }

    /// Removes those with a deadline not after that time for which somebody waits, in their order.
    pub(super) fn take_awaited_due_by(&mut self, time: Duration) -> Vec<Item> {
        let mut numbers: Vec<u64> = self
            .urgent_deadlines
            .range(..=(time, u64::MAX))
            .map(|(_, number)| *number)
            .collect();
        numbers.sort_unstable();
        self.take(numbers)
    }

    /// Removes one whose deadline has come.
    pub(super) fn expire(&mut self, now: Duration) -> Option<Item> {
        let (deadline, number) = *self.deadlines.first()?;
        if deadline > now {
            return None;
        }
        self.remove(number)
    }

    /// The stream is gone, or answers on it are: all are to be written again, save those that have been rewritten often enough.
    pub(super) fn rewind(&mut self, resend: u32) -> Vec<Item> {
        let worn_out = self
            .items
            .range(..self.next_write)
            .filter(|(_, item)| item.writes > resend)
            .map(|(number, _)| *number)
            .collect();
        let worn_out = self.take(worn_out);
        self.next_write = 0;
        self.unfenced_from = 0;
        self.in_flight = 0;
        self.in_flight_octets = 0;
        self.urgent = false;
        worn_out
    }

    /// Removes all.
    pub(super) fn drain(&mut self) -> Vec<Item> {
        self.pass(u64::MAX)
    }

    fn has_room(&self, item: &Item, reserve: usize) -> bool {
        let extra = |limit: usize| limit.checked_div(reserve).unwrap_or(0);
        self.items.len() < self.limit + extra(self.limit)
            && self.octets.saturating_add(item.octets)
                <= self.limit_octets + extra(self.limit_octets)
    }

    fn insert(&mut self, item: Item) {
        let number = self.next_number;
        self.next_number += 1;
        self.octets += item.octets;
        self.deadlines.insert((item.deadline, number));
        if item.awaited {
            self.urgent_deadlines.insert((item.deadline, number));
        }
        if let Some(addresses) = &item.addresses {
            self.states.insert(addresses.clone(), number);
            self.oldest_states.insert(number);
        }
        self.items.insert(number, item);
    }

    fn replace(&mut self, addresses: &Addresses) -> bool {
        self.states
            .get(addresses)
            .copied()
            .and_then(|number| self.remove(number))
            .is_some()
    }

    fn drop_oldest_state(&mut self) -> bool {
        self.oldest_states
            .first()
            .copied()
            .and_then(|number| self.remove(number))
            .is_some()
    }

    fn take(&mut self, numbers: Vec<u64>) -> Vec<Item> {
        numbers
            .into_iter()
            .filter_map(|number| self.remove(number))
            .collect()
    }

    fn remove(&mut self, number: u64) -> Option<Item> {
        let item = self.items.remove(&number)?;
        self.octets -= item.octets;
        self.deadlines.remove(&(item.deadline, number));
        if item.awaited {
            self.urgent_deadlines.remove(&(item.deadline, number));
        }
        if let Some(addresses) = &item.addresses {
            self.states.remove(addresses);
            self.oldest_states.remove(&number);
        }
        if number < self.next_write {
            self.in_flight -= 1;
            self.in_flight_octets -= item.octets;
        }
        Some(item)
    }
}
