//! RFC 7702 §6: Romeo in the room `capulet@rooms.xmpp.example`.

use super::*;

const ROOM: &str = "capulet@rooms.xmpp.example";
const AS_ROMEO: &str = "capulet@rooms.xmpp.example/Romeo";

fn event(event: FocusEvent) -> Input {
    Input::Sip(SipIn::Focus {
        leg: Ref(50),
        event,
    })
}

fn asked(nick: Option<&str>, name: Option<&str>) -> Input {
    event(FocusEvent::Asked {
        user: sip(ROMEO),
        room: sip(ROOM),
        nick: nick.map(str::to_owned),
        name: name.map(str::to_owned),
    })
}

fn occupant(from: &str, to: &Jid, statuses: &[u16], available: bool) -> Input {
    Input::Xmpp(XmppIn::Muc(MucIn::Occupant {
        from: jid(from),
        to: to.clone(),
        presence: OccupantPresence {
            available,
            role: if available {
                Role::Participant
            } else {
                Role::None
            },
            statuses: statuses.to_vec(),
            ..OccupantPresence::default()
        },
    }))
}

fn renamed(from: &str, to: &Jid, nick: &str, statuses: &[u16]) -> Input {
    Input::Xmpp(XmppIn::Muc(MucIn::Occupant {
        from: jid(from),
        to: to.clone(),
        presence: OccupantPresence {
            new_nick: Some(nick.to_owned()),
            statuses: statuses.to_vec(),
            ..OccupantPresence::default()
        },
    }))
}

fn room_says(from: &str, to: &Jid, im: Im) -> Input {
    Input::Xmpp(XmppIn::Message {
        from: jid(from),
        to: to.clone(),
        im,
    })
}

fn room_refuses(from: &str, to: &Jid, condition: Condition) -> Input {
    Input::Xmpp(XmppIn::PresenceError {
        from: jid(from),
        to: to.clone(),
        error: StanzaError::new(condition),
    })
}

fn says(reference: u64, to: Option<&str>, body: &str) -> Input {
    event(FocusEvent::Message {
        reference: Ref(reference),
        to: to.map(sip),
        im: im(ImKind::Normal, "", body),
    })
}

/// Asks, and gives the JID that he has in the room.
fn ask(world: &mut World, nick: Option<&str>, name: Option<&str>) -> Jid {
    let commands = world.give(asked(nick, name));
    match commands.as_slice() {
        [Command::Xmpp(XmppOut::Muc(MucOut::Join { from, .. }))] => from.clone(),
        other => panic!("{other:?}"),
    }
}

/// Romeo is in, with Juliet.
fn entered() -> (World, Jid) {
    entered_with(|_| {})
}

fn entered_with(settings: impl FnOnce(&mut Settings)) -> (World, Jid) {
    let mut world = World::with(settings);
    let me = ask(&mut world, Some("Romeo"), None);
    world.give(occupant(
        "capulet@rooms.xmpp.example/Juliet",
        &me,
        &[],
        true,
    ));
    world.give(occupant(AS_ROMEO, &me, &[110], true));
    (world, me)
}

/// The id of the message to the room among these commands.
fn id_of(commands: &[Command]) -> String {
    match commands {
        [Command::Xmpp(XmppOut::Message { im, .. } | XmppOut::Muc(MucOut::Private { im, .. }))] => {
            im.id.clone().unwrap()
        }
        other => panic!("{other:?}"),
    }
}

fn leave(world: &mut World, me: &Jid, nick: &str) {
    let gone = format!("{me} > {ROOM}/{nick} unavailable");
    world.expect(event(FocusEvent::Left), &[&gone]);
    world.is_empty();
}

