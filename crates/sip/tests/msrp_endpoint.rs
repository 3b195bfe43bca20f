//! The rules of MSRP endpoints, as transcripts on virtual time.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests may fail a test"
)]

mod msrp_invariants;

use std::time::Duration;

use bytes::Bytes;
use msrp_invariants::{frames, plan};
use stox_core::time::{Now, SeededEntropy};
use stox_sip::msrp::endpoint::*;
use stox_sip::msrp::frame::{FailureReport, Flag, Frame, Method, Start, Status};
use stox_sip::msrp::uri::MsrpUri;
use stox_sip::transport::FlowId;

const A: FlowId = FlowId(1);
const B: FlowId = FlowId(2);

struct Scene {
    endpoint: Endpoint,
    now: Now,
}

impl Scene {
    fn new(settings: Settings) -> Self {
        let endpoint = Endpoint::new(settings, Box::new(SeededEntropy(3)));
        Self {
            endpoint,
            now: Now::default(),
        }
    }

    /// A session that waits, and a connection.
    fn waiting() -> (Self, Channel) {
        Self::waiting_with(Settings::default())
    }

    fn waiting_with(settings: Settings) -> (Self, Channel) {
        let mut scene = Self::new(settings);
        let channel = scene.endpoint.open(plan(), scene.now);
        scene.endpoint.accepted(A, false, None, scene.now);
        (scene, channel)
    }

    /// A session that we dialled; the first SEND is taken off.
    fn dialled_with(settings: Settings) -> (Self, Channel) {
        let mut scene = Self::new(settings);
        let plan = Plan {
            role: Role::Dials,
            ..plan()
        };
        let channel = scene.endpoint.open(plan, scene.now);
        let dial = scene.endpoint.poll_dial().unwrap();
        assert_eq!(
            dial.target,
            MsrpUri::parse("msrp://peer.example:7654/theirs56;tcp").unwrap()
        );
        scene.endpoint.dialled(dial.id, Ok(A), scene.now);
        assert_eq!(scene.events(), [Event::Up(channel)]);
        let first = scene.one(A);
        assert_eq!(
            (first.head.method(), &first.body),
            (Some(&Method::Send), &None)
        );
        scene.respond(A, &first, 200);
        (scene, channel)
    }

    fn dialled() -> (Self, Channel) {
        Self::dialled_with(Settings::default())
    }

    fn put(&mut self, flow: FlowId, text: &str) {
        self.endpoint.receive(flow, text.as_bytes(), self.now);
    }

    fn respond(&mut self, flow: FlowId, request: &Frame, code: u16) {
        let response = Frame::bare(request.head.response(Status::new(code)));
        self.endpoint.receive(flow, &response.to_bytes(), self.now);
    }

    fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.endpoint.poll_event()).collect()
    }

    /// What goes out on a connection now; all of it is written at once.
    fn out(&mut self, flow: FlowId) -> Vec<Frame> {
        let mut all = vec![];
        while let Some((to, octets)) = self.endpoint.poll_transmit() {
            assert_eq!(to, flow);
            let (whole, error) = frames(&octets, &[]);
            assert_eq!(error, None);
            all.extend(whole.into_iter().map(|(frame, defect)| {
                assert_eq!(defect, None);
                frame
            }));
            self.endpoint.written(to, octets.len(), self.now);
        }
        all
    }

    fn one(&mut self, flow: FlowId) -> Frame {
        let mut all = self.out(flow);
        assert_eq!(all.len(), 1, "{all:?}");
        all.remove(0)
    }

    /// The codes of the responses that go out.
    fn codes(&mut self, flow: FlowId) -> Vec<u16> {
        let code = |frame: Frame| match frame.head.start {
            Start::Response(status) => status.code,
            Start::Request(method) => panic!("{method:?}"),
        };
        self.out(flow).into_iter().map(code).collect()
    }

    fn closes(&mut self) -> Vec<FlowId> {
        std::iter::from_fn(|| self.endpoint.poll_close()).collect()
    }

    fn wait(&mut self, seconds: u64) {
        self.now = self.now.after(Duration::from_secs(seconds));
        self.endpoint.handle_timeout(self.now);
    }
}

