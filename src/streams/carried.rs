//! The links that one task carries, as the engine's side sees them: a component's, or an account's.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use minidom::Element;
use stox_core::time::Entropy;
use stox_xmpp::link::Attempt;
use tokio::sync::mpsc;

use crate::engine::LinkName;
use crate::entropy::OsEntropy;

/// How long to wait after so many failures: doubled each time up to `latest`, and then between half of it and all of it, so
/// that many gateways do not knock at the same time.
pub(super) fn delay(failures: u32, first: Duration, latest: Duration) -> Duration {
    let factor = 1_u32.checked_shl(failures).unwrap_or(u32::MAX);
    let doubled = first.saturating_mul(factor).min(latest);
    let share = u32::try_from(OsEntropy::default().next_u64() % 1024).unwrap_or(0);
    doubled / 2 + doubled / 2 * share / 1024
}

/// A word to such a task.
pub(super) enum Word {
    /// The link wants to write.
    Join(LinkName, Attempt),
    /// It has nothing more to write.
    Part(LinkName, Attempt),
    /// Written only while the attempt holds: what was meant for a lost connection, its link writes again.
    Write(LinkName, Attempt, Arc<Element>),
    /// The gateway stops: nothing that comes from now on is taken.
    Leave,
}

/// The way to a task, and who uses it. The task ends when this is dropped.
pub(super) struct Carried {
    words: mpsc::Sender<Word>,
    links: BTreeMap<LinkName, Attempt>,
    /// Whatever the task has taken is here.
    left: bool,
}

impl Carried {
    /// Without links, and the task's end of it. So many words may wait for the task.
    pub(super) fn new(queue: usize) -> (Self, mpsc::Receiver<Word>) {
        let (words, heard) = mpsc::channel(queue);
        let carried = Self {
            words,
            links: BTreeMap::new(),
            left: false,
        };
        (carried, heard)
    }

    /// `false`: the task takes no more, and the link has to be told.
    pub(super) fn join(&mut self, name: LinkName, attempt: Attempt) -> bool {
        self.links.insert(name.clone(), attempt);
        self.words.try_send(Word::Join(name, attempt)).is_ok()
    }

    /// Writes for a link. What comes back is the attempt that is lost, since the task takes no more.
    pub(super) fn write(&mut self, name: &LinkName, element: Arc<Element>) -> Option<Attempt> {
        let attempt = *self.links.get(name)?;
        let word = Word::Write(name.clone(), attempt, element);
        if self.words.try_send(word).is_ok() {
            return None;
        }
        self.links.remove(name);
        Some(attempt)
    }

    /// The link has let go, or has lost that attempt.
    pub(super) fn leave(&mut self, name: &LinkName, attempt: Attempt) {
        if self.links.get(name) == Some(&attempt) {
            self.links.remove(name);
            // A full queue forgets it; the next attempt has another number.
            _ = self.words.try_send(Word::Part(name.clone(), attempt));
        }
    }

    /// Takes nothing more. The task confirms that with [`StreamArrival::Left`](super::StreamArrival::Left), behind the last
    /// that it has taken.
    pub(super) fn close(&mut self) {
        self.left = self.words.try_send(Word::Leave).is_err();
    }

    /// The task has left.
    pub(super) fn note_left(&mut self) {
        self.left = true;
    }

    /// Whether it has.
    pub(super) fn has_left(&self) -> bool {
        self.left
    }

    /// Lets the task end in order. What comes back has lost its way.
    pub(super) fn end(self) -> BTreeMap<LinkName, Attempt> {
        self.links
    }
}
