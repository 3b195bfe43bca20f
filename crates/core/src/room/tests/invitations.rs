//! Invitations both ways, from inside a room and from outside.

use super::*;

const VERONA: &str = "verona@chat.sip.example";
const ROOM: &str = "capulet@rooms.xmpp.example";

fn invited(from: &str, inviter: Option<&str>, password: Option<&str>) -> Input {
    Input::Xmpp(XmppIn::Muc(MucIn::Invited {
        from: jid(from),
        to: jid(ROMEO),
        id: Some("i1".to_owned()),
        room: jid(ROOM),
        inviter: inviter.map(jid),
        reason: Some("Feud".to_owned()),
        password: password.map(str::to_owned),
    }))
}

fn outcome(reference: u64, outcome: Result<(), Failure>) -> Input {
    Input::Sip(SipIn::Outcome {
        reference: Ref(reference),
        outcome,
    })
}

#[test]
fn a_sip_user_is_told_by_whoever_sent_it() {
    let mut world = World::new();
    let told = "MESSAGE 1 sip:capulet@rooms.xmpp.example > sip:romeo@sip.example \
                'sip:juliet@xmpp.example invites you to the chat room sip:capulet@rooms.xmpp.example: Feud'";
    world.expect(invited(ROOM, Some(JULIET), None), &[told]);
    world.expect(
        outcome(1, Err(code(480))),
        &["romeo@sip.example > capulet@rooms.xmpp.example message error i1 recipient-unavailable"],
    );
    world.give(invited(JULIET, Some(JULIET), None));
    world.expect(outcome(3, Ok(())), &[]);
    world.expect(
        invited(ROOM, Some(JULIET), Some("secret")),
        &["romeo@sip.example > capulet@rooms.xmpp.example message error i1 feature-not-implemented"],
    );
    world.expect(
        invited("mallory@evil.example", None, None),
        &["romeo@sip.example > mallory@evil.example message error i1 not-allowed"],
    );
    world.is_empty();
}

#[test]
fn invitations_are_bounded() {
    let mut world = World::with(|settings| settings.rooms.max_invitations = 1);
    world.give(invited(ROOM, None, None));
    world.expect(
        invited(ROOM, None, None),
        &["romeo@sip.example > capulet@rooms.xmpp.example message error i1 resource-constraint"],
    );
}

#[test]
fn a_conference_invites_an_xmpp_user() {
    let mut world = World::new();
    let invitation_of = |from: &str, to: &str| {
        Input::Sip(SipIn::Invitation(Invitation {
            reference: Ref(70),
            from: sip(from),
            conference: sip(VERONA),
            to: sip(to),
            reason: None,
        }))
    };
    let invitation = |to: &str| invitation_of(ROMEO, to);
    world.expect(
        invitation("juliet@xmpp.example"),
        &["verona@chat.sip.example > juliet@xmpp.example invited 1 by romeo@sip.example None"],
    );
    world.expect(settled(1, Ok(())), &["invitation 70 200"]);
    // Her server does not know her: the fence is no success then.
    let commands = world.give(invitation("juliet@xmpp.example"));
    let Some(Command::Xmpp(XmppOut::Muc(MucOut::Invited { id, .. }))) = commands.first() else {
        panic!("{commands:?}");
    };
    let error = |from: &str, id: &str| {
        Input::Xmpp(XmppIn::MessageError {
            from: jid(from),
            to: jid(VERONA),
            id: Some(id.to_owned()),
            error: StanzaError::new(Condition::ServiceUnavailable),
        })
    };
    world.expect(error("juliet@xmpp.example", "other"), &[]);
    world.expect(error("mallory@xmpp.example", id), &[]);
    world.expect(error("juliet@xmpp.example", id), &["invitation 70 403"]);
    world.expect(error("juliet@xmpp.example", id), &[]);
    world.expect(settled(2, Ok(())), &[]);
    world.expect(invitation("juliet@evil.example"), &["invitation 70 403"]);
    world.expect(
        invitation_of("mallory@other.example", "juliet@xmpp.example"),
        &["invitation 70 403"],
    );
    world.is_empty();
}

