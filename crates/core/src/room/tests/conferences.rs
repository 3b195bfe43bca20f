//! RFC 7702 §5: Juliet in the conference `verona@chat.sip.example`.

use super::*;

const VERONA: &str = "verona@chat.sip.example";
const AS_JULIET: &str = "verona@chat.sip.example/JuliC";

fn join(to: &str) -> Input {
    join_as(JULIET, to)
}

fn join_as(from: &str, to: &str) -> Input {
    Input::Xmpp(XmppIn::Muc(MucIn::Join {
        from: jid(from),
        to: jid(to),
        id: Some("p1".to_owned()),
    }))
}

fn event(leg: u64, event: ConferenceEvent) -> Input {
    Input::Sip(SipIn::Conference {
        leg: Ref(leg),
        event,
    })
}

fn joined(nick: &str) -> ConferenceEvent {
    ConferenceEvent::Joined {
        nick: nick.to_owned(),
        private_messages: true,
    }
}

fn everybody(present: Vec<Participant>) -> ConferenceEvent {
    ConferenceEvent::Roster(Roster {
        full: true,
        present,
        left: Vec::new(),
    })
}

fn change(present: Vec<Participant>, left: &[&str]) -> ConferenceEvent {
    ConferenceEvent::Roster(Roster {
        full: false,
        present,
        left: left.iter().map(|address| sip(address)).collect(),
    })
}

fn said(reference: u64, from: &str, private: bool, body: &str) -> ConferenceEvent {
    ConferenceEvent::Message {
        reference: Ref(reference),
        from: sip(from),
        private,
        im: im(ImKind::Normal, "s1", body),
    }
}

fn outcome(reference: u64, outcome: Result<(), Failure>) -> ConferenceEvent {
    ConferenceEvent::Outcome {
        reference: Ref(reference),
        outcome,
    }
}

fn cast() -> Vec<Participant> {
    vec![
        person("romeo@sip.example", "Romeo"),
        person("juliet@xmpp.example", "JuliC"),
        person("ben@sip.example", "Ben"),
    ]
}

/// Juliet is in, as leg 1, with Romeo and Ben.
fn entered() -> World {
    entered_with(|_| {})
}

fn entered_with(settings: impl FnOnce(&mut Settings)) -> World {
    let mut world = World::with(settings);
    world.give(join(AS_JULIET));
    world.give(event(1, joined("JuliC")));
    world.give(event(1, everybody(cast())));
    world
}

fn left(world: &mut World) {
    world.expect(presence(JULIET, AS_JULIET, false), &["LEAVE 1"]);
    world.expect(
        event(1, ConferenceEvent::Ended(End::Left)),
        &["verona@chat.sip.example/JuliC > juliet@xmpp.example/balcony - 110"],
    );
    world.is_empty();
}

#[test]
fn entering_shows_the_others_then_herself_then_the_subject() {
    let mut world = World::new();
    world.expect(
        join(AS_JULIET),
        &["JOIN 1 sip:juliet@xmpp.example;gr=balcony > sip:verona@chat.sip.example JuliC"],
    );
    world.expect(join(AS_JULIET), &[]);
    world.expect(event(1, joined("JuliC")), &[]);
    let subject = ConferenceEvent::Subject(Some(text("Today in Verona")));
    world.expect(event(1, subject.clone()), &[]);
    world.expect(
        event(1, everybody(cast())),
        &[
            "verona@chat.sip.example/Ben > juliet@xmpp.example/balcony +",
            "verona@chat.sip.example/Romeo > juliet@xmpp.example/balcony +",
            "verona@chat.sip.example/JuliC > juliet@xmpp.example/balcony + 100 110",
            "verona@chat.sip.example > juliet@xmpp.example/balcony subject 'Today in Verona'",
        ],
    );
    world.expect(event(1, subject), &[]);
    world.expect(
        event(1, ConferenceEvent::Subject(None)),
        &["verona@chat.sip.example > juliet@xmpp.example/balcony subject ''"],
    );
    assert_eq!(
        world.bridge.in_conference(&jid(JULIET), &jid(AS_JULIET)),
        Some(true)
    );
    left(&mut world);
    assert_eq!(world.bridge.in_conference(&jid(JULIET), &jid(VERONA)), None);
}

