//! What a run tells its reader.

use std::collections::BTreeMap;
use std::io::Write;

/// Why a vector may fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Listed {
    /// The gateway does not do it yet.
    NotYet,
    /// The gateway does something else on purpose. No vector that must pass can be listed so.
    Deviation,
}

/// How one vector went.
pub(crate) struct Outcome<'a> {
    pub(crate) id: &'a str,
    pub(crate) title: &'a str,
    pub(crate) strength: &'a str,
    pub(crate) requirements: &'a [String],
    /// It is listed.
    pub(crate) listed: Option<Listed>,
    pub(crate) result: Result<(), String>,
}

/// All outcomes.
#[derive(Default)]
pub(crate) struct Report<'a> {
    outcomes: Vec<Outcome<'a>>,
    /// Listed ids that no vector has.
    pub(crate) unknown: Vec<String>,
}

/// Writes a line. A reader who has gone away is no failure.
pub(crate) fn say(line: &str) {
    _ = writeln!(std::io::stdout(), "{line}");
}

impl<'a> Report<'a> {
    pub(crate) fn add(&mut self, outcome: Outcome<'a>) {
        self.outcomes.push(outcome);
    }

    fn passed(&self) -> usize {
        self.outcomes
            .iter()
            .filter(|outcome| outcome.result.is_ok())
            .count()
    }

    /// Failures that the list does not explain.
    fn failures(&self) -> impl Iterator<Item = (&Outcome<'a>, &String)> {
        let failed = self
            .outcomes
            .iter()
            .filter_map(|o| o.result.as_ref().err().map(|why| (o, why)));
        failed.filter(|(outcome, _)| match outcome.listed {
            Some(Listed::NotYet) => false,
            Some(Listed::Deviation) => outcome.strength == "MUST",
            None => true,
        })
    }

    /// Listed vectors that pass all the same.
    fn outdated(&self) -> impl Iterator<Item = &Outcome<'a>> {
        self.outcomes
            .iter()
            .filter(|outcome| outcome.listed.is_some() && outcome.result.is_ok())
    }

    /// Whether the run is a success; `exact` asks for an exact list too.
    pub(crate) fn is_good(&self, exact: bool) -> bool {
        let exact_list = self.outdated().next().is_none() && self.unknown.is_empty();
        self.failures().next().is_none() && (exact_list || !exact) && !self.outcomes.is_empty()
    }

    /// By requirement, in total, and each failure.
    pub(crate) fn print(&self, exact: bool) {
        let mut by_requirement: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
        for outcome in &self.outcomes {
            for requirement in outcome.requirements {
                let (passed, failed) = by_requirement.entry(requirement).or_default();
                *(if outcome.result.is_ok() {
                    passed
                } else {
                    failed
                }) += 1;
            }
        }
        for (requirement, (passed, failed)) in &by_requirement {
            say(&format!(
                "{requirement:<12} passed {passed:>3}  failed {failed:>3}"
            ));
        }
        let (total, passed) = (self.outcomes.len(), self.passed());
        let failing = |listed: Listed| {
            let outcomes = self.outcomes.iter();
            let failing = outcomes.filter(|o| o.listed == Some(listed) && o.result.is_err());
            failing.count()
        };
        say(&format!(
            "vectors: {passed} of {total} passed, {} listed as not yet, {} as deviations",
            failing(Listed::NotYet),
            failing(Listed::Deviation),
        ));
        for (outcome, why) in self.failures() {
            say(&format!(
                "FAILED {} ({}) {}\n    {why}",
                outcome.id, outcome.strength, outcome.title
            ));
        }
        if exact {
            for outcome in self.outdated() {
                say(&format!("PASSES, take it off the list: {}", outcome.id));
            }
            for id in &self.unknown {
                say(&format!("LISTED, but no such vector: {id}"));
            }
        }
    }
}
