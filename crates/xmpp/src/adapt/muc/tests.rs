use proptest::prelude::*;
use stox_core::failure::StanzaError;
use stox_core::vocab::{Im, ImKind, PresenceKind, ResourcePresence, Trace, XmppIn, XmppOut};

use super::*;
use crate::adapt::{self, Inbound};

fn jid(text: &str) -> Jid {
    Jid::parse(text).expect(text)
}

fn read(xml: &str) -> Inbound {
    adapt::read(&xml.parse().expect(xml))
}

fn muc(xml: &str) -> MucIn {
    match read(xml) {
        Inbound::Core(XmppIn::Muc(input)) => input,
        other => panic!("{other:?}"),
    }
}

/// A stanza from a room to a SIP user.
fn from_room(name: &str, attributes: &str, inner: &str) -> String {
    format!(
        "<{name} xmlns='jabber:client' from='room@muc.example/Juliet' to='romeo@sip.example/r' {attributes}>{inner}</{name}>"
    )
}

fn user(inner: &str) -> String {
    format!("<x xmlns='http://jabber.org/protocol/muc#user'>{inner}</x>")
}

fn occupant(attributes: &str, inner: &str) -> OccupantPresence {
    match muc(&from_room("presence", attributes, &user(inner))) {
        MucIn::Occupant { from, to, presence } => {
            assert_eq!(from, jid("room@muc.example/Juliet"));
            assert_eq!(to, jid("romeo@sip.example/r"));
            presence
        }
        other => panic!("{other:?}"),
    }
}

fn written(out: MucOut) -> String {
    String::from(&adapt::write(&XmppOut::Muc(out), Now::default()))
}

#[test]
fn a_join_is_told_from_ordinary_presence() {
    let join = "<presence xmlns='jabber:client' from='juliet@xmpp.example/balcony' to='conf@sip.example/JuliC' id='p1'>\
                <x xmlns='http://jabber.org/protocol/muc'><password>s</password><history maxchars='0'/></x></presence>";
    let expected = MucIn::Join {
        from: jid("juliet@xmpp.example/balcony"),
        to: jid("conf@sip.example/JuliC"),
        id: Some("p1".to_owned()),
    };
    assert_eq!(muc(join), expected);
    let others = [
        from_room("presence", "", ""),
        from_room("presence", "", "<x xmlns='vcard-temp:x:update'/>"),
        from_room(
            "presence",
            "type='unavailable'",
            "<x xmlns='http://jabber.org/protocol/muc'/>",
        ),
        from_room(
            "presence",
            "type='subscribe'",
            "<x xmlns='http://jabber.org/protocol/muc'/>",
        ),
    ];
    for stanza in others {
        let is_presence = matches!(read(&stanza), Inbound::Core(XmppIn::Presence { .. }));
        assert!(is_presence, "{stanza}");
    }
    let error = from_room(
        "presence",
        "type='error'",
        "<x xmlns='http://jabber.org/protocol/muc'/>",
    );
    assert!(matches!(
        read(&error),
        Inbound::Core(XmppIn::PresenceError { .. })
    ));
}

#[test]
fn occupants_are_read_with_all_that_counts() {
    let presence = occupant(
        "",
        "<item affiliation='owner' role='moderator' jid='juliet@xmpp.example/b'/><status code='110'/><status code='100'/><status code='x'/><status code='110'/>",
    );
    let expected = OccupantPresence {
        available: true,
        affiliation: Affiliation::Owner,
        role: Role::Moderator,
        jid: Some(jid("juliet@xmpp.example/b")),
        statuses: vec![100, 110],
        ..OccupantPresence::default()
    };
    assert_eq!(presence, expected);
    let presence = occupant(
        "type='unavailable'",
        "<item nick='New' affiliation='odd'><actor nick='Boss'/><reason> Go </reason></item><status code='303'/>",
    );
    let expected = OccupantPresence {
        role: Role::None,
        new_nick: Some("New".to_owned()),
        reason: Some("Go".to_owned()),
        statuses: vec![303],
        ..OccupantPresence::default()
    };
    assert_eq!(presence, expected);
    let presence = occupant(
        "type='unavailable'",
        "<destroy jid='b@muc.example'><reason>Moved</reason></destroy>",
    );
    let destroyed = Destroyed {
        venue: Some(jid("b@muc.example")),
        reason: Some("Moved".to_owned()),
    };
    assert_eq!(presence.destroyed, Some(destroyed));
    assert_eq!(occupant("", "").role, Role::Participant);
}

