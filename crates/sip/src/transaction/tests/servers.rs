//! Received requests through the whole layer.

use super::*;

const PEER: &str = "192.0.2.1:40000";
const VIA: &str = "SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKp1";

fn udp() -> Source {
    source(Transport::Udp, PEER)
}

/// The event of the one new request.
fn arrived(layer: &mut TransactionLayer) -> (ServerId, Request) {
    match layer.poll_event() {
        Some(TransactionEvent::Request { id, request, .. }) => (id, request),
        other => panic!("no request but {other:?}"),
    }
}

fn respond(layer: &mut TransactionLayer, id: ServerId, request: &Request, status: u16, ms: u64) {
    let mut response = Response::for_request(request, status, "X");
    response.headers.ensure_to_tag("t1");
    layer.respond(id, &response, at(ms));
}

fn assert_over(layer: &mut TransactionLayer, last: &[&str]) {
    let mut log = told(layer);
    sent(layer);
    log.extend(run_until(layer, 1_000_000));
    assert_eq!(log, last);
    assert_eq!(layer.live(), (0, 0));
    assert_eq!(layer.poll_timeout(), None);
    assert!(layer.servers.is_clean());
}

#[test]
fn two_thousand_repetitions_are_one_event() {
    for transport in [Transport::Udp, Transport::Tcp] {
        let via = VIA.replace("UDP", transport.row().via);
        let mut layer = layer();
        let from = source(transport, PEER);
        for n in 0..1000 {
            layer.receive(&from, incoming(Method::MESSAGE, &via), at(n));
        }
        let (id, request) = arrived(&mut layer);
        assert_eq!(sent(&mut layer), [""; 0]);
        respond(&mut layer, id, &request, 200, 1000);
        respond(&mut layer, id, &request, 500, 1000);
        for n in 0..1000 {
            layer.receive(&from, incoming(Method::MESSAGE, &via), at(1000 + n));
        }
        let answers = sent(&mut layer);
        assert_eq!(
            answers.len(),
            1001,
            "the one answer, and one for each repetition"
        );
        assert!(answers.iter().all(|a| a.ends_with(" 200")));
        assert_eq!(layer.counters().repeated_requests, 1999);
        assert_over(&mut layer, &[]);
    }
}

#[test]
fn the_answer_goes_to_the_true_source() {
    for (transport, via, destination, stamp) in [
        (
            Transport::Udp,
            "SIP/2.0/UDP 192.0.2.1:5070;branch=z9hG4bK1",
            "udp:192.0.2.1:5070",
            "",
        ),
        (
            Transport::Udp,
            "SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1",
            "udp:192.0.2.1:5060",
            "",
        ),
        (
            Transport::Udp,
            "SIP/2.0/UDP 10.0.0.1:5070;rport;branch=z9hG4bK1",
            "udp:192.0.2.1:40000",
            ";rport=40000;branch=z9hG4bK1;received=192.0.2.1",
        ),
        (
            Transport::Udp,
            "SIP/2.0/UDP host.test;maddr=203.0.113.5;branch=z9hG4bK1;received=203.0.113.5",
            "udp:192.0.2.1:5060",
            ";maddr=203.0.113.5;branch=z9hG4bK1;received=192.0.2.1",
        ),
        (
            Transport::Udp,
            "SIP/2.0/UDP 192.0.2.1;rport=99;branch=z9hG4bK1",
            "udp:192.0.2.1:40000",
            ";rport=40000;branch=z9hG4bK1;received=192.0.2.1",
        ),
        (
            Transport::Tls,
            "SIP/2.0/TLS [2001:db8::5]:99;maddr=a.test;branch=z9hG4bK1",
            "flow7",
            ";received=192.0.2.1",
        ),
    ] {
        let mut layer = layer();
        layer.receive(
            &source(transport, PEER),
            incoming(Method::MESSAGE, via),
            at(0),
        );
        let (id, request) = arrived(&mut layer);
        let top = request.headers.get("Via").unwrap();
        assert!(top.ends_with(stamp), "{top}");
        respond(&mut layer, id, &request, 200, 1);
        assert_eq!(sent(&mut layer), [format!("{destination} 200")], "{via}");
    }
}

