//! An XMPP server of one domain, with or without TLS: it takes the gateway's streams, is the authority that dialback asks,
//! and hands on every stanza.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use rustls::ServerConfig;

use crate::harness::DEADLINE;
use crate::tls;
use crate::xml_pieces::{Pieces, attribute, header};

/// The running server.
pub(crate) struct XmppServer {
    pub(crate) address: SocketAddr,
    pub(crate) stanzas: Receiver<String>,
    shared: Shared,
}

#[derive(Clone)]
struct Shared {
    /// Whose server it is, and whom it speaks with.
    domain: &'static str,
    partner: &'static str,
    /// Its stream to the gateway, for answers to pings.
    out: Arc<Mutex<Option<Box<dyn Write + Send>>>>,
    sender: Sender<String>,
}

impl XmppServer {
    pub(crate) fn start(domain: &'static str, partner: &'static str) -> Self {
        Self::start_with(domain, partner, None)
    }

    pub(crate) fn start_with(
        domain: &'static str,
        partner: &'static str,
        secure: Option<Arc<ServerConfig>>,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, stanzas) = channel();
        let shared = Shared {
            domain,
            partner,
            out: Arc::default(),
            sender,
        };
        let each = shared.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (shared, secure) = (each.clone(), secure.clone());
                std::thread::spawn(move || match secure {
                    Some(config) => shared.take(tls::accept(&config, stream)),
                    None => shared.take(stream),
                });
            }
        });
        Self {
            address,
            stanzas,
            shared,
        }
    }

    /// Opens its stream to the gateway and proves its domain by dialback.
    pub(crate) fn dial(&self, gateway: SocketAddr) {
        let stream = tls::patient(TcpStream::connect(gateway).unwrap());
        let mut pieces = Pieces::new(stream.try_clone().unwrap());
        prove(&mut pieces, self.shared.domain, self.shared.partner);
        stream.set_read_timeout(None).unwrap();
        self.answer_on(stream);
        std::thread::spawn(move || pieces.for_each(drop));
    }

    /// Takes a proved stream to the gateway for its answers.
    pub(crate) fn answer_on(&self, stream: impl Write + Send + 'static) {
        *self.shared.out.lock().unwrap() = Some(Box::new(stream));
    }

    /// Sends a stanza.
    pub(crate) fn say(&self, stanza: &str) {
        self.shared.say(stanza);
    }

    /// Everything up to and with the next stanza that contains these words.
    pub(crate) fn hear(&self, words: &str) -> Vec<String> {
        let deadline = Instant::now() + DEADLINE;
        let mut heard = Vec::new();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.stanzas.recv_timeout(left) {
                Ok(stanza) => heard.push(stanza),
                Err(_) => panic!("no stanza with `{words}` among:\n{}", heard.join("\n")),
            }
            if heard.last().is_some_and(|stanza| stanza.contains(words)) {
                return heard;
            }
        }
    }
}

/// Sends header and dialback key, and waits for the proof.
pub(crate) fn prove<S: Read + Write>(pieces: &mut Pieces<S>, domain: &str, partner: &str) {
    pieces.say(&header(domain, partner, ""));
    pieces.wait_for("<stream:features");
    pieces.say(&format!(
        "<db:result from='{domain}' to='{partner}'>key</db:result>"
    ));
    let result = pieces.wait_for("<db:result");
    assert!(result.contains("'valid'"), "{result}");
}

impl Shared {
    fn say(&self, stanza: &str) {
        let mut stream = self.out.lock().unwrap();
        let stream = stream.as_mut().expect("a stream to the gateway");
        stream.write_all(stanza.as_bytes()).unwrap();
        stream.flush().unwrap();
    }

    /// Serves one stream of the gateway's to its end.
    fn take<S: Read + Write>(&self, stream: S) {
        let mut pieces = Pieces::new(stream);
        let (domain, partner) = (self.domain, self.partner);
        while let Some(piece) = pieces.next() {
            if piece.starts_with("<stream:stream") {
                let features = "<stream:features><dialback xmlns='urn:xmpp:features:dialback'/></stream:features>";
                pieces.say(&(header(domain, partner, " id='s1'") + features));
            } else if piece.starts_with("<db:") {
                pieces.say(&self.dialback(&piece));
            } else if piece.starts_with("<iq") && piece.contains("urn:xmpp:ping") {
                let (from, to) = (attribute(&piece, "to"), attribute(&piece, "from"));
                let id = attribute(&piece, "id");
                self.say(&format!(
                    "<iq type='result' id='{id}' from='{from}' to='{to}'/>"
                ));
            } else if self.sender.send(piece).is_err() {
                return;
            }
        }
        pieces.say("</stream:stream>");
    }

    /// Only the key of this domain's own streams is right; what the gateway claims is.
    fn dialback(&self, piece: &str) -> String {
        let (domain, partner) = (self.domain, self.partner);
        if piece.starts_with("<db:result") {
            return format!("<db:result from='{domain}' to='{partner}' type='valid'/>");
        }
        let (asked, id) = (attribute(piece, "to"), attribute(piece, "id"));
        let right = asked == domain && piece.contains(">key<");
        let kind = if right { "valid" } else { "invalid" };
        format!("<db:verify from='{asked}' to='{partner}' id='{id}' type='{kind}'/>")
    }
}
