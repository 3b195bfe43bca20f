//! Alma of XMPP in the conference `chat7` of SIP (RFC 7702 §5).

use crate::msrp_text::MsrpText;
use crate::output::Output;
use crate::sip_text::SipText;
use crate::stage::{Call, Line, Stage, path_in, request};

pub(crate) const CONFERENCE: &str = "chat7@ocs.example";
const THEIRS: &str = "msrp://127.0.0.1:7313/focus7;tcp";
pub(crate) const ALMA: &str = "alma@jabber.example/home";
const CHAT7: &str = "<sip:chat7@ocs.example>";
pub(crate) const BRUNO: &str = "\"Bruno\" <sip:bruno@ocs.example>";

pub(crate) fn description(abilities: &str) -> String {
    format!(
        "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
         m=message 7313 TCP/MSRP *\r\na=accept-types:message/cpim\r\na=accept-wrapped-types:text/plain\r\n\
         a=setup:passive\r\na=path:{THEIRS}\r\na=chatroom:{abilities}\r\n"
    )
}

pub(crate) const FOCUS: &str = "Contact: <sip:chat7@edge.ocs.example:5061;transport=tls>;isfocus\r\n\
    Content-Type: application/sdp\r\n";

pub(crate) fn document(extent: &str, version: u32, users: &str) -> String {
    format!(
        "<conference-info xmlns='urn:ietf:params:xml:ns:conference-info' entity='sip:chat7@ocs.example' \
         state='{extent}' version='{version}'>{users}</conference-info>"
    )
}

pub(crate) fn user(name: &str, nick: &str) -> String {
    format!("<user entity='sip:{name}'><display-text>{nick}</display-text></user>")
}

/// One leg of an XMPP user, as the conference sees it.
pub(crate) struct Member {
    pub(crate) jid: &'static str,
    pub(crate) invite: SipText,
    pub(crate) line: Line,
    /// The dialog in which the conference tells who is there.
    pub(crate) watch: Call,
}

pub(crate) fn joins(stage: &mut Stage, jid: &str, nick: &str) {
    stage.stanza(&format!(
        "<presence xmlns='jabber:client' from='{jid}' to='{CONFERENCE}/{nick}' id='j1'>\
         <x xmlns='http://jabber.org/protocol/muc'/></presence>"
    ));
}

pub(crate) fn call_of(request: &SipText) -> Call {
    let tag = request.header("From").unwrap();
    let tag = tag.split_once(";tag=").unwrap().1.to_owned();
    Call {
        id: request.call_id().unwrap().to_owned(),
        from: format!(
            "{CHAT7};tag={}",
            if request.method() == "INVITE" {
                "peer7"
            } else {
                "peer5"
            }
        ),
        contact: "chat7".to_owned(),
        to: "alma@jabber.example".to_owned(),
        tag,
        cseq: 0,
    }
}

impl Member {
    /// She is let in under the nickname that she wants; the conference has told nobody's name yet.
    pub(crate) fn enters(stage: &mut Stage, jid: &'static str, nick: &str) -> Self {
        joins(stage, jid, nick);
        let news = stage.news();
        let invite = request(&news, "INVITE");
        stage.answers(
            &invite,
            "200 OK",
            FOCUS,
            &description("nickname private-messages"),
        );
        let news = stage.news();
        request(&news, "ACK");
        let mut nicknames = news.iter().filter_map(|output| output.msrp());
        let asked = nicknames.find(|msrp| msrp.method() == Some("NICKNAME"));
        let asked = asked.expect("a nickname is asked for");
        assert_eq!(
            asked.header("Use-Nickname"),
            Some(format!("\"{nick}\"").as_str())
        );
        stage.world.msrp(asked.answer("200 OK").as_bytes()).unwrap();
        let subscribe = request(&stage.news(), "SUBSCRIBE");
        Self {
            jid,
            line: Line {
                theirs: path_in(&invite),
                ours: THEIRS.to_owned(),
            },
            watch: call_of(&subscribe),
            invite,
        }
    }

