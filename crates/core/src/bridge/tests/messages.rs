use super::*;
use crate::bridge::messages::seen::{DEVICE_KEPT, STATES_KEPT};
use crate::failure::Local;
use crate::vocab::{ChatState, ImKind};

pub(super) const DESK: &str = "alma@jabber.example/desk";

pub(super) fn from_xmpp(to: &str, im: Im) -> Input {
    Input::Xmpp(XmppIn::Message {
        from: jid(DESK),
        to: jid(to),
        im,
    })
}

pub(super) fn from_sip(reference: u64, im: Im) -> Input {
    Input::Sip(SipIn::Message {
        reference: Ref(reference),
        from: sip(BRUNO),
        to: sip(ALMA),
        im,
    })
}

pub(super) fn kept(reference: u64) -> Input {
    Input::Store(StoreIn::Kept(Ref(reference)))
}

pub(super) fn outcome(reference: u64, outcome: Result<(), Failure>) -> Input {
    Input::Sip(SipIn::Outcome {
        reference: Ref(reference),
        outcome,
    })
}

pub(super) fn settled(reference: u64, outcome: Result<(), Failure>) -> Input {
    Input::Xmpp(XmppIn::Settled {
        reference: Ref(reference),
        outcome,
    })
}

pub(super) fn message_error(from: &str, id: &str, condition: Condition) -> Input {
    Input::Xmpp(XmppIn::MessageError {
        from: jid(from),
        to: jid(BRUNO),
        id: Some(id.to_owned()),
        error: StanzaError::new(condition),
    })
}

#[test]
fn a_message_to_sip_is_kept_sent_and_settled() {
    let mut world = World::new();
    world.expect(from_xmpp(BRUNO, im("m1", "hi")), &["keep 1"]);
    let sent = "MESSAGE 1 sip:alma@jabber.example;gr=desk > sip:bruno@ocs.example";
    world.expect(kept(1), &[sent]);
    world.expect(kept(1), &[]);
    assert_eq!(world.bridge.status().messages_to_sip, 1);
    world.expect(outcome(1, Ok(())), &["settle 1"]);
    world.expect(outcome(1, Ok(())), &[]);
    world.is_settled();
}

#[test]
fn a_failed_message_goes_back_as_its_sender_addressed_it() {
    let mut world = World::new();
    world.expect(
        from_xmpp("Bruno@OCS.example/t1", im("m1", "hi")),
        &["keep 1"],
    );
    let sent = "MESSAGE 1 sip:alma@jabber.example;gr=desk > sip:bruno@ocs.example";
    world.expect(kept(1), &[sent]);
    world.expect(
        outcome(1, Err(Failure::Sip(SipStatus::new(404, "")))),
        &["Bruno@OCS.example/t1 > alma@jabber.example/desk error m1 item-not-found as 1"],
    );
    world.expect(settled(1, Ok(())), &["settle 1"]);
    world.expect(settled(1, Ok(())), &[]);
    world.is_settled();
}

#[test]
fn what_cannot_go_to_sip_goes_back_or_nowhere() {
    let room = Im {
        kind: ImKind::Groupchat,
        ..im("m1", "hi")
    };
    let rows: [(&str, Im, &[&str]); 8] = [
        (
            BRUNO,
            Im {
                bodies: vec![],
                ..im("m1", "")
            },
            &[],
        ),
        (BRUNO, im("m1", ""), &[]),
        (BRUNO, im("m1", " "), &["keep 1"]),
        (
            BRUNO,
            Im {
                kind: ImKind::Headline,
                ..im("", "x")
            },
            &["keep 1"],
        ),
        (
            BRUNO,
            room,
            &[
                "keep 1",
                "bruno@ocs.example > alma@jabber.example/desk error m1 not-acceptable as 1",
            ],
        ),
        (
            "ocs.example",
            im("m1", "x"),
            &[
                "keep 1",
                "ocs.example > alma@jabber.example/desk error m1 service-unavailable as 1",
            ],
        ),
        (
            "dora@jabber.example",
            im("m1", "x"),
            &[
                "keep 1",
                "dora@jabber.example > alma@jabber.example/desk error m1 not-allowed as 1",
            ],
        ),
        (
            "\\20b@ocs.example",
            im("", "x"),
            &[
                "keep 1",
                "\\20b@ocs.example > alma@jabber.example/desk error - jid-malformed as 1",
            ],
        ),
    ];
    for (to, im, commands) in rows {
        World::new().expect(from_xmpp(to, im), commands);
    }
}

