use proptest::prelude::*;

use super::*;

const ROSTER: &str = "<item jid='both@net.example' subscription='both'/><item jid='to@net.example' subscription='to'/>\
    <item jid='from@net.example' subscription='from'/><item jid='asked@net.example' subscription='none' ask='subscribe'/>\
    <item jid='both@far.example' subscription='both'/><item jid='x@ocs.example' subscription='both'/>";

fn settings() -> Settings {
    Settings {
        account: Jid::parse("alice@net.example").unwrap(),
        user: Jid::parse("alice@ocs.example").unwrap(),
        domains: vec![
            DomainPattern::parse("far.example"),
            DomainPattern::parse("*.net.example"),
        ],
        own_domains: BTreeSet::from(["ocs.example".to_owned(), "other.example".to_owned()]),
        software: Software {
            name: "stoxgate".to_owned(),
            version: "1".to_owned(),
        },
    }
}

fn element(xml: &str) -> Element {
    let end = xml.find([' ', '/', '>']).unwrap();
    let (name, rest) = xml.split_at(end);
    format!("{name} xmlns='jabber:client'{rest}")
        .parse()
        .expect(xml)
}

/// An account with its commands in short words.
struct Bench {
    account: Account,
}

impl Bench {
    fn new() -> Self {
        Self {
            account: Account::new(settings()),
        }
    }

    /// In a session, with that roster read.
    fn up(roster: &str) -> Self {
        let mut bench = Self::new();
        bench.log_in(1, roster);
        bench.words();
        bench
    }

    fn log_in(&mut self, session: u32, roster: &str) {
        self.account.bound("alice@net.example/r1").unwrap();
        self.server(&format!(
            "<iq type='result' id='roster-{session}' to='alice@net.example/r1'><query xmlns='jabber:iq:roster'>{roster}</query></iq>"
        ));
    }

    fn server(&mut self, xml: &str) {
        self.account.receive(element(xml));
    }

    fn link(&mut self, xml: &str) {
        let element = element(xml);
        let to = Jid::parse(element.attr("to").unwrap()).unwrap();
        self.account.write(&to.domain, &element);
    }

    fn words(&mut self) -> Vec<String> {
        let word = |command| match command {
            Command::Write(element) => format!("write {}", text(&element)),
            Command::Deliver { partner, element } => format!("{partner}: {}", text(&element)),
            Command::Note(note) => note.to_string(),
        };
        std::iter::from_fn(|| self.account.poll_command())
            .map(word)
            .collect()
    }

    #[track_caller]
    fn expect(&mut self, expected: &[&str]) {
        assert_eq!(self.words(), expected);
    }
}

fn text(element: &Element) -> String {
    String::from(element)
        .replace(" xmlns='jabber:client'", "")
        .replace(" xmlns=\"jabber:client\"", "")
        .replace('"', "'")
}

#[test]
fn a_session_begins_with_the_roster_and_presence() {
    let mut bench = Bench::new();
    bench.account.bound("Alice@NET.example/r1").unwrap();
    bench.expect(&["write <iq id='roster-1' type='get'><query xmlns='jabber:iq:roster'/></iq>"]);
    bench.link(
        "<message from='alice@ocs.example' to='both@net.example'><body>early</body></message>",
    );
    bench.server("<iq type='result' id='roster-1' from='romeo@net.example'/>");
    bench.expect(&["a stanza is dropped: it answers nothing that was asked"]);
    bench.log_in(2, ROSTER);
    bench.words();
    assert!(bench.account.ready);
    let refused = bench.account.bound("mallory@net.example/r1");
    assert_eq!(refused, Err(NotOurs("mallory@net.example/r1".to_owned())));
    assert!(bench.account.bound("@").is_err());
}

#[test]
fn a_server_without_roster_is_named() {
    let mut bench = Bench::new();
    bench.account.bound("alice@net.example/r1").unwrap();
    bench.words();
    bench.server("<iq type='error' id='roster-1'><error type='cancel'><service-unavailable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>");
    bench.expect(&["the server does not give the roster: service-unavailable"]);
}

