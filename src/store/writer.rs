//! Writes batches on a thread of its own: what arrives while a batch is written makes the next one.

use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

use stox_core::vocab::{Ref, StoreIn, StoreOut};

use super::Store;

/// Commands in one database transaction at most.
const BATCH: usize = 512;

/// Called for each answer, on the writer's thread.
pub type Written = Box<dyn FnMut(StoreIn) + Send>;

/// The way to the writer's thread. Ends the thread when dropped, after everything queued is written.
pub struct StoreWriter {
    queue: Option<SyncSender<StoreOut>>,
    thread: Option<JoinHandle<()>>,
}

impl StoreWriter {
    /// Starts the thread. `capacity` commands may wait.
    ///
    /// # Errors
    /// The system has no thread left.
    pub fn start(
        store: Box<dyn Store>,
        capacity: usize,
        written: Written,
    ) -> std::io::Result<Self> {
        let (queue, commands) = sync_channel(capacity);
        let thread = std::thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || run(store, &commands, written))?;
        Ok(Self {
            queue: Some(queue),
            thread: Some(thread),
        })
    }

    /// Queues a command; a full queue gives it back, so that the caller can refuse what hangs on it.
    ///
    /// # Errors
    /// The queue is full, or the thread has ended.
    #[allow(
        clippy::result_large_err,
        reason = "the error is the command itself, given back to be kept"
    )]
    pub fn send(&self, command: StoreOut) -> Result<(), StoreOut> {
        match &self.queue {
            None => Err(command),
            Some(queue) => queue.try_send(command).map_err(|error| match error {
                TrySendError::Full(command) | TrySendError::Disconnected(command) => command,
            }),
        }
    }
}

impl Drop for StoreWriter {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!(
                "the store's thread ended abnormally; what it had queued may not be on disk"
            );
        }
    }
}

fn run(mut store: Box<dyn Store>, commands: &Receiver<StoreOut>, mut written: Written) {
    while let Ok(first) = commands.recv() {
        let mut batch = vec![first];
        batch.extend(commands.try_iter().take(BATCH - 1));
        let kept = match store.apply(&batch) {
            Ok(()) => true,
            Err(error) => {
                tracing::error!(%error, commands = batch.len(), "cannot write to the store: messages are refused until it works again; check disk space and permissions of gateway.state_dir");
                false
            }
        };
        for command in &batch {
            if let Some(reference) = kept_reference(command) {
                written(if kept {
                    StoreIn::Kept(reference)
                } else {
                    StoreIn::NotKept(reference)
                });
            }
        }
    }
}

fn kept_reference(command: &StoreOut) -> Option<Ref> {
    match command {
        StoreOut::Keep(message) => Some(message.reference),
        StoreOut::Put { .. } | StoreOut::Remove(_) | StoreOut::Settle(_) | StoreOut::Learn(_) => {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::super::{Kept, StoreError};
    use super::*;
    use stox_core::vocab::Unsettled;

    struct Broken;

    impl Store for Broken {
        fn load(&mut self) -> Result<Kept, StoreError> {
            Ok(Kept::default())
        }
        fn apply(&mut self, _: &[StoreOut]) -> Result<(), StoreError> {
            Err(StoreError::Newer { found: 2, known: 1 })
        }
        fn secret(
            &mut self,
            _: &str,
            make: &mut dyn FnMut() -> String,
        ) -> Result<String, StoreError> {
            Ok(make())
        }
    }

    fn keep(reference: u64) -> StoreOut {
        StoreOut::Keep(Unsettled {
            reference: Ref(reference),
            from: "a@b".parse().unwrap(),
            to: "c@d".parse().unwrap(),
            id: None,
        })
    }

    #[test]
    fn every_keep_is_answered_in_order_and_dropping_waits_for_all() {
        let (answers, answered) = channel();
        let store = super::super::SqliteStore::in_memory().unwrap();
        let writer = StoreWriter::start(
            Box::new(store),
            2000,
            Box::new(move |a| answers.send(a).unwrap()),
        )
        .unwrap();
        for reference in 0..1000 {
            writer.send(keep(reference)).unwrap();
            writer.send(StoreOut::Settle(Ref(reference))).unwrap();
        }
        drop(writer);
        let expected: Vec<StoreIn> = (0..1000).map(|r| StoreIn::Kept(Ref(r))).collect();
        assert_eq!(answered.iter().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_failing_store_says_so_for_each_message() {
        let (answers, answered) = channel();
        let writer = StoreWriter::start(
            Box::new(Broken),
            8,
            Box::new(move |a| answers.send(a).unwrap()),
        )
        .unwrap();
        writer.send(keep(5)).unwrap();
        drop(writer);
        assert_eq!(
            answered.iter().collect::<Vec<_>>(),
            [StoreIn::NotKept(Ref(5))]
        );
    }
}
