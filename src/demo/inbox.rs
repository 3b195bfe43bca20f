//! What a peer has received and the story has not looked at yet.

use std::fmt;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use super::ladder::Failure;

/// How long anything in the demo may take.
pub(super) const DEADLINE: Duration = Duration::from_secs(5);
/// The most things that are kept.
const LIMIT: usize = 1_000;

/// Received things, in order.
pub(super) struct Inbox<T> {
    items: Mutex<Vec<T>>,
    arrived: Notify,
    patience: Duration,
}

impl<T> Default for Inbox<T> {
    fn default() -> Self {
        Self {
            items: Mutex::default(),
            arrived: Notify::new(),
            patience: DEADLINE,
        }
    }
}

impl<T: fmt::Display> Inbox<T> {
    /// Enters a thing; beyond the limit it is dropped.
    pub(super) fn put(&self, item: T) {
        let mut items = self.items.lock();
        if items.len() < LIMIT {
            items.push(item);
            self.arrived.notify_one();
        }
    }

    /// Takes out the first thing that fits, waiting for it if need be.
    ///
    /// # Errors
    /// Nothing that fits came in time; the failure lists what else was there.
    pub(super) async fn take(
        &self,
        expected: &str,
        fits: impl Fn(&T) -> bool,
    ) -> Result<T, Failure> {
        let deadline = Instant::now() + self.patience;
        loop {
            if let Some(item) = self.take_now(&fits) {
                return Ok(item);
            }
            if timeout_at(deadline, self.arrived.notified()).await.is_err() {
                return Err(Failure {
                    expected: expected.to_owned(),
                    saw: self.items.lock().iter().map(T::to_string).collect(),
                });
            }
        }
    }

    fn take_now(&self, fits: impl Fn(&T) -> bool) -> Option<T> {
        let mut items = self.items.lock();
        let found = items.iter().position(fits)?;
        Some(items.remove(found))
    }

    /// Whether nothing that fits is there.
    ///
    /// # Errors
    /// The first that is.
    pub(super) fn none(&self, what: &str, fits: impl Fn(&T) -> bool) -> Result<(), Failure> {
        match self.take_now(fits) {
            None => Ok(()),
            Some(item) => Err(Failure::new(format!("no {what}"), item)),
        }
    }

    /// Forgets everything, at the begin of a new step.
    pub(super) fn clear(&self) {
        self.items.lock().clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn takes_what_fits_and_leaves_the_rest() {
        let inbox = Inbox::default();
        for word in ["one", "two", "three"] {
            inbox.put(word);
        }
        assert_eq!(inbox.take("two", |word| *word == "two").await, Ok("two"));
        assert!(inbox.none("two", |word| *word == "two").is_ok());
        let failure = inbox.none("three", |word| *word == "three").unwrap_err();
        assert_eq!(failure.to_string(), "expected no three, saw three");
    }

    #[tokio::test]
    async fn gives_up_at_the_deadline_and_says_what_else_came() {
        let inbox = Inbox {
            patience: Duration::from_millis(1),
            ..Inbox::default()
        };
        inbox.put("another");
        let failure = inbox.take("a", |word| *word == "a").await.unwrap_err();
        assert_eq!(failure.to_string(), "expected a, saw another");
    }

    #[tokio::test]
    async fn wakes_when_it_arrives() {
        let inbox = Inbox::default();
        let (taken, ()) = tokio::join!(inbox.take("a", |word| *word == "a"), async {
            inbox.put("a");
        });
        assert_eq!(taken, Ok("a"));
    }
}
