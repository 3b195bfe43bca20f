//! Stanza errors (RFC 6120 §8.3).

use minidom::Element;
use rxml::xml_ncname;
use stox_core::address::Jid;
use stox_core::failure::{Condition, ErrorType, StanzaError};
use xmpp_parsers::ns;

use super::xml;

/// COMPAT(servers older than RFC 3920): a number and no condition (XEP-0086 §3).
const CODES: [(&str, Condition); 16] = [
    ("302", Condition::Redirect),
    ("400", Condition::BadRequest),
    ("401", Condition::NotAuthorized),
    ("403", Condition::Forbidden),
    ("404", Condition::ItemNotFound),
    ("405", Condition::NotAllowed),
    ("406", Condition::NotAcceptable),
    ("407", Condition::RegistrationRequired),
    ("408", Condition::RemoteServerTimeout),
    ("409", Condition::Conflict),
    ("500", Condition::InternalServerError),
    ("501", Condition::FeatureNotImplemented),
    ("502", Condition::ServiceUnavailable),
    ("503", Condition::ServiceUnavailable),
    ("504", Condition::RemoteServerTimeout),
    ("510", Condition::ServiceUnavailable),
];

const TYPES: [(&str, ErrorType); 5] = [
    ("auth", ErrorType::Auth),
    ("cancel", ErrorType::Cancel),
    ("continue", ErrorType::Continue),
    ("modify", ErrorType::Modify),
    ("wait", ErrorType::Wait),
];

/// The error in a stanza of type error. A condition that is missing or unknown is `undefined-condition` (ERX-06), a
/// type that is missing or unknown is the one that goes with the condition.
#[must_use]
pub fn read(stanza: &Element) -> StanzaError {
    let Some(element) = stanza.get_child("error", ns::JABBER_CLIENT) else {
        return StanzaError::new(Condition::UndefinedCondition);
    };
    let named = element
        .children()
        .find(|child| child.has_ns(ns::XMPP_STANZAS) && child.name() != "text");
    let condition = match named {
        Some(child) => Condition::from_name(child.name()),
        None => element
            .attr("code")
            .and_then(|code| lookup(&CODES, code))
            .unwrap_or(Condition::UndefinedCondition),
    };
    let usual = StanzaError::new(condition);
    StanzaError {
        kind: element
            .attr("type")
            .and_then(|name| lookup(&TYPES, name))
            .unwrap_or(usual.kind),
        text: text_of(element, named.is_none()),
        new_address: named
            .filter(|_| has_address(condition))
            .and_then(|child| some_text(&child.text())),
        ..usual
    }
}

/// An error stanza. `name` is that of the stanza which failed.
#[must_use]
pub fn stanza(name: &str, from: &Jid, to: &Jid, id: Option<&str>, error: &StanzaError) -> Element {
    let mut stanza = xml::stanza(name, from, to);
    xml::set_attr(&mut stanza, xml_ncname!("type").into(), "error");
    if let Some(id) = id {
        xml::set_attr(&mut stanza, xml_ncname!("id").into(), id);
    }
    stanza.append_child(write(error));
    stanza
}

/// The error stanza for a received one that cannot be processed, with the usual type of the condition.
#[must_use]
pub fn refuse(received: &Element, from: &Jid, to: &Jid, condition: Condition) -> Element {
    stanza(
        received.name(),
        from,
        to,
        received.attr("id"),
        &StanzaError::new(condition),
    )
}

fn write(error: &StanzaError) -> Element {
    let mut element = Element::bare("error", ns::JABBER_CLIENT);
    let kind = TYPES
        .iter()
        .find(|row| row.1 == error.kind)
        .map_or("cancel", |row| row.0);
    xml::set_attr(&mut element, xml_ncname!("type").into(), kind);
    let mut condition = Element::bare(error.condition.name(), ns::XMPP_STANZAS);
    if let Some(address) = error
        .new_address
        .as_deref()
        .filter(|_| has_address(error.condition))
    {
        xml::add_text(&mut condition, address);
    }
    element.append_child(condition);
    if let Some(words) = &error.text {
        let mut text = Element::bare("text", ns::XMPP_STANZAS);
        xml::add_text(&mut text, words);
        element.append_child(text);
    }
    element
}

/// RFC 6120 §8.3.3.5 and §8.3.3.14: these two may name an address.
fn has_address(condition: Condition) -> bool {
    matches!(condition, Condition::Gone | Condition::Redirect)
}

