//! Accepted streams.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use stox_core::policy::DomainPattern;
use stox_core::time::{Now, SeededEntropy};
use stox_xmpp::dialback::{DialbackSecret, Trouble};
use stox_xmpp::stream::{
    CertificateRule, DomainPair, ExternalRule, InboundEvent, InboundSettings, InboundStream,
    Limits, PartnerRule, Proof, StanzaNumber, StreamCommand, Timing, TlsInfo, TlsRule, VerifyId,
};

use super::{MOST_TIMEOUTS, Script, TLS, Wire};

const LOCALS: [&str; 5] = [
    "xmpp.example",
    "two.example",
    "new.example",
    "none.example",
    "sip.example",
];
const REMOTES: [&str; 8] = [
    "partner.example",
    "Partner.Example",
    "a.open.example",
    "b.open.example",
    "stranger.example",
    "xmpp.example",
    "sip.example",
    "127.0.0.1",
];
const TEXTS: [&str; 24] = [
    "<?xml version='1.0'?><stream:stream xmlns='jabber:server' xmlns:db='jabber:server:dialback' \
     xmlns:stream='http://etherx.jabber.org/streams' to='{0}' from='{1}' version='1.0'>",
    "<stream:stream xmlns='jabber:server' xmlns:db='jabber:server:dialback' xmlns:stream='http://etherx.jabber.org/streams' \
     to='{0}' from='{1}'>",
    "<stream:stream xmlns='jabber:server' xmlns:db='jabber:server:dialback' xmlns:stream='http://etherx.jabber.org/streams' \
     version='1.0'>",
    "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' to='{0}' version='1.0'>",
    "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>",
    "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'>=</auth>",
    "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'/>",
    "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>AGEAYg==</auth>",
    "<response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>=</response>",
    "<abort xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>",
    "<db:result to='{0}' from='{1}'>key</db:result>",
    "<db:result to='{0}' from='{1}' type='valid'/>",
    "<db:verify to='{0}' from='{1}' id='s&lt;1'>key</db:verify>",
    "<db:verify to='{0}' from='{1}' id='s1' type='valid'/>",
    "<bidi xmlns='urn:xmpp:bidi'/>",
    "<enable xmlns='urn:xmpp:sm:3'/>",
    "<resume xmlns='urn:xmpp:sm:3' previd='x' h='0'/>",
    "<r xmlns='urn:xmpp:sm:3'/>",
    "<compress xmlns='http://jabber.org/protocol/compress'><method>zlib</method></compress>",
    "<message to='a@{0}' from='b@{1}/r' id='1'><body>x</body></message>",
    "<presence to='{0}' from='b@{1}'/>",
    "<message to='a@{0}'><body>x</body></message>",
    "<stream:error><reset xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>",
    "</stream:stream>",
];

struct World {
    stream: InboundStream,
    settings: Arc<InboundSettings>,
    now: Now,
    wire: Wire,
    tls: Option<TlsInfo>,
    /// The handshake has the connection.
    handshake: bool,
    /// What the owner was asked and has not answered.
    asked: BTreeMap<VerifyId, DomainPair>,
    seen: BTreeSet<VerifyId>,
    /// For what it said yes.
    granted: BTreeSet<DomainPair>,
    proved: BTreeSet<DomainPair>,
    stanzas: Vec<StanzaNumber>,
    closed: bool,
    over: bool,
}

fn rule(script: &mut Script<'_>) -> PartnerRule {
    PartnerRule {
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
    }
}

pub(super) fn check(script: &mut Script<'_>) {
    let own = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let partners = [
        ("partner.example", rule(script)),
        ("*.open.example", rule(script)),
    ];
    let settings = Arc::new(InboundSettings {
        local_domains: own(&["xmpp.example", "two.example"]),
        serves_unnamed: script.flag(),
        unclaimable_domains: own(&["sip.example"]),
        partners: partners
            .map(|(name, rule)| (DomainPattern::parse(name), rule))
            .into_iter()
            .collect(),
        secret: DialbackSecret::new(b"secret"),
        limits: Limits::default(),
        timing: Timing::default(),
    });
    let (mut entropy, now) = (SeededEntropy(1), Now::default());
    let tls = script.flag().then(|| script.certificate(&REMOTES));
    let shared = Arc::clone(&settings);
    let stream = match tls.clone() {
        Some(tls) => InboundStream::in_tls(shared, tls, &mut entropy, now),
        None => InboundStream::new(shared, &mut entropy, now),
    };
    let mut world = World {
        stream,
        settings,
        now,
        wire: Wire::default(),
        tls,
        handshake: false,
        asked: BTreeMap::new(),
        seen: BTreeSet::new(),
        granted: BTreeSet::new(),
        proved: BTreeSet::new(),
        stanzas: Vec::new(),
        closed: false,
        over: false,
    };
    while !script.is_over() {
        world.happens(script, &mut entropy);
        world.take();
    }
    world.ends();
}

