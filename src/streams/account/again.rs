//! Messages that a server sends once more in another session, since it did not read that they were taken over.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};

use minidom::Element;

/// Messages that are remembered.
const KEPT: usize = 256;
/// What a server adds to a message that it has kept (XEP-0203).
const DELAY: &str = "urn:xmpp:delay";

/// The messages that were taken last, by what makes them the same: sender, id, and words.
#[derive(Debug, Default)]
pub(super) struct Taken {
    session: u64,
    messages: VecDeque<(u64, u64)>,
}

impl Taken {
    /// Another session begins.
    pub(super) fn begin_session(&mut self) {
        self.session += 1;
    }

    /// Notes a message. `false`: it was taken in an earlier session, and the server has kept it for this one.
    pub(super) fn note(&mut self, stanza: &Element) -> bool {
        let Some(mark) = mark(stanza) else {
            return true;
        };
        let is_kept = stanza.has_child("delay", DELAY);
        let is_known = |(session, known): &(u64, u64)| *session < self.session && *known == mark;
        if is_kept && self.messages.iter().any(is_known) {
            return false;
        }
        if self.messages.len() >= KEPT {
            self.messages.pop_front();
        }
        self.messages.push_back((self.session, mark));
        true
    }
}

/// `None`: what has no id, or no words, cannot be known again.
fn mark(stanza: &Element) -> Option<u64> {
    if stanza.name() != "message" || stanza.attr("type") == Some("error") {
        return None;
    }
    let namespace = stanza.ns();
    let body = stanza.get_child("body", namespace.as_str())?.text();
    let mut hasher = DefaultHasher::new();
    (stanza.attr("from"), stanza.attr("id")?, body).hash(&mut hasher);
    Some(hasher.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(id: &str, body: &str, kept: bool) -> Element {
        let delay = if kept {
            "<delay xmlns='urn:xmpp:delay' stamp='2026-11-26T12:00:00Z'/>"
        } else {
            ""
        };
        format!("<message xmlns='jabber:client' from='romeo@jabber.test/x' id='{id}'><body>{body}</body>{delay}</message>")
            .parse()
            .unwrap()
    }

    #[test]
    fn knows_what_a_server_has_kept_over_a_session_and_nothing_else() {
        let mut taken = Taken::default();
        taken.begin_session();
        assert!(taken.note(&message("1", "a", false)));
        assert!(
            taken.note(&message("1", "a", true)),
            "in the same session it is another one"
        );
        taken.begin_session();
        let cases = [
            (message("1", "a", true), false),
            (message("1", "a", false), true),
            (message("1", "b", true), true),
            (message("2", "a", true), true),
        ];
        for (message, is_new) in cases {
            assert_eq!(taken.note(&message), is_new, "{message:?}");
        }
    }

    #[test]
    fn forgets_the_oldest() {
        let mut taken = Taken::default();
        for number in 0..=KEPT {
            taken.note(&message(&number.to_string(), "a", false));
        }
        taken.begin_session();
        assert!(taken.note(&message("0", "a", true)));
        assert!(!taken.note(&message("2", "a", true)));
        assert_eq!(taken.messages.len(), KEPT);
    }
}
