use proptest::prelude::*;
use stox_core::failure::{Condition, StanzaError};
use stox_core::time::SeededEntropy;
use stox_core::vocab::{Im, PresenceKind, Trace, XmppOut};
use xmpp_parsers::ns;

use super::fence::LATE_FENCES;
use super::*;

const UNREACHABLE: Failure = Failure::Local(Local::Unreachable);
const BROKEN: Failure = Failure::Local(Local::TransportFailed);

/// A link on virtual time, with its commands in short words.
struct Bench {
    link: Link,
    now: Now,
    fences: Vec<String>,
    words: Vec<String>,
}

impl Bench {
    fn new(settings: Settings) -> Self {
        Self {
            link: Link::new(
                settings,
                "ocs.example",
                "jabber.example",
                Box::new(SeededEntropy(7)),
            ),
            now: Now::default(),
            fences: Vec::new(),
            words: Vec::new(),
        }
    }

    /// A link whose first stream is up after one message was sent and handled.
    fn up(settings: Settings) -> Self {
        let mut bench = Self::new(settings);
        bench.message(0);
        bench.ready(1);
        bench.answer(0);
        bench.expect(&["connect 1", "write m0", "fence 0", "0 ok"]);
        bench
    }

    fn message(&mut self, number: u64) {
        self.message_by(number, None);
    }

    fn message_by(&mut self, number: u64, deadline: Option<Duration>) {
        let element = stanza("message", number, "");
        let outgoing = Outgoing {
            reference: Some(Ref(number)),
            element,
            deadline,
        };
        self.link.send(outgoing, self.now);
    }

    /// An error with a reference.
    fn report(&mut self, number: u64) {
        let outgoing = Outgoing {
            reference: Some(Ref(number)),
            element: stanza("message", number, "type='error'"),
            deadline: None,
        };
        self.link.send(outgoing, self.now);
    }

    fn plain(&mut self, name: &str, number: u64, kind: &str) {
        let outgoing = Outgoing {
            reference: None,
            element: stanza(name, number, kind),
            deadline: None,
        };
        self.link.send(outgoing, self.now);
    }

    fn ready(&mut self, attempt: u64) {
        self.link.stream_ready(Attempt(attempt), None, self.now);
    }

    fn lost(&mut self, attempt: u64, failure: Failure) {
        self.link
            .stream_lost(Attempt(attempt), Loss::Passing(failure), self.now);
    }

    fn answer(&mut self, fence: usize) {
        self.collect();
        let id = self.fences[fence].clone();
        assert!(
            self.answer_as("jabber.example", &id, IqKind::Result),
            "fence {fence}"
        );
    }

    fn answer_as(&mut self, from: &str, id: &str, kind: IqKind) -> bool {
        let iq = Iq {
            from: Jid::parse(from).expect(from),
            to: Jid::parse("ocs.example").expect("domain"),
            id: id.to_owned(),
            kind,
        };
        self.link.receive_iq(&iq, self.now)
    }

    /// Moves on, stopping and taking commands wherever the link wants to.
    fn pass(&mut self, seconds: u64) {
        let end = self.now.mono + Duration::from_secs(seconds);
        self.pump();
        while self.step(end) {
            self.pump();
        }
    }

    /// Goes to what is due next, or to the end when nothing is.
    fn step(&mut self, end: Duration) -> bool {
        let due = self.link.poll_timeout().filter(|due| *due <= end);
        let to = due.unwrap_or(end);
        self.now = self.now.after(to.saturating_sub(self.now.mono));
        if due.is_some() {
            self.link.handle_timeout(self.now);
            let next = self.link.poll_timeout();
            assert!(
                next.is_none_or(|next| next > self.now.mono),
                "still due: {next:?}"
            );
        }
        due.is_some()
    }

    /// Looks for new fences without taking commands away.
    fn collect(&mut self) {
        for command in &self.link.commands {
            if let LinkCommand::Write(element) = command
                && element.name() == "iq"
                && element.has_child("ping", ns::PING)
            {
                let id = element.attr("id").expect("id").to_owned();
                if !self.fences.contains(&id) {
                    self.fences.push(id);
                }
            }
        }
    }

    fn pump(&mut self) {
        self.collect();
        while let Some(command) = self.link.poll_command() {
            self.words.push(self.word(&command));
        }
    }

    fn take(&mut self) -> Vec<String> {
        self.pump();
        std::mem::take(&mut self.words)
    }

    fn word(&self, command: &LinkCommand) -> String {
        match command {
            LinkCommand::Connect(attempt) => format!("connect {}", attempt.0),
            LinkCommand::Write(element) => {
                let id = element.attr("id").expect("id");
                match self.fences.iter().position(|fence| fence == id) {
                    Some(fence) => format!("fence {fence}"),
                    None => format!("write {id}"),
                }
            }
            LinkCommand::Settled { reference, outcome } => match outcome {
                Ok(()) => format!("{} ok", reference.0),
                Err(Failure::Local(local)) => format!("{} {local:?}", reference.0),
                Err(failure) => format!("{} {failure:?}", reference.0),
            },
            LinkCommand::Oversized {
                octets,
                limit,
                goes: true,
            } => format!("{octets} > {limit}, shortened"),
            LinkCommand::Oversized { octets, limit, .. } => format!("{octets} > {limit}"),
            LinkCommand::Unaskable { element, failure } => {
                let id = element.attr("id").unwrap_or_default();
                format!("unaskable {id} {failure:?}")
            }
            LinkCommand::CloseStream { attempt, reason } => {
                format!("close {} {reason:?}", attempt.0)
            }
        }
    }

    #[track_caller]
    fn expect(&mut self, words: &[&str]) {
        assert_eq!(self.take(), words);
    }

    fn state(&self) -> LinkState {
        self.link.status().state
    }
}

fn stanza(name: &str, number: u64, kind: &str) -> Element {
    let xml = format!(
        "<{name} xmlns='jabber:client' from='u{number}@ocs.example' to='alma@jabber.example' id='{}{number}' {kind}/>",
        name.chars().next().expect("name")
    );
    xml.parse().expect(&xml)
}

fn small_queue(queue: usize) -> Settings {
    Settings {
        queue,
        ..Settings::default()
    }
}

// ----------------------------------------------------------------------------------------------- size

const SMALL: usize = 300;

fn short_stanzas() -> Settings {
    Settings {
        stanza_octets: SMALL,
        ..Settings::default()
    }
}

