//! Links: each reference is settled once, and well only behind a fence that was written behind it and answered.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use stox_core::address::Jid;
use stox_core::failure::{Condition, ErrorType, Failure, Local, StanzaError};
use stox_core::time::{Now, SeededEntropy};
use stox_core::vocab::Ref;
use stox_xmpp::adapt::{Iq, IqKind};
use stox_xmpp::link::{Attempt, Link, LinkCommand, Loss, Outgoing, Settings};

use super::{MOST_TIMEOUTS, Script};

const PARTNER: &str = "partner.example";
const BODIES: [usize; 4] = [1, 200, 900, 3_000];

#[derive(Default)]
struct Wire {
    /// Of the references, what was written since the beginning.
    written: BTreeSet<Ref>,
    /// What each fence has in front of it.
    fences: BTreeMap<String, BTreeSet<Ref>>,
    ids: Vec<String>,
    answered: BTreeSet<Ref>,
}

struct World {
    link: Link,
    settings: Settings,
    now: Now,
    next: u64,
    pending: BTreeSet<Ref>,
    attempt: Attempt,
    connecting: bool,
    up: bool,
    wire: Wire,
}

pub(crate) fn check(octets: &[u8]) {
    let mut script = Script(octets);
    let settings = Settings {
        queue: 1 + usize::from(script.octet() % 12),
        queue_octets: script.pick(&[2_000, 10_000, 100_000]),
        window_octets: script.pick(&[500, 4_000]),
        stanza_octets: script.pick(&[1_000, 10_000]),
        routed: script.flag(),
        resend: u32::from(script.octet() % 4),
        ..Settings::default()
    };
    let entropy = Box::new(SeededEntropy(3));
    let mut world = World {
        link: Link::new(settings.clone(), "xmpp.example", PARTNER, entropy),
        settings,
        now: Now::default(),
        next: 0,
        pending: BTreeSet::new(),
        attempt: Attempt(0),
        connecting: false,
        up: false,
        wire: Wire::default(),
    };
    while !script.is_over() {
        world.happens(&mut script);
        world.take();
        world.is_bounded();
    }
    world.ends();
}

impl World {
    fn happens(&mut self, script: &mut Script<'_>) {
        let now = self.now;
        match script.octet() % 16 {
            0..=5 => self.sends(script),
            6 | 7 => {
                let attempt = self.some_attempt(script);
                let announced = script.pick(&[None, None, Some(700), Some(100_000)]);
                if attempt == self.attempt && self.connecting {
                    (self.connecting, self.up) = (false, true);
                }
                self.link.stream_ready(attempt, announced, now);
            }
            8 => {
                let attempt = self.some_attempt(script);
                let failure = Failure::Local(Local::Unreachable);
                let loss = script.pick(&[Loss::Passing, Loss::Passing, Loss::Lasting]);
                if attempt == self.attempt {
                    (self.connecting, self.up) = (false, false);
                }
                self.link.stream_lost(attempt, loss(failure), now);
            }
            9..=11 => self.hears(script),
            12 => self.link.partner_seen(now),
            13 => self.link.partner_logged_in(now),
            14 => {
                self.now = script.later(now, self.link.poll_timeout());
                self.link.handle_timeout(self.now);
            }
            _ => match script.octet() {
                0 => self.link.shut_down(),
                1..=9 => self.link.hurry(now),
                seconds => {
                    self.now = now.after(Duration::from_secs(u64::from(seconds)));
                    self.link.handle_timeout(self.now);
                }
            },
        }
    }

    fn some_attempt(&self, script: &mut Script<'_>) -> Attempt {
        let Attempt(last) = self.attempt;
        Attempt(last.saturating_sub(script.pick(&[0, 0, 0, 1])))
    }

    fn sends(&mut self, script: &mut Script<'_>) {
        self.next += 1;
        let (kind, number) = (script.octet(), self.next);
        let body = "x".repeat(script.pick(&BODIES));
        let to = script.pick(&["a", "b", "c"]);
        let stanza = match kind % 6 {
            0..=2 => format!("<message id='{number}'><body>{body}</body></message>"),
            3 => format!(
                "<presence from='u@xmpp.example' to='{to}@{PARTNER}'><status>{body}</status></presence>"
            ),
            4 => format!(
                "<message type='error' id='{number}'><error type='wait'><text xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'>{body}</text></error></message>"
            ),
            _ => format!("<iq type='result' id='{number}'/>"),
        };
        let stanza = stanza.replacen(' ', " xmlns='jabber:client' ", 1);
        let reference = (kind % 6 <= 2 || kind == 4).then_some(Ref(number));
        self.pending.extend(reference);
        let outgoing = Outgoing {
            reference,
            element: stanza.parse().expect("a stanza"),
            deadline: script
                .pick(&[None, None, Some(1), Some(30)])
                .map(|seconds| self.now.mono + Duration::from_secs(seconds)),
        };
        self.link.send(outgoing, self.now);
    }

