//! Receipts: told to who asked, once, and never made up.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::messages::{DESK, from_sip, from_xmpp, kept, message_error, outcome, settled};
use super::*;
use crate::bridge::receipts::{KEPT, MAX_PER_USER, UNASKED};
use crate::failure::Local;
use crate::vocab::{Receipt, Wants};

const DELIVERED: Wants = Wants {
    delivered: true,
    displayed: false,
};
const DISPLAYED: Wants = Wants {
    delivered: false,
    displayed: true,
};
const BOTH: Wants = Wants {
    delivered: true,
    displayed: true,
};

fn wishing(id: &str, wants: Wants) -> Im {
    Im {
        wants,
        ..im(id, "hi")
    }
}

fn told(reference: u64, receipt: Receipt) -> Input {
    failing(reference, Ok(receipt))
}

fn failing(reference: u64, receipt: Result<Receipt, Failure>) -> Input {
    Input::Sip(SipIn::Receipt {
        reference: Ref(reference),
        receipt,
    })
}

fn received(id: &str, receipt: Receipt) -> Input {
    received_from("alma@Jabber.example/phone", id, receipt)
}

fn received_from(from: &str, id: &str, receipt: Receipt) -> Input {
    Input::Xmpp(XmppIn::Receipt {
        from: jid(from),
        to: jid(BRUNO),
        id: id.to_owned(),
        receipt,
    })
}

/// A world in which a message to SIP has been sent as number 1.
fn sent(id: &str, wants: Wants) -> World {
    let mut world = World::new();
    for input in [from_xmpp(BRUNO, wishing(id, wants)), kept(1)] {
        world.bridge.handle(input, world.now);
    }
    world.drain();
    world
}

/// A world in which a message to XMPP has been taken as number 1 of ours and 70 of the adapter's.
fn taken(wants: Wants) -> World {
    let mut world = World::new();
    for input in [from_sip(70, wishing("b1", wants)), settled(1, Ok(()))] {
        world.bridge.handle(input, world.now);
    }
    world.drain();
    world
}

#[test]
fn a_sip_receipt_goes_to_the_device_that_asked() {
    let delivered = "bruno@ocs.example > alma@jabber.example/desk Delivered m1";
    let displayed = "bruno@ocs.example > alma@jabber.example/desk Displayed m1";
    let rows: [(Wants, &[Receipt], &[&str]); 8] = [
        (DELIVERED, &[Receipt::Delivered], &[delivered]),
        (DELIVERED, &[Receipt::Displayed], &[delivered]),
        (DISPLAYED, &[Receipt::Delivered], &[]),
        (DISPLAYED, &[Receipt::Displayed], &[displayed]),
        (BOTH, &[Receipt::Displayed], &[delivered, displayed]),
        (
            BOTH,
            &[Receipt::Delivered, Receipt::Delivered, Receipt::Displayed],
            &[delivered, displayed],
        ),
        (
            BOTH,
            &[Receipt::Displayed, Receipt::Delivered],
            &[delivered, displayed],
        ),
        (Wants::default(), &[Receipt::Displayed], &[]),
    ];
    for (wants, receipts, expected) in rows {
        let mut world = sent("m1", wants);
        // A 2xx is no receipt.
        world.expect(outcome(1, Ok(())), &["settle 1"]);
        for receipt in receipts {
            world.bridge.handle(told(1, *receipt), world.now);
        }
        assert_eq!(world.drain(), expected, "{wants:?} {receipts:?}");
    }
}

#[test]
fn a_message_without_id_has_no_receipt() {
    let mut world = sent("", BOTH);
    world.expect(outcome(1, Ok(())), &["settle 1"]);
    world.expect(told(1, Receipt::Displayed), &[]);
    assert_eq!(world.bridge.status().unmatched_receipts, 1);
}

