//! Federation with an Edge of Communications Server: what it writes is taken, kept to the octet and answered.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests may fail a test"
)]

mod agent;

use std::path::Path;
use std::time::Duration;

use agent::{Agent, EDGE, Fields, REF, address, alma, bruno, from_bruno, from_edge, tls, world};
use stox_core::failure::{Condition, Failure, Local, StanzaError, to_stanza};
use stox_core::policy::DomainPattern;
use stox_core::vocab::{
    Im, Ref, SipIn, SipOut, SubscriptionEvent, Text, Trace, WatcherEvent, WatcherState,
};
use stox_sip::adapt::diagnostics::Scope;
use stox_sip::dialect::{ContactHost, ImMode, Negotiate, Overrides, Profile, Rule};
use stox_sip::message::{Request, Response};
use stox_sip::transport::{Destination, FlowId, Source, Target, Transport};
use stox_sip::ua::settings::Settings;
use stox_sip::ua::trust::{AddressBlock, SipDomain};

/// A message of `fixtures/dialect/edge`, with the words in braces filled in.
fn fixture(name: &str, words: &[(&str, &str)]) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/dialect/edge");
    let text = std::fs::read_to_string(folder.join(name)).unwrap();
    words.iter().fold(text, |text, (word, value)| {
        text.replace(&format!("{{{word}}}"), value)
    })
}

/// An answer to a request of ours.
fn answer(name: &str, request: &Request, words: &[(&str, &str)]) -> String {
    let echoed = ["Via", "From", "To", "Call-ID", "CSeq"]
        .map(|field| (field.to_lowercase(), request.field(field).to_owned()));
    let mut all: Vec<(&str, &str)> = words.to_vec();
    all.extend(
        echoed
            .iter()
            .map(|(word, value)| (word.as_str(), value.as_str())),
    );
    fixture(name, &all)
}

/// The world with a change to its one SIP domain.
fn world_where(change: impl FnOnce(&mut SipDomain)) -> Settings {
    let mut settings = world();
    change(&mut settings.sip_domains[0]);
    settings
}

const OCS: Option<Profile> = Some(Profile::Ocs2007R2);

/// Takes a watcher of whose presentity nothing is known: the 200 and an empty NOTIFY.
fn accept(agent: &mut Agent, reference: Ref) {
    agent.does(SipOut::AcceptWatcher { reference });
    agent.does(SipOut::Notify {
        reference,
        state: WatcherState::Active,
        document: None,
    });
}

fn stranger() -> Source {
    Source {
        remote: "198.51.100.9:5061".parse().unwrap(),
        ..from_edge(Transport::Tls)
    }
}

/// Beside the fields that make it an answer, and those of the kind that every answer of ours has.
fn beyond_the_echo(response: &Response) -> Vec<&str> {
    const USUAL: [&str; 7] = [
        "Via",
        "From",
        "To",
        "Call-ID",
        "CSeq",
        "Server",
        "Content-Length",
    ];
    let names = response.headers.iter().map(|field| field.name());
    names.filter(|name| !USUAL.contains(name)).collect()
}

// ---------------------------------------------------------------------------------------- NEGOTIATE, OPTIONS

#[test]
fn an_offer_of_compression_is_declined_on_the_hop() {
    for (answer, status, words) in [
        (None, 488, None),
        (Some(Negotiate::Refuse), 488, None),
        (Some(Negotiate::None), 200, Some("None")),
    ] {
        let mut agent = Agent::with(world_where(|domain| {
            domain.dialect.overrides.negotiate = answer;
        }));
        agent.hears(&fixture("negotiate.sip", &[]));
        let response = agent.says_response(status);
        assert_eq!(response.headers.get("Compression"), words);
        assert!(
            response
                .field("Via")
                .starts_with("SIP/2.0/TLS 192.0.2.10:49761")
        );
        assert_eq!(
            response.field("Call-ID"),
            "5b1f30e0c1a94cf1b0f8d8a2f6a7c310"
        );
        agent.is_silent();
        assert_eq!(
            (agent.ua.status().watchers, agent.ua.status().subscriptions),
            (0, 0)
        );
    }
}