    /// An answer to a fence of this stream or of an earlier one, or to none; or the partner drops what it would have
    /// answered so far.
    fn hears(&mut self, script: &mut Script<'_>) {
        let back = script.octet();
        if back >= 240 {
            self.wire.ids.clear();
            return self.wire.written.clear();
        }
        let back = usize::from(back % 3);
        let id = self.wire.ids.iter().rev().nth(back).cloned();
        let id = id.unwrap_or_else(|| "nobody's".to_owned());
        let from = script.pick(&[
            PARTNER,
            PARTNER,
            PARTNER,
            "evil.example",
            "a@partner.example",
        ]);
        let condition = script.pick(&[
            None,
            None,
            Some(Condition::ServiceUnavailable),
            Some(Condition::RemoteServerNotFound),
        ]);
        let cut = self.settings.routed && condition == Some(Condition::RemoteServerNotFound);
        let kind = condition.map_or(IqKind::Result, |condition| {
            IqKind::Error(StanzaError {
                kind: ErrorType::Cancel,
                condition,
                text: None,
                new_address: None,
            })
        });
        if from == PARTNER && !cut {
            let covered = self.wire.fences.get(&id).into_iter().flatten();
            self.wire.answered.extend(covered);
        }
        let iq = Iq {
            from: Jid::parse(from).expect("an address"),
            to: Jid::parse("xmpp.example").expect("an address"),
            id,
            kind,
        };
        let taken = self.link.receive_iq(&iq, self.now);
        assert!(!taken || from == PARTNER);
    }

    fn take(&mut self) {
        while let Some(command) = self.link.poll_command() {
            match command {
                LinkCommand::Connect(attempt) => {
                    assert!(attempt > self.attempt && !self.up && !self.connecting);
                    self.attempt = attempt;
                    self.connecting = true;
                }
                LinkCommand::Write(element) => {
                    assert!(self.up);
                    let id = element.attr("id").unwrap_or_default().to_owned();
                    if element.name() == "iq" && element.attr("type") == Some("get") {
                        self.wire.ids.push(id.clone());
                        let before = self.wire.fences.insert(id, self.wire.written.clone());
                        assert_eq!(before, None);
                    } else if let Ok(number) = id.parse() {
                        self.wire.written.insert(Ref(number));
                    }
                }
                LinkCommand::Settled { reference, outcome } => {
                    assert!(self.pending.remove(&reference), "{reference:?}");
                    let proved = self.wire.answered.contains(&reference);
                    assert!(proved || outcome.is_err(), "{reference:?}");
                }
                LinkCommand::Oversized { octets, limit, .. } => assert!(octets > limit),
                LinkCommand::Unaskable { element, failure } => {
                    assert_eq!(element.attr("type"), Some("subscribe"));
                    assert!(matches!(
                        failure,
                        Failure::Local(Local::SipDomain | Local::DomainNotFound)
                    ));
                }
                LinkCommand::CloseStream { attempt, .. } => {
                    assert_eq!(attempt, self.attempt);
                    (self.connecting, self.up) = (false, false);
                }
            }
        }
    }

    /// With a quarter more for reports.
    fn is_bounded(&self) {
        let status = self.link.status();
        let Settings {
            queue,
            queue_octets,
            ..
        } = self.settings;
        assert!(
            status.queued + status.unfenced <= queue + queue / 4,
            "{status:?}"
        );
        assert!(
            status.octets <= queue_octets + queue_octets / 4,
            "{status:?}"
        );
        assert!(self.pending.len() <= queue + queue / 4, "{status:?}");
    }

    /// Nobody answers any more: deadlines settle everything.
    fn ends(&mut self) {
        for _ in 0..MOST_TIMEOUTS {
            let due = self.link.poll_timeout();
            let Some(due) = due.filter(|_| !self.pending.is_empty()) else {
                break;
            };
            self.now = self.now.after(due.saturating_sub(self.now.mono));
            self.link.handle_timeout(self.now);
            self.take();
        }
        assert!(self.pending.is_empty(), "{:?}", self.pending);
        self.link.shut_down();
        self.take();
    }
}