const PATHS: &str = "To-Path: msrp://us.example:2855/ours1234;tcp\r\n\
    From-Path: msrp://peer.example:7654/theirs56;tcp\r\n";

fn send(id: &str, range: &str, lines: &str, body: &str, flag: char) -> String {
    format!(
        "MSRP tr{id} SEND\r\n{PATHS}Message-ID: {id}\r\nByte-Range: {range}\r\n{lines}Content-Type: text/plain\r\n\r\n{body}\r\n-------tr{id}{flag}\r\n"
    )
}

fn bare(method: &str, lines: &str) -> String {
    format!("MSRP tid1 {method}\r\n{PATHS}{lines}-------tid1$\r\n")
}

fn bind() -> String {
    bare("SEND", "Message-ID: bind\r\n")
}

fn message(id: &str, body: &str) -> Message {
    Message {
        id: id.to_owned(),
        content_type: "text/plain".to_owned(),
        body: Bytes::from(body.to_owned()),
        success_report: false,
        failure_report: FailureReport::Yes,
        hint: Some(format!("h{id}")),
    }
}

fn sent(channel: Channel, id: &str, outcome: Result<(), Fault>) -> Event {
    Event::Sent {
        channel,
        message_id: id.to_owned(),
        outcome,
    }
}

fn received(events: &[Event]) -> (DeliveryId, Received) {
    let mut found = events.iter().filter_map(|event| match event {
        Event::Received {
            delivery, message, ..
        } => Some((*delivery, message.clone())),
        _ => None,
    });
    let first = found.next().expect("a message");
    assert_eq!(found.next(), None);
    first
}

#[test]
fn the_first_send_binds_and_an_empty_one_is_no_message() {
    let (mut scene, channel) = Scene::waiting();
    scene.put(A, &bind());
    assert_eq!(scene.events(), [Event::Up(channel)]);
    assert_eq!(scene.codes(A), [200]);
    scene.put(A, &send("mess", "1-0/0", "", "", '$'));
    assert_eq!((scene.events(), scene.codes(A)), (vec![], vec![200]));
}

#[test]
fn requests_for_other_sessions() {
    let (mut scene, _) = Scene::waiting();
    for (ours, theirs) in [("ours1234", "other"), ("ours9999", "theirs56")] {
        scene.put(
            A,
            &bind().replace("ours1234", ours).replace("theirs56", theirs),
        );
        assert_eq!((scene.events(), scene.codes(A)), (vec![], vec![481]));
    }
    scene.put(A, &bind());
    scene.endpoint.accepted(B, false, None, scene.now);
    assert_eq!((scene.codes(A), scene.events().len()), (vec![200], 1));
    scene.put(B, &bind());
    assert_eq!((scene.events(), scene.codes(B)), (vec![], vec![506]));
}

#[test]
fn what_is_refused_whatever_the_session() {
    let (mut scene, _) = Scene::waiting();
    scene.put(A, &bare("FOO", ""));
    scene.put(A, &bare("AUTH", ""));
    scene.put(A, &bare("SEND", ""));
    scene.put(A, &bare("SEND", "Failure-Report: no\r\n"));
    scene.put(A, &bare("REPORT", ""));
    assert_eq!(scene.codes(A), [501, 501, 400]);
    scene.put(A, "GET / HTTP/1.0\r\n");
    assert_eq!(scene.closes(), [A]);
}

#[test]
fn the_response_to_a_message_is_held() {
    let (mut scene, _) = Scene::waiting();
    scene.put(
        A,
        &send("mess", "1-2/2", "Success-Report: yes\r\n", "Hi", '$'),
    );
    let (delivery, message) = received(&scene.events());
    assert_eq!(
        (message.body.as_ref(), message.success_report),
        (b"Hi".as_slice(), true)
    );
    assert_eq!(scene.out(A), []);
    scene.endpoint.answer(delivery, Status::new(415), scene.now);
    let response = scene.one(A);
    assert_eq!(response.head.transaction, "trmess");
    assert_eq!(response.head.start, Start::Response(Status::new(415)));
    scene.endpoint.answer(delivery, Status::new(200), scene.now);
    assert_eq!(scene.out(A), []);
}

