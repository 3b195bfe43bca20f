//! Messages (RFC 6121 §5).

use std::time::Duration;

use minidom::Element;
use rxml::xml_ncname;
use stox_core::address::Jid;
use stox_core::time::Now;
use stox_core::vocab::{ChatState, Im, ImKind, Receipt, Trace, Wants, XmppIn};
use xmpp_parsers::ns;

use super::{Inbound, date, error, jid, muc, payloads, trace, xhtml, xml};

/// Message processing hints (XEP-0334).
const HINTS: &str = "urn:xmpp:hints";
/// Chat markers (XEP-0333).
const MARKERS: &str = "urn:xmpp:chat-markers:0";
/// A message that has been under way for longer than this carries its time of sending.
const DELAY_FROM: Duration = Duration::from_secs(60);

/// Kinds by name; any other name is `normal` (RFC 6121 §5.2.2).
const KINDS: [(&str, ImKind); 4] = [
    ("chat", ImKind::Chat),
    ("groupchat", ImKind::Groupchat),
    ("headline", ImKind::Headline),
    ("normal", ImKind::Normal),
];

/// Chat states by element name (XEP-0085 §5.1).
const STATES: [(&str, ChatState); 5] = [
    ("active", ChatState::Active),
    ("composing", ChatState::Composing),
    ("paused", ChatState::Paused),
    ("inactive", ChatState::Inactive),
    ("gone", ChatState::Gone),
];

/// What receipts and markers say. Who acknowledges a message has seen it.
const SAID: [(&str, &str, Receipt); 4] = [
    ("received", ns::RECEIPTS, Receipt::Delivered),
    ("received", MARKERS, Receipt::Delivered),
    ("displayed", MARKERS, Receipt::Displayed),
    ("acknowledged", MARKERS, Receipt::Displayed),
];

/// Reads a message. Payloads that wrap another stanza (carbons, forwards, archives) are passed over: what is inside is
/// only the sender's claim.
#[must_use]
pub fn read(stanza: &Element, from: Jid, to: Jid) -> Inbound {
    let kind = stanza.attr("type");
    let id = stanza.attr("id").map(str::to_owned);
    if kind == Some("error") {
        return Inbound::Core(XmppIn::MessageError {
            from,
            to,
            id,
            error: error::read(stanza),
        });
    }
    if let Some(input) = muc::read_message(stanza, &from, &to) {
        return Inbound::Core(XmppIn::Muc(input));
    }
    let mut im = read_content(stanza, kind, id);
    let mut inputs = receipts(stanza, &im, (&from, &to));
    match payloads::apply(stanza, &mut im) {
        // To answer a room with an error is to leave it (XEP-0045 §18.4): the others learn why there is no text.
        Err(_) if im.kind == ImKind::Groupchat => {
            im.bodies = vec![payloads::unreadable()];
            inputs.push(XmppIn::Message { from, to, im });
        }
        Err(why) => {
            im.bodies.clear();
            inputs.push(XmppIn::Unreadable { from, to, im, why });
        }
        Ok(()) if inputs.is_empty() || !im.bodies.is_empty() || im.chat_state.is_some() => {
            inputs.push(XmppIn::Message { from, to, im });
        }
        Ok(()) => {}
    }
    match inputs.len() {
        1 => inputs
            .pop()
            .map_or(Inbound::Several(Vec::new()), Inbound::Core),
        _ => Inbound::Several(inputs),
    }
}

/// The receipts in a message. The oldest form of XEP-0184 names no id: it has that of the message itself.
fn receipts(stanza: &Element, im: &Im, (from, to): (&Jid, &Jid)) -> Vec<XmppIn> {
    if im.kind == ImKind::Groupchat {
        return Vec::new();
    }
    let rows = SAID
        .iter()
        .filter_map(|(name, namespace, receipt)| {
            let element = stanza.get_child(*name, *namespace)?;
            let own = im.id.as_deref().filter(|_| *namespace == ns::RECEIPTS);
            let id = element.attr("id").or(own)?;
            Some((id.to_owned(), *receipt))
        })
        .collect::<std::collections::BTreeSet<_>>();
    rows.into_iter()
        .map(|(id, receipt)| XmppIn::Receipt {
            from: from.clone(),
            to: to.clone(),
            id,
            receipt,
        })
        .collect()
}

/// What the sender wants to be told. An answer asks for none (XEP-0184 §5.5), and a room message is for everybody.
fn wants(stanza: &Element, kind: ImKind) -> Wants {
    let answers = |space| {
        SAID.iter()
            .any(|(name, namespace, _)| *namespace == space && stanza.has_child(*name, space))
    };
    let asks =
        |name, space| kind != ImKind::Groupchat && stanza.has_child(name, space) && !answers(space);
    Wants {
        delivered: asks("request", ns::RECEIPTS),
        displayed: asks("markable", MARKERS),
    }
}

