use super::*;
use crate::vocab::{PresenceKind, ResourcePresence, Text};

fn text(words: &str) -> Text {
    Text {
        lang: None,
        text: words.to_owned(),
    }
}

fn tuple(id: &str, open: Option<bool>) -> Tuple {
    Tuple {
        id: id.to_owned(),
        open,
        ..Tuple::default()
    }
}

fn document(tuples: &[Tuple]) -> Document {
    Document {
        tuples: tuples.to_vec(),
        ..Document::default()
    }
}

fn names(list: &[&str]) -> Vec<String> {
    list.iter().map(|name| (*name).to_owned()).collect()
}

fn available(device: &str, show: Option<Show>) -> Announcement {
    let presence = ResourcePresence {
        show,
        ..ResourcePresence::default()
    };
    (Some(device.to_owned()), PresenceKind::Available(presence))
}

fn unavailable(device: &str) -> Announcement {
    let device = (!device.is_empty()).then(|| device.to_owned());
    (device, PresenceKind::Unavailable(Vec::new()))
}

/// The sub-state of an open tuple in a document.
fn show_of(tuple: &Tuple, mut document: Document) -> Option<Show> {
    document.tuples = vec![Tuple {
        open: Some(true),
        ..tuple.clone()
    }];
    let mut news = Announced::default().update(&document, &Rules::default());
    match news.remove(0).1 {
        PresenceKind::Available(presence) => presence.show,
        other => panic!("{other:?}"),
    }
}

#[test]
fn activities_mean_sub_states() {
    let rows: [(&[&str], Option<Show>); 15] = [
        (&["away"], Some(Show::Away)),
        (&["meal"], Some(Show::Away)),
        (&["busy"], Some(Show::DoNotDisturb)),
        (&["on-the-phone"], Some(Show::DoNotDisturb)),
        (&["meeting"], Some(Show::DoNotDisturb)),
        (&["vacation"], Some(Show::ExtendedAway)),
        (&["holiday"], Some(Show::ExtendedAway)),
        (&["sleeping"], Some(Show::ExtendedAway)),
        (&["permanent-absence"], Some(Show::ExtendedAway)),
        (&["dnd"], Some(Show::DoNotDisturb)),
        (&["xa"], Some(Show::ExtendedAway)),
        (&["chat"], Some(Show::Chat)),
        (&["travel"], None),
        (&["travel", "Busy"], Some(Show::DoNotDisturb)),
        (&[], None),
    ];
    for (activities, show) in rows {
        let tuple = Tuple {
            activities: names(activities),
            ..Tuple::default()
        };
        assert_eq!(show_of(&tuple, Document::default()), show, "{activities:?}");
    }
    for (show, activity) in [
        (Show::Away, Some("away")),
        (Show::ExtendedAway, Some("away")),
        (Show::DoNotDisturb, Some("busy")),
        (Show::Chat, None),
    ] {
        assert_eq!(activity_of(show), activity);
    }
}

#[test]
fn what_is_said_closest_to_the_device_goes_first() {
    let mut tuple = Tuple {
        show: Some(Show::Chat),
        activities: names(&["away"]),
        legacy_activities: names(&["holiday"]),
        ..Tuple::default()
    };
    let mut document = Document {
        activities: names(&["busy"]),
        ..Document::default()
    };
    assert_eq!(show_of(&tuple, document.clone()), Some(Show::Chat));
    tuple.show = None;
    assert_eq!(show_of(&tuple, document.clone()), Some(Show::Away));
    tuple.activities = names(&["travel"]);
    assert_eq!(show_of(&tuple, document.clone()), Some(Show::DoNotDisturb));
    document.activities.clear();
    assert_eq!(show_of(&tuple, document), Some(Show::ExtendedAway));
}

