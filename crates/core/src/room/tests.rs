//! Rooms from outside, through the bridge: inputs and the commands that they must lead to, on virtual time.

use std::time::Duration;

use crate::address::{Jid, Scheme, SipAddress};
use crate::bridge::{Bridge, Settings};
use crate::failure::{Condition, Failure, Local, SipStatus, StanzaError, to_sip};
use crate::policy::{DomainPattern, Policy, SipDomain};
use crate::time::{Now, SeededEntropy};
use crate::vocab::*;

// The fuzz target `rooms` takes in this file and that one; from there, too, this path is right.
#[path = "tests/chaos.rs"]
pub(crate) mod chaos;
#[cfg(test)]
mod conferences;
#[cfg(test)]
mod guests;
#[cfg(test)]
mod invitations;

const JULIET: &str = "juliet@xmpp.example/balcony";
const ROMEO: &str = "romeo@sip.example";

/// A bridge and its clock.
struct World {
    bridge: Bridge,
    now: Now,
    /// What the ledger has of messages.
    entered: Vec<(Way, Outcome)>,
}

impl World {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let allowed = vec![
            DomainPattern::parse("xmpp.example"),
            DomainPattern::parse("rooms.xmpp.example"),
        ];
        let mut settings = Settings {
            policy: Policy::new(["sip.example", "chat.sip.example"].map(|name| SipDomain {
                name: name.to_owned(),
                allowed: allowed.clone(),
            })),
            ..Settings::default()
        };
        change(&mut settings);
        Self {
            bridge: Bridge::new(settings, Box::new(SeededEntropy(7))),
            now: Now::default(),
            entered: Vec::new(),
        }
    }

    /// All commands that wait, but for those to the store.
    fn drain(&mut self) -> Vec<Command> {
        let mut rest = Vec::new();
        while let Some(command) = self.bridge.poll_command() {
            match command {
                Command::Store(StoreOut::Record(entry)) => {
                    self.entered.push((entry.way, entry.fate.outcome));
                }
                Command::Store(StoreOut::Keep(_) | StoreOut::Settle(_)) => {}
                other => rest.push(other),
            }
        }
        rest
    }

    /// Gives one input and expects exactly these commands.
    fn expect(&mut self, input: Input, commands: &[&str]) {
        let shown = format!("{input:?}");
        self.bridge.handle(input, self.now);
        let words: Vec<String> = self.drain().iter().map(words).collect();
        assert_eq!(words, commands, "after {shown}");
    }

    /// Gives one input and takes what comes.
    fn give(&mut self, input: Input) -> Vec<Command> {
        self.bridge.handle(input, self.now);
        self.drain()
    }

    /// Lets time pass, timer by timer, and expects exactly these commands.
    fn pass(&mut self, seconds: u64, commands: &[&str]) {
        let end = self.now.mono + Duration::from_secs(seconds);
        while let Some(at) = self.bridge.poll_timeout().filter(|at| *at <= end) {
            self.now = self.now.after(at.saturating_sub(self.now.mono));
            self.bridge.handle_timeout(self.now);
        }
        self.now = self.now.after(end.saturating_sub(self.now.mono));
        let words: Vec<String> = self.drain().iter().map(words).collect();
        assert_eq!(words, commands, "in {seconds} s");
    }

    /// Nobody is in a room, nothing is under way and no timer runs.
    fn is_empty(&mut self) {
        assert_eq!(self.bridge.poll_timeout(), None);
        assert!(self.drain().is_empty());
        let status = self.bridge.status();
        let rooms = (status.in_conferences, status.in_rooms, status.room_messages);
        assert_eq!(rooms, (0, 0, 0));
        assert_eq!((status.messages_to_sip, status.messages_to_xmpp), (0, 0));
    }
}

fn jid(text: &str) -> Jid {
    Jid::parse(text).unwrap()
}

/// `user@host`, or `user@host/gr`.
fn sip(text: &str) -> SipAddress {
    let (bare, gr) = match text.split_once('/') {
        Some((bare, gr)) => (bare, Some(gr.to_owned())),
        None => (text, None),
    };
    let (user, host) = bare.split_once('@').unwrap();
    SipAddress {
        scheme: Scheme::Sip,
        user: Some(user.to_owned()),
        host: host.to_owned(),
        gr,
    }
}

