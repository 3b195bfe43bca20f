//! Bruno of SIP in the room `tea` of XMPP (RFC 7702 §6).

use crate::stage::{Call, Line, Stage, path_in, response, stanza};

pub(crate) const ROOM: &str = "tea@rooms.jabber.example";
const OURS: &str = "msrp://127.0.0.1:7313/bruno1;tcp";
const BRUNO: &str = "<sip:bruno@ocs.example>";
pub(crate) const MUC_USER: &str = "http://jabber.org/protocol/muc#user";

pub(crate) fn offer(more: &str) -> String {
    format!(
        "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
         m=message 7313 TCP/MSRP *\r\na=accept-types:message/cpim text/plain\r\n\
         a=accept-wrapped-types:text/plain\r\na=setup:active\r\na=path:{OURS}\r\n{more}"
    )
}

/// Bruno, on his way into the room or in it.
pub(crate) struct Guest {
    pub(crate) stage: Stage,
    pub(crate) call: Call,
    pub(crate) line: Line,
    /// His address in the room.
    pub(crate) jid: String,
}

pub(crate) fn call(id: &str, user: &str) -> Call {
    Call {
        id: id.to_owned(),
        from: format!("\"Bruno\" <sip:{user}@ocs.example>;tag=b1"),
        contact: user.to_owned(),
        to: ROOM.to_owned(),
        tag: String::new(),
        cseq: 0,
    }
}

impl Guest {
    pub(crate) fn asks() -> Self {
        Self::asks_with("")
    }

    pub(crate) fn asks_with(settings: &str) -> Self {
        let mut stage = Stage::with(settings);
        let mut call = call("c1", "bruno");
        let body = offer("a=chatroom:nickname private-messages\r\n");
        stage.opens(
            "INVITE",
            &mut call,
            "Content-Type: application/sdp\r\n",
            &body,
        );
        let news = stage.news();
        let ringing = response(&news, 180);
        call.tag = ringing.tag("To").unwrap();
        let join = stanza(&news);
        assert_eq!(join.attr("to"), Some("tea@rooms.jabber.example/Bruno"));
        let jid = join.attr("from").unwrap().to_owned();
        assert!(jid.starts_with("bruno@ocs.example/room-"), "{jid}");
        Self {
            stage,
            call,
            line: Line {
                theirs: String::new(),
                ours: OURS.to_owned(),
            },
            jid,
        }
    }

    /// He is in, with Alma, and his MSRP connection stands.
    pub(crate) fn inside() -> Self {
        let mut guest = Self::asks();
        guest.occupant("Alma", "", &item("moderator", ""));
        guest.enters("Bruno");
        guest
    }

    /// The room takes him, and he connects.
    pub(crate) fn enters(&mut self, nick: &str) {
        self.occupant(
            nick,
            "",
            &format!("{}<status code='110'/>", item("participant", "")),
        );
        let news = self.stage.news();
        let answer = response(&news, 200);
        let contact = answer.header("Contact").unwrap();
        assert!(contact.contains("isfocus"), "{contact}");
        assert_eq!(answer.tag("To").as_deref(), Some(self.call.tag.as_str()));
        self.line.theirs = path_in(&answer);
        self.stage.request("ACK", &self.call, "", "");
        self.stage.world.open_msrp();
        self.stage.binds(&self.line);
        self.stage.expect(&["msrp 200"]);
    }

    /// Presence of an occupant.
    pub(crate) fn occupant(&mut self, nick: &str, kind: &str, x: &str) {
        let xml = format!(
            "<presence xmlns='jabber:client' from='{ROOM}/{nick}' to='{}'{kind}><x xmlns='{MUC_USER}'>{x}</x></presence>",
            self.jid
        );
        self.stage.stanza(&xml);
    }

    /// A message of the room's.
    pub(crate) fn room(&mut self, from: &str, attributes: &str, content: &str) {
        let xml = format!(
            "<message xmlns='jabber:client' from='{ROOM}{from}' to='{}' {attributes}>{content}</message>",
            self.jid
        );
        self.stage.stanza(&xml);
    }

