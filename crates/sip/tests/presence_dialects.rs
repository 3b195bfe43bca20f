//! Presence with peers that speak Microsoft's dialects: what is asked for, what rides in a 200, what is not answered.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests may fail a test"
)]

mod agent;

use std::path::Path;

use agent::{Agent, Fields, Notify, OPEN, PIDF_TYPE, REF, alma, bruno, from_bruno, world};
use stox_core::failure::Failure;
use stox_core::presence::activity_of;
use stox_core::vocab::{
    Document, EndReason, Ref, Show, SipIn, SipOut, State, SubscriptionEvent, Trace, Tuple,
    WatcherEvent, WatcherState,
};
use stox_sip::adapt::presence::Format;
use stox_sip::dialect::{DndShows, Overrides, Profile, Rule};
use stox_sip::message::{Request, Response};
use stox_sip::target::TargetError;
use stox_sip::transport::{Destination, FlowId};

const TIMEOUT: WatcherState = WatcherState::Terminated {
    reason: EndReason::Timeout,
    retry_after: None,
};

fn agent(profile: Profile, overrides: Overrides) -> Agent {
    let mut settings = world();
    settings.sip_domains[0].dialect = Rule {
        profile: Some(profile),
        overrides,
    };
    Agent::with(settings)
}

fn ocs() -> Agent {
    agent(Profile::Ocs2007R2, Overrides::default())
}

// ------------------------------------------------------------------------------------------- notifier

/// Old and new text.
type Changes<'a> = &'a [(&'a str, &'a str)];

/// The SUBSCRIBE of an OCS user, with these changes.
fn subscribe_of_ocs(changes: Changes<'_>) -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../fixtures/dialect/presence/ocs2007r2-subscribe.sip");
    let mut text = std::fs::read_to_string(file).unwrap();
    for (old, new) in changes {
        assert!(text.contains(old), "{old}");
        text = text.replace(old, new);
    }
    text
}

fn watcher(agent: &mut Agent) -> (Ref, WatcherEvent) {
    match agent.tells() {
        SipIn::Watcher { reference, event } => (reference, event),
        other => panic!("{other:?}"),
    }
}

/// It arrives and is accepted; what follows is up to the test.
fn accepted(agent: &mut Agent, changes: Changes<'_>) -> Ref {
    agent.hears(&subscribe_of_ocs(changes));
    let (reference, event) = watcher(agent);
    assert!(matches!(event, WatcherEvent::Arrived { .. }), "{event:?}");
    agent.does(SipOut::AcceptWatcher { reference });
    reference
}

fn notify(agent: &mut Agent, reference: Ref, state: WatcherState, document: Option<Document>) {
    agent.does(SipOut::Notify {
        reference,
        state,
        document,
    });
}

fn shows(show: Option<Show>) -> Option<Document> {
    let activities: Vec<String> = show
        .and_then(activity_of)
        .map(str::to_owned)
        .into_iter()
        .collect();
    let device = |id: &str, priority| Tuple {
        id: id.to_owned(),
        open: Some(true),
        show,
        activities: activities.clone(),
        priority: Some(priority),
        ..Tuple::default()
    };
    Some(Document {
        tuples: vec![device("phone", 1), device("desk", 5)],
        ..Document::default()
    })
}

fn text(body: &[u8]) -> &str {
    std::str::from_utf8(body).unwrap()
}

fn assert_plain(answer: &Response) {
    for field in [
        "Event",
        "Subscription-State",
        "ms-piggyback-cseq",
        "Content-Type",
    ] {
        assert!(!answer.headers.contains(field), "{field}");
    }
    assert!(answer.body.is_empty());
}