#[test]
fn a_stranger_gets_no_word_about_compression_and_other_methods_stay_refused() {
    let mut agent = Agent::new();
    agent.source = stranger();
    agent.hears(&fixture("negotiate.sip", &[]));
    let response = agent.says().response().clone();
    assert!(![200, 488].contains(&response.status), "{response:?}");
    assert_eq!(response.headers.get("Compression"), None);
    let mut agent = Agent::new();
    agent.hears(&from_bruno("SERVICE", "v1", 1, "", "", ""));
    agent.says_response(405);
    agent.hears(&from_bruno("BREW", "v2", 2, "", "", ""));
    agent.says_response(501);
}

#[test]
fn an_edge_that_looks_whether_we_live_is_told_what_we_serve() {
    let mut agent = Agent::new();
    agent.hears(&fixture("options.sip", &[]));
    let response = agent.says_response(200);
    for method in ["MESSAGE", "SUBSCRIBE", "NOTIFY", "OPTIONS"] {
        assert!(response.headers.lists("Allow", method), "{method}");
    }
    assert!(response.field("From").contains(";epid=77AB01C2D3"));
    agent.source = stranger();
    agent.hears(&fixture("options.sip", &[]).replace("21aa", "21ab"));
    agent.says_response(404);
    let mut agent = Agent::new();
    agent.hears(&fixture("options.sip", &[]).replace("sip:192.0.2.7:", "sip:x@third.example:"));
    agent.says_response(404);
}

// ------------------------------------------------------------------------------------------------- verbatim

const EDGE_ROUTE: &str = "<sip:edge.ocs.example:5061;transport=tls;opaque=state:F;lr;ms-route-sig=gpQx-7_Zk3wAA>;tag=9F2C11D0AA";
const POOL_ROUTE: &str = "<sip:pool.corp.ocs.example:5061;transport=tls;ms-fe=fe1.corp.ocs.example;\
    opaque=state:T:F:Ci.R1a00;lr;ms-route-sig=hhT0v-q9AA>;ms-rrsig=aaLm-3_XxAA;tag=9F2C11D0AA";

#[test]
fn the_watchers_dialog_keeps_what_the_edge_wrote_to_the_octet() {
    let mut agent = Agent::new();
    agent.hears(&fixture("subscribe.sip", &[]));
    let SipIn::Watcher { reference, event } = agent.tells() else {
        panic!("no watcher");
    };
    let arrived = WatcherEvent::Arrived {
        trace: Trace::default(),
        watcher: bruno(),
        presentity: alma(),
        poll: false,
    };
    assert_eq!(event, arrived, "nothing but From names the watcher");
    accept(&mut agent, reference);
    let response = agent.says_response(200);
    let from = "\"Bruno\"<sip:bruno@ocs.example>;tag=5f1c;epid=0a1b2c3d4e;x-own=\"a;b\"";
    assert_eq!(response.field("From"), from);
    let to = response.field("To");
    assert!(
        to.starts_with("<sip:alma@jabber.example>;epid=ffee00;tag="),
        "{to}"
    );
    let routes: Vec<&str> = response.headers.get_all("Record-Route").collect();
    assert_eq!(routes, [EDGE_ROUTE, POOL_ROUTE]);
    let vias: Vec<&str> = response.headers.values("Via").collect();
    let own = "SIP/2.0/tls 192.0.2.10:51234;branched=FALSE;ms-internal-info=\"bcQz_8\"";
    assert!(vias[0].starts_with(own), "{}", vias[0]);
    assert_eq!(
        vias[1],
        "SIP/2.0/tcp 10.0.0.9:49200;ms-received-port=49200;ms-received-cid=1A00"
    );
    assert_eq!(
        beyond_the_echo(&response),
        ["Record-Route", "Record-Route", "Contact", "Expires"]
    );

    let notify = agent.says_request("NOTIFY");
    assert_eq!(
        notify.uri,
        "sip:bruno@ocs.example;opaque=user:epid:Qq-7%2F;gruu"
    );
    let routes: Vec<&str> = notify.headers.get_all("Route").collect();
    assert_eq!(routes, [EDGE_ROUTE, POOL_ROUTE]);
    assert_eq!(notify.field("To"), from);
    assert_eq!(notify.field("From"), to);
    for name in notify
        .headers
        .iter()
        .map(|field| field.name().to_lowercase())
    {
        assert!(!name.starts_with("ms-") && !name.starts_with("p-") && name != "history-info");
    }
}