#[test]
fn a_conference_that_does_not_say_who_is_there_is_entered_all_the_same() {
    let mut world = World::new();
    world.give(join(AS_JULIET));
    world.expect(event(1, joined("Jules")), &[]);
    world.expect(event(1, said(9, "romeo@sip.example", false, "early")), &[]);
    world.pass(
        30,
        &[
            "verona@chat.sip.example/Jules > juliet@xmpp.example/balcony + 100 110 210",
            "verona@chat.sip.example > juliet@xmpp.example/balcony subject ''",
            "verona@chat.sip.example/romeo > juliet@xmpp.example/balcony groupchat 2 s1 'early'",
        ],
    );
    world.expect(settled(2, Ok(())), &["answer 9 200"]);
}

#[test]
fn what_comes_back_from_an_invite_is_told_as_an_error() {
    let rows = [
        (End::NickTaken, "conflict"),
        (End::Refused(code(403)), "forbidden"),
        (End::Refused(code(404)), "item-not-found"),
        (End::Refused(code(486)), "recipient-unavailable"),
        (
            End::Lost(Failure::Local(Local::TransportFailed)),
            "internal-server-error",
        ),
        (End::Over { reason: None }, "item-not-found"),
        (End::Removed { reason: None }, "forbidden"),
    ];
    for (end, condition) in rows {
        let mut world = World::new();
        world.give(join(AS_JULIET));
        let error = format!(
            "verona@chat.sip.example/JuliC > juliet@xmpp.example/balcony presence error p1 {condition}"
        );
        world.expect(event(1, ConferenceEvent::Ended(end)), &[&error]);
        world.is_empty();
    }
}

#[test]
fn a_conference_that_does_not_answer_is_given_up() {
    let mut world = World::new();
    world.give(join(AS_JULIET));
    world.pass(
        30,
        &[
            "verona@chat.sip.example/JuliC > juliet@xmpp.example/balcony presence error p1 remote-server-timeout",
            "LEAVE 1",
        ],
    );
    world.expect(event(1, ConferenceEvent::Ended(End::Left)), &[]);
    world.is_empty();
}

#[test]
fn who_may_not_enter_is_told_why() {
    let stranger = "mallory@evil.example/x";
    let rows = [
        (JULIET, VERONA, "jid-malformed"),
        ("juliet@xmpp.example", AS_JULIET, "jid-malformed"),
        (JULIET, "chat.sip.example/JuliC", "service-unavailable"),
        (stranger, AS_JULIET, "not-allowed"),
        (JULIET, "verona@xmpp.example/JuliC", "not-allowed"),
    ];
    for (from, to, condition) in rows {
        let mut world = World::new();
        let error = format!("{to} > {from} presence error p1 {condition}");
        world.expect(join_as(from, to), &[&error]);
        world.is_empty();
    }
    let mut world = World::with(|settings| settings.rooms.enabled = false);
    let error = format!("{AS_JULIET} > {JULIET} presence error p1 feature-not-implemented");
    world.expect(join(AS_JULIET), &[&error]);
}

#[test]
fn the_number_of_users_is_bounded() {
    let mut world = World::with(|settings| {
        settings.rooms.max_legs_per_user = 2;
        settings.rooms.max_legs = 3;
    });
    let full = "resource-constraint";
    for (from, to, is_full) in [
        (JULIET, "a@chat.sip.example/J", false),
        (JULIET, "b@chat.sip.example/J", false),
        ("juliet@xmpp.example/garden", "c@chat.sip.example/J", true),
        ("ann@xmpp.example/x", "a@chat.sip.example/A", false),
        ("bea@xmpp.example/x", "a@chat.sip.example/B", true),
    ] {
        let commands = world.give(join_as(from, to));
        let is_error = commands.iter().any(|command| words(command).contains(full));
        assert_eq!(is_error, is_full, "{from} {to}");
    }
}