/// The words for people: `text`, or where there is no condition the bare text of the oldest form.
fn text_of(error: &Element, oldest_form: bool) -> Option<String> {
    match error.get_child("text", ns::XMPP_STANZAS) {
        Some(text) => some_text(&text.text()),
        None if oldest_form => some_text(&error.text()),
        None => None,
    }
}

fn some_text(text: &str) -> Option<String> {
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

fn lookup<T: Copy>(table: &[(&str, T)], name: &str) -> Option<T> {
    table.iter().find(|row| row.0 == name).map(|row| row.1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use stox_core::failure::CONDITIONS;

    fn error(inner: &str) -> StanzaError {
        let stanza: Element =
            format!("<message xmlns='jabber:client' type='error'><body>x</body>{inner}</message>")
                .parse()
                .expect(inner);
        read(&stanza)
    }

    fn jid(text: &str) -> Jid {
        Jid::parse(text).expect(text)
    }

    #[test]
    fn reads_lenient() {
        const S: &str = "xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'";
        let base = StanzaError::new(Condition::UndefinedCondition);
        let rows = [
            (String::new(), base.clone()),
            ("<error/>".into(), base.clone()),
            (
                format!("<error type='wait'><brand-new {S}/></error>"),
                StanzaError {
                    kind: ErrorType::Wait,
                    ..base.clone()
                },
            ),
            (
                format!("<error type='odd'><forbidden {S}/></error>"),
                StanzaError::new(Condition::Forbidden),
            ),
            (
                format!(
                    "<error type='cancel'><x xmlns='urn:own'/><text {S}> No such user </text><item-not-found {S}/></error>"
                ),
                StanzaError {
                    text: Some("No such user".into()),
                    ..StanzaError::new(Condition::ItemNotFound)
                },
            ),
            (
                format!(
                    "<error type='cancel'><gone {S}>\n xmpp:new@jabber.example </gone></error>"
                ),
                StanzaError {
                    new_address: Some("xmpp:new@jabber.example".into()),
                    ..StanzaError::new(Condition::Gone)
                },
            ),
            (
                format!("<error type='modify'><redirect {S}/></error>"),
                StanzaError::new(Condition::Redirect),
            ),
            (
                format!("<error type='cancel'><conflict {S}>xmpp:a@b</conflict></error>"),
                StanzaError::new(Condition::Conflict),
            ),
            (
                format!("<error code='404' type='auth'><forbidden {S}/></error>"),
                StanzaError::new(Condition::Forbidden),
            ),
            (
                "<error code='404'>Not Found</error>".into(),
                StanzaError {
                    text: Some("Not Found".into()),
                    ..StanzaError::new(Condition::ItemNotFound)
                },
            ),
            ("<error code='999'/>".into(), base),
        ];
        for (xml, expected) in rows {
            assert_eq!(error(&xml), expected, "{xml}");
        }
    }

    #[test]
    fn every_condition_and_type_survives_the_wire() {
        for condition in CONDITIONS.iter().map(|row| row.condition) {
            for (_, kind) in TYPES {
                let sent = StanzaError {
                    kind,
                    condition,
                    text: Some("a <b> & \"c\"".into()),
                    new_address: has_address(condition).then(|| "xmpp:n@jabber.example".into()),
                };
                let element = stanza(
                    "presence",
                    &jid("bruno@ocs.example"),
                    &jid("alma@jabber.example/x"),
                    Some("i1"),
                    &sent,
                );
                let wire = String::from(&element);
                let back: Element = wire.parse().expect("well-formed");
                assert_eq!(read(&back), sent, "{wire}");
                assert_eq!(back.attr("id"), Some("i1"));
                assert_eq!(back.attr("type"), Some("error"));
                assert!(
                    xmpp_parsers::presence::Presence::try_from(back).is_ok(),
                    "{wire}"
                );
            }
        }
    }

    #[test]
    fn forbidden_characters_never_get_out() {
        let sent = StanzaError {
            text: Some("a\u{0}b\u{1b}\u{fffe}".into()),
            ..StanzaError::new(Condition::Gone)
        };
        let wire = String::from(&stanza(
            "message",
            &jid("a@b.example"),
            &jid("c.example"),
            None,
            &sent,
        ));
        assert!(wire.contains("a\u{fffd}b\u{fffd}\u{fffd}"), "{wire}");
        assert!(!wire.contains(" id="), "{wire}");
    }
}
