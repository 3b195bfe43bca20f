//! Conference documents: round trips, and rosters built from updates.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::expect_used
)]

use proptest::prelude::*;
use stox_sip::body::conference_info::{
    self, Applied, ConferenceInfo, ConferenceUri, Description, Endpoint, Extent, Roster, Status,
    User, Users, parse, pieces, write,
};
use stox_sip::body::document::DocumentError;
use stox_sip::body::xml;

const ROOM: &str = "sip:tea@rooms.example";

fn info(extent: Extent, version: u32) -> ConferenceInfo {
    ConferenceInfo {
        entity: ROOM.to_owned(),
        extent,
        version: Some(version),
        ..ConferenceInfo::default()
    }
}

fn user(name: &str, extent: Extent) -> User {
    User {
        entity: format!("{ROOM};gr={name}"),
        extent,
        display_text: Some(name.to_owned()),
        roles: vec!["participant".to_owned()],
        endpoints: Vec::new(),
    }
}

fn with_users(extent: Extent, version: u32, list: Vec<User>) -> ConferenceInfo {
    ConferenceInfo {
        users: Some(Users { extent, list }),
        ..info(extent, version)
    }
}

fn names(roster: &Roster) -> Vec<&str> {
    let entities = roster.users().iter().map(|user| user.entity.as_str());
    entities
        .map(|entity| entity.rsplit('=').next().unwrap())
        .collect()
}

fn text() -> impl Strategy<Value = String> {
    "[a-zA-Zé<&\"'>🍵]([a-z \n<&]{0,8}[a-z])?"
}

fn word() -> impl Strategy<Value = String> {
    "[a-z][a-z0-9:@;=.&\"'%-]{0,12}"
}

fn extent() -> impl Strategy<Value = Extent> {
    proptest::sample::select(vec![Extent::Full, Extent::Partial, Extent::Deleted])
}

fn status() -> impl Strategy<Value = Status> {
    proptest::sample::select(vec![
        Status::Connected,
        Status::Disconnected,
        Status::OnHold,
        Status::MutedViaFocus,
        Status::Pending,
        Status::Alerting,
        Status::DialingIn,
        Status::DialingOut,
        Status::Disconnecting,
    ])
}

fn endpoint() -> impl Strategy<Value = Endpoint> {
    (
        "(sip:[a-c])?",
        extent(),
        proptest::option::of(text()),
        proptest::option::of(status()),
    )
        .prop_map(|(entity, extent, display_text, status)| Endpoint {
            entity,
            extent,
            display_text,
            status,
        })
}

/// Few users, so that one is told of often.
fn any_user() -> impl Strategy<Value = User> {
    (
        "sip:[a-e]",
        extent(),
        proptest::option::of(text()),
        proptest::collection::vec(word(), 0..3),
        proptest::collection::vec(endpoint(), 0..3),
    )
        .prop_map(|(entity, extent, display_text, roles, endpoints)| User {
            entity,
            extent,
            display_text,
            roles,
            endpoints,
        })
}

fn description() -> impl Strategy<Value = Description> {
    let uri = (
        word(),
        proptest::option::of(text()),
        proptest::option::of(word()),
    )
        .prop_map(|(uri, display_text, purpose)| ConferenceUri {
            uri,
            display_text,
            purpose,
        });
    (
        proptest::option::of(text()),
        proptest::option::of(text()),
        proptest::option::of(text()),
        proptest::collection::vec(uri, 0..3),
        proptest::option::of(any::<u32>()),
    )
        .prop_map(
            |(display_text, subject, free_text, uris, maximum_users)| Description {
                display_text,
                subject,
                free_text,
                uris,
                maximum_users,
            },
        )
}

fn any_info() -> impl Strategy<Value = ConferenceInfo> {
    let users = (extent(), proptest::collection::vec(any_user(), 0..6))
        .prop_map(|(extent, list)| Users { extent, list });
    (
        word(),
        extent(),
        proptest::option::of(any::<u32>()),
        proptest::option::of(description()),
        proptest::option::of(any::<u32>()),
        proptest::option::of(users),
    )
        .prop_map(
            |(entity, extent, version, description, user_count, users)| ConferenceInfo {
                entity,
                extent,
                version,
                description,
                user_count,
                users,
            },
        )
}