#[test]
fn he_enters_when_the_room_has_shown_him_to_himself() {
    let mut world = World::new();
    let me = ask(&mut world, Some("Romeo"), None);
    assert_eq!(me.bare(), jid(ROMEO));
    let juliet = "capulet@rooms.xmpp.example/Juliet";
    world.expect(occupant(juliet, &me, &[], true), &[]);
    world.expect(settled(1, Ok(())), &[]);
    world.expect(
        occupant(AS_ROMEO, &me, &[100, 110], true),
        &[
            "accept 50 Romeo",
            "roster 50 full +Juliet(sip:capulet@rooms.xmpp.example;gr=Juliet) +Romeo(sip:capulet@rooms.xmpp.example;gr=Romeo)",
        ],
    );
    let past = Im {
        sent_at: Some(Duration::from_secs(1)),
        ..im(ImKind::Groupchat, "h1", "Old")
    };
    world.expect(
        room_says(juliet, &me, past),
        &["SEND 2 in 50 sip:capulet@rooms.xmpp.example;gr=Juliet old 'Old'"],
    );
    world.expect(
        event(FocusEvent::Outcome {
            reference: Ref(2),
            outcome: Ok(()),
        }),
        &[],
    );
    let subject = Im {
        kind: ImKind::Groupchat,
        subjects: vec![text("Feud")],
        ..Im::default()
    };
    world.expect(
        room_says(juliet, &me, subject.clone()),
        &["subject 50 'Feud'"],
    );
    world.expect(room_says(juliet, &me, subject), &[]);
    leave(&mut world, &me, "Romeo");
}

#[test]
fn the_join_asks_for_the_past_as_set() {
    let mut world = World::with(|settings| settings.rooms.history = 3);
    let commands = world.give(asked(None, Some("Romeo M.")));
    let shown: Vec<String> = commands.iter().map(words).collect();
    assert!(
        shown[0].ends_with(" > capulet@rooms.xmpp.example/Romeo M. join 1 3"),
        "{shown:?}"
    );
}

#[test]
fn what_the_room_refuses_is_the_answer_to_the_invite() {
    let rows = [
        (Condition::RegistrationRequired, 403),
        (Condition::Forbidden, 403),
        (Condition::ItemNotFound, 404),
        (Condition::NotAuthorized, 403),
        (Condition::ServiceUnavailable, 403),
    ];
    for (condition, code) in rows {
        let mut world = World::new();
        let me = ask(&mut world, Some("Romeo"), None);
        let end = format!("end 50 refused {code}");
        world.expect(room_refuses(AS_ROMEO, &me, condition), &[&end]);
        world.is_empty();
    }
}

#[test]
fn a_nickname_that_he_chose_is_not_changed() {
    let mut world = World::new();
    let me = ask(&mut world, Some("Romeo"), None);
    world.expect(
        room_refuses(AS_ROMEO, &me, Condition::Conflict),
        &["end 50 NickTaken"],
    );
    world.is_empty();
}

#[test]
fn a_nickname_that_we_chose_gets_a_number() {
    let mut world = World::new();
    let me = ask(&mut world, None, None);
    let join = |number: u32, nick: &str| format!("{me} > {ROOM}/{nick} join {number} 20");
    world.expect(
        room_refuses("capulet@rooms.xmpp.example/romeo", &me, Condition::Conflict),
        &[&join(2, "romeo 2")],
    );
    world.expect(
        room_refuses(
            "capulet@rooms.xmpp.example/romeo 2",
            &me,
            Condition::Conflict,
        ),
        &[&join(3, "romeo 3")],
    );
    world.expect(
        occupant("capulet@rooms.xmpp.example/romeo 3", &me, &[110], true),
        &[
            "accept 50 romeo 3",
            "roster 50 full +romeo 3(sip:capulet@rooms.xmpp.example;gr=romeo%203)",
        ],
    );
}