    pub(crate) fn notify(&self, stage: &mut Stage, state: &str, body: &str) {
        let more = format!(
            "Event: conference\r\nSubscription-State: {state}\r\nContent-Type: application/conference-info+xml\r\n"
        );
        stage.request("NOTIFY", &self.watch, &more, body);
    }

    pub(crate) fn says(&self, stage: &mut Stage, to: &str, kind: &str, id: &str, text: &str) {
        stage.stanza(&format!(
            "<message xmlns='jabber:client' from='{}' to='{CONFERENCE}{to}' type='{kind}' id='{id}'>\
             <body>{text}</body></message>",
            self.jid
        ));
    }

    pub(crate) fn hears(&self, stage: &mut Stage, from: &str, to: &str, text: &str) {
        stage.says(&self.line, (from, to), text);
    }
}

pub(crate) const ACTIVE: &str = "active;expires=600";

pub(crate) fn inside(stage: &mut Stage) -> Member {
    let alma = Member::enters(stage, ALMA, "Alma");
    let users = format!(
        "<conference-description><subject>Plan</subject></conference-description><users state='full'>{}{}</users>",
        user("bruno@ocs.example", "Bruno"),
        user("alma@jabber.example", "Alma"),
    );
    alma.notify(stage, ACTIVE, &document("full", 1, &users));
    stage.expect(&[
        "presence chat7@ocs.example/Bruno > alma@jabber.example/home role=participant jid=bruno@ocs.example",
        "presence chat7@ocs.example/Alma > alma@jabber.example/home role=participant jid=alma@jabber.example/home 100 110",
        "message chat7@ocs.example > alma@jabber.example/home groupchat subject=Plan",
    ]);
    alma
}

pub(crate) fn msrp_request(stage: &mut Stage) -> MsrpText {
    let news = stage.news();
    let mut requests = news.iter().filter_map(Output::msrp_request);
    requests.next_back().expect("an MSRP request").clone()
}

