//! Writes batches on a thread of its own: what arrives while a batch is written makes the next one. The ledger has a queue
//! of its own, so that it never takes the place of a message, and rides in the batches of the others.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use stox_core::vocab::{Ref, StoreIn, StoreOut};

use super::{Owed, Retention, Store, StoreError};

/// Commands in one database transaction at most.
const BATCH: usize = 512;
/// Entries of the ledger among them. An entry costs several times what another command costs, and a message waits for the
/// whole batch.
const LEDGER_SHARE: usize = 128;
/// Entries that are taken away at one time. More than come with a batch, so that a flood cannot outgrow the limit.
const PRUNE_STEP: u64 = 200;
/// Between two steps, for messages.
const PRUNE_PAUSE: Duration = Duration::from_millis(5);
/// Until what could not be written is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// How long the log does not say again that the store fails.
const QUIET: Duration = Duration::from_secs(60);
/// Until the next look for entries to take away, where the last one has found all there were.
const PRUNE_REST: Duration = Duration::from_secs(60);

/// Called for each answer, on the writer's thread.
pub type Written = Box<dyn FnMut(StoreIn) + Send>;

/// A command to write, or nothing: then there is something in the ledger's queue.
type Job = Option<StoreOut>;

/// The way to the writer's thread. Ends the thread when dropped, after everything queued is written.
pub struct StoreWriter {
    queues: Option<Queues>,
    thread: Option<JoinHandle<()>>,
}

struct Queues {
    jobs: SyncSender<Job>,
    ledger: SyncSender<StoreOut>,
    /// The thread has been told to look and has not done so yet.
    told: Arc<AtomicBool>,
}

impl StoreWriter {
    /// Starts the thread. `capacity` commands may wait, and as many entries of the ledger.
    ///
    /// # Errors
    /// The system has no thread left.
    pub fn start(
        store: Box<dyn Store>,
        capacity: usize,
        retention: Retention,
        written: Written,
    ) -> std::io::Result<Self> {
        let (to_jobs, jobs) = sync_channel(capacity);
        let (to_ledger, ledger) = sync_channel(capacity);
        let told = Arc::new(AtomicBool::new(false));
        let writer = Writer {
            store,
            jobs,
            ledger,
            told: told.clone(),
            written,
            retention,
            prune_at: Instant::now(),
            owed: Owed::default(),
            retry_at: Instant::now(),
            complained: None,
        };
        let thread = std::thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || writer.run())?;
        Ok(Self {
            queues: Some(Queues {
                jobs: to_jobs,
                ledger: to_ledger,
                told,
            }),
            thread: Some(thread),
        })
    }

    /// Queues what waits, for as long as that takes: for the end.
    pub fn finish(&self, mut owed: Owed) {
        let Some(queues) = &self.queues else {
            return;
        };
        while let Some(command) = owed.pop() {
            if queues.jobs.send(Some(command)).is_err() {
                return;
            }
        }
    }

    /// Queues a command; a full queue gives it back, so that the caller can refuse what hangs on it, or leave out an entry
    /// of the ledger.
    ///
    /// # Errors
    /// The queue is full, or the thread has ended.
    #[allow(
        clippy::result_large_err,
        reason = "the error is the command itself, given back to be kept"
    )]
    pub fn send(&self, command: StoreOut) -> Result<(), StoreOut> {
        match &self.queues {
            None => Err(command),
            Some(queues) => queues.send(command),
        }
    }
}

impl Queues {
    #[allow(clippy::result_large_err, reason = "as in StoreWriter::send")]
    fn send(&self, command: StoreOut) -> Result<(), StoreOut> {
        if is_ledger(&command) {
            self.ledger.try_send(command).map_err(given_back)?;
            if !self.told.swap(true, Ordering::AcqRel) && self.jobs.try_send(None).is_err() {
                // So much to do that it will look anyway.
                self.told.store(false, Ordering::Release);
            }
            return Ok(());
        }
        match self.jobs.try_send(Some(command)).map_err(given_back) {
            Err(Some(command)) => Err(command),
            Ok(()) | Err(None) => Ok(()),
        }
    }
}

fn given_back<T>(error: TrySendError<T>) -> T {
    match error {
        TrySendError::Full(back) | TrySendError::Disconnected(back) => back,
    }
}

/// Whether the command may be left out.
fn is_ledger(command: &StoreOut) -> bool {
    matches!(command, StoreOut::Record(_) | StoreOut::Amend(_))
}

