use std::time::Duration;

use proptest::prelude::*;
use stox_core::failure::{CONDITIONS, ErrorType, StanzaError};
use stox_core::vocab::{
    ChatState, Im, ImKind, PresenceKind, Ref, ResourcePresence, Show, Text, Trace, Wants,
};

use super::*;

const PAIR: &str = "from='alma@jabber.example/x' to='bruno@ocs.example'";
const STAMP: Duration = Duration::from_secs(1_031_699_305);

fn element(xml: &str) -> Element {
    xml.parse().expect(xml)
}

/// A stanza from alma to bruno.
fn received(name: &str, attributes: &str, inner: &str) -> Element {
    element(&format!(
        "<{name} xmlns='jabber:client' {PAIR} {attributes}>{inner}</{name}>"
    ))
}

fn jid(text: &str) -> Jid {
    Jid::parse(text).expect(text)
}

fn text(lang: Option<&str>, text: &str) -> Text {
    Text {
        lang: lang.map(str::to_owned),
        text: text.to_owned(),
    }
}

fn message(attributes: &str, inner: &str) -> Im {
    match read(&received("message", attributes, inner)) {
        Inbound::Core(XmppIn::Message { from, to, im }) => {
            assert_eq!(
                (from, to),
                (jid("alma@jabber.example/x"), jid("bruno@ocs.example"))
            );
            im
        }
        other => panic!("{other:?}"),
    }
}

fn presence(attributes: &str, inner: &str) -> PresenceKind {
    match read(&received("presence", attributes, inner)) {
        Inbound::Core(XmppIn::Presence { kind, .. }) => kind,
        other => panic!("{other:?}"),
    }
}

// ------------------------------------------------------------------------------------------- reading

#[test]
fn a_message_keeps_all_that_can_cross() {
    let im = message(
        "id='m1' type='chat' xml:lang='de'",
        "<subject>Kaffee</subject><body>  Hallo &lt;du&gt;\n </body><body xml:lang='en'>Hello</body>\
         <body xml:lang=''>?</body><thread parent='p'>t1</thread>\
         <delay xmlns='urn:xmpp:delay' from='jabber.example' stamp='2002-09-10T23:08:25Z'>Offline</delay>\
         <active xmlns='http://jabber.org/protocol/chatstates'/>",
    );
    let expected = Im {
        trace: Trace::default(),
        kind: ImKind::Chat,
        id: Some("m1".into()),
        thread: Some("t1".into()),
        subjects: vec![text(Some("de"), "Kaffee")],
        bodies: vec![
            text(Some("de"), "  Hallo <du>\n "),
            text(Some("en"), "Hello"),
            text(None, "?"),
        ],
        sent_at: Some(STAMP),
        chat_state: Some(ChatState::Active),
        rich: None,
        wants: Wants::default(),
    };
    assert_eq!(im, expected);
}

#[test]
fn kinds_of_message() {
    let rows = [
        ("", ImKind::Normal),
        ("type='normal'", ImKind::Normal),
        ("type='chat'", ImKind::Chat),
        ("type='headline'", ImKind::Headline),
        ("type='groupchat'", ImKind::Groupchat),
        ("type='CHAT'", ImKind::Normal),
        ("type='result'", ImKind::Normal),
        ("type=''", ImKind::Normal),
    ];
    for (attributes, kind) in rows {
        let im = message(attributes, "<body>x</body>");
        assert_eq!(im.kind, kind, "{attributes}");
        assert_eq!(im.bodies, [text(None, "x")], "{attributes}");
    }
}