#[test]
fn only_news_is_announced() {
    let mut announced = Announced::default();
    let away = Tuple {
        show: Some(Show::Away),
        ..tuple("t2", Some(true))
    };
    let steps = [
        (
            vec![tuple("t1", Some(true)), away.clone()],
            vec![available("t1", None), available("t2", Some(Show::Away))],
        ),
        (vec![tuple("t1", Some(true)), away.clone()], vec![]),
        (
            vec![tuple("t1", Some(true)), tuple("t2", Some(true))],
            vec![available("t2", None)],
        ),
        (vec![tuple("t2", Some(true))], vec![unavailable("t1")]),
        (vec![tuple("t2", None)], vec![]),
        (
            vec![Tuple {
                show: Some(Show::Away),
                ..tuple("t2", None)
            }],
            vec![available("t2", Some(Show::Away))],
        ),
        (vec![tuple("t2", Some(false))], vec![unavailable("t2")]),
        (vec![tuple("t2", Some(false))], vec![]),
        (vec![tuple("t3", Some(true))], vec![available("t3", None)]),
        (vec![], vec![unavailable("t3"), unavailable("")]),
        (vec![], vec![]),
        (vec![tuple("t1", None)], vec![]),
        (
            vec![tuple("", Some(true))],
            vec![(None, available("x", None).1)],
        ),
        (vec![], vec![unavailable("")]),
        (vec![tuple("t1", Some(true))], vec![available("t1", None)]),
        (vec![], vec![unavailable("t1"), unavailable("")]),
    ];
    for (at, (tuples, expected)) in steps.into_iter().enumerate() {
        assert_eq!(
            announced.update(&document(&tuples), &Rules::default()),
            expected,
            "step {at}"
        );
    }
}

#[test]
fn notes_become_statuses_and_never_states() {
    let mut announced = Announced::default();
    let german = Text {
        lang: Some("de".to_owned()),
        text: "im Büro".to_owned(),
    };
    let mut full = document(&[Tuple {
        notes: vec![text("Away"), text("twice"), german.clone()],
        ..tuple("a", Some(true))
    }]);
    full.notes = vec![text("at HQ")];
    full.tuples.push(tuple("b", Some(true)));
    full.tuples.push(Tuple {
        notes: vec![text("back on Monday")],
        priority: Some(5),
        ..tuple("c", Some(false))
    });
    let kinds: Vec<PresenceKind> = announced
        .update(&full, &Rules::default())
        .into_iter()
        .map(|(_, kind)| kind)
        .collect();
    let with = |statuses: Vec<Text>| {
        PresenceKind::Available(ResourcePresence {
            statuses,
            ..ResourcePresence::default()
        })
    };
    assert_eq!(
        kinds,
        [
            with(vec![text("Away"), german]),
            with(vec![text("at HQ")]),
            PresenceKind::Unavailable(vec![text("back on Monday")]),
        ]
    );
}

#[test]
fn at_most_sixteen_devices_count() {
    let tuples: Vec<Tuple> = (0..40)
        .map(|n| tuple(&format!("t{n}"), Some(true)))
        .collect();
    let mut announced = Announced::default();
    assert_eq!(
        announced
            .update(&document(&tuples), &Rules::default())
            .len(),
        MAX_RESOURCES
    );
    assert_eq!(announced.withdraw().len(), MAX_RESOURCES);
    let twins = [tuple("t", Some(true)), tuple("t", Some(false))];
    assert_eq!(
        announced.update(&document(&twins), &Rules::default()),
        [available("t", None)]
    );

    let mut resources = Resources::default();
    for n in 0..40 {
        let taken = resources.available(Some(&format!("r{n}")), ResourcePresence::default());
        assert_eq!(taken, n < MAX_RESOURCES);
    }
    assert_eq!(resources.document().unwrap().tuples.len(), MAX_RESOURCES);
}

#[test]
fn who_asks_hears_everything_again() {
    let mut announced = Announced::default();
    assert_eq!(announced.replay(), [unavailable("")]);
    assert_eq!(announced.unknown(), Some(unavailable("")));
    assert_eq!(announced.unknown(), None);
    let both = document(&[tuple("a", Some(true)), tuple("b", Some(false))]);
    announced.update(&both, &Rules::default());
    assert_eq!(announced.replay(), [available("a", None)]);
    assert_eq!(announced.unknown(), None);
    assert_eq!(announced.withdraw(), [unavailable("a")]);
    assert_eq!(announced.replay(), [unavailable("")]);
}