fn text(text: &str) -> Text {
    Text {
        lang: None,
        text: text.to_owned(),
    }
}

fn im(kind: ImKind, id: &str, body: &str) -> Im {
    Im {
        kind,
        id: (!id.is_empty()).then(|| id.to_owned()),
        bodies: vec![text(body)],
        ..Im::default()
    }
}

fn person(address: &str, nick: &str) -> Participant {
    Participant {
        address: sip(address),
        nick: (!nick.is_empty()).then(|| nick.to_owned()),
        role: Role::Participant,
    }
}

fn settled(reference: u64, outcome: Result<(), Failure>) -> Input {
    Input::Xmpp(XmppIn::Settled {
        reference: Ref(reference),
        outcome,
    })
}

fn message(from: &str, to: &str, im: Im) -> Input {
    Input::Xmpp(XmppIn::Message {
        from: jid(from),
        to: jid(to),
        im,
    })
}

fn presence(from: &str, to: &str, available: bool) -> Input {
    let kind = if available {
        PresenceKind::Available(ResourcePresence::default())
    } else {
        PresenceKind::Unavailable(Vec::new())
    };
    Input::Xmpp(XmppIn::Presence {
        from: jid(from),
        to: jid(to),
        id: Some("p2".to_owned()),
        trace: Trace::default(),
        kind,
    })
}

fn presence_error(from: &str, to: &str, condition: Condition) -> Input {
    Input::Xmpp(XmppIn::PresenceError {
        from: jid(from),
        to: jid(to),
        error: StanzaError::new(condition),
    })
}

fn code(code: u16) -> Failure {
    Failure::Sip(SipStatus::new(code, ""))
}

// ------------------------------------------------------------------------------- commands in words

fn words(command: &Command) -> String {
    match command {
        Command::Xmpp(out) => xmpp_words(out),
        Command::Sip(SipOut::Conference(out)) => conference_words(out),
        Command::Sip(SipOut::Focus(out)) => focus_words(out),
        Command::Sip(SipOut::AnswerInvitation { reference, outcome }) => {
            format!("invitation {} {}", reference.0, code_words(outcome))
        }
        Command::Sip(SipOut::Message {
            reference,
            from,
            to,
            im,
        }) => format!("MESSAGE {} {from} > {to}{}", reference.0, im_words(im)),
        other => format!("{other:?}"),
    }
}

fn code_words(outcome: &Result<(), Failure>) -> u16 {
    outcome
        .as_ref()
        .map_or_else(|failure| to_sip(failure).code, |()| 200)
}

fn im_words(im: &Im) -> String {
    im.bodies
        .iter()
        .map(|body| format!(" '{}'", body.text))
        .collect()
}

fn xmpp_words(out: &XmppOut) -> String {
    match out {
        XmppOut::Muc(out) => muc_words(out),
        XmppOut::Message {
            reference,
            from,
            to,
            im,
        } => {
            let id = im.id.as_deref().unwrap_or("-");
            let kind = format!("{:?}", im.kind).to_lowercase();
            format!("{from} > {to} {kind} {} {id}{}", reference.0, im_words(im))
        }
        XmppOut::MessageError {
            from,
            to,
            id,
            error,
            ..
        } => {
            let id = id.as_deref().unwrap_or("-");
            format!(
                "{from} > {to} message error {id} {}",
                error.condition.name()
            )
        }
        XmppOut::PresenceError {
            from,
            to,
            id,
            error,
        } => {
            let id = id.as_deref().unwrap_or("-");
            format!(
                "{from} > {to} presence error {id} {}",
                error.condition.name()
            )
        }
        XmppOut::Presence { from, to, kind, .. } => {
            let kind = match kind {
                PresenceKind::Available(_) => "available",
                PresenceKind::Unavailable(_) => "unavailable",
                other => panic!("{other:?}"),
            };
            format!("{from} > {to} {kind}")
        }
        other => format!("{other:?}"),
    }
}

