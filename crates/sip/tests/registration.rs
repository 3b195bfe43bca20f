//! Lines at SIP providers: REGISTER, refresh, back-off, and what counts as from the provider meanwhile.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod agent;

use std::time::Duration;

use agent::{Agent, Fields, from_edge, tls, world};
use stox_core::vocab::SipIn;
use stox_sip::digest::Credential;
use stox_sip::message::Request;
use stox_sip::target::TargetError;
use stox_sip::transport::{FlowId, Source, Target, Transport};
use stox_sip::ua::settings::Settings;
use stox_sip::ua::trust::SipDomain;
use stox_sip::ua::{LineState, Registration, RegistrationNews};

const REGISTRAR: &str = "203.0.113.20:5060";

fn provider() -> Settings {
    let mut settings = world();
    settings
        .sip_domains
        .push(SipDomain::new("provider.example"));
    settings.registrations = vec![Registration {
        user: "gateway".to_owned(),
        domain: "provider.example".to_owned(),
        registrar: None,
        expires: Duration::from_secs(600),
    }];
    settings.credentials = vec![Credential {
        domain: "provider.example".to_owned(),
        realm: "provider.example".to_owned(),
        username: "gateway".to_owned(),
        password: "pw".to_owned(),
        over_plain: true,
    }];
    settings
}

/// Somewhere at the registrar, over that transport.
fn at_registrar(transport: Transport, address: &str) -> Source {
    Source {
        flow: FlowId(50),
        remote: address.parse().unwrap(),
        ..from_edge(transport)
    }
}

/// A gateway at the provider's door.
fn begins(settings: Settings, transport: Transport) -> Agent {
    let mut agent = Agent::with(settings);
    agent.target = Ok(vec![Target {
        transport,
        ..tls(REGISTRAR, "provider.example")
    }]);
    agent.source = at_registrar(transport, REGISTRAR);
    agent.passes(Duration::ZERO);
    agent
}

fn register(agent: &mut Agent) -> Request {
    agent.says_request("REGISTER")
}

fn state(agent: &Agent) -> LineState {
    let mut states = agent.ua.registrations(agent.now);
    let (address, state) = states.next().unwrap();
    assert_eq!(address, "sip:gateway@provider.example");
    state
}

fn news(agent: &mut Agent) -> Option<Result<Duration, String>> {
    let RegistrationNews { address, outcome } = agent.ua.poll_registration_news()?;
    assert_eq!(address, "sip:gateway@provider.example");
    Some(outcome)
}

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

const GRANTED: &str = "Contact: <sip:other@198.51.100.1>;expires=7200\r\n\
    Contact: <sip:gateway@gw.jabber.example:5060>;expires=300\r\nExpires: 900\r\n";

#[test]
fn a_line_is_registered_kept_and_taken_back() {
    let mut agent = begins(provider(), Transport::Udp);
    assert_eq!(state(&agent), LineState::Asking);
    let first = register(&mut agent);
    assert_eq!(first.uri, "sip:provider.example");
    assert_eq!(first.field("To"), "<sip:gateway@provider.example>");
    assert!(
        first
            .field("From")
            .starts_with("<sip:gateway@provider.example>;tag=")
    );
    assert_eq!(
        first.field("Contact"),
        "<sip:gateway@gw.jabber.example:5060>"
    );
    assert_eq!(first.field("Expires"), "600");

    // The password, under the next number of the same call.
    let challenge =
        "WWW-Authenticate: Digest realm=\"provider.example\", nonce=\"n1\", qop=\"auth\"\r\n";
    agent.hears_answer(&first, 401, challenge);
    let again = register(&mut agent);
    assert!(
        again
            .field("Authorization")
            .contains("username=\"gateway\"")
    );
    assert_eq!(again.field("Call-ID"), first.field("Call-ID"));
    assert_eq!(
        (first.field("CSeq"), again.field("CSeq")),
        ("1 REGISTER", "2 REGISTER")
    );
    assert_eq!(again.tag("From"), first.tag("From"));

    // What is granted to our Contact counts, and is refreshed in time.
    agent.hears_answer(&again, 200, GRANTED);
    assert_eq!(state(&agent), LineState::Registered(seconds(300)));
    assert_eq!(news(&mut agent), Some(Ok(seconds(300))));
    agent.passes_seconds(235);
    agent.is_silent();
    agent.passes_seconds(1);
    let refresh = register(&mut agent);
    assert_eq!(refresh.field("CSeq"), "3 REGISTER");
    agent.hears_answer(&refresh, 200, "Expires: 100\r\n");
    assert_eq!(news(&mut agent), None, "nothing has changed");
    agent.passes_seconds(50);
    let refresh = register(&mut agent);
    agent.hears_answer(&refresh, 200, GRANTED);

    // A clean stop takes it back, and waits for the answer.
    agent.ua.shut_down(agent.now);
    agent.pump();
    let removal = register(&mut agent);
    assert_eq!(removal.field("Expires"), "0");
    assert_eq!(removal.field("Contact"), first.field("Contact"));
    assert!(!agent.ua.is_quiet());
    agent.hears_answer(&removal, 200, "");
    assert!(agent.ua.is_quiet());
    assert_eq!(state(&agent), LineState::Removed);
    agent.passes_seconds(7200);
    agent.is_silent();
}

