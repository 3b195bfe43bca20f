//! Holds docs/mapping.md and docs/im.md to the tables that the gateway runs on.
//! `STOXGATE_WRITE_DOCS=1 cargo test --test mapping` writes them anew.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod im;

use std::fmt::Write as _;
use std::path::Path;

use stox_core::failure::{CLASSES, CONDITIONS, ErrorType, Failure, Local, STATUSES};
use stox_core::failure::{to_sip, to_stanza};
use stox_core::presence::{
    LANGUAGES, Language, Mark, Phrase, SHOWN, STATES, Shown, StateRow, text_of,
};
use stox_core::vocab::State;

const WRITE: &str = "STOXGATE_WRITE_DOCS";

#[test]
fn the_mapping_document_is_fresh() {
    hold("docs/mapping.md", &document());
}

#[test]
fn the_document_of_messages_is_fresh() {
    hold("docs/im.md", &im::document());
}

fn hold(file: &str, fresh: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    if std::env::var_os(WRITE).is_some() {
        std::fs::write(&path, fresh).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == fresh,
        "{file} is not what the tables say; write it anew: {WRITE}=1 cargo test --test mapping"
    );
}

fn document() -> String {
    let mut out = INTRODUCTION.to_owned();
    out.push_str(STATES_TO_XMPP);
    table(
        &mut out,
        &[
            "State",
            "Availability",
            "Token",
            "2005 activity",
            "Messenger word",
            "PIDF activity",
            "XMPP",
            "Status text",
            "Backing",
        ],
        STATES.iter().map(to_xmpp),
    );
    out.push_str(XMPP_TO_STATES);
    table(
        &mut out,
        &[
            "XMPP",
            "PIDF basic",
            "PIDF activity",
            "Availability",
            "Token",
            "2005 availability / activity",
            "Messenger status / sub-status",
        ],
        SHOWN.iter().map(|(name, shown)| from_xmpp(name, *shown)),
    );
    out.push_str(TEXTS);
    let phrases: Vec<Phrase> = STATES.iter().filter_map(|row| row.phrase).collect();
    table(
        &mut out,
        &["", "Texts"],
        LANGUAGES.iter().map(|tag| texts(tag, &phrases)),
    );
    errors(&mut out);
    out
}

const INTRODUCTION: &str = "\
# What becomes of what

Written from the tables that the gateway runs on by `STOXGATE_WRITE_DOCS=1 cargo test --test mapping`. Do not edit.
";

const STATES_TO_XMPP: &str = "
## Presence, SIP to XMPP

What a SIP user's presence document says, and what XMPP users see of it. A token counts where its number lies in the
range; a number without a known token means the row whose range is printed bold. `[presence.show]` in the settings
replaces the XMPP column, state by state. Backing: *measured* with a real peer, *documented* by a specification or manual,
*chosen* where nothing settles it.

";

const XMPP_TO_STATES: &str = "
## Presence, XMPP to SIP

What each XMPP sub-state becomes in each family of documents. Watchers that read one tuple only get the resource that is
open, has the highest priority and can be reached best (chat, available, dnd, away, xa); others get a tuple for each
resource. For a single SIP domain `dnd_shows` and `xa_shows` put other states in place of `dnd` and `xa`.

";

const TEXTS: &str = "
## Status texts

The status text is what the user wrote, with what the state says and XMPP has no word for before it: `In a call – back at
four`. The peer's own words for a state replace the standard text. An activity of a PIDF document speaks only where there
is no note. The texts, in the order of the table above, by `[presence] language`:

";

fn to_xmpp(row: &StateRow) -> Vec<String> {
    let (from, to) = row.range;
    let range = match to {
        u32::MAX => format!("{from} and more"),
        _ => format!("{from}–{to}"),
    };
    let range = match (row.by_number, row.token) {
        (true, _) => format!("**{range}**"),
        (false, Some(_)) => range,
        (false, None) => String::new(),
    };
    let levels: Vec<String> = row.levels_from.iter().map(u32::to_string).collect();
    let activities = row.token.iter().chain(row.also).copied();
    let english = |phrase| text_of(phrase, Language::default()).to_owned();
    vec![
        row.name.to_owned(),
        range,
        code(row.token),
        levels.join(", "),
        messenger_word(row),
        codes(activities.filter(|word| State::of_activity(word) == Some(row.state))),
        row.shown.name().to_owned(),
        row.phrase.map(english).unwrap_or_default(),
        match row.mark {
            Mark::Measured => "measured",
            Mark::Documented => "documented",
            Mark::Chosen => "chosen",
        }
        .to_owned(),
    ]
}

