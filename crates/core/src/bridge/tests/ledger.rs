//! Each way in which a message can end leaves exactly one entry.

use super::messages::{DESK, from_sip, from_xmpp, kept, message_error, outcome, settled};
use super::*;
use crate::failure::Local;
use crate::vocab::{ImKind, Receipt};

fn receipt(reference: u64, receipt: Result<Receipt, Failure>) -> Input {
    Input::Sip(SipIn::Receipt {
        reference: Ref(reference),
        receipt,
    })
}

fn sip_failure(code: u16) -> Failure {
    Failure::Sip(SipStatus::new(code, ""))
}

fn not_kept(reference: u64) -> Input {
    Input::Store(StoreIn::NotKept(Ref(reference)))
}

/// Plays the inputs, and then time; compares what stands in the ledger.
fn expect(inputs: Vec<Input>, entries: &[&str]) {
    let mut world = World::new();
    let shown = format!("{inputs:?}");
    for input in inputs {
        world.bridge.handle(input, world.now);
    }
    while let Some(at) = world.bridge.poll_timeout() {
        world.now = world.now.after(at.saturating_sub(world.now.mono));
        world.bridge.handle_timeout(world.now);
    }
    world.drain();
    assert_eq!(world.ledger, entries, "after {shown}");
}

#[test]
fn a_message_to_sip_ends_once() {
    let sent = || vec![from_xmpp(BRUNO, im("m1", "hi")), kept(1)];
    let lost = || Failure::Local(Local::TransportFailed);
    let entry =
        |words: &str| format!("1 to-sip alma@jabber.example sip:bruno@ocs.example m1 {words}");
    let rows: Vec<(Vec<Input>, Vec<String>)> = vec![
        (vec![], vec![]),
        (vec![outcome(1, Ok(()))], vec![entry("taken")]),
        (
            vec![outcome(1, Ok(())), outcome(1, Ok(()))],
            vec![entry("taken")],
        ),
        (
            vec![outcome(1, Err(sip_failure(486))), settled(1, Ok(()))],
            vec![entry("failed partner 486")],
        ),
        (
            vec![outcome(1, Err(lost())), settled(1, Err(lost()))],
            vec![entry("unknown gateway internal-server-error")],
        ),
        (
            vec![outcome(1, Ok(())), receipt(1, Ok(Receipt::Displayed))],
            vec![entry("taken"), "1 displayed".to_owned()],
        ),
        (
            vec![outcome(1, Ok(())), receipt(1, Err(sip_failure(480)))],
            vec![entry("taken"), "1 failed partner 480".to_owned()],
        ),
        (
            vec![
                receipt(1, Ok(Receipt::Displayed)),
                receipt(1, Ok(Receipt::Delivered)),
                outcome(1, Ok(())),
            ],
            vec![entry("displayed")],
        ),
        (
            vec![receipt(1, Ok(Receipt::Delivered)), outcome(1, Err(lost()))],
            vec![entry("delivered")],
        ),
    ];
    for (more, entries) in rows {
        let entries: Vec<&str> = entries.iter().map(String::as_str).collect();
        expect(sent().into_iter().chain(more).collect(), &entries);
    }
}

#[test]
fn a_message_that_came_too_late_is_entered_and_goes_no_further() {
    let expired = Input::Sip(SipIn::MessageExpired {
        from: sip(BRUNO),
        to: sip(ALMA),
        im: im("b1", "hi"),
    });
    let entry = "1 to-xmpp alma@jabber.example sip:bruno@ocs.example b1 failed gateway 480";
    expect(vec![expired], &[entry]);
}

#[test]
fn a_message_to_xmpp_ends_once() {
    let entry =
        |words: &str| format!("1 to-xmpp alma@jabber.example sip:bruno@ocs.example b1 {words}");
    let gone = || Input::Sip(SipIn::MessageGone { reference: Ref(9) });
    let unreachable = || Failure::Local(Local::Unreachable);
    let not_found = || message_error(ALMA, "b1", Condition::ItemNotFound);
    let rows: Vec<(Vec<Input>, Vec<String>)> = vec![
        (vec![settled(1, Ok(()))], vec![entry("taken")]),
        (vec![gone(), settled(1, Ok(()))], vec![entry("taken")]),
        (
            vec![gone(), not_found(), settled(1, Ok(()))],
            vec![entry("failed partner item-not-found")],
        ),
        (
            vec![not_found(), not_found(), settled(1, Ok(()))],
            vec![entry("failed partner item-not-found")],
        ),
        (
            vec![message_error(DESK, "b1", Condition::RecipientUnavailable)],
            vec![entry("failed device recipient-unavailable")],
        ),
        (
            vec![settled(1, Err(unreachable()))],
            vec![entry("failed gateway 504")],
        ),
        (vec![], vec![entry("unknown gateway 504")]),
    ];
    for (more, entries) in rows {
        let entries: Vec<&str> = entries.iter().map(String::as_str).collect();
        let inputs = std::iter::once(from_sip(9, im("b1", "hi"))).chain(more);
        expect(inputs.collect(), &entries);
    }
}

