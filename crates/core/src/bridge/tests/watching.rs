use super::*;
use crate::failure::Local;
use crate::vocab::Trace;

const DESK: &str = "alma@jabber.example/desk";
const KEY: &str = "alma@jabber.example -> sip:bruno@ocs.example";

fn pair() -> Pair {
    Pair {
        direction: Direction::XmppWatchesSip,
        xmpp: jid(ALMA),
        sip: sip(BRUNO),
    }
}

/// Answers of the SIP side to dialog 1 (or 2, where a first one has gone), and stanzas of the XMPP user.
fn input(name: &str, dialog: u64) -> Input {
    let event = match name {
        "subscribe" => return presence(DESK, PresenceKind::Subscribe),
        "unsubscribe" => return presence(DESK, PresenceKind::Unsubscribe),
        "probe" => return presence(DESK, PresenceKind::Probe),
        "online" => return presence(DESK, available(None)),
        "offline" => return presence(DESK, unavailable()),
        "gone" => return presence_error(ALMA, Condition::ItemNotFound),
        "pending" => SubscriptionEvent::Pending,
        "active" => SubscriptionEvent::Active(None),
        "open" => active(&[("t1", true)]),
        "closed" => SubscriptionEvent::Closed,
        "rejected" => ended(EndReason::Rejected, None),
        "deactivated" => ended(EndReason::Deactivated, Some(5)),
        "timeout" => ended(EndReason::Timeout, None),
        "unknown" => ended(EndReason::Unknown, None),
        "unknown-later" => ended(EndReason::Unknown, Some(100)),
        "probation" => ended(EndReason::Probation, Some(100)),
        "giveup" => ended(EndReason::Giveup, None),
        "noresource" => ended(EndReason::NoResource, None),
        "invariant" => ended(EndReason::Invariant, None),
        "lost" => SubscriptionEvent::Lost(Failure::Sip(SipStatus::new(481, ""))),
        "lost-403" => SubscriptionEvent::Lost(Failure::Sip(SipStatus::new(403, ""))),
        "timer-n" => SubscriptionEvent::Refused(Failure::Local(Local::Timeout)),
        "no-dns" => SubscriptionEvent::Refused(Failure::Local(Local::DomainNotFound)),
        code => refused(code.parse().unwrap()),
    };
    subscription(dialog, event)
}

/// A bridge in this state, and the name of the dialog that is under way in it.
fn reach(state: &str) -> (World, u64) {
    let mut world = World::new();
    let (path, dialog): (&[(&str, u64)], u64) = match state {
        "none" => (&[], 1),
        "asking" => (&[("subscribe", 0)], 1),
        "pending" => (&[("subscribe", 0), ("pending", 1)], 1),
        "ask-later" => (&[("subscribe", 0), ("503", 1)], 1),
        "active" => (&[("subscribe", 0), ("open", 1)], 1),
        "renewing" => (&[("subscribe", 0), ("open", 1), ("lost", 1)], 2),
        "waiting" => (&[("subscribe", 0), ("open", 1), ("probation", 1)], 1),
        "idle" => (&[("subscribe", 0), ("open", 1), ("offline", 0)], 1),
        "closing" => (&[("subscribe", 0), ("open", 1), ("unsubscribe", 0)], 1),
        "rebuilding" => {
            world
                .bridge
                .restore(vec![(pair(), Grant::Granted)], vec![], world.now);
            (&[], 1)
        }
        other => panic!("{other}"),
    };
    for (name, dialog) in path {
        world.bridge.handle(input(name, *dialog), world.now);
    }
    world.drain();
    world.is_in(state);
    (world, dialog)
}

impl World {
    fn is_in(&self, state: &str) {
        let expected: &[&str] = if state == "none" { &[] } else { &[state] };
        self.holds(expected, &[]);
    }
}

const SAID: &str = "bruno@ocs.example > alma@jabber.example subscribed";
const UNSAID: &str = "bruno@ocs.example > alma@jabber.example unsubscribed";
const OPEN: &str = "bruno@ocs.example/t1 > alma@jabber.example available";
const SHUT: &str = "bruno@ocs.example/t1 > alma@jabber.example unavailable";
const OFF: &str = "bruno@ocs.example > alma@jabber.example unavailable";
const ASKED: &str = "put alma@jabber.example -> sip:bruno@ocs.example Asked";
const GRANTED: &str = "put alma@jabber.example -> sip:bruno@ocs.example Granted";
const REMOVED: &str = "remove alma@jabber.example -> sip:bruno@ocs.example";
const SUB1: &str = "SUBSCRIBE 1 sip:alma@jabber.example > sip:bruno@ocs.example";
const SUB2: &str = "SUBSCRIBE 2 sip:alma@jabber.example > sip:bruno@ocs.example";
const SUB3: &str = "SUBSCRIBE 3 sip:alma@jabber.example > sip:bruno@ocs.example";
const POLL3: &str = "POLL 3 sip:alma@jabber.example > sip:bruno@ocs.example";
const OPEN_DESK: &str = "bruno@ocs.example/t1 > alma@jabber.example/desk available";
const OFF_DESK: &str = "bruno@ocs.example > alma@jabber.example/desk unavailable";