#[test]
fn a_message_that_the_store_refuses_is_refused() {
    let mut world = World::new();
    world.expect(from_xmpp(BRUNO, im("m1", "hi")), &["keep 1"]);
    let not_kept = Input::Store(StoreIn::NotKept(Ref(1)));
    let error = "bruno@ocs.example > alma@jabber.example/desk error m1 resource-constraint as 1";
    world.expect(not_kept.clone(), &[error]);
    world.expect(not_kept, &[]);
    world.expect(kept(1), &[]);
    world.is_settled();
}

#[test]
fn a_domain_has_room_for_so_many_messages() {
    let mut world = World::with(|settings| settings.max_pending_per_domain = 1);
    world.expect(from_xmpp(BRUNO, im("m1", "hi")), &["keep 1"]);
    let error = "bruno@ocs.example > alma@jabber.example/desk error m2 resource-constraint as 2";
    world.expect(from_xmpp(BRUNO, im("m2", "hi")), &["keep 2", error]);
    let sent = "MESSAGE 1 sip:alma@jabber.example;gr=desk > sip:bruno@ocs.example";
    world.expect(kept(1), &[sent]);
    world.expect(outcome(1, Ok(())), &["settle 1"]);
    world.expect(from_xmpp(BRUNO, im("m3", "hi")), &["keep 3"]);

    let sent = "bruno@ocs.example > alma@jabber.example message 4 b1";
    world.expect(from_sip(70, im("b1", "hi")), &[sent]);
    world.expect(from_sip(71, im("b2", "hi")), &["answer 71 503"]);
}

#[test]
fn a_message_to_xmpp_is_answered_when_it_is_settled() {
    let mut world = World::new();
    let sent = "bruno@ocs.example > alma@jabber.example message 1 b1";
    world.expect(from_sip(70, im("b1", "hi")), &[sent]);
    world.expect(from_sip(70, im("b1", "hi")), &[]);
    world.expect(settled(1, Ok(())), &["answer 70 200"]);
    world.expect(settled(1, Ok(())), &[]);
    world.is_settled();
    let failure = Err(Failure::Local(Local::DomainNotFound));
    world.expect(
        from_sip(71, im("b1", "hi")),
        &["bruno@ocs.example > alma@jabber.example message 2 b1"],
    );
    world.expect(settled(2, failure), &["answer 71 404"]);
    world.is_settled();
}

#[test]
fn an_error_stanza_is_the_answer_and_comes_once() {
    let mut world = World::new();
    let sent = "bruno@ocs.example > alma@jabber.example message 1 b1";
    world.expect(from_sip(70, im("b1", "hi")), &[sent]);
    world.expect(message_error(ALMA, "b2", Condition::Forbidden), &[]);
    world.expect(
        message_error("dora@jabber.example", "b1", Condition::Forbidden),
        &[],
    );
    world.expect(
        message_error("Alma@jabber.example", "b1", Condition::ItemNotFound),
        &["answer 70 604"],
    );
    world.expect(message_error(ALMA, "b1", Condition::ItemNotFound), &[]);
    world.expect(settled(1, Ok(())), &[]);
    assert_eq!(world.bridge.status().late_errors, 3);
    world.is_settled();

    let sent = "bruno@ocs.example > alma@jabber.example message 2 b1";
    world.expect(from_sip(71, im("b1", "hi")), &[sent]);
    world.expect(
        message_error(DESK, "b1", Condition::ItemNotFound),
        &["answer 71 404"],
    );
    world.expect(settled(2, Ok(())), &[]);
    world.is_settled();
}

