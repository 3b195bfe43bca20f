//! Dialled streams.

use std::collections::BTreeSet;
use std::sync::Arc;

use stox_core::time::Now;
use stox_xmpp::dialback::DialbackSecret;
use stox_xmpp::stream::{
    CertificateRule, CloseReason, DomainPair, ExternalRule, Limits, OutboundEvent,
    OutboundSettings, OutboundStream, PartnerRule, StanzaNumber, StreamCommand, Timing, TlsInfo,
    TlsRule, VerifyRequest,
};

use super::{MOST_TIMEOUTS, Script, Wire};

const LOCALS: [&str; 2] = ["xmpp.example", "two.example"];
const REMOTES: [&str; 3] = ["partner.example", "also.example", "stranger.example"];
const TEXTS: [&str; 29] = [
    "<?xml version='1.0'?><stream:stream xmlns='jabber:server' xmlns:db='jabber:server:dialback' \
     xmlns:stream='http://etherx.jabber.org/streams' from='{1}' id='s1' version='1.0'>",
    "<stream:stream xmlns='jabber:server' xmlns:db='jabber:server:dialback' xmlns:stream='http://etherx.jabber.org/streams' id='s2'>",
    "<stream:stream xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>",
    "<stream:features><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/></stream:features>",
    "<stream:features><dialback xmlns='urn:xmpp:features:dialback'/><sm xmlns='urn:xmpp:sm:3'/></stream:features>",
    "<stream:features><mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>EXTERNAL</mechanism></mechanisms>\
     <bidi xmlns='urn:xmpp:features:bidi'/><sm xmlns='urn:xmpp:sm:3'/></stream:features>",
    "<stream:features><limits xmlns='urn:xmpp:stream-limits:0'><max-bytes>90</max-bytes></limits></stream:features>",
    "<stream:features/>",
    "<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>",
    "<failure xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>",
    "<challenge xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>",
    "<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>",
    "<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><not-authorized/></failure>",
    "<db:result to='{0}' from='{1}' type='valid'/>",
    "<db:result to='{0}' from='{1}' type='valid'/>",
    "<db:result to='{0}' from='{1}' type='invalid'/>",
    "<db:result to='{0}' from='{1}' type='error'/>",
    "<db:result to='{0}' from='{1}'>key</db:result>",
    "<db:verify to='{0}' from='{1}' id='q1' type='valid'/>",
    "<db:verify to='{0}' from='{1}' id='q2' type='invalid'/>",
    "<db:verify to='{0}' from='{1}' id='q&apos;1'>key</db:verify>",
    "<enabled xmlns='urn:xmpp:sm:3'/>",
    "<failed xmlns='urn:xmpp:sm:3'/>",
    "<a xmlns='urn:xmpp:sm:3' h='1'/>",
    "<a xmlns='urn:xmpp:sm:3' h='2'/>",
    "<r xmlns='urn:xmpp:sm:3'/>",
    "<message to='a@{0}' from='b@{1}/r'><body>x</body></message>",
    "<stream:error><reset xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>",
    "</stream:stream>",
];

struct World {
    stream: OutboundStream,
    settings: Arc<OutboundSettings>,
    now: Now,
    wire: Wire,
    tls: Option<TlsInfo>,
    /// The handshake has the connection.
    handshake: bool,
    wanted: BTreeSet<DomainPair>,
    ready: BTreeSet<DomainPair>,
    questions: BTreeSet<VerifyRequest>,
    stanzas: Vec<StanzaNumber>,
    sent: u64,
    acknowledged: u64,
    closed: bool,
    over: bool,
}

pub(super) fn check(script: &mut Script<'_>) {
    let rule = PartnerRule {
        tls: script.pick(&[TlsRule::Required, TlsRule::Optional, TlsRule::Never]),
        external: script.pick(&[
            ExternalRule::Optional,
            ExternalRule::Required,
            ExternalRule::Off,
        ]),
        certificate: script.pick(&[CertificateRule::Any, CertificateRule::ValidForPartner]),
        dialback: !script.flag(),
        before_1_0: script.flag(),
        bidirectional: script.flag(),
    };
    let settings = Arc::new(OutboundSettings {
        pair: script.pair(&LOCALS, &REMOTES[..1]),
        rule,
        external: script.flag(),
        stream_management: !script.flag(),
        secret: DialbackSecret::new(b"secret"),
        limits: Limits::default(),
        timing: Timing::default(),
    });
    let (now, shared) = (Now::default(), Arc::clone(&settings));
    let tls = script.flag().then(|| script.certificate(&REMOTES));
    let stream = match tls.clone() {
        Some(tls) => OutboundStream::in_tls(shared, tls, now),
        None => OutboundStream::new(shared, now),
    };
    let mut world = World {
        stream,
        settings,
        now,
        wire: Wire::default(),
        tls,
        handshake: false,
        wanted: BTreeSet::new(),
        ready: BTreeSet::new(),
        questions: BTreeSet::new(),
        stanzas: Vec::new(),
        sent: 0,
        acknowledged: 0,
        closed: false,
        over: false,
    };
    world.take();
    while !script.is_over() {
        world.happens(script);
        world.take();
    }
    world.ends();
}