#[test]
fn her_message_comes_back_when_the_conference_has_it() {
    let mut world = entered();
    world.expect(
        message(JULIET, VERONA, im(ImKind::Groupchat, "m1", "Who knows?")),
        &["SEND 2 in 1 > all 'Who knows?'"],
    );
    world.expect(
        event(1, outcome(2, Ok(()))),
        &["verona@chat.sip.example/JuliC > juliet@xmpp.example/balcony groupchat 3 m1 'Who knows?'"],
    );
    world.expect(settled(3, Ok(())), &[]);
    world.expect(
        message(JULIET, VERONA, im(ImKind::Groupchat, "m2", "Again")),
        &["SEND 4 in 1 > all 'Again'"],
    );
    world.expect(
        event(1, outcome(4, Err(code(413)))),
        &["verona@chat.sip.example > juliet@xmpp.example/balcony message error m2 policy-violation"],
    );
    left(&mut world);
    let way = Way::ToSip;
    assert_eq!(
        world.entered,
        [(way, Outcome::Taken), (way, Outcome::Failed)]
    );
}

#[test]
fn a_message_whose_outcome_comes_after_the_end_has_one_all_the_same() {
    let mut world = entered();
    world.give(message(
        JULIET,
        VERONA,
        im(ImKind::Groupchat, "m1", "Who knows?"),
    ));
    world.give(presence(JULIET, AS_JULIET, false));
    world.give(event(1, ConferenceEvent::Ended(End::Left)));
    let lost = Failure::Local(Local::OutcomeUnknown);
    world.expect(
        event(1, outcome(2, Err(lost))),
        &["verona@chat.sip.example > juliet@xmpp.example/balcony message error m1 internal-server-error"],
    );
    world.is_empty();
    assert_eq!(world.entered, [(Way::ToSip, Outcome::Unknown)]);
}

#[test]
fn others_speak_under_their_nicknames_and_wait_for_her_server() {
    let mut world = entered();
    world.expect(
        event(1, said(7, "romeo@sip.example", false, "Hello")),
        &["verona@chat.sip.example/Romeo > juliet@xmpp.example/balcony groupchat 2 s1 'Hello'"],
    );
    world.expect(settled(2, Ok(())), &["answer 7 200"]);
    world.expect(
        event(1, said(8, "romeo@sip.example", true, "Psst")),
        &["verona@chat.sip.example/Romeo > juliet@xmpp.example/balcony private 3 s1 'Psst'"],
    );
    world.expect(settled(3, Ok(())), &["answer 8 200"]);
    world.expect(
        event(1, said(9, "verona@chat.sip.example", false, "Welcome")),
        &["verona@chat.sip.example > juliet@xmpp.example/balcony groupchat 4 s1 'Welcome'"],
    );
    world.expect(settled(4, Ok(())), &["answer 9 200"]);
    // Somebody whom the roster does not name cannot borrow a name that it does.
    world.expect(
        event(1, said(10, "romeo@evil.example", false, "Hi")),
        &["verona@chat.sip.example/sip:romeo@evil.example > juliet@xmpp.example/balcony groupchat 5 s1 'Hi'"],
    );
    world.expect(settled(5, Ok(())), &["answer 10 200"]);
    world.expect(
        event(1, said(11, "romeo@sip.example", false, "")),
        &["answer 11 200"],
    );
    left(&mut world);
}

