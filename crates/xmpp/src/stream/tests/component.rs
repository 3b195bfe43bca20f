//! A component's stream to its server: octets in, commands out, on virtual time.

use minidom::Element;

use super::*;
use crate::stream::component::ComponentStream;

const OURS: &str = "<?xml version='1.0'?><stream:stream xmlns='jabber:component:accept' \
                    xmlns:stream='http://etherx.jabber.org/streams' to='sip.test'>";
const THEIRS: &str = "<?xml version='1.0'?><stream:stream xmlns='jabber:component:accept' \
                      xmlns:stream='http://etherx.jabber.org/streams' from='sip.test' id='3BF96D32'>";
/// SHA-1 of `3BF96D32` and `test`, by `sha1sum`.
const SHAKEN: &str = "<handshake>aaee83c26aeeafcbabeabfcbcd50df997e0a2a1e</handshake>";
const ECHO: &str = "<iq type='get' id='stoxgate-echo' from='sip.test' to='sip.test'><ping xmlns='urn:xmpp:ping'/></iq>";

struct Component {
    stream: ComponentStream,
    now: Now,
}

impl Component {
    fn new() -> Self {
        let settings = ComponentSettings {
            domain: "sip.test".to_owned(),
            own_domains: names(&["sip.test", "other.test"]),
            secret: ComponentSecret::new("test"),
            limits: Limits::default(),
            timing: Timing::default(),
        };
        Self {
            stream: ComponentStream::new(Arc::new(settings), at(0)),
            now: at(0),
        }
    }

    /// Authenticated, with everything taken.
    fn ready() -> Self {
        let mut component = Self::new();
        component.take(THEIRS);
        component.take("<handshake/>");
        component
    }

    fn take(&mut self, text: &str) -> Vec<Seen<ComponentEvent>> {
        self.stream.receive(text.as_bytes(), self.now);
        self.seen()
    }

    fn seen(&mut self) -> Vec<Seen<ComponentEvent>> {
        seen(|| self.stream.poll_command())
    }

    fn time_out_at(&mut self, seconds: u64) -> Vec<Seen<ComponentEvent>> {
        assert_eq!(self.stream.poll_timeout(), Some(at(seconds).mono));
        self.now = at(seconds);
        self.stream.handle_timeout(self.now);
        self.seen()
    }

    fn send(&mut self, stanza: &str) -> Result<(), NotReady> {
        let stanza: Element = stanza.parse().unwrap();
        self.stream.send(&stanza, self.now)
    }
}

fn ended(wire: &str, reason: CloseReason) -> Vec<Seen<ComponentEvent>> {
    vec![
        wrote(wire),
        Seen::Said(ComponentEvent::Closed(reason)),
        Seen::Close,
    ]
}

fn refused(condition: StreamCondition, text: &str) -> Vec<Seen<ComponentEvent>> {
    let error = StreamError::new(condition, text);
    ended(
        &format!("{}</stream:stream>", error.to_wire()),
        CloseReason::Refused(error),
    )
}

#[test]
fn shakes_hands_and_carries_stanzas_both_ways() {
    let mut component = Component::new();
    assert_eq!(component.seen(), [wrote(OURS)]);
    assert_eq!(component.take(THEIRS), [wrote(SHAKEN)]);
    assert_eq!(
        component
            .send("<message xmlns='jabber:client' from='bob@sip.test' to='romeo@jabber.test'/>"),
        Err(NotReady::Pair),
        "not before the server has taken the secret"
    );
    assert_eq!(
        component.take("<handshake/>"),
        [Seen::Said(ComponentEvent::Ready), wrote(ECHO)]
    );
    component
        .send("<message xmlns='jabber:client' from='Bob@SIP.test/x' to='romeo@jabber.test'><body>1</body></message>")
        .unwrap();
    assert_eq!(
        component.seen(),
        [wrote(
            "<message from='Bob@SIP.test/x' to='romeo@jabber.test'><body>1</body></message>"
        )]
    );
    let element = "<message xmlns='jabber:client' from='romeo@Jabber.test/a' to='bob@sip.test'><body>2</body></message>";
    assert_eq!(
        component
            .take("<message from='romeo@Jabber.test/a' to='bob@sip.test'><body>2</body></message>"),
        [Seen::Said(ComponentEvent::Stanza {
            remote: "jabber.test".to_owned(),
            element: element.parse().unwrap(),
        })]
    );
}

#[test]
fn each_octet_alone_gives_the_same() {
    let mut component = Component::new();
    let mut list = component.seen();
    for octet in format!("{THEIRS}<handshake/>").bytes() {
        component.stream.receive(&[octet], component.now);
        list.extend(component.seen());
    }
    assert_eq!(
        list,
        [
            wrote(OURS),
            wrote(SHAKEN),
            Seen::Said(ComponentEvent::Ready),
            wrote(ECHO)
        ]
    );
}

