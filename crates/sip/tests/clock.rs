//! The clock on the wall is set, by a little or by a day, forwards or back: no timer moves.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod agent;

use std::time::Duration;

use agent::{Agent, Fields, alma, bruno, world};
use stox_core::vocab::{Ref, SipIn, SipOut, SubscriptionEvent, Trace};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// A subscription that is active for an hour.
fn subscribed() -> Agent {
    let mut agent = Agent::with(world());
    agent.now.wall = DAY * 20_000;
    agent.does(SipOut::Subscribe {
        reference: Ref(1),
        watcher: alma(),
        presentity: bruno(),
        poll: false,
        trace: Trace::default(),
    });
    let subscribe = agent.says_request("SUBSCRIBE");
    let contact = "Contact: <sip:bruno@192.0.2.10:5061;transport=tls>\r\n";
    agent.hears_answer(&subscribe, 200, &format!("{contact}Expires: 3600\r\n"));
    let from = format!("{};tag=b1", subscribe.field("To"));
    agent.hears(&format!(
        "NOTIFY sip:gw.jabber.example SIP/2.0\r\nVia: SIP/2.0/TLS 192.0.2.10:5061;branch=z9hG4bKn1\r\n\
         Max-Forwards: 70\r\nFrom: {from}\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: 1 NOTIFY\r\n{contact}Event: presence\r\n\
         Subscription-State: active;expires=3600\r\nContent-Length: 0\r\n\r\n",
        subscribe.field("From"),
        subscribe.field("Call-ID"),
    ));
    agent.says_response(200);
    let SipIn::Subscription { event, .. } = agent.tells() else {
        panic!("no word of the subscription")
    };
    assert_eq!(event, SubscriptionEvent::Active(None));
    agent
}

#[test]
fn steps_of_the_wall_clock_move_no_timer() {
    let untouched = {
        let mut agent = subscribed();
        let next = agent.ua.poll_timeout();
        agent.passes_seconds(3000);
        agent.is_silent();
        (next, agent.ua.poll_timeout())
    };
    let steps: [fn(Duration) -> Duration; 4] = [
        |wall| wall + DAY,
        |wall| wall - DAY,
        |wall| wall + Duration::from_secs(3600),
        |_| Duration::ZERO,
    ];
    for step in steps {
        let mut agent = subscribed();
        agent.now.wall = step(agent.now.wall);
        agent.ua.handle_timeout(agent.now);
        agent.pump();
        let next = agent.ua.poll_timeout();
        agent.passes_seconds(3000);
        agent.is_silent();
        assert!(agent.ua.poll_input().is_none(), "nothing has run out");
        assert_eq!((next, agent.ua.poll_timeout()), untouched);
        // The refresh comes when it is due, and not before.
        agent.passes_seconds(600);
        agent.says_request("SUBSCRIBE");
    }
}
