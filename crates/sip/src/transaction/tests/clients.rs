//! Sent requests through the whole layer.

use super::*;

const A: &str = "192.0.2.1:5060";
const B: &str = "192.0.2.2:5060";

/// The last request on the wire.
fn last_request(layer: &mut TransactionLayer) -> Request {
    let transmit = std::iter::from_fn(|| layer.poll_transmit()).last();
    match parse(&transmit.expect("something was sent").bytes) {
        Message::Request(request) => request,
        Message::Response(_) => panic!("a response was sent"),
    }
}

fn response(request: &Request, status: u16) -> Response {
    let mut response = Response::for_request(request, status, "X");
    response.headers.ensure_to_tag("t1");
    response
}

fn send(layer: &mut TransactionLayer, method: Method, targets: &[(Transport, &str)]) -> ClientId {
    let targets: Vec<Target> = targets.iter().map(|&(t, a)| target(t, a)).collect();
    layer.send_request(plain(method), targets, None, at(0))
}

/// The outcome is single, and nothing is left behind.
fn assert_over(layer: &mut TransactionLayer, last: &[&str]) {
    let mut log = told(layer);
    sent(layer);
    log.extend(run_until(layer, 1_000_000));
    assert_eq!(log, last);
    assert_eq!(layer.live(), (0, 0));
    assert_eq!(layer.poll_timeout(), None);
    assert!(layer.clients.is_clean());
}

#[test]
fn the_via_is_ours_and_the_branch_carries_the_hint() {
    let mut layer = layer();
    for (transport, expected) in [
        (
            Transport::Udp,
            "SIP/2.0/UDP gw.test:5060;branch=z9hG4bKid_1.…;rport",
        ),
        (
            Transport::Tcp,
            "SIP/2.0/TCP gw.test:5060;branch=z9hG4bKid_1.…",
        ),
        (
            Transport::Tls,
            "SIP/2.0/TLS gw.test:5061;branch=z9hG4bKid_1.…;alias",
        ),
    ] {
        let route = vec![target(transport, A)];
        layer.send_request(plain(Method::MESSAGE), route, Some("id 1"), at(0));
        let request = last_request(&mut layer);
        let via = request.headers.get("Via").unwrap();
        let (head, tail) = via.split_once("id_1.").unwrap();
        let rest = tail.trim_start_matches(|c: char| c.is_ascii_hexdigit());
        assert_eq!(format!("{head}id_1.…{rest}"), expected);
        assert_eq!(request.headers.values("Via").count(), 1);
    }
}

#[test]
fn one_final_response_is_the_outcome() {
    let mut layer = layer();
    send(&mut layer, Method::MESSAGE, &[(Transport::Udp, A)]);
    let request = last_request(&mut layer);
    let from = source(Transport::Udp, A);
    for status in [100, 200, 200, 404] {
        layer.receive(&from, response(&request, status), at(10));
    }
    assert_eq!(told(&mut layer), ["response 100", "response 200"]);
    assert_over(&mut layer, &[]);
}

#[test]
fn responses_from_elsewhere_are_dropped_and_counted() {
    let mut layer = layer();
    send(&mut layer, Method::MESSAGE, &[(Transport::Udp, A)]);
    let request = last_request(&mut layer);
    let good = response(&request, 200);
    let changed = |name: &'static str, value: &str| {
        let mut changed = good.clone();
        changed.headers.set(name, value);
        changed
    };
    let via = request.headers.get("Via").unwrap().to_owned();
    let mut two_vias = good.clone();
    two_vias
        .headers
        .push("Via", "SIP/2.0/UDP other.test;branch=z9hG4bKx");
    let here = source(Transport::Udp, A);
    let cases = [
        (source(Transport::Udp, "198.51.100.9:5060"), good.clone()),
        (source(Transport::Tcp, A), good.clone()),
        (here.clone(), changed("CSeq", "7 OPTIONS")),
        (here.clone(), changed("CSeq", "x")),
        (
            here.clone(),
            changed("Via", &via.replace("gw.test", "gw.evil")),
        ),
        (here.clone(), changed("Via", &via.replace("5060", "5070"))),
        (
            here.clone(),
            changed("Via", &via.replace("z9hG4bK", "z9hG4bKx")),
        ),
        (here.clone(), changed("Via", "SIP/2.0/UDP gw.test:5060")),
        (here.clone(), two_vias),
    ];
    let count = cases.len() as u64;
    for (from, stray) in cases {
        layer.receive(&from, stray, at(10));
    }
    assert_eq!(told(&mut layer), [""; 0]);
    assert_eq!(layer.counters().stray_responses, count);
    layer.receive(&here, good, at(20));
    assert_over(&mut layer, &["response 200"]);
}