#[test]
fn private_messages_go_to_the_occupant() {
    let mut world = entered();
    let to = "verona@chat.sip.example/romeo";
    world.expect(
        message(JULIET, to, im(ImKind::Chat, "m1", "Psst")),
        &["SEND 2 in 1 > sip:romeo@sip.example 'Psst'"],
    );
    world.expect(event(1, outcome(2, Ok(()))), &[]);
    world.expect(
        message(JULIET, "verona@chat.sip.example/Nobody", im(ImKind::Chat, "m2", "Psst")),
        &["verona@chat.sip.example/Nobody > juliet@xmpp.example/balcony message error m2 item-not-found"],
    );
    world.expect(
        message(JULIET, to, im(ImKind::Groupchat, "m3", "Psst")),
        &["verona@chat.sip.example/romeo > juliet@xmpp.example/balcony message error m3 bad-request"],
    );
    left(&mut world);
}

#[test]
fn what_is_no_text_stays_here() {
    let mut world = entered();
    let typing = Im {
        kind: ImKind::Groupchat,
        chat_state: Some(ChatState::Composing),
        ..Im::default()
    };
    world.expect(message(JULIET, VERONA, typing), &[]);
    let subject = Im {
        kind: ImKind::Groupchat,
        id: Some("m1".to_owned()),
        subjects: vec![text("New")],
        ..Im::default()
    };
    world.expect(
        message(JULIET, VERONA, subject),
        &["verona@chat.sip.example > juliet@xmpp.example/balcony message error m1 feature-not-implemented"],
    );
    let outsider = "ann@xmpp.example/x";
    world.expect(
        message(outsider, VERONA, im(ImKind::Groupchat, "m2", "Hi")),
        &["verona@chat.sip.example > ann@xmpp.example/x message error m2 not-acceptable"],
    );
    left(&mut world);
}

#[test]
fn occupants_come_go_and_change() {
    let mut world = entered();
    world.expect(
        event(1, change(vec![person("nurse@sip.example", "")], &[])),
        &["verona@chat.sip.example/nurse > juliet@xmpp.example/balcony +"],
    );
    world.expect(
        event(
            1,
            change(vec![person("nurse@sip.example", "The  Nurse")], &[]),
        ),
        &[
            "verona@chat.sip.example/nurse > juliet@xmpp.example/balcony - now The Nurse 303",
            "verona@chat.sip.example/The Nurse > juliet@xmpp.example/balcony +",
        ],
    );
    let moderator = Participant {
        role: Role::Moderator,
        ..person("nurse@sip.example", "The Nurse")
    };
    world.expect(
        event(1, change(vec![moderator.clone()], &[])),
        &["verona@chat.sip.example/The Nurse > juliet@xmpp.example/balcony + Moderator"],
    );
    world.expect(event(1, change(vec![moderator], &[])), &[]);
    world.expect(
        event(
            1,
            change(
                vec![person("ben2@sip.example", "ben")],
                &["nurse@sip.example"],
            ),
        ),
        &[
            "verona@chat.sip.example/The Nurse > juliet@xmpp.example/balcony -",
            "verona@chat.sip.example/ben 2 > juliet@xmpp.example/balcony +",
        ],
    );
    // The number stays when it is not needed any more.
    world.expect(
        event(
            1,
            change(
                vec![person("ben2@sip.example", "ben")],
                &["ben@sip.example"],
            ),
        ),
        &["verona@chat.sip.example/Ben > juliet@xmpp.example/balcony -"],
    );
    world.expect(
        event(1, everybody(vec![person("romeo@sip.example", "Romeo")])),
        &["verona@chat.sip.example/ben 2 > juliet@xmpp.example/balcony -"],
    );
    left(&mut world);
}

