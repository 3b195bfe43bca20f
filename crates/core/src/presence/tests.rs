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

#[test]
fn activities_mean_sub_states() {
    let rows: [(&[&str], Option<Show>); 12] = [
        (&["away"], Some(Show::Away)),
        (&["meal"], Some(Show::Away)),
        (&["busy"], Some(Show::DoNotDisturb)),
        (&["on-the-phone"], Some(Show::DoNotDisturb)),
        (&["meeting"], Some(Show::DoNotDisturb)),
        (&["vacation"], Some(Show::ExtendedAway)),
        (&["holiday"], Some(Show::ExtendedAway)),
        (&["sleeping"], Some(Show::ExtendedAway)),
        (&["permanent-absence"], Some(Show::ExtendedAway)),
        (&["travel"], None),
        (&["travel", "Busy"], Some(Show::DoNotDisturb)),
        (&[], None),
    ];
    for (activities, show) in rows {
        let tuple = Tuple {
            activities: names(activities),
            ..Tuple::default()
        };
        assert_eq!(
            show_of(&tuple, &Document::default()),
            show,
            "{activities:?}"
        );
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
    assert_eq!(show_of(&tuple, &document), Some(Show::Chat));
    tuple.show = None;
    assert_eq!(show_of(&tuple, &document), Some(Show::Away));
    tuple.activities = names(&["travel"]);
    assert_eq!(show_of(&tuple, &document), Some(Show::DoNotDisturb));
    document.activities.clear();
    assert_eq!(show_of(&tuple, &document), Some(Show::ExtendedAway));
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
        assert_eq!(announced.update(&document(&tuples)), expected, "step {at}");
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
        .update(&full)
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
    assert_eq!(announced.update(&document(&tuples)).len(), MAX_RESOURCES);
    assert_eq!(announced.withdraw().len(), MAX_RESOURCES);
    let twins = [tuple("t", Some(true)), tuple("t", Some(false))];
    assert_eq!(announced.update(&document(&twins)), [available("t", None)]);

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
    announced.update(&document(&[
        tuple("a", Some(true)),
        tuple("b", Some(false)),
    ]));
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