/// What the focus does to its participants.
#[derive(Debug, Clone)]
enum Step {
    Set(usize, Option<String>, Option<Status>),
    Remove(usize),
    Subject(String),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..6_usize, proptest::option::of(text()), proptest::option::of(status()))
            .prop_map(|(at, name, status)| Step::Set(at, name, status)),
        2 => (0..6_usize).prop_map(Step::Remove),
        1 => text().prop_map(Step::Subject),
    ]
}

fn set(at: usize, name: Option<String>, status: Option<Status>) -> User {
    let entity = format!("sip:{at}@sip.example");
    User {
        endpoints: vec![Endpoint {
            entity: entity.clone(),
            status,
            ..Endpoint::default()
        }],
        entity,
        display_text: name,
        ..User::default()
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read(info in any_info()) {
        prop_assert_eq!(parse(write(&info).as_bytes(), None), Ok(info));
    }

    /// The changes one by one, written and read, give the same as the state in one piece.
    #[test]
    fn partial_documents_add_up_to_the_full_one(steps in proptest::collection::vec(step(), 0..30)) {
        let mut truth: Vec<User> = Vec::new();
        let mut subject = None;
        let mut roster = Roster::default();
        prop_assert_eq!(roster.apply(with_users(Extent::Full, 0, Vec::new())), Applied::News);
        for (version, step) in (1..).zip(steps) {
            let mut news = info(Extent::Partial, version);
            match step {
                Step::Set(at, name, status) => {
                    let user = set(at, name, status);
                    news = with_users(Extent::Partial, version, vec![user.clone()]);
                    match truth.iter_mut().find(|had| had.entity == user.entity) {
                        Some(had) => *had = user,
                        None => truth.push(user),
                    }
                }
                Step::Remove(at) => {
                    let gone = User { extent: Extent::Deleted, ..set(at, None, None) };
                    truth.retain(|had| had.entity != gone.entity);
                    news = with_users(Extent::Partial, version, vec![gone]);
                }
                Step::Subject(text) => {
                    subject = Some(text);
                    news.description = Some(Description { subject: subject.clone(), ..Description::default() });
                }
            }
            let read = parse(write(&news).as_bytes(), None).unwrap();
            prop_assert_eq!(roster.apply(read), Applied::News);
        }
        prop_assert_eq!(roster.users(), &truth[..]);
        prop_assert_eq!(roster.description().and_then(|found| found.subject.clone()), subject);
    }

    /// Whatever comes in whatever order, a partial document is taken only behind the one before it.
    #[test]
    fn no_gap_goes_unseen(versions in proptest::collection::vec(0..6_u32, 1..20)) {
        let mut roster = Roster::default();
        roster.apply(with_users(Extent::Full, 2, Vec::new()));
        let mut last = 2;
        for version in versions {
            let expected = match version {
                next if next == last + 1 => Applied::News,
                old if old <= last => Applied::Stale,
                _ => Applied::Gap,
            };
            prop_assert_eq!(roster.apply(info(Extent::Partial, version)), expected);
            if expected == Applied::News {
                last = version;
            }
            prop_assert_eq!(roster.version(), Some(last));
        }
    }
}

#[test]
fn the_state_rules() {
    let mut roster = Roster::default();
    let early = with_users(Extent::Partial, 1, vec![user("a", Extent::Full)]);
    assert_eq!(roster.apply(early), Applied::Gap);
    assert!(roster.is_unknown());
    let list = vec![user("a", Extent::Full), user("b", Extent::Full)];
    assert_eq!(
        roster.apply(with_users(Extent::Full, 5, list)),
        Applied::News
    );
    assert_eq!(names(&roster), ["a", "b"]);
    // A user that is told in part keeps the rest.
    let change = User {
        display_text: Some("Bea".to_owned()),
        roles: Vec::new(),
        ..user("b", Extent::Partial)
    };
    let left = user("a", Extent::Deleted);
    let news = with_users(
        Extent::Partial,
        6,
        vec![change, left, user("c", Extent::Partial)],
    );
    assert_eq!(roster.apply(news), Applied::News);
    assert_eq!(names(&roster), ["b", "c"]);
    assert_eq!(roster.users()[0].display_text.as_deref(), Some("Bea"));
    assert_eq!(roster.users()[0].roles, ["participant"]);
    // All users told anew within a partial document.
    let all = ConferenceInfo {
        users: Some(Users {
            extent: Extent::Full,
            list: vec![user("d", Extent::Full)],
        }),
        ..info(Extent::Partial, 7)
    };
    assert_eq!(roster.apply(all), Applied::News);
    assert_eq!(names(&roster), ["d"]);
    // A full document starts anew, whatever its number.
    assert_eq!(
        roster.apply(with_users(Extent::Full, 1, Vec::new())),
        Applied::News
    );
    assert!(names(&roster).is_empty());
    assert_eq!(roster.apply(info(Extent::Deleted, 2)), Applied::Ended);
    assert!(roster.is_unknown());
}

#[test]
fn who_is_present() {
    let endpoint = |status| Endpoint {
        status,
        ..Endpoint::default()
    };
    let rows = [
        (vec![], true),
        (vec![endpoint(None)], true),
        (vec![endpoint(Some(Status::Disconnected))], false),
        (
            vec![
                endpoint(Some(Status::Disconnected)),
                endpoint(Some(Status::OnHold)),
            ],
            true,
        ),
        (vec![endpoint(Some(Status::Pending))], false),
    ];
    for (endpoints, present) in rows {
        let user = User {
            endpoints,
            ..user("a", Extent::Full)
        };
        assert_eq!(user.is_present(), present, "{user:?}");
    }
}

#[test]
fn many_users_come_in_pieces_that_can_be_read() {
    let list: Vec<User> = (0..conference_info::MAX_USERS)
        .map(|at| user(&format!("{at}-{}", "x".repeat(200)), Extent::Full))
        .collect();
    let whole = ConferenceInfo {
        user_count: Some(1000),
        ..with_users(Extent::Full, 3, list)
    };
    assert!(write(&whole).len() > xml::MAX_OCTETS);
    let pieces = pieces(whole.clone());
    assert!(pieces.len() > 5);
    let mut roster = Roster::default();
    for piece in pieces {
        let read = parse(write(&piece).as_bytes(), None).unwrap();
        assert_eq!(roster.apply(read), Applied::News);
    }
    assert_eq!(roster.users(), whole.users.unwrap().list);
    assert_eq!(roster.user_count(), Some(1000));
}

#[test]
fn nobody_fills_our_memory() {
    let mut roster = Roster::default();
    roster.apply(info(Extent::Full, 0));
    for version in 1..40 {
        let big = |at: u32| User {
            roles: vec!["r".repeat(1000); 16],
            ..user(&format!("{version}-{at}"), Extent::Full)
        };
        let news = with_users(Extent::Partial, version, (0..60).map(big).collect());
        assert_eq!(roster.apply(news), Applied::News);
    }
    let octets: usize = roster
        .users()
        .iter()
        .flat_map(|user| &user.roles)
        .map(String::len)
        .sum();
    assert!(octets <= conference_info::MAX_ROSTER);
    assert!((50..=conference_info::MAX_USERS).contains(&roster.users().len()));
}

#[test]
fn what_is_no_conference_document() {
    let rows: [(&str, DocumentError); 3] = [
        (
            "<conference-info entity='sip:a@b'/>",
            DocumentError::WrongRoot,
        ),
        (
            "<conference-info xmlns='urn:ietf:params:xml:ns:conference-info'/>",
            DocumentError::BadEntity,
        ),
        (
            "<!DOCTYPE x><conference-info xmlns='urn:ietf:params:xml:ns:conference-info' entity='sip:a@b'/>",
            DocumentError::Xml(xml::XmlError::Dtd),
        ),
    ];
    for (text, error) in rows {
        assert_eq!(parse(text.as_bytes(), None), Err(error), "{text}");
    }
}
