//! The bridge from outside: inputs and the commands that they must lead to, on virtual time, with nothing left over.

use crate::address::{Jid, Scheme, SipAddress};
use crate::failure::{Condition, Failure, SipStatus, StanzaError, to_sip};
use crate::policy::{DomainPattern, Policy, SipDomain};
use crate::time::SeededEntropy;
use crate::vocab::{
    About, Document, EndReason, Fate, Im, PresenceKind, Ref, ResourcePresence, Show, SipOut,
    StoreOut, SubscriptionEvent, Text, Trace, Tuple, WatcherEvent, WatcherState, XmppOut,
};

use super::*;

// The fuzz target `bridge` takes in this file and that one; from there, too, this path is right.
#[path = "tests/chaos.rs"]
pub(crate) mod chaos;
#[cfg(test)]
mod ledger;
#[cfg(test)]
mod messages;
#[cfg(test)]
mod receipts;
#[cfg(test)]
mod watchers;
#[cfg(test)]
mod watching;

const ALMA: &str = "alma@jabber.example";
const BRUNO: &str = "bruno@ocs.example";

/// A bridge and its clock.
struct World {
    bridge: Bridge,
    now: Now,
    /// What was written in the ledger.
    ledger: Vec<String>,
}

impl World {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = Settings {
            policy: Policy::new([SipDomain {
                name: "ocs.example".to_owned(),
                allowed: vec![DomainPattern::parse("jabber.example")],
            }]),
            ..Settings::default()
        };
        change(&mut settings);
        Self {
            bridge: Bridge::new(settings, Box::new(SeededEntropy(7))),
            now: Now::default(),
            ledger: Vec::new(),
        }
    }

    /// All commands that wait, in words, but for those to the ledger.
    fn drain(&mut self) -> Vec<String> {
        let mut commands = Vec::new();
        while let Some(command) = self.bridge.poll_command() {
            match &command {
                Command::Store(StoreOut::Record(_) | StoreOut::Amend(_)) => {
                    self.ledger.push(words(&command));
                }
                _ => commands.push(words(&command)),
            }
        }
        commands
    }

    /// Gives one input and expects exactly these commands.
    fn expect(&mut self, input: Input, commands: &[&str]) {
        let shown = format!("{input:?}");
        self.bridge.handle(input, self.now);
        assert_eq!(self.drain(), commands, "after {shown}");
    }

    /// Lets time pass, timer by timer, and expects exactly these commands.
    fn pass(&mut self, seconds: u64, commands: &[&str]) {
        let end = self.now.mono + Duration::from_secs(seconds);
        while let Some(at) = self.bridge.poll_timeout().filter(|at| *at <= end) {
            self.now = self.now.after(at.saturating_sub(self.now.mono));
            self.bridge.handle_timeout(self.now);
        }
        self.now = self.now.after(end - self.now.mono);
        assert_eq!(self.drain(), commands, "in {seconds} s");
    }

    /// Nothing is under way and no timer runs.
    fn is_settled(&mut self) {
        assert_eq!(self.bridge.poll_timeout(), None);
        assert_eq!(self.drain(), Vec::<String>::new());
        let status = self.bridge.status();
        assert_eq!((status.messages_to_sip, status.messages_to_xmpp), (0, 0));
    }

    /// The states of both machines and the authorisations that the store should hold.
    fn holds(&self, watching: &[&str], watched: &[&str]) {
        let status = self.bridge.status();
        assert_eq!(Vec::from_iter(status.watching.keys().copied()), watching);
        assert_eq!(Vec::from_iter(status.watched.keys().copied()), watched);
    }
}

fn jid(text: &str) -> Jid {
    Jid::parse(text).unwrap()
}

fn sip(user_at_host: &str) -> SipAddress {
    let (user, host) = match user_at_host.split_once('@') {
        Some((user, host)) => (Some(user.to_owned()), host),
        None => (None, user_at_host),
    };
    SipAddress {
        scheme: Scheme::Sip,
        user,
        host: host.to_owned(),
        gr: None,
    }
}

fn body(text: &str) -> Text {
    Text {
        lang: None,
        text: text.to_owned(),
    }
}

