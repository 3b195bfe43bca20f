//! What the reader of the demo sees: what crossed on each wire, and which expectations were met.

use std::fmt;
use std::io::{IsTerminal as _, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

/// Width of the XMPP column in characters.
const LEFT: usize = 51;
/// Width of the SIP column in characters.
const RIGHT: usize = 50;

/// Which wire a message crossed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wire {
    /// Between jabber.test and the gateway.
    Xmpp,
    /// Between ocs.test and the gateway.
    Sip,
}

/// Which way it went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// From the peer to the gateway.
    ToGateway,
    /// From the gateway to the peer.
    FromGateway,
}

/// An expectation that was not met.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) struct Failure {
    /// What should have happened.
    pub(super) expected: String,
    /// What happened instead, one thing a line.
    pub(super) saw: Vec<String>,
}

impl Failure {
    pub(super) fn new(expected: impl Into<String>, saw: impl fmt::Display) -> Self {
        Self {
            expected: expected.into(),
            saw: vec![saw.to_string()],
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected {}, saw ", self.expected)?;
        if self.saw.is_empty() {
            write!(f, "nothing")
        } else {
            write!(f, "{}", self.saw.join("; "))
        }
    }
}

/// Prints as things happen; lines of different tasks do not mix.
pub(super) struct Ladder {
    full: bool,
    colour: bool,
    tally: Mutex<Tally>,
    muted: AtomicBool,
}

#[derive(Default)]
struct Tally {
    sections: usize,
    met: usize,
    failures: Vec<String>,
}

impl Ladder {
    /// `full`: messages are printed whole below their summaries.
    pub(super) fn new(full: bool) -> Self {
        Self {
            full,
            colour: std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none(),
            tally: Mutex::default(),
            muted: AtomicBool::new(false),
        }
    }

    /// Plain text.
    pub(super) fn say(&self, text: &str) {
        // Whoever closed our output does not want the rest of it.
        _ = writeln!(std::io::stdout().lock(), "{text}");
    }

    /// Begins a step of the story.
    pub(super) fn section(&self, title: &str) {
        let number = {
            let mut tally = self.tally.lock();
            tally.sections += 1;
            tally.sections
        };
        let heading = self.paint("1", &format!("{number}. {title}"));
        let columns = format!(
            "{:<LEFT$}      gateway      SIP (ocs.test)",
            "XMPP (jabber.test)"
        );
        self.say(&format!("\n{heading}\n  {}", self.paint("2", &columns)));
    }

    /// The story is over: what crosses from now on is not printed.
    pub(super) fn mute(&self) {
        self.muted.store(true, Ordering::Relaxed);
    }

    /// A message has crossed.
    pub(super) fn crossed(&self, wire: Wire, way: Way, summary: &str, message: &str) {
        if self.muted.load(Ordering::Relaxed) {
            return;
        }
        let line = row(wire, way, summary);
        if self.full {
            let indent = match wire {
                Wire::Xmpp => "      ".to_owned(),
                Wire::Sip => " ".repeat(LEFT + 22),
            };
            let body: String = message
                .trim_end()
                .lines()
                .map(|line| format!("\n{indent}{line}"))
                .collect();
            self.say(&format!("{line}{}", self.paint("2", &body)));
        } else {
            self.say(&line);
        }
    }

    /// Something happens to the gateway itself.
    pub(super) fn event(&self, text: &str) {
        let padding = (LEFT + 13).saturating_sub(text.chars().count() / 2);
        let line = format!("{}[ {text} ]", " ".repeat(padding));
        self.say(&self.paint("33", &line));
    }

    /// An expectation and its outcome.
    pub(super) fn check<T>(&self, what: &str, outcome: Result<T, Failure>) -> Result<T, Failure> {
        match &outcome {
            Ok(_) => {
                self.tally.lock().met += 1;
                self.say(&format!("    {} {what}", self.paint("32", "✔")));
            }
            Err(failure) => {
                self.say(&format!("    {} {what}: {failure}", self.paint("31", "✘")));
                self.tally
                    .lock()
                    .failures
                    .push(format!("{what}: {failure}"));
            }
        }
        outcome
    }

