//! Any order of events: every message has one outcome and one entry in the ledger, the store agrees with the bridge, nobody sees what he may not.

use std::collections::{BTreeMap, BTreeSet};

#[cfg(test)]
use proptest::prelude::*;

use super::*;
use crate::failure::Local;
use crate::vocab::{Receipt, Trace};

const EVENTS: std::ops::Range<u8> = 0..11;

/// Both adapters and the store, as far as messages go.
#[derive(Default)]
struct Mail {
    /// Asked of the store, not answered.
    keeping: Vec<Ref>,
    /// Sent to SIP, no outcome.
    at_sip: Vec<Ref>,
    /// Sent to XMPP with this id, not settled.
    at_xmpp: Vec<(Ref, String)>,
    /// SIP senders that wait.
    waiting: BTreeSet<Ref>,
    /// What the store holds.
    rows: BTreeSet<Ref>,
    /// Errors on their way, and those that were handled.
    reports: BTreeMap<Ref, String>,
    told: BTreeSet<String>,
    /// All that was ever sent there.
    for_sip: Vec<Ref>,
    /// What each XMPP message should lead to.
    names: BTreeMap<Ref, String>,
    failed: BTreeSet<String>,
    /// Of these, which were not for the store.
    refused: BTreeSet<String>,
    /// Of which SIP has reported a failure beside the answer.
    reported: BTreeSet<String>,
    sent: u64,
    /// Messages that came, and how each stands in the ledger.
    came: usize,
    ledger: BTreeMap<Ref, Outcome>,
}

impl Mail {
    fn collect(&mut self, world: &mut World) {
        while let Some(command) = world.bridge.poll_command() {
            match command {
                Command::Store(StoreOut::Keep(message)) => {
                    self.rows.insert(message.reference);
                    self.names
                        .insert(message.reference, message.id.unwrap_or_default());
                    self.keeping.push(message.reference);
                }
                Command::Store(StoreOut::Settle(reference)) => {
                    assert!(self.rows.remove(&reference), "settled twice: {reference:?}");
                }
                Command::Store(StoreOut::Record(entry)) => {
                    let before = self.ledger.insert(entry.number, entry.fate.outcome);
                    assert_eq!(before, None, "entered twice: {entry:?}");
                }
                Command::Store(StoreOut::Amend(amendment)) => {
                    let before = self.ledger.get(&amendment.number);
                    assert!(before.is_some(), "no entry: {amendment:?}");
                }
                Command::Sip(SipOut::Message { reference, .. }) => {
                    self.at_sip.push(reference);
                    self.for_sip.push(reference);
                }
                Command::Sip(SipOut::AnswerMessage { reference, .. }) => {
                    assert!(
                        self.waiting.remove(&reference),
                        "answered twice: {reference:?}"
                    );
                }
                Command::Xmpp(XmppOut::Message { reference, im, .. }) => {
                    self.at_xmpp.push((reference, im.id.unwrap_or_default()));
                }
                Command::Xmpp(XmppOut::MessageError { reference, id, .. }) => {
                    let id = id.unwrap_or_default();
                    assert!(!self.told.contains(&id), "told twice: {id}");
                    let before = self.reports.insert(reference, id.clone());
                    assert_eq!(before, None, "told while it is told: {id}");
                    self.at_xmpp.push((reference, id));
                }
                other => panic!("{other:?}"),
            }
        }
    }

