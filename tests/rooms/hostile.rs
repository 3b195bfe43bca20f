//! Rooms, conferences and users that mean no good: what they get us to believe, to keep and to send.

use crate::conference::{self, ACTIVE, ALMA, CONFERENCE, Member, document, joins, user};
use crate::output::{Output, Sent};
use crate::room::{GONE, Guest, MUC_USER, ROOM, call, item, offer};
use crate::stage::{Call, Stage, response};

/// Octets of the longest thing that went out.
fn longest(news: &[Output]) -> usize {
    let octets = |output: &Output| match &output.what {
        Sent::Sip(sip) => sip.raw.len(),
        Sent::Msrp(msrp) => msrp.start.len() + msrp.body.as_ref().map_or(0, Vec::len),
        Sent::Stanza(stanza) => String::from(stanza).len(),
    };
    news.iter().map(octets).max().unwrap_or_default()
}

/// More than any stanza of a kind peer, and less than the limit of one.
fn long(text: &str) -> String {
    text.repeat(200_000 / text.len())
}

#[test]
fn long_words_of_a_room_do_not_become_long_headers() {
    let mut guest = Guest::inside();
    guest.subscribes();
    guest.stage.news();
    guest.stage.msrp(
        "NICKNAME",
        &guest.line.clone(),
        "Use-Nickname: \"Boss\"\r\n",
    );
    let xml = format!(
        "<presence xmlns='jabber:client' from='{ROOM}/Boss' to='{}' type='error'><error type='cancel'>\
         <not-acceptable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>\
         <text xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'>{}</text></error></presence>",
        guest.jid,
        long("no ")
    );
    guest.stage.stanza(&xml);
    let news = guest.stage.news();
    assert!(longest(&news) < 2000, "nickname: {}", longest(&news));
    let id = guest.says_to_all("Hi");
    let xml = format!(
        "<error type='auth'><forbidden xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>\
         <text xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'>{}</text></error>",
        long("no ")
    );
    guest.room("", &format!("type='error' id='{id}'"), &xml);
    let news = guest.stage.news();
    assert!(longest(&news) < 2000, "message: {}", longest(&news));
    guest.room(
        "/Alma",
        "type='groupchat'",
        &format!("<subject>{}</subject>", long("tea ")),
    );
    guest.stage.passes(10);
    let news = guest.stage.news();
    assert!(longest(&news) < 20_000, "subject: {}", longest(&news));
    let reason = long("out\n");
    let presence = format!(
        "<item affiliation='none' role='none'><reason>{reason}</reason></item><status code='110'/><status code='307'/>"
    );
    guest.occupant("Bruno", GONE, &presence);
    let news = guest.stage.news();
    assert!(longest(&news) < 4000, "reason: {}", longest(&news));
    guest.is_over();
}

#[test]
fn a_nickname_that_is_none_names_nobody() {
    let mut guest = Guest::inside();
    guest.subscribes();
    guest.stage.news();
    for nick in [long("x"), "a&#10;b".to_owned(), String::new()] {
        // As an occupant, and as somebody's new name, his own included.
        guest.occupant(&nick, "", &item("participant", ""));
        let renamed = item("participant", &format!(" nick='{nick}'"));
        guest.occupant(
            "Bruno",
            GONE,
            &format!("{renamed}<status code='303'/><status code='110'/>"),
        );
        let id = guest.says_to_all("Still Bruno");
        guest.repeats(&id, "Still Bruno");
        let news = guest.stage.news();
        assert!(longest(&news) < 4000, "{}", longest(&news));
    }
    guest.stage.request("BYE", &guest.call.clone(), "", "");
    let lines = guest.stage.lines();
    let goodbye = "presence bruno@ocs.example/room > tea@rooms.jabber.example/Bruno unavailable";
    assert!(lines.contains(&goodbye.to_owned()), "{lines:#?}");
    guest.is_over();
}

#[test]
fn one_who_comes_and_goes_without_end_costs_little() {
    let mut guest = Guest::inside();
    guest.subscribes();
    guest.stage.news();
    for number in 0..6000 {
        let nick = format!("Guest {number}");
        guest.occupant(&nick, "", &item("participant", ""));
        guest.occupant(&nick, GONE, &item("none", ""));
    }
    guest.stage.passes(10);
    let news = guest.stage.news();
    assert!(news.len() < 10, "{} NOTIFYs", news.len());
    assert!(longest(&news) < 300_000, "{}", longest(&news));
}

#[test]
fn more_occupants_than_are_shown() {
    let mut guest = Guest::inside();
    for number in 0..2000 {
        guest.occupant(&format!("Guest {number}"), "", &item("participant", ""));
    }
    guest.subscribes();
    let news = guest.stage.news();
    let users: usize = news
        .iter()
        .filter_map(Output::request)
        .map(|notify| {
            String::from_utf8_lossy(&notify.body)
                .matches("<user ")
                .count()
        })
        .sum();
    assert_eq!(users, 500);
    // Those beyond can leave, and he is still himself.
    for number in 0..2000 {
        guest.occupant(&format!("Guest {number}"), GONE, &item("none", ""));
    }
    let id = guest.says_to_all("Alone at last");
    guest.repeats(&id, "Alone at last");
    let lines = guest.stage.lines();
    assert!(lines.contains(&"msrp 200".to_owned()), "{lines:#?}");
}

