//! A SIP user watches an XMPP user: the rows of the second subscription table that the SIP side owns.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests may fail a test"
)]

mod agent;

use std::time::Duration;

use agent::{Agent, EDGE, Fields, alma, bruno, from_bruno, from_edge, tls, world};
use stox_core::failure::{Failure, Local};
use stox_core::vocab::{
    Document, EndReason, Ref, SipIn, SipOut, Trace, Tuple, WatcherEvent, WatcherState,
};
use stox_sip::message::{Request, Response};
use stox_sip::transport::{Destination, FlowId, Target, Transport};

const ASKS: &str = "Contact: <sip:bruno@edge.ocs.example:5061;transport=tls;opaque=user:epid:xx;gruu>\r\n\
    Event: presence\r\nAccept: application/pidf+xml\r\n";
const TARGET: &str = "sip:bruno@edge.ocs.example:5061;transport=tls;opaque=user:epid:xx;gruu";
const TIMEOUT: WatcherState = WatcherState::Terminated {
    reason: EndReason::Timeout,
    retry_after: None,
};

fn asks(expires: &str) -> String {
    format!("{ASKS}Expires: {expires}\r\n")
}

fn event(agent: &mut Agent) -> (Ref, WatcherEvent) {
    match agent.tells() {
        SipIn::Watcher { reference, event } => (reference, event),
        other => panic!("{other:?}"),
    }
}

fn arrive(agent: &mut Agent, expires: &str) -> Ref {
    agent.hears(&from_bruno("SUBSCRIBE", "s1", 1, "", &asks(expires), ""));
    let (reference, event) = event(agent);
    let arrived = WatcherEvent::Arrived {
        trace: Trace::default(),
        watcher: bruno(),
        presentity: alma(),
        poll: expires == "0",
    };
    assert_eq!(event, arrived);
    agent.is_silent();
    reference
}

/// Accepted; the 200.
fn accept(agent: &mut Agent, reference: Ref) -> Response {
    agent.does(SipOut::AcceptWatcher { reference });
    agent.says_response(200)
}

fn notify(agent: &mut Agent, reference: Ref, state: WatcherState, document: Option<Document>) {
    agent.does(SipOut::Notify {
        reference,
        state,
        document,
    });
}

/// Accepted for 600 s, the NOTIFY active answered.
fn active(agent: &mut Agent) -> (Ref, Request) {
    let reference = arrive(agent, "600");
    accept(agent, reference);
    notify(agent, reference, WatcherState::Active, None);
    let request = agent.says_request("NOTIFY");
    agent.hears_answer(&request, 200, "");
    agent.is_silent();
    (reference, request)
}

fn open(note: &str) -> Option<Document> {
    let tuple = Tuple {
        id: "laptop".to_owned(),
        open: Some(true),
        notes: vec![stox_core::vocab::Text {
            lang: None,
            text: note.to_owned(),
        }],
        ..Tuple::default()
    };
    Some(Document {
        tuples: vec![tuple],
        ..Document::default()
    })
}

fn body(request: &Request) -> &str {
    std::str::from_utf8(&request.body).unwrap()
}

#[test]
fn none_subscribe_pending_active() {
    let mut agent = Agent::new();
    let reference = arrive(&mut agent, "3600");
    let answer = accept(&mut agent, reference);
    assert_eq!(answer.field("Expires"), "3600");
    assert_eq!(
        answer.field("Contact"),
        "<sip:alma@gw.jabber.example:5061;transport=tls>"
    );
    assert!(!answer.tag("To").is_empty());
    assert!(answer.body.is_empty());

    notify(&mut agent, reference, WatcherState::Pending, None);
    let first = agent.says_request("NOTIFY");
    assert_eq!(first.uri, TARGET);
    assert_eq!(first.field("From"), answer.field("To"));
    // COMPAT(ocs): the epid stays in the dialog's headers.
    assert_eq!(
        first.field("To"),
        "<sip:bruno@ocs.example>;tag=w1;epid=0a1b"
    );
    assert_eq!(first.field("Call-ID"), "s2x-1@ocs.example");
    assert_eq!(first.field("Event"), "presence");
    assert_eq!(first.field("Subscription-State"), "pending;expires=3600");
    assert_eq!(
        first.field("Contact"),
        "<sip:alma@gw.jabber.example:5061;transport=tls>"
    );
    assert!(first.body.is_empty() && !first.headers.contains("Content-Type"));
    agent.hears_answer(&first, 200, "");

    agent.passes_seconds(60);
    notify(&mut agent, reference, WatcherState::Active, open("hello"));
    let second = agent.says_request("NOTIFY");
    assert_eq!(second.field("Subscription-State"), "active;expires=3540");
    assert_eq!(second.field("Content-Type"), "application/pidf+xml");
    assert!(
        body(&second).contains("pres:alma@jabber.example"),
        "{}",
        body(&second)
    );
    assert!(body(&second).contains("hello"));
    assert_eq!(
        second.headers.cseq().unwrap().number,
        first.headers.cseq().unwrap().number + 1
    );
    agent.is_silent();
}