#[test]
fn responses_that_cannot_be_read_are_dropped_and_counted() {
    let mut layer = layer();
    send(&mut layer, Method::MESSAGE, &[(Transport::Udp, A)]);
    let request = last_request(&mut layer);
    let good = response(&request, 200);
    let here = source(Transport::Udp, A);
    let mut twice = good.clone();
    twice.headers.push("To", "<sip:other@ocs.test>;tag=other");
    let mut without = good.clone();
    without.headers.remove("Call-ID");
    let mut broken = good.clone();
    broken.headers.set("To", "<sip:bruno@ocs.test");
    for unreadable in [twice, without, broken] {
        layer.receive(&here, unreadable, at(10));
    }
    assert_eq!(told(&mut layer), [""; 0]);
    assert_eq!(layer.counters().unreadable_responses, 3);
    // What else is said twice takes nothing from it.
    let mut sloppy = good;
    sloppy.headers.push("Content-Length", "0");
    sloppy.headers.push("Server", "a");
    sloppy.headers.push("Server", "b");
    layer.receive(&here, sloppy, at(20));
    assert_over(&mut layer, &["response 200"]);
}

#[test]
fn a_response_comes_over_the_connection_that_carried_the_request() {
    let mut layer = layer();
    let from = source(Transport::Tls, A);
    layer.send_request(plain(Method::NOTIFY), &from, None, at(0));
    let request = last_request(&mut layer);
    let other = Source {
        flow: FlowId(8),
        ..from.clone()
    };
    layer.receive(&other, response(&request, 200), at(1));
    assert_eq!(layer.counters().stray_responses, 1);
    layer.receive(&from, response(&request, 200), at(2));
    assert_over(&mut layer, &["response 200"]);
}

#[test]
fn the_next_target_is_tried_with_a_new_branch() {
    let hops = [(Transport::Udp, A), (Transport::Tcp, B)];
    // After a transport error.
    let mut layer = layer();
    send(&mut layer, Method::MESSAGE, &hops);
    let first = last_request(&mut layer);
    let datagram = Destination::Datagram {
        socket: Some(FlowId(1)),
        remote: socket(A),
    };
    layer.transport_failed(&datagram, at(5));
    let second = last_request(&mut layer);
    assert_ne!(first.headers.get("Via"), second.headers.get("Via"));
    assert_eq!(first.headers.get("CSeq"), second.headers.get("CSeq"));
    // A late answer of the first target is a stray; the second one's is the outcome.
    layer.receive(&source(Transport::Udp, A), response(&first, 200), at(6));
    layer.receive(&source(Transport::Tcp, B), response(&second, 404), at(7));
    assert_over(&mut layer, &["response 404"]);
    assert_eq!(layer.counters().failovers, 1);
    assert_eq!(layer.counters().stray_responses, 1);
}

/// What the second target says may be about the copy that the first has taken.
#[test]
fn an_answer_after_a_target_that_may_have_taken_it_is_in_doubt() {
    let rows: [(&[_], _, bool); 3] = [
        (&[(Transport::Udp, A), (Transport::Tcp, B)], 1, false),
        (&[(Transport::Tls, A), (Transport::Tcp, B)], 1, true),
        (&[(Transport::Udp, A), (Transport::Tcp, B)], 32_000, true),
    ];
    for (hops, end, expected) in rows {
        let mut layer = layer();
        send(&mut layer, Method::MESSAGE, hops);
        let first = last_request(&mut layer);
        if end == 1 {
            let broken = match hops[0].0 {
                Transport::Udp => Destination::Datagram {
                    socket: Some(FlowId(1)),
                    remote: socket(A),
                },
                transport => Destination::Dial(target(transport, A)),
            };
            layer.transport_failed(&broken, at(1));
        } else {
            layer.handle_timeout(at(end));
        }
        let second = last_request(&mut layer);
        assert_ne!(first.headers.get("Via"), second.headers.get("Via"));
        let from = source(Transport::Tcp, B);
        layer.receive(&from, response(&second, 482), at(end + 1));
        let Some(TransactionEvent::Response { in_doubt, .. }) = layer.poll_event() else {
            panic!("no answer to {hops:?}");
        };
        assert_eq!(in_doubt, expected, "{hops:?} {end}");
    }
}

#[test]
fn a_503_moves_on_and_is_the_outcome_of_the_last() {
    let mut layer = layer();
    send(
        &mut layer,
        Method::MESSAGE,
        &[(Transport::Udp, A), (Transport::Udp, B)],
    );
    for (address, more) in [(A, true), (B, false)] {
        let request = last_request(&mut layer);
        let from = source(Transport::Udp, address);
        layer.receive(&from, response(&request, 100), at(1));
        layer.receive(&from, response(&request, 503), at(2));
        let expected: &[&str] = if more {
            &["response 100"]
        } else {
            &["response 100", "response 503"]
        };
        assert_eq!(told(&mut layer), expected);
    }
    assert_over(&mut layer, &[]);
}