#[test]
fn a_closed_connection_is_dialled_once() {
    let via = "SIP/2.0/TCP 10.9.9.9:5099;branch=z9hG4bK1";
    let mut layer = layer();
    layer.receive(
        &source(Transport::Tcp, PEER),
        incoming(Method::MESSAGE, via),
        at(0),
    );
    let (id, request) = arrived(&mut layer);
    layer.connection_closed(FlowId(6), at(1));
    layer.connection_closed(FlowId(7), at(1));
    respond(&mut layer, id, &request, 200, 2);
    assert_eq!(sent(&mut layer), ["tcp:192.0.2.1:5099 200"]);
    let dial = Destination::Dial(Target {
        name: "10.9.9.9".into(),
        also: Vec::new(),
        ..target(Transport::Tcp, "192.0.2.1:5099")
    });
    layer.transport_failed(&dial, at(3));
    layer.transport_failed(&dial, at(4));
    assert_over(&mut layer, &["gone Transport"]);
}

#[test]
fn requests_that_differ_are_different() {
    let mut layer = layer();
    let base = incoming(Method::MESSAGE, VIA);
    layer.receive(&udp(), base.clone(), at(0));
    let changed = |name: &'static str, value: &str| {
        let mut request = base.clone();
        request.headers.set(name, value);
        request
    };
    layer.receive(&udp(), changed("CSeq", "8 MESSAGE"), at(0));
    layer.receive(&udp(), changed("Call-ID", "other"), at(0));
    // The same words by another peer, who has another From.
    let mut other = changed("From", "<sip:tybalt@evil.test>;tag=f9");
    layer.receive(
        &source(Transport::Udp, "198.51.100.1:5060"),
        other.clone(),
        at(0),
    );
    other
        .headers
        .set("Via", VIA.replace("z9hG4bKp1", "z9hG4bKp2"));
    other.headers.set("Call-ID", "third");
    layer.receive(&udp(), other, at(0));
    assert_eq!(told(&mut layer), ["request MESSAGE"; 5]);
    // Another port of the same peer is the same peer.
    layer.receive(&source(Transport::Udp, "192.0.2.1:40001"), base, at(0));
    assert_eq!(told(&mut layer), [""; 0]);
}

#[test]
fn branches_of_rfc_2543_are_matched_by_the_whole() {
    let via = "SIP/2.0/UDP 192.0.2.1:5060;branch=1";
    let mut layer = layer();
    let base = incoming(Method::INVITE, via);
    layer.receive(&udp(), base.clone(), at(0));
    layer.receive(&udp(), base.clone(), at(1));
    let (id, request) = arrived(&mut layer);
    let mut other = base.clone();
    other.headers.set("Call-ID", "c2");
    layer.receive(&udp(), other, at(1));
    assert_eq!(told(&mut layer), ["request INVITE"]);
    respond(&mut layer, id, &request, 486, 2);
    let mut ack = incoming(Method::ACK, via);
    ack.headers.set("To", "<sip:romeo@peer.test>;tag=t1");
    layer.receive(&udp(), ack, at(3));
    assert_eq!(layer.counters().stray_acks, 0);
    assert_eq!(layer.counters().repeated_requests, 1);
    assert_eq!(sent(&mut layer), ["udp:192.0.2.1:5060 486"]);
    assert!(
        !run_until(&mut layer, 40_000)
            .iter()
            .any(|l| l.ends_with("486")),
        "the ACK stopped it"
    );
}

#[test]
fn a_merged_request_gets_482() {
    let mut layer = layer();
    layer.receive(&udp(), incoming(Method::MESSAGE, VIA), at(0));
    let second = VIA.replace("z9hG4bKp1", "z9hG4bKp2");
    layer.receive(&udp(), incoming(Method::MESSAGE, &second), at(1));
    assert_eq!(told(&mut layer), ["request MESSAGE"]);
    let Message::Response(response) = parse(&layer.poll_transmit().unwrap().bytes) else {
        panic!("no response");
    };
    assert_eq!(response.status, 482);
    assert!(response.headers.get("To").unwrap().contains(";tag="));
    assert_eq!(layer.counters().merged_requests, 1);
    // Inside a dialog the rule does not hold.
    for branch in ["z9hG4bKp3", "z9hG4bKp4"] {
        let mut request = incoming(Method::INFO, &VIA.replace("z9hG4bKp1", branch));
        request.headers.set("To", "<sip:romeo@peer.test>;tag=t");
        layer.receive(&udp(), request, at(2));
    }
    assert_eq!(told(&mut layer), ["request INFO"; 2]);
}