#[test]
fn refusals_of_the_server_are_told() {
    for (condition, before) in [
        (StreamCondition::NotAuthorized, THEIRS.to_owned()),
        (StreamCondition::HostUnknown, THEIRS.replace("3BF96D32", "")),
        (StreamCondition::Conflict, format!("{THEIRS}<handshake/>")),
    ] {
        let mut component = Component::new();
        component.take(&before);
        let error = StreamError::new(condition, "no");
        assert_eq!(
            component.take(&format!("{}</stream:stream>", error.to_wire())),
            ended("</stream:stream>", CloseReason::PeerError(error)),
        );
    }
}

#[test]
fn what_comes_too_early_or_in_another_language_ends_the_stream() {
    let message = "<message from='romeo@jabber.test' to='bob@sip.test'/>";
    let cases = [
        (
            THEIRS.replace("jabber:component:accept", "jabber:client"),
            StreamCondition::InvalidNamespace,
            "this is the stream of a component (jabber:component:accept)",
        ),
        (
            THEIRS.replace("jabber:component:accept", "jabber:server"),
            StreamCondition::InvalidNamespace,
            "this is the stream of a component (jabber:component:accept)",
        ),
        (
            THEIRS.replace(" id='3BF96D32'", "") + "<handshake/>",
            StreamCondition::BadFormat,
            "no stream id",
        ),
        (
            THEIRS.replace("3BF96D32", "") + message,
            StreamCondition::BadFormat,
            "no stream id",
        ),
        (
            format!("{THEIRS}{message}"),
            StreamCondition::NotAuthorized,
            "the handshake is not answered",
        ),
        (
            format!("{THEIRS}<handshake xmlns='urn:else'/>"),
            StreamCondition::NotAuthorized,
            "the handshake is not answered",
        ),
        (
            format!("{THEIRS}<message>{}", "x".repeat(10_001)),
            StreamCondition::PolicyViolation,
            "larger than this server takes",
        ),
        (
            format!("{THEIRS}<handshake/>{}", "<a>".repeat(64 * 1_024 + 1)),
            StreamCondition::PolicyViolation,
            "elements nested too deep",
        ),
        (
            format!("{THEIRS}<handshake/><message>{}", "x".repeat(8 * 262_144)),
            StreamCondition::PolicyViolation,
            "larger than this server takes",
        ),
    ];
    for (input, condition, text) in cases {
        let mut component = Component::new();
        let list = component.take(&input);
        let end = refused(condition, text);
        let Seen::Wrote(last) = &list[list.len() - 3] else {
            panic!("{list:?}");
        };
        let Seen::Wrote(expected) = &end[0] else {
            unreachable!()
        };
        assert!(last.ends_with(expected.as_str()), "{input:.300}: {last}");
        assert_eq!(&list[list.len() - 2..], &end[1..], "{input:.300}");
    }
}

#[test]
fn what_is_none_of_our_business_is_dropped_and_the_stream_goes_on() {
    let mut component = Component::ready();
    let cases = [
        (
            "<presence from='mallory@other.test' to='bob@sip.test'/>",
            Odd::OwnDomain("other.test".to_owned()),
        ),
        (
            "<message from='bob@sip.test' to='carol@sip.test'/>",
            Odd::OwnDomain("sip.test".to_owned()),
        ),
        (
            "<message from='romeo@jabber.test' to='bob@other.test'/>",
            Odd::NotForUs("other.test".to_owned()),
        ),
        ("<message to='bob@sip.test'/>", Odd::Addresses),
        ("<message from='romeo@' to='bob@sip.test'/>", Odd::Addresses),
        ("<route xmlns='urn:else'/>", Odd::NotAStanza),
        (
            "<message xmlns='jabber:server' from='a@b.test' to='bob@other.test'/>",
            Odd::NotForUs("other.test".to_owned()),
        ),
    ];
    for (stanza, why) in cases {
        assert_eq!(
            component.take(stanza),
            [Seen::Said(ComponentEvent::Dropped(why))],
            "{stanza}"
        );
    }
    let presence = "<presence from='romeo@jabber.test' to='bob@sip.test'/>";
    assert_eq!(component.take(presence).len(), 1);
}

#[test]
fn one_sender_cannot_cut_off_the_others() {
    let mut component = Component::ready();
    let deep = format!("{}{}", "<a>".repeat(5_000), "</a>".repeat(5_000));
    let prefixes: String = (0..100).map(|n| format!(" xmlns:p{n}='u:{n}'")).collect();
    let attributes: String = (0..200).map(|n| format!(" a{n}='1'")).collect();
    let inside = [
        deep,
        format!("<body>{}</body>", "x".repeat(300_000)),
        "<a/>".repeat(5_000),
        format!("<a{prefixes}><p99:b/></a>"),
        format!("<a{attributes}/>"),
        format!("<a b='{}'/>", "x".repeat(300_000)),
    ];
    for inside in inside {
        let stanza =
            format!("<message from='m@b.test' to='bob@sip.test' id='1'>{inside}</message>");
        let seen = component.take(&stanza);
        let [Seen::Said(ComponentEvent::TooLarge(element))] = seen.as_slice() else {
            panic!("{inside:.100}: {seen:?}");
        };
        assert_eq!(element.attr("from"), Some("m@b.test"));
        assert!(String::from(element).len() < 300_000, "{inside:.100}");
        let next = "<message from='a@b.test' to='bob@sip.test'><body>x</body></message>";
        assert!(matches!(
            component.take(next).as_slice(),
            [Seen::Said(ComponentEvent::Stanza { .. })]
        ));
    }
    // An attribute's value of its own may be longer than rxml takes by default.
    let stanza = format!(
        "<message from='m@b.test' to='bob@sip.test'><a b='{}'/></message>",
        "x".repeat(20_000)
    );
    assert!(matches!(
        component.take(&stanza).as_slice(),
        [Seen::Said(ComponentEvent::Stanza { .. })]
    ));
}