#[test]
fn odd_payloads_lose_no_message() {
    let rows = [
        ("<body>x</body><body>y</body>", &["x", "y"][..]),
        ("<body/>", &[""]),
        ("<body>a&#13;&#10;b&#13;c</body>", &["a\nb\nc"]),
        ("<body>a<b xmlns='urn:own'>no</b>c</body>", &["ac"]),
        (
            "<body>x</body><delay xmlns='urn:xmpp:delay' stamp='soon'/>",
            &["x"],
        ),
        ("<body>x</body><thread/><error/>", &["x"]),
        (
            "<body>x</body><html xmlns='http://jabber.org/protocol/xhtml-im'><body xmlns='http://www.w3.org/1999/xhtml'>y</body></html>",
            &["x"],
        ),
        (
            "<body>u</body><x xmlns='jabber:x:oob'><url>http://w.example/</url></x>",
            &["u\nhttp://w.example/"],
        ),
        (
            "<composing xmlns='http://jabber.org/protocol/chatstates'/>",
            &[],
        ),
        ("<body xmlns='urn:own'>x</body>", &[]),
    ];
    for (inner, bodies) in rows {
        let im = message("", inner);
        let found: Vec<&str> = im.bodies.iter().map(|body| body.text.as_str()).collect();
        assert_eq!(found, bodies, "{inner}");
        assert_eq!((im.thread, im.sent_at), (None, None), "{inner}");
    }
}

#[test]
fn wrapped_stanzas_are_only_claims() {
    let inner = "<message xmlns='jabber:client' from='dora@jabber.example' to='bruno@ocs.example'><body>forged</body></message>";
    for wrapped in [
        format!(
            "<received xmlns='urn:xmpp:carbons:2'><forwarded xmlns='urn:xmpp:forward:0'>{inner}</forwarded></received>"
        ),
        format!(
            "<sent xmlns='urn:xmpp:carbons:2'><forwarded xmlns='urn:xmpp:forward:0'>{inner}</forwarded></sent>"
        ),
        format!("<forwarded xmlns='urn:xmpp:forward:0'>{inner}</forwarded>"),
        inner.to_owned(),
    ] {
        assert_eq!(message("", &wrapped), Im::default(), "{wrapped}");
    }
}

#[test]
fn errors_reach_the_core_as_errors() {
    let inner = "<body>x</body><error type='cancel'><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>";
    let error = StanzaError::new(Condition::ItemNotFound);
    let (from, to) = (jid("alma@jabber.example/x"), jid("bruno@ocs.example"));
    assert_eq!(
        read(&received("message", "id='m1' type='error'", inner)),
        Inbound::Core(XmppIn::MessageError {
            from: from.clone(),
            to: to.clone(),
            id: Some("m1".into()),
            error: error.clone(),
        })
    );
    assert_eq!(
        read(&received("presence", "type='error'", inner)),
        Inbound::Core(XmppIn::PresenceError { from, to, error })
    );
}

#[test]
fn available_presence() {
    let rich = presence(
        "id='p1' xml:lang='fr'",
        "<show>away</show><status>au bureau</status><status xml:lang='en'>at work</status><priority> 5 </priority>\
         <c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='n' ver='v'/>\
         <delay xmlns='urn:xmpp:delay' stamp='2002-09-10T23:08:25Z'/>\
         <idle xmlns='urn:xmpp:idle:1' since='2002-09-11T01:08:25+02:00'/>",
    );
    let expected = ResourcePresence {
        show: Some(Show::Away),
        statuses: vec![text(Some("fr"), "au bureau"), text(Some("en"), "at work")],
        priority: Some(5),
        lang: Some("fr".into()),
        stamp: Some(STAMP),
        idle_since: Some(STAMP),
    };
    assert_eq!(rich, PresenceKind::Available(expected));
}