#[test]
fn expires_is_never_longer_than_asked() {
    let day = (24 * 3600).to_string();
    for (asked, granted) in [("300", "300"), ("3600", "3600"), (day.as_str(), "3600")] {
        let mut agent = Agent::new();
        let reference = arrive(&mut agent, asked);
        assert_eq!(accept(&mut agent, reference).field("Expires"), granted);
    }
    let mut agent = Agent::new();
    agent.hears(&from_bruno("SUBSCRIBE", "s1", 1, "", ASKS, ""));
    let (reference, _) = event(&mut agent);
    assert_eq!(accept(&mut agent, reference).field("Expires"), "3600");
}

#[test]
fn brief_wishes_are_refused_below_an_hour_only() {
    for (least, asked, refused) in [
        (60, "59", true),
        (60, "60", false),
        (7200, "3600", false),
        (7200, "3599", true),
    ] {
        let mut settings = world();
        settings.min_expires = Duration::from_secs(least);
        let mut agent = Agent::with(settings);
        agent.hears(&from_bruno("SUBSCRIBE", "s1", 1, "", &asks(asked), ""));
        if refused {
            let answer = agent.says_response(423);
            assert_eq!(answer.field("Min-Expires"), least.to_string());
        } else {
            event(&mut agent);
        }
        agent.is_silent();
    }
}

#[test]
fn poll() {
    let mut agent = Agent::new();
    let reference = arrive(&mut agent, "0");
    assert_eq!(accept(&mut agent, reference).field("Expires"), "0");
    notify(&mut agent, reference, TIMEOUT, open("here"));
    let request = agent.says_request("NOTIFY");
    assert_eq!(
        request.field("Subscription-State"),
        "terminated;reason=timeout"
    );
    assert!(body(&request).contains("here"));
    agent.hears_answer(&request, 200, "");
    agent.is_silent();
    assert_eq!(agent.ua.status().watchers, 0);
}

#[test]
fn a_poll_that_the_bridge_forgets_is_freed() {
    let mut agent = Agent::new();
    let reference = arrive(&mut agent, "0");
    accept(&mut agent, reference);
    agent.passes_seconds(33);
    assert_eq!(agent.ua.status().watchers, 0);
    agent.is_silent();
}

#[test]
fn refused_watcher() {
    let mut agent = Agent::new();
    let reference = arrive(&mut agent, "600");
    let failure = Failure::Local(Local::NotAllowed);
    agent.does(SipOut::RefuseWatcher { reference, failure });
    let answer = agent.says();
    assert!((400..700).contains(&answer.response().status));
    assert!(!answer.response().tag("To").is_empty());
    assert_eq!(agent.ua.status().watchers, 0);
    agent.does(SipOut::AcceptWatcher { reference });
    agent.is_silent();
}

#[test]
fn a_watcher_that_the_bridge_does_not_answer_is_freed() {
    let mut agent = Agent::new();
    let reference = arrive(&mut agent, "600");
    agent.passes_seconds(33);
    assert_eq!(event(&mut agent), (reference, WatcherEvent::Broken));
    assert_eq!(agent.ua.status().watchers, 0);
}

#[test]
fn terminated_states_say_why_and_never_for_how_long() {
    let rows = [
        (EndReason::Rejected, Some(9), "terminated;reason=rejected"),
        (EndReason::NoResource, None, "terminated;reason=noresource"),
        (
            EndReason::Probation,
            Some(90),
            "terminated;reason=probation;retry-after=90",
        ),
        (
            EndReason::Giveup,
            Some(5),
            "terminated;reason=giveup;retry-after=5",
        ),
        (
            EndReason::Deactivated,
            None,
            "terminated;reason=deactivated",
        ),
        (EndReason::Timeout, None, "terminated;reason=timeout"),
        (EndReason::Unknown, None, "terminated"),
    ];
    for (reason, seconds, value) in rows {
        let mut agent = Agent::new();
        let (reference, _) = active(&mut agent);
        let state = WatcherState::Terminated {
            reason,
            retry_after: seconds.map(Duration::from_secs),
        };
        notify(&mut agent, reference, state, None);
        let request = agent.says_request("NOTIFY");
        assert_eq!(request.field("Subscription-State"), value);
        assert!(request.body.is_empty());
        agent.hears_answer(&request, 200, "");
        notify(&mut agent, reference, WatcherState::Active, None);
        agent.is_silent();
        assert_eq!(agent.ua.status().watchers, 0);
    }
}