#[test]
fn an_error_finds_its_message_however_the_server_spells_the_address() {
    for (told, spelled) in [
        ("weiß", "weiss"),
        ("weiß", "weiß"),
        ("νίκος", "νίκοσ"),
        ("ﬁnn", "finn"),
    ] {
        let mut world = World::new();
        let address =
            crate::address::jid_to_sip(&jid(&format!("{told}@jabber.example")), Scheme::Sip);
        let message = SipIn::Message {
            reference: Ref(70),
            from: sip(BRUNO),
            to: address.unwrap(),
            im: im("b1", "hi"),
        };
        world.bridge.handle(Input::Sip(message), world.now);
        let out = world.drain();
        assert_eq!(
            out,
            [format!(
                "bruno@ocs.example > {told}@jabber.example message 1 b1"
            )]
        );
        let spelled = format!("{spelled}@jabber.example");
        let error = message_error(&spelled, "b1", Condition::ItemNotFound);
        world.expect(error, &["answer 70 604"]);
    }
}

#[test]
fn a_moved_user_is_named_in_the_answer() {
    let mut world = World::new();
    world.expect(
        from_sip(70, im("b1", "hi")),
        &["bruno@ocs.example > alma@jabber.example message 1 b1"],
    );
    let mut error = StanzaError::new(Condition::Gone);
    error.new_address = Some("xmpp:alma@new.example".to_owned());
    let input = Input::Xmpp(XmppIn::MessageError {
        from: jid(ALMA),
        to: jid(BRUNO),
        id: Some("b1".to_owned()),
        error,
    });
    world.expect(input, &["answer 70 301"]);
}

#[test]
fn nobody_waits_longer_than_he_should() {
    let mut world = World::new();
    world.expect(
        from_sip(70, im("b1", "hi")),
        &["bruno@ocs.example > alma@jabber.example message 1 b1"],
    );
    world.pass(19, &[]);
    world.pass(1, &["answer 70 504"]);
    world.expect(settled(1, Ok(())), &[]);
    world.is_settled();

    world.expect(
        from_sip(71, im("b2", "hi")),
        &["bruno@ocs.example > alma@jabber.example message 2 b2"],
    );
    world.expect(Input::Sip(SipIn::MessageGone { reference: Ref(71) }), &[]);
    world.pass(60, &[]);
    world.expect(settled(2, Ok(())), &[]);
    world.is_settled();
}

#[test]
fn ids_towards_xmpp_are_present_and_unique() {
    let mut world = World::new();
    world.expect(
        from_sip(70, im("b1", "hi")),
        &["bruno@ocs.example > alma@jabber.example message 1 b1"],
    );
    for reference in [71, 72] {
        let id = if reference == 71 { "b1" } else { "" };
        world
            .bridge
            .handle(from_sip(reference, im(id, "hi")), world.now);
        let Some(Command::Xmpp(XmppOut::Message { im, .. })) = world.bridge.poll_command() else {
            panic!("no message");
        };
        assert!(im.id.is_some_and(|id| id.len() == 16));
    }
}

#[test]
fn what_cannot_go_to_xmpp_is_refused() {
    let rows = [
        (sip(BRUNO), sip(ALMA), "", "answer 70 200"),
        (sip(BRUNO), sip("jabber.example"), "x", "answer 70 404"),
        (sip(BRUNO), sip("%FF@jabber.example"), "x", "answer 70 400"),
        (sip(BRUNO), sip("carla@ocs.example"), "x", "answer 70 403"),
        (sip(BRUNO), sip("x@other.example"), "x", "answer 70 403"),
        (
            sip("anonymous@anonymous.invalid"),
            sip(ALMA),
            "x",
            "answer 70 403",
        ),
        (
            sip(BRUNO),
            SipAddress {
                scheme: Scheme::Sips,
                ..sip(ALMA)
            },
            "x",
            "answer 70 400",
        ),
    ];
    for (from, to, text, command) in rows {
        let message = SipIn::Message {
            reference: Ref(70),
            from,
            to,
            im: im("b1", text),
        };
        let mut world = World::new();
        world.expect(Input::Sip(message), &[command]);
        world.is_settled();
    }
}