#[test]
fn a_request_without_branch_is_one_request_however_often_it_comes() {
    let mut agent = Agent::new();
    let text = fixture("subscribe.sip", &[]);
    agent.hears(&text);
    agent.hears(&text);
    let SipIn::Watcher { reference, .. } = agent.tells() else {
        panic!("no watcher");
    };
    agent.is_silent();
    accept(&mut agent, reference);
    let first = agent.says_response(200);
    agent.says_request("NOTIFY");
    agent.hears(&text);
    assert_eq!(agent.says_response(200), first);
    assert_eq!(agent.ua.counters().repeated_requests, 2);
}

#[test]
fn our_subscription_goes_back_the_way_that_the_edge_recorded() {
    let mut agent = Agent::new();
    let request = subscribe(&mut agent);
    agent.hears(&answer("subscribe-ok.sip", &request, &[]));
    agent.is_silent();
    let notify = |number: &str, state: &str| {
        let from = request.field("From");
        let words = [
            ("from", from),
            ("call-id", request.field("Call-ID")),
            ("number", number),
            ("state", state),
        ];
        fixture("notify.sip", &words)
    };
    agent.hears(&notify("1", "active;expires=600"));
    agent.says_response(200);
    agent.tells();
    agent.passes_seconds(545);
    let refresh = agent.says_request("SUBSCRIBE");
    assert_eq!(
        refresh.uri,
        "sip:bruno@ocs.example;opaque=user:epid:Qq-7;gruu"
    );
    let routes: Vec<&str> = refresh.headers.get_all("Route").collect();
    let edge =
        "<sip:edge.ocs.example:5061;transport=tls;opaque=state:F;lr;ms-route-sig=gpQx>;tag=9F";
    let pool = "<sip:pool.corp.ocs.example:5061;transport=tls;ms-fe=fe1.corp.ocs.example;opaque=state:T;lr;\
        ms-route-sig=hhT0v>;ms-rrsig=aaLm;tag=9F";
    assert_eq!(routes, [edge, pool]);
    assert_eq!(
        refresh.field("To"),
        "<sip:bruno@ocs.example>;tag=91B0C0DE;epid=0a1b2c3d4e"
    );

    let told = agent.ua.poll_trouble().unwrap();
    assert_eq!(
        (told.id, told.scope, told.status),
        (2139, Scope::User, None)
    );
    agent.hears(&notify("2", "terminated;reason=deactivated"));
    agent.says_response(200);
    assert!(matches!(
        agent.tells(),
        SipIn::Subscription {
            event: SubscriptionEvent::Ended { .. },
            ..
        }
    ));
    assert_eq!(agent.ua.poll_trouble(), None, "once in a while");
}

#[test]
fn a_refused_invite_without_ack_ends_quietly() {
    let mut agent = Agent::new();
    agent.hears(&fixture("invite-stranger.sip", &[]));
    let response = agent.says().response().clone();
    assert!((400..500).contains(&response.status), "{response:?}");
    agent.passes_seconds(120);
    agent.is_silent();
    assert_eq!(agent.ua.status().server_transactions, 0);
}

// ---------------------------------------------------------------------------------------------- diagnostics

