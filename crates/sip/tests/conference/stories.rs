//! The flows of RFC 7702, one by one, with its samples put right.

use std::time::Duration;

use stox_core::address::SipAddress;
use stox_core::failure::Failure;
use stox_core::vocab::{ConferenceOut, End, Ref};
use stox_sip::body::conference_info::{self, Extent, Status};
use stox_sip::body::sdp;
use stox_sip::header::{HeaderValue, NameAddr};
use stox_sip::message::{Message, Request, Response};
use stox_sip::method::Method;

use crate::agent::address;
use crate::room::{occupant, room};
use crate::world::{World, seat};

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// The requests of a method that a side has sent, each once.
fn requests(world: &World, side: usize, method: &Method) -> Vec<Request> {
    let mut seen: Vec<Request> = Vec::new();
    for (by, message) in &world.wire {
        if let Message::Request(request) = message
            && *by == side
            && request.method == *method
            && !seen.contains(request)
        {
            seen.push(request.clone());
        }
    }
    seen
}

fn responses(world: &World, side: usize, status: u16, method: &Method) -> Vec<Response> {
    let mut seen: Vec<Response> = Vec::new();
    for (by, message) in &world.wire {
        if let Message::Response(response) = message
            && *by == side
            && response.status == status
            && response.headers.cseq().unwrap().method == *method
            && !seen.contains(response)
        {
            seen.push(response.clone());
        }
    }
    seen
}

fn field<'a>(request: &'a Request, name: &str) -> &'a str {
    request.headers.get(name).unwrap_or_default()
}

/// Romeo and Juliet are in.
fn both_in() -> World {
    let mut world = World::new(3, 0);
    world.room.subject = Some("Which \"tea\" & when?".to_owned());
    world.joins(0, "Romeo");
    world.passes(seconds(10));
    world.joins(1, "Juliet");
    world.passes(seconds(10));
    assert_eq!(world.room.nicks(), ["Juliet", "Romeo"]);
    world
}

fn leg(world: &World, place: usize) -> Ref {
    world.places[place].expect("she is in")
}

fn end(mut world: World) {
    world.everybody_leaves();
    world.check_promises();
    world.assert_nothing_is_left();
}

#[test]
fn entering_is_an_invite_with_msrp() {
    let world = both_in();
    let invites = requests(&world, 0, &Method::INVITE);
    let invite = invites.first().unwrap();
    assert_eq!(invite.uri, "sip:tea@rooms.right.example");
    assert!(field(invite, "From").starts_with("<sip:u0@left.example;gr=r0>;tag="));
    assert_eq!(field(invite, "To"), "<sip:tea@rooms.right.example>");
    let media = sdp::media(&invite.body);
    assert_eq!(
        media[0].chatroom.as_deref(),
        Some("nickname private-messages")
    );
    assert!(
        media[0]
            .accept_types
            .as_deref()
            .unwrap()
            .contains("message/cpim")
    );
    // MUC-02: our own authority, with its port.
    assert!(
        media[0]
            .path
            .as_deref()
            .unwrap()
            .starts_with("msrp://192.0.2.1:2855/")
    );
    let ringing = responses(&world, 1, 180, &Method::INVITE);
    assert_eq!(ringing.len(), 2);
    let answers = responses(&world, 1, 200, &Method::INVITE);
    let contact = NameAddr::parse(answers[0].headers.get("Contact").unwrap()).unwrap();
    assert!(contact.params.contains("isfocus"));
    assert_eq!(ringing[0].headers.get("To"), answers[0].headers.get("To"));
    let media = sdp::media(&answers[0].body);
    assert_eq!(
        media[0].chatroom.as_deref(),
        Some("nickname private-messages")
    );
    // SESS-25: the ACK has the number of its INVITE.
    let ack = &requests(&world, 0, &Method::ACK)[0];
    let number = |request: &Request| request.headers.cseq().unwrap().number;
    assert_eq!(number(ack), number(invite));
    end(world);
}