fn im(id: &str, text: &str) -> Im {
    Im {
        id: (!id.is_empty()).then(|| id.to_owned()),
        bodies: vec![body(text)],
        ..Im::default()
    }
}

fn presence(from: &str, kind: PresenceKind) -> Input {
    Input::Xmpp(XmppIn::Presence {
        from: jid(from),
        to: jid(BRUNO),
        id: Some("p1".to_owned()),
        trace: Trace::default(),
        kind,
    })
}

fn available(show: Option<Show>) -> PresenceKind {
    PresenceKind::Available(ResourcePresence {
        show,
        ..ResourcePresence::default()
    })
}

fn unavailable() -> PresenceKind {
    PresenceKind::Unavailable(vec![])
}

fn presence_error(from: &str, condition: Condition) -> Input {
    Input::Xmpp(XmppIn::PresenceError {
        from: jid(from),
        to: jid(BRUNO),
        error: StanzaError::new(condition),
    })
}

fn subscription(reference: u64, event: SubscriptionEvent) -> Input {
    Input::Sip(SipIn::Subscription {
        reference: Ref(reference),
        event,
    })
}

fn active(tuples: &[(&str, bool)]) -> SubscriptionEvent {
    SubscriptionEvent::Active(Some(document(tuples)))
}

fn ended(reason: EndReason, retry_after: Option<u64>) -> SubscriptionEvent {
    SubscriptionEvent::Ended {
        reason,
        retry_after: retry_after.map(Duration::from_secs),
        document: None,
    }
}

fn refused(code: u16) -> SubscriptionEvent {
    SubscriptionEvent::Refused(Failure::Sip(SipStatus::new(code, "")))
}

fn watcher(reference: u64, event: WatcherEvent) -> Input {
    Input::Sip(SipIn::Watcher {
        reference: Ref(reference),
        event,
    })
}

fn arrived(poll: bool) -> WatcherEvent {
    WatcherEvent::Arrived {
        trace: Trace::default(),
        watcher: sip(BRUNO),
        presentity: sip(ALMA),
        poll,
    }
}

fn document(tuples: &[(&str, bool)]) -> Document {
    let tuples = tuples.iter().map(|(id, open)| Tuple {
        id: (*id).to_owned(),
        open: Some(*open),
        ..Tuple::default()
    });
    Document {
        tuples: tuples.collect(),
        ..Document::default()
    }
}

fn words(command: &Command) -> String {
    match command {
        Command::Xmpp(out) => xmpp_words(out),
        Command::Sip(out) => sip_words(out),
        Command::Store(StoreOut::Put { pair, grant }) => {
            format!("put {} {grant:?}", pair_words(pair))
        }
        Command::Store(StoreOut::Remove(pair)) => format!("remove {}", pair_words(pair)),
        Command::Store(StoreOut::Keep(message)) => format!("keep {}", message.reference.0),
        Command::Store(StoreOut::Settle(reference)) => format!("settle {}", reference.0),
        Command::Store(StoreOut::Learn(lesson)) => format!("learn {}", lesson.domain),
        Command::Store(StoreOut::Record(entry)) => format!(
            "{} {} {} {} {} {}",
            entry.number.0,
            entry.way.name(),
            entry.xmpp.xmpp(),
            entry.sip.sip(),
            entry.id.as_deref().unwrap_or("-"),
            fate_words(&entry.fate)
        ),
        Command::Store(StoreOut::Amend(amendment)) => {
            format!("{} {}", amendment.number.0, fate_words(&amendment.fate))
        }
    }
}

fn fate_words(fate: &Fate) -> String {
    let reason = fate
        .reason
        .as_ref()
        .map(|reason| format!(" {} {}", reason.by.name(), reason.code));
    format!("{}{}", fate.outcome.name(), reason.unwrap_or_default())
}

fn pair_words(pair: &Pair) -> String {
    match pair.direction {
        Direction::XmppWatchesSip => format!("{} -> {}", pair.xmpp, pair.sip),
        Direction::SipWatchesXmpp => format!("{} -> {}", pair.sip, pair.xmpp),
    }
}