#[test]
fn a_room_that_does_not_answer_or_cannot_be_reached_is_given_up() {
    let mut world = World::new();
    let me = ask(&mut world, Some("Romeo"), None);
    let gone = format!("{me} > {AS_ROMEO} unavailable");
    world.pass(30, &[&gone, "end 50 refused 504"]);
    world.is_empty();
    let me = ask(&mut world, Some("Romeo"), None);
    let gone = format!("{me} > {AS_ROMEO} unavailable");
    world.expect(
        settled(2, Err(Failure::Local(Local::DomainNotFound))),
        &[&gone, "end 50 refused 404"],
    );
    world.is_empty();
}

#[test]
fn no_room_is_made_for_him() {
    let mut world = World::new();
    let me = ask(&mut world, Some("Romeo"), None);
    let gone = format!("{me} > {AS_ROMEO} unavailable");
    world.expect(
        occupant(AS_ROMEO, &me, &[110, 201], true),
        &[&gone, "end 50 refused 404"],
    );
    world.is_empty();
}

#[test]
fn who_may_not_enter_is_told_why() {
    let mut world = World::new();
    for (user, room, code) in [
        (ROMEO, "r@evil.example", 403),
        ("romeo@evil.example", ROOM, 403),
    ] {
        let asked = event(FocusEvent::Asked {
            user: sip(user),
            room: sip(room),
            nick: None,
            name: None,
        });
        world.expect(asked, &[&format!("end 50 refused {code}")]);
    }
    world.expect(asked(Some(" "), None), &["end 50 refused 400"]);
    world.is_empty();
}

#[test]
fn his_message_is_answered_when_the_room_repeats_it() {
    let (mut world, me) = entered();
    let commands = world.give(says(60, None, "Hi"));
    let id = id_of(&commands);
    assert_eq!(
        words(&commands[0]),
        format!("{me} > {ROOM} groupchat 2 {id} 'Hi'")
    );
    world.expect(settled(2, Ok(())), &[]);
    world.expect(
        room_says(AS_ROMEO, &me, im(ImKind::Groupchat, &id, "Hi")),
        &["answer 60 200"],
    );
    // COMPAT: a room that gives messages other ids.
    world.give(says(61, None, "Ho"));
    world.expect(
        room_says(AS_ROMEO, &me, im(ImKind::Groupchat, "other", "Ho")),
        &["answer 61 200"],
    );
    let id = id_of(&world.give(says(62, None, "Hu")));
    let error = Input::Xmpp(XmppIn::MessageError {
        from: jid(ROOM),
        to: me.clone(),
        id: Some(id),
        error: StanzaError::new(Condition::Forbidden),
    });
    world.expect(error, &["answer 62 403"]);
    world.give(says(63, None, "He"));
    world.pass(20, &["answer 63 504"]);
    leave(&mut world, &me, "Romeo");
    let outcomes = [
        Outcome::Taken,
        Outcome::Taken,
        Outcome::Failed,
        Outcome::Unknown,
    ];
    assert_eq!(
        world.entered,
        outcomes.map(|outcome| (Way::ToXmpp, outcome))
    );
}

#[test]
fn private_messages_go_to_the_occupant_and_are_answered_by_its_server() {
    let (mut world, me) = entered();
    let juliet = "capulet@rooms.xmpp.example/Juliet";
    let commands = world.give(says(60, Some(juliet), "Psst"));
    assert!(words(&commands[0]).starts_with(&format!("{me} > {juliet} private 2")));
    world.expect(settled(2, Ok(())), &["answer 60 200"]);
    world.expect(
        says(61, Some("capulet@rooms.xmpp.example/Nobody"), "Psst"),
        &["answer 61 404"],
    );
    world.expect(
        says(62, Some("other@rooms.xmpp.example/Juliet"), "Psst"),
        &["answer 62 404"],
    );
    world.expect(
        room_says(juliet, &me, im(ImKind::Chat, "p1", "Soft")),
        &["SEND 3 in 50 sip:capulet@rooms.xmpp.example;gr=Juliet private 'Soft'"],
    );
    world.expect(
        event(FocusEvent::Outcome {
            reference: Ref(3),
            outcome: Err(code(404)),
        }),
        &[&format!(
            "{me} > {juliet} message error p1 undefined-condition"
        )],
    );
    leave(&mut world, &me, "Romeo");
}

