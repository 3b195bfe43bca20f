//! What holds whatever happens to the machines of XMPP in whatever order: the octets of a fuzz target, or of a test, are
//! read as a list of what peers, owners and clocks do.

mod account;
mod client;
mod component;
mod inbound;
mod link;
mod outbound;
mod stanzas;

use std::time::Duration;

use stox_core::time::Now;
use stox_xmpp::stream::{
    DomainPair, Limits, TlsInfo,
    xml::{StreamParser, XmlEvent},
};

/// The first octet chooses the machine.
pub(crate) fn stream(octets: &[u8]) {
    let mut script = Script(octets);
    match script.octet() % 5 {
        0 => inbound::check(&mut script),
        1 => outbound::check(&mut script),
        2 => component::check(&mut script),
        3 => client::check(&mut script),
        _ => account::check(&mut script),
    }
}

pub(crate) use link::check as link;
pub(crate) use stanzas::check as stanzas;

/// What is still to happen.
struct Script<'a>(&'a [u8]);

impl<'a> Script<'a> {
    fn is_over(&self) -> bool {
        self.0.is_empty()
    }

    /// Zero behind the end.
    fn octet(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        *first
    }

    fn flag(&mut self) -> bool {
        self.octet() % 2 == 1
    }

    fn pick<T: Copy>(&mut self, among: &[T]) -> T {
        among[usize::from(self.octet()) % among.len()]
    }

    /// Some octets as they are.
    fn raw(&mut self) -> &'a [u8] {
        let length = usize::from(self.octet()).min(self.0.len());
        let (raw, rest) = self.0.split_at(length);
        self.0 = rest;
        raw
    }

    /// One of the texts, with the words of the table for `{0}`, `{1}` and so on.
    fn text(&mut self, texts: &[&str], words: &[&[&str]]) -> String {
        let mut text = self.pick(texts).to_owned();
        for (place, words) in words.iter().enumerate() {
            text = text.replace(&format!("{{{place}}}"), self.pick(words));
        }
        text
    }

    fn pair(&mut self, locals: &[&str], remotes: &[&str]) -> DomainPair {
        DomainPair {
            local: self.pick(locals).to_owned(),
            remote: self.pick(remotes).to_owned(),
        }
    }

    /// A certificate that is valid for one of these, or for nobody.
    fn certificate(&mut self, names: &[&str]) -> TlsInfo {
        let name = self.pick(names);
        TlsInfo {
            valid_names: Some(name.to_owned())
                .filter(|_| self.flag())
                .into_iter()
                .collect(),
            distrust: None,
        }
    }

    /// To the time-out that is due next, or some seconds on.
    fn later(&mut self, now: Now, due: Option<Duration>) -> Now {
        let seconds = u64::from(self.octet());
        match due {
            Some(due) if seconds < 128 => now.after(due.saturating_sub(now.mono)),
            _ => now.after(Duration::from_secs(seconds)),
        }
    }
}

/// Everything that a machine wrote on one connection.
#[derive(Default)]
struct Wire(Vec<u8>);

const DECLARATION: &str = "<?xml version='1.0'?>";
const END: &str = "</stream:stream>";

impl Wire {
    fn write(&mut self, octets: &[u8]) {
        self.0.extend_from_slice(octets);
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.0).expect("UTF-8")
    }

    /// Each stream on it begins with its header and is well-formed; nothing is behind the end of the last.
    fn is_sound(&self) {
        let text = self.text();
        if text.is_empty() {
            return;
        }
        let mut streams = text.split(DECLARATION);
        assert_eq!(streams.next(), Some(""), "{text}");
        for stream in streams {
            let limits = Limits {
                octets_before_auth: 1 << 30,
                header_octets: 1 << 20,
                elements: 1 << 20,
                ..Limits::default()
            };
            let whole = format!("{DECLARATION}{stream}");
            let (mut parser, mut rest) = (StreamParser::new(limits), whole.as_bytes());
            let first = parser.next(&mut rest);
            assert!(matches!(first, Ok(Some(XmlEvent::Open(_)))), "{whole}");
            while let Some(event) = parser.next(&mut rest).expect("well-formed") {
                assert!(!matches!(event, XmlEvent::Open(_)), "{whole}");
            }
            assert!(!parser.is_mid_element(), "{whole}");
        }
        let end = text.find(END).map(|place| place + END.len());
        assert!(end.is_none_or(|end| end == text.len()), "{text}");
    }

    /// The next stream is inside TLS.
    fn starts_tls(&mut self) {
        self.is_sound();
        self.0.clear();
    }
}

const TLS: &str = "urn:ietf:params:xml:ns:xmpp-tls";
/// Clocks that run after everything has happened stop before so many time-outs.
const MOST_TIMEOUTS: usize = 2_000;