/// A stanza with a text of that many octets in it, with its size on the wire.
fn long(xml: &str, octets: usize) -> (Element, usize) {
    let element: Element = xml.replace("TEXT", &"x".repeat(octets)).parse().expect(xml);
    let size = crate::stream::write::stanza_to_wire(&element).len();
    (element, size)
}

fn long_message(id: &str, octets: usize) -> (Element, usize) {
    let xml = format!(
        "<message xmlns='jabber:client' from='u@ocs.example' to='alma@jabber.example' id='{id}'><body>TEXT</body></message>"
    );
    long(&xml, octets)
}

impl Bench {
    fn send(&mut self, reference: Option<u64>, element: Element) {
        let outgoing = Outgoing {
            reference: reference.map(Ref),
            element,
            deadline: None,
        };
        self.link.send(outgoing, self.now);
    }

    fn ready_for(&mut self, attempt: u64, octets: usize) {
        self.link
            .stream_ready(Attempt(attempt), Some(octets), self.now);
    }
}

#[test]
fn a_message_that_is_too_large_is_refused_and_takes_no_other_with_it() {
    let mut bench = Bench::up(short_stanzas());
    let (_, least) = long_message("m1", 1);
    let (fits, size) = long_message("m1", 1 + SMALL - least);
    assert_eq!(size, SMALL);
    bench.send(Some(1), fits);
    bench.expect(&["write m1", "fence 1"]);
    let (larger, size) = long_message("m2", 2 + SMALL - least);
    bench.send(Some(2), larger);
    bench.expect(&[&format!("{size} > {SMALL}"), "2 TooLarge"]);
    bench.answer(1);
    bench.expect(&["1 ok"]);
    let status = bench.link.status();
    assert_eq!((status.queued, status.unfenced, status.octets), (0, 0, 0));
    assert_eq!(status.counters.oversized, 1);
}

#[test]
fn what_counts_is_the_size_on_the_wire() {
    let mut bench = Bench::up(short_stanzas());
    let (mut element, _) = long_message("m1", 0);
    let body = element
        .get_child_mut("body", "jabber:client")
        .expect("body");
    body.append_text("'".repeat(100));
    bench.send(Some(1), element);
    let words = bench.take();
    assert_eq!(words.last().map(String::as_str), Some("1 TooLarge"));
}

#[test]
fn the_partner_may_announce_less_but_not_more() {
    let mut bench = Bench::new(short_stanzas());
    let (large, size) = long_message("m1", 150);
    bench.send(Some(1), large.clone());
    bench.message(2);
    bench.expect(&["connect 1"]);
    bench.ready_for(1, size - 1);
    let refused = format!("{size} > {}", size - 1);
    bench.expect(&[&refused, "1 TooLarge", "write m2", "fence 0"]);
    bench.answer(0);
    bench.expect(&["2 ok"]);
    bench.send(Some(3), large.clone());
    bench.expect(&[&refused, "3 TooLarge"]);

    bench.message(4);
    bench.expect(&["write m4", "fence 1"]);
    bench.lost(1, BROKEN);
    bench.pass(5);
    bench.expect(&["connect 2"]);
    bench.ready_for(2, 1_000_000);
    bench.expect(&["write m4", "fence 2"]);
    bench.send(Some(5), large);
    bench.answer(2);
    bench.expect(&["write m1", "4 ok", "fence 3"]);
    let (larger, size) = long_message("m6", SMALL);
    bench.send(Some(6), larger);
    bench.expect(&[&format!("{size} > {SMALL}"), "6 TooLarge"]);
}

#[test]
fn what_was_written_once_may_be_too_large_for_the_next_stream() {
    let mut bench = Bench::up(Settings::default());
    let (large, size) = long_message("m1", 500);
    bench.send(Some(1), large);
    bench.message(2);
    bench.expect(&["write m1", "fence 1", "write m2"]);
    bench.lost(1, BROKEN);
    bench.pass(5);
    bench.expect(&["connect 2"]);
    bench.ready_for(2, SMALL);
    bench.expect(&[
        &format!("{size} > {SMALL}"),
        // It may have arrived on the first.
        "1 OutcomeUnknown",
        "write m2",
        "fence 2",
    ]);
    bench.answer(2);
    bench.expect(&["2 ok"]);
    assert_eq!(bench.link.status().octets, 0);
}

#[test]
fn presence_and_errors_go_without_their_words() {
    let presence = "<presence xmlns='jabber:client' from='u@ocs.example' to='alma@jabber.example' id='p1'><show>away</show><status>TEXT</status><status xml:lang='de'>TEXT</status></presence>";
    let error = "<message xmlns='jabber:client' from='u@ocs.example' to='alma@jabber.example' id='e1' type='error'><error type='cancel'><gone xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/><text xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'>TEXT</text></error></message>";
    for (xml, reference, gone) in [
        (presence, None, "<status"),
        (error, None, "<text"),
        (error, Some(1), "<text"),
    ] {
        let (element, size) = long(xml, SMALL);
        let shortened = format!("{size} > {SMALL}, shortened");
        let written = |bench: &mut Bench| {
            let element =
                std::iter::from_fn(|| bench.link.poll_command()).find_map(
                    |command| match command {
                        LinkCommand::Write(element) if element.name() != "iq" => Some(element),
                        _ => None,
                    },
                );
            let text = String::from(&*element.expect("written"));
            assert!(!text.contains(gone), "{text}");
            assert!(
                text.contains("<show>away") || text.contains("<gone"),
                "{text}"
            );
        };
        // Once when the limit is known, once when the next stream brings it.
        let mut bench = Bench::up(short_stanzas());
        bench.send(reference, element.clone());
        written(&mut bench);

        let mut bench = Bench::new(Settings::default());
        bench.send(reference, element);
        bench.expect(&["connect 1"]);
        bench.ready_for(1, SMALL);
        assert!(matches!(
            bench.link.poll_command(),
            Some(command) if bench.word(&command) == shortened
        ));
        written(&mut bench);
    }
}

#[test]
fn nobody_waits_for_what_cannot_be_shortened() {
    let mut bench = Bench::up(short_stanzas());
    let presence = "<presence xmlns='jabber:client' from='u@ocs.example' to='alma@jabber.example' id='p1'><x xmlns='u:x'>TEXT</x></presence>";
    let (element, size) = long(presence, SMALL);
    bench.send(None, element);
    bench.expect(&[&format!("{size} > {SMALL}")]);
    let counters = bench.link.status().counters;
    assert_eq!((counters.oversized, counters.dropped), (1, 1));
}

