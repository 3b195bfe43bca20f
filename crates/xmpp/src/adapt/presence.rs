//! Presence (RFC 6121 §4).

use minidom::Element;
use rxml::xml_ncname;
use stox_core::address::Jid;
use stox_core::failure::Condition;
use stox_core::vocab::{PresenceKind, ResourcePresence, Show, Text, Trace, XmppIn};
use xmpp_parsers::ns;

use super::{Inbound, date, error, message, muc, trace, xml};

/// RFC 6121 §4.7.2.1.
const SHOWS: [(&str, Show); 4] = [
    ("away", Show::Away),
    ("chat", Show::Chat),
    ("dnd", Show::DoNotDisturb),
    ("xa", Show::ExtendedAway),
];

/// Reads a presence stanza; one of a type that RFC 6121 §4.7.1 does not know is refused.
#[must_use]
pub fn read(stanza: &Element, from: Jid, to: Jid) -> Inbound {
    if let Some(input) = muc::read_presence(stanza, &from, &to) {
        return Inbound::Core(XmppIn::Muc(input));
    }
    let kind = match stanza.attr("type") {
        None => PresenceKind::Available(read_available(stanza)),
        Some("unavailable") => PresenceKind::Unavailable(read_statuses(stanza)),
        Some("subscribe") => PresenceKind::Subscribe,
        Some("subscribed") => PresenceKind::Subscribed,
        Some("unsubscribe") => PresenceKind::Unsubscribe,
        Some("unsubscribed") => PresenceKind::Unsubscribed,
        Some("probe") => PresenceKind::Probe,
        Some("error") => {
            let error = error::read(stanza);
            return Inbound::Core(XmppIn::PresenceError { from, to, error });
        }
        Some(_) => {
            return Inbound::Reply(error::refuse(stanza, &to, &from, Condition::BadRequest));
        }
    };
    Inbound::Core(XmppIn::Presence {
        from,
        to,
        id: stanza.attr("id").map(str::to_owned),
        trace: trace::read(stanza),
        kind,
    })
}

/// Writes a presence stanza.
#[must_use]
pub fn write(from: &Jid, to: &Jid, (kind, trace): (&PresenceKind, &Trace)) -> Element {
    let mut stanza = xml::stanza("presence", from, to);
    if let Some(name) = type_name(kind) {
        xml::set_attr(&mut stanza, xml_ncname!("type").into(), name);
    }
    match kind {
        PresenceKind::Available(presence) => {
            write_available(&mut stanza, presence, &from.domain);
        }
        PresenceKind::Unavailable(statuses) => {
            write_statuses(&mut stanza, statuses, xml::common_lang(statuses.iter()));
        }
        _ => {}
    }
    trace::write(&mut stanza, trace);
    stanza
}

fn type_name(kind: &PresenceKind) -> Option<&'static str> {
    match kind {
        PresenceKind::Available(_) => None,
        PresenceKind::Unavailable(_) => Some("unavailable"),
        PresenceKind::Subscribe => Some("subscribe"),
        PresenceKind::Subscribed => Some("subscribed"),
        PresenceKind::Unsubscribe => Some("unsubscribe"),
        PresenceKind::Unsubscribed => Some("unsubscribed"),
        PresenceKind::Probe => Some("probe"),
    }
}

/// PVAL-17: a show that is unknown or repeated says nothing; the same goes for a priority that is no octet.
fn read_available(stanza: &Element) -> ResourcePresence {
    ResourcePresence {
        show: only_text(stanza, "show")
            .and_then(|name| SHOWS.iter().find(|row| row.0 == name).map(|row| row.1)),
        statuses: read_statuses(stanza),
        priority: only_text(stanza, "priority").and_then(|number| number.parse().ok()),
        lang: xml::lang(stanza)
            .filter(|tag| !tag.is_empty())
            .map(str::to_owned),
        stamp: date::attribute_of(stanza, "delay", ns::DELAY, "stamp"),
        idle_since: date::attribute_of(stanza, "idle", ns::IDLE, "since"),
    }
}

/// An empty status is no status.
fn read_statuses(stanza: &Element) -> Vec<Text> {
    let mut statuses = xml::read_texts(stanza, "status");
    statuses.retain(|status| !status.text.is_empty());
    statuses
}

fn only_text(stanza: &Element, name: &str) -> Option<String> {
    let mut found = xml::children(stanza, name);
    match (found.next(), found.next()) {
        (Some(child), None) => Some(child.text().trim().to_owned()),
        _ => None,
    }
}

fn write_available(stanza: &mut Element, presence: &ResourcePresence, domain: &str) {
    let show = SHOWS.iter().find(|row| Some(row.1) == presence.show);
    if let Some((name, _)) = show {
        stanza.append_child(xml::text_child("show", name));
    }
    let lang = presence
        .lang
        .as_deref()
        .or_else(|| xml::common_lang(presence.statuses.iter()));
    write_statuses(stanza, &presence.statuses, lang);
    if let Some(priority) = presence.priority {
        stanza.append_child(xml::text_child("priority", &priority.to_string()));
    }
    if let Some(stamp) = presence.stamp {
        stanza.append_child(message::delay(stamp, domain));
    }
    if let Some(since) = presence.idle_since {
        let mut idle = Element::bare("idle", ns::IDLE);
        xml::set_attr(&mut idle, xml_ncname!("since").into(), &date::print(since));
        stanza.append_child(idle);
    }
}

fn write_statuses(stanza: &mut Element, statuses: &[Text], lang: Option<&str>) {
    if let Some(tag) = lang {
        xml::set_lang(stanza, tag);
    }
    xml::append_texts(stanza, "status", statuses);
}