fn subscribe(agent: &mut Agent) -> Request {
    agent.does(SipOut::Subscribe {
        trace: Trace::default(),
        reference: REF,
        watcher: alma(),
        presentity: bruno(),
        poll: false,
    });
    agent.says_request("SUBSCRIBE")
}

fn message(agent: &mut Agent, reference: u64, to: &str) {
    let im = Im {
        bodies: vec![Text {
            lang: None,
            text: "hello".to_owned(),
        }],
        ..Im::default()
    };
    agent.does(SipOut::Message {
        reference: Ref(reference),
        from: alma(),
        to: address(to, "ocs.example"),
        im,
    });
}

#[test]
fn the_reason_of_a_refusal_reaches_user_and_administrator() {
    let rows = [
        (
            "404",
            "Not Found",
            "ms-diagnostics: 1003;reason=\"User does not exist\";source=\"edge.ocs.example\"",
            "Not Found (1003 User does not exist)",
        ),
        (
            "504",
            "Server time-out",
            "ms-diagnostics-public: 1008;reason=\"Unable to resolve DNS SRV record\"",
            "Server time-out (1008 the partner finds no DNS SRV record for the domain)",
        ),
        (
            "606",
            "Not Acceptable",
            "Warning: 309 fe1.corp.ocs.example \"Message contents not allowed\"",
            "Not Acceptable (309 blocked by content rules)",
        ),
        ("480", "Gone away", "X: y", "Gone away"),
    ];
    for (status, reason, why, expected) in rows {
        let mut agent = Agent::new();
        message(&mut agent, 1, "bruno");
        let request = agent.says_request("MESSAGE");
        let words = [("status", status), ("reason", reason), ("why", why)];
        agent.hears(&answer("refusal.sip", &request, &words));
        let SipIn::Outcome {
            outcome: Err(failure),
            ..
        } = agent.tells()
        else {
            panic!("no outcome");
        };
        assert_eq!(to_stanza(&failure).text.as_deref(), Some(expected));
        let told = agent.ua.poll_trouble();
        assert_eq!(told.is_some(), expected != reason);
        if let Some(told) = told {
            assert_eq!(
                (told.domain.as_str(), told.method.as_str()),
                ("ocs.example", "MESSAGE")
            );
            assert_eq!(
                told.status.map(|status| status.to_string()).as_deref(),
                Some(status)
            );
        }
    }
}

#[test]
fn microsofts_servers_are_told_why_under_both_names() {
    let unknown = Failure::Xmpp {
        error: StanzaError::new(Condition::ItemNotFound),
        from_full_jid: true,
        new_address: None,
    };
    let rows = [
        (
            unknown,
            404,
            Some("1003;reason=\"User does not exist\";source=\"gw.jabber.example\""),
        ),
        (
            Failure::Local(Local::Timeout),
            504,
            Some("1007;reason=\"Temporarily cannot route\";source=\"gw.jabber.example\""),
        ),
        (Failure::Local(Local::TooLarge), 513, None),
    ];
    for profile in [None, OCS, Some(Profile::Lync)] {
        for (failure, status, expected) in &rows {
            let mut agent = Agent::with(world_where(|domain| domain.dialect.profile = profile));
            let kind = "Content-Type: text/plain\r\n";
            agent.hears(&from_bruno("MESSAGE", "d1", 1, "", kind, "hi"));
            let SipIn::Message { reference, .. } = agent.tells() else {
                panic!("no message");
            };
            let outcome = Err(failure.clone());
            agent.does(SipOut::AnswerMessage { reference, outcome });
            let response = agent.says_response(*status);
            for name in ["ms-diagnostics", "ms-diagnostics-public"] {
                let expected = expected.filter(|_| profile.is_some());
                assert_eq!(response.headers.get(name), expected, "{name}");
            }
        }
    }
}

// ------------------------------------------------------------------------------------------ many XMPP domains