#[test]
fn the_first_document_rides_in_the_200() {
    let mut agent = ocs();
    let reference = accepted(&mut agent, &[]);
    // The 200 waits for the document.
    agent.is_silent();
    notify(
        &mut agent,
        reference,
        WatcherState::Active,
        shows(Some(Show::DoNotDisturb)),
    );
    let answer = agent.says_response(200);
    assert_eq!(answer.field("Event"), "presence");
    assert_eq!(answer.field("Subscription-State"), "active;expires=3600");
    assert_eq!(answer.field("ms-piggyback-cseq"), "1");
    assert_eq!(answer.field("Expires"), "3600");
    assert_eq!(answer.field("Content-Type"), "application/pidf+xml");
    assert_eq!(
        answer.field("Contact"),
        "<sip:alma@jabber.example;transport=tls>"
    );
    assert!(answer.field("Record-Route").contains("ms-route-sig=aB3x"));
    let body = text(&answer.body);
    assert_eq!(body.matches("<tuple").count(), 1);
    assert!(body.contains("<ep:activity>busy</ep:activity>"), "{body}");
    agent.is_silent();

    agent.passes_seconds(6);
    notify(&mut agent, reference, WatcherState::Active, shows(None));
    let next = agent.says_request("NOTIFY");
    assert_eq!(next.headers.cseq().unwrap().number, 2);
    assert_eq!(next.uri, "sip:bruno@ocs.example;opaque=user:epid:Qq-7;gruu");
    assert!(next.field("Route").contains("ms-route-sig=aB3x"));
    assert!(next.field("To").contains("epid=0a1b2c3d4e"));
    agent.is_silent();
}

#[test]
fn a_pending_watcher_sees_a_user_who_is_offline() {
    let mut agent = ocs();
    let reference = accepted(&mut agent, &[]);
    notify(&mut agent, reference, WatcherState::Pending, None);
    let answer = agent.says_response(200);
    assert_eq!(answer.field("Subscription-State"), "pending;expires=3600");
    assert!(text(&answer.body).contains("<basic>closed</basic>"));
    // The approval is a change of state: it waits for nothing.
    notify(&mut agent, reference, WatcherState::Active, shows(None));
    let approved = agent.says_request("NOTIFY");
    assert_eq!(approved.headers.cseq().unwrap().number, 2);
    assert!(text(&approved.body).contains("<basic>open</basic>"));

    let mut agent = agent_without_offers(Overrides::default());
    let reference = accepted(
        &mut agent,
        &[("Supported: ms-piggyback-first-notify\r\n", "")],
    );
    assert_plain(&agent.says_response(200));
    notify(&mut agent, reference, WatcherState::Pending, None);
    let pending = agent.says_request("NOTIFY");
    assert!(text(&pending.body).contains("<basic>closed</basic>"));
}

fn agent_without_offers(overrides: Overrides) -> Agent {
    agent(Profile::Ocs2007R2, overrides)
}

#[test]
fn what_cannot_ride_follows() {
    let off = Overrides {
        piggyback: Some(false),
        ..Overrides::default()
    };
    let no_offer: Changes<'_> = &[("Supported: ms-piggyback-first-notify\r\n", "")];
    let poll: Changes<'_> = &[("Event: presence", "Expires: 0\r\nEvent: presence")];
    let active = WatcherState::Active;
    let rows: [(
        Profile,
        Overrides,
        Changes<'_>,
        WatcherState,
        Option<Document>,
    ); 6] = [
        (Profile::Ocs2007R2, off, &[], active, shows(None)),
        (
            Profile::Ocs2007R2,
            Overrides::default(),
            no_offer,
            active,
            shows(None),
        ),
        (
            Profile::Ocs2007R2,
            Overrides::default(),
            poll,
            TIMEOUT,
            shows(None),
        ),
        // Nothing is known of the user, or the watcher is turned away at once.
        (Profile::Ocs2007R2, Overrides::default(), &[], active, None),
        (Profile::Ocs2007R2, Overrides::default(), &[], TIMEOUT, None),
        (
            Profile::Simple,
            Overrides::default(),
            &[],
            active,
            shows(None),
        ),
    ];
    for (profile, overrides, changes, state, document) in rows {
        let mut agent = agent(profile, overrides);
        let reference = accepted(&mut agent, changes);
        notify(&mut agent, reference, state, document.clone());
        assert_plain(&agent.says_response(200));
        let first = agent.says_request("NOTIFY");
        assert_eq!(first.headers.cseq().unwrap().number, 1);
        assert_eq!(first.body.is_empty(), document.is_none());
        agent.hears_answer(&first, 200, "");
        let left = usize::from(state == active);
        assert_eq!(agent.ua.status().watchers, left, "{profile:?} {state:?}");
    }
}