    /// A failure outside the expectations, such as a gateway that does not start.
    pub(super) fn fail(&self, what: String) {
        self.say(&format!("    {} {what}", self.paint("31", "✘")));
        self.tally.lock().failures.push(what);
    }

    /// Whether anything has failed so far.
    pub(super) fn has_failed(&self) -> bool {
        !self.tally.lock().failures.is_empty()
    }

    /// The last line. `true`: every expectation was met.
    pub(super) fn verdict(&self, seconds: f64) -> bool {
        let tally = self.tally.lock();
        let good = tally.failures.is_empty() && tally.met > 0;
        let met = tally.met;
        if good {
            let text = format!("All {met} expectations were met, in {seconds:.1} s.");
            self.say(&format!("\n{}", self.paint("1;32", &text)));
        } else {
            let count = tally.failures.len();
            let text =
                format!("FAILED: {met} expectations were met, {count} not ({seconds:.1} s):");
            self.say(&format!("\n{}", self.paint("1;31", &text)));
            for failure in &tally.failures {
                self.say(&format!("  {failure}"));
            }
        }
        good
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.colour {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}

/// One line of the ladder.
fn row(wire: Wire, way: Way, summary: &str) -> String {
    let (left, right) = match (wire, way) {
        (Wire::Xmpp, Way::ToGateway) => ("────▶", "     "),
        (Wire::Xmpp, Way::FromGateway) => ("◀────", "     "),
        (Wire::Sip, Way::ToGateway) => ("     ", "◀────"),
        (Wire::Sip, Way::FromGateway) => ("     ", "────▶"),
    };
    let (xmpp, sip) = match wire {
        Wire::Xmpp => (fit(summary, LEFT), String::new()),
        Wire::Sip => (String::new(), fit(summary, RIGHT)),
    };
    let line = format!("  {xmpp:<LEFT$} {left} │     │ {right} {sip}");
    line.trim_end().to_owned()
}

/// Cuts a summary to its column.
fn fit(text: &str, width: usize) -> String {
    let one_line = text.replace(['\r', '\n'], " ");
    if one_line.chars().count() <= width {
        return one_line;
    }
    let mut cut: String = one_line.chars().take(width.saturating_sub(1)).collect();
    cut.push('…');
    cut
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_wire_has_its_column_and_each_way_its_arrow() {
        let left = row(Wire::Xmpp, Way::ToGateway, "<presence>");
        assert!(left.starts_with("  <presence>"), "{left}");
        assert!(left.ends_with("────▶ │     │"), "{left}");
        let right = row(Wire::Sip, Way::FromGateway, "NOTIFY");
        assert!(right.trim_start().starts_with('│'), "{right}");
        assert!(right.ends_with("────▶ NOTIFY"), "{right}");
        let back = row(Wire::Sip, Way::ToGateway, "200 OK");
        assert!(back.ends_with("◀──── 200 OK"), "{back}");
    }

    #[test]
    fn long_summaries_are_cut_to_the_column() {
        let long = "é".repeat(LEFT + 1);
        assert_eq!(fit(&long, LEFT).chars().count(), LEFT);
        assert_eq!(fit("a\r\nb", LEFT), "a  b");
    }

    #[test]
    fn nothing_checked_is_not_success() {
        let ladder = Ladder::new(false);
        assert!(!ladder.verdict(0.0));
        assert!(ladder.check("something", Ok(())).is_ok());
        assert!(ladder.verdict(0.0));
        assert!(
            ladder
                .check::<()>("more", Err(Failure::new("a", "b")))
                .is_err()
        );
        assert!(!ladder.verdict(0.0));
    }
}
