use super::*;
use stox_core::time::SeededEntropy;

/// A zone as `question → answer` lines, and the questions that were asked of it.
fn run(
    hop: &str,
    policy: &TransportPolicy,
    zone: &[(Question, Answer)],
) -> (Vec<Question>, Result<Vec<String>, TargetError>) {
    let mut lookup = TargetLookup::new(parse_hop(hop), policy);
    let mut entropy = SeededEntropy(1);
    let mut asked = Vec::new();
    while let Some(question) = lookup.question() {
        let answer = zone
            .iter()
            .find(|(q, _)| *q == question)
            .map_or(Answer::Nothing, |(_, a)| a.clone());
        asked.push(question);
        lookup.answer(answer, &mut entropy);
        assert!(asked.len() < 100, "the lookup does not end");
    }
    let targets = lookup.finish().map(|list| {
        list.iter()
            .map(|t| format!("{} {} {}", t.transport.row().via, t.address, t.name))
            .collect()
    });
    (asked, targets)
}

/// `sips:host:port/transport`, port and transport optional, host possibly none that a URI may have.
fn parse_hop(text: &str) -> NextHop {
    let (address, transport) = text.split_once('/').unwrap_or((text, ""));
    let mut uri = match Uri::parse(address) {
        Ok(uri) => uri,
        Err(_) => Uri::sip(None, address.trim_start_matches("sip:")),
    };
    if !transport.is_empty() {
        uri.set_param("transport", Some(transport));
    }
    uri.set_param("maddr", Some("203.0.113.1"));
    NextHop::try_from(&uri).unwrap()
}

#[test]
fn a_uri_that_asks_for_another_transport_has_no_next_hop() {
    let uri = Uri::parse("sip:a.test;transport=sctp").unwrap();
    let hop = NextHop::try_from(&uri);
    assert_eq!(hop, Err(TargetError::NoCommonTransport));
}

fn naptr(name: &str) -> Question {
    Question::Naptr(name.into())
}

fn srv(name: &str) -> Question {
    Question::Srv(name.into())
}

fn host(name: &str) -> Question {
    Question::Address(name.into())
}

fn records(list: &[(u16, u16, u16, &str)]) -> Answer {
    Answer::Srv(
        list.iter()
            .map(|&(priority, weight, port, target)| SrvRecord {
                priority,
                weight,
                port,
                target: target.into(),
            })
            .collect(),
    )
}

fn addresses(list: &[&str]) -> Answer {
    Answer::Addresses(list.iter().map(|a| a.parse().unwrap()).collect())
}

fn only(transports: &[Transport]) -> TransportPolicy {
    TransportPolicy {
        transports: transports.to_vec(),
        naptr: true,
    }
}

#[test]
fn numeric_hosts_ask_nothing() {
    let all = TransportPolicy::default();
    for (hop, expected) in [
        ("sip:192.0.2.1", "UDP 192.0.2.1:5060 192.0.2.1"),
        ("sip:192.0.2.1:5070", "UDP 192.0.2.1:5070 192.0.2.1"),
        (
            "sip:[2001:db8::1]/tcp",
            "TCP [2001:db8::1]:5060 2001:db8::1",
        ),
        ("sips:192.0.2.1", "TLS 192.0.2.1:5061 192.0.2.1"),
        ("sip:192.0.2.1/tls", "TLS 192.0.2.1:5061 192.0.2.1"),
        ("sips:192.0.2.1:5071/tcp", "TLS 192.0.2.1:5071 192.0.2.1"),
    ] {
        assert_eq!(
            run(hop, &all, &[]),
            (vec![], Ok(vec![expected.to_owned()])),
            "{hop}"
        );
    }
}

#[test]
fn a_written_port_asks_addresses_only() {
    let zone = [(host("a.test"), addresses(&["192.0.2.1", "2001:db8::1"]))];
    let (asked, targets) = run("sip:A.test.:5070/tcp", &TransportPolicy::default(), &zone);
    assert_eq!(asked, [host("a.test")]);
    assert_eq!(
        targets.unwrap(),
        ["TCP 192.0.2.1:5070 a.test", "TCP [2001:db8::1]:5070 a.test"]
    );
}

#[test]
fn a_written_transport_asks_its_srv_then_addresses() {
    let (asked, targets) = run("sip:a.test/tcp", &TransportPolicy::default(), &[]);
    assert_eq!(asked, [srv("_sip._tcp.a.test"), host("a.test")]);
    assert_eq!(targets, Err(TargetError::NotFound));
}

#[test]
fn without_records_every_transport_is_asked_in_our_order() {
    let zone = [(host("a.test"), addresses(&["192.0.2.1"]))];
    let (asked, targets) = run("sip:a.test", &TransportPolicy::default(), &zone);
    assert_eq!(
        asked,
        [
            naptr("a.test"),
            srv("_sips._tcp.a.test"),
            srv("_sipfederationtls._tcp.a.test"),
            srv("_sip._tcp.a.test"),
            srv("_sip._udp.a.test"),
            host("a.test"),
        ]
    );
    assert_eq!(targets.unwrap(), ["UDP 192.0.2.1:5060 a.test"]);
    let (_, targets) = run("sip:a.test", &only(&[Transport::Tls]), &zone);
    assert_eq!(targets.unwrap(), ["TLS 192.0.2.1:5061 a.test"]);
}