#[test]
fn invitations_are_read_in_all_forms() {
    let invited = |inviter: &str, reason: Option<&str>, password: Option<&str>| MucIn::Invited {
        from: jid("room@muc.example/Juliet"),
        to: jid("romeo@sip.example/r"),
        id: None,
        room: jid("room@muc.example"),
        inviter: Some(jid(inviter)),
        reason: reason.map(str::to_owned),
        password: password.map(str::to_owned),
    };
    let mediated = user(
        "<invite from='juliet@xmpp.example/b'><reason>Come</reason></invite><password>s</password>",
    );
    let both = format!("{mediated}<x xmlns='jabber:x:conference' jid='room@muc.example'/>");
    for inner in [&mediated, &both] {
        assert_eq!(
            muc(&from_room("message", "", inner)),
            invited("juliet@xmpp.example/b", Some("Come"), Some("s"))
        );
    }
    let direct =
        "<x xmlns='jabber:x:conference' jid='room@muc.example' reason='Come'/><body>x</body>";
    assert_eq!(
        muc(&from_room("message", "", direct)),
        invited("room@muc.example/Juliet", Some("Come"), None)
    );
    let asked =
        user("<invite to='a@b.example'><reason>Come</reason></invite><invite to='c@d.example'/>");
    let MucIn::Invite {
        invitees, reason, ..
    } = muc(&from_room("message", "id='i'", &asked))
    else {
        panic!("{asked}");
    };
    assert_eq!(invitees, [jid("a@b.example"), jid("c@d.example")]);
    assert_eq!(reason.as_deref(), Some("Come"));
    let declined = user("<decline from='c@d.example'><reason>No</reason></decline>");
    let expected = MucIn::Declined {
        from: jid("room@muc.example/Juliet"),
        to: jid("romeo@sip.example/r"),
        by: Some(jid("c@d.example")),
        reason: Some("No".to_owned()),
    };
    assert_eq!(muc(&from_room("message", "", &declined)), expected);
}

#[test]
fn messages_of_rooms_stay_messages() {
    let rows = [
        (
            "type='groupchat'",
            "<body>Hi</body>".to_owned(),
            ImKind::Groupchat,
        ),
        (
            "type='groupchat'",
            "<subject>Feud</subject>".to_owned(),
            ImKind::Groupchat,
        ),
        (
            "type='chat'",
            format!("<body>Psst</body>{}", user("")),
            ImKind::Chat,
        ),
        (
            "type='chat'",
            format!("<body>Hi</body>{}", user("<status code='104'/>")),
            ImKind::Chat,
        ),
        (
            "",
            "<body>x</body><x xmlns='jabber:x:conference'/>".to_owned(),
            ImKind::Normal,
        ),
    ];
    for (attributes, inner, kind) in rows {
        let stanza = from_room("message", attributes, &inner);
        let Inbound::Core(XmppIn::Message { im, .. }) = read(&stanza) else {
            panic!("{stanza}");
        };
        assert_eq!(im.kind, kind, "{stanza}");
    }
    let invite = user("<invite from='juliet@xmpp.example/b'/>");
    let error = from_room("message", "type='error'", &invite);
    assert!(matches!(
        read(&error),
        Inbound::Core(XmppIn::MessageError { .. })
    ));
}

#[test]
fn what_is_written_is_what_clients_and_rooms_expect() {
    let from = jid("conf@sip.example/JuliC");
    let to = jid("juliet@xmpp.example/balcony");
    let head = |name: &str, more: &str| {
        let element: Element =
            format!("<{name} xmlns='jabber:client' from='{from}' to='{to}'{more}</{name}>")
                .parse()
                .expect(more);
        String::from(&element)
    };
    let (from_, to_) = (from.clone(), to.clone());
    let out = MucOut::Join {
        reference: Ref(1),
        from: from_,
        to: to_,
        history: 20,
    };
    assert_eq!(
        written(out),
        head(
            "presence",
            "><x xmlns='http://jabber.org/protocol/muc'><history maxstanzas='20'/></x>"
        )
    );
    let out = MucOut::Subject {
        from: from.clone(),
        to: to.clone(),
        subject: None,
    };
    assert_eq!(
        written(out),
        head("message", " type='groupchat'><subject/>")
    );
    let out = MucOut::Ping {
        reference: Ref(7),
        from: from.clone(),
        to: to.clone(),
    };
    assert_eq!(
        written(out),
        head(
            "iq",
            " type='get' id='stox-room-7'><ping xmlns='urn:xmpp:ping'/>"
        )
    );
    let out = MucOut::Invite {
        reference: Ref(1),
        from: from.clone(),
        to: to.clone(),
        id: "i1".to_owned(),
        invitee: jid("a@b.example"),
        reason: Some("Come & see".to_owned()),
    };
    assert_eq!(
        written(out),
        head(
            "message",
            " id='i1'><x xmlns='http://jabber.org/protocol/muc#user'><invite to='a@b.example'><reason>Come &amp; see</reason></invite></x>"
        )
    );
    let out = MucOut::Private {
        reference: Ref(1),
        from,
        to,
        im: Im {
            kind: ImKind::Chat,
            id: Some("m1".to_owned()),
            bodies: vec![Text {
                lang: None,
                text: "Psst".to_owned(),
            }],
            ..Im::default()
        },
    };
    let text = written(out);
    assert!(text.contains("type='chat'"), "{text}");
    assert!(
        text.contains("<x xmlns='http://jabber.org/protocol/muc#user'/>"),
        "{text}"
    );
}