#[test]
fn odd_presence_is_still_presence() {
    let rows = [
        ("", None, None),
        ("<show>chat</show>", Some(Show::Chat), None),
        (
            "<show> xa\n</show><priority>-128</priority>",
            Some(Show::ExtendedAway),
            Some(-128),
        ),
        (
            "<show>dnd</show><priority>128</priority>",
            Some(Show::DoNotDisturb),
            None,
        ),
        ("<show>busy</show><priority>127</priority>", None, Some(127)),
        ("<show/><priority/>", None, None),
        (
            "<show>away</show><show>dnd</show><priority>1</priority><priority>2</priority>",
            None,
            None,
        ),
        ("<show xmlns='urn:own'>away</show><status/>", None, None),
    ];
    for (inner, show, priority) in rows {
        let expected = ResourcePresence {
            show,
            priority,
            ..ResourcePresence::default()
        };
        assert_eq!(
            presence("", inner),
            PresenceKind::Available(expected),
            "{inner}"
        );
    }
}

#[test]
fn types_of_presence() {
    let rows = [
        (
            "unavailable",
            PresenceKind::Unavailable(vec![text(None, "gone")]),
        ),
        ("subscribe", PresenceKind::Subscribe),
        ("subscribed", PresenceKind::Subscribed),
        ("unsubscribe", PresenceKind::Unsubscribe),
        ("unsubscribed", PresenceKind::Unsubscribed),
        ("probe", PresenceKind::Probe),
    ];
    for (name, kind) in rows {
        let attributes = format!("type='{name}'");
        assert_eq!(
            presence(&attributes, "<status>gone</status>"),
            kind,
            "{name}"
        );
    }
}

#[test]
fn what_cannot_be_read_is_answered() {
    const S: &str = "xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'";
    let bad = format!("<error type='modify'><bad-request {S}/></error>");
    let malformed = format!("<error type='modify'><jid-malformed {S}/></error>");
    let rows = [
        ("<presence xmlns='jabber:client' from='a@j.example' to='b@o.example' id='1' type='invisible'/>".to_owned(),
         format!("<presence xmlns='jabber:client' from='b@o.example' to='a@j.example' id='1' type='error'>{bad}</presence>")),
        ("<iq xmlns='jabber:client' from='a@j.example' to='b@o.example' id='1' type='ask'><q xmlns='urn:own'/></iq>".to_owned(),
         format!("<iq xmlns='jabber:client' from='b@o.example' to='a@j.example' id='1' type='error'>{bad}</iq>")),
        ("<iq xmlns='jabber:client' from='a@j.example' to='b@o.example' id='1' type='get'/>".to_owned(),
         format!("<iq xmlns='jabber:client' from='b@o.example' to='a@j.example' id='1' type='error'>{bad}</iq>")),
        ("<iq xmlns='jabber:client' from='a@j.example' to='b@o.example' type='get'><q xmlns='urn:own'/></iq>".to_owned(),
         format!("<iq xmlns='jabber:client' from='b@o.example' to='a@j.example' type='error'>{bad}</iq>")),
        ("<iq xmlns='jabber:client' from='a@j.example' to='b@o.example' id='1' type='set'><q xmlns='urn:own'/><q xmlns='urn:own'/></iq>".to_owned(),
         format!("<iq xmlns='jabber:client' from='b@o.example' to='a@j.example' id='1' type='error'>{bad}</iq>")),
        ("<presence xmlns='jabber:client' from='a@j.example/x' to='b@c@o.example' id='1'/>".to_owned(),
         format!("<presence xmlns='jabber:client' from='o.example' to='a@j.example/x' id='1' type='error'>{malformed}</presence>")),
        ("<presence xmlns='jabber:client' from='a@j.example/x' to='b@o.example/' id='1'/>".to_owned(),
         format!("<presence xmlns='jabber:client' from='o.example' to='a@j.example/x' id='1' type='error'>{malformed}</presence>")),
    ];
    for (stanza, reply) in rows {
        assert_eq!(
            read(&element(&stanza)),
            Inbound::Reply(element(&reply)),
            "{stanza}"
        );
    }
}

