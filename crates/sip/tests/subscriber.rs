//! An XMPP user watches a SIP user: the rows of the first subscription table that the SIP side owns.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests may fail a test"
)]

mod agent;

use std::time::Duration;

use agent::{Agent, EDGE, Fields, Notify, OPEN, PIDF_TYPE, REF, alma, bruno, world};
use stox_core::failure::{Failure, Local};
use stox_core::vocab::{Document, EndReason, Ref, SipIn, SipOut, SubscriptionEvent, Trace};
use stox_sip::digest::Credential;
use stox_sip::message::Request;
use stox_sip::target::TargetError;
use stox_sip::transport::Destination;

const CONTACT: &str = "Contact: <sip:bruno@edge.ocs.example:5061;transport=tls>\r\n";
const PENDING: &str = "Subscription-State: pending;expires=3600\r\n";

fn subscribe(agent: &mut Agent, poll: bool) -> Request {
    agent.does(SipOut::Subscribe {
        trace: Trace::default(),
        reference: REF,
        watcher: alma(),
        presentity: bruno(),
        poll,
    });
    agent.says_request("SUBSCRIBE")
}

/// Subscribed and answered with 200.
fn neutral(agent: &mut Agent) -> Request {
    let request = subscribe(agent, false);
    agent.hears_answer(&request, 200, &format!("{CONTACT}Expires: 3600\r\n"));
    agent.is_silent();
    request
}

/// The first NOTIFY has made it active, with 1800 s left.
fn active(agent: &mut Agent) -> Request {
    let request = neutral(agent);
    agent.hears_notify(
        &request,
        &Notify {
            cseq: 2,
            ..Notify::default()
        },
    );
    agent.says_response(200);
    assert_eq!(event(agent), SubscriptionEvent::Active(None));
    agent.is_silent();
    request
}

/// Active, and the refresh is on its way.
fn refreshing(agent: &mut Agent) -> Request {
    active(agent);
    agent.passes_seconds(1750);
    agent.says_request("SUBSCRIBE")
}

fn event(agent: &mut Agent) -> SubscriptionEvent {
    match agent.tells() {
        SipIn::Subscription { reference, event } if reference == REF => event,
        other => panic!("{other:?}"),
    }
}

fn failed_with(code: u16, event: &SubscriptionEvent) -> bool {
    let (SubscriptionEvent::Refused(failure) | SubscriptionEvent::Lost(failure)) = event else {
        return false;
    };
    matches!(failure, Failure::Sip(status) if status.code == code)
}

fn shows_open(document: Option<&Document>) -> bool {
    document.is_some_and(|document| document.tuples.iter().any(|tuple| tuple.open == Some(true)))
}

#[test]
fn none_subscribe() {
    let mut agent = Agent::new();
    let request = subscribe(&mut agent, false);
    assert_eq!(request.uri, "sip:bruno@ocs.example");
    assert_eq!(request.field("To"), "<sip:bruno@ocs.example>");
    assert!(
        request
            .field("From")
            .starts_with("<sip:alma@jabber.example>;tag=")
    );
    assert_eq!(request.field("Event"), "presence");
    assert!(request.headers.lists("Accept", "application/pidf+xml"));
    assert_eq!(request.field("Expires"), "3600");
    assert_eq!(request.field("Max-Forwards"), "70");
    assert_eq!(
        request.field("Contact"),
        "<sip:alma@gw.jabber.example:5061;transport=tls>"
    );
    assert!(
        request
            .field("Via")
            .starts_with("SIP/2.0/TLS gw.jabber.example:5061;branch=z9hG4bK")
    );
    assert!(request.body.is_empty());
    agent.is_silent();
}

#[test]
fn neutral_200_and_202_tell_nothing() {
    for status in [200, 202] {
        let mut agent = Agent::new();
        let request = subscribe(&mut agent, false);
        agent.hears_answer(&request, status, CONTACT);
        agent.is_silent();
        assert_eq!(agent.ua.status().subscriptions, 1);
    }
}