#[test]
fn resources_and_grs_are_each_others_image() {
    let mut world = World::new();
    let message = SipIn::Message {
        reference: Ref(70),
        from: SipAddress {
            gr: Some("dev-7f3a".to_owned()),
            ..sip(BRUNO)
        },
        to: SipAddress {
            gr: Some("laptop".to_owned()),
            ..sip(ALMA)
        },
        im: im("b1", "hi"),
    };
    let sent = "bruno@ocs.example/dev-7f3a > alma@jabber.example/laptop message 1 b1";
    world.expect(Input::Sip(message), &[sent]);
}

#[test]
fn a_crash_is_told_to_the_senders() {
    let mut world = World::new();
    let left = Unsettled {
        reference: Ref(41),
        from: jid(DESK),
        to: jid(BRUNO),
        id: Some("m0".to_owned()),
        about: About::default(),
    };
    world.bridge.restore(vec![], vec![left], world.now);
    let error = "bruno@ocs.example > alma@jabber.example/desk error m0 internal-server-error as 41";
    assert_eq!(world.drain(), [error]);
    world.expect(from_xmpp(BRUNO, im("m1", "hi")), &["keep 42"]);
    // Nobody could be told: it is tried again, and held by the store until then.
    let undelivered = Err(Failure::Local(Local::Timeout));
    world.expect(settled(41, undelivered), &[]);
    world.pass(600, &[error]);
    world.expect(settled(41, Ok(())), &["settle 41"]);
}

const OVERDUE: Failure = Failure::Local(Local::Timeout);
const FAILED: &str =
    "bruno@ocs.example > alma@jabber.example/desk error m1 remote-server-timeout as 1";

/// A world in which the first message to SIP has failed, and its sender is being told.
fn failed(change: impl FnOnce(&mut Settings)) -> World {
    let mut world = World::with(change);
    world.expect(from_xmpp(BRUNO, im("m1", "hi")), &["keep 1"]);
    world.bridge.handle(kept(1), world.now);
    world.drain();
    world.expect(outcome(1, Err(OVERDUE)), &[FAILED]);
    world
}

#[test]
fn a_failure_is_told_until_it_is_handled() {
    let mut world = failed(|_| {});
    for _ in 0..3 {
        world.expect(settled(1, Err(OVERDUE)), &[]);
        world.pass(599, &[]);
        world.pass(1, &[FAILED]);
    }
    world.expect(settled(1, Ok(())), &["settle 1"]);
    world.is_settled();
    assert!(world.bridge.sip_domains().is_empty());
    assert_eq!(world.bridge.status().lost_reports, 0);
}

#[test]
fn a_failure_that_cannot_be_told_for_a_day_is_given_up() {
    let mut world = failed(|settings| settings.report_for = Duration::from_secs(1000));
    world.expect(settled(1, Err(OVERDUE)), &[]);
    world.pass(600, &[FAILED]);
    world.expect(settled(1, Err(OVERDUE)), &[]);
    world.pass(600, &[FAILED]);
    world.expect(settled(1, Err(OVERDUE)), &["settle 1"]);
    world.is_settled();
    assert_eq!(world.bridge.status().lost_reports, 1);
}

#[test]
fn a_day_counts_from_the_message_over_a_restart() {
    let mut world = World::with(|settings| settings.report_for = Duration::from_secs(1000));
    world.now.wall = Duration::from_secs(5000);
    let about = About {
        arrived: Duration::from_secs(3900),
        ..About::default()
    };
    let (from, to, id) = (jid(DESK), jid(BRUNO), Some("m0".to_owned()));
    let left = Unsettled {
        reference: Ref(41),
        from,
        to,
        id,
        about,
    };
    world.bridge.restore(vec![], vec![left], world.now);
    assert_eq!(world.drain().len(), 1);
    world.expect(settled(41, Err(OVERDUE)), &["settle 41"]);
    world.is_settled();
}

