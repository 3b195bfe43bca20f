//! An XMPP server of jabber.test of which ocs.test is a component (XEP-0114). It does what the test says, step by step.

use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};

use sha1::{Digest, Sha1};

use crate::harness::DEADLINE;
use crate::xml_pieces::{Pieces, attribute};

pub(crate) const SECRET: &str = "open-sesame-7";
const ID: &str = "s&1";

/// The server's component port.
pub(crate) struct ComponentServer {
    listener: TcpListener,
}

/// One connection of the component's.
pub(crate) struct Line {
    stream: TcpStream,
    pieces: Pieces<TcpStream>,
}

impl ComponentServer {
    pub(crate) fn start() -> Self {
        Self {
            listener: TcpListener::bind("127.0.0.1:0").unwrap(),
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.listener.local_addr().unwrap()
    }

    /// Takes the next connection up to the component's handshake, which must show the secret.
    pub(crate) fn meet(&self) -> Line {
        let (stream, _) = self.listener.accept().unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let pieces = Pieces::new(stream.try_clone().unwrap());
        let mut line = Line { stream, pieces };
        let header = line.next();
        assert!(header.starts_with("<stream:stream"), "{header}");
        assert_eq!(attribute(&header, "xmlns"), "jabber:component:accept");
        assert_eq!(attribute(&header, "to"), "ocs.test");
        line.say(
            "<?xml version='1.0'?><stream:stream xmlns='jabber:component:accept' \
             xmlns:stream='http://etherx.jabber.org/streams' from='ocs.test' id='s&amp;1'>",
        );
        let digest = Sha1::digest(format!("{ID}{SECRET}"));
        let digest: String = digest.iter().map(|octet| format!("{octet:02x}")).collect();
        assert_eq!(line.next(), format!("<handshake>{digest}</handshake>"));
        line
    }

    /// Takes the next connection and accepts the component.
    pub(crate) fn accept(&self) -> Line {
        let mut line = self.meet();
        line.say("<handshake/>");
        line
    }
}

impl Line {
    pub(crate) fn say(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).unwrap();
    }

    /// Refuses the component, in the words of a stream error.
    pub(crate) fn refuse(mut self, condition: &str) {
        self.say(&format!(
            "<stream:error><{condition} xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error></stream:stream>"
        ));
        _ = self.pieces.next();
    }

    fn next(&mut self) -> String {
        self.pieces.next().expect("the stream goes on")
    }

    /// The component ends its stream. This is not answered.
    pub(crate) fn hear_end(&mut self) {
        for piece in self.pieces.by_ref() {
            assert!(piece.contains("stoxgate-echo"), "{piece}");
        }
    }

    /// The next stanza that is no ping of the component's to itself.
    pub(crate) fn stanza(&mut self) -> String {
        loop {
            let stanza = self.next();
            if !stanza.contains("stoxgate-echo") {
                return stanza;
            }
        }
    }

    /// The next stanza, which contains these words.
    pub(crate) fn hear(&mut self, words: &str) -> String {
        let stanza = self.stanza();
        assert!(stanza.contains(words), "`{words}` in {stanza}");
        stanza
    }

    /// Answers the next stanza, a fence.
    pub(crate) fn pass_fence(&mut self) {
        let ping = self.hear("urn:xmpp:ping");
        let id = attribute(&ping, "id");
        self.say(&format!(
            "<iq type='result' id='{id}' from='jabber.test' to='ocs.test'/>"
        ));
    }

    /// Sends a stanza back with an error, as for a domain that the server cannot reach.
    pub(crate) fn bounce(&mut self, stanza: &str, condition: &str) {
        let name = stanza[1..].split(' ').next().unwrap();
        let (from, to) = (attribute(stanza, "from"), attribute(stanza, "to"));
        let id = attribute(stanza, "id");
        self.say(&format!(
            "<{name} type='error' id='{id}' from='{to}' to='{from}'><error type='cancel'>\
             <{condition} xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></{name}>"
        ));
    }

    /// What the component still says, up to its end of the stream.
    pub(crate) fn rest(self) -> Vec<String> {
        self.pieces
            .filter(|piece| !piece.contains("stoxgate-echo"))
            .collect()
    }
}