// --------------------------------------------------------------------------------------------- fences

#[test]
fn a_message_is_settled_behind_the_fence() {
    let mut bench = Bench::new(Settings::default());
    assert_eq!(bench.link.poll_timeout(), None);
    bench.message(1);
    bench.expect(&["connect 1"]);
    bench.ready(1);
    bench.expect(&["write m1", "fence 0"]);
    bench.pass(9);
    bench.expect(&[]);
    bench.answer(0);
    bench.expect(&["1 ok"]);
    let status = bench.link.status();
    assert_eq!((status.queued, status.unfenced, status.octets), (0, 0, 0));
    assert_eq!(status.counters.handled, 1);
}

#[test]
fn only_messages_of_the_core_are_settled() {
    let from = Jid::parse("bruno@ocs.example").expect("jid");
    let to = Jid::parse("alma@jabber.example").expect("jid");
    let message = XmppOut::Message {
        reference: Ref(1),
        from: from.clone(),
        to: to.clone(),
        im: Im {
            id: Some("m1".into()),
            ..Im::default()
        },
    };
    let subscribe = XmppOut::Presence {
        trace: Trace::default(),
        from,
        to,
        kind: PresenceKind::Subscribe,
    };
    let now = Now::default();
    let outgoing = Outgoing::from_core(&message, now);
    assert_eq!(outgoing.reference, Some(Ref(1)));
    assert_eq!(outgoing.element.attr("id"), Some("m1"));
    let outgoing = Outgoing::from_core(&subscribe, now);
    assert_eq!((outgoing.reference, outgoing.deadline), (None, None));
    assert_eq!(outgoing.element.attr("type"), Some("subscribe"));
}

#[test]
fn the_fence_is_a_ping_from_domain_to_domain() {
    let mut bench = Bench::new(Settings::default());
    bench.message(1);
    bench.ready(1);
    let pings: Vec<Arc<Element>> = std::iter::from_fn(|| bench.link.poll_command())
        .filter_map(|command| match command {
            LinkCommand::Write(element) if element.name() == "iq" => Some(element),
            _ => None,
        })
        .collect();
    let [ping] = &pings[..] else {
        panic!("{pings:?}");
    };
    let id = ping.attr("id").expect("id");
    assert_eq!(id.len(), 16);
    let expected = format!(
        "<iq xmlns='jabber:client' from='ocs.example' to='jabber.example' type='get' id='{id}'><ping xmlns='urn:xmpp:ping'/></iq>"
    );
    assert_eq!(**ping, expected.parse().expect("ping"));
}

#[test]
fn an_error_passes_the_fence_too_but_only_from_the_partner() {
    let mut bench = Bench::new(Settings::default());
    bench.message(1);
    bench.ready(1);
    bench.expect(&["connect 1", "write m1", "fence 0"]);
    let id = bench.fences[0].clone();
    let error = || IqKind::Error(StanzaError::new(Condition::ServiceUnavailable));
    let query = || IqKind::Get(Element::bare("ping", ns::PING));
    assert!(!bench.answer_as("evil.example", &id, IqKind::Result));
    assert!(!bench.answer_as("alma@jabber.example", &id, IqKind::Result));
    assert!(!bench.answer_as("jabber.example/x", &id, error()));
    assert!(!bench.answer_as("jabber.example", "guess", IqKind::Result));
    assert!(!bench.answer_as("jabber.example", &id, query()));
    bench.expect(&[]);
    assert!(bench.answer_as("JABBER.example", &id, error()));
    bench.expect(&["1 ok"]);
    assert!(!bench.answer_as("jabber.example", &id, IqKind::Result));
    bench.expect(&[]);
}

#[test]
fn an_error_of_the_server_between_passes_no_fence() {
    let routed = || Settings {
        routed: true,
        ..Settings::default()
    };
    let error = |condition| IqKind::Error(StanzaError::new(condition));
    for condition in [
        Condition::RemoteServerNotFound,
        Condition::RemoteServerTimeout,
        Condition::ResourceConstraint,
    ] {
        let mut bench = Bench::up(routed());
        bench.message(1);
        bench.expect(&["write m1", "fence 1"]);
        bench.message(2);
        let id = bench.fences[1].clone();
        assert!(bench.answer_as("jabber.example", &id, error(condition)));
        bench.expect(&["write m2", "1 OutcomeUnknown", "fence 2"]);
        assert!(bench.link.status().last_failure.is_some());
        bench.answer(2);
        bench.expect(&["2 ok"]);
        assert_eq!(bench.link.status().last_failure, None);
    }
    // What the partner says itself does, and so does anything on a stream of its own.
    for (settings, condition) in [
        (routed(), Condition::ServiceUnavailable),
        (routed(), Condition::FeatureNotImplemented),
        (Settings::default(), Condition::RemoteServerTimeout),
    ] {
        let mut bench = Bench::up(settings);
        bench.message(1);
        bench.expect(&["write m1", "fence 1"]);
        let id = bench.fences[1].clone();
        assert!(bench.answer_as("jabber.example", &id, error(condition)));
        bench.expect(&["1 ok"]);
    }
}

#[test]
fn a_late_error_of_the_server_between_means_nothing() {
    let mut bench = Bench::up(Settings {
        routed: true,
        ..Settings::default()
    });
    bench.message(1);
    bench.expect(&["write m1", "fence 1"]);
    bench.lost(1, Failure::Local(Local::TransportFailed));
    bench.pass(1);
    bench.expect(&["connect 2"]);
    bench.ready(2);
    bench.expect(&["write m1", "fence 2"]);
    let id = bench.fences[1].clone();
    let error = IqKind::Error(StanzaError::new(Condition::RemoteServerTimeout));
    assert!(bench.answer_as("jabber.example", &id, error));
    bench.expect(&[]);
    bench.answer(2);
    bench.expect(&["1 ok"]);
}

#[test]
fn an_error_of_the_server_between_for_an_old_fence_is_a_gap() {
    let mut bench = Bench::up(Settings {
        routed: true,
        ..Settings::default()
    });
    bench.report(1);
    bench.expect(&["write m1", "fence 1"]);
    bench.link.partner_seen(bench.now);
    bench.expect(&["fence 2"]);
    let id = bench.fences[1].clone();
    let error = IqKind::Error(StanzaError::new(Condition::RemoteServerTimeout));
    assert!(bench.answer_as("jabber.example", &id, error));
    bench.expect(&["write m1", "fence 3"]);
    let id = bench.fences[2].clone();
    assert!(!bench.answer_as("jabber.example", &id, IqKind::Result));
    bench.expect(&[]);
    bench.answer(3);
    bench.expect(&["1 ok"]);
}