#[test]
fn who_wants_no_response_gets_none() {
    for (wish, code, codes) in [
        ("no", 200, vec![]),
        ("no", 403, vec![]),
        ("partial", 200, vec![]),
        ("partial", 403, vec![403]),
    ] {
        let (mut scene, _) = Scene::waiting();
        scene.put(
            A,
            &send(
                "mess",
                "1-2/2",
                &format!("Failure-Report: {wish}\r\n"),
                "Hi",
                '$',
            ),
        );
        let (delivery, _) = received(&scene.events());
        scene
            .endpoint
            .answer(delivery, Status::new(code), scene.now);
        assert_eq!(scene.codes(A), codes, "{wish} {code}");
    }
}

#[test]
fn a_late_failure_is_reported() {
    for (wish, reports) in [("yes", 1), ("partial", 1), ("no", 0)] {
        let (mut scene, _) = Scene::waiting();
        scene.put(
            A,
            &send(
                "mess",
                "1-2/2",
                &format!("Failure-Report: {wish}\r\n"),
                "Hi",
                '$',
            ),
        );
        let (delivery, _) = received(&scene.events());
        scene.wait(25);
        assert_eq!(scene.codes(A).len(), usize::from(wish == "yes"));
        scene.endpoint.answer(delivery, Status::new(403), scene.now);
        let out = scene.out(A);
        assert_eq!(out.len(), reports);
        for report in out {
            assert_eq!(report.head.status().unwrap().unwrap().code, 403);
            assert_eq!(report.head.message_id(), Ok(Some("mess")));
            assert_eq!(report.head.headers.get("Byte-Range"), Some("1-2/2"));
        }
    }
}

#[test]
fn chunks_of_two_messages_interleaved_and_out_of_order() {
    let (mut scene, _) = Scene::waiting();
    scene.put(A, &send("mess1", "5-8/8", "", "efgh", '$'));
    scene.put(A, &send("mess2", "1-*/*", "", "ab", '+'));
    scene.put(A, &send("mess3", "1-*/9", "", "ab", '#'));
    assert_eq!((scene.codes(A), scene.events().len()), (vec![200; 3], 1));
    scene.put(A, &send("mess1", "1-5/8", "", "abcdE", '+'));
    assert_eq!(received(&scene.events()).1.body, "abcdEfgh");
    scene.put(A, &send("mess2", "3-*/*", "", "cd", '$'));
    assert_eq!(received(&scene.events()).1.body, "abcd");
    assert_eq!(scene.endpoint.status().assemblies, 0);
}

#[test]
fn what_is_too_large_is_refused_at_once() {
    let settings = Settings {
        max_message: 4,
        ..Settings::default()
    };
    let (mut scene, _) = Scene::waiting_with(settings);
    let announced = send("mess1", "1-*/5", "", "ab", '+');
    let (start, rest) = announced.split_at(announced.len() - 20);
    scene.put(A, start);
    assert_eq!(scene.codes(A), [413]);
    scene.put(A, rest);
    scene.put(A, &send("mess1", "3-*/*", "", "c", '$'));
    assert_eq!(scene.codes(A), [413]);
    let real = send("mess2", "1-*/*", "", &"x".repeat(200), '$');
    let (start, rest) = real.split_at(real.len() - 100);
    scene.put(A, start);
    assert_eq!(scene.codes(A), [413]);
    scene.put(A, rest);
    scene.put(A, &send("mess3", "1-4/4", "", "abcd", '$'));
    assert_eq!(received(&scene.events()).1.body, "abcd");
}

#[test]
fn limits_of_a_session() {
    let settings = Settings {
        assemblies: 1,
        deliveries: 1,
        ..Settings::default()
    };
    let (mut scene, _) = Scene::waiting_with(settings);
    scene.put(A, &send("mess1", "1-*/9", "", "ab", '+'));
    scene.put(A, &send("mess2", "1-2/2", "", "ab", '$'));
    assert_eq!(scene.codes(A), [200, 413]);
    scene.wait(300);
    let report = scene.one(A);
    assert_eq!(report.head.status().unwrap().unwrap().code, 408);
    scene.put(A, &send("mess3", "1-2/2", "", "ab", '$'));
    scene.put(A, &send("mess4", "1-2/2", "", "ab", '$'));
    assert_eq!(scene.codes(A), [413]);
}

