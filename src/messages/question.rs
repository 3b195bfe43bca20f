//! The arguments of `stoxgate messages`, and what they ask of the ledger.

use std::time::Duration;

use clap::{Args, ValueEnum};
use jiff::tz::TimeZone;
use stox_core::address::{Jid, canonical_domain};
use stox_core::vocab::{Outcome, Party, Way};

use crate::config::domain_name;
use crate::store::Filter;

use super::when::When;

/// Which messages, and how to show them.
#[derive(Debug, Clone, Args)]
pub struct Question {
    /// Messages from or to this user: a JID or a SIP URI, of either world.
    #[arg(long, value_parser = user)]
    pub address: Option<User>,
    /// Messages from or to users of this domain.
    #[arg(long, value_name = "DOMAIN", value_parser = partner)]
    pub partner: Option<String>,
    /// How they ended: unknown, taken, failed, delivered, displayed; several with commas.
    #[arg(long, value_name = "OUTCOMES", value_delimiter = ',', value_parser = outcome)]
    pub outcome: Vec<Outcome>,
    /// Which way they went: to-sip or to-xmpp.
    #[arg(long, value_parser = way)]
    pub direction: Option<Way>,
    /// Not older than this: 2h, 7d, 2026-11-25, 2026-11-25T10:00 (local time).
    #[arg(long, value_name = "TIME", value_parser = when)]
    pub since: Option<When>,
    /// Older than this.
    #[arg(long, value_name = "TIME", value_parser = when)]
    pub until: Option<When>,
    /// The last so many; 0 shows all.
    #[arg(long, default_value_t = 50)]
    pub limit: u64,
    /// Go on and show what comes, and what becomes known later.
    #[arg(long, conflicts_with = "until")]
    pub follow: bool,
    /// table for people; json (a document a line) and csv for programs.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub format: Format,
}

/// The form of the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Aligned columns.
    Table,
    /// One JSON document a line.
    Json,
    /// Comma-separated values with a head line (RFC 4180).
    Csv,
}

/// A user as the ledger knows him, in the spelling of either world.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    xmpp: String,
    sip: String,
}

impl Question {
    /// What to ask the ledger.
    #[must_use]
    pub fn filter(&self, now: Duration) -> Filter {
        let at = |when: Option<When>| when.map(|when| when.resolve(now));
        let user = self.address.as_ref();
        Filter {
            user: user.map(|user| (user.xmpp.clone(), user.sip.clone())),
            domain: self.partner.clone(),
            outcomes: self.outcome.clone(),
            way: self.direction,
            since: at(self.since),
            until: at(self.until),
            known_since: None,
        }
    }

    /// How many entries at most.
    #[must_use]
    pub fn at_most(&self) -> u64 {
        if self.limit == 0 {
            u64::MAX
        } else {
            self.limit
        }
    }
}

fn user(text: &str) -> Result<User, String> {
    let party = party(text.trim()).ok_or_else(|| {
        format!("`{text}` is no address; write a JID such as o\\27neil@jabber.org, or a SIP URI such as sip:o'neil@example.com")
    })?;
    let named = match &party {
        Party::Jid(jid) => jid.local.is_some(),
        Party::Sip(address) => address.user.is_some(),
    };
    if named {
        Ok(User {
            xmpp: party.xmpp(),
            sip: party.sip(),
        })
    } else {
        Err(format!(
            "`{text}` names a domain, not a user; write --partner {text}"
        ))
    }
}

/// An address without a scheme is a JID where it can be one, and a SIP address where it cannot.
fn party(text: &str) -> Option<Party> {
    let sip = |text: &str| {
        stox_sip::adapt::address::from_text(text)
            .ok()
            .map(Party::Sip)
    };
    let scheme = text
        .split_once(':')
        .map(|(scheme, _)| scheme.to_ascii_lowercase());
    match scheme.as_deref() {
        Some("sip" | "sips" | "im" | "pres") => sip(text),
        Some("xmpp") => Jid::from_uri(text).ok().map(Party::Jid),
        _ => {
            let jid = text.parse::<Jid>().ok().map(Party::Jid);
            jid.or_else(|| sip(&format!("sip:{text}")))
        }
    }
}

fn partner(text: &str) -> Result<String, String> {
    domain_name(text.trim()).map(|name| canonical_domain(&name))
}

fn outcome(text: &str) -> Result<Outcome, String> {
    let found = Outcome::ALL
        .into_iter()
        .find(|outcome| outcome.name() == text.trim().to_ascii_lowercase());
    found.ok_or_else(|| unknown(text, &Outcome::ALL.map(Outcome::name)))
}

fn way(text: &str) -> Result<Way, String> {
    let found = Way::ALL
        .into_iter()
        .find(|way| way.name() == text.trim().to_ascii_lowercase());
    found.ok_or_else(|| unknown(text, &Way::ALL.map(Way::name)))
}

fn unknown(text: &str, words: &[&str]) -> String {
    format!("`{text}` is none of {}", words.join(", "))
}

fn when(text: &str) -> Result<When, String> {
    When::parse(text, &TimeZone::system())
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(Debug, clap::Parser)]
    struct Line {
        #[command(flatten)]
        question: Question,
    }

    fn ask(arguments: &[&str]) -> Result<Question, String> {
        let line = std::iter::once("messages").chain(arguments.iter().copied());
        Line::try_parse_from(line)
            .map(|line| line.question)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn one_user_has_many_spellings() {
        let expected = User {
            xmpp: "o\\27neil@ocs.example.com".to_owned(),
            sip: "sip:o'neil@ocs.example.com".to_owned(),
        };
        for text in [
            "SIP:O'Neil@OCS.example.com",
            "sip:o%27neil@ocs.example.com;transport=tls",
            "sips:o'neil@ocs.example.com",
            "o\\27neil@ocs.example.com",
            "O\\27Neil@OCS.example.com/desk",
            "o'neil@ocs.example.com",
            "xmpp:o%5C27neil@ocs.example.com",
        ] {
            assert_eq!(user(text), Ok(expected.clone()), "{text}");
        }
    }

    #[test]
    fn wrong_arguments_say_what_is_right() {
        let rows: [(&[&str], &str); 6] = [
            (&["--address", "ocs.example"], "write --partner ocs.example"),
            (&["--address", "a@b@c"], "write a JID such as"),
            (&["--partner", "a b"], "write one such as example.org"),
            (
                &["--outcome", "failed,lost"],
                "`lost` is none of unknown, taken, failed, delivered, displayed",
            ),
            (&["--direction", "up"], "`up` is none of to-sip, to-xmpp"),
            (&["--since", "soon"], "write how long ago (30m, 2h, 7d)"),
        ];
        for (arguments, words) in rows {
            let error = ask(arguments).unwrap_err();
            assert!(error.contains(words), "{words} in {error}");
        }
    }

    #[test]
    fn arguments_become_a_filter() {
        let question = ask(&[
            "--partner",
            "Jabber.Example",
            "--outcome",
            "failed,unknown",
            "--direction",
            "to-sip",
            "--since",
            "2h",
            "--limit",
            "0",
        ])
        .unwrap();
        assert_eq!(question.at_most(), u64::MAX);
        let expected = Filter {
            domain: Some("jabber.example".to_owned()),
            outcomes: vec![Outcome::Failed, Outcome::Unknown],
            way: Some(Way::ToSip),
            since: Some(Duration::from_secs(2800)),
            ..Filter::default()
        };
        assert_eq!(question.filter(Duration::from_secs(10_000)), expected);
    }
}
