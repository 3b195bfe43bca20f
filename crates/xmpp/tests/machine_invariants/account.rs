//! An account between its server and the links.

use stox_core::address::{Jid, canonical_domain};
use stox_core::policy::DomainPattern;
use stox_xmpp::account::{Account, Command, Settings};
use stox_xmpp::server::Software;

use super::Script;

const OWN: &str = "bruno@jabber.example";
const USER: &str = "bruno@sip.example";
const WORDS: [&str; 8] = [
    "alma@jabber.example",
    "alma@jabber.example/r",
    "dora@other.example/x",
    "eve@stranger.example/x",
    "mole@sip.example/x",
    "bruno@jabber.example",
    "bruno@jabber.example/else",
    "jabber.example",
];
const IDS: [&str; 3] = ["{id}", "1", "<'"];
const FROM_SERVER: [&str; 17] = [
    "<iq type='result' id='{id}'><query xmlns='jabber:iq:roster'><item jid='alma@jabber.example' subscription='both'/>\
     <item jid='dora@other.example' subscription='to'/><item jid='eve@stranger.example' subscription='both'/></query></iq>",
    "<iq type='result' id='{id}'><query xmlns='jabber:iq:roster'/></iq>",
    "<iq type='error' id='{id}'/>",
    "<iq type='set' id='9'><query xmlns='jabber:iq:roster'><item jid='{0}' subscription='from' ask='subscribe'/></query></iq>",
    "<iq type='set' id='9' from='{0}'><query xmlns='jabber:iq:roster'><item jid='{0}' subscription='remove'/></query></iq>",
    "<iq type='get' id='7' from='{0}'><query xmlns='jabber:iq:version'/></iq>",
    "<iq type='result' id='{1}' from='{0}'/>",
    "<message from='{0}'><body>x</body></message>",
    "<message from='{0}' to='bruno@jabber.example' type='error' id='1'><error type='cancel'/></message>",
    "<message from='{0}' to='eve@stranger.example'><body>x</body></message>",
    "<presence from='{0}'/>",
    "<presence from='{0}' type='unavailable'/>",
    "<presence from='{0}' type='subscribe'/>",
    "<presence from='{0}' type='subscribed'/>",
    "<presence from='{0}' type='unsubscribe'/>",
    "<presence from='{0}' type='unsubscribed'/>",
    "<presence from='{0}' type='error'><error type='cancel'/></presence>",
];
const FROM_LINK: [&str; 11] = [
    "<message to='{0}' from='bruno@sip.example/d'><body>x</body></message>",
    "<message to='{0}' from='bruno@sip.example' type='error'><error type='cancel'/></message>",
    "<presence to='{0}' from='bruno@sip.example'/>",
    "<presence to='{0}' from='bruno@sip.example' type='unavailable'/>",
    "<presence to='{0}' from='bruno@sip.example' type='subscribe'/>",
    "<presence to='{0}' from='bruno@sip.example' type='subscribed'/>",
    "<presence to='{0}' from='bruno@sip.example' type='unsubscribe'/>",
    "<presence to='{0}' from='bruno@sip.example' type='unsubscribed'/>",
    "<presence to='{0}' from='bruno@sip.example' type='probe'/>",
    "<presence to='{0}' from='bruno@sip.example'><x xmlns='http://jabber.org/protocol/muc'/></presence>",
    "<iq to='{0}' from='sip.example' type='get' id='5'><ping xmlns='urn:xmpp:ping'/></iq>",
];

struct World {
    account: Account,
    settings: Settings,
    bound: bool,
    last_id: String,
}

pub(super) fn check(script: &mut Script<'_>) {
    let settings = Settings {
        account: Jid::parse(OWN).expect("an address"),
        user: Jid::parse(USER).expect("an address"),
        domains: vec![DomainPattern::parse("other.example")],
        own_domains: ["sip.example".to_owned()].into(),
        software: Software {
            name: "stoxgate".to_owned(),
            version: "1".to_owned(),
        },
    };
    let mut world = World {
        account: Account::new(settings.clone()),
        settings,
        bound: false,
        last_id: String::new(),
    };
    while !script.is_over() {
        world.happens(script);
    }
}

impl World {
    fn happens(&mut self, script: &mut Script<'_>) {
        let mut no_errors = false;
        match script.octet() % 16 {
            0..=6 => {
                let text = self.stanza(script, &FROM_SERVER);
                no_errors = text.contains("type='error'") || text.contains("type='result'");
                let Ok(element) = text.parse() else { return };
                self.account.receive(element);
            }
            7..=13 => {
                let text = self.stanza(script, &FROM_LINK);
                let partner = script.pick(&["jabber.example", "other.example", "stranger.example"]);
                let Ok(element) = text.parse() else { return };
                self.account.write(partner, &element);
            }
            14 => {
                let address =
                    script.pick(&["bruno@jabber.example/r1", "eve@jabber.example/r", "@"]);
                let taken = self.account.bound(address).is_ok();
                assert_eq!(taken, address.starts_with("bruno@"));
                self.bound |= taken;
            }
            _ if script.flag() => self.account.resumed(),
            _ => {
                self.account.lost();
                self.bound = false;
            }
        }
        self.take(no_errors);
    }

    fn stanza(&self, script: &mut Script<'_>, texts: &[&str]) -> String {
        script
            .text(texts, &[&WORDS, &IDS])
            .replace("{id}", &self.last_id)
            .replacen(' ', " xmlns='jabber:client' ", 1)
    }

    /// What comes from contacts is for the user; what goes out goes to contacts, or to the account's server.
    fn take(&mut self, no_errors: bool) {
        while let Some(command) = self.account.poll_command() {
            match command {
                Command::Deliver { partner, element } => {
                    assert!(self.settings.reaches(&partner), "{partner}");
                    let address = |name: &str| {
                        let text = element.attr(name).expect("an address");
                        Jid::parse(text).expect("an address")
                    };
                    let (from, to) = (address("from"), address("to"));
                    assert_eq!(canonical_domain(&from.domain), canonical_domain(&partner));
                    assert!(
                        to.bare() == self.settings.user || to.domain == self.settings.user.domain
                    );
                }
                Command::Write(element) => {
                    assert!(self.bound);
                    let kind = element.attr("type");
                    assert!(!no_errors || kind != Some("error"), "{element:?}");
                    if kind == Some("get") {
                        element
                            .attr("id")
                            .unwrap_or_default()
                            .clone_into(&mut self.last_id);
                    }
                    // A refusal goes where the sender says he is.
                    let to = element.attr("to").unwrap_or_default();
                    let is_own = to
                        .split('/')
                        .next()
                        .is_some_and(|to| to.ends_with("sip.example"));
                    assert!(
                        !is_own || element.name() == "iq" || kind == Some("error"),
                        "{element:?}"
                    );
                }
                Command::Note(_) => {}
            }
        }
    }
}