#[test]
fn a_message_goes_out_in_chunks() {
    let (mut scene, channel) = Scene::dialled_with(Settings {
        chunk: 4,
        ..Settings::default()
    });
    scene
        .endpoint
        .send(channel, message("mess", "abcdefghi"), scene.now);
    let out = scene.out(A);
    let seen: Vec<_> = out
        .iter()
        .map(|frame| {
            (
                frame.head.headers.get("Byte-Range").unwrap(),
                frame.body.as_deref().unwrap(),
                frame.flag,
            )
        })
        .collect();
    assert_eq!(
        seen,
        [
            ("1-4/9", b"abcd".as_slice(), Flag::More),
            ("5-8/9", b"efgh".as_slice(), Flag::More),
            ("9-9/9", b"i".as_slice(), Flag::Complete),
        ]
    );
    assert_eq!(out[0].head.transaction, "hmess");
    scene.respond(A, &out[2], 200);
    scene.respond(A, &out[0], 200);
    assert_eq!(scene.events(), []);
    scene.respond(B, &out[1], 200);
    assert_eq!(scene.events(), []);
    scene.respond(A, &out[1], 200);
    scene.respond(A, &out[1], 200);
    assert_eq!(scene.events(), [sent(channel, "mess", Ok(()))]);
}

#[test]
fn a_refusal_stops_the_rest() {
    for code in [408, 413, 415] {
        let (mut scene, channel) = Scene::dialled_with(Settings {
            chunk: 4,
            window: 1,
            ..Settings::default()
        });
        scene
            .endpoint
            .send(channel, message("mess1", "abcdefghi"), scene.now);
        let (_, octets) = scene.endpoint.poll_transmit().unwrap();
        let first = frames(&octets, &[]).0.remove(0).0;
        scene.respond(A, &first, code);
        let fault = Fault::Refused(Status::new(code));
        assert_eq!(scene.events(), [sent(channel, "mess1", Err(fault))]);
        scene.endpoint.written(A, octets.len(), scene.now);
        assert_eq!(scene.out(A), []);
        assert_eq!(scene.endpoint.status().queued, 0);
    }
}

#[test]
fn silence_is_a_timeout_and_the_rest_is_given_up() {
    let (mut scene, channel) = Scene::dialled_with(Settings {
        chunk: 4,
        window: 1,
        ..Settings::default()
    });
    scene
        .endpoint
        .send(channel, message("mess", "abcdefghi"), scene.now);
    let (_, octets) = scene.endpoint.poll_transmit().unwrap();
    scene.wait(29);
    assert_eq!(scene.events(), []);
    scene.wait(1);
    assert_eq!(scene.events(), [sent(channel, "mess", Err(Fault::Timeout))]);
    scene.endpoint.written(A, octets.len(), scene.now);
    let abort = scene.one(A);
    assert_eq!((abort.flag, abort.body), (Flag::Aborted, None));
}

#[test]
fn messages_that_want_no_response() {
    let (mut scene, channel) = Scene::dialled();
    let no = Message {
        failure_report: FailureReport::No,
        ..message("mess1", "Hi")
    };
    scene.endpoint.send(channel, no, scene.now);
    assert_eq!(scene.events(), []);
    scene.one(A);
    assert_eq!(scene.events(), [sent(channel, "mess1", Ok(()))]);
    let partial = Message {
        failure_report: FailureReport::Partial,
        ..message("mess2", "Hi")
    };
    scene.endpoint.send(channel, partial, scene.now);
    scene.one(A);
    assert_eq!(scene.events(), []);
    scene.wait(30);
    assert_eq!(scene.events(), [sent(channel, "mess2", Ok(()))]);
}

#[test]
fn a_session_that_the_peer_does_not_know_is_down() {
    for code in [481, 506] {
        let (mut scene, channel) = Scene::dialled();
        scene
            .endpoint
            .send(channel, message("mess", "Hi"), scene.now);
        let chunk = scene.one(A);
        scene.respond(A, &chunk, code);
        let fault = Fault::Refused(Status::new(code));
        let events = [
            sent(channel, "mess", Err(fault.clone())),
            Event::Down { channel, fault },
        ];
        assert_eq!(scene.events(), events);
        assert_eq!(scene.closes(), [A]);
        assert!(scene.endpoint.is_empty());
    }
}