#[test]
fn neutral_pending_then_active() {
    let mut agent = Agent::new();
    let request = neutral(&mut agent);
    let pending = Notify {
        state: PENDING,
        more: PIDF_TYPE,
        body: OPEN,
        ..Notify::default()
    };
    agent.hears_notify(&request, &pending);
    let answer = agent.says_response(200);
    assert_eq!(answer.field("CSeq"), "1 NOTIFY");
    assert!(answer.body.is_empty());
    assert_eq!(event(&mut agent), SubscriptionEvent::Pending);
    let active = Notify {
        cseq: 2,
        more: PIDF_TYPE,
        body: OPEN,
        ..Notify::default()
    };
    agent.hears_notify(&request, &active);
    agent.says_response(200);
    let SubscriptionEvent::Active(document) = event(&mut agent) else {
        panic!("not active");
    };
    assert!(shows_open(document.as_ref()));
    agent.is_silent();
}

#[test]
fn notify_overtakes_the_200() {
    let mut agent = Agent::new();
    let request = subscribe(&mut agent, false);
    agent.hears_notify(&request, &Notify::default());
    agent.says_response(200);
    assert_eq!(event(&mut agent), SubscriptionEvent::Active(None));
    agent.hears_answer(&request, 200, &format!("{CONTACT}Expires: 3600\r\n"));
    agent.is_silent();
    // The time in the NOTIFY counts, not the one in the 200.
    agent.passes_seconds(1750);
    agent.says_request("SUBSCRIBE");
}

#[test]
fn neutral_refused() {
    for status in [400, 403, 404, 408, 410, 480, 489, 500, 503, 600, 603, 604] {
        let mut agent = Agent::new();
        let request = subscribe(&mut agent, false);
        agent.hears_answer(&request, status, "");
        assert!(failed_with(status, &event(&mut agent)), "{status}");
        agent.is_silent();
        assert_eq!(agent.ua.status().subscriptions, 0);
    }
}

#[test]
fn neutral_423_asks_for_longer_until_it_gives_up() {
    let mut agent = Agent::new();
    let first = subscribe(&mut agent, false);
    agent.hears_answer(&first, 423, "Min-Expires: 7200\r\n");
    let second = agent.says_request("SUBSCRIBE");
    assert_eq!(second.field("Expires"), "7200");
    assert_eq!(second.field("Call-ID"), first.field("Call-ID"));
    assert!(second.headers.cseq().unwrap().number > first.headers.cseq().unwrap().number);
    agent.is_silent();
    for (more, status) in [("Min-Expires: 60\r\n", 423), ("", 423)] {
        let mut agent = Agent::new();
        let request = subscribe(&mut agent, false);
        agent.hears_answer(&request, status, more);
        assert!(failed_with(423, &event(&mut agent)));
    }
}

#[test]
fn neutral_timer_n() {
    let mut agent = Agent::new();
    let request = neutral(&mut agent);
    agent.passes(Duration::from_millis(31_900));
    agent.is_silent();
    agent.passes(Duration::from_millis(200));
    let timeout = Failure::Local(Local::Timeout);
    assert_eq!(event(&mut agent), SubscriptionEvent::Refused(timeout));
    agent.hears_notify(&request, &Notify::default());
    agent.says_response(481);
    agent.is_silent();
}

#[test]
fn neutral_no_answer_and_no_way() {
    let mut agent = Agent::new();
    subscribe(&mut agent, false);
    agent.passes_seconds(65);
    let timeout = Failure::Local(Local::Timeout);
    assert_eq!(event(&mut agent), SubscriptionEvent::Refused(timeout));
    for (error, local) in [
        (TargetError::NotFound, Local::DomainNotFound),
        (TargetError::Temporary, Local::Unreachable),
    ] {
        agent.target = Err(error);
        agent.does(SipOut::Subscribe {
            trace: Trace::default(),
            reference: REF,
            watcher: alma(),
            presentity: bruno(),
            poll: false,
        });
        let failure = Failure::Local(local);
        assert_eq!(event(&mut agent), SubscriptionEvent::Refused(failure));
    }
    agent.is_silent();
}

#[test]
fn neutral_transport_failure() {
    let mut agent = Agent::new();
    subscribe(&mut agent, false);
    let target = agent::tls(EDGE, "ocs.example");
    let now = agent.now;
    agent.ua.transport_failed(&Destination::Dial(target), now);
    let failure = Failure::Local(Local::TransportFailed);
    assert_eq!(event(&mut agent), SubscriptionEvent::Refused(failure));
    agent.is_silent();
}

