//! The gateway between both scripts, and what it sends as lines that a test can name.

use std::time::Duration;

use minidom::Element;

use crate::msrp_text::MsrpText;
use crate::output::{Output, Sent};
use crate::sip_text::SipText;
use crate::world::World;

const SETTINGS: &str = r#"
[gateway]
host = "gw.jabber.example"
state_dir = "state"
[tls]
certificate = "gw.crt"
key = "gw.key"
[[xmpp.partner]]
domain = "jabber.example"
[[xmpp.partner]]
domain = "rooms.jabber.example"
[sip]
tls = ["127.0.0.1:5061"]
[[sip.domain]]
domain = "ocs.example"
trusted_addresses = ["127.0.0.1"]
dialect = "simple"
[msrp]
tcp = ["127.0.0.1:8763"]
host = "127.0.0.1"
networks = ["127.0.0.1"]
"#;

const BIND: &str = "Message-ID: bind\r\nByte-Range: 1-0/0\r\n";

/// Both sides, and what the gateway has sent to them.
pub(crate) struct Stage {
    pub(crate) world: World,
    told: usize,
    cseq: u32,
    transactions: u32,
}

impl Stage {
    pub(crate) fn new() -> Self {
        Self::with("")
    }

    /// With more settings.
    pub(crate) fn with(more: &str) -> Self {
        let mut world = World::new(&format!("{SETTINGS}{more}")).unwrap();
        world.held.methods.insert("INVITE".to_owned());
        Self {
            world,
            told: 0,
            cseq: 0,
            transactions: 0,
        }
    }

    /// Everything that the gateway has sent since the last time.
    pub(crate) fn news(&mut self) -> Vec<Output> {
        self.passes(0);
        let news = self.world.outputs.split_off(self.told);
        self.world.outputs.extend(news.iter().cloned());
        self.told = self.world.outputs.len();
        news
    }

    /// The same as lines. What says no more than that a request came is left out.
    pub(crate) fn lines(&mut self) -> Vec<String> {
        let news = self.news();
        let lines = news.iter().map(line);
        lines.filter(|line| !line.is_empty()).collect()
    }

    #[track_caller]
    pub(crate) fn expect(&mut self, expected: &[&str]) {
        let lines = self.lines();
        assert_eq!(lines, expected, "{lines:#?}");
    }

    pub(crate) fn passes(&mut self, seconds: u64) {
        self.world.run_for(Duration::from_secs(seconds)).unwrap();
    }

    /// The newest MSRP connection breaks.
    pub(crate) fn loses_msrp(&mut self) {
        let world = &mut self.world;
        let flow = world.msrp.flow().unwrap();
        world.msrp.closed(flow);
        world.engine.msrp_closed(flow, world.now);
    }

    pub(crate) fn stops(&mut self) {
        let now = self.world.now;
        self.world.engine.shut_down(now);
    }

    /// Nothing of any room is left.
    #[track_caller]
    pub(crate) fn assert_empty(&self) {
        let engine = &self.world.engine;
        let (bridge, sip) = (engine.bridge_status(), engine.sip_status());
        assert_eq!(
            (bridge.in_rooms, bridge.in_conferences, bridge.room_messages),
            (0, 0, 0)
        );
        assert_eq!((sip.guests, sip.participants, sip.room_watchers), (0, 0, 0));
    }

    pub(crate) fn stanza(&mut self, xml: &str) {
        self.world.stanza(xml).unwrap();
    }

    /// A request of the SIP peer's.
    pub(crate) fn request(&mut self, method: &str, call: &Call, more: &str, body: &str) {
        self.cseq += 1;
        let cseq = match method {
            "ACK" | "CANCEL" => call.cseq,
            _ => self.cseq,
        };
        let Call {
            id, from, to, tag, ..
        } = call;
        let tag = match tag.is_empty() {
            true => String::new(),
            false => format!(";tag={tag}"),
        };
        let octets = format!(
            "{method} sip:{to} SIP/2.0\r\nVia: SIP/2.0/TLS edge.ocs.example:5061;branch=z9hG4bK-{id}-{cseq}{}\r\n\
             Max-Forwards: 70\r\nFrom: {from}\r\nTo: <sip:{to}>{tag}\r\nCall-ID: {id}\r\nCSeq: {cseq} {method}\r\n\
             Contact: <sip:{}@edge.ocs.example:5061;transport=tls>\r\n{more}Content-Length: {}\r\n\r\n{body}",
            if method == "ACK" { "-ack" } else { "" },
            call.contact,
            body.len()
        );
        self.world.sip(octets.as_bytes()).unwrap();
    }