impl World {
    fn happens(&mut self, script: &mut Script<'_>, entropy: &mut SeededEntropy) {
        let Self { stream, now, .. } = self;
        let now = *now;
        match script.octet() % 16 {
            0..=5 => {
                let text = script.text(&TEXTS, &[&LOCALS, &REMOTES]);
                stream.receive(text.as_bytes(), now);
            }
            6 => stream.receive(script.raw(), now),
            7 => {
                let tls = script.certificate(&REMOTES);
                stream.tls_established(tls.clone(), entropy, now);
                if std::mem::take(&mut self.handshake) {
                    self.tls = Some(tls);
                }
            }
            8..=10 => self.owner_answers(script),
            11 => {
                let number = (!self.stanzas.is_empty()).then(|| script.pick(&self.stanzas));
                number
                    .into_iter()
                    .for_each(|number| stream.stanza_handled(number, now));
            }
            12 => self.owner_sends(script),
            13 | 14 => {
                self.now = script.later(now, stream.poll_timeout());
                stream.handle_timeout(self.now);
            }
            _ => match script.octet() % 4 {
                0 => stream.close(now),
                1 => stream.connection_lost(),
                2 => stream.tls_failed("no common cipher"),
                // What is found out later makes a certificate valid for more (POSH), never for less.
                _ => {
                    let more = script.certificate(&REMOTES);
                    if let Some(tls) = &mut self.tls {
                        tls.valid_names.extend(more.valid_names);
                        stream.certificate_judged(tls.clone());
                    }
                }
            },
        }
    }

    /// Which answers twice now and then.
    fn owner_answers(&mut self, script: &mut Script<'_>) {
        let ids: Vec<VerifyId> = self.seen.iter().copied().collect();
        if ids.is_empty() {
            return;
        }
        let id = script.pick(&ids);
        let verdict = script.pick(&[Ok(true), Ok(true), Ok(false), Err(Trouble::Timeout)]);
        if let Some(pair) = self.asked.remove(&id)
            && verdict == Ok(true)
        {
            self.granted.insert(pair);
        }
        self.stream.verified(id, verdict, self.now);
    }

    fn owner_sends(&mut self, script: &mut Script<'_>) {
        let pair = script.pair(&LOCALS, &REMOTES);
        let DomainPair { local, remote } = &pair;
        let text = format!("<message xmlns='jabber:client' from='a@{local}' to='b@{remote}'/>");
        let stanza = text.parse().expect("a stanza");
        if self.stream.send(&stanza, self.now).is_ok() {
            let remote = remote.to_lowercase();
            let pair = DomainPair { remote, ..pair };
            assert!(self.proved.contains(&pair) && !self.closed, "{pair:?}");
            let rule = self.settings.partners.of(&pair.remote);
            assert!(rule.is_some_and(|rule| rule.bidirectional), "{pair:?}");
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
                    assert!(self.tls.is_none() && self.wire.text().contains(TLS));
                    self.wire.starts_tls();
                    self.handshake = true;
                }
                StreamCommand::Close => self.over = true,
                StreamCommand::Event(event) => self.hears(event),
            }
        }
    }

    fn hears(&mut self, event: InboundEvent) {
        assert!(!self.closed, "{event:?}");
        match event {
            InboundEvent::VerifyKey { id, pair, .. } | InboundEvent::Seek { id, pair } => {
                self.asks(id, pair);
            }
            InboundEvent::Authenticate { id, pair } => {
                assert!(self.has_certificate(&pair), "{pair:?}");
                self.asks(id, pair);
            }
            InboundEvent::DomainProved(pair, proof) => self.is_justified(pair, proof),
            InboundEvent::Stanza { pair, number, .. } => {
                assert!(self.proved.contains(&pair), "{pair:?}");
                self.stanzas.push(number);
            }
            InboundEvent::Bidirectional(pair) => assert!(self.proved.contains(&pair), "{pair:?}"),
            InboundEvent::Opened { encrypted, .. } => assert_eq!(encrypted, self.tls.is_some()),
            InboundEvent::ClaimRefused(..) => {}
            InboundEvent::Closed(_) => self.closed = true,
        }
    }

    fn asks(&mut self, id: VerifyId, pair: DomainPair) {
        assert!(self.seen.insert(id), "{id:?}");
        assert!(self.settings.is_claimable(&pair.remote), "{pair:?}");
        self.asked.insert(id, pair);
        let limits = &self.settings.limits;
        let most = limits.pending_claims + limits.failed_logins + limits.refused_claims + 3;
        assert!(self.asked.len() <= most);
    }

    fn has_certificate(&self, pair: &DomainPair) -> bool {
        let tls = self.tls.as_ref();
        tls.is_some_and(|tls| tls.is_valid_for(&pair.remote))
    }

    fn is_justified(&mut self, pair: DomainPair, proof: Proof) {
        assert!(self.settings.is_claimable(&pair.remote), "{pair:?}");
        let rule = self.settings.partners.of(&pair.remote).expect("a partner");
        assert!(
            self.tls.is_some() || rule.tls != TlsRule::Required,
            "{pair:?}"
        );
        let asked = self.granted.contains(&pair);
        match proof {
            Proof::CertificateWithKey => {
                assert!(rule.takes_external(), "{pair:?}");
                assert!(self.has_certificate(&pair) || asked, "{pair:?}");
            }
            Proof::Certificate => assert!(asked && rule.takes_external(), "{pair:?}"),
            Proof::Dialback => assert!(asked && rule.takes_dialback(), "{pair:?}"),
        }
        let named = self.settings.local_domains.contains(&pair.local);
        assert!(
            named || (self.settings.is_unnamed(&pair.local) && asked),
            "{pair:?}"
        );
        self.proved.insert(pair);
    }

    /// The owner closes, and the clock runs.
    fn ends(&mut self) {
        self.stream.close(self.now);
        self.take();
        for _ in 0..MOST_TIMEOUTS {
            let Some(due) = self.stream.poll_timeout() else {
                break;
            };
            self.now = self.now.after(due.saturating_sub(self.now.mono));
            self.stream.handle_timeout(self.now);
            self.take();
        }
        assert!(self.closed && self.over);
        self.wire.is_sound();
    }
}