#[test]
fn what_is_told_when_a_connection_goes_or_never_comes() {
    let (mut scene, channel) = Scene::dialled_with(Settings {
        chunk: 1,
        window: 1,
        ..Settings::default()
    });
    scene
        .endpoint
        .send(channel, message("mess1", "Hi"), scene.now);
    scene
        .endpoint
        .send(channel, message("mess2", "Hi"), scene.now);
    scene.endpoint.nickname(channel, "N", scene.now);
    scene.put(A, &send("mess", "1-2/2", "", "Hi", '$'));
    let (delivery, _) = received(&scene.events());
    scene.endpoint.closed(A, scene.now);
    assert_eq!(
        scene.events(),
        [
            Event::Abandoned { delivery },
            Event::NicknameSettled {
                channel,
                outcome: Err(Fault::Lost)
            },
            sent(channel, "mess1", Err(Fault::Lost)),
            sent(channel, "mess2", Err(Fault::NotSent)),
            Event::Down {
                channel,
                fault: Fault::Lost
            },
        ]
    );
    scene
        .endpoint
        .send(channel, message("mess3", "Hi"), scene.now);
    assert_eq!(scene.events(), [sent(channel, "mess3", Err(Fault::Closed))]);

    let channel = scene.endpoint.open(
        Plan {
            role: Role::Dials,
            ..plan()
        },
        scene.now,
    );
    scene
        .endpoint
        .send(channel, message("mess", "Hi"), scene.now);
    let dial = scene.endpoint.poll_dial().unwrap();
    scene.endpoint.dialled(dial.id, Err(()), scene.now);
    assert_eq!(
        scene.events(),
        [
            sent(channel, "mess", Err(Fault::NotSent)),
            Event::Down {
                channel,
                fault: Fault::NotSent
            }
        ]
    );

    let (mut scene, channel) = Scene::waiting();
    scene.wait(30);
    assert_eq!(
        scene.events(),
        [Event::Down {
            channel,
            fault: Fault::Timeout
        }]
    );
    assert_eq!(scene.closes(), [A]);
}

#[test]
fn reports_count_when_they_cover_the_message() {
    let (mut scene, channel) = Scene::dialled();
    scene.endpoint.send(
        channel,
        Message {
            success_report: true,
            ..message("mess", "abcdef")
        },
        scene.now,
    );
    assert_eq!(scene.one(A).head.success_report(), Ok(true));
    let report = |range, code| {
        bare(
            "REPORT",
            &format!("Message-ID: mess\r\nByte-Range: {range}\r\nStatus: 000 {code} x\r\n"),
        )
    };
    scene.put(A, &report("1-3/6", 200));
    scene.put(A, &report("5-6/6", 200));
    scene.put(A, &report("1-3/6", 200).replace("mess", "other"));
    assert_eq!((scene.events(), scene.out(A)), (vec![], vec![]));
    scene.put(A, &report("4-4/6", 200));
    scene.put(A, &report("1-6/6", 200));
    let status = Status {
        code: 200,
        comment: "x".to_owned(),
    };
    assert_eq!(
        scene.events(),
        [Event::Report {
            channel,
            message_id: "mess".to_owned(),
            status
        }]
    );
    assert_eq!(scene.out(A), []);
}

#[test]
fn nicknames_both_ways() {
    let (mut scene, channel) = Scene::dialled();
    scene.endpoint.nickname(channel, "Al \"A\" Ice", scene.now);
    let request = scene.one(A);
    assert_eq!(
        request.head.use_nickname().unwrap().unwrap(),
        "Al \"A\" Ice"
    );
    scene.respond(A, &request, 425);
    let outcome = Err(Fault::Refused(Status::new(425)));
    assert_eq!(
        scene.events(),
        [Event::NicknameSettled { channel, outcome }]
    );
    scene.put(A, &bare("NICKNAME", "Use-Nickname: \"Bob\"\r\n"));
    let [
        Event::Nickname {
            delivery, nickname, ..
        },
    ] = &scene.events()[..]
    else {
        panic!("no nickname")
    };
    assert_eq!(nickname, "Bob");
    scene
        .endpoint
        .answer(*delivery, Status::new(200), scene.now);
    assert_eq!(scene.codes(A), [200]);
}