#[test]
fn the_state_of_the_room_is_told_whole_then_in_parts() {
    let mut world = both_in();
    let subscribe = &requests(&world, 0, &Method::SUBSCRIBE)[0];
    assert_eq!(subscribe.uri, "sip:tea@rooms.right.example");
    assert_eq!(field(subscribe, "Event"), "conference");
    assert_eq!(field(subscribe, "Accept"), conference_info::CONTENT_TYPE);
    let romeo = field(subscribe, "Call-ID").to_owned();
    world.renames(1, "Julia");
    world.passes(seconds(10));
    world.leaves(1);
    world.passes(seconds(10));
    let notifies = requests(&world, 1, &Method::NOTIFY);
    let documents: Vec<_> = notifies
        .iter()
        .filter(|notify| field(notify, "Call-ID") == romeo)
        .map(|notify| {
            assert_eq!(field(notify, "Event"), "conference");
            assert!(field(notify, "Subscription-State").starts_with("active;expires="));
            conference_info::parse(&notify.body, None).unwrap()
        })
        .collect();
    let versions: Vec<_> = documents.iter().map(|one| one.version.unwrap()).collect();
    assert_eq!(
        versions,
        (0..documents.len()).map(|n| n as u32).collect::<Vec<_>>()
    );
    let first = &documents[0];
    assert_eq!(
        (first.extent, first.entity.as_str()),
        (Extent::Full, "sip:tea@rooms.right.example")
    );
    let description = first.description.as_ref().unwrap();
    assert_eq!(
        description.subject.as_deref(),
        Some("Which \"tea\" & when?")
    );
    let users = first.users.as_ref().unwrap();
    assert_eq!(users.list[0].entity, "sip:tea@rooms.right.example;gr=Romeo");
    assert_eq!(users.list[0].display_text.as_deref(), Some("Romeo"));
    assert_eq!(users.list[0].roles, ["participant"]);
    assert_eq!(users.list[0].endpoints[0].status, Some(Status::Connected));
    let later = &documents[1..];
    assert!(!later.is_empty() && later.iter().all(|one| one.extent == Extent::Partial));
    let last = later.last().unwrap().users.as_ref().unwrap();
    let gone: Vec<_> = last
        .list
        .iter()
        .map(|one| (one.entity.as_str(), one.extent))
        .collect();
    assert_eq!(
        gone,
        [("sip:tea@rooms.right.example;gr=Julia", Extent::Deleted)]
    );
    let user = &world.users[&leg(&world, 0)];
    assert_eq!(user.nicks(), ["Romeo"]);
    assert_eq!(user.subject.as_deref(), Some("Which \"tea\" & when?"));
    end(world);
}

#[test]
fn two_meet_and_talk() {
    let mut world = both_in();
    world.check_rosters();
    world.says(0, None);
    world.says(1, Some(occupant("Romeo")));
    world.passes(seconds(5));
    world.check_promises();
    let heard = |world: &World, place: usize| world.users[&leg(world, place)].heard.clone();
    assert_eq!(
        heard(&world, 1),
        [("text 3".to_owned(), occupant("Romeo"), false)]
    );
    assert_eq!(
        heard(&world, 0),
        [("text 4".to_owned(), occupant("Juliet"), true)]
    );
    world.everybody_leaves();
    let ends: Vec<_> = world
        .users
        .values()
        .map(|user| user.ended.clone())
        .collect();
    assert_eq!(ends, [Some(End::Left), Some(End::Left)]);
    end(world);
}

#[test]
fn leaving_is_a_bye_and_the_end_of_the_subscription() {
    let mut world = both_in();
    world.leaves(0);
    world.passes(seconds(5));
    let subscribes = requests(&world, 0, &Method::SUBSCRIBE);
    let ends: Vec<&Request> = subscribes
        .iter()
        .filter(|subscribe| field(subscribe, "Expires") == "0")
        .collect();
    assert_eq!(ends.len(), 1);
    assert_eq!(field(ends[0], "Call-ID"), field(&subscribes[0], "Call-ID"));
    let bye = &requests(&world, 0, &Method::BYE)[0];
    let invite = &requests(&world, 0, &Method::INVITE)[0];
    assert_eq!(field(bye, "Call-ID"), field(invite, "Call-ID"));
    assert_eq!(world.room.nicks(), ["Juliet"]);
    end(world);
}

#[test]
fn a_message_to_nobody_fails() {
    let mut world = both_in();
    world.says(0, Some(occupant("Nurse")));
    world.passes(seconds(5));
    let fates: Vec<_> = world.outcomes.values().map(|fate| fate.1.clone()).collect();
    assert_eq!(fates, [[false]]);
    end(world);
}

#[test]
fn a_nickname_belongs_to_one() {
    let mut world = both_in();
    world.renames(1, "Romeo");
    world.joins(2, "Juliet");
    world.passes(seconds(20));
    let users: Vec<_> = world.users.values().collect();
    assert_eq!(users[2].ended, Some(End::NickTaken));
    assert!(!users[2].joined);
    assert_eq!(
        (users[1].nick.as_str(), users[1].renaming),
        ("Juliet", false)
    );
    assert_eq!(world.room.nicks(), ["Juliet", "Romeo"]);
    end(world);
}

