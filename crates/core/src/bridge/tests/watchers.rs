use super::*;
use crate::vocab::Trace;

const DESK: &str = "alma@jabber.example/desk";
const ASK: &str = "bruno@ocs.example > alma@jabber.example subscribe";
const PROBE: &str = "bruno@ocs.example > alma@jabber.example probe";
const OFF: &str = "bruno@ocs.example > alma@jabber.example unavailable";
const ASKED: &str = "put sip:bruno@ocs.example -> alma@jabber.example Asked";
const GRANTED: &str = "put sip:bruno@ocs.example -> alma@jabber.example Granted";
const REMOVED: &str = "remove sip:bruno@ocs.example -> alma@jabber.example";

fn subscribed() -> Input {
    presence(ALMA, PresenceKind::Subscribed)
}

fn unsubscribed() -> Input {
    presence(ALMA, PresenceKind::Unsubscribed)
}

/// Watcher 1 waits for a decision.
fn asked() -> World {
    let mut world = World::new();
    world.expect(
        watcher(1, arrived(false)),
        &["accept 1", "NOTIFY 1 pending", ASKED, ASK],
    );
    world
}

/// Watcher 1 has been approved, and sees the desk.
fn granted() -> World {
    let mut world = asked();
    world.expect(subscribed(), &[GRANTED, "NOTIFY 1 active", PROBE]);
    world.expect(
        presence(DESK, available(Some(Show::Away))),
        &["NOTIFY 1 active desk+Away"],
    );
    world.holds(&[], &["granted"]);
    world
}

#[test]
fn approval_makes_the_watcher_see() {
    let mut world = granted();
    world.expect(subscribed(), &[]);
    world.expect(presence(DESK, available(Some(Show::Away))), &[]);
    world.expect(
        presence("alma@jabber.example/phone", available(None)),
        &["NOTIFY 1 active desk+Away phone+"],
    );
    world.expect(presence(DESK, unavailable()), &["NOTIFY 1 active phone+"]);
    world.expect(
        presence("alma@jabber.example/phone", unavailable()),
        &["NOTIFY 1 active phone-"],
    );
    world.expect(
        watcher(1, WatcherEvent::Refreshed),
        &["NOTIFY 1 active phone-"],
    );
    world.is_settled();
}

#[test]
fn whoever_was_cut_off_is_asked_again() {
    let mut world = granted();
    world.expect(
        presence("alma@jabber.example/phone", available(None)),
        &["NOTIFY 1 active desk+Away phone+"],
    );
    world.bridge.resume("elsewhere.example", world.now);
    assert!(world.drain().is_empty());
    world.bridge.resume("ocs.example", world.now);
    assert_eq!(world.drain(), [PROBE]);
    // The phone has left meanwhile.
    world.expect(presence(DESK, available(None)), &["NOTIFY 1 active desk+"]);
    world.bridge.resume("ocs.example", world.now);
    assert_eq!(world.drain(), [PROBE]);
    world.expect(presence(ALMA, unavailable()), &["NOTIFY 1 active -"]);
    let mut world = asked();
    world.bridge.resume("ocs.example", world.now);
    assert_eq!(world.drain(), [ASK], "the answer may have been lost");
}

#[test]
fn nothing_is_seen_before_approval() {
    let mut world = asked();
    world.expect(presence(ALMA, unavailable()), &[]);
    world.expect(presence(DESK, available(None)), &[]);
    world.expect(watcher(1, WatcherEvent::Refreshed), &["NOTIFY 1 pending"]);
    world.expect(subscribed(), &[GRANTED, "NOTIFY 1 active desk+", PROBE]);
}

#[test]
fn refusal_and_withdrawal_end_the_watching() {
    let mut world = asked();
    world.expect(unsubscribed(), &[REMOVED, "NOTIFY 1 over Rejected"]);
    world.expect(unsubscribed(), &[]);
    world.holds(&[], &[]);
    let mut world = granted();
    world.expect(unsubscribed(), &[REMOVED, "NOTIFY 1 over Rejected"]);
    world.expect(presence(DESK, available(None)), &[]);
    world.expect(watcher(1, WatcherEvent::Refreshed), &[]);
    world.holds(&[], &[]);
    world.is_settled();
}

