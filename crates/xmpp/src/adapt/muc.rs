//! Multi-user chat (XEP-0045), direct invitations (XEP-0249) and self-pings (XEP-0410).
//!
//! The types of `xmpp-parsers` refuse a whole payload over one unknown code or attribute; rooms of today send both.

use minidom::Element;
use rxml::xml_ncname;
use stox_core::address::Jid;
use stox_core::failure::Condition;
use stox_core::time::Now;
use stox_core::vocab::{Affiliation, Destroyed, MucIn, MucOut, OccupantPresence, Ref, Role, Text};
use xmpp_parsers::ns;

use super::{Iq, IqKind, message, xml};

/// Direct invitations (XEP-0249 §2).
const DIRECT: &str = "jabber:x:conference";
/// Ids of our self-pings begin with this.
const PING_ID: &str = "stox-room-";

/// XEP-0045 §5.2.
const AFFILIATIONS: [(&str, Affiliation); 5] = [
    ("owner", Affiliation::Owner),
    ("admin", Affiliation::Admin),
    ("member", Affiliation::Member),
    ("none", Affiliation::None),
    ("outcast", Affiliation::Outcast),
];

/// XEP-0045 §5.1.
const ROLES: [(&str, Role); 4] = [
    ("moderator", Role::Moderator),
    ("participant", Role::Participant),
    ("visitor", Role::Visitor),
    ("none", Role::None),
];

// ------------------------------------------------------------------------------------------- reading

/// A presence stanza about a room; `None`: it is about a user.
pub(super) fn read_presence(stanza: &Element, from: &Jid, to: &Jid) -> Option<MucIn> {
    let available = match stanza.attr("type") {
        None => true,
        Some("unavailable") => false,
        Some(_) => return None,
    };
    if let Some(x) = stanza.get_child("x", ns::MUC_USER) {
        return Some(MucIn::Occupant {
            from: from.clone(),
            to: to.clone(),
            presence: read_occupant(x, available),
        });
    }
    (available && stanza.has_child("x", ns::MUC)).then(|| MucIn::Join {
        from: from.clone(),
        to: to.clone(),
        id: stanza.attr("id").map(str::to_owned),
    })
}

/// A message that is an invitation or about one.
pub(super) fn read_message(stanza: &Element, from: &Jid, to: &Jid) -> Option<MucIn> {
    let id = stanza.attr("id").map(str::to_owned);
    stanza
        .get_child("x", ns::MUC_USER)
        .and_then(|x| read_mediated(x, from, to, id.clone()))
        .or_else(|| read_direct(stanza.get_child("x", DIRECT)?, from, to, id))
}

/// The answer to [`MucOut::Ping`] (XEP-0410 §3.2).
#[must_use]
pub fn read_pong(iq: &Iq) -> Option<MucIn> {
    let number = iq.id.strip_prefix(PING_ID)?.parse().ok()?;
    let joined = match &iq.kind {
        IqKind::Get(_) | IqKind::Set(_) => return None,
        IqKind::Result => Some(true),
        IqKind::Error(error) => match error.condition {
            Condition::ServiceUnavailable
            | Condition::FeatureNotImplemented
            | Condition::ItemNotFound => Some(true),
            Condition::RemoteServerNotFound | Condition::RemoteServerTimeout => None,
            _ => Some(false),
        },
    };
    Some(MucIn::Pong {
        from: iq.from.clone(),
        reference: Ref(number),
        joined,
    })
}

fn read_occupant(x: &Element, available: bool) -> OccupantPresence {
    let item = x.get_child("item", ns::MUC_USER);
    let attr = |name| item.and_then(|item| item.attr(name));
    let mut statuses: Vec<u16> = x
        .children()
        .filter(|child| child.is("status", ns::MUC_USER))
        .filter_map(|status| status.attr("code")?.parse().ok())
        .collect();
    statuses.sort_unstable();
    statuses.dedup();
    OccupantPresence {
        available,
        affiliation: attr("affiliation")
            .and_then(|name| lookup(&AFFILIATIONS, name))
            .unwrap_or_default(),
        role: attr("role")
            .and_then(|name| lookup(&ROLES, name))
            .unwrap_or(if available {
                Role::Participant
            } else {
                Role::None
            }),
        jid: attr("jid").and_then(|jid| Jid::parse(jid).ok()),
        new_nick: attr("nick").map(str::to_owned),
        reason: item.and_then(reason_in),
        statuses,
        destroyed: x
            .get_child("destroy", ns::MUC_USER)
            .map(|destroy| Destroyed {
                venue: destroy.attr("jid").and_then(|jid| Jid::parse(jid).ok()),
                reason: reason_in(destroy),
            }),
    }
}