#[test]
fn an_xmpp_user_spends_an_evening_in_a_conference() {
    let mut stage = Stage::new();
    let alma = inside(&mut stage);
    stage.world.held.msrp = true;
    // She is heard, and hears herself once the conference has it.
    alma.says(&mut stage, "", "groupchat", "a1", "Hello");
    let send = msrp_request(&mut stage);
    stage.world.msrp(send.answer("200 OK").as_bytes()).unwrap();
    stage.expect(&["message chat7@ocs.example/Alma > alma@jabber.example/home groupchat: Hello"]);
    // A conference that repeats it to her says nothing new.
    alma.hears(
        &mut stage,
        "\"Alma\" <sip:alma@jabber.example;gr=home>",
        "sip:chat7@ocs.example",
        "Hello",
    );
    stage.expect(&["msrp 200"]);
    alma.says(&mut stage, "", "groupchat", "a2", "Too much");
    let send = msrp_request(&mut stage);
    stage.world.msrp(send.answer("403 No").as_bytes()).unwrap();
    stage.expect(&["message chat7@ocs.example > alma@jabber.example/home error forbidden"]);
    // Others speak, to all and to her.
    alma.hears(&mut stage, BRUNO, "sip:chat7@ocs.example", "Good evening");
    alma.hears(&mut stage, BRUNO, "sip:alma@jabber.example;gr=home", "Psst");
    stage.expect(&[
        "message chat7@ocs.example/Bruno > alma@jabber.example/home groupchat: Good evening",
        "message chat7@ocs.example/Bruno > alma@jabber.example/home chat: Psst",
        "msrp 200",
        "msrp 200",
    ]);
    alma.says(&mut stage, "/Bruno", "chat", "a3", "What?");
    stage.expect(&[
        "SEND \"Alma\" <sip:alma@jabber.example;gr=home> > <sip:bruno@ocs.example>: What?",
    ]);
    alma.says(&mut stage, "/Nobody", "chat", "a4", "What?");
    alma.says(&mut stage, "/Bruno", "groupchat", "a5", "What?");
    stage.expect(&[
        "message chat7@ocs.example/Nobody > alma@jabber.example/home error item-not-found",
        "message chat7@ocs.example/Bruno > alma@jabber.example/home error bad-request",
    ]);
    // Who comes and goes, and what it is about.
    let users = format!(
        "<users state='partial'>{}</users>",
        user("carla@ocs.example", "Bruno")
    );
    alma.notify(&mut stage, ACTIVE, &document("partial", 2, &users));
    let gone =
        "<users state='partial'><user entity='sip:bruno@ocs.example' state='deleted'/></users>";
    alma.notify(&mut stage, ACTIVE, &document("partial", 3, gone));
    let subject = "<conference-description><subject>Other</subject></conference-description>";
    alma.notify(&mut stage, ACTIVE, &document("partial", 4, subject));
    stage.expect(&[
        "presence chat7@ocs.example/Bruno 2 > alma@jabber.example/home role=participant jid=carla@ocs.example",
        "presence chat7@ocs.example/Bruno > alma@jabber.example/home unavailable jid=bruno@ocs.example",
        "message chat7@ocs.example > alma@jabber.example/home groupchat subject=Other",
    ]);
    // She leaves.
    stage.stanza(&format!(
        "<presence xmlns='jabber:client' from='{ALMA}' to='{CONFERENCE}/Alma' type='unavailable'/>"
    ));
    stage.expect(&[
        "message chat7@ocs.example/Bruno > alma@jabber.example/home error internal-server-error",
        "presence chat7@ocs.example/Alma > alma@jabber.example/home unavailable jid=alma@jabber.example/home 110",
        "SUBSCRIBE sip:chat7 [0]",
        "BYE sip:chat7",
    ]);
    stage.passes(200);
    stage.assert_empty();
}

#[test]
fn a_conference_that_does_not_take_her_says_why() {
    let rows = [
        ("403 Forbidden", "forbidden"),
        ("404 Not Found", "item-not-found"),
        ("486 Busy Here", "recipient-unavailable"),
        ("603 Decline", "recipient-unavailable"),
        ("488 Not Acceptable Here", "not-acceptable"),
    ];
    for (status, condition) in rows {
        let mut stage = Stage::new();
        joins(&mut stage, ALMA, "Alma");
        let invite = request(&stage.news(), "INVITE");
        stage.answers(&invite, status, "", "");
        let error = format!("presence chat7@ocs.example/Alma > {ALMA} error {condition}");
        stage.expect(&["ACK sip:chat7", &error]);
        stage.assert_empty();
    }
}

#[test]
fn a_nickname_that_another_one_has_keeps_her_out() {
    let mut stage = Stage::new();
    joins(&mut stage, ALMA, "Alma");
    let invite = request(&stage.news(), "INVITE");
    stage.answers(&invite, "200 OK", FOCUS, &description("nickname"));
    let asked = msrp_request(&mut stage);
    stage
        .world
        .msrp(asked.answer("425 Taken").as_bytes())
        .unwrap();
    stage.expect(&[
        "BYE sip:chat7",
        "presence chat7@ocs.example/Alma > alma@jabber.example/home error conflict",
    ]);
    stage.passes(200);
    stage.assert_empty();
}

#[test]
fn a_conference_that_never_answers_is_given_up() {
    let mut stage = Stage::new();
    joins(&mut stage, ALMA, "Alma");
    stage.news();
    stage.passes(31);
    stage.expect(&[
        "presence chat7@ocs.example/Alma > alma@jabber.example/home error remote-server-timeout",
    ]);
    stage.passes(200);
    stage.assert_empty();
}