    fn play(&mut self, world: &mut World, event: u8, pick: usize) {
        let failure = Failure::Local(Local::Timeout);
        self.sent += 1;
        let input = match event {
            0 => {
                self.came += 1;
                // One in eight is refused at the door.
                let is_refused = pick.is_multiple_of(8);
                let to = if is_refused { "ocs.example" } else { BRUNO };
                if is_refused {
                    self.refused.insert(format!("m{}", self.sent));
                    self.failed.insert(format!("m{}", self.sent));
                }
                Input::Xmpp(XmppIn::Message {
                    from: jid(ALMA),
                    to: jid(to),
                    im: im(&format!("m{}", self.sent), "x"),
                })
            }
            1 => {
                self.came += 1;
                self.waiting.insert(Ref(self.sent));
                Input::Sip(SipIn::Message {
                    reference: Ref(self.sent),
                    from: sip(BRUNO),
                    to: sip(ALMA),
                    im: im(&format!("b{}", pick % 3), "x"),
                })
            }
            2 | 3 => match take(&mut self.keeping, pick) {
                Some(reference) if event == 2 => Input::Store(StoreIn::Kept(reference)),
                Some(reference) => {
                    self.failed.insert(self.names[&reference].clone());
                    self.refused.insert(self.names[&reference].clone());
                    self.rows.remove(&reference);
                    Input::Store(StoreIn::NotKept(reference))
                }
                None => return,
            },
            4 | 5 => match take(&mut self.at_sip, pick) {
                Some(reference) => {
                    let outcome = if event == 4 { Ok(()) } else { Err(failure) };
                    if event == 5 {
                        self.failed.insert(self.names[&reference].clone());
                    }
                    Input::Sip(SipIn::Outcome { reference, outcome })
                }
                None => return,
            },
            6 | 7 => match take(&mut self.at_xmpp, pick) {
                Some((reference, _)) => {
                    let report = self.reports.remove(&reference);
                    self.told.extend(report.filter(|_| event == 6));
                    Input::Xmpp(XmppIn::Settled {
                        reference,
                        outcome: if event == 6 { Ok(()) } else { Err(failure) },
                    })
                }
                None => return,
            },
            8 => {
                let Some((_, id)) = self.at_xmpp.get(pick % self.at_xmpp.len().max(1)) else {
                    return;
                };
                Input::Xmpp(XmppIn::MessageError {
                    from: jid(ALMA),
                    to: jid(BRUNO),
                    id: Some(id.clone()),
                    error: StanzaError::new(Condition::ItemNotFound),
                })
            }
            10 => {
                let receipts = [Receipt::Delivered, Receipt::Displayed];
                let Some(reference) = self.for_sip.get(pick % self.for_sip.len().max(1)) else {
                    return;
                };
                let receipt = receipts.get(pick % 3).copied().ok_or(failure);
                if receipt.is_err() {
                    self.reported.insert(self.names[reference].clone());
                }
                Input::Sip(SipIn::Receipt {
                    reference: *reference,
                    receipt,
                })
            }
            _ => match self.waiting.iter().nth(pick % self.waiting.len().max(1)) {
                Some(reference) if pick.is_multiple_of(2) => {
                    let reference = *reference;
                    self.waiting.remove(&reference);
                    Input::Sip(SipIn::MessageGone { reference })
                }
                _ => {
                    world.now = world.now.after(Duration::from_secs(7));
                    world.bridge.handle_timeout(world.now);
                    return;
                }
            },
        };
        world.bridge.handle(input, world.now);
    }
}

impl Mail {
    fn is_done(&self, world: &World) -> bool {
        self.keeping.is_empty()
            && self.at_sip.is_empty()
            && self.at_xmpp.is_empty()
            && world.bridge.poll_timeout().is_none()
    }

    /// Whose message failed was told so, or will be at the next start.
    fn told_the_truth(&self, stop: bool) {
        let left: BTreeSet<&String> = self.rows.iter().map(|row| &self.names[row]).collect();
        assert!(stop || left.is_empty(), "{left:?}");
        for name in &self.failed {
            let left = stop && (left.contains(name) || self.refused.contains(name));
            assert!(left || self.told.contains(name), "never told: {name}");
        }
        let mut said = self.told.iter().chain(left);
        assert!(said.all(|name| self.failed.contains(name) || self.reported.contains(name)));
    }
}

fn take<T>(list: &mut Vec<T>, pick: usize) -> Option<T> {
    (!list.is_empty()).then(|| list.swap_remove(pick % list.len()))
}

/// The store and both adapters, as far as presence goes.
#[derive(Default)]
struct Ledger {
    stored: Vec<(Pair, Grant)>,
    dialogs: BTreeSet<Ref>,
    watchers: BTreeSet<Ref>,
    unanswered: BTreeSet<Ref>,
    next: u64,
}

