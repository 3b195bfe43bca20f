//! Stanzas as peers write them: read, answered, written and read again.

use std::sync::Arc;

use stox_core::address::Jid;
use stox_core::time::Now;
use stox_core::vocab::{Im, MucIn, MucOut, Ref, Text, XmppIn, XmppOut};
use stox_xmpp::adapt::{self, Inbound, Iq, IqKind};
use stox_xmpp::server::{Place, Software, answer};
use stox_xmpp::stream::xml::{StreamParser, XmlEvent};
use stox_xmpp::stream::{
    ComponentSecret, ComponentSettings, ComponentStream, Limits, StreamCommand, StreamError, Timing,
};

const GATEWAY: &str = "gw.example";
const HEADER: &str =
    "<stream:stream xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams'>";
const ACCEPTED: &str = "<stream:stream xmlns='jabber:component:accept' xmlns:stream='http://etherx.jabber.org/streams' \
                        id='s1'><handshake/>";

/// The elements of one stream.
pub(crate) fn check(octets: &[u8]) {
    let whole = [HEADER.as_bytes(), octets].concat();
    let mut parser = StreamParser::new(Limits::default());
    parser.set_authenticated();
    let mut rest = whole.as_slice();
    while let Ok(Some(event)) = parser.next(&mut rest) {
        if let XmlEvent::Element(element) = event {
            drop(StreamError::from_element(&element));
            let is_answer = match element.attr("type") {
                Some("error") => true,
                Some("result") => element.name() == "iq",
                _ => false,
            };
            reads(adapt::read(&element), !is_answer);
        }
    }
}

fn reads(inbound: Inbound, answerable: bool) {
    match inbound {
        Inbound::Core(input) => comes_through(input),
        Inbound::Several(inputs) => {
            assert!(inputs.len() > 1);
            inputs.into_iter().for_each(comes_through);
        }
        Inbound::Iq(iq) => answered(&iq),
        Inbound::Reply(reply) => {
            assert!(answerable, "{reply:?}");
            assert_eq!(reply.attr("type"), Some("error"));
        }
        Inbound::Ignored(_) => {}
    }
}

/// Every question has one answer, to who asked; no answer has one.
fn answered(iq: &Iq) {
    let software = Software {
        name: "stoxgate".to_owned(),
        version: "1".to_owned(),
    };
    let is_question = matches!(iq.kind, IqKind::Get(_) | IqKind::Set(_));
    for conferences in [false, true] {
        for occupant in [None, Some(false), Some(true)] {
            let place = Place {
                conferences,
                occupant,
            };
            let answer = answer(&software, place, iq);
            assert_eq!(answer.is_some(), is_question);
            if let Some(answer) = answer {
                assert!(matches!(answer.attr("type"), Some("result" | "error")));
                assert_eq!(answer.attr("id"), Some(iq.id.as_str()));
                assert_eq!(answer.attr("to"), Some(iq.from.to_string().as_str()));
                let text = String::from(&answer);
                let parsed = text.parse().expect("well-formed");
                drop(adapt::read(&parsed));
            }
        }
    }
}

/// What was read once can be written, and says the same from then on.
fn comes_through(input: XmppIn) {
    is_clean(&input);
    let Some((peer, out)) = peer(&input).and_then(|peer| Some((peer.clone(), back(input, peer)?)))
    else {
        return;
    };
    let once = over_the_wire(&out);
    let Some(out) = taken(once.clone()).and_then(|input| back(input, peer)) else {
        return;
    };
    assert_eq!(over_the_wire(&out), once);
}

fn taken(inbound: Inbound) -> Option<XmppIn> {
    match inbound {
        Inbound::Core(input) => Some(input),
        Inbound::Several(mut inputs) => inputs.pop(),
        _ => None,
    }
}

fn is_clean(input: &XmppIn) {
    if let XmppIn::Message { im, .. } | XmppIn::Unreadable { im, .. } = input {
        let Im {
            bodies, subjects, ..
        } = im;
        let is_clean = |text: &Text| {
            let mut characters = text.text.chars();
            characters
                .all(|c| !c.is_control() || matches!(c, '\n' | '\t' | '\r' | '\u{7f}'..='\u{9f}'))
        };
        assert!(bodies.iter().chain(subjects).all(is_clean), "{im:?}");
    }
}

fn peer(input: &XmppIn) -> Option<Jid> {
    match input {
        XmppIn::Message { from, .. }
        | XmppIn::Unreadable { from, .. }
        | XmppIn::MessageError { from, .. }
        | XmppIn::Presence { from, .. }
        | XmppIn::PresenceError { from, .. }
        | XmppIn::Muc(MucIn::Occupant { from, .. }) => Some(from.clone()),
        _ => None,
    }
}

fn gateway() -> Jid {
    Jid::parse("a@gw.example/r").expect("an address")
}

/// The same in the other direction: from a user of ours to who wrote it.
fn back(input: XmppIn, to: Jid) -> Option<XmppOut> {
    let reference = Ref(1);
    Some(match input {
        XmppIn::Message { im, .. } | XmppIn::Unreadable { im, .. } => XmppOut::Message {
            reference,
            from: gateway(),
            to,
            im,
        },
        XmppIn::MessageError { id, error, .. } => XmppOut::MessageError {
            reference,
            from: gateway(),
            to,
            id,
            error,
        },
        XmppIn::Presence { trace, kind, .. } => XmppOut::Presence {
            from: gateway(),
            to,
            trace,
            kind,
        },
        XmppIn::PresenceError { error, .. } => XmppOut::PresenceError {
            from: gateway(),
            to,
            id: None,
            error,
        },
        XmppIn::Muc(MucIn::Occupant { presence, .. }) => XmppOut::Muc(MucOut::Occupant {
            from: gateway(),
            to,
            presence,
        }),
        XmppIn::Receipt { .. } | XmppIn::Settled { .. } | XmppIn::Muc(_) => return None,
    })
}

/// Written on a component's stream, and read by its server: one stanza with the addresses that it was given.
fn over_the_wire(out: &XmppOut) -> Inbound {
    let now = Now::default();
    let element = adapt::write(out, now);
    let settings = ComponentSettings {
        domain: GATEWAY.to_owned(),
        own_domains: [GATEWAY.to_owned()].into(),
        secret: ComponentSecret::new("secret"),
        limits: Limits::default(),
        timing: Timing::default(),
    };
    let mut stream = ComponentStream::new(Arc::new(settings), now);
    stream.receive(ACCEPTED.as_bytes(), now);
    while stream.poll_command().is_some() {}
    stream
        .send(&element, now)
        .expect("a stanza of the gateway's");
    let Some(StreamCommand::Write(octets)) = stream.poll_command() else {
        panic!("nothing was written");
    };
    let whole = [HEADER.as_bytes(), &octets].concat();
    let limits = Limits {
        octets_before_auth: 1 << 24,
        depth: 1_000,
        elements: 1 << 20,
        attributes: 10_000,
        namespaces: 10_000,
        ..Limits::default()
    };
    let (mut parser, mut rest) = (StreamParser::new(limits), whole.as_slice());
    let header = parser.next(&mut rest);
    assert!(matches!(header, Ok(Some(XmlEvent::Open(_)))));
    let read = parser.next(&mut rest).expect("well-formed");
    let Some(XmlEvent::Element(read)) = read else {
        panic!("no stanza: {read:?}");
    };
    assert_eq!(parser.next(&mut rest), Ok(None));
    assert!(!parser.is_mid_element());
    assert_eq!(read.attr("from"), element.attr("from"));
    assert_eq!(read.attr("to"), element.attr("to"));
    adapt::read(&read)
}