#[test]
fn whoever_was_cut_off_is_told_again() {
    let cases: [(&str, &[&str]); 5] = [
        ("none", &[]),
        ("pending", &[]),
        ("active", &[OPEN]),
        ("idle", &[SUB2, POLL3]),
        ("rebuilding", &[SUB1]),
    ];
    for (state, commands) in cases {
        let (mut world, _) = reach(state);
        world.bridge.resume("elsewhere.example", world.now);
        assert!(world.drain().is_empty());
        world.bridge.resume("ocs.example", world.now);
        assert_eq!(world.drain(), commands, "{state}");
    }
}

/// State, input, commands, next state.
#[rustfmt::skip]
const ROWS: &[(&str, &str, &[&str], &str)] = &[
    ("none", "subscribe", &[ASKED, SUB1], "asking"),
    ("none", "unsubscribe", &[UNSAID], "none"),
    ("none", "probe", &[UNSAID], "none"),
    ("asking", "pending", &[], "pending"),
    ("asking", "active", &[GRANTED, SAID, OFF], "active"),
    ("asking", "open", &[GRANTED, SAID, OPEN], "active"),
    ("asking", "unsubscribe", &[REMOVED, "UNSUBSCRIBE 1"], "closing"),
    ("asking", "403", &[REMOVED, UNSAID], "none"),
    ("asking", "489", &[REMOVED, UNSAID], "none"),
    ("asking", "603", &[REMOVED, UNSAID], "none"),
    ("asking", "404", &[REMOVED, "bruno@ocs.example > alma@jabber.example presence-error p1 item-not-found"], "none"),
    ("asking", "no-dns", &[REMOVED, "bruno@ocs.example > alma@jabber.example presence-error p1 remote-server-not-found"], "none"),
    ("asking", "423", &[], "ask-later"),
    ("asking", "503", &[], "ask-later"),
    ("asking", "timer-n", &[], "ask-later"),
    ("asking", "rejected", &[REMOVED, UNSAID], "none"),
    ("asking", "deactivated", &[SUB2], "asking"),
    ("asking", "giveup", &[], "ask-later"),
    ("asking", "noresource", &[REMOVED, "bruno@ocs.example > alma@jabber.example presence-error p1 item-not-found"], "none"),
    ("asking", "gone", &[REMOVED, "UNSUBSCRIBE 1"], "none"),
    ("pending", "open", &[GRANTED, SAID, OPEN], "active"),
    ("pending", "unsubscribe", &[REMOVED, "UNSUBSCRIBE 1"], "closing"),
    ("pending", "rejected", &[REMOVED, UNSAID], "none"),
    ("pending", "timeout", &[SUB2], "asking"),
    ("ask-later", "subscribe", &[SUB2], "asking"),
    ("ask-later", "unsubscribe", &[REMOVED, UNSAID], "none"),
    ("ask-later", "gone", &[REMOVED], "none"),
    ("rebuilding", "subscribe", &[SAID, SUB1], "renewing"),
    ("rebuilding", "online", &[SUB1], "renewing"),
    ("rebuilding", "probe", &[SUB1], "renewing"),
    ("rebuilding", "offline", &[], "idle"),
    ("rebuilding", "unsubscribe", &[REMOVED, UNSAID], "none"),
    ("renewing", "open", &[], "active"),
    ("renewing", "subscribe", &[SAID, OPEN], "renewing"),
    ("renewing", "probe", &[OPEN_DESK], "renewing"),
    ("renewing", "unsubscribe", &[SHUT, REMOVED, "UNSUBSCRIBE 2"], "closing"),
    ("renewing", "offline", &["UNSUBSCRIBE 2"], "idle"),
    ("renewing", "404", &[SHUT], "waiting"),
    ("renewing", "403", &[SHUT, REMOVED, UNSAID], "none"),
    ("renewing", "lost", &[SHUT], "waiting"),
    ("renewing", "noresource", &[SHUT], "idle"),
    ("renewing", "invariant", &[], "idle"),
    ("active", "open", &[], "active"),
    ("active", "active", &[], "active"),
    ("active", "subscribe", &[SAID, OPEN], "active"),
    ("active", "probe", &[OPEN_DESK], "active"),
    ("active", "unsubscribe", &[SHUT, REMOVED, "UNSUBSCRIBE 1"], "closing"),
    ("active", "offline", &["UNSUBSCRIBE 1"], "idle"),
    ("active", "pending", &[SHUT], "renewing"),
    ("active", "rejected", &[SHUT, REMOVED, UNSAID], "none"),
    ("active", "deactivated", &[SUB2], "renewing"),
    ("active", "timeout", &[SUB2], "renewing"),
    ("active", "unknown", &[SUB2], "renewing"),
    ("active", "unknown-later", &[SHUT], "waiting"),
    ("active", "probation", &[SHUT], "waiting"),
    ("active", "giveup", &[SHUT], "waiting"),
    ("active", "noresource", &[SHUT], "idle"),
    ("active", "invariant", &[], "idle"),
    ("active", "lost", &[SUB2], "renewing"),
    ("active", "lost-403", &[SHUT, REMOVED, UNSAID], "none"),
    ("active", "gone", &[REMOVED, "UNSUBSCRIBE 1"], "none"),
    ("idle", "online", &[SUB2], "renewing"),
    ("idle", "probe", &[SUB2, POLL3], "renewing"),
    ("idle", "subscribe", &[SAID, SUB2], "renewing"),
    ("idle", "unsubscribe", &[REMOVED, UNSAID], "none"),
    ("idle", "gone", &[REMOVED], "none"),
    ("waiting", "subscribe", &[SAID, OFF], "waiting"),
    ("waiting", "probe", &[OFF_DESK], "waiting"),
    ("waiting", "unsubscribe", &[REMOVED, UNSAID], "none"),
    ("waiting", "offline", &[], "idle"),
    ("closing", "closed", &[UNSAID], "none"),
    ("closing", "timeout", &[UNSAID], "none"),
    ("closing", "timer-n", &[UNSAID], "none"),
    ("closing", "subscribe", &[UNSAID, ASKED, SUB2], "asking"),
    ("closing", "gone", &[], "none"),
];