/// What comes from the server, and what becomes of it.
#[test]
fn stanzas_of_the_server() {
    let rows: &[(&str, &[&str])] = &[
        // Messages, whatever address of ours they are for.
        (
            "<message from='to@net.example/x' to='alice@net.example/r1' id='1'><body>b</body></message>",
            &[
                "net.example: <message from='to@net.example/x' id='1' to='alice@ocs.example'><body>b</body></message>",
            ],
        ),
        (
            "<message from='r@Far.example/x' to='Alice@net.example'><body>b</body></message>",
            &[
                "far.example: <message from='r@Far.example/x' to='alice@ocs.example'><body>b</body></message>",
            ],
        ),
        (
            "<message from='r@a.net.example'><body>b</body></message>",
            &[
                "a.net.example: <message from='r@a.net.example' to='alice@ocs.example'><body>b</body></message>",
            ],
        ),
        (
            "<message from='to@net.example' to='alice@net.example/r1' type='error' id='7'/>",
            &[
                "net.example: <message from='to@net.example' id='7' to='alice@ocs.example' type='error'/>",
            ],
        ),
        // Not for us, or from nobody.
        (
            "<message from='to@net.example' to='alice@net.example/r2'/>",
            &["a stanza is dropped: it is not for this account"],
        ),
        (
            "<message from='to@net.example' to='bob@ocs.example'/>",
            &["a stanza is dropped: it is not for this account"],
        ),
        (
            "<message from='@' to='alice@net.example'/>",
            &["a stanza is dropped: its addresses cannot be read"],
        ),
        ("<stream/>", &["a stanza is dropped: it is no stanza"]),
        // In our own name, or from where the account reaches nobody.
        (
            "<message from='bob@ocs.example' to='alice@net.example' id='2'><body>b</body></message>",
            &[
                "write <message id='2' to='bob@ocs.example' type='error'><error type='cancel'><service-unavailable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></message>",
                "a stanza is dropped: it claims to come from a SIP domain of ours",
            ],
        ),
        (
            "<message from='bob@OCS.example.' to='alice@net.example' type='error'/>",
            &["a stanza is dropped: it claims to come from a SIP domain of ours"],
        ),
        (
            "<presence from='bob@other.example' to='alice@net.example' type='subscribe'/>",
            &["a stanza is dropped: it claims to come from a SIP domain of ours"],
        ),
        (
            "<message from='x@elsewhere.example' to='alice@net.example' id='3'/>",
            &[
                "write <message id='3' to='x@elsewhere.example' type='error'><error type='cancel'><service-unavailable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></message>",
                "a stanza is dropped: its sender's domain is not among the account's domains",
            ],
        ),
        // Copies and other clients of the account.
        (
            "<message from='alice@net.example' to='alice@net.example/r1'><received xmlns='urn:xmpp:carbons:2'/></message>",
            &["a stanza is dropped: it comes from the account itself"],
        ),
        (
            "<message to='alice@net.example/r1'><body>b</body></message>",
            &["a stanza is dropped: it comes from the account itself"],
        ),
        (
            "<presence from='alice@net.example/r1' to='alice@net.example/r1'/>",
            &[],
        ),
        ("<presence from='alice@net.example/phone'/>", &[]),
        // Queries.
        (
            "<iq type='get' id='p' from='net.example' to='alice@net.example/r1'><ping xmlns='urn:xmpp:ping'/></iq>",
            &["write <iq id='p' to='net.example' type='result'/>"],
        ),
        (
            "<iq type='get' id='p' from='to@net.example/x' to='alice@net.example/r1'><ping xmlns='urn:xmpp:ping'/></iq>",
            &[
                "write <iq id='p' to='to@net.example/x' type='error'><error type='cancel'><service-unavailable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>",
            ],
        ),
        (
            "<iq type='set' id='s' from='to@net.example/x'><query xmlns='jabber:iq:roster'><item jid='mallory@net.example' subscription='both'/></query></iq>",
            &[
                "write <iq id='s' to='to@net.example/x' type='error'><error type='cancel'><service-unavailable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>",
            ],
        ),
        (
            "<iq type='result' id='never' from='net.example'/>",
            &["a stanza is dropped: it answers nothing that was asked"],
        ),
    ];
    for (xml, expected) in rows {
        let mut bench = Bench::up(ROSTER);
        bench.server(xml);
        assert_eq!(bench.words(), *expected, "{xml}");
    }
}