#[test]
fn a_sip_receipt_waits_for_the_answer() {
    let mut world = sent("m1", BOTH);
    world.expect(told(1, Receipt::Displayed), &[]);
    world.expect(told(1, Receipt::Delivered), &[]);
    world.expect(
        outcome(1, Ok(())),
        &[
            "settle 1",
            "bruno@ocs.example > alma@jabber.example/desk Delivered m1",
            "bruno@ocs.example > alma@jabber.example/desk Displayed m1",
        ],
    );

    let mut world = sent("m1", BOTH);
    world.expect(told(1, Receipt::Delivered), &[]);
    let error = "bruno@ocs.example > alma@jabber.example/desk error m1 recipient-unavailable as 1";
    let busy = Err(Failure::Sip(SipStatus::new(486, "")));
    world.expect(outcome(1, busy), &[error]);
    world.expect(told(1, Receipt::Displayed), &[]);
}

#[test]
fn a_late_failure_is_told_once_and_ends_it() {
    let lost = Err(Failure::Local(Local::Timeout));
    let mut world = sent("m1", BOTH);
    world.expect(outcome(1, Ok(())), &["settle 1"]);
    let error = "bruno@ocs.example > alma@jabber.example/desk error m1 remote-server-timeout as 1";
    world.expect(failing(1, lost.clone()), &["keep 1", error]);
    world.expect(failing(1, lost.clone()), &[]);
    world.expect(told(1, Receipt::Displayed), &[]);

    let mut world = sent("m1", DELIVERED);
    world.expect(outcome(1, Ok(())), &["settle 1"]);
    world.bridge.handle(told(1, Receipt::Delivered), world.now);
    world.drain();
    world.expect(failing(1, lost.clone()), &[]);
}

#[test]
fn a_late_failure_of_a_message_that_asks_for_nothing_is_told_once() {
    let lost = || failing(1, Err(Failure::Local(Local::Timeout)));
    let error = "bruno@ocs.example > alma@jabber.example/desk error m1 remote-server-timeout as 1";
    let none = Wants::default();
    let mut world = sent("m1", none);
    world.expect(outcome(1, Ok(())), &["settle 1"]);
    world.expect(told(2, Receipt::Delivered), &[]);
    world.expect(lost(), &["keep 1", error]);
    world.expect(lost(), &[]);

    // What is said before the answer waits for it; of a receipt that nobody wants nothing is heard.
    let mut world = sent("m1", none);
    world.expect(lost(), &[]);
    world.expect(outcome(1, Ok(())), &["settle 1", "keep 1", error]);
    let mut world = sent("m1", none);
    world.expect(outcome(1, Ok(())), &["settle 1"]);
    world.expect(told(1, Receipt::Displayed), &[]);
    world.expect(lost(), &[]);

    let mut world = sent("m1", none);
    world.expect(outcome(1, Ok(())), &["settle 1"]);
    world.pass(UNASKED.as_secs(), &[]);
    world.expect(lost(), &[]);
}

#[test]
fn an_xmpp_receipt_reaches_the_sip_sender() {
    let rows: [(Wants, &[Receipt], &[&str]); 5] = [
        (DELIVERED, &[Receipt::Delivered], &["Delivered 70"]),
        (DELIVERED, &[Receipt::Displayed], &["Delivered 70"]),
        (DISPLAYED, &[Receipt::Delivered], &[]),
        (
            BOTH,
            &[Receipt::Delivered, Receipt::Displayed, Receipt::Displayed],
            &["Delivered 70", "Displayed 70"],
        ),
        (Wants::default(), &[Receipt::Delivered], &[]),
    ];
    for (wants, receipts, expected) in rows {
        let mut world = taken(wants);
        for receipt in receipts {
            world.bridge.handle(received("b1", *receipt), world.now);
        }
        assert_eq!(world.drain(), expected, "{wants:?} {receipts:?}");
    }
}