const STATES: [&str; 10] = [
    "none",
    "asking",
    "pending",
    "ask-later",
    "rebuilding",
    "renewing",
    "active",
    "idle",
    "waiting",
    "closing",
];

#[test]
fn every_row_does_what_it_says() {
    for (state, name, commands, next) in ROWS {
        let (mut world, dialog) = reach(state);
        world.bridge.handle(input(name, dialog), world.now);
        assert_eq!(world.drain(), *commands, "{state} {name}");
        world.is_in(next);
        let stored = !world.bridge.authorisations().is_empty();
        assert_eq!(
            stored,
            !["none", "closing"].contains(next),
            "{state} {name}"
        );
    }
}

/// What no row names means nothing: no command, and no other state unless an event merely came late.
#[test]
fn the_rest_is_silence() {
    let names = [
        "subscribe",
        "unsubscribe",
        "probe",
        "online",
        "gone",
        "pending",
        "active",
        "open",
        "closed",
        "deactivated",
        "noresource",
        "403",
        "404",
        "503",
    ];
    for state in STATES {
        for name in names {
            let like = |row: &&(&str, &str, &[&str], &str)| row.0 == state && row.1 == name;
            // These do the same as another input that has a row.
            let twin = matches!(
                (state, name),
                (
                    "pending",
                    "active" | "deactivated" | "noresource" | "403" | "404" | "503" | "gone"
                ) | ("renewing", "active" | "deactivated" | "503" | "gone")
                    | ("active", "403" | "404" | "503")
                    | ("rebuilding" | "waiting", "gone")
                    | (
                        "closing",
                        "deactivated" | "noresource" | "403" | "404" | "503"
                    )
            );
            if twin || ROWS.iter().any(|row| like(&row)) {
                continue;
            }
            let (mut world, dialog) = reach(state);
            world.expect(input(name, dialog), &[]);
            world.is_in(state);
        }
    }
}

