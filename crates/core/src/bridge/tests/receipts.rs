//! Receipts: told to who asked, once, and never made up.

use super::messages::{from_sip, from_xmpp, kept, message_error, outcome, settled};
use super::*;
use crate::bridge::receipts::{KEPT, MAX_PER_USER};
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
    let error =
        "bruno@ocs.example > alma@jabber.example/desk error m1 recipient-unavailable kept 1";
    let busy = Err(Failure::Sip(SipStatus::new(486, "")));
    world.expect(outcome(1, busy), &[error]);
    world.expect(told(1, Receipt::Displayed), &[]);
}

#[test]
fn a_late_failure_is_told_once_and_ends_it() {
    let lost = Err(Failure::Local(Local::Timeout));
    let mut world = sent("m1", BOTH);
    world.expect(outcome(1, Ok(())), &["settle 1"]);
    let error = "bruno@ocs.example > alma@jabber.example/desk error m1 remote-server-timeout";
    world.expect(failing(1, lost.clone()), &[error]);
    world.expect(failing(1, lost.clone()), &[]);
    world.expect(told(1, Receipt::Displayed), &[]);

    let mut world = sent("m1", DELIVERED);
    world.expect(outcome(1, Ok(())), &["settle 1"]);
    world.bridge.handle(told(1, Receipt::Delivered), world.now);
    world.drain();
    world.expect(failing(1, lost.clone()), &[]);
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