#[test]
fn a_message_to_what_is_no_address_is_the_cores_to_refuse() {
    for to in ["b@c@o.example", "b@o.example/"] {
        let stanza = format!(
            "<message xmlns='jabber:client' from='a@j.example/x' to='{to}' id='1'><body>x</body></message>"
        );
        let refused = XmppIn::Unreadable {
            from: Jid::parse("a@j.example/x").unwrap(),
            to: Jid::parse("o.example").unwrap(),
            im: Im {
                id: Some("1".to_owned()),
                ..Im::default()
            },
            why: Local::BadAddress,
        };
        assert_eq!(read(&element(&stanza)), Inbound::Core(refused));
    }
}

#[test]
fn what_has_no_effect_says_why() {
    let rows = [
        (
            "<message xmlns='jabber:client' to='b@o.example'/>",
            Ignored::BadSender,
        ),
        (
            "<message xmlns='jabber:client' from='a@@j.example' to='b@o.example'/>",
            Ignored::BadSender,
        ),
        (
            "<message xmlns='jabber:client' from='a@j.example'/>",
            Ignored::NoRecipient,
        ),
        (
            "<message xmlns='jabber:client' from='a@j.example' to='b@@o.example' type='error'/>",
            Ignored::UnusableAnswer,
        ),
        (
            "<iq xmlns='jabber:client' from='a@j.example' to='@o.example' id='1' type='result'/>",
            Ignored::UnusableAnswer,
        ),
        (
            "<iq xmlns='jabber:client' from='a@j.example' to='b@o.example' type='result'/>",
            Ignored::UnusableAnswer,
        ),
        (
            "<iq xmlns='jabber:client' from='a@j.example' to='b@o.example' type='error'/>",
            Ignored::UnusableAnswer,
        ),
        (
            "<message xmlns='jabber:server' from='a@j.example' to='b@o.example'/>",
            Ignored::NotAStanza,
        ),
        (
            "<note xmlns='jabber:client' from='a@j.example' to='b@o.example'/>",
            Ignored::NotAStanza,
        ),
    ];
    for (stanza, why) in rows {
        assert_eq!(read(&element(stanza)), Inbound::Ignored(why), "{stanza}");
    }
}

#[test]
fn iqs_are_told_apart() {
    let query = element("<query xmlns='jabber:iq:last'/>");
    let rows = [
        (
            "type='get'",
            "<query xmlns='jabber:iq:last'/>",
            IqKind::Get(query.clone()),
        ),
        (
            "type='set'",
            "<query xmlns='jabber:iq:last'/>",
            IqKind::Set(query),
        ),
        ("type='result'", "", IqKind::Result),
        (
            "type='error'",
            "",
            IqKind::Error(StanzaError::new(Condition::UndefinedCondition)),
        ),
    ];
    for (attributes, inner, kind) in rows {
        let expected = Iq {
            from: jid("alma@jabber.example/x"),
            to: jid("bruno@ocs.example"),
            id: "q1".into(),
            kind,
        };
        let stanza = received("iq", &format!("id='q1' {attributes}"), inner);
        assert_eq!(read(&stanza), Inbound::Iq(expected), "{attributes}");
    }
}

// ------------------------------------------------------------------------------------------- writing

fn at(wall: Duration) -> Now {
    Now {
        mono: Duration::ZERO,
        wall,
    }
}

fn written_message(im: Im, now: Now) -> Element {
    write(
        &XmppOut::Message {
            reference: Ref(1),
            from: jid("bruno@ocs.example"),
            to: jid("alma@jabber.example"),
            im,
        },
        now,
    )
}

