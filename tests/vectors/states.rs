//! Named states of the gateway, brought about by the real messages.

use std::time::Duration;

use serde_json::{Map, Value};
use stox_core::address::{Jid, Scheme, SipAddress};
use stox_core::vocab::{Direction, Grant, Pair};

use crate::fill;
use crate::msrp_text::MsrpText;
use crate::output::Output;
use crate::sip_text::{self, SipText};
use crate::world::World;

const EDGE: &str = "<sip:bruno@edge.ocs.example:5061;transport=tls>";
const ALMA: &str = "alma@jabber.example";
/// What Office Communicator asks for.
const MICROSOFT_ACCEPT: &str = "application/msrtc-event-categories+xml, application/xpidf+xml, \
    text/xml+msrtc.pidf, application/pidf+xml, application/rlmi+xml, multipart/related";
/// Longer than the least time between two NOTIFYs.
const REST: Duration = Duration::from_secs(10);
/// What a watcher's dialog has left when its state is reached.
const WATCHER_LEFT: Duration = Duration::from_secs(600);

/// A subscription of ours, and the user whom it is for.
pub(crate) fn pair() -> Pair {
    Pair {
        direction: Direction::XmppWatchesSip,
        xmpp: Jid {
            local: Some("alma".to_owned()),
            domain: "jabber.example".to_owned(),
            resource: None,
        },
        sip: SipAddress {
            scheme: Scheme::Sip,
            user: Some("bruno".to_owned()),
            host: "ocs.example".to_owned(),
            gr: None,
        },
    }
}

/// Brings the gateway into the state.
///
/// `tuple_in_vector` is the id of the one tuple that the vector is about.
///
/// # Errors
/// A state or a detail of it that this runner does not know, or that the gateway does not reach.
pub(crate) fn reach(
    world: &mut World,
    precondition: &Map<String, Value>,
    tuple_in_vector: Option<&str>,
) -> Result<(), String> {
    let mut details = precondition.clone();
    details.remove("meaning");
    details.extend(tuple_in_vector.map(|id| ("tuple_in_vector".to_owned(), Value::from(id))));
    if let Some(stanza) = details.remove("step1_xmpp") {
        world.held.methods.insert("SUBSCRIBE".to_owned());
        world.stanza(stanza.as_str().unwrap_or_default())?;
    }
    if let Some(state) = details.remove("state") {
        named(world, state.as_str().unwrap_or_default(), &mut details)?;
    }
    details.remove("tuple_in_vector");
    match details.keys().next() {
        Some(key) => Err(format!("unknown precondition: {key}")),
        None => Ok(()),
    }
}

fn named(world: &mut World, state: &str, details: &mut Map<String, Value>) -> Result<(), String> {
    match state {
        // The users' servers know more than the gateway does.
        "authorised-at-xmpp-server" => Ok(()),
        "x2s-subscribing" => subscribing(world),
        "x2s-active" => watching(world, details),
        "x2s-authorised-idle" => idle(world),
        "x2s-poll" => poll(world),
        "restart" => world.restore(vec![(pair(), Grant::Granted)]),
        "s2x-pending" => pending(world, "bruno", "s2x-1", None),
        "s2x-active" => watched(world, details),
        "s2x-two-dialogs" => {
            active(world, "bruno", "s2x-1", None)?;
            pending(world, "bruno", "s2x-2", None)?;
            world.run_for(REST)
        }
        "ocs-im-session" => {
            session(world, "ocs-1", "m=message 5060 sip null\r\n")?;
            if details.remove("chat_states").is_some() {
                shows_chat_states(world, "<thread>ocs-1@ocs.example</thread>")?;
            }
            Ok(())
        }
        "msrp-session" => session(
            world,
            "msrp-1",
            "m=message 7313 TCP/MSRP *\r\na=accept-types:text/plain application/im-iscomposing+xml\r\n\
             a=path:msrp://127.0.0.1:7313/k7s;tcp\r\n",
        )
        .and_then(|()| bind(world)),
        _ => match state.strip_prefix("s2x-active for ") {
            Some(users) => users
                .split(" and ")
                .enumerate()
                .try_for_each(|(index, user)| {
                    let name = user.split('@').next().unwrap_or(user);
                    active(world, name, &format!("s2x-{}", index + 1), None)
                }),
            None => Err(format!("unknown state: {state}")),
        },
    }
}