#[test]
fn the_certificate_must_be_the_one_of_the_plan() {
    let print = |octet| Fingerprint {
        hash: HashFunction::Sha256,
        octets: vec![octet; 32],
    };
    for (secure, shown, code) in [
        (true, Some(vec![print(2), print(1)]), 200),
        (true, Some(vec![print(2)]), 403),
        (true, None, 403),
        (false, None, 403),
    ] {
        let mut scene = Scene::new(Settings::default());
        let proof = Proof {
            fingerprints: vec![print(1)],
            name: "peer.example".to_owned(),
        };
        scene.endpoint.open(
            Plan {
                security: Security::Tls(proof),
                ..plan()
            },
            scene.now,
        );
        scene.endpoint.accepted(A, secure, shown, scene.now);
        scene.put(A, &bind());
        assert_eq!(scene.codes(A), [code]);
        assert_eq!(scene.closes().len(), usize::from(code == 403));
        let told = |event: &Event| matches!(event, Event::Impostor { .. });
        let told = scene.events().iter().any(told);
        assert_eq!(
            told,
            secure && code == 403,
            "without TLS there is no certificate"
        );
    }
}

#[test]
fn sessions_to_the_same_place_share_a_connection() {
    let (mut scene, first) = Scene::dialled();
    let second = Plan {
        local: MsrpUri::parse("msrp://us.example:2855/second;tcp").unwrap(),
        remote: vec![MsrpUri::parse("msrp://PEER.example:7654/elsewhere;tcp").unwrap()],
        role: Role::Dials,
        ..plan()
    };
    let second = scene.endpoint.open(second, scene.now);
    assert_eq!(scene.endpoint.poll_dial(), None);
    assert_eq!(scene.events(), [Event::Up(second)]);
    scene.one(A);
    scene.endpoint.close(first, scene.now);
    assert_eq!(scene.closes(), []);
    scene.endpoint.close(second, scene.now);
    assert_eq!(scene.closes(), [A]);
    assert!(scene.endpoint.is_empty());
}

#[test]
fn a_connection_that_a_peer_has_opened_does_not_lead_to_the_host_it_claims() {
    let (mut scene, _) = Scene::waiting();
    // Whoever this is says that he is `peer.example`.
    scene.put(A, &bind());
    assert_eq!((scene.codes(A), scene.events().len()), (vec![200], 1));
    let other = Plan {
        local: MsrpUri::parse("msrp://us.example:2855/second;tcp").unwrap(),
        remote: vec![MsrpUri::parse("msrp://peer.example:7654/elsewhere;tcp").unwrap()],
        role: Role::Dials,
        ..plan()
    };
    scene.endpoint.open(other, scene.now);
    assert!(scene.endpoint.poll_dial().is_some());
    assert_eq!((scene.events(), scene.out(A)), (vec![], vec![]));
}

#[test]
fn octets_that_one_session_hoards_are_there_for_others() {
    let (mut scene, _) = Scene::waiting_with(Settings {
        max_message: 1000,
        assembly_octets: 3000,
        ..Settings::default()
    });
    let second = Plan {
        local: MsrpUri::parse("msrp://us.example:2855/second;tcp").unwrap(),
        ..plan()
    };
    scene.endpoint.open(second, scene.now);
    scene.endpoint.accepted(B, false, None, scene.now);
    // One octet each, at the end of what is not there.
    for id in ["mes1", "mes2", "mes3"] {
        scene.put(A, &send(id, "1000-1000/1000", "", "x", '+'));
    }
    assert_eq!(scene.codes(A), [200, 200, 200]);
    // Its own next one finds no room.
    scene.put(A, &send("mes4", "1-2/2", "", "Hi", '$'));
    assert_eq!(scene.codes(A), [413]);
    scene.events();
    scene.put(
        B,
        &send("else", "1-2/2", "", "Hi", '$').replace("ours1234", "second"),
    );
    let (_, message) = received(&scene.events());
    assert_eq!(message.body.as_ref(), b"Hi");
    let report = scene.one(A);
    assert_eq!(report.head.method(), Some(&Method::Report));
    assert_eq!(report.head.message_id(), Ok(Some("mes1")));
    assert_eq!(report.head.status().unwrap().unwrap().code, 413);
    assert_eq!(scene.endpoint.status().assemblies, 2);
}