#[test]
fn active_refresh() {
    let mut agent = Agent::new();
    let (reference, first) = active(&mut agent);
    let tag = first.tag("From");
    agent.passes_seconds(1);
    let again = asks("300").replace("edge.ocs.example:5061", "edge2.ocs.example");
    agent.hears(&from_bruno("SUBSCRIBE", "s5", 5, &tag, &again, ""));
    let answer = agent.says_response(200);
    assert_eq!(answer.field("Expires"), "300");
    assert_eq!(answer.tag("To"), tag);
    assert_eq!(event(&mut agent), (reference, WatcherEvent::Refreshed));
    notify(&mut agent, reference, WatcherState::Active, None);
    // Owed at once, though the last NOTIFY was a second ago; and to the new target.
    let request = agent.says_request("NOTIFY");
    assert_eq!(request.field("Subscription-State"), "active;expires=300");
    assert!(request.uri.starts_with("sip:bruno@edge2.ocs.example;"));
    agent.hears_answer(&request, 200, "");
    // A stale one, a copy under the same number, another package, an unknown dialog.
    let stale = from_bruno("SUBSCRIBE", "s6", 4, &tag, &asks("300"), "");
    let copy = from_bruno("SUBSCRIBE", "s7", 5, &tag, &asks("300"), "");
    let other = from_bruno("SUBSCRIBE", "s8", 6, &tag, &asks("300"), "")
        .replace("Event: presence", "Event: presence;id=2");
    let gone = from_bruno("SUBSCRIBE", "s9", 9, "gone", &asks("300"), "");
    let forged = from_bruno("SUBSCRIBE", "sa", 9, &tag, &asks("0"), "").replace("tag=w1", "tag=w9");
    for (text, status) in [
        (stale, 500),
        (copy, 200),
        (other, 481),
        (gone, 481),
        (forged, 481),
    ] {
        agent.hears(&text);
        agent.says_response(status);
    }
    agent.is_silent();
}

#[test]
fn active_left() {
    let mut agent = Agent::new();
    let (reference, first) = active(&mut agent);
    let tag = first.tag("From");
    agent.hears(&from_bruno("SUBSCRIBE", "s6", 6, &tag, &asks("0"), ""));
    assert_eq!(agent.says_response(200).field("Expires"), "0");
    assert_eq!(event(&mut agent), (reference, WatcherEvent::Left));
    notify(&mut agent, reference, WatcherState::Active, None);
    agent.is_silent();
    notify(&mut agent, reference, TIMEOUT, Some(Document::default()));
    let request = agent.says_request("NOTIFY");
    assert_eq!(
        request.field("Subscription-State"),
        "terminated;reason=timeout"
    );
    agent.hears_answer(&request, 200, "");
    assert_eq!(agent.ua.status().watchers, 0);
    agent.hears(&from_bruno("SUBSCRIBE", "s7", 7, &tag, &asks("600"), ""));
    agent.says_response(481);
    agent.is_silent();
}

#[test]
fn active_expired() {
    let mut agent = Agent::new();
    let (reference, _) = active(&mut agent);
    agent.passes_seconds(599);
    agent.is_silent();
    agent.passes_seconds(2);
    assert_eq!(event(&mut agent), (reference, WatcherEvent::Expired));
    notify(&mut agent, reference, TIMEOUT, None);
    let request = agent.says_request("NOTIFY");
    assert_eq!(
        request.field("Subscription-State"),
        "terminated;reason=timeout"
    );
    agent.hears_answer(&request, 200, "");
    assert_eq!(agent.ua.status().watchers, 0);
    agent.is_silent();
}