#[test]
fn fences_that_were_forgotten_take_those_behind_them_along() {
    let mut bench = Bench::up(Settings::default());
    bench.message(1);
    bench.expect(&["write m1", "fence 1"]);
    bench.link.partner_seen(bench.now);
    bench.expect(&["fence 2"]);
    let behind = bench.fences[2].clone();
    for attempt in 1..5 {
        bench.lost(attempt, BROKEN);
        if attempt == 1 {
            bench.plain("presence", 9, "");
        }
        bench.pass(60);
        bench.ready(attempt + 1);
        bench.pass(1);
    }
    bench.take();
    assert!(!bench.answer_as("jabber.example", &behind, IqKind::Result));
    bench.expect(&[]);
}

#[test]
fn one_fence_covers_all_before_it_and_none_after() {
    let mut bench = Bench::up(Settings::default());
    for number in 1..=3 {
        bench.message(number);
    }
    bench.expect(&["write m1", "fence 1", "write m2", "write m3"]);
    bench.answer(1);
    bench.expect(&["1 ok", "fence 2"]);
    bench.message(4);
    bench.answer(2);
    bench.expect(&["write m4", "2 ok", "3 ok", "fence 3"]);
    bench.answer(3);
    bench.expect(&["4 ok"]);
}

#[test]
fn stanzas_without_reference_wait_for_company() {
    let mut bench = Bench::up(Settings::default());
    bench.plain("presence", 1, "");
    bench.plain("message", 2, "type='error'");
    bench.expect(&["write p1", "write m2"]);
    bench.pass(1);
    bench.expect(&["fence 1"]);
    bench.answer(1);
    bench.plain("presence", 3, "");
    bench.message(4);
    bench.expect(&["write p3", "write m4", "fence 2"]);
    bench.answer(2);
    bench.expect(&["4 ok"]);
    assert_eq!(bench.link.status().unfenced, 0);
}

#[test]
fn nothing_waits_for_company_before_a_stop() {
    let mut bench = Bench::up(Settings::default());
    bench.plain("presence", 1, "type='unavailable'");
    bench.expect(&["write p1"]);
    bench.link.hurry(bench.now);
    bench.expect(&["fence 1"]);
    bench.answer(1);
    bench.plain("presence", 2, "type='unavailable'");
    bench.expect(&["write p2", "fence 2"]);
}

#[test]
fn the_window_holds_back_what_no_fence_has_passed() {
    let octets = String::from(&stanza("message", 1, "")).len();
    let mut bench = Bench::up(Settings {
        window_octets: 2 * octets,
        ..Settings::default()
    });
    for number in 1..=5 {
        bench.message(number);
    }
    bench.expect(&["write m1", "fence 1", "write m2"]);
    bench.answer(1);
    bench.expect(&["1 ok", "write m3", "fence 2"]);
    assert_eq!(bench.link.status().queued, 2);
    bench.answer(2);
    bench.answer(3);
    bench.expect(&[
        "2 ok", "3 ok", "write m4", "write m5", "fence 3", "4 ok", "5 ok",
    ]);

    let mut bench = Bench::up(Settings {
        window_octets: 1,
        ..Settings::default()
    });
    bench.plain("presence", 1, "");
    bench.plain("presence", 2, "");
    bench.expect(&["write p1", "fence 1"]);
    bench.answer(1);
    bench.expect(&["write p2"]);
}

#[test]
fn a_missed_fence_is_a_timeout_and_two_are_a_dead_stream() {
    let mut bench = Bench::up(Settings::default());
    bench.message_by(1, Some(Duration::from_secs(60)));
    bench.plain("presence", 2, "");
    bench.expect(&["write m1", "fence 1", "write p2"]);
    bench.pass(10);
    bench.expect(&["1 Timeout", "fence 2"]);
    bench.message_by(3, Some(Duration::from_secs(60)));
    bench.pass(10);
    bench.expect(&["write m3", "close 1 Dead"]);
    bench.pass(1);
    bench.expect(&["connect 2"]);
    bench.ready(2);
    bench.expect(&["write p2", "write m3", "fence 3"]);
    bench.answer(3);
    bench.expect(&["3 ok"]);
    assert_eq!(bench.link.status().counters.fences_missed, 2);
}

#[test]
fn a_late_answer_shows_life_and_still_counts() {
    let mut bench = Bench::up(Settings::default());
    bench.message(1);
    bench.plain("presence", 2, "");
    bench.pass(10);
    bench.expect(&["write m1", "fence 1", "write p2", "1 Timeout", "fence 2"]);
    bench.answer(1);
    bench.expect(&[]);
    assert_eq!(bench.link.status().unfenced, 1);
    bench.pass(10);
    bench.expect(&["fence 3"]);
    assert_eq!(bench.state(), LinkState::Up);
}

#[test]
fn an_answer_that_comes_after_its_stream_was_lost_counts() {
    let mut bench = Bench::up(Settings::default());
    bench.message(1);
    bench.expect(&["write m1", "fence 1"]);
    bench.message(2);
    bench.lost(1, BROKEN);
    bench.answer(1);
    bench.expect(&["1 ok"]);
    bench.pass(1);
    bench.ready(2);
    bench.expect(&["connect 2", "write m2", "fence 2"]);
    bench.answer(2);
    bench.expect(&["2 ok"]);
}

#[test]
fn an_old_answer_takes_the_reason_for_a_new_fence_away() {
    let mut bench = Bench::up(Settings::default());
    bench.plain("presence", 1, "");
    bench.pass(1);
    bench.lost(1, BROKEN);
    bench.pass(1);
    bench.ready(2);
    bench.expect(&["write p1", "fence 1", "connect 2", "write p1"]);
    bench.answer(1);
    bench.pass(119);
    bench.expect(&[]);
    bench.pass(1);
    bench.expect(&["fence 2"]);
}