#[test]
fn a_server_that_keeps_to_the_rfcs_is_told_as_they_say() {
    let pidf_only: Changes<'_> = &[("Accept: ", "Accept: application/pidf+xml\r\nX: ")];
    // Behind such a server may sit a reader of the old form.
    for (changes, old_forms) in [(pidf_only, 0), (&[], 2)] {
        let mut agent = agent(Profile::Simple, Overrides::default());
        let reference = accepted(&mut agent, changes);
        agent.says_response(200);
        notify(&mut agent, reference, WatcherState::Pending, None);
        let pending = agent.says_request("NOTIFY");
        assert!(pending.body.is_empty());
        agent.hears_answer(&pending, 200, "");
        let away = shows(Some(Show::Away));
        notify(&mut agent, reference, WatcherState::Active, away);
        let body = agent.says_request("NOTIFY").body;
        assert_eq!(text(&body).matches("<tuple").count(), 2);
        assert_eq!(text(&body).matches("<ep:activity>away<").count(), old_forms);
        let first = text(&body).split("id=\"ID-").nth(1).unwrap();
        assert_eq!(first.starts_with("desk"), old_forms > 0);
    }
}

#[test]
fn a_watcher_that_cannot_be_answered_any_more_is_gone() {
    let mut agent = ocs();
    let reference = accepted(&mut agent, &[]);
    // The bridge owes news at once; if it never came, the transaction would end one day.
    agent.passes_seconds(3700);
    assert_eq!(agent.ua.status().watchers, 0);
    assert_eq!(watcher(&mut agent), (reference, WatcherEvent::Broken));
    let answers = agent.says_responses();
    assert!(answers.iter().all(|answer| answer.status == 100));
    agent.is_silent();
}

