//! `[rooms]`: group chat.

use std::collections::BTreeSet;
use std::time::Duration;

use stox_core::policy::DomainPattern;
use stox_core::room::Settings;

use super::keys::Table;
use super::types::{List, Rooms, SipDomain, Span, domain_pattern};

/// Longest that entering may take: proxies between us and a SIP user give up after three minutes.
const LONGEST_ENTER: Duration = Duration::from_secs(120);
/// Most occupants: the telling of them must fit into a partner's queue.
const MOST_OCCUPANTS: usize = 5000;

pub(super) fn rooms(table: &mut Table) -> Rooms {
    let usual = Settings::default();
    let settings = Settings {
        enabled: table.or("enabled", usual.enabled),
        history: table.or("history", usual.history),
        enter_within: table.or("enter_within", Span(usual.enter_within)).0,
        check_after: table.or("check_after", Span(usual.check_after)).0,
        max_legs: table.or("users", usual.max_legs),
        max_legs_per_user: table.or("rooms_per_user", usual.max_legs_per_user),
        max_occupants: table.or("occupants", usual.max_occupants),
        ..usual
    };
    if settings.enter_within.is_zero() || settings.enter_within > LONGEST_ENTER {
        table.problem(
            "enter_within",
            "must be more than 0s and at most 2m: a SIP proxy gives up after 3 minutes",
        );
    }
    if settings.check_after < Duration::from_secs(60) {
        table.problem("check_after", "must be at least 1m");
    }
    if settings.max_occupants == 0 || settings.max_occupants > MOST_OCCUPANTS {
        table.problem("occupants", format!("must be from 1 to {MOST_OCCUPANTS}"));
    }
    let conferences: List<String> = table.or("conferences", List(Vec::new()));
    Rooms {
        settings,
        conferences: conferences
            .0
            .into_iter()
            .map(|domain| domain.to_lowercase())
            .collect(),
        services: services(table),
    }
}

fn services(table: &mut Table) -> Vec<DomainPattern> {
    let names: List<String> = table.or("services", List(Vec::new()));
    let mut patterns = Vec::new();
    for name in names.0 {
        match domain_pattern(&name) {
            Ok(DomainPattern::Any) => {
                table.problem(
                    "services",
                    "cannot be \"*\": then no SIP user could call a user",
                );
            }
            Ok(pattern) => patterns.push(pattern),
            Err(message) => table.problem("services", format!("`{name}` {message}")),
        }
    }
    patterns
}

/// A domain of conferences is one of ours.
pub(super) fn check_conferences(
    root: &mut Table,
    conferences: &BTreeSet<String>,
    domains: &[SipDomain],
) {
    for name in conferences {
        if !domains.iter().any(|domain| domain.domain == *name) {
            root.problem(
                "rooms.conferences",
                format!("{name} is not served here: name it in a [[sip.domain]], too"),
            );
        }
    }
}
