//! Queries of a session: the roster's, those of links, and the server's own.

use std::collections::VecDeque;

use minidom::Element;
use rxml::xml_ncname;
use stox_core::address::{Jid, canonical_domain};
use stox_core::failure::Condition;
use xmpp_parsers::ns;

use super::{Account, AccountNote, Odd, iq, roster};
use crate::adapt::{Inbound, error, jid, xml};
use crate::server::{self, Place};

/// Questions of links whose answers are awaited at one time; each link has one or two.
const MAX_ASKED: usize = 512;

/// Questions of links: the answers have to go back to the addresses that asked.
#[derive(Debug, Default)]
pub(super) struct Asked {
    questions: VecDeque<Question>,
}

#[derive(Debug)]
struct Question {
    id: String,
    from: String,
    to: Jid,
}

impl Asked {
    fn ask(&mut self, id: &str, from: &str, to: Jid) {
        if self.questions.len() >= MAX_ASKED {
            self.questions.pop_front();
        }
        self.questions.push_back(Question {
            id: id.to_owned(),
            from: from.to_owned(),
            to,
        });
    }

    /// The question that an answer from there is about. A server may leave its own address out.
    fn answered(&mut self, id: &str, from: &Jid, own: &Jid) -> Option<Question> {
        let from = from.canonical();
        let is_it = |question: &Question| {
            let asked = question.to.canonical();
            question.id == id
                && (asked == from || (from == *own && asked == jid::of_domain(&own.domain)))
        };
        let place = self.questions.iter().position(is_it)?;
        self.questions.remove(place)
    }
}

impl Account {
    pub(super) fn roster_id(&self) -> String {
        format!("roster-{}", self.session)
    }

    pub(super) fn write_iq(&mut self, element: &Element) {
        if matches!(element.attr("type"), Some("get" | "set"))
            && let (Some(id), Some(from)) = (element.attr("id"), element.attr("from"))
            && let Some(Ok(to)) = element.attr("to").map(Jid::parse)
        {
            self.asked.ask(id, from, to);
        }
        self.put(element.clone());
    }

    pub(super) fn receive_iq(&mut self, element: Element, from: &Jid) {
        match element.attr("type") {
            Some("result" | "error") => self.receive_answer(element, from),
            Some("get" | "set") => self.receive_question(&element, from),
            _ => self.drop_it(Odd::NotAStanza),
        }
    }

    fn receive_answer(&mut self, mut element: Element, from: &Jid) {
        let own = self.own();
        let id = element.attr("id").unwrap_or_default().to_owned();
        if !self.ready && id == self.roster_id() && from.bare().canonical() == own {
            return self.receive_roster(&element);
        }
        match self.asked.answered(&id, from, &own) {
            Some(Question { from, to, .. }) => {
                let partner = canonical_domain(&to.domain);
                xml::set_attr(&mut element, xml_ncname!("from").into(), &to.to_string());
                xml::set_attr(&mut element, xml_ncname!("to").into(), &from);
                self.commands
                    .push_back(super::Command::Deliver { partner, element });
            }
            None => self.drop_it(Odd::Unasked),
        }
    }

    fn receive_roster(&mut self, element: &Element) {
        if element.attr("type") == Some("error") {
            let why = error::read(element);
            let words = why.text.unwrap_or_else(|| why.condition.name().to_owned());
            return self.note(AccountNote::NoRoster(words));
        }
        self.roster_read(element.get_child("query", ns::ROSTER));
    }

    fn receive_question(&mut self, element: &Element, from: &Jid) {
        let own = self.own();
        let sender = from.canonical();
        let is_push = element.attr("type") == Some("set") && element.has_child("query", ns::ROSTER);
        if is_push && sender == own {
            return self.receive_push(element);
        }
        let is_server = sender == own || sender == jid::of_domain(&own.domain);
        let answer = if is_server && !is_push {
            self.answer_server(element, from)
        } else {
            // Like users everywhere: nobody learns here whether somebody is there, and what he has.
            None
        };
        let account = self.settings.account.clone();
        self.put(answer.unwrap_or_else(|| {
            error::refuse(element, &account, from, Condition::ServiceUnavailable)
        }));
    }

    /// What the account's own server asks, it is told as any partner's server would be.
    fn answer_server(&self, element: &Element, from: &Jid) -> Option<Element> {
        let nobody = Place {
            conferences: false,
            occupant: None,
        };
        let to = jid::of_domain(&self.settings.user.domain);
        match crate::adapt::iq::read(element, from.clone(), to) {
            Inbound::Iq(iq) => server::answer(&self.settings.software, nobody, &iq),
            Inbound::Reply(refusal) => Some(refusal),
            _ => None,
        }
    }

    /// RFC 6121 §2.1.6: acknowledged, whatever is in it.
    fn receive_push(&mut self, element: &Element) {
        self.put(iq("result", element.attr("id").unwrap_or_default()));
        let query = element.get_child("query", ns::ROSTER);
        let mut items = query.into_iter().flat_map(Element::children);
        if self.ready
            && let Some((contact, entry)) = items.find_map(roster::item)
        {
            self.roster_changed(&contact, entry);
        }
    }
}