#[test]
fn failed_questions_are_tried_again_and_given_up() {
    let mut world = World::new();
    world.expect(input("subscribe", 0), &[ASKED, SUB1]);
    let mut last = Duration::ZERO;
    for attempt in 1..5u64 {
        world.expect(input("503", attempt), &[]);
        let wait = world.bridge.poll_timeout().unwrap() - world.now.mono;
        assert!(wait >= Duration::from_secs(60 << (attempt - 1)) && wait > last);
        last = wait;
        let next = attempt + 1;
        let again = format!("SUBSCRIBE {next} sip:alma@jabber.example > sip:bruno@ocs.example");
        world.pass(wait.as_secs() + 1, &[again.as_str()]);
    }
    let error = "bruno@ocs.example > alma@jabber.example presence-error p1 internal-server-error";
    world.expect(input("503", 5), &[REMOVED, error]);
    world.is_settled();
}

#[test]
fn a_granted_subscription_is_tried_again_for_ever() {
    let (mut world, _) = reach("waiting");
    for _ in 0..12 {
        let wait = world.bridge.poll_timeout().unwrap() - world.now.mono;
        assert!(wait <= Duration::from_secs(3600) && wait >= Duration::from_secs(60));
        world.now = world.now.after(wait);
        world.bridge.handle_timeout(world.now);
        let Some(Command::Sip(SipOut::Subscribe { reference, .. })) = world.bridge.poll_command()
        else {
            panic!("no attempt");
        };
        world.expect(input("503", reference.0), &[]);
    }
    world.is_in("waiting");
}

#[test]
fn the_peer_says_how_long_to_stay_away() {
    let (mut world, _) = reach("waiting");
    world.pass(99, &[]);
    world.pass(26, &[SUB2]);
    world.expect(input("open", 2), &[OPEN]);
    world.is_settled();
}

#[test]
fn a_dialog_that_keeps_breaking_is_not_rebuilt_at_once_each_time() {
    let (mut world, _) = reach("active");
    world.expect(input("deactivated", 1), &[SUB2]);
    world.expect(input("open", 2), &[]);
    world.expect(input("deactivated", 2), &[SHUT]);
    world.pass(80, &[SUB3]);
    world.expect(input("open", 3), &[OPEN]);
    world.expect(
        input("timeout", 3),
        &["SUBSCRIBE 4 sip:alma@jabber.example > sip:bruno@ocs.example"],
    );
}

#[test]
fn what_is_said_of_an_old_dialog_means_nothing() {
    let (mut world, _) = reach("idle");
    world.expect(input("online", 0), &[SUB2]);
    for name in ["closed", "rejected", "open", "lost", "403"] {
        world.expect(input(name, 1), &[]);
    }
    world.expect(input("open", 2), &[OPEN]);
    world.is_in("active");
}

#[test]
fn a_poll_is_answered_with_presence() {
    let answer = |document| SubscriptionEvent::Ended {
        reason: EndReason::Timeout,
        retry_after: None,
        document,
    };
    let rows = [
        (answer(Some(document(&[("t1", true)]))), vec![OPEN_DESK]),
        (answer(Some(document(&[]))), vec![OFF_DESK]),
        (answer(None), vec![OFF_DESK]),
        (refused(480), vec![OFF_DESK]),
        (active(&[("t1", true)]), vec![OPEN_DESK]),
        (ended(EndReason::Rejected, None), vec![REMOVED, UNSAID]),
    ];
    for (event, commands) in rows {
        let (mut world, _) = reach("idle");
        world.expect(input("probe", 0), &[SUB2, POLL3]);
        world.expect(subscription(3, event), &commands);
    }
}

#[test]
fn the_dialog_goes_on_where_the_poll_has_been() {
    let (mut world, _) = reach("idle");
    world.expect(input("probe", 0), &[SUB2, POLL3]);
    world.expect(input("open", 3), &[OPEN_DESK]);
    world.expect(input("timeout", 3), &[]);
    world.expect(input("open", 2), &[]);
    world.expect(input("probe", 0), &[OPEN_DESK]);
    world.is_settled();
}

#[test]
fn after_a_restart_dialogs_are_rebuilt_over_a_while() {
    let mut world = World::new();
    let people = 50;
    let stored = (0..people).map(|n| {
        let pair = Pair {
            xmpp: jid(&format!("u{n}@jabber.example")),
            ..pair()
        };
        (
            pair,
            if n % 2 == 0 {
                Grant::Granted
            } else {
                Grant::Asked
            },
        )
    });
    let stored: Vec<_> = stored.collect();
    world.bridge.restore(stored.clone(), vec![], world.now);
    let mut held = world.bridge.authorisations();
    held.sort_by_key(|(pair, _)| pair.clone());
    let mut expected = stored;
    expected.sort_by_key(|(pair, _)| pair.clone());
    assert_eq!(held, expected);

    let mut moments = std::collections::BTreeSet::new();
    while let Some(at) = world.bridge.poll_timeout() {
        assert!(at < Duration::from_secs(30));
        moments.insert(at);
        world.now.mono = at;
        world.bridge.handle_timeout(world.now);
    }
    assert!(moments.len() > people / 2);
    assert_eq!(world.drain().len(), people);
    world.holds(&["asking", "renewing"], &[]);
}

