//! The streams of an account, one connection after the other.

use std::sync::Arc;

use stox_core::time::Now;
use stox_xmpp::stream::{
    ClientEvent, ClientSettings, ClientStream, Limits, Password, StanzaNumber, StreamCommand,
    Timing, TlsInfo,
};

use super::{MOST_TIMEOUTS, Script, Wire};

const NAMES: [&str; 2] = ["jabber.example", "evil.example"];
const NONCE: &str = "rOprNGfwEbeRWgbNEkqO";
/// Keys that are derived at most: one takes a while.
const MOST_KEYS: usize = 2;
const TEXTS: [&str; 30] = [
    "<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' \
     from='jabber.example' id='x' version='1.0'>",
    "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>",
    "<stream:stream xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>",
    "<stream:features><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/></stream:features>",
    "<stream:features/>",
    "<stream:features><mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>PLAIN</mechanism></mechanisms></stream:features>",
    "<stream:features><mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>PLAIN</mechanism>\
     <mechanism>SCRAM-SHA-256</mechanism><mechanism>SCRAM-SHA-256-PLUS</mechanism></mechanisms></stream:features>",
    "<stream:features><mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>SCRAM-SHA-1</mechanism>\
     <mechanism>SCRAM-SHA-1-PLUS</mechanism></mechanisms></stream:features>",
    "<stream:features><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/><sm xmlns='urn:xmpp:sm:3'/></stream:features>",
    "<stream:features><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/><session xmlns='urn:ietf:params:xml:ns:xmpp-session'/></stream:features>",
    "<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>",
    "<failure xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>",
    // The server's half of RFC 7677 §3.
    "<challenge xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>cj1yT3ByTkdmd0ViZVJXZ2JORWtxTyVodllEcFdVYTJSYVRDQWZ1eEZJbGopaE5sRiRrMCxzPVcyMlphSjBTTlk3c29Fc1VFamI2Z1E9PSxpPTQwOTY=</challenge>",
    "<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>dj02cnJpVFJCaTIzV3BSUi93dHVwK21NaFVaVW4vZEI1bkxUSlJzamw5NUc0PQ==</success>",
    "<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>",
    "<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><not-authorized/></failure>",
    "<iq type='result' id='stoxgate-bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><jid>user@jabber.example/r</jid></bind></iq>",
    "<iq type='error' id='stoxgate-bind'><error type='cancel'><conflict xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>",
    "<iq type='result' id='stoxgate-session'/>",
    "<enabled xmlns='urn:xmpp:sm:3' id='s&lt;1' resume='true'/>",
    "<enabled xmlns='urn:xmpp:sm:3'/>",
    "<failed xmlns='urn:xmpp:sm:3'/>",
    "<resumed xmlns='urn:xmpp:sm:3' h='0' previd='s&lt;1'/>",
    "<resumed xmlns='urn:xmpp:sm:3' h='1' previd='s&lt;1'/>",
    "<r xmlns='urn:xmpp:sm:3'/>",
    "<a xmlns='urn:xmpp:sm:3' h='1'/>",
    "<a xmlns='urn:xmpp:sm:3' h='4294967295'/>",
    "<message from='b@partner.example'><body>x</body></message>",
    "<iq type='result' id='stoxgate-echo' from='jabber.example'/>",
    "</stream:stream>",
];

struct World {
    stream: ClientStream,
    settings: Arc<ClientSettings>,
    password: Password,
    now: Now,
    wire: Wire,
    secure: bool,
    /// The handshake has the connection.
    handshake: bool,
    /// A session may go on, for which stanzas are kept.
    resumes: bool,
    ready: bool,
    stanzas: Vec<StanzaNumber>,
    keys: usize,
    closed: bool,
    over: bool,
}

pub(super) fn check(script: &mut Script<'_>) {
    let password = Password::new("pencil").expect("a password");
    let settings = Arc::new(ClientSettings {
        user: "user".to_owned(),
        domain: NAMES[0].to_owned(),
        password: password.clone(),
        plain: script.flag(),
        limits: Limits::default(),
        timing: Timing::default(),
    });
    let now = Now::default();
    let mut world = World {
        stream: ClientStream::new(Arc::clone(&settings), None, NONCE.to_owned(), now),
        settings,
        password,
        now,
        wire: Wire::default(),
        secure: false,
        handshake: false,
        resumes: false,
        ready: false,
        stanzas: Vec::new(),
        keys: 0,
        closed: false,
        over: false,
    };
    world.take();
    while !script.is_over() {
        world = world.happens(script);
        world.take();
    }
    world.runs(20);
    world.stream.close(world.now);
    world.take();
    world.runs(MOST_TIMEOUTS);
    assert!(world.closed && world.over);
    world.wire.is_sound();
}