fn read_mediated(x: &Element, from: &Jid, to: &Jid, id: Option<String>) -> Option<MucIn> {
    let (from, to) = (from.clone(), to.clone());
    if let Some(decline) = x.get_child("decline", ns::MUC_USER) {
        return Some(MucIn::Declined {
            from,
            to,
            by: jid_attr(decline, "from"),
            reason: reason_in(decline),
        });
    }
    let mut invites = x
        .children()
        .filter(|child| child.is("invite", ns::MUC_USER))
        .peekable();
    let first = *invites.peek()?;
    let reason = reason_in(first);
    let invitees: Vec<Jid> = invites
        .filter_map(|invite| jid_attr(invite, "to"))
        .collect();
    Some(if invitees.is_empty() {
        MucIn::Invited {
            room: from.bare(),
            from,
            to,
            id,
            inviter: jid_attr(first, "from"),
            reason,
            password: x.get_child("password", ns::MUC_USER).map(Element::text),
        }
    } else {
        MucIn::Invite {
            from,
            to,
            id,
            invitees,
            reason,
        }
    })
}

fn read_direct(x: &Element, from: &Jid, to: &Jid, id: Option<String>) -> Option<MucIn> {
    Some(MucIn::Invited {
        from: from.clone(),
        to: to.clone(),
        id,
        room: jid_attr(x, "jid")?.bare(),
        inviter: Some(from.clone()),
        reason: x.attr("reason").and_then(words),
        password: x.attr("password").map(str::to_owned),
    })
}

fn jid_attr(element: &Element, name: &str) -> Option<Jid> {
    Jid::parse(element.attr(name)?).ok()
}

fn reason_in(element: &Element) -> Option<String> {
    words(&element.get_child("reason", ns::MUC_USER)?.text())
}