#[test]
fn occupants_come_go_and_are_renamed() {
    let (mut world, me) = entered();
    let at = |nick: &str| format!("{ROOM}/{nick}");
    world.expect(
        occupant(&at("Paris"), &me, &[], true),
        &["roster 50 +Paris(sip:capulet@rooms.xmpp.example;gr=Paris)"],
    );
    world.expect(occupant(&at("Paris"), &me, &[], true), &[]);
    world.expect(
        renamed(&at("Paris"), &me, "Count", &[303]),
        &["roster 50 +Count(sip:capulet@rooms.xmpp.example;gr=Count) -sip:capulet@rooms.xmpp.example;gr=Paris"],
    );
    world.expect(occupant(&at("Count"), &me, &[], true), &[]);
    world.expect(
        occupant(&at("Count"), &me, &[307], false),
        &["roster 50 -sip:capulet@rooms.xmpp.example;gr=Count"],
    );
    world.expect(occupant(&at("Count"), &me, &[], false), &[]);
    leave(&mut world, &me, "Romeo");
}

#[test]
fn nicknames_are_asked_for() {
    let (mut world, me) = entered();
    world.expect(
        event(FocusEvent::Nick {
            nick: "Romeo".to_owned(),
        }),
        &["nick 50 ok"],
    );
    world.expect(
        event(FocusEvent::Nick {
            nick: "\u{0}".to_owned(),
        }),
        &["nick 50 424"],
    );
    let ask = |nick: &str| {
        event(FocusEvent::Nick {
            nick: nick.to_owned(),
        })
    };
    let sent = |nick: &str| format!("{me} > {ROOM}/{nick} available");
    world.expect(ask("Juliet"), &[&sent("Juliet")]);
    world.expect(
        room_refuses(
            "capulet@rooms.xmpp.example/Juliet",
            &me,
            Condition::Conflict,
        ),
        &["nick 50 425"],
    );
    world.expect(ask("Montague"), &[&sent("Montague")]);
    world.expect(
        renamed(AS_ROMEO, &me, "Montague", &[110, 303]),
        &[
            "roster 50 +Montague(sip:capulet@rooms.xmpp.example;gr=Montague) -sip:capulet@rooms.xmpp.example;gr=Romeo",
            "nick 50 ok",
        ],
    );
    world.expect(
        occupant("capulet@rooms.xmpp.example/Montague", &me, &[110], true),
        &[],
    );
    world.expect(ask("Third"), &[&sent("Third")]);
    world.pass(20, &["nick 50 504"]);
    leave(&mut world, &me, "Montague");
}

#[test]
fn the_end_is_told_with_its_reason() {
    let rows: [(&[u16], &str); 6] = [
        (&[110, 307], "Removed { reason: None }"),
        (&[110, 301], "Banned { reason: None }"),
        (&[110, 332], "Over { reason: None }"),
        (&[110, 322], "Removed { reason: None }"),
        (&[110, 307, 333], "lost 504"),
        (&[110], "lost 504"),
    ];
    for (statuses, end) in rows {
        let (mut world, me) = entered();
        world.give(says(60, None, "Hi"));
        let end = format!("end 50 {end}");
        world.expect(
            occupant(AS_ROMEO, &me, statuses, false),
            &["answer 60 500", &end],
        );
        world.is_empty();
    }
}

#[test]
fn nobody_but_the_room_is_heard() {
    let (mut world, me) = entered();
    let other = "other@rooms.xmpp.example/Romeo";
    world.expect(occupant(other, &me, &[110, 307], false), &[]);
    world.expect(occupant(other, &me, &[110], true), &[]);
    let refused = format!("{me} > {other} message error m1 recipient-unavailable");
    world.expect(
        room_says(other, &me, im(ImKind::Groupchat, "m1", "Hi")),
        &[&refused],
    );
    world.expect(room_refuses(other, &me, Condition::ItemNotFound), &[]);
    leave(&mut world, &me, "Romeo");
}