#[test]
fn an_answer_to_another_stream_shows_no_life_of_this_one() {
    let mut bench = Bench::up(Settings::default());
    bench.plain("presence", 1, "");
    bench.pass(1);
    bench.lost(1, BROKEN);
    bench.message(2);
    bench.pass(1);
    bench.ready(2);
    bench.pass(10);
    bench.expect(&[
        "write p1",
        "fence 1",
        "connect 2",
        "write p1",
        "write m2",
        "fence 2",
        "2 Timeout",
        "fence 3",
    ]);
    bench.answer(1);
    bench.pass(10);
    bench.expect(&["close 2 Dead"]);
}

// -------------------------------------------------------------------------------------------- streams

#[test]
fn what_no_fence_has_passed_is_written_again_in_order() {
    let mut bench = Bench::up(Settings::default());
    bench.message(1);
    bench.message(2);
    bench.plain("presence", 3, "");
    bench.lost(1, BROKEN);
    bench.message(4);
    bench.expect(&[]);
    bench.pass(1);
    bench.expect(&["connect 2"]);
    bench.ready(2);
    bench.expect(&["write m1", "write m2", "write p3", "write m4", "fence 1"]);
    bench.answer(1);
    bench.expect(&["1 ok", "2 ok", "4 ok"]);
}

#[test]
fn a_stanza_that_kills_streams_goes_alone() {
    let mut bench = Bench::up(Settings {
        message_wait: Duration::from_secs(600),
        ..Settings::default()
    });
    for number in 1..=3 {
        bench.message(number);
    }
    bench.lost(1, BROKEN);
    bench.pass(1);
    bench.ready(2);
    bench.expect(&["connect 2", "write m1", "write m2", "write m3", "fence 1"]);
    bench.lost(2, BROKEN);
    bench.pass(2);
    bench.ready(3);
    bench.expect(&["connect 3", "write m1", "fence 2"]);
    bench.lost(3, BROKEN);
    bench.pass(4);
    bench.ready(4);
    bench.expect(&["connect 4", "write m1", "fence 3"]);
    bench.lost(4, BROKEN);
    bench.expect(&["1 TransportFailed"]);
    bench.pass(8);
    bench.ready(5);
    bench.expect(&["connect 5", "write m2", "fence 4"]);
    bench.answer(4);
    bench.expect(&["2 ok", "write m3", "fence 5"]);
    bench.answer(5);
    bench.expect(&["3 ok"]);
}

#[test]
fn attempts_are_spread_and_end_at_five_minutes() {
    let mut bench = Bench::new(Settings {
        presence_wait: Duration::from_secs(100_000),
        ..Settings::default()
    });
    bench.plain("presence", 1, "");
    let mut delays = Vec::new();
    for attempt in 1..=12 {
        bench.expect(&[&format!("connect {attempt}")]);
        bench.lost(attempt, UNREACHABLE);
        let LinkState::Waiting { until } = bench.state() else {
            panic!("{:?}", bench.state());
        };
        delays.push(until - bench.now.mono);
        bench.pass(300);
    }
    for (turn, delay) in delays.iter().enumerate() {
        let full = Duration::from_secs((1 << turn).min(300));
        assert!(*delay >= full / 2 && *delay <= full, "{turn}: {delay:?}");
    }
    assert!(delays.iter().any(|delay| delay.subsec_millis() != 0));
}

#[test]
fn an_answered_fence_starts_the_delays_over() {
    let mut bench = Bench::up(Settings::default());
    for (attempt, longest) in [(1, 1), (2, 2), (3, 4)] {
        bench.plain("presence", 1, "");
        bench.lost(attempt, BROKEN);
        bench.pass(longest);
        bench.ready(attempt + 1);
        assert_eq!(bench.state(), LinkState::Up);
        bench.take();
    }
    bench.pass(1);
    bench.answer(1);
    bench.plain("presence", 2, "");
    bench.lost(4, BROKEN);
    bench.take();
    bench.pass(1);
    bench.expect(&["connect 5"]);
}

#[test]
fn nobody_waits_for_an_attempt_that_comes_too_late() {
    let mut bench = Bench::new(Settings {
        message_wait: Duration::from_secs(3),
        ..Settings::default()
    });
    bench.plain("presence", 1, "");
    for attempt in 1..=6 {
        bench.lost(attempt, UNREACHABLE);
        bench.pass(32);
    }
    bench.lost(7, UNREACHABLE);
    bench.take();
    // The next attempt is due in 32 s or more; people bring it forward to 5 s, which is too late for this one.
    bench.message(1);
    bench.expect(&["1 Unreachable"]);
    bench.pass(3);
    bench.message(2);
    bench.expect(&[]);
    bench.pass(2);
    bench.expect(&["connect 8"]);
    bench.ready(8);
    bench.expect(&["write p1", "write m2", "fence 0"]);
}

#[test]
fn a_partner_that_comes_back_is_asked_again() {
    let mut bench = Bench::up(Settings::default());
    bench.message(1);
    bench.expect(&["write m1", "fence 1"]);
    bench.message(2);
    bench.expect(&["write m2"]);
    bench.link.partner_seen(bench.now);
    bench.expect(&["fence 2"]);
    // The first answer comes after all: it still passes what was written before it.
    bench.answer(1);
    bench.expect(&["1 ok"]);
    bench.answer(2);
    bench.expect(&["2 ok"]);
    bench.link.partner_seen(bench.now);
    bench.expect(&[]);
}

#[test]
fn a_login_by_certificate_is_given_time_to_let_errors_out() {
    let mut bench = Bench::up(Settings::default());
    bench.message(1);
    bench.expect(&["write m1", "fence 1"]);
    bench.link.partner_logged_in(bench.now);
    bench.expect(&[]);
    bench.pass(1);
    bench.answer(1);
    bench.expect(&["1 ok"]);
    bench.pass(5);
    bench.expect(&[]);
    // The answer was dropped: another fence is written when there has been time for it.
    bench.message(2);
    bench.expect(&["write m2", "fence 2"]);
    bench.link.partner_logged_in(bench.now);
    bench.pass(1);
    bench.expect(&[]);
    bench.pass(1);
    bench.expect(&["fence 3"]);
    bench.answer(3);
    bench.expect(&["write m2", "fence 4"]);
    bench.answer(4);
    bench.expect(&["2 ok"]);
}

