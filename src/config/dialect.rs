//! `dialect` and `behaviour` of a SIP domain.

use std::time::Duration;

use stox_sip::dialect::{Overrides, Profile, Rule, Word};

use super::keys::Table;
use super::types::{List, Span};

/// The word for a profile that is to be learnt.
const AUTO: &str = "auto";

/// Reads the dialect of a domain, `auto` by default.
pub(super) fn rule(table: &mut Table) -> Rule {
    let name: Option<String> = table.optional("dialect");
    let profile = name.filter(|name| name != AUTO).and_then(|name| {
        let profile = Profile::from_word(&name);
        if profile.is_none() {
            let message = format!("is not a dialect; write {AUTO}, {}", choices::<Profile>());
            table.problem("dialect", message);
        }
        profile
    });
    Rule {
        profile,
        overrides: table.section("behaviour", overrides),
    }
}

fn overrides(table: &mut Table) -> Overrides {
    Overrides {
        im: word(table, "im"),
        im_fallback: table.optional("im_fallback"),
        forbids_pages: table.optional("forbids_pages"),
        session_by: word(table, "session_by"),
        msrp_tls: word(table, "msrp_tls"),
        session_word: word(table, "session_word"),
        session_types: word(table, "session_types"),
        session_idle: span(table, "session_idle"),
        invite_wait: span(table, "invite_wait"),
        first_message: word(table, "first_message"),
        typing: word(table, "typing"),
        typing_holds: span(table, "typing_holds"),
        page_typing: word(table, "page_typing"),
        page_wrapper: word(table, "page_wrapper"),
        long_messages: word(table, "long_messages"),
        presence_ask: words(table, "presence_ask"),
        presence_tell: words(table, "presence_tell"),
        one_tuple: table.optional("one_tuple"),
        dnd_shows: word(table, "dnd_shows"),
        xa_shows: word(table, "xa_shows"),
        pending_shows: word(table, "pending_shows"),
        piggyback: table.optional("piggyback"),
        benotify: table.optional("benotify"),
        one_dialog: table.optional("one_dialog"),
        probe_polls: table.optional("probe_polls"),
        contact_host: word(table, "contact_host"),
        negotiate: word(table, "negotiate"),
        requests_per_second: table.optional("requests_per_second"),
        diagnostics: table.optional("diagnostics"),
    }
}

fn span(table: &mut Table, key: &'static str) -> Option<Duration> {
    table.optional(key).map(|Span(duration)| duration)
}

fn word<T: Word>(table: &mut Table, key: &'static str) -> Option<T> {
    let text: String = table.optional(key)?;
    known(table, key, &text)
}

fn words<T: Word>(table: &mut Table, key: &'static str) -> Option<Vec<T>> {
    let list: List<String> = table.optional(key)?;
    let found: Option<Vec<T>> = list.0.iter().map(|text| known(table, key, text)).collect();
    if found.as_ref().is_some_and(Vec::is_empty) {
        table.problem(key, format!("is empty; write some of {}", choices::<T>()));
        return None;
    }
    found
}

fn known<T: Word>(table: &mut Table, key: &'static str, text: &str) -> Option<T> {
    let value = T::from_word(text);
    if value.is_none() {
        table.problem(key, format!("cannot be `{text}`; write {}", choices::<T>()));
    }
    value
}

/// All words of a column.
fn choices<T: Word>() -> String {
    let words: Vec<&str> = T::WORDS.iter().map(|(word, _)| *word).collect();
    words.join(", ")
}