fn xmpp_words(out: &XmppOut) -> String {
    match out {
        XmppOut::Message {
            reference,
            from,
            to,
            im,
        } => {
            let id = im.id.as_deref().unwrap_or("-");
            format!("{from} > {to} message {} {id}", reference.0)
        }
        XmppOut::MessageError {
            reference,
            from,
            to,
            id,
            error,
        } => {
            let id = id.as_deref().unwrap_or("-");
            let condition = error.condition.name();
            format!("{from} > {to} error {id} {condition} as {}", reference.0)
        }
        XmppOut::Receipt {
            from,
            to,
            id,
            receipt,
            ..
        } => format!("{from} > {to} {receipt:?} {id}"),
        XmppOut::ChatState {
            from, to, state, ..
        } => format!("{from} > {to} {state:?}"),
        XmppOut::Presence { from, to, kind, .. } => format!("{from} > {to} {}", kind_words(kind)),
        XmppOut::PresenceError {
            from,
            to,
            id,
            error,
        } => {
            let id = id.as_deref().unwrap_or("-");
            format!(
                "{from} > {to} presence-error {id} {}",
                error.condition.name()
            )
        }
        XmppOut::Muc(out) => panic!("about a room: {out:?}"),
    }
}

fn kind_words(kind: &PresenceKind) -> String {
    match kind {
        PresenceKind::Available(presence) => match presence.show {
            Some(show) => format!("available {show:?}"),
            None => "available".to_owned(),
        },
        PresenceKind::Unavailable(_) => "unavailable".to_owned(),
        PresenceKind::Subscribe => "subscribe".to_owned(),
        PresenceKind::Subscribed => "subscribed".to_owned(),
        PresenceKind::Unsubscribe => "unsubscribe".to_owned(),
        PresenceKind::Unsubscribed => "unsubscribed".to_owned(),
        PresenceKind::Probe => "probe".to_owned(),
    }
}

fn sip_words(out: &SipOut) -> String {
    let code = |failure: &Failure| to_sip(failure).code;
    match out {
        SipOut::Message {
            reference,
            from,
            to,
            ..
        } => format!("MESSAGE {} {from} > {to}", reference.0),
        SipOut::ChatState {
            from, to, state, ..
        } => format!("{state:?} {from} > {to}"),
        SipOut::Receipt { reference, receipt } => format!("{receipt:?} {}", reference.0),
        SipOut::AnswerMessage { reference, outcome } => {
            let code = outcome.as_ref().map_or_else(code, |()| 200);
            format!("answer {} {code}", reference.0)
        }
        SipOut::Subscribe {
            reference,
            watcher,
            presentity,
            poll,
            ..
        } => {
            let method = if *poll { "POLL" } else { "SUBSCRIBE" };
            format!("{method} {} {watcher} > {presentity}", reference.0)
        }
        SipOut::Unsubscribe { reference } => format!("UNSUBSCRIBE {}", reference.0),
        SipOut::AcceptWatcher { reference } => format!("accept {}", reference.0),
        SipOut::RefuseWatcher { reference, failure } => {
            format!("refuse {} {}", reference.0, code(failure))
        }
        SipOut::Notify {
            reference,
            state,
            document,
        } => {
            let state = match state {
                WatcherState::Pending => "pending".to_owned(),
                WatcherState::Active => "active".to_owned(),
                WatcherState::Terminated {
                    reason,
                    retry_after,
                } => match retry_after {
                    Some(after) => format!("over {reason:?} {}", after.as_secs()),
                    None => format!("over {reason:?}"),
                },
            };
            format!("NOTIFY {} {state}{}", reference.0, document_words(document))
        }
        SipOut::Conference(_) | SipOut::Focus(_) | SipOut::AnswerInvitation { .. } => {
            panic!("about a room: {out:?}")
        }
    }
}

fn document_words(document: &Option<Document>) -> String {
    let tuples = document.iter().flat_map(|document| &document.tuples);
    tuples
        .map(|tuple| {
            let basic = if tuple.open == Some(true) { "+" } else { "-" };
            let show = tuple.show.map(|show| format!("{show:?}"));
            format!(" {}{basic}{}", tuple.id, show.unwrap_or_default())
        })
        .collect()
}