#[test]
fn failures_that_wait_are_bounded_for_each_domain() {
    let mut world = failed(|settings| settings.max_pending_per_domain = 1);
    world.expect(settled(1, Err(OVERDUE)), &[]);
    let refused = "bruno@ocs.example > alma@jabber.example/desk error m2 not-acceptable as 2";
    let encrypted = XmppIn::Unreadable {
        from: jid(DESK),
        to: jid(BRUNO),
        im: im("m2", ""),
        why: Local::Encrypted,
    };
    world.expect(Input::Xmpp(encrypted), &["keep 2", refused]);
    world.expect(settled(2, Err(OVERDUE)), &["settle 2"]);
    assert_eq!(world.bridge.status().lost_reports, 1);
}

#[test]
fn failures_that_wait_are_bounded_in_all() {
    let mut world = failed(|settings| settings.max_reports = 0);
    world.expect(settled(1, Err(OVERDUE)), &["settle 1"]);
    assert_eq!(world.bridge.status().lost_reports, 1);
}

#[test]
fn the_fuller_it_is_the_less_one_domain_may_take() {
    let mut world = World::with(|settings| {
        settings.policy = Policy::new([SipDomain {
            name: "ocs.example".to_owned(),
            allowed: vec![DomainPattern::Any],
        }]);
        settings.max_reports = 100;
    });
    let mut refused = |domain: &str, number: u64| {
        let message = XmppIn::Message {
            from: jid(&format!("alma@{domain}")),
            to: jid("ocs.example"),
            im: im("m1", "hi"),
        };
        world.bridge.handle(Input::Xmpp(message), world.now);
        world
            .bridge
            .handle(settled(number, Err(OVERDUE)), world.now);
        world.drain();
        world.bridge.status().lost_reports
    };
    // However a domain is spelled, it is one.
    let spelled = ["evil.example", "EVIL.example", "Evil.Example"];
    let lost = (1..=30).map(|number| refused(spelled[number % 3], number as u64));
    assert_eq!(lost.last(), Some(20));
    assert_eq!(refused("honest.example", 31), 20);
}

#[test]
fn no_long_id_waits() {
    let mut world = World::new();
    let id = "x".repeat(1025);
    world
        .bridge
        .handle(from_xmpp("ocs.example", im(&id, "hi")), world.now);
    world.drain();
    world.expect(settled(1, Err(OVERDUE)), &["settle 1"]);
    assert_eq!(world.bridge.status().lost_reports, 1);
}

#[test]
fn a_flood_of_refusals_takes_no_places_in_the_store() {
    let mut world = World::new();
    let mut keeps = 0;
    for number in 0..1000 {
        let message = from_xmpp("ocs.example", im(&format!("m{number}"), "hi"));
        world.bridge.handle(message, world.now);
        let out = world.drain();
        keeps += out.iter().filter(|words| words.starts_with("keep")).count();
    }
    assert_eq!(keeps, 256);
    world.expect(kept(1), &[]);
    let last = "ocs.example > alma@jabber.example/desk error m service-unavailable as 1001";
    world.expect(
        from_xmpp("ocs.example", im("m", "hi")),
        &["keep 1001", last],
    );
    // One that was not kept is, when its sender cannot be told.
    world.expect(settled(1000, Err(OVERDUE)), &["keep 1000"]);
}

#[test]
fn a_failure_that_is_too_large_to_be_told_is_given_up() {
    let mut world = failed(|_| {});
    let outcome = Err(Failure::Local(Local::TooLarge));
    world.expect(settled(1, outcome), &["settle 1"]);
    world.is_settled();
}

#[test]
fn a_refusal_is_kept_until_it_is_handled() {
    let mut world = World::new();
    let error = "ocs.example > alma@jabber.example/desk error m1 service-unavailable as 1";
    world.expect(from_xmpp("ocs.example", im("m1", "hi")), &["keep 1", error]);
    world.expect(kept(1), &[]);
    world.expect(settled(1, Err(OVERDUE)), &[]);
    world.pass(600, &[error]);
    world.expect(settled(1, Ok(())), &["settle 1"]);
    world.is_settled();
    // The store cannot take it: it is asked again when its sender could not be told.
    let again = error.replace("as 1", "as 2");
    world.expect(
        from_xmpp("ocs.example", im("m1", "hi")),
        &["keep 2", &again],
    );
    world.expect(Input::Store(StoreIn::NotKept(Ref(2))), &[]);
    world.expect(settled(2, Err(OVERDUE)), &["keep 2"]);
    world.expect(kept(2), &[]);
    world.pass(600, &[&again]);
    world.expect(settled(2, Ok(())), &["settle 2"]);
    world.is_settled();
}