impl Ledger {
    fn collect(&mut self, world: &mut World) {
        while let Some(command) = world.bridge.poll_command() {
            match command {
                Command::Store(StoreOut::Put { pair, grant }) => {
                    self.stored.retain(|(other, _)| *other != pair);
                    self.stored.push((pair, grant));
                }
                Command::Store(StoreOut::Remove(pair)) => {
                    let before = self.stored.len();
                    self.stored.retain(|(other, _)| *other != pair);
                    assert_eq!(self.stored.len() + 1, before, "removed nothing: {pair:?}");
                }
                Command::Sip(out) => self.sip(out),
                Command::Xmpp(XmppOut::Presence { from, to, kind, .. }) => {
                    if let PresenceKind::Available(_) = kind {
                        let pair = pair(Direction::XmppWatchesSip, &to, &from);
                        assert!(
                            self.stored.contains(&(pair, Grant::Granted)),
                            "seen by {to}"
                        );
                    }
                }
                Command::Xmpp(XmppOut::PresenceError { .. }) => {}
                other => panic!("{other:?}"),
            }
        }
        let mut held = world.bridge.authorisations();
        held.sort_by_key(|(pair, _)| pair.clone());
        self.stored.sort_by_key(|(pair, _)| pair.clone());
        assert_eq!(held, self.stored);
        // What is being ended is not stored any more, and still a contact.
        let status = world.bridge.status();
        let known = world.bridge.sip_domains();
        let is_empty = status.watching.is_empty() && status.watched.is_empty();
        assert_eq!(known.is_empty(), is_empty);
        let mut domains = held
            .iter()
            .map(|(pair, _)| crate::address::canonical_domain(&pair.sip.host));
        assert!(domains.all(|domain| known.contains(&domain)));
    }

    fn sip(&mut self, out: SipOut) {
        match out {
            SipOut::Subscribe { reference, .. } => assert!(self.dialogs.insert(reference)),
            SipOut::Unsubscribe { reference } => assert!(self.dialogs.contains(&reference)),
            SipOut::AcceptWatcher { reference } => {
                assert!(self.unanswered.remove(&reference));
                assert!(self.watchers.insert(reference));
            }
            SipOut::RefuseWatcher { reference, .. } => {
                assert!(self.unanswered.remove(&reference));
            }
            SipOut::Notify {
                reference,
                state,
                document,
            } => {
                assert!(
                    self.watchers.contains(&reference),
                    "nobody there: {reference:?}"
                );
                match state {
                    WatcherState::Terminated { .. } => assert!(self.watchers.remove(&reference)),
                    WatcherState::Pending => assert_eq!(document, None),
                    WatcherState::Active => {}
                }
            }
            other => panic!("{other:?}"),
        }
    }

    fn play(&mut self, world: &mut World, event: u8, pick: usize) {
        let xmpp = ["alma@jabber.example", "dora@jabber.example/x"][pick % 2];
        let someone = ["bruno@ocs.example", "carla@ocs.example"][pick / 2 % 2];
        let stanza = |kind| {
            Input::Xmpp(XmppIn::Presence {
                from: jid(xmpp),
                to: jid(someone),
                id: None,
                trace: Trace::default(),
                kind,
            })
        };
        let input = match event {
            0 => stanza(PresenceKind::Subscribe),
            1 => stanza([PresenceKind::Unsubscribe, PresenceKind::Probe][pick / 4 % 2].clone()),
            2 => stanza(PresenceKind::Subscribed),
            3 => stanza([PresenceKind::Unsubscribed, unavailable()][pick / 4 % 2].clone()),
            4 => stanza(available([None, Some(Show::Away)][pick / 4 % 2])),
            5 => {
                self.next += 1;
                self.unanswered.insert(Ref(self.next));
                watcher(
                    self.next,
                    WatcherEvent::Arrived {
                        trace: Trace::default(),
                        watcher: sip(someone),
                        presentity: jid_to_address(xmpp),
                        poll: (pick / 4).is_multiple_of(4),
                    },
                )
            }
            6 => match self.watchers.iter().nth(pick % self.watchers.len().max(1)) {
                Some(reference) => {
                    let reference = *reference;
                    let event = match pick % 3 {
                        0 => WatcherEvent::Refreshed,
                        1 => WatcherEvent::Left,
                        _ => WatcherEvent::Broken,
                    };
                    if event == WatcherEvent::Broken {
                        self.watchers.remove(&reference);
                    }
                    watcher(reference.0, event)
                }
                None => return,
            },
            7 | 8 => match self.dialogs.iter().nth(pick % self.dialogs.len().max(1)) {
                Some(reference) => {
                    let reference = *reference;
                    let event = dialog_event(pick / 8);
                    let goes_on = matches!(
                        event,
                        SubscriptionEvent::Pending | SubscriptionEvent::Active(_)
                    );
                    if !goes_on {
                        self.dialogs.remove(&reference);
                    }
                    subscription(reference.0, event)
                }
                None => return,
            },
            _ => {
                world.now = world.now.after(Duration::from_secs(50));
                world.bridge.handle_timeout(world.now);
                return;
            }
        };
        world.bridge.handle(input, world.now);
    }
}

