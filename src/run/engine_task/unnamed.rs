//! SIP domains that no rule names: taken in when DNS has found them, let go when nobody needs them any more.

use std::time::Duration;

use super::EngineTask;

/// Between two looks for domains whose records are over: each look goes through everything that may need one.
const PAUSE: Duration = Duration::from_secs(30);

impl EngineTask {
    /// Serves what has been found, and tells those who wait for it.
    pub(super) fn decide(&mut self) {
        while let Some(decided) = self.streams.poll_decided() {
            let until = self.streams.admit(&decided);
            if until.is_some() {
                self.engine.admit(&decided.domain);
            }
            decided.tell(until);
        }
    }

    /// When [`Self::sweep`] has something to do, in monotonic time.
    pub(super) fn next_sweep(&self) -> Option<Duration> {
        Some(self.streams.next_overdue()?.max(self.swept + PAUSE))
    }

    /// Asks again about domains that are needed though their records are over, and forgets the others.
    pub(super) fn sweep(&mut self) {
        let now = self.clock.now().mono;
        if self.next_sweep().is_none_or(|at| now < at) {
            return;
        }
        self.swept = now;
        let needed = self.engine.sip_domains();
        for domain in self.streams.overdue() {
            if needed.contains(&domain) {
                self.streams.seek_again(domain);
            } else {
                tracing::info!(
                    domain,
                    "a SIP domain that no rule names is not needed any more and forgotten"
                );
                self.engine.forget(&domain);
                self.streams.forget(&domain);
            }
        }
    }
}
