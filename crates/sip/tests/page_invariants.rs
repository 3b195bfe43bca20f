//! What holds outside sessions whatever the users do and the peer answers.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests may fail a test"
)]

mod agent;

use std::collections::BTreeMap;

use agent::session::im;
use agent::{Agent, Fields, address, bruno, from_bruno, world};
use proptest::prelude::*;
use stox_core::vocab::{ChatState, Im, Receipt, Ref, SipIn, SipOut, Wants};
use stox_sip::dialect::{LongMessages, Overrides, PageTyping, PageWrapper, Profile, Rule};
use stox_sip::message::Request;

/// One thing that happens.
#[derive(Debug, Clone)]
enum Event {
    Sends {
        user: usize,
        long: bool,
        wants: bool,
    },
    Shows {
        user: usize,
        state: ChatState,
    },
    Answers(u16),
    Tells(Receipt),
    Hears,
    Passes(u64),
}

fn event() -> impl Strategy<Value = Event> {
    let state = proptest::sample::select(vec![
        ChatState::Composing,
        ChatState::Composing,
        ChatState::Paused,
        ChatState::Gone,
    ]);
    let receipt = proptest::sample::select(vec![Receipt::Delivered, Receipt::Displayed]);
    let status = proptest::sample::select(vec![200, 200, 200, 202, 404, 405, 415, 480, 503]);
    prop_oneof![
        4 => (0..2_usize, any::<bool>(), any::<bool>()).prop_map(|(user, long, wants)| Event::Sends { user, long, wants }),
        4 => (0..2_usize, state).prop_map(|(user, state)| Event::Shows { user, state }),
        8 => status.prop_map(Event::Answers),
        2 => receipt.prop_map(Event::Tells),
        2 => Just(Event::Hears),
        1 => proptest::sample::select(vec![1, 20, 61, 700]).prop_map(Event::Passes),
    ]
}

struct World {
    agent: Agent,
    /// What bruno has not answered: never more than one.
    open: Option<Request>,
    sent: u64,
    heard: u64,
    outcomes: BTreeMap<u64, usize>,
    /// The numbers in the texts that arrived.
    texts: Vec<u64>,
    asked: Vec<Ref>,
}

impl World {
    fn new(wrapper: PageWrapper) -> Self {
        let mut settings = world();
        settings.page_limit = 400;
        settings.sip_domains[0].dialect = Rule {
            profile: Some(Profile::Simple),
            overrides: Overrides {
                page_typing: Some(PageTyping::Always),
                page_wrapper: Some(wrapper),
                long_messages: Some(LongMessages::Split),
                ..Overrides::default()
            },
        };
        Self {
            agent: Agent::with(settings),
            open: None,
            sent: 0,
            heard: 0,
            outcomes: BTreeMap::new(),
            texts: Vec::new(),
            asked: Vec::new(),
        }
    }

    fn happens(&mut self, event: &Event) {
        let user = |index: &usize| address(["alma", "anton"][*index], "jabber.example");
        match event {
            Event::Sends {
                user: index,
                long,
                wants,
            } => {
                self.sent += 1;
                let filler = "words and ".repeat(if *long { 90 } else { 1 });
                let wants = Wants {
                    delivered: *wants,
                    displayed: *wants,
                };
                let im = Im {
                    wants,
                    ..im(&format!("{} {filler}", self.sent), Some("t"))
                };
                let (reference, from, to) = (Ref(self.sent), user(index), bruno());
                self.agent.does(SipOut::Message {
                    reference,
                    from,
                    to,
                    im,
                });
            }
            Event::Shows { user: index, state } => {
                let (from, to, state) = (user(index), bruno(), *state);
                self.agent.does(SipOut::ChatState {
                    from,
                    to,
                    thread: None,
                    state,
                });
            }
            Event::Answers(status) => {
                if let Some(request) = self.open.take() {
                    self.agent.hears_answer(&request, *status, "");
                }
            }
            Event::Tells(receipt) => {
                if let Some(reference) = self.asked.last().copied() {
                    self.agent.does(SipOut::Receipt {
                        reference,
                        receipt: *receipt,
                    });
                }
            }
            Event::Hears => self.hears(),
            Event::Passes(seconds) => self.agent.passes_seconds(*seconds),
        }
        self.look();
    }

    /// bruno writes with a wish for receipts.
    fn hears(&mut self) {
        self.heard += 1;
        let body = format!(
            "From: <sip:b@o>\r\nimdn.Message-ID: b{}\r\nimdn.Disposition-Notification: positive-delivery, display\r\n\r\n\
             Content-Type: text/plain\r\n\r\nx",
            self.heard
        );
        let branch = format!("h{}", self.heard);
        let text = from_bruno(
            "MESSAGE",
            &branch,
            1,
            "",
            "Content-Type: message/cpim\r\n",
            &body,
        );
        self.agent
            .hears(&text.replace("s2x-1@", &format!("{branch}@")));
    }

    fn look(&mut self) {
        while let Some(input) = self.agent.ua.poll_input() {
            match input {
                SipIn::Outcome { reference, .. } => {
                    *self.outcomes.entry(reference.0).or_default() += 1
                }
                SipIn::Message { reference, .. } => {
                    self.asked.push(reference);
                    self.agent.does(SipOut::AnswerMessage {
                        reference,
                        outcome: Ok(()),
                    });
                }
                other => panic!("{other:?}"),
            }
        }
        for request in self.agent.says_requests() {
            assert_eq!(request.method.as_str(), "MESSAGE");
            assert!(
                request.body.len() <= 400 || !request.field("Content-Type").starts_with("text")
            );
            // Time may have ended the one before.
            if let Some(open) = &self.open {
                let gone = self.agent.ua.status().client_transactions <= 1;
                assert!(gone, "two at once: {open:?} {request:?}");
            }
            let text = String::from_utf8_lossy(&request.body);
            let text = text.rsplit("\r\n\r\n").next().unwrap_or_default();
            if let Some(number) = text.split(' ').next().and_then(|word| word.parse().ok()) {
                self.texts.push(number);
            }
            self.open = Some(request);
        }
    }

    /// Everything is answered, and time goes by.
    fn ends(&mut self) {
        for _ in 0..2000 {
            let Some(request) = self.open.take() else {
                break;
            };
            self.agent.hears_answer(&request, 200, "");
            self.look();
        }
        for _ in 0..4 {
            self.agent.passes_seconds(60);
            self.look();
            while let Some(request) = self.open.take() {
                self.agent.hears_answer(&request, 200, "");
                self.look();
            }
        }
        self.agent.passes_seconds(64);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn one_at_a_time_in_order_with_one_outcome(
        events in proptest::collection::vec(event(), 1..60), wraps in any::<bool>(),
    ) {
        let wrapper = if wraps { PageWrapper::Always } else { PageWrapper::Known };
        let mut world = World::new(wrapper);
        for event in &events {
            world.happens(event);
        }
        world.ends();
        prop_assert_eq!(world.outcomes.len() as u64, world.sent);
        prop_assert!(world.outcomes.values().all(|count| *count == 1));
        prop_assert!(world.texts.is_sorted(), "{:?}", world.texts);
        prop_assert!(world.agent.ua.is_empty(), "{:?}", world.agent.ua.status());
    }
}
