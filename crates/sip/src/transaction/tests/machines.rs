//! The four machines alone: inputs at their times, and all that must come out, to the last timer.

use std::time::Duration;

use super::strings;
use crate::transaction::client_machine::{ClientMachine, Kind};
use crate::transaction::server_machine::{Patience, ServerMachine};
use crate::transaction::timing::Timing;

const UDP: bool = false;
const TCP: bool = true;

fn ms(value: u64) -> Duration {
    Duration::from_millis(value)
}

/// Response statuses at their times → `<ms> <step>`, and `<ms> end`.
fn client(kind: Kind, reliable: bool, inputs: &[(u64, u16)]) -> Vec<String> {
    let mut machine = ClientMachine::start(kind, reliable, Timing::default(), Duration::ZERO);
    let mut log = Vec::new();
    let mut inputs = inputs.iter().peekable();
    let mut last = 0;
    loop {
        let due = machine.next_deadline().map(|d| d.as_millis() as u64);
        let (now, steps) = match (inputs.peek(), due) {
            (Some(&&(time, status)), due) if due.is_none_or(|d| time <= d) => {
                inputs.next();
                (time, machine.response(status, ms(time)))
            }
            (_, Some(due)) => (due, machine.expire(ms(due))),
            (_, None) => break,
        };
        log.extend(steps.iter().map(|step| format!("{now} {step:?}")));
        last = now;
    }
    log.push(format!("{last} {:?}", machine.state()));
    log
}

#[derive(Clone, Copy)]
enum In {
    Again,
    Respond(u16),
    Ack,
}

/// The same for a server.
fn server(kind: Kind, reliable: bool, linger: u64, inputs: &[(u64, In)]) -> Vec<String> {
    let patience = Patience {
        invite: Duration::from_secs(180),
        linger: ms(linger),
    };
    let timing = Timing::default();
    let mut machine = ServerMachine::start(kind, reliable, timing, patience, Duration::ZERO);
    let mut log = Vec::new();
    let mut inputs = inputs.iter().peekable();
    let mut last = 0;
    loop {
        let due = machine.next_deadline().map(|d| d.as_millis() as u64);
        let (now, steps) = match (inputs.peek(), due) {
            (Some(&&(time, input)), due) if due.is_none_or(|d| time <= d) => {
                inputs.next();
                let now = ms(time);
                let steps = match input {
                    In::Again => machine.retransmission(),
                    In::Respond(status) => machine.respond(status, now),
                    In::Ack => machine.acknowledge(now),
                };
                (time, steps)
            }
            (_, Some(due)) => (due, machine.expire(ms(due))),
            (_, None) => break,
        };
        log.extend(steps.iter().map(|step| format!("{now} {step:?}")));
        last = now;
    }
    log.push(format!("{last} {:?}", machine.state()));
    log
}

fn at_each(times: &[u64], step: &str) -> Vec<String> {
    times.iter().map(|t| format!("{t} {step}")).collect()
}

const TIMER_A: [u64; 6] = [500, 1500, 3500, 7500, 15_500, 31_500];
const TIMER_E: [u64; 10] = [
    500, 1500, 3500, 7500, 11_500, 15_500, 19_500, 23_500, 27_500, 31_500,
];

#[test]
fn invite_client_timers_a_and_b() {
    let mut expected = at_each(&TIMER_A, "Send");
    expected.extend(strings(&["32000 TimeOut", "32000 Terminated"]));
    assert_eq!(client(Kind::Invite, UDP, &[]), expected);
    assert_eq!(
        client(Kind::Invite, TCP, &[]),
        ["32000 TimeOut", "32000 Terminated"]
    );
}

#[test]
fn invite_client_transitions() {
    for (reliable, inputs, expected) in [
        // A provisional response stops timers A and B for good.
        (
            UDP,
            &[(600, 100), (90_000, 180), (100_000, 200)][..],
            &[
                "500 Send",
                "600 Deliver",
                "90000 Deliver",
                "100000 Deliver",
                "132000 Terminated",
            ][..],
        ),
        // Accepted: each 2xx goes up, whatever the transport; other finals are ignored (timer M).
        (
            TCP,
            &[(10, 200), (500, 200), (600, 486), (700, 180)],
            &["10 Deliver", "500 Deliver", "32010 Terminated"],
        ),
        // Completed: repeated finals are acknowledged and not told again (timer D).
        (
            UDP,
            &[(10, 486), (510, 486), (520, 200), (530, 180)],
            &[
                "10 Acknowledge",
                "10 Deliver",
                "510 Acknowledge",
                "32010 Terminated",
            ],
        ),
        // Timer D is zero on a reliable transport.
        (
            TCP,
            &[(5, 180), (10, 603), (510, 603)],
            &[
                "5 Deliver",
                "10 Acknowledge",
                "10 Deliver",
                "510 Terminated",
            ],
        ),
    ] {
        assert_eq!(client(Kind::Invite, reliable, inputs), expected);
    }
}

#[test]
fn other_client_timers_e_and_f() {
    let mut expected = at_each(&TIMER_E, "Send");
    expected.extend(strings(&["32000 TimeOut", "32000 Terminated"]));
    assert_eq!(client(Kind::NonInvite, UDP, &[]), expected);
    assert_eq!(
        client(Kind::NonInvite, TCP, &[]),
        ["32000 TimeOut", "32000 Terminated"]
    );
}