#[test]
fn a_failure_is_told_again_only_in_the_name_of_a_domain_of_ours() {
    let mut world = failed(|_| {});
    world.expect(settled(1, Err(OVERDUE)), &[]);
    world.bridge.forget("ocs.example");
    world.pass(600, &[]);
    world.bridge.admit(SipDomain {
        name: "ocs.example".to_owned(),
        allowed: vec![DomainPattern::parse("jabber.example")],
    });
    world.pass(600, &[FAILED]);

    let mut world = failed(|_| {});
    world.expect(settled(1, Err(OVERDUE)), &[]);
    world.bridge.forget("ocs.example");
    world.pass(24 * 3600, &["settle 1"]);
    world.is_settled();
    assert_eq!(world.bridge.status().lost_reports, 1);
}

#[test]
fn a_stop_leaves_failures_that_were_not_handled_to_the_next_start() {
    let mut world = failed(|_| {});
    world.bridge.shutdown(world.now);
    world.expect(settled(1, Err(Failure::Local(Local::ShuttingDown))), &[]);
    world.is_settled();

    let mut world = failed(|_| {});
    world.expect(settled(1, Err(OVERDUE)), &[]);
    world.bridge.shutdown(world.now);
    world.is_settled();
}

#[test]
fn a_stop_answers_everybody() {
    let mut world = World::new();
    world.expect(from_xmpp(BRUNO, im("m1", "hi")), &["keep 1"]);
    world.expect(from_xmpp(BRUNO, im("m2", "hi")), &["keep 2"]);
    let sent = "MESSAGE 2 sip:alma@jabber.example;gr=desk > sip:bruno@ocs.example";
    world.expect(kept(2), &[sent]);
    world.expect(
        from_sip(70, im("b1", "hi")),
        &["bruno@ocs.example > alma@jabber.example message 3 b1"],
    );
    world.bridge.shutdown(world.now);
    let error = "bruno@ocs.example > alma@jabber.example/desk error m1 resource-constraint as 1";
    assert_eq!(world.drain(), ["answer 70 503", error]);
    world.expect(kept(1), &[]);
    world.expect(settled(1, Ok(())), &["settle 1"]);
    let error = "bruno@ocs.example > alma@jabber.example/desk error m4 resource-constraint as 4";
    world.expect(from_xmpp(BRUNO, im("m4", "hi")), &["keep 4", error]);
    world.expect(from_sip(71, im("b2", "hi")), &["answer 71 503"]);
    world.expect(outcome(2, Ok(())), &["settle 2"]);
    world.expect(settled(3, Ok(())), &[]);
    world.is_settled();
}

fn state(state: ChatState) -> Im {
    Im {
        kind: ImKind::Chat,
        chat_state: Some(state),
        ..Im::default()
    }
}

fn typing(from: &str) -> Input {
    Input::Sip(SipIn::ChatState {
        from: sip(from),
        to: sip(ALMA),
        thread: None,
        state: ChatState::Composing,
    })
}

const TYPING: &str = "bruno@ocs.example > alma@jabber.example Composing";

#[test]
fn chat_states_cross_where_messages_may_and_are_not_kept() {
    let mut world = World::new();
    world.expect(
        from_xmpp(BRUNO, state(ChatState::Composing)),
        &["Composing sip:alma@jabber.example;gr=desk > sip:bruno@ocs.example"],
    );
    let elsewhere = "bruno@elsewhere.example";
    world.expect(from_xmpp(elsewhere, state(ChatState::Gone)), &[]);
    world.expect(typing(BRUNO), &[TYPING]);
    world.expect(typing(elsewhere), &[]);
}

