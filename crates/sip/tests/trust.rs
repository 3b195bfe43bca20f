//! Who may speak for whom: every method, mutual TLS, and identities that a proxy asserts.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod agent;

use agent::{Agent, EDGE, Fields, Notify, alma, bruno, from_edge, tls, world};
use stox_core::vocab::{Ref, SipIn, SipOut, Trace};
use stox_sip::digest::Credential;
use stox_sip::message::Request;
use stox_sip::method::Method;
use stox_sip::transport::{Destination, FlowId, Source, Target, Transport};
use stox_sip::ua::settings::Settings;
use stox_sip::ua::trust::SipDomain;
use stox_sip::ua::{Cure, Impostor};

/// A connection with this certificate, from an address that nobody trusts.
fn shows(names: &[&str]) -> Source {
    Source {
        flow: FlowId(9),
        remote: "198.51.100.9:40123".parse().unwrap(),
        certificate_names: names.iter().map(|name| (*name).to_owned()).collect(),
        ..from_edge(Transport::Tls)
    }
}

/// The usual world, and another partner with a certificate of its own.
fn two_partners() -> Settings {
    let mut settings = world();
    settings.sip_domains.push(SipDomain::new("other.example"));
    settings
}

/// A request that would be taken from bruno's own server, as far as the method is served.
fn request(method: &str, cseq: u32, dialog: (&str, &str), more: &str) -> String {
    let (to_tag, call_id) = dialog;
    let body = match method {
        "INFO" => {
            "<?xml version=\"1.0\"?><KeyboardActivity><status status=\"type\"/></KeyboardActivity>"
        }
        "MESSAGE" => "hi",
        _ => "",
    };
    let content = match method {
        "INFO" => "Content-Type: application/xml\r\n",
        "MESSAGE" => "Content-Type: text/plain\r\n",
        _ => "",
    };
    format!(
        "{method} sip:alma@jabber.example SIP/2.0\r\nVia: SIP/2.0/TLS edge.ocs.example:5061;branch=z9hG4bK-{call_id}-{cseq}\r\n\
         Max-Forwards: 69\r\nFrom: <sip:bruno@ocs.example>;tag=b1\r\nTo: <sip:alma@jabber.example>{to_tag}\r\n\
         Call-ID: {call_id}\r\nCSeq: {cseq} {method}\r\nContact: <sip:bruno@192.0.2.10:5061;transport=tls>\r\n\
         Event: presence\r\nExpires: 600\r\n{more}{content}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn impostor(agent: &mut Agent) -> Option<Impostor> {
    agent.ua.poll_impostor()
}

/// What each method of a stranger's gets, in a dialog or not. A method that we do not serve is refused for that, and
/// acts for nobody.
#[test]
fn no_method_acts_for_a_user_of_a_domain_that_is_not_proved() {
    let mut methods: Vec<&str> = Method::KNOWN.iter().map(Method::as_str).collect();
    methods.push("FROB");
    for method in methods {
        for (to_tag, names) in [
            ("", &["other.example"][..]),
            (";tag=ours1", &["other.example"]),
            ("", &[]),
            (";tag=ours1", &[]),
        ] {
            let mut agent = Agent::with(two_partners());
            agent.source = shows(names);
            agent.hears(&request(method, 1, (to_tag, "c1"), ""));
            let expected = match method {
                "ACK" | "BENOTIFY" => None,
                // It matches no INVITE.
                "CANCEL" => Some(481),
                // A question to the server, not an act of the user's.
                "OPTIONS" => Some(200),
                "INVITE" | "MESSAGE" | "SUBSCRIBE" | "NOTIFY" | "INFO" | "BYE" | "UPDATE" => {
                    Some(403)
                }
                // Not served at all: 481 inside a dialog that is none of ours.
                "FROB" => Some(501),
                _ if to_tag.is_empty() => Some(405),
                _ => Some(481),
            };
            let statuses: Vec<u16> = agent.says_responses().iter().map(|r| r.status).collect();
            let expected: Vec<u16> = expected.into_iter().collect();
            assert_eq!(statuses, expected, "{method} {to_tag} {names:?}");
            assert_eq!(agent.ua.poll_input(), None, "{method} {to_tag} {names:?}");
            agent.is_silent();
            let told = impostor(&mut agent).is_some();
            let acts = expected == [403] || method == "BENOTIFY";
            assert_eq!(told, acts, "{method}");
        }
    }
}

/// Else he fills the table of transactions with INVITEs that he never acknowledges, or has us repeat our answers to an address
/// that is not his.
#[test]
fn nothing_is_remembered_of_a_stranger() {
    for transport in [Transport::Udp, Transport::Tcp] {
        let mut settings = two_partners();
        settings.transactions.max_servers = 2;
        let mut agent = Agent::with(settings);
        agent.source = Source {
            flow: FlowId(9),
            remote: "198.51.100.9:40123".parse().unwrap(),
            ..from_edge(transport)
        };
        let via = format!("SIP/2.0/{}", transport.row().via);
        for cseq in [1, 2, 3, 4, 4] {
            let invite = request("INVITE", cseq, ("", "c1"), "").replace("SIP/2.0/TLS", &via);
            agent.hears(&invite);
            agent.says_response(403);
        }
        agent.passes_seconds(60);
        agent.is_silent();
        assert!(agent.ua.is_empty());
    }
}

/// Nor of what a partner asks too often, or in dialogs that do not exist: the others have to find room.
#[test]
fn nor_of_what_a_partner_asks_in_vain() {
    let mut settings = two_partners();
    settings.transactions.max_servers = 8;
    settings.limits.messages_per_second = 1;
    let mut agent = Agent::with(settings);
    agent.source = shows(&["ocs.example"]);
    let mut refused = 0;
    for cseq in 1..40 {
        agent.hears(&request("INVITE", cseq, ("", &format!("i{cseq}")), ""));
        refused += agent
            .says_responses()
            .iter()
            .filter(|r| r.status == 503)
            .count();
        agent.hears(&request("SUBSCRIBE", cseq, (";tag=ours1", "s1"), ""));
        let said = agent.says_responses();
        assert!(said.iter().all(|r| r.status == 481), "{said:?}");
    }
    assert!(refused > 30, "{refused}");
    while agent.ua.poll_input().is_some() {}
    agent.source = Source {
        remote: "198.51.100.77:40123".parse().unwrap(),
        ..shows(&["other.example"])
    };
    let message = request("MESSAGE", 1, ("", "m1"), "").replace("bruno@ocs", "otto@other");
    agent.hears(&message);
    let told = agent.ua.poll_input();
    assert!(matches!(told, Some(SipIn::Message { .. })), "{told:?}");
}

#[test]
fn nor_inside_a_dialog_of_that_user() {
    for method in ["MESSAGE", "INFO", "BYE", "UPDATE", "INVITE"] {
        let mut agent = Agent::with(two_partners());
        let offer = "v=0\r\no=- 0 0 IN IP4 192.0.2.10\r\ns=session\r\nc=IN IP4 192.0.2.10\r\nt=0 0\r\n\
                     m=message 5060 sip null\r\na=accept-types:text/plain\r\n";
        let invite = request("INVITE", 1, ("", "c1"), "Content-Type: application/sdp\r\n");
        let invite = invite.replace(
            "Content-Length: 0\r\n\r\n",
            &format!("Content-Length: {}\r\n\r\n{offer}", offer.len()),
        );
        agent.hears(&invite);
        let answers = agent.says_responses();
        let ok = answers.iter().find(|answer| answer.status == 200).unwrap();
        let to_tag = format!(";tag={}", ok.tag("To"));
        agent.hears(&request("ACK", 1, (&to_tag, "c1"), ""));
        let sessions = agent.ua.status().sessions;
        let server = agent.source.clone();
        agent.source = shows(&["other.example"]);
        agent.hears(&request(method, 2, (&to_tag, "c1"), ""));
        agent.says_response(403);
        assert_eq!(agent.ua.poll_input(), None, "{method}");
        assert_eq!(agent.ua.status().sessions, sessions, "{method}");
        // Its own server goes on.
        agent.source = server;
        agent.hears(&request("BYE", 3, (&to_tag, "c1"), ""));
        agent.says_response(200);
    }
}

#[test]
fn nor_in_a_subscription_of_ours() {
    let mut agent = Agent::with(two_partners());
    agent.does(SipOut::Subscribe {
        trace: Trace::default(),
        reference: Ref(1),
        watcher: alma(),
        presentity: bruno(),
        poll: false,
    });
    let subscribe = agent.says_request("SUBSCRIBE");
    agent.hears_answer(&subscribe, 200, "Expires: 600\r\n");
    while agent.ua.poll_input().is_some() {}
    let notify = Notify {
        cseq: 1,
        tag: "peer5",
        ..Notify::default()
    };
    let server = agent.source.clone();
    agent.source = shows(&["other.example"]);
    agent.hears_notify(&subscribe, &notify);
    agent.says_response(403);
    agent.is_silent();
    agent.source = server;
    agent.hears_notify(&subscribe, &notify);
    agent.says_response(200);
    assert!(agent.ua.poll_input().is_some());
}

#[test]
fn the_administrator_hears_of_it_once_a_minute_with_what_to_set() {
    let mut settings = two_partners();
    settings.sip_domains.push(SipDomain {
        needs_certificate: true,
        ..SipDomain::new("strict.example")
    });
    let rows = [
        ("ocs.example", &["x.example"][..], Cure::CertificateName),
        ("ocs.example", &[], Cure::Address),
        ("strict.example", &[], Cure::Certificate),
        ("unknown.example", &["other.example"], Cure::Domain),
    ];
    for (domain, names, cure) in rows {
        let mut agent = Agent::with(settings.clone());
        agent.source = shows(names);
        let send = |agent: &mut Agent, number: u32| {
            let text = request("MESSAGE", 1, ("", &format!("c{number}")), "");
            agent.hears(&text.replace("bruno@ocs.example", &format!("bruno@{domain}")));
            agent.says_response(403);
            impostor(agent)
        };
        let told = send(&mut agent, 1).unwrap();
        assert_eq!((told.domain.as_str(), told.cure), (domain, cure));
        assert_eq!(told.address.to_string(), "198.51.100.9");
        assert_eq!(told.certificate_names, names);
        let proved: &[&str] = if names == ["other.example"] {
            names
        } else {
            &[]
        };
        assert_eq!(told.proved, proved);
        assert_eq!(send(&mut agent, 2), None);
        assert_eq!(send(&mut agent, 3), None);
        agent.passes_seconds(60);
        assert_eq!(send(&mut agent, 4).unwrap().unsaid, 2);
    }
}

/// Mutual TLS: the address alone does not do, whatever it came over.
#[test]
fn a_domain_that_needs_a_certificate_is_not_spoken_for_by_an_address() {
    for (transport, names, taken) in [
        (Transport::Udp, &[][..], false),
        (Transport::Tcp, &[], false),
        (Transport::Tls, &[], false),
        (Transport::Tls, &["other.example"], false),
        (Transport::Tls, &["ocs.example"], true),
    ] {
        let mut settings = two_partners();
        settings.sip_domains[0].needs_certificate = true;
        let mut agent = Agent::with(settings);
        agent.source = Source {
            remote: EDGE.parse().unwrap(),
            transport,
            ..shows(names)
        };
        agent.hears(&request("MESSAGE", 1, ("", "c1"), ""));
        let arrived = matches!(agent.ua.poll_input(), Some(SipIn::Message { .. }));
        assert_eq!(arrived, taken, "{transport:?} {names:?}");
        if !taken {
            agent.says_response(403);
        }
    }
}

/// Answers come from where requests go to.
#[test]
fn nor_do_its_servers_get_anything_without_tls() {
    let over = |transport| Target {
        transport,
        ..tls("203.0.113.5:5060", "ocs.example")
    };
    let all = [Transport::Udp, Transport::Tcp, Transport::Tls];
    type Row<'a> = (bool, Option<&'a str>, &'a [Transport], Option<Transport>);
    let rows: [Row<'_>; 5] = [
        (true, None, &all, Some(Transport::Tls)),
        (true, None, &all[..2], None),
        (
            true,
            Some("sip:edge.ocs.example;transport=tcp"),
            &all[1..2],
            Some(Transport::Tcp),
        ),
        (false, None, &all, Some(Transport::Udp)),
        (false, None, &all[1..2], Some(Transport::Tcp)),
    ];
    for (needs_certificate, next_hop, offered, expected) in rows {
        let mut settings = two_partners();
        settings.sip_domains[0].needs_certificate = needs_certificate;
        settings.sip_domains[0].next_hop = next_hop.map(str::to_owned);
        let mut agent = Agent::with(settings);
        agent.target = Ok(offered.iter().map(|transport| over(*transport)).collect());
        agent.does(SipOut::Subscribe {
            trace: Trace::default(),
            reference: Ref(1),
            watcher: alma(),
            presentity: bruno(),
            poll: false,
        });
        let said = agent.said();
        let used = said.first().map(|sent| match &sent.destination {
            Destination::Dial(target) => target.transport,
            _ => Transport::Udp,
        });
        assert_eq!(
            used, expected,
            "{needs_certificate} {next_hop:?} {offered:?}"
        );
        assert_eq!(agent.ua.poll_input().is_some(), expected.is_none());
    }
}

#[test]
fn an_asserted_identity_counts_only_from_whom_it_is_trusted() {
    const BRUNO: &str = "P-Asserted-Identity: \"Bruno\" <sip:bruno@ocs.example>\r\n";
    const HIDDEN: &str = "\"Anonymous\" <sip:anonymous@anonymous.invalid>";
    const PILOT: &str = "<sip:+4930123@ocs.example>";
    // From, more fields, whether the server is trusted to assert: who sends, or the refusal.
    let rows: [(&str, &str, bool, Result<&str, u16>); 17] = [
        (PILOT, BRUNO, true, Ok("bruno@ocs.example")),
        (PILOT, BRUNO, false, Ok("+4930123@ocs.example")),
        (PILOT, "", true, Ok("+4930123@ocs.example")),
        (HIDDEN, BRUNO, true, Ok("bruno@ocs.example")),
        (HIDDEN, BRUNO, false, Err(433)),
        (HIDDEN, "", true, Err(433)),
        // A telephone number beside it is passed over, and alone says nothing.
        (
            PILOT,
            "P-Asserted-Identity: <tel:+4930123>, <sip:bruno@ocs.example>\r\n",
            true,
            Ok("bruno@ocs.example"),
        ),
        (
            PILOT,
            "P-Asserted-Identity: <tel:+4930123>\r\nP-Asserted-Identity: sip:bruno@ocs.example\r\n",
            true,
            Ok("bruno@ocs.example"),
        ),
        (
            PILOT,
            "P-Asserted-Identity: <tel:+4930123>\r\n",
            true,
            Ok("+4930123@ocs.example"),
        ),
        // Nobody asserts users of a domain that he does not speak for, or that is not trusted to.
        (
            PILOT,
            "P-Asserted-Identity: <sip:carla@other.example>\r\n",
            true,
            Ok("+4930123@ocs.example"),
        ),
        (
            "<sip:carla@other.example>",
            "P-Asserted-Identity: <sip:carla@other.example>\r\n",
            true,
            Err(403),
        ),
        (
            PILOT,
            "P-Asserted-Identity: ;;<\r\n",
            true,
            Ok("+4930123@ocs.example"),
        ),
        (
            PILOT,
            "P-Preferred-Identity: <sip:bruno@ocs.example>\r\n",
            true,
            Ok("+4930123@ocs.example"),
        ),
        // Who wants to be unknown is not made known to XMPP; what he says himself of himself counts.
        (HIDDEN, &format!("{BRUNO}Privacy: id\r\n"), true, Err(433)),
        (
            HIDDEN,
            &format!("{BRUNO}Privacy: critical; ID\r\n"),
            true,
            Err(433),
        ),
        (
            PILOT,
            &format!("{BRUNO}Privacy: user;id\r\n"),
            true,
            Ok("+4930123@ocs.example"),
        ),
        (
            HIDDEN,
            &format!("{BRUNO}Privacy: none\r\n"),
            true,
            Ok("bruno@ocs.example"),
        ),
    ];
    for (from, more, trusted, expected) in rows {
        let mut settings = two_partners();
        settings.sip_domains[0].asserts_identity = trusted;
        let mut agent = Agent::with(settings);
        let text = request("MESSAGE", 1, ("", "c1"), more);
        agent.hears(&text.replace("<sip:bruno@ocs.example>;tag", &format!("{from};tag")));
        match expected {
            Ok(sender) => {
                let SipIn::Message { from, .. } = agent.tells() else {
                    panic!("{from} {more}");
                };
                assert_eq!(from.to_string(), format!("sip:{sender}"), "{more}");
            }
            Err(status) => _ = agent.says_response(status),
        }
    }
}

/// XMPP users are known by their address alone: to whomever we send, we assert nothing.
#[test]
fn we_assert_nothing() {
    let mut settings = two_partners();
    settings.sip_domains[0].asserts_identity = true;
    let mut agent = Agent::with(settings);
    agent.target = Ok(vec![tls(EDGE, "ocs.example")]);
    agent.does(SipOut::Subscribe {
        trace: Trace::default(),
        reference: Ref(1),
        watcher: alma(),
        presentity: bruno(),
        poll: false,
    });
    let subscribe = agent.says_request("SUBSCRIBE");
    assert_eq!(subscribe.headers.get("P-Asserted-Identity"), None);
    assert!(
        subscribe
            .field("From")
            .starts_with("<sip:alma@jabber.example>")
    );
}

/// RFC 7616 §5: an answer over plain transport lets whoever listens guess. It goes there only where the settings say so.
#[test]
fn passwords_are_answered_with_where_the_way_is_trusted() {
    const STRANGER: &str = "203.0.113.5:5060";
    const OWN: &[&str] = &["ocs.example"];
    const USER: &[&str] = &["pc.ocs.example"];
    let rows: [(_, _, &[&str], _, _); 10] = [
        (Transport::Tls, EDGE, &[], false, true),
        (Transport::Tls, STRANGER, OWN, false, true),
        // A host inside the domain is not the domain's server, nor is whoever shows nothing.
        (Transport::Tls, STRANGER, USER, false, false),
        (Transport::Tls, STRANGER, &[], false, false),
        (Transport::Tls, STRANGER, &["*.example"], false, false),
        (Transport::Udp, EDGE, &[], false, true),
        (Transport::Tcp, EDGE, &[], false, true),
        (Transport::Udp, STRANGER, &[], false, false),
        (Transport::Tcp, STRANGER, &[], false, false),
        (Transport::Udp, STRANGER, &[], true, true),
    ];
    for (transport, server, names, over_plain, answered) in rows {
        let mut agent = Agent::with(with_password(over_plain));
        let target = Target {
            transport,
            ..tls(server, "ocs.example")
        };
        agent.target = Ok(vec![target]);
        agent.source = Source {
            remote: server.parse().unwrap(),
            certificate_names: names.iter().map(|name| (*name).to_owned()).collect(),
            ..from_edge(transport)
        };
        let subscribe = asked_for_password(&mut agent);
        let again = agent.says_requests();
        assert_eq!(
            again.len(),
            usize::from(answered),
            "{transport:?} {server} {names:?}"
        );
        let answers = |request: &Request| request.headers.contains("Authorization");
        assert!(again.iter().all(answers));
        assert!(!answers(&subscribe));
    }
}

/// Where the name has come to lead to another host by the time of the answer, that host has to be the domain's server.
#[test]
fn an_answer_goes_to_no_other_host_inside_the_domain() {
    let mut agent = Agent::with(with_password(false));
    agent.does(SipOut::Subscribe {
        trace: Trace::default(),
        reference: Ref(1),
        watcher: alma(),
        presentity: bruno(),
        poll: false,
    });
    let subscribe = agent.says_request("SUBSCRIBE");
    agent.target = Ok(vec![tls("203.0.113.5:5061", "pc.ocs.example")]);
    agent.hears_answer(&subscribe, 401, CHALLENGE);
    let said = agent.said();
    let [sent] = &said[..] else {
        panic!("{said:?}")
    };
    assert!(sent.request().headers.contains("Authorization"));
    let Destination::Dial(target) = &sent.destination else {
        panic!("{sent:?}")
    };
    let names: Vec<&str> = target.names().collect();
    assert_eq!(names, ["ocs.example"]);
}

#[test]
fn nor_does_an_answer_follow_a_name_that_leads_elsewhere_now() {
    let mut agent = Agent::with(with_password(false));
    let plain = Target {
        transport: Transport::Udp,
        ..tls("203.0.113.5:5060", "ocs.example")
    };
    agent.does(SipOut::Subscribe {
        trace: Trace::default(),
        reference: Ref(1),
        watcher: alma(),
        presentity: bruno(),
        poll: false,
    });
    let subscribe = agent.says_request("SUBSCRIBE");
    agent.target = Ok(vec![plain]);
    agent.hears_answer(&subscribe, 401, CHALLENGE);
    assert_eq!(agent.says_requests().len(), 0);
    assert!(
        agent.ua.poll_input().is_some(),
        "the subscription has its fate"
    );
}

const CHALLENGE: &str = "WWW-Authenticate: Digest realm=\"ocs.example\", nonce=\"n1\", algorithm=SHA-256, qop=\"auth\"\r\n";

fn with_password(over_plain: bool) -> Settings {
    let mut settings = world();
    settings.credentials = vec![Credential {
        domain: "ocs.example".to_owned(),
        realm: "ocs.example".to_owned(),
        username: "gateway".to_owned(),
        password: "pw".to_owned(),
        over_plain,
    }];
    settings
}

fn asked_for_password(agent: &mut Agent) -> Request {
    agent.does(SipOut::Subscribe {
        trace: Trace::default(),
        reference: Ref(1),
        watcher: alma(),
        presentity: bruno(),
        poll: false,
    });
    let subscribe = agent.says_request("SUBSCRIBE");
    agent.hears_answer(&subscribe, 401, CHALLENGE);
    subscribe
}