#[test]
fn inviting_is_a_refer() {
    let mut world = both_in();
    world.invites(0);
    world.passes(seconds(5));
    let refer = &requests(&world, 0, &Method::REFER)[0];
    assert_eq!(
        field(refer, "Refer-To"),
        "<sip:carla@right.example?Subject=Tea%20time%20%26%20more>"
    );
    assert_eq!(field(refer, "Referred-By"), "<sip:u0@left.example>");
    let answer = &responses(&world, 1, 202, &Method::REFER)[0];
    assert_eq!(answer.headers.get("Refer-Sub"), Some("false"));
    let invited = (
        address("carla", "right.example"),
        Some("Tea time & more".to_owned()),
    );
    assert_eq!(world.room.invited, [invited]);
    world.check_promises();
    end(world);
}

#[test]
fn the_room_may_refuse() {
    let mut world = World::new(5, 0);
    world.room.banned = Some(seat(0).bare());
    world.joins(0, "Romeo");
    world.passes(seconds(5));
    let user = world.users.values().next().unwrap();
    let Some(End::Refused(Failure::Sip(status))) = &user.ended else {
        panic!("{user:?}");
    };
    assert_eq!(status.code, 403);
    end(world);
}

#[test]
fn the_room_may_send_somebody_away() {
    for over in [false, true] {
        let mut world = both_in();
        world.removes(0, over);
        world.passes(seconds(20));
        let user = world.users.values().next().unwrap();
        match &user.ended {
            // Told by the last document, or by the BYE.
            Some(End::Over { .. }) if over => {}
            Some(End::Removed {
                reason: Some(words),
            }) if !over => assert_eq!(words, "No \"tea\""),
            other => panic!("{other:?}"),
        }
        assert_eq!(requests(&world, 1, &Method::BYE).len(), 1);
        end(world);
    }
}

#[test]
fn who_changes_her_mind_is_not_in() {
    let mut world = World::new(7, 0);
    world.joins(0, "Romeo");
    world.leaves(0);
    world.joins(1, "Juliet");
    world.passes(Duration::from_millis(450));
    world.leaves(1);
    world.passes(seconds(60));
    let ends: Vec<_> = world
        .users
        .values()
        .map(|user| user.ended.clone())
        .collect();
    assert_eq!(ends, [Some(End::Left), Some(End::Left)]);
    assert!(world.room.guests.is_empty());
    end(world);
}

#[test]
fn a_broken_connection_ends_the_stay() {
    let mut world = both_in();
    world.cuts();
    world.passes(seconds(10));
    for user in world.users.values() {
        assert!(matches!(user.ended, Some(End::Lost(_))), "{user:?}");
    }
    assert!(world.room.guests.is_empty());
    end(world);
}

#[test]
fn the_subscription_lives_as_long_as_the_stay() {
    let mut world = both_in();
    world.passes(seconds(3 * 3600));
    world.check_rosters();
    world.renames(0, "Montague");
    world.topic(1);
    world.passes(seconds(60));
    world.check_rosters();
    let subscribes = requests(&world, 0, &Method::SUBSCRIBE);
    assert!((6..12).contains(&subscribes.len()), "{}", subscribes.len());
    end(world);
}

#[test]
fn the_domains_of_rooms_decide_where_they_are_named() {
    let mut world = World::with_rooms(3, &["rooms.right.example"]);
    world.joins(0, "Romeo");
    world.passes(seconds(10));
    assert_eq!(world.room.nicks(), ["Romeo"]);
    end(world);
    // What is no room is a user: INVITEs for her are sessions, and their answers are no conferences.
    let mut world = World::with_rooms(3, &["rooms.elsewhere.example"]);
    world.joins(0, "Romeo");
    world.passes(seconds(60));
    assert!(world.room.guests.is_empty());
    let user = world.users.values().next().unwrap();
    assert!(matches!(user.ended, Some(End::Refused(_))), "{user:?}");
    end(world);
}

#[test]
fn a_flood_is_stopped_by_the_limits() {
    let mut world = both_in();
    for _ in 0..300 {
        world.says(0, None);
    }
    world.passes(seconds(60));
    world.check_promises();
    let taken = world.outcomes.values().filter(|fate| fate.1 == [true]);
    let taken = taken.count();
    assert!((50..300).contains(&taken), "{taken}");
    end(world);
}

#[test]
fn an_own_message_that_comes_back_is_not_told() {
    let mut world = both_in();
    let guest = *world.room.guests.keys().next().unwrap();
    let own = SipAddress {
        gr: None,
        ..seat(0)
    };
    let out = world
        .room
        .message(guest, &own, false, &crate::room::text("mine"));
    world.focus(out);
    let out = world
        .room
        .message(guest, &room(), false, &crate::room::text("of the room"));
    world.focus(out);
    world.passes(seconds(5));
    let heard = &world.users[&leg(&world, 0)].heard;
    assert_eq!(heard[..], [("of the room".to_owned(), room(), false)]);
    world.conference(ConferenceOut::Leave {
        leg: leg(&world, 0),
    });
    end(world);
}
