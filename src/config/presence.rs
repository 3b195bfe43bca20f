//! `[presence]`: how XMPP users see SIP users.

use std::collections::BTreeMap;

use stox_core::presence::{LANGUAGES, Language, Rules, SHOWN, STATES, Shown};
use stox_core::vocab::State;

use super::keys::Table;

pub(super) fn rules(table: &mut Table) -> Rules {
    Rules {
        language: language(table),
        shown: table.section("show", shown),
    }
}

fn language(table: &mut Table) -> Language {
    let tag: String = table.or("language", Language::default().tag().to_owned());
    Language::of_tag(&tag).unwrap_or_else(|| {
        let message = format!("has no texts for `{tag}`; write {}", LANGUAGES.join(", "));
        table.problem("language", message);
        Language::default()
    })
}

/// A key for each state.
fn shown(table: &mut Table) -> BTreeMap<State, Shown> {
    let mut changes = BTreeMap::new();
    for row in &STATES {
        let Some(word) = table.optional::<String>(row.name) else {
            continue;
        };
        match SHOWN.iter().find(|(known, _)| *known == word) {
            Some((_, shown)) => {
                changes.insert(row.state, *shown);
            }
            None => {
                let words: Vec<&str> = SHOWN.iter().map(|(word, _)| *word).collect();
                let message = format!("cannot be `{word}`; write {}", words.join(", "));
                table.problem(row.name, message);
            }
        }
    }
    changes
}