#[test]
fn a_challenge_is_answered_once() {
    let mut settings = world();
    settings.credentials = vec![Credential {
        realm: "ocs.example".to_owned(),
        domain: "ocs.example".to_owned(),
        username: "gw".to_owned(),
        password: "pw".to_owned(),
        over_plain: false,
    }];
    let mut agent = Agent::with(settings);
    let first = subscribe(&mut agent, false);
    let challenge = "WWW-Authenticate: Digest realm=\"ocs.example\", nonce=\"n9\", algorithm=MD5, qop=\"auth\"\r\n";
    agent.hears_answer(&first, 401, challenge);
    let second = agent.says_request("SUBSCRIBE");
    assert!(second.field("Authorization").contains("username=\"gw\""));
    assert!(second.headers.cseq().unwrap().number > first.headers.cseq().unwrap().number);
    assert_eq!(second.field("Call-ID"), first.field("Call-ID"));
    assert_eq!(second.headers.get_all("Contact").count(), 1);
    agent.hears_answer(&second, 401, challenge);
    assert!(failed_with(401, &event(&mut agent)));
    agent.is_silent();
}

#[test]
fn active_news_and_broken_documents() {
    let mut agent = Agent::new();
    let request = active(&mut agent);
    let rows = [
        (PIDF_TYPE, OPEN, true),
        (PIDF_TYPE, "<presence", false),
        ("Content-Type: text/html\r\n", "<p>x</p>", false),
        ("", "", false),
    ];
    for (index, (more, body, open)) in rows.into_iter().enumerate() {
        let cseq = 3 + u32::try_from(index).unwrap();
        agent.hears_notify(
            &request,
            &Notify {
                cseq,
                more,
                body,
                ..Notify::default()
            },
        );
        agent.says_response(200);
        let SubscriptionEvent::Active(document) = event(&mut agent) else {
            panic!("not active");
        };
        assert_eq!(shows_open(document.as_ref()), open, "{body}");
        assert_eq!(document.is_some(), open, "{body}");
    }
    agent.is_silent();
}

#[test]
fn active_refresh_in_the_dialog() {
    let mut agent = Agent::new();
    let first = active(&mut agent);
    agent.passes_seconds(1735);
    agent.is_silent();
    agent.passes_seconds(50);
    let refresh = agent.says_request("SUBSCRIBE");
    assert_eq!(refresh.uri, "sip:bruno@edge.ocs.example:5061;transport=tls");
    assert_eq!(refresh.field("Call-ID"), first.field("Call-ID"));
    assert_eq!(refresh.field("From"), first.field("From"));
    assert_eq!(refresh.tag("To"), "peer5");
    assert_eq!(refresh.field("Event"), "presence");
    assert_eq!(refresh.field("Expires"), "3600");
    assert!(refresh.headers.cseq().unwrap().number > first.headers.cseq().unwrap().number);
    agent.hears_answer(&refresh, 200, "Expires: 600\r\n");
    agent.is_silent();
    agent.passes_seconds(545);
    agent.says_request("SUBSCRIBE");
}

#[test]
fn refresh_errors_that_end_the_dialog() {
    for status in [
        404, 405, 410, 416, 480, 481, 482, 483, 484, 485, 489, 501, 604,
    ] {
        let mut agent = Agent::new();
        let refresh = refreshing(&mut agent);
        agent.hears_answer(&refresh, status, "");
        let event = event(&mut agent);
        assert!(
            matches!(event, SubscriptionEvent::Lost(_)) && failed_with(status, &event),
            "{status}"
        );
        agent.is_silent();
    }
}

#[test]
fn refresh_errors_that_leave_it_until_expiry() {
    for status in [400, 403, 408, 500, 503, 600, 603] {
        let mut agent = Agent::new();
        let refresh = refreshing(&mut agent);
        agent.hears_answer(&refresh, status, "");
        agent.is_silent();
        agent.hears_notify(
            &refresh,
            &Notify {
                cseq: 7,
                ..Notify::default()
            },
        );
        agent.says_response(200);
        assert_eq!(
            event(&mut agent),
            SubscriptionEvent::Active(None),
            "{status}"
        );
        agent.is_silent();
    }
    let mut agent = Agent::new();
    let refresh = refreshing(&mut agent);
    agent.hears_answer(&refresh, 500, "");
    agent.passes_seconds(40);
    agent.says_requests();
    agent.is_silent();
    agent.passes_seconds(60);
    assert!(failed_with(500, &event(&mut agent)));
}

