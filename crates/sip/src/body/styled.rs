//! Text that came with its looks.

use stox_core::vocab::{Rich, Run, Style};

use super::text::is_xml_char;

/// The readable text of a document, and its styled form where there is some style.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Styled {
    /// The text, lines ended by `\n`.
    pub text: String,
    /// The same in runs.
    pub rich: Option<Rich>,
}

impl Styled {
    /// The whole text in one style.
    #[must_use]
    pub fn whole(text: String, style: Style) -> Self {
        let run = || Run {
            text: text.clone(),
            style: style.clone(),
        };
        let styled = style != Style::default();
        let rich = styled.then(|| Rich::new([run()])).flatten();
        Self { text, rich }
    }
}

/// Writes text piece by piece. Styles are no longer kept once there are more runs than a [`Rich`] may have.
#[derive(Debug, Default)]
pub(super) struct Writer {
    text: String,
    runs: Vec<Run>,
}

impl Writer {
    pub(super) fn push(&mut self, character: char, style: &Style) {
        let character = if is_xml_char(character) {
            character
        } else {
            char::REPLACEMENT_CHARACTER
        };
        self.text.push(character);
        let full = self.runs.len() > Rich::MAX_RUNS;
        match self.runs.last_mut().filter(|last| last.style == *style) {
            Some(last) => last.text.push(character),
            None if full => {}
            None => self.runs.push(Run {
                text: character.into(),
                style: style.clone(),
            }),
        }
    }

    /// Text that the styled form has no need of.
    pub(super) fn push_plain_only(&mut self, text: &str) {
        self.text.push_str(text);
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// What was written, without white space at its end.
    pub(super) fn finish(mut self) -> Styled {
        self.text.truncate(self.text.trim_end().len());
        while let Some(last) = self.runs.last_mut() {
            last.text.truncate(last.text.trim_end().len());
            if !last.text.is_empty() {
                break;
            }
            self.runs.pop();
        }
        Styled {
            text: self.text,
            rich: Rich::new(self.runs),
        }
    }
}