/// Her client shows a chat state, which makes it one that is told them alone (XEP-0085 §5.1).
pub(crate) fn shows_chat_states(world: &mut World, thread: &str) -> Result<(), String> {
    world.stanza(&format!(
        "<message xmlns='jabber:client' from='{ALMA}/laptop' to='bruno@ocs.example' type='chat'>{thread}\
         <active xmlns='http://jabber.org/protocol/chatstates'/></message>"
    ))?;
    world.settle()
}

// ---------------------------------------------------------------------------------- the gateway watches

fn presence(from: &str, kind: &str) -> String {
    let kind = if kind.is_empty() {
        String::new()
    } else {
        format!(" type='{kind}'")
    };
    format!("<presence xmlns='jabber:client' from='{from}' to='bruno@ocs.example'{kind}/>")
}

fn subscribing(world: &mut World) -> Result<(), String> {
    world.stanza(&presence(ALMA, "subscribe"))?;
    world.settle()
}

/// A NOTIFY in the dialog of a SUBSCRIBE of ours.
pub(crate) fn notify(subscribe: &SipText, cseq: u64, state: &str, tuples: &str) -> String {
    let contact = subscribe.lines("Contact").next().and_then(sip_text::uri_of);
    let contact = contact.unwrap_or_default();
    let tag = subscribe.tag("From").unwrap_or_default();
    let call_id = subscribe.call_id().unwrap_or_default();
    let body = if tuples.is_empty() {
        String::new()
    } else {
        format!(
            "<presence xmlns=\"urn:ietf:params:xml:ns:pidf\" entity=\"pres:bruno@ocs.example\">{tuples}</presence>"
        )
    };
    let kind = if body.is_empty() {
        ""
    } else {
        "Content-Type: application/pidf+xml\r\n"
    };
    format!(
        "NOTIFY {contact} SIP/2.0\r\n\
         Via: SIP/2.0/TLS edge.ocs.example:5061;branch=z9hG4bK-state-{cseq}-{tag}\r\n\
         Max-Forwards: 69\r\nFrom: <sip:bruno@ocs.example>;tag=peer5\r\n\
         To: <sip:{ALMA}>;tag={tag}\r\nCall-ID: {call_id}\r\nCSeq: {cseq} NOTIFY\r\n\
         Contact: {EDGE}\r\nEvent: presence\r\nSubscription-State: {state}\r\n{kind}\
         Content-Length: {}\r\n\r\n{body}",
        body.len(),
    )
}

/// The last SUBSCRIBE of ours before an index of the log.
pub(crate) fn last_subscribe(world: &World, before: usize) -> Option<&SipText> {
    let outputs = world.outputs.iter().take(before).rev();
    outputs
        .filter_map(Output::request)
        .find(|sip| sip.method() == "SUBSCRIBE")
}

fn tuple(id: &str, basic: &str) -> String {
    format!("<tuple id=\"{id}\"><status><basic>{basic}</basic></status></tuple>")
}