#[test]
fn refresh_423_and_a_refresh_that_nobody_answers() {
    let mut agent = Agent::new();
    let refresh = refreshing(&mut agent);
    agent.hears_answer(&refresh, 423, "Min-Expires: 5000\r\n");
    let again = agent.says_request("SUBSCRIBE");
    assert_eq!(again.field("Expires"), "5000");
    assert_eq!(again.tag("To"), "peer5");
    agent.passes_seconds(100);
    let timeout = Failure::Local(Local::Timeout);
    assert_eq!(event(&mut agent), SubscriptionEvent::Lost(timeout));
    agent.is_silent();
}

#[test]
fn active_terminated() {
    let rows = [
        ("rejected", EndReason::Rejected, None),
        ("deactivated", EndReason::Deactivated, None),
        ("probation;retry-after=90", EndReason::Probation, Some(90)),
        ("timeout", EndReason::Timeout, None),
        ("giveup;retry-after=5", EndReason::Giveup, Some(5)),
        ("noresource", EndReason::NoResource, None),
        ("invariant", EndReason::Invariant, None),
        ("mood", EndReason::Unknown, None),
    ];
    for (words, reason, retry_after) in rows {
        let mut agent = Agent::new();
        let request = active(&mut agent);
        let state = format!("Subscription-State: terminated;reason={words}\r\n");
        agent.hears_notify(
            &request,
            &Notify {
                cseq: 6,
                state: &state,
                ..Notify::default()
            },
        );
        agent.says_response(200);
        let ended = SubscriptionEvent::Ended {
            reason,
            retry_after: retry_after.map(Duration::from_secs),
            document: None,
        };
        assert_eq!(event(&mut agent), ended);
        agent.hears_notify(
            &request,
            &Notify {
                cseq: 7,
                ..Notify::default()
            },
        );
        agent.says_response(481);
        agent.is_silent();
    }
}

#[test]
fn subscription_state_in_any_case_and_order() {
    let mut agent = Agent::new();
    let request = active(&mut agent);
    let state = "Subscription-State: Terminated ; retry-after=5 ;reason = rejected\r\n";
    agent.hears_notify(
        &request,
        &Notify {
            cseq: 6,
            state,
            ..Notify::default()
        },
    );
    agent.says_response(200);
    let SubscriptionEvent::Ended {
        reason,
        retry_after,
        ..
    } = event(&mut agent)
    else {
        panic!("not ended");
    };
    assert_eq!(
        (reason, retry_after),
        (EndReason::Rejected, Some(Duration::from_secs(5)))
    );
}

#[test]
fn active_unsubscribe() {
    // 200, 481 and silence all end with Closed; the last NOTIFY is answered for a while.
    for status in [Some(200), Some(481), Some(500), None] {
        let mut agent = Agent::new();
        let request = active(&mut agent);
        agent.does(SipOut::Unsubscribe { reference: REF });
        let close = agent.says_request("SUBSCRIBE");
        assert_eq!(close.field("Expires"), "0");
        assert_eq!(close.field("Call-ID"), request.field("Call-ID"));
        assert_eq!(close.tag("To"), "peer5");
        match status {
            Some(status) => agent.hears_answer(&close, status, ""),
            None => agent.passes_seconds(33),
        }
        assert_eq!(event(&mut agent), SubscriptionEvent::Closed);
        let last = Notify {
            cseq: 8,
            state: "Subscription-State: terminated;reason=timeout\r\n",
            more: PIDF_TYPE,
            body: OPEN,
            ..Notify::default()
        };
        agent.hears_notify(&request, &last);
        agent.says_response(200);
        agent.is_silent();
        agent.passes_seconds(40);
        agent.hears_notify(&request, &Notify { cseq: 9, ..last });
        agent.says_response(481);
        agent.is_silent();
        assert_eq!(
            agent.ua.poll_timeout().is_some(),
            agent.ua.status().server_transactions > 0
        );
    }
}

