//! What the bridge on the left knows: XMPP users in a conference, and what they were told.

use std::collections::BTreeMap;

use stox_core::address::SipAddress;
use stox_core::vocab::{ConferenceEvent, End, Participant, Ref, Roster};

/// One XMPP user in the conference.
#[derive(Debug, Default)]
pub(crate) struct User {
    pub(crate) joined: bool,
    pub(crate) nick: String,
    pub(crate) private_messages: bool,
    /// By address.
    pub(crate) roster: Option<BTreeMap<SipAddress, Participant>>,
    pub(crate) subject: Option<String>,
    /// Text, sender, and whether it was to her alone.
    pub(crate) heard: Vec<(String, SipAddress, bool)>,
    pub(crate) ended: Option<End>,
    pub(crate) renaming: bool,
}

impl User {
    /// Takes an event in, and says which message is to be answered. Whatever must not come fails the test.
    pub(crate) fn told(&mut self, event: ConferenceEvent) -> Option<Ref> {
        assert_eq!(self.ended, None, "nothing comes after the end: {event:?}");
        match event {
            ConferenceEvent::Joined {
                nick,
                private_messages,
            } => {
                assert!(!std::mem::replace(&mut self.joined, true));
                self.nick = nick;
                self.private_messages = private_messages;
            }
            ConferenceEvent::Ended(end) => self.ended = Some(end),
            other => {
                assert!(self.joined, "first she comes in: {other:?}");
                return self.told_inside(other);
            }
        }
        None
    }

    fn told_inside(&mut self, event: ConferenceEvent) -> Option<Ref> {
        match event {
            ConferenceEvent::Roster(roster) => self.sees(roster),
            ConferenceEvent::Subject(subject) => {
                let subject = subject.map(|subject| subject.text);
                assert_ne!(subject, self.subject);
                self.subject = subject;
            }
            ConferenceEvent::Message {
                reference,
                from,
                private,
                im,
            } => {
                self.heard.push((im.bodies[0].text.clone(), from, private));
                return Some(reference);
            }
            ConferenceEvent::Nick(outcome) => {
                assert!(std::mem::replace(&mut self.renaming, false));
                if let Ok(nick) = outcome {
                    self.nick = nick;
                }
            }
            other => panic!("{other:?}"),
        }
        None
    }

    fn sees(&mut self, roster: Roster) {
        assert_eq!(roster.full, self.roster.is_none(), "{roster:?}");
        assert!(!roster.full || roster.left.is_empty());
        let known = self.roster.get_or_insert_default();
        for address in roster.left {
            assert!(known.remove(&address).is_some(), "{address}");
        }
        for participant in roster.present {
            let before = known.insert(participant.address.clone(), participant.clone());
            assert_ne!(before, Some(participant), "no news is not told");
        }
    }

    /// Who is there by what she was told.
    pub(crate) fn nicks(&self) -> Vec<String> {
        let mut nicks: Vec<String> = self
            .roster
            .iter()
            .flat_map(|roster| roster.values())
            .map(|participant| participant.nick.clone().unwrap())
            .collect();
        nicks.sort();
        nicks
    }
}