#[test]
fn a_room_that_shows_a_ghost_is_told_that_it_is_one() {
    let mut world = World::new();
    let ghost = jid("romeo@sip.example/room-0123456789abcdef");
    let gone = format!("{ghost} > {AS_ROMEO} unavailable");
    world.expect(occupant(AS_ROMEO, &ghost, &[110], true), &[&gone]);
    world.expect(occupant(AS_ROMEO, &ghost, &[], true), &[]);
    let refused = format!("{ghost} > {AS_ROMEO} message error m1 recipient-unavailable");
    world.expect(
        room_says(AS_ROMEO, &ghost, im(ImKind::Groupchat, "m1", "Hi")),
        &[&refused],
    );
}

#[test]
fn who_cannot_follow_is_taken_out() {
    let (mut world, me) = entered_with(|settings| settings.rooms.max_pending = 2);
    let juliet = "capulet@rooms.xmpp.example/Juliet";
    for number in 0..2 {
        let id = format!("m{number}");
        world.give(room_says(juliet, &me, im(ImKind::Groupchat, &id, "x")));
    }
    let gone = format!("{me} > {AS_ROMEO} unavailable");
    world.expect(
        room_says(juliet, &me, im(ImKind::Groupchat, "m3", "x")),
        &[&gone, "end 50 lost 503"],
    );
    assert_eq!(world.bridge.status().room_messages, 2);
    for reference in [2, 3] {
        let outcome = FocusEvent::Outcome {
            reference: Ref(reference),
            outcome: Err(code(481)),
        };
        world.expect(event(outcome), &[]);
    }
    world.is_empty();
}

#[test]
fn a_silent_room_is_asked() {
    let (mut world, me) = entered();
    let ping = |number: u32| format!("{me} > {AS_ROMEO} ping {number}");
    world.pass(900, &[&ping(2)]);
    let pong = |from: &str, reference, joined| {
        Input::Xmpp(XmppIn::Muc(MucIn::Pong {
            from: jid(from),
            reference: Ref(reference),
            joined,
        }))
    };
    world.expect(pong("evil@rooms.xmpp.example/x", 2, Some(false)), &[]);
    world.expect(pong(AS_ROMEO, 2, Some(true)), &[]);
    world.pass(900, &[&ping(3)]);
    world.expect(pong(AS_ROMEO, 2, Some(false)), &[]);
    world.expect(pong(AS_ROMEO, 3, Some(false)), &["end 50 lost 504"]);
    world.is_empty();
}

#[test]
fn a_room_whose_server_is_lost_ends() {
    let (mut world, me) = entered();
    world.give(says(60, None, "Hi"));
    let gone = format!("{me} > {AS_ROMEO} unavailable");
    world.expect(
        settled(2, Err(Failure::Local(Local::Unreachable))),
        &["answer 60 504", &gone, "end 50 lost 504"],
    );
    world.is_empty();
}

#[test]
fn occupants_are_bounded() {
    let (mut world, me) = entered_with(|settings| settings.rooms.max_occupants = 3);
    let told: usize = (0..10)
        .map(|number| {
            let from = format!("{ROOM}/u{number}");
            world.give(occupant(&from, &me, &[], true)).len()
        })
        .sum();
    assert_eq!(told, 1);
}

#[test]
fn the_gateway_stops() {
    let (mut world, me) = entered();
    world.give(says(60, None, "Hi"));
    world.bridge.shutdown(world.now);
    let commands: Vec<String> = world.drain().iter().map(words).collect();
    let gone = format!("{me} > {AS_ROMEO} unavailable");
    assert_eq!(
        commands,
        [gone.as_str(), "answer 60 500", "end 50 lost 503"]
    );
    world.is_empty();
    world.expect(asked(None, None), &["end 50 refused 503"]);
}
