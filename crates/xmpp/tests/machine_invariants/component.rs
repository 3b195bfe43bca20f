//! The stream of a component.

use std::collections::BTreeSet;
use std::sync::Arc;

use stox_core::time::Now;
use stox_xmpp::stream::{
    ComponentEvent, ComponentSecret, ComponentSettings, ComponentStream, Limits, StreamCommand,
    Timing,
};

use super::{MOST_TIMEOUTS, Script, Wire};

const OURS: [&str; 3] = ["gw.example", "two.example", "other.example"];
const TEXTS: [&str; 13] = [
    "<?xml version='1.0'?><stream:stream xmlns='jabber:component:accept' xmlns:stream='http://etherx.jabber.org/streams' \
     from='gw.example' id='s1'>",
    "<stream:stream xmlns='jabber:component:accept' xmlns:stream='http://etherx.jabber.org/streams' from='gw.example'>",
    "<stream:stream xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams' id='s1'>",
    "<handshake/>",
    "<handshake xmlns='jabber:component:accept'/>",
    "<stream:features/>",
    "<message to='a@{0}' from='b@{1}/r'><body>x</body></message>",
    "<presence to='{0}' from='{1}'/>",
    "<message to='a@@' from='b@{1}'/>",
    "<iq type='result' id='stoxgate-echo' to='gw.example' from='gw.example'/>",
    "<unknown/>",
    "<stream:error><conflict xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>",
    "</stream:stream>",
];
const REMOTES: [&str; 4] = ["partner.example", "gw.example", "TWO.example", "127.0.0.1"];

struct World {
    stream: ComponentStream,
    now: Now,
    wire: Wire,
    ready: bool,
    closed: bool,
    over: bool,
}

pub(super) fn check(script: &mut Script<'_>) {
    let settings = ComponentSettings {
        domain: OURS[0].to_owned(),
        own_domains: OURS[..2]
            .iter()
            .map(|name| (*name).to_owned())
            .collect::<BTreeSet<_>>(),
        secret: ComponentSecret::new("pencil"),
        limits: Limits {
            octets_after_auth: 400,
            ..Limits::default()
        },
        timing: Timing::default(),
    };
    let now = Now::default();
    let mut world = World {
        stream: ComponentStream::new(Arc::new(settings), now),
        now,
        wire: Wire::default(),
        ready: false,
        closed: false,
        over: false,
    };
    while !script.is_over() {
        world.happens(script);
        world.take();
    }
    world.runs(20);
    world.stream.close(world.now);
    world.take();
    world.runs(MOST_TIMEOUTS);
    assert!(world.closed && world.over);
    world.wire.is_sound();
    assert!(!world.wire.text().contains("pencil"));
}

impl World {
    fn happens(&mut self, script: &mut Script<'_>) {
        let now = self.now;
        match script.octet() % 8 {
            0..=3 => {
                let text = script.text(&TEXTS, &[&OURS, &REMOTES]);
                self.stream.receive(text.as_bytes(), now);
            }
            4 => self.stream.receive(script.raw(), now),
            5 => {
                let (from, to) = (script.pick(&OURS), script.pick(&REMOTES));
                let text = format!("<message xmlns='jabber:client' from='a@{from}' to='b@{to}'/>");
                let stanza = text.parse().expect("a stanza");
                let sent = self.stream.send(&stanza, now).is_ok();
                assert!(!sent || (self.ready && !self.closed && from == OURS[0]));
            }
            6 => {
                self.now = script.later(now, self.stream.poll_timeout());
                self.stream.handle_timeout(self.now);
            }
            _ if script.flag() => self.stream.close(now),
            _ => self.stream.connection_lost(),
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
                StreamCommand::StartTls => panic!("there is no TLS"),
                StreamCommand::Close => self.over = true,
                StreamCommand::Event(event) => self.hears(event),
            }
        }
    }

    fn hears(&mut self, event: ComponentEvent) {
        assert!(!self.closed, "{event:?}");
        match event {
            ComponentEvent::Ready => {
                assert!(self.wire.text().contains("<handshake>"));
                assert!(!std::mem::replace(&mut self.ready, true));
            }
            ComponentEvent::Stanza { remote, .. } => {
                assert!(
                    self.ready && !OURS[..2].contains(&remote.as_str()),
                    "{remote}"
                );
            }
            ComponentEvent::TooLarge(_) | ComponentEvent::Dropped(_) => assert!(self.ready),
            ComponentEvent::Closed(_) => self.closed = true,
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