#[test]
fn nicknames_are_asked_for_and_shown() {
    let mut world = entered();
    world.expect(presence(JULIET, AS_JULIET, true), &[]);
    world.expect(
        presence(JULIET, "verona@chat.sip.example/Capulet", true),
        &["NICKNAME 1 Capulet"],
    );
    world.expect(
        event(1, ConferenceEvent::Nick(Ok("Capulet".to_owned()))),
        &[
            "verona@chat.sip.example/JuliC > juliet@xmpp.example/balcony - now Capulet 110 303",
            "verona@chat.sip.example/Capulet > juliet@xmpp.example/balcony + 100 110",
        ],
    );
    world.expect(
        presence(JULIET, "verona@chat.sip.example/romeo", true),
        &["verona@chat.sip.example/romeo > juliet@xmpp.example/balcony presence error p2 conflict"],
    );
    world.give(presence(JULIET, "verona@chat.sip.example/Paris", true));
    world.expect(
        event(1, ConferenceEvent::Nick(Err(NickRefusal::Taken))),
        &["verona@chat.sip.example/Paris > juliet@xmpp.example/balcony presence error p2 conflict"],
    );
    world.expect(
        message(JULIET, VERONA, im(ImKind::Groupchat, "m1", "x")),
        &["SEND 2 in 1 > all 'x'"],
    );
    world.expect(
        event(1, outcome(2, Ok(()))),
        &["verona@chat.sip.example/Capulet > juliet@xmpp.example/balcony groupchat 3 m1 'x'"],
    );
}

#[test]
fn the_end_is_told_with_its_reason() {
    let reason = Some("Go".to_owned());
    let rows = [
        (
            End::Removed {
                reason: reason.clone(),
            },
            "- 110 307 'Go'",
        ),
        (
            End::Banned {
                reason: reason.clone(),
            },
            "- 110 301 'Go'",
        ),
        (End::Over { reason }, "- 110 332 'Go'"),
        (
            End::Lost(Failure::Local(Local::Timeout)),
            "- 110 333 'The other side did not answer in time'",
        ),
    ];
    for (end, shown) in rows {
        let mut world = entered();
        let shown = format!("verona@chat.sip.example/JuliC > juliet@xmpp.example/balcony {shown}");
        world.expect(event(1, ConferenceEvent::Ended(end)), &[&shown]);
        world.is_empty();
    }
}

#[test]
fn who_comes_back_while_leaving_enters_again() {
    let mut world = entered();
    world.give(presence(JULIET, AS_JULIET, false));
    world.expect(join("verona@chat.sip.example/New"), &[]);
    world.expect(
        event(1, ConferenceEvent::Ended(End::Left)),
        &[
            "verona@chat.sip.example/JuliC > juliet@xmpp.example/balcony - 110",
            "JOIN 2 sip:juliet@xmpp.example;gr=balcony > sip:verona@chat.sip.example New",
        ],
    );
}

#[test]
fn entering_twice_shows_the_room_again() {
    let mut world = entered();
    world.expect(
        join(AS_JULIET),
        &[
            "verona@chat.sip.example/Ben > juliet@xmpp.example/balcony +",
            "verona@chat.sip.example/Romeo > juliet@xmpp.example/balcony +",
            "verona@chat.sip.example/JuliC > juliet@xmpp.example/balcony + 100 110",
            "verona@chat.sip.example > juliet@xmpp.example/balcony subject ''",
        ],
    );
}

#[test]
fn who_cannot_be_reached_any_more_leaves() {
    let mut world = entered();
    world.expect(
        presence_error(JULIET, AS_JULIET, Condition::NotAcceptable),
        &[],
    );
    world.expect(
        presence_error(JULIET, AS_JULIET, Condition::RecipientUnavailable),
        &["LEAVE 1"],
    );
    let mut world = entered();
    world.give(event(1, said(7, "romeo@sip.example", false, "Hello")));
    world.expect(
        settled(2, Err(Failure::Local(Local::Unreachable))),
        &["answer 7 504", "LEAVE 1"],
    );
    world.expect(
        event(1, said(8, "romeo@sip.example", false, "Hello")),
        &["answer 8 404"],
    );
}

