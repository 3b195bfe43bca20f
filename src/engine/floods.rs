//! How much one XMPP domain may send.

use std::time::Duration;

use minidom::Element;
use stox_core::address::Jid;
use stox_core::failure::Condition;
use stox_core::quiet::Quiet;
use stox_core::rates::{Rate, Rates};
use stox_xmpp::adapt;

/// Requests to see somebody, a second: as many as SIP's.
const REQUESTS: u32 = 10;
/// How long nothing more is said of one domain.
const QUIET: Duration = Duration::from_secs(60);

/// Counts what comes from each domain.
#[derive(Debug)]
pub(super) struct Floods {
    messages: Rates,
    /// Typing and receipts must not cost anybody a message.
    notices: Rates,
    requests: Rates,
    messages_per_second: u32,
    /// What a server has kept for us while we were away comes at once.
    at_once: u32,
    told: Quiet<String>,
}

impl Floods {
    /// `queue`: as much as a server may have kept.
    pub(super) fn new(messages_per_second: u32, queue: usize) -> Self {
        Self {
            messages: Rates::default(),
            notices: Rates::default(),
            requests: Rates::default(),
            messages_per_second,
            at_once: u32::try_from(queue).unwrap_or(u32::MAX),
            told: Quiet::new(QUIET),
        }
    }

    /// The refusal of a stanza that is one too many from that domain now. Presence and what rooms say to their occupants
    /// are not counted: whoever loses them sees a state that is none, or half a conversation.
    pub(super) fn refusal(
        &mut self,
        domain: &str,
        element: &Element,
        now: Duration,
    ) -> Option<Element> {
        let (rates, per_second) = match (element.name(), element.attr("type")) {
            ("message", Some("error" | "groupchat")) => return None,
            ("message", _) if element.children().any(|child| child.name() == "body") => {
                (&mut self.messages, self.messages_per_second)
            }
            ("message", _) => (&mut self.notices, self.messages_per_second),
            ("presence", Some("subscribe")) => (&mut self.requests, REQUESTS),
            _ => return None,
        };
        let rate = Rate {
            per_second,
            at_once: self.at_once.max(per_second),
        };
        if rates.allow(domain, None, rate, now) {
            return None;
        }
        if let Some(unsaid) = self.told.ask(domain.to_owned(), now) {
            tracing::warn!(
                partner = domain,
                refused_before = unsaid,
                "sends more messages or requests than limits.messages_per_second takes: what is too much is refused; ask its administrator what is sent, or raise it if that is right"
            );
        }
        let address = |name: &str| Jid::parse(element.attr(name)?).ok();
        let (from, to) = (address("from")?, address("to")?);
        let condition = Condition::ResourceConstraint;
        Some(adapt::error::refuse(element, &to, &from, condition))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &str = "<body>x</body>";

    /// From Romeo to Bob.
    fn stanza(name: &str, attributes: &str, content: &str) -> Element {
        format!(
            "<{name} xmlns='jabber:server' id='1' from='romeo@a.test/x' to='bob@ocs.test' {attributes}>{content}</{name}>"
        )
        .parse()
        .unwrap()
    }

    #[test]
    fn what_is_too_much_is_refused_by_kind_and_domain() {
        let message = stanza("message", "", BODY);
        let request = stanza("presence", "type='subscribe'", "");
        let mut floods = Floods::new(50, 100);
        let mut passed = |domain: &str, stanza: &Element, at: u64| {
            let fits = |_: &u32| {
                let refusal = floods.refusal(domain, stanza, Duration::from_secs(at));
                refusal.is_none()
            };
            (0..1000).filter(fits).count()
        };
        assert_eq!(passed("a.test", &message, 0), 100);
        assert_eq!(passed("a.test", &message, 1), 50);
        assert_eq!(passed("b.test", &message, 1), 100);
        assert_eq!(
            passed("a.test", &stanza("message", "type='chat'", ""), 1),
            100
        );
        assert_eq!(passed("a.test", &request, 1), 100);
        assert_eq!(passed("a.test", &request, 2), 10);
        let never = [
            ("message", "type='error'", BODY),
            ("message", "type='groupchat'", BODY),
            ("presence", "", ""),
            ("presence", "type='unsubscribe'", ""),
            ("iq", "type='result'", ""),
        ];
        for (name, attributes, content) in never {
            let stanza = stanza(name, attributes, content);
            assert_eq!(passed("a.test", &stanza, 1), 1000, "{name} {attributes}");
        }
    }

    #[test]
    fn the_sender_is_told_to_wait() {
        let mut floods = Floods::new(0, 0);
        let message = stanza("message", "", BODY);
        let refusal = floods.refusal("a.test", &message, Duration::ZERO);
        let refusal = refusal.unwrap();
        assert_eq!(refusal.attr("to"), Some("romeo@a.test/x"));
        assert_eq!(
            (refusal.attr("id"), refusal.attr("type")),
            (Some("1"), Some("error"))
        );
        let error = refusal.get_child("error", "jabber:client").unwrap();
        assert_eq!(error.attr("type"), Some("wait"));
        let condition = "urn:ietf:params:xml:ns:xmpp-stanzas";
        assert!(error.has_child("resource-constraint", condition));
    }
}