#[test]
fn silence_moves_on_until_the_limit() {
    let mut layer = layer();
    send(
        &mut layer,
        Method::MESSAGE,
        &[
            (Transport::Tcp, A),
            (Transport::Tls, A),
            (Transport::Tcp, B),
        ],
    );
    sent(&mut layer);
    assert_eq!(
        run_until(&mut layer, 1_000_000),
        ["32000 tls:192.0.2.1:5060 MESSAGE", "64000 failed Timeout"],
        "the third target is beyond the overall limit"
    );
    assert_over(&mut layer, &[]);
}

#[test]
fn a_target_that_showed_life_is_not_replaced_after_silence() {
    let mut layer = layer();
    send(
        &mut layer,
        Method::MESSAGE,
        &[(Transport::Tcp, A), (Transport::Tcp, B)],
    );
    let request = last_request(&mut layer);
    layer.receive(&source(Transport::Tcp, A), response(&request, 100), at(1));
    assert_over(&mut layer, &["response 100", "32000 failed Timeout"]);
}

#[test]
fn failures_have_their_causes() {
    let mut unreachable = layer();
    send(&mut unreachable, Method::MESSAGE, &[(Transport::Tls, A)]);
    let dial = Destination::Dial(target(Transport::Tls, A));
    unreachable.transport_failed(&dial, at(1));
    unreachable.transport_failed(&dial, at(2));
    assert_over(&mut unreachable, &["failed Transport"]);

    let mut closed = layer();
    closed.send_request(
        plain(Method::NOTIFY),
        &source(Transport::Tcp, A),
        None,
        at(0),
    );
    closed.connection_closed(FlowId(8), at(1));
    closed.connection_closed(FlowId(7), at(1));
    assert_over(&mut closed, &["failed Transport"]);

    let mut nowhere = layer();
    send(&mut nowhere, Method::MESSAGE, &[]);
    assert_over(&mut nowhere, &["failed NoTarget"]);

    let mut silent = TransactionLayer::new(Settings::default(), &mut SeededEntropy(1));
    send(&mut silent, Method::MESSAGE, &[(Transport::Udp, A)]);
    assert_over(&mut silent, &["failed NoTarget"]);

    let full = Settings {
        max_clients: 1,
        ..settings("gw.test")
    };
    let mut full = TransactionLayer::new(full, &mut SeededEntropy(1));
    send(&mut full, Method::MESSAGE, &[(Transport::Tcp, A)]);
    send(&mut full, Method::MESSAGE, &[(Transport::Tcp, A)]);
    assert_over(&mut full, &["failed Overloaded", "32000 failed Timeout"]);
}

#[test]
fn a_connection_in_a_dialog_is_backed_by_targets() {
    let mut layer = layer();
    let route = Route::from(&source(Transport::Tls, A)).or(vec![target(Transport::Tls, B)]);
    layer.send_request(plain(Method::NOTIFY), route, None, at(0));
    layer.connection_closed(FlowId(7), at(1));
    assert_eq!(
        sent(&mut layer),
        ["flow7 NOTIFY", "tls:192.0.2.2:5060 NOTIFY"]
    );
}

#[test]
fn a_large_request_prefers_tcp_and_falls_back() {
    let mut layer = layer();
    let mut large = plain(Method::MESSAGE);
    large.body = vec![b'x'; 1300].into();
    layer.send_request(large.clone(), vec![target(Transport::Udp, A)], None, at(0));
    assert_eq!(sent(&mut layer), ["tcp:192.0.2.1:5060 MESSAGE"]);
    let tcp = Destination::Dial(Target {
        name: "192.0.2.1".into(),
        also: Vec::new(),
        ..target(Transport::Tcp, A)
    });
    layer.transport_failed(&tcp, at(1));
    assert_eq!(sent(&mut layer), ["udp:192.0.2.1:5060 MESSAGE"]);
    // What no datagram can carry does not go out as one.
    large.body = vec![b'x'; 65_500].into();
    layer.send_request(large, vec![target(Transport::Udp, B)], None, at(2));
    assert!(layer.poll_transmit().is_some());
    let tcp = Destination::Dial(Target {
        name: "192.0.2.2".into(),
        also: Vec::new(),
        ..target(Transport::Tcp, B)
    });
    layer.transport_failed(&tcp, at(3));
    assert_eq!(layer.poll_transmit(), None);
    assert_eq!(told(&mut layer), ["failed Transport"]);
}