#[test]
fn our_own_via_is_a_loop() {
    let mut layer = layer();
    let mut looped = incoming(Method::MESSAGE, VIA);
    looped
        .headers
        .push("Via", "SIP/2.0/TLS GW.test;branch=z9hG4bKq");
    layer.receive(&udp(), looped.clone(), at(0));
    assert_eq!(sent(&mut layer), ["udp:192.0.2.1:5060 482"]);
    looped.method = Method::ACK;
    looped.headers.set("CSeq", "7 ACK");
    layer.receive(&udp(), looped, at(0));
    assert_eq!(sent(&mut layer), [""; 0]);
    assert_eq!(layer.counters().looped_requests, 2);
    assert_over(&mut layer, &[]);
}

#[test]
fn a_full_layer_refuses_with_503() {
    let full = Settings {
        max_servers: 1,
        ..settings("gw.test")
    };
    let mut layer = TransactionLayer::new(full, &mut SeededEntropy(1));
    layer.receive(&udp(), incoming(Method::MESSAGE, VIA), at(0));
    let mut second = incoming(Method::MESSAGE, &VIA.replace("p1", "p2"));
    second.headers.set("Call-ID", "c2");
    layer.receive(&udp(), second, at(0));
    assert_eq!(told(&mut layer), ["request MESSAGE"]);
    let Message::Response(response) = parse(&layer.poll_transmit().unwrap().bytes) else {
        panic!("no response");
    };
    assert_eq!(response.status, 503);
    assert_eq!(response.headers.get("Retry-After"), Some("10"));
    assert_eq!(layer.counters().refused_requests, 1);
    assert_over(
        &mut layer,
        &["3500 udp:192.0.2.1:5060 100", "32000 gone Unanswered"],
    );
}

#[test]
fn options_take_no_room_once_answered() {
    let full = Settings {
        max_servers: 1,
        ..settings("gw.test")
    };
    let mut layer = TransactionLayer::new(full, &mut SeededEntropy(1));
    for number in 0..50 {
        let branch = format!("p{number}");
        let mut asked = incoming(Method::OPTIONS, &VIA.replace("p1", &branch));
        asked.headers.set("Call-ID", branch);
        layer.receive(&udp(), asked, at(0));
        let Some(TransactionEvent::Request { id, request, .. }) = layer.poll_event() else {
            panic!("refused");
        };
        layer.respond(id, &Response::for_request(&request, 200, "OK"), at(0));
        assert!(layer.poll_transmit().is_some());
    }
}

#[test]
fn unreadable_requests_make_nothing() {
    let mut layer = layer();
    layer.receive(&udp(), plain(Method::MESSAGE), at(0));
    layer.receive(&udp(), incoming(Method::MESSAGE, "SIP/2.0/UDP"), at(0));
    let mut request = incoming(Method::MESSAGE, VIA);
    request.headers.set("CSeq", "MESSAGE");
    layer.receive(&udp(), request, at(0));
    assert_eq!(layer.counters().unreadable_requests, 3);
    assert_eq!(sent(&mut layer), [""; 0]);
    assert_over(&mut layer, &[]);
}

#[test]
fn refusals_without_a_transaction_go_out_once() {
    let mut layer = layer();
    layer.refuse(&udp(), incoming(Method::MESSAGE, VIA), 400, "Bad Request");
    assert_eq!(sent(&mut layer), ["udp:192.0.2.1:5060 400"]);
    layer.refuse(&udp(), incoming(Method::ACK, VIA), 400, "Bad Request");
    layer.refuse(&udp(), plain(Method::MESSAGE), 400, "Bad Request");
    assert_eq!(sent(&mut layer), [""; 0]);
    assert_over(&mut layer, &[]);
}