/// What links write to contacts, and what goes out or comes back.
#[test]
fn stanzas_of_links() {
    const P: &str = "<presence from='alice@ocs.example'";
    let rows: &[(&str, &[&str])] = &[
        (
            "<message from='alice@ocs.example' id='1' to='to@net.example' type='chat'><body>b</body></message>",
            &["write <message id='1' to='to@net.example' type='chat'><body>b</body></message>"],
        ),
        (
            "<message from='alice@ocs.example' id='1' to='to@net.example/x' type='error'/>",
            &["write <message id='1' to='to@net.example/x' type='error'/>"],
        ),
        // To himself.
        (
            "<message from='alice@ocs.example' id='1' to='alice@net.example/x' type='chat'><body>b</body></message>",
            &[
                "net.example: <message from='alice@net.example' id='1' to='alice@ocs.example' type='error'><error type='cancel'><service-unavailable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></message>",
            ],
        ),
        (
            " to='alice@net.example' type='subscribe'/>",
            &[
                "net.example: <presence from='alice@net.example' to='alice@ocs.example' type='unsubscribed'/>",
            ],
        ),
        // Whom the SIP user watches.
        (
            " to='new@net.example' type='subscribe'/>",
            &["write <presence to='new@net.example' type='subscribe'/>"],
        ),
        (
            " to='to@net.example' type='subscribe'/>",
            &[
                "net.example: <presence from='to@net.example' to='alice@ocs.example' type='subscribed'/>",
            ],
        ),
        (
            " to='both@net.example' type='probe'/>",
            // Its server has not told yet.
            &[],
        ),
        (" to='asked@net.example' type='probe'/>", &[]),
        (
            " to='from@net.example' type='probe'/>",
            &[
                "net.example: <presence from='from@net.example' to='alice@ocs.example' type='unsubscribed'/>",
            ],
        ),
        (" to='to@net.example' type='unavailable'/>", &[]),
        // Who watches him.
        (
            " to='new@net.example' type='subscribed'/>",
            &["write <presence to='new@net.example' type='subscribed'/>"],
        ),
        (" to='from@net.example' type='subscribed'/>", &[]),
        (" to='to@net.example' type='unsubscribed'/>", &[]),
        (
            " to='from@net.example'><show>dnd</show><priority>-3</priority></presence>",
            &["write <presence><show>dnd</show></presence>"],
        ),
        // Who does not, whatever the core believes.
        (
            " to='to@net.example'/>",
            &[
                "net.example: <presence from='to@net.example' to='alice@ocs.example' type='unsubscribe'/>",
            ],
        ),
    ];
    for (xml, expected) in rows {
        let mut bench = Bench::up(ROSTER);
        let xml = if xml.starts_with('<') {
            (*xml).to_owned()
        } else {
            format!("{P}{xml}")
        };
        bench.link(&xml);
        assert_eq!(bench.words(), *expected, "{xml}");
    }
}

#[test]
fn the_answer_to_a_fence_goes_back_to_the_link() {
    let mut bench = Bench::up(ROSTER);
    let fence = |bench: &mut Bench, to: &str, id: &str| {
        bench.link(&format!("<iq from='ocs.example' id='{id}' to='{to}' type='get'><ping xmlns='urn:xmpp:ping'/></iq>"));
        bench.expect(&[&format!(
            "write <iq id='{id}' to='{to}' type='get'><ping xmlns='urn:xmpp:ping'/></iq>"
        )]);
    };
    fence(&mut bench, "far.example", "f1");
    fence(&mut bench, "net.example", "f2");
    // Nobody else answers for a domain.
    for liar in ["net.example", "mallory@far.example", "far.example/x"] {
        bench.server(&format!(
            "<iq type='result' id='f1' from='{liar}' to='alice@net.example/r1'/>"
        ));
        bench.expect(&["a stanza is dropped: it answers nothing that was asked"]);
    }
    bench.server("<iq type='result' id='f1' to='alice@net.example/r1'/>");
    bench.expect(&["a stanza is dropped: it answers nothing that was asked"]);
    bench.server("<iq type='error' id='f1' from='far.example' to='alice@net.example/r1'/>");
    bench.expect(&["far.example: <iq from='far.example' id='f1' to='ocs.example' type='error'/>"]);
    bench.server("<iq type='error' id='f1' from='far.example' to='alice@net.example/r1'/>");
    bench.expect(&["a stanza is dropped: it answers nothing that was asked"]);
    // Its own server may leave itself out.
    bench.server("<iq type='result' id='f2'/>");
    bench.expect(&["net.example: <iq from='net.example' id='f2' to='ocs.example' type='result'/>"]);
    // Another session answers nothing of this one.
    fence(&mut bench, "far.example", "f3");
    bench.log_in(2, ROSTER);
    bench.words();
    bench.server("<iq type='result' id='f3' from='far.example'/>");
    bench.expect(&["a stanza is dropped: it answers nothing that was asked"]);
}