#[test]
fn closing_notify_before_the_200_shows_nothing() {
    let mut agent = Agent::new();
    let request = active(&mut agent);
    agent.does(SipOut::Unsubscribe { reference: REF });
    let close = agent.says_request("SUBSCRIBE");
    let last = Notify {
        cseq: 8,
        state: "Subscription-State: terminated;reason=timeout\r\n",
        ..Notify::default()
    };
    agent.hears_notify(&request, &last);
    agent.says_response(200);
    agent.is_silent();
    agent.hears_answer(&close, 200, "Expires: 0\r\n");
    assert_eq!(event(&mut agent), SubscriptionEvent::Closed);
    agent.is_silent();
}

#[test]
fn unsubscribe_before_the_first_answer() {
    for (status, sends_close) in [(200, true), (404, false)] {
        let mut agent = Agent::new();
        let request = subscribe(&mut agent, false);
        agent.does(SipOut::Unsubscribe { reference: REF });
        agent.is_silent();
        agent.hears_answer(&request, status, CONTACT);
        if sends_close {
            let close = agent.says_request("SUBSCRIBE");
            assert_eq!(close.field("Expires"), "0");
            assert_eq!(close.uri, "sip:bruno@edge.ocs.example:5061;transport=tls");
            assert_eq!(close.tag("To"), "peer5");
            agent.hears_answer(&close, 200, "");
        }
        assert_eq!(event(&mut agent), SubscriptionEvent::Closed);
        agent.is_silent();
    }
}

#[test]
fn a_poll_has_a_dialog_of_its_own_and_one_answer() {
    for state in ["terminated;reason=timeout", "active;expires=0", "pending"] {
        let mut agent = Agent::new();
        let request = subscribe(&mut agent, true);
        assert_eq!(request.field("Expires"), "0");
        agent.hears_answer(&request, 200, &format!("{CONTACT}Expires: 0\r\n"));
        agent.is_silent();
        let state_line = format!("Subscription-State: {state}\r\n");
        let notify = Notify {
            state: &state_line,
            more: PIDF_TYPE,
            body: OPEN,
            ..Notify::default()
        };
        agent.hears_notify(&request, &notify);
        agent.says_response(200);
        let SubscriptionEvent::Ended { document, .. } = event(&mut agent) else {
            panic!("not ended");
        };
        assert_eq!(shows_open(document.as_ref()), state != "pending");
        agent.is_silent();
        assert_eq!(agent.ua.status().subscriptions, 0);
    }
}

#[test]
fn notifies_that_are_refused() {
    let rows = [
        (
            Notify {
                event: "Event: dialog\r\n",
                ..Notify::default()
            },
            489,
        ),
        (
            Notify {
                event: "",
                ..Notify::default()
            },
            400,
        ),
        (
            Notify {
                state: "",
                ..Notify::default()
            },
            400,
        ),
        (
            Notify {
                tag: "fork6",
                ..Notify::default()
            },
            481,
        ),
        (
            Notify {
                more: "Require: eventlist\r\n",
                ..Notify::default()
            },
            420,
        ),
    ];
    for (notify, status) in rows {
        let mut agent = Agent::new();
        let request = active(&mut agent);
        agent.hears_notify(&request, &Notify { cseq: 20, ..notify });
        agent.says_response(status);
        agent.is_silent();
    }
    let mut agent = Agent::new();
    let mut request = active(&mut agent);
    request.headers.set("Call-ID", "nobody-knows@ocs.example");
    agent.hears_notify(&request, &Notify::default());
    agent.says_response(481);
    agent.is_silent();
}

#[test]
fn notifies_out_of_order() {
    let mut agent = Agent::new();
    let request = active(&mut agent);
    for (cseq, status, is_news) in [
        (9, 200, true),
        (5, 500, false),
        (9, 200, false),
        (10, 200, true),
    ] {
        agent.hears_notify(
            &request,
            &Notify {
                cseq,
                ..Notify::default()
            },
        );
        agent.says_response(status);
        assert_eq!(agent.ua.poll_input().is_some(), is_news, "{cseq}");
    }
}

#[test]
fn benotify_counts_and_is_never_answered() {
    let mut agent = Agent::new();
    let request = active(&mut agent);
    let notify = Notify {
        method: "BENOTIFY",
        cseq: 12,
        contact: "",
        more: PIDF_TYPE,
        body: OPEN,
        ..Notify::default()
    };
    agent.hears_notify(&request, &notify);
    assert!(matches!(
        event(&mut agent),
        SubscriptionEvent::Active(Some(_))
    ));
    agent.hears_notify(&request, &Notify { cseq: 3, ..notify });
    agent.hears_notify(
        &request,
        &Notify {
            cseq: 13,
            event: "",
            ..notify
        },
    );
    agent.is_silent();
    agent.passes_seconds(60);
    agent.is_silent();
}