#[test]
fn one_listener_serves_every_xmpp_domain() {
    let numbered = ["jabber.example", "other.example"].into_iter().enumerate();
    for (number, domain) in numbered {
        for (contact_host, host) in [
            (ContactHost::Domain, domain.to_owned()),
            (ContactHost::Gateway, "gw.jabber.example:5061".to_owned()),
        ] {
            let mut settings = world_where(|domain| {
                domain.dialect.overrides.contact_host = Some(contact_host);
            });
            settings
                .xmpp_domains
                .push(DomainPattern::parse("other.example"));
            let mut agent = Agent::with(settings);
            let ours = format!("alma@{domain}");
            agent.hears(&fixture("subscribe.sip", &[]).replace("alma@jabber.example", &ours));
            let SipIn::Watcher { reference, .. } = agent.tells() else {
                panic!("no watcher");
            };
            accept(&mut agent, reference);
            let contact = format!("<sip:alma@{host};transport=tls>");
            assert_eq!(agent.says_response(200).field("Contact"), contact);
            agent.says_request("NOTIFY");
            agent.does(SipOut::Subscribe {
                trace: Trace::default(),
                reference: Ref(100 + number as u64),
                watcher: address("alma", domain),
                presentity: bruno(),
                poll: false,
            });
            let request = agent.says_request("SUBSCRIBE");
            assert_eq!(request.field("Contact"), contact);
            let via = "SIP/2.0/TLS gw.jabber.example:5061;";
            assert!(request.field("Via").starts_with(via));
            let from = format!("<sip:{ours}>;tag=");
            assert!(request.field("From").starts_with(&from));
        }
    }
}

#[test]
fn an_edge_speaks_for_the_domains_whose_rule_names_its_certificate() {
    let by_certificate = |name: &str| SipDomain {
        certificate_names: vec!["edge.ocs.example".to_owned()],
        ..SipDomain::new(name)
    };
    let mut settings = world();
    settings.sip_domains = vec![by_certificate("ocs.example"), by_certificate("sub.example")];
    settings.sip_domains.push(SipDomain::new("third.example"));
    let rows = [
        ("ocs.example", &["edge.ocs.example"][..], true),
        ("sub.example", &["x.example", "edge.ocs.example"], true),
        ("sub.example", &["ocs.example", "sub.example"], false),
        ("third.example", &["edge.ocs.example"], false),
        ("third.example", &["third.example"], true),
        ("fourth.example", &["fourth.example"], false),
    ];
    for (domain, names, taken) in rows {
        let mut agent = Agent::with(settings.clone());
        agent.source = Source {
            certificate_names: names.iter().map(|name| (*name).to_owned()).collect(),
            ..stranger()
        };
        let text = from_bruno("MESSAGE", "c1", 1, "", "Content-Type: text/plain\r\n", "hi");
        agent.hears(&text.replace("bruno@ocs.example", &format!("bruno@{domain}")));
        if taken {
            assert!(
                matches!(agent.tells(), SipIn::Message { .. }),
                "{domain} {names:?}"
            );
        } else {
            agent.says_response(403);
        }
    }
}

// ------------------------------------------------------------------------------------- pace of our requests

#[test]
fn messages_pass_by_a_crowd_of_refreshes_and_the_edge_is_not_flooded() {
    let mut agent = Agent::with(world_where(|domain| domain.dialect.profile = OCS));
    for number in 0..300 {
        agent.does(SipOut::Subscribe {
            trace: Trace::default(),
            reference: Ref(number),
            watcher: alma(),
            presentity: address(&format!("u{number}"), "ocs.example"),
            poll: false,
        });
    }
    assert_eq!(agent.says_requests().len(), 5);
    assert_eq!(agent.ua.status().paced, 295);
    assert!(!agent.ua.is_quiet());
    message(&mut agent, 1000, "bruno");
    agent.passes(Duration::from_millis(67));
    let next = agent.says_requests();
    assert_eq!(next.len(), 1);
    assert_eq!(
        next[0].method.as_str(),
        "INVITE",
        "the session of the message"
    );
    let mut all = 6;
    for _ in 0..19 {
        agent.passes_seconds(1);
        let sent = agent.says_requests().len();
        assert!((14..=16).contains(&sent), "{sent}");
        all += sent;
    }
    agent.passes_seconds(1);
    assert_eq!(all + agent.says_requests().len(), 301);
    assert_eq!(agent.ua.status().paced, 0);
}

