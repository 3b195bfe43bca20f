//! JIDs as text (RFC 7622).

use stox_core::address::Jid;

/// Longest part in octets (RFC 7622 §3.2 to §3.4).
const PART_LIMIT: usize = 1023;

/// What is wrong with a JID; the fault is its writer's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum JidError {
    /// A part is there and empty.
    #[error("a part of the JID is empty")]
    EmptyPart,
    /// A part has more than 1023 octets.
    #[error("a part of the JID is too long")]
    TooLong,
    /// A part holds a character that it must not.
    #[error("a part of the JID holds a forbidden character")]
    ForbiddenCharacter,
}

/// Splits at the first slash, then at the first at-sign (RFC 7622 §3.1), and keeps the parts as written.
///
/// Nothing is prepared or folded here: that is for comparison, which the core does on canonical forms. Resources stay
/// open to all that is printable, since clients put emoji and other newer characters there.
///
/// # Errors
/// The first rule that a part breaks.
pub fn parse(text: &str) -> Result<Jid, JidError> {
    let (bare, resource) = match text.split_once('/') {
        Some((bare, resource)) => (bare, Some(resource)),
        None => (text, None),
    };
    let (local, domain) = match bare.split_once('@') {
        Some((local, domain)) => (Some(local), domain),
        None => (None, bare),
    };
    check(domain, is_domain_char)?;
    local.map_or(Ok(()), |part| check(part, is_local_char))?;
    resource.map_or(Ok(()), |part| check(part, |c| !c.is_control()))?;
    Ok(Jid {
        local: local.map(str::to_owned),
        domain: domain.to_owned(),
        resource: resource.map(str::to_owned),
    })
}

/// The JID as text.
#[must_use]
pub fn print(jid: &Jid) -> String {
    let mut text = String::new();
    if let Some(local) = &jid.local {
        text.push_str(local);
        text.push('@');
    }
    text.push_str(&jid.domain);
    if let Some(resource) = &jid.resource {
        text.push('/');
        text.push_str(resource);
    }
    text
}

/// A JID that is a domain and nothing else.
#[must_use]
pub fn of_domain(domain: &str) -> Jid {
    Jid {
        local: None,
        domain: domain.to_owned(),
        resource: None,
    }
}

/// The domain of a text that is no JID, when its domain at least is one: whoever speaks for it can answer.
#[must_use]
pub fn domain_of(text: &str) -> Option<Jid> {
    let bare = text.split_once('/').map_or(text, |(bare, _)| bare);
    let domain = bare.rsplit_once('@').map_or(bare, |(_, domain)| domain);
    check(domain, is_domain_char)
        .ok()
        .map(|()| of_domain(domain))
}

fn check(part: &str, allowed: impl Fn(char) -> bool) -> Result<(), JidError> {
    if part.is_empty() {
        Err(JidError::EmptyPart)
    } else if part.len() > PART_LIMIT {
        Err(JidError::TooLong)
    } else if !part.chars().all(allowed) {
        Err(JidError::ForbiddenCharacter)
    } else {
        Ok(())
    }
}

/// RFC 7622 §3.3.1: the characters outside the PRECIS class that tell addresses from their surroundings.
fn is_local_char(c: char) -> bool {
    !matches!(c, '"' | '&' | '\'' | '/' | ':' | '<' | '>' | '@')
        && !c.is_control()
        && !c.is_whitespace()
}

/// Letters, digits and hyphens of labels in any script, dots, and address literals (RFC 7622 §3.2).
fn is_domain_char(c: char) -> bool {
    if c.is_ascii() {
        c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | '[' | ']' | ':')
    } else {
        !c.is_control() && !c.is_whitespace()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn splits_by_the_rules() {
        let rows = [
            ("jabber.example", (None, "jabber.example", None)),
            ("a@b.example", (Some("a"), "b.example", None)),
            ("a@b.example/c", (Some("a"), "b.example", Some("c"))),
            ("b.example/c@d/e", (None, "b.example", Some("c@d/e"))),
            (
                "a@[2001:db8::1]/ x ",
                (Some("a"), "[2001:db8::1]", Some(" x ")),
            ),
            (
                "Jürgen@BÜCHER.example/📱",
                (Some("Jürgen"), "BÜCHER.example", Some("📱")),
            ),
            (
                "o\\27neil@b.example",
                (Some("o\\27neil"), "b.example", None),
            ),
        ];
        for (text, (local, domain, resource)) in rows {
            let jid = parse(text).expect(text);
            assert_eq!(jid.local.as_deref(), local, "{text}");
            assert_eq!(jid.domain, domain, "{text}");
            assert_eq!(jid.resource.as_deref(), resource, "{text}");
            assert_eq!(print(&jid), text);
        }
    }

    #[test]
    fn refuses_what_is_no_jid() {
        let long = "a".repeat(1024);
        let rows = [
            ("", JidError::EmptyPart),
            ("@b.example", JidError::EmptyPart),
            ("a@", JidError::EmptyPart),
            ("a@/c", JidError::EmptyPart),
            ("a@b.example/", JidError::EmptyPart),
            ("a@b@b.example", JidError::ForbiddenCharacter),
            ("a b@b.example", JidError::ForbiddenCharacter),
            ("a:b@b.example", JidError::ForbiddenCharacter),
            ("a\n@b.example", JidError::ForbiddenCharacter),
            ("a@b.exa mple", JidError::ForbiddenCharacter),
            ("a@b.example?x", JidError::ForbiddenCharacter),
            ("a@b.example/c\r\nVia: x", JidError::ForbiddenCharacter),
        ];
        for (text, error) in rows {
            assert_eq!(parse(text), Err(error), "{text:?}");
        }
        assert_eq!(parse(&format!("{long}@b.example")), Err(JidError::TooLong));
        assert!(parse(&format!("{}@b.example", "a".repeat(1023))).is_ok());
    }

    #[test]
    fn finds_the_domain_of_a_broken_jid() {
        assert_eq!(domain_of("a@b@c.example/"), Some(of_domain("c.example")));
        assert_eq!(domain_of("@c.example"), Some(of_domain("c.example")));
        assert_eq!(domain_of("a@b c/x"), None);
        assert_eq!(domain_of(""), None);
    }

    proptest! {
        #[test]
        fn what_is_parsed_prints_as_it_was(text in "\\PC{0,40}") {
            if let Ok(jid) = parse(&text) {
                prop_assert_eq!(print(&jid), text);
            }
        }
    }
}