#[test]
fn a_stop_in_the_middle_of_it_takes_it_back_too() {
    let mut agent = begins(provider(), Transport::Udp);
    let first = register(&mut agent);
    agent.ua.shut_down(agent.now);
    agent.pump();
    agent.is_silent();
    agent.hears_answer(&first, 200, GRANTED);
    assert_eq!(register(&mut agent).field("Expires"), "0");

    let mut agent = begins(provider(), Transport::Udp);
    let first = register(&mut agent);
    agent.hears_answer(&first, 403, "");
    agent.ua.shut_down(agent.now);
    agent.pump();
    assert_eq!(
        agent.says_requests().len(),
        0,
        "there is nothing to take back"
    );
    assert!(agent.ua.is_quiet());
}

#[test]
fn a_registrar_that_grants_a_moment_is_not_asked_all_the_time() {
    let mut agent = begins(provider(), Transport::Udp);
    let first = register(&mut agent);
    agent.hears_answer(&first, 200, "Expires: 1\r\n");
    agent.passes_seconds(29);
    agent.is_silent();
    agent.passes_seconds(1);
    register(&mut agent);
}

#[test]
fn a_registrar_that_wants_more_time_gets_it() {
    for (least, asks) in [(1800, Some("1800")), (600, None), (200_000, None)] {
        let mut agent = begins(provider(), Transport::Udp);
        let first = register(&mut agent);
        agent.hears_answer(&first, 423, &format!("Min-Expires: {least}\r\n"));
        agent.passes(Duration::ZERO);
        let again = agent.says_requests();
        let again = again.first().map(|request| request.field("Expires"));
        assert_eq!(again, asks, "{least}");
    }
}

/// RFC 5626 §4.5: the pause doubles, up to half an hour; the registrar may ask for more.
#[test]
fn failures_are_told_and_tried_again_at_growing_intervals() {
    let mut agent = begins(provider(), Transport::Udp);
    for pause in [30, 60, 120, 240, 480, 960, 1800, 1800] {
        let request = register(&mut agent);
        agent.hears_answer(&request, 500, "");
        assert!(matches!(state(&agent), LineState::Failed(_)));
        agent.passes_seconds(pause - 1);
        agent.is_silent();
        agent.passes_seconds(1);
    }
    let why = "the registrar answers 500".to_owned();
    assert_eq!(news(&mut agent), Some(Err(why)));
    assert_eq!(news(&mut agent), None);
    let request = register(&mut agent);
    agent.hears_answer(&request, 503, "Retry-After: 5000\r\n");
    agent.passes_seconds(4999);
    agent.is_silent();
    agent.passes_seconds(1);
    let request = register(&mut agent);
    agent.hears_answer(&request, 200, GRANTED);
    assert_eq!(state(&agent), LineState::Registered(seconds(300)));
    assert_eq!(news(&mut agent), Some(Ok(seconds(300))));
}

