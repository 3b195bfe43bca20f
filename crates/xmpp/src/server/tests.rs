use stox_core::address::Jid;

use super::*;
use crate::adapt::{self, Inbound};

const S: &str = "xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'";

/// What comes back for an iq from alma, with its frame taken off.
fn ask(to: &str, kind: &str, payload: &str) -> Option<String> {
    ask_at(Place::default(), to, kind, payload)
}

fn ask_at(place: Place, to: &str, kind: &str, payload: &str) -> Option<String> {
    let software = Software {
        name: "stoxgate".into(),
        version: "1.0 <beta>".into(),
    };
    let stanza: Element = format!(
        "<iq xmlns='jabber:client' from='alma@jabber.example/x' to='{to}' id='q\"1' type='{kind}'>{payload}</iq>"
    )
    .parse()
    .expect(payload);
    let Inbound::Iq(iq) = adapt::read(&stanza) else {
        panic!("{stanza:?}");
    };
    let reply = answer(&software, place, &iq)?;
    assert_eq!(reply.name(), "iq");
    assert_eq!(reply.attr("id"), Some("q\"1"));
    assert_eq!(reply.attr("to"), Some("alma@jabber.example/x"));
    assert_eq!(reply.attr("from").map(Jid::parse), Some(Jid::parse(to)));
    let payload: String = reply.children().map(String::from).collect();
    Some(format!(
        "{}: {payload}",
        reply.attr("type").unwrap_or_default()
    ))
}

/// The same element, written by the same writer.
fn same(kind: &str, payload: &str) -> Option<String> {
    let element: Element = payload.parse().expect(payload);
    Some(format!("{kind}: {}", String::from(&element)))
}

fn refusal(kind: &str, condition: &str) -> Option<String> {
    same(
        "error",
        &format!("<error xmlns='jabber:client' type='{kind}'><{condition} {S}/></error>"),
    )
}

#[test]
fn a_domain_tells_what_it_is() {
    assert_eq!(
        ask(
            "ocs.example",
            "get",
            "<query xmlns='http://jabber.org/protocol/disco#info'/>"
        ),
        same(
            "result",
            "<query xmlns='http://jabber.org/protocol/disco#info'>\
             <identity category='gateway' type='sip' name='stoxgate'/>\
             <feature var='http://jabber.org/protocol/disco#info'/>\
             <feature var='http://jabber.org/protocol/disco#items'/>\
             <feature var='urn:xmpp:ping'/><feature var='jabber:iq:version'/></query>"
        )
    );
    assert_eq!(
        ask(
            "ocs.example",
            "get",
            "<query xmlns='http://jabber.org/protocol/disco#items'/>"
        ),
        same(
            "result",
            "<query xmlns='http://jabber.org/protocol/disco#items'/>"
        )
    );
    assert_eq!(
        ask("ocs.example", "get", "<ping xmlns='urn:xmpp:ping'/>"),
        Some("result: ".into())
    );
    assert_eq!(
        ask("ocs.example", "get", "<query xmlns='jabber:iq:version'/>"),
        same(
            "result",
            "<query xmlns='jabber:iq:version'><name>stoxgate</name><version>1.0 &lt;beta></version></query>"
        )
    );
}

#[test]
fn every_other_query_is_refused() {
    let rows = [
        (
            "ocs.example",
            "get",
            "<query xmlns='jabber:iq:last'/>",
            "cancel",
            "service-unavailable",
        ),
        (
            "ocs.example",
            "set",
            "<ping xmlns='urn:xmpp:ping'/>",
            "cancel",
            "service-unavailable",
        ),
        (
            "ocs.example",
            "get",
            "<pong xmlns='urn:xmpp:ping'/>",
            "cancel",
            "service-unavailable",
        ),
        (
            "ocs.example",
            "set",
            "<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/>",
            "cancel",
            "service-unavailable",
        ),
        (
            "ocs.example",
            "get",
            "<query xmlns='http://jabber.org/protocol/disco#info' node='n'/>",
            "cancel",
            "item-not-found",
        ),
        (
            "ocs.example",
            "get",
            "<query xmlns='http://jabber.org/protocol/disco#items' node='n'/>",
            "cancel",
            "item-not-found",
        ),
        (
            "ocs.example/x",
            "get",
            "<ping xmlns='urn:xmpp:ping'/>",
            "cancel",
            "service-unavailable",
        ),
        (
            "bruno@ocs.example",
            "get",
            "<query xmlns='http://jabber.org/protocol/disco#info'/>",
            "cancel",
            "service-unavailable",
        ),
        (
            "bruno@ocs.example/x",
            "get",
            "<query xmlns='http://jabber.org/protocol/disco#info'/>",
            "cancel",
            "service-unavailable",
        ),
        (
            "bruno@ocs.example",
            "get",
            "<ping xmlns='urn:xmpp:ping'/>",
            "cancel",
            "service-unavailable",
        ),
        (
            "bruno@ocs.example",
            "get",
            "<query xmlns='jabber:iq:last'/>",
            "cancel",
            "service-unavailable",
        ),
        (
            "bruno@ocs.example",
            "set",
            "<query xmlns='jabber:iq:roster'/>",
            "cancel",
            "service-unavailable",
        ),
    ];
    for (to, kind, payload, error, condition) in rows {
        assert_eq!(
            ask(to, kind, payload),
            refusal(error, condition),
            "{to} {payload}"
        );
    }
}

#[test]
fn answers_are_not_answered() {
    for to in ["ocs.example", "bruno@ocs.example", "bruno@ocs.example/x"] {
        assert_eq!(ask(to, "result", ""), None);
        assert_eq!(ask(to, "error", "<error type='cancel'/>"), None);
    }
}

const INFO: &str = "<query xmlns='http://jabber.org/protocol/disco#info'/>";
const PING: &str = "<ping xmlns='urn:xmpp:ping'/>";

#[test]
fn a_conference_says_what_it_is() {
    let known = Place {
        conferences: true,
        occupant: None,
    };
    let inside = Place {
        conferences: false,
        occupant: Some(true),
    };
    let service = ask_at(known, "chat.example", "get", INFO).unwrap();
    assert!(service.contains("category='gateway'"), "{service}");
    for text in [
        service,
        ask_at(known, "verona@chat.example", "get", INFO).unwrap(),
        ask_at(inside, "verona@chat.example", "get", INFO).unwrap(),
    ] {
        assert!(text.starts_with("result: "), "{text}");
        let is_room = text.contains("category='conference'") && text.contains("type='text'");
        assert!(is_room, "{text}");
        assert!(
            text.contains("<feature var='http://jabber.org/protocol/muc'/>"),
            "{text}"
        );
    }
    let users = refusal("cancel", "service-unavailable");
    assert_eq!(ask("verona@chat.example", "get", INFO), users);
    assert_eq!(ask_at(known, "verona@chat.example", "set", INFO), users);
}

#[test]
fn a_conference_tells_its_occupants_whether_they_are_in_it() {
    let at = |conferences, occupant| {
        let place = Place {
            conferences,
            occupant,
        };
        ask_at(place, "verona@chat.example/Romeo", "get", PING)
    };
    assert_eq!(at(false, Some(true)), Some("result: ".to_owned()));
    assert_eq!(at(false, Some(false)), refusal("cancel", "item-not-found"));
    assert_eq!(at(true, None), refusal("modify", "not-acceptable"));
    assert_eq!(at(false, None), refusal("cancel", "service-unavailable"));
}