#[test]
fn what_a_contact_shows_is_kept_for_who_asks_later() {
    let mut bench = Bench::up(ROSTER);
    bench.server("<presence from='to@net.example/a'><show>away</show></presence>");
    bench.server("<presence from='to@net.example/b'/>");
    bench.server("<presence from='to@net.example/b' type='unavailable'/>");
    bench.words();
    bench.link("<presence from='alice@ocs.example' to='to@net.example' type='probe'/>");
    bench.expect(&["net.example: <presence from='to@net.example/a' to='alice@ocs.example'><show>away</show></presence>"]);
    bench.server("<presence from='to@net.example/a' type='unavailable'/>");
    bench.words();
    bench.link("<presence from='alice@ocs.example' to='to@net.example' type='probe'/>");
    bench.expect(&[
        "net.example: <presence from='to@net.example' to='alice@ocs.example' type='unavailable'/>",
    ]);
    // Whoever is no contact is passed on and not kept.
    bench.server("<presence from='stranger@net.example/a'/>");
    bench
        .expect(&["net.example: <presence from='stranger@net.example/a' to='alice@ocs.example'/>"]);
    bench.server("<presence from='stranger@net.example/a' type='unavailable'/>");
    let stranger = Jid::parse("stranger@net.example").unwrap();
    assert_eq!(bench.account.seen.of(&stranger), None);
}

fn push(jid: &str, rest: &str) -> String {
    format!(
        "<iq type='set' id='u' to='alice@net.example/r1'><query xmlns='jabber:iq:roster'><item jid='{jid}' {rest}/></query></iq>"
    )
}

#[test]
fn roster_pushes_are_acknowledged_and_told_as_the_contact_would() {
    let ack = "write <iq id='u' type='result'/>";
    let said = |contact: &str, kind: &str| {
        format!("net.example: <presence from='{contact}' to='alice@ocs.example' type='{kind}'/>")
    };
    let rows = [
        ("asked@net.example", "subscription='to'", vec!["subscribed"]),
        (
            "to@net.example",
            "subscription='none'",
            vec!["unsubscribed"],
        ),
        (
            "to@net.example",
            "subscription='remove'",
            vec!["unsubscribed"],
        ),
        (
            "both@net.example",
            "subscription='remove'",
            vec!["unsubscribed", "unsubscribe"],
        ),
        ("both@net.example", "subscription='to'", vec!["unsubscribe"]),
        // Another client of the account has let her: the SIP side is asked, too.
        ("new@net.example", "subscription='from'", vec!["subscribe"]),
        (
            "both@net.example",
            "subscription='both' name='B'",
            vec!["subscribe"],
        ),
        ("from@net.example", "subscription='from' name='B'", vec![]),
        (
            "new@net.example",
            "subscription='none' ask='subscribe'",
            vec![],
        ),
    ];
    for (contact, rest, kinds) in rows {
        let mut bench = Bench::up(ROSTER);
        bench.server(&push(contact, rest));
        let mut expected = vec![ack.to_owned()];
        expected.extend(kinds.into_iter().map(|kind| said(contact, kind)));
        assert_eq!(bench.words(), expected, "{contact} {rest}");
    }
    let mut bench = Bench::up(ROSTER);
    bench.server(&push("x@elsewhere.example", "subscription='both'"));
    bench.server(&push("@", "subscription='both'"));
    bench.expect(&[ack, ack]);
}