#[test]
fn what_her_server_refuses_is_no_success() {
    let error = |id: &str, condition| {
        Input::Xmpp(XmppIn::MessageError {
            from: jid(JULIET),
            to: jid(VERONA),
            id: Some(id.to_owned()),
            error: StanzaError::new(condition),
        })
    };
    let mut world = entered();
    for (sip, stanza, private) in [(7, 2, false), (8, 3, true)] {
        world.give(event(1, said(sip, "romeo@sip.example", private, "x")));
        world.expect(error("s2", Condition::PolicyViolation), &[]);
        world.expect(
            error("s1", Condition::PolicyViolation),
            &[&format!("answer {sip} 403")],
        );
        world.expect(error("s1", Condition::PolicyViolation), &[]);
        world.expect(settled(stanza, Ok(())), &[]);
    }
    world.give(event(1, said(9, "romeo@sip.example", false, "x")));
    world.expect(
        error("s1", Condition::RecipientUnavailable),
        &["answer 9 480", "LEAVE 1"],
    );
}

#[test]
fn an_error_is_about_one_of_two_messages_of_the_same_id() {
    let mut world = entered();
    world.give(event(1, said(7, "romeo@sip.example", false, "x")));
    let commands = world.give(event(1, said(8, "romeo@sip.example", false, "y")));
    let Some(Command::Xmpp(XmppOut::Message { im, .. })) = commands.first() else {
        panic!("{commands:?}");
    };
    assert!(im.id.as_deref().is_some_and(|id| id != "s1"), "{im:?}");
    let error = XmppIn::MessageError {
        from: jid(JULIET),
        to: jid(VERONA),
        id: Some("s1".to_owned()),
        error: StanzaError::new(Condition::PolicyViolation),
    };
    world.expect(Input::Xmpp(error), &["answer 7 403"]);
    world.expect(settled(2, Ok(())), &[]);
    world.expect(settled(3, Ok(())), &["answer 8 200"]);
}

#[test]
fn messages_under_way_are_bounded_each_way() {
    let mut world = entered_with(|settings| settings.rooms.max_pending = 1);
    world.give(message(JULIET, VERONA, im(ImKind::Groupchat, "m1", "x")));
    world.expect(
        message(JULIET, VERONA, im(ImKind::Groupchat, "m2", "x")),
        &["verona@chat.sip.example > juliet@xmpp.example/balcony message error m2 resource-constraint"],
    );
    world.give(event(1, said(7, "romeo@sip.example", false, "x")));
    world.expect(
        event(1, said(8, "romeo@sip.example", false, "x")),
        &["answer 8 503"],
    );
}

#[test]
fn a_flood_of_occupants_is_cut_and_costs_what_it_says() {
    let mut world = World::with(|settings| settings.rooms.max_occupants = 1000);
    world.give(join(AS_JULIET));
    world.give(event(1, joined("JuliC")));
    let same_name = |range: std::ops::Range<u32>| {
        range
            .map(|number| person(&format!("u{number}@sip.example"), "Same"))
            .collect()
    };
    let commands = world.give(event(1, everybody(same_name(0..20_000))));
    assert_eq!(commands.len(), 1000 + 2);
    let names: std::collections::BTreeSet<String> = commands
        .iter()
        .filter_map(|command| match command {
            Command::Xmpp(XmppOut::Muc(MucOut::Occupant { from, .. })) => from.resource.clone(),
            _ => None,
        })
        .collect();
    assert_eq!(names.len(), 1001);
    assert_eq!(
        world.give(event(1, change(same_name(20_000..20_100), &[]))),
        []
    );
}

#[test]
fn the_gateway_stops() {
    let mut world = entered();
    world.bridge.shutdown(world.now);
    let commands: Vec<String> = world.drain().iter().map(words).collect();
    assert_eq!(
        commands,
        [
            "verona@chat.sip.example/JuliC > juliet@xmpp.example/balcony - 110 332",
            "LEAVE 1",
        ]
    );
    world.expect(event(1, ConferenceEvent::Ended(End::Left)), &[]);
    world.is_empty();
    world.expect(
        join(AS_JULIET),
        &["verona@chat.sip.example/JuliC > juliet@xmpp.example/balcony presence error p1 resource-constraint"],
    );
}