impl World {
    fn happens(mut self, script: &mut Script<'_>) -> Self {
        let now = self.now;
        match script.octet() % 16 {
            0..=7 => {
                let text = script.text(&TEXTS, &[]);
                self.stream.receive(text.as_bytes(), now);
            }
            8 => self.stream.receive(script.raw(), now),
            9 => {
                let tls = TlsInfo {
                    valid_names: vec![script.pick(&NAMES).to_owned()],
                    distrust: None,
                };
                if std::mem::take(&mut self.handshake) {
                    self.secure = tls.is_valid_for(NAMES[0]);
                }
                self.stream.tls_done(&tls, None, now);
            }
            10 => self.sends(script),
            11 => self.stream.request_acknowledgement(now),
            12 => {
                let number = (!self.stanzas.is_empty()).then(|| script.pick(&self.stanzas));
                number
                    .into_iter()
                    .for_each(|number| self.stream.handled(number, now));
            }
            13 => {
                self.now = script.later(now, self.stream.poll_timeout());
                self.stream.handle_timeout(self.now);
            }
            14 => return self.again(script),
            _ => match script.octet() % 3 {
                0 => self.stream.close(now),
                1 => self.stream.connection_lost(),
                _ => self.stream.tls_failed("no common cipher"),
            },
        }
        self
    }

    fn sends(&mut self, script: &mut Script<'_>) {
        let body = script.pick(&["x", "&lt;/stream:stream&gt;", "&amp;"]);
        let text = format!(
            "<message xmlns='jabber:client' to='b@x.example'><body>{body}</body></message>"
        );
        let stanza = text.parse().expect("a stanza");
        let sent = self.stream.send(&stanza, self.now).is_ok();
        assert!(!sent || self.ready || self.resumes);
    }

    /// The connection is lost, and another one is made for the same session.
    fn again(mut self, script: &mut Script<'_>) -> Self {
        self.stream.connection_lost();
        self.take();
        assert!(self.closed && self.over);
        self.wire.is_sound();
        let (settings, nonce) = (Arc::clone(&self.settings), NONCE.to_owned());
        let session = self.stream.into_session();
        let resumes = session.is_some();
        let in_tls = script.flag();
        let begin = if in_tls {
            ClientStream::in_tls
        } else {
            ClientStream::new
        };
        Self {
            stream: begin(settings, session, nonce, self.now),
            wire: Wire::default(),
            secure: false,
            handshake: false,
            resumes,
            ready: false,
            closed: false,
            over: false,
            ..self
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
                    assert!(!self.secure);
                    self.wire.starts_tls();
                    self.handshake = true;
                }
                StreamCommand::Close => self.over = true,
                StreamCommand::Event(event) => self.hears(event),
            }
        }
        self.tells_nobody_else();
    }

    /// Who we are, and what for, is for the server alone; the password is for one that may see it.
    fn tells_nobody_else(&self) {
        let text = self.wire.text();
        assert!(!text.contains("pencil"), "{text}");
        if !self.secure {
            for sign in ["user", "<auth", "<iq", "<message", "urn:xmpp:sm:3"] {
                assert!(!text.contains(sign), "{text}");
            }
        }
        // The password of PLAIN, in Base64.
        let plain = text.contains("'PLAIN'") || text.contains("cGVuY2ls");
        assert!(!plain || self.settings.plain, "{text}");
    }

    fn hears(&mut self, event: ClientEvent) {
        assert!(!self.closed, "{event:?}");
        match event {
            ClientEvent::Derive(request) if self.keys < MOST_KEYS => {
                self.keys += 1;
                let key = request.derive(&self.password);
                self.stream.derived(&key, self.now);
            }
            ClientEvent::Bound { .. } | ClientEvent::Resumed(_) => {
                assert!(self.secure && !self.ready);
                self.ready = true;
            }
            ClientEvent::Stanza { number, .. } | ClientEvent::TooLarge { number, .. } => {
                assert!(self.secure);
                self.stanzas.push(number);
            }
            ClientEvent::Derive(_) | ClientEvent::Refused(_) | ClientEvent::SessionLost => {}
            ClientEvent::Closed(_) => self.closed = true,
        }
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
