use super::*;
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
        &["Bruno@OCS.example/t1 > alma@jabber.example/desk error m1 item-not-found kept 1"],
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
            &["bruno@ocs.example > alma@jabber.example/desk error m1 not-acceptable"],
        ),
        (
            "ocs.example",
            im("m1", "x"),
            &["ocs.example > alma@jabber.example/desk error m1 service-unavailable"],
        ),
        (
            "dora@jabber.example",
            im("m1", "x"),
            &["dora@jabber.example > alma@jabber.example/desk error m1 not-allowed"],
        ),
        (
            "\\20b@ocs.example",
            im("", "x"),
            &["\\20b@ocs.example > alma@jabber.example/desk error - jid-malformed"],
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
    let error = "bruno@ocs.example > alma@jabber.example/desk error m1 resource-constraint";
    world.expect(not_kept.clone(), &[error]);
    world.expect(not_kept, &[]);
    world.expect(kept(1), &[]);
    world.is_settled();
}

#[test]
fn a_domain_has_room_for_so_many_messages() {
    let mut world = World::with(|settings| settings.max_pending_per_domain = 1);
    world.expect(from_xmpp(BRUNO, im("m1", "hi")), &["keep 1"]);
    let error = "bruno@ocs.example > alma@jabber.example/desk error m2 resource-constraint";
    world.expect(from_xmpp(BRUNO, im("m2", "hi")), &[error]);
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
    let error =
        "bruno@ocs.example > alma@jabber.example/desk error m0 internal-server-error kept 41";
    assert_eq!(world.drain(), [error]);
    world.expect(from_xmpp(BRUNO, im("m1", "hi")), &["keep 42"]);
    let undelivered = Err(Failure::Local(Local::Timeout));
    world.expect(settled(41, undelivered), &["settle 41"]);
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
    let error = "bruno@ocs.example > alma@jabber.example/desk error m1 resource-constraint kept 1";
    assert_eq!(world.drain(), ["answer 70 503", error]);
    world.expect(kept(1), &[]);
    world.expect(settled(1, Ok(())), &["settle 1"]);
    let error = "bruno@ocs.example > alma@jabber.example/desk error m4 resource-constraint";
    world.expect(from_xmpp(BRUNO, im("m4", "hi")), &[error]);
    world.expect(from_sip(71, im("b2", "hi")), &["answer 71 503"]);
    world.expect(outcome(2, Ok(())), &["settle 2"]);
    world.expect(settled(3, Ok(())), &[]);
    world.is_settled();
}

#[test]
fn chat_states_cross_where_messages_may_and_are_not_kept() {
    let mut world = World::new();
    let state = |state| Im {
        chat_state: Some(state),
        ..Im::default()
    };
    world.expect(
        from_xmpp(BRUNO, state(ChatState::Composing)),
        &["Composing sip:alma@jabber.example;gr=desk > sip:bruno@ocs.example"],
    );
    world.expect(
        from_xmpp("bruno@elsewhere.example", state(ChatState::Gone)),
        &[],
    );
    let typing = |from: &str| {
        Input::Sip(SipIn::ChatState {
            from: sip(from),
            to: sip(ALMA),
            thread: None,
            state: ChatState::Composing,
        })
    };
    world.expect(
        typing(BRUNO),
        &["bruno@ocs.example > alma@jabber.example Composing"],
    );
    world.expect(typing("mallory@elsewhere.example"), &[]);
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
        let error = format!("{to} > {DESK} error m1 {condition}");
        world.expect(input, &[&error]);
        world.is_settled();
    }
}