#[test]
fn contacts_who_may_see_the_account_are_made_known_once() {
    let mut bench = Bench::new();
    bench.account.bound("alice@net.example/r1").unwrap();
    bench.words();
    bench.log_in(2, ROSTER);
    bench.expect(&[
        "write <iq id='roster-2' type='get'><query xmlns='jabber:iq:roster'/></iq>",
        "the roster is read: 6 contacts",
        "write <presence><show>xa</show></presence>",
        "net.example: <presence from='from@net.example' to='alice@ocs.example' type='subscribe'/>",
    ]);
    bench.server("<presence from='both@net.example/x'/>");
    bench.expect(&[
        "net.example: <presence from='both@net.example' to='alice@ocs.example' type='subscribe'/>",
        "net.example: <presence from='both@net.example/x' to='alice@ocs.example'/>",
    ]);
    bench.server("<presence from='both@net.example/y'/>");
    bench.expect(&["net.example: <presence from='both@net.example/y' to='alice@ocs.example'/>"]);
    bench.log_in(3, ROSTER);
    let words = bench.words();
    assert!(
        !words.iter().any(|word| word.contains("'subscribe'")),
        "{words:?}"
    );
}

#[test]
fn one_presence_stands_for_all_devices_and_contacts() {
    let mut bench = Bench::up(ROSTER);
    let tell = |bench: &mut Bench, device: &str, contact: &str, inner: &str| {
        bench.link(&format!(
            "<presence from='alice@ocs.example{device}' to='{contact}'>{inner}</presence>"
        ));
    };
    tell(&mut bench, "/a", "both@net.example", "<show>away</show>");
    bench.expect(&["write <presence><show>away</show></presence>"]);
    tell(
        &mut bench,
        "/b",
        "both@net.example",
        "<status>here</status>",
    );
    bench.expect(&["write <presence><status>here</status></presence>"]);
    // The others are told the same: no news.
    tell(
        &mut bench,
        "/b",
        "from@net.example",
        "<status>here</status>",
    );
    bench.expect(&[]);
    tell(
        &mut bench,
        "/c",
        "from@net.example",
        "<show>dnd</show><priority>5</priority>",
    );
    bench.expect(&["write <presence><show>dnd</show></presence>"]);
    // One of whom the core lets go takes her view with her.
    bench.link("<presence from='alice@ocs.example' to='from@net.example' type='unavailable'/>");
    bench.expect(&["write <presence><status>here</status></presence>"]);
    bench.link("<presence from='alice@ocs.example/b' to='both@net.example' type='unavailable'/>");
    bench.expect(&["write <presence><show>away</show></presence>"]);
    bench.server("<presence from='both@net.example/x'/>");
    bench.words();
    bench.server("<presence from='both@net.example/x' type='unavailable'/>");
    bench.expect(&[
        "net.example: <presence from='both@net.example/x' to='alice@ocs.example' type='unavailable'/>",
        "write <presence><show>xa</show></presence>",
    ]);
}