#[test]
fn only_the_recipient_can_say_so() {
    let mut world = taken(BOTH);
    for (from, id) in [
        ("dora@jabber.example/x", "b1"),
        ("alma@other.example/x", "b1"),
        (ALMA, "b2"),
    ] {
        world.expect(received_from(from, id, Receipt::Delivered), &[]);
    }
    assert_eq!(world.bridge.status().unmatched_receipts, 3);
    world.expect(
        received_from(ALMA, "b1", Receipt::Delivered),
        &["Delivered 70"],
    );
}

#[test]
fn an_xmpp_receipt_waits_for_the_answer() {
    let mut world = World::new();
    world
        .bridge
        .handle(from_sip(70, wishing("b1", BOTH)), world.now);
    world.drain();
    world.expect(received("b1", Receipt::Delivered), &[]);
    world.expect(settled(1, Ok(())), &["answer 70 200", "Delivered 70"]);

    for (end, answer) in [
        (
            settled(1, Err(Failure::Local(Local::Timeout))),
            "answer 70 504",
        ),
        (
            message_error(ALMA, "b1", Condition::ServiceUnavailable),
            "answer 70 403",
        ),
    ] {
        let mut world = World::new();
        world
            .bridge
            .handle(from_sip(70, wishing("b1", BOTH)), world.now);
        world.drain();
        world.expect(end, &[answer]);
        world.expect(received("b1", Receipt::Displayed), &[]);
    }
}

#[test]
fn what_is_displayed_covers_what_came_before() {
    let mut world = World::new();
    for (reference, id) in [(1, "b1"), (2, "b2"), (3, "b3")] {
        let message = from_sip(70 + reference, wishing(id, BOTH));
        world.bridge.handle(message, world.now);
        world.bridge.handle(settled(reference, Ok(())), world.now);
    }
    world.drain();
    world.expect(received("b1", Receipt::Delivered), &["Delivered 71"]);
    let before = ["Displayed 71", "Delivered 72", "Displayed 72"];
    world.expect(received("b2", Receipt::Displayed), &before);
    world.expect(received("b3", Receipt::Delivered), &["Delivered 73"]);
}

// ----------------------------------------------------------------------------------------- properties

/// What may happen to the messages under way, each named by its place.
#[derive(Debug, Clone)]
enum Event {
    SendToSip(Wants),
    SendToXmpp(Wants),
    /// The final answer to a message to SIP: taken or not.
    Outcome(usize, bool),
    /// What the SIP user's device says, a failure among it.
    SipReceipt(usize, Option<Receipt>),
    /// The fence behind a message to XMPP, or the end of its link.
    Settled(usize, bool),
    XmppError(usize),
    XmppReceipt(usize, Receipt),
    Gone(usize),
    Pass(u64),
    /// The process ends and another one takes up what the store holds.
    Restart,
}

fn any_receipt() -> impl Strategy<Value = Receipt> {
    prop_oneof![Just(Receipt::Delivered), Just(Receipt::Displayed)]
}

fn any_wants() -> impl Strategy<Value = Wants> {
    (any::<bool>(), any::<bool>()).prop_map(|(delivered, displayed)| Wants {
        delivered,
        displayed,
    })
}

fn any_event() -> impl Strategy<Value = Event> {
    let place = 0_usize..6;
    prop_oneof![
        2 => any_wants().prop_map(Event::SendToSip),
        2 => any_wants().prop_map(Event::SendToXmpp),
        3 => (place.clone(), any::<bool>()).prop_map(|(place, taken)| Event::Outcome(place, taken)),
        4 => (place.clone(), prop::option::of(any_receipt()))
            .prop_map(|(place, receipt)| Event::SipReceipt(place, receipt)),
        3 => (place.clone(), any::<bool>()).prop_map(|(place, taken)| Event::Settled(place, taken)),
        1 => place.clone().prop_map(Event::XmppError),
        4 => (place.clone(), any_receipt())
            .prop_map(|(place, receipt)| Event::XmppReceipt(place, receipt)),
        1 => place.prop_map(Event::Gone),
        1 => prop_oneof![0_u64..30, 0_u64..100_000].prop_map(Event::Pass),
        1 => Just(Event::Restart),
    ]
}