#[test]
fn subscriptions_at_a_slow_server_take_the_time_that_it_needs() {
    let server = |name: &str, per_second| Server {
        name: name.to_owned(),
        per_second,
    };
    let domains = [
        ("ocs.example", server("edge", 15)),
        ("sub.example", server("edge", 15)),
        ("free.example", server("other", 0)),
    ];
    let mut world = World::with(|settings| {
        let allowed = vec![DomainPattern::parse("jabber.example")];
        settings.policy = Policy::new(domains.clone().map(|(name, _)| SipDomain {
            name: name.to_owned(),
            allowed: allowed.clone(),
        }));
        settings.servers = domains
            .clone()
            .map(|(name, server)| (name.to_owned(), server))
            .into();
    });
    let people = 1500;
    let stored = domains.iter().flat_map(|(domain, _)| {
        (0..people).map(move |n| {
            let pair = Pair {
                xmpp: jid(&format!("u{n}@jabber.example")),
                sip: SipAddress {
                    host: (*domain).to_owned(),
                    ..pair().sip
                },
                ..pair()
            };
            (pair, Grant::Granted)
        })
    });
    world.bridge.restore(stored.collect(), vec![], world.now);
    let mut at_edge = Vec::new();
    while let Some(at) = world.bridge.poll_timeout() {
        world.now.mono = at;
        world.bridge.handle_timeout(at_now(at));
        for command in world.drain() {
            let second = usize::try_from(at.as_secs()).unwrap();
            if command.contains("free.example") {
                assert!(second < 30, "nothing slows this one down");
            } else {
                at_edge.push(second);
            }
        }
    }
    assert_eq!(at_edge.len(), 2 * people);
    let last = at_edge.iter().max().unwrap();
    assert!((190..200).contains(last), "3000 at 15 a second: {last}");
    for start in 0..20 {
        let window = start * 10..start * 10 + 10;
        let count = at_edge.iter().filter(|s| window.contains(*s)).count();
        assert!(count < 220, "{count} in the ten seconds from {start}0");
    }
}

fn at_now(mono: Duration) -> Now {
    Now {
        mono,
        ..Now::default()
    }
}

#[test]
fn a_pair_that_the_rules_forbid_sleeps_in_the_store() {
    let mut world = World::new();
    let pair = Pair {
        xmpp: jid("x@other.example"),
        ..pair()
    };
    world
        .bridge
        .restore(vec![(pair, Grant::Granted)], vec![], world.now);
    world.is_settled();
    world.is_in("none");
}

#[test]
fn questions_that_cannot_be_asked_get_an_error() {
    let ask = |from: &str, to: &str, kind: PresenceKind| {
        Input::Xmpp(XmppIn::Presence {
            from: jid(from),
            to: jid(to),
            id: None,
            trace: Trace::default(),
            kind,
        })
    };
    let rows = [
        ("x@other.example", BRUNO, "not-allowed"),
        (ALMA, "dora@jabber.example", "not-allowed"),
        (ALMA, "ocs.example", "service-unavailable"),
        (ALMA, "\\20b@ocs.example", "jid-malformed"),
    ];
    for (from, to, condition) in rows {
        let mut world = World::new();
        let error = format!("{to} > {from} presence-error - {condition}");
        world.expect(ask(from, to, PresenceKind::Subscribe), &[error.as_str()]);
        for kind in [
            PresenceKind::Probe,
            PresenceKind::Unsubscribe,
            PresenceKind::Subscribed,
            available(None),
        ] {
            world.expect(ask(from, to, kind), &[]);
        }
        world.is_settled();
    }
    let mut world = World::with(|settings| settings.max_contacts = 0);
    let error = "bruno@ocs.example > alma@jabber.example presence-error - resource-constraint";
    world.expect(ask(ALMA, BRUNO, PresenceKind::Subscribe), &[error]);
    world.expect(ask(ALMA, BRUNO, PresenceKind::Subscribed), &[]);
}