#[test]
fn resources_become_one_document() {
    let mut resources = Resources::default();
    assert_eq!(resources.document(), None);
    let desk = ResourcePresence {
        show: Some(Show::DoNotDisturb),
        statuses: vec![
            text("in the lab"),
            Text {
                lang: Some("de".to_owned()),
                text: "im Labor".to_owned(),
            },
        ],
        priority: Some(5),
        lang: Some("en".to_owned()),
        ..ResourcePresence::default()
    };
    let phone = ResourcePresence {
        priority: Some(-1),
        ..ResourcePresence::default()
    };
    assert!(resources.available(Some("desk"), desk.clone()));
    assert!(!resources.available(Some("desk"), desk));
    assert!(resources.available(Some("phone"), phone));
    let document = resources.document().unwrap();
    assert_eq!(document.activities, ["busy"]);
    let [desk, phone] = document.tuples.as_slice() else {
        panic!("{document:?}")
    };
    assert_eq!(
        (desk.id.as_str(), desk.open, desk.show),
        ("desk", Some(true), Some(Show::DoNotDisturb))
    );
    assert_eq!(desk.activities, ["busy"]);
    assert_eq!(
        desk.notes[0],
        Text {
            lang: Some("en".to_owned()),
            text: "in the lab".to_owned()
        }
    );
    assert_eq!((desk.priority, phone.priority), (Some(5), None));

    assert!(resources.unavailable(Some("phone"), &[]));
    assert!(!resources.unavailable(Some("phone"), &[]));
    assert!(resources.is_online());
    assert!(resources.unavailable(Some("desk"), &[text("gone home")]));
    let document = resources.document().unwrap();
    let closed = Tuple {
        notes: vec![text("gone home")],
        ..tuple("desk", Some(false))
    };
    assert_eq!(
        (document.tuples, document.activities),
        (vec![closed], vec![])
    );
    assert!(resources.available(None, ResourcePresence::default()));
    assert_eq!(resources.document().unwrap().tuples[0].id, "");
}

#[test]
fn the_bare_address_closes_everything() {
    let mut resources = Resources::default();
    resources.available(Some("a"), ResourcePresence::default());
    resources.available(Some("b"), ResourcePresence::default());
    let closed = resources.closed_document();
    assert_eq!(
        closed.tuples,
        [tuple("a", Some(false)), tuple("b", Some(false))]
    );
    assert!(resources.unavailable(None, &[]));
    assert_eq!(
        resources.document().unwrap().tuples,
        [tuple("a", Some(false))]
    );
    assert!(!resources.unavailable(None, &[]));
    assert_eq!(
        Resources::default().closed_document().tuples,
        [tuple("", Some(false))]
    );
}

#[test]
fn notes_are_bounded() {
    let long = "ä".repeat(5000);
    let mut notes = vec![text(" "), text(&long)];
    notes.extend((0..40).map(|n| Text {
        lang: Some(format!("x{n}")),
        text: "hi".to_owned(),
    }));
    let kept = notes_kept(&notes);
    assert_eq!(kept.len(), MAX_NOTES);
    assert_eq!(kept[0].text.chars().count(), MAX_NOTE);
}

// --------------------------------------------------------------------------------------------- states

#[test]
fn the_state_map_is_sound() {
    for row in &STATES {
        assert_eq!(row.state.row().state, row.state, "{} has one row", row.name);
        let twins = STATES.iter().filter(|other| other.name == row.name);
        assert_eq!(twins.count(), 1, "{}", row.name);
        assert!(
            (row.range.0..=row.range.1).contains(&row.publish),
            "{}",
            row.name
        );
        if row.by_number || row.token.is_some() {
            let read = State::of_availability(row.publish, row.token);
            assert_eq!(read, row.state, "what is published is read back");
        }
    }
    for (_, shown) in SHOWN {
        assert_eq!(
            State::sent_for(shown).row().shown,
            shown,
            "every sub-state has its row"
        );
    }
    let mut next = Some(0);
    let mut by_number: Vec<&StateRow> = STATES.iter().filter(|row| row.by_number).collect();
    by_number.sort_by_key(|row| row.range.0);
    for row in by_number {
        assert_eq!(
            Some(row.range.0),
            next,
            "{}: no gap and no overlap",
            row.name
        );
        next = row.range.1.checked_add(1);
    }
    assert_eq!(next, None, "every number has a state");
}