    /// The room repeats his message with this id.
    pub(crate) fn repeats(&mut self, id: &str, text: &str) {
        let attributes = format!("type='groupchat' id='{id}'");
        self.room("/Bruno", &attributes, &format!("<body>{text}</body>"));
    }

    pub(crate) fn says(&mut self, to: &str, text: &str) {
        self.stage.says(&self.line, (BRUNO, to), text);
    }

    /// What he says to all; the id of the stanza.
    pub(crate) fn says_to_all(&mut self, text: &str) -> String {
        self.says("sip:tea@rooms.jabber.example", text);
        let news = self.stage.news();
        stanza(&news).attr("id").unwrap().to_owned()
    }

    /// Nothing is left of his stay.
    pub(crate) fn is_over(&mut self) {
        self.stage.passes(200);
        self.stage.expect(&[]);
        self.stage.assert_empty();
    }

    pub(crate) fn subscribes(&mut self) -> Call {
        let mut call = Call {
            id: "s1".to_owned(),
            tag: String::new(),
            ..self.call.clone()
        };
        let more =
            "Event: conference\r\nExpires: 600\r\nAccept: application/conference-info+xml\r\n";
        self.stage.opens("SUBSCRIBE", &mut call, more, "");
        call
    }
}

pub(crate) fn item(role: &str, more: &str) -> String {
    format!("<item affiliation='none' role='{role}'{more}/>")
}

pub(crate) const GONE: &str = " type='unavailable'";

#[test]
fn a_sip_user_spends_an_evening_in_a_room() {
    let mut guest = Guest::asks();
    guest.occupant(
        "Alma",
        "",
        &item("moderator", " jid='alma@jabber.example/home'"),
    );
    guest.stage.expect(&[]);
    guest.enters("Bruno");
    let mut watch = guest.subscribes();
    let news = guest.stage.news();
    watch.tag = response(&news, 200).tag("To").unwrap();
    // The subject, a message of the past, and one of today.
    guest.room("/Alma", "type='groupchat'", "<subject>Tea</subject>");
    let past = "<body>Earlier</body><delay xmlns='urn:xmpp:delay' stamp='2026-02-28T10:00:00Z'/>";
    guest.room("/Alma", "type='groupchat' id='a1'", past);
    guest.room(
        "/Alma",
        "type='groupchat' id='a2'",
        "<body>Now &amp; here</body>",
    );
    guest.stage.expect(&[
        "SEND \"Alma\" <sip:tea@rooms.jabber.example;gr=Alma> > <sip:tea@rooms.jabber.example>: Earlier",
        "SEND \"Alma\" <sip:tea@rooms.jabber.example;gr=Alma> > <sip:tea@rooms.jabber.example>: Now & here",
    ]);
    guest.stage.passes(10);
    guest
        .stage
        .expect(&["NOTIFY sip:bruno [active] partial 1 subject=Tea"]);
    // His own message is answered when the room repeats it, and does not come back to him.
    let id = guest.says_to_all("Hello");
    guest.stage.expect(&[]);
    guest.repeats(&id, "Hello");
    guest.stage.expect(&["msrp 200"]);
    guest.repeats("other", "From my other client");
    guest.stage.expect(&[
        "SEND \"Bruno\" <sip:tea@rooms.jabber.example;gr=Bruno> > <sip:tea@rooms.jabber.example>: From my other client",
    ]);
    // Private words, both ways.
    guest.says("sip:tea@rooms.jabber.example;gr=Alma", "Psst");
    guest.stage.expect(&[
        "message bruno@ocs.example/room > tea@rooms.jabber.example/Alma chat: Psst",
        "msrp 200",
    ]);
    guest.room(
        "/Alma",
        "type='chat' id='a3'",
        &format!("<body>What?</body><x xmlns='{MUC_USER}'/>"),
    );
    guest.stage.expect(&[
        "SEND \"Alma\" <sip:tea@rooms.jabber.example;gr=Alma> > <sip:bruno@ocs.example>: What?",
    ]);
    guest.says("sip:tea@rooms.jabber.example;gr=Nobody", "Psst");
    guest.stage.expect(&["msrp 404"]);
    // Others come, are renamed, and go.
    guest.occupant("Carla", "", &item("visitor", ""));
    let renamed = item("moderator", " nick='Al'");
    guest.occupant("Alma", GONE, &format!("{renamed}<status code='303'/>"));
    guest.occupant("Al", "", &item("moderator", ""));
    guest.stage.passes(10);
    guest.stage.expect(&[
        "NOTIFY sip:bruno [active] partial 2 +sip:tea@rooms.jabber.example;gr=Carla=Carla",
        "NOTIFY sip:bruno [active] partial 3 +sip:tea@rooms.jabber.example;gr=Al=Al -sip:tea@rooms.jabber.example;gr=Alma",
    ]);
    guest.occupant("Carla", GONE, &item("none", ""));
    guest.room("/Al", "type='groupchat'", "<subject/>");
    guest.stage.passes(10);
    guest.stage.expect(&[
        "NOTIFY sip:bruno [active] partial 4 -sip:tea@rooms.jabber.example;gr=Carla",
        "NOTIFY sip:bruno [active] partial 5",
    ]);
    // He goes.
    guest.stage.request("BYE", &guest.call.clone(), "", "");
    guest.stage.expect(&[
        "200 BYE",
        "NOTIFY sip:bruno [terminated;reason=noresource]",
        "presence bruno@ocs.example/room > tea@rooms.jabber.example/Bruno unavailable",
    ]);
    guest.is_over();
}

