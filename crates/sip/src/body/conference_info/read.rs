use super::{
    CONFERENCE_INFO, ConferenceInfo, ConferenceUri, Description, EXTENTS, Endpoint, Extent,
    MAX_ENDPOINTS, MAX_ENTRIES, MAX_TEXT, MAX_USERS, MAX_WORD, STATUSES, Status, User, Users,
};
use crate::body::document::{self, DocumentError};
use crate::body::text::clean;
use crate::body::xml::{self, Element};

/// Reads a document. `charset` is the parameter of the content type.
///
/// What is not known is passed over, and so are users without a URI and what goes beyond the limits of this module.
///
/// # Errors
/// [`DocumentError`]: what is known stays in force then.
pub fn parse(octets: &[u8], charset: Option<&str>) -> Result<ConferenceInfo, DocumentError> {
    let root = xml::parse(octets, charset)?;
    if !root.is(CONFERENCE_INFO, "conference-info") {
        return Err(DocumentError::WrongRoot);
    }
    let entity = document::entity(root.attribute("entity"))?;
    if entity.len() > MAX_WORD {
        return Err(DocumentError::BadEntity);
    }
    let state = named(&root, "conference-state");
    Ok(ConferenceInfo {
        entity,
        extent: extent(&root),
        version: root.attribute("version").and_then(number),
        description: named(&root, "conference-description").map(description),
        user_count: state.and_then(|state| count(state, "user-count")),
        users: named(&root, "users").map(users),
    })
}

fn named<'a>(element: &'a Element, name: &str) -> Option<&'a Element> {
    element.child(CONFERENCE_INFO, name)
}

fn all<'a>(element: &'a Element, name: &'a str) -> impl Iterator<Item = &'a Element> {
    element.children_named(CONFERENCE_INFO, name)
}

/// A word that is not known says nothing: the element counts as full (RFC 4575 §5.1).
fn extent(element: &Element) -> Extent {
    let word = element.attribute("state").map(str::trim);
    let row = EXTENTS.iter().find(|(_, known)| Some(*known) == word);
    row.map(|(extent, _)| *extent).unwrap_or_default()
}

fn number(text: &str) -> Option<u32> {
    let text = text.trim();
    text.bytes()
        .all(|octet| octet.is_ascii_digit())
        .then(|| text.parse().ok())?
}

fn count(element: &Element, name: &str) -> Option<u32> {
    number(named(element, name)?.simple_text()?)
}

/// A URI or another word without white space.
fn word(text: &str) -> Option<String> {
    let text = text.trim();
    let legal = |c: char| !c.is_whitespace() && !c.is_control();
    let fits = (1..=MAX_WORD).contains(&text.len()) && text.chars().all(legal);
    fits.then(|| text.to_owned())
}

fn word_of(element: &Element, name: &str) -> Option<String> {
    word(named(element, name)?.simple_text()?)
}

fn name_of(element: &Element) -> Option<String> {
    document::name(&named(element, "display-text")?.text)
}

fn text_of(element: &Element, name: &str) -> Option<String> {
    let text = clean(&named(element, name)?.text);
    let text: String = text.trim().chars().take(MAX_TEXT).collect();
    let text = text.trim_end();
    (!text.is_empty()).then(|| text.to_owned())
}

fn description(element: &Element) -> Description {
    let uris = named(element, "conf-uris")
        .into_iter()
        .flat_map(|uris| all(uris, "entry"));
    Description {
        display_text: name_of(element),
        subject: text_of(element, "subject"),
        free_text: text_of(element, "free-text"),
        uris: uris.filter_map(conference_uri).take(MAX_ENTRIES).collect(),
        maximum_users: count(element, "maximum-user-count"),
    }
}

fn conference_uri(entry: &Element) -> Option<ConferenceUri> {
    Some(ConferenceUri {
        uri: word_of(entry, "uri")?,
        display_text: name_of(entry),
        purpose: word_of(entry, "purpose"),
    })
}

fn users(element: &Element) -> Users {
    Users {
        extent: extent(element),
        list: all(element, "user")
            .filter_map(user)
            .take(MAX_USERS)
            .collect(),
    }
}

fn user(element: &Element) -> Option<User> {
    let roles = named(element, "roles")
        .into_iter()
        .flat_map(|roles| all(roles, "entry"))
        .filter_map(|entry| word(entry.simple_text()?));
    Some(User {
        entity: word(element.attribute("entity")?)?,
        extent: extent(element),
        display_text: name_of(element),
        roles: roles.take(MAX_ENTRIES).collect(),
        endpoints: all(element, "endpoint")
            .map(endpoint)
            .take(MAX_ENDPOINTS)
            .collect(),
    })
}

fn endpoint(element: &Element) -> Endpoint {
    Endpoint {
        entity: element
            .attribute("entity")
            .and_then(word)
            .unwrap_or_default(),
        extent: extent(element),
        display_text: name_of(element),
        status: named(element, "status").and_then(status),
    }
}

fn status(element: &Element) -> Option<Status> {
    let word = element.simple_text();
    let row = STATUSES.iter().find(|row| Some(row.1) == word)?;
    Some(row.0)
}