#[test]
fn a_fence_vouches_for_nothing_when_an_older_one_got_no_answer() {
    let mut bench = Bench::up(Settings::default());
    bench.message(1);
    bench.plain("presence", 2, "");
    bench.expect(&["write m1", "fence 1", "write p2"]);
    // The partner drops what it answers until it is connected to us: the error about m1, and the first fence.
    bench.link.partner_seen(bench.now);
    bench.expect(&["fence 2"]);
    bench.message(3);
    bench.expect(&["write m3"]);
    bench.answer(2);
    bench.expect(&["write m1", "write p2", "write m3", "fence 3"]);
    bench.answer(3);
    bench.expect(&["1 ok", "3 ok"]);
}

#[test]
fn what_stands_behind_a_missed_fence_is_written_again_too() {
    let mut bench = Bench::up(Settings::default());
    bench.message(1);
    bench.expect(&["write m1", "fence 1"]);
    bench.pass(5);
    bench.message(2);
    bench.pass(5);
    bench.expect(&["write m2", "1 Timeout", "fence 2"]);
    bench.answer(2);
    bench.expect(&["write m2", "fence 3"]);
    bench.answer(3);
    bench.expect(&["2 ok"]);
}

#[test]
fn an_answer_that_was_only_slow_is_no_gap() {
    let mut bench = Bench::up(Settings::default());
    bench.message(1);
    bench.expect(&["write m1", "fence 1"]);
    bench.pass(5);
    bench.message(2);
    bench.pass(5);
    bench.expect(&["write m2", "1 Timeout", "fence 2"]);
    bench.answer(1);
    bench.answer(2);
    bench.expect(&["2 ok"]);
}

#[test]
fn a_gap_on_a_stream_that_is_gone_proves_nothing_and_disturbs_nothing() {
    let mut bench = Bench::up(Settings::default());
    bench.message(1);
    bench.expect(&["write m1", "fence 1"]);
    bench.link.partner_seen(bench.now);
    bench.expect(&["fence 2"]);
    bench.lost(1, BROKEN);
    bench.pass(1);
    bench.ready(2);
    bench.expect(&["connect 2", "write m1", "fence 3"]);
    bench.answer(2);
    bench.expect(&[]);
    bench.answer(3);
    bench.expect(&["1 ok"]);
}

#[test]
fn a_partner_that_shows_life_twice_is_asked_again_once() {
    let mut bench = Bench::up(Settings::default());
    bench.message(1);
    bench.expect(&["write m1", "fence 1"]);
    bench.link.partner_seen(bench.now);
    bench.link.partner_seen(bench.now);
    bench.expect(&["fence 2"]);
}

#[test]
fn a_report_outlives_missed_fences_and_streams() {
    let mut bench = Bench::up(Settings::default());
    bench.report(1);
    bench.expect(&["write m1", "fence 1"]);
    bench.pass(10);
    bench.expect(&["fence 2"]);
    bench.pass(10);
    bench.expect(&["close 1 Dead"]);
    bench.pass(2);
    bench.ready(2);
    bench.expect(&["connect 2", "write m1", "fence 3"]);
    bench.answer(3);
    bench.expect(&["1 ok"]);
}

#[test]
fn a_partner_that_shows_life_is_tried_at_once() {
    let mut bench = Bench::new(Settings::default());
    bench.plain("presence", 1, "");
    for attempt in 1..=6 {
        bench.lost(attempt, UNREACHABLE);
        bench.pass(32);
    }
    bench.lost(7, UNREACHABLE);
    bench.take();
    bench.link.partner_seen(bench.now);
    bench.expect(&["connect 8"]);
    bench.link.partner_seen(bench.now);
    bench.expect(&[]);
}

#[test]
fn a_lasting_failure_fails_what_waits_and_is_remembered() {
    let mut bench = Bench::new(Settings::default());
    let refused = Failure::Local(Local::DomainNotFound);
    bench.message(1);
    bench.plain("presence", 2, "");
    bench
        .link
        .stream_lost(Attempt(1), Loss::Lasting(refused.clone()), bench.now);
    bench.expect(&["connect 1", "1 DomainNotFound"]);
    bench.pass(29);
    bench.message(3);
    bench.expect(&["3 DomainNotFound"]);
    let status = bench.link.status();
    assert_eq!(status.last_failure, Some(refused));
    assert_eq!(status.counters.dropped, 1);
    bench.pass(1);
    bench.expect(&[]);
    assert_eq!(bench.state(), LinkState::Idle);
    bench.message(4);
    bench.expect(&["connect 2"]);
}

#[test]
fn a_quiet_stream_is_kept_alive_and_at_last_let_go() {
    let mut bench = Bench::up(Settings::default());
    for fence in 1..=4 {
        bench.pass(120);
        bench.expect(&[&format!("fence {fence}")]);
        bench.answer(fence);
    }
    bench.pass(120);
    bench.expect(&["close 1 Idle"]);
    bench.pass(1_000);
    bench.expect(&[]);
    assert_eq!(bench.link.poll_timeout(), None);
    bench.message(1);
    bench.expect(&["connect 2"]);
}

#[test]
fn a_quiet_stream_that_is_dead_is_found_out() {
    let mut bench = Bench::up(Settings::default());
    bench.pass(140);
    bench.expect(&["fence 1", "fence 2", "close 1 Dead"]);
    bench.pass(1_000);
    bench.expect(&[]);
    assert_eq!(bench.state(), LinkState::Idle);
}

#[test]
fn reports_about_other_streams_have_no_effect() {
    let mut bench = Bench::new(Settings::default());
    bench.message(1);
    bench.lost(1, UNREACHABLE);
    bench.pass(1);
    bench.expect(&["connect 1", "connect 2"]);
    bench.ready(1);
    bench.lost(1, UNREACHABLE);
    assert_eq!(bench.state(), LinkState::Connecting);
    bench.ready(2);
    bench.ready(2);
    bench.lost(1, UNREACHABLE);
    bench.expect(&["write m1", "fence 0"]);
    assert_eq!(bench.state(), LinkState::Up);
}

#[test]
fn shutting_down_settles_everything() {
    let mut bench = Bench::up(Settings::default());
    bench.message(1);
    bench.plain("presence", 2, "");
    bench.expect(&["write m1", "fence 1", "write p2"]);
    bench.link.shut_down();
    bench.expect(&["close 1 ShuttingDown", "1 ShuttingDown"]);
    bench.message(3);
    bench.expect(&["3 ShuttingDown"]);
    bench.ready(1);
    bench.lost(1, BROKEN);
    bench.link.partner_seen(bench.now);
    bench.pass(10_000);
    bench.expect(&[]);
    assert_eq!(bench.link.poll_timeout(), None);
    assert_eq!(bench.state(), LinkState::Closed);
}