#[test]
fn messages_are_written() {
    let head = "xmlns='jabber:client' from='bruno@ocs.example' to='alma@jabber.example'";
    let page = Im {
        id: Some("z9hG4bK1".into()),
        thread: Some("c100@ocs.example".into()),
        bodies: vec![text(None, "Coffee?\n & <tea>")],
        sent_at: Some(STAMP),
        ..Im::default()
    };
    let expected = format!(
        "<message {head} id='z9hG4bK1'><body>Coffee?\n &amp; &lt;tea&gt;</body><thread>c100@ocs.example</thread></message>"
    );
    for skew in [0, 60] {
        let now = at(STAMP + Duration::from_secs(skew));
        assert_eq!(written_message(page.clone(), now), element(&expected));
    }
    let late = format!(
        "<message {head} id='z9hG4bK1'><body>Coffee?\n &amp; &lt;tea&gt;</body><thread>c100@ocs.example</thread><delay xmlns='urn:xmpp:delay' from='ocs.example' stamp='2002-09-10T23:08:25Z'/></message>"
    );
    assert_eq!(
        written_message(page, at(STAMP + Duration::from_secs(61))),
        element(&late)
    );

    let french = Im {
        kind: ImKind::Chat,
        subjects: vec![text(Some("fr"), "Café")],
        bodies: vec![text(Some("fr"), "au bar")],
        ..Im::default()
    };
    let expected = format!(
        "<message {head} type='chat' xml:lang='fr'><subject xml:lang='fr'>Café</subject><body xml:lang='fr'>au bar</body></message>"
    );
    assert_eq!(written_message(french, Now::default()), element(&expected));

    let mixed = Im {
        bodies: vec![text(Some("fr"), "oui"), text(None, "yes")],
        ..Im::default()
    };
    let expected =
        format!("<message {head}><body xml:lang='fr'>oui</body><body>yes</body></message>");
    assert_eq!(written_message(mixed, Now::default()), element(&expected));
}

#[test]
fn presence_is_written() {
    let head = "xmlns='jabber:client' from='bruno@ocs.example/desk' to='alma@jabber.example'";
    let rich = ResourcePresence {
        show: Some(Show::DoNotDisturb),
        statuses: vec![text(Some("fr"), "au bureau")],
        priority: Some(13),
        lang: Some("fr".into()),
        stamp: Some(STAMP),
        idle_since: Some(STAMP),
    };
    let rows = [
        (
            PresenceKind::Available(ResourcePresence::default()),
            format!("<presence {head}/>"),
        ),
        (
            PresenceKind::Available(rich),
            format!(
                "<presence {head} xml:lang='fr'><show>dnd</show><status xml:lang='fr'>au bureau</status><priority>13</priority>\
                     <delay xmlns='urn:xmpp:delay' from='ocs.example' stamp='2002-09-10T23:08:25Z'/>\
                     <idle xmlns='urn:xmpp:idle:1' since='2002-09-10T23:08:25Z'/></presence>"
            ),
        ),
        (
            PresenceKind::Unavailable(vec![text(None, "back on Monday")]),
            format!(
                "<presence {head} type='unavailable'><status>back on Monday</status></presence>"
            ),
        ),
        (
            PresenceKind::Subscribe,
            format!("<presence {head} type='subscribe'/>"),
        ),
        (
            PresenceKind::Subscribed,
            format!("<presence {head} type='subscribed'/>"),
        ),
        (
            PresenceKind::Unsubscribe,
            format!("<presence {head} type='unsubscribe'/>"),
        ),
        (
            PresenceKind::Unsubscribed,
            format!("<presence {head} type='unsubscribed'/>"),
        ),
        (
            PresenceKind::Probe,
            format!("<presence {head} type='probe'/>"),
        ),
    ];
    for (kind, expected) in rows {
        let out = XmppOut::Presence {
            trace: Trace::default(),
            from: jid("bruno@ocs.example/desk"),
            to: jid("alma@jabber.example"),
            kind,
        };
        assert_eq!(
            write(&out, Now::default()),
            element(&expected),
            "{expected}"
        );
    }
}

// ---------------------------------------------------------------------------------------- properties

fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![
        ".{0,12}",
        "[\\x00-\\x20<>&'\"\\]\u{fffe}\u{ffff}\u{80}]{0,8}"
    ]
}