#[test]
fn each_failure_says_what_to_do() {
    let fails = |settle: &dyn Fn(&mut Agent)| {
        let mut settings = provider();
        settings.credentials.clear();
        let mut agent = begins(settings, Transport::Udp);
        settle(&mut agent);
        match news(&mut agent) {
            Some(Err(why)) => why,
            other => panic!("{other:?}"),
        }
    };
    let answered = |status, more: &'static str| {
        move |agent: &mut Agent| {
            let request = register(agent);
            agent.hears_answer(&request, status, more);
        }
    };
    let challenge = "WWW-Authenticate: Digest realm=\"provider.example\", nonce=\"n\"\r\n";
    assert!(fails(&answered(401, challenge)).contains("[[sip.credentials]]"));
    assert!(fails(&answered(403, "")).contains("check the address"));
    assert!(fails(&answered(200, "Expires: 0\r\n")).contains("no time"));
    assert!(fails(&|agent| agent.passes_seconds(64)).contains("does not answer"));
    let mut agent = Agent::with(provider());
    agent.target = Err(TargetError::NotFound);
    agent.passes(Duration::ZERO);
    assert!(news(&mut agent).unwrap().unwrap_err().contains("not found"));
}

/// A failed refresh does not end the time that was granted.
#[test]
fn a_line_is_registered_until_its_time_is_over() {
    let mut agent = begins(provider(), Transport::Udp);
    let request = register(&mut agent);
    agent.hears_answer(&request, 200, GRANTED);
    agent.passes_seconds(236);
    let refresh = register(&mut agent);
    agent.hears_answer(&refresh, 500, "");
    assert_eq!(state(&agent), LineState::Registered(seconds(64)));
    agent.passes_seconds(30);
    let refresh = register(&mut agent);
    agent.hears_answer(&refresh, 500, "");
    agent.passes_seconds(34);
    assert!(matches!(state(&agent), LineState::Failed(_)));
}

fn message(domain: &str, number: u32) -> String {
    format!(
        "MESSAGE sip:alma@jabber.example SIP/2.0\r\nVia: SIP/2.0/UDP 203.0.113.20:5060;branch=z9hG4bK-m{number}\r\n\
         Max-Forwards: 69\r\nFrom: <sip:bruno@{domain}>;tag=b1\r\nTo: <sip:alma@jabber.example>\r\n\
         Call-ID: m{number}\r\nCSeq: 1 MESSAGE\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nhi"
    )
}

fn is_taken(agent: &mut Agent, source: Source, domain: &str, number: u32) -> bool {
    agent.source = source;
    agent.hears(&message(domain, number));
    match agent.ua.poll_input() {
        Some(SipIn::Message { .. }) => true,
        Some(other) => panic!("{other:?}"),
        None => {
            agent.says_response(403);
            false
        }
    }
}

#[test]
fn the_registrar_speaks_for_its_domain_while_the_line_is_registered() {
    for transport in [Transport::Udp, Transport::Tcp] {
        let mut agent = begins(provider(), transport);
        let request = register(&mut agent);
        let server = at_registrar(transport, REGISTRAR);
        assert!(!is_taken(&mut agent, server.clone(), "provider.example", 1));
        agent.source = server.clone();
        agent.hears_answer(&request, 200, GRANTED);
        let another_port = at_registrar(transport, "203.0.113.20:40000");
        let another_flow = Source {
            flow: FlowId(51),
            ..another_port.clone()
        };
        let another_host = Source {
            flow: FlowId(52),
            ..at_registrar(transport, "203.0.113.21:5060")
        };
        let rows = [
            (&server, "provider.example", true),
            (&server, "PROVIDER.example", true),
            (&another_port, "provider.example", true),
            (&another_flow, "provider.example", true),
            (&another_host, "provider.example", false),
            // For nobody else.
            (&server, "ocs.example", false),
            (&server, "x.provider.example", false),
        ];
        for (number, (source, domain, taken)) in (2..).zip(rows) {
            let found = is_taken(&mut agent, source.clone(), domain, number);
            assert_eq!(found, taken, "{transport:?} {domain} {source:?}");
        }
        // No more when the time is over.
        agent.target = Err(TargetError::Temporary);
        agent.passes_seconds(300);
        while agent.ua.poll_input().is_some() {}
        agent.said();
        assert!(!is_taken(&mut agent, server, "provider.example", 20));
    }
}

