//! Figures for docs/security.md, where `STOX_HOSTILE_REPORT` names a file for them.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::time::Duration;

/// Whether somebody wants figures.
pub(crate) fn is_wanted() -> bool {
    std::env::var_os("STOX_HOSTILE_REPORT").is_some()
}

/// Adds to the file; tests run side by side.
pub(crate) fn add(text: &str) {
    if let Some(file) = std::env::var_os("STOX_HOSTILE_REPORT") {
        let mut file = fs::OpenOptions::new()
            .append(true)
            .create(true)
            .open(file)
            .unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }
}

/// Memory of a process in KiB: `VmRSS` now, `VmHWM` at most so far.
pub(crate) fn memory(process: u32, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Time that the threads of a process have had a processor.
fn processor(process: u32) -> Duration {
    let threads = fs::read_dir(format!("/proc/{process}/task")).unwrap();
    // A thread may have ended meanwhile.
    let times = threads.flatten().filter_map(|thread| {
        let times = fs::read_to_string(thread.path().join("schedstat")).ok()?;
        times.split(' ').next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(times.sum())
}

/// What became of the files of the corpus on one way in.
pub(crate) struct Tally {
    process: u32,
    way: String,
    before: u64,
    processor: Duration,
    longest: Duration,
    files: usize,
    verdicts: BTreeMap<String, usize>,
}

impl Tally {
    pub(crate) fn start(process: u32, way: &str) -> Self {
        Self {
            process,
            way: way.to_owned(),
            before: memory(process, "VmRSS"),
            processor: processor(process),
            longest: Duration::ZERO,
            files: 0,
            verdicts: BTreeMap::new(),
        }
    }

    /// A file has been played, with these verdicts, and the gateway has answered somebody else after it.
    pub(crate) fn played(&mut self, verdicts: &[String]) {
        let now = processor(self.process);
        self.longest = self.longest.max(now.saturating_sub(self.processor));
        self.processor = now;
        self.files += 1;
        let verdict = verdicts.first().map_or("nothing said", String::as_str);
        *self.verdicts.entry(verdict.to_owned()).or_default() += 1;
    }

    /// One row of a table.
    pub(crate) fn end(self) {
        let mut verdicts: Vec<(usize, String)> = self
            .verdicts
            .into_iter()
            .map(|(verdict, count)| (count, verdict))
            .collect();
        verdicts.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
        let verdicts: Vec<String> = verdicts
            .into_iter()
            .map(|(count, verdict)| format!("{count} {verdict}"))
            .collect();
        let mebi = |name: &str| memory(self.process, name) / 1024;
        add(&format!(
            "| {} | {} | {} | {} | {} | {} | {} |\n",
            self.way,
            self.files,
            verdicts.join(", "),
            self.longest.as_millis(),
            self.before / 1024,
            mebi("VmHWM"),
            mebi("VmRSS"),
        ));
    }
}