#[test]
fn a_token_counts_where_its_number_fits() {
    let rows = [
        (0, None, State::Unknown),
        (2999, Some("away"), State::Unknown),
        (3000, Some("no-such-token"), State::Available),
        (3500, Some("out-of-office"), State::Available),
        (4500, Some("idle"), State::Inactive),
        (6900, Some("urgent-interruptions-only"), State::UrgentOnly),
        (7499, Some("On-The-Phone"), State::InACall),
        (7500, None, State::BusyInactive),
        (8999, Some("in-a-meeting"), State::InAMeeting),
        (9500, Some("on-the-phone"), State::DoNotDisturb),
        (12_500, Some("out-to-lunch"), State::OutToLunch),
        (17_999, Some("off-work"), State::OffWork),
        (18_000, Some("available"), State::Offline),
        (u32::MAX, None, State::Offline),
    ];
    for (number, token, state) in rows {
        assert_eq!(
            State::of_availability(number, token),
            state,
            "{number} {token:?}"
        );
    }
}

#[test]
fn numbers_of_2005_and_words_of_messengers_are_read() {
    let levels = [
        (0, 600, State::Offline),
        (99, 400, State::Offline),
        (100, 0, State::Away),
        (200, 0, State::Inactive),
        (300, 0, State::Available),
        (300, 99, State::Away),
        (300, 149, State::Away),
        (300, 150, State::OutToLunch),
        (300, 399, State::BeRightBack),
        (300, 450, State::Available),
        (300, 500, State::InACall),
        (300, 699, State::Busy),
        (300, 700, State::Away),
        (300, u32::MAX, State::Available),
    ];
    for (availability, activity, state) in levels {
        assert_eq!(
            State::of_levels(availability, activity),
            state,
            "{availability}/{activity}"
        );
    }
    let words = [
        ("closed", Some("busy"), State::Offline),
        ("open", Some("Online"), State::Available),
        ("open", Some("unknown"), State::Available),
        ("open", None, State::Available),
        ("inuse", None, State::Busy),
        ("inuse", Some("onthephone"), State::InACall),
        ("", Some("berightback"), State::BeRightBack),
    ];
    for (status, substatus, state) in words {
        assert_eq!(
            State::of_words(status, substatus),
            state,
            "{status} {substatus:?}"
        );
    }
}

#[test]
fn every_language_has_every_text() {
    let phrases: Vec<Phrase> = STATES.iter().filter_map(|row| row.phrase).collect();
    assert_eq!(phrases.len(), 9);
    for tag in LANGUAGES {
        let language = Language::of_tag(tag).unwrap();
        assert_eq!(language.tag(), tag);
        for phrase in &phrases {
            let text = text_of(*phrase, language);
            assert!(!text.is_empty(), "{phrase:?} in {tag}");
            let others = phrases
                .iter()
                .filter(|other| text_of(**other, language) == text);
            assert_eq!(others.count(), 1, "{text} says one thing");
        }
    }
    assert_eq!(Language::of_tag("de-AT").map(Language::tag), Some("de"));
    assert_eq!(Language::of_tag("EN_us").map(Language::tag), Some("en"));
    assert_eq!(Language::of_tag("tlh"), None);
    assert_eq!(Language::default().tag(), "en");
}

fn in_language(tag: &str, words: &str) -> Text {
    Text {
        lang: Some(tag.to_owned()),
        text: words.to_owned(),
    }
}

fn stated(state: State) -> Tuple {
    Tuple {
        state: Some(state),
        ..tuple("0", Some(true))
    }
}

fn told(tuple: Tuple, rules: &Rules) -> PresenceKind {
    Announced::default()
        .update(&document(&[tuple]), rules)
        .remove(0)
        .1
}