#[test]
fn chat_states_alone_go_only_to_who_has_shown_some() {
    let active = Im {
        chat_state: Some(ChatState::Active),
        kind: ImKind::Chat,
        ..im("m1", "hi")
    };
    let plain = Im {
        kind: ImKind::Chat,
        ..im("m2", "hi")
    };
    let headline = Im {
        kind: ImKind::Headline,
        ..im("m3", "hi")
    };
    let mut world = World::new();
    world.expect(typing(BRUNO), &[]);
    // What others were shown, and what she was shown by others, is nothing to this pair.
    world.expect(
        Input::Xmpp(XmppIn::Message {
            from: jid("dora@jabber.example/x"),
            to: jid(BRUNO),
            im: state(ChatState::Active),
        }),
        &["Active sip:dora@jabber.example;gr=x > sip:bruno@ocs.example"],
    );
    world.expect(
        from_xmpp("carla@ocs.example", state(ChatState::Active)),
        &["Active sip:alma@jabber.example;gr=desk > sip:carla@ocs.example"],
    );
    world.expect(typing(BRUNO), &[]);

    world.expect(from_xmpp("Bruno@OCS.example/t1", active), &["keep 1"]);
    world.expect(typing(BRUNO), &[TYPING]);
    world.expect(from_xmpp(BRUNO, headline), &["keep 2"]);
    world.expect(typing(BRUNO), &[TYPING]);
    world.expect(from_xmpp(BRUNO, plain), &["keep 3"]);
    world.expect(typing(BRUNO), &[]);

    let shown = &["Paused sip:alma@jabber.example;gr=desk > sip:bruno@ocs.example"];
    world.expect(from_xmpp(BRUNO, state(ChatState::Paused)), shown);
    world.pass(STATES_KEPT.as_secs() - 1, &[]);
    world.expect(typing(BRUNO), &[TYPING]);
    world.pass(1, &[]);
    world.expect(typing(BRUNO), &[]);
}

#[test]
fn content_carries_its_state_to_who_has_shown_none() {
    let mut world = World::new();
    let message = from_sip(
        70,
        Im {
            chat_state: Some(ChatState::Active),
            ..im("b1", "hi")
        },
    );
    world.bridge.handle(message, world.now);
    let sent = world.bridge.poll_command();
    let Some(Command::Xmpp(XmppOut::Message { im, .. })) = sent else {
        panic!("{sent:?}");
    };
    assert_eq!(im.chat_state, Some(ChatState::Active));
}

#[test]
fn errors_about_chat_states_do_nothing() {
    let mut world = World::new();
    let shown = &["Active sip:alma@jabber.example;gr=desk > sip:bruno@ocs.example"];
    world.expect(from_xmpp(BRUNO, state(ChatState::Active)), shown);
    world.expect(typing(BRUNO), &[TYPING]);
    let without_id = Input::Xmpp(XmppIn::MessageError {
        from: jid(ALMA),
        to: jid(BRUNO),
        id: None,
        error: StanzaError::new(Condition::ServiceUnavailable),
    });
    world.expect(without_id, &[]);
    world.expect(message_error(DESK, "s1", Condition::ItemNotFound), &[]);
    world.expect(typing(BRUNO), &[TYPING]);
    world.is_settled();
}

/// A message from a device of Bruno's, taken.
fn from_device(world: &mut World, reference: u64, gr: &str) {
    let from = SipAddress {
        gr: Some(gr.to_owned()),
        ..sip(BRUNO)
    };
    let input = Input::Sip(SipIn::Message {
        reference: Ref(reference),
        from,
        to: sip(ALMA),
        im: im(&format!("b{reference}"), "hi"),
    });
    world.bridge.handle(input, world.now);
    world.drain();
}

/// Where a message to that address goes.
fn target(world: &mut World, from: &str, to: &str) -> (u64, String) {
    let input = Input::Xmpp(XmppIn::Message {
        from: jid(from),
        to: jid(to),
        im: im("m1", "hi"),
    });
    world.bridge.handle(input, world.now);
    let kept = world.bridge.poll_command();
    let Some(Command::Store(StoreOut::Keep(message))) = kept else {
        panic!("{kept:?}");
    };
    let kept = Input::Store(StoreIn::Kept(message.reference));
    world.bridge.handle(kept, world.now);
    let sent = world.bridge.poll_command();
    let Some(Command::Sip(SipOut::Message { to, .. })) = sent else {
        panic!("{sent:?}");
    };
    (message.reference.0, to.to_string())
}