fn muc_words(out: &MucOut) -> String {
    let (from, to) = out.addresses();
    let rest = match out {
        MucOut::Join {
            reference, history, ..
        } => format!("join {} {history}", reference.0),
        MucOut::Occupant { presence, .. } => occupant_words(presence),
        MucOut::Private { reference, im, .. } => {
            let id = im.id.as_deref().unwrap_or("-");
            format!("private {} {id}{}", reference.0, im_words(im))
        }
        MucOut::Subject { subject, .. } => {
            let words = subject.as_ref().map_or("", |subject| &subject.text);
            format!("subject '{words}'")
        }
        MucOut::Invite {
            invitee, reason, ..
        } => format!("invite {invitee} {reason:?}"),
        MucOut::Invited {
            reference,
            inviter,
            reason,
            ..
        } => format!("invited {} by {inviter} {reason:?}", reference.0),
        MucOut::Ping { reference, .. } => format!("ping {}", reference.0),
    };
    format!("{from} > {to} {rest}")
}

fn occupant_words(presence: &OccupantPresence) -> String {
    let mut words = if presence.available { "+" } else { "-" }.to_owned();
    if presence.role != Role::Participant && presence.role != Role::None {
        words.push_str(&format!(" {:?}", presence.role));
    }
    if let Some(nick) = &presence.new_nick {
        words.push_str(&format!(" now {nick}"));
    }
    for status in &presence.statuses {
        words.push_str(&format!(" {status}"));
    }
    if let Some(reason) = &presence.reason {
        words.push_str(&format!(" '{reason}'"));
    }
    words
}

fn conference_words(out: &ConferenceOut) -> String {
    match out {
        ConferenceOut::Join {
            leg,
            user,
            conference,
            nick,
        } => format!("JOIN {} {user} > {conference} {nick}", leg.0),
        ConferenceOut::Message {
            reference,
            leg,
            to,
            im,
        } => {
            let to = to.as_ref().map_or("all".to_owned(), SipAddress::to_string);
            format!("SEND {} in {} > {to}{}", reference.0, leg.0, im_words(im))
        }
        ConferenceOut::ChangeNick { leg, nick } => format!("NICKNAME {} {nick}", leg.0),
        ConferenceOut::Invite {
            reference,
            leg,
            invitee,
            reason,
        } => format!("REFER {} in {} {invitee} {reason:?}", reference.0, leg.0),
        ConferenceOut::Answer { reference, outcome } => {
            format!("answer {} {}", reference.0, code_words(outcome))
        }
        ConferenceOut::Leave { leg } => format!("LEAVE {}", leg.0),
    }
}

fn focus_words(out: &FocusOut) -> String {
    match out {
        FocusOut::Accept { leg, nick } => format!("accept {} {nick}", leg.0),
        FocusOut::Roster { leg, roster } => {
            let mut words = format!("roster {}{}", leg.0, if roster.full { " full" } else { "" });
            for person in &roster.present {
                let nick = person.nick.as_deref().unwrap_or("?");
                words.push_str(&format!(" +{nick}({})", person.address));
            }
            for address in &roster.left {
                words.push_str(&format!(" -{address}"));
            }
            words
        }
        FocusOut::Subject { leg, subject } => {
            let words = subject.as_ref().map_or("", |subject| &subject.text);
            format!("subject {} '{words}'", leg.0)
        }
        FocusOut::Message {
            reference,
            leg,
            from,
            private,
            im,
        } => {
            let private = if *private { " private" } else { "" };
            let old = if im.sent_at.is_some() { " old" } else { "" };
            format!(
                "SEND {} in {} {from}{private}{old}{}",
                reference.0,
                leg.0,
                im_words(im)
            )
        }
        FocusOut::Answer { reference, outcome } => {
            format!("answer {} {}", reference.0, code_words(outcome))
        }
        FocusOut::NickAnswer { leg, outcome } => match outcome {
            Ok(()) => format!("nick {} ok", leg.0),
            Err(NickRefusal::Taken) => format!("nick {} 425", leg.0),
            Err(NickRefusal::Malformed) => format!("nick {} 424", leg.0),
            Err(NickRefusal::Refused(failure)) => {
                format!("nick {} {}", leg.0, to_sip(failure).code)
            }
        },
        FocusOut::End { leg, end } => format!("end {} {}", leg.0, end_words(end)),
    }
}

fn end_words(end: &End) -> String {
    match end {
        End::Refused(failure) => format!("refused {}", to_sip(failure).code),
        End::Lost(failure) => format!("lost {}", to_sip(failure).code),
        other => format!("{other:?}"),
    }
}
