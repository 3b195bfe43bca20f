//! What name servers have said last, for a while in which they say nothing (RFC 8767).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hickory_resolver::proto::rr::{Name, Record, RecordType};
use parking_lot::Mutex;

use super::dns::DnsError;

/// How long an answer counts after it was given.
const LIFETIME: Duration = Duration::from_secs(3600);
/// Questions whose answers are remembered.
const MAX_ANSWERS: usize = 4_096;
/// Records of one answer that is remembered.
const MAX_RECORDS: usize = 32;

type Question = (Name, RecordType);

/// Records, or that there are none.
type Answer = Result<Vec<Record>, DnsError>;

#[derive(Debug, Clone)]
struct Kept {
    answer: Answer,
    at: Instant,
}

/// The last answers, shared by clones, and whether this one has used any.
#[derive(Debug, Clone, Default)]
pub(super) struct Recall {
    kept: Arc<Mutex<BTreeMap<Question, Kept>>>,
    used: Arc<AtomicBool>,
}

impl Recall {
    /// The same memory, of which nothing has been used yet.
    pub(super) fn afresh(&self) -> Self {
        Self {
            kept: self.kept.clone(),
            used: Arc::default(),
        }
    }

    /// Whether an answer was an old one.
    pub(super) fn was_used(&self) -> bool {
        self.used.load(Ordering::Relaxed)
    }

    /// The answer that `asked` gives, or the last one where the name servers fail. Once they have, they are not waited for
    /// again.
    pub(super) async fn or_last(
        &self,
        question: Question,
        asked: impl Future<Output = Answer>,
    ) -> Answer {
        let last = self.last(&question, Instant::now());
        if self.was_used()
            && let Some(last) = last
        {
            return last;
        }
        let answer = asked.await;
        match last {
            Some(last) if !is_answer(&answer) => {
                self.used.store(true, Ordering::Relaxed);
                last
            }
            _ => {
                self.keep(question, &answer, Instant::now());
                answer
            }
        }
    }

    fn last(&self, question: &Question, now: Instant) -> Option<Answer> {
        let kept = self.kept.lock();
        let kept = kept.get(question)?;
        (now.saturating_duration_since(kept.at) < LIFETIME).then(|| kept.answer.clone())
    }

    fn keep(&self, question: Question, answer: &Answer, at: Instant) {
        let fits = answer.as_ref().map_or(0, Vec::len) <= MAX_RECORDS;
        if !is_answer(answer) || !fits {
            return;
        }
        let mut kept = self.kept.lock();
        if kept.len() >= MAX_ANSWERS && !kept.contains_key(&question) {
            kept.retain(|_, one| at.saturating_duration_since(one.at) < LIFETIME);
        }
        if kept.len() >= MAX_ANSWERS && !kept.contains_key(&question) {
            let oldest = kept.iter().min_by_key(|(_, one)| one.at);
            let oldest = oldest.map(|(question, _)| question.clone());
            oldest.and_then(|question| kept.remove(&question));
        }
        let answer = answer.clone();
        kept.insert(question, Kept { answer, at });
    }
}

/// That there is nothing is an answer, too.
fn is_answer(answer: &Answer) -> bool {
    !matches!(answer, Err(DnsError::Failed(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(number: usize) -> Question {
        let name = Name::from_ascii(format!("{number}.test.")).unwrap();
        (name, RecordType::A)
    }

    fn failed() -> Answer {
        Err(DnsError::Failed("SERVFAIL".to_owned()))
    }

    #[tokio::test]
    async fn the_last_answer_counts_where_name_servers_fail() {
        let memory = Recall::default();
        let nothing = || Err(DnsError::NotFound);
        assert_eq!(
            memory.or_last(question(1), async { failed() }).await,
            failed()
        );
        for answer in [Ok(Vec::new()), nothing()] {
            let fresh = memory.afresh();
            assert_eq!(
                fresh.or_last(question(1), async { answer.clone() }).await,
                answer
            );
            assert!(!fresh.was_used());
            assert_eq!(fresh.or_last(question(1), async { failed() }).await, answer);
            assert!(fresh.was_used() && !memory.was_used());
            let at_once = fresh.or_last(question(1), std::future::pending());
            assert_eq!(at_once.await, answer);
        }
    }

    #[test]
    fn answers_are_bounded_in_time_and_number() {
        let memory = Recall::default();
        let begin = Instant::now();
        let second = Duration::from_secs(1);
        memory.keep(question(0), &Ok(Vec::new()), begin);
        memory.keep(question(1), &failed(), begin);
        assert_eq!(
            memory.last(&question(0), begin + LIFETIME - second),
            Some(Ok(Vec::new()))
        );
        assert_eq!(memory.last(&question(0), begin + LIFETIME), None);
        assert_eq!(memory.last(&question(1), begin), None);
        for number in 0..MAX_ANSWERS {
            let at = begin + second + Duration::from_millis(u64::try_from(number).unwrap());
            memory.keep(question(number + 2), &Ok(Vec::new()), at);
        }
        assert_eq!(memory.kept.lock().len(), MAX_ANSWERS);
        assert_eq!(memory.last(&question(0), begin), None, "the oldest went");
    }
}
