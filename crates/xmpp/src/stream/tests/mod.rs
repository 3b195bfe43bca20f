//! Streams as dialogues: octets in, commands out, on virtual time, with nothing left over.

mod bidi;
mod client;
mod component;
mod corpus;
mod dialled_external;
mod dialogue;
mod direct_tls;
mod external;
mod matrix;
mod misuse;
mod properties;
mod timing;
mod transcripts;
mod unnamed;

use std::{collections::BTreeSet, fmt::Debug, sync::Arc, time::Duration};

use stox_core::{
    policy::DomainPattern,
    time::{Now, SeededEntropy},
};

use super::*;
use crate::dialback::DialbackSecret;

/// What a machine asked for; neighbouring writes are one.
#[derive(Debug, Clone, PartialEq)]
enum Seen<E> {
    Wrote(String),
    StartTls,
    Close,
    Said(E),
}

fn seen<E>(mut poll: impl FnMut() -> Option<StreamCommand<E>>) -> Vec<Seen<E>> {
    let mut list = Vec::new();
    while let Some(command) = poll() {
        match command {
            StreamCommand::Write(octets) => {
                let text = String::from_utf8(octets.to_vec()).unwrap();
                if let Some(Seen::Wrote(before)) = list.last_mut() {
                    before.push_str(&text);
                } else {
                    list.push(Seen::Wrote(text));
                }
            }
            StreamCommand::StartTls => list.push(Seen::StartTls),
            StreamCommand::Close => list.push(Seen::Close),
            StreamCommand::Event(event) => list.push(Seen::Said(event)),
        }
    }
    list
}

fn wrote<E>(text: impl Into<String>) -> Seen<E> {
    Seen::Wrote(text.into())
}

fn at(seconds: u64) -> Now {
    Now::default().after(Duration::from_secs(seconds))
}

fn pair(local: &str, remote: &str) -> DomainPair {
    DomainPair {
        local: local.to_owned(),
        remote: remote.to_owned(),
    }
}

fn certificate(names: &[&str]) -> TlsInfo {
    TlsInfo {
        valid_names: names.iter().map(|name| (*name).to_owned()).collect(),
        ..TlsInfo::default()
    }
}

fn names(list: &[&str]) -> BTreeSet<String> {
    list.iter().map(|name| (*name).to_owned()).collect()
}

/// One rule for all but `clear.test`, which may speak in clear.
fn partners(rule: PartnerRule) -> PartnerRules {
    let clear = PartnerRule {
        tls: TlsRule::Optional,
        ..PartnerRule::default()
    };
    [("clear.test", clear), ("*", rule)]
        .map(|(pattern, rule)| (DomainPattern::parse(pattern), rule))
        .into_iter()
        .collect()
}

/// The default rule with other encryption.
fn encryption(tls: TlsRule) -> PartnerRule {
    PartnerRule {
        tls,
        ..PartnerRule::default()
    }
}

fn inbound_settings(local: &[&str], tls: TlsRule) -> InboundSettings {
    InboundSettings {
        local_domains: names(local),
        serves_unnamed: false,
        unclaimable_domains: names(&["spoken-for.test"]),
        partners: partners(encryption(tls)),
        secret: DialbackSecret::new(local.concat().as_bytes()),
        limits: Limits::default(),
        timing: Timing::default(),
    }
}

fn outbound_settings(local: &str, remote: &str) -> OutboundSettings {
    OutboundSettings {
        pair: pair(local, remote),
        rule: PartnerRule::default(),
        external: true,
        stream_management: true,
        secret: DialbackSecret::new(local.as_bytes()),
        limits: Limits::default(),
        timing: Timing::default(),
    }
}

/// An accepted stream with its driver.
struct Accepted {
    stream: InboundStream,
    entropy: SeededEntropy,
    now: Now,
}

const ID_1: &str = "e220a8397b1dcdaf6e789e6aa1b965f4";
const ID_2: &str = "06c45d188009454ff88bb8a8724c81ec";