#[test]
fn a_nickname_is_the_rooms_to_give() {
    let mut guest = Guest::inside();
    let ask = |guest: &mut Guest, nick: &str| {
        let rest = format!("Use-Nickname: \"{nick}\"\r\n");
        guest.stage.msrp("NICKNAME", &guest.line.clone(), &rest);
    };
    let refuse = |guest: &mut Guest, nick: &str, condition: &str| {
        let xml = format!(
            "<presence xmlns='jabber:client' from='{ROOM}/{nick}' to='{}' type='error'><error type='cancel'>\
             <{condition} xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></presence>",
            guest.jid
        );
        guest.stage.stanza(&xml);
    };
    let asks =
        |nick: &str| format!("presence bruno@ocs.example/room > tea@rooms.jabber.example/{nick}");
    ask(&mut guest, "Alma");
    guest.stage.expect(&[&asks("Alma")]);
    refuse(&mut guest, "Alma", "conflict");
    guest.stage.expect(&["msrp 425"]);
    ask(&mut guest, "Boss");
    guest.stage.expect(&[&asks("Boss")]);
    refuse(&mut guest, "Boss", "not-acceptable");
    guest.stage.expect(&["msrp 403"]);
    ask(&mut guest, " ");
    guest.stage.expect(&["msrp 424"]);
    ask(&mut guest, "B");
    // A second one waits for nobody.
    guest.stage.expect(&[&asks("B")]);
    ask(&mut guest, "C");
    guest.stage.expect(&["msrp 403"]);
    let renamed = item("participant", " nick='B'");
    guest.occupant(
        "Bruno",
        GONE,
        &format!("{renamed}<status code='303'/><status code='110'/>"),
    );
    guest.stage.expect(&["msrp 200"]);
    guest.occupant(
        "B",
        "",
        &format!("{}<status code='110'/>", item("participant", "")),
    );
    guest.stage.expect(&[]);
    // He is known by it now.
    let id = guest.says_to_all("Me");
    guest.room(
        "/Bruno",
        &format!("type='groupchat' id='{id}'"),
        "<body>Me</body>",
    );
    guest.stage.expect(&["SEND \"Bruno\" <sip:tea@rooms.jabber.example;gr=Bruno> > <sip:tea@rooms.jabber.example>: Me"]);
    guest.room(
        "/B",
        &format!("type='groupchat' id='{id}'"),
        "<body>Me</body>",
    );
    guest.stage.expect(&["msrp 200"]);
    // One who never hears from the room is told so.
    ask(&mut guest, "D");
    guest.stage.expect(&[&asks("D")]);
    guest.stage.passes(60);
    guest.stage.expect(&["msrp 403"]);
}