impl Drop for StoreWriter {
    fn drop(&mut self) {
        self.queues = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!(
                "the store's thread ended abnormally; what it had queued may not be on disk"
            );
        }
    }
}

/// The thread.
struct Writer {
    store: Box<dyn Store>,
    jobs: Receiver<Job>,
    ledger: Receiver<StoreOut>,
    told: Arc<AtomicBool>,
    written: Written,
    retention: Retention,
    prune_at: Instant,
    /// What the store has not taken yet.
    owed: Owed,
    retry_at: Instant,
    /// When the log last said that the store fails, while it does.
    complained: Option<Instant>,
}

impl Writer {
    fn run(mut self) {
        loop {
            let batch = self.next_batch();
            if !batch.is_empty() {
                self.write(batch);
            } else if !self.wait() {
                return;
            }
            if !self.owed.is_empty() && self.retry_at <= Instant::now() {
                self.pay();
            }
            if self.prune_at <= Instant::now() {
                self.prune();
            }
        }
    }

    /// What waits: messages first, then the ledger where there is room.
    fn next_batch(&self) -> Vec<StoreOut> {
        self.told.store(false, Ordering::Release);
        let mut batch = Vec::new();
        batch.extend(self.jobs.try_iter().take(BATCH).flatten());
        let room = BATCH.saturating_sub(batch.len()).min(LEDGER_SHARE);
        batch.extend(self.ledger.try_iter().take(room));
        batch
    }

    /// Waits until there is something to do; false when there never will be.
    fn wait(&mut self) -> bool {
        let next = if self.owed.is_empty() {
            self.prune_at
        } else {
            self.prune_at.min(self.retry_at)
        };
        let rest = next.saturating_duration_since(Instant::now());
        match self.jobs.recv_timeout(rest) {
            Ok(Some(command)) => {
                let mut batch = vec![command];
                batch.extend(self.next_batch());
                self.write(batch);
                true
            }
            Ok(None) | Err(RecvTimeoutError::Timeout) => true,
            // Both queues end together.
            Err(RecvTimeoutError::Disconnected) => {
                let rest: Vec<StoreOut> = self.ledger.try_iter().collect();
                self.write(rest);
                while !self.owed.is_empty() && self.pay() {}
                false
            }
        }
    }

    /// One transaction. What it fails to take is answered, owed or left out.
    fn write(&mut self, mut batch: Vec<StoreOut>) {
        // Behind what is owed, or a withdrawal would come before what it withdraws.
        if !self.owed.is_empty() {
            batch = self.owe_states(batch);
        }
        let kept = self.apply(&batch);
        for reference in batch.iter().filter_map(kept_reference) {
            (self.written)(if kept {
                StoreIn::Kept(reference)
            } else {
                StoreIn::NotKept(reference)
            });
        }
        if !kept {
            self.retry_at = Instant::now() + RETRY;
            self.owe(batch);
        }
    }

    fn apply(&mut self, batch: &[StoreOut]) -> bool {
        if batch.is_empty() {
            return true;
        }
        match self.store.apply(batch) {
            Ok(()) => {
                if self.complained.take().is_some() {
                    tracing::info!("the store works again, and messages are taken");
                }
                true
            }
            Err(error) => {
                self.complain(&error, batch.len());
                false
            }
        }
    }

    /// Once a minute while it goes on: the log may be on the same disk.
    fn complain(&mut self, error: &StoreError, commands: usize) {
        if self.complained.is_some_and(|at| at.elapsed() < QUIET) {
            tracing::debug!(%error, commands, "cannot write to the store");
            return;
        }
        self.complained = Some(Instant::now());
        tracing::error!(%error, commands, "cannot write to the store: messages are refused until it works again; check disk space and permissions of gateway.state_dir");
    }

    /// Owes what can wait; gives back the others.
    fn owe_states(&mut self, batch: Vec<StoreOut>) -> Vec<StoreOut> {
        let mut rest = Vec::new();
        for command in batch {
            if Owed::takes(&command) {
                self.owed.push(command);
                continue;
            }
            if let Some(reference) = kept_reference(&command) {
                self.owed.withdraw(reference);
            }
            rest.push(command);
        }
        rest
    }

    fn owe(&mut self, commands: Vec<StoreOut>) {
        for command in commands {
            self.owed.push(command);
        }
    }

    /// Tries a part of it again; false when the store does not take it.
    fn pay(&mut self) -> bool {
        let part = self.owed.first(BATCH);
        let paid = self.apply(&part);
        if paid {
            self.owed.drop_first(part.len());
        } else {
            self.retry_at = Instant::now() + RETRY;
        }
        paid
    }