impl Accepted {
    fn new(settings: InboundSettings) -> Self {
        let mut entropy = SeededEntropy(0);
        let stream = InboundStream::new(Arc::new(settings), &mut entropy, at(0));
        Self {
            stream,
            entropy,
            now: at(0),
        }
    }

    fn take(&mut self, text: &str) -> Vec<Seen<InboundEvent>> {
        self.stream.receive(text.as_bytes(), self.now);
        self.seen()
    }

    fn tls(&mut self, info: TlsInfo) -> Vec<Seen<InboundEvent>> {
        self.stream
            .tls_established(info, &mut self.entropy, self.now);
        self.seen()
    }

    fn seen(&mut self) -> Vec<Seen<InboundEvent>> {
        seen(|| self.stream.poll_command())
    }

    /// Lets the clock run to the next time-out, which must be at this second.
    fn time_out_at(&mut self, seconds: u64) -> Vec<Seen<InboundEvent>> {
        assert_eq!(self.stream.poll_timeout(), Some(at(seconds).mono));
        self.now = at(seconds);
        self.stream.handle_timeout(self.now);
        self.seen()
    }

    /// Opens the stream, shakes hands and proves the partner.
    fn proved(settings: InboundSettings, local: &str, remote: &str) -> Self {
        let mut accepted = Self::new(settings);
        accepted.take(&header(remote, local));
        accepted.take(STARTTLS);
        accepted.tls(certificate(&[]));
        accepted.take(&header(remote, local));
        accepted.prove(local, remote);
        accepted
    }

    fn prove(&mut self, local: &str, remote: &str) {
        let claimed = self.take(&format!(
            "<db:result from='{remote}' to='{local}'>key</db:result>"
        ));
        let [Seen::Said(InboundEvent::VerifyKey { id, .. })] = claimed.as_slice() else {
            panic!("{claimed:?}");
        };
        self.stream.verified(*id, Ok(true), self.now);
        assert_eq!(
            self.seen(),
            [
                wrote(format!(
                    "<db:result from='{local}' to='{remote}' type='valid'/>"
                )),
                Seen::Said(InboundEvent::DomainProved(
                    pair(local, remote),
                    Proof::Dialback
                )),
            ]
        );
    }

    /// The certificate that was shown is valid for the partner, so that its key is not asked about.
    fn prove_by_certificate(&mut self, local: &str, remote: &str) {
        assert_eq!(
            self.take(&format!(
                "<db:result from='{remote}' to='{local}'>key</db:result>"
            )),
            [
                wrote(format!(
                    "<db:result from='{local}' to='{remote}' type='valid'/>"
                )),
                Seen::Said(InboundEvent::DomainProved(
                    pair(local, remote),
                    Proof::CertificateWithKey
                )),
            ]
        );
    }
}

/// A dialled stream with its driver.
struct Dialled {
    stream: OutboundStream,
    now: Now,
}

impl Dialled {
    fn new(settings: OutboundSettings) -> Self {
        Self {
            stream: OutboundStream::new(Arc::new(settings), at(0)),
            now: at(0),
        }
    }

    fn take(&mut self, text: &str) -> Vec<Seen<OutboundEvent>> {
        self.stream.receive(text.as_bytes(), self.now);
        self.seen()
    }

    fn seen(&mut self) -> Vec<Seen<OutboundEvent>> {
        seen(|| self.stream.poll_command())
    }

    fn time_out_at(&mut self, seconds: u64) -> Vec<Seen<OutboundEvent>> {
        assert_eq!(self.stream.poll_timeout(), Some(at(seconds).mono));
        self.now = at(seconds);
        self.stream.handle_timeout(self.now);
        self.seen()
    }