#[test]
fn her_nickname_changes_as_the_conference_says() {
    let mut stage = Stage::new();
    inside(&mut stage);
    let asks = |stage: &mut Stage, nick: &str, status: &str| {
        stage.stanza(&format!(
            "<presence xmlns='jabber:client' from='{ALMA}' to='{CONFERENCE}/{nick}' id='n1'/>"
        ));
        let asked = msrp_request(stage);
        let answer = asked.answer(status);
        stage.world.msrp(answer.as_bytes()).unwrap();
    };
    asks(&mut stage, "Al", "200 OK");
    stage.expect(&[
        "presence chat7@ocs.example/Alma > alma@jabber.example/home unavailable role=participant jid=alma@jabber.example/home nick=Al 110 303",
        "presence chat7@ocs.example/Al > alma@jabber.example/home role=participant jid=alma@jabber.example/home 100 110",
    ]);
    asks(&mut stage, "Boss", "425 Taken");
    stage.expect(&["presence chat7@ocs.example/Boss > alma@jabber.example/home error conflict"]);
}

#[test]
fn a_conference_has_ways_to_end_a_stay() {
    let rows = [
        ("", "332"),
        ("Reason: SIP;cause=480;text=\"Out\"\r\n", "(Out) 110 307"),
        ("Reason: SIP;cause=403;text=\"Out\"\r\n", "301"),
        ("Reason: SIP;cause=503;text=\"Down\"\r\n", "333"),
    ];
    for (reason, codes) in rows {
        let mut stage = Stage::new();
        let alma = inside(&mut stage);
        stage.request("BYE", &call_of(&alma.invite), reason, "");
        let lines = stage.lines();
        assert!(lines.contains(&"200 BYE".to_owned()), "{lines:#?}");
        let last = lines
            .iter()
            .find(|line| line.starts_with("presence"))
            .unwrap();
        assert!(
            last.contains("/Alma > alma@jabber.example/home unavailable"),
            "{last}"
        );
        assert!(last.ends_with(codes), "{last}");
        stage.passes(200);
        stage.assert_empty();
    }
}

#[test]
fn two_users_are_in_one_conference_each_for_herself() {
    let mut stage = Stage::new();
    inside(&mut stage);
    let carla = Member::enters(&mut stage, "carla@jabber.example/phone", "Carla");
    let users = format!(
        "<users state='full'>{}</users>",
        user("bruno@ocs.example", "Bruno")
    );
    carla.notify(&mut stage, ACTIVE, &document("full", 1, &users));
    stage.expect(&[
        "presence chat7@ocs.example/Bruno > carla@jabber.example/phone role=participant jid=bruno@ocs.example",
        "presence chat7@ocs.example/Carla > carla@jabber.example/phone role=participant jid=carla@jabber.example/phone 100 110",
        "message chat7@ocs.example > carla@jabber.example/phone groupchat subject=",
    ]);
    // What is said on her session is for her alone.
    carla.hears(
        &mut stage,
        BRUNO,
        "sip:chat7@ocs.example",
        "To Carla's line",
    );
    stage.expect(&[
        "message chat7@ocs.example/Bruno > carla@jabber.example/phone groupchat: To Carla's line",
        "msrp 200",
    ]);
    let leaves = format!(
        "<presence xmlns='jabber:client' from='{ALMA}' to='{CONFERENCE}' type='unavailable'/>"
    );
    stage.stanza(&leaves);
    stage.expect(&[
        "presence chat7@ocs.example/Alma > alma@jabber.example/home unavailable jid=alma@jabber.example/home 110",
        "SUBSCRIBE sip:chat7 [0]",
        "BYE sip:chat7",
    ]);
    carla.says(&mut stage, "", "groupchat", "c1", "Still here");
    stage.expect(&[
        "SEND \"Carla\" <sip:carla@jabber.example;gr=phone> > <sip:chat7@ocs.example>: Still here",
        "message chat7@ocs.example/Carla > carla@jabber.example/phone groupchat: Still here",
    ]);
}
