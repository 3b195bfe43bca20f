//! What holds whatever a peer says in and around IM sessions: each message has one outcome, and nothing is left.
//!
//! The octets are messages of bruno's with a line `%%` between them. `%tag%` stands for our tag in what was answered last;
//! `%via%`, `%from%`, `%call%` and `%cseq%` for the fields of the request that we sent last.

use crate::agent::session::{im, ocs, sends};
use crate::agent::{Agent, Fields, Sent};
use stox_core::vocab::{SipIn, SipOut};
use stox_sip::dialect::Overrides;
use stox_sip::header::{HeaderValue, NameAddr};
use stox_sip::message::Message;
use stox_sip::ua::Status;

/// Seconds after which nobody waits for anything.
const LONG: u64 = 2000;
/// Messages that are heard at most.
const MOST: usize = 40;

/// What stands for something that was said.
#[derive(Default)]
pub(crate) struct Words {
    tag: String,
    via: String,
    from: String,
    call: String,
    cseq: String,
}

pub(crate) fn check(octets: &[u8]) {
    let text = String::from_utf8_lossy(octets);
    let mut agent = ocs(Overrides::default());
    let mut words = Words::default();
    let mut outcomes = 0;
    sends(&mut agent, 1, im("hello", Some("t-1")));
    for message in text.split("%%\n").take(MOST) {
        words.look(&agent.said());
        agent.hears(&words.filled(message));
        outcomes += bridge(&mut agent);
    }
    for _ in 0..LONG / 20 {
        agent.passes_seconds(20);
        outcomes += bridge(&mut agent);
    }
    assert_eq!(outcomes, 1);
    assert_eq!(agent.ua.status(), Status::default());
    assert!(agent.ua.is_empty());
}

/// Takes what the bridge is told, answers it, and counts the outcomes.
fn bridge(agent: &mut Agent) -> usize {
    let mut outcomes = 0;
    while let Some(input) = agent.ua.poll_input() {
        match input {
            SipIn::Message { reference, .. } => {
                let outcome = Ok(());
                agent.does(SipOut::AnswerMessage { reference, outcome });
            }
            SipIn::Outcome { .. } => outcomes += 1,
            SipIn::Watcher { reference, event } => {
                use stox_core::failure::{Failure, Local};
                if matches!(event, stox_core::vocab::WatcherEvent::Arrived { .. }) {
                    let failure = Failure::Local(Local::ShuttingDown);
                    agent.does(SipOut::RefuseWatcher { reference, failure });
                }
            }
            _ => {}
        }
    }
    outcomes
}

impl Words {
    /// Takes the fields of what was said.
    pub(crate) fn look(&mut self, said: &[Sent]) {
        for sent in said {
            match &sent.message {
                Message::Request(request) => {
                    self.via = request.field("Via").to_owned();
                    self.from = request.field("From").to_owned();
                    self.call = request.field("Call-ID").to_owned();
                    self.cseq = request.field("CSeq").to_owned();
                }
                Message::Response(response) => {
                    let to = NameAddr::parse(response.field("To")).ok();
                    let tag = to.and_then(|to| to.tag().map(str::to_owned));
                    self.tag = tag.unwrap_or_default();
                }
            }
        }
    }

    /// A message with the fields in their places.
    pub(crate) fn filled(&self, message: &str) -> String {
        [
            ("%tag%", &self.tag),
            ("%via%", &self.via),
            ("%from%", &self.from),
            ("%call%", &self.call),
            ("%cseq%", &self.cseq),
        ]
        .into_iter()
        .fold(message.to_owned(), |text, (name, value)| {
            text.replace(name, value)
        })
    }
}