impl World {
    fn happens(&mut self, script: &mut Script<'_>) {
        let now = self.now;
        match script.octet() % 16 {
            0..=6 => {
                let text = script.text(&TEXTS, &[&LOCALS, &REMOTES]);
                self.stream.receive(text.as_bytes(), now);
            }
            7 => self.stream.receive(script.raw(), now),
            8 => {
                let tls = script.certificate(&REMOTES);
                if std::mem::take(&mut self.handshake) {
                    self.tls = Some(tls.clone());
                }
                self.stream.tls_established(tls, now);
            }
            9 => self.wants(script.pair(&LOCALS, &REMOTES)),
            10 => self.asks(script),
            11 => self.sends(script),
            12 => {
                self.stream.request_acknowledgement(now);
            }
            13 | 14 => {
                self.now = script.later(now, self.stream.poll_timeout());
                self.stream.handle_timeout(self.now);
            }
            _ => match script.octet() % 4 {
                0 => self.stream.close(now),
                1 => self.stream.connection_lost(),
                2 => self.stream.tls_failed("no common cipher"),
                _ => {
                    let number = (!self.stanzas.is_empty()).then(|| script.pick(&self.stanzas));
                    if let Some(number) = number {
                        self.stream.stanza_handled(number, now);
                    }
                }
            },
        }
    }

    fn wants(&mut self, pair: DomainPair) {
        if !self.closed {
            self.wanted.insert(pair.clone());
        }
        self.stream.authorise(pair, self.now);
    }

    fn asks(&mut self, script: &mut Script<'_>) {
        let request = VerifyRequest {
            pair: script.pair(&LOCALS, &REMOTES),
            stream_id: script.pick(&["q1", "q2", "q'1"]).to_owned(),
            key: script.pick(&["key", "<key>"]).to_owned(),
        };
        if !self.closed {
            self.questions.insert(request.clone());
        }
        self.stream.verify(request, self.now);
    }

    fn sends(&mut self, script: &mut Script<'_>) {
        let pair = script.pair(&LOCALS, &REMOTES);
        let DomainPair { local, remote } = &pair;
        let body = script.pick(&[
            "",
            "x",
            "&lt;/stream:stream&gt;",
            "a longer body than some take",
        ]);
        let text = format!(
            "<message xmlns='jabber:client' from='a@{local}' to='b@{remote}'><body>{body}</body></message>"
        );
        let stanza = text.parse().expect("a stanza");
        if let Ok(number) = self.stream.send(&stanza, self.now) {
            assert!(self.ready.contains(&pair) && !self.closed, "{pair:?}");
            self.sent += 1;
            assert_eq!(number, self.sent);
        }
    }

    fn take(&mut self) {
        while let Some(command) = self.stream.poll_command() {
            assert!(!self.over, "{command:?}");
            match command {
                StreamCommand::Write(octets) => {
                    assert!(!self.closed);
                    self.wire.write(&octets);
                }
                StreamCommand::StartTls => {
                    assert!(self.settings.rule.tls != TlsRule::Never);
                    self.wire.starts_tls();
                    self.handshake = true;
                }
                StreamCommand::Close => self.over = true,
                StreamCommand::Event(event) => self.hears(event),
            }
        }
        self.says_nothing_too_early();
    }

    /// Where TLS is needed, or a certificate, neither key nor question nor stanza goes out before.
    fn says_nothing_too_early(&self) {
        let rule = &self.settings.rule;
        let remote = &self.settings.pair.remote;
        let trusted = self
            .tls
            .as_ref()
            .is_some_and(|tls| tls.is_valid_for(remote));
        let too_early = (rule.tls == TlsRule::Required && self.tls.is_none())
            || (rule.needs_valid_certificate() && !trusted);
        if too_early {
            let text = self.wire.text();
            for sign in ["<db:result", "<message", "<auth"] {
                assert!(!text.contains(sign), "{text}");
            }
        }
    }

    fn hears(&mut self, event: OutboundEvent) {
        assert!(!self.closed, "{event:?}");
        match event {
            OutboundEvent::Negotiated { encrypted, .. } => {
                assert_eq!(encrypted, self.tls.is_some());
                assert!(encrypted || self.settings.rule.tls != TlsRule::Required);
            }
            OutboundEvent::Ready(pair) => {
                assert!(self.wanted.remove(&pair), "{pair:?}");
                self.ready.insert(pair);
            }
            OutboundEvent::PairRefused(pair, _) => {
                assert!(self.wanted.remove(&pair), "{pair:?}");
            }
            OutboundEvent::Verified(question, _) => {
                assert!(self.questions.remove(&question), "{question:?}");
            }
            OutboundEvent::Stanza { pair, number, .. } => {
                assert!(self.settings.rule.bidirectional && self.ready.contains(&pair));
                self.stanzas.push(number);
            }
            OutboundEvent::Acknowledged(count) => {
                assert!((self.acknowledged + 1..=self.sent).contains(&count));
                self.acknowledged = count;
            }
            OutboundEvent::ExternalRefused(_) => {}
            OutboundEvent::Closed(reason) => {
                let refused = matches!(reason, CloseReason::CertificateNotValid { .. });
                assert!(!refused || self.settings.rule.needs_valid_certificate());
                self.closed = true;
            }
        }
    }

    /// All pairs and questions are settled by their time-outs; then the owner closes.
    fn ends(&mut self) {
        self.runs(40);
        self.stream.close(self.now);
        self.take();
        self.runs(MOST_TIMEOUTS);
        assert!(self.closed && self.over);
        self.wire.is_sound();
    }

    fn runs(&mut self, most: usize) {
        for _ in 0..most {
            let Some(due) = self.stream.poll_timeout() else {
                break;
            };
            self.now = self.now.after(due.saturating_sub(self.now.mono));
            self.stream.handle_timeout(self.now);
            self.take();
        }
    }
}