#[test]
fn what_is_learnt_after_the_time_is_over_amends_the_entry() {
    let overdue = "1 to-xmpp alma@jabber.example sip:bruno@ocs.example b1 unknown gateway 504";
    let rows = [
        (settled(1, Ok(())), "1 taken"),
        (
            message_error(ALMA, "b1", Condition::ItemNotFound),
            "1 failed partner item-not-found",
        ),
        (
            settled(1, Err(Failure::Local(Local::Unreachable))),
            "1 failed gateway 504",
        ),
    ];
    for (late, amended) in rows {
        let mut world = World::new();
        world.bridge.handle(from_sip(9, im("b1", "hi")), world.now);
        world.drain();
        world.pass(20, &["answer 9 504"]);
        world.bridge.handle(late, world.now);
        world.drain();
        assert_eq!(world.ledger, [overdue, amended]);
        let status = world.bridge.status();
        assert_eq!(status.outcomes, BTreeMap::from([(Outcome::Unknown, 1)]));
        assert_eq!(status.later.values().sum::<u64>(), 1);
    }
}

#[test]
fn what_is_refused_at_the_door_is_entered() {
    let room = Im {
        kind: ImKind::Groupchat,
        ..im("m1", "hi")
    };
    let sips = SipAddress {
        scheme: Scheme::Sips,
        ..sip(BRUNO)
    };
    let from_sips = Input::Sip(SipIn::Message {
        reference: Ref(9),
        from: sips,
        to: sip(ALMA),
        im: im("b1", "hi"),
    });
    let rows = [
        (
            from_xmpp("dora@jabber.example", im("m1", "x")),
            "1 to-sip alma@jabber.example sip:dora@jabber.example m1 failed gateway not-allowed",
        ),
        (
            from_xmpp(BRUNO, room),
            "1 to-sip alma@jabber.example sip:bruno@ocs.example m1 failed gateway not-acceptable",
        ),
        (
            from_xmpp("\\20b@ocs.example", im("", "x")),
            "1 to-sip alma@jabber.example \\20b@ocs.example - failed gateway jid-malformed",
        ),
        (
            from_sips,
            "1 to-xmpp alma@jabber.example sip:bruno@ocs.example b1 failed gateway 400",
        ),
    ];
    for (input, entry) in rows {
        expect(vec![input], &[entry]);
    }
    expect(
        vec![from_xmpp(BRUNO, im("m1", "x")), not_kept(1)],
        &[
            "1 to-sip alma@jabber.example sip:bruno@ocs.example m1 failed gateway resource-constraint",
        ],
    );
    // No text, no message.
    expect(
        vec![from_xmpp(BRUNO, im("m1", "")), from_sip(9, im("b1", ""))],
        &[],
    );
}

#[test]
fn a_restart_enters_what_a_crash_left_and_numbers_go_on() {
    let mut world = World::new();
    world.bridge.number_from(Ref(41));
    let left = crate::vocab::Unsettled {
        reference: Ref(17),
        from: jid(DESK),
        to: jid(BRUNO),
        id: Some("m0".to_owned()),
        about: About::default(),
    };
    world.bridge.restore(vec![], vec![left], world.now);
    world
        .bridge
        .handle(from_xmpp(BRUNO, im("m1", "hi")), world.now);
    world.bridge.shutdown(world.now);
    world.drain();
    assert_eq!(
        world.ledger,
        [
            "17 to-sip alma@jabber.example sip:bruno@ocs.example m0 unknown gateway internal-server-error",
            "42 to-sip alma@jabber.example sip:bruno@ocs.example m1 failed gateway resource-constraint",
        ]
    );
}

#[test]
fn a_stop_enters_who_was_waiting() {
    let mut world = World::new();
    world.bridge.handle(from_sip(9, im("b1", "hi")), world.now);
    world.bridge.shutdown(world.now);
    world.bridge.handle(settled(1, Ok(())), world.now);
    world.drain();
    assert_eq!(
        world.ledger,
        [
            "1 to-xmpp alma@jabber.example sip:bruno@ocs.example b1 unknown gateway 503",
            "1 taken"
        ]
    );
}

#[test]
fn a_ledger_that_is_off_only_counts() {
    let mut world = World::with(|settings| settings.ledger = false);
    world.bridge.handle(from_sip(9, im("b1", "hi")), world.now);
    world.bridge.handle(settled(1, Ok(())), world.now);
    world.drain();
    assert_eq!(world.ledger, Vec::<String>::new());
    let counted = BTreeMap::from([(Outcome::Taken, 1)]);
    assert_eq!(world.bridge.status().outcomes, counted);
}

#[test]
fn an_entry_says_when_and_how_much_and_nothing_of_the_text() {
    let mut world = World::new();
    world.now.wall = Duration::from_secs(1_800_000_000);
    let message = Im {
        kind: ImKind::Chat,
        thread: Some("t".repeat(4000)),
        subjects: vec![body("secret")],
        ..im(&"i".repeat(4000), "sécret")
    };
    world.bridge.handle(from_xmpp(BRUNO, message), world.now);
    world.bridge.handle(kept(1), world.now);
    let arrived = world.now.wall;
    world.now = world.now.after(Duration::from_millis(250));
    world.bridge.handle(outcome(1, Ok(())), world.now);
    let entry =
        std::iter::from_fn(|| world.bridge.poll_command()).find_map(|command| match command {
            Command::Store(StoreOut::Record(entry)) => Some(entry),
            _ => None,
        });
    let entry = entry.unwrap();
    assert_eq!(entry.about.arrived, arrived);
    assert_eq!(entry.known - arrived, Duration::from_millis(250));
    assert_eq!((entry.about.octets, entry.about.kind), (7, ImKind::Chat));
    assert_eq!(entry.xmpp.resource(), Some("desk"));
    let kept = |text: &Option<String>| text.as_ref().map(String::len);
    assert_eq!(
        (kept(&entry.id), kept(&entry.about.thread)),
        (Some(256), Some(256))
    );
    assert!(!format!("{entry:?}").contains("cret"));
}
