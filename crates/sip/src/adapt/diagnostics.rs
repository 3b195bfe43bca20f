//! What the diagnostics of a Communications Server mean, and which of them our own failures are (MS-OCER).

use stox_core::failure::{Condition, Failure, Local};

use crate::grammar::{digits, trim};
use crate::header::{Diagnostic, Headers};
use crate::message::Response;

/// Whom a refusal is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// One user or one message; the next may pass.
    User,
    /// The way between us and the partner: an administrator has to act, here or there.
    Partner,
}

/// One number of the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Meaning {
    /// The number.
    pub id: u32,
    /// Whom it is about.
    pub scope: Scope,
    /// What happened, in our words.
    pub words: &'static str,
}

/// The numbers that a federated partner sends.
#[rustfmt::skip]
pub const MEANINGS: &[Meaning] = &[
    partner(1001, "the partner does not let its users talk to public networks"),
    partner(1002, "the partner does not let this user talk to federated domains"),
    user(1003, "User does not exist"),
    partner(1004, "the route of the request was changed on its way"),
    partner(1005, "the partner cannot route to the domain"),
    partner(1007, "the partner cannot route to the domain for the moment"),
    partner(1008, "the partner finds no DNS SRV record for the domain"),
    partner(1009, "the DNS SRV record and the host are of different domains"),
    partner(1010, "the partner does not trust a certificate on the way"),
    partner(1011, "the next server refused without a reason"),
    partner(1012, "the user may not talk outside the enterprise"),
    partner(1014, "the partner finds no address record for the host"),
    partner(1027, "this kind of request may not cross between federated partners"),
    partner(1034, "a federated partner on the way refused without a reason"),
    user(2139, "a newer subscription took the place of this one"),
    user(13004, "the call is under way"),
    user(25008, "the client refused"),
    user(52035, "the client has this conversation open already"),
];

const fn user(id: u32, words: &'static str) -> Meaning {
    let scope = Scope::User;
    Meaning { id, scope, words }
}

const fn partner(id: u32, words: &'static str) -> Meaning {
    let scope = Scope::Partner;
    Meaning { id, scope, words }
}

/// The warning code of a message that content rules block, on 606.
const BLOCKED: u32 = 309;

/// What a refusal says beyond its status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// The number of the list, or of `Warning`.
    pub id: u32,
    /// What happened: our words for a number that we know, the peer's for another. May be empty.
    pub words: String,
    /// Whom it is about. A number that we do not know may be about anything: it counts as the partner's.
    pub scope: Scope,
    /// The host that says it.
    pub source: Option<String>,
}

/// What the fields of a message explain.
#[must_use]
pub fn explained(headers: &Headers) -> Option<Explanation> {
    let Diagnostic { id, reason, source } = Diagnostic::of(headers)?;
    let known = MEANINGS.iter().find(|meaning| meaning.id == id);
    Some(Explanation {
        id,
        words: known.map_or_else(
            || reason.unwrap_or_default(),
            |known| known.words.to_owned(),
        ),
        scope: known.map_or(Scope::Partner, |known| known.scope),
        source,
    })
}

/// What a refusal explains, `Warning` included (RFC 3261 §20.43).
#[must_use]
pub fn explanation(response: &Response) -> Option<Explanation> {
    explained(&response.headers).or_else(|| {
        let blocked = response.status == 606 && warns(&response.headers, BLOCKED);
        blocked.then(|| Explanation {
            id: BLOCKED,
            words: "blocked by content rules".to_owned(),
            scope: Scope::User,
            source: None,
        })
    })
}

fn warns(headers: &Headers, code: u32) -> bool {
    headers
        .values("Warning")
        .filter_map(|value| trim(value).split([' ', '\t']).next())
        .any(|word| digits(word) == Some(u64::from(code)))
}

/// The number and words for one of our failures; none where the list has nothing that fits.
#[must_use]
pub fn of_failure(failure: &Failure) -> Option<(u32, &'static str)> {
    match failure {
        Failure::Local(local) => of_local(*local),
        Failure::Xmpp { error, .. } => of_condition(error.condition),
        Failure::Sip(_) => None,
    }
}

const NO_USER: (u32, &str) = (1003, "User does not exist");
const NO_ROUTE: (u32, &str) = (1005, "Cannot route to destination domain");
const NO_ROUTE_NOW: (u32, &str) = (1007, "Temporarily cannot route");
const NOT_FEDERATED: (u32, &str) = (1002, "Sender is not authorized for this federated domain");
const NOT_ROUTABLE: (u32, &str) = (
    1027,
    "This kind of request cannot be routed to or from federated partners",
);