#[test]
fn other_client_transitions() {
    for (reliable, inputs, expected) in [
        // Timer K absorbs repeated finals.
        (
            UDP,
            &[(700, 200), (710, 200), (5600, 486)][..],
            &["500 Send", "700 Deliver", "5700 Terminated"][..],
        ),
        // Timer K is zero on a reliable transport.
        (
            TCP,
            &[(700, 404), (701, 404)],
            &["700 Deliver", "701 Terminated"],
        ),
        // A provisional response makes timer E T2 after the one that runs, and leaves timer F.
        (
            UDP,
            &[(600, 100), (10_000, 100), (12_000, 202)],
            &[
                "500 Send",
                "600 Deliver",
                "1500 Send",
                "5500 Send",
                "9500 Send",
                "10000 Deliver",
                "12000 Deliver",
                "17000 Terminated",
            ],
        ),
        (
            TCP,
            &[(31_999, 100)],
            &["31999 Deliver", "32000 TimeOut", "32000 Terminated"],
        ),
    ] {
        assert_eq!(client(Kind::NonInvite, reliable, inputs), expected);
    }
}

#[test]
fn invite_server_transitions() {
    use In::{Ack, Again, Respond};
    let g = |from: u64, list: &[u64]| -> Vec<String> {
        at_each(&list.iter().map(|t| t + from).collect::<Vec<_>>(), "Resend")
    };
    // Nothing but the layer's own 100, and the end of patience.
    assert_eq!(
        server(Kind::Invite, UDP, 0, &[(100, Again), (300, Again)]),
        [
            "200 SendTrying",
            "300 Resend",
            "180000 Unanswered",
            "185000 Terminated"
        ]
    );
    // Completed: timers G and H.
    let mut expected = strings(&["10 Send"]);
    expected.extend(g(10, &TIMER_E));
    expected.extend(strings(&["32010 Unacknowledged", "37010 Terminated"]));
    assert_eq!(
        server(Kind::Invite, UDP, 0, &[(10, Respond(486))]),
        expected
    );
    // On a reliable transport there is no timer G, and timer I is zero.
    assert_eq!(
        server(Kind::Invite, TCP, 0, &[(10, Respond(486))]),
        ["10 Send", "32010 Unacknowledged", "32010 Terminated"]
    );
    assert_eq!(
        server(Kind::Invite, TCP, 0, &[(10, Respond(486)), (20, Ack)]),
        ["10 Send", "20 Terminated"]
    );
    // Confirmed absorbs everything until timer I.
    assert_eq!(
        server(
            Kind::Invite,
            UDP,
            0,
            &[
                (10, Respond(180)),
                (20, Again),
                (30, Respond(486)),
                (40, Respond(200)),
                (50, Again),
                (60, Ack),
                (70, Again),
                (80, Ack),
            ]
        ),
        [
            "10 Send",
            "20 Resend",
            "30 Send",
            "50 Resend",
            "5060 Terminated"
        ]
    );
}

#[test]
fn invite_server_accepted() {
    use In::{Ack, Again, Respond};
    // RFC 6026: the INVITE again is absorbed, the 2xx is repeated on any transport until the ACK comes, timer L.
    for reliable in [UDP, TCP] {
        assert_eq!(
            server(
                Kind::Invite,
                reliable,
                0,
                &[(10, Respond(200)), (20, Again), (600, Ack), (700, Ack)]
            ),
            [
                "10 Send",
                "510 Resend",
                "600 DeliverAck",
                "32010 Terminated"
            ]
        );
        let log = server(Kind::Invite, reliable, 0, &[(0, Respond(200))]);
        assert_eq!(log.iter().filter(|l| l.ends_with("end")).count(), 11);
        let last = if reliable {
            "32000 Terminated"
        } else {
            "37000 Terminated"
        };
        assert_eq!(log[11..], ["32000 Unacknowledged", last]);
    }
}

#[test]
fn other_server_transitions() {
    use In::{Again, Respond};
    for (reliable, linger, inputs, expected) in [
        // Trying drops repetitions; Completed answers them (timer J, and T4 for what is under way).
        (
            UDP,
            0,
            &[
                (5, Again),
                (10, Respond(200)),
                (500, Again),
                (600, Respond(500)),
                (37_009, Again),
            ][..],
            &["10 Send", "500 Resend", "37009 Resend", "37010 Terminated"][..],
        ),
        (
            TCP,
            0,
            &[(10, Respond(200)), (20, Again)],
            &["10 Send", "20 Terminated"],
        ),
        (
            TCP,
            5000,
            &[(10, Respond(200)), (20, Again)],
            &["10 Send", "20 Resend", "5010 Terminated"],
        ),
        // RFC 4320: the 100 not before the client's interval is T2; nothing after the client has given up.
        (
            UDP,
            0,
            &[
                (3000, Again),
                (4000, Again),
                (32_001, Respond(200)),
                (32_002, Again),
            ],
            &[
                "3500 SendTrying",
                "4000 Resend",
                "32000 Unanswered",
                "37000 Terminated",
            ],
        ),
    ] {
        assert_eq!(server(Kind::NonInvite, reliable, linger, inputs), expected);
    }
}
