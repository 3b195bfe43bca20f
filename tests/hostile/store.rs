//! A store that cannot be written for a while, as on a full disk: here since somebody else holds its lock.

use rusqlite::Connection;

use crate::harness::{Folder, Gateway, peer, request};
use crate::sip::World;
use crate::sip_sink::answer;

/// What romeo is told of a message to juliet.
fn sends(gateway: &Gateway, branch: &str) -> String {
    let text = request("MESSAGE", "juliet@xmpp.example", branch, branch);
    gateway.ask(&peer(), &text.replace("bob@ocs.test", "romeo@sip.example"))
}

#[test]
fn while_the_store_fails_messages_are_refused_and_what_became_of_others_is_not_forgotten() {
    let folder = Folder::new("hostile-store");
    let partner = peer();
    let next_hop = format!("sip:{};transport=udp", partner.local_addr().unwrap());
    let mut world = World::start_by(&folder, &next_hop);
    let under_way = world.writes(&partner, "under-way");

    let lock = Connection::open(folder.0.join("state/stoxgate.sqlite")).unwrap();
    lock.execute_batch("BEGIN EXCLUSIVE").unwrap();
    partner
        .send_to(answer(&under_way).as_bytes(), world.gateway.udp)
        .unwrap();
    world.gateway.wait_for("cannot write to the store");
    world.says("refused");
    let heard = world.xmpp.hear("id='refused'");
    assert!(heard.last().unwrap().contains("type='error'"), "{heard:#?}");
    // Who asks over SIP waits for the answer, and nothing of that has to be kept.
    let told = sends(&world.gateway, "meanwhile");
    assert!(told.starts_with("SIP/2.0 200"), "{told}");
    world.xmpp.hear("meanwhile");

    lock.execute_batch("ROLLBACK").unwrap();
    drop(lock);
    let taken = world.writes(&partner, "taken");
    partner
        .send_to(answer(&taken).as_bytes(), world.gateway.udp)
        .unwrap();

    // Nobody is told of the message under way that its outcome is not known.
    assert!(world.gateway.stop().success());
    let settings = std::fs::read_to_string(&world.gateway.settings).unwrap();
    world.gateway = Gateway::start_with(&folder, &settings);
    world.xmpp.dial(world.gateway.xmpp);
    let told = sends(&world.gateway, "after-the-start");
    assert!(told.starts_with("SIP/2.0 200"), "{told}");
    let heard = world.xmpp.hear("after-the-start").concat();
    assert!(
        !heard.contains("under-way") && !heard.contains("taken"),
        "{heard}"
    );
}

#[test]
fn of_what_was_under_way_at_a_kill_the_sender_hears_afterwards() {
    let folder = Folder::new("hostile-kill");
    let partner = peer();
    let next_hop = format!("sip:{};transport=udp", partner.local_addr().unwrap());
    let mut world = World::start_by(&folder, &next_hop);
    world.writes(&partner, "under-way");
    world.gateway.kill();
    let settings = std::fs::read_to_string(&world.gateway.settings).unwrap();
    world.gateway = Gateway::start_with(&folder, &settings);
    world.xmpp.dial(world.gateway.xmpp);
    let heard = world.xmpp.hear("id='under-way'").concat();
    let unknown = "may or may not have arrived";
    assert!(
        heard.contains("type='error'") && heard.contains(unknown),
        "{heard}"
    );
    let told = sends(&world.gateway, "after-the-kill");
    assert!(told.starts_with("SIP/2.0 200"), "{told}");
    world.xmpp.hear("after-the-kill");
}