#[test]
fn occupants_invite_others() {
    let mut world = World::new();
    world.give(Input::Xmpp(XmppIn::Muc(MucIn::Join {
        from: jid(JULIET),
        to: jid("verona@chat.sip.example/J"),
        id: None,
    })));
    let event = |event| Input::Sip(SipIn::Conference { leg: Ref(1), event });
    world.give(event(ConferenceEvent::Joined {
        nick: "J".to_owned(),
        private_messages: false,
    }));
    world.give(event(ConferenceEvent::Roster(Roster {
        full: true,
        ..Roster::default()
    })));
    let invite = |from: &str| {
        Input::Xmpp(XmppIn::Muc(MucIn::Invite {
            from: jid(from),
            to: jid(VERONA),
            id: Some("i1".to_owned()),
            invitees: vec![jid("ben@sip.example")],
            reason: Some("Come".to_owned()),
        }))
    };
    world.expect(
        invite(JULIET),
        &["REFER 2 in 1 sip:ben@sip.example Some(\"Come\")"],
    );
    let refused = ConferenceEvent::Outcome {
        reference: Ref(2),
        outcome: Err(code(403)),
    };
    world.expect(
        event(refused),
        &["verona@chat.sip.example > juliet@xmpp.example/balcony message error i1 forbidden"],
    );
    world.expect(
        invite("ann@xmpp.example/x"),
        &["verona@chat.sip.example > ann@xmpp.example/x message error i1 not-acceptable"],
    );
}

#[test]
fn a_guest_invites_and_is_told_who_declines() {
    let mut world = World::new();
    let event = |event| {
        Input::Sip(SipIn::Focus {
            leg: Ref(50),
            event,
        })
    };
    let commands = world.give(event(FocusEvent::Asked {
        user: sip(ROMEO),
        room: sip(ROOM),
        nick: None,
        name: None,
    }));
    let Some(Command::Xmpp(XmppOut::Muc(MucOut::Join { from: me, .. }))) = commands.first() else {
        panic!("{commands:?}");
    };
    world.give(Input::Xmpp(XmppIn::Muc(MucIn::Occupant {
        from: jid("capulet@rooms.xmpp.example/romeo"),
        to: me.clone(),
        presence: OccupantPresence {
            available: true,
            statuses: vec![110],
            ..OccupantPresence::default()
        },
    })));
    let invite = |reference| FocusEvent::Invite {
        reference: Ref(reference),
        invitee: sip("juliet@xmpp.example/balcony"),
        reason: None,
    };
    let sent = format!("{me} > {ROOM} invite juliet@xmpp.example None");
    let ids = |commands: &[Command]| match &commands[0] {
        Command::Xmpp(XmppOut::Muc(MucOut::Invite { reference, id, .. })) => {
            (reference.0, id.clone())
        }
        other => panic!("{other:?}"),
    };
    let commands = world.give(event(invite(60)));
    assert_eq!(commands.iter().map(words).collect::<Vec<_>>(), [sent]);
    world.expect(settled(ids(&commands).0, Ok(())), &["answer 60 200"]);
    // The room says no, or nothing.
    let (stanza, id) = ids(&world.give(event(invite(61))));
    let error = XmppIn::MessageError {
        from: jid(ROOM),
        to: me.clone(),
        id: Some(id),
        error: StanzaError::new(Condition::Forbidden),
    };
    world.expect(Input::Xmpp(error), &["answer 61 403"]);
    world.expect(settled(stanza, Ok(())), &[]);
    world.give(event(invite(62)));
    world.pass(20, &["answer 62 504"]);
    let declined = MucIn::Declined {
        from: jid(ROOM),
        to: me.clone(),
        by: Some(jid(JULIET)),
        reason: Some("No".to_owned()),
    };
    world.expect(
        Input::Xmpp(XmppIn::Muc(declined)),
        &["SEND 5 in 50 sip:capulet@rooms.xmpp.example private 'juliet@xmpp.example does not come: No'"],
    );
}