#[test]
fn naptr_decides_the_transport_by_the_peers_order() {
    let record = |order, preference, service: &str, replacement: &str, flags: &str| NaptrRecord {
        order,
        preference,
        flags: flags.into(),
        service: service.into(),
        regexp: String::new(),
        replacement: replacement.into(),
    };
    let zone = [
        (
            naptr("a.test"),
            Answer::Naptr(vec![
                record(50, 60, "SIP+D2U", "_sip._udp.b.test", "s"),
                record(50, 50, "sip+d2t", "_sip._tcp.b.test.", "S"),
                record(10, 10, "SIP+D2S", "_sip._sctp.b.test", "s"),
                record(10, 10, "SIPS+D2T", "b.test", "u"),
            ]),
        ),
        (
            srv("_sip._tcp.b.test"),
            records(&[(1, 0, 5068, "s1.b.test."), (2, 0, 5069, "s2.b.test")]),
        ),
        (host("s1.b.test"), addresses(&["192.0.2.1"])),
        (host("s2.b.test"), addresses(&["192.0.2.2"])),
    ];
    let (asked, targets) = run("sip:a.test", &TransportPolicy::default(), &zone);
    assert_eq!(
        asked,
        [
            naptr("a.test"),
            srv("_sip._tcp.b.test"),
            host("s1.b.test"),
            host("s2.b.test")
        ]
    );
    assert_eq!(
        targets.unwrap(),
        ["TCP 192.0.2.1:5068 a.test", "TCP 192.0.2.2:5069 a.test"],
        "the name to check is the domain asked for, not what the DNS says"
    );
}

#[test]
fn failures_say_whose_fault_they_are() {
    let all = TransportPolicy::default();
    let long = format!("sip:{}.test", "a".repeat(64));
    let failed = [(srv("_sip._tcp.a.test"), Answer::Failed)];
    let closed = [(srv("_sip._tcp.a.test"), records(&[(0, 0, 0, ".")]))];
    let slow = [(host("a.test"), Answer::Failed)];
    for (hop, policy, zone, expected) in [
        ("sip:a..test", &all, &[][..], TargetError::BadHost),
        ("sip:a%00.test", &all, &[], TargetError::BadHost),
        ("sip:", &all, &[], TargetError::BadHost),
        (&long, &all, &[], TargetError::BadHost),
        ("sip:a.test/tcp", &all, &failed, TargetError::Temporary),
        ("sip:a.test/tcp", &all, &closed, TargetError::NotOffered),
        ("sip:a.test:5060", &all, &slow, TargetError::Temporary),
        (
            "sips:a.test",
            &only(&[Transport::Udp, Transport::Tcp]),
            &[],
            TargetError::NoCommonTransport,
        ),
        (
            "sip:192.0.2.1/udp",
            &only(&[Transport::Tls]),
            &[],
            TargetError::NoCommonTransport,
        ),
    ] {
        assert_eq!(run(hop, policy, zone).1, Err(expected), "{hop}");
    }
}

#[test]
fn long_answers_are_cut() {
    let many: Vec<String> = (0..200).map(|n| format!("192.0.2.{n}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let zone = [(host("a.test"), addresses(&many))];
    let (_, targets) = run("sip:a.test:5060", &TransportPolicy::default(), &zone);
    assert_eq!(targets.unwrap().len(), MAX_TARGETS);
}

#[test]
fn weights_share_the_first_place_and_priorities_come_first() {
    let list = [
        (1, 30, 1, "a"),
        (1, 10, 2, "b"),
        (1, 0, 3, "c"),
        (0, 0, 4, "d"),
    ];
    let Answer::Srv(list) = records(&list) else {
        unreachable!()
    };
    let mut entropy = SeededEntropy(7);
    let mut second = [0u32; 5];
    for _ in 0..4000 {
        let ordered = order_srv(list.clone(), &mut entropy);
        assert_eq!(ordered.len(), 4);
        assert_eq!(ordered[0].port, 4);
        second[usize::from(ordered[1].port)] += 1;
    }
    assert!((2700..3200).contains(&second[1]), "{second:?}");
    assert!((800..1200).contains(&second[2]), "{second:?}");
    assert!((20..300).contains(&second[3]), "{second:?}");
}

#[test]
fn an_edge_is_found_by_its_federation_record_and_known_by_its_own_name() {
    let tls = only(&[Transport::Tls]);
    let federation = srv("_sipfederationtls._tcp.ocs.test");
    let edges = records(&[
        (0, 0, 5061, "Edge.OCS.test."),
        (1, 0, 5061, "edge.other.test"),
    ]);
    let zone = [
        (federation.clone(), edges),
        (host("edge.ocs.test"), addresses(&["192.0.2.1"])),
        (host("edge.other.test"), addresses(&["192.0.2.2"])),
    ];
    let (asked, targets) = run("sip:ocs.test", &tls, &zone);
    let order = [
        naptr("ocs.test"),
        srv("_sips._tcp.ocs.test"),
        federation.clone(),
        host("edge.ocs.test"),
        host("edge.other.test"),
    ];
    assert_eq!(asked, order);
    // A host of another domain has to show the certificate of the domain itself.
    let expected = [
        "TLS 192.0.2.1:5061 edge.ocs.test",
        "TLS 192.0.2.2:5061 ocs.test",
    ];
    assert_eq!(targets.unwrap(), expected);
}

#[test]
fn the_record_of_rfc_3263_comes_before_the_federation_record() {
    let both = [
        (
            srv("_sips._tcp.ocs.test"),
            records(&[(0, 0, 5061, "sip.ocs.test")]),
        ),
        (
            srv("_sipfederationtls._tcp.ocs.test"),
            records(&[(0, 0, 5061, "edge.ocs.test")]),
        ),
        (host("sip.ocs.test"), addresses(&["192.0.2.1"])),
    ];
    let (asked, targets) = run("sip:ocs.test", &only(&[Transport::Tls]), &both);
    assert!(!asked.contains(&srv("_sipfederationtls._tcp.ocs.test")));
    assert_eq!(targets.unwrap(), ["TLS 192.0.2.1:5061 ocs.test"]);
}