#[test]
fn a_domain_without_a_rate_is_not_paced() {
    for (profile, rate) in [(None, None), (OCS, Some(0))] {
        let mut agent = Agent::with(world_where(|domain| {
            domain.dialect.profile = profile;
            domain.dialect.overrides.requests_per_second = rate;
            domain.dialect.overrides.im = Some(ImMode::Page);
        }));
        for number in 0..100 {
            message(&mut agent, number, &format!("u{number}"));
        }
        assert_eq!(agent.says_requests().len(), 100);
    }
}

#[test]
fn domains_behind_one_edge_share_its_pace() {
    let hop = "sip:edge.ocs.example:5061;transport=tls".to_owned();
    let mut settings = world();
    settings.sip_domains = ["ocs.example", "sub.example"]
        .map(|name| SipDomain {
            next_hop: Some(hop.clone()),
            dialect: Rule {
                profile: None,
                overrides: Overrides {
                    requests_per_second: Some(3),
                    ..Overrides::default()
                },
            },
            ..SipDomain::new(name)
        })
        .to_vec();
    let mut agent = Agent::with(settings);
    for (number, domain) in ["ocs.example", "sub.example"].iter().enumerate() {
        agent.does(SipOut::Subscribe {
            trace: Trace::default(),
            reference: Ref(number as u64),
            watcher: alma(),
            presentity: address("bruno", domain),
            poll: false,
        });
    }
    assert_eq!(agent.says_requests().len(), 1);
    agent.passes(Duration::from_millis(340));
    assert_eq!(agent.says_requests().len(), 1);
}

#[test]
fn a_message_that_waits_too_long_for_its_turn_fails_in_its_own_time() {
    let mut settings = world_where(|domain| domain.dialect.overrides.requests_per_second = Some(1));
    settings.transactions.request_limit = Duration::from_secs(20);
    let mut agent = Agent::with(settings);
    for number in 0..20 {
        message(&mut agent, number, &format!("u{number}"));
    }
    agent.passes_seconds(10);
    let overloaded = std::iter::from_fn(|| agent.ua.poll_input())
        .filter(|input| {
            let wanted = Err(Failure::Local(Local::Overloaded));
            matches!(input, SipIn::Outcome { outcome, .. } if *outcome == wanted)
        })
        .count();
    assert_eq!((agent.says_requests().len(), overloaded), (10, 10));
    agent.passes_seconds(10);
    let mut failures = 0;
    while let Some(input) = agent.ua.poll_input() {
        assert!(matches!(
            input,
            SipIn::Outcome {
                outcome: Err(Failure::Local(Local::Timeout)),
                ..
            }
        ));
        failures += 1;
    }
    assert_eq!(failures, 10, "its wait was counted");
    assert!(agent.ua.is_quiet());
}

#[test]
fn an_overloaded_edge_gets_messages_only_until_it_may_be_asked_again() {
    let mut agent = Agent::new();
    let request = subscribe(&mut agent);
    let words = [
        ("status", "503"),
        ("reason", "Busy"),
        ("why", "Retry-After: 30"),
    ];
    agent.hears(&answer("refusal.sip", &request, &words));
    agent.tells();
    let again = |agent: &mut Agent, number| {
        agent.does(SipOut::Subscribe {
            trace: Trace::default(),
            reference: Ref(number),
            watcher: alma(),
            presentity: bruno(),
            poll: false,
        });
        agent.says_requests().len()
    };
    assert_eq!(again(&mut agent, 50), 0);
    message(&mut agent, 1, "bruno");
    assert_eq!(agent.says_requests().len(), 1);
    agent.passes_seconds(29);
    assert_eq!(agent.says_requests().len(), 0);
    agent.passes_seconds(1);
    assert_eq!(agent.says_requests().len(), 1);
    assert_eq!(again(&mut agent, 51), 1);
}