fn watching(world: &mut World, details: &mut Map<String, Value>) -> Result<(), String> {
    subscribing(world)?;
    let part = |tuple: &Value, key: &str| {
        tuple
            .get(key)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let tuples = match details.remove("known_tuples") {
        Some(known) => {
            let known = known.as_array().into_iter().flatten();
            known
                .map(|known| tuple(&part(known, "id"), &part(known, "basic")))
                .collect()
        }
        // With a note, so that news without one is news.
        None => {
            let id = details.remove("tuple_in_vector");
            let id = id.as_ref().and_then(Value::as_str).unwrap_or("t1");
            format!(
                "<tuple id=\"{id}\"><status><basic>open</basic></status><note>before</note></tuple>"
            )
        }
    };
    let cseq = details
        .remove("last_cseq")
        .and_then(|cseq| cseq.as_u64())
        .unwrap_or(1);
    let subscribe = last_subscribe(world, usize::MAX).ok_or("no SUBSCRIBE was sent")?;
    let notify = notify(subscribe, cseq, "active;expires=1800", &tuples);
    world.sip(notify.as_bytes())?;
    world.settle()?;
    match details.remove("refresh") {
        Some(refresh) if refresh == "in flight" => refresh_in_flight(world)?,
        Some(other) => return Err(format!("unknown refresh: {other}")),
        None => {}
    }
    match details.remove("unsubscribe") {
        Some(done) if done == "completed" => {
            world.stanza(&presence(ALMA, "unsubscribe"))?;
            world.settle()
        }
        Some(other) => Err(format!("unknown unsubscribe: {other}")),
        None => Ok(()),
    }
}

fn refresh_in_flight(world: &mut World) -> Result<(), String> {
    world.held.methods.insert("SUBSCRIBE".to_owned());
    let before = world.outputs.len();
    let end = world.elapsed() + Duration::from_secs(1800);
    let sent = world.run_until(end, |outputs| {
        outputs
            .iter()
            .skip(before)
            .filter_map(Output::request)
            .any(|sip| sip.method() == "SUBSCRIBE")
    })?;
    if sent {
        Ok(())
    } else {
        Err("the gateway never refreshes its subscription".to_owned())
    }
}

/// The user was watching, went offline, and the dialog ran out.
fn idle(world: &mut World) -> Result<(), String> {
    watching(world, &mut Map::new())?;
    world.stanza(&presence(&format!("{ALMA}/laptop"), ""))?;
    world.stanza(&presence(&format!("{ALMA}/laptop"), "unavailable"))?;
    world.run_for(Duration::from_secs(7200))
}

fn poll(world: &mut World) -> Result<(), String> {
    idle(world)?;
    let before = world.outputs.len();
    world.stanza(&presence(&format!("{ALMA}/laptop"), "probe"))?;
    world.settle()?;
    let one_shot = |output: &Output| {
        let request = output.request().filter(|sip| sip.method() == "SUBSCRIBE");
        request.is_some_and(|sip| sip.header("Expires").as_deref() == Some("0"))
    };
    let poll = world.outputs.iter().skip(before).position(one_shot);
    world.dialog = Some(before + poll.ok_or("the gateway does not ask after a probe")?);
    Ok(())
}

// -------------------------------------------------------------------------------- the gateway is watched

fn pending(
    world: &mut World,
    user: &str,
    call_id: &str,
    accept: Option<&str>,
) -> Result<(), String> {
    let left = (WATCHER_LEFT + REST).as_secs();
    let accept = accept.unwrap_or("application/pidf+xml");
    let tag = call_id.replace("s2x-", "w");
    let subscribe = format!(
        "SUBSCRIBE sip:{ALMA} SIP/2.0\r\n\
         Via: SIP/2.0/TLS edge.ocs.example:5061;branch=z9hG4bK-state-{call_id}\r\n\
         Max-Forwards: 70\r\nFrom: <sip:{user}@ocs.example>;tag={tag}\r\nTo: <sip:{ALMA}>\r\n\
         Call-ID: {call_id}@ocs.example\r\nCSeq: 1 SUBSCRIBE\r\n\
         Contact: <sip:{user}@edge.ocs.example:5061;transport=tls>\r\nEvent: presence\r\n\
         Accept: {accept}\r\nExpires: {left}\r\nContent-Length: 0\r\n\r\n"
    );
    world.sip(subscribe.as_bytes())?;
    world.settle()
}

fn active(
    world: &mut World,
    user: &str,
    call_id: &str,
    accept: Option<&str>,
) -> Result<(), String> {
    pending(world, user, call_id, accept)?;
    let subscribed = format!(
        "<presence xmlns='jabber:client' from='{ALMA}' to='{user}@ocs.example' type='subscribed'/>"
    );
    world.stanza(&subscribed)?;
    world.run_for(REST)
}

fn watched(world: &mut World, details: &mut Map<String, Value>) -> Result<(), String> {
    let microsoft = details.remove("watcher").is_some_and(|watcher| {
        watcher
            .as_str()
            .is_some_and(|words| words.contains("Microsoft"))
    });
    active(
        world,
        "bruno",
        "s2x-1",
        microsoft.then_some(MICROSOFT_ACCEPT),
    )?;
    let known = details.remove("known_presence");
    let known: Vec<Value> = known
        .and_then(|known| known.as_array().cloned())
        .unwrap_or_default();
    for one in &known {
        let jid = one.get("jid").and_then(Value::as_str).unwrap_or_default();
        let show = one.get("show").and_then(Value::as_str);
        let show = show
            .map(|show| format!("<show>{show}</show>"))
            .unwrap_or_default();
        world.stanza(&format!(
            "<presence xmlns='jabber:client' from='{jid}' to='bruno@ocs.example'>{show}</presence>"
        ))?;
        world.run_for(REST)?;
    }
    match details.remove("notify") {
        Some(notify) if notify == "in flight" => {
            world.held.methods.insert("NOTIFY".to_owned());
            world.stanza(&presence(&format!("{ALMA}/laptop"), ""))
        }
        Some(other) => Err(format!("unknown notify: {other}")),
        None => Ok(()),
    }
}

// ---------------------------------------------------------------------------------------------- sessions

fn session(world: &mut World, call_id: &str, media: &str) -> Result<(), String> {
    let sdp = format!(
        "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=session\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n{media}"
    );
    let invite = format!(
        "INVITE sip:{ALMA} SIP/2.0\r\n\
         Via: SIP/2.0/TLS edge.ocs.example:5061;branch=z9hG4bK-inv-{call_id}\r\n\
         Max-Forwards: 70\r\nFrom: \"Bruno\"<sip:bruno@ocs.example>;tag=i1;epid=01d2c3b4a5\r\n\
         To: <sip:{ALMA}>\r\nCall-ID: {call_id}@ocs.example\r\nCSeq: 1 INVITE\r\n\
         Contact: <sip:bruno@ocs.example;opaque=user:epid:Zq81LmN_xF6;gruu>\r\n\
         Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{sdp}",
        sdp.len()
    );
    world.sip(invite.as_bytes())?;
    world.settle()?;
    let answer = world.outputs.iter().rev().find_map(Output::response);
    let status = answer.and_then(SipText::status);
    if status != Some(200) {
        return Err(format!(
            "the gateway answers INVITE with {}",
            status.unwrap_or_default()
        ));
    }
    let ack = fill::sip(
        world,
        &format!(
            "ACK {{{{gateway_contact}}}} SIP/2.0\r\n\
             Via: SIP/2.0/TLS edge.ocs.example:5061;branch=z9hG4bK-ack-{call_id}\r\n\
             Max-Forwards: 70\r\nFrom: \"Bruno\"<sip:bruno@ocs.example>;tag=i1;epid=01d2c3b4a5\r\n\
             To: <sip:{ALMA}>;tag={{{{totag}}}}\r\nCall-ID: {call_id}@ocs.example\r\nCSeq: 1 ACK\r\n\
             Content-Length: 0\r\n\r\n"
        ),
    );
    world.sip(ack.as_bytes())?;
    world.settle()
}

/// The peer has made the offer, so it connects, and binds the connection to the session (RFC 4975 §5.4).
fn bind(world: &mut World) -> Result<(), String> {
    let path = fill::msrp_path(world).ok_or("the gateway announces no path")?;
    world.open_msrp();
    let empty = format!(
        "MSRP bind0001 SEND\r\nTo-Path: {path}\r\nFrom-Path: msrp://127.0.0.1:7313/k7s;tcp\r\n\
         Message-ID: bind-1\r\nByte-Range: 1-0/0\r\n-------bind0001$\r\n"
    );
    world.msrp(empty.as_bytes())?;
    world.settle()?;
    let answer = world.outputs.iter().rev().find_map(Output::msrp);
    match answer.and_then(MsrpText::status) {
        Some(200) => Ok(()),
        other => Err(format!("the gateway answers the empty SEND with {other:?}")),
    }
}