fn any_texts() -> impl Strategy<Value = Vec<Text>> {
    let lang = prop_oneof![
        Just(None),
        Just(Some("de".to_owned())),
        any_text().prop_map(Some)
    ];
    let one = (lang, any_text()).prop_map(|(lang, text)| Text { lang, text });
    prop::collection::vec(one, 0..3)
}

fn any_jid() -> impl Strategy<Value = Jid> {
    (
        prop::option::of(any_text()),
        any_text(),
        prop::option::of(any_text()),
    )
        .prop_map(|(local, domain, resource)| Jid {
            local,
            domain,
            resource,
        })
}

fn any_error() -> impl Strategy<Value = StanzaError> {
    (
        0..CONDITIONS.len(),
        prop::option::of(any_text()),
        prop::option::of(any_text()),
    )
        .prop_map(|(row, text, new_address)| StanzaError {
            kind: ErrorType::Wait,
            condition: CONDITIONS[row].condition,
            text,
            new_address,
        })
}

fn any_im() -> impl Strategy<Value = Im> {
    (
        prop::option::of(any_text()),
        prop::option::of(any_text()),
        any_texts(),
        any_texts(),
        prop::option::of(0_u64..4_000_000_000),
    )
        .prop_map(|(id, thread, subjects, bodies, sent_at)| Im {
            trace: Trace::default(),
            kind: ImKind::Headline,
            id,
            thread,
            subjects,
            bodies,
            sent_at: sent_at.map(Duration::from_secs),
            chat_state: None,
            rich: None,
            wants: Wants::default(),
        })
}

fn any_presence() -> impl Strategy<Value = PresenceKind> {
    let available = (
        any_texts(),
        any::<Option<i8>>(),
        prop::option::of(any_text()),
    )
        .prop_map(|(statuses, priority, lang)| {
            PresenceKind::Available(ResourcePresence {
                show: Some(Show::Chat),
                statuses,
                priority,
                lang,
                stamp: None,
                idle_since: Some(STAMP),
            })
        });
    prop_oneof![available, any_texts().prop_map(PresenceKind::Unavailable)]
}

fn any_out() -> impl Strategy<Value = XmppOut> {
    let id = prop::option::of(any_text()).boxed();
    let pair = (any_jid(), any_jid()).boxed();
    prop_oneof![
        (pair.clone(), any_im()).prop_map(|((from, to), im)| XmppOut::Message {
            reference: Ref(1),
            from,
            to,
            im
        }),
        (pair.clone(), any_presence()).prop_map(|((from, to), kind)| XmppOut::Presence {
            trace: Trace::default(),
            from,
            to,
            kind
        }),
        (pair.clone(), id.clone(), any_error()).prop_map(|((from, to), id, error)| {
            XmppOut::MessageError {
                reference: Ref(1),
                from,
                to,
                id,
                error,
            }
        }),
        (pair, id, any_error()).prop_map(|((from, to), id, error)| XmppOut::PresenceError {
            from,
            to,
            id,
            error
        }),
    ]
}

fn any_element() -> impl Strategy<Value = Element> {
    let name = prop::sample::select(vec![
        "message", "presence", "iq", "body", "show", "status", "priority", "error", "thread",
        "text", "gone", "delay",
    ]);
    let ns = prop::sample::select(vec![
        "jabber:client",
        "urn:ietf:params:xml:ns:xmpp-stanzas",
        "urn:xmpp:delay",
        "urn:own",
    ]);
    let kind = prop::sample::select(vec![
        "",
        "error",
        "result",
        "get",
        "set",
        "chat",
        "probe",
        "odd",
        "unavailable",
    ]);
    let leaf = (name, ns, kind, any_text(), any_text(), any_text()).prop_map(
        |(name, ns, kind, from, to, text)| {
            let mut element = Element::bare(name, ns);
            for (attr, value) in [
                ("type", kind),
                ("from", &from),
                ("to", &to),
                ("id", &to),
                ("stamp", &text),
            ] {
                if !value.is_empty() {
                    let attr = rxml::NcName::try_from(attr).expect(attr);
                    xml::set_attr(&mut element, attr, value);
                }
            }
            element.append_text_node(xml::clean(&text));
            element
        },
    );
    leaf.prop_recursive(3, 16, 4, |inner| {
        (inner.clone(), prop::collection::vec(inner, 0..4)).prop_map(|(mut element, children)| {
            for child in children {
                element.append_child(child);
            }
            element
        })
    })
}