    /// A stream up to its negotiation, with what a plain peer of ours answers.
    fn negotiated(settings: OutboundSettings) -> Self {
        let (local, remote) = (settings.pair.local.clone(), settings.pair.remote.clone());
        let mut dialled = Self::new(settings);
        dialled.take(&answer_header(&remote, &local, "s1"));
        dialled.take(FEATURES_STARTTLS);
        assert_eq!(dialled.take(PROCEED), [Seen::StartTls]);
        dialled
            .stream
            .tls_established(certificate(&[&remote]), dialled.now);
        dialled.seen();
        dialled.take(&answer_header(&remote, &local, "s2"));
        let seen = dialled.take(FEATURES_DIALBACK);
        assert!(
            matches!(
                seen.as_slice(),
                [Seen::Said(OutboundEvent::Negotiated {
                    encrypted: true,
                    ..
                })]
            ),
            "{seen:?}"
        );
        dialled
    }

    /// One pair asked for and accepted.
    fn ready(settings: OutboundSettings) -> Self {
        let wanted = settings.pair.clone();
        let mut dialled = Self::negotiated(settings);
        dialled.stream.authorise(wanted.clone(), dialled.now);
        dialled.seen();
        let seen = dialled.take(&format!(
            "<db:result from='{}' to='{}' type='valid'/>",
            wanted.remote, wanted.local
        ));
        assert!(seen.contains(&Seen::Said(OutboundEvent::Ready(wanted))));
        dialled
    }
}

const STARTTLS: &str = "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>";
const PROCEED: &str = "<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>";
const FEATURES_STARTTLS: &str = "<stream:features><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'><required/></starttls></stream:features>";
const FEATURES_DIALBACK: &str =
    "<stream:features><dialback xmlns='urn:xmpp:features:dialback'/></stream:features>";
const OUR_FEATURES: &str = "<stream:features><dialback xmlns='urn:xmpp:features:dialback'><errors/></dialback><sm xmlns='urn:xmpp:sm:3'/><limits xmlns='urn:xmpp:stream-limits:0'><max-bytes>262144</max-bytes><idle-seconds>600</idle-seconds></limits></stream:features>";
const CLOSING: &str = "</stream:stream>";

/// What a peer is offered whose certificate names it.
fn our_features_with_external() -> String {
    OUR_FEATURES.replace(
        "<stream:features>",
        "<stream:features><mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>\
         <mechanism>EXTERNAL</mechanism></mechanisms>",
    )
}

/// The header of a peer that dialled.
fn header(from: &str, to: &str) -> String {
    format!(
        "<?xml version='1.0'?><stream:stream xmlns='jabber:server' xmlns:db='jabber:server:dialback' \
         xmlns:stream='http://etherx.jabber.org/streams' from='{from}' to='{to}' version='1.0'>"
    )
}

/// The header of a peer that was dialled.
fn answer_header(from: &str, to: &str, id: &str) -> String {
    header(from, to).replace(" version='1.0'>", &format!(" id='{id}' version='1.0'>"))
}

/// The header that our machines write.
fn our_header(from: &str, to: &str, id: Option<&str>) -> String {
    super::header::header_to_wire(Some(from), Some(to), id)
}

/// The stream error that ends a machine's output.
fn error_and_close(condition: &str, text: &str) -> String {
    let text = if text.is_empty() {
        String::new()
    } else {
        format!("<text xmlns='urn:ietf:params:xml:ns:xmpp-streams' xml:lang='en'>{text}</text>")
    };
    format!(
        "<stream:error><{condition} xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>{text}</stream:error></stream:stream>"
    )
}

/// The condition with which a machine refused its peer.
fn refused_with<E: Debug + Clone>(
    seen: &[Seen<E>],
    reason: impl Fn(&E) -> Option<CloseReason>,
) -> Option<StreamCondition> {
    match seen {
        [.., Seen::Said(event), Seen::Close] => match reason(event) {
            Some(CloseReason::Refused(error)) => Some(error.condition),
            _ => None,
        },
        _ => None,
    }
}

fn inbound_refused_with(seen: &[Seen<InboundEvent>]) -> Option<StreamCondition> {
    refused_with(seen, |event| match event {
        InboundEvent::Closed(reason) => Some(reason.clone()),
        _ => None,
    })
}