#[test]
fn errors_end_the_watching_by_their_kind() {
    let rows: [(Condition, &str, &[&str]); 6] = [
        (
            Condition::ItemNotFound,
            "NOTIFY 1 over NoResource",
            &[REMOVED, "NOTIFY 1 over NoResource"],
        ),
        (
            Condition::ServiceUnavailable,
            "NOTIFY 1 over NoResource",
            &["NOTIFY 1 active desk-"],
        ),
        (
            Condition::Forbidden,
            "NOTIFY 1 over Rejected",
            &[REMOVED, "NOTIFY 1 over Rejected"],
        ),
        (
            Condition::PolicyViolation,
            "NOTIFY 1 over Rejected",
            &[REMOVED, "NOTIFY 1 over Rejected"],
        ),
        (
            Condition::RemoteServerTimeout,
            "NOTIFY 1 over Probation 60",
            &["NOTIFY 1 active desk-"],
        ),
        (
            Condition::RemoteServerNotFound,
            "NOTIFY 1 over Probation 60",
            &["NOTIFY 1 active desk-"],
        ),
    ];
    for (condition, to_asked, to_granted) in rows {
        let mut world = asked();
        world.expect(presence_error(DESK, condition), &[]);
        world.expect(presence_error(ALMA, condition), &[REMOVED, to_asked]);
        world.holds(&[], &[]);
        let mut world = granted();
        world.expect(presence_error(ALMA, condition), to_granted);
    }
}

#[test]
fn several_dialogs_share_one_subscription() {
    let mut world = asked();
    world.expect(
        watcher(2, arrived(false)),
        &["accept 2", "NOTIFY 2 pending"],
    );
    world.expect(watcher(2, arrived(false)), &[]);
    world.expect(
        subscribed(),
        &[GRANTED, "NOTIFY 1 active", "NOTIFY 2 active", PROBE],
    );
    world.expect(watcher(3, arrived(false)), &["accept 3", "NOTIFY 3 active"]);
    let seen = [
        "NOTIFY 1 active desk+",
        "NOTIFY 2 active desk+",
        "NOTIFY 3 active desk+",
    ];
    world.expect(presence(DESK, available(None)), &seen);
    world.expect(
        watcher(1, WatcherEvent::Left),
        &["NOTIFY 1 over Timeout desk-"],
    );
    world.expect(watcher(2, WatcherEvent::Broken), &[]);
    world.expect(
        watcher(3, WatcherEvent::Expired),
        &["NOTIFY 3 over Timeout desk-", OFF],
    );
    world.expect(watcher(3, WatcherEvent::Expired), &[]);
    world.holds(&[], &["granted"]);
    world.expect(
        watcher(4, arrived(false)),
        &["accept 4", "NOTIFY 4 active desk+", PROBE],
    );
    world.expect(watcher(4, WatcherEvent::Broken), &[OFF]);
    world.is_settled();
}

#[test]
fn a_watcher_may_leave_and_ask_again() {
    let mut world = asked();
    world.expect(watcher(1, WatcherEvent::Left), &["NOTIFY 1 over Timeout"]);
    world.expect(
        watcher(2, arrived(false)),
        &["accept 2", "NOTIFY 2 pending", ASK],
    );
    world.expect(watcher(2, WatcherEvent::Broken), &[]);
    world.expect(subscribed(), &[GRANTED, PROBE]);
    let again = ["accept 3", "NOTIFY 3 active", PROBE];
    world.expect(watcher(3, arrived(false)), &again);
}

#[test]
fn approval_may_come_first() {
    let mut world = World::new();
    world.expect(subscribed(), &[GRANTED]);
    world.expect(
        watcher(1, arrived(false)),
        &["accept 1", "NOTIFY 1 active", PROBE],
    );
}

#[test]
fn a_poll_gets_one_answer() {
    let mut world = World::new();
    world.expect(
        watcher(1, arrived(true)),
        &["accept 1", "NOTIFY 1 over Timeout", PROBE],
    );
    world.expect(unsubscribed(), &[]);
    world.holds(&[], &[]);
    let mut world = asked();
    world.expect(
        watcher(2, arrived(true)),
        &["accept 2", "NOTIFY 2 over Timeout"],
    );
    let mut world = granted();
    world.expect(
        watcher(2, arrived(true)),
        &["accept 2", "NOTIFY 2 over Timeout desk+Away"],
    );
    world.expect(watcher(2, WatcherEvent::Left), &[]);
    world.is_settled();
}

#[test]
fn who_may_not_watch_is_refused() {
    let from = |watcher_at: &str, presentity: SipAddress| {
        watcher(
            1,
            WatcherEvent::Arrived {
                trace: Trace::default(),
                watcher: sip(watcher_at),
                presentity,
                poll: false,
            },
        )
    };
    let sips = SipAddress {
        scheme: Scheme::Sips,
        ..sip(ALMA)
    };
    let rows = [
        (from("mallory@evil.example", sip(ALMA)), "refuse 1 403"),
        (from(BRUNO, sip("x@other.example")), "refuse 1 403"),
        (from(BRUNO, sip("carla@ocs.example")), "refuse 1 403"),
        (from(BRUNO, sip("jabber.example")), "refuse 1 404"),
        (from(BRUNO, sip("%FF@jabber.example")), "refuse 1 400"),
        (from(BRUNO, sips), "refuse 1 400"),
    ];
    for (input, command) in rows {
        let mut world = World::new();
        world.expect(input, &[command]);
        world.is_settled();
    }
    let mut world = World::with(|settings| settings.max_contacts = 0);
    world.expect(watcher(1, arrived(false)), &["refuse 1 503"]);
    let mut world = World::with(|settings| settings.max_watchers_per_contact = 0);
    world.expect(watcher(1, arrived(false)), &["refuse 1 503"]);
    world.is_settled();
}

