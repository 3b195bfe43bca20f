//! SIP users who are typing outside sessions: a notice that is not repeated comes to its end (RFC 3994 §3.3).

use std::collections::BTreeMap;
use std::time::Duration;

use stox_core::address::SipAddress;
use stox_core::vocab::{ChatState, SipIn};

use super::effects::Env;
use crate::body::iscomposing::Composing;
use crate::deadlines::Deadlines;

/// Notices that are waited for at one time; others come to no end by themselves.
const MAX_TYPISTS: usize = 10_000;
/// The longest that a notice holds, whatever it says.
const LONGEST: Duration = Duration::from_secs(300);

/// Who types to whom.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Conversation {
    pub(super) from: SipAddress,
    pub(super) to: SipAddress,
}

/// All who type.
#[derive(Debug, Default)]
pub(super) struct Typists {
    numbers: BTreeMap<Conversation, u64>,
    by_number: BTreeMap<u64, Conversation>,
    ends: Deadlines<u64>,
    last: u64,
}

impl Typists {
    /// A notice came: the XMPP user is told (RFC 7573 Table 3), once for each change.
    pub(super) fn heard(
        &mut self,
        conversation: Conversation,
        composing: &Composing,
        env: &mut Env<'_>,
    ) {
        let known = self.wrote(&conversation);
        if !composing.active {
            if known {
                tell(conversation, ChatState::Active, env);
            }
            return;
        }
        let holds = holds(composing, &conversation.from.host, env);
        if self.numbers.len() < MAX_TYPISTS {
            self.last += 1;
            self.ends.set(self.last, env.now.mono + holds);
            self.by_number.insert(self.last, conversation.clone());
            self.numbers.insert(conversation.clone(), self.last);
        }
        if !known {
            tell(conversation, ChatState::Composing, env);
        }
    }

    /// A message came, which ends the typing by itself. Says whether there was any.
    pub(super) fn wrote(&mut self, conversation: &Conversation) -> bool {
        let number = self.numbers.remove(conversation);
        if let Some(number) = number {
            self.ends.clear(number);
            self.by_number.remove(&number);
        }
        number.is_some()
    }

    /// The next timer.
    pub(super) fn next_timeout(&self) -> Option<Duration> {
        self.ends.next()
    }

    /// Ends what was not repeated.
    pub(super) fn handle_timeout(&mut self, env: &mut Env<'_>) {
        while let Some(number) = self.ends.pop_due(env.now.mono) {
            if let Some(conversation) = self.by_number.remove(&number) {
                self.numbers.remove(&conversation);
                tell(conversation, ChatState::Active, env);
            }
        }
    }
}

/// How long a notice of somebody of that domain holds.
pub(super) fn holds(composing: &Composing, domain: &str, env: &Env<'_>) -> Duration {
    let refresh = composing.refresh;
    let holds = refresh.unwrap_or_else(|| env.behaviour(domain).typing_holds);
    holds.min(LONGEST)
}

fn tell(conversation: Conversation, state: ChatState, env: &mut Env<'_>) {
    let Conversation { from, to } = conversation;
    env.tell(SipIn::ChatState {
        from,
        to,
        thread: None,
        state,
    });
}