#[test]
fn the_ack_of_a_2xx_is_told_once_and_ends_its_repetition() {
    let mut layer = layer();
    layer.receive(&udp(), incoming(Method::INVITE, VIA), at(0));
    let (id, request) = arrived(&mut layer);
    respond(&mut layer, id, &request, 180, 10);
    respond(&mut layer, id, &request, 200, 20);
    assert_eq!(
        run_until(&mut layer, 600).last().unwrap(),
        "520 udp:192.0.2.1:5060 200"
    );
    let mut ack = incoming(Method::ACK, &VIA.replace("p1", "p2"));
    ack.headers.set("To", "<sip:romeo@peer.test>;tag=other");
    layer.receive(&udp(), ack.clone(), at(601));
    assert_eq!(layer.counters().stray_acks, 1);
    ack.headers.set("To", "<sip:romeo@peer.test>;tag=t1");
    layer.receive(&udp(), ack.clone(), at(602));
    layer.receive(&udp(), ack, at(603));
    layer.receive(&udp(), incoming(Method::INVITE, VIA), at(604));
    assert_over(&mut layer, &["ack"]);
}

#[test]
fn an_invite_never_acknowledged_is_bounded() {
    for status in [200, 486] {
        let mut layer = layer();
        layer.receive(&udp(), incoming(Method::INVITE, VIA), at(0));
        let (id, request) = arrived(&mut layer);
        respond(&mut layer, id, &request, status, 0);
        let mut log = sent(&mut layer);
        log.extend(run_until(&mut layer, 1_000_000));
        assert_eq!(log.pop().unwrap(), "32000 gone Unacknowledged");
        assert_eq!(log.len(), 11);
    }
}

#[test]
fn cancel_is_answered_and_told_in_time() {
    let mut layer = layer();
    layer.receive(&udp(), incoming(Method::CANCEL, VIA), at(0));
    assert_eq!(sent(&mut layer), ["udp:192.0.2.1:5060 481"]);
    layer.receive(&udp(), incoming(Method::INVITE, VIA), at(0));
    let (id, request) = arrived(&mut layer);
    layer.receive(&udp(), incoming(Method::CANCEL, VIA), at(1));
    layer.receive(&udp(), incoming(Method::CANCEL, VIA), at(2));
    assert_eq!(sent(&mut layer), ["udp:192.0.2.1:5060 200"; 2]);
    assert_eq!(told(&mut layer), ["cancelled"]);
    // Another peer cannot cancel it.
    layer.receive(
        &source(Transport::Udp, "198.51.100.1:5060"),
        incoming(Method::CANCEL, VIA),
        at(2),
    );
    assert_eq!(sent(&mut layer), ["udp:198.51.100.1:5060 481"]);
    respond(&mut layer, id, &request, 487, 3);
    layer.receive(&udp(), incoming(Method::CANCEL, VIA), at(4));
    let mut ack = incoming(Method::ACK, VIA);
    ack.headers.set("To", "<sip:romeo@peer.test>;tag=t1");
    layer.receive(&udp(), ack, at(5));
    assert_eq!(
        sent(&mut layer),
        ["udp:192.0.2.1:5060 487", "udp:192.0.2.1:5060 200"]
    );
    // A CANCEL of something else has no effect but its answer.
    let mut message = incoming(Method::MESSAGE, VIA);
    message.headers.set("CSeq", "9 MESSAGE");
    layer.receive(&udp(), message, at(6));
    arrived(&mut layer);
    let mut cancel = incoming(Method::CANCEL, VIA);
    cancel.headers.set("CSeq", "9 CANCEL");
    layer.receive(&udp(), cancel, at(6));
    assert_eq!(sent(&mut layer), ["udp:192.0.2.1:5060 200"]);
    assert_over(
        &mut layer,
        &["3506 udp:192.0.2.1:5060 100", "32006 gone Unanswered"],
    );
}

#[test]
fn a_best_effort_notify_is_never_answered() {
    let mut layer = layer();
    for n in 0..3 {
        layer.receive(&udp(), incoming(Method::BENOTIFY, VIA), at(n));
    }
    let (id, request) = arrived(&mut layer);
    respond(&mut layer, id, &request, 200, 5);
    assert_eq!(sent(&mut layer), [""; 0]);
    assert_over(&mut layer, &[]);
}