#[test]
fn presence_of_a_stranger_leaves_no_trace() {
    let mut world = World::new();
    world.expect(presence(DESK, available(None)), &[]);
    world.expect(presence(DESK, unavailable()), &[]);
    world.expect(presence_error(ALMA, Condition::ItemNotFound), &[]);
    world.expect(watcher(9, WatcherEvent::Refreshed), &[]);
    world.expect(watcher(9, WatcherEvent::Left), &[]);
    assert_eq!(world.bridge.authorisations(), []);
}

#[test]
fn authorisations_outlive_the_process() {
    let mut world = World::new();
    let pair = Pair {
        direction: Direction::SipWatchesXmpp,
        xmpp: jid(ALMA),
        sip: sip(BRUNO),
    };
    world
        .bridge
        .restore(vec![(pair.clone(), Grant::Granted)], vec![], world.now);
    world.is_settled();
    world.expect(
        watcher(1, arrived(false)),
        &["accept 1", "NOTIFY 1 active", PROBE],
    );
    world.expect(presence(DESK, available(None)), &["NOTIFY 1 active desk+"]);
    world.bridge.shutdown(world.now);
    assert_eq!(world.drain(), ["NOTIFY 1 over Probation 30"]);
    world.expect(watcher(2, arrived(false)), &["refuse 2 503"]);
    assert_eq!(world.bridge.authorisations(), [(pair, Grant::Granted)]);
}

#[test]
fn the_directions_do_not_touch_each_other() {
    let mut world = granted();
    world.expect(
        presence(DESK, PresenceKind::Subscribe),
        &[
            "put alma@jabber.example -> sip:bruno@ocs.example Asked",
            "SUBSCRIBE 1 sip:alma@jabber.example > sip:bruno@ocs.example",
        ],
    );
    world.expect(
        subscription(1, active(&[("t1", true)])),
        &[
            "put alma@jabber.example -> sip:bruno@ocs.example Granted",
            "bruno@ocs.example > alma@jabber.example subscribed",
            "bruno@ocs.example/t1 > alma@jabber.example available",
        ],
    );
    // His watcher leaves; she sees by her own subscription that he is still there.
    world.expect(
        watcher(1, WatcherEvent::Left),
        &["NOTIFY 1 over Timeout desk-"],
    );
    world.expect(
        presence(DESK, PresenceKind::Unsubscribe),
        &[
            "bruno@ocs.example/t1 > alma@jabber.example unavailable",
            "remove alma@jabber.example -> sip:bruno@ocs.example",
            "UNSUBSCRIBE 1",
        ],
    );
    let unsubscribed = "bruno@ocs.example > alma@jabber.example unsubscribed";
    world.expect(subscription(1, SubscriptionEvent::Closed), &[unsubscribed]);
    world.holds(&[], &["granted"]);
}

#[test]
fn withdrawing_her_presence_does_not_blind_her() {
    let both = || {
        let mut world = granted();
        world
            .bridge
            .handle(presence(DESK, PresenceKind::Subscribe), world.now);
        world
            .bridge
            .handle(subscription(1, active(&[("t1", true)])), world.now);
        world.drain();
        world
    };
    let denied = [REMOVED, "NOTIFY 1 over Rejected"];
    let mut world = both();
    world.expect(unsubscribed(), &denied);
    world.expect(presence(DESK, unavailable()), &[]);
    world.holds(&["active"], &[]);
    let mut world = both();
    world.expect(
        presence(DESK, unavailable()),
        &["NOTIFY 1 active desk-", "UNSUBSCRIBE 1"],
    );
    let again = "SUBSCRIBE 2 sip:alma@jabber.example > sip:bruno@ocs.example";
    world.expect(unsubscribed(), &[denied[0], denied[1], again]);
    world.holds(&["renewing"], &[]);
}

#[test]
fn what_she_showed_is_forgotten_when_she_withdraws() {
    let mut world = granted();
    let ask = presence(DESK, PresenceKind::Subscribe);
    world.bridge.handle(ask, world.now);
    world.drain();
    world.expect(unsubscribed(), &[REMOVED, "NOTIFY 1 over Rejected"]);
    let again = ["accept 2", "NOTIFY 2 pending", ASKED, ASK];
    world.expect(watcher(2, arrived(false)), &again);
    world.expect(subscribed(), &[GRANTED, "NOTIFY 2 active", PROBE]);
}