    /// The peer's request of a new dialog.
    pub(crate) fn opens(&mut self, method: &str, call: &mut Call, more: &str, body: &str) {
        self.request(method, call, more, body);
        call.cseq = self.cseq;
    }

    /// The peer's answer to a request of the gateway's.
    pub(crate) fn answers(&mut self, request: &SipText, status: &str, more: &str, body: &str) {
        let header = |name: &str| request.header(name).unwrap_or_default();
        let vias: String = request
            .lines("Via")
            .map(|via| format!("Via: {via}\r\n"))
            .collect();
        let tag = match request.tag("To") {
            Some(_) => "",
            None => ";tag=peer7",
        };
        let octets = format!(
            "SIP/2.0 {status}\r\n{vias}From: {}\r\nTo: {}{tag}\r\nCall-ID: {}\r\nCSeq: {}\r\n{more}\
             Content-Length: {}\r\n\r\n{body}",
            header("From"),
            header("To"),
            header("Call-ID"),
            header("CSeq"),
            body.len()
        );
        self.world.response(octets.as_bytes()).unwrap();
    }

    /// An MSRP request of the peer's.
    pub(crate) fn msrp(&mut self, method: &str, line: &Line, rest: &str) {
        self.transactions += 1;
        let id = format!("tid{:05}", self.transactions);
        let Line { theirs, ours } = line;
        let text = format!(
            "MSRP {id} {method}\r\nTo-Path: {theirs}\r\nFrom-Path: {ours}\r\n{rest}-------{id}$\r\n"
        );
        self.world.msrp(text.as_bytes()).unwrap();
    }

    /// The peer's first word on a connection.
    pub(crate) fn binds(&mut self, line: &Line) {
        self.msrp("SEND", line, BIND);
    }

    /// A text in a wrapper.
    pub(crate) fn says(&mut self, line: &Line, (from, to): (&str, &str), text: &str) {
        let body = format!(
            "From: {from}\r\nTo: <{to}>\r\nDateTime: 2026-03-01T10:00:00Z\r\n\r\nContent-Type: text/plain\r\n\r\n{text}"
        );
        let (length, number) = (body.len(), self.transactions);
        let rest = format!(
            "Message-ID: mid{number:05}\r\nByte-Range: 1-{length}/{length}\r\nContent-Type: message/cpim\r\n\r\n{body}\r\n"
        );
        self.msrp("SEND", line, &rest);
    }
}

/// One dialog of the peer's.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) id: String,
    /// The peer's `From`, with its tag.
    pub(crate) from: String,
    pub(crate) contact: String,
    pub(crate) to: String,
    /// The gateway's tag.
    pub(crate) tag: String,
    /// Of the first request.
    pub(crate) cseq: u32,
}

/// Both ends of an MSRP session.
#[derive(Debug, Clone, Default)]
pub(crate) struct Line {
    pub(crate) theirs: String,
    pub(crate) ours: String,
}

/// The MSRP path of a description.
pub(crate) fn path_in(sip: &SipText) -> String {
    let body = String::from_utf8_lossy(&sip.body).into_owned();
    let path = body.lines().find_map(|line| line.strip_prefix("a=path:"));
    path.expect("a description with a path").to_owned()
}

/// The newest request of this method.
pub(crate) fn request(news: &[Output], method: &str) -> SipText {
    let mut requests = news.iter().rev().filter_map(Output::request);
    let found = requests.find(|sip| sip.method() == method);
    found.unwrap_or_else(|| panic!("no {method}")).clone()
}

/// The newest response of this status.
pub(crate) fn response(news: &[Output], status: u16) -> SipText {
    let mut responses = news.iter().rev().filter_map(Output::response);
    let found = responses.find(|sip| sip.status() == Some(status));
    let summary = || news.iter().map(line).collect::<Vec<_>>();
    found
        .unwrap_or_else(|| panic!("no {status}: {:#?}", summary()))
        .clone()
}

/// The newest stanza.
pub(crate) fn stanza(news: &[Output]) -> Element {
    let mut stanzas = news.iter().rev().filter_map(Output::stanza);
    stanzas.next().expect("a stanza").clone()
}

fn line(output: &Output) -> String {
    match &output.what {
        Sent::Sip(sip) => sip_line(sip),
        Sent::Msrp(msrp) => msrp_line(msrp),
        Sent::Stanza(stanza) => stanza_line(stanza),
    }
}