#[test]
fn a_room_that_talks_without_end_loses_him() {
    let mut guest = Guest::inside();
    guest.stage.world.held.msrp = true;
    for number in 0..300 {
        guest.room(
            "/Alma",
            &format!("type='groupchat' id='f{number}'"),
            "<body>bla</body>",
        );
    }
    let lines = guest.stage.lines();
    let came = lines.iter().filter(|line| line.ends_with(": bla")).count();
    assert!(came <= 100, "{came}");
    let bye = lines.iter().filter(|line| line.starts_with("BYE ")).count();
    assert_eq!(bye, 1, "{lines:#?}");
    let leaves = "presence bruno@ocs.example/room > tea@rooms.jabber.example/Bruno unavailable";
    assert!(lines.contains(&leaves.to_owned()));
    guest.stage.passes(200);
    guest.stage.assert_empty();
}

#[test]
fn other_rooms_have_no_say() {
    let mut guest = Guest::inside();
    guest.stage.news();
    let jid = guest.jid.clone();
    let others = [
        "cake@rooms.jabber.example/Bruno",
        "tea@jabber.example/Bruno",
    ];
    for from in others {
        let gone = format!(
            "{}<status code='110'/><status code='307'/>",
            item("none", "")
        );
        guest.stage.stanza(&format!(
            "<presence xmlns='jabber:client' from='{from}' to='{jid}' type='unavailable'><x xmlns='{MUC_USER}'>{gone}</x></presence>"
        ));
        guest.stage.stanza(&format!(
            "<message xmlns='jabber:client' from='{from}' to='{jid}' type='groupchat' id='o1'><body>Boo</body></message>"
        ));
        guest.stage.stanza(&format!(
            "<message xmlns='jabber:client' from='{from}' to='{jid}' type='groupchat'><subject>Boo</subject></message>"
        ));
        guest.stage.stanza(&format!(
            "<presence xmlns='jabber:client' from='{from}' to='{jid}' type='error'><error type='cancel'>\
             <conflict xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></presence>"
        ));
    }
    let refused =
        |from: &str| format!("message bruno@ocs.example/room > {from} error recipient-unavailable");
    guest.stage.expect(&[
        &refused(others[0]),
        &refused(others[0]),
        &refused(others[1]),
        &refused(others[1]),
    ]);
    let id = guest.says_to_all("Still here");
    // Nor does another occupant answer for the room.
    guest.room(
        "/Alma",
        &format!("type='groupchat' id='{id}'"),
        "<body>Still here</body>",
    );
    guest.stage.expect(&["SEND \"Alma\" <sip:tea@rooms.jabber.example;gr=Alma> > <sip:tea@rooms.jabber.example>: Still here"]);
    guest.repeats(&id, "Still here");
    guest.stage.expect(&["msrp 200"]);
}

#[test]
fn he_speaks_for_nobody_but_himself() {
    let mut guest = Guest::inside();
    for from in [
        "<sip:ceo@ocs.example>",
        "<sip:alma@jabber.example>",
        "\"Alma\" <sip:tea@rooms.jabber.example;gr=Alma>",
    ] {
        guest.stage.says(
            &guest.line.clone(),
            (from, "sip:tea@rooms.jabber.example"),
            "I resign",
        );
        guest.stage.expect(&["msrp 403"]);
    }
    guest.says("sip:cake@rooms.jabber.example", "Elsewhere");
    guest.says("sip:alma@jabber.example", "Elsewhere");
    guest.stage.expect(&["msrp 404", "msrp 404"]);
    // Nor does another one in his dialog.
    let mut other = guest.call.clone();
    other.from = "<sip:mallory@ocs.example>;tag=b1".to_owned();
    guest.stage.request("BYE", &other, "", "");
    guest.stage.expect(&["481 BYE"]);
    let subscribe = Call {
        id: "s9".to_owned(),
        from: "<sip:mallory@ocs.example>;tag=m1".to_owned(),
        tag: String::new(),
        ..guest.call.clone()
    };
    guest.stage.request(
        "SUBSCRIBE",
        &subscribe,
        "Event: conference\r\nExpires: 600\r\n",
        "",
    );
    let lines = guest.stage.lines();
    assert_eq!(lines.len(), 1, "{lines:#?}");
    assert!(lines[0].starts_with('4'), "{lines:#?}");
}

#[test]
fn one_user_has_so_many_rooms() {
    let mut stage = Stage::new();
    let mut joins = 0;
    for number in 0..1000 {
        let mut call = call(&format!("c{number}"), "bruno");
        call.to = format!("room{number}@rooms.jabber.example");
        let body = offer("a=chatroom:nickname\r\n");
        stage.opens(
            "INVITE",
            &mut call,
            "Content-Type: application/sdp\r\n",
            &body,
        );
        joins += stage
            .lines()
            .iter()
            .filter(|line| line.ends_with(" join"))
            .count();
    }
    assert!(joins <= 20, "{joins}");
    stage.passes(120);
    stage.assert_empty();
}

