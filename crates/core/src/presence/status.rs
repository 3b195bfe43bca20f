//! The status text of a SIP user: what the user wrote, and what the state says that XMPP has no word for.

use crate::vocab::{Document, State, Text, Tuple};

use super::states::Phrase;
use super::{Language, Rules, notes_kept, text_of};

/// Between the words for the state and the user's own note.
const BETWEEN: &str = " – ";

/// The status texts of a device.
///
/// The device's own notes go before the person's (PVAL-40). A state told outright puts its words before each note: the
/// peer's own words if it sent some, else the standard text in the language of the note where there is one, else in
/// the language of the rules. An activity of a PIDF document speaks only where there is no note, since a note is passed
/// on as it is (RFC 8048 Table 2).
pub(super) fn statuses(
    tuple: &Tuple,
    document: &Document,
    activity: Option<State>,
    rules: &Rules,
) -> Vec<Text> {
    let notes = notes_of(tuple, document);
    let told = Words {
        own: notes_kept(&tuple.state_texts),
        phrase: tuple.state.and_then(|state| state.row().phrase),
        language: rules.language,
    };
    if notes.is_empty() {
        let phrase = match tuple.state {
            None => activity.and_then(|state| state.row().phrase),
            Some(_) => told.phrase,
        };
        let alone = Words { phrase, ..told };
        return alone.text(None).into_iter().collect();
    }
    notes
        .into_iter()
        .map(|note| match told.text(note.lang.as_deref()) {
            Some(words) => join(&words, note),
            None => note,
        })
        .collect()
}

/// What a state has to say.
struct Words {
    own: Vec<Text>,
    phrase: Option<Phrase>,
    language: Language,
}

impl Words {
    /// The words, in the language of a tag where that is possible.
    fn text(&self, wanted: Option<&str>) -> Option<Text> {
        let language = wanted.and_then(Language::of_tag).unwrap_or(self.language);
        let of_tag =
            |text: &&Text| text.lang.as_deref().and_then(Language::of_tag) == Some(language);
        let own = self.own.iter().find(of_tag).or_else(|| self.own.first());
        own.cloned().or_else(|| {
            self.phrase.map(|phrase| Text {
                lang: Some(language.tag().to_owned()),
                text: text_of(phrase, language).to_owned(),
            })
        })
    }
}

/// One line that says both, unless the note says it already. The note keeps its language.
fn join(words: &Text, note: Text) -> Text {
    if note
        .text
        .to_lowercase()
        .contains(&words.text.to_lowercase())
    {
        return note;
    }
    Text {
        lang: note.lang,
        text: format!("{}{BETWEEN}{}", words.text, note.text),
    }
}

fn notes_of(tuple: &Tuple, document: &Document) -> Vec<Text> {
    let own = notes_kept(&tuple.notes);
    if own.is_empty() {
        notes_kept(&document.notes)
    } else {
        own
    }
}