/// Over TLS it is the connection, or the certificate, and not the address: others may live there.
#[test]
fn a_registrar_over_tls_is_known_by_its_certificate() {
    let mut agent = begins(provider(), Transport::Tls);
    let request = register(&mut agent);
    let shows = |flow, address: &str, names: &[&str]| Source {
        flow: FlowId(flow),
        certificate_names: names.iter().map(|name| (*name).to_owned()).collect(),
        ..at_registrar(Transport::Tls, address)
    };
    let names: &[&str] = &["registrar.hoster.example", "line.hoster.example"];
    agent.source = shows(50, REGISTRAR, names);
    agent.hears_answer(&request, 200, GRANTED);
    let elsewhere = "203.0.113.99:40000";
    let rows: [(u64, &str, &[&str], bool); 6] = [
        (50, REGISTRAR, names, true),
        (51, elsewhere, names, true),
        (52, "203.0.113.20:40000", &[], false),
        (53, "203.0.113.20:40000", &["other.example"], false),
        (54, elsewhere, &names[..1], false),
        (55, elsewhere, &["*.hoster.example"], false),
    ];
    for (number, (flow, address, names, taken)) in (1..).zip(rows) {
        let source = shows(flow, address, names);
        let found = is_taken(&mut agent, source, "provider.example", number);
        assert_eq!(found, taken, "{address} {names:?}");
    }
}

#[test]
fn an_address_does_not_do_where_a_certificate_is_needed() {
    let mut settings = provider();
    settings.sip_domains[1].needs_certificate = true;
    let mut agent = begins(settings, Transport::Tls);
    let request = register(&mut agent);
    agent.hears_answer(&request, 200, GRANTED);
    let server = at_registrar(Transport::Tls, REGISTRAR);
    assert!(!is_taken(&mut agent, server.clone(), "provider.example", 1));
    let proved = Source {
        certificate_names: vec!["provider.example".to_owned()],
        ..server
    };
    assert!(is_taken(&mut agent, proved, "provider.example", 2));
}

/// A registrar reaches us over the connection that we have registered on: when that goes, so does the way.
#[test]
fn a_lost_connection_is_registered_on_again() {
    let mut agent = begins(provider(), Transport::Tcp);
    let request = register(&mut agent);
    assert_eq!(
        request.field("Contact"),
        "<sip:gateway@gw.jabber.example:5060;transport=tcp>"
    );
    agent.hears_answer(&request, 200, GRANTED);
    agent.ua.connection_closed(FlowId(50), agent.now);
    agent.passes_seconds(29);
    agent.is_silent();
    agent.passes_seconds(1);
    let again = register(&mut agent);
    agent.hears_answer(&again, 200, GRANTED);
    agent.passes_seconds(100);
    agent.ua.connection_closed(FlowId(99), agent.now);
    agent.passes(Duration::ZERO);
    agent.is_silent();
    agent.ua.connection_closed(FlowId(50), agent.now);
    agent.passes(Duration::ZERO);
    register(&mut agent);
}

#[test]
fn the_registrar_of_the_settings_is_asked() {
    let mut settings = provider();
    settings.registrations[0].registrar = Some("sip:reg.provider.example:5070".to_owned());
    let mut agent = begins(settings, Transport::Udp);
    assert_eq!(register(&mut agent).uri, "sip:provider.example");
    let hop = &agent.resolved[0].hop;
    assert_eq!(
        (hop.host.as_str(), hop.port),
        ("reg.provider.example", Some(5070))
    );
}