#[test]
fn routes_are_followed_loose_and_strict() {
    let rows = [
        (
            "<sip:p1.ocs.example;lr>, <sip:p2.ocs.example;lr>",
            "sip:bruno@edge.ocs.example:5061;transport=tls",
            vec!["<sip:p1.ocs.example;lr>", "<sip:p2.ocs.example;lr>"],
        ),
        (
            "<sip:p1.ocs.example>, <sip:p2.ocs.example;lr>",
            "sip:p1.ocs.example",
            vec![
                "<sip:p2.ocs.example;lr>",
                "<sip:bruno@edge.ocs.example:5061;transport=tls>",
            ],
        ),
    ];
    for (recorded, uri, routes) in rows {
        let mut agent = Agent::new();
        let request = neutral(&mut agent);
        let more = format!("Record-Route: {recorded}\r\n");
        agent.hears_notify(
            &request,
            &Notify {
                more: &more,
                ..Notify::default()
            },
        );
        agent.passes_seconds(1750);
        let refresh = agent.says_requests().pop().unwrap();
        assert_eq!(refresh.uri, uri);
        assert_eq!(refresh.headers.values("Route").collect::<Vec<_>>(), routes);
        assert_eq!(agent.resolved.last().unwrap().hop.host, "p1.ocs.example");
    }
}

#[test]
fn the_first_notify_without_contact_uses_that_of_the_200() {
    let mut agent = Agent::new();
    let request = neutral(&mut agent);
    agent.hears_notify(
        &request,
        &Notify {
            contact: "",
            ..Notify::default()
        },
    );
    agent.says_response(200);
    assert_eq!(event(&mut agent), SubscriptionEvent::Active(None));
    let mut agent = Agent::new();
    let request = subscribe(&mut agent, false);
    agent.hears_notify(
        &request,
        &Notify {
            contact: "",
            ..Notify::default()
        },
    );
    agent.says_response(400);
    agent.is_silent();
}

#[test]
fn a_configured_next_hop_is_used_for_its_domain() {
    let mut settings = world();
    settings.sip_domains[0].next_hop = Some("sip:edge.ocs.example:5066;transport=tcp".to_owned());
    let mut agent = Agent::with(settings);
    subscribe(&mut agent, false);
    let hop = &agent.resolved[0].hop;
    assert_eq!(
        (hop.host.as_str(), hop.port),
        ("edge.ocs.example", Some(5066))
    );
}

#[test]
fn full_is_refused() {
    let mut settings = world();
    settings.limits.dialogs = 0;
    let mut agent = Agent::with(settings);
    agent.does(SipOut::Subscribe {
        trace: Trace::default(),
        reference: REF,
        watcher: alma(),
        presentity: bruno(),
        poll: false,
    });
    let overloaded = Failure::Local(Local::Overloaded);
    assert_eq!(event(&mut agent), SubscriptionEvent::Refused(overloaded));
    agent.is_silent();
}

fn subscribe_as(agent: &mut Agent, reference: Ref) {
    agent.does(SipOut::Subscribe {
        trace: Trace::default(),
        reference,
        watcher: alma(),
        presentity: bruno(),
        poll: false,
    });
}

/// RFC 3261 §21.5.4: who answers inside a dialog may be one user's own program, and speaks for nobody else.
#[test]
fn silence_is_kept_for_the_server_of_a_domain_and_not_for_one_of_its_users() {
    let busy = "Retry-After: 100\r\n";
    let mut agent = Agent::new();
    let refresh = refreshing(&mut agent);
    agent.hears_answer(&refresh, 503, busy);
    subscribe_as(&mut agent, Ref(REF.0 + 1));
    let first = agent.says_request("SUBSCRIBE");
    agent.hears_answer(&first, 503, busy);
    _ = agent.tells();
    subscribe_as(&mut agent, Ref(REF.0 + 2));
    agent.is_silent();
    agent.passes_seconds(101);
    _ = agent.says_request("SUBSCRIBE");
}