#[test]
fn each_watcher_is_told_in_the_best_format_that_it_takes() {
    let tell = |formats: &[Format]| Overrides {
        presence_tell: Some(formats.to_vec()),
        dnd_shows: Some(DndShows::Busy),
        ..Overrides::default()
    };
    let categories_only = "Accept: application/msrtc-event-categories+xml\r\nX: ";
    let rows: [(&[Format], Changes<'_>, &str, &str); 4] = [
        (
            &[Format::Categories, Format::Pidf],
            &[],
            "application/msrtc-event-categories+xml",
            "<availability>6500</availability>",
        ),
        (
            &[Format::MsrtcPidf],
            &[],
            "text/xml+msrtc.pidf",
            "<activity aggregate=\"600\"",
        ),
        (
            &[Format::Xpidf],
            &[],
            "application/xpidf+xml",
            "substatus=\"busy\"",
        ),
        (
            &[Format::Pidf, Format::Categories],
            &[("Accept: ", categories_only)],
            "application/msrtc-event-categories+xml",
            "token=\"busy\"",
        ),
    ];
    for (formats, changes, kind, piece) in rows {
        let mut agent = agent(Profile::Ocs2007R2, tell(formats));
        let reference = accepted(&mut agent, changes);
        let dnd = shows(Some(Show::DoNotDisturb));
        notify(&mut agent, reference, WatcherState::Active, dnd);
        let answer = agent.says_response(200);
        assert_eq!(answer.field("Content-Type"), kind);
        assert!(text(&answer.body).contains(piece), "{}", text(&answer.body));
    }
    let mut agent = ocs();
    agent.hears(&subscribe_of_ocs(&[(
        "Accept: ",
        "Accept: text/plain\r\nX: ",
    )]));
    let answer = agent.says_response(406);
    assert_eq!(answer.field("Accept"), "application/pidf+xml");
    agent.is_silent();
}

#[test]
fn a_refresh_may_ask_for_another_format() {
    let both = Overrides {
        presence_tell: Some(vec![Format::Categories, Format::Pidf]),
        piggyback: Some(false),
        ..Overrides::default()
    };
    let mut agent = agent(Profile::Ocs2007R2, both);
    let reference = accepted(&mut agent, &[]);
    let tag = agent.says_response(200).tag("To");
    notify(&mut agent, reference, WatcherState::Active, shows(None));
    let first = agent.says_request("NOTIFY");
    assert_eq!(
        first.field("Content-Type"),
        Format::Categories.content_type()
    );
    agent.hears_answer(&first, 200, "");
    let refresh = subscribe_of_ocs(&[
        ("CSeq: 1", "CSeq: 2"),
        ("branch=z9hG4bKA1.B2", "branch=z9hG4bKA1.B3"),
        (
            "To: <sip:alma@jabber.example>",
            &format!("To: <sip:alma@jabber.example>;tag={tag}"),
        ),
        ("Accept: ", "Accept: application/pidf+xml\r\nX: "),
    ]);
    agent.hears(&refresh);
    assert_plain(&agent.says_response(200));
    assert_eq!(watcher(&mut agent).1, WatcherEvent::Refreshed);
    notify(&mut agent, reference, WatcherState::Active, shows(None));
    let second = agent.says_request("NOTIFY");
    assert_eq!(second.field("Content-Type"), Format::Pidf.content_type());
}

// ------------------------------------------------------------------------------------------- BENOTIFY

fn best_effort() -> (Agent, Ref) {
    let overrides = Overrides {
        benotify: Some(true),
        ..Overrides::default()
    };
    let mut agent = agent(Profile::Ocs2007R2, overrides);
    let reference = accepted(&mut agent, &[]);
    notify(&mut agent, reference, WatcherState::Active, shows(None));
    agent.says_response(200);
    agent.passes_seconds(6);
    agent.is_silent();
    (agent, reference)
}

#[test]
fn watchers_that_offer_it_get_notifies_without_answer() {
    let (mut agent, reference) = best_effort();
    notify(
        &mut agent,
        reference,
        WatcherState::Active,
        shows(Some(Show::Away)),
    );
    let first = agent.says_request("BENOTIFY");
    assert_eq!(first.field("CSeq"), "2 BENOTIFY");
    assert_eq!(first.field("Subscription-State"), "active;expires=3594");
    // Nothing is awaited: the next one keeps to the pace only.
    notify(&mut agent, reference, WatcherState::Active, shows(None));
    agent.is_silent();
    agent.passes_seconds(6);
    let second = agent.says_request("BENOTIFY");
    assert_eq!(second.field("CSeq"), "3 BENOTIFY");
    agent.passes_seconds(200);
    agent.is_silent();
    assert_eq!(agent.ua.status().watchers, 1);
    notify(&mut agent, reference, TIMEOUT, None);
    assert!(
        agent
            .says_request("BENOTIFY")
            .field("Subscription-State")
            .starts_with("terminated")
    );
    assert_eq!(agent.ua.status().watchers, 0);
    agent.passes_seconds(200);
    agent.is_silent();
}

#[test]
fn a_lost_connection_brings_answers_back() {
    let (mut agent, reference) = best_effort();
    let now = agent.now;
    agent.ua.connection_closed(FlowId(7), now);
    notify(
        &mut agent,
        reference,
        WatcherState::Active,
        shows(Some(Show::Away)),
    );
    let sent = agent.says();
    assert_eq!(sent.request().method.as_str(), "NOTIFY");
    assert!(matches!(sent.destination, Destination::Dial(_)), "{sent:?}");
}

#[test]
fn a_benotify_that_cannot_be_sent_breaks_the_watcher() {
    let (mut agent, reference) = best_effort();
    notify(
        &mut agent,
        reference,
        WatcherState::Active,
        shows(Some(Show::Away)),
    );
    let sent = agent.says();
    agent.target = Err(TargetError::NotFound);
    let now = agent.now;
    agent.ua.transport_failed(&sent.destination, now);
    agent.pump();
    assert_eq!(watcher(&mut agent), (reference, WatcherEvent::Broken));
    assert_eq!(agent.ua.status().watchers, 0);
    agent.is_silent();
}

#[test]
fn a_peer_that_answers_a_benotify_all_the_same_is_heard() {
    for (status, gone) in [(200, false), (500, false), (481, true)] {
        let (mut agent, reference) = best_effort();
        notify(
            &mut agent,
            reference,
            WatcherState::Active,
            shows(Some(Show::Away)),
        );
        let request = agent.says_request("BENOTIFY");
        agent.hears_answer(&request, status, "");
        if gone {
            assert_eq!(watcher(&mut agent), (reference, WatcherEvent::Broken));
        }
        agent.is_silent();
        assert_eq!(agent.ua.status().watchers, usize::from(!gone), "{status}");
    }
}

// -------------------------------------------------------------------------------------- one for a device

#[test]
fn a_new_subscription_of_a_device_ends_the_one_before() {
    let mut agent = ocs();
    let old = accepted(&mut agent, &[]);
    notify(&mut agent, old, WatcherState::Active, shows(None));
    agent.says_response(200);
    let again: Changes<'_> = &[("Call-ID: 5d0c7b8a", "Call-ID: 77aa"), ("B2;", "B3;")];
    agent.hears(&subscribe_of_ocs(again));
    let (new, event) = watcher(&mut agent);
    assert!(matches!(event, WatcherEvent::Arrived { .. }));
    assert_eq!(watcher(&mut agent), (old, WatcherEvent::Broken));
    let last = agent.says_request("NOTIFY");
    assert_eq!(last.field("Call-ID"), "5d0c7b8a");
    assert_eq!(last.field("Subscription-State"), "terminated");
    assert!(
        last.field("ms-diagnostics-public")
            .starts_with("2139;reason=")
    );
    assert!(last.body.is_empty());
    // The bridge may have had news on its way to the old one.
    notify(&mut agent, old, WatcherState::Active, shows(None));
    agent.hears_answer(&last, 481, "");
    agent.is_silent();
    assert_eq!(agent.ua.status().watchers, 1);
    agent.does(SipOut::AcceptWatcher { reference: new });
    notify(&mut agent, new, WatcherState::Active, shows(None));
    agent.says_response(200);
    agent.is_silent();
}

#[test]
fn other_devices_and_other_peers_keep_theirs() {
    let other = [
        ("Call-ID: 5d0c7b8a", "Call-ID: 77aa"),
        ("B2;", "B3;"),
        (";epid=0a1b2c3d4e", ";epid=ffff"),
    ];
    let nameless = [
        ("Call-ID: 5d0c7b8a", "Call-ID: 77aa"),
        ("B2;", "B3;"),
        (";epid=0a1b2c3d4e", ""),
    ];
    let same = [("Call-ID: 5d0c7b8a", "Call-ID: 77aa"), ("B2;", "B3;")];
    let rows: [(Profile, Changes<'_>, Changes<'_>); 3] = [
        (Profile::Ocs2007R2, &[], &other),
        (Profile::Ocs2007R2, &[(";epid=0a1b2c3d4e", "")], &nameless),
        (Profile::Simple, &[], &same),
    ];
    for (profile, first, second) in rows {
        let mut agent = agent(profile, Overrides::default());
        let old = accepted(&mut agent, first);
        notify(&mut agent, old, WatcherState::Active, shows(None));
        agent.says_responses();
        accepted(&mut agent, second);
        assert_eq!(agent.ua.poll_input(), None);
        assert_eq!(agent.ua.status().watchers, 2, "{profile:?}");
    }
}

// ----------------------------------------------------------------------------------------- subscriber

const CONTACT: &str = "Contact: <sip:bruno@ocs.example;opaque=user:epid:Qq-7;gruu>\r\n";
const POLL: Ref = Ref(12);

fn ask(agent: &mut Agent, reference: Ref, poll: bool) {
    agent.does(SipOut::Subscribe {
        trace: Trace::default(),
        reference,
        watcher: alma(),
        presentity: bruno(),
        poll,
    });
}

fn subscribed(agent: &mut Agent) -> Request {
    ask(agent, REF, false);
    agent.says_request("SUBSCRIBE")
}

fn event(agent: &mut Agent) -> (Ref, SubscriptionEvent) {
    match agent.tells() {
        SipIn::Subscription { reference, event } => (reference, event),
        other => panic!("{other:?}"),
    }
}

fn active_document(agent: &mut Agent) -> Document {
    match event(agent) {
        (REF, SubscriptionEvent::Active(Some(document))) => document,
        other => panic!("{other:?}"),
    }
}

fn categories(inside: &str) -> String {
    format!(
        "<categories xmlns='http://schemas.microsoft.com/2006/09/sip/categories' uri='sip:bruno@ocs.example'>\
         {inside}</categories>"
    )
}

fn state(number: u32) -> String {
    categories(&format!(
        "<category name='state' instance='1'><state xmlns='http://schemas.microsoft.com/2006/09/sip/state'>\
         <availability>{number}</availability></state></category>"
    ))
}

const CATEGORIES_TYPE: &str = "Content-Type: application/msrtc-event-categories+xml\r\n";

#[test]
fn each_dialect_is_asked_for_its_own_documents() {
    let rows = [
        (Profile::Simple, "application/pidf+xml", ""),
        (
            Profile::Ocs2007R2,
            "application/msrtc-event-categories+xml, text/xml+msrtc.pidf, application/pidf+xml",
            "ms-piggyback-first-notify",
        ),
        (
            Profile::Lcs2005,
            "text/xml+msrtc.pidf, application/pidf+xml, application/xpidf+xml",
            "ms-piggyback-first-notify",
        ),
    ];
    for (profile, accept, supported) in rows {
        let mut agent = agent(profile, Overrides::default());
        let request = subscribed(&mut agent);
        assert_eq!(request.field("Accept"), accept);
        assert_eq!(request.field("Supported"), supported);
        assert!(!request.headers.contains("Proxy-Require"));
    }
}

#[test]
fn a_document_in_the_200_is_the_first_notify() {
    let full = format!(
        "{CONTACT}Expires: 28800\r\nEvent: presence\r\nsubscription-state: active;expires=28800\r\n\
         ms-piggyback-cseq: 1\r\n{CATEGORIES_TYPE}"
    );
    // COMPAT(lcs2005): the fields that describe it may be missing.
    let bare = format!("{CONTACT}Expires: 28800\r\n{CATEGORIES_TYPE}");
    for more in [full, bare] {
        let mut agent = ocs();
        let request = subscribed(&mut agent);
        agent.hears_answer_with(&request, 200, &more, &state(6500));
        let document = active_document(&mut agent);
        assert_eq!(document.tuples[0].state, Some(State::Busy));
        assert_eq!(agent.ua.status().established, 1);
        // No NOTIFY is missed.
        agent.passes_seconds(100);
        agent.is_silent();
        let next = Notify {
            cseq: 2,
            state: "Subscription-State: active;expires=28700\r\n",
            more: CATEGORIES_TYPE,
            body: &state(15_500),
            ..Notify::default()
        };
        agent.hears_notify(&request, &next);
        agent.says_response(200);
        assert_eq!(
            active_document(&mut agent).tuples[0].state,
            Some(State::Away)
        );
        agent.passes_seconds(28_640);
        let refresh = agent.says_request("SUBSCRIBE");
        assert_eq!(refresh.uri, "sip:bruno@edge.ocs.example:5061;transport=tls");
        agent.hears_answer_with(
            &refresh,
            200,
            "Expires: 28800\r\nContent-Type: application/pidf+xml\r\n",
            OPEN,
        );
        assert_eq!(active_document(&mut agent).tuples[0].open, Some(true));
        agent.is_silent();
    }
}

#[test]
fn a_piggyback_that_says_nothing_leaves_the_word_to_the_notify() {
    let rows: [(&str, &str); 3] = [
        (CATEGORIES_TYPE, "<broken"),
        ("Content-Type: application/sdp\r\n", "v=0\r\n"),
        ("", ""),
    ];
    for (more, body) in rows {
        let mut agent = ocs();
        let request = subscribed(&mut agent);
        let more = format!("{CONTACT}{more}");
        agent.hears_answer_with(&request, 200, &more, body);
        agent.is_silent();
        agent.passes_seconds(40);
        let (reference, event) = event(&mut agent);
        assert_eq!(reference, REF);
        assert!(matches!(event, SubscriptionEvent::Refused(_)), "{event:?}");
    }
}

#[test]
fn a_pending_piggyback_shows_nothing_and_an_older_one_is_no_news() {
    let mut agent = ocs();
    let request = subscribed(&mut agent);
    let more = format!("{CONTACT}Subscription-State: pending;expires=600\r\n{PIDF_TYPE}");
    agent.hears_answer_with(&request, 200, &more, OPEN);
    assert_eq!(event(&mut agent), (REF, SubscriptionEvent::Pending));
    agent.is_silent();

    let mut agent = ocs();
    let request = subscribed(&mut agent);
    let more = Notify {
        more: PIDF_TYPE,
        body: OPEN,
        ..Notify::default()
    };
    agent.hears_notify(&request, &more);
    agent.says_response(200);
    active_document(&mut agent);
    let more = format!("{CONTACT}{CATEGORIES_TYPE}");
    agent.hears_answer_with(&request, 200, &more, &state(18_500));
    agent.is_silent();
}

#[test]
fn a_poll_may_be_answered_in_its_200() {
    let mut agent = ocs();
    ask(&mut agent, POLL, true);
    let request = agent.says_request("SUBSCRIBE");
    assert_eq!(request.field("Expires"), "0");
    let more =
        format!("{CONTACT}Expires: 0\r\nsubscription-state: terminated;expires=0\r\n{PIDF_TYPE}");
    agent.hears_answer_with(&request, 200, &more, OPEN);
    let (reference, event) = event(&mut agent);
    assert_eq!(reference, POLL);
    let SubscriptionEvent::Ended { document, .. } = event else {
        panic!("{event:?}");
    };
    assert_eq!(document.unwrap().tuples[0].open, Some(true));
    // A NOTIFY may follow all the same.
    let over = Notify {
        state: "Subscription-State: terminated;reason=timeout\r\n",
        ..Notify::default()
    };
    agent.hears_notify(&request, &over);
    agent.says_response(200);
    agent.is_silent();
    assert_eq!(agent.ua.status().subscriptions, 0);
}

#[test]
fn a_document_that_tells_a_change_is_completed() {
    let mut agent = ocs();
    let request = subscribed(&mut agent);
    let first = Notify {
        more: CATEGORIES_TYPE,
        body: &state(6500),
        ..Notify::default()
    };
    agent.hears_notify(&request, &first);
    agent.says_response(200);
    active_document(&mut agent);
    let note = categories(
        "<category name='note' instance='0'><note xmlns='http://schemas.microsoft.com/2006/09/sip/note'>\
         <body type='personal' uri=''>gone fishing</body></note></category>",
    );
    let second = Notify {
        method: "BENOTIFY",
        cseq: 2,
        more: CATEGORIES_TYPE,
        body: &note,
        ..Notify::default()
    };
    agent.hears_notify(&request, &second);
    let document = active_document(&mut agent);
    assert_eq!(document.tuples[0].state, Some(State::Busy));
    assert_eq!(document.tuples[0].notes[0].text, "gone fishing");
    // BENOTIFY is never answered.
    agent.is_silent();
}

#[test]
fn notifies_without_a_time_keep_a_subscription_whose_refresh_fails() {
    let mut agent = ocs();
    let request = subscribed(&mut agent);
    agent.hears_notify(&request, &Notify::default());
    agent.says_response(200);
    assert_eq!(event(&mut agent), (REF, SubscriptionEvent::Active(None)));
    agent.hears_answer(&request, 200, &format!("{CONTACT}Expires: 1800\r\n"));
    agent.passes_seconds(1750);
    let refresh = agent.says_request("SUBSCRIBE");
    agent.hears_answer(&refresh, 503, "");
    let alive = Notify {
        cseq: 2,
        state: "Subscription-State: active\r\n",
        ..Notify::default()
    };
    agent.hears_notify(&request, &alive);
    agent.says_response(200);
    assert_eq!(event(&mut agent), (REF, SubscriptionEvent::Active(None)));
    agent.passes_seconds(600);
    assert_eq!(agent.ua.status().subscriptions, 1);
    agent.says_requests();
    agent.passes_seconds(1300);
    assert!(matches!(
        event(&mut agent),
        (REF, SubscriptionEvent::Lost(_))
    ));
}

// ---------------------------------------------------------------------------------------------- probes

#[test]
fn an_edge_is_asked_once_for_a_probe() {
    let mut agent = ocs();
    let request = subscribed(&mut agent);
    ask(&mut agent, POLL, true);
    agent.is_silent();
    let first = Notify {
        more: PIDF_TYPE,
        body: OPEN,
        ..Notify::default()
    };
    agent.hears_notify(&request, &first);
    agent.says_response(200);
    let (reference, answer) = event(&mut agent);
    let SubscriptionEvent::Ended { document, .. } = answer else {
        panic!("{answer:?}");
    };
    assert_eq!((reference, document.unwrap().tuples.len()), (POLL, 1));
    active_document(&mut agent);
    agent.is_silent();
    // The dialog is there now: a poll asks on its own again.
    ask(&mut agent, Ref(13), true);
    assert_eq!(agent.says_request("SUBSCRIBE").field("Expires"), "0");
}

#[test]
fn a_probe_shares_the_fate_of_the_dialog_that_was_to_answer_it() {
    let mut agent = ocs();
    let request = subscribed(&mut agent);
    ask(&mut agent, POLL, true);
    agent.hears_answer(&request, 404, "");
    let refused = |event: &SubscriptionEvent| matches!(event, SubscriptionEvent::Refused(Failure::Sip(status)) if status.code == 404);
    for expected in [POLL, REF] {
        let (reference, event) = event(&mut agent);
        assert!(reference == expected && refused(&event), "{event:?}");
    }
    agent.is_silent();

    let mut agent = ocs();
    subscribed(&mut agent);
    ask(&mut agent, POLL, true);
    agent.does(SipOut::Unsubscribe { reference: REF });
    agent.passes_seconds(40);
    for expected in [POLL, REF] {
        assert_eq!(event(&mut agent), (expected, SubscriptionEvent::Closed));
    }
}

#[test]
fn other_peers_and_other_users_are_asked_on_their_own() {
    let polls = Overrides {
        probe_polls: Some(true),
        ..Overrides::default()
    };
    for (profile, overrides) in [
        (Profile::Simple, Overrides::default()),
        (Profile::Ocs2007R2, polls),
    ] {
        let mut agent = agent(profile, overrides);
        subscribed(&mut agent);
        ask(&mut agent, POLL, true);
        assert_eq!(agent.says_request("SUBSCRIBE").field("Expires"), "0");
    }
    let mut agent = ocs();
    subscribed(&mut agent);
    agent.does(SipOut::Subscribe {
        trace: Trace::default(),
        reference: POLL,
        watcher: alma(),
        presentity: agent::address("carla", "ocs.example"),
        poll: true,
    });
    assert_eq!(agent.says_request("SUBSCRIBE").field("Expires"), "0");
}

#[test]
fn what_the_peer_needs_of_proxies_is_no_matter_of_ours() {
    let mut agent = ocs();
    let more = "Contact: <sip:bruno@edge.ocs.example>\r\nEvent: presence\r\nProxy-Require: ms-benotify, ms-other\r\n";
    agent.hears(&from_bruno("SUBSCRIBE", "s1", 1, "", more, ""));
    assert!(matches!(
        watcher(&mut agent).1,
        WatcherEvent::Arrived { .. }
    ));
}