#[test]
fn a_room_has_ways_to_end_a_stay() {
    let gone = |more: &str| format!("{}<status code='110'/>{more}", item("none", ""));
    let kicked = "<item affiliation='none' role='none'><reason>No \"tea\"\nfor you</reason></item><status code='110'/><status code='307'/>";
    let rows = [
        (
            kicked.to_owned(),
            "BYE sip:bruno [SIP;cause=480;text=\"No \\\"tea\\\" for you\"]",
            "noresource]",
        ),
        (
            gone("<status code='301'/>"),
            "BYE sip:bruno [SIP;cause=403;text=\"Banned From The Room\"]",
            "noresource]",
        ),
        (
            gone("<destroy jid='cake@rooms.jabber.example'><reason>Closed</reason></destroy>"),
            "BYE sip:bruno [SIP;cause=410;text=\"Closed\"]",
            "noresource] deleted 1",
        ),
        (
            gone("<status code='332'/>"),
            "BYE sip:bruno [SIP;cause=410;text=\"The Room Is No More\"]",
            "noresource] deleted 1",
        ),
        (
            gone("<status code='333'/>"),
            "BYE sip:bruno [SIP;cause=503;text=\"The Room Cannot Be Reached\"]",
            "noresource]",
        ),
    ];
    for (presence, bye, notify) in rows {
        let mut guest = Guest::inside();
        guest.subscribes();
        guest.says_to_all("On its way");
        guest.occupant("Bruno", GONE, &presence);
        let notify = format!("NOTIFY sip:bruno [terminated;reason={notify}");
        guest.stage.expect(&[bye, &notify, "msrp 408"]);
        guest.is_over();
    }
}

#[test]
fn a_room_that_does_not_take_him_answers_his_call() {
    let rows = [
        ("cancel", "item-not-found", "404 INVITE"),
        ("auth", "forbidden", "403 INVITE"),
        ("auth", "registration-required", "403 INVITE"),
        ("auth", "not-authorized", "403 INVITE"),
        ("wait", "service-unavailable", "403 INVITE"),
        ("cancel", "not-allowed", "403 INVITE"),
        ("cancel", "remote-server-not-found", "404 INVITE"),
    ];
    for (kind, condition, answer) in rows {
        let mut guest = Guest::asks();
        let xml = format!(
            "<presence xmlns='jabber:client' from='{ROOM}/Bruno' to='{}' type='error'><error type='{kind}'>\
             <{condition} xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></presence>",
            guest.jid
        );
        guest.stage.stanza(&xml);
        guest.stage.expect(&[answer]);
        guest.is_over();
    }
    // One that never answers.
    let mut guest = Guest::asks();
    guest.stage.passes(31);
    guest.stage.expect(&[
        "504 INVITE",
        "presence bruno@ocs.example/room > tea@rooms.jabber.example/Bruno unavailable",
    ]);
    guest.is_over();
}

#[test]
fn a_message_without_an_echo_fails() {
    let mut guest = Guest::inside();
    guest.says_to_all("Into the void");
    guest.stage.passes(40);
    guest.stage.expect(&["msrp 408"]);
    let id = guest.says_to_all("Muted");
    guest.room(
        "",
        &format!("type='error' id='{id}'"),
        "<error type='auth'><forbidden xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>",
    );
    guest.stage.expect(&["msrp 403"]);
    // Late, and so never his.
    guest.repeats(&id, "Muted");
    guest.stage.expect(&["SEND \"Bruno\" <sip:tea@rooms.jabber.example;gr=Bruno> > <sip:tea@rooms.jabber.example>: Muted"]);
}