#[test]
fn notify_refused_or_unanswered() {
    for status in [
        404, 405, 408, 410, 416, 480, 481, 482, 483, 484, 485, 489, 501, 604,
    ] {
        let mut agent = Agent::new();
        let (reference, _) = active(&mut agent);
        agent.passes_seconds(6);
        notify(&mut agent, reference, WatcherState::Active, open("x"));
        let request = agent.says_request("NOTIFY");
        agent.hears_answer(&request, status, "");
        assert_eq!(
            event(&mut agent),
            (reference, WatcherEvent::Broken),
            "{status}"
        );
        notify(&mut agent, reference, WatcherState::Active, open("y"));
        agent.is_silent();
    }
    for status in [400, 403, 500, 503, 600] {
        let mut agent = Agent::new();
        let (reference, _) = active(&mut agent);
        agent.passes_seconds(6);
        notify(&mut agent, reference, WatcherState::Active, open("x"));
        let request = agent.says_request("NOTIFY");
        agent.hears_answer(&request, status, "");
        agent.is_silent();
        assert_eq!(agent.ua.status().watchers, 1, "{status}");
    }
    let mut agent = Agent::new();
    let (reference, _) = active(&mut agent);
    agent.passes_seconds(6);
    notify(&mut agent, reference, WatcherState::Active, open("x"));
    agent.passes_seconds(33);
    assert_eq!(event(&mut agent), (reference, WatcherEvent::Broken));
    assert_eq!(agent.ua.status().watchers, 0);
}

#[test]
fn one_notify_at_a_time_and_the_last_state_wins() {
    let mut agent = Agent::new();
    let reference = arrive(&mut agent, "600");
    accept(&mut agent, reference);
    notify(&mut agent, reference, WatcherState::Pending, None);
    let first = agent.says_request("NOTIFY");
    notify(&mut agent, reference, WatcherState::Active, open("one"));
    notify(&mut agent, reference, WatcherState::Active, open("two"));
    agent.is_silent();
    agent.hears_answer(&first, 200, "");
    // A change of state does not wait for the five seconds.
    let second = agent.says_request("NOTIFY");
    assert!(body(&second).contains("two"));
    agent.hears_answer(&second, 200, "");
    notify(&mut agent, reference, WatcherState::Active, open("three"));
    agent.passes_seconds(2);
    notify(&mut agent, reference, WatcherState::Active, open("four"));
    agent.is_silent();
    agent.passes_seconds(4);
    let third = agent.says_request("NOTIFY");
    assert!(body(&third).contains("four"));
    agent.hears_answer(&third, 200, "");
    notify(&mut agent, reference, WatcherState::Active, open("five"));
    notify(&mut agent, reference, TIMEOUT, None);
    let last = agent.says_request("NOTIFY");
    assert!(last.field("Subscription-State").starts_with("terminated"));
    agent.hears_answer(&last, 200, "");
    agent.passes_seconds(10);
    agent.is_silent();
}

#[test]
fn terminated_behind_a_notify_that_fails() {
    let mut agent = Agent::new();
    let (reference, _) = active(&mut agent);
    agent.passes_seconds(6);
    notify(&mut agent, reference, WatcherState::Active, open("x"));
    let request = agent.says_request("NOTIFY");
    notify(&mut agent, reference, TIMEOUT, None);
    agent.hears_answer(&request, 481, "");
    // The bridge has let go of it already.
    agent.is_silent();
    assert_eq!(agent.ua.status().watchers, 0);
}

#[test]
fn event_id_is_kept() {
    let mut agent = Agent::new();
    let asks = asks("600").replace("Event: presence", "o: presence;id=\"4 2\"");
    agent.hears(&from_bruno("SUBSCRIBE", "s1", 1, "", &asks, ""));
    let (reference, _) = event(&mut agent);
    accept(&mut agent, reference);
    notify(&mut agent, reference, WatcherState::Active, None);
    assert_eq!(
        agent.says_request("NOTIFY").field("Event"),
        "presence;id=\"4 2\""
    );
}

#[test]
fn notifies_go_back_over_a_living_connection() {
    let mut agent = Agent::new();
    let reference = arrive(&mut agent, "600");
    accept(&mut agent, reference);
    notify(&mut agent, reference, WatcherState::Active, None);
    let sent = agent.says();
    assert_eq!(sent.destination, Destination::Connection(FlowId(7)));
    assert!(agent.resolved.is_empty());
    agent.hears_answer(sent.request(), 200, "");
    // The connection ends: the Contact is resolved.
    let now = agent.now;
    agent.ua.connection_closed(FlowId(7), now);
    agent.passes_seconds(6);
    notify(&mut agent, reference, WatcherState::Active, open("x"));
    let sent = agent.says();
    assert!(matches!(sent.destination, Destination::Dial(_)), "{sent:?}");
    assert_eq!(agent.resolved[0].hop.host, "edge.ocs.example");
    agent.is_silent();
}