/// Writes a message; `now` tells whether it needs a delay stamp.
#[must_use]
pub fn write(from: &Jid, to: &Jid, im: &Im, now: Now) -> Element {
    let mut stanza = xml::stanza("message", from, to);
    if let Some(id) = &im.id {
        xml::set_attr(&mut stanza, xml_ncname!("id").into(), id);
    }
    set_kind(&mut stanza, im.kind);
    let lang = xml::common_lang(im.subjects.iter().chain(&im.bodies));
    if let Some(tag) = lang {
        xml::set_lang(&mut stanza, tag);
    }
    xml::append_texts(&mut stanza, "subject", &im.subjects);
    xml::append_texts(&mut stanza, "body", &im.bodies);
    if let Some(rich) = im.rich.as_ref().filter(|_| !im.bodies.is_empty()) {
        stanza.append_child(xhtml::write(rich));
    }
    if let Some(thread) = &im.thread {
        stanza.append_child(xml::text_child("thread", thread));
    }
    if let Some(sent_at) = im.sent_at.filter(|at| at.abs_diff(now.wall) > DELAY_FROM) {
        stanza.append_child(delay(sent_at, &from.domain));
    }
    if let Some(state) = im.chat_state {
        stanza.append_child(state_element(state));
    }
    if im.wants.delivered {
        stanza.append_child(Element::bare("request", ns::RECEIPTS));
    }
    if im.wants.displayed {
        stanza.append_child(Element::bare("markable", MARKERS));
    }
    trace::write(&mut stanza, &im.trace);
    stanza
}

/// Writes a chat state without a message (XEP-0085 §5.5), which servers shall not keep for later (XEP-0334).
#[must_use]
pub fn write_state(
    from: &Jid,
    to: &Jid,
    thread: Option<&str>,
    (state, trace): (ChatState, &Trace),
) -> Element {
    let mut stanza = xml::stanza("message", from, to);
    xml::set_attr(&mut stanza, xml_ncname!("type").into(), "chat");
    if let Some(thread) = thread {
        stanza.append_child(xml::text_child("thread", thread));
    }
    stanza.append_child(state_element(state));
    stanza.append_child(Element::bare("no-store", HINTS));
    trace::write(&mut stanza, trace);
    stanza
}

/// Writes a receipt: XEP-0184 §5.2, or XEP-0333. Without a hint archives would pass over it, as it has no body, and her
/// other devices would never know (XEP-0334 §4.4). Its id is fresh to nobody, so it has none (XEP-0184 §5.4: no answer to it).
#[must_use]
pub fn write_receipt(
    from: &Jid,
    to: &Jid,
    id: &str,
    (kind, receipt): (ImKind, Receipt),
) -> Element {
    let mut stanza = xml::stanza("message", from, to);
    set_kind(&mut stanza, kind);
    let (name, namespace) = match receipt {
        Receipt::Delivered => ("received", ns::RECEIPTS),
        Receipt::Displayed => ("displayed", MARKERS),
    };
    let mut element = Element::bare(name, namespace);
    xml::set_attr(&mut element, xml_ncname!("id").into(), id);
    stanza.append_child(element);
    stanza.append_child(Element::bare("store", HINTS));
    stanza
}

fn set_kind(stanza: &mut Element, kind: ImKind) {
    if kind != ImKind::Normal {
        let name = KINDS.iter().find(|row| row.1 == kind).map(|row| row.0);
        xml::set_attr(stanza, xml_ncname!("type").into(), name.unwrap_or("normal"));
    }
}

fn state_element(state: ChatState) -> Element {
    let name = STATES.iter().find(|row| row.1 == state).map(|row| row.0);
    Element::bare(name.unwrap_or("active"), ns::CHATSTATES)
}

/// XEP-0203, added by the server of `domain`.
pub(super) fn delay(stamp: Duration, domain: &str) -> Element {
    let mut delay = Element::bare("delay", ns::DELAY);
    let by = jid::of_domain(domain).to_string();
    xml::set_attr(&mut delay, xml_ncname!("from").into(), &by);
    xml::set_attr(&mut delay, xml_ncname!("stamp").into(), &date::print(stamp));
    delay
}

fn read_content(stanza: &Element, kind: Option<&str>, id: Option<String>) -> Im {
    let kind = kind
        .and_then(|name| KINDS.iter().find(|row| row.0 == name))
        .map_or(ImKind::Normal, |row| row.1);
    Im {
        kind,
        id,
        thread: xml::children(stanza, "thread")
            .map(Element::text)
            .find(|text| !text.is_empty()),
        subjects: xml::read_texts(stanza, "subject"),
        bodies: xml::read_texts(stanza, "body"),
        sent_at: date::attribute_of(stanza, "delay", ns::DELAY, "stamp"),
        chat_state: STATES
            .iter()
            .find(|(name, _)| stanza.has_child(*name, ns::CHATSTATES))
            .map(|(_, state)| *state),
        rich: None,
        wants: wants(stanza, kind),
        trace: trace::read(stanza),
    }
}