#[test]
fn a_room_that_cannot_be_reached_ends_his_stay() {
    let mut guest = Guest::inside();
    guest.stage.world.surroundings.xmpp_silent = true;
    guest.stage.world.surroundings.xmpp_unreachable = true;
    guest.says_to_all("Is anybody there?");
    guest.stage.passes(300);
    guest.stage.expect(&[
        "BYE sip:bruno [SIP;cause=503;text=\"The Room Cannot Be Reached\"]",
        "msrp 408",
        "presence bruno@ocs.example/room > tea@rooms.jabber.example/Bruno unavailable",
    ]);
    guest.is_over();
}

#[test]
fn the_loss_of_his_connection_ends_his_stay() {
    let mut guest = Guest::inside();
    let id = guest.says_to_all("One last thing");
    guest.stage.loses_msrp();
    guest.stage.expect(&[
        "BYE sip:bruno [SIP;cause=408;text=\"The MSRP Connection Is Lost\"]",
        "presence bruno@ocs.example/room > tea@rooms.jabber.example/Bruno unavailable",
    ]);
    guest.repeats(&id, "One last thing");
    guest.stage.expect(&["message bruno@ocs.example/room > tea@rooms.jabber.example/Bruno error recipient-unavailable"]);
    guest.is_over();
}

#[test]
fn a_user_who_says_more_than_the_room_repeats_is_slowed_down() {
    let mut guest = Guest::inside();
    for number in 0..300 {
        guest.says("sip:tea@rooms.jabber.example", &format!("bla {number}"));
    }
    let lines = guest.stage.lines();
    let told = lines.iter().filter(|line| line.contains(": bla ")).count();
    let refused = lines.iter().filter(|line| *line == "msrp 413").count();
    assert_eq!((told, refused), (32, 268));
    // Each one has one answer.
    guest.stage.passes(60);
    let lines = guest.stage.lines();
    assert_eq!(lines, vec!["msrp 408"; 32]);
}

#[test]
fn two_of_his_phones_are_two_occupants() {
    let mut guest = Guest::inside();
    let mut second = call("c2", "bruno");
    let body = offer("a=chatroom:nickname\r\n");
    guest.stage.opens(
        "INVITE",
        &mut second,
        "Content-Type: application/sdp\r\n",
        &body,
    );
    let news = guest.stage.news();
    let other = stanza(&news).attr("from").unwrap().to_owned();
    assert_ne!(other, guest.jid);
    let taken = |nick: &str| {
        format!(
            "<presence xmlns='jabber:client' from='{ROOM}/{nick}' to='{other}' type='error'><error type='cancel'>\
         <conflict xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></presence>"
        )
    };
    guest.stage.stanza(&taken("Bruno"));
    guest
        .stage
        .expect(&["presence bruno@ocs.example/room > tea@rooms.jabber.example/Bruno 2 join"]);
    // Old news.
    guest.stage.stanza(&taken("Bruno"));
    guest.stage.expect(&[]);
    guest.stage.request("CANCEL", &second, "", "");
    guest.stage.expect(&[
        "200 CANCEL",
        "487 INVITE",
        "presence bruno@ocs.example/room > tea@rooms.jabber.example/Bruno 2 unavailable",
    ]);
    let id = guest.says_to_all("Only one of me");
    guest.repeats(&id, "Only one of me");
    guest.stage.expect(&["msrp 200"]);
}

#[test]
fn the_gateway_stops_and_says_so() {
    let mut guest = Guest::inside();
    guest.stage.stops();
    guest.stage.expect(&[
        "BYE sip:bruno [SIP;cause=503;text=\"The Room Cannot Be Reached\"]",
        "presence bruno@ocs.example/room > tea@rooms.jabber.example/Bruno unavailable",
    ]);
    guest.stage.passes(200);
    guest.stage.assert_empty();
}
