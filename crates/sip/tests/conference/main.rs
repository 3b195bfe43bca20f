//! Two user agents in one group chat: on the left the participants of a conference, on the right the focus of a room. They
//! are joined by a link that loses and repeats datagrams, and by MSRP connections that may break.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests may fail a test"
)]

#[path = "../agent/mod.rs"]
mod agent;
mod guest;
mod hostile;
mod member;
#[allow(dead_code, reason = "the other test of two agents uses all of it")]
#[path = "../back_to_back/msrp.rs"]
mod msrp;
mod room;
mod stories;
mod user;
mod world;

use std::time::Duration;

use proptest::prelude::*;
use stox_core::vocab::{ConferenceOut, End, FocusOut};

use world::{LEGS, World};

/// Something that happens.
#[derive(Debug, Clone)]
enum Turn {
    Join(usize, usize),
    Say(usize),
    Whisper(usize, usize),
    Rename(usize, usize),
    Invite(usize),
    Leave(usize),
    RoomSays,
    RoomWhispers(usize),
    Topic(usize),
    Remove(usize, bool),
    Cut,
}

fn turn() -> impl Strategy<Value = (Turn, u64)> {
    let leg = || 0..LEGS;
    let turn = prop_oneof![
        4 => (leg(), 0..4_usize).prop_map(|(leg, nick)| Turn::Join(leg, nick)),
        6 => leg().prop_map(Turn::Say),
        2 => (leg(), leg()).prop_map(|(leg, to)| Turn::Whisper(leg, to)),
        2 => (leg(), 0..4_usize).prop_map(|(leg, nick)| Turn::Rename(leg, nick)),
        1 => leg().prop_map(Turn::Invite),
        2 => leg().prop_map(Turn::Leave),
        2 => Just(Turn::RoomSays),
        1 => leg().prop_map(Turn::RoomWhispers),
        1 => (0..3_usize).prop_map(Turn::Topic),
        1 => (leg(), any::<bool>()).prop_map(|(leg, over)| Turn::Remove(leg, over)),
        1 => Just(Turn::Cut),
    ];
    (turn, 0_u64..4_000)
}

fn play(world: &mut World, turns: &[(Turn, u64)], cuts: bool) {
    for (turn, gap) in turns {
        match turn {
            Turn::Join(leg, nick) => world.joins(*leg, &format!("nick{nick}")),
            Turn::Say(leg) => world.says(*leg, None),
            Turn::Whisper(leg, to) => world.whispers(*leg, *to),
            Turn::Rename(leg, nick) => world.renames(*leg, &format!("nick{nick}")),
            Turn::Invite(leg) => world.invites(*leg),
            Turn::Leave(leg) => world.leaves(*leg),
            Turn::RoomSays => world.room_says(),
            Turn::RoomWhispers(leg) => world.room_whispers(*leg),
            Turn::Topic(number) => world.topic(*number),
            Turn::Remove(leg, over) => world.removes(*leg, *over),
            Turn::Cut if cuts => world.cuts(),
            Turn::Cut => {}
        }
        world.passes(Duration::from_millis(*gap));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn a_group_chat_keeps_its_promises(
        seed in any::<u64>(),
        bad in 0_u64..20,
        turns in proptest::collection::vec(turn(), 1..40),
    ) {
        let mut world = World::new(seed, bad);
        play(&mut world, &turns, true);
        world.passes(Duration::from_secs(100));
        world.check_promises();
        world.everybody_leaves();
        world.check_promises();
        world.assert_nothing_is_left();
    }

    #[test]
    fn both_sides_see_the_same_people(
        seed in any::<u64>(),
        bad in 0_u64..10,
        turns in proptest::collection::vec(turn(), 1..40),
    ) {
        let mut world = World::new(seed, bad);
        play(&mut world, &turns, false);
        world.passes(Duration::from_secs(120));
        world.check_rosters();
        world.everybody_leaves();
        world.assert_nothing_is_left();
    }

    #[test]
    fn everything_ends_when_either_side_stops(
        seed in any::<u64>(),
        bad in 0_u64..20,
        side in 0..2_usize,
        turns in proptest::collection::vec(turn(), 1..20),
    ) {
        let mut world = World::new(seed, bad);
        play(&mut world, &turns, true);
        world.stops(side);
        world.passes(Duration::from_secs(200));
        world.check_promises();
        world.everybody_leaves();
        world.assert_nothing_is_left();
    }
}

#[test]
fn unknown_legs_are_passed_over() {
    let mut world = World::new(1, 0);
    let nobody = stox_core::vocab::Ref(77);
    world.conference(ConferenceOut::Leave { leg: nobody });
    world.conference(ConferenceOut::ChangeNick {
        leg: nobody,
        nick: "x".to_owned(),
    });
    world.focus(FocusOut::End {
        leg: nobody,
        end: End::Left,
    });
    world.passes(Duration::from_secs(1));
    world.assert_nothing_is_left();
}