fn status_of(tuple: Tuple, tag: &str) -> Vec<Text> {
    let rules = Rules {
        language: Language::of_tag(tag).unwrap(),
        ..Rules::default()
    };
    match told(tuple, &rules) {
        PresenceKind::Available(presence) => presence.statuses,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_state_speaks_before_the_note() {
    let call = stated(State::InACall);
    assert_eq!(
        status_of(call.clone(), "en"),
        [in_language("en", "In a call")]
    );
    assert_eq!(
        status_of(call.clone(), "de"),
        [in_language("de", "Im Gespräch")]
    );
    assert_eq!(status_of(stated(State::Busy), "en"), []);

    let noted = |note: Text| Tuple {
        notes: vec![note],
        ..call.clone()
    };
    assert_eq!(
        status_of(noted(text("back at 5")), "en"),
        [text("In a call – back at 5")]
    );
    let french = in_language("fr-CA", "retour à 17 h");
    let joined = in_language("fr-CA", "Au téléphone – retour à 17 h");
    assert_eq!(status_of(noted(french), "en"), [joined]);
    assert_eq!(
        status_of(noted(text("in a CALL until 5")), "en"),
        [text("in a CALL until 5")]
    );

    let own = Tuple {
        state_texts: vec![in_language("en", "On a train"), in_language("de", "Im Zug")],
        ..call.clone()
    };
    assert_eq!(status_of(own.clone(), "de"), [in_language("de", "Im Zug")]);
    assert_eq!(
        status_of(own.clone(), "nl"),
        [in_language("en", "On a train")]
    );
    let own_and_note = Tuple {
        notes: vec![text("slow"), in_language("de", "langsam")],
        ..own
    };
    let both = [
        text("On a train – slow"),
        in_language("de", "Im Zug – langsam"),
    ];
    assert_eq!(status_of(own_and_note, "en"), both);
}

#[test]
fn an_activity_speaks_only_where_there_is_no_note() {
    let meeting = Tuple {
        activities: names(&["meeting"]),
        ..tuple("a", Some(true))
    };
    assert_eq!(
        status_of(meeting.clone(), "en"),
        [in_language("en", "In a meeting")]
    );
    let noted = Tuple {
        notes: vec![text("room 4")],
        ..meeting
    };
    assert_eq!(status_of(noted, "en"), [text("room 4")]);
}

#[test]
fn an_administrator_may_show_a_state_in_another_way() {
    let rules = Rules {
        shown: [
            (State::Busy, Shown::Available(Some(Show::Away))),
            (State::InACall, Shown::Available(None)),
            (State::Unknown, Shown::Available(None)),
            (State::OffWork, Shown::Unavailable),
        ]
        .into(),
        ..Rules::default()
    };
    let shown = |state| match told(stated(state), &rules) {
        PresenceKind::Available(presence) => Shown::Available(presence.show),
        _ => Shown::Unavailable,
    };
    assert_eq!(shown(State::Busy), Shown::Available(Some(Show::Away)));
    assert_eq!(shown(State::InACall), Shown::Available(None));
    assert_eq!(shown(State::Unknown), Shown::Available(None));
    assert_eq!(shown(State::OffWork), Shown::Unavailable);
    assert_eq!(
        shown(State::DoNotDisturb),
        Shown::Available(Some(Show::DoNotDisturb))
    );
    let by_activity = Tuple {
        legacy_activities: names(&["busy"]),
        ..tuple("a", Some(true))
    };
    let PresenceKind::Available(presence) = told(by_activity, &rules) else {
        panic!("available")
    };
    assert_eq!(presence.show, Some(Show::Away));
}

#[test]
fn one_device_speaks_for_the_user() {
    let at = |id: &str, show: Option<Show>, priority: i8| Tuple {
        show,
        priority: Some(priority),
        ..tuple(id, Some(true))
    };
    let (dnd, away, xa) = (
        Some(Show::DoNotDisturb),
        Some(Show::Away),
        Some(Show::ExtendedAway),
    );
    let cases = [
        (
            vec![tuple("a", Some(false)), at("b", xa, 0)],
            "b",
            State::ExtendedAway,
        ),
        (vec![at("a", None, 0), at("b", away, 5)], "b", State::Away),
        (
            vec![at("a", away, 0), at("b", dnd, 0), at("c", xa, 0)],
            "b",
            State::DoNotDisturb,
        ),
        (
            vec![at("a", None, 0), at("b", Some(Show::Chat), 0)],
            "b",
            State::FreeForChat,
        ),
        (
            vec![at("a", None, 0), at("b", None, 0)],
            "a",
            State::Available,
        ),
        (
            vec![tuple("a", Some(false)), tuple("b", None)],
            "a",
            State::Offline,
        ),
        (vec![], "", State::Offline),
    ];
    for (tuples, id, state) in cases {
        let one = aggregate(&document(&tuples), Told::default());
        assert_eq!(
            (one.id.as_str(), one.state),
            (id, Some(state)),
            "{tuples:?}"
        );
        assert_eq!(one.open, Some(state != State::Offline));
    }
    let busy = Told {
        dnd: State::Busy,
        xa: State::OffWork,
    };
    let one = |show| aggregate(&document(&[at("a", show, 0)]), busy);
    assert_eq!(one(dnd).state, Some(State::Busy));
    assert_eq!(one(dnd).activities, ["busy"]);
    assert_eq!(one(xa).state, Some(State::OffWork));
    assert_eq!(one(xa).legacy_activities, ["away"]);
}