fn dialog_event(pick: usize) -> SubscriptionEvent {
    match pick % 9 {
        0 => SubscriptionEvent::Pending,
        1 => active(&[("t1", true), ("t2", false)]),
        2 => active(&[]),
        3 => refused(403),
        4 => refused(503),
        5 => ended(EndReason::Rejected, None),
        6 => ended(EndReason::Timeout, None),
        7 => ended(EndReason::NoResource, None),
        _ => SubscriptionEvent::Closed,
    }
}

fn jid_to_address(text: &str) -> SipAddress {
    crate::address::jid_to_sip(&jid(text), Scheme::Sip).unwrap()
}

fn pair(direction: Direction, xmpp: &Jid, sip: &Jid) -> Pair {
    Pair {
        direction,
        xmpp: xmpp.bare(),
        sip: crate::address::jid_to_sip(&sip.bare(), Scheme::Sip).unwrap(),
    }
}

/// What happens, and to whom.
type Events = Vec<(u8, usize)>;

/// Messages in any order of events, and perhaps a stop at the end.
pub(crate) fn every_message_has_one_outcome(events: Events, stop: bool) {
    let mut world = World::new();
    let mut mail = Mail::default();
    for (event, pick) in events {
        mail.play(&mut world, event, pick);
        mail.collect(&mut world);
    }
    if stop {
        world.bridge.shutdown(world.now);
        mail.collect(&mut world);
        assert!(mail.waiting.is_empty());
        // Refused before they were sent: settled, whatever the store still says.
        for reference in mail.keeping.clone() {
            mail.failed.insert(mail.names[&reference].clone());
        }
    }
    while !mail.is_done(&world) {
        for event in [2, 4, 6] {
            mail.play(&mut world, event, 0);
            mail.collect(&mut world);
        }
        // Reports that were given up are made again.
        world.now = world.now.after(Duration::from_secs(60));
        world.bridge.handle_timeout(world.now);
        mail.collect(&mut world);
    }
    world.is_settled();
    assert!(world.bridge.sip_domains().is_empty());
    assert!(mail.waiting.is_empty());
    assert_eq!(mail.ledger.len(), mail.came);
    let status = world.bridge.status();
    assert_eq!(status.outcomes.values().sum::<u64>(), mail.came as u64);
    assert_eq!(status.lost_reports, 0);
    mail.told_the_truth(stop);
}

/// Presence in any order of events, and a stop at the end.
pub(crate) fn the_store_agrees_and_nobody_sees_too_much(events: Events) {
    let mut world = World::new();
    let mut ledger = Ledger::default();
    for (event, pick) in events {
        ledger.play(&mut world, event, pick);
        ledger.collect(&mut world);
        assert!(ledger.unanswered.is_empty());
        assert_eq!(world.bridge.status().watchers, ledger.watchers.len());
        assert!(world.bridge.status().subscriptions <= ledger.dialogs.len());
    }
    world.bridge.shutdown(world.now);
    ledger.collect(&mut world);
    assert!(ledger.watchers.is_empty());
    assert_eq!(world.bridge.poll_timeout(), None);
}

/// As the fuzz target has it: the first octet chooses messages or presence, then three are an event.
pub(crate) fn script(octets: &[u8]) {
    let Some((kind, octets)) = octets.split_first() else {
        return;
    };
    let event = |event: &[u8]| {
        let pick = u16::from_be_bytes([event[1], event[2]]);
        (event[0] % EVENTS.end, usize::from(pick) % 720)
    };
    let events = octets.chunks_exact(3).take(200).map(event).collect();
    match kind % 3 {
        0 => every_message_has_one_outcome(events, false),
        1 => every_message_has_one_outcome(events, true),
        _ => the_store_agrees_and_nobody_sees_too_much(events),
    }
}

#[test]
fn the_corpus_of_the_fuzz_target() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/bridge");
    let entries = std::fs::read_dir(folder).unwrap();
    let scripts: Vec<Vec<u8>> = entries
        .map(|entry| std::fs::read(entry.unwrap().path()).unwrap())
        .collect();
    assert!(scripts.len() >= 4);
    scripts.iter().for_each(|octets| script(octets));
}

#[cfg(test)]
fn events() -> impl Strategy<Value = Events> {
    prop::collection::vec((EVENTS, 0usize..720), 0..120)
}

#[cfg(test)]
proptest! {
    #[test]
    fn messages_in_any_order(events in events(), stop in any::<bool>()) {
        every_message_has_one_outcome(events, stop);
    }

    #[test]
    fn presence_in_any_order(events in events()) {
        the_store_agrees_and_nobody_sees_too_much(events);
    }
}