#[test]
fn only_the_component_speaks_here() {
    let mut component = Component::ready();
    for from in ["from='bob@other.test'", ""] {
        let stanza = format!("<message xmlns='jabber:client' {from} to='romeo@jabber.test'/>");
        assert_eq!(component.send(&stanza), Err(NotReady::Pair));
    }
    assert_eq!(component.seen(), []);
}

#[test]
fn a_server_that_says_nothing_is_left() {
    let mut component = Component::new();
    component.seen();
    let error = |text: &str| {
        let error = StreamError::new(StreamCondition::ConnectionTimeout, text);
        format!("{}</stream:stream>", error.to_wire())
    };
    assert_eq!(
        component.time_out_at(10),
        ended(
            &error("no stream header in time"),
            CloseReason::Timeout(Step::Header)
        )
    );
    let mut component = Component::new();
    component.take(THEIRS);
    assert_eq!(
        component.time_out_at(30),
        ended(
            &error("no authentication in time"),
            CloseReason::Timeout(Step::Authentication)
        )
    );
    let mut component = Component::ready();
    component.take("<message from='a@b.test' ");
    assert_eq!(
        component.time_out_at(30),
        ended(
            &error("no rest of an element in time"),
            CloseReason::Timeout(Step::Element)
        )
    );
}

#[test]
fn stays_and_keeps_alive() {
    let mut component = Component::ready();
    for minute in 1..=30 {
        assert_eq!(component.time_out_at(60 * minute), [wrote(" ")]);
    }
}

#[test]
fn a_server_that_sent_the_echo_back_once_must_do_it_again() {
    let mut component = Component::ready();
    assert_eq!(component.take(ECHO), [], "it came back");
    // The space of the carrier and the ping are due together.
    assert_eq!(component.time_out_at(60), [wrote(format!(" {ECHO}"))]);
    assert_eq!(component.take(" "), [], "any octet shows life");
    assert_eq!(component.time_out_at(120), [wrote(format!(" {ECHO}"))]);
    assert_eq!(component.take(ECHO), []);
    assert_eq!(component.time_out_at(180), [wrote(format!(" {ECHO}"))]);
    let error = StreamError::new(
        StreamCondition::ConnectionTimeout,
        "no sign of life in time",
    );
    assert_eq!(
        component.time_out_at(210),
        ended(
            &format!("{}</stream:stream>", error.to_wire()),
            CloseReason::Timeout(Step::Life)
        )
    );
}

#[test]
fn a_stream_that_closes_is_not_begun() {
    let mut component = Component::new();
    component.stream.close(component.now);
    assert_eq!(component.seen(), [wrote(OURS.to_owned() + CLOSING)]);
    assert_eq!(component.take(THEIRS), []);
    assert_eq!(
        component.take("<handshake/>"),
        [
            Seen::Said(ComponentEvent::Closed(CloseReason::Requested)),
            Seen::Close
        ]
    );
}

#[test]
fn closes_in_order_and_takes_what_still_comes() {
    let mut component = Component::ready();
    component.stream.close(component.now);
    assert_eq!(component.seen(), [wrote("</stream:stream>")]);
    let message = "<message xmlns='jabber:client' from='bob@sip.test' to='romeo@jabber.test'/>";
    assert_eq!(component.send(message), Err(NotReady::Closed));
    assert_eq!(
        component
            .take("<message from='a@b.test' to='bob@sip.test'/>")
            .len(),
        1
    );
    assert_eq!(
        component.take("</stream:stream>"),
        [
            Seen::Said(ComponentEvent::Closed(CloseReason::Requested)),
            Seen::Close
        ]
    );
    let mut component = Component::ready();
    component.stream.connection_lost();
    assert_eq!(
        component.seen(),
        [
            Seen::Said(ComponentEvent::Closed(CloseReason::ConnectionLost)),
            Seen::Close
        ]
    );
}

#[test]
fn the_secret_is_not_shown() {
    let secret = ComponentSecret::new("open sesame");
    assert_eq!(format!("{secret:?}"), "ComponentSecret(..)");
}

/// Whatever octets come behind the handshake, at once or one by one, the stream says the same.
pub(super) fn survives(octets: &[u8]) {
    let mut whole = Component::ready();
    whole.stream.receive(octets, whole.now);
    let expected = whole.seen();
    let mut pieces = Component::ready();
    for octet in octets {
        pieces.stream.receive(&[*octet], pieces.now);
    }
    assert_eq!(pieces.seen(), expected);
    whole.now = at(1_000);
    whole.stream.handle_timeout(whole.now);
    whole.seen();
}