fn words(text: &str) -> Option<String> {
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

// ------------------------------------------------------------------------------------------- writing

/// Writes what the core says about a room.
pub(super) fn write(out: &MucOut, now: Now) -> Element {
    match out {
        MucOut::Join {
            from, to, history, ..
        } => write_join(from, to, *history),
        MucOut::Occupant { from, to, presence } => write_occupant(from, to, presence),
        MucOut::Private { from, to, im, .. } => {
            let mut stanza = message::write(from, to, im, now);
            stanza.append_child(Element::bare("x", ns::MUC_USER));
            stanza
        }
        MucOut::Subject { from, to, subject } => write_subject(from, to, subject.as_ref()),
        MucOut::Invite {
            from,
            to,
            id,
            invitee,
            reason,
            ..
        } => {
            let mut stanza = write_invite(from, to, "to", invitee, reason.as_deref());
            xml::set_attr(&mut stanza, xml_ncname!("id").into(), id);
            stanza
        }
        MucOut::Invited {
            from,
            to,
            id,
            inviter,
            reason,
            ..
        } => {
            let mut stanza = write_invite(from, to, "from", inviter, reason.as_deref());
            xml::set_attr(&mut stanza, xml_ncname!("id").into(), id);
            stanza
        }
        MucOut::Ping {
            reference,
            from,
            to,
        } => write_ping(*reference, from, to),
    }
}

fn write_join(from: &Jid, to: &Jid, history: u32) -> Element {
    let mut stanza = xml::stanza("presence", from, to);
    let mut x = Element::bare("x", ns::MUC);
    let mut past = Element::bare("history", ns::MUC);
    xml::set_attr(
        &mut past,
        xml_ncname!("maxstanzas").into(),
        &history.to_string(),
    );
    x.append_child(past);
    stanza.append_child(x);
    stanza
}

fn write_occupant(from: &Jid, to: &Jid, presence: &OccupantPresence) -> Element {
    let mut stanza = xml::stanza("presence", from, to);
    if !presence.available {
        xml::set_attr(&mut stanza, xml_ncname!("type").into(), "unavailable");
    }
    let mut x = Element::bare("x", ns::MUC_USER);
    x.append_child(write_item(presence));
    if let Some(destroyed) = &presence.destroyed {
        let mut destroy = Element::bare("destroy", ns::MUC_USER);
        if let Some(venue) = &destroyed.venue {
            xml::set_attr(&mut destroy, xml_ncname!("jid").into(), &venue.to_string());
        }
        append_reason(&mut destroy, destroyed.reason.as_deref());
        x.append_child(destroy);
    }
    for code in &presence.statuses {
        let mut status = Element::bare("status", ns::MUC_USER);
        xml::set_attr(&mut status, xml_ncname!("code").into(), &code.to_string());
        x.append_child(status);
    }
    stanza.append_child(x);
    stanza
}

fn write_item(presence: &OccupantPresence) -> Element {
    let mut item = Element::bare("item", ns::MUC_USER);
    let affiliation = name_of(&AFFILIATIONS, presence.affiliation);
    xml::set_attr(&mut item, xml_ncname!("affiliation").into(), affiliation);
    xml::set_attr(
        &mut item,
        xml_ncname!("role").into(),
        name_of(&ROLES, presence.role),
    );
    if let Some(jid) = &presence.jid {
        xml::set_attr(&mut item, xml_ncname!("jid").into(), &jid.to_string());
    }
    if let Some(nick) = &presence.new_nick {
        xml::set_attr(&mut item, xml_ncname!("nick").into(), nick);
    }
    append_reason(&mut item, presence.reason.as_deref());
    item
}

/// An empty subject is said outright, so that the client knows that the room is complete (XEP-0045 §7.2.15).
fn write_subject(from: &Jid, to: &Jid, subject: Option<&Text>) -> Element {
    let mut stanza = xml::stanza("message", from, to);
    xml::set_attr(&mut stanza, xml_ncname!("type").into(), "groupchat");
    match subject {
        Some(subject) => xml::append_texts(&mut stanza, "subject", std::slice::from_ref(subject)),
        None => {
            stanza.append_child(xml::text_child("subject", ""));
        }
    }
    stanza
}

fn write_invite(from: &Jid, to: &Jid, role: &str, party: &Jid, reason: Option<&str>) -> Element {
    let mut stanza = xml::stanza("message", from, to);
    let mut invite = Element::bare("invite", ns::MUC_USER);
    let name = if role == "to" {
        xml_ncname!("to")
    } else {
        xml_ncname!("from")
    };
    xml::set_attr(&mut invite, name.into(), &party.to_string());
    append_reason(&mut invite, reason);
    let mut x = Element::bare("x", ns::MUC_USER);
    x.append_child(invite);
    stanza.append_child(x);
    stanza
}

fn write_ping(reference: Ref, from: &Jid, to: &Jid) -> Element {
    let mut stanza = xml::stanza("iq", from, to);
    xml::set_attr(&mut stanza, xml_ncname!("type").into(), "get");
    let id = format!("{PING_ID}{}", reference.0);
    xml::set_attr(&mut stanza, xml_ncname!("id").into(), &id);
    stanza.append_child(Element::bare("ping", ns::PING));
    stanza
}

fn append_reason(element: &mut Element, reason: Option<&str>) {
    if let Some(words) = reason {
        let mut reason = Element::bare("reason", ns::MUC_USER);
        xml::add_text(&mut reason, words);
        element.append_child(reason);
    }
}

fn lookup<T: Copy>(table: &[(&str, T)], name: &str) -> Option<T> {
    table.iter().find(|row| row.0 == name).map(|row| row.1)
}

fn name_of<T: PartialEq>(table: &[(&'static str, T)], value: T) -> &'static str {
    table
        .iter()
        .find(|row| row.1 == value)
        .map_or("none", |row| row.0)
}

#[cfg(test)]
mod tests;