#[test]
fn a_request_is_answered_by_the_sip_user() {
    let request = |bench: &mut Bench| {
        bench.server("<presence from='new@net.example' id='7' type='subscribe'/>");
        bench.expect(&["net.example: <presence from='new@net.example' id='7' to='alice@ocs.example' type='subscribe'/>"]);
    };
    let answer = |kind: &str, inner: &str| {
        format!(
            "<presence from='alice@ocs.example' to='new@net.example' type='{kind}'>{inner}</presence>"
        )
    };
    let refused = &["write <presence to='new@net.example' type='unsubscribed'/>"];

    let mut bench = Bench::up("");
    request(&mut bench);
    bench.link(&answer("subscribed", ""));
    bench.link("<presence from='alice@ocs.example/d' to='new@net.example'/>");
    bench.server(&push("new@net.example", "subscription='from'"));
    bench.expect(&[
        "write <presence to='new@net.example' type='subscribed'/>",
        "write <presence/>",
        "write <iq id='u' type='result'/>",
    ]);
    // He takes it back; the echo of that in the roster is no news.
    bench.link(&answer("unsubscribed", ""));
    bench.server(&push("new@net.example", "subscription='none'"));
    bench.expect(&[
        "write <presence to='new@net.example' type='unsubscribed'/>",
        "write <presence><show>xa</show></presence>",
        "write <iq id='u' type='result'/>",
    ]);

    let mut bench = Bench::up("");
    request(&mut bench);
    bench.link(&answer("unsubscribed", ""));
    bench.expect(refused);

    let mut bench = Bench::up("");
    request(&mut bench);
    bench.link(&answer("error", "<error type='wait'/>"));
    bench.expect(&[]);
    bench.link(&answer("error", "<error type='cancel'/>"));
    bench.expect(refused);
    bench.link(&answer("error", "<error type='cancel'/>"));
    bench.expect(&[]);
}

#[test]
fn rights_from_before_the_gateway_survive_a_sip_side_that_refuses() {
    let mut bench = Bench::up(ROSTER);
    let deny = "<presence from='alice@ocs.example' to='from@net.example' type='unsubscribed'/>";
    bench.link(deny);
    bench.expect(&[]);
    // What it granted once, it may take back.
    bench.link("<presence from='alice@ocs.example' to='from@net.example' type='subscribed'/>");
    bench.expect(&[]);
    bench.link(deny);
    bench.expect(&["write <presence to='from@net.example' type='unsubscribed'/>"]);
}

#[test]
fn a_room_knows_the_sip_user_by_the_address_he_joined_with() {
    let mut bench = Bench::up(ROSTER);
    bench.link("<presence from='alice@ocs.example/leg1' to='hall@rooms.net.example/Al'><x xmlns='http://jabber.org/protocol/muc'/></presence>");
    bench.expect(&["write <presence to='hall@rooms.net.example/Al'><x xmlns='http://jabber.org/protocol/muc'/></presence>"]);
    bench.server("<presence from='hall@rooms.net.example/Bo' to='alice@net.example/r1'/>");
    bench.server("<message from='hall@rooms.net.example/Bo' to='alice@net.example/r1' type='groupchat'><body>b</body></message>");
    bench.expect(&[
        "rooms.net.example: <presence from='hall@rooms.net.example/Bo' to='alice@ocs.example/leg1'/>",
        "rooms.net.example: <message from='hall@rooms.net.example/Bo' to='alice@ocs.example/leg1' type='groupchat'><body>b</body></message>",
    ]);
    bench.link("<presence from='alice@ocs.example/leg1' to='hall@rooms.net.example/Al' type='unavailable'/>");
    bench.expect(&["write <presence to='hall@rooms.net.example/Al' type='unavailable'/>"]);
}

#[test]
fn a_lost_session_leaves_nothing_to_write() {
    let mut bench = Bench::up(ROSTER);
    bench.link("<message from='alice@ocs.example' to='to@net.example'><body>b</body></message>");
    bench.server("<message from='to@net.example'><body>taken</body></message>");
    bench.account.lost();
    bench.expect(&["net.example: <message from='to@net.example' to='alice@ocs.example'><body>taken</body></message>"]);
    bench.link("<message from='alice@ocs.example' to='to@net.example'><body>b</body></message>");
    bench.server("<message from='to@net.example'><body>late</body></message>");
    bench.expect(&["a stanza is dropped: it is not for this account"]);
}

fn any_address() -> impl Strategy<Value = String> {
    let known = [
        "alice@net.example",
        "alice@net.example/r1",
        "alice@net.example/r2",
        "net.example",
        "to@net.example",
        "both@net.example/x",
        "from@net.example",
        "r@far.example",
        "bob@ocs.example",
        "bob@other.example/x",
        "ocs.example",
        "BOB@OCS.EXAMPLE.",
        "x@elsewhere.example",
        "hall@rooms.net.example/Al",
        "@",
        "",
        "a@b@c",
    ];
    prop_oneof![6 => prop::sample::select(known.to_vec()).prop_map(str::to_owned), 1 => "[a-zA-Z@/.é ]{0,12}"]
}