/// What the two senders have been told of one message.
#[derive(Debug, Default)]
struct Told {
    wants: Wants,
    receipts: Vec<Receipt>,
    /// He has his answer, or can have none any more.
    answered: bool,
    failed: bool,
}

impl Told {
    fn receipt(&mut self, receipt: Receipt) {
        assert!(!self.receipts.contains(&receipt), "told twice: {self:?}");
        assert!(!self.failed, "told after a failure: {self:?}");
        let wanted = match receipt {
            Receipt::Delivered => self.wants.delivered,
            Receipt::Displayed => self.wants.displayed,
        };
        assert!(wanted, "nobody asked: {self:?}");
        self.receipts.push(receipt);
    }

    fn failure(&mut self) {
        assert!(!self.failed, "failed twice: {self:?}");
        assert!(self.receipts.is_empty(), "failed after a receipt: {self:?}");
        self.failed = true;
    }
}

/// Both adapters: what they were given, and what they have to believe of it.
struct Witness {
    world: World,
    to_sip: Vec<Told>,
    to_xmpp: Vec<Told>,
    /// Names that the bridge has given to messages, in this process.
    sip_refs: BTreeMap<usize, Ref>,
    xmpp_refs: BTreeMap<usize, Ref>,
    stored: BTreeMap<Ref, Unsettled>,
    outcomes: BTreeSet<usize>,
}

impl Witness {
    fn new() -> Self {
        Self {
            world: World::new(),
            to_sip: Vec::new(),
            to_xmpp: Vec::new(),
            sip_refs: BTreeMap::new(),
            xmpp_refs: BTreeMap::new(),
            stored: BTreeMap::new(),
            outcomes: BTreeSet::new(),
        }
    }

    /// The input that an event is, if there is a message for it.
    fn input(&mut self, event: &Event) -> Option<Input> {
        let lost = Failure::Local(Local::Timeout);
        Some(match event {
            Event::SendToSip(wants) => {
                self.to_sip.push(Told {
                    wants: *wants,
                    ..Told::default()
                });
                from_xmpp(
                    BRUNO,
                    wishing(&format!("m{}", self.to_sip.len() - 1), *wants),
                )
            }
            Event::SendToXmpp(wants) => {
                self.to_xmpp.push(Told {
                    wants: *wants,
                    ..Told::default()
                });
                let place = self.to_xmpp.len() - 1;
                from_sip(place as u64, wishing(&format!("b{place}"), *wants))
            }
            Event::Outcome(place, taken) => {
                let reference = *self.sip_refs.get(place)?;
                self.outcomes.insert(*place).then_some(())?;
                // The stanza's sender is told of no success: what he sees is that no error comes.
                outcome(reference.0, if *taken { Ok(()) } else { Err(lost) })
            }
            Event::SipReceipt(place, receipt) => {
                let reference = *self.sip_refs.get(place)?;
                failing(reference.0, receipt.ok_or(lost))
            }
            Event::Settled(place, taken) => {
                let reference = self.xmpp_refs.remove(place)?;
                settled(reference.0, if *taken { Ok(()) } else { Err(lost) })
            }
            Event::XmppError(place) => {
                message_error(DESK, &format!("b{place}"), Condition::ItemNotFound)
            }
            Event::XmppReceipt(place, receipt) => received(&format!("b{place}"), *receipt),
            Event::Gone(place) => {
                self.to_xmpp.get_mut(*place)?.answered = true;
                Input::Sip(SipIn::MessageGone {
                    reference: Ref(u64::try_from(*place).ok()?),
                })
            }
            Event::Pass(_) | Event::Restart => return None,
        })
    }

    fn play(&mut self, event: &Event) {
        match event {
            Event::Pass(seconds) => {
                let later = self.world.now.after(Duration::from_secs(*seconds));
                self.world.now = later;
                self.world.bridge.handle_timeout(later);
            }
            Event::Restart => self.restart(),
            _ => {
                if let Some(input) = self.input(event) {
                    self.world.bridge.handle(input, self.world.now);
                }
            }
        }
        self.watch();
    }