// ---------------------------------------------------------------------------------------------- connections

/// A world where the Edge proves itself by its certificate, and a connection that it opened from some other address.
fn mutual() -> (Agent, Source) {
    let mut settings = world();
    settings.sip_domains = vec![SipDomain {
        next_hop: Some("sip:edge.ocs.example:5061;transport=tls".to_owned()),
        certificate_names: vec!["edge.ocs.example".to_owned()],
        ..SipDomain::new("ocs.example")
    }];
    let mut agent = Agent::with(settings);
    agent.target = Ok(vec![tls(EDGE, "edge.ocs.example")]);
    let source = Source {
        flow: FlowId(31),
        certificate_names: vec!["edge.ocs.example".to_owned()],
        remote: "192.0.2.99:51234".parse().unwrap(),
        ..from_edge(Transport::Tls)
    };
    agent.source = source.clone();
    (agent, source)
}

/// A request by which the Edge offers its connection for ours.
fn offer(call_id: &str) -> String {
    fixture("negotiate.sip", &[])
        .replace("192.0.2.10:49761", "192.0.2.10:49761;alias")
        .replace("Call-ID: 5", &format!("Call-ID: {call_id}"))
}

fn offers(agent: &mut Agent, call_id: &str) {
    agent.hears(&offer(call_id));
    agent.says_response(488);
}

fn dial() -> Destination {
    Destination::Dial(Target {
        also: vec!["ocs.example".to_owned()],
        ..tls(EDGE, "edge.ocs.example")
    })
}

#[test]
fn a_request_goes_over_the_connection_that_the_peer_opened() {
    let (mut agent, source) = mutual();
    offers(&mut agent, "5");
    message(&mut agent, 1, "bruno");
    let sent = agent.says();
    assert_eq!(sent.destination, Destination::Connection(source.flow));
    agent.hears_answer(sent.request(), 200, "");
    assert!(matches!(
        agent.tells(),
        SipIn::Outcome {
            outcome: Ok(()),
            ..
        }
    ));
}

#[test]
fn a_request_whose_connection_dies_is_sent_again_over_one_of_ours() {
    let (mut agent, source) = mutual();
    offers(&mut agent, "5");
    message(&mut agent, 1, "bruno");
    agent.says();
    agent.ua.connection_closed(source.flow, agent.now);
    agent.pump();
    let again = agent.says();
    assert_eq!(again.destination, dial());
    assert_eq!(again.request().method.as_str(), "MESSAGE");

    // From now on there is one of ours; another of the peer's changes nothing, until ours is lost.
    agent.source.flow = FlowId(32);
    offers(&mut agent, "6");
    message(&mut agent, 2, "carla");
    assert_eq!(agent.says().destination, dial());
    agent.ua.transport_failed(&dial(), agent.now);
    agent.pump();
    while agent.ua.poll_input().is_some() {}
    message(&mut agent, 3, "dora");
    assert_eq!(
        agent.says().destination,
        Destination::Connection(FlowId(32))
    );
}