#[test]
fn addresses_in_any_spelling_are_the_same_pair() {
    let mut world = World::new();
    let ask = Input::Xmpp(XmppIn::Presence {
        from: jid("ALMA@Jabber.Example/desk"),
        to: jid("Bruno@OCS.example/t1"),
        id: None,
        trace: Trace::default(),
        kind: PresenceKind::Subscribe,
    });
    world.expect(ask, &[ASKED, SUB1]);
    world.expect(input("subscribe", 0), &[]);
    world.expect(input("open", 1), &[GRANTED, SAID, OPEN]);
    assert_eq!(KEY, pair_words(&world.bridge.authorisations()[0].0));
}

#[test]
fn contacts_see_each_other_leave_when_the_gateway_stops() {
    let (mut world, _) = reach("active");
    world.bridge.shutdown(world.now);
    assert_eq!(world.drain(), [SHUT]);
    world.expect(input("deactivated", 1), &[]);
    world.expect(input("probe", 0), &[]);
    let error =
        "bruno@ocs.example > alma@jabber.example/desk presence-error p1 resource-constraint";
    world.expect(input("subscribe", 0), &[error]);
    assert_eq!(world.bridge.authorisations(), [(pair(), Grant::Granted)]);
    world.is_settled();

    let (mut world, _) = reach("closing");
    world.bridge.shutdown(world.now);
    world.expect(input("closed", 1), &[UNSAID]);
    let (mut world, _) = reach("waiting");
    world.bridge.shutdown(world.now);
    world.is_settled();
}

#[test]
fn success_makes_the_waits_short_again() {
    let (mut world, _) = reach("active");
    let wait_after = |world: &mut World, name: &str, dialog| {
        world.bridge.handle(input(name, dialog), world.now);
        world.drain();
        let wait = world.bridge.poll_timeout().unwrap() - world.now.mono;
        world.now = world.now.after(wait);
        world.bridge.handle_timeout(world.now);
        world.drain();
        wait
    };
    assert!(wait_after(&mut world, "giveup", 1) < Duration::from_secs(80));
    assert!(wait_after(&mut world, "503", 2) >= Duration::from_secs(120));
    world.expect(input("open", 3), &[OPEN]);
    assert!(wait_after(&mut world, "giveup", 3) < Duration::from_secs(80));
}

#[test]
fn a_poll_says_nothing_to_one_who_has_left() {
    let (mut world, _) = reach("idle");
    world.expect(input("probe", 0), &[SUB2, POLL3]);
    world.expect(input("unsubscribe", 0), &[REMOVED, "UNSUBSCRIBE 2"]);
    world.expect(input("open", 3), &[]);
    world.expect(input("closed", 2), &[UNSAID]);
    world.expect(input("open", 3), &[]);
    assert_eq!(world.bridge.status().subscriptions, 0);
}

#[test]
fn what_an_unreachable_user_has_missed_is_said_again() {
    let (mut world, _) = reach("active");
    world.expect(presence_error(ALMA, Condition::RemoteServerTimeout), &[]);
    world.expect(input("open", 1), &[OPEN]);
    world.expect(input("open", 1), &[]);
}

#[test]
fn one_user_has_room_for_so_many_contacts() {
    let ask = |from: &str, to: &str, kind: PresenceKind| {
        Input::Xmpp(XmppIn::Presence {
            from: jid(from),
            to: jid(to),
            id: None,
            trace: Trace::default(),
            kind,
        })
    };
    let mut world = World::with(|settings| settings.max_contacts_per_user = 1);
    let carla = "carla@ocs.example";
    let dora = "dora@jabber.example";
    world.expect(ask(ALMA, BRUNO, PresenceKind::Subscribe), &[ASKED, SUB1]);
    let full = |from: &str, to: &str| format!("{to} > {from} presence-error - resource-constraint");
    for (from, to) in [(ALMA, carla), (dora, BRUNO)] {
        let error = full(from, to);
        world.expect(ask(from, to, PresenceKind::Subscribe), &[error.as_str()]);
        world.expect(ask(from, to, PresenceKind::Subscribed), &[]);
    }
    world.expect(input("403", 1), &[REMOVED, UNSAID]);
    let put = "put alma@jabber.example -> sip:carla@ocs.example Asked";
    let subscribe = "SUBSCRIBE 2 sip:alma@jabber.example > sip:carla@ocs.example";
    world.expect(ask(ALMA, carla, PresenceKind::Subscribe), &[put, subscribe]);
}