#[test]
fn a_message_behind_a_refused_first_send_is_refused() {
    let mut scene = Scene::new(Settings::default());
    let plan = Plan {
        role: Role::Dials,
        ..plan()
    };
    let channel = scene.endpoint.open(plan, scene.now);
    let dial = scene.endpoint.poll_dial().unwrap();
    scene.endpoint.dialled(dial.id, Ok(A), scene.now);
    let first = scene.one(A);
    scene
        .endpoint
        .send(channel, message("mess", "Hi"), scene.now);
    scene.one(A);
    scene.events();
    scene.respond(A, &first, 481);
    let fault = Fault::Refused(Status::new(481));
    let events = [
        sent(channel, "mess", Err(fault.clone())),
        Event::Down { channel, fault },
    ];
    assert_eq!(scene.events(), events);
}

#[test]
fn a_peer_that_does_not_read_loses_its_connection() {
    let settings = Settings {
        window: 1,
        control_queue: 1000,
        ..Settings::default()
    };
    let (mut scene, channel) = Scene::waiting_with(settings);
    for _ in 0..20 {
        scene.put(A, &bind());
    }
    assert_eq!(scene.closes(), [A]);
    assert_eq!(
        scene.events(),
        [
            Event::Up(channel),
            Event::Down {
                channel,
                fault: Fault::Lost
            }
        ]
    );
}

#[test]
fn limits_of_what_we_send() {
    let mut scene = Scene::new(Settings {
        channel_queue: 1000,
        ..Settings::default()
    });
    let channel = scene.endpoint.open(
        Plan {
            max_size: Some(900),
            ..plan()
        },
        scene.now,
    );
    for (octets, outcome) in [
        (901, Fault::TooLarge),
        (600, Fault::NotSent),
        (600, Fault::Overloaded),
    ] {
        scene
            .endpoint
            .send(channel, message("mess", &"x".repeat(octets)), scene.now);
        if outcome != Fault::NotSent {
            assert_eq!(scene.events(), [sent(channel, "mess", Err(outcome))]);
        }
    }
    scene.wait(30);
    assert_eq!(
        scene.events(),
        [
            sent(channel, "mess", Err(Fault::NotSent)),
            Event::Down {
                channel,
                fault: Fault::Timeout
            }
        ]
    );
}

#[test]
fn a_relay_is_asked_with_credentials_and_again_before_it_expires() {
    let mut scene = Scene::new(Settings::default());
    let uri = |text| MsrpUri::parse(text).unwrap();
    let credentials = Credentials {
        domain: "relay.example".to_owned(),
        realm: "r".to_owned(),
        username: "u".to_owned(),
        password: "p".to_owned(),
        over_plain: false,
    };
    let proof = Proof {
        fingerprints: vec![],
        name: "relay.example".to_owned(),
    };
    let security = Security::Tls(proof);
    let relay = uri("msrps://relay.example:9000;tcp");
    let id = scene.endpoint.authorise(
        relay,
        uri("msrps://us.example:1/ours;tcp"),
        credentials,
        security.clone(),
        scene.now,
    );
    let dial = scene.endpoint.poll_dial().unwrap();
    scene.endpoint.dialled(dial.id, Ok(A), scene.now);
    let plain = scene.one(A);
    assert_eq!(
        (plain.head.method(), plain.head.headers.len()),
        (Some(&Method::Auth), 0)
    );
    let answer = |request: &Frame, code, lines: &[(&str, &str)]| {
        let mut head = request.head.response(Status::new(code));
        lines
            .iter()
            .for_each(|(name, value)| head.headers.push(name, value));
        String::from_utf8(Frame::bare(head).to_bytes().to_vec()).unwrap()
    };
    let challenge = (
        "WWW-Authenticate",
        "Digest realm=\"r\", qop=\"auth\", nonce=\"n\"",
    );
    scene.put(A, &answer(&plain, 401, &[challenge]));
    let proven = scene.one(A);
    let authorization = proven.head.headers.get("Authorization").unwrap();
    assert!(
        authorization.contains("username=\"u\"")
            && authorization.contains("uri=\"msrps://relay.example:9000;tcp\"")
    );
    let path = "msrps://relay.example:9000/one;tcp";
    scene.put(
        A,
        &answer(&proven, 200, &[("Use-Path", path), ("Expires", "400")]),
    );
    assert_eq!(
        scene.events(),
        [Event::Relay {
            id,
            outcome: Ok(vec![uri(path)])
        }]
    );

    let through = Plan {
        relays: vec![uri(path)],
        role: Role::Dials,
        security,
        ..plan()
    };
    let channel = scene.endpoint.open(through, scene.now);
    assert_eq!(
        (scene.events(), scene.endpoint.poll_dial()),
        (vec![Event::Up(channel)], None)
    );
    let first = scene.one(A);
    assert_eq!(
        (first.head.to_path.len(), first.head.from_path.len()),
        (2, 1)
    );
    let text = bind().replace("From-Path: ", &format!("From-Path: {path} "));
    scene.put(A, &text);
    let response = scene.one(A);
    assert_eq!(response.head.to_path, [uri(path)]);
    scene.respond(A, &first, 200);

    scene.wait(300);
    let again = scene.one(A);
    scene.put(A, &answer(&again, 401, &[challenge]));
    let again = scene.one(A);
    scene.put(A, &answer(&again, 401, &[challenge]));
    assert!(matches!(
        &scene.events()[..],
        [Event::Relay {
            outcome: Err(Fault::Refused(_)),
            ..
        }]
    ));
}