/// RFC 5923 §8.2, §9.3: only where the certificate proves the domain, and where the peer offers it.
#[test]
fn connections_of_others_are_never_used_nor_those_that_are_not_offered() {
    for (names, offered, used) in [
        (&["edge.ocs.example"][..], true, true),
        (&["edge.ocs.example"], false, false),
        (&["sip:edge.ocs.example"], true, true),
        (&["sip:x.example", "edge.ocs.example"], true, false),
        (&["edge.other.example"], true, false),
        (&["ocs.example"], true, false),
        (&["*.ocs.example"], true, false),
        (&[], true, false),
    ] {
        let (mut agent, source) = mutual();
        agent.source.certificate_names = names.iter().map(|name| (*name).to_owned()).collect();
        // The first request says nothing of it, the second may.
        agent.hears(&fixture("negotiate.sip", &[]));
        agent.says();
        if offered {
            let text = offer("6");
            agent.hears(&text);
            agent.says();
        }
        message(&mut agent, 1, "bruno");
        let sent = agent.says();
        let expected = if used {
            Destination::Connection(source.flow)
        } else {
            dial()
        };
        assert_eq!(sent.destination, expected, "{names:?} {offered}");
        let ours = sent.request().field("Via").contains(";alias");
        assert_eq!(ours, !used, "offered on a connection that we open");
    }
}

/// A connection is that of a domain, not of its certificate alone.
#[test]
fn a_connection_of_one_domain_carries_nothing_for_another() {
    let (mut agent, _) = mutual();
    let mut settings = world();
    settings.sip_domains = vec![
        SipDomain {
            certificate_names: vec!["edge.ocs.example".to_owned()],
            ..SipDomain::new("ocs.example")
        },
        SipDomain::new("third.example"),
    ];
    agent.ua.reconfigure(settings);
    offers(&mut agent, "5");
    agent.target = Ok(vec![tls(EDGE, "third.example")]);
    agent.does(SipOut::Subscribe {
        trace: Trace::default(),
        reference: Ref(1),
        watcher: alma(),
        presentity: address("dora", "third.example"),
        poll: false,
    });
    let expected = Destination::Dial(tls(EDGE, "third.example"));
    assert_eq!(agent.says().destination, expected);
}

#[test]
fn on_plain_tcp_the_peer_must_be_trusted_and_be_the_server_itself() {
    let rows = [
        (true, EDGE, "192.0.2.10:5061", true),
        (true, EDGE, "192.0.2.10:40001", false),
        (true, EDGE, "192.0.2.11:5061", false),
        (true, "192.0.2.11:5061", "192.0.2.10:5061", false),
        (false, EDGE, "192.0.2.10:5061", false),
    ];
    for (trusted, remote, via, reused) in rows {
        let mut agent = Agent::with(world_where(|domain| {
            let network = AddressBlock {
                address: "192.0.2.0".parse().unwrap(),
                prefix: 24,
            };
            domain.trusted_addresses = if trusted { vec![network] } else { Vec::new() };
        }));
        let target = Target {
            transport: Transport::Tcp,
            ..tls(EDGE, "ocs.example")
        };
        agent.target = Ok(vec![target.clone()]);
        agent.source = Source {
            remote: remote.parse().unwrap(),
            ..from_edge(Transport::Tcp)
        };
        let via = format!("SIP/2.0/TCP {via}");
        agent.hears(&fixture("options.sip", &[]).replace("SIP/2.0/tls 192.0.2.10:49761", &via));
        agent.says();
        message(&mut agent, 1, "bruno");
        let expected = if reused {
            Destination::Connection(FlowId(7))
        } else {
            Destination::Dial(target)
        };
        assert_eq!(
            agent.says().destination,
            expected,
            "{trusted} {remote} {via}"
        );
    }
}

#[test]
fn a_peer_may_ask_over_the_connection_that_we_opened() {
    let (mut agent, _) = mutual();
    message(&mut agent, 1, "bruno");
    let sent = agent.says();
    assert_eq!(sent.destination, dial());
    agent.source = Source {
        flow: FlowId(40),
        remote: EDGE.parse().unwrap(),
        ..agent.source.clone()
    };
    agent.hears_answer(sent.request(), 200, "");
    agent.tells();
    agent.hears(&fixture("subscribe.sip", &[]));
    let SipIn::Watcher { reference, .. } = agent.tells() else {
        panic!("no watcher");
    };
    accept(&mut agent, reference);
    assert_eq!(
        agent.says().destination,
        Destination::Connection(FlowId(40))
    );
}