/// The sub-status that is read as this state; `closed` whatever the sub-status.
fn messenger_word(row: &StateRow) -> String {
    let (status, substatus) = row.words;
    let read = State::of_words(status, Some(substatus)) == row.state;
    let word = if status == "closed" {
        status
    } else {
        substatus
    };
    code(Some(word).filter(|_| read))
}

fn from_xmpp(name: &str, shown: Shown) -> Vec<String> {
    let row = State::sent_for(shown).row();
    vec![
        name.to_owned(),
        if row.state.is_open() {
            "open"
        } else {
            "closed"
        }
        .to_owned(),
        code(row.activity),
        row.publish.to_string(),
        code(row.token),
        format!("{} / {}", row.levels.0, row.levels.1),
        format!("`{}` / `{}`", row.words.0, row.words.1),
    ]
}

fn texts(tag: &str, phrases: &[Phrase]) -> Vec<String> {
    let language = Language::of_tag(tag).unwrap();
    let texts: Vec<&str> = phrases.iter().map(|p| text_of(*p, language)).collect();
    vec![tag.to_owned(), texts.join(" · ")]
}

fn errors(out: &mut String) {
    out.push_str(
        "\n## Errors, XMPP to SIP\n\nRFC 7247 Table 2, as held: 401 and 407 are never written, since only a server that \
         issued a challenge may.\n\n",
    );
    let condition = |row: &stox_core::failure::ConditionRow| {
        let (full, bare) = (row.full.to_string(), row.bare.to_string());
        vec![format!("`{}`", row.name), full, bare]
    };
    table(
        out,
        &["Condition", "From a full JID", "From a bare JID"],
        CONDITIONS.iter().map(condition),
    );
    out.push_str("\n## Errors, SIP to XMPP\n\nRFC 7247 Table 3; other codes by class.\n\n");
    let status = |code: String, row: &stox_core::failure::StatusRow| {
        let condition = row.condition.row();
        vec![
            code,
            format!("`{}`", condition.name),
            kind(condition.kind).to_owned(),
        ]
    };
    let listed = STATUSES.iter().map(|row| status(row.code.to_string(), row));
    let classes = CLASSES
        .iter()
        .map(|row| status(format!("other {}xx", row.code / 100), row));
    table(out, &["Status", "Condition", "Type"], listed.chain(classes));
    out.push_str("\n## Findings of the gateway itself\n\n");
    let finding = |local: &Local| {
        let failure = Failure::Local(*local);
        let (sip, stanza) = (to_sip(&failure), to_stanza(&failure));
        let condition = format!("`{}`", stanza.condition.name());
        vec![
            stanza.text.unwrap_or_default(),
            sip.code.to_string(),
            condition,
        ]
    };
    table(
        out,
        &["Finding", "To a SIP user", "To an XMPP user"],
        Local::ALL.iter().map(finding),
    );
}

fn kind(kind: ErrorType) -> &'static str {
    match kind {
        ErrorType::Auth => "auth",
        ErrorType::Cancel => "cancel",
        ErrorType::Continue => "continue",
        ErrorType::Modify => "modify",
        ErrorType::Wait => "wait",
    }
}

fn code(word: Option<&str>) -> String {
    word.map(|word| format!("`{word}`")).unwrap_or_default()
}

fn codes<'a>(words: impl Iterator<Item = &'a str>) -> String {
    let words: Vec<String> = words.map(|word| code(Some(word))).collect();
    words.join(" ")
}

fn table(out: &mut String, heads: &[&str], rows: impl Iterator<Item = Vec<String>>) {
    writeln!(out, "| {} |", heads.join(" | ")).unwrap();
    writeln!(out, "|{}", "---|".repeat(heads.len())).unwrap();
    for row in rows {
        assert_eq!(row.len(), heads.len());
        writeln!(out, "| {} |", row.join(" | ")).unwrap();
    }
}