#[test]
fn one_stanza_does_not_become_many() {
    let mut stage = Stage::new();
    conference::inside(&mut stage);
    stage.news();
    let invites: String = (0..3000)
        .map(|number| format!("<invite to='u{number}@x.example'/>"))
        .collect();
    stage.stanza(&format!(
        "<message xmlns='jabber:client' from='{ALMA}' to='{CONFERENCE}' id='i1'><x xmlns='{MUC_USER}'>{invites}</x></message>"
    ));
    let lines = stage.lines();
    let refers = lines
        .iter()
        .filter(|line| line.starts_with("REFER "))
        .count();
    let errors = lines.iter().filter(|line| line.contains(" error ")).count();
    assert_eq!((refers, errors), (0, 1));
    // A few are asked for, in few words.
    let reason = long("please ");
    stage.stanza(&format!(
        "<message xmlns='jabber:client' from='{ALMA}' to='{CONFERENCE}' id='i2'><x xmlns='{MUC_USER}'>\
         <invite to='u1@x.example'><reason>{reason}</reason></invite><invite to='u2@x.example'/></x></message>"
    ));
    let news = stage.news();
    let refers = news.iter().filter_map(Output::request);
    assert_eq!(refers.filter(|sip| sip.method() == "REFER").count(), 2);
    assert!(longest(&news) < 4000, "{}", longest(&news));
}

#[test]
fn a_conference_cannot_send_her_elsewhere() {
    let mut stage = Stage::new();
    let alma = conference::inside(&mut stage);
    stage.request(
        "REFER",
        &conference::call_of(&alma.invite),
        "Refer-To: <sip:victim@ocs.example>\r\n",
        "",
    );
    stage.expect(&["603 REFER"]);
}

#[test]
fn a_conference_of_thousands_is_shown_in_part() {
    let mut stage = Stage::new();
    let alma = Member::enters(&mut stage, ALMA, "Alma");
    stage.news();
    for version in 1..4 {
        let list: String = (0..900)
            .map(|number| {
                user(
                    &format!("u{number}@ocs.example"),
                    &format!("U{version} {number}"),
                )
            })
            .collect();
        let users = format!("<users state='full'>{list}</users>");
        alma.notify(&mut stage, ACTIVE, &document("full", version, &users));
        let presences = stage.lines().len();
        // One for each of five hundred, herself and the subject; then two for each new name.
        assert!(presences <= 1003, "{version}: {presences}");
    }
}

#[test]
fn a_conference_that_lies_about_versions_is_asked_seldom() {
    let mut stage = Stage::new();
    let alma = conference::inside(&mut stage);
    for version in [9, 4_000_000_000, 3, 0, 4_294_967_295, 1]
        .into_iter()
        .cycle()
        .take(600)
    {
        let users = format!(
            "<users state='partial'>{}</users>",
            user("x@ocs.example", "X")
        );
        alma.notify(&mut stage, ACTIVE, &document("partial", version, &users));
    }
    let asked = stage.lines();
    let asked = asked
        .iter()
        .filter(|line| line.starts_with("SUBSCRIBE"))
        .count();
    assert!(asked <= 2, "{asked}");
}

#[test]
fn a_claim_on_a_session_names_no_jid() {
    let mut stage = Stage::new();
    let alma = conference::inside(&mut stage);
    for (from, nick) in [
        ("\"Boss\" <sip:boss@jabber.example>", "/boss"),
        ("\"Bruno\" <sip:mallory@evil.example>", "/Bruno"),
        ("<sip:chat7@ocs.example>", ""),
        ("<sip:alma@jabber.example;gr=other>", "/Alma"),
    ] {
        alma.hears(&mut stage, from, "sip:chat7@ocs.example", "Trust me");
        let said = format!("message {CONFERENCE}{nick} > {ALMA} groupchat: Trust me");
        stage.expect(&[&said, "msrp 200"]);
    }
}

#[test]
fn both_domains_have_to_be_allowed() {
    let mut stage = Stage::new();
    // An XMPP domain that is no partner.
    joins(&mut stage, "eve@evil.example/home", "Eve");
    stage.expect(&[&format!(
        "presence {CONFERENCE}/Eve > eve@evil.example/home error not-allowed"
    )]);
    let mut strange = call("c9", "bruno");
    strange.to = "tea@rooms.evil.example".to_owned();
    let body = offer("a=chatroom:nickname\r\n");
    stage.opens(
        "INVITE",
        &mut strange,
        "Content-Type: application/sdp\r\n",
        &body,
    );
    let lines = stage.lines();
    assert_eq!(lines, ["404 INVITE"], "{lines:#?}");
    let mut impostor = call("c10", "bruno");
    impostor.from = "<sip:bruno@evil.example>;tag=b1".to_owned();
    stage.opens(
        "INVITE",
        &mut impostor,
        "Content-Type: application/sdp\r\n",
        &body,
    );
    let news = stage.news();
    response(&news, 403);
    stage.assert_empty();
}