fn sip_line(sip: &SipText) -> String {
    let Some(status) = sip.status() else {
        let mut line = format!("{} {}", sip.method(), sip.request_uri().unwrap_or_default());
        if let Some(uri) = line.find('@').filter(|_| sip.method() != "INVITE") {
            line.truncate(uri);
        }
        for name in ["Subscription-State", "Reason", "Refer-To", "Expires"] {
            if let Some(value) = sip.header(name) {
                let value = value.split(";expires").next().unwrap_or_default();
                line.push_str(&format!(" [{value}]"));
            }
        }
        if sip.header("Content-Type").as_deref() == Some("application/conference-info+xml") {
            line.push_str(&document_line(&sip.body));
        }
        return line;
    };
    let method = sip.cseq_method().unwrap_or_default();
    match (status, method) {
        (100, _) | (200, "NOTIFY") => String::new(),
        _ => format!("{status} {method}"),
    }
}

/// State, version, subject and users of a conference document.
fn document_line(body: &[u8]) -> String {
    let info: Element = std::str::from_utf8(body).unwrap().parse().unwrap();
    let ns = info.ns();
    let child = |of: &Element, name: &str| of.get_child(name, ns.as_str()).cloned();
    let state = info.attr("state").unwrap_or("full");
    let mut line = format!(" {state} {}", info.attr("version").unwrap_or_default());
    if let Some(subject) =
        child(&info, "conference-description").and_then(|found| child(&found, "subject"))
    {
        line.push_str(&format!(" subject={}", subject.text()));
    }
    for user in child(&info, "users").iter().flat_map(Element::children) {
        let sign = match user.attr("state") {
            Some("deleted") => "-",
            _ => "+",
        };
        let entity = user.attr("entity").unwrap_or_default();
        let name = child(user, "display-text").map(|name| format!("={}", name.text()));
        line.push_str(&format!(" {sign}{entity}{}", name.unwrap_or_default()));
    }
    line
}

fn msrp_line(msrp: &MsrpText) -> String {
    if let Some(status) = msrp.status() {
        return format!("msrp {status}");
    }
    if msrp.method() == Some("NICKNAME") {
        let nick = msrp.header("Use-Nickname").unwrap_or_default();
        return format!("NICKNAME {nick}");
    }
    if msrp.is_empty_send() {
        return String::new();
    }
    let body = String::from_utf8_lossy(msrp.body.as_deref().unwrap_or_default()).into_owned();
    let field = |name: &str| {
        let value = body.lines().find_map(|line| line.strip_prefix(name));
        value.unwrap_or_default().trim().to_owned()
    };
    let text = body.rsplit("\r\n\r\n").next().unwrap_or_default();
    format!("SEND {} > {}: {text}", field("From:"), field("To:"))
}

fn stanza_line(stanza: &Element) -> String {
    let attr = |name: &str| stanza.attr(name).unwrap_or_default().to_owned();
    // The token of a leg is another one in each run.
    let plain = |jid: String| match jid.split_once("/room-") {
        Some((bare, _)) => format!("{bare}/room"),
        None => jid,
    };
    let kind = attr("type");
    let mut line = format!(
        "{} {} > {}",
        stanza.name(),
        plain(attr("from")),
        plain(attr("to"))
    );
    if !kind.is_empty() {
        line.push_str(&format!(" {kind}"));
    }
    for child in stanza.children() {
        match (child.name(), child.ns().as_str()) {
            ("body", _) => line.push_str(&format!(": {}", child.text())),
            ("subject", _) => line.push_str(&format!(" subject={}", child.text())),
            ("x", "http://jabber.org/protocol/muc") => line.push_str(" join"),
            ("x", "http://jabber.org/protocol/muc#user") => line.push_str(&occupant_line(child)),
            ("error", _) => {
                let condition = child.children().next().map(Element::name);
                line.push_str(&format!(" {}", condition.unwrap_or_default()));
            }
            _ => {}
        }
    }
    line
}

fn occupant_line(x: &Element) -> String {
    let mut line = String::new();
    for child in x.children() {
        match child.name() {
            "item" => {
                for name in ["affiliation", "role", "jid", "nick"] {
                    let value = child.attr(name).unwrap_or("none");
                    if value != "none" {
                        line.push_str(&format!(" {name}={value}"));
                    }
                }
                if let Some(reason) = child.children().next() {
                    line.push_str(&format!(" ({})", reason.text()));
                }
            }
            "status" => line.push_str(&format!(" {}", child.attr("code").unwrap_or_default())),
            "invite" => {
                let party = child.attr("to").or(child.attr("from")).unwrap_or_default();
                line.push_str(&format!(" invite={party}"));
            }
            name => line.push_str(&format!(" {name}")),
        }
    }
    line
}