// --------------------------------------------------------------------------------- deadlines and limits

#[test]
fn the_deadline_says_why() {
    let mut bench = Bench::new(Settings::default());
    bench.message(1);
    bench.pass(14);
    bench.expect(&["connect 1"]);
    bench.pass(1);
    bench.expect(&["1 Timeout"]);
    bench.message_by(2, Some(bench.now.mono + Duration::from_secs(3)));
    bench.lost(1, UNREACHABLE);
    bench.pass(1);
    bench.expect(&["connect 2"]);
    bench.pass(2);
    bench.expect(&["2 Unreachable"]);
    bench.ready(2);
    bench.message_by(3, Some(bench.now.mono + Duration::from_secs(3)));
    bench.pass(3);
    bench.expect(&["write m3", "fence 0", "3 Timeout"]);
}

#[test]
fn what_was_written_may_have_arrived_whatever_hinders_the_next_stream() {
    let mut bench = Bench::new(Settings::default());
    bench.message(1);
    bench.ready(1);
    bench.expect(&["connect 1", "write m1", "fence 0"]);
    bench.lost(1, BROKEN);
    bench.message(2);
    bench.pass(5);
    bench.expect(&["connect 2"]);
    let nowhere = Failure::Local(Local::DomainNotFound);
    bench
        .link
        .stream_lost(Attempt(2), Loss::Lasting(nowhere), bench.now);
    bench.expect(&["1 OutcomeUnknown", "2 DomainNotFound"]);

    let mut bench = Bench::up(Settings::default());
    bench.message_by(3, Some(bench.now.mono + Duration::from_secs(9)));
    bench.lost(1, BROKEN);
    bench.message_by(4, Some(bench.now.mono + Duration::from_secs(9)));
    bench.pass(5);
    bench.take();
    bench.lost(2, UNREACHABLE);
    bench.pass(4);
    let words = bench.take();
    let told = words.iter().filter(|word| word.starts_with(['3', '4']));
    assert!(told.eq(["3 OutcomeUnknown", "4 Unreachable"]), "{words:?}");
}

#[test]
fn presence_is_given_up_after_ten_minutes() {
    let mut bench = Bench::new(Settings::default());
    bench.plain("presence", 1, "");
    bench.expect(&["connect 1"]);
    bench.pass(599);
    assert_eq!(bench.link.status().queued, 1);
    bench.pass(1);
    let status = bench.link.status();
    assert_eq!(
        (
            status.queued,
            status.counters.expired,
            status.counters.dropped
        ),
        (0, 1, 1)
    );
}

#[test]
fn a_full_queue_says_so_at_once() {
    let mut bench = Bench::new(small_queue(2));
    for number in 1..=3 {
        bench.message(number);
    }
    bench.expect(&["connect 1", "3 Overloaded"]);
    bench.ready(1);
    bench.message(4);
    bench.expect(&["write m1", "write m2", "fence 0", "4 Overloaded"]);
    bench.answer(0);
    bench.message(5);
    bench.expect(&["1 ok", "2 ok", "write m5", "fence 1"]);

    let octets = String::from(&stanza("message", 1, "")).len();
    let mut bench = Bench::new(Settings {
        queue_octets: 2 * octets,
        ..Settings::default()
    });
    for number in 1..=3 {
        bench.message(number);
    }
    bench.expect(&["connect 1", "3 Overloaded"]);
    assert_eq!(bench.link.status().counters.overflowed, 1);
}

#[test]
fn newer_presence_takes_the_place_of_older() {
    let mut bench = Bench::new(Settings::default());
    bench.plain("presence", 1, "");
    bench.plain("presence", 2, "");
    bench.plain("presence", 1, "type='subscribe'");
    bench.plain("presence", 1, "type='unavailable'");
    bench.ready(1);
    bench.expect(&["connect 1", "write p2", "write p1", "write p1"]);
    assert_eq!(bench.link.status().counters.replaced, 1);
    // What a stream has carried is not taken back.
    bench.plain("presence", 2, "");
    assert_eq!(bench.link.status().counters.replaced, 1);
    assert_eq!(bench.link.status().unfenced, 4);
}

#[test]
fn presence_makes_room_and_reports_have_a_reserve() {
    let mut bench = Bench::new(small_queue(4));
    bench.message(1);
    bench.plain("presence", 2, "");
    bench.plain("presence", 3, "");
    bench.plain("iq", 4, "type='result'");
    bench.plain("iq", 5, "type='result'");
    bench.plain("presence", 6, "");
    bench.plain("message", 7, "type='error'");
    bench.plain("message", 8, "type='error'");
    bench.plain("message", 9, "type='error'");
    bench.plain("message", 10, "type='error'");
    bench.plain("presence", 11, "");
    bench.message(12);
    bench.expect(&["connect 1", "12 Overloaded"]);
    let status = bench.link.status();
    assert_eq!(
        status.counters.replaced, 3,
        "p2 for p6; p3 and p6 for errors"
    );
    assert_eq!(status.counters.overflowed, 4, "i5, m10, p11, m12");
    assert_eq!(status.queued, 5);
    bench.ready(1);
    bench.expect(&[
        "write m1", "write i4", "write m7", "write m8", "write m9", "fence 0",
    ]);
}

#[test]
fn occupants_keep_their_order_and_take_nobodys_place() {
    let mut bench = Bench::new(small_queue(4));
    bench.plain("presence", 1, "");
    for number in [2, 2, 3, 4] {
        let mut element = stanza("presence", number, "");
        element.append_child(Element::bare("x", ns::MUC_USER));
        let outgoing = Outgoing {
            reference: None,
            element,
            deadline: None,
        };
        bench.link.send(outgoing, bench.now);
    }
    assert_eq!(bench.link.status().counters.overflowed, 1);
    bench.ready(1);
    let written = ["connect 1", "write p1", "write p2", "write p2", "write p3"];
    assert_eq!(bench.take()[..5], written);
}

// ---------------------------------------------------------------------------------------- properties

const NARROW: usize = 200;