#[test]
fn a_reply_to_a_device_that_wrote_goes_to_it() {
    let mut world = World::new();
    from_device(&mut world, 70, "urn:uuid:f81d%2F1");
    from_device(&mut world, 71, "desk");
    let bruno = "sip:bruno@ocs.example";
    let rows = [
        (
            DESK,
            "bruno@ocs.example/urn:uuid:f81d/1",
            ";gr=urn:uuid:f81d%2F1",
        ),
        (
            "Alma@jabber.example/phone",
            "Bruno@OCS.example/desk",
            ";gr=desk",
        ),
        // The user, a device that is none, and one that did not write to her.
        (DESK, BRUNO, ""),
        (DESK, "bruno@ocs.example/t1", ""),
        (DESK, "carla@ocs.example/desk", ""),
        ("dora@jabber.example/x", "bruno@ocs.example/desk", ""),
    ];
    for (from, to, gr) in rows {
        let expected = match to.starts_with("carla") {
            true => "sip:carla@ocs.example".to_owned(),
            false => format!("{bruno}{gr}"),
        };
        assert_eq!(target(&mut world, from, to).1, expected, "{from} > {to}");
    }
    let typing = Input::Xmpp(XmppIn::Message {
        from: jid(DESK),
        to: jid("bruno@ocs.example/desk"),
        im: state(ChatState::Composing),
    });
    world.expect(
        typing,
        &["Composing sip:alma@jabber.example;gr=desk > sip:bruno@ocs.example;gr=desk"],
    );
}

#[test]
fn a_device_is_remembered_for_a_time() {
    let mut world = World::new();
    from_device(&mut world, 70, "desk");
    let device = "bruno@ocs.example/desk";
    world.bridge.handle(settled(1, Ok(())), world.now);
    world.drain();
    world.pass(DEVICE_KEPT.as_secs() - 1, &[]);
    let gruu = "sip:bruno@ocs.example;gr=desk";
    assert_eq!(target(&mut world, DESK, device).1, gruu);
    world.pass(1, &[]);
    assert_eq!(target(&mut world, DESK, device).1, "sip:bruno@ocs.example");
}

#[test]
fn a_device_that_has_gone_is_told_of_and_forgotten() {
    let failures = [404, 410, 480, 481, 503]
        .map(|code| Failure::Sip(SipStatus::new(code, "")))
        .into_iter()
        .chain([Failure::Local(Local::Timeout)]);
    for failure in failures {
        let mut world = World::new();
        from_device(&mut world, 70, "desk");
        from_device(&mut world, 71, "phone");
        let device = "bruno@ocs.example/desk";
        let (reference, to) = target(&mut world, DESK, device);
        assert_eq!(to, "sip:bruno@ocs.example;gr=desk");
        let condition = crate::failure::to_stanza(&failure).condition.name();
        let error = format!("{device} > {DESK} error m1 {condition} as {reference}");
        world.expect(outcome(reference, Err(failure)), &[&error]);
        assert_eq!(target(&mut world, DESK, device).1, "sip:bruno@ocs.example");
        let phone = "bruno@ocs.example/phone";
        assert_eq!(
            target(&mut world, DESK, phone).1,
            "sip:bruno@ocs.example;gr=phone"
        );
        from_device(&mut world, 72, "desk");
        assert_eq!(target(&mut world, DESK, device).1, to);
    }
}

#[test]
fn an_encrypted_message_goes_back() {
    for (to, condition) in [
        (BRUNO, "not-acceptable"),
        ("bruno@other.example", "not-allowed"),
    ] {
        let mut world = World::new();
        let input = Input::Xmpp(XmppIn::Unreadable {
            from: jid(DESK),
            to: jid(to),
            im: im("m1", ""),
            why: Local::Encrypted,
        });
        let error = format!("{to} > {DESK} error m1 {condition} as 1");
        world.expect(input, &["keep 1", &error]);
        world.is_settled();
    }
}