proptest! {
    /// Whatever the core says, the stream survives it and says the same after one more trip.
    #[test]
    fn what_is_written_is_well_formed(out in any_out(), wall in 0_u64..4_000_000_000) {
        let now = at(Duration::from_secs(wall));
        let written = write(&out, now);
        let wire = String::from(&written);
        let parsed: Element = wire.parse().expect("well-formed");
        prop_assert_eq!(String::from(&parsed), wire);
    }

    /// Content comes back as it was written, but for characters that cannot cross.
    #[test]
    fn content_survives_the_wire(im in any_im()) {
        let written = written_message(im.clone(), Now::default());
        let parsed: Element = String::from(&written).parse().expect("well-formed");
        let Inbound::Core(XmppIn::Message { im: back, .. }) = read(&parsed) else {
            panic!("{parsed:?}");
        };
        let bodies = |im: &Im| -> Vec<String> {
            im.bodies.iter().map(|body| xml::clean(&body.text).replace("\r\n", "\n").replace('\r', "\n")).collect()
        };
        prop_assert_eq!(bodies(&back), bodies(&im));
        prop_assert_eq!(back.id, im.id.as_deref().map(xml::clean));
    }

    /// No answer to an answer, whatever is in it.
    #[test]
    fn errors_are_never_answered(mut stanza in any_element(), from in "[a-z]{1,4}@j\\.example", to in "[a-z@]{0,4}o\\.example/?") {
        let addresses = [("from", from.as_str()), ("to", to.as_str())];
        for (name, value) in addresses {
            xml::set_attr(&mut stanza, rxml::NcName::try_from(name).expect(name), value);
        }
        let answer = matches!(stanza.attr("type"), Some("error" | "result"));
        match read(&stanza) {
            Inbound::Reply(reply) => {
                prop_assert!(stanza.attr("type") != Some("error"));
                prop_assert!(stanza.name() != "iq" || !answer);
                prop_assert_eq!(reply.attr("type"), Some("error"));
                prop_assert_eq!(reply.attr("to"), Some(from.as_str()));
                prop_assert_eq!(reply.attr("id"), stanza.attr("id"));
            }
            Inbound::Core(_) | Inbound::Several(_) | Inbound::Iq(_) | Inbound::Ignored(_) => {}
        }
    }
}

#[test]
fn chat_states_are_read_and_written() {
    let states = [
        ("active", ChatState::Active),
        ("composing", ChatState::Composing),
        ("paused", ChatState::Paused),
        ("inactive", ChatState::Inactive),
        ("gone", ChatState::Gone),
    ];
    for (name, state) in states {
        let element = format!("<{name} xmlns='http://jabber.org/protocol/chatstates'/>");
        assert_eq!(message("", &element).chat_state, Some(state));
        let out = XmppOut::ChatState {
            trace: Trace::default(),
            from: "a@b".parse().unwrap(),
            to: "c@d".parse().unwrap(),
            thread: Some("t".to_owned()),
            state,
        };
        let written = write(&out, Now::default());
        assert_eq!(written.attr("type"), Some("chat"));
        assert!(written.has_child(name, ns::CHATSTATES));
        assert!(written.has_child("thread", ns::JABBER_CLIENT));
        assert!(!written.has_child("body", ns::JABBER_CLIENT));
    }
    assert_eq!(message("", "<active xmlns='urn:own'/>").chat_state, None);
}