#[test]
fn a_notify_that_loses_its_connection_is_sent_another_way() {
    let mut agent = Agent::new();
    let (reference, _) = active(&mut agent);
    agent.passes_seconds(6);
    notify(&mut agent, reference, WatcherState::Active, open("x"));
    let first = agent.says();
    let now = agent.now;
    agent.ua.transport_failed(&first.destination, now);
    agent.pump();
    let second = agent.says();
    assert!(
        matches!(second.destination, Destination::Dial(_)),
        "{second:?}"
    );
    assert_eq!(
        second.request().field("CSeq"),
        first.request().field("CSeq")
    );
    agent.is_silent();
}

#[test]
fn over_udp_only_near_contacts_are_trusted() {
    let rows = [
        ("sip:bruno@edge.ocs.example", "edge.ocs.example", 0),
        ("sip:bruno@192.0.2.10:5070", "192.0.2.10", 0),
        // Elsewhere: by way of the domain's own servers, never straight to a victim.
        ("sip:bruno@203.0.113.9", "ocs.example", 1),
        ("sip:bruno@victim.example", "ocs.example", 1),
    ];
    for (contact, host, routes) in rows {
        let mut agent = Agent::new();
        agent.source = from_edge(Transport::Udp);
        let asks = format!("Contact: <{contact}>\r\nEvent: presence\r\n");
        agent.hears(&from_bruno("SUBSCRIBE", "s1", 1, "", &asks, "").replace("/TLS ", "/UDP "));
        let (reference, _) = event(&mut agent);
        accept(&mut agent, reference);
        notify(&mut agent, reference, WatcherState::Active, None);
        let request = agent.says_request("NOTIFY");
        assert_eq!(request.uri, contact);
        assert_eq!(agent.resolved[0].hop.host, host);
        assert_eq!(request.headers.values("Route").count(), routes, "{contact}");
    }
}

/// What it says of its way is the sender's word as much as its Contact, and a later word is no better than the first.
#[test]
fn over_udp_neither_routes_nor_refreshes_lead_elsewhere() {
    let rows = [
        (
            "Record-Route: <sip:p1.ocs.example;lr>\r\n",
            "p1.ocs.example",
            1,
        ),
        ("Record-Route: <sip:192.0.2.10;lr>\r\n", "192.0.2.10", 1),
        (
            "Record-Route: <sip:victim.example;lr>\r\n",
            "ocs.example",
            2,
        ),
        (
            "Record-Route: <sip:203.0.113.9:5070;lr>\r\n",
            "ocs.example",
            2,
        ),
    ];
    for (more, host, routes) in rows {
        let mut agent = Agent::new();
        agent.source = from_edge(Transport::Udp);
        let asks = format!("{more}Contact: <sip:bruno@edge.ocs.example>\r\nEvent: presence\r\n");
        agent.hears(&from_bruno("SUBSCRIBE", "s1", 1, "", &asks, "").replace("/TLS ", "/UDP "));
        let (reference, _) = event(&mut agent);
        accept(&mut agent, reference);
        notify(&mut agent, reference, WatcherState::Active, None);
        let request = agent.says_request("NOTIFY");
        assert_eq!(agent.resolved[0].hop.host, host, "{more}");
        assert_eq!(request.headers.values("Route").count(), routes, "{more}");
    }
    for (contact, host) in [
        ("sip:bruno@edge.ocs.example", "edge.ocs.example"),
        ("sip:bruno@203.0.113.9", "ocs.example"),
    ] {
        let mut agent = Agent::new();
        agent.source = from_edge(Transport::Udp);
        agent.target = Ok(vec![Target {
            transport: Transport::Udp,
            ..tls(EDGE, "ocs.example")
        }]);
        let asks = "Contact: <sip:bruno@192.0.2.10:5070>\r\nEvent: presence\r\n";
        agent.hears(&from_bruno("SUBSCRIBE", "s1", 1, "", asks, "").replace("/TLS ", "/UDP "));
        let (reference, _) = event(&mut agent);
        let answer = accept(&mut agent, reference);
        notify(&mut agent, reference, WatcherState::Active, None);
        let first = agent.says_request("NOTIFY");
        agent.hears_answer(&first, 200, "");
        let tag = answer.field("To").split(";tag=").nth(1).unwrap().to_owned();
        let asks = format!("Contact: <{contact}>\r\nEvent: presence\r\n");
        let again = from_bruno("SUBSCRIBE", "s1", 2, &tag, &asks, "");
        agent.hears(&again.replace("/TLS ", "/UDP "));
        agent.says_response(200);
        notify(&mut agent, reference, WatcherState::Active, None);
        agent.passes_seconds(10);
        let request = agent.says_request("NOTIFY");
        assert_eq!(request.uri, contact);
        let asked = agent.resolved.last().map(|asked| asked.hop.host.clone());
        assert_eq!(asked.as_deref(), Some(host), "{contact}");
    }
}