#[derive(Debug, Clone)]
enum Step {
    Message(Option<u64>),
    Presence(u64),
    Report,
    /// A message of more than [`NARROW`].
    Large,
    /// On a stream whose partner takes all, or no more than [`NARROW`].
    Ready(bool),
    Lost,
    LostForGood,
    Answer(usize),
    /// The partner drops its answers to everything so far.
    Dropped,
    Seen,
    LoggedIn,
    Pass(u64),
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => prop::option::of(0_u64..40).prop_map(Step::Message),
        2 => (0_u64..4).prop_map(Step::Presence),
        1 => Just(Step::Report),
        1 => Just(Step::Large),
        4 => any::<bool>().prop_map(Step::Ready),
        2 => Just(Step::Lost),
        1 => Just(Step::LostForGood),
        5 => (0_usize..3).prop_map(Step::Answer),
        2 => Just(Step::Dropped),
        1 => Just(Step::Seen),
        1 => Just(Step::LoggedIn),
        3 => prop_oneof![0_u64..3, 0_u64..30, 0_u64..700].prop_map(Step::Pass),
    ]
}

/// What a partner on the other end of the streams has seen, and what it says about the link.
#[derive(Default)]
struct Witness {
    /// Messages written on the present stream, whose errors would still come.
    stream: Vec<u64>,
    /// The last of them.
    last: Option<u64>,
    /// Fences with their streams, and the messages written before them on the same stream.
    fences: Vec<(String, u64, Vec<u64>)>,
    /// A fence of the present stream will have no answer.
    gap: bool,
    /// Messages behind which an answered fence stood.
    proved: Vec<u64>,
    settled: Vec<u64>,
    attempt: u64,
    /// What the partner takes on the present stream.
    limit: Option<usize>,
}

impl Witness {
    fn watch(&mut self, link: &mut Link) {
        while let Some(command) = link.poll_command() {
            match command {
                LinkCommand::Connect(attempt) => {
                    self.attempt = attempt.0;
                    self.stream.clear();
                    (self.last, self.gap) = (None, false);
                }
                LinkCommand::Write(element) => self.see(&element),
                LinkCommand::Settled { reference, outcome } => {
                    assert!(
                        !self.settled.contains(&reference.0),
                        "settled twice: {reference:?}"
                    );
                    assert!(
                        outcome.is_err() || self.proved.contains(&reference.0),
                        "settled without proof: {reference:?}"
                    );
                    self.settled.push(reference.0);
                }
                LinkCommand::CloseStream { .. } => self.stream.clear(),
                LinkCommand::Oversized { octets, limit, .. } => assert!(octets > limit),
                LinkCommand::Unaskable { .. } => {}
            }
        }
    }

    fn pass(&mut self, bench: &mut Bench, seconds: u64) {
        let end = bench.now.mono + Duration::from_secs(seconds);
        while bench.step(end) {
            self.watch(&mut bench.link);
        }
    }

    fn see(&mut self, element: &Element) {
        let id = element.attr("id").expect("id");
        let octets = crate::stream::write::stanza_to_wire(element).len();
        assert!(self.limit.is_none_or(|limit| octets <= limit), "{octets}");
        if element.has_child("ping", ns::PING) {
            self.fences
                .push((id.to_owned(), self.attempt, self.stream.clone()));
        } else if let Some(number) = id.strip_prefix('m') {
            let number = number.parse().expect("number");
            assert!(self.last < Some(number), "out of order: {id}");
            self.last = Some(number);
            assert!(
                !self.settled.contains(&number),
                "written after it was settled: {id}"
            );
            self.stream.push(number);
        }
    }

    /// Answers one of the last fences.
    fn answer(&mut self, bench: &mut Bench, back: usize) {
        let Some(place) = self.fences.len().checked_sub(back + 1) else {
            return;
        };
        let (id, attempt, covered) = self.fences.remove(place);
        self.proved.extend(covered);
        let skips = self.fences.iter().take(place).any(|old| old.1 == attempt);
        if attempt == self.attempt && (self.gap || skips) {
            // It may write again what it has written.
            self.last = None;
        }
        bench.answer_as("jabber.example", &id, IqKind::Result);
    }

    fn drop_answers(&mut self) {
        let before = self.fences.len();
        self.fences.retain(|fence| fence.1 != self.attempt);
        self.gap |= self.fences.len() < before;
        self.stream.clear();
    }
}

fn play(steps: &[Step]) {
    let settings = Settings {
        queue: 8,
        window_octets: 400,
        ..Settings::default()
    };
    let mut bench = Bench::new(settings);
    let mut witness = Witness::default();
    let mut sent = 0;
    for step in steps {
        match step {
            Step::Message(wait) => {
                let deadline = wait.map(|wait| bench.now.mono + Duration::from_secs(wait));
                bench.message_by(sent, deadline);
                sent += 1;
            }
            Step::Presence(user) => bench.plain("presence", *user, ""),
            Step::Report => bench.plain("presence", 9, "type='subscribed'"),
            Step::Large => {
                bench.send(Some(sent), long_message(&format!("m{sent}"), NARROW).0);
                sent += 1;
            }
            Step::Ready(narrow) => {
                let limit = narrow.then_some(NARROW);
                // A stream that is up keeps its limit.
                if matches!(bench.link.phase, Phase::Connecting) {
                    witness.limit = limit;
                }
                let attempt = Attempt(witness.attempt);
                bench.link.stream_ready(attempt, limit, bench.now);
            }
            Step::Lost => bench.lost(witness.attempt, BROKEN),
            Step::LostForGood => bench.link.stream_lost(
                Attempt(witness.attempt),
                Loss::Lasting(UNREACHABLE),
                bench.now,
            ),
            Step::Answer(back) => witness.answer(&mut bench, *back),
            Step::Dropped => witness.drop_answers(),
            Step::Seen => bench.link.partner_seen(bench.now),
            Step::LoggedIn => bench.link.partner_logged_in(bench.now),
            Step::Pass(seconds) => witness.pass(&mut bench, *seconds),
        }
        witness.watch(&mut bench.link);
        let status = bench.link.status();
        assert!(status.queued + status.unfenced <= 10, "{status:?}");
        assert!(bench.link.late.len() <= LATE_FENCES);
    }
    bench.link.shut_down();
    witness.watch(&mut bench.link);
    witness.settled.sort_unstable();
    assert_eq!(witness.settled, (0..sent).collect::<Vec<_>>());
    let status = bench.link.status();
    assert_eq!((status.queued, status.unfenced, status.octets), (0, 0, 0));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    /// Each reference is settled once, `Ok` only behind an answered fence; order is kept, and memory is bounded.
    #[test]
    fn whatever_happens_it_never_lies(steps in prop::collection::vec(any_step(), 0..60)) {
        play(&steps);
    }
}