#[test]
fn pongs_say_whether_he_is_still_there() {
    let iq = |kind| Iq {
        from: jid("room@muc.example/Romeo"),
        to: jid("romeo@sip.example/r"),
        id: "stox-room-7".to_owned(),
        kind,
    };
    let failed = |condition| IqKind::Error(StanzaError::new(condition));
    let rows = [
        (IqKind::Result, Some(true)),
        (failed(Condition::ServiceUnavailable), Some(true)),
        (failed(Condition::FeatureNotImplemented), Some(true)),
        (failed(Condition::ItemNotFound), Some(true)),
        (failed(Condition::NotAcceptable), Some(false)),
        (failed(Condition::RemoteServerTimeout), None),
        (failed(Condition::RemoteServerNotFound), None),
    ];
    for (kind, joined) in rows {
        let expected = MucIn::Pong {
            from: jid("room@muc.example/Romeo"),
            reference: Ref(7),
            joined,
        };
        assert_eq!(read_pong(&iq(kind)), Some(expected));
    }
    for id in ["stox-room-", "stox-room-x", "other-7"] {
        let other = Iq {
            id: id.to_owned(),
            ..iq(IqKind::Result)
        };
        assert_eq!(read_pong(&other), None);
    }
}

fn any_words() -> impl Strategy<Value = Option<String>> {
    prop::option::of("[a-zA-Z<>&'\" äß]{0,12}".prop_filter("words", |text| {
        !text.trim().is_empty() && text.trim() == text
    }))
}

fn any_occupant() -> impl Strategy<Value = OccupantPresence> {
    let jid = prop::option::of("[a-z]{1,5}@[a-z]{1,5}\\.example/[a-z]{1,5}");
    let statuses = prop::collection::btree_set(100_u16..700, 0..4);
    let role = prop::sample::select(ROLES.map(|row| row.1).to_vec());
    let affiliation = prop::sample::select(AFFILIATIONS.map(|row| row.1).to_vec());
    (
        any::<bool>(),
        role,
        affiliation,
        jid,
        any_words(),
        any_words(),
        statuses,
        any_words(),
    )
        .prop_map(
            |(available, role, affiliation, jid, new_nick, reason, statuses, destroyed)| {
                OccupantPresence {
                    available,
                    affiliation,
                    role,
                    jid: jid.map(|text| Jid::parse(&text).expect("jid")),
                    new_nick,
                    reason,
                    statuses: statuses.into_iter().collect(),
                    destroyed: destroyed.map(|reason| Destroyed {
                        venue: None,
                        reason: Some(reason),
                    }),
                }
            },
        )
}

proptest! {
    #[test]
    fn occupants_survive_the_wire(presence in any_occupant()) {
        let out = MucOut::Occupant {
            from: jid("room@muc.example/Juliet"),
            to: jid("romeo@sip.example/r"),
            presence: presence.clone(),
        };
        let expected = MucIn::Occupant {
            from: jid("room@muc.example/Juliet"),
            to: jid("romeo@sip.example/r"),
            presence,
        };
        prop_assert_eq!(muc(&written(out)), expected);
    }

    /// Whatever is in these elements, reading comes to an end and a user's presence is never lost for it.
    #[test]
    fn anything_can_be_read(
        name in prop::sample::select(vec!["presence", "message"]),
        kind in prop::sample::select(vec!["", "type='unavailable'", "type='groupchat'", "type='error'", "type='chat'"]),
        space in prop::sample::select(vec!["http://jabber.org/protocol/muc", "http://jabber.org/protocol/muc#user", "jabber:x:conference"]),
        children in prop::collection::vec(
            (prop::sample::select(vec!["item", "status", "destroy", "invite", "decline", "password", "reason"]),
             prop::sample::select(vec!["jid", "code", "nick", "role", "from", "to", "affiliation"]),
             "[a-z0-9@/. -]{0,8}"),
            0..6,
        ),
    ) {
        let inner: String = children
            .iter()
            .map(|(child, attr, value)| format!("<{child} {attr}='{value}'/>"))
            .collect();
        let stanza = from_room(name, kind, &format!("<x xmlns='{space}'>{inner}</x>"));
        match read(&stanza) {
            Inbound::Core(_) | Inbound::Reply(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn presence_to_a_room_is_plain() {
    let out = XmppOut::Presence {
        trace: Trace::default(),
        from: jid("romeo@sip.example/r"),
        to: jid("room@muc.example/New"),
        kind: PresenceKind::Available(ResourcePresence::default()),
    };
    let text = String::from(&adapt::write(&out, Now::default()));
    assert_eq!(
        text,
        "<presence xmlns='jabber:client' from='romeo@sip.example/r' to='room@muc.example/New'/>"
    );
}
