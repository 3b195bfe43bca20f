use super::{
    CONFERENCE_INFO, ConferenceInfo, Description, EXTENTS, Endpoint, Extent, STATUSES, User,
};
use crate::body::xml::{close, leaf, open};

/// Writes a document in the element order of the schema (RFC 4575 §5.8), UTF-8.
#[must_use]
pub fn write(info: &ConferenceInfo) -> String {
    let mut out = String::with_capacity(1024);
    out.push_str("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let version = info.version.map(|version| version.to_string());
    let mut attributes = vec![
        ("xmlns", CONFERENCE_INFO),
        ("entity", info.entity.as_str()),
        ("state", word(info.extent)),
    ];
    attributes.extend(version.iter().map(|version| ("version", version.as_str())));
    open(&mut out, "conference-info", &attributes);
    if let Some(description) = &info.description {
        write_description(&mut out, description);
    }
    if let Some(count) = info.user_count {
        open(&mut out, "conference-state", &[]);
        leaf(&mut out, "user-count", &[], &count.to_string());
        close(&mut out, "conference-state");
    }
    if let Some(users) = &info.users {
        open(&mut out, "users", &[("state", word(users.extent))]);
        for user in &users.list {
            write_user(&mut out, user);
        }
        close(&mut out, "users");
    }
    close(&mut out, "conference-info");
    out
}

fn word(extent: Extent) -> &'static str {
    let row = EXTENTS.iter().find(|(known, _)| *known == extent);
    row.map_or("full", |(_, word)| word)
}

fn maybe(out: &mut String, name: &str, text: Option<&str>) {
    if let Some(text) = text {
        leaf(out, name, &[], text);
    }
}

fn write_description(out: &mut String, description: &Description) {
    open(out, "conference-description", &[]);
    maybe(out, "display-text", description.display_text.as_deref());
    maybe(out, "subject", description.subject.as_deref());
    maybe(out, "free-text", description.free_text.as_deref());
    if !description.uris.is_empty() {
        open(out, "conf-uris", &[]);
        for uri in &description.uris {
            open(out, "entry", &[]);
            leaf(out, "uri", &[], &uri.uri);
            maybe(out, "display-text", uri.display_text.as_deref());
            maybe(out, "purpose", uri.purpose.as_deref());
            close(out, "entry");
        }
        close(out, "conf-uris");
    }
    let most = description.maximum_users.map(|most| most.to_string());
    maybe(out, "maximum-user-count", most.as_deref());
    close(out, "conference-description");
}

pub(super) fn write_user(out: &mut String, user: &User) {
    let attributes = [
        ("entity", user.entity.as_str()),
        ("state", word(user.extent)),
    ];
    open(out, "user", &attributes);
    maybe(out, "display-text", user.display_text.as_deref());
    if !user.roles.is_empty() {
        open(out, "roles", &[]);
        for role in &user.roles {
            leaf(out, "entry", &[], role);
        }
        close(out, "roles");
    }
    for endpoint in &user.endpoints {
        write_endpoint(out, endpoint);
    }
    close(out, "user");
}

fn write_endpoint(out: &mut String, endpoint: &Endpoint) {
    let mut attributes = vec![("state", word(endpoint.extent))];
    if !endpoint.entity.is_empty() {
        attributes.insert(0, ("entity", &endpoint.entity));
    }
    open(out, "endpoint", &attributes);
    maybe(out, "display-text", endpoint.display_text.as_deref());
    let status = endpoint.status;
    let row = STATUSES.iter().find(|row| Some(row.0) == status);
    maybe(out, "status", row.map(|row| row.1));
    close(out, "endpoint");
}