#[test]
fn a_refused_invite_is_acknowledged_each_time() {
    let mut layer = layer();
    let mut invite = plain(Method::INVITE);
    invite.headers.push("Route", "<sip:edge.test;lr>");
    layer.send_request(invite, vec![target(Transport::Udp, A)], None, at(0));
    let invite = last_request(&mut layer);
    let from = source(Transport::Udp, A);
    layer.receive(&from, response(&invite, 486), at(10));
    let ack = last_request(&mut layer);
    assert_eq!(ack.method, Method::ACK);
    assert_eq!(ack.uri, invite.uri);
    let mut with_tag = invite.clone();
    with_tag.headers.ensure_to_tag("t1");
    for name in ["Via", "Route", "From", "To", "Call-ID"] {
        assert_eq!(ack.headers.get(name), with_tag.headers.get(name), "{name}");
    }
    assert_eq!(ack.headers.get("CSeq"), Some("7 ACK"));
    layer.receive(&from, response(&invite, 486), at(20));
    assert_eq!(sent(&mut layer), ["udp:192.0.2.1:5060 ACK"]);
    assert_over(&mut layer, &["response 486"]);
}

#[test]
fn an_invite_refused_with_503_is_acknowledged_while_the_next_target_rings() {
    let mut layer = layer();
    send(
        &mut layer,
        Method::INVITE,
        &[(Transport::Udp, A), (Transport::Udp, B)],
    );
    let first = last_request(&mut layer);
    let from = source(Transport::Udp, A);
    layer.receive(&from, response(&first, 503), at(10));
    assert_eq!(
        sent(&mut layer),
        ["udp:192.0.2.1:5060 ACK", "udp:192.0.2.2:5060 INVITE"]
    );
    layer.receive(&from, response(&first, 503), at(20));
    assert_eq!(sent(&mut layer), ["udp:192.0.2.1:5060 ACK"]);
    assert_eq!(told(&mut layer), [""; 0]);
}

#[test]
fn each_2xx_of_an_invite_is_told() {
    let mut layer = layer();
    send(&mut layer, Method::INVITE, &[(Transport::Tls, A)]);
    let invite = last_request(&mut layer);
    let from = source(Transport::Tls, A);
    for (status, ms) in [(180, 1), (200, 2), (200, 500)] {
        layer.receive(&from, response(&invite, status), at(ms));
    }
    layer.send_once(plain(Method::ACK), &from).unwrap();
    assert_eq!(sent(&mut layer), ["flow7 ACK"]);
    assert_over(
        &mut layer,
        &["response 180", "response 200", "response 200"],
    );
}

#[test]
fn cancel_waits_for_a_provisional_response() {
    let mut layer = layer();
    let id = send(&mut layer, Method::INVITE, &[(Transport::Tcp, A)]);
    let invite = last_request(&mut layer);
    layer.cancel(id, at(1));
    layer.cancel(id, at(2));
    assert_eq!(sent(&mut layer), [""; 0]);
    let from = source(Transport::Tcp, A);
    layer.receive(&from, response(&invite, 180), at(3));
    let cancel = last_request(&mut layer);
    assert_eq!(cancel.method, Method::CANCEL);
    assert_eq!(cancel.headers.get("Via"), invite.headers.get("Via"));
    assert_eq!(cancel.headers.get("CSeq"), Some("7 CANCEL"));
    layer.receive(&from, response(&cancel, 200), at(4));
    layer.receive(&from, response(&invite, 180), at(5));
    assert_eq!(sent(&mut layer), [""; 0], "one CANCEL only");
    layer.receive(&from, response(&invite, 487), at(6));
    assert_over(
        &mut layer,
        &["response 180", "response 180", "response 487"],
    );
}

#[test]
fn a_cancelled_invite_ends_without_an_answer() {
    let mut layer = layer();
    let id = send(&mut layer, Method::INVITE, &[(Transport::Tcp, A)]);
    let invite = last_request(&mut layer);
    let from = source(Transport::Tcp, A);
    layer.receive(&from, response(&invite, 180), at(3));
    layer.cancel(id, at(10));
    layer.receive(&from, response(&invite, 181), at(11));
    assert_over(
        &mut layer,
        &["response 180", "response 181", "32010 failed Timeout"],
    );
}

#[test]
fn an_invite_that_rings_for_ever_is_cancelled() {
    let mut layer = layer();
    send(&mut layer, Method::INVITE, &[(Transport::Tcp, A)]);
    let invite = last_request(&mut layer);
    layer.receive(&source(Transport::Tcp, A), response(&invite, 180), at(0));
    assert_over(
        &mut layer,
        &[
            "response 180",
            "180000 tcp:192.0.2.1:5060 CANCEL",
            "212000 failed Timeout",
        ],
    );
}