    /// What came of the old process's messages, nobody can say in the new one.
    fn restart(&mut self) {
        let now = self.world.now;
        self.world = World::new();
        self.world.now = now;
        let last = self.stored.keys().next_back().copied();
        self.world
            .bridge
            .number_from(last.unwrap_or(Ref(0)).max(Ref(1000)));
        let left = std::mem::take(&mut self.stored).into_values().collect();
        self.world.bridge.restore(Vec::new(), left, now);
        self.sip_refs.clear();
        self.xmpp_refs.clear();
    }

    fn watch(&mut self) {
        let place = |id: &str| id.trim_start_matches(['m', 'b']).parse::<usize>().unwrap();
        while let Some(command) = self.world.bridge.poll_command() {
            match command {
                Command::Store(StoreOut::Keep(message)) => {
                    let reference = message.reference;
                    self.stored.insert(reference, message);
                    self.world.bridge.handle(kept(reference.0), self.world.now);
                }
                Command::Store(StoreOut::Settle(reference)) => {
                    self.stored.remove(&reference);
                }
                Command::Store(_) => {}
                Command::Sip(SipOut::Message { reference, im, .. }) => {
                    self.sip_refs.insert(place(&im.id.unwrap()), reference);
                }
                Command::Xmpp(XmppOut::Message { reference, im, .. }) => {
                    self.xmpp_refs.insert(place(&im.id.unwrap()), reference);
                }
                Command::Xmpp(XmppOut::Receipt { id, receipt, .. }) => {
                    let number = place(&id);
                    assert!(self.outcomes.contains(&number), "before the answer: {id}");
                    self.to_sip[number].receipt(receipt);
                }
                Command::Xmpp(XmppOut::MessageError { reference, id, .. }) => {
                    self.to_sip[place(&id.unwrap())].failure();
                    // Its server handles it at once.
                    let handled = settled(reference.0, Ok(()));
                    self.world.bridge.handle(handled, self.world.now);
                }
                Command::Sip(SipOut::Receipt { reference, receipt }) => {
                    let told = &mut self.to_xmpp[reference.0 as usize];
                    assert!(told.answered, "before the answer: {told:?}");
                    told.receipt(receipt);
                }
                Command::Sip(SipOut::AnswerMessage { reference, outcome }) => {
                    let told = &mut self.to_xmpp[reference.0 as usize];
                    told.answered = true;
                    if outcome.is_err() {
                        told.failure();
                    }
                }
                other => panic!("{other:?}"),
            }
        }
    }
}

proptest! {
    /// In whatever order receipts, outcomes, errors and restarts come: each kind of receipt is told at most once, only to
    /// who asked, after the answer, and never beside a failure.
    #[test]
    fn receipts_never_contradict(events in prop::collection::vec(any_event(), 0..80)) {
        let mut witness = Witness::new();
        for event in &events {
            witness.play(event);
        }
    }
}

#[test]
fn the_memory_is_bounded_in_time_and_number() {
    let mut world = taken(BOTH);
    world.pass(KEPT.as_secs(), &[]);
    world.expect(received("b1", Receipt::Delivered), &[]);

    let mut world = sent("m1", BOTH);
    world.expect(outcome(1, Ok(())), &["settle 1"]);
    world.pass(KEPT.as_secs(), &[]);
    world.expect(told(1, Receipt::Delivered), &[]);

    let mut world = World::new();
    for reference in 1..=u64::try_from(MAX_PER_USER).unwrap() + 1 {
        let message = from_sip(reference, wishing(&format!("b{reference}"), BOTH));
        world.bridge.handle(message, world.now);
        world.bridge.handle(settled(reference, Ok(())), world.now);
    }
    world.drain();
    world.expect(received("b1", Receipt::Delivered), &[]);
    world.expect(received("b2", Receipt::Delivered), &["Delivered 2"]);
}