const fn of_local(local: Local) -> Option<(u32, &'static str)> {
    match local {
        Local::BadAddress | Local::NoUser => Some(NO_USER),
        Local::DomainNotFound | Local::SipDomain | Local::Loop => Some(NO_ROUTE),
        Local::Unreachable
        | Local::TransportFailed
        | Local::Timeout
        | Local::Overloaded
        | Local::ShuttingDown => Some(NO_ROUTE_NOW),
        Local::NotAllowed => Some(NOT_FEDERATED),
        Local::NotImplemented => Some(NOT_ROUTABLE),
        Local::TooLarge
        | Local::NotAcceptable
        | Local::Encrypted
        | Local::Expired
        | Local::OutcomeUnknown => None,
    }
}

const fn of_condition(condition: Condition) -> Option<(u32, &'static str)> {
    match condition {
        Condition::ItemNotFound | Condition::Gone | Condition::JidMalformed => Some(NO_USER),
        Condition::RemoteServerNotFound => Some(NO_ROUTE),
        Condition::RemoteServerTimeout | Condition::ResourceConstraint => Some(NO_ROUTE_NOW),
        Condition::FeatureNotImplemented => Some(NOT_ROUTABLE),
        _ => None,
    }
}

/// The number and words for a refusal of the gateway's that is no failure of a user's request, by its status.
#[must_use]
pub const fn of_refusal(status: u16) -> Option<(u32, &'static str)> {
    match status {
        403 => Some(NOT_FEDERATED),
        404 => Some(NO_ROUTE),
        405 | 501 => Some(NOT_ROUTABLE),
        503 => Some(NO_ROUTE_NOW),
        _ => None,
    }
}

/// Writes number and words into an answer, under both names: an Edge passes on the public one only.
pub fn write(headers: &mut Headers, (id, reason): (u32, &str), source: &str) {
    let value = Diagnostic {
        id,
        reason: Some(reason.to_owned()),
        source: Some(source.to_owned()),
    }
    .to_string();
    for name in Diagnostic::NAMES {
        headers.push(name, &value);
    }
}

#[cfg(test)]
mod tests {
    use stox_core::failure::StanzaError;

    use super::*;
    use crate::message::Request;
    use crate::method::Method;

    fn refusal(status: u16, name: &'static str, value: &str) -> Response {
        let request = Request::new(Method::MESSAGE, "sip:a@b.example");
        let mut response = Response::for_request(&request, status, "No");
        response.headers.push(name, value);
        response
    }

    #[test]
    fn numbers_are_listed_once_and_in_order() {
        assert!(MEANINGS.windows(2).all(|pair| pair[0].id < pair[1].id));
    }

    #[test]
    fn known_numbers_get_our_words_and_others_the_peers() {
        let known = explanation(&refusal(404, "ms-diagnostics", "1003;reason=\"x\"")).unwrap();
        assert_eq!(
            (known.id, known.words.as_str()),
            (1003, "User does not exist")
        );
        assert_eq!(known.scope, Scope::User);
        let other = refusal(
            504,
            "ms-diagnostics-public",
            "4711;reason=\"Odd\";source=\"e\"",
        );
        let other = explanation(&other).unwrap();
        assert_eq!((other.words.as_str(), other.scope), ("Odd", Scope::Partner));
        assert_eq!(other.source.as_deref(), Some("e"));
    }

    #[test]
    fn content_rules_are_told_from_a_606() {
        let warning = "309 edge.ocs.example \"Blocked, by filter\"";
        let blocked = explanation(&refusal(606, "Warning", warning)).unwrap();
        assert_eq!(blocked.words, "blocked by content rules");
        assert_eq!(explanation(&refusal(488, "Warning", warning)), None);
        assert_eq!(explanation(&refusal(606, "Warning", "399 x \"309\"")), None);
    }

    #[test]
    fn our_failures_have_numbers_of_the_list() {
        let locals = [
            (Local::NoUser, 1003),
            (Local::DomainNotFound, 1005),
            (Local::SipDomain, 1005),
            (Local::Timeout, 1007),
            (Local::NotAllowed, 1002),
            (Local::NotImplemented, 1027),
        ];
        for (local, id) in locals {
            let found = of_failure(&Failure::Local(local)).map(|(id, _)| id);
            assert_eq!(found, Some(id), "{local:?}");
            assert!(MEANINGS.iter().any(|meaning| meaning.id == id));
        }
        let unknown = Failure::Xmpp {
            error: StanzaError::new(Condition::ItemNotFound),
            from_full_jid: false,
            new_address: None,
        };
        assert_eq!(of_failure(&unknown), Some(NO_USER));
    }
}