#[test]
fn a_whole_conversation_however_it_is_cut() {
    let text = [
        bind(),
        send("mess1", "1-4/8", "", "abcd", '+'),
        bare("NICKNAME", "Use-Nickname: \"Bob\"\r\n"),
        send(
            "mess2",
            "1-*/*",
            "Failure-Report: no\r\n",
            "-------trmess2",
            '$',
        ),
        send("mess1", "5-8/8", "", "efgh", '$'),
    ];
    for size in 0..40 {
        msrp_invariants::stream(text.concat().as_bytes(), &[size]);
    }
}

#[test]
fn a_peer_that_connects_before_its_answer_is_here_waits_for_it() {
    let mut scene = Scene::new(Settings::default());
    scene.endpoint.expect("ours1234");
    scene.endpoint.accepted(A, false, None, scene.now);
    scene.put(A, &bind());
    scene.put(A, &send("mess1", "1-2/2", "", "hi", '$'));
    assert_eq!((scene.events(), scene.codes(A)), (vec![], vec![]));
    let channel = scene.endpoint.open(plan(), scene.now);
    let events = scene.events();
    assert_eq!(events[0], Event::Up(channel));
    let (delivery, message) = received(&events);
    assert_eq!(&message.body[..], b"hi");
    assert_eq!(scene.codes(A), [200]);
    scene.endpoint.answer(delivery, Status::ok(), scene.now);
    assert_eq!(scene.codes(A), [200]);
}

#[test]
fn what_waits_for_an_offer_that_comes_to_nothing_is_turned_away() {
    let mut scene = Scene::new(Settings::default());
    scene.endpoint.expect("ours1234");
    scene.endpoint.accepted(A, false, None, scene.now);
    scene.put(A, &bind());
    scene.endpoint.expect_no_more("ours1234", scene.now);
    assert_eq!((scene.events(), scene.codes(A)), (vec![], vec![481]));
    scene.put(A, &bind());
    assert_eq!(scene.codes(A), [481]);

    // Nobody makes us hold more than so much, or for longer than an unbound connection may last.
    scene.endpoint.expect("ours1234");
    scene.put(A, &bind());
    for _ in 0..40 {
        scene.put(A, &"x".repeat(2_000));
    }
    assert_eq!(scene.closes(), [A]);
    scene.endpoint.accepted(B, false, None, scene.now);
    scene.put(B, &bind());
    scene.wait(60);
    assert_eq!(scene.closes(), [B]);
    scene.endpoint.expect_no_more("ours1234", scene.now);
    assert!(scene.endpoint.is_empty());
}