#[test]
fn routes_of_the_watcher_are_kept_in_order() {
    let mut agent = Agent::new();
    agent.source = from_edge(Transport::Udp);
    let asks = format!(
        "Record-Route: <sip:p1.ocs.example;lr>\r\nRecord-Route: <sip:p2.ocs.example;lr>\r\n{ASKS}"
    );
    agent.hears(&from_bruno("SUBSCRIBE", "s1", 1, "", &asks, ""));
    let (reference, _) = event(&mut agent);
    let answer = accept(&mut agent, reference);
    let routes = ["<sip:p1.ocs.example;lr>", "<sip:p2.ocs.example;lr>"];
    assert_eq!(
        answer.headers.values("Record-Route").collect::<Vec<_>>(),
        routes
    );
    notify(&mut agent, reference, WatcherState::Active, None);
    let request = agent.says_request("NOTIFY");
    assert_eq!(request.headers.values("Route").collect::<Vec<_>>(), routes);
    assert_eq!(request.uri, TARGET);
    assert_eq!(agent.resolved[0].hop.host, "p1.ocs.example");
}

#[test]
fn subscribes_that_are_refused() {
    let rows = [
        ("Event: dialog\r\n", 489),
        ("", 489),
        ("Event: presence\r\nAccept: text/plain\r\n", 406),
        (
            "Event: presence\r\nRequire: adhoclist, categoryList\r\n",
            420,
        ),
    ];
    for (more, status) in rows {
        let mut agent = Agent::new();
        let more = format!("Contact: <sip:bruno@edge.ocs.example>\r\n{more}");
        agent.hears(&from_bruno("SUBSCRIBE", "s1", 1, "", &more, ""));
        let answer = agent.says_response(status);
        let (name, value) = match status {
            489 => ("Allow-Events", "presence"),
            406 => ("Accept", "application/pidf+xml"),
            _ => ("Unsupported", "adhoclist"),
        };
        assert!(answer.headers.lists(name, value), "{answer:?}");
        agent.is_silent();
    }
    let mut agent = Agent::new();
    agent.hears(&from_bruno(
        "SUBSCRIBE",
        "s1",
        1,
        "",
        "Event: presence\r\n",
        "",
    ));
    agent.says_response(400);
    agent.is_silent();
}

#[test]
fn accept_ranges_allow_pidf() {
    for accept in [
        "",
        "Accept: */*\r\n",
        "Accept: application/*\r\n",
        "Accept: text/plain, application/pidf+xml\r\n",
    ] {
        let mut agent = Agent::new();
        // COMPAT(ocs): what Communicator asks for beside it does no harm.
        let more = format!(
            "Contact: <sip:bruno@edge.ocs.example>\r\nEvent: presence\r\nProxy-Require: ms-benotify\r\n\
             Supported: ms-piggyback-first-notify\r\n{accept}"
        );
        agent.hears(&from_bruno("SUBSCRIBE", "s1", 1, "", &more, ""));
        event(&mut agent);
        agent.is_silent();
    }
}

#[test]
fn full_and_too_fast_are_refused() {
    let mut settings = world();
    settings.limits.dialogs = 1;
    settings.limits.subscribes_per_second = 1;
    let mut agent = Agent::with(settings);
    arrive(&mut agent, "600");
    for (cseq, retry) in [(2, true), (3, true), (4, true), (5, true)] {
        let text = from_bruno("SUBSCRIBE", &format!("s{cseq}"), cseq, "", &asks("600"), "");
        agent.hears(&text.replace("s2x-1@", &format!("s2x-{cseq}@")));
        let answer = agent.says_response(503);
        assert_eq!(answer.headers.contains("Retry-After"), retry);
    }
    agent.is_silent();
    assert_eq!(agent.ua.status().watchers, 1);
}