    /// One step.
    fn prune(&mut self) {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        match self.store.prune(self.retention, now, PRUNE_STEP) {
            Ok(true) => self.prune_at = Instant::now() + PRUNE_PAUSE,
            Ok(false) => self.prune_at = Instant::now() + PRUNE_REST,
            Err(error) => {
                tracing::warn!(%error, "cannot take old entries out of the ledger; it is tried again");
                self.prune_at = Instant::now() + PRUNE_REST;
            }
        }
    }
}

fn kept_reference(command: &StoreOut) -> Option<Ref> {
    match command {
        StoreOut::Keep(message) => Some(message.reference),
        StoreOut::Put { .. }
        | StoreOut::Remove(_)
        | StoreOut::Settle(_)
        | StoreOut::Learn(_)
        | StoreOut::Record(_)
        | StoreOut::Amend(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::super::Kept;
    use super::*;
    use stox_core::vocab::{About, Entry, Outcome, Party, Unsettled, Way};

    const RETENTION: Retention = Retention {
        keep: Duration::from_secs(1 << 40),
        max_entries: 1000,
    };

    type Apply = Box<dyn FnMut(&[StoreOut]) -> Result<(), StoreError> + Send>;

    /// A store that does this with each batch, and nothing else.
    struct Scripted(Apply);

    impl Scripted {
        fn new(
            apply: impl FnMut(&[StoreOut]) -> Result<(), StoreError> + Send + 'static,
        ) -> Box<Self> {
            Box::new(Self(Box::new(apply)))
        }

        /// Fails with the first batch, and hands on the others.
        fn failing_once(taken: SyncSender<Vec<StoreOut>>) -> Box<Self> {
            let mut fails = true;
            Self::new(move |batch| {
                if std::mem::take(&mut fails) {
                    return Err(BROKEN);
                }
                taken.send(batch.to_vec()).unwrap();
                Ok(())
            })
        }
    }

    impl Store for Scripted {
        fn load(&mut self) -> Result<Kept, StoreError> {
            Ok(Kept::default())
        }
        fn apply(&mut self, batch: &[StoreOut]) -> Result<(), StoreError> {
            (self.0)(batch)
        }
        fn prune(&mut self, _: Retention, _: Duration, _: u64) -> Result<bool, StoreError> {
            Ok(false)
        }
        fn secret(
            &mut self,
            _: &str,
            make: &mut dyn FnMut() -> String,
        ) -> Result<String, StoreError> {
            Ok(make())
        }
    }

    const BROKEN: StoreError = StoreError::Newer { found: 2, known: 1 };

    fn keep(reference: u64) -> StoreOut {
        StoreOut::Keep(Unsettled {
            reference: Ref(reference),
            from: "a@b".parse().unwrap(),
            to: "c@d".parse().unwrap(),
            id: None,
            about: About::default(),
        })
    }

    #[test]
    fn every_keep_is_answered_in_order_and_dropping_waits_for_all() {
        let (answers, answered) = channel();
        let store = super::super::SqliteStore::in_memory().unwrap();
        let writer = StoreWriter::start(
            Box::new(store),
            2000,
            RETENTION,
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
            Scripted::new(|_| Err(BROKEN)),
            8,
            RETENTION,
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

    #[test]
    fn outcomes_are_written_when_the_store_works_again_and_messages_do_not_wait_for_that() {
        let (taken, take) = sync_channel(100);
        let (answers, answered) = channel();
        let once = Scripted::failing_once(taken);
        let writer = StoreWriter::start(
            once,
            8,
            RETENTION,
            Box::new(move |answer| answers.send(answer).unwrap()),
        )
        .unwrap();
        writer.send(StoreOut::Settle(Ref(1))).unwrap();
        // The first batch has failed when the next is answered.
        writer.send(keep(2)).unwrap();
        let first = answered.recv().unwrap();
        writer.send(keep(3)).unwrap();
        assert_eq!(answered.recv().unwrap(), StoreIn::Kept(Ref(3)));
        writer.send(StoreOut::Settle(Ref(3))).unwrap();
        let mut written = Vec::new();
        while !written.contains(&StoreOut::Settle(Ref(3))) {
            written.extend(take.recv().unwrap());
        }
        let mut expected = vec![keep(3), StoreOut::Settle(Ref(1)), StoreOut::Settle(Ref(3))];
        // In a batch of its own, or in the one that failed.
        if first == StoreIn::Kept(Ref(2)) {
            expected.insert(0, keep(2));
        }
        assert_eq!(written, expected);
        drop(writer);
        assert!(take.recv().is_err(), "nothing is written twice");
    }

    #[test]
    fn a_message_that_is_kept_again_is_struck_out_only_by_what_comes_after() {
        let (taken, take) = sync_channel(100);
        let once = Scripted::failing_once(taken);
        let (_jobs, jobs) = sync_channel(1);
        let (_ledger, ledger) = sync_channel(1);
        let mut writer = Writer {
            store: once,
            jobs,
            ledger,
            told: Arc::default(),
            written: Box::new(|_| {}),
            retention: RETENTION,
            prune_at: Instant::now(),
            owed: Owed::default(),
            retry_at: Instant::now(),
            complained: None,
        };
        let settle = |reference| StoreOut::Settle(Ref(reference));
        writer.write(vec![settle(1), settle(2), settle(3)]);
        writer.write(vec![keep(1), keep(2), settle(2)]);
        assert!(writer.pay());
        assert_eq!(take.recv().unwrap(), [keep(1), keep(2)]);
        assert_eq!(take.recv().unwrap(), [settle(2), settle(3)]);
    }

    #[test]
    fn what_had_no_room_is_written_at_the_end() {
        let (taken, take) = channel();
        let store = Scripted::new(move |batch| {
            batch
                .iter()
                .for_each(|command| taken.send(command.clone()).unwrap());
            Ok(())
        });
        let writer = StoreWriter::start(store, 1, RETENTION, Box::new(|_| {})).unwrap();
        let mut owed = Owed::default();
        (0..1000).for_each(|reference| owed.push(StoreOut::Settle(Ref(reference))));
        writer.finish(owed);
        drop(writer);
        let expected: Vec<StoreOut> = (0..1000).map(|r| StoreOut::Settle(Ref(r))).collect();
        assert_eq!(take.iter().collect::<Vec<_>>(), expected);
    }

    fn record(number: u64) -> StoreOut {
        StoreOut::Record(Box::new(Entry {
            number: Ref(number),
            way: Way::ToSip,
            xmpp: Party::Jid("a@b".parse().unwrap()),
            sip: Party::Jid("c@d".parse().unwrap()),
            id: None,
            about: About::default(),
            known: Duration::from_secs(1),
            fate: Outcome::Taken.into(),
        }))
    }

    #[test]
    fn a_full_ledger_takes_no_message_its_place() {
        let (to_go, go) = sync_channel::<()>(0);
        let (batches, batch) = sync_channel(100);
        let writer = StoreWriter::start(
            // Its batches wait for a word, and tell what was in them.
            Scripted::new(move |now| {
                batches.send(now.to_vec()).unwrap();
                // Everybody goes when the test lets go.
                _ = go.recv();
                Ok(())
            }),
            8,
            RETENTION,
            Box::new(|_| {}),
        )
        .unwrap();
        writer.send(record(1)).unwrap();
        assert_eq!(batch.recv().unwrap(), [record(1)]);
        // The thread hangs in its first batch: eight entries wait, the ninth is left out, messages go on.
        for number in 2..10 {
            writer.send(record(number)).unwrap();
        }
        assert_eq!(writer.send(record(10)), Err(record(10)));
        for reference in 1..8 {
            writer.send(keep(reference)).unwrap();
        }
        drop(to_go);
        drop(writer);
        let second = batch.recv().unwrap();
        let expected: Vec<StoreOut> = (1..8).map(keep).chain((2..10).map(record)).collect();
        assert_eq!(second, expected, "messages first, in one batch");
    }

    #[test]
    fn the_ledger_is_written_when_nothing_else_is_and_at_the_end() {
        let folder = std::env::temp_dir().join(format!("stoxgate-writer-{}", std::process::id()));
        let store = super::super::SqliteStore::open(&folder).unwrap();
        let writer =
            StoreWriter::start(Box::new(store), 2000, RETENTION, Box::new(|_| {})).unwrap();
        for number in 1..=1500 {
            writer.send(record(number)).unwrap();
        }
        drop(writer);
        let reader = super::super::LedgerReader::open(&folder).unwrap();
        let rows = reader.read(&super::super::Filter::default(), 9999).unwrap();
        let numbers: Vec<i64> = rows.iter().map(|row| row.number).collect();
        // The limit of a thousand is not reached in steps until the thread has time; never is there a gap.
        assert!(numbers.len() >= 1000);
        assert_eq!(numbers.last(), Some(&1500));
        assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1));
        std::fs::remove_dir_all(folder).unwrap();
    }
}