fn any_stanza() -> impl Strategy<Value = Element> {
    let kinds = [
        "",
        "get",
        "set",
        "result",
        "error",
        "subscribe",
        "subscribed",
        "unsubscribe",
        "unsubscribed",
        "unavailable",
        "probe",
        "chat",
        "odd",
    ];
    let payloads = [
        "",
        "<body xmlns='jabber:client'>b</body>",
        "<show xmlns='jabber:client'>away</show>",
        "<priority xmlns='jabber:client'>-129</priority>",
        "<ping xmlns='urn:xmpp:ping'/>",
        "<error xmlns='jabber:client' type='wait'/>",
        "<x xmlns='http://jabber.org/protocol/muc'/>",
        "<query xmlns='jabber:iq:roster'><item jid='bob@ocs.example' subscription='both'/></query>",
        "<query xmlns='jabber:iq:roster'><item jid='new@net.example' subscription='both'/></query>",
        "<query xmlns='jabber:iq:roster'><item/></query>",
        "<received xmlns='urn:xmpp:carbons:2'><forwarded xmlns='urn:xmpp:forward:0'><message xmlns='jabber:client' from='bob@ocs.example'/></forwarded></received>",
    ];
    (
        prop::sample::select(&["message", "presence", "iq"][..]),
        prop::option::of(any_address()),
        prop::option::of(any_address()),
        prop::sample::select(kinds.to_vec()),
        prop::option::of(prop::sample::select(&["roster-1", "i1", "i2"][..])),
        prop::collection::vec(prop::sample::select(payloads.to_vec()), 0..3),
    )
        .prop_map(|(name, from, to, kind, id, payloads)| {
            let mut stanza = Element::bare(name, ns::JABBER_CLIENT);
            let attributes = [
                ("from", from),
                ("to", to),
                ("id", id.map(str::to_owned)),
                ("type", (!kind.is_empty()).then(|| kind.to_owned())),
            ];
            for (name, value) in attributes {
                if let Some(value) = value {
                    xml::set_attr(&mut stanza, rxml::NcName::try_from(name).unwrap(), &value);
                }
            }
            for payload in payloads.into_iter().filter(|payload| !payload.is_empty()) {
                stanza.append_child(payload.parse().unwrap());
            }
            stanza
        })
}

proptest! {
    /// Whatever the server and the links say: nothing is delivered in the name of a SIP domain of ours or of a domain that the
    /// account does not reach, nothing to anybody but that SIP user and his domain, and nothing is written in a name.
    #[test]
    fn keeps_to_its_own(steps in prop::collection::vec((any::<bool>(), any_stanza()), 0..40)) {
        let mut bench = Bench::up(ROSTER);
        for (from_server, stanza) in steps {
            if from_server {
                bench.account.receive(stanza);
            } else {
                let mut stanza = stanza;
                let domain = stanza.name() == "iq";
                xml::set_attr(&mut stanza, xml_ncname!("from").into(), if domain { "ocs.example" } else { "alice@ocs.example/d" });
                let to = stanza.attr("to").and_then(|to| Jid::parse(to).ok());
                bench.account.write(&to.map_or("net.example".to_owned(), |to| to.domain), &stanza);
            }
            while let Some(command) = bench.account.poll_command() {
                match command {
                    Command::Write(element) => prop_assert_eq!(element.attr("from"), None),
                    Command::Deliver { partner, element } => {
                        let from = Jid::parse(element.attr("from").unwrap()).unwrap();
                        let to = Jid::parse(element.attr("to").unwrap()).unwrap();
                        prop_assert_eq!(canonical_domain(&from.domain), partner);
                        prop_assert!(to.bare().to_string() == "alice@ocs.example" || to.to_string() == "ocs.example");
                        let asked = element.name() == "iq";
                        prop_assert!(settings().reaches(&from.domain), "{}", text(&element));
                        let refuses = matches!(element.attr("type"), Some("error" | "unsubscribed"));
                        prop_assert!(asked || refuses || from.bare().canonical() != settings().account);
                    }
                    Command::Note(_) => {}
                }
            }
        }
    }
}
